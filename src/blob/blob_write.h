/* Blob writer: a large value into an object of its own, streamed. One thread. */
#ifndef BLOB_BLOB_WRITE_H
#define BLOB_BLOB_WRITE_H

#include "codec/compress.h"
#include "format/blob.h"
#include "object/object_writer.h"

struct blob_write_options {
  struct wodan_slice key; /* tree key; copied */
  uint64_t size;          /* of the value; with `grows` a guess, at least 1 */
  bool grows;
  uint64_t spare;            /* see space_allocate_sparing */
  enum compression compress; /* of its chunks */
  uint32_t page_size;
  uint64_t chunk_size; /* bytes written at once, about */
  struct epoch epoch;
};

struct blob_writer {
  struct object_writer object;
  struct blob_write_options options;
  uint8_t *key;
  struct compressor *compressor; /* NULL: nothing is compressed */
  uint8_t *raw;                  /* the chunk being filled by small pieces; NULL until one comes */
  size_t raw_size;
  uint8_t *table;
  size_t table_size, table_capacity;
  uint64_t value_size, stored_size;
  uint32_t header_length;
};

/* Upper bound of the object's bytes. */
uint64_t blob_size_bound(const struct block_io *io, size_t key_size, uint64_t value_size, uint32_t page_size);
/* Most memory that writing takes; chunk_size: bytes written at once, a block at least. */
uint64_t blob_write_memory(uint32_t page_size, uint64_t chunk_size, uint64_t value_size, enum compression compress);

/* WODAN_ENOMEM. */
int blob_writer_init(struct blob_writer *writer, struct block_io *io, struct space *space,
                     const struct blob_write_options *options, struct wodan_error *error);
/* The next bytes of the value. WODAN_ETOOBIG, WODAN_ENOSPC, WODAN_ENOMEM, WODAN_EIO: the writer is of no more use. */
int blob_writer_append(struct blob_writer *writer, const uint8_t *bytes, size_t size, struct wodan_error *error);
/* Writes the rest (not ordered, not flushed), gives unused space back; ref is what to put. The space is the caller's then. */
int blob_writer_finish(struct blob_writer *writer, uint64_t generation, struct blob_ref *ref,
                       struct wodan_error *error);
/* Frees its memory and, unless it was finished, gives its space back. */
void blob_writer_release(struct blob_writer *writer);

#endif
