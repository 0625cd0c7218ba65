/* Owns: the only calls of the C library's allocator.
 * Always true: mem.used is the sum of what is allocated and not yet released; peak is its maximum; neither ever passes
 * the limit, for room is taken before memory is. With what is kept `used` stays within the limit too: a piece that changes
 * from one to the other counts as both for a moment, never as none.
 * See: tests/unit/test_base.c. */
#include "base/mem.h"

#include <assert.h>
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
  mem->kept.size = mem->kept.alignment = 0;
  atomic_init(&mem->kept.bytes, 0);
  for (size_t i = 0; i < MEM_KEPT; i++) atomic_init(&mem->kept.pieces[i], NULL);
}

static void *part_allocate(void *context, size_t size, size_t alignment) {
  return mem_alloc_aligned(context, size, alignment);
}

static void part_release(void *context, void *memory, size_t size) { mem_free(context, memory, size); }

void mem_init_part(struct mem *part, struct mem *whole, uint64_t limit) {
  mem_init(part, &(struct wodan_allocator){.context = whole, .allocate = part_allocate, .release = part_release});
  part->limit = limit < SIZE_MAX ? (size_t)limit : SIZE_MAX;
}

/* ---- kept pieces ------------------------------------------------------------------------------------------------ */

void mem_keep(struct mem *part, size_t size, size_t alignment) {
  part->kept.alignment = alignment;
  part->kept.size = size;
}

/* One that is kept, which counts as kept still; NULL: there is none. */
static void *take_kept(struct mem *mem) {
  for (size_t i = 0; i < MEM_KEPT; i++) {
    if (!atomic_load_explicit(&mem->kept.pieces[i], memory_order_relaxed)) continue;
    void *piece = atomic_exchange_explicit(&mem->kept.pieces[i], NULL, memory_order_acq_rel);
    if (piece) return piece;
  }
  return NULL;
}

/* false: all places are taken, or it is another kind of piece. */
static bool keep(struct mem *mem, void *memory, size_t size) {
  if (size != mem->kept.size || (uintptr_t)memory % mem->kept.alignment) return false;
  atomic_fetch_add(&mem->kept.bytes, size);
  for (size_t i = 0; i < MEM_KEPT; i++) {
    void *none = NULL;
    if (atomic_compare_exchange_strong_explicit(&mem->kept.pieces[i], &none, memory, memory_order_acq_rel,
                                                memory_order_relaxed))
      return true;
  }
  atomic_fetch_sub(&mem->kept.bytes, size);
  return false;
}

/* Gives one back; false: none is kept. */
static bool give_up_kept(struct mem *mem) {
  void *piece = take_kept(mem);
  if (!piece) return false;
  mem->hooks.release(mem->hooks.context, piece, mem->kept.size);
  atomic_fetch_sub(&mem->kept.bytes, mem->kept.size);
  return true;
}

void mem_keep_none(struct mem *part) {
  while (give_up_kept(part)) {
  }
}

/* ---- pieces ------------------------------------------------------------------------------------------------------- */

static bool within_limit(const struct mem *mem, size_t used, size_t kept, size_t size) {
  size_t room = mem->limit > used ? mem->limit - used : 0;
  return mem->limit == 0 || (kept <= room && size <= room - kept);
}

/* Counts `size` bytes more, unless they pass the limit. What is kept gives way. */
static bool take_room(struct mem *mem, size_t size, size_t *used) {
  size_t before = atomic_load_explicit(&mem->used, memory_order_relaxed);
  do {
    while (!within_limit(mem, before, atomic_load(&mem->kept.bytes), size)) {
      if (within_limit(mem, before, 0, size) && give_up_kept(mem)) continue;
      atomic_fetch_add_explicit(&mem->refused, 1, memory_order_relaxed);
      return false;
    }
  } while (!atomic_compare_exchange_weak_explicit(&mem->used, &before, before + size, memory_order_relaxed,
                                                  memory_order_relaxed));
  *used = before + size;
  return true;
}

static void note_peak(struct mem *mem, size_t used) {
  size_t peak = atomic_load_explicit(&mem->peak, memory_order_relaxed);
  while (used > peak &&
         !atomic_compare_exchange_weak_explicit(&mem->peak, &peak, used, memory_order_relaxed, memory_order_relaxed)) {
  }
}

void *mem_alloc_aligned(struct mem *mem, uint64_t wanted, size_t alignment) {
  if (wanted > SIZE_MAX) return NULL;
  size_t size = wanted ? (size_t)wanted : 1;
  size_t used;
  bool again = size == mem->kept.size && alignment == mem->kept.alignment;
  void *memory = again ? take_kept(mem) : NULL;
  if (memory) {
    used = atomic_fetch_add(&mem->used, size) + size;
    atomic_fetch_sub(&mem->kept.bytes, size);
  } else {
    if (!take_room(mem, size, &used)) return NULL;
    memory = mem->hooks.allocate(mem->hooks.context, size, alignment);
  }
  if (!memory) {
    atomic_fetch_sub_explicit(&mem->used, size, memory_order_relaxed);
    return NULL;
  }
  note_peak(mem, used);
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
  if (!keep(mem, memory, size)) mem->hooks.release(mem->hooks.context, memory, size);
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

bool mem_array_enlarge(struct mem *mem, void **array, size_t *capacity, size_t count, size_t size) {
  assert(count > *capacity);
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
