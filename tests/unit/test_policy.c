/* Policy: when a node is swept and where, when nodes split and join, and that it comes to an end. */
#include "tree_world.h"

static struct tree_work next(struct tree *tree) { return tree_next_work(tree->root, &tree->policy); }

static void assert_work(struct tree *tree, enum tree_work_kind kind, uint32_t depth, uint32_t at) {
  struct tree_work work = next(tree);
  assert_int_equal(work.kind, kind);
  assert_int_equal(work.path.depth, depth);
  assert_int_equal(work.at, at);
}

/* `count` bottom nodes of so many leaves at keys 0, 200, 400, ... */
static void children_of(struct tree *tree, uint32_t count, const uint32_t *leaves, const uint64_t *marks,
                        struct run *const *runs, uint32_t run_count) {
  struct node *children[16];
  for (uint32_t i = 0; i < count; i++) children[i] = bottom_of(tree, 200ull * i, leaves[i], NULL, 0, NULL);
  parent_of(tree, children, count, marks, runs, run_count);
}

/* ---- when ---------------------------------------------------------------------------------------------------------- */

static void test_policy__a_bottom_node_is_swept_when_most_of_its_limit_is_not_absorbed(void **state) {
  (void)state;
  struct tree *tree = tree_open(100, 8);
  fill(tree, 0, 1000, 1);
  uint64_t limit = node_buffer_limit(tree->root, &tree->policy);
  assert_in_range(limit, tree->root->sums.leaf_bytes * 9 / 10, tree->root->sums.leaf_bytes);
  for (size_t n = 0; next(tree).kind == WORK_NONE; n++) {
    assert_int_equal(tree_owed(tree->root, &tree->policy), 0);
    assert_true(tree->root->unabsorbed <= limit + 1);
    add_range(tree, 100 * (n % 10), 100 * (n % 10) + 100, 2 + n);
  }
  assert_int_equal(next(tree).kind, WORK_SWEEP);
  assert_true(tree->root->unabsorbed > limit / 8 * 7);
  tree->policy.alpha = 2 * ALPHA_ONE;
  assert_int_equal(next(tree).kind, WORK_NONE);
  tree->policy.eager = 8;
  assert_int_equal(next(tree).kind, WORK_SWEEP);
  tree_close(tree);
}

static void test_policy__many_tiny_runs_are_swept_too(void **state) {
  (void)state;
  struct tree *tree = tree_open(1000, 8);
  fill(tree, 0, 3000, 1);
  unsigned runs = 0;
  for (; next(tree).kind == WORK_NONE; runs++) add_range(tree, runs, runs + 1, 2);
  assert_in_range(runs, RUNS_BOTTOM / 2, RUNS_BOTTOM + 1); /* one more than the limit is due */
  settle(tree);
  assert_content(tree);
  tree_close(tree);
}

/* In the steady state the leaves are written once for each buffer that arrives: here all of them are as large as one. */
static void test_policy__sweeps_roll(void **state) {
  (void)state;
  struct tree *tree = tree_open(1000, 8);
  fill(tree, 0, 2000, 1);
  uint64_t before = 0;
  for (uint64_t v = 2; v < 40; v++) {
    struct changes *changes = changes_new();
    for (size_t i = v % 20; i < 2000; i += 20) changes->to[i] = v;
    add_run(tree, changes);
    if (v == 20) before = tree->leaf_bytes;
    settle(tree);
    assert_sound(tree);
  }
  assert_true(tree->leaf_bytes - before < tree->root->sums.leaf_bytes * 2);
  assert_true(tree->root->run_bytes > 0);
  assert_content(tree);
  tree_close(tree);
}

/* ---- where --------------------------------------------------------------------------------------------------------- */

static void test_policy__the_entry_that_is_furthest_behind_comes_first(void **state) {
  (void)state;
  struct tree *tree = tree_open(8, 8);
  struct run *runs[3];
  for (unsigned i = 0; i < 3; i++) runs[2 - i] = make_run(tree, 0, 900, 1, 2 + i);
  uint64_t marks[4] = {run_generation(runs[1]), run_generation(runs[2]), 0, run_generation(runs[2])};
  const uint32_t leaves[4] = {3, 3, 3, 3};
  children_of(tree, 4, leaves, marks, runs, 3);
  tree->policy.inner_limit = 1;
  assert_work(tree, WORK_SWEEP, 0, 2);
  for (unsigned i = 0; i < 3; i++) run_unref(runs[i]);
  tree_close(tree);
}

/* A child that has to split gets nothing; it is drained, cut, and then gets it. */
static void test_policy__a_node_that_has_to_split_gets_no_runs(void **state) {
  (void)state;
  struct tree *tree = tree_open(4, 8);
  struct run *run = make_run(tree, 0, 600, 1, 2);
  const uint32_t leaves[3] = {4, 9, 4};
  children_of(tree, 3, leaves, NULL, &run, 1);
  run_unref(run);
  changes_version(tree, 0, 600, 2);
  tree->policy.inner_limit = 1;
  struct tree_work work = next(tree);
  assert_int_equal(work.kind, WORK_SPLIT);
  assert_int_equal(work.path.depth, 1);
  assert_int_equal(work.path.at[0], 1);
  assert_int_equal(work.pieces, 3);
  settle_all(tree);
  assert_content(tree);
  tree_close(tree);

  tree = tree_open(4, 8); /* with a run of its own it is drained first, whatever its parent holds */
  struct run *below = make_run(tree, 200, 250, 1, 2), *above = make_run(tree, 0, 600, 1, 3);
  uint64_t begun[9] = {
      [0] = run_generation(below), [8] = run_generation(below)}; /* its ends are swept: it is being emptied */
  struct node *children[3] = {bottom_of(tree, 0, 4, NULL, 0, NULL), bottom_of(tree, 200, 9, &below, 1, begun),
                              bottom_of(tree, 400, 4, NULL, 0, NULL)};
  parent_of(tree, children, 3, NULL, &above, 1);
  run_unref(below);
  run_unref(above);
  changes_version(tree, 0, 600, 3);
  tree->policy.inner_limit = 1;
  work = next(tree);
  assert_int_equal(work.kind, WORK_SWEEP);
  assert_int_equal(work.path.depth, 1);
  assert_int_equal(work.path.at[0], 1);
  settle(tree);
  assert_content(tree);
  tree_close(tree);
}

/* The same where only a range is asked for, in which the child has nothing that must move. */
static void test_policy__a_node_that_has_to_split_is_drained_outside_the_range_too(void **state) {
  (void)state;
  struct tree *tree = tree_open(4, 8);
  char lower[64], upper[64];
  struct run *below = make_run(tree, 270, 280, 1, 2), *above = make_run(tree, 195, 215, 1, 3);
  struct node *children[2] = {bottom_of(tree, 0, 4, NULL, 0, NULL), bottom_of(tree, 200, 9, &below, 1, NULL)};
  uint64_t marks[2] = {0, 0};
  parent_of(tree, children, 2, marks, &above, 1);
  run_unref(below);
  run_unref(above);
  changes_version(tree, 270, 280, 2);
  changes_version(tree, 195, 215, 3);
  tree->enough = 1;
  struct tree_policy range = tree->policy;
  range.everything = true;
  range.lower = tree_key(190, lower);
  range.upper = tree_key(220, upper);
  settle_by(tree, &range);
  assert_true(tree->root->entry_count > 2);
  for (uint32_t i = 0; i < 2; i++) /* what is in the range went down */
    assert_true(tree->root->run_count == 0 ||
                tree->root->entries[i].flushed_upto >= run_generation(tree->root->runs[0]));
  for (uint32_t i = 1; i < tree->root->entry_count; i++) assert_true(tree->root->entries[i].child->entry_count <= 4);
  assert_content(tree);
  tree_close(tree);
}

static void test_policy__a_child_full_of_runs_is_swept_before_it_gets_more(void **state) {
  (void)state;
  struct tree *tree = tree_open(8, 8);
  struct run *runs[RUNS_BOTTOM], *above;
  for (uint32_t i = 0; i < RUNS_BOTTOM; i++) runs[RUNS_BOTTOM - 1 - i] = make_run(tree, 200 + i, 201 + i, 1, 2);
  above = make_run(tree, 0, 600, 1, 3);
  struct node *children[2] = {bottom_of(tree, 0, 4, NULL, 0, NULL), bottom_of(tree, 200, 4, runs, RUNS_BOTTOM, NULL)};
  uint64_t marks[2] = {run_generation(runs[0]), 0};
  parent_of(tree, children, 2, marks, &above, 1);
  changes_version(tree, 0, 600, 3);
  for (uint32_t i = 0; i < RUNS_BOTTOM; i++) run_unref(runs[i]);
  run_unref(above);
  tree->policy.inner_limit = 1;
  struct tree_work work = next(tree);
  assert_int_equal(work.kind, WORK_SWEEP);
  assert_int_equal(work.path.depth, 1);
  assert_int_equal(work.path.at[0], 1);
  settle(tree);
  assert_content(tree);
  tree_close(tree);
}

static void test_policy__damaged_leaves_are_left_alone(void **state) {
  (void)state;
  struct tree *tree = tree_open(100, 8);
  fill(tree, 0, 200, 1);
  add_range(tree, 0, 200, 2);
  uint64_t damaged[2] = {run_generation(tree->root->entries[0].leaf), run_generation(tree->root->entries[2].leaf)};
  tree->policy.everything = true;
  assert_work(tree, WORK_SWEEP, 0, 0);
  tree->policy.damaged = damaged;
  tree->policy.damaged_count = 2;
  tree->enough = 1;
  assert_work(tree, WORK_SWEEP, 0, 1);
  settle(tree);
  assert_int_equal(tree->root->run_count, 1);
  for (uint32_t i = 0; i < tree->root->entry_count; i++) {
    uint64_t generation = run_generation(tree->root->entries[i].leaf);
    bool left = generation == damaged[0] || generation == damaged[1];
    assert_int_equal(tree->root->entries[i].flushed_upto < run_generation(tree->root->runs[0]), left);
  }
  assert_int_equal(tree_owed(tree->root, &tree->policy), 0);
  tree->policy.damaged_count = 0;
  settle(tree);
  assert_content(tree);
  tree_close(tree);
}

/* ---- structure ----------------------------------------------------------------------------------------------------- */

static void test_policy__a_root_grows_and_shrinks(void **state) {
  (void)state;
  struct tree *tree = tree_open(4, 4);
  use_root(tree, bottom_of(tree, 0, 4, NULL, 0, NULL));
  assert_work(tree, WORK_NONE, 0, 0);
  tree_close(tree);
  tree = tree_open(4, 4);
  use_root(tree, bottom_of(tree, 0, 5, NULL, 0, NULL));
  assert_work(tree, WORK_GROW, 0, 0);
  struct tree_work work = next(tree);
  do_work(tree, &work, 1);
  assert_int_equal(next(tree).kind, WORK_SPLIT); /* and not back again */
  settle(tree);
  assert_int_equal(tree->root->level, 1);
  assert_int_equal(tree->root->entry_count, 2);
  tree_close(tree);
}

/* What was split is not joined at once, and what was joined is not split at once: at any limit, from any size. */
static void test_policy__splits_and_joins_are_apart(void **state) {
  (void)state;
  for (uint32_t most = 4; most <= 12; most++) {
    for (uint32_t leaves = most + 1; leaves <= 16; leaves++) {
      struct tree *tree = tree_open(most, 64);
      use_root(tree, bottom_of(tree, 0, leaves, NULL, 0, NULL));
      unsigned splits = 0;
      for (;;) {
        struct tree_work work = next(tree);
        if (work.kind == WORK_NONE) break;
        assert_true(work.kind == WORK_GROW || work.kind == WORK_SPLIT);
        do_work(tree, &work, 1);
        splits++;
      }
      assert_int_equal(splits, 2);
      for (uint32_t i = 0; i < tree->root->entry_count; i++)
        assert_true(tree->root->entries[i].child->entry_count <= most);
      assert_sound(tree);
      tree_close(tree);
    }
  }
}

static void test_policy__two_small_children_are_joined(void **state) {
  (void)state;
  struct tree *tree = tree_open(8, 8);
  const uint32_t apart[3] = {3, 2, 3}, close[3] = {3, 2, 2};
  children_of(tree, 3, apart, NULL, NULL, 0);
  assert_work(tree, WORK_NONE, 0, 0);
  tree_close(tree);
  tree = tree_open(8, 8);
  children_of(tree, 3, close, NULL, NULL, 0);
  assert_work(tree, WORK_JOIN, 0, 1);
  settle(tree);
  assert_int_equal(tree->root->entry_count, 2);
  assert_content(tree);
  tree_close(tree);
}

/* Keys of the right child's runs below its first leaf would come into the range of the left one's last leaf, which may
 * count them as absorbed. */
static void test_policy__no_join_with_runs_below_the_first_leaf(void **state) {
  (void)state;
  struct tree *tree = tree_open(8, 8);
  char key[64];
  struct run *run = make_run(tree, 200, 221, 1, 2);
  uint64_t younger = ++tree->generation, marks[2] = {younger, younger};
  struct node *left = bottom_of(tree, 0, 2, NULL, 0, marks), *right = bottom_of(tree, 220, 2, &run, 1, NULL);
  struct node_parts parts = {.pivot = tree_key(200, key), /* its first leaf vanished */
                             .entries = right->entries,
                             .entry_count = right->entry_count,
                             .runs = right->runs,
                             .run_count = 1};
  struct node *wider = node_create(&tree->w.env, &parts);
  struct node *children[2] = {left, wider};
  node_unref(right);
  run_unref(run);
  changes_version(tree, 200, 221, 2);
  parent_of(tree, children, 2, NULL, NULL, 0);
  assert_work(tree, WORK_NONE, 0, 0);
  assert_content(tree);
  settle_all(tree);
  assert_int_equal(tree->root->sums.runs, 0);
  assert_content(tree);
  tree_close(tree);
}

/* A hostile volume may name runs of one generation in two nodes. Joined they could not be in order, which ended in an assert. */
static void test_policy__no_join_of_runs_of_one_generation(void **state) {
  (void)state;
  for (int same = 0; same < 2; same++) {
    struct tree *tree = tree_open(8, 8);
    struct run *run = make_run(tree, 0, 221, 1, 2), *other = make_run(tree, 0, 221, 1, 3);
    struct node *children[2] = {bottom_of(tree, 0, 2, &run, 1, NULL),
                                bottom_of(tree, 200, 2, same ? &run : &other, 1, NULL)};
    run_unref(run);
    run_unref(other);
    parent_of(tree, children, 2, NULL, NULL, 0);
    assert_int_equal(next(tree).kind == WORK_JOIN, !same);
    tree_close(tree);
  }
}

/* A left child without leaves has its keys in runs only: below the right one's first leaf, which may have absorbed younger
 * runs, they would be lost. */
static void test_policy__no_join_of_runs_without_leaves(void **state) {
  (void)state;
  for (int left = 0; left < 2; left++) {
    struct tree *tree = tree_open(8, 8);
    struct run *run = make_run(tree, left ? 0 : 200, left ? 20 : 220, 1, 2);
    uint64_t younger = ++tree->generation, marks[2] = {younger, younger};
    struct node *children[2] = {bottom_of(tree, 0, left ? 0 : 2, left ? &run : NULL, left, marks),
                                bottom_of(tree, 200, left ? 2 : 0, left ? NULL : &run, !left, marks)};
    changes_version(tree, left ? 0 : 200, left ? 20 : 220, 2);
    run_unref(run);
    parent_of(tree, children, 2, NULL, NULL, 0);
    assert_work(tree, WORK_NONE, 0, 0);
    settle_all(tree);
    assert_content(tree);
    tree_close(tree);
  }
}

/* A child that holds nothing goes, however full its neighbour is. */
static void test_policy__a_child_that_holds_nothing_goes(void **state) {
  (void)state;
  for (uint32_t at = 0; at < 3; at++) {
    struct tree *tree = tree_open(4, 8);
    uint32_t leaves[3] = {4, 4, 4};
    leaves[at] = 0;
    children_of(tree, 3, leaves, NULL, NULL, 0);
    assert_work(tree, WORK_JOIN, 0, at ? at - 1 : 0);
    settle(tree);
    assert_int_equal(tree->root->entry_count, 2);
    assert_content(tree);
    add_range(tree, 200 * at, 200 * at + 20, 2); /* its range is a neighbour's */
    settle_all(tree);
    assert_content(tree);
    tree_close(tree);
  }
}

/* ---- everything ---------------------------------------------------------------------------------------------------- */

static void test_policy__a_range_is_compacted_and_no_more(void **state) {
  (void)state;
  struct tree *tree = tree_open(4, 4);
  char lower[64], upper[64];
  fill(tree, 0, 2000, 1);
  for (uint64_t v = 2; v < 5; v++) {
    struct changes *changes = changes_new();
    for (size_t i = v; i < 2000; i += 50) changes->to[i] = v;
    add_run(tree, changes);
  }
  tree->leaf_bytes = 0;
  tree->enough = 1; /* else a sweep goes on behind the range */
  struct tree_policy range = tree->policy;
  range.everything = true;
  range.lower = tree_key(500, lower);
  range.upper = tree_key(600, upper);
  assert_true(settle_by(tree, &range) > 0);
  assert_content(tree);
  assert_true(tree->root->sums.runs > 0);
  assert_true(tree->leaf_bytes < tree->root->sums.leaf_bytes / 4);
  char key[64]; /* nothing in the range is buffered */
  for (const struct node *node = tree->root;; node = node->entries[node_find(node, tree_key(550, key))].child) {
    const struct node_entry *entry = &node->entries[node_find(node, tree_key(550, key))];
    if (node->run_count) assert_true(entry->flushed_upto >= run_generation(node->runs[0]));
    if (node->level == 0) break;
  }
  assert_int_equal(settle_by(tree, &range), 0); /* again: nothing */
  settle_all(tree);
  assert_content(tree);
  tree_close(tree);
}

static void test_policy__small_leaves_are_joined_when_everything_is_asked_for(void **state) {
  (void)state;
  struct tree *tree = tree_open(100, 4);
  use_root(tree, bottom_of(tree, 0, 12, NULL, 0, NULL)); /* of ten keys each */
  for (size_t i = 0; i < 120; i += 2) add_range(tree, i, i + 1, ABSENT);
  settle_all(tree);
  assert_true(tree->root->entry_count <= 6); /* a quarter full, at least */
  assert_content(tree);
  tree_close(tree);
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

/* Trees of random shape, built by runs that are left lying: by any policy the work ends, and owes nothing then. */
static void test_policy__the_work_ends(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 8; seed++) {
    print_message("seed %llu\n", (unsigned long long)seed);
    random_state = seed;
    struct tree *tree = tree_open(4 + (uint32_t)(random_next() % 4), 4 + (uint32_t)(random_next() % 4));
    tree->enough = random_next() % 2 ? 1 : UINT64_MAX;
    for (uint64_t round = 1; round < 30; round++) {
      struct changes *changes = changes_new();
      size_t from = random_next() % KEYS, end = from + 1 + random_next() % (KEYS - from), step = 1 + random_next() % 30;
      for (size_t i = from; i < end; i += step) changes->to[i] = random_next() % 3 ? round : ABSENT;
      add_run(tree, changes);
      tree->policy.eager = random_next() % 4 ? 1 : 8;
      tree->policy.alpha = ALPHA_ONE >> random_next() % 3;
      if (random_next() % 3 == 0) settle(tree);
    }
    tree->policy.eager = 1;
    settle(tree);
    assert_content(tree);
    tree->policy.eager = 8;
    settle(tree);
    assert_content(tree);
    settle_all(tree);
    assert_content(tree);
    assert_int_equal(settle(tree), 0);
    tree_close(tree);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_policy__a_bottom_node_is_swept_when_most_of_its_limit_is_not_absorbed),
      cmocka_unit_test(test_policy__many_tiny_runs_are_swept_too),
      cmocka_unit_test(test_policy__sweeps_roll),
      cmocka_unit_test(test_policy__the_entry_that_is_furthest_behind_comes_first),
      cmocka_unit_test(test_policy__a_node_that_has_to_split_gets_no_runs),
      cmocka_unit_test(test_policy__a_node_that_has_to_split_is_drained_outside_the_range_too),
      cmocka_unit_test(test_policy__a_child_full_of_runs_is_swept_before_it_gets_more),
      cmocka_unit_test(test_policy__damaged_leaves_are_left_alone),
      cmocka_unit_test(test_policy__a_root_grows_and_shrinks),
      cmocka_unit_test(test_policy__splits_and_joins_are_apart),
      cmocka_unit_test(test_policy__two_small_children_are_joined),
      cmocka_unit_test(test_policy__no_join_with_runs_below_the_first_leaf),
      cmocka_unit_test(test_policy__no_join_of_runs_of_one_generation),
      cmocka_unit_test(test_policy__no_join_of_runs_without_leaves),
      cmocka_unit_test(test_policy__a_child_that_holds_nothing_goes),
      cmocka_unit_test(test_policy__a_range_is_compacted_and_no_more),
      cmocka_unit_test(test_policy__small_leaves_are_joined_when_everything_is_asked_for),
      cmocka_unit_test(test_policy__the_work_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
