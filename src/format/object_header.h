/* Object header: starts every run and node. It names itself and its sections, so an object can be told from debris and
 * found by scanning; the pointer to it repeats its checksum, so a lost, stale or misdirected write shows.
 *
 *   OFFSET SIZE DESCRIPTION
 *        0    8 checksum: XXH3-64 (volume seed) of bytes 8..header_length-1
 *        8    4 magic "WRUN", "WNOD" or "WBLB" (a blob, blob.h)
 *       12    4 header_length, bytes
 *       16   16 fsid
 *       32    8 generation
 *       40    8 epoch number
 *       48    8 epoch random bits
 *       56    8 length of the whole object, bytes
 *       64    8 record_count: records of a run; level of a node, 0..15 (node_header.h); bytes of a blob's value
 *       72    8 sequence_max: highest record sequence inside (runs), 0 in a node or blob
 *       80      extents (block_ptr.h)
 *               varint low key length, low key     inclusive lower bound of the keys inside; empty: none
 *               varint high key length, high key   the greatest key inside; empty: none
 *               varint section count, then each, by rising offset: u8 tag, varint offset (from the object's start),
 *               varint length, u64 checksum (XXH3-64 of the section; 0 for pages, which the index
 *              covers, and for chunks, which the chunk table covers)
 *
 * header_length is at most 1 MiB and at most length; unused bytes up to it are zero. low <= high when both are there.
 * Sections lie one behind the other from header_length on, without gaps, up to length; a tag occurs at most once, 1..5
 * in a run, 6..8 in a node, 9 and 10 in a blob. Tags: */
#ifndef FORMAT_OBJECT_HEADER_H
#define FORMAT_OBJECT_HEADER_H

#include <wodan/types.h>
#include "format/block_ptr.h"
#include "format/journal_block.h"

enum object_type { OBJECT_RUN = 1, OBJECT_NODE = 2, OBJECT_BLOB = 3 };

enum section_tag {
  SECTION_PAGES = 1,            /* run: data pages back to back (page.h), each found through the index */
  SECTION_INDEX = 2,            /* run: one page (page.h): page's last key -> index entry */
  SECTION_FILTER = 3,           /* run, optional: blocked Bloom filter (run/filter.h) */
  SECTION_BLOBS = 4,            /* run: its blobs (blob.h), where it has any */
  SECTION_RANGE_TOMBSTONES = 5, /* run, optional: ranges that are deleted (range.h) */
  SECTION_LEAVES = 6,           /* bottom node: one page: leaf's pivot -> branch entry (node_header.h) */
  SECTION_RUNS = 7,             /* node: list of buffered runs, newest first (node_header.h) */
  SECTION_CHILDREN = 8,         /* inner node: one page: child's pivot -> branch entry (node_header.h) */
  SECTION_CHUNK_TABLE = 9,      /* blob: length and checksum of each chunk (blob.h) */
  SECTION_CHUNKS = 10,          /* blob: the value's chunks */
};
enum { OBJECT_SECTIONS_MAX = 8 };

struct section {
  uint8_t tag;
  uint64_t offset, length, checksum;
};

struct object_header {
  uint8_t type; /* enum object_type */
  uint8_t fsid[16];
  uint64_t generation;
  struct epoch epoch;
  uint64_t length;
  uint32_t header_length;
  uint64_t record_count, sequence_max;
  struct extent extents[BLOCK_PTR_EXTENTS_MAX];
  uint32_t extent_count;
  struct wodan_slice low, high; /* decode: point into the input */
  struct section sections[OBJECT_SECTIONS_MAX];
  uint32_t section_count;
  uint64_t checksum; /* set by encode and decode */
};

/* Bytes the header takes with extent_count extents inside these bounds and these keys: an upper bound, so that sections can
 * be laid out before the extents' numbers are known. Unused bytes up to header_length are zero. */
uint32_t object_header_size_max(const struct volume_bounds *bounds, size_t low_size, size_t high_size,
                                uint32_t extent_count, uint32_t section_count);
/* header->header_length bytes are written to out (zero padded); header->checksum is set. false: does not fit. */
bool object_header_encode(struct object_header *header, uint64_t seed, uint8_t *out);
/* in holds `size` bytes (at least header_length, which is checked). Proves checksum, magic, fsid, extents, keys,
 * sections in order without gaps inside length. */
bool object_header_decode(const uint8_t *in, size_t size, uint64_t seed, const uint8_t fsid[16],
                          const struct volume_bounds *bounds, struct object_header *header);
/* The section with this tag, or NULL. */
const struct section *object_section(const struct object_header *header, uint8_t tag);
/* The fields up to the extents, for who looks for headers, from at least a sector: nothing is proven but the magic (type),
 * and that the extents are inside the bounds; keys and sections are not filled. */
bool object_header_peek(const uint8_t *in, size_t size, const struct volume_bounds *bounds,
                        struct object_header *header);
/* enum object_type by the magic alone; 0: none, or size < 12. */
uint8_t object_header_peek_type(const uint8_t *in, size_t size);
/* header_length read without checks (for a reader that does not know it yet); 0 when size < 16. */
uint32_t object_header_peek_length(const uint8_t *in, size_t size);

#endif
