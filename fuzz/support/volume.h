/* The volume that the targets of single structures decode for: its bounds, its fsid, and the seed of its checksums. */
#ifndef FUZZ_SUPPORT_VOLUME_H
#define FUZZ_SUPPORT_VOLUME_H

#include "codec/checksum.h"
#include "format/block_ptr.h"
#include "fuzz.h"

static const uint8_t VOLUME_FSID[16] = "a fuzzed volume";
static const struct volume_bounds VOLUME = {.block_size = 512, .data_first = 9, .data_end = 1023};

static inline uint64_t volume_seed(void) {
  static uint64_t seed;
  if (!seed) seed = checksum_seed(VOLUME_FSID);
  return seed;
}

/* Once in sixteen times a mutator leaves the checksum wrong. */
static inline bool volume_repairs(unsigned seed) { return seed % 16 != 0; }

/* Pointers to make seeds of: the null pointer, and such with 1, 3 and 16 extents. */
static inline struct block_ptr volume_pointer(unsigned number) {
  static const uint32_t extents[] = {0, 1, 3, BLOCK_PTR_EXTENTS_MAX};
  struct block_ptr ptr = {0};
  number %= 4;
  if (number == 0) return ptr;
  ptr = (struct block_ptr){.generation = 100u * number, .checksum = 0x0123456789abcdefu, .header_length = 200};
  ptr.extent_count = extents[number];
  for (uint32_t i = 0; i < ptr.extent_count; i++)
    ptr.extents[i] = (struct extent){.first = VOLUME.data_first + 20u * i, .count = 1 + i};
  ptr.length = block_ptr_blocks(&ptr) * VOLUME.block_size - number;
  return ptr;
}

#endif
