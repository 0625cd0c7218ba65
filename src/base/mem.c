/* Owns: the only calls of the C library's allocator.
 * Always true: mem.used is the sum of what is allocated and not yet released; peak is its maximum; neither ever passes
 * the limit, for room is taken before memory is.
 * See: tests/unit/test_base.c. */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

static void *libc_allocate(void *context, size_t size, size_t alignment) {
  (void)context;
  if (alignment <= _Alignof(max_align_t)) return malloc(size);
  if (size > SIZE_MAX - alignment) return NULL;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void libc_release(void *context, void *memory, size_t size) {
  (void)context;
  (void)size;
  free(memory);
}

void mem_init(struct mem *mem, const struct wodan_allocator *hooks) {
  if (hooks && hooks->allocate && hooks->release)
    mem->hooks = *hooks;
  else
    mem->hooks = (struct wodan_allocator){.context = NULL, .allocate = libc_allocate, .release = libc_release};
  atomic_init(&mem->used, 0);
  atomic_init(&mem->peak, 0);
  atomic_init(&mem->refused, 0);
  mem->limit = 0;
}

static void *part_allocate(void *context, size_t size, size_t alignment) {
  return mem_alloc_aligned(context, size, alignment);
}

static void part_release(void *context, void *memory, size_t size) { mem_free(context, memory, size); }

void mem_init_part(struct mem *part, struct mem *whole, uint64_t limit) {
  mem_init(part, &(struct wodan_allocator){.context = whole, .allocate = part_allocate, .release = part_release});
  part->limit = limit < SIZE_MAX ? (size_t)limit : SIZE_MAX;
}

/* Counts `size` bytes more, unless they pass the limit. */
static bool take_room(struct mem *mem, size_t size, size_t *used) {
  size_t before = atomic_load_explicit(&mem->used, memory_order_relaxed);
  do {
    if (mem->limit && (before > mem->limit || size > mem->limit - before)) {
      atomic_fetch_add_explicit(&mem->refused, 1, memory_order_relaxed);
      return false;
    }
  } while (!atomic_compare_exchange_weak_explicit(&mem->used, &before, before + size, memory_order_relaxed,
                                                  memory_order_relaxed));
  *used = before + size;
  return true;
}

void *mem_alloc_aligned(struct mem *mem, uint64_t wanted, size_t alignment) {
  if (wanted > SIZE_MAX) return NULL;
  size_t size = wanted ? (size_t)wanted : 1;
  size_t used;
  if (!take_room(mem, size, &used)) return NULL;
  void *memory = mem->hooks.allocate(mem->hooks.context, size, alignment);
  if (!memory) {
    atomic_fetch_sub_explicit(&mem->used, size, memory_order_relaxed);
    return NULL;
  }
  size_t peak = atomic_load_explicit(&mem->peak, memory_order_relaxed);
  while (used > peak &&
         !atomic_compare_exchange_weak_explicit(&mem->peak, &peak, used, memory_order_relaxed, memory_order_relaxed)) {
  }
  return memory;
}

void *mem_alloc(struct mem *mem, uint64_t size) { return mem_alloc_aligned(mem, size, 16); }

void *mem_zalloc(struct mem *mem, uint64_t size) {
  void *memory = mem_alloc(mem, size);
  if (memory) memset(memory, 0, size ? (size_t)size : 1);
  return memory;
}

void mem_free(struct mem *mem, void *memory, uint64_t taken) {
  if (!memory) return;
  size_t size = taken ? (size_t)taken : 1; /* was granted, so it fits */
  mem->hooks.release(mem->hooks.context, memory, size);
  atomic_fetch_sub_explicit(&mem->used, size, memory_order_relaxed);
}

void mem_advise_huge(void *memory, size_t size) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  const uintptr_t page = 4096;
  uintptr_t start = ((uintptr_t)memory + page - 1) & ~(page - 1), end = ((uintptr_t)memory + size) & ~(page - 1);
  if (end > start) madvise((uint8_t *)memory + (start - (uintptr_t)memory), end - start, MADV_HUGEPAGE);
#else
  (void)memory;
  (void)size;
#endif
}

void *mem_array(struct mem *mem, uint64_t count, size_t size) {
  if (size && count > SIZE_MAX / size) return NULL;
  return mem_alloc(mem, count * size);
}

void mem_array_free(struct mem *mem, void *memory, uint64_t count, size_t size) { mem_free(mem, memory, count * size); }

bool mem_array_grow(struct mem *mem, void **array, size_t *capacity, size_t count, size_t size) {
  if (count <= *capacity) return true;
  size_t wanted = *capacity ? *capacity : 8;
  while (wanted < count) {
    if (wanted > SIZE_MAX / 2) return false;
    wanted *= 2;
  }
  void *bigger = mem_array(mem, wanted, size);
  if (!bigger) return false;
  if (*capacity) memcpy(bigger, *array, *capacity * size);
  mem_array_free(mem, *array, *capacity, size);
  *array = bigger;
  *capacity = wanted;
  return true;
}
