/* Owns: the tests of the memtable, against a plain array of every insert in commit order: every version at every
 * sequence, iterators with inserts between their moves, the walk, memory that runs out. Seeds printed on failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "memtable/key_filter.h"
#include "memtable/memtable.h"
#include "memtable/ordered_map.h"
/* ---- support ---------------------------------------------------------------------------------------------------- */

/* Fails the allocation number fail_at (0: none) and, when `lasting`, every one after it. */
struct faulty {
  size_t calls, fail_at;
  bool lasting;
};

static void *faulty_allocate(void *context, size_t size, size_t alignment) {
  struct faulty *f = context;
  f->calls++;
  if (f->fail_at && (f->lasting ? f->calls >= f->fail_at : f->calls == f->fail_at)) return NULL;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void faulty_release(void *context, void *memory, size_t size) {
  (void)context;
  (void)size;
  free(memory);
}

static void faulty_init(struct mem *mem, struct faulty *f) {
  *f = (struct faulty){0};
  struct wodan_allocator hooks = {.context = f, .allocate = faulty_allocate, .release = faulty_release};
  mem_init(mem, &hooks);
}

static uint64_t next_random(uint64_t *state) {
  *state += UINT64_C(0x9e3779b97f4a7c15);
  uint64_t x = *state;
  x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

enum { KEY_MAX = 48, VALUE_MAX = 40 };

struct insert {
  uint8_t key[KEY_MAX], value[VALUE_MAX];
  size_t key_size, value_size;
  uint64_t sequence;
  uint8_t kind;
};

static struct wodan_slice insert_key(const struct insert *i) { return (struct wodan_slice){i->key, i->key_size}; }

static struct record insert_record(const struct insert *i) {
  return (struct record){.key = insert_key(i),
                         .sequence = i->sequence,
                         .kind = i->kind,
                         .value = {i->kind == RECORD_DELETE ? NULL : i->value, i->value_size}};
}

/* A memtable and beside it everything that went in; sorted: indexes in the order of the map. */
struct pair {
  struct mem mem;
  struct memtable *table;
  struct insert *inserts;
  size_t count, capacity;
  size_t *sorted;
  uint64_t seed;
};

static void pair_create(struct pair *p, size_t capacity, uint64_t seed) {
  *p = (struct pair){.capacity = capacity, .seed = seed};
  mem_init(&p->mem, NULL);
  p->table = memtable_create(&p->mem, NULL);
  assert_non_null(p->table);
  p->inserts = calloc(capacity, sizeof *p->inserts);
  p->sorted = calloc(capacity, sizeof *p->sorted);
  assert_true(p->inserts && p->sorted);
}

static void pair_free(struct pair *p) {
  memtable_unref(p->table);
  free(p->inserts);
  free(p->sorted);
  if (p->mem.used) fail_msg("%zu bytes not given back, seed %llu", (size_t)p->mem.used, (unsigned long long)p->seed);
}

#define CHECK(p, what)                                                                                                 \
  do {                                                                                                                 \
    if (!(what)) fail_msg("%s, seed %llu, %zu inserts", #what, (unsigned long long)(p)->seed, (p)->count);             \
  } while (0)

/* Index in sorted of the first insert at or behind (key, sequence). */
static size_t pair_lower(const struct pair *p, struct wodan_slice key, uint64_t sequence) {
  size_t low = 0, high = p->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    const struct insert *i = &p->inserts[p->sorted[middle]];
    int c = key_compare(insert_key(i), key);
    if (c < 0 || (c == 0 && i->sequence > sequence))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void pair_note(struct pair *p, const struct insert *insert) {
  assert_true(p->count < p->capacity);
  size_t at = pair_lower(p, insert_key(insert), insert->sequence);
  memmove(p->sorted + at + 1, p->sorted + at, (p->count - at) * sizeof *p->sorted);
  p->sorted[at] = p->count;
  p->inserts[p->count++] = *insert;
}

/* Those noted from `first` on, with one call. */
static void pair_insert_noted(struct pair *p, size_t first) {
  size_t count = p->count - first, bytes = 0;
  struct record *records = calloc(count, sizeof *records);
  assert_non_null(records);
  for (size_t i = 0; i < count; i++) {
    records[i] = insert_record(&p->inserts[first + i]);
    bytes += records[i].key.size + records[i].value.size;
  }
  CHECK(p, memtable_reserve(p->table, count, bytes, NULL) == 0);
  memtable_insert_many(p->table, records, count);
  free(records);
}

static void pair_insert(struct pair *p, struct insert insert) {
  pair_note(p, &insert);
  pair_insert_noted(p, p->count - 1);
}

static const struct insert *pair_get(const struct pair *p, struct wodan_slice key, uint64_t sequence) {
  size_t at = pair_lower(p, key, sequence);
  if (at == p->count) return NULL;
  const struct insert *i = &p->inserts[p->sorted[at]];
  return key_compare(insert_key(i), key) == 0 ? i : NULL;
}

/* The first visible key >= key (or > key). */
static const struct insert *pair_after(const struct pair *p, struct wodan_slice key, bool strictly, uint64_t sequence) {
  for (size_t at = pair_lower(p, key, strictly ? 0 : UINT64_MAX); at < p->count; at++) {
    const struct insert *i = &p->inserts[p->sorted[at]];
    if (strictly && key_compare(insert_key(i), key) == 0) continue;
    if (i->sequence <= sequence) return i; /* newest first, so this is the newest visible */
  }
  return NULL;
}

/* The last visible key <= key (or < key). */
static const struct insert *pair_before(const struct pair *p, struct wodan_slice key, bool strictly,
                                        uint64_t sequence) {
  for (size_t at = pair_lower(p, key, strictly ? UINT64_MAX : 0);; at--) {
    if (at < p->count) {
      const struct insert *i = &p->inserts[p->sorted[at]];
      int c = key_compare(insert_key(i), key);
      if ((strictly ? c < 0 : c <= 0) && i->sequence <= sequence) return pair_get(p, insert_key(i), sequence);
    }
    if (at == 0) return NULL;
  }
}

static bool same(const struct record *r, const struct insert *i) {
  struct record want = insert_record(i);
  return key_compare(r->key, want.key) == 0 && r->sequence == want.sequence && r->kind == want.kind &&
         r->value.size == want.value.size &&
         (!want.value.size || memcmp(r->value.data, want.value.data, want.value.size) == 0);
}

static void check_at(struct pair *p, const struct iterator *it, const struct insert *want) {
  CHECK(p, it->valid == (want != NULL));
  if (want) CHECK(p, same(&it->record, want));
}

/* Shapes of keys that take different ways through the tree. */
enum shape {
  SHAPE_RANDOM,
  SHAPE_FEW,
  SHAPE_DIGITS,
  SHAPE_PREFIXES,
  SHAPE_ASCENDING,
  SHAPE_DESCENDING,
  SHAPE_HIGH,
  SHAPES
};

static void make_key(enum shape shape, uint64_t n, uint64_t *random, struct insert *out) {
  uint64_t r = next_random(random);
  out->key[0] = r % 16 ? TABLE_DEFAULT : (uint8_t)(r >> 8 & 3); /* sometimes another table */
  uint8_t *k = out->key + 1;
  char text[40];
  switch (shape) {
  case SHAPE_RANDOM:
    out->key_size = 1 + 16;
    for (int i = 0; i < 16; i++) k[i] = (uint8_t)next_random(random);
    break;
  case SHAPE_FEW:
    out->key_size = (size_t)(r >> 16 & 3);
    for (int i = 0; i < 3; i++) k[i] = (uint8_t)(r >> (20 + i) & 1);
    break;
  case SHAPE_DIGITS:
    out->key_size = 1 + (size_t)snprintf(text, sizeof text, "%016llu", (unsigned long long)(r >> 16) % 2000);
    memcpy(k, text, out->key_size - 1);
    break;
  case SHAPE_PREFIXES: /* "aaa…": each key the prefix of others, much in common */
    out->key_size = 1 + (size_t)(r >> 16) % (KEY_MAX - 1);
    memset(k, 'a', out->key_size - 1);
    if (out->key_size > 2) k[(r >> 32) % (out->key_size - 1)] = (uint8_t)(r >> 24 & 1 ? 'a' : r >> 40);
    break;
  case SHAPE_ASCENDING:
  case SHAPE_DESCENDING:
    out->key[0] = TABLE_DEFAULT;
    out->key_size = 1 + 12;
    snprintf(text, sizeof text, "%012llu", (unsigned long long)(shape == SHAPE_ASCENDING ? n : 1000000 - n));
    memcpy(k, text, 12);
    break;
  default: /* heads of all ones, as the unused ones are */
    out->key_size = (size_t)(r >> 16) % 24;
    memset(out->key, 0xff, out->key_size);
    if (out->key_size) out->key[out->key_size - 1] = (uint8_t)(0xfd + (r >> 32) % 3);
  }
}

static struct insert make_insert(enum shape shape, struct pair *p, uint64_t *random) {
  struct insert i = {.sequence = p->count ? p->inserts[p->count - 1].sequence + 1 + next_random(random) % 3 : 1};
  make_key(shape, p->count, random, &i);
  uint64_t r = next_random(random);
  i.kind = r % 5 ? RECORD_PUT : RECORD_DELETE;
  i.value_size = i.kind == RECORD_DELETE ? 0 : (size_t)(r >> 8) % VALUE_MAX;
  memset(i.value, (int)(r >> 16 & 0xff), i.value_size);
  return i;
}

/* One, or up to 50 at once. */
static void insert_some(enum shape shape, struct pair *p, uint64_t *random) {
  size_t first = p->count, count = next_random(random) % 2 ? 1 : 1 + (size_t)(next_random(random) % 50);
  for (size_t i = 0; i < count && p->count < p->capacity; i++) {
    struct insert insert = make_insert(shape, p, random);
    pair_note(p, &insert);
  }
  pair_insert_noted(p, first);
}

static void check_walk(struct pair *p) {
  struct memtable_walk walk = {0};
  struct record record;
  uint64_t bytes = 0;
  for (size_t i = 0; i < p->count; i++) {
    CHECK(p, memtable_walk(p->table, &walk, &record) && same(&record, &p->inserts[i]));
    bytes += record_encoded_size(record.key.size, record.value.size);
  }
  CHECK(p, !memtable_walk(p->table, &walk, &record));
  CHECK(p, memtable_bytes(p->table) == bytes && memtable_count(p->table) == p->count);
  CHECK(p, memtable_first_sequence(p->table) == (p->count ? p->inserts[0].sequence : 0));
  CHECK(p, memtable_last_sequence(p->table) == (p->count ? p->inserts[p->count - 1].sequence : 0));
}

static void check_scans(struct pair *p, uint64_t sequence) {
  struct iterator *it = memtable_iterator(p->table, sequence);
  CHECK(p, it != NULL);
  struct wodan_slice none = {NULL, 0};
  const struct insert *want = pair_after(p, none, false, sequence), *last = NULL;
  CHECK(p, iterator_first(it, NULL) == 0);
  for (; want; want = pair_after(p, insert_key(want), true, sequence)) {
    check_at(p, it, want);
    CHECK(p, iterator_next(it, NULL) == 0);
    last = want;
  }
  CHECK(p, !it->valid);
  CHECK(p, iterator_last(it, NULL) == 0);
  for (want = last; want; want = pair_before(p, insert_key(want), true, sequence)) {
    check_at(p, it, want);
    CHECK(p, iterator_prev(it, NULL) == 0);
  }
  CHECK(p, !it->valid);
  iterator_close(it);
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */

static void test_memtable__empty_has_nothing(void **state) {
  (void)state;
  struct pair p;
  pair_create(&p, 1, 0);
  struct record record;
  struct wodan_slice key = {"\1a", 2};
  assert_int_equal(memtable_get(p.table, key, memtable_hash(key), UINT64_MAX, &record), WODAN_ENOTFOUND);
  struct iterator *it = memtable_iterator(p.table, UINT64_MAX);
  assert_non_null(it);
  assert_int_equal(iterator_first(it, NULL), 0);
  assert_false(it->valid);
  assert_int_equal(iterator_last(it, NULL), 0);
  assert_false(it->valid);
  assert_int_equal(iterator_seek(it, key, NULL), 0);
  assert_false(it->valid);
  assert_int_equal(iterator_seek_back(it, key, NULL), 0);
  assert_false(it->valid);
  iterator_close(it);
  check_walk(&p);
  assert_int_equal(memtable_reserve(p.table, 100, 5000, NULL), 0);
  check_walk(&p);
  pair_free(&p);
}

/* Every key shape; after it every version is found at its own sequence, just before it and just behind it. */
static void test_memtable__every_version_at_every_sequence(void **state) {
  (void)state;
  for (unsigned shape = 0; shape < SHAPES; shape++) {
    struct pair p;
    pair_create(&p, 6000, 100 + shape);
    uint64_t random = p.seed;
    if (shape % 2) memtable_expect(p.table, 200000);
    while (p.count < p.capacity) insert_some((enum shape)shape, &p, &random);
    for (size_t i = 0; i < p.count; i++) {
      struct wodan_slice key = insert_key(&p.inserts[i]);
      uint64_t s = p.inserts[i].sequence,
               sequences[] = {s - 1, s, s + 1, UINT64_MAX, next_random(&random) % (2 * p.count)};
      for (size_t k = 0; k < sizeof sequences / sizeof *sequences; k++) {
        const struct insert *want = pair_get(&p, key, sequences[k]);
        struct record record;
        int status = memtable_get(p.table, key, memtable_hash(key), sequences[k], &record);
        CHECK(&p, status == (want ? 0 : WODAN_ENOTFOUND));
        if (want) CHECK(&p, same(&record, want));
      }
    }
    for (size_t i = 0; i < 3000; i++) { /* mostly absent keys */
      struct insert absent = {0};
      make_key((enum shape)(next_random(&random) % SHAPES), next_random(&random) % 10000, &random, &absent);
      const struct insert *want = pair_get(&p, insert_key(&absent), UINT64_MAX);
      struct record record;
      int status = memtable_get(p.table, insert_key(&absent), memtable_hash(insert_key(&absent)), UINT64_MAX, &record);
      CHECK(&p, status == (want ? 0 : WODAN_ENOTFOUND));
    }
    check_walk(&p);
    pair_free(&p);
  }
}

static struct insert four_digits(uint64_t n) {
  struct insert i = {.kind = RECORD_PUT, .value_size = 1};
  i.key_size = (size_t)snprintf((char *)i.key, sizeof i.key, "%04u", (unsigned)n);
  return i;
}

/* Every second key in order, for which there is no filter; then, after `ascending` of them, the others backwards, while it comes
 * about. At each step keys that are there, that are not, and those around all. */
static void test_memtable__keys_in_order_need_no_filter(void **state) {
  enum { COUNT = 400 };
  (void)state;
  for (uint64_t ascending = 0; ascending <= COUNT; ascending += COUNT / 8) {
    struct pair p;
    pair_create(&p, COUNT, ascending);
    while (p.count < p.capacity) {
      uint64_t n = p.count < ascending ? 2 * p.count : 2 * (COUNT - p.count) + 1;
      struct insert next = four_digits(1000 + n);
      next.sequence = p.count + 1;
      pair_insert(&p, next);
      for (uint64_t sought = 999; sought <= 1000 + 2 * COUNT + 1; sought += p.count % 50 ? 37 : 1) {
        struct insert key = four_digits(sought);
        const struct insert *want = pair_get(&p, insert_key(&key), UINT64_MAX);
        struct record record;
        int status = memtable_get(p.table, insert_key(&key), memtable_hash(insert_key(&key)), UINT64_MAX, &record);
        CHECK(&p, status == (want ? 0 : WODAN_ENOTFOUND));
        if (want) CHECK(&p, same(&record, want));
      }
    }
    pair_free(&p);
  }
}

static void test_memtable__scans_see_the_newest_visible_of_each_key(void **state) {
  (void)state;
  for (unsigned shape = 0; shape < SHAPES; shape++) {
    struct pair p;
    pair_create(&p, 3000, 200 + shape);
    uint64_t random = p.seed;
    while (p.count < p.capacity) {
      insert_some((enum shape)shape, &p, &random);
      if (p.count < 200 ? p.count % 20 == 0 : p.count % 1000 == 0) {
        check_scans(&p, UINT64_MAX);
        check_scans(&p, p.inserts[p.count / 2].sequence);
        check_scans(&p, p.inserts[p.count / 10].sequence);
        check_scans(&p, 0);
      }
    }
    pair_free(&p);
  }
}

/* One key with thousands of versions, spread over leaves, between two others: searches replace long walks. */
static void test_memtable__many_versions_of_one_key(void **state) {
  (void)state;
  struct pair p;
  pair_create(&p, 5002, 1);
  for (size_t n = 0; n < 5002; n++) {
    struct insert i = {.sequence = n + 1, .key = {1, (uint8_t)(n == 0 ? 'a' : n == 1 ? 'c' : 'b')}, .key_size = 2};
    pair_insert(&p, i);
  }
  for (uint64_t sequence = 0; sequence < 5003; sequence += sequence < 20 || sequence > 4980 ? 1 : 331)
    check_scans(&p, sequence);
  pair_free(&p);
}

/* Random moves of several iterators while records come in. */
static void test_memtable__iterators_survive_inserts(void **state) {
  (void)state;
  enum { ITERATORS = 4 };
  for (uint64_t seed = 1; seed <= 28; seed++) {
    struct pair p;
    pair_create(&p, 1500, seed);
    uint64_t random = seed;
    struct iterator *its[ITERATORS];
    uint64_t sequences[ITERATORS];
    const struct insert *at[ITERATORS] = {0};
    for (int i = 0; i < ITERATORS; i++) {
      sequences[i] = i == 0 ? UINT64_MAX : 200 * (uint64_t)i;
      its[i] = memtable_iterator(p.table, sequences[i]);
      assert_non_null(its[i]);
    }
    for (int step = 0; step < 6000; step++) {
      uint64_t r = next_random(&random);
      if (r % 4 == 0 && p.count < p.capacity) {
        pair_insert(&p, make_insert((enum shape)(seed % SHAPES), &p, &random));
        continue;
      }
      int i = (int)(r >> 8 & 3);
      struct iterator *it = its[i];
      struct insert target = {0};
      make_key((enum shape)(seed % SHAPES), next_random(&random) % 2000, &random, &target);
      uint8_t last[KEY_MAX];
      memset(last, 0xff, sizeof last);
      struct wodan_slice none = {NULL, 0}, key = insert_key(&target), end = {last, sizeof last};
      switch (r >> 16 & 7) {
      case 0:
        assert_int_equal(iterator_first(it, NULL), 0);
        at[i] = pair_after(&p, none, false, sequences[i]);
        break;
      case 1:
        assert_int_equal(iterator_last(it, NULL), 0);
        at[i] = pair_before(&p, end, false, sequences[i]);
        break;
      case 2:
        assert_int_equal(iterator_seek(it, key, NULL), 0);
        at[i] = pair_after(&p, key, false, sequences[i]);
        break;
      case 3:
        assert_int_equal(iterator_seek_back(it, key, NULL), 0);
        at[i] = pair_before(&p, key, false, sequences[i]);
        break;
      case 4:
      case 5:
        if (!it->valid) continue;
        assert_int_equal(iterator_next(it, NULL), 0);
        at[i] = pair_after(&p, insert_key(at[i]), true, sequences[i]);
        break;
      default:
        if (!it->valid) continue;
        assert_int_equal(iterator_prev(it, NULL), 0);
        at[i] = pair_before(&p, insert_key(at[i]), true, sequences[i]);
      }
      check_at(&p, it, at[i]);
    }
    for (int i = 0; i < ITERATORS; i++) iterator_close(its[i]);
    pair_free(&p);
  }
}

static void test_memtable__record_bytes_stay_where_they_are(void **state) {
  (void)state;
  struct pair p;
  pair_create(&p, 4000, 3);
  uint64_t random = 3;
  struct insert first = make_insert(SHAPE_DIGITS, &p, &random);
  first.kind = RECORD_PUT;
  first.value_size = 10;
  pair_insert(&p, first);
  struct record before, after;
  assert_int_equal(
      memtable_get(p.table, insert_key(&first), memtable_hash(insert_key(&first)), first.sequence, &before), 0);
  while (p.count < p.capacity) pair_insert(&p, make_insert(SHAPE_DIGITS, &p, &random));
  assert_int_equal(memtable_get(p.table, insert_key(&first), memtable_hash(insert_key(&first)), first.sequence, &after),
                   0);
  assert_ptr_equal(before.key.data, after.key.data);
  assert_ptr_equal(before.value.data, after.value.data);
  pair_free(&p);
}

static void test_memtable__walk_goes_on_after_more_inserts(void **state) {
  (void)state;
  struct pair p;
  pair_create(&p, 5000, 4);
  uint64_t random = 4;
  struct memtable_walk walk = {0};
  struct record record;
  size_t met = 0;
  assert_false(memtable_walk(p.table, &walk, &record));
  while (p.count < p.capacity) {
    pair_insert(&p, make_insert(SHAPE_RANDOM, &p, &random));
    if (next_random(&random) % 5) continue;
    /* a reservation that will not fit makes an empty chunk behind the walk; a bigger one replaces it */
    assert_int_equal(memtable_reserve(p.table, 1, next_random(&random) % 20000, NULL), 0);
    while (memtable_walk(p.table, &walk, &record)) CHECK(&p, same(&record, &p.inserts[met++]));
    CHECK(&p, met == p.count);
  }
  pair_free(&p);
}

static void test_memtable__iterator_holds_a_reference(void **state) {
  (void)state;
  struct mem mem;
  mem_init(&mem, NULL);
  struct memtable *table = memtable_create(&mem, NULL);
  assert_non_null(table);
  assert_int_equal(memtable_reserve(table, 1, 10, NULL), 0);
  struct record record = {.key = {"\1key", 4}, .sequence = 9, .value = {"value", 5}};
  memtable_insert(table, &record);
  struct iterator *it = memtable_iterator(table, 9);
  memtable_ref(table);
  memtable_unref(table);
  memtable_unref(table);
  assert_int_equal(iterator_first(it, NULL), 0);
  assert_true(it->valid);
  assert_memory_equal(it->record.value.data, "value", 5);
  iterator_close(it);
  assert_int_equal(mem.used, 0);
}

static void test_memtable__big_values_fit(void **state) {
  (void)state;
  struct mem mem;
  mem_init(&mem, NULL);
  struct memtable *table = memtable_create(&mem, NULL);
  size_t size = 3u << 20;
  uint8_t *value = malloc(size);
  assert_non_null(value);
  memset(value, 7, size);
  for (uint64_t n = 1; n <= 6; n++) {
    size_t mine = n % 2 ? size : 10;
    assert_int_equal(memtable_reserve(table, 1, 2 + mine, NULL), 0);
    struct record record = {.key = {(uint8_t[]){1, (uint8_t)n}, 2}, .sequence = n, .value = {value, mine}};
    memtable_insert(table, &record);
  }
  struct memtable_walk walk = {0};
  struct record record;
  for (uint64_t n = 1; n <= 6; n++) {
    assert_true(memtable_walk(table, &walk, &record));
    assert_int_equal(record.sequence, n);
    assert_int_equal(record.value.size, n % 2 ? size : 10);
    assert_memory_equal(record.value.data, value, record.value.size);
  }
  memtable_unref(table);
  free(value);
  assert_int_equal(mem.used, 0);
}

/* After a reservation there is no memory at all, whatever the keys: ascending runs leave full nodes everywhere, and
 * then every insert splits. */
static void test_memtable__reservation_is_enough(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 60; seed++) {
    struct mem mem;
    struct faulty faulty;
    faulty_init(&mem, &faulty);
    struct memtable *table = memtable_create(&mem, NULL);
    assert_non_null(table);
    uint64_t random = seed, sequence = 0, space = UINT64_C(1) << (10 + seed % 12);
    for (int round = 0; round < 40; round++) {
      uint64_t batch = 1 + next_random(&random) % (seed % 3 ? 40 : 2000), next = next_random(&random) % space;
      bool ascending = next_random(&random) % 2, spread = next_random(&random) % 2;
      faulty.fail_at = 0;
      assert_int_equal(memtable_reserve(table, batch, batch * 9, NULL), 0);
      faulty = (struct faulty){.fail_at = 1, .lasting = true};
      for (uint64_t i = 0; i < batch; i++) {
        uint8_t key[9] = {1};
        for (int b = 0; b < 8; b++) key[1 + b] = (uint8_t)(next >> (56 - 8 * b));
        struct record record = {.key = {key, 9}, .sequence = ++sequence};
        memtable_insert(table, &record);
        next = ascending ? next + (spread ? 64 : 1) : next_random(&random) % space;
      }
      assert_int_equal(faulty.calls, 0); /* nor was any memory asked for */
    }
    assert_int_equal(memtable_count(table), sequence);
    memtable_unref(table);
    assert_int_equal(mem.used, 0);
  }
}

/* Full leaves side by side, then one insert into each: the most nodes that a batch can need. */
static void test_memtable__reservation_is_enough_when_every_insert_splits(void **state) {
  (void)state;
  struct mem mem;
  struct faulty faulty;
  faulty_init(&mem, &faulty);
  struct memtable *table = memtable_create(&mem, NULL);
  uint64_t sequence = 0;
  size_t leaves = 5000;
  for (uint64_t n = 0; n < leaves * MAP_WIDTH; n++) {
    uint8_t key[5] = {1, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, 0};
    assert_int_equal(memtable_reserve(table, 1, 5, NULL), 0);
    struct record record = {.key = {key, 5}, .sequence = ++sequence};
    memtable_insert(table, &record);
  }
  size_t used = mem.used;
  size_t entry = (sizeof(struct map_entry) + 5 + 7) / 8 * 8, place = 17; /* in a full leaf */
  size_t least = leaves * MAP_WIDTH * (entry + place - 1), most = leaves * MAP_WIDTH * (entry + place);
  assert_in_range(used, least, most + 2 * ARENA_CHUNK_MAX); /* the last chunks of both arenas are not full */
  assert_int_equal(memtable_reserve(table, leaves, leaves * 5, NULL), 0);
  faulty = (struct faulty){.fail_at = 1, .lasting = true};
  for (uint64_t leaf = 0; leaf < leaves; leaf++) {
    uint64_t n = leaf * MAP_WIDTH + 10;
    uint8_t key[5] = {1, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, 1};
    struct record record = {.key = {key, 5}, .sequence = ++sequence};
    memtable_insert(table, &record);
  }
  assert_int_equal(faulty.calls, 0);
  memtable_unref(table);
  assert_int_equal(mem.used, 0);
}

/* The n-th allocation fails, for every n until one goes through. */
static void test_memtable__failed_reserve_changes_nothing(void **state) {
  (void)state;
  for (size_t fail_at = 1, done = 0; !done; fail_at++) {
    struct mem mem;
    struct faulty faulty;
    faulty_init(&mem, &faulty);
    faulty.fail_at = fail_at;
    struct memtable *table = memtable_create(&mem, NULL);
    if (!table) {
      assert_int_equal(mem.used, 0);
      continue;
    }
    uint64_t sequence = 0, random = 5;
    int failures = 0;
    for (int round = 0; round < 12; round++) {
      struct wodan_error error = {0};
      size_t count = round % 3 ? 50 : 300;
      uint64_t bytes = memtable_bytes(table);
      int status = memtable_reserve(table, count, count * 20, &error);
      if (status) {
        failures++;
        assert_int_equal(status, WODAN_ENOMEM);
        assert_int_equal(error.code, WODAN_ENOMEM);
        assert_int_equal(memtable_count(table), sequence);
        assert_int_equal(memtable_bytes(table), bytes);
        assert_int_equal(memtable_reserve(table, count, count * 20, &error), 0); /* it was one failure */
      }
      for (size_t i = 0; i < count; i++) {
        uint64_t r = next_random(&random);
        struct record record = {.key = {&r, 8}, .sequence = ++sequence, .value = {"0123456789", 10}};
        memtable_insert(table, &record);
      }
    }
    struct iterator *it = memtable_iterator(table, UINT64_MAX);
    if (!it) it = (failures++, memtable_iterator(table, UINT64_MAX));
    assert_non_null(it);
    uint64_t count = 0;
    for (iterator_first(it, NULL); it->valid; iterator_next(it, NULL)) count++;
    assert_int_equal(count, sequence);
    iterator_close(it);
    memtable_unref(table);
    assert_int_equal(mem.used, 0);
    assert_in_range(failures, 0, 1);
    if (failures == 0) done = fail_at;
    assert_in_range(fail_at, 1, 1000);
  }
}

static void test_memtable__impossible_reserve_is_refused(void **state) {
  (void)state;
  struct pair p;
  pair_create(&p, 10, 6);
  uint64_t random = 6;
  pair_insert(&p, make_insert(SHAPE_RANDOM, &p, &random));
  assert_int_equal(memtable_reserve(p.table, SIZE_MAX, 0, NULL), WODAN_ENOMEM);
  assert_int_equal(memtable_reserve(p.table, SIZE_MAX / 16, 0, NULL), WODAN_ENOMEM);
  assert_int_equal(memtable_reserve(p.table, 1, SIZE_MAX, NULL), WODAN_ENOMEM);
  assert_int_equal(memtable_reserve(p.table, 0, 0, NULL), 0);
  check_walk(&p);
  pair_free(&p);
}

static void test_memtable__tiny_stays_tiny(void **state) {
  (void)state;
  struct mem mem;
  mem_init(&mem, NULL);
  struct memtable *table = memtable_create(&mem, NULL);
  for (uint64_t n = 1; memtable_bytes(table) < 2048; n++) {
    assert_int_equal(memtable_reserve(table, 1, 60, NULL), 0);
    struct record record = {.key = {&n, 8}, .sequence = n, .value = {"0123456789012345678901234567890123456789", 40}};
    memtable_insert(table, &record);
  }
  assert_in_range(mem.used, 2048, 6144);
  memtable_unref(table);
  assert_int_equal(mem.used, 0);
}

static void knows_its_keys(size_t expected) {
  struct mem mem;
  mem_init(&mem, NULL);
  struct key_filter filter;
  key_filter_init(&filter, &mem);
  assert_true(key_filter_has(&filter, 1)); /* nothing known yet: every key may be there */
  enum { COUNT = 50000 };
  uint64_t *hashes = calloc(COUNT, sizeof *hashes), random = 9;
  assert_non_null(hashes);
  size_t moved = 0;
  for (size_t n = 0; n < COUNT; n++) {
    assert_true(key_filter_reserve(&filter, n, 1, expected));
    hashes[n] = next_random(&random);
    key_filter_add(&filter, hashes[n]);
    for (int i = 0; i < 4 && filter.next; i++) {
      key_filter_move(&filter, hashes[moved++]);
      if (moved <= n) continue;
      key_filter_switch(&filter);
      moved = 0;
    }
    if (n % 1000) continue;
    for (size_t i = 0; i <= n; i++) assert_true(key_filter_has(&filter, hashes[i]));
    size_t wrong = 0;
    for (size_t i = 0; i < 2000; i++) wrong += key_filter_has(&filter, next_random(&random));
    assert_in_range(wrong, 0, 2000 / 8);
  }
  assert_in_range(mem.used, COUNT / 2, 3 * COUNT);
  free(hashes);
  key_filter_release(&filter);
  assert_int_equal(mem.used, 0);
}

static void test_key_filter__knows_its_keys_and_few_others_while_growing(void **state) {
  (void)state;
  knows_its_keys(0);
  knows_its_keys(50000);
  knows_its_keys(500); /* far too few */
}

/* ---- checked builds ----------------------------------------------------------------------------------------------- */

/* Every bit of a record in memory, sizes and key too: it is not proven any more. */
static void test_memtable__a_changed_record_does_not_prove(void **state) {
  (void)state;
#ifdef WODAN_CHECKED
  struct mem mem;
  mem_init(&mem, NULL);
  struct memtable *table = memtable_create(&mem, NULL);
  const struct record put = {.key = {"a key", 5}, .sequence = 7, .kind = RECORD_PUT, .value = {"its value", 9}};
  struct memtable_walk walk = {0};
  struct record record;
  struct wodan_error error;
  assert_int_equal(memtable_reserve(table, 1, 14, NULL), 0);
  memtable_insert(table, &put);
  assert_true(memtable_walk(table, &walk, &record));
  assert_int_equal(memtable_prove(&record, &error), 0);
  assert_int_equal(memtable_prove_all(table, &error), 0);
  uint8_t *entry = (uint8_t *)(uintptr_t)record.key.data - offsetof(struct map_entry, bytes);
  for (size_t bit = 0; bit < 8 * (offsetof(struct map_entry, bytes) + 14); bit++) {
    if (bit / 8 == offsetof(struct map_entry, unused)) continue;
    entry[bit / 8] = (uint8_t)(entry[bit / 8] ^ 1u << bit % 8);
    assert_int_equal(memtable_prove(&record, &error), WODAN_ECORRUPT);
    assert_int_equal(memtable_prove_all(table, &error), WODAN_ECORRUPT);
    entry[bit / 8] = (uint8_t)(entry[bit / 8] ^ 1u << bit % 8);
  }
  assert_int_equal(memtable_prove_all(table, &error), 0);
  memtable_unref(table);
#else
  skip();
#endif
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_memtable__empty_has_nothing),
      cmocka_unit_test(test_memtable__every_version_at_every_sequence),
      cmocka_unit_test(test_memtable__keys_in_order_need_no_filter),
      cmocka_unit_test(test_memtable__scans_see_the_newest_visible_of_each_key),
      cmocka_unit_test(test_memtable__many_versions_of_one_key),
      cmocka_unit_test(test_memtable__iterators_survive_inserts),
      cmocka_unit_test(test_memtable__record_bytes_stay_where_they_are),
      cmocka_unit_test(test_memtable__walk_goes_on_after_more_inserts),
      cmocka_unit_test(test_memtable__iterator_holds_a_reference),
      cmocka_unit_test(test_memtable__big_values_fit),
      cmocka_unit_test(test_memtable__reservation_is_enough),
      cmocka_unit_test(test_memtable__reservation_is_enough_when_every_insert_splits),
      cmocka_unit_test(test_memtable__failed_reserve_changes_nothing),
      cmocka_unit_test(test_memtable__impossible_reserve_is_refused),
      cmocka_unit_test(test_memtable__tiny_stays_tiny),
      cmocka_unit_test(test_key_filter__knows_its_keys_and_few_others_while_growing),
      cmocka_unit_test(test_memtable__a_changed_record_does_not_prove),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
