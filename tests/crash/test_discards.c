/* Whatever no durable root names may be discarded at any moment, by the host, the device or the engine, with every outcome there
 * is: not done, zeros, 0xFF, what was there before, garbage, something else at each read. The engine never trusts it: all content
 * stays right, the check finds nothing, and what is written next lies there as well as anywhere. Its own discards are looked at
 * one by one (discard_watch): none touches superblocks, journal, the two newest roots, durable or not yet, or what a view needs.
 * A device that does not discard, or fails to, is no worse; and the power fails around and in the midst of discards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <wodan/inspect.h>

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "crash/crash_rig.h"
#include "crash/discard_watch.h"

enum { SIZE = 128 << 10, SECTOR = 512, BLOCK = 512, RECORDS = 120, ROUNDS = 14, VALUE = 90, LARGE = 150 };

static void make(struct rig *rig, const struct sim_options *options) {
  struct wodan_error error;
  *rig = (struct rig){.random = 4711, .block = BLOCK, .nodes = 4, .discard = WODAN_DISCARD_OFF, .step = 1};
  assert_int_equal(sim_create(SIZE, SECTOR, options, &rig->sim), 0);
  if (rig_format(rig, BLOCK, false, &error) < 0) fail_msg("format: %s", error.message);
  rig_open(rig);
}

/* A watch over all discards of a rig. */
struct watched {
  struct mem mem;
  struct discard_watch watch;
  uint8_t pinned[SIZE / SECTOR];
};

static int before_discard(void *context, struct sim *sim, const struct sim_operation *operation) {
  struct watched *watched = context;
  return operation->kind == SIM_DISCARD ? discard_watch(&watched->watch, sim, operation) : 0;
}

static void watch(struct rig *rig, struct watched *watched) {
  memset(watched, 0, sizeof *watched);
  mem_init(&watched->mem, NULL);
  watched->watch.mem = &watched->mem;
  sim_options(rig->sim)->before = before_discard;
  sim_options(rig->sim)->context = watched;
}

static void expect_watched(struct rig *rig, struct watched *watched) {
  if (watched->watch.wrong) fail_msg("%s", watched->watch.why);
  assert_int_equal(sim_violations(rig->sim), 0);
  discard_watch_release(&watched->watch);
}

/* With a policy of its own, and a clock that goes so far at each look. */
static void make_discarding(struct rig *rig, const struct sim_options *options, uint32_t policy, uint64_t step,
                            struct watched *watched) {
  make(rig, options);
  rig_close(rig);
  rig->discard = policy;
  rig->step = step;
  watch(rig, watched);
  rig_open(rig);
}

static struct wodan_stats stats_of(const struct rig *rig) {
  struct wodan_stats stats = {.size = sizeof stats};
  assert_int_equal(wodan_stats(rig->db, &stats), 0);
  return stats;
}

static void expect_sums(const struct rig *rig) {
  struct wodan_stats s = stats_of(rig);
  assert_int_equal(s.discard_freed, s.discard_waiting + s.discard_saved + s.discard_done + s.discard_refused);
}

/* A third of the records again, some of them durable and some of them large values, in an order of the round's own. */
static void write_round(struct rig *rig, unsigned round, unsigned rounds[RECORDS]) {
  for (unsigned i = 0; i < RECORDS; i++) {
    unsigned n = (i * 37 + round * 11) % RECORDS;
    if (i % 3 != round % 3 && round) continue;
    put_number(rig, n, round, n % 9 == 4 ? LARGE : VALUE);
    rounds[n] = round;
    if (i % 29 == 28) assert_int_equal(wodan_sync(rig->db), 0);
  }
  assert_int_equal(wodan_checkpoint(rig->db, NULL), 0);
}

static void expect_content(struct rig *rig, const unsigned rounds[RECORDS], const char *when) {
  for (unsigned n = 0; n < RECORDS; n++) {
    unsigned round = 0;
    int status = get_number(rig, n, &round);
    if (status < 0 || round != rounds[n])
      fail_msg("%s: record %u answers %d, of round %u instead of %u", when, n, status, round, rounds[n]);
  }
}

static void expect_whole(struct rig *rig, const char *when) {
  struct wodan_check_report report;
  struct wodan_error error;
  struct wodan_device *plug = sim_plug(rig->sim);
  assert_int_equal(wodan_check(plug, NULL, &report, &error), 0);
  wodan_device_close(plug);
  if (!report.complete || report.damages || report.warnings) fail_msg("%s: the check finds something", when);
}

/* Each block as one who looks at the device sees it. */
static void count_map(struct rig *rig, struct wodan_map_cell cells[SIZE / BLOCK]) {
  struct wodan_device *plug = sim_plug(rig->sim);
  struct wodan_inspect *inspect;
  struct wodan_error error;
  uint64_t per_cell;
  assert_int_equal(wodan_inspect_open(plug, NULL, &inspect, &error), 0);
  assert_int_equal(wodan_inspect_map(inspect, cells, SIZE / BLOCK, &per_cell, &error), 0);
  assert_int_equal(per_cell, 1);
  wodan_inspect_close(inspect);
  wodan_device_close(plug);
}

/* What neither of the two newest roots names, as one who looks at the device sees it. Right behind a checkpoint that is all
 * the engine calls free. */
static unsigned discard_all_free(struct rig *rig) {
  struct wodan_map_cell cells[SIZE / BLOCK];
  unsigned count = 0;
  count_map(rig, cells);
  struct wodan_device *plug = sim_plug(rig->sim);
  for (uint64_t block = 0; block < SIZE / BLOCK; block++) {
    if (cells[block].blocks[WODAN_MAP_FREE] == 0) continue;
    struct wodan_io io = {.kind = WODAN_IO_DISCARD, .offset = block * BLOCK, .size = BLOCK};
    assert_int_equal(plug->ops->transfer(plug, &io, 1), 0);
    count++;
  }
  wodan_device_close(plug);
  return count;
}

static void test_discards__of_what_is_free_change_nothing(void **state) {
  (void)state;
  for (uint8_t outcome = 0; outcome < SIM_DISCARD_CHOICES; outcome++)
    for (int at_rest = 0; at_rest < 2; at_rest++) {
      struct sim_options options = {.seed = outcome, .discard = outcome, .keep_older = true};
      struct rig rig;
      unsigned rounds[RECORDS] = {0};
      uint64_t discarded = 0;
      make(&rig, &options);
      for (unsigned round = 0; round < ROUNDS; round++) {
        write_round(&rig, round, rounds);
        if (at_rest) rig_close(&rig);
        discarded += discard_all_free(&rig);
        if (at_rest) rig_open(&rig);
        expect_content(&rig, rounds, "behind a discard");
        expect_whole(&rig, "behind a discard");
        if (round % 4 == 3) assert_int_equal(wodan_compact(rig.db, NULL, NULL, 0, NULL), 0);
      }
      rig_close(&rig);
      expect_whole(&rig, "closed");
      rig_open(&rig);
      expect_content(&rig, rounds, "opened again");
      rig_close(&rig);
      assert_true(discarded > 50 * ROUNDS);
      assert_int_equal(sim_count(rig.sim, SIM_DISCARD), discarded); /* off: none of the engine's */
      assert_int_equal(sim_violations(rig.sim), 0);
      rig_release(&rig);
    }
}

static const uint64_t SECOND = 1000000000;

/* Its own, beside overwrites, compaction and reopening; and a full trim in each round. */
static void test_discards__of_the_engine_touch_nothing_that_is_needed(void **state) {
  (void)state;
  for (uint8_t outcome = 0; outcome < SIM_DISCARD_CHOICES; outcome++)
    for (int eager = 0; eager < 2; eager++) {
      struct sim_options options = {.seed = outcome, .discard = outcome, .keep_older = true};
      struct rig rig;
      struct watched watched;
      unsigned rounds[RECORDS] = {0};
      make_discarding(&rig, &options, eager ? WODAN_DISCARD_EAGER : WODAN_DISCARD_BATCHED, 2 * SECOND, &watched);
      for (unsigned round = 0; round < ROUNDS; round++) {
        write_round(&rig, round, rounds);
        expect_content(&rig, rounds, "behind a round");
        expect_whole(&rig, "behind a round");
        if (round % 4 == 3) assert_int_equal(wodan_compact(rig.db, NULL, NULL, 0, NULL), 0);
        expect_sums(&rig);
        if (round % 3 == 2) {
          struct wodan_trim_report report = {.size = sizeof report};
          assert_int_equal(wodan_trim(rig.db, NULL, &report), 0);
          assert_true(report.bytes > 0 && report.refused == 0);
          expect_content(&rig, rounds, "behind a trim");
          rig_close(&rig);
          expect_whole(&rig, "closed");
          rig_open(&rig);
        }
      }
      uint64_t before = watched.watch.discards;
      rig_close(&rig);
      expect_whole(&rig, "closed");
      rig_open(&rig);
      expect_content(&rig, rounds, "opened again");
      rig_close(&rig);
      assert_true(before > (eager ? 10 * ROUNDS : ROUNDS));
      expect_watched(&rig, &watched);
      rig_release(&rig);
    }
}

/* What a view reads is never discarded, whoever does it, and all of it is soon after the view is closed. */
static void test_discards__leave_what_a_view_needs(void **state) {
  (void)state;
  for (uint8_t outcome = SIM_DISCARD_ZERO; outcome < SIM_DISCARD_CHOICES; outcome++) {
    struct sim_options options = {.seed = outcome, .discard = outcome, .keep_older = true};
    struct rig rig;
    struct watched watched;
    struct wodan_view *view;
    unsigned rounds[RECORDS] = {0}, then[RECORDS];
    make_discarding(&rig, &options, WODAN_DISCARD_EAGER, 1, &watched);
    write_round(&rig, 0, rounds);
    assert_int_equal(wodan_compact(rig.db, NULL, NULL, 0, NULL), 0);
    assert_int_equal(wodan_checkpoint(rig.db, NULL), 0);
    memcpy(then, rounds, sizeof then);
    assert_int_equal(wodan_view_open(rig.db, &view), 0);
    assert_int_equal(discard_watch_pin(&watched.watch, rig.sim, watched.pinned, SIZE / SECTOR), 0);
    watched.watch.pinned = watched.pinned;
    for (unsigned round = 1; round < 6; round++) {
      write_round(&rig, round, rounds);
      if (round % 2) assert_int_equal(wodan_compact(rig.db, NULL, NULL, 0, NULL), 0);
      assert_int_equal(wodan_trim(rig.db, NULL, NULL), 0);
      for (unsigned n = 0; n < RECORDS; n++) {
        char key[16], value[160];
        unsigned found = 99;
        size_t size;
        snprintf(key, sizeof key, "n%03u", n);
        assert_int_equal(wodan_get(rig.db, view, text(key), value, sizeof value, &size), 0);
        assert_int_equal(sscanf(value, "r%u:", &found), 1);
        assert_int_equal(found, then[n]);
      }
      expect_content(&rig, rounds, "beside a view");
    }
    assert_true(watched.watch.discards > 20);
    uint64_t before = stats_of(&rig).discard_freed;
    watched.watch.pinned = NULL;
    wodan_view_close(view);
    for (unsigned round = 6; round < 9; round++) write_round(&rig, round, rounds);
    assert_true(stats_of(&rig).discard_freed > before);
    expect_content(&rig, rounds, "behind a view");
    rig_close(&rig);
    expect_watched(&rig, &watched);
    rig_release(&rig);
  }
}

/* A watch that finds nothing must be able to: a discard of what the newest root has is told. */
static void test_discards__the_watch_sees_a_wrong_one(void **state) {
  (void)state;
  struct sim_options options = {.seed = 1};
  struct rig rig;
  struct watched watched;
  unsigned rounds[RECORDS] = {0}, told = 0;
  make_discarding(&rig, &options, WODAN_DISCARD_OFF, 1, &watched);
  write_round(&rig, 0, rounds);
  struct wodan_device *plug = sim_plug(rig.sim);
  for (uint64_t block = 0; block < SIZE / BLOCK; block++) {
    struct wodan_io io = {.kind = WODAN_IO_DISCARD, .offset = block * BLOCK, .size = BLOCK};
    told += plug->ops->transfer(plug, &io, 1) != 0;
  }
  wodan_device_close(plug);
  assert_int_equal(watched.watch.discards, SIZE / BLOCK);
  assert_int_equal(watched.watch.wrong, told);
  assert_true(told > 40 && told < SIZE / BLOCK);
  assert_int_equal(sim_violations(rig.sim), told);
  expect_content(&rig, rounds, "behind refused discards");
  rig_close(&rig);
  discard_watch_release(&watched.watch);
  rig_release(&rig);
}

/* A large value that only the journal names is needed as soon as its operation is durable, and still when it was overwritten
 * before a checkpoint, for the older root's replay. */
static void test_discards__the_watch_knows_what_the_journal_names(void **state) {
  (void)state;
  struct sim_options options = {.seed = 1};
  struct rig rig;
  struct watched watched;
  struct wodan_info info = {.size = sizeof info};
  make_discarding(&rig, &options, WODAN_DISCARD_OFF, 1, &watched);
  assert_int_equal(wodan_info(rig.db, &info), 0);
  assert_true(LARGE > info.value_size_inline);
  for (unsigned round = 1; round <= 2; round++) {
    uint64_t before = watched.watch.wrong, named = 0;
    put_number(&rig, 0, round, LARGE);
    assert_int_equal(wodan_sync(rig.db), 0);
    if (round == 2) put_number(&rig, 0, 3, VALUE);
    if (round == 2) assert_int_equal(wodan_checkpoint(rig.db, NULL), 0);
    struct wodan_map_cell cells[SIZE / BLOCK];
    count_map(&rig, cells);
    struct wodan_device *plug = sim_plug(rig.sim);
    for (uint64_t block = 0; block < SIZE / BLOCK; block++) {
      struct wodan_io io = {.kind = WODAN_IO_DISCARD, .offset = block * BLOCK, .size = BLOCK};
      uint32_t kind = round == 1 ? WODAN_MAP_LARGE : WODAN_MAP_PREVIOUS;
      if (cells[block].blocks[kind] == 0) continue;
      assert_int_not_equal(plug->ops->transfer(plug, &io, 1), 0);
      named++;
    }
    wodan_device_close(plug);
    assert_true(named >= 1);
    assert_int_equal(watched.watch.wrong - before, named);
  }
  rig_close(&rig);
  discard_watch_release(&watched.watch);
  rig_release(&rig);
}

/* Unsupported, refused, failing: always, or now and then; a granularity of more than a block, requests of less. */
static void test_discards__that_fail_fail_nothing_else(void **state) {
  (void)state;
  static const struct {
    uint32_t granularity, maximum;
    bool fails;
    uint64_t argument, skip, times;
    bool trims; /* wodan_trim answers 0 */
  } ways[] = {{UINT32_MAX, 0, false, 0, 0, 0, false},
              {4 * BLOCK, 0, false, 0, 0, 0, true},
              {0, 0, true, 1, 0, 0, false},
              {0, 0, true, 0, 0, 0, true},
              {0, 0, true, 0, 2, 1, true},
              {0, 0, true, 1, 5, 0, false},
              {BLOCK, 2 * BLOCK, true, 0, 7, 3, true},
              {4 * BLOCK, 2 * BLOCK, false, 0, 0, 0, true}};
  for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
    struct sim_options options = {.seed = 3,
                                  .discard_granularity = ways[way].granularity,
                                  .io_maximum = ways[way].maximum,
                                  .discard = SIM_DISCARD_GARBAGE};
    struct rig rig;
    struct watched watched;
    unsigned rounds[RECORDS] = {0};
    make_discarding(&rig, &options, WODAN_DISCARD_EAGER, 1, &watched);
    struct sim_fault fault = {
        .kind = SIM_DISCARD_EIO, .argument = ways[way].argument, .skip = ways[way].skip, .times = ways[way].times};
    if (ways[way].fails) assert_int_equal(sim_fault_add(rig.sim, &fault), 0);
    for (unsigned round = 0; round < ROUNDS; round++) write_round(&rig, round, rounds);
    expect_sums(&rig);
    struct wodan_stats stats = stats_of(&rig);
    if (ways[way].granularity == UINT32_MAX) assert_int_equal(stats.device_discards, 0);
    if (ways[way].fails) assert_true(stats.discard_refused > 0);
    if (ways[way].argument) assert_int_equal(stats.device_discards, ways[way].skip + 1); /* off from then on */
    int status = wodan_trim(rig.db, NULL, NULL);
    assert_int_equal(status, ways[way].trims ? 0 : WODAN_ENOTSUP);
    expect_content(&rig, rounds, "on a device that cannot discard");
    rig_close(&rig);
    expect_whole(&rig, "on a device that cannot discard");
    expect_watched(&rig, &watched);
    rig_release(&rig);
  }
}

/* ---- power cuts around discards ---------------------------------------------------------------------------------------- */

/* The same history up to mutation `cut`, with the power gone then. Returns what was put last in each round that is durable. */
static void play(struct rig *rig, struct watched *watched, uint8_t outcome, uint64_t cut, unsigned durable[RECORDS]) {
  struct sim_options options = {.seed = outcome, .discard = outcome, .keep_older = true, .log = cut == UINT64_MAX};
  unsigned rounds[RECORDS] = {0};
  make_discarding(rig, &options, WODAN_DISCARD_EAGER, 1, watched);
  sim_cut_at(rig->sim, cut);
  memset(durable, 0, RECORDS * sizeof *durable);
  for (unsigned round = 1; round < 7; round++) {
    char key[16], value[VALUE];
    memset(value, '#', sizeof value);
    for (unsigned n = 0; n < RECORDS; n++) {
      if (n % 3 == round % 3) continue;
      snprintf(key, sizeof key, "n%03u", n);
      value[snprintf(value, 8, "r%u:", round)] = '#';
      value[VALUE - 1] = 0;
      if (rig_put(rig, key, value, false) < 0) return;
      rounds[n] = round;
    }
    if (wodan_checkpoint(rig->db, NULL) < 0) return;
    memcpy(durable, rounds, sizeof rounds);
  }
}

/* Not older than what was acknowledged. */
static void expect_at_least(struct rig *rig, const unsigned durable[RECORDS], uint64_t cut) {
  for (unsigned n = 0; n < RECORDS; n++) {
    unsigned round = 0;
    int status = get_number(rig, n, &round);
    bool right = status == 0 ? round >= durable[n] : status == WODAN_ENOTFOUND && durable[n] == 0;
    if (!right) fail_msg("cut at %llu: record %u answers %d, round %u", (unsigned long long)cut, n, status, round);
  }
}

/* Just before a discard (what is free is still there), just behind it, and between it and the writes that follow; each with
 * sampled states of the window, in which discards land in all ways. */
static void test_discards__and_power_cuts_between_free_discard_and_reuse(void **state) {
  (void)state;
  for (uint8_t outcome = SIM_DISCARD_ZERO; outcome < SIM_DISCARD_CHOICES; outcome++) {
    struct rig rig;
    struct watched watched;
    unsigned durable[RECORDS], cuts = 0;
    size_t count;
    play(&rig, &watched, outcome, UINT64_MAX, durable);
    const struct sim_operation *log = sim_log(rig.sim, &count);
    uint64_t *mutations = malloc(count * sizeof *mutations), found = 0;
    for (size_t i = 0; i < count; i++)
      if (log[i].kind == SIM_DISCARD) mutations[found++] = log[i].mutation;
    rig_close(&rig);
    expect_watched(&rig, &watched);
    rig_release(&rig);
    assert_true(found > 10);
    for (uint64_t d = 0; d < found; d += 1 + found / 12)
      for (uint64_t behind = 0; behind < 4; behind += 1 + (behind > 0), cuts++) {
        static uint8_t choice[1 << 16];
        struct sim_image image;
        struct wodan_error error;
        uint64_t random = d * 4 + behind;
        play(&rig, &watched, outcome, mutations[d] + behind, durable);
        rig_drop(&rig);
        assert_int_equal(sim_image_init(&image, rig.sim), 0);
        assert_true(sim_choice_size_max(rig.sim) <= sizeof choice);
        size_t size = sim_choice_sample(rig.sim, &random, d % 2, choice);
        sim_image_choose(&image, rig.sim, choice, size);
        assert_int_equal(sim_load(rig.sim, &image), 0);
        sim_image_release(&image);
        if (rig_try_open(&rig, 0, &error) < 0)
          fail_msg("cut at %llu: %s", (unsigned long long)mutations[d], error.message);
        expect_at_least(&rig, durable, mutations[d] + behind);
        put_ok(&rig, "after", "the cut", true);
        rig_close(&rig);
        expect_whole(&rig, "behind a power cut");
        expect_watched(&rig, &watched);
        rig_release(&rig);
      }
    free(mutations);
    assert_true(cuts > 20);
  }
}

/* ---- at the ends of a handle ------------------------------------------------------------------------------------------- */

static void test_discards__that_wait_at_close_are_forgotten_and_a_trim_finds_them(void **state) {
  (void)state;
  struct sim_options options = {.seed = 1, .discard = SIM_DISCARD_GARBAGE};
  struct rig rig;
  struct watched watched;
  unsigned rounds[RECORDS] = {0};
  make_discarding(&rig, &options, WODAN_DISCARD_BATCHED, 0, &watched); /* the clock stands still */
  for (unsigned round = 0; round < 4; round++) write_round(&rig, round, rounds);
  struct wodan_stats stats = stats_of(&rig);
  assert_true(stats.discard_waiting > 0);
  assert_int_equal(stats.device_discards, 0);
  rig_close(&rig);
  assert_int_equal(watched.watch.discards, 0);
  rig_open(&rig);
  assert_int_equal(stats_of(&rig).discard_waiting, 0);
  struct wodan_trim_options waiting = {.size = sizeof waiting, .flags = WODAN_TRIM_WAITING};
  struct wodan_trim_report report = {.size = sizeof report};
  assert_int_equal(wodan_trim(rig.db, &waiting, &report), 0);
  assert_int_equal(report.bytes, 0);
  assert_int_equal(wodan_trim(rig.db, NULL, &report), 0);
  assert_int_equal(report.bytes, stats_of(&rig).space_free);
  write_round(&rig, 4, rounds);
  write_round(&rig, 5, rounds);
  uint64_t waits = stats_of(&rig).discard_waiting;
  assert_true(waits > 0);
  assert_int_equal(wodan_trim(rig.db, &waiting, &report), 0);
  assert_int_equal(report.bytes, waits); /* blocks are whole granules here */
  assert_int_equal(stats_of(&rig).discard_waiting, 0);
  expect_content(&rig, rounds, "behind all that");
  rig_close(&rig);
  expect_watched(&rig, &watched);
  rig_release(&rig);
}

static int stop_at_third(void *context, const struct wodan_trim_report *report) {
  (void)context;
  return report->discards == 3;
}

/* A handle that only reads discards nothing and may look; a look tells what a trim then does, whatever the bounds. */
static void test_discards__a_dry_run_equals_the_trim_and_writes_nothing(void **state) {
  (void)state;
  static const struct wodan_trim_options bounds[] = {
      {.minimum = 0}, {.minimum = 3 * BLOCK + 1}, {.maximum = 1}, {.maximum = 5 * BLOCK, .minimum = 2 * BLOCK}};
  struct sim_options options = {.seed = 1, .discard = SIM_DISCARD_RANDOM};
  struct rig rig;
  struct watched watched;
  struct wodan_error error;
  unsigned rounds[RECORDS] = {0};
  make_discarding(&rig, &options, WODAN_DISCARD_OFF, 1, &watched);
  for (unsigned round = 0; round < 4; round++) write_round(&rig, round, rounds);
  rig_close(&rig);
  for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
    struct wodan_trim_options trim = bounds[i];
    struct wodan_trim_report dry = {.size = sizeof dry}, real = {.size = sizeof real};
    assert_int_equal(rig_try_open(&rig, WODAN_OPEN_READ_ONLY, &error), 0);
    uint64_t before = sim_mutations(rig.sim);
    assert_int_equal(wodan_trim(rig.db, &trim, &real), WODAN_EREADONLY);
    trim.flags = WODAN_TRIM_DRY_RUN;
    assert_int_equal(wodan_trim(rig.db, &trim, &dry), 0);
    rig_close(&rig);
    assert_int_equal(sim_mutations(rig.sim), before);
    rig_open(&rig);
    trim.flags = 0;
    assert_int_equal(wodan_trim(rig.db, &trim, &real), 0);
    assert_true(real.bytes > 0 && real.refused == 0);
    assert_int_equal(real.bytes, dry.bytes);
    assert_int_equal(real.discards, dry.discards);
    trim.progress = stop_at_third;
    trim.maximum = 1;
    assert_int_equal(wodan_trim(rig.db, &trim, &real), 0);
    assert_int_equal(real.discards, 3);
    rig_close(&rig);
    expect_whole(&rig, "behind a trim");
  }
  expect_watched(&rig, &watched);
  rig_release(&rig);
}

/* ---- threads ------------------------------------------------------------------------------------------------------------- */

/* A device on which each discard takes its time. */
struct slow {
  struct wodan_device base;
  struct wodan_device *inner;
  _Atomic int going;    /* discards on their way */
  _Atomic uint64_t met; /* writes that came meanwhile */
};

static int slow_transfer(struct wodan_device *device, struct wodan_io *requests, size_t count) {
  struct slow *slow = (struct slow *)(void *)device;
  bool discard = requests[0].kind == WODAN_IO_DISCARD;
  if (requests[0].kind == WODAN_IO_WRITE && atomic_load(&slow->going)) atomic_fetch_add(&slow->met, 1);
  if (discard) {
    struct timespec pause = {.tv_nsec = 2000000};
    atomic_fetch_add(&slow->going, 1);
    nanosleep(&pause, NULL);
  }
  int status = slow->inner->ops->transfer(slow->inner, requests, count);
  if (discard) atomic_fetch_sub(&slow->going, 1);
  return status;
}
static int slow_barrier(struct wodan_device *device) {
  struct slow *slow = (struct slow *)(void *)device;
  return slow->inner->ops->barrier(slow->inner);
}
static int slow_flush(struct wodan_device *device) {
  struct slow *slow = (struct slow *)(void *)device;
  return slow->inner->ops->flush(slow->inner);
}
static int slow_close(struct wodan_device *device) {
  (void)device;
  return 0;
}
static const struct wodan_device_ops SLOW_OPS = {.size = sizeof SLOW_OPS,
                                                 .transfer = slow_transfer,
                                                 .barrier = slow_barrier,
                                                 .flush = slow_flush,
                                                 .close = slow_close};

static void *trim_on(void *context) {
  struct wodan_db *db = context;
  for (int i = 0; i < 6; i++)
    if (wodan_trim(db, NULL, NULL) < 0) return db;
  return NULL;
}

/* Slow discards by the background thread, and trims by another, while this one writes, checkpoints and fills the volume nearly:
 * writes go on meanwhile, none is refused, and nothing is lost. */
static void test_discards__that_are_slow_and_trims_let_writers_go_on(void **state) {
  (void)state;
#ifdef WODAN_NO_THREADS
  skip();
#endif
  struct sim_options options = {.seed = 5, .discard = SIM_DISCARD_GARBAGE};
  struct rig rig;
  struct watched watched;
  unsigned rounds[RECORDS] = {0};
  pthread_t trimmer;
  void *failed = NULL;
  make(&rig, &options);
  rig_close(&rig);
  watch(&rig, &watched);
  struct slow slow = {.base = {.ops = &SLOW_OPS}, .inner = sim_plug(rig.sim)};
  slow.base.geometry = slow.inner->geometry;
  struct wodan_open_options open = {.memory_budget = 640 << 10, .discard = WODAN_DISCARD_EAGER};
  struct wodan_error error;
  if (wodan_open(&slow.base, &open, &rig.db, &error) < 0) fail_msg("%s", error.message);
  write_round(&rig, 0, rounds);
  assert_int_equal(pthread_create(&trimmer, NULL, trim_on, rig.db), 0);
  for (unsigned round = 1; round < ROUNDS; round++) write_round(&rig, round, rounds);
  pthread_join(trimmer, &failed);
  assert_null(failed);
  expect_content(&rig, rounds, "beside slow discards");
  rig_close(&rig);
  assert_true(atomic_load(&slow.met) > 0);
  wodan_device_close(slow.inner);
  expect_whole(&rig, "beside slow discards");
  expect_watched(&rig, &watched);
  rig_release(&rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_discards__of_what_is_free_change_nothing),
      cmocka_unit_test(test_discards__of_the_engine_touch_nothing_that_is_needed),
      cmocka_unit_test(test_discards__leave_what_a_view_needs),
      cmocka_unit_test(test_discards__the_watch_sees_a_wrong_one),
      cmocka_unit_test(test_discards__the_watch_knows_what_the_journal_names),
      cmocka_unit_test(test_discards__that_fail_fail_nothing_else),
      cmocka_unit_test(test_discards__and_power_cuts_between_free_discard_and_reuse),
      cmocka_unit_test(test_discards__that_wait_at_close_are_forgotten_and_a_trim_finds_them),
      cmocka_unit_test(test_discards__a_dry_run_equals_the_trim_and_writes_nothing),
      cmocka_unit_test(test_discards__that_are_slow_and_trims_let_writers_go_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
