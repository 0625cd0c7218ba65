/* Range tree: the range deletes of a memtable, all versions of them: a treap by where they begin, each node knowing the
 * farthest end and the newest sequence below it, so that a search looks only where an answer can be. Entries live elsewhere,
 * stay where they are, and are added, never removed. */
#ifndef MEMTABLE_RANGE_TREE_H
#define MEMTABLE_RANGE_TREE_H

#include "format/range.h"
#include "memtable/arena.h"
#include "memtable/ordered_map.h"

struct range_node;

struct range_tree {
  struct arena nodes;
  struct range_node *root; /* NULL: none */
  uint64_t first_sequence; /* of the oldest */
};

void range_tree_init(struct range_tree *tree, struct mem *mem); /* allocates nothing */
void range_tree_release(struct range_tree *tree);

/* After it, `count` more inserts cannot fail. Replaces an earlier reservation. false: no memory. */
bool range_tree_reserve(struct range_tree *tree, size_t count);
/* Only after range_tree_reserve; newer than all before. Its value is where it ends. */
void range_tree_insert(struct range_tree *tree, const struct map_entry *entry);

/* Whether one was there at this moment. */
static inline bool range_tree_has(const struct range_tree *tree, uint64_t sequence) {
  return tree->root && tree->first_sequence <= sequence;
}
/* The newest above `above` and at or below `sequence` that covers the key, or NULL. */
const struct map_entry *range_tree_newest(const struct range_tree *tree, struct wodan_slice key, uint64_t above,
                                          uint64_t sequence);
/* Where the next one newer than `above` begins, behind the key; data NULL: nowhere. */
struct wodan_slice range_tree_next(const struct range_tree *tree, struct wodan_slice key, uint64_t above);
/* The farthest end of those that begin at or before the key; data NULL: there is none. */
struct wodan_slice range_tree_reach(const struct range_tree *tree, struct wodan_slice key);

static inline struct wodan_slice range_entry_end(const struct map_entry *entry) {
  return (struct wodan_slice){entry->bytes + entry->key_size, entry->value_size};
}

#endif
