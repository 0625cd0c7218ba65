/* The superblock of a MirageOS Wodan image, format version 1: the first 512 bytes, little-endian, written once.
 *
 *   OFFSET SIZE
 *        0   16  magic "MIRAGE KVFS " and the camel, f0 9f 90 aa
 *       16    4  version, 1
 *       20    4  compatible features; unknown ones do not matter
 *       24    4  incompatible features, below; unknown ones are refused
 *       28    4  block size
 *       32    1  key size: every key has it
 *       33    8  first block written: where the search for a root began
 *       41    8  logical size, blocks, with this one
 *       49   16  fsid, repeated in each node
 *       65  443  reserved
 *      508    4  such that the CRC-32C of all 512 bytes is ffffffff: the complement of the CRC-32C before it
 */
#ifndef MIRAGE_SUPERBLOCK_H
#define MIRAGE_SUPERBLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SUPERBLOCK_SIZE = 512, FSID_SIZE = 16, KEY_SIZE_MAX = 255 };

/* Incompatible features. Without the first three the layout of nodes is another one, which is no longer read by anybody. */
enum {
  FEATURE_HEIGHT = 1,      /* a root tells its height */
  FEATURE_FSID = 2,        /* nodes repeat the fsid */
  FEATURE_VALUE_COUNT = 4, /* nodes tell how many values they hold */
  FEATURE_TOMBSTONES = 8,  /* an empty value is a deletion */
  FEATURES_NEEDED = FEATURE_HEIGHT | FEATURE_FSID | FEATURE_VALUE_COUNT,
  FEATURES_KNOWN = FEATURES_NEEDED | FEATURE_TOMBSTONES
};

struct mirage_superblock {
  uint32_t version, compatible, incompatible;
  uint32_t block_size;
  uint32_t key_size;
  uint64_t first_block, blocks;
  uint8_t fsid[FSID_SIZE];
};

/* The bytes begin with the magic. */
bool mirage_superblock_is(const uint8_t bytes[SUPERBLOCK_SIZE]);

/* Decodes behind a proven magic. 0, or the number of the finding that ends it (findings.h) with its details in `text`. */
int mirage_superblock_decode(const uint8_t bytes[SUPERBLOCK_SIZE], struct mirage_superblock *superblock, char *text,
                             size_t size);

#endif
