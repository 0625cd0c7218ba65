/* What: `wodan node`, `wodan page` and `wodan block`: what is in one block, each field with its bytes beside it.
 *
 * Always true: a field that is not as it must be says so in its own line; long stretches of bytes are cut.
 *
 * Order: as the bytes lie.
 *
 * See: include/wodan/inspect.h; tests/cli/test_inspect.sh. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "look.h"
#include "report.h"

enum { HEX_BYTES = 8, HEX_BYTES_JSON = 64 };

struct block_options {
  struct options common;
  uint64_t block;
};

/* The first bytes as hexadecimal digits; "..." when there are more. */
static void hex_text(char *text, const struct wodan_field *field, uint32_t most) {
  uint32_t count = field->size < most ? field->size : most;
  size_t used = 0;
  text[0] = '\0';
  for (uint32_t i = 0; i < count; i++) used += (size_t)sprintf(text + used, "%02x", field->bytes[i]);
  if (field->size > count) strcpy(text + used, "..");
}

static int on_field(void *context, const struct wodan_field *field) {
  struct json *json = context;
  char hex[2 * HEX_BYTES_JSON + 8];
  if (json != NULL) {
    json_open(json, NULL, '{');
    hex_text(hex, field, HEX_BYTES_JSON);
    json_number(json, "depth", field->depth);
    if (field->size) json_number(json, "offset", field->offset);
    if (field->size) json_number(json, "size", field->size);
    if (field->size) json_text(json, "bytes", hex);
    json_text(json, "name", field->name);
    json_text(json, "text", field->text);
    if (field->problem != NULL) json_text(json, "problem", field->problem);
    json_close(json, '}');
    return 0;
  }
  hex_text(hex, field, HEX_BYTES);
  if (field->size)
    printf("%12" PRIx64 " %6u  %-18s  ", field->offset, field->size, hex);
  else
    printf("%12s %6s  %-18s  ", "", "", "");
  int width = 20 - (int)field->depth * 2;
  printf("%*s%-*s %s", (int)field->depth * 2, "", width > 0 ? width : 0, field->name, field->text);
  if (field->problem != NULL) printf("  <== WRONG: %s", field->problem);
  printf("\n");
  return 0;
}

static int show_block(struct look *look, const struct block_options *options, uint32_t view) {
  struct json json = {0}, *shown = options->common.json ? &json : NULL;
  struct wodan_error error;
  if (shown != NULL) {
    json_open(shown, NULL, '{');
    json_number(shown, "block", options->block);
    json_open(shown, "fields", '[');
  }
  int status = wodan_inspect_block(look->inspect, options->block, view, on_field, shown, &error);
  if (shown != NULL) json_close(shown, ']');
  if (status == 0) return look_end(look, shown, EXIT_CODE_OK);
  json_release(&json);
  return look_fail(look, status, &error);
}

static int run(int argc, char **argv, const struct options_verb *verb, uint32_t view) {
  struct block_options options = {0};
  options_parse(verb, argc, argv, &options);
  struct look look;
  int exit_code = look_open(&look, &options.common);
  if (exit_code == EXIT_CODE_OK) exit_code = show_block(&look, &options, view);
  look_close(&look);
  return exit_code;
}

/* What the three verbs take. */
#define BLOCK_VERB                                                                                                     \
  .arguments = "IMAGE BLOCK", .shared = OPTIONS_LOOK,                                                                  \
  .operands = {OPTIONS_IMAGE, {"block", OPTIONS_COUNT, offsetof(struct block_options, block), false}}

#define COLUMNS                                                                                                        \
  "The columns are: offset on the device and size in bytes, the bytes (hexadecimal, the first of them), the field, "   \
  "its "                                                                                                               \
  "value. Reads only, damaged images too; exit code 1 when there is no such thing in the block."

int cmd_node(int argc, char **argv) {
  static const struct options_verb verb = {
      BLOCK_VERB, .doc = "Decodes the node that holds the block: header, leaves or children, buffered runs. " COLUMNS};
  return run(argc, argv, &verb, WODAN_VIEW_NODE);
}

int cmd_page(int argc, char **argv) {
  static const struct options_verb verb = {
      BLOCK_VERB,
      .doc =
          "Decodes the pages, the index or the filter of the run or leaf that holds the block, as far as they lie in "
          "it. " COLUMNS};
  return run(argc, argv, &verb, WODAN_VIEW_PAGE);
}

int cmd_block(int argc, char **argv) {
  static const struct options_verb verb = {
      BLOCK_VERB,
      .doc = "Decodes whatever is in the block: superblock, journal, node, run, or what is left of one. " COLUMNS};
  return run(argc, argv, &verb, WODAN_VIEW_ANY);
}
