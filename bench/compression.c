/* What: what compression of leaves gains and costs, counted: bytes written per byte put (random fill, random update), blocks
 * per live byte, leaf pages before and after, bytes a cold get reads. Values of three kinds: JSON, words, random bytes.
 *
 * Always true: the volume is five times the data, maintenance is inline and every choice is seeded, so a figure that moves
 * comes from the library. CPU is not measured here: run one kind and one way under callgrind.
 *
 * See: DESIGN.md "Compression". */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "common.h"

enum { VALUE_MAX = 400, WORDS = 2000, COLD_GETS = 5000 };

struct settings {
  uint64_t records, memtable;
  const char *kind, *how; /* NULL: all */
  bool json;
};

/* ---- values ------------------------------------------------------------------------------------------------------ */

/* Word number i: two to five syllables, so that words share parts as those of a language do. */
static int word(uint64_t i, char *out) {
  static const char *const syllables[] = {"ta", "ren", "mi",  "sol",  "ver", "da", "in",  "con", "pro", "ful",
                                          "er", "ing", "ous", "tion", "al",  "be", "com", "de",  "re",  "un"};
  uint64_t state = i;
  unsigned count = 2 + (unsigned)(bench_random(&state) % 4);
  int size = 0;
  for (unsigned n = 0; n < count; n++) size += sprintf(out + size, "%s", syllables[bench_random(&state) % 20]);
  return size;
}

/* A word that is met the more often the lower its number is, as in a language. */
static int usual_word(uint64_t *state, char *out) {
  double share = (double)(bench_random(state) >> 11) / 9007199254740992.0;
  return word((uint64_t)pow(WORDS, share), out);
}

static size_t json_value(uint64_t *state, char *out) {
  char names[5][32];
  for (int i = 0; i < 5; i++) usual_word(state, names[i]);
  uint64_t number = bench_random(state);
  return (size_t)snprintf(
      out, VALUE_MAX,
      "{\"id\":%u,\"name\":\"%s %s\",\"email\":\"%s@example.com\",\"active\":%s,\"balance\":%u.%02u,"
      "\"tags\":[\"%s\",\"%s\"],\"created\":\"2024-%02u-%02uT%02u:%02u:00Z\"}",
      (unsigned)(number >> 40), names[0], names[1], names[2], number & 1 ? "true" : "false",
      (unsigned)(number >> 8) % 100000, (unsigned)(number >> 3) % 100, names[3], names[4],
      1 + (unsigned)(number >> 1) % 12, 1 + (unsigned)(number >> 5) % 28, (unsigned)(number >> 11) % 24,
      (unsigned)(number >> 17) % 60);
}

static size_t text_value(uint64_t *state, char *out) {
  size_t size = 0;
  while (size < 180) {
    size += (size_t)usual_word(state, out + size);
    out[size++] = ' ';
  }
  return size;
}

static size_t random_value(uint64_t *state, char *out) {
  for (size_t i = 0; i < 180; i++) out[i] = (char)bench_random(state);
  return 180;
}

struct kind {
  const char *name;
  size_t (*value)(uint64_t *state, char *out);
};
static const struct kind KINDS[] = {{"json", json_value}, {"words", text_value}, {"random", random_value}};

/* ---- one kind, one way ------------------------------------------------------------------------------------------- */

static uint64_t put_all(struct wodan_db *db, const struct kind *kind, uint64_t records, uint64_t version) {
  struct bench_order order = bench_order(records, version);
  uint64_t live = 0;
  for (uint64_t n = 0; n < records; n++) {
    uint8_t key[BENCH_KEY];
    char value[VALUE_MAX];
    uint64_t i = bench_order_next(&order), state = i * 1000003 + version;
    bench_key(1, i, key);
    size_t size = kind->value(&state, value);
    live += BENCH_KEY + size;
    bench_check(wodan_put(db, (struct wodan_slice){key, BENCH_KEY}, (struct wodan_slice){value, size}, NULL), "put",
                db);
  }
  bench_settle(db);
  return live;
}

static struct wodan_stats stats_of(struct wodan_db *db) {
  struct wodan_stats stats = {.size = sizeof stats};
  bench_check(wodan_stats(db, &stats), "stats", db);
  return stats;
}

/* Bytes the device was asked for by a get of a page that is not in memory; indexes and filters are. */
static double cold_bytes(struct bench_volume *volume, uint64_t records, uint64_t budget) {
  struct wodan_open_options options = {.size = sizeof options, .flags = WODAN_OPEN_READ_ONLY, .memory_budget = budget};
  struct wodan_db *db = bench_volume_open(volume, &options);
  uint64_t random = 9, before = 0, misses = 0;
  for (unsigned n = 0; n < 2 * COLD_GETS; n++) { /* the first half brings the indexes */
    uint8_t key[BENCH_KEY];
    char value[VALUE_MAX];
    size_t size;
    struct wodan_stats stats = stats_of(db);
    if (n == COLD_GETS) before = stats.device_read_bytes, misses = stats.cache_misses;
    bench_key(1, bench_random(&random) % records, key);
    bench_check(wodan_get(db, NULL, (struct wodan_slice){key, BENCH_KEY}, value, sizeof value, &size), "get", db);
  }
  struct wodan_stats stats = stats_of(db);
  bench_check(wodan_close(db, NULL), "close", NULL);
  misses = stats.cache_misses - misses;
  return (double)(stats.device_read_bytes - before) / (double)(misses ? misses : 1);
}

static void measure(const struct settings *s, const struct kind *kind, uint32_t how, const char *name) {
  struct bench_volume volume;
  char what[64], value[VALUE_MAX];
  uint64_t state = 1, size = s->records * (BENCH_KEY + kind->value(&state, value)) * 5;
  struct wodan_format_options format = {
      .size = sizeof format, .memtable_size = s->memtable, .page_size = 16384, .compression = how};
  struct wodan_open_options options = {.size = sizeof options, .flags = WODAN_OPEN_INLINE};
  bench_volume_create(&volume, NULL, size, &format);
  struct wodan_db *db = bench_volume_open(&volume, &options);
  uint64_t live = put_all(db, kind, s->records, 1);
  struct wodan_stats fill = stats_of(db);
  for (uint64_t version = 2; version <= 4; version++) live = put_all(db, kind, s->records, version);
  struct wodan_stats all = stats_of(db);
  struct wodan_info info = {.size = sizeof info};
  bench_check(wodan_info(db, &info), "info", db);
  bench_check(wodan_compact(db, NULL, NULL, 0, NULL), "compact", db);
  bench_settle(db);
  struct wodan_stats end = stats_of(db);
  bench_check(wodan_close(db, NULL), "close", NULL);
  bench_heading(
      "%s, %s: %llu records of %.0f bytes, a page stored in %.2f of its bytes (%llu of %llu compressed, %llu of "
      "those passed on)",
      kind->name, name, (unsigned long long)s->records, (double)live / (double)s->records,
      (double)all.leaf_page_stored_bytes / (double)all.leaf_page_bytes, (unsigned long long)all.leaf_pages_packed,
      (unsigned long long)all.leaf_pages, (unsigned long long)all.leaf_pages_passed);
  snprintf(what, sizeof what, "%s, %s: fill, written per byte", kind->name, name);
  bench_figure(what, (double)fill.device_write_bytes / (double)fill.user_bytes_written, NAN, "%s", "");
  snprintf(what, sizeof what, "%s, %s: update, written per byte", kind->name, name);
  bench_figure(what,
               (double)(all.device_write_bytes - fill.device_write_bytes) /
                   (double)(all.user_bytes_written - fill.user_bytes_written),
               NAN, "alpha %.2f", all.alpha);
  snprintf(what, sizeof what, "%s, %s: blocks per live byte", kind->name, name);
  bench_figure(what, (double)all.space_live / (double)live, NAN, "after compact %.2f, %llu leaves",
               (double)end.space_live / (double)live, (unsigned long long)end.leaves);
  snprintf(what, sizeof what, "%s, %s: bytes a cold page", kind->name, name);
  bench_figure(what, cold_bytes(&volume, s->records, info.memory_needed * 5 / 4), NAN, "%s", "");
  bench_volume_release(&volume);
}

int main(int argc, char **argv) {
  static const char *const names[] = {"off", "fast", "high"};
  struct settings s = {.records = 100000, .memtable = 1 << 20};
  const struct bench_option options[] = {
      {"--records", BENCH_COUNT, &s.records, "records (100K)"},
      {"--memtable", BENCH_COUNT, &s.memtable, "memtable (1M)"},
      {"--kind", BENCH_TEXT, &s.kind, "json, words or random only"},
      {"--how", BENCH_TEXT, &s.how, "off, fast or high only"},
      {"--json", BENCH_FLAG, &s.json, "a JSON object a line"},
  };
  bench_options(argc, argv, "Counts what compression of leaves gains.", options, sizeof options / sizeof *options);
  bench_figures_as_json(s.json);
  for (size_t k = 0; k < sizeof KINDS / sizeof *KINDS; k++)
    for (uint32_t how = 0; how < 3; how++) {
      if ((s.kind && strcmp(s.kind, KINDS[k].name) != 0) || (s.how && strcmp(s.how, names[how]) != 0)) continue;
      measure(&s, &KINDS[k], WODAN_COMPRESSION_OFF + how, names[how]);
    }
  return bench_verdict();
}
