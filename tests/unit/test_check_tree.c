/* The check on trees of several levels, laid by hand: clean ones are counted right, each lie of an inner node or its runs
 * is found alone, what can be reached is still looked at, and two roots share subtrees. Random trees end the check. */
#include "check_craft.h"

/* ---- a tree of three levels ----------------------------------------------------------------------------------------- */

/* What a test changes before the tree is laid. All of it is right when zero. */
struct lies {
  const char *middle_run;            /* a key in the run of the left inner node, which holds what is below m */
  const char *right_run;             /* a key in the run of the right bottom node, which holds [m, t) */
  const char *right_from, *right_to; /* a range delete of that run */
  const char *leaf_low, *leaf_high;  /* keys in the leaf of [m, t) */
  const char *bottom_pivot;          /* second pivot of the bottom node that holds [g, m) */
  int64_t records_lie, deletes_lie;  /* in the counts of the left inner node's run */
};

/* level 2:  root          [ , m) left            [m, ) right
 * level 1:  left   [ , g) a     [g, m) b         right  [m, t) c     [t, ) d
 * level 0:  a: leaves b, d      b: leaves g, k   c: leaf n           d: leaf u
 * Runs: one in the root with keys everywhere, one in left, one in c. */
struct tree {
  struct craft c;
  struct block_ptr bottoms[4], left, right, root, root_run, left_run, c_run;
};

static struct block_ptr leaf_with(struct craft *c, const char *first, const char *second) {
  const struct object leaf = {.pages = {{{.key = first}, {.key = second}}}};
  return craft_object(c, &leaf);
}

static void tree_lay(struct tree *t, const struct lies *lies) {
  struct craft *c = &t->c;
  craft_begin(c);
  const struct object low = {.pages = {{{.key = lies->middle_run ? lies->middle_run : "b", .sequence = 5},
                                        {.key = "l", .sequence = 6, .kind = RECORD_DELETE}}},
                             .filter = true},
                      lone = {.pages = {{{.key = lies->middle_run ? lies->middle_run : "b", .sequence = 5}}}},
                      wide = {.pages = {{{.key = "a", .sequence = 8}}, {{.key = "z", .sequence = 9}}}, .filter = true};
  const struct object right = {.pages = {{{.key = lies->right_run ? lies->right_run : "n", .sequence = 7}}},
                               .from = lies->right_from,
                               .to = lies->right_to,
                               .range_sequence = 7};
  struct node_image_entry a[2] = {leaf_of("b", leaf_with(c, "a", "c")), leaf_of("d", leaf_with(c, "d", "e"))};
  struct node_image_entry b[2] = {leaf_of("g", leaf_with(c, "g", "h"))};
  b[1] = leaf_of(lies->bottom_pivot ? lies->bottom_pivot : "k", leaf_with(c, "k", "l"));
  struct node_image_entry n[1] = {
      leaf_of("n", leaf_with(c, lies->leaf_low ? lies->leaf_low : "m", lies->leaf_high ? lies->leaf_high : "s"))};
  struct node_image_entry u[1] = {leaf_of("u", leaf_with(c, "u", "v"))};
  t->c_run = craft_object(c, &right);
  t->bottoms[0] = craft_node(c, a, 2, NULL, 0);
  t->bottoms[1] = craft_node(c, b, 2, NULL, 0);
  t->bottoms[2] = craft_node(c, n, 1, &t->c_run, 1);
  t->bottoms[3] = craft_node(c, u, 1, NULL, 0);
  bool above = lies->middle_run && strcmp(lies->middle_run, "l") >= 0;
  t->left_run = craft_object(c, above ? &lone : &low);
  c->counts[t->left_run.generation].records += (uint64_t)lies->records_lie;
  c->counts[t->left_run.generation].deletes += (uint64_t)lies->deletes_lie;
  t->root_run = craft_object(c, &wide);
  struct node_image_entry left[2] = {leaf_of("b", t->bottoms[0]), leaf_of("g", t->bottoms[1])};
  struct node_image_entry rights[2] = {leaf_of("o", t->bottoms[2]), leaf_of("t", t->bottoms[3])};
  t->left = craft_node_at(c, 1, left, 2, &t->left_run, 1);
  t->right = craft_node_at(c, 1, rights, 2, NULL, 0);
  struct node_image_entry both[2] = {leaf_of("b", t->left), leaf_of("m", t->right)};
  t->root = craft_node_at(c, 2, both, 2, &t->root_run, 1);
  craft_checkpoint(c, t->root);
}

static void tree_gives(const struct lies *lies, uint32_t id) {
  struct tree t;
  struct heard heard;
  tree_lay(&t, lies);
  if (id)
    expect_only(&t.c, id, WODAN_DAMAGE);
  else
    expect_clean(&t.c, &heard);
  store_check(&t.c.store, &heard);
  assert_int_equal(heard.report.runs, 3);
  craft_end(&t.c);
}

static uint64_t blocks_used(const struct craft *c) { return c->next_block - c->io.bounds.data_first; }

static void test_check_tree__a_clean_tree_is_counted(void **state) {
  (void)state;
  struct tree t;
  struct heard heard;
  tree_lay(&t, &(struct lies){0});
  expect_clean(&t.c, &heard);
  assert_int_equal(heard.report.levels, 3);
  assert_int_equal(heard.report.nodes, 7);
  assert_int_equal(heard.report.leaves, 6);
  assert_int_equal(heard.report.runs, 3);
  assert_int_equal(heard.report.records, 12 + 5);
  assert_int_equal(heard.report.blocks_live, blocks_used(&t.c));
  assert_int_equal(heard.report.blocks_previous, 0);
  assert_int_equal(heard.report.complete, 1);
  craft_end(&t.c);
}

static void test_check_tree__sixteen_levels(void **state) {
  (void)state;
  struct craft c;
  struct heard heard;
  craft_begin(&c);
  struct node_image_entry entry = leaf_of("g", leaf_with(&c, "a", "z"));
  struct block_ptr node = craft_node(&c, &entry, 1, NULL, 0);
  for (uint32_t level = 1; level < NODE_LEVELS_MAX; level++) {
    entry = leaf_of("g", node);
    node = craft_node_at(&c, level, &entry, 1, NULL, 0);
  }
  craft_checkpoint(&c, node);
  expect_clean(&c, &heard);
  assert_int_equal(heard.report.levels, 16);
  assert_int_equal(heard.report.nodes, 16);
  assert_int_equal(heard.report.blocks_live, blocks_used(&c));
  craft_end(&c);
}

/* ---- runs and leaves against the nodes above them ---------------------------------------------------------------------- */

static void test_check_tree__a_run_stays_in_the_range_of_its_node(void **state) {
  (void)state;
  tree_gives(&(struct lies){.middle_run = "A"}, 0); /* the leftmost node is open below */
  tree_gives(&(struct lies){.middle_run = "lzz"}, 0);
  tree_gives(&(struct lies){.middle_run = "m"}, FOUND_RUN_RANGE);
  tree_gives(&(struct lies){.right_run = "m"}, 0); /* its first pivot is n, its range starts at m */
  tree_gives(&(struct lies){.right_run = "szz"}, 0);
  tree_gives(&(struct lies){.right_run = "lzz"}, FOUND_RUN_RANGE);
  tree_gives(&(struct lies){.right_run = "t"}, FOUND_RUN_RANGE);
  tree_gives(&(struct lies){.right_from = "m", .right_to = "m1"}, 0);
  tree_gives(&(struct lies){.right_from = "s1", .right_to = "t"}, 0); /* its end is not in it */
  tree_gives(&(struct lies){.right_from = "l1", .right_to = "m"}, FOUND_RUN_RANGE);
  tree_gives(&(struct lies){.right_from = "t", .right_to = "t1"}, FOUND_RUN_RANGE);
}

static void test_check_tree__a_leaf_stays_in_the_range_of_its_node(void **state) {
  (void)state;
  tree_gives(&(struct lies){.leaf_low = "lzz"}, FOUND_KEY_PIVOT);
  tree_gives(&(struct lies){.leaf_high = "t"}, FOUND_KEY_PIVOT);
  tree_gives(&(struct lies){.leaf_high = "szz"}, 0);
}

static void test_check_tree__counts_of_a_run_are_what_it_holds(void **state) {
  (void)state;
  tree_gives(&(struct lies){.records_lie = 1}, FOUND_RUN_COUNTS);
  tree_gives(&(struct lies){.records_lie = -1}, FOUND_RUN_COUNTS);
  tree_gives(&(struct lies){.deletes_lie = 1}, FOUND_RUN_COUNTS);
  tree_gives(&(struct lies){.deletes_lie = -1}, FOUND_RUN_COUNTS);
}

/* ---- nodes --------------------------------------------------------------------------------------------------------------- */

/* One node finding; so many nodes and leaves are met nevertheless, and the check says that it is not complete. */
static void expect_cut(struct tree *t, uint32_t id, uint32_t nodes, uint32_t leaves) {
  struct heard heard;
  expect_only(&t->c, id, WODAN_DAMAGE);
  store_check(&t->c.store, &heard);
  assert_int_equal(heard.report.nodes, nodes);
  assert_int_equal(heard.report.leaves, leaves);
  assert_int_equal(heard.report.complete, 0);
}

static void test_check_tree__a_damaged_node_hides_only_its_subtree(void **state) {
  (void)state;
  struct tree t;
  tree_lay(&t, &(struct lies){0});
  uint8_t *byte = &t.c.store.bytes[t.left.extents[0].first * SECTOR + 40];
  *byte ^= 1;
  expect_cut(&t, FOUND_NODE_DAMAGED, 5, 2);
  *byte ^= 1;
  byte = &t.c.store.bytes[t.bottoms[3].extents[0].first * SECTOR + 40];
  *byte ^= 1;
  expect_cut(&t, FOUND_NODE_DAMAGED, 7, 5);
  *byte ^= 1;
  t.c.store.bytes[t.root.extents[0].first * SECTOR + 40] ^= 1;
  expect_cut(&t, FOUND_NODE_DAMAGED, 1, 0);
  craft_end(&t.c);
}

static void test_check_tree__pivots_of_a_child_out_of_its_range(void **state) {
  (void)state;
  static const char *wrong[] = {"m", "x"};
  for (int i = 0; i < 2; i++) {
    struct tree t;
    tree_lay(&t, &(struct lies){.bottom_pivot = wrong[i]});
    expect_cut(&t, FOUND_NODE_DAMAGED, 7, 4);
    craft_end(&t.c);
  }
}

static void test_check_tree__a_level_is_left_out(void **state) {
  (void)state;
  struct tree t;
  tree_lay(&t, &(struct lies){0});
  struct node_image_entry both[2] = {leaf_of("b", t.left), leaf_of("m", t.bottoms[2])};
  craft_checkpoint(&t.c, craft_node_at(&t.c, 2, both, 2, NULL, 0));
  struct heard heard;
  store_check(&t.c.store, &heard);
  assert_int_equal(heard.report.damages, 1);
  assert_int_equal(heard.ids[0], FOUND_NODE_DAMAGED);
  assert_non_null(strstr(heard.messages[0], "level"));
  craft_end(&t.c);
}

static void test_check_tree__a_node_named_twice(void **state) {
  (void)state;
  struct craft c;
  struct heard heard;
  craft_begin(&c);
  struct node_image_entry leaves[1] = {leaf_of("b", leaf_with(&c, "c", "d"))};
  struct block_ptr bottom = craft_node(&c, leaves, 1, NULL, 0);
  struct node_image_entry both[2] = {leaf_of("b", bottom), leaf_of("m", bottom)};
  craft_checkpoint(&c, craft_node_at(&c, 1, both, 2, NULL, 0));
  expect_only(&c, FOUND_SPACE_OWNED_TWICE, WODAN_DAMAGE);
  store_check(&c.store, &heard);
  assert_int_equal(heard.report.leaves, 1); /* it is looked into once */
  assert_int_equal(heard.report.complete, 0);
  craft_end(&c);
}

/* ---- two roots -------------------------------------------------------------------------------------------------------------- */

/* A second root over the same tree: left is another one, right is shared. */
static void second_root(struct tree *t) {
  struct craft *c = &t->c;
  struct node_image_entry left[2] = {leaf_of("b", t->bottoms[0]), leaf_of("g", t->bottoms[1])};
  struct block_ptr made = craft_node_at(c, 1, left, 2, NULL, 0); /* without its run */
  struct node_image_entry both[2] = {leaf_of("b", made), leaf_of("m", t->right)};
  craft_checkpoint(c, craft_node_at(c, 2, both, 2, &t->root_run, 1));
}

static void test_check_tree__roots_share_subtrees(void **state) {
  (void)state;
  struct tree t;
  struct heard heard;
  tree_lay(&t, &(struct lies){0});
  second_root(&t);
  expect_clean(&t.c, &heard);
  assert_int_equal(heard.report.nodes, 7);
  assert_int_equal(heard.report.runs, 2);
  uint64_t only_old = block_ptr_blocks(&t.root) + block_ptr_blocks(&t.left) + block_ptr_blocks(&t.left_run);
  assert_int_equal(heard.report.blocks_previous, only_old);
  assert_int_equal(heard.report.blocks_live, blocks_used(&t.c) - only_old);
  craft_end(&t.c);
}

static void test_check_tree__damage_is_a_warning_only_where_the_newest_root_does_not_reach(void **state) {
  (void)state;
  struct tree t;
  tree_lay(&t, &(struct lies){0});
  second_root(&t);
  const struct {
    const struct block_ptr *node;
    uint32_t severity;
  } rows[] = {
      {&t.left, WODAN_WARNING}, {&t.root, WODAN_WARNING}, {&t.right, WODAN_DAMAGE}, {&t.bottoms[1], WODAN_DAMAGE}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    uint8_t *byte = &t.c.store.bytes[rows[i].node->extents[0].first * SECTOR + 40];
    struct heard heard;
    *byte ^= 1;
    expect_only(&t.c, FOUND_NODE_DAMAGED, rows[i].severity);
    store_check(&t.c.store, &heard);
    assert_int_equal(heard.report.complete, rows[i].severity == WODAN_WARNING);
    *byte ^= 1;
  }
  craft_end(&t.c);
}

/* ---- random trees -------------------------------------------------------------------------------------------------------------- */

static uint64_t random_state;
static uint64_t random_below(uint64_t limit) {
  random_state += 0x9E3779B97F4A7C15ull;
  uint64_t z = random_state;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return (z ^ z >> 31) % limit;
}

/* Nodes whose levels, pivots, children and runs are drawn at random from whatever was laid before: mostly nonsense behind
 * good checksums. */
static struct block_ptr random_tree(struct craft *c) {
  static const char *keys[] = {"a", "d", "g", "j", "m", "p", "s", "v"};
  struct block_ptr made[40];
  uint32_t count = 0;
  for (; count < 8; count++) {
    const char *low = keys[random_below(4)], *high = keys[4 + random_below(4)];
    made[count] = leaf_with(c, low, high);
  }
  for (; count < 40; count++) {
    struct node_image_entry entries[8];
    struct block_ptr runs[2];
    uint32_t entry_count = 0, run_count = 0, level = (uint32_t)random_below(count / 8);
    for (uint32_t k = 0; k < 8; k++)
      if (random_below(3) == 0) entries[entry_count++] = leaf_of(keys[k], made[random_below(count)]);
    if (level && !entry_count) entries[entry_count++] = leaf_of("m", made[count - 1]);
    uint32_t newest = 1 + (uint32_t)random_below(7);
    for (uint32_t r = newest + 1; r-- > 0 && run_count < random_below(3) && run_count < 2;) runs[run_count++] = made[r];
    made[count] = craft_node_at(c, level, entries, entry_count, runs, run_count);
  }
  return made[39];
}

static void test_check_tree__random_trees_end_the_check(void **state) {
  (void)state;
  unsigned deep = 0;
  for (uint64_t seed = 1; seed <= 300; seed++) {
    struct craft c;
    struct heard heard;
    random_state = seed;
    craft_begin(&c);
    craft_checkpoint(&c, random_tree(&c));
    if (seed % 3 == 0) craft_checkpoint(&c, random_tree(&c));
    store_check(&c.store, &heard);
    if (heard.status != 0 || c.store.reads > 5000)
      fail_msg("seed %llu: status %d after %llu reads", (unsigned long long)seed, heard.status,
               (unsigned long long)c.store.reads);
    if (seed % 4 == 0) store_mend(&c.store);
    deep += heard.report.nodes > 2;
    craft_end(&c);
  }
  assert_true(deep > 30);
}

/* ---- no memory ------------------------------------------------------------------------------------------------------------------ */

static uint64_t allocations_left;
static int64_t allocated;
static void *scarce(void *context, size_t size, size_t alignment) {
  (void)context;
  if (allocations_left == 0) return NULL;
  allocations_left--;
  allocated += (int64_t)size;
  if (alignment < 16) alignment = 16;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
static void give(void *context, void *memory, size_t size) {
  (void)context;
  if (memory) allocated -= (int64_t)size;
  free(memory);
}

static void test_check_tree__no_memory_is_told_and_nothing_is_left_behind(void **state) {
  (void)state;
  struct tree t;
  unsigned failures = 0;
  tree_lay(&t, &(struct lies){0});
  second_root(&t);
  for (uint64_t n = 0;; n++) {
    struct heard heard = {0};
    struct wodan_check_options options = {.size = sizeof options,
                                          .allocator = {.allocate = scarce, .release = give},
                                          .context = &heard,
                                          .finding = heard_finding};
    struct wodan_device *device = store_open(&t.c.store);
    allocations_left = n;
    int status = wodan_check(device, &options, &heard.report, &heard.error);
    wodan_device_close(device);
    assert_int_equal(allocated, 0);
    assert_int_equal(heard.count, 0);
    if (status == 0) break;
    assert_int_equal(status, WODAN_ENOMEM);
    assert_int_equal(heard.report.complete, 0);
    failures++;
  }
  assert_true(failures > 60);
  craft_end(&t.c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_check_tree__a_clean_tree_is_counted),
      cmocka_unit_test(test_check_tree__sixteen_levels),
      cmocka_unit_test(test_check_tree__a_run_stays_in_the_range_of_its_node),
      cmocka_unit_test(test_check_tree__a_leaf_stays_in_the_range_of_its_node),
      cmocka_unit_test(test_check_tree__counts_of_a_run_are_what_it_holds),
      cmocka_unit_test(test_check_tree__a_damaged_node_hides_only_its_subtree),
      cmocka_unit_test(test_check_tree__pivots_of_a_child_out_of_its_range),
      cmocka_unit_test(test_check_tree__a_level_is_left_out),
      cmocka_unit_test(test_check_tree__a_node_named_twice),
      cmocka_unit_test(test_check_tree__roots_share_subtrees),
      cmocka_unit_test(test_check_tree__damage_is_a_warning_only_where_the_newest_root_does_not_reach),
      cmocka_unit_test(test_check_tree__random_trees_end_the_check),
      cmocka_unit_test(test_check_tree__no_memory_is_told_and_nothing_is_left_behind),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
