/* Owns: the device in memory.
 *
 * Always true: the bytes are exactly geometry.size; a transfer holds the lock for reading, resize for writing, so
 * transfers run side by side and never meet bytes that move. Nothing is durable; order is trivially kept.
 *
 * See: include/wodan/device.h, tests/unit/test_device.c. */
#include <stdbool.h>
#include <string.h>
#include <wodan/device.h>

#include "base/mem.h"
#include "base/thread.h"

enum { SECTOR_DEFAULT = 512, SECTOR_MIN = 64, SECTOR_MAX = 65536 };

struct memory_device {
  struct wodan_device device; /* first */
  struct mem mem;
  struct rwlock lock; /* guards bytes and geometry.size */
  uint8_t *bytes;
};

static struct memory_device *memory_of(struct wodan_device *device) { return (struct memory_device *)(void *)device; }

static int transfer_one(struct memory_device *memory, struct wodan_io *io) {
  uint64_t size = memory->device.geometry.size;
  if (io->offset > size || io->size > size - io->offset) return WODAN_EIO;
  if (io->size == 0) return 0;
  uint8_t *place = memory->bytes + io->offset;
  switch (io->kind) {
  case WODAN_IO_READ:
    memcpy(io->data, place, io->size);
    return 0;
  case WODAN_IO_WRITE:
    memcpy(place, io->data, io->size);
    return 0;
  case WODAN_IO_DISCARD:
    memset(place, 0, io->size);
    return 0;
  default:
    return WODAN_EIO;
  }
}

static int memory_transfer(struct wodan_device *device, struct wodan_io *requests, size_t count) {
  struct memory_device *memory = memory_of(device);
  int first = 0;
  rwlock_read(&memory->lock);
  for (size_t i = 0; i < count; i++) {
    requests[i].status = transfer_one(memory, &requests[i]);
    requests[i].device_errno = 0;
    if (!first) first = requests[i].status;
  }
  rwlock_read_leave(&memory->lock);
  return first;
}

static int memory_nothing(struct wodan_device *device) {
  (void)device;
  return 0;
}

static int memory_resize(struct wodan_device *device, uint64_t size) {
  struct memory_device *memory = memory_of(device);
  if (size == 0 || size % device->geometry.sector || size > INT64_MAX) return WODAN_EINVAL;
  if (size > SIZE_MAX) return WODAN_ENOMEM;
  uint8_t *bytes = mem_zalloc(&memory->mem, size);
  if (!bytes) return WODAN_ENOMEM;
  rwlock_write(&memory->lock);
  uint64_t old = device->geometry.size;
  memcpy(bytes, memory->bytes, (size_t)(old < size ? old : size));
  mem_free(&memory->mem, memory->bytes, old);
  memory->bytes = bytes;
  device->geometry.size = size;
  rwlock_write_leave(&memory->lock);
  return 0;
}

static void memory_free(struct memory_device *memory) {
  struct mem mem;
  mem_init(&mem, NULL); /* the struct's own accounting goes away with it */
  mem_free(&memory->mem, memory->bytes, memory->device.geometry.size);
  mem_free(&mem, memory, sizeof *memory);
}

static int memory_close(struct wodan_device *device) {
  struct memory_device *memory = memory_of(device);
  rwlock_release(&memory->lock);
  memory_free(memory);
  return 0;
}

static const struct wodan_device_ops memory_ops = {
    .size = sizeof memory_ops,
    .transfer = memory_transfer,
    .barrier = memory_nothing,
    .flush = memory_nothing,
    .resize = memory_resize,
    .close = memory_close,
};

int wodan_memory_device(uint64_t size, uint32_t sector, struct wodan_device **device) {
  if (!device) return WODAN_EINVAL;
  *device = NULL;
  if (sector == 0) sector = SECTOR_DEFAULT;
  bool power = (sector & (sector - 1)) == 0;
  if (!power || sector < SECTOR_MIN || sector > SECTOR_MAX) return WODAN_EINVAL;
  if (size == 0 || size % sector || size > INT64_MAX) return WODAN_EINVAL;
  if (size > SIZE_MAX) return WODAN_ENOMEM;
  struct mem mem;
  mem_init(&mem, NULL);
  struct memory_device *memory = mem_zalloc(&mem, sizeof *memory);
  if (!memory) return WODAN_ENOMEM;
  mem_init(&memory->mem, NULL);
  memory->device = (struct wodan_device){.ops = &memory_ops,
                                         .geometry = {.size = size,
                                                      .sector = sector,
                                                      .memory_alignment = 1,
                                                      .discard_granularity = sector,
                                                      .ordering = WODAN_ORDER_NATIVE}};
  memory->bytes = mem_zalloc(&memory->mem, size);
  if (!memory->bytes || rwlock_init(&memory->lock)) {
    memory_free(memory);
    return WODAN_ENOMEM;
  }
  *device = &memory->device;
  return 0;
}
