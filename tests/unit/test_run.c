/* Runs: built and read back through a memory device, with blocks from 512 bytes up; life, memory, threads. */
#include <pthread.h>
#include "run_world.h"
#include "support/sanitized.h"

/* ---- building and reading ------------------------------------------------------------------------------------ */

static const struct {
  uint32_t block, page;
} geometries[] = {{512, 512}, {512, 2048}, {4096, 512}, {4096, 4096}, {4096, 16384}, {65536, 16384}, {1 << 20, 16384}};
enum { GEOMETRIES = sizeof geometries / sizeof *geometries };

static void test_run__roundtrip_in_every_geometry(void **state) {
  (void)state;
  static const uint64_t counts[] = {1, 2, 37, 3000};
  for (size_t g = 0; g < GEOMETRIES; g++) {
    for (size_t c = 0; c < 4; c++) {
      for (int filter = 0; filter < 2; filter++) {
        struct world w;
        uint64_t blocks = (8u << 20) / geometries[g].block;
        world_open(&w, geometries[g].block, geometries[g].page, blocks < 64 ? 64 : blocks, 16);
        struct block_ptr ptr = build(&w, counts[c], filter);
        assert_int_equal(block_ptr_blocks(&ptr), (ptr.length + geometries[g].block - 1) / geometries[g].block);
        struct space_counts space = space_counts(w.space);
        assert_int_equal(space.total - space.free, block_ptr_blocks(&ptr));
        struct run *run = open_run(&w, &ptr);
        assert_run(&w, run, counts[c]);
        struct block_ptr told;
        run_pointer(run, &told);
        assert_true(block_ptr_equal(&told, &ptr));
        run_unref(run);
        world_close(&w);
      }
    }
  }
}

static void test_run__shape_tells_range_and_counts(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 4096, 4096, 1024, 64);
  struct block_ptr ptr = build(&w, 500, true);
  struct run *run = open_run(&w, &ptr);
  struct run_shape shape;
  assert_int_equal(run_open_body(run, NULL), 0);
  run_shape(run, &shape);
  char key[64];
  assert_int_equal(key_compare(shape.low, key_of(0, key)), 0);
  assert_int_equal(key_compare(shape.high, key_of(499, key)), 0);
  assert_int_equal(shape.record_count, 500);
  assert_true(shape.page_count > 5 && shape.page_count < 50);
  uint64_t greatest = 0;
  for (uint64_t i = 0; i < 500; i++)
    if (1000 + i * 7919 % 4096 > greatest) greatest = 1000 + i * 7919 % 4096;
  assert_int_equal(shape.sequence_max, greatest);
  run_close_body(run);
  run_unref(run);
  world_close(&w);
}

static void test_run__seeks_find_neighbours(void **state) {
  (void)state;
  struct world w;
  enum { COUNT = 700 };
  world_open(&w, 512, 512, 4096, 16);
  struct block_ptr ptr = build(&w, COUNT, false);
  struct run *run = open_run(&w, &ptr);
  struct iterator *it = run_iterator(run);
  char key[64];
  for (uint64_t i = 0; i < COUNT; i++) {
    assert_int_equal(iterator_seek(it, key_of(i, key), NULL), 0);
    assert_record(&it->record, i);
    assert_int_equal(iterator_seek_back(it, key_of(i, key), NULL), 0);
    assert_record(&it->record, i);
    assert_int_equal(iterator_seek_back(it, key_between(i, key), NULL), 0);
    assert_record(&it->record, i);
    assert_int_equal(iterator_seek(it, key_between(i, key), NULL), 0);
    assert_int_equal(it->valid, i + 1 < COUNT);
    if (it->valid) assert_record(&it->record, i + 1);
  }
  struct wodan_slice below = {"\x00", 1}, above = {"\xff", 1};
  assert_int_equal(iterator_seek(it, below, NULL), 0);
  assert_record(&it->record, 0);
  assert_int_equal(iterator_seek_back(it, below, NULL), 0);
  assert_false(it->valid);
  assert_int_equal(iterator_seek(it, above, NULL), 0);
  assert_false(it->valid);
  assert_int_equal(iterator_seek_back(it, above, NULL), 0);
  assert_record(&it->record, COUNT - 1);
  iterator_close(it);
  run_unref(run);
  world_close(&w);
}

/* Random walk of next, prev and seeks with the iterator's own key, against the index of the record. */
static void test_run__iterator_turns_anywhere(void **state) {
  (void)state;
  struct world w;
  enum { COUNT = 400 };
  world_open(&w, 512, 512, 4096, 16);
  struct block_ptr ptr = build(&w, COUNT, false);
  struct run *run = open_run(&w, &ptr);
  struct iterator *it = run_iterator(run);
  random_state = 42;
  uint64_t at = 0;
  assert_int_equal(iterator_first(it, NULL), 0);
  for (int step = 0; step < 20000; step++) {
    uint64_t r = random_next() % 100;
    if (r < 45 && at + 1 < COUNT) {
      at++;
      assert_int_equal(iterator_next(it, NULL), 0);
    } else if (r < 90 && at > 0) {
      at--;
      assert_int_equal(iterator_prev(it, NULL), 0);
    } else if (r < 95) {
      assert_int_equal(iterator_seek(it, it->record.key, NULL), 0);
    } else if (r < 98) {
      assert_int_equal(iterator_seek_back(it, it->record.key, NULL), 0);
    } else {
      char key[64];
      at = random_next() % COUNT;
      assert_int_equal(iterator_seek(it, key_of(at, key), NULL), 0);
    }
    assert_true(it->valid);
    assert_record(&it->record, at);
  }
  iterator_close(it);
  run_unref(run);
  world_close(&w);
}

static void test_run__longest_keys_and_values_fit_the_bound(void **state) {
  (void)state;
  for (size_t g = 0; g < GEOMETRIES; g++) {
    struct world w;
    uint32_t page = geometries[g].page;
    world_open(&w, geometries[g].block, page, (64u << 20) / geometries[g].block, 16);
    enum { COUNT = 300 };
    size_t key_size = page / 8 + 1, value_size = page / 4;
    char *key = malloc(key_size), *value = malloc(value_size);
    memset(value, 'v', value_size);
    struct run_build_options options = {
        .size_max = run_size_bound(&w.env, COUNT, COUNT * (key_size + value_size), true), .filter = 1};
    struct run_builder *builder;
    assert_int_equal(run_builder_create(&w.env, &options, &builder, NULL), 0);
    for (unsigned i = 0; i < COUNT; i++) {
      memset(key, (int)i / 256 + 1, key_size); /* no shared prefix at first, all but one byte shared later */
      key[i % 2 ? 0 : key_size - 1] = (char)1;
      key[0] = (char)(1 + i / 100);
      key[1] = (char)(i % 100);
      struct record record = {
          .key = {key, key_size}, .sequence = i ? UINT64_MAX / i : UINT64_MAX, .value = {value, value_size}};
      assert_int_equal(run_builder_add(builder, &record, NULL), 0);
    }
    struct block_ptr ptr;
    assert_int_equal(run_builder_finish(builder, 1, &ptr, NULL, NULL), 0);
    struct run *run = open_run(&w, &ptr);
    struct run_shape shape;
    assert_int_equal(run_open_body(run, NULL), 0);
    run_shape(run, &shape);
    run_close_body(run);
    assert_int_equal(shape.record_count, COUNT);
    assert_int_equal(shape.sequence_max, UINT64_MAX);
    struct iterator *it = run_iterator(run);
    unsigned seen = 0;
    for (int status = iterator_first(it, NULL); it->valid; status = iterator_next(it, NULL), seen++) {
      assert_int_equal(status, 0);
      assert_int_equal(it->record.value.size, value_size);
      assert_int_equal(it->record.sequence, seen ? UINT64_MAX / seen : UINT64_MAX);
    }
    assert_int_equal(seen, COUNT);
    iterator_close(it);
    run_unref(run);
    free(key);
    free(value);
    world_close(&w);
  }
}

/* Random shapes: what was bounded is never refused. */
static void test_run__size_bound_holds(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 150; seed++) {
    random_state = seed;
    struct world w;
    uint32_t page = 512u << random_next() % 4;
    world_open(&w, 512, page, 8192, 16);
    uint64_t count = 1 + random_next() % 200, spread = 1 + random_next() % (page / 8 - 7);
    uint64_t values = 1 + random_next() % (page / 4), bytes = 0;
    uint8_t(*keys)[1025] = calloc(count, sizeof *keys);
    size_t *sizes = calloc(count, sizeof *sizes), *lengths = calloc(count, sizeof *lengths);
    uint8_t filler[4096] = {0};
    for (uint64_t i = 0; i < count; i++) {
      sizes[i] = 8 + random_next() % spread;
      lengths[i] = random_next() % values;
      memset(keys[i], (int)(random_next() % 2), sizes[i]);
      keys[i][random_next() % 2 ? 0 : 1] = 1;
      keys[i][2] = (uint8_t)(i >> 8);
      keys[i][3] = (uint8_t)i;
      keys[i][0] = keys[i][1] = 1; /* ascending through bytes 2 and 3 */
      bytes += sizes[i] + lengths[i];
    }
    struct run_build_options options = {.size_max = run_size_bound(&w.env, count, bytes, seed % 2), .filter = seed % 2};
    struct run_builder *builder;
    assert_int_equal(run_builder_create(&w.env, &options, &builder, NULL), 0);
    int status = 0;
    for (uint64_t i = 0; i < count && !status; i++) {
      struct record record = {.key = {keys[i], sizes[i]}, .sequence = random_next(), .value = {filler, lengths[i]}};
      status = run_builder_add(builder, &record, NULL);
    }
    if (status) fail_msg("seed %llu: add answered %d", (unsigned long long)seed, status);
    struct block_ptr ptr;
    status = run_builder_finish(builder, 1, &ptr, NULL, NULL);
    if (status) fail_msg("seed %llu: finish answered %d", (unsigned long long)seed, status);
    free(keys);
    free(sizes);
    free(lengths);
    world_close(&w);
  }
}

static void test_run__reads_back_over_many_extents(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 512, 2048, 4096, 16);
  /* Leave 15 holes of growing size and a rest too small for the whole run. */
  struct extent all[BLOCK_PTR_EXTENTS_MAX];
  uint32_t n;
  assert_int_equal(space_allocate_sparing(w.space, SPACE_LEAF, space_counts(w.space).free, 0, all, &n, NULL), 0);
  assert_int_equal(n, 1);
  uint64_t at = all[0].first, holes = 0;
  for (uint64_t i = 0; i < 15; i++) {
    struct extent hole = {.first = at, .count = 3 + i};
    space_release(w.space, &hole, 1);
    holes += hole.count;
    at += hole.count + 1;
  }
  uint64_t count = 0, bytes = 0;
  char key[64], value[128];
  for (;; count++) {
    struct record record = record_of(count, key, value);
    bytes += record.key.size + record.value.size;
    if (run_size_bound(&w.env, count + 1, bytes, true) > holes * 512) break;
  }
  struct block_ptr ptr = build(&w, count, true);
  assert_true(ptr.extent_count >= 5);
  struct run *run = open_run(&w, &ptr);
  assert_run(&w, run, count);
  run_unref(run);
  world_close(&w);
}

static void test_run__several_chunks_are_streamed(void **state) {
  (void)state;
  struct world w;
  enum { COUNT = 40000 };
  world_open(&w, 4096, 16384, 4096, 64);
  struct block_ptr ptr = build(&w, COUNT, true);
  assert_true(ptr.length > 3 * (512u << 10));
  struct run *run = open_run(&w, &ptr);
  assert_run(&w, run, COUNT);
  run_unref(run);
  world_close(&w);
}

static void test_run__builder_takes_no_empty_run_and_gives_space_back(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 512, 512, 256, 16);
  struct run_build_options options = {.size_max = 20000};
  struct run_builder *builder;
  struct block_ptr ptr;
  assert_int_equal(run_builder_create(&w.env, &options, &builder, NULL), 0);
  assert_int_equal(run_builder_finish(builder, 1, &ptr, NULL, NULL), WODAN_EINVAL);
  assert_int_equal(space_counts(w.space).free, space_counts(w.space).total);
  assert_int_equal(run_builder_create(&w.env, &options, &builder, NULL), 0);
  run_builder_abort(builder);
  run_builder_abort(NULL);
  assert_int_equal(space_counts(w.space).free, space_counts(w.space).total);
  options.size_max = 1 << 20;
  struct wodan_error error;
  assert_int_equal(run_builder_create(&w.env, &options, &builder, &error), 0);
  char key[64], value[128];
  for (uint64_t i = 0; i < 3000; i++) {
    struct record record = record_of(i, key, value);
    assert_int_equal(run_builder_add(builder, &record, &error), 0);
  }
  assert_int_equal(run_builder_finish(builder, 1, &ptr, NULL, &error), WODAN_ENOSPC);
  assert_int_equal(space_counts(w.space).free, space_counts(w.space).total);
  world_close(&w);
}

static void test_run__growing_beyond_the_space_taken_is_refused(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 512, 512, 256, 16);
  struct run_build_options options = {.size_max = 2048};
  struct run_builder *builder;
  assert_int_equal(run_builder_create(&w.env, &options, &builder, NULL), 0);
  char key[64], value[128];
  int status = 0;
  for (uint64_t i = 0; !status && i < 1000; i++) {
    struct record record = record_of(i, key, value);
    status = run_builder_add(builder, &record, NULL);
  }
  assert_int_equal(status, WODAN_ENOSPC);
  run_builder_abort(builder);
  assert_int_equal(space_counts(w.space).free, space_counts(w.space).total);
  world_close(&w);
}

static void test_run__too_big_records_are_refused(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 512, 512, 256, 16);
  struct run_build_options options = {.size_max = 20000};
  struct run_builder *builder;
  assert_int_equal(run_builder_create(&w.env, &options, &builder, NULL), 0);
  char bytes[600];
  memset(bytes, 1, sizeof bytes);
  struct record key = {.key = {bytes, 66}}, value = {.key = {bytes, 5}, .value = {bytes, 500}};
  assert_int_equal(run_builder_add(builder, &key, NULL), WODAN_ETOOBIG);
  assert_int_equal(run_builder_add(builder, &value, NULL), WODAN_ETOOBIG);
  run_builder_abort(builder);
  world_close(&w);
}

static void test_run__dead_run_gives_its_extents_up_at_the_last_reference(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 512, 512, 1024, 16);
  struct block_ptr ptr = build(&w, 100, false);
  space_mounted(w.space, 4); /* the run's generation, 5, is younger than any durable root */
  struct run *run = open_run(&w, &ptr);
  struct iterator *it = run_iterator(run);
  assert_int_equal(iterator_first(it, NULL), 0);
  run_mark_dead(run);
  run_unref(run);
  uint64_t free_blocks = space_counts(w.space).free;
  assert_int_equal(iterator_next(it, NULL), 0); /* still readable */
  assert_record(&it->record, 1);
  iterator_close(it);
  assert_int_equal(space_counts(w.space).free, free_blocks + block_ptr_blocks(&ptr));

  ptr = build(&w, 100, false);
  space_checkpoint_durable(w.space, 5);
  run = open_run(&w, &ptr);
  run_mark_dead(run);
  run_unref(run);
  assert_int_equal(space_counts(w.space).deferred, block_ptr_blocks(&ptr));
  world_close(&w);
}

static void test_run__pinned_value_outlives_run_and_eviction(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 512, 512, 4096, 16);
  struct block_ptr ptr = build(&w, 800, false);
  struct run *run = open_run(&w, &ptr);
  struct record record;
  struct frame *pin;
  char key[64];
  assert_int_equal(get(&w, run, key_of(96, key), &record, &pin, NULL), 0);
  run_unref(run);
  run = open_run(&w, &ptr);
  assert_run(&w, run, 800); /* far more pages than frames */
  run_unref(run);
  assert_record(&record, 96);
  cache_unpin(pin);
  world_close(&w);
}

/* ---- a hit costs nothing ------------------------------------------------------------------------------------- */

struct counting {
  size_t allocations;
  size_t fail_at; /* 0: never */
};
static void *counting_allocate(void *context, size_t size, size_t alignment) {
  struct counting *c = context;
  if (++c->allocations == c->fail_at) return NULL;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
static void counting_release(void *context, void *memory, size_t size) {
  (void)context;
  memset(memory, 0xdd, size); /* a use after the release shows */
  free(memory);
}

static void test_run__hit_allocates_and_reads_nothing(void **state) {
  (void)state;
  struct counting counting = {0};
  struct wodan_allocator hooks = {&counting, counting_allocate, counting_release};
  struct world w;
  world_open(&w, 512, 2048, 4096, 256);
  struct block_ptr ptr = build(&w, 500, true);
  struct mem mem;
  mem_init(&mem, &hooks);
  w.env.mem = w.io.mem = &mem;
  struct run *run = open_run(&w, &ptr);
  assert_run(&w, run, 500);
  size_t allocations = counting.allocations;
  uint64_t reads = atomic_load(&w.device.counters.reads);
  char key[64];
  struct record record;
  struct frame *pin;
  for (uint64_t i = 0; i < 500; i++) {
    run_prefetch(run, run_key_hash(&w.env, key_of(i, key)));
    assert_int_equal(get(&w, run, key_of(i, key), &record, &pin, NULL), 0);
    cache_unpin(pin);
  }
  assert_int_equal(counting.allocations, allocations);
  assert_int_equal(atomic_load(&w.device.counters.reads), reads);
  run_unref(run);
  assert_int_equal(atomic_load(&mem.used), 0);
  world_close(&w);
}

static void test_run__every_allocation_may_fail(void **state) {
  (void)state;
  for (size_t fail_at = 1;; fail_at++) {
    struct counting counting = {0};
    struct wodan_allocator hooks = {&counting, counting_allocate, counting_release};
    struct world w;
    world_open(&w, 512, 512, 2048, 16);
    struct mem mem;
    mem_init(&mem, &hooks);
    w.env.mem = w.io.mem = &mem;
    counting.fail_at = fail_at;
    struct block_ptr ptr;
    int status = try_build(&w, 120, true, &ptr);
    if (status) {
      assert_int_equal(status, WODAN_ENOMEM);
      assert_int_equal(space_counts(w.space).free, space_counts(w.space).total);
    }
    struct run *run = status ? NULL : open_run(&w, &ptr);
    if (!run) status = WODAN_ENOMEM;
    struct record record;
    struct frame *pin;
    char key[64];
    if (run) status = get(&w, run, key_of(50, key), &record, &pin, NULL);
    if (run && !status) {
      assert_record(&record, 50);
      cache_unpin(pin);
      struct iterator *it = run_iterator(run);
      if (it) {
        for (status = iterator_first(it, NULL); !status && it->valid;) status = iterator_next(it, NULL);
        assert_false(it->valid);
        iterator_close(it);
      } else {
        status = WODAN_ENOMEM;
      }
    }
    bool untouched = counting.allocations < fail_at;
    assert_int_equal(status, untouched ? 0 : WODAN_ENOMEM);
    if (run) {
      counting.fail_at = 0;
      assert_run(&w, run, 120); /* a failure leaves nothing behind */
      run_unref(run);
    }
    assert_int_equal(atomic_load(&mem.used), 0);
    world_close(&w);
    if (untouched) return;
  }
}

/* ---- threads ------------------------------------------------------------------------------------------------- */

struct reader {
  struct world *world;
  struct run *run;
  uint64_t seed, count;
};

static void *reader_main(void *argument) {
  struct reader *reader = argument;
  uint64_t s = reader->seed;
  struct iterator *it = run_iterator(reader->run);
  for (int round = 0; round < 3000; round++) {
    s = s * 6364136223846793005ull + 1442695040888963407ull;
    uint64_t i = (s >> 33) % reader->count;
    char key[64];
    struct record record;
    struct frame *pin;
    if (get(reader->world, reader->run, key_of(i, key), &record, &pin, NULL)) return "get failed";
    char wanted_key[64], wanted[128];
    struct record should = record_of(i, wanted_key, wanted);
    bool same = record.value.size == should.value.size && !memcmp(record.value.data, wanted, should.value.size);
    cache_unpin(pin);
    if (!same) return "wrong value";
    if (iterator_seek(it, key_of(i, key), NULL) || !it->valid || it->record.sequence != should.sequence)
      return "wrong seek";
  }
  iterator_close(it);
  return NULL;
}

static void test_run__many_threads_load_read_and_evict(void **state) {
  (void)state;
  struct world w;
  enum { COUNT = 2000, THREADS = 4 };
  world_open(&w, 512, 512, 8192, 24);
  struct block_ptr ptr = build(&w, COUNT, true);
  struct run *run = open_run(&w, &ptr);
  pthread_t threads[THREADS];
  struct reader readers[THREADS];
  for (uint64_t t = 0; t < THREADS; t++) {
    readers[t] = (struct reader){&w, run, t + 1, COUNT};
    assert_int_equal(pthread_create(&threads[t], NULL, reader_main, &readers[t]), 0);
  }
  for (int t = 0; t < THREADS; t++) {
    void *fault = NULL;
    pthread_join(threads[t], &fault);
    if (fault) fail_msg("%s", (char *)fault);
  }
  struct cache_counts counts = cache_counts(w.cache);
  assert_true(counts.evictions > 100);
  assert_true(counts.frames <= 24 + 64);
  run_unref(run);
  world_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_run__roundtrip_in_every_geometry),
      cmocka_unit_test(test_run__shape_tells_range_and_counts),
      cmocka_unit_test(test_run__seeks_find_neighbours),
      cmocka_unit_test(test_run__iterator_turns_anywhere),
      cmocka_unit_test(test_run__longest_keys_and_values_fit_the_bound),
      cmocka_unit_test(test_run__size_bound_holds),
      cmocka_unit_test(test_run__reads_back_over_many_extents),
      cmocka_unit_test(test_run__several_chunks_are_streamed),
      cmocka_unit_test(test_run__builder_takes_no_empty_run_and_gives_space_back),
      cmocka_unit_test(test_run__growing_beyond_the_space_taken_is_refused),
      cmocka_unit_test(test_run__too_big_records_are_refused),
      cmocka_unit_test(test_run__dead_run_gives_its_extents_up_at_the_last_reference),
      cmocka_unit_test(test_run__pinned_value_outlives_run_and_eviction),
      cmocka_unit_test(test_run__hit_allocates_and_reads_nothing),
      cmocka_unit_test(test_run__every_allocation_may_fail),
      cmocka_unit_test(test_run__many_threads_load_read_and_evict),
  };
  if (RACES_WATCHED) cmocka_set_test_filter("*__many_threads_*");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
