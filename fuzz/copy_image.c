/* What: copies any bytes as a volume without its values, keys scrambled.
 *
 * Demanded: no crash; not a byte written to the image; and a check finds in the copy what it finds in the image, at the same
 * blocks, with as many records.
 *
 * See: support/image.h for the mutator; include/wodan/image.h. */
#include <stdlib.h>
#include <string.h>
#include <wodan/wodan.h>
#include "support/image.h"
#include "support/kept_device.h"

const size_t fuzz_size_max = 128 << 10;
enum { SECTOR = 512, HEARD_MAX = 1000 };

struct heard {
  struct wodan_check_report report;
  uint32_t count;
  struct {
    uint32_t id;
    uint64_t block;
  } findings[HEARD_MAX];
};

static void hear(void *context, const struct wodan_finding *finding) {
  struct heard *heard = context;
  if (heard->count == HEARD_MAX) return;
  heard->findings[heard->count].id = finding->id;
  heard->findings[heard->count++].block = finding->block;
}

static int check(struct kept_bytes *kept, struct heard *heard) {
  struct wodan_device *device = kept_plug(kept, SECTOR, 1);
  const struct wodan_check_options options = {.context = heard, .finding = hear};
  memset(heard, 0, sizeof *heard);
  int status = wodan_check(device, &options, &heard->report, NULL);
  wodan_device_close(device);
  return status;
}

/* A filter that denies keys is made anew from those it lets through, and may let one of the others through by chance; whether
 * a page of such a filter is told is not compared. */
static uint32_t next(const struct heard *heard, uint32_t i) {
  enum { FILTER_DENIES = 45 };
  while (i < heard->count && heard->findings[i].id == FILTER_DENIES) i++;
  return i;
}

static void compare(const struct heard *image, const struct heard *copy) {
  uint32_t i = next(image, 0), k = next(copy, 0);
  for (; i < image->count && k < copy->count; i = next(image, i + 1), k = next(copy, k + 1)) {
    if (image->findings[i].id == copy->findings[k].id && image->findings[i].block == copy->findings[k].block) continue;
    FUZZ_FAIL("finding %u: WF%04u at block %lld in the image, WF%04u at %lld in the copy", i, image->findings[i].id,
              (long long)image->findings[i].block, copy->findings[k].id, (long long)copy->findings[k].block);
  }
  if (i < image->count) FUZZ_FAIL("the copy lacks WF%04u", image->findings[i].id);
  if (k < copy->count) FUZZ_FAIL("only the copy has WF%04u", copy->findings[k].id);
  FUZZ_CHECK(image->report.records == copy->report.records && image->report.complete == copy->report.complete &&
             image->report.journal_records == copy->report.journal_records);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct heard image, copy;
  size -= size % SECTOR;
  if (size < 2 * SECTOR) return 0;
  struct kept_bytes *from = kept_create(size), *to = kept_create(size);
  memcpy(from->data, data, size);
  if (check(from, &image) == 0) {
    const struct wodan_copy_options options = {.scramble = 1};
    struct wodan_device *source = kept_plug(from, SECTOR, 1), *target = kept_plug(to, SECTOR, 0);
    struct wodan_inspect *inspect;
    struct wodan_error error;
    if (wodan_inspect_open(source, NULL, &inspect, &error) < 0) FUZZ_FAIL("checked, not opened: %s", error.message);
    struct wodan_copy_report report;
    int status = wodan_image_copy(inspect, target, &options, &report, &error);
    if (status != 0) FUZZ_FAIL("not copied: %s", error.message);
    wodan_inspect_close(inspect);
    wodan_device_close(source);
    wodan_device_close(target);
    FUZZ_CHECK(from->writes == 0);
    FUZZ_CHECK(check(to, &copy) == 0);
    if (!report.pages_left_out) compare(&image, &copy);
  }
  kept_free(from);
  kept_free(to);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  return image_mutate(data, size, size_max, seed);
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) { return image_seed(number, out, size_max); }
