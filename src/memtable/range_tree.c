/* Owns: the treap of a memtable's range deletes.
 *
 * Always true: nodes are in order of where their ranges begin; a node's priority is at least those below it; reach and
 * newest are exact for all a node stands above. Priorities come from the sequence, mixed, so a tree is as deep as chance
 * makes it: about twice its logarithm.
 *
 * See: tests/unit/test_memtable_ranges.c. */
#include "memtable/range_tree.h"

#include <assert.h>

struct range_node {
  const struct map_entry *entry;
  struct range_node *left, *right;
  const struct map_entry *reach; /* of all here and below the one that ends last */
  uint64_t newest;               /* the greatest sequence of those */
  uint64_t priority;
};

void range_tree_init(struct range_tree *tree, struct mem *mem) {
  *tree = (struct range_tree){0};
  arena_init(&tree->nodes, mem, 8);
}

void range_tree_release(struct range_tree *tree) {
  arena_release(&tree->nodes);
  tree->root = NULL;
}

bool range_tree_reserve(struct range_tree *tree, size_t count) {
  if (count > SIZE_MAX / sizeof(struct range_node)) return false;
  return count == 0 || arena_reserve(&tree->nodes, count * sizeof(struct range_node));
}

static uint64_t mixed(uint64_t x) {
  x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
  x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
  return x ^ x >> 31;
}

static void take_in(struct range_node *node, const struct range_node *below) {
  if (!below) return;
  if (below->newest > node->newest) node->newest = below->newest;
  if (key_compare(range_entry_end(below->reach), range_entry_end(node->reach)) > 0) node->reach = below->reach;
}

static void sum_up(struct range_node *node) {
  node->newest = node->entry->sequence;
  node->reach = node->entry;
  take_in(node, node->left);
  take_in(node, node->right);
}

/* Below the first node of a lesser priority. Recurses as deep as the tree is. */
static struct range_node *insert(struct range_node *node, struct range_node *fresh) {
  if (!node) return fresh;
  struct range_node *top = node;
  if (key_compare(map_entry_key(fresh->entry), map_entry_key(node->entry)) < 0) {
    node->left = insert(node->left, fresh);
    if (node->left->priority > node->priority) {
      top = node->left;
      node->left = top->right;
      top->right = node;
    }
  } else {
    node->right = insert(node->right, fresh);
    if (node->right->priority > node->priority) {
      top = node->right;
      node->right = top->left;
      top->left = node;
    }
  }
  sum_up(node);
  if (top != node) sum_up(top);
  return top;
}

void range_tree_insert(struct range_tree *tree, const struct map_entry *entry) {
  struct range_node *node = arena_take(&tree->nodes, sizeof *node);
  *node = (struct range_node){.entry = entry, .priority = mixed(entry->sequence)};
  sum_up(node);
  if (!tree->root) tree->first_sequence = entry->sequence;
  tree->root = insert(tree->root, node);
}

/* *above rises to the sequence of what was found. Recurses as deep as the tree is. */
static const struct map_entry *find_newest(const struct range_node *node, struct wodan_slice key, uint64_t *above,
                                           uint64_t sequence) {
  const struct map_entry *found = NULL;
  while (node && node->newest > *above && key_compare(key, range_entry_end(node->reach)) < 0) {
    if (key_compare(map_entry_key(node->entry), key) > 0) {
      node = node->left;
      continue;
    }
    const struct map_entry *own = node->entry;
    if (own->sequence > *above && own->sequence <= sequence && key_compare(key, range_entry_end(own)) < 0) {
      found = own;
      *above = own->sequence;
    }
    const struct map_entry *before = find_newest(node->left, key, above, sequence);
    if (before) found = before;
    node = node->right;
  }
  return found;
}

const struct map_entry *range_tree_newest(const struct range_tree *tree, struct wodan_slice key, uint64_t above,
                                          uint64_t sequence) {
  return find_newest(tree->root, key, &above, sequence);
}

/* Recurses as deep as the tree is. */
static const struct map_entry *find_next(const struct range_node *node, struct wodan_slice key, uint64_t above) {
  while (node && node->newest > above) {
    if (key_compare(map_entry_key(node->entry), key) > 0) {
      const struct map_entry *before = find_next(node->left, key, above);
      if (before) return before;
      if (node->entry->sequence > above) return node->entry;
    }
    node = node->right;
  }
  return NULL;
}

struct wodan_slice range_tree_next(const struct range_tree *tree, struct wodan_slice key, uint64_t above) {
  const struct map_entry *next = find_next(tree->root, key, above);
  return next ? map_entry_key(next) : (struct wodan_slice){NULL, 0};
}

struct wodan_slice range_tree_reach(const struct range_tree *tree, struct wodan_slice key) {
  struct wodan_slice reach = {NULL, 0};
  for (const struct range_node *node = tree->root; node;) {
    if (key_compare(map_entry_key(node->entry), key) > 0) {
      node = node->left;
      continue;
    }
    struct wodan_slice ends[] = {range_entry_end(node->entry),
                                 node->left ? range_entry_end(node->left->reach) : (struct wodan_slice){NULL, 0}};
    for (int i = 0; i < 2; i++)
      if (key_compare(ends[i], reach) > 0) reach = ends[i];
    node = node->right;
  }
  return reach;
}
