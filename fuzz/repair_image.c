/* What: salvages any bytes as a volume, and repairs them in place.
 *
 * Demanded: no crash; nothing leaks; a salvage and a dry run write nothing to the image; a salvaged volume is whole; a dry run
 * tells the steps that the real run does; a repair in place leaves nothing for a second one; what it calls whole opens and is
 * read to the end, with ascending keys.
 *
 * See: support/image.h for the mutator. */
#include <stdlib.h>
#include <string.h>
#include <wodan/wodan.h>
#include "support/image.h"
#include "support/kept_device.h"
#include "support/meter.h"
#include "support/random.h"

const size_t fuzz_size_max = 128 << 10;
enum { SECTOR = 512 };

static int next_random(void *context, void *buffer, size_t size) {
  for (size_t i = 0; i < size; i++) ((uint8_t *)buffer)[i] = (uint8_t)random_next(context);
  return 0;
}

/* What is checked and found whole is readable. */
static void judge_whole(struct kept_bytes *kept) {
  struct wodan_check_report report;
  struct wodan_error error = {0};
  struct wodan_device *device = kept_plug(kept, SECTOR, 1);
  int status = wodan_check(device, NULL, &report, &error);
  wodan_device_close(device);
  if (status < 0 || report.damages + report.warnings || !report.complete)
    FUZZ_FAIL("what was made is not whole: %llu damages, %llu warnings, %s", (unsigned long long)report.damages,
              (unsigned long long)report.warnings, error.message);
  image_expect_readable(kept);
}

static void salvage(struct kept_bytes *kept) {
  struct kept_bytes *out = kept_create(4 * fuzz_size_max);
  struct wodan_device *from = kept_plug(kept, SECTOR, 1), *to = kept_plug(out, SECTOR, 0);
  struct meter meter = {0};
  struct wodan_salvage_report report;
  uint64_t random = 1;
  const struct wodan_salvage_options options = {.allocator = meter_hooks(&meter),
                                                .hooks = {.context = &random, .random = next_random}};
  int status = wodan_salvage(from, to, &options, &report, NULL);
  wodan_device_close(from);
  wodan_device_close(to);
  FUZZ_CHECK(status <= 0 && meter.used == 0 && kept->writes == 0 && kept->flushes == 0);
  if (status == 0) judge_whole(out);
  kept_free(out);
}

static void add_step(void *context, const struct wodan_repair_step *step) {
  uint64_t *hash = context;
  for (const char *c = step->message; *c; c++) *hash = *hash * 1099511628211u + (uint8_t)*c;
  *hash = *hash * 1099511628211u + step->kind + 31 * step->block + step->generation;
}

static int repair(struct kept_bytes *kept, bool dry_run, uint64_t *hash, struct wodan_repair_report *report) {
  struct wodan_device *device = kept_plug(kept, SECTOR, dry_run);
  struct meter meter = {0};
  uint64_t random = 2;
  *hash = 0;
  const struct wodan_repair_options options = {.allowed = WODAN_REPAIR_LOSSY,
                                               .dry_run = dry_run,
                                               .allocator = meter_hooks(&meter),
                                               .hooks = {.context = &random, .random = next_random},
                                               .context = hash,
                                               .step = add_step};
  int status = wodan_repair(device, &options, report, NULL);
  wodan_device_close(device);
  FUZZ_CHECK(status <= 0 && meter.used == 0);
  return status;
}

static void repair_in_place(struct kept_bytes *kept) {
  struct wodan_repair_report dry, real, again;
  uint64_t dry_hash, hash, again_hash;
  int status = repair(kept, true, &dry_hash, &dry);
  FUZZ_CHECK(kept->writes == 0 && kept->flushes == 0 && kept->barriers == 0);
  int real_status = repair(kept, false, &hash, &real);
  if (status < 0 || real_status < 0) {
    FUZZ_CHECK(real_status == status || real_status == WODAN_ENOSPC || real_status == WODAN_ECORRUPT);
    return;
  }
  FUZZ_CHECK(dry.before.damages == real.before.damages && dry.before.warnings == real.before.warnings);
  bool whole = real.after.damages + real.after.warnings == 0;
  if (whole && dry_hash != hash) FUZZ_FAIL("a dry run tells other steps than are done");
  if (whole && real.steps) judge_whole(kept);
  FUZZ_CHECK(repair(kept, false, &again_hash, &again) == 0);
  if (whole) FUZZ_CHECK(again.steps == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  size -= size % SECTOR;
  if (size == 0) return 0;
  struct kept_bytes *kept = kept_create(size);
  memcpy(kept->data, data, size);
  salvage(kept);
  repair_in_place(kept);
  kept_free(kept);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  return image_mutate(data, size, size_max, seed);
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) { return image_seed(number, out, size_max); }
