/* Power cuts at every device operation of the scenarios below. What is demanded of each crash state is in
 * support/power_cut.h. WODAN_CRASH_BUDGET sets how many states of a window are looked at, WODAN_SEED the random part,
 * WODAN_CRASH_SECONDS goes on with random scenarios for so long (tools/crash.sh), WODAN_CRASH_ONLY picks one. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "support/power_cut.h"
#include "support/random.h"

static const struct cut_geometry TINY = {"32 KiB, 512-byte blocks, sector 512", 32 << 10, 512, 512, 0, 0, false};
static const struct cut_geometry TORN = {"32 KiB, 512-byte blocks, sector 128", 32 << 10, 128, 512, 0, 0, false};
static const struct cut_geometry WIDE = {"64 KiB, 1 KiB blocks, sector 512", 64 << 10, 512, 1024, 0, 0, false};
static const struct cut_geometry BIG = {"256 KiB, 4 KiB blocks, sector 512", 256 << 10, 512, 4096, 0, 0, false};
/* A node splits at its fifth entry. */
static const struct cut_geometry TREE = {"128 KiB, 512-byte blocks, nodes of 4", 128 << 10, 512, 512, 4, 4, false};
static const struct cut_geometry TALL = {"256 KiB, 512-byte blocks, nodes of 4", 256 << 10, 512, 512, 4, 4, false};
static const struct cut_geometry PACKED = {
    "128 KiB, 512-byte blocks, nodes of 4, compression by turns", 128 << 10, 512, 512, 4, 4, true};
static const struct cut_geometry *const GEOMETRIES[] = {&TINY, &TORN, &WIDE, &BIG, &TREE, &TALL, &PACKED};
enum { GEOMETRY_COUNT = sizeof GEOMETRIES / sizeof *GEOMETRIES };

#define PUT(count, size)                                                                                               \
  { CUT_PUT, count, size }
#define OVERWRITE(count, size)                                                                                         \
  { CUT_OVERWRITE, count, size }
#define DELETE(count)                                                                                                  \
  { CUT_DELETE, count, 0 }
#define BATCH(count, size)                                                                                             \
  { CUT_BATCH, count, size }
#define DURABLE(count, size)                                                                                           \
  { CUT_DURABLE, count, size }
#define FILL(count, size)                                                                                              \
  { CUT_FILL, count, size }
#define SYNC                                                                                                           \
  { CUT_SYNC, 0, 0 }
#define CHECKPOINT                                                                                                     \
  { CUT_CHECKPOINT, 0, 0 }
#define REOPEN                                                                                                         \
  { CUT_REOPEN, 0, 0 }
#define DELETE_ALL                                                                                                     \
  { CUT_DELETE_ALL, 0, 0 }
#define VIEW                                                                                                           \
  { CUT_VIEW, 0, 0 }
#define UNVIEW                                                                                                         \
  { CUT_UNVIEW, 0, 0 }
#define COMPACT(kib)                                                                                                   \
  { CUT_COMPACT, kib, 0 }
#define KILL                                                                                                           \
  { CUT_KILL, 0, 0 }
#define POWER                                                                                                          \
  { CUT_POWER, 0, 0 }
#define STEPS(...)                                                                                                     \
  .steps = (const struct cut_step[]){__VA_ARGS__},                                                                     \
  .count = sizeof((const struct cut_step[]){__VA_ARGS__}) / sizeof(struct cut_step)

/* clang-format off */
static const struct cut_scenario SCENARIOS[] = {
    {"one put, one sync", &TORN, .deep = true, STEPS(PUT(1, 20), SYNC)},
    {"durable puts, torn sectors", &TORN, .deep = true, STEPS(DURABLE(3, 60), OVERWRITE(2, 30), SYNC)},
    {"buffered puts are a suffix", &TINY, .deep = true, STEPS(PUT(3, 40), SYNC, PUT(3, 40))},
    {"records of several blocks", &TORN, .deep = true,
     STEPS(PUT(6, 100), SYNC, BATCH(6, 100), SYNC, PUT(5, 100), SYNC)},
    {"checkpoint after checkpoint", &TINY, .deep = true,
     STEPS(PUT(4, 60), CHECKPOINT, OVERWRITE(4, 60), CHECKPOINT, OVERWRITE(4, 60),
           CHECKPOINT, DELETE(2), CHECKPOINT)},
    {"sync, then the checkpoint goes past it", &TORN, .deep = true,
     STEPS(DURABLE(2, 50), PUT(3, 50), CHECKPOINT, DURABLE(2, 50), PUT(1, 10))},
    {"durable puts round the ring", &TINY, .deep = true, STEPS(DURABLE(40, 30))},
    {"torn durable puts round the ring", &TORN, STEPS(DURABLE(24, 120), OVERWRITE(6, 100), SYNC)},
    {"close and open", &TINY, .deep = true,
     STEPS(PUT(3, 40), REOPEN, DURABLE(1, 40), REOPEN, REOPEN, PUT(2, 10))},
    {"seals round the ring", &TINY,
     STEPS(PUT(1, 9), REOPEN, PUT(1, 9), REOPEN, PUT(1, 9), REOPEN, PUT(1, 9),
           REOPEN, PUT(1, 9), REOPEN, DURABLE(1, 9), REOPEN)},
    {"full memtables freeze and drain", &TINY, STEPS(PUT(60, 100), SYNC)},
    {"full memtables freeze and drain, journaled", &TORN,
     STEPS(PUT(10, 100), SYNC, PUT(12, 100), DURABLE(1, 100), PUT(20, 100), SYNC)},
    {"a sweep of many runs", &WIDE, STEPS(PUT(120, 60), OVERWRITE(150, 60), CHECKPOINT)},
    {"overwrites and deletes through leaves", &WIDE, .deep = true,
     STEPS(PUT(60, 120), CHECKPOINT, OVERWRITE(40, 120), SYNC, DELETE(30),
           CHECKPOINT, OVERWRITE(10, 5), SYNC)},
    {"everything deleted", &TINY, .deep = true,
     STEPS(PUT(30, 60), CHECKPOINT, DELETE_ALL, CHECKPOINT, PUT(2, 9), SYNC)},
    {"filled, then emptied", &TINY, STEPS(FILL(400, 100), SYNC, DELETE_ALL, SYNC, PUT(9, 99))},
    {"filled with durable puts", &TINY, STEPS(DURABLE(300, 120), OVERWRITE(5, 120), SYNC, DELETE_ALL, CHECKPOINT)},
    {"filled, closed, opened", &WIDE, STEPS(FILL(600, 128), REOPEN, OVERWRITE(10, 50), DELETE(20), REOPEN)},
    {"a view is held over checkpoints", &TINY,
     STEPS(PUT(10, 80), CHECKPOINT, VIEW, OVERWRITE(20, 80), CHECKPOINT,
           OVERWRITE(20, 80), CHECKPOINT, DELETE(5), SYNC, UNVIEW, OVERWRITE(20, 80),
           CHECKPOINT, CHECKPOINT, OVERWRITE(20, 80), SYNC)},
    {"batches are all or nothing", &TORN, .deep = true,
     STEPS(BATCH(5, 80), SYNC, BATCH(6, 80), BATCH(4, 20), SYNC, BATCH(5, 80), CHECKPOINT)},
    {"the process dies again and again", &TINY, .deep = true,
     STEPS(DURABLE(2, 40), PUT(4, 90), KILL, PUT(25, 90), KILL, DURABLE(1, 40),
           KILL, KILL, DURABLE(2, 40))},
    {"the power fails again and again", &TORN, .deep = true,
     STEPS(DURABLE(2, 40), POWER, PUT(9, 90), POWER, DURABLE(1, 100), PUT(25, 90), POWER,
           DURABLE(2, 120), POWER, DURABLE(3, 40), POWER, CHECKPOINT, DURABLE(2, 10))},
    {"4 KiB blocks", &BIG, STEPS(DURABLE(2, 100), PUT(90, 100), CHECKPOINT, DURABLE(3, 100), OVERWRITE(60, 100), SYNC, REOPEN)},
    {"4 KiB blocks, full", &BIG, STEPS(FILL(3000, 128), SYNC, OVERWRITE(8, 90), DELETE(8), SYNC, DELETE(40), REOPEN)},
    {"1 KiB blocks, a mixture", &WIDE, .deep = true,
     STEPS(DURABLE(4, 100), BATCH(6, 30), CHECKPOINT, DELETE(4), DURABLE(1, 100), REOPEN,
           OVERWRITE(20, 100), POWER, DURABLE(3, 20))},
    {"the root splits and grows", &TREE, .deep = true, .rise = 2, STEPS(PUT(180, 100), SYNC, PUT(20, 100), CHECKPOINT)},
    {"sweeps roll through two levels", &TREE, .quiet = 1, .every = 4, .rise = 2,
     STEPS(PUT(300, 80), OVERWRITE(90, 100), SYNC, PUT(30, 60), OVERWRITE(60, 20))},
    {"three levels", &TALL, .quiet = 1, .every = 3, .rise = 3, STEPS(PUT(700, 100), OVERWRITE(60, 100), DURABLE(3, 50), OVERWRITE(40, 90))},
    {"three levels, deep", &TALL, .quiet = 1, .every = 3, .rise = 3, .deep = true,
     STEPS(PUT(900, 100), DELETE(20), CHECKPOINT, DURABLE(2, 60), POWER, OVERWRITE(20, 90))},
    {"nodes join, the root goes", &TREE, .quiet = 2, .every = 4, .rise = 2, .fall = 1,
     STEPS(PUT(320, 90), CHECKPOINT, DELETE_ALL, COMPACT(0), PUT(5, 60), SYNC)},
    {"compact in steps", &TREE, .quiet = 1, .rise = 2, .deep = true,
     STEPS(PUT(280, 80), COMPACT(4), OVERWRITE(9, 80), COMPACT(8), POWER, COMPACT(16), DURABLE(2, 40), COMPACT(0), KILL)},
    {"compressed leaves, each mount as it likes", &PACKED, .quiet = 2, .every = 3, .rise = 2,
     STEPS(PUT(300, 110), REOPEN, OVERWRITE(30, 110), COMPACT(0), POWER, DELETE(20), PUT(40, 120), KILL,
           OVERWRITE(20, 90), COMPACT(8), REOPEN, DURABLE(2, 60), COMPACT(0))},
    {"compressed leaves, full", &PACKED, .quiet = 1, .every = 16, .rise = 2,
     STEPS(PUT(500, 110), REOPEN, FILL(2000, 110), OVERWRITE(20, 110), REOPEN, DELETE(60), SYNC)},
    {"nodes of four, full", &TREE, .quiet = 1, .rise = 2,
     STEPS(PUT(500, 100), FILL(2000, 100), OVERWRITE(20, 100), DELETE(60), SYNC)},
    {"nodes of four, filled and emptied", &TREE, .quiet = 3, .every = 13, .rise = 2,
     STEPS(PUT(500, 100), FILL(2000, 100), SYNC, DELETE_ALL, SYNC, PUT(9, 99))},
};
/* clang-format on */
enum { SCENARIO_COUNT = sizeof SCENARIOS / sizeof *SCENARIOS };

struct totals {
  uint64_t images, deep, kills, older, discards;
};

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void run_one(const struct cut_scenario *scenario, const struct cut_options *options, struct totals *totals,
                    bool tell) {
  struct cut_result result;
  double start = now();
  bool good = cut_run(scenario, options, &result);
  if (tell || !good)
    print_message("%-44s %4llu windows %7llu states %6llu images %4llu kills %5llu older %5llu deep %5llu discards "
                  "%3llu sampled %u-%u levels %5.2f s\n",
                  scenario->name, (unsigned long long)result.windows, (unsigned long long)result.states,
                  (unsigned long long)result.images, (unsigned long long)result.kills, (unsigned long long)result.older,
                  (unsigned long long)result.deep, (unsigned long long)result.discards,
                  (unsigned long long)result.skipped, result.fall, result.rise, now() - start);
  if (!good) fail_msg("%s", result.failure);
  totals->images += result.images;
  totals->deep += result.deep;
  totals->kills += result.kills;
  totals->older += result.older;
  totals->discards += result.discards;
}

static void test_power_cut__every_state_is_a_commit_not_older_than_the_last_acknowledged(void **state) {
  (void)state;
  struct cut_options options = cut_options_default();
  const char *only = getenv("WODAN_CRASH_ONLY");
  struct totals totals = {0};
  for (size_t i = 0; i < SCENARIO_COUNT; i++)
    if (!only || strstr(SCENARIOS[i].name, only)) run_one(&SCENARIOS[i], &options, &totals, true);
  print_message("in all: %llu images, %llu at depth 2, %llu process deaths, %llu previous roots, %llu discards\n",
                (unsigned long long)totals.images, (unsigned long long)totals.deep, (unsigned long long)totals.kills,
                (unsigned long long)totals.older, (unsigned long long)totals.discards);
  assert_true(only || totals.discards > 1000);
}

/* ---- for longer: random scenarios --------------------------------------------------------------------------------- */

enum { RANDOM_STEPS = 24 };

static void random_steps(uint64_t *random, struct cut_step *steps) {
  for (size_t i = 0; i < RANDOM_STEPS; i++) {
    uint8_t kind = (uint8_t)random_below(random, CUT_KINDS);
    if (kind == CUT_FILL && random_below(random, 4)) kind = CUT_SYNC;
    if (kind == CUT_DELETE_ALL && random_below(random, 3)) kind = CUT_CHECKPOINT;
    uint16_t most = kind == CUT_FILL ? 600 : kind == CUT_BATCH ? 7 : kind == CUT_DURABLE ? 6 : 30;
    steps[i] = (struct cut_step){
        .kind = kind, .count = (uint16_t)(1 + random_below(random, most)), .size = (uint16_t)random_below(random, 129)};
  }
}

static void test_power_cut__random_scenarios(void **state) {
  (void)state;
  const char *seconds = getenv("WODAN_CRASH_SECONDS"), *rounds = getenv("WODAN_CRASH_ROUNDS");
  struct cut_options options = cut_options_default();
  double end = now() + (seconds ? atof(seconds) : 0);
  unsigned least = rounds ? (unsigned)atoi(rounds) : 4, round = 0;
  struct totals totals = {0};
  for (; round < least || now() < end; round++, options.seed++) {
    struct cut_step steps[RANDOM_STEPS];
    uint64_t random = options.seed;
    char name[64];
    snprintf(name, sizeof name, "random %llu", (unsigned long long)options.seed);
    random_steps(&random, steps);
    struct cut_scenario scenario = {.name = name,
                                    .geometry = GEOMETRIES[random_below(&random, GEOMETRY_COUNT)],
                                    .steps = steps,
                                    .count = RANDOM_STEPS,
                                    .deep = random_below(&random, 2)};
    run_one(&scenario, &options, &totals, round < 4 || getenv("WODAN_CRASH_TELL"));
  }
  print_message("%u random scenarios: %llu images, %llu at depth 2, %llu process deaths, %llu previous roots\n", round,
                (unsigned long long)totals.images, (unsigned long long)totals.deep, (unsigned long long)totals.kills,
                (unsigned long long)totals.older);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_power_cut__every_state_is_a_commit_not_older_than_the_last_acknowledged),
      cmocka_unit_test(test_power_cut__random_scenarios),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
