/* Owns: reading a recipe, making its image, and judging what the check says of it.
 *
 * Always true: every column is there, or the recipe is refused; a base image is made once a run.
 *
 * See: tests/repair/README.md. */
#include "support/recipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wodan/check.h>

enum { FILE_MAX = 16 * 1024, BASES_MAX = 16, SEED = 1, SEED_FOREIGN = 2 };

static bool refuse(char *why, const char *what, const char *text) {
  snprintf(why, 512, "%s: '%.300s'", what, text);
  return false;
}

static char *read_file(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file) return NULL;
  char *text = calloc(1, FILE_MAX);
  size_t size = fread(text, 1, FILE_MAX - 1, file);
  fclose(file);
  text[size] = '\0';
  return text;
}

/* ---- base images -------------------------------------------------------------------------------------------------- */

static struct base {
  char *name, *folder;
  struct base_image image, foreign;
} bases[BASES_MAX];
static size_t base_count;
static char folder_of_bases[512];

static const struct base *base_get(const char *name, char *why) {
  char path[600];
  for (size_t i = 0; i < base_count; i++)
    if (strcmp(bases[i].name, name) == 0) return &bases[i];
  snprintf(path, sizeof path, "%s/base/%s", folder_of_bases, name);
  char *script = read_file(path);
  if (!script || base_count == BASES_MAX) {
    free(script);
    refuse(why, "there is no such base image", path);
    return NULL;
  }
  struct base *base = &bases[base_count];
  bool made =
      base_image_make(&base->image, script, SEED, why) && base_image_make(&base->foreign, script, SEED_FOREIGN, why);
  free(script);
  if (!made) return NULL;
  base->name = strdup(name);
  base_count++;
  return base;
}

void recipe_bases_free(void) {
  for (size_t i = 0; i < base_count; i++) {
    base_image_free(&bases[i].image);
    base_image_free(&bases[i].foreign);
    free(bases[i].name);
  }
  base_count = 0;
}

/* ---- the file ----------------------------------------------------------------------------------------------------- */

static bool parse_find(struct recipe *recipe, const char *text) {
  static const char *const names[] = {[WODAN_NOTE] = "note", [WODAN_WARNING] = "warning", [WODAN_DAMAGE] = "damage"};
  struct recipe_find find = {.times = 1};
  char severity[16];
  if (strcmp(text, "nothing") == 0) return recipe->find_count == 0;
  if (recipe->find_count == RECIPE_FINDS_MAX || sscanf(text, "%15s WF%u x%u", severity, &find.id, &find.times) < 2)
    return false;
  while (find.severity <= WODAN_DAMAGE && strcmp(names[find.severity], severity) != 0) find.severity++;
  recipe->finds[recipe->find_count++] = find;
  return find.severity <= WODAN_DAMAGE;
}

static bool parse_status(struct recipe *recipe, const char *text) {
#define STATUS(name, number, sentence)                                                                                 \
  if (strcmp(text, #name) == 0) recipe->status = number;
  WODAN_STATUS_TABLE(STATUS)
#undef STATUS
  return recipe->status < 0;
}

static bool parse_line(struct recipe *recipe, const char *key, const char *value, uint32_t *seen) {
  static const char *const keys[] = {"what", "class", "base", "do", "find", "check", "status", "unreached"};
  uint32_t which = 0;
  while (which < sizeof keys / sizeof *keys && strcmp(keys[which], key) != 0) which++;
  bool again = *seen >> which & 1;
  *seen |= 1u << which;
  switch (which) {
  case 0:
    recipe->what = value;
    return !again;
  case 1:
    recipe->sort = value;
    return !again;
  case 2:
    recipe->base = value;
    return !again;
  case 3:
    if (recipe->damage_count == RECIPE_LINES_MAX) return false;
    recipe->damage[recipe->damage_count++] = value;
    return true;
  case 4:
    return parse_find(recipe, value);
  case 5:
    recipe->exit_code = (uint32_t)strtoul(value, NULL, 10);
    return !again;
  case 6:
    return parse_status(recipe, value);
  case 7:
    recipe->incomplete = true; /* the value says what */
    return true;
  default:
    return false;
  }
}

bool recipe_read(struct recipe *recipe, const char *folder, const char *name, char why[512]) {
  enum { NEEDED = 1 | 2 | 4 | 8 | 16 | 32 };
  char path[600];
  uint32_t seen = 0;
  *recipe = (struct recipe){0};
  snprintf(folder_of_bases, sizeof folder_of_bases, "%s", folder);
  snprintf(path, sizeof path, "%s/%s/recipe", folder, name);
  recipe->text = read_file(path);
  if (!recipe->text) return refuse(why, "cannot be read", path);
  char *rest = recipe->text;
  for (char *line; (line = strsep(&rest, "\n"));) {
    if (*line == '#' || *line == '\0') continue;
    char *colon = strchr(line, ':');
    if (!colon) return refuse(why, "no 'NAME: VALUE'", line);
    *colon = '\0';
    const char *value = colon + 1 + strspn(colon + 1, " ");
    if (!parse_line(recipe, line, value, &seen)) return refuse(why, line, value);
  }
  return (seen & NEEDED) == NEEDED || refuse(why, "a line is missing: what, class, base, do, find or check", name);
}

bool recipe_build(struct recipe *recipe, char why[512]) {
  const struct base *base = base_get(recipe->base, why);
  if (!base) return false;
  recipe->made = &base->image;
  bool good = patch_begin(&recipe->image, &base->image, &base->foreign, why);
  for (uint32_t i = 0; i < recipe->damage_count && good; i++) {
    char reason[256];
    good = patch_apply(&recipe->image, recipe->damage[i], reason);
    if (!good) snprintf(why, 512, "'%.200s': %s", recipe->damage[i], reason);
  }
  patch_end(&recipe->image);
  return good;
}

void recipe_free(struct recipe *recipe) {
  free(recipe->image.bytes);
  free(recipe->text);
  *recipe = (struct recipe){0};
}

/* ---- a device with bytes that cannot be read ---------------------------------------------------------------------- */

struct medium {
  struct wodan_device device; /* first */
  const struct patch *image;
  uint64_t read, others; /* bytes; requests that are no reads */
};

static int medium_one(struct medium *medium, struct wodan_io *io) {
  const struct patch *image = medium->image;
  if (io->offset > image->size || io->size > image->size - io->offset) return WODAN_EIO;
  if (io->kind != WODAN_IO_READ) return medium->others++, WODAN_EIO;
  medium->read += io->size;
  for (uint32_t i = 0; i < image->broken_count; i++)
    if (io->offset < image->broken[i].to && io->offset + io->size > image->broken[i].from) return WODAN_EIO;
  memcpy(io->data, image->bytes + io->offset, io->size);
  return 0;
}

static int medium_transfer(struct wodan_device *device, struct wodan_io *requests, size_t count) {
  int first = 0;
  for (size_t i = 0; i < count; i++) {
    requests[i].device_errno = 0;
    requests[i].status = medium_one((struct medium *)(void *)device, &requests[i]);
    if (!first) first = requests[i].status;
  }
  return first;
}

static int medium_ordered(struct wodan_device *device) {
  ((struct medium *)(void *)device)->others++;
  return 0;
}

static int medium_close(struct wodan_device *device) {
  (void)device;
  return 0;
}

static void medium_open(struct medium *medium, const struct patch *image) {
  static const struct wodan_device_ops ops = {.size = sizeof ops,
                                              .transfer = medium_transfer,
                                              .barrier = medium_ordered,
                                              .flush = medium_ordered,
                                              .close = medium_close};
  *medium = (struct medium){.image = image};
  medium->device.ops = &ops;
  medium->device.geometry = (struct wodan_geometry){.size = image->size / BASE_SECTOR * BASE_SECTOR,
                                                    .sector = BASE_SECTOR,
                                                    .ordering = WODAN_ORDER_NATIVE,
                                                    .durable = 1,
                                                    .read_only = 1};
}

/* ---- the judge ---------------------------------------------------------------------------------------------------- */

struct heard {
  char text[3000];
  size_t used;
  struct recipe_find finds[RECIPE_FINDS_MAX];
  uint32_t count;
};

static void hear(void *context, const struct wodan_finding *finding) {
  struct heard *heard = context;
  static const char *const names[] = {"note", "warning", "damage"};
  if (heard->used + 200 < sizeof heard->text)
    heard->used += (size_t)snprintf(heard->text + heard->used, 200, "\n    %s WF%04u block %lld: %.120s",
                                    names[finding->severity], finding->id, (long long)finding->block, finding->message);
  for (uint32_t i = 0; i < heard->count; i++) {
    if (heard->finds[i].id != finding->id || heard->finds[i].severity != finding->severity) continue;
    heard->finds[i].times++;
    return;
  }
  if (heard->count < RECIPE_FINDS_MAX)
    heard->finds[heard->count++] = (struct recipe_find){finding->id, finding->severity, 1};
}

static bool equal_finds(const struct recipe *recipe, const struct heard *heard) {
  if (recipe->find_count != heard->count) return false;
  for (uint32_t i = 0; i < recipe->find_count; i++) {
    const struct recipe_find *a = &recipe->finds[i];
    bool there = false;
    for (uint32_t k = 0; k < heard->count; k++) {
      const struct recipe_find *b = &heard->finds[k];
      there = there || (a->id == b->id && a->severity == b->severity && a->times == b->times);
    }
    if (!there) return false;
  }
  return true;
}

bool recipe_judge(const struct recipe *recipe, char *why) {
  struct heard heard = {.text = ""};
  struct medium medium;
  struct wodan_check_report report;
  struct wodan_error error = {0};
  const struct wodan_check_options options = {.size = sizeof options, .context = &heard, .finding = hear};
  medium_open(&medium, &recipe->image);
  int status = wodan_check(&medium.device, &options, &report, &error);
  uint32_t exit_code = status < 0 ? 8 : report.damages || report.warnings ? 4 : 0;
  bool incomplete = status == 0 && !report.complete;
  const char *wrong = medium.others                      ? "the check wrote"
                      : status != recipe->status         ? "the check answers another status"
                      : !equal_finds(recipe, &heard)     ? "other findings"
                      : exit_code != recipe->exit_code   ? "another exit code"
                      : incomplete != recipe->incomplete ? "`unreached' is not as it says"
                      : medium.read > 2 * recipe->image.size + 16 * recipe->image.superblock.block_size
                          ? "it read more than twice the device"
                          : NULL;
  if (wrong)
    snprintf(why, 4096, "%s; status %d %s, exit code %u%s%s", wrong, status, status ? error.message : "", exit_code,
             incomplete ? ", incomplete" : "", heard.text);
  return !wrong;
}
