/* Owns: sets of blocks as bits, and which regions of them were changed.
 *
 * Always true:
 *  - a region with a bit that changed since its mark was taken away is marked; others may be too.
 *  - bits past `size` in the last word are zero.
 *
 * Order: none.
 *
 * See: space.c and free_map.c, which own the bitmaps; tests/unit/test_space.c. */
#include "space/bitmap.h"

#include <assert.h>
#include <string.h>

static uint64_t words_of(uint64_t size) { return (size + 63) / 64; }

static uint64_t regions_of(uint64_t size) { return (size + BITMAP_REGION - 1) / BITMAP_REGION; }

static uint64_t all_words(uint64_t size) { return words_of(size) + words_of(regions_of(size)); }

uint64_t bitmap_memory(uint64_t size) { return 8 * all_words(size); }

bool bitmap_init(struct bitmap *map, struct mem *mem, uint64_t size) {
  map->size = size;
  map->bits = mem_array(mem, all_words(size), 8);
  if (!map->bits) return false;
  memset(map->bits, 0, (size_t)bitmap_memory(size));
  map->touched = map->bits + words_of(size);
  return true;
}

void bitmap_release(struct bitmap *map, struct mem *mem) { mem_array_free(mem, map->bits, all_words(map->size), 8); }

void bitmap_touch(struct bitmap *map, uint64_t first, uint64_t end) {
  assert(first < end && end <= map->size);
  for (uint64_t r = first / BITMAP_REGION; r <= (end - 1) / BITMAP_REGION; r++)
    map->touched[r / 64] |= 1ull << (r % 64);
}

void bitmap_set(struct bitmap *map, uint64_t first, uint64_t end) {
  bitmap_touch(map, first, end);
  for (uint64_t w = first / 64; w * 64 < end; w++) map->bits[w] |= bitmap_mask(w, first, end);
}

void bitmap_clear(struct bitmap *map, uint64_t first, uint64_t end) {
  bitmap_touch(map, first, end);
  for (uint64_t w = first / 64; w * 64 < end; w++) map->bits[w] &= ~bitmap_mask(w, first, end);
}

/* The first bit of [from, end) that differs from those of `skip` (all ones or all zeros). */
static uint64_t next_other(const struct bitmap *map, uint64_t from, uint64_t end, uint64_t skip) {
  while (from < end) {
    uint64_t word = (map->bits[from / 64] ^ skip) >> (from % 64);
    if (word) {
      from += (uint64_t)__builtin_ctzll(word);
      return from < end ? from : end;
    }
    from += 64 - from % 64;
  }
  return end;
}

uint64_t bitmap_next_set(const struct bitmap *map, uint64_t from, uint64_t end) {
  assert(end <= map->size);
  return next_other(map, from, end, 0);
}

uint64_t bitmap_next_clear(const struct bitmap *map, uint64_t from, uint64_t end) {
  assert(end <= map->size);
  return next_other(map, from, end, ~0ull);
}

uint64_t bitmap_take_touched(struct bitmap *map, uint64_t region) {
  uint64_t regions = bitmap_regions(map);
  while (region < regions) {
    uint64_t word = map->touched[region / 64] >> (region % 64);
    if (word) {
      region += (uint64_t)__builtin_ctzll(word);
      map->touched[region / 64] &= ~(1ull << (region % 64));
      return region;
    }
    region += 64 - region % 64;
  }
  return regions;
}

void bitmap_empty_region(struct bitmap *map, uint64_t region) {
  uint64_t first = region * BITMAP_REGION_WORDS, words = words_of(map->size) - first;
  memset(map->bits + first, 0, 8 * (size_t)(words < BITMAP_REGION_WORDS ? words : BITMAP_REGION_WORDS));
}
