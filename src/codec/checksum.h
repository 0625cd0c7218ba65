/* The one checksum: XXH3-64 (xxHash, system library), seeded with the volume's fsid so that a block of another
 * volume never passes. */
#ifndef CODEC_CHECKSUM_H
#define CODEC_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* The seed of a volume: XXH3-64 of its 16 fsid bytes, seed 0. */
uint64_t checksum_seed(const uint8_t fsid[16]);
uint64_t checksum(uint64_t seed, const void *data, size_t size);

/* The same of bytes that come in pieces: begin, add each, and what `end` gives is their checksum. */
struct checksum_pieces {
  _Alignas(64) unsigned char state[576];
};
void checksum_begin(struct checksum_pieces *pieces, uint64_t seed);
void checksum_add(struct checksum_pieces *pieces, const void *data, size_t size);
uint64_t checksum_end(const struct checksum_pieces *pieces);

#endif
