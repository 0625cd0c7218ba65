/* What the files of this folder share: keeping the last error, and tree keys. */
#ifndef API_API_H
#define API_API_H

#include <string.h>
#include "engine/engine.h"

/* Keeps a failure as the handle's last error and returns its code; answers (0, positive, WODAN_ENOTFOUND) pass. */
int api_result(struct wodan_db *db, int status, const struct wodan_error *error);

/* What an error is before anything failed. Its message is not cleared as a whole: that was a tenth of a cursor's move. */
static inline void api_error_begin(struct wodan_error *error) {
  error->code = 0;
  error->device_errno = 0;
  error->block = WODAN_NO_BLOCK;
  error->message[0] = 0;
}

/* A tree key is the table id and the user's key. */
struct api_key {
  uint8_t bytes[TREE_KEY_MAX];
};
/* WODAN_EINVAL (empty or NULL) or WODAN_ETOOBIG. */
int api_key(const struct wodan_db *db, struct wodan_slice key, struct api_key *buffer, struct wodan_slice *tree_key,
            struct wodan_error *error);
/* An end of a range: the key, or where the table of this id begins when there is none. */
int api_bound(const struct wodan_db *db, const struct wodan_slice *key, uint8_t table, struct api_key *buffer,
              struct wodan_slice *tree_key, struct wodan_error *error);
/* api_key without making the tree key. */
int api_key_check(const struct wodan_db *db, struct wodan_slice key, struct wodan_error *error);
int api_value(const struct wodan_db *db, struct wodan_slice value, struct wodan_error *error);
/* Keeps and returns WODAN_EINVAL for a NULL argument; db may be the one. */
int api_missing(struct wodan_db *db, const char *what);
/* WODAN_EINVAL when the view (NULL: none) is of another database. */
int api_view(const struct wodan_db *db, const struct wodan_view *view, struct wodan_error *error);
/* A value looked up by a user's key; engine_value_release after success. Counts. */
struct api_found {
  struct api_key buffer;
  struct wodan_slice key; /* tree key, in buffer */
  struct engine_value value;
};
int api_lookup(struct wodan_db *db, struct wodan_view *view, struct wodan_slice key, struct api_found *found,
               struct wodan_error *error);
/* Bytes [part->offset, part->offset + part->capacity) of a value, which has them, to part->buffer. */
int api_copy_value(struct wodan_db *db, struct wodan_slice key, const struct engine_value *value,
                   const struct wodan_part *part, struct wodan_error *error);
/* What of the part lies inside a value of this size; and what was copied of that, told to the caller. */
static inline struct wodan_part api_part_inside(const struct wodan_part *part, uint64_t value_size) {
  struct wodan_part inside = *part;
  inside.value_size = value_size;
  if (inside.offset > value_size) inside.offset = value_size;
  if (inside.capacity > value_size - inside.offset) inside.capacity = (size_t)(value_size - inside.offset);
  return inside;
}
static inline void api_part_done(struct wodan_part *part, const struct wodan_part *inside) {
  part->size = inside->capacity;
  part->value_size = inside->value_size;
}
/* Clears the out fields; a durability that is not known is refused rather than taken for a lesser one. NULL is allowed. */
int api_commit_begin(struct wodan_commit *commit, struct wodan_error *error);
/* Commits one operation, its value as it is stored. */
int api_commit_one(struct wodan_db *db, const struct record *record, uint64_t user_bytes, struct wodan_commit *commit,
                   struct wodan_error *error);
/* Memory of `size` bytes that the user gives back with wodan_free; NULL: none. */
void *api_own(struct wodan_db *db, size_t size);

#endif
