/* Owns: the point lookup: from the root down, at each level the buffered runs newest first, then the leaf.
 * Always true: a run the entry on the way has absorbed is not asked; the filter lines of the whole path are prefetched
 * before the first is probed, so their cache misses overlap. See: DESIGN.md "Reading", tests/unit/test_tree.c. */
#include "tree/node.h"

/* Runs on the way of one lookup. A level has at most RUNS_MAX runs but for damage; those beyond are not prefetched. */
enum { PREFETCH_MAX = 64 };

/* How many of the node's runs the entry has not absorbed. */
static uint32_t unabsorbed(const struct node *node, const struct node_entry *entry) {
  uint32_t count = node->run_count;
  while (entry && count && run_generation(node->runs[count - 1]) <= entry->flushed_upto) count--;
  return count;
}

static void prefetch(const struct node *node, struct wodan_slice key, uint64_t hash) {
  unsigned left = PREFETCH_MAX;
  while (node) {
    const struct node_entry *entry = node->entry_count ? &node->entries[node_find(node, key)] : NULL;
    uint32_t count = unabsorbed(node, entry);
    for (uint32_t i = 0; i < count && left; i++, left--) run_prefetch(node->runs[i], hash);
    node = node->level && entry ? entry->child : NULL;
  }
}

int node_get(struct node *node, struct wodan_slice key, struct record *record, struct frame **pin,
             struct wodan_error *error) {
  uint64_t hash = run_key_hash(node->env, key);
  prefetch(node, key, hash);
  for (;;) {
    const struct node_entry *entry = node->entry_count ? &node->entries[node_find(node, key)] : NULL;
    uint32_t count = unabsorbed(node, entry);
    for (uint32_t i = 0; i < count; i++) {
      int status = run_get(node->runs[i], key, hash, record, pin, error);
      if (status != WODAN_ENOTFOUND) return status;
    }
    if (!entry) return WODAN_ENOTFOUND;
    if (node->level == 0) return run_get(entry->leaf, key, hash, record, pin, error);
    node = entry->child;
  }
}
