/* Range deletes as bytes and as lists: the section's rules one by one, searches and unions against a table of keys. See also:
 * test_memtable_ranges.c, test_engine_ranges.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "format/range.h"
#include "support/random.h"

static struct wodan_slice text_of(const char *text) { return (struct wodan_slice){text, strlen(text)}; }

static struct range_delete range_of(const char *from, const char *to, uint64_t sequence) {
  return (struct range_delete){text_of(from), text_of(to), sequence};
}

static size_t encode(const struct range_delete *ranges, size_t count, uint8_t out[512]) {
  struct wire_writer w = wire_writer(out, 512);
  wire_put_varint(&w, count);
  for (size_t i = 0; i < count; i++) range_encode(&w, &ranges[i]);
  assert_false(w.failed);
  return w.at;
}

/* words: of the fault; NULL: there is none. */
static void expect(const struct range_delete *ranges, size_t count, const char *words) {
  const struct range_limits limits = {.key_max = 9, .sequence_max = 100};
  uint8_t bytes[512];
  uint64_t found = 0;
  size_t size = encode(ranges, count, bytes);
  const char *fault = range_section_fault(bytes, size, &limits, &found);
  if (!fault != !words || (fault && !strstr(fault, words)))
    fail_msg("'%s' where '%s' is due", fault ? fault : "nothing", words ? words : "nothing");
}

static void test_range__a_section_is_proven_rule_by_rule(void **state) {
  (void)state;
  expect((struct range_delete[]){range_of("\1a", "\1b", 3), range_of("\1b", "\1c", 4), range_of("\1x", "\2", 100)}, 3,
         NULL);
  expect(NULL, 0, "not as many");
  expect((struct range_delete[]){range_of("\1a", "\1a", 3)}, 1, "ends where it begins");
  expect((struct range_delete[]){range_of("\1b", "\1a", 3)}, 1, "ends where it begins");
  expect((struct range_delete[]){range_of("", "\1a", 3)}, 1, "ends where it begins");
  expect((struct range_delete[]){range_of("", "\1", 3)}, 1, "ends where it begins");
  expect((struct range_delete[]){range_of("\1a", "", 3)}, 1, "ends where it begins");
  expect((struct range_delete[]){range_of("\1a", "\2a", 3)}, 1, "another table");
  expect((struct range_delete[]){range_of("\1a", "\3", 3)}, 1, "another table");
  expect((struct range_delete[]){range_of("\1a",
                                          "\001"
                                          "123456789",
                                          3)},
         1, "longer");
  expect((struct range_delete[]){range_of("\001"
                                          "123456789",
                                          "\2", 3)},
         1, "longer");
  expect((struct range_delete[]){range_of("\1a", "\1b", 0)}, 1, "sequence");
  expect((struct range_delete[]){range_of("\1a", "\1b", 101)}, 1, "sequence");
  expect((struct range_delete[]){range_of("\1a", "\1c", 3), range_of("\1b", "\1d", 4)}, 2, "overlap");
  expect((struct range_delete[]){range_of("\1c", "\1d", 3), range_of("\1a", "\1b", 4)}, 2, "overlap");
  expect((struct range_delete[]){range_of("\1a", "\1b", 3), range_of("\1b", "\1c", 3)}, 2, "are one");
}

static void test_range__every_cut_is_found(void **state) {
  (void)state;
  const struct range_limits limits = {.key_max = 9, .sequence_max = 100};
  const struct range_delete ranges[] = {range_of("\1a", "\1b", 3), range_of("\1c", "\2", 4)};
  uint8_t bytes[512], cut[512];
  uint64_t count;
  size_t size = encode(ranges, 2, bytes);
  for (size_t n = 0; n < size; n++) {
    memcpy(cut, bytes, n);
    const char *fault = range_section_fault(cut, n, &limits, &count);
    assert_non_null(fault);
    assert_non_null(strstr(fault, n / RANGE_SIZE_MIN < 2 ? "not as many" : "do not decode"));
  }
  bytes[size] = 0;
  assert_non_null(range_section_fault(bytes, size + 1, &limits, &count));
  struct mem mem;
  mem_init(&mem, NULL);
  struct range_list *list = range_list_create(&mem, bytes, size);
  assert_true(list && list->count == 2 && list->at[1].sequence == 4);
  assert_int_equal(key_compare(list->at[1].from, text_of("\1c")), 0);
  range_list_free(&mem, list);
  assert_int_equal(mem_used(&mem), 0);
}

/* ---- against a table ---------------------------------------------------------------------------------------------- */

enum { PLACES = 24 };

static char names[PLACES + 1][4];

static struct wodan_slice place(size_t i) { return text_of(names[i]); }

/* A list of disjoint ranges, and what each place has: 0 nothing. */
static void draw(uint64_t *random, struct mem *mem, struct range_buffer *list, uint64_t table[PLACES]) {
  memset(table, 0, PLACES * sizeof *table);
  *list = (struct range_buffer){0};
  for (size_t at = 0; at < PLACES;) {
    size_t from = at + random_below(random, 5), to = from + 1 + random_below(random, 5);
    if (to > PLACES) break;
    struct range_delete range = {place(from), place(to), 1 + random_below(random, 4)};
    assert_true(range_buffer_add(mem, list, &range));
    for (size_t i = from; i < to; i++) table[i] = range.sequence;
    at = to;
  }
}

static void test_range__unions_and_searches_equal_a_table(void **state) {
  (void)state;
  uint64_t random = 20261129;
  struct mem mem;
  mem_init(&mem, NULL);
  for (size_t i = 0; i <= PLACES; i++) snprintf(names[i], sizeof names[i], "\1%c", (char)('a' + (int)i));
  for (int round = 0; round < 3000; round++) {
    struct range_buffer lists[3], all;
    uint64_t tables[3][PLACES];
    for (int l = 0; l < 3; l++) draw(&random, &mem, &lists[l], tables[l]);
    size_t low = random_below(&random, PLACES), high = low + 1 + random_below(&random, PLACES - low);
    struct key_span span = {place(low), place(high)};
    const struct ranges three[] = {range_buffer_all(&lists[0]), range_buffer_all(&lists[1]),
                                   range_buffer_all(&lists[2])};
    assert_true(ranges_unite(&mem, three, 3, &span, &all));
    struct ranges united = range_buffer_all(&all);
    bool whole = true, some = false;
    for (size_t i = 0; i < PLACES; i++) {
      uint64_t due = 0;
      for (int l = 0; l < 3; l++)
        if (i >= low && i < high && tables[l][i] > due) due = tables[l][i];
      size_t at = ranges_find(united, place(i));
      bool covered = ranges_cover(united, place(i));
      if (covered != (due > 0) || (covered && united.at[at].sequence != due))
        fail_msg("round %d, place %zu: another sequence", round, i);
      struct range_stretch stretch;
      ranges_stretch(united, place(i), &stretch);
      assert_true(stretch.covered == covered && span_holds(&stretch.span, place(i)));
      if (i < low || i >= high) continue;
      whole = whole && due;
      some = some || due;
    }
    assert_int_equal(ranges_cover_span(united, &span), whole);
    assert_int_equal(ranges_touch_span(united, &span), some);
    for (size_t i = 1; i < united.count; i++) {
      int order = key_compare(united.at[i - 1].to, united.at[i].from);
      assert_true(order < 0 || (order == 0 && united.at[i - 1].sequence != united.at[i].sequence));
    }
    range_buffer_release(&mem, &all);
    for (int l = 0; l < 3; l++) range_buffer_release(&mem, &lists[l]);
  }
  assert_int_equal(mem_used(&mem), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_range__a_section_is_proven_rule_by_rule),
      cmocka_unit_test(test_range__every_cut_is_found),
      cmocka_unit_test(test_range__unions_and_searches_equal_a_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
