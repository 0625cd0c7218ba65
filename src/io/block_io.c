/* Owns: the way from an object's bytes to device sectors and back, and the proof of headers and sections on the way in.
 *
 * Always true:
 *  - a byte range has at most BLOCK_PTR_EXTENTS_MAX pieces, each inside one extent; widened to whole sectors a piece
 *    stays inside its extent, because a block is whole sectors;
 *  - the device sees sector-aligned requests in suitably aligned memory: the caller's when it fits, else a bounce
 *    buffer of at most bounce_max bytes, and two sectors, at a time; where it is cut no sector is moved twice;
 *  - nothing is allocated by a length the device gave without a bound.
 *
 * Order: a header or section that does not prove is read once more before it is called damage, so that a fault on the
 * way (not on the medium) is not reported as corruption.
 *
 * See: tests/unit/test_run_damage.c. */
#include "io/block_io.h"

#include <assert.h>
#include <string.h>
#include "codec/checksum.h"

enum { CHUNK_MAX = 1 << 20, ATTEMPTS = 2 };

/* One contiguous part of a range. */
struct piece {
  uint64_t at;    /* device offset of the bytes wanted */
  size_t size;    /* bytes wanted */
  size_t buffer;  /* where they lie in the caller's buffer */
  uint64_t start; /* widened to sectors: device offset and size */
  size_t length;
  size_t bounce; /* where the widened piece lies in the bounce buffer */
};

struct plan {
  struct piece pieces[BLOCK_PTR_EXTENTS_MAX];
  uint32_t count;
  size_t bounce_size;
  bool direct; /* the caller's buffer can be given to the device */
};

static size_t memory_alignment(const struct block_io *io) {
  uint32_t alignment = io->device->raw->geometry.memory_alignment;
  return alignment ? alignment : 1;
}

/* Cuts [offset, offset + size) at extent borders; false when it is not inside the extents. */
static bool plan_pieces(const struct block_io *io, const struct extent *extents, uint32_t count, uint64_t offset,
                        const void *buffer, size_t size, struct plan *plan) {
  uint64_t block = io->bounds.block_size, sector = io->device->raw->geometry.sector;
  size_t alignment = memory_alignment(io), done = 0;
  assert(count <= BLOCK_PTR_EXTENTS_MAX && block % sector == 0);
  plan->count = 0;
  plan->bounce_size = 0;
  plan->direct = true;
  for (uint32_t e = 0; e < count && done < size; e++) {
    uint64_t bytes = extents[e].count * block;
    if (offset >= bytes) {
      offset -= bytes;
      continue;
    }
    struct piece *piece = &plan->pieces[plan->count++];
    piece->at = extents[e].first * block + offset;
    piece->size = bytes - offset < size - done ? (size_t)(bytes - offset) : size - done;
    piece->buffer = done;
    piece->start = piece->at / sector * sector;
    uint64_t end = (piece->at + piece->size + sector - 1) / sector * sector;
    piece->length = (size_t)(end - piece->start);
    piece->bounce = plan->bounce_size;
    plan->bounce_size += (piece->length + alignment - 1) / alignment * alignment;
    plan->direct = plan->direct && piece->length == piece->size && ((uintptr_t)buffer + done) % alignment == 0;
    done += piece->size;
    offset = 0;
  }
  return done == size;
}

/* Runs the plan in one device_transfer; memory is the caller's or the bounce buffer. */
static int plan_transfer(struct block_io *io, const struct plan *plan, uint8_t kind, uint8_t *memory,
                         struct wodan_error *error) {
  struct wodan_io requests[BLOCK_PTR_EXTENTS_MAX];
  for (uint32_t i = 0; i < plan->count; i++) {
    const struct piece *piece = &plan->pieces[i];
    requests[i] = (struct wodan_io){.kind = kind,
                                    .offset = piece->start,
                                    .data = memory + (plan->direct ? piece->buffer : piece->bounce),
                                    .size = piece->length};
  }
  return device_transfer(io->device, requests, plan->count, error);
}

/* At most CHUNK_MAX bytes, or any number in place. */
static int transfer(struct block_io *io, const struct plan *plan, uint8_t kind, uint8_t *buffer,
                    struct wodan_error *error) {
  if (plan->direct) return plan_transfer(io, plan, kind, buffer, error);
  size_t alignment = memory_alignment(io);
  uint8_t *bounce = mem_alloc_aligned(io->mem, plan->bounce_size, alignment < 16 ? 16 : alignment);
  if (!bounce) return status_nomem(error);
  for (uint32_t i = 0; i < plan->count && kind == WODAN_IO_WRITE; i++)
    memcpy(bounce + plan->pieces[i].bounce, buffer + plan->pieces[i].buffer, plan->pieces[i].size);
  int status = plan_transfer(io, plan, kind, bounce, error);
  for (uint32_t i = 0; i < plan->count && kind == WODAN_IO_READ && !status; i++) {
    const struct piece *piece = &plan->pieces[i];
    memcpy(buffer + piece->buffer, bounce + piece->bounce + (piece->at - piece->start), piece->size);
  }
  mem_free(io->mem, bounce, plan->bounce_size);
  return status;
}

/* One piece through the window, which keeps what the next one may begin with. */
static int read_through_window(struct block_io *io, const struct piece *piece, uint8_t *buffer,
                               struct wodan_error *error) {
  struct block_window *window = io->window;
  uint64_t end = window->at + window->length;
  if (piece->start < window->at || piece->start + piece->length > end || !window->length) {
    size_t alignment = memory_alignment(io), kept = 0;
    if (!window->bytes) window->bytes = mem_alloc_aligned(io->mem, window->capacity, alignment < 16 ? 16 : alignment);
    if (!window->bytes) return status_nomem(error);
    if (piece->start >= window->at && piece->start < end) kept = (size_t)(end - piece->start);
    if (kept % alignment) kept = 0;
    memmove(window->bytes, window->bytes + window->length - kept, kept);
    window->at = piece->start;
    window->length = 0;
    int status = device_read(io->device, piece->start + kept, window->bytes + kept, piece->length - kept, error);
    if (status) return status;
    window->length = piece->length;
  }
  memcpy(buffer, window->bytes + (piece->at - window->at), piece->size);
  return 0;
}

void block_io_release_window(struct block_io *io) {
  if (!io->window) return;
  mem_free(io->mem, io->window->bytes, io->window->capacity);
  io->window->bytes = NULL;
  io->window->length = 0;
}

/* How many bytes from `offset` on go through the bounce buffer at once: up to the end of a sector. */
static size_t cut(const struct block_io *io, uint64_t offset) {
  size_t most = io->bounce_max ? io->bounce_max : CHUNK_MAX, sector = io->device->raw->geometry.sector;
  if (most < sector) most = sector;
  return most - (size_t)((offset + most) % sector);
}

/* Both directions. A write's buffer is only read. */
static int move(struct block_io *io, const struct extent *extents, uint32_t count, uint64_t offset, uint8_t kind,
                uint8_t *buffer, size_t size, struct wodan_error *error) {
  for (size_t done = 0; done < size;) {
    struct plan plan;
    size_t part = size - done;
    bool inside = plan_pieces(io, extents, count, offset + done, buffer + done, part, &plan);
    bool windowed = io->window && kind == WODAN_IO_READ && inside && !plan.direct;
    size_t most = cut(io, offset + done);
    if (windowed && plan.pieces[0].size < most) most = plan.pieces[0].size;
    if (inside && !plan.direct && part > most) {
      part = most;
      inside = plan_pieces(io, extents, count, offset + done, buffer + done, part, &plan);
    }
    if (!inside)
      return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "bytes %llu to %llu lie outside the object",
                        (unsigned long long)offset, (unsigned long long)(offset + size));
    int status = windowed ? read_through_window(io, &plan.pieces[0], buffer + done, error)
                          : transfer(io, &plan, kind, buffer + done, error);
    if (status) return status;
    done += part;
  }
  return 0;
}

int block_io_read(struct block_io *io, const struct extent *extents, uint32_t count, uint64_t offset, void *buffer,
                  size_t size, struct wodan_error *error) {
  return move(io, extents, count, offset, WODAN_IO_READ, buffer, size, error);
}

int block_io_write(struct block_io *io, const struct extent *extents, uint32_t count, uint64_t offset,
                   const void *buffer, size_t size, struct wodan_error *error) {
  assert(offset % io->bounds.block_size == 0 && size % io->bounds.block_size == 0);
  assert((uintptr_t)buffer % BLOCK_IO_ALIGNMENT == 0);
  return move(io, extents, count, offset, WODAN_IO_WRITE, (uint8_t *)(uintptr_t)buffer, size, error);
}

uint64_t block_io_locate(const struct block_io *io, const struct extent *extents, uint32_t count, uint64_t offset) {
  uint64_t block = offset / io->bounds.block_size;
  for (uint32_t e = 0; e < count; e++) {
    if (block < extents[e].count) return extents[e].first + block;
    block -= extents[e].count;
  }
  return WODAN_NO_BLOCK;
}

static const char *type_name(uint8_t type) {
  return type == OBJECT_RUN ? "run" : type == OBJECT_NODE ? "node" : "large value";
}

const char *block_io_header_fault(const struct block_io *io, const struct block_ptr *ptr, uint8_t type,
                                  const uint8_t *bytes, struct object_header *header) {
  if (!object_header_decode(bytes, ptr->header_length, io->seed, io->fsid, &io->bounds, header))
    return "does not decode or its checksum is wrong";                                         /* guard: bounds */
  if (header->checksum != ptr->checksum) return "is intact but not the one its pointer names"; /* guard: checksum */
  if (header->type != type) return "is of another type";                                       /* guard: bounds */
  bool same = header->generation == ptr->generation && header->length == ptr->length &&
              header->header_length == ptr->header_length &&
              header->extent_count == ptr->extent_count; /* guard: bounds */
  for (uint32_t i = 0; same && i < ptr->extent_count; i++)
    same = header->extents[i].first == ptr->extents[i].first &&
           header->extents[i].count == ptr->extents[i].count; /* guard: bounds */
  return same ? NULL : "does not agree with its pointer";     /* guard: bounds */
}

int block_io_read_header(struct block_io *io, const struct block_ptr *ptr, uint8_t type, struct object_header *header,
                         uint8_t **buffer, struct wodan_error *error) {
  uint64_t first = ptr->extent_count ? ptr->extents[0].first : WODAN_NO_BLOCK;
  assert(ptr->header_length <= BLOCK_PTR_HEADER_MAX && ptr->header_length <= ptr->length); /* proven when decoded */
  uint8_t *bytes = mem_alloc_aligned(io->mem, ptr->header_length, 16);
  if (!bytes) return status_nomem(error);
  int status = 0;
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    const char *fault = NULL;
    if (attempt) block_io_doubt(io);
    status = block_io_read(io, ptr->extents, ptr->extent_count, 0, bytes, ptr->header_length, error);
    if (!status) fault = block_io_header_fault(io, ptr, type, bytes, header);
    if (!status && !fault) {
      *buffer = bytes;
      return 0;
    }
    if (fault)
      status = status_corrupt(error, first, "the header of the %s of generation %llu %s", type_name(type),
                              (unsigned long long)ptr->generation, fault); /* guard: bounds */
    if (status == WODAN_ENOMEM) break;
  }
  mem_free(io->mem, bytes, ptr->header_length);
  return status;
}

int block_io_fill_section(struct block_io *io, const struct block_ptr *ptr, const struct section *section,
                          uint8_t *bytes, struct wodan_error *error) {
  assert(section->length <= BLOCK_IO_SECTION_MAX); /* that it lies in the object was proven with the header */
  size_t size = (size_t)section->length;
  int status = 0;
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt) block_io_doubt(io);
    status = block_io_read(io, ptr->extents, ptr->extent_count, section->offset, bytes, size, error);
    uint64_t block = block_io_locate(io, ptr->extents, ptr->extent_count, section->offset);
    if (status == 0 && checksum(io->seed, bytes, size) != section->checksum)
      status = status_corrupt(error, block, "section %u of the object of generation %llu has a wrong checksum",
                              section->tag, (unsigned long long)ptr->generation); /* guard: checksum */
    if (status == 0 || status == WODAN_ENOMEM) break;
  }
  return status;
}

int block_io_read_section(struct block_io *io, const struct block_ptr *ptr, const struct section *section,
                          uint8_t **buffer, struct wodan_error *error) {
  if (section->length > BLOCK_IO_SECTION_MAX)
    return status_corrupt(error, block_io_locate(io, ptr->extents, ptr->extent_count, section->offset),
                          "section %u of the object of generation %llu is too long", section->tag,
                          (unsigned long long)ptr->generation); /* guard: bounds */
  size_t size = (size_t)section->length;
  uint8_t *bytes = mem_alloc_aligned(io->mem, size, 64);
  if (!bytes) return status_nomem(error);
  int status = block_io_fill_section(io, ptr, section, bytes, error);
  if (status)
    mem_free(io->mem, bytes, size);
  else
    *buffer = bytes;
  return status;
}
