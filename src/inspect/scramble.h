/* Scrambling of keys that keeps their order. Each byte of a key is mapped by what stands before it: of the byte values seen
 * behind a prefix the r-th smallest becomes the number r, as a letter where there are few. So keys keep lengths, order,
 * equality and common prefixes, and nothing else.
 *
 * Two passes: all keys are collected first, then mapped. A key that was not collected must not be mapped. What was seen is
 * kept in memory of a fixed size: with more prefixes than it can tell apart (some millions), values of other prefixes count
 * too, and a number tells more of the value that it stands for. */
#ifndef INSPECT_SCRAMBLE_H
#define INSPECT_SCRAMBLE_H

#include "base/mem.h"

struct scramble;

/* Where in a key one is: behind which bytes. All zero: at its start. */
struct scramble_at {
  uint64_t prefix; /* a hash of the bytes so far */
  uint64_t size;   /* of them */
};

/* For the keys in so many bytes. NULL: no memory. */
struct scramble *scramble_create(struct mem *mem, uint64_t bytes);
void scramble_free(struct scramble *scramble, struct mem *mem);

/* The key's next bytes, seen. */
void scramble_collect(struct scramble *scramble, struct scramble_at *at, const uint8_t *bytes, size_t size);
/* The key's next bytes, mapped in place. */
void scramble_apply(const struct scramble *scramble, struct scramble_at *at, uint8_t *bytes, size_t size);

#endif
