/* What: checkpoint records of any bytes. What is taken encodes to the same bytes. */
#include <string.h>
#include "format/checkpoint_record.h"
#include "support/volume.h"

const size_t fuzz_size_max = 1024;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct checkpoint_record record;
  uint8_t out[1024];
  if (size > sizeof out || !checkpoint_record_decode(data, (uint32_t)size, &VOLUME, &record)) return 0;
  FUZZ_CHECK(record.generation > record.root.generation && record.generation > record.catalog.generation);
  FUZZ_CHECK(record.device_blocks <= VOLUME.data_end + 1);
  FUZZ_CHECK(checkpoint_record_encode(&record, out, sizeof out) == size && memcmp(out, data, size) == 0);
  FUZZ_CHECK(size == 0 || checkpoint_record_encode(&record, out, (uint32_t)size - 1) == 0);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  (void)seed; /* the block around it has the checksum */
  return LLVMFuzzerMutate(data, size, size_max);
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) {
  if (number >= 4) return 0;
  struct checkpoint_record record = {.generation = 1000,
                                     .sequence = 77,
                                     .tail = 20,
                                     .previous = 30,
                                     .previous_hash = number ? 0xabcdef : 0,
                                     .device_blocks = number == 1 ? 1000 : VOLUME.data_end + 1,
                                     .root = volume_pointer(number),
                                     .catalog = volume_pointer(3 * (number == 2))};
  return checkpoint_record_encode(&record, out, (uint32_t)size_max);
}
