/* What: superblocks of any bytes. What is taken encodes to the same bytes, and its derived numbers can be. */
#include <string.h>
#include "format/superblock.h"
#include "support/volume.h"

const size_t fuzz_size_max = SUPERBLOCK_SIZE;
enum { CHECKSUM_AT = SUPERBLOCK_SIZE - 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct superblock sb;
  struct wodan_error error;
  uint8_t out[SUPERBLOCK_SIZE];
  if (size != SUPERBLOCK_SIZE) return 0;
  bool told = data[CHECKSUM_AT] % 8 == 0; /* the sentence costs more than everything else */
  if (superblock_decode(data, &sb, told ? &error : NULL) < 0) return 0;
  FUZZ_CHECK(superblock_ring_blocks(&sb) >= 8);
  FUZZ_CHECK(superblock_data_first(&sb) < sb.device_blocks - 1);
  superblock_encode(&sb, out);
  FUZZ_CHECK(memcmp(out, data, sizeof out) == 0);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  if (size == SUPERBLOCK_SIZE && seed % 4) /* the fields, at first; sometimes the rest */
    LLVMFuzzerMutate(data + 16, 100, 100);
  else
    size = LLVMFuzzerMutate(data, size, size_max);
  if (size < SUPERBLOCK_SIZE && size_max >= SUPERBLOCK_SIZE) {
    memset(data + size, 0, SUPERBLOCK_SIZE - size);
    size = SUPERBLOCK_SIZE;
  }
  if (size == SUPERBLOCK_SIZE && volume_repairs(seed / 4))
    store_u64(data + CHECKSUM_AT, checksum(0, data, CHECKSUM_AT));
  return size;
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) {
  static const struct superblock_wish wishes[] = {
      {.device_size = 32 << 10, .sector = 64},
      {.device_size = 1 << 20, .sector = 512, .page_size = 1024, .node_leaves = 4, .node_children = 4},
      {.device_size = 1ull << 30, .sector = 4096},
      {.device_size = 1ull << 50, .sector = 65536, .block_size = 1 << 20},
  };
  struct superblock sb;
  if (number >= sizeof wishes / sizeof wishes[0] || size_max < SUPERBLOCK_SIZE) return 0;
  FUZZ_CHECK(superblock_plan(&wishes[number], &sb, NULL) == 0);
  memcpy(sb.fsid, VOLUME_FSID, sizeof sb.fsid);
  superblock_encode(&sb, out);
  return SUPERBLOCK_SIZE;
}
