/* Owns: the way of a new object's bytes to the device.
 *
 * Always true:
 *  - bytes enter the object in order, through one chunk of whole blocks; full chunks but the first are written at once;
 *  - the first chunk stays in memory until the end, because the header is at its start and is known last;
 *  - space is taken once: exactly what is needed when the object ends before a chunk had to be written, else size_max before
 *    the first write, and what is not used goes back; no write leaves it. A writer that grows takes as much again whenever
 *    that is used up, so that the number of its extents stays small;
 *  - until finish returns the pointer nothing names the blocks, so giving up is space_release.
 *
 * Order: every other byte is handed to the device before the header's chunk, or all of them to its write-behind. Nothing here is a barrier: who first names the
 * object orders it.
 *
 * See: tests/unit/test_run.c, test_blob.c. */
#include "object/object_writer.h"

#include <assert.h>
#include <string.h>
#include "codec/checksum.h"
#include "dev/behind.h"

static uint64_t block_size(const struct object_writer *writer) { return writer->io->bounds.block_size; }

int object_writer_init(struct object_writer *writer, struct block_io *io, struct space *space,
                       const struct object_writer_options *options, struct wodan_error *error) {
  uint64_t block = io->bounds.block_size, chunk = options->chunk_size;
  assert(options->size_max > 0);
  *writer = (struct object_writer){.io = io, .space = space, .options = *options};
  writer->blocks = options->size_max / block + (options->size_max % block != 0);
  uint64_t chunk_blocks = block < chunk ? chunk / block : 1;
  if (!options->grows && chunk_blocks > writer->blocks) chunk_blocks = writer->blocks;
  writer->chunk_size = (size_t)(chunk_blocks * block);
  if (options->at_once && chunk_blocks == writer->blocks)
    writer->first = behind_lend(io->device->behind, writer->chunk_size);
  writer->lent = writer->first != NULL;
  if (!writer->lent) writer->first = mem_alloc_aligned(io->mem, writer->chunk_size, BLOCK_IO_ALIGNMENT);
  writer->chunk = writer->first;
  return writer->first ? 0 : status_nomem(error);
}

void object_writer_release(struct object_writer *writer, bool give_back) {
  if (!writer->io) return;
  struct mem *mem = writer->io->mem;
  if (give_back && writer->extent_count) space_release(writer->space, writer->extents, writer->extent_count);
  if (writer->chunk != writer->first) mem_free(mem, writer->chunk, writer->chunk_size);
  if (writer->lent)
    behind_give_back(writer->io->device->behind, writer->first);
  else
    mem_free(mem, writer->first, writer->chunk_size);
  *writer = (struct object_writer){0};
}

/* ---- space --------------------------------------------------------------------------------------------------- */

static int take_space(struct object_writer *writer, uint64_t blocks, struct wodan_error *error) {
  if (writer->extent_count) return 0;
  int status = space_allocate_sparing(writer->space, writer->options.kind, blocks, writer->options.spare,
                                      writer->extents, &writer->extent_count, error);
  if (status) writer->extent_count = 0;
  return status;
}

/* Behind what it has: as much again, else at least one chunk. */
static int take_more(struct object_writer *writer, struct wodan_error *error) {
  uint64_t chunk = writer->chunk_size / block_size(writer);
  uint64_t wanted = writer->blocks > chunk ? writer->blocks : chunk;
  struct extent more[BLOCK_PTR_EXTENTS_MAX];
  uint32_t count = 0;
  int status = take_space(writer, writer->blocks, error);
  if (status) return status;
  do {
    status =
        space_allocate_sparing(writer->space, writer->options.kind, wanted, writer->options.spare, more, &count, error);
  } while (status == WODAN_ENOSPC && (wanted /= 2) >= chunk);
  if (status) return status;
  struct extent *last = &writer->extents[writer->extent_count - 1];
  uint32_t joins = more[0].first == last->first + last->count;
  if (writer->extent_count + count - joins > BLOCK_PTR_EXTENTS_MAX) {
    space_release(writer->space, more, count);
    return status_set(error, WODAN_ENOSPC, 0, WODAN_NO_BLOCK, "free space is in too small holes for one large object");
  }
  if (joins) last->count += more[0].count;
  memcpy(writer->extents + writer->extent_count, more + joins, (count - joins) * sizeof *more);
  writer->extent_count += count - joins;
  for (uint32_t e = 0; e < count; e++) writer->blocks += more[e].count;
  return 0;
}

/* ---- bytes --------------------------------------------------------------------------------------------------- */

static int write_chunk(struct object_writer *writer, const uint8_t *chunk, uint64_t offset, size_t size,
                       struct wodan_error *error) {
  return block_io_write(writer->io, writer->extents, writer->extent_count, offset, chunk, size, error);
}

/* The chunk is full: writes it, or keeps it when it is the first, and starts the next. */
static int next_chunk(struct object_writer *writer, struct wodan_error *error) {
  if (writer->chunk == writer->first) {
    uint8_t *chunk = mem_alloc_aligned(writer->io->mem, writer->chunk_size, BLOCK_IO_ALIGNMENT);
    if (!chunk) return status_nomem(error);
    writer->chunk = chunk;
  } else {
    int status = take_space(writer, writer->blocks, error);
    if (!status) status = write_chunk(writer, writer->chunk, writer->chunk_offset, writer->chunk_size, error);
    if (status) return status;
  }
  writer->chunk_offset += writer->chunk_size;
  writer->chunk_used = 0;
  return 0;
}

/* Whether `size` bytes more lie within its blocks, which grow where that was asked for. */
static int reach(struct object_writer *writer, size_t size, struct wodan_error *error) {
  while (size > writer->blocks * block_size(writer) - object_writer_at(writer)) {
    if (!writer->options.grows)
      return status_set(error, WODAN_ENOSPC, 0, WODAN_NO_BLOCK, "an object grew beyond the %llu bytes taken for it",
                        (unsigned long long)writer->options.size_max);
    int status = take_more(writer, error);
    if (status) return status;
  }
  return 0;
}

int object_writer_append(struct object_writer *writer, const uint8_t *bytes, size_t size, struct wodan_error *error) {
  int status = reach(writer, size, error);
  while (size && !status) {
    if (writer->chunk_used == writer->chunk_size) status = next_chunk(writer, error);
    if (status) break;
    size_t left = writer->chunk_size - writer->chunk_used, n = size < left ? size : left;
    if (bytes)
      memcpy(writer->chunk + writer->chunk_used, bytes, n);
    else
      memset(writer->chunk + writer->chunk_used, 0, n);
    writer->chunk_used += n;
    if (bytes) bytes += n;
    size -= n;
  }
  return status;
}

int object_writer_section(struct object_writer *writer, uint8_t tag, const uint8_t *bytes, size_t size,
                          struct section *section, struct wodan_error *error) {
  if (size > BLOCK_IO_SECTION_MAX)
    return status_set(error, WODAN_ETOOBIG, 0, WODAN_NO_BLOCK, "section %u would have %zu bytes", tag, size);
  *section = (struct section){.tag = tag,
                              .offset = object_writer_at(writer),
                              .length = size,
                              .checksum = checksum(writer->io->seed, bytes, size)};
  return object_writer_append(writer, bytes, size, error);
}

/* ---- finish -------------------------------------------------------------------------------------------------- */

/* The extents cut to the first `blocks` blocks go to kept, the rest to spare. */
static void cut_extents(const struct object_writer *writer, uint64_t blocks, struct object_header *kept,
                        struct extent *spare, uint32_t *spare_count) {
  *spare_count = 0;
  for (uint32_t e = 0; e < writer->extent_count; e++) {
    struct extent extent = writer->extents[e];
    uint64_t n = extent.count < blocks ? extent.count : blocks;
    if (n) kept->extents[kept->extent_count++] = (struct extent){.first = extent.first, .count = n};
    if (n < extent.count)
      spare[(*spare_count)++] = (struct extent){.first = extent.first + n, .count = extent.count - n};
    blocks -= n;
  }
  assert(blocks == 0);
}

static void point_to(const struct object_header *header, struct block_ptr *ptr) {
  *ptr = (struct block_ptr){.generation = header->generation,
                            .checksum = header->checksum,
                            .length = header->length,
                            .header_length = header->header_length,
                            .extent_count = header->extent_count};
  memcpy(ptr->extents, header->extents, sizeof ptr->extents);
}

/* The first chunk, which has the header. One that was lent is queued where it goes to one place, and is ours no more. */
static int write_first(struct object_writer *writer, const struct object_header *header, struct wodan_error *error) {
  size_t size = writer->chunk == writer->first ? writer->chunk_used : writer->chunk_size;
  if (!writer->lent || header->extent_count > 1) return write_chunk(writer, writer->first, 0, size, error);
  behind_write(writer->io->device->behind, writer->first, header->extents[0].first * block_size(writer), size);
  writer->first = writer->chunk = NULL;
  writer->lent = false;
  return 0;
}

int object_writer_finish(struct object_writer *writer, struct object_header *header, struct block_ptr *ptr,
                         struct wodan_error *error) {
  uint64_t block = block_size(writer);
  struct extent spare[BLOCK_PTR_EXTENTS_MAX];
  uint32_t spare_count;
  header->length = object_writer_at(writer);
  int status = take_space(writer, (header->length + block - 1) / block, error);
  if (status) return status;
  cut_extents(writer, (header->length + block - 1) / block, header, spare, &spare_count);
  status = object_writer_append(writer, NULL, (size_t)((block - header->length % block) % block), error);
  if (!status && writer->chunk != writer->first)
    status = write_chunk(writer, writer->chunk, writer->chunk_offset, writer->chunk_used, error);
  if (status) return status;
  bool fits = object_header_encode(header, writer->io->seed, writer->first);
  if (!fits) return status_set(error, WODAN_ETOOBIG, 0, WODAN_NO_BLOCK, "the header of an object does not fit");
  status = write_first(writer, header, error);
  if (!status && spare_count) space_release(writer->space, spare, spare_count);
  if (!status) point_to(header, ptr);
  return status;
}
