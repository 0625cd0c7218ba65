/* Owns: the bytes of a page: proof of untrusted ones, search and decoding in place, and the builder.
 *
 * Always true:
 *  - page_validate proves every row of the table in page.h; the functions on a view trust what it proved and check
 *    nothing again.
 *  - the builder's prefix is the longest common prefix of its keys, base the least of its sequences, and the sums of
 *    varint sizes belong to exactly these two, so page_builder_size is the size finish writes.
 *
 * Order: a search first asks for the cache lines of the heads, then compares the prefix while they arrive.
 *
 * See: tests/unit/test_page.c, bench/micro_page_search.c for the figures behind the layout. */
#include "format/page.h"

#include <assert.h>
#include "base/wire.h"

enum { CACHE_LINE = 64, NARROW_SIZE_MAX = 65535 };

/* ---- reading ------------------------------------------------------------------------------------------------- */

static inline uint32_t key_head(const uint8_t *suffix, size_t size) {
  if (size >= PAGE_HEAD_SIZE) return __builtin_bswap32(load_u32(suffix));
  uint32_t head = 0;
  for (size_t i = 0; i < size; i++) head |= (uint32_t)suffix[i] << (24 - 8 * i);
  return head;
}

static inline uint32_t head_at(const struct page *page, uint32_t index) {
  return load_u32(page->data + PAGE_HEADER_SIZE + (size_t)index * PAGE_HEAD_SIZE);
}

static inline const uint8_t *prefix_of(const struct page *page) {
  return page_offsets(page) + (size_t)page->count * page->offset_width;
}

struct page page_view(const uint8_t *data) {
  return (struct page){.data = data,
                       .size = load_u32(data),
                       .count = load_u32(data + 4),
                       .prefix_size = load_u16(data + 8),
                       .offset_width = data[10],
                       .base_sequence = load_u64(data + 12)};
}

struct wodan_slice page_prefix(const struct page *page) {
  return (struct wodan_slice){.data = prefix_of(page), .size = page->prefix_size};
}

size_t page_key(const struct page *page, uint32_t index, uint8_t *out) {
  struct wodan_slice suffix = page_record(page, index).suffix;
  memcpy(out, prefix_of(page), page->prefix_size);
  memcpy(out + page->prefix_size, suffix.data, suffix.size);
  return page->prefix_size + suffix.size;
}

/* End of the stretch of heads equal to the one at `first`. Gallops: most stretches have one member. */
static uint32_t equal_heads_end(const struct page *page, uint32_t first, uint32_t head) {
  uint32_t low = first, step = 1;
  while (step < page->count - low && head_at(page, low + step) == head) {
    low += step;
    step *= 2;
  }
  uint32_t high = step < page->count - low ? low + step : page->count;
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (head_at(page, middle) == head)
      low = middle;
    else
      high = middle;
  }
  return high;
}

/* First of `count` >= 1 heads not below `head`. A mask instead of a choice, so that no compiler makes it a jump: the
 * outcome of each step is a coin toss, and a mispredicted jump costs more than the whole rest of the step. */
static inline uint32_t branchless_lower_bound(const uint8_t *heads, uint32_t count, uint32_t head) {
  const uint8_t *base = heads;
  for (uint32_t left = count; left > 1;) {
    uint32_t half = left / 2;
    size_t skip = (size_t)half * PAGE_HEAD_SIZE;
    base += skip & (0 - (size_t)(load_u32(base + skip - PAGE_HEAD_SIZE) < head));
    left -= half;
  }
  return (uint32_t)((size_t)(base - heads) / PAGE_HEAD_SIZE) + (load_u32(base) < head);
}

void page_prefetch(const struct page *page) {
  const uint8_t *heads = page->data + PAGE_HEADER_SIZE;
  __builtin_prefetch(prefix_of(page));
  for (size_t at = 0; at < (size_t)page->count * PAGE_HEAD_SIZE; at += CACHE_LINE) __builtin_prefetch(heads + at);
}

void page_prefetch_record(const struct page *page, struct wodan_slice key) {
  if (key.size < page->prefix_size) return;
  uint32_t head = key_head((const uint8_t *)key.data + page->prefix_size, key.size - page->prefix_size);
  uint32_t at = branchless_lower_bound(page->data + PAGE_HEADER_SIZE, page->count, head);
  if (at == page->count) return;
  const uint8_t *record = page->data + page_offset(page, at);
  __builtin_prefetch(record);
  __builtin_prefetch(record + CACHE_LINE);
}

uint32_t page_lower_bound(const struct page *page, struct wodan_slice key, bool *exact) {
  const uint8_t *heads = page->data + PAGE_HEADER_SIZE, *prefix = prefix_of(page);
  page_prefetch(page);
  *exact = false;
  size_t shared = key.size < page->prefix_size ? key.size : page->prefix_size;
  int order = shared ? memcmp(key.data, prefix, shared) : 0;
  if (order > 0) return page->count;
  if (order < 0 || key.size < page->prefix_size) return 0;

  struct wodan_slice rest = {.data = (const uint8_t *)key.data + shared, .size = key.size - shared};
  uint32_t head = key_head(rest.data, rest.size);
  uint32_t low = branchless_lower_bound(heads, page->count, head);
  if (low == page->count || head_at(page, low) != head) return low;

  uint32_t high = equal_heads_end(page, low, head);
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    order = key_compare(page_record(page, middle).suffix, rest);
    if (order == 0) {
      *exact = true;
      return middle;
    }
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* ---- proof --------------------------------------------------------------------------------------------------- */

/* The record at r->at, ending where the next one starts. */
static bool record_decode(struct wire_reader *r, uint64_t base_sequence, struct page_record *record) {
  uint64_t suffix_size = wire_get_varint(r);
  uint64_t value = wire_get_varint(r);
  uint64_t delta = wire_get_varint(r);
  if (delta > UINT64_MAX - base_sequence) return false; /* guard: bounds */
  record->kind = (uint8_t)(value & ((1u << PAGE_KIND_BITS) - 1));
  record->sequence = base_sequence + delta;
  record->suffix.size = (size_t)suffix_size;
  record->value.size = (size_t)(value >> PAGE_KIND_BITS);
  record->suffix.data = wire_get_bytes(r, suffix_size);
  record->value.data = wire_get_bytes(r, value >> PAGE_KIND_BITS);
  if (r->failed || record->kind > RECORD_PAGE_LAST) return false;  /* guard: bounds */
  return record->kind != RECORD_DELETE || record->value.size == 0; /* guard: bounds */
}

/* The header and arrays lie inside the page; false when not. */
static bool header_validate(const uint8_t *data, size_t size, struct page *page) {
  if (size < PAGE_HEADER_SIZE) return false; /* guard: bounds */
  *page = page_view(data);
  uint32_t width = size <= NARROW_SIZE_MAX ? 2 : 4;
  if (page->size != size || page->offset_width != width || data[11] != 0) return false; /* guard: bounds */
  size_t left = size - PAGE_HEADER_SIZE;
  if (page->count > left / (PAGE_HEAD_SIZE + width)) return false;                   /* guard: bounds */
  return page->prefix_size <= left - (size_t)page->count * (PAGE_HEAD_SIZE + width); /* guard: bounds */
}

bool page_validate(const uint8_t *data, size_t size) {
  struct page page;
  if (!header_validate(data, size, &page)) return false; /* guard: bounds */
  struct wire_reader r = wire_reader(data, size);
  r.at = (size_t)(prefix_of(&page) - data) + page.prefix_size;
  struct page_record record, first = {0}, previous = {0};
  bool base_seen = false;
  for (uint32_t i = 0; i < page.count; i++) {
    if (page_offset(&page, i) != r.at || !record_decode(&r, page.base_sequence, &record))
      return false;                                                                          /* guard: bounds */
    if (head_at(&page, i) != key_head(record.suffix.data, record.suffix.size)) return false; /* guard: bounds */
    if (i == 0)
      first = record;
    else if (key_compare(previous.suffix, record.suffix) >= 0)
      return false; /* guard: bounds */
    base_seen |= record.sequence == page.base_sequence;
    previous = record;
  }
  if (r.at != size || !base_seen) return false; /* guard: bounds */
  /* The longest prefix: first and last key part right behind it (a lone key is all prefix). */
  return first.suffix.size == 0 ||
         *(const uint8_t *)first.suffix.data != *(const uint8_t *)record.suffix.data; /* guard: bounds */
}

/* ---- builder ------------------------------------------------------------------------------------------------- */

struct entry {
  size_t at; /* of key, value behind it, in bytes */
  size_t key_size, value_size;
  uint64_t sequence;
  uint8_t kind;
};

/* What the encoded size depends on, kept for the records taken so far. */
struct shape {
  size_t count;
  size_t payload; /* key and value bytes, value varints */
  size_t prefix_size;
  uint64_t base_sequence;
  size_t suffix_varints, sequence_varints; /* bytes */
};

struct page_builder {
  struct mem *mem;
  struct entry *entries;
  size_t entries_capacity;
  uint8_t *bytes; /* the first key starts at 0, so the prefix does too */
  size_t bytes_capacity, bytes_size;
  struct shape shape;
};

struct page_builder *page_builder_create(struct mem *mem) {
  struct page_builder *builder = mem_zalloc(mem, sizeof *builder);
  if (builder) builder->mem = mem;
  return builder;
}

void page_builder_free(struct page_builder *builder) {
  if (!builder) return;
  mem_array_free(builder->mem, builder->entries, builder->entries_capacity, sizeof *builder->entries);
  mem_array_free(builder->mem, builder->bytes, builder->bytes_capacity, 1);
  mem_free(builder->mem, builder, sizeof *builder);
}

static inline size_t varint_size(uint64_t v) {
  unsigned bits = 64 - (unsigned)__builtin_clzll(v | 1);
  return (bits * 9 + 64) >> 6; /* ceil(bits / 7) for 1..64 */
}

static uint64_t value_word(size_t value_size, uint8_t kind) { return (uint64_t)value_size << PAGE_KIND_BITS | kind; }

static size_t shared_prefix(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size) {
  size_t limit = a_size < b_size ? a_size : b_size, n = 0;
  while (n < limit && a[n] == b[n]) n++;
  return n;
}

/* The shape with `record` added: cheap unless it shortens the prefix or lowers the base. */
static struct shape shape_with(const struct page_builder *builder, const struct record *record) {
  struct shape shape = builder->shape;
  size_t count = shape.count++;
  shape.payload += record->key.size + record->value.size + varint_size(value_word(record->value.size, record->kind));
  if (count == 0) {
    shape.prefix_size = record->key.size;
    shape.base_sequence = record->sequence;
  } else {
    size_t prefix = shape.prefix_size;
    if (record->key.size < prefix || (prefix && memcmp(builder->bytes, record->key.data, prefix) != 0)) {
      prefix = shared_prefix(builder->bytes, prefix, record->key.data, record->key.size);
      shape.prefix_size = prefix;
      shape.suffix_varints = 0;
      for (size_t i = 0; i < count; i++) shape.suffix_varints += varint_size(builder->entries[i].key_size - prefix);
    }
    if (record->sequence < shape.base_sequence) {
      shape.base_sequence = record->sequence;
      shape.sequence_varints = 0;
      for (size_t i = 0; i < count; i++)
        shape.sequence_varints += varint_size(builder->entries[i].sequence - record->sequence);
    }
  }
  shape.suffix_varints += varint_size(record->key.size - shape.prefix_size);
  shape.sequence_varints += varint_size(record->sequence - shape.base_sequence);
  return shape;
}

/* Page size with offsets of `width` bytes. The prefix is stored once instead of count times. */
static size_t shape_size(const struct shape *shape, size_t width) {
  return PAGE_HEADER_SIZE + shape->count * (PAGE_HEAD_SIZE + width) + shape->payload -
         (shape->count - 1) * shape->prefix_size + shape->suffix_varints + shape->sequence_varints;
}

static size_t shape_width(const struct shape *shape) { return shape_size(shape, 2) <= NARROW_SIZE_MAX ? 2 : 4; }

bool page_builder_add(struct page_builder *builder, const struct record *record) {
  bool over;
  return page_builder_add_within(builder, record, SIZE_MAX, &over);
}

bool page_builder_add_within(struct page_builder *builder, const struct record *record, size_t most, bool *over) {
  assert(record->key.size <= UINT16_MAX && record->value.size <= UINT32_MAX);
  assert(record->kind <= RECORD_PAGE_LAST && (record->kind != RECORD_DELETE || record->value.size == 0));
  assert(builder->shape.count == 0 || key_compare(page_builder_last_key(builder), record->key) < 0);
  struct shape shape = shape_with(builder, record);
  *over = shape_size(&shape, shape_width(&shape)) > most;
  if (*over) return true;
  size_t count = builder->shape.count, at = builder->bytes_size, size = record->key.size + record->value.size;
  void *entries = builder->entries, *bytes = builder->bytes;
  bool room = mem_array_grow(builder->mem, &entries, &builder->entries_capacity, count + 1, sizeof *builder->entries);
  builder->entries = entries;
  room = room && mem_array_grow(builder->mem, &bytes, &builder->bytes_capacity, at + size, 1);
  builder->bytes = bytes;
  if (!room) return false; /* no guard: no memory */
  builder->shape = shape;
  if (record->key.size) memcpy(builder->bytes + at, record->key.data, record->key.size);
  if (record->value.size) memcpy(builder->bytes + at + record->key.size, record->value.data, record->value.size);
  builder->bytes_size = at + size;
  builder->entries[count] = (struct entry){.at = at,
                                           .key_size = record->key.size,
                                           .value_size = record->value.size,
                                           .sequence = record->sequence,
                                           .kind = record->kind};
  return true;
}

uint32_t page_builder_count(const struct page_builder *builder) { return (uint32_t)builder->shape.count; }

size_t page_builder_size(const struct page_builder *builder) {
  return builder->shape.count ? shape_size(&builder->shape, shape_width(&builder->shape)) : 0;
}

struct wodan_slice page_builder_last_key(const struct page_builder *builder) {
  assert(builder->shape.count > 0);
  const struct entry *entry = &builder->entries[builder->shape.count - 1];
  return (struct wodan_slice){.data = builder->bytes + entry->at, .size = entry->key_size};
}

void page_builder_finish(struct page_builder *builder, uint8_t *out) {
  const struct shape *shape = &builder->shape;
  size_t size = page_builder_size(builder), width = shape_width(shape), prefix = shape->prefix_size;
  assert(shape->count > 0 && size <= UINT32_MAX);
  struct wire_writer w = wire_writer(out, size);
  wire_put_u32(&w, (uint32_t)size);
  wire_put_u32(&w, (uint32_t)shape->count);
  wire_put_u16(&w, (uint16_t)prefix);
  wire_put_u8(&w, (uint8_t)width);
  wire_put_u8(&w, 0);
  wire_put_u64(&w, shape->base_sequence);
  uint8_t *heads = wire_put_room(&w, shape->count * PAGE_HEAD_SIZE);
  uint8_t *offsets = wire_put_room(&w, shape->count * width);
  if (prefix) wire_put_bytes(&w, builder->bytes, prefix);
  for (size_t i = 0; i < shape->count; i++) {
    const struct entry *entry = &builder->entries[i];
    const uint8_t *suffix = builder->bytes + entry->at + prefix;
    size_t suffix_size = entry->key_size - prefix;
    store_u32(heads + i * PAGE_HEAD_SIZE, key_head(suffix, suffix_size));
    if (width == 2)
      store_u16(offsets + i * 2, (uint16_t)w.at);
    else
      store_u32(offsets + i * 4, (uint32_t)w.at);
    wire_put_varint(&w, suffix_size);
    wire_put_varint(&w, value_word(entry->value_size, entry->kind));
    wire_put_varint(&w, entry->sequence - shape->base_sequence);
    wire_put_bytes(&w, suffix, suffix_size + entry->value_size); /* the value lies behind the key */
  }
  assert(!w.failed && w.at == size);
  builder->shape = (struct shape){0};
  builder->bytes_size = 0;
}
