/* Deletes in the tree: what they free decides what is swept first, and once they have done their work nobody meets them. */
#include "tree_world.h"

static struct tree_work next(struct tree *tree) { return tree_next_work(tree->root, &tree->policy); }

static void delete_range(struct tree *tree, size_t from, size_t end, size_t step) {
  struct changes *changes = changes_new();
  for (size_t i = from; i < end; i += step) changes->to[i] = ABSENT;
  add_run(tree, changes);
}

/* Keys of the entry's leaf: [*from, *end). */
static void leaf_keys(const struct node *bottom, uint32_t entry, size_t *from, size_t *end) {
  char key[64];
  *from = *end = 0;
  for (size_t i = 0; i < KEYS; i++) {
    uint32_t at = node_find(bottom, tree_key(i, key));
    if (at < entry) *from = i + 1;
    if (at <= entry) *end = i + 1;
  }
}

/* A scan from the key on meets no more deletes than a bottom node may have records: where leaves vanished, their neighbour's
 * range has grown, and what it has not absorbed is seen there. */
static void assert_few_deletes_from(struct tree *tree, size_t i, bool back) {
  char key[64];
  struct iterator *it = tree_scan(tree, tree->root);
  struct wodan_slice from = tree_key(i, key);
  assert_int_equal(back ? iterator_seek_back(it, from, NULL) : iterator_seek(it, from, NULL), 0);
  for (unsigned met = 0; it->valid && it->record.kind == RECORD_DELETE; met++) {
    assert_true(met < 8 * LEAF / 70);
    assert_int_equal(scan_step(it, back), 0);
  }
  assert_true(it->valid);
  iterator_close(it);
}

static uint64_t frees_of(const struct node *node) {
  uint64_t frees = 0;
  for (uint32_t i = 0; i < node->entry_count; i++) frees += node->entries[i].frees;
  return frees;
}

/* ---- a bottom node ------------------------------------------------------------------------------------------------- */

static void test_deletes__a_tally_knows_what_leaves_lose(void **state) {
  (void)state;
  struct tree *tree = tree_open(100, 8);
  fill(tree, 0, 1000, 1);
  size_t from, end;
  leaf_keys(tree->root, 5, &from, &end);
  uint64_t size = run_payload(tree->root->entries[5].leaf), half = (end - from) / 2;
  delete_range(tree, from, from + half, 1);
  for (uint32_t i = 0; i < tree->root->entry_count; i++)
    if (i != 5) assert_int_equal(tree->root->entries[i].frees, 0);
  assert_in_range(tree->root->entries[5].frees, size * 2 / 5, size * 3 / 5);
  assert_int_equal(next(tree).kind, WORK_NONE); /* half a leaf can wait */
  add_range(tree, from, from + half, 2);        /* puts free nothing */
  assert_in_range(tree->root->entries[5].frees, size * 2 / 5, size * 3 / 5);
  tree_close(tree);
}

/* At once, and alone: its neighbours are not rewritten for that. */
static void test_deletes__leaves_that_lose_most_are_swept_at_once(void **state) {
  (void)state;
  struct tree *tree = tree_open(100, 8);
  fill(tree, 0, 1000, 1);
  size_t from, end, last_end;
  leaf_keys(tree->root, 3, &from, &end);
  leaf_keys(tree->root, 6, &end, &last_end);
  end = last_end;
  uint32_t leaves = tree->root->entry_count;
  uint64_t written = tree->leaf_bytes;
  delete_range(tree, from, end, 1);
  struct tree_work work = next(tree);
  assert_int_equal(work.kind, WORK_SWEEP);
  assert_int_equal(work.at, 3);
  assert_int_equal(work.entries, 4);
  assert_true(tree_owed(tree->root, &tree->policy) > 0);
  assert_int_equal(settle(tree), 1);
  assert_int_equal(tree->root->entry_count, leaves - 4);
  assert_int_equal(tree->leaf_bytes, written);
  assert_int_equal(tree->root->run_count, 1); /* for the others */
  assert_int_equal(frees_of(tree->root), 0);
  assert_content(tree);
  tree_close(tree);
}

static void test_deletes__those_that_lie_far_apart_wait(void **state) {
  (void)state;
  struct tree *tree = tree_open(100, 8);
  fill(tree, 0, 1000, 1);
  delete_range(tree, 0, 1000, 5);
  assert_int_equal(next(tree).kind, WORK_NONE);
  for (size_t start = 1; start < 4 && next(tree).kind == WORK_NONE; start++) delete_range(tree, start, 1000, 5);
  assert_int_equal(next(tree).kind, WORK_SWEEP); /* together they are most of each leaf */
  settle(tree);
  assert_content(tree);
  tree_close(tree);
}

/* Each time it was for nothing, twice as many are needed. */
static void test_deletes__of_absent_keys_are_believed_less_and_less(void **state) {
  (void)state;
  struct tree *tree = tree_open(100, 8);
  struct changes *changes = changes_new();
  for (size_t i = 0; i < 1000; i += 2) changes->to[i] = 1;
  add_run(tree, changes);
  settle_all(tree);
  size_t from, end;
  leaf_keys(tree->root, 5, &from, &end);
  tree->policy.alpha = 64 * ALPHA_ONE; /* nothing else makes a sweep due */
  for (unsigned round = 0, needed = 1; round < 3; round++, needed *= 2) {
    for (unsigned n = 0; n < needed; n++) {
      assert_int_equal(next(tree).kind, WORK_NONE);
      delete_range(tree, from | 1, end - (end - from) / 10, 2); /* well above three quarters, well below one */
    }
    assert_int_equal(next(tree).kind, WORK_SWEEP);
    settle(tree);
  }
  delete_range(tree, from, end, 1);
  /* An eighth of twice the leaf; once less it would be half the leaf. */
  assert_true(frees_of(tree->root) < run_payload(tree->root->entries[5].leaf) / 8 * 3);
  settle_all(tree); /* now they were worth it, but of the leaf nothing is left */
  add_range(tree, from, end, 9);
  settle_all(tree);
  delete_range(tree, from, end, 1);
  assert_int_equal(next(tree).kind, WORK_SWEEP);
  settle(tree);
  assert_content(tree);
  tree_close(tree);
}

static int claim(void *context, const struct block_ptr *ptr, struct wodan_error *error) {
  (void)context, (void)ptr, (void)error;
  return 0;
}

/* The device keeps no tally: what a run's deletes free is shared out evenly over those who have not absorbed it. */
static void test_deletes__are_shared_out_when_a_tree_is_loaded(void **state) {
  (void)state;
  struct tree *tree = tree_open(100, 8);
  struct tree_claims claims = {claim, NULL};
  struct node *loaded;
  fill(tree, 0, 1000, 1);
  delete_range(tree, 100, 600, 1);
  assert_int_equal(next(tree).kind, WORK_SWEEP);
  write_nodes(tree, tree->root);
  assert_int_equal(tree_load(&tree->w.env, &tree->root->ptr, &claims, &loaded, NULL), 0);
  for (uint32_t i = 0; i < loaded->entry_count; i++)
    assert_int_equal(loaded->entries[i].frees, 500 * USUAL_RECORD / loaded->entry_count);
  use_root(tree, loaded);
  settle(tree);
  assert_int_equal(frees_of(tree->root), 0);
  assert_content(tree);
  tree_close(tree);
}

/* ---- above --------------------------------------------------------------------------------------------------------- */

/* A tree of three levels; a range goes, and with it the leaves that held it, though no buffer is anywhere near full. */
static void test_deletes__of_a_range_go_down_to_the_leaves_at_once(void **state) {
  (void)state;
  struct tree *tree = tree_open(8, 4);
  tree->policy.memtable_size = 16 * LEAF;
  fill(tree, 0, KEYS, 1);
  assert_true(tree->root->level >= 2);
  tree->policy.inner_limit = 1 << 20;
  uint64_t leaves = tree->root->sums.leaves, bytes = tree->root->sums.leaf_bytes, written = tree->leaf_bytes;
  delete_range(tree, 1000, 1500, 1);
  assert_true(frees_of(tree->root) > bytes / 10);
  settle(tree);
  assert_int_equal(frees_of(tree->root), 0);
  assert_true(tree->root->sums.leaves <= leaves - leaves / 10); /* of an eighth */
  assert_true(tree->leaf_bytes - written <= 4 * 2 * LEAF);      /* the leaves at both ends */
  assert_true(tree->root->sums.runs > 0);                       /* for those beside, which have not absorbed it */
  assert_few_deletes_from(tree, 1100, false);
  assert_few_deletes_from(tree, 1400, true);
  assert_content(tree);
  settle_all(tree);
  assert_content(tree);
  tree_close(tree);
}

/* Many times over, in ranges of all sizes, with puts between: the work ends, and nothing is lost or comes back. */
static void test_deletes__of_ranges_at_random(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 6; seed++) {
    print_message("seed %llu\n", (unsigned long long)seed);
    random_state = seed;
    struct tree *tree = tree_open(4 + (uint32_t)(random_next() % 4), 4);
    tree->policy.memtable_size = (1 + random_next() % 8) * LEAF;
    for (uint64_t round = 1; round < 60; round++) {
      struct changes *changes = changes_new();
      for (int n = 0; n < 3; n++) {
        size_t from = random_next() % KEYS, most = KEYS - from < 500 ? KEYS - from : 500;
        changes_range(changes, from, from + 1 + random_next() % most, random_next() % 2 ? round : ABSENT);
      }
      add_run(tree, changes);
      if (random_next() % 3) settle(tree);
      if (round % 10 == 0) assert_content(tree);
    }
    settle_all(tree);
    assert_content(tree);
    delete_range(tree, 0, KEYS, 1);
    settle(tree);
    settle_all(tree);
    assert_int_equal(tree->root->sums.leaves, 0);
    assert_content(tree);
    tree_close(tree);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_deletes__a_tally_knows_what_leaves_lose),
      cmocka_unit_test(test_deletes__leaves_that_lose_most_are_swept_at_once),
      cmocka_unit_test(test_deletes__those_that_lie_far_apart_wait),
      cmocka_unit_test(test_deletes__of_absent_keys_are_believed_less_and_less),
      cmocka_unit_test(test_deletes__are_shared_out_when_a_tree_is_loaded),
      cmocka_unit_test(test_deletes__of_a_range_go_down_to_the_leaves_at_once),
      cmocka_unit_test(test_deletes__of_ranges_at_random),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
