/* Question: how many bytes does the same work write here and in RocksDB?
 *
 * Both engines run in a forked process each, by turns: random fill, then steady random update of as many records, each
 * phase until it has settled (RocksDB: a flush, then no compaction running or pending, no full manual compaction; here: two
 * checkpoints). Compression is off on both. Without --logged neither writes a log (RocksDB: its WAL disabled; here: buffered
 * puts). With --logged both log every put and sync the log once in so many (RocksDB: WAL, sync of that put).
 *
 * Bytes are those passed to write calls (wchar of /proc/self/io), logs and manifests included; ours must be what the engine
 * counted at its device. Bound: ours <= half of RocksDB's. RocksDB's options are the defaults but for those printed. */
#include <inttypes.h>
#include <math.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

enum { PHASES = 2, ENGINES = 2, WODAN = 0, ROCKSDB = 1 };

struct settings {
  uint64_t records, value_size, synced_every, memtable, space, seed;
  const char *folder;
  bool logged, dynamic, json;
};

struct result {
  double put_seconds, settle_seconds;
  uint64_t passed, counted, disk, live, levels; /* live: without what waits to be reused or removed */
  double alpha;
};

/* One engine in its process. */
struct peer {
  const struct settings *settings;
  char path[4200];
  struct bench_puts puts;
  struct bench_volume volume;
  rocksdb_t *rocks;
  rocksdb_writeoptions_t *plain, *synced;
  struct result *results; /* shared with the parent */
};

/* ---- ours -------------------------------------------------------------------------------------------------------- */

static void ours_open(struct peer *peer) {
  const struct settings *s = peer->settings;
  struct wodan_format_options format = {.size = sizeof format, .memtable_size = s->memtable};
  bench_volume_create(&peer->volume, peer->path, s->space * s->records * (BENCH_KEY + s->value_size), &format);
  peer->puts = (struct bench_puts){.db = bench_volume_open(&peer->volume, NULL),
                                   .seed = s->seed,
                                   .value_size = s->value_size,
                                   .synced_every = s->logged ? s->synced_every : 0};
}

static void ours_settled(struct peer *peer, struct result *result) {
  bench_settle(peer->puts.db);
  struct wodan_stats stats = {.size = sizeof stats};
  bench_check(wodan_stats(peer->puts.db, &stats), "statistics", peer->puts.db);
  result->live = stats.space_live;
  result->levels = stats.levels;
  result->alpha = stats.alpha;
}

/* ---- RocksDB ----------------------------------------------------------------------------------------------------- */

static void rocks_check(char *error) {
  if (error) bench_die("RocksDB: %s", error);
}

static rocksdb_options_t *rocks_options(const struct settings *s) {
  rocksdb_options_t *options = rocksdb_options_create();
  rocksdb_options_set_create_if_missing(options, 1);
  rocksdb_options_set_compression(options, rocksdb_no_compression);
  rocksdb_options_set_write_buffer_size(options, s->memtable);
  rocksdb_options_set_level_compaction_dynamic_level_bytes(options, s->dynamic);
  return options;
}

static void rocks_open(struct peer *peer) {
  char *error = NULL;
  rocksdb_options_t *options = rocks_options(peer->settings);
  peer->rocks = rocksdb_open(options, peer->path, &error);
  rocks_check(error);
  rocksdb_options_destroy(options);
  peer->plain = rocksdb_writeoptions_create();
  peer->synced = rocksdb_writeoptions_create();
  rocksdb_writeoptions_disable_WAL(peer->plain, !peer->settings->logged);
  rocksdb_writeoptions_set_sync(peer->synced, 1);
}

static void rocks_put(struct peer *peer, uint64_t i, uint64_t version) {
  const struct settings *s = peer->settings;
  char *error = NULL;
  uint8_t key[BENCH_KEY], value[BENCH_VALUE_MAX];
  bench_key(s->seed, i, key);
  bench_value(i, version, value, s->value_size);
  bool durable = s->logged && ++peer->puts.done % s->synced_every == 0;
  rocksdb_put(peer->rocks, durable ? peer->synced : peer->plain, (const char *)key, sizeof key, (const char *)value,
              s->value_size, &error);
  rocks_check(error);
}

static bool rocks_busy(struct peer *peer) {
  static const char *const signs[] = {"rocksdb.num-running-compactions", "rocksdb.compaction-pending",
                                      "rocksdb.num-running-flushes", "rocksdb.mem-table-flush-pending"};
  for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
    uint64_t value = 0;
    if (rocksdb_property_int(peer->rocks, signs[i], &value)) bench_die("RocksDB does not tell %s", signs[i]);
    if (value) return true;
  }
  return false;
}

static void rocks_settled(struct peer *peer, struct result *result) {
  enum { QUIET = 5, POLL_US = 100000 }; /* so often in a row nothing to do, so far apart */
  char *error = NULL;
  rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
  rocksdb_flushoptions_set_wait(options, 1);
  rocksdb_flush(peer->rocks, options, &error);
  rocks_check(error);
  rocksdb_flushoptions_destroy(options);
  for (int quiet = 0; quiet < QUIET;) {
    quiet = rocks_busy(peer) ? 0 : quiet + 1;
    usleep(POLL_US);
  }
  if (rocksdb_property_int(peer->rocks, "rocksdb.live-sst-files-size", &result->live)) bench_die("RocksDB: no size");
}

static void rocks_print_options(const struct settings *s) {
  rocksdb_options_t *o = rocks_options(s);
  bench_heading(
      "RocksDB: write_buffer_size %zu, max_write_buffer_number %d, compression %d (none), compaction_style %d "
      "(level), num_levels %d,",
      rocksdb_options_get_write_buffer_size(o), rocksdb_options_get_max_write_buffer_number(o),
      rocksdb_options_get_compression(o), rocksdb_options_get_compaction_style(o), rocksdb_options_get_num_levels(o));
  bench_heading("  level0_file_num_compaction_trigger %d, slowdown %d, stop %d, max_bytes_for_level_base %" PRIu64
                " x %g, target_file_size_base %" PRIu64 ",",
                rocksdb_options_get_level0_file_num_compaction_trigger(o),
                rocksdb_options_get_level0_slowdown_writes_trigger(o),
                rocksdb_options_get_level0_stop_writes_trigger(o), rocksdb_options_get_max_bytes_for_level_base(o),
                rocksdb_options_get_max_bytes_for_level_multiplier(o), rocksdb_options_get_target_file_size_base(o));
  bench_heading(
      "  level_compaction_dynamic_level_bytes %d, max_background_jobs %d, max_subcompactions %u, WAL %s; the rest as "
      "RocksDB has it.",
      rocksdb_options_get_level_compaction_dynamic_level_bytes(o), rocksdb_options_get_max_background_jobs(o),
      rocksdb_options_get_max_subcompactions(o), s->logged ? "on" : "off");
  bench_heading("  Debian compiles RocksDB with assertions on, which slows it down: compare bytes, not puts a second.");
  rocksdb_options_destroy(o);
}

/* ---- a process each ---------------------------------------------------------------------------------------------- */

static void run_phase(struct peer *peer, int engine, int phase) {
  const struct settings *s = peer->settings;
  struct result *result = &peer->results[phase];
  uint64_t passed = bench_bytes_passed_to_write(), start = bench_now(), random = s->seed + (uint64_t)phase;
  uint64_t counted = engine == WODAN ? paced_device_counters(&peer->volume.paced).write_bytes : 0;
  for (uint64_t i = 0; i < s->records; i++) {
    uint64_t key = phase == 0 ? i : bench_random(&random) % s->records; /* keys are random anyhow */
    if (engine == WODAN)
      bench_put(&peer->puts, key, (uint64_t)phase);
    else
      rocks_put(peer, key, (uint64_t)phase);
  }
  result->put_seconds = bench_seconds_since(start);
  if (engine == WODAN)
    ours_settled(peer, result);
  else
    rocks_settled(peer, result);
  result->settle_seconds = bench_seconds_since(start) - result->put_seconds;
  result->passed = bench_bytes_passed_to_write() - passed;
  result->counted = engine == WODAN ? paced_device_counters(&peer->volume.paced).write_bytes - counted : 0;
  result->disk = bench_disk_bytes(peer->path);
}

/* Runs a phase for each byte that comes from `orders`, answers each with a byte; ends with `orders`. */
static void serve(struct peer *peer, int engine, int orders, int answers) {
  char byte;
  if (engine == WODAN)
    ours_open(peer);
  else
    rocks_open(peer);
  while (read(orders, &byte, 1) == 1) {
    run_phase(peer, engine, byte);
    if (write(answers, &byte, 1) != 1) bench_die("the parent is gone");
  }
  if (engine == WODAN) {
    bench_check(wodan_close(peer->puts.db, NULL), "close", NULL);
    bench_volume_release(&peer->volume);
  } else {
    rocksdb_writeoptions_destroy(peer->plain);
    rocksdb_writeoptions_destroy(peer->synced);
    rocksdb_close(peer->rocks);
  }
}

struct process {
  pid_t id;
  int orders, answers;
};

static struct process start(struct peer *peer, int engine, const struct process *earlier, int earlier_count) {
  int orders[2], answers[2];
  if (pipe(orders) < 0 || pipe(answers) < 0) bench_die("no pipe");
  pid_t id = bench_fork();
  if (id == 0) {
    for (int i = 0; i < earlier_count; i++)
      close(earlier[i].orders); /* else that one never sees the end of its orders */
    close(orders[1]);
    close(answers[0]);
    serve(peer, engine, orders[0], answers[1]);
    exit(0);
  }
  close(orders[0]);
  close(answers[1]);
  return (struct process){.id = id, .orders = orders[1], .answers = answers[0]};
}

static void tell(const struct settings *s, int phase, const struct result *ours, const struct result *theirs) {
  static const char *const names[PHASES] = {"random fill", "random update"};
  double user = (double)s->records * (double)(BENCH_KEY + s->value_size);
  bench_heading("%s", names[phase]);
  bench_heading("  %-8s %12s %10s %14s %14s %14s %14s", "engine", "k puts/s", "settle s", "bytes written",
                "amplification", "size on disk", "of it live");
  const struct result *rows[ENGINES] = {ours, theirs};
  for (int i = 0; i < ENGINES; i++)
    bench_heading("  %-8s %12.1f %10.1f %14s %14.3f %14s %14s", i == WODAN ? "wodan" : "rocksdb",
                  (double)s->records / rows[i]->put_seconds / 1e3, rows[i]->settle_seconds,
                  bench_bytes((double)rows[i]->passed), (double)rows[i]->passed / user,
                  bench_bytes((double)rows[i]->disk), bench_bytes((double)rows[i]->live));
  char what[64];
  snprintf(what, sizeof what, "%s: bytes written, ours / RocksDB's", names[phase]);
  bench_figure(what, (double)ours->passed / (double)theirs->passed, 0.5, "%s of %s; levels %" PRIu64 ", alpha %.2f",
               bench_bytes((double)ours->passed), bench_bytes((double)theirs->passed), ours->levels, ours->alpha);
  bench_figure("puts/s, ours / RocksDB's", theirs->put_seconds / ours->put_seconds, NAN, "%s",
               "RocksDB with assertions on");
  double apart = fabs((double)ours->passed - (double)ours->counted) / (double)ours->counted;
  bench_figure("ours: write calls against device counter", apart, 0.001, "%s counted",
               bench_bytes((double)ours->counted));
}

static void compare(const struct settings *s) {
  static struct peer peers[ENGINES];
  struct process processes[ENGINES];
  size_t size = ENGINES * PHASES * sizeof(struct result);
  struct result *results = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (results == MAP_FAILED) bench_die("out of memory");
  const char *folder = bench_folder(s->folder);
  for (int i = 0; i < ENGINES; i++) {
    peers[i].settings = s;
    peers[i].results = results + i * PHASES;
    snprintf(peers[i].path, sizeof peers[i].path, "%s/%s", folder, i == WODAN ? "wodan" : "rocksdb");
    processes[i] = start(&peers[i], i, processes, i);
  }
  for (int phase = 0; phase < PHASES; phase++) {
    for (int i = 0; i < ENGINES; i++) {
      char byte = (char)phase;
      if (write(processes[i].orders, &byte, 1) != 1 || read(processes[i].answers, &byte, 1) != 1)
        bench_die("a child process failed");
    }
    tell(s, phase, &results[phase], &results[PHASES + phase]);
  }
  for (int i = 0; i < ENGINES; i++) {
    int ended;
    close(processes[i].orders);
    close(processes[i].answers);
    if (waitpid(processes[i].id, &ended, 0) != processes[i].id || ended != 0) bench_die("a child process failed");
  }
  munmap(results, size);
}

int main(int argc, char **argv) {
  struct settings s = {
      .records = 20000000, .value_size = 100, .synced_every = 1000, .memtable = 64 << 20, .space = 5, .seed = 1};
  const struct bench_option options[] = {
      {"--records", BENCH_COUNT, &s.records, "records put, and updated after"},
      {"--value", BENCH_COUNT, &s.value_size, "bytes of a value"},
      {"--memtable", BENCH_COUNT, &s.memtable, "bytes of a memtable, for both"},
      {"--logged", BENCH_FLAG, &s.logged, "both write a log, and sync it"},
      {"--synced-every", BENCH_COUNT, &s.synced_every, "puts per synced one, when logged"},
      {"--space", BENCH_COUNT, &s.space, "our volume, as a multiple of the data"},
      {"--dynamic", BENCH_FLAG, &s.dynamic, "RocksDB's level_compaction_dynamic_level_bytes"},
      {"--seed", BENCH_COUNT, &s.seed, "of keys and order"},
      {"--dir", BENCH_TEXT, &s.folder, "where both lie meanwhile; else $TMPDIR or /tmp"},
      {"--json", BENCH_FLAG, &s.json, "one JSON object a figure"},
  };
  bench_options(argc, argv, "Bytes written by the same work here and in RocksDB.", options,
                sizeof options / sizeof *options);
  if (s.value_size > BENCH_VALUE_MAX || s.records < 2 || s.space < 1 || s.synced_every < 1)
    bench_die("values of 0..%d bytes; records, --space and --synced-every above 0", BENCH_VALUE_MAX);
  bench_figures_as_json(s.json);
  bench_heading("seed %" PRIu64 ", %" PRIu64 " records of %" PRIu64 " bytes, %s", s.seed, s.records,
                BENCH_KEY + s.value_size, s.logged ? "both logged" : "both unlogged");
  rocks_print_options(&s);
  compare(&s);
  return bench_verdict();
}
