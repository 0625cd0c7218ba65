/* Owns: the encoded form of pointers and of extent lists, and the proof that a decoded one can be followed.
 *
 * Always true: a decoded extent list has 1..BLOCK_PTR_EXTENTS_MAX extents, each non-empty and inside the data area, no
 * block twice, and exactly the blocks its length needs. A decoded pointer is all zero, or such a list with a header
 * that fits into memory (BLOCK_PTR_HEADER_MAX) and into its object. A decoded null pointer equals a zeroed struct.
 *
 * Order: extents are proven one by one before their counts are added, so no sum here can overflow.
 *
 * See: block_ptr.h for the layout; tests/unit/test_block_ptr.c. */
#include "format/block_ptr.h"

#include <assert.h>

static bool extents_overlap(const struct extent *a, const struct extent *b) {
  return a->first < b->first + b->count && b->first < a->first + a->count;
}

/* Inside the data area and apart from the extents before it. */
static bool extent_fits(const struct extent *extents, uint32_t index, const struct volume_bounds *bounds) {
  const struct extent *e = &extents[index];
  if (e->count == 0 || e->first < bounds->data_first || e->first >= bounds->data_end) return false; /* guard: bounds */
  if (e->count > bounds->data_end - e->first) return false;                                         /* guard: bounds */
  for (uint32_t i = 0; i < index; i++)
    if (extents_overlap(&extents[i], e)) return false; /* guard: bounds */
  return true;
}

void extents_encode(struct wire_writer *w, const struct extent *extents, uint32_t count) {
  assert(count >= 1 && count <= BLOCK_PTR_EXTENTS_MAX);
  wire_put_varint(w, count);
  for (uint32_t i = 0; i < count; i++) {
    assert(extents[i].count >= 1);
    wire_put_varint(w, extents[i].first);
    wire_put_varint(w, extents[i].count);
  }
}

static bool extents_read(struct wire_reader *r, const struct volume_bounds *bounds, uint64_t length,
                         struct extent *extents, uint32_t *count) {
  uint64_t n = wire_get_varint(r);             /* 0 when it cannot be read, and then no blocks for the length */
  if (n > BLOCK_PTR_EXTENTS_MAX) return false; /* guard: bounds */
  uint64_t blocks = 0;                         /* at most data_end: the extents do not overlap */
  for (uint32_t i = 0; i < n; i++) {
    extents[i].first = wire_get_varint(r);
    extents[i].count = wire_get_varint(r);
    if (!extent_fits(extents, i, bounds)) return false; /* guard: bounds */
    blocks += extents[i].count;
  }
  *count = (uint32_t)n;
  return blocks == length / bounds->block_size + (length % bounds->block_size != 0); /* guard: bounds */
}

bool extents_decode(struct wire_reader *r, const struct volume_bounds *bounds, uint64_t length, struct extent *extents,
                    uint32_t *count) {
  assert(bounds->block_size && bounds->data_first <= bounds->data_end);
  if (!extents_read(r, bounds, length, extents, count)) r->failed = true; /* guard: bounds */
  return !r->failed;                                                      /* no guard: decided above */
}

void block_ptr_encode(struct wire_writer *w, const struct block_ptr *ptr) {
  wire_put_varint(w, ptr->generation);
  if (ptr->generation == 0) return;
  assert(ptr->header_length >= 1 && ptr->header_length <= ptr->length);
  wire_put_u64(w, ptr->checksum);
  wire_put_varint(w, ptr->length);
  wire_put_varint(w, ptr->header_length);
  extents_encode(w, ptr->extents, ptr->extent_count);
}

bool block_ptr_decode(struct wire_reader *r, const struct volume_bounds *bounds, struct block_ptr *ptr) {
  memset(ptr, 0, sizeof *ptr);
  ptr->generation = wire_get_varint(r);
  if (ptr->generation == 0) return !r->failed; /* guard: bounds */
  ptr->checksum = wire_get_u64(r);
  ptr->length = wire_get_varint(r);
  uint64_t header_length = wire_get_varint(r);
  if (header_length < 1 || header_length > ptr->length || header_length > BLOCK_PTR_HEADER_MAX)
    r->failed = true; /* guard: bounds */
  ptr->header_length = (uint32_t)header_length;
  return extents_decode(r, bounds, ptr->length, ptr->extents, &ptr->extent_count);
}

bool block_ptr_equal(const struct block_ptr *a, const struct block_ptr *b) {
  if (a->generation != b->generation || a->checksum != b->checksum || a->length != b->length ||
      a->header_length != b->header_length || a->extent_count != b->extent_count)
    return false; /* no guard: two proven ones are compared */
  assert(a->extent_count <= BLOCK_PTR_EXTENTS_MAX);
  for (uint32_t i = 0; i < a->extent_count; i++)
    if (a->extents[i].first != b->extents[i].first || a->extents[i].count != b->extents[i].count)
      return false; /* no guard: two proven ones are compared */
  return true;
}

uint64_t block_ptr_blocks(const struct block_ptr *ptr) {
  assert(ptr->extent_count <= BLOCK_PTR_EXTENTS_MAX);
  uint64_t blocks = 0;
  for (uint32_t i = 0; i < ptr->extent_count; i++) blocks += ptr->extents[i].count;
  return blocks;
}
