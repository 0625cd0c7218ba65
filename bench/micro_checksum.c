/* Measures: the checksum of blocks and pages of several sizes, in memory that is warm.
 * See: src/codec/checksum.h. */
#include <stdio.h>
#include <stdlib.h>

#include "codec/checksum.h"
#include "micro.h"

struct block {
  size_t size;
  uint8_t bytes[];
};

static void *create(size_t size) {
  struct block *block = micro_allocate(sizeof *block + size);
  block->size = size;
  bench_value(1, 1, block->bytes, size);
  return block;
}

static void run(void *state, uint64_t count) {
  struct block *block = state;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < count; i++)
    sum = checksum(sum, block->bytes, block->size); /* each waits for the one before */
  micro_use(sum);
}

void micro_checksum(micro_add *add, void *context) {
  static const size_t sizes[] = {17, 512, 4096, 16384, 512 << 10};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    struct micro micro = {
        .which = sizes[i], .create = create, .run = run, .destroy = free, .chunk = 100, .bytes = sizes[i]};
    snprintf(micro.name, sizeof micro.name, "checksum/%zu", sizes[i]);
    add(context, &micro);
  }
}
