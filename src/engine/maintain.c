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
 * See: DESIGN.md "Draining and sweeping", "Admission"; tests/unit/test_engine_kv.c and its siblings. */
#include <assert.h>
#include <string.h>
#include "engine/engine.h"

enum { RUNS_MAX = 16 }; /* buffered runs of a node before it is swept whatever their size; DESIGN.md says why 16 */

static uint64_t block_bytes(const struct wodan_db *db, uint64_t blocks) { return blocks * db->io.bounds.block_size; }

/* Bytes of buffer a node may hold: alpha x leaf bytes, alpha by fullness. */
static uint64_t buffer_limit(struct wodan_db *db) {
  struct space_counts space = space_counts(db->space);
  uint64_t live = space.total - space.free - space.deferred, leaves = db->node->leaf_bytes;
  if (live < space.total / 2) return leaves;          /* 1.0 while less than half full */
  if (live > space.total / 10 * 8) return leaves / 4; /* 0.25 above 80 % */
  return leaves / 2;                                  /* 0.5 */
}

/* Bytes of the next root: that of the last, and what leaves (with the longest pivots) and runs came since, a sweep's step
 * more included. */
static uint64_t next_root_bytes(const struct wodan_db *db) {
  enum { FIRST = 1024, ENTRY = 64, STEP = 8 };
  const struct node *node = db->node;
  uint64_t more = STEP;
  if (node->leaf_count > db->root_leaves) more += node->leaf_count - db->root_leaves;
  if (node->run_count > db->root_runs) more += node->run_count - db->root_runs;
  return (db->root.generation ? db->root.length : FIRST) + more * (ENTRY + db->superblock.page_size / 8);
}

static uint64_t next_root_blocks(const struct wodan_db *db) {
  uint64_t block = db->io.bounds.block_size;
  return (next_root_bytes(db) + block - 1) / block;
}

/* Only checkpoints free what is deferred, so room for one after the other is never given away. Each frees the root before
 * the last, so three roots together are enough for ever; the two on the device are part of that. */
void engine_keep_room(struct wodan_db *db, bool checkpointed) {
  if (checkpointed) {
    db->root_leaves = db->node->leaf_count;
    db->root_runs = db->node->run_count;
  }
  uint64_t next = next_root_blocks(db), last = block_ptr_blocks(&db->root), before = db->previous_root_blocks;
  space_set_reserve(db->space, 3 * next - (last < next ? last : next) - (before < next ? before : next));
}

void engine_publish(struct wodan_db *db, struct node *node) {
  struct node *old = db->node;
  node_mark_dropped(old, node);
  rwlock_write(&db->state);
  db->node = node;
  rwlock_write_leave(&db->state);
  node_unref(old);
  engine_keep_room(db, false);
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

/* Blocks that a few deletes take as a run, a leaf, and a second root. What can wait leaves room for them, so that a full
 * volume can still take deletes and be swept; an open view may hold everything a sweep replaces. */
static uint64_t spare_for_deletes(const struct wodan_db *db) {
  return 1 + run_size_bound(&db->env, 4, 2ull * db->env.page_size, true) / db->io.bounds.block_size;
}

/* The smallest leaf a sweep falls back to when the holes are small, with its share. */
static uint64_t leaf_size_min(const struct wodan_db *db) { return 4ull * db->superblock.page_size; }

static uint64_t small_leaf_blocks(const struct wodan_db *db) {
  return leaf_size_min(db) * 3 / 2 / db->io.bounds.block_size + 1;
}

static uint64_t leaf_blocks(const struct wodan_db *db) {
  return (uint64_t)db->superblock.leaf_size * 3 / 2 / db->io.bounds.block_size + 1;
}

static uint64_t spare_for_writes(const struct wodan_db *db) {
  return spare_for_deletes(db) + leaf_blocks(db) + next_root_blocks(db);
}

static struct sweep sweep_of(struct wodan_db *db, struct memtable *memtable, uint64_t spare) {
  return (struct sweep){.env = &db->env,
                        .generation = &db->generation,
                        .leaf_size = db->superblock.leaf_size,
                        .spare = spare,
                        .memtable = memtable};
}

/* A failed write inside tree work is final for the handle. A failed read, damage, no space or no memory is not. */
static int tree_failure(struct wodan_db *db, int status, const struct wodan_error *error) {
  return atomic_load(&db->device.unsure) ? engine_fail(db, status, error) : status;
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

/* The largest leaf, at most `size`, that the holes of the free space hold: down to four pages, else a volume that is full
 * and fragmented could never be swept, and so never emptied. */
static uint64_t placeable_leaf(struct wodan_db *db, uint64_t size, uint64_t spare) {
  uint64_t block = db->io.bounds.block_size;
  while (size / 2 >= leaf_size_min(db) && !space_reaches(db->space, size * 9 / 8 / block + 1 + spare)) size /= 2;
  return size;
}

/* Sweeps until every leaf has absorbed every run. */
static int sweep_all(struct wodan_db *db, uint64_t spare, struct wodan_error *error) {
  struct sweep sweep = sweep_of(db, NULL, spare);
  uint64_t size = sweep.leaf_size;
  bool reclaimed = false;
  for (;;) {
    struct node *next = NULL;
    db->wrote = true;
    sweep.leaf_size = placeable_leaf(db, size, spare);
    int status = sweep_step(&sweep, db->node, &next, error);
    if (status < 0) status = tree_failure(db, status, error);
    if (status == WODAN_ENOSPC && !reclaimed) {
      status = reclaim_deferred(db, error);
      if (status < 0) return status;
      reclaimed = true;
      continue;
    }
    if (status == WODAN_ENOSPC && sweep.leaf_size / 2 >= leaf_size_min(db)) {
      size = sweep.leaf_size / 2;
      continue;
    }
    count(&db->counters.leaf_bytes, sweep.leaf_bytes_written);
    sweep.leaf_bytes_written = 0;
    if (status < 0) return status;
    if (!next) return 0;
    reclaimed = false;
    size = db->superblock.leaf_size;
    engine_publish(db, next);
    if (much_deferred(db)) status = engine_checkpoint_tree(db, error);
    if (status < 0) return status;
  }
}

/* A young tree: the memtable and all runs straight into leaves. Published whole or not at all. */
static int merge_straight(struct wodan_db *db, struct wodan_error *error) {
  struct sweep sweep = sweep_of(db, db->frozen.table, spare_for_writes(db));
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
  struct run_build_options options = {.size_max =
                                          run_size_bound(&db->env, memtable_count(table), memtable_bytes(table), true),
                                      .kind = SPACE_BUFFER,
                                      .filter = true};
  struct run_builder *builder = NULL;
  struct block_ptr ptr;
  uint64_t records = 0, deletes = 0;
  struct iterator *it = memtable_iterator(table, UINT64_MAX);
  int status = it ? run_builder_create(&db->env, &options, &builder, error) : status_nomem(error);
  if (status == 0) status = iterator_first(it, error);
  while (status == 0 && it->valid) {
    status = run_builder_add(builder, &it->record, error);
    records++;
    deletes += it->record.kind == RECORD_DELETE;
    if (status == 0) status = iterator_next(it, error);
  }
  iterator_close(it);
  if (status < 0)
    run_builder_abort(builder);
  else
    status = run_builder_finish(builder, ++db->generation, &ptr, NULL, error);
  if (status < 0) return tree_failure(db, status, error);
  count(&db->counters.run_bytes, block_bytes(db, block_ptr_blocks(&ptr)));
  struct run *run = run_create(&db->env, &ptr, (struct wodan_slice){0});
  if (run) run_set_counts(run, records, deletes);
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
  if (bytes > buffer_limit(db) && memtable_count(db->active.table) == 0) {
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
  if (!sweep_owed(db) || memtable_count(db->active.table)) return 0; /* its run comes first: that was promised space */
  status = sweep_all(db, spare_for_writes(db), error);
  if (status == 0 || db->failed.code) return status;
  /* The runs simply stay: admission knows when space is short, and damage in one leaf must not stop writes elsewhere. */
  if (status != WODAN_ENOSPC) engine_log(db, WODAN_LOG_WARNING, "a sweep stopped: %s", error->message);
  return 0;
}

/* ---- admission -------------------------------------------------------------------------------------------------- */

/* Bytes kept back so that a full volume can still delete, sweep and checkpoint: three leaves with their share of buffer
 * and the node header on the way. */
static uint64_t reserve_bytes(struct wodan_db *db) {
  return 3 * ((uint64_t)db->superblock.leaf_size * 3 / 2 + next_root_bytes(db) + 2ull * db->io.bounds.block_size);
}

/* Bytes that leaves may grow by in a sweep beyond the records that come: each by a block, where it is split or no longer
 * ends where a block does. */
static uint64_t sweep_growth(const struct wodan_db *db) {
  uint64_t leaves = db->node->leaf_count + 1u, records = memtable_count(db->active.table) + 1;
  if (db->frozen.table && !db->frozen_drained) records += memtable_count(db->frozen.table);
  return block_bytes(db, db->node->run_count || records > leaves ? leaves : records);
}

/* Bytes of records that memtables may hold in all, given what is free or will be after two checkpoints. */
static uint64_t admissible(struct wodan_db *db, bool deletes_only) {
  struct space_counts space = space_counts(db->space);
  uint64_t room = block_bytes(db, space.free + space.deferred), buffered = db->node->run_bytes + sweep_growth(db);
  uint64_t reserve = deletes_only ? reserve_bytes(db) / 3 : reserve_bytes(db);
  if (deletes_only) buffered = 0;
  return room > buffered + reserve ? (room - buffered - reserve) / 2 : 0;
}

static uint64_t held_bytes(const struct wodan_db *db) {
  uint64_t bytes = memtable_bytes(db->active.table);
  return db->frozen.table && !db->frozen_drained ? bytes + memtable_bytes(db->frozen.table) : bytes;
}

/* Whether the memtables, with `bytes` more, fit as runs into what is free now. Deferred blocks do not count: while a
 * memtable holds journaled records the ring may have no room for the checkpoints that would free them. */
static bool drainable(struct wodan_db *db, uint64_t bytes, bool deletes_only) {
  const struct memtable *active = db->active.table, *frozen = db->frozen_drained ? NULL : db->frozen.table;
  uint64_t more = bytes / record_encoded_size(TABLE_ID_SIZE + 1, 0) + 1;
  uint64_t need = run_size_bound(&db->env, memtable_count(active) + more, memtable_bytes(active) + bytes, true);
  if (frozen) need += run_size_bound(&db->env, memtable_count(frozen), memtable_bytes(frozen), true);
  uint64_t blocks = need / db->io.bounds.block_size + 2;
  return space_reaches(db->space, blocks + (deletes_only ? small_leaf_blocks(db) : spare_for_writes(db)));
}

static bool fits(struct wodan_db *db, uint64_t bytes, bool deletes_only) {
  return held_bytes(db) + bytes <= admissible(db, deletes_only) && drainable(db, bytes, deletes_only);
}

static int drain_and_reclaim(struct wodan_db *db, struct wodan_error *error) {
  int status = engine_checkpoint_all(db, error);
  return status == 0 ? reclaim_deferred(db, error) : status;
}

/* A sweep for more space, as far as it comes: no room for a leaf, or one damaged leaf, is no reason to refuse a write.
 * Deletes are what the spare room is for. */
static int sweep_for_space(struct wodan_db *db, bool deletes_only, struct wodan_error *error) {
  int status = db->node->run_count ? sweep_all(db, deletes_only ? 0 : spare_for_deletes(db), error) : 0;
  if (status == 0 || db->failed.code || status == WODAN_ENOMEM) return status;
  if (status != WODAN_ENOSPC) engine_log(db, WODAN_LOG_WARNING, "a sweep stopped: %s", error->message);
  return 0;
}

static int no_space(struct wodan_db *db, uint64_t bytes, struct wodan_error *error) {
  struct space_counts space = space_counts(db->space);
  return status_set(
      error, WODAN_ENOSPC, 0, WODAN_NO_BLOCK,
      "the volume is full: %llu bytes more do not fit (%llu of %llu blocks free%s); delete records or use a "
      "larger volume",
      (unsigned long long)bytes, (unsigned long long)space.free, (unsigned long long)space.total,
      atomic_load(&db->pins) ? "; open views hold some" : "");
}

static int admit(struct wodan_db *db, uint64_t bytes, bool deletes_only, struct wodan_error *error) {
  if (fits(db, bytes, deletes_only)) return 0;
  struct space_counts space = space_counts(db->space);
  if (held_bytes(db) == 0 && db->node->run_count == 0 && space.deferred == 0) return no_space(db, bytes, error);
  if (db->no_auto_checkpoint && held_bytes(db) > 0)
    return status_set(error, WODAN_ENEEDSFLUSH, 0, WODAN_NO_BLOCK,
                      "%llu bytes more need space that a checkpoint frees: call wodan_checkpoint and try again",
                      (unsigned long long)bytes);
  int status = drain_and_reclaim(db, error);
  if (status == 0 && fits(db, bytes, deletes_only)) return 0;
  if (status == 0) status = sweep_for_space(db, deletes_only, error);
  if (status == 0) status = drain_and_reclaim(db, error);
  if (status < 0 && status != WODAN_ENOSPC) return status;
  return status == 0 && fits(db, bytes, deletes_only) ? 0 : no_space(db, bytes, error);
}

static bool memtable_full(const struct wodan_db *db, uint64_t bytes) {
  const struct memtable *active = db->active.table;
  return memtable_count(active) > 0 && memtable_bytes(active) + bytes > db->superblock.memtable_size;
}

int engine_make_room(struct wodan_db *db, uint64_t bytes, bool deletes_only, struct wodan_error *error) {
  int status = 0;
  do { /* again when others came in while this waited for their sync; admission last, for a checkpoint may sweep */
    if (memtable_full(db, bytes)) status = engine_checkpoint_all(db, error);
    if (status == 0) status = admit(db, bytes, deletes_only, error);
  } while (status == 0 && memtable_full(db, bytes));
  return status;
}

int engine_compact(struct wodan_db *db, const struct wodan_slice *lower, const struct wodan_slice *upper,
                   uint64_t budget, bool *more, struct wodan_error *error) {
  (void)lower;
  (void)upper;
  (void)budget;
  lock_acquire(&db->write);
  int status = engine_writable(db, error);
  if (status == 0) status = engine_checkpoint_all(db, error);
  if (status == 0 && db->node->run_count) status = sweep_all(db, spare_for_writes(db), error);
  lock_leave(&db->write);
  *more = false;
  return status;
}
