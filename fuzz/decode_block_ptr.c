/* What: pointers of any bytes. What is taken encodes to the same bytes, and lies inside the volume. */
#include <string.h>
#include "support/volume.h"

const size_t fuzz_size_max = 512;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct wire_reader r = wire_reader(data, size);
  struct block_ptr ptr, again;
  uint8_t out[512];
  if (!block_ptr_decode(&r, &VOLUME, &ptr)) {
    FUZZ_CHECK(r.failed);
    return 0;
  }
  FUZZ_CHECK(!r.failed && r.at <= size);
  if (ptr.generation) {
    FUZZ_CHECK(block_ptr_blocks(&ptr) == (ptr.length + VOLUME.block_size - 1) / VOLUME.block_size);
    for (uint32_t i = 0; i < ptr.extent_count; i++)
      FUZZ_CHECK(ptr.extents[i].first >= VOLUME.data_first &&
                 ptr.extents[i].first + ptr.extents[i].count <= VOLUME.data_end);
  }
  struct wire_writer w = wire_writer(out, sizeof out);
  block_ptr_encode(&w, &ptr);
  FUZZ_CHECK(!w.failed && w.at == r.at && memcmp(out, data, w.at) == 0);
  struct wire_reader same = wire_reader(out, w.at);
  FUZZ_CHECK(block_ptr_decode(&same, &VOLUME, &again) && block_ptr_equal(&ptr, &again));
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  (void)seed; /* its checksum is that of something else */
  return LLVMFuzzerMutate(data, size, size_max);
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) {
  if (number >= 4) return 0;
  struct block_ptr ptr = volume_pointer(number);
  struct wire_writer w = wire_writer(out, size_max);
  block_ptr_encode(&w, &ptr);
  return w.at;
}
