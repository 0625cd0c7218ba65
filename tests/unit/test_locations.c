/* Locations: what is kept is found by its name and no other, in lines that are full too; pages that went away are not taken for
 * what they were; and a database that keeps locations answers every lookup as one that goes down the tree each time. */
#include "engine/engine.h"
#include "engine_rig.h"

/* ---- the table ------------------------------------------------------------------------------------------------------ */

static uint64_t hash_of(uint64_t i) { return (i + 1) * UINT64_C(0x9e3779b97f4a7c15); }

static struct location location_of(uint64_t i) {
  return (struct location){.place = {.frame = (uint32_t)i % (1 << 24), .fill = 1 + (uint32_t)i % CACHE_FILLS_MOST},
                           .offset = (uint32_t)(i * 7 % LOCATION_OFFSETS)};
}

static void assert_location(const struct locations *table, uint64_t i, uint64_t name, bool wanted) {
  struct location found = {0}, kept = location_of(i);
  bool there = locations_find(table, hash_of(i), name, &found);
  if (wanted && !there) fail_msg("location %llu is gone", (unsigned long long)i);
  if (!there) return;
  assert_true(wanted || name == hash_of(i));
  assert_memory_equal(&found, &kept, sizeof kept);
}

static void test_locations__what_is_kept_is_found_by_its_name_only(void **state) {
  (void)state;
  struct mem mem;
  mem_init(&mem, NULL);
  for (uint64_t bytes = 2048; bytes <= 16 << 20; bytes *= 8) {
    mem.limit = (size_t)bytes;
    struct locations *table = locations_create(&mem, bytes);
    assert_non_null(table);
    size_t found = 0, count = 100000;
    locations_expect(table, count);
    for (uint64_t i = 0; i < count; i++) {
      struct location location = location_of(i);
      assert_location(table, i, hash_of(i), false);
      locations_keep(table, hash_of(i), hash_of(i), &location);
      assert_location(table, i, hash_of(i), true); /* the last one kept is there, however full the line */
      assert_location(table, i, hash_of(i) ^ 1, false);
    }
    for (uint64_t i = 0; i < count; i++) {
      struct location location;
      found += locations_find(table, hash_of(i), hash_of(i), &location);
      assert_location(table, i, hash_of(i), false);
    }
    size_t places = (size_t)bytes / 16;
    assert_true(found <= places && found >= (places / 4 < count / 2 ? places / 4 : count / 2));
    if (places >= 4 * count) assert_true(found >= count / 100 * 98); /* few lines are full */
    locations_expect(table, 10); /* lines stand elsewhere now: much is lost, nothing is found that is not right */
    for (uint64_t i = 0; i < count; i++) assert_location(table, i, hash_of(i), false);
    locations_free(table);
    assert_int_equal(mem_used(&mem), 0);
  }
}

static void test_locations__without_memory_nothing_is_kept(void **state) {
  (void)state;
  struct meter meter = {0};
  struct wodan_allocator hooks = meter_hooks(&meter);
  struct mem mem;
  struct location location = location_of(5), found;
  mem_init(&mem, &hooks);
  assert_null(locations_create(&mem, 100));
  meter.fail_at = 1;
  assert_null(locations_create(&mem, 1 << 20));
  meter.fail_at = 3;
  struct locations *table = locations_create(&mem, 1 << 20);
  assert_non_null(table);
  locations_keep(table, 1, 1, &location);
  assert_false(locations_find(table, 1, 1, &found));
  locations_keep(table, 1, 1, &location); /* the next time there is some */
  assert_true(locations_find(table, 1, 1, &found));
  location.place.frame = 1 << 24; /* has no room in a word */
  locations_keep(table, 2, 2, &location);
  assert_false(locations_find(table, 2, 2, &found));
  locations_free(table);
  assert_int_equal(meter.used, 0);
}

/* ---- frames --------------------------------------------------------------------------------------------------------- */

static void test_place__is_of_one_filling_of_a_frame(void **state) {
  (void)state;
  enum { FRAMES = CACHE_FRAMES_MIN };
  struct mem mem;
  cache_slot slots[3 * FRAMES] = {0};
  struct cache_place places[3 * FRAMES];
  mem_init(&mem, NULL);
  struct cache *cache = cache_create(&mem, 512, FRAMES);
  for (int i = 0; i < 3 * FRAMES; i++) {
    struct frame *frame = cache_reserve(cache);
    memset(cache_fill(frame), i, 512);
    assert_ptr_equal(cache_publish(cache, &slots[i], frame), frame);
    assert_true(cache_place(frame, &places[i]));
    cache_unpin(frame);
  }
  int there = 0;
  for (int i = 0; i < 3 * FRAMES; i++) {
    cache_prefetch_at(cache, places[i], 0);
    struct frame *frame = cache_pin_at(cache, places[i]);
    assert_true((frame != NULL) == (atomic_load(&slots[i]) != NULL));
    if (!frame) continue;
    assert_int_equal(cache_data(frame)[511], i);
    cache_unpin(frame);
    there++;
  }
  assert_int_equal(there, FRAMES);
  cache_drop(cache, slots, 3 * FRAMES);
  for (int i = 0; i < 3 * FRAMES; i++) assert_null(cache_pin_at(cache, places[i])); /* all on the free list */
  cache_free(cache);
}

/* ---- twins: one with locations, one without ---------------------------------------------------------------------------- */

enum { KEYS = 3000, VALUE = 90 };

struct twins {
  struct rig with, without;
  struct wodan_view *views[2]; /* of the same moment */
};

static void start_twins(struct twins *t, uint64_t budget) {
  struct wodan_format_options format = {.page_size = 512, .memtable_size = 8192, .leaf_size = 4096, .node_leaves = 16};
  struct rig *rigs[2] = {&t->with, &t->without};
  *t = (struct twins){0};
  for (int i = 0; i < 2; i++) {
    rig_start(rigs[i], 4 << 20, &format);
    rig_close(rigs[i]);
    struct wodan_open_options options = rig_options(rigs[i]);
    options.memory_budget = budget;
    if (i) options.flags |= WODAN_OPEN_NO_LOCATIONS;
    rig_open_with(rigs[i], &options);
  }
}

static void move_views(struct twins *t) {
  struct rig *rigs[2] = {&t->with, &t->without};
  for (int i = 0; i < 2; i++) {
    wodan_view_close(t->views[i]);
    assert_done(rigs[i]->db, wodan_view_open(rigs[i]->db, &t->views[i]));
  }
}

/* What both answer about a key; together with others, or alone. */
static void assert_same(struct twins *t, uint64_t i, bool at_view, uint64_t seed) {
  enum { MANY = 20 };
  char text[MANY][32];
  struct wodan_slice keys[MANY];
  struct wodan_pinned many[MANY], one;
  int statuses[MANY];
  for (size_t k = 0; k < MANY; k++) keys[k] = key_number((i + k * k) % KEYS, text[k]);
  struct wodan_view *a = at_view ? t->views[0] : NULL, *b = at_view ? t->views[1] : NULL;
  assert_int_equal(wodan_get_many(t->with.db, a, keys, MANY, many, statuses), 0);
  for (size_t k = 0; k < MANY; k++) {
    struct wodan_pinned alone = {0}, other = {0};
    int expected = wodan_get_pinned(t->without.db, b, keys[k], &other);
    int status = wodan_get_pinned(t->with.db, a, keys[k], &alone);
    one = many[k];
    if (status != expected || statuses[k] != expected || alone.value.size != other.value.size ||
        one.value.size != other.value.size ||
        (expected == 0 && (memcmp(alone.value.data, other.value.data, other.value.size) ||
                           memcmp(one.value.data, other.value.data, other.value.size))))
      fail_msg("seed %llu, key %s: %d without locations, %d with, %d among many", (unsigned long long)seed, text[k],
               expected, status, statuses[k]);
    wodan_unpin(t->with.db, &alone);
    wodan_unpin(t->without.db, &other);
  }
  wodan_unpin_many(t->with.db, many, MANY);
}

/* How many keys have a location now that leads to a record of theirs. */
static size_t known_locations(struct wodan_db *db) {
  size_t known = 0;
  for (uint64_t i = 0; i < KEYS; i++) {
    char text[33];
    struct wodan_slice key = key_number(i, text + 1);
    struct location location;
    struct record record;
    text[0] = TABLE_DEFAULT;
    key = (struct wodan_slice){text, key.size + TABLE_ID_SIZE};
    if (!engine_locate(db, memtable_hash(key), db->drained, &location)) continue;
    struct frame *frame = engine_locate_page(db, &location);
    if (!frame || !engine_locate_take(db, frame, &location, key, &record)) continue;
    cache_unpin(frame);
    known++;
  }
  return known;
}

static void write_both(struct twins *t, uint64_t *random) {
  for (unsigned n = (unsigned)random_below(random, 40); n; n--) {
    uint64_t i = random_below(random, KEYS), version = random_next(random);
    bool remove = random_below(random, 4) == 0;
    struct rig *rigs[2] = {&t->with, &t->without};
    char text[32];
    for (int r = 0; r < 2; r++)
      assert_done(rigs[r]->db, remove ? wodan_delete(rigs[r]->db, key_number(i, text), NULL)
                                      : put_number(rigs[r]->db, i, version, VALUE));
  }
}

static void compare_twins(uint64_t budget, uint64_t seed, size_t known_least) {
  struct twins t;
  uint64_t random = seed;
  size_t known = 0;
  start_twins(&t, budget);
  for (uint64_t i = 0; i < KEYS; i++) {
    assert_done(t.with.db, put_number(t.with.db, i, i, VALUE));
    assert_done(t.without.db, put_number(t.without.db, i, i, VALUE));
  }
  move_views(&t);
  for (unsigned round = 0; round < 400; round++) {
    write_both(&t, &random);
    for (int n = 0; n < 6; n++) assert_same(&t, random_below(&random, KEYS), random_below(&random, 2), seed);
    if (random_below(&random, 20) == 0) move_views(&t);
    if (random_below(&random, 40) == 0) assert_done(t.with.db, wodan_compact(t.with.db, NULL, NULL, 0, NULL));
    if (random_below(&random, 40) == 0) assert_done(t.with.db, wodan_checkpoint(t.with.db, NULL));
    size_t now = known_locations(t.with.db);
    if (now > known) known = now;
  }
  if (known < known_least) fail_msg("only %zu keys had a location at once", known);
  assert_null(t.without.db->locations);
  wodan_view_close(t.views[0]);
  wodan_view_close(t.views[1]);
  rig_end(&t.with);
  rig_end(&t.without);
}

static void test_twins__answer_the_same_with_room_for_all(void **state) {
  (void)state;
  compare_twins(0, 41, 200);
}

/* Pages come and go, and their frames with others' records in them. */
static void test_twins__answer_the_same_with_few_pages(void **state) {
  (void)state;
  compare_twins(1600 << 10, 42, 20);
}

/* Whether a lookup by this thread would ask for locations now. */
static bool asks(struct wodan_db *db) { return engine_locate_begin(db, 0); }

/* Sixteen lookups in vain end the asking, the first that finds something begins it again; one by one and in a batch. */
static void test_twins__keys_that_are_nowhere_are_not_asked_for(void **state) {
  enum { RUN = 16 };
  (void)state;
  struct twins t;
  struct wodan_pinned pinned[RUN];
  int statuses[RUN];
  char text[32], texts[RUN][32];
  struct wodan_slice keys[RUN];
  start_twins(&t, 0);
  for (uint64_t i = 0; i < KEYS; i++) assert_done(t.with.db, put_number(t.with.db, i, i, VALUE));
  assert_done(t.with.db, wodan_compact(t.with.db, NULL, NULL, 0, NULL));
  for (unsigned turn = 0; turn < 3; turn++) {
    for (uint64_t i = 0; i < RUN; i++) {
      assert_true(asks(t.with.db));
      assert_int_equal(wodan_get_pinned(t.with.db, NULL, key_number(KEYS + i, text), pinned), WODAN_ENOTFOUND);
    }
    assert_false(asks(t.with.db));
    assert_done(t.with.db, wodan_get_pinned(t.with.db, NULL, key_number(turn, text), pinned));
    wodan_unpin(t.with.db, pinned);
  }
  for (size_t i = 0; i < RUN; i++) keys[i] = key_number(KEYS + i, texts[i]);
  assert_int_equal(wodan_get_many(t.with.db, NULL, keys, RUN, pinned, statuses), 0);
  assert_false(asks(t.with.db));
  for (size_t i = 0; i < RUN; i++) keys[i] = key_number(i, texts[i]);
  assert_int_equal(wodan_get_many(t.with.db, NULL, keys, RUN, pinned, statuses), 0);
  for (size_t i = 0; i < RUN; i++) assert_int_equal(statuses[i], 0);
  wodan_unpin_many(t.with.db, pinned, RUN);
  assert_true(asks(t.with.db));
  rig_end(&t.with);
  rig_end(&t.without);
}

/* Takes the record of a tree key at its location, for `asked`, which is as long. */
static bool takes(struct wodan_db *db, struct wodan_slice tree_key, const uint8_t *asked) {
  struct location location;
  struct record record;
  assert_true(engine_locate(db, memtable_hash(tree_key), db->drained, &location));
  struct frame *frame = engine_locate_page(db, &location);
  assert_non_null(frame);
  if (!engine_locate_take(db, frame, &location, (struct wodan_slice){asked, tree_key.size}, &record)) return false;
  cache_unpin(frame);
  return true;
}

/* Two keys of one hash differ somewhere: in what the page's keys share, however long that is, or behind it. */
static void test_place__proves_every_byte_of_the_key(void **state) {
  enum { SHARED_MOST = 24, NUMBERS = 200 };
  (void)state;
  for (size_t shared = 0; shared <= SHARED_MOST; shared++) {
    struct twins t;
    start_twins(&t, 0);
    uint8_t key[TABLE_ID_SIZE + SHARED_MOST + 2];
    size_t size = TABLE_ID_SIZE + shared + 2;
    struct wodan_slice tree_key = {key, size}, user_key = {key + TABLE_ID_SIZE, size - TABLE_ID_SIZE};
    struct wodan_pinned pinned;
    memset(key, 'p', sizeof key);
    key[0] = TABLE_DEFAULT;
    for (uint32_t i = 0; i < NUMBERS; i++) {
      key[size - 2] = (uint8_t)i;
      assert_done(t.with.db, wodan_put(t.with.db, user_key, (struct wodan_slice){"v", 1}, NULL));
    }
    assert_done(t.with.db, wodan_checkpoint(t.with.db, NULL));
    assert_done(t.with.db, wodan_get_pinned(t.with.db, NULL, user_key, &pinned));
    wodan_unpin(t.with.db, &pinned);
    assert_true(takes(t.with.db, tree_key, key));
    for (size_t i = 0; i < size; i++) {
      uint8_t other[sizeof key];
      memcpy(other, key, sizeof key);
      other[i] ^= 1;
      if (takes(t.with.db, tree_key, other)) fail_msg("%zu bytes shared: byte %zu is not proven", shared, i);
    }
    rig_end(&t.with);
    rig_end(&t.without);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_locations__what_is_kept_is_found_by_its_name_only),
      cmocka_unit_test(test_locations__without_memory_nothing_is_kept),
      cmocka_unit_test(test_place__is_of_one_filling_of_a_frame),
      cmocka_unit_test(test_place__proves_every_byte_of_the_key),
      cmocka_unit_test(test_twins__answer_the_same_with_room_for_all),
      cmocka_unit_test(test_twins__answer_the_same_with_few_pages),
      cmocka_unit_test(test_twins__keys_that_are_nowhere_are_not_asked_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
