/* Reads and writes inside objects by pointer: maps an object's bytes to its extents, moves whole sectors through aligned
 * buffers, and proves headers on the way in. Thread-safe. */
#ifndef IO_BLOCK_IO_H
#define IO_BLOCK_IO_H

#include "base/mem.h"
#include "base/status.h"
#include "dev/device.h"
#include "format/block_ptr.h"
#include "format/object_header.h"

/* What was read last, in whole sectors: for one thread that reads objects piece for piece, so that no sector is read again for
 * the piece behind. */
struct block_window {
  uint8_t *bytes; /* NULL: nothing was read yet */
  size_t capacity, length;
  uint64_t at; /* of the device */
};

/* Fixed while a volume is open. */
struct block_io {
  struct device *device;
  struct mem *mem;
  struct volume_bounds bounds;
  uint8_t fsid[16];
  uint64_t seed;
  size_t bounce_max;           /* most bytes read or written at once where the caller's buffer does not fit; 0: 1 MiB */
  struct block_window *window; /* NULL: none */
};

/* What was read last is not what it should be: the next read asks the device. */
static inline void block_io_doubt(struct block_io *io) {
  if (io->window) io->window->length = 0;
}
/* Gives the window's memory back, until the next read. */
void block_io_release_window(struct block_io *io);

/* Any byte range [offset, offset + size) of the object with these extents, into any buffer. */
int block_io_read(struct block_io *io, const struct extent *extents, uint32_t count, uint64_t offset, void *buffer,
                  size_t size, struct wodan_error *error);
/* Whole blocks: offset and size multiples of the block size, buffer aligned to BLOCK_IO_ALIGNMENT. */
enum { BLOCK_IO_ALIGNMENT = 4096 };
int block_io_write(struct block_io *io, const struct extent *extents, uint32_t count, uint64_t offset,
                   const void *buffer, size_t size, struct wodan_error *error);
/* Device block that holds byte `offset` of the object, for error messages. */
uint64_t block_io_locate(const struct block_io *io, const struct extent *extents, uint32_t count, uint64_t offset);

/* What is wrong with the header in `bytes` (ptr->header_length of them) for this pointer: NULL: nothing; then *header is what it
 * says, with slices into `bytes`. */
const char *block_io_header_fault(const struct block_io *io, const struct block_ptr *ptr, uint8_t type,
                                  const uint8_t *bytes, struct object_header *header);
/* Reads the header a pointer names and proves: checksum equal to the pointer's, type, fsid, generation, length, own
 * extents equal to the pointer's. *buffer (ptr->header_length bytes, mem_free it) backs the slices in *header. A bad
 * header is read a second time before it is called damage. */
int block_io_read_header(struct block_io *io, const struct block_ptr *ptr, uint8_t type, struct object_header *header,
                         uint8_t **buffer, struct wodan_error *error);
/* Reads a section into fresh memory (section->length bytes) and proves its checksum; re-read once like headers. Longer
 * sections than this are refused, so nobody may write one. */
enum { BLOCK_IO_SECTION_MAX = 1 << 30 };
int block_io_read_section(struct block_io *io, const struct block_ptr *ptr, const struct section *section,
                          uint8_t **buffer, struct wodan_error *error);
/* The same into the caller's memory, section->length bytes. */
int block_io_fill_section(struct block_io *io, const struct block_ptr *ptr, const struct section *section,
                          uint8_t *bytes, struct wodan_error *error);

#endif
