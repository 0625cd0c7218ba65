/* The records a benchmark works with: N keys in ascending order, a value for each, and a random order over them, all
 * derived from N, the sizes and the seed, so that every read can be verified. */
#ifndef WODAN_CLI_BENCH_RECORDS_H
#define WODAN_CLI_BENCH_RECORDS_H

#include <stdbool.h>
#include <stdint.h>
#include <wodan/types.h>

enum { BENCH_KEY_SIZE_MIN = 8, BENCH_KEY_SIZE_MAX = 2048, BENCH_VALUE_SIZE_MAX = 64 * 1024 };

struct bench_records {
  uint64_t num;    /* N, 1 .. 2^62 */
  uint64_t stride; /* distance of the numbers in neighbouring keys, at least 2 */
  uint64_t seed;
  uint32_t key_size;   /* bytes, within the limits above */
  uint32_t value_size; /* bytes, at most the limit above */
  uint32_t half_bits;  /* of the permutation */
};

void bench_records_init(struct bench_records *records, uint64_t num, uint32_t key_size, uint32_t value_size,
                        uint64_t seed);

/* Key number index (below N) into key_size bytes: ascending in index. With absent, a key between this one and the
 * next, which is none of the N. */
void bench_records_key(const struct bench_records *records, uint64_t index, bool absent, unsigned char *key);

/* The value of that key into value_size bytes; its second half repeats the first. */
void bench_records_value(const struct bench_records *records, uint64_t index, unsigned char *value);

/* Position (below N) in random order to index: a permutation of 0..N-1. */
uint64_t bench_records_shuffle(const struct bench_records *records, uint64_t position);

/* A random index below limit for operation number `operation`: independent of how operations are dealt to threads. */
uint64_t bench_records_random(const struct bench_records *records, uint64_t operation, uint64_t limit);

#endif
