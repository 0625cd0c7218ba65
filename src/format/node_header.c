/* Owns: the values of a node's table of leaves or children, and of a run's index.
 *
 * Always true: a decoded entry uses its bytes to the last one; a branch entry names a run or node (never the null
 * pointer); an index entry names at least one byte, no more than its page has, and does not wrap round. Whether an entry fits into its object is proven where
 * the object is known.
 *
 * See: node_header.h for the layout; tests/unit/test_node_header.c. */
#include "format/node_header.h"

#include <assert.h>

uint32_t branch_entry_encode(const struct branch_entry *entry, uint8_t *out, uint32_t size) {
  assert(entry->ptr.generation);
  struct wire_writer w = wire_writer(out, size);
  wire_put_varint(&w, entry->flushed_upto);
  wire_put_varint(&w, entry->blobs);
  block_ptr_encode(&w, &entry->ptr);
  return w.failed ? 0 : (uint32_t)w.at;
}

bool branch_entry_decode(const uint8_t *in, size_t size, const struct volume_bounds *bounds,
                         struct branch_entry *entry) {
  struct wire_reader r = wire_reader(in, size);
  entry->flushed_upto = wire_get_varint(&r);
  entry->blobs = wire_get_varint(&r);
  block_ptr_decode(&r, bounds, &entry->ptr);
  return !r.failed && r.at == r.size && entry->ptr.generation != 0; /* guard: bounds */
}

uint32_t index_entry_encode(const struct index_entry *entry, uint8_t *out, uint32_t size) {
  assert(entry->length && entry->length <= entry->size);
  struct wire_writer w = wire_writer(out, size);
  wire_put_varint(&w, entry->offset);
  wire_put_varint(&w, entry->length);
  wire_put_varint(&w, entry->size);
  wire_put_u64(&w, entry->checksum);
  return w.failed ? 0 : (uint32_t)w.at;
}

bool index_entry_decode(const uint8_t *in, size_t size, struct index_entry *entry) {
  struct wire_reader r = wire_reader(in, size);
  entry->offset = wire_get_varint(&r);
  uint64_t length = wire_get_varint(&r);
  uint64_t page = wire_get_varint(&r);
  entry->checksum = wire_get_u64(&r);
  if (r.failed || r.at != r.size) return false; /* guard: bounds */
  if (length < 1 || length > page || page > UINT32_MAX || entry->offset > UINT64_MAX - length)
    return false; /* guard: bounds */
  entry->length = (uint32_t)length;
  entry->size = (uint32_t)page;
  return true;
}
