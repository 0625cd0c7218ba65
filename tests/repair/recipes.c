/* What: runs the recipes of damage: makes the base image, damages it by name, and compares what the library finds and saves
 * with what the recipe expects.
 *
 * Always true: a line "ok NAME" or "FAIL NAME: why" a recipe; exit code 1 when anything failed; nothing is written to disk,
 * but for --build; the check never writes to the image.
 *
 * See: README.md beside it; tests/support/patch.h. Usage: recipes FOLDER [NAME...] | recipes FOLDER --build NAME OUT */
#include "support/recipe.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check/findings.h"

enum { RECIPES_MAX = 1000 };

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The folders "NNN-what-is-broken", sorted. */
static size_t list(const char *folder, char *names[RECIPES_MAX]) {
  size_t count = 0;
  DIR *dir = opendir(folder);
  for (struct dirent *entry; dir && (entry = readdir(dir)) && count < RECIPES_MAX;)
    if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') names[count++] = strdup(entry->d_name);
  if (dir) closedir(dir);
  qsort(names, count, sizeof *names, by_name);
  return count;
}

static int build(const char *folder, const char *name, const char *out) {
  struct recipe recipe;
  char why[512];
  if (!recipe_read(&recipe, folder, name, why) || !recipe_build(&recipe, why)) {
    fprintf(stderr, "%s: %s\n", name, why);
    return 1;
  }
  FILE *file = fopen(out, "wb");
  bool good = file && fwrite(recipe.image.bytes, 1, recipe.image.size, file) == recipe.image.size;
  if (file && fclose(file) != 0) good = false;
  if (!good) perror(out);
  if (recipe.image.broken_count) fprintf(stderr, "%s: what cannot be read in it can be read in the file\n", name);
  recipe_free(&recipe);
  return !good;
}

/* Which findings the recipes expect. */
static uint32_t expected[100];

static bool run(const char *folder, const char *name) {
  struct recipe recipe;
  char why[4096] = "";
  bool good = recipe_read(&recipe, folder, name, why) && recipe_build(&recipe, why) && recipe_judge(&recipe, why);
  for (uint32_t i = 0; i < recipe.find_count; i++)
    if (recipe.finds[i].id < 100) expected[recipe.finds[i].id]++;
  recipe_free(&recipe);
  printf(good ? "ok %s\n" : "FAIL %s: %s\n", name, why);
  return good;
}

/* Every finding of a check has a recipe; but not those that no image alone can bring about. */
static bool all_findings(void) {
  enum { CHECK_LAST = 59, BLOB_FIRST = FOUND_BLOB_LIST, BLOB_LAST = FOUND_BLOB_DAMAGED };
  bool all = true;
  for (uint32_t id = 1; id <= BLOB_LAST; id = id == CHECK_LAST ? BLOB_FIRST : id + 1) {
    const struct finding_row *row = finding_row(id);
    if (!row || expected[id]) continue;
    if (id == FOUND_ROOT_CHOSEN) continue; /* the caller asks for a root */
    if (id == FOUND_RECORD_KIND) continue; /* a page with such a record is malformed, which knows the same kinds */
    printf("FAIL no recipe expects WF%04u (%s)\n", id, row->sentence);
    all = false;
  }
  return all;
}

int main(int argc, char **argv) {
  static char *names[RECIPES_MAX];
  if (argc == 5 && strcmp(argv[2], "--build") == 0) return build(argv[1], argv[3], argv[4]);
  size_t count = argc > 1 ? list(argv[1], names) : 0, failed = 0, tried = 0;
  for (size_t i = 0; i < count; i++) {
    bool wanted = argc == 2;
    for (int k = 2; k < argc; k++) wanted = wanted || strncmp(names[i], argv[k], strlen(argv[k])) == 0;
    if (wanted) tried++, failed += !run(argv[1], names[i]);
    free(names[i]);
  }
  recipe_bases_free();
  if (argc == 2 && !all_findings()) failed++;
  printf("%zu recipes, %zu failed\n", tried, failed);
  return tried == 0 || failed > 0;
}
