/* What a check may cost: of an image of B blocks at most 2 B + 16 blocks read, and a heap of at most 16 bytes a block,
 * 64 KiB, 2 journal blocks and 4 pages. */
#include "engine_rig.h"

enum { KIB = 1024 };

struct volume {
  uint64_t size;
  uint32_t block;
  unsigned keys;       /* each of about 100 bytes */
  uint32_t sector;     /* of the device, and so of the journal; 0: 512 */
  uint32_t page, leaf; /* 0: the usual ones */
  uint32_t compression;
  unsigned large; /* values of up to so many pages, one in eight keys; 0: none */
};

static void fill(struct rig *rig, const struct volume *volume, uint32_t page) {
  size_t most = 90 + (size_t)volume->large * page;
  char *value = malloc(most);
  assert_non_null(value);
  for (size_t i = 0; i < most; i++) value[i] = (char)(i % 32 < 8 ? 'v' : i * 2654435761u >> 24); /* packs a little */
  for (unsigned i = 0; i < 2 * volume->keys; i++) {
    char key[32];
    int size = snprintf(key, sizeof key, "key %06u", i % volume->keys * 7919 % 999983);
    bool large = volume->large && i % 8 == 0;
    struct wodan_slice bytes = {value, large ? page / 4 + 1 + (most - page / 4 - 1) * (i % 40) / 32 : 90};
    assert_int_equal(wodan_put(rig->db, (struct wodan_slice){key, (size_t)size}, bytes, NULL), 0);
    if (i % 50 == 49) assert_int_equal(wodan_sync(rig->db), 0);
    if (volume->large && i % 64 == 63)
      assert_int_equal(
          wodan_delete_range(rig->db, &(struct wodan_slice){"key 5", 5}, &(struct wodan_slice){"key 51", 6}, NULL), 0);
  }
  free(value);
}

/* Checks what is on the device now, as a killed process leaves it. */
static struct wodan_check_report check_within(struct rig *rig, const struct wodan_info *info) {
  struct meter meter = {0};
  struct wodan_check_options options = {.size = sizeof options, .allocator = meter_hooks(&meter)};
  struct wodan_check_report report;
  struct wodan_device *device = kept_plug(rig->kept, rig->sector, 1);
  rig->kept->read_bytes = 0;
  assert_int_equal(wodan_check(device, &options, &report, NULL), 0);
  assert_int_equal(wodan_device_close(device), 0);
  assert_int_equal(report.damages + report.warnings, 0);
  uint64_t heap = 16 * info->blocks + 64 * KIB + 2ull * info->journal_block_size + 4 * (uint64_t)info->page_size;
  uint64_t reads = (2 * info->blocks + 16) * info->block_size;
  print_message("%llu KiB: %llu of at most %llu bytes read, heap %zu of %llu\n",
                (unsigned long long)rig->kept->size / KIB, (unsigned long long)rig->kept->read_bytes,
                (unsigned long long)reads, (size_t)meter.peak, (unsigned long long)heap);
  assert_true(rig->kept->read_bytes <= reads);
  assert_true(meter.peak <= heap);
  return report;
}

/* Found by fuzz/check_image.c on an image of 32 KiB: the survey of the ring took 64 KiB for a ring of 4 KiB, and a journal
 * that only reads took a buffer for 64 blocks of an append (4 MiB where they are largest). With a large value that only the
 * newest record names, which is proven with the ring in memory. */
static void assert_bounded(const struct volume *volume) {
  struct wodan_format_options format = {.block_size = volume->block,
                                        .page_size = volume->page,
                                        .leaf_size = volume->leaf,
                                        .memtable_size = volume->leaf,
                                        .compression = volume->compression};
  struct rig rig;
  rig_start_on(&rig, volume->size, volume->sector ? volume->sector : 512, &format);
  struct wodan_info info = {.size = sizeof info};
  assert_int_equal(wodan_info(rig.db, &info), 0);
  fill(&rig, volume, info.page_size);
  if (volume->large) {
    size_t size = (size_t)volume->large * info.page_size;
    char *value = calloc(1, size);
    struct wodan_commit commit = {.durability = WODAN_DURABLE};
    assert_int_equal(wodan_put(rig.db, (struct wodan_slice){"key", 3}, (struct wodan_slice){value, size}, &commit), 0);
    free(value);
    check_within(&rig, &info);
  }
  rig_close(&rig);
  struct wodan_check_report report = check_within(&rig, &info);
  assert_true(report.leaves + report.runs > 0 && (report.blobs > 0) == (volume->large > 0));
  rig_end(&rig);
}

static void test_check_bounds__reads_and_heap_by_blocks(void **state) {
  (void)state;
  static const struct volume volumes[] = {
      {.size = 32 * KIB, .keys = 40},
      {.size = 64 * KIB, .keys = 120},
      {.size = 128 * KIB, .keys = 300},
      {.size = 1024 * KIB, .keys = 3000},
      {.size = 8192 * KIB, .keys = 20000},
      {.size = 8192 * KIB, .block = 64 * KIB, .keys = 5000},
      {.size = 8192 * KIB, .block = 4 * KIB, .keys = 7000, .page = 512, .leaf = 2 * KIB}, /* objects of one block */
      {.size = 1024 * KIB, .block = 4 * KIB, .keys = 700, .page = 512, .leaf = 2 * KIB},
      {.size = 16384 * KIB, .block = 64 * KIB, .keys = 20000, .sector = 64 * KIB}, /* journal blocks of 64 KiB */
      {.size = 64 * KIB, .keys = 40, .large = 2},
      {.size = 512 * KIB, .keys = 200, .large = 3, .compression = WODAN_COMPRESSION_FAST},
      {.size = 4096 * KIB, .keys = 150, .large = 5, .page = 16 * KIB, .compression = WODAN_COMPRESSION_FAST},
      {.size = 8192 * KIB,
       .block = 4 * KIB,
       .keys = 150,
       .large = 9,
       .page = 16 * KIB,
       .compression = WODAN_COMPRESSION_HIGH},
      {.size = 8192 * KIB,
       .block = 64 * KIB,
       .keys = 150,
       .large = 3,
       .page = 16 * KIB,
       .compression = WODAN_COMPRESSION_HIGH},
      {.size = 16384 * KIB, .block = 64 * KIB, .sector = 64 * KIB, .keys = 60, .large = 9, .page = 16 * KIB},
      {.size = 1024 * KIB,
       .block = 4 * KIB,
       .keys = 24,
       .large = 6,
       .page = 16 * KIB,
       .compression = WODAN_COMPRESSION_HIGH},
      {.size = 4096 * KIB, .block = 512, .keys = 4000, .large = 1, .page = 512, .leaf = 2 * KIB}, /* of few blocks */
  };
  for (size_t i = 0; i < sizeof volumes / sizeof volumes[0]; i++) assert_bounded(&volumes[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_check_bounds__reads_and_heap_by_blocks)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
