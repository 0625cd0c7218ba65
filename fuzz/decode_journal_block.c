/* What: journal blocks of any bytes and size, and the operations in their payload. What is taken encodes to the same bytes. */
#include <string.h>
#include "format/journal_block.h"
#include "format/record.h"
#include "support/volume.h"

const size_t fuzz_size_max = 4096;
enum { HEADER = JOURNAL_HEADER_SIZE };

static void operations(const uint8_t *payload, size_t size) {
  uint8_t out[4096];
  struct wire_reader r = wire_reader(payload, size);
  struct wire_writer w = wire_writer(out, sizeof out);
  struct journal_operation operation;
  wire_put_u64(&w, wire_get_u64(&r));
  wire_put_u64(&w, wire_get_u64(&r));
  if (r.failed) return;
  for (;;) {
    size_t before = r.at;
    if (!journal_operation_decode(&r, &operation)) {
      r.at = before;
      break;
    }
    FUZZ_CHECK(operation.key.size > 0);
    FUZZ_CHECK(journal_operation_size(operation.key.size, operation.value.size) == r.at - before);
    journal_operation_encode(&w, &operation);
  }
  FUZZ_CHECK(!w.failed && w.at == r.at && memcmp(out, payload, w.at) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct journal_block block;
  const uint8_t *payload;
  uint8_t out[4096];
  if (size > sizeof out) return 0;
  if (!journal_block_decode(data, (uint32_t)size, volume_seed(), VOLUME_FSID, &block, &payload)) return 0;
  FUZZ_CHECK(payload == data + HEADER && block.payload_length <= size - HEADER);
  FUZZ_CHECK(block.fragment < block.fragments && journal_block_peek_sequence(data) == block.sequence);
  operations(payload, block.payload_length);
  journal_block_encode(&block, payload, volume_seed(), out, (uint32_t)size);
  FUZZ_CHECK(memcmp(out, data, size) == 0);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  if (size >= HEADER && seed % 4 == 0)
    LLVMFuzzerMutate(data + 12, HEADER - 12, HEADER - 12);
  else if (size > HEADER && seed % 4 < 3)
    size = HEADER + LLVMFuzzerMutate(data + HEADER, size - HEADER, size_max - HEADER);
  else
    size = LLVMFuzzerMutate(data, size, size_max);
  if (size >= HEADER && seed % 32 < 24) memcpy(data + 16, VOLUME_FSID, sizeof VOLUME_FSID);
  if (size >= HEADER && volume_repairs(seed / 4)) store_u64(data, checksum(volume_seed(), data + 8, size - 8));
  return size;
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) {
  static const uint8_t kinds[] = {JOURNAL_EMPTY, JOURNAL_RECORD, JOURNAL_CHECKPOINT, JOURNAL_SEAL, JOURNAL_RECORD};
  static const struct journal_operation some[] = {{RECORD_PUT,
                                                   {"\x01"
                                                    "city",
                                                    5},
                                                   {"Paris", 5}},
                                                  {RECORD_DELETE,
                                                   {"\x01"
                                                    "town",
                                                    5},
                                                   {NULL, 0}},
                                                  {RECORD_PUT,
                                                   {"\x01"
                                                    "x",
                                                    2},
                                                   {"", 0}}};
  if (number >= sizeof kinds || size_max < 4096) return 0;
  uint8_t payload[256];
  struct wire_writer w = wire_writer(payload, sizeof payload);
  wire_put_u64(&w, 10);
  wire_put_u64(&w, 12);
  for (size_t i = 0; i < 3; i++) journal_operation_encode(&w, &some[i]);
  struct journal_block block = {.kind = kinds[number],
                                .epoch = {3, 0x123456789},
                                .sequence = 40 + number,
                                .previous = 0xfeed,
                                .flushed_through = 39,
                                .checkpoint = 30,
                                .checkpoint_hash = 0xbeef,
                                .fragment = number == 4,
                                .fragments = number == 4 ? 3 : 1,
                                .payload_length = kinds[number] == JOURNAL_RECORD ? (uint32_t)w.at : 0};
  memcpy(block.fsid, VOLUME_FSID, sizeof block.fsid);
  uint32_t size = number == 4 ? 4096 : 512;
  journal_block_encode(&block, payload, volume_seed(), out, size);
  return size;
}
