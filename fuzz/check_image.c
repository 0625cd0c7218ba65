/* What: checks any bytes as a volume.
 *
 * Demanded: no crash; not a byte written; at most 2 B + 16 blocks read of an image of B blocks; heap of at most 16 bytes a
 * block, 64 KiB and 4 pages; the report agrees with the findings told; and an image without damage opens and is read
 * without an error, with ascending keys: so the check and the engine are each other's judge.
 *
 * See: support/image.h for the mutator and the judge. */
#include <wodan/wodan.h>
#include "support/image.h"

const size_t fuzz_size_max = 128 << 10;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct wodan_check_report report;
  struct kept_bytes *kept = image_take(data, size, false);
  if (!kept) return 0;
  if (image_check(kept, &report) == 0 && report.complete && report.damages == 0) image_expect_readable(kept);
  kept_free(kept);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  return image_mutate(data, size, size_max, seed);
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) { return image_seed(number, out, size_max); }
