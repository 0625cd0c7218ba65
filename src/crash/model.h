/* Model: an ordered map that keeps its history: the content after every commit can be told again. Keys and values are
 * short byte strings. It is the judge of every random and power-cut test. */
#ifndef CRASH_MODEL_H
#define CRASH_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wodan/wodan.h>

struct model;
struct content;

/* NULL: no memory. */
struct model *model_create(void);
void model_free(struct model *model);

/* Collects operations of the next commit; then model_commit makes them version `model_version`. Without memory nothing
 * matches the model any more, and a sentence says so. */
void model_put(struct model *model, const void *key, size_t key_size, const void *value, size_t value_size);
void model_delete(struct model *model, const void *key, size_t key_size);
/* All keys from `from` up to, not with, `to`; NULL: from the first, up to the last. */
void model_delete_range(struct model *model, const struct wodan_slice *from, const struct wodan_slice *to);
void model_commit(struct model *model);
/* Number of commits so far. Version 0 is empty. */
size_t model_version(const struct model *model);
/* After a crash: later versions are forgotten. */
void model_roll_back(struct model *model, size_t version);

/* The value at the newest version; NULL: absent. */
const void *model_get(const struct model *model, const void *key, size_t key_size, size_t *value_size);
/* Replaces *content by what is there at a version. */
void model_content(const struct model *model, size_t version, struct content *content);

/* The version >= `least` whose content equals the database's (read with a cursor); SIZE_MAX when there is none, and a
 * sentence in `why`. The newest such version is taken. */
size_t model_match(const struct model *model, struct wodan_db *db, size_t least, char *why, size_t why_size);
/* Like model_match for the newest version only, both directions and point reads of every key ever used. */
bool model_equals(const struct model *model, struct wodan_db *db, char *why, size_t why_size);

#endif
