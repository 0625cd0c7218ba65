/* wodan_compact and the two open flags around maintenance, as the public API promises them: records unchanged, no run left
 * in what was compacted, budgets, bounds, and a write that says it needs a checkpoint before it changes anything. */
#include "engine_rig.h"

enum { KEYS = 4000, VALUE = 64 };

/* A tree with buffered runs: every key twice, in two random orders. */
static void fill(struct rig *rig) {
  uint64_t seed = 0x5EED;
  print_message("seed %llx\n", (unsigned long long)seed);
  for (uint64_t v = 1; v <= 2; v++)
    for (uint64_t n = 0; n < KEYS; n++) assert_done(rig->db, put_number(rig->db, (n * 2654435761u) % KEYS, v, VALUE));
  for (uint64_t n = 0; n < KEYS / 10; n++)
    assert_done(rig->db, put_number(rig->db, random_below(&seed, KEYS), 2, VALUE));
  assert_done(rig->db, wodan_checkpoint(rig->db, NULL));
}

static void start(struct rig *rig) {
  struct wodan_format_options format = {
      .block_size = 512, .page_size = 512, .memtable_size = 16 << 10, .leaf_size = 8 << 10};
  rig_start(rig, 4 << 20, &format);
  fill(rig);
}

static void judge(struct rig *rig) {
  struct wodan_cursor *cursor;
  for (uint64_t i = 0; i < KEYS; i++) assert_number(rig->db, NULL, i, 2, VALUE);
  assert_done(rig->db, wodan_cursor_open(rig->db, NULL, &cursor));
  uint64_t count = 0;
  for (int status = wodan_cursor_first(cursor); status == 0; status = wodan_cursor_next(cursor)) count++;
  wodan_cursor_close(cursor);
  assert_int_equal(count, KEYS);
}

static void test_compact__leaves_no_runs_and_every_record(void **state) {
  (void)state;
  struct rig rig;
  uint32_t more = 7;
  start(&rig);
  assert_true(rig_stats(rig.db).runs > 0); /* else there is nothing to test */
  assert_done(rig.db, wodan_compact(rig.db, NULL, NULL, 0, &more));
  assert_int_equal(more, 0);
  assert_int_equal(rig_stats(rig.db).runs, 0);
  judge(&rig);
  rig_reopen(&rig);
  assert_int_equal(rig_stats(rig.db).runs, 0);
  judge(&rig);
  rig_end(&rig);
}

/* What is in memtables counts as buffered. */
static void test_compact__takes_the_memtables_along(void **state) {
  (void)state;
  struct rig rig;
  start(&rig);
  for (uint64_t i = 0; i < 10; i++) assert_done(rig.db, put_number(rig.db, i, 2, VALUE));
  assert_done(rig.db, wodan_compact(rig.db, NULL, NULL, 0, NULL));
  assert_int_equal(rig_stats(rig.db).records_buffered, 0);
  assert_int_equal(rig_stats(rig.db).runs, 0);
  judge(&rig);
  rig_end(&rig);
}

static void test_compact__in_steps_comes_to_an_end(void **state) {
  (void)state;
  struct rig rig;
  start(&rig);
  uint32_t more = 1, calls = 0;
  while (more && calls++ < 1000) assert_done(rig.db, wodan_compact(rig.db, NULL, NULL, 4096, &more));
  assert_int_equal(more, 0);
  assert_int_equal(rig_stats(rig.db).runs, 0);
  judge(&rig);
  rig_end(&rig);
}

static void test_compact__of_ranges_changes_no_record(void **state) {
  (void)state;
  struct rig rig;
  char a[32], b[32];
  start(&rig);
  for (uint64_t at = 0; at < KEYS; at += KEYS / 8) {
    struct wodan_slice lower = key_number(at, a), upper = key_number(at + KEYS / 8, b);
    assert_done(rig.db, wodan_compact(rig.db, at ? &lower : NULL, at ? &upper : &lower, 0, NULL));
    assert_done(rig.db, wodan_compact(rig.db, &lower, &upper, 0, NULL));
    judge(&rig);
  }
  rig_end(&rig);
}

static void test_compact__an_empty_range_is_done_at_once(void **state) {
  (void)state;
  struct rig rig;
  char a[32], b[32];
  start(&rig);
  struct wodan_slice lower = key_number(10, a), upper = key_number(9, b);
  struct wodan_stats before = rig_stats(rig.db);
  uint32_t more = 7;
  assert_done(rig.db, wodan_compact(rig.db, &lower, &lower, 0, &more));
  assert_done(rig.db, wodan_compact(rig.db, &lower, &upper, 0, &more));
  assert_int_equal(more, 0);
  struct wodan_stats after = rig_stats(rig.db);
  assert_int_equal(after.device_writes, before.device_writes);
  rig_end(&rig);
}

static void test_compact__bounds_are_keys(void **state) {
  (void)state;
  struct rig rig;
  static const uint8_t zeros[4096];
  uint32_t more = 7;
  start(&rig);
  struct wodan_slice empty = {0}, huge = {zeros, rig_info(rig.db).key_size_max + 1}, key = sl("key");
  assert_int_equal(wodan_compact(NULL, NULL, NULL, 0, &more), WODAN_EINVAL);
  assert_int_equal(more, 0);
  assert_int_equal(wodan_compact(rig.db, &empty, NULL, 0, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_compact(rig.db, NULL, &empty, 0, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_compact(rig.db, &huge, NULL, 0, NULL), WODAN_ETOOBIG);
  assert_int_equal(wodan_compact(rig.db, &key, &huge, 0, NULL), WODAN_ETOOBIG);
  rig_end(&rig);
}

static void test_compact__a_handle_that_reads_refuses(void **state) {
  (void)state;
  struct rig rig;
  start(&rig);
  rig_close(&rig);
  struct wodan_open_options options = rig_options(&rig);
  options.flags = WODAN_OPEN_READ_ONLY;
  rig_open_with(&rig, &options);
  assert_int_equal(wodan_compact(rig.db, NULL, NULL, 0, NULL), WODAN_EREADONLY);
  rig_end(&rig);
}

/* ---- flags -------------------------------------------------------------------------------------------------------- */

static void reopen_with(struct rig *rig, uint32_t flags) {
  struct wodan_open_options options = rig_options(rig);
  rig_close(rig);
  options.flags = flags;
  rig_open_with(rig, &options);
}

/* Puts key i; where it asks for a checkpoint nothing has changed, and one (or its successor) is enough. What the background
 * thread does meanwhile is its own affair. */
static int put_with_checkpoints(struct rig *rig, uint64_t i, uint64_t *asked) {
  for (int attempt = 0; attempt < 3; attempt++) {
    uint64_t sequence = rig_info(rig->db).sequence;
    int status = put_number(rig->db, i, 1, VALUE);
    if (status != WODAN_ENEEDSFLUSH) return status;
    assert_int_equal(rig_info(rig->db).sequence, sequence);
    assert_why(rig->db, WODAN_ENEEDSFLUSH, "wodan_checkpoint");
    ++*asked;
    assert_done(rig->db, wodan_checkpoint(rig->db, NULL));
  }
  fail_msg("key %llu: three checkpoints did not help", (unsigned long long)i);
  return 0;
}

static uint64_t fill_up(struct rig *rig, uint64_t *asked) {
  uint64_t i = 0;
  for (int status = 0; status == 0; i++) {
    status = put_with_checkpoints(rig, i, asked);
    if (status < 0) assert_int_equal(status, WODAN_ENOSPC);
  }
  return i - 1;
}

static void test_flags__no_auto_checkpoint_asks_before_any_change(void **state) {
  (void)state;
  uint64_t asked[2] = {0}, held[2];
  for (int manual = 0; manual < 2; manual++) {
    struct rig rig;
    struct wodan_format_options format = {.block_size = 512, .memtable_size = 8 << 10};
    rig_start(&rig, 512 << 10, &format);
    if (manual) reopen_with(&rig, WODAN_OPEN_NO_AUTO_CHECKPOINT);
    held[manual] = fill_up(&rig, &asked[manual]);
    for (uint64_t i = 0; i < held[manual]; i++) assert_number(rig.db, NULL, i, 1, VALUE);
    rig_end(&rig);
  }
  assert_int_equal(asked[0], 0);
  assert_true(asked[1] > 0);
  print_message("%llu records with own checkpoints, %llu with asked ones (%llu)\n", (unsigned long long)held[0],
                (unsigned long long)held[1], (unsigned long long)asked[1]);
  assert_in_range(held[1], held[0] * 9 / 10, held[0] * 11 / 10);
}

static void test_flags__inline_does_the_same_work(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_format_options format = {
      .block_size = 512, .page_size = 512, .memtable_size = 16 << 10, .leaf_size = 8 << 10};
  rig_start(&rig, 4 << 20, &format);
  reopen_with(&rig, WODAN_OPEN_INLINE);
  fill(&rig);
  judge(&rig);
  rig_end(&rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_compact__leaves_no_runs_and_every_record),
      cmocka_unit_test(test_compact__takes_the_memtables_along),
      cmocka_unit_test(test_compact__in_steps_comes_to_an_end),
      cmocka_unit_test(test_compact__of_ranges_changes_no_record),
      cmocka_unit_test(test_compact__an_empty_range_is_done_at_once),
      cmocka_unit_test(test_compact__bounds_are_keys),
      cmocka_unit_test(test_compact__a_handle_that_reads_refuses),
      cmocka_unit_test(test_flags__no_auto_checkpoint_asks_before_any_change),
      cmocka_unit_test(test_flags__inline_does_the_same_work),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
