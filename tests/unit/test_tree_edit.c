/* Edits: what a new version holds, and exactly which runs, leaves and headers it leaves behind. */
#include "tree_world.h"

static bool drops_run(const struct tree_edit *edit, const struct run *run) {
  for (size_t i = 0; i < edit->run_count; i++)
    if (edit->runs[i] == run) return true;
  return false;
}
static bool drops_header(const struct tree_edit *edit, uint64_t generation) {
  for (size_t i = 0; i < edit->node_count; i++)
    if (edit->nodes[i].generation == generation) return true;
  return false;
}

/* ---- one node ---------------------------------------------------------------------------------------------------- */

static void test_tree_edit__a_run_becomes_the_newest(void **state) {
  (void)state;
  struct tree *tree = tree_open(8, 8);
  use_root(tree, bottom_of(tree, 0, 3, NULL, 0, NULL));
  struct node *old = tree->root;
  node_ref(old);
  add_range(tree, 5, 15, 2);
  add_range(tree, 8, 20, 3);
  assert_int_equal(old->run_count, 0);
  assert_int_equal(tree->root->run_count, 2);
  for (uint32_t i = 0; i < 3; i++) assert_ptr_equal(old->entries[i].leaf, tree->root->entries[i].leaf);
  assert_content(tree);
  node_unref(old);
  tree_close(tree);
}

/* Of three leaves the middle one is replaced by itself and a new one, the last by nothing. */
static void test_tree_edit__only_leaves_that_are_not_added_again_are_dropped(void **state) {
  (void)state;
  struct tree *tree = tree_open(8, 8);
  use_root(tree, bottom_of(tree, 0, 3, NULL, 0, NULL));
  struct node *old = tree->root;
  struct run *kept = old->entries[1].leaf, *gone = old->entries[2].leaf, *fresh = make_leaf(tree, 16, 18, 1, 16);
  struct node_entry added[2] = {{.leaf = kept}, {.leaf = fresh}};
  struct node_change change = {.at = 1, .removed = 2, .added = added, .added_count = 2};
  struct tree_edit edit;
  tree_edit_init(&edit, &tree->w.mem);
  struct node *next = node_changed(old, &change, &edit);
  assert_non_null(next);
  assert_int_equal(edit.run_count, 1);
  assert_true(drops_run(&edit, gone));
  assert_int_equal(edit.node_count, 0); /* the device has no header of it */
  assert_int_equal(next->entry_count, 3);
  assert_ptr_equal(next->entries[2].leaf, fresh);
  run_mark_dead(fresh); /* given up */
  run_unref(fresh);
  tree_edit_release(&edit);
  node_unref(next);
  assert_content(tree);
  tree_close(tree);
}

/* Runs leave when the last entry has absorbed them, oldest first, and not one sooner. */
static void test_tree_edit__runs_are_dropped_when_every_entry_has_absorbed_them(void **state) {
  (void)state;
  struct tree *tree = tree_open(8, 8);
  use_root(tree, bottom_of(tree, 0, 2, NULL, 0, NULL));
  for (uint64_t v = 2; v < 5; v++) add_range(tree, 0, 20, v);
  struct node *root = tree->root;
  uint64_t marks[3] = {run_generation(root->runs[2]), run_generation(root->runs[1]), run_generation(root->runs[0])};
  for (unsigned first = 0; first < 3; first++) {
    for (unsigned second = 0; second < 3; second++) {
      struct node_entry added[2] = {{.leaf = root->entries[0].leaf, .flushed_upto = marks[first]},
                                    {.leaf = root->entries[1].leaf, .flushed_upto = marks[second]}};
      struct node_change change = {.removed = 2, .added = added, .added_count = 2};
      struct tree_edit edit;
      tree_edit_init(&edit, &tree->w.mem);
      struct node *next = node_changed(root, &change, &edit);
      unsigned passed = 1 + (first < second ? first : second);
      assert_int_equal(edit.run_count, passed);
      assert_int_equal(next->run_count, 3 - passed);
      for (unsigned i = 0; i < 3; i++) assert_int_equal(drops_run(&edit, root->runs[2 - i]), i < passed);
      tree_edit_release(&edit);
      node_unref(next);
    }
  }
  tree_close(tree);
}

static void test_tree_edit__a_run_that_goes_to_another_owner_is_not_dropped(void **state) {
  (void)state;
  struct tree *tree = tree_open(8, 8);
  for (uint64_t v = 2; v < 5; v++) add_range(tree, 0, 20, v);
  struct run *runs[3];
  memcpy(runs, tree->root->runs, sizeof runs);
  struct node_change change = {.without = &runs[1], .without_count = 1, .absorbed = run_generation(runs[2])};
  struct tree_edit edit;
  tree_edit_init(&edit, &tree->w.mem);
  struct node *next = node_changed(tree->root, &change, &edit);
  assert_int_equal(edit.run_count, 1);
  assert_true(drops_run(&edit, runs[2])); /* without entries: those told absorbed */
  assert_int_equal(next->run_count, 1);
  assert_ptr_equal(next->runs[0], runs[0]);
  tree_edit_release(&edit);
  node_unref(next);
  assert_content(tree);
  tree_close(tree);
}

/* ---- the way up -------------------------------------------------------------------------------------------------- */

/* A root over two nodes over two bottom nodes each, of two leaves. */
static void three_levels(struct tree *tree) {
  struct node *inner[2];
  for (size_t i = 0; i < 2; i++) {
    struct node *bottom[2] = {bottom_of(tree, 100 * i, 2, NULL, 0, NULL),
                              bottom_of(tree, 100 * i + 50, 2, NULL, 0, NULL)};
    struct node_entry entries[2] = {{.child = bottom[0]}, {.child = bottom[1]}};
    struct node_parts parts = {.level = 1, .pivot = node_pivot(bottom[0]), .entries = entries, .entry_count = 2};
    inner[i] = node_create(&tree->w.env, &parts);
    node_unref(bottom[0]);
    node_unref(bottom[1]);
  }
  parent_of(tree, inner, 2, NULL, NULL, 0);
}

static void test_tree_edit__the_headers_on_the_way_up_are_dropped_and_no_others(void **state) {
  (void)state;
  struct tree *tree = tree_open(8, 8);
  three_levels(tree);
  write_nodes(tree, tree->root);
  assert_content(tree);
  struct tree_path path = path_of(2, 1, 0, 0);
  struct node *node = tree_at(tree->root, &path), *above = tree->root->entries[1].child;
  struct run *run = make_run(tree, 100, 104, 1, 7);
  struct tree_edit edit;
  tree_edit_init(&edit, &tree->w.mem);
  struct node_change change = {.arrived = &run, .arrived_count = 1};
  struct node *changed = node_changed(node, &change, &edit), *root = tree_with(tree->root, &path, &changed, 1, &edit);
  assert_int_equal(edit.node_count, 3);
  assert_true(drops_header(&edit, node->ptr.generation) && drops_header(&edit, above->ptr.generation));
  assert_true(drops_header(&edit, tree->root->ptr.generation));
  assert_int_equal(edit.run_count, 0);
  assert_ptr_equal(root->entries[0].child, tree->root->entries[0].child); /* shared, and its header with it */
  assert_int_equal(root->ptr.generation, 0);
  node_unref(changed);
  run_unref(run);
  changes_version(tree, 100, 104, 7);
  tree_publish(tree, root, &edit);
  assert_content(tree);
  tree_close(tree);
}

/* ---- grow and shrink --------------------------------------------------------------------------------------------- */

static void test_tree_edit__growth_puts_a_root_above(void **state) {
  (void)state;
  struct tree *tree = tree_open(8, 8);
  use_root(tree, bottom_of(tree, 0, 3, NULL, 0, NULL));
  add_range(tree, 0, 30, 2);
  write_nodes(tree, tree->root);
  struct node *old = tree->root;
  struct tree_edit edit;
  tree_edit_init(&edit, &tree->w.mem);
  tree_publish(tree, tree_grow(old), &edit);
  assert_int_equal(tree->root->level, 1);
  assert_ptr_equal(tree->root->entries[0].child, old);
  assert_int_equal(tree->root->run_count, 0);
  assert_content(tree); /* the old root's header is still in use */
  tree_close(tree);
}

static void test_tree_edit__a_root_with_one_child_gives_it_its_runs(void **state) {
  (void)state;
  struct tree *tree = tree_open(8, 8);
  struct run *absorbed = make_run(tree, 0, 5, 1, 2), *below = make_run(tree, 0, 10, 1, 2),
             *open = make_run(tree, 3, 25, 1, 3);
  struct node *child = bottom_of(tree, 0, 3, &below, 1, NULL);
  changes_version(tree, 0, 10, 2);
  changes_version(tree, 3, 25, 3);
  uint64_t mark = run_generation(absorbed);
  struct run *runs[2] = {open, absorbed};
  parent_of(tree, &child, 1, &mark, runs, 2);
  write_nodes(tree, tree->root);
  assert_false(tree_may_shrink(tree->root, 1));
  assert_true(tree_may_shrink(tree->root, 2));
  struct tree_edit edit;
  tree_edit_init(&edit, &tree->w.mem);
  struct node *next = tree_shrink(tree->root, &edit);
  assert_int_equal(next->level, 0);
  assert_int_equal(next->run_count, 2);
  assert_ptr_equal(next->runs[0], open);
  assert_int_equal(edit.run_count, 1);
  assert_true(drops_run(&edit, absorbed));
  assert_int_equal(edit.node_count, 2);
  tree_publish(tree, next, &edit);
  run_unref(below);
  run_unref(absorbed);
  run_unref(open);
  assert_content(tree);
  tree_close(tree);
}

/* The child has absorbed a run that is younger than the root's: it came into being while a sweep was under way. As the
 * child's own the root's run would count as absorbed, and be lost. */
static void test_tree_edit__a_run_older_than_what_the_child_absorbed_is_not_given_to_it(void **state) {
  (void)state;
  struct tree *tree = tree_open(8, 8);
  struct run *run = make_run(tree, 3, 25, 1, 3);
  uint64_t younger = ++tree->generation, marks[3] = {younger, 0, younger};
  struct node *child = bottom_of(tree, 0, 3, NULL, 0, marks);
  changes_version(tree, 3, 25, 3);
  parent_of(tree, &child, 1, NULL, &run, 1);
  run_unref(run);
  assert_false(tree_may_shrink(tree->root, 16));
  assert_content(tree);
  settle_all(tree); /* by a sweep it can */
  assert_int_equal(tree->root->level, 0);
  assert_content(tree);
  tree_close(tree);
}

/* ---- split and join ---------------------------------------------------------------------------------------------- */

static void test_tree_edit__a_split_cuts_into_pieces_of_like_size(void **state) {
  (void)state;
  for (uint32_t pieces = 2; pieces <= 5; pieces++) {
    struct tree *tree = tree_open(4, 8);
    struct node *children[2] = {bottom_of(tree, 0, 3, NULL, 0, NULL), bottom_of(tree, 100, 11, NULL, 0, NULL)};
    uint64_t marks[2] = {0, 5};
    tree->generation += 10;
    parent_of(tree, children, 2, marks, NULL, 0);
    write_nodes(tree, tree->root);
    struct tree_path path = path_of(1, 1, 0, 0);
    struct tree_edit edit;
    tree_edit_init(&edit, &tree->w.mem);
    struct node *next = tree_split(tree->root, &path, pieces, &edit);
    assert_int_equal(edit.node_count, 2); /* the node's and the root's */
    assert_int_equal(edit.run_count, 0);
    assert_int_equal(next->entry_count, 1 + pieces);
    for (uint32_t i = 1; i <= pieces; i++) {
      const struct node *piece = next->entries[i].child;
      /* Not the same, so that they do not all have to be cut at the same time again. */
      assert_in_range(piece->entry_count, 11 * 7 / (10 * pieces), 11 * 13 / (10 * pieces) + 1);
      assert_int_equal(next->entries[i].flushed_upto, 5);
      assert_int_equal(key_compare(node_pivot(piece), entry_pivot(piece, 0)), 0);
    }
    tree_publish(tree, next, &edit);
    assert_content(tree);
    tree_close(tree);
  }
}

static void test_tree_edit__a_join_keeps_all_runs_and_the_older_mark(void **state) {
  (void)state;
  struct tree *tree = tree_open(8, 8);
  struct run *a1 = make_run(tree, 0, 5, 1, 2), *b1 = make_run(tree, 100, 110, 1, 3), *a2 = make_run(tree, 3, 12, 1, 4),
             *root_run = make_run(tree, 0, 200, 1, 5);
  struct run *as[2] = {a2, a1};
  uint64_t marks[2] = {0, run_generation(root_run)}, leaf_marks[2] = {run_generation(a1), run_generation(b1) - 1};
  struct node *children[2] = {bottom_of(tree, 0, 2, as, 2, NULL), bottom_of(tree, 100, 2, &b1, 1, leaf_marks)};
  changes_version(tree, 0, 5, 2);
  changes_version(tree, 100, 110, 3);
  changes_version(tree, 3, 12, 4);
  parent_of(tree, children, 2, marks, &root_run, 1);
  write_nodes(tree, tree->root);
  struct tree_edit edit;
  tree_edit_init(&edit, &tree->w.mem);
  struct node *next = tree_join(tree->root, &AT_ROOT, 0, &edit);
  assert_int_equal(edit.node_count, 3);
  assert_int_equal(edit.run_count, 0);
  assert_int_equal(next->entry_count, 1);
  assert_int_equal(next->entries[0].flushed_upto, 0);
  const struct node *one = next->entries[0].child;
  assert_int_equal(one->entry_count, 4);
  assert_int_equal(one->run_count, 3);
  assert_ptr_equal(one->runs[0], a2);
  assert_ptr_equal(one->runs[1], b1);
  assert_ptr_equal(one->runs[2], a1);
  changes_version(tree, 0, 200, 5);
  tree_publish(tree, next, &edit);
  run_unref(a1), run_unref(a2), run_unref(b1), run_unref(root_run);
  assert_content(tree);
  settle_all(tree);
  assert_content(tree);
  tree_close(tree);
}

/* ---- without memory ---------------------------------------------------------------------------------------------- */

static struct node *one_edit(struct tree *tree, unsigned kind, struct tree_edit *edit) {
  struct tree_path path = path_of(1, 1, 0, 0);
  struct node_change change = {.at = 0, .removed = 1};
  if (kind == 0) return tree_split(tree->root, &(struct tree_path){.depth = 2, .at = {1, 1}}, 2, edit);
  if (kind == 1) return tree_join(tree->root, &path, 0, edit);
  if (kind == 2) return tree_grow(tree->root);
  struct node *changed = node_changed(tree_at(tree->root, &path), &change, edit);
  struct node *root = changed ? tree_with(tree->root, &path, &changed, 1, edit) : NULL;
  node_unref(changed);
  return root;
}

/* Each allocation of an edit fails in turn: no new version, nothing held. */
static void test_tree_edit__without_memory_nothing_changes(void **state) {
  (void)state;
  struct tree *tree = tree_open(8, 8);
  three_levels(tree);
  write_nodes(tree, tree->root);
  struct wodan_allocator right = tree->w.mem.hooks;
  size_t used = atomic_load(&tree->w.mem.used);
  for (unsigned kind = 0; kind < 4; kind++) {
    unsigned failures = 0;
    for (uint64_t n = 0;; n++) {
      struct tree_edit edit;
      tree_edit_init(&edit, &tree->w.mem);
      tree->w.mem.hooks = (struct wodan_allocator){.allocate = scarce, .release = give};
      allocations_left = n;
      struct node *next = one_edit(tree, kind, &edit);
      tree->w.mem.hooks = right;
      tree_edit_release(&edit);
      node_unref(next);
      assert_int_equal(atomic_load(&tree->w.mem.used), used);
      if (next) break;
      failures++;
    }
    assert_true(failures >= 3);
  }
  assert_content(tree);
  tree_close(tree);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tree_edit__a_run_becomes_the_newest),
      cmocka_unit_test(test_tree_edit__only_leaves_that_are_not_added_again_are_dropped),
      cmocka_unit_test(test_tree_edit__runs_are_dropped_when_every_entry_has_absorbed_them),
      cmocka_unit_test(test_tree_edit__a_run_that_goes_to_another_owner_is_not_dropped),
      cmocka_unit_test(test_tree_edit__the_headers_on_the_way_up_are_dropped_and_no_others),
      cmocka_unit_test(test_tree_edit__growth_puts_a_root_above),
      cmocka_unit_test(test_tree_edit__a_root_with_one_child_gives_it_its_runs),
      cmocka_unit_test(test_tree_edit__a_run_older_than_what_the_child_absorbed_is_not_given_to_it),
      cmocka_unit_test(test_tree_edit__a_split_cuts_into_pieces_of_like_size),
      cmocka_unit_test(test_tree_edit__a_join_keeps_all_runs_and_the_older_mark),
      cmocka_unit_test(test_tree_edit__without_memory_nothing_changes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
