/* Owns: the memory behind plugged devices. See kept_device.h. */
#include "support/kept_device.h"

#include <stdlib.h>
#include <string.h>

struct plugged {
  struct wodan_device base;
  struct kept_bytes *kept;
};

static int transfer(struct wodan_device *device, struct wodan_io *io, size_t count) {
  struct kept_bytes *kept = ((struct plugged *)device)->kept;
  for (size_t i = 0; i < count; i++) {
    io[i].status = io[i].device_errno = 0;
    if (io[i].offset > kept->size || io[i].size > kept->size - io[i].offset) return io[i].status = WODAN_EIO;
    if (io[i].kind == WODAN_IO_READ) {
      memcpy(io[i].data, kept->data + io[i].offset, io[i].size);
      __atomic_fetch_add(&kept->reads, 1, __ATOMIC_RELAXED);
      __atomic_fetch_add(&kept->read_bytes, io[i].size, __ATOMIC_RELAXED);
    } else if (io[i].kind == WODAN_IO_WRITE) {
      __atomic_fetch_add(&kept->writes, 1, __ATOMIC_RELAXED);
      __atomic_fetch_add(&kept->written, io[i].size, __ATOMIC_RELAXED);
      if (device->geometry.read_only) return io[i].status = WODAN_EIO;
      memcpy(kept->data + io[i].offset, io[i].data, io[i].size);
    }
  }
  return 0;
}

static int barrier(struct wodan_device *device) {
  __atomic_fetch_add(&((struct plugged *)device)->kept->barriers, 1, __ATOMIC_RELAXED);
  return 0;
}
static int flush(struct wodan_device *device) {
  __atomic_fetch_add(&((struct plugged *)device)->kept->flushes, 1, __ATOMIC_RELAXED);
  return 0;
}
static int unplug(struct wodan_device *device) { return free(device), 0; }

static const struct wodan_device_ops ops = {
    .size = sizeof ops, .transfer = transfer, .barrier = barrier, .flush = flush, .close = unplug};

struct kept_bytes *kept_create(uint64_t size) {
  struct kept_bytes *kept = calloc(1, sizeof *kept);
  kept->data = calloc(1, size);
  kept->size = size;
  return kept;
}

void kept_free(struct kept_bytes *kept) {
  free(kept->data);
  free(kept);
}

struct wodan_device *kept_plug(struct kept_bytes *kept, uint32_t sector, int read_only) {
  struct plugged *device = calloc(1, sizeof *device);
  device->base.ops = &ops;
  device->base.geometry = (struct wodan_geometry){.size = kept->size,
                                                  .sector = sector,
                                                  .ordering = WODAN_ORDER_NATIVE,
                                                  .durable = 1,
                                                  .read_only = (uint8_t)read_only};
  device->kept = kept;
  return &device->base;
}
