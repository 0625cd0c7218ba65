/* Owns: the words of a memtable's key filter and when they grow.
 * Always true: a key added has its bits set in words.
 * Order: next becomes words only when the caller has moved every record of the table, those added meanwhile too.
 * See: tests/unit/test_memtable.c. */
#include "memtable/key_filter.h"

#include <assert.h>

enum {
  WORDS_MIN = 8,
  FULL_SHARE = 16,      /* once so much of what is expected is there, the next filter is for all of it */
  RECORDS_PER_WORD = 8, /* more than that starts a bigger filter: a byte a record, about 5 % of misses get through */
};

void key_filter_init(struct key_filter *filter, struct mem *mem) { *filter = (struct key_filter){.mem = mem}; }

void key_filter_release(struct key_filter *filter) {
  mem_array_free(filter->mem, filter->words, filter->count, sizeof(uint64_t));
  mem_array_free(filter->mem, filter->next, filter->next_count, sizeof(uint64_t));
  key_filter_init(filter, filter->mem);
}

bool key_filter_reserve(struct key_filter *filter, uint64_t records, uint64_t more, uint64_t expected) {
  if (filter->next || more > UINT64_MAX - records) return filter->next != NULL;
  uint64_t wanted = records + more;
  if (filter->words && wanted / RECORDS_PER_WORD < filter->count) return true;
  if (wanted < expected && wanted >= expected / FULL_SHARE) wanted = expected;
  if (wanted > SIZE_MAX / 64) return false;
  size_t count = WORDS_MIN;
  while (wanted / RECORDS_PER_WORD >= count) count *= 2;

  uint64_t *words = mem_array(filter->mem, count, sizeof *words);
  if (!words) return false;
  for (size_t i = 0; i < count; i++) words[i] = 0;
  if (records == 0) {
    mem_array_free(filter->mem, filter->words, filter->count, sizeof *words);
    filter->words = words;
    filter->count = count;
  } else {
    filter->next = words;
    filter->next_count = count;
  }
  return true;
}

void key_filter_move(struct key_filter *filter, uint64_t hash) {
  assert(filter->next);
  filter->next[hash >> 18 & (filter->next_count - 1)] |= key_filter_bits(hash);
}

void key_filter_add(struct key_filter *filter, uint64_t hash) {
  assert(filter->words);
  filter->words[hash >> 18 & (filter->count - 1)] |= key_filter_bits(hash);
}

void key_filter_switch(struct key_filter *filter) {
  assert(filter->next);
  mem_array_free(filter->mem, filter->words, filter->count, sizeof *filter->words);
  filter->words = filter->next;
  filter->count = filter->next_count;
  filter->next = NULL;
  filter->next_count = 0;
}
