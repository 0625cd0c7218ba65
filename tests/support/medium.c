/* Owns: the device over a damaged image. See medium.h. */
#include "support/medium.h"

#include <string.h>

static bool overlaps(const struct patch_range *range, const struct wodan_io *io) {
  return io->offset < range->to && io->offset + io->size > range->from;
}

/* What was written can be read: the ranges lie in whole sectors, as requests do. */
static void heal(struct patch *image, const struct wodan_io *io) {
  for (uint32_t i = 0; i < image->broken_count; i++) {
    struct patch_range *range = &image->broken[i];
    if (!overlaps(range, io)) continue;
    uint64_t end = io->offset + io->size, to = range->to;
    if (io->offset > range->from && end < to && image->broken_count < PATCH_BROKEN_MAX)
      image->broken[image->broken_count++] = (struct patch_range){end, to};
    if (io->offset <= range->from)
      range->from = end < to ? end : to;
    else
      range->to = io->offset;
  }
}

static int medium_one(struct medium *medium, struct wodan_io *io) {
  struct patch *image = medium->image;
  if (io->offset > image->size || io->size > image->size - io->offset) return WODAN_EIO;
  if (io->kind != WODAN_IO_READ) {
    medium->others++;
    if (!medium->writable || io->kind != WODAN_IO_WRITE) return WODAN_EIO;
    memcpy(image->bytes + io->offset, io->data, io->size);
    heal(image, io);
    return 0;
  }
  medium->read += io->size;
  for (uint32_t i = 0; i < image->broken_count; i++)
    if (overlaps(&image->broken[i], io)) return WODAN_EIO;
  memcpy(io->data, image->bytes + io->offset, io->size);
  return 0;
}

static int medium_transfer(struct wodan_device *device, struct wodan_io *requests, size_t count) {
  int first = 0;
  for (size_t i = 0; i < count; i++) {
    requests[i].device_errno = 0;
    requests[i].status = medium_one((struct medium *)(void *)device, &requests[i]);
    if (!first) first = requests[i].status;
  }
  return first;
}

static int medium_ordered(struct wodan_device *device) {
  ((struct medium *)(void *)device)->others++;
  return 0;
}

static int medium_close(struct wodan_device *device) {
  (void)device;
  return 0;
}

void medium_open(struct medium *medium, struct patch *image, bool writable) {
  static const struct wodan_device_ops ops = {.size = sizeof ops,
                                              .transfer = medium_transfer,
                                              .barrier = medium_ordered,
                                              .flush = medium_ordered,
                                              .close = medium_close};
  *medium = (struct medium){.image = image, .writable = writable};
  medium->device.ops = &ops;
  medium->device.geometry = (struct wodan_geometry){.size = image->size / BASE_SECTOR * BASE_SECTOR,
                                                    .sector = BASE_SECTOR,
                                                    .ordering = WODAN_ORDER_NATIVE,
                                                    .durable = 1,
                                                    .read_only = !writable};
}
