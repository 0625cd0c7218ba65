/* Owns: what salvage and repair in place make of a recipe's image.
 *
 * Always true: a value that its key was never given is a failure, whatever a recipe expects; so is a key that has not its
 * newest value outside of the ranges that were told as lost.
 *
 * Order: salvage first: it reads only. Repair in place of what is safe, then of all, each on a copy; a repair is tried
 * without writing before, must do just what was told then, and leave nothing for the next one.
 *
 * See: tests/repair/README.md; include/wodan/repair.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wodan/wodan.h>
#include "check/findings.h"
#include "support/kept_device.h"
#include "support/medium.h"
#include "support/random.h"
#include "support/recipe.h"

enum { LOSSES_MAX = 200, BOUND_MAX = 64 };

/* A range of keys of which something is said to be lost. */
struct loss {
  bool has_lower, has_upper;
  char lower[BOUND_MAX], upper[BOUND_MAX];
  size_t lower_size, upper_size;
};

struct saving {
  const struct recipe *recipe;
  struct loss losses[LOSSES_MAX];
  uint32_t loss_count;
  uint64_t random;
  const char *verb;
  bool in_place;
  char *why;
};

static bool refuse(const struct saving *saving, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(saving->why, 512, format, arguments);
  va_end(arguments);
  return false;
}

static int next_random(void *context, void *buffer, size_t size) {
  for (size_t i = 0; i < size; i++) ((uint8_t *)buffer)[i] = (uint8_t)random_next(context);
  return 0;
}

static size_t keep(char out[BOUND_MAX], struct wodan_slice bound) {
  size_t size = bound.size < BOUND_MAX ? bound.size : BOUND_MAX;
  memcpy(out, bound.data, size);
  return size;
}

static void hear(void *context, const struct wodan_finding *finding) {
  struct saving *saving = context;
  bool journal = finding->id < FOUND_NODE_DAMAGED && finding->severity == WODAN_DAMAGE; /* no keys: perhaps all */
  if ((finding->id < FOUND_KEYS_LOST && !journal) || saving->loss_count == LOSSES_MAX) return;
  struct loss *loss = &saving->losses[saving->loss_count++];
  *loss = (struct loss){.has_lower = finding->has_range && finding->has_lower,
                        .has_upper = finding->has_range && finding->has_upper};
  if (loss->has_lower) loss->lower_size = keep(loss->lower, finding->lower);
  if (loss->has_upper) loss->upper_size = keep(loss->upper, finding->upper);
}

/* Such a step says that operations may go with what it ends, whatever their keys. */
static void hear_step(void *context, const struct wodan_repair_step *step) {
  struct saving *saving = context;
  bool all = step->kind == WODAN_REPAIR_OLDER_ROOT || step->kind == WODAN_REPAIR_JOURNAL;
  if (all && saving->loss_count < LOSSES_MAX) saving->losses[saving->loss_count++] = (struct loss){0};
}

/* ---- keys --------------------------------------------------------------------------------------------------------- */

static int compare(const char *a, size_t a_size, const char *b, size_t b_size) {
  int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
  return order ? order : (a_size > b_size) - (a_size < b_size);
}

static bool told(const struct saving *saving, const char *key) {
  for (uint32_t i = 0; i < saving->loss_count; i++) {
    const struct loss *loss = &saving->losses[i];
    if (loss->has_lower && compare(key, BASE_KEY_SIZE, loss->lower, loss->lower_size) < 0) continue;
    if (loss->has_upper && compare(key, BASE_KEY_SIZE, loss->upper, loss->upper_size) >= 0) continue;
    return true;
  }
  return false;
}

/* Some operation gave the key this value. */
static bool was_given(const struct base_image *base, uint32_t key, struct wodan_slice value) {
  char room[BASE_VALUE_MAX];
  for (uint32_t i = 0; i < base->operation_count; i++) {
    if (!base_concerns(&base->operations[i], key) || !base->operations[i].value_size) continue;
    struct wodan_slice given = base_value(base, i, room);
    if (given.size == value.size && memcmp(given.data, value.data, value.size) == 0) return true;
  }
  return false;
}

/* One key counted; false: it has a value that it never had, or is not what it was without a word. */
static bool judge_key(const struct saving *saving, struct wodan_db *db, uint32_t key, struct recipe_outcome *outcome) {
  const struct base_image *base = saving->recipe->made;
  const struct base_operation *newest = &base->operations[base_newest(base, key)];
  char name[BASE_KEY_SIZE + 1], room[BASE_VALUE_MAX], value[BASE_VALUE_MAX];
  size_t size = 0;
  base_key(key, name);
  int status = wodan_get(db, NULL, (struct wodan_slice){name, BASE_KEY_SIZE}, value, sizeof value, &size);
  if ((status == WODAN_ECORRUPT || status == WODAN_EIO) && saving->in_place &&
      outcome->exit_code == 4) { /* left as it is: each read says so */
    outcome->unreadable++;
    outcome->lost++;
    return true;
  }
  if (status < 0 && status != WODAN_ENOTFOUND) return refuse(saving, "%s cannot be read: %d", name, status);
  bool absent = status == WODAN_ENOTFOUND;
  struct wodan_slice right = base_value(base, (uint32_t)(newest - base->operations), room);
  if (absent ? !newest->value_size : newest->value_size && right.size == size && memcmp(right.data, value, size) == 0) {
    outcome->right++;
    return true;
  }
  if (absent)
    outcome->lost++;
  else if (was_given(base, key, (struct wodan_slice){value, size}))
    outcome->older++;
  else
    return refuse(saving, "%s has a value that it was never given", name);
  return told(saving, name) || saving->recipe->silent ||
         refuse(saving, "%s: %s is %s without a word", saving->verb, name, absent ? "lost" : "older");
}

/* Keys that are there, by a cursor: none but those of the base image. */
static uint32_t count_keys(struct wodan_db *db) {
  struct wodan_cursor *cursor = NULL;
  uint32_t count = 0;
  int status = wodan_cursor_open(db, NULL, &cursor);
  if (status == 0) status = wodan_cursor_first(cursor);
  for (; status == 0; status = wodan_cursor_next(cursor)) count++;
  wodan_cursor_close(cursor);
  return status == WODAN_DONE ? count : UINT32_MAX;
}

static uint32_t keys_of(const struct base_image *base) {
  uint32_t count = 0;
  for (uint32_t key = 0; key < BASE_KEYS_MAX; key++) count += base_newest(base, key) != UINT32_MAX;
  return count;
}

/* Opens the device, which is closed then, and judges every key. */
static bool judge_keys(const struct saving *saving, struct wodan_device *device, struct recipe_outcome *outcome) {
  const struct base_image *base = saving->recipe->made;
  const struct wodan_open_options options = {.size = sizeof options, .flags = WODAN_OPEN_READ_ONLY};
  struct wodan_db *db = NULL;
  if (wodan_open(device, &options, &db, NULL) < 0) {
    wodan_device_close(device);
    return true;
  }
  bool good = true;
  uint32_t deleted = 0, present;
  outcome->readable = true;
  for (uint32_t key = 0; key < BASE_KEYS_MAX && good; key++) {
    uint32_t newest = base_newest(base, key), right = outcome->right;
    if (newest == UINT32_MAX) continue;
    good = judge_key(saving, db, key, outcome);
    deleted += outcome->right > right && !base->operations[newest].value_size;
  }
  present = outcome->right - deleted + outcome->older + outcome->unreadable;
  if (good && count_keys(db) != present) good = refuse(saving, "a cursor finds other keys than gets do");
  wodan_close(db, NULL);
  return good;
}

static bool expected(const struct saving *saving, const struct recipe_outcome *outcome,
                     const struct recipe_outcome *wanted, const char *verb) {
  uint32_t all = keys_of(saving->recipe->made);
  bool same = outcome->exit_code == wanted->exit_code && outcome->readable == wanted->readable;
  if (same && outcome->readable)
    same = wanted->right == UINT32_MAX
               ? outcome->right == all
               : outcome->right == wanted->right && outcome->older == wanted->older && outcome->lost == wanted->lost;
  if (same) return true;
  if (!outcome->readable) return refuse(saving, "%s: %u nothing", verb, outcome->exit_code);
  if (outcome->right == all) return refuse(saving, "%s: %u all", verb, outcome->exit_code);
  return refuse(saving, "%s: %u %u right, %u older, %u lost", verb, outcome->exit_code, outcome->right, outcome->older,
                outcome->lost);
}

/* ---- salvage ------------------------------------------------------------------------------------------------------ */

/* The new volume's leaves are compressed as the image's superblock tells; where it is not whole, as it told. */
static bool compressed_alike(const struct recipe *recipe, struct kept_bytes *kept) {
  struct wodan_check_report report;
  struct wodan_device *device = kept_plug(kept, BASE_SECTOR, 1);
  int status = wodan_check(device, NULL, &report, NULL);
  wodan_device_close(device);
  bool packed = report.page_stored_bytes < report.page_bytes;
  struct superblock told = recipe->image.superblock;
  if (superblock_decode(recipe->image.bytes, &told, NULL) < 0) told = recipe->image.superblock;
  return status == 0 && packed == (told.compression != 0);
}

static bool judge_salvage(struct recipe *recipe, char *why) {
  struct saving *saving = calloc(1, sizeof *saving);
  *saving = (struct saving){.recipe = recipe, .random = 5, .verb = "salvage", .why = why};
  struct recipe_outcome outcome = {0};
  struct wodan_salvage_report report;
  struct medium medium;
  uint64_t size = recipe->image.size / BASE_SECTOR * BASE_SECTOR;
  struct kept_bytes *kept = kept_create(size > recipe->made->size ? size : recipe->made->size);
  struct wodan_device *to = kept_plug(kept, BASE_SECTOR, 0);
  const struct wodan_salvage_options options = {.size = sizeof options,
                                                .hooks = {.context = &saving->random, .random = next_random},
                                                .context = saving,
                                                .finding = hear};
  medium_open(&medium, &recipe->image, false);
  int status = wodan_salvage(&medium.device, to, &options, &report, NULL);
  wodan_device_close(to);
  bool good = !medium.others || refuse(saving, "salvage wrote to the image");
  outcome.exit_code = status < 0 ? 8 : report.check.damages || report.check.warnings || report.losses ? 4 : 0;
  if (good && status == 0)
    good = compressed_alike(recipe, kept) || refuse(saving, "salvage compresses otherwise, or its volume is not whole");
  if (good && status == 0) good = judge_keys(saving, kept_plug(kept, BASE_SECTOR, 1), &outcome);
  good = good && expected(saving, &outcome, &recipe->salvage, "salvage");
  kept_free(kept);
  free(saving);
  return good;
}

/* ---- repair in place ---------------------------------------------------------------------------------------------- */

static int repair(struct saving *saving, struct patch *image, uint32_t allowed, bool dry_run,
                  struct wodan_repair_report *report) {
  struct medium medium;
  saving->loss_count = 0;
  saving->random = 5;
  const struct wodan_repair_options options = {.size = sizeof options,
                                               .allowed = allowed,
                                               .dry_run = dry_run,
                                               .hooks = {.context = &saving->random, .random = next_random},
                                               .context = saving,
                                               .finding = hear,
                                               .step = hear_step};
  medium_open(&medium, image, !dry_run);
  int status = wodan_repair(&medium.device, &options, report, NULL);
  return dry_run && medium.others ? 1 : status;
}

static bool judge_repair(struct recipe *recipe, uint32_t allowed, char *why) {
  struct saving *saving = calloc(1, sizeof *saving);
  *saving = (struct saving){
      .recipe = recipe, .in_place = true, .verb = allowed == WODAN_REPAIR_SAFE ? "preen" : "repair", .why = why};
  struct recipe_outcome outcome = {0};
  struct wodan_repair_report report = {0}, dry = {0}, again = {0};
  struct patch image = recipe->image;
  struct medium medium;
  bool safe = allowed == WODAN_REPAIR_SAFE;
  const char *verb = safe ? "preen" : "repair";
  image.bytes = malloc(image.size);
  memcpy(image.bytes, recipe->image.bytes, image.size);
  int status = repair(saving, &image, allowed, true, &dry);
  bool good = status <= 0 || refuse(saving, "%s: a dry run wrote", verb);
  int real = repair(saving, &image, allowed, false, &report);
  if (good && (real != status || report.steps != dry.steps || report.losses != dry.losses))
    good = refuse(saving, "%s: %d and %llu steps, but %d and %llu in the dry run", verb, real,
                  (unsigned long long)report.steps, status, (unsigned long long)dry.steps);
  outcome.exit_code = real < 0 ? 8 : (report.steps ? 1 : 0) | (report.after.damages || report.after.warnings ? 4 : 0);
  medium_open(&medium, &image, false);
  if (good && real == 0 && !safe) good = judge_keys(saving, &medium.device, &outcome);
  if (good && real == 0 && repair(saving, &image, allowed, false, &again) == 0 && again.steps > 0)
    good = refuse(saving, "%s: a second one finds %llu steps to do", verb, (unsigned long long)again.steps);
  if (good && safe && outcome.exit_code != recipe->preen.exit_code)
    good = refuse(saving, "preen: %u", outcome.exit_code);
  if (good && !safe) good = expected(saving, &outcome, &recipe->repair, verb);
  free(image.bytes);
  free(saving);
  return good;
}

bool recipe_judge_repair(struct recipe *recipe, char *why) {
  return judge_salvage(recipe, why) && judge_repair(recipe, WODAN_REPAIR_SAFE, why) &&
         judge_repair(recipe, WODAN_REPAIR_LOSSY, why);
}
