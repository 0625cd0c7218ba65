/* Every bit of a small volume: whichever is wrong, the check, a salvage and a repair in place end well, nothing wrong is
 * given without a word, and a repair in place leaves nothing to do. A slice by default; all bits with WODAN_REPAIR_BITS=1
 * (each so-many-th: that number), from WODAN_REPAIR_FROM on. A failure prints the bit. */
#include "repair_rig.h"

#include <wodan/inspect.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STRIDE = 9973 };
#else
enum { STRIDE = 1999 };
#endif

static uint64_t number(const char *name, uint64_t usual) {
  const char *text = getenv(name);
  return text ? strtoull(text, NULL, 10) : usual;
}

static uint64_t now = UINT64_MAX; /* the bit at work; UINT64_MAX: none */

static int tell_bit(void **state) {
  (void)state;
  if (now != UINT64_MAX) print_message("bit %llu: WODAN_REPAIR_FROM\n", (unsigned long long)now);
  now = UINT64_MAX;
  return 0;
}

static void flip(const struct rig *rig, uint64_t bit) {
  struct store damaged = store_copy(&rig->store);
  struct told told;
  damaged.bytes[bit / 8] = (uint8_t)(damaged.bytes[bit / 8] ^ 1u << bit % 8);
  judge_salvage(rig, &damaged, &told);
  struct wodan_repair_report report = judge_repair(rig, &damaged, WODAN_REPAIR_LOSSY, &told);
  if (report.before.damages + report.before.warnings && bit % 3 == 0)
    judge_repair(rig, &damaged, WODAN_REPAIR_SAFE, &told);
  store_free(&damaged);
}

static void flips(const struct volume_recipe *recipe) {
  struct rig rig;
  rig_build(&rig, recipe);
  uint64_t stride = number("WODAN_REPAIR_BITS", STRIDE), bits = rig.store.size * 8;
  for (uint64_t bit = number("WODAN_REPAIR_FROM", stride / 2); bit < bits; bit += stride) {
    now = bit;
    flip(&rig, bit);
  }
  now = UINT64_MAX;
  store_free(&rig.store);
}

/* A small one with all there is: buffered runs, range deletes in them, compressed leaves, large values of two chunks in
 * leaves and in runs; the journal behind the root before has the newest. */
static const struct volume_recipe EVERYTHING = {.size = 64 << 10,
                                                .keys = 60,
                                                .value = 80,
                                                .rounds = 3,
                                                .large = 2300,
                                                .ranges = true,
                                                .compression = WODAN_COMPRESSION_FAST};

struct parts {
  uint64_t ranges, large_leaves, large_runs, previous;
};

static int count_part(void *context, const struct wodan_object *object) {
  struct parts *parts = context;
  if (object->kind == WODAN_OBJECT_LEAF) parts->large_leaves += object->large;
  if (object->kind == WODAN_OBJECT_RUN) parts->large_runs += object->large;
  if (object->kind == WODAN_OBJECT_RUN) parts->ranges += object->ranges;
  return 0;
}

static void test_repair_bits__everything_is_in_the_small_volume(void **state) {
  (void)state;
  static struct heard heard;
  struct rig rig;
  struct parts parts = {0};
  struct wodan_inspect *inspect = NULL;
  rig_build(&rig, &EVERYTHING);
  store_check(&rig.store, &heard);
  struct wodan_device *device = store_open(&rig.store);
  assert_int_equal(wodan_inspect_open(device, NULL, &inspect, NULL), 0);
  assert_int_equal(wodan_inspect_tree(inspect, WODAN_NEWEST_ROOT, count_part, &parts, NULL), 0);
  print_message("%llu range deletes, %llu large values in leaves, %llu in runs, %llu in all; pages %llu of %llu\n",
                (unsigned long long)parts.ranges, (unsigned long long)parts.large_leaves,
                (unsigned long long)parts.large_runs, (unsigned long long)heard.report.blobs,
                (unsigned long long)heard.report.page_stored_bytes, (unsigned long long)heard.report.page_bytes);
  assert_true(parts.ranges && parts.large_leaves && parts.large_runs);
  assert_true(heard.report.page_stored_bytes < heard.report.page_bytes);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  store_free(&rig.store);
}

static void test_repair_bits__a_volume_of_one_node(void **state) {
  (void)state;
  flips(&EVERYTHING);
}

static void test_repair_bits__a_tree_of_levels(void **state) {
  (void)state;
  flips(&(struct volume_recipe){
      .size = 128 << 10, .node_leaves = 4, .node_children = 4, .keys = 240, .value = 90, .rounds = 2});
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_repair_bits__everything_is_in_the_small_volume),
                                     cmocka_unit_test_teardown(test_repair_bits__a_volume_of_one_node, tell_bit),
                                     cmocka_unit_test_teardown(test_repair_bits__a_tree_of_levels, tell_bit)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
