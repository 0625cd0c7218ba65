/* What: reading the superblock.
 *
 * Always true: what mirage_superblock_decode takes has a block size in which nodes of its keys have room, at least two blocks, and
 * features whose layout node.c reads.
 *
 * Order: the checksum comes before any field is believed.
 *
 * See: superblock.h; tests/unit/test_mirage.c. */
#include "superblock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/wire.h"
#include "crc32c.h"
#include "findings.h"

static const uint8_t MAGIC[16] = {'M', 'I', 'R', 'A', 'G', 'E', ' ', 'K', 'V', 'F', 'S', ' ', 0xf0, 0x9f, 0x90, 0xaa};
enum { VERSION = 1, SECTOR_SIZE = 512, PAGE_SIZE = 4096 };

bool mirage_superblock_is(const uint8_t bytes[SUPERBLOCK_SIZE]) { return memcmp(bytes, MAGIC, sizeof MAGIC) == 0; }

/* The block sizes that its own code takes: whole pages, or less than a page in whole sectors. */
static bool block_size_fits(uint32_t size) {
  return size >= SECTOR_SIZE && size % (size < PAGE_SIZE ? SECTOR_SIZE : PAGE_SIZE) == 0;
}

int mirage_superblock_decode(const uint8_t bytes[SUPERBLOCK_SIZE], struct mirage_superblock *superblock, char *text,
                             size_t size) {
  struct wire_reader reader = wire_reader(bytes, SUPERBLOCK_SIZE);
  uint32_t sum = mirage_crc32c(bytes, SUPERBLOCK_SIZE);
  if (sum != UINT32_MAX) {
    snprintf(text, size, "%08" PRIx32 " in place of ffffffff", sum);
    return MIRAGE_SUPERBLOCK_CHECKSUM;
  }
  wire_get_bytes(&reader, sizeof MAGIC);
  superblock->version = wire_get_u32(&reader);
  superblock->compatible = wire_get_u32(&reader);
  superblock->incompatible = wire_get_u32(&reader);
  superblock->block_size = wire_get_u32(&reader);
  superblock->key_size = wire_get_u8(&reader);
  superblock->first_block = wire_get_u64(&reader);
  superblock->blocks = wire_get_u64(&reader);
  memcpy(superblock->fsid, wire_get_bytes(&reader, FSID_SIZE), FSID_SIZE);
  if (superblock->version != VERSION) {
    snprintf(text, size, "%" PRIu32 ", and 1 is known", superblock->version);
    return MIRAGE_SUPERBLOCK_VERSION;
  }
  if ((superblock->incompatible & FEATURES_NEEDED) != FEATURES_NEEDED ||
      (superblock->incompatible | FEATURES_KNOWN) != FEATURES_KNOWN) {
    snprintf(text, size, "%" PRIu32 ", and 7 (height, fsid, value count) and 15 (with tombstones) are known",
             superblock->incompatible);
    return MIRAGE_SUPERBLOCK_FLAGS;
  }
  if (!block_size_fits(superblock->block_size) || superblock->key_size == 0 || superblock->blocks < 2) {
    snprintf(text, size, "%" PRIu64 " blocks of %" PRIu32 " bytes, keys of %" PRIu32, superblock->blocks,
             superblock->block_size, superblock->key_size);
    return MIRAGE_SUPERBLOCK_SIZES;
  }
  return 0;
}
