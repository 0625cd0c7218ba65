/* Owns: how full the tree of an open database is.
 *
 * Always true: everything is of one root and of the space at the moment it was the root; no device is touched.
 *
 * Order: root and space are taken under the write lock; the walk, over versions that no longer change, goes on without it.
 *
 * See: include/wodan/stats.h; tests/unit/test_stats_json.c. */
#include <assert.h>
#include <string.h>
#include "engine/engine.h"

static void add_node(const struct node *node, struct tree_fill *fill) {
  struct level_fill *level = &fill->level[node->level];
  if (level->nodes++ == 0 || node->entry_count < level->entries_least) level->entries_least = node->entry_count;
  if (node->entry_count > level->entries_most) level->entries_most = node->entry_count;
  level->entries += node->entry_count;
  level->runs += node->run_count;
  if (node->run_count > level->runs_most) level->runs_most = node->run_count;
  level->run_bytes += node->run_bytes;
  level->by_runs[node->run_count < FILL_RUNS ? node->run_count : FILL_RUNS - 1]++;
  for (uint32_t i = 0; i < node->run_count; i++) {
    level->records += run_records(node->runs[i]);
    level->deletes += run_deletes(node->runs[i]);
    fill->run_blocks += run_blocks(node->runs[i]);
  }
}

static void add_leaf(const struct run *leaf, uint32_t leaf_size, struct tree_fill *fill) {
  uint64_t tenth = run_length(leaf) * FILL_TENTHS / leaf_size;
  fill->leaves++;
  fill->leaf_bytes += run_length(leaf);
  fill->leaf_blocks += run_blocks(leaf);
  fill->leaves_by_tenths[tenth < FILL_TENTHS ? tenth : FILL_TENTHS - 1]++;
}

static void add_tree(const struct node *node, uint32_t leaf_size, struct tree_fill *fill) {
  assert(node->level < NODE_LEVELS_MAX);
  add_node(node, fill);
  for (uint32_t i = 0; i < node->entry_count; i++) {
    if (node->level)
      add_tree(node->entries[i].child, leaf_size, fill);
    else
      add_leaf(node->entries[i].leaf, leaf_size, fill);
  }
}

void engine_tree_fill(struct wodan_db *db, struct tree_fill *fill) {
  memset(fill, 0, sizeof *fill);
  lock_acquire(&db->write);
  struct node *root = db->node;
  struct space_counts space = space_counts(db->space);
  struct discard_counts discards = space_discard_counts(db->space);
  node_ref(root);
  lock_leave(&db->write);
  fill->levels = root->level + 1;
  add_tree(root, db->superblock.leaf_size, fill);
  node_unref(root);
  uint64_t live = space.total - space.free - space.deferred, runs = fill->leaf_blocks + fill->run_blocks;
  fill->node_blocks = live > runs ? live - runs : 0;
  fill->deferred_blocks = space.deferred;
  fill->waiting_blocks = discards.waiting < space.free ? discards.waiting : space.free; /* told a moment later */
  fill->free_blocks = space.free - fill->waiting_blocks;
}
