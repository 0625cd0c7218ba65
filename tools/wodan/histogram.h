/* Latencies counted in a log-scaled histogram: any 64-bit value, less than 1 % off, fixed memory. */
#ifndef WODAN_CLI_HISTOGRAM_H
#define WODAN_CLI_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEP_BITS = 6, HISTOGRAM_STEPS = 1 << HISTOGRAM_STEP_BITS };
enum { HISTOGRAM_BUCKETS = (64 - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS };

/* All-zero is empty. Values below 64 have a bucket each; above, every power of two is cut into 64 buckets. */
struct histogram {
  uint64_t count;
  uint64_t largest; /* exact */
  uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The value below or at which `per_mille` thousandths of the values lie; 0 when empty. per_mille 1..1000. */
uint64_t histogram_quantile(const struct histogram *histogram, unsigned per_mille);
/* The same in millionths, for the far tail. ppm 1..1000000. */
uint64_t histogram_quantile_ppm(const struct histogram *histogram, unsigned ppm);

#endif
