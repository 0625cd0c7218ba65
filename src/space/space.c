/* Owns: the state of every block of the data area, and where the next object goes.
 *
 * Always true:
 *  - used (the free map) holds every block that is not free, and those being discarded at the moment, which count as free
 *    nevertheless: what finds too little without them waits for them. now and old are disjoint subsets of used.
 *  - now: given up since the last durable checkpoint, so its root names them still. old: given up before that
 *    checkpoint, so only the previous root names them. Neither is allocated or discarded.
 *  - the counts equal the bits.
 *  - but for a checkpoint's root nothing takes the last `reserve` free blocks: else nothing could ever free the deferred.
 *
 * Placement: what is written together dies together, so each kind has a cursor, where its last object ended, and the
 * segment (1/64 of the data area) with a cursor in it is left to that cursor's kind. An object goes on at its cursor. Where
 * that is used, or another kind's segment, the cursor moves to the tightest of the next HOLES_TRIED holes that hold the object,
 * round the volume: freed places are filled before a long stretch is cut, which buffer runs need. Only when no such hole is left
 * are the other kinds' segments used, and only when no hole holds the object whole is it cut over the longest stretches.
 * While more than 1/ROOM of LARGE blocks and more are free only holes within 1/REACH of the volume are looked at: else the few
 * holes between what stays would be filled again and again, and the cursor would not move on round the device.
 *
 * Order: space_checkpoint_durable is called only after the flush behind the checkpoint record returned; then old
 * becomes free and now becomes old, so a block freed by a checkpoint survives one more of them.
 *
 * See: FORMAT.md "Space", free_map.h, discard.h, tests/unit/test_space.c, bench/micro_space.c. */
#include "space/space.h"

#include <assert.h>
#include <string.h>
#include "space/space_private.h"

enum { SEGMENTS = 64, HOLES_TRIED = 32, REACH = 8, ROOM = 4, LARGE = 2048 };

uint64_t space_memory(uint64_t blocks) {
  return sizeof(struct space) + free_map_memory(blocks) + 2 * bitmap_memory(blocks);
}

struct space *space_create(struct mem *mem, uint64_t first, uint64_t end) {
  assert(first <= end);
  struct space *space = mem_zalloc(mem, sizeof *space);
  if (!space) return NULL;
  uint64_t size = end - first;
  space->mem = mem;
  space->first = first;
  space->end = end;
  space->segment = size / SEGMENTS;
  space->free = size;
  bool map = free_map_init(&space->map, mem, size);
  bool now = map && bitmap_init(&space->now, mem, size);
  bool old = now && bitmap_init(&space->old, mem, size);
  bool locks = old && lock_init(&space->lock) == 0;
  if (locks && condition_init(&space->discarded) == 0) return space;
  if (locks) lock_release(&space->lock);
  if (old) bitmap_release(&space->old, mem);
  if (now) bitmap_release(&space->now, mem);
  if (map) free_map_release(&space->map, mem);
  mem_free(mem, space, sizeof *space);
  return NULL;
}

void space_free(struct space *space) {
  if (!space) return;
  discards_release(space);
  condition_release(&space->discarded);
  lock_release(&space->lock);
  bitmap_release(&space->old, space->mem);
  bitmap_release(&space->now, space->mem);
  free_map_release(&space->map, space->mem);
  mem_free(space->mem, space, sizeof *space);
}

static bool inside(const struct space *space, const struct extent *extent) {
  return extent->first >= space->first && extent->first < space->end &&
         extent->count <= space->end - extent->first; /* guard: bounds */
}

/* ---- mount ---------------------------------------------------------------------------------------------------------- */

/* Caller holds the lock. */
static int claim(struct space *space, const struct extent *extent, struct wodan_error *error) {
  if (!inside(space, extent))
    return status_corrupt(error, extent->first, "an extent of %llu blocks lies outside the data area",
                          (unsigned long long)extent->count); /* guard: bounds */
  if (!extent->count) return 0;
  uint64_t first = extent->first - space->first, end = first + extent->count;
  uint64_t owned = bitmap_next_set(&space->map.used, first, end);
  if (owned < end) return status_corrupt(error, space->first + owned, "the block is owned twice"); /* guard: bounds */
  free_map_take(&space->map, first, end);
  space->free -= extent->count;
  return 0;
}

int space_claim(struct space *space, const struct extent *extents, uint32_t count, struct wodan_error *error) {
  int status = 0;
  lock_acquire(&space->lock);
  for (uint32_t e = 0; e < count && !status; e++) status = claim(space, &extents[e], error);
  lock_leave(&space->lock);
  return status;
}

bool space_claim_previous(struct space *space, const struct extent *extents, uint32_t count) {
  bool all_inside = true;
  lock_acquire(&space->lock);
  for (uint32_t e = 0; e < count; e++) {
    if (!inside(space, &extents[e])) {
      all_inside = false;
      continue;
    }
    uint64_t at = extents[e].first - space->first, end = at + extents[e].count;
    while ((at = bitmap_next_clear(&space->map.used, at, end)) < end) {
      uint64_t stop = bitmap_next_set(&space->map.used, at, end);
      free_map_take(&space->map, at, stop);
      bitmap_set(&space->old, at, stop);
      space->free -= stop - at;
      space->deferred += stop - at;
      at = stop;
    }
  }
  lock_leave(&space->lock);
  return all_inside;
}

void space_mounted(struct space *space, uint64_t generation) {
  lock_acquire(&space->lock);
  space->generation = generation;
  lock_leave(&space->lock);
}

/* ---- allocation ------------------------------------------------------------------------------------------------------ */

/* Whether [at, end) touches a segment that another kind's cursor is in; *behind is then where that one ends. */
static bool in_others_segment(const struct space *space, enum space_kind kind, uint64_t at, uint64_t end,
                              uint64_t *behind) {
  if (!space->segment) return false;
  for (int k = 0; k < SPACE_KINDS; k++) {
    if (k == (int)kind || !space->cursors[k].set) continue;
    uint64_t segment = space->cursors[k].at / space->segment * space->segment;
    if (at >= segment + space->segment || end <= segment) continue;
    *behind = segment + space->segment;
    return true;
  }
  return false;
}

/* The first `blocks` free blocks in a row at or behind `from`, when `apart` outside the segments of other kinds. */
static bool next_place(struct space *space, enum space_kind kind, bool apart, uint64_t from, uint64_t blocks,
                       uint64_t *at) {
  while (free_map_next(&space->map, from, blocks, at))
    if (!apart || !in_others_segment(space, kind, *at, *at + blocks, &from)) return true;
  return false;
}

/* A place for the whole object: at the cursor, else in the tightest of the next holes. */
static bool find_hole(struct space *space, enum space_kind kind, bool apart, uint64_t blocks, uint64_t *place) {
  uint64_t cursor = space->cursors[kind].at, from = cursor, at, tightest = UINT64_MAX;
  uint64_t size = space->end - space->first, reach = size;
  bool wrapped = false;
  if (size >= LARGE && space->free > size / ROOM) reach = size / REACH;
  for (int tried = 0; tried < HOLES_TRIED && tightest > blocks; tried++) {
    if (!next_place(space, kind, apart, from, blocks, &at)) {
      if (wrapped || !next_place(space, kind, apart, 0, blocks, &at)) break;
      wrapped = true;
    }
    uint64_t way = at >= cursor && !wrapped ? at - cursor : size - cursor + at;
    if (way >= reach && tightest < UINT64_MAX) break;
    uint64_t end = free_map_end(&space->map, at);
    if (end - at < tightest || at == cursor) {
      tightest = at == cursor ? blocks : end - at;
      *place = at;
    }
    from = end;
  }
  return tightest < UINT64_MAX;
}

static bool find_contiguous(struct space *space, enum space_kind kind, uint64_t blocks, uint64_t *place) {
  if (blocks > free_map_longest(&space->map)) return false;
  return find_hole(space, kind, true, blocks, place) || find_hole(space, kind, false, blocks, place);
}

/* Where one object of so many blocks can go; found has one place more than an object may use. */
static bool find(struct space *space, enum space_kind kind, uint64_t blocks, struct extent *found, uint32_t *count) {
  *count = 1;
  if (blocks > space->free) return false;
  found[0].count = blocks;
  if (find_contiguous(space, kind, blocks, &found[0].first)) return true;
  uint32_t n = free_map_largest(&space->map, found);
  uint64_t covered = 0;
  for (uint32_t e = 0; e < n && covered < blocks; e++) {
    if (found[e].count > blocks - covered) found[e].count = blocks - covered;
    covered += found[e].count;
    *count = e + 1;
  }
  return covered == blocks;
}

static bool reaches(struct space *space, uint64_t blocks) {
  if (blocks > space->free) return false;
  if (blocks <= free_map_longest(&space->map)) return true;
  struct extent largest[BLOCK_PTR_EXTENTS_MAX + 1];
  uint64_t sum = 0;
  for (uint32_t n = free_map_largest(&space->map, largest), e = 0; e < n; e++) sum += largest[e].count;
  return sum >= blocks;
}

static void take(struct space *space, const struct extent *found, uint32_t count) {
  for (uint32_t e = 0; e < count; e++) free_map_take(&space->map, found[e].first, found[e].first + found[e].count);
}

static void give(struct space *space, const struct extent *found, uint32_t count) {
  for (uint32_t e = 0; e < count; e++) free_map_give(&space->map, found[e].first, found[e].first + found[e].count);
}

/* Free blocks that stay for others: how many in all, and the largest object that could still be placed. */
struct kept {
  uint64_t blocks, object;
};

/* Takes what find has found, unless too little would be left. */
static bool find_and_take(struct space *space, enum space_kind kind, uint64_t blocks, struct kept kept,
                          struct extent *found, uint32_t *count) {
  if (!find(space, kind, blocks, found, count)) return false;
  take(space, found, *count);
  space->free -= blocks;
  if (space->free >= kept.blocks && reaches(space, kept.object)) return true;
  give(space, found, *count);
  space->free += blocks;
  return false;
}

static int allocate(struct space *space, enum space_kind kind, uint64_t blocks, struct kept kept,
                    struct extent *extents, uint32_t *count, struct wodan_error *error) {
  assert(blocks > 0);
  struct extent found[BLOCK_PTR_EXTENTS_MAX + 1];
  bool ok;
  do ok = find_and_take(space, kind, blocks, kept, found, count);
  while (!ok && discards_wait(space));
  if (!ok)
    return status_set(error, WODAN_ENOSPC, 0, WODAN_NO_BLOCK,
                      "no room for %llu blocks: %llu are free and %llu wait for the next checkpoints",
                      (unsigned long long)blocks, (unsigned long long)space->free, (unsigned long long)space->deferred);
  for (uint32_t e = 0; e < *count; e++) {
    extents[e] = (struct extent){.first = space->first + found[e].first, .count = found[e].count};
    discards_taken(space, found[e].first, found[e].first + found[e].count);
  }
  const struct extent *last = &found[*count - 1];
  space->cursors[kind] = (struct cursor){(last->first + last->count) % (space->end - space->first), true};
  space->reached = 0;
  return 0;
}

int space_allocate_sparing(struct space *space, enum space_kind kind, uint64_t blocks, uint64_t spare,
                           struct extent *extents, uint32_t *count, struct wodan_error *error) {
  lock_acquire(&space->lock);
  uint64_t promise = spare ? space->promise : 0, object = spare ? space->promise_object : 0;
  struct kept kept = {.blocks = space->reserve + spare + promise,
                      .object = space->reserve_object + (spare > object ? spare : object)};
  int status = allocate(space, kind, blocks, kept, extents, count, error);
  lock_leave(&space->lock);
  return status;
}

int space_allocate_reserved(struct space *space, enum space_kind kind, uint64_t blocks, struct extent *extents,
                            uint32_t *count, struct wodan_error *error) {
  lock_acquire(&space->lock);
  int status = allocate(space, kind, blocks, (struct kept){0}, extents, count, error);
  lock_leave(&space->lock);
  return status;
}

/* So many blocks are free behind the reserve, and one object of `object` of them can be placed. Lock held. */
static bool reaches_all(struct space *space, uint64_t blocks, uint64_t object) {
  uint64_t wanted = object + space->reserve_object;
  if (blocks + space->reserve > space->free) return false;
  bool ok;
  do ok = wanted <= space->reached || reaches(space, wanted);
  while (!ok && discards_wait(space));
  if (ok && wanted > space->reached) space->reached = wanted;
  return ok;
}

bool space_reaches(struct space *space, uint64_t blocks) {
  lock_acquire(&space->lock);
  bool ok =
      reaches_all(space, blocks + space->promise, blocks > space->promise_object ? blocks : space->promise_object);
  lock_leave(&space->lock);
  return ok;
}

bool space_promise(struct space *space, uint64_t blocks, uint64_t object, uint64_t spare) {
  lock_acquire(&space->lock);
  if (object > blocks) object = blocks;
  bool ok = reaches_all(space, blocks + spare, object > spare ? object : spare);
  if (ok || blocks < space->promise) {
    space->promise = blocks;
    space->promise_object = object;
  }
  lock_leave(&space->lock);
  return ok;
}

void space_set_reserve(struct space *space, uint64_t blocks, uint64_t object) {
  lock_acquire(&space->lock);
  space->reserve = blocks;
  space->reserve_object = object;
  lock_leave(&space->lock);
}

/* ---- giving back ----------------------------------------------------------------------------------------------------- */

/* Every block of the extent is used and none deferred. */
static void assert_live(const struct space *space, const struct extent *extent) {
  assert(inside(space, extent) && extent->count);
  uint64_t first = extent->first - space->first, end = first + extent->count;
  assert(bitmap_next_clear(&space->map.used, first, end) == end);
  assert(bitmap_next_set(&space->now, first, end) == end);
  assert(bitmap_next_set(&space->old, first, end) == end);
  (void)first;
  (void)end;
}

/* Blocks [first, end) are free from now on. Caller holds the lock. */
static void freed(struct space *space, uint64_t first, uint64_t end) {
  free_map_give(&space->map, first, end);
  space->free += end - first;
  discards_freed(space, first, end);
}

/* Caller holds the lock. */
static void free_extents(struct space *space, const struct extent *extents, uint32_t count) {
  for (uint32_t e = 0; e < count; e++) {
    assert_live(space, &extents[e]);
    uint64_t first = extents[e].first - space->first, end = first + extents[e].count;
    freed(space, first, end);
  }
}

void space_release(struct space *space, const struct extent *extents, uint32_t count) {
  lock_acquire(&space->lock);
  free_extents(space, extents, count);
  lock_leave(&space->lock);
}

void space_defer(struct space *space, const struct extent *extents, uint32_t count, uint64_t generation) {
  lock_acquire(&space->lock);
  if (generation > space->generation) {
    free_extents(space, extents, count);
  } else {
    for (uint32_t e = 0; e < count; e++) {
      assert_live(space, &extents[e]);
      uint64_t first = extents[e].first - space->first, end = first + extents[e].count;
      bitmap_set(&space->now, first, end);
      space->deferred += extents[e].count;
    }
  }
  lock_leave(&space->lock);
}

/* Caller holds the lock: every block of `map`, which holds none afterwards, becomes free. */
static void free_bitmap(struct space *space, struct bitmap *map) {
  uint64_t regions = bitmap_regions(map);
  for (uint64_t r = bitmap_take_touched(map, 0); r < regions; r = bitmap_take_touched(map, r + 1)) {
    uint64_t base = r * BITMAP_REGION, end = map->size - base < BITMAP_REGION ? map->size : base + BITMAP_REGION;
    for (uint64_t at = bitmap_next_set(map, base, end), stop; at < end; at = bitmap_next_set(map, stop, end)) {
      stop = bitmap_next_clear(map, at, end);
      freed(space, at, stop);
      space->deferred -= stop - at;
    }
    bitmap_empty_region(map, r);
  }
}

void space_checkpoint_durable(struct space *space, uint64_t generation) {
  lock_acquire(&space->lock);
  assert(generation >= space->generation);
  space->generation = generation;
  free_bitmap(space, &space->old);
  struct bitmap swap = space->old;
  space->old = space->now;
  space->now = swap;
  lock_leave(&space->lock);
}

struct space_counts space_counts(struct space *space) {
  lock_acquire(&space->lock);
  struct space_counts counts = {.total = space->end - space->first, .free = space->free, .deferred = space->deferred};
  lock_leave(&space->lock);
  return counts;
}
