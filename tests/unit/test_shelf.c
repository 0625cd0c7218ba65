/* The shelf: bodies of runs within a hard bound, evicted under lookups, iterators and threads; and the handles' size. */
#include <pthread.h>
#include "run/filter.h"
#include "run_world.h"

/* ---- support ------------------------------------------------------------------------------------------------- */

enum { RUNS = 12, COUNT = 400 };

/* Runs over the same keys, in a world whose runs take memory from hooks of their own. */
struct shelf_world {
  struct world w;
  struct mem mem;
  struct block_ptr ptrs[RUNS];
  struct run *runs[RUNS];
  size_t most; /* that was ever allocated for runs */
  size_t used;
};

static void *watch_allocate(void *context, size_t size, size_t alignment) {
  struct shelf_world *s = context;
  s->used += size;
  if (s->used > s->most) s->most = s->used;
  struct run_shelf_counts counts = run_shelf_counts(s->w.shelf);
  if (counts.bytes > counts.bytes_max) fail_msg("the shelf is beyond its bound");
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
static void watch_release(void *context, void *memory, size_t size) {
  ((struct shelf_world *)context)->used -= size;
  memset(memory, 0xdd, size); /* a use after the release shows */
  free(memory);
}

static void shelf_world_open(struct shelf_world *s, uint64_t bytes_max, bool watched) {
  memset(s, 0, sizeof *s);
  world_open(&s->w, 512, 512, 16384, 64);
  world_shelf(&s->w, bytes_max);
  for (int i = 0; i < RUNS; i++) s->ptrs[i] = build(&s->w, COUNT, i % 2 == 0);
  struct wodan_allocator hooks = {s, watch_allocate, watch_release};
  mem_init(&s->mem, &hooks);
  if (watched) s->w.env.mem = s->w.io.mem = &s->mem;
  for (int i = 0; i < RUNS; i++) assert_non_null(s->runs[i] = open_run(&s->w, &s->ptrs[i]));
}

static void shelf_world_close(struct shelf_world *s) {
  for (int i = 0; i < RUNS; i++) run_unref(s->runs[i]);
  assert_int_equal(atomic_load(&s->mem.used), 0);
  world_close(&s->w);
}

/* Bytes that loading takes: both parts, and the header that comes first and goes. */
struct sizes {
  uint64_t index, filter, header;
};
static struct sizes sizes_of(struct shelf_world *s, int i) {
  struct run *run = open_run(&s->w, &s->ptrs[i]);
  uint64_t before = run_shelf_counts(s->w.shelf).bytes;
  assert_int_equal(run_open_body(run, NULL), 0);
  struct sizes sizes = {.index = run_shelf_counts(s->w.shelf).bytes - before, .header = s->ptrs[i].header_length};
  run_close_body(run);
  struct record record;
  struct frame *pin;
  char key[64];
  assert_int_equal(get(&s->w, run, key_of(0, key), &record, &pin, NULL), 0);
  cache_unpin(pin);
  sizes.filter = run_shelf_counts(s->w.shelf).bytes - before - sizes.index;
  run_unref(run);
  assert_int_equal(run_shelf_counts(s->w.shelf).bytes, before);
  return sizes;
}

/* What the shelf of the tests holds: some index parts and no more. Measured in a world with room. */
static struct sizes measured(void) {
  struct shelf_world s;
  shelf_world_open(&s, 1 << 20, false);
  struct sizes sizes = sizes_of(&s, 0);
  shelf_world_close(&s);
  return sizes;
}

static void assert_gets(struct shelf_world *s, int run, uint64_t i) {
  struct record record;
  struct frame *pin;
  char key[64];
  assert_int_equal(get(&s->w, s->runs[run], key_of(i, key), &record, &pin, NULL), 0);
  assert_record(&record, i);
  cache_unpin(pin);
  assert_int_equal(get(&s->w, s->runs[run], key_between(i, key), &record, &pin, NULL), WODAN_ENOTFOUND);
}

/* ---- handles ------------------------------------------------------------------------------------------------- */

static void test_shelf__handle_is_small_and_keeps_what_it_was_given(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 512, 512, 1024, 16);
  struct block_ptr ptr = {.generation = 77, .checksum = 88, .length = 9999, .header_length = 500, .extent_count = 3};
  for (uint64_t i = 0; i < 3; i++) ptr.extents[i] = (struct extent){.first = 100 * i + 5, .count = 4 + 2 * i};
  assert_int_equal(run_handle_memory(3, 6), run_handle_memory(0, 0) + 3 * 16 + 6);
  assert_true(run_handle_memory(0, 0) <= 128);
  size_t before = atomic_load(&w.mem.used);
  char pivot[] = "pivot";
  struct run *run = run_create(&w.env, &ptr, (struct wodan_slice){pivot, 6});
  assert_int_equal(atomic_load(&w.mem.used) - before, run_handle_memory(3, 6));
  memset(pivot, 0, sizeof pivot);
  assert_int_equal(run_pivot(run).size, 6);
  assert_memory_equal(run_pivot(run).data, "pivot", 6);
  assert_int_equal(run_generation(run), 77);
  assert_int_equal(run_length(run), 9999);
  assert_int_equal(run_blocks(run), 4 + 6 + 8);
  struct block_ptr told;
  run_pointer(run, &told);
  assert_true(block_ptr_equal(&told, &ptr));
  assert_int_equal(run_records(run) + run_deletes(run), 0);
  run_set_counts(run, 500, 20);
  assert_int_equal(run_records(run), 500);
  assert_int_equal(run_deletes(run), 20);
  run_unref(run);
  world_close(&w);
}

/* ---- eviction ------------------------------------------------------------------------------------------------ */

static void test_shelf__bodies_stay_within_the_bound(void **state) {
  (void)state;
  struct sizes one = measured();
  struct shelf_world s;
  uint64_t bytes_max = 3 * one.index + one.filter + one.header;
  shelf_world_open(&s, bytes_max, true);
  size_t handles = s.used;
  assert_int_equal(handles, RUNS * run_handle_memory(1, 0));
  random_state = 7;
  for (int round = 0; round < 4000; round++) assert_gets(&s, (int)(random_next() % RUNS), random_next() % COUNT);
  struct run_shelf_counts counts = run_shelf_counts(s.w.shelf);
  assert_true(counts.evictions > 500);
  assert_true(counts.loads >= counts.evictions && counts.loads <= counts.evictions + 2 * RUNS);
  assert_int_equal(counts.bytes, s.used - handles); /* counted is what is allocated, to the byte */
  /* On top there is only the buffer that a read is widened to whole sectors in. */
  size_t widened = (one.index > one.filter ? one.index : one.filter) + 1024;
  assert_true(s.most <= handles + bytes_max + widened);
  shelf_world_close(&s);
}

static void test_shelf__without_pressure_nothing_is_loaded_twice(void **state) {
  (void)state;
  struct shelf_world s;
  shelf_world_open(&s, 1 << 20, true);
  for (int round = 0; round < 3; round++)
    for (int i = 0; i < RUNS; i++) assert_run(&s.w, s.runs[i], COUNT);
  struct run_shelf_counts counts = run_shelf_counts(s.w.shelf);
  assert_int_equal(counts.loads, RUNS + RUNS / 2);
  assert_int_equal(counts.evictions, 0);
  shelf_world_close(&s);
}

static void test_shelf__used_bodies_outlive_others(void **state) {
  (void)state;
  struct sizes one = measured();
  struct shelf_world s;
  shelf_world_open(&s, 4 * one.index + one.header, true);
  for (int i = 1; i < RUNS; i += 2) { /* runs without filter: 1 is looked up all the time, the others are swept past */
    for (uint64_t n = 0; n < 20; n++) assert_gets(&s, 1, n);
    assert_int_equal(run_open_body(s.runs[i], NULL), 0);
    run_close_body(s.runs[i]);
  }
  uint64_t reads = atomic_load(&s.w.device.counters.reads);
  assert_gets(&s, 1, 0);
  assert_int_equal(atomic_load(&s.w.device.counters.reads), reads);
  assert_true(run_shelf_counts(s.w.shelf).evictions > 0);
  shelf_world_close(&s);
}

static void test_shelf__body_in_use_is_not_evicted(void **state) {
  (void)state;
  struct sizes one = measured();
  struct shelf_world s;
  shelf_world_open(&s, 4 * one.index + one.header, true);
  struct iterator *its[2] = {run_iterator(s.runs[0]), run_iterator(s.runs[1])};
  struct run_shape shape;
  assert_int_equal(run_open_body(s.runs[2], NULL), 0);
  for (int i = 0; i < 2; i++) assert_int_equal(iterator_first(its[i], NULL), 0);
  for (uint64_t n = 0; n < COUNT; n++) {
    for (int i = 0; i < 2; i++) {
      assert_record(&its[i]->record, n);
      assert_int_equal(iterator_next(its[i], NULL), 0);
    }
    assert_gets(&s, 3 + (int)(n % (RUNS - 3)), n);
  }
  char key[64];
  run_shape(s.runs[2], &shape);
  assert_int_equal(key_compare(shape.low, key_of(0, key)), 0);
  assert_int_equal(key_compare(shape.high, key_of(COUNT - 1, key)), 0);
  assert_true(run_shelf_counts(s.w.shelf).evictions > COUNT / 2);
  run_close_body(s.runs[2]);
  for (int i = 0; i < 2; i++) iterator_close(its[i]);
  shelf_world_close(&s);
}

static void test_shelf__full_of_bodies_in_use_is_an_error_with_a_sentence(void **state) {
  (void)state;
  struct sizes one = measured();
  struct shelf_world s;
  shelf_world_open(&s, 3 * one.index + one.header, true);
  for (int i = 0; i < 3; i++) assert_int_equal(run_open_body(s.runs[i], NULL), 0);
  struct wodan_error error = {0};
  struct record record;
  struct frame *pin;
  char key[64];
  uint64_t bytes = run_shelf_counts(s.w.shelf).bytes;
  assert_int_equal(run_open_body(s.runs[3], &error), WODAN_ENOMEM);
  assert_non_null(strstr(error.message, "in use"));
  assert_int_equal(get(&s.w, s.runs[3], key_of(5, key), &record, &pin, &error), WODAN_ENOMEM);
  struct iterator *it = run_iterator(s.runs[3]);
  assert_int_equal(iterator_first(it, &error), WODAN_ENOMEM);
  assert_false(it->valid);
  assert_int_equal(run_shelf_counts(s.w.shelf).bytes, bytes); /* the header's room was given back */
  run_close_body(s.runs[1]);
  assert_int_equal(iterator_first(it, &error), 0);
  assert_record(&it->record, 0);
  iterator_close(it);
  run_close_body(s.runs[0]);
  run_close_body(s.runs[2]);
  shelf_world_close(&s);
}

/* ---- filters ------------------------------------------------------------------------------------------------- */

static void test_shelf__iterators_load_no_filter(void **state) {
  (void)state;
  struct sizes one = measured();
  struct shelf_world s;
  shelf_world_open(&s, 1 << 20, true);
  struct iterator *it = run_iterator(s.runs[0]);
  assert_int_equal(iterator_first(it, NULL), 0);
  iterator_close(it);
  assert_int_equal(run_shelf_counts(s.w.shelf).bytes, one.index);
  assert_gets(&s, 0, 5);
  assert_int_equal(run_shelf_counts(s.w.shelf).bytes, one.index + one.filter);
  shelf_world_close(&s);
}

/* No room and the others are in use: pages are read instead. */
static void test_shelf__lookup_goes_on_without_a_filter(void **state) {
  (void)state;
  struct sizes one = measured();
  struct shelf_world s;
  shelf_world_open(&s, 3 * one.index + one.header, true); /* the header's room is less than a filter */
  assert_true(one.header < one.filter);
  for (int i = 0; i < 3; i++) assert_int_equal(run_open_body(s.runs[i], NULL), 0);
  for (uint64_t n = 0; n < COUNT; n++) assert_gets(&s, 0, n);
  struct run_shelf_counts counts = run_shelf_counts(s.w.shelf);
  assert_int_equal(counts.loads, 3);
  assert_int_equal(counts.evictions, 0);
  for (int i = 0; i < 3; i++) run_close_body(s.runs[i]);
  shelf_world_close(&s);
}

/* The filter pushes others out once as many bytes were read for want of it as it has. */
static void test_shelf__wanted_filter_makes_itself_room(void **state) {
  (void)state;
  struct sizes one = measured();
  struct shelf_world s;
  shelf_world_open(&s, 3 * one.index + one.header, true);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(run_open_body(s.runs[i], NULL), 0);
    run_close_body(s.runs[i]);
  }
  struct record record;
  struct frame *pin;
  char key[64];
  uint64_t tries = 0;
  while (run_shelf_counts(s.w.shelf).loads == 3 && tries++ < 1000)
    assert_int_equal(get(&s.w, s.runs[0], key_between(tries % COUNT, key), &record, &pin, NULL), WODAN_ENOTFOUND);
  assert_true(tries > 1 && tries <= one.filter / 512 + 2);
  assert_true(run_shelf_counts(s.w.shelf).evictions > 0);
  assert_gets(&s, 0, 3);
  shelf_world_close(&s);
}

/* ---- filters of runs that have none on the device ------------------------------------------------------------ */

struct made_world {
  struct world w;
  struct run *run;
  uint64_t index; /* bytes of the index part */
  uint32_t pages;
};

/* Every key of the run was got, so all its pages are cached if there are frames enough. */
static void made_world_open(struct made_world *m, size_t frames, uint64_t bytes_max) {
  world_open(&m->w, 512, 512, 16384, frames);
  world_shelf(&m->w, bytes_max);
  struct block_ptr ptr = build(&m->w, COUNT, false);
  m->run = open_run(&m->w, &ptr);
  struct run_shape shape;
  assert_int_equal(run_open_body(m->run, NULL), 0);
  run_shape(m->run, &shape);
  m->pages = shape.page_count;
  m->index = run_shelf_counts(m->w.shelf).bytes;
  run_close_body(m->run);
  for (uint64_t i = 0; i < COUNT; i++) {
    struct record record;
    struct frame *pin;
    char key[64];
    assert_int_equal(get(&m->w, m->run, key_of(i, key), &record, &pin, NULL), 0);
    cache_unpin(pin);
  }
  assert_int_equal(run_shelf_counts(m->w.shelf).bytes, m->index);
}

static void made_world_close(struct made_world *m) {
  run_unref(m->run);
  world_close(&m->w);
}

/* So many lookups in vain; returns how many pages they touched. */
static uint64_t look_in_vain(struct made_world *m, uint64_t count) {
  uint64_t before = cache_counts(m->w.cache).hits;
  for (uint64_t i = 0; i < count; i++) {
    struct record record;
    struct frame *pin;
    char key[64];
    assert_int_equal(get(&m->w, m->run, key_between(i % COUNT, key), &record, &pin, NULL), WODAN_ENOTFOUND);
  }
  return cache_counts(m->w.cache).hits - before;
}

static void test_shelf__filter_is_made_of_cached_pages(void **state) {
  (void)state;
  struct made_world m;
  made_world_open(&m, 256, 1 << 20);
  look_in_vain(&m, m.pages);
  assert_int_equal(run_shelf_counts(m.w.shelf).bytes, m.index);
  look_in_vain(&m, 1);
  uint64_t filter = run_shelf_counts(m.w.shelf).bytes - m.index, lines = filter_lines(COUNT) * FILTER_LINE_SIZE;
  assert_true(filter >= lines && filter <= lines + 128);
  assert_true(look_in_vain(&m, COUNT) < COUNT / 10);
  assert_run(&m.w, m.run, COUNT);
  made_world_close(&m);
}

static void test_shelf__filter_is_not_made_of_a_part_of_the_pages(void **state) {
  (void)state;
  struct made_world m;
  made_world_open(&m, CACHE_FRAMES_MIN, 1 << 20);
  assert_true(m.pages > CACHE_FRAMES_MIN + CACHE_FRAMES_MIN);
  look_in_vain(&m, 4 * m.pages);
  assert_int_equal(run_shelf_counts(m.w.shelf).bytes, m.index);
  assert_run(&m.w, m.run, COUNT);
  made_world_close(&m);
}

/* It is a help and no need: it pushes nothing out, and lookups answer without memory for it. */
static void test_shelf__filter_is_made_where_there_is_room(void **state) {
  (void)state;
  struct made_world m;
  made_world_open(&m, 256, 16384);
  size_t line = (size_t)filter_lines(COUNT) * FILTER_LINE_SIZE;
  for (size_t more = 0; more <= line + 512; more += line + 256) { /* for nothing, or not for the key as well */
    m.w.mem.limit = atomic_load(&m.w.mem.used) + more;
    look_in_vain(&m, m.pages + 1);
    assert_int_equal(run_shelf_counts(m.w.shelf).bytes, m.index);
  }
  m.w.mem.limit = SIZE_MAX;
  look_in_vain(&m, m.pages + 1);
  assert_true(run_shelf_counts(m.w.shelf).bytes > m.index);
  made_world_close(&m);
  made_world_open(&m, 256, m.index + 400); /* the header's bytes, and not the filter's */
  look_in_vain(&m, 4 * m.pages);
  assert_int_equal(run_shelf_counts(m.w.shelf).bytes, m.index);
  assert_int_equal(run_shelf_counts(m.w.shelf).evictions, 0);
  made_world_close(&m);
}

/* ---- failures ------------------------------------------------------------------------------------------------ */

static void test_shelf__failed_load_gives_its_room_back(void **state) {
  (void)state;
  struct shelf_world s;
  shelf_world_open(&s, 1 << 20, true);
  struct block_ptr wrong = s.ptrs[0];
  wrong.checksum ^= 1;
  struct run *run = open_run(&s.w, &wrong);
  assert_int_equal(run_open_body(run, NULL), WODAN_ECORRUPT);
  assert_int_equal(run_shelf_counts(s.w.shelf).bytes, 0);
  assert_int_equal(run_shelf_counts(s.w.shelf).loads, 0);
  run_unref(run);
  shelf_world_close(&s);
}

/* ---- threads ------------------------------------------------------------------------------------------------- */

struct reader {
  struct shelf_world *s;
  uint64_t seed;
};

static const char *get_once(struct shelf_world *s, struct run *run, uint64_t i) {
  char key[64], value[128];
  struct record record, wanted = record_of(i, key, value);
  struct frame *pin;
  char wanted_key[64];
  run_prefetch(run, run_key_hash(&s->w.env, key_of(i, wanted_key)));
  if (get(&s->w, run, key_of(i, wanted_key), &record, &pin, NULL)) return "get failed";
  bool same = record.value.size == wanted.value.size && record.sequence == wanted.sequence &&
              (!wanted.value.size || !memcmp(record.value.data, value, wanted.value.size));
  cache_unpin(pin);
  return same ? NULL : "wrong value";
}

static const char *scan_once(struct run *run, uint64_t i) {
  char key[64], value[128];
  struct iterator *it = run_iterator(run);
  const char *fault = NULL;
  if (iterator_seek(it, key_of(i, key), NULL)) fault = "seek failed";
  for (uint64_t n = i; !fault && n < i + 20 && n < COUNT; n++) {
    if (!it->valid || it->record.sequence != record_of(n, key, value).sequence) fault = "wrong record";
    if (!fault && iterator_next(it, NULL)) fault = "next failed";
  }
  iterator_close(it);
  return fault;
}

static void *reader_main(void *argument) {
  struct reader *reader = argument;
  struct shelf_world *s = reader->s;
  uint64_t state = reader->seed;
  const char *fault = NULL;
  for (int round = 0; round < 4000 && !fault; round++) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    uint64_t which = (state >> 33) % RUNS, i = (state >> 40) % COUNT, kind = (state >> 20) % 16;
    struct run *run = s->runs[which];
    if (kind == 0) { /* a handle of its own, whose last reference goes here */
      struct run *own = open_run(&s->w, &s->ptrs[which]);
      fault = own ? get_once(s, own, i) : "no handle";
      run_unref(own);
    } else if (kind < 4) {
      fault = scan_once(run, i);
    } else {
      fault = get_once(s, run, i);
    }
  }
  return (void *)(uintptr_t)fault;
}

static void test_shelf__threads_read_while_bodies_are_evicted(void **state) {
  (void)state;
  enum { THREADS = 4 };
  struct sizes one = measured();
  struct shelf_world s;
  /* What the threads can hold at once, and no more. */
  shelf_world_open(&s, THREADS * (one.index + one.header + one.filter), false);
  pthread_t threads[THREADS];
  struct reader readers[THREADS];
  for (uint64_t t = 0; t < THREADS; t++) {
    readers[t] = (struct reader){&s, 31 * t + 1};
    assert_int_equal(pthread_create(&threads[t], NULL, reader_main, &readers[t]), 0);
  }
  for (int t = 0; t < THREADS; t++) {
    void *fault = NULL;
    pthread_join(threads[t], &fault);
    if (fault) fail_msg("%s", (char *)fault);
  }
  struct run_shelf_counts counts = run_shelf_counts(s.w.shelf);
  assert_true(counts.evictions > 1000);
  assert_true(counts.bytes <= counts.bytes_max);
  shelf_world_close(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_shelf__handle_is_small_and_keeps_what_it_was_given),
      cmocka_unit_test(test_shelf__bodies_stay_within_the_bound),
      cmocka_unit_test(test_shelf__without_pressure_nothing_is_loaded_twice),
      cmocka_unit_test(test_shelf__used_bodies_outlive_others),
      cmocka_unit_test(test_shelf__body_in_use_is_not_evicted),
      cmocka_unit_test(test_shelf__full_of_bodies_in_use_is_an_error_with_a_sentence),
      cmocka_unit_test(test_shelf__iterators_load_no_filter),
      cmocka_unit_test(test_shelf__lookup_goes_on_without_a_filter),
      cmocka_unit_test(test_shelf__wanted_filter_makes_itself_room),
      cmocka_unit_test(test_shelf__filter_is_made_of_cached_pages),
      cmocka_unit_test(test_shelf__filter_is_not_made_of_a_part_of_the_pages),
      cmocka_unit_test(test_shelf__filter_is_made_where_there_is_room),
      cmocka_unit_test(test_shelf__failed_load_gives_its_room_back),
      cmocka_unit_test(test_shelf__threads_read_while_bodies_are_evicted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
