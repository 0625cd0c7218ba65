/* What: `wodan scan`: the records of a key range, upwards or downwards.
 *
 * Always true: reads only; what is printed is one stable moment; with --json standard output is one JSON document,
 * also when the scan fails half way.
 *
 * Order: the cursor is closed before the image.
 *
 * See: key_range.c; tests/cli/test_cli.sh. */
#include <stdlib.h>
#include <stdio.h>

#include "commands.h"
#include "image.h"
#include "key_range.h"
#include "progress.h"
#include "report.h"
#include "text_jsonl.h"
#include "text_tsv.h"

struct scan_options {
  struct options common;
  const char *prefix, *from, *to;
  bool reverse;
  uint64_t limit;
};

static void check(const struct argp_state *state, void *options) {
  const struct scan_options *scan = options;
  if (scan->prefix != NULL && (scan->from != NULL || scan->to != NULL))
    argp_error(state, "--prefix excludes --from and --to");
}

static const struct options_verb verb = {
    .arguments = "IMAGE",
    .doc = "Prints key<TAB>value, one record a line, with the escapes \\\\ \\t \\n \\r \\xHH; with --hex or --base64 "
           "both fields in that encoding; with --json one object {\"records\":[…],\"count\":N}. Reads only.",
    .shared = OPTIONS_READ | OPTIONS_ENCODING,
    .rows = {{"prefix", 'p', "P", OPTIONS_TEXT, offsetof(struct scan_options, prefix), 0, 0,
              "Only keys that start with P"},
             {"from", 0, "A", OPTIONS_TEXT, offsetof(struct scan_options, from), 0, 0, "Only keys from A on"},
             {"to", 0, "B", OPTIONS_TEXT, offsetof(struct scan_options, to), 0, 0, "Only keys before B"},
             {"reverse", 'r', NULL, OPTIONS_FLAG, offsetof(struct scan_options, reverse), 0, 0,
              "From the last key down"},
             {"limit", 'n', "N", OPTIONS_COUNT, offsetof(struct scan_options, limit), 0, 0, "At most N records"}},
    .operands = {OPTIONS_IMAGE},
    .check = check,
};

static int build_range(const struct scan_options *scan, struct key_range *range) {
  int exit_code = EXIT_CODE_OK;
  if (scan->prefix != NULL) {
    struct buffer prefix = {0};
    exit_code = options_decode(&scan->common, "--prefix", scan->prefix, &prefix);
    if (exit_code == EXIT_CODE_OK && !key_range_of_prefix(range, buffer_slice(&prefix))) {
      exit_code = report_failure(scan->common.json, "--prefix", WODAN_ENOMEM, EXIT_CODE_IO, "out of memory");
    }
    buffer_release(&prefix);
  }
  if (scan->from != NULL) {
    exit_code = options_decode(&scan->common, "--from", scan->from, &range->from);
  }
  if (scan->to != NULL && exit_code == EXIT_CODE_OK) {
    exit_code = options_decode(&scan->common, "--to", scan->to, &range->to);
    range->bounded = true;
  }
  return exit_code;
}

static void append_record(const struct scan_options *scan, struct buffer *out, uint64_t index, struct wodan_slice key,
                          struct wodan_slice value) {
  if (scan->common.json) {
    buffer_append_text(out, index == 0 ? "\n" : ",\n");
    text_jsonl_append_object(out, key, value);
    return;
  }
  if (!scan->common.hex && !scan->common.base64) {
    text_tsv_append(out, key, value);
    return;
  }
  void (*encode)(struct buffer *, struct wodan_slice) = scan->common.hex ? hex_append : base64_append;
  encode(out, key);
  buffer_append_byte(out, '\t');
  encode(out, value);
  buffer_append_byte(out, '\n');
}

/* Prints the records. A status; *exit_code is set when output failed (reported). */
static int print_records(const struct image *image, const struct scan_options *scan, const struct key_range *range,
                         uint64_t *count, int *exit_code) {
  struct wodan_cursor *cursor = NULL;
  struct buffer out = {0};
  int status = wodan_cursor_open(image->db, NULL, &cursor);
  if (status == 0 && scan->limit > 0) status = key_range_first(range, cursor, scan->reverse);
  while (status == 0 && *count < scan->limit) {
    buffer_clear(&out);
    struct wodan_slice value;
    void *large = NULL;
    status = image_cursor_value(image, cursor, &value, &large);
    if (status < 0) free(large);
    if (status < 0) break;
    append_record(scan, &out, *count, wodan_cursor_key(cursor), value);
    free(large);
    if (!report_bytes(scan->common.json, &out)) {
      *exit_code = EXIT_CODE_IO;
      break;
    }
    if (++*count < scan->limit) status = key_range_next(range, cursor, scan->reverse);
  }
  buffer_release(&out);
  wodan_cursor_close(cursor);
  return status;
}

static int scan_image(const struct image *image, const struct scan_options *scan, const struct key_range *range) {
  uint64_t count = 0;
  int exit_code = EXIT_CODE_OK;
  if (scan->common.json) fputs("{\"records\":[", stdout);
  int status = print_records(image, scan, range, &count, &exit_code);
  if (scan->common.json) printf("%s],\"count\":%llu", count > 0 ? "\n" : "", (unsigned long long)count);
  if (exit_code == EXIT_CODE_OK && status < 0) {
    struct wodan_error error;
    image_error(image, status, &error);
    if (scan->common.json) report_error_member(&error);
    exit_code = report_error(false, scan->common.image, &error);
  }
  if (scan->common.json) fputs("}\n", stdout);
  return exit_code;
}

int cmd_scan(int argc, char **argv) {
  struct scan_options scan = {.limit = UINT64_MAX};
  options_parse(&verb, argc, argv, &scan);
  struct key_range range = {0};
  struct image image = {0};
  int exit_code = build_range(&scan, &range);
  if (exit_code == EXIT_CODE_OK) exit_code = image_open(&image, &scan.common, false);
  if (exit_code == EXIT_CODE_OK) exit_code = scan_image(&image, &scan, &range);
  exit_code = image_close(&image, exit_code);
  key_range_release(&range);
  return exit_code;
}
