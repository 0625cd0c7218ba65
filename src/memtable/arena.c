/* Owns: chunks of memory for memtables, and where the next piece goes.
 * Always true: pieces lie in the chunk list in the order they were taken; every chunk up to current holds a piece (but
 * for current before the first take); behind current there is at most one chunk, empty, which holds a reservation that
 * current could not. So a walk that only enters chunks with pieces never sees one that goes away.
 * Order: a reservation fits whole in current or whole in the chunk behind it. Pieces fill current first; the first that
 * does not fit there moves on for good, and what is left of the reservation still fits.
 * See: tests/unit/test_arena.c. */
#include "memtable/arena.h"

#include <assert.h>

struct arena_chunk {
  struct arena_chunk *next;
  size_t size; /* bytes, this header included */
  size_t used; /* bytes, this header included */
};

static size_t header_size(const struct arena *arena) { return arena_piece(arena, sizeof(struct arena_chunk)); }

void arena_init(struct arena *arena, struct mem *mem, size_t alignment) {
  assert(alignment >= 8 && alignment <= 64 && (alignment & (alignment - 1)) == 0);
  *arena = (struct arena){.mem = mem, .alignment = alignment};
}

static void chunk_free(struct arena *arena, struct arena_chunk *chunk) {
  assert(arena->size >= chunk->size);
  arena->size -= chunk->size;
  mem_free(arena->mem, chunk, chunk->size);
}

void arena_release(struct arena *arena) {
  for (struct arena_chunk *chunk = arena->first; chunk;) {
    struct arena_chunk *next = chunk->next;
    chunk_free(arena, chunk);
    chunk = next;
  }
  assert(arena->size == 0);
  arena->first = arena->current = NULL;
}

/* A third of what there is already: few allocations, and at most a quarter of the arena unused. */
static size_t chunk_size(const struct arena *arena, size_t wanted) {
  size_t size = arena->size / 3;
  if (size < ARENA_CHUNK_MIN) size = ARENA_CHUNK_MIN;
  if (size > ARENA_CHUNK_MAX) size = ARENA_CHUNK_MAX;
  return size < wanted ? wanted : size;
}

static struct arena_chunk *chunk_create(struct arena *arena, size_t bytes) {
  size_t header = header_size(arena);
  if (bytes > SIZE_MAX / 4 - header) return NULL;
  size_t size = chunk_size(arena, arena_piece(arena, header + bytes));
  bool whole = size >= ARENA_CHUNK_MAX; /* one huge page of memory, were the system to give it */
  size_t alignment = whole ? ARENA_CHUNK_MAX : arena->alignment < 16 ? 16 : arena->alignment;
  struct arena_chunk *chunk = mem_alloc_aligned(arena->mem, size, alignment);
  if (!chunk) return NULL;
  if (whole && !arena->in_order) mem_advise_huge(chunk, size);
  *chunk = (struct arena_chunk){.size = size, .used = header};
  arena->size += size;
  return chunk;
}

bool arena_reserve(struct arena *arena, size_t bytes) {
  struct arena_chunk *current = arena->current;
  if (current && current->size - current->used >= bytes) return true;
  struct arena_chunk *spare = current ? current->next : NULL;
  if (spare && spare->size - spare->used >= bytes) return true;

  struct arena_chunk *chunk = chunk_create(arena, bytes);
  if (!chunk) return false;
  if (spare) chunk_free(arena, spare);
  if (!current) {
    arena->first = arena->current = chunk;
  } else if (current->used == header_size(arena)) { /* only the very first chunk can be current and empty */
    assert(arena->first == current && !spare);
    arena->first = arena->current = chunk;
    chunk_free(arena, current);
  } else {
    current->next = chunk;
  }
  return true;
}

void *arena_take(struct arena *arena, size_t size) {
  size_t piece = arena_piece(arena, size);
  struct arena_chunk *chunk = arena->current;
  assert(chunk);
  if (chunk->size - chunk->used < piece) {
    chunk = chunk->next;
    assert(chunk && chunk->size - chunk->used >= piece);
    arena->current = chunk;
  }
  void *memory = (uint8_t *)chunk + chunk->used;
  chunk->used += piece;
  return memory;
}

void *arena_walk(const struct arena *arena, struct arena_chunk **chunk, size_t *at) {
  size_t header = header_size(arena);
  if (!*chunk) {
    if (!arena->first || arena->first->used == header) return NULL;
    *chunk = arena->first;
    *at = header;
  }
  assert(*at <= (*chunk)->used);
  if (*at == (*chunk)->used) {
    if (!(*chunk)->next || (*chunk)->next->used == header) return NULL;
    *chunk = (*chunk)->next;
    *at = header;
  }
  return (uint8_t *)*chunk + *at;
}
