/* What: checks any bytes as a volume.
 *
 * Demanded: no crash; not a byte written; at most 2 B + 16 blocks read of an image of B blocks; heap of at most 16 bytes a
 * block, 64 KiB and 4 pages; the report agrees with the findings told; and an image without damage opens and is read
 * without an error, with ascending keys: so the check and the engine are each other's judge.
 *
 * See: support/image.h for the mutator. */
#include <stdlib.h>
#include <string.h>
#include <wodan/wodan.h>
#include "format/record.h"
#include "support/image.h"
#include "support/kept_device.h"
#include "support/meter.h"

const size_t fuzz_size_max = 128 << 10;
enum { SECTOR = 512 };

struct heard {
  uint64_t counts[3];
  uint64_t progress, total;
};

static void hear(void *context, const struct wodan_finding *finding) {
  struct heard *heard = context;
  FUZZ_CHECK(finding->severity <= WODAN_DAMAGE && finding->id && finding->message && finding->message[0]);
  heard->counts[finding->severity]++;
}

static int hear_progress(void *context, uint64_t done, uint64_t total) {
  struct heard *heard = context;
  FUZZ_CHECK(done <= total && done >= heard->progress);
  heard->progress = done;
  return 0;
}

static void bounds(const struct kept_bytes *kept, const struct meter *meter) {
  struct superblock sb;
  uint64_t end = kept->size - SUPERBLOCK_SIZE;
  if (superblock_decode(kept->data, &sb, NULL) < 0 && superblock_decode(kept->data + end, &sb, NULL) < 0) return;
  uint64_t blocks = kept->size / sb.block_size, most = fuzz_size_max / sb.block_size;
  if (blocks < sb.device_blocks)
    blocks = sb.device_blocks < most ? sb.device_blocks : most; /* it was cut: what it was */
  if (kept->read_bytes > (2 * blocks + 16) * sb.block_size)
    FUZZ_FAIL("%llu bytes read of an image of %llu blocks of %u bytes", (unsigned long long)kept->read_bytes,
              (unsigned long long)blocks, sb.block_size);
  uint64_t heap = 16 * blocks + (64 << 10) + 4 * (uint64_t)sb.page_size;
  if (meter->peak > heap)
    FUZZ_FAIL("a check took %zu bytes of memory where %llu are allowed", meter->peak, (unsigned long long)heap);
}

/* What was found whole is readable. */
static void judge_whole(struct kept_bytes *kept) {
  struct wodan_open_options options = {.flags = WODAN_OPEN_READ_ONLY | WODAN_OPEN_INLINE};
  struct wodan_error error;
  struct wodan_db *db;
  struct wodan_device *device = kept_plug(kept, SECTOR, 1);
  int status = wodan_open(device, &options, &db, &error);
  if (status < 0) {
    wodan_device_close(device);
    if (status == WODAN_EBUDGET || status == WODAN_EVERSION) return;
    FUZZ_FAIL("an image that is checked and found whole does not open: %s", error.message);
  }
  struct wodan_cursor *cursor;
  uint8_t before[TREE_KEY_MAX];
  struct wodan_slice previous = {before, 0};
  FUZZ_CHECK(wodan_cursor_open(db, NULL, &cursor) == 0);
  for (status = wodan_cursor_first(cursor); status == 0; status = wodan_cursor_next(cursor)) {
    struct wodan_slice key = wodan_cursor_key(cursor);
    if (key_compare(previous, key) >= 0) FUZZ_FAIL("an image found whole gives keys that do not ascend");
    memcpy(before, key.data, key.size);
    previous.size = key.size;
  }
  wodan_last_error(db, &error);
  if (status < 0) FUZZ_FAIL("an image found whole cannot be read: %s", error.message);
  wodan_cursor_close(cursor);
  wodan_close(db, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  size -= size % SECTOR;
  if (size == 0) return 0;
  struct kept_bytes *kept = kept_create(size);
  memcpy(kept->data, data, size);
  struct meter meter = {0};
  struct heard heard = {0};
  struct wodan_check_options options = {
      .allocator = meter_hooks(&meter), .context = &heard, .finding = hear, .progress = hear_progress};
  struct wodan_check_report report;
  struct wodan_error error;
  struct wodan_device *device = kept_plug(kept, SECTOR, 1);
  int status = wodan_check(device, &options, &report, &error);
  wodan_device_close(device);
  FUZZ_CHECK(status <= 0 && meter.used == 0 && kept->writes == 0 && kept->flushes == 0 && kept->barriers == 0);
  bounds(kept, &meter);
  if (status == 0) {
    FUZZ_CHECK(report.notes == heard.counts[WODAN_NOTE] && report.warnings == heard.counts[WODAN_WARNING] &&
               report.damages == heard.counts[WODAN_DAMAGE]);
    FUZZ_CHECK(report.blocks_live + report.blocks_previous <= size / SECTOR);
    FUZZ_CHECK(report.complete || report.damages || report.warnings);
    if (report.complete && report.damages == 0) judge_whole(kept);
  }
  kept_free(kept);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  return image_mutate(data, size, size_max, seed);
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) { return image_seed(number, out, size_max); }
