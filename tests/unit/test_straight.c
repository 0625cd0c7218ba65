/* Memtables that go straight into leaves: that each byte is then written once, when they may and when not, and that nothing
 * older comes back behind what went past the buffers. */
#include "engine/engine.h"
#include "engine_rig.h"
#include "support/sanitized.h"
#include "tree/sweep.h"

enum { VALUE = 100, RECORD = VALUE + 12, KEYS_MAX = 40000, MIB = 1 << 20 };

static const struct wodan_format_options small_format = {
    .block_size = 512, .page_size = 512, .memtable_size = 32 << 10, .leaf_size = 4 << 10};

struct world {
  struct rig rig;
  uint64_t seed, commits;
  uint32_t version[KEYS_MAX]; /* 0: absent */
  uint32_t then[KEYS_MAX];    /* at the view's moment */
};

static struct world *world_start(uint64_t size, uint64_t seed) {
  struct world *world = calloc(1, sizeof *world);
  world->seed = seed;
  rig_start(&world->rig, size, &small_format);
  return world;
}

static void world_end(struct world *world) {
  rig_end(&world->rig);
  free(world);
}

static void put(struct world *world, uint64_t i) {
  uint32_t version = (uint32_t)++world->commits;
  assert_done(world->rig.db, put_number(world->rig.db, i, version, VALUE));
  world->version[i] = version;
}

static void delete (struct world *world, uint64_t i) {
  char key[32];
  assert_done(world->rig.db, wodan_delete(world->rig.db, key_number(i, key), NULL));
  world->version[i] = 0;
}

static void delete_range(struct world *world, uint64_t from, uint64_t end) {
  char a[32], b[32];
  struct wodan_slice first = key_number(from, a), behind = key_number(end, b);
  assert_done(world->rig.db, wodan_delete_range(world->rig.db, &first, &behind, NULL));
  memset(world->version + from, 0, (end - from) * sizeof *world->version);
}

static void checkpoint(struct world *world) { assert_done(world->rig.db, wodan_checkpoint(world->rig.db, NULL)); }

static void judge_key(struct world *world, struct wodan_view *view, uint64_t i, uint32_t due) {
  char key[32];
  uint8_t buffer[VALUE];
  size_t size;
  if (due) {
    assert_number(world->rig.db, view, i, due, VALUE);
  } else {
    int status = wodan_get(world->rig.db, view, key_number(i, key), buffer, sizeof buffer, &size);
    if (status != WODAN_ENOTFOUND) fail_msg("%s is back: %d", key, status);
  }
}

static void judge_at(struct world *world, struct wodan_view *view, const uint32_t *version) {
  struct wodan_cursor *cursor;
  uint64_t due = 0, found = 0;
  for (uint64_t i = 0; i < KEYS_MAX; i++) {
    judge_key(world, view, i, version[i]);
    due += version[i] != 0;
  }
  assert_done(world->rig.db, wodan_cursor_open(world->rig.db, view, &cursor));
  for (int status = wodan_cursor_first(cursor); status == 0; status = wodan_cursor_next(cursor)) found++;
  wodan_cursor_close(cursor);
  assert_int_equal(found, due);
}

static void judge(struct world *world) { judge_at(world, NULL, world->version); }

/* The image as it stands is whole. */
static void check_image(struct world *world) {
  struct wodan_check_options options = {.size = sizeof options};
  struct wodan_check_report report;
  struct wodan_error error;
  rig_close(&world->rig);
  struct wodan_device *device = kept_plug(world->rig.kept, 512, 0);
  assert_int_equal(wodan_check(device, &options, &report, &error), 0);
  assert_int_equal(wodan_device_close(device), 0);
  assert_int_equal(report.damages, 0);
  assert_true(report.complete);
  rig_open(&world->rig);
}

/* What was written since for `records` records put, in bytes of runs and in all a byte of theirs. */
struct cost {
  uint64_t runs;
  double all;
};
static struct cost cost_since(struct world *world, const struct wodan_stats *before, uint64_t records) {
  struct wodan_stats now = rig_stats(world->rig.db);
  struct cost cost = {
      .runs = now.run_write_bytes - before->run_write_bytes,
      .all = (double)(now.leaf_write_bytes + now.run_write_bytes - before->leaf_write_bytes - before->run_write_bytes) /
             (double)(records * RECORD)};
  print_message("%llu bytes of runs, %.2f written a byte put\n", (unsigned long long)cost.runs, cost.all);
  return cost;
}

/* ---- each byte once ----------------------------------------------------------------------------------------------------- */

enum { COUNT = 12000 };

/* Nearly: the leaf at the seam of two memtables is written again, and pages are small here. A run first made it 2.5. */
static void assert_once(struct cost cost) {
  assert_int_equal(cost.runs, 0);
  assert_true(cost.all < 1.45);
}

static void test_straight__ascending_keys_are_written_once(void **state) {
  (void)state;
  struct world *world = world_start(16 * MIB, 1);
  struct wodan_stats before = rig_stats(world->rig.db);
  for (uint64_t i = 0; i < COUNT; i++) put(world, i);
  assert_once(cost_since(world, &before, COUNT));
  assert_true(rig_stats(world->rig.db).levels > 1); /* nodes were cut meanwhile */
  judge(world);
  check_image(world);
  judge(world);
  world_end(world);
}

static void test_straight__descending_keys_too(void **state) {
  (void)state;
  struct world *world = world_start(16 * MIB, 2);
  struct wodan_stats before = rig_stats(world->rig.db);
  for (uint64_t i = COUNT; i-- > 0;) put(world, i);
  assert_once(cost_since(world, &before, COUNT));
  judge(world);
  check_image(world);
  world_end(world);
}

/* Records of all the rest lie in buffers, but none where the stretch goes. */
static void test_straight__a_stretch_into_a_gap_of_a_busy_tree_too(void **state) {
  (void)state;
  struct world *world = world_start(16 * MIB, 3);
  for (uint64_t n = 0; n < 8000; n++) {
    uint64_t i = random_below(&world->seed, 8000);
    put(world, i < 4000 ? i : i + 8000);
  }
  checkpoint(world);
  assert_true(rig_stats(world->rig.db).runs > 0);
  struct wodan_stats before = rig_stats(world->rig.db);
  for (uint64_t i = 4000; i < 12000; i++) put(world, i);
  struct cost cost = cost_since(world, &before, 8000);
  assert_true(cost.runs < 64 << 10); /* a run is handed down still */
  assert_true(cost.all < 1.6);
  judge(world);
  check_image(world);
  world_end(world);
}

/* A hot stretch is rewritten in place of buffered: its leaves are small beside a memtable of changes to it. */
static void test_straight__a_hot_stretch_is_merged_at_once(void **state) {
  (void)state;
  struct world *world = world_start(8 * MIB, 4);
  for (uint64_t i = 0; i < 4000; i++) put(world, i);
  checkpoint(world);
  struct wodan_stats before = rig_stats(world->rig.db);
  for (uint64_t n = 0; n < 6000; n++) {
    uint64_t i = 2000 + random_below(&world->seed, 60);
    if (random_below(&world->seed, 4) == 0)
      delete (world, i);
    else
      put(world, i);
  }
  assert_int_equal(cost_since(world, &before, 6000).runs, 0);
  judge(world);
  check_image(world);
  world_end(world);
}

/* ---- when not ------------------------------------------------------------------------------------------------------------ */

static bool goes(struct world *world, uint64_t from, uint64_t last, uint64_t most) {
  char a[33], b[33], text[32];
  struct straight way;
  a[0] = b[0] = TABLE_DEFAULT;
  struct wodan_slice key = key_number(from, text);
  memcpy(a + TABLE_ID_SIZE, key.data, key.size);
  struct wodan_slice low = {a, key.size + TABLE_ID_SIZE};
  key = key_number(last, text);
  memcpy(b + TABLE_ID_SIZE, key.data, key.size);
  struct wodan_slice high = {b, key.size + TABLE_ID_SIZE};
  return tree_goes_straight(world->rig.db->node, low, high, most, &way);
}

/* A run may be looked at again by an entry that has absorbed it, when that takes over a neighbour: so it counts as long as it is
 * there, and where it has a key. */
static void test_straight__a_run_in_the_way_counts_absorbed_or_not(void **state) {
  (void)state;
  struct world *world = world_start(8 * MIB, 5);
  struct wodan_db *db = world->rig.db;
  for (uint64_t i = 0; i < 1000; i++) put(world, i);
  for (uint64_t i = 2000; i < 3000; i++) put(world, i);
  checkpoint(world);
  for (uint32_t more = 1; more;) assert_done(db, wodan_compact(db, NULL, NULL, 0, &more));
  assert_true(goes(world, 0, 3000, UINT64_MAX));
  assert_false(goes(world, 0, 3000, 8 << 10));
  assert_true(goes(world, 1000, 1999, 8 << 10));
  for (uint64_t i = 5; i < 600; i += 3) put(world, i);
  put(world, 2500);
  checkpoint(world);
  assert_int_equal(db->node->run_count, 1);
  assert_false(goes(world, 4, 10, UINT64_MAX));
  assert_true(goes(world, 600, 2499, UINT64_MAX));
  assert_false(goes(world, 600, 2500, UINT64_MAX));
  assert_true(goes(world, 2501, 4000, UINT64_MAX));
  char a[32], b[32]; /* the first entries absorb it */
  struct wodan_slice from = key_number(0, a), to = key_number(50, b);
  assert_done(db, wodan_compact(db, &from, &to, 0, NULL));
  assert_int_equal(db->node->run_count, 1);
  assert_int_equal(db->node->entries[0].flushed_upto, run_generation(db->node->runs[0]));
  assert_false(goes(world, 4, 10, UINT64_MAX));
  delete_range(world, 1200, 1500);
  checkpoint(world);
  assert_false(goes(world, 1100, 1300, UINT64_MAX));
  assert_true(goes(world, 1600, 1800, UINT64_MAX));
  judge(world);
  world_end(world);
}

/* The leaf at the seam cannot be read: then the memtable becomes a run, as any, and nothing is lost of it. */
static void test_straight__over_a_damaged_leaf_it_becomes_a_run(void **state) {
  (void)state;
  struct world *world = world_start(8 * MIB, 6);
  for (uint64_t i = 0; i < 1000; i++) put(world, i);
  checkpoint(world);
  rig_reopen(&world->rig);
  struct wodan_db *db = world->rig.db;
  assert_int_equal(db->node->level, 0);
  struct run *last = db->node->entries[db->node->entry_count - 1].leaf;
  struct block_ptr ptr;
  run_pointer(last, &ptr);
  for (uint32_t e = 0; e < ptr.extent_count; e++)
    memset(world->rig.kept->data + ptr.extents[e].first * 512, 0x5a, (size_t)ptr.extents[e].count * 512);
  for (uint64_t i = 1000; i < 3000; i++) put(world, i);
  checkpoint(world);
  assert_true(rig_stats(db).runs > 0);
  for (uint64_t i = 1000; i < 3000; i++) judge_key(world, NULL, i, world->version[i]);
  world_end(world);
}

/* ---- beside all the rest ------------------------------------------------------------------------------------------------- */

static void stretch(struct world *world) {
  uint64_t from = random_below(&world->seed, KEYS_MAX - 2000), count = 500 + random_below(&world->seed, 1500);
  bool down = random_below(&world->seed, 2) == 0;
  if (random_below(&world->seed, 2)) checkpoint(world); /* nothing else in its memtables */
  for (uint64_t n = 0; n < count; n++) {
    uint64_t i = from + (down ? count - 1 - n : n);
    if (random_below(&world->seed, 16) == 0)
      delete (world, i);
    else
      put(world, i);
  }
}

static void scattered(struct world *world) {
  uint64_t from = random_below(&world->seed, KEYS_MAX - 3000), count = random_below(&world->seed, 400);
  for (uint64_t n = 0; n < count; n++) {
    uint64_t i = from + random_below(&world->seed, 3000);
    if (random_below(&world->seed, 3) == 0)
      delete (world, i);
    else
      put(world, i);
  }
}

static void some_of_it(struct world *world) {
  uint64_t dice = random_below(&world->seed, 20);
  struct wodan_db *db = world->rig.db;
  if (dice < 10) stretch(world);
  if (dice >= 10 && dice < 14) scattered(world);
  if (dice == 14) {
    uint64_t from = random_below(&world->seed, KEYS_MAX - 900);
    delete_range(world, from, from + 1 + random_below(&world->seed, 900));
  }
  if (dice == 15 || dice == 16) checkpoint(world);
  if (dice == 17) {
    char a[32], b[32];
    uint64_t at = random_below(&world->seed, KEYS_MAX);
    struct wodan_slice from = key_number(at, a), to = key_number(at + random_below(&world->seed, 3000), b);
    uint32_t more;
    assert_done(db, wodan_compact(db, &from, &to, 20000, &more));
  }
}

/* Stretches up and down, scattered changes, ranges deleted, parts compacted, views, reopened: against a list of versions. */
static void test_straight__with_all_the_rest_nothing_older_comes_back(void **state) {
  (void)state;
  enum { ROUNDS = SANITIZED ? 1 : 2, STEPS = 200 };
  for (uint64_t round = 0; round < ROUNDS; round++) {
    uint64_t straight = 0;
    print_message("seed %llu\n", (unsigned long long)(100 + round));
    struct world *world = world_start(32 * MIB, 100 + round);
    struct wodan_view *view = NULL;
    for (unsigned step = 0; step < STEPS; step++) {
      struct wodan_stats before = rig_stats(world->rig.db);
      some_of_it(world);
      struct wodan_stats now = rig_stats(world->rig.db);
      straight +=
          now.run_write_bytes == before.run_write_bytes && now.leaf_write_bytes > before.leaf_write_bytes + (16 << 10);
      if (step % 40 == 10) {
        assert_done(world->rig.db, wodan_view_open(world->rig.db, &view));
        memcpy(world->then, world->version, sizeof world->then);
      }
      if (step % 40 == 30) {
        judge_at(world, view, world->then);
        wodan_view_close(view);
        judge(world);
        if (random_below(&world->seed, 2)) rig_reopen(&world->rig);
      }
    }
    judge(world);
    check_image(world);
    judge(world);
    print_message("%llu of %d steps wrote leaves and no run\n", (unsigned long long)straight, STEPS);
    assert_true(straight >= 3);
    world_end(world);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_straight__ascending_keys_are_written_once),
      cmocka_unit_test(test_straight__descending_keys_too),
      cmocka_unit_test(test_straight__a_stretch_into_a_gap_of_a_busy_tree_too),
      cmocka_unit_test(test_straight__a_hot_stretch_is_merged_at_once),
      cmocka_unit_test(test_straight__a_run_in_the_way_counts_absorbed_or_not),
      cmocka_unit_test(test_straight__over_a_damaged_leaf_it_becomes_a_run),
      cmocka_unit_test(test_straight__with_all_the_rest_nothing_older_comes_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
