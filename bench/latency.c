/* Question: how long does a put wait under a random fill, on a device of a given pace?
 *
 * One writer fills a volume as fast as it is let, maintenance in the background. Told twice: the wall time of every put as the
 * caller sees it (so whatever else the machine does is in it), and the delay the engine says it caused. Bounds, on the
 * engine's: 99.9 % of puts <= 1 ms, none above 50 ms. The engine counts in powers of two; where its figure is above the wall
 * time's, which no delay is longer than, the wall time's counts. Exit code 1 when a bound is missed or the engine tells no
 * delays. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common.h"
#include "histogram.h"

struct settings {
  uint64_t records, value_size, pace, memtable, budget, seed;
  const char *file;
  bool update, in_line, json;
};

static const double P999_MS = 1, MAX_MS = 50;

static double ms(uint64_t ns) { return (double)ns / 1e6; }

/* Every put timed; returns the seconds of all. */
static double timed_puts(struct bench_puts *puts, const struct settings *s, uint64_t version,
                         struct histogram *histogram) {
  struct bench_order order = bench_order(s->records, s->seed + version);
  uint64_t start = bench_now();
  for (uint64_t i = 0; i < s->records; i++) {
    uint64_t key = bench_order_next(&order), before = bench_now();
    bench_put(puts, key, version);
    histogram_add(histogram, bench_now() - before);
  }
  return bench_seconds_since(start);
}

static void wall_figures(const struct histogram *h) {
  static const struct {
    const char *what;
    unsigned ppm;
  } rows[] = {{"p50", 500000}, {"p99", 990000}, {"p99.9", 999000}, {"p99.99", 999900}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char what[48];
    snprintf(what, sizeof what, "put %s, wall time, us", rows[i].what);
    bench_figure(what, (double)histogram_quantile_ppm(h, rows[i].ppm) / 1e3, NAN, "%s", "");
  }
  bench_figure("put max, wall time, us", (double)h->largest / 1e3, NAN, "%" PRIu64 " puts", h->count);
}

/* Delays since open less those of `before`. */
static struct wodan_stats delays_since(struct wodan_db *db, const struct wodan_stats *before, uint64_t *told) {
  struct wodan_stats stats = {.size = sizeof stats};
  bench_check(wodan_stats(db, &stats), "statistics", db);
  *told = 0;
  for (size_t i = 0; i < WODAN_DELAY_BUCKETS; i++) *told += stats.put_delays[i] -= before->put_delays[i];
  return stats;
}

static void engine_figures(const struct wodan_stats *stats, uint64_t told, const struct histogram *wall) {
  if (told == 0) {
    bench_figure("puts whose delay the engine tells not", (double)wall->count, 0, "%s", "no verdict without them");
    return;
  }
  uint64_t p999 = wodan_delay_percentile(stats, 99.9), seen = histogram_quantile_ppm(wall, 999000);
  bench_figure("put p99, caused by the engine, ms", ms(wodan_delay_percentile(stats, 99)), NAN, "%s", "");
  bench_figure("put p99.9, caused by the engine, ms", ms(p999 < seen ? p999 : seen), P999_MS, "upper edge %.3f ms",
               ms(p999));
  bench_figure("put max, caused by the engine, ms", ms(stats->put_delay_max), MAX_MS,
               "since open; most work one put waited for %s", bench_bytes((double)stats->put_work_max));
}

static void measure(struct bench_volume *volume, struct wodan_db *db, struct bench_puts *puts, const struct settings *s,
                    uint64_t version, const char *what) {
  struct histogram *histogram = calloc(1, sizeof *histogram);
  if (!histogram) bench_die("out of memory");
  uint64_t told, none;
  struct paced_counters before = paced_device_counters(&volume->paced);
  struct wodan_stats first = delays_since(db, &(struct wodan_stats){.size = sizeof first}, &none);
  double seconds = timed_puts(puts, s, version, histogram);
  struct paced_counters after = paced_device_counters(&volume->paced);
  struct wodan_stats stats = delays_since(db, &first, &told);
  bench_heading("%s", what);
  uint64_t written = after.write_bytes - before.write_bytes;
  bench_figure("k puts/s", (double)s->records / seconds / 1e3, NAN, "%.1f s; device wrote %s, %s/s", seconds,
               bench_bytes((double)written), bench_bytes((double)written / seconds));
  wall_figures(histogram);
  engine_figures(&stats, told, histogram);
  bench_figure("maintenance owed at the end, MB", (double)stats.maintenance_owed / 1e6, NAN,
               "levels %" PRIu64 ", alpha %.2f", stats.levels, stats.alpha);
  free(histogram);
}

int main(int argc, char **argv) {
  struct settings s = {.records = 5 << 20, .value_size = 100, .pace = 100000000, .seed = 1};
  const struct bench_option options[] = {
      {"--records", BENCH_COUNT, &s.records, "records put"},
      {"--value", BENCH_COUNT, &s.value_size, "bytes of a value"},
      {"--pace", BENCH_COUNT, &s.pace, "bytes a second of the device; 0: as fast as it is"},
      {"--memtable", BENCH_COUNT, &s.memtable, "bytes of a memtable; 0: the format's choice"},
      {"--budget", BENCH_COUNT, &s.budget, "memory budget; 0: the library's choice"},
      {"--seed", BENCH_COUNT, &s.seed, "of keys and order"},
      {"--update", BENCH_FLAG, &s.update, "then overwrite all of it in random order, measured too"},
      {"--inline", BENCH_FLAG, &s.in_line, "no background thread: the writer does the maintenance"},
      {"--file", BENCH_TEXT, &s.file, "on this file or block device, overwritten, instead of in memory"},
      {"--json", BENCH_FLAG, &s.json, "one JSON object a figure"},
  };
  bench_options(argc, argv, "Latency of puts under random fill on a device with a pace, beside its bounds.", options,
                sizeof options / sizeof *options);
  if (s.value_size > BENCH_VALUE_MAX || s.records < 2)
    bench_die("values of 0..%d bytes, two records or more", BENCH_VALUE_MAX);
  bench_figures_as_json(s.json);
  bench_heading("seed %" PRIu64 ", %" PRIu64 " records of %" PRIu64 " bytes, device in %s, %s a second, maintenance %s",
                s.seed, s.records, BENCH_KEY + s.value_size, s.file ? s.file : "memory", bench_bytes((double)s.pace),
                s.in_line ? "by the writer" : "in the background");
  struct wodan_format_options format = {.size = sizeof format, .force = 1, .memtable_size = s.memtable};
  struct wodan_open_options open = {
      .size = sizeof open, .memory_budget = s.budget, .flags = s.in_line ? WODAN_OPEN_INLINE : 0};
  struct bench_volume volume;
  bench_volume_create(&volume, s.file, 4 * s.records * (BENCH_KEY + s.value_size), &format);
  struct wodan_db *db = bench_volume_open(&volume, &open);
  paced_device_set_pace(&volume.paced, s.pace);
  struct bench_puts puts = {.db = db, .seed = s.seed, .value_size = s.value_size};
  measure(&volume, db, &puts, &s, 1, "random fill");
  if (s.update) measure(&volume, db, &puts, &s, 2, "overwriting all of it");
  paced_device_set_pace(&volume.paced, 0);
  bench_check(wodan_close(db, NULL), "close", NULL);
  bench_volume_release(&volume);
  return bench_verdict();
}
