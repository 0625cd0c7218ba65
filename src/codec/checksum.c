/* Owns: the calls of xxHash. */
#include "codec/checksum.h"

#include <xxhash.h>
#if defined(WODAN_XXHASH_DISPATCHES)
#include <xxh_x86dispatch.h> /* the same functions, by what the processor can */
#endif

uint64_t checksum_seed(const uint8_t fsid[16]) { return XXH3_64bits(fsid, 16); }

uint64_t checksum(uint64_t seed, const void *data, size_t size) { return XXH3_64bits_withSeed(data, size, seed); }
