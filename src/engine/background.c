/* Owns: who does the maintenance and when: a background thread, or the writers themselves (WODAN_OPEN_INLINE, builds
 * without threads, and whenever the thread could not go on).
 *
 * Always true: maintenance holds `tree`, never `write`, while it waits for the device; a thread that waits here for progress
 * is woken after every slice, and never waits for a thread that has stopped.
 *
 * Idle: some time after the last commit the thread does what is not urgent yet, so that reads find less in buffers and what is
 * dead takes no room; not all of it, for that would rewrite leaves for a few records each. Then it makes the checkpoints that
 * free what that gave up, and the discards that wait, and rests until something is written.
 *
 * See: DESIGN.md "Pacing", tests/unit/test_maintenance.c. */
#include "engine/engine.h"

enum { SLICE = 64 << 10, IDLE_MICROSECONDS = 1000000, IDLE_EAGER = 4 };

void engine_tree_enter(struct wodan_db *db) {
  lock_acquire(&db->gate);
  lock_acquire(&db->tree);
  lock_leave(&db->gate);
}

void engine_tree_leave(struct wodan_db *db) { lock_leave(&db->tree); }

void engine_ask(struct wodan_db *db) {
  if (!db->background_runs || db->work_asked) return;
  db->work_asked = true;
  condition_wake_all(&db->work);
}

/* One slice, with the tree lock taken for it. */
static int slice(struct wodan_db *db, uint32_t eager, uint64_t budget, bool *idle, struct wodan_error *error) {
  engine_tree_enter(db);
  int status = engine_writable(db, error);
  struct tree_policy policy = engine_policy(db, eager);
  if (status == 0) status = engine_maintain(db, &policy, budget, idle, error);
  if (status == 0 && *idle && eager > 1) status = engine_rest(db, error);
  engine_tree_leave(db);
  engine_discard(db);
  return status;
}

/* What waits for its discard and is due now, as long as nothing else comes. Caller holds write, which is let go of meanwhile. */
static void discard_now(struct wodan_db *db) {
  bool more = space_discard_waits(db->space);
  while (more && !db->stopping && !db->work_asked) {
    lock_leave(&db->write);
    more = engine_discard(db);
    lock_acquire(&db->write);
  }
}

/* What an idle database has done is done until this changes: something is committed, or a compact has worked. */
static uint64_t activity(const struct wodan_db *db) { return atomic_load(&db->sequence) + atomic_load(&db->worked); }

/* Until there is work: false when it is time to stop. *eager: what to do then; with `more` what was done last goes on as long
 * as nothing else comes. Caller holds write. */
static bool wait_for_work(struct wodan_db *db, bool more, uint32_t *eager) {
  if (*eager > 1 && more && db->idle_from == atomic_load(&db->sequence) && !db->work_asked && !db->stopping)
    return true;
  if (*eager > 1 && !more) db->idle_at = activity(db);
  *eager = 1;
  while (!db->stopping && !db->work_asked) {
    uint64_t before = activity(db);
    condition_wait_for(&db->work, &db->write, IDLE_MICROSECONDS);
    discard_now(db);
    bool quiet = !db->work_asked && !db->stopping && before == activity(db);
    if (!quiet || db->background_stuck || db->idle_at == before) continue;
    db->idle_from = atomic_load(&db->sequence);
    *eager = IDLE_EAGER;
    return true;
  }
  return !db->stopping;
}

static void told(struct wodan_db *db, uint64_t worked) {
  db->lag = db->lag > worked ? db->lag - worked : 0;
  if (db->waiting) condition_wake_all(&db->progress);
}

static void *background(void *context) {
  struct wodan_db *db = context;
  uint32_t eager = 1;
  bool more = false;
  lock_acquire(&db->write);
  while (wait_for_work(db, more, &eager)) {
    struct wodan_error error = {.block = WODAN_NO_BLOCK};
    bool idle = false;
    uint64_t before = atomic_load(&db->worked);
    db->work_asked = false;
    lock_leave(&db->write);
    int status = slice(db, eager, SLICE, &idle, &error);
    lock_acquire(&db->write);
    if (status < 0 && !db->background_stuck)
      engine_log(db, WODAN_LOG_WARNING, "maintenance stopped: %s", error.message);
    db->background_stuck = status < 0;
    more = status == 0 && !idle;
    if (more && eager == 1) db->work_asked = true;
    if (idle) db->lag = 0;
    told(db, atomic_load(&db->worked) - before);
  }
  lock_leave(&db->write);
  return NULL;
}

void engine_background_start(struct wodan_db *db) {
  db->background_runs = true;
  if (thread_start(&db->background, background, db) != 0) db->background_runs = false;
}

void engine_background_stop(struct wodan_db *db) {
  if (!db->background_runs) return;
  lock_acquire(&db->write);
  db->stopping = true;
  condition_wake_all(&db->work);
  lock_leave(&db->write);
  thread_join(&db->background);
  db->background_runs = false;
}

/* By this thread. */
static int work_here(struct wodan_db *db, uint64_t budget, struct wodan_error *error) {
  bool idle = false;
  uint64_t before = atomic_load(&db->worked);
  lock_leave(&db->write);
  int status = slice(db, 1, budget, &idle, error);
  lock_acquire(&db->write);
  if (status == 0) db->background_stuck = false;
  if (idle) db->lag = 0;
  told(db, atomic_load(&db->worked) - before);
  return status;
}

bool engine_background_goes_on(const struct wodan_db *db) {
  return db->background_runs && !db->background_stuck && !db->stopping;
}

int engine_await(struct wodan_db *db, uint64_t budget, uint64_t microseconds, uint64_t *worked,
                 struct wodan_error *error) {
  uint64_t before = atomic_load(&db->worked);
  int status = 0;
  if (engine_background_goes_on(db)) {
    engine_ask(db);
    db->waiting++;
    condition_wait_for(&db->progress, &db->write, microseconds);
    db->waiting--;
  } else {
    status = work_here(db, budget, error);
  }
  *worked += atomic_load(&db->worked) - before;
  return status;
}
