/* Owns: reading large values, and the rules by which their headers, tables and chunks are proven.
 *
 * Always true: no byte of a value is handed out that its chunk's checksum did not prove; memory is taken by sizes that were
 * proven; a chunk or table that does not prove is read once more before it is called damage.
 *
 * Order: header, then table, then chunks. A whole chunk that is not compressed is read straight to where it is wanted. Of a
 * small value wanted as a whole all are read at once; where that does not prove, one by one, as if nothing had been.
 *
 * See: format/blob.h, tests/unit/test_blob.c. */
#include "blob/blob_read.h"

#include <assert.h>
#include <string.h>
#include "codec/checksum.h"
#include "codec/compress.h"

enum { ATTEMPTS = 2 };

static uint64_t chunk_max(const struct blob_reader *reader) { return (uint64_t)BLOB_CHUNK_PAGES * reader->page_size; }

/* Bytes of chunk number i before compression. */
static size_t chunk_raw(const struct blob_reader *reader, uint64_t i) {
  uint64_t at = i * chunk_max(reader), left = reader->ref.size - at;
  return (size_t)(left < chunk_max(reader) ? left : chunk_max(reader));
}

/* Bytes of a buffer for any chunk. */
static uint64_t buffer_size(const struct blob_reader *reader) {
  return chunk_max(reader) < reader->ref.size ? chunk_max(reader) : reader->ref.size;
}

uint64_t blob_read_memory(uint32_t page_size, uint64_t value_size, bool packed) {
  uint64_t chunk = (uint64_t)BLOB_CHUNK_PAGES * page_size;
  if (chunk > value_size) chunk = value_size;
  return (packed ? 2 : 1) * chunk + blob_chunk_count(value_size, page_size) * BLOB_CHUNK_ENTRY_MAX;
}

/* ---- proof --------------------------------------------------------------------------------------------------- */

const char *blob_header_fault(const struct object_header *header, const struct blob_ref *ref, struct wodan_slice key,
                              uint32_t page_size) {
  if (header->record_count != ref->size)
    return "it is of another size than the record that names it";                       /* guard: bounds */
  if (ref->size > blob_value_max(page_size)) return "it is larger than a value can be"; /* guard: bounds */
  if (key_compare(header->low, key) != 0 || key_compare(header->high, key) != 0)
    return "it is the value of another key"; /* guard: bounds */
  /* Each is one of a blob's two, and none is there twice: the header's decoder has proven that. */
  if (header->section_count != 2 || header->sections[0].tag != SECTION_CHUNKS)
    return "its sections are not chunks and their table"; /* guard: bounds */
  uint64_t chunks = blob_chunk_count(ref->size, page_size);
  if (header->sections[0].length > ref->size || header->sections[1].length > chunks * BLOB_CHUNK_ENTRY_MAX)
    return "its chunks or their table are longer than its size allows"; /* guard: bounds */
  return NULL;
}

const char *blob_table_fault(const uint8_t *table, size_t size, const struct object_header *header,
                             uint32_t page_size) {
  struct wire_reader r = wire_reader(table, size);
  uint64_t left = header->record_count, most = (uint64_t)BLOB_CHUNK_PAGES * page_size, stored = 0;
  while (left) {
    uint64_t raw = left < most ? left : most;
    struct blob_chunk chunk;
    if (!blob_chunk_decode(&r, raw, &chunk)) return "its table of chunks is malformed"; /* guard: bounds */
    stored += chunk.length;
    left -= raw;
  }
  if (r.at != r.size) return "its table has more chunks than its size needs";                      /* guard: bounds */
  if (stored != header->sections[0].length) return "its chunks are not as long as its table says"; /* guard: bounds */
  return NULL;
}

const char *blob_chunk_take(uint64_t seed, const struct blob_chunk *chunk, size_t raw, const uint8_t *stored,
                            uint8_t *bytes) {
  if (checksum(seed, stored, chunk->length) != chunk->checksum)
    return "a chunk has a wrong checksum"; /* guard: checksum */
  if (!bytes) return NULL;                 /* no guard: that was all that was asked */
  if (chunk->length < raw) {
    if (!compress_unpack(stored, chunk->length, bytes, raw))
      return "a compressed chunk does not decode to its size"; /* guard: bounds */
  } else if (stored != bytes) {
    memcpy(bytes, stored, raw);
  }
  return NULL;
}

static int damaged(const struct blob_reader *reader, uint64_t offset, const char *what, struct wodan_error *error) {
  const struct block_ptr *ptr = &reader->ref.ptr;
  return status_corrupt(error, block_io_locate(reader->io, ptr->extents, ptr->extent_count, offset),
                        "the large value of generation %llu: %s", (unsigned long long)ptr->generation, what);
}

/* ---- open ---------------------------------------------------------------------------------------------------- */

static int read_table(struct blob_reader *reader, const struct object_header *header, struct wodan_error *error) {
  const struct section *section = &header->sections[1];
  reader->chunks_at = header->sections[0].offset;
  reader->table_size = (size_t)section->length;
  reader->table = mem_alloc(reader->mem, section->length);
  if (!reader->table) return status_nomem(error);
  int status = block_io_fill_section(reader->io, &reader->ref.ptr, section, reader->table, error);
  if (status) return status;
  const char *fault = blob_table_fault(reader->table, reader->table_size, header, reader->page_size);
  return fault ? damaged(reader, section->offset, fault, error) : 0; /* guard: bounds */
}

int blob_reader_open(struct blob_reader *reader, const struct blob_source *source, const struct blob_ref *ref,
                     struct wodan_error *error) {
  struct object_header header;
  uint8_t *bytes = NULL;
  *reader = (struct blob_reader){
      .io = source->io, .mem = source->mem, .ref = *ref, .page_size = source->page_size, .held = UINT64_MAX};
  int status = block_io_read_header(source->io, &ref->ptr, OBJECT_BLOB, &header, &bytes, error);
  if (status) return status;
  const char *fault = blob_header_fault(&header, ref, source->key, source->page_size);
  status = fault ? damaged(reader, 0, fault, error) : read_table(reader, &header, error); /* guard: bounds */
  mem_free(source->io->mem, bytes, ref->ptr.header_length);
  if (status) blob_reader_close(reader);
  reader->at = reader->chunks_at;
  return status;
}

void blob_reader_close(struct blob_reader *reader) {
  if (!reader->io) return;
  mem_free(reader->mem, reader->table, reader->table_size);
  mem_free(reader->mem, reader->stored, buffer_size(reader));
  mem_free(reader->mem, reader->raw, buffer_size(reader));
  *reader = (struct blob_reader){0};
}

/* ---- chunks -------------------------------------------------------------------------------------------------- */

/* The entry of chunk i, and where it is stored: goes on from the last one, or from the start. */
static struct blob_chunk seek(struct blob_reader *reader, uint64_t i, uint64_t *offset) {
  struct blob_chunk chunk = {0};
  if (i < reader->next) {
    reader->next = reader->table_at = 0;
    reader->at = reader->chunks_at;
  }
  for (;;) {
    struct wire_reader r = wire_reader(reader->table + reader->table_at, reader->table_size - (size_t)reader->table_at);
    bool ok = blob_chunk_decode(&r, chunk_raw(reader, reader->next), &chunk);
    assert(ok); /* proven when opened */
    (void)ok;
    *offset = reader->at;
    reader->table_at += r.at;
    reader->at += chunk.length;
    if (reader->next++ == i) return chunk;
  }
}

static uint8_t *buffer(struct blob_reader *reader, uint8_t **kept) {
  if (!*kept) *kept = mem_alloc(reader->mem, buffer_size(reader));
  return *kept;
}

/* Chunk i, whole, to `bytes`; NULL: what is stored of it is proven, and that is all. */
static int read_chunk(struct blob_reader *reader, uint64_t i, uint8_t *bytes, struct wodan_error *error) {
  uint64_t offset;
  struct blob_chunk chunk = seek(reader, i, &offset);
  size_t raw = chunk_raw(reader, i);
  uint8_t *stored = chunk.length < raw || !bytes ? buffer(reader, &reader->stored) : bytes;
  if (!stored) return status_nomem(error);
  const struct block_ptr *ptr = &reader->ref.ptr;
  int status = 0;
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt) block_io_doubt(reader->io);
    status = block_io_read(reader->io, ptr->extents, ptr->extent_count, offset, stored, chunk.length, error);
    const char *fault = status ? NULL : blob_chunk_take(reader->io->seed, &chunk, raw, stored, bytes);
    if (!status && !fault) return 0;
    if (fault) status = damaged(reader, offset, fault, error); /* guard: bounds */
    if (status == WODAN_ENOMEM) break;
  }
  return status;
}

/* A part of chunk i, which is kept for the next one who wants some of it. */
static int read_part(struct blob_reader *reader, uint64_t i, size_t from, uint8_t *bytes, size_t size,
                     struct wodan_error *error) {
  if (reader->held != i) {
    if (!buffer(reader, &reader->raw)) return status_nomem(error);
    reader->held = UINT64_MAX;
    int status = read_chunk(reader, i, reader->raw, error);
    if (status) return status;
    reader->held = i;
  }
  memcpy(bytes, reader->raw + from, size);
  return 0;
}

int blob_reader_read(struct blob_reader *reader, uint64_t offset, uint8_t *bytes, size_t size,
                     struct wodan_error *error) {
  assert(offset <= reader->ref.size && size <= reader->ref.size - offset);
  while (size) {
    uint64_t i = offset / chunk_max(reader);
    size_t from = (size_t)(offset % chunk_max(reader)), raw = chunk_raw(reader, i);
    size_t n = raw - from < size ? raw - from : size;
    int status = n == raw ? read_chunk(reader, i, bytes, error) : read_part(reader, i, from, bytes, n, error);
    if (status) return status;
    offset += n;
    bytes += n;
    size -= n;
  }
  return 0;
}

/* ---- all at once --------------------------------------------------------------------------------------------- */

/* The value of the object in `object` to `bytes`. NULL, or what is wrong. */
static const char *take_whole(const struct blob_source *source, const struct blob_ref *ref, const uint8_t *object,
                              uint8_t *bytes) {
  uint64_t seed = source->io->seed, most = (uint64_t)BLOB_CHUNK_PAGES * source->page_size;
  struct object_header header;
  const char *fault = block_io_header_fault(source->io, &ref->ptr, OBJECT_BLOB, object, &header);
  if (!fault) fault = blob_header_fault(&header, ref, source->key, source->page_size);
  if (fault) return fault; /* guard: bounds */
  const struct section *section = &header.sections[1];
  const uint8_t *table = object + section->offset, *stored = object + header.sections[0].offset;
  if (checksum(seed, table, (size_t)section->length) != section->checksum)
    return "its table of chunks has a wrong checksum"; /* guard: checksum */
  fault = blob_table_fault(table, (size_t)section->length, &header, source->page_size);
  struct wire_reader r = wire_reader(table, (size_t)section->length);
  for (uint64_t left = ref->size; left && !fault;) {
    size_t raw = (size_t)(left < most ? left : most);
    struct blob_chunk chunk;
    bool ok = blob_chunk_decode(&r, raw, &chunk);
    assert(ok); /* proven with the table */
    (void)ok;
    fault = blob_chunk_take(seed, &chunk, raw, stored, bytes);
    stored += chunk.length;
    bytes += raw;
    left -= raw;
  }
  return fault;
}

/* Whether it could be had so. Takes no more than half of the memory there is. */
static bool read_at_once(const struct blob_source *source, const struct blob_ref *ref, uint8_t *bytes) {
  enum { CHUNKS_MOST = 4 };
  uint64_t block = source->io->bounds.block_size, size = (ref->ptr.length + block - 1) / block * block;
  struct mem *mem = source->mem;
  if (ref->ptr.length > (uint64_t)CHUNKS_MOST * BLOB_CHUNK_PAGES * source->page_size) return false;
  if (mem->limit && mem_used(mem) + size > mem->limit / 2) return false;
  uint8_t *object = mem_alloc_aligned(mem, size, BLOCK_IO_ALIGNMENT);
  if (!object) return false;
  const struct block_ptr *ptr = &ref->ptr;
  bool whole = block_io_read(source->io, ptr->extents, ptr->extent_count, 0, object, (size_t)size, NULL) == 0 &&
               take_whole(source, ref, object, bytes) == NULL;
  mem_free(mem, object, size);
  return whole;
}

int blob_read_whole(const struct blob_source *source, const struct blob_ref *ref, uint8_t *bytes,
                    struct wodan_error *error) {
  struct blob_reader reader;
  if (read_at_once(source, ref, bytes)) return 0;
  int status = blob_reader_open(&reader, source, ref, error);
  if (status) return status;
  status = blob_reader_read(&reader, 0, bytes, (size_t)ref->size, error);
  blob_reader_close(&reader);
  return status;
}

/* Reads all of it. Not unpacked, it is as it was written; what that was, is another question. */
static int prove_all(const struct blob_source *source, const struct blob_ref *ref, bool unpacked,
                     struct wodan_error *error) {
  struct blob_reader reader;
  int status = blob_reader_open(&reader, source, ref, error);
  if (status) return status;
  uint8_t *bytes = unpacked ? buffer(&reader, &reader.raw) : NULL;
  if (unpacked && !bytes) status = status_nomem(error);
  for (uint64_t i = 0; status == 0 && i < blob_chunk_count(ref->size, source->page_size); i++)
    status = read_chunk(&reader, i, bytes, error);
  blob_reader_close(&reader);
  return status;
}

int blob_prove(const struct blob_source *source, const struct blob_ref *ref, struct wodan_error *error) {
  return prove_all(source, ref, true, error);
}

static int prove_named(void *context, struct wodan_slice key, const struct blob_ref *ref, struct wodan_error *error) {
  struct blob_source source = *(const struct blob_source *)context;
  source.key = key;
  return prove_all(&source, ref, false, error);
}

struct journal_proof blob_proof(struct blob_source *source) {
  return (struct journal_proof){prove_named, source, blob_unproven_max(source->page_size)};
}
