/* Wear: the data area is written evenly over a long run, whatever share of it is live and whether little or all of that changes:
 * allocation goes on round the device. Counted by the simulated device, in 32 groups; the superblocks are written once, by format,
 * and the ring has its turns. bench/wear.c prints the same for larger devices.
 *
 * The bound: a run of n rounds ends within a round, so a group may be written n + 1 times where another is n times, and what is
 * never rewritten keeps its places from being written: 1.1 to 1.25 at the ten rounds here, and up to 1.5 is taken. Without the
 * reach of space.c the first of them gave 1.9. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <wodan/wodan.h>
#include "dev/dev_sim.h"
#include "support/random.h"

enum { SIZE = 16 << 20, SECTOR = 512, VALUE = 200, RECORD = 224, GROUPS = 32, LAPS = 14 };

struct wear {
  double most, mean;
};

static struct wear wear_of(const struct sim *sim, uint64_t first, uint64_t end, unsigned groups) {
  struct wear wear = {0, 0};
  uint64_t sectors = (end - first) / SECTOR / groups;
  for (unsigned g = 0; g < groups; g++) {
    double writes = 0;
    for (uint64_t i = 0; i < sectors; i++) writes += sim_write_count(sim, first / SECTOR + g * sectors + i);
    writes /= (double)sectors;
    wear.mean += writes / groups;
    if (writes > wear.most) wear.most = writes;
  }
  return wear;
}

static void put(struct wodan_db *db, uint64_t n, uint64_t version) {
  char key[24], value[VALUE];
  memset(value, (int)('a' + version % 26), sizeof value);
  struct wodan_slice k = {key, (size_t)snprintf(key, sizeof key, "%012llu", (unsigned long long)n * 7919 % 1000003)};
  assert_int_equal(wodan_put(db, k, (struct wodan_slice){value, VALUE}, NULL), 0);
}

/* `live` percent of the device are records, of which `hot` percent are overwritten at random. */
static void run(unsigned live, unsigned hot, uint32_t policy, double bound) {
  struct sim_options device = {.discard = SIM_DISCARD_ZERO};
  struct wodan_open_options options = {.flags = WODAN_OPEN_INLINE, .discard = policy};
  struct wodan_stats stats = {.size = sizeof stats};
  struct wodan_info info = {.size = sizeof info};
  struct wodan_error error;
  struct sim *sim;
  struct wodan_db *db;
  uint64_t records = (uint64_t)SIZE / 100 * live / RECORD, random = 3;
  assert_int_equal(sim_create(SIZE, SECTOR, &device, &sim), 0);
  assert_int_equal(wodan_format(sim_device(sim), NULL, &error), 0);
  if (wodan_open(sim_device(sim), &options, &db, &error) < 0) fail_msg("%s", error.message);
  wodan_info(db, &info);
  for (uint64_t n = 0; n < records; n++) put(db, n, 0);
  for (uint64_t n = 1; stats.device_write_bytes < (uint64_t)LAPS * SIZE; n++) {
    put(db, random_below(&random, records * hot / 100), n);
    if (n % 500 == 0) {
      assert_int_equal(wodan_sync(db), 0);
      wodan_stats(db, &stats);
    }
  }
  uint64_t ring = info.block_size, data = ring + info.journal_size, end = SIZE - ring;
  struct wear of_data = wear_of(sim, data, end, GROUPS), of_ring = wear_of(sim, ring, data, 8);
  print_message("%u %% live, %u %% of it hot: most / mean %.2f of %.1f writes, ring %.2f of %.1f\n", live, hot,
                of_data.most / of_data.mean, of_data.mean, of_ring.most / of_ring.mean, of_ring.mean);
  assert_true(of_data.mean > 2);
  assert_true(of_data.most / of_data.mean < bound);
  assert_true(of_ring.most / of_ring.mean < 1.3);
  for (uint64_t s = 0; s < ring / SECTOR; s++) assert_in_range(sim_write_count(sim, s), 0, 1);
  for (uint64_t s = end / SECTOR; s < SIZE / SECTOR; s++) assert_in_range(sim_write_count(sim, s), 0, 1);
  assert_int_equal(wodan_close(db, &error), 0); /* and the device */
}

static void test_wear__is_even(void **state) {
  (void)state;
  run(5, 100, WODAN_DISCARD_EAGER, 1.5);
  run(50, 100, WODAN_DISCARD_BATCHED, 1.5);
  run(50, 2, WODAN_DISCARD_OFF, 1.5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_wear__is_even),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
