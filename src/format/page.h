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

#include <stdbool.h>
#include "base/mem.h"
#include "format/record.h"

enum { PAGE_HEADER_SIZE = 20 };

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
struct page_record page_record(const struct page *page, uint32_t index);
struct wodan_slice page_prefix(const struct page *page);
/* Writes the whole key of record `index` to out (room for any key), returns its size. */
size_t page_key(const struct page *page, uint32_t index, uint8_t *out);

/* Asks for what a search touches; page_lower_bound does so itself. */
void page_prefetch(const struct page *page);
/* Then asks for the record that a search for key compares first. */
void page_prefetch_record(const struct page *page, struct wodan_slice key);
/* Index of the first record with key >= `key` (count when none); *exact says whether it is equal. */
uint32_t page_lower_bound(const struct page *page, struct wodan_slice key, bool *exact);

/* Builder: collects records in key order, then writes the page. Copies what it is given. */
struct page_builder;
struct page_builder *page_builder_create(struct mem *mem); /* NULL: no memory */
void page_builder_free(struct page_builder *builder);
/* Size the page would have with this record added as the next one. */
size_t page_builder_size_with(const struct page_builder *builder, const struct record *record);
/* false: no memory. */
bool page_builder_add(struct page_builder *builder, const struct record *record);
uint32_t page_builder_count(const struct page_builder *builder);
size_t page_builder_size(const struct page_builder *builder); /* of the page as it stands */
/* The greatest key so far, in the builder's memory. count >= 1. */
struct wodan_slice page_builder_last_key(const struct page_builder *builder);
/* Writes page_builder_size() bytes to out and empties the builder. count >= 1. */
void page_builder_finish(struct page_builder *builder, uint8_t *out);

#endif
