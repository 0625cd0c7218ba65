/* A tree over a memory device, and what every key of it should hold: shared by the tests of the tree. Work is done as the
 * engine does it: an edit is published, or given up with everything it took. */
#ifndef UNIT_TREE_WORLD_H
#define UNIT_TREE_WORLD_H

#include "iter/merge.h"
#include "run_world.h"
#include "support/tree_invariants.h"
#include "tree/policy.h"
#include "tree/sweep.h"
#include "tree/tally.h"

enum { BLOCK = 512, PAGE = 512, BLOCKS = 32768, LEAF = 2048, KEYS = 4000, ABSENT = 0 };

struct tree {
  struct world w;
  struct node *root;
  struct tree_policy policy;
  _Atomic uint64_t generation;
  uint64_t sequence, free_at_start;
  uint64_t leaf_sequence;         /* of trees made by hand: their leaves are older than any run */
  uint64_t enough;                /* bytes of a sweep */
  uint32_t entries;               /* and most entries of it; 0: all */
  bool held;                      /* an older version holds space too */
  uint64_t version[KEYS];         /* what the tree holds; ABSENT: nothing */
  uint64_t leaf_bytes, run_bytes; /* written by sweeps */
};

/* A set of changes: the version each key gets, ABSENT for a delete, NONE for untouched. */
#define NONE UINT64_MAX
struct changes {
  uint64_t to[KEYS];
};

static inline struct changes *changes_new(void) {
  struct changes *changes = malloc(sizeof *changes);
  assert_non_null(changes);
  for (size_t i = 0; i < KEYS; i++) changes->to[i] = NONE;
  return changes;
}
static inline void changes_range(struct changes *changes, size_t from, size_t end, uint64_t version) {
  for (size_t i = from; i < end; i++) changes->to[i] = version;
}

static inline struct wodan_slice tree_key(size_t i, char *out) {
  return (struct wodan_slice){out, (size_t)snprintf(out, 64, "\x01/tree/%05zu", i)};
}
static inline struct wodan_slice tree_value(size_t i, uint64_t version, char *out) {
  int n = snprintf(out, 100, "%zu=%llu:", i, (unsigned long long)version);
  memset(out + n, 'v', 60);
  return (struct wodan_slice){out, 40 + (i + version) % 20};
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static inline struct node *node_empty(struct tree *tree) {
  struct node *node = node_create(&tree->w.env, &(struct node_parts){0});
  assert_non_null(node);
  return node;
}

/* An empty tree whose bottom nodes may have so many leaves, and others so many children. */
static inline struct tree *tree_open(uint32_t node_leaves, uint32_t node_children) {
  struct tree *tree = calloc(1, sizeof *tree);
  assert_non_null(tree);
  world_open(&tree->w, BLOCK, PAGE, BLOCKS, 512); /* a scan pins a page of every run on its way */
  tree->root = node_empty(tree);
  tree->enough = 4 * LEAF;
  tree->sequence = 1000000;
  tree->free_at_start = space_counts(tree->w.space).free;
  tree->policy = (struct tree_policy){.memtable_size = 2 * LEAF,
                                      .leaf_size = LEAF,
                                      .inner_limit = 16 * LEAF,
                                      .alpha = ALPHA_ONE,
                                      .node_leaves = node_leaves,
                                      .node_children = node_children,
                                      .eager = 1};
  return tree;
}

static inline void tree_close(struct tree *tree) {
  node_unref(tree->root);
  world_close(&tree->w);
  free(tree);
}

static inline void tree_publish(struct tree *tree, struct node *next, struct tree_edit *edit) {
  assert_non_null(next);
  for (size_t i = 0; i < edit->run_count; i++) run_mark_dead(edit->runs[i]);
  for (size_t i = 0; i < edit->node_count; i++)
    space_defer(tree->w.space, edit->nodes[i].extents, edit->nodes[i].extent_count, edit->nodes[i].generation);
  tree_edit_release(edit);
  node_unref(tree->root);
  tree->root = next;
}

/* No block is lost or used without an owner. */
static inline void assert_space(const struct tree *tree) {
  if (!tree->held) assert_int_equal(tree->free_at_start - space_counts(tree->w.space).free, tree_blocks(tree->root));
}

static inline void assert_sound(const struct tree *tree) {
  tree_assert_skeleton(tree->root);
  assert_space(tree);
}

/* ---- content ----------------------------------------------------------------------------------------------------- */

static inline void assert_key(struct tree *tree, struct node *root, size_t i, uint64_t version) {
  char key[64], value[128];
  struct record record;
  struct frame *pin = NULL;
  (void)tree;
  int status = node_get(root, tree_key(i, key), &record, &pin, NULL);
  if (version == ABSENT) {
    if (status != WODAN_ENOTFOUND && (status != 0 || record.kind != RECORD_DELETE))
      fail_msg("key %zu is there, or cannot be read: %d", i, status);
  } else {
    if (status != 0 || record.kind != RECORD_PUT) fail_msg("key %zu is missing: %d", i, status);
    struct wodan_slice wanted = tree_value(i, version, value);
    if (record.value.size != wanted.size || memcmp(record.value.data, value, wanted.size))
      fail_msg("key %zu has a wrong value", i);
  }
  if (status == 0) cache_unpin(pin);
}

static inline struct iterator *tree_scan(struct tree *tree, struct node *root) {
  uint32_t count = node_source_count(root);
  struct iterator **sources = calloc(count, sizeof *sources);
  assert_non_null(sources);
  assert_int_equal(node_sources(root, sources, NULL), 0);
  struct iterator *it = merge_open(&tree->w.mem, sources, count);
  assert_non_null(it);
  free(sources);
  return it;
}

static inline int scan_step(struct iterator *it, bool back) {
  return back ? iterator_prev(it, NULL) : iterator_next(it, NULL);
}

static inline void skip_deletes(struct iterator *it, bool back) {
  while (it->valid && it->record.kind == RECORD_DELETE) assert_int_equal(scan_step(it, back), 0);
}

static inline void assert_scan(struct tree *tree, struct node *root, const uint64_t *version) {
  struct iterator *it = tree_scan(tree, root);
  char key[64], value[128];
  for (int back = 0; back < 2; back++) {
    assert_int_equal(back ? iterator_last(it, NULL) : iterator_first(it, NULL), 0);
    for (size_t n = 0; n < KEYS; n++) {
      size_t i = back ? KEYS - 1 - n : n;
      if (version[i] == ABSENT) continue;
      skip_deletes(it, back);
      if (!it->valid || key_compare(it->record.key, tree_key(i, key)) != 0) fail_msg("the scan lacks key %zu", i);
      assert_memory_equal(it->record.value.data, tree_value(i, version[i], value).data, it->record.value.size);
      assert_int_equal(scan_step(it, back), 0);
    }
    skip_deletes(it, back);
    assert_false(it->valid);
  }
  iterator_close(it);
}

/* The tree is valid and holds what it should. */
static inline void assert_content(struct tree *tree) {
  assert_space(tree);
  tree_assert_valid(tree->root, &tree->policy);
  for (size_t i = 0; i < KEYS; i++) assert_key(tree, tree->root, i, tree->version[i]);
  assert_scan(tree, tree->root, tree->version);
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

/* A run (or, without filter, a leaf with this pivot) of the changes; one reference. NULL: there is no change. */
static inline struct run *make_object(struct tree *tree, const struct changes *changes, bool filter,
                                      struct wodan_slice pivot) {
  struct run_build_options options = {.kind = filter ? SPACE_BUFFER : SPACE_LEAF, .filter = filter};
  char key[64], value[128];
  uint64_t count = 0;
  for (size_t i = 0; i < KEYS; i++) count += changes->to[i] != NONE;
  if (count == 0) return NULL;
  options.size_max = run_size_bound(&tree->w.env, count, count * 100, filter);
  struct run_builder *builder;
  struct run_counts counts;
  struct block_ptr ptr;
  assert_int_equal(run_builder_create(&tree->w.env, &options, &builder, NULL), 0);
  for (size_t i = 0; i < KEYS; i++) {
    if (changes->to[i] == NONE) continue;
    struct record record = {.key = tree_key(i, key), .sequence = ++tree->sequence, .kind = RECORD_DELETE};
    if (changes->to[i] != ABSENT) {
      record.kind = RECORD_PUT;
      record.value = tree_value(i, changes->to[i], value);
    }
    assert_int_equal(run_builder_add(builder, &record, NULL), 0);
  }
  assert_int_equal(run_builder_finish(builder, ++tree->generation, &ptr, &counts, NULL), 0);
  struct run *run = run_create(&tree->w.env, &ptr, pivot);
  assert_non_null(run);
  run_set_counts(run, counts.records, counts.deletes);
  return run;
}

static inline struct run *make_run(struct tree *tree, size_t from, size_t end, size_t step, uint64_t version) {
  struct changes *changes = changes_new();
  for (size_t i = from; i < end; i += step) changes->to[i] = version;
  struct run *run = make_object(tree, changes, true, (struct wodan_slice){0});
  free(changes);
  return run;
}

/* A leaf of keys [from, end); its pivot is key `pivot`, or empty for NONE. */
static inline struct run *make_leaf(struct tree *tree, size_t from, size_t end, uint64_t version, uint64_t pivot) {
  char key[64];
  struct changes *changes = changes_new();
  changes_range(changes, from, end, version);
  struct run *leaf =
      make_object(tree, changes, false, pivot == NONE ? (struct wodan_slice){0} : tree_key((size_t)pivot, key));
  free(changes);
  return leaf;
}

/* What the changes' deletes free, for each entry of the root. */
static inline struct tally tally_of(struct tree *tree, const struct changes *changes) {
  struct tally tally;
  char key[64];
  tally_begin(&tally, tree->root);
  for (size_t i = 0; i < KEYS; i++) {
    if (changes->to[i] == NONE) continue;
    struct record record = {.key = tree_key(i, key), .kind = changes->to[i] == ABSENT ? RECORD_DELETE : RECORD_PUT};
    tally_add(&tally, &record);
  }
  tally_finish(&tally);
  return tally;
}

/* As the newest run of the root. The changes are freed. */
static inline void add_run(struct tree *tree, struct changes *changes) {
  struct run *run = make_object(tree, changes, true, (struct wodan_slice){0});
  if (run) {
    struct tree_edit edit;
    tree_edit_init(&edit, &tree->w.mem);
    struct tally tally = tally_of(tree, changes);
    struct node_change change = {.arrived = &run, .arrived_count = 1, .frees = tally.frees};
    tree_publish(tree, node_changed(tree->root, &change, &edit), &edit);
    tally_release(&tally);
    run_unref(run);
  }
  for (size_t i = 0; i < KEYS; i++)
    if (changes->to[i] != NONE) tree->version[i] = changes->to[i];
  free(changes);
}

static inline void add_range(struct tree *tree, size_t from, size_t end, uint64_t version) {
  struct changes *changes = changes_new();
  changes_range(changes, from, end, version);
  add_run(tree, changes);
}

/* ---- work -------------------------------------------------------------------------------------------------------- */

static inline struct sweep_setup sweep_setup_of(struct tree *tree) {
  return (struct sweep_setup){.env = &tree->w.env,
                              .generation = &tree->generation,
                              .leaf_size = tree->policy.leaf_size,
                              .enough = tree->enough,
                              .runs_max = RUNS_BOTTOM,
                              .entries_max = tree->entries};
}

static inline struct sweep *sweep_begin(struct tree *tree, const struct tree_path *path, uint32_t at) {
  struct sweep_setup setup = sweep_setup_of(tree);
  struct sweep *sweep = NULL;
  assert_int_equal(sweep_open(&setup, tree->root, path, at, &sweep, NULL), 0);
  return sweep;
}

/* Published. */
static inline void sweep_end(struct tree *tree, struct sweep *sweep) {
  struct tree_edit edit;
  tree_edit_init(&edit, &tree->w.mem);
  tree_publish(tree, sweep_result(sweep, tree->root, &edit), &edit);
  tree->leaf_bytes += sweep_leaf_bytes(sweep);
  tree->run_bytes += sweep_run_bytes(sweep);
  sweep_close(sweep, true);
}

/* A whole sweep in steps of so many bytes; returns the number of steps. */
static inline unsigned sweep_once(struct tree *tree, const struct tree_path *path, uint32_t at, uint64_t budget) {
  struct sweep *sweep = sweep_begin(tree, path, at);
  uint64_t moved = 0;
  bool done = false;
  unsigned steps = 0;
  while (!done) {
    struct wodan_error error;
    int status = sweep_step(sweep, budget, &moved, &done, &error);
    if (status < 0) fail_msg("sweep: %s", error.message);
    assert_true(++steps < 100000);
  }
  sweep_end(tree, sweep);
  return steps;
}

static const struct tree_path AT_ROOT = {0};

static inline struct tree_path path_of(uint32_t depth, uint32_t a, uint32_t b, uint32_t c) {
  return (struct tree_path){.depth = depth, .at = {a, b, c}};
}

/* Does one piece of work; in steps of `budget`, if it is a sweep. */
static inline void do_work(struct tree *tree, const struct tree_work *work, uint64_t budget) {
  struct tree_edit edit;
  struct node *next = NULL;
  if (work->kind == WORK_SWEEP) {
    tree->entries = work->entries;
    sweep_once(tree, &work->path, work->at, budget);
    tree->entries = 0;
    return;
  }
  tree_edit_init(&edit, &tree->w.mem);
  if (work->kind == WORK_GROW) next = tree_grow(tree->root);
  if (work->kind == WORK_SHRINK) next = tree_shrink(tree->root, &edit);
  if (work->kind == WORK_SPLIT) next = tree_split(tree->root, &work->path, work->pieces, &edit);
  if (work->kind == WORK_JOIN) next = tree_join(tree->root, &work->path, work->at, &edit);
  tree_publish(tree, next, &edit);
}

/* Work by the policy until none is left; how many pieces. */
static inline unsigned settle_by(struct tree *tree, const struct tree_policy *policy) {
  unsigned pieces = 0;
  for (;; pieces++) {
    struct tree_work work = tree_next_work(tree->root, policy);
    if (work.kind == WORK_NONE) break;
    do_work(tree, &work, UINT64_MAX);
    assert_sound(tree);
    if (pieces > 20000) fail_msg("there is always more work: kind %d", work.kind);
  }
  return pieces;
}

static inline unsigned settle(struct tree *tree) { return settle_by(tree, &tree->policy); }

/* Until nothing is buffered. */
static inline unsigned settle_all(struct tree *tree) {
  struct tree_policy policy = tree->policy;
  policy.everything = true;
  unsigned pieces = settle_by(tree, &policy);
  assert_int_equal(tree->root->sums.runs, 0);
  return pieces;
}

static inline void fill(struct tree *tree, size_t from, size_t end, uint64_t version) {
  add_range(tree, from, end, version);
  settle_all(tree);
}

/* ---- headers ----------------------------------------------------------------------------------------------------- */

static inline int take_node_space(void *context, uint64_t blocks, struct extent *extents, uint32_t *count,
                                  struct wodan_error *error) {
  return space_allocate_reserved(context, SPACE_NODE, blocks, extents, count, error);
}

/* The headers that the device does not have yet, children first. */
static inline void write_nodes(struct tree *tree, struct node *node) {
  struct node_image image;
  uint8_t *bytes;
  size_t size;
  if (node->ptr.generation) return;
  for (uint32_t i = 0; node->level && i < node->entry_count; i++) write_nodes(tree, node->entries[i].child);
  struct node_image_target target = {.generation = ++tree->generation,
                                     .epoch = tree->w.env.epoch,
                                     .allocate = take_node_space,
                                     .context = tree->w.space};
  assert_int_equal(node_to_image(node, &image, NULL), 0);
  assert_int_equal(node_image_encode(&tree->w.io, &image, &target, &bytes, &size, &node->ptr, NULL), 0);
  node_image_release(&image);
  assert_int_equal(block_io_write(&tree->w.io, node->ptr.extents, node->ptr.extent_count, 0, bytes, size, NULL), 0);
  mem_free(&tree->w.mem, bytes, size);
}

/* ---- trees made by hand ------------------------------------------------------------------------------------------ */

static inline void changes_version(struct tree *tree, size_t from, size_t end, uint64_t version) {
  for (size_t i = from; i < end; i++) tree->version[i] = version;
}

/* A bottom node with `leaves` leaves of 10 keys each, from key `from` on, all marks 0. */
static inline struct node *bottom_of(struct tree *tree, size_t from, uint32_t leaves, struct run *const *runs,
                                     uint32_t run_count, const uint64_t *marks) {
  struct node_entry entries[16] = {0};
  char key[64];
  uint64_t now = tree->sequence;
  assert_true(leaves <= 16);
  tree->sequence = tree->leaf_sequence;
  for (uint32_t i = 0; i < leaves; i++) {
    size_t first = from + 10 * i;
    entries[i].leaf = make_leaf(tree, first, first + 10, 1, first);
    entries[i].flushed_upto = marks ? marks[i] : 0;
    changes_version(tree, first, first + 10, 1);
  }
  tree->leaf_sequence = tree->sequence;
  tree->sequence = now;
  struct node_parts parts = {.pivot = from ? tree_key(from, key) : (struct wodan_slice){0},
                             .entries = entries,
                             .entry_count = leaves,
                             .runs = runs,
                             .run_count = run_count};
  struct node *node = node_create(&tree->w.env, &parts);
  assert_non_null(node);
  for (uint32_t i = 0; i < leaves; i++) run_unref(entries[i].leaf);
  return node;
}

/* The root becomes a parent of these nodes; takes their references. */
static inline void parent_of(struct tree *tree, struct node **children, uint32_t count, const uint64_t *marks,
                             struct run *const *runs, uint32_t run_count) {
  struct node_entry entries[16] = {0};
  for (uint32_t i = 0; i < count; i++) {
    entries[i].child = children[i];
    entries[i].flushed_upto = marks ? marks[i] : 0;
  }
  struct node_parts parts = {
      .level = children[0]->level + 1, .entries = entries, .entry_count = count, .runs = runs, .run_count = run_count};
  struct node *root = node_create(&tree->w.env, &parts);
  assert_non_null(root);
  for (uint32_t i = 0; i < count; i++) node_unref(children[i]);
  node_unref(tree->root);
  tree->root = root;
}

static inline void use_root(struct tree *tree, struct node *root) {
  node_unref(tree->root);
  tree->root = root;
}

/* ---- scarce memory ----------------------------------------------------------------------------------------------- */

static uint64_t allocations_left;
static inline void *scarce(void *context, size_t size, size_t alignment) {
  (void)context;
  if (allocations_left == 0) return NULL;
  allocations_left--;
  if (alignment < 16) alignment = 16;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
static inline void give(void *context, void *memory, size_t size) {
  (void)context, (void)size;
  free(memory);
}

/* Keys [from, end) of entry `at` of a node. */
static inline void entry_range(const struct node *node, uint32_t at, size_t *from, size_t *end) {
  char key[64];
  *from = 0, *end = 0;
  for (size_t i = 0; i < KEYS; i++) {
    uint32_t in = node_find(node, tree_key(i, key));
    if (in < at) *from = i + 1;
    if (in <= at) *end = i + 1;
  }
}

#endif
