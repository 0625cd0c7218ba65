/* Owns: the regular file as a device.
 *
 * Always true: geometry.size is the file's size rounded down to whole sectors; discards punch holes and keep the
 * size; a size made by us is given back when a later step of opening fails.
 *
 * Order: the caller holds the lock. Grow, then preallocate: a host without space is met before the first write.
 *
 * See: include/wodan/device.h, tests/unit/test_dev_file.c. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "dev/dev_path_private.h"

enum { SECTOR_BUFFERED = 512, SECTOR_DIRECT = 4096, SECTOR_MAX = 65536 };
enum { WRITE_LEAST = 64 << 10, STREAM_LEAST = 4 << 20, AHEAD_MOST = 16 << 20 };

static int file_discard(struct path_device *path, uint64_t offset, uint64_t size) {
  while (path->calls->fallocate(path->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size) < 0)
    if (errno != EINTR) return errno;
  return 0;
}

/* ---- space ahead of a stream -------------------------------------------------------------------------------------- */

/* The stream goes on with [start, end), or another one begins. Where it has no space ahead any more, how much to reserve: up to
 * a quarter of what it has written once that is much, from *from on. */
static uint64_t go_on(struct path_stream *stream, uint64_t start, uint64_t end, uint64_t *from) {
  bool begins = start != stream->end && start == stream->other_end;
  if (start != stream->end && !begins) {
    stream->other_start = start;
    stream->other_end = end;
    return 0;
  }
  if (begins) {
    stream->start = stream->other_start;
    stream->ahead = start;
  }
  stream->end = end;
  if (end <= stream->ahead) return 0;
  uint64_t length = end - stream->start, more = length / 4;
  *from = stream->ahead;
  if (length < STREAM_LEAST) more = 0;
  stream->ahead = end + (more < AHEAD_MOST ? more : AHEAD_MOST);
  return more ? stream->ahead - *from : 0;
}

/* File systems decide late where a hole's new blocks go, at a price for each of them; where the space is reserved a large write
 * takes two thirds of the time. Only a hint: what fails here is met by the write, or costs time. */
static void reserve_ahead(struct path_device *path, const struct wodan_io *requests, size_t count) {
  struct path_stream *stream = &path->stream;
  const struct wodan_io *last = &requests[count - 1];
  uint64_t start = requests->offset, from = 0;
  if (requests->kind != WODAN_IO_WRITE || last->kind != WODAN_IO_WRITE) return;
  if (last->offset < start || last->offset - start + last->size < WRITE_LEAST) return;
  if (last->offset > path->device.geometry.size || last->size > path->device.geometry.size - last->offset) return;
  lock_acquire(&stream->lock);
  uint64_t size = stream->off ? 0 : go_on(stream, start, last->offset + last->size, &from);
  lock_leave(&stream->lock);
  if (size > path->device.geometry.size - from) size = path->device.geometry.size - from;
  if (!size || path->calls->fallocate(path->fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)size) == 0) return;
  lock_acquire(&stream->lock);
  stream->off = true;
  lock_leave(&stream->lock);
}

static int file_transfer(struct wodan_device *device, struct wodan_io *requests, size_t count) {
  if (count) reserve_ahead(path_of(device), requests, count);
  return path_transfer(device, requests, count, file_discard);
}

static int file_close(struct wodan_device *device) {
  lock_release(&path_of(device)->stream.lock);
  return path_close(device);
}

static int truncate_to(struct path_device *path, uint64_t size) {
  while (path->calls->ftruncate(path->fd, (off_t)size) < 0)
    if (errno != EINTR) return errno;
  return 0;
}

static int file_resize(struct wodan_device *device, uint64_t size) {
  if (device->geometry.read_only) return WODAN_EREADONLY;
  if (size == 0 || size % device->geometry.sector || size > INT64_MAX) return WODAN_EINVAL;
  int number = truncate_to(path_of(device), size);
  if (number) return path_status(number);
  device->geometry.size = size;
  return 0;
}

static const struct wodan_device_ops file_ops = {
    .size = sizeof file_ops,
    .transfer = file_transfer,
    .barrier = path_flush,
    .flush = path_flush,
    .resize = file_resize,
    .close = file_close,
};

static bool is_power_of_two(uint32_t n) { return n && (n & (n - 1)) == 0; }

/* What the file system asks of direct I/O; 4096 where the kernel or its headers do not tell. */
static int direct_alignment(const struct path_request *r, struct path_device *path) {
  struct wodan_geometry *g = &path->device.geometry;
  g->sector = g->memory_alignment = SECTOR_DIRECT;
#if defined(STATX_DIOALIGN)
  struct statx found;
  memset(&found, 0, sizeof found);
  if (statx(path->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &found) < 0 || !(found.stx_mask & STATX_DIOALIGN)) return 0;
  if (found.stx_dio_offset_align == 0 || found.stx_dio_mem_align == 0)
    return status_set(r->error, WODAN_ENOTSUP, 0, WODAN_NO_BLOCK,
                      "'%s' does not support direct I/O (O_DIRECT); leave out WODAN_PATH_DIRECT", r->shown);
  uint32_t offset = found.stx_dio_offset_align, memory = found.stx_dio_mem_align;
  if (!is_power_of_two(offset) || offset > SECTOR_MAX || !is_power_of_two(memory)) return 0;
  g->sector = offset < SECTOR_BUFFERED ? SECTOR_BUFFERED : offset;
  g->memory_alignment = memory;
#else
  (void)r;
#endif
  return 0;
}

/* Makes the file as long as wished, its space reserved when asked. *size: before and after. */
static int extend(const struct path_request *r, struct path_device *path, uint64_t *size) {
  uint64_t before = *size, wished = r->size > before ? r->size : before;
  int number = wished > before ? truncate_to(path, wished) : 0;
  if (number == EFBIG)
    return status_set(r->error, WODAN_ENOSPC, number, WODAN_NO_BLOCK,
                      "'%s' cannot be made %llu bytes long: the file system has no files that large", r->shown,
                      (unsigned long long)wished);
  if (number) return path_fail(r, number, "cannot be made as long as asked", "free space or ask for less");
  if (r->flags & WODAN_PATH_PREALLOCATE) {
    while (wished && path->calls->fallocate(path->fd, 0, 0, (off_t)wished) < 0) {
      if (errno == EINTR) continue;
      number = errno;
      if (wished > before) truncate_to(path, before); /* its failure changes nothing about the answer */
      if (number == EOPNOTSUPP)
        return status_set(r->error, WODAN_ENOTSUP, number, WODAN_NO_BLOCK,
                          "'%s' is on a file system that cannot reserve space; leave out WODAN_PATH_PREALLOCATE",
                          r->shown);
      return path_fail(r, number, "cannot have its space reserved", "free space or ask for less");
    }
  }
  *size = wished;
  return 0;
}

int path_file_setup(const struct path_request *r, const struct stat *found, struct path_device *path) {
  struct wodan_geometry *g = &path->device.geometry;
  assert(found->st_size >= 0);
  path->device.ops = &file_ops;
  uint64_t size = (uint64_t)found->st_size;
  g->sector = SECTOR_BUFFERED;
  g->memory_alignment = 1;
  int status = (r->flags & WODAN_PATH_DIRECT) ? direct_alignment(r, path) : 0;
  if (status < 0) return status;
  bool create = r->flags & WODAN_PATH_CREATE;
  if (size == 0 && !create)
    return status_set(r->error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "'%s' is empty: not a Wodan image (use format)",
                      r->shown);
  if (size < g->sector && (!create || r->size < g->sector))
    return status_set(r->error, WODAN_EINVAL, 0, WODAN_NO_BLOCK,
                      "'%s' is too small: a device has at least one sector of %u bytes", r->shown, g->sector);
  status = create ? extend(r, path, &size) : 0;
  if (status < 0) return status;
  g->size = size - size % g->sector;
  uint32_t host = found->st_blksize > 0 && found->st_blksize <= 1 << 24 ? (uint32_t)found->st_blksize : 0;
  g->io_preferred = host;
  g->discard_granularity = host && host % g->sector == 0 ? host : g->sector;
  g->ordering = WODAN_ORDER_BY_FLUSH;
  g->durable = 1;
  path->stream.off = r->flags & (WODAN_PATH_DIRECT | WODAN_PATH_READ_ONLY);
  return lock_init(&path->stream.lock) ? status_nomem(r->error) : 0;
}
