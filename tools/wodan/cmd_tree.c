/* What: `wodan tree`: the skeleton of the tree, a line a node.
 *
 * Always true: reads nodes only, never a leaf or a run; nodes that cannot be read are shown where they should be.
 *
 * Order: parents first, by rising keys.
 *
 * See: include/wodan/inspect.h; tests/cli/test_inspect.sh. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "look.h"
#include "report.h"

struct tree_options {
  struct options common;
  uint64_t depth; /* levels shown */
  bool runs, leaves, previous;
};

static const struct options_verb verb = {
    .arguments = "IMAGE",
    .doc =
        "Shows the nodes of the tree: level, first block, generation, leaves or children, buffered runs with their "
        "records and bytes, the large values of its runs and leaves, how full the node is (of the entries at which it "
        "splits), and its range of keys. Reads only, damaged images too.",
    .shared = OPTIONS_LOOK,
    .rows = {{"depth", 'd', "N", OPTIONS_COUNT, offsetof(struct tree_options, depth), 1, 0,
              "Only the first N levels from the root down"},
             {"runs", 0, NULL, OPTIONS_FLAG, offsetof(struct tree_options, runs), 0, 0,
              "Show the buffered runs of each node too"},
             {"leaves", 0, NULL, OPTIONS_FLAG, offsetof(struct tree_options, leaves), 0, 0, "Show the leaves too"},
             {"previous", 0, NULL, OPTIONS_FLAG, offsetof(struct tree_options, previous), 0, 0,
              "The tree of the root before the newest"}},
    .operands = {OPTIONS_IMAGE},
};

struct showing {
  const struct tree_options *options;
  const struct wodan_summary *summary;
  struct json nodes, runs, leaves; /* with --json */
  uint64_t count;
};

static void range_text(char text[200], const struct wodan_object *object) {
  char lower[80], upper[80];
  snprintf(text, 200, "%s .. %s", object->has_lower ? look_bytes(lower, sizeof lower, object->lower) : "first",
           object->has_upper ? look_bytes(upper, sizeof upper, object->upper) : "last");
}

static uint64_t entries_max(const struct showing *showing, const struct wodan_object *node) {
  return node->level ? showing->summary->node_children : showing->summary->node_leaves;
}

static void print_node(const struct showing *showing, const struct wodan_object *node) {
  char place[24], entries[32], fill[16], size[24], range[200];
  snprintf(place, sizeof place, "%*s%u", (int)node->depth * 2, "", node->level);
  range_text(range, node);
  if (node->damage != NULL) {
    printf("%-10s %12" PRIu64 " %11" PRIu64 "  DAMAGED: %s  %s\n", place, node->block, node->generation, node->damage,
           range);
    return;
  }
  const char *what = node->level ? node->entries == 1 ? "child" : "children" : node->entries == 1 ? "leaf" : "leaves";
  snprintf(entries, sizeof entries, "%u %s", node->entries, what);
  report_size_text(size, node->run_bytes);
  printf("%-10s %12" PRIu64 " %11" PRIu64 "  %-14s %5s  %4u %10" PRIu64 " %10s %7" PRIu64 "  %s\n", place, node->block,
         node->generation, entries, look_percent(fill, node->entries, entries_max(showing, node)), node->runs,
         node->records, size, node->large, range);
}

/* Nothing when there are none. */
static void print_count(const char **comma, uint64_t count, const char *one, const char *many) {
  if (count == 0) return;
  printf("%s%" PRIu64 " %s", *comma, count, count == 1 ? one : many);
  *comma = ", ";
}

static void print_part(const struct wodan_object *object) {
  char place[24], size[24], range[200];
  bool run = object->kind == WODAN_OBJECT_RUN;
  snprintf(place, sizeof place, "%*s%s", (int)object->depth * 2 + 2, "", run ? "run" : "leaf");
  report_size_text(size, object->length);
  printf("%-10s %12" PRIu64 " %11" PRIu64 "  %-20s ", place, object->block, object->generation, size);
  if (run) {
    const char *comma = "";
    print_count(&comma, object->records - object->deletes - object->large, "put", "puts");
    print_count(&comma, object->large, "large value", "large values");
    print_count(&comma, object->deletes, "delete", "deletes");
    print_count(&comma, object->ranges, "range delete", "range deletes");
  } else {
    const char *comma = "  ";
    range_text(range, object);
    printf("flushed up to %" PRIu64 "  %s", object->flushed_upto, range);
    print_count(&comma, object->large, "large value", "large values");
  }
  printf("\n");
}

static void describe(const struct showing *showing, struct json *json, const struct wodan_object *object) {
  json_open(json, NULL, '{');
  json_number(json, "level", object->level);
  json_number(json, "depth", object->depth);
  json_number(json, "block", object->block);
  json_number(json, "blocks", object->blocks);
  json_number(json, "length", object->length);
  json_number(json, "generation", object->generation);
  if (object->has_lower) json_bytes(json, "lower", object->lower);
  if (object->has_upper) json_bytes(json, "upper", object->upper);
  json_number(json, "large", object->large);
  if (object->kind != WODAN_OBJECT_LEAF) {
    json_number(json, "records", object->records);
    json_number(json, "deletes", object->deletes);
    json_number(json, "range_deletes", object->ranges);
  } else {
    json_number(json, "flushed_upto", object->flushed_upto);
  }
  if (object->kind == WODAN_OBJECT_NODE) {
    json_number(json, "entries", object->entries);
    json_number(json, "entries_max", entries_max(showing, object));
    json_number(json, "runs", object->runs);
    json_number(json, "run_bytes", object->run_bytes);
    json_number(json, "leaf_bytes", object->leaf_bytes);
    json_text(json, "damage", object->damage);
  }
  json_close(json, '}');
}

static int on_object(void *context, const struct wodan_object *object) {
  struct showing *showing = context;
  const struct tree_options *options = showing->options;
  if (object->depth >= options->depth) return 0;
  if (object->kind == WODAN_OBJECT_RUN && !options->runs) return 0;
  if (object->kind == WODAN_OBJECT_LEAF && !options->leaves) return 0;
  showing->count++;
  if (options->common.json) {
    struct json *list = object->kind == WODAN_OBJECT_NODE  ? &showing->nodes
                        : object->kind == WODAN_OBJECT_RUN ? &showing->runs
                                                           : &showing->leaves;
    describe(showing, list, object);
  } else if (object->kind == WODAN_OBJECT_NODE) {
    print_node(showing, object);
  } else {
    print_part(object);
  }
  return 0;
}

static void add_list(struct json *json, const char *name, struct json *list) {
  json_close(list, ']');
  json_append(json, name, list);
}

/* The members of the answer that the walk did not say. */
static void put_together(struct json *json, struct showing *showing, const struct wodan_root *root) {
  json_open(json, NULL, '{');
  look_add_root(json, "root", root);
  add_list(json, "nodes", &showing->nodes);
  if (showing->options->runs) add_list(json, "runs", &showing->runs);
  if (showing->options->leaves) add_list(json, "leaves", &showing->leaves);
}

static int walk_tree(struct look *look, struct showing *showing) {
  const struct tree_options *options = showing->options;
  const struct wodan_root *root = options->previous ? &look->summary.older : &look->summary.newest;
  struct json json = {0}, *shown = options->common.json ? &json : NULL;
  struct wodan_error error;
  if (shown == NULL && root->tree_generation)
    printf("Tree of generation %" PRIu64 "\n\n%-10s %12s %11s  %-14s %5s  %4s %10s %10s %7s  %s\n", root->generation,
           "level", "block", "generation", "entries", "full", "runs", "records", "bytes", "large", "keys");
  int status = wodan_inspect_tree(look->inspect, options->previous ? WODAN_OLDER_ROOT : WODAN_NEWEST_ROOT, on_object,
                                  showing, &error);
  if (status < 0) return look_fail(look, status, &error);
  if (shown != NULL) put_together(shown, showing, root);
  if (shown == NULL && root->generation == 0) printf("There is no such root.\n");
  if (shown == NULL && root->generation && !root->tree_generation) printf("The tree is empty.\n");
  return look_end(look, shown, root->generation ? EXIT_CODE_OK : EXIT_CODE_NEGATIVE);
}

static int show_tree(struct look *look, const struct tree_options *options) {
  struct showing showing = {.options = options, .summary = &look->summary};
  if (options->common.json) {
    json_open(&showing.nodes, NULL, '[');
    json_open(&showing.runs, NULL, '[');
    json_open(&showing.leaves, NULL, '[');
  }
  int exit_code = walk_tree(look, &showing);
  json_release(&showing.nodes);
  json_release(&showing.runs);
  json_release(&showing.leaves);
  return exit_code;
}

int cmd_tree(int argc, char **argv) {
  struct tree_options options = {.depth = UINT64_MAX};
  options_parse(&verb, argc, argv, &options);
  struct look look;
  int exit_code = look_open(&look, &options.common);
  if (exit_code == EXIT_CODE_OK) exit_code = show_tree(&look, &options);
  look_close(&look);
  return exit_code;
}
