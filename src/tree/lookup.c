/* Owns: the point lookup: from the root down, at each level the buffered runs newest first, then the leaf.
 * Always true: a run the entry on the way has absorbed is not asked; where the key is not in a run but in a range that the run
 * has deleted, the lookup ends; the filter lines of the whole path are prefetched
 * before the first is probed, so their cache misses overlap. See: DESIGN.md "Reading", tests/unit/test_tree.c. */
#include <assert.h>

#include "tree/node.h"

/* Runs on the way of one lookup. A level has at most RUNS_MAX runs but for damage; those beyond are not prefetched. */
enum { PREFETCH_MAX = 64, LEVELS_HELD = 8 }; /* deeper than that a level is searched when it is reached */

/* How many of the node's runs the entry has not absorbed. */
static uint32_t unabsorbed(const struct node *node, const struct node_entry *entry) {
  uint32_t count = node->run_count;
  while (entry && count && run_generation(node->runs[count - 1]) <= entry->flushed_upto) count--;
  return count;
}

/* Where a lookup passes: an entry of a node (NULL: the node has none), and how many of its runs that has not absorbed. */
struct step {
  const struct node_entry *entry;
  uint32_t count;
};

static struct step step_at(const struct node *node, struct wodan_slice key) {
  struct step step = {.entry = node->entry_count ? &node->entries[node_find(node, key)] : NULL};
  step.count = unabsorbed(node, step.entry);
  return step;
}

/* Asks for what the way down will touch first; fills in its steps, at most LEVELS_HELD. */
static void prefetch(const struct node *node, struct wodan_slice key, uint64_t hash, struct step steps[LEVELS_HELD]) {
  unsigned left = PREFETCH_MAX;
  for (unsigned level = 0; level < LEVELS_HELD; level++) {
    struct step *step = &steps[level];
    *step = step_at(node, key);
    for (uint32_t i = 0; i < step->count && left; i++, left--) run_prefetch(node->runs[i], hash);
    if (!step->entry) return;
    if (node->level == 0) {
      run_prefetch(step->entry->leaf, hash);
      return;
    }
    node = step->entry->child;
  }
}

/* A lookup on its way down: what it asks next is run `at` of its level, or behind those the leaf. */
struct way {
  struct wodan_slice key;
  uint64_t hash;
  struct step steps[LEVELS_HELD];
  const struct node *node; /* of the level it is at */
  unsigned level;
  uint32_t at;
  struct run_aim aim;
};

static void way_begin(struct way *way, const struct node *node, struct wodan_slice key) {
  way->key = key;
  way->hash = run_key_hash(node->env, key);
  way->node = node;
  way->level = 0;
  way->at = 0;
  prefetch(node, key, way->hash, way->steps);
}

/* The run just asked, the one before `at`, does not have the key: whether that is the end of it. */
static bool deleted_here(const struct way *way) {
  const struct node *node = way->node;
  return node->ranged && way->at <= node->run_count && ranges_cover(run_ranges(node->runs[way->at - 1]), way->key);
}

/* To the next place where the key may be: 0 and way->aim; WODAN_ENOTFOUND behind the last. */
static int way_aim(struct way *way, struct wodan_error *error) {
  for (;; way->level++, way->at = 0) {
    struct step step = way->level < LEVELS_HELD ? way->steps[way->level] : step_at(way->node, way->key);
    while (way->at < step.count) {
      int status = run_aim(way->node->runs[way->at++], way->key, way->hash, &way->aim, error);
      if (status != WODAN_ENOTFOUND || deleted_here(way)) return status;
    }
    if (!step.entry) return WODAN_ENOTFOUND;
    if (way->node->level == 0) {
      if (way->at++ > step.count) return WODAN_ENOTFOUND;
      return run_aim(step.entry->leaf, way->key, way->hash, &way->aim, error);
    }
    way->node = step.entry->child;
  }
}

int node_get(struct node *node, struct wodan_slice key, struct record *record, struct frame **pin,
             struct wodan_error *error) {
  struct way way;
  way_begin(&way, node, key);
  for (;;) {
    int status = way_aim(&way, error);
    if (status == 0) status = run_aim_page(&way.aim, error);
    if (status) return status;
    status = run_aim_take(&way.aim, key, record, pin);
    if (status != WODAN_ENOTFOUND || deleted_here(&way)) return status;
  }
}

/* One place further, all of them step by step; those that have an answer leave. Returns how many are left. */
static size_t go_on(struct way *ways, struct node_lookup *const *lookups, bool *left, size_t count,
                    struct wodan_error *error) {
  size_t open = 0;
  for (size_t i = 0; i < count; i++) {
    if (!left[i]) continue;
    lookups[i]->status = way_aim(&ways[i], error);
    left[i] = lookups[i]->status == 0;
  }
  for (size_t i = 0; i < count; i++)
    if (left[i]) run_aim_prefetch(&ways[i].aim);
  for (size_t i = 0; i < count; i++) {
    if (!left[i]) continue;
    lookups[i]->status = run_aim_page(&ways[i].aim, error);
    left[i] = lookups[i]->status == 0;
  }
  for (size_t i = 0; i < count; i++)
    if (left[i]) run_aim_prefetch_record(&ways[i].aim, ways[i].key);
  for (size_t i = 0; i < count; i++) {
    if (!left[i]) continue;
    struct node_lookup *lookup = lookups[i];
    lookup->status = run_aim_take(&ways[i].aim, lookup->key, &lookup->record, &lookup->pin);
    left[i] = lookup->status == WODAN_ENOTFOUND && !deleted_here(&ways[i]);
    open += left[i];
  }
  return open;
}

void node_get_many(struct node *node, struct node_lookup *const *lookups, size_t count, struct wodan_error *error) {
  struct way ways[NODE_MANY];
  bool left[NODE_MANY];
  assert(count <= NODE_MANY);
  for (size_t i = 0; i < count; i++) {
    way_begin(&ways[i], node, lookups[i]->key);
    left[i] = true;
  }
  while (go_on(ways, lookups, left, count, error) > 0) {
  }
  for (size_t i = 0; i < count; i++) { /* together they may hold more than there is room for */
    struct node_lookup *lookup = lookups[i];
    if (lookup->status == WODAN_ENOMEM)
      lookup->status = node_get(node, lookup->key, &lookup->record, &lookup->pin, error);
  }
}
