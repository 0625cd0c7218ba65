/* Owns: the table of byte values seen behind prefixes, and the mapping that it makes.
 *
 * Always true: behind one prefix the mapping is strictly monotone on the values seen; the table id stays.
 *
 * Order: everything is collected before anything is mapped: each value seen later moves the others.
 *
 * What was seen behind a prefix is what both tables say: `seen`, whose places prefixes share by a hash, has the values of
 * all of them; `pairs`, a Bloom filter of prefixes with what follows, tells which of them are this prefix's own. A value
 * becomes its rank alone: nothing of it is left that the order of the keys does not tell, and what repeats itself behind
 * other prefixes still does, and packs.
 *
 * See: scramble.h; tests/unit/test_image_copy.c. */
#include "inspect/scramble.h"

#include "format/record.h"

enum { PLACES = 1 << 16, WORDS = 4, PROBES = 6, LETTERS = 26, PAIRS_MIN = 1 << 10, PAIRS_MAX = 1 << 21 };

struct scramble {
  uint64_t seen[PLACES][WORDS]; /* a bit each byte value; 2 MiB */
  uint64_t pair_words;          /* of pairs[], a power of two: a byte for each of the volume, up to 16 MiB */
  uint64_t pairs[];
};

static uint64_t size_of(uint64_t pair_words) { return sizeof(struct scramble) + pair_words * sizeof(uint64_t); }

static uint64_t mix(uint64_t z) {
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

struct scramble *scramble_create(struct mem *mem, uint64_t bytes) {
  uint64_t words = PAIRS_MIN;
  while (words < PAIRS_MAX && words * sizeof(uint64_t) < bytes) words *= 2;
  struct scramble *scramble = mem_zalloc(mem, size_of(words));
  if (scramble) scramble->pair_words = words;
  return scramble;
}

void scramble_free(struct scramble *scramble, struct mem *mem) {
  mem_free(mem, scramble, size_of(scramble->pair_words));
}

static void step(struct scramble_at *at, uint8_t byte) {
  at->prefix = mix(at->prefix + byte + 1);
  at->size++;
}

/* The i-th bit of a pair: which word, and the bit in it. */
static uint64_t probe(const struct scramble *scramble, uint64_t *hash, uint64_t *mask) {
  *hash = mix(*hash);
  *mask = (uint64_t)1 << (*hash >> 58);
  return *hash & (scramble->pair_words - 1);
}

static uint64_t pair_hash(uint64_t prefix, uint8_t byte) { return prefix + byte * 0x9E3779B97F4A7C15u; }

static void pair_add(struct scramble *scramble, uint64_t prefix, uint8_t byte) {
  uint64_t hash = pair_hash(prefix, byte), mask;
  for (int i = 0; i < PROBES; i++) {
    uint64_t word = probe(scramble, &hash, &mask);
    scramble->pairs[word] |= mask;
  }
}

static bool pair_known(const struct scramble *scramble, uint64_t prefix, uint8_t byte) {
  uint64_t hash = pair_hash(prefix, byte), mask;
  bool known = true;
  for (int i = 0; i < PROBES && known; i++) {
    uint64_t word = probe(scramble, &hash, &mask);
    known = scramble->pairs[word] & mask;
  }
  return known;
}

void scramble_collect(struct scramble *scramble, struct scramble_at *at, const uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) {
    uint64_t *seen = scramble->seen[at->prefix % PLACES];
    seen[bytes[i] / 64] |= (uint64_t)1 << bytes[i] % 64;
    pair_add(scramble, at->prefix, bytes[i]);
    step(at, bytes[i]);
  }
}

static uint8_t map(const struct scramble *scramble, const struct scramble_at *at, uint8_t byte) {
  const uint64_t *seen = scramble->seen[at->prefix % PLACES];
  uint32_t rank = 0, count = 1; /* the byte itself, seen or not: a device may change its mind */
  for (uint32_t w = 0; w < WORDS; w++)
    for (uint64_t left = seen[w]; left; left &= left - 1) {
      uint8_t value = (uint8_t)(64 * w + (uint32_t)__builtin_ctzll(left));
      if (value == byte || !pair_known(scramble, at->prefix, value)) continue;
      count++;
      rank += value < byte;
    }
  return (uint8_t)(count <= LETTERS ? 'a' + rank : rank); /* letters are for people's eyes */
}

void scramble_apply(const struct scramble *scramble, struct scramble_at *at, uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) {
    uint8_t byte = bytes[i];
    if (at->size >= TABLE_ID_SIZE) bytes[i] = map(scramble, at, byte);
    step(at, byte);
  }
}
