/* What: base/clock (the hook, the system's clock, buckets of delays) and wodan_delay_percentile, which reads them.
 *
 * Always true: none of it needs a database.
 *
 * See: src/base/clock.h, include/wodan/stats.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <wodan/stats.h>

#include "base/clock.h"

static uint64_t told(void *context) { return ++*(uint64_t *)context; }

static void test_clock__the_hook_is_asked(void **state) {
  (void)state;
  uint64_t ticks = 41;
  struct wodan_hooks hooks = {.context = &ticks, .now = told};
  assert_int_equal(clock_now(&hooks), 42);
  assert_int_equal(clock_now(&hooks), 43);
}

static void test_clock__the_system_never_goes_back(void **state) {
  (void)state;
  struct wodan_hooks none = {0};
  uint64_t before = clock_now(NULL);
  assert_true(before > 0);
  for (int i = 0; i < 1000; i++) {
    uint64_t now = clock_now(i % 2 ? NULL : &none);
    assert_true(now >= before);
    before = now;
  }
}

static void test_clock__bucket_edges(void **state) {
  (void)state;
  assert_int_equal(clock_delay_bucket(0), 0);
  assert_int_equal(clock_delay_bucket(1), 1);
  for (unsigned i = 1; i < WODAN_DELAY_BUCKETS - 1; i++) {
    assert_int_equal(clock_delay_bucket((uint64_t)1 << (i - 1)), i);
    assert_int_equal(clock_delay_bucket(((uint64_t)1 << i) - 1), i);
  }
  assert_int_equal(clock_delay_bucket((uint64_t)1 << (WODAN_DELAY_BUCKETS - 2)), WODAN_DELAY_BUCKETS - 1);
  assert_int_equal(clock_delay_bucket(UINT64_MAX), WODAN_DELAY_BUCKETS - 1);
}

static void test_percentile__of_nothing_is_zero(void **state) {
  (void)state;
  struct wodan_stats stats = {.size = sizeof stats, .put_delay_max = 7};
  assert_int_equal(wodan_delay_percentile(&stats, 50), 0);
  assert_int_equal(wodan_delay_percentile(NULL, 50), 0);
}

/* 900 commits without delay, 90 of 2^9 .. 2^10 ns, 9 of 2^19 .. 2^20 ns, one of 5 ms. */
static struct wodan_stats thousand(void) {
  struct wodan_stats stats = {.size = sizeof stats, .put_delay_max = 5000000};
  stats.put_delays[0] = 900;
  stats.put_delays[clock_delay_bucket(1000)] = 90;
  stats.put_delays[clock_delay_bucket(1000000)] = 9;
  stats.put_delays[clock_delay_bucket(5000000)] = 1;
  return stats;
}

static void test_percentile__upper_edge_of_the_bucket(void **state) {
  (void)state;
  struct wodan_stats stats = thousand();
  assert_int_equal(wodan_delay_percentile(&stats, 0), 0);
  assert_int_equal(wodan_delay_percentile(&stats, 50), 0);
  assert_int_equal(wodan_delay_percentile(&stats, 90), 0);
  assert_int_equal(wodan_delay_percentile(&stats, 90.1), 1024);
  assert_int_equal(wodan_delay_percentile(&stats, 99), 1024);
  assert_int_equal(wodan_delay_percentile(&stats, 99.9), 1 << 20);
  assert_int_equal(wodan_delay_percentile(&stats, 99.91), 5000000); /* not 2^23: nothing was above the longest */
  assert_int_equal(wodan_delay_percentile(&stats, 100), 5000000);
}

static void test_percentile__any_number_is_taken(void **state) {
  (void)state;
  struct wodan_stats stats = thousand();
  assert_int_equal(wodan_delay_percentile(&stats, -5), 0);
  assert_int_equal(wodan_delay_percentile(&stats, 1e300), 5000000);
  double zero = 0;
  assert_int_equal(wodan_delay_percentile(&stats, zero / zero), 0);
}

static void test_percentile__the_last_bucket_ends_at_the_longest(void **state) {
  (void)state;
  struct wodan_stats stats = {.size = sizeof stats, .put_delay_max = UINT64_MAX - 1};
  stats.put_delays[WODAN_DELAY_BUCKETS - 1] = 1;
  assert_true(wodan_delay_percentile(&stats, 50) == UINT64_MAX - 1);
}

static void test_percentile__a_struct_without_the_histogram_has_none(void **state) {
  (void)state;
  struct wodan_stats stats = thousand();
  stats.size = (uint32_t)offsetof(struct wodan_stats, put_delays);
  assert_int_equal(wodan_delay_percentile(&stats, 100), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_clock__the_hook_is_asked),
      cmocka_unit_test(test_clock__the_system_never_goes_back),
      cmocka_unit_test(test_clock__bucket_edges),
      cmocka_unit_test(test_percentile__of_nothing_is_zero),
      cmocka_unit_test(test_percentile__upper_edge_of_the_bucket),
      cmocka_unit_test(test_percentile__any_number_is_taken),
      cmocka_unit_test(test_percentile__the_last_bucket_ends_at_the_longest),
      cmocka_unit_test(test_percentile__a_struct_without_the_histogram_has_none),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
