/* Owns: the table of byte values seen behind prefixes, and the mapping that it makes.
 *
 * Always true: behind one prefix the mapping is strictly monotone on the values seen; the table id stays.
 *
 * Order: everything is collected before anything is mapped: each value seen later moves the others.
 *
 * See: scramble.h; tests/unit/test_image_copy.c. */
#include "inspect/scramble.h"

#include "format/record.h"

enum { PLACES = 1 << 16, WORDS = 4 }; /* 2 MiB */

struct scramble {
  uint64_t seed;
  uint64_t seen[PLACES][WORDS]; /* a bit each byte value */
};

static uint64_t mix(uint64_t z) {
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

struct scramble *scramble_create(struct mem *mem, uint64_t seed) {
  struct scramble *scramble = mem_zalloc(mem, sizeof *scramble);
  if (scramble) scramble->seed = seed;
  return scramble;
}

void scramble_free(struct scramble *scramble, struct mem *mem) { mem_free(mem, scramble, sizeof *scramble); }

static void step(const struct scramble *scramble, struct scramble_at *at, uint8_t byte) {
  at->prefix = mix(at->prefix + scramble->seed + byte + 1);
  at->size++;
}

void scramble_collect(struct scramble *scramble, struct scramble_at *at, const uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) {
    uint64_t *seen = scramble->seen[at->prefix % PLACES];
    seen[bytes[i] / 64] |= (uint64_t)1 << bytes[i] % 64;
    step(scramble, at, bytes[i]);
  }
}

static uint8_t map(const struct scramble *scramble, const struct scramble_at *at, uint8_t byte) {
  const uint64_t *seen = scramble->seen[at->prefix % PLACES];
  uint32_t rank = 0, count = seen[byte / 64] >> byte % 64 & 1 ? 0 : 1; /* not seen: a device that changes its mind */
  for (uint32_t w = 0; w < WORDS; w++) {
    count += (uint32_t)__builtin_popcountll(seen[w]);
    if (w < byte / 64u) rank += (uint32_t)__builtin_popcountll(seen[w]);
  }
  rank += (uint32_t)__builtin_popcountll(seen[byte / 64] & (((uint64_t)1 << byte % 64) - 1));
  uint32_t from = 256 * rank / count, to = 256 * (rank + 1) / count;
  uint64_t random = mix(at->prefix + mix(scramble->seed + rank));
  return (uint8_t)(from + random % (to - from));
}

void scramble_apply(const struct scramble *scramble, struct scramble_at *at, uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) {
    uint8_t byte = bytes[i];
    if (at->size >= TABLE_ID_SIZE) bytes[i] = map(scramble, at, byte);
    step(scramble, at, byte);
  }
}
