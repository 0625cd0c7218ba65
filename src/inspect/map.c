/* Owns: which block is what: cells of blocks counted by kind and age.
 *
 * Always true: every block of the volume is counted once, in one cell, under one kind; an object's blocks are counted up
 * to the first that is taken already, so the whole costs a step a block of the device, whatever the image says; two bits a
 * block of the device.
 *
 * Order: superblocks and ring, then the newest tree and what its replay names, then what only the previous one has; what is left
 * is free.
 *
 * See: include/wodan/inspect.h; tests/unit/test_inspect.c. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include "format/blob.h"
#include "inspect/inspect_private.h"
#include "run/run.h"

struct map {
  struct wodan_inspect *inspect;
  struct wodan_map_cell *cells;
  uint64_t per_cell, blocks; /* of the volume */
  uint64_t there;            /* blocks of it that the device has; all others are lost */
  uint8_t *newest, *older;   /* a bit each of those */
  bool previous;             /* the tree being walked */
};

static uint64_t bits_size(const struct map *map) { return map->there / 8 + 1; }
static bool bit_get(const uint8_t *bits, uint64_t i) { return bits[i / 8] >> (i % 8) & 1; }
static void bit_set(uint8_t *bits, uint64_t i) { bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << (i % 8)); }

static void count(struct map *map, uint64_t block, uint32_t kind, uint64_t generation) {
  struct wodan_map_cell *cell = &map->cells[block / map->per_cell];
  cell->blocks[kind]++;
  if (!generation) return;
  if (generation > cell->newest) cell->newest = generation;
  if (!cell->oldest || generation < cell->oldest) cell->oldest = generation;
}

/* Of a large value, which several runs may name. */
static int take_large(void *context, const struct block_ptr *ptr, struct wodan_error *error) {
  struct map *map = context;
  uint8_t *own = map->previous ? map->older : map->newest;
  (void)error;
  for (uint32_t e = 0; e < ptr->extent_count; e++) {
    for (uint64_t i = 0; i < ptr->extents[e].count; i++) {
      uint64_t block = ptr->extents[e].first + i;
      if (block >= map->there) break; /* guard: bounds */
      if (bit_get(own, block)) continue;
      bit_set(own, block);
      if (map->previous && bit_get(map->newest, block)) continue;
      count(map, block, map->previous ? WODAN_MAP_PREVIOUS : WODAN_MAP_LARGE, ptr->generation);
    }
  }
  return 0;
}

/* The blocks of an object, up to the first that is taken. Returns it, or WODAN_NO_BLOCK. */
static uint64_t take(struct map *map, const struct wodan_object *object, uint32_t kind) {
  uint8_t *own = map->previous ? map->older : map->newest;
  for (uint32_t e = 0; e < object->extent_count; e++) {
    for (uint64_t i = 0; i < object->extents[e].count; i++) {
      uint64_t block = object->extents[e].first + i;
      /* Lost, or of an older root in a larger volume. */
      if (block >= map->there) break; /* guard: bounds */
      if (bit_get(own, block)) return block;
      bit_set(own, block);
      if (map->previous && bit_get(map->newest, block)) continue;
      count(map, block, kind, object->generation);
    }
  }
  return WODAN_NO_BLOCK;
}

static int take_object(void *context, const struct wodan_object *object, const struct block_ptr *ptr) {
  static const uint32_t KINDS[] = {
      [WODAN_OBJECT_NODE] = WODAN_MAP_NODE, [WODAN_OBJECT_LEAF] = WODAN_MAP_LEAF, [WODAN_OBJECT_RUN] = WODAN_MAP_RUN};
  struct map *map = context;
  uint64_t twice = take(map, object, map->previous ? WODAN_MAP_PREVIOUS : KINDS[object->kind]);
  if (twice != WODAN_NO_BLOCK)
    inspect_damage(map->inspect, twice, object->generation,
                   "%sblock %" PRIu64 " is owned twice, once by an object of generation %" PRIu64,
                   map->previous ? "previous root: " : "", twice, object->generation);
  if (object->kind == WODAN_OBJECT_NODE || !object->large || twice != WODAN_NO_BLOCK) return 0;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  if (run_read_blobs(&map->inspect->io, ptr, object->large, take_large, map, &failure) == 0) return 0;
  return inspect_failed(map->inspect, &failure, object->block, object->generation);
}

static int mark_ring(void *context, const struct wodan_journal_block *block) {
  struct map *map = context;
  if (block->block >= map->there || !(block->roles & WODAN_JOURNAL_LIVE) || bit_get(map->newest, block->block))
    return 0;
  bit_set(map->newest, block->block);
  return 0;
}

static int take_named(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  struct map *map = context;
  struct blob_ref ref;
  (void)block;
  if (record->kind != RECORD_BLOB) return 0;
  if (!blob_ref_decode(record->value.data, record->value.size, &map->inspect->io.bounds, &ref)) return 0;
  return take_large(map, &ref.ptr, error);
}

/* Large values that the replay on a root names: a mount of it claims them. A journal that cannot be read was told at open. */
static int take_journal(struct map *map, uint32_t which) {
  struct wodan_error failure;
  return inspect_replay(map->inspect, which, take_named, map, &failure) == WODAN_ENOMEM ? WODAN_ENOMEM : 0;
}

static int take_ring(struct map *map, struct wodan_error *error) {
  int status = wodan_inspect_journal(map->inspect, mark_ring, map, error);
  uint64_t end = map->inspect->io.bounds.data_first < map->there ? map->inspect->io.bounds.data_first : map->there;
  for (uint64_t i = 1; i < end && status == 0; i++) {
    count(map, i, bit_get(map->newest, i) ? WODAN_MAP_RING_LIVE : WODAN_MAP_RING, 0);
    bit_set(map->newest, i);
  }
  return status;
}

static void take_superblock(struct map *map, uint64_t block) {
  if (block >= map->there) return;
  count(map, block, WODAN_MAP_SUPERBLOCK, 0);
  bit_set(map->newest, block);
}

/* All blocks that the device has not, a step a cell. */
static void count_lost(struct map *map) {
  for (uint64_t at = map->there; at < map->blocks;) {
    uint64_t end = (at / map->per_cell + 1) * map->per_cell;
    if (end > map->blocks) end = map->blocks;
    map->cells[at / map->per_cell].blocks[WODAN_MAP_LOST] += end - at;
    at = end;
  }
}

static int take_tree(struct map *map, uint32_t which, struct wodan_error *error) {
  const struct inspect_walk walk = {
      .inspect = map->inspect, .object = take_object, .context = map, .tell_damage = true};
  int status = inspect_walk(&walk, which, error);
  if (status == 0 && take_journal(map, which) < 0) status = status_nomem(error);
  return status;
}

static int fill(struct map *map, struct wodan_error *error) {
  take_superblock(map, 0);
  take_superblock(map, map->blocks - 1);
  count_lost(map);
  int status = take_ring(map, error);
  if (status == 0) status = take_tree(map, WODAN_NEWEST_ROOT, error);
  map->previous = true;
  if (status == 0) status = take_tree(map, WODAN_OLDER_ROOT, error);
  for (uint64_t i = 0; i < map->there && status == 0; i++)
    if (!bit_get(map->newest, i) && !bit_get(map->older, i)) count(map, i, WODAN_MAP_FREE, 0);
  return status;
}

int wodan_inspect_map(struct wodan_inspect *inspect, struct wodan_map_cell *cells, size_t cell_count,
                      uint64_t *per_cell, struct wodan_error *error) {
  if (error) *error = (struct wodan_error){.block = WODAN_NO_BLOCK};
  if (!inspect || !cells || !cell_count || !per_cell)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "wodan_inspect_map: an argument is missing");
  struct map map = {.inspect = inspect, .cells = cells, .blocks = inspect->volume_blocks};
  map.there = map.blocks < inspect->device_blocks ? map.blocks : inspect->device_blocks;
  map.per_cell = map.blocks / cell_count + (map.blocks % cell_count != 0);
  assert(map.per_cell >= 1 && map.blocks > inspect->io.bounds.data_first);
  memset(cells, 0, cell_count * sizeof *cells);
  *per_cell = map.per_cell;
  map.newest = mem_zalloc(&inspect->mem, bits_size(&map));
  map.older = mem_zalloc(&inspect->mem, bits_size(&map));
  int status = map.newest && map.older ? fill(&map, error) : status_nomem(error);
  mem_free(&inspect->mem, map.newest, bits_size(&map));
  mem_free(&inspect->mem, map.older, bits_size(&map));
  return status;
}
