/* What: images as volumes: an input as a device, the check with all that is demanded of it, and reading what it calls whole.
 *
 * See: image.h. */
#include <stdlib.h>
#include <string.h>
#include <wodan/wodan.h>
#include "format/record.h"
#include "support/image.h"
#include "support/meter.h"

struct kept_bytes *image_take(const uint8_t *data, size_t size, bool repaired) {
  static struct image image;
  size -= size % IMAGE_SECTOR;
  if (size == 0) return NULL;
  struct kept_bytes *kept = kept_create(size);
  memcpy(kept->data, data, size);
  if (repaired) image_walk(&image, kept->data, size, true);
  return kept;
}

/* ---- the check --------------------------------------------------------------------------------------------------- */

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

/* Large values that the journal names take a second replay, after the tree's. */
static void bounds(const struct kept_bytes *kept, uint64_t read_bytes, const struct meter *meter, bool large) {
  struct superblock sb;
  uint64_t end = kept->size - SUPERBLOCK_SIZE;
  if (superblock_decode(kept->data, &sb, NULL) < 0 && superblock_decode(kept->data + end, &sb, NULL) < 0) return;
  uint64_t blocks = kept->size / sb.block_size, most = fuzz_size_max / sb.block_size;
  if (blocks < sb.device_blocks)
    blocks = sb.device_blocks < most ? sb.device_blocks : most; /* it was cut: what it was */
  uint64_t replay = large ? 3 * sb.journal_blocks : 0;
  if (read_bytes > (2 * blocks + replay + 16) * sb.block_size)
    FUZZ_FAIL("%llu bytes read of an image of %llu blocks of %u bytes", (unsigned long long)read_bytes,
              (unsigned long long)blocks, sb.block_size);
  uint64_t heap = 16 * blocks + (64 << 10) + 4 * (uint64_t)sb.page_size;
  if (meter->peak > heap)
    FUZZ_FAIL("a check took %zu bytes of memory where %llu are allowed", meter->peak, (unsigned long long)heap);
}

int image_check(struct kept_bytes *kept, struct wodan_check_report *report) {
  struct meter meter = {0};
  struct heard heard = {0};
  struct wodan_check_options options = {
      .allocator = meter_hooks(&meter), .context = &heard, .finding = hear, .progress = hear_progress};
  struct wodan_error error;
  const struct kept_bytes before = *kept;
  struct wodan_device *device = kept_plug(kept, IMAGE_SECTOR, 1);
  int status = wodan_check(device, &options, report, &error);
  wodan_device_close(device);
  FUZZ_CHECK(status <= 0 && meter.used == 0 && kept->writes == before.writes && kept->flushes == before.flushes &&
             kept->barriers == before.barriers);
  bounds(kept, kept->read_bytes - before.read_bytes, &meter, report->blobs > 0);
  if (status < 0) return status;
  FUZZ_CHECK(report->notes == heard.counts[WODAN_NOTE] && report->warnings == heard.counts[WODAN_WARNING] &&
             report->damages == heard.counts[WODAN_DAMAGE]);
  FUZZ_CHECK(report->blocks_live + report->blocks_previous <= kept->size / IMAGE_SECTOR);
  FUZZ_CHECK(report->complete || report->damages || report->warnings);
  return 0;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

void image_expect_readable(struct kept_bytes *kept) {
  struct wodan_open_options options = {.flags = WODAN_OPEN_READ_ONLY | WODAN_OPEN_INLINE};
  struct wodan_error error;
  struct wodan_db *db;
  struct wodan_device *device = kept_plug(kept, IMAGE_SECTOR, 1);
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
