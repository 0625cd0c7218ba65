/* The one compression: LZ4 blocks (system library), for pages of leaves. One block a page, without a frame or a
 * dictionary, so that every page is read alone. */
#ifndef CODEC_COMPRESS_H
#define CODEC_COMPRESS_H

#include "base/mem.h"

/* How hard a writer tries; readers need not know. The numbers stand in superblocks. */
enum compression { COMPRESSION_OFF = 0, COMPRESSION_FAST = 1, COMPRESSION_HIGH = 2 };

struct compressor;

/* Bytes that compressor_create takes, for pages of at most size_max bytes; 0 with COMPRESSION_OFF. */
uint64_t compressor_memory(enum compression how, size_t size_max);
/* All memory that compressing so hard, or less, ever needs, taken at once; used by one thread at a time. NULL: no memory. */
struct compressor *compressor_create(struct mem *mem, enum compression how, size_t size_max);
void compressor_free(struct compressor *compressor); /* NULL is allowed */
/* The length of what `size` bytes became, in *packed until the next call; 0: they gain less than 12 %, or are more than
 * size_max. how: at most that of the compressor. Never fails. */
size_t compressor_pack(struct compressor *compressor, enum compression how, const uint8_t *bytes, size_t size,
                       const uint8_t **packed);

/* The bytes of a block, of which nothing is trusted: true when it decodes to exactly `size` bytes. Reads and writes only
 * what it was given, whatever the block says. Thread-safe, takes no memory. The block may be the end of the very memory that
 * starts at `bytes`, when that has compress_in_place(size) bytes: then it is written over, and the answer is the same. */
size_t compress_in_place(size_t size);
bool compress_unpack(const uint8_t *packed, size_t length, uint8_t *bytes, size_t size);

#endif
