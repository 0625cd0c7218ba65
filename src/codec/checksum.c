/* Owns: the calls of xxHash. */
#include "codec/checksum.h"

#define XXH_STATIC_LINKING_ONLY /* the size of a state */
#include <xxhash.h>
#if defined(WODAN_XXHASH_DISPATCHES)
#include <xxh_x86dispatch.h> /* the same functions, by what the processor can */
#endif

uint64_t checksum_seed(const uint8_t fsid[16]) { return XXH3_64bits(fsid, 16); }

uint64_t checksum(uint64_t seed, const void *data, size_t size) { return XXH3_64bits_withSeed(data, size, seed); }

_Static_assert(sizeof(XXH3_state_t) <= sizeof(struct checksum_pieces), "a state fits");

void checksum_begin(struct checksum_pieces *pieces, uint64_t seed) {
  XXH3_INITSTATE((XXH3_state_t *)pieces->state);
  XXH3_64bits_reset_withSeed((XXH3_state_t *)pieces->state, seed);
}

void checksum_add(struct checksum_pieces *pieces, const void *data, size_t size) {
  XXH3_64bits_update((XXH3_state_t *)pieces->state, data, size);
}

uint64_t checksum_end(const struct checksum_pieces *pieces) {
  return XXH3_64bits_digest((const XXH3_state_t *)pieces->state);
}
