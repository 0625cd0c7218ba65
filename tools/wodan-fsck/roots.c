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

enum { ROOTS_VERSION = 1 };

static int on_root(void *context, const struct wodan_root *root) {
  struct fsck *fsck = context;
  if (!fsck->json) {
    printf("%12" PRIu64 " %14" PRIu64 " %14" PRIu64 " %12" PRIu64 "\n", root->generation, root->sequence,
           root->journal_block, root->blocks);
    return 0;
  }
  struct json_object *object = json_object_new_object();
  json_object_object_add(object, "generation", json_object_new_uint64(root->generation));
  json_object_object_add(object, "sequence", json_object_new_uint64(root->sequence));
  json_object_object_add(object, "journal_block", json_object_new_uint64(root->journal_block));
  json_object_object_add(object, "tail", json_object_new_uint64(root->tail));
  json_object_object_add(object, "blocks", json_object_new_uint64(root->blocks));
  json_object_array_add(fsck->findings, object);
  return 0;
}

static int walk_roots(struct fsck *fsck, struct wodan_error *error) {
  struct wodan_device *device = NULL;
  struct wodan_inspect *inspect = NULL;
  int status = wodan_path_device(fsck->image, WODAN_PATH_READ_ONLY, 0, &device, error);
  if (status < 0) return status;
  status = wodan_inspect_open(device, NULL, &inspect, error);
  if (status == 0 && !fsck->json) printf("%12s %14s %14s %12s\n", "generation", "operation", "journal block", "blocks");
  if (status == 0) status = wodan_inspect_roots(inspect, on_root, fsck, error);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  return status;
}

int list_roots(struct fsck *fsck) {
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  fsck->findings = json_object_new_array();
  int status = walk_roots(fsck, &error);
  if (status < 0) fprintf(stderr, "wodan-fsck: %s: %s\n", fsck->image, error.message);
  if (fsck->json) {
    struct json_object *root = json_object_new_object(), *failure = NULL;
    if (status < 0) failure = json_object_new_string(status_name(status));
    json_object_object_add(root, "schema", json_object_new_string("wodan-fsck-roots"));
    json_object_object_add(root, "version", json_object_new_int(ROOTS_VERSION));
    json_object_object_add(root, "image", json_object_new_string(fsck->image));
    json_object_object_add(root, "roots", json_object_get(fsck->findings));
    json_object_object_add(root, "error", failure);
    puts(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(root);
  }
  json_object_put(fsck->findings);
  return status < 0 ? FSCK_OPERATIONAL : FSCK_OK;
}
