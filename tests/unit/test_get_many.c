/* wodan_get_many answers each key as wodan_get_pinned would: in memtables, runs and leaves, deleted and absent, at a view, on a
 * damaged image and with the least memory. */
#include "engine_rig.h"

enum { KEYS = 3000, VALUE = 100, MANY = 200 };

struct asked {
  char text[MANY][32];
  struct wodan_slice keys[MANY];
  struct wodan_pinned pinned[MANY];
  int statuses[MANY];
};

/* Keys at random, every third one above all that are there. */
static void ask_random(struct asked *asked, size_t count, uint64_t *random) {
  for (size_t i = 0; i < count; i++)
    asked->keys[i] = key_number(random_below(random, KEYS) + (i % 3 ? 0 : KEYS / 2), asked->text[i]);
}

/* Returns how many were found. */
static size_t assert_as_one_by_one(struct wodan_db *db, struct wodan_view *view, struct asked *asked, size_t count) {
  size_t found = 0;
  int failure = wodan_get_many(db, view, asked->keys, count, asked->pinned, asked->statuses), seen = 0;
  for (size_t i = 0; i < count; i++) {
    struct wodan_pinned one = {0};
    int status = wodan_get_pinned(db, view, asked->keys[i], &one);
    if (status != asked->statuses[i])
      fail_msg("key %zu, '%s': %d together, %d alone", i, asked->text[i], asked->statuses[i], status);
    const struct wodan_slice *value = &asked->pinned[i].value;
    assert_int_equal(value->size, one.value.size);
    if (value->size) assert_memory_equal(value->data, one.value.data, value->size);
    if (status != 0 && status != WODAN_ENOTFOUND) seen = status;
    found += status == 0;
    wodan_unpin(db, &one);
  }
  assert_int_equal(failure, seen);
  wodan_unpin_many(db, asked->pinned, count);
  return found;
}

/* A tree of several levels with runs, and records in the memtable. */
static void start_filled(struct rig *rig, uint64_t size, uint64_t seed) {
  struct wodan_format_options format = {.page_size = 512, .memtable_size = 8192, .leaf_size = 4096, .node_leaves = 16};
  rig_start(rig, size, &format);
  for (uint64_t i = 0; i < KEYS; i++) assert_done(rig->db, put_number(rig->db, i, 1, VALUE));
  churn(rig->db, KEYS, 4000, VALUE, seed);
}

static void test_many__each_key_is_answered_as_if_alone(void **state) {
  (void)state;
  struct rig rig;
  struct asked *asked = malloc(sizeof *asked);
  struct wodan_view *view;
  uint64_t random = 7;
  size_t found = 0;
  start_filled(&rig, 4 << 20, 11);
  assert_true(rig_stats(rig.db).levels > 1 && rig_stats(rig.db).runs > 0);
  assert_done(rig.db, wodan_view_open(rig.db, &view));
  for (int round = 0; round < 60; round++) {
    size_t count = 1 + random_below(&random, MANY);
    ask_random(asked, count, &random);
    found += assert_as_one_by_one(rig.db, NULL, asked, count);
    found += assert_as_one_by_one(rig.db, view, asked, count);
    if (round % 8 == 7) churn(rig.db, KEYS, 200, VALUE, (uint64_t)round);
  }
  assert_true(found > 1000);
  wodan_view_close(view);
  assert_done(rig.db, wodan_compact(rig.db, NULL, NULL, 0, NULL));
  ask_random(asked, MANY, &random);
  assert_true(assert_as_one_by_one(rig.db, NULL, asked, MANY) > MANY / 4);
  rig_end(&rig);
  free(asked);
}

static void test_many__the_same_key_may_come_often(void **state) {
  (void)state;
  struct rig rig;
  struct asked *asked = malloc(sizeof *asked);
  start_filled(&rig, 4 << 20, 12);
  for (size_t i = 0; i < MANY; i++) asked->keys[i] = key_number(5 + i % 2, asked->text[i]);
  assert_as_one_by_one(rig.db, NULL, asked, MANY);
  rig_end(&rig);
  free(asked);
}

/* A key that cannot be one spoils nothing for the others; keys as long as they may be leave room for few in one pass. */
static void test_many__a_bad_key_has_its_own_answer(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_pinned pinned[5];
  int statuses[5];
  char longest[64], longer[65];
  rig_start(&rig, 64 << 10, &(struct wodan_format_options){.page_size = 512});
  memset(longest, 'l', sizeof longest);
  memset(longer, 'l', sizeof longer);
  assert_done(rig.db, wodan_put(rig.db, (struct wodan_slice){longest, 64}, sl("1"), NULL));
  put_text(rig.db, "b", "2");
  assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
  struct wodan_slice keys[5] = {{longest, 64}, {NULL, 0}, {longer, 65}, sl("b"), sl("c")};
  assert_int_equal(wodan_get_many(rig.db, NULL, keys, 5, pinned, statuses), WODAN_ETOOBIG);
  assert_why(rig.db, WODAN_ETOOBIG, "65 bytes");
  static const int due[5] = {0, WODAN_EINVAL, WODAN_ETOOBIG, 0, WODAN_ENOTFOUND};
  for (int i = 0; i < 5; i++) assert_int_equal(statuses[i], due[i]);
  assert_memory_equal(pinned[0].value.data, "1", 1);
  assert_memory_equal(pinned[3].value.data, "2", 1);
  for (int i = 1; i < 5; i++) assert_true(i == 3 || (!pinned[i].value.data && !pinned[i].owner[0]));
  struct wodan_error error;
  assert_int_equal(wodan_close(rig.db, &error), WODAN_EBUSY);
  wodan_unpin(rig.db, &pinned[0]);
  assert_int_equal(wodan_close(rig.db, &error), WODAN_EBUSY);
  wodan_unpin_many(rig.db, pinned, 5);
  struct wodan_stats stats = rig_stats(rig.db);
  assert_int_equal(stats.gets, 5);
  assert_int_equal(stats.gets_found, 2);
  assert_int_equal(stats.user_bytes_read, 2);
  rig_end(&rig);
}

static void test_many__null_arguments_are_answered(void **state) {
  (void)state;
  struct rig rig, other;
  struct wodan_slice key = sl("a");
  struct wodan_pinned pinned = {0};
  struct wodan_view *view;
  int status = 99;
  rig_start(&rig, 64 << 10, NULL);
  rig_start(&other, 64 << 10, NULL);
  assert_int_equal(wodan_get_many(NULL, NULL, &key, 1, &pinned, &status), WODAN_EINVAL);
  assert_int_equal(wodan_get_many(rig.db, NULL, NULL, 1, &pinned, &status), WODAN_EINVAL);
  assert_int_equal(wodan_get_many(rig.db, NULL, &key, 1, NULL, &status), WODAN_EINVAL);
  assert_int_equal(wodan_get_many(rig.db, NULL, &key, 1, &pinned, NULL), WODAN_EINVAL);
  assert_int_equal(status, 99);
  assert_done(rig.db, wodan_get_many(rig.db, NULL, NULL, 0, NULL, NULL));
  assert_done(other.db, wodan_view_open(other.db, &view));
  assert_int_equal(wodan_get_many(rig.db, view, &key, 1, &pinned, &status), WODAN_EINVAL);
  wodan_view_close(view);
  wodan_unpin_many(NULL, &pinned, 1);
  wodan_unpin_many(rig.db, NULL, 1);
  rig_end(&other);
  rig_end(&rig);
}

/* On damage each key's answer is still its own: those in whole pages are found. */
static void test_many__damage_concerns_the_keys_in_it(void **state) {
  (void)state;
  struct rig rig;
  struct asked *asked = malloc(sizeof *asked);
  uint64_t random = 3, damaged = 0;
  start_filled(&rig, 2 << 20, 13);
  rig_close(&rig);
  for (int flip = 0; flip < 40; flip++) {
    struct kept_bytes *whole = rig.kept;
    rig.kept = kept_copy(whole);
    for (int i = 0; i < 300; i++)
      rig.kept->data[rig.kept->size / 2 + random_below(&random, rig.kept->size / 4)] ^= 0x10;
    struct wodan_open_options options = rig_options(&rig);
    options.flags |= WODAN_OPEN_READ_ONLY;
    struct wodan_error error;
    struct wodan_device *device = kept_plug(rig.kept, rig.sector, 0);
    if (wodan_open(device, &options, &rig.db, &error) == 0) {
      ask_random(asked, MANY, &random);
      assert_as_one_by_one(rig.db, NULL, asked, MANY);
      for (size_t i = 0; i < MANY; i++) damaged += asked->statuses[i] == WODAN_ECORRUPT;
      rig_close(&rig);
    } else {
      assert_int_equal(wodan_device_close(device), 0);
    }
    kept_free(rig.kept);
    rig.kept = whole;
  }
  assert_true(damaged > 10);
  kept_free(rig.kept);
  free(asked);
}

/* With the least memory a group is always answered; more values than there are pages for are refused, key by key. */
static void test_many__what_has_no_room_is_told(void **state) {
  (void)state;
  struct rig rig;
  struct asked *asked = malloc(sizeof *asked);
  uint64_t random = 5;
  start_filled(&rig, 4 << 20, 14);
  struct wodan_open_options options = rig_options(&rig);
  options.memory_budget = rig_info(rig.db).memory_needed;
  rig_close(&rig);
  rig_open_with(&rig, &options);
  for (int round = 0; round < 50; round++) {
    ask_random(asked, 16, &random);
    assert_as_one_by_one(rig.db, NULL, asked, 16);
  }
  ask_random(asked, MANY, &random);
  size_t refused = 0;
  int status = wodan_get_many(rig.db, NULL, asked->keys, MANY, asked->pinned, asked->statuses);
  for (size_t i = 0; i < MANY; i++) {
    assert_true(asked->statuses[i] == 0 || asked->statuses[i] == WODAN_ENOTFOUND || asked->statuses[i] == WODAN_ENOMEM);
    refused += asked->statuses[i] == WODAN_ENOMEM;
  }
  assert_int_equal(status, refused ? WODAN_ENOMEM : 0);
  assert_true(refused > 0);
  wodan_unpin_many(rig.db, asked->pinned, MANY);
  assert_as_one_by_one(rig.db, NULL, asked, 16);
  rig_end(&rig);
  free(asked);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_many__each_key_is_answered_as_if_alone),
      cmocka_unit_test(test_many__the_same_key_may_come_often),
      cmocka_unit_test(test_many__a_bad_key_has_its_own_answer),
      cmocka_unit_test(test_many__null_arguments_are_answered),
      cmocka_unit_test(test_many__damage_concerns_the_keys_in_it),
      cmocka_unit_test(test_many__what_has_no_room_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
