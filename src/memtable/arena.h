/* Arena: memory given out in order from chunks and freed all at once. Chunks grow with the arena, so a tiny one stays
 * tiny and a large one makes few allocations. What was taken never moves and never straddles chunks. */
#ifndef MEMTABLE_ARENA_H
#define MEMTABLE_ARENA_H

#include "base/mem.h"

enum { ARENA_CHUNK_MIN = 1024, ARENA_CHUNK_MAX = 2 << 20 }; /* bytes, for what is not bigger by itself */

struct arena_chunk;

struct arena {
  struct mem *mem;
  struct arena_chunk *first, *current; /* at most one chunk, an empty one, follows current */
  size_t alignment;                    /* of everything taken; power of two, 8..64 */
  size_t size;                         /* bytes of all chunks */
  bool in_order;                       /* pieces are going to be read as they were taken: huge pages gain nothing */
};

void arena_init(struct arena *arena, struct mem *mem, size_t alignment); /* allocates nothing */
void arena_release(struct arena *arena);

/* What a piece of `size` bytes takes. */
static inline size_t arena_piece(const struct arena *arena, size_t size) {
  return (size + arena->alignment - 1) & ~(arena->alignment - 1);
}

/* After it, pieces of `bytes` together (sum of arena_piece) can be taken. Replaces an earlier reservation. false: no
 * memory; everything taken stays as it is. */
bool arena_reserve(struct arena *arena, size_t bytes);
/* Within what was reserved. */
void *arena_take(struct arena *arena, size_t size);

/* The pieces in the order taken. Starts with *chunk NULL; *at is moved on by the caller, by arena_piece of what it
 * found. NULL at the end; may be asked again after more was taken. */
void *arena_walk(const struct arena *arena, struct arena_chunk **chunk, size_t *at);

#endif
