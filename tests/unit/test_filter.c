/* Filter: never denies a key it holds; lets few others through; its bits are those the format document names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "codec/checksum.h"
#include "run/filter.h"

static uint64_t hash_of(uint64_t seed, const char *kind, uint64_t i) {
  char key[64];
  int n = snprintf(key, sizeof key, "\x01%s/%llu", kind, (unsigned long long)i);
  return checksum(seed, key, (size_t)n);
}

static void test_filter__lines_for_records(void **state) {
  (void)state;
  assert_int_equal(filter_lines(0), 1);
  assert_int_equal(filter_lines(1), 1);
  assert_int_equal(filter_lines(51), 1);
  assert_int_equal(filter_lines(52), 2);
  assert_int_equal(filter_lines(512), 10);
  assert_int_equal(filter_lines(513), 11);
  assert_int_equal(filter_lines(UINT64_MAX), 0);
  assert_int_equal(filter_lines(UINT64_C(1) << 40), 0);
}

static void test_filter__no_false_negative_few_false_positives(void **state) {
  (void)state;
  static const uint64_t counts[] = {1, 10, 51, 52, 1000, 100000};
  for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
    uint32_t lines = filter_lines(counts[c]);
    uint8_t *filter = calloc(lines, FILTER_LINE_SIZE);
    for (uint64_t i = 0; i < counts[c]; i++) filter_add(filter, lines, hash_of(7, "there", i));
    for (uint64_t i = 0; i < counts[c]; i++) assert_true(filter_may_contain(filter, lines, hash_of(7, "there", i)));
    uint64_t through = 0, asked = 200000;
    for (uint64_t i = 0; i < asked; i++) through += filter_may_contain(filter, lines, hash_of(7, "absent", i));
    print_message("%llu keys: %.2f %% false positives\n", (unsigned long long)counts[c],
                  100.0 * (double)through / (double)asked);
    assert_true(through * 100 < asked * 3);
    free(filter);
  }
}

static void test_filter__empty_filter_denies_everything(void **state) {
  (void)state;
  uint8_t filter[FILTER_LINE_SIZE] = {0};
  for (uint64_t i = 0; i < 1000; i++) assert_false(filter_may_contain(filter, 1, hash_of(1, "any", i)));
}

/* The table in filter.h, spelled out a second time. */
static void test_filter__bits_are_those_of_the_format(void **state) {
  (void)state;
  enum { LINES = 37 };
  uint8_t filter[LINES * 64], wanted[LINES * 64];
  for (uint64_t i = 0; i < 500; i++) {
    uint64_t h = hash_of(3, "bit", i);
    memset(filter, 0, sizeof filter);
    memset(wanted, 0, sizeof wanted);
    filter_add(filter, LINES, h);
    uint64_t line = (h >> 32) * LINES >> 32, a = h & 0xffffffffu;
    for (int n = 0; n < 6; n++) {
      uint64_t bit = a / 0x800000;
      wanted[line * 64 + bit / 8] |= (uint8_t)(1 << bit % 8);
      a = a * 0x9E3779B1u % 0x100000000u;
    }
    assert_memory_equal(filter, wanted, sizeof filter);
    assert_ptr_equal(filter_line(filter, LINES, h), filter + line * 64);
    for (size_t b = 0; b < sizeof filter * 8; b++) { /* every bit of it is asked for */
      if (!(filter[b / 8] >> b % 8 & 1)) continue;
      filter[b / 8] ^= (uint8_t)(1 << b % 8);
      assert_false(filter_may_contain(filter, LINES, h));
      filter[b / 8] ^= (uint8_t)(1 << b % 8);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_filter__lines_for_records),
      cmocka_unit_test(test_filter__no_false_negative_few_false_positives),
      cmocka_unit_test(test_filter__empty_filter_denies_everything),
      cmocka_unit_test(test_filter__bits_are_those_of_the_format),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
