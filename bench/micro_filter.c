/* Measures: a run's filter: adding a key, probing one filter with keys that are there and keys that are not, and probing the
 * eight filters of a path with their lines asked for together, or one after the other. Small filters lie in the L2 cache, large
 * ones (2 M keys, 2.5 MB each) mostly in none.
 * See: src/run/filter.h. */
#include <stdio.h>
#include <stdlib.h>

#include "micro.h"
#include "run/filter.h"

enum { PATH = 8, SMALL = 20000, LARGE = 2000000 };

struct filters {
  uint64_t keys, next;
  uint32_t lines;
  uint8_t *bits[PATH];
};

static uint64_t hash_of(uint64_t key) {
  uint64_t state = key;
  return bench_random(&state);
}

/* which: keys of each filter, and how many filters. */
static void *create(size_t which) {
  struct filters *f = micro_allocate(sizeof *f);
  f->keys = which / 100;
  f->lines = filter_lines(f->keys);
  for (size_t i = 0; i < which % 100; i++) {
    f->bits[i] = micro_allocate((size_t)f->lines * FILTER_LINE_SIZE);
    for (uint64_t key = 0; key < f->keys; key++) filter_add(f->bits[i], f->lines, hash_of(key * PATH + i));
  }
  return f;
}

static void destroy(void *state) {
  struct filters *f = state;
  for (int i = 0; i < PATH; i++) free(f->bits[i]);
  free(f);
}

static void run_add(void *state, uint64_t count) {
  struct filters *f = state;
  for (uint64_t i = 0; i < count; i++) filter_add(f->bits[0], f->lines, hash_of(f->next++));
}

static void run_hit(void *state, uint64_t count) {
  struct filters *f = state;
  uint64_t found = 0, random = f->next++;
  for (uint64_t i = 0; i < count; i++)
    found += filter_may_contain(f->bits[0], f->lines, hash_of(bench_random(&random) % f->keys * PATH));
  if (found != count) bench_die("a filter denies a key that was added");
}

static void run_miss(void *state, uint64_t count) {
  struct filters *f = state;
  uint64_t random = f->next++, found = 0;
  for (uint64_t i = 0; i < count; i++) found += filter_may_contain(f->bits[0], f->lines, bench_random(&random));
  micro_use(found);
}

static void probe_path(struct filters *f, uint64_t count, bool together) {
  uint64_t random = f->next++, found = 0;
  for (uint64_t i = 0; i < count; i++) {
    uint64_t hash = bench_random(&random) + (found >> 63); /* the next search waits for this one, as a reader does */
    for (int k = 0; together && k < PATH; k++) filter_prefetch(f->bits[k], f->lines, hash);
    for (int k = 0; k < PATH; k++) found += filter_may_contain(f->bits[k], f->lines, hash);
  }
  micro_use(found);
}

static void run_path_together(void *state, uint64_t count) { probe_path(state, count, true); }
static void run_path_one_by_one(void *state, uint64_t count) { probe_path(state, count, false); }

void micro_filter(micro_add *add, void *context) {
  static const struct {
    const char *name;
    size_t filters;
    void (*run)(void *, uint64_t);
  } kinds[] = {{"add", 1, run_add},
               {"hit", 1, run_hit},
               {"miss", 1, run_miss},
               {"path of 8, together", PATH, run_path_together},
               {"path of 8, one by one", PATH, run_path_one_by_one}};
  for (int large = 0; large < 2; large++)
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
      struct micro micro = {.which = (large ? LARGE : SMALL) * 100 + kinds[i].filters,
                            .create = create,
                            .run = kinds[i].run,
                            .destroy = destroy,
                            .chunk = 1000};
      snprintf(micro.name, sizeof micro.name, "filter/%s/%s", kinds[i].name, large ? "large" : "small");
      add(context, &micro);
    }
}
