/* Owns: what is asked of a recipe's image: the check, and copies without values.
 *
 * Always true: every finding counts, with how often it came; the image is never written to.
 *
 * See: tests/repair/README.md. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wodan/wodan.h>
#include "support/kept_device.h"
#include "support/medium.h"
#include "support/recipe.h"

enum { HEARD_MAX = 200, WHY = 4096 };

/* ---- the check ---------------------------------------------------------------------------------------------------- */

struct heard {
  struct wodan_check_report report;
  struct wodan_error error;
  int status;
  uint64_t heap, heap_peak; /* bytes */
  uint32_t count;
  struct heard_finding {
    uint32_t id, severity;
    uint64_t block;
    char message[128];
  } findings[HEARD_MAX];
};

static void hear(void *context, const struct wodan_finding *finding) {
  struct heard *heard = context;
  if (heard->count == HEARD_MAX) return;
  struct heard_finding *to = &heard->findings[heard->count++];
  to->id = finding->id;
  to->severity = finding->severity;
  to->block = finding->block;
  snprintf(to->message, sizeof to->message, "%s", finding->message);
}

static void *take(void *context, size_t size, size_t alignment) {
  struct heard *heard = context;
  heard->heap += size;
  if (heard->heap > heard->heap_peak) heard->heap_peak = heard->heap;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void give(void *context, void *memory, size_t size) {
  ((struct heard *)context)->heap -= size;
  free(memory);
}

static void check(struct wodan_device *device, struct heard *heard) {
  const struct wodan_check_options options = {
      .size = sizeof options, .allocator = {heard, take, give}, .context = heard, .finding = hear};
  *heard = (struct heard){.error = {.block = WODAN_NO_BLOCK}};
  heard->status = wodan_check(device, &options, &heard->report, &heard->error);
}

static bool refuse(char *why, const struct heard *heard, const char *format, ...) {
  static const char *const names[] = {"note", "warning", "damage"};
  va_list arguments;
  va_start(arguments, format);
  int used = vsnprintf(why, WHY, format, arguments);
  va_end(arguments);
  used += snprintf(why + used, WHY - (size_t)used, "; status %d %s%s", heard->status,
                   heard->status ? heard->error.message : "", heard->report.complete ? "" : ", incomplete");
  for (uint32_t i = 0; i < heard->count && used < WHY - 200; i++)
    used += snprintf(why + used, 200, "\n    %s WF%04u block %lld: %s", names[heard->findings[i].severity],
                     heard->findings[i].id, (long long)heard->findings[i].block, heard->findings[i].message);
  return false;
}

static uint32_t times(const struct heard *heard, const struct recipe_find *find) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < heard->count; i++)
    count += heard->findings[i].id == find->id && heard->findings[i].severity == find->severity;
  return count;
}

static bool expected_finds(const struct recipe *recipe, const struct heard *heard) {
  uint32_t all = 0;
  for (uint32_t i = 0; i < recipe->find_count; i++) {
    if (times(heard, &recipe->finds[i]) != recipe->finds[i].times) return false;
    all += recipe->finds[i].times;
  }
  return all == heard->count;
}

static uint32_t exit_code(const struct heard *heard) {
  return heard->status < 0 ? 8 : heard->report.damages || heard->report.warnings ? 4 : 0;
}

/* 16 bytes a block of the device, 64 KiB and 4 pages, whatever the image says. */
static uint64_t most_heap(const struct patch *image) {
  return 16 * (image->size / image->superblock.block_size) + 65536 + 4 * (uint64_t)image->superblock.page_size;
}

/* Twice the volume and 16 blocks: as long as its superblock tells, when the device was cut. */
static uint64_t most_read(const struct patch *image) {
  struct superblock sb;
  uint64_t size = image->size;
  if (superblock_decode(image->bytes, &sb, NULL) == 0 && sb.device_blocks * sb.block_size > size)
    size = sb.device_blocks * sb.block_size;
  return 2 * size + 16 * image->superblock.block_size;
}

static bool judge_check(struct recipe *recipe, struct heard *heard, char *why) {
  struct medium medium;
  medium_open(&medium, &recipe->image, false);
  check(&medium.device, heard);
  if (medium.others) return refuse(why, heard, "the check wrote");
  if (heard->status != recipe->status) return refuse(why, heard, "the check answers another status");
  if (!expected_finds(recipe, heard)) return refuse(why, heard, "other findings");
  if (exit_code(heard) != recipe->exit_code) return refuse(why, heard, "another exit code");
  if (heard->status == 0 && !heard->report.complete != recipe->incomplete)
    return refuse(why, heard, "`unreached' is not as it says");
  if (medium.read > most_read(&recipe->image)) return refuse(why, heard, "it read more than twice the device");
  if (heard->heap || heard->heap_peak > most_heap(&recipe->image))
    return refuse(why, heard, "it took %llu bytes of memory", (unsigned long long)heard->heap_peak);
  return true;
}

/* ---- copies without values ---------------------------------------------------------------------------------------- */

/* The same findings at the same places; what cannot be read in the image has a wrong checksum in the copy. */
static bool same_findings(const struct heard *image, const struct heard *copy, bool unreadable) {
  enum { PAGE_UNREADABLE = 33, PAGE_CHECKSUM = 34 };
  if (image->status != copy->status || image->count != copy->count) return false;
  for (uint32_t i = 0; i < image->count; i++) {
    const struct heard_finding *a = &image->findings[i], *b = &copy->findings[i];
    uint32_t id = unreadable && a->id == PAGE_UNREADABLE ? PAGE_CHECKSUM : a->id;
    if (id != b->id || a->severity != b->severity || a->block != b->block) return false;
  }
  return image->report.records == copy->report.records && image->report.complete == copy->report.complete &&
         image->report.journal_records == copy->report.journal_records;
}

static bool holds(const struct kept_bytes *kept, const char *text) {
  return memmem(kept->data, kept->size, text, strlen(text)) != NULL;
}

/* Both are read by cursors, step by step: keys of the same length in the same order, values of the same length. */
static bool same_order(const struct patch *image, struct kept_bytes *copy, bool scrambled) {
  struct kept_bytes original = {.data = image->bytes, .size = image->size};
  const struct wodan_open_options options = {.size = sizeof options, .flags = WODAN_OPEN_READ_ONLY};
  struct wodan_db *db[2] = {NULL, NULL};
  struct wodan_cursor *cursor[2] = {NULL, NULL};
  bool same = true;
  for (int i = 0; i < 2 && same; i++)
    same = wodan_open(kept_plug(i ? copy : &original, BASE_SECTOR, 1), &options, &db[i], NULL) == 0 &&
           wodan_cursor_open(db[i], NULL, &cursor[i]) == 0;
  int a = same ? wodan_cursor_first(cursor[0]) : -1, b = same ? wodan_cursor_first(cursor[1]) : -1;
  for (; a == 0 && b == 0 && same; a = wodan_cursor_next(cursor[0]), b = wodan_cursor_next(cursor[1])) {
    struct wodan_slice x = wodan_cursor_key(cursor[0]), y = wodan_cursor_key(cursor[1]);
    same = x.size == y.size && (memcmp(x.data, y.data, x.size) == 0) != scrambled &&
           wodan_cursor_value(cursor[0]).size == wodan_cursor_value(cursor[1]).size;
  }
  same = same && a == WODAN_DONE && b == WODAN_DONE;
  for (int i = 0; i < 2; i++) {
    wodan_cursor_close(cursor[i]);
    if (db[i]) wodan_close(db[i], NULL);
  }
  return same;
}

static bool judge_copy(struct recipe *recipe, const struct heard *image, bool scramble, char *why) {
  struct medium medium;
  struct wodan_inspect *inspect = NULL;
  struct heard *copy = calloc(1, sizeof *copy);
  struct kept_bytes *kept = kept_create(recipe->image.size / BASE_SECTOR * BASE_SECTOR);
  struct wodan_device *to = kept_plug(kept, BASE_SECTOR, 0);
  const struct wodan_copy_options options = {.size = sizeof options, .scramble = scramble};
  bool good = true, unreadable = recipe->image.broken_count > 0;
  medium_open(&medium, &recipe->image, false);
  int status = wodan_inspect_open(&medium.device, NULL, &inspect, &copy->error);
  if (image->status < 0 ? status >= 0 : status < 0) good = refuse(why, copy, "inspection answers %d", status);
  if (good && status == 0) {
    status = wodan_image_copy(inspect, to, &options, NULL, &copy->error);
    check(to, copy);
    if (status < 0) good = refuse(why, copy, "the copy answers %d", status);
    if (good && medium.others) good = refuse(why, copy, "the copy wrote to the image");
    if (good && !same_findings(image, copy, unreadable)) good = refuse(why, copy, "other findings in the copy");
    if (good && (holds(kept, "value ") || (!scramble && holds(kept, "aaaa"))))
      good = refuse(why, copy, "a value is in the copy");
    if (good && scramble && holds(kept, "key ")) good = refuse(why, copy, "a key is in the copy");
    if (good && recipe->exit_code == 0 && !same_order(&recipe->image, kept, scramble))
      good = refuse(why, copy, "the copy's records are others");
  }
  wodan_inspect_close(inspect);
  wodan_device_close(to);
  kept_free(kept);
  free(copy);
  return good;
}

bool recipe_judge(struct recipe *recipe, char *why) {
  struct heard *heard = calloc(1, sizeof *heard);
  bool good = judge_check(recipe, heard, why) && judge_copy(recipe, heard, false, why) &&
              judge_copy(recipe, heard, true, why) && recipe_judge_repair(recipe, why);
  free(heard);
  return good;
}
