/* Filter: a blocked Bloom filter over the keys of a run; one cache line a probe.
 *
 *   OFFSET SIZE DESCRIPTION
 *        0   64 line 0: 512 bits, bit n is byte n / 8, bit n % 8 (the lowest is 0)
 *       64   64 line 1, and so on: ceil(records * 10 / 512) lines, at least one
 *
 * A key sets 6 bits of one line. h = XXH3-64 of the tree key with the volume seed; line = (high 32 bits of h * lines)
 * >> 32; a = low 32 bits of h; each bit's number is a >> 23, and then a = a * 0x9E3779B1 modulo 2^32.
 * No key of the run is ever denied; of others about one in a hundred is let through. */
#ifndef RUN_FILTER_H
#define RUN_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FILTER_LINE_SIZE = 64, FILTER_BITS_PER_KEY = 10, FILTER_PROBES = 6 };

/* Lines for so many records; 0 when there would be too many (2^32 or more). */
uint32_t filter_lines(uint64_t records);
void filter_add(uint8_t *filter, uint32_t lines, uint64_t hash);
bool filter_may_contain(const uint8_t *filter, uint32_t lines, uint64_t hash);

/* The line of a hash, by its number, and whether a line lets it through: for who has a part of the filter only. */
static inline uint32_t filter_line_number(uint32_t lines, uint64_t hash) {
  return (uint32_t)((hash >> 32) * lines >> 32);
}
bool filter_line_may_contain(const uint8_t line[FILTER_LINE_SIZE], uint64_t hash);

static inline const uint8_t *filter_line(const uint8_t *filter, uint32_t lines, uint64_t hash) {
  return filter + (size_t)filter_line_number(lines, hash) * FILTER_LINE_SIZE;
}
static inline void filter_prefetch(const uint8_t *filter, uint32_t lines, uint64_t hash) {
  __builtin_prefetch(filter_line(filter, lines, hash));
}

#endif
