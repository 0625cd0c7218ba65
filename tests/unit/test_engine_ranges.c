/* Range deletes through the public API, on a device that counts: what is read and written for them, when space comes back,
 * what views and cursors see. See also: test_model.c, fuzz/api_model.c. */
#include "unit/engine_rig.h"

enum { RECORDS = 40000, VALUE = 100 };

static struct wodan_slice key_of(uint32_t n, char text[16]) {
  return (struct wodan_slice){text, (size_t)sprintf(text, "key%08u", n)};
}

static void put(struct rig *rig, uint32_t n, uint32_t version) {
  char text[16], value[VALUE];
  memset(value, 'a' + (int)(version % 26), sizeof value);
  assert_int_equal(wodan_put(rig->db, key_of(n, text), (struct wodan_slice){value, sizeof value}, NULL), 0);
}

static void erase(struct rig *rig, uint32_t from, uint32_t to) {
  char low[16], high[16];
  struct wodan_slice lower = key_of(from, low), upper = key_of(to, high);
  assert_int_equal(wodan_delete_range(rig->db, &lower, &upper, NULL), 0);
}

static bool is_there(struct rig *rig, struct wodan_view *view, uint32_t n) {
  char text[16], value[VALUE];
  size_t size;
  int status = wodan_get(rig->db, view, key_of(n, text), value, sizeof value, &size);
  assert_true(status == 0 || status == WODAN_ENOTFOUND);
  return status == 0;
}

static struct wodan_stats stats_of(struct rig *rig) {
  struct wodan_stats stats = {.size = sizeof stats};
  assert_int_equal(wodan_stats(rig->db, &stats), 0);
  return stats;
}

static void fill(struct rig *rig) {
  struct wodan_format_options format = {
      .page_size = 4096, .leaf_size = 64 << 10, .memtable_size = 256 << 10, .node_leaves = 8, .node_children = 4};
  rig_start(rig, 32 << 20, &format);
  for (uint32_t n = 0; n < RECORDS; n++) put(rig, n * 7919u % RECORDS, 0);
  assert_int_equal(wodan_compact(rig->db, NULL, NULL, 0, NULL), 0);
  assert_int_equal(wodan_checkpoint(rig->db, NULL), 0);
}

static uint32_t count_keys(struct rig *rig, struct wodan_view *view, bool back) {
  struct wodan_cursor *cursor;
  uint32_t count = 0;
  assert_int_equal(wodan_cursor_open(rig->db, view, &cursor), 0);
  int status = back ? wodan_cursor_last(cursor) : wodan_cursor_first(cursor);
  for (; status == 0; status = back ? wodan_cursor_prev(cursor) : wodan_cursor_next(cursor)) count++;
  assert_int_equal(status, WODAN_DONE);
  wodan_cursor_close(cursor);
  return count;
}

/* The promise: half of a tree goes, and of what lies wholly inside nothing is read. The leaves at the two ends may be: each is
 * at most a leaf's bytes, with its header and index. Before, 20000 deletes had every leaf read. */
static void test_ranges__half_a_tree_is_dropped_unread(void **state) {
  (void)state;
  struct rig rig;
  fill(&rig);
  rig_reopen(&rig); /* nothing is cached */
  struct wodan_stats before = stats_of(&rig);
  erase(&rig, RECORDS / 4, RECORDS / 4 * 3);
  for (uint32_t i = 0; i < 3;
       i++) { /* dropped before the first; two more make it free, when there is something to write */
    put(&rig, i, 0);
    assert_int_equal(wodan_checkpoint(rig.db, NULL), 0);
  }
  struct wodan_stats after = stats_of(&rig);
  uint64_t read = after.device_read_bytes - before.device_read_bytes, live = before.space_live;
  uint64_t written = after.device_write_bytes - before.device_write_bytes;
  print_message("%u levels, %u leaves; live %u KiB -> %u KiB; read %u KiB, written %u KiB\n", (unsigned)before.levels,
                (unsigned)before.leaves, (unsigned)(live >> 10), (unsigned)(after.space_live >> 10),
                (unsigned)(read >> 10), (unsigned)(written >> 10));
  assert_true(before.levels >= 3 && before.leaves > 60);
  assert_true(read <= 2 * (80 << 10));
  assert_true(after.space_live < live * 55 / 100);
  assert_true(after.space_free > before.space_free + live * 45 / 100);
  assert_int_equal(count_keys(&rig, NULL, false), RECORDS / 2);
  rig_end(&rig);
}

/* A view has all of it still, in both directions; what is put into the range afterwards is there; a reopen changes nothing. */
static void test_ranges__views_see_what_was(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_view *view;
  fill(&rig);
  assert_int_equal(wodan_view_open(rig.db, &view), 0);
  erase(&rig, 1000, 39000);
  put(&rig, 20000, 1);
  for (int round = 0; round < 3; round++) {
    assert_true(!is_there(&rig, NULL, 1000) && !is_there(&rig, NULL, 38999) && is_there(&rig, NULL, 20000));
    assert_true(is_there(&rig, NULL, 999) && is_there(&rig, NULL, 39000));
    assert_true(is_there(&rig, view, 1000) && is_there(&rig, view, 20001));
    for (int back = 0; back < 2; back++) {
      assert_int_equal(count_keys(&rig, NULL, back), 2001);
      assert_int_equal(count_keys(&rig, view, back), RECORDS);
    }
    assert_int_equal(wodan_checkpoint(rig.db, NULL), 0);
  }
  wodan_view_close(view);
  rig_reopen(&rig);
  assert_int_equal(count_keys(&rig, NULL, false), 2001);
  assert_true(!is_there(&rig, NULL, 1000) && is_there(&rig, NULL, 20000));
  rig_end(&rig);
}

/* A range of many leaves costs a cursor no more pages than none would. */
static void test_ranges__a_cursor_jumps_over_it(void **state) {
  (void)state;
  struct rig rig;
  fill(&rig);
  struct wodan_commit durable = {.durability = WODAN_DURABLE};
  char low[16], high[16];
  struct wodan_slice lower = key_of(10, low), upper = key_of(RECORDS - 10, high);
  assert_int_equal(wodan_delete_range(rig.db, &lower, &upper, &durable), 0);
  rig_reopen(&rig); /* nothing is cached */
  struct wodan_stats before = stats_of(&rig);
  assert_int_equal(count_keys(&rig, NULL, false), 20);
  assert_int_equal(count_keys(&rig, NULL, true), 20);
  struct wodan_stats after = stats_of(&rig);
  assert_true(after.pages_read - before.pages_read <= 8);
  rig_end(&rig);
}

static void test_ranges__ends_and_refusals(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_batch *batch;
  struct wodan_commit commit = {0};
  char text[16], long_key[4096];
  rig_start(&rig, 1 << 20, NULL);
  for (uint32_t n = 0; n < 10; n++) put(&rig, n, 0);
  struct wodan_slice five = key_of(5, text), empty = {"", 0}, too_long = {memset(long_key, 'x', 4096), 4096};
  assert_int_equal(wodan_delete_range(rig.db, &five, &five, &commit), 0);
  assert_int_equal(commit.sequence, 0);
  assert_int_equal(wodan_delete_range(rig.db, &empty, NULL, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_delete_range(rig.db, NULL, &too_long, NULL), WODAN_ETOOBIG);
  assert_int_equal(wodan_delete_range(NULL, NULL, NULL, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_batch_delete_range(NULL, NULL, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_delete_range(rig.db, NULL, &five, NULL), 0);
  assert_int_equal(count_keys(&rig, NULL, false), 5);
  assert_int_equal(wodan_batch_create(rig.db, &batch), 0);
  assert_int_equal(wodan_batch_put(batch, key_of(3, long_key), five), 0);
  assert_int_equal(wodan_batch_delete_range(batch, NULL, NULL), 0);
  assert_int_equal(wodan_batch_put(batch, key_of(4, long_key), five), 0); /* the last word on a key counts */
  assert_int_equal(wodan_batch_commit(rig.db, batch, NULL), 0);
  wodan_batch_free(batch);
  assert_int_equal(count_keys(&rig, NULL, false), 1);
  assert_true(is_there(&rig, NULL, 4) && !is_there(&rig, NULL, 3));
  assert_int_equal(stats_of(&rig).range_deletes, 2);
  rig_end(&rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_ranges__half_a_tree_is_dropped_unread),
      cmocka_unit_test(test_ranges__views_see_what_was),
      cmocka_unit_test(test_ranges__a_cursor_jumps_over_it),
      cmocka_unit_test(test_ranges__ends_and_refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
