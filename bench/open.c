/* Question: how long does open take after a crash, on a large image of small records, and what does it read?
 *
 * A forked process fills the image, settles it, writes more without syncing, syncs, writes more again and dies without
 * closing. Then several processes, one after the other, open it, for writing, and die as well: open writes nothing, so each
 * finds what the first left. Before each the file's pages are dropped from the page cache (--warm keeps them). Bound: the
 * median open takes less than a second. Reads are counted at the device. */
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

struct settings {
  uint64_t bytes, value_size, more, memtable, budget, opens, seed;
  const char *folder;
  bool warm, json;
};

/* What one opening process tells; in memory shared by parent and children. */
struct opening {
  double seconds;
  struct paced_counters device;
  struct wodan_stats stats;
  struct wodan_info info;
};

static const double BOUND_SECONDS = 1;

/* Runs `work` in a process of its own, which must end with exit code 0. */
static void in_child(void (*work)(const struct settings *, const char *, struct opening *), const struct settings *s,
                     const char *path, struct opening *opening) {
  pid_t child = bench_fork();
  if (child == 0) {
    work(s, path, opening);
    _exit(0);
  }
  int ended;
  if (waitpid(child, &ended, 0) != child || ended != 0) bench_die("a child process failed");
}

/* A third of a memtable, so that open finds the synced third in the journal and nowhere else. */
static uint64_t more_records(const struct settings *s, struct wodan_db *db) {
  struct wodan_info info = {.size = sizeof info};
  bench_check(wodan_info(db, &info), "info", db);
  return s->more ? s->more : info.memtable_size / 3 / (BENCH_KEY + s->value_size);
}

static void build(const struct settings *s, const char *path, struct opening *opening) {
  struct wodan_format_options format = {.size = sizeof format, .memtable_size = s->memtable};
  struct bench_volume volume;
  uint64_t record = BENCH_KEY + s->value_size, records = s->bytes / record;
  bench_volume_create(&volume, path, s->bytes / 10 * 16, &format);
  struct wodan_db *db = bench_volume_open(&volume, NULL);
  struct bench_puts puts = {.db = db, .seed = s->seed, .value_size = s->value_size};
  uint64_t start = bench_now(), next = 0;
  while (next < records) bench_put(&puts, next++, 1);
  bench_settle(db);
  uint64_t more = more_records(s, db);
  puts.synced_every = 1000; /* a journal of small records */
  for (uint64_t i = 0; i < more; i++) bench_put(&puts, next++, 1);
  bench_check(wodan_sync(db), "sync", db);
  puts.synced_every = 0;
  for (uint64_t i = 0; i < s->more; i++)
    bench_put(&puts, next++, 1); /* lost with the process, but for what was drained */
  opening->seconds = bench_seconds_since(start);
  opening->stats.size = sizeof opening->stats;
  bench_check(wodan_stats(db, &opening->stats), "statistics", db);
}

static void drop_pages(const char *path) {
  int file = open(path, O_RDONLY);
  if (file < 0 || fsync(file) < 0 || posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED))
    bench_die("the page cache keeps %s", path);
  close(file);
}

/* The last record that was synced must be there. */
static void check_synced(const struct settings *s, struct wodan_db *db) {
  uint8_t key[BENCH_KEY], found[BENCH_VALUE_MAX], expected[BENCH_VALUE_MAX];
  uint64_t last = s->bytes / (BENCH_KEY + s->value_size) + more_records(s, db) - 1;
  size_t size = 0;
  bench_key(s->seed, last, key);
  bench_value(last, 1, expected, s->value_size);
  bench_check(wodan_get(db, NULL, (struct wodan_slice){key, sizeof key}, found, sizeof found, &size), "get", db);
  if (size != s->value_size || memcmp(found, expected, size) != 0)
    bench_die("a synced record is wrong after the crash");
}

static void open_once(const struct settings *s, const char *path, struct opening *opening) {
  struct wodan_open_options options = {.size = sizeof options, .memory_budget = s->budget};
  struct bench_volume volume;
  bench_volume_create(&volume, path, 0, NULL);
  uint64_t start = bench_now();
  struct wodan_db *db = bench_volume_open(&volume, &options);
  opening->seconds = bench_seconds_since(start);
  opening->device = paced_device_counters(&volume.paced);
  opening->info.size = sizeof opening->info;
  bench_check(wodan_info(db, &opening->info), "info", db);
  opening->stats.size = sizeof opening->stats;
  bench_check(wodan_stats(db, &opening->stats), "statistics", db);
  check_synced(s, db);
}

static int by_seconds(const void *a, const void *b) {
  double x = ((const struct opening *)a)->seconds, y = ((const struct opening *)b)->seconds;
  return (x > y) - (x < y);
}

static void tell(struct opening *openings, const struct settings *s) {
  qsort(openings, s->opens, sizeof *openings, by_seconds);
  const struct opening *m = &openings[s->opens / 2];
  bench_figure("open after a crash, seconds", m->seconds, BOUND_SECONDS, "median of %" PRIu64 ", %.3f to %.3f, %s",
               s->opens, openings[0].seconds, openings[s->opens - 1].seconds,
               s->warm ? "warm" : "pages dropped before");
  bench_figure("reads of open", (double)m->device.reads, NAN,
               "%s read for %s live: %" PRIu64 " levels, %" PRIu64 " nodes, %" PRIu64 " leaves, %" PRIu64 " runs",
               bench_bytes((double)m->device.read_bytes), bench_bytes((double)m->stats.space_live), m->stats.levels,
               m->stats.nodes, m->stats.leaves, m->stats.runs);
  bench_figure("operations replayed", (double)m->info.replayed_operations, NAN, "%s of memory in use after",
               bench_bytes((double)m->stats.memory_used));
  bench_figure("bytes written by open", (double)m->device.write_bytes, NAN, "%s", "by its maintenance, when not 0");
}

int main(int argc, char **argv) {
  struct settings s = {.bytes = UINT64_C(10) << 30, .value_size = 100, .opens = 5, .seed = 1};
  const struct bench_option options[] = {
      {"--bytes", BENCH_COUNT, &s.bytes, "key and value bytes in the image"},
      {"--value", BENCH_COUNT, &s.value_size, "bytes of a value"},
      {"--more", BENCH_COUNT, &s.more,
       "records put and synced before the crash, and as many not synced; 0: a third of a memtable"},
      {"--memtable", BENCH_COUNT, &s.memtable, "bytes of a memtable; 0: the format's choice"},
      {"--budget", BENCH_COUNT, &s.budget, "memory budget of open; 0: the library's choice"},
      {"--opens", BENCH_COUNT, &s.opens, "how often it is opened"},
      {"--seed", BENCH_COUNT, &s.seed, "of the keys"},
      {"--dir", BENCH_TEXT, &s.folder, "where the image lies meanwhile; else $TMPDIR or /tmp"},
      {"--warm", BENCH_FLAG, &s.warm, "leave the file in the page cache"},
      {"--json", BENCH_FLAG, &s.json, "one JSON object a figure"},
  };
  bench_options(argc, argv, "Open after a crash, timed, and what it reads.", options, sizeof options / sizeof *options);
  if (s.opens < 1 || s.opens > 1000 || s.value_size > BENCH_VALUE_MAX)
    bench_die("1..1000 opens, values of 0..%d bytes", BENCH_VALUE_MAX);
  bench_figures_as_json(s.json);
  char path[4200];
  snprintf(path, sizeof path, "%s/image", bench_folder(s.folder));
  size_t size = (s.opens + 1) * sizeof(struct opening);
  struct opening *openings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (openings == MAP_FAILED) bench_die("out of memory");
  in_child(build, &s, path, &openings[s.opens]);
  bench_heading("seed %" PRIu64 ", %s of records of %" PRIu64
                " bytes, built in %.1f s, %s of file; killed without close",
                s.seed, bench_bytes((double)s.bytes), BENCH_KEY + s.value_size, openings[s.opens].seconds,
                bench_bytes((double)bench_disk_bytes(path)));
  for (uint64_t i = 0; i < s.opens; i++) {
    if (!s.warm) drop_pages(path);
    in_child(open_once, &s, path, &openings[i]);
  }
  tell(openings, &s);
  munmap(openings, size);
  return bench_verdict();
}
