/* What: headers of runs and nodes of any bytes. What is taken encodes to the same bytes. */
#include <string.h>
#include "format/object_header.h"
#include "support/volume.h"

const size_t fuzz_size_max = 2048;
enum { FIXED = 80 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct object_header header;
  uint8_t out[2048];
  uint32_t peeked = object_header_peek_length(data, size);
  if (size > sizeof out || !object_header_decode(data, size, volume_seed(), VOLUME_FSID, &VOLUME, &header)) return 0;
  FUZZ_CHECK(header.header_length == peeked && peeked <= size);
  uint64_t at = header.header_length;
  for (uint32_t i = 0; i < header.section_count; i++) {
    FUZZ_CHECK(header.sections[i].offset == at);
    FUZZ_CHECK(object_section(&header, header.sections[i].tag) == &header.sections[i]);
    at += header.sections[i].length;
  }
  FUZZ_CHECK(at == header.length);
  uint64_t found = header.checksum;
  FUZZ_CHECK(object_header_encode(&header, volume_seed(), out));
  FUZZ_CHECK(header.checksum == found && memcmp(out, data, header.header_length) == 0);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  if (size > FIXED && seed % 2)
    size = FIXED + LLVMFuzzerMutate(data + FIXED, size - FIXED, size_max - FIXED);
  else
    size = LLVMFuzzerMutate(data, size, size_max);
  if (size < FIXED) return size;
  if (seed % 64 < 48) memcpy(data + 16, VOLUME_FSID, sizeof VOLUME_FSID);
  if (seed % 64 < 32) store_u32(data + 12, (uint32_t)size);
  uint32_t length = load_u32(data + 12);
  if (length >= FIXED && length <= size && volume_repairs(seed / 64))
    store_u64(data, checksum(volume_seed(), data + 8, length - 8));
  return size;
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) {
  if (number >= 4 || size_max < 2048) return 0;
  bool run = number % 2 == 0;
  struct object_header header = {.type = run ? OBJECT_RUN : OBJECT_NODE,
                                 .generation = 50 + number,
                                 .epoch = {2, 0x9876543210},
                                 .record_count = number == 3 ? 2
                                                 : run       ? 12
                                                             : 0,
                                 .sequence_max = run ? 99 : 0};
  memcpy(header.fsid, VOLUME_FSID, sizeof header.fsid);
  if (run)
    header.low = (struct wodan_slice){"\x01"
                                      "abc",
                                      4},
    header.high = (struct wodan_slice){"\x01"
                                       "xyz",
                                       4};
  header.section_count = number == 0 ? 3 : number == 3 ? 2 : number == 1 ? 1 : 2;
  header.header_length = object_header_size_max(&VOLUME, 4, 4, BLOCK_PTR_EXTENTS_MAX, header.section_count);
  static const uint8_t tags[4][3] = {{SECTION_PAGES, SECTION_INDEX, SECTION_FILTER},
                                     {SECTION_RUNS},
                                     {SECTION_PAGES, SECTION_INDEX},
                                     {SECTION_CHILDREN, SECTION_RUNS}};
  uint64_t at = header.header_length;
  for (uint32_t i = 0; i < header.section_count; i++) {
    uint64_t length = 1000u * (number + 1) - 64 * i;
    header.sections[i] = (struct section){tags[number][i], at, length, tags[number][i] == SECTION_PAGES ? 0 : 0x5eed};
    at += length;
  }
  header.length = at;
  header.extent_count = 1;
  header.extents[0] = (struct extent){20, (at + VOLUME.block_size - 1) / VOLUME.block_size};
  FUZZ_CHECK(object_header_encode(&header, volume_seed(), out));
  return header.header_length;
}
