/* A memtable's range deletes against a table of all operations: every key at every moment, both directions, the stretches told
 * to a merge, and the list that a drain writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "memtable/memtable.h"
#include "support/random.h"

enum { KEYS = 20, OPERATIONS = 60, ROUNDS = 60 };

struct operation {
  uint8_t kind;
  unsigned key, until;
};

static char names[KEYS + 1][4];

static struct wodan_slice name(unsigned key) { return (struct wodan_slice){names[key], 2}; }

/* What the key has at the moment: kind and sequence; false: no operation concerns it. */
static bool truth(const struct operation *all, unsigned key, uint64_t moment, bool ranges, struct record *out) {
  for (uint64_t i = moment; i > 0; i--) {
    const struct operation *op = &all[i - 1];
    bool range = op->kind == RECORD_DELETE_RANGE;
    if (range ? !ranges || key < op->key || key >= op->until : key != op->key) continue;
    *out = (struct record){.sequence = i, .kind = range ? RECORD_DELETE : op->kind};
    return true;
  }
  return false;
}

static void insert(struct memtable *table, const struct operation *op, uint64_t sequence) {
  struct record record = {.key = name(op->key), .sequence = sequence, .kind = op->kind};
  if (op->kind == RECORD_PUT) record.value = name(0);
  if (op->kind == RECORD_DELETE_RANGE) record.value = name(op->until);
  assert_int_equal(memtable_reserve(table, 1, record.key.size + record.value.size, NULL), 0);
  assert_int_equal(memtable_reserve_ranges(table, 1, NULL), 0);
  memtable_insert(table, &record);
}

static void judge_moment(struct memtable *table, const struct operation *all, uint64_t moment, bool back) {
  struct iterator *it = memtable_iterator(table, moment);
  struct record due, found;
  assert_int_equal(back ? iterator_last(it, NULL) : iterator_first(it, NULL), 0);
  for (unsigned n = 0; n < KEYS; n++) {
    unsigned key = back ? KEYS - 1 - n : n;
    bool there = truth(all, key, moment, true, &due);
    int status = memtable_get(table, name(key), memtable_hash(name(key)), moment, &found);
    assert_int_equal(status, there ? 0 : WODAN_ENOTFOUND);
    if (there) assert_true(found.kind == due.kind && found.sequence == due.sequence);
    if (it->ranges) {
      struct range_stretch stretch;
      it->ops->around(it, name(key), &stretch);
      bool covered = false;
      for (uint64_t i = 0; i < moment; i++)
        covered |= all[i].kind == RECORD_DELETE_RANGE && key >= all[i].key && key < all[i].until;
      assert_int_equal(stretch.covered, covered);
      for (unsigned other = 0; other < KEYS; other++) {
        bool same = false;
        for (uint64_t i = 0; i < moment; i++)
          same |= all[i].kind == RECORD_DELETE_RANGE && other >= all[i].key && other < all[i].until;
        if (span_holds(&stretch.span, name(key)) && span_holds(&stretch.span, name(other)))
          assert_int_equal(same, covered);
      }
    }
    struct record own;
    if (!truth(all, key, moment, false, &own)) continue; /* only keys of their own are shown */
    assert_true(it->valid && key_compare(it->record.key, name(key)) == 0);
    assert_int_equal(it->record.kind, due.kind);
    bool hidden = own.sequence != due.sequence; /* then the sequence is that of one range over it, newer than it */
    assert_true(hidden ? it->record.sequence > own.sequence : it->record.sequence == due.sequence);
    assert_int_equal(back ? iterator_prev(it, NULL) : iterator_next(it, NULL), 0);
  }
  assert_false(it->valid);
  iterator_close(it);
}

static void judge_list(struct memtable *table, const struct operation *all, struct mem *mem) {
  struct range_buffer list;
  assert_true(memtable_ranges(table, mem, &list));
  for (unsigned key = 0; key < KEYS; key++) {
    uint64_t newest = 0;
    for (uint64_t i = 0; i < OPERATIONS; i++)
      if (all[i].kind == RECORD_DELETE_RANGE && key >= all[i].key && key < all[i].until) newest = i + 1;
    size_t at = ranges_find(range_buffer_all(&list), name(key));
    bool covered = ranges_cover(range_buffer_all(&list), name(key));
    assert_int_equal(covered, newest > 0);
    if (covered) assert_int_equal(list.at[at].sequence, newest);
  }
  range_buffer_release(mem, &list);
}

static void test_memtable_ranges__every_moment_equals_a_table(void **state) {
  (void)state;
  uint64_t random = 20261129;
  struct mem mem;
  mem_init(&mem, NULL);
  for (unsigned i = 0; i <= KEYS; i++) snprintf(names[i], sizeof names[i], "\1%c", (char)('a' + (int)i));
  for (int round = 0; round < ROUNDS; round++) {
    struct operation all[OPERATIONS];
    struct memtable *table = memtable_create(&mem, NULL);
    for (uint64_t i = 0; i < OPERATIONS; i++) {
      uint64_t dice = random_below(&random, 10);
      all[i].kind = dice < 4 ? RECORD_PUT : dice < 5 ? RECORD_DELETE : RECORD_DELETE_RANGE;
      all[i].key = (unsigned)random_below(&random, KEYS);
      all[i].until = all[i].key + 1 + (unsigned)random_below(&random, KEYS - all[i].key);
      insert(table, &all[i], i + 1);
    }
    for (uint64_t moment = 1; moment <= OPERATIONS; moment += 1 + random_below(&random, 9))
      for (int back = 0; back < 2; back++) judge_moment(table, all, moment, back);
    judge_list(table, all, &mem);
    memtable_unref(table);
  }
  assert_int_equal(mem_used(&mem), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_memtable_ranges__every_moment_equals_a_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
