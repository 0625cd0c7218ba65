/* Owns: the tests of the merge, against a plain sorted array: random moves and turns, sources that fail, memory that
 * runs out, records that stay until the next move. Seeds are printed on failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "iter/merge.h"

/* ---- support ---------------------------------------------------------------------------------------------------- */

struct faulty {
  size_t calls, fail_at;
};

static void *faulty_allocate(void *context, size_t size, size_t alignment) {
  struct faulty *f = context;
  if (++f->calls == f->fail_at) return NULL;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void faulty_release(void *context, void *memory, size_t size) {
  (void)context;
  (void)size;
  free(memory);
}

static void faulty_init(struct mem *mem, struct faulty *f) {
  *f = (struct faulty){0};
  struct wodan_allocator hooks = {.context = f, .allocate = faulty_allocate, .release = faulty_release};
  mem_init(mem, &hooks);
}

static uint64_t next_random(uint64_t *state) {
  *state += UINT64_C(0x9e3779b97f4a7c15);
  uint64_t x = *state;
  x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

enum { KEY_MAX = 24, SOURCES_MAX = 70, RECORDS_MAX = 60 };

struct item {
  uint8_t key[KEY_MAX];
  size_t key_size;
  uint64_t sequence; /* 1000 * (source + 1) + number: tells where a record comes from */
  uint8_t kind;
};

static struct wodan_slice item_key(const struct item *item) { return (struct wodan_slice){item->key, item->key_size}; }

/* Sorted items; the record's bytes are in a block of its own that dies with the next move, so that whoever looks at
 * them too late is caught by the sanitizer. moves_left: when it reaches 0 the next move fails. */
struct source {
  struct iterator base;
  struct item items[RECORDS_MAX];
  size_t count, at;
  uint8_t *bytes;
  long moves_left;
  size_t moves;
  size_t *closed;
};

static int source_show(struct source *s, size_t at, struct wodan_error *error) {
  free(s->bytes);
  s->bytes = NULL;
  s->base.valid = false;
  s->base.record = (struct record){0};
  s->moves++;
  if (s->moves_left == 0) return status_set(error, WODAN_EIO, 5, 77, "source fails");
  if (s->moves_left > 0) s->moves_left--;
  s->at = at;
  if (at >= s->count) return 0;
  const struct item *item = &s->items[at];
  s->bytes = malloc(item->key_size ? item->key_size : 1);
  assert_non_null(s->bytes);
  memcpy(s->bytes, item->key, item->key_size);
  s->base.record = (struct record){.key = {s->bytes, item->key_size}, .sequence = item->sequence, .kind = item->kind};
  s->base.valid = true;
  return 0;
}

static size_t source_lower(const struct source *s, struct wodan_slice key) {
  size_t at = 0;
  while (at < s->count && key_compare(item_key(&s->items[at]), key) < 0) at++;
  return at;
}

static int source_first(struct iterator *it, struct wodan_error *error) {
  return source_show((struct source *)it, 0, error);
}
static int source_last(struct iterator *it, struct wodan_error *error) {
  struct source *s = (struct source *)it;
  return source_show(s, s->count - 1, error); /* wraps when empty: no record */
}
static int source_seek(struct iterator *it, struct wodan_slice key, struct wodan_error *error) {
  struct source *s = (struct source *)it;
  return source_show(s, source_lower(s, key), error);
}
static int source_seek_back(struct iterator *it, struct wodan_slice key, struct wodan_error *error) {
  struct source *s = (struct source *)it;
  size_t at = source_lower(s, key);
  bool exact = at < s->count && key_compare(item_key(&s->items[at]), key) == 0;
  return source_show(s, exact ? at : at - 1, error);
}
static int source_next(struct iterator *it, struct wodan_error *error) {
  assert_true(it->valid);
  struct source *s = (struct source *)it;
  return source_show(s, s->at + 1, error);
}
static int source_prev(struct iterator *it, struct wodan_error *error) {
  assert_true(it->valid);
  struct source *s = (struct source *)it;
  return source_show(s, s->at - 1, error);
}
static void source_close(struct iterator *it) {
  struct source *s = (struct source *)it;
  if (s->closed) ++*s->closed;
  free(s->bytes);
  free(s);
}

static const struct iterator_ops source_ops = {
    .first = source_first,
    .last = source_last,
    .seek = source_seek,
    .seek_back = source_seek_back,
    .next = source_next,
    .prev = source_prev,
    .close = source_close,
};

static void make_key(uint64_t *random, struct item *out) {
  static const char alphabet[] = {0, 'a', 'b', (char)0xff};
  uint64_t r = next_random(random);
  out->key_size = 0;
  if (r & 1) { /* long keys that differ behind the eighth byte, too */
    memcpy(out->key, "\1same-prefix", 12);
    out->key_size = 12;
  }
  size_t more = (size_t)(r >> 8) % 4;
  for (size_t i = 0; i < more; i++) out->key[out->key_size++] = (uint8_t)alphabet[r >> (16 + 2 * i) & 3];
}

static int compare_items(const void *a, const void *b) { return key_compare(item_key(a), item_key(b)); }

/* Sorts by key and keeps one item of each key: the one of the greatest sequence / 1000 (oldest source) loses. */
static size_t sort_unique(struct item *items, size_t count) {
  qsort(items, count, sizeof *items, compare_items);
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    if (kept && compare_items(&items[kept - 1], &items[i]) == 0) {
      if (items[i].sequence < items[kept - 1].sequence) items[kept - 1] = items[i];
    } else {
      items[kept++] = items[i];
    }
  }
  return kept;
}

static struct source *source_create(uint64_t *random, size_t number, size_t count) {
  struct source *s = calloc(1, sizeof *s);
  assert_non_null(s);
  s->base.ops = &source_ops;
  s->moves_left = -1;
  for (size_t i = 0; i < count; i++) {
    make_key(random, &s->items[i]);
    s->items[i].sequence = 1000 * (number + 1) + i;
    s->items[i].kind = next_random(random) % 3 ? RECORD_PUT : RECORD_DELETE;
  }
  s->count = sort_unique(s->items, count);
  return s;
}

/* A merge and the answer it should give. */
struct fixture {
  struct mem mem;
  struct faulty faulty;
  struct iterator *merge;
  struct source *sources[SOURCES_MAX];
  size_t source_count, closed;
  struct item items[SOURCES_MAX * RECORDS_MAX];
  size_t count;
  uint64_t seed;
};

static struct fixture *fixture_create(uint64_t seed, size_t sources) {
  struct fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  faulty_init(&f->mem, &f->faulty);
  f->seed = seed;
  f->source_count = sources;
  uint64_t random = seed;
  struct iterator *its[SOURCES_MAX];
  for (size_t i = 0; i < sources; i++) {
    f->sources[i] = source_create(&random, i, next_random(&random) % 4 ? next_random(&random) % RECORDS_MAX : 0);
    f->sources[i]->closed = &f->closed;
    its[i] = &f->sources[i]->base;
    memcpy(f->items + f->count, f->sources[i]->items, f->sources[i]->count * sizeof(struct item));
    f->count += f->sources[i]->count;
  }
  f->count = sort_unique(f->items, f->count);
  f->merge = merge_open(&f->mem, its, sources);
  assert_non_null(f->merge);
  assert_false(f->merge->valid);
  return f;
}

static void fixture_free(struct fixture *f) {
  iterator_close(f->merge);
  assert_int_equal(f->closed, f->source_count);
  assert_int_equal(f->mem.used, 0);
  free(f);
}

static void check_at(const struct fixture *f, size_t at) {
  const struct iterator *m = f->merge;
  if (m->valid != (at < f->count)) fail_msg("valid is %d, seed %llu", m->valid, (unsigned long long)f->seed);
  if (!m->valid) return;
  const struct item *want = &f->items[at];
  if (key_compare(m->record.key, item_key(want)) != 0 || m->record.sequence != want->sequence ||
      m->record.kind != want->kind)
    fail_msg("record %zu is another (sequence %llu), seed %llu", at, (unsigned long long)m->record.sequence,
             (unsigned long long)f->seed);
}

static size_t lower(const struct fixture *f, struct wodan_slice key, bool *exact) {
  size_t at = 0;
  while (at < f->count && key_compare(item_key(&f->items[at]), key) < 0) at++;
  *exact = at < f->count && key_compare(item_key(&f->items[at]), key) == 0;
  return at;
}

/* One random move of the merge; *at is where it should stand after it (count or more: nowhere). */
static int random_move(struct fixture *f, uint64_t *random, size_t *at, struct wodan_error *error) {
  struct item target = {0};
  make_key(random, &target);
  struct wodan_slice key = item_key(&target);
  bool exact;
  uint64_t r = next_random(random) % 20;
  if (r == 0) {
    *at = 0;
    return iterator_first(f->merge, error);
  }
  if (r == 1) {
    *at = f->count - 1;
    return iterator_last(f->merge, error);
  }
  if (r == 2 || (!f->merge->valid && r % 2)) {
    *at = lower(f, key, &exact);
    return iterator_seek(f->merge, key, error);
  }
  if (r == 3 || !f->merge->valid) {
    *at = lower(f, key, &exact);
    if (!exact) (*at)--;
    return iterator_seek_back(f->merge, key, error);
  }
  if (r < 13) {
    ++*at;
    return iterator_next(f->merge, error);
  }
  --*at;
  return iterator_prev(f->merge, error);
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */

static void test_merge__no_sources_never_valid(void **state) {
  (void)state;
  struct fixture *f = fixture_create(1, 0);
  struct wodan_slice key = {"k", 1};
  assert_int_equal(iterator_first(f->merge, NULL), 0);
  assert_false(f->merge->valid);
  assert_int_equal(iterator_last(f->merge, NULL), 0);
  assert_false(f->merge->valid);
  assert_int_equal(iterator_seek(f->merge, key, NULL), 0);
  assert_false(f->merge->valid);
  assert_int_equal(iterator_seek_back(f->merge, key, NULL), 0);
  assert_false(f->merge->valid);
  fixture_free(f);
}

static void test_merge__scans_give_each_key_once_from_the_newest(void **state) {
  (void)state;
  for (size_t sources = 0; sources <= SOURCES_MAX; sources += sources < 20 ? 1 : 10) {
    struct fixture *f = fixture_create(100 + sources, sources);
    assert_int_equal(iterator_first(f->merge, NULL), 0);
    for (size_t at = 0; at < f->count; at++) {
      check_at(f, at);
      assert_int_equal(iterator_next(f->merge, NULL), 0);
    }
    assert_false(f->merge->valid);
    assert_int_equal(iterator_last(f->merge, NULL), 0);
    for (size_t at = f->count; at-- > 0;) {
      check_at(f, at);
      assert_int_equal(iterator_prev(f->merge, NULL), 0);
    }
    assert_false(f->merge->valid);
    fixture_free(f);
  }
}

static void test_merge__random_moves_and_turns(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 150; seed++) {
    struct fixture *f = fixture_create(seed, seed % 11);
    uint64_t random = seed * 31;
    size_t at = SIZE_MAX;
    for (int i = 0; i < 1000; i++) {
      assert_int_equal(random_move(f, &random, &at, NULL), 0);
      check_at(f, at);
    }
    fixture_free(f);
  }
}

/* Each n-th move of one source fails: the merge says so, is not valid, and can be placed again. */
static void test_merge__failure_of_a_source_is_the_merges(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 300; seed++) {
    struct fixture *f = fixture_create(seed, 1 + seed % 6);
    uint64_t random = seed * 17;
    struct source *bad = f->sources[next_random(&random) % f->source_count];
    bad->moves_left = (long)(next_random(&random) % 40);
    size_t at = SIZE_MAX;
    int failures = 0;
    for (int i = 0; i < 400; i++) {
      struct wodan_error error = {0};
      bool due = bad->moves_left == 0;
      size_t moves = bad->moves;
      int status = random_move(f, &random, &at, &error);
      if (status) {
        failures++;
        assert_int_equal(status, WODAN_EIO);
        assert_int_equal(error.block, 77);
        assert_false(f->merge->valid);
        bad->moves_left = -1;
        continue;
      }
      if (due && bad->moves != moves) fail_msg("a failure was swallowed, seed %llu", (unsigned long long)seed);
      check_at(f, at);
    }
    assert_in_range(failures, 0, 1);
    if (bad->moves > 400) assert_int_equal(failures, 1);
    fixture_free(f);
  }
}

/* The winner is not moved before the next move: its record's bytes are those of the merge's record. */
static void test_merge__record_is_the_winners_in_place(void **state) {
  (void)state;
  struct fixture *f = fixture_create(5, 4);
  assert_int_equal(iterator_first(f->merge, NULL), 0);
  while (f->merge->valid) {
    size_t winner = (size_t)(f->merge->record.sequence / 1000 - 1);
    assert_ptr_equal(f->merge->record.key.data, f->sources[winner]->bytes);
    assert_int_equal(iterator_next(f->merge, NULL), 0);
  }
  fixture_free(f);
}

static void test_merge__one_source_costs_one_move_a_record(void **state) {
  (void)state;
  struct fixture *f = fixture_create(6, 1);
  while (f->count < 10) {
    uint64_t seed = f->seed + 1;
    fixture_free(f);
    f = fixture_create(seed, 1);
  }
  assert_int_equal(iterator_first(f->merge, NULL), 0);
  while (f->merge->valid) assert_int_equal(iterator_next(f->merge, NULL), 0);
  assert_int_equal(f->sources[0]->moves, f->count + 1);
  fixture_free(f);
}

/* Which source merge_alone should tell: the one that holds item `at`, when no other does; and the smallest key of the others
 * at or above it. */
static bool naive_alone(const struct fixture *f, size_t at, size_t *holder, const struct item **limit) {
  struct wodan_slice key = item_key(&f->items[at]);
  *holder = (size_t)(f->items[at].sequence / 1000 - 1);
  *limit = NULL;
  for (size_t i = 0; i < f->source_count; i++) {
    const struct source *s = f->sources[i];
    size_t first = source_lower(s, key);
    if (i == *holder || first == s->count) continue;
    if (!*limit || compare_items(&s->items[first], *limit) < 0) *limit = &s->items[first];
  }
  return !*limit || key_compare(item_key(*limit), key) != 0;
}

/* Forward through everything; where a source is alone it is sometimes moved by itself, up to the limit. */
static void walk_with_sources_moved(struct fixture *f, size_t *alone_seen) {
  uint64_t random = f->seed * 7;
  size_t at = 0;
  assert_int_equal(iterator_first(f->merge, NULL), 0);
  while (check_at(f, at), f->merge->valid) {
    struct iterator *source = NULL;
    struct wodan_slice limit;
    const struct item *wanted;
    bool has_limit, alone = merge_alone(f->merge, &source, &limit, &has_limit);
    size_t holder;
    if (alone != naive_alone(f, at, &holder, &wanted))
      fail_msg("alone is %d, seed %llu", alone, (unsigned long long)f->seed);
    if (alone) {
      assert_ptr_equal(source, &f->sources[holder]->base);
      assert_int_equal(has_limit, wanted != NULL);
      if (has_limit) assert_int_equal(key_compare(limit, item_key(wanted)), 0);
    }
    if (!alone || next_random(&random) % 3 == 0) {
      assert_int_equal(iterator_next(f->merge, NULL), 0);
      at++;
      continue;
    }
    ++*alone_seen;
    do {
      assert_int_equal(iterator_next(source, NULL), 0);
      at++;
    } while (source->valid && next_random(&random) % 4 && (!has_limit || key_compare(source->record.key, limit) < 0));
    assert_int_equal(merge_reseat(f->merge, NULL), 0);
  }
  assert_int_equal(at, f->count);
}

static void test_merge__a_source_alone_may_be_moved_by_itself(void **state) {
  (void)state;
  size_t alone_seen = 0;
  for (uint64_t seed = 1; seed <= 300; seed++) {
    struct fixture *f = fixture_create(seed, 1 + seed % 9);
    walk_with_sources_moved(f, &alone_seen);
    bool exact;
    if (f->count) { /* and turns still work */
      assert_int_equal(iterator_seek(f->merge, item_key(&f->items[f->count / 2]), NULL), 0);
      check_at(f, lower(f, item_key(&f->items[f->count / 2]), &exact));
      assert_int_equal(iterator_prev(f->merge, NULL), 0);
      check_at(f, f->count / 2 - 1);
    }
    fixture_free(f);
  }
  assert_true(alone_seen > 1000);
}

static void test_merge__no_memory_closes_the_sources(void **state) {
  (void)state;
  struct mem mem;
  struct faulty faulty;
  faulty_init(&mem, &faulty);
  faulty.fail_at = 1;
  uint64_t random = 1;
  size_t closed = 0;
  struct iterator *its[3];
  for (size_t i = 0; i < 3; i++) {
    struct source *s = source_create(&random, i, 5);
    s->closed = &closed;
    its[i] = &s->base;
  }
  assert_null(merge_open(&mem, its, 3));
  assert_int_equal(closed, 3);
  assert_int_equal(mem.used, 0);
}

static void test_merge__no_memory_in_a_move_is_told(void **state) {
  (void)state;
  struct fixture *f = fixture_create(8, 3);
  assert_true(f->count > 3 && f->items[f->count - 1].key_size > 0);
  assert_int_equal(iterator_last(f->merge, NULL), 0);
  f->faulty.fail_at = f->faulty.calls + 1;
  struct wodan_error error = {0};
  int status = iterator_prev(f->merge, &error); /* makes room for the key it leaves */
  assert_int_equal(status, WODAN_ENOMEM);
  assert_int_equal(error.code, WODAN_ENOMEM);
  assert_false(f->merge->valid);
  assert_int_equal(iterator_first(f->merge, NULL), 0);
  for (size_t at = 0; at < f->count; at++) {
    check_at(f, at);
    assert_int_equal(iterator_next(f->merge, NULL), 0);
  }
  fixture_free(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_merge__no_sources_never_valid),
      cmocka_unit_test(test_merge__scans_give_each_key_once_from_the_newest),
      cmocka_unit_test(test_merge__random_moves_and_turns),
      cmocka_unit_test(test_merge__failure_of_a_source_is_the_merges),
      cmocka_unit_test(test_merge__record_is_the_winners_in_place),
      cmocka_unit_test(test_merge__one_source_costs_one_move_a_record),
      cmocka_unit_test(test_merge__a_source_alone_may_be_moved_by_itself),
      cmocka_unit_test(test_merge__no_memory_closes_the_sources),
      cmocka_unit_test(test_merge__no_memory_in_a_move_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
