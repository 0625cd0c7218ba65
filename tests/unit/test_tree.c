/* The tree as readers see it: versions, lookups and scans at every depth, and the way to the device and back. */
#include "tree_world.h"

/* ---- a lone bottom node -------------------------------------------------------------------------------------------- */

static void test_tree__an_empty_tree_has_nothing(void **state) {
  (void)state;
  struct tree *tree = tree_open(1000, 8);
  assert_content(tree);
  assert_int_equal(tree_next_work(tree->root, &tree->policy).kind, WORK_NONE);
  assert_int_equal(tree_blocks(tree->root), 0);
  tree_close(tree);
}

static void test_tree__a_run_is_seen_before_and_after_its_sweep(void **state) {
  (void)state;
  struct tree *tree = tree_open(1000, 8);
  add_range(tree, 100, 400, 1);
  assert_int_equal(tree->root->entry_count, 0);
  assert_content(tree);
  settle_all(tree);
  assert_true(tree->root->entry_count > 4);
  for (uint32_t i = 0; i < tree->root->entry_count; i++) {
    uint64_t length = run_length(tree->root->entries[i].leaf);
    assert_true(length <= LEAF + LEAF / 2);
    if (i + 1 < tree->root->entry_count) assert_true(length > LEAF / 2); /* all but the last are full */
  }
  assert_content(tree);
  struct changes *changes = changes_new();
  changes_range(changes, 50, 300, 2);
  changes_range(changes, 350, 380, ABSENT);
  add_run(tree, changes);
  assert_content(tree); /* the run is newer than the leaves */
  settle_all(tree);
  assert_content(tree);
  tree_close(tree);
}

/* Keys below the first pivot belong to the first leaf: found in runs, and in the leaf once swept. */
static void test_tree__keys_below_the_first_pivot_go_to_the_first_leaf(void **state) {
  (void)state;
  struct tree *tree = tree_open(1000, 8);
  char key[64];
  fill(tree, 600, 1200, 1);
  assert_int_equal(node_find(tree->root, tree_key(0, key)), 0);
  for (size_t i = 500; i > 400; i -= 20) {
    add_range(tree, i, i + 1, 2);
    assert_content(tree);
    settle_all(tree);
    assert_content(tree);
  }
  fill(tree, 0, 400, 3); /* so many that it splits */
  assert_content(tree);
  tree_close(tree);
}

/* A reader's version stays whole while work goes on: its runs and leaves are kept until it lets go. */
static void test_tree__an_old_version_stays_readable(void **state) {
  (void)state;
  struct tree *tree = tree_open(4, 4);
  fill(tree, 0, 1500, 1);
  add_range(tree, 200, 300, 2);
  uint64_t *version = malloc(sizeof tree->version);
  memcpy(version, tree->version, sizeof tree->version);
  struct node *old = tree->root;
  node_ref(old);
  tree->held = true;
  for (uint64_t v = 3; v < 7; v++) fill(tree, v * 100, 1500 - v * 50, v);
  fill(tree, 0, 1500, ABSENT);
  for (size_t i = 0; i < KEYS; i++) assert_key(tree, old, i, version[i]);
  assert_scan(tree, old, version);
  node_unref(old);
  tree->held = false;
  assert_content(tree); /* and its space is back */
  tree_close(tree);
  free(version);
}

/* ---- levels -------------------------------------------------------------------------------------------------------- */

/* A tree of so many levels, with runs left at each, and deletes in them. */
static struct tree *tree_of_levels(uint32_t levels) {
  struct tree *tree = tree_open(4, 4);
  size_t keys = 40;
  while (tree->root->level + 1 < levels) {
    assert_true(keys < KEYS);
    fill(tree, keys, keys + 40, 1);
    keys += 40;
  }
  for (uint64_t v = 2; v < 10; v++) {
    struct changes *changes = changes_new();
    for (size_t i = v; i < keys; i += 7 + v % 3) changes->to[i] = v % 4 ? v : ABSENT;
    add_run(tree, changes);
    settle(tree);
  }
  assert_int_equal(tree->root->level + 1, levels);
  return tree;
}

static void test_tree__lookups_and_scans_find_everything_at_any_depth(void **state) {
  (void)state;
  for (uint32_t levels = 1; levels <= 5; levels++) {
    struct tree *tree = tree_of_levels(levels);
    assert_true(tree->root->sums.runs > 0);
    assert_content(tree);
    settle_all(tree);
    assert_content(tree);
    tree_close(tree);
  }
}

/* Seeks to every key and between keys, both ways, in a tree with runs at every level. */
static void test_tree__seeks_stand_where_they_should(void **state) {
  (void)state;
  struct tree *tree = tree_of_levels(4);
  struct iterator *it = tree_scan(tree, tree->root);
  char key[64], found[64];
  for (size_t i = 0; i < KEYS; i += 3) {
    for (int back = 0; back < 2; back++) {
      struct wodan_slice from = tree_key(i, key);
      assert_int_equal(back ? iterator_seek_back(it, from, NULL) : iterator_seek(it, from, NULL), 0);
      skip_deletes(it, back);
      size_t n = i;
      while (n < KEYS && tree->version[n] == ABSENT) n = back ? n - 1 : n + 1; /* below 0: it wraps */
      assert_int_equal(it->valid, n < KEYS);
      if (n < KEYS) assert_int_equal(key_compare(it->record.key, tree_key(n, found)), 0);
      for (int more = 0; more < 3 && it->valid; more++) { /* and turn round there */
        assert_int_equal(scan_step(it, !back), 0);
        skip_deletes(it, !back);
      }
    }
  }
  iterator_close(it);
  tree_close(tree);
}

/* ---- the device ---------------------------------------------------------------------------------------------------- */

struct claimed {
  uint64_t blocks, count;
  int fail_at; /* this claim fails; -1: none */
};

static int claim(void *context, const struct block_ptr *ptr, struct wodan_error *error) {
  struct claimed *claimed = context;
  (void)error;
  if (claimed->fail_at >= 0 && claimed->count == (uint64_t)claimed->fail_at) return WODAN_ECORRUPT;
  claimed->blocks += block_ptr_blocks(ptr);
  claimed->count++;
  return 0;
}

static int load(struct tree *tree, const struct block_ptr *root, struct claimed *claimed, struct node **node) {
  struct tree_claims claims = {claim, claimed};
  return tree_load(&tree->w.env, root, &claims, node, NULL);
}

static void assert_same(const struct node *a, const struct node *b) {
  assert_int_equal(a->level, b->level);
  assert_int_equal(a->entry_count, b->entry_count);
  assert_int_equal(a->run_count, b->run_count);
  assert_int_equal(key_compare(node_pivot(a), node_pivot(b)), 0);
  assert_memory_equal(&a->ptr, &b->ptr, sizeof a->ptr);
  assert_memory_equal(&a->sums, &b->sums, sizeof a->sums);
  for (uint32_t i = 0; i < a->run_count; i++) assert_int_equal(run_generation(a->runs[i]), run_generation(b->runs[i]));
  for (uint32_t i = 0; i < a->entry_count; i++) {
    assert_int_equal(a->entries[i].flushed_upto, b->entries[i].flushed_upto);
    assert_int_equal(key_compare(entry_pivot(a, i), entry_pivot(b, i)), 0);
    if (a->level)
      assert_same(a->entries[i].child, b->entries[i].child);
    else
      assert_int_equal(run_generation(a->entries[i].leaf), run_generation(b->entries[i].leaf));
  }
}

static void test_tree__what_was_written_is_loaded_again(void **state) {
  (void)state;
  for (uint32_t levels = 1; levels <= 4; levels++) {
    struct tree *tree = tree_of_levels(levels);
    struct claimed claimed = {.fail_at = -1};
    struct node *loaded;
    write_nodes(tree, tree->root);
    assert_content(tree); /* every header is within its bound, and all space has an owner */
    assert_int_equal(load(tree, &tree->root->ptr, &claimed, &loaded), 0);
    assert_same(tree->root, loaded);
    assert_int_equal(claimed.blocks, tree_blocks(tree->root));
    assert_int_equal(claimed.count, loaded->sums.nodes + loaded->sums.runs + loaded->sums.leaves);
    tree_assert_valid(loaded, &tree->policy);
    node_unref(loaded);
    add_range(tree, 20, 30, 50); /* replaces the root; each work every header above it */
    settle_all(tree);
    assert_content(tree);
    tree_close(tree);
  }
}

static void test_tree__an_empty_tree_is_loaded_from_no_pointer(void **state) {
  (void)state;
  struct tree *tree = tree_open(4, 4);
  struct claimed claimed = {.fail_at = -1};
  struct node *loaded;
  assert_int_equal(load(tree, &(struct block_ptr){0}, &claimed, &loaded), 0);
  assert_int_equal(claimed.count, 0);
  assert_int_equal(loaded->entry_count + loaded->run_count + loaded->level, 0);
  tree_assert_valid(loaded, NULL);
  node_unref(loaded);
  tree_close(tree);
}

/* Children without a leaf and without a run are nodes too, and can be written. */
static void test_tree__an_empty_child_is_written_and_loaded(void **state) {
  (void)state;
  struct tree *tree = tree_open(4, 4);
  struct node *child = tree->root;
  struct claimed claimed = {.fail_at = -1};
  tree->root = tree_grow(child);
  node_unref(child);
  write_nodes(tree, tree->root);
  assert_sound(tree);
  struct node *loaded;
  assert_int_equal(load(tree, &tree->root->ptr, &claimed, &loaded), 0);
  assert_same(tree->root, loaded);
  node_unref(loaded);
  tree_close(tree);
}

/* Whatever claim is refused, and whatever allocation fails: nothing stays behind. */
static void test_tree__a_load_that_fails_leaves_nothing(void **state) {
  (void)state;
  struct tree *tree = tree_of_levels(3);
  write_nodes(tree, tree->root);
  uint64_t objects = tree->root->sums.nodes + tree->root->sums.runs + tree->root->sums.leaves;
  size_t used = atomic_load(&tree->w.mem.used);
  for (uint64_t n = 0; n < objects; n++) {
    struct claimed claimed = {.fail_at = (int)n};
    struct node *loaded;
    assert_int_equal(load(tree, &tree->root->ptr, &claimed, &loaded), WODAN_ECORRUPT);
    assert_null(loaded);
    assert_int_equal(atomic_load(&tree->w.mem.used), used);
  }
  tree_close(tree);
}

/* Two leaves of which one reaches over the pivot between them: a scan ends in an error when it crosses, and shows no key twice. */
static void test_tree__a_scan_does_not_go_back_over_a_pivot(void **state) {
  (void)state;
  for (int back = 0; back < 2; back++) {
    struct tree *tree = tree_open(1000, 8);
    struct node_entry entries[2] = {{.leaf = make_leaf(tree, 0, back ? 15 : 10, 1, NONE)},
                                    {.leaf = make_leaf(tree, back ? 10 : 5, 20, 1, 10)}};
    struct node_parts parts = {.entries = entries, .entry_count = 2};
    struct node *root = node_create(&tree->w.env, &parts);
    assert_non_null(root);
    for (size_t i = 0; i < 2; i++) run_unref(entries[i].leaf);
    use_root(tree, root);
    struct iterator *it = tree_scan(tree, root);
    unsigned count = 0;
    int status = back ? iterator_last(it, NULL) : iterator_first(it, NULL);
    for (; status == 0 && it->valid; status = scan_step(it, back)) count++;
    assert_int_equal(status, WODAN_ECORRUPT);
    assert_int_equal(count, 10);
    iterator_close(it);
    tree_close(tree);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tree__an_empty_tree_has_nothing),
      cmocka_unit_test(test_tree__a_run_is_seen_before_and_after_its_sweep),
      cmocka_unit_test(test_tree__keys_below_the_first_pivot_go_to_the_first_leaf),
      cmocka_unit_test(test_tree__an_old_version_stays_readable),
      cmocka_unit_test(test_tree__lookups_and_scans_find_everything_at_any_depth),
      cmocka_unit_test(test_tree__seeks_stand_where_they_should),
      cmocka_unit_test(test_tree__what_was_written_is_loaded_again),
      cmocka_unit_test(test_tree__an_empty_tree_is_loaded_from_no_pointer),
      cmocka_unit_test(test_tree__an_empty_child_is_written_and_loaded),
      cmocka_unit_test(test_tree__a_scan_does_not_go_back_over_a_pivot),
      cmocka_unit_test(test_tree__a_load_that_fails_leaves_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
