/* Free map: which blocks are taken, and a summary of the free stretches, so that a search costs the logarithm of the
 * volume and not its length. Blocks are counted from the start of the data area. Private to src/space. No locks. */
#ifndef SPACE_FREE_MAP_H
#define SPACE_FREE_MAP_H

#include "format/block_ptr.h"
#include "space/bitmap.h"

/* Of a range of blocks: free blocks at its start, at its end, and the longest free stretch inside. */
struct stretches {
  uint64_t prefix, suffix, longest;
};

struct free_map {
  struct bitmap used;     /* touched: its region's summary is stale */
  bool stale;             /* some region is */
  uint64_t leaves;        /* of the tree: a power of two, at least the number of regions */
  struct stretches *tree; /* 1 is the root, the children of i are 2i and 2i + 1, leaf r is leaves + r */
};

uint64_t free_map_memory(uint64_t size);
/* All free. False: no memory. */
bool free_map_init(struct free_map *map, struct mem *mem, uint64_t size);
void free_map_release(struct free_map *map, struct mem *mem);

void free_map_take(struct free_map *map, uint64_t first, uint64_t end);
void free_map_give(struct free_map *map, uint64_t first, uint64_t end);

/* Length of the longest free stretch. */
uint64_t free_map_longest(struct free_map *map);
/* The first place at or behind `from` where `blocks` (at least one) are free; false: none before the end. */
bool free_map_next(struct free_map *map, uint64_t from, uint64_t blocks, uint64_t *place);
/* Where the free stretch that holds `block` ends. */
uint64_t free_map_end(struct free_map *map, uint64_t block);
/* The longest free stretches, at most BLOCK_PTR_EXTENTS_MAX, by falling length. Returns how many. */
uint32_t free_map_largest(struct free_map *map, struct extent *extents);

#endif
