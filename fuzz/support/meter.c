/* What: memory hooks that count. See meter.h.
 *
 * Always true: the arena's free bytes, and at least REDZONE of them in front of each piece and behind the last, are poisoned; a
 * piece given back is not used again while any other is out, so that touching it shows. */
#include "support/meter.h"

#include <stdbool.h>
#include <stdlib.h>
#include "fuzz.h"

#if defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER 1
#endif
#endif
#ifdef ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(from, size)   ((void)(from), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(from, size) ((void)(from), (void)(size))
#endif

/* ---- the arena --------------------------------------------------------------------------------------------------- */

enum { ARENA_SIZE = 24 << 20, REDZONE = 32 };

static struct {
  uint8_t *bytes; /* NULL: not made yet */
  size_t at, live;
  bool off;
} arena;

void meter_use_heap(void) { arena.off = true; }

static void *arena_take(size_t size, size_t alignment) {
  if (arena.off) return NULL;
  if (!arena.bytes) {
    arena.bytes = malloc(ARENA_SIZE);
    if (!arena.bytes) return NULL;
    ASAN_POISON_MEMORY_REGION(arena.bytes, ARENA_SIZE);
  }
  if (arena.live == 0) arena.at = 0;
  uintptr_t from = (uintptr_t)arena.bytes + arena.at + REDZONE;
  from = (from + alignment - 1) / alignment * alignment;
  size_t start = (size_t)(from - (uintptr_t)arena.bytes);
  if (start > ARENA_SIZE - REDZONE || size > ARENA_SIZE - REDZONE - start) return NULL;
  arena.at = start + size;
  arena.live++;
  ASAN_UNPOISON_MEMORY_REGION(arena.bytes + start, size);
  return arena.bytes + start;
}

static bool arena_give(void *memory, size_t size) {
  uint8_t *at = memory;
  if (!arena.bytes || at < arena.bytes || at >= arena.bytes + ARENA_SIZE) return false;
  ASAN_POISON_MEMORY_REGION(at, size);
  arena.live--;
  return true;
}

/* ---- the hooks ---------------------------------------------------------------------------------------------------- */

static void *allocate(void *context, size_t size, size_t alignment) {
  struct meter *meter = context;
  meter->calls++;
  if (meter->fail_at && (meter->calls == meter->fail_at || (meter->for_ever && meter->calls > meter->fail_at))) {
    meter->failed++;
    return NULL;
  }
  if (alignment < sizeof(void *)) alignment = sizeof(void *);
  void *memory = arena_take(size, alignment);
  if (!memory && posix_memalign(&memory, alignment, size)) return NULL;
  meter->used += size;
  if (meter->used > meter->peak) meter->peak = meter->used;
  return memory;
}

static void release(void *context, void *memory, size_t size) {
  struct meter *meter = context;
  FUZZ_CHECK(meter->used >= size);
  meter->used -= size;
  if (!memory || arena_give(memory, size)) return;
  free(memory);
}

struct wodan_allocator meter_hooks(struct meter *meter) {
  return (struct wodan_allocator){.context = meter, .allocate = allocate, .release = release};
}
