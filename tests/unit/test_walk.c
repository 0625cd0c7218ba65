/* The walk over a tree's nodes: hand-made trees of up to sixteen levels are walked in order with the right ranges; damage,
 * wrong levels, pivots out of range and nodes named many times are found; nothing is left behind. */
#include "run_world.h"
#include "tree/walk.h"

enum { BLOCK = 512, BLOCKS = 4096, NODES_MAX = 512, WIDE = 4 };

/* ---- trees by hand -------------------------------------------------------------------------------------------------- */

static uint64_t next_generation, next_block;

static int take(void *context, uint64_t blocks, struct extent *extents, uint32_t *count, struct wodan_error *error) {
  (void)context, (void)error;
  extents[0] = (struct extent){next_block, blocks};
  *count = 1;
  next_block += blocks;
  assert_true(next_block < BLOCKS);
  return 0;
}

static void trees_open(struct world *w) {
  world_open(w, BLOCK, 1024, BLOCKS, 16);
  next_generation = 100;
  next_block = w->io.bounds.data_first;
}

static struct node_image_entry entry_of(const char *pivot, struct block_ptr ptr) {
  return (struct node_image_entry){.pivot = {pivot, strlen(pivot)}, .branch = {.ptr = ptr}};
}

/* A leaf is never read by a walk: any pointer will do. */
static struct block_ptr some_leaf(void) {
  return (struct block_ptr){.generation = 1 + random_next() % 99,
                            .length = 300,
                            .header_length = 100,
                            .extent_count = 1,
                            .extents = {{9, 1}}};
}

/* A node on the device; level_lie replaces its level in the bytes, checksums right again. */
static struct block_ptr node_lying(struct world *w, uint32_t level, struct node_image_entry *entries, uint32_t count,
                                   uint64_t level_lie) {
  struct node_image image = {.mem = &w->mem, .level = level, .entries = entries, .entry_count = count};
  struct node_image_target target = {.generation = ++next_generation, .epoch = {7, 99}, .allocate = take};
  uint8_t *bytes;
  size_t size;
  struct block_ptr ptr;
  struct wodan_error error;
  if (node_image_encode(&w->io, &image, &target, &bytes, &size, &ptr, &error) < 0) fail_msg("%s", error.message);
  if (level_lie != level) {
    store_u64(bytes + 64, level_lie);
    ptr.checksum = checksum(w->io.seed, bytes + 8, ptr.header_length - 8);
    store_u64(bytes, ptr.checksum);
  }
  assert_int_equal(block_io_write(&w->io, ptr.extents, ptr.extent_count, 0, bytes, size, NULL), 0);
  mem_free(&w->mem, bytes, size);
  return ptr;
}

static struct block_ptr node_make(struct world *w, uint32_t level, struct node_image_entry *entries, uint32_t count) {
  return node_lying(w, level, entries, count, level);
}

/* A bottom node with leaves at these pivots, one letter each. */
static struct block_ptr bottom(struct world *w, const char *pivots) {
  static char keys[26][2];
  struct node_image_entry entries[26];
  uint32_t count = 0;
  for (; pivots[count]; count++) {
    keys[count][0] = pivots[count];
    entries[count] = entry_of(keys[count], some_leaf());
  }
  return node_make(w, 0, entries, count);
}

static struct block_ptr inner(struct world *w, uint32_t level, const char *pivot_1, struct block_ptr child_1,
                              const char *pivot_2, struct block_ptr child_2) {
  struct node_image_entry entries[2] = {entry_of(pivot_1, child_1)};
  if (pivot_2) entries[1] = entry_of(pivot_2, child_2);
  return node_make(w, level, entries, pivot_2 ? 2 : 1);
}

static void node_spoil(struct world *w, const struct block_ptr *ptr) {
  static _Alignas(BLOCK_IO_ALIGNMENT) uint8_t block[BLOCK];
  assert_int_equal(block_io_read(&w->io, ptr->extents, 1, 0, block, BLOCK, NULL), 0);
  block[20] ^= 1;
  assert_int_equal(block_io_write(&w->io, ptr->extents, 1, 0, block, BLOCK, NULL), 0);
}

/* ---- what a walk showed --------------------------------------------------------------------------------------------- */

struct seen { /* without padding: compared whole */
  uint64_t generation;
  uint32_t level, root;
  char lower[16], upper[16]; /* "": open */
};

struct heard {
  struct seen nodes[NODES_MAX];
  uint32_t count, entered, damaged;
  uint64_t damaged_generation, skip, stop_at;
  int stop_with;
  char why[240];
};

static void key_copy(char *out, bool there, struct wodan_slice key) {
  assert_true(key.size < 16 && (there || key.size == 0));
  memset(out, 0, 16);
  if (there) memcpy(out, key.data, key.size);
}

static int on_node(void *context, const struct block_ptr *ptr, const struct node_place *place,
                   const struct node_image *image, struct wodan_error *error) {
  struct heard *heard = context;
  assert_true(heard->count < NODES_MAX);
  assert_int_equal(place->level, image->level);
  struct seen *seen = &heard->nodes[heard->count++];
  *seen = (struct seen){.generation = ptr->generation, .level = place->level, .root = place->root};
  key_copy(seen->lower, place->has_lower, place->lower);
  key_copy(seen->upper, place->has_upper, place->upper);
  if (ptr->generation != heard->stop_at) return 0;
  return heard->stop_with < 0 ? status_set(error, heard->stop_with, 0, WODAN_NO_BLOCK, "stopped") : heard->stop_with;
}

static int on_damage(void *context, const struct block_ptr *ptr, const struct node_place *place,
                     const struct wodan_error *why) {
  struct heard *heard = context;
  (void)place;
  assert_int_not_equal(why->code, WODAN_ENOMEM);
  heard->damaged++;
  heard->damaged_generation = ptr->generation;
  snprintf(heard->why, sizeof heard->why, "%s", why->message);
  return ptr->generation == heard->stop_at ? heard->stop_with : 0;
}

static bool on_enter(void *context, const struct block_ptr *ptr, const struct node_place *place) {
  struct heard *heard = context;
  (void)place;
  heard->entered++;
  return ptr->generation != heard->skip;
}

static int walk(struct world *w, struct block_ptr root, struct heard *heard, struct wodan_error *error) {
  struct tree_walker walker = {.context = heard, .node = on_node, .damaged = on_damage, .enter = on_enter};
  size_t used = atomic_load(&w->mem.used);
  int status = tree_walk(&w->io, &root, &walker, error);
  assert_int_equal(atomic_load(&w->mem.used), used);
  return status;
}

static void assert_seen(const struct heard *heard, uint32_t i, const struct block_ptr *ptr, uint32_t level,
                        const char *lower, const char *upper) {
  assert_true(i < heard->count);
  assert_int_equal(heard->nodes[i].generation, ptr->generation);
  assert_int_equal(heard->nodes[i].level, level);
  assert_string_equal(heard->nodes[i].lower, lower);
  assert_string_equal(heard->nodes[i].upper, upper);
  assert_int_equal(heard->nodes[i].root, i == 0);
}

/* One subtree is damaged: it is told, the rest is walked; and without `damaged` the walk fails. */
static void assert_damaged(struct world *w, struct block_ptr root, uint32_t nodes, uint64_t generation,
                           const char *text) {
  struct heard heard = {0};
  struct wodan_error error = {0};
  if (walk(w, root, &heard, &error) < 0) fail_msg("%s", error.message);
  assert_int_equal(heard.count, nodes);
  assert_int_equal(heard.damaged, 1);
  assert_int_equal(heard.damaged_generation, generation);
  if (!strstr(heard.why, text)) fail_msg("'%s' says nothing of '%s'", heard.why, text);
  struct tree_walker strict = {.context = &heard, .node = on_node};
  heard = (struct heard){0};
  assert_int_equal(tree_walk(&w->io, &root, &strict, &error), WODAN_ECORRUPT);
  assert_string_equal(strstr(error.message, text) ? text : error.message, text);
}

/* ---- what is right ---------------------------------------------------------------------------------------------------- */

static void test_walk__null_root_shows_nothing(void **state) {
  (void)state;
  struct world w;
  struct heard heard = {0};
  trees_open(&w);
  assert_int_equal(walk(&w, (struct block_ptr){0}, &heard, NULL), 0);
  assert_int_equal(heard.count + heard.entered, 0);
  world_close(&w);
}

static void test_walk__parents_come_first_with_their_ranges(void **state) {
  (void)state;
  struct world w;
  struct heard heard = {0};
  trees_open(&w);
  struct block_ptr a = bottom(&w, "bcd"), b = bottom(&w, "ghi"), c = bottom(&w, "m"), d = bottom(&w, "");
  struct block_ptr left = inner(&w, 1, "c", a, "g", b), right = inner(&w, 1, "p", c, "t", d);
  struct block_ptr root = inner(&w, 2, "d", left, "m", right);
  assert_int_equal(walk(&w, root, &heard, NULL), 0);
  assert_int_equal(heard.count, 7);
  assert_seen(&heard, 0, &root, 2, "", "");
  assert_seen(&heard, 1, &left, 1, "", "m");
  assert_seen(&heard, 2, &a, 0, "", "g");
  assert_seen(&heard, 3, &b, 0, "g", "m");
  assert_seen(&heard, 4, &right, 1, "m", "");
  assert_seen(&heard, 5, &c, 0, "m", "t"); /* the first child of `right` starts where `right` does */
  assert_seen(&heard, 6, &d, 0, "t", "");
  world_close(&w);
}

/* A random tree whose expected walk is written down as it is made: children are made first, so their places are found by
 * the second pass of a plain recursion over the same numbers. */
struct plan {
  struct world *w;
  struct heard expected;
  uint32_t keys;                                  /* next key, of four digits */
  struct block_ptr made[NODES_MAX][WIDE];         /* children of node i, in order of making */
  char pivots[NODES_MAX][WIDE][16];               /* their pivots */
  uint32_t child_numbers[NODES_MAX][WIDE], count; /* nodes made */
  uint32_t fan[NODES_MAX];
};

static uint32_t plan_make(struct plan *plan, uint32_t level, struct block_ptr *ptr) {
  uint32_t number = plan->count++, fan = 1 + (uint32_t)(random_next() % WIDE);
  assert_true(number < NODES_MAX);
  plan->fan[number] = fan;
  struct node_image_entry entries[WIDE];
  for (uint32_t i = 0; i < fan; i++) {
    struct block_ptr *child = &plan->made[number][i];
    plan->keys += 1 + (uint32_t)(random_next() % 3);
    snprintf(plan->pivots[number][i], 16, "%05u", plan->keys);
    *child = some_leaf();
    if (level > 0) plan->child_numbers[number][i] = plan_make(plan, level - 1, child);
    entries[i] = entry_of(plan->pivots[number][i], *child);
  }
  *ptr = node_make(plan->w, level, entries, fan);
  return number;
}

static void plan_expect(struct plan *plan, uint32_t number, uint32_t level, const struct block_ptr *ptr,
                        const char *lower, const char *upper) {
  struct seen *seen = &plan->expected.nodes[plan->expected.count++];
  *seen = (struct seen){.generation = ptr->generation, .level = level, .root = number == 0};
  snprintf(seen->lower, 16, "%s", lower);
  snprintf(seen->upper, 16, "%s", upper);
  for (uint32_t i = 0; level > 0 && i < plan->fan[number]; i++)
    plan_expect(plan, plan->child_numbers[number][i], level - 1, &plan->made[number][i],
                i == 0 ? lower : plan->pivots[number][i],
                i + 1 < plan->fan[number] ? plan->pivots[number][i + 1] : upper);
}

static void test_walk__random_trees_are_walked_whole_and_in_order(void **state) {
  (void)state;
  static struct plan plan;
  static struct heard heard;
  for (uint64_t seed = 1; seed <= 40; seed++) {
    struct world w;
    struct block_ptr root;
    uint32_t level = (uint32_t)(seed % 4);
    random_state = seed;
    trees_open(&w);
    memset(&plan, 0, sizeof plan);
    memset(&heard, 0, sizeof heard);
    plan.w = &w;
    plan_make(&plan, level, &root);
    plan_expect(&plan, 0, level, &root, "", "");
    if (walk(&w, root, &heard, NULL) < 0 || heard.count != plan.count || heard.damaged)
      fail_msg("seed %llu: %u of %u nodes, %u damaged: %s", (unsigned long long)seed, heard.count, plan.count,
               heard.damaged, heard.why);
    if (memcmp(heard.nodes, plan.expected.nodes, sizeof heard.nodes) != 0)
      fail_msg("seed %llu: another order, or other ranges", (unsigned long long)seed);
    world_close(&w);
  }
}

static void test_walk__sixteen_levels_and_no_more(void **state) {
  (void)state;
  struct world w;
  struct heard heard = {0};
  trees_open(&w);
  struct block_ptr root = bottom(&w, "m");
  for (uint32_t level = 1; level < NODE_LEVELS_MAX; level++) root = inner(&w, level, "m", root, NULL, root);
  assert_int_equal(walk(&w, root, &heard, NULL), 0);
  assert_int_equal(heard.count, 16);
  assert_int_equal(heard.nodes[0].level, 15);
  struct node_image_entry entry = entry_of("m", root);
  root = node_lying(&w, 1, &entry, 1, 16); /* one that cannot be encoded */
  assert_damaged(&w, root, 0, root.generation, "");
  root = node_lying(&w, 1, &entry, 1, UINT64_MAX);
  assert_damaged(&w, root, 0, root.generation, "");
  world_close(&w);
}

/* ---- what lies --------------------------------------------------------------------------------------------------------- */

static void test_walk__a_damaged_node_hides_only_its_subtree(void **state) {
  (void)state;
  struct world w;
  trees_open(&w);
  struct block_ptr a = bottom(&w, "b"), b = bottom(&w, "g"), c = bottom(&w, "m"), d = bottom(&w, "t");
  struct block_ptr left = inner(&w, 1, "b", a, "g", b), right = inner(&w, 1, "m", c, "t", d);
  struct block_ptr root = inner(&w, 2, "b", left, "m", right);
  struct heard heard = {.stop_at = left.generation, .stop_with = 5};
  node_spoil(&w, &left);
  assert_damaged(&w, root, 4, left.generation, "");
  assert_int_equal(walk(&w, root, &heard, NULL), 5); /* what `damaged` answers ends the walk */
  assert_int_equal(heard.count, 1);
  heard = (struct heard){.stop_at = left.generation, .stop_with = WODAN_ECORRUPT};
  struct wodan_error error = {0};
  assert_int_equal(walk(&w, root, &heard, &error), WODAN_ECORRUPT);
  assert_string_equal(error.message, heard.why);
  heard = (struct heard){.skip = left.generation};
  assert_int_equal(walk(&w, root, &heard, NULL), 0); /* a subtree that is not entered is not read */
  assert_int_equal(heard.count, 4);
  assert_int_equal(heard.entered, 5);
  assert_int_equal(heard.damaged, 0);
  node_spoil(&w, &left);
  node_spoil(&w, &root);
  assert_damaged(&w, root, 0, root.generation, "");
  world_close(&w);
}

static void test_walk__a_childs_level_is_one_below(void **state) {
  (void)state;
  struct world w;
  trees_open(&w);
  struct block_ptr a = bottom(&w, "b"), b = bottom(&w, "m");
  struct block_ptr middle = inner(&w, 1, "m", b, NULL, b);
  struct block_ptr root = inner(&w, 2, "b", a, "m", middle); /* two below */
  assert_damaged(&w, root, 3, a.generation, "level");
  root = inner(&w, 1, "b", a, "m", middle); /* the same */
  assert_damaged(&w, root, 2, middle.generation, "level");
  struct block_ptr high = inner(&w, 3, "m", middle, NULL, middle);
  root = inner(&w, 2, "b", inner(&w, 1, "b", a, NULL, a), "m", high); /* above */
  assert_damaged(&w, root, 3, high.generation, "level");
  world_close(&w);
}

static void test_walk__pivots_lie_in_the_range_of_the_parent(void **state) {
  (void)state;
  struct world w;
  trees_open(&w);
  struct block_ptr first = bottom(&w, "abc"), last = bottom(&w, "xyz");
  static const struct {
    const char *pivots; /* of the child that holds [g, p) */
    const char *text;   /* NULL: right */
  } rows[] = {{"gh", NULL},   {"hij", NULL},      {"ah", NULL},     {"o", NULL},      {"a", NULL},
              {"", NULL},     {"ag", "or below"}, {"abc", "below"}, {"afh", "below"}, {"gp", "above"},
              {"p", "above"}, {"hz", "above"},    {"z", "above"},   {"hiop", "above"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct block_ptr middle = bottom(&w, rows[i].pivots);
    struct node_image_entry entries[3] = {entry_of("a", first), entry_of("g", middle), entry_of("p", last)};
    struct block_ptr root = node_make(&w, 1, entries, 3);
    struct heard heard = {0};
    if (rows[i].text) {
      assert_damaged(&w, root, 3, middle.generation, rows[i].text);
    } else {
      if (walk(&w, root, &heard, NULL) != 0 || heard.damaged) fail_msg("'%s': %s", rows[i].pivots, heard.why);
      assert_int_equal(heard.count, 4);
    }
  }
  /* A bound from far above counts too: the range of a leftmost grandchild ends at its grandparent's second pivot. */
  struct block_ptr far = bottom(&w, "bn");
  struct block_ptr root =
      inner(&w, 2, "b", inner(&w, 1, "b", far, NULL, far), "m", inner(&w, 1, "x", last, NULL, last));
  assert_damaged(&w, root, 4, far.generation, "above");
  world_close(&w);
}

/* A child that claims to be its own grandparent cannot be written: generations fall from parent to child. */
static void test_walk__a_child_is_older_than_its_parent(void **state) {
  (void)state;
  struct world w;
  trees_open(&w);
  struct block_ptr a = bottom(&w, "b"), future = a;
  future.generation = next_generation + 1; /* that of the node which names it */
  struct block_ptr root = inner(&w, 1, "b", future, NULL, a);
  assert_damaged(&w, root, 0, root.generation, "not older");
  world_close(&w);
}

/* Twenty-six entries that all name the same chain of fifteen nodes with one entry each. Their pivot lies below every upper
 * bound, so no range tells them apart (a node of two entries cannot be in two ranges): the count of blocks ends the walk. */
static void test_walk__a_node_named_many_times_ends_the_walk(void **state) {
  (void)state;
  static char keys[26][2];
  struct world w;
  trees_open(&w);
  struct block_ptr chain = bottom(&w, "a");
  struct node_image_entry entries[26];
  for (uint32_t level = 1; level < 15; level++) chain = inner(&w, level, "a", chain, NULL, chain);
  for (uint32_t i = 0; i < 26; i++) {
    keys[i][0] = (char)('a' + i);
    entries[i] = entry_of(keys[i], chain);
  }
  struct block_ptr root = node_make(&w, 15, entries, 26);
  struct wodan_error error = {0};
  static struct heard heard;
  w.io.bounds.data_end = w.io.bounds.data_first + 200;
  assert_true(next_block < w.io.bounds.data_end);
  assert_int_equal(walk(&w, root, &heard, &error), WODAN_ECORRUPT);
  assert_non_null(strstr(error.message, "more than once"));
  assert_true(heard.count >= 15 && heard.count <= 200 && heard.damaged == 0);
  world_close(&w);
}

/* ---- how a walk ends ------------------------------------------------------------------------------------------------------ */

static void test_walk__a_callback_ends_it(void **state) {
  (void)state;
  struct world w;
  trees_open(&w);
  struct block_ptr a = bottom(&w, "b"), b = bottom(&w, "m");
  struct block_ptr root = inner(&w, 1, "b", a, "m", b);
  struct wodan_error error = {0};
  for (int with = -5; with <= 5; with += 10) {
    struct heard heard = {.stop_at = a.generation, .stop_with = with};
    assert_int_equal(walk(&w, root, &heard, &error), with);
    assert_int_equal(heard.count, 2);
  }
  assert_string_equal(error.message, "stopped");
  world_close(&w);
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

static void test_walk__no_memory_ends_it_and_is_not_called_damage(void **state) {
  (void)state;
  struct world w;
  trees_open(&w);
  struct block_ptr a = bottom(&w, "bcd"), b = bottom(&w, "m"), left = inner(&w, 1, "b", a, "m", b);
  struct block_ptr root = inner(&w, 2, "b", left, NULL, left);
  struct wodan_allocator right = w.mem.hooks;
  unsigned failures = 0;
  for (uint64_t n = 0;; n++) {
    static struct heard heard;
    struct wodan_error error = {0};
    memset(&heard, 0, sizeof heard);
    w.mem.hooks = (struct wodan_allocator){.allocate = scarce, .release = give};
    allocations_left = n;
    int status = walk(&w, root, &heard, &error);
    w.mem.hooks = right;
    assert_int_equal(heard.damaged, 0);
    if (status == 0) break;
    assert_int_equal(status, WODAN_ENOMEM);
    assert_int_equal(error.code, WODAN_ENOMEM);
    failures++;
  }
  assert_true(failures >= 16);
  world_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_walk__null_root_shows_nothing),
      cmocka_unit_test(test_walk__parents_come_first_with_their_ranges),
      cmocka_unit_test(test_walk__random_trees_are_walked_whole_and_in_order),
      cmocka_unit_test(test_walk__sixteen_levels_and_no_more),
      cmocka_unit_test(test_walk__a_damaged_node_hides_only_its_subtree),
      cmocka_unit_test(test_walk__a_childs_level_is_one_below),
      cmocka_unit_test(test_walk__pivots_lie_in_the_range_of_the_parent),
      cmocka_unit_test(test_walk__a_child_is_older_than_its_parent),
      cmocka_unit_test(test_walk__a_node_named_many_times_ends_the_walk),
      cmocka_unit_test(test_walk__a_callback_ends_it),
      cmocka_unit_test(test_walk__no_memory_ends_it_and_is_not_called_damage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
