/* Owns: the encoded form of references to large values and of their chunk tables.
 *
 * Always true: a decoded reference has a size of at least 1 and a pointer that can be followed; it uses its bytes to the
 * last one.
 *
 * See: blob.h for the layout; tests/unit/test_blob_format.c. */
#include "format/blob.h"

#include <assert.h>

uint32_t blob_ref_encode(const struct blob_ref *ref, uint8_t *out, size_t size) {
  assert(ref->size && ref->ptr.generation);
  struct wire_writer w = wire_writer(out, size);
  wire_put_varint(&w, ref->size);
  block_ptr_encode(&w, &ref->ptr);
  return w.failed ? 0 : (uint32_t)w.at;
}

bool blob_ref_decode(const uint8_t *in, size_t size, const struct volume_bounds *bounds, struct blob_ref *ref) {
  struct wire_reader r = wire_reader(in, size);
  ref->size = wire_get_varint(&r);
  block_ptr_decode(&r, bounds, &ref->ptr);
  return !r.failed && r.at == r.size && ref->size != 0 && ref->ptr.generation != 0; /* guard: bounds */
}

uint64_t blob_ref_size(const uint8_t *in, size_t size) {
  struct wire_reader r = wire_reader(in, size);
  return wire_get_varint(&r);
}

struct wodan_slice blob_ref_pointer(const uint8_t *in, size_t size) {
  struct wire_reader r = wire_reader(in, size);
  wire_get_varint(&r);
  return (struct wodan_slice){in + r.at, size - r.at};
}

void blob_chunk_encode(struct wire_writer *w, const struct blob_chunk *chunk) {
  assert(chunk->length);
  wire_put_varint(w, chunk->length);
  wire_put_u64(w, chunk->checksum);
}

bool blob_chunk_decode(struct wire_reader *r, uint64_t raw, struct blob_chunk *chunk) {
  uint64_t length = wire_get_varint(r);
  chunk->checksum = wire_get_u64(r);
  if (length < 1 || length > raw) r->failed = true; /* guard: bounds */
  chunk->length = (uint32_t)length;
  return !r->failed; /* guard: bounds */
}
