/* Readers against the history: writers commit batches, readers get, pin, view and iterate, somebody checkpoints, compacts
 * and pulls the plug, and support/history.h judges what each of them saw: one moment within the call, between two whole
 * batches, never one before what an earlier read has seen.
 *
 * WODAN_HISTORY_SEED=N      another seed: what each thread does; in which order the threads come is up to the system
 * WODAN_HISTORY_SECONDS=N   seed after seed, for at least so long
 *
 * The library gets an allocator and a device that let other threads go first now and then. Nothing here that the threads
 * share, but for the device's writes, orders them: the thread sanitizer sees only what the library orders itself. */
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include "engine_rig.h"
#include "support/history.h"

/* cmocka's assertions jump, which only the main thread may do: others say what is wrong and stop. */
#define CHECK(condition, ...)                                                                                          \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                                  \
      fprintf(stderr, __VA_ARGS__);                                                                                    \
      fprintf(stderr, "\n%s\n", replay);                                                                               \
      abort();                                                                                                         \
    }                                                                                                                  \
  } while (0)

enum { WRITERS = 3, READERS = 3, THREADS = WRITERS + READERS + 1, VALUE_LEAST = 24, VALUE_MOST = 2000, HELD = 4 };

struct shape {
  const char *name;
  uint64_t size;
  struct wodan_format_options format;
  uint32_t keys; /* a prime: the keys of a batch are steps around it */
  uint32_t batch_most;
  size_t value_most;
  uint32_t batches; /* a writer */
  uint64_t budget;  /* times the least; 0: the default */
  uint32_t checkpoints_least;
};

#if defined(HISTORY_RACES_WATCHED) || defined(__SANITIZE_ADDRESS__)
enum { SLOWER = 5 }; /* so much less of everything */
#else
enum { SLOWER = 1 };
#endif

static char replay[256]; /* how to run this again */

static void pause_for(long microseconds) { nanosleep(&(struct timespec){.tv_nsec = microseconds * 1000}, NULL); }

/* ---- what is below the library -------------------------------------------------------------------------------- */

static _Thread_local uint64_t jitter;
static _Thread_local uint64_t hurry; /* one time in so many the thread sleeps for long behind a lock; 0: never */

/* Lets others go first, one time in `often`; now and then for longer. */
static void jump_aside(uint64_t often) {
  if (jitter == 0) jitter = (uint64_t)(uintptr_t)&jitter;
  uint64_t dice = random_below(&jitter, 16 * often);
  if (dice == 0) pause_for(10);
  if (dice > 0 && dice < 16) sched_yield();
}

#ifndef HISTORY_RACES_WATCHED /* it has these functions itself */
/* Before each lock of the library's and behind it: what is done in two steps shall be seen between them. */
static _Thread_local uint64_t
    unlocks_left;         /* until somebody else commits something while this thread waits; 0: never */
static atomic_bool asked; /* for that */

static void linger(void) {
  if (unlocks_left && --unlocks_left == 0) {
    atomic_store(&asked, true);
    pause_for(3000);
  }
  jump_aside(16);
  if (hurry && random_below(&jitter, hurry) == 0) pause_for(1500); /* a memtable comes and goes meanwhile */
}
#define SYSTEMS(name) ((int (*)(void *))dlsym(RTLD_NEXT, name))
int pthread_rwlock_rdlock(pthread_rwlock_t *lock) {
  static _Atomic(int (*)(void *)) systems;
  jump_aside(8);
  if (!systems) systems = SYSTEMS("pthread_rwlock_rdlock");
  return systems(lock);
}
int pthread_rwlock_wrlock(pthread_rwlock_t *lock) {
  static _Atomic(int (*)(void *)) systems;
  jump_aside(8);
  if (!systems) systems = SYSTEMS("pthread_rwlock_wrlock");
  return systems(lock);
}
int pthread_mutex_unlock(pthread_mutex_t *mutex) {
  static _Atomic(int (*)(void *)) systems;
  if (!systems) systems = SYSTEMS("pthread_mutex_unlock");
  int status = systems(mutex);
  linger();
  return status;
}
int pthread_rwlock_unlock(pthread_rwlock_t *lock) {
  static _Atomic(int (*)(void *)) systems;
  if (!systems) systems = SYSTEMS("pthread_rwlock_unlock");
  int status = systems(lock);
  linger();
  return status;
}
#endif

static void *allocate(void *context, size_t size, size_t alignment) {
  (void)context;
  jump_aside(8);
  if (alignment < 16) alignment = 16;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
static void release(void *context, void *memory, size_t size) {
  (void)context;
  (void)size;
  jump_aside(8);
  free(memory);
}

struct plug {
  struct wodan_device base;
  struct wodan_device *inner;
  pthread_mutex_t *writes; /* nothing is written while somebody holds it */
};
static struct plug *plug_of(struct wodan_device *device) { return (struct plug *)(void *)device; }
static int plug_transfer(struct wodan_device *device, struct wodan_io *requests, size_t count) {
  struct plug *plug = plug_of(device);
  bool writes = count && requests[0].kind == WODAN_IO_WRITE;
  jump_aside(4);
  if (writes) pthread_mutex_lock(plug->writes);
  int status = plug->inner->ops->transfer(plug->inner, requests, count);
  if (writes) pthread_mutex_unlock(plug->writes);
  return status;
}
static int plug_barrier(struct wodan_device *device) {
  return plug_of(device)->inner->ops->barrier(plug_of(device)->inner);
}
static int plug_flush(struct wodan_device *device) {
  pause_for(50); /* as real ones */
  return plug_of(device)->inner->ops->flush(plug_of(device)->inner);
}
static int plug_close(struct wodan_device *device) {
  int status = wodan_device_close(plug_of(device)->inner);
  free(device);
  return status;
}
static struct wodan_device *plug_in(struct wodan_device *inner, pthread_mutex_t *writes) {
  static const struct wodan_device_ops ops = {
      .size = sizeof ops, .transfer = plug_transfer, .barrier = plug_barrier, .flush = plug_flush, .close = plug_close};
  struct plug *plug = calloc(1, sizeof *plug);
  *plug = (struct plug){.base = {.ops = &ops, .geometry = inner->geometry}, .inner = inner, .writes = writes};
  return &plug->base;
}

/* ---- the world -------------------------------------------------------------------------------------------------- */

struct world {
  const struct shape *shape;
  struct wodan_db *db;
  struct kept_bytes *kept;
  struct history *history;
  pthread_mutex_t writes;
  atomic_uint writers; /* still at work */
};

struct worker {
  struct world *world;
  struct history_log *log;
  pthread_t thread;
  uint64_t seed;
  uint32_t version;
  uint64_t durable; /* of ten commits */
  uint64_t done, refused;
  /* readers: pinned values, looked at again when their turn comes */
  struct wodan_pinned held[HELD];
  struct history_pair held_pair[HELD];
};

static bool writers_left(struct world *world) {
  return atomic_load_explicit(&world->writers, memory_order_relaxed) > 0;
}

/* What key i holds in this version. */
static struct wodan_slice value_of(const struct shape *shape, uint32_t key, uint32_t version, uint8_t *out) {
  uint64_t state = (uint64_t)key << 32 | version;
  size_t size = VALUE_LEAST + random_below(&state, shape->value_most - VALUE_LEAST + 1);
  return value_number(key, version, out, size);
}

static uint32_t version_in(const struct shape *shape, uint32_t key, struct wodan_slice value) {
  uint64_t words[2];
  uint8_t wanted[VALUE_MOST];
  CHECK(value.size >= sizeof words, "key %u has %zu bytes", key, value.size);
  memcpy(words, value.data, sizeof words);
  struct wodan_slice due = value_of(shape, key, (uint32_t)words[1], wanted);
  CHECK(due.size == value.size && memcmp(due.data, value.data, due.size) == 0,
        "key %u holds what was never put there: key %llu, version %llu, %zu bytes", key, (unsigned long long)words[0],
        (unsigned long long)words[1], value.size);
  return (uint32_t)words[1];
}

static uint32_t number_of(const struct shape *shape, struct wodan_slice key) {
  char text[32] = "", wanted[32];
  CHECK(key.size < sizeof text, "a key of %zu bytes", key.size);
  memcpy(text, key.data, key.size);
  uint64_t number = strtoull(text + 4, NULL, 10);
  CHECK(number < shape->keys && key_number(number, wanted).size == key.size && memcmp(wanted, text, key.size) == 0,
        "a key that was never put: %s", text);
  return (uint32_t)number;
}

/* ---- writers ---------------------------------------------------------------------------------------------------- */

static int commit_once(struct worker *worker, struct wodan_batch *batch, const struct history_pair *pairs,
                       struct wodan_commit *commit) {
  struct wodan_db *db = worker->world->db;
  char key[32];
  uint8_t value[VALUE_MOST];
  if (batch) return wodan_batch_commit(db, batch, commit);
  if (pairs->version == HISTORY_ABSENT) return wodan_delete(db, key_number(pairs->key, key), commit);
  return wodan_put(db, key_number(pairs->key, key), value_of(worker->world->shape, pairs->key, pairs->version, value),
                   commit);
}

/* Until it is taken: while readers' views hold the space it is refused, and then nothing of it may be seen. */
static void commit(struct worker *worker, struct wodan_batch *batch, const struct history_pair *pairs, size_t count) {
  struct world *world = worker->world;
  struct wodan_commit commit = {.durability =
                                    random_below(&worker->seed, 10) < worker->durable ? WODAN_DURABLE : WODAN_BUFFERED};
  uint64_t started;
  for (;;) {
    started = history_now(world->history);
    int status = commit_once(worker, batch, pairs, &commit);
    if (status == 0) break;
    CHECK(status == WODAN_ENOSPC || status == WODAN_EPINNED, "commit answered %d: %s", status, rig_why(world->db));
    worker->refused++;
    pause_for(100);
  }
  CHECK(commit.reached == commit.durability, "reached %u of %u", commit.reached, commit.durability);
  for (size_t i = 0; i < count; i++) history_pair(worker->log, pairs[i].key, pairs[i].version);
  history_batch(worker->log, (struct history_batch){.started = started,
                                                    .ended = history_now(world->history),
                                                    .sequence = commit.sequence,
                                                    .durable = commit.reached == WODAN_DURABLE});
}

static void write_batch(struct worker *worker, struct wodan_batch *batch) {
  const struct shape *shape = worker->world->shape;
  struct history_pair pairs[16];
  char key[32];
  uint8_t value[VALUE_MOST];
  uint32_t at = (uint32_t)random_below(&worker->seed, shape->keys);
  uint32_t by = (uint32_t)random_below(&worker->seed, shape->keys - 1) + 1;
  size_t count = random_below(&worker->seed, shape->batch_most) + 1;
  uint64_t deletes = random_below(&worker->seed, 100) < 10 ? 90 : 25; /* of a hundred; now and then more than come */
  worker->version += THREADS;
  wodan_batch_clear(batch);
  for (size_t i = 0; i < count; i++, at = (at + by) % shape->keys) {
    bool gone = random_below(&worker->seed, 100) < deletes;
    pairs[i] = (struct history_pair){at, gone ? HISTORY_ABSENT : worker->version};
    int status = gone ? wodan_batch_delete(batch, key_number(at, key))
                      : wodan_batch_put(batch, key_number(at, key), value_of(shape, at, worker->version, value));
    CHECK(status == 0, "batch answered %d", status);
  }
  commit(worker, count == 1 ? NULL : batch, pairs, count);
}

static void *write_on(void *context) {
  struct worker *worker = context;
  struct wodan_batch *batch;
  CHECK(wodan_batch_create(worker->world->db, &batch) == 0, "no batch");
  for (uint32_t n = 0; n < worker->world->shape->batches; n++, worker->done++) write_batch(worker, batch);
  wodan_batch_free(batch);
  atomic_fetch_sub_explicit(&worker->world->writers, 1, memory_order_relaxed);
  return NULL;
}

/* ---- readers ---------------------------------------------------------------------------------------------------- */

/* What one view or cursor has shown so far; goes into the log as one read. */
struct notes {
  struct history_pair *pairs;
  size_t count, capacity;
};

static void note(struct notes *notes, uint32_t key, uint32_t version) {
  if (notes->count == notes->capacity) {
    notes->capacity = notes->capacity ? 2 * notes->capacity : 64;
    notes->pairs = realloc(notes->pairs, notes->capacity * sizeof *notes->pairs);
    if (!notes->pairs) abort();
  }
  notes->pairs[notes->count++] = (struct history_pair){key, version};
}

static void hand_in(struct worker *worker, struct notes *notes, struct history_read read) {
  for (size_t i = 0; i < notes->count; i++) history_pair(worker->log, notes->pairs[i].key, notes->pairs[i].version);
  history_read(worker->log, read);
  free(notes->pairs);
  worker->done++;
}

/* A pinned value stays what it was. */
static void let_go(struct worker *worker, size_t slot) {
  struct history_pair *pair = &worker->held_pair[slot];
  if (pair->version == HISTORY_ABSENT) return;
  CHECK(version_in(worker->world->shape, pair->key, worker->held[slot].value) == pair->version,
        "a pinned value of key %u is another now", pair->key);
  wodan_unpin(worker->world->db, &worker->held[slot]);
  pair->version = HISTORY_ABSENT;
}

static void let_all_go(struct worker *worker) {
  for (size_t slot = 0; slot < HELD; slot++) let_go(worker, slot);
}

/* The version of a key, by one of the three kinds of get. */
static uint32_t get(struct worker *worker, struct wodan_view *view, uint32_t key) {
  struct wodan_db *db = worker->world->db;
  const struct shape *shape = worker->world->shape;
  uint64_t kind = random_below(&worker->seed, 3);
  size_t slot = random_below(&worker->seed, HELD), size = 0;
  char text[32];
  uint8_t buffer[VALUE_MOST];
  void *owned = NULL;
  uint32_t version = HISTORY_ABSENT;
  int status;
  hurry = 300;
  if (kind == 2) {
    let_go(worker, slot);
    status = wodan_get_pinned(db, view, key_number(key, text), &worker->held[slot]);
    if (status == 0) version = version_in(shape, key, worker->held[slot].value);
    worker->held_pair[slot] = (struct history_pair){key, version};
  } else if (kind == 1) {
    status = wodan_get_alloc(db, view, key_number(key, text), &owned, &size);
    if (status == 0) version = version_in(shape, key, (struct wodan_slice){owned, size});
    wodan_free(db, owned);
  } else {
    status = wodan_get(db, view, key_number(key, text), buffer, sizeof buffer, &size);
    if (status == 0) version = version_in(shape, key, (struct wodan_slice){buffer, size});
  }
  hurry = 0;
  CHECK(status == 0 || status == WODAN_ENOTFOUND, "get of key %u answered %d: %s", key, status, rig_why(db));
  return version;
}

static void read_now(struct worker *worker) {
  struct history *history = worker->world->history;
  uint32_t key = (uint32_t)random_below(&worker->seed, worker->world->shape->keys);
  uint64_t started = history_now(history);
  history_pair(worker->log, key, get(worker, NULL, key));
  history_read(worker->log,
               (struct history_read){
                   .what = "get", .started = started, .ended = history_now(history), .sequence = HISTORY_UNTOLD});
  worker->done++;
}

static void read_info(struct worker *worker) {
  struct history *history = worker->world->history;
  struct wodan_info info = {.size = sizeof info};
  uint64_t started = history_now(history);
  CHECK(wodan_info(worker->world->db, &info) == 0, "no info");
  history_read(worker->log,
               (struct history_read){
                   .what = "info", .started = started, .ended = history_now(history), .sequence = info.sequence});
  worker->done++;
}

/* One move from key `at` (below 0 or beyond the last: from there) and all that it tells: which keys are not there, and the
 * version of one that is. Returns where the cursor stands, as `at`. */
static int64_t move(struct worker *worker, struct wodan_cursor *cursor, bool back, int64_t at, bool seek,
                    struct notes *notes) {
  const struct shape *shape = worker->world->shape;
  int64_t from = back ? at - 1 : at + 1, edge = back ? -1 : (int64_t)shape->keys, to = edge;
  char key[32];
  int status;
  if (at < 0 && !back)
    status = wodan_cursor_first(cursor);
  else if (at >= (int64_t)shape->keys && back)
    status = wodan_cursor_last(cursor);
  else if (seek) {
    from = at;
    struct wodan_slice target = key_number((uint64_t)at, key);
    status = back ? wodan_cursor_seek_back(cursor, target) : wodan_cursor_seek(cursor, target);
  } else
    status = back ? wodan_cursor_prev(cursor) : wodan_cursor_next(cursor);
  CHECK(status == 0 || status == WODAN_DONE, "a cursor answered %d: %s", status, rig_why(worker->world->db));
  if (status == 0) to = number_of(shape, wodan_cursor_key(cursor));
  CHECK(back ? to <= from : to >= from, "a cursor came from %lld to %lld", (long long)at, (long long)to);
  for (int64_t k = from; k != to; k += back ? -1 : 1) note(notes, (uint32_t)k, HISTORY_ABSENT);
  if (status == 0) note(notes, (uint32_t)to, version_in(shape, (uint32_t)to, wodan_cursor_value(cursor)));
  return to;
}

/* All keys one way, or here and there. */
static void walk(struct worker *worker, struct wodan_cursor *cursor, struct notes *notes) {
  const int64_t keys = worker->world->shape->keys;
  uint64_t way = random_below(&worker->seed, 3);
  int64_t at = way == 0 ? -1 : keys;
  if (way < 2) {
    do at = move(worker, cursor, way == 1, at, false, notes);
    while (at >= 0 && at < keys);
    return;
  }
  for (int n = 0; n < 40; n++) {
    bool stands = n > 0 && at >= 0 && at < keys, seek = !stands || random_below(&worker->seed, 8) == 0;
    bool back = random_below(&worker->seed, 2);
    if (seek) at = (int64_t)random_below(&worker->seed, (uint64_t)keys);
    at = move(worker, cursor, back, at, seek, notes);
    if (n % 10 == 0) read_now(worker);
  }
}

static void read_by_cursor(struct worker *worker) {
  struct history *history = worker->world->history;
  struct wodan_cursor *cursor;
  struct notes notes = {0};
  struct history_read read = {.what = "cursor", .started = history_now(history), .sequence = HISTORY_UNTOLD};
  hurry = 30;
  CHECK(wodan_cursor_open(worker->world->db, NULL, &cursor) == 0, "%s", rig_why(worker->world->db));
  hurry = 0;
  read.ended = history_now(history);
  walk(worker, cursor, &notes);
  if (random_below(&worker->seed, 2)) walk(worker, cursor, &notes);
  wodan_cursor_close(cursor);
  hand_in(worker, &notes, read);
}

static void read_by_view(struct worker *worker) {
  struct world *world = worker->world;
  struct wodan_view *view;
  struct wodan_cursor *cursor;
  struct notes notes = {0};
  struct history_read read = {.what = "view", .started = history_now(world->history)};
  hurry = 30;
  CHECK(wodan_view_open(world->db, &view) == 0, "%s", rig_why(world->db));
  hurry = 0;
  read.ended = history_now(world->history);
  read.sequence = wodan_view_sequence(view);
  for (int n = 0; n < 20; n++) {
    uint32_t key = (uint32_t)random_below(&worker->seed, world->shape->keys);
    note(&notes, key, get(worker, view, key));
    if (n % 4 == 0) read_now(worker);
  }
  CHECK(wodan_cursor_open(world->db, view, &cursor) == 0, "%s", rig_why(world->db));
  walk(worker, cursor, &notes);
  CHECK(wodan_view_sequence(view) == read.sequence, "a view has moved");
  wodan_view_close(view); /* the cursor stays */
  walk(worker, cursor, &notes);
  wodan_cursor_close(cursor);
  hand_in(worker, &notes, read);
}

static void *read_on(void *context) {
  struct worker *worker = context;
  while (writers_left(worker->world)) {
    uint64_t dice = random_below(&worker->seed, 100);
    if (dice < 84)
      read_now(worker);
    else if (dice < 90)
      read_info(worker);
    else if (dice < 96)
      read_by_cursor(worker);
    else
      read_by_view(worker);
  }
  let_all_go(worker);
  return NULL;
}

/* ---- the one who tends the volume --------------------------------------------------------------------------------- */

/* The process dies here: the volume as it is now, opened elsewhere, holds a prefix of the history with all that was
 * durable. */
static void crash(struct worker *worker) {
  struct world *world = worker->world;
  struct worker other = {.world = &(struct world){.shape = world->shape}};
  struct wodan_open_options options = {.flags = WODAN_OPEN_INLINE};
  struct wodan_cursor *cursor;
  struct wodan_error error;
  struct notes notes = {0};
  struct history_read read = {.what = "crash", .kind = HISTORY_CRASH, .started = history_now(world->history)};
  pthread_mutex_lock(&world->writes);
  struct kept_bytes *kept = kept_copy(world->kept);
  pthread_mutex_unlock(&world->writes);
  read.ended = history_now(world->history);
  int status = wodan_open(kept_plug(kept, 512, 0), &options, &other.world->db, &error);
  CHECK(status == 0, "open after a crash answered %d: %s", status, error.message);
  struct wodan_info info = {.size = sizeof info};
  CHECK(wodan_info(other.world->db, &info) == 0, "no info");
  read.sequence = info.sequence;
  CHECK(wodan_cursor_open(other.world->db, NULL, &cursor) == 0, "%s", rig_why(other.world->db));
  for (int64_t at = -1; at < (int64_t)world->shape->keys;) at = move(&other, cursor, false, at, false, &notes);
  wodan_cursor_close(cursor);
  CHECK(wodan_close(other.world->db, &error) == 0, "close after a crash: %s", error.message);
  kept_free(kept);
  hand_in(worker, &notes, read);
}

static void *tend(void *context) {
  struct worker *worker = context;
  struct world *world = worker->world;
  char lower[32], upper[32];
  while (writers_left(world)) {
    uint64_t dice = random_below(&worker->seed, 10), started = history_now(world->history);
    uint64_t at = random_below(&worker->seed, world->shape->keys);
    struct wodan_slice from = key_number(at, lower), to = key_number(at + world->shape->keys / 4, upper);
    uint32_t more;
    int status = 0;
    hurry = 60;
    if (dice < 3)
      status = dice ? wodan_sync(world->db) : wodan_checkpoint(world->db, NULL);
    else if (dice < 5)
      status = wodan_compact(world->db, dice == 3 ? NULL : &from, dice == 3 ? NULL : &to, 8192, &more);
    else
      pause_for(500);
    hurry = 0;
    if (dice == 5) crash(worker);
    CHECK(status == 0 || status == WODAN_ENOSPC || status == WODAN_EPINNED, "%d: %s", status, rig_why(world->db));
    worker->refused += status < 0;
    if (dice < 3 && status == 0)
      history_read(worker->log, (struct history_read){
                                    .kind = HISTORY_SYNC, .started = started, .ended = history_now(world->history)});
  }
  crash(worker);
  return NULL;
}

/* ---- runs ------------------------------------------------------------------------------------------------------- */

static void open_world(struct world *world) {
  struct wodan_error error;
  struct wodan_info info = {.size = sizeof info};
  struct wodan_format_options format = world->shape->format;
  struct wodan_open_options options = {.allocator = {.allocate = allocate, .release = release}};
  struct wodan_device *device = kept_plug(world->kept, 512, 0);
  assert_int_equal(wodan_format(device, &format, &error), 0);
  assert_int_equal(wodan_open(device, NULL, &world->db, &error), 0);
  assert_int_equal(wodan_info(world->db, &info), 0);
  assert_int_equal(wodan_close(world->db, &error), 0);
  options.memory_budget = world->shape->budget * info.memory_needed;
  assert_int_equal(wodan_open(plug_in(kept_plug(world->kept, 512, 0), &world->writes), &options, &world->db, &error),
                   0);
}

static void run_threads(struct worker *workers) {
  void *(*const does[THREADS])(void *) = {write_on, write_on, write_on, read_on, read_on, read_on, tend};
  for (int t = 0; t < THREADS; t++) assert_int_equal(pthread_create(&workers[t].thread, NULL, does[t], &workers[t]), 0);
  for (int t = 0; t < THREADS; t++) pthread_join(workers[t].thread, NULL);
}

static void run_once(const struct shape *shape, uint64_t seed) {
  struct world world = {.shape = shape,
                        .kept = kept_create(shape->size),
                        .history = history_create(shape->keys, THREADS),
                        .writes = PTHREAD_MUTEX_INITIALIZER,
                        .writers = WRITERS};
  struct worker workers[THREADS] = {0};
  struct wodan_error error;
  char why[600];
  snprintf(replay, sizeof replay, "replay: WODAN_HISTORY_SEED=%llu CMOCKA_TEST_FILTER='*%s' test_history",
           (unsigned long long)seed, shape->name);
  open_world(&world);
  for (uint32_t t = 0; t < THREADS; t++)
    workers[t] = (struct worker){
        .world = &world, .log = &world.history->logs[t], .seed = seed * THREADS + t, .version = t + 1, .durable = 1};
  run_threads(workers);
  struct wodan_stats stats = rig_stats(world.db);
  uint64_t reads = 0, refused = 0;
  for (int t = 0; t < THREADS; t++) refused += workers[t].refused;
  for (int t = WRITERS; t < THREADS; t++) reads += workers[t].done;
  print_message("%s, seed %llu: %u batches, %llu reads, %llu crashes, %llu refused, %llu checkpoints, %llu levels\n",
                shape->name, (unsigned long long)seed, WRITERS * shape->batches, (unsigned long long)reads,
                (unsigned long long)workers[THREADS - 1].done, (unsigned long long)refused,
                (unsigned long long)stats.checkpoints, (unsigned long long)stats.levels);
  if (!history_judge(world.history, why, sizeof why)) fail_msg("%s\n%s", why, replay);
  assert_int_equal(stats.pinned_views, 0);
  assert_true(reads > 100 && stats.checkpoints >= shape->checkpoints_least);
  assert_int_equal(wodan_close(world.db, &error), 0);
  history_free(world.history);
  kept_free(world.kept);
}

static void run(const struct shape *shape) {
  const char *seed_text = getenv("WODAN_HISTORY_SEED"), *seconds_text = getenv("WODAN_HISTORY_SECONDS");
  uint64_t seed = seed_text ? strtoull(seed_text, NULL, 0) : 1;
  time_t until = time(NULL) + (seconds_text ? (time_t)strtoull(seconds_text, NULL, 0) : 0);
  do run_once(shape, seed++);
  while (time(NULL) < until);
}

static const struct wodan_format_options TINY = {.block_size = 512,
                                                 .page_size = 512,
                                                 .memtable_size = 2048,
                                                 .leaf_size = 2048,
                                                 .node_leaves = 4,
                                                 .node_children = 4};

static void test_history__tiny(void **state) {
  (void)state;
  run(&(struct shape){.name = "tiny",
                      .size = 256 << 10,
                      .format = TINY,
                      .keys = 211,
                      .batch_most = 6,
                      .value_most = 100,
                      .batches = 1600 / SLOWER,
                      .budget = 1,
                      .checkpoints_least = 20});
}

static void test_history__deep(void **state) {
  (void)state;
  run(&(struct shape){.name = "deep",
                      .size = 1 << 20,
                      .format = TINY,
                      .keys = 1009,
                      .batch_most = 8,
                      .value_most = 60,
                      .batches = 1000 / SLOWER,
                      .budget = 2,
                      .checkpoints_least = 10});
}

static void test_history__default(void **state) {
  (void)state;
  run(&(struct shape){.name = "default",
                      .size = 8 << 20,
                      .keys = 211,
                      .batch_most = 16,
                      .value_most = VALUE_MOST,
                      .batches = 600 / SLOWER,
                      .checkpoints_least = 5});
}

#ifndef HISTORY_RACES_WATCHED
static void *commit_when_asked(void *context) {
  struct worker *worker = context;
  struct wodan_batch *batch;
  CHECK(wodan_batch_create(worker->world->db, &batch) == 0, "no batch");
  while (writers_left(worker->world)) {
    pause_for(50);
    if (!atomic_load(&asked)) continue;
    for (int n = 0; n < 16; n++) write_batch(worker, batch);
    atomic_store(&asked, false);
  }
  wodan_batch_free(batch);
  return NULL;
}

static void checkpoint_disturbed(struct worker *worker) {
  struct wodan_batch *batch;
  assert_int_equal(wodan_batch_create(worker->world->db, &batch), 0);
  for (uint64_t n = random_below(&worker->seed, 40); n > 0; n--) write_batch(worker, batch);
  wodan_batch_free(batch);
  unlocks_left = 1 + random_below(&worker->seed, 4);
  int status = wodan_checkpoint(worker->world->db, NULL);
  if (status != 0 && status != WODAN_ENOSPC) fail_msg("checkpoint answered %d", status);
  unlocks_left = 0;
  while (atomic_load(&asked)) pause_for(50);
  read_by_cursor(worker);
}

/* Story: a checkpoint drained the frozen memtable, none there; a writer froze the active one; the checkpoint took that for
 * the drained one and, because the ring was short, put it aside. Its records were gone. So here somebody commits more than a
 * memtable holds behind each unlock of a checkpoint, with rings of all lengths. */
static void test_history__commits_in_the_midst_of_a_checkpoint(void **state) {
  (void)state;
  struct shape shape = {.name = "checkpoint",
                        .size = 1 << 20,
                        .format = TINY,
                        .keys = 211,
                        .batch_most = 8,
                        .value_most = 100,
                        .budget = 2};
  struct world world = {.shape = &shape,
                        .kept = kept_create(shape.size),
                        .history = history_create(shape.keys, 2),
                        .writes = PTHREAD_MUTEX_INITIALIZER,
                        .writers = 1};
  struct worker workers[2];
  struct wodan_error error;
  char why[600];
  open_world(&world);
  for (uint32_t t = 0; t < 2; t++)
    workers[t] = (struct worker){
        .world = &world, .log = &world.history->logs[t], .seed = t, .version = t + 1, .durable = t ? 0 : 10};
  assert_int_equal(pthread_create(&workers[1].thread, NULL, commit_when_asked, &workers[1]), 0);
  for (int round = 0; round < 120; round++) checkpoint_disturbed(&workers[0]);
  let_all_go(&workers[0]);
  atomic_store(&world.writers, 0);
  pthread_join(workers[1].thread, NULL);
  if (!history_judge(world.history, why, sizeof why)) fail_msg("%s", why);
  assert_int_equal(wodan_close(world.db, &error), 0);
  history_free(world.history);
  kept_free(world.kept);
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
#ifndef HISTORY_RACES_WATCHED
      cmocka_unit_test(test_history__commits_in_the_midst_of_a_checkpoint),
#endif
      cmocka_unit_test(test_history__tiny),
      cmocka_unit_test(test_history__deep),
      cmocka_unit_test(test_history__default),
  };
  const char *filter = getenv("CMOCKA_TEST_FILTER");
  if (filter) cmocka_set_test_filter(filter);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
