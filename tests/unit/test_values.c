/* Large values in memory: what is kept and for how long, the bound, who stays when room is needed, many threads; and through the
 * engine: that a value kept is not read again, and never an old one. */
#include "engine_rig.h"

#include <pthread.h>
#include "cache/values.h"
#include "engine/engine.h"

enum { KIB = 1 << 10, MIB = 1 << 20, LIMIT = 256 * KIB, SIZE = 10 * KIB };

struct world {
  struct mem mem, readers;
  struct values *values;
};

static void world_start(struct world *world, uint64_t limit) {
  mem_init(&world->mem, NULL);
  mem_init_part(&world->readers, &world->mem, MIB);
  world->values = values_create(&world->mem, &world->readers, limit);
  assert_non_null(world->values);
}

static void world_end(struct world *world) {
  values_free(world->values);
  assert_int_equal(mem_used(&world->mem), 0);
}

static struct value_buffer *filled(struct world *world, uint64_t size, uint8_t byte) {
  struct value_buffer *buffer = values_reserve(world->values, size);
  assert_non_null(buffer);
  memset(values_fill(buffer), byte, (size_t)size);
  return buffer;
}

static void keep(struct world *world, value_slot *slot, uint64_t name, uint64_t size, uint8_t byte) {
  values_unpin(world->values, values_publish(world->values, slot, name, filled(world, size, byte)));
}

/* Pins and unpins. */
static bool is_kept(struct world *world, value_slot *slot, uint64_t name) {
  struct value_buffer *buffer = values_pin(world->values, slot, name);
  if (buffer) values_unpin(world->values, buffer);
  return buffer != NULL;
}

static void test_values__what_is_published_is_found_until_it_is_dropped(void **state) {
  (void)state;
  struct world world;
  value_slot slot = NULL;
  world_start(&world, LIMIT);
  assert_null(values_pin(world.values, &slot, 1));
  struct value_buffer *first = values_publish(world.values, &slot, 1, filled(&world, SIZE, 7));
  assert_ptr_equal(values_pin(world.values, &slot, 1), first);
  assert_null(values_pin(world.values, &slot, 2)); /* another key's */
  struct value_buffer *late = values_publish(world.values, &slot, 1, filled(&world, SIZE, 8));
  assert_ptr_equal(late, first); /* who comes second gets the first one's */
  values_drop(world.values, &slot);
  assert_null(slot);
  assert_null(values_pin(world.values, &slot, 1));
  assert_true(values_counts(world.values).bytes > SIZE); /* still read */
  for (int i = 0; i < 3; i++) {
    assert_int_equal(values_bytes(first)[SIZE - 1], 7);
    values_unpin(world.values, first);
  }
  assert_int_equal(values_counts(world.values).bytes, 0);
  values_drop(world.values, &slot); /* empty: nothing */
  assert_int_equal(values_counts(world.values).hits, 1);
  assert_int_equal(values_counts(world.values).misses, 2);
  world_end(&world);
}

static void test_values__the_bound_holds(void **state) {
  (void)state;
  struct world world;
  uint64_t random = 3;
  enum { SLOTS = 200, ROUNDS = 5000 };
  value_slot slots[SLOTS] = {NULL};
  world_start(&world, LIMIT);
  for (int i = 0; i < ROUNDS; i++) {
    uint64_t at = random_below(&random, SLOTS), size = 1 + random_below(&random, LIMIT / 8);
    if (random_below(&random, 8) == 0) {
      values_drop(world.values, &slots[at]);
    } else if (!is_kept(&world, &slots[at], at)) {
      keep(&world, &slots[at], at, size, (uint8_t)at);
    }
    assert_true(values_counts(world.values).bytes <= LIMIT);
  }
  assert_true(values_counts(world.values).evictions > ROUNDS / 4);
  assert_int_equal(mem_used(&world.readers), 0);
  for (int i = 0; i < SLOTS; i++) values_drop(world.values, &slots[i]);
  assert_int_equal(values_counts(world.values).bytes, 0);
  world_end(&world);
}

/* A value is too large to be kept above an eighth; one more than all that are pinned is not kept either. */
static void test_values__who_is_not_kept(void **state) {
  (void)state;
  struct world world;
  enum { MOST = 64 };
  value_slot slots[MOST] = {NULL};
  struct value_buffer *pinned[MOST];
  int kept = 0;
  world_start(&world, LIMIT);
  keep(&world, &slots[0], 0, LIMIT / 8, 1);
  assert_null(slots[0]);
  keep(&world, &slots[0], 0, LIMIT / 8 - 128, 1);
  assert_non_null(slots[0]);
  for (int i = 1; i < MOST; i++) {
    pinned[i] = values_publish(world.values, &slots[i], (uint64_t)i, filled(&world, SIZE, (uint8_t)i));
    kept += slots[i] != NULL;
  }
  assert_null(slots[0]); /* it had to go */
  assert_true(kept > 20 && kept < MOST - 1);
  assert_true(mem_used(&world.readers) > 0);
  for (int i = 1; i < MOST; i++) {
    assert_int_equal(values_bytes(pinned[i])[0], i);
    values_unpin(world.values, pinned[i]);
  }
  assert_int_equal(mem_used(&world.readers), 0);
  assert_null(values_reserve(world.values, 2 * MIB)); /* not even the readers' part has that */
  assert_null(values_reserve(world.values, UINT64_MAX - 8));
  world_end(&world);
}

/* What is used again stays while ten times as many pass once. */
static void test_values__a_scan_leaves_what_is_used(void **state) {
  (void)state;
  struct world world;
  enum { USED = 10, PASSING = 1000 };
  value_slot used[USED] = {NULL}, passing[PASSING] = {NULL};
  world_start(&world, LIMIT);
  for (int i = 0; i < USED; i++) keep(&world, &used[i], (uint64_t)i, SIZE, 1);
  int lost = 0;
  for (int i = 0; i < PASSING; i++) {
    keep(&world, &passing[i], (uint64_t)i, SIZE, 2);
    for (int j = 0; j < USED && i % 4 == 0; j++) lost += !is_kept(&world, &used[j], (uint64_t)j);
  }
  assert_int_equal(lost, 0);
  world_end(&world);
}

/* ---- many threads -------------------------------------------------------------------------------------------------- */

#ifndef WODAN_NO_THREADS
enum { SHARED = 40, THREADS = 4, TURNS = 1500 };

struct crowd {
  struct world world;
  value_slot slots[SHARED];
  pthread_rwlock_t lives[SHARED]; /* as a blob's reference: who drops a slot is alone with it */
  uint64_t versions[SHARED];
};

struct reader {
  struct crowd *crowd;
  uint64_t random;
};

static void look(struct crowd *crowd, uint64_t at) {
  struct values *values = crowd->world.values;
  uint64_t version = crowd->versions[at];
  struct value_buffer *buffer = values_pin(values, &crowd->slots[at], at);
  if (!buffer) {
    buffer = values_reserve(values, SIZE);
    if (!buffer) return;
    memset(values_fill(buffer), (int)version, SIZE);
    buffer = values_publish(values, &crowd->slots[at], at, buffer);
  }
  if (values_bytes(buffer)[0] != (uint8_t)version || values_bytes(buffer)[SIZE - 1] != (uint8_t)version) abort();
  values_unpin(values, buffer);
}

static void *read_on(void *context) {
  struct reader *reader = context;
  struct crowd *crowd = reader->crowd;
  for (int i = 0; i < TURNS; i++) {
    uint64_t at = random_below(&reader->random, SHARED);
    if (random_below(&reader->random, 16) == 0) {
      pthread_rwlock_wrlock(&crowd->lives[at]);
      values_drop(crowd->world.values, &crowd->slots[at]);
      crowd->versions[at]++;
    } else {
      pthread_rwlock_rdlock(&crowd->lives[at]);
      look(crowd, at);
    }
    pthread_rwlock_unlock(&crowd->lives[at]);
  }
  return NULL;
}

static void test_values__many_threads(void **state) {
  (void)state;
  struct crowd *crowd = calloc(1, sizeof *crowd);
  struct reader readers[THREADS];
  pthread_t threads[THREADS];
  world_start(&crowd->world, LIMIT);
  for (int i = 0; i < SHARED; i++) pthread_rwlock_init(&crowd->lives[i], NULL);
  for (uint64_t i = 0; i < THREADS; i++) {
    readers[i] = (struct reader){.crowd = crowd, .random = i + 1};
    assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  struct values_counts counts = values_counts(crowd->world.values);
  assert_true(counts.hits > 0 && counts.evictions > 0 && counts.bytes <= LIMIT);
  for (int i = 0; i < SHARED; i++) pthread_rwlock_destroy(&crowd->lives[i]);
  world_end(&crowd->world);
  free(crowd);
}
#endif

/* ---- through the engine -------------------------------------------------------------------------------------------- */

enum { VALUE = 100000 };

static struct wodan_slice value_of(uint64_t version, uint8_t *bytes) {
  for (size_t i = 0; i < VALUE; i++) bytes[i] = (uint8_t)(i * version + i / 256);
  return (struct wodan_slice){bytes, VALUE};
}

static void put_version(struct wodan_db *db, uint64_t key, uint64_t version) {
  char name[32];
  static uint8_t bytes[VALUE];
  assert_done(db, wodan_put(db, key_number(key, name), value_of(version, bytes), NULL));
}

static struct wodan_pinned pinned_of(struct wodan_db *db, struct wodan_view *view, uint64_t key, uint64_t version) {
  char name[32];
  static uint8_t bytes[VALUE];
  struct wodan_pinned pinned;
  assert_done(db, wodan_get_pinned(db, view, key_number(key, name), &pinned));
  assert_int_equal(pinned.value.size, VALUE);
  assert_memory_equal(pinned.value.data, value_of(version, bytes).data, VALUE);
  return pinned;
}

static void look_at(struct wodan_db *db, struct wodan_view *view, uint64_t key, uint64_t version) {
  struct wodan_pinned pinned = pinned_of(db, view, key, version);
  wodan_unpin(db, &pinned);
}

static struct wodan_stats stats_of(struct wodan_db *db) {
  struct wodan_stats stats = {.size = sizeof stats};
  assert_int_equal(wodan_stats(db, &stats), 0);
  return stats;
}

static void start(struct rig *rig, uint64_t budget) {
  rig_start(rig, 32 * MIB, NULL);
  rig_close(rig);
  struct wodan_open_options options = rig_options(rig);
  options.memory_budget = budget;
  rig_open_with(rig, &options);
}

static void test_values__a_kept_value_is_not_read_again(void **state) {
  (void)state;
  struct rig rig;
  start(&rig, 0);
  struct wodan_db *db = rig.db;
  static uint8_t bytes[VALUE], wanted[VALUE];
  char name[32];
  size_t size;
  put_version(db, 1, 5);
  assert_done(db, wodan_get(db, NULL, key_number(1, name), bytes, VALUE, &size)); /* keeps nothing */
  assert_int_equal(stats_of(db).values_bytes, 0);
  look_at(db, NULL, 1, 5);
  struct wodan_stats before = stats_of(db);
  assert_true(before.values_bytes >= VALUE && before.values_misses == 1);
  struct wodan_pinned first = pinned_of(db, NULL, 1, 5), second = pinned_of(db, NULL, 1, 5);
  assert_ptr_equal(first.value.data, second.value.data);
  assert_done(db, wodan_get(db, NULL, key_number(1, name), bytes, VALUE, &size));
  assert_memory_equal(bytes, value_of(5, wanted).data, VALUE);
  struct wodan_part part = {.offset = 70000, .buffer = bytes, .capacity = 1000};
  assert_done(db, wodan_get_part(db, NULL, key_number(1, name), &part));
  assert_memory_equal(bytes, wanted + 70000, 1000);
  struct wodan_stats after = stats_of(db);
  assert_int_equal(after.device_reads, before.device_reads);
  assert_int_equal(after.values_hits, before.values_hits + 4);
  assert_int_equal(after.user_bytes_read, before.user_bytes_read + 3 * VALUE + 1000);
  assert_int_equal(wodan_close(db, NULL), WODAN_EBUSY);
  wodan_unpin(db, &first);
  wodan_unpin(db, &second);
  rig_end(&rig);
}

/* Overwritten, deleted, seen by a view, given back and its place used by another: each get has its moment's value. */
static void test_values__never_an_old_one(void **state) {
  (void)state;
  struct rig rig;
  start(&rig, 0);
  struct wodan_db *db = rig.db;
  struct wodan_view *view;
  char name[32];
  put_version(db, 1, 1);
  look_at(db, NULL, 1, 1);
  struct wodan_pinned old = pinned_of(db, NULL, 1, 1);
  assert_done(db, wodan_view_open(db, &view));
  for (uint64_t version = 2; version < 120; version++) { /* round the volume */
    put_version(db, 1, version);
    look_at(db, NULL, 1, version);
    if (version % 10 == 0) look_at(db, view, 1, 1);
    if (version % 30 == 0) assert_done(db, wodan_checkpoint(db, NULL));
    if (version % 7 == 0) {
      assert_done(db, wodan_delete(db, key_number(1, name), NULL));
      struct wodan_pinned none;
      assert_int_equal(wodan_get_pinned(db, NULL, key_number(1, name), &none), WODAN_ENOTFOUND);
    }
  }
  wodan_view_close(view);
  static uint8_t bytes[VALUE];
  assert_memory_equal(old.value.data, value_of(1, bytes).data, VALUE); /* however the database changed */
  wodan_unpin(db, &old);
  assert_done(db, wodan_checkpoint(db, NULL));
  put_version(db, 2, 1);
  for (int i = 0; i < 3; i++) { /* what died is not kept */
    put_version(db, 2, 2);
    assert_done(db, wodan_checkpoint(db, NULL));
    assert_done(db, wodan_compact(db, NULL, NULL, 0, NULL));
  }
  assert_true(stats_of(db).values_bytes < 2 * VALUE);
  rig_end(&rig);
}

/* Many more bytes than may be kept: the budget holds, and all of them are read right. */
static void test_values__the_budget_holds(void **state) {
  (void)state;
  enum { KEYS = 150 };
  struct rig rig;
  start(&rig, 0);
  uint64_t needed = rig_info(rig.db).memory_needed, random = 9;
  rig_close(&rig);
  for (uint64_t more = 0; more <= 64 * MIB; more = 16 * more + 3 * MIB) {
    struct wodan_open_options options = rig_options(&rig);
    options.memory_budget = needed + more;
    rig_open_with(&rig, &options);
    for (uint64_t key = 0; key < KEYS && more == 0; key++) put_version(rig.db, key, key + 1);
    for (int i = 0; i < 300; i++) {
      uint64_t key = random_below(&random, KEYS);
      look_at(rig.db, NULL, key, key + 1);
    }
    struct wodan_stats stats = stats_of(rig.db);
    assert_true(stats.memory_peak <= needed + more);
    if (more == 0) assert_int_equal(stats.values_bytes, 0);
    if (more > 16 * MIB) assert_true(stats.values_hits > 100 && stats.values_bytes > 0);
    rig_close(&rig);
  }
  kept_free(rig.kept);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_values__what_is_published_is_found_until_it_is_dropped),
      cmocka_unit_test(test_values__the_bound_holds),
      cmocka_unit_test(test_values__who_is_not_kept),
      cmocka_unit_test(test_values__a_scan_leaves_what_is_used),
#ifndef WODAN_NO_THREADS
      cmocka_unit_test(test_values__many_threads),
#endif
      cmocka_unit_test(test_values__a_kept_value_is_not_read_again),
      cmocka_unit_test(test_values__never_an_old_one),
      cmocka_unit_test(test_values__the_budget_holds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
