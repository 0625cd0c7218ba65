/* What: `wodan stat`: space, memory and the counters since this open; space by class, fill by level and runs by node as the
 * image has them.
 *
 * Always true: reads only; every field of struct wodan_stats appears under its own name; an image that cannot be opened
 * shows what the image itself tells.
 *
 * Order: looked at first, opened second.
 *
 * See: include/wodan/stats.h; tests/cli/test_cli.sh. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "delays.h"
#include "image.h"
#include "map_data.h"
#include "report.h"

static const struct options_verb verb = {
    .arguments = "IMAGE",
    .doc = "Tells space, memory and the counters since this open (which tell what opening "
           "the image costs), space by class, how full each level of the tree is and how "
           "many buffered runs its nodes have. Sizes are in bytes. Reads only, damaged "
           "images too.",
    .shared = OPTIONS_READ,
    .operands = {OPTIONS_IMAGE},
};

/* For people only what is not 0. */
static void add_stats(struct json *json, const struct wodan_stats *stats) {
#define STAT_ADD(name)                                                                                                 \
  if (!json->lines || stats->name) json_number(json, #name, stats->name);
  WODAN_STATS_COUNTERS(STAT_ADD)
#undef STAT_ADD
  json_real(json, "alpha", stats->alpha);
  json_real(json, "write_amplification", stats->write_amplification);
  json_real(json, "read_amplification", stats->read_amplification);
  if (!json->lines && delays_commits(stats) > 0) delays_add(json, "put_delays", stats);
}

/* ---- what the image itself tells -------------------------------------------------------------------------------- */

/* Classes of space, by the map's kinds. */
struct space_class {
  const char *name, *member;
  uint64_t blocks;
};
enum { SPACE_CLASSES = 8 };

static void classes_of(const struct map_data *data, struct space_class out[SPACE_CLASSES]) {
  const uint64_t *b = data->blocks;
  const struct space_class classes[SPACE_CLASSES] = {
      {"live: leaves", "live_leaves", b[WODAN_MAP_LEAF]},
      {"live: buffered runs", "live_runs", b[WODAN_MAP_RUN]},
      {"live: large values", "live_large", b[WODAN_MAP_LARGE]},
      {"live: nodes", "live_nodes", b[WODAN_MAP_NODE]},
      {"reserved: superblocks", "reserved_superblocks", b[WODAN_MAP_SUPERBLOCK]},
      {"reserved: journal", "reserved_journal", b[WODAN_MAP_RING] + b[WODAN_MAP_RING_LIVE]},
      {"deferred: previous root", "deferred", b[WODAN_MAP_PREVIOUS]},
      {"free", "free", b[WODAN_MAP_FREE]},
  };
  memcpy(out, classes, sizeof classes);
}

static void add_space(struct json *json, const struct map_data *data) {
  struct space_class classes[SPACE_CLASSES];
  json_open(json, "space", '{');
  classes_of(data, classes);
  for (unsigned i = 0; i < SPACE_CLASSES; i++)
    json_number(json, classes[i].member, classes[i].blocks * data->summary->block_size);
  json_close(json, '}');
}

static void print_space(const struct map_data *data) {
  struct space_class classes[SPACE_CLASSES];
  classes_of(data, classes);
  printf("%-24s %14s %12s %7s\n", "space", "blocks", "size", "share");
  for (unsigned i = 0; i < SPACE_CLASSES; i++) {
    char number[32], size[24], share[16];
    report_size_text(size, classes[i].blocks * data->summary->block_size);
    printf("%-24s %14s %12s %7s\n", classes[i].name, look_number(number, classes[i].blocks), size,
           look_percent(share, classes[i].blocks, data->summary->blocks));
  }
}

/* ---- the command ------------------------------------------------------------------------------------------------ */

/* What an open costs and finds; a status. */
static int open_stats(const struct options *options, struct wodan_stats *stats, struct wodan_error *error) {
  struct wodan_open_options open = {
      .size = sizeof open, .flags = WODAN_OPEN_READ_ONLY, .memory_budget = options->cache};
  struct wodan_db *db = NULL;
  if (options->older_root) open.flags |= WODAN_OPEN_OLDER_ROOT;
  if (options->direct) open.flags |= WODAN_OPEN_DIRECT;
  int status = wodan_open_path(options->image, &open, &db, error);
  error->code = status;
  if (status < 0) return status;
  *stats = (struct wodan_stats){.size = sizeof *stats};
  wodan_stats(db, stats);
  return wodan_close(db, error);
}

static int show_stats(struct look *look, const struct map_data *data) {
  struct wodan_stats stats;
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  struct json json = {.lines = !look->options->json}, *shown = json.lines ? NULL : &json;
  int status = open_stats(look->options, &stats, &error);
  json_open(&json, NULL, '{');
  if (status == 0) add_stats(&json, &stats);
  if (shown != NULL) {
    add_space(shown, data);
    levels_add(shown, "fill", &data->levels);
    if (status < 0) report_add_error(shown, &error);
  } else {
    print_space(data);
    levels_print(&data->levels);
    if (status == 0) printf("\ncounters since this open, but those that are 0\n");
    if (!report_json(&json)) return EXIT_CODE_IO;
    if (status == 0) delays_print(stdout, &stats);
  }
  if (status == 0) return look_end(look, shown, EXIT_CODE_OK);
  if (!look_show(look, shown)) return EXIT_CODE_IO;
  return report_error(false, look->options->image, &error);
}

int cmd_stat(int argc, char **argv) {
  struct options options = {0};
  options_parse(&verb, argc, argv, &options);
  struct look look;
  struct map_data data = {0};
  int exit_code = look_open(&look, &options);
  if (exit_code == EXIT_CODE_OK) exit_code = map_data_gather(&look, 1, &data);
  if (exit_code == EXIT_CODE_OK) exit_code = show_stats(&look, &data);
  map_data_release(&data);
  look_close(&look);
  return exit_code;
}
