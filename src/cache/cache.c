/* Owns: the frames of the page cache and who holds them.
 *
 * A frame's word holds, in its low half, the pins (bit 31: claimed) and in its high half the hits, so that a hit costs
 * one atomic step. Claimed means: on the free list, being evicted or being filled; no reader may use it.
 *
 * Always true:
 *  - frame memory is never given back before cache_free, so touching the word of a frame found in a stale slot is safe;
 *  - a frame in a slot is not claimed, and its `slot` names that slot;
 *  - only an unclaimed frame without pins is claimed, by one compare-and-swap; a reader that pins a claimed frame backs
 *    off, and one that pinned in time checks the slot again, so it never sees a frame that serves another slot;
 *  - a frame's bytes change only while it is claimed, and its number of fills with them: who has pinned an unclaimed frame and
 *    finds the number it knows has the bytes it knows, in whatever slot they are or were.
 *
 * Order: eviction empties the slot after the claim and before the frame is filled; publishing takes the claim off
 * before the slot is set. Slots are emptied only under the lock, so after cache_drop nobody touches them any more.
 *
 * See: tests/unit/test_cache.c. */
#include "cache/cache.h"

#include <assert.h>
#include "base/thread.h"

enum {
  CACHE_LINE = 64,
  PREFETCH_LINES = 3, /* a record of 128 bytes, wherever in a line it starts */
  FRAME_HEAD = 44,    /* data starts 20 bytes before a line ends: a page's header shares the line of the pins */
  NOTE_ROOM = FRAME_HEAD - 8 - 2 * sizeof(void *) - 8 - 1, /* more where pointers are short */
  SLAB_SIZE = 2 << 20,
  INVERSE_BITS = 40, /* the error, index * per_slab, stays below 2^40 where the product is used */
  INVERSE_MOST = 1 << 24,
};
_Static_assert(SLAB_SIZE / CACHE_LINE <= 1 << 15, "what a slab holds at most");
#define CLAIMED  (UINT64_C(1) << 31)
#define LOW_HALF UINT64_C(0xffffffff)
#define ONE_HIT  (UINT64_C(1) << 32)

struct frame {
  _Atomic uint64_t word;
  cache_slot *slot;      /* NULL: in none. Written by the claim's holder, or under the lock */
  struct frame *next;    /* on the free list */
  uint32_t number, fill; /* which frame; how often it was filled. Changed by the claim's holder */
  _Atomic bool referenced;
  uint8_t note[NOTE_ROOM]; /* CACHE_NOTE of them are used */
  uint8_t data[];
};
_Static_assert((int)NOTE_ROOM >= (int)CACHE_NOTE, "the note has room");
_Static_assert(offsetof(struct frame, data) == FRAME_HEAD, "the page header shares the frame's first cache line");

struct cache {
  struct mem *mem;
  struct lock lock;
  size_t frame_size;
  size_t stride;    /* bytes from frame to frame, whole cache lines */
  size_t limit;     /* frames in ordinary slabs */
  size_t extra;     /* frames in the last slab, for when all others are pinned */
  size_t per_slab;  /* frames */
  uint64_t inverse; /* 2^40 / per_slab, rounded up: a division takes as long as a quarter of a lookup's instructions */
  size_t slabs_max, slabs_count;
  uint8_t **slabs; /* the last one possible holds the extra frames */
  size_t taken;    /* frames handed out at least once: the first ones */
  size_t room;     /* frames in the slabs allocated */
  size_t hand;     /* CLOCK: next frame to look at */
  struct frame *free;
  uint64_t hits, misses, evictions;
};

/* Frames that slab `index` holds. */
static size_t slab_frames(const struct cache *cache, size_t index) {
  if (index == cache->slabs_max - 1) return cache->extra;
  size_t left = cache->limit - index * cache->per_slab;
  return left < cache->per_slab ? left : cache->per_slab;
}

/* A full slab takes one whole huge page of memory, were the system to give one; the extra one is exact. */
static size_t slab_bytes(const struct cache *cache, size_t index) {
  size_t frames = slab_frames(cache, index), bytes = frames * cache->stride;
  bool whole = frames == cache->per_slab && index < cache->slabs_max - 1;
  return whole && bytes < SLAB_SIZE ? SLAB_SIZE : bytes;
}

/* Frame `index` of those taken. Extra frames come behind the limit. */
static struct frame *frame_at(const struct cache *cache, size_t index) {
  size_t slab = index < INVERSE_MOST ? (size_t)(index * cache->inverse >> INVERSE_BITS) : index / cache->per_slab;
  size_t at = index - slab * cache->per_slab;
  if (index >= cache->limit) {
    slab = cache->slabs_max - 1;
    at = index - cache->limit;
  }
  return (struct frame *)(void *)(cache->slabs[slab] + at * cache->stride);
}

/* Sizes and counts of a cache with so many frames; false when they are too big to be counted. */
static bool plan(struct cache *cache, size_t frame_size, size_t frames) {
  const size_t most = SIZE_MAX / 4;
  if (frame_size == 0 || frame_size > most) return false;
  cache->frame_size = frame_size;
  cache->stride = (FRAME_HEAD + frame_size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
  cache->limit = frames < CACHE_FRAMES_MIN ? CACHE_FRAMES_MIN : frames;
  cache->extra = cache->limit < CACHE_FRAMES_EXTRA ? cache->limit : CACHE_FRAMES_EXTRA;
  cache->per_slab = cache->stride < SLAB_SIZE ? SLAB_SIZE / cache->stride : 1;
  cache->inverse = (UINT64_C(1) << INVERSE_BITS) / cache->per_slab + 1;
  cache->slabs_max = (cache->limit - 1) / cache->per_slab + 2;
  return cache->limit <= most / cache->stride;
}

uint64_t cache_memory(size_t frame_size, size_t frames) {
  struct cache cache = {0};
  if (!plan(&cache, frame_size, frames)) return UINT64_MAX;
  uint64_t full = cache.limit / cache.per_slab, rest = cache.limit % cache.per_slab;
  uint64_t bytes = sizeof cache + cache.slabs_max * sizeof *cache.slabs + (rest + cache.extra) * cache.stride;
  return bytes + (full ? full * slab_bytes(&cache, 0) : 0);
}

size_t cache_frames_within(size_t frame_size, uint64_t bytes) {
  size_t low = CACHE_FRAMES_MIN,
         high = frame_size && bytes / frame_size < SIZE_MAX / 2 ? (size_t)(bytes / frame_size) : SIZE_MAX / 2;
  if (cache_memory(frame_size, low) > bytes) return 0;
  while (low < high) { /* low fits, what lies above high does not */
    size_t middle = high - (high - low) / 2;
    if (cache_memory(frame_size, middle) <= bytes)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

struct cache *cache_create(struct mem *mem, size_t frame_size, size_t frames) {
  struct cache *cache = mem_zalloc(mem, sizeof *cache);
  if (!cache) return NULL;
  cache->mem = mem;
  cache->slabs = plan(cache, frame_size, frames) ? mem_array(mem, cache->slabs_max, sizeof *cache->slabs) : NULL;
  if (!cache->slabs || lock_init(&cache->lock)) {
    mem_array_free(mem, cache->slabs, cache->slabs_max, sizeof *cache->slabs);
    mem_free(mem, cache, sizeof *cache);
    return NULL;
  }
  return cache;
}

void cache_free(struct cache *cache) {
  if (!cache) return;
  for (size_t i = 0; i < cache->slabs_count; i++) mem_free(cache->mem, cache->slabs[i], slab_bytes(cache, i));
  lock_release(&cache->lock);
  mem_array_free(cache->mem, cache->slabs, cache->slabs_max, sizeof *cache->slabs);
  mem_free(cache->mem, cache, sizeof *cache);
}

struct frame *cache_pin(struct cache *cache, cache_slot *slot) {
  (void)cache;
  struct frame *frame = atomic_load_explicit(slot, memory_order_acquire);
  if (!frame) return NULL;
  uint64_t before = atomic_fetch_add_explicit(&frame->word, ONE_HIT + 1, memory_order_acquire);
  if ((before & CLAIMED) || atomic_load_explicit(slot, memory_order_acquire) != frame) {
    atomic_fetch_sub_explicit(&frame->word, ONE_HIT + 1, memory_order_release);
    return NULL;
  }
  if (!atomic_load_explicit(&frame->referenced, memory_order_relaxed))
    atomic_store_explicit(&frame->referenced, true, memory_order_relaxed);
  return frame;
}

void cache_unpin(struct frame *frame) {
  uint64_t before = atomic_fetch_sub_explicit(&frame->word, 1, memory_order_release);
  assert((before & LOW_HALF & ~CLAIMED) > 0);
  (void)before;
}

bool cache_place(const struct frame *frame, struct cache_place *place) {
  *place = (struct cache_place){.frame = frame->number, .fill = frame->fill};
  return frame->fill <= CACHE_FILLS_MOST;
}

struct frame *cache_pin_at(struct cache *cache, struct cache_place place) {
  struct frame *frame = frame_at(cache, place.frame);
  uint64_t before = atomic_fetch_add_explicit(&frame->word, ONE_HIT + 1, memory_order_acquire);
  if ((before & CLAIMED) || frame->fill != place.fill) {
    atomic_fetch_sub_explicit(&frame->word, ONE_HIT + 1, memory_order_release);
    return NULL;
  }
  if (!atomic_load_explicit(&frame->referenced, memory_order_relaxed))
    atomic_store_explicit(&frame->referenced, true, memory_order_relaxed);
  return frame;
}

void cache_prefetch_at(const struct cache *cache, struct cache_place place, uint32_t offset) {
  const struct frame *frame = frame_at(cache, place.frame);
  const uint8_t *at = frame->data + offset;
  __builtin_prefetch(frame);
  for (int line = 0; line < PREFETCH_LINES; line++) __builtin_prefetch(at + line * CACHE_LINE);
}

const uint8_t *cache_data(const struct frame *frame) { return frame->data; }
uint8_t *cache_fill(struct frame *frame) { return frame->data; }
const uint8_t *cache_note(const struct frame *frame) { return frame->note; }
uint8_t *cache_fill_note(struct frame *frame) { return frame->note; }

/* Claims the frame if nobody holds it. Lock held. */
static bool claim(struct cache *cache, struct frame *frame) {
  uint64_t word = atomic_load_explicit(&frame->word, memory_order_relaxed);
  if (word & LOW_HALF) return false;
  if (!atomic_compare_exchange_strong_explicit(&frame->word, &word, CLAIMED, memory_order_acq_rel,
                                               memory_order_relaxed))
    return false;
  cache->hits += word >> 32;
  return true;
}

/* A frame never used before, claimed: from the slab at hand, else from a new one. Lock held. */
static struct frame *take_new(struct cache *cache, size_t limit) {
  if (cache->taken >= limit) return NULL;
  if (cache->taken == cache->room) {
    size_t slab = cache->slabs_count, bytes = slab_bytes(cache, slab);
    uint8_t *memory = mem_alloc_aligned(cache->mem, bytes, bytes >= SLAB_SIZE ? SLAB_SIZE : CACHE_LINE);
    if (!memory) return NULL;
    if (bytes >= SLAB_SIZE) mem_advise_huge(memory, bytes);
    cache->slabs[slab] = memory;
    cache->slabs_count++;
    cache->room += slab_frames(cache, slab);
  }
  struct frame *frame = frame_at(cache, cache->taken);
  atomic_init(&frame->word, CLAIMED);
  frame->number = (uint32_t)cache->taken++;
  frame->fill = 0;
  frame->slot = NULL;
  frame->next = NULL;
  atomic_init(&frame->referenced, false);
  return frame;
}

/* CLOCK: the next frame nobody holds and nobody used since the hand last passed, claimed. Lock held. */
static struct frame *evict(struct cache *cache) {
  for (size_t left = 2 * cache->taken; left; left--) {
    struct frame *frame = frame_at(cache, cache->hand);
    cache->hand = cache->hand + 1 < cache->taken ? cache->hand + 1 : 0;
    if (atomic_load_explicit(&frame->word, memory_order_relaxed) & LOW_HALF) continue;
    if (atomic_load_explicit(&frame->referenced, memory_order_relaxed)) {
      atomic_store_explicit(&frame->referenced, false, memory_order_relaxed);
      continue;
    }
    if (!claim(cache, frame)) continue;
    if (frame->slot) {
      assert(atomic_load_explicit(frame->slot, memory_order_relaxed) == frame);
      atomic_store_explicit(frame->slot, NULL, memory_order_release);
      frame->slot = NULL;
      cache->evictions++;
    }
    return frame;
  }
  return NULL;
}

struct frame *cache_reserve(struct cache *cache) {
  lock_acquire(&cache->lock);
  cache->misses++;
  struct frame *frame = cache->free;
  if (frame)
    cache->free = frame->next;
  else if (!(frame = take_new(cache, cache->limit)) && !(frame = evict(cache)))
    frame = take_new(cache, cache->limit + cache->extra);
  lock_leave(&cache->lock);
  if (!frame) return NULL;
  frame->next = NULL;
  if (frame->fill <= CACHE_FILLS_MOST) frame->fill++; /* beyond that it is found by its slot only */
  assert(!frame->slot);
  atomic_store_explicit(&frame->referenced, false, memory_order_relaxed);
  atomic_fetch_add_explicit(&frame->word, 1, memory_order_relaxed);
  return frame;
}

void cache_cancel(struct cache *cache, struct frame *frame) {
  assert(atomic_load_explicit(&frame->word, memory_order_relaxed) & CLAIMED);
  frame->slot = NULL;
  atomic_fetch_sub_explicit(&frame->word, 1, memory_order_release);
  lock_acquire(&cache->lock);
  frame->next = cache->free;
  cache->free = frame;
  lock_leave(&cache->lock);
}

struct frame *cache_publish(struct cache *cache, cache_slot *slot, struct frame *frame) {
  frame->slot = slot;
  atomic_fetch_sub_explicit(&frame->word, CLAIMED, memory_order_release);
  for (;;) {
    struct frame *found = NULL;
    if (atomic_compare_exchange_strong_explicit(slot, &found, frame, memory_order_acq_rel, memory_order_acquire))
      return frame;
    struct frame *other = cache_pin(cache, slot);
    if (!other) continue; /* it was evicted again meanwhile */
    /* Ours was in no slot, so no reader can have found it but by a stale pointer, and those back off. */
    frame->slot = NULL;
    atomic_fetch_add_explicit(&frame->word, CLAIMED, memory_order_acq_rel);
    cache_cancel(cache, frame);
    return other;
  }
}

void cache_drop(struct cache *cache, cache_slot *slots, size_t count) {
  lock_acquire(&cache->lock);
  for (size_t i = 0; i < count; i++) {
    struct frame *frame = atomic_load_explicit(&slots[i], memory_order_acquire);
    if (!frame) continue;
    assert(frame->slot == &slots[i]);
    atomic_store_explicit(&slots[i], NULL, memory_order_release);
    frame->slot = NULL;
    atomic_store_explicit(&frame->referenced, false, memory_order_relaxed);
    if (!claim(cache, frame)) continue; /* pinned: the hand takes it later */
    frame->next = cache->free;
    cache->free = frame;
  }
  lock_leave(&cache->lock);
}

struct cache_counts cache_counts(struct cache *cache) {
  lock_acquire(&cache->lock);
  struct cache_counts counts = {
      .hits = cache->hits, .misses = cache->misses, .evictions = cache->evictions, .frames = cache->taken};
  for (size_t i = 0; i < cache->taken; i++)
    counts.hits += atomic_load_explicit(&frame_at(cache, i)->word, memory_order_relaxed) >> 32;
  lock_leave(&cache->lock);
  return counts;
}
