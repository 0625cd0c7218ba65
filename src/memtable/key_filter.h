/* Key filter: a bitmap that knows most keys that are not in a memtable. About a byte a record; grows with the table a
 * little at each insert, never all at once. */
#ifndef MEMTABLE_KEY_FILTER_H
#define MEMTABLE_KEY_FILTER_H

#include "base/mem.h"

struct key_filter {
  struct mem *mem;
  uint64_t *words; /* NULL before the first reservation: every key may be there */
  size_t count;    /* words, power of two */
  uint64_t *next;  /* the bigger filter while it is being filled; NULL when there is none */
  size_t next_count;
};

void key_filter_init(struct key_filter *filter, struct mem *mem);
void key_filter_release(struct key_filter *filter);

/* Makes room for `more` records on top of `records`; may start a bigger filter, of `expected` records when they are not far (0:
 * unknown). false: no memory, nothing changed. */
bool key_filter_reserve(struct key_filter *filter, uint64_t records, uint64_t more, uint64_t expected);
/* The key is in the filter from now on. After key_filter_reserve. */
void key_filter_add(struct key_filter *filter, uint64_t hash);

/* Begins to load what key_filter_add will touch; returns the hash. */
static inline uint64_t key_filter_expect(const struct key_filter *filter, uint64_t hash) {
  __builtin_prefetch(&filter->words[hash >> 18 & (filter->count - 1)], 1);
  return hash;
}

/* While next is there: every record of the table goes to key_filter_move, then comes key_filter_switch. */
void key_filter_move(struct key_filter *filter, uint64_t hash);
void key_filter_switch(struct key_filter *filter);

/* Three bits in the one word that the hash picks. */
static inline uint64_t key_filter_bits(uint64_t hash) {
  return UINT64_C(1) << (hash & 63) | UINT64_C(1) << (hash >> 6 & 63) | UINT64_C(1) << (hash >> 12 & 63);
}

/* false: the key was never added. */
static inline bool key_filter_has(const struct key_filter *filter, uint64_t hash) {
  if (!filter->words) return true;
  uint64_t bits = key_filter_bits(hash);
  return (filter->words[hash >> 18 & (filter->count - 1)] & bits) == bits;
}

#endif
