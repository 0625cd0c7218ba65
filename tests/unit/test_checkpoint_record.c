/* What: checkpoint records (format/checkpoint_record.h): roundtrip, truncation at each byte, every field wrong, and
 * that a record fits into one journal block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "format/checkpoint_record.h"
#include "format/journal_block.h"

static const struct volume_bounds BOUNDS = {.block_size = 4096, .data_first = 10, .data_end = 999};

static struct checkpoint_record sample(void) {
  return (struct checkpoint_record){.generation = 50,
                                    .sequence = 1000,
                                    .tail = 70,
                                    .previous = 60,
                                    .previous_hash = 0xfeed,
                                    .device_blocks = 1000,
                                    .compat = 1,
                                    .read_only_compat = 2,
                                    .incompat = 4,
                                    .root = {.generation = 49,
                                             .checksum = 5,
                                             .length = 5000,
                                             .header_length = 99,
                                             .extent_count = 2,
                                             .extents = {{998, 1}, {10, 1}}},
                                    .catalog = {.generation = 20,
                                                .checksum = 6,
                                                .length = 4096,
                                                .header_length = 99,
                                                .extent_count = 1,
                                                .extents = {{40, 1}}}};
}

static bool accepted(const struct checkpoint_record *record) {
  uint8_t out[1024];
  struct checkpoint_record back;
  uint32_t size = checkpoint_record_encode(record, out, sizeof out);
  assert_true(size > 0);
  return checkpoint_record_decode(out, size, &BOUNDS, &back);
}

static void test_checkpoint_record__roundtrip(void **state) {
  (void)state;
  uint8_t out[1024];
  struct checkpoint_record record = sample(), back;
  uint32_t size = checkpoint_record_encode(&record, out, sizeof out);
  assert_true(checkpoint_record_decode(out, size, &BOUNDS, &back));
  assert_true(back.generation == 50 && back.sequence == 1000 && back.tail == 70 && back.previous == 60);
  assert_true(back.previous_hash == 0xfeed && back.device_blocks == 1000);
  assert_true(back.compat == 1 && back.read_only_compat == 2 && back.incompat == 4);
  assert_true(block_ptr_equal(&back.root, &record.root) && block_ptr_equal(&back.catalog, &record.catalog));
}

static void test_checkpoint_record__empty_tree(void **state) {
  (void)state;
  struct checkpoint_record record = {.generation = 1, .tail = 64, .previous = 64, .device_blocks = 1000}, back;
  uint8_t out[128];
  uint32_t size = checkpoint_record_encode(&record, out, sizeof out);
  assert_int_equal(size, 74);
  assert_true(checkpoint_record_decode(out, size, &BOUNDS, &back));
  assert_true(back.root.generation == 0 && back.catalog.generation == 0);
}

static void test_checkpoint_record__truncated_at_each_byte_and_not_longer(void **state) {
  (void)state;
  uint8_t out[1024];
  struct checkpoint_record record = sample(), back;
  uint32_t size = checkpoint_record_encode(&record, out, sizeof out);
  for (uint32_t n = 0; n < size; n++) {
    assert_false(checkpoint_record_decode(out, n, &BOUNDS, &back));
    assert_int_equal(checkpoint_record_encode(&record, out, n), 0);
  }
  checkpoint_record_encode(&record, out, sizeof out);
  out[size] = 0;
  assert_false(checkpoint_record_decode(out, size + 1, &BOUNDS, &back));
}

static void test_checkpoint_record__generation_covers_both_pointers(void **state) {
  (void)state;
  struct checkpoint_record record = sample();
  record.root.generation = 50;
  assert_false(accepted(&record));
  record = sample();
  record.catalog.generation = 51;
  assert_false(accepted(&record));
  record = sample();
  record.generation = 0;
  memset(&record.root, 0, sizeof record.root);
  memset(&record.catalog, 0, sizeof record.catalog);
  assert_false(accepted(&record));
  record.generation = 1;
  assert_true(accepted(&record));
}

static void test_checkpoint_record__device_blocks_bounded(void **state) {
  (void)state;
  struct checkpoint_record record = sample();
  record.device_blocks = 1001; /* beyond what the bounds allow */
  assert_false(accepted(&record));
  record.device_blocks = 999; /* block 998 would be the superblock's copy, the root claims it */
  assert_false(accepted(&record));
  record.device_blocks = 0;
  assert_false(accepted(&record));
  record.device_blocks = UINT64_MAX;
  assert_false(accepted(&record));
  memset(&record.root, 0, sizeof record.root);
  memset(&record.catalog, 0, sizeof record.catalog);
  record.device_blocks = 999;
  assert_true(accepted(&record));
  record.device_blocks = 11; /* no data block left */
  assert_false(accepted(&record));
  record.device_blocks = 12;
  assert_true(accepted(&record));
}

static void test_checkpoint_record__pointer_outside(void **state) {
  (void)state;
  struct checkpoint_record record = sample();
  record.root.extents[1].first = 9;
  assert_false(accepted(&record));
  record = sample();
  record.catalog.extents[0].first = 999;
  assert_false(accepted(&record));
}

static void test_checkpoint_record__first_one_replays_from_itself_or_before(void **state) {
  (void)state;
  struct checkpoint_record record = sample();
  record.previous_hash = 0; /* none before it: previous is the record itself */
  assert_false(accepted(&record));
  record.tail = record.previous;
  assert_true(accepted(&record));
  record = sample();
  assert_true(record.tail > record.previous && accepted(&record)); /* with one before it, either order is right */
}

/* Sizes of the largest volumes for each journal block size: below 1 MiB of device a block is 512 bytes. */
static void test_checkpoint_record__worst_case_fits_one_journal_block(void **state) {
  (void)state;
  struct checkpoint_record record = {.generation = UINT64_MAX, .device_blocks = 2047};
  record.root = (struct block_ptr){
      .generation = UINT64_MAX - 1, .length = (1 << 20) - 1, .header_length = (1 << 20) - 1, .extent_count = 16};
  for (int i = 0; i < 16; i++) record.root.extents[i] = (struct extent){2047, 2047};
  record.catalog = record.root;
  uint8_t out[4096];
  assert_true(checkpoint_record_encode(&record, out, 512 - JOURNAL_HEADER_SIZE) > 0);
  for (int i = 0; i < 16; i++) record.root.extents[i] = (struct extent){UINT64_MAX, UINT64_MAX};
  record.root.length = UINT64_MAX;
  record.catalog = record.root;
  assert_true(checkpoint_record_encode(&record, out, 4096 - JOURNAL_HEADER_SIZE) > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_checkpoint_record__roundtrip),
      cmocka_unit_test(test_checkpoint_record__empty_tree),
      cmocka_unit_test(test_checkpoint_record__truncated_at_each_byte_and_not_longer),
      cmocka_unit_test(test_checkpoint_record__generation_covers_both_pointers),
      cmocka_unit_test(test_checkpoint_record__device_blocks_bounded),
      cmocka_unit_test(test_checkpoint_record__pointer_outside),
      cmocka_unit_test(test_checkpoint_record__first_one_replays_from_itself_or_before),
      cmocka_unit_test(test_checkpoint_record__worst_case_fits_one_journal_block),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
