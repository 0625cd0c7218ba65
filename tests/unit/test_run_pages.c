/* Whole pages: told by the iterator, copied by the builder, merged so that what comes out reads as without. */
#include "iter/merge.h"
#include "run_world.h"

/* ---- support ------------------------------------------------------------------------------------------------- */

enum { PAGE = 512, KEYS = 4000 };

static struct wodan_slice plain_key(uint64_t i, char *out) {
  int n = snprintf(out, 64, "\x01plain/%.*s%06llu", (int)(i / 1000), "abcdefgh", (unsigned long long)i);
  return (struct wodan_slice){out, (size_t)n};
}

/* A run that holds keys[i] where owner[i] is its number; values tell both. */
static struct record plain_record(uint64_t i, unsigned source, char *key, char *value) {
  int n = snprintf(value, 64, "%llu of source %u%.*s", (unsigned long long)i, source, (int)(i % 23),
                   "........................");
  return (struct record){
      .key = plain_key(i, key), .sequence = 5000 - 1000 * source + i % 700, .value = {value, (size_t)n}};
}

/* Where keys lie: in which sources (bit set). */
struct plan {
  uint8_t in[KEYS];
};

static struct run *plan_run(struct world *w, const struct plan *plan, unsigned source) {
  struct run_build_options options = {.size_max = run_size_bound(&w->env, KEYS, KEYS * 80, false)};
  struct run_builder *builder;
  char key[64], value[128];
  uint64_t count = 0;
  assert_int_equal(run_builder_create(&w->env, &options, &builder, NULL), 0);
  for (uint64_t i = 0; i < KEYS; i++) {
    if (!(plan->in[i] >> source & 1)) continue;
    struct record record = plain_record(i, source, key, value);
    assert_int_equal(run_builder_add(builder, &record, NULL), 0);
    count++;
  }
  if (!count) {
    run_builder_abort(builder);
    return NULL;
  }
  struct block_ptr ptr;
  assert_int_equal(run_builder_finish(builder, 3 + source, &ptr, NULL, NULL), 0);
  struct run *run = open_run(w, &ptr);
  run_mark_dead(run); /* its space comes back with it */
  return run;
}

struct merged {
  struct run *run;
  uint64_t pages, records; /* copied */
  struct run_counts counts;
};

/* One step of a merge into a builder: a page where it can be, else a record. */
static void step(struct iterator *merge, struct run_builder *builder, bool copy, struct merged *out) {
  struct iterator *source;
  struct wodan_slice limit;
  bool has_limit, taken = false;
  struct page_bytes page;
  if (copy && merge_alone(merge, &source, &limit, &has_limit) &&
      run_iterator_whole_page(source, has_limit ? &limit : NULL, &page)) {
    assert_int_equal(key_compare(page.first, merge->record.key), 0);
    assert_true(!has_limit || key_compare(page.last, limit) < 0);
    uint64_t before = run_builder_bytes(builder);
    assert_int_equal(run_builder_add_page(builder, &page, &taken, NULL), 0);
    if (!taken) assert_int_equal(run_builder_bytes(builder), before);
    if (taken) {
      out->pages++;
      out->records += page.count;
      assert_true(run_builder_bytes(builder) >= before + page.size);
      assert_int_equal(run_iterator_skip_page(source, NULL), 0);
      assert_int_equal(merge_reseat(merge, NULL), 0);
    }
  }
  if (taken) return;
  assert_int_equal(run_builder_add(builder, &merge->record, NULL), 0);
  assert_int_equal(iterator_next(merge, NULL), 0);
}

static struct merged merge_runs(struct world *w, struct run **runs, unsigned count, bool copy, bool filter) {
  struct merged out = {0};
  struct iterator *its[8];
  for (unsigned s = 0; s < count; s++) assert_non_null(its[s] = run_iterator(runs[s]));
  struct iterator *merge = merge_open(&w->mem, its, count);
  struct run_build_options options = {.size_max = run_size_bound(&w->env, KEYS, KEYS * 80, filter), .filter = filter};
  struct run_builder *builder;
  assert_int_equal(run_builder_create(&w->env, &options, &builder, NULL), 0);
  assert_int_equal(iterator_first(merge, NULL), 0);
  while (merge->valid) step(merge, builder, copy, &out);
  iterator_close(merge);
  struct block_ptr ptr;
  assert_int_equal(run_builder_finish(builder, 50, &ptr, &out.counts, NULL), 0);
  out.run = open_run(w, &ptr);
  run_mark_dead(out.run);
  return out;
}

/* The same records, by scan and by lookup. */
static void assert_same(struct world *w, struct run *a, struct run *b) {
  struct iterator *x = run_iterator(a), *y = run_iterator(b);
  assert_int_equal(iterator_first(x, NULL), 0);
  assert_int_equal(iterator_first(y, NULL), 0);
  while (x->valid && y->valid) {
    assert_int_equal(key_compare(x->record.key, y->record.key), 0);
    assert_int_equal(x->record.sequence, y->record.sequence);
    assert_int_equal(x->record.kind, y->record.kind);
    assert_int_equal(x->record.value.size, y->record.value.size);
    assert_memory_equal(x->record.value.data, y->record.value.data, y->record.value.size);
    struct record record;
    struct frame *pin;
    assert_int_equal(get(w, b, x->record.key, &record, &pin, NULL), 0);
    assert_int_equal(record.sequence, x->record.sequence);
    cache_unpin(pin);
    assert_int_equal(iterator_next(x, NULL), 0);
    assert_int_equal(iterator_next(y, NULL), 0);
  }
  assert_false(x->valid || y->valid);
  iterator_close(x);
  iterator_close(y);
}

/* Both ways of merging these runs; returns the pages copied. */
static uint64_t compare_merges(struct world *w, const struct plan *plan, unsigned sources, bool filter) {
  struct run *runs[8];
  unsigned count = 0;
  for (unsigned s = 0; s < sources; s++)
    if ((runs[count] = plan_run(w, plan, s))) count++;
  if (!count) return 0;
  struct merged slow = merge_runs(w, runs, count, false, filter), fast = merge_runs(w, runs, count, true, filter);
  assert_int_equal(slow.pages, 0);
  assert_same(w, slow.run, fast.run);
  assert_int_equal(slow.counts.records, fast.counts.records);
  assert_int_equal(fast.counts.deletes, 0);
  struct run_shape a, b;
  assert_int_equal(run_open_body(slow.run, NULL), 0);
  assert_int_equal(run_open_body(fast.run, NULL), 0);
  run_shape(slow.run, &a);
  run_shape(fast.run, &b);
  assert_int_equal(key_compare(a.low, b.low), 0);
  assert_int_equal(key_compare(a.high, b.high), 0);
  assert_int_equal(a.record_count, b.record_count);
  assert_int_equal(a.sequence_max, b.sequence_max);
  assert_true(fast.pages < b.page_count + 1 && fast.records <= b.record_count);
  run_close_body(slow.run);
  run_close_body(fast.run);
  for (unsigned s = 0; s < count; s++) run_unref(runs[s]);
  run_unref(slow.run);
  run_unref(fast.run);
  assert_int_equal(space_counts(w->space).free, space_counts(w->space).total);
  return fast.pages;
}

/* ---- tests --------------------------------------------------------------------------------------------------- */

static void test_run_pages__merge_copies_what_nothing_interleaves(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 512, PAGE, 16384, 256);
  static struct plan plan;
  for (uint64_t i = 0; i < KEYS; i++) plan.in[i] = 2; /* a leaf */
  uint64_t alone = compare_merges(&w, &plan, 2, false);
  for (uint64_t i = 3000; i < 3020; i++) plan.in[i] = 3; /* and a few newer keys */
  uint64_t touched = compare_merges(&w, &plan, 2, true);
  for (uint64_t i = 0; i < KEYS; i += 2) plan.in[i] = 3; /* everywhere */
  uint64_t woven = compare_merges(&w, &plan, 2, false);
  printf("pages copied: %llu alone, %llu with 20 keys changed, %llu interleaved\n", (unsigned long long)alone,
         (unsigned long long)touched, (unsigned long long)woven);
  assert_true(alone > 200);
  assert_true(touched < alone && touched + 12 > alone);
  assert_int_equal(woven, 0);
  world_close(&w);
}

/* Runs of random stretches: what was bounded is enough, and both ways give the same. */
static void test_run_pages__random_stretches_merge_the_same(void **state) {
  (void)state;
  static struct plan plan;
  uint64_t pages = 0;
  for (uint64_t seed = 1; seed <= 40; seed++) {
    random_state = seed;
    printf("seed %llu\n", (unsigned long long)seed);
    struct world w;
    world_open(&w, 512, PAGE << seed % 3, 16384, 64);
    unsigned sources = 1 + (unsigned)(random_next() % 5);
    uint64_t stretch = 1 + random_next() % 300;
    memset(&plan, 0, sizeof plan);
    for (uint64_t i = 0; i < KEYS;) {
      uint64_t end = i + 1 + random_next() % stretch;
      uint8_t in = (uint8_t)(random_next() % 3 ? 1u << random_next() % sources : random_next());
      for (; i < end && i < KEYS; i++) plan.in[i] = in;
    }
    pages += compare_merges(&w, &plan, sources, seed % 2);
    world_close(&w);
  }
  assert_true(pages > 500);
}

static void test_run_pages__told_only_where_they_may_be_copied(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 512, PAGE, 16384, 64);
  static struct plan plan;
  memset(&plan, 1, sizeof plan);
  struct run *run = plan_run(&w, &plan, 0);
  struct iterator *it = run_iterator(run);
  struct page_bytes page, again;
  assert_false(run_iterator_whole_page(it, NULL, &page)); /* stands nowhere */
  assert_int_equal(iterator_first(it, NULL), 0);
  assert_true(run_iterator_whole_page(it, NULL, &page));
  char last[64];
  struct wodan_slice limit = {last, page.last.size};
  memcpy(last, page.last.data, page.last.size);
  assert_false(run_iterator_whole_page(it, &limit, &again)); /* the last key is not below itself */
  last[limit.size++] = 0;
  assert_true(run_iterator_whole_page(it, &limit, &again));
  assert_int_equal(checksum(w.io.seed, again.data, again.size), again.checksum);
  assert_int_equal(iterator_next(it, NULL), 0);
  assert_false(run_iterator_whole_page(it, NULL, &again)); /* in the middle */
  assert_int_equal(run_iterator_skip_page(it, NULL), 0);
  char key[64], value[128];
  struct record wanted = plain_record(page.count, 0, key, value);
  assert_int_equal(key_compare(it->record.key, wanted.key), 0);
  while (it->valid) assert_int_equal(run_iterator_skip_page(it, NULL), 0);
  iterator_close(it);
  run_unref(run);

  struct block_ptr ptr = build(&w, 100, false); /* has deletes in each page */
  run = open_run(&w, &ptr);
  it = run_iterator(run);
  assert_int_equal(iterator_first(it, NULL), 0);
  assert_false(run_iterator_whole_page(it, NULL, &page));
  struct iterator *other[2] = {it, run_iterator(run)}, *merge = merge_open(&w.mem, other, 2);
  assert_int_equal(iterator_first(merge, NULL), 0);
  assert_false(run_iterator_whole_page(merge, NULL, &page)); /* no run's iterator */
  iterator_close(merge);
  run_unref(run);
  world_close(&w);
}

static void test_run_pages__small_pages_are_declined(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 512, PAGE, 16384, 64);
  static struct plan plan;
  memset(&plan, 0, sizeof plan);
  plan.in[0] = 1; /* source 0: one record, far from half a page */
  memset(plan.in + 1, 2, KEYS - 1);
  struct run *small = plan_run(&w, &plan, 0), *big = plan_run(&w, &plan, 1);
  struct iterator *its[2] = {run_iterator(small), run_iterator(big)};
  struct run_build_options options = {.size_max = 1 << 20};
  struct run_builder *builder;
  struct page_bytes page;
  bool taken;
  assert_int_equal(run_builder_create(&w.env, &options, &builder, NULL), 0);
  for (int i = 0; i < 2; i++) assert_int_equal(iterator_first(its[i], NULL), 0);
  assert_true(run_iterator_whole_page(its[0], NULL, &page));
  assert_int_equal(run_builder_add_page(builder, &page, &taken, NULL), 0);
  assert_false(taken); /* itself too small */
  assert_int_equal(run_builder_bytes(builder), 0);
  assert_int_equal(run_builder_add(builder, &its[0]->record, NULL), 0);
  assert_true(run_iterator_whole_page(its[1], NULL, &page));
  assert_int_equal(run_builder_add_page(builder, &page, &taken, NULL), 0);
  assert_false(taken); /* the page begun is too small */
  struct block_ptr ptr;
  struct run_counts counts;
  assert_int_equal(run_builder_finish(builder, 9, &ptr, &counts, NULL), 0);
  assert_int_equal(counts.records, 1);
  space_release(w.space, ptr.extents, ptr.extent_count);

  /* Nothing but pages: the object ends with a page that was copied. */
  assert_int_equal(run_builder_create(&w.env, &options, &builder, NULL), 0);
  for (int i = 0; i < 3; i++) {
    assert_true(run_iterator_whole_page(its[1], NULL, &page));
    assert_int_equal(run_builder_add_page(builder, &page, &taken, NULL), 0);
    assert_true(taken);
    assert_int_equal(run_iterator_skip_page(its[1], NULL), 0);
  }
  assert_int_equal(run_builder_finish(builder, 10, &ptr, &counts, NULL), 0);
  struct run *copied = open_run(&w, &ptr);
  assert_int_equal(iterator_first(its[1], NULL), 0);
  struct iterator *it = run_iterator(copied);
  assert_int_equal(iterator_first(it, NULL), 0);
  for (uint64_t i = 0; i < counts.records; i++) {
    assert_int_equal(key_compare(it->record.key, its[1]->record.key), 0);
    assert_int_equal(iterator_next(it, NULL), 0);
    assert_int_equal(iterator_next(its[1], NULL), 0);
  }
  assert_false(it->valid);
  iterator_close(it);
  for (int i = 0; i < 2; i++) iterator_close(its[i]);
  run_unref(copied);
  run_unref(small);
  run_unref(big);
  world_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_run_pages__merge_copies_what_nothing_interleaves),
      cmocka_unit_test(test_run_pages__random_stretches_merge_the_same),
      cmocka_unit_test(test_run_pages__told_only_where_they_may_be_copied),
      cmocka_unit_test(test_run_pages__small_pages_are_declined),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
