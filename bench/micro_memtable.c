/* Measures: the memtable alone, and merging several: records of 16 + 100 bytes behind the table id, 64 MiB of them as the
 * engine counts, one thread, a reservation an insert. Two kinds of keys: 16 random bytes, and 16 decimal digits (long common
 * prefixes).
 * See: src/memtable/memtable.h, src/iter/merge.h. */
#include <stdio.h>
#include <stdlib.h>

#include "iter/merge.h"
#include "memtable/memtable.h"
#include "micro.h"

enum { KEY = 17, VALUE = 100, ENCODED = KEY + VALUE + 12, COUNT = (64 << 20) / ENCODED, SOURCES_MAX = 8 };
enum { DIGITS = 16 }; /* which: how many sources, + DIGITS for keys of digits */

struct trial {
  struct mem mem;
  uint8_t *keys;
  struct memtable *table; /* being filled, or all of it */
  struct iterator *it;
  size_t inserted;
  uint64_t random;
};

static void digits(uint64_t n, uint8_t *key) {
  key[0] = TABLE_DEFAULT;
  for (int i = 16; i > 0; i--, n /= 10) key[i] = (uint8_t)('0' + n % 10);
}

/* All keys beforehand, so that making them is not measured. */
static uint8_t *keys_create(bool of_digits, bool ascending) {
  uint8_t *keys = micro_allocate((size_t)COUNT * KEY);
  uint64_t random = 1;
  for (size_t i = 0; i < COUNT; i++) {
    uint8_t *key = keys + i * KEY;
    if (of_digits) {
      digits(ascending ? i : bench_random(&random) % (COUNT * UINT64_C(4)), key);
    } else {
      key[0] = TABLE_DEFAULT;
      bench_key(1, i, key + 1);
    }
  }
  return keys;
}

static void insert(struct trial *t, struct memtable *table, size_t i) {
  static const uint8_t value[VALUE];
  struct record record = {
      .key = {t->keys + i * KEY, KEY}, .sequence = memtable_last_sequence(table) + 1, .value = {value, VALUE}};
  if (memtable_reserve(table, 1, KEY + VALUE, NULL)) bench_die("out of memory");
  memtable_insert(table, &record);
}

static struct memtable *table_create(struct trial *t) {
  struct memtable *table = memtable_create(&t->mem, NULL);
  if (!table) bench_die("out of memory");
  return table;
}

static struct trial *trial_create(bool of_digits, bool ascending) {
  struct trial *t = micro_allocate(sizeof *t);
  mem_init(&t->mem, NULL);
  t->keys = keys_create(of_digits, ascending);
  t->table = table_create(t);
  return t;
}

static void *create_empty(size_t which) { return trial_create(which & DIGITS, false); }
static void *create_ascending(size_t which) { return trial_create(which & DIGITS, true); }

static void *create_full(size_t which) {
  struct trial *t = trial_create(which & DIGITS, false);
  for (size_t i = 0; i < COUNT; i++) insert(t, t->table, i);
  t->it = memtable_iterator(t->table, UINT64_MAX);
  if (!t->it) bench_die("out of memory");
  return t;
}

/* The same records, dealt to several tables, read as one. */
static void *create_merge(size_t which) {
  struct trial *t = trial_create(which & DIGITS, false);
  struct iterator *sources[SOURCES_MAX];
  size_t count = which & ~(size_t)DIGITS;
  for (size_t s = 0; s < count; s++) {
    struct memtable *table = table_create(t);
    for (size_t i = s; i < COUNT; i += count) insert(t, table, i);
    sources[s] = memtable_iterator(table, UINT64_MAX);
    if (!sources[s]) bench_die("out of memory");
    memtable_unref(table);
  }
  t->it = merge_open(&t->mem, sources, count);
  if (!t->it) bench_die("out of memory");
  return t;
}

static void destroy(void *state) {
  struct trial *t = state;
  iterator_close(t->it);
  memtable_unref(t->table);
  free(t->keys);
  free(t);
}

/* Fills, and begins anew when full: freeing the old table is a small part of that. */
static void run_insert(void *state, uint64_t count) {
  struct trial *t = state;
  for (uint64_t i = 0; i < count; i++) {
    if (t->inserted == COUNT) {
      memtable_unref(t->table);
      t->table = table_create(t);
      t->inserted = 0;
    }
    insert(t, t->table, t->inserted++);
  }
}

static void run_hit(void *state, uint64_t count) {
  struct trial *t = state;
  for (uint64_t i = 0; i < count; i++) {
    struct record record;
    size_t at = bench_random(&t->random) % COUNT;
    struct wodan_slice sought = {t->keys + at * KEY, KEY};
    if (memtable_get(t->table, sought, memtable_hash(sought), UINT64_MAX, &record) || record.value.size != VALUE)
      bench_die("a record is not in the memtable");
  }
}

static void run_miss(void *state, uint64_t count) {
  struct trial *t = state;
  uint8_t key[KEY] = {TABLE_DEFAULT};
  for (uint64_t i = 0; i < count; i++) {
    struct record record;
    bench_key(2, bench_random(&t->random), key + 1);
    struct wodan_slice sought = {key, KEY};
    if (memtable_get(t->table, sought, memtable_hash(sought), UINT64_MAX, &record) == 0)
      bench_die("the memtable holds a key that was not put");
  }
}

static void run_next(void *state, uint64_t count) {
  struct trial *t = state;
  for (uint64_t i = 0; i < count; i++) {
    if (t->it->valid)
      iterator_next(t->it, NULL);
    else
      iterator_first(t->it, NULL);
  }
}

static void run_prev(void *state, uint64_t count) {
  struct trial *t = state;
  for (uint64_t i = 0; i < count; i++) {
    if (t->it->valid)
      iterator_prev(t->it, NULL);
    else
      iterator_last(t->it, NULL);
  }
}

void micro_memtable(micro_add *add, void *context) {
  static const struct {
    const char *name;
    size_t which;
    void *(*create)(size_t);
    void (*run)(void *, uint64_t);
  } kinds[] = {{"memtable/insert", 0, create_empty, run_insert}, {"memtable/hit", 0, create_full, run_hit},
               {"memtable/miss", 0, create_full, run_miss},      {"memtable/next", 0, create_full, run_next},
               {"memtable/prev", 0, create_full, run_prev},      {"merge of 2/next", 2, create_merge, run_next},
               {"merge of 8/next", 8, create_merge, run_next}};
  for (size_t of_digits = 0; of_digits < 2; of_digits++)
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
      struct micro micro = {.which = kinds[i].which | (of_digits ? DIGITS : 0),
                            .create = kinds[i].create,
                            .run = kinds[i].run,
                            .destroy = destroy,
                            .chunk = 1000};
      snprintf(micro.name, sizeof micro.name, "%s/%s", kinds[i].name, of_digits ? "digits" : "random");
      add(context, &micro);
    }
  static const struct micro ascending = {
      "memtable/insert/ascending", DIGITS, create_ascending, run_insert, destroy, 1000, 0};
  add(context, &ascending);
}
