/* Owns: wodan-fsck --list-roots.
 *
 * Always true: the image is opened for reading only.
 *
 * Order: as the journal is walked, newest first.
 *
 * See: wodan-fsck(8), tests/cli/test_fsck.sh. */
#include <inttypes.h>
#include <stdio.h>
#include "fsck.h"
#include "mirage.h"

enum { ROOTS_VERSION = 1 };

static int on_root(void *context, const struct wodan_root *root) {
  struct fsck *fsck = context;
  if (!fsck->json) {
    printf("%12" PRIu64 " %14" PRIu64 " %14" PRIu64 " %12" PRIu64 "\n", root->generation, root->sequence,
           root->journal_block, root->blocks);
    return 0;
  }
  struct json *json = &fsck->answer;
  json_open(json, NULL, '{');
  json_number(json, "generation", root->generation);
  json_number(json, "sequence", root->sequence);
  json_number(json, "journal_block", root->journal_block);
  json_number(json, "tail", root->tail);
  json_number(json, "blocks", root->blocks);
  json_close(json, '}');
  return 0;
}

/* What hides roots from the list: that of its own walk. */
struct hidden {
  bool walking;
  char why[320]; /* "" as long as there is none */
};

static void on_hidden(void *context, const struct wodan_damage *damage) {
  struct hidden *hidden = context;
  if (hidden->walking && !hidden->why[0]) snprintf(hidden->why, sizeof hidden->why, "%s", damage->message);
}

static void on_mirage_root(void *context, uint64_t generation, uint64_t block) {
  struct fsck *fsck = context;
  if (!fsck->json) {
    printf("%12" PRIu64 " %14" PRIu64 "\n", generation, block);
    return;
  }
  struct json *json = &fsck->answer;
  json_open(json, NULL, '{');
  json_number(json, "generation", generation);
  json_number(json, "block", block);
  json_close(json, '}');
}

static int walk_mirage_roots(struct fsck *fsck, struct wodan_error *error) {
  struct mirage_source source = {0};
  int status = mirage_source_open(&source, fsck->image, error);
  if (status == 0 && !fsck->json) printf("%12s %14s\n", "generation", "block");
  if (status == 0) status = mirage_roots(&source, on_mirage_root, fsck, error);
  mirage_source_close(&source);
  return status;
}

static int walk_roots(struct fsck *fsck, struct wodan_error *error) {
  if (fsck->mirage) return walk_mirage_roots(fsck, error);
  struct wodan_device *device = NULL;
  struct wodan_inspect *inspect = NULL;
  struct hidden hidden = {0};
  const struct wodan_inspect_options options = {.size = sizeof options, .context = &hidden, .damage = on_hidden};
  int status = wodan_path_device(fsck->image, WODAN_PATH_READ_ONLY, 0, &device, error);
  if (status < 0) return status;
  status = wodan_inspect_open(device, &options, &inspect, error);
  hidden.walking = true;
  if (status == 0 && !fsck->json) printf("%12s %14s %14s %12s\n", "generation", "operation", "journal block", "blocks");
  if (status == 0) status = wodan_inspect_roots(inspect, on_root, fsck, error);
  if (status == 0 && hidden.why[0]) {
    status = error->code = WODAN_EIO;
    snprintf(error->message, sizeof error->message, "the list may not be whole: %.200s", hidden.why);
  }
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  return status;
}

int list_roots(struct fsck *fsck) {
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  report_begin(fsck, "wodan-fsck-roots", ROOTS_VERSION, "roots");
  int status = walk_roots(fsck, &error), code = status < 0 ? FSCK_OPERATIONAL : FSCK_OK;
  if (status < 0) fprintf(stderr, "wodan-fsck: %s: %s\n", fsck->image, error.message);
  if (!fsck->json) return code;
  json_close(&fsck->answer, ']');
  json_text(&fsck->answer, "error", status < 0 ? status_name(status) : NULL);
  return report_end(fsck, code);
}
