/* What repair, salvage and a copy refuse, without a write: arguments, devices, roots that are not there, hooks that fail. And the
 * ranges of lost keys that they keep: whatever comes, no lost key is forgotten. */
#include "repair_rig.h"

#include "repair/damage.h"

static const struct volume_recipe small = {
    .size = 64 << 10, .block = 512, .keys = 60, .value = 40, .rounds = 2, .killed = true};

/* ---- refusals ------------------------------------------------------------------------------------------------------- */

static int one_byte(void *context, void *buffer, size_t size) {
  (void)context;
  memset(buffer, 0x5A, size);
  return 0;
}

static int no_random(void *context, void *buffer, size_t size) {
  (void)context, (void)buffer, (void)size;
  return WODAN_EIO;
}

/* The answer, in these words; nothing was written. */
static void refuses(struct rig *rig, const struct wodan_repair_options *options, int status, const char *words) {
  struct wodan_device *device = store_open(&rig->store);
  struct wodan_repair_report report;
  struct wodan_error error;
  struct store before = store_copy(&rig->store);
  int got = wodan_repair(device, options, &report, &error);
  if (got != status || !strstr(error.message, words)) fail_msg("%d, %s; not %d, %s", got, error.message, status, words);
  assert_memory_equal(rig->store.bytes, before.bytes, before.size);
  store_free(&before);
  wodan_device_close(device);
}

static void test_repair_refusals__arguments(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_repair_report report;
  struct wodan_salvage_report salvaged;
  rig_build(&rig, &small);
  struct wodan_device *device = store_open(&rig.store), *other = store_open(&rig.store);
  assert_int_equal(wodan_repair(NULL, NULL, &report, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_repair(device, NULL, NULL, NULL), WODAN_EINVAL);
  const struct wodan_salvage_options shorter = {.size = 8};
  assert_int_equal(wodan_salvage(NULL, other, NULL, &salvaged, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_salvage(device, NULL, NULL, &salvaged, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_salvage(device, other, NULL, NULL, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_salvage(device, device, NULL, &salvaged, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_salvage(device, other, &shorter, &salvaged, NULL), WODAN_EINVAL);
  wodan_device_close(device);
  wodan_device_close(other);
  refuses(&rig, &(struct wodan_repair_options){.size = 8}, WODAN_EINVAL, "options of size 8");
  refuses(&rig, &(struct wodan_repair_options){.allowed = WODAN_REPAIR_LOSSY + 1}, WODAN_EINVAL, "only safe or lossy");
  refuses(&rig, &(struct wodan_repair_options){.generation = 7, .allowed = WODAN_REPAIR_SAFE}, WODAN_EINVAL,
          "another root only with lossy");
  store_free(&rig.store);
}

static void test_repair_refusals__a_root_that_is_not_there(void **state) {
  (void)state;
  struct rig rig;
  rig_build(&rig, &small);
  refuses(&rig, &(struct wodan_repair_options){.generation = UINT64_MAX, .allowed = WODAN_REPAIR_LOSSY},
          WODAN_ENOTFOUND, "no root of generation 18446744073709551615");
  store_free(&rig.store);
}

static void test_repair_refusals__a_device_that_cannot_be_written_or_read_so(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_repair_report report;
  struct wodan_error error;
  rig_build(&rig, &small);
  struct wodan_device *device = store_open(&rig.store);
  device->geometry.read_only = 1;
  struct store before = store_copy(&rig.store);
  const struct wodan_repair_options dry = {.dry_run = 1, .hooks = {.random = one_byte}};
  assert_int_equal(wodan_repair(device, NULL, &report, &error), WODAN_EREADONLY);
  assert_int_equal(wodan_repair(device, &dry, &report, &error), 0); /* which writes nothing */
  wodan_device_close(device);
  rig.store.sector = 4096;
  refuses(&rig, NULL, WODAN_EINVAL, "sectors of 4096 bytes");
  assert_memory_equal(rig.store.bytes, before.bytes, before.size);
  store_free(&before);
  store_free(&rig.store);
}

/* One byte of every leaf and run wrong, so that there is something to write. */
static void test_repair_refusals__without_random_bytes_nothing_is_written(void **state) {
  (void)state;
  struct rig rig;
  rig_build(&rig, &small);
  uint64_t rotten = 0;
  for (uint64_t at = 0; at < rig.store.size; at += 512)
    if (memcmp(rig.store.bytes + at + 8, "WRUN", 4) == 0) rig.store.bytes[at + 20] ^= 1, rotten++;
  assert_true(rotten > 0);
  refuses(&rig, &(struct wodan_repair_options){.allowed = WODAN_REPAIR_LOSSY, .hooks = {.random = no_random}},
          WODAN_EIO, "no random bytes");
  store_free(&rig.store);
}

/* ---- ranges of lost keys ---------------------------------------------------------------------------------------------- */

enum { PLACES = 8192 };

static struct wodan_slice place(unsigned n, char out[8]) {
  return (struct wodan_slice){out, (size_t)snprintf(out, 8, "%05u", n)};
}

/* Many more ranges than are kept, of all lengths, now and then without an end: what was lost stays so, in the memory of
 * SPANS_MAX. */
static void lose_and_ask(uint64_t seed, unsigned ranges, unsigned longest) {
  static bool lost[PLACES];
  struct spans spans = {0};
  struct mem mem;
  uint64_t random = seed;
  memset(lost, 0, sizeof lost);
  mem_init(&mem, NULL);
  spans.mem = &mem;
  for (unsigned i = 0; i < ranges; i++) {
    char low[8], high[8];
    unsigned from = (unsigned)random_below(&random, PLACES), to = from + 1 + (unsigned)random_below(&random, longest);
    struct span span = {.has_lower = true, .has_upper = true};
    if (i == ranges / 2 && longest > 100) from = 0, span.has_lower = false;
    if (i == ranges / 3 && longest > 100) to = PLACES, span.has_upper = false;
    if (to > PLACES) to = PLACES;
    if (span.has_lower) span.lower = place(from, low);
    if (span.has_upper) span.upper = place(to, high);
    assert_int_equal(spans_add(&spans, &span, NULL), 0);
    assert_true(spans.count <= SPANS_MAX);
    for (unsigned k = from; k < to; k++) lost[k] = true;
  }
  spans_sort(&spans);
  for (unsigned k = 0; k < PLACES; k++) {
    char key[8];
    bool held = spans_hold(&spans, place(k, key));
    if (lost[k] && !held) fail_msg("seed %llu: key %05u was lost and is forgotten", (unsigned long long)seed, k);
    if (ranges <= SPANS_MAX && held && !lost[k])
      fail_msg("seed %llu: key %05u was not lost", (unsigned long long)seed, k);
  }
  for (size_t i = 1; i < spans.count; i++) assert_true(key_compare(spans.at[i - 1].upper, spans.at[i].lower) < 0);
  spans_release(&spans);
  assert_int_equal(mem.used, 0);
}

static void test_repair_refusals__no_lost_key_is_forgotten(void **state) {
  (void)state;
  static const unsigned longest[] = {1, 3, 40, 2000};
  for (uint64_t seed = 1; seed <= 3; seed++)
    for (size_t i = 0; i < sizeof longest / sizeof *longest; i++) {
      lose_and_ask(seed, 500, longest[i]);
      lose_and_ask(seed, 5000, longest[i]);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_repair_refusals__arguments),
      cmocka_unit_test(test_repair_refusals__a_root_that_is_not_there),
      cmocka_unit_test(test_repair_refusals__a_device_that_cannot_be_written_or_read_so),
      cmocka_unit_test(test_repair_refusals__without_random_bytes_nothing_is_written),
      cmocka_unit_test(test_repair_refusals__no_lost_key_is_forgotten),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
