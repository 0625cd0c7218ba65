/* Owns: the one use of the operating system's clock, and the buckets that delays are counted in.
 * Always true: a clock that fails reads 0, so a delay is told as none; every delay has a bucket.
 * See: include/wodan/stats.h; tests/unit/test_clock.c. */
#include "base/clock.h"

#include <time.h>
#include <wodan/stats.h>

uint64_t clock_now(const struct wodan_hooks *hooks) {
  if (hooks && hooks->now) return hooks->now(hooks->context);
  struct timespec now;
  if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) return 0;
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

unsigned clock_delay_bucket(uint64_t nanoseconds) {
  unsigned bucket = 0;
  while (nanoseconds && bucket < WODAN_DELAY_BUCKETS - 1) {
    nanoseconds >>= 1;
    bucket++;
  }
  return bucket;
}
