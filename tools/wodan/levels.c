/* What: how full the nodes and leaves of a tree are.
 *
 * Always true: of a damaged node only that it is damaged is counted.
 *
 * Order: none that matters.
 *
 * See: include/wodan/inspect.h; tests/cli/test_inspect.sh. */
#include "levels.h"

#include <inttypes.h>
#include <stdio.h>

#include "report.h"

enum { INNER_MEMTABLES = 8 };

struct gathering {
  struct levels *levels;
  const struct wodan_summary *summary;
};

static void add_node(const struct gathering *g, const struct wodan_object *node) {
  struct level_fill *level = &g->levels->level[node->level];
  if (node->level + 1 > g->levels->count) g->levels->count = node->level + 1;
  if (node->damage != NULL) {
    level->damaged++;
    return;
  }
  level->entries_max = node->level ? g->summary->node_children : g->summary->node_leaves;
  if (level->nodes++ == 0 || node->entries < level->entries_least) level->entries_least = node->entries;
  if (node->entries > level->entries_most) level->entries_most = node->entries;
  level->entries += node->entries;
  level->runs += node->runs;
  if (node->runs > level->runs_most) level->runs_most = node->runs;
  level->run_bytes += node->run_bytes;
  level->records += node->records;
  level->deletes += node->deletes;
  level->buffer_room += node->level ? INNER_MEMTABLES * g->summary->memtable_size : node->leaf_bytes;
  level->by_runs[node->runs < RUN_COUNTS ? node->runs : RUN_COUNTS - 1]++;
}

static int on_object(void *context, const struct wodan_object *object) {
  const struct gathering *g = context;
  struct levels *levels = g->levels;
  if (object->level >= LEVELS_MAX) return 0;
  if (object->kind == WODAN_OBJECT_NODE) add_node(g, object);
  if (object->kind != WODAN_OBJECT_LEAF) return 0;
  uint64_t bin = levels->leaf_size ? object->length * LEAF_BINS / levels->leaf_size : 0;
  levels->leaves++;
  levels->leaf_bytes += object->length;
  levels->leaf_bins[bin < LEAF_BINS ? bin : LEAF_BINS - 1]++;
  return 0;
}

int levels_gather(struct look *look, struct levels *levels) {
  *levels = (struct levels){.leaf_size = look->summary.leaf_size};
  const struct gathering g = {levels, &look->summary};
  struct wodan_error error;
  int status = wodan_inspect_tree(look->inspect, WODAN_NEWEST_ROOT, on_object, (void *)(uintptr_t)&g, &error);
  return look_fail(look, status, &error);
}

static void add_list(struct json *json, const char *name, const uint64_t *numbers, unsigned count) {
  json_open(json, name, '[');
  for (unsigned i = 0; i < count; i++) json_number(json, NULL, numbers[i]);
  json_close(json, ']');
}

void levels_add(struct json *json, const char *name, const struct levels *levels) {
  json_open(json, name, '{');
  json_open(json, "levels", '[');
  for (uint32_t i = levels->count; i-- > 0;) {
    const struct level_fill *level = &levels->level[i];
    json_open(json, NULL, '{');
    json_number(json, "level", i);
    json_number(json, "nodes", level->nodes);
    json_number(json, "nodes_damaged", level->damaged);
    json_number(json, "entries", level->entries);
    json_number(json, "entries_least", level->entries_least);
    json_number(json, "entries_most", level->entries_most);
    json_number(json, "entries_max", level->entries_max);
    json_number(json, "runs", level->runs);
    json_number(json, "runs_most", level->runs_most);
    json_number(json, "run_bytes", level->run_bytes);
    json_number(json, "records", level->records);
    json_number(json, "deletes", level->deletes);
    add_list(json, "nodes_by_runs", level->by_runs, RUN_COUNTS);
    json_close(json, '}');
  }
  json_close(json, ']');
  json_number(json, "leaves", levels->leaves);
  json_number(json, "leaf_bytes", levels->leaf_bytes);
  json_number(json, "leaf_size", levels->leaf_size);
  add_list(json, "leaves_by_tenths", levels->leaf_bins, LEAF_BINS);
  json_close(json, '}');
}

static void print_runs(const struct levels *levels) {
  printf("\n%-8s nodes by their buffered runs\n", "level");
  for (uint32_t i = levels->count; i-- > 0;) {
    const struct level_fill *level = &levels->level[i];
    const char *comma = "";
    printf("%-8u", i);
    for (unsigned n = 0; n < RUN_COUNTS; n++) {
      if (level->by_runs[n] == 0) continue;
      printf("%s %" PRIu64 " with %u%s", comma, level->by_runs[n], n, n + 1 == RUN_COUNTS ? " or more" : "");
      comma = ",";
    }
    printf("\n");
  }
}

void levels_print(const struct levels *levels) {
  if (levels->count == 0) {
    printf("\nThe tree is empty.\n");
    return;
  }
  printf("\n%-8s %10s %12s %8s %16s %8s %12s %10s\n", "level", "nodes", "entries", "full", "of a node", "runs",
         "records", "buffered");
  for (uint32_t i = levels->count; i-- > 0;) {
    const struct level_fill *level = &levels->level[i];
    char fill[16], range[64], size[24];
    report_size_text(size, level->run_bytes);
    snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64 "/%" PRIu64, level->entries_least, level->entries_most,
             level->entries_max);
    printf("%-8u %10" PRIu64 " %12" PRIu64 " %8s %16s %8" PRIu64 " %12" PRIu64 " %10s", i, level->nodes, level->entries,
           look_percent(fill, level->entries, level->nodes * level->entries_max), range, level->runs, level->records,
           size);
    if (level->damaged) printf("  %" PRIu64 " damaged", level->damaged);
    printf("\n");
  }
  print_runs(levels);
  printf("\n%-24s", "leaves by fill");
  for (unsigned i = 0; i < LEAF_BINS; i++)
    printf(" %u%%: %" PRIu64 "%s", i * 10, levels->leaf_bins[i], i + 1 < LEAF_BINS ? "" : "\n");
}
