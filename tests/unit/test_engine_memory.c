/* Memory: the budget, what comes back at close, and every allocation failing in turn, once and for ever. */
#include "engine_rig.h"
#include "crash/model.h"

/* ---- the budget ------------------------------------------------------------------------------------------------------ */

static int try_open(struct rig *rig, uint64_t budget, struct wodan_error *error) {
  struct wodan_open_options options = rig_options(rig);
  options.memory_budget = budget;
  struct wodan_device *device = kept_plug(rig->kept, rig->sector, 0);
  int status = wodan_open(device, &options, &rig->db, error);
  if (status < 0) wodan_device_close(device);
  return status;
}

/* Random writes, reads, scans both ways, a view and a cursor now and then, syncs, checkpoints. */
static void use_hard(struct rig *rig, uint64_t keys, uint64_t operations) {
  uint64_t random = keys;
  char key[32];
  uint8_t value[100];
  size_t size;
  for (uint64_t n = 0; n < operations; n++) {
    uint64_t i = random_below(&random, keys), dice = random_below(&random, 100);
    if (dice < 60) assert_done(rig->db, put_number(rig->db, i, n, 90));
    if (dice >= 60 && dice < 65) assert_done(rig->db, wodan_delete(rig->db, key_number(i, key), NULL));
    if (dice >= 65) {
      int status = wodan_get(rig->db, NULL, key_number(i, key), value, sizeof value, &size);
      assert_true(status == 0 || status == WODAN_ENOTFOUND);
    }
    if (dice == 99) assert_done(rig->db, wodan_sync(rig->db));
    if (n % (operations / 4) == 1) {
      struct wodan_cursor *cursor;
      assert_done(rig->db, wodan_cursor_open(rig->db, NULL, &cursor));
      for (int status = wodan_cursor_first(cursor); status == 0;) status = wodan_cursor_next(cursor);
      for (int status = wodan_cursor_last(cursor); status == 0;) status = wodan_cursor_prev(cursor);
      wodan_cursor_close(cursor);
    }
  }
  assert_done(rig->db, wodan_checkpoint(rig->db, NULL));
}

struct budget_case {
  uint64_t size, keys, operations;
};
static const struct budget_case budgets[] = {
    {64 << 10, 120, 4000},   {256 << 10, 600, 8000},    {1 << 20, 3500, 16000},
    {4 << 20, 15000, 40000}, {16 << 20, 60000, 120000},
};

static void test_memory__a_budget_too_small_says_how_many_bytes_are_needed(void **state) {
  (void)state;
  for (size_t c = 0; c < sizeof budgets / sizeof *budgets; c++) {
    struct rig rig;
    struct wodan_error error;
    rig_start(&rig, budgets[c].size, NULL);
    uint64_t needed = rig_info(rig.db).memory_needed;
    rig_close(&rig);
    for (uint64_t budget = 1; budget < needed; budget = budget < 16           ? budget * 16
                                                        : needed - budget > 1 ? needed - 1
                                                                              : needed) {
      rig.meter.peak = 0;
      assert_int_equal(try_open(&rig, budget, &error), WODAN_EBUDGET);
      char number[32];
      snprintf(number, sizeof number, "%llu", (unsigned long long)needed);
      if (!strstr(error.message, number)) fail_msg("'%s' does not hold %s", error.message, number);
      assert_null(rig.db);
      assert_int_equal(rig.meter.used, 0);
      assert_true(rig.meter.peak < 16 << 10); /* refused before anything large was taken */
    }
    assert_int_equal(try_open(&rig, needed, &error), 0);
    assert_int_equal(rig_stats(rig.db).memory_budget, needed);
    rig_close(&rig);
    assert_int_equal(try_open(&rig, 0, &error), 0);
    assert_true(rig_stats(rig.db).memory_budget >= 256 << 20);
    rig_end(&rig);
  }
}

/* The allocator never sees more than the budget, from the smallest that opens upwards. */
static void test_memory__stays_within_the_budget_during_work(void **state) {
  (void)state;
  for (size_t c = 0; c < sizeof budgets / sizeof *budgets; c++)
    for (uint64_t factor = 1; factor <= 2; factor++) {
      struct rig rig;
      struct wodan_error error;
      rig_start(&rig, budgets[c].size, NULL);
      use_hard(&rig, budgets[c].keys, budgets[c].operations / 4);
      rig_close(&rig);
      rig_open(&rig);
      uint64_t needed = rig_info(rig.db).memory_needed, budget = needed * factor;
      rig_close(&rig);
      rig.meter.peak = 0;
      assert_int_equal(try_open(&rig, budget, &error), 0);
      use_hard(&rig, budgets[c].keys, budgets[c].operations);
      struct wodan_stats stats = rig_stats(rig.db);
      size_t peak = rig.meter.peak;
      print_message("%llu KiB, %llu leaves, %llu runs: budget %llu, peak %zu (%.0f %%)\n",
                    (unsigned long long)budgets[c].size >> 10, (unsigned long long)stats.leaves,
                    (unsigned long long)stats.runs, (unsigned long long)budget, peak,
                    100.0 * (double)peak / (double)budget);
      assert_int_equal(stats.memory_peak, peak);
      assert_true(peak <= budget);
      rig_end(&rig);
    }
}

/* ---- every allocation fails ------------------------------------------------------------------------------------------ */

enum { KEYS = 150, STEPS = 260 };

struct trial {
  struct rig rig;
  struct model *model;
  uint64_t seed, failures;
  bool insist; /* an operation that met WODAN_ENOMEM is tried again, and must then go through */
};

/* 0: done. WODAN_ENOMEM: nothing happened. */
static int judged(struct trial *trial, int status, const char *what) {
  if (status == WODAN_ENOMEM) {
    trial->failures++;
    assert_why(trial->rig.db, WODAN_ENOMEM, "memory");
    return status;
  }
  if (status < 0 && status != WODAN_ENOTFOUND)
    fail_msg("%s answered %d: %s (allocation %llu)", what, status, rig_why(trial->rig.db),
             (unsigned long long)trial->rig.meter.fail_at);
  return status;
}

#define TRY(call)                                                                                                      \
  do {                                                                                                                 \
    if (judged(trial, (call), #call) == WODAN_ENOMEM && trial->insist)                                                 \
      if (judged(trial, (call), #call) == WODAN_ENOMEM) fail_msg("%s failed twice", #call);                            \
  } while (0)

static int write_batch(struct trial *trial, uint64_t count, bool durable) {
  struct wodan_db *db = trial->rig.db;
  struct wodan_batch *batch;
  char key[32];
  uint8_t value[128];
  uint64_t seed = trial->seed; /* the same batch when tried again */
  int status = wodan_batch_create(db, &batch);
  if (status < 0) return status;
  for (uint64_t n = 0; n < count && status == 0; n++) {
    uint64_t i = random_below(&seed, KEYS), size = 16 + random_below(&seed, 100);
    status = random_below(&seed, 4) ? wodan_batch_put(batch, key_number(i, key), value_number(i, seed, value, size))
                                    : wodan_batch_delete(batch, key_number(i, key));
  }
  assert_int_equal(wodan_batch_count(batch) == count, status == 0);
  struct wodan_commit commit = {.durability = durable};
  if (status == 0) status = wodan_batch_commit(db, batch, &commit);
  if (status < 0) assert_int_equal(commit.sequence, 0);
  wodan_batch_free(batch);
  if (status < 0) return status;
  seed = trial->seed;
  for (uint64_t n = 0; n < count; n++) {
    uint64_t i = random_below(&seed, KEYS), size = 16 + random_below(&seed, 100);
    struct wodan_slice k = key_number(i, key);
    if (random_below(&seed, 4))
      model_put(trial->model, k.data, k.size, value_number(i, seed, value, size).data, size);
    else
      model_delete(trial->model, k.data, k.size);
  }
  model_commit(trial->model);
  trial->seed = seed;
  return 0;
}

static int read_some(struct trial *trial) {
  struct wodan_db *db = trial->rig.db;
  struct wodan_view *view = NULL;
  struct wodan_pinned pinned;
  char key[32];
  size_t size, wanted_size;
  uint64_t seed = trial->seed;
  struct wodan_slice k = key_number(random_below(&seed, KEYS), key);
  const void *wanted = model_get(trial->model, k.data, k.size, &wanted_size);
  void *value = NULL;
  int status = wodan_get_alloc(db, NULL, k, &value, &size);
  if (status == 0) {
    assert_non_null(wanted);
    assert_int_equal(size, wanted_size);
    assert_memory_equal(value, wanted, size);
    wodan_free(db, value);
  } else if (status == WODAN_ENOTFOUND) {
    assert_null(wanted);
    status = 0;
  } else {
    return status;
  }
  status = wodan_view_open(db, &view);
  if (status < 0) return status;
  status = wodan_get_pinned(db, view, k, &pinned);
  if (status == 0) wodan_unpin(db, &pinned);
  wodan_view_close(view);
  return status;
}

static int scan(struct trial *trial) {
  struct wodan_cursor *cursor;
  uint8_t long_key[4000] = {'k'};
  int status = wodan_cursor_open(trial->rig.db, NULL, &cursor);
  if (status < 0) return status;
  for (status = wodan_cursor_first(cursor); status == 0;) status = wodan_cursor_next(cursor);
  if (status == WODAN_DONE) status = wodan_cursor_seek_back(cursor, (struct wodan_slice){long_key, sizeof long_key});
  if (status >= 0)
    for (status = wodan_cursor_last(cursor); status == 0;) status = wodan_cursor_prev(cursor);
  wodan_cursor_close(cursor);
  return status;
}

static void work(struct trial *trial, unsigned steps) {
  for (unsigned step = 0; step < steps; step++) {
    unsigned kind = step % 13;
    if (kind == 3 || kind == 8) TRY(read_some(trial));
    if (kind == 5 && step % 3 == 0) TRY(scan(trial));
    if (kind == 7) TRY(wodan_sync(trial->rig.db));
    if (kind == 12 && step % 5 == 0) TRY(wodan_checkpoint(trial->rig.db, NULL));
    TRY(write_batch(trial, 1 + step % 4, kind == 9));
  }
}

static void check(struct trial *trial, const char *when) {
  char why[256];
  if (!model_equals(trial->model, trial->rig.db, why, sizeof why))
    fail_msg("%s, allocation %llu: %s", when, (unsigned long long)trial->rig.meter.fail_at, why);
}

static struct kept_bytes *fresh_image(void) {
  struct rig rig;
  rig_start(&rig, 64 << 10, NULL);
  rig_close(&rig);
  struct kept_bytes *image = kept_copy(rig.kept);
  rig_end(&rig);
  return image;
}

static void trial_start(struct trial *trial, const struct kept_bytes *image) {
  *trial = (struct trial){.seed = 11, .model = model_create(), .insist = true};
  trial->rig.kept = kept_copy(image);
  trial->rig.sector = 512;
  rig_open(&trial->rig);
}

static void trial_end(struct trial *trial) {
  rig_end(&trial->rig);
  model_free(trial->model);
}

/* The n-th allocation fails once: that call answers WODAN_ENOMEM (or did without), the same call again succeeds, nothing
 * is lost, and the whole is as if it had not happened. */
static void test_memory__any_single_failed_allocation_is_survived(void **state) {
  (void)state;
  struct kept_bytes *image = fresh_image();
  uint64_t total = 1, met = 0, trials = 0;
  for (uint64_t n = 1; n <= total; n += 1 + n / 60) {
    struct trial trial;
    trial_start(&trial, image);
    uint64_t start = trial.rig.meter.calls;
    trial.rig.meter.fail_at = start + n;
    work(&trial, STEPS);
    if (trials++ == 0) total = trial.rig.meter.calls - start;
    met += trial.failures > 0;
    trial.rig.meter.fail_at = 0;
    check(&trial, "while open");
    rig_reopen(&trial.rig);
    check(&trial, "after reopen");
    trial_end(&trial);
  }
  print_message("%llu allocations in the workload, %llu tried, %llu reported\n", (unsigned long long)total,
                (unsigned long long)trials, (unsigned long long)met);
  assert_true(met * 2 > trials);
  kept_free(image);
}

/* From the n-th on all fail for a while: every call answers 0 or WODAN_ENOMEM, a refused write is refused whole; then
 * memory is there again and everything goes on. */
static void test_memory__no_memory_for_a_while_is_survived(void **state) {
  (void)state;
  struct kept_bytes *image = fresh_image();
  uint64_t total = 1;
  for (uint64_t n = 1; n <= total; n += 1 + n / 25) {
    struct trial trial;
    trial_start(&trial, image);
    uint64_t start = trial.rig.meter.calls;
    trial.insist = false;
    trial.rig.meter.fail_at = start + n;
    trial.rig.meter.for_ever = true;
    work(&trial, STEPS / 2);
    if (n == 1) assert_true(trial.failures > 20);
    trial.rig.meter.fail_at = 0;
    check(&trial, "memory is back");
    trial.insist = true;
    work(&trial, STEPS / 2);
    check(&trial, "after more work");
    if (n == 1) total = trial.rig.meter.calls - start;
    rig_reopen(&trial.rig);
    check(&trial, "after reopen");
    trial_end(&trial);
  }
  kept_free(image);
}

/* Maintenance in its thread, whose order is not the same twice: whoever meets the lack, for a moment or for a while, calls
 * answer 0 or WODAN_ENOMEM, nothing is lost, and when memory is there again everything goes on. */
static void test_memory__a_lack_that_the_thread_may_meet_is_survived(void **state) {
  (void)state;
  struct kept_bytes *image = fresh_image();
  uint64_t total = 1, trials = 0, met = 0;
  for (uint64_t n = 1; n <= total; n += 1 + n / 12, trials++) {
    struct trial trial;
    trial_start(&trial, image);
    rig_close(&trial.rig);
    trial.rig.background = true;
    rig_open(&trial.rig);
    uint64_t start = trial.rig.meter.calls;
    trial.insist = false;
    trial.rig.meter.for_ever = trials % 2;
    trial.rig.meter.fail_at = start + n;
    work(&trial, STEPS / 2);
    trial.rig.meter.fail_at = 0;
    if (total == 1) total = trial.rig.meter.calls - start;
    met += trial.failures > 0;
    check(&trial, "memory is back");
    trial.insist = true;
    work(&trial, STEPS / 2);
    check(&trial, "after more work");
    rig_reopen(&trial.rig);
    check(&trial, "after reopen");
    trial_end(&trial);
  }
  print_message("%llu allocations with the thread, %llu tried, %llu reported\n", (unsigned long long)total,
                (unsigned long long)trials, (unsigned long long)met);
  assert_true(met * 3 > trials);
  kept_free(image);
}

/* Close without any memory: everything comes back; when it answered 0 everything is durable, else all that was synced. */
static void test_memory__close_without_memory_keeps_what_was_committed(void **state) {
  (void)state;
  struct kept_bytes *image = fresh_image();
  unsigned done = 0, refused = 0;
  for (uint64_t n = 1; n < 60; n++) {
    struct trial trial;
    struct wodan_error error;
    char why[256];
    trial_start(&trial, image);
    work(&trial, (unsigned)(20 + n * 3));
    assert_done(trial.rig.db, wodan_sync(trial.rig.db));
    size_t durable = model_version(trial.model);
    if (n % 2) work(&trial, 1); /* not synced */
    trial.rig.meter.fail_at = trial.rig.meter.calls + 1 + n / 8;
    trial.rig.meter.for_ever = true;
    int status = wodan_close(trial.rig.db, &error);
    trial.rig.meter.fail_at = 0;
    assert_int_equal(trial.rig.meter.used, 0);
    if (status < 0) {
      assert_int_equal(status, WODAN_ENOMEM);
      assert_int_equal(error.code, status);
    }
    done += status == 0, refused += status < 0;
    rig_open(&trial.rig);
    size_t found =
        model_match(trial.model, trial.rig.db, status == 0 ? model_version(trial.model) : durable, why, sizeof why);
    if (found == SIZE_MAX) fail_msg("close answered %d: %s", status, why);
    trial_end(&trial);
  }
  print_message("close without memory: %u done, %u refused\n", done, refused);
  assert_true(done > 0);
  kept_free(image);
}

/* Opening: each failed allocation answers WODAN_ENOMEM, gives everything back, and the next open works. */
static void open_fails(struct kept_bytes *kept, uint32_t flags, uint64_t least) {
  struct rig rig = {.kept = kept, .sector = 512};
  struct wodan_open_options options = rig_options(&rig);
  options.flags = flags;
  uint64_t n = 1;
  for (;; n++) {
    struct wodan_error error;
    struct wodan_device *device = kept_plug(kept, 512, 0);
    atomic_store(&rig.meter.calls, 0);
    rig.meter.fail_at = n;
    int status = wodan_open(device, &options, &rig.db, &error);
    uint64_t calls = rig.meter.calls;
    rig.meter.fail_at = 0;
    if (status == 0) {
      assert_int_equal(wodan_close(rig.db, &error), 0);
      assert_int_equal(rig.meter.used, 0);
      if (calls < n) break;
      continue; /* did without */
    }
    assert_int_equal(status, WODAN_ENOMEM);
    assert_int_equal(error.code, WODAN_ENOMEM);
    assert_null(rig.db);
    assert_int_equal(rig.meter.used, 0);
    assert_int_equal(wodan_device_close(device), 0);
  }
  assert_true(n > least);
}

static void test_memory__an_open_that_fails_gives_everything_back(void **state) {
  (void)state;
  struct trial trial;
  struct kept_bytes *fresh = fresh_image();
  trial_start(&trial, fresh);
  work(&trial, 200);
  struct wodan_commit commit = {.durability = WODAN_DURABLE};
  assert_done(trial.rig.db, wodan_put(trial.rig.db, sl("to"), sl("replay"), &commit));
  struct kept_bytes *crashed = kept_copy(trial.rig.kept);
  trial_end(&trial);
  open_fails(fresh, 0, 10);
  open_fails(crashed, WODAN_OPEN_READ_ONLY, 20);
  open_fails(crashed, WODAN_OPEN_READ_ONLY | WODAN_OPEN_OLDER_ROOT, 20);
  open_fails(crashed, 0, 20);
  kept_free(crashed);
  kept_free(fresh);
}

static void test_memory__a_format_that_fails_gives_everything_back(void **state) {
  (void)state;
  struct meter meter = {0};
  struct wodan_format_options options = {.force = 1, .allocator = meter_hooks(&meter)};
  struct kept_bytes *kept = kept_create(64 << 10);
  struct wodan_device *device = kept_plug(kept, 512, 0);
  for (uint64_t n = 1;; n++) {
    struct wodan_error error;
    atomic_store(&meter.calls, 0);
    meter.fail_at = n;
    int status = wodan_format(device, &options, &error);
    assert_int_equal(meter.used, 0);
    if (status == 0) {
      assert_true(n > 2);
      break;
    }
    assert_int_equal(status, WODAN_ENOMEM);
    assert_int_equal(error.code, WODAN_ENOMEM);
  }
  wodan_device_close(device);
  kept_free(kept);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_memory__a_budget_too_small_says_how_many_bytes_are_needed),
      cmocka_unit_test(test_memory__stays_within_the_budget_during_work),
      cmocka_unit_test(test_memory__any_single_failed_allocation_is_survived),
      cmocka_unit_test(test_memory__no_memory_for_a_while_is_survived),
      cmocka_unit_test(test_memory__a_lack_that_the_thread_may_meet_is_survived),
      cmocka_unit_test(test_memory__close_without_memory_keeps_what_was_committed),
      cmocka_unit_test(test_memory__an_open_that_fails_gives_everything_back),
      cmocka_unit_test(test_memory__a_format_that_fails_gives_everything_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
