/* What: keys, values and orders of the benchmark.
 *
 * Always true: two different indexes never share a key; the set of keys depends on N, the key size and the seed only,
 * so fillseq and fillrandom leave the same records.
 *
 * Order: none that matters; read-only after init, so threads share it.
 *
 * See: tests/unit/test_text_formats.c (ascending keys, the shuffle is a permutation). */
#include "bench_records.h"

#include <assert.h>
#include <string.h>

/* A bijection of 64 bits that spreads every input bit (two multiply-xorshift rounds). */
static uint64_t mix(uint64_t x) {
  x += UINT64_C(0x9e3779b97f4a7c15);
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

void bench_records_init(struct bench_records *records, uint64_t num, uint32_t key_size, uint32_t value_size,
                        uint64_t seed) {
  assert(num >= 1 && num <= UINT64_C(1) << 62);
  assert(key_size >= BENCH_KEY_SIZE_MIN && key_size <= BENCH_KEY_SIZE_MAX && value_size <= BENCH_VALUE_SIZE_MAX);
  *records = (struct bench_records){.num = num, .seed = seed, .key_size = key_size, .value_size = value_size};
  records->stride = UINT64_MAX / num;
  records->half_bits = 1;
  while ((UINT64_C(1) << (2 * records->half_bits)) < num) records->half_bits++;
}

/* Fills with random bytes that depend on state. */
static void fill_random(uint64_t state, unsigned char *bytes, size_t size) {
  for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
    uint64_t random = mix(state + i);
    memcpy(bytes + i, &random, size - i < sizeof random ? size - i : sizeof random);
  }
}

void bench_records_key(const struct bench_records *records, uint64_t index, bool absent, unsigned char *key) {
  assert(index < records->num);
  uint64_t number = index * records->stride + (absent ? 1 : 0);
  for (unsigned i = 0; i < 8; i++) key[i] = (unsigned char)(number >> (56 - 8 * i));
  fill_random(mix(number ^ records->seed), key + 8, records->key_size - 8);
}

void bench_records_value(const struct bench_records *records, uint64_t index, unsigned char *value) {
  size_t half = (records->value_size + 1) / 2;
  fill_random(mix(mix(records->seed) ^ index), value, half);
  memcpy(value + half, value, records->value_size - half);
}

uint64_t bench_records_shuffle(const struct bench_records *records, uint64_t position) {
  assert(position < records->num);
  uint64_t mask = (UINT64_C(1) << records->half_bits) - 1;
  uint64_t x = position;
  do { /* a Feistel network permutes 0 .. 4^half_bits - 1; walking on until inside keeps it a permutation of 0 .. N-1 */
    uint64_t left = x >> records->half_bits;
    uint64_t right = x & mask;
    for (uint64_t round = 0; round < 4; round++) {
      uint64_t next = left ^ (mix(right ^ mix(records->seed + round)) & mask);
      left = right;
      right = next;
    }
    x = left << records->half_bits | right;
  } while (x >= records->num);
  return x;
}

uint64_t bench_records_random(const struct bench_records *records, uint64_t operation, uint64_t limit) {
  assert(limit > 0);
  return mix(mix(records->seed ^ UINT64_C(0x52616e646f6d)) + operation) % limit;
}
