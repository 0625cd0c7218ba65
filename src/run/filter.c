/* Owns: the bits of a run's filter.
 * Always true: adding and probing walk the same bits, so an added key is never denied; all lie in the key's line.
 * See: tests/unit/test_filter.c. */
#include "run/filter.h"

#include <assert.h>

#define FILTER_STEP UINT32_C(0x9E3779B1)

uint32_t filter_lines(uint64_t records) {
  uint64_t per_line = FILTER_LINE_SIZE * 8;
  if (records > (UINT64_MAX - per_line) / FILTER_BITS_PER_KEY) return 0;
  uint64_t lines = (records * FILTER_BITS_PER_KEY + per_line - 1) / per_line;
  if (lines > UINT32_MAX) return 0;
  return lines ? (uint32_t)lines : 1;
}

void filter_add(uint8_t *filter, uint32_t lines, uint64_t hash) {
  assert(lines > 0);
  uint8_t *line = filter + (filter_line(filter, lines, hash) - filter);
  uint32_t a = (uint32_t)hash;
  for (int probe = 0; probe < FILTER_PROBES; probe++, a *= FILTER_STEP) {
    uint32_t bit = a >> 23;
    line[bit / 8] = (uint8_t)(line[bit / 8] | 1u << (bit % 8));
  }
}

bool filter_may_contain(const uint8_t *filter, uint32_t lines, uint64_t hash) {
  assert(lines > 0);
  return filter_line_may_contain(filter_line(filter, lines, hash), hash);
}

bool filter_line_may_contain(const uint8_t line[FILTER_LINE_SIZE], uint64_t hash) {
  uint32_t a = (uint32_t)hash;
  for (int probe = 0; probe < FILTER_PROBES; probe++, a *= FILTER_STEP) {
    uint32_t bit = a >> 23;
    if (!(line[bit / 8] >> (bit % 8) & 1)) return false;
  }
  return true;
}
