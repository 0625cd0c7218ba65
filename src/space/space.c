/* Owns: the state of every block of the data area.
 *
 * Always true:
 *  - used holds every block that is not free; now and old are disjoint subsets of used.
 *  - now: given up since the last durable checkpoint, so its root names them still. old: given up before that
 *    checkpoint, so only the previous root names them. Neither is allocated or discarded.
 *  - the counts equal the bits.
 *  - but for a checkpoint's root nothing takes the last `reserve` free blocks: else nothing could ever free the deferred.
 *
 * Order: space_checkpoint_durable is called only after the flush behind the checkpoint record returned; then old
 * becomes free and now becomes old, so a block freed by a checkpoint survives one more of them.
 *
 * See: FORMAT.md "Space", tests/unit/test_space.c. */
#include "space/space.h"

#include <assert.h>
#include <string.h>
#include "base/thread.h"

struct space {
  struct mem *mem;
  struct lock lock;
  uint64_t first, end;        /* data area, blocks */
  uint64_t words;             /* of each bitmap */
  uint64_t *used, *now, *old; /* one allocation, which starts at used */
  uint64_t cursor;            /* next-fit: bit index where the next search starts */
  uint64_t free, deferred;
  uint64_t reserve;    /* free blocks that only a checkpoint's root may take */
  uint64_t reached;    /* one object could take so many, as far as was asked since the last allocation */
  uint64_t generation; /* of the last durable checkpoint */
};

static uint64_t word_count(uint64_t blocks) { return (blocks + 63) / 64; }

uint64_t space_memory(uint64_t blocks) { return sizeof(struct space) + 3 * 8 * word_count(blocks); }

struct space *space_create(struct mem *mem, uint64_t first, uint64_t end) {
  assert(first <= end);
  struct space *space = mem_zalloc(mem, sizeof *space);
  if (!space) return NULL;
  space->mem = mem;
  space->first = first;
  space->end = end;
  space->words = word_count(end - first);
  space->free = end - first;
  space->used = mem_array(mem, 3 * space->words, 8);
  if (!space->used || lock_init(&space->lock)) {
    mem_array_free(mem, space->used, 3 * space->words, 8);
    mem_free(mem, space, sizeof *space);
    return NULL;
  }
  memset(space->used, 0, 3 * space->words * 8);
  space->now = space->used + space->words;
  space->old = space->now + space->words;
  return space;
}

void space_free(struct space *space) {
  if (!space) return;
  lock_release(&space->lock);
  mem_array_free(space->mem, space->used, 3 * space->words, 8);
  mem_free(space->mem, space, sizeof *space);
}

static bool bit(const uint64_t *map, uint64_t i) { return map[i / 64] >> (i % 64) & 1; }
static void bit_set(uint64_t *map, uint64_t i) { map[i / 64] |= 1ull << (i % 64); }
static void bit_clear(uint64_t *map, uint64_t i) { map[i / 64] &= ~(1ull << (i % 64)); }

static bool inside(const struct space *space, const struct extent *extent) {
  return extent->first >= space->first && extent->first < space->end && extent->count <= space->end - extent->first;
}

int space_claim(struct space *space, const struct extent *extents, uint32_t count, struct wodan_error *error) {
  int status = 0;
  lock_acquire(&space->lock);
  for (uint32_t e = 0; e < count && !status; e++) {
    if (!inside(space, &extents[e])) {
      status = status_corrupt(error, extents[e].first, "an extent of %llu blocks lies outside the data area",
                              (unsigned long long)extents[e].count);
      break;
    }
    for (uint64_t i = extents[e].first - space->first, n = extents[e].count; n; i++, n--) {
      if (bit(space->used, i)) {
        status = status_corrupt(error, space->first + i, "the block is owned twice");
        break;
      }
      bit_set(space->used, i);
      space->free--;
    }
  }
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
    for (uint64_t i = extents[e].first - space->first, n = extents[e].count; n; i++, n--) {
      if (bit(space->used, i)) continue;
      bit_set(space->used, i);
      bit_set(space->old, i);
      space->free--;
      space->deferred++;
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

/* Length of the free stretch that starts at bit i, at most `limit`. */
static uint64_t free_stretch(const struct space *space, uint64_t i, uint64_t limit) {
  uint64_t start = i;
  while (i - start < limit) {
    uint64_t word = space->used[i / 64] >> (i % 64);
    uint64_t left = 64 - i % 64;
    if (word) {
      uint64_t zeros = (uint64_t)__builtin_ctzll(word);
      i += zeros < left ? zeros : left;
      break;
    }
    i += left;
  }
  return i - start < limit ? i - start : limit;
}

/* The first free bit at or after i, or `to` when there is none before it. */
static uint64_t next_free(const struct space *space, uint64_t i, uint64_t to) {
  while (i < to) {
    uint64_t word = ~space->used[i / 64] >> (i % 64);
    if (word) {
      i += (uint64_t)__builtin_ctzll(word);
      return i < to ? i : to;
    }
    i += 64 - i % 64;
  }
  return to;
}

/* One stretch of `blocks` free bits that starts in [from, to) and ends by `size`; false when there is none. */
static bool find_contiguous(const struct space *space, uint64_t from, uint64_t to, uint64_t size, uint64_t blocks,
                            uint64_t *found) {
  for (uint64_t i = next_free(space, from, to); i < to; i = next_free(space, i, to)) {
    uint64_t limit = blocks < size - i ? blocks : size - i;
    uint64_t length = free_stretch(space, i, limit);
    if (length == blocks) {
      *found = i;
      return true;
    }
    i += length + 1;
  }
  return false;
}

/* The largest free stretches, by falling size, until `blocks` are covered; false when that takes too many. */
static bool find_scattered(const struct space *space, uint64_t size, uint64_t blocks, struct extent *extents,
                           uint32_t *count) {
  uint32_t n = 0;
  for (uint64_t i = next_free(space, 0, size); i < size; i = next_free(space, i, size)) {
    uint64_t length = free_stretch(space, i, size - i);
    uint32_t at = n;
    while (at > 0 && extents[at - 1].count < length) at--;
    if (at < BLOCK_PTR_EXTENTS_MAX) {
      uint32_t kept = n < BLOCK_PTR_EXTENTS_MAX ? n : BLOCK_PTR_EXTENTS_MAX - 1;
      memmove(&extents[at + 1], &extents[at], (kept - at) * sizeof *extents);
      extents[at] = (struct extent){.first = i, .count = length};
      n = kept + 1;
    }
    i += length;
  }
  uint64_t covered = 0;
  for (uint32_t e = 0; e < n && covered < blocks; e++) {
    if (extents[e].count > blocks - covered) extents[e].count = blocks - covered;
    covered += extents[e].count;
    *count = e + 1;
  }
  return covered == blocks;
}

/* Where one object of so many blocks can go: contiguous where possible, from the last allocation on. found has one place
 * more than an object may use. */
static bool find(const struct space *space, uint64_t blocks, struct extent *found, uint32_t *count) {
  uint64_t size = space->end - space->first, at = 0;
  *count = 1;
  if (blocks > space->free) return false;
  if (!find_contiguous(space, space->cursor, size, size, blocks, &at) &&
      !find_contiguous(space, 0, space->cursor, size, blocks, &at))
    return find_scattered(space, size, blocks, found, count);
  found[0] = (struct extent){.first = at, .count = blocks};
  return true;
}

static bool reaches(const struct space *space, uint64_t blocks) {
  struct extent found[BLOCK_PTR_EXTENTS_MAX + 1];
  uint32_t count;
  return blocks == 0 || find(space, blocks, found, &count);
}

static void set_used(struct space *space, const struct extent *found, uint32_t count, bool used) {
  for (uint32_t e = 0; e < count; e++)
    for (uint64_t i = found[e].first; i < found[e].first + found[e].count; i++)
      used ? bit_set(space->used, i) : bit_clear(space->used, i);
}

/* Takes blocks so that one object of `kept` blocks could still be placed. */
static int allocate(struct space *space, uint64_t blocks, uint64_t kept, struct extent *extents, uint32_t *count,
                    struct wodan_error *error) {
  assert(blocks > 0);
  struct extent found[BLOCK_PTR_EXTENTS_MAX + 1];
  bool ok = find(space, blocks, found, count);
  if (ok) {
    set_used(space, found, *count, true);
    space->free -= blocks;
    ok = reaches(space, kept);
    if (!ok) {
      set_used(space, found, *count, false);
      space->free += blocks;
    }
  }
  if (!ok)
    return status_set(error, WODAN_ENOSPC, 0, WODAN_NO_BLOCK,
                      "no room for %llu blocks: %llu are free and %llu wait for the next checkpoints",
                      (unsigned long long)blocks, (unsigned long long)space->free, (unsigned long long)space->deferred);
  for (uint32_t e = 0; e < *count; e++) {
    extents[e] = (struct extent){.first = space->first + found[e].first, .count = found[e].count};
    space->cursor = (found[e].first + found[e].count) % (space->end - space->first);
  }
  space->reached = 0;
  return 0;
}

int space_allocate_sparing(struct space *space, enum space_kind kind, uint64_t blocks, uint64_t spare,
                           struct extent *extents, uint32_t *count, struct wodan_error *error) {
  (void)kind;
  lock_acquire(&space->lock);
  int status = allocate(space, blocks, space->reserve + spare, extents, count, error);
  lock_leave(&space->lock);
  return status;
}

int space_allocate(struct space *space, uint64_t blocks, struct extent *extents, uint32_t *count,
                   struct wodan_error *error) {
  return space_allocate_sparing(space, SPACE_NODE, blocks, 0, extents, count, error);
}

int space_allocate_reserved(struct space *space, uint64_t blocks, struct extent *extents, uint32_t *count,
                            struct wodan_error *error) {
  lock_acquire(&space->lock);
  int status = allocate(space, blocks, 0, extents, count, error);
  lock_leave(&space->lock);
  return status;
}

bool space_reaches(struct space *space, uint64_t blocks) {
  lock_acquire(&space->lock);
  uint64_t wanted = blocks + space->reserve;
  bool ok = wanted <= space->reached || reaches(space, wanted);
  if (ok && wanted > space->reached) space->reached = wanted;
  lock_leave(&space->lock);
  return ok;
}

void space_set_reserve(struct space *space, uint64_t blocks) {
  lock_acquire(&space->lock);
  space->reserve = blocks;
  lock_leave(&space->lock);
}

/* Caller holds the lock. */
static void free_extents(struct space *space, const struct extent *extents, uint32_t count) {
  for (uint32_t e = 0; e < count; e++) {
    assert(inside(space, &extents[e]));
    for (uint64_t i = extents[e].first - space->first, n = extents[e].count; n; i++, n--) {
      assert(bit(space->used, i) && !bit(space->now, i) && !bit(space->old, i));
      bit_clear(space->used, i);
    }
    space->free += extents[e].count;
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
      assert(inside(space, &extents[e]));
      for (uint64_t i = extents[e].first - space->first, n = extents[e].count; n; i++, n--) {
        assert(bit(space->used, i) && !bit(space->now, i) && !bit(space->old, i));
        bit_set(space->now, i);
      }
      space->deferred += extents[e].count;
    }
  }
  lock_leave(&space->lock);
}

/* Caller holds the lock: every block of `map` becomes free. */
static void free_bitmap(struct space *space, uint64_t *map,
                        void (*discard)(void *context, uint64_t first, uint64_t count), void *context) {
  uint64_t start = 0, length = 0; /* the stretch being collected */
  for (uint64_t w = 0; w < space->words; w++) {
    uint64_t word = map[w];
    if (!word) continue;
    space->used[w] &= ~word;
    map[w] = 0;
    uint64_t bits = (uint64_t)__builtin_popcountll(word);
    space->free += bits;
    space->deferred -= bits;
    for (; word; word &= word - 1) {
      uint64_t i = w * 64 + (uint64_t)__builtin_ctzll(word);
      if (length && i == start + length) {
        length++;
        continue;
      }
      if (length && discard) discard(context, space->first + start, length);
      start = i;
      length = 1;
    }
  }
  if (length && discard) discard(context, space->first + start, length);
}

void space_checkpoint_durable(struct space *space, uint64_t generation,
                              void (*discard)(void *context, uint64_t first, uint64_t count), void *context) {
  lock_acquire(&space->lock);
  assert(generation >= space->generation);
  space->generation = generation;
  free_bitmap(space, space->old, discard, context);
#ifdef MUTANT_NO_PREVIOUS_ROOT
  free_bitmap(space, space->now, discard, context);
#endif
  uint64_t *swap = space->old;
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
