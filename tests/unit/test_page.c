/* Page: builder and view agree, sizes are exact, search finds what a linear one finds, and no damaged byte passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>
#include "base/wire.h"
#include "format/page.h"

static uint64_t random_state;
static uint64_t random_next(void) {
  random_state += 0x9E3779B97F4A7C15ull;
  uint64_t z = random_state;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return z ^ z >> 31;
}

/* ---- sets of records ----------------------------------------------------------------------------------------- */

enum { KEY_MAX = 40, VALUE_MAX = 300 };
struct item {
  uint8_t key[KEY_MAX], value[VALUE_MAX];
  size_t key_size, value_size;
  uint64_t sequence;
  uint8_t kind;
};

static struct wodan_slice item_key(const struct item *item) { return (struct wodan_slice){item->key, item->key_size}; }
static struct record item_record(const struct item *item) {
  return (struct record){
      .key = item_key(item), .sequence = item->sequence, .kind = item->kind, .value = {item->value, item->value_size}};
}
static int item_order(const void *a, const void *b) { return key_compare(item_key(a), item_key(b)); }

/* Sorted, unique; few different bytes, so that prefixes, equal heads and keys that extend each other are common. */
static size_t make_items(struct item *items, size_t wanted, unsigned alphabet, size_t prefix, unsigned sequence_bits) {
  for (size_t i = 0; i < wanted; i++) {
    struct item *item = &items[i];
    memset(item, 0, sizeof *item);
    item->key_size = prefix + random_next() % (KEY_MAX - prefix + 1);
    for (size_t b = 0; b < item->key_size; b++) item->key[b] = (uint8_t)(b < prefix ? 'p' : random_next() % alphabet);
    item->kind = random_next() % 5 == 0;
    item->value_size = item->kind ? 0 : random_next() % (random_next() % 8 ? 20 : VALUE_MAX);
    for (size_t b = 0; b < item->value_size; b++) item->value[b] = (uint8_t)random_next();
    item->sequence = sequence_bits ? random_next() >> (64 - sequence_bits) : 9;
  }
  qsort(items, wanted, sizeof *items, item_order);
  size_t count = 0;
  for (size_t i = 0; i < wanted; i++)
    if (!count || item_order(&items[count - 1], &items[i])) items[count++] = items[i];
  return count;
}

static struct mem mem;

/* Builds a page of the items, checking the sizes told on the way. The caller frees it. */
static uint8_t *build(struct page_builder *builder, const struct item *items, size_t count, size_t *size) {
  for (size_t i = 0; i < count; i++) {
    struct record record = item_record(&items[i]);
    size_t before = page_builder_size(builder), with;
    bool over;
    assert_true(page_builder_add_within(builder, &record, before, &over)); /* a record takes some bytes at least */
    assert_true(over);
    assert_int_equal(page_builder_size(builder), before);
    assert_int_equal(page_builder_count(builder), i);
    for (with = before + 1; over; with++) assert_true(page_builder_add_within(builder, &record, with, &over));
    assert_int_equal(page_builder_size(builder), with - 1);
    assert_int_equal(key_compare(page_builder_last_key(builder), record.key), 0);
    assert_int_equal(page_builder_count(builder), i + 1);
  }
  *size = page_builder_size(builder);
  uint8_t *page = malloc(*size); /* exactly: a write beyond shows under the sanitizer */
  page_builder_finish(builder, page);
  assert_int_equal(page_builder_count(builder), 0);
  assert_int_equal(page_builder_size(builder), 0);
  return page;
}

static uint8_t *build_alone(const struct item *items, size_t count, size_t *size) {
  struct page_builder *builder = page_builder_create(&mem);
  uint8_t *page = build(builder, items, count, size);
  page_builder_free(builder);
  return page;
}

static uint32_t linear_lower_bound(const struct item *items, size_t count, struct wodan_slice key, bool *exact) {
  *exact = false;
  for (uint32_t i = 0; i < count; i++) {
    int order = key_compare(item_key(&items[i]), key);
    if (order >= 0) {
      *exact = order == 0;
      return i;
    }
  }
  return (uint32_t)count;
}

/* ---- tests --------------------------------------------------------------------------------------------------- */

static void test_page__roundtrip_of_random_sets(void **state) {
  (void)state;
  static struct item items[400];
  struct page_builder *builder = page_builder_create(&mem); /* one builder for all: it empties itself */
  for (uint64_t seed = 1; seed <= 300; seed++) {
    random_state = seed;
    size_t prefix = random_next() % 3 * 7;
    unsigned alphabet = 2 + (unsigned)(random_next() % 2) * 254;
    size_t count = make_items(items, 1 + random_next() % 400, alphabet, prefix, (unsigned)(seed % 65));
    size_t size;
    uint8_t *bytes = build(builder, items, count, &size);
    if (!page_validate(bytes, size)) fail_msg("seed %llu: its own page does not validate", (unsigned long long)seed);
    struct page page = page_view(bytes);
    assert_int_equal(page.count, count);
    assert_int_equal(page.size, size);
    for (uint32_t i = 0; i < count; i++) {
      uint8_t key[KEY_MAX];
      struct page_record record = page_record(&page, i);
      assert_int_equal(page_key(&page, i, key), items[i].key_size);
      assert_memory_equal(key, items[i].key, items[i].key_size);
      assert_int_equal(page_prefix(&page).size + record.suffix.size, items[i].key_size);
      assert_int_equal(record.kind, items[i].kind);
      assert_int_equal(record.sequence, items[i].sequence);
      assert_int_equal(record.value.size, items[i].value_size);
      assert_memory_equal(record.value.data, items[i].value, items[i].value_size);
    }
    free(bytes);
  }
  page_builder_free(builder);
}

static void test_page__search_agrees_with_a_linear_one(void **state) {
  (void)state;
  static struct item items[300], probes[300];
  for (uint64_t seed = 1; seed <= 200; seed++) {
    random_state = seed;
    size_t prefix = random_next() % 3 * 7;
    unsigned alphabet = 2 + (unsigned)(random_next() % 2) * 254;
    size_t count = make_items(items, 1 + random_next() % 300, alphabet, prefix, 20), size;
    uint8_t *bytes = build_alone(items, count, &size);
    struct page page = page_view(bytes);
    size_t asked = make_items(probes, 200, alphabet, prefix * (random_next() % 2), 1);
    for (size_t i = 0; i < asked + 3 * count; i++) {
      struct item probe = i < asked ? probes[i] : items[(i - asked) / 3];
      if (i >= asked && (i - asked) % 3 == 1 && probe.key_size) probe.key_size--;
      if (i >= asked && (i - asked) % 3 == 2 && probe.key_size < KEY_MAX) probe.key[probe.key_size++] = 0;
      bool exact, wanted_exact;
      uint32_t wanted = linear_lower_bound(items, count, item_key(&probe), &wanted_exact);
      uint32_t found = page_lower_bound(&page, item_key(&probe), &exact);
      if (found != wanted || exact != wanted_exact)
        fail_msg("seed %llu, probe %zu: %u instead of %u", (unsigned long long)seed, i, found, wanted);
    }
    free(bytes);
  }
}

static void add_text(struct page_builder *builder, const char *key, const char *value, uint64_t sequence) {
  struct record record = {.key = {key, strlen(key)}, .sequence = sequence, .value = {value, strlen(value)}};
  assert_true(page_builder_add(builder, &record));
}

static void test_page__bytes_are_those_of_the_format(void **state) {
  (void)state;
  static const uint8_t wanted[] = {
      51,  0,   0,   0,                       /* size */
      2,   0,   0,   0,                       /* count */
      3,   0,                                 /* prefix length */
      2,   0,                                 /* offset width, zero */
      44,  1,   0,   0,   0,   0,   0,   0,   /* base sequence 300 */
      0,   0,   0,   'x',                     /* heads: "x" and "yzzzz", big-endian numbers stored little-endian */
      'z', 'z', 'z', 'y',                     /* */
      35,  0,   43,  0,                       /* offsets */
      'a', 'b', 'c',                          /* prefix */
      1,   24,  200, 1,   'x', 'o', 'n', 'e', /* value 3 << 3 | put, sequence + 200 */
      5,   1,   0,   'y', 'z', 'z', 'z', 'z', /* a delete */
  };
  enum { END = 51 };
  uint8_t bytes[64];
  struct page_builder *builder = page_builder_create(&mem);
  add_text(builder, "abcx", "one", 500);
  struct record gone = {.key = {"abcyzzzz", 8}, .sequence = 300, .kind = RECORD_DELETE};
  assert_true(page_builder_add(builder, &gone));
  assert_int_equal(page_builder_size(builder), END);
  page_builder_finish(builder, bytes);
  assert_memory_equal(bytes, wanted, END);
  page_builder_free(builder);
}

static void test_page__one_record_is_all_prefix(void **state) {
  (void)state;
  static const char *keys[] = {"", "k", "a longer key"};
  for (int i = 0; i < 3; i++) {
    struct page_builder *builder = page_builder_create(&mem);
    add_text(builder, keys[i], "v", 5);
    size_t size = page_builder_size(builder);
    uint8_t *bytes = malloc(size);
    page_builder_finish(builder, bytes);
    assert_true(page_validate(bytes, size));
    struct page page = page_view(bytes);
    assert_int_equal(page.prefix_size, strlen(keys[i]));
    bool exact;
    assert_int_equal(page_lower_bound(&page, (struct wodan_slice){keys[i], strlen(keys[i])}, &exact), 0);
    assert_true(exact);
    assert_int_equal(page_lower_bound(&page, (struct wodan_slice){"z", 1}, &exact), 1);
    assert_false(exact);
    free(bytes);
    page_builder_free(builder);
  }
}

static void test_page__empty_and_extending_keys_stay_apart(void **state) {
  (void)state;
  static const struct wodan_slice keys[] = {{"", 0},           {"\0", 1},       {"\0\0", 2}, {"\0\0\0\0", 4},
                                            {"\0\0\0\0\0", 5}, {"\0\0\0\1", 4}, {"\1", 1}};
  struct page_builder *builder = page_builder_create(&mem);
  for (size_t i = 0; i < 7; i++) {
    struct record record = {.key = keys[i], .sequence = i};
    assert_true(page_builder_add(builder, &record));
  }
  size_t size = page_builder_size(builder);
  uint8_t *bytes = malloc(size);
  page_builder_finish(builder, bytes);
  assert_true(page_validate(bytes, size));
  struct page page = page_view(bytes);
  for (uint32_t i = 0; i < 7; i++) {
    bool exact;
    assert_int_equal(page_lower_bound(&page, keys[i], &exact), i);
    assert_true(exact);
  }
  bool exact;
  assert_int_equal(page_lower_bound(&page, (struct wodan_slice){"\0\0\0", 3}, &exact), 3);
  assert_false(exact);
  free(bytes);
  page_builder_free(builder);
}

static void test_page__offsets_widen_beyond_65535_bytes(void **state) {
  (void)state;
  enum { COUNT = 3000 };
  struct page_builder *builder = page_builder_create(&mem);
  char key[32], value[40];
  bool wide = false;
  for (int i = 0; i < COUNT; i++) {
    snprintf(key, sizeof key, "key %06d", i * 3);
    snprintf(value, sizeof value, "value of %d", i);
    add_text(builder, key, value, (uint64_t)i);
    size_t size = page_builder_size(builder);
    if (size < 65000 || (size > 66500 && i + 1 < COUNT)) continue;
    /* Around the border every size is tried: a copy of the builder's state is its records again. */
    struct page_builder *copy = page_builder_create(&mem);
    for (int n = 0; n <= i; n++) {
      snprintf(key, sizeof key, "key %06d", n * 3);
      snprintf(value, sizeof value, "value of %d", n);
      add_text(copy, key, value, (uint64_t)n);
    }
    uint8_t *bytes = malloc(size);
    page_builder_finish(copy, bytes);
    assert_true(page_validate(bytes, size));
    struct page page = page_view(bytes);
    assert_int_equal(page.offset_width, size > 65535 ? 4 : 2);
    wide |= page.offset_width == 4;
    for (int n = 0; n <= i; n += 17) {
      bool exact;
      snprintf(key, sizeof key, "key %06d", n * 3);
      assert_int_equal(page_lower_bound(&page, (struct wodan_slice){key, strlen(key)}, &exact), n);
      assert_true(exact);
      snprintf(key, sizeof key, "key %06d", n * 3 + 1);
      assert_int_equal(page_lower_bound(&page, (struct wodan_slice){key, strlen(key)}, &exact), n + 1);
      assert_false(exact);
    }
    free(bytes);
    page_builder_free(copy);
  }
  assert_true(wide);
  page_builder_free(builder);
}

static void test_page__extreme_sequences_roundtrip(void **state) {
  (void)state;
  static const uint64_t sequences[] = {UINT64_MAX, 0, 127, 128, UINT64_MAX - 1, 1ull << 63};
  static struct item items[6];
  for (size_t i = 0; i < 6; i++) {
    items[i] = (struct item){.key = {'k', (uint8_t)i}, .key_size = 2, .sequence = sequences[i]};
  }
  size_t size;
  uint8_t *bytes = build_alone(items, 6, &size);
  assert_true(page_validate(bytes, size));
  struct page page = page_view(bytes);
  for (uint32_t i = 0; i < 6; i++) assert_int_equal(page_record(&page, i).sequence, sequences[i]);
  free(bytes);
}

/* Copies to where memory ends, so that a look beyond is a fault. */
static bool valid_copy(const uint8_t *bytes, size_t size) {
  enum { ROOM = 1 << 20, BEYOND = 1 << 20 };
  static uint8_t *room;
  if (!room) {
    room = mmap(NULL, ROOM + BEYOND, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(room != MAP_FAILED && mprotect(room + ROOM, BEYOND, PROT_NONE) == 0);
  }
  assert_true(size <= ROOM);
  memcpy(room + ROOM - size, bytes, size);
  return page_validate(room + ROOM - size, size);
}

static void test_page__truncated_at_each_byte_is_refused(void **state) {
  (void)state;
  static struct item items[40];
  random_state = 11;
  size_t count = make_items(items, 40, 256, 7, 30), size;
  uint8_t *bytes = build_alone(items, count, &size);
  uint8_t *patched = malloc(size);
  for (size_t cut = 0; cut < size; cut++) {
    assert_false(valid_copy(bytes, cut));
    memcpy(patched, bytes, size);
    store_u32(patched, (uint32_t)cut); /* and when it claims to be that short */
    assert_false(valid_copy(patched, cut));
    assert_false(valid_copy(patched, size));
  }
  free(patched);
  free(bytes);
}

static void test_page__each_field_wrong_is_refused(void **state) {
  (void)state;
  static struct item items[30];
  random_state = 12;
  size_t count = make_items(items, 30, 256, 7, 30), size;
  uint8_t *bytes = build_alone(items, count, &size);
  assert_true(valid_copy(bytes, size));
  struct page page = page_view(bytes);
  size_t arrays_end = PAGE_HEADER_SIZE + count * 6;
  /* Header (but the base, see below), heads and offsets: every bit matters. */
  for (size_t bit = 0; bit < arrays_end * 8; bit++) {
    if (bit / 8 >= 12 && bit / 8 < 20) continue;
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    if (valid_copy(bytes, size)) fail_msg("bit %zu flipped and still valid", bit);
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  /* Each record: suffix length, value length, kind. */
  for (uint32_t i = 0; i < count; i++) {
    uint8_t *at = bytes + load_u16(bytes + PAGE_HEADER_SIZE + count * 4 + (size_t)i * 2);
    uint8_t old = at[0];
    for (int v = 0; v < 256; v++) {
      at[0] = (uint8_t)v;
      if (v != old) assert_false(valid_copy(bytes, size));
    }
    at[0] = old;
    for (unsigned kind = RECORD_PAGE_LAST + 1; kind < 8; kind++) {
      old = at[1];
      at[1] = (uint8_t)((old & ~7u) | kind);
      assert_false(valid_copy(bytes, size));
      at[1] = old;
    }
    if (page_record(&page, i).kind == RECORD_PUT && page_record(&page, i).value.size) {
      at[1] ^= 1; /* a delete with a value */
      assert_false(valid_copy(bytes, size));
      at[1] ^= 1;
    }
  }
  /* The base may not let a sequence wrap round. */
  store_u64(bytes + 12, UINT64_MAX);
  assert_false(valid_copy(bytes, size));
  free(bytes);
}

/* What no other rule would see. */
static void test_page__arrays_and_prefix_lie_inside(void **state) {
  (void)state;
  uint8_t bytes[64] = {0}; /* one record, "k", all of it prefix */
  store_u32(bytes + 4, 1);
  store_u16(bytes + 8, 1);
  for (uint8_t width = 2; width <= 4; width += 2) { /* offsets of 4 bytes are only for large pages */
    uint8_t size = (uint8_t)(PAGE_HEADER_SIZE + 4 + width + 1 + 3);
    memset(bytes + PAGE_HEADER_SIZE, 0, sizeof bytes - PAGE_HEADER_SIZE);
    store_u32(bytes, size);
    bytes[10] = width;
    bytes[PAGE_HEADER_SIZE + 4] = size - 3;
    bytes[size - 4] = 'k';
    assert_int_equal(valid_copy(bytes, size), width == 2);
  }
  bytes[10] = 2;
  store_u16(bytes + 8, 60000); /* a prefix that ends far behind, where the record is said to start */
  store_u16(bytes + PAGE_HEADER_SIZE + 4, PAGE_HEADER_SIZE + 6 + 60000);
  store_u32(bytes, 40);
  assert_false(valid_copy(bytes, 40));
}

static void test_page__order_prefix_and_base_rules(void **state) {
  (void)state;
  struct page_builder *builder = page_builder_create(&mem);
  uint8_t bytes[128], copy[128];
  add_text(builder, "ka", "1", 7);
  add_text(builder, "kb", "2", 9);
  size_t size = page_builder_size(builder);
  page_builder_finish(builder, bytes);
  uint8_t *first = bytes + load_u16(bytes + 28), *second = bytes + load_u16(bytes + 30);
  assert_int_equal(first[3], 'a');
  assert_int_equal(second[3], 'b');

  memcpy(copy, bytes, size); /* equal keys */
  copy[second - bytes + 3] = 'a';
  copy[24 + 3] = 'a';
  assert_false(valid_copy(copy, size));
  memcpy(copy, bytes, size); /* falling keys */
  copy[first - bytes + 3] = 'c';
  copy[20 + 3] = 'c';
  assert_false(valid_copy(copy, size));
  memcpy(copy, bytes, size); /* no record has the base sequence */
  copy[first - bytes + 2] = 1;
  assert_false(valid_copy(copy, size));
  page_builder_free(builder);

  /* The same two keys with no prefix taken out. */
  struct wire_writer w = wire_writer(copy, sizeof copy);
  wire_put_bytes(&w, bytes, 20);
  store_u16(copy + 8, 0);
  wire_put_u32(&w, 0x6b610000);
  wire_put_u32(&w, 0x6b620000);
  wire_put_u16(&w, 32);
  wire_put_u16(&w, 38);
  wire_put_bytes(&w, "\x02\x08\x00ka1\x02\x08\x02kb2", 12);
  store_u32(copy, (uint32_t)w.at);
  assert_int_equal(w.at, 44);
  assert_false(valid_copy(copy, w.at));
  copy[20 + 3] = 'j', copy[35] = 'j'; /* with nothing shared it is right */
  assert_true(valid_copy(copy, w.at));
}

static void test_page__random_damage_is_refused_or_harmless(void **state) {
  (void)state;
  static struct item items[60];
  for (uint64_t seed = 1; seed <= 4000; seed++) {
    random_state = seed;
    size_t count = make_items(items, 1 + random_next() % 20, 256, 3, 20), size;
    uint8_t *bytes = build_alone(items, count, &size);
    for (uint64_t n = 1 + random_next() % 3; n; n--) bytes[random_next() % size] = (uint8_t)random_next();
    if (page_validate(bytes, size)) { /* e.g. in a value: then everything can be read */
      struct page page = page_view(bytes);
      uint8_t key[2 * KEY_MAX];
      for (uint32_t i = 0; i < page.count; i++) {
        bool exact;
        size_t key_size = page_key(&page, i, key);
        assert_int_equal(page_lower_bound(&page, (struct wodan_slice){key, key_size}, &exact), i);
        assert_true(exact);
      }
    }
    free(bytes);
  }
}

static void *refuse(void *context, size_t size, size_t alignment) {
  size_t *left = context;
  if (!*left) return NULL;
  --*left;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
static void give_back(void *context, void *memory, size_t size) {
  (void)context, (void)size;
  free(memory);
}

static void test_page__builder_survives_lack_of_memory(void **state) {
  (void)state;
  for (size_t allowed = 0; allowed < 12; allowed++) {
    size_t left = allowed;
    struct wodan_allocator hooks = {&left, refuse, give_back};
    struct mem small;
    mem_init(&small, &hooks);
    struct page_builder *builder = page_builder_create(&small);
    uint32_t added = 0;
    for (int i = 0; builder && i < 50; i++) {
      char key[16];
      snprintf(key, sizeof key, "%04d", i);
      struct record record = {.key = {key, 4}, .sequence = 1};
      if (!page_builder_add(builder, &record)) break;
      added++;
    }
    if (added) {
      assert_int_equal(page_builder_count(builder), added);
      size_t size = page_builder_size(builder);
      uint8_t *bytes = malloc(size);
      page_builder_finish(builder, bytes);
      assert_true(page_validate(bytes, size));
      free(bytes);
    }
    page_builder_free(builder);
    assert_int_equal(atomic_load(&small.used), 0);
  }
}

static int check_memory(void **state) {
  (void)state;
  return atomic_load(&mem.used) ? 1 : 0;
}

int main(void) {
  mem_init(&mem, NULL);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(test_page__roundtrip_of_random_sets, check_memory),
      cmocka_unit_test_teardown(test_page__search_agrees_with_a_linear_one, check_memory),
      cmocka_unit_test_teardown(test_page__bytes_are_those_of_the_format, check_memory),
      cmocka_unit_test_teardown(test_page__one_record_is_all_prefix, check_memory),
      cmocka_unit_test_teardown(test_page__empty_and_extending_keys_stay_apart, check_memory),
      cmocka_unit_test_teardown(test_page__offsets_widen_beyond_65535_bytes, check_memory),
      cmocka_unit_test_teardown(test_page__extreme_sequences_roundtrip, check_memory),
      cmocka_unit_test_teardown(test_page__truncated_at_each_byte_is_refused, check_memory),
      cmocka_unit_test_teardown(test_page__each_field_wrong_is_refused, check_memory),
      cmocka_unit_test_teardown(test_page__arrays_and_prefix_lie_inside, check_memory),
      cmocka_unit_test_teardown(test_page__order_prefix_and_base_rules, check_memory),
      cmocka_unit_test_teardown(test_page__random_damage_is_refused_or_harmless, check_memory),
      cmocka_unit_test_teardown(test_page__builder_survives_lack_of_memory, check_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
