/* The check on images that the engine made: clean ones are called clean, damage of every block is noticed and weighed
 * rightly, nothing is ever written, and no bytes whatsoever make it crash or run without end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>

#include "check/findings.h"
#include "check_store.h"
#include "codec/checksum.h"
#include "format/superblock.h"

enum { SIZE = 128 * 1024, SECTOR = 512, KEYS = 400, RANDOM_ROUNDS = 2000 };

static uint64_t next_random(uint64_t *state) { /* xorshift64* */
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * 0x2545F4914F6CDD1Du;
}

static struct wodan_slice slice(const void *data, size_t size) { return (struct wodan_slice){data, size}; }

static void put(struct wodan_db *db, unsigned i, unsigned round) {
  char key[32], value[96];
  int key_size = snprintf(key, sizeof key, "key %05u", i * 7919 % 10007);
  int value_size = snprintf(value, sizeof value, "value %u of round %u .................", i, round);
  assert_int_equal(wodan_put(db, slice(key, (size_t)key_size), slice(value, (size_t)value_size), NULL), 0);
}

static void erase(struct wodan_db *db, unsigned i) {
  char key[32];
  int key_size = snprintf(key, sizeof key, "key %05u", i * 7919 % 10007);
  assert_int_equal(wodan_delete(db, slice(key, (size_t)key_size), NULL), 0);
}

static struct wodan_db *open_store(struct store *store, uint32_t flags) {
  struct wodan_db *db = NULL;
  struct wodan_error error = {0};
  struct wodan_open_options options = {.size = sizeof options, .flags = flags};
  if (wodan_open(store_open(store), &options, &db, &error) != 0) fail_msg("open: %s", error.message);
  return db;
}

static void close_db(struct wodan_db *db) {
  struct wodan_error error = {0};
  if (wodan_close(db, &error) != 0) fail_msg("close: %s", error.message);
}

static struct store formatted(uint64_t size) {
  struct store store = store_create(size, SECTOR);
  struct wodan_device *device = store_open(&store);
  struct wodan_error error = {0};
  if (wodan_format(device, NULL, &error) != 0) fail_msg("format: %s", error.message);
  wodan_device_close(device);
  return store;
}

/* Leaves, buffered runs with deletes, and a previous root that owns blocks of its own. Closed in order. */
static struct store full_image(void) {
  struct store store = formatted(SIZE);
  struct wodan_db *db = open_store(&store, 0);
  for (unsigned i = 0; i < KEYS; i++) put(db, i, 0);
  assert_int_equal(wodan_checkpoint(db, NULL), 0);
  for (unsigned i = 0; i < KEYS / 8; i++) put(db, i * 5, 1);
  for (unsigned i = 0; i < 10; i++) erase(db, i * 11);
  assert_int_equal(wodan_checkpoint(db, NULL), 0);
  for (unsigned i = 0; i < 6; i++) put(db, i, 2);
  close_db(db);
  return store;
}

static void assert_clean(const struct heard *heard) {
  if (heard->status != 0 || heard->report.damages || heard->report.warnings || heard->report.notes) {
    heard_print(heard);
    fail_msg("not clean");
  }
  assert_int_equal(heard->report.complete, 1);
}

/* ---- clean ------------------------------------------------------------------------------------------------------ */

static void test_check__clean_image_has_no_finding_and_right_counts(void **state) {
  (void)state;
  struct store store = full_image();
  struct heard heard;
  store_check(&store, &heard);
  assert_clean(&heard);
  const struct wodan_check_report *r = &heard.report;
  struct wodan_db *db = open_store(&store, WODAN_OPEN_READ_ONLY);
  struct wodan_info info = {.size = sizeof info};
  struct wodan_stats stats = {.size = sizeof stats};
  assert_int_equal(wodan_info(db, &info), 0);
  assert_int_equal(wodan_stats(db, &stats), 0);
  assert_int_equal(r->generation, info.generation);
  assert_int_equal(r->previous_generation, info.previous_generation);
  assert_int_equal(r->blocks, info.blocks);
  assert_int_equal(r->blocks_live * info.block_size, stats.space_live);
  assert_int_equal(r->blocks_previous * info.block_size, stats.space_deferred);
  assert_int_equal(r->leaves, stats.leaves);
  assert_int_equal(r->runs, stats.runs);
  assert_int_equal(r->nodes, 1);
  assert_int_equal(r->journal_records, info.replayed_operations);
  assert_true(r->leaves >= 1 && r->runs >= 1 && r->blocks_previous >= 1);
  assert_true(r->pages >= r->leaves + r->runs && r->records >= KEYS - 10);
  close_db(db);
  store_free(&store);
}

/* One check of the store with these options. */
static int check_with(struct store *store, struct wodan_check_options options, struct wodan_check_report *report) {
  struct wodan_device *device = store_open(store);
  int status = wodan_check(device, &options, report, NULL);
  wodan_device_close(device);
  return status;
}

static void test_check__an_older_root_is_checked_when_asked_for(void **state) {
  (void)state;
  struct store store = full_image();
  struct wodan_check_report newest, older, none;
  assert_int_equal(check_with(&store, (struct wodan_check_options){0}, &newest), 0);
  uint64_t generation = newest.previous_generation;
  assert_true(generation < newest.generation);
  assert_int_equal(check_with(&store, (struct wodan_check_options){.generation = generation}, &older), 0);
  assert_int_equal(older.generation, generation);
  assert_int_equal(older.damages, 0);
  assert_int_equal(older.notes, 1);
  assert_true(older.complete && older.records >= KEYS - 10);
  assert_int_equal(check_with(&store, (struct wodan_check_options){.generation = 1 << 30}, &none), WODAN_ENOTFOUND);
  store_free(&store);
}

static void test_check__memory_has_a_limit(void **state) {
  (void)state;
  struct store store = full_image();
  struct wodan_check_report report;
  uint64_t enough = 0;
  for (uint64_t limit = 512; limit <= 1 << 20 && !enough; limit *= 2) {
    int status = check_with(&store, (struct wodan_check_options){.memory_limit = limit}, &report);
    assert_true(status == 0 || status == WODAN_EBUDGET);
    if (status == 0) enough = limit;
  }
  /* 16 bytes a block, 64 KiB and four pages are what may be needed. */
  assert_true(enough >= 1024 && enough <= 2 * (16 * (SIZE / SECTOR) + 65536 + 4 * 512));
  assert_true(report.complete && report.damages == 0);
  store_free(&store);
}

/* ---- bounds ----------------------------------------------------------------------------------------------------- */

struct account {
  uint64_t live, peak; /* bytes */
};

static void *account_take(void *context, size_t size, size_t alignment) {
  struct account *account = context;
  account->live += size;
  if (account->live > account->peak) account->peak = account->live;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void account_give(void *context, void *memory, size_t size) {
  ((struct account *)context)->live -= size;
  free(memory);
}

/* At most 2 reads and 16 bytes a block, and 16 reads, 64 KiB and 4 pages beside. */
static void assert_bounded(struct store *store, uint64_t block_size, uint64_t page_size, const char *what) {
  struct account account = {0};
  struct wodan_check_report report;
  uint64_t blocks = store->size / block_size;
  store->reads = 0;
  int status =
      check_with(store, (struct wodan_check_options){.allocator = {&account, account_take, account_give}}, &report);
  if (status != 0 || account.live != 0 || store->reads > 2 * blocks + 16 ||
      account.peak > 16 * blocks + 65536 + 4 * page_size)
    fail_msg("%s: status %d, %llu reads and %llu bytes for %llu blocks", what, status, (unsigned long long)store->reads,
             (unsigned long long)account.peak, (unsigned long long)blocks);
}

static void test_check__reads_and_memory_are_bounded(void **state) {
  (void)state;
  static const uint64_t SIZES[] = {SIZE, 1 << 20, 24 << 20};
  for (unsigned i = 0; i < 3; i++) {
    struct store store = formatted(SIZES[i]);
    struct wodan_db *db = open_store(&store, WODAN_OPEN_INLINE);
    struct wodan_info info = {.size = sizeof info};
    assert_int_equal(wodan_info(db, &info), 0);
    for (unsigned k = 0; k < SIZES[i] / 512; k++) put(db, k % 10007, k);
    close_db(db);
    assert_bounded(&store, info.block_size, info.page_size, "whole");
    for (uint64_t at = 0; at < store.size; at += info.block_size) /* every third header of a run */
      if (memcmp(store.bytes + at + 8, "WRUN", 4) == 0 && at / info.block_size % 3 == 0) store.bytes[at + 40] ^= 1;
    assert_bounded(&store, info.block_size, info.page_size, "damaged runs");
    memset(store.bytes + 3 * info.block_size, 0x55, 2 * info.block_size);
    assert_bounded(&store, info.block_size, info.page_size, "a damaged ring");
    store.broken = 8 * info.block_size;
    store.broken_end = store.size / 2;
    assert_bounded(&store, info.block_size, info.page_size, "half of it unreadable");
    store_free(&store);
  }
}

static void test_check__fresh_volume_is_clean_and_empty(void **state) {
  (void)state;
  struct store store = formatted(SIZE);
  struct heard heard;
  store_check(&store, &heard);
  assert_clean(&heard);
  assert_int_equal(heard.report.nodes + heard.report.runs + heard.report.leaves + heard.report.records, 0);
  assert_int_equal(heard.report.blocks, SIZE / SECTOR);
  store_free(&store);
}

static void test_check__every_moment_between_writes_is_clean(void **state) {
  (void)state;
  struct store store = formatted(SIZE);
  struct wodan_db *db = open_store(&store, WODAN_OPEN_INLINE); /* nobody writes during a check */
  struct heard heard;
  for (unsigned i = 0; i < KEYS * 2; i++) {
    put(db, i % KEYS, i);
    if (i % 23 == 0) assert_int_equal(wodan_sync(db), 0);
    if (i % 131 == 0) assert_int_equal(wodan_checkpoint(db, NULL), 0);
    if (i % 23 && i % 131) continue;
    store_check(&store, &heard);
    assert_clean(&heard);
  }
  close_db(db);
  store_check(&store, &heard);
  assert_clean(&heard);
  store_free(&store);
}

static void test_check__counts_what_the_journal_would_replay(void **state) {
  (void)state;
  struct store store = formatted(SIZE);
  struct wodan_db *db = open_store(&store, 0);
  for (unsigned i = 0; i < 9; i++) put(db, i, 0);
  erase(db, 3);
  assert_int_equal(wodan_sync(db), 0);
  struct store crashed = store_copy(&store);
  struct heard heard;
  store_check(&crashed, &heard);
  assert_clean(&heard);
  assert_int_equal(heard.report.journal_records, 10);
  close_db(db);
  store_free(&crashed);
  store_free(&store);
}

/* ---- superblock ------------------------------------------------------------------------------------------------- */

static void assert_only(const struct heard *heard, uint32_t id, uint32_t severity, uint64_t block) {
  if (heard->status == 0 && heard->count == 1 && heard->ids[0] == id && heard->severities[0] == severity &&
      heard->blocks[0] == block)
    return;
  heard_print(heard);
  fail_msg("expected WF%04u at block %lld alone", id, (long long)block);
}

static void test_check__dead_block_0_is_a_warning_when_the_copy_serves(void **state) {
  (void)state;
  struct store store = full_image();
  struct heard heard;
  memset(store.bytes, 0, SECTOR);
  store_check(&store, &heard);
  assert_only(&heard, FOUND_BLOCK0_DAMAGED, WODAN_WARNING, 0);
  assert_true(heard.report.records > 0);
  store_free(&store);
}

static void test_check__unreadable_block_0_is_a_warning_when_the_copy_serves(void **state) {
  (void)state;
  struct store store = full_image();
  struct heard heard;
  store.broken_end = SECTOR;
  store_check(&store, &heard);
  assert_only(&heard, FOUND_BLOCK0_DAMAGED, WODAN_WARNING, 0);
  store_free(&store);
}

static void test_check__dead_copy_is_a_warning(void **state) {
  (void)state;
  struct store store = full_image();
  struct heard heard;
  store.bytes[SIZE - 100] ^= 1;
  store_check(&store, &heard);
  assert_only(&heard, FOUND_COPY_DAMAGED, WODAN_WARNING, SIZE / SECTOR - 1);
  store_free(&store);
}

static void test_check__copy_of_another_volume_is_a_warning(void **state) {
  (void)state;
  struct store store = full_image(), other = formatted(SIZE);
  struct heard heard;
  memcpy(store.bytes + SIZE - SUPERBLOCK_SIZE, other.bytes, SUPERBLOCK_SIZE);
  store_check(&store, &heard);
  assert_only(&heard, FOUND_COPY_DIFFERS, WODAN_WARNING, SIZE / SECTOR - 1);
  store_free(&store);
  store_free(&other);
}

/* What lies at the place of a copy for one block size may be a stale one of another. */
static void test_check__stale_copy_of_another_block_size_is_passed_over(void **state) {
  (void)state;
  struct store store = store_create(SIZE + SECTOR, SECTOR);
  struct wodan_device *device = store_open(&store);
  struct wodan_format_options options = {.size = sizeof options, .block_size = 2048};
  assert_int_equal(wodan_format(device, &options, NULL), 0);
  memcpy(store.bytes + SIZE, store.bytes, SECTOR);
  options.block_size = 1024;
  options.force = 1;
  assert_int_equal(wodan_format(device, &options, NULL), 0);
  wodan_device_close(device);
  memset(store.bytes, 0, SECTOR);
  struct heard heard;
  store_check(&store, &heard);
  assert_only(&heard, FOUND_BLOCK0_DAMAGED, WODAN_WARNING, 0);
  assert_int_equal(heard.report.blocks, SIZE / 1024);
  store_free(&store);
}

static void test_check__both_superblocks_dead_is_no_image(void **state) {
  (void)state;
  struct store store = full_image();
  struct heard heard;
  store.bytes[200] ^= 1;
  store.bytes[SIZE - 100] ^= 1;
  store_check(&store, &heard);
  assert_int_equal(heard.status, WODAN_EFORMAT);
  assert_int_equal(heard.report.complete, 0);
  store_free(&store);
}

static void test_check__foreign_bytes_are_no_image(void **state) {
  (void)state;
  for (uint64_t size = SECTOR; size <= 4 * 1024 * 1024; size *= 4) {
    struct store store = store_create(size, SECTOR);
    struct heard heard;
    store_check(&store, &heard);
    assert_int_equal(heard.status, WODAN_EFORMAT);
    assert_int_equal(heard.count, 0);
    store_free(&store);
  }
}

static void test_check__both_superblocks_unreadable_is_an_io_error(void **state) {
  (void)state;
  struct store store = full_image();
  struct heard heard;
  store.broken_end = SIZE;
  store_check(&store, &heard);
  assert_int_equal(heard.status, WODAN_EIO);
  store_free(&store);
}

static void test_check__newer_version_is_refused(void **state) {
  (void)state;
  struct store store = full_image();
  struct heard heard;
  store.bytes[16] = 9;
  uint64_t sum = checksum(0, store.bytes, 504);
  for (int i = 0; i < 8; i++) store.bytes[504 + i] = (uint8_t)(sum >> (8 * i));
  store_check(&store, &heard);
  assert_int_equal(heard.status, WODAN_EVERSION);
  store_free(&store);
}

static void test_check__truncated_device_is_damage(void **state) {
  (void)state;
  struct store store = full_image();
  struct heard heard;
  store.size = SIZE / 2;
  store_check(&store, &heard);
  assert_int_equal(heard.status, 0);
  int at = heard_id(&heard, FOUND_DEVICE_SHORT);
  assert_true(at >= 0 && heard.severities[at] == WODAN_DAMAGE && heard.blocks[at] == SIZE / 2 / SECTOR);
  assert_true(heard_id(&heard, FOUND_SPACE_OUTSIDE) >= 0 && heard_id(&heard, FOUND_COPY_DAMAGED) < 0);
  store_free(&store);
}

static void test_check__longer_device_is_clean(void **state) {
  (void)state;
  struct store store = full_image(), longer = store_create(SIZE * 2, SECTOR);
  struct heard heard;
  memcpy(longer.bytes, store.bytes, SIZE);
  store_check(&longer, &heard);
  assert_clean(&heard);
  assert_int_equal(heard.report.blocks, SIZE / SECTOR);
  store_free(&store);
  store_free(&longer);
}

/* ---- every block ------------------------------------------------------------------------------------------------ */

/* What the flips of all blocks of a part of the image came to. */
struct verdicts {
  uint64_t damaged, warned, clean;
};

/* Flips the lowest bit of byte `at` of each block, one after the other. Findings must name the block that was hit. */
static struct verdicts flip_each(struct store *store, uint64_t first, uint64_t end, unsigned at) {
  struct verdicts v = {0};
  for (uint64_t block = first; block < end; block++) {
    struct heard heard;
    store->bytes[block * SECTOR + at] ^= 1;
    store_check(store, &heard);
    assert_int_equal(heard.status, 0);
    if (heard.report.damages) {
      v.damaged++;
    } else if (heard.report.warnings) {
      v.warned++;
    } else {
      assert_int_equal(heard.report.notes, 0);
      v.clean++;
    }
    store->bytes[block * SECTOR + at] ^= 1;
  }
  return v;
}

static struct superblock superblock_of(const struct store *store) {
  struct superblock sb;
  assert_int_equal(superblock_decode(store->bytes, &sb, NULL), 0);
  return sb;
}

/* Every object uses at least the first byte of each of its blocks, and every byte of an object is covered. */
static void test_check__flip_in_each_data_block_is_weighed_by_its_owner(void **state) {
  (void)state;
  struct store store = full_image();
  struct superblock sb = superblock_of(&store);
  uint64_t first = superblock_data_first(&sb), end = sb.device_blocks - 1;
  struct heard heard;
  store_check(&store, &heard);
  assert_clean(&heard);
  struct verdicts v = flip_each(&store, first, end, 0);
  assert_int_equal(v.damaged, heard.report.blocks_live);
  assert_int_equal(v.warned, heard.report.blocks_previous);
  assert_int_equal(v.damaged + v.warned + v.clean, end - first);
  assert_true(v.clean > 0);
  store_free(&store);
}

static void test_check__flip_in_each_journal_block_is_noticed(void **state) {
  (void)state;
  struct store store = full_image();
  struct superblock sb = superblock_of(&store);
  for (uint64_t block = 1; block < superblock_data_first(&sb); block++) {
    for (unsigned at = 0; at < SECTOR; at += 37) {
      struct heard heard;
      store.bytes[block * SECTOR + at] ^= 0x10;
      store_check(&store, &heard);
      assert_int_equal(heard.status, 0);
      assert_true(heard.count > 0);
      store.bytes[block * SECTOR + at] ^= 0x10;
    }
  }
  store_free(&store);
}

/* The newest checkpoint is followed by a seal that says it was durable: its loss must not pass for a crash tail. */
static void test_check__lost_newest_checkpoint_is_damage(void **state) {
  (void)state;
  struct store store = full_image();
  struct superblock sb = superblock_of(&store);
  struct heard heard;
  uint64_t damaged = 0;
  store_check(&store, &heard);
  uint64_t generation = heard.report.generation;
  for (uint64_t block = 1; block < superblock_data_first(&sb); block++) {
    uint8_t saved[SECTOR];
    memcpy(saved, store.bytes + block * SECTOR, SECTOR);
    memset(store.bytes + block * SECTOR, 0, SECTOR);
    store_check(&store, &heard);
    if (heard.report.damages) damaged++;
    if (heard.report.generation != generation) assert_true(heard.report.damages >= 1);
    memcpy(store.bytes + block * SECTOR, saved, SECTOR);
  }
  assert_true(damaged >= 1);
  store_free(&store);
}

static void test_check__flips_all_over_are_never_fatal(void **state) {
  (void)state;
  struct store store = full_image();
  for (uint64_t at = 5; at < SIZE; at += 211) {
    struct heard heard;
    store.bytes[at] ^= 0x80;
    store_check(&store, &heard);
    assert_int_equal(heard.status, 0);
    store.bytes[at] ^= 0x80;
  }
  store_free(&store);
}

static void test_check__blocks_that_cannot_be_read_are_named(void **state) {
  (void)state;
  struct store store = full_image();
  struct superblock sb = superblock_of(&store);
  uint64_t damaged = 0, warned = 0;
  struct heard heard;
  store_check(&store, &heard);
  struct wodan_check_report clean = heard.report;
  for (uint64_t block = superblock_data_first(&sb); block < sb.device_blocks - 1; block++) {
    store.broken = block * SECTOR;
    store.broken_end = store.broken + SECTOR;
    store_check(&store, &heard);
    assert_int_equal(heard.status, 0);
    if (!heard.count) continue;
    assert_true(heard.blocks[0] <= block && block - heard.blocks[0] <= 64); /* where the object or page starts */
    damaged += heard.report.damages > 0;
    warned += heard.report.damages == 0;
  }
  assert_int_equal(damaged, clean.blocks_live);
  assert_int_equal(warned, clean.blocks_previous);
  store_free(&store);
}

static void test_check__all_damaged_leaves_are_found_in_one_go(void **state) {
  (void)state;
  struct store store = full_image();
  struct superblock sb = superblock_of(&store);
  struct heard heard;
  uint64_t starts = 0;
  for (uint64_t block = superblock_data_first(&sb); block < sb.device_blocks - 1; block++) {
    uint8_t *bytes = store.bytes + block * SECTOR;
    if (memcmp(bytes + 8, "WRUN", 4) != 0) continue;
    bytes[30] ^= 1;
    starts++;
  }
  store_check(&store, &heard);
  assert_true(starts >= heard.report.leaves + heard.report.runs && heard.report.leaves >= 1);
  assert_int_equal(heard.report.damages, heard.report.leaves + heard.report.runs);
  assert_int_equal(heard.report.pages, 0);
  store_free(&store);
}

/* ---- hostile ---------------------------------------------------------------------------------------------------- */

/* Seals a superblock, a journal block or an object header again, so that the damage gets behind the checksum. */
static void reseal(struct store *store, uint64_t at, uint64_t seed) {
  uint8_t *block = store->bytes + at / SECTOR * SECTOR;
  uint64_t sum, size = SECTOR, place = 0;
  if (at < SECTOR || at >= SIZE - SECTOR) {
    sum = checksum(0, block, 504);
    place = 504;
  } else {
    if (memcmp(block + 8, "WJNL", 4) != 0) size = block[12] | (uint64_t)block[13] << 8;
    if (size < 16 || size > (uint64_t)(store->bytes + SIZE - block)) return;
    sum = checksum(seed, block + 8, size - 8);
  }
  for (int i = 0; i < 8; i++) block[place + (unsigned)i] = (uint8_t)(sum >> (8 * i));
}

static void test_check__random_damage_never_hurts(void **state) {
  (void)state;
  struct store clean = full_image(), store = store_copy(&clean);
  struct superblock sb = superblock_of(&clean);
  uint64_t seed = 0x5EED0001, random = seed;
  for (unsigned round = 0; round < RANDOM_ROUNDS; round++) {
    memcpy(store.bytes, clean.bytes, SIZE);
    store.writes = store.reads = 0;
    unsigned count = 1 + (unsigned)(next_random(&random) % 8);
    for (unsigned i = 0; i < count; i++) {
      uint64_t at = next_random(&random) % SIZE;
      if (next_random(&random) % 4 == 0) at = at % SECTOR; /* superblocks and headers get their share */
      if (next_random(&random) % 4 == 0) at = at / SECTOR * SECTOR + at % 104;
      store.bytes[at] = (uint8_t)next_random(&random);
      if (round % 2) reseal(&store, at, checksum_seed(sb.fsid));
    }
    struct heard heard;
    store_check(&store, &heard);
    if (heard.status > 0 || store.reads > 20000)
      fail_msg("seed %llu round %u: status %d after %llu reads", (unsigned long long)seed, round, heard.status,
               (unsigned long long)store.reads);
  }
  store_free(&store);
  store_free(&clean);
}

/* ---- the caller's side ------------------------------------------------------------------------------------------ */

struct stopper {
  uint64_t calls, stop_at, last_done, last_total;
};

static int stop_progress(void *context, uint64_t done, uint64_t total) {
  struct stopper *stopper = context;
  assert_true(done <= total);
  stopper->last_done = done;
  stopper->last_total = total;
  return ++stopper->calls == stopper->stop_at;
}

static int check_with_progress(struct store *store, struct stopper *stopper, struct wodan_check_report *report) {
  struct wodan_check_options options = {.size = sizeof options, .context = stopper, .progress = stop_progress};
  struct wodan_device *device = store_open(store);
  int status = wodan_check(device, &options, report, NULL);
  wodan_device_close(device);
  return status;
}

static void test_check__progress_ends_at_the_total_and_can_stop_at_any_call(void **state) {
  (void)state;
  struct store store = full_image();
  struct stopper whole = {0};
  struct wodan_check_report report;
  assert_int_equal(check_with_progress(&store, &whole, &report), 0);
  assert_int_equal(report.complete, 1);
  assert_true(whole.calls >= 2);
  assert_int_equal(whole.last_done, whole.last_total);
  for (uint64_t stop = 1; stop <= whole.calls; stop++) {
    struct stopper stopper = {.stop_at = stop};
    assert_int_equal(check_with_progress(&store, &stopper, &report), 0);
    assert_int_equal(report.complete, 0);
    assert_int_equal(stopper.calls, stop);
  }
  store_free(&store);
}

static void test_check__arguments_are_proven(void **state) {
  (void)state;
  struct store store = full_image();
  struct wodan_device *device = store_open(&store);
  struct wodan_check_report report;
  struct wodan_error error;
  assert_int_equal(wodan_check(NULL, NULL, &report, &error), WODAN_EINVAL);
  assert_int_equal(wodan_check(device, NULL, NULL, &error), WODAN_EINVAL);
  struct wodan_check_options small = {.size = 8};
  assert_int_equal(wodan_check(device, &small, &report, &error), WODAN_EINVAL);
  assert_int_equal(wodan_check(device, NULL, &report, NULL), 0);
  assert_int_equal(report.damages + report.warnings + report.notes, 0);
  wodan_device_close(device);
  store_free(&store);
}

/* An allocator that fails at the n-th call. */
struct scarce {
  uint64_t calls, fail_at;
  int64_t held;
};
static void *scarce_allocate(void *context, size_t size, size_t alignment) {
  struct scarce *scarce = context;
  if (++scarce->calls == scarce->fail_at) return NULL;
  scarce->held += (int64_t)size;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
static void scarce_release(void *context, void *memory, size_t size) {
  struct scarce *scarce = context;
  scarce->held -= (int64_t)size;
  free(memory);
}

static void test_check__each_lack_of_memory_ends_cleanly(void **state) {
  (void)state;
  struct store store = full_image();
  uint64_t refused = 0;
  for (uint64_t fail_at = 1;; fail_at++) {
    struct scarce scarce = {.fail_at = fail_at};
    struct wodan_check_options options = {.size = sizeof options,
                                          .allocator = {&scarce, scarce_allocate, scarce_release}};
    struct wodan_check_report report;
    struct wodan_device *device = store_open(&store);
    int status = wodan_check(device, &options, &report, NULL);
    wodan_device_close(device);
    assert_int_equal(scarce.held, 0);
    assert_int_equal(report.damages + report.warnings + report.notes, 0);
    assert_true(status == 0 || status == WODAN_ENOMEM); /* 0: a read was tried again, and there was memory */
    assert_int_equal(report.complete, status == 0);
    refused += status == WODAN_ENOMEM;
    if (scarce.calls < fail_at) break;
  }
  assert_true(refused > 10);
  store_free(&store);
}

static void test_check__findings_are_numbered_once_and_hold_one_gap(void **state) {
  (void)state;
#define ROW(name, number, severity, repair, sentence, remedy) {number, severity, repair, sentence, remedy},
  static const struct finding_row rows[] = {CHECK_FINDINGS_TABLE(ROW)};
#undef ROW
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    for (size_t j = 0; j < i; j++) assert_int_not_equal(rows[i].id, rows[j].id);
    assert_string_equal(finding_row(rows[i].id)->sentence, rows[i].sentence);
    const char *gap = strchr(rows[i].sentence, '%');
    if (gap) assert_true(gap[1] == 's' && strchr(gap + 1, '%') == NULL);
    assert_true((rows[i].repair == WODAN_REPAIR_NOTHING) == (rows[i].remedy[0] == 0));
    assert_null(strchr(rows[i].remedy, '%'));
  }
  assert_null(finding_row(9999));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_check__clean_image_has_no_finding_and_right_counts),
      cmocka_unit_test(test_check__an_older_root_is_checked_when_asked_for),
      cmocka_unit_test(test_check__memory_has_a_limit),
      cmocka_unit_test(test_check__reads_and_memory_are_bounded),
      cmocka_unit_test(test_check__fresh_volume_is_clean_and_empty),
      cmocka_unit_test(test_check__every_moment_between_writes_is_clean),
      cmocka_unit_test(test_check__counts_what_the_journal_would_replay),
      cmocka_unit_test(test_check__dead_block_0_is_a_warning_when_the_copy_serves),
      cmocka_unit_test(test_check__unreadable_block_0_is_a_warning_when_the_copy_serves),
      cmocka_unit_test(test_check__dead_copy_is_a_warning),
      cmocka_unit_test(test_check__copy_of_another_volume_is_a_warning),
      cmocka_unit_test(test_check__stale_copy_of_another_block_size_is_passed_over),
      cmocka_unit_test(test_check__both_superblocks_dead_is_no_image),
      cmocka_unit_test(test_check__foreign_bytes_are_no_image),
      cmocka_unit_test(test_check__both_superblocks_unreadable_is_an_io_error),
      cmocka_unit_test(test_check__newer_version_is_refused),
      cmocka_unit_test(test_check__truncated_device_is_damage),
      cmocka_unit_test(test_check__longer_device_is_clean),
      cmocka_unit_test(test_check__flip_in_each_data_block_is_weighed_by_its_owner),
      cmocka_unit_test(test_check__flip_in_each_journal_block_is_noticed),
      cmocka_unit_test(test_check__lost_newest_checkpoint_is_damage),
      cmocka_unit_test(test_check__flips_all_over_are_never_fatal),
      cmocka_unit_test(test_check__blocks_that_cannot_be_read_are_named),
      cmocka_unit_test(test_check__all_damaged_leaves_are_found_in_one_go),
      cmocka_unit_test(test_check__random_damage_never_hurts),
      cmocka_unit_test(test_check__progress_ends_at_the_total_and_can_stop_at_any_call),
      cmocka_unit_test(test_check__arguments_are_proven),
      cmocka_unit_test(test_check__each_lack_of_memory_ends_cleanly),
      cmocka_unit_test(test_check__findings_are_numbered_once_and_hold_one_gap),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
