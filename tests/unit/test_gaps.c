/* Gaps: what cursors may jump over, alone against a model, and in a database where cursors and views must find exactly what is
 * there while ranges are deleted and keys come back into them. WODAN_SEED replays. */
#include <pthread.h>
#include "engine/gaps.h"
#include "world.h"

/* ---- the table alone ----------------------------------------------------------------------------------------------- */

enum { KEY_MAX = 6 };

static struct mem memory;

static struct wodan_slice text(const char *key) { return (struct wodan_slice){key, strlen(key)}; }

static struct gaps *gaps_new(void) {
  mem_init(&memory, NULL);
  struct gaps *gaps = gaps_create(&memory, KEY_MAX);
  assert_non_null(gaps);
  return gaps;
}

static void gaps_end(struct gaps *gaps) {
  gaps_free(gaps);
  assert_int_equal(mem_used(&memory), 0);
}

static void add(struct gaps *gaps, const char *lower, const char *upper, uint64_t sequence, bool backward) {
  struct gap_range range = {text(lower), text(upper)};
  gaps_add(gaps, &range, sequence, backward);
}

/* NULL: `key` is in no gap. */
static void assert_jump(struct gaps *gaps, const char *key, uint64_t sequence, bool backward, const char *to) {
  uint8_t bound[KEY_MAX + 1];
  size_t size = 0;
  bool found = gaps_find(gaps, text(key), sequence, backward, bound, &size);
  assert_int_equal(found, to != NULL);
  if (found) assert_int_equal(size, strlen(to));
  if (found) assert_memory_equal(bound, to, size);
}

static void test_gaps__a_reader_jumps_to_the_bound(void **state) {
  (void)state;
  struct gaps *gaps = gaps_new();
  assert_jump(gaps, "d", 9, false, NULL);
  add(gaps, "c", "f", 5, false);
  assert_jump(gaps, "c", 5, false, "f");
  assert_jump(gaps, "dzz", 7, true, "c");
  assert_jump(gaps, "f", 9, false, NULL); /* the upper bound is not in it */
  assert_jump(gaps, "b", 9, true, NULL);
  assert_jump(gaps, "d", 4, false, NULL); /* an older reader may find something there */
  add(gaps, "x", "x", 5, false);          /* nothing */
  add(gaps, "x", "w", 5, false);
  assert_jump(gaps, "x", 9, false, NULL);
  add(gaps, "k", "longer than all", 5, false);
  assert_jump(gaps, "k", 9, false, NULL);
  gaps_end(gaps);
}

static void test_gaps__a_put_cuts(void **state) {
  (void)state;
  struct gaps *gaps = gaps_new();
  add(gaps, "b", "n", 5, false);
  gaps_put(gaps, text("n")); /* outside */
  gaps_put(gaps, text("a"));
  assert_jump(gaps, "b", 9, false, "n");
  gaps_put(gaps, text("g"));
  assert_jump(gaps, "b", 9, false, "g");
  assert_jump(gaps, "g", 9, false, NULL);
  assert_jump(gaps, "ga", 9, false, "n");
  gaps_put(gaps, text("b")); /* the first of one */
  assert_jump(gaps, "b", 9, false, NULL);
  assert_jump(gaps, "c", 9, false, "g");
  gaps_end(gaps);
}

/* Without a free place one side is kept: the one that the gap's readers come from. */
static void test_gaps__the_side_that_matters_stays(void **state) {
  (void)state;
  for (int backward = 0; backward < 2; backward++) {
    struct gaps *gaps = gaps_new();
    char lower[3] = "a0", upper[3] = "a5";
    for (int i = 0; i < 8; i++, lower[0]++, upper[0]++) add(gaps, lower, upper, 5, backward);
    gaps_put(gaps, text("c3"));
    assert_jump(gaps, "c1", 9, false, backward ? NULL : "c3");
    assert_jump(gaps, "c4", 9, false, backward ? "c5" : NULL);
    assert_jump(gaps, "h1", 9, false, "h5");
    add(gaps, "z0", "z5", 5, backward); /* the one longest unused goes */
    assert_jump(gaps, "z1", 9, false, "z5");
    assert_jump(gaps, "a1", 9, false, NULL);
    assert_jump(gaps, "b1", 9, false, "b5");
    gaps_end(gaps);
  }
}

static void test_gaps__what_touches_becomes_one(void **state) {
  (void)state;
  struct gaps *gaps = gaps_new();
  add(gaps, "c", "e", 5, false);
  add(gaps, "h", "k", 6, false);
  add(gaps, "m", "p", 7, false);
  add(gaps, "e", "i", 8, false);
  assert_jump(gaps, "c", 8, false, "k");
  assert_jump(gaps, "j", 8, true, "c");
  assert_jump(gaps, "c", 7, false, NULL); /* as old as its newest part */
  assert_jump(gaps, "m", 7, false, "p");
  add(gaps, "a", "z", 9, false);
  assert_jump(gaps, "n", 9, true, "a");
  gaps_end(gaps);
}

/* Keys are letters; a model knows at which sequence each was last there. */
static void test_gaps__at_random(void **state) {
  (void)state;
  enum { LETTERS = 26 };
  uint64_t seed = seed_or(20261129), random = seed, sequence = 1, jumps = 0;
  bool there[LETTERS] = {0};
  struct gaps *gaps = gaps_new();
  for (int n = 0; n < 200000; n++) {
    unsigned i = (unsigned)random_below(&random, LETTERS), j = (unsigned)random_below(&random, LETTERS);
    char key[2] = {(char)('a' + i), 0}, other[2] = {(char)('a' + j), 0};
    bool backward = random_below(&random, 2), empty = i < j;
    switch (random_below(&random, 4)) {
    case 0:
      ++sequence;
      there[i] = true;
      gaps_put(gaps, text(key));
      break;
    case 1:
      ++sequence;
      for (unsigned k = i; k < LETTERS && k < i + 6; k++) there[k] = false;
      break;
    case 2:
      for (unsigned k = i; k < j; k++) empty = empty && !there[k];
      if (empty) add(gaps, key, other, sequence, backward);
      break;
    default: {
      uint8_t bound[KEY_MAX + 1];
      size_t size;
      if (!gaps_find(gaps, text(key), sequence, backward, bound, &size)) break;
      /* A lower bound behind a key that was put is that key and a zero. */
      unsigned to = bound[0] - 'a', from = backward ? to + (size == 2) : i, end = backward ? i + 1 : to;
      jumps++;
      for (unsigned k = from; k < end; k++)
        if (there[k]) fail_msg("WODAN_SEED=%llu: a jump over '%c'", (unsigned long long)seed, 'a' + k);
    }
    }
  }
  assert_true(jumps > 1000);
  gaps_end(gaps);
}

/* ---- in a database ------------------------------------------------------------------------------------------------- */

static const struct shape shape = {.name = "gaps, 4 MiB, memtables of 16 KiB",
                                   .size = 4 << 20,
                                   .format = {.block_size = 1024,
                                              .page_size = 1024,
                                              .leaf_size = 8192,
                                              .memtable_size = 16384,
                                              .node_leaves = 8,
                                              .node_children = 4},
                                   .keys = 3000,
                                   .value_min = 20,
                                   .value_max = 60};

/* The first key from i on, or the last down to it, that is there; KEYS: none. */
static uint64_t neighbour(const uint32_t *versions, uint64_t i, bool back) {
  while (i < shape.keys && !versions[i]) i = back ? i - 1 : i + 1; /* below 0 is beyond keys */
  return i < shape.keys ? i : shape.keys;
}

/* A seek to each end or to a random key, and a step on, by a cursor at the view (NULL: now). */
static void seek_at_random(struct world *world, struct wodan_view *view, const uint32_t *versions) {
  struct wodan_db *db = world->rig.db;
  struct wodan_cursor *cursor;
  char text_of[2100];
  uint64_t i = random_below(&world->random, shape.keys), how = random_below(&world->random, 4);
  bool back = how & 1;
  assert_done(db, wodan_cursor_open(db, view, &cursor));
  struct wodan_slice key = world_key(world, i, text_of);
  int status = how < 2 ? (back ? wodan_cursor_seek_back(cursor, key) : wodan_cursor_seek(cursor, key))
                       : (back ? wodan_cursor_last(cursor) : wodan_cursor_first(cursor));
  if (how >= 2) i = back ? shape.keys - 1 : 0;
  for (int step = 0; step < 3; step++) {
    i = neighbour(versions, i, back);
    if (status != (i < shape.keys ? 0 : WODAN_DONE))
      world_fail(world, "move %llu answered %d, key %llu is due", (unsigned long long)how, status,
                 (unsigned long long)i);
    if (status != 0) break;
    world_judge_record(world, cursor, i, versions[i]);
    if (step == 1) back = !back; /* and back again */
    status = back ? wodan_cursor_prev(cursor) : wodan_cursor_next(cursor);
    i = back ? i - 1 : i + 1;
  }
  wodan_cursor_close(cursor);
}

/* Ranges of all lengths go, single keys and ranges come; views of before are read as well. */
static void test_gaps__cursors_and_views_find_what_is_there(void **state) {
  (void)state;
  struct world world;
  uint32_t *seen = calloc(shape.keys, sizeof *seen);
  struct wodan_view *view = NULL;
  world_start(&world, &shape, WODAN_OPEN_INLINE, seed_or(20261129));
  world.walk_every = 65536;
  for (uint64_t i = 0; i < shape.keys; i++) world_put(&world, i);
  for (int n = 0; n < 4000; n++) {
    uint64_t dice = random_below(&world.random, 100), i = random_below(&world.random, shape.keys);
    uint64_t most = dice < 10 ? 600 : dice < 30 ? 60 : 3, count = 1 + random_below(&world.random, most);
    bool puts = dice % 10 < 4;
    for (; count > 0 && i < shape.keys; i++, count--) {
      if (puts)
        world_put(&world, i);
      else
        world_delete(&world, i);
    }
    for (int k = 0; k < 4; k++) seek_at_random(&world, NULL, world.versions);
    if (view) seek_at_random(&world, view, seen);
    if (dice == 99) {
      wodan_view_close(view);
      assert_done(world.rig.db, wodan_view_open(world.rig.db, &view));
      memcpy(seen, world.versions, shape.keys * sizeof *seen);
    }
    if (n % 1000 == 999) {
      wodan_view_close(view);
      view = NULL;
      world_crash(&world);
    }
  }
  wodan_view_close(view);
  free(seen);
  world_end(&world);
}

#ifndef WODAN_NO_THREADS
/* ---- beside each other --------------------------------------------------------------------------------------------- */

struct readers {
  struct world *world;
  _Atomic bool done;
  _Atomic uint64_t seeks;
};

static void *seeks(void *context) {
  struct readers *readers = context;
  struct wodan_db *db = readers->world->rig.db;
  while (!atomic_load(&readers->done)) {
    struct wodan_cursor *cursor;
    if (wodan_cursor_open(db, NULL, &cursor) != 0) abort();
    if (wodan_cursor_first(cursor) < 0 || wodan_cursor_last(cursor) < 0) abort();
    wodan_cursor_close(cursor);
    atomic_fetch_add(&readers->seeks, 1);
  }
  return NULL;
}

/* While others look at both ends, and so find gaps all the time, what was just put there is found at once. */
static void test_gaps__a_key_is_found_as_soon_as_it_is_put(void **state) {
  (void)state;
  struct world world;
  struct readers readers = {.world = &world};
  pthread_t threads[2];
  world_start(&world, &shape, 0, seed_or(20261129));
  world.walk_every = 0;
  for (uint64_t i = 0; i < shape.keys; i++) world_put(&world, i);
  for (int t = 0; t < 2; t++) assert_int_equal(pthread_create(&threads[t], NULL, seeks, &readers), 0);
  uint64_t first = 0, end = shape.keys;
  for (int n = 0; n < 3000; n++) {
    if (first + 200 < end) {
      for (int k = 0; k < 1 + n % 3; k++) world_delete(&world, first++);
      for (int k = 0; k < 1 + n % 2; k++) world_delete(&world, --end);
    }
    uint64_t i =
        n % 2 ? random_below(&world.random, first + 1) : end - 1 + random_below(&world.random, shape.keys - end + 1);
    world_put(&world, i);
    for (int k = 0; k < 3; k++) seek_at_random(&world, NULL, world.versions);
    world_delete(&world, i);
    if (first + 200 >= end)
      while (first > 0) world_put(&world, --first);
  }
  atomic_store(&readers.done, true);
  for (int t = 0; t < 2; t++) pthread_join(threads[t], NULL);
  print_message("%llu seeks beside\n", (unsigned long long)atomic_load(&readers.seeks));
  assert_true(atomic_load(&readers.seeks) > 0);
  world_end(&world);
}

#endif

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_gaps__a_reader_jumps_to_the_bound),
      cmocka_unit_test(test_gaps__a_put_cuts),
      cmocka_unit_test(test_gaps__the_side_that_matters_stays),
      cmocka_unit_test(test_gaps__what_touches_becomes_one),
      cmocka_unit_test(test_gaps__at_random),
      cmocka_unit_test(test_gaps__cursors_and_views_find_what_is_there),
#ifndef WODAN_NO_THREADS
      cmocka_unit_test(test_gaps__a_key_is_found_as_soon_as_it_is_put),
#endif
  };
  only_the_test_asked_for();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
