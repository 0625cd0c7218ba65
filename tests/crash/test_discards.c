/* Whatever no durable root names may be discarded at any moment, by the host or the device, with every outcome there is: not
 * done, zeros, 0xFF, what was there before, garbage, something else at each read. The engine never trusts it: all content stays
 * right, the check finds nothing, and what is written next lies there as well as anywhere. And a device that does not discard,
 * or fails to, is no worse. The engine issues no discards of its own yet, which is asserted here: when it does, these tests
 * have to learn which ones it may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <wodan/inspect.h>

#include "crash/crash_rig.h"

enum { SIZE = 128 << 10, SECTOR = 512, BLOCK = 512, RECORDS = 120, ROUNDS = 14, VALUE = 90 };

static void make(struct rig *rig, const struct sim_options *options) {
  struct wodan_error error;
  *rig = (struct rig){.random = 4711, .block = BLOCK, .nodes = 4};
  assert_int_equal(sim_create(SIZE, SECTOR, options, &rig->sim), 0);
  if (rig_format(rig, BLOCK, false, &error) < 0) fail_msg("format: %s", error.message);
  rig_open(rig);
}

/* A third of the records again, some of them durable, in an order of the round's own. */
static void write_round(struct rig *rig, unsigned round, unsigned rounds[RECORDS]) {
  for (unsigned i = 0; i < RECORDS; i++) {
    unsigned n = (i * 37 + round * 11) % RECORDS;
    if (i % 3 != round % 3 && round) continue;
    put_number(rig, n, round, VALUE);
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

/* What neither of the two newest roots names, as one who looks at the device sees it. Right behind a checkpoint that is all
 * the engine calls free. */
static unsigned discard_all_free(struct rig *rig) {
  struct wodan_map_cell cells[SIZE / BLOCK];
  struct wodan_device *plug = sim_plug(rig->sim);
  struct wodan_inspect *inspect;
  struct wodan_error error;
  uint64_t per_cell;
  unsigned count = 0;
  assert_int_equal(wodan_inspect_open(plug, NULL, &inspect, &error), 0);
  assert_int_equal(wodan_inspect_map(inspect, cells, SIZE / BLOCK, &per_cell, &error), 0);
  assert_int_equal(per_cell, 1);
  wodan_inspect_close(inspect);
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
      assert_int_equal(sim_count(rig.sim, SIM_DISCARD), discarded); /* none of the engine's */
      assert_int_equal(sim_violations(rig.sim), 0);
      rig_release(&rig);
    }
}

/* Unsupported, refused, failing: always, or now and then. */
static void test_discards__that_fail_fail_nothing_else(void **state) {
  (void)state;
  static const struct {
    uint32_t granularity;
    bool fails;
    uint64_t argument, skip, times;
  } ways[] = {{UINT32_MAX, false, 0, 0, 0},
              {4 * BLOCK, false, 0, 0, 0},
              {0, true, 1, 0, 0},
              {0, true, 0, 0, 0},
              {0, true, 0, 2, 1}};
  for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
    struct sim_options options = {
        .seed = 3, .discard_granularity = ways[way].granularity, .discard = SIM_DISCARD_GARBAGE};
    struct rig rig;
    unsigned rounds[RECORDS] = {0};
    make(&rig, &options);
    struct sim_fault fault = {
        .kind = SIM_DISCARD_EIO, .argument = ways[way].argument, .skip = ways[way].skip, .times = ways[way].times};
    if (ways[way].fails) assert_int_equal(sim_fault_add(rig.sim, &fault), 0);
    for (unsigned round = 0; round < ROUNDS; round++) write_round(&rig, round, rounds);
    expect_content(&rig, rounds, "on a device that cannot discard");
    rig_close(&rig);
    expect_whole(&rig, "on a device that cannot discard");
    assert_int_equal(sim_violations(rig.sim), 0);
    rig_release(&rig);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_discards__of_what_is_free_change_nothing),
      cmocka_unit_test(test_discards__that_fail_fail_nothing_else),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
