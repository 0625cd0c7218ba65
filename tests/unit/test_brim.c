/* Volumes full to the brim: thousands of cycles between 95 and 100 % full, how much of a volume can be used, and whether
 * what the computed reserve leaves is reached. WODAN_CYCLES sets the number of cycles; 10000 take minutes. */
#include "support/sanitized.h"
#include "world.h"

enum { MANY = SANITIZED ? 300 : 2000, SOME = SANITIZED ? 100 : 300 };

static const struct shape tiny[] = {
    {.name = "32 KiB, 512-byte blocks",
     .size = 32 << 10,
     .format = {.block_size = 512},
     .keys = 2000,
     .value_min = 16,
     .value_max = 60},
    {.name = "64 KiB, 512-byte blocks",
     .size = 64 << 10,
     .format = {.block_size = 512},
     .keys = 4000,
     .value_min = 16,
     .value_max = 120},
    {.name = "128 KiB, 1 KiB blocks",
     .size = 128 << 10,
     .format = {.block_size = 1024},
     .keys = 6000,
     .value_min = 0,
     .value_max = 60},
    {.name = "256 KiB, 4 KiB blocks",
     .size = 256 << 10,
     .format = {.block_size = 4096},
     .keys = 8000,
     .value_min = 50,
     .value_max = 150},
    {.name = "512 KiB, 512-byte blocks",
     .size = 512 << 10,
     .format = {.block_size = 512},
     .keys = 20000,
     .value_min = 0,
     .value_max = 512},
    {.name = "1 MiB, 4 KiB blocks",
     .size = 1 << 20,
     .format = {.block_size = 4096},
     .keys = 30000,
     .value_min = 100,
     .value_max = 100},
    /* Deep. */
    {.name = "1 MiB, 512-byte blocks, 8 leaves a node",
     .size = 1 << 20,
     .format = {.block_size = 512,
                .page_size = 512,
                .leaf_size = 4096,
                .memtable_size = 8192,
                .node_leaves = 8,
                .node_children = 4},
     .keys = 30000,
     .value_min = 20,
     .value_max = 100},
};
enum { TINY = sizeof tiny / sizeof *tiny };

/* ---- filling ------------------------------------------------------------------------------------------------------- */

/* What a cycle may write at most, in volumes: whatever a full volume needs, it is not to go in circles. */
enum { CYCLE_VOLUMES = 40 };

struct brim {
  struct world world;
  uint64_t *present; /* keys that are there, in any order */
  uint64_t count;
  uint64_t next; /* key to be put */
  uint64_t live; /* bytes of keys and values */
};

static uint64_t record_bytes(const struct world *world, uint64_t i) {
  return 12 + world_value_size(world, i, world->versions[i]);
}

static void brim_start(struct brim *brim, const struct shape *shape, uint32_t flags) {
  *brim = (struct brim){0};
  world_start(&brim->world, shape, flags, seed_or(shape->size));
  brim->world.walk_every = shape->size;
  brim->present = calloc(shape->keys, sizeof *brim->present);
}

static void brim_end(struct brim *brim) {
  world_end(&brim->world);
  free(brim->present);
}

/* Absent keys until one is refused. */
static void fill(struct brim *brim) {
  struct world *world = &brim->world;
  uint64_t keys = world->shape->keys;
  for (;;) {
    if (brim->count == keys) world_fail(world, "all keys fit");
    while (world->versions[brim->next]) brim->next = (brim->next + 7919) % keys;
    if (world_try_put(world, brim->next) != 0) return;
    brim->present[brim->count++] = brim->next;
    brim->live += record_bytes(world, brim->next);
    if (getenv("WODAN_PROGRESS") && brim->count % (keys / 200 + 1) == 0)
      print_message("%llu records, %.2f written per byte, %.2f live, most in a put %llu\n",
                    (unsigned long long)brim->count, (double)world->rig.kept->written / (double)brim->live,
                    (double)rig_stats(world->rig.db).space_live / (double)rig_stats(world->rig.db).space_total,
                    (unsigned long long)rig_stats(world->rig.db).put_work_max);
  }
}

/* Random keys until that many bytes are gone. */
static void drop(struct brim *brim, uint64_t bytes) {
  struct world *world = &brim->world;
  uint64_t gone = 0;
  while (gone < bytes && brim->count) {
    uint64_t at = random_below(&world->random, brim->count), i = brim->present[at], size = record_bytes(world, i);
    world_delete(world, i); /* fails the test when it is refused */
    brim->present[at] = brim->present[--brim->count];
    brim->live -= size;
    gone += size;
  }
}

/* ---- cycles -------------------------------------------------------------------------------------------------------- */

static void run_cycles(const struct shape *shape, unsigned cycles) {
  const char *text = getenv("WODAN_CYCLES");
  if (text) cycles = (unsigned)strtoul(text, NULL, 0);
  struct brim brim;
  brim_start(&brim, shape, WODAN_OPEN_INLINE);
  fill(&brim);
  uint64_t first = brim.live, least = first, most = 0;
  for (unsigned cycle = 0; cycle < cycles; cycle++) {
    struct world *world = &brim.world;
    uint64_t before = world->rig.kept->written, bytes = first / 20;
    drop(&brim, bytes ? bytes : 1);
    fill(&brim);
    uint64_t written = world->rig.kept->written - before;
    if (brim.live < least) least = brim.live;
    if (written > most) most = written;
    if (written > CYCLE_VOLUMES * shape->size)
      world_fail(world, "cycle %u wrote %llu bytes", cycle, (unsigned long long)written);
    if (cycle % 1000 == 999) world_reopen(world);
    if (cycle % 1000 == 499) world_judge(world);
    world->durable = rig_info(world->rig.db).sequence;
    world->undo_count = 0;
  }
  /* How much fits depends on the order of the keys: on 60 blocks of 4 KiB refills differed by a quarter, without a trend. */
  enum { REFILLS = 4 };
  uint64_t refilled = 0;
  for (int n = 0; n < REFILLS; n++) {
    drop(&brim, UINT64_MAX);
    fill(&brim);
    refilled += brim.live / REFILLS;
  }
  print_message("%s: %u cycles; first full with %llu bytes, never less than %llu, %llu after all was deleted; at most "
                "%.1f volumes written in a cycle\n",
                shape->name, cycles, (unsigned long long)first, (unsigned long long)least, (unsigned long long)refilled,
                (double)most / (double)shape->size);
  /* A fifth, or a leaf: on the smallest volumes that is more. */
  uint64_t leaf = rig_info(brim.world.rig.db).leaf_size, slack = first / 5 > leaf ? first / 5 : leaf;
  if (least + slack < first) world_fail(&brim.world, "less and less fits");
  if (refilled + slack < first) world_fail(&brim.world, "space did not come back");
  brim_end(&brim);
}

static void test_brim__cycles_on_32_kib(void **state) {
  (void)state;
  run_cycles(&tiny[0], MANY);
}
static void test_brim__cycles_on_64_kib(void **state) {
  (void)state;
  run_cycles(&tiny[1], MANY);
}
static void test_brim__cycles_on_128_kib(void **state) {
  (void)state;
  run_cycles(&tiny[2], MANY);
}
static void test_brim__cycles_on_256_kib_of_4_kib_blocks(void **state) {
  (void)state;
  run_cycles(&tiny[3], MANY);
}
static void test_brim__cycles_on_512_kib(void **state) {
  (void)state;
  run_cycles(&tiny[4], SOME);
}
static void test_brim__cycles_on_1_mib(void **state) {
  (void)state;
  run_cycles(&tiny[5], SOME);
}
/* The headers of 80 nodes on 1 MiB once left a delete no room: admission knew nothing of the room kept for them. */
static void test_brim__cycles_on_a_deep_tree(void **state) {
  (void)state;
  run_cycles(&tiny[6], SOME);
}

/* ---- how much fits -------------------------------------------------------------------------------------------------- */

/* From 64 MiB up nine tenths of all blocks outside superblocks and ring are in use when the first put is refused. */
static void usable(const char *name, uint32_t value_size, uint32_t flags) {
  if (SANITIZED) skip();
  struct shape shape = {.name = name,
                        .size = 64 << 20,
                        .keys = (64 << 20) / (value_size + 12),
                        .value_min = value_size,
                        .value_max = value_size};
  struct brim brim;
  brim_start(&brim, &shape, flags);
  brim.world.walk_every = 0;
  fill(&brim);
  assert_done(brim.world.rig.db, wodan_checkpoint(brim.world.rig.db, NULL));
  struct wodan_stats stats = rig_stats(brim.world.rig.db);
  double used = (double)stats.space_live / (double)stats.space_total;
  print_message("%s: %.1f %% of the blocks in use, %.1f %% by keys and values (%llu levels, %llu runs)\n", name,
                100 * used, 100 * (double)brim.live / (double)stats.space_total, (unsigned long long)stats.levels,
                (unsigned long long)stats.runs);
  drop(&brim, brim.live / 100);
  if (used < 0.9) world_fail(&brim.world, "only %.1f %% of the volume can be used", 100 * used);
  brim_end(&brim);
}

static void test_brim__nine_tenths_of_64_mib_with_small_records(void **state) {
  (void)state;
  usable("64 MiB, records of 116 bytes", 104, WODAN_OPEN_INLINE);
}
static void test_brim__nine_tenths_of_64_mib_with_large_records(void **state) {
  (void)state;
  usable("64 MiB, records of 4000 bytes", 3988, WODAN_OPEN_INLINE);
}
static void test_brim__nine_tenths_of_64_mib_with_the_background_thread(void **state) {
  (void)state;
  usable("64 MiB, records of 116 bytes, background thread", 104, 0);
}

/* On tiny devices most of it is reserve: three leaves with half as much of buffer and the headers on the way, and three
 * times all headers, once more a level. What is left is reached within one leaf. */
static void test_brim__the_computed_ceiling_is_reached_on_tiny_volumes(void **state) {
  (void)state;
  unsigned short_of = 0;
  for (size_t s = 0; s < TINY; s++) {
    struct brim brim;
    brim_start(&brim, &tiny[s], WODAN_OPEN_INLINE);
    fill(&brim);
    struct wodan_db *db = brim.world.rig.db;
    assert_done(db, wodan_checkpoint(db, NULL));
    fill(&brim);
    struct wodan_stats stats = rig_stats(db);
    uint64_t block = tiny[s].format.block_size, leaf = db->superblock.leaf_size, headers = db->node->sums.header_blocks;
    uint64_t path = 2 * stats.levels + 2;
    uint64_t reserve = 3 * (leaf * 3 / 2 + path * block) + (2 + stats.levels) * headers * block;
    uint64_t ceiling = stats.space_total > reserve ? stats.space_total - reserve : 0;
    print_message("%s: ceiling %llu bytes of %llu, %llu in use when full (%llu bytes of keys and values)\n",
                  tiny[s].name, (unsigned long long)ceiling, (unsigned long long)stats.space_total,
                  (unsigned long long)stats.space_live, (unsigned long long)brim.live);
    short_of += stats.space_live + leaf < ceiling;
    brim_end(&brim);
  }
  assert_int_equal(short_of, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_brim__the_computed_ceiling_is_reached_on_tiny_volumes),
      cmocka_unit_test(test_brim__cycles_on_32_kib),
      cmocka_unit_test(test_brim__cycles_on_64_kib),
      cmocka_unit_test(test_brim__cycles_on_128_kib),
      cmocka_unit_test(test_brim__cycles_on_256_kib_of_4_kib_blocks),
      cmocka_unit_test(test_brim__cycles_on_512_kib),
      cmocka_unit_test(test_brim__cycles_on_1_mib),
      cmocka_unit_test(test_brim__cycles_on_a_deep_tree),
      cmocka_unit_test(test_brim__nine_tenths_of_64_mib_with_small_records),
      cmocka_unit_test(test_brim__nine_tenths_of_64_mib_with_large_records),
      cmocka_unit_test(test_brim__nine_tenths_of_64_mib_with_the_background_thread),
  };
  only_the_test_asked_for();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
