/* Owns: what writes owe: freezing a full memtable, draining it into the tree, sweeping runs into leaves, checkpoints for
 * space, and the admission of new records.
 *
 * Always true:
 *  - a checkpoint in the middle of a sweep never shows part of a memtable: a memtable that goes straight into leaves is
 *    published only when all of it is there.
 *  - records are admitted only when the tree could take them, its buffered runs and both memtables once more; deletes may use the reserve
 *    as well.
 *
 * Order: freeze -> drain -> (sweep, with checkpoints when much is deferred) -> checkpoint, which releases the memtable.
 *
 * See: DESIGN.md "Draining and sweeping", "Admission"; tests/unit/test_engine.c. */
#include <assert.h>
#include <string.h>
#include "engine/engine.h"

enum { RUNS_MAX = 16 }; /* buffered runs of a node before it is swept whatever their size; DESIGN.md says why 16 */

static uint64_t block_bytes(const struct wodan_db *db, uint64_t blocks) { return blocks * db->io.bounds.block_size; }

/* Bytes of buffer a node may hold: alpha x leaf bytes, alpha by fullness. */
static uint64_t buffer_limit(struct wodan_db *db) {
  struct space_counts space = space_counts(db->space);
  uint64_t live = space.total - space.free - space.deferred, leaves = db->node->leaf_bytes;
  if (live < space.total / 2) return leaves;           /* 1.0 while less than half full */
  if (live > space.total / 10 * 8) return leaves / 4;  /* 0.25 above 80 % */
  return leaves / 2;                                   /* 0.5 */
}

void engine_publish(struct wodan_db *db, struct node *node) {
  struct node *old = db->node;
  node_mark_dropped(old, node);
  rwlock_write(&db->state);
  db->node = node;
  rwlock_write_leave(&db->state);
  node_unref(old);
  db->tree_changed = true;
}

int engine_freeze(struct wodan_db *db, struct wodan_error *error) {
  assert(!db->frozen.table);
  struct memtable *fresh = memtable_create(&db->mem);
  if (!fresh) return status_nomem(error);
  rwlock_write(&db->state);
  db->frozen = db->active;
  memset(&db->active, 0, sizeof db->active);
  db->active.table = fresh;
  rwlock_write_leave(&db->state);
  db->frozen_drained = false;
  return 0;
}

static struct sweep sweep_of(struct wodan_db *db, struct memtable *memtable) {
  return (struct sweep){.env = &db->env,
                        .generation = &db->generation,
                        .leaf_size = db->superblock.leaf_size,
                        .memtable = memtable};
}

/* A failed write inside tree work is final for the handle (also when the host is out of space: then the code changes, so
 * that nobody takes it for a full volume). A failed read, damage, no space or no memory is not. */
static int tree_failure(struct wodan_db *db, int status, const struct wodan_error *error) {
  if (!atomic_load(&db->device.unsure)) return status;
  engine_fail(db, status, error);
  return status == WODAN_ENOSPC ? WODAN_EFAILED : status;
}

static bool much_deferred(struct wodan_db *db) {
  struct space_counts space = space_counts(db->space);
  uint64_t limit = space.total / 20 < space.free / 2 ? space.total / 20 : space.free / 2;
  return space.deferred > limit;
}

/* Two checkpoints free everything deferred that no view holds. */
static int reclaim_deferred(struct wodan_db *db, struct wodan_error *error) {
  int status = 0;
  for (int i = 0; i < 2 && status == 0 && space_counts(db->space).deferred > 0; i++)
    status = engine_checkpoint_tree(db, error);
  return status;
}

/* Sweeps until every leaf has absorbed every run. */
static int sweep_all(struct wodan_db *db, struct wodan_error *error) {
  struct sweep sweep = sweep_of(db, NULL);
  bool reclaimed = false;
  for (;;) {
    struct node *next = NULL;
    db->wrote = true;
    int status = sweep_step(&sweep, db->node, &next, error);
    if (status < 0) status = tree_failure(db, status, error);
    if (status == WODAN_ENOSPC && !reclaimed) {
      status = reclaim_deferred(db, error);
      if (status < 0) return status;
      reclaimed = true;
      continue;
    }
    count(&db->counters.leaf_bytes, sweep.leaf_bytes_written);
    sweep.leaf_bytes_written = 0;
    if (status < 0) return status;
    if (!next) return 0;
    reclaimed = false;
    engine_publish(db, next);
    if (much_deferred(db)) status = engine_checkpoint_tree(db, error);
    if (status < 0) return status;
  }
}

/* A young tree: the memtable and all runs straight into leaves. Published whole or not at all. */
static int merge_straight(struct wodan_db *db, struct wodan_error *error) {
  struct sweep sweep = sweep_of(db, db->frozen.table);
  struct node *current = db->node;
  int status = 0;
  node_ref(current);
  for (;;) {
    struct node *next = NULL;
    status = sweep_step(&sweep, current, &next, error);
    if (status < 0 || !next) break;
    node_unref(current); /* a later step never replaces a leaf that an earlier one wrote */
    current = next;
  }
  count(&db->counters.leaf_bytes, sweep.leaf_bytes_written);
  if (status < 0) {
    node_mark_dropped(current, db->node); /* what only the abandoned version has */
    node_unref(current);
    return tree_failure(db, status, error);
  }
  engine_publish(db, current);
  return 0;
}

/* The frozen memtable as the newest run of the root. */
static int drain_to_run(struct wodan_db *db, struct wodan_error *error) {
  struct memtable *table = db->frozen.table;
  struct run_build_options options = {
      .size_max = run_size_bound(&db->env, memtable_count(table), memtable_bytes(table), true),
      .generation = ++db->generation,
      .filter = true};
  struct run_builder *builder = NULL;
  struct block_ptr ptr;
  struct iterator *it = memtable_iterator(table, UINT64_MAX);
  int status = it ? run_builder_create(&db->env, &options, &builder, error) : status_nomem(error);
  if (status == 0) status = iterator_first(it, error);
  while (status == 0 && it->valid) {
    status = run_builder_add(builder, &it->record, error);
    if (status == 0) status = iterator_next(it, error);
  }
  iterator_close(it);
  if (status < 0)
    run_builder_abort(builder);
  else
    status = run_builder_finish(builder, &ptr, error);
  if (status < 0) return tree_failure(db, status, error);
  count(&db->counters.run_bytes, block_bytes(db, block_ptr_blocks(&ptr)));
  struct run *run = run_create(&db->env, &ptr);
  struct node *next = run ? node_with_run(db->node, run) : NULL;
  if (next) {
    engine_publish(db, next);
  } else if (run) {
    run_mark_dead(run);
  } else {
    space_release(db->space, ptr.extents, ptr.extent_count);
  }
  run_unref(run);
  return next ? 0 : status_nomem(error);
}

/* What a sweep is owed for: too many runs, or more buffer than alpha allows. */
static bool sweep_owed(struct wodan_db *db) {
  return db->node->run_count >= RUNS_MAX || db->node->run_bytes > buffer_limit(db);
}

static int drain_table(struct wodan_db *db, struct wodan_error *error) {
  uint64_t bytes = memtable_bytes(db->frozen.table);
  db->wrote = true;
  if (bytes > buffer_limit(db)) {
    int status = merge_straight(db, error);
    if (status == 0 || db->failed.code) return status;
  }
  int status = drain_to_run(db, error);
  if (status != WODAN_ENOSPC) return status;
  status = reclaim_deferred(db, error);
  return status == 0 ? drain_to_run(db, error) : status;
}

int engine_drain(struct wodan_db *db, struct wodan_error *error) {
  assert(db->frozen.table && !db->frozen_drained);
  engine_wait_sync(db);
  int status = drain_table(db, error);
  if (status < 0) return status;
  db->frozen_drained = true;
  db->drained = memtable_last_sequence(db->frozen.table);
  /* These records need no journal any more once the checkpoint is durable; pending counts them until then. */
  if (!sweep_owed(db)) return 0;
  status = sweep_all(db, error);
  if (status == 0 || db->failed.code) return status;
  /* The runs simply stay: admission knows when space is short, and damage in one leaf must not stop writes elsewhere. */
  if (status != WODAN_ENOSPC) engine_log(db, WODAN_LOG_WARNING, "a sweep stopped: %s", error->message);
  return 0;
}

/* ---- admission -------------------------------------------------------------------------------------------------- */

/* Bytes kept back so that a full volume can still delete, sweep and checkpoint: three leaves with their share of buffer
 * and the node header on the way. */
static uint64_t reserve_bytes(struct wodan_db *db) {
  uint64_t header = 512 + (uint64_t)(db->node->leaf_count + 4) * 96 + (uint64_t)db->node->run_count * 64;
  return 3 * ((uint64_t)db->superblock.leaf_size * 3 / 2 + header + 2ull * db->io.bounds.block_size);
}

/* Bytes of records that memtables may hold in all, given what is free or will be after two checkpoints. */
static uint64_t admissible(struct wodan_db *db, bool deletes_only) {
  struct space_counts space = space_counts(db->space);
  uint64_t room = block_bytes(db, space.free + space.deferred), buffered = db->node->run_bytes;
  uint64_t reserve = deletes_only ? reserve_bytes(db) / 3 : reserve_bytes(db);
  if (deletes_only) buffered = 0;
  return room > buffered + reserve ? (room - buffered - reserve) / 2 : 0;
}

static uint64_t held_bytes(const struct wodan_db *db) {
  uint64_t bytes = memtable_bytes(db->active.table);
  return db->frozen.table && !db->frozen_drained ? bytes + memtable_bytes(db->frozen.table) : bytes;
}

/* Everything that can give space back now: drain, sweep, two checkpoints. */
static int reclaim(struct wodan_db *db, struct wodan_error *error) {
  int status = engine_checkpoint_all(db, error);
  if (status == 0 && db->node->run_count) status = sweep_all(db, error);
  if (status == 0 && db->tree_changed) status = engine_checkpoint_tree(db, error);
  return status == 0 ? reclaim_deferred(db, error) : status;
}

static int no_space(struct wodan_db *db, uint64_t bytes, struct wodan_error *error) {
  struct space_counts space = space_counts(db->space);
  return status_set(error, WODAN_ENOSPC, 0, WODAN_NO_BLOCK,
                    "the volume is full: %llu bytes more do not fit (%llu of %llu blocks free%s); delete records or use a "
                    "larger volume",
                    (unsigned long long)bytes, (unsigned long long)space.free, (unsigned long long)space.total,
                    atomic_load(&db->pins) ? "; open views hold some" : "");
}

static int admit(struct wodan_db *db, uint64_t bytes, bool deletes_only, struct wodan_error *error) {
  if (held_bytes(db) + bytes <= admissible(db, deletes_only)) return 0;
  struct space_counts space = space_counts(db->space);
  if (held_bytes(db) == 0 && db->node->run_count == 0 && space.deferred == 0) return no_space(db, bytes, error);
  int status = reclaim(db, error);
  if (status == WODAN_ENOSPC) return no_space(db, bytes, error);
  if (status < 0) return status;
  return held_bytes(db) + bytes <= admissible(db, deletes_only) ? 0 : no_space(db, bytes, error);
}

int engine_make_room(struct wodan_db *db, uint64_t bytes, bool deletes_only, struct wodan_error *error) {
  int status = admit(db, bytes, deletes_only, error);
  if (status < 0) return status;
  if (memtable_count(db->active.table) == 0 || memtable_bytes(db->active.table) + bytes <= db->superblock.memtable_size)
    return 0;
  return engine_checkpoint_all(db, error);
}
