/* A volume filled to the brim, again and again; and whether the statistics add up. Every fill keeps a table of what each
 * key holds, so the content is judged after every step. */
#include "engine_rig.h"

/* ---- filling -------------------------------------------------------------------------------------------------------- */

struct shape {
  const char *name;
  uint64_t size;
  uint32_t block;
  uint64_t keys; /* more than fit */
  uint32_t value_min, value_max;
  unsigned cycles;
  unsigned ceiling; /* least fill, user bytes in percent of the data area */
};

static const struct shape shapes[] = {
    {"32 KiB, 512-byte blocks, small values", 32 << 10, 512, 1500, 16, 24, 24, 5},
    {"64 KiB, 512-byte blocks, mixed values", 64 << 10, 512, 2500, 16, 120, 24, 20},
    {"64 KiB, 512-byte blocks, greatest values", 64 << 10, 512, 900, 128, 128, 24, 20},
    {"128 KiB, 1 KiB blocks, small values", 128 << 10, 1024, 4000, 16, 32, 24, 20},
    {"512 KiB, 512-byte blocks, mixed values", 512 << 10, 512, 12000, 16, 256, 20, 40},
    {"1 MiB, 4 KiB blocks, 100-byte values", 1 << 20, 4096, 12000, 100, 100, 20, 35},
    {"2 MiB, 4 KiB blocks, greatest values", 2 << 20, 4096, 4000, 2048, 2048, 20, 40},
};

struct full {
  struct rig rig;
  const struct shape *shape;
  uint64_t *versions; /* of each key; 0: absent */
  uint64_t version, random, refused;
};

static size_t value_size(const struct full *full, uint64_t i, uint64_t v) {
  uint32_t spread = full->shape->value_max - full->shape->value_min + 1;
  return full->shape->value_min + (i * 31 + v * 17) % spread;
}

/* 0 or WODAN_ENOSPC; a refused one has changed nothing. */
static int full_put(struct full *full, uint64_t i) {
  struct rig *rig = &full->rig;
  uint64_t sequence = rig_info(rig->db).sequence, v = ++full->version;
  int status = put_number(rig->db, i, v, value_size(full, i, v));
  if (status == 0) {
    full->versions[i] = v;
    return 0;
  }
  if (status != WODAN_ENOSPC) fail_msg("%s: put answered %d: %s", full->shape->name, status, rig_why(rig->db));
  full->refused++;
  assert_int_equal(rig_info(rig->db).sequence, sequence);
  char key[32];
  uint8_t value[4096];
  size_t size;
  status = wodan_get(rig->db, NULL, key_number(i, key), value, sizeof value, &size);
  assert_int_equal(status, full->versions[i] ? 0 : WODAN_ENOTFOUND);
  return WODAN_ENOSPC;
}

/* On a full volume too. */
static void full_delete(struct full *full, uint64_t i) {
  char key[32];
  int status = wodan_delete(full->rig.db, key_number(i, key), NULL);
  if (status < 0) fail_msg("%s: delete answered %d: %s", full->shape->name, status, rig_why(full->rig.db));
  full->versions[i] = 0;
}

static void full_check(struct full *full) {
  struct wodan_cursor *cursor;
  struct wodan_db *db = full->rig.db;
  char key[32];
  uint8_t value[4096];
  assert_done(db, wodan_cursor_open(db, NULL, &cursor));
  int status = wodan_cursor_first(cursor);
  for (uint64_t i = 0; i < full->shape->keys; i++) {
    uint64_t v = full->versions[i];
    if (v == 0) continue;
    struct wodan_slice wanted = key_number(i, key), found = wodan_cursor_key(cursor);
    if (status != 0 || found.size != wanted.size || memcmp(found.data, key, found.size) != 0)
      fail_msg("%s: %s is missing", full->shape->name, key);
    wanted = value_number(i, v, value, value_size(full, i, v));
    found = wodan_cursor_value(cursor);
    if (found.size != wanted.size || memcmp(found.data, value, found.size) != 0)
      fail_msg("%s: %s has a wrong value", full->shape->name, key);
    status = wodan_cursor_next(cursor);
  }
  assert_int_equal(status, WODAN_DONE);
  wodan_cursor_close(cursor);
}

static uint64_t live_bytes(const struct full *full) {
  uint64_t bytes = 0;
  for (uint64_t i = 0; i < full->shape->keys; i++)
    if (full->versions[i]) bytes += 12 + value_size(full, i, full->versions[i]);
  return bytes;
}

/* Puts absent keys in random order until one is refused, then says how full the volume is: percent of the data area. */
static double fill_up(struct full *full) {
  uint64_t start = random_below(&full->random, full->shape->keys), n = 0;
  for (; n < full->shape->keys; n++) {
    uint64_t i = (start + n * 7919) % full->shape->keys; /* 7919 is prime to every number of keys above */
    if (!full->versions[i] && full_put(full, i) != 0) break;
  }
  if (n == full->shape->keys) fail_msg("%s: all keys fit", full->shape->name);
  return 100.0 * (double)live_bytes(full) / (double)rig_stats(full->rig.db).space_total;
}

static struct full *full_start(const struct shape *shape) {
  struct full *full = calloc(1, sizeof *full);
  struct wodan_format_options options = {.block_size = shape->block};
  full->shape = shape;
  full->random = shape->size + shape->value_max;
  full->versions = calloc(shape->keys, sizeof *full->versions);
  rig_start(&full->rig, shape->size, &options);
  return full;
}

static void full_end(struct full *full) {
  rig_end(&full->rig);
  free(full->versions);
  free(full);
}

/* ---- to the brim ----------------------------------------------------------------------------------------------------- */

/* What must go on working on a full volume, each in turn. */
static void use_full(struct full *full, unsigned cycle) {
  struct wodan_db *db = full->rig.db;
  assert_done(db, wodan_sync(db));
  assert_done(db, wodan_checkpoint(db, NULL));
  assert_why(db, WODAN_ENOSPC, "full");
  full_check(full);
  if (cycle % 3 == 1) {
    rig_reopen(&full->rig);
    full_check(full);
  }
  if (cycle % 3 == 2) { /* durable deletes */
    struct wodan_commit commit = {.durability = WODAN_DURABLE};
    char key[32];
    for (uint64_t i = cycle; i < full->shape->keys; i += full->shape->keys / 20) {
      assert_done(full->rig.db, wodan_delete(full->rig.db, key_number(i, key), &commit));
      full->versions[i] = 0;
    }
  }
}

/* Deletes a part that changes from cycle to cycle: every second, a range, nearly all, all. */
static void make_space(struct full *full, unsigned cycle) {
  uint64_t keys = full->shape->keys;
  for (uint64_t i = 0; i < keys; i++) {
    if (!full->versions[i]) continue;
    bool gone = cycle % 4 == 0 ? i % 2 : cycle % 4 == 1 ? i < keys / 2 : cycle % 4 == 2 ? i % 16 != 3 : true;
    if (gone) full_delete(full, i);
  }
}

static void fill_and_delete(const struct shape *shape) {
  struct full *full = full_start(shape);
  double first = fill_up(full), least = first;
  for (unsigned cycle = 0; cycle < shape->cycles; cycle++) {
    use_full(full, cycle);
    make_space(full, cycle);
    full_check(full);
    double filled = fill_up(full);
    if (filled < least) least = filled;
    full_check(full);
  }
  print_message("%s: first fill %.0f %%, least %.0f %% of the data area (%llu refused)\n", shape->name, first, least,
                (unsigned long long)full->refused);
  if (least < shape->ceiling) fail_msg("%s: only %.0f %% could be used", shape->name, least);
  full_end(full);
}

static void test_space__filled_to_the_brim_and_emptied_many_times(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) fill_and_delete(&shapes[i]);
}

/* Overwriting on a volume that is nearly full: most must go through, and no refused one may harm. */
static void test_space__overwrites_near_the_brim_go_on(void **state) {
  (void)state;
  const struct shape *shape = &shapes[4];
  struct full *full = full_start(shape);
  fill_up(full);
  uint64_t gone = 0;
  for (uint64_t i = 0; i < shape->keys && gone < 250; i++)
    if (full->versions[i] && i % 3 == 0) full_delete(full, i), gone++;
  uint64_t taken = 0, tried = 0;
  for (; tried < 20000; tried++) {
    uint64_t i = random_below(&full->random, shape->keys);
    if (full->versions[i]) taken += full_put(full, i) == 0;
    if (tried % 5000 == 4999) full_check(full);
  }
  assert_true(full->refused * 4 < taken);
  rig_reopen(&full->rig);
  full_check(full);
  full_end(full);
}

/* A full volume closes, opens, and has the space back once its keys are deleted: without reopening. */
static void test_space__deleting_everything_gives_everything_back(void **state) {
  (void)state;
  const struct shape *shape = &shapes[4];
  struct full *full = full_start(shape);
  double first = fill_up(full);
  rig_reopen(&full->rig);
  full_check(full);
  for (uint64_t i = 0; i < shape->keys; i++)
    if (full->versions[i]) full_delete(full, i);
  assert_true(fill_up(full) > 0.9 * first);
  full_end(full);
}

/* Batches of every size on a volume being filled: a refused one is refused whole. */
static void test_space__a_refused_batch_leaves_nothing_behind(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_batch *batch;
  char key[32];
  uint8_t value[64];
  uint64_t next = 0, refused = 0;
  rig_start(&rig, 128 << 10, NULL);
  assert_done(rig.db, wodan_batch_create(rig.db, &batch));
  for (uint64_t round = 0; refused < 60; round++) {
    uint64_t count = 1 + round % 10;
    wodan_batch_clear(batch);
    for (uint64_t i = next; i < next + count; i++)
      assert_done(rig.db, wodan_batch_put(batch, key_number(i, key), value_number(i, 1, value, 60)));
    struct wodan_commit commit = {.durability = round % 3 == 0};
    int status = wodan_batch_commit(rig.db, batch, &commit);
    if (status == 0) {
      next += count;
      continue;
    }
    assert_int_equal(status, WODAN_ENOSPC);
    assert_int_equal(commit.sequence, 0);
    assert_int_equal(rig_info(rig.db).sequence, next);
    refused++;
    size_t size;
    for (uint64_t i = next; i < next + count; i++)
      assert_int_equal(wodan_get(rig.db, NULL, key_number(i, key), NULL, 0, &size), WODAN_ENOTFOUND);
    if (round > 100000) fail_msg("the volume is never full");
  }
  wodan_batch_free(batch);
  rig_reopen(&rig);
  for (uint64_t i = 0; i < next; i++) assert_number(rig.db, NULL, i, 1, 60);
  rig_end(&rig);
}

/* ---- statistics -------------------------------------------------------------------------------------------------------- */

static void assert_adds_up(struct rig *rig, uint64_t written, uint64_t writes, uint64_t flushes, uint64_t barriers) {
  struct wodan_stats s = rig_stats(rig->db);
  assert_int_equal(s.device_write_bytes, rig->kept->written - written);
  assert_int_equal(s.device_writes, rig->kept->writes - writes);
  assert_int_equal(s.device_flushes, rig->kept->flushes - flushes);
  assert_int_equal(s.device_barriers, rig->kept->barriers - barriers);
  assert_int_equal(s.space_live + s.space_deferred + s.space_free, s.space_total);
  assert_int_equal(s.journal_write_bytes + s.run_write_bytes + s.leaf_write_bytes + s.node_write_bytes,
                   s.device_write_bytes);
  assert_int_equal(s.memory_used, rig->meter.used);
  assert_true(s.memory_peak >= s.memory_used && s.memory_peak <= rig->meter.peak);
  /* A variable, so that a processor that divides in more bits than a double has rounds here too. */
  double due = s.user_bytes_written ? (double)s.device_write_bytes / (double)s.user_bytes_written : 0;
  assert_true(s.write_amplification == due);
  if (s.user_bytes_read) assert_true(s.read_amplification == (double)s.device_read_bytes / (double)s.user_bytes_read);
}

static void test_space__statistics_add_up_with_what_the_device_saw(void **state) {
  (void)state;
  struct rig rig;
  uint64_t random = 1, puts = 0, deletes = 0, bytes = 0, syncs = 0, gets = 0, found = 0, read = 0;
  char key[32];
  uint8_t value[256];
  rig_start(&rig, 1 << 20, NULL);
  rig_close(&rig);
  uint64_t written = rig.kept->written, writes = rig.kept->writes, flushes = rig.kept->flushes;
  uint64_t barriers = rig.kept->barriers;
  rig_open(&rig);
  assert_adds_up(&rig, written, writes, flushes, barriers);
  for (uint64_t n = 0; n < 20000; n++) {
    uint64_t i = random_below(&random, 3000), dice = random_below(&random, 100);
    size_t size = 16 + random_below(&random, 100);
    if (dice < 15) {
      assert_done(rig.db, wodan_delete(rig.db, key_number(i, key), NULL));
      deletes++, bytes += 12;
    } else if (dice < 70) {
      assert_done(rig.db, put_number(rig.db, i, n, size));
      puts++, bytes += 12 + size;
    } else if (dice < 98) {
      int status = wodan_get(rig.db, NULL, key_number(i, key), value, sizeof value, &size);
      gets++, found += status == 0, read += status == 0 ? size : 0;
    } else {
      assert_done(rig.db, wodan_sync(rig.db));
      syncs++;
    }
    if (n % 500) continue;
    assert_done(rig.db, wodan_checkpoint(rig.db, NULL)); /* no run is half written then */
    assert_adds_up(&rig, written, writes, flushes, barriers);
  }
  struct wodan_stats s = rig_stats(rig.db);
  assert_int_equal(s.puts, puts);
  assert_int_equal(s.deletes, deletes);
  assert_int_equal(s.batches, puts + deletes);
  assert_int_equal(s.user_bytes_written, bytes);
  assert_int_equal(s.gets, gets);
  assert_int_equal(s.gets_found, found);
  assert_int_equal(s.user_bytes_read, read);
  assert_int_equal(s.syncs, syncs);
  assert_true(s.checkpoints > 0 && s.leaves > 0 && s.cache_misses > 0 && s.cache_hits > 0);
  assert_int_equal(rig_info(rig.db).sequence, puts + deletes);
  /* Cursors count what they show. */
  struct wodan_cursor *cursor;
  uint64_t moves = s.cursor_moves, shown = 0;
  read = s.user_bytes_read;
  assert_done(rig.db, wodan_cursor_open(rig.db, NULL, &cursor));
  for (int status = wodan_cursor_first(cursor); status == 0; status = wodan_cursor_next(cursor))
    shown += wodan_cursor_key(cursor).size + wodan_cursor_value(cursor).size, moves++;
  wodan_cursor_close(cursor);
  assert_int_equal(rig_stats(rig.db).user_bytes_read, read + shown);
  assert_int_equal(rig_stats(rig.db).cursor_moves, moves);
  assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
  assert_adds_up(&rig, written, writes, flushes, barriers);
  assert_int_equal(rig_stats(rig.db).records_buffered, 0);
  put_text(rig.db, "one", "more");
  assert_int_equal(rig_stats(rig.db).records_buffered, 1);
  rig_end(&rig);
}

/* Random fill of ten memtables, buffered: at most levels + 1/alpha + 0.75 bytes at the device for each of the user's,
 * with one level and alpha 1 (the volume stays less than half full). */
static void test_space__write_amplification_of_a_random_fill(void **state) {
  (void)state;
  for (uint64_t size = 8 << 20; size <= 32 << 20; size *= 2) {
    struct rig rig;
    uint64_t random = 7;
    uint8_t value[100];
    rig_start(&rig, size, NULL);
    uint64_t wanted = 10 * rig_info(rig.db).memtable_size, start = rig.kept->written, user = 0;
    for (uint64_t n = 0; user < wanted; n++, user += 116) {
      uint64_t key[2] = {random_next(&random), n};
      assert_done(rig.db, wodan_put(rig.db, (struct wodan_slice){key, 16}, value_number(n, 0, value, 100), NULL));
    }
    assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
    double amplification = (double)(rig.kept->written - start) / (double)user;
    struct wodan_stats s = rig_stats(rig.db);
    print_message("%llu MiB: %.2f bytes written a byte (runs %.2f, leaves %.2f, nodes %.2f, journal %.2f)\n",
                  (unsigned long long)(size >> 20), amplification, (double)s.run_write_bytes / (double)user,
                  (double)s.leaf_write_bytes / (double)user, (double)s.node_write_bytes / (double)user,
                  (double)s.journal_write_bytes / (double)user);
    assert_true(amplification <= 1 + 1.0 + 0.75);
    assert_true(s.write_amplification <= amplification * 1.001 && s.write_amplification >= amplification * 0.999);
    rig_end(&rig);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_space__filled_to_the_brim_and_emptied_many_times),
      cmocka_unit_test(test_space__overwrites_near_the_brim_go_on),
      cmocka_unit_test(test_space__deleting_everything_gives_everything_back),
      cmocka_unit_test(test_space__a_refused_batch_leaves_nothing_behind),
      cmocka_unit_test(test_space__statistics_add_up_with_what_the_device_saw),
      cmocka_unit_test(test_space__write_amplification_of_a_random_fill),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
