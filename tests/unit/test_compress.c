/* LZ4 as the codec has it: what comes back, the rule of when it is worth it, its memory, and blocks nobody wrote. Random
 * bytes come from a seed that a failure names; WODAN_SEED replays it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>
#include "codec/compress.h"
#include "codec/stretch.h"
#include "support/random.h"

enum { PAGE_MAX = 16384 };
static const enum compression LEVELS[] = {COMPRESSION_FAST, COMPRESSION_HIGH};

static uint64_t start_seed(void) {
  const char *text = getenv("WODAN_SEED");
  return text ? strtoull(text, NULL, 0) : 20261129;
}

/* Words of a small vocabulary, with `noise` of 256 bytes random: 0 packs well, 256 not at all. */
static void fill(uint8_t *out, size_t size, unsigned noise, uint64_t *random) {
  static const char WORDS[] = "{\"name\": \"user\", \"balance\": 0, \"active\": true, \"tags\": [\"alpha\", \"beta\"]}";
  for (size_t i = 0; i < size; i++)
    out[i] = random_below(random, 256) < noise ? (uint8_t)random_next(random)
                                               : (uint8_t)WORDS[(i + i / 700) % (sizeof WORDS - 1)];
}

/* Memory of exactly so many bytes, so that a sanitizer sees the first one behind them. */
static uint8_t *exact(const uint8_t *bytes, size_t size) {
  uint8_t *copy = malloc(size ? size : 1);
  assert_non_null(copy);
  if (bytes) memcpy(copy, bytes, size);
  return copy;
}

/* ---- there and back ---------------------------------------------------------------------------------------------- */

static size_t pack_and_back(struct compressor *compressor, enum compression how, const uint8_t *bytes, size_t size) {
  const uint8_t *packed = NULL;
  size_t length = compressor_pack(compressor, how, bytes, size, &packed);
  if (!length) return 0;
  assert_true(length * 100 <= size * 88);
  uint8_t *stored = exact(packed, length), *out = exact(NULL, size);
  assert_true(compress_unpack(stored, length, out, size));
  assert_memory_equal(out, bytes, size);
  free(stored);
  free(out);
  return length;
}

static void test_compress__every_page_comes_back(void **state) {
  (void)state;
  uint64_t seed = start_seed(), random = seed;
  static uint8_t bytes[PAGE_MAX];
  size_t packed[2] = {0}, whole[2] = {0}, total[2] = {0};
  for (unsigned l = 0; l < 2; l++) {
    struct mem mem;
    mem_init(&mem, NULL);
    struct compressor *compressor = compressor_create(&mem, LEVELS[l], PAGE_MAX);
    assert_non_null(compressor);
    for (unsigned i = 0; i < 400; i++) {
      size_t size = i < 40 ? i : 1 + (size_t)random_below(&random, PAGE_MAX);
      fill(bytes, size, (unsigned)random_below(&random, 300), &random);
      size_t length = pack_and_back(compressor, LEVELS[l], bytes, size);
      total[l]++;
      if (length) packed[l] += length, whole[l] += size;
    }
    compressor_free(compressor);
    assert_int_equal(mem_used(&mem), 0);
  }
  print_message("seed %llu: fast %zu of %zu bytes, high %zu of %zu\n", (unsigned long long)seed, packed[0], whole[0],
                packed[1], whole[1]);
  assert_true(whole[0] > 400000 && packed[0] < whole[0] / 10 * 8);
}

/* A state that is reset and not cleared must not look back into the page before, nor be taken for one of the other way. */
static void test_compress__pages_do_not_depend_on_each_other(void **state) {
  (void)state;
  uint64_t random = start_seed();
  static uint8_t bytes[2][4096];
  for (unsigned l = 0; l < 2; l++) {
    struct mem mem;
    mem_init(&mem, NULL);
    struct compressor *used = compressor_create(&mem, COMPRESSION_HIGH, 4096), *fresh;
    for (unsigned i = 0; i < 60; i++) {
      const uint8_t *packed, *again;
      fill(bytes[i % 2], 4096, i % 5 == 4 ? 256 : 20, &random); /* now and then one that does not pack */
      size_t length = compressor_pack(used, LEVELS[l], bytes[i % 2], 4096, &packed);
      assert_non_null(fresh = compressor_create(&mem, LEVELS[l], 4096));
      assert_int_equal(compressor_pack(fresh, LEVELS[l], bytes[i % 2], 4096, &again), length);
      if (length) assert_memory_equal(packed, again, length);
      if (i % 7 == 3)
        compressor_pack(used, LEVELS[1 - l], bytes[(i + 1) % 2], 4096, &packed); /* the other way between */
      assert_int_equal(length != 0, i % 5 != 4);
      compressor_free(fresh);
    }
    compressor_free(used);
    assert_int_equal(mem_used(&mem), 0);
  }
}

/* The page that just gains enough packs, the one with a byte more of noise does not. */
static void test_compress__what_gains_too_little_stays(void **state) {
  (void)state;
  static uint8_t bytes[2048];
  uint64_t random = start_seed();
  for (unsigned l = 0; l < 2; l++) {
    struct mem mem;
    mem_init(&mem, NULL);
    struct compressor *compressor = compressor_create(&mem, LEVELS[l], sizeof bytes);
    size_t longest = 0, noise = 0;
    for (; noise <= sizeof bytes; noise++) { /* so many random bytes, then one byte over and over */
      memset(bytes, 'x', sizeof bytes);
      for (size_t i = 0; i < noise; i++) bytes[i] = (uint8_t)random_next(&random);
      size_t length = pack_and_back(compressor, LEVELS[l], bytes, sizeof bytes);
      if (!length) break;
      if (length > longest) longest = length;
    }
    assert_true(noise < sizeof bytes);
    assert_int_equal(longest, sizeof bytes - (sizeof bytes * 12 + 99) / 100); /* reached, to the byte */
    const uint8_t *packed;
    assert_int_equal(compressor_pack(compressor, LEVELS[l], bytes, 0, &packed), 0);
    compressor_free(compressor);
  }
}

static void test_compress__takes_the_memory_it_tells_and_no_more(void **state) {
  (void)state;
  assert_int_equal(compressor_memory(COMPRESSION_OFF, PAGE_MAX), 0);
  for (unsigned l = 0; l < 2; l++)
    for (size_t page = 512; page <= PAGE_MAX; page *= 2) {
      struct mem mem;
      mem_init(&mem, NULL);
      mem.limit = compressor_memory(LEVELS[l], page) - 1;
      assert_null(compressor_create(&mem, LEVELS[l], page));
      mem.limit++;
      struct compressor *compressor = compressor_create(&mem, LEVELS[l], page);
      assert_non_null(compressor);
      assert_int_equal(mem_used(&mem), mem.limit);
      static uint8_t bytes[2 * PAGE_MAX];
      const uint8_t *packed;
      assert_true(compressor_pack(compressor, LEVELS[l], bytes, page, &packed) > 0); /* none left, none needed */
      assert_int_equal(compressor_pack(compressor, LEVELS[l], bytes, page + 1, &packed),
                       0); /* more than it was made for */
      compressor_free(compressor);
    }
}

/* ---- bytes nobody packed ------------------------------------------------------------------------------------------ */

/* Whatever comes out has the size asked for; a sanitizer watches both ends. Returns whether something did. */
static bool try_unpack(const uint8_t *bytes, size_t length, size_t size) {
  uint8_t *stored = exact(bytes, length), *out = exact(NULL, size);
  bool good = compress_unpack(stored, length, out, size);
  free(stored);
  free(out);
  return good;
}

/* So much memory, behind which there is none. */
static uint8_t *memory_end(size_t size) {
  enum { ROOM = 1 << 16, BEYOND = 1 << 16 };
  static uint8_t *room;
  if (!room) {
    room = mmap(NULL, ROOM + BEYOND, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(room != MAP_FAILED && mprotect(room + ROOM, BEYOND, PROT_NONE) == 0);
  }
  assert_true(size <= ROOM);
  return room + ROOM - size;
}

/* In one piece of memory: the answer is the same, and so are the bytes, also of blocks of which some bytes were changed. */
static void test_compress__in_place_the_answer_is_the_same(void **state) {
  (void)state;
  uint64_t seed = start_seed(), random = seed;
  static uint8_t bytes[PAGE_MAX];
  unsigned good = 0, bad = 0;
  struct mem mem;
  mem_init(&mem, NULL);
  struct compressor *compressor = compressor_create(&mem, COMPRESSION_HIGH, PAGE_MAX);
  for (unsigned i = 0; i < 20000; i++) {
    size_t size = 64 + (size_t)random_below(&random, i % 50 ? 400 : PAGE_MAX - 64), room = compress_in_place(size);
    fill(bytes, size, i % 90, &random);
    const uint8_t *packed;
    size_t length = compressor_pack(compressor, LEVELS[i % 2], bytes, size, &packed);
    if (!length) continue;
    uint8_t *apart = exact(packed, length), *out = exact(NULL, size), *shared = memory_end(room);
    for (unsigned k = 0; k < i % 4; k++) apart[random_below(&random, length)] = (uint8_t)random_next(&random);
    memcpy(shared + room - length, apart, length);
    bool whole = compress_unpack(apart, length, out, size);
    if (compress_unpack(shared + room - length, length, shared, size) != whole)
      fail_msg("WODAN_SEED=%llu: block %u: apart it was %s", (unsigned long long)seed, i, whole ? "whole" : "not");
    if (whole) assert_memory_equal(shared, out, size);
    *(whole ? &good : &bad) += 1;
    free(apart);
    free(out);
  }
  compressor_free(compressor);
  for (size_t length = 1; length < 40; length++) { /* lengths that go on and on */
    uint8_t *shared = memory_end(compress_in_place(64));
    memset(shared + compress_in_place(64) - length, 255, length);
    assert_false(compress_unpack(shared + compress_in_place(64) - length, length, shared, 64));
  }
  print_message("%u whole, %u not\n", good, bad);
  assert_true(good > 4000 && bad > 1000);
}

static void test_compress__hostile_blocks_stay_inside(void **state) {
  (void)state;
  uint64_t seed = start_seed(), random = seed;
  static uint8_t bytes[2048];
  struct mem mem;
  const uint8_t *packed;
  mem_init(&mem, NULL);
  struct compressor *compressor = compressor_create(&mem, COMPRESSION_FAST, sizeof bytes);
  fill(bytes, sizeof bytes, 30, &random);
  size_t length = compressor_pack(compressor, COMPRESSION_FAST, bytes, sizeof bytes, &packed), good = 0;
  assert_true(length > 100);
  uint8_t *block = exact(packed, length);
  for (size_t bit = 0; bit < length * 8; bit++) {
    block[bit / 8] ^= (uint8_t)(1u << bit % 8);
    good += try_unpack(block, length, sizeof bytes);
    block[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  print_message("seed %llu: %zu of %zu flips still unpack to the size\n", (unsigned long long)seed, good, length * 8);
  assert_true(good < length * 8);
  for (size_t cut = 0; cut < length; cut++) assert_false(try_unpack(block, cut, sizeof bytes));
  for (size_t size = 0; size < sizeof bytes + 64; size++) /* a size that lies */
    assert_int_equal(try_unpack(block, length, size), size == sizeof bytes);
  for (unsigned i = 0; i < 4000; i++) {
    size_t n = (size_t)random_below(&random, 300);
    for (size_t at = 0; at < n; at++) bytes[at] = (uint8_t)(random_next(&random) >> (i % 8));
    try_unpack(bytes, n, (size_t)random_below(&random, 3000));
  }
  free(block);
  compressor_free(compressor);
}

/* ---- in exactly so many bytes ------------------------------------------------------------------------------------ */

/* Each length from what it packs to up to what would gain too little, as far as there is a way; the output ends there. */
static unsigned stretch_to_all(const uint8_t *packed, size_t length, const uint8_t *bytes, size_t size, size_t step) {
  unsigned missed = 0;
  uint8_t *back = exact(NULL, size);
  for (size_t target = length; target <= size * 88 / 100; target += step) {
    uint8_t *out = exact(NULL, target);
    if (stretch_block(packed, length, bytes, out, target)) {
      assert_true(compress_unpack(out, target, back, size));
      assert_memory_equal(back, bytes, size);
    } else {
      missed++;
    }
    free(out);
  }
  free(back);
  return missed;
}

static void test_compress__a_block_becomes_as_long_as_is_asked(void **state) {
  (void)state;
  static const unsigned NOISE[] = {0, 3, 16, 40, 100};
  uint64_t seed = start_seed(), random = seed;
  static uint8_t bytes[PAGE_MAX];
  unsigned missed = 0, asked = 0;
  struct mem mem;
  mem_init(&mem, NULL);
  struct compressor *compressor = compressor_create(&mem, COMPRESSION_HIGH, PAGE_MAX);
  for (unsigned i = 0; i < 60; i++) {
    size_t size = 64 + (size_t)random_below(&random, i % 3 ? 2000 : PAGE_MAX - 64), step = 1 + size / 200;
    fill(bytes, size, NOISE[i % 5], &random);
    if (i % 4 == 3) memset(bytes + size / 4, 0, size / 2); /* as of values that were blanked */
    const uint8_t *packed;
    size_t length = compressor_pack(compressor, LEVELS[i % 2], bytes, size, &packed);
    if (!length) continue;
    assert_false(stretch_block(packed, length, bytes, bytes, length - 1));
    missed += stretch_to_all(packed, length, bytes, size, step);
    asked += (unsigned)((size - length) / step);
  }
  memset(bytes, 0, sizeof bytes);
  for (size_t size = 64; size <= PAGE_MAX; size = size * 3 / 2) { /* as chunks of large values: one match */
    const uint8_t *packed;
    size_t length = compressor_pack(compressor, COMPRESSION_HIGH, bytes, size, &packed);
    assert_int_equal(stretch_to_all(packed, length, bytes, size, 1), 0);
  }
  compressor_free(compressor);
  print_message("seed %llu: %u of %u lengths cannot be had\n", (unsigned long long)seed, missed, asked);
  assert_true(asked > 2000 && missed < asked / 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_compress__every_page_comes_back),
      cmocka_unit_test(test_compress__pages_do_not_depend_on_each_other),
      cmocka_unit_test(test_compress__what_gains_too_little_stays),
      cmocka_unit_test(test_compress__takes_the_memory_it_tells_and_no_more),
      cmocka_unit_test(test_compress__hostile_blocks_stay_inside),
      cmocka_unit_test(test_compress__in_place_the_answer_is_the_same),
      cmocka_unit_test(test_compress__a_block_becomes_as_long_as_is_asked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
