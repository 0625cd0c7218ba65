/* Values: large values in memory as a whole, proven, each in one buffer of its own size: read in place by whoever pins it. CLOCK
 * replacement; nobody writes to a buffer once it is published.
 *
 * A *slot* (in the handle of the blob) is the only reference to a kept buffer: a hit costs no search, and a buffer is never older
 * than its blob, for both go together. A value of more than an eighth of what may be kept is not kept, so that no one value
 * takes the place of all others; such a buffer, and one that finds no room because all others are pinned, is its reader's alone.
 *
 * Threads: every function takes its own lock; any thread. What is pinned stays until it is unpinned, whatever becomes of its slot. */
#ifndef CACHE_VALUES_H
#define CACHE_VALUES_H

#include "base/mem.h"

struct values;
struct value_buffer;
typedef struct value_buffer *value_slot; /* NULL: nothing is kept */

/* Keeps at most `bytes` from `mem`, buffers' heads included and values_memory() of its own not; those that are not kept come from
 * `readers`. NULL: no memory. */
size_t values_memory(void);
struct values *values_create(struct mem *mem, struct mem *readers, uint64_t bytes);
/* Nothing is pinned; no slot is used any more, so those that are kept are forgotten. NULL is allowed. */
void values_free(struct values *values);

/* The slot's buffer, pinned, when it was filled under this name (of the key, of which it was proven to be the value); else NULL. */
struct value_buffer *values_pin(struct values *values, value_slot *slot, uint64_t name);
void values_unpin(struct values *values, struct value_buffer *buffer);
const uint8_t *values_bytes(const struct value_buffer *buffer);

/* A buffer to be filled, pinned, in no slot. NULL: no memory. */
struct value_buffer *values_reserve(struct values *values, uint64_t size);
uint8_t *values_fill(struct value_buffer *buffer);
/* Puts the filled buffer into the slot, if it may be kept. When another thread was first, ours is freed and that one's returned,
 * pinned in its place; else it is ours, still pinned. */
struct value_buffer *values_publish(struct values *values, value_slot *slot, uint64_t name,
                                    struct value_buffer *buffer);
/* Empties a slot that is going away. */
void values_drop(struct values *values, value_slot *slot);

struct values_counts {
  uint64_t hits, misses, evictions, bytes;
};
struct values_counts values_counts(struct values *values);

#endif
