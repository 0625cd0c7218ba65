/* Views and pinned values: include/wodan/view.h and the pinned part of kv.h. Small images, so that what a view holds is
 * wanted back all the time. */
#include "engine_rig.h"

enum { VALUE = 40 };

/* As churn, on a volume whose space a view may hold: what is refused for space is refused whole. Returns how many were. */
static uint64_t churn_when_held(struct wodan_db *db, uint64_t keys, uint64_t operations, uint64_t seed) {
  char key[32];
  uint64_t refused = 0;
  for (uint64_t n = 0; n < operations; n++) {
    uint64_t i = random_below(&seed, keys), dice = random_below(&seed, 100);
    int status = dice < 20 ? wodan_delete(db, key_number(i, key), NULL) : put_number(db, i, 1000000 + n, VALUE);
    if (status == 0 && dice == 21) status = wodan_sync(db);
    if (status == 0 && dice == 22) status = wodan_checkpoint(db, NULL);
    if (status < 0 && status != WODAN_ENOSPC && status != WODAN_EPINNED)
      fail_msg("operation %d: %s", status, rig_why(db));
    refused += status < 0;
  }
  return refused;
}

/* All of keys [0, keys) have version v at the view and nothing else is there: by get, and by cursor both ways. */
static void assert_all(struct wodan_db *db, struct wodan_view *view, uint64_t keys, uint64_t v) {
  struct wodan_cursor *cursor;
  char key[32];
  uint8_t value[VALUE];
  for (uint64_t i = 0; i < keys; i++) assert_number(db, view, i, v, VALUE);
  assert_done(db, wodan_cursor_open(db, view, &cursor));
  for (int back = 0; back < 2; back++) {
    assert_done(db, back ? wodan_cursor_last(cursor) : wodan_cursor_first(cursor));
    for (uint64_t n = 0; n < keys; n++) {
      uint64_t i = back ? keys - 1 - n : n;
      struct wodan_slice wanted = key_number(i, key), found = wodan_cursor_key(cursor);
      assert_int_equal(found.size, wanted.size);
      assert_memory_equal(found.data, wanted.data, wanted.size);
      found = wodan_cursor_value(cursor);
      assert_int_equal(found.size, VALUE);
      assert_memory_equal(found.data, value_number(i, v, value, VALUE).data, VALUE);
      int status = back ? wodan_cursor_prev(cursor) : wodan_cursor_next(cursor);
      assert_int_equal(status, n + 1 < keys ? 0 : WODAN_DONE);
    }
  }
  wodan_cursor_close(cursor);
}

static void fill(struct wodan_db *db, uint64_t keys, uint64_t v) {
  for (uint64_t i = 0; i < keys; i++) assert_done(db, put_number(db, i, v, VALUE));
}

static void test_view__sequence_is_the_last_operation_seen(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_view *view;
  rig_start(&rig, 64 << 10, NULL);
  assert_done(rig.db, wodan_view_open(rig.db, &view));
  assert_int_equal(wodan_view_sequence(view), 0);
  put_text(rig.db, "a", "1");
  assert_int_equal(wodan_view_sequence(view), 0);
  assert_absent(rig.db, view, "a");
  wodan_view_close(view);
  assert_done(rig.db, wodan_view_open(rig.db, &view));
  assert_int_equal(wodan_view_sequence(view), 1);
  assert_text(rig.db, view, "a", "1");
  wodan_view_close(view);
  rig_reopen(&rig);
  assert_done(rig.db, wodan_view_open(rig.db, &view));
  assert_int_equal(wodan_view_sequence(view), 1);
  wodan_view_close(view);
  rig_end(&rig);
}

static void test_view__null_arguments_are_answered(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_view *view;
  rig_start(&rig, 64 << 10, NULL);
  assert_int_equal(wodan_view_open(NULL, &view), WODAN_EINVAL);
  assert_int_equal(wodan_view_open(rig.db, NULL), WODAN_EINVAL);
  wodan_view_close(NULL);
  assert_int_equal(wodan_view_sequence(NULL), 0);
  rig_end(&rig);
}

static void test_view__sees_none_of_what_comes_after_it(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_view *before;
  rig_start(&rig, 64 << 10, NULL);
  put_text(rig.db, "changed", "old");
  put_text(rig.db, "gone", "old");
  assert_done(rig.db, wodan_view_open(rig.db, &before));
  put_text(rig.db, "changed", "new");
  put_text(rig.db, "added", "new");
  assert_done(rig.db, wodan_delete(rig.db, sl("gone"), NULL));
  for (int pass = 0; pass < 2; pass++) {
    assert_text(rig.db, before, "changed", "old");
    assert_text(rig.db, before, "gone", "old");
    assert_absent(rig.db, before, "added");
    assert_text(rig.db, NULL, "changed", "new");
    assert_absent(rig.db, NULL, "gone");
    assert_text(rig.db, NULL, "added", "new");
    assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
  }
  wodan_view_close(before);
  rig_end(&rig);
}

/* The views' space is held: nothing of it is overwritten, however hard the rest of the volume is used. */
static void views_survive(uint64_t size, uint64_t keys, uint64_t rounds) {
  struct rig rig;
  struct wodan_view *views[3];
  rig_start(&rig, size, NULL);
  for (uint64_t v = 0; v < 3; v++) {
    fill(rig.db, keys, v);
    if (v == 1) assert_done(rig.db, wodan_checkpoint(rig.db, NULL)); /* one view of a tree, two of memtables too */
    assert_done(rig.db, wodan_view_open(rig.db, &views[v]));
  }
  assert_int_equal(rig_stats(rig.db).pinned_views, 3);
  uint64_t refused = 0;
  for (uint64_t round = 0; round < rounds; round++) {
    refused += churn_when_held(rig.db, keys + keys / 4, 500, round);
    for (uint64_t v = 0; v < 3; v++)
      if (views[v]) assert_all(rig.db, views[v], keys, v);
    if (round == rounds / 2) wodan_view_close(views[1]), views[1] = NULL;
  }
  wodan_view_close(views[0]);
  wodan_view_close(views[2]);
  assert_int_equal(rig_stats(rig.db).pinned_views, 0);
  refused = churn_when_held(rig.db, keys, 2000, 99);
  assert_int_equal(refused, 0); /* all of it came back */
  fill(rig.db, keys, 7);
  rig_reopen(&rig);
  for (uint64_t i = 0; i < keys; i++) assert_number(rig.db, NULL, i, 7, VALUE);
  rig_end(&rig);
}

static void test_view__content_stays_on_a_128_kib_image(void **state) {
  (void)state;
  views_survive(128 << 10, 250, 30);
}
static void test_view__content_stays_on_a_1_mib_image(void **state) {
  (void)state;
  views_survive(1 << 20, 2000, 16);
}

/* A view that holds nearly everything makes writes fail with a sentence that says so; reads and the view go on, and the
 * space is there again when it is closed, without a reopen. */
static void test_view__a_volume_held_by_a_view_refuses_and_recovers(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_view *view;
  enum { KEYS = 900 };
  rig_start(&rig, 128 << 10, NULL);
  fill(rig.db, KEYS, 0);
  assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
  assert_done(rig.db, wodan_view_open(rig.db, &view));
  uint64_t v = 1, i = 0;
  int status = 0;
  for (; status == 0 && v < 50; v++)
    for (i = 0; i < KEYS && status == 0; i++) status = put_number(rig.db, i, v, VALUE);
  assert_int_equal(status, WODAN_EPINNED);
  assert_why(rig.db, WODAN_EPINNED, "oldest view");
  assert_all(rig.db, view, KEYS, 0);
  wodan_view_close(view);
  for (v = 50; v < 55; v++) fill(rig.db, KEYS, v);
  assert_all(rig.db, NULL, KEYS, 54);
  rig_end(&rig);
}

static void test_view__cursors_outlive_their_view(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_view *view;
  struct wodan_cursor *cursor;
  rig_start(&rig, 128 << 10, NULL);
  fill(rig.db, 200, 0);
  assert_done(rig.db, wodan_view_open(rig.db, &view));
  fill(rig.db, 200, 1);
  assert_done(rig.db, wodan_cursor_open(rig.db, view, &cursor));
  wodan_view_close(view);
  churn_when_held(rig.db, 300, 3000, 1);
  uint64_t n = 0;
  uint8_t value[VALUE];
  for (int status = wodan_cursor_first(cursor); status == 0; status = wodan_cursor_next(cursor), n++)
    assert_memory_equal(wodan_cursor_value(cursor).data, value_number(n, 0, value, VALUE).data, VALUE);
  assert_int_equal(n, 200);
  assert_int_equal(rig_stats(rig.db).pinned_views, 1);
  wodan_cursor_close(cursor);
  assert_int_equal(rig_stats(rig.db).pinned_views, 0);
  rig_end(&rig);
}

/* ---- pinned values ------------------------------------------------------------------------------------------------- */

/* One value pinned in the active memtable, one in the frozen past, several in pages; then everything is overwritten,
 * drained, swept, checkpointed, and the cache of 16 frames turned over many times. */
static void test_view__pinned_values_survive_churn_and_eviction(void **state) {
  (void)state;
  struct rig rig;
  enum { KEYS = 1500, PINS = 12 };
  struct wodan_pinned pinned[PINS];
  char key[32];
  uint8_t value[VALUE];
  rig_start(&rig, 512 << 10, NULL);
  fill(rig.db, KEYS, 0);
  uint64_t needed = rig_info(rig.db).memory_needed;
  rig_close(&rig);
  struct wodan_open_options options = rig_options(&rig);
  options.memory_budget = needed;
  rig_open_with(&rig, &options);
  assert_done(rig.db, put_number(rig.db, 0, 1, VALUE)); /* this one is in the memtable */
  for (uint64_t p = 0; p < PINS; p++)
    assert_done(rig.db, wodan_get_pinned(rig.db, NULL, key_number(p * 120, key), &pinned[p]));
  assert_int_equal(rig_stats(rig.db).pinned_views, PINS);
  uint64_t evictions = rig_stats(rig.db).cache_evictions;
  for (uint64_t round = 0; round < 12; round++) {
    churn_when_held(rig.db, KEYS, 400, round);
    for (uint64_t p = 0; p < PINS; p++) {
      assert_int_equal(pinned[p].value.size, VALUE);
      assert_memory_equal(pinned[p].value.data, value_number(p * 120, p == 0, value, VALUE).data, VALUE);
    }
    for (uint64_t i = 0; i < KEYS; i++) { /* reads turn the cache over */
      size_t size;
      int status = wodan_get(rig.db, NULL, key_number(i, key), value, sizeof value, &size);
      assert_true(status == 0 || status == WODAN_ENOTFOUND);
    }
  }
  assert_true(rig_stats(rig.db).cache_evictions > evictions + 100);
  for (uint64_t p = 0; p < PINS; p++) wodan_unpin(rig.db, &pinned[p]);
  for (uint64_t p = 0; p < PINS; p++) {
    assert_null(pinned[p].value.data); /* a second unpin does nothing */
    wodan_unpin(rig.db, &pinned[p]);
  }
  assert_int_equal(rig_stats(rig.db).pinned_views, 0);
  rig_end(&rig);
}

/* A pinned value keeps reading well when many frames are pinned; when none is left the answer is WODAN_ENOMEM. */
static void test_view__pinning_every_frame_answers_enomem_and_goes_on(void **state) {
  (void)state;
  struct rig rig;
  enum { KEYS = 3000, PINS = 2000 };
  struct wodan_pinned *pinned = calloc(PINS, sizeof *pinned);
  char key[32];
  uint8_t value[VALUE];
  rig_start(&rig, 1 << 20, NULL);
  fill(rig.db, KEYS, 0);
  uint64_t needed = rig_info(rig.db).memory_needed, count = 0;
  rig_close(&rig);
  struct wodan_open_options options = rig_options(&rig);
  options.memory_budget = needed;
  rig_open_with(&rig, &options);
  int status = 0;
  for (; status == 0 && count < PINS; count += status == 0)
    status = wodan_get_pinned(rig.db, NULL, key_number(count * 3 / 2, key), &pinned[count]);
  assert_true(count > 16);
  if (status < 0) assert_int_equal(status, WODAN_ENOMEM);
  for (uint64_t p = 0; p < count; p++)
    assert_memory_equal(pinned[p].value.data, value_number(p * 3 / 2, 0, value, VALUE).data, VALUE);
  for (uint64_t p = 0; p < count; p++) wodan_unpin(rig.db, &pinned[p]);
  for (uint64_t i = 0; i < KEYS; i += 7) assert_number(rig.db, NULL, i, 0, VALUE);
  rig_end(&rig);
  free(pinned);
}

/* ---- close --------------------------------------------------------------------------------------------------------- */

static void assert_busy(struct rig *rig) {
  struct wodan_error error;
  size_t used = rig->meter.used;
  assert_int_equal(wodan_close(rig->db, &error), WODAN_EBUSY);
  assert_int_equal(error.code, WODAN_EBUSY);
  assert_non_null(strstr(error.message, "1 "));
  assert_int_equal(wodan_close(rig->db, NULL), WODAN_EBUSY);
  assert_int_equal(rig->meter.used, used);
  assert_why(rig->db, WODAN_EBUSY, "open");
  put_text(rig->db, "alive", "yes");
  assert_text(rig->db, NULL, "alive", "yes");
}

static void test_view__close_is_busy_while_anything_is_open_and_frees_nothing(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_view *view;
  struct wodan_cursor *cursor;
  struct wodan_batch *batch;
  struct wodan_pinned memory, page;
  rig_start(&rig, 64 << 10, NULL);
  put_text(rig.db, "page", "1");
  assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
  put_text(rig.db, "memory", "2");
  assert_done(rig.db, wodan_view_open(rig.db, &view));
  assert_busy(&rig);
  assert_text(rig.db, view, "memory", "2");
  wodan_view_close(view);
  assert_done(rig.db, wodan_cursor_open(rig.db, NULL, &cursor));
  assert_busy(&rig);
  assert_done(rig.db, wodan_cursor_first(cursor));
  wodan_cursor_close(cursor);
  assert_done(rig.db, wodan_batch_create(rig.db, &batch));
  assert_busy(&rig);
  assert_done(rig.db, wodan_batch_put(batch, sl("a"), sl("b")));
  wodan_batch_free(batch);
  assert_done(rig.db, wodan_get_pinned(rig.db, NULL, sl("page"), &page));
  assert_busy(&rig);
  assert_memory_equal(page.value.data, "1", 1);
  wodan_unpin(rig.db, &page);
  assert_done(rig.db, wodan_get_pinned(rig.db, NULL, sl("memory"), &memory));
  assert_busy(&rig);
  assert_memory_equal(memory.value.data, "2", 1);
  wodan_unpin(rig.db, &memory);
  rig_end(&rig);
  assert_int_equal(wodan_close(NULL, NULL), 0);
}

/* ---- what views pin ------------------------------------------------------------------------------------------------ */

/* A volume opened with the least memory it accepts. */
static void start_small(struct rig *rig, uint64_t size) {
  rig_start(rig, size, NULL);
  uint64_t needed = rig_info(rig->db).memory_needed;
  rig_close(rig);
  struct wodan_open_options options = rig_options(rig);
  options.memory_budget = needed;
  rig_open_with(rig, &options);
}

static void test_view__what_is_pinned_is_told_and_comes_back(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_view *first, *second;
  enum { KEYS = 1500 };
  rig_start(&rig, 1 << 20, NULL);
  fill(rig.db, KEYS, 0);
  assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
  struct wodan_stats stats = rig_stats(rig.db);
  assert_int_equal(stats.pinned_memory, 0);
  assert_int_equal(stats.pinned_space, 0);
  assert_int_equal(stats.oldest_view_sequence, 0);
  for (uint64_t i = 0; i < 20; i++) assert_done(rig.db, put_number(rig.db, i, 0, VALUE)); /* in the memtable */
  assert_done(rig.db, wodan_view_open(rig.db, &first));
  uint64_t sequence = wodan_view_sequence(first);
  stats = rig_stats(rig.db);
  assert_int_equal(stats.pinned_memory, 0); /* held, but not by the view alone */
  assert_int_equal(stats.pinned_space, 0);
  assert_int_equal(stats.oldest_view_sequence, sequence);
  fill(rig.db, KEYS, 1);
  assert_done(rig.db, wodan_compact(rig.db, NULL, NULL, 0, NULL));
  assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
  assert_done(rig.db, wodan_view_open(rig.db, &second));
  stats = rig_stats(rig.db);
  assert_true(stats.pinned_memory > 0);
  assert_true(stats.pinned_space > KEYS * VALUE / 2);
  assert_true(stats.pinned_space <= stats.space_deferred + stats.space_live);
  assert_int_equal(stats.oldest_view_sequence, sequence);
  assert_all(rig.db, first, KEYS, 0);
  wodan_view_close(first);
  stats = rig_stats(rig.db);
  assert_int_equal(stats.pinned_memory, 0);
  assert_int_equal(stats.pinned_space, 0);
  assert_int_equal(stats.oldest_view_sequence, wodan_view_sequence(second));
  wodan_view_close(second);
  assert_int_equal(rig_stats(rig.db).oldest_view_sequence, 0);
  rig_end(&rig);
}

/* A cursor without a view holds what a view would. */
static void test_view__a_cursor_without_one_counts_as_a_view(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_cursor *cursor;
  enum { KEYS = 1500 };
  rig_start(&rig, 1 << 20, NULL);
  fill(rig.db, KEYS, 0);
  uint64_t sequence = rig_info(rig.db).sequence;
  assert_done(rig.db, wodan_cursor_open(rig.db, NULL, &cursor));
  fill(rig.db, KEYS, 1);
  assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
  struct wodan_stats stats = rig_stats(rig.db);
  assert_int_equal(stats.pinned_views, 1);
  assert_int_equal(stats.oldest_view_sequence, sequence);
  assert_true(stats.pinned_memory > 0);
  wodan_cursor_close(cursor);
  stats = rig_stats(rig.db);
  assert_int_equal(stats.pinned_views, 0);
  assert_int_equal(stats.oldest_view_sequence, 0);
  assert_int_equal(stats.pinned_memory, 0);
  rig_end(&rig);
}

/* Each view holds another memtable: the memory for records is used up, and the put says by whom. Closing the views brings
 * it back without a reopen. */
static void test_view__memory_held_by_views_refuses_puts_until_they_are_closed(void **state) {
  (void)state;
  struct rig rig;
  enum { KEYS = 400, VIEWS = 200 };
  static struct wodan_view *views[VIEWS];
  uint64_t count = 0, n = 0, refused = 0;
  int status = 0;
  start_small(&rig, 4 << 20);
  uint64_t budget = rig_stats(rig.db).memory_budget;
  for (; status == 0 && count < VIEWS; count++) {
    for (uint64_t i = 0; i < KEYS && status == 0; i++) status = put_number(rig.db, i, n = count * KEYS + i, VALUE);
    if (status == 0) assert_done(rig.db, wodan_view_open(rig.db, &views[count]));
    if (status < 0) break;
  }
  assert_int_equal(status, WODAN_EPINNED);
  struct wodan_error error;
  char sequence[40];
  wodan_last_error(rig.db, &error);
  snprintf(sequence, sizeof sequence, "sequence %llu", (unsigned long long)wodan_view_sequence(views[0]));
  if (!strstr(error.message, sequence)) fail_msg("'%s' does not name %s", error.message, sequence);
  assert_true(count > 2);
  assert_int_equal(rig_stats(rig.db).oldest_view_sequence, wodan_view_sequence(views[0]));
  assert_done(rig.db, wodan_sync(rig.db)); /* this goes on */
  for (uint64_t i = 0; i < count; i++) {
    assert_number(rig.db, views[i], 7, i * KEYS + 7, VALUE);
    if (put_number(rig.db, 7, n, VALUE) < 0) refused++;
  }
  assert_true(refused > 0);
  for (uint64_t i = 0; i < count; i++) wodan_view_close(views[i]);
  assert_int_equal(rig_stats(rig.db).pinned_memory, 0);
  for (uint64_t v = 0; v < 20; v++) fill(rig.db, KEYS, v);
  assert_true(rig_stats(rig.db).memory_peak <= budget);
  rig_end(&rig);
}

/* Many views of one moment share all they hold. */
static void test_view__a_thousand_views_of_one_memtable_are_cheap(void **state) {
  (void)state;
  struct rig rig;
  enum { KEYS = 300, VIEWS = 1000 };
  static struct wodan_view *views[VIEWS];
  rig_start(&rig, 1 << 20, NULL);
  fill(rig.db, KEYS, 0);
  uint64_t used = rig_stats(rig.db).memory_used;
  for (int i = 0; i < VIEWS; i++) assert_done(rig.db, wodan_view_open(rig.db, &views[i]));
  assert_true(rig_stats(rig.db).memory_used - used <= VIEWS * 128);
  assert_int_equal(rig_stats(rig.db).pinned_views, VIEWS);
  for (uint64_t v = 1; v < 10; v++) fill(rig.db, KEYS, v);
  for (int i = 0; i < VIEWS; i += 111) assert_number(rig.db, views[i], 5, 0, VALUE);
  for (int i = 0; i < VIEWS; i += 2) wodan_view_close(views[i]); /* in no order */
  for (int i = VIEWS - 1; i > 0; i -= 2) wodan_view_close(views[i]);
  assert_int_equal(rig_stats(rig.db).pinned_memory, 0);
  assert_int_equal(rig_stats(rig.db).pinned_space, 0);
  rig_end(&rig);
}

/* A pinned value holds its memtable too, without any view. */
static void test_view__pinned_values_that_hold_memory_are_named(void **state) {
  (void)state;
  struct rig rig;
  enum { KEYS = 400, PINS = 100 };
  static struct wodan_pinned pins[PINS];
  char key[32];
  uint64_t count = 0;
  int status = 0;
  start_small(&rig, 4 << 20);
  for (; status == 0 && count < PINS; count++) {
    for (uint64_t i = 0; i < KEYS && status == 0; i++) status = put_number(rig.db, i, count, VALUE);
    if (status == 0) assert_done(rig.db, wodan_get_pinned(rig.db, NULL, key_number(KEYS - 1, key), &pins[count]));
    if (status == 0 && count % 4 == 3) assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
    if (status < 0) break;
  }
  assert_int_equal(status, WODAN_EPINNED);
  assert_why(rig.db, WODAN_EPINNED, "pinned values");
  for (uint64_t p = 0; p < count; p++) wodan_unpin(rig.db, &pins[p]);
  for (uint64_t v = 0; v < 10; v++) fill(rig.db, KEYS, v);
  rig_end(&rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_view__sequence_is_the_last_operation_seen),
      cmocka_unit_test(test_view__null_arguments_are_answered),
      cmocka_unit_test(test_view__sees_none_of_what_comes_after_it),
      cmocka_unit_test(test_view__content_stays_on_a_128_kib_image),
      cmocka_unit_test(test_view__content_stays_on_a_1_mib_image),
      cmocka_unit_test(test_view__a_volume_held_by_a_view_refuses_and_recovers),
      cmocka_unit_test(test_view__cursors_outlive_their_view),
      cmocka_unit_test(test_view__what_is_pinned_is_told_and_comes_back),
      cmocka_unit_test(test_view__a_cursor_without_one_counts_as_a_view),
      cmocka_unit_test(test_view__memory_held_by_views_refuses_puts_until_they_are_closed),
      cmocka_unit_test(test_view__a_thousand_views_of_one_memtable_are_cheap),
      cmocka_unit_test(test_view__pinned_values_that_hold_memory_are_named),
      cmocka_unit_test(test_view__pinned_values_survive_churn_and_eviction),
      cmocka_unit_test(test_view__pinning_every_frame_answers_enomem_and_goes_on),
      cmocka_unit_test(test_view__close_is_busy_while_anything_is_open_and_frees_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
