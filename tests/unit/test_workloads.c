/* What programs do to a database, on geometries whose pages, leaves and nodes are so small that four levels appear at once:
 * the content is judged against an array all the while, the skeleton is walked after every slice of maintenance, and the
 * image is checked at the end. WODAN_SEED replays, WODAN_TEST picks, WODAN_ROUNDS lengthens. */
#include "support/sanitized.h"
#include "world.h"

static const struct shape shapes[] = {
    {.name = "2 MiB, 512-byte blocks, 4 leaves a node",
     .size = 2 << 20,
     .format = {.block_size = 512,
                .page_size = 512,
                .leaf_size = 2048,
                .memtable_size = 2048,
                .node_leaves = 4,
                .node_children = 4},
     .keys = 6000,
     .value_min = 20,
     .value_max = 60},
    {.name = "6 MiB, 1 KiB blocks, 8 leaves a node",
     .size = 6 << 20,
     .format = {.block_size = 1024,
                .page_size = 1024,
                .leaf_size = 4096,
                .memtable_size = 8192,
                .node_leaves = 8,
                .node_children = 4},
     .keys = 16000,
     .value_min = 0,
     .value_max = 150},
    {.name = "8 MiB, 4 KiB blocks, 5 leaves a node",
     .size = 8 << 20,
     .format = {.block_size = 4096,
                .page_size = 512,
                .leaf_size = 8192,
                .memtable_size = 4096,
                .node_leaves = 5,
                .node_children = 4},
     .keys = 20000,
     .value_min = 30,
     .value_max = 60},
};
/* Under the sanitizers the first alone. */
enum { ALL_SHAPES = sizeof shapes / sizeof *shapes, SHAPES = SANITIZED ? 1 : ALL_SHAPES };

static unsigned rounds(void) {
  const char *factor = getenv("WODAN_ROUNDS");
  return factor ? (unsigned)atoi(factor) : 1;
}

/* Now and then: sync, checkpoint, reopen, crash, judge. */
static void interrupt(struct world *world, uint64_t one_in) {
  uint64_t dice = random_below(&world->random, 16 * one_in);
  if (dice < 6) world_sync(world);
  if (dice >= 6 && dice < 9) world_checkpoint(world);
  if (dice == 9) world_reopen(world);
  if (dice == 10 || dice == 11) world_crash(world);
  if (dice == 12) world_judge(world);
  if (dice == 13) world_judge_some(world, 20);
}

static void told(const struct world *world) {
  print_message("%s: %u versions, %llu levels, %llu walks\n", world->shape->name, world->version,
                (unsigned long long)world->levels, (unsigned long long)world->walks);
}

static void assert_deep(struct world *world) {
  if (world->levels < 4) world_print_space(world);
  if (world->levels < 4) world_fail(world, "only %llu levels", (unsigned long long)world->levels);
}

typedef void (*workload)(struct world *world);

static void on_every_shape(workload run, bool deep) {
  for (size_t s = 0; s < SHAPES; s++) {
    struct world world;
    /* The last one with the background thread: then the order of its work is not the same in every run. */
    world_start(&world, &shapes[s], s + 1 < ALL_SHAPES ? WODAN_OPEN_INLINE : 0, seed_or(20261122 + s));
    for (unsigned round = 0; round < rounds(); round++) run(&world);
    world_checkpoint(&world);
    if (deep) assert_deep(&world);
    told(&world);
    world_end(&world);
  }
}

/* ---- random -------------------------------------------------------------------------------------------------------- */

/* Batches of all sizes; now and then a view is opened, and judged later. */
static void random_batches(struct world *world) {
  uint64_t keys = world->shape->keys;
  uint32_t *seen = calloc(keys, sizeof *seen);
  struct wodan_view *view = NULL;
  for (uint64_t done = 0; done < 3 * keys;) {
    unsigned count = 1 + (unsigned)random_below(&world->random, 12);
    world_random_batch(world, count, 25, random_below(&world->random, 20) == 0);
    done += count;
    uint64_t dice = random_below(&world->random, 3000);
    if (dice < 4 && !view) {
      assert_done(world->rig.db, wodan_view_open(world->rig.db, &view));
      memcpy(seen, world->versions, keys * sizeof *seen);
    }
    if (dice < 60 || !view) {
      if (view) world_judge_at(world, view, seen);
      wodan_view_close(view);
      view = NULL;
    }
    if (!view) interrupt(world, 300);
  }
  wodan_view_close(view);
  free(seen);
}

static void test_workload__random_batches(void **state) {
  (void)state;
  on_every_shape(random_batches, true);
}

/* ---- in order ------------------------------------------------------------------------------------------------------ */

static void sequential(struct world *world) {
  for (int pass = 0; pass < 2; pass++)
    for (uint64_t i = 0; i < world->shape->keys; i++) {
      world_put(world, i);
      interrupt(world, 3000);
    }
}

static void reverse(struct world *world) {
  for (int pass = 0; pass < 2; pass++)
    for (uint64_t i = world->shape->keys; i-- > 0;) {
      world_put(world, i);
      interrupt(world, 3000);
    }
}

static void test_workload__sequential(void **state) {
  (void)state;
  on_every_shape(sequential, true);
}

static void test_workload__reverse(void **state) {
  (void)state;
  on_every_shape(reverse, true);
}

/* ---- uneven -------------------------------------------------------------------------------------------------------- */

/* Ranks by Zipf's law, spread over the keys. */
static void zipfian(struct world *world) {
  uint64_t keys = world->shape->keys;
  double *sums = calloc(keys, sizeof *sums), sum = 0;
  for (uint64_t r = 0; r < keys; r++) sums[r] = sum += 1 / (double)(r + 1);
  for (uint64_t i = 0; i < keys; i++) world_put(world, i * 7919 % keys);
  for (uint64_t n = 0; n < 2 * keys; n++) {
    double u = (double)(random_next(&world->random) >> 11) / (double)(1ull << 53) * sum;
    uint64_t low = 0, high = keys - 1;
    while (low < high) {
      uint64_t middle = (low + high) / 2;
      if (sums[middle] < u)
        low = middle + 1;
      else
        high = middle;
    }
    uint64_t i = low * 7919 % keys;
    if (random_below(&world->random, 8) == 0)
      world_delete(world, i);
    else
      world_put(world, i);
    interrupt(world, 3000);
  }
  free(sums);
}

static void test_workload__zipfian(void **state) {
  (void)state;
  on_every_shape(zipfian, true);
}

/* One key again and again, among others at rest: they keep their place, and the volume does not grow. */
static void hot_key(struct world *world) {
  uint64_t keys = world->shape->keys;
  for (uint64_t i = 0; i < keys; i++) world_put(world, i * 7919 % keys);
  world_checkpoint(world);
  world_checkpoint(world);
  uint64_t live = rig_stats(world->rig.db).space_live;
  for (uint64_t n = 0; n < 3 * keys; n++) {
    world_put(world, keys / 3);
    interrupt(world, 3000);
  }
  world_checkpoint(world);
  world_checkpoint(world);
  uint64_t after = rig_stats(world->rig.db).space_live;
  if (after > live + live / 4)
    world_fail(world, "%llu bytes live after one key was overwritten, %llu before", (unsigned long long)after,
               (unsigned long long)live);
}

static void test_workload__one_hot_key(void **state) {
  (void)state;
  on_every_shape(hot_key, true);
}

/* ---- deletes ------------------------------------------------------------------------------------------------------- */

/* All of it goes, and what is left is next to nothing; then it is filled again, in another order. */
static void deletes_and_refills(struct world *world) {
  uint64_t keys = world->shape->keys;
  struct wodan_db *db;
  for (unsigned pass = 0; pass < 3; pass++) {
    for (uint64_t n = 0; n < keys; n++) {
      world_put(world, n * (pass == 0 ? 1 : 7919) % keys);
      interrupt(world, 8000);
    }
    for (uint64_t n = 0; n < keys; n++) {
      uint64_t i = pass == 0 ? keys - 1 - n : pass == 1 ? n : n * 7919 % keys;
      world_delete(world, i);
      interrupt(world, 8000);
    }
    for (uint64_t i = 0; i < keys; i++) /* a crash may have taken deletes back */
      if (world->versions[i]) world_delete(world, i);
    uint32_t more = 1;
    db = world->rig.db;
    while (more) assert_done(db, wodan_compact(db, NULL, NULL, 0, &more));
    world_checkpoint(world);
    world_checkpoint(world);
    struct wodan_stats stats = rig_stats(db);
    if (stats.runs || stats.leaves || stats.levels != 1 || stats.space_live > stats.space_total / 50)
      world_fail(world, "empty, but %llu leaves, %llu runs, %llu levels, %llu bytes", (unsigned long long)stats.leaves,
                 (unsigned long long)stats.runs, (unsigned long long)stats.levels,
                 (unsigned long long)stats.space_live);
  }
  for (uint64_t n = 0; n < keys; n++) world_put(world, n * 7919 % keys);
}

static void test_workload__deletes_of_everything_and_refills(void **state) {
  (void)state;
  on_every_shape(deletes_and_refills, true);
}

/* ---- reads beside deletes ------------------------------------------------------------------------------------------ */

enum place { AT_FRONT, AT_END, INSIDE };

/* Pages touched by a cursor that is opened and goes there, while the background thread touches none. */
static uint64_t pages_of_seek(struct world *world, enum place place, uint64_t key) {
  struct wodan_db *db = world->rig.db;
  engine_tree_enter(db);
  struct wodan_stats before = rig_stats(db);
  struct wodan_cursor *cursor;
  char text[2100];
  assert_done(db, wodan_cursor_open(db, NULL, &cursor));
  int status = place == AT_FRONT ? wodan_cursor_first(cursor)
               : place == AT_END ? wodan_cursor_last(cursor)
                                 : wodan_cursor_seek(cursor, world_key(world, key, text));
  assert_int_equal(status, 0);
  wodan_cursor_close(cursor);
  struct wodan_stats after = rig_stats(db);
  engine_tree_leave(db);
  return after.cache_hits + after.cache_misses - before.cache_hits - before.cache_misses;
}

/* A window of keys that moves, or whose ends do. */
struct window {
  struct world world;
  struct shape shape;
  uint64_t first, end; /* all keys that are there lie in [first, end) */
  bool unknown;        /* the next seek is the first that may step over what was deleted: not counted */
  uint64_t seeks, pages, worst, first_pages;
  uint64_t user, device; /* bytes written */
};

static void window_start(struct window *window, const char *name, uint64_t keys, uint32_t flags) {
  *window = (struct window){.shape = {.name = name,
                                      .size = 32 << 20,
                                      .format = {.block_size = 4096,
                                                 .page_size = 4096,
                                                 .leaf_size = 16384,
                                                 .memtable_size = 32768,
                                                 .node_leaves = 16,
                                                 .node_children = 8},
                                      .keys = keys,
                                      .value_min = 100,
                                      .value_max = 100}};
  world_start(&window->world, &window->shape, flags, seed_or(20261122));
  window->world.walk_every = 65536;
}

static void count_writes(struct window *window) {
  struct wodan_stats stats = rig_stats(window->world.rig.db);
  window->user += stats.user_bytes_written;
  window->device += stats.device_write_bytes;
}

static void window_reopen(struct window *window) {
  count_writes(window);
  world_reopen(&window->world);
}

/* It may have brought deleted keys back, and taken new ones. */
static void window_crash(struct window *window) {
  struct world *world = &window->world;
  count_writes(window);
  world_crash(world);
  window->first = 0;
  window->end = world->shape->keys;
}

static void delete_first(struct window *window) {
  struct world *world = &window->world;
  while (window->first < window->end && !world->versions[window->first]) window->first++;
  if (window->first < window->end) world_delete(world, window->first++);
}

static void delete_last(struct window *window) {
  struct world *world = &window->world;
  while (window->end > window->first && !world->versions[window->end - 1]) window->end--;
  if (window->end > window->first) world_delete(world, --window->end);
}

static void look(struct window *window, enum place place, uint64_t key) {
  uint64_t pages = pages_of_seek(&window->world, place, key);
  if (window->unknown) {
    window->first_pages = pages;
    window->unknown = false;
    return;
  }
  window->seeks++;
  window->pages += pages;
  if (pages > window->worst) window->worst = pages;
  if (getenv("WODAN_DUMP")) {
    print_message("%llu pages, %llu records in memtables\n", (unsigned long long)pages,
                  (unsigned long long)rig_stats(window->world.rig.db).records_buffered);
    world_print_node(window->world.rig.db->node, 0);
  }
}

/* Twice the worst that was seen is the most that a seek may cost (before gaps and sweeps for deletes: 132). It was
 * once measured beside ten times what a fresh tree costs; such a tree has all in leaves now, and a seek touches one page. */
enum { PAGES_MOST = 60 };

static void window_end(struct window *window) {
  struct world *world = &window->world;
  struct wodan_stats stats = rig_stats(world->rig.db);
  count_writes(window);
  print_message("%s: %llu seeks touch %.1f pages, %llu at worst; %llu leaves, %llu runs, %llu levels; "
                "%.2f bytes written per byte\n",
                window->shape.name, (unsigned long long)window->seeks, (double)window->pages / (double)window->seeks,
                (unsigned long long)window->worst, (unsigned long long)stats.leaves, (unsigned long long)stats.runs,
                (unsigned long long)stats.levels, (double)window->device / (double)window->user);
  if (window->first_pages)
    print_message("%s: the first seek touched %llu pages\n", window->shape.name,
                  (unsigned long long)window->first_pages);
  if (window->worst > PAGES_MOST) world_fail(world, "a seek touches %llu pages", (unsigned long long)window->worst);
  world_end(world);
}

/* What is put at the end is deleted at the front: turned over twenty times. Sought once in so many turns. */
static void queue_on(uint32_t flags, uint64_t rarely) {
  enum { WINDOW = 8192, KEYS = 21 * WINDOW };
  struct window window;
  window_start(&window, flags ? "queue, inline" : "queue, background", KEYS, flags);
  struct world *world = &window.world;
  for (uint64_t i = 0; i < KEYS; i++) {
    world_put(world, i);
    window.end = i + 1;
    if (i >= WINDOW) delete_first(&window);
    if (i % (3 * WINDOW) == 3 * WINDOW - 1) window_crash(&window);
    if (i % (3 * WINDOW) == WINDOW - 1) window_reopen(&window);
    if (random_below(&world->random, WINDOW / 2) == 0) world_sync(world);
    if (i > WINDOW && i % rarely == 0) look(&window, AT_FRONT, 0);
  }
  window_end(&window);
}

static void test_workload__a_queue_turned_over_twenty_times(void **state) {
  (void)state;
  queue_on(WODAN_OPEN_INLINE, 61);
  if (SANITIZED) return;
  queue_on(WODAN_OPEN_INLINE, 1021);
  queue_on(0, 61);
}

/* What is put last is deleted first: down to an eighth, and up again. */
static void stack_on(uint32_t flags) {
  enum { WINDOW = 8192 };
  struct window window;
  window_start(&window, flags ? "stack, inline" : "stack, background", WINDOW, flags);
  struct world *world = &window.world;
  for (unsigned round = 0; round < 6; round++) {
    for (; window.end < WINDOW; window.end++) world_put(world, window.end);
    if (round % 3 == 1) window_reopen(&window);
    if (round % 3 == 2) window_crash(&window);
    while (window.end > WINDOW / 8) {
      delete_last(&window);
      if (window.end % 61 == 0) look(&window, AT_END, 0);
    }
  }
  window_end(&window);
}

static void test_workload__a_stack_up_and_down(void **state) {
  (void)state;
  stack_on(WODAN_OPEN_INLINE);
  stack_on(0);
}

/* The middle goes, in order and while it is sought; or at random, and is sought afterwards: the first seek then finds out that
 * nothing is left, and is not counted. */
static void middle_on(uint32_t flags, uint64_t step) {
  enum { WINDOW = 8192, FROM = WINDOW / 4, COUNT = WINDOW / 2 };
  struct window window;
  window_start(&window,
               step > 1 ? "middle, at random"
               : flags  ? "middle, inline"
                        : "middle, background",
               WINDOW, flags);
  struct world *world = &window.world;
  for (uint64_t i = 0; i < WINDOW; i++) world_put(world, i * 7919 % WINDOW);
  for (uint64_t n = 0; n < COUNT; n++) {
    world_delete(world, FROM + n * step % COUNT);
    if (step == 1 && n % 61 == 0) look(&window, INSIDE, FROM);
  }
  window.unknown = step > 1;
  look(&window, INSIDE, FROM);
  for (uint64_t n = 0; n < WINDOW; n++) {
    world_put(world, n % 2 ? n % FROM : WINDOW - 1 - n % FROM);
    if (n % 61 == 0) look(&window, INSIDE, FROM + random_below(&world->random, COUNT));
  }
  window_end(&window);
}

static void test_workload__a_middle_range_deleted(void **state) {
  (void)state;
  middle_on(WODAN_OPEN_INLINE, 1);
  middle_on(0, 1);
  middle_on(WODAN_OPEN_INLINE, 2467);
}

/* ---- sizes --------------------------------------------------------------------------------------------------------- */

static void sized(const char *name, uint32_t key_size, uint32_t value_min, uint32_t value_max, bool deep) {
  for (size_t s = 0; s < SHAPES; s++) {
    struct shape shape = shapes[s];
    struct world world;
    uint32_t page = shape.format.page_size;
    shape.key_size = key_size ? page / key_size : 0;
    shape.value_min = value_min;
    shape.value_max = value_max ? page / value_max : 0;
    shape.keys =
        shape.size / 8 / ((shape.key_size ? shape.key_size : 12) + (shape.value_min + shape.value_max) / 2 + 12);
    world_start(&world, &shape, s + 1 < ALL_SHAPES ? WODAN_OPEN_INLINE : 0, seed_or(20261122 + s));
    print_message("%s: ", name);
    for (unsigned round = 0; round < rounds(); round++) random_batches(&world);
    for (uint64_t i = 0; i < shape.keys; i++) world_put(&world, i * 7919 % shape.keys);
    if (deep) assert_deep(&world);
    told(&world);
    world_end(&world);
  }
}

static void test_workload__longest_keys_with_one_prefix(void **state) {
  (void)state;
  sized("longest keys", 8, 0, 16, true);
}

static void test_workload__values_from_none_to_the_greatest(void **state) {
  (void)state;
  sized("values of every size", 0, 0, 4, true);
}

static void test_workload__keys_alone(void **state) {
  (void)state;
  sized("no values", 0, 0, 0, false);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_workload__random_batches),
      cmocka_unit_test(test_workload__sequential),
      cmocka_unit_test(test_workload__reverse),
      cmocka_unit_test(test_workload__zipfian),
      cmocka_unit_test(test_workload__one_hot_key),
      cmocka_unit_test(test_workload__deletes_of_everything_and_refills),
      cmocka_unit_test(test_workload__a_queue_turned_over_twenty_times),
      cmocka_unit_test(test_workload__a_stack_up_and_down),
      cmocka_unit_test(test_workload__a_middle_range_deleted),
      cmocka_unit_test(test_workload__longest_keys_with_one_prefix),
      cmocka_unit_test(test_workload__values_from_none_to_the_greatest),
      cmocka_unit_test(test_workload__keys_alone),
  };
  only_the_test_asked_for();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
