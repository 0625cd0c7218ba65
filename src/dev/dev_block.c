/* Owns: the Linux block device as a device.
 *
 * Always true: sector is the kernel's logical block size; a discard is sent only where the kernel reports a
 * granularity; the size is the kernel's and is never changed from here.
 *
 * Order: the caller holds the lock and, for writing, opened with O_EXCL, so nothing on it is mounted.
 *
 * See: include/wodan/device.h, tests/unit/test_dev_block.c (loop devices only). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/status.h"
#include "dev/dev_path_private.h"

enum { SECTOR_MIN = 512, SECTOR_MAX = 65536 };

static int block_discard(struct path_device *path, uint64_t offset, uint64_t size) {
  uint64_t range[2] = {offset, size};
  while (ioctl(path->fd, BLKDISCARD, range) < 0)
    if (errno != EINTR) return errno;
  return 0;
}

static int block_transfer(struct wodan_device *device, struct wodan_io *requests, size_t count) {
  return path_transfer(device, requests, count, block_discard);
}

static const struct wodan_device_ops block_ops = {
    .size = sizeof block_ops,
    .transfer = block_transfer,
    .barrier = path_flush,
    .flush = path_flush,
    .close = path_close,
};

/* A number the kernel shows under queue/ of the device (of the whole disk when it is a partition); 0 when absent. */
static uint64_t queue_number(dev_t device, const char *name) {
  static const char *const folders[] = {"queue", "../queue"};
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    char file[128], text[32] = "";
    snprintf(file, sizeof file, "/sys/dev/block/%u:%u/%s/%s", major(device), minor(device), folders[i], name);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) continue;
    text[n] = 0;
    return strtoull(text, NULL, 10);
  }
  return 0;
}

/* 0: none. At least a sector, in whole sectors. */
static uint32_t discard_granularity(dev_t device, uint32_t sector) {
  uint64_t granularity = queue_number(device, "discard_granularity");
  if (granularity == 0 || granularity > UINT32_MAX / 2 || queue_number(device, "discard_max_bytes") == 0) return 0;
  return (uint32_t)((granularity + sector - 1) / sector * sector);
}

int path_block_setup(const struct path_request *r, const struct stat *found, struct path_device *path) {
  struct wodan_geometry *g = &path->device.geometry;
  uint64_t size = 0;
  int logical = 0;
  unsigned physical = 0;
  if (ioctl(path->fd, BLKGETSIZE64, &size) < 0) return path_fail(r, errno, "does not tell its size", NULL);
  if (ioctl(path->fd, BLKSSZGET, &logical) < 0) return path_fail(r, errno, "does not tell its sector size", NULL);
  if (ioctl(path->fd, BLKPBSZGET, &physical) < 0) physical = 0;
  if (logical < SECTOR_MIN || logical > SECTOR_MAX || (logical & (logical - 1)))
    return status_set(r->error, WODAN_ENOTSUP, 0, WODAN_NO_BLOCK, "'%s' has sectors of %d bytes, which is not usable",
                      r->shown, logical);
  g->sector = (uint32_t)logical;
  g->size = size - size % g->sector;
  if (g->size == 0)
    return status_set(r->error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "'%s' is a block device without a medium (0 bytes)",
                      r->shown);
  if ((r->flags & WODAN_PATH_CREATE) && r->size > g->size)
    return status_set(r->error, WODAN_ENOSPC, 0, WODAN_NO_BLOCK,
                      "'%s' has %" PRIu64 " bytes, less than the %" PRIu64 " asked for", r->shown, g->size, r->size);
  path->device.ops = &block_ops;
  g->memory_alignment = (r->flags & WODAN_PATH_DIRECT) ? g->sector : 1;
  g->io_preferred = physical > g->sector ? physical : g->sector;
  g->discard_granularity = discard_granularity(found->st_rdev, g->sector);
  g->ordering = WODAN_ORDER_BY_FLUSH;
  g->durable = 1;
  return 0;
}
