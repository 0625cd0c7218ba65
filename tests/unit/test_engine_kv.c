/* Point operations and batches, sentence by sentence as include/wodan/kv.h promises them. */
#include "engine_rig.h"

/* ---- get, put, delete ------------------------------------------------------------------------------------------- */

static void test_kv__a_put_is_read_at_once_and_after_reopen(void **state) {
  (void)state;
  struct rig rig;
  rig_start(&rig, 64 << 10, NULL);
  assert_absent(rig.db, NULL, "a");
  put_text(rig.db, "a", "1");
  put_text(rig.db, "b", "2");
  assert_text(rig.db, NULL, "a", "1");
  put_text(rig.db, "a", "one");
  assert_text(rig.db, NULL, "a", "one");
  rig_reopen(&rig);
  assert_text(rig.db, NULL, "a", "one");
  assert_text(rig.db, NULL, "b", "2");
  rig_end(&rig);
}

static void test_kv__delete_removes_and_an_absent_key_is_no_failure(void **state) {
  (void)state;
  struct rig rig;
  rig_start(&rig, 64 << 10, NULL);
  put_text(rig.db, "a", "1");
  assert_done(rig.db, wodan_delete(rig.db, sl("a"), NULL));
  assert_absent(rig.db, NULL, "a");
  assert_done(rig.db, wodan_delete(rig.db, sl("a"), NULL));
  assert_done(rig.db, wodan_delete(rig.db, sl("never"), NULL));
  rig_reopen(&rig);
  assert_absent(rig.db, NULL, "a");
  put_text(rig.db, "a", "2");
  assert_done(rig.db, wodan_checkpoint(rig.db, NULL)); /* in the tree now */
  assert_done(rig.db, wodan_delete(rig.db, sl("a"), NULL));
  assert_absent(rig.db, NULL, "a");
  rig_reopen(&rig);
  assert_absent(rig.db, NULL, "a");
  rig_end(&rig);
}

static void test_kv__an_empty_value_is_a_value(void **state) {
  (void)state;
  struct rig rig;
  char buffer[4];
  size_t size = 99;
  void *value = NULL;
  struct wodan_pinned pinned;
  rig_start(&rig, 64 << 10, NULL);
  assert_done(rig.db, wodan_put(rig.db, sl("a"), (struct wodan_slice){0}, NULL));
  for (int pass = 0; pass < 3; pass++) { /* memtable, run, after reopen */
    assert_done(rig.db, wodan_get(rig.db, NULL, sl("a"), buffer, sizeof buffer, &size));
    assert_int_equal(size, 0);
    size = 99;
    assert_done(rig.db, wodan_get(rig.db, NULL, sl("a"), NULL, 0, &size));
    assert_int_equal(size, 0);
    size = 99;
    assert_done(rig.db, wodan_get_alloc(rig.db, NULL, sl("a"), &value, &size));
    assert_non_null(value);
    assert_int_equal(size, 0);
    wodan_free(rig.db, value);
    assert_done(rig.db, wodan_get_pinned(rig.db, NULL, sl("a"), &pinned));
    assert_int_equal(pinned.value.size, 0);
    wodan_unpin(rig.db, &pinned);
    if (pass == 0) assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
    if (pass == 1) rig_reopen(&rig);
  }
  rig_end(&rig);
}

static void test_kv__keys_are_bytes_and_a_prefix_is_another_key(void **state) {
  (void)state;
  struct rig rig;
  char key[3] = {'\0', '\xff', '\0'};
  char buffer[8];
  size_t size;
  rig_start(&rig, 64 << 10, NULL);
  for (size_t n = 1; n <= 3; n++)
    assert_done(rig.db, wodan_put(rig.db, (struct wodan_slice){key, n}, sl(&"xyz"[3 - n]), NULL));
  for (int pass = 0; pass < 2; pass++) {
    for (size_t n = 1; n <= 3; n++) {
      assert_done(rig.db, wodan_get(rig.db, NULL, (struct wodan_slice){key, n}, buffer, sizeof buffer, &size));
      assert_int_equal(size, n);
    }
    rig_reopen(&rig);
  }
  rig_end(&rig);
}

static void test_kv__a_small_buffer_answers_erange_with_the_size_and_copies_nothing(void **state) {
  (void)state;
  struct rig rig;
  char buffer[8] = "untouch";
  size_t size = 0;
  rig_start(&rig, 64 << 10, NULL);
  put_text(rig.db, "a", "12345");
  for (int pass = 0; pass < 2; pass++) {
    assert_int_equal(wodan_get(rig.db, NULL, sl("a"), buffer, 4, &size), WODAN_ERANGE);
    assert_int_equal(size, 5);
    assert_string_equal(buffer, "untouch");
    assert_int_equal(wodan_get(rig.db, NULL, sl("a"), NULL, 0, &size), WODAN_ERANGE);
    assert_int_equal(size, 5);
    assert_why(rig.db, WODAN_ERANGE, "5 bytes");
    assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
  }
  assert_done(rig.db, wodan_get(rig.db, NULL, sl("a"), buffer, 5, &size));
  assert_memory_equal(buffer, "12345ch", 7);
  rig_end(&rig);
}

static void test_kv__nothing_given_to_a_write_is_kept(void **state) {
  (void)state;
  struct rig rig;
  char key[] = "key", value[] = "value";
  struct wodan_batch *batch;
  rig_start(&rig, 64 << 10, NULL);
  assert_done(rig.db, wodan_put(rig.db, sl(key), sl(value), NULL));
  memset(key, 'x', 3), memset(value, 'x', 5);
  assert_text(rig.db, NULL, "key", "value");
  memcpy(key, "two", 3), memcpy(value, "batch", 5);
  assert_done(rig.db, wodan_batch_create(rig.db, &batch));
  assert_done(rig.db, wodan_batch_put(batch, sl(key), sl(value)));
  memset(key, 'x', 3), memset(value, 'x', 5);
  assert_done(rig.db, wodan_batch_commit(rig.db, batch, NULL));
  wodan_batch_clear(batch);
  wodan_batch_free(batch);
  assert_text(rig.db, NULL, "two", "batch");
  assert_absent(rig.db, NULL, "xxx");
  rig_end(&rig);
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

/* Limits told by wodan_info hold exactly, in memory, in the tree and in the journal; above them the sentence has both
 * numbers. */
static void limits_at(uint32_t page) {
  struct rig rig;
  uint8_t *bytes = malloc(page), *out = malloc(page);
  size_t size, key_max = page / 8, value_max = page / 4;
  rig_start(&rig, 4 << 20, &(struct wodan_format_options){.page_size = page});
  assert_int_equal(rig_info(rig.db).key_size_max, key_max);
  assert_int_equal(rig_info(rig.db).value_size_inline, value_max);
  assert_int_equal(rig_info(rig.db).value_size_max, 65536ull * page);
  for (size_t i = 0; i < page; i++) bytes[i] = (uint8_t)(i * 7 + 1);
  struct wodan_slice key = {bytes, key_max}, value = {bytes, value_max};
  struct wodan_commit commit = {.durability = WODAN_DURABLE};
  assert_done(rig.db, wodan_put(rig.db, key, value, &commit));
  for (int pass = 0; pass < 3; pass++) {
    memset(out, 0, page);
    assert_done(rig.db, wodan_get(rig.db, NULL, key, out, page, &size));
    assert_int_equal(size, value_max);
    assert_memory_equal(out, bytes, size);
    if (pass == 0) assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
    if (pass == 1) rig_reopen(&rig);
  }
  size_t most = (size_t)rig_info(rig.db).value_size_max; /* refused before a byte of it is looked at */
  struct wodan_slice long_key = {bytes, key_max + 1}, long_value = {bytes, most + 1};
  char numbers[2][32];
  snprintf(numbers[0], 32, "%zu bytes", key_max + 1), snprintf(numbers[1], 32, "%zu bytes", most + 1);
  assert_int_equal(wodan_put(rig.db, long_key, value, &commit), WODAN_ETOOBIG);
  assert_int_equal(commit.sequence, 0);
  assert_why(rig.db, WODAN_ETOOBIG, numbers[0]);
  assert_int_equal(wodan_put(rig.db, sl("k"), long_value, &commit), WODAN_ETOOBIG);
  assert_why(rig.db, WODAN_ETOOBIG, numbers[1]);
  snprintf(numbers[0], 32, "%zu", most);
  assert_why(rig.db, WODAN_ETOOBIG, numbers[0]);
  assert_int_equal(wodan_delete(rig.db, long_key, NULL), WODAN_ETOOBIG);
  assert_int_equal(wodan_get(rig.db, NULL, long_key, out, page, &size), WODAN_ETOOBIG);
  struct wodan_batch *batch;
  assert_done(rig.db, wodan_batch_create(rig.db, &batch));
  assert_int_equal(wodan_batch_put(batch, long_key, sl("v")), WODAN_ETOOBIG);
  assert_int_equal(wodan_batch_put(batch, sl("k"), long_value), WODAN_ETOOBIG);
  assert_int_equal(wodan_batch_delete(batch, long_key), WODAN_ETOOBIG);
  assert_int_equal(wodan_batch_count(batch), 0);
  assert_int_equal(wodan_batch_bytes(batch), 0);
  wodan_batch_free(batch);
  assert_absent(rig.db, NULL, "k");
  rig_end(&rig);
  free(bytes);
  free(out);
}

static void test_kv__key_and_value_limits_hold_exactly(void **state) {
  (void)state;
  for (uint32_t page = 512; page <= 16384; page *= 2) limits_at(page);
}

static void test_kv__an_empty_key_is_refused(void **state) {
  (void)state;
  struct rig rig;
  char buffer[4];
  size_t size;
  void *value;
  struct wodan_pinned pinned;
  struct wodan_batch *batch;
  struct wodan_slice empty[2] = {{0}, {"x", 0}};
  rig_start(&rig, 64 << 10, NULL);
  assert_done(rig.db, wodan_batch_create(rig.db, &batch));
  for (int i = 0; i < 2; i++) {
    assert_int_equal(wodan_put(rig.db, empty[i], sl("v"), NULL), WODAN_EINVAL);
    assert_why(rig.db, WODAN_EINVAL, "empty");
    assert_int_equal(wodan_delete(rig.db, empty[i], NULL), WODAN_EINVAL);
    assert_int_equal(wodan_get(rig.db, NULL, empty[i], buffer, 4, &size), WODAN_EINVAL);
    assert_int_equal(wodan_get_alloc(rig.db, NULL, empty[i], &value, &size), WODAN_EINVAL);
    assert_int_equal(wodan_get_pinned(rig.db, NULL, empty[i], &pinned), WODAN_EINVAL);
    assert_int_equal(wodan_batch_put(batch, empty[i], sl("v")), WODAN_EINVAL);
    assert_int_equal(wodan_batch_delete(batch, empty[i]), WODAN_EINVAL);
  }
  wodan_batch_free(batch);
  rig_end(&rig);
}

static void test_kv__null_arguments_are_answered(void **state) {
  (void)state;
  struct rig rig;
  char buffer[4];
  size_t size = 0;
  void *value = NULL;
  struct wodan_pinned pinned = {0};
  struct wodan_batch *batch = NULL;
  rig_start(&rig, 64 << 10, NULL);
  struct wodan_slice lie = {NULL, 5};
  assert_int_equal(wodan_get(NULL, NULL, sl("a"), buffer, 4, &size), WODAN_EINVAL);
  assert_int_equal(wodan_get(rig.db, NULL, sl("a"), NULL, 4, &size), WODAN_EINVAL);
  assert_why(rig.db, WODAN_EINVAL, "NULL");
  assert_int_equal(wodan_get(rig.db, NULL, sl("a"), buffer, 4, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_get(rig.db, NULL, lie, buffer, 4, &size), WODAN_EINVAL);
  assert_int_equal(wodan_get_alloc(NULL, NULL, sl("a"), &value, &size), WODAN_EINVAL);
  assert_int_equal(wodan_get_alloc(rig.db, NULL, sl("a"), NULL, &size), WODAN_EINVAL);
  assert_int_equal(wodan_get_alloc(rig.db, NULL, sl("a"), &value, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_get_pinned(NULL, NULL, sl("a"), &pinned), WODAN_EINVAL);
  assert_int_equal(wodan_get_pinned(rig.db, NULL, sl("a"), NULL), WODAN_EINVAL);
  wodan_unpin(rig.db, NULL);
  wodan_unpin(NULL, &pinned);
  wodan_unpin(rig.db, &pinned);
  assert_int_equal(wodan_put(NULL, sl("a"), sl("b"), NULL), WODAN_EINVAL);
  assert_int_equal(wodan_put(rig.db, lie, sl("b"), NULL), WODAN_EINVAL);
  assert_int_equal(wodan_put(rig.db, sl("a"), lie, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_delete(NULL, sl("a"), NULL), WODAN_EINVAL);
  assert_int_equal(wodan_batch_create(NULL, &batch), WODAN_EINVAL);
  assert_int_equal(wodan_batch_create(rig.db, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_batch_put(NULL, sl("a"), sl("b")), WODAN_EINVAL);
  assert_int_equal(wodan_batch_delete(NULL, sl("a")), WODAN_EINVAL);
  assert_int_equal(wodan_batch_count(NULL), 0);
  assert_int_equal(wodan_batch_bytes(NULL), 0);
  wodan_batch_clear(NULL);
  wodan_batch_free(NULL);
  assert_int_equal(wodan_batch_commit(rig.db, NULL, NULL), WODAN_EINVAL);
  assert_done(rig.db, wodan_batch_create(rig.db, &batch));
  assert_int_equal(wodan_batch_commit(NULL, batch, NULL), WODAN_EINVAL);
  struct rig other;
  rig_start(&other, 64 << 10, NULL);
  assert_int_equal(wodan_batch_commit(other.db, batch, NULL), WODAN_EINVAL);
  assert_why(other.db, WODAN_EINVAL, "another database");
  rig_end(&other);
  wodan_batch_free(batch);
  wodan_free(rig.db, NULL);
  assert_int_equal(wodan_sync(NULL), WODAN_EINVAL);
  assert_int_equal(wodan_checkpoint(NULL, NULL), WODAN_EINVAL);
  wodan_last_error(NULL, NULL);
  wodan_last_error(rig.db, NULL);
  assert_absent(rig.db, NULL, "a");
  rig_end(&rig);
}

static void test_kv__a_bad_durability_is_refused_before_any_change(void **state) {
  (void)state;
  struct rig rig;
  rig_start(&rig, 64 << 10, NULL);
  struct wodan_commit commit = {.durability = 7, .sequence = 5};
  assert_int_equal(wodan_put(rig.db, sl("a"), sl("1"), &commit), WODAN_EINVAL);
  assert_int_equal(commit.sequence, 0);
  assert_absent(rig.db, NULL, "a");
  rig_end(&rig);
}

static void test_kv__the_last_error_keeps_failures_and_not_answers(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_error error;
  rig_start(&rig, 64 << 10, NULL);
  wodan_last_error(rig.db, &error);
  assert_int_equal(error.code, 0);
  assert_absent(rig.db, NULL, "a");
  wodan_last_error(rig.db, &error);
  assert_int_equal(error.code, 0);
  assert_int_equal(wodan_put(rig.db, (struct wodan_slice){0}, sl("v"), NULL), WODAN_EINVAL);
  put_text(rig.db, "a", "1"); /* success does not clear it */
  assert_absent(rig.db, NULL, "b");
  assert_why(rig.db, WODAN_EINVAL, "empty");
  wodan_last_error(rig.db, &error);
  assert_true(error.block == WODAN_NO_BLOCK);
  assert_int_equal(error.device_errno, 0);
  rig_end(&rig);
}

/* ---- batches ------------------------------------------------------------------------------------------------------ */

static void test_kv__in_a_batch_the_last_operation_on_a_key_wins(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_batch *batch;
  rig_start(&rig, 64 << 10, NULL);
  put_text(rig.db, "old", "x");
  assert_done(rig.db, wodan_batch_create(rig.db, &batch));
  assert_done(rig.db, wodan_batch_put(batch, sl("a"), sl("1")));
  assert_done(rig.db, wodan_batch_put(batch, sl("a"), sl("2")));
  assert_done(rig.db, wodan_batch_put(batch, sl("b"), sl("1")));
  assert_done(rig.db, wodan_batch_delete(batch, sl("b")));
  assert_done(rig.db, wodan_batch_delete(batch, sl("c")));
  assert_done(rig.db, wodan_batch_put(batch, sl("c"), sl("3")));
  assert_done(rig.db, wodan_batch_delete(batch, sl("old")));
  assert_int_equal(wodan_batch_count(batch), 7);
  struct wodan_commit commit = {.durability = WODAN_DURABLE};
  assert_done(rig.db, wodan_batch_commit(rig.db, batch, &commit));
  assert_int_equal(commit.sequence, 8);
  for (int pass = 0; pass < 3; pass++) {
    assert_text(rig.db, NULL, "a", "2");
    assert_absent(rig.db, NULL, "b");
    assert_text(rig.db, NULL, "c", "3");
    assert_absent(rig.db, NULL, "old");
    if (pass == 0) assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
    if (pass == 1) {
      wodan_batch_free(batch);
      rig_reopen(&rig);
    }
  }
  rig_end(&rig);
}

static void test_kv__a_batch_stays_as_it_was_and_clear_empties_it(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_batch *batch;
  rig_start(&rig, 64 << 10, NULL);
  assert_done(rig.db, wodan_batch_create(rig.db, &batch));
  assert_int_equal(wodan_batch_count(batch), 0);
  assert_done(rig.db, wodan_batch_put(batch, sl("a"), sl("1")));
  uint64_t bytes = wodan_batch_bytes(batch);
  assert_true(bytes >= 2);
  assert_absent(rig.db, NULL, "a"); /* nothing before the commit */
  assert_done(rig.db, wodan_batch_commit(rig.db, batch, NULL));
  assert_int_equal(wodan_batch_count(batch), 1);
  assert_int_equal(wodan_batch_bytes(batch), bytes);
  put_text(rig.db, "a", "2");
  assert_done(rig.db, wodan_batch_commit(rig.db, batch, NULL)); /* again */
  assert_text(rig.db, NULL, "a", "1");
  wodan_batch_clear(batch);
  assert_int_equal(wodan_batch_count(batch), 0);
  assert_int_equal(wodan_batch_bytes(batch), 0);
  assert_done(rig.db, wodan_batch_put(batch, sl("b"), sl("1")));
  assert_done(rig.db, wodan_batch_commit(rig.db, batch, NULL));
  assert_text(rig.db, NULL, "a", "1");
  assert_text(rig.db, NULL, "b", "1");
  wodan_batch_free(batch);
  rig_end(&rig);
}

static void test_kv__a_batch_may_hold_half_a_memtable_and_no_byte_more(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_batch *batch;
  char key[32];
  uint8_t value[256];
  rig_start(&rig, 1 << 20, NULL);
  uint64_t limit = rig_info(rig.db).batch_size_max;
  assert_int_equal(limit, rig_info(rig.db).memtable_size / 2);
  assert_done(rig.db, wodan_batch_create(rig.db, &batch));
  uint64_t n = 0;
  for (; wodan_batch_bytes(batch) + 2 * 128 < limit; n++)
    assert_done(rig.db, wodan_batch_put(batch, key_number(n, key), value_number(n, 0, value, 64)));
  /* The last one fills it to the byte. */
  uint64_t before = wodan_batch_bytes(batch), one;
  assert_done(rig.db, wodan_batch_put(batch, key_number(n, key), value_number(n, 0, value, 64)));
  one = wodan_batch_bytes(batch) - before; /* encoded size of such a record */
  n++;
  uint64_t left = limit - wodan_batch_bytes(batch);
  assert_true(left > one - 64 && left - (one - 64) <= sizeof value);
  size_t fits = (size_t)(left - (one - 64));
  assert_int_equal(wodan_batch_put(batch, key_number(n, key), value_number(n, 0, value, fits + 1)), WODAN_ETOOBIG);
  assert_why(rig.db, WODAN_ETOOBIG, "allows");
  assert_int_equal(wodan_batch_count(batch), n);
  assert_done(rig.db, wodan_batch_put(batch, key_number(n, key), value_number(n, 0, value, fits)));
  assert_int_equal(wodan_batch_bytes(batch), limit);
  struct wodan_commit commit = {.durability = WODAN_DURABLE};
  assert_done(rig.db, wodan_batch_commit(rig.db, batch, &commit));
  assert_int_equal(commit.sequence, n + 1);
  assert_int_equal(commit.reached, WODAN_DURABLE);
  wodan_batch_free(batch);
  rig_reopen(&rig);
  for (uint64_t i = 0; i < n; i++) assert_number(rig.db, NULL, i, 0, 64);
  assert_number(rig.db, NULL, n, 0, fits);
  rig_end(&rig);
}

static void test_kv__an_empty_batch_commits_nothing_and_durable_it_is_a_sync(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_batch *batch;
  rig_start(&rig, 64 << 10, NULL);
  put_text(rig.db, "a", "1");
  assert_done(rig.db, wodan_batch_create(rig.db, &batch));
  struct wodan_commit commit = {.durability = WODAN_BUFFERED, .reached = 9, .sequence = 9};
  uint64_t written = rig.kept->writes, flushes = rig.kept->flushes;
  assert_done(rig.db, wodan_batch_commit(rig.db, batch, &commit));
  assert_int_equal(commit.sequence, 0);
  assert_int_equal(commit.reached, WODAN_BUFFERED);
  assert_int_equal(rig.kept->writes, written);
  assert_int_equal(rig_info(rig.db).sequence, 1);
  commit = (struct wodan_commit){.durability = WODAN_DURABLE, .sequence = 9};
  assert_done(rig.db, wodan_batch_commit(rig.db, batch, &commit));
  assert_int_equal(commit.sequence, 0);
  assert_int_equal(commit.reached, WODAN_DURABLE);
  assert_true(rig.kept->flushes > flushes);
  wodan_batch_free(batch);
  struct kept_bytes *image = kept_copy(rig.kept); /* what a crash now leaves */
  rig_close(&rig);
  kept_free(rig.kept);
  rig.kept = image;
  rig_open(&rig);
  assert_text(rig.db, NULL, "a", "1");
  rig_end(&rig);
}

static void test_kv__commit_fields_tell_what_became_of_it(void **state) {
  (void)state;
  struct rig rig;
  rig_start(&rig, 64 << 10, NULL);
  struct wodan_commit commit = {.durability = WODAN_BUFFERED, .reached = 9, .sequence = 9};
  assert_done(rig.db, wodan_put(rig.db, sl("a"), sl("1"), &commit));
  assert_int_equal(commit.reached, WODAN_BUFFERED);
  assert_int_equal(commit.sequence, 1);
  commit.durability = WODAN_DURABLE;
  assert_done(rig.db, wodan_delete(rig.db, sl("a"), &commit));
  assert_int_equal(commit.reached, WODAN_DURABLE);
  assert_int_equal(commit.sequence, 2);
  commit.sequence = 9;
  assert_int_equal(wodan_put(rig.db, (struct wodan_slice){0}, sl("1"), &commit), WODAN_EINVAL);
  assert_int_equal(commit.sequence, 0);
  assert_int_equal(commit.reached, WODAN_BUFFERED);
  assert_int_equal(rig_info(rig.db).sequence, 2);
  rig_end(&rig);
}

/* ---- durability ---------------------------------------------------------------------------------------------------- */

/* A durable commit covers itself and all before it; what follows may be lost, as a suffix. */
static void test_kv__durable_means_this_batch_and_every_one_before_it(void **state) {
  (void)state;
  struct rig rig;
  rig_start(&rig, 64 << 10, NULL);
  put_text(rig.db, "a", "1");
  put_text(rig.db, "b", "2");
  uint64_t written = rig.kept->writes;
  struct wodan_commit commit = {.durability = WODAN_DURABLE};
  assert_done(rig.db, wodan_put(rig.db, sl("c"), sl("3"), &commit));
  assert_true(rig.kept->writes > written);
  written = rig.kept->writes;
  put_text(rig.db, "d", "4");
  assert_int_equal(rig.kept->writes, written); /* buffered: memory only */
  struct kept_bytes *image = kept_copy(rig.kept);
  rig_close(&rig);
  kept_free(rig.kept);
  rig.kept = image;
  rig_open(&rig);
  assert_text(rig.db, NULL, "a", "1");
  assert_text(rig.db, NULL, "b", "2");
  assert_text(rig.db, NULL, "c", "3");
  assert_absent(rig.db, NULL, "d");
  assert_int_equal(rig_info(rig.db).replayed_operations, 3);
  rig_end(&rig);
}

static void test_kv__a_memory_device_commits_and_says_it_is_not_durable(void **state) {
  (void)state;
  struct wodan_device *device;
  struct wodan_db *db;
  struct wodan_error error;
  uint64_t generation = 0;
  assert_int_equal(wodan_memory_device(64 << 10, 0, &device), 0);
  assert_int_equal(wodan_format(device, NULL, &error), 0);
  assert_int_equal(wodan_open(device, NULL, &db, &error), 0);
  assert_int_equal(rig_info(db).durable, 0);
  struct wodan_commit commit = {.durability = WODAN_DURABLE};
  assert_int_equal(wodan_put(db, sl("a"), sl("1"), &commit), WODAN_ENOTDURABLE);
  assert_int_equal(commit.reached, WODAN_BUFFERED);
  assert_int_equal(commit.sequence, 1);
  assert_text(db, NULL, "a", "1");
  assert_why(db, WODAN_ENOTDURABLE, "device");
  put_text(db, "b", "2");
  uint64_t flushes = rig_stats(db).device_flushes, writes = rig_stats(db).device_writes;
  assert_int_equal(wodan_sync(db), WODAN_ENOTDURABLE);
  assert_true(rig_stats(db).device_flushes > flushes && rig_stats(db).device_writes > writes);
  assert_int_equal(wodan_checkpoint(db, &generation), WODAN_ENOTDURABLE);
  assert_true(generation > 1);
  assert_int_equal(wodan_close(db, &error), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_kv__a_put_is_read_at_once_and_after_reopen),
      cmocka_unit_test(test_kv__delete_removes_and_an_absent_key_is_no_failure),
      cmocka_unit_test(test_kv__an_empty_value_is_a_value),
      cmocka_unit_test(test_kv__keys_are_bytes_and_a_prefix_is_another_key),
      cmocka_unit_test(test_kv__a_small_buffer_answers_erange_with_the_size_and_copies_nothing),
      cmocka_unit_test(test_kv__nothing_given_to_a_write_is_kept),
      cmocka_unit_test(test_kv__key_and_value_limits_hold_exactly),
      cmocka_unit_test(test_kv__an_empty_key_is_refused),
      cmocka_unit_test(test_kv__null_arguments_are_answered),
      cmocka_unit_test(test_kv__a_bad_durability_is_refused_before_any_change),
      cmocka_unit_test(test_kv__the_last_error_keeps_failures_and_not_answers),
      cmocka_unit_test(test_kv__in_a_batch_the_last_operation_on_a_key_wins),
      cmocka_unit_test(test_kv__a_batch_stays_as_it_was_and_clear_empties_it),
      cmocka_unit_test(test_kv__a_batch_may_hold_half_a_memtable_and_no_byte_more),
      cmocka_unit_test(test_kv__an_empty_batch_commits_nothing_and_durable_it_is_a_sync),
      cmocka_unit_test(test_kv__commit_fields_tell_what_became_of_it),
      cmocka_unit_test(test_kv__durable_means_this_batch_and_every_one_before_it),
      cmocka_unit_test(test_kv__a_memory_device_commits_and_says_it_is_not_durable),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
