/* A checkpoint while the ring is too short for one that leaves its tail: the drained memtable steps aside, the active one is drained
 * too. When that fails, for memory or for a read, all is as it was: nothing committed is missing, now, after a power cut, and after
 * the checkpoint that succeeds. */
#include "engine/engine.h"
#include "engine_rig.h"

enum { KEYS = 97, VALUE = 60 };

struct world {
  struct rig rig;
  uint64_t version[KEYS], put, seed;
  uint64_t failures, both; /* checkpoints that failed; that met two memtables, one of them drained */
};

static void change(struct world *world) {
  uint64_t i = random_below(&world->seed, KEYS);
  struct wodan_commit durable = {.durability = random_below(&world->seed, 4) ? WODAN_DURABLE : WODAN_BUFFERED};
  char key[32];
  uint8_t value[VALUE];
  assert_done(world->rig.db,
              wodan_put(world->rig.db, key_number(i, key), value_number(i, world->put + 1, value, VALUE), &durable));
  world->version[i] = ++world->put;
}

static void judge(struct world *world, struct wodan_db *db) {
  char key[32], found[VALUE];
  size_t size;
  for (uint64_t i = 0; i < KEYS; i++)
    if (world->version[i])
      assert_number(db, NULL, i, world->version[i], VALUE);
    else
      assert_int_equal(wodan_get(db, NULL, key_number(i, key), found, sizeof found, &size), WODAN_ENOTFOUND);
}

/* What is on the medium after a sync is all of it. */
static void judge_after_power_cut(struct world *world) {
  struct rig copy = {.sector = 512, .random = 3};
  assert_done(world->rig.db, wodan_sync(world->rig.db));
  copy.kept = kept_copy(world->rig.kept);
  rig_open(&copy);
  judge(world, copy.db);
  rig_end(&copy);
}

/* A checkpoint in which the n-th allocation and all later ones fail (one alone would be tried again); whether it failed. */
static bool checkpoint_without_memory(struct world *world, uint64_t n) {
  struct wodan_db *db = world->rig.db;
  bool both = db->frozen.table && db->frozen_drained && memtable_count(db->active.table) > 0;
  world->rig.meter.for_ever = true;
  atomic_store(&world->rig.meter.fail_at, atomic_load(&world->rig.meter.calls) + n);
  int status = wodan_checkpoint(db, NULL);
  atomic_store(&world->rig.meter.fail_at, 0);
  if (status != 0 && status != WODAN_ENOMEM)
    fail_msg("allocation %llu: %d %s", (unsigned long long)n, status, rig_why(db));
  world->failures += status != 0;
  world->both += both;
  return status != 0;
}

/* Checkpoints that fail with changes between them leave one memtable drained and one not; then each allocation fails. */
static void run(uint64_t seed, uint64_t journal) {
  struct world world = {.seed = seed};
  const struct wodan_format_options format = {
      .block_size = 512, .page_size = 512, .leaf_size = 4096, .memtable_size = 4096, .journal_size = journal};
  rig_start(&world.rig, 256 << 10, &format);
  for (unsigned round = 0; round < 60; round++) {
    for (unsigned part = 0; part < 4; part++) {
      for (uint64_t n = random_below(&world.seed, 12); n > 0; n--) change(&world);
      checkpoint_without_memory(&world, 1 + random_below(&world.seed, 60));
      judge(&world, world.rig.db);
    }
    for (uint64_t n = 1; checkpoint_without_memory(&world, n); n += 1 + random_below(&world.seed, 9))
      if (random_below(&world.seed, 8) == 0) judge(&world, world.rig.db);
    judge_after_power_cut(&world);
  }
  print_message(
      "seed %llu, ring of %llu bytes: %llu checkpoints failed, %llu met a drained memtable and an active one\n",
      (unsigned long long)seed, (unsigned long long)journal, (unsigned long long)world.failures,
      (unsigned long long)world.both);
  assert_true(world.failures > 100 && world.both > 10);
  rig_reopen(&world.rig);
  judge(&world, world.rig.db);
  rig_end(&world.rig);
}

static void test_short_ring__a_checkpoint_that_fails_gives_the_memtables_back(void **state) {
  (void)state;
  static const uint64_t journals[] = {8 << 10, 10 << 10, 16 << 10};
  for (size_t i = 0; i < sizeof journals / sizeof *journals; i++) run(1 + i, journals[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_short_ring__a_checkpoint_that_fails_gives_the_memtables_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
