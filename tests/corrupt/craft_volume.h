/* A new volume and the writer of repair on it: for tests that put objects where no database would. */
#ifndef CORRUPT_CRAFT_VOLUME_H
#define CORRUPT_CRAFT_VOLUME_H

#include "../unit/engine_rig.h"

#include "repair/writer.h"

struct craft {
  struct kept_bytes *kept;
  struct wodan_device *device;
  struct mem mem;
  struct volume volume;
  struct writer writer;
  uint32_t page, block;
  uint64_t bulk; /* bytes that a section is to have */
};

struct geometry {
  uint64_t size;
  uint32_t block, page, sector;
};

static inline int craft_random(void *context, void *buffer, size_t size) {
  (void)context;
  memset(buffer, 0x5A, size);
  return 0;
}

static inline void craft_begin(struct craft *craft, const struct geometry *geometry) {
  const struct wodan_hooks hooks = {.random = craft_random};
  struct wodan_format_options format = {.block_size = geometry->block, .page_size = geometry->page, .hooks = hooks};
  *craft = (struct craft){.kept = kept_create(geometry->size)};
  craft->device = kept_plug(craft->kept, geometry->sector, 0);
  assert_int_equal(wodan_format(craft->device, &format, NULL), 0);
  mem_init(&craft->mem, NULL);
  assert_int_equal(device_init(&craft->volume.device, craft->device, NULL), 0);
  assert_int_equal(volume_open(&craft->volume, craft->device, &craft->mem, false, 0, NULL), 0);
  assert_int_equal(writer_open(&craft->writer, &craft->volume, &hooks, NULL), 0);
  craft->page = craft->volume.superblock.page_size;
  craft->block = craft->volume.superblock.block_size;
  craft->bulk = geometry->size / 2;
}

static inline void craft_end(struct craft *craft) {
  writer_release(&craft->writer);
  volume_release(&craft->volume);
  assert_int_equal(craft->mem.used, 0);
  assert_int_equal(wodan_device_close(craft->device), 0);
  kept_free(craft->kept);
}

static inline struct wodan_slice text_key(uint64_t number, char out[24]) {
  int size = snprintf(out, 24, "\1%010llu", (unsigned long long)number);
  return (struct wodan_slice){out, (size_t)size};
}

#endif
