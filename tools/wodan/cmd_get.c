/* What: `wodan get`: the value of one key.
 *
 * Always true: reads only; the value's bytes go to standard output unchanged, with a newline added on a terminal only.
 *
 * Order: none that matters.
 *
 * See: tests/cli/test_cli.sh. */
#include <stdio.h>
#include <unistd.h>

#include "commands.h"
#include "image.h"
#include "report.h"
#include "text_jsonl.h"

struct get_options {
  struct options common;
  const char *key;
};

static const struct options_verb verb = {
    .arguments = "IMAGE KEY",
    .doc = "Prints the value of KEY as it is. Exit code 1 when the key is not there. With "
           "--json one object {\"key\":…,\"value\":…}. Reads only.",
    .shared = OPTIONS_READ | OPTIONS_ENCODING,
    .operands = {OPTIONS_IMAGE, {"key", OPTIONS_TEXT, offsetof(struct get_options, key), false}},
};

static int print_value(const struct options *options, struct wodan_slice key, struct wodan_slice value) {
  struct buffer out = {0};
  if (options->json) {
    text_jsonl_append(&out, key, value);
  } else {
    buffer_append(&out, value.data, value.size);
    if (isatty(STDOUT_FILENO) == 1) buffer_append_byte(&out, '\n');
  }
  int exit_code = report_bytes(options->json, &out) ? EXIT_CODE_OK : EXIT_CODE_IO;
  buffer_release(&out);
  return exit_code;
}

static int get_key(const struct image *image, struct wodan_slice key) {
  void *value = NULL;
  size_t size = 0;
  int status = wodan_get_alloc(image->db, NULL, key, &value, &size);
  if (status < 0) return image_fail(image, status);
  int exit_code = print_value(image->options, key, (struct wodan_slice){.data = value, .size = size});
  wodan_free(image->db, value);
  return exit_code;
}

int cmd_get(int argc, char **argv) {
  struct get_options get = {0};
  options_parse(&verb, argc, argv, &get);
  struct buffer key = {0};
  struct image image = {0};
  int exit_code = options_decode(&get.common, "KEY", get.key, &key);
  if (exit_code == EXIT_CODE_OK) exit_code = image_open(&image, &get.common, false);
  if (exit_code == EXIT_CODE_OK) exit_code = get_key(&image, buffer_slice(&key));
  exit_code = image_close(&image, exit_code);
  buffer_release(&key);
  return exit_code;
}
