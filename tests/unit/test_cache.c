/* Cache: pins, CLOCK, the limit, dropping; and threads that read tagged frames while others evict them. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "cache/cache.h"

enum { FRAME = 512 };

static void fill(struct frame *frame, uint64_t tag) {
  for (size_t i = 0; i < FRAME; i += 8) memcpy(cache_fill(frame) + i, &tag, 8);
}

static bool holds(const struct frame *frame, uint64_t tag) {
  for (size_t i = 0; i < FRAME; i += 8)
    if (memcmp(cache_data(frame) + i, &tag, 8)) return false;
  return true;
}

/* Through the cache: pins slot `tag`, filling it when absent. */
static struct frame *pin(struct cache *cache, cache_slot *slots, uint64_t tag) {
  struct frame *frame = cache_pin(cache, &slots[tag]);
  if (frame) return frame;
  frame = cache_reserve(cache);
  if (!frame) return NULL;
  fill(frame, tag);
  return cache_publish(cache, &slots[tag], frame);
}

struct fixture {
  struct mem mem;
  struct cache *cache;
  cache_slot slots[1000];
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  mem_init(&f->mem, NULL);
  f->cache = cache_create(&f->mem, FRAME, 20);
  *state = f;
  return f->cache ? 0 : 1;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  cache_free(f->cache);
  size_t used = atomic_load(&f->mem.used);
  free(f);
  return used ? 1 : 0;
}

static void test_cache__empty_slot_is_a_miss(void **state) {
  struct fixture *f = *state;
  assert_null(cache_pin(f->cache, &f->slots[0]));
  assert_int_equal(cache_counts(f->cache).hits, 0);
}

static void test_cache__published_frame_is_found_with_its_bytes(void **state) {
  struct fixture *f = *state;
  for (uint64_t i = 0; i < 20; i++) cache_unpin(pin(f->cache, f->slots, i));
  for (uint64_t i = 0; i < 20; i++) {
    struct frame *frame = cache_pin(f->cache, &f->slots[i]);
    assert_non_null(frame);
    assert_true(holds(frame, i));
    cache_unpin(frame);
  }
  struct cache_counts counts = cache_counts(f->cache);
  assert_int_equal(counts.hits, 20);
  assert_int_equal(counts.misses, 20);
  assert_int_equal(counts.evictions, 0);
  assert_int_equal(counts.frames, 20);
}

static void test_cache__stays_at_its_limit_and_empties_slots_it_evicts(void **state) {
  struct fixture *f = *state;
  for (uint64_t i = 0; i < 1000; i++) cache_unpin(pin(f->cache, f->slots, i));
  struct cache_counts counts = cache_counts(f->cache);
  assert_int_equal(counts.frames, 20);
  assert_int_equal(counts.evictions, 980);
  int full = 0;
  for (int i = 0; i < 1000; i++) full += atomic_load(&f->slots[i]) != NULL;
  assert_int_equal(full, 20);
}

static void test_cache__used_frames_stay_through_a_scan(void **state) {
  struct fixture *f = *state;
  for (uint64_t i = 0; i < 20; i++) cache_unpin(pin(f->cache, f->slots, i));
  uint64_t lost = 0;
  for (uint64_t i = 20; i < 500; i++) {
    for (uint64_t hot = 0; hot < 5; hot++) {
      struct frame *frame = cache_pin(f->cache, &f->slots[hot]);
      lost += !frame;
      if (!frame) frame = pin(f->cache, f->slots, hot);
      cache_unpin(frame);
    }
    cache_unpin(pin(f->cache, f->slots, i));
  }
  assert_int_equal(lost, 0);
}

static void test_cache__pinned_frames_are_not_evicted(void **state) {
  struct fixture *f = *state;
  struct frame *held[10];
  for (uint64_t i = 0; i < 10; i++) held[i] = pin(f->cache, f->slots, i);
  for (uint64_t i = 10; i < 1000; i++) cache_unpin(pin(f->cache, f->slots, i));
  for (uint64_t i = 0; i < 10; i++) {
    assert_true(holds(held[i], i));
    assert_ptr_equal(atomic_load(&f->slots[i]), held[i]);
    cache_unpin(held[i]);
  }
}

static void pin_all(struct cache *cache, cache_slot *slots, size_t allowed) {
  struct frame *held[200];
  for (uint64_t i = 0; i < allowed; i++) {
    held[i] = pin(cache, slots, i);
    assert_non_null(held[i]);
  }
  assert_null(cache_reserve(cache));
  cache_unpin(held[12]);
  struct frame *frame = pin(cache, slots, 500);
  assert_ptr_equal(frame, held[12]);
  held[12] = frame;
  for (uint64_t i = 0; i < allowed; i++) {
    assert_true(holds(held[i], i == 12 ? 500 : i));
    cache_unpin(held[i]);
  }
}

/* As many more as there are, and at most 64. */
static void test_cache__all_pinned_allows_some_more_and_then_none(void **state) {
  struct fixture *f = *state;
  pin_all(f->cache, f->slots, 20 + 20);
  cache_drop(f->cache, f->slots, 1000);
  struct cache *cache = cache_create(&f->mem, FRAME, 70);
  pin_all(cache, f->slots, 70 + CACHE_FRAMES_EXTRA);
  cache_drop(cache, f->slots, 1000);
  cache_free(cache);
  cache = cache_create(&f->mem, FRAME, 1);
  pin_all(cache, f->slots, 2 * CACHE_FRAMES_MIN);
  cache_free(cache);
}

struct peak {
  size_t used, most;
};
static void *peak_allocate(void *context, size_t size, size_t alignment) {
  struct peak *p = context;
  p->used += size;
  if (p->used > p->most) p->most = p->used;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
static void peak_release(void *context, void *memory, size_t size) {
  struct peak *p = context;
  p->used -= size;
  free(memory);
}

/* The bound is what a cache with everything pinned has taken, to the byte. */
static void test_cache__memory_is_what_it_says(void **state) {
  (void)state;
  static const struct {
    size_t frame, frames;
  } cases[] = {{512, 1},     {512, 16},    {512, 20},   {512, 64},   {512, 65},   {512, 3640},
               {512, 5000},  {4096, 63},   {4096, 504}, {4096, 505}, {16384, 16}, {16384, 127},
               {16384, 128}, {32768, 200}, {65536, 31}, {65536, 100}};
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    struct peak peak = {0};
    struct wodan_allocator hooks = {&peak, peak_allocate, peak_release};
    struct mem mem;
    mem_init(&mem, &hooks);
    struct cache *cache = cache_create(&mem, cases[c].frame, cases[c].frames);
    size_t taken = 0;
    static struct frame *held[6000];
    while ((held[taken] = cache_reserve(cache))) taken++;
    assert_int_equal(peak.most, cache_memory(cases[c].frame, cases[c].frames));
    while (taken) cache_cancel(cache, held[--taken]);
    cache_free(cache);
    assert_int_equal(peak.used, 0);
  }
  assert_true(cache_memory(SIZE_MAX / 2, 16) == UINT64_MAX);
  assert_true(cache_memory(4096, SIZE_MAX / 4096) == UINT64_MAX);
}

static void test_cache__frames_within_a_budget_are_the_most_that_fit(void **state) {
  (void)state;
  static const uint64_t budgets[] = {100000, 300000, 1 << 20, 3 << 20, 100 << 20, UINT64_C(1) << 40};
  for (size_t frame = 512; frame <= 65536; frame *= 2) {
    for (size_t b = 0; b < sizeof budgets / sizeof *budgets; b++) {
      size_t frames = cache_frames_within(frame, budgets[b]);
      if (frames == 0) {
        assert_true(cache_memory(frame, CACHE_FRAMES_MIN) > budgets[b]);
      } else {
        assert_true(cache_memory(frame, frames) <= budgets[b]);
        assert_true(cache_memory(frame, frames + 1) > budgets[b]);
      }
    }
  }
}

static void test_cache__cancelled_frame_is_used_again(void **state) {
  struct fixture *f = *state;
  struct frame *first = cache_reserve(f->cache);
  cache_cancel(f->cache, first);
  struct frame *again = cache_reserve(f->cache);
  assert_ptr_equal(first, again);
  cache_cancel(f->cache, again);
  assert_int_equal(cache_counts(f->cache).frames, 1);
}

static void test_cache__second_publisher_gets_the_first_ones_frame(void **state) {
  struct fixture *f = *state;
  struct frame *a = cache_reserve(f->cache), *b = cache_reserve(f->cache);
  fill(a, 3);
  fill(b, 3);
  assert_ptr_equal(cache_publish(f->cache, &f->slots[3], a), a);
  assert_ptr_equal(cache_publish(f->cache, &f->slots[3], b), a);
  cache_unpin(a);
  cache_unpin(a);
  assert_ptr_equal(cache_reserve(f->cache), b); /* given back */
  cache_cancel(f->cache, b);
}

static void test_cache__dropped_frames_are_free_at_once_or_when_unpinned(void **state) {
  struct fixture *f = *state;
  for (uint64_t i = 0; i < 20; i++) cache_unpin(pin(f->cache, f->slots, i));
  struct frame *held = cache_pin(f->cache, &f->slots[7]);
  cache_drop(f->cache, f->slots, 10);
  for (int i = 0; i < 10; i++) assert_null(atomic_load(&f->slots[i]));
  assert_true(holds(held, 7));
  for (uint64_t i = 100; i < 109; i++) cache_unpin(pin(f->cache, f->slots, i)); /* the nine free ones */
  assert_int_equal(cache_counts(f->cache).evictions, 0);
  for (uint64_t i = 200; i < 300; i++) cache_unpin(pin(f->cache, f->slots, i));
  assert_true(holds(held, 7));
  cache_unpin(held);
  bool reused = false;
  for (uint64_t i = 300; i < 360; i++) {
    struct frame *frame = pin(f->cache, f->slots, i);
    reused |= frame == held;
    cache_unpin(frame);
  }
  assert_true(reused);
}

static void test_cache__many_slabs_hold_distinct_frames(void **state) {
  (void)state;
  struct mem mem;
  mem_init(&mem, NULL);
  enum { FRAMES = 300 };
  struct cache *cache = cache_create(&mem, 65536, FRAMES);
  static cache_slot slots[FRAMES + 64];
  size_t before = atomic_load(&mem.used);
  struct frame *held[FRAMES + 64];
  for (uint64_t i = 0; i < FRAMES + 64; i++) {
    held[i] = pin(cache, slots, i);
    assert_non_null(held[i]);
    memset(cache_fill(held[i]), (int)(i & 0xff), 65536);
    if (i == 0) assert_true(atomic_load(&mem.used) - before <= 2 << 20); /* one slab at a time */
  }
  for (uint64_t i = 0; i < FRAMES + 64; i++) {
    for (size_t b = 0; b < 65536; b++)
      if (cache_data(held[i])[b] != (i & 0xff)) fail_msg("frame %llu overlaps another", (unsigned long long)i);
    cache_unpin(held[i]);
  }
  assert_true(atomic_load(&mem.used) < (FRAMES + 64) * 67000 + (1 << 20));
  cache_free(cache);
  assert_int_equal(atomic_load(&mem.used), 0);
}

/* ---- threads ------------------------------------------------------------------------------------------------- */

enum { SLOTS = 300, GROUP = 30, ROUNDS = 30000 };

struct stress {
  struct cache *cache;
  cache_slot *slots;
  uint64_t seed;
  pthread_rwlock_t *groups; /* a reader of a run holds it; who drops its slots is alone */
  uint64_t faults, hits;
};

static void *stress_main(void *argument) {
  struct stress *s = argument;
  struct frame *held = NULL;
  uint64_t held_tag = 0;
  for (int round = 0; round < ROUNDS; round++) {
    s->seed = s->seed * 6364136223846793005ull + 1442695040888963407ull;
    uint64_t tag = (s->seed >> 33) % SLOTS, group = tag / GROUP, kind = (s->seed >> 20) % 200;
    if (kind == 0) {
      pthread_rwlock_wrlock(&s->groups[group]);
      cache_drop(s->cache, s->slots + group * GROUP, GROUP);
      pthread_rwlock_unlock(&s->groups[group]);
      continue;
    }
    pthread_rwlock_rdlock(&s->groups[group]);
    struct frame *frame = cache_pin(s->cache, &s->slots[tag]);
    if (frame) s->hits++;
    if (!frame) frame = pin(s->cache, s->slots, tag);
    pthread_rwlock_unlock(&s->groups[group]);
    if (!frame) {
      s->faults++;
      continue;
    }
    s->faults += !holds(frame, tag);
    if (kind < 20) { /* keep this one for a while, over drops and evictions */
      if (held) {
        s->faults += !holds(held, held_tag);
        cache_unpin(held);
      }
      held = frame;
      held_tag = tag;
    } else {
      cache_unpin(frame);
    }
  }
  if (held) cache_unpin(held);
  return NULL;
}

static void test_cache__threads_never_see_another_slots_bytes(void **state) {
  (void)state;
  enum { THREADS = 4 };
  struct mem mem;
  mem_init(&mem, NULL);
  static cache_slot slots[SLOTS];
  pthread_rwlock_t groups[SLOTS / GROUP];
  for (size_t i = 0; i < SLOTS / GROUP; i++) pthread_rwlock_init(&groups[i], NULL);
  struct cache *cache = cache_create(&mem, FRAME, 40);
  struct stress stress[THREADS];
  pthread_t threads[THREADS];
  for (uint64_t t = 0; t < THREADS; t++) {
    stress[t] = (struct stress){.cache = cache, .slots = slots, .seed = t * 77 + 1, .groups = groups};
    assert_int_equal(pthread_create(&threads[t], NULL, stress_main, &stress[t]), 0);
  }
  uint64_t hits = 0;
  for (int t = 0; t < THREADS; t++) {
    pthread_join(threads[t], NULL);
    assert_int_equal(stress[t].faults, 0);
    hits += stress[t].hits;
  }
  struct cache_counts counts = cache_counts(cache);
  assert_true(counts.evictions > 1000);
  assert_true(counts.hits >= hits && counts.hits <= (uint64_t)THREADS * ROUNDS);
  assert_int_equal(counts.frames, 40);
  cache_drop(cache, slots, SLOTS);
  cache_free(cache);
  assert_int_equal(atomic_load(&mem.used), 0);
}

int main(void) {
#define CACHE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      CACHE_TEST(test_cache__empty_slot_is_a_miss),
      CACHE_TEST(test_cache__published_frame_is_found_with_its_bytes),
      CACHE_TEST(test_cache__stays_at_its_limit_and_empties_slots_it_evicts),
      CACHE_TEST(test_cache__used_frames_stay_through_a_scan),
      CACHE_TEST(test_cache__pinned_frames_are_not_evicted),
      CACHE_TEST(test_cache__all_pinned_allows_some_more_and_then_none),
      cmocka_unit_test(test_cache__memory_is_what_it_says),
      cmocka_unit_test(test_cache__frames_within_a_budget_are_the_most_that_fit),
      CACHE_TEST(test_cache__cancelled_frame_is_used_again),
      CACHE_TEST(test_cache__second_publisher_gets_the_first_ones_frame),
      CACHE_TEST(test_cache__dropped_frames_are_free_at_once_or_when_unpinned),
      cmocka_unit_test(test_cache__many_slabs_hold_distinct_frames),
      cmocka_unit_test(test_cache__threads_never_see_another_slots_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
