/* What: `wodan map`: all blocks as a picture.
 *
 * Always true: what is written goes to a file of its own, never to the image; with nothing asked for it goes to the terminal.
 *
 * Order: the picture is written when everything was read.
 *
 * See: map_svg.c, map_terminal.c; tests/cli/test_inspect.sh. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "commands.h"
#include "map_data.h"
#include "report.h"

enum { WIDTH_LEAST = 20, WIDTH_MOST = 1000, ROWS_DEFAULT = 24, CELLS_MOST = 1 << 20 };

struct map_options {
  struct options common;
  const char *out;
  bool ansi, letters;
  uint64_t width, cells;
};

static void check(const struct argp_state *state, void *options) {
  const struct map_options *map = options;
  if (map->out != NULL && (map->ansi || map->letters || map->common.json))
    argp_error(state, "OUT.svg excludes --ansi, --letters and --json");
}

static const struct options_verb verb = {
    .arguments = "IMAGE [OUT.svg]",
    .doc =
        "Draws a map: a cell for each block, or group of blocks, coloured by kind (superblock, journal, node, buffered "
        "run, leaf, what only the previous root has, free) and shaded by age (generation), with a legend and how full "
        "each level is. OUT.svg '-' is standard output. Reads the image only, damaged ones too.",
    .shared = OPTIONS_LOOK,
    .rows = {{"ansi", 0, NULL, OPTIONS_FLAG, offsetof(struct map_options, ansi), 0, 0,
              "Colours for a terminal, two cells a character (the default without OUT.svg)"},
             {"letters", 0, NULL, OPTIONS_FLAG, offsetof(struct map_options, letters), 0, 0,
              "Letters for a terminal without colours or a log"},
             {"width", 0, "N", OPTIONS_COUNT, offsetof(struct map_options, width), WIDTH_LEAST, WIDTH_MOST,
              "Columns of --ansi and --letters (default: the terminal's, or 80)"},
             {"cells", 0, "N", OPTIONS_COUNT, offsetof(struct map_options, cells), 1, CELLS_MOST,
              "With --json: at most N cells (default 4096)"}},
    .operands = {OPTIONS_IMAGE, {"picture", OPTIONS_TEXT, offsetof(struct map_options, out), true}},
    .check = check,
};

static void describe(struct json *json, const struct map_data *data) {
  json_open(json, NULL, '{');
  json_number(json, "blocks", data->summary->blocks);
  json_number(json, "block_size", data->summary->block_size);
  json_number(json, "blocks_per_cell", data->per_cell);
  json_open(json, "kinds", '{');
  for (unsigned kind = 0; kind < WODAN_MAP_KINDS; kind++) json_number(json, map_kinds[kind].member, data->blocks[kind]);
  json_close(json, '}');
  json_number(json, "oldest", data->oldest);
  json_number(json, "newest", data->newest);
  json_open(json, "cells", '[');
  for (size_t i = 0; i < data->count; i++) {
    const struct wodan_map_cell *cell = &data->cells[i];
    json_open(json, NULL, '{');
    for (unsigned kind = 0; kind < WODAN_MAP_KINDS; kind++) {
      if (cell->blocks[kind] > 0) json_number(json, map_kinds[kind].member, cell->blocks[kind]);
    }
    if (cell->newest) json_number(json, "oldest", cell->oldest);
    if (cell->newest) json_number(json, "newest", cell->newest);
    json_close(json, '}');
  }
  json_close(json, ']');
  levels_add(json, "fill", &data->levels);
}

static int write_svg(const struct map_options *options, const struct map_data *data) {
  if (strcmp(options->out, "-") == 0) {
    map_svg(stdout, data);
    return EXIT_CODE_OK;
  }
  if (look_is_image(&options->common, options->out))
    return report_failure(false, options->out, WODAN_EINVAL, EXIT_CODE_USAGE, "that is the image itself");
  FILE *file = fopen(options->out, "w");
  if (file == NULL) return report_errno(false, options->out, errno);
  map_svg(file, data);
  bool failed = ferror(file) != 0;
  if (fclose(file) != 0 || failed) return report_errno(false, options->out, errno ? errno : EIO);
  return EXIT_CODE_OK;
}

static struct map_terminal terminal(const struct map_options *options) {
  struct winsize size = {0};
  const char *depth = getenv("COLORTERM");
  bool full = depth != NULL && (strcmp(depth, "truecolor") == 0 || strcmp(depth, "24bit") == 0);
  unsigned width = 80;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= WIDTH_LEAST) width = size.ws_col;
  if (options->width) width = (unsigned)options->width;
  return (struct map_terminal){.width = width, .colours = options->letters ? 0 : full ? 1u << 24 : 256};
}

static int show_map(struct look *look, const struct map_options *options) {
  struct map_terminal how = terminal(options);
  size_t rows = how.colours ? 2 * ROWS_DEFAULT : ROWS_DEFAULT, most = how.width * rows;
  struct json json = {0}, *shown = options->common.json ? &json : NULL;
  struct map_data data;
  if (options->out != NULL || options->common.json) most = MAP_SVG_CELLS;
  if (options->common.json && options->cells) most = (size_t)options->cells;
  int exit_code = map_data_gather(look, most, &data);
  if (exit_code == EXIT_CODE_OK) {
    if (shown != NULL)
      describe(shown, &data);
    else if (options->out != NULL)
      exit_code = write_svg(options, &data);
    else
      map_terminal(stdout, &data, &how);
    bool quiet = options->out != NULL && strcmp(options->out, "-") == 0; /* the picture is all of it */
    if (quiet && look->damages > 0)
      exit_code =
          report_failure(false, look->options->image, WODAN_ECORRUPT, EXIT_CODE_DAMAGED, "the image is damaged");
    else
      exit_code = look_end(look, shown, exit_code);
  }
  map_data_release(&data);
  return exit_code;
}

int cmd_map(int argc, char **argv) {
  struct map_options options = {0};
  options_parse(&verb, argc, argv, &options);
  struct look look;
  int exit_code = look_open(&look, &options.common);
  if (exit_code == EXIT_CODE_OK) exit_code = show_map(&look, &options);
  look_close(&look);
  return exit_code;
}
