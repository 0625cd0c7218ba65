/* What: pointers and extent lists (format/block_ptr.h): roundtrip, truncation at each byte, every field wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "format/block_ptr.h"

static const struct volume_bounds BOUNDS = {.block_size = 4096, .data_first = 10, .data_end = 1000};

static struct block_ptr sample(void) {
  return (struct block_ptr){.generation = 300,
                            .checksum = 0x1122334455667788,
                            .length = 5 * 4096 - 17,
                            .header_length = 200,
                            .extent_count = 3,
                            .extents = {{10, 1}, {999, 1}, {500, 3}}};
}

static size_t encode(const struct block_ptr *ptr, uint8_t *out, size_t size) {
  struct wire_writer w = wire_writer(out, size);
  block_ptr_encode(&w, ptr);
  return w.failed ? 0 : w.at;
}

/* Encodes as it stands and tells whether it is accepted back. */
static bool accepted(const struct block_ptr *ptr) {
  uint8_t out[512];
  size_t size = encode(ptr, out, sizeof out);
  assert_true(size > 0);
  struct block_ptr back;
  struct wire_reader r = wire_reader(out, size);
  bool ok = block_ptr_decode(&r, &BOUNDS, &back);
  assert_int_equal(ok, !r.failed);
  if (ok) assert_true(block_ptr_equal(ptr, &back));
  return ok;
}

static void test_block_ptr__roundtrip(void **state) {
  (void)state;
  struct block_ptr ptr = sample();
  assert_true(accepted(&ptr));
  assert_int_equal(block_ptr_blocks(&ptr), 5);
}

static void test_block_ptr__layout_is_the_table(void **state) {
  (void)state;
  struct block_ptr ptr = {
      .generation = 1, .checksum = 0x0807060504030201, .length = 4096, .header_length = 100, .extent_count = 1};
  ptr.extents[0] = (struct extent){64, 1};
  const uint8_t expected[] = {1, 1, 2, 3, 4, 5, 6, 7, 8, 0x80, 0x20, 100, 1, 64, 1};
  uint8_t out[64];
  assert_int_equal(encode(&ptr, out, sizeof out), sizeof expected);
  assert_memory_equal(out, expected, sizeof expected);
}

static void test_block_ptr__null_is_one_zero_byte(void **state) {
  (void)state;
  struct block_ptr null = {0}, back;
  memset(&back, 0xee, sizeof back);
  uint8_t out[4];
  assert_int_equal(encode(&null, out, sizeof out), 1);
  assert_int_equal(out[0], 0);
  struct wire_reader r = wire_reader(out, 1);
  assert_true(block_ptr_decode(&r, &BOUNDS, &back));
  assert_true(block_ptr_equal(&null, &back));
  assert_int_equal(block_ptr_blocks(&back), 0);
}

static void test_block_ptr__truncated_at_each_byte(void **state) {
  (void)state;
  struct block_ptr ptr = sample(), back;
  uint8_t out[512];
  size_t size = encode(&ptr, out, sizeof out);
  for (size_t n = 0; n < size; n++) {
    struct wire_reader r = wire_reader(out, n);
    assert_false(block_ptr_decode(&r, &BOUNDS, &back));
    assert_true(r.failed);
    assert_int_equal(encode(&ptr, out, n), 0); /* and it is not written into too little room */
  }
}

static void test_block_ptr__header_length_wrong(void **state) {
  (void)state;
  struct block_ptr ptr = {
      .generation = 1, .length = 300 * 4096, .header_length = 1 << 20, .extent_count = 1, .extents = {{100, 300}}};
  assert_true(accepted(&ptr));
  ptr.header_length++;
  assert_false(accepted(&ptr));
  /* longer than the object, and zero: the encoder refuses to write these, so by hand */
  const uint8_t longer[] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 10, 11, 1, 20, 1};
  const uint8_t zero[] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 1, 20, 1};
  const uint8_t right[] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 10, 10, 1, 20, 1};
  struct wire_reader r = wire_reader(longer, sizeof longer);
  assert_false(block_ptr_decode(&r, &BOUNDS, &ptr));
  r = wire_reader(zero, sizeof zero);
  assert_false(block_ptr_decode(&r, &BOUNDS, &ptr));
  r = wire_reader(right, sizeof right);
  assert_true(block_ptr_decode(&r, &BOUNDS, &ptr));
}

static void test_block_ptr__length_must_need_exactly_its_blocks(void **state) {
  (void)state;
  struct block_ptr ptr = sample();
  ptr.length = 5 * 4096;
  assert_true(accepted(&ptr));
  ptr.length = 5 * 4096 + 1;
  assert_false(accepted(&ptr));
  ptr.length = 4 * 4096;
  assert_false(accepted(&ptr));
  ptr.length = 4 * 4096 + 1;
  assert_true(accepted(&ptr));
  ptr.length = UINT64_MAX;
  assert_false(accepted(&ptr));
}

static void test_block_ptr__extent_outside_the_data_area(void **state) {
  (void)state;
  struct block_ptr ptr = sample();
  ptr.extents[0].first = 9;
  assert_false(accepted(&ptr));
  ptr = sample();
  ptr.extents[1].first = 1000;
  assert_false(accepted(&ptr));
  ptr = sample();
  ptr.extents[1].first = 300;
  ptr.extents[2].first = 998; /* reaches past the end */
  assert_false(accepted(&ptr));
  ptr.extents[2].first = 997;
  assert_true(accepted(&ptr));
  ptr = sample();
  ptr.extents[2].first = UINT64_MAX;
  assert_false(accepted(&ptr));
}

static void test_block_ptr__extent_count_of_blocks_wraps(void **state) {
  (void)state;
  struct block_ptr ptr = sample();
  ptr.extents[2].count = UINT64_MAX - 499; /* first + count = 0 */
  assert_false(accepted(&ptr));
  ptr.extents[2].count = UINT64_MAX;
  assert_false(accepted(&ptr));
}

static void test_block_ptr__extents_overlap(void **state) {
  (void)state;
  struct block_ptr ptr = sample();
  ptr.extents[0].first = 502; /* the last block of extent 2 */
  assert_false(accepted(&ptr));
  ptr.extents[0].first = 503; /* just behind it */
  assert_true(accepted(&ptr));
  ptr.extents[0].first = 499; /* just before it */
  assert_true(accepted(&ptr));
}

static void test_extents__empty_extent_or_bad_count(void **state) {
  (void)state;
  struct extent out[BLOCK_PTR_EXTENTS_MAX];
  uint32_t count;
  const uint8_t none[] = {0}, empty[] = {1, 20, 0}, good[] = {1, 20, 1}, long_form[] = {0x81, 0, 20, 1};
  const uint8_t one_empty[] = {2, 20, 1, 30, 0};
  struct wire_reader r = wire_reader(none, sizeof none);
  assert_false(extents_decode(&r, &BOUNDS, 1, out, &count));
  assert_true(r.failed);
  r = wire_reader(empty, sizeof empty);
  assert_false(extents_decode(&r, &BOUNDS, 1, out, &count));
  r = wire_reader(one_empty, sizeof one_empty);
  assert_false(extents_decode(&r, &BOUNDS, 1, out, &count));
  r = wire_reader(long_form, sizeof long_form);
  assert_false(extents_decode(&r, &BOUNDS, 1, out, &count));
  r = wire_reader(good, sizeof good);
  assert_true(extents_decode(&r, &BOUNDS, 1, out, &count));
  assert_int_equal(count, 1);
}

static void test_extents__sixteen_are_the_most(void **state) {
  (void)state;
  struct extent extents[BLOCK_PTR_EXTENTS_MAX], back[BLOCK_PTR_EXTENTS_MAX];
  for (uint64_t i = 0; i < BLOCK_PTR_EXTENTS_MAX; i++) extents[i] = (struct extent){20 + 3 * i, 1};
  uint8_t out[128];
  struct wire_writer w = wire_writer(out, sizeof out);
  extents_encode(&w, extents, BLOCK_PTR_EXTENTS_MAX);
  struct wire_reader r = wire_reader(out, w.at);
  uint32_t count;
  assert_true(extents_decode(&r, &BOUNDS, 16 * 4096, back, &count));
  assert_int_equal(count, 16);
  out[0] = 17;
  wire_put_u8(&w, 90);
  wire_put_u8(&w, 1);
  r = wire_reader(out, w.at);
  assert_false(extents_decode(&r, &BOUNDS, 17 * 4096, back, &count));
}

static void test_block_ptr__equal_sees_every_field(void **state) {
  (void)state;
  struct block_ptr a = sample(), b = sample();
  assert_true(block_ptr_equal(&a, &b));
  b.generation++;
  assert_false(block_ptr_equal(&a, &b));
  b = sample();
  b.checksum++;
  assert_false(block_ptr_equal(&a, &b));
  b = sample();
  b.length++;
  assert_false(block_ptr_equal(&a, &b));
  b = sample();
  b.header_length++;
  assert_false(block_ptr_equal(&a, &b));
  b = sample();
  b.extent_count--;
  assert_false(block_ptr_equal(&a, &b));
  b = sample();
  b.extents[2].first++;
  assert_false(block_ptr_equal(&a, &b));
  b = sample();
  b.extents[2].count++;
  assert_false(block_ptr_equal(&a, &b));
  b = sample();
  b.extents[3].count++; /* beyond the list: no part of it */
  assert_true(block_ptr_equal(&a, &b));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_block_ptr__roundtrip),
      cmocka_unit_test(test_block_ptr__layout_is_the_table),
      cmocka_unit_test(test_block_ptr__null_is_one_zero_byte),
      cmocka_unit_test(test_block_ptr__truncated_at_each_byte),
      cmocka_unit_test(test_block_ptr__header_length_wrong),
      cmocka_unit_test(test_block_ptr__length_must_need_exactly_its_blocks),
      cmocka_unit_test(test_block_ptr__extent_outside_the_data_area),
      cmocka_unit_test(test_block_ptr__extent_count_of_blocks_wraps),
      cmocka_unit_test(test_block_ptr__extents_overlap),
      cmocka_unit_test(test_extents__empty_extent_or_bad_count),
      cmocka_unit_test(test_extents__sixteen_are_the_most),
      cmocka_unit_test(test_block_ptr__equal_sees_every_field),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
