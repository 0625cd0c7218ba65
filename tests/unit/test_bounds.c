/* What writes, space, reads, waiting and opening may cost, counted at a device in memory: the bounds of DESIGN.md at small
 * scale. bench/ does the same at full scale. */
#include "world.h"

enum { KIB = 1024, MIB = 1024 * 1024 };

/* A memtable of 128 KiB, leaves of 32 KiB, records of 116 bytes; so many halves of the room that the data takes. */
static struct shape scaled_to(uint64_t multiple, uint64_t halves) {
  uint64_t memtable = 128 * KIB, keys = multiple * memtable / 116;
  return (struct shape){
      .name = multiple == 10 ? "10 memtables" : "100 memtables",
      .size = keys * 116 * halves / 2 / MIB * MIB + MIB,
      .format = {.block_size = 4096, .page_size = 4096, .leaf_size = 32 * KIB, .memtable_size = memtable},
      .keys = keys,
      .key_size = 16,
      .value_min = 100,
      .value_max = 100};
}

static struct shape scaled(uint64_t multiple) { return scaled_to(multiple, 10); }

/* ---- a phase ------------------------------------------------------------------------------------------------------- */

/* What a phase of writing is measured by. */
struct phase {
  uint64_t user, device; /* bytes */
  uint64_t levels, samples;
  double inverse_alpha;
  uint64_t most_in_a_put; /* bytes written to the device during one */
};

static void phase_sample(struct phase *phase, struct world *world) {
  struct wodan_stats stats = rig_stats(world->rig.db);
  phase->inverse_alpha += 1 / stats.alpha;
  phase->samples++;
  if (stats.levels > phase->levels) phase->levels = stats.levels;
}

static struct phase phase_begin(struct world *world) {
  return (struct phase){.user = rig_stats(world->rig.db).user_bytes_written, .device = world->rig.kept->written};
}

static void settle(struct world *world) {
  world_checkpoint(world);
  world_checkpoint(world);
}

/* Bytes written per key and value byte, and the bound: levels + 1/alpha (its mean) + 0.75, + 1 with synced commits. */
static void phase_end(struct world *world, struct phase *phase, bool synced, const char *what) {
  settle(world);
  phase_sample(phase, world);
  double user = (double)(rig_stats(world->rig.db).user_bytes_written - phase->user);
  double cost = (double)(world->rig.kept->written - phase->device) / user;
  double inverse = phase->inverse_alpha / (double)phase->samples,
         bound = (double)phase->levels + inverse + 0.75 + synced;
  struct wodan_stats s = rig_stats(world->rig.db);
  print_message("%s, %s%s: %.2f written per byte, at most %.2f (%llu levels, mean 1/alpha %.2f); put work %llu, at "
                "most %llu in a put\n",
                world->shape->name, what, synced ? ", synced" : "", cost, bound, (unsigned long long)phase->levels,
                inverse, (unsigned long long)s.put_work_max, (unsigned long long)phase->most_in_a_put);
  if (cost > bound) world_fail(world, "%s, %s: write amplification %.2f > %.2f", world->shape->name, what, cost, bound);
}

/* As many puts as there are keys: each once in random order, or drawn at random. */
static void random_puts(struct world *world, struct phase *phase, bool each_once, unsigned sync_every) {
  uint64_t keys = world->shape->keys, start = random_below(&world->random, keys), step = 982451653;
  for (uint64_t n = 0; n < keys; n++) {
    uint64_t before = world->rig.kept->written;
    world_put(world, each_once ? (start + n * step) % keys : random_below(&world->random, keys));
    uint64_t written = world->rig.kept->written - before;
    if (written > phase->most_in_a_put) phase->most_in_a_put = written;
    if (sync_every && n % sync_every == sync_every - 1) world_sync(world);
    if (n % (keys / 64 + 1) == 0) phase_sample(phase, world);
  }
}

/* ---- write amplification, waiting, space ----------------------------------------------------------------------------- */

/* No put waits for more than 1 MiB of work; by the engine's count, and by what the device saw meanwhile. */
static void assert_short_waits(struct world *world, const struct phase *phase) {
  struct wodan_stats stats = rig_stats(world->rig.db);
  assert_true(stats.put_work_max <= MIB);
  assert_true(phase->most_in_a_put <= MIB);
}

/* Where buffers and leaves come near the end of the volume, writers are slowed down in proportion, too: once a put that found
 * no room swept all that was buffered, 26 seconds' worth of it. */
static void test_bounds__waits_where_room_is_short(void **state) {
  (void)state;
  static const uint64_t halves[] = {3, 4, 5, 6, 8};
  for (size_t h = 0; h < sizeof halves / sizeof *halves; h++) {
    struct shape shape = scaled_to(100, halves[h]);
    struct world world;
    world_start(&world, &shape, WODAN_OPEN_INLINE, seed_or(20261129 + h));
    world.walk_every = 4 * MIB;
    struct phase phase = phase_begin(&world);
    random_puts(&world, &phase, true, 0);
    for (int n = 0; n < 3; n++) random_puts(&world, &phase, false, 0);
    phase_sample(&phase, &world);
    struct wodan_stats stats = rig_stats(world.rig.db);
    print_message("%.1f times the data: alpha %.2f, %.2f written per byte; put work %llu, at most %llu in a put\n",
                  (double)halves[h] / 2, stats.alpha,
                  (double)(world.rig.kept->written - phase.device) / (double)(stats.user_bytes_written - phase.user),
                  (unsigned long long)stats.put_work_max, (unsigned long long)phase.most_in_a_put);
    assert_short_waits(&world, &phase);
    world_end(&world);
  }
}

/* Blocks the tree owns per live byte, after two checkpoints: 1.08 + 1.25 alpha. */
static void assert_space(struct world *world) {
  struct wodan_stats stats = rig_stats(world->rig.db);
  double cost = (double)stats.space_live / (double)world_live(world), bound = 1.08 + 1.25 * stats.alpha;
  print_message("%s: %.2f bytes of blocks per live byte, at most %.2f (alpha %.2f)\n", world->shape->name, cost, bound,
                stats.alpha);
  if (cost > bound) world_fail(world, "space %.2f > %.2f", cost, bound);
}

static void write_bounds(uint64_t multiple, uint32_t flags, unsigned sync_every) {
  struct shape shape = scaled(multiple);
  struct world world;
  world_start(&world, &shape, flags, seed_or(20261122));
  world.walk_every = 4 * MIB;
  struct phase phase = phase_begin(&world);
  random_puts(&world, &phase, true, sync_every);
  phase_end(&world, &phase, sync_every, "random fill");
  if (flags & WODAN_OPEN_INLINE) assert_short_waits(&world, &phase);
  random_puts(&world, &phase, false, sync_every); /* leaves grow until all buffers are full: not steady yet */
  phase = phase_begin(&world);
  random_puts(&world, &phase, false, sync_every);
  phase_end(&world, &phase, sync_every, "random update");
  if (flags & WODAN_OPEN_INLINE) assert_short_waits(&world, &phase);
  if (!sync_every) {
    for (int n = 0; n < 3; n++) random_puts(&world, &phase, true, 0);
    settle(&world);
    assert_space(&world);
  }
  world_end(&world);
}

static void test_bounds__writes_and_space_at_10_memtables(void **state) {
  (void)state;
  write_bounds(10, WODAN_OPEN_INLINE, 0);
}
static void test_bounds__writes_and_space_at_100_memtables(void **state) {
  (void)state;
  write_bounds(100, WODAN_OPEN_INLINE, 0);
}
static void test_bounds__synced_writes_at_10_memtables(void **state) {
  (void)state;
  write_bounds(10, WODAN_OPEN_INLINE, 1000);
}
static void test_bounds__synced_writes_at_100_memtables(void **state) {
  (void)state;
  write_bounds(100, WODAN_OPEN_INLINE, 1000);
}
static void test_bounds__writes_and_space_with_the_background_thread(void **state) {
  (void)state;
  write_bounds(10, 0, 0);
  write_bounds(100, 0, 0);
}

/* The usual proportions of a larger volume: memtables of 4 MiB, leaves of 512 KiB. */
static void test_bounds__no_put_waits_for_more_than_a_mebibyte(void **state) {
  (void)state;
  struct shape shape = {.name = "128 MiB, memtables of 4 MiB",
                        .size = 128 * MIB,
                        .format = {.leaf_size = 512 * KIB, .memtable_size = 4 * MIB},
                        .keys = 40 * MIB / 1016,
                        .key_size = 16,
                        .value_min = 1000,
                        .value_max = 1000};
  struct world world;
  world_start(&world, &shape, WODAN_OPEN_INLINE, seed_or(20261122));
  world.walk_every = 0;
  struct phase phase = phase_begin(&world);
  for (int n = 0; n < 2; n++) random_puts(&world, &phase, true, 0);
  print_message("%s: at most %llu bytes written in a put, %llu by the engine's count\n", shape.name,
                (unsigned long long)phase.most_in_a_put, (unsigned long long)rig_stats(world.rig.db).put_work_max);
  assert_short_waits(&world, &phase);
  world_end(&world);
}

/* ---- open ---------------------------------------------------------------------------------------------------------- */

/* After a crash: the ring, and the headers of both roots, once each; not a byte of leaves or runs beyond their headers. */
static void test_bounds__open_reads_headers_only(void **state) {
  (void)state;
  for (uint64_t multiple = 10; multiple <= 100; multiple *= 10) {
    struct shape shape = scaled(multiple);
    struct world world;
    struct phase phase = {0};
    world_start(&world, &shape, WODAN_OPEN_INLINE, seed_or(20261122));
    world.walk_every = 0;
    random_puts(&world, &phase, true, 0);
    world_sync(&world);
    uint64_t nodes = rig_stats(world.rig.db).nodes, leaf_bytes = world.rig.db->node->sums.leaf_bytes;
    uint64_t headers = world.rig.db->node->sums.header_blocks * 4096;
    world_crash(&world); /* the copy begins with no reads */
    uint64_t reads = world.rig.kept->reads, bytes = world.rig.kept->read_bytes;
    struct wodan_info info = rig_info(world.rig.db);
    print_message("%s: open after a crash: %llu reads, %llu bytes; %llu nodes of at most %llu bytes, ring %llu, leaves "
                  "%llu, replayed %llu\n",
                  shape.name, (unsigned long long)reads, (unsigned long long)bytes, (unsigned long long)nodes,
                  (unsigned long long)headers, (unsigned long long)info.journal_size, (unsigned long long)leaf_bytes,
                  (unsigned long long)info.replayed_operations);
    /* Both roots may share nothing; the ring is read to its head, read behind it for debris, and replayed. */
    uint64_t ring_blocks = info.journal_size / info.journal_block_size;
    assert_true(bytes <= 2 * headers + 3 * info.journal_size + 16 * 4096);
    assert_true(reads <= 2 * nodes + 2 * ring_blocks + 16);
    world_end(&world);
  }
}

/* ---- scan ---------------------------------------------------------------------------------------------------------- */

/* A compacted tree is leaves alone, and a scan reads each of their pages once, whatever the cache. */
static void test_bounds__a_scan_of_a_compacted_tree_reads_each_page_once(void **state) {
  (void)state;
  struct shape shape = scaled(100);
  struct world world;
  struct phase phase = {0};
  world_start(&world, &shape, WODAN_OPEN_INLINE, seed_or(20261122));
  world.walk_every = 0;
  random_puts(&world, &phase, true, 0);
  uint32_t more = 1;
  while (more) assert_done(world.rig.db, wodan_compact(world.rig.db, NULL, NULL, 0, &more));
  struct wodan_stats stats = rig_stats(world.rig.db);
  assert_int_equal(stats.runs, 0);
  assert_int_equal(stats.records_buffered, 0);
  world.budget = rig_info(world.rig.db).memory_needed;
  world_reopen(&world);
  uint64_t reads = world.rig.kept->reads, bytes = world.rig.kept->read_bytes;
  struct wodan_cursor *cursor;
  assert_done(world.rig.db, wodan_cursor_open(world.rig.db, NULL, &cursor));
  uint64_t records = 0;
  for (int status = wodan_cursor_first(cursor); status == 0; status = wodan_cursor_next(cursor)) records++;
  wodan_cursor_close(cursor);
  reads = world.rig.kept->reads - reads;
  bytes = world.rig.kept->read_bytes - bytes;
  assert_int_equal(records, shape.keys);
  uint64_t leaf_bytes = world.rig.db->node->sums.leaf_bytes, leaves = stats.leaves;
  rig_close(&world.rig);
  struct wodan_check_report report = world_fsck(&world);
  print_message(
      "%s, compacted: a scan reads %llu bytes in %llu requests; %llu leaves of %llu bytes, %llu pages; live %llu\n",
      shape.name, (unsigned long long)bytes, (unsigned long long)reads, (unsigned long long)leaves,
      (unsigned long long)leaf_bytes, (unsigned long long)report.pages, (unsigned long long)world_live(&world));
  /* A page shares its first and last sector with its neighbours; a leaf has a header and an index besides. */
  assert_true(bytes <= leaf_bytes + report.pages * 2 * world.rig.sector + leaves * 4 * world.rig.sector);
  assert_true(reads <= report.pages + 2 * leaves);
  world_free(&world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bounds__waits_where_room_is_short),
      cmocka_unit_test(test_bounds__writes_and_space_at_10_memtables),
      cmocka_unit_test(test_bounds__writes_and_space_at_100_memtables),
      cmocka_unit_test(test_bounds__synced_writes_at_10_memtables),
      cmocka_unit_test(test_bounds__synced_writes_at_100_memtables),
      cmocka_unit_test(test_bounds__writes_and_space_with_the_background_thread),
      cmocka_unit_test(test_bounds__no_put_waits_for_more_than_a_mebibyte),
      cmocka_unit_test(test_bounds__open_reads_headers_only),
      cmocka_unit_test(test_bounds__a_scan_of_a_compacted_tree_reads_each_page_once),
  };
  only_the_test_asked_for();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
