/* Bitmap: one bit a block, worked on by words, with a mark per region of BITMAP_REGION bits that was changed: so that what
 * looks at changes skips what did not. No locks. */
#ifndef SPACE_BITMAP_H
#define SPACE_BITMAP_H

#include "base/mem.h"

enum { BITMAP_REGION = 4096, BITMAP_REGION_WORDS = BITMAP_REGION / 64 };

struct bitmap {
  uint64_t size;  /* bits */
  uint64_t *bits; /* one allocation, which holds touched too */
  uint64_t *touched;
};

uint64_t bitmap_memory(uint64_t size);
/* All clear, nothing touched. False: no memory. */
bool bitmap_init(struct bitmap *map, struct mem *mem, uint64_t size);
void bitmap_release(struct bitmap *map, struct mem *mem);

static inline uint64_t bitmap_words(const struct bitmap *map) { return (map->size + 63) / 64; }
static inline uint64_t bitmap_regions(const struct bitmap *map) {
  return (map->size + BITMAP_REGION - 1) / BITMAP_REGION;
}

/* The bits of word w that lie in [first, end); the word holds at least one of them. */
static inline uint64_t bitmap_mask(uint64_t w, uint64_t first, uint64_t end) {
  uint64_t low = first > w * 64 ? first - w * 64 : 0, high = end < w * 64 + 64 ? end - w * 64 : 64;
  return (~0ull >> (64 - high)) & (~0ull << low);
}

/* Marks the regions of [first, end) touched; first < end. */
void bitmap_touch(struct bitmap *map, uint64_t first, uint64_t end);

/* Ranges of at least one bit inside the map. */
void bitmap_set(struct bitmap *map, uint64_t first, uint64_t end);
void bitmap_clear(struct bitmap *map, uint64_t first, uint64_t end);
/* The first bit of [from, end) that is set (clear), or end. */
uint64_t bitmap_next_set(const struct bitmap *map, uint64_t from, uint64_t end);
uint64_t bitmap_next_clear(const struct bitmap *map, uint64_t from, uint64_t end);

/* The next touched region at or after `region`, its mark taken away; or the number of regions. */
uint64_t bitmap_take_touched(struct bitmap *map, uint64_t region);
/* Clears the bits of a region and leaves its mark. */
void bitmap_empty_region(struct bitmap *map, uint64_t region);

#endif
