/* What: `wodan del`: one key, a range, a prefix, or everything.
 *
 * Always true: durable when the exit code is 0; a mass deletion goes in bounded batches, each atomic, so memory does
 * not grow with what is deleted; doing it again is harmless.
 * A range is one record, however many keys it has; a prefix and everything are counted, which takes a look at each.
 *
 * Order: the cursor that collects a batch is closed before the batch is committed: an open one would hold the space
 * that the deletion frees.
 *
 * See: key_range.c; tests/cli/test_cli.sh. */
#include <errno.h>
#include <stdio.h>

#include "commands.h"
#include "image.h"
#include "json.h"
#include "key_range.h"
#include "progress.h"
#include "report.h"

enum { BATCH_KEYS = 1000, RECORD_OVERHEAD = 64 };

struct del_options {
  struct options common;
  const char *key, *prefix, *from, *to;
  bool all;
};

static void check(const struct argp_state *state, void *options) {
  const struct del_options *del = options;
  bool range = del->from != NULL || del->to != NULL;
  if ((del->key != NULL) + (del->prefix != NULL) + (del->all ? 1 : 0) + (range ? 1 : 0) != 1)
    argp_error(state, "give one of KEY, --from A and --to B, --prefix P, and --all");
}

static const struct options_verb verb = {
    .arguments = "IMAGE KEY\nIMAGE --from A --to B\nIMAGE --prefix P\nIMAGE --all",
    .doc = "Removes keys, durably. Exit code 1 when KEY is not there. --from and --to write one small record, however "
           "many "
           "keys lie between; --prefix and --all go in batches and tell how many keys they removed.",
    .shared = OPTIONS_WRITE | OPTIONS_ENCODING,
    .rows = {{"from", 'f', "A", OPTIONS_TEXT, offsetof(struct del_options, from), 0, 0,
              "Remove the keys from A on; without --to up to the last"},
             {"to", 't', "B", OPTIONS_TEXT, offsetof(struct del_options, to), 0, 0,
              "Remove the keys up to, but not with, B; without --from from the first"},
             {"prefix", 'p', "P", OPTIONS_TEXT, offsetof(struct del_options, prefix), 0, 0,
              "Remove every key that starts with P"},
             {"all", 0, NULL, OPTIONS_FLAG, offsetof(struct del_options, all), 0, 0, "Remove every key"}},
    .operands = {OPTIONS_IMAGE, {"key", OPTIONS_TEXT, offsetof(struct del_options, key), true}},
    .check = check,
};

static int delete_key(const struct image *image, struct wodan_slice key) {
  struct wodan_pinned pinned;
  int status = wodan_get_pinned(image->db, NULL, key, &pinned);
  if (status == 0) {
    wodan_unpin(image->db, &pinned);
    struct wodan_commit commit = {.durability = WODAN_DURABLE};
    status = wodan_delete(image->db, key, &commit);
  }
  return image_fail(image, status);
}

/* Collects deletions of the range's first keys and moves the range behind them. Adds nothing when it is empty. */
static int collect(const struct image *image, struct key_range *range, struct wodan_batch *batch, uint64_t bytes_max) {
  struct wodan_cursor *cursor = NULL;
  int status = wodan_cursor_open(image->db, NULL, &cursor);
  if (status == 0) status = key_range_first(range, cursor, false);
  while (status == 0) {
    struct wodan_slice key = wodan_cursor_key(cursor);
    status = wodan_batch_delete(batch, key);
    if (status != 0) break;
    size_t count = wodan_batch_count(batch);
    bool full = count >= BATCH_KEYS || wodan_batch_bytes(batch) + key.size + RECORD_OVERHEAD > bytes_max / 2;
    if (full) {
      if (!key_range_continue_after(range, key)) status = WODAN_ENOMEM;
      break;
    }
    status = key_range_next(range, cursor, false);
  }
  wodan_cursor_close(cursor);
  return status;
}

static int delete_range(const struct image *image, struct key_range *range, uint64_t *deleted) {
  struct wodan_info info = {.size = sizeof info};
  struct wodan_batch *batch = NULL;
  struct progress progress;
  progress_start(&progress, "keys removed", 0);
  int status = wodan_info(image->db, &info);
  if (status == 0) status = wodan_batch_create(image->db, &batch);
  bool more = true;
  while (status == 0 && more) {
    status = collect(image, range, batch, info.batch_size_max);
    more = status == 0;
    if (status == WODAN_DONE) status = 0;
    size_t count = wodan_batch_count(batch);
    if (status == 0 && count > 0) {
      status = image_commit(image, batch);
      if (status == 0) *deleted += count;
    }
    progress_step(&progress, *deleted);
  }
  wodan_batch_free(batch);
  progress_end(&progress);
  return image_fail(image, status);
}

/* One record, however many keys. */
static int delete_between(const struct image *image, const struct del_options *del) {
  struct buffer from = {0}, to = {0};
  struct wodan_commit commit = {.durability = WODAN_DURABLE};
  int exit_code = EXIT_CODE_OK;
  if (del->from != NULL) exit_code = options_decode(&del->common, "--from", del->from, &from);
  if (exit_code == EXIT_CODE_OK && del->to != NULL) exit_code = options_decode(&del->common, "--to", del->to, &to);
  struct wodan_slice lower = buffer_slice(&from), upper = buffer_slice(&to);
  if (exit_code == EXIT_CODE_OK)
    exit_code = image_fail(image, wodan_delete_range(image->db, del->from != NULL ? &lower : NULL,
                                                     del->to != NULL ? &upper : NULL, &commit));
  buffer_release(&from);
  buffer_release(&to);
  return exit_code;
}

static int print_count(bool as_json, uint64_t deleted) {
  if (!as_json) {
    printf("%llu deleted\n", (unsigned long long)deleted);
    return report_flush(EXIT_CODE_OK);
  }
  struct json json = {0};
  json_open(&json, NULL, '{');
  json_number(&json, "deleted", deleted);
  json_close(&json, '}');
  return report_json(&json) ? report_flush(EXIT_CODE_OK) : EXIT_CODE_IO;
}

int cmd_del(int argc, char **argv) {
  struct del_options del = {0};
  options_parse(&verb, argc, argv, &del);
  struct buffer bytes = {0};
  struct key_range range = {0};
  struct image image = {0};
  uint64_t deleted = 0;
  bool between = del.from != NULL || del.to != NULL; /* how many that are nobody counts */
  int exit_code = EXIT_CODE_OK;
  const char *given = del.key != NULL ? del.key : del.prefix;
  if (given != NULL) {
    exit_code = options_decode(&del.common, del.key != NULL ? "KEY" : "--prefix", given, &bytes);
  }
  if (exit_code == EXIT_CODE_OK && del.prefix != NULL && !key_range_of_prefix(&range, buffer_slice(&bytes))) {
    exit_code = report_errno(del.common.json, "--prefix", ENOMEM);
  }
  if (exit_code == EXIT_CODE_OK) exit_code = image_open(&image, &del.common, true);
  if (exit_code == EXIT_CODE_OK) {
    if (between)
      exit_code = delete_between(&image, &del);
    else
      exit_code = del.key != NULL ? delete_key(&image, buffer_slice(&bytes)) : delete_range(&image, &range, &deleted);
    if (exit_code == EXIT_CODE_OK && del.key != NULL) deleted = 1;
  }
  exit_code = image_close(&image, exit_code);
  if (exit_code == EXIT_CODE_OK && !between && (del.key == NULL || del.common.json)) {
    exit_code = print_count(del.common.json, deleted);
  }
  buffer_release(&bytes);
  key_range_release(&range);
  return exit_code;
}
