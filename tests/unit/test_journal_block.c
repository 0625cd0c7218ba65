/* What: journal blocks and journal operations (format/journal_block.h): roundtrip, layout, every byte flipped, every
 * field wrong behind a good checksum. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/wire.h"
#include "codec/checksum.h"
#include "format/journal_block.h"
#include "format/record.h"

enum { SIZE = 512 };
static const uint8_t FSID[16] = "sixteen bytes id";
static const uint64_t SEED = 12345;

static struct journal_block sample(void) {
  struct journal_block block = {.kind = JOURNAL_RECORD,
                                .epoch = {7, 0xabcdef},
                                .sequence = 0x1001,
                                .previous = 0x2002,
                                .flushed_through = 0x1000,
                                .checkpoint = 0x800,
                                .checkpoint_hash = 0x4004,
                                .fragment = 1,
                                .fragments = 3,
                                .payload_length = 5};
  memcpy(block.fsid, FSID, 16);
  return block;
}

static bool decode(const uint8_t *in, struct journal_block *block, const uint8_t **payload) {
  return journal_block_decode(in, SIZE, SEED, FSID, block, payload);
}

/* The sample, patched at an offset, its checksum put right. */
static bool patched_is_accepted(size_t offset, const void *bytes, size_t size) {
  uint8_t out[SIZE];
  struct journal_block block = sample(), back;
  const uint8_t *payload;
  journal_block_encode(&block, (const uint8_t *)"hello", SEED, out, SIZE);
  memcpy(out + offset, bytes, size);
  store_u64(out, checksum(SEED, out + 8, SIZE - 8));
  return decode(out, &back, &payload);
}

static bool patched_u32(size_t offset, uint32_t value) {
  uint8_t bytes[4];
  store_u32(bytes, value);
  return patched_is_accepted(offset, bytes, 4);
}

static bool patched_u8(size_t offset, uint8_t value) { return patched_is_accepted(offset, &value, 1); }

static void test_journal_block__roundtrip(void **state) {
  (void)state;
  uint8_t out[SIZE];
  memset(out, 0xee, sizeof out);
  struct journal_block block = sample(), back;
  const uint8_t *payload;
  journal_block_encode(&block, (const uint8_t *)"hello", SEED, out, SIZE);
  assert_true(decode(out, &back, &payload));
  assert_ptr_equal(payload, out + JOURNAL_HEADER_SIZE);
  assert_memory_equal(payload, "hello", 5);
  assert_int_equal(back.kind, JOURNAL_RECORD);
  assert_memory_equal(back.fsid, FSID, 16);
  assert_true(epoch_compare(back.epoch, block.epoch) == 0);
  assert_true(back.sequence == 0x1001 && back.previous == 0x2002 && back.flushed_through == 0x1000);
  assert_true(back.checkpoint == 0x800 && back.checkpoint_hash == 0x4004);
  assert_true(back.fragment == 1 && back.fragments == 3 && back.payload_length == 5);
  assert_true(back.hash == block.hash && back.hash == load_u64(out));
  assert_true(journal_block_peek_sequence(out) == 0x1001);
}

static void test_journal_block__layout_is_the_table(void **state) {
  (void)state;
  uint8_t out[SIZE];
  struct journal_block block = sample();
  journal_block_encode(&block, (const uint8_t *)"hello", SEED, out, SIZE);
  assert_memory_equal(out + 8, "WJNL", 4);
  assert_int_equal(out[12], JOURNAL_RECORD);
  assert_memory_equal(out + 16, FSID, 16);
  const uint64_t longs[] = {7, 0xabcdef, 0x1001, 0x2002, 0x1000, 0x800, 0x4004};
  for (size_t i = 0; i < 7; i++) assert_true(load_u64(out + 32 + 8 * i) == longs[i]);
  assert_int_equal(load_u32(out + 88), 1);
  assert_int_equal(load_u32(out + 92), 3);
  assert_int_equal(load_u32(out + 96), 5);
  assert_int_equal(load_u32(out + 100), 0);
}

static void test_journal_block__empty_and_full_payload(void **state) {
  (void)state;
  uint8_t out[SIZE], full[SIZE - JOURNAL_HEADER_SIZE];
  memset(full, 0x5a, sizeof full);
  struct journal_block block = sample(), back;
  const uint8_t *payload;
  block.payload_length = 0;
  journal_block_encode(&block, NULL, SEED, out, SIZE);
  assert_true(decode(out, &back, &payload));
  block.payload_length = sizeof full;
  journal_block_encode(&block, full, SEED, out, SIZE);
  assert_true(decode(out, &back, &payload));
  assert_memory_equal(payload, full, sizeof full);
}

static void test_journal_block__every_bit_flip_is_seen(void **state) {
  (void)state;
  uint8_t out[SIZE];
  struct journal_block block = sample(), back;
  const uint8_t *payload;
  journal_block_encode(&block, (const uint8_t *)"hello", SEED, out, SIZE);
  for (size_t bit = 0; bit < SIZE * 8; bit++) {
    out[bit / 8] ^= (uint8_t)(1u << bit % 8);
    assert_false(decode(out, &back, &payload));
    out[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  assert_true(decode(out, &back, &payload));
}

static void test_journal_block__truncated_at_each_byte(void **state) {
  (void)state;
  uint8_t out[SIZE];
  struct journal_block block = sample(), back;
  const uint8_t *payload;
  journal_block_encode(&block, (const uint8_t *)"hello", SEED, out, SIZE);
  for (uint32_t size = 0; size < SIZE; size++)
    assert_false(journal_block_decode(out, size, SEED, FSID, &back, &payload));
}

static void test_journal_block__other_volume_is_refused(void **state) {
  (void)state;
  uint8_t out[SIZE], other[16];
  memcpy(other, FSID, 16);
  other[15] ^= 1;
  struct journal_block block = sample(), back;
  const uint8_t *payload;
  journal_block_encode(&block, (const uint8_t *)"hello", SEED, out, SIZE);
  assert_false(journal_block_decode(out, SIZE, SEED, other, &back, &payload));
  assert_false(journal_block_decode(out, SIZE, SEED + 1, FSID, &back, &payload));
}

static void test_journal_block__only_records_are_unproven(void **state) {
  (void)state;
  uint8_t out[SIZE];
  const uint8_t *payload;
  struct journal_block block = sample(), back;
  block.kind = JOURNAL_CHECKPOINT;
  block.fragment = 0;
  block.fragments = 1;
  journal_block_encode(&block, (const uint8_t *)"hello", SEED, out, SIZE);
  assert_true(decode(out, &back, &payload));
  out[13] = JOURNAL_UNPROVEN;
  store_u64(out, checksum(SEED, out + 8, SIZE - 8));
  assert_false(decode(out, &back, &payload));
}

static void test_journal_block__each_field_wrong(void **state) {
  (void)state;
  assert_true(patched_u8(32, 9)); /* the helper itself: a legal change passes */
  assert_false(patched_is_accepted(8, "WRUN", 4));
  assert_false(patched_u8(12, 4)); /* kind */
  assert_true(patched_u8(13, JOURNAL_UNPROVEN));
  assert_false(patched_u8(13, 2)); /* no such flag */
  assert_false(patched_u8(13, 3));
  for (size_t i = 14; i < 16; i++) assert_false(patched_u8(i, 1));
  assert_false(patched_u32(88, 3)); /* fragment == fragments */
  assert_true(patched_u32(88, 2));
  assert_false(patched_u32(88, UINT32_MAX));
  assert_false(patched_u32(92, 0)); /* no fragments */
  assert_false(patched_u32(92, 1)); /* fragment 1 of 1 */
  for (size_t i = 100; i < 104; i++) assert_false(patched_u8(i, 1));
  assert_false(patched_u32(96, SIZE - JOURNAL_HEADER_SIZE + 1));
  assert_false(patched_u32(96, UINT32_MAX));
  assert_true(patched_u32(96, SIZE - JOURNAL_HEADER_SIZE));
  assert_false(patched_u32(96, 4)); /* the fifth byte is then no zero */
  assert_false(patched_u8(SIZE - 1, 1));
}

static void test_journal_block__only_records_have_fragments(void **state) {
  (void)state;
  for (uint8_t kind = JOURNAL_EMPTY; kind <= JOURNAL_SEAL; kind++)
    assert_int_equal(patched_u8(12, kind), kind == JOURNAL_RECORD); /* the sample is fragment 1 of 3 */
  for (uint8_t kind = JOURNAL_EMPTY; kind <= JOURNAL_SEAL; kind++) {
    uint8_t out[SIZE];
    struct journal_block block = sample(), back;
    const uint8_t *payload;
    block.kind = kind;
    block.fragment = 0;
    block.fragments = 1;
    if (kind == JOURNAL_EMPTY || kind == JOURNAL_SEAL) block.payload_length = 0;
    journal_block_encode(&block, (const uint8_t *)"hello", SEED, out, SIZE);
    assert_true(decode(out, &back, &payload));
    assert_int_equal(back.kind, kind);
  }
  uint8_t out[SIZE];
  struct journal_block block = sample(), back;
  const uint8_t *payload;
  block.fragment = 0;
  block.fragments = 1;
  journal_block_encode(&block, (const uint8_t *)"hello", SEED, out, SIZE);
  out[12] = JOURNAL_SEAL + 1; /* unknown, and not for its fragments */
  store_u64(out, checksum(SEED, out + 8, SIZE - 8));
  assert_false(decode(out, &back, &payload));
}

/* A record that called itself a seal was dropped without a word, though its checksum was right. */
static void test_journal_block__seals_and_empty_blocks_carry_nothing(void **state) {
  (void)state;
  for (uint8_t kind = JOURNAL_EMPTY; kind <= JOURNAL_SEAL; kind++) {
    uint8_t out[SIZE];
    struct journal_block block = sample(), back;
    const uint8_t *payload;
    block.fragment = 0;
    block.fragments = 1;
    journal_block_encode(&block, (const uint8_t *)"hello", SEED, out, SIZE);
    out[12] = kind;
    store_u64(out, checksum(SEED, out + 8, SIZE - 8));
    assert_int_equal(decode(out, &back, &payload), kind == JOURNAL_RECORD || kind == JOURNAL_CHECKPOINT);
  }
}

static void test_epoch__number_first_then_random(void **state) {
  (void)state;
  assert_int_equal(epoch_compare((struct epoch){1, 9}, (struct epoch){2, 0}), -1);
  assert_int_equal(epoch_compare((struct epoch){2, 0}, (struct epoch){1, 9}), 1);
  assert_int_equal(epoch_compare((struct epoch){2, 3}, (struct epoch){2, 4}), -1);
  assert_int_equal(epoch_compare((struct epoch){2, UINT64_MAX}, (struct epoch){2, 0}), 1);
  assert_int_equal(epoch_compare((struct epoch){2, 3}, (struct epoch){2, 3}), 0);
}

static void test_journal_operation__roundtrip_size_and_truncated(void **state) {
  (void)state;
  uint8_t value[300], out[400];
  memset(value, 7, sizeof value);
  const struct journal_operation samples[] = {{0, {"k", 1}, {value, 300}},
                                              {0, {"key", 3}, {NULL, 0}},
                                              {1, {"gone", 4}, {NULL, 0}},
                                              {0, {value, 128}, {"v", 1}}};
  for (size_t i = 0; i < 4; i++) {
    struct wire_writer w = wire_writer(out, sizeof out);
    journal_operation_encode(&w, &samples[i]);
    assert_false(w.failed);
    assert_int_equal(w.at, journal_operation_size(samples[i].key.size, samples[i].value.size));
    struct journal_operation back;
    struct wire_reader r = wire_reader(out, w.at);
    assert_true(journal_operation_decode(&r, &back));
    assert_int_equal(r.at, w.at);
    assert_int_equal(back.kind, samples[i].kind);
    assert_int_equal(back.key.size, samples[i].key.size);
    assert_memory_equal(back.key.data, samples[i].key.data, back.key.size);
    assert_int_equal(back.value.size, samples[i].value.size);
    if (back.value.size) assert_memory_equal(back.value.data, samples[i].value.data, back.value.size);
    for (size_t size = 0; size < w.at; size++) {
      r = wire_reader(out, size);
      assert_false(journal_operation_decode(&r, &back));
      assert_true(r.failed);
    }
  }
}

static bool operation_accepted(const uint8_t *bytes, size_t size) {
  struct wire_reader r = wire_reader(bytes, size);
  struct journal_operation back;
  return journal_operation_decode(&r, &back);
}

static void test_journal_operation__each_field_wrong(void **state) {
  (void)state;
  const uint8_t put[] = {0, 1, 'k', 1, 'v'}, unknown[] = {RECORD_KIND_LAST + 1, 1, 'k', 1, 'v'},
                no_key[] = {0, 0, 1, 'v'};
  const uint8_t erase[] = {1, 1, 'k', 0}, erase_value[] = {1, 1, 'k', 1, 'v'}, long_form[] = {0, 0x81, 0, 'k', 0};
  const uint8_t huge[] = {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 'k', 0};
  assert_true(operation_accepted(put, sizeof put));
  const uint8_t large[] = {2, 1, 'k', 1, 'v'}; /* what it names is for others to prove */
  assert_true(operation_accepted(erase, sizeof erase));
  assert_true(operation_accepted(large, sizeof large));
  const uint8_t range[] = {3, 2, 1, 'a', 2, 1, 'b'}, backward[] = {3, 2, 1, 'b', 2, 1, 'a'},
                beyond[] = {3, 2, 1, 'a', 1, 3};
  assert_true(operation_accepted(range, sizeof range));
  assert_false(operation_accepted(backward, sizeof backward));
  assert_false(operation_accepted(beyond, sizeof beyond)); /* in another table */
  assert_false(operation_accepted(unknown, sizeof unknown));
  assert_false(operation_accepted(no_key, sizeof no_key));
  assert_false(operation_accepted(erase_value, sizeof erase_value));
  assert_false(operation_accepted(long_form, sizeof long_form));
  assert_false(operation_accepted(huge, sizeof huge));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_journal_block__roundtrip),
      cmocka_unit_test(test_journal_block__layout_is_the_table),
      cmocka_unit_test(test_journal_block__empty_and_full_payload),
      cmocka_unit_test(test_journal_block__every_bit_flip_is_seen),
      cmocka_unit_test(test_journal_block__truncated_at_each_byte),
      cmocka_unit_test(test_journal_block__other_volume_is_refused),
      cmocka_unit_test(test_journal_block__only_records_are_unproven),
      cmocka_unit_test(test_journal_block__each_field_wrong),
      cmocka_unit_test(test_journal_block__only_records_have_fragments),
      cmocka_unit_test(test_journal_block__seals_and_empty_blocks_carry_nothing),
      cmocka_unit_test(test_epoch__number_first_then_random),
      cmocka_unit_test(test_journal_operation__roundtrip_size_and_truncated),
      cmocka_unit_test(test_journal_operation__each_field_wrong),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
