/* Contents: what is equal, what differs and how it is told; copies; reading a database both ways. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "crash/content.h"

static struct mem mem;

static struct wodan_slice text(const char *string) { return (struct wodan_slice){string, strlen(string)}; }

static struct content make(const char *const *pairs) {
  struct content content;
  content_init(&content, &mem);
  for (; pairs[0]; pairs += 2) content_add(&content, text(pairs[0]), text(pairs[1]));
  return content;
}

static void assert_difference(const char *const *found, const char *const *due, const char *sentence) {
  struct content a = make(found), b = make(due);
  char why[200] = "";
  assert_int_equal(content_equal(&a, &b), sentence[0] == 0);
  content_differ(&a, &b, why, sizeof why);
  assert_string_equal(why, sentence);
  content_release(&a);
  content_release(&b);
}

static const char *const NONE[] = {NULL};
static const char *const ONE[] = {"a", "1", NULL};
static const char *const OTHER[] = {"a", "2", NULL};
static const char *const LONGER[] = {"a", "11", NULL};
static const char *const EMPTY_VALUE[] = {"a", "", NULL};
static const char *const TWO[] = {"a", "1", "b", "2", NULL};
static const char *const SPLIT[] = {"a1", "", "b", "2", NULL}; /* the same letters, cut elsewhere */

static void test_content__differences_are_told(void **state) {
  (void)state;
  assert_difference(NONE, NONE, "");
  assert_difference(TWO, TWO, "");
  assert_difference(NONE, ONE, "key 'a' is missing");
  assert_difference(ONE, NONE, "key 'a' is too many");
  assert_difference(ONE, TWO, "key 'b' is missing");
  assert_difference(TWO, ONE, "key 'b' is too many");
  assert_difference(ONE, OTHER, "key 'a' has the wrong value '1' for '2'");
  assert_difference(ONE, LONGER, "key 'a' has the wrong value '1' for '11'");
  assert_difference(EMPTY_VALUE, ONE, "key 'a' has the wrong value '' for '1'");
  assert_difference(TWO, SPLIT, "key 'a' is too many");
}

static void test_content__failed_ones_equal_nothing(void **state) {
  (void)state;
  struct content a = make(ONE), b = make(ONE);
  assert_true(content_equal(&a, &b));
  b.failed = true;
  assert_false(content_equal(&a, &b));
  content_copy(&a, &b);
  assert_true(a.failed);
  content_clear(&a);
  assert_false(a.failed);
  content_release(&a);
  content_release(&b);
}

static void test_content__copies_are_equal_and_their_own(void **state) {
  (void)state;
  struct content a = make(TWO), b, none = make(NONE);
  content_init(&b, &mem);
  content_copy(&b, &a);
  assert_true(content_equal(&a, &b));
  assert_int_equal(content_hash(&a, 7), content_hash(&b, 7));
  assert_int_not_equal(content_hash(&a, 7), content_hash(&a, 8));
  content_add(&b, text("c"), text("3"));
  assert_false(content_equal(&a, &b));
  assert_int_equal(a.count, 2);
  content_copy(&b, &none);
  assert_true(content_equal(&b, &none));
  content_release(&a);
  content_release(&b);
  content_release(&none);
}

static void test_content__reads_a_database_both_ways(void **state) {
  (void)state;
  struct wodan_device *device;
  struct wodan_db *db;
  struct content there, due = make(TWO);
  content_init(&there, &mem);
  assert_int_equal(wodan_memory_device(64 << 10, 512, &device), 0);
  assert_int_equal(wodan_format(device, NULL, NULL), 0);
  assert_int_equal(wodan_open(device, &(struct wodan_open_options){.flags = WODAN_OPEN_INLINE}, &db, NULL), 0);
  assert_int_equal(wodan_put(db, text("b"), text("2"), NULL), 0);
  assert_int_equal(wodan_put(db, text("a"), text("1"), NULL), 0);
  assert_int_equal(content_read(&there, db, false), 0);
  assert_true(content_equal(&there, &due));
  assert_int_equal(content_read(&there, db, true), 0);
  assert_int_equal(there.count, 2);
  struct wodan_slice key, value;
  size_t at = 0;
  assert_true(content_next(&there, &at, &key, &value));
  assert_int_equal(key.size, 1);
  assert_memory_equal(key.data, "b", 1);
  assert_true(content_next(&there, &at, &key, &value));
  assert_memory_equal(value.data, "1", 1);
  assert_false(content_next(&there, &at, &key, &value));
  assert_int_equal(wodan_close(db, NULL), 0);
  content_release(&there);
  content_release(&due);
}

static int nothing_left(void **state) {
  (void)state;
  return mem_used(&mem) ? -1 : 0;
}

int main(void) {
  mem_init(&mem, NULL);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(test_content__differences_are_told, nothing_left),
      cmocka_unit_test_teardown(test_content__failed_ones_equal_nothing, nothing_left),
      cmocka_unit_test_teardown(test_content__copies_are_equal_and_their_own, nothing_left),
      cmocka_unit_test_teardown(test_content__reads_a_database_both_ways, nothing_left),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
