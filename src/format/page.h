/* Page: sorted records. The one page format of the engine: data pages of runs, a run's index, a node's table of
 * leaves or children.
 *
 *   OFFSET SIZE DESCRIPTION
 *        0    4 size of the page in bytes
 *        4    4 count of records, >= 1
 *        8    2 prefix length
 *       10    1 offset width: 2 when size <= 65535, else 4
 *       11    1 zero
 *       12    8 base sequence: the least sequence in the page
 *       20      key heads: count x u32: the first four bytes of the key behind the prefix, as a big-endian number,
 *               zero-filled when shorter, stored little-endian (so that comparing numbers compares bytes)
 *               offsets: count x (u16 or u32): where each record starts, from the page's start
 *               prefix: the bytes all keys of the page start with (the longest such)
 *               records, in key order, back to back up to size: varint suffix length, varint (value length << 3 | kind),
 *               varint (sequence - base sequence), key suffix, value
 *
 * Keys are unique and strictly ascending; the first record starts right behind the prefix; a delete has no value.
 * Search: the heads are one dense array (the part a search touches), found by a branchless lower bound; only records
 * with an equal head are compared further. DESIGN.md has the measurements behind this layout. */
#ifndef FORMAT_PAGE_H
#define FORMAT_PAGE_H

#include <assert.h>
#include <stdbool.h>
#include "base/mem.h"
#include "base/wire.h"
#include "format/record.h"

enum { PAGE_HEADER_SIZE = 20, PAGE_HEAD_SIZE = 4, PAGE_KIND_BITS = 3 };

/* A view of validated page bytes; cheap to make, owns nothing. */
struct page {
  const uint8_t *data;
  uint32_t size, count, prefix_size;
  uint32_t offset_width;
  uint64_t base_sequence;
};

/* Proves everything in the table above about `size` untrusted bytes; false when anything is off. */
bool page_validate(const uint8_t *data, size_t size);
/* Only for bytes that passed page_validate. */
struct page page_view(const uint8_t *data);

/* A record in place; its key is prefix + suffix. */
struct page_record {
  struct wodan_slice suffix, value;
  uint64_t sequence;
  uint8_t kind;
};
static inline struct page_record page_record(const struct page *page, uint32_t index);
struct wodan_slice page_prefix(const struct page *page);
/* Writes the whole key of record `index` to out (room for any key), returns its size. */
size_t page_key(const struct page *page, uint32_t index, uint8_t *out);

/* Asks for what a search touches; page_lower_bound does so itself. */
void page_prefetch(const struct page *page);
/* Then asks for the record that a search for key compares first. */
void page_prefetch_record(const struct page *page, struct wodan_slice key);
/* Index of the first record with key >= `key` (count when none); *exact says whether it is equal. */
uint32_t page_lower_bound(const struct page *page, struct wodan_slice key, bool *exact);

/* ---- decoding, inline because a scan does little else --------------------------------------------------------------- */

static inline const uint8_t *page_offsets(const struct page *page) {
  return page->data + PAGE_HEADER_SIZE + (size_t)page->count * PAGE_HEAD_SIZE;
}

static inline uint32_t page_offset(const struct page *page, uint32_t index) {
  const uint8_t *offsets = page_offsets(page);
  return page->offset_width == 2 ? load_u16(offsets + (size_t)index * 2) : load_u32(offsets + (size_t)index * 4);
}

/* A varint already proven: no bounds. */
static inline uint64_t page_varint(const uint8_t **at) {
  const uint8_t *p = *at;
  uint64_t value = *p++;
  if (value >= 0x80) {
    value &= 0x7f;
    unsigned shift = 7;
    for (; *p >= 0x80; shift += 7) value |= (uint64_t)(*p++ & 0x7f) << shift;
    value |= (uint64_t)*p++ << shift;
  }
  *at = p;
  return value;
}

/* The record that starts at `at`, which page_validate has proven. */
static inline struct page_record page_record_at(const struct page *page, const uint8_t *at) {
  struct page_record record;
  record.suffix.size = (size_t)page_varint(&at);
  uint64_t value = page_varint(&at);
  record.kind = (uint8_t)(value & ((1u << PAGE_KIND_BITS) - 1));
  record.value.size = (size_t)(value >> PAGE_KIND_BITS);
  record.sequence = page->base_sequence + page_varint(&at);
  record.suffix.data = at;
  record.value.data = at + record.suffix.size;
  return record;
}

static inline struct page_record page_record(const struct page *page, uint32_t index) {
  assert(index < page->count);
  return page_record_at(page, page->data + page_offset(page, index));
}

/* Copies a suffix to where PAGE_COPY_SLACK bytes more than it takes may be written. Most are short: one copy of a fixed size,
 * where the page has the bytes behind it, beats a call. */
enum { PAGE_COPY_SLACK = 16 };
static inline void page_copy_suffix(const struct page *page, struct wodan_slice suffix, uint8_t *out) {
  const uint8_t *from = suffix.data;
  if (suffix.size <= PAGE_COPY_SLACK && from + PAGE_COPY_SLACK <= page->data + page->size)
    memcpy(out, from, PAGE_COPY_SLACK);
  else
    memcpy(out, from, suffix.size);
}

/* ---- building ---------------------------------------------------------------------------------------------------- */

/* Builder: collects records in key order, then writes the page. Copies what it is given. */
struct page_builder;
struct page_builder *page_builder_create(struct mem *mem); /* NULL: no memory */
void page_builder_free(struct page_builder *builder);
/* false: no memory. */
bool page_builder_add(struct page_builder *builder, const struct record *record);
/* The same where the page has at most `most` bytes then; else *over, and nothing changed. */
bool page_builder_add_within(struct page_builder *builder, const struct record *record, size_t most, bool *over);
uint32_t page_builder_count(const struct page_builder *builder);
size_t page_builder_size(const struct page_builder *builder); /* of the page as it stands */
/* The greatest key so far, in the builder's memory. count >= 1. */
struct wodan_slice page_builder_last_key(const struct page_builder *builder);
/* Writes page_builder_size() bytes to out and empties the builder. count >= 1. */
void page_builder_finish(struct page_builder *builder, uint8_t *out);

#endif
