/* What: opening and closing the image, and the library's failures as sentences.
 *
 * Always true: only a verb that writes opens for writing; the result of the close decides the exit code of a verb that
 * was fine until then.
 *
 * Order: cursors, views, batches and pinned values end before image_close.
 *
 * See: tests/cli/test_cli.sh. */
#include <stdlib.h>
#include "image.h"

#include <stdio.h>

#include "report.h"

int image_open(struct image *image, const struct options *options, bool writable) {
  *image = (struct image){.options = options, .db = NULL};
  struct wodan_open_options open = {
      .size = sizeof open, .memory_budget = options->cache, .compression = options->compression};
  if (!writable) open.flags |= WODAN_OPEN_READ_ONLY;
  if (options->older_root) open.flags |= WODAN_OPEN_OLDER_ROOT;
  if (options->direct) open.flags |= WODAN_OPEN_DIRECT;
  if (options->work_inline) open.flags |= WODAN_OPEN_INLINE;
  if (options->no_auto_checkpoint) open.flags |= WODAN_OPEN_NO_AUTO_CHECKPOINT;
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  int status = wodan_open_path(options->image, &open, &image->db, &error);
  if (status < 0) {
    image->db = NULL;
    error.code = status;
    return report_error(options->json, options->image, &error);
  }
  struct wodan_info info = {.size = sizeof info};
  if (wodan_info(image->db, &info) == 0 && info.dropped_generations > 0) {
    fprintf(stderr, "wodan: %s: reading an older root, %llu generations were dropped\n", options->image,
            (unsigned long long)info.dropped_generations);
  }
  return EXIT_CODE_OK;
}

int image_close(struct image *image, int exit_code) {
  if (image->db == NULL) return exit_code;
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  int status = wodan_close(image->db, &error);
  image->db = NULL;
  if (status < 0 && exit_code == EXIT_CODE_OK) {
    error.code = status;
    exit_code = report_error(image->options->json, image->options->image, &error);
  }
  return report_flush(exit_code);
}

void image_error(const struct image *image, int status, struct wodan_error *error) {
  *error = (struct wodan_error){.block = WODAN_NO_BLOCK};
  if (status != WODAN_ENOTFOUND) wodan_last_error(image->db, error);
  if (error->code != status) *error = (struct wodan_error){.code = status, .block = WODAN_NO_BLOCK};
  if (status == WODAN_ENEEDSFLUSH) { /* the library says what a program does; here image_commit did it */
    snprintf(error->message, sizeof error->message,
             "a checkpoint had to free space first; there was one now, so run it again, or leave "
             "--no-auto-checkpoint out");
  }
}

int image_fail(const struct image *image, int status) {
  if (status >= 0) return EXIT_CODE_OK;
  struct wodan_error error;
  image_error(image, status, &error);
  return report_error(image->options->json, image->options->image, &error);
}

int image_commit(const struct image *image, struct wodan_batch *batch) {
  struct wodan_commit commit = {.durability = WODAN_DURABLE};
  int status = wodan_batch_commit(image->db, batch, &commit);
  if (status == 0) wodan_batch_clear(batch);
  if (status != WODAN_ENEEDSFLUSH) return status;
  int made = wodan_checkpoint(image->db, NULL); /* the one at close frees no more than it has to */
  return made < 0 ? made : status;
}

int image_cursor_value(const struct image *image, struct wodan_cursor *cursor, struct wodan_slice *value, void **own) {
  struct wodan_error error = {.code = 0};
  *own = NULL;
  *value = wodan_cursor_value(cursor);
  if (value->data != NULL) return 0;
  wodan_last_error(image->db, &error);
  if (error.code != WODAN_ENOMEM) return error.code;
  *own = malloc(value->size);
  if (*own == NULL) return WODAN_ENOMEM;
  struct wodan_part part = {.buffer = *own, .capacity = value->size};
  value->data = *own;
  return wodan_cursor_read(cursor, &part);
}
