/* The image a verb works on: opened for reading unless the verb writes, closed with its result checked. */
#ifndef WODAN_CLI_IMAGE_H
#define WODAN_CLI_IMAGE_H

#include <wodan/wodan.h>

#include "options.h"

struct image {
  const struct options *options;
  struct wodan_db *db;
};

/* Opens options->image. 0, or the exit code of the reported failure (nothing is open then). */
int image_open(struct image *image, const struct options *options, bool writable);

/* Closes it (a writable one checkpoints) and flushes standard output. Returns exit_code when that is not 0, else the
 * exit code of what failed now (reported). Nothing of the library's may be open on it. Safe when nothing is open. */
int image_close(struct image *image, int exit_code);

/* Reports a status that a call on the image returned, with what the library kept about it. Returns its exit code; 0
 * for WODAN_OK and WODAN_DONE, which are not reported. */
int image_fail(const struct image *image, int status);

/* What the library kept about a failed status. */
void image_error(const struct image *image, int status, struct wodan_error *error);

/* The value under the cursor; one too large for the database's memory is in *own, to be freed in any case. 0 or a status. */
int image_cursor_value(const struct image *image, struct wodan_cursor *cursor, struct wodan_slice *value, void **own);

/* Commits durably, then empties the batch. 0 or a status; the batch is kept when it failed. */
int image_commit(const struct image *image, struct wodan_batch *batch);

#endif
