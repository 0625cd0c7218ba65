/* The contents of a node's sections (the node itself is an object, object_header.h). A node has a level, 0..15, in its
 * header's record_count: a node of level 0, a bottom node, owns leaves; any other owns nodes of the level below.
 *
 * SECTION_LEAVES (level 0) or SECTION_CHILDREN (any other level) is one page (page.h) with a record per leaf or child: key
 * = its pivot (inclusive lower bound; the first also covers everything below its pivot), kind put, sequence 0, value =
 * branch entry:
 *   varint flushed_upto     generation of the newest buffered run of this node that the leaf or child has absorbed; 0:
 *                           none
 *   varint blob count       of the leaf: pointers in its SECTION_BLOBS; 0 for a node
 *   pointer                 block_ptr.h, to a run (the leaf) or to a node
 * SECTION_RUNS: varint count, then per run, newest (greatest generation) first:
 *   pointer                 block_ptr.h
 *   varint record count     of the run; 0 only when there are range deletes
 *   varint delete count     deletes among them
 *   varint blob count       large values among them, which its SECTION_BLOBS lists
 *   varint range count      range deletes (range.h)
 * Every pointer's generation is below the node's own; runs are distinct.
 *
 * SECTION_INDEX of a run is one page (page.h) with a record per data page: key = the data page's last key, kind put,
 * sequence 0, value = index entry:
 *   varint offset           bytes from the object's start
 *   varint length           bytes stored, >= 1
 *   varint size             bytes of the page, >= length; what is stored in fewer bytes is an LZ4 block of the page
 *   u64 checksum            XXH3-64 (volume seed) of the stored bytes */
#ifndef FORMAT_NODE_HEADER_H
#define FORMAT_NODE_HEADER_H

#include "format/block_ptr.h"

enum { NODE_LEVELS_MAX = 16 }; /* levels 0..15 */

struct branch_entry {
  uint64_t flushed_upto, blobs;
  struct block_ptr ptr;
};

enum { BRANCH_ENTRY_SIZE_MAX = 10 + 10 + 10 + 8 + 10 + 5 + 5 + BLOCK_PTR_EXTENTS_MAX * 20 };

uint32_t branch_entry_encode(const struct branch_entry *entry, uint8_t *out, uint32_t size); /* bytes, 0: no room */
bool branch_entry_decode(const uint8_t *in, size_t size, const struct volume_bounds *bounds,
                         struct branch_entry *entry);

struct index_entry {
  uint64_t offset;
  uint32_t length, size;
  uint64_t checksum;
};
enum { INDEX_ENTRY_SIZE_MAX = 10 + 5 + 5 + 8 };
uint32_t index_entry_encode(const struct index_entry *entry, uint8_t *out, uint32_t size);
bool index_entry_decode(const uint8_t *in, size_t size, struct index_entry *entry);

#endif
