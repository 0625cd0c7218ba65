/* Every node of a tree that grows, splits and shrinks is lost once, behind every checkpoint: the older root's node takes its
 * place where it has one, also one that had more keys before it was split. Judged as in test_repair.c. */
#include "repair_damage.h"

enum { KEYS = 280, ROUNDS = 3 };

struct seen {
  unsigned nodes, repairs, replaced, given_up;
};

static unsigned nodes_of(const struct places *places) {
  unsigned count = 0;
  while (place_of(places, WODAN_OBJECT_NODE, ANY, count)) count++;
  return count;
}

/* Each node but the root of these bytes, in a copy of them, if there are other nodes now than when it was done last. */
static void lose_each(const struct rig *rig, struct seen *seen) {
  struct rig copy = *rig;
  struct places places;
  copy.store = store_copy(&rig->store);
  places_find(&copy.store, 0, &places);
  unsigned nodes = nodes_of(&places);
  if (nodes == seen->nodes) nodes = 0;
  if (nodes) seen->nodes = nodes;
  for (unsigned n = 1; n < nodes; n++) {
    const struct place *place = place_of(&places, WODAN_OBJECT_NODE, ANY, n);
    struct told told = {0};
    spoil(&copy.store, place->at + 40);
    judge_repair(&copy, &copy.store, WODAN_REPAIR_LOSSY, &told);
    seen->repairs++;
    seen->given_up += strstr(told.text, "given up") != NULL;
    seen->replaced += strstr(told.text, "is taken from the root") != NULL;
    spoil(&copy.store, place->at + 40);
  }
  store_free(&copy.store);
}

static void change(struct rig *rig, struct wodan_db *db, unsigned i, bool deletes) {
  char key_bytes[KEY_ROOM], value[VALUE_MAX];
  struct wodan_slice key = rig_key(i, key_bytes);
  if (deletes) {
    rig_expect(wodan_delete(db, key, NULL), "a delete");
    rig->version[i] = 0;
    return;
  }
  size_t size = rig_value(rig, i, ++rig->versions, value);
  rig_expect(wodan_put(db, key, (struct wodan_slice){value, size}, NULL), "a put");
  rig->version[i] = rig->versions;
}

static void test_repair_nodes__each_lost_at_each_checkpoint(void **state) {
  (void)state;
  const struct volume_recipe recipe = {
      .size = 128 << 10, .node_leaves = 4, .node_children = 4, .keys = KEYS, .value = 90};
  struct rig rig;
  struct seen seen = {0};
  uint64_t random = 8;
  rig_build(&rig, &recipe);
  struct wodan_hooks hooks = {.context = &random, .random = rig_random};
  struct wodan_open_options options = {.flags = WODAN_OPEN_INLINE, .hooks = hooks};
  struct wodan_device *device = store_open(&rig.store);
  struct wodan_db *db = NULL;
  rig_expect(wodan_open(device, &options, &db, NULL), "open");
  for (unsigned round = 0; round < ROUNDS; round++) {
    for (unsigned n = 0; n < KEYS; n++) {
      change(&rig, db, n * 103 % KEYS, round == 1 && n % 4);
      rig_expect(wodan_checkpoint(db, NULL), "checkpoint");
      lose_each(&rig, &seen);
    }
  }
  rig_expect(wodan_close(db, NULL), "close");
  printf("%u nodes lost, %u replaced, %u given up\n", seen.repairs, seen.replaced, seen.given_up);
  assert_true(seen.replaced > 5 && seen.given_up > 5);
  store_free(&rig.store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_repair_nodes__each_lost_at_each_checkpoint),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
