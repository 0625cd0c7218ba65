/* Gaps: ranges of keys in which nothing is visible any more, as cursors found them that had to step over many deletes. The next
 * cursor jumps over a gap instead, until a put comes into it; so a queue's deletes are stepped over once, not at each seek.
 * In memory only, a handful, and only a hint: a gap that is forgotten costs time and nothing else. */
#ifndef ENGINE_GAPS_H
#define ENGINE_GAPS_H

#include <stdbool.h>
#include "base/mem.h"
#include "base/thread.h"

struct gaps;

/* key_max: bytes of the longest tree key. NULL: no memory. */
struct gaps *gaps_create(struct mem *mem, size_t key_max);
void gaps_free(struct gaps *gaps); /* NULL is allowed */
uint64_t gaps_memory(size_t key_max);

/* No key in [lower, upper) is visible at `sequence`, which is the newest there is: the caller keeps puts out meanwhile. With
 * backward the end of the range that matters most is the upper one. Replaces gaps that it touches, or the one longest unused. */
struct gap_range {
  struct wodan_slice lower, upper;
};
void gaps_add(struct gaps *gaps, const struct gap_range *range, uint64_t sequence, bool backward);

/* Whether `key` lies in a gap, for a reader at `sequence`. Forward: `to` (key_max + 1 bytes) gets its upper bound, at or behind
 * which the next visible record lies; backward: its lower bound, at or before which the last one lies. */
bool gaps_find(struct gaps *gaps, struct wodan_slice key, uint64_t sequence, bool backward, uint8_t *to, size_t *size);

/* This key is there from now on. The caller keeps gaps_add out until its sequence is the newest. */
void gaps_put(struct gaps *gaps, struct wodan_slice key);

#endif
