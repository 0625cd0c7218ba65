/* What: `wodan get`: the value of one key, or a part of it.
 *
 * Always true: reads only; the value's bytes go to standard output unchanged, with a newline added on a terminal only.
 *
 * Order: none that matters.
 *
 * See: tests/cli/test_cli.sh. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "commands.h"
#include "image.h"
#include "report.h"
#include "text_jsonl.h"

struct get_options {
  struct options common;
  const char *key;
  uint64_t offset, length;
};

static const struct options_verb verb = {
    .arguments = "IMAGE KEY",
    .doc = "Prints the value of KEY as it is. Exit code 1 when the key is not there. With "
           "--json one object {\"key\":…,\"value\":…}. Of a large value only what is wanted is read, and "
           "nothing of it kept in memory. Reads only.",
    .shared = OPTIONS_READ | OPTIONS_ENCODING,
    .rows = {{"offset", 0, "BYTES", OPTIONS_SIZE, offsetof(struct get_options, offset), 0, 0, "Begin at this byte"},
             {"length", 0, "BYTES", OPTIONS_SIZE, offsetof(struct get_options, length), 0, 0, "At most so many bytes"}},
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

/* All of the part at once: JSON has it as one string. */
static int get_whole(const struct image *image, const struct get_options *get, struct wodan_slice key, uint64_t size) {
  struct wodan_part part = {.offset = get->offset, .capacity = (size_t)size};
  part.buffer = malloc(size ? (size_t)size : 1);
  if (!part.buffer) return report_errno(image->options->json, "memory", ENOMEM);
  int exit_code = image_fail(image, wodan_get_part(image->db, NULL, key, &part));
  if (exit_code == EXIT_CODE_OK)
    exit_code = print_value(image->options, key, (struct wodan_slice){.data = part.buffer, .size = part.size});
  free(part.buffer);
  return exit_code;
}

/* Piece by piece to standard output. */
static int get_stream(const struct image *image, struct wodan_value_reader *reader, uint64_t left) {
  enum { PIECE = 256 * 1024 };
  struct buffer piece = {0};
  int exit_code = buffer_reserve(&piece, PIECE) ? EXIT_CODE_OK : report_errno(image->options->json, "memory", ENOMEM);
  while (exit_code == EXIT_CODE_OK && left > 0) {
    size_t size = 0;
    int status = wodan_value_reader_read(reader, piece.data, left < PIECE ? (size_t)left : PIECE, &size);
    if (status < 0) exit_code = image_fail(image, status);
    if (status < 0 || size == 0) break;
    piece.size = size;
    if (!report_bytes(image->options->json, &piece)) exit_code = EXIT_CODE_IO;
    left -= size;
  }
  buffer_release(&piece);
  return exit_code;
}

static int get_key(const struct image *image, const struct get_options *get, struct wodan_slice key) {
  struct wodan_value_reader *reader;
  uint64_t size = 0;
  int status = wodan_value_reader_open(image->db, NULL, key, &reader, &size);
  if (status < 0) return image_fail(image, status);
  uint64_t left = size > get->offset ? size - get->offset : 0;
  if (get->length && get->length < left) left = get->length;
  wodan_value_reader_seek(reader, get->offset);
  bool whole = image->options->json || isatty(STDOUT_FILENO) == 1;
  int exit_code = whole ? get_whole(image, get, key, left) : get_stream(image, reader, left);
  wodan_value_reader_close(reader);
  return exit_code;
}

int cmd_get(int argc, char **argv) {
  struct get_options get = {0};
  options_parse(&verb, argc, argv, &get);
  struct buffer key = {0};
  struct image image = {0};
  int exit_code = options_decode(&get.common, "KEY", get.key, &key);
  if (exit_code == EXIT_CODE_OK) exit_code = image_open(&image, &get.common, false);
  if (exit_code == EXIT_CODE_OK) exit_code = get_key(&image, &get, buffer_slice(&key));
  exit_code = image_close(&image, exit_code);
  buffer_release(&key);
  return exit_code;
}
