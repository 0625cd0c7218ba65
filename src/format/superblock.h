/* Superblock: 512 bytes at the start of block 0, written once at format; the same bytes in the last 512 bytes of the
 * volume (block N-1). A reader that finds block 0 dead probes, for each power of two B from 512 to 1 MiB, the bytes at
 * floor(device size / B) * B - 512 and takes the first valid copy whose block_size is B. Block 0 may be that of another
 * volume: when the bytes there, by its own B, are valid with another fsid, some journal block is valid for that fsid at
 * its place, and none is for block 0's, the copy counts.
 *
 *   OFFSET SIZE DESCRIPTION
 *        0   16 magic "Wodan-C volume\n\0"
 *       16    4 version (0)
 *       20    4 block_size, bytes, power of two 512..1 MiB
 *       24    8 compat flags      unknown bits: ignored
 *       32    8 read-only flags   unknown bits: open for reading only
 *       40    8 incompat flags    unknown bits: refused, and so is a volume without flag 4
 *       48   16 fsid, random
 *       64    4 sector, bytes, power of two 64..65536, <= block_size
 *       68    4 journal_block_size, bytes, power of two, >= sector, 4096..65536 (512.. in a volume below 1 MiB)
 *       72    8 device_blocks, allocation blocks of the volume at format (>= 64; below 2^63 bytes in all)
 *       80    8 journal_blocks, allocation blocks of the ring, which starts at block 1: whole journal blocks too, at
 *               least 8 of them, at most a quarter of the volume
 *       88    8 memtable_size, bytes of encoded records, 4 pages..volume/8
 *       96    4 page_size, bytes, power of two 512..16384, <= volume/32
 *      100    4 leaf_size, bytes, 4 pages..volume/16 (4 pages where that is less), <= 1 GiB
 *      104    4 step_size, bytes: at least leaf + leaf/2 + 4096, and at most that or 1 MiB, whichever is more
 *      108    4 node_leaves, most leaves a bottom node owns before it splits, 4..65536
 *      112    4 node_children, most children an inner node has before it splits, 4..256
 *      116    4 compression, what a writer does with pages of leaves: 0 nothing, 1 LZ4, 2 LZ4 tried hard; not 0 exactly
 *              when incompat flag 1 is set
 *      120  384 reserved, zero
 *      504    8 checksum: XXH3-64, seed 0, of bytes 0..503 */
#ifndef FORMAT_SUPERBLOCK_H
#define FORMAT_SUPERBLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <wodan/status.h>

enum { SUPERBLOCK_SIZE = 512, FORMAT_VERSION = 0 };

struct superblock {
  uint32_t version;
  uint32_t block_size;
  uint64_t compat, read_only_compat, incompat;
  uint8_t fsid[16];
  uint32_t sector, journal_block_size;
  uint64_t device_blocks, journal_blocks, memtable_size;
  uint32_t page_size, leaf_size, step_size;
  uint32_t node_leaves, node_children;
  uint32_t compression; /* enum compression */
};

/* Incompat flags. FEATURE_LZ4: index entries may name compressed pages, chunk tables compressed chunks. FEATURE_BLOBS: there
 * may be large values; in a checkpoint record: there are, in its tree or in the journal since the one before. FEATURE_RANGES:
 * there may be range deletes, and run lists of nodes count them; every volume has it. */
enum {
  FEATURE_LZ4 = 1,
  FEATURE_BLOBS = 2,
  FEATURE_RANGES = 4,
  FEATURES_KNOWN = FEATURE_LZ4 | FEATURE_BLOBS | FEATURE_RANGES
};

void superblock_encode(const struct superblock *sb, uint8_t out[SUPERBLOCK_SIZE]);
/* WODAN_EFORMAT (no magic), WODAN_ECORRUPT (checksum), WODAN_EVERSION (version or incompat flags), WODAN_ECORRUPT (a
 * field out of range: named in the sentence). Everything above is proven on success. */
int superblock_decode(const uint8_t in[SUPERBLOCK_SIZE], struct superblock *sb, struct wodan_error *error);

/* Derived, one place: ring geometry and limits. */
static inline uint64_t superblock_ring_blocks(const struct superblock *sb) { /* journal blocks in the ring */
  return sb->journal_blocks * sb->block_size / sb->journal_block_size;
}
/* Those of them that lie on a device of so many bytes: an image may tell any number. */
static inline uint64_t superblock_ring_there(const struct superblock *sb, uint64_t device_size) {
  uint64_t ring = superblock_ring_blocks(sb);
  uint64_t there = device_size < sb->block_size ? 0 : (device_size - sb->block_size) / sb->journal_block_size;
  return ring < there ? ring : there;
}
static inline uint64_t superblock_data_first(const struct superblock *sb) { return 1 + sb->journal_blocks; }

/* Geometry of a new volume, filled by format from options; all rules of design in one function. 0 for a field means its
 * default. WODAN_EINVAL with a sentence. */
struct superblock_wish {
  uint64_t device_size; /* bytes */
  uint32_t sector, block_size, page_size, leaf_size;
  uint64_t memtable_size, journal_size;
  uint32_t node_leaves, node_children;
  uint32_t compression; /* enum compression */
};
int superblock_plan(const struct superblock_wish *wish, struct superblock *sb, struct wodan_error *error);

#endif
