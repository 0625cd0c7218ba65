/* Owns: writing a large value: chunks, one by one, then their table, then the header.
 *
 * Always true: a chunk is checked and compressed as a whole, straight from the caller's memory where a whole one is there;
 * the table tells what stands on the device; the header's room is fixed first, for the most extents there can be.
 *
 * Order: as object_writer.c: the header's chunk goes last, so that a header on the device never names chunks that were not
 * handed to it. What must be durable before a record names the blob is the committer's: engine/write_path.c.
 *
 * See: format/blob.h, tests/unit/test_blob.c. */
#include "blob/blob_write.h"

#include <assert.h>
#include <string.h>
#include "codec/checksum.h"

enum { BLOB_SECTIONS = 2 };

static size_t chunk_max(const struct blob_writer *writer) {
  return (size_t)BLOB_CHUNK_PAGES * writer->options.page_size;
}

static uint32_t header_room(const struct block_io *io, size_t key_size) {
  return object_header_size_max(&io->bounds, key_size, key_size, BLOCK_PTR_EXTENTS_MAX, BLOB_SECTIONS);
}

uint64_t blob_size_bound(const struct block_io *io, size_t key_size, uint64_t value_size, uint32_t page_size) {
  uint64_t chunks = blob_chunk_count(value_size, page_size);
  uint64_t entry = wire_varint_size((uint64_t)BLOB_CHUNK_PAGES * page_size) + 8;
  return header_room(io, key_size) + value_size + chunks * entry;
}

uint64_t blob_write_memory(uint32_t page_size, uint64_t chunk_size, uint64_t value_size, enum compression compress) {
  uint64_t chunk = (uint64_t)BLOB_CHUNK_PAGES * page_size, chunks = blob_chunk_count(value_size, page_size);
  enum { GROWING = 3 }; /* the table while it doubles: the old one and the new */
  return 2 * chunk_size + chunk + GROWING * chunks * BLOB_CHUNK_ENTRY_MAX + compressor_memory(compress, (size_t)chunk);
}

int blob_writer_init(struct blob_writer *writer, struct block_io *io, struct space *space,
                     const struct blob_write_options *options, struct wodan_error *error) {
  *writer = (struct blob_writer){.options = *options};
  struct object_writer_options object = {.size_max =
                                             blob_size_bound(io, options->key.size, options->size, options->page_size),
                                         .chunk_size = options->chunk_size,
                                         .kind = SPACE_BLOB,
                                         .spare = options->spare,
                                         .at_once = !options->grows,
                                         .grows = options->grows};
  int status = object_writer_init(&writer->object, io, space, &object, error);
  if (status) return status;
  writer->key = mem_alloc(io->mem, options->key.size);
  size_t chunk = chunk_max(writer);
  if (!options->grows && options->size < chunk) chunk = (size_t)options->size;
  if (options->compress != COMPRESSION_OFF) writer->compressor = compressor_create(io->mem, options->compress, chunk);
  if (!writer->key || (options->compress != COMPRESSION_OFF && !writer->compressor)) {
    status = status_nomem(error);
  } else {
    memcpy(writer->key, options->key.data, options->key.size);
    writer->header_length = header_room(io, options->key.size);
    status = object_writer_append(&writer->object, NULL, writer->header_length, error);
  }
  if (status) blob_writer_release(writer);
  return status;
}

void blob_writer_release(struct blob_writer *writer) {
  if (!writer->object.io) return;
  struct mem *mem = writer->object.io->mem;
  mem_free(mem, writer->key, writer->options.key.size);
  mem_free(mem, writer->raw, chunk_max(writer));
  mem_array_free(mem, writer->table, writer->table_capacity, 1);
  compressor_free(writer->compressor);
  object_writer_release(&writer->object, true);
  *writer = (struct blob_writer){0};
}

/* One whole chunk, or the last one. */
static int put_chunk(struct blob_writer *writer, const uint8_t *bytes, size_t size, struct wodan_error *error) {
  struct block_io *io = writer->object.io;
  const uint8_t *stored = bytes;
  size_t packed = 0;
  if (writer->compressor) packed = compressor_pack(writer->compressor, writer->options.compress, bytes, size, &stored);
  if (!packed) stored = bytes;
  struct blob_chunk chunk = {.length = (uint32_t)(packed ? packed : size)};
  chunk.checksum = checksum(io->seed, stored, chunk.length);
  void *table = writer->table;
  if (!mem_array_grow(io->mem, &table, &writer->table_capacity, writer->table_size + BLOB_CHUNK_ENTRY_MAX, 1))
    return status_nomem(error);
  writer->table = table;
  struct wire_writer w = wire_writer(writer->table + writer->table_size, BLOB_CHUNK_ENTRY_MAX);
  blob_chunk_encode(&w, &chunk);
  writer->table_size += w.at;
  writer->stored_size += chunk.length;
  return object_writer_append(&writer->object, stored, chunk.length, error);
}

/* Into the chunk being filled; *taken of them. */
static int fill(struct blob_writer *writer, const uint8_t *bytes, size_t size, size_t *taken,
                struct wodan_error *error) {
  size_t most = chunk_max(writer), left = most - writer->raw_size;
  if (!writer->raw) writer->raw = mem_alloc(writer->object.io->mem, most);
  if (!writer->raw) return status_nomem(error);
  *taken = size < left ? size : left;
  memcpy(writer->raw + writer->raw_size, bytes, *taken);
  writer->raw_size += *taken;
  if (writer->raw_size < most) return 0;
  writer->raw_size = 0;
  return put_chunk(writer, writer->raw, most, error);
}

int blob_writer_append(struct blob_writer *writer, const uint8_t *bytes, size_t size, struct wodan_error *error) {
  size_t most = chunk_max(writer);
  uint64_t value_max = writer->options.grows ? blob_value_max(writer->options.page_size) : writer->options.size;
  if (size > value_max - writer->value_size)
    return status_set(error, WODAN_ETOOBIG, 0, WODAN_NO_BLOCK, "a value of more than %llu bytes is too big",
                      (unsigned long long)value_max);
  writer->value_size += size;
  while (size) {
    bool direct = writer->raw_size == 0 && (size >= most || writer->value_size == writer->options.size) &&
                  !(writer->options.grows && size < most);
    size_t n = size < most ? size : most;
    int status = direct ? put_chunk(writer, bytes, n, error) : fill(writer, bytes, size, &n, error);
    if (status) return status;
    bytes += n;
    size -= n;
  }
  return 0;
}

int blob_writer_finish(struct blob_writer *writer, uint64_t generation, struct blob_ref *ref,
                       struct wodan_error *error) {
  struct block_io *io = writer->object.io;
  assert(generation > 0);
  if (writer->value_size == 0) return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "a large value needs a byte");
  int status = writer->raw_size ? put_chunk(writer, writer->raw, writer->raw_size, error) : 0;
  if (status) return status;
  struct wodan_slice key = {writer->key, writer->options.key.size};
  struct object_header header = {.type = OBJECT_BLOB,
                                 .generation = generation,
                                 .epoch = writer->options.epoch,
                                 .header_length = writer->header_length,
                                 .record_count = writer->value_size,
                                 .low = key,
                                 .high = key,
                                 .section_count = BLOB_SECTIONS};
  memcpy(header.fsid, io->fsid, sizeof header.fsid);
  header.sections[0] = (struct section){SECTION_CHUNKS, writer->header_length, writer->stored_size, 0};
  status = object_writer_section(&writer->object, SECTION_CHUNK_TABLE, writer->table, writer->table_size,
                                 &header.sections[1], error);
  if (status == 0) status = object_writer_finish(&writer->object, &header, &ref->ptr, error);
  if (status) return status;
  ref->size = writer->value_size;
  object_writer_release(&writer->object, false);
  writer->object.io = io; /* what is left to be freed */
  return 0;
}
