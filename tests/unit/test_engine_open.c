/* Format, open, close, checkpoint: include/wodan/db.h sentence by sentence, and what an open does with an image that is
 * not right. */
#include <unistd.h>
#include "engine/engine.h"
#include "engine_rig.h"

static int try_open(struct kept_bytes *kept, const struct wodan_open_options *options, struct wodan_db **db,
                    struct wodan_error *error) {
  struct wodan_device *device = kept_plug(kept, 512, 0);
  int status = wodan_open(device, options, db, error);
  if (status < 0) assert_int_equal(wodan_device_close(device), 0); /* it stayed ours */
  return status;
}

/* ---- options and arguments ----------------------------------------------------------------------------------------- */

static void test_open__null_arguments_are_answered(void **state) {
  (void)state;
  struct wodan_error error;
  struct wodan_db *db = (void *)&error;
  struct wodan_device *device;
  assert_int_equal(wodan_memory_device(64 << 10, 0, &device), 0);
  assert_int_equal(wodan_format(NULL, NULL, &error), WODAN_EINVAL);
  assert_int_equal(wodan_format(NULL, NULL, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_open(NULL, NULL, &db, &error), WODAN_EINVAL);
  assert_int_equal(wodan_open(device, NULL, NULL, &error), WODAN_EINVAL);
  assert_int_equal(wodan_open(device, NULL, NULL, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_open_path(NULL, NULL, &db, &error), WODAN_EINVAL);
  assert_int_equal(wodan_open_path("x", NULL, NULL, &error), WODAN_EINVAL);
  assert_int_equal(wodan_format(device, NULL, NULL), 0);
  assert_int_equal(wodan_open(device, NULL, &db, NULL), 0);
  assert_int_equal(wodan_info(db, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_info(NULL, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_stats(db, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_close(db, NULL), 0);
  assert_string_equal(wodan_strerror(12345), "unknown status");
  assert_string_equal(wodan_strerror(WODAN_ENOSPC), "no space is left in the volume");
  assert_string_equal(wodan_version(), WODAN_VERSION_STRING);
}

/* A caller built with an older, shorter struct is understood; one with a longer struct is told so. */
static void test_open__option_structs_of_other_sizes(void **state) {
  (void)state;
  struct kept_bytes *kept = kept_create(64 << 10);
  struct wodan_device *device = kept_plug(kept, 512, 0);
  struct wodan_error error;
  struct wodan_db *db;
  struct {
    struct wodan_format_options options;
    char more[8];
  } newer = {.options = {.size = sizeof newer}};
  assert_int_equal(wodan_format(device, &newer.options, &error), WODAN_EINVAL);
  assert_non_null(strstr(error.message, "options"));
  struct wodan_format_options tiny = {.size = 2};
  assert_int_equal(wodan_format(device, &tiny, &error), WODAN_EINVAL);
  struct {
    uint32_t size, block_size, force;
  } older = {sizeof older, 512, 0}; /* ends before page_size */
  assert_int_equal(wodan_format(device, (void *)&older, &error), 0);
  wodan_device_close(device);
  struct {
    struct wodan_open_options options;
    char more[8];
  } newer_open = {.options = {.size = sizeof newer_open}};
  assert_int_equal(try_open(kept, &newer_open.options, &db, &error), WODAN_EINVAL);
  assert_null(db);
  struct {
    uint32_t size, flags;
  } older_open = {sizeof older_open, WODAN_OPEN_READ_ONLY};
  assert_int_equal(try_open(kept, (void *)&older_open, &db, &error), 0);
  assert_int_equal(rig_info(db).read_only, 1);
  assert_int_equal(rig_info(db).block_size, 512);
  struct {
    uint32_t size, format_version;
    uint8_t fsid[16];
    uint8_t behind[8];
  } older_info = {.size = 24};
  memset(older_info.behind, 0x77, 8);
  assert_int_equal(wodan_info(db, (void *)&older_info), 0);
  for (int i = 0; i < 8; i++) assert_int_equal(older_info.behind[i], 0x77);
  assert_memory_equal(older_info.fsid, rig_info(db).fsid, 16);
  struct {
    uint32_t size, reserved;
    uint64_t gets, behind;
  } older_stats = {.size = 16, .behind = 0x77};
  assert_int_equal(wodan_stats(db, (void *)&older_stats), 0);
  assert_int_equal(older_stats.behind, 0x77);
  struct wodan_stats whole = {.size = 0};
  assert_int_equal(wodan_stats(db, &whole), 0);
  assert_true(whole.space_total > 0 && whole.memory_budget > 0);
  assert_int_equal(wodan_close(db, &error), 0);
  kept_free(kept);
}

static void test_open__unknown_flags_are_refused(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_db *db;
  struct wodan_error error;
  rig_start(&rig, 64 << 10, NULL);
  rig_close(&rig);
  struct wodan_open_options options = {.flags = 1u << 20};
  assert_int_equal(try_open(rig.kept, &options, &db, &error), WODAN_EINVAL);
  assert_non_null(strstr(error.message, "flag"));
  options.flags = WODAN_OPEN_OLDER_ROOT;
  assert_int_equal(try_open(rig.kept, &options, &db, &error), WODAN_EINVAL);
  rig_end(&rig);
}

/* ---- format --------------------------------------------------------------------------------------------------------- */

static void test_open__format_refuses_what_is_used_and_leaves_it_untouched(void **state) {
  (void)state;
  struct kept_bytes *kept = kept_create(64 << 10);
  struct wodan_error error;
  for (int last = 0; last < 2; last++) {
    memset(kept->data, 0, kept->size);
    kept->data[last ? kept->size - 1 : 511] = 7;
    struct kept_bytes *before = kept_copy(kept);
    struct wodan_device *device = kept_plug(kept, 512, 0);
    uint64_t writes = kept->writes;
    assert_int_equal(wodan_format(device, NULL, &error), WODAN_EEXIST);
    assert_int_equal(kept->writes, writes);
    assert_memory_equal(kept->data, before->data, kept->size);
    assert_int_equal(wodan_format(device, &(struct wodan_format_options){.force = 1}, &error), 0);
    assert_int_equal(wodan_format(device, NULL, &error), WODAN_EEXIST); /* a volume is data */
    wodan_device_close(device);
    kept_free(before);
  }
  kept_free(kept);
}

static void test_open__a_volume_has_at_least_64_blocks(void **state) {
  (void)state;
  struct wodan_error error;
  for (int small = 0; small < 2; small++) {
    struct kept_bytes *kept = kept_create((32 << 10) - (small ? 512 : 0));
    struct wodan_device *device = kept_plug(kept, 512, 0);
    assert_int_equal(wodan_format(device, NULL, &error), small ? WODAN_EINVAL : 0);
    if (small) assert_int_equal(kept->writes, 0);
    wodan_device_close(device);
    kept_free(kept);
  }
  static const struct wodan_format_options bad[] = {
      {.block_size = 256}, {.block_size = 3000},      {.block_size = 2 << 20}, {.page_size = 256},
      {.page_size = 700},  {.page_size = 32768},      {.memtable_size = 1},    {.memtable_size = 1ull << 60},
      {.leaf_size = 1},    {.leaf_size = UINT32_MAX}, {.journal_size = 1},     {.journal_size = UINT64_MAX},
      {.node_leaves = 3},  {.node_leaves = 65537},    {.node_children = 3},    {.node_children = 257},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct kept_bytes *kept = kept_create(1 << 20);
    struct wodan_device *device = kept_plug(kept, 512, 0);
    assert_int_equal(wodan_format(device, &bad[i], &error), WODAN_EINVAL);
    assert_true(strlen(error.message) > 10);
    assert_int_equal(kept->writes, 0);
    wodan_device_close(device);
    kept_free(kept);
  }
}

static void test_open__fan_out_is_taken_from_the_options_and_told(void **state) {
  (void)state;
  static const struct {
    uint32_t leaves, children, told_leaves, told_children;
  } rows[] = {{0, 0, 64, 16}, {4, 256, 4, 256}, {65536, 4, 65536, 4}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct rig rig;
    struct wodan_info info = {.size = sizeof info};
    rig_start(&rig, 16 << 20,
              &(struct wodan_format_options){.node_leaves = rows[i].leaves, .node_children = rows[i].children});
    assert_int_equal(wodan_info(rig.db, &info), 0);
    assert_int_equal(info.node_leaves, rows[i].told_leaves);
    assert_int_equal(info.node_children, rows[i].told_children);
    rig_end(&rig);
  }
}

static int no_random(void *context, void *buffer, size_t size) {
  (void)context, (void)buffer, (void)size;
  return 1;
}

static void test_open__no_random_bytes_is_an_error_before_any_write(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_error error;
  struct wodan_db *db;
  struct kept_bytes *kept = kept_create(64 << 10);
  struct wodan_device *device = kept_plug(kept, 512, 0);
  struct wodan_format_options format = {.hooks = {.random = no_random}};
  assert_int_equal(wodan_format(device, &format, &error), WODAN_EIO);
  assert_int_equal(kept->writes, 0);
  wodan_device_close(device);
  kept_free(kept);
  rig_start(&rig, 64 << 10, NULL);
  rig_close(&rig);
  struct wodan_open_options options = rig_options(&rig);
  options.hooks.random = no_random;
  uint64_t writes = rig.kept->writes;
  assert_int_equal(try_open(rig.kept, &options, &db, &error), WODAN_EIO);
  options.flags = WODAN_OPEN_READ_ONLY; /* needs none */
  assert_int_equal(try_open(rig.kept, &options, &db, &error), 0);
  assert_int_equal(wodan_close(db, &error), 0);
  assert_int_equal(rig.kept->writes, writes);
  assert_int_equal(rig.meter.used, 0);
  rig_end(&rig);
}

/* ---- nothing changed, nothing written -------------------------------------------------------------------------------- */

static void test_open__open_and_close_without_a_write_write_nothing(void **state) {
  (void)state;
  struct rig rig;
  rig_start(&rig, 256 << 10, NULL);
  uint64_t writes = rig.kept->writes;
  rig_reopen(&rig); /* of a fresh volume, too */
  assert_int_equal(rig.kept->writes, writes);
  for (uint64_t i = 0; i < 500; i++) assert_done(rig.db, put_number(rig.db, i, 1, 60));
  assert_done(rig.db, wodan_checkpoint(rig.db, NULL)); /* no maintenance is owed then */
  rig_reopen(&rig);
  writes = rig.kept->writes;
  for (int i = 0; i < 3; i++) {
    assert_number(rig.db, NULL, 77, 1, 60);
    assert_done(rig.db, wodan_sync(rig.db));
    assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
    rig_reopen(&rig);
  }
  assert_int_equal(rig.kept->writes, writes);
  rig_end(&rig);
}

static void test_open__a_checkpoint_with_nothing_changed_writes_nothing(void **state) {
  (void)state;
  struct rig rig;
  uint64_t first = 0, second = 0, third = 0;
  rig_start(&rig, 64 << 10, NULL);
  assert_done(rig.db, wodan_checkpoint(rig.db, &first));
  assert_int_equal(first, rig_info(rig.db).generation);
  put_text(rig.db, "a", "1");
  assert_done(rig.db, wodan_checkpoint(rig.db, &second));
  assert_true(second > first);
  assert_int_equal(second, rig_info(rig.db).generation);
  assert_int_equal(first, rig_info(rig.db).previous_generation);
  uint64_t writes = rig.kept->writes, flushes = rig.kept->flushes;
  assert_done(rig.db, wodan_checkpoint(rig.db, &third));
  assert_int_equal(third, second);
  assert_int_equal(rig.kept->writes, writes);
  assert_int_equal(rig.kept->flushes, flushes);
  rig_end(&rig);
}

static void test_open__a_checkpoint_needs_no_replay(void **state) {
  (void)state;
  struct rig rig;
  rig_start(&rig, 256 << 10, NULL);
  for (uint64_t i = 0; i < 300; i++) assert_done(rig.db, put_number(rig.db, i, 1, 60));
  assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
  struct kept_bytes *image = kept_copy(rig.kept);
  rig_close(&rig);
  kept_free(rig.kept);
  rig.kept = image; /* what a crash right behind the checkpoint leaves */
  rig_open(&rig);
  assert_int_equal(rig_info(rig.db).replayed_operations, 0);
  assert_int_equal(rig_info(rig.db).sequence, 300);
  for (uint64_t i = 0; i < 300; i++) assert_number(rig.db, NULL, i, 1, 60);
  rig_end(&rig);
}

static void test_open__generations_grow_and_never_repeat(void **state) {
  (void)state;
  struct rig rig;
  uint64_t last = 0, generation = 0, epoch = 0;
  rig_start(&rig, 128 << 10, NULL);
  for (uint64_t round = 0; round < 60; round++) {
    assert_done(rig.db, put_number(rig.db, round % 7, round, 60));
    assert_done(rig.db, wodan_checkpoint(rig.db, &generation));
    assert_true(generation > last);
    last = generation;
    if (round % 5 == 4) rig_reopen(&rig);
    if (round % 5 == 2) { /* a crash: buffered work and its generations are forgotten */
      struct kept_bytes *image = kept_copy(rig.kept);
      for (uint64_t i = 0; i < 200; i++) assert_done(rig.db, put_number(rig.db, i % 50, i, 60));
      rig_close(&rig);
      kept_free(rig.kept);
      rig.kept = image;
      rig_open(&rig);
    }
    assert_true(rig_info(rig.db).generation >= last);
    assert_true(rig_info(rig.db).epoch >= epoch);
    epoch = rig_info(rig.db).epoch;
  }
  rig_end(&rig);
}

/* ---- read-only -------------------------------------------------------------------------------------------------------- */

/* An image with acknowledged data in the journal only. */
static struct kept_bytes *image_to_replay(void) {
  struct rig rig;
  rig_start(&rig, 256 << 10, NULL);
  for (uint64_t i = 0; i < 200; i++) assert_done(rig.db, put_number(rig.db, i, 1, 60));
  assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
  for (uint64_t i = 100; i < 115; i++) assert_done(rig.db, put_number(rig.db, i, 2, 60));
  assert_done(rig.db, wodan_sync(rig.db));
  struct kept_bytes *image = kept_copy(rig.kept);
  rig_end(&rig);
  return image;
}

static void test_open__read_only_replays_and_never_writes_a_byte(void **state) {
  (void)state;
  struct kept_bytes *kept = image_to_replay(), *before = kept_copy(kept);
  struct meter meter = {0};
  struct wodan_error error;
  struct wodan_open_options options = {.flags = WODAN_OPEN_READ_ONLY, .allocator = meter_hooks(&meter)};
  for (int device_too = 0; device_too < 2; device_too++) {
    struct wodan_device *device = kept_plug(kept, 512, device_too);
    struct wodan_db *db;
    struct wodan_batch *batch;
    struct wodan_commit commit = {.durability = WODAN_DURABLE};
    assert_int_equal(wodan_open(device, &options, &db, &error), 0);
    assert_int_equal(rig_info(db).read_only, 1);
    assert_int_equal(rig_info(db).replayed_operations, 15);
    for (uint64_t i = 0; i < 200; i++) assert_number(db, NULL, i, i >= 100 && i < 115 ? 2 : 1, 60);
    assert_int_equal(wodan_put(db, sl("a"), sl("1"), &commit), WODAN_EREADONLY);
    assert_int_equal(commit.sequence, 0);
    assert_int_equal(wodan_put(db, sl("a"), sl("1"), NULL), WODAN_EREADONLY);
    assert_why(db, WODAN_EREADONLY, "reading");
    assert_int_equal(wodan_delete(db, sl("a"), NULL), WODAN_EREADONLY);
    assert_done(db, wodan_batch_create(db, &batch));
    assert_int_equal(wodan_batch_commit(db, batch, NULL), WODAN_EREADONLY);
    assert_int_equal(wodan_batch_commit(db, batch, &commit), WODAN_EREADONLY);
    wodan_batch_free(batch);
    assert_int_equal(wodan_sync(db), WODAN_EREADONLY);
    assert_int_equal(wodan_checkpoint(db, NULL), WODAN_EREADONLY);
    assert_absent(db, NULL, "a");
    assert_int_equal(wodan_close(db, &error), 0);
  }
  assert_int_equal(kept->writes + kept->flushes + kept->barriers, 0);
  assert_memory_equal(kept->data, before->data, kept->size);
  assert_int_equal(meter.used, 0);
  kept_free(kept);
  kept_free(before);
}

static void test_open__a_read_only_device_wants_the_flag(void **state) {
  (void)state;
  struct kept_bytes *kept = image_to_replay();
  struct wodan_error error;
  struct wodan_db *db;
  struct wodan_device *device = kept_plug(kept, 512, 1);
  assert_int_equal(wodan_open(device, NULL, &db, &error), WODAN_EREADONLY);
  assert_int_equal(wodan_format(device, &(struct wodan_format_options){.force = 1}, &error), WODAN_EREADONLY);
  assert_int_equal(kept->writes + kept->flushes, 0);
  wodan_device_close(device);
  kept_free(kept);
}

static void test_open__a_writable_open_flushes_first_and_writes_nothing(void **state) {
  (void)state;
  struct kept_bytes *kept = image_to_replay();
  struct wodan_error error;
  struct wodan_db *db;
  assert_int_equal(try_open(kept, NULL, &db, &error), 0);
  assert_int_equal(kept->writes, 0);
  assert_int_equal(kept->flushes, 1);
  assert_int_equal(rig_info(db).replayed_operations, 15);
  assert_int_equal(wodan_close(db, &error), 0);
  kept_free(kept);
}

static void test_open__by_path_many_readers_or_one_writer(void **state) {
  (void)state;
  char directory[] = "/tmp/wodan-open-XXXXXX", path[64];
  struct wodan_error error;
  struct wodan_device *device;
  struct wodan_db *writer, *other, *readers[3];
  struct wodan_open_options read = {.flags = WODAN_OPEN_READ_ONLY};
  assert_non_null(mkdtemp(directory));
  snprintf(path, sizeof path, "%s/image", directory);
  assert_int_equal(wodan_open_path(path, NULL, &writer, &error), WODAN_EIO); /* missing */
  assert_true(error.device_errno != 0);
  assert_int_equal(wodan_path_device(path, WODAN_PATH_CREATE, 256 << 10, &device, &error), 0);
  assert_int_equal(wodan_format(device, NULL, &error), 0);
  wodan_device_close(device);
  assert_int_equal(wodan_open_path(path, NULL, &writer, &error), 0);
  put_text(writer, "a", "1");
  assert_int_equal(wodan_open_path(path, NULL, &other, &error), WODAN_EBUSY);
  assert_null(other);
  assert_int_equal(wodan_open_path(path, &read, &other, &error), WODAN_EBUSY);
  assert_int_equal(wodan_close(writer, &error), 0);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(wodan_open_path(path, &read, &readers[i], &error), 0);
    assert_text(readers[i], NULL, "a", "1");
  }
  assert_int_equal(wodan_open_path(path, NULL, &writer, &error), WODAN_EBUSY);
  for (int i = 0; i < 3; i++) assert_int_equal(wodan_close(readers[i], &error), 0);
  assert_int_equal(wodan_open_path(path, NULL, &writer, &error), 0);
  assert_int_equal(wodan_close(writer, &error), 0);
  unlink(path);
  rmdir(directory);
}

/* ---- images that are not right ---------------------------------------------------------------------------------------- */

/* Opens for reading and for writing; both must answer one of the codes, give memory back and write nothing. */
static void refuses(struct kept_bytes *kept, int code, int code_too, const char *text) {
  struct meter meter = {0};
  struct wodan_open_options options = {.allocator = meter_hooks(&meter)};
  for (uint32_t read = 0; read < 2; read++) {
    struct wodan_error error;
    struct wodan_db *db;
    options.flags = read ? WODAN_OPEN_READ_ONLY : 0;
    uint64_t writes = kept->writes;
    int status = try_open(kept, &options, &db, &error);
    if (status == 0) wodan_close(db, NULL);
    if (status != code && status != code_too) fail_msg("open answered %d: %s", status, error.message);
    assert_int_equal(error.code, status);
    if (text && !strstr(error.message, text)) fail_msg("'%s' says nothing of '%s'", error.message, text);
    assert_true(strlen(error.message) > 10);
    assert_null(db);
    assert_int_equal(kept->writes, writes);
    assert_int_equal(meter.used, 0);
  }
}

static void test_open__foreign_images_are_refused(void **state) {
  (void)state;
  struct kept_bytes *kept = kept_create(64 << 10);
  refuses(kept, WODAN_EFORMAT, WODAN_EFORMAT, NULL);
  uint64_t random = 3;
  for (int round = 0; round < 20; round++) {
    for (uint64_t i = 0; i < kept->size; i++) kept->data[i] = (uint8_t)random_next(&random);
    refuses(kept, WODAN_EFORMAT, WODAN_EFORMAT, NULL);
  }
  for (uint64_t i = 0; i < kept->size; i++) kept->data[i] = (uint8_t)("Hello, world! \n"[i % 15]);
  refuses(kept, WODAN_EFORMAT, WODAN_EFORMAT, NULL);
  kept_free(kept);
  for (uint64_t size = 512; size <= 2048; size += 512) {
    kept = kept_create(size);
    refuses(kept, WODAN_EFORMAT, WODAN_EFORMAT, NULL);
    kept_free(kept);
  }
}

static void test_open__a_dead_superblock_is_taken_from_the_copy(void **state) {
  (void)state;
  struct kept_bytes *kept = image_to_replay();
  struct wodan_error error;
  struct wodan_db *db;
  memset(kept->data, 0xEE, 512);
  assert_int_equal(try_open(kept, NULL, &db, &error), 0);
  assert_number(db, NULL, 110, 2, 60);
  put_text(db, "still", "writable");
  assert_int_equal(wodan_close(db, &error), 0);
  struct kept_bytes *both = kept_copy(kept);
  memset(both->data + both->size - 512, 0xEE, 512);
  refuses(both, WODAN_EFORMAT, WODAN_ECORRUPT, NULL);
  kept_free(both);
  assert_int_equal(try_open(kept, NULL, &db, &error), 0);
  assert_text(db, NULL, "still", "writable");
  assert_int_equal(wodan_close(db, &error), 0);
  kept_free(kept);
}

static void test_open__a_truncated_image_is_refused_with_its_sizes(void **state) {
  (void)state;
  struct kept_bytes *kept = image_to_replay();
  uint64_t whole = kept->size;
  for (kept->size = 1024; kept->size < whole; kept->size += 512) {
    if (kept->size == 1536) refuses(kept, WODAN_ECORRUPT, WODAN_ECORRUPT, "truncated");
    if (kept->size % (16 << 10) == 512 || kept->size + 512 == whole)
      refuses(kept, WODAN_ECORRUPT, WODAN_ECORRUPT, "262144 bytes");
  }
  memset(kept->data, 0, 512); /* nor is a truncated one found without its first block */
  kept->size = whole / 2;
  refuses(kept, WODAN_EFORMAT, WODAN_ECORRUPT, NULL);
  kept->size = whole;
  kept_free(kept);
}

/* Any single damaged block: the open fails with a code and a sentence, or everything read is right or an error. */
static void test_open__a_rotten_block_anywhere_never_gives_wrong_data(void **state) {
  (void)state;
  struct kept_bytes *kept = image_to_replay();
  struct meter meter = {0};
  struct wodan_open_options options = {.flags = WODAN_OPEN_READ_ONLY, .allocator = meter_hooks(&meter)};
  unsigned opened = 0, refused = 0, lost = 0;
  for (uint64_t block = 0; block < kept->size / 512; block++) {
    struct wodan_error error;
    struct wodan_db *db;
    uint64_t at = block * 512 + block * 37 % 512;
    kept->data[at] ^= 0x20;
    if (try_open(kept, &options, &db, &error) == 0) {
      opened++;
      bool all = true;
      /* The newest journal record is the one thing whose damage looks like a crash: it may roll back whole. */
      uint64_t newest = rig_info(db).replayed_operations ? 2 : 1;
      for (uint64_t i = 0; i < 200; i++) {
        uint8_t wanted[60], found[60];
        char key[32];
        size_t size = 0;
        int status = wodan_get(db, NULL, key_number(i, key), found, sizeof found, &size);
        value_number(i, i >= 100 && i < 115 ? newest : 1, wanted, 60);
        all &= status == 0;
        if (status == 0 && (size != 60 || memcmp(found, wanted, 60)))
          fail_msg("wrong data for key %d with block %d rotten", (int)i, (int)block);
        if (status < 0) assert_int_equal(status, WODAN_ECORRUPT);
      }
      lost += !all;
      assert_int_equal(wodan_close(db, &error), 0);
    } else {
      refused++;
      assert_true(strlen(error.message) > 10);
    }
    assert_int_equal(meter.used, 0);
    kept->data[at] ^= 0x20;
  }
  assert_true(opened > 100 && refused > 0 && lost > 0);
  kept_free(kept);
}

/* ---- older roots ------------------------------------------------------------------------------------------------------ */

/* Rounds of 50 keys (they fit in a memtable), a checkpoint each; tells where the roots are. */
static struct kept_bytes *image_of_rounds(uint64_t rounds, uint64_t *generations, uint64_t *blocks) {
  struct rig rig;
  rig_start(&rig, 512 << 10, NULL);
  for (uint64_t v = 0; v < rounds; v++) {
    for (uint64_t i = 0; i < 50; i++) assert_done(rig.db, put_number(rig.db, i, v, 60));
    assert_done(rig.db, wodan_checkpoint(rig.db, &generations[v]));
    blocks[v] = rig.db->root.extents[0].first;
  }
  struct kept_bytes *image = kept_copy(rig.kept);
  rig_end(&rig);
  return image;
}

static void rot(struct kept_bytes *kept, uint64_t block) { kept->data[block * 512 + 40] ^= 1; }

static void test_open__an_older_root_only_when_asked_and_with_the_number_dropped(void **state) {
  (void)state;
  uint64_t generations[5], blocks[5];
  struct kept_bytes *kept = image_of_rounds(5, generations, blocks);
  struct meter meter = {0};
  struct wodan_open_options options = {.flags = WODAN_OPEN_READ_ONLY | WODAN_OPEN_OLDER_ROOT,
                                       .allocator = meter_hooks(&meter)};
  struct wodan_error error;
  struct wodan_db *db;
  assert_int_equal(try_open(kept, &options, &db, &error), 0); /* nothing is wrong: nothing is dropped */
  assert_int_equal(rig_info(db).dropped_generations, 0);
  assert_int_equal(rig_info(db).generation, generations[4]);
  assert_number(db, NULL, 5, 4, 60);
  assert_int_equal(wodan_close(db, &error), 0);
  rot(kept, blocks[4]);
  refuses(kept, WODAN_ECORRUPT, WODAN_ECORRUPT, NULL);
  options.flags = WODAN_OPEN_READ_ONLY;
  assert_int_equal(try_open(kept, &options, &db, &error), WODAN_ECORRUPT);
  assert_int_equal(error.block, blocks[4]);
  options.flags |= WODAN_OPEN_OLDER_ROOT;
  uint64_t writes = kept->writes;
  assert_int_equal(try_open(kept, &options, &db, &error), 0);
  assert_int_equal(rig_info(db).generation, generations[3]);
  assert_int_equal(rig_info(db).dropped_generations, generations[4] - generations[3]);
  for (uint64_t i = 0; i < 50; i++) assert_number(db, NULL, i, 3, 60);
  assert_int_equal(wodan_put(db, sl("a"), sl("b"), NULL), WODAN_EREADONLY);
  assert_int_equal(wodan_close(db, &error), 0);
  assert_int_equal(kept->writes, writes);
  rot(kept, blocks[3]); /* the previous one as well: what an older one names may be reused; never wrong data */
  int status = try_open(kept, &options, &db, &error);
  if (status == 0) {
    assert_true(rig_info(db).generation < generations[3]);
    assert_true(rig_info(db).dropped_generations >= generations[4] - generations[2]);
    assert_int_equal(wodan_close(db, &error), 0);
  } else {
    assert_int_equal(status, WODAN_ECORRUPT);
  }
  assert_int_equal(meter.used, 0);
  kept_free(kept);
}

/* Damage in the previous root is no reason to refuse; the log says so. */
struct heard {
  unsigned warnings;
  char last[256];
};
static void hear(void *context, int level, const char *message) {
  struct heard *heard = context;
  heard->warnings += level == WODAN_LOG_WARNING;
  snprintf(heard->last, sizeof heard->last, "%s", message);
}

static void test_open__damage_in_the_previous_root_is_only_logged(void **state) {
  (void)state;
  uint64_t generations[3], blocks[3];
  struct kept_bytes *kept = image_of_rounds(3, generations, blocks);
  struct heard heard = {0};
  struct wodan_open_options options = {.hooks = {.context = &heard, .log = hear}};
  struct wodan_error error;
  struct wodan_db *db;
  rot(kept, blocks[1]);
  assert_int_equal(try_open(kept, &options, &db, &error), 0);
  assert_int_equal(heard.warnings, 1);
  assert_non_null(strstr(heard.last, "damaged"));
  assert_int_equal(rig_info(db).generation, generations[2]);
  assert_int_equal(rig_info(db).previous_generation, generations[2]); /* none intact */
  for (uint64_t i = 0; i < 50; i++) assert_number(db, NULL, i, 2, 60);
  assert_int_equal(wodan_close(db, &error), 0);
  kept_free(kept);
}

static void test_open__a_device_without_order_is_logged(void **state) {
  (void)state;
  struct kept_bytes *kept = image_to_replay();
  struct heard heard = {0};
  struct wodan_open_options options = {.hooks = {.context = &heard, .log = hear}};
  struct wodan_error error;
  struct wodan_db *db;
  struct wodan_device *device = kept_plug(kept, 512, 0);
  device->geometry.ordering = WODAN_ORDER_NONE;
  assert_int_equal(wodan_open(device, &options, &db, &error), 0);
  assert_int_equal(heard.warnings, 1);
  assert_int_equal(rig_info(db).ordering, WODAN_ORDER_NONE);
  assert_int_equal(wodan_close(db, &error), 0);
  kept_free(kept);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_open__null_arguments_are_answered),
      cmocka_unit_test(test_open__option_structs_of_other_sizes),
      cmocka_unit_test(test_open__unknown_flags_are_refused),
      cmocka_unit_test(test_open__format_refuses_what_is_used_and_leaves_it_untouched),
      cmocka_unit_test(test_open__a_volume_has_at_least_64_blocks),
      cmocka_unit_test(test_open__fan_out_is_taken_from_the_options_and_told),
      cmocka_unit_test(test_open__no_random_bytes_is_an_error_before_any_write),
      cmocka_unit_test(test_open__open_and_close_without_a_write_write_nothing),
      cmocka_unit_test(test_open__a_checkpoint_with_nothing_changed_writes_nothing),
      cmocka_unit_test(test_open__a_checkpoint_needs_no_replay),
      cmocka_unit_test(test_open__generations_grow_and_never_repeat),
      cmocka_unit_test(test_open__read_only_replays_and_never_writes_a_byte),
      cmocka_unit_test(test_open__a_read_only_device_wants_the_flag),
      cmocka_unit_test(test_open__a_writable_open_flushes_first_and_writes_nothing),
      cmocka_unit_test(test_open__by_path_many_readers_or_one_writer),
      cmocka_unit_test(test_open__foreign_images_are_refused),
      cmocka_unit_test(test_open__a_dead_superblock_is_taken_from_the_copy),
      cmocka_unit_test(test_open__a_truncated_image_is_refused_with_its_sizes),
      cmocka_unit_test(test_open__a_rotten_block_anywhere_never_gives_wrong_data),
      cmocka_unit_test(test_open__an_older_root_only_when_asked_and_with_the_number_dropped),
      cmocka_unit_test(test_open__damage_in_the_previous_root_is_only_logged),
      cmocka_unit_test(test_open__a_device_without_order_is_logged),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
