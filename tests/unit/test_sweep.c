/* Sweeps: into leaves, into a child's new run, runs handed down whole; in steps, interrupted, without room and over damage. */
#include "tree_world.h"

#include <xxhash.h>

/* ---- into leaves --------------------------------------------------------------------------------------------------- */

static void test_sweep__deletes_alone_make_no_leaf(void **state) {
  (void)state;
  struct tree *tree = tree_open(1000, 8);
  add_range(tree, 0, 300, ABSENT);
  settle_all(tree);
  assert_int_equal(tree->root->entry_count + tree->root->run_count, 0);
  assert_int_equal(space_counts(tree->w.space).free, tree->free_at_start);
  assert_content(tree);
  tree_close(tree);
}

/* Only the leaf with a record in its slice is rewritten; all the others keep their handle and move their mark. */
static void test_sweep__leaves_without_a_record_only_move_their_mark(void **state) {
  (void)state;
  struct tree *tree = tree_open(1000, 8);
  for (size_t i = 0; i < 1200; i += 400) fill(tree, i, i + 200, 1);
  uint32_t leaves = tree->root->entry_count;
  assert_true(leaves > 8);
  size_t from, end;
  entry_range(tree->root, 3, &from, &end);
  struct node *before = tree->root;
  node_ref(before);
  tree->held = true;
  add_range(tree, from + 1, from + 2, 2);
  uint64_t mark = run_generation(tree->root->runs[0]);
  tree->leaf_bytes = 0;
  sweep_once(tree, &AT_ROOT, 0, UINT64_MAX);
  assert_int_equal(tree->root->run_count, 0);
  assert_int_equal(tree->root->entry_count, leaves);
  for (uint32_t i = 0; i < leaves; i++) {
    assert_int_equal(tree->root->entries[i].leaf == before->entries[i].leaf, i != 3);
    assert_int_equal(tree->root->entries[i].flushed_upto, mark);
  }
  assert_true(tree->leaf_bytes <= 2 * LEAF);
  node_unref(before);
  tree->held = false;
  assert_content(tree);
  tree_close(tree);
}

/* The keys that the leaf's pages begin with, as hashes; returns their number. */
static size_t page_starts(struct run *leaf, uint64_t *starts, size_t most) {
  struct iterator *it = run_iterator(leaf);
  size_t count = 0;
  assert_int_equal(iterator_first(it, NULL), 0);
  while (it->valid) {
    assert_true(run_iterator_at_page(it) && count < most);
    starts[count++] = XXH3_64bits(it->record.key.data, it->record.key.size);
    assert_int_equal(run_iterator_skip_page(it, NULL), 0);
  }
  iterator_close(it);
  return count;
}

/* A record less at the front would move the start of every page behind it if records were packed anew. */
static void test_sweep__pages_that_nothing_changes_are_copied_as_they_are(void **state) {
  (void)state;
  enum { MOST = 64 };
  struct tree *tree = tree_open(1000, 8);
  fill(tree, 0, 1200, 1);
  size_t from, end;
  uint64_t before[MOST], after[MOST];
  entry_range(tree->root, 3, &from, &end);
  size_t pages = page_starts(tree->root->entries[3].leaf, before, MOST);
  assert_true(pages > 3);
  add_range(tree, from, from + 1, ABSENT);
  sweep_once(tree, &AT_ROOT, 0, UINT64_MAX);
  assert_int_equal(page_starts(tree->root->entries[3].leaf, after, MOST), pages);
  assert_int_not_equal(after[0], before[0]);
  assert_memory_equal(after + 1, before + 1, (pages - 1) * sizeof *after);
  assert_content(tree);
  tree_close(tree);
}

static void test_sweep__a_leaf_that_grows_is_split_and_its_neighbours_are_not(void **state) {
  (void)state;
  struct tree *tree = tree_open(1000, 8);
  struct changes *changes = changes_new();
  for (size_t i = 0; i < 1200; i += 4) changes->to[i] = 1; /* gaps to fill */
  add_run(tree, changes);
  settle_all(tree);
  uint32_t leaves = tree->root->entry_count;
  size_t from, end;
  entry_range(tree->root, 2, &from, &end);
  struct run *left = tree->root->entries[1].leaf, *right = tree->root->entries[3].leaf;
  run_ref(left), run_ref(right);
  add_range(tree, from, end, 2);
  settle_all(tree);
  assert_true(tree->root->entry_count >= leaves + 2);
  assert_ptr_equal(tree->root->entries[1].leaf, left);
  assert_ptr_equal(tree->root->entries[tree->root->entry_count - leaves + 3].leaf, right);
  run_unref(left), run_unref(right);
  assert_content(tree);
  tree_close(tree);
}

static void test_sweep__a_leaf_that_shrank_is_joined_with_its_right_neighbour(void **state) {
  (void)state;
  struct tree *tree = tree_open(1000, 8);
  fill(tree, 0, 1200, 1);
  uint32_t leaves = tree->root->entry_count;
  size_t from, end;
  entry_range(tree->root, 2, &from, &end);
  struct changes *changes = changes_new();
  changes_range(changes, from + 2, end, ABSENT); /* two are left */
  entry_range(tree->root, 3, &from, &end);
  changes_range(changes, from, end - 5, ABSENT); /* five are left in the next */
  add_run(tree, changes);
  settle_all(tree);
  assert_content(tree);
  assert_true(tree->root->entry_count < leaves);
  tree_close(tree);
}

/* All records of one leaf die: its range goes to a neighbour, and a key put there later is found. */
static void leaf_vanishes(uint32_t which) { /* 0: first, 1: middle, 2: last */
  struct tree *tree = tree_open(1000, 8);
  fill(tree, 100, 1100, 1);
  uint32_t leaves = tree->root->entry_count, at = which == 0 ? 0 : which == 1 ? leaves / 2 : leaves - 1;
  size_t from, end;
  entry_range(tree->root, at, &from, &end);
  struct changes *changes = changes_new();
  for (size_t i = from; i < end; i++)
    if (tree->version[i] != ABSENT) changes->to[i] = ABSENT;
  add_run(tree, changes);
  settle_all(tree);
  assert_int_equal(tree->root->entry_count, leaves - 1);
  assert_content(tree);
  for (size_t i = 0; i < 3; i++) { /* at its start, in its middle, at its end */
    size_t key = i == 0 ? from : i == 1 ? (from + end) / 2 : end - 1;
    add_range(tree, key, key + 1, 5);
    assert_content(tree);
    settle_all(tree);
    assert_content(tree);
  }
  tree_close(tree);
}
static void test_sweep__the_first_leaf_vanishes(void **state) {
  (void)state;
  leaf_vanishes(0);
}
static void test_sweep__a_middle_leaf_vanishes(void **state) {
  (void)state;
  leaf_vanishes(1);
}
static void test_sweep__the_last_leaf_vanishes(void **state) {
  (void)state;
  leaf_vanishes(2);
}

static void test_sweep__everything_deleted_leaves_nothing(void **state) {
  (void)state;
  for (uint32_t limit = 4; limit <= 1000; limit += 996) {
    struct tree *tree = tree_open(limit, 4);
    fill(tree, 0, 1200, 1);
    fill(tree, 0, 1200, ABSENT);
    assert_int_equal(tree->root->entry_count + tree->root->run_count + tree->root->level, 0);
    assert_int_equal(space_counts(tree->w.space).free, tree->free_at_start);
    assert_content(tree);
    fill(tree, 600, 700, 2);
    assert_content(tree);
    tree_close(tree);
  }
}

/* All leaves vanish while a younger run has come: it stays, in a node without entries. */
static void test_sweep__a_root_that_loses_all_entries_keeps_younger_runs(void **state) {
  (void)state;
  struct tree *tree = tree_open(1000, 8);
  fill(tree, 0, 300, 1);
  add_range(tree, 0, 300, ABSENT);
  tree->enough = UINT64_MAX;
  struct sweep *sweep = sweep_begin(tree, &AT_ROOT, 0);
  uint64_t moved = 0;
  bool done = false;
  assert_int_equal(sweep_step(sweep, 1, &moved, &done, NULL), 0);
  add_range(tree, 100, 150, 2);
  while (!done) assert_int_equal(sweep_step(sweep, 500, &moved, &done, NULL), 0);
  sweep_end(tree, sweep);
  assert_int_equal(tree->root->entry_count, 0);
  assert_int_equal(tree->root->run_count, 1);
  assert_content(tree);
  settle_all(tree);
  assert_content(tree);
  tree_close(tree);
}

/* A pivot is the shortest that divides: without its last byte it is not above the leaf before. */
static void test_sweep__separators_are_the_shortest(void **state) {
  (void)state;
  struct tree *tree = tree_open(1000, 8);
  fill(tree, 0, 2000, 1);
  struct wodan_slice last = {0};
  char kept[64];
  unsigned shorter = 0;
  for (uint32_t i = 0; i < tree->root->entry_count; i++) {
    struct run *leaf = tree->root->entries[i].leaf;
    struct run_shape shape;
    assert_int_equal(run_open_body(leaf, NULL), 0);
    run_shape(leaf, &shape);
    struct wodan_slice pivot = run_pivot(leaf);
    if (i > 0) {
      assert_true(key_compare(pivot, last) > 0 && key_compare(pivot, shape.low) <= 0);
      assert_memory_equal(pivot.data, shape.low.data, pivot.size);
      pivot.size--;
      assert_true(key_compare(pivot, last) <= 0);
      shorter += pivot.size + 1 < shape.low.size;
    }
    memcpy(kept, shape.high.data, shape.high.size);
    last = (struct wodan_slice){kept, shape.high.size};
    run_close_body(leaf);
  }
  assert_true(shorter > 0);
  tree_close(tree);
}

/* A run is in the node while some leaf has not absorbed it, and gone with the sweep in which the last one has. */
static void test_sweep__a_run_goes_exactly_when_the_last_leaf_has_passed_it(void **state) {
  (void)state;
  struct tree *tree = tree_open(1000, 8);
  fill(tree, 0, 1200, 1);
  add_range(tree, 0, 1200, 2);
  uint64_t first = run_generation(tree->root->runs[0]), second = 0;
  tree->enough = 1;
  for (unsigned steps = 1;; steps++) {
    uint32_t at = 0;
    for (uint32_t i = 1; i < tree->root->entry_count; i++)
      if (tree->root->entries[i].flushed_upto < tree->root->entries[at].flushed_upto) at = i;
    sweep_once(tree, &AT_ROOT, at, UINT64_MAX);
    assert_content(tree); /* at every moment */
    bool all_passed = true, has = false;
    for (uint32_t i = 0; i < tree->root->entry_count; i++) all_passed &= tree->root->entries[i].flushed_upto >= first;
    for (uint32_t i = 0; i < tree->root->run_count; i++) has |= run_generation(tree->root->runs[i]) == first;
    assert_int_equal(has, !all_passed);
    if (steps == 4) { /* a younger run comes in between */
      struct changes *changes = changes_new();
      for (size_t i = 0; i < 1200; i += 3) changes->to[i] = i % 2 ? 3 : ABSENT;
      add_run(tree, changes);
      second = run_generation(tree->root->runs[0]);
      assert_content(tree);
    }
    if (all_passed) break;
  }
  assert_true(tree->root->run_count <= 1);
  settle_all(tree);
  for (uint32_t i = 0; i < tree->root->entry_count; i++) assert_true(tree->root->entries[i].flushed_upto >= second);
  assert_content(tree);
  tree_close(tree);
}

/* ---- into children ------------------------------------------------------------------------------------------------- */

/* A root over bottom nodes of three leaves each at keys 0, 100, 200. */
static struct tree *two_levels(void) {
  struct tree *tree = tree_open(8, 8);
  struct node *children[3];
  for (size_t i = 0; i < 3; i++) children[i] = bottom_of(tree, 100 * i, 3, NULL, 0, NULL);
  parent_of(tree, children, 3, NULL, NULL, 0);
  return tree;
}

/* The slice of a child becomes one run of the child's: the newest of each key, deletes among them. */
static void test_sweep__a_childs_slice_becomes_one_run(void **state) {
  (void)state;
  struct tree *tree = two_levels();
  add_range(tree, 90, 150, 2); /* spans two children */
  struct changes *changes = changes_new();
  changes_range(changes, 95, 110, 3);
  changes_range(changes, 110, 120, ABSENT);
  add_run(tree, changes);
  tree->enough = 1;
  uint64_t mark = run_generation(tree->root->runs[0]);
  sweep_once(tree, &AT_ROOT, 1, UINT64_MAX);
  const struct node *child = tree->root->entries[1].child;
  assert_int_equal(tree->root->entries[1].flushed_upto, mark);
  assert_int_equal(child->run_count, 1);
  assert_int_equal(run_records(child->runs[0]), 50);
  assert_int_equal(run_deletes(child->runs[0]), 10); /* only leaves let them die */
  assert_int_equal(tree->root->run_count, 2);
  assert_content(tree);
  settle_all(tree);
  assert_content(tree);
  tree_close(tree);
}

static void test_sweep__a_run_inside_one_child_is_handed_down_whole(void **state) {
  (void)state;
  struct tree *tree = two_levels();
  add_range(tree, 110, 115, 2);
  add_range(tree, 112, 120, 3);
  struct run *runs[2] = {tree->root->runs[0], tree->root->runs[1]};
  tree->enough = 1;
  sweep_once(tree, &AT_ROOT, 1, UINT64_MAX);
  const struct node *child = tree->root->entries[1].child;
  assert_int_equal(tree->root->run_count, 0); /* before the others have passed it */
  assert_int_equal(child->run_count, 2);
  assert_ptr_equal(child->runs[0], runs[0]);
  assert_ptr_equal(child->runs[1], runs[1]);
  assert_int_equal(tree->run_bytes, 0); /* nothing was written */
  assert_content(tree);
  settle_all(tree);
  assert_content(tree);
  tree_close(tree);
}

/* The run above spans two children, so neither may go whole, or the one below would rise over it. */
static void test_sweep__no_run_is_handed_down_from_under_another(void **state) {
  (void)state;
  struct tree *tree = two_levels();
  add_range(tree, 110, 115, 2);
  add_range(tree, 90, 150, 3);
  tree->enough = 1;
  sweep_once(tree, &AT_ROOT, 1, UINT64_MAX);
  assert_int_equal(tree->root->run_count, 2);
  assert_int_equal(tree->root->entries[1].child->run_count, 1);
  assert_content(tree);
  /* Now one that lies in the child alone, above one that the child has absorbed and others have not. */
  add_range(tree, 111, 113, 4);
  sweep_once(tree, &AT_ROOT, 1, UINT64_MAX);
  assert_int_equal(tree->root->run_count, 3);
  assert_int_equal(tree->root->entries[1].child->run_count, 2);
  assert_content(tree);
  settle_all(tree);
  assert_content(tree);
  tree_close(tree);
}

/* A run arrives while a sweep makes a younger one, which the child then absorbs: handed down whole, the older run would
 * count as absorbed and be lost. */
static void test_sweep__a_run_older_than_what_the_child_absorbed_is_merged(void **state) {
  (void)state;
  struct tree *tree = two_levels();
  add_range(tree, 90, 150, 2);
  tree->enough = 1;
  struct sweep *sweep = sweep_begin(tree, &AT_ROOT, 1);
  uint64_t moved = 0;
  bool done = false;
  assert_int_equal(sweep_step(sweep, 1, &moved, &done, NULL), 0);
  add_range(tree, 110, 115, 3); /* in the child alone */
  uint64_t arrived = run_generation(tree->root->runs[0]);
  while (!done) assert_int_equal(sweep_step(sweep, 500, &moved, &done, NULL), 0);
  sweep_end(tree, sweep);
  struct tree_path path = path_of(1, 1, 0, 0);
  tree->enough = UINT64_MAX;
  sweep_once(tree, &path, 0, UINT64_MAX);
  const struct node *child = tree->root->entries[1].child;
  assert_int_equal(child->run_count, 0);
  assert_true(child->entries[0].flushed_upto > arrived);
  tree->enough = 1;
  sweep_once(tree, &AT_ROOT, 0, UINT64_MAX);
  sweep_once(tree, &AT_ROOT, 2, UINT64_MAX);
  assert_int_equal(tree->root->run_count, 1); /* the first has gone: nothing is left above, or below */
  sweep_once(tree, &AT_ROOT, 1, UINT64_MAX);
  child = tree->root->entries[1].child;
  assert_int_equal(child->run_count, 1);
  assert_true(run_generation(child->runs[0]) > child->entries[0].flushed_upto);
  assert_content(tree);
  tree_close(tree);
}

static void test_sweep__a_child_with_many_runs_gets_one_more_at_most(void **state) {
  (void)state;
  struct tree *tree = two_levels();
  struct sweep_setup setup = sweep_setup_of(tree);
  setup.runs_max = 3;
  for (uint64_t v = 2; v < 6; v++) add_range(tree, 110, 115 + v, v);
  struct sweep *sweep;
  uint64_t moved = 0;
  bool done = false;
  assert_int_equal(sweep_open(&setup, tree->root, &AT_ROOT, 1, &sweep, NULL), 0);
  while (!done) assert_int_equal(sweep_step(sweep, UINT64_MAX, &moved, &done, NULL), 0);
  sweep_end(tree, sweep);
  assert_int_equal(tree->root->entries[1].child->run_count, 1);
  assert_content(tree);
  tree_close(tree);
}

/* ---- steps --------------------------------------------------------------------------------------------------------- */

static struct tree *busy_tree(void) {
  struct tree *tree = tree_open(4, 4);
  fill(tree, 0, 900, 1);
  for (uint64_t v = 2; v < 6; v++) {
    struct changes *changes = changes_new();
    for (size_t i = v * 3; i < 1000; i += 3 + v) changes->to[i] = i % 5 ? v : ABSENT;
    add_run(tree, changes);
  }
  return tree;
}

static void assert_alike(const struct node *a, const struct node *b) {
  assert_int_equal(a->level, b->level);
  assert_int_equal(a->entry_count, b->entry_count);
  assert_int_equal(a->run_count, b->run_count);
  for (uint32_t i = 0; i < a->run_count; i++) {
    assert_int_equal(run_records(a->runs[i]), run_records(b->runs[i]));
    assert_int_equal(run_length(a->runs[i]), run_length(b->runs[i]));
  }
  for (uint32_t i = 0; i < a->entry_count; i++) {
    assert_int_equal(a->entries[i].flushed_upto, b->entries[i].flushed_upto);
    assert_int_equal(key_compare(entry_pivot(a, i), entry_pivot(b, i)), 0);
    if (a->level)
      assert_alike(a->entries[i].child, b->entries[i].child);
    else
      assert_int_equal(run_length(a->entries[i].leaf), run_length(b->entries[i].leaf));
  }
}

static void test_sweep__small_steps_give_what_one_gives(void **state) {
  (void)state;
  struct tree *whole = busy_tree(), *slow = busy_tree();
  struct tree_policy everything = whole->policy;
  everything.everything = true;
  unsigned steps = 0, sweeps = 0;
  for (;;) {
    struct tree_work work = tree_next_work(whole->root, &everything);
    if (work.kind == WORK_NONE) break;
    do_work(whole, &work, UINT64_MAX);
    if (work.kind == WORK_SWEEP) {
      steps += sweep_once(slow, &work.path, work.at, 100);
      sweeps++;
    } else {
      do_work(slow, &work, 100);
    }
    assert_alike(whole->root, slow->root);
  }
  assert_true(sweeps > 10 && steps > 10 * sweeps);
  assert_int_equal(whole->leaf_bytes, slow->leaf_bytes);
  assert_int_equal(whole->run_bytes, slow->run_bytes);
  assert_content(slow);
  assert_content(whole);
  tree_close(slow);
  tree_close(whole);
}

/* A step does about its budget. */
static void test_sweep__a_step_is_no_larger_than_its_budget_and_a_record(void **state) {
  (void)state;
  struct tree *tree = busy_tree();
  tree->enough = UINT64_MAX;
  struct sweep *sweep = sweep_begin(tree, &AT_ROOT, 0);
  bool done = false;
  while (!done) {
    uint64_t moved = 0;
    assert_int_equal(sweep_step(sweep, 300, &moved, &done, NULL), 0);
    assert_true(moved < 300 + 200);
  }
  sweep_end(tree, sweep);
  assert_content(tree);
  tree_close(tree);
}

/* Given up after every possible step: all it took is back. */
static void test_sweep__given_up_in_the_middle_it_leaves_nothing(void **state) {
  (void)state;
  struct tree *tree = busy_tree();
  tree->enough = UINT64_MAX;
  for (unsigned steps = 0;; steps++) {
    struct space_counts before = space_counts(tree->w.space);
    size_t used = atomic_load(&tree->w.mem.used);
    struct sweep *sweep = sweep_begin(tree, &AT_ROOT, 0);
    uint64_t moved = 0;
    bool done = false;
    for (unsigned n = 0; n < steps && !done; n++) assert_int_equal(sweep_step(sweep, 700, &moved, &done, NULL), 0);
    sweep_close(sweep, false);
    assert_int_equal(space_counts(tree->w.space).free, before.free);
    if (steps > 0) assert_true(atomic_load(&tree->w.mem.used) <= used + (64 << 10)); /* bodies were loaded */
    if (done) break;
  }
  assert_content(tree);
  tree_close(tree);
}

/* ---- failures ------------------------------------------------------------------------------------------------------ */

/* However little space there is: what the sweep did not publish is given back. */
static void test_sweep__without_space_nothing_is_lost(void **state) {
  (void)state;
  struct tree *tree = busy_tree();
  struct tree_policy everything = tree->policy;
  everything.everything = true;
  tree->enough = UINT64_MAX;
  unsigned refused = 0, partial = 0;
  for (uint64_t left = 0;; left++) {
    struct extent all[BLOCK_PTR_EXTENTS_MAX];
    uint32_t count;
    struct tree_work work = tree_next_work(tree->root, &everything);
    if (work.kind == WORK_NONE) break;
    if (work.kind != WORK_SWEEP) {
      do_work(tree, &work, UINT64_MAX);
      continue;
    }
    uint64_t free_blocks = space_counts(tree->w.space).free, part = left % 40;
    assert_int_equal(space_allocate_sparing(tree->w.space, SPACE_LEAF, free_blocks - part, 0, all, &count, NULL), 0);
    struct sweep *sweep = sweep_begin(tree, &work.path, work.at);
    uint64_t moved = 0;
    bool done = false;
    int status = 0;
    while (status == 0 && !done) status = sweep_step(sweep, 500, &moved, &done, NULL);
    if (status < 0) {
      assert_int_equal(status, WODAN_ENOSPC);
      sweep_close(sweep, false);
      assert_int_equal(space_counts(tree->w.space).free, part);
      refused++;
    } else {
      sweep_end(tree, sweep);
      partial++;
    }
    space_release(tree->w.space, all, count);
    assert_sound(tree);
    if (refused % 16 == 1) assert_content(tree);
  }
  assert_true(refused > 10 && partial > 10);
  assert_content(tree);
  tree_close(tree);
}

/* Each allocation of a sweep fails in turn: nothing changed, nothing lost, and it works when there is memory. */
static void without_memory(struct tree *tree, const struct tree_path *path, uint32_t at) {
  struct wodan_allocator right = tree->w.mem.hooks;
  unsigned failures = 0;
  sweep_setup_of(tree);
  tree->enough = 1;
  for (uint64_t n = 0;; n++) {
    struct sweep_setup setup = sweep_setup_of(tree);
    struct sweep *sweep = NULL;
    struct node *next = NULL;
    struct tree_edit edit;
    uint64_t free_blocks = space_counts(tree->w.space).free, moved = 0;
    bool done = false;
    tree_edit_init(&edit, &tree->w.mem);
    tree->w.mem.hooks = (struct wodan_allocator){.allocate = scarce, .release = give};
    allocations_left = n;
    int status = sweep_open(&setup, tree->root, path, at, &sweep, NULL);
    while (status == 0 && !done) status = sweep_step(sweep, 700, &moved, &done, NULL);
    if (status == 0) next = sweep_result(sweep, tree->root, &edit);
    tree->w.mem.hooks = right;
    if (next) {
      tree_publish(tree, next, &edit);
      sweep_close(sweep, true);
      break;
    }
    tree_edit_release(&edit);
    sweep_close(sweep, false);
    assert_true(status == 0 || status == WODAN_ENOMEM);
    assert_int_equal(space_counts(tree->w.space).free, free_blocks);
    failures++;
  }
  assert_true(failures > 10);
  assert_content(tree);
}

static void test_sweep__without_memory_nothing_changes(void **state) {
  (void)state;
  struct tree *tree = tree_open(1000, 8);
  fill(tree, 0, 300, 1);
  struct changes *changes = changes_new();
  changes_range(changes, 10, 200, 2);
  changes_range(changes, 60, 100, ABSENT);
  add_run(tree, changes);
  without_memory(tree, &AT_ROOT, 0);
  tree_close(tree);
  tree = two_levels();
  add_range(tree, 90, 150, 2); /* merged into a run */
  without_memory(tree, &AT_ROOT, 1);
  add_range(tree, 210, 215, 2); /* handed down whole, with what is left of the first */
  without_memory(tree, &AT_ROOT, 0);
  without_memory(tree, &AT_ROOT, 2);
  tree_close(tree);
}

/* Spoils the object on the device; its pages must not be cached yet. */
static void spoil(struct tree *tree, const struct run *run) {
  struct block_ptr ptr;
  uint8_t *zeros = mem_alloc_aligned(&tree->w.mem, BLOCK, BLOCK_IO_ALIGNMENT);
  assert_non_null(zeros);
  memset(zeros, 0xEE, BLOCK);
  run_pointer(run, &ptr);
  for (uint64_t i = 0; i < block_ptr_blocks(&ptr); i++)
    assert_int_equal(block_io_write(&tree->w.io, ptr.extents, ptr.extent_count, i * BLOCK, zeros, BLOCK, NULL), 0);
  mem_free(&tree->w.mem, zeros, BLOCK);
}

/* Of six leaves the fourth cannot be read: the first three are swept, then the sweep of the fourth says so. */
static void test_sweep__damage_ends_it_with_what_is_whole(void **state) {
  (void)state;
  struct tree *tree = tree_open(1000, 8);
  struct run *leaves[6];
  struct node_entry entries[6] = {0};
  for (size_t i = 0; i < 6; i++) {
    leaves[i] = make_leaf(tree, 30 * i, 30 * i + 30, 1, i ? 30 * i : NONE);
    entries[i].leaf = leaves[i];
    changes_version(tree, 30 * i, 30 * i + 30, 1);
  }
  struct node_parts parts = {.entries = entries, .entry_count = 6};
  use_root(tree, node_create(&tree->w.env, &parts));
  spoil(tree, leaves[3]);
  uint64_t spoiled = run_generation(leaves[3]);
  for (size_t i = 0; i < 6; i++) run_unref(leaves[i]);
  add_range(tree, 0, 180, 2);
  tree->enough = UINT64_MAX;
  sweep_once(tree, &AT_ROOT, 0, 500);
  uint64_t mark = run_generation(tree->root->runs[0]);
  unsigned behind = 0;
  for (uint32_t i = 0; i < tree->root->entry_count; i++) behind += tree->root->entries[i].flushed_upto < mark;
  assert_int_equal(behind, 3);
  assert_int_equal(run_generation(tree->root->entries[tree->root->entry_count - 3].leaf), spoiled);
  assert_sound(tree);
  for (size_t i = 0; i < 180; i++) assert_key(tree, tree->root, i, 2); /* above the damage */
  struct space_counts before = space_counts(tree->w.space);
  struct sweep *sweep = sweep_begin(tree, &AT_ROOT, tree->root->entry_count - 3);
  uint64_t moved = 0;
  bool done = false;
  assert_int_equal(sweep_step(sweep, UINT64_MAX, &moved, &done, NULL), WODAN_ECORRUPT);
  assert_int_equal(sweep_damaged_leaf(sweep), spoiled);
  sweep_close(sweep, false);
  assert_int_equal(space_counts(tree->w.space).free, before.free);
  /* Told of it, the policy sweeps the rest and comes to an end. */
  tree->policy.everything = true;
  tree->policy.damaged = &spoiled;
  tree->policy.damaged_count = 1;
  settle(tree);
  assert_int_equal(tree->root->run_count, 1);
  assert_sound(tree);
  for (size_t i = 0; i < 180; i++) assert_key(tree, tree->root, i, 2);
  tree_close(tree);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sweep__deletes_alone_make_no_leaf),
      cmocka_unit_test(test_sweep__leaves_without_a_record_only_move_their_mark),
      cmocka_unit_test(test_sweep__pages_that_nothing_changes_are_copied_as_they_are),
      cmocka_unit_test(test_sweep__a_leaf_that_grows_is_split_and_its_neighbours_are_not),
      cmocka_unit_test(test_sweep__a_leaf_that_shrank_is_joined_with_its_right_neighbour),
      cmocka_unit_test(test_sweep__the_first_leaf_vanishes),
      cmocka_unit_test(test_sweep__a_middle_leaf_vanishes),
      cmocka_unit_test(test_sweep__the_last_leaf_vanishes),
      cmocka_unit_test(test_sweep__everything_deleted_leaves_nothing),
      cmocka_unit_test(test_sweep__a_root_that_loses_all_entries_keeps_younger_runs),
      cmocka_unit_test(test_sweep__separators_are_the_shortest),
      cmocka_unit_test(test_sweep__a_run_goes_exactly_when_the_last_leaf_has_passed_it),
      cmocka_unit_test(test_sweep__a_childs_slice_becomes_one_run),
      cmocka_unit_test(test_sweep__a_run_inside_one_child_is_handed_down_whole),
      cmocka_unit_test(test_sweep__no_run_is_handed_down_from_under_another),
      cmocka_unit_test(test_sweep__a_run_older_than_what_the_child_absorbed_is_merged),
      cmocka_unit_test(test_sweep__a_child_with_many_runs_gets_one_more_at_most),
      cmocka_unit_test(test_sweep__small_steps_give_what_one_gives),
      cmocka_unit_test(test_sweep__a_step_is_no_larger_than_its_budget_and_a_record),
      cmocka_unit_test(test_sweep__given_up_in_the_middle_it_leaves_nothing),
      cmocka_unit_test(test_sweep__without_space_nothing_is_lost),
      cmocka_unit_test(test_sweep__without_memory_nothing_changes),
      cmocka_unit_test(test_sweep__damage_ends_it_with_what_is_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
