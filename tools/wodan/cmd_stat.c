/* What: `wodan stat`: space, memory and the counters since this open.
 *
 * Always true: reads only; every field of struct wodan_stats appears under its own name.
 *
 * Order: none that matters.
 *
 * See: include/wodan/stats.h; tests/cli/test_cli.sh. */
#include <json-c/json.h>
#include <stdio.h>

#include "commands.h"
#include "delays.h"
#include "image.h"
#include "report.h"

static const struct argp_child children[] = {{&options_read_argp, 0, NULL, 0}, {0}};

static error_t parse(int key, char *argument, struct argp_state *state) {
  struct options *options = state->input;
  switch (key) {
  case ARGP_KEY_INIT:
    state->child_inputs[0] = options;
    return 0;
  case ARGP_KEY_ARG:
    if (state->arg_num > 0) argp_error(state, "one image is enough");
    options->image = argument;
    return 0;
  case ARGP_KEY_NO_ARGS:
    argp_error(state, "the image is missing");
    return 0;
  default:
    return ARGP_ERR_UNKNOWN;
  }
}

static const struct argp argp = {.parser = parse,
                                 .args_doc = "IMAGE",
                                 .doc = "Tells space, memory and the counters since this open (which tell what opening "
                                        "the image costs). Sizes are in bytes. Reads only.",
                                 .children = children};

/* clang-format off */
#define STAT_COUNTERS(X) \
  X(space_total) X(space_live) X(space_deferred) X(space_free) X(levels) X(nodes) X(leaves) X(runs) X(records_buffered) \
  X(maintenance_owed) X(maintenance_bytes) X(pinned_views) X(pinned_memory) X(pinned_space) X(oldest_view_sequence) \
  X(memory_budget) X(memory_used) X(memory_peak) \
  X(runs_loaded_bytes) X(run_evictions) X(cache_hits) X(cache_misses) X(cache_evictions) \
  X(gets) X(gets_found) X(puts) X(deletes) X(batches) X(syncs) X(checkpoints) X(cursor_moves) \
  X(user_bytes_written) X(user_bytes_read) \
  X(device_reads) X(device_read_bytes) X(device_writes) X(device_write_bytes) \
  X(device_barriers) X(device_flushes) X(device_discards) X(device_discard_bytes) \
  X(journal_write_bytes) X(run_write_bytes) X(leaf_write_bytes) X(node_write_bytes) \
  X(put_delay_max) X(put_work_max)
/* clang-format on */

static void add_ratio(struct json_object *object, const char *name, double value) {
  char text[32];
  snprintf(text, sizeof text, "%.3f", value);
  json_object_object_add(object, name, json_object_new_double_s(value, text));
}

static struct json_object *describe(const struct wodan_stats *stats, bool json) {
  struct json_object *object = json_object_new_object();
#define STAT_ADD(name) json_object_object_add(object, #name, json_object_new_uint64(stats->name));
  STAT_COUNTERS(STAT_ADD)
#undef STAT_ADD
  add_ratio(object, "alpha", stats->alpha);
  add_ratio(object, "write_amplification", stats->write_amplification);
  add_ratio(object, "read_amplification", stats->read_amplification);
  if (json && delays_commits(stats) > 0) json_object_object_add(object, "put_delays", delays_describe(stats));
  return object;
}

int cmd_stat(int argc, char **argv) {
  struct options options = {0};
  argp_parse(&argp, argc, argv, 0, NULL, &options);
  struct image image;
  int exit_code = image_open(&image, &options, false);
  if (exit_code != EXIT_CODE_OK) return exit_code;
  struct wodan_stats stats = {.size = sizeof stats};
  exit_code = image_fail(&image, wodan_stats(image.db, &stats));
  if (exit_code == EXIT_CODE_OK) report_object(options.json, describe(&stats, options.json));
  if (exit_code == EXIT_CODE_OK && !options.json) delays_print(stdout, &stats);
  return image_close(&image, exit_code);
}
