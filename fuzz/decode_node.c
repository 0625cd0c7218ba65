/* What: nodes of any bytes: header, table, run list. What is taken, is taken again after it was encoded, and says the same; where
 * the header is as long, the bytes are the same too. */
#include <string.h>
#include "support/object.h"
#include "tree/node_image.h"

const size_t fuzz_size_max = OBJECT_MAX;

static int allocate(void *context, uint64_t blocks, struct extent *extents, uint32_t *count,
                    struct wodan_error *error) {
  (void)context, (void)error;
  extents[0] = (struct extent){VOLUME.data_first, blocks};
  *count = 1;
  return 0;
}

static void same(const struct node_image *a, const struct node_image *b) {
  FUZZ_CHECK(a->level == b->level && a->entry_count == b->entry_count && a->run_count == b->run_count);
  for (uint32_t i = 0; i < a->entry_count; i++) {
    const struct node_image_entry *x = &a->entries[i], *y = &b->entries[i];
    FUZZ_CHECK(x->pivot.size == y->pivot.size && memcmp(x->pivot.data, y->pivot.data, x->pivot.size) == 0);
    FUZZ_CHECK(x->branch.flushed_upto == y->branch.flushed_upto && block_ptr_equal(&x->branch.ptr, &y->branch.ptr));
  }
  for (uint32_t i = 0; i < a->run_count; i++)
    FUZZ_CHECK(block_ptr_equal(&a->runs[i].ptr, &b->runs[i].ptr) && a->runs[i].records == b->runs[i].records &&
               a->runs[i].deletes == b->runs[i].deletes && a->runs[i].ranges == b->runs[i].ranges);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct block_io *io = object_io();
  struct block_ptr ptr, again_ptr;
  struct node_image image, again;
  struct object_header header;
  struct wodan_error error;
  if (!object_place(data, size, OBJECT_NODE, &ptr)) return 0;
  if (node_image_read(io, &ptr, &image, size % 8 ? NULL : &error) < 0) {
    FUZZ_CHECK(mem_used(io->mem) == 0);
    return 0;
  }
  FUZZ_CHECK(object_header_decode(object_bytes(), OBJECT_MAX, io->seed, io->fsid, &VOLUME, &header));
  struct node_image_target target = {.generation = ptr.generation, .epoch = header.epoch, .allocate = allocate};
  uint8_t *bytes = NULL;
  size_t encoded = 0;
  FUZZ_CHECK(node_image_encode(io, &image, &target, &bytes, &encoded, &again_ptr, &error) == 0);
  if (encoded <= OBJECT_MAX) {
    bool alike = again_ptr.header_length == ptr.header_length && again_ptr.length == ptr.length;
    if (header.low.size || header.high.size) alike = false; /* nobody writes them in a node, and nobody asks for them */
    if (alike) FUZZ_CHECK(memcmp(bytes, object_bytes(), (size_t)ptr.length) == 0);
    memcpy(object_bytes(), bytes, encoded);
    FUZZ_CHECK(node_image_read(io, &again_ptr, &again, &error) == 0);
    same(&image, &again);
    node_image_release(&again);
  }
  mem_free(io->mem, bytes, encoded);
  node_image_release(&image);
  FUZZ_CHECK(mem_used(io->mem) == 0);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  return object_mutate(data, size, size_max, seed);
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) {
  if (number >= 5 || size_max < OBJECT_MAX) return 0;
  static char pivots[10][8];
  struct node_image_entry entries[10];
  struct node_image_run runs[3];
  struct node_image image = {.mem = object_io()->mem,
                             .level = number / 3,
                             .entries = entries,
                             .entry_count = number % 3 == 0 ? number : number * 2,
                             .runs = runs,
                             .run_count = number < 3 ? number : 0};
  for (unsigned i = 0; i < 10; i++) {
    memcpy(pivots[i], "\x01pivot_", 8);
    pivots[i][6] = (char)('a' + i);
    entries[i].pivot = (struct wodan_slice){pivots[i], 7};
    entries[i].branch = (struct branch_entry){.flushed_upto = i, .ptr = volume_pointer(1 + i % 3)};
  }
  for (unsigned i = 0; i < 3; i++) {
    runs[i] = (struct node_image_run){.ptr = volume_pointer(1), .records = 5 + i, .deletes = i, .ranges = i % 2};
    runs[i].ptr.generation = 900 - i;
  }
  struct node_image_target target = {.generation = 1000, .epoch = {1, 2}, .allocate = allocate};
  struct block_ptr ptr;
  uint8_t *bytes = NULL;
  size_t size = 0;
  FUZZ_CHECK(node_image_encode(object_io(), &image, &target, &bytes, &size, &ptr, NULL) == 0);
  FUZZ_CHECK(size <= size_max);
  memcpy(out, bytes, size);
  mem_free(object_io()->mem, bytes, size);
  return (size_t)ptr.length;
}
