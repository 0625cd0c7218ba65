/* Cache: clean, verified, immutable pages in fixed-size frames; CLOCK replacement; no write-back code.
 *
 * A *slot* (an atomic frame pointer in the run that owns the page) is the only reference to a cached page: a hit costs
 * no hash lookup. Frames are type-stable (their memory is never given back before cache_free), so a reader may pin a
 * frame it found in a slot and then check that the frame still belongs to the slot. */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include "base/mem.h"

struct cache;
struct frame;
typedef _Atomic(struct frame *) cache_slot;

/* Frames of frame_size bytes, at most `frames` (at least CACHE_FRAMES_MIN are allowed for); when all of those are pinned, as
 * many more, at most CACHE_FRAMES_EXTRA. NULL: no memory. */
enum { CACHE_FRAMES_MIN = 16, CACHE_FRAMES_EXTRA = 64 };
struct cache *cache_create(struct mem *mem, size_t frame_size, size_t frames);
/* The most bytes such a cache ever takes; UINT64_MAX when that is too many to count. */
uint64_t cache_memory(size_t frame_size, size_t frames);
/* The most frames whose cache takes no more than so many bytes; 0 when not even CACHE_FRAMES_MIN do. */
size_t cache_frames_within(size_t frame_size, uint64_t bytes);
void cache_free(struct cache *cache); /* nothing pinned, no slot in use */

/* The slot's frame, pinned, or NULL. Lock-free. */
struct frame *cache_pin(struct cache *cache, cache_slot *slot);
void cache_unpin(struct frame *frame);
const uint8_t *cache_data(const struct frame *frame);

/* Where a pinned frame is, and its how manieth contents that are; and the frame there, pinned, while those are in it. False: so
 * often filled that its contents cannot be counted any more. */
struct cache_place {
  uint32_t frame, fill;
};
enum { CACHE_FILLS_MOST = (1 << 26) - 1 };
bool cache_place(const struct frame *frame, struct cache_place *place);
struct frame *cache_pin_at(struct cache *cache, struct cache_place place);
/* Asks for what cache_pin_at touches, a page's header included, and for what stands `offset` bytes behind. */
void cache_prefetch_at(const struct cache *cache, struct cache_place place, uint32_t offset);

/* A frame to fill, pinned, in no slot; evicts when needed. NULL: no memory or everything is pinned. */
struct frame *cache_reserve(struct cache *cache);
uint8_t *cache_fill(struct frame *frame); /* its frame_size bytes, before it is published */
/* Some bytes beside the pins, so they cost a reader no miss more; whoever fills the frame says what they mean. */
enum { CACHE_NOTE = 11 };
uint8_t *cache_fill_note(struct frame *frame);
const uint8_t *cache_note(const struct frame *frame);
/* Puts the filled frame in the slot; returns it, still pinned. When another thread was first, returns that thread's
 * frame pinned and gives ours back. */
struct frame *cache_publish(struct cache *cache, cache_slot *slot, struct frame *frame);
void cache_cancel(struct cache *cache, struct frame *frame); /* gives a reserved frame back */
/* Empties `count` slots whose run is going away (no reader can reach them any more; frames may still be pinned by
 * pinned values: such a frame is freed when unpinned). */
void cache_drop(struct cache *cache, cache_slot *slots, size_t count);

struct cache_counts {
  uint64_t hits, misses, evictions, frames;
};
struct cache_counts cache_counts(struct cache *cache);

#endif
