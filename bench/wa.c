/* Question: what do writes, space and reads cost, counted at the device, and does that keep the bounds?
 *
 *   write amplification <= levels + 1/alpha + 0.75, + 1 with bulk synced commits: bytes written per key and value byte of a
 *                          phase, after it has settled (two checkpoints). levels: the most seen in the phase; 1/alpha:
 *                          its mean over the phase, because alpha follows the free space.
 *   space               <= 1.08 + 1.25 alpha: bytes of blocks the live tree owns per live key and value byte, after
 *                          everything was overwritten three times in random order, and two checkpoints.
 *   reads per lookup       no bound: cold, with a given memory budget, for keys that are there and keys that are not.
 *
 * For each multiple of the memtable a random fill and a steady random update of as many records, on a fresh volume, first
 * without synced commits, then with one durable commit every so many puts. The small memtable makes a deep tree cheap.
 * Ring and reserve do not count as space. Exit code 1 when a bound is missed. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

struct settings {
  uint64_t memtable, value_size, synced_every, budget, lookups, seed, page_size, leaf_size, block_size;
  const char *multiples, *spaces, *file;
  bool json;
};

struct trial {
  const struct settings *settings;
  struct bench_volume volume;
  struct wodan_db *db;
  struct bench_puts puts;
  uint64_t records, versions; /* versions: how often everything was written in full */
  uint64_t random;
};

/* What a phase starts from, and what is in force while it runs. */
struct phase {
  struct wodan_stats start_stats;
  uint64_t user_bytes, device_bytes, engine_bytes, start;
  uint64_t levels, samples;
  double inverse_alpha;
};

static struct wodan_stats stats_of(struct wodan_db *db) {
  struct wodan_stats stats = {.size = sizeof stats};
  bench_check(wodan_stats(db, &stats), "statistics", db);
  return stats;
}

static void phase_sample(struct phase *phase, const struct wodan_stats *stats) {
  if (!(stats->alpha > 0) || stats->levels == 0) bench_die("this engine does not tell levels and alpha");
  phase->inverse_alpha += 1 / stats->alpha;
  phase->samples++;
  if (stats->levels > phase->levels) phase->levels = stats->levels;
}

/* The engine's counters, and the device's of the same moment: nothing may be written between the two. */
static struct wodan_stats stats_and_device(struct trial *trial, uint64_t *device_bytes) {
  enum { TRIES = 1000 };
  for (int i = 0; i < TRIES; i++) {
    uint64_t before = paced_device_counters(&trial->volume.paced).write_bytes;
    struct wodan_stats stats = stats_of(trial->db);
    *device_bytes = paced_device_counters(&trial->volume.paced).write_bytes;
    if (*device_bytes == before) return stats;
  }
  bench_die("the engine never stops writing");
}

static struct phase phase_begin(struct trial *trial) {
  struct phase phase = {.start = bench_now()};
  struct wodan_stats stats = stats_and_device(trial, &phase.device_bytes);
  phase.user_bytes = stats.user_bytes_written;
  phase.start_stats = stats;
  phase.engine_bytes = stats.device_write_bytes;
  return phase;
}

/* NAN for a bound when the phase is not steady. */
static void phase_end(struct trial *trial, struct phase *phase, const char *what, bool bounded) {
  double seconds = bench_seconds_since(phase->start);
  bench_settle(trial->db);
  uint64_t device;
  struct wodan_stats stats = stats_and_device(trial, &device);
  phase_sample(phase, &stats);
  uint64_t user = stats.user_bytes_written - phase->user_bytes, engine = stats.device_write_bytes - phase->engine_bytes;
  device -= phase->device_bytes;
  if (device != engine)
    bench_die("the device saw %" PRIu64 " bytes written, the engine counted %" PRIu64, device, engine);
  bool synced = trial->puts.synced_every != 0;
  double inverse = phase->inverse_alpha / (double)phase->samples;
  char name[64];
  snprintf(name, sizeof name, "%s%s: write amplification", what, synced ? ", synced" : "");
  bench_figure(name, (double)device / (double)user, bounded ? (double)phase->levels + inverse + 0.75 + synced : NAN,
               "levels %" PRIu64 ", mean 1/alpha %.2f; runs %.2f, leaves %.2f, nodes %.2f, journal %.2f; %.0f k puts/s",
               phase->levels, inverse,
               (double)(stats.run_write_bytes - phase->start_stats.run_write_bytes) / (double)user,
               (double)(stats.leaf_write_bytes - phase->start_stats.leaf_write_bytes) / (double)user,
               (double)(stats.node_write_bytes - phase->start_stats.node_write_bytes) / (double)user,
               (double)(stats.journal_write_bytes - phase->start_stats.journal_write_bytes) / (double)user,
               (double)user / (double)(BENCH_KEY + trial->puts.value_size) / seconds / 1e3);
}

/* So many passes of as many puts as there are records, of keys in random order each once or of keys drawn at random. */
static void write_phase(struct trial *trial, const char *what, uint64_t passes, bool each_once, bool bounded) {
  enum { SAMPLES = 64 };
  struct phase phase = phase_begin(trial);
  uint64_t every = trial->records / SAMPLES + 1;
  for (uint64_t pass = 0; pass < passes; pass++) {
    struct bench_order order = bench_order(trial->records, bench_random(&trial->random));
    if (each_once) trial->versions++;
    for (uint64_t i = 0; i < trial->records; i++) {
      uint64_t key = each_once ? bench_order_next(&order) : bench_random(&trial->random) % trial->records;
      bench_put(&trial->puts, key, each_once ? trial->versions : UINT64_MAX);
      if (i % every != every - 1) continue;
      struct wodan_stats stats = stats_of(trial->db);
      phase_sample(&phase, &stats);
    }
  }
  phase_end(trial, &phase, what, bounded);
}

static void space_figure(struct trial *trial) {
  struct wodan_stats stats = stats_of(trial->db);
  double live = (double)trial->records * (double)(BENCH_KEY + trial->puts.value_size);
  bench_figure("space after three overwrites", (double)stats.space_live / live, 1.08 + 1.25 * stats.alpha,
               "alpha %.2f, %s of blocks for %s live, %.0f %% of the volume", stats.alpha,
               bench_bytes((double)stats.space_live), bench_bytes(live),
               100 * (double)stats.space_live / (double)stats.space_total);
}

static void lookup(struct trial *trial, uint64_t i, bool present) {
  uint8_t key[BENCH_KEY], found[BENCH_VALUE_MAX], expected[BENCH_VALUE_MAX];
  size_t size = 0, value_size = trial->puts.value_size;
  bench_key(trial->puts.seed, i, key);
  int status = wodan_get(trial->db, NULL, (struct wodan_slice){key, sizeof key}, found, sizeof found, &size);
  if (status != WODAN_ENOTFOUND) bench_check(status, "get", trial->db);
  if ((status == WODAN_ENOTFOUND) == present) bench_die("a key is %s", present ? "lost" : "there that was never put");
  bench_value(i, trial->versions, expected, value_size);
  if (present && (size != value_size || memcmp(found, expected, size) != 0)) bench_die("a value is wrong");
}

static void lookups(struct trial *trial, const char *what, bool present, uint64_t budget) {
  struct wodan_open_options options = {.size = sizeof options, .memory_budget = budget};
  trial->db = bench_volume_open(&trial->volume, &options);
  struct paced_counters before = paced_device_counters(&trial->volume.paced);
  uint64_t count = trial->settings->lookups;
  for (uint64_t i = 0; i < count; i++)
    lookup(trial, bench_random(&trial->random) % trial->records + (present ? 0 : trial->records), present);
  struct paced_counters after = paced_device_counters(&trial->volume.paced);
  struct wodan_stats stats = stats_of(trial->db);
  bench_figure(what, (double)(after.reads - before.reads) / (double)count, NAN,
               "%.0f bytes read each; budget %s for %s, %" PRIu64 " levels, %" PRIu64 " runs, %" PRIu64 " leaves",
               (double)(after.read_bytes - before.read_bytes) / (double)count, bench_bytes((double)budget),
               bench_bytes((double)stats.space_live), stats.levels, stats.runs, stats.leaves);
  bench_check(wodan_close(trial->db, NULL), "close", NULL);
}

static void run_trial(const struct settings *settings, double multiple, double space, bool synced) {
  struct trial trial = {.settings = settings, .random = settings->seed};
  uint64_t record = BENCH_KEY + settings->value_size;
  trial.records = (uint64_t)(multiple * (double)settings->memtable) / record;
  if (trial.records < 2) bench_die("a multiple of %g of the memtable is less than two records", multiple);
  struct wodan_format_options format = {.size = sizeof format,
                                        .force = 1,
                                        .memtable_size = settings->memtable,
                                        .page_size = (uint32_t)settings->page_size,
                                        .leaf_size = (uint32_t)settings->leaf_size,
                                        .block_size = (uint32_t)settings->block_size};
  uint64_t live = trial.records * record;
  bench_volume_create(&trial.volume, settings->file, (uint64_t)(space * (double)live), &format);
  trial.db = bench_volume_open(&trial.volume, NULL);
  trial.puts = (struct bench_puts){.db = trial.db,
                                   .seed = settings->seed,
                                   .synced_every = synced ? settings->synced_every : 0,
                                   .value_size = settings->value_size};
  struct wodan_info info = {.size = sizeof info};
  bench_check(wodan_info(trial.db, &info), "info", trial.db);
  bench_heading("%g x a memtable of %s: %" PRIu64 " records of %" PRIu64
                " bytes, volume %g x that (pages %u, leaves %u, blocks %u)%s",
                multiple, bench_bytes((double)info.memtable_size), trial.records, record, space, info.page_size,
                info.leaf_size, info.block_size, synced ? ", synced" : "");
  write_phase(&trial, "random fill", 1, true, true);
  /* Leaves still grow, until all buffers are full. */
  write_phase(&trial, "first random update", 1, false, false);
  write_phase(&trial, "random update", 2, false, true);
  if (!synced) {
    write_phase(&trial, "overwriting all 3 times", 3, true, true);
    space_figure(&trial);
  }
  bench_check(wodan_close(trial.db, NULL), "close", NULL);
  if (!synced) {
    uint64_t budget = settings->budget ? settings->budget : live / 10;
    if (budget < info.memory_needed) budget = info.memory_needed;
    lookups(&trial, "reads per lookup, key present", true, budget);
    lookups(&trial, "reads per lookup, key missing", false, budget);
  }
  bench_volume_release(&trial.volume);
}

int main(int argc, char **argv) {
  struct settings s = {.memtable = 1 << 20,
                       .value_size = 100,
                       .synced_every = 1000,
                       .lookups = 20000,
                       .seed = 1,
                       .multiples = "10,100",
                       .spaces = "5"};
  const struct bench_option options[] = {
      {"--memtable", BENCH_COUNT, &s.memtable, "bytes of a memtable"},
      {"--multiples", BENCH_TEXT, &s.multiples, "data as multiples of the memtable, a list"},
      {"--space", BENCH_TEXT, &s.spaces, "volume size as multiples of the data, a list; 1.4 makes alpha small"},
      {"--value", BENCH_COUNT, &s.value_size, "bytes of a value"},
      {"--synced-every", BENCH_COUNT, &s.synced_every, "puts per durable commit in the synced runs; 0 leaves them out"},
      {"--budget", BENCH_COUNT, &s.budget, "memory budget of the lookups; 0: a tenth of the data, or what is needed"},
      {"--lookups", BENCH_COUNT, &s.lookups, "lookups of each kind"},
      {"--page", BENCH_COUNT, &s.page_size, "page size, 0: the format's choice"},
      {"--leaf", BENCH_COUNT, &s.leaf_size, "leaf size, 0: the format's choice"},
      {"--block", BENCH_COUNT, &s.block_size, "block size, 0: the format's choice"},
      {"--seed", BENCH_COUNT, &s.seed, "of keys and order"},
      {"--file", BENCH_TEXT, &s.file, "measure on this file or block device, overwritten, instead of in memory"},
      {"--json", BENCH_FLAG, &s.json, "one JSON object a figure"},
  };
  bench_options(argc, argv,
                "Write amplification, space and reads per lookup, counted at the device, beside their bounds.", options,
                sizeof options / sizeof *options);
  if (s.value_size > BENCH_VALUE_MAX) bench_die("values have at most %d bytes here", BENCH_VALUE_MAX);
  if (s.lookups == 0) s.lookups = 1;
  bench_figures_as_json(s.json);
  bench_heading("seed %" PRIu64 ", %s", s.seed, s.file ? s.file : "a device in memory");
  double multiple, space;
  for (const char *m = s.multiples; bench_list_next(&m, &multiple);)
    for (const char *v = s.spaces; bench_list_next(&v, &space);) {
      run_trial(&s, multiple, space, false);
      if (s.synced_every) run_trial(&s, multiple, space, true);
    }
  return bench_verdict();
}
