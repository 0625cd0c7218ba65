/* Random changes, sweeps, splits and joins, chosen by the policy, over tiny nodes up to four levels and more and down to
 * nothing again: the tree is valid after every step and holds what a plain array holds. WODAN_SEED=n repeats one seed. */
#include "support/sanitized.h"
#include "tree_world.h"

enum { ROUNDS = 220, SEEDS = SANITIZED ? 1 : 4 };

static uint64_t below(uint64_t limit) { return random_next() % limit; }

/* What arrives: a stretch, scattered keys, appended keys, deletes. `phase` 0 grows, 1 changes, 2 shrinks the tree. */
static struct changes *random_changes(uint64_t version, unsigned phase, size_t *appended) {
  struct changes *changes = changes_new();
  size_t from = below(KEYS), length = 1 + below(250), step = 1 + below(40);
  uint64_t deletes = phase == 0 ? 10 : phase == 1 ? 3 : 1; /* one in so many */
  switch (below(5)) {
  case 0: /* a stretch, all put or all deleted */
    changes_range(changes, from, from + length < KEYS ? from + length : KEYS, below(deletes) ? version : ABSENT);
    break;
  case 1: /* appended, as in a queue */
    for (size_t n = 0; n < length; n++, ++*appended) changes->to[*appended % KEYS] = version;
    for (size_t n = 0; phase && n < length; n++) changes->to[(*appended + KEYS / 2 + n) % KEYS] = ABSENT;
    break;
  case 2: /* one key */
    changes->to[from] = below(deletes) ? version : ABSENT;
    break;
  default: /* scattered */
    for (size_t i = from % 50; i < KEYS; i += step + below(step)) changes->to[i] = below(deletes) ? version : ABSENT;
  }
  return changes;
}

static struct tree_policy random_policy(struct tree *tree, char *lower, char *upper) {
  struct tree_policy policy = tree->policy;
  if (below(8) == 0) policy.eager = 8;
  if (below(20) == 0) {
    size_t from = below(KEYS), end = from + 1 + below(KEYS - from);
    policy.everything = true;
    policy.lower = tree_key(from, lower);
    if (below(2)) policy.upper = tree_key(end, upper);
  }
  return policy;
}

/* A sweep in small steps, while runs arrive at the root. */
static void sweep_slowly(struct tree *tree, const struct tree_work *work, uint64_t version, size_t *appended) {
  struct sweep *sweep = sweep_begin(tree, &work->path, work->at);
  uint64_t moved = 0;
  bool done = false;
  unsigned arrive = below(3) ? 0 : 1 + below(2);
  while (!done) {
    assert_int_equal(sweep_step(sweep, 1 + below(3000), &moved, &done, NULL), 0);
    if (arrive && below(6) == 0 && arrive--) add_run(tree, random_changes(version, 1, appended));
  }
  if (below(12) == 0) {
    sweep_close(sweep, false); /* given up at the last moment */
    assert_sound(tree);
  } else {
    sweep_end(tree, sweep);
  }
}

static void some_work(struct tree *tree, uint64_t version, size_t *appended) {
  char lower[64], upper[64];
  struct tree_policy policy = random_policy(tree, lower, upper);
  for (uint64_t n = below(60); n > 0; n--) {
    struct tree_work work = tree_next_work(tree->root, &policy);
    if (work.kind == WORK_NONE) break;
    if (work.kind == WORK_SWEEP && below(2))
      sweep_slowly(tree, &work, version, appended);
    else
      do_work(tree, &work, 1 + below(100000));
    assert_sound(tree);
    if (below(30) == 0) tree_assert_valid(tree->root, &policy);
  }
}

static void seed_of(uint64_t seed) {
  struct tree *tree = tree_open(4 + seed % 3, 4 + seed % 2);
  size_t appended = 0;
  uint32_t levels = 1;
  random_state = seed;
  print_message("WODAN_SEED=%llu: ", (unsigned long long)seed);
  tree->enough = below(2) ? 1 : 8 * LEAF;
  for (uint64_t round = 1; round <= ROUNDS; round++) {
    unsigned phase = round < ROUNDS / 2 ? 0 : round < ROUNDS / 4 * 3 ? 1 : 2;
    add_run(tree, random_changes(round, phase, &appended));
    some_work(tree, round, &appended);
    if (below(7) == 0) write_nodes(tree, tree->root);
    if (tree->root->level + 1 > levels) levels = tree->root->level + 1;
    if (round % 8 == 0) assert_content(tree);
  }
  settle(tree);
  assert_content(tree);
  add_range(tree, 0, KEYS, ABSENT);
  settle_all(tree);
  assert_content(tree);
  assert_int_equal(tree->root->level + tree->root->entry_count, 0);
  print_message("%u levels\n", levels);
  assert_true(levels >= 4);
  tree_close(tree);
}

static void test_tree_random__equals_the_array(void **state) {
  (void)state;
  const char *only = getenv("WODAN_SEED");
  if (only) {
    seed_of(strtoull(only, NULL, 10));
    return;
  }
  for (uint64_t seed = 1; seed <= SEEDS; seed++) seed_of(seed);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tree_random__equals_the_array),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
