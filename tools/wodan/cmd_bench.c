/* What: `wodan bench`: measures workloads on the image as it stands, each with an open of its own.
 *
 * Always true: a wrong value ends the run with exit code 3; read workloads open for reading only; what a write
 * workload owes is paid before its amplification is told (one checkpoint after the timed work).
 *
 * Order: work, time, settle, counters, close.
 *
 * See: bench_work.c, bench_records.c; tests/cli/test_cli.sh. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "bench_work.h"
#include "commands.h"
#include "delays.h"
#include "image.h"
#include "json.h"
#include "progress.h"
#include "report.h"

enum { WORKLOADS_MAX = 32, THREADS_MAX = 256 };

struct bench_options {
  struct options common;
  const char *workload_names;
  const struct bench_workload *workloads[WORKLOADS_MAX];
  size_t workload_count;
  uint64_t num, seed;
  uint32_t key_size, value_size, threads;
};

static void parse_workloads(struct bench_options *bench, const char *list, const struct argp_state *state) {
  for (const char *name = list;; name++) {
    size_t size = strcspn(name, ",");
    const struct bench_workload *workload = bench_workload_find(name, size);
    if (workload == NULL) {
      argp_error(state, "--workload: '%.*s' is none of %s", (int)size, name, bench_workload_names);
    } else if (bench->workload_count == WORKLOADS_MAX) {
      argp_error(state, "--workload: at most %d in one run", WORKLOADS_MAX);
    } else {
      bench->workloads[bench->workload_count++] = workload;
    }
    name += size;
    if (*name == '\0') return;
  }
}

static void check(const struct argp_state *state, void *options) {
  struct bench_options *bench = options;
  if (bench->workload_names == NULL) argp_error(state, "--workload is missing");
  parse_workloads(bench, bench->workload_names, state);
#ifdef WODAN_NO_THREADS
  if (bench->threads > 1) argp_error(state, "--threads: this build of the library is for one thread");
#endif
}

static const struct options_verb verb = {
    .arguments = "IMAGE",
    .doc = "Runs workloads on the image as it stands. fillseq, fillrandom and fillsync leave the same N records in it "
           "(ascending, in random order, each durable by itself); overwrite puts N random ones of them again; "
           "deleterandom removes half of them; readrandom, readmissing, readseq and scan100 (N/100 scans of 100 "
           "records) read them and verify every value, so they need a fill with the same --num, sizes and --seed. "
           "Values are half compressible. Write amplification is told after one checkpoint that settles the work. "
           "Latencies "
           "are those of whole calls; `engine delay' is the part of a commit's that maintenance caused (power-of-two "
           "buckets, upper edge). "
           "With --json one object, or an array of them for several workloads.",
    .shared = OPTIONS_WRITE,
    .rows = {{"workload", 'w', "W[,W...]", OPTIONS_TEXT, offsetof(struct bench_options, workload_names), 0, 0,
              "What to run, one after the other: see above"},
             {"num", 'n', "N", OPTIONS_COUNT, offsetof(struct bench_options, num), 1, UINT64_C(1) << 40,
              "Number of records (default 1000000)"},
             {"key-size", 0, "BYTES", OPTIONS_SIZE32, offsetof(struct bench_options, key_size), BENCH_KEY_SIZE_MIN,
              BENCH_KEY_SIZE_MAX, "Size of a key, 8 or more (default 16)"},
             {"value-size", 0, "BYTES", OPTIONS_SIZE32, offsetof(struct bench_options, value_size), 0,
              BENCH_VALUE_SIZE_MAX, "Size of a value (default 100)"},
             {"seed", 's', "S", OPTIONS_COUNT, offsetof(struct bench_options, seed), 0, 0,
              "Another seed, other records and another order (default 1)"},
             {"threads", 't', "T", OPTIONS_COUNT32, offsetof(struct bench_options, threads), 1, THREADS_MAX,
              "Threads for reading workloads and fillsync (default 1)"}},
    .operands = {OPTIONS_IMAGE},
    .check = check,
};

/* One line of the answer. */
struct bench_result {
  const struct bench_workload *workload;
  uint64_t operations, seconds_ns, settle_ns;
  unsigned threads;
  uint64_t p50_ns, p99_ns, p999_ns, max_ns; /* by the clock outside the library */
  struct wodan_stats stats;                 /* of writes: delays the engine caused are in it */
  uint64_t written, read, user_bytes, peak_rss;
  double write_amplification; /* 0 for reads */
  double space_amplification;
};

static int explain(const struct image *image, const struct bench_outcome *outcome) {
  const struct options *options = image->options;
  unsigned long long record = outcome->record;
  switch (outcome->status) {
  case BENCH_WRONG:
    return report_failure(options->json, options->image, WODAN_ECORRUPT, EXIT_CODE_DAMAGED,
                          "record %llu: the value read is not the value that belongs to its key", record);
  case BENCH_UNEXPECTED:
    return report_failure(options->json, options->image, WODAN_ECORRUPT, EXIT_CODE_DAMAGED,
                          "behind record %llu: a key was found that no workload puts there", record);
  case BENCH_MISSING:
    return report_failure(options->json, options->image, WODAN_ENOTFOUND, EXIT_CODE_NEGATIVE,
                          "record %llu is not there: fill the image first, with the same --num, sizes and --seed",
                          record);
  default:
    return image_fail(image, outcome->status);
  }
}

static void summarise(const struct bench_options *bench, const struct wodan_stats *stats,
                      const struct bench_outcome *outcome, struct bench_result *result) {
  uint64_t live = bench->num - (result->workload->leaves_half ? bench->num / 2 : 0);
  double live_bytes = (double)live * ((double)bench->key_size + (double)bench->value_size);
  struct rusage usage = {0};
  getrusage(RUSAGE_SELF, &usage);
  result->operations = outcome->operations;
  result->threads = outcome->threads;
  result->seconds_ns = outcome->nanoseconds;
  result->p50_ns = histogram_quantile(&outcome->latency, 500);
  result->p99_ns = histogram_quantile(&outcome->latency, 990);
  result->p999_ns = histogram_quantile(&outcome->latency, 999);
  result->max_ns = outcome->latency.largest;
  result->stats = *stats;
  result->written = stats->device_write_bytes;
  result->read = stats->device_read_bytes;
  result->user_bytes = result->workload->writes ? stats->user_bytes_written : stats->user_bytes_read;
  result->peak_rss = (uint64_t)usage.ru_maxrss * 1024;
  if (result->workload->writes && result->user_bytes > 0) {
    result->write_amplification = (double)result->written / (double)result->user_bytes;
  }
  if (live_bytes > 0) result->space_amplification = (double)stats->space_live / live_bytes;
}

static int run_open(const struct bench_options *bench, const struct image *image, struct bench_result *result) {
  struct bench_records records;
  struct bench_outcome outcome;
  bench_records_init(&records, bench->num, bench->key_size, bench->value_size, bench->seed);
  int status = bench_work_run(result->workload, &records, image->db, bench->threads, &outcome);
  if (status < 0) return image_fail(image, status);
  if (outcome.status != 0) return explain(image, &outcome);
  uint64_t start = progress_clock_ns();
  if (result->workload->writes) status = wodan_checkpoint(image->db, NULL);
  result->settle_ns = progress_clock_ns() - start;
  struct wodan_stats stats = {.size = sizeof stats};
  if (status == 0) status = wodan_stats(image->db, &stats);
  if (status < 0) return image_fail(image, status);
  summarise(bench, &stats, &outcome, result);
  return EXIT_CODE_OK;
}

static int run_workload(const struct bench_options *bench, struct bench_result *result) {
  struct image image;
  int exit_code = image_open(&image, &bench->common, result->workload->writes);
  if (exit_code != EXIT_CODE_OK) return exit_code;
  return image_close(&image, run_open(bench, &image, result));
}

static double per_second(const struct bench_result *result) {
  return result->seconds_ns == 0 ? 0 : (double)result->operations * 1e9 / (double)result->seconds_ns;
}

static double delay_us(const struct wodan_stats *stats, double percent) {
  return (double)wodan_delay_percentile(stats, percent) / 1e3;
}

static void add_delays(struct json *json, const struct wodan_stats *stats) {
  json_real(json, "engine_delay_p50_us", delay_us(stats, 50));
  json_real(json, "engine_delay_p99_us", delay_us(stats, 99));
  json_real(json, "engine_delay_p999_us", delay_us(stats, 99.9));
  json_real(json, "engine_delay_max_us", (double)stats->put_delay_max / 1e3);
  json_number(json, "put_work_max_bytes", stats->put_work_max);
  delays_add(json, "engine_delays", stats);
}

/* Of pages written or read, before compression and as they stand on the device. */
static void add_pages(struct json *json, const struct bench_result *result) {
  const struct wodan_stats *stats = &result->stats;
  bool writes = result->workload->writes;
  json_number(json, "page_bytes", writes ? stats->leaf_page_bytes : stats->pages_read_bytes);
  json_number(json, "page_stored_bytes", writes ? stats->leaf_page_stored_bytes : stats->pages_read_stored_bytes);
}

static void describe(struct json *json, const struct bench_result *result) {
  json_open(json, NULL, '{');
  json_text(json, "workload", result->workload->name);
  json_number(json, "num", result->operations);
  json_number(json, "threads", result->threads);
  json_real(json, "seconds", (double)result->seconds_ns / 1e9);
  json_real(json, "settle_seconds", (double)result->settle_ns / 1e9);
  json_real(json, "ops_per_second", per_second(result));
  json_real(json, "p50_us", (double)result->p50_ns / 1e3);
  json_real(json, "p99_us", (double)result->p99_ns / 1e3);
  json_real(json, "p999_us", (double)result->p999_ns / 1e3);
  json_real(json, "max_us", (double)result->max_ns / 1e3);
  json_number(json, "device_bytes_written", result->written);
  json_number(json, "device_bytes_read", result->read);
  json_number(json, "user_bytes", result->user_bytes);
  json_real(json, "write_amplification", result->write_amplification);
  json_real(json, "space_amplification", result->space_amplification);
  json_number(json, "peak_rss_bytes", result->peak_rss);
  add_pages(json, result);
  if (result->workload->writes) add_delays(json, &result->stats);
  json_close(json, '}');
}

static int print_json(const struct bench_result *results, size_t count) {
  struct json json = {0};
  if (count != 1) json_open(&json, NULL, '[');
  for (size_t i = 0; i < count; i++) describe(&json, &results[i]);
  if (count != 1) json_close(&json, ']');
  return report_json(&json) ? EXIT_CODE_OK : EXIT_CODE_IO;
}

/* The same columns as above, for the part of the time that the engine made commits wait or work. */
static void print_delay_row(const struct wodan_stats *stats) {
  char work[24];
  report_size_text(work, stats->put_work_max);
  printf("%-41s %9.2f %9.2f %9.2f %11.1f  most work for one commit: %s\n", "  engine delay", delay_us(stats, 50),
         delay_us(stats, 99), delay_us(stats, 99.9), (double)stats->put_delay_max / 1e3, work);
}

static void print_table_row(const struct bench_result *result) {
  char peak[24];
  report_size_text(peak, result->peak_rss);
  printf("%-13s %10llu %3u %12.0f %9.2f %9.2f %9.2f %11.1f %7.2f %7.2f  %s\n", result->workload->name,
         (unsigned long long)result->operations, result->threads, per_second(result), (double)result->p50_ns / 1e3,
         (double)result->p99_ns / 1e3, (double)result->p999_ns / 1e3, (double)result->max_ns / 1e3,
         result->write_amplification, result->space_amplification, peak);
  if (result->workload->writes) print_delay_row(&result->stats);
  fflush(stdout);
}

int cmd_bench(int argc, char **argv) {
  struct bench_options bench = {.num = 1000000, .seed = 1, .key_size = 16, .value_size = 100, .threads = 1};
  options_parse(&verb, argc, argv, &bench);
  struct bench_result results[WORKLOADS_MAX] = {0};
  bool json = bench.common.json;
  int exit_code = EXIT_CODE_OK;
  for (size_t i = 0; exit_code == EXIT_CODE_OK && i < bench.workload_count; i++) {
    results[i].workload = bench.workloads[i];
    exit_code = run_workload(&bench, &results[i]);
    if (json || exit_code != EXIT_CODE_OK) continue;
    if (i == 0) {
      printf("%-13s %10s %3s %12s %9s %9s %9s %11s %7s %7s  %s\n", "workload", "num", "thr", "ops/s", "p50 us",
             "p99 us", "p99.9 us", "max us", "w.amp", "space", "peak memory");
    }
    print_table_row(&results[i]);
  }
  if (json && exit_code == EXIT_CODE_OK) exit_code = print_json(results, bench.workload_count);
  return report_flush(exit_code);
}
