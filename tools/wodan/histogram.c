/* What: the latency histogram of the benchmark.
 *
 * Always true: buckets are ordered by value and leave no gap; the middle of a bucket is within 1/128 of every value
 * in it.
 *
 * Order: none that matters; one thread adds, merging happens after the threads ended.
 *
 * See: tests/unit/test_text_formats.c (the quantiles of known values). */
#include "histogram.h"

#include <assert.h>

static unsigned bucket_of(uint64_t value) {
  if (value < HISTOGRAM_STEPS) return (unsigned)value;
  unsigned shift = 63U - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
  unsigned bucket = (shift + 1) * HISTOGRAM_STEPS + (unsigned)(value >> shift) - HISTOGRAM_STEPS;
  assert(bucket < HISTOGRAM_BUCKETS);
  return bucket;
}

static uint64_t middle_of(unsigned bucket) {
  if (bucket < HISTOGRAM_STEPS) return bucket;
  unsigned shift = bucket / HISTOGRAM_STEPS - 1;
  uint64_t low = (uint64_t)(bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS) << shift;
  return low + ((UINT64_C(1) << shift) >> 1);
}

void histogram_add(struct histogram *histogram, uint64_t value) {
  histogram->buckets[bucket_of(value)]++;
  histogram->count++;
  if (value > histogram->largest) histogram->largest = value;
}

void histogram_merge(struct histogram *into, const struct histogram *from) {
  for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) into->buckets[i] += from->buckets[i];
  into->count += from->count;
  if (from->largest > into->largest) into->largest = from->largest;
}

uint64_t histogram_quantile(const struct histogram *histogram, unsigned per_mille) {
  return histogram_quantile_ppm(histogram, per_mille * 1000);
}

uint64_t histogram_quantile_ppm(const struct histogram *histogram, unsigned ppm) {
  enum { MILLION = 1000000 };
  assert(ppm >= 1 && ppm <= MILLION);
  if (histogram->count == 0) return 0;
  uint64_t whole = histogram->count / MILLION * ppm;
  uint64_t wanted = whole + (histogram->count % MILLION * ppm + MILLION - 1) / MILLION; /* rank, from 1 */
  uint64_t seen = 0;
  for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
    seen += histogram->buckets[i];
    if (seen >= wanted) {
      uint64_t middle = middle_of(i);
      return middle < histogram->largest ? middle : histogram->largest;
    }
  }
  return histogram->largest;
}
