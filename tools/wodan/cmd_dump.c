/* What: `wodan dump`: every record, as text that `wodan load` takes.
 *
 * Always true: reads only; one stable moment; one record a line in key order and nothing else on standard output (a
 * failure in --json adds one last line {"error":…}).
 *
 * Order: the cursor is closed before the image.
 *
 * See: text_format.c; tests/cli/test_cli.sh. */
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "image.h"
#include "progress.h"
#include "report.h"
#include "text_format.h"

struct dump_options {
  struct options common;
  const char *format_name;
  const struct text_format *format;
};

static void check(const struct argp_state *state, void *options) {
  struct dump_options *dump = options;
  if (dump->format_name == NULL) dump->format_name = dump->common.json ? "jsonl" : "tsv";
  dump->format = text_format_find(dump->format_name);
  if (dump->format == NULL) argp_error(state, "--format: '%s' is none of tsv, base64, jsonl", dump->format_name);
}

static const struct options_verb verb = {
    .arguments = "IMAGE",
    .doc = "Prints every record in key order, one a line. tsv: key<TAB>value with the escapes \\\\ \\t \\n \\r \\xHH; "
           "base64: both fields in base64; jsonl: {\"key\":…,\"value\":…}, where bytes that are not UTF-8 are given as "
           "\"key_base64\" and \"value_base64\". --json means --format jsonl. Reads only.",
    .shared = OPTIONS_READ,
    .rows = {{"format", 'f', "FORMAT", OPTIONS_TEXT, offsetof(struct dump_options, format_name), 0, 0,
              "tsv (default), base64 (as MirageOS wodanc writes it) or jsonl"}},
    .operands = {OPTIONS_IMAGE},
    .check = check,
};

static int dump_records(const struct image *image, const struct text_format *format) {
  struct progress progress;
  struct buffer out = {0};
  struct wodan_cursor *cursor = NULL;
  bool written = true;
  uint64_t count = 0;
  progress_start(&progress, "records dumped", 0);
  int status = wodan_cursor_open(image->db, NULL, &cursor);
  if (status == 0) status = wodan_cursor_first(cursor);
  while (status == 0) {
    buffer_clear(&out);
    struct wodan_slice value;
    void *large = NULL;
    status = image_cursor_value(image, cursor, &value, &large);
    if (status == 0) format->append(&out, wodan_cursor_key(cursor), value);
    free(large);
    if (status < 0) break;
    written = report_bytes(image->options->json, &out);
    if (!written) break;
    progress_step(&progress, ++count);
    status = wodan_cursor_next(cursor);
  }
  wodan_cursor_close(cursor);
  buffer_release(&out);
  progress_end(&progress);
  return written ? image_fail(image, status) : EXIT_CODE_IO;
}

int cmd_dump(int argc, char **argv) {
  struct dump_options dump = {0};
  options_parse(&verb, argc, argv, &dump);
  struct image image = {0};
  int exit_code = image_open(&image, &dump.common, false);
  if (exit_code == EXIT_CODE_OK) exit_code = dump_records(&image, dump.format);
  return image_close(&image, exit_code);
}
