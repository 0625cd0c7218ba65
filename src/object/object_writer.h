/* Object writer: streams the bytes of a run or blob into an object, through chunks of whole blocks, and writes its header
 * last. One thread. */
#ifndef OBJECT_OBJECT_WRITER_H
#define OBJECT_OBJECT_WRITER_H

#include "io/block_io.h"
#include "space/space.h"

struct object_writer_options {
  uint64_t size_max;   /* bytes of the finished object at most; with `grows` a first guess of them */
  uint64_t chunk_size; /* bytes written at once, about */
  enum space_kind kind;
  uint64_t spare; /* blocks that must stay free for others, see space_allocate_sparing */
  bool at_once;   /* it is written without a pause: may be in memory of the device's write-behind meanwhile */
  bool grows;     /* takes more space where size_max was too little, as long as its extents suffice */
};

struct object_writer {
  struct block_io *io;
  struct space *space;
  struct object_writer_options options;
  struct extent extents[BLOCK_PTR_EXTENTS_MAX];
  uint32_t extent_count;
  uint64_t blocks;        /* that it may have; all of them taken when extent_count > 0 */
  uint8_t *first, *chunk; /* the same until the first is full; chunk_size bytes each */
  bool lent;              /* `first` holds the whole object and belongs to the write-behind */
  size_t chunk_size, chunk_used;
  uint64_t chunk_offset; /* of `chunk` in the object */
};

/* WODAN_ENOMEM. Takes no space yet: append and finish may answer WODAN_ENOSPC. */
int object_writer_init(struct object_writer *writer, struct block_io *io, struct space *space,
                       const struct object_writer_options *options, struct wodan_error *error);
/* Its memory; with give_back its space too, which nothing durable names. */
void object_writer_release(struct object_writer *writer, bool give_back);

/* Bytes of the object so far. */
static inline uint64_t object_writer_at(const struct object_writer *writer) {
  return writer->chunk_offset + writer->chunk_used;
}
/* Appends; full chunks are written on the way (WODAN_EIO ends the writer's use). bytes NULL: zeros. */
int object_writer_append(struct object_writer *writer, const uint8_t *bytes, size_t size, struct wodan_error *error);
/* Appends a section whose bytes are at hand and notes it. */
int object_writer_section(struct object_writer *writer, uint8_t tag, const uint8_t *bytes, size_t size,
                          struct section *section, struct wodan_error *error);
/* Pads the last block, writes the rest and then the first chunk with its header, for which the first bytes appended are the
 * room; gives back what is not used. The header's length and extents are filled in here, and ptr. Nothing is ordered. */
int object_writer_finish(struct object_writer *writer, struct object_header *header, struct block_ptr *ptr,
                         struct wodan_error *error);

#endif
