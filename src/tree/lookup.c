/* Owns: the point lookup in a node: buffered runs newest first, then the leaf.
 * Always true: a run the leaf has absorbed is not asked; the filter lines of all runs are prefetched before the first is
 * probed, so their cache misses overlap. See: DESIGN.md "Reading", tests/unit/test_tree.c. */
#include "tree/node.h"

int node_get(struct node *node, struct wodan_slice key, struct record *record, struct frame **pin,
             struct wodan_error *error) {
  uint64_t hash = run_key_hash(node->env, key);
  struct leaf *leaf = NULL;
  uint64_t absorbed = 0;
  if (node->leaf_count) {
    const struct node_leaf *at = &node->leaves[node_find_leaf(node, key)];
    leaf = at->leaf;
    absorbed = at->flushed_upto;
  }
  uint32_t count = node->run_count;
  while (count && run_generation(node->runs[count - 1]) <= absorbed) count--;
  for (uint32_t i = 0; i < count; i++) run_prefetch(node->runs[i], hash);
  for (uint32_t i = 0; i < count; i++) {
    int status = run_get(node->runs[i], key, hash, record, pin, error);
    if (status != WODAN_ENOTFOUND) return status;
  }
  return leaf ? run_get(leaf->run, key, hash, record, pin, error) : WODAN_ENOTFOUND;
}
