/* Owns: the work on the tree, slice by slice: draining the frozen memtable into a run of the root, sweeping, the tree's
 * structure, and the checkpoints that free space.
 *
 * Always true:
 *  - a published root holds whole memtables only, so a checkpoint at any time holds a prefix of the commits;
 *  - one drain and one sweep are under way at most; while both are, the drain goes on first, and it changes only the root's
 *    runs, which a sweep that began before does not touch. A drain straight into leaves is under way alone;
 *  - a slice that fails has given back what it took.
 *
 * Order: drain -> checkpoint, which releases the memtable -> structure -> sweeps, with checkpoints when much is deferred.
 *
 * See: DESIGN.md "Maintenance"; tests/unit/test_maintenance.c, test_bounds.c. */
#include <assert.h>
#include <string.h>
#include "engine/engine.h"

static void worked(struct wodan_db *db, uint64_t bytes) { count(&db->worked, bytes); }

/* A failed write inside tree work is final for the handle. A failed read, damage, no space or no memory is not. */
static int tree_failure(struct wodan_db *db, int status, const struct wodan_error *error) {
  return atomic_load(&db->device.unsure) ? engine_fail(db, status, error) : status;
}

/* Only checkpoints free what is deferred, so room for one after the other is never given away. Each frees the headers that
 * the one before replaced, so three times all headers are enough for ever; those on the device are part of that. */
void engine_keep_room(struct wodan_db *db) {
  enum { GROWTH = 8 }; /* entries more, with the longest pivots, that a step may bring */
  uint64_t block = db->io.bounds.block_size, growth = GROWTH * (64 + db->superblock.page_size / 8);
  uint64_t next = db->node->sums.header_blocks + growth / block + 1;
  uint64_t gone = db->nodes_now + db->nodes_old;
  space_set_reserve(db->space, 2 * next - (gone < next ? gone : next), db->node->sums.header_most + growth / block + 1);
}

void engine_publish(struct wodan_db *db, struct node *root, struct tree_edit *edit, uint64_t drained) {
  struct node *old = db->node;
  for (size_t i = 0; i < edit->run_count; i++) run_mark_dead(edit->runs[i]);
  for (size_t i = 0; i < edit->node_count; i++) {
    const struct block_ptr *ptr = &edit->nodes[i];
    if (ptr->generation <= db->checkpoint_generation) db->nodes_now += block_ptr_blocks(ptr);
    space_defer(db->space, ptr->extents, ptr->extent_count, ptr->generation);
  }
  lock_acquire(&db->write);
  striped_write(&db->state);
  db->node = root;
  if (drained) {
    db->drained = drained;
    engine_locate_anew(db);
  }
  striped_write_leave(&db->state);
  if (drained) {
    db->frozen_drained = true;
    engine_promise(db);
  }
  lock_leave(&db->write);
  node_unref(old);
  engine_keep_room(db);
  db->tree_changed = true;
}

/* Publishes what an edit made, or tells that there was no memory. */
static int publish_edit(struct wodan_db *db, struct node *root, struct tree_edit *edit, uint64_t drained,
                        struct wodan_error *error) {
  if (root) engine_publish(db, root, edit, drained);
  tree_edit_release(edit);
  return root ? 0 : status_nomem(error);
}

/* ---- drain ------------------------------------------------------------------------------------------------------ */

static struct memtable *undrained(struct wodan_db *db) {
  lock_acquire(&db->write);
  struct memtable *table = db->frozen.table && !db->frozen_drained ? db->frozen.table : NULL;
  lock_leave(&db->write);
  return table;
}

static bool drain_under_way(const struct wodan_db *db) { return db->drain.it || db->drain.straight; }

static void sweep_end(struct wodan_db *db, struct sweep **sweep, bool published) {
  count(&db->counters.leaf_bytes, sweep_leaf_bytes(*sweep));
  count(&db->counters.run_bytes, sweep_run_bytes(*sweep));
  sweep_close(*sweep, published);
  *sweep = NULL;
}

static void drain_abandon(struct wodan_db *db) {
  if (db->drain.straight) sweep_end(db, &db->drain.straight, false);
  count(&db->counters.run_bytes, db->drain.pieces.bytes);
  run_pieces_release(&db->drain.pieces, false);
  tally_release(&db->drain.tally);
  iterator_close(db->drain.it);
  range_buffer_release(&db->mem, &db->drain.ranges);
  db->drain = (struct drain){0};
}

/* All its range deletes at once: they stand in the skeleton afterwards, which is planned for. */
static int drain_ranges(struct wodan_db *db, const struct memtable *table, struct wodan_error *error) {
  struct key_span all = {{NULL, 0}, {NULL, 0}};
  if (!memtable_ranges(table, &db->mem, &db->drain.ranges)) return status_nomem(error);
  struct ranges ranges = range_buffer_all(&db->drain.ranges);
  run_pieces_delete(&db->drain.pieces, ranges);
  tally_delete(&db->drain.tally, &all, ranges);
  return 0;
}

/* Straight into leaves where that costs less: nothing is buffered where its records lie, and the leaves there are small beside
 * it. Not while a sweep is under way, which knows the entries as they were, nor where room is short. */
static bool straight_way(struct wodan_db *db, struct memtable *table, struct straight *way) {
  uint64_t bytes = memtable_bytes(table);
  if (db->sweep || memtable_has_ranges(table) || bytes < db->superblock.leaf_size) return false;
  if (db->roundabout == memtable_last_sequence(table) || engine_room_is_short(db)) return false;
  struct iterator *it = memtable_iterator(table, UINT64_MAX);
  if (!it) return false;
  iterator_first(it, NULL);
  struct wodan_slice low = it->record.key;
  iterator_last(it, NULL);
  struct wodan_slice high = it->record.key;
  bool may = it->valid && tree_goes_straight(db->node, low, high, bytes / 2, way);
  iterator_close(it);
  return may;
}

static int straight_start(struct wodan_db *db, struct memtable *table, const struct straight *way,
                          struct wodan_error *error) {
  struct sweep_setup setup = {.env = &db->env,
                              .generation = &db->generation,
                              .leaf_size = db->superblock.leaf_size,
                              .compression = db->compression,
                              .spare = engine_spare_blocks(db),
                              .enough = UINT64_MAX,
                              .entries_max = way->entries,
                              .table = table};
  return sweep_open(&setup, db->node, &way->path, way->at, &db->drain.straight, error);
}

static int straight_some(struct wodan_db *db, struct memtable *table, uint64_t budget, struct wodan_error *error) {
  uint64_t moved = 0;
  bool done = false;
  int status = sweep_step(db->drain.straight, budget, &moved, &done, error);
  db->drain.left -= moved < db->drain.left ? moved : db->drain.left;
  worked(db, moved);
  if (status < 0 && atomic_load(&db->device.unsure)) return status;
  if (status < 0) { /* then as a run */
    db->roundabout = memtable_last_sequence(table);
    drain_abandon(db);
    return 0;
  }
  if (!done) return 0;
  struct tree_edit edit;
  tree_edit_init(&edit, &db->mem);
  struct node *root = sweep_result(db->drain.straight, db->node, &edit);
  bool made = root != NULL;
  status = publish_edit(db, root, &edit, memtable_last_sequence(table), error);
  sweep_end(db, &db->drain.straight, made);
  drain_abandon(db);
  return status;
}

static int drain_start(struct wodan_db *db, struct memtable *table, struct wodan_error *error) {
  struct straight way;
  int status = memtable_prove_all(table, error);
  if (status < 0) return status;
  db->drain.left = memtable_bytes(table);
  if (straight_way(db, table, &way)) return straight_start(db, table, &way, error);
  db->drain.it = memtable_iterator(table, UINT64_MAX);
  if (!db->drain.it) return status_nomem(error);
  run_pieces_begin(&db->drain.pieces, &db->env, &db->generation, memtable_bytes(table), 0);
  tally_begin(&db->drain.tally, db->node);
  if (memtable_has_ranges(table)) status = drain_ranges(db, table, error);
  return status == 0 ? iterator_first(db->drain.it, error) : status;
}

/* All of it is written: the root's newest run. */
static int drain_finish(struct wodan_db *db, struct memtable *table, struct wodan_error *error) {
  struct run_pieces *pieces = &db->drain.pieces;
  int status = run_pieces_finish(pieces, error);
  if (status < 0) return status;
  run_pieces_reverse(pieces);
  count(&db->counters.run_bytes, pieces->bytes);
  struct tally *tally = &db->drain.tally;
  tally_finish(tally);
  struct tree_edit edit;
  tree_edit_init(&edit, &db->mem);
  struct node_change change = {.arrived = pieces->runs,
                               .arrived_count = (uint32_t)pieces->count,
                               .frees = tally->node == db->node ? tally->frees : NULL};
  struct node *root = node_changed(db->node, &change, &edit);
  bool made = root != NULL;
  status = publish_edit(db, root, &edit, memtable_last_sequence(table), error);
  run_pieces_release(pieces, made);
  drain_abandon(db);
  return status;
}

static int drain_some(struct wodan_db *db, struct memtable *table, uint64_t budget, struct wodan_error *error) {
  struct iterator *it = db->drain.it;
  uint64_t moved = 0;
  int status = 0;
  while (status == 0 && it->valid && moved < budget) {
    status = memtable_prove(&it->record, error);
    if (status < 0) break;
    tally_add(&db->drain.tally, &it->record);
    status = run_pieces_add(&db->drain.pieces, &it->record, error);
    moved += record_weight(&it->record);
    if (status == 0) status = iterator_next(it, error);
  }
  db->drain.left -= moved < db->drain.left ? moved : db->drain.left;
  worked(db, moved);
  return status == 0 && !it->valid ? drain_finish(db, table, error) : status;
}

static int drain_step(struct wodan_db *db, struct memtable *table, uint64_t budget, struct wodan_error *error) {
  atomic_store(&db->wrote, true);
  int status = drain_under_way(db) ? 0 : drain_start(db, table, error);
  if (status == 0)
    status = db->drain.straight ? straight_some(db, table, budget, error) : drain_some(db, table, budget, error);
  if (status == 0) return 0;
  drain_abandon(db);
  return tree_failure(db, status, error);
}

int engine_drain(struct wodan_db *db, struct wodan_error *error) {
  bool reclaimed = false;
  struct memtable *table;
  while ((table = undrained(db))) {
    int status = drain_step(db, table, UINT64_MAX, error);
    if (status == WODAN_ENOSPC && !reclaimed) {
      reclaimed = true;
      status = engine_reclaim(db, error);
    }
    if (status < 0) return status;
  }
  return 0;
}

/* ---- space ------------------------------------------------------------------------------------------------------ */

static bool much_deferred(struct wodan_db *db) {
  struct space_counts space = space_counts(db->space);
  uint64_t limit = space.total / 20 < space.free / 2 ? space.total / 20 : space.free / 2;
  return space.deferred > limit;
}

int engine_reclaim(struct wodan_db *db, struct wodan_error *error) {
  int status = 0;
  for (int i = 0; i < 2 && status == 0 && space_counts(db->space).deferred > 0; i++)
    status = engine_checkpoint_tree(db, error);
  return status;
}

/* What an idle database ends with: checkpoints as long as they free more than they write, two at most, so that nothing but the two
 * newest roots has a place. That the ring has no room for one is no failure. */
int engine_rest(struct wodan_db *db, struct wodan_error *error) {
  int status = 0;
  for (int i = 0; i < 2 && status == 0 && space_counts(db->space).deferred > db->node->sums.header_blocks; i++)
    status = engine_checkpoint_tree(db, error);
  space_discard_rest(db->space);
  return status == WODAN_ENOSPC && !engine_failed(db) ? 0 : status;
}

/* The smallest leaf a sweep falls back to when the holes are small. */
static uint64_t leaf_size_min(const struct wodan_db *db) { return 4ull * db->superblock.page_size; }

/* The largest leaf, at most `size`, that the holes of the free space hold: down to four pages, else a volume that is full
 * and fragmented could never be swept, and so never emptied. */
static uint64_t placeable_leaf(struct wodan_db *db, uint64_t size, uint64_t spare) {
  uint64_t block = db->io.bounds.block_size;
  while (size / 2 >= leaf_size_min(db) && !space_reaches(db->space, size * 9 / 8 / block + 1 + spare)) size /= 2;
  return size;
}

/* ---- sweep ------------------------------------------------------------------------------------------------------ */

/* A handle may compress less than was chosen at format, and what it rewrites grows by that. So where room is short it does as
 * it was chosen: else a full volume could not even take deletes. */
static enum compression compression_now(struct wodan_db *db) {
  return engine_room_is_short(db) ? db->superblock.compression : db->compression;
}

static int sweep_start(struct wodan_db *db, const struct tree_work *work, uint64_t spare, struct wodan_error *error) {
  enum { ENOUGH_LEAVES = 4 };
  if (db->sweep_leaf == 0) db->sweep_leaf = db->superblock.leaf_size;
  uint64_t leaf = placeable_leaf(db, db->sweep_leaf, spare);
  struct sweep_setup setup = {.env = &db->env,
                              .generation = &db->generation,
                              .leaf_size = leaf,
                              .compression = compression_now(db),
                              .spare = spare,
                              .enough = much_deferred(db) ? 1 : ENOUGH_LEAVES * (uint64_t)db->superblock.leaf_size,
                              .runs_max = RUNS_BOTTOM,
                              .entries_max = work->entries};
  db->sweep_leaf = leaf;
  return sweep_open(&setup, db->node, &work->path, work->at, &db->sweep, error);
}

static int sweep_publish(struct wodan_db *db, struct wodan_error *error) {
  struct tree_edit edit;
  tree_edit_init(&edit, &db->mem);
  struct node *root = sweep_result(db->sweep, db->node, &edit);
  bool made = root != NULL;
  int status = publish_edit(db, root, &edit, 0, error);
  sweep_end(db, &db->sweep, made);
  if (made) {
    db->sweep_leaf = db->superblock.leaf_size;
    db->sweep_reclaimed = db->short_of_space = false;
  }
  return status;
}

/* A sweep that found no room: first two checkpoints, then smaller leaves, then it is left until there is more. */
static int sweep_no_room(struct wodan_db *db, struct wodan_error *error) {
  if (!db->sweep_reclaimed) {
    db->sweep_reclaimed = true;
    return engine_reclaim(db, error);
  }
  if (db->sweep_leaf / 2 >= leaf_size_min(db)) {
    db->sweep_leaf /= 2;
    return 0;
  }
  db->short_of_space = true;
  return WODAN_ENOSPC;
}

/* A leaf that cannot be read is left out from now on: damage there must not stop the rest. */
static int sweep_damaged(struct wodan_db *db, uint64_t leaf, int status, const struct wodan_error *error) {
  uint32_t count = atomic_load(&db->damaged_count);
  if (leaf == 0 || count == DAMAGED_MAX) return status;
  engine_log(db, WODAN_LOG_WARNING, "a leaf cannot be swept: %s", error->message);
  db->damaged[count] = leaf;
  atomic_store(&db->damaged_count, count + 1);
  return 0;
}

static int sweep_failed(struct wodan_db *db, int status, struct wodan_error *error) {
  uint64_t leaf = sweep_damaged_leaf(db->sweep);
  sweep_end(db, &db->sweep, false);
  status = tree_failure(db, status, error);
  if (engine_failed(db)) return status;
  if (status == WODAN_ENOSPC) return sweep_no_room(db, error);
  return status == WODAN_ECORRUPT || status == WODAN_EIO ? sweep_damaged(db, leaf, status, error) : status;
}

static int sweep_some(struct wodan_db *db, uint64_t budget, struct wodan_error *error) {
  uint64_t moved = 0;
  bool done = false;
  atomic_store(&db->wrote, true);
  int status = sweep_step(db->sweep, budget, &moved, &done, error);
  worked(db, moved);
  if (status < 0) return sweep_failed(db, status, error);
  return done ? sweep_publish(db, error) : 0;
}

/* ---- one slice -------------------------------------------------------------------------------------------------- */

static int restructure(struct wodan_db *db, const struct tree_work *work, struct wodan_error *error) {
  struct tree_edit edit;
  struct node *root = NULL;
  tree_edit_init(&edit, &db->mem);
  if (work->kind == WORK_GROW) root = tree_grow(db->node);
  if (work->kind == WORK_SHRINK) root = tree_shrink(db->node, &edit);
  if (work->kind == WORK_SPLIT) root = tree_split(db->node, &work->path, work->pieces, &edit);
  if (work->kind == WORK_JOIN) root = tree_join(db->node, &work->path, work->at, &edit);
  return publish_edit(db, root, &edit, 0, error);
}

/* Structure costs no bytes, yet sweeps may wait for it: then a memtable's worth is owed, or nobody would come to do it. */
static void estimate(struct wodan_db *db, const struct tree_policy *policy) {
  uint64_t owed = tree_owed(db->node, policy);
  if (owed == 0 && tree_next_work(db->node, policy).kind != WORK_NONE) owed = db->superblock.memtable_size;
  lock_acquire(&db->write); /* a memtable that is frozen meanwhile is added */
  if (db->frozen.table && db->frozen_drained)
    owed += db->node->sums.header_blocks * db->io.bounds.block_size;
  else if (db->frozen.table)
    owed += drain_under_way(db) ? db->drain.left : memtable_bytes(db->frozen.table);
  atomic_store_explicit(&db->owed, owed, memory_order_relaxed);
  lock_leave(&db->write);
}

/* Structure and sweeps. */
static int tend(struct wodan_db *db, const struct tree_policy *policy, uint64_t spare, uint64_t budget, bool *idle,
                struct wodan_error *error) {
  if (db->drain.straight) drain_abandon(db); /* it knows the tree as it is */
  if (!db->sweep) {
    struct tree_work work = tree_next_work(db->node, policy);
    if (work.kind == WORK_NONE) {
      *idle = true;
      return 0;
    }
    if (work.kind != WORK_SWEEP) return restructure(db, &work, error);
    int status = sweep_start(db, &work, spare, error);
    if (status < 0) return status;
  }
  return sweep_some(db, budget, error);
}

/* A checkpoint is due: it releases the drained memtable, or frees much space. */
static bool checkpoint_due(struct wodan_db *db) {
  lock_acquire(&db->write);
  bool due = db->frozen.table && db->frozen_drained;
  lock_leave(&db->write);
  return due || (db->tree_changed && much_deferred(db));
}

int engine_maintain(struct wodan_db *db, const struct tree_policy *policy, uint64_t budget, bool *idle,
                    struct wodan_error *error) {
  struct memtable *table = undrained(db);
  int status;
  *idle = false;
  if (table)
    status = drain_step(db, table, budget, error);
  else if (checkpoint_due(db))
    status = engine_checkpoint_tree(db, error);
  else
    status = tend(db, policy, engine_spare_blocks(db), budget, idle, error);
  estimate(db, policy);
  return status;
}

void engine_abandon_jobs(struct wodan_db *db) {
  drain_abandon(db);
  if (db->sweep) sweep_end(db, &db->sweep, false);
}

/* ---- all of it -------------------------------------------------------------------------------------------------- */

/* Structure and sweeps by this policy until nothing is left or `budget` is spent. */
static int tend_all(struct wodan_db *db, const struct tree_policy *policy, uint64_t spare, uint64_t budget, bool *idle,
                    struct wodan_error *error) {
  uint64_t until = atomic_load(&db->worked) + budget;
  int status = 0;
  *idle = false;
  if (until < budget) until = UINT64_MAX;
  while (status == 0 && !*idle && atomic_load(&db->worked) < until) {
    status = tend(db, policy, spare, until - atomic_load(&db->worked), idle, error);
    if (status == 0 && !*idle && much_deferred(db) && db->tree_changed) status = engine_checkpoint_tree(db, error);
  }
  return status;
}

int engine_tend(struct wodan_db *db, struct wodan_error *error) {
  struct tree_policy policy = engine_policy(db, 1);
  bool idle;
  int status = tend_all(db, &policy, engine_spare_blocks(db), UINT64_MAX, &idle, error);
  estimate(db, &policy);
  return status;
}

int engine_end_sweep(struct wodan_db *db, struct wodan_error *error) {
  int status = 0;
  while (status == 0 && db->sweep) status = sweep_some(db, UINT64_MAX, error);
  return status;
}

/* Where a run for the next level finds no room, the levels below go first: deletes die there and give space. */
int engine_sweep_all(struct wodan_db *db, bool for_deletes, uint64_t budget, bool *idle, struct wodan_error *error) {
  struct tree_policy policy = engine_policy(db, 1);
  uint64_t spare = for_deletes ? 0 : engine_spare_blocks(db);
  policy.everything = true;
  int status = tend_all(db, &policy, spare, budget, idle, error);
  if (status != WODAN_ENOSPC || engine_failed(db)) return status;
  for (uint32_t left = db->node->level + 1; left-- > 0 && (status == 0 || status == WODAN_ENOSPC);) {
    policy.levels_left = left;
    db->sweep_leaf = 0;
    db->sweep_reclaimed = false;
    status = tend_all(db, &policy, spare, UINT64_MAX, idle, error);
  }
  *idle = true;
  return status;
}

int engine_compact(struct wodan_db *db, const struct wodan_slice *lower, const struct wodan_slice *upper,
                   uint64_t budget, bool *more, struct wodan_error *error) {
  bool idle = false;
  *more = false;
  engine_tree_enter(db);
  int status = engine_writable(db, error);
  if (status == 0) status = engine_freeze_and_drain(db, error);
  struct tree_policy policy = engine_policy(db, 1);
  policy.everything = true;
  policy.join_leaves = placeable_leaf(db, policy.leaf_size, engine_spare_blocks(db)) == policy.leaf_size;
  policy.lower = *lower;
  policy.upper = *upper;
  if (status == 0) status = tend_all(db, &policy, engine_spare_blocks(db), budget ? budget : UINT64_MAX, &idle, error);
  engine_tree_leave(db);
  engine_discard(db);
  *more = status == 0 && !idle;
  return status;
}
