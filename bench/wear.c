/* What: where the device is written, and what discards cost and save, counted at a simulated device over a long run: writes of
 * each group of blocks (the most written beside the mean), those of the journal's ring on their own, bytes written per byte put,
 * what became free, and of that what was used again before its discard and what was discarded.
 *
 * Always true: everything is seeded, maintenance is inline, and the clock goes by the bytes put, so a figure that moves comes
 * from the library. The superblocks are not counted: they are written once.
 *
 * See: DESIGN.md "Discards", "Wear"; tests/unit/test_wear.c, which holds the bound. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common.h"
#include "dev/dev_sim.h"

enum { VALUE = 200, SECTOR = 512, GROUPS = 64 };

struct settings {
  uint64_t size, fill, laps, speed;
  const char *work, *policy;
  bool json;
};

/* Which record the n-th put is of, and which one goes for it; `records` are live. */
struct work {
  const char *name;
  uint64_t (*next)(uint64_t n, uint64_t records, uint64_t *random);
  bool queue; /* what was put `records` puts before is deleted */
};

static uint64_t uniform(uint64_t n, uint64_t records, uint64_t *random) {
  (void)n;
  return bench_random(random) % records;
}
/* Four of five puts go to a fifth of the records. */
static uint64_t skewed(uint64_t n, uint64_t records, uint64_t *random) {
  uint64_t draw = bench_random(random);
  (void)n;
  return draw % 5 ? draw / 5 % (records / 5) : draw / 5 % records;
}
static uint64_t rising(uint64_t n, uint64_t records, uint64_t *random) {
  (void)random;
  return records + n;
}
static uint64_t few(uint64_t n, uint64_t records, uint64_t *random) {
  (void)n;
  return bench_random(random) % (records / 100);
}
static const struct work WORKS[] = {
    {"uniform", uniform, false}, {"skewed", skewed, false}, {"hot", few, false}, {"queue", rising, true}};
static const char *const POLICIES[] = {"batched", "off", "eager"};

/* The clock: as many bytes put as `speed` are a second. */
struct clock {
  uint64_t bytes, speed;
};
static uint64_t now(void *context) {
  const struct clock *clock = context;
  return (uint64_t)((double)clock->bytes / (double)clock->speed * 1e9) + 1;
}

static void put(struct wodan_db *db, uint64_t i, uint64_t version, struct clock *clock) {
  uint8_t key[BENCH_KEY], value[VALUE];
  bench_key(1, i, key);
  bench_value(i, version, value, sizeof value);
  bench_check(wodan_put(db, (struct wodan_slice){key, BENCH_KEY}, (struct wodan_slice){value, VALUE}, NULL), "put", db);
  clock->bytes += BENCH_KEY + VALUE;
}

static void drop(struct wodan_db *db, uint64_t i) {
  uint8_t key[BENCH_KEY];
  bench_key(1, i, key);
  bench_check(wodan_delete(db, (struct wodan_slice){key, BENCH_KEY}, NULL), "delete", db);
}

/* Until the device was written `laps` times. */
static void run(struct wodan_db *db, const struct settings *s, const struct work *work, struct clock *clock) {
  uint64_t records = s->size / 100 * s->fill / (BENCH_KEY + VALUE + 8), random = 7;
  struct wodan_stats stats = {.size = sizeof stats};
  for (uint64_t i = 0; i < records; i++) put(db, i, 0, clock);
  for (uint64_t n = 0; stats.device_write_bytes < s->laps * s->size; n++) {
    put(db, work->next(n, records, &random), n, clock);
    if (work->queue) drop(db, n);
    if (n % 1000 == 999) bench_check(wodan_sync(db), "sync", db);
    if (n % 1000 == 0) bench_check(wodan_stats(db, &stats), "stats", db);
  }
}

/* ---- wear ------------------------------------------------------------------------------------------------------------ */

struct wear {
  double most, mean; /* writes of a sector, in groups */
};

static struct wear wear_of(const struct sim *sim, uint64_t first, uint64_t end, uint64_t groups) {
  struct wear wear = {0, 0};
  uint64_t sectors = (end - first) / SECTOR / groups;
  for (uint64_t g = 0; g < groups; g++) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < sectors; i++) sum += sim_write_count(sim, first / SECTOR + g * sectors + i);
    double writes = (double)sum / (double)sectors;
    wear.mean += writes / (double)groups;
    if (writes > wear.most) wear.most = writes;
  }
  return wear;
}

static void tell(const char *name, const struct sim *sim, const struct wodan_info *info,
                 const struct wodan_stats *stats) {
  char what[80];
  uint64_t ring = info->block_size, data = ring + info->journal_size, end = info->blocks * info->block_size - ring;
  struct wear of_data = wear_of(sim, data, end, GROUPS), of_ring = wear_of(sim, ring, data, 16);
  double freed = stats->discard_freed ? (double)stats->discard_freed : 1;
  snprintf(what, sizeof what, "%s: written per byte", name);
  bench_figure(what, stats->write_amplification, NAN, "%s put", bench_bytes((double)stats->user_bytes_written));
  snprintf(what, sizeof what, "%s: live share", name);
  bench_figure(what, (double)stats->space_live / (double)stats->space_total, NAN, "%s", "");
  snprintf(what, sizeof what, "%s: wear, most / mean", name);
  bench_figure(what, of_data.most / of_data.mean, NAN, "mean %.1f writes of a place, in %d groups", of_data.mean,
               GROUPS);
  snprintf(what, sizeof what, "%s: ring, most / mean", name);
  bench_figure(what, of_ring.mean > 0 ? of_ring.most / of_ring.mean : 0, NAN, "mean %.1f", of_ring.mean);
  snprintf(what, sizeof what, "%s: saved by reuse", name);
  bench_figure(what, (double)stats->discard_saved / freed, NAN, "of %s freed",
               bench_bytes((double)stats->discard_freed));
  snprintf(what, sizeof what, "%s: discarded", name);
  bench_figure(
      what, (double)stats->discard_done / freed, NAN, "%llu discards of %s in the mean",
      (unsigned long long)stats->device_discards,
      bench_bytes(stats->device_discards ? (double)stats->device_discard_bytes / (double)stats->device_discards : 0));
}

static void measure(const struct settings *s, const struct work *work, uint32_t policy) {
  char name[40];
  struct sim *sim;
  struct wodan_db *db;
  struct wodan_error error;
  struct clock clock = {.speed = s->speed};
  struct sim_options device = {.discard = SIM_DISCARD_ZERO};
  struct wodan_format_options format = {.size = sizeof format};
  struct wodan_open_options options = {
      .size = sizeof options, .flags = WODAN_OPEN_INLINE, .discard = policy, .hooks = {.context = &clock, .now = now}};
  if (sim_create(s->size, SECTOR, &device, &sim) < 0) bench_die("no memory for the device");
  if (wodan_format(sim_device(sim), &format, &error) < 0) bench_die("format: %s", error.message);
  if (wodan_open(sim_device(sim), &options, &db, &error) < 0) bench_die("open: %s", error.message);
  run(db, s, work, &clock);
  struct wodan_stats stats = {.size = sizeof stats};
  struct wodan_info info = {.size = sizeof info};
  bench_check(wodan_stats(db, &stats), "stats", db);
  bench_check(wodan_info(db, &info), "info", db);
  snprintf(name, sizeof name, "%s, %s", work->name, POLICIES[policy]);
  bench_heading("%s: %s of device, %llu%% live, written %llu times", name, bench_bytes((double)s->size),
                (unsigned long long)s->fill, (unsigned long long)s->laps);
  tell(name, sim, &info, &stats);
  bench_check(wodan_close(db, NULL), "close", NULL);
}

int main(int argc, char **argv) {
  struct settings s = {.size = 64 << 20, .fill = 50, .laps = 40, .speed = 4 << 20};
  const struct bench_option options[] = {
      {"--size", BENCH_COUNT, &s.size, "bytes of the device (64M)"},
      {"--fill", BENCH_COUNT, &s.fill, "live records, percent of it (50)"},
      {"--laps", BENCH_COUNT, &s.laps, "until the device was written so many times (40)"},
      {"--speed", BENCH_COUNT, &s.speed, "bytes put in a second of the clock (4M)"},
      {"--work", BENCH_TEXT, &s.work, "uniform, skewed, hot or queue only"},
      {"--policy", BENCH_TEXT, &s.policy, "off, batched or eager only"},
      {"--json", BENCH_FLAG, &s.json, "a JSON object a line"},
  };
  bench_options(argc, argv, "Counts wear and discards at a simulated device.", options,
                sizeof options / sizeof *options);
  bench_figures_as_json(s.json);
  for (size_t w = 0; w < sizeof WORKS / sizeof *WORKS; w++)
    for (uint32_t policy = 0; policy < 3; policy++) {
      if ((s.work && strcmp(s.work, WORKS[w].name) != 0) || (s.policy && strcmp(s.policy, POLICIES[policy]) != 0))
        continue;
      measure(&s, &WORKS[w], policy);
    }
  return bench_verdict();
}
