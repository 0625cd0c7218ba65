/* Blob reader: any slice of a large value, by touching its header, its chunk table and the chunks under the slice only. One
 * thread; whoever reads keeps the blob alive (blobs.h). */
#ifndef BLOB_BLOB_READ_H
#define BLOB_BLOB_READ_H

#include "format/blob.h"
#include "format/record.h"
#include "io/block_io.h"
#include "journal/journal.h"

struct blob_reader {
  struct block_io *io;
  struct mem *mem; /* of all but the header while it is proven */
  struct blob_ref ref;
  uint32_t page_size;
  uint64_t chunks_at; /* offset of the chunks in the object */
  uint8_t *table;
  size_t table_size;
  uint8_t *stored, *raw;       /* a chunk each, once one was needed */
  uint64_t next, table_at, at; /* the next chunk, its table entry, where it is stored */
  uint64_t held;               /* number of the chunk in `raw`; UINT64_MAX: none */
};

/* Most memory that reading a value of this size takes; packed: its chunks may be compressed. */
uint64_t blob_read_memory(uint32_t page_size, uint64_t value_size, bool packed);

/* Reads and proves header and table. key: the record's tree key, which must be the blob's own. WODAN_ECORRUPT, WODAN_EIO,
 * WODAN_ENOMEM. */
struct blob_source {
  struct block_io *io;
  struct mem *mem;
  uint32_t page_size;
  struct wodan_slice key;
};
int blob_reader_open(struct blob_reader *reader, const struct blob_source *source, const struct blob_ref *ref,
                     struct wodan_error *error);
/* Bytes [offset, offset + size) of the value, all of them inside it; each chunk is proven. Reading on from where the last call
 * ended is cheap. */
int blob_reader_read(struct blob_reader *reader, uint64_t offset, uint8_t *bytes, size_t size,
                     struct wodan_error *error);
void blob_reader_close(struct blob_reader *reader);
/* The whole value to `bytes`. A small blob takes one read, where there is memory for it. Errors as of a reader. */
int blob_read_whole(const struct blob_source *source, const struct blob_ref *ref, uint8_t *bytes,
                    struct wodan_error *error);
/* Reads all of it, and keeps nothing: 0 when it is whole. */
int blob_prove(const struct blob_source *source, const struct blob_ref *ref, struct wodan_error *error);

/* For a journal that is mounted: the same of what its newest record names, whatever the source's key, which stays there as long as
 * the journal. */
struct journal_proof blob_proof(struct blob_source *source);

/* What is wrong with a blob's header, beyond what any header proves, for this reference; NULL: nothing. */
const char *blob_header_fault(const struct object_header *header, const struct blob_ref *ref, struct wodan_slice key,
                              uint32_t page_size);
/* And with its table. */
const char *blob_table_fault(const uint8_t *table, size_t size, const struct object_header *header, uint32_t page_size);
/* From what is stored for a chunk to its `raw` bytes, which are then in `bytes`; NULL, or what is wrong. `stored` may be
 * `bytes` where the chunk is not compressed. bytes NULL: only its checksum is looked at. */
const char *blob_chunk_take(uint64_t seed, const struct blob_chunk *chunk, size_t raw, const uint8_t *stored,
                            uint8_t *bytes);

#endif
