/* Many threads on one database: readers beside a writer, committers beside each other. Values carry their key and version,
 * so a reader can judge what it sees. Meant for a build with -fsanitize=thread as well. */
#include <pthread.h>
#include <time.h>
#include "engine_rig.h"

/* cmocka's assertions jump, which only the main thread may do: others say what is wrong and stop. */
#define CHECK(condition, ...)                                                                                          \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                                  \
      fprintf(stderr, __VA_ARGS__);                                                                                    \
      fprintf(stderr, "\n");                                                                                           \
      abort();                                                                                                         \
    }                                                                                                                  \
  } while (0)

enum { PAIRS = 150, KEYS = 2 * PAIRS, VALUE = 56 };

struct world {
  struct rig rig;
  _Atomic uint64_t started[KEYS], committed[KEYS]; /* versions, by the one writer */
  _Atomic bool done;
  _Atomic uint64_t gets, scans, views, pins;
};

static uint64_t version_in(struct wodan_slice value, uint64_t i) {
  uint64_t key, version;
  uint8_t wanted[VALUE];
  CHECK(value.size == VALUE, "key %llu: %zu bytes", (unsigned long long)i, value.size);
  memcpy(&key, value.data, 8);
  memcpy(&version, (const uint8_t *)value.data + 8, 8);
  CHECK(key == i, "the value of key %llu is that of key %llu", (unsigned long long)i, (unsigned long long)key);
  CHECK(memcmp(value.data, value_number(i, version, wanted, VALUE).data, VALUE) == 0, "key %llu is torn",
        (unsigned long long)i);
  return version;
}

/* What a reader has seen may never be taken back. */
struct reader {
  struct world *world;
  pthread_t thread;
  uint64_t seed, seen[KEYS];
};

static void saw(struct reader *reader, uint64_t i, uint64_t version, uint64_t floor) {
  CHECK(version >= floor, "key %llu: version %llu, but %llu was committed", (unsigned long long)i,
        (unsigned long long)version, (unsigned long long)floor);
  CHECK(version <= atomic_load(&reader->world->started[i]), "key %llu: a version not yet written",
        (unsigned long long)i);
  CHECK(version >= reader->seen[i], "key %llu went back from %llu to %llu", (unsigned long long)i,
        (unsigned long long)reader->seen[i], (unsigned long long)version);
  reader->seen[i] = version;
}

static void read_one(struct reader *reader) {
  struct world *world = reader->world;
  struct wodan_db *db = world->rig.db;
  uint64_t i = random_below(&reader->seed, KEYS), floor = atomic_load(&world->committed[i]);
  char key[32];
  uint8_t buffer[VALUE];
  struct wodan_pinned pinned;
  void *owned;
  size_t size;
  switch (random_below(&reader->seed, 3)) {
  case 0:
    CHECK(wodan_get(db, NULL, key_number(i, key), buffer, sizeof buffer, &size) == 0, "%s", rig_why(db));
    saw(reader, i, version_in((struct wodan_slice){buffer, size}, i), floor);
    break;
  case 1:
    CHECK(wodan_get_alloc(db, NULL, key_number(i, key), &owned, &size) == 0, "%s", rig_why(db));
    saw(reader, i, version_in((struct wodan_slice){owned, size}, i), floor);
    wodan_free(db, owned);
    break;
  default:
    CHECK(wodan_get_pinned(db, NULL, key_number(i, key), &pinned) == 0, "%s", rig_why(db));
    for (int n = 0; n < 3; n++) saw(reader, i, version_in(pinned.value, i), n ? 0 : floor);
    wodan_unpin(db, &pinned);
    atomic_fetch_add(&world->pins, 1);
  }
  atomic_fetch_add(&world->gets, 1);
}

/* All keys in order, none missing, both of a pair in one version, none older than what was committed before. */
static void scan_all(struct reader *reader, struct wodan_view *view, const uint64_t *floor) {
  struct world *world = reader->world;
  struct wodan_db *db = world->rig.db;
  struct wodan_cursor *cursor;
  bool back = random_below(&reader->seed, 2);
  uint64_t versions[KEYS], n = 0;
  char wanted[32];
  CHECK(wodan_cursor_open(db, view, &cursor) == 0, "%s", rig_why(db));
  int status = back ? wodan_cursor_last(cursor) : wodan_cursor_first(cursor);
  for (; status == 0; status = back ? wodan_cursor_prev(cursor) : wodan_cursor_next(cursor)) {
    struct wodan_slice key = wodan_cursor_key(cursor);
    if (((const char *)key.data)[0] == 'x') continue; /* churn, comes and goes */
    uint64_t i = back ? KEYS - 1 - n : n;
    CHECK(n < KEYS, "too many keys");
    struct wodan_slice due = key_number(i, wanted);
    CHECK(key.size == due.size && memcmp(key.data, wanted, key.size) == 0, "not key %llu", (unsigned long long)i);
    versions[i] = version_in(wodan_cursor_value(cursor), i);
    CHECK(versions[i] >= floor[i], "key %llu is too old in a scan", (unsigned long long)i);
    n++;
  }
  CHECK(status == WODAN_DONE, "%s", rig_why(db));
  CHECK(n == KEYS, "only %llu keys", (unsigned long long)n);
  for (uint64_t p = 0; p < PAIRS; p++) CHECK(versions[2 * p] == versions[2 * p + 1], "a batch was seen in part");
  wodan_cursor_close(cursor);
  atomic_fetch_add(&world->scans, 1);
}

/* The same answers as long as the view is open. */
static void use_view(struct reader *reader) {
  struct world *world = reader->world;
  struct wodan_db *db = world->rig.db;
  struct wodan_view *view;
  uint64_t floor[KEYS], first[8], keys[8];
  char key[32];
  uint8_t buffer[VALUE];
  size_t size;
  for (uint64_t i = 0; i < KEYS; i++) floor[i] = atomic_load(&world->committed[i]);
  CHECK(wodan_view_open(db, &view) == 0, "%s", rig_why(db));
  for (int round = 0; round < 4; round++) {
    for (int n = 0; n < 8; n++) {
      if (round == 0) keys[n] = random_below(&reader->seed, KEYS);
      CHECK(wodan_get(db, view, key_number(keys[n], key), buffer, sizeof buffer, &size) == 0, "%s", rig_why(db));
      uint64_t version = version_in((struct wodan_slice){buffer, size}, keys[n]);
      if (round == 0) first[n] = version;
      CHECK(version == first[n] && version >= floor[keys[n]], "the view changed");
    }
    if (round == 1) scan_all(reader, view, floor);
    for (int n = 0; n < 20; n++) read_one(reader);
  }
  wodan_view_close(view);
  atomic_fetch_add(&world->views, 1);
}

static void *read_on(void *context) {
  struct reader *reader = context;
  struct world *world = reader->world;
  while (!atomic_load(&world->done)) {
    uint64_t dice = random_below(&reader->seed, 100), floor[KEYS];
    if (dice < 90) {
      for (int n = 0; n < 10; n++) read_one(reader);
    } else if (dice < 96) {
      for (uint64_t i = 0; i < KEYS; i++) floor[i] = atomic_load(&world->committed[i]);
      scan_all(reader, NULL, floor);
    } else {
      use_view(reader);
    }
  }
  return NULL;
}

/* Looks from outside at what everybody does. */
static void *watch(void *context) {
  struct world *world = context;
  struct wodan_db *db = world->rig.db;
  uint64_t sequence = 0, generation = 0;
  while (!atomic_load(&world->done)) {
    struct wodan_stats stats = {0};
    struct wodan_info info = {0};
    struct wodan_error error;
    CHECK(wodan_stats(db, &stats) == 0 && wodan_info(db, &info) == 0, "no answer");
    CHECK(stats.space_live + stats.space_deferred + stats.space_free == stats.space_total, "space does not add up");
    CHECK(info.sequence >= sequence && info.generation >= generation, "went back");
    sequence = info.sequence, generation = info.generation;
    wodan_last_error(db, &error);
    CHECK(error.code == 0 || error.code == WODAN_ENOSPC || error.code == WODAN_EPINNED, "%s", error.message);
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
  }
  return NULL;
}

/* One pair in one batch. WODAN_EPINNED or WODAN_ENOSPC, while readers' views hold the space, is tried again. */
static void write_pair(struct world *world, struct wodan_batch *batch, uint64_t pair, uint64_t version, bool durable) {
  struct wodan_db *db = world->rig.db;
  struct wodan_commit commit = {.durability = durable};
  char key[32];
  uint8_t value[VALUE];
  wodan_batch_clear(batch);
  for (uint64_t i = 2 * pair; i < 2 * pair + 2; i++) {
    atomic_store(&world->started[i], version);
    assert_done(db, wodan_batch_put(batch, key_number(i, key), value_number(i, version, value, VALUE)));
  }
  int status;
  while ((status = wodan_batch_commit(db, batch, &commit)) == WODAN_ENOSPC || status == WODAN_EPINNED)
    nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
  assert_done(db, status);
  assert_int_equal(commit.reached, durable);
  for (uint64_t i = 2 * pair; i < 2 * pair + 2; i++) atomic_store(&world->committed[i], version);
}

static void write_on(struct world *world, uint64_t writes) {
  struct wodan_db *db = world->rig.db;
  struct wodan_batch *batch;
  uint64_t seed = 17;
  char key[32];
  assert_done(db, wodan_batch_create(db, &batch));
  for (uint64_t n = 0; n < writes; n++) {
    uint64_t pair = random_below(&seed, PAIRS), dice = random_below(&seed, 200);
    write_pair(world, batch, pair, atomic_load(&world->committed[2 * pair]) + 1, dice < 20);
    snprintf(key, sizeof key, "x%05d", (int)random_below(&seed, 300)); /* between and behind: leaves come and go */
    int status = dice % 3 ? wodan_put(db, sl(key), sl("churn"), NULL) : wodan_delete(db, sl(key), NULL);
    assert_true(status == 0 || status == WODAN_ENOSPC || status == WODAN_EPINNED);
    if (dice == 30) status = wodan_sync(db);
    if (dice == 31 || dice == 32) status = wodan_checkpoint(db, NULL);
    assert_true(status == 0 || status == WODAN_ENOSPC || status == WODAN_EPINNED);
  }
  wodan_batch_free(batch);
}

static void readers_beside_a_writer(uint64_t size, uint64_t writes, uint64_t budget_factor) {
  enum { READERS = 4 };
  struct world *world = calloc(1, sizeof *world);
  struct reader *readers = calloc(READERS, sizeof *readers);
  pthread_t watcher;
  rig_start(&world->rig, size, NULL);
  world->rig.background = true;
  struct wodan_open_options options = rig_options(&world->rig);
  options.memory_budget = budget_factor * rig_info(world->rig.db).memory_needed;
  rig_close(&world->rig);
  rig_open_with(&world->rig, &options);
  struct wodan_batch *batch;
  assert_done(world->rig.db, wodan_batch_create(world->rig.db, &batch));
  for (uint64_t p = 0; p < PAIRS; p++) write_pair(world, batch, p, 1, false);
  wodan_batch_free(batch);
  for (int r = 0; r < READERS; r++) {
    readers[r].world = world;
    readers[r].seed = (uint64_t)r + 1;
    assert_int_equal(pthread_create(&readers[r].thread, NULL, read_on, &readers[r]), 0);
  }
  assert_int_equal(pthread_create(&watcher, NULL, watch, world), 0);
  write_on(world, writes);
  atomic_store(&world->done, true);
  for (int r = 0; r < READERS; r++) pthread_join(readers[r].thread, NULL);
  pthread_join(watcher, NULL);
  struct wodan_stats stats = rig_stats(world->rig.db);
  print_message("%llu KiB: %llu gets, %llu scans, %llu views, %llu checkpoints, %llu evictions\n",
                (unsigned long long)size >> 10, (unsigned long long)world->gets, (unsigned long long)world->scans,
                (unsigned long long)world->views, (unsigned long long)stats.checkpoints,
                (unsigned long long)stats.cache_evictions);
  assert_true(world->gets > 500 && world->scans > 2 && world->views > 2 && stats.checkpoints > 10);
  assert_int_equal(stats.pinned_views, 0);
  rig_reopen(&world->rig);
  for (uint64_t i = 0; i < KEYS; i++) assert_number(world->rig.db, NULL, i, world->committed[i], VALUE);
  rig_end(&world->rig);
  free(readers);
  free(world);
}

static void test_threads__readers_see_whole_batches_in_order_on_a_small_image(void **state) {
  (void)state;
  readers_beside_a_writer(256 << 10, 3000, 1);
}

static void test_threads__readers_see_whole_batches_in_order_on_a_larger_image(void **state) {
  (void)state;
  readers_beside_a_writer(2 << 20, 4000, 2);
}

/* ---- group commit ------------------------------------------------------------------------------------------------------ */

/* A device whose flush takes its time, as real ones do. */
struct slow_device {
  struct wodan_device base;
  struct wodan_device *inner;
};
static struct wodan_device *inner_of(struct wodan_device *device) {
  return ((struct slow_device *)(void *)device)->inner;
}
static int slow_transfer(struct wodan_device *device, struct wodan_io *requests, size_t count) {
  return inner_of(device)->ops->transfer(inner_of(device), requests, count);
}
static int slow_barrier(struct wodan_device *device) { return inner_of(device)->ops->barrier(inner_of(device)); }
static int slow_flush(struct wodan_device *device) {
  nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL); /* the others come to wait, however busy the machine is */
  return inner_of(device)->ops->flush(inner_of(device));
}
static int slow_close(struct wodan_device *device) {
  int status = wodan_device_close(inner_of(device));
  free(device);
  return status;
}
static struct wodan_device *slow_open(struct wodan_device *inner) {
  static const struct wodan_device_ops ops = {
      .size = sizeof ops, .transfer = slow_transfer, .barrier = slow_barrier, .flush = slow_flush, .close = slow_close};
  struct slow_device *device = calloc(1, sizeof *device);
  device->base.ops = &ops;
  device->base.geometry = inner->geometry;
  device->inner = inner;
  return &device->base;
}

enum { COMMITTERS = 8, COMMITS = 60 };

struct committer {
  struct wodan_db *db;
  pthread_t thread;
  uint64_t number, last_sequence;
};

static void *commit_on(void *context) {
  struct committer *committer = context;
  char key[32];
  uint8_t value[VALUE];
  for (uint64_t n = 0; n < COMMITS; n++) {
    struct wodan_commit commit = {.durability = WODAN_DURABLE};
    uint64_t i = committer->number * COMMITS + n;
    int status = wodan_put(committer->db, key_number(i, key), value_number(i, 1, value, VALUE), &commit);
    CHECK(status == 0 && commit.reached == WODAN_DURABLE, "%s", rig_why(committer->db));
    CHECK(commit.sequence > committer->last_sequence, "sequences do not grow");
    committer->last_sequence = commit.sequence;
  }
  return NULL;
}

static void test_threads__committers_share_a_flush(void **state) {
  (void)state;
  struct rig rig;
  struct committer committers[COMMITTERS] = {0};
  struct wodan_error error;
  rig_start(&rig, 4 << 20, NULL);
  rig_close(&rig);
  rig.background = true;
  struct wodan_open_options options = rig_options(&rig);
  assert_int_equal(wodan_open(slow_open(kept_plug(rig.kept, 512, 0)), &options, &rig.db, &error), 0);
  uint64_t before = rig.kept->flushes;
  for (uint64_t c = 0; c < COMMITTERS; c++) {
    committers[c].db = rig.db;
    committers[c].number = c;
    assert_int_equal(pthread_create(&committers[c].thread, NULL, commit_on, &committers[c]), 0);
  }
  for (uint64_t c = 0; c < COMMITTERS; c++) pthread_join(committers[c].thread, NULL);
  uint64_t flushes = rig.kept->flushes - before;
  print_message("%d durable commits of %d threads: %llu flushes\n", COMMITTERS * COMMITS, COMMITTERS,
                (unsigned long long)flushes);
  assert_true(flushes * 2 < COMMITTERS * COMMITS);
  assert_int_equal(rig_info(rig.db).sequence, COMMITTERS * COMMITS);
  struct kept_bytes *crashed = kept_copy(rig.kept); /* all were acknowledged: all are there */
  rig_close(&rig);
  kept_free(rig.kept);
  rig.kept = crashed;
  rig_open(&rig);
  for (uint64_t i = 0; i < COMMITTERS * COMMITS; i++) assert_number(rig.db, NULL, i, 1, VALUE);
  rig_end(&rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_threads__readers_see_whole_batches_in_order_on_a_small_image),
      cmocka_unit_test(test_threads__readers_see_whole_batches_in_order_on_a_larger_image),
      cmocka_unit_test(test_threads__committers_share_a_flush),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
