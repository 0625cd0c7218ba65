/* Pointer: the only way to name a header (run or node) on the device. It carries the proof of what it names.
 *
 * Encoded (canonical varints; 1 byte per small number):
 *   varint generation        0 only in the null pointer, which is the single byte 0
 *   u64    checksum          the header's own checksum field, see object_header.h
 *   varint length            bytes of the whole object, header included
 *   varint header_length     bytes of the header, 1..BLOCK_PTR_HEADER_MAX (1 MiB), <= length
 *   varint extent_count      1..BLOCK_PTR_EXTENTS_MAX (16)
 *   extent_count times: varint first block, varint block count (>= 1)
 * The extents hold exactly ceil(length / block size) blocks, each inside the data area, none overlapping. */
#ifndef FORMAT_BLOCK_PTR_H
#define FORMAT_BLOCK_PTR_H

#include <stdbool.h>
#include <stdint.h>
#include "base/wire.h"

enum { BLOCK_PTR_EXTENTS_MAX = 16, BLOCK_PTR_HEADER_MAX = 1 << 20 };

struct extent {
  uint64_t first; /* allocation block */
  uint64_t count; /* blocks */
};

struct block_ptr {
  uint64_t generation; /* 0: null */
  uint64_t checksum;
  uint64_t length;        /* bytes */
  uint32_t header_length; /* bytes */
  uint32_t extent_count;
  struct extent extents[BLOCK_PTR_EXTENTS_MAX];
};

/* What a volume allows: block size and data area [data_first, data_end). */
struct volume_bounds {
  uint32_t block_size;
  uint64_t data_first, data_end; /* blocks */
};

void block_ptr_encode(struct wire_writer *w, const struct block_ptr *ptr);
/* Decodes and validates against bounds; false when malformed (r->failed is then also set). */
bool block_ptr_decode(struct wire_reader *r, const struct volume_bounds *bounds, struct block_ptr *ptr);
bool block_ptr_equal(const struct block_ptr *a, const struct block_ptr *b);
uint64_t block_ptr_blocks(const struct block_ptr *ptr); /* sum of its extents */

/* The list of extents alone (varint count, then pairs): used by object headers too. */
void extents_encode(struct wire_writer *w, const struct extent *extents, uint32_t count);
bool extents_decode(struct wire_reader *r, const struct volume_bounds *bounds, uint64_t length, struct extent *extents,
                    uint32_t *count);

#endif
