/* Owns: large values in the copy: their chunks, and what stands for them in pages and operations.
 *
 * Always true: every chunk keeps its place and stored length, and becomes zeros; one that does not prove is wrong in the copy
 * too; where header or table would not let anybody look at the chunks, there are none.
 *
 * Order: chunks, then their table, which has their checksums; the header, which has the table's, is the caller's.
 *
 * See: copy_private.h; format/blob.h; tests/unit/test_image_copy.c. */
#include <string.h>
#include "blob/blob_read.h"
#include "codec/checksum.h"
#include "inspect/copy_private.h"

enum { ATTEMPTS = 2 };

/* What is wrong with a chunk, if anything. */
enum chunk_state { CHUNK_GOOD, CHUNK_MALFORMED, CHUNK_WRONG };

/* The chunks of one value, and room for any of them. */
struct chunks {
  struct object_copy *object;
  uint8_t *stored, *raw;
  size_t room;
};

static int read_chunk(const struct chunks *chunks, const struct blob_chunk *chunk, uint64_t offset, size_t raw,
                      enum chunk_state *state) {
  struct copy *copy = chunks->object->copy;
  const struct block_ptr *ptr = chunks->object->ptr;
  struct block_io *io = &copy->inspect->io;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  int status = 0;
  *state = CHUNK_WRONG;
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    status = block_io_read(io, ptr->extents, ptr->extent_count, offset, chunks->stored, chunk->length, &failure);
    if (status == WODAN_ENOMEM) break;
    if (status < 0) continue;
    uint8_t *bytes = chunk->length < raw ? chunks->raw : chunks->stored;
    bool proven = checksum(io->seed, chunks->stored, chunk->length) == chunk->checksum; /* guard: checksum */
    bool good = proven && !blob_chunk_take(io->seed, chunk, raw, chunks->stored, bytes);
    *state = good ? CHUNK_GOOD : proven ? CHUNK_MALFORMED : CHUNK_WRONG;
    if (good) return 0;
  }
  if (status < 0) return copy_failed(copy, &failure);
  copy->report->damaged++;
  return 0;
}

/* Zeros to the chunk's place. *sum: what its table says of it in the copy. */
static int copy_chunk(const struct chunks *chunks, const struct blob_chunk *chunk, uint64_t offset, size_t raw,
                      uint64_t *sum) {
  struct copy *copy = chunks->object->copy;
  enum chunk_state state;
  bool fits = true;
  int status = read_chunk(chunks, chunk, offset, raw, &state);
  *sum = chunk->checksum ^ 1; /* what does not prove becomes zeros, which it must not prove */
  if (status < 0 || state == CHUNK_WRONG) return status;
  memset(chunks->stored, 0, chunks->room);
  if (state == CHUNK_GOOD && chunk->length < raw) { /* so many zeros do not unpack */
    memset(chunks->raw, 0, raw);
    status = copy_pack(copy, chunks->raw, raw, chunks->stored, chunk->length, &fits);
  }
  copy->report->pages_left_out += !fits;
  if (status < 0 || !fits) return status;
  *sum = checksum(copy->inspect->io.seed, chunks->stored, chunk->length);
  return copy_bytes(chunks->object, offset, chunks->stored, chunk->length);
}

/* All chunks, and the table changed to what became of them. */
static int copy_all(const struct chunks *chunks, uint8_t *table, size_t size) {
  const struct object_header *header = &chunks->object->reader.header;
  uint64_t most = (uint64_t)BLOB_CHUNK_PAGES * chunks->object->copy->inspect->superblock.page_size;
  uint64_t offset = header->sections[0].offset;
  struct wire_reader r = wire_reader(table, size);
  int status = 0;
  for (uint64_t left = header->record_count; left && status == 0;) {
    size_t raw = (size_t)(left < most ? left : most);
    struct blob_chunk chunk;
    uint64_t sum;
    blob_chunk_decode(&r, raw, &chunk); /* proven with the table */
    status = copy_chunk(chunks, &chunk, offset, raw, &sum);
    store_u64(table + r.at - sizeof sum, sum);
    offset += chunk.length;
    left -= raw;
  }
  return status;
}

static int open_chunks(struct object_copy *object, uint8_t *table, size_t size) {
  struct mem *mem = &object->copy->inspect->mem;
  uint64_t most = (uint64_t)BLOB_CHUNK_PAGES * object->copy->inspect->superblock.page_size;
  uint64_t bytes = object->reader.header.record_count;
  struct chunks chunks = {.object = object, .room = (size_t)(bytes < most ? bytes : most)};
  chunks.stored = mem_alloc(mem, chunks.room);
  chunks.raw = mem_alloc(mem, chunks.room);
  int status = chunks.stored && chunks.raw ? copy_all(&chunks, table, size) : status_nomem(object->copy->error);
  mem_free(mem, chunks.stored, chunks.room);
  mem_free(mem, chunks.raw, chunks.room);
  return status;
}

int copy_chunks(struct object_copy *object) {
  struct copy *copy = object->copy;
  struct object_header *header = &object->reader.header;
  uint32_t page_size = copy->inspect->superblock.page_size;
  /* By what it says of itself: whether that is what names it, its header shows. */
  const struct blob_ref ref = {header->record_count, *object->ptr};
  uint8_t *table;
  if (copy->collecting || blob_header_fault(header, &ref, header->low, page_size)) return 0;
  copy->report->large++;
  int status = copy_read_section(object, &header->sections[1], &table);
  if (status < 0 || !table) return status;
  size_t size = (size_t)header->sections[1].length;
  if (blob_table_fault(table, size, header, page_size))
    memset(table, 0, size); /* no table either */
  else
    status = open_chunks(object, table, size);
  if (status == 0) status = copy_put_section(object, &header->sections[1], table);
  mem_free(&copy->inspect->mem, table, size);
  return status;
}

void copy_reference(struct copy *copy, uint8_t *bytes, size_t size) {
  const struct wodan_inspect *inspect = copy->inspect;
  struct volume_bounds bounds = inspect->io.bounds;
  uint64_t there = inspect->device_blocks, formatted = inspect->superblock.device_blocks;
  struct blob_ref ref;
  bounds.data_end = (there > formatted ? there : formatted) - 1; /* what is beyond the root's end stays so */
  if (!blob_ref_decode(bytes, size, &bounds, &ref)) {            /* no guard: it is none in the copy either */
    memset(bytes, 0, size);
    return;
  }
  struct wire_reader r = wire_reader(bytes, size);
  wire_get_varint(&r); /* the value's size, and the generation before the checksum */
  wire_get_varint(&r);
  store_u64(bytes + r.at, copy_pointer_sum(copy, &ref.ptr));
}
