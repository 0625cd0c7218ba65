/* The discard scheduler: what of the free space is due when, and what is held meanwhile. A clock of the test's own; blocks of
 * 4 KiB, so that a unit is 64 blocks in a data area of 4,096 (1/64 of it). */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "space/discard.h"
#include "support/random.h"

enum { FIRST = 64, TOTAL = 4096, UNIT = 64, BLOCK = 4096 };
static const uint64_t SECOND = 1000000000;

static struct mem mem;

struct world {
  struct space *space;
  uint64_t now, generation;
};

static struct world start_at(uint64_t first, enum discard_policy policy, uint32_t granularity, uint64_t rate) {
  struct world w = {.now = 5 * SECOND, .generation = 1};
  mem_init(&mem, NULL);
  w.space = space_create(&mem, first, first + TOTAL);
  assert_non_null(w.space);
  space_mounted(w.space, 1);
  struct discard_setup setup = {.policy = policy, .block_size = BLOCK, .granularity = granularity, .rate = rate};
  size_t before = mem.used;
  assert_true(space_discard_begin(w.space, &setup));
  assert_true(mem.used - before <= space_discard_memory(TOTAL, BLOCK));
  return w;
}

static struct world start(enum discard_policy policy) { return start_at(FIRST, policy, BLOCK, 0); }

static void done(struct world *w) {
  space_free(w->space);
  assert_int_equal(mem.used, 0);
}

static struct extent take(struct world *w, uint64_t blocks) {
  struct extent extents[BLOCK_PTR_EXTENTS_MAX];
  uint32_t count;
  assert_int_equal(space_allocate_sparing(w->space, SPACE_LEAF, blocks, 0, extents, &count, NULL), 0);
  assert_int_equal(count, 1);
  return extents[0];
}

/* A part of what was taken is free at once: nothing durable has named it. */
static void give(struct world *w, uint64_t first, uint64_t count) {
  struct extent extent = {first, count};
  space_release(w->space, &extent, 1);
}

static bool next(struct world *w, struct extent *extent) { return space_discard_next(w->space, w->now, extent); }

static void expect_none(struct world *w) {
  struct extent extent;
  if (next(w, &extent))
    fail_msg("blocks %llu + %llu are due", (unsigned long long)extent.first, (unsigned long long)extent.count);
}

static void expect_next(struct world *w, uint64_t first, uint64_t count) {
  struct extent extent = {0, 0};
  assert_true(next(w, &extent));
  assert_int_equal(extent.first, first);
  assert_int_equal(extent.count, count);
  space_discard_done(w->space, count, false);
}

/* Nothing is due before they are over. In even seconds, for a longer step would count for less. */
static void pass(struct world *w, uint64_t seconds) {
  for (uint64_t i = 0; i < seconds; i += 2) {
    expect_none(w);
    w->now += 2 * SECOND;
  }
}

static void expect_counts(struct world *w, struct discard_counts wanted) {
  struct discard_counts found = space_discard_counts(w->space);
  assert_int_equal(found.freed, wanted.freed);
  assert_int_equal(found.waiting, wanted.waiting);
  assert_int_equal(found.saved, wanted.saved);
  assert_int_equal(found.discarded, wanted.discarded);
  assert_int_equal(found.refused, wanted.refused);
}

/* ---- when ------------------------------------------------------------------------------------------------------------ */

static void test_discard__whole_units_come_after_a_quiet_while_as_one(void **state) {
  (void)state;
  struct world w = start(DISCARD_BATCHED);
  expect_none(&w);
  struct extent all = take(&w, 3 * UNIT);
  assert_int_equal(all.first, FIRST);
  give(&w, FIRST + UNIT, UNIT);
  give(&w, FIRST, UNIT);
  pass(&w, 20);
  expect_next(&w, FIRST, 2 * UNIT); /* neighbours are one */
  expect_none(&w);
  expect_counts(&w, (struct discard_counts){.freed = 2 * UNIT, .discarded = 2 * UNIT});
  give(&w, FIRST + 2 * UNIT, UNIT);
  pass(&w, 20);
  expect_next(&w, FIRST + 2 * UNIT, UNIT);
  pass(&w, 200);
  expect_none(&w); /* once is enough */
  done(&w);
}

static void test_discard__parts_of_units_wait_longer_and_small_ones_for_good(void **state) {
  (void)state;
  struct world w = start(DISCARD_BATCHED);
  take(&w, 2 * UNIT);
  give(&w, FIRST + 10, 20);
  give(&w, FIRST + 40, 3); /* 12 KiB are less than 32 */
  pass(&w, 50);
  expect_next(&w, FIRST + 10, 20);
  expect_none(&w);
  pass(&w, 200);
  expect_none(&w);
  expect_counts(&w, (struct discard_counts){.freed = 23, .waiting = 3, .discarded = 20});
  give(&w, FIRST + 43, 5); /* joined it is enough */
  pass(&w, 50);
  expect_next(&w, FIRST + 40, 8);
  done(&w);
}

static void test_discard__whole_units_go_before_parts(void **state) {
  (void)state;
  struct world w = start(DISCARD_BATCHED);
  take(&w, 3 * UNIT);
  give(&w, FIRST, 32);
  give(&w, FIRST + 2 * UNIT, UNIT);
  pass(&w, 20);
  expect_next(&w, FIRST + 2 * UNIT, UNIT);
  expect_none(&w);
  pass(&w, 30);
  expect_next(&w, FIRST, 32);
  done(&w);
}

static void test_discard__eager_waits_for_nothing(void **state) {
  (void)state;
  struct world w = start(DISCARD_EAGER);
  take(&w, 3 * UNIT);
  give(&w, FIRST + 5, 1);
  expect_next(&w, FIRST + 5, 1);
  expect_none(&w);
  give(&w, FIRST + UNIT, UNIT);
  give(&w, FIRST + 6, 2);
  expect_next(&w, FIRST + 6, 2);
  expect_next(&w, FIRST + UNIT, UNIT);
  expect_none(&w);
  done(&w);
}

static void test_discard__off_counts_and_holds_nothing(void **state) {
  (void)state;
  struct world w = start(DISCARD_OFF);
  take(&w, UNIT);
  give(&w, FIRST, UNIT);
  pass(&w, 200);
  expect_none(&w);
  expect_counts(&w, (struct discard_counts){0});
  struct world v = start_at(FIRST, DISCARD_EAGER, 0, 0); /* nor a device that does not discard */
  take(&v, UNIT);
  give(&v, FIRST, UNIT);
  expect_none(&v);
  struct space_trim trim = {.least = 0};
  struct extent extent;
  assert_false(space_trim_next(v.space, &trim, &extent));
  space_free(v.space);
  space_free(w.space);
}

static void test_discard__used_again_in_time_it_is_saved(void **state) {
  (void)state;
  struct world w = start(DISCARD_BATCHED);
  take(&w, TOTAL);
  give(&w, FIRST, 2 * UNIT);
  pass(&w, 14);
  take(&w, UNIT);
  pass(&w, 6);
  expect_counts(&w, (struct discard_counts){.freed = 2 * UNIT, .waiting = UNIT, .saved = UNIT});
  struct extent extent;
  assert_true(next(&w, &extent));
  assert_int_equal(extent.count, UNIT);
  space_discard_done(w.space, UNIT, false);
  done(&w);
}

/* Everything that is free waits, and an allocation takes it as if nothing did. */
static void test_discard__a_full_device_takes_what_waits(void **state) {
  (void)state;
  struct world w = start(DISCARD_BATCHED);
  for (int round = 0; round < 3; round++) {
    take(&w, TOTAL);
    give(&w, FIRST, TOTAL);
    assert_int_equal(space_discard_counts(w.space).waiting, TOTAL);
  }
  take(&w, TOTAL);
  expect_counts(&w, (struct discard_counts){.freed = 3 * TOTAL, .saved = 3 * TOTAL});
  done(&w);
}

static void test_discard__what_a_durable_root_may_name_never_waits(void **state) {
  (void)state;
  struct world w = start(DISCARD_EAGER);
  struct extent object = take(&w, UNIT);
  space_checkpoint_durable(w.space, 2); /* names it */
  space_defer(w.space, &object, 1, 2);
  expect_none(&w);
  space_checkpoint_durable(w.space, 3); /* the root before still does */
  expect_none(&w);
  space_checkpoint_durable(w.space, 4);
  expect_next(&w, object.first, UNIT);
  done(&w);
}

/* ---- clocks and rates -------------------------------------------------------------------------------------------------- */

static void test_discard__a_clock_that_stands_still_or_goes_back_is_only_late(void **state) {
  (void)state;
  struct world w = start(DISCARD_BATCHED);
  take(&w, 2 * UNIT);
  give(&w, FIRST, UNIT);
  for (int i = 0; i < 1000; i++) expect_none(&w);
  w.now = 0;
  expect_none(&w);
  w.now = 1;
  expect_none(&w);
  for (int i = 0; i < 100; i++) { /* back a second, forward a second */
    w.now = (uint64_t)(i % 2 ? 5 : 4) * SECOND;
    struct extent extent;
    if (next(&w, &extent)) space_discard_done(w.space, extent.count, false);
  }
  expect_counts(&w, (struct discard_counts){.freed = UNIT, .discarded = UNIT});
  w.now = UINT64_MAX;
  expect_none(&w);
  w.now = 1;
  expect_none(&w);
  done(&w);
}

static uint64_t discarded_in(struct world *w, uint64_t seconds) {
  struct extent extent;
  uint64_t blocks = 0;
  for (uint64_t tenth = 0; tenth < 10 * seconds; tenth++) {
    while (next(w, &extent)) {
      space_discard_done(w->space, extent.count, false);
      blocks += extent.count;
    }
    w->now += SECOND / 10;
  }
  return blocks;
}

/* Every second unit is free, so that each is a discard of its own. */
static struct world chequered(uint64_t rate) {
  struct world w = start_at(FIRST, DISCARD_BATCHED, BLOCK, rate);
  take(&w, TOTAL);
  for (uint64_t unit = 0; unit < TOTAL / UNIT; unit += 2) give(&w, FIRST + unit * UNIT, UNIT);
  pass(&w, 20);
  return w;
}

static void test_discard__bytes_a_second_are_bounded(void **state) {
  (void)state;
  enum { RATE = 4 * UNIT * BLOCK }; /* four units a second */
  struct world w = chequered(RATE);
  uint64_t first = discarded_in(&w, 1);
  assert_in_range(first, 4 * UNIT, 9 * UNIT); /* a second's worth at once, and one over */
  uint64_t more = discarded_in(&w, 3);
  assert_in_range(more, 11 * UNIT, 13 * UNIT);
  assert_int_equal(first + more + discarded_in(&w, 20), TOTAL / 2);
  done(&w);
}

static void test_discard__operations_a_second_are_bounded_at_any_rate(void **state) {
  (void)state;
  struct world w = start_at(FIRST, DISCARD_BATCHED, BLOCK, UINT64_MAX); /* huge */
  take(&w, TOTAL);
  for (uint64_t at = 0; at < TOTAL; at += 16) give(&w, FIRST + at, 8); /* 256 parts */
  pass(&w, 50);
  assert_in_range(discarded_in(&w, 1), 100 * 8, 201 * 8);
  discarded_in(&w, 5);
  assert_int_equal(space_discard_counts(w.space).discarded, TOTAL / 2);
  done(&w);
  w = chequered(1); /* a byte a second: one, and then the debt is for years */
  assert_int_equal(discarded_in(&w, 100), UNIT);
  done(&w);
}

static void test_discard__at_rest_all_that_waits_is_due_in_its_rate(void **state) {
  (void)state;
  struct world w = start(DISCARD_BATCHED);
  take(&w, 4 * UNIT);
  give(&w, FIRST + UNIT, UNIT);
  give(&w, FIRST + 10, 20);
  give(&w, FIRST + 40, 3); /* too small, now as ever */
  expect_none(&w);
  space_discard_rest(w.space);
  expect_next(&w, FIRST + 10, 20);
  expect_next(&w, FIRST + UNIT, UNIT);
  expect_none(&w);
  expect_counts(&w, (struct discard_counts){.freed = UNIT + 23, .waiting = 3, .discarded = UNIT + 20});
  give(&w, FIRST + 2 * UNIT, UNIT); /* the rest is over */
  pass(&w, 20);
  expect_next(&w, FIRST + 2 * UNIT, UNIT);
  give(&w, FIRST + 3 * UNIT, UNIT);
  space_discard_rest(w.space);
  take(&w, 1); /* so is this one */
  pass(&w, 20);
  expect_next(&w, FIRST + 3 * UNIT, UNIT);
  done(&w);
  w = start_at(FIRST, DISCARD_BATCHED, BLOCK, 4 * UNIT * BLOCK); /* four units a second */
  take(&w, TOTAL);
  for (uint64_t unit = 0; unit < TOTAL / UNIT; unit += 2) give(&w, FIRST + unit * UNIT, UNIT);
  space_discard_rest(w.space);
  assert_in_range(discarded_in(&w, 1), 4 * UNIT, 9 * UNIT);
  assert_in_range(discarded_in(&w, 3), 11 * UNIT, 13 * UNIT);
  done(&w);
}

/* ---- what the device can ------------------------------------------------------------------------------------------------ */

static void test_discard__only_whole_granules_go(void **state) {
  (void)state;
  static const uint64_t firsts[] = {FIRST, FIRST + 1, 255, 256, 300};
  for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
    uint64_t first = firsts[i], random = i;
    struct world w = start_at(first, DISCARD_EAGER, 1 << 20, 0); /* 256 blocks */
    take(&w, TOTAL);
    for (uint64_t at = 0; at < TOTAL; at += 64) { /* in pieces, in no order */
      uint64_t piece = (at / 64 * 37 + random) % (TOTAL / 64);
      give(&w, first + piece * 64, 64);
      for (struct extent extent; next(&w, &extent);) {
        assert_true(extent.count && extent.first % 256 == 0 && extent.count % 256 == 0);
        space_discard_done(w.space, extent.count, false);
      }
    }
    uint64_t whole = (first + TOTAL) / 256 - (first + 255) / 256;
    struct discard_counts counts = space_discard_counts(w.space);
    assert_int_equal(counts.discarded, whole * 256);
    assert_int_equal(counts.waiting, TOTAL - whole * 256); /* the ends, which are no whole granules */
    done(&w);
  }
}

static void test_discard__a_granule_larger_than_an_extent_waits_for_its_neighbours(void **state) {
  (void)state;
  struct world w = start_at(256, DISCARD_BATCHED, 16 * BLOCK, 0);
  take(&w, 2 * UNIT);
  give(&w, 256 + 20, 12); /* of the granule 272 to 288 */
  pass(&w, 100);
  expect_none(&w);
  give(&w, 256 + 16, 4);
  pass(&w, 50);
  expect_next(&w, 256 + 16, 16);
  expect_counts(&w, (struct discard_counts){.freed = 16, .discarded = 16});
  done(&w);
}

static void test_discard__granules_and_blocks_that_do_not_go_together(void **state) {
  (void)state;
  struct world w = start_at(FIRST, DISCARD_EAGER, 3 * 512, 0); /* whole blocks of 4,096 are whole granules every 3 */
  take(&w, TOTAL);
  give(&w, FIRST, 10);
  expect_next(&w, 66, 6); /* 66 to 72; 63 lies outside, 74 to 75 is used */
  done(&w);
  w = start_at(FIRST, DISCARD_EAGER, 1u << 30, 0); /* larger than all there is */
  take(&w, TOTAL);
  give(&w, FIRST, TOTAL);
  expect_none(&w);
  done(&w);
}

static void test_discard__partly_done_and_refused_is_not_tried_again(void **state) {
  (void)state;
  struct world w = start(DISCARD_EAGER);
  struct extent extent;
  take(&w, 2 * UNIT);
  give(&w, FIRST, UNIT);
  assert_true(next(&w, &extent));
  space_discard_done(w.space, 10, false);
  expect_counts(&w, (struct discard_counts){.freed = UNIT, .discarded = 10, .refused = UNIT - 10});
  expect_none(&w);
  give(&w, FIRST + UNIT, UNIT);
  assert_true(next(&w, &extent));
  space_discard_done(w.space, 0, true); /* unsupported: off from now on */
  expect_counts(&w, (struct discard_counts){.freed = 2 * UNIT, .discarded = 10, .refused = 2 * UNIT - 10});
  take(&w, UNIT);
  expect_none(&w);
  assert_false(space_discard_waits(w.space));
  done(&w);
}

/* ---- held ------------------------------------------------------------------------------------------------------------------ */

static void test_discard__what_is_held_is_not_allocated(void **state) {
  (void)state;
  struct world w = start(DISCARD_EAGER);
  struct extent held, extent;
  take(&w, TOTAL);
  give(&w, FIRST + 100, 8);
  give(&w, FIRST + 300, 40);
  assert_true(next(&w, &held));
  assert_int_equal(held.first, FIRST + 100);
  expect_none(&w); /* one at a time */
  assert_int_equal(space_counts(w.space).free, 48);
  extent = take(&w, 8);
  assert_true(extent.first + extent.count <= held.first || extent.first >= held.first + held.count);
  space_discard_done(w.space, 8, false);
  done(&w);
}

struct racer {
  struct space *space;
  struct extent extents[BLOCK_PTR_EXTENTS_MAX];
  uint32_t count;
  int status;
};

static void *allocate(void *context) {
  struct racer *racer = context;
  racer->status = space_allocate_sparing(racer->space, SPACE_LEAF, 40, 0, racer->extents, &racer->count, NULL);
  return NULL;
}

/* The only room is being discarded: an allocation waits for it instead of failing, and so does a promise. */
static void test_discard__an_allocation_waits_for_what_is_held(void **state) {
  (void)state;
#ifdef WODAN_NO_THREADS
  skip();
#endif
  struct world w =
      start_at(FIRST, DISCARD_EAGER, 64 * BLOCK, 0); /* so that a quarter of what is free is not the bound */
  struct racer racer = {.space = w.space, .status = 1};
  struct extent held;
  pthread_t thread;
  take(&w, TOTAL);
  give(&w, FIRST, UNIT);
  assert_true(next(&w, &held));
  assert_int_equal(held.count, UNIT);
  assert_int_equal(pthread_create(&thread, NULL, allocate, &racer), 0);
  for (int i = 0; i < 1000; i++) expect_none(&w);
  space_discard_done(w.space, UNIT, false);
  pthread_join(thread, NULL);
  assert_int_equal(racer.status, 0);
  assert_int_equal(racer.extents[0].first, FIRST);
  expect_counts(&w, (struct discard_counts){.freed = UNIT, .discarded = UNIT});
  done(&w);
}

static void test_discard__no_discard_holds_more_than_a_quarter_of_what_is_free(void **state) {
  (void)state;
  struct world w = start(DISCARD_BATCHED);
  take(&w, TOTAL);
  give(&w, FIRST, 40 * UNIT);
  pass(&w, 20);
  struct extent extent;
  assert_true(next(&w, &extent));
  assert_int_equal(extent.count, 10 * UNIT);
  assert_true(space_reaches(w.space, 20 * UNIT));
  space_discard_done(w.space, extent.count, false);
  done(&w);
}

/* ---- trim -------------------------------------------------------------------------------------------------------------------- */

static uint64_t trim_all(struct world *w, struct space_trim trim, unsigned *pieces) {
  struct extent extent;
  uint64_t blocks = 0;
  for (*pieces = 0; space_trim_next(w->space, &trim, &extent); (*pieces)++) {
    blocks += extent.count;
    if (!trim.look) space_discard_done(w->space, extent.count, false);
  }
  return blocks;
}

static void test_discard__a_trim_takes_all_that_is_free_and_a_look_the_same(void **state) {
  (void)state;
  static const enum discard_policy policies[] = {DISCARD_OFF, DISCARD_BATCHED, DISCARD_EAGER};
  for (size_t p = 0; p < 3; p++) {
    struct world w = start(policies[p]);
    unsigned pieces, looked;
    take(&w, 1000);
    give(&w, FIRST + 100, 10);
    give(&w, FIRST + 500, 3);
    struct space_trim all = {.look = true}, some = {.look = true, .least = 10};
    assert_int_equal(trim_all(&w, all, &looked), TOTAL - 1000 + 13);
    all.look = false;
    assert_int_equal(trim_all(&w, all, &pieces), TOTAL - 1000 + 13);
    assert_int_equal(pieces, looked);
    assert_int_equal(trim_all(&w, some, &looked), TOTAL - 1000 + 10);
    all.most = 7;
    assert_int_equal(trim_all(&w, all, &pieces), TOTAL - 1000 + 13);
    assert_true(pieces > 400);
    assert_int_equal(space_discard_counts(w.space).waiting, 0);
    done(&w);
  }
}

static void test_discard__a_trim_of_what_waits_takes_only_that(void **state) {
  (void)state;
  struct world w = start(DISCARD_BATCHED);
  unsigned pieces;
  struct space_trim trim = {.waiting = true};
  take(&w, 1000);
  assert_int_equal(trim_all(&w, trim, &pieces), 0);
  give(&w, FIRST + 100, 10);
  give(&w, FIRST + 990, 10); /* beside what was free at the mount */
  assert_int_equal(trim_all(&w, trim, &pieces), 20);
  assert_int_equal(pieces, 2);
  expect_counts(&w, (struct discard_counts){.freed = 20, .discarded = 20});
  done(&w);
}

/* ---- all of it at random -------------------------------------------------------------------------------------------------------- */

/* Beside a map of what each block is: an extent that is due is free and was not discarded since it became so, and the sums hold. */
enum { FREE, TAKEN, WAITS };

static void check_due(const uint8_t *map, const struct extent *extent, uint64_t grain) {
  unsigned waits = 0;
  assert_true(extent->count && extent->first % grain == 0 && extent->count % grain == 0);
  for (uint64_t b = extent->first; b < extent->first + extent->count; b++) {
    assert_in_range(b, FIRST, FIRST + TOTAL - 1);
    assert_int_not_equal(map[b - FIRST], TAKEN);
    waits += map[b - FIRST] == WAITS;
  }
  assert_true(waits > 0);
}

static void random_life(uint64_t seed, enum discard_policy policy, uint64_t grain) {
  struct world w = start_at(FIRST, policy, (uint32_t)grain * BLOCK, 0);
  static uint8_t map[TOTAL];
  static struct extent live[TOTAL];
  size_t count = 0;
  uint64_t random = seed, held = 0;
  struct extent extent;
  memset(map, FREE, sizeof map);
  for (int step = 0; step < 4000; step++) {
    uint64_t what = random_below(&random, 8);
    uint32_t n;
    struct extent extents[BLOCK_PTR_EXTENTS_MAX];
    if (what < 3 && space_allocate_sparing(w.space, (enum space_kind)random_below(&random, SPACE_KINDS),
                                           1 + random_below(&random, 90), 0, extents, &n, NULL) == 0)
      for (uint32_t e = 0; e < n; e++) {
        for (uint64_t b = 0; b < extents[e].count; b++) {
          assert_int_not_equal(map[extents[e].first - FIRST + b], TAKEN);
          map[extents[e].first - FIRST + b] = TAKEN;
        }
        live[count++] = extents[e];
      }
    if (what >= 3 && what < 6 && count) {
      size_t at = (size_t)random_below(&random, count);
      give(&w, live[at].first, live[at].count);
      memset(map + live[at].first - FIRST, WAITS, live[at].count);
      live[at] = live[--count];
    }
    if (what >= 6) w.now += random_below(&random, 4) * SECOND;
    for (int i = 0; i < 3 && next(&w, &extent); i++) {
      check_due(map, &extent, grain);
      memset(map + extent.first - FIRST, FREE, extent.count);
      space_discard_done(w.space, extent.count, false);
      held += extent.count;
    }
    uint64_t waits = 0;
    if (step % 64 == 0) {
      for (size_t b = 0; b < TOTAL; b++) waits += map[b] == WAITS;
      struct discard_counts c = space_discard_counts(w.space);
      assert_int_equal(c.waiting, waits);
      assert_int_equal(c.freed, c.waiting + c.saved + c.discarded + c.refused);
    }
  }
  if (!held) fail_msg("seed %llu: nothing was ever due", (unsigned long long)seed);
  done(&w);
}

static void test_discard__random_lives_equal_a_map(void **state) {
  (void)state;
  static const uint64_t grains[] = {1, 2, 16};
  for (uint64_t seed = 1; seed <= 12; seed++)
    random_life(seed, seed % 2 ? DISCARD_BATCHED : DISCARD_EAGER, grains[seed % 3]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_discard__whole_units_come_after_a_quiet_while_as_one),
      cmocka_unit_test(test_discard__parts_of_units_wait_longer_and_small_ones_for_good),
      cmocka_unit_test(test_discard__whole_units_go_before_parts),
      cmocka_unit_test(test_discard__eager_waits_for_nothing),
      cmocka_unit_test(test_discard__off_counts_and_holds_nothing),
      cmocka_unit_test(test_discard__used_again_in_time_it_is_saved),
      cmocka_unit_test(test_discard__a_full_device_takes_what_waits),
      cmocka_unit_test(test_discard__what_a_durable_root_may_name_never_waits),
      cmocka_unit_test(test_discard__a_clock_that_stands_still_or_goes_back_is_only_late),
      cmocka_unit_test(test_discard__bytes_a_second_are_bounded),
      cmocka_unit_test(test_discard__at_rest_all_that_waits_is_due_in_its_rate),
      cmocka_unit_test(test_discard__operations_a_second_are_bounded_at_any_rate),
      cmocka_unit_test(test_discard__only_whole_granules_go),
      cmocka_unit_test(test_discard__a_granule_larger_than_an_extent_waits_for_its_neighbours),
      cmocka_unit_test(test_discard__granules_and_blocks_that_do_not_go_together),
      cmocka_unit_test(test_discard__partly_done_and_refused_is_not_tried_again),
      cmocka_unit_test(test_discard__what_is_held_is_not_allocated),
      cmocka_unit_test(test_discard__an_allocation_waits_for_what_is_held),
      cmocka_unit_test(test_discard__no_discard_holds_more_than_a_quarter_of_what_is_free),
      cmocka_unit_test(test_discard__a_trim_takes_all_that_is_free_and_a_look_the_same),
      cmocka_unit_test(test_discard__a_trim_of_what_waits_takes_only_that),
      cmocka_unit_test(test_discard__random_lives_equal_a_map),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
