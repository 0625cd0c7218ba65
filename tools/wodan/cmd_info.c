/* What: `wodan info`: what was fixed at format, and the state found at open.
 *
 * Always true: reads only.
 *
 * Order: none that matters.
 *
 * See: include/wodan/stats.h; tests/cli/test_cli.sh. */
#include <json-c/json.h>
#include <stdio.h>

#include "commands.h"
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
                                 .doc = "Tells what the image is: geometry, limits and the newest root. Reads only.",
                                 .children = children};

static void add_number(struct json_object *object, const char *name, uint64_t value) {
  json_object_object_add(object, name, json_object_new_uint64(value));
}

static struct json_object *describe(const struct wodan_info *info, bool json) {
  static const char *const orderings[] = {"none", "by flush", "native"};
  struct json_object *object = json_object_new_object();
  char fsid[2 * sizeof info->fsid + 1];
  for (size_t i = 0; i < sizeof info->fsid; i++) snprintf(fsid + 2 * i, 3, "%02x", info->fsid[i]);
  json_object_object_add(object, "fsid", json_object_new_string(fsid));
  add_number(object, "format_version", info->format_version);
  if (!json) {
    char text[24];
    report_size_text(text, info->device_size);
    json_object_object_add(object, "size", json_object_new_string(text));
  }
  add_number(object, "device_size", info->device_size);
  add_number(object, "blocks", info->blocks);
  add_number(object, "block_size", info->block_size);
  add_number(object, "sector", info->sector);
  add_number(object, "page_size", info->page_size);
  add_number(object, "leaf_size", info->leaf_size);
  add_number(object, "node_leaves", info->node_leaves);
  add_number(object, "node_children", info->node_children);
  add_number(object, "memtable_size", info->memtable_size);
  add_number(object, "journal_size", info->journal_size);
  add_number(object, "journal_block_size", info->journal_block_size);
  const char *ordering = info->ordering < 3 ? orderings[info->ordering] : "unknown";
  json_object_object_add(object, "ordering", json_object_new_string(ordering));
  json_object_object_add(object, "durable", json_object_new_boolean(info->durable != 0));
  add_number(object, "key_size_max", info->key_size_max);
  add_number(object, "value_size_max", info->value_size_max);
  add_number(object, "batch_size_max", info->batch_size_max);
  add_number(object, "epoch", info->epoch);
  add_number(object, "generation", info->generation);
  add_number(object, "previous_generation", info->previous_generation);
  add_number(object, "sequence", info->sequence);
  add_number(object, "replayed_operations", info->replayed_operations);
  add_number(object, "dropped_generations", info->dropped_generations);
  add_number(object, "memory_needed", info->memory_needed);
  return object;
}

int cmd_info(int argc, char **argv) {
  struct options options = {0};
  argp_parse(&argp, argc, argv, 0, NULL, &options);
  struct image image;
  int exit_code = image_open(&image, &options, false);
  if (exit_code != EXIT_CODE_OK) return exit_code;
  struct wodan_info info = {.size = sizeof info};
  exit_code = image_fail(&image, wodan_info(image.db, &info));
  if (exit_code == EXIT_CODE_OK) report_object(options.json, describe(&info, options.json));
  return image_close(&image, exit_code);
}
