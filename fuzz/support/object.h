/* One object (a run or a node) as an input: its bytes, which lie from the first block of the data area of the volume of
 * volume.h on. */
#ifndef FUZZ_SUPPORT_OBJECT_H
#define FUZZ_SUPPORT_OBJECT_H

#include "io/block_io.h"
#include "support/volume.h"

enum { OBJECT_MAX = 8 << 10 };

/* The volume's block_io, over memory that is made at the first call. */
struct block_io *object_io(void);
/* Puts the bytes there, and makes the pointer that a good reader of its header would: false when it has none. */
bool object_place(const uint8_t *data, size_t size, uint8_t type, struct block_ptr *ptr);
/* The volume's bytes from where objects lie, OBJECT_MAX of them, to read or to write. */
uint8_t *object_bytes(void);
/* A mutator: repairs the checksums of pages, sections and header. */
size_t object_mutate(uint8_t *data, size_t size, size_t size_max, unsigned seed);

#endif
