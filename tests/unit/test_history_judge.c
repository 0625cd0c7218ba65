/* The judge of recorded histories (support/history.h): it takes what can be and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "support/history.h"

/* Two keys; batches "1" of both keys, then "2" of both, then key 0 gone. Times are given: 10-20, 30-40, 50-60. */
static struct history *three_batches(void) {
  struct history *history = history_create(2, 2);
  struct history_log *log = &history->logs[0];
  for (uint32_t version = 1; version <= 2; version++) {
    for (uint32_t key = 0; key < 2; key++) history_pair(log, key, version);
    history_batch(log,
                  (struct history_batch){.started = version * 20 - 10, .ended = version * 20, .sequence = version * 2});
  }
  history_pair(log, 0, HISTORY_ABSENT);
  history_batch(log, (struct history_batch){.started = 50, .ended = 60, .sequence = 5, .durable = true});
  return history;
}

static void saw(struct history *history, uint64_t started, uint64_t ended, uint32_t key, uint32_t version) {
  history_pair(&history->logs[1], key, version);
  history_read(&history->logs[1],
               (struct history_read){.what = "get", .started = started, .ended = ended, .sequence = HISTORY_UNTOLD});
}

static void saw_both(struct history *history, struct history_read read, uint32_t first, uint32_t second) {
  history_pair(&history->logs[1], 0, first);
  history_pair(&history->logs[1], 1, second);
  read.what = "view";
  history_read(&history->logs[1], read);
}

static void judged(struct history *history, const char *sentence) {
  char why[600] = "";
  bool well = history_judge(history, why, sizeof why);
  history_free(history);
  if (well != !sentence) fail_msg("judged %s: %s", well ? "right" : "wrong", why);
  if (sentence && !strstr(why, sentence)) fail_msg("'%s' says nothing of '%s'", why, sentence);
}

static void test_history_judge__knows_what_can_be(void **state) {
  (void)state;
  struct history *history = three_batches();
  saw(history, 1, 2, 0, 0);
  saw(history, 21, 22, 0, 1);
  saw(history, 31, 32, 1, 1); /* while the second is under way: either */
  saw(history, 33, 34, 1, 2);
  saw_both(history, (struct history_read){.started = 35, .ended = 61, .sequence = HISTORY_UNTOLD}, 2, 2);
  saw_both(history, (struct history_read){.started = 36, .ended = 55, .sequence = 5}, 0, 2);
  saw_both(history, (struct history_read){.kind = HISTORY_CRASH, .started = 56, .ended = 57, .sequence = 2}, 1, 1);
  saw_both(history, (struct history_read){.kind = HISTORY_CRASH, .started = 58, .ended = 59, .sequence = 0}, 0, 0);
  judged(history, NULL);
}

static void test_history_judge__knows_what_cannot_be(void **state) {
  (void)state;
  struct history *history = three_batches();
  saw_both(history, (struct history_read){.started = 31, .ended = 39, .sequence = HISTORY_UNTOLD}, 1, 2);
  judged(history, "never there together"); /* half a batch */
  history = three_batches();
  saw(history, 41, 42, 1, 1);
  judged(history, "never there together"); /* too old */
  history = three_batches();
  saw(history, 21, 29, 1, 2);
  judged(history, "never there together"); /* too early */
  history = three_batches();
  saw(history, 31, 32, 1, 2);
  saw(history, 33, 34, 0, 1);
  judged(history, "never there together"); /* each may be, not in this order */
  history = three_batches();
  saw_both(history, (struct history_read){.started = 31, .ended = 39, .sequence = 3}, 2, 2);
  judged(history, "told 3"); /* in the middle of a batch */
  history = three_batches();
  saw_both(history, (struct history_read){.started = 31, .ended = 39, .sequence = 2}, 2, 2);
  judged(history, "told 2"); /* not what it says */
  history = three_batches();
  history_pair(&history->logs[1], 1, 1);
  saw(history, 31, 39, 1, 2);
  judged(history, "and then"); /* a view that moves */
}

static void test_history_judge__knows_what_must_last(void **state) {
  (void)state;
  struct history *history = three_batches();
  saw_both(history, (struct history_read){.kind = HISTORY_CRASH, .started = 61, .ended = 62, .sequence = 4}, 2, 2);
  judged(history, "never there together"); /* the third was durable */
  history = three_batches();
  history_read(&history->logs[1], (struct history_read){.kind = HISTORY_SYNC, .started = 21, .ended = 25});
  saw_both(history, (struct history_read){.kind = HISTORY_CRASH, .started = 26, .ended = 27, .sequence = 0}, 0, 0);
  judged(history, "never there together"); /* the first was synced */
}

static void test_history_judge__knows_the_order_of_batches(void **state) {
  (void)state;
  struct history *history = three_batches();
  history->logs[0].batches[1].sequence = 5;
  judged(history, "ends with sequence");
  history = three_batches();
  history->logs[0].batches[0].started = 45;
  history->logs[0].batches[0].ended = 46;
  judged(history, "started when one of a later sequence had ended");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_history_judge__knows_what_can_be),
      cmocka_unit_test(test_history_judge__knows_what_cannot_be),
      cmocka_unit_test(test_history_judge__knows_what_must_last),
      cmocka_unit_test(test_history_judge__knows_the_order_of_batches),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
