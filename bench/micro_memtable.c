/* Owns: figures of the memtable alone: ns per operation for 64 MiB of 16-byte keys and 100-byte values, behind the
 * table id, single thread, buffered. Usage: micro_memtable [MiB of encoded records].
 * Two kinds of keys: 16 random bytes, and 16 decimal digits (long common prefixes).
 * See: src/memtable/memtable.h. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "iter/merge.h"
#include "memtable/memtable.h"

enum { KEY = 17, VALUE = 100 };

static uint64_t mix(uint64_t x) {
  x += UINT64_C(0x9e3779b97f4a7c15);
  x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void report(const char *keys, const char *what, double started, size_t count) {
  double ns = (now() - started) / (double)count;
  printf("%-8s %-18s %8.1f ns/op %8.2f M/s\n", keys, what, ns, 1e3 / ns);
}

static void random_key(uint64_t n, uint8_t *key) {
  uint64_t a = mix(n), b = mix(a);
  key[0] = TABLE_DEFAULT;
  memcpy(key + 1, &a, 8);
  memcpy(key + 9, &b, 8);
}

static void digits(uint64_t n, uint8_t *key) {
  key[0] = TABLE_DEFAULT;
  for (int i = 16; i > 0; i--, n /= 10) key[i] = (uint8_t)('0' + n % 10);
}

/* All keys beforehand, so that making them is not measured. kind: 'r' random, 'd' digits in random order. */
static uint8_t *keys_create(char kind, size_t count, uint64_t seed) {
  uint8_t *keys = malloc(count * KEY);
  if (!keys) exit(1);
  for (size_t i = 0; i < count; i++) {
    if (kind == 'r')
      random_key(seed + i, keys + i * KEY);
    else
      digits(mix(seed + i) % (count * 4), keys + i * KEY);
  }
  return keys;
}

static void fill(struct memtable *table, const uint8_t *keys, size_t count, size_t batch) {
  static const uint8_t value[VALUE];
  for (size_t i = 0; i < count; i++) {
    if (i % batch == 0 && memtable_reserve(table, batch, batch * (KEY + VALUE), NULL)) exit(1);
    struct record record = {
        .key = {keys + i * KEY, KEY}, .sequence = memtable_last_sequence(table) + 1, .value = {value, VALUE}};
    memtable_insert(table, &record);
  }
}

static size_t gets(const struct memtable *table, const uint8_t *keys, size_t count) {
  size_t found = 0;
  for (size_t i = 0; i < count; i++) {
    struct record record;
    size_t at = mix(i) % count;
    if (memtable_get(table, (struct wodan_slice){keys + at * KEY, KEY}, UINT64_MAX, &record) == 0)
      found += record.value.size > 0;
  }
  return found;
}

static void scan(struct memtable *table, const char *name) {
  struct iterator *it = memtable_iterator(table, UINT64_MAX);
  if (!it) exit(1);
  size_t count = 0;
  double t = now();
  for (iterator_first(it, NULL); it->valid; iterator_next(it, NULL)) count++;
  report(name, "scan next", t, count);
  t = now();
  count = 0;
  for (iterator_last(it, NULL); it->valid; iterator_prev(it, NULL)) count++;
  report(name, "scan prev", t, count);
  iterator_close(it);
}

static void walk(const struct memtable *table, const char *name) {
  struct memtable_walk w = {0};
  struct record record;
  size_t count = 0;
  double t = now();
  while (memtable_walk(table, &w, &record)) count++;
  report(name, "walk", t, count);
}

/* The same records, dealt at random to several tables, read as one. */
static void merged(struct mem *mem, const char *name, const uint8_t *keys, size_t count, size_t tables) {
  enum { TABLES_MAX = 16 };
  struct iterator *its[TABLES_MAX];
  size_t share = count / tables, seen = 0;
  for (size_t i = 0; i < tables; i++) {
    struct memtable *table = memtable_create(mem, NULL);
    if (!table) exit(1);
    fill(table, keys + i * share * KEY, share, 1);
    its[i] = memtable_iterator(table, UINT64_MAX);
    if (!its[i]) exit(1);
    memtable_unref(table);
  }
  struct iterator *it = merge_open(mem, its, tables);
  if (!it) exit(1);
  char what[32];
  snprintf(what, sizeof what, "merge %zu next", tables);
  double t = now();
  for (iterator_first(it, NULL); it->valid; iterator_next(it, NULL)) seen++;
  report(name, what, t, seen);
  iterator_close(it);
}

static void run(char kind, const char *name, size_t count) {
  struct mem mem;
  mem_init(&mem, NULL);
  uint8_t *keys = keys_create(kind, count, 1), *absent = keys_create('r', count, UINT64_C(1) << 40);
  struct memtable *table = memtable_create(&mem, NULL);
  if (!table) exit(1);
  double t = now();
  fill(table, keys, count, 1);
  report(name, "insert random", t, count);
  printf("%-8s %-18s %8.1f bytes per record\n", name, "memory", (double)atomic_load(&mem.used) / (double)count);
  t = now();
  size_t found = gets(table, keys, count);
  report(name, "get hit", t, count);
  t = now();
  size_t wrong = gets(table, absent, count);
  report(name, "get miss", t, count);
  if (found != count || wrong) exit(1);
  scan(table, name);
  walk(table, name);
  memtable_unref(table);
  merged(&mem, name, keys, count, 1);
  merged(&mem, name, keys, count, 2);
  merged(&mem, name, keys, count, 8);

  for (size_t i = 0; i < count; i++) digits(i, keys + i * KEY);
  table = memtable_create(&mem, NULL);
  if (!table) exit(1);
  t = now();
  fill(table, keys, count, 1);
  report(name, "insert sequential", t, count);
  scan(table, "sequent.");
  memtable_unref(table);
  free(keys);
  free(absent);
}

int main(int argc, char **argv) {
  size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 64;
  size_t count = (mib << 20) / record_encoded_size(KEY, VALUE);
  printf("%zu records of %d + %d bytes, %zu MiB encoded, a reservation per insert\n", count, KEY, VALUE, mib);
  run('r', "random", count);
  run('d', "digits", count);
  return 0;
}
