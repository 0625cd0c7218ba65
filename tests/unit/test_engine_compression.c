/* Compression of a whole database: chosen at format or at open, switched, told, bounded, and looked into from outside. */
#include "engine_rig.h"

#include <wodan/check.h>
#include <wodan/inspect.h>
#include "engine/engine.h"
#include "run/run.h"

enum { MIB = 1 << 20, KEYS = 6000, VALUE = 120 };
enum { COLD_KEYS = 60000 }; /* more pages than the least memory holds */

/* ---- support ---------------------------------------------------------------------------------------------------- */

/* A value as programs have them: names again and again, numbers between. */
static struct wodan_slice told_value(uint64_t i, uint64_t v, uint8_t out[VALUE + 64]) {
  uint64_t state = i * 31 + v;
  int n = snprintf(
      (char *)out, VALUE + 64,
      "{\"id\": %llu, \"version\": %llu, \"name\": \"user %u\", \"balance\": %u, \"active\": true, \"tags\": []}",
      (unsigned long long)i, (unsigned long long)v, (unsigned)(random_next(&state) % 100000),
      (unsigned)(random_next(&state) % 100000));
  return (struct wodan_slice){out, (size_t)n};
}

static void put_told(struct wodan_db *db, uint64_t from, uint64_t to, uint64_t v) {
  char key[32];
  uint8_t value[VALUE + 64];
  for (uint64_t i = from; i < to; i++)
    assert_done(db, wodan_put(db, key_number(i, key), told_value(i, v, value), NULL));
}

static void assert_told(struct wodan_db *db, uint64_t from, uint64_t to, uint64_t v) {
  char key[32];
  uint8_t wanted[VALUE + 64], found[VALUE + 64];
  for (uint64_t i = from; i < to; i++) {
    struct wodan_slice value = told_value(i, v, wanted);
    size_t size = 0;
    assert_done(db, wodan_get(db, NULL, key_number(i, key), found, sizeof found, &size));
    assert_int_equal(size, value.size);
    assert_memory_equal(found, wanted, size);
  }
}

static void open_as(struct rig *rig, uint32_t compression, uint32_t flags) {
  struct wodan_open_options options = rig_options(rig);
  options.compression = compression;
  options.flags |= flags;
  rig_open_with(rig, &options);
}

static void compact(struct wodan_db *db) { assert_done(db, wodan_compact(db, NULL, NULL, 0, NULL)); }

static struct wodan_check_report checked(struct rig *rig) {
  struct wodan_check_report report = {0};
  struct wodan_check_options options = {.size = sizeof options};
  struct wodan_device *device = kept_plug(rig->kept, rig->sector, 0);
  assert_int_equal(wodan_check(device, &options, &report, NULL), 0);
  assert_int_equal(wodan_device_close(device), 0);
  assert_true(report.complete && report.damages == 0 && report.warnings == 0);
  return report;
}

/* ---- choice ------------------------------------------------------------------------------------------------------ */

static void test_compression__format_chooses_for_every_mount(void **state) {
  (void)state;
  for (uint32_t how = WODAN_COMPRESSION_DEFAULT; how <= WODAN_COMPRESSION_HIGH; how++) {
    struct rig rig;
    uint32_t is = how == WODAN_COMPRESSION_DEFAULT ? WODAN_COMPRESSION_OFF : how;
    rig_start(&rig, 8 * MIB, &(struct wodan_format_options){.compression = how});
    assert_int_equal(rig_info(rig.db).compression, is);
    put_told(rig.db, 0, KEYS, 1);
    compact(rig.db);
    struct wodan_stats stats = rig_stats(rig.db);
    assert_true(stats.leaf_pages > 0 && stats.leaf_pages_passed <= stats.leaf_pages_packed);
    assert_int_equal(stats.leaf_pages_packed > 0, is != WODAN_COMPRESSION_OFF);
    assert_int_equal(stats.leaf_page_stored_bytes < stats.leaf_page_bytes / 10 * 7, is != WODAN_COMPRESSION_OFF);
    rig_close(&rig);
    struct wodan_check_report report = checked(&rig);
    assert_int_equal(report.page_stored_bytes < report.page_bytes / 10 * 7, is != WODAN_COMPRESSION_OFF);
    open_as(&rig, WODAN_COMPRESSION_DEFAULT, WODAN_OPEN_READ_ONLY);
    assert_int_equal(rig_info(rig.db).compression, is);
    assert_told(rig.db, 0, KEYS, 1);
    rig_end(&rig);
  }
}

static void test_compression__unknown_ones_are_refused(void **state) {
  (void)state;
  struct kept_bytes *kept = kept_create(MIB);
  struct wodan_device *device = kept_plug(kept, 512, 0);
  struct wodan_error error;
  struct wodan_db *db;
  assert_int_equal(wodan_format(device, &(struct wodan_format_options){.compression = 4}, &error), WODAN_EINVAL);
  assert_int_equal(wodan_format(device, NULL, &error), 0);
  assert_int_equal(wodan_open(device, &(struct wodan_open_options){.compression = 4}, &db, &error), WODAN_EINVAL);
  assert_non_null(strstr(error.message, "compression 4"));
  assert_int_equal(wodan_device_close(device), 0);
  kept_free(kept);
}

/* A mount may do less than was chosen at format, not more: readers and memory are prepared for that. */
static void test_compression__a_mount_may_do_less_but_not_more(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_error error;
  rig_start(&rig, 8 * MIB, &(struct wodan_format_options){.compression = WODAN_COMPRESSION_HIGH});
  assert_int_equal(rig.db->superblock.incompat, FEATURE_LZ4 | FEATURE_BLOBS | FEATURE_RANGES);
  put_told(rig.db, 0, KEYS, 1);
  compact(rig.db);
  rig_close(&rig);
  struct wodan_check_report packed = checked(&rig);
  for (uint64_t v = 2; v < 6; v++) {
    open_as(&rig, v % 2 ? WODAN_COMPRESSION_FAST : WODAN_COMPRESSION_OFF, 0);
    put_told(rig.db, KEYS / 4 * (v - 2), KEYS / 4 * (v - 1), v);
    compact(rig.db);
    assert_int_equal(rig_stats(rig.db).leaf_pages_packed > rig_stats(rig.db).leaf_pages_passed, v % 2 != 0);
    rig_close(&rig);
    checked(&rig);
  }
  rig_open(&rig);
  for (uint64_t v = 2; v < 6; v++) assert_told(rig.db, KEYS / 4 * (v - 2), KEYS / 4 * (v - 1), v);
  put_told(rig.db, 0, KEYS, 9);
  compact(rig.db);
  rig_close(&rig);
  struct wodan_check_report again = checked(&rig);
  assert_true(again.page_stored_bytes < packed.page_stored_bytes / 10 * 11);
  rig_end(&rig);

  rig_start(&rig, MIB, &(struct wodan_format_options){.compression = WODAN_COMPRESSION_FAST});
  rig_close(&rig);
  struct wodan_open_options options = rig_options(&rig);
  options.compression = WODAN_COMPRESSION_HIGH;
  struct wodan_device *device = kept_plug(rig.kept, rig.sector, 0);
  assert_int_equal(wodan_open(device, &options, &rig.db, &error), WODAN_EINVAL);
  assert_non_null(strstr(error.message, "compressed"));
  assert_int_equal(wodan_device_close(device), 0);
  rig_end(&rig);
}

/* Rewritten without compression a volume grows. One that was filled with it must still take deletes, in any order, and give
 * its space back: there it is compressed after all. */
static void test_compression__less_of_it_does_not_close_a_full_volume(void **state) {
  (void)state;
  struct rig rig;
  char key[32];
  uint8_t value[VALUE + 64];
  uint64_t random = 5, keys = 0;
  rig_start(&rig, 2 * MIB, &(struct wodan_format_options){.compression = WODAN_COMPRESSION_HIGH});
  int status = 0;
  for (; status == 0; keys += status == 0)
    status = wodan_put(rig.db, key_number(keys, key), told_value(keys, 1, value), NULL);
  assert_int_equal(status, WODAN_ENOSPC);
  assert_true(keys * 90 > 2 * MIB); /* more than would fit as it is */
  rig_close(&rig);
  for (uint64_t n = 0; n < keys; n++) { /* scattered: one of a page here and there */
    if (n % (keys / 3) == 0) {
      if (rig.db) rig_close(&rig);
      open_as(&rig, n ? WODAN_COMPRESSION_FAST : WODAN_COMPRESSION_OFF, 0);
    }
    uint64_t i = n * 7919 % keys;
    assert_done(rig.db, wodan_delete(rig.db, key_number(i, key), NULL));
    if (random_below(&random, 400) == 0) assert_done(rig.db, wodan_sync(rig.db));
  }
  compact(rig.db);
  assert_int_equal(rig_stats(rig.db).leaves, 0);
  put_told(rig.db, 0, 1000, 3);
  assert_told(rig.db, 0, 1000, 3);
  rig_end(&rig);
}

/* ---- what it is for ---------------------------------------------------------------------------------------------- */

static uint64_t cold_bytes(struct rig *rig) {
  char key[32];
  uint8_t value[VALUE + 64];
  uint64_t random = 7;
  size_t size;
  struct wodan_open_options options = rig_options(rig);
  options.flags = WODAN_OPEN_READ_ONLY;
  options.memory_budget = rig_info(rig->db).memory_needed;
  rig_close(rig);
  rig_open_with(rig, &options);
  for (unsigned n = 0; n < 200; n++) /* indexes into memory */
    assert_done(rig->db, wodan_get(rig->db, NULL, key_number(n * COLD_KEYS / 200, key), value, sizeof value, &size));
  uint64_t before = rig_stats(rig->db).device_read_bytes;
  for (unsigned n = 0; n < 1000; n++)
    assert_done(rig->db, wodan_get(rig->db, NULL, key_number(random_below(&random, COLD_KEYS), key), value,
                                   sizeof value, &size));
  return (rig_stats(rig->db).device_read_bytes - before) / 1000;
}

static void test_compression__cold_reads_and_leaves_take_fewer_bytes(void **state) {
  (void)state;
  uint64_t cold[4], space[4];
  for (uint32_t how = WODAN_COMPRESSION_OFF; how <= WODAN_COMPRESSION_HIGH; how++) {
    struct rig rig;
    rig_start(&rig, 24 * MIB,
              &(struct wodan_format_options){.compression = how, .page_size = 16384, .memtable_size = 128 << 10});
    put_told(rig.db, 0, COLD_KEYS, 1);
    compact(rig.db);
    space[how] = rig_stats(rig.db).space_live;
    cold[how] = cold_bytes(&rig);
    rig_end(&rig);
  }
  print_message("bytes read a cold get: %llu, fast %llu, high %llu; live space %llu, fast %llu, high %llu\n",
                (unsigned long long)cold[1], (unsigned long long)cold[2], (unsigned long long)cold[3],
                (unsigned long long)space[1], (unsigned long long)space[2], (unsigned long long)space[3]);
  assert_true(cold[2] < cold[1] / 10 * 6 && cold[3] < cold[2]);
  assert_true(space[2] < space[1] / 10 * 6 && space[3] < space[2]);
}

/* ---- bounds ------------------------------------------------------------------------------------------------------ */

static uint64_t page_count(struct run *leaf) {
  struct run_shape shape;
  assert_int_equal(run_open_body(leaf, NULL), 0);
  run_shape(leaf, &shape);
  run_close_body(leaf);
  return shape.page_count;
}

/* Values of one byte over and over: leaves would grow without end were only what they take counted. */
static void test_compression__a_leaf_stretches_at_most_fourfold(void **state) {
  (void)state;
  struct rig rig;
  static uint8_t value[1000];
  char key[32];
  rig_start(&rig, 16 * MIB, &(struct wodan_format_options){.compression = WODAN_COMPRESSION_FAST});
  struct wodan_info info = rig_info(rig.db);
  for (uint64_t i = 0; i < 6000; i++)
    assert_done(rig.db, wodan_put(rig.db, key_number(i, key), (struct wodan_slice){value, sizeof value}, NULL));
  compact(rig.db);
  struct wodan_stats stats = rig_stats(rig.db);
  assert_true(stats.leaf_page_stored_bytes < stats.leaf_page_bytes / 8);
  const struct node *node = rig.db->node;
  uint64_t most = 0, longest = 0;
  assert_int_equal(node->level, 0);
  for (uint32_t i = 0; i < node->entry_count; i++) {
    uint64_t pages = page_count(node->entries[i].leaf), bytes = run_payload(node->entries[i].leaf);
    if (pages > most) most = pages;
    if (bytes > longest) longest = bytes;
  }
  print_message("%u leaves of %llu pages at most, %llu bytes; a leaf has %u of pages of %u\n", node->entry_count,
                (unsigned long long)most, (unsigned long long)longest, info.leaf_size, info.page_size);
  assert_true(most > info.leaf_size / info.page_size);
  assert_true(most <= 4ull * info.leaf_size / (info.page_size - 1200) + 2);
  assert_true(longest <= info.leaf_size);
  rig_end(&rig);
}

/* The least budget that an image tells is enough for each way, and is kept. */
static void test_compression__the_least_memory_is_enough(void **state) {
  (void)state;
  uint64_t needed[4];
  for (uint32_t how = WODAN_COMPRESSION_OFF; how <= WODAN_COMPRESSION_HIGH; how++) {
    struct rig rig;
    rig_start(&rig, 2 * MIB, &(struct wodan_format_options){.compression = how});
    needed[how] = rig_info(rig.db).memory_needed;
    rig_close(&rig);
    struct wodan_open_options options = rig_options(&rig);
    options.memory_budget = needed[how] - 1;
    struct wodan_device *device = kept_plug(rig.kept, rig.sector, 0);
    assert_int_equal(wodan_open(device, &options, &rig.db, NULL), WODAN_EBUDGET);
    assert_int_equal(wodan_device_close(device), 0);
    options.memory_budget++;
    rig_open_with(&rig, &options);
    for (uint64_t v = 1; v <= 3; v++) put_told(rig.db, 0, KEYS / 2, v);
    assert_told(rig.db, 0, KEYS / 2, 3);
    assert_true(rig_stats(rig.db).memory_peak <= needed[how]);
    rig_end(&rig);
  }
  print_message("memory needed: off %llu, fast %llu, high %llu\n", (unsigned long long)needed[1],
                (unsigned long long)needed[2], (unsigned long long)needed[3]);
  assert_true(needed[1] < needed[2] && needed[2] < needed[3]);
}

/* ---- from outside ------------------------------------------------------------------------------------------------ */

struct looked {
  unsigned records, stored, problems, packed_steps, found;
  char value[VALUE + 64];
  uint64_t page_block;
};

static int on_field(void *context, const struct wodan_field *field) {
  struct looked *looked = context;
  looked->records += strcmp(field->name, "put") == 0;
  looked->stored += strcmp(field->name, "stored") == 0 && strstr(field->text, "LZ4") != NULL;
  looked->problems += field->problem != NULL;
  return 0;
}

static int on_step(void *context, const struct wodan_path_step *step) {
  struct looked *looked = context;
  if (step->page_block == WODAN_NO_BLOCK) return 0;
  assert_true(step->page_stored <= step->page_size);
  looked->packed_steps += step->page_stored < step->page_size;
  if (step->probe != WODAN_PROBE_FOUND || !step->decides) return 0;
  looked->found++;
  looked->page_block = step->page_block;
  assert_true(step->value.size < sizeof looked->value);
  memcpy(looked->value, step->value.data, step->value.size);
  looked->value[step->value.size] = 0;
  return 0;
}

static struct wodan_inspect *inspect(struct rig *rig, struct wodan_device **device) {
  struct wodan_inspect *opened = NULL;
  *device = kept_plug(rig->kept, rig->sector, 0);
  assert_int_equal(wodan_inspect_open(*device, NULL, &opened, NULL), 0);
  return opened;
}

static void test_compression__inspection_sees_through_it(void **state) {
  (void)state;
  struct rig rig;
  rig_start(&rig, 4 * MIB, &(struct wodan_format_options){.compression = WODAN_COMPRESSION_HIGH});
  put_told(rig.db, 0, KEYS, 1);
  compact(rig.db);
  rig_close(&rig);
  struct wodan_device *device;
  struct wodan_inspect *opened = inspect(&rig, &device);
  struct wodan_summary summary = {.size = sizeof summary};
  assert_int_equal(wodan_inspect_summary(opened, &summary), 0);
  assert_int_equal(summary.compression, WODAN_COMPRESSION_HIGH);
  assert_int_equal(summary.incompat, FEATURE_LZ4 | FEATURE_BLOBS | FEATURE_RANGES);
  struct looked looked = {0};
  char key[32];
  uint8_t wanted[VALUE + 64];
  for (uint64_t i = 0; i < KEYS; i += 97) {
    assert_int_equal(wodan_inspect_path(opened, WODAN_NEWEST_ROOT, key_number(i, key), on_step, &looked, NULL), 0);
    told_value(i, 1, wanted);
    assert_string_equal(looked.value, (const char *)wanted);
  }
  assert_true(looked.found > 0 && looked.packed_steps == looked.found);
  assert_int_equal(wodan_inspect_block(opened, looked.page_block, WODAN_VIEW_PAGE, on_field, &looked, NULL), 0);
  assert_true(looked.stored > 0 && looked.records > 4 && looked.problems == 0);
  wodan_inspect_close(opened);
  assert_int_equal(wodan_device_close(device), 0);

  /* A byte of it rots: said by all of them, and only of it. */
  rig.kept->data[looked.page_block * summary.block_size + summary.block_size / 2] ^= 1;
  opened = inspect(&rig, &device);
  looked = (struct looked){.page_block = looked.page_block};
  wodan_inspect_block(opened, looked.page_block, WODAN_VIEW_PAGE, on_field, &looked, NULL);
  assert_true(looked.problems > 0);
  wodan_inspect_close(opened);
  struct wodan_check_report report = {0};
  assert_int_equal(wodan_check(device, &(struct wodan_check_options){0}, &report, NULL), 0);
  assert_int_equal(report.damages, 1);
  assert_int_equal(wodan_device_close(device), 0);
  rig_end(&rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_compression__format_chooses_for_every_mount),
      cmocka_unit_test(test_compression__unknown_ones_are_refused),
      cmocka_unit_test(test_compression__a_mount_may_do_less_but_not_more),
      cmocka_unit_test(test_compression__less_of_it_does_not_close_a_full_volume),
      cmocka_unit_test(test_compression__cold_reads_and_leaves_take_fewer_bytes),
      cmocka_unit_test(test_compression__a_leaf_stretches_at_most_fourfold),
      cmocka_unit_test(test_compression__the_least_memory_is_enough),
      cmocka_unit_test(test_compression__inspection_sees_through_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
