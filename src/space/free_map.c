/* Owns: the used bit of every block of the data area, and a binary tree over regions of BITMAP_REGION blocks that tells
 * for every subtree how many blocks are free at its start, at its end, and at most in one stretch.
 *
 * Always true:
 *  - the summary of a region that is not touched, and of every subtree without a touched region, equals its bits.
 *  - blocks past the end of the data area count as used.
 *
 * Order: taking and giving only touch regions (a mount claims millions of extents); a search first brings the summary of
 * touched regions up to date, then walks down only where a stretch long enough starts, ends or lies.
 *
 * See: space.c, the policy above; tests/unit/test_space.c; bench/micro_space.c. */
#include "space/free_map.h"

#include <assert.h>
#include <string.h>

static uint64_t leaves_of(uint64_t size) {
  uint64_t leaves = 1;
  while (leaves * BITMAP_REGION < size) leaves *= 2;
  return leaves;
}

uint64_t free_map_memory(uint64_t size) { return bitmap_memory(size) + 2 * leaves_of(size) * sizeof(struct stretches); }

bool free_map_init(struct free_map *map, struct mem *mem, uint64_t size) {
  if (!bitmap_init(&map->used, mem, size)) return false;
  map->leaves = leaves_of(size);
  map->tree = mem_array(mem, 2 * map->leaves, sizeof *map->tree);
  if (!map->tree) {
    bitmap_release(&map->used, mem);
    return false;
  }
  memset(map->tree, 0, (size_t)(2 * map->leaves) * sizeof *map->tree);
  if (size) bitmap_touch(&map->used, 0, size);
  map->stale = size > 0;
  return true;
}

void free_map_release(struct free_map *map, struct mem *mem) {
  bitmap_release(&map->used, mem);
  mem_array_free(mem, map->tree, 2 * map->leaves, sizeof *map->tree);
}

void free_map_take(struct free_map *map, uint64_t first, uint64_t end) {
  bitmap_set(&map->used, first, end);
  map->stale = true;
}

void free_map_give(struct free_map *map, uint64_t first, uint64_t end) {
  bitmap_clear(&map->used, first, end);
  map->stale = true;
}

/* ---- the summary --------------------------------------------------------------------------------------------------- */

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

static struct stretches summary_of_region(const struct free_map *map, uint64_t region) {
  uint64_t start = region * BITMAP_REGION, end = least(start + BITMAP_REGION, map->used.size);
  struct stretches sum = {0};
  uint64_t length = 0;
  for (uint64_t at = bitmap_next_clear(&map->used, start, end); at < end;
       at = bitmap_next_clear(&map->used, at + length, end)) {
    length = bitmap_next_set(&map->used, at, end) - at;
    if (at == start) sum.prefix = length;
    if (at + length == start + BITMAP_REGION) sum.suffix = length;
    sum.longest = most(sum.longest, length);
  }
  return sum;
}

/* Of two neighbours of `span` blocks each. */
static struct stretches joined(const struct stretches *a, const struct stretches *b, uint64_t span) {
  return (struct stretches){.prefix = a->prefix == span ? span + b->prefix : a->prefix,
                            .suffix = b->suffix == span ? span + a->suffix : b->suffix,
                            .longest = most(most(a->longest, b->longest), a->suffix + b->prefix)};
}

static void refresh(struct free_map *map) {
  if (!map->stale) return;
  uint64_t regions = bitmap_regions(&map->used);
  for (uint64_t r = bitmap_take_touched(&map->used, 0); r < regions; r = bitmap_take_touched(&map->used, r + 1)) {
    uint64_t node = map->leaves + r, span = BITMAP_REGION;
    map->tree[node] = summary_of_region(map, r);
    for (node /= 2; node; node /= 2, span *= 2)
      map->tree[node] = joined(&map->tree[2 * node], &map->tree[2 * node + 1], span);
  }
  map->stale = false;
}

uint64_t free_map_longest(struct free_map *map) {
  refresh(map);
  return map->tree[1].longest;
}

uint64_t free_map_end(struct free_map *map, uint64_t block) {
  refresh(map);
  uint64_t size = map->used.size;
  while (block < size) {
    uint64_t region = block / BITMAP_REGION, base = region * BITMAP_REGION, end = least(base + BITMAP_REGION, size);
    if (block > base || map->tree[map->leaves + region].prefix < BITMAP_REGION) {
      block = bitmap_next_set(&map->used, block, end);
      if (block < end) return block;
    }
    block = end;
  }
  return size;
}

/* ---- searches: walks of the tree from left to right ----------------------------------------------------------------- */

/* A walk; carry is the length of the free stretch that ends where the part walked so far does. */
struct walk {
  const struct free_map *map;
  uint64_t from; /* what lies before it does not count */
  uint64_t carry;
  uint64_t blocks, place; /* first fit: wanted, found */
  struct extent *largest; /* the largest so far, by falling length */
  uint32_t count;
};

/* A subtree in which nothing is looked for. */
static void pass(struct walk *walk, const struct stretches *sum, uint64_t span) {
  walk->carry = sum->prefix == span ? walk->carry + span : sum->suffix;
}

/* The bits of a region; true: found. */
static bool first_fit_region(struct walk *walk, uint64_t base) {
  const struct bitmap *used = &walk->map->used;
  uint64_t end = least(base + BITMAP_REGION, used->size), at = most(base, walk->from);
  while (at < end) {
    uint64_t start = bitmap_next_clear(used, at, end);
    if (start > at) walk->carry = 0;
    at = bitmap_next_set(used, start, least(end, start + walk->blocks));
    walk->carry += at - start;
    if (walk->carry < walk->blocks) continue;
    walk->place = at - walk->carry;
    return true;
  }
  return false;
}

static bool first_fit(struct walk *walk, uint64_t node, uint64_t base, uint64_t span) {
  const struct stretches *sum = &walk->map->tree[node];
  if (base + span <= walk->from) return false;
  if (base >= walk->from) {
    if (walk->carry + sum->prefix >= walk->blocks) {
      walk->place = base - walk->carry;
      return true;
    }
    if (sum->longest < walk->blocks) {
      pass(walk, sum, span);
      return false;
    }
  }
  if (node >= walk->map->leaves) return first_fit_region(walk, base);
  return first_fit(walk, 2 * node, base, span / 2) || first_fit(walk, 2 * node + 1, base + span / 2, span / 2);
}

bool free_map_next(struct free_map *map, uint64_t from, uint64_t blocks, uint64_t *place) {
  assert(blocks > 0);
  refresh(map);
  struct walk walk = {.map = map, .from = from, .blocks = blocks};
  if (!first_fit(&walk, 1, 0, map->leaves * BITMAP_REGION)) return false;
  *place = walk.place;
  return true;
}

/* The shortest stretch that is kept by now. */
static uint64_t bar(const struct walk *walk) {
  return walk->count == BLOCK_PTR_EXTENTS_MAX ? walk->largest[walk->count - 1].count : 0;
}

/* The stretch that ends at `end`. */
static void offer(struct walk *walk, uint64_t end) {
  uint64_t length = walk->carry;
  walk->carry = 0;
  if (length <= bar(walk)) return;
  uint32_t at = walk->count;
  while (at > 0 && walk->largest[at - 1].count < length) at--;
  uint32_t kept = walk->count < BLOCK_PTR_EXTENTS_MAX ? walk->count : BLOCK_PTR_EXTENTS_MAX - 1;
  memmove(&walk->largest[at + 1], &walk->largest[at], (kept - at) * sizeof *walk->largest);
  walk->largest[at] = (struct extent){.first = end - length, .count = length};
  walk->count = kept + 1;
}

static void largest(struct walk *walk, uint64_t node, uint64_t base, uint64_t span) {
  const struct stretches *sum = &walk->map->tree[node];
  if (sum->prefix == span) {
    walk->carry += span;
    return;
  }
  if (sum->longest <= bar(walk)) {
    walk->carry += sum->prefix;
    offer(walk, base + sum->prefix);
    walk->carry = sum->suffix;
    return;
  }
  if (node < walk->map->leaves) {
    largest(walk, 2 * node, base, span / 2);
    largest(walk, 2 * node + 1, base + span / 2, span / 2);
    return;
  }
  const struct bitmap *used = &walk->map->used;
  uint64_t end = least(base + span, used->size);
  for (uint64_t at = base; at < end;) {
    uint64_t stop = bitmap_next_set(used, at, end);
    walk->carry += stop - at;
    if (stop < base + span) offer(walk, stop);
    at = bitmap_next_clear(used, stop, end);
  }
}

uint32_t free_map_largest(struct free_map *map, struct extent *extents) {
  refresh(map);
  struct walk walk = {.map = map, .largest = extents};
  largest(&walk, 1, 0, map->leaves * BITMAP_REGION);
  offer(&walk, map->used.size);
  return walk.count;
}
