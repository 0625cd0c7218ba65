/* What: `wodan put`: one key set to one value.
 *
 * Always true: durable when the exit code is 0: the commit is asked to be, and the close checkpoints.
 *
 * Order: the whole value is read before the image is changed, so an interrupted pipe stores nothing.
 *
 * See: tests/cli/test_cli.sh. */
#include <errno.h>
#include <unistd.h>

#include "commands.h"
#include "image.h"
#include "json.h"
#include "report.h"

struct put_options {
  struct options common;
  const char *key;
  const char *value; /* NULL: standard input */
};

static const struct options_verb verb = {
    .arguments = "IMAGE KEY [VALUE]",
    .doc = "Sets KEY to VALUE, durably. Without VALUE it is read from standard input, as it "
           "is to the last byte (--hex and --base64 are for the command line only).",
    .shared = OPTIONS_PUT | OPTIONS_ENCODING,
    .operands = {OPTIONS_IMAGE,
                 {"key", OPTIONS_TEXT, offsetof(struct put_options, key), false},
                 {"value", OPTIONS_TEXT, offsetof(struct put_options, value), true}},
};

/* Reads standard input to its end, but no more than limit + 1 bytes. */
static int read_value(const struct options *options, uint64_t limit, struct buffer *value) {
  enum { CHUNK = 64 * 1024 };
  while (value->size <= limit) {
    if (!buffer_reserve(value, CHUNK)) return report_errno(options->json, "standard input", ENOMEM);
    uint64_t room = limit + 1 - value->size;
    ssize_t got = read(STDIN_FILENO, value->data + value->size, room < CHUNK ? (size_t)room : CHUNK);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return report_errno(options->json, "standard input", errno);
    if (got == 0) return EXIT_CODE_OK;
    value->size += (size_t)got;
  }
  return report_failure(options->json, options->image, WODAN_ETOOBIG, EXIT_CODE_USAGE,
                        "the value is longer than %llu bytes, the most this image takes", (unsigned long long)limit);
}

static int put_key(const struct image *image, const struct put_options *put, struct wodan_slice key,
                   struct buffer *value) {
  if (put->value == NULL) {
    struct wodan_info info = {.size = sizeof info};
    int exit_code = image_fail(image, wodan_info(image->db, &info));
    if (exit_code == EXIT_CODE_OK) exit_code = read_value(&put->common, info.value_size_max, value);
    if (exit_code != EXIT_CODE_OK) return exit_code;
  }
  struct wodan_commit commit = {.durability = WODAN_DURABLE};
  return image_fail(image, wodan_put(image->db, key, buffer_slice(value), &commit));
}

static int print_answer(size_t value_size) {
  struct json json = {0};
  json_open(&json, NULL, '{');
  json_number(&json, "put", 1);
  json_number(&json, "value_size", value_size);
  json_bool(&json, "durable", true);
  json_close(&json, '}');
  return report_json(&json) ? report_flush(EXIT_CODE_OK) : EXIT_CODE_IO;
}

int cmd_put(int argc, char **argv) {
  struct put_options put = {0};
  options_parse(&verb, argc, argv, &put);
  struct buffer key = {0};
  struct buffer value = {0};
  struct image image = {0};
  int exit_code = options_decode(&put.common, "KEY", put.key, &key);
  if (exit_code == EXIT_CODE_OK && put.value != NULL) {
    exit_code = options_decode(&put.common, "VALUE", put.value, &value);
  }
  if (exit_code == EXIT_CODE_OK) exit_code = image_open(&image, &put.common, true);
  if (exit_code == EXIT_CODE_OK) exit_code = put_key(&image, &put, buffer_slice(&key), &value);
  exit_code = image_close(&image, exit_code);
  if (exit_code == EXIT_CODE_OK && put.common.json) exit_code = print_answer(value.size);
  buffer_release(&key);
  buffer_release(&value);
  return exit_code;
}
