/* What: objects as inputs. See object.h. */
#include "support/object.h"

#include <string.h>
#include "support/image.h"
#include "support/kept_device.h"
#include "support/meter.h"

static struct kept_bytes *kept;
static struct device device;
static struct mem mem;
static struct block_io io;

struct block_io *object_io(void) {
  if (kept) return &io;
  kept = kept_create((VOLUME.data_end + 1) * VOLUME.block_size);
  static struct meter meter;
  const struct wodan_allocator hooks = meter_hooks(&meter);
  mem_init(&mem, &hooks);
  if (device_init(&device, kept_plug(kept, 512, 0), NULL) < 0) FUZZ_FAIL("no device");
  io = (struct block_io){.device = &device, .mem = &mem, .bounds = VOLUME, .seed = volume_seed()};
  memcpy(io.fsid, VOLUME_FSID, sizeof io.fsid);
  return &io;
}

static size_t dirty; /* so many bytes from there may be other than zero */

static uint8_t *place(void) {
  object_io();
  return kept->data + VOLUME.data_first * VOLUME.block_size;
}

uint8_t *object_bytes(void) {
  dirty = OBJECT_MAX; /* whoever asks may write, or has written */
  return place();
}

/* A pointer to `size` bytes, with what the header says of itself. */
static struct block_ptr pointer(const uint8_t *data, size_t size) {
  struct block_ptr ptr = {.generation = load_u64(data + 32),
                          .checksum = load_u64(data),
                          .length = load_u64(data + 56),
                          .header_length = load_u32(data + 12),
                          .extent_count = 1};
  ptr.extents[0] = (struct extent){VOLUME.data_first, (size + VOLUME.block_size - 1) / VOLUME.block_size};
  return ptr;
}

static bool followed(const struct block_ptr *ptr) {
  uint8_t bytes[512];
  struct block_ptr again;
  if (ptr->generation == 0 || ptr->header_length == 0 || ptr->header_length > ptr->length) return false;
  struct wire_writer w = wire_writer(bytes, sizeof bytes);
  block_ptr_encode(&w, ptr);
  struct wire_reader r = wire_reader(bytes, w.at);
  return block_ptr_decode(&r, &VOLUME, &again);
}

bool object_place(const uint8_t *data, size_t size, uint8_t type, struct block_ptr *ptr) {
  enum { FIXED = 80 };
  if (size < FIXED || size > OBJECT_MAX) return false;
  uint8_t *there = place();
  memcpy(there, data, size);
  if (dirty > size) memset(there + size, 0, dirty - size);
  dirty = size;
  *ptr = pointer(data, size);
  (void)type;
  return followed(ptr);
}

size_t object_mutate(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  enum { FIXED = 80, PARTS = 8 };
  static struct image image;
  static uint8_t bytes[OBJECT_MAX + 16 * 512];
  struct block_ptr ptr;
  if (size > FIXED && seed % PARTS) { /* a window, so that what follows stays where it is */
    size_t at = seed / PARTS % size, left = size - at < 24 ? size - at : 24;
    LLVMFuzzerMutate(data + at, left, left);
  } else {
    size = LLVMFuzzerMutate(data, size, size_max);
  }
  if (size < FIXED || size > OBJECT_MAX) return size;
  if (seed % 3) { /* what the pointer would tell */
    memcpy(data + 16, VOLUME_FSID, sizeof VOLUME_FSID);
    store_u64(data + 56, size);
  }
  ptr = pointer(data, size);
  if (!volume_repairs(seed / PARTS) || !followed(&ptr)) return size;
  /* As an image whose data area begins with the object. */
  size_t start = (size_t)VOLUME.data_first * VOLUME.block_size;
  memcpy(bytes + start, data, size);
  memset(bytes + start + size, 0, VOLUME.block_size); /* to the end of its last block; no other is visited */
  image.bytes = bytes; /* one by one: the places, which nobody asks for here, are most of an image */
  image.size = sizeof bytes;
  image.bounds = VOLUME;
  image.bounds.data_end = sizeof bytes / VOLUME.block_size;
  image.seed = volume_seed();
  image.repairs = true;
  image.visits = 1;
  image.place_count = IMAGE_PLACES_MAX;
  uint8_t encoded[512];
  struct wire_writer w = wire_writer(encoded, sizeof encoded);
  block_ptr_encode(&w, &ptr);
  struct wire_reader r = wire_reader(encoded, w.at);
  image_walk_pointer(&image, &r, 0);
  memcpy(data, bytes + start, size);
  return size;
}
