/* A recipe of damage: a base image, statements of patch.h, and what must be found and saved. tests/repair/README.md tells the
 * file's form. */
#ifndef SUPPORT_RECIPE_H
#define SUPPORT_RECIPE_H

#include "support/patch.h"

enum { RECIPE_LINES_MAX = 32, RECIPE_FINDS_MAX = 48 };

struct recipe_find {
  uint32_t id, severity, times;
};

/* What wodan-fsck must answer, and which keys can be read then: of all keys the base image ever had. */
struct recipe_outcome {
  uint32_t exit_code;
  bool readable;               /* there is a volume that opens */
  uint32_t right, older, lost; /* as they were; an older value, perhaps of a key that was deleted; gone */
  uint32_t unreadable;         /* of the lost: still there, in a volume that was left as it is */
};

struct recipe {
  char *text;                     /* of the file; the rest points into it */
  const char *what, *sort, *base; /* `class` in the file */
  const char *damage[RECIPE_LINES_MAX];
  uint32_t damage_count;
  struct recipe_find finds[RECIPE_FINDS_MAX];
  uint32_t find_count;
  int status;         /* of a check that cannot go on; 0 */
  uint32_t exit_code; /* of wodan-fsck */
  bool incomplete;
  const char *silent;                           /* why records may be lost without a word; NULL: they may not */
  struct recipe_outcome preen, repair, salvage; /* of -p only the exit code */
  struct patch image;                           /* once built: bytes, size, what cannot be read */
  const struct base_image *made;
};

/* FOLDER/NAME/recipe. */
bool recipe_read(struct recipe *recipe, const char *folder, const char *name, char why[512]);
bool recipe_build(struct recipe *recipe, char why[512]);
/* Everything that is expected; why: 4096 bytes. */
bool recipe_judge(struct recipe *recipe, char *why);
/* Its part about salvage and repair. */
bool recipe_judge_repair(struct recipe *recipe, char *why);
/* Safe on a recipe that was not read or not built. */
void recipe_free(struct recipe *recipe);
/* The base images made so far. */
void recipe_bases_free(void);

#endif
