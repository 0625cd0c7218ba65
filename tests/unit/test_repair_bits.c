/* Every bit of a small volume: whichever is wrong, the check, a salvage and a repair in place end well, nothing wrong is
 * given without a word, and a repair in place leaves nothing to do. A slice by default; all bits with WODAN_REPAIR_BITS=1
 * (each so-many-th: that number), from WODAN_REPAIR_FROM on. A failure prints the bit. */
#include "repair_rig.h"

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

static void test_repair_bits__a_volume_of_one_node(void **state) {
  (void)state;
  flips(&(struct volume_recipe){.size = 64 << 10, .keys = 60, .value = 80, .rounds = 3});
}

static void test_repair_bits__a_tree_of_levels(void **state) {
  (void)state;
  flips(&(struct volume_recipe){
      .size = 128 << 10, .node_leaves = 4, .node_children = 4, .keys = 240, .value = 90, .rounds = 2});
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_repair_bits__a_volume_of_one_node, tell_bit),
                                     cmocka_unit_test_teardown(test_repair_bits__a_tree_of_levels, tell_bit)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
