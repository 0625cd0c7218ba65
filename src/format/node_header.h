/* The contents of a node's sections (the node itself is an object, object_header.h).
 *
 * SECTION_LEAVES is one page (page.h) with a record per leaf: key = the leaf's pivot (inclusive lower bound; the first
 * leaf also covers everything below its pivot), value = leaf entry:
 *   varint flushed_upto     generation of the newest buffered run this leaf has absorbed; 0: none
 *   pointer                 block_ptr.h, to a run
 * SECTION_RUNS: varint count, then per run, newest (greatest generation) first: pointer.
 * Every pointer's generation is below the node's own; runs are distinct.
 *
 * SECTION_INDEX of a run is one page (page.h) with a record per data page: key = the data page's last key, value =
 * index entry:
 *   varint offset           bytes from the object's start
 *   varint length           bytes stored, >= 1
 *   varint size             bytes of the page; length < size would mean LZ4: none yet, so equal
 *   u64 checksum            XXH3-64 (volume seed) of the stored bytes */
#ifndef FORMAT_NODE_HEADER_H
#define FORMAT_NODE_HEADER_H

#include "format/block_ptr.h"

struct leaf_entry {
  uint64_t flushed_upto;
  struct block_ptr ptr;
};

enum { LEAF_ENTRY_SIZE_MAX = 10 + 10 + 8 + 10 + 5 + 5 + BLOCK_PTR_EXTENTS_MAX * 20 };

uint32_t leaf_entry_encode(const struct leaf_entry *entry, uint8_t *out, uint32_t size); /* bytes, 0: no room */
bool leaf_entry_decode(const uint8_t *in, size_t size, const struct volume_bounds *bounds, struct leaf_entry *entry);

struct index_entry {
  uint64_t offset;
  uint32_t length, size;
  uint64_t checksum;
};
enum { INDEX_ENTRY_SIZE_MAX = 10 + 5 + 5 + 8 };
uint32_t index_entry_encode(const struct index_entry *entry, uint8_t *out, uint32_t size);
bool index_entry_decode(const uint8_t *in, size_t size, struct index_entry *entry);

#endif
