/* The tree: runs and memtables swept into leaves, against a table of what every key holds. After every step the space
 * in use is exactly what the node names. */
#include "iter/merge.h"
#include "memtable/memtable.h"
#include "run_world.h"
#include "tree/node.h"

enum { BLOCK = 512, PAGE = 1024, BLOCKS = 8192, LEAF = 4096, KEYS = 1200, ABSENT = 0 };

struct tree {
  struct world w;
  struct node *node;
  uint64_t generation, sequence, free_at_start;
  bool held;              /* an older version holds space too */
  uint64_t version[KEYS]; /* what the tree holds; ABSENT: nothing */
};

/* A set of changes: the version each key gets, ABSENT for a delete, NONE for untouched. */
#define NONE UINT64_MAX
struct changes {
  uint64_t to[KEYS];
};

static void changes_clear(struct changes *changes) {
  for (size_t i = 0; i < KEYS; i++) changes->to[i] = NONE;
}
static void changes_range(struct changes *changes, size_t from, size_t end, uint64_t version) {
  for (size_t i = from; i < end; i++) changes->to[i] = version;
}

static struct wodan_slice tree_key(size_t i, char *out) {
  return (struct wodan_slice){out, (size_t)snprintf(out, 64, "\x01/tree/%05zu", i)};
}
static struct wodan_slice tree_value(size_t i, uint64_t version, char *out) {
  int n = snprintf(out, 100, "%zu=%llu:", i, (unsigned long long)version);
  memset(out + n, 'v', 60);
  return (struct wodan_slice){out, 40 + (i + version) % 20};
}
static struct record tree_record(struct tree *tree, size_t i, uint64_t version, char *key, char *value) {
  struct record record = {.key = tree_key(i, key), .sequence = ++tree->sequence};
  record.kind = version == ABSENT ? RECORD_DELETE : RECORD_PUT;
  if (version != ABSENT) record.value = tree_value(i, version, value);
  return record;
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

static void tree_open(struct tree *tree) {
  memset(tree, 0, sizeof *tree);
  world_open(&tree->w, BLOCK, PAGE, BLOCKS, 64);
  tree->node = node_create(&tree->w.env, NULL, 0, NULL, 0);
  assert_non_null(tree->node);
  tree->free_at_start = space_counts(tree->w.space).free;
}

static void tree_close(struct tree *tree) {
  node_unref(tree->node);
  world_close(&tree->w);
}

static void tree_publish(struct tree *tree, struct node *next) {
  node_mark_dropped(tree->node, next);
  node_unref(tree->node);
  tree->node = next;
}

/* Everything the node promises about itself, and the space it uses. */
static void assert_sound(const struct tree *tree) {
  const struct node *node = tree->node;
  uint64_t blocks = 0, leaf_bytes = 0, run_bytes = 0, oldest = UINT64_MAX;
  for (uint32_t i = 0; i < node->leaf_count; i++) {
    struct run *run = node->leaves[i].leaf->run;
    struct run_shape shape;
    assert_int_equal(run_open_body(run, NULL), 0);
    run_shape(run, &shape);
    assert_true(shape.record_count > 0);
    struct wodan_slice pivot = leaf_pivot(node->leaves[i].leaf);
    if (i > 0) assert_true(key_compare(pivot, shape.low) <= 0);
    if (i > 0) assert_true(key_compare(leaf_pivot(node->leaves[i - 1].leaf), pivot) < 0);
    if (i + 1 < node->leaf_count) assert_true(key_compare(shape.high, leaf_pivot(node->leaves[i + 1].leaf)) < 0);
    run_close_body(run);
    blocks += run_blocks(run), leaf_bytes += run_length(run);
    if (node->leaves[i].flushed_upto < oldest) oldest = node->leaves[i].flushed_upto;
  }
  for (uint32_t i = 0; i < node->run_count; i++) {
    const struct run *run = node->runs[i];
    blocks += run_blocks(run), run_bytes += run_length(run);
    if (i > 0) assert_true(run_generation(node->runs[i - 1]) > run_generation(run));
    if (node->leaf_count)
      assert_true(run_generation(run) > oldest); /* a run some leaf still needs, or it is not here */
  }
  assert_int_equal(node->leaf_bytes, leaf_bytes);
  assert_int_equal(node->run_bytes, run_bytes);
  if (!tree->held) assert_int_equal(tree->free_at_start - space_counts(tree->w.space).free, blocks);
}

/* Every key by get, and all of them by a merged scan both ways. */
static void assert_content(struct tree *tree) {
  char key[64], value[128];
  assert_sound(tree);
  for (size_t i = 0; i < KEYS; i++) {
    struct record record;
    struct frame *pin = NULL;
    int status = node_get(tree->node, tree_key(i, key), &record, &pin, NULL);
    if (tree->version[i] == ABSENT) {
      assert_true(status == WODAN_ENOTFOUND || (status == 0 && record.kind == RECORD_DELETE));
    } else {
      if (status != 0 || record.kind != RECORD_PUT) fail_msg("key %zu is missing", i);
      struct wodan_slice wanted = tree_value(i, tree->version[i], value);
      if (record.value.size != wanted.size || memcmp(record.value.data, value, wanted.size))
        fail_msg("key %zu has a wrong value", i);
    }
    if (status == 0) cache_unpin(pin);
  }
  uint32_t count = node_source_count(tree->node);
  struct iterator **sources = calloc(count, sizeof *sources);
  assert_int_equal(node_sources(tree->node, sources, NULL), 0);
  struct iterator *it = merge_open(&tree->w.mem, sources, count);
  for (int back = 0; back < 2; back++) {
    assert_int_equal(back ? iterator_last(it, NULL) : iterator_first(it, NULL), 0);
    for (size_t n = 0; n < KEYS; n++) {
      size_t i = back ? KEYS - 1 - n : n;
      while (it->valid && it->record.kind == RECORD_DELETE)
        assert_int_equal(back ? iterator_prev(it, NULL) : iterator_next(it, NULL), 0);
      if (tree->version[i] == ABSENT) continue;
      assert_true(it->valid);
      assert_int_equal(key_compare(it->record.key, tree_key(i, key)), 0);
      assert_memory_equal(it->record.value.data, tree_value(i, tree->version[i], value).data, it->record.value.size);
      assert_int_equal(back ? iterator_prev(it, NULL) : iterator_next(it, NULL), 0);
    }
    while (it->valid && it->record.kind == RECORD_DELETE)
      assert_int_equal(back ? iterator_prev(it, NULL) : iterator_next(it, NULL), 0);
    assert_false(it->valid);
  }
  iterator_close(it);
  free(sources);
}

/* ---- changes ---------------------------------------------------------------------------------------------------------- */

static void note(struct tree *tree, const struct changes *changes) {
  for (size_t i = 0; i < KEYS; i++)
    if (changes->to[i] != NONE) tree->version[i] = changes->to[i];
}

/* As the newest run. */
static void add_run(struct tree *tree, const struct changes *changes) {
  struct run_build_options options = {.filter = true};
  char key[64], value[128];
  uint64_t count = 0;
  for (size_t i = 0; i < KEYS; i++) count += changes->to[i] != NONE;
  options.size_max = run_size_bound(&tree->w.env, count, count * 100, true);
  struct run_builder *builder;
  struct block_ptr ptr;
  assert_int_equal(run_builder_create(&tree->w.env, &options, &builder, NULL), 0);
  for (size_t i = 0; i < KEYS; i++) {
    if (changes->to[i] == NONE) continue;
    struct record record = tree_record(tree, i, changes->to[i], key, value);
    assert_int_equal(run_builder_add(builder, &record, NULL), 0);
  }
  assert_int_equal(run_builder_finish(builder, ++tree->generation, &ptr, NULL, NULL), 0);
  struct run *run = open_run(&tree->w, &ptr);
  tree_publish(tree, node_with_run(tree->node, run));
  run_unref(run);
  note(tree, changes);
}

static struct sweep sweep_of(struct tree *tree, struct memtable *memtable) {
  return (struct sweep){.env = &tree->w.env, .generation = &tree->generation, .leaf_size = LEAF, .memtable = memtable};
}

/* One step, published; false when there was nothing to do. */
static bool step(struct tree *tree, struct sweep *sweep) {
  struct node *next = NULL;
  struct wodan_error error;
  int status = sweep_step(sweep, tree->node, &next, &error);
  if (status < 0) fail_msg("sweep: %s", error.message);
  if (next) tree_publish(tree, next);
  return next != NULL;
}

static unsigned sweep_all(struct tree *tree) {
  struct sweep sweep = sweep_of(tree, NULL);
  unsigned steps = 0;
  for (; step(tree, &sweep); steps++) assert_sound(tree);
  assert_int_equal(tree->node->run_count, 0);
  return steps;
}

/* A frozen memtable with all runs straight into leaves, published as one. */
static void add_straight(struct tree *tree, const struct changes *changes) {
  struct memtable *table = memtable_create(&tree->w.mem);
  char key[64], value[128];
  tree->sequence += KEYS;
  for (size_t i = 0; i < KEYS; i++) {
    if (changes->to[i] == NONE) continue;
    struct record record = tree_record(tree, i, changes->to[i], key, value);
    assert_int_equal(memtable_reserve(table, 1, record.key.size + record.value.size, NULL), 0);
    memtable_insert(table, &record);
  }
  struct sweep sweep = sweep_of(tree, table);
  struct node *current = tree->node;
  node_ref(current);
  for (;;) {
    struct node *next = NULL;
    assert_int_equal(sweep_step(&sweep, current, &next, NULL), 0);
    if (!next) break;
    node_unref(current);
    current = next;
  }
  tree_publish(tree, current);
  memtable_unref(table);
  note(tree, changes);
}

static void fill(struct tree *tree, size_t from, size_t end, uint64_t version) {
  struct changes changes;
  changes_clear(&changes);
  changes_range(&changes, from, end, version);
  add_run(tree, &changes);
  sweep_all(tree);
}

/* Keys [from, end) of leaf `at` as the tree stands: which keys lie in it. */
static void leaf_range(const struct tree *tree, uint32_t at, size_t *from, size_t *end) {
  char key[64];
  *from = 0, *end = 0;
  for (size_t i = 0; i < KEYS; i++) {
    uint32_t in = node_find_leaf(tree->node, tree_key(i, key));
    if (in < at) *from = i + 1;
    if (in <= at) *end = i + 1;
  }
}

/* ---- tests ------------------------------------------------------------------------------------------------------------- */

static void test_tree__an_empty_tree_has_nothing(void **state) {
  (void)state;
  struct tree *tree = malloc(sizeof *tree);
  tree_open(tree);
  assert_content(tree);
  struct sweep sweep = sweep_of(tree, NULL);
  assert_false(step(tree, &sweep));
  tree_close(tree);
  free(tree);
}

static void test_tree__a_run_is_seen_before_and_after_its_sweep(void **state) {
  (void)state;
  struct tree *tree = malloc(sizeof *tree);
  struct changes changes;
  tree_open(tree);
  changes_clear(&changes);
  changes_range(&changes, 100, 400, 1);
  add_run(tree, &changes);
  assert_int_equal(tree->node->leaf_count, 0);
  assert_content(tree);
  sweep_all(tree);
  assert_true(tree->node->leaf_count > 4);
  for (uint32_t i = 0; i < tree->node->leaf_count; i++) {
    uint64_t length = run_length(tree->node->leaves[i].leaf->run);
    assert_true(length <= LEAF + LEAF / 4);
    if (i + 1 < tree->node->leaf_count) assert_true(length > LEAF / 2); /* all but the last are full */
  }
  assert_content(tree);
  changes_clear(&changes);
  changes_range(&changes, 50, 300, 2);
  changes_range(&changes, 350, 380, ABSENT);
  add_run(tree, &changes);
  assert_content(tree); /* the run is newer than the leaves */
  sweep_all(tree);
  assert_content(tree);
  tree_close(tree);
  free(tree);
}

static void test_tree__deletes_alone_make_no_leaf(void **state) {
  (void)state;
  struct tree *tree = malloc(sizeof *tree);
  struct changes changes;
  tree_open(tree);
  changes_clear(&changes);
  changes_range(&changes, 0, 300, ABSENT);
  add_run(tree, &changes);
  sweep_all(tree);
  assert_int_equal(tree->node->leaf_count + tree->node->run_count, 0);
  assert_int_equal(space_counts(tree->w.space).free, tree->free_at_start);
  add_straight(tree, &changes);
  assert_int_equal(tree->node->leaf_count + tree->node->run_count, 0);
  assert_content(tree);
  tree_close(tree);
  free(tree);
}

/* Only the leaf with a record in its slice is rewritten; all the others keep their handle and move their mark. */
static void test_tree__leaves_without_a_record_only_move_their_mark(void **state) {
  (void)state;
  struct tree *tree = malloc(sizeof *tree);
  struct changes changes;
  tree_open(tree);
  for (size_t i = 0; i < KEYS; i += 400) fill(tree, i, i + 200, 1);
  uint32_t leaves = tree->node->leaf_count;
  assert_true(leaves > 8);
  size_t from, end;
  leaf_range(tree, 3, &from, &end);
  struct node *before = tree->node;
  node_ref(before);
  changes_clear(&changes);
  changes.to[from + 1] = 2;
  add_run(tree, &changes);
  uint64_t mark = run_generation(tree->node->runs[0]);
  struct sweep sweep = sweep_of(tree, NULL);
  unsigned steps = 0;
  while (step(tree, &sweep)) steps++;
  assert_true(steps <= 2);
  assert_int_equal(tree->node->leaf_count, leaves);
  for (uint32_t i = 0; i < leaves; i++) {
    assert_int_equal(tree->node->leaves[i].leaf == before->leaves[i].leaf, i != 3);
    assert_int_equal(tree->node->leaves[i].flushed_upto, mark);
  }
  assert_true(sweep.leaf_bytes_written <= 2 * LEAF);
  node_unref(before);
  assert_content(tree);
  tree_close(tree);
  free(tree);
}

static void test_tree__a_leaf_that_grows_is_split_and_its_neighbours_are_not(void **state) {
  (void)state;
  struct tree *tree = malloc(sizeof *tree);
  struct changes changes;
  tree_open(tree);
  changes_clear(&changes);
  for (size_t i = 0; i < KEYS; i += 4) changes.to[i] = 1; /* gaps to fill */
  add_run(tree, &changes);
  sweep_all(tree);
  uint32_t leaves = tree->node->leaf_count;
  size_t from, end;
  leaf_range(tree, 2, &from, &end);
  struct leaf *left = tree->node->leaves[1].leaf, *right = tree->node->leaves[3].leaf;
  leaf_ref(left), leaf_ref(right);
  changes_clear(&changes);
  changes_range(&changes, from, end, 2);
  add_run(tree, &changes);
  sweep_all(tree);
  assert_true(tree->node->leaf_count >= leaves + 2);
  assert_ptr_equal(tree->node->leaves[1].leaf, left);
  assert_ptr_equal(tree->node->leaves[tree->node->leaf_count - leaves + 3].leaf, right);
  leaf_unref(left), leaf_unref(right);
  assert_content(tree);
  tree_close(tree);
  free(tree);
}

static void test_tree__a_leaf_that_shrank_is_joined_with_its_right_neighbour(void **state) {
  (void)state;
  struct tree *tree = malloc(sizeof *tree);
  struct changes changes;
  tree_open(tree);
  fill(tree, 0, KEYS, 1);
  uint32_t leaves = tree->node->leaf_count;
  size_t from, end;
  leaf_range(tree, 2, &from, &end);
  changes_clear(&changes);
  changes_range(&changes, from + 2, end, ABSENT); /* two are left */
  leaf_range(tree, 3, &from, &end);
  changes_range(&changes, from, end - 5, ABSENT); /* five are left in the next */
  add_run(tree, &changes);
  sweep_all(tree);
  assert_content(tree);
  changes_clear(&changes);
  leaf_range(tree, 2, &from, &end);
  changes.to[from] = 2;
  add_run(tree, &changes);
  sweep_all(tree);
  assert_content(tree);
  assert_true(tree->node->leaf_count < leaves);
  tree_close(tree);
  free(tree);
}

/* All records of one leaf die: its range goes to a neighbour, and a key put there later is found. */
static void leaf_vanishes(uint32_t which) { /* 0: first, 1: middle, 2: last */
  struct tree *tree = malloc(sizeof *tree);
  struct changes changes;
  tree_open(tree);
  fill(tree, 100, KEYS - 100, 1);
  uint32_t leaves = tree->node->leaf_count, at = which == 0 ? 0 : which == 1 ? leaves / 2 : leaves - 1;
  size_t from, end;
  leaf_range(tree, at, &from, &end);
  changes_clear(&changes);
  for (size_t i = from; i < end; i++)
    if (tree->version[i] != ABSENT) changes.to[i] = ABSENT;
  add_run(tree, &changes);
  sweep_all(tree);
  assert_int_equal(tree->node->leaf_count, leaves - 1);
  assert_content(tree);
  for (size_t i = 0; i < 3; i++) { /* at its start, in its middle, at its end */
    changes_clear(&changes);
    changes.to[i == 0 ? from : i == 1 ? (from + end) / 2 : end - 1] = 5;
    add_run(tree, &changes);
    assert_content(tree);
    sweep_all(tree);
    assert_content(tree);
  }
  tree_close(tree);
  free(tree);
}

static void test_tree__the_first_leaf_vanishes(void **state) {
  (void)state;
  leaf_vanishes(0);
}
static void test_tree__a_middle_leaf_vanishes(void **state) {
  (void)state;
  leaf_vanishes(1);
}
static void test_tree__the_last_leaf_vanishes(void **state) {
  (void)state;
  leaf_vanishes(2);
}

static void test_tree__everything_deleted_leaves_nothing(void **state) {
  (void)state;
  for (int straight = 0; straight < 2; straight++) {
    struct tree *tree = malloc(sizeof *tree);
    struct changes changes;
    tree_open(tree);
    fill(tree, 0, KEYS, 1);
    changes_clear(&changes);
    changes_range(&changes, 0, KEYS, ABSENT);
    if (straight) {
      add_straight(tree, &changes);
    } else {
      add_run(tree, &changes);
      sweep_all(tree);
    }
    assert_int_equal(tree->node->leaf_count + tree->node->run_count, 0);
    assert_int_equal(space_counts(tree->w.space).free, tree->free_at_start);
    assert_content(tree);
    fill(tree, 600, 700, 2);
    assert_content(tree);
    tree_close(tree);
    free(tree);
  }
}

/* Keys below the first pivot belong to the first leaf: found in runs, and in the leaf once swept. */
static void test_tree__keys_below_the_first_pivot_go_to_the_first_leaf(void **state) {
  (void)state;
  struct tree *tree = malloc(sizeof *tree);
  struct changes changes;
  tree_open(tree);
  fill(tree, 600, KEYS, 1);
  char key[64];
  assert_int_equal(node_find_leaf(tree->node, tree_key(0, key)), 0);
  for (size_t i = 500; i > 400; i -= 20) {
    changes_clear(&changes);
    changes.to[i] = 2;
    add_run(tree, &changes);
    assert_content(tree);
    sweep_all(tree);
    assert_content(tree);
  }
  fill(tree, 0, 400, 3); /* so many that it splits */
  assert_content(tree);
  tree_close(tree);
  free(tree);
}

/* A run is in the node while some leaf has not absorbed it, and gone with the step in which the last one has. */
static void test_tree__a_run_goes_exactly_when_the_last_leaf_has_passed_it(void **state) {
  (void)state;
  struct tree *tree = malloc(sizeof *tree);
  struct changes changes;
  tree_open(tree);
  fill(tree, 0, KEYS, 1);
  changes_clear(&changes);
  changes_range(&changes, 0, KEYS, 2);
  add_run(tree, &changes);
  uint64_t first = run_generation(tree->node->runs[0]), second = 0;
  struct sweep sweep = sweep_of(tree, NULL);
  for (unsigned steps = 1;; steps++) {
    assert_true(step(tree, &sweep));
    assert_content(tree); /* at every moment of the sweep */
    bool all_passed = true, has = false;
    for (uint32_t i = 0; i < tree->node->leaf_count; i++) all_passed &= tree->node->leaves[i].flushed_upto >= first;
    for (uint32_t i = 0; i < tree->node->run_count; i++) has |= run_generation(tree->node->runs[i]) == first;
    assert_int_equal(has, !all_passed);
    if (steps == 4) { /* a younger run comes in the middle of the sweep */
      changes_clear(&changes);
      for (size_t i = 0; i < KEYS; i += 3) changes.to[i] = i % 2 ? 3 : ABSENT;
      add_run(tree, &changes);
      second = run_generation(tree->node->runs[0]);
      assert_content(tree);
    }
    if (all_passed) break;
  }
  assert_true(tree->node->run_count <= 1);
  sweep_all(tree);
  for (uint32_t i = 0; i < tree->node->leaf_count; i++) assert_true(tree->node->leaves[i].flushed_upto >= second);
  assert_content(tree);
  tree_close(tree);
  free(tree);
}

/* A reader's version stays whole while sweeps go on: its runs and leaves are kept until it lets go. */
static void test_tree__an_old_version_stays_readable(void **state) {
  (void)state;
  struct tree *tree = malloc(sizeof *tree), *old = malloc(sizeof *old);
  tree_open(tree);
  fill(tree, 0, KEYS, 1);
  *old = *tree;
  node_ref(old->node);
  tree->held = true;
  for (uint64_t v = 2; v < 6; v++) fill(tree, v * 100, KEYS - v * 50, v);
  for (size_t i = 0; i < KEYS; i++) {
    char key[64], value[128];
    struct record record;
    struct frame *pin;
    assert_int_equal(node_get(old->node, tree_key(i, key), &record, &pin, NULL), 0);
    assert_memory_equal(record.value.data, tree_value(i, 1, value).data, record.value.size);
    cache_unpin(pin);
  }
  node_unref(old->node);
  tree->held = false;
  assert_content(tree); /* and its space is back */
  tree_close(tree);
  free(tree);
  free(old);
}

/* ---- failures ------------------------------------------------------------------------------------------------------------ */

static void test_tree__a_step_without_space_changes_nothing(void **state) {
  (void)state;
  struct tree *tree = malloc(sizeof *tree);
  struct changes changes;
  tree_open(tree);
  fill(tree, 0, KEYS, 1);
  changes_clear(&changes);
  changes_range(&changes, 0, KEYS, 2);
  add_run(tree, &changes);
  struct extent all[BLOCK_PTR_EXTENTS_MAX];
  uint32_t count;
  uint64_t left = space_counts(tree->w.space).free;
  assert_int_equal(space_allocate_sparing(tree->w.space, SPACE_LEAF, left - 3, 0, all, &count, NULL), 0);
  struct sweep sweep = sweep_of(tree, NULL);
  struct node *next = NULL;
  struct wodan_error error;
  assert_int_equal(sweep_step(&sweep, tree->node, &next, &error), WODAN_ENOSPC);
  assert_null(next);
  assert_int_equal(space_counts(tree->w.space).free, 3);
  space_release(tree->w.space, all, count);
  assert_content(tree);
  sweep_all(tree);
  assert_content(tree);
  tree_close(tree);
  free(tree);
}

static uint64_t allocations_left;
static void *scarce(void *context, size_t size, size_t alignment) {
  (void)context;
  if (allocations_left == 0) return NULL;
  allocations_left--;
  if (alignment < 16) alignment = 16;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
static void give(void *context, void *memory, size_t size) {
  (void)context, (void)size;
  free(memory);
}

/* Each allocation of a step fails in turn: nothing changed, nothing lost, and the step works when there is memory. */
static void test_tree__a_step_without_memory_changes_nothing(void **state) {
  (void)state;
  struct tree *tree = malloc(sizeof *tree);
  struct changes changes;
  tree_open(tree);
  fill(tree, 0, 300, 1);
  changes_clear(&changes);
  changes_range(&changes, 10, 200, 2);
  changes_range(&changes, 60, 100, ABSENT);
  add_run(tree, &changes);
  assert_content(tree); /* all is loaded */
  struct wodan_allocator right = tree->w.mem.hooks;
  unsigned failures = 0;
  for (uint64_t n = 0;; n++) {
    struct sweep sweep = sweep_of(tree, NULL);
    struct node *next = NULL;
    size_t used = atomic_load(&tree->w.mem.used);
    uint64_t free_blocks = space_counts(tree->w.space).free;
    tree->w.mem.hooks = (struct wodan_allocator){.allocate = scarce, .release = give};
    allocations_left = n;
    int status = sweep_step(&sweep, tree->node, &next, NULL);
    tree->w.mem.hooks = right;
    if (status == 0) {
      tree_publish(tree, next);
      break;
    }
    assert_int_equal(status, WODAN_ENOMEM);
    assert_null(next);
    assert_int_equal(space_counts(tree->w.space).free, free_blocks);
    assert_int_equal(atomic_load(&tree->w.mem.used), used);
    failures++;
  }
  assert_true(failures > 15);
  sweep_all(tree);
  assert_content(tree);
  tree_close(tree);
  free(tree);
}

/* ---- random ---------------------------------------------------------------------------------------------------------------- */

static void test_tree__random_runs_and_sweeps_equal_the_table(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 6; seed++) {
    struct tree *tree = malloc(sizeof *tree);
    struct changes changes;
    random_state = seed;
    print_message("seed %llu\n", (unsigned long long)seed);
    tree_open(tree);
    for (uint64_t round = 1; round <= 60; round++) {
      changes_clear(&changes);
      size_t from = random_next() % KEYS, length = 1 + random_next() % (round % 7 == 0 ? KEYS : 150);
      for (size_t i = from; i < KEYS && i < from + length; i++)
        if (random_next() % 3) changes.to[i] = random_next() % (round % 10 > 5 ? 2 : 5) ? round : ABSENT;
      changes.to[from] = round;
      if (round % 9 == 4)
        add_straight(tree, &changes);
      else
        add_run(tree, &changes);
      struct sweep sweep = sweep_of(tree, NULL);
      for (uint64_t n = random_next() % 12; n > 0 && step(tree, &sweep); n--) {
      }
      if (tree->node->run_count > 12) sweep_all(tree);
      if (round % 4 == 0) assert_content(tree);
    }
    sweep_all(tree);
    assert_content(tree);
    tree_close(tree);
    free(tree);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tree__an_empty_tree_has_nothing),
      cmocka_unit_test(test_tree__a_run_is_seen_before_and_after_its_sweep),
      cmocka_unit_test(test_tree__deletes_alone_make_no_leaf),
      cmocka_unit_test(test_tree__leaves_without_a_record_only_move_their_mark),
      cmocka_unit_test(test_tree__a_leaf_that_grows_is_split_and_its_neighbours_are_not),
      cmocka_unit_test(test_tree__a_leaf_that_shrank_is_joined_with_its_right_neighbour),
      cmocka_unit_test(test_tree__the_first_leaf_vanishes),
      cmocka_unit_test(test_tree__a_middle_leaf_vanishes),
      cmocka_unit_test(test_tree__the_last_leaf_vanishes),
      cmocka_unit_test(test_tree__everything_deleted_leaves_nothing),
      cmocka_unit_test(test_tree__keys_below_the_first_pivot_go_to_the_first_leaf),
      cmocka_unit_test(test_tree__a_run_goes_exactly_when_the_last_leaf_has_passed_it),
      cmocka_unit_test(test_tree__an_old_version_stays_readable),
      cmocka_unit_test(test_tree__a_step_without_space_changes_nothing),
      cmocka_unit_test(test_tree__a_step_without_memory_changes_nothing),
      cmocka_unit_test(test_tree__random_runs_and_sweeps_equal_the_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
