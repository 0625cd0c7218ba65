/* Owns: the next version of a node and of the tree above it: changes, growth, splits and joins.
 *
 * Always true: a published version is never touched; what the new version no longer needs is in the edit, and nothing
 * happens to it until the new root is published; on a failure for lack of memory the edit is only good for release.
 *
 * Order: runs leave a node oldest first, once every entry has absorbed them, so a newer record of a key is never gone
 * before an older one.
 *
 * See: DESIGN.md "The tree", tests/unit/test_tree.c. */
#include <assert.h>
#include <string.h>
#include "tree/node.h"

void tree_edit_init(struct tree_edit *edit, struct mem *mem) { *edit = (struct tree_edit){.mem = mem}; }

void tree_edit_release(struct tree_edit *edit) {
  mem_array_free(edit->mem, edit->runs, edit->run_capacity, sizeof *edit->runs);
  mem_array_free(edit->mem, edit->nodes, edit->node_capacity, sizeof *edit->nodes);
  *edit = (struct tree_edit){.mem = edit->mem};
}

static bool drop_run(struct tree_edit *edit, struct run *run) {
  void *array = edit->runs;
  bool room = mem_array_grow(edit->mem, &array, &edit->run_capacity, edit->run_count + 1, sizeof *edit->runs);
  edit->runs = array;
  if (room) edit->runs[edit->run_count++] = run;
  return room;
}

/* The version is replaced: its header on the device, if it has one, is dropped. */
bool tree_edit_drop_node(struct tree_edit *edit, const struct node *node) {
  if (node->ptr.generation == 0) return true;
  void *array = edit->nodes;
  bool room = mem_array_grow(edit->mem, &array, &edit->node_capacity, edit->node_count + 1, sizeof *edit->nodes);
  edit->nodes = array;
  if (room) edit->nodes[edit->node_count++] = node->ptr;
  return room;
}

/* Recurses level by level. */
bool tree_edit_drop_tree(struct tree_edit *edit, const struct node *node) {
  bool room = tree_edit_drop_node(edit, node);
  for (uint32_t i = 0; i < node->run_count && room; i++) room = drop_run(edit, node->runs[i]);
  for (uint32_t i = 0; i < node->entry_count && room; i++) {
    const struct node_entry *entry = &node->entries[i];
    room = node->level ? tree_edit_drop_tree(edit, entry->child) : drop_run(edit, entry->leaf);
  }
  return room;
}

struct key_span tree_span(struct node *root, const struct tree_path *path) {
  struct key_span span = {{NULL, 0}, {NULL, 0}};
  for (uint32_t i = 0; i < path->depth; i++) {
    span = entry_span(root, path->at[i], &span);
    root = root->entries[path->at[i]].child;
  }
  return span;
}

struct node *tree_at(struct node *root, const struct tree_path *path) {
  for (uint32_t i = 0; i < path->depth; i++) {
    assert(root->level > 0 && path->at[i] < root->entry_count);
    root = root->entries[path->at[i]].child;
  }
  return root;
}

/* ---- one node --------------------------------------------------------------------------------------------------- */

static bool listed(struct run *const *runs, uint32_t count, const struct run *run) {
  for (uint32_t i = 0; i < count; i++)
    if (runs[i] == run) return true;
  return false;
}

/* Every entry has absorbed runs up to this generation. */
static uint64_t absorbed_by_all(const struct node_entry *entries, uint32_t count, uint64_t without_entries) {
  uint64_t passed = count ? UINT64_MAX : without_entries;
  for (uint32_t i = 0; i < count; i++)
    if (entries[i].flushed_upto < passed) passed = entries[i].flushed_upto;
  return passed;
}

/* The runs that stay, newest first, into `runs`; the others are dropped. */
static bool keep_runs(const struct node *node, const struct node_change *change, uint64_t passed, struct run **runs,
                      uint32_t *count, struct tree_edit *edit) {
  *count = 0;
  for (uint32_t i = 0; i < change->arrived_count; i++) runs[(*count)++] = change->arrived[i];
  for (uint32_t i = 0; i < node->run_count; i++) {
    struct run *run = node->runs[i];
    if (listed(change->without, change->without_count, run)) continue;
    if (run_generation(run) > passed)
      runs[(*count)++] = run;
    else if (!drop_run(edit, run))
      return false;
  }
  return true;
}

/* Leaves among the removed that are not added again. Both are in key order. */
static bool drop_leaves(const struct node *node, const struct node_change *change, struct tree_edit *edit) {
  uint32_t next = 0;
  for (uint32_t i = change->at; i < change->at + change->removed; i++) {
    struct run *leaf = node->entries[i].leaf;
    uint32_t same = next;
    while (same < change->added_count && change->added[same].leaf != leaf) same++;
    if (same < change->added_count)
      next = same + 1;
    else if (!drop_run(edit, leaf))
      return false;
  }
  return true;
}

static struct node *with_arrays(struct node *node, const struct node_change *change, struct node_entry *entries,
                                uint32_t entry_count, struct run **runs, struct tree_edit *edit) {
  uint32_t behind = node->entry_count - change->at - change->removed, run_count;
  if (change->at) memcpy(entries, node->entries, change->at * sizeof *entries);
  if (change->added_count) memcpy(entries + change->at, change->added, change->added_count * sizeof *entries);
  if (behind)
    memcpy(entries + change->at + change->added_count, node->entries + change->at + change->removed,
           behind * sizeof *entries);
  assert(!change->frees || (change->removed == 0 && change->added_count == 0));
  for (uint32_t i = 0; change->frees && i < entry_count; i++) entries[i].frees += change->frees[i];
  uint64_t passed = absorbed_by_all(entries, entry_count, change->absorbed);
  if (!keep_runs(node, change, passed, runs, &run_count, edit) || !tree_edit_drop_node(edit, node)) return NULL;
  if (node->level == 0 && !drop_leaves(node, change, edit)) return NULL;
  struct node_parts parts = {node->level, node_pivot(node), entries, entry_count, runs, run_count};
  return node_create(node->env, &parts);
}

struct node *node_changed(struct node *node, const struct node_change *change, struct tree_edit *edit) {
  assert(change->at + change->removed <= node->entry_count);
  struct mem *mem = node->env->mem;
  uint32_t entry_count = node->entry_count - change->removed + change->added_count;
  struct node_entry *entries = mem_array(mem, entry_count, sizeof *entries);
  struct run **runs = mem_array(mem, node->run_count + change->arrived_count, sizeof(struct run *));
  struct node *result = entries && runs ? with_arrays(node, change, entries, entry_count, runs, edit) : NULL;
  mem_array_free(mem, entries, entry_count, sizeof *entries);
  mem_array_free(mem, runs, node->run_count + change->arrived_count, sizeof(struct run *));
  return result;
}

/* ---- the way up ------------------------------------------------------------------------------------------------- */

/* The parent with the child at `at` replaced by `count` nodes, all of which have absorbed what it had. What is still to be
 * freed below them is shared out evenly. */
static struct node *with_children(struct node *parent, uint32_t at, struct node *const *nodes, uint32_t count,
                                  struct tree_edit *edit) {
  struct mem *mem = parent->env->mem;
  struct node_entry *added = mem_array(mem, count, sizeof *added);
  if (!added) return NULL;
  for (uint32_t i = 0; i < count; i++)
    added[i] = (struct node_entry){.child = nodes[i],
                                   .flushed_upto = parent->entries[at].flushed_upto,
                                   .frees = parent->entries[at].frees / count};
  struct node_change change = {.at = at, .removed = 1, .added = added, .added_count = count};
  struct node *result = node_changed(parent, &change, edit);
  mem_array_free(mem, added, count, sizeof *added);
  return result;
}

struct node *tree_with(struct node *root, const struct tree_path *path, struct node *const *nodes, uint32_t count,
                       struct tree_edit *edit) {
  if (path->depth == 0) {
    assert(count == 1);
    node_ref(nodes[0]);
    return nodes[0];
  }
  struct node *made = NULL; /* the version of the level just done */
  for (uint32_t depth = path->depth; depth-- > 0;) {
    struct tree_path above = {.depth = depth};
    memcpy(above.at, path->at, sizeof above.at);
    struct node *parent = tree_at(root, &above);
    struct node *next = made ? with_children(parent, path->at[depth], &made, 1, edit)
                             : with_children(parent, path->at[depth], nodes, count, edit);
    node_unref(made);
    if (!next) return NULL;
    made = next;
  }
  return made;
}

/* ---- structure -------------------------------------------------------------------------------------------------- */

struct node *tree_grow(struct node *root) {
  struct node_entry only = {.child = root};
  struct node_parts parts = {.level = root->level + 1, .entries = &only, .entry_count = 1};
  return root->level + 1 < NODE_LEVELS_MAX ? node_create(root->env, &parts) : NULL;
}

/* The runs of a that stand above b's, then b's. `taken`: how many of a's. */
static struct node *stacked(struct node *child, struct run *const *above, uint32_t taken) {
  struct mem *mem = child->env->mem;
  uint32_t count = taken + child->run_count;
  struct run **runs = mem_array(mem, count, sizeof(struct run *));
  if (!runs) return NULL;
  if (taken) memcpy(runs, above, taken * sizeof(struct run *));
  if (child->run_count) memcpy(runs + taken, child->runs, child->run_count * sizeof(struct run *));
  struct node_parts parts = {child->level, node_pivot(child), child->entries, child->entry_count, runs, count};
  struct node *result = node_create(child->env, &parts);
  mem_array_free(mem, runs, count, sizeof(struct run *));
  return result;
}

static uint32_t unabsorbed_of(const struct node *node, uint64_t mark) {
  uint32_t count = node->run_count;
  while (count && run_generation(node->runs[count - 1]) <= mark) count--;
  return count;
}

bool tree_may_shrink(const struct node *root, uint32_t runs_max) {
  if (root->level == 0 || root->entry_count != 1) return false;
  const struct node *child = root->entries[0].child;
  uint32_t taken = unabsorbed_of(root, root->entries[0].flushed_upto);
  if (taken + child->run_count > runs_max) return false;
  return taken == 0 || run_generation(root->runs[taken - 1]) > node_newest_mark(child);
}

struct node *tree_shrink(struct node *root, struct tree_edit *edit) {
  struct node *child = root->entries[0].child;
  uint32_t taken = unabsorbed_of(root, root->entries[0].flushed_upto);
  for (uint32_t i = taken; i < root->run_count; i++)
    if (!drop_run(edit, root->runs[i])) return NULL;
  if (!tree_edit_drop_node(edit, root) || !tree_edit_drop_node(edit, child)) return NULL;
  return stacked(child, root->runs, taken);
}

/* The entry at which piece `i` of `pieces` begins. Later pieces are larger, the last nearly twice the first: nodes of one size
 * would fill up, be rewritten and be cut all at the same time. */
static uint32_t cut_at(uint64_t count, uint64_t i, uint64_t pieces) {
  uint64_t at = count * i * (7 * pieces + 3 * i) / (10 * pieces * pieces);
  if (at < i) at = i;
  return (uint32_t)(at > count - (pieces - i) ? count - (pieces - i) : at);
}

/* Piece `i` of `pieces` of a node without runs. */
static struct node *piece_of(struct node *node, uint32_t i, uint32_t pieces) {
  uint32_t from = cut_at(node->entry_count, i, pieces);
  uint32_t to = cut_at(node->entry_count, i + 1, pieces);
  struct node_parts parts = {.level = node->level,
                             .pivot = i ? entry_pivot(node, from) : node_pivot(node),
                             .entries = node->entries + from,
                             .entry_count = to - from};
  return node_create(node->env, &parts);
}

struct node *tree_split(struct node *root, const struct tree_path *path, uint32_t pieces, struct tree_edit *edit) {
  struct node *node = tree_at(root, path), *result = NULL;
  struct mem *mem = node->env->mem;
  assert(node->run_count == 0 && pieces >= 2 && node->entry_count >= pieces && path->depth > 0);
  struct node **parts = mem_array(mem, pieces, sizeof(struct node *));
  if (!parts) return NULL;
  uint32_t made = 0;
  while (made < pieces && (parts[made] = piece_of(node, made, pieces))) made++;
  if (made == pieces && tree_edit_drop_node(edit, node)) result = tree_with(root, path, parts, pieces, edit);
  while (made > 0) node_unref(parts[--made]);
  mem_array_free(mem, parts, pieces, sizeof(struct node *));
  return result;
}

/* Runs of both by falling generation: their key ranges are disjoint, so any order that keeps each side's is right. */
static void interleave(const struct node *a, const struct node *b, struct run **runs) {
  uint32_t i = 0, j = 0;
  while (i < a->run_count || j < b->run_count) {
    bool first = j == b->run_count || (i < a->run_count && run_generation(a->runs[i]) > run_generation(b->runs[j]));
    runs[i + j] = first ? a->runs[i] : b->runs[j];
    if (first)
      i++;
    else
      j++;
  }
}

static struct node *joined(struct node *a, struct node *b) {
  struct mem *mem = a->env->mem;
  uint32_t entry_count = a->entry_count + b->entry_count, run_count = a->run_count + b->run_count;
  struct node_entry *entries = mem_array(mem, entry_count, sizeof *entries);
  struct run **runs = mem_array(mem, run_count, sizeof(struct run *));
  struct node *result = NULL;
  if (entries && runs) {
    if (a->entry_count) memcpy(entries, a->entries, a->entry_count * sizeof *entries);
    if (b->entry_count) memcpy(entries + a->entry_count, b->entries, b->entry_count * sizeof *entries);
    interleave(a, b, runs);
    struct node_parts parts = {a->level, node_pivot(a), entries, entry_count, runs, run_count};
    result = node_create(a->env, &parts);
  }
  mem_array_free(mem, entries, entry_count, sizeof *entries);
  mem_array_free(mem, runs, run_count, sizeof(struct run *));
  return result;
}

/* The older mark counts for both: absorbing a slice twice changes nothing, and what lies behind the older mark is there. */
struct node *tree_join(struct node *root, const struct tree_path *path, uint32_t at, struct tree_edit *edit) {
  struct node *parent = tree_at(root, path), *changed = NULL, *result = NULL;
  struct node_entry *left = &parent->entries[at], *right = &parent->entries[at + 1];
  struct node *one = joined(left->child, right->child);
  if (!one) return NULL;
  struct node_entry entry = {.child = one,
                             .flushed_upto =
                                 left->flushed_upto < right->flushed_upto ? left->flushed_upto : right->flushed_upto,
                             .frees = left->frees + right->frees};
  struct node_change change = {.at = at, .removed = 2, .added = &entry, .added_count = 1};
  if (tree_edit_drop_node(edit, left->child) && tree_edit_drop_node(edit, right->child))
    changed = node_changed(parent, &change, edit);
  if (changed) result = tree_with(root, path, &changed, 1, edit);
  node_unref(changed);
  node_unref(one);
  return result;
}
