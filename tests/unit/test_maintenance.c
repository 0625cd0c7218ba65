/* Maintenance, by the writers and by the thread: how much one put is made to do, that nobody stands still because the thread
 * does, and that close, sync, compact and failures get along with a drain, a sweep or a checkpoint under way. */
#include <pthread.h>
#include <time.h>
#include "engine/engine.h"
#include "engine_rig.h"
#include "support/gate_device.h"
#include "support/sanitized.h"

enum { VALUE = 100, PATIENCE = 20000, MIB = 1 << 20 };

static const struct wodan_format_options small_format = {
    .block_size = 512, .page_size = 512, .memtable_size = 16 << 10, .leaf_size = 8 << 10};

static void sleep_ms(unsigned milliseconds) {
  nanosleep(&(struct timespec){.tv_sec = milliseconds / 1000, .tv_nsec = (long)(milliseconds % 1000) * 1000000}, NULL);
}

/* ---- a world: a rig behind a gate, and what its keys should hold ------------------------------------------------------ */

enum { KEYS_MAX = 40000, HISTORY_MAX = 200000 };

struct world {
  struct rig rig;
  struct gate gate;
  uint64_t seed, keys, commits;
  uint32_t version[KEYS_MAX]; /* 0: absent */
  struct {
    uint32_t key, version;
  } history[HISTORY_MAX]; /* by sequence, from 1 on */
  uint64_t sequence;
};

static void plug_in(struct world *world) {
  struct wodan_error error;
  struct wodan_open_options options = rig_options(&world->rig);
  struct wodan_device *device = gate_plug(&world->gate, kept_plug(world->rig.kept, world->rig.sector, 0));
  int status = wodan_open(device, &options, &world->rig.db, &error);
  if (status < 0) fail_msg("open answered %d: %s", status, error.message);
}

static struct world *world_start(uint64_t size, const struct wodan_format_options *format, bool background,
                                 uint64_t keys) {
  struct world *world = calloc(1, sizeof *world);
  world->seed = size + keys;
  world->keys = keys;
  print_message("%llu KiB, seed %llu\n", (unsigned long long)size >> 10, (unsigned long long)world->seed);
  rig_start(&world->rig, size, format);
  struct wodan_info info = rig_info(world->rig.db);
  gate_init(&world->gate, info.block_size + info.journal_size);
  rig_close(&world->rig);
  world->rig.background = background;
  plug_in(world);
  return world;
}

static void world_end(struct world *world) {
  rig_end(&world->rig);
  gate_release(&world->gate);
  free(world);
}

/* A put, or one time in eight a delete, of a random key; 0 or the failure. */
static int change_one(struct world *world) {
  uint64_t i = random_below(&world->seed, world->keys);
  bool gone = random_below(&world->seed, 8) == 0;
  char key[32];
  uint32_t version = gone ? 0 : (uint32_t)++world->commits;
  int status =
      gone ? wodan_delete(world->rig.db, key_number(i, key), NULL) : put_number(world->rig.db, i, version, VALUE);
  if (status < 0) return status;
  world->version[i] = version;
  if (++world->sequence < HISTORY_MAX) {
    world->history[world->sequence].key = (uint32_t)i;
    world->history[world->sequence].version = version;
  }
  return 0;
}

/* As it was after the change of that number. */
static void roll_back(struct world *world, uint64_t sequence) {
  assert_true(sequence <= world->sequence && world->sequence < HISTORY_MAX);
  memset(world->version, 0, sizeof world->version);
  for (uint64_t n = 1; n <= sequence; n++) world->version[world->history[n].key] = world->history[n].version;
  world->sequence = sequence;
}

static void change(struct world *world, uint64_t count) {
  for (uint64_t n = 0; n < count; n++) assert_done(world->rig.db, change_one(world));
}

static void judge_key(struct world *world, uint64_t i) {
  char key[32];
  uint8_t buffer[VALUE];
  size_t size;
  if (world->version[i])
    assert_number(world->rig.db, NULL, i, world->version[i], VALUE);
  else
    assert_int_equal(wodan_get(world->rig.db, NULL, key_number(i, key), buffer, sizeof buffer, &size), WODAN_ENOTFOUND);
}

static void judge(struct world *world) {
  struct wodan_cursor *cursor;
  uint64_t due = 0, found = 0;
  for (uint64_t i = 0; i < world->keys; i++) {
    judge_key(world, i);
    due += world->version[i] != 0;
  }
  assert_done(world->rig.db, wodan_cursor_open(world->rig.db, NULL, &cursor));
  for (int status = wodan_cursor_first(cursor); status == 0; status = wodan_cursor_next(cursor)) found++;
  wodan_cursor_close(cursor);
  assert_int_equal(found, due);
}

/* Puts until somebody stands at the gate. The active memtable is then at most half full, or little more: this thread must not
 * come to wait for the one that stands. */
static void change_until_it_stands(struct world *world) {
  struct wodan_db *db = world->rig.db;
  for (int n = 0; n < 200000; n++) {
    lock_acquire(&db->write);
    bool full =
        (db->frozen.table || db->releasing) && memtable_bytes(db->active.table) > db->superblock.memtable_size / 2;
    lock_leave(&db->write);
    if (!full) change(world, 1);
    if (gate_stands(&world->gate, full ? 1 : 0)) return;
  }
  fail_msg("the thread never came to the gate");
}

/* ---- by the writers: what one put does -------------------------------------------------------------------------------- */

struct geometry {
  const char *name;
  uint64_t size;
  struct wodan_format_options format;
  uint64_t keys, commits;
};

static const struct geometry geometries[] = {
    {"256 KiB", 256 << 10, {.block_size = 512}, 300, 10000},
    {"1 MiB, memtables of 4 pages", 1 << 20, {.block_size = 512, .page_size = 512, .memtable_size = 2048}, 3000, 20000},
    {"8 MiB, small nodes",
     8 << 20,
     {.block_size = 512,
      .page_size = 512,
      .memtable_size = 16 << 10,
      .leaf_size = 4 << 10,
      .node_leaves = 16,
      .node_children = 4},
     25000,
     60000},
    {"64 MiB, memtables of 1 MiB", 64 << 20, {.block_size = 4096, .memtable_size = 1 << 20}, KEYS_MAX, 100000},
};

/* Bytes one put may write: the slice, a leaf or the first and last chunk of a run that it ends, and the headers of a
 * checkpoint. A run holds a memtable; below an inner node what that node buffers for one child. */
static uint64_t put_bound(const struct wodan_info *info, const struct wodan_stats *stats) {
  uint64_t slice = info->memtable_size / 4 < MIB / 8 ? info->memtable_size / 4 : MIB / 8;
  uint64_t run = info->memtable_size * 5 / 4 * (stats->levels > 1 ? RUNS_INNER : 1);
  if (run > MIB) run = MIB;
  uint64_t headers = stats->leaves * 128 + stats->runs * 256 + stats->nodes * info->block_size;
  return 2 * slice + run + 3 * (uint64_t)info->leaf_size + headers + 8 * (uint64_t)info->block_size;
}

static void inline_work(const struct geometry *g) {
  struct world *world = world_start(g->size, &g->format, false, g->keys);
  struct wodan_info info = rig_info(world->rig.db);
  uint64_t most = 0, bound = 0;
  for (uint64_t n = 0; n < g->commits; n++) {
    uint64_t before = world->rig.kept->written;
    assert_done(world->rig.db, change_one(world));
    uint64_t written = world->rig.kept->written - before;
    if (written > most) {
      struct wodan_stats stats = rig_stats(world->rig.db);
      most = written;
      bound = put_bound(&info, &stats);
      if (written > bound)
        fail_msg("%s: put %llu wrote %llu bytes, %llu are allowed", g->name, (unsigned long long)n,
                 (unsigned long long)written, (unsigned long long)bound);
    }
  }
  struct wodan_stats stats = rig_stats(world->rig.db);
  print_message("%s: levels %llu, one put worked %llu and wrote %llu bytes at most (bound %llu), memtable %llu\n",
                g->name, (unsigned long long)stats.levels, (unsigned long long)stats.put_work_max,
                (unsigned long long)most, (unsigned long long)bound, (unsigned long long)info.memtable_size);
  assert_true(stats.put_work_max <= MIB);
  assert_true(stats.maintenance_bytes > 4 * info.memtable_size);
  judge(world);
  world_end(world);
}

static void test_maintenance__inline_no_put_does_more_than_a_slice(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof geometries / sizeof *geometries; i++) inline_work(&geometries[i]);
}

/* A memtable used to lie untouched until the next one was full, and then one put wrote all of it. */
static void test_maintenance__inline_a_frozen_memtable_is_begun_at_once(void **state) {
  (void)state;
  struct world *world =
      world_start(64 << 20, &(struct wodan_format_options){.memtable_size = 4 << 20}, false, KEYS_MAX);
  while (rig_stats(world->rig.db).maintenance_owed == 0) change(world, 1);
  uint64_t before = rig_stats(world->rig.db).maintenance_bytes;
  change(world, (2 << 20) / (VALUE + 30)); /* half of the next */
  uint64_t done = rig_stats(world->rig.db).maintenance_bytes - before;
  assert_true(done > 1 << 20);
  assert_true(rig_stats(world->rig.db).put_work_max <= MIB / 4);
  world_end(world);
}

/* A batch owes in proportion to its size, at once. */
static void test_maintenance__inline_a_batch_does_its_share(void **state) {
  (void)state;
  struct world *world =
      world_start(64 << 20, &(struct wodan_format_options){.memtable_size = 1 << 20}, false, KEYS_MAX);
  struct wodan_batch *batch;
  char key[32];
  uint8_t value[VALUE];
  assert_done(world->rig.db, wodan_batch_create(world->rig.db, &batch));
  for (int round = 0; round < 60; round++) {
    for (int n = 0; n < 2000; n++) {
      uint64_t i = random_below(&world->seed, world->keys);
      world->version[i] = (uint32_t)++world->commits;
      assert_int_equal(wodan_batch_put(batch, key_number(i, key), value_number(i, world->version[i], value, VALUE)), 0);
    }
    assert_done(world->rig.db, wodan_batch_commit(world->rig.db, batch, NULL));
    wodan_batch_clear(batch);
  }
  wodan_batch_free(batch);
  judge(world);
  world_end(world);
}

/* ---- the same in both ways -------------------------------------------------------------------------------------------- */

static void test_maintenance__both_ways_keep_every_record(void **state) {
  (void)state;
  for (int background = RACES_WATCHED; background < 2; background++) {
    struct world *world = world_start(4 << 20, &small_format, background, 8000);
    change(world, 40000);
    judge(world);
    rig_close(&world->rig);
    plug_in(world);
    judge(world);
    world_end(world);
  }
}

/* One leaf that cannot be read: its records are gone, and nothing else is. */
static void damage_a_leaf(struct world *world, uint64_t *from, uint64_t *to) {
  struct wodan_db *db = world->rig.db;
  assert_done(db, wodan_compact(db, NULL, NULL, 0, NULL));
  assert_done(db, wodan_checkpoint(db, NULL));
  struct node *bottom = db->node;
  while (bottom->level) bottom = bottom->entries[bottom->entry_count / 2].child;
  uint32_t at = bottom->entry_count / 2;
  assert_true(at > 0 && at + 1 < bottom->entry_count);
  struct block_ptr ptr;
  run_pointer(bottom->entries[at].leaf, &ptr);
  for (uint64_t i = 0; i < world->keys; i++) {
    char key[32];
    uint8_t tree_key[40];
    struct wodan_slice name = key_number(i, key), pivot = entry_pivot(bottom, at), next = entry_pivot(bottom, at + 1);
    tree_key[0] = ((const uint8_t *)pivot.data)[0];
    memcpy(tree_key + 1, name.data, name.size);
    struct wodan_slice whole = {tree_key, name.size + 1};
    if (key_compare(whole, pivot) < 0) *from = i + 1;
    if (key_compare(whole, next) < 0) *to = i + 1;
  }
  uint64_t offset = ptr.extents[0].first * db->superblock.block_size;
  rig_close(&world->rig);
  memset(world->rig.kept->data + offset, 0x5A, db ? 512 : 0);
  plug_in(world);
}

static void damaged_leaf(bool background) {
  struct world *world = world_start(4 << 20, &small_format, background, 8000);
  uint64_t from = 0, to = 0;
  change(world, 20000);
  damage_a_leaf(world, &from, &to);
  print_message("keys %llu..%llu lie in the damaged leaf\n", (unsigned long long)from, (unsigned long long)to);
  assert_true(to > from);
  change(world, 30000);
  for (uint64_t i = 0; i < world->keys; i++)
    if (i < from || i >= to) judge_key(world, i);
  uint64_t errors = 0;
  for (uint64_t i = from; i < to; i++) {
    char key[32];
    uint8_t buffer[VALUE];
    size_t size;
    int status = wodan_get(world->rig.db, NULL, key_number(i, key), buffer, sizeof buffer, &size);
    errors += status == WODAN_ECORRUPT;
    if (status == 0) assert_number(world->rig.db, NULL, i, world->version[i], VALUE); /* a newer one is buffered */
    if (status == WODAN_ENOTFOUND) assert_int_equal(world->version[i], 0);
  }
  print_message("%llu of them cannot be read\n", (unsigned long long)errors);
  assert_done(world->rig.db, wodan_sync(world->rig.db));
  world_end(world);
}

static void test_maintenance__a_damaged_leaf_stops_nobody(void **state) {
  (void)state;
  if (!RACES_WATCHED) damaged_leaf(false);
  damaged_leaf(true);
}

/* The first byte of each leaf of a tree of one level, put wrong or put right. */
static void flip_leaves(struct world *world) {
  const struct node *node = world->rig.db->node;
  assert_int_equal(node->level, 0);
  for (uint32_t i = 0; i < node->entry_count; i++) {
    struct block_ptr ptr;
    if (!node->entries[i].leaf) continue;
    run_pointer(node->entries[i].leaf, &ptr);
    world->rig.kept->data[ptr.extents[0].first * world->rig.db->superblock.block_size] ^= 1;
  }
}

/* Puts new records until the volume is full. */
static uint64_t fill_up(struct world *world, struct wodan_error *error) {
  uint64_t i = world->keys;
  while (put_number(world->rig.db, i, 1, VALUE) == 0) i++;
  wodan_last_error(world->rig.db, error);
  assert_int_equal(error->code, WODAN_ENOSPC);
  return i - world->keys;
}

/* 12 of 25 runs of `wodan bench` with one false read of a leaf told a volume full that had room: the leaf was left out of
 * all sweeps from then on. */
static void test_maintenance__what_was_read_wrong_once_does_not_fill_a_volume(void **state) {
  (void)state;
  enum { WELL, ONCE, FOR_EVER };
  uint64_t puts[3];
  for (int how = WELL; how <= FOR_EVER; how++) {
    struct world *world = world_start(256 << 10, &small_format, false, 600);
    struct wodan_error error;
    change(world, 1200);
    rig_close(&world->rig);
    plug_in(world);
    if (how != WELL) flip_leaves(world);
    for (int n = 0; n < 20000 && how == ONCE && world->rig.db->damaged_count == 0; n++) change(world, 1);
    if (how == ONCE) assert_true(world->rig.db->damaged_count > 0);
    if (how == ONCE) flip_leaves(world);
    puts[how] = fill_up(world, &error);
    print_message("%llu puts: %s\n", (unsigned long long)puts[how], error.message);
    assert_int_equal(strstr(error.message, "cannot be read") != NULL, how == FOR_EVER);
    world_end(world);
  }
  assert_true(puts[ONCE] > puts[FOR_EVER] && puts[ONCE] * 10 > puts[WELL] * 9);
}

/* ---- beside the thread ------------------------------------------------------------------------------------------------ */

#ifndef WODAN_NO_THREADS

/* Beyond its plan of memory a writer waits for the frozen memtable: 3/2 of the encoded size each. In checked builds records
 * take more of it. */
static bool has_memory(const struct world *world) {
  const struct wodan_db *db = world->rig.db;
  uint64_t frozen = db->frozen.table ? memtable_memory(db->frozen.table) : 0;
  return memtable_memory(db->active.table) + frozen < 3ull * db->superblock.memtable_size;
}

static void test_maintenance__reads_and_writes_go_on_while_it_stands_still(void **state) {
  (void)state;
  /* A journal with room, else a sync becomes a checkpoint, which has to wait. */
  const struct wodan_format_options format = {.memtable_size = 256 << 10, .journal_size = 4 << 20};
  struct world *world = world_start(16 << 20, &format, true, 8000);
  for (int round = 0; round < 6; round++) {
    gate_close_after(&world->gate, random_below(&world->seed, 30));
    change_until_it_stands(world);
    uint64_t most = world->rig.db->superblock.memtable_size / 8 * 7; /* only this thread writes, so it may look */
    while (memtable_bytes(world->rig.db->active.table) < most && has_memory(world)) change(world, 1);
    for (int n = 0; n < 200; n++) judge_key(world, random_below(&world->seed, world->keys));
    struct wodan_cursor *cursor;
    assert_done(world->rig.db, wodan_cursor_open(world->rig.db, NULL, &cursor));
    assert_true(wodan_cursor_first(cursor) >= 0);
    wodan_cursor_close(cursor);
    assert_done(world->rig.db, wodan_sync(world->rig.db)); /* the journal is enough for that */
    rig_stats(world->rig.db);
    assert_true(gate_stands(&world->gate, 0));
    gate_open(&world->gate);
  }
  judge(world);
  world_end(world);
}

static void *call_close(void *context) {
  struct world *world = context;
  struct wodan_error error;
  static int status;
  status = wodan_close(world->rig.db, &error);
  return &status;
}

/* Whatever it is at: counted by what is under way. */
static void test_maintenance__close_in_the_middle(void **state) {
  (void)state;
  struct world *world = world_start(4 << 20, &small_format, true, 8000);
  unsigned drains = 0, sweeps = 0, others = 0, rounds = 0;
  while (rounds < 30 || (rounds < 300 && (drains == 0 || sweeps == 0))) {
    pthread_t closer;
    void *status;
    gate_close_after(&world->gate, random_below(&world->seed, 60));
    change_until_it_stands(world);
    if (world->rig.db->drain.it) /* it stands at the gate, so this may be looked at */
      drains++;
    else if (world->rig.db->sweep)
      sweeps++;
    else
      others++;
    assert_int_equal(pthread_create(&closer, NULL, call_close, world), 0);
    if (rounds % 2) sleep_ms(1);
    gate_open(&world->gate);
    pthread_join(closer, &status);
    assert_int_equal(*(int *)status, 0);
    assert_int_equal(world->rig.meter.used, 0);
    plug_in(world);
    if (++rounds % 8 == 0) judge(world);
  }
  print_message("closed in %u drains, %u sweeps, %u other places\n", drains, sweeps, others);
  assert_true(drains && sweeps);
  judge(world);
  world_end(world);
}

static void *call_sync(void *context) {
  struct world *world = context;
  static int status;
  status = wodan_sync(world->rig.db);
  return &status;
}

static void test_maintenance__sync_while_a_checkpoint_flushes(void **state) {
  (void)state;
  struct wodan_format_options format = small_format;
  format.journal_size = 1 << 20;
  struct world *world = world_start(4 << 20, &format, true, 4000);
  for (int round = 0; round < 10; round++) {
    pthread_t syncer;
    void *status;
    gate_close_flushes(&world->gate);
    change_until_it_stands(world);
    change(world, 20);
    for (int n = 0; n < 50; n++) judge_key(world, random_below(&world->seed, world->keys));
    assert_int_equal(pthread_create(&syncer, NULL, call_sync, world), 0);
    sleep_ms(2);
    gate_open(&world->gate);
    pthread_join(syncer, &status);
    assert_int_equal(*(int *)status, 0);
  }
  /* A crash: what was acknowledged is there. */
  gate_close_after(&world->gate, 0); /* the copy is made while nothing is written */
  change_until_it_stands(world);
  assert_done(world->rig.db, wodan_sync(world->rig.db));
  struct kept_bytes *crashed = kept_copy(world->rig.kept);
  gate_open(&world->gate);
  rig_close(&world->rig);
  kept_free(world->rig.kept);
  world->rig.kept = crashed;
  plug_in(world);
  judge(world);
  world_end(world);
}

struct writer {
  struct world *world;
  pthread_t thread;
  uint64_t first, count; /* keys of its own */
  uint32_t version;
  int status;
};

static void *write_on(void *context) {
  struct writer *writer = context;
  for (writer->version = 1; writer->version <= 12 && writer->status == 0; writer->version++)
    for (uint64_t i = 0; i < writer->count && writer->status == 0; i++)
      writer->status =
          put_number(writer->world->rig.db, writer->first + i * 7919 % writer->count, writer->version, VALUE);
  return NULL;
}

static void test_maintenance__compact_in_steps_beside_writers(void **state) {
  (void)state;
  struct world *world = world_start(8 << 20, &small_format, true, 4000);
  struct writer writers[2] = {{.world = world, .first = 0, .count = 2000},
                              {.world = world, .first = 2000, .count = 2000}};
  for (int w = 0; w < 2; w++) assert_int_equal(pthread_create(&writers[w].thread, NULL, write_on, &writers[w]), 0);
  for (int step = 0; step < 100; step++)
    assert_done(world->rig.db, wodan_compact(world->rig.db, NULL, NULL, 8192, NULL));
  for (int w = 0; w < 2; w++) pthread_join(writers[w].thread, NULL);
  for (int w = 0; w < 2; w++) assert_int_equal(writers[w].status, 0);
  for (uint64_t i = 0; i < world->keys; i++) world->version[i] = 12;
  uint32_t more = 1;
  for (int step = 0; more && step < 5000; step++)
    assert_done(world->rig.db, wodan_compact(world->rig.db, NULL, NULL, 8192, &more));
  assert_int_equal(more, 0);
  assert_int_equal(rig_stats(world->rig.db).runs, 0);
  judge(world);
  world_end(world);
}

/* ---- failures --------------------------------------------------------------------------------------------------------- */

static void device_fails(uint64_t after) {
  struct world *world = world_start(4 << 20, &small_format, true, 8000);
  struct wodan_error error;
  change(world, 10000);
  assert_done(world->rig.db, wodan_checkpoint(world->rig.db, NULL));
  gate_fail_after(&world->gate, after);
  int status = 0;
  uint64_t commits = 0;
  while (status == 0 && commits++ < 100000) status = change_one(world);
  assert_true(status == WODAN_EFAILED || status == WODAN_EIO);
  assert_int_equal(change_one(world), WODAN_EFAILED);
  assert_int_equal(wodan_sync(world->rig.db), WODAN_EFAILED);
  assert_why(world->rig.db, WODAN_EFAILED, "an earlier write failed");
  assert_int_equal(wodan_checkpoint(world->rig.db, NULL), WODAN_EFAILED);
  assert_int_equal(wodan_compact(world->rig.db, NULL, NULL, 0, NULL), WODAN_EFAILED);
  judge(world); /* what was committed can be read */
  status = wodan_close(world->rig.db, &error);
  assert_true(status == WODAN_EFAILED || status == WODAN_EIO);
  world->rig.db = NULL;
  assert_int_equal(world->rig.meter.used, 0);
  gate_open(&world->gate);
  plug_in(world);
  uint64_t sequence = rig_info(world->rig.db).sequence; /* of the newest checkpoint that was whole */
  assert_true(sequence >= 10000);
  roll_back(world, sequence);
  judge(world);
  world_end(world);
}

static void test_maintenance__a_device_that_fails_is_left_alone(void **state) {
  (void)state;
  for (uint64_t after = 0; after < 40; after += RACES_WATCHED ? 9 : 3) device_fails(after);
}

/* Several writers wait for the thread when it fails: none is forgotten. */
static void test_maintenance__a_failure_wakes_all_who_wait(void **state) {
  (void)state;
  struct world *world = world_start(4 << 20, &small_format, true, 4000);
  struct writer writers[4];
  struct wodan_error error;
  gate_close_after(&world->gate, 20);
  for (int w = 0; w < 4; w++) {
    writers[w] = (struct writer){.world = world, .first = 1000 * (uint64_t)w, .count = 1000};
    assert_int_equal(pthread_create(&writers[w].thread, NULL, write_on, &writers[w]), 0);
  }
  assert_true(gate_stands(&world->gate, PATIENCE));
  sleep_ms(50); /* by now both memtables are full */
  gate_fail_after(&world->gate, 0);
  for (int w = 0; w < 4; w++) pthread_join(writers[w].thread, NULL);
  for (int w = 0; w < 4; w++) assert_true(writers[w].status == WODAN_EFAILED || writers[w].status == WODAN_EIO);
  assert_true(wodan_close(world->rig.db, &error) < 0);
  world->rig.db = NULL;
  world_end(world);
}

/* ---- idle ------------------------------------------------------------------------------------------------------------- */

static void test_maintenance__when_idle_fewer_runs_remain(void **state) {
  (void)state;
  struct world *world = world_start(8 << 20, &small_format, true, 16000);
  change(world, 30000);
  for (int n = 0; n < 100 && rig_stats(world->rig.db).maintenance_owed; n++) sleep_ms(20);
  uint64_t runs = rig_stats(world->rig.db).runs, now = runs;
  assert_true(runs > 4);
  for (int n = 0; n < PATIENCE / 50 && now > runs / 2; n++) {
    sleep_ms(50);
    now = rig_stats(world->rig.db).runs;
  }
  print_message("%llu runs, %llu when idle\n", (unsigned long long)runs, (unsigned long long)now);
  assert_true(now <= runs / 2);
  judge(world);
  world_end(world);
}

static struct wodan_db *open_in_memory(uint64_t size, const struct wodan_format_options *format) {
  struct wodan_open_options options = {.size = sizeof options};
  struct wodan_device *device;
  struct wodan_error error;
  struct wodan_db *db;
  assert_int_equal(wodan_memory_device(size, 512, &device), 0);
  device->geometry.durable = 1; /* checkpoints are asked for */
  assert_int_equal(wodan_format(device, format, &error), 0);
  int status = wodan_open(device, &options, &db, &error);
  if (status < 0) fail_msg("open answered %d: %s", status, error.message);
  return db;
}

/* Until nothing is deferred, little waits for its discard, and no byte was written for longer than idle work takes to begin; how
 * it stands then. */
static struct wodan_stats at_rest(struct wodan_db *db) {
  enum { STEP = 50, QUIET = 2500 };
  struct wodan_stats stats = rig_stats(db);
  for (int n = 0, quiet = 0; n < PATIENCE / STEP && quiet < QUIET / STEP; n++) {
    uint64_t written = stats.device_write_bytes;
    sleep_ms(STEP);
    stats = rig_stats(db);
    bool settled = stats.space_deferred == 0 && stats.discard_waiting <= stats.space_total / 50;
    quiet = settled && stats.device_write_bytes == written ? quiet + 1 : 0;
  }
  return stats;
}

/* A store that is left alone holds no more than what lives and a quarter of it in buffers: what a fold gave up was once kept
 * until the next two checkpoints, and then for up to 50 seconds, so that a file took four times its data. */
static void test_maintenance__at_rest_a_store_takes_what_lives(void **state) {
  (void)state;
  enum { RECORDS = 20000, ROUNDS = 3 };
  struct wodan_error error;
  struct wodan_db *db = open_in_memory(32 << 20, &small_format);
  for (uint64_t n = 0; n < (uint64_t)RECORDS * ROUNDS; n++)
    assert_done(db, put_number(db, n * 7919 % RECORDS, (uint32_t)n, VALUE));
  assert_done(db, wodan_checkpoint(db, NULL));
  struct wodan_stats busy = rig_stats(db), rest = at_rest(db);
  print_message("live %llu then %llu, deferred %llu, waiting %llu, written %llu then %llu\n",
                (unsigned long long)busy.space_live, (unsigned long long)rest.space_live,
                (unsigned long long)rest.space_deferred, (unsigned long long)rest.discard_waiting,
                (unsigned long long)busy.device_write_bytes, (unsigned long long)rest.device_write_bytes);
  assert_int_equal(rest.space_deferred, 0);
  assert_true(rest.discard_waiting <= rest.space_total / 50);
  assert_true(rest.space_live <= (uint64_t)RECORDS * (VALUE + 20) * 3 / 2);
  /* Once: each leaf is written at most once more. */
  assert_true(rest.device_write_bytes - busy.device_write_bytes <= (uint64_t)RECORDS * (VALUE + 20) * 3 / 2);
  assert_int_equal(wodan_close(db, &error), 0);
}

/* Few records are no reason to rewrite leaves, however many runs and pauses they come in. */
static void test_maintenance__at_rest_no_leaf_is_written_for_little(void **state) {
  (void)state;
  enum { RECORDS = 6000, RUNS = 10 };
  struct wodan_format_options format = small_format;
  format.memtable_size = 64 << 10; /* one node holds all leaves */
  struct wodan_error error;
  struct wodan_db *db = open_in_memory(32 << 20, &format);
  for (uint64_t n = 0; n < RECORDS; n++) assert_done(db, put_number(db, n, (uint32_t)n, VALUE));
  for (uint32_t more = 1; more;) assert_done(db, wodan_compact(db, NULL, NULL, 0, &more));
  at_rest(db);
  assert_int_equal(rig_stats(db).levels, 1);
  uint64_t before = rig_stats(db).leaf_write_bytes;
  for (uint64_t run = 0; run < RUNS; run++) {
    for (uint64_t n = 0; n < 10; n++)
      assert_done(db, put_number(db, (run * 10 + n) * 7919 % RECORDS, (uint32_t)(RECORDS + n), VALUE));
    assert_done(db, wodan_checkpoint(db, NULL));
  }
  sleep_ms(2500);
  uint64_t written = rig_stats(db).leaf_write_bytes - before;
  print_message("%llu bytes of leaves for %d runs of ten records\n", (unsigned long long)written, RUNS);
  assert_int_equal(written, 0);
  assert_int_equal(rig_stats(db).runs, RUNS);
  assert_int_equal(wodan_close(db, &error), 0);
}

#endif

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_maintenance__inline_no_put_does_more_than_a_slice),
      cmocka_unit_test(test_maintenance__inline_a_frozen_memtable_is_begun_at_once),
      cmocka_unit_test(test_maintenance__inline_a_batch_does_its_share),
      cmocka_unit_test(test_maintenance__both_ways_keep_every_record),
      cmocka_unit_test(test_maintenance__a_damaged_leaf_stops_nobody),
      cmocka_unit_test(test_maintenance__what_was_read_wrong_once_does_not_fill_a_volume),
#ifndef WODAN_NO_THREADS
      cmocka_unit_test(test_maintenance__reads_and_writes_go_on_while_it_stands_still),
      cmocka_unit_test(test_maintenance__close_in_the_middle),
      cmocka_unit_test(test_maintenance__sync_while_a_checkpoint_flushes),
      cmocka_unit_test(test_maintenance__compact_in_steps_beside_writers),
      cmocka_unit_test(test_maintenance__a_device_that_fails_is_left_alone),
      cmocka_unit_test(test_maintenance__a_failure_wakes_all_who_wait),
      cmocka_unit_test(test_maintenance__when_idle_fewer_runs_remain),
      cmocka_unit_test(test_maintenance__at_rest_a_store_takes_what_lives),
      cmocka_unit_test(test_maintenance__at_rest_no_leaf_is_written_for_little),
#endif
  };
  if (RACES_WATCHED) cmocka_set_skip_filter("*__inline_*");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
