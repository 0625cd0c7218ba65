/* JSON as the commands write it: commas, escapes, null, the lines instead of it, and no memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "json.h"

static void assert_says(struct json *json, const char *wanted) {
  assert_false(json->text.failed);
  assert_int_equal(json->text.size, strlen(wanted));
  assert_memory_equal(json->text.data, wanted, strlen(wanted));
  json_release(json);
  assert_null(json->text.data);
}

static void say_some(struct json *json) {
  json_open(json, NULL, '{');
  json_number(json, "most", UINT64_MAX);
  json_real(json, "share", 2.0 / 3);
  json_bool(json, "yes", true);
  json_bool(json, "no", false);
  json_text(json, "text", "a b");
  json_text(json, "none", NULL);
  json_block(json, "block", 7);
  json_block(json, "no_block", WODAN_NO_BLOCK);
  json_close(json, '}');
}

static void test_json__members_come_out_in_order(void **state) {
  (void)state;
  struct json json = {0};
  say_some(&json);
  assert_says(&json, "{\"most\":18446744073709551615,\"share\":0.667,\"yes\":true,\"no\":false,\"text\":\"a b\","
                     "\"none\":null,\"block\":7,\"no_block\":null}");
}

static void test_json__the_same_as_lines(void **state) {
  (void)state;
  struct json json = {.lines = true};
  say_some(&json);
  json_number(&json, "a_name_that_is_longer_than_its_column", 1);
  assert_says(&json, "most                     18446744073709551615\n"
                     "share                    0.667\n"
                     "yes                      true\n"
                     "no                       false\n"
                     "text                     a b\n"
                     "none                     -\n"
                     "block                    7\n"
                     "no_block                 -\n"
                     "a_name_that_is_longer_than_its_column 1\n");
}

static void test_json__commas_stand_between_values_only(void **state) {
  (void)state;
  struct json json = {0}, list = {0}, nothing = {0};
  json_open(&list, NULL, '[');
  for (uint64_t i = 0; i < 3; i++) json_number(&list, NULL, i);
  json_open(&list, NULL, '[');
  json_close(&list, ']');
  json_close(&list, ']');
  json_open(&json, NULL, '{');
  json_append(&json, "list", &list);
  json_append(&json, "nothing", &nothing);
  json_open(&json, "objects", '[');
  for (unsigned i = 0; i < 2; i++) {
    json_open(&json, NULL, '{');
    json_close(&json, '}');
  }
  json_close(&json, ']');
  json_text(&json, "brackets", "{[");
  json_text(&json, "last", "");
  json_close(&json, '}');
  assert_says(&json, "{\"list\":[0,1,2,[]],\"nothing\":null,\"objects\":[{},{}],\"brackets\":\"{[\",\"last\":\"\"}");
  json_release(&list);
}

static void test_json__bytes_are_escaped_or_encoded(void **state) {
  (void)state;
  static const struct {
    const char *bytes;
    size_t size;
    const char *wanted;
  } table[] = {
      {"", 0, "{\"key\":\"\"}"},
      {"a\"b\\c/d", 7, "{\"key\":\"a\\\"b\\\\c/d\"}"},
      {"\n\t\r\0\x7f", 5, "{\"key\":\"\\n\\t\\u000d\\u0000\\u007f\"}"},
      {"\xc3\xa9", 2, "{\"key\":\"\xc3\xa9\"}"},
      {"\xff\xfe", 2, "{\"key_base64\":\"//4=\"}"},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    struct json json = {0};
    json_open(&json, NULL, '{');
    json_bytes(&json, "key", (struct wodan_slice){.data = table[i].bytes, .size = table[i].size});
    json_close(&json, '}');
    assert_says(&json, table[i].wanted);
  }
  struct json json = {0};
  json_hex(&json, NULL, (struct wodan_slice){.data = "\x00\xab", .size = 2});
  assert_says(&json, "\"00ab\"");
}

/* Also when only a part that is appended had none. */
static void test_json__without_memory_it_says_so(void **state) {
  (void)state;
  struct json json = {0}, part = {.text = {.failed = true}};
  json_open(&json, NULL, '{');
  json_append(&json, "part", &part);
  json_number(&json, "more", 1);
  json_close(&json, '}');
  assert_true(json.text.failed);
  json_release(&json);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_json__members_come_out_in_order),
      cmocka_unit_test(test_json__the_same_as_lines),
      cmocka_unit_test(test_json__commas_stand_between_values_only),
      cmocka_unit_test(test_json__bytes_are_escaped_or_encoded),
      cmocka_unit_test(test_json__without_memory_it_says_so),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
