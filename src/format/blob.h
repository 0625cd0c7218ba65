/* Large values: a value of more than a quarter page lies in an object of its own, a *blob*, written once. What stands for
 * it in pages, journal operations and memtables is a record of kind RECORD_BLOB, whose value is a blob reference:
 *   varint value size       bytes, >= 1
 *   pointer                 block_ptr.h, to the blob
 * It takes at most a quarter page, as any value. A blob's header (object_header.h) has low = high = its tree key,
 * record_count = value size, sequence_max = 0 (the number is given when the put commits, after the blob was written), and two
 * sections, in this order:
 *
 * SECTION_CHUNKS: the value cut into chunks of 4 * page_size bytes, the last one shorter, one behind the other. A chunk stands
 * as it is, or as one LZ4 block where that is shorter (only in volumes with incompat flag 1).
 * SECTION_CHUNK_TABLE, per chunk:
 *   varint stored length    1..bytes of the chunk; what is stored in fewer bytes is an LZ4 block of the chunk
 *   u64 checksum            XXH3-64 (volume seed) of the stored bytes
 *
 * SECTION_BLOBS of a run: varint count (>= 1), then the pointers of the run's RECORD_BLOB records, in their order. A run
 * without such records has no such section. */
#ifndef FORMAT_BLOB_H
#define FORMAT_BLOB_H

#include <wodan/types.h>
#include "format/block_ptr.h"

enum {
  BLOB_CHUNK_PAGES = 4,
  BLOB_CHUNKS_MAX = 16384,
  BLOB_POINTER_SIZE_MIN = 14,
  BLOB_REF_SIZE_MAX = 10 + 10 + 8 + 10 + 5 + 1 + BLOCK_PTR_EXTENTS_MAX * 20
};

/* Most bytes of a large value in a volume with such pages: 1 GiB with the largest. */
static inline uint64_t blob_value_max(uint32_t page_size) {
  return (uint64_t)BLOB_CHUNKS_MAX * BLOB_CHUNK_PAGES * page_size;
}
static inline uint64_t blob_chunk_count(uint64_t value_size, uint32_t page_size) {
  uint64_t chunk = (uint64_t)BLOB_CHUNK_PAGES * page_size;
  return value_size / chunk + (value_size % chunk != 0);
}

/* Most bytes of large values that one journal record may name without a barrier before it (journal_block.h): what a mount reads
 * to prove them. 1 MiB with the pages that are usual. */
static inline uint64_t blob_unproven_max(uint32_t page_size) { return UINT64_C(64) * page_size; }

struct blob_ref {
  uint64_t size; /* of the value, bytes */
  struct block_ptr ptr;
};

/* What a blob counts against it: of its value and its object the larger. */
static inline uint64_t blob_unproven_size(const struct blob_ref *ref) {
  return ref->size > ref->ptr.length ? ref->size : ref->ptr.length;
}

/* Bytes written to out, 0: no room. */
uint32_t blob_ref_encode(const struct blob_ref *ref, uint8_t *out, size_t size);
/* The whole of `in` must be used. A size that the pointer's object cannot have is refused only as far as it needs no page
 * size: what does not fit shows when the blob is read. */
bool blob_ref_decode(const uint8_t *in, size_t size, const struct volume_bounds *bounds, struct blob_ref *ref);
/* The value's size alone, of a reference that was proven. */
uint64_t blob_ref_size(const uint8_t *in, size_t size);
/* Where the pointer lies in a reference that was proven. */
struct wodan_slice blob_ref_pointer(const uint8_t *in, size_t size);

/* One entry of the chunk table: false when it does not decode, or is not of a chunk of `raw` bytes. */
struct blob_chunk {
  uint32_t length;
  uint64_t checksum;
};
enum { BLOB_CHUNK_ENTRY_MAX = 5 + 8 };
void blob_chunk_encode(struct wire_writer *w, const struct blob_chunk *chunk);
bool blob_chunk_decode(struct wire_reader *r, uint64_t raw, struct blob_chunk *chunk);

#endif
