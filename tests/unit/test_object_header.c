/* What: headers of runs and nodes (format/object_header.h): roundtrip, every bit flipped, truncation at each byte, and
 * every field wrong behind a good checksum. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "codec/checksum.h"
#include "format/object_header.h"

enum { HEADER = 256, OBJECT = 3 * 512 - 100 };
static const struct volume_bounds BOUNDS = {.block_size = 512, .data_first = 10, .data_end = 100};
static const uint8_t FSID[16] = "sixteen bytes id";
static const uint64_t SEED = 99;

/* A run: pages 700, index 300, filter the rest. */
static struct object_header sample(void) {
  struct object_header header = {.type = OBJECT_RUN,
                                 .generation = 40,
                                 .epoch = {3, 77},
                                 .length = OBJECT,
                                 .header_length = HEADER,
                                 .record_count = 12,
                                 .sequence_max = 900,
                                 .extents = {{20, 2}, {99, 1}},
                                 .extent_count = 2,
                                 .low = {"aaa", 3},
                                 .high = {"zz", 2},
                                 .sections = {{SECTION_PAGES, HEADER, 700, 0},
                                              {SECTION_INDEX, HEADER + 700, 300, 1},
                                              {SECTION_FILTER, HEADER + 1000, OBJECT - HEADER - 1000, 2}},
                                 .section_count = 3};
  memcpy(header.fsid, FSID, 16);
  return header;
}

static bool decode(const uint8_t *in, size_t size, struct object_header *header) {
  return object_header_decode(in, size, SEED, FSID, &BOUNDS, header);
}

static void repair(uint8_t *out) { store_u64(out, checksum(SEED, out + 8, HEADER - 8)); }

/* The header as the encoder writes it, without the encoder's own assertions: for fields that are wrong on purpose. */
static bool accepted(const struct object_header *header) {
  uint8_t out[HEADER] = {0};
  struct wire_writer w = wire_writer(out, sizeof out);
  wire_put_u64(&w, 0);
  static const char *const magics[] = {"WRUN", "WNOD", "WBLB"};
  wire_put_bytes(&w, magics[header->type - OBJECT_RUN], 4);
  wire_put_u32(&w, header->header_length);
  wire_put_bytes(&w, header->fsid, 16);
  const uint64_t longs[] = {header->generation, header->epoch.number, header->epoch.random,
                            header->length,     header->record_count, header->sequence_max};
  for (size_t i = 0; i < 6; i++) wire_put_u64(&w, longs[i]);
  extents_encode(&w, header->extents, header->extent_count);
  wire_put_varint(&w, header->low.size);
  wire_put_bytes(&w, header->low.data, header->low.size);
  wire_put_varint(&w, header->high.size);
  wire_put_bytes(&w, header->high.data, header->high.size);
  wire_put_varint(&w, header->section_count);
  for (uint32_t i = 0; i < header->section_count && i < OBJECT_SECTIONS_MAX; i++) {
    wire_put_u8(&w, header->sections[i].tag);
    wire_put_varint(&w, header->sections[i].offset);
    wire_put_varint(&w, header->sections[i].length);
    wire_put_u64(&w, header->sections[i].checksum);
  }
  assert_false(w.failed);
  repair(out);
  struct object_header back;
  return decode(out, sizeof out, &back);
}

static void test_object_header__roundtrip(void **state) {
  (void)state;
  uint8_t out[HEADER];
  memset(out, 0xee, sizeof out);
  struct object_header header = sample(), back;
  assert_true(object_header_encode(&header, SEED, out));
  assert_true(header.checksum == load_u64(out));
  assert_int_equal(object_header_peek_length(out, 16), HEADER);
  assert_int_equal(object_header_peek_length(out, 15), 0);
  assert_true(decode(out, sizeof out, &back));
  assert_int_equal(back.type, OBJECT_RUN);
  assert_true(back.generation == 40 && epoch_compare(back.epoch, header.epoch) == 0 && back.length == OBJECT);
  assert_true(back.header_length == HEADER && back.record_count == 12 && back.sequence_max == 900);
  assert_true(back.extent_count == 2 && back.extents[1].first == 99 && back.checksum == header.checksum);
  assert_true(back.low.size == 3 && memcmp(back.low.data, "aaa", 3) == 0);
  assert_true(back.high.size == 2 && memcmp(back.high.data, "zz", 2) == 0);
  assert_int_equal(back.section_count, 3);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(back.sections[i].tag, header.sections[i].tag);
    assert_true(back.sections[i].offset == header.sections[i].offset &&
                back.sections[i].length == header.sections[i].length);
    assert_true(back.sections[i].checksum == header.sections[i].checksum);
  }
  assert_ptr_equal(object_section(&back, SECTION_INDEX), &back.sections[1]);
  assert_null(object_section(&back, SECTION_RUNS));
}

static void test_object_header__layout_is_the_table(void **state) {
  (void)state;
  uint8_t out[HEADER];
  struct object_header header = sample();
  assert_true(object_header_encode(&header, SEED, out));
  assert_memory_equal(out + 8, "WRUN", 4);
  assert_int_equal(load_u32(out + 12), HEADER);
  assert_memory_equal(out + 16, FSID, 16);
  const uint64_t longs[] = {40, 3, 77, OBJECT, 12, 900};
  for (size_t i = 0; i < 6; i++) assert_true(load_u64(out + 32 + 8 * i) == longs[i]);
  const uint8_t rest[] = {2, 20, 2, 99, 1, 3, 'a', 'a', 'a', 2, 'z', 'z', 3, SECTION_PAGES, 0x80, 0x02, 0xbc, 0x05};
  assert_memory_equal(out + 80, rest, sizeof rest);
}

static void test_object_header__node_without_keys(void **state) {
  (void)state;
  uint8_t out[HEADER];
  struct object_header header = sample(), back;
  header.type = OBJECT_NODE;
  header.record_count = header.sequence_max = 0;
  header.low = header.high = (struct wodan_slice){NULL, 0};
  header.section_count = 1;
  header.sections[0] = (struct section){SECTION_RUNS, HEADER, OBJECT - HEADER, 5};
  assert_true(object_header_encode(&header, SEED, out));
  assert_memory_equal(out + 8, "WNOD", 4);
  assert_true(decode(out, sizeof out, &back));
  assert_true(back.type == OBJECT_NODE && back.low.size == 0 && back.high.size == 0);
}

static void test_object_header__every_bit_flip_is_seen(void **state) {
  (void)state;
  uint8_t out[HEADER];
  struct object_header header = sample(), back;
  assert_true(object_header_encode(&header, SEED, out));
  for (size_t bit = 0; bit < HEADER * 8; bit++) {
    out[bit / 8] ^= (uint8_t)(1u << bit % 8);
    assert_false(decode(out, sizeof out, &back));
    out[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  assert_true(decode(out, sizeof out, &back));
}

/* header_length made smaller each time, checksum right: the fields run out, or sections no longer start at its end. */
static void test_object_header__truncated_at_each_byte(void **state) {
  (void)state;
  struct object_header header = sample(), back;
  uint8_t whole[HEADER];
  assert_true(object_header_encode(&header, SEED, whole));
  for (uint32_t size = 0; size < HEADER; size++) {
    uint8_t *in = malloc(size ? size : 1); /* exactly so large: a byte read too far is seen */
    assert_non_null(in);
    memcpy(in, whole, size);
    assert_false(decode(in, size, &back));
    if (size >= 16) {
      store_u32(in + 12, size);
      store_u64(in, checksum(SEED, in + 8, size - 8));
      assert_false(decode(in, size, &back));
    }
    free(in);
  }
}

static void test_object_header__size_max_is_an_upper_bound(void **state) {
  (void)state;
  struct object_header header = sample();
  header.generation = header.epoch.number = UINT64_MAX;
  header.extent_count = BLOCK_PTR_EXTENTS_MAX;
  for (int i = 0; i < BLOCK_PTR_EXTENTS_MAX; i++) header.extents[i] = (struct extent){UINT64_MAX, UINT64_MAX};
  const struct volume_bounds widest = {.block_size = 1, .data_end = UINT64_MAX};
  uint32_t bound = object_header_size_max(&widest, 3, 2, BLOCK_PTR_EXTENTS_MAX, 3);
  uint8_t out[1024];
  assert_true(bound <= sizeof out);
  header.header_length = bound;
  header.length = bound + 3;
  for (uint32_t i = 0; i < 3; i++) header.sections[i] = (struct section){(uint8_t)(1 + i), bound + i, 1, i};
  assert_true(object_header_encode(&header, SEED, out));
}

static void test_object_header__does_not_fit(void **state) {
  (void)state;
  uint8_t out[HEADER];
  memset(out, 0xee, sizeof out);
  struct object_header header = sample();
  header.header_length = 100;
  header.length = 1100;
  for (uint32_t i = 0, at = 100; i < 3; i++) {
    header.sections[i].offset = at;
    header.sections[i].length = i < 2 ? 300 : 400;
    at += 300;
  }
  assert_false(object_header_encode(&header, SEED, out));
  for (size_t i = 100; i < HEADER; i++) assert_int_equal(out[i], 0xee);
}

static void test_object_header__fixed_fields_wrong(void **state) {
  (void)state;
  struct object_header header = sample();
  assert_true(accepted(&header)); /* the helper writes what the encoder writes */
  header.fsid[0] ^= 1;
  assert_false(accepted(&header));
  header = sample();
  header.generation = 0;
  assert_false(accepted(&header));
  header = sample();
  header.length = OBJECT + 1; /* sections end before it */
  assert_false(accepted(&header));
  header = sample();
  header.length = 3 * 512 + 1; /* one block more than the extents hold */
  header.sections[2].length = 3 * 512 + 1 - HEADER - 1000;
  assert_false(accepted(&header));
  header.length--;
  header.sections[2].length--;
  assert_true(accepted(&header));
  header = sample();
  header.header_length = HEADER + 1; /* more than was read */
  assert_false(accepted(&header));
  header.header_length = 79;
  assert_false(accepted(&header));
  header.header_length = UINT32_MAX;
  assert_false(accepted(&header));
}

static void test_object_header__magic_wrong(void **state) {
  (void)state;
  uint8_t out[HEADER];
  struct object_header header = sample(), back;
  assert_true(object_header_encode(&header, SEED, out));
  memcpy(out + 8, "WJNL", 4);
  repair(out);
  assert_false(decode(out, sizeof out, &back));
}

static void test_object_header__keys_wrong(void **state) {
  (void)state;
  struct object_header header = sample();
  header.low = (struct wodan_slice){"zzz", 3};
  assert_false(accepted(&header));
  header.low = (struct wodan_slice){"zz", 2}; /* equal: one record */
  assert_true(accepted(&header));
  header.low = (struct wodan_slice){NULL, 0};
  assert_true(accepted(&header));
  header = sample();
  header.high = (struct wodan_slice){NULL, 0}; /* no upper key: low alone stands */
  assert_true(accepted(&header));
}

static void test_object_header__extents_wrong(void **state) {
  (void)state;
  struct object_header header = sample();
  header.extents[1].first = 100;
  assert_false(accepted(&header));
  header.extents[1].first = 21;
  assert_false(accepted(&header));
  header.extents[1].first = 22;
  assert_true(accepted(&header));
}

static void test_object_header__sections_wrong(void **state) {
  (void)state;
  struct object_header header = sample();
  header.sections[2].tag = SECTION_INDEX; /* twice */
  assert_false(accepted(&header));
  header = sample();
  header.sections[1].tag = 9;
  assert_false(accepted(&header));
  header.sections[1].tag = 0;
  assert_false(accepted(&header));
  header.sections[1].tag = SECTION_LEAVES; /* a node's, in a run */
  assert_false(accepted(&header));
  header = sample();
  header.sections[1].offset++; /* a gap */
  assert_false(accepted(&header));
  header = sample();
  header.sections[0].length++; /* an overlap */
  assert_false(accepted(&header));
  header = sample();
  header.sections[2].length++; /* past the end */
  assert_false(accepted(&header));
  header.sections[2].length = UINT64_MAX - 100;
  assert_false(accepted(&header));
  header = sample();
  header.sections[1].length = UINT64_MAX - 49; /* the next one's offset, wrapped round, is 50 less */
  header.sections[2].offset = HEADER + 650;
  header.sections[2].length = OBJECT - HEADER - 650;
  assert_false(accepted(&header));
  header = sample();
  header.sections[0].checksum = 1; /* pages have none of their own */
  assert_false(accepted(&header));
  header = sample();
  header.section_count = 2; /* the last bytes belong to nobody */
  assert_false(accepted(&header));
  header.section_count = 9;
  assert_false(accepted(&header));
}

static void test_object_header__node_has_a_level_and_no_sequence(void **state) {
  (void)state;
  struct object_header header = sample();
  header.type = OBJECT_NODE;
  header.section_count = 1;
  header.sections[0] = (struct section){SECTION_RUNS, HEADER, OBJECT - HEADER, 5};
  header.record_count = 0;
  assert_false(accepted(&header));
  header.sequence_max = 0;
  assert_true(accepted(&header));
  header.record_count = 15;
  assert_true(accepted(&header));
  header.record_count = 16;
  assert_false(accepted(&header));
  header.record_count = UINT64_MAX;
  assert_false(accepted(&header));
  header.record_count = 0;
  header.sections[0].tag = SECTION_PAGES; /* a run's, in a node */
  header.sections[0].checksum = 0;
  assert_false(accepted(&header));
}

static void test_object_header__a_nodes_sections_are_those_known(void **state) {
  (void)state;
  struct object_header header = sample();
  header.type = OBJECT_NODE;
  header.section_count = 1;
  header.record_count = header.sequence_max = 0;
  for (uint8_t tag = 0; tag < 32; tag++) {
    header.sections[0] = (struct section){tag, HEADER, OBJECT - HEADER, 5};
    assert_int_equal(accepted(&header), tag >= SECTION_LEAVES && tag <= SECTION_CHILDREN);
  }
}

static void test_object_header__a_blob_has_a_size_and_no_sequence(void **state) {
  (void)state;
  struct object_header header = sample();
  header.type = OBJECT_BLOB;
  header.section_count = 2;
  header.sequence_max = 0;
  header.sections[0] = (struct section){SECTION_CHUNKS, HEADER, 700, 0};
  header.sections[1] = (struct section){SECTION_CHUNK_TABLE, HEADER + 700, OBJECT - HEADER - 700, 5};
  assert_true(accepted(&header));
  header.sequence_max = 1;
  assert_false(accepted(&header));
  header.sequence_max = 0;
  header.record_count = 0;
  assert_false(accepted(&header));
  header.record_count = UINT64_MAX; /* what it can be is said by its reference and the size of a page */
  assert_true(accepted(&header));
  header.sections[0].checksum = 1; /* the table has those of the chunks */
  assert_false(accepted(&header));
  header.sections[0].checksum = 0;
  for (uint8_t tag = 0; tag < 32; tag++) {
    header.sections[1].tag = tag;
    assert_int_equal(accepted(&header), tag == SECTION_CHUNK_TABLE);
  }
}

/* A section as long as 2^64 wraps round to the end of the object again. */
static void test_object_header__is_not_longer_than_its_object(void **state) {
  (void)state;
  struct object_header header = sample();
  header.type = OBJECT_NODE;
  header.record_count = header.sequence_max = 0;
  header.section_count = 1;
  header.extent_count = 1;
  header.extents[0].count = 1;
  header.length = HEADER - 56;
  header.sections[0] = (struct section){SECTION_RUNS, HEADER, UINT64_MAX - 55, 5};
  assert_false(accepted(&header));
  header.length = HEADER + 56;
  header.sections[0].length = 56;
  assert_true(accepted(&header));
}

static void test_object_header__has_a_greatest_length(void **state) {
  (void)state;
  const struct volume_bounds large = {.block_size = 4096, .data_first = 10, .data_end = 1000};
  for (uint32_t more = 0; more < 2; more++) {
    uint32_t length = BLOCK_PTR_HEADER_MAX + more;
    struct object_header back;
    uint8_t *out = calloc(1, length);
    struct wire_writer w = wire_writer(out, length);
    wire_put_u64(&w, 0);
    wire_put_bytes(&w, "WNOD", 4);
    wire_put_u32(&w, length);
    wire_put_bytes(&w, FSID, 16);
    const uint64_t longs[] = {40, 3, 77, (uint64_t)length + 10, 0, 0};
    for (size_t i = 0; i < 6; i++) wire_put_u64(&w, longs[i]);
    extents_encode(&w, &(struct extent){20, 257}, 1);
    const uint8_t rest[] = {0, 0, 1, SECTION_RUNS}; /* no keys, one section */
    wire_put_bytes(&w, rest, sizeof rest);
    wire_put_varint(&w, length);
    wire_put_varint(&w, 10);
    store_u64(out, checksum(SEED, out + 8, length - 8));
    assert_int_equal(object_header_decode(out, length, SEED, FSID, &large, &back), more == 0);
    free(out);
  }
}

static void test_object_header__padding_must_be_zero(void **state) {
  (void)state;
  uint8_t out[HEADER];
  struct object_header header = sample(), back;
  assert_true(object_header_encode(&header, SEED, out));
  out[HEADER - 1] = 1;
  repair(out);
  assert_false(decode(out, sizeof out, &back));
  out[HEADER - 1] = 0;
  repair(out);
  assert_true(decode(out, sizeof out, &back));
}

/* What is only looked at proves nothing, but no number of it leads out of the bytes or the volume. */
static void test_object_header__a_look_reads_no_further_than_it_may(void **state) {
  (void)state;
  uint8_t out[HEADER];
  struct object_header header = sample(), back;
  assert_true(object_header_encode(&header, SEED, out));
  for (size_t size = 0; size < HEADER; size++) {
    uint8_t *in = malloc(size ? size : 1); /* exactly so large */
    assert_non_null(in);
    memcpy(in, out, size);
    if (object_header_peek(in, size, &BOUNDS, &back) != (size >= 85)) fail_msg("%zu bytes", size);
    free(in);
  }
  assert_true(object_header_peek(out, sizeof out, &BOUNDS, &back));
  assert_true(back.extent_count == 2 && back.extents[1].first == 99 && back.header_length == HEADER);
  static const uint32_t LENGTHS[] = {80, OBJECT, 79, OBJECT + 1};
  for (size_t i = 0; i < 4; i++) {
    store_u32(out + 12, LENGTHS[i]);
    assert_int_equal(object_header_peek(out, sizeof out, &BOUNDS, &back), i < 2);
  }
}

static void test_object_header__a_look_knows_the_greatest_length(void **state) {
  (void)state;
  const struct volume_bounds large = {.block_size = 4096, .data_first = 10, .data_end = 1000};
  uint8_t out[HEADER];
  struct object_header header = sample(), back;
  assert_true(object_header_encode(&header, SEED, out));
  struct wire_writer w = wire_writer(out + 80, 16);
  extents_encode(&w, &(struct extent){20, 257}, 1);
  store_u64(out + 56, BLOCK_PTR_HEADER_MAX + 10);
  for (uint32_t more = 0; more < 2; more++) {
    store_u32(out + 12, BLOCK_PTR_HEADER_MAX + more);
    assert_int_equal(object_header_peek(out, sizeof out, &large, &back), more == 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_object_header__a_look_reads_no_further_than_it_may),
      cmocka_unit_test(test_object_header__a_look_knows_the_greatest_length),
      cmocka_unit_test(test_object_header__roundtrip),
      cmocka_unit_test(test_object_header__a_nodes_sections_are_those_known),
      cmocka_unit_test(test_object_header__a_blob_has_a_size_and_no_sequence),
      cmocka_unit_test(test_object_header__is_not_longer_than_its_object),
      cmocka_unit_test(test_object_header__has_a_greatest_length),
      cmocka_unit_test(test_object_header__layout_is_the_table),
      cmocka_unit_test(test_object_header__node_without_keys),
      cmocka_unit_test(test_object_header__every_bit_flip_is_seen),
      cmocka_unit_test(test_object_header__truncated_at_each_byte),
      cmocka_unit_test(test_object_header__size_max_is_an_upper_bound),
      cmocka_unit_test(test_object_header__does_not_fit),
      cmocka_unit_test(test_object_header__fixed_fields_wrong),
      cmocka_unit_test(test_object_header__magic_wrong),
      cmocka_unit_test(test_object_header__keys_wrong),
      cmocka_unit_test(test_object_header__extents_wrong),
      cmocka_unit_test(test_object_header__sections_wrong),
      cmocka_unit_test(test_object_header__node_has_a_level_and_no_sequence),
      cmocka_unit_test(test_object_header__padding_must_be_zero),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
