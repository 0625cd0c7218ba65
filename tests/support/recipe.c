/* Owns: reading a recipe, and making its image.
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

/* "1 all", "4 60 right, 12 older, 1 lost", "8 nothing"; keys: of the base image. */
static bool parse_outcome(struct recipe_outcome *outcome, const char *text) {
  char *end;
  outcome->exit_code = (uint32_t)strtoul(text, &end, 10);
  outcome->readable = strcmp(end, " nothing") != 0;
  outcome->right = UINT32_MAX; /* all */
  if (end == text || strcmp(end, " all") == 0 || !outcome->readable) return end != text;
  return sscanf(end, " %u right, %u older, %u lost", &outcome->right, &outcome->older, &outcome->lost) == 3;
}

static bool parse_line(struct recipe *recipe, const char *key, const char *value, uint32_t *seen) {
  static const char *const keys[] = {"what",  "class",  "base",    "do",     "find",   "check",
                                     "preen", "repair", "salvage", "status", "silent", "unreached"};
  uint32_t which = 0;
  while (which < sizeof keys / sizeof *keys && strcmp(keys[which], key) != 0) which++;
  bool again = *seen >> which & 1;
  *seen |= 1u << which;
  if (which == 3) {
    if (recipe->damage_count == RECIPE_LINES_MAX) return false;
    recipe->damage[recipe->damage_count++] = value;
    return true;
  }
  if (which == 4) return parse_find(recipe, value);
  if (again) return false;
  switch (which) {
  case 0:
    recipe->what = value;
    return true;
  case 1:
    recipe->sort = value;
    return true;
  case 2:
    recipe->base = value;
    return true;
  case 5:
    recipe->exit_code = (uint32_t)strtoul(value, NULL, 10);
    return true;
  case 6:
    recipe->preen.exit_code = (uint32_t)strtoul(value, NULL, 10);
    return true;
  case 7:
    return parse_outcome(&recipe->repair, value);
  case 8:
    return parse_outcome(&recipe->salvage, value);
  case 9:
    return parse_status(recipe, value);
  case 10:
    recipe->silent = value;
    return true;
  case 11:
    recipe->incomplete = true; /* the value says what */
    return true;
  default:
    return false;
  }
}

bool recipe_read(struct recipe *recipe, const char *folder, const char *name, char why[512]) {
  enum { NEEDED = 0x1ff };
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
  return (seen & NEEDED) == NEEDED ||
         refuse(why, "a line is missing: what, class, base, do, find, check, preen, repair or salvage", name);
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
