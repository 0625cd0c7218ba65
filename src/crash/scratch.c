/* Owns: the chunks a throw-away handle lives in.
 * Always true: chunks stay until the end; `now` is the one being handed out, those behind it are empty.
 * Order: opening a tiny image asks for some dozen pieces; handing them out here costs a tenth of what the C library's
 * allocator takes, and no piece has to be given back.
 * See: judge.c. */
#include "crash/scratch.h"

#include <stddef.h>

enum { CHUNK = 1 << 20 };

struct scratch_chunk {
  struct scratch_chunk *next;
  size_t size; /* of the bytes behind */
  _Alignas(64) uint8_t bytes[];
};

void scratch_init(struct scratch *scratch) {
  *scratch = (struct scratch){.first = NULL};
  mem_init(&scratch->mem, NULL);
}

void scratch_release(struct scratch *scratch) {
  struct scratch_chunk *next;
  for (struct scratch_chunk *chunk = scratch->first; chunk; chunk = next) {
    next = chunk->next;
    mem_free(&scratch->mem, chunk, sizeof *chunk + chunk->size);
  }
  scratch->first = scratch->now = NULL;
}

void scratch_reset(struct scratch *scratch) {
  scratch->now = scratch->first;
  scratch->used = 0;
}

/* The piece in the chunk at hand; NULL: it does not fit. */
static void *take(struct scratch *scratch, size_t size, size_t alignment) {
  struct scratch_chunk *chunk = scratch->now;
  if (!chunk) return NULL;
  uintptr_t base = (uintptr_t)chunk->bytes;
  size_t start = (size_t)(((base + scratch->used + alignment - 1) & ~(uintptr_t)(alignment - 1)) - base);
  if (start > chunk->size || size > chunk->size - start) return NULL;
  scratch->used = start + size;
  return chunk->bytes + start;
}

static bool next_chunk(struct scratch *scratch, size_t size) {
  struct scratch_chunk *next = scratch->now ? scratch->now->next : scratch->first;
  if (!next) {
    size_t bytes = size > CHUNK ? size : CHUNK;
    next = mem_alloc_aligned(&scratch->mem, sizeof *next + bytes, 64);
    if (!next) return false;
    *next = (struct scratch_chunk){.size = bytes};
    if (scratch->now)
      scratch->now->next = next;
    else
      scratch->first = next;
  }
  scratch->now = next;
  scratch->used = 0;
  return true;
}

static void *allocate(void *context, size_t size, size_t alignment) {
  struct scratch *scratch = context;
  if (size > SIZE_MAX - alignment) return NULL;
  void *piece = take(scratch, size, alignment);
  while (!piece && next_chunk(scratch, size + alignment)) piece = take(scratch, size, alignment);
  return piece;
}

static void release(void *context, void *memory, size_t size) {
  (void)context;
  (void)memory;
  (void)size;
}

struct wodan_allocator scratch_allocator(struct scratch *scratch) {
  return (struct wodan_allocator){.context = scratch, .allocate = allocate, .release = release};
}
