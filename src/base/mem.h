/* Memory of one database: the user's allocator hooks, counted. Every allocation of the library goes through here;
 * libc's malloc family appears only in mem.c. Sizes are given back at release, so no headers are needed. They have 64 bits
 * because many come from an image: where the address space has 32, what is larger is refused, never cut off. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wodan/types.h>

enum { MEM_KEPT = 48 };

/* Pieces of one size that wait for the next who asks for one: memory that the system need not clear again. */
struct mem_kept {
  size_t size, alignment; /* 0: none are kept */
  _Atomic size_t bytes;
  _Atomic(void *) pieces[MEM_KEPT];
};

struct mem {
  struct wodan_allocator hooks;
  _Atomic size_t used; /* bytes */
  _Atomic size_t peak;
  size_t limit;             /* an allocation that would bring `used` above it is refused; 0: none */
  _Atomic uint64_t refused; /* how many were */
  struct mem_kept kept;     /* not in `used`, but within the limit */
};

/* hooks NULL or all zero: the C library. No limit. */
void mem_init(struct mem *mem, const struct wodan_allocator *hooks);
/* A part of `whole` with an account and a limit of its own (0: none); what it takes counts there too. `whole` stays where
 * it is and outlives the part. */
void mem_init_part(struct mem *part, struct mem *whole, uint64_t limit);
/* From now on a part keeps pieces of this very size and alignment that are given back, up to MEM_KEPT of them, as long as nobody
 * needs their room for others. To be called once; mem_keep_none gives them back, before the part ends. */
void mem_keep(struct mem *part, size_t size, size_t alignment);
void mem_keep_none(struct mem *part);
static inline size_t mem_used(const struct mem *mem) { return atomic_load_explicit(&mem->used, memory_order_relaxed); }
/* Changes when an allocation was refused for the limit of this very account. */
static inline uint64_t mem_refused(const struct mem *mem) {
  return atomic_load_explicit(&mem->refused, memory_order_relaxed);
}

/* NULL when there is none. Size 0 is taken as 1. Aligned to 16 bytes. */
void *mem_alloc(struct mem *mem, uint64_t size);
void *mem_zalloc(struct mem *mem, uint64_t size);
void *mem_alloc_aligned(struct mem *mem, uint64_t size, size_t alignment);
/* memory NULL is allowed. size as it was asked for. */
void mem_free(struct mem *mem, void *memory, uint64_t size);

/* Advice for a large, long-lived region of an allocation: back it with huge pages where the system can. Inside it only
 * whole pages are advised; nothing else changes. */
void mem_advise_huge(void *memory, size_t size);

/* count * size with overflow checked; NULL when it overflows or there is none. */
void *mem_array(struct mem *mem, uint64_t count, size_t size);
void mem_array_free(struct mem *mem, void *memory, uint64_t count, size_t size);

/* Grows *array (of *capacity elements of `size` bytes) to hold at least `count`; doubles. Contents kept. Returns false
 * when there is no memory; the array is then as it was. */
bool mem_array_enlarge(struct mem *mem, void **array, size_t *capacity, size_t count, size_t size);
static inline bool mem_array_grow(struct mem *mem, void **array, size_t *capacity, size_t count, size_t size) {
  return count <= *capacity || mem_array_enlarge(mem, array, capacity, count, size);
}

#endif
