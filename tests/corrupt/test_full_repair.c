/* Repair in place on a volume that has no room for what it has to write: what is damaged stays as it is, all that could be read
 * still can, and a volume with room is repaired. */
#include "craft_volume.h"

static const struct geometry small = {.size = 256 << 10, .block = 512, .page = 512, .sector = 512};

enum { DAMAGED_RECORDS = 1600 };

/* A run of records `first` and on: `count` of them, or (0) until the volume has only `left` blocks. */
static struct block_ptr records(struct craft *craft, enum space_kind kind, uint64_t first, uint64_t count,
                                uint64_t left, uint64_t *put) {
  struct run_builder *builder;
  struct block_ptr ptr;
  uint64_t most = (space_counts(craft->writer.space).free - left) * craft->block;
  assert_int_equal(writer_run(&craft->writer, kind, most, &builder, NULL), 0);
  for (*put = 0; count ? *put < count : run_builder_bytes(builder) + *put * 2 + 3 * 512 < most - most / 8; ++*put) {
    char key[24];
    const struct record record = {.key = text_key(first + *put, key), .value = {"value", 5}, .sequence = 1};
    assert_int_equal(run_builder_add(builder, &record, NULL), 0);
  }
  assert_int_equal(run_builder_finish(builder, ++craft->writer.generation, &ptr, NULL, NULL), 0);
  return ptr;
}

/* A bottom node with a leaf, or a buffered run, of which one page is rotten; and a leaf that fills the volume, or not. */
static void build(struct craft *craft, bool leaf, bool full) {
  uint64_t put, others;
  char low[24], high[24];
  craft_begin(craft, &small);
  struct block_ptr damaged = records(craft, leaf ? SPACE_LEAF : SPACE_BUFFER, 0, DAMAGED_RECORDS, 0, &put);
  struct block_ptr filler = records(craft, SPACE_LEAF, DAMAGED_RECORDS, full ? 0 : 40, 12, &others);
  struct node_image_entry entries[3] = {{.pivot = text_key(0, low), .branch.ptr = damaged},
                                        {.pivot = text_key(DAMAGED_RECORDS, high), .branch.ptr = filler}};
  char last[24];
  uint32_t count = 2;
  if (full) { /* a run takes seven eighths of what there is */
    uint64_t more;
    entries[2] =
        (struct node_image_entry){.pivot = text_key(DAMAGED_RECORDS + others, last),
                                  .branch.ptr = records(craft, SPACE_LEAF, DAMAGED_RECORDS + others, 0, 10, &more)};
    count = 3;
  }
  struct node_image_run run = {.ptr = damaged, .records = DAMAGED_RECORDS};
  struct node_image image = {.entries = leaf ? entries : entries + 1,
                             .entry_count = leaf ? count : count - 1,
                             .runs = &run,
                             .run_count = !leaf};
  struct writer_root root = {.sequence = 1, .device_blocks = craft->volume.superblock.device_blocks};
  assert_int_equal(writer_node(&craft->writer, &image, &root.root, NULL), 0);
  assert_int_equal(writer_publish(&craft->writer, &root, true, NULL), 0);
  craft->kept->data[(damaged.extents[0].first + 6) * craft->block + 100] ^= 1;
  assert_int_equal(space_counts(craft->writer.space).free < block_ptr_blocks(&damaged), full);
}

static uint64_t readable(struct craft *craft, struct wodan_check_report *report) {
  assert_int_equal(wodan_check(craft->device, NULL, report, NULL), 0);
  return report->records;
}

static void assert_repair(bool leaf, bool full) {
  struct craft craft;
  struct wodan_check_report before, after;
  struct wodan_repair_report report;
  build(&craft, leaf, full);
  const struct wodan_repair_options options = {
      .size = sizeof options, .hooks = {.random = craft_random}, .allowed = WODAN_REPAIR_LOSSY};
  uint64_t records = readable(&craft, &before);
  assert_true(before.damages > 0);
  assert_int_equal(wodan_repair(craft.device, &options, &report, NULL), 0);
  assert_int_equal(readable(&craft, &after), records);
  assert_int_equal(report.after.damages, after.damages);
  if (full) {
    assert_int_equal(after.damages, before.damages);
    assert_int_equal(report.steps, 0);
  } else {
    assert_true(after.damages == 0 && report.steps > 0);
  }
  craft_end(&craft);
}

static void test_full_repair__a_leaf(void **state) {
  (void)state;
  assert_repair(true, false);
  assert_repair(true, true);
}

static void test_full_repair__a_buffered_run(void **state) {
  (void)state;
  assert_repair(false, false);
  assert_repair(false, true);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_full_repair__a_leaf),
                                     cmocka_unit_test(test_full_repair__a_buffered_run)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
