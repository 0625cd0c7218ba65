/* Parts and streams of values: for large ones (kv.h) that are not wanted in memory as a whole. All of it works on small values
 * too. */
#ifndef WODAN_VALUE_H
#define WODAN_VALUE_H

#include <wodan/kv.h>

WODAN_BEGIN

/* A stretch of a value. */
struct wodan_part {
  uint64_t offset;     /* in: first byte wanted */
  void *buffer;        /* in */
  size_t capacity;     /* in: bytes of buffer */
  size_t size;         /* out: bytes copied, less than capacity only at the end of the value */
  uint64_t value_size; /* out: of the whole value */
};

/* Copies a stretch of the value into part->buffer, reading of a large one the blocks below it and its table only. An offset at
 * or behind the end copies nothing. view NULL: now. Errors as wodan_get, but WODAN_ERANGE; *part's out fields are 0 then. Any
 * thread. */
WODAN_API int wodan_get_part(struct wodan_db *db, struct wodan_view *view, struct wodan_slice key,
                             struct wodan_part *part);

/* Reads one value from its start to its end. It keeps that value as it was when the reader was opened, whatever is written
 * later, and with it the space of a large one; memory of the budget's part for readers: two chunks of 4 pages and, for each
 * chunk of the value, 13 bytes. One thread at a time. */
struct wodan_value_reader;
/* *size (may be NULL) gets the value's size. Errors as wodan_get. wodan_close answers WODAN_EBUSY until it is closed. */
WODAN_API int wodan_value_reader_open(struct wodan_db *db, struct wodan_view *view, struct wodan_slice key,
                                      struct wodan_value_reader **reader, uint64_t *size);
/* The next bytes, at most `capacity`; *size 0: it is at the end. WODAN_EIO, WODAN_ECORRUPT, WODAN_ENOMEM: nothing was moved. */
WODAN_API int wodan_value_reader_read(struct wodan_value_reader *reader, void *buffer, size_t capacity, size_t *size);
/* Goes on at byte `offset` of the value; behind its end: at its end. */
WODAN_API void wodan_value_reader_seek(struct wodan_value_reader *reader, uint64_t offset);
/* Frees it; NULL is allowed. */
WODAN_API void wodan_value_reader_close(struct wodan_value_reader *reader);

/* Writes one value piece by piece; nothing is visible before the commit. size_hint: bytes it will have, about; 0: unknown. A
 * good hint lets it lie in one stretch, and finds out at once that there is no room. One thread at a time. What it takes in
 * memory is the budget's: two buffers of at most 512 KiB, a chunk of 4 pages, and up to 39 bytes for each chunk. */
struct wodan_value_writer;
/* Errors as wodan_put. wodan_close answers WODAN_EBUSY until it is freed. */
WODAN_API int wodan_value_writer_create(struct wodan_db *db, struct wodan_slice key, uint64_t size_hint,
                                        struct wodan_value_writer **writer);
/* The next bytes; copied or written when it returns. After a failure (as of wodan_put) it can only be freed. */
WODAN_API int wodan_value_writer_append(struct wodan_value_writer *writer, const void *bytes, size_t size);
/* Puts the value, as wodan_put. Once; afterwards the writer can only be freed. */
WODAN_API int wodan_value_writer_commit(struct wodan_value_writer *writer, struct wodan_commit *commit);
/* Frees it; what was not committed is given up and its space is free at once. NULL is allowed. */
WODAN_API void wodan_value_writer_free(struct wodan_value_writer *writer);

WODAN_END

#endif
