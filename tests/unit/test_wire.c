/* What: base/wire.h, the bounded reader and writer every structure on the device goes through.
 * Always true: neither side touches a byte outside its bounds, and failure is sticky. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/wire.h"

static const uint64_t VALUES[] = {0,          1,         0x7f,       0x80,       0x3fff,     0x4000,
                                  0x1fffff,   0x200000,  0xffffffff, 1ull << 35, 1ull << 56, (1ull << 63) - 1,
                                  1ull << 63, UINT64_MAX};
enum { VALUE_COUNT = sizeof VALUES / sizeof VALUES[0] };

static void test_wire__fixed_numbers_are_little_endian(void **state) {
  (void)state;
  uint8_t out[15];
  struct wire_writer w = wire_writer(out, sizeof out);
  wire_put_u8(&w, 0x01);
  wire_put_u16(&w, 0x0302);
  wire_put_u32(&w, 0x07060504);
  wire_put_u64(&w, 0x0f0e0d0c0b0a0908);
  assert_false(w.failed);
  for (uint8_t i = 0; i < sizeof out; i++) assert_int_equal(out[i], i + 1);
  struct wire_reader r = wire_reader(out, sizeof out);
  assert_int_equal(wire_get_u8(&r), 0x01);
  assert_int_equal(wire_get_u16(&r), 0x0302);
  assert_int_equal(wire_get_u32(&r), 0x07060504);
  assert_true(wire_get_u64(&r) == 0x0f0e0d0c0b0a0908);
  assert_false(r.failed);
  assert_int_equal(r.at, sizeof out);
}

static void test_wire__top_bits_survive(void **state) {
  (void)state;
  uint8_t out[14];
  struct wire_writer w = wire_writer(out, sizeof out);
  wire_put_u16(&w, UINT16_MAX);
  wire_put_u32(&w, UINT32_MAX);
  wire_put_u64(&w, UINT64_MAX);
  struct wire_reader r = wire_reader(out, sizeof out);
  assert_int_equal(wire_get_u16(&r), UINT16_MAX);
  assert_true(wire_get_u32(&r) == UINT32_MAX);
  assert_true(wire_get_u64(&r) == UINT64_MAX);
}

static void test_wire__varint_roundtrip_and_size(void **state) {
  (void)state;
  for (int i = 0; i < VALUE_COUNT; i++) {
    uint8_t out[10];
    struct wire_writer w = wire_writer(out, sizeof out);
    wire_put_varint(&w, VALUES[i]);
    assert_false(w.failed);
    assert_int_equal(w.at, wire_varint_size(VALUES[i]));
    struct wire_reader r = wire_reader(out, w.at);
    assert_true(wire_get_varint(&r) == VALUES[i]);
    assert_false(r.failed);
    assert_int_equal(r.at, w.at);
  }
}

static void test_wire__varint_truncated_at_each_byte_fails(void **state) {
  (void)state;
  for (int i = 0; i < VALUE_COUNT; i++) {
    uint8_t out[10];
    struct wire_writer w = wire_writer(out, sizeof out);
    wire_put_varint(&w, VALUES[i]);
    for (size_t size = 0; size < w.at; size++) {
      struct wire_reader r = wire_reader(out, size);
      assert_true(wire_get_varint(&r) == 0);
      assert_true(r.failed);
    }
  }
}

static void test_wire__varint_not_shortest_fails(void **state) {
  (void)state;
  const uint8_t zero_in_two[] = {0x80, 0x00}, one_in_three[] = {0x81, 0x80, 0x00};
  struct wire_reader r = wire_reader(zero_in_two, sizeof zero_in_two);
  wire_get_varint(&r);
  assert_true(r.failed);
  r = wire_reader(one_in_three, sizeof one_in_three);
  wire_get_varint(&r);
  assert_true(r.failed);
}

static void test_wire__varint_above_64_bits_fails(void **state) {
  (void)state;
  uint8_t in[11];
  memset(in, 0xff, sizeof in);
  in[9] = 0x02; /* bit 64 */
  struct wire_reader r = wire_reader(in, sizeof in);
  wire_get_varint(&r);
  assert_true(r.failed);
  in[9] = 0x81; /* an eleventh byte announced */
  in[10] = 0x01;
  r = wire_reader(in, sizeof in);
  wire_get_varint(&r);
  assert_true(r.failed);
  in[9] = 0x01;
  r = wire_reader(in, sizeof in);
  assert_true(wire_get_varint(&r) == UINT64_MAX);
  assert_false(r.failed);
}

static void test_wire__reader_failure_is_sticky(void **state) {
  (void)state;
  const uint8_t in[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  struct wire_reader r = wire_reader(in, 5);
  assert_true(wire_get_u64(&r) == 0);
  assert_true(r.failed);
  assert_int_equal(wire_get_u8(&r), 0); /* would fit, but the structure is over */
  assert_null(wire_get_bytes(&r, 0));
  assert_int_equal(r.at, 0);
}

static void test_wire__reader_huge_size_does_not_wrap(void **state) {
  (void)state;
  const uint8_t in[4] = {0};
  struct wire_reader r = wire_reader(in, sizeof in);
  wire_get_u16(&r);
  assert_null(wire_get_bytes(&r, SIZE_MAX));
  assert_true(r.failed);
}

static void test_wire__bytes_are_given_in_place(void **state) {
  (void)state;
  const uint8_t in[4] = {9, 8, 7, 6};
  struct wire_reader r = wire_reader(in, sizeof in);
  assert_ptr_equal(wire_get_bytes(&r, 1), in);
  assert_ptr_equal(wire_get_bytes(&r, 3), in + 1);
  assert_non_null(wire_get_bytes(&r, 0));
  assert_false(r.failed);
}

static void test_wire__writer_stays_inside_and_failure_is_sticky(void **state) {
  (void)state;
  uint8_t out[6];
  memset(out, 0xee, sizeof out);
  struct wire_writer w = wire_writer(out, 5);
  wire_put_u16(&w, 0);
  wire_put_u32(&w, 0); /* one byte too many */
  assert_true(w.failed);
  wire_put_u8(&w, 0); /* would fit */
  assert_int_equal(w.at, 2);
  for (size_t i = 2; i < sizeof out; i++) assert_int_equal(out[i], 0xee);
  w = wire_writer(out, 1);
  wire_put_varint(&w, 0x80);
  assert_true(w.failed);
  assert_int_equal(w.at, 0);
  assert_int_equal(out[0], 0);
}

static void test_wire__writer_takes_empty_bytes_from_null(void **state) {
  (void)state;
  uint8_t out[1];
  struct wire_writer w = wire_writer(out, 1);
  wire_put_bytes(&w, NULL, 0);
  assert_false(w.failed);
  assert_int_equal(w.at, 0);
  assert_null(wire_put_room(&w, 2));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_wire__fixed_numbers_are_little_endian),
      cmocka_unit_test(test_wire__top_bits_survive),
      cmocka_unit_test(test_wire__varint_roundtrip_and_size),
      cmocka_unit_test(test_wire__varint_truncated_at_each_byte_fails),
      cmocka_unit_test(test_wire__varint_not_shortest_fails),
      cmocka_unit_test(test_wire__varint_above_64_bits_fails),
      cmocka_unit_test(test_wire__reader_failure_is_sticky),
      cmocka_unit_test(test_wire__reader_huge_size_does_not_wrap),
      cmocka_unit_test(test_wire__bytes_are_given_in_place),
      cmocka_unit_test(test_wire__writer_stays_inside_and_failure_is_sticky),
      cmocka_unit_test(test_wire__writer_takes_empty_bytes_from_null),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
