/* Owns: the calls of xxHash. */
#include "codec/checksum.h"

#include <xxhash.h>

uint64_t checksum_seed(const uint8_t fsid[16]) { return XXH3_64bits(fsid, 16); }

uint64_t checksum(uint64_t seed, const void *data, size_t size) { return XXH3_64bits_withSeed(data, size, seed); }
