/* What: entries of a node's table and of a run's index, of any bytes: the first byte tells which. What is taken encodes to
 * the same bytes. */
#include <string.h>
#include "format/node_header.h"
#include "support/volume.h"

const size_t fuzz_size_max = 512;

static void branch(const uint8_t *data, size_t size) {
  struct branch_entry entry;
  uint8_t out[BRANCH_ENTRY_SIZE_MAX];
  if (!branch_entry_decode(data, size, &VOLUME, &entry)) return;
  FUZZ_CHECK(entry.ptr.generation != 0);
  FUZZ_CHECK(branch_entry_encode(&entry, out, sizeof out) == size && memcmp(out, data, size) == 0);
}

static void index_of_run(const uint8_t *data, size_t size) {
  struct index_entry entry;
  uint8_t out[INDEX_ENTRY_SIZE_MAX];
  if (!index_entry_decode(data, size, &entry)) return;
  FUZZ_CHECK(entry.length > 0 && entry.offset + entry.length > entry.offset);
  FUZZ_CHECK(index_entry_encode(&entry, out, sizeof out) == size && memcmp(out, data, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  if (data[0] % 2)
    branch(data + 1, size - 1);
  else
    index_of_run(data + 1, size - 1);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  (void)seed; /* the section around it has the checksum */
  return LLVMFuzzerMutate(data, size, size_max);
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) {
  if (number >= 6) return 0;
  out[0] = number < 3;
  if (number < 3) {
    struct branch_entry entry = {.flushed_upto = number * 1000u, .ptr = volume_pointer(number + 1)};
    return 1 + branch_entry_encode(&entry, out + 1, (uint32_t)size_max - 1);
  }
  struct index_entry entry = {
      .offset = 1ull << 10 * number, .length = 512, .size = 512 << number % 2, .checksum = 0xc0ffee};
  return 1 + index_entry_encode(&entry, out + 1, (uint32_t)size_max - 1);
}
