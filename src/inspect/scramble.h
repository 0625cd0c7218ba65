/* Scrambling of keys that keeps their order. Each byte of a key is mapped by what stands before it: of the byte values seen
 * behind a prefix, k of them, the r-th smallest becomes some value from the r-th of k equal parts of 0..255. So keys keep
 * lengths, order, equality and common prefixes.
 *
 * Two passes: all keys are collected first, then mapped. A key that was not collected must not be mapped. The table of what
 * was seen has a fixed size, prefixes share its places by a hash: then a place has more values, and each of them fewer to
 * choose from. */
#ifndef INSPECT_SCRAMBLE_H
#define INSPECT_SCRAMBLE_H

#include "base/mem.h"

struct scramble;

/* Where in a key one is: behind which bytes. All zero: at its start. */
struct scramble_at {
  uint64_t prefix; /* a hash of the bytes so far */
  uint64_t size;   /* of them */
};

/* NULL: no memory. */
struct scramble *scramble_create(struct mem *mem, uint64_t seed);
void scramble_free(struct scramble *scramble, struct mem *mem);

/* The key's next bytes, seen. */
void scramble_collect(struct scramble *scramble, struct scramble_at *at, const uint8_t *bytes, size_t size);
/* The key's next bytes, mapped in place. */
void scramble_apply(const struct scramble *scramble, struct scramble_at *at, uint8_t *bytes, size_t size);

#endif
