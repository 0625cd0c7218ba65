/* What: branch entries and index entries (format/node_header.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "format/node_header.h"

static const struct volume_bounds BOUNDS = {.block_size = 512, .data_first = 10, .data_end = 100};

static struct branch_entry branch_sample(void) {
  return (struct branch_entry){
      .flushed_upto = 200,
      .ptr = {
          .generation = 7, .checksum = 9, .length = 600, .header_length = 99, .extent_count = 1, .extents = {{10, 2}}}};
}

static void test_branch_entry__roundtrip_and_truncated(void **state) {
  (void)state;
  struct branch_entry entry = branch_sample(), back;
  uint8_t out[BRANCH_ENTRY_SIZE_MAX + 1];
  uint32_t size = branch_entry_encode(&entry, out, sizeof out);
  assert_true(size > 0);
  assert_true(branch_entry_decode(out, size, &BOUNDS, &back));
  assert_true(back.flushed_upto == 200 && block_ptr_equal(&back.ptr, &entry.ptr));
  for (uint32_t n = 0; n < size; n++) {
    assert_false(branch_entry_decode(out, n, &BOUNDS, &back));
    assert_int_equal(branch_entry_encode(&entry, out, n), 0);
  }
  size = branch_entry_encode(&entry, out, sizeof out);
  out[size] = 0;
  assert_false(branch_entry_decode(out, size + 1, &BOUNDS, &back)); /* something behind it */
}

static void test_branch_entry__null_pointer_is_refused(void **state) {
  (void)state;
  const struct branch_entry entry = {.flushed_upto = 5};
  struct branch_entry back;
  uint8_t out[64];
  uint32_t size = branch_entry_encode(&entry, out, sizeof out);
  assert_true(size > 0);
  assert_false(branch_entry_decode(out, size, &BOUNDS, &back));
  assert_true(back.flushed_upto == 5 && back.ptr.generation == 0 &&
              back.ptr.extent_count == 0); /* nothing else was wrong */
}

static void test_branch_entry__pointer_outside_is_refused(void **state) {
  (void)state;
  struct branch_entry entry = branch_sample(), back;
  entry.ptr.extents[0].first = 99;
  uint8_t out[BRANCH_ENTRY_SIZE_MAX];
  uint32_t size = branch_entry_encode(&entry, out, sizeof out);
  assert_false(branch_entry_decode(out, size, &BOUNDS, &back));
}

static void test_branch_entry__size_max_is_reached_and_enough(void **state) {
  (void)state;
  struct branch_entry entry = {.flushed_upto = UINT64_MAX};
  entry.ptr = (struct block_ptr){
      .generation = UINT64_MAX, .length = UINT64_MAX, .header_length = UINT32_MAX, .extent_count = 16};
  for (int i = 0; i < 16; i++) entry.ptr.extents[i] = (struct extent){UINT64_MAX, UINT64_MAX};
  uint8_t out[BRANCH_ENTRY_SIZE_MAX];
  uint32_t size = branch_entry_encode(&entry, out, sizeof out);
  assert_true(size > 0 && size <= BRANCH_ENTRY_SIZE_MAX);
}

static void test_index_entry__roundtrip_and_truncated(void **state) {
  (void)state;
  struct index_entry entry = {.offset = 1u << 20, .length = 8000, .size = 16000, .checksum = UINT64_MAX - 1}, back;
  uint8_t out[INDEX_ENTRY_SIZE_MAX + 1];
  uint32_t size = index_entry_encode(&entry, out, sizeof out);
  assert_true(index_entry_decode(out, size, &back));
  assert_true(back.offset == entry.offset && back.length == 8000 && back.size == 16000 &&
              back.checksum == entry.checksum);
  for (uint32_t n = 0; n < size; n++) {
    assert_false(index_entry_decode(out, n, &back));
    assert_int_equal(index_entry_encode(&entry, out, n), 0);
  }
  index_entry_encode(&entry, out, sizeof out);
  out[size] = 0;
  assert_false(index_entry_decode(out, size + 1, &back));
}

static bool index_accepted(uint64_t offset, uint64_t length, uint64_t page) {
  uint8_t out[64];
  struct wire_writer w = wire_writer(out, sizeof out);
  wire_put_varint(&w, offset);
  wire_put_varint(&w, length);
  wire_put_varint(&w, page);
  wire_put_u64(&w, 1);
  struct index_entry back;
  return index_entry_decode(out, w.at, &back);
}

static void test_index_entry__each_field_wrong(void **state) {
  (void)state;
  assert_true(index_accepted(100, 20, 20));
  assert_false(index_accepted(100, 0, 0));
  assert_true(index_accepted(100, 20, 21)); /* compressed */
  assert_true(index_accepted(100, 1, UINT32_MAX));
  assert_false(index_accepted(100, 0, 20));
  assert_false(index_accepted(100, 21, 20));
  assert_true(index_accepted(100, UINT32_MAX, UINT32_MAX));
  assert_false(index_accepted(100, 1ull << 32, 1ull << 32));
  assert_false(index_accepted(100, 20, 1ull << 32));
  assert_true(index_accepted(UINT64_MAX - 20, 20, 20));
  assert_false(index_accepted(UINT64_MAX - 19, 20, 20)); /* wraps round */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_branch_entry__roundtrip_and_truncated),
      cmocka_unit_test(test_branch_entry__null_pointer_is_refused),
      cmocka_unit_test(test_branch_entry__pointer_outside_is_refused),
      cmocka_unit_test(test_branch_entry__size_max_is_reached_and_enough),
      cmocka_unit_test(test_index_entry__roundtrip_and_truncated),
      cmocka_unit_test(test_index_entry__each_field_wrong),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
