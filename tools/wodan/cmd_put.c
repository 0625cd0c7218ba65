/* What: `wodan put`: one key set to one value.
 *
 * Always true: durable when the exit code is 0: the commit is asked to be, and the close checkpoints.
 *
 * Order: what comes through a pipe is written as it comes, but put only when it ended well, so an interrupted pipe stores
 * nothing.
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

/* Standard input to its end, into the writer. */
static int stream_value(const struct image *image, struct wodan_value_writer *writer, uint64_t *size) {
  enum { PIECE = 256 * 1024 };
  bool json = image->options->json;
  struct buffer piece = {0};
  if (!buffer_reserve(&piece, PIECE)) return report_errno(json, "standard input", ENOMEM);
  int exit_code = EXIT_CODE_OK;
  for (;;) {
    ssize_t got = read(STDIN_FILENO, piece.data, PIECE);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) exit_code = report_errno(json, "standard input", errno);
    if (got <= 0) break;
    exit_code = image_fail(image, wodan_value_writer_append(writer, piece.data, (size_t)got));
    if (exit_code != EXIT_CODE_OK) break;
    *size += (uint64_t)got;
  }
  buffer_release(&piece);
  return exit_code;
}

static int put_stream(const struct image *image, struct wodan_slice key, uint64_t *size) {
  struct wodan_commit commit = {.durability = WODAN_DURABLE};
  struct wodan_value_writer *writer;
  int status = wodan_value_writer_create(image->db, key, 0, &writer);
  if (status < 0) return image_fail(image, status);
  int exit_code = stream_value(image, writer, size);
  if (exit_code == EXIT_CODE_OK) exit_code = image_fail(image, wodan_value_writer_commit(writer, &commit));
  wodan_value_writer_free(writer);
  return exit_code;
}

static int put_key(const struct image *image, const struct put_options *put, struct wodan_slice key,
                   struct wodan_slice value, uint64_t *size) {
  struct wodan_commit commit = {.durability = WODAN_DURABLE};
  *size = 0;
  if (put->value == NULL) return put_stream(image, key, size);
  *size = value.size;
  return image_fail(image, wodan_put(image->db, key, value, &commit));
}

static int print_answer(uint64_t value_size) {
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
  uint64_t size = 0;
  int exit_code = options_decode(&put.common, "KEY", put.key, &key);
  if (exit_code == EXIT_CODE_OK && put.value != NULL) {
    exit_code = options_decode(&put.common, "VALUE", put.value, &value);
  }
  if (exit_code == EXIT_CODE_OK) exit_code = image_open(&image, &put.common, true);
  if (exit_code == EXIT_CODE_OK) exit_code = put_key(&image, &put, buffer_slice(&key), buffer_slice(&value), &size);
  exit_code = image_close(&image, exit_code);
  if (exit_code == EXIT_CODE_OK && put.common.json) exit_code = print_answer(size);
  buffer_release(&key);
  buffer_release(&value);
  return exit_code;
}
