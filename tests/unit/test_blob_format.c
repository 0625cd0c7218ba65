/* What: references to large values and entries of their chunk tables (format/blob.h): roundtrip, layout, truncation at each byte,
 * every field wrong. See also: test_format_hostile.c, test_blob.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "format/blob.h"

static const struct volume_bounds BOUNDS = {.block_size = 4096, .data_first = 10, .data_end = 1000};

static struct blob_ref sample(void) {
  return (struct blob_ref){.size = 70000,
                           .ptr = {.generation = 300,
                                   .checksum = 0x1122334455667788,
                                   .length = 5 * 4096 - 17,
                                   .header_length = 200,
                                   .extent_count = 2,
                                   .extents = {{10, 2}, {500, 3}}}};
}

static bool accepted(const struct blob_ref *ref) {
  uint8_t out[BLOB_REF_SIZE_MAX];
  struct wire_writer w = wire_writer(out, sizeof out);
  wire_put_varint(&w, ref->size);
  block_ptr_encode(&w, &ref->ptr);
  struct blob_ref back;
  return !w.failed && blob_ref_decode(out, w.at, &BOUNDS, &back);
}

static void test_blob_format__a_reference_comes_back(void **state) {
  (void)state;
  uint8_t out[BLOB_REF_SIZE_MAX];
  struct blob_ref ref = sample(), back;
  uint32_t size = blob_ref_encode(&ref, out, sizeof out);
  assert_true(size > 0);
  assert_true(blob_ref_decode(out, size, &BOUNDS, &back));
  assert_int_equal(back.size, ref.size);
  assert_true(block_ptr_equal(&back.ptr, &ref.ptr));
  assert_int_equal(blob_ref_size(out, size), ref.size);
  struct wodan_slice pointer = blob_ref_pointer(out, size);
  struct wire_reader r = wire_reader(pointer.data, pointer.size);
  assert_true(block_ptr_decode(&r, &BOUNDS, &back.ptr) && r.at == pointer.size);
  assert_true(block_ptr_equal(&back.ptr, &ref.ptr));
}

static void test_blob_format__layout_is_the_table(void **state) {
  (void)state;
  struct blob_ref ref = {.size = 300,
                         .ptr = {.generation = 1,
                                 .checksum = 0x0807060504030201,
                                 .length = 4096,
                                 .header_length = 100,
                                 .extent_count = 1,
                                 .extents = {{64, 1}}}};
  const uint8_t expected[] = {0xac, 0x02, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0x80, 0x20, 100, 1, 64, 1};
  uint8_t out[BLOB_REF_SIZE_MAX];
  assert_int_equal(blob_ref_encode(&ref, out, sizeof out), sizeof expected);
  assert_memory_equal(out, expected, sizeof expected);

  const struct blob_chunk chunk = {.length = 300, .checksum = 0x0807060504030201};
  const uint8_t entry[] = {0xac, 0x02, 1, 2, 3, 4, 5, 6, 7, 8};
  struct wire_writer w = wire_writer(out, sizeof out);
  blob_chunk_encode(&w, &chunk);
  assert_int_equal(w.at, sizeof entry);
  assert_memory_equal(out, entry, sizeof entry);
}

static void test_blob_format__truncated_at_each_byte_and_not_longer(void **state) {
  (void)state;
  uint8_t out[BLOB_REF_SIZE_MAX + 1];
  struct blob_ref ref = sample(), back;
  uint32_t size = blob_ref_encode(&ref, out, sizeof out);
  for (uint32_t n = 0; n < size; n++) {
    assert_false(blob_ref_decode(out, n, &BOUNDS, &back));
    uint8_t small[BLOB_REF_SIZE_MAX];
    assert_int_equal(blob_ref_encode(&ref, small, n), 0);
  }
  out[size] = 0;
  assert_false(blob_ref_decode(out, size + 1, &BOUNDS, &back));
}

static void test_blob_format__every_field_of_a_reference_wrong(void **state) {
  (void)state;
  struct blob_ref ref = sample();
  assert_true(accepted(&ref));
  ref.size = 1;
  assert_true(accepted(&ref));
  ref.size = 0;
  assert_false(accepted(&ref));
  ref = sample();
  memset(&ref.ptr, 0, sizeof ref.ptr); /* a null pointer */
  assert_false(accepted(&ref));
  ref = sample();
  ref.ptr.extents[1].first = BOUNDS.data_end - 2; /* and out of the volume */
  assert_false(accepted(&ref));
  ref = sample();
  ref.ptr.length += 4096;
  assert_false(accepted(&ref));
}

static void test_blob_format__a_varint_in_its_shortest_form_only(void **state) {
  (void)state;
  uint8_t out[BLOB_REF_SIZE_MAX + 1];
  struct blob_ref ref = sample(), back;
  ref.size = 5;
  uint32_t size = blob_ref_encode(&ref, out, sizeof out);
  memmove(out + 2, out + 1, size - 1);
  out[0] = 0x85;
  out[1] = 0;
  assert_false(blob_ref_decode(out, size + 1, &BOUNDS, &back));
}

static void test_blob_format__a_chunk_is_of_its_size_at_most(void **state) {
  (void)state;
  const struct {
    uint64_t length, raw;
    bool good;
  } cases[] = {{1, 1, true},
               {1, 2048, true},
               {2048, 2048, true},
               {0, 2048, false},
               {2049, 2048, false},
               {2, 1, false},
               {UINT32_MAX, 65536, false},
               {(1ull << 32) + 1, 65536, false},
               {UINT64_MAX, 65536, false}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint8_t out[32];
    struct wire_writer w = wire_writer(out, sizeof out);
    wire_put_varint(&w, cases[i].length);
    wire_put_u64(&w, 7);
    struct wire_reader r = wire_reader(out, w.at);
    struct blob_chunk chunk;
    assert_int_equal(blob_chunk_decode(&r, cases[i].raw, &chunk), cases[i].good);
    if (!cases[i].good) continue;
    assert_int_equal(chunk.length, cases[i].length);
    assert_int_equal(chunk.checksum, 7);
    for (size_t n = 0; n < w.at; n++) {
      r = wire_reader(out, n);
      assert_false(blob_chunk_decode(&r, cases[i].raw, &chunk));
    }
  }
}

static void test_blob_format__chunks_are_counted_without_overflow(void **state) {
  (void)state;
  assert_int_equal(blob_chunk_count(1, 512), 1);
  assert_int_equal(blob_chunk_count(2048, 512), 1);
  assert_int_equal(blob_chunk_count(2049, 512), 2);
  assert_int_equal(blob_chunk_count(UINT64_MAX, 512), UINT64_MAX / 2048 + 1);
  assert_int_equal(blob_value_max(16384), 1u << 30);
  assert_int_equal(blob_chunk_count(blob_value_max(512), 512), BLOB_CHUNKS_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_blob_format__a_reference_comes_back),
      cmocka_unit_test(test_blob_format__layout_is_the_table),
      cmocka_unit_test(test_blob_format__truncated_at_each_byte_and_not_longer),
      cmocka_unit_test(test_blob_format__every_field_of_a_reference_wrong),
      cmocka_unit_test(test_blob_format__a_varint_in_its_shortest_form_only),
      cmocka_unit_test(test_blob_format__a_chunk_is_of_its_size_at_most),
      cmocka_unit_test(test_blob_format__chunks_are_counted_without_overflow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
