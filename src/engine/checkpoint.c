/* Owns: the checkpoint: the one place that makes a tree the newest durable root. The order of its numbered steps is the
 * proof; each step says what it needs.
 *
 * Always true: data blocks of the two newest durable roots are never written; a checkpoint's generation is greater than
 * every generation it covers; a memtable is released only when the checkpoint that covers it is durable, or (drain_both)
 * when nothing but a checkpoint can be written any more.
 *
 * See: FORMAT.md "Protocol", tools/mutants.py, tests/crash/test_power_cut.c. */
#include <assert.h>
#include <string.h>
#include "engine/engine.h"

static int allocate(void *context, uint64_t blocks, struct extent *extents, uint32_t *extent_count,
                    struct wodan_error *error) {
  return space_allocate_reserved(context, SPACE_NODE, blocks, extents, extent_count, error);
}

/* A header that the device does not have yet, to free blocks. */
static int write_node(struct wodan_db *db, struct node *node, struct wodan_error *error) {
  struct node_image image;
  struct block_ptr ptr;
  uint8_t *bytes = NULL;
  size_t size = 0;
  int status = node_to_image(node, &image, error);
  if (status < 0) return status;
  struct node_image_target target = {
      .generation = ++db->generation, .epoch = db->env.epoch, .allocate = allocate, .context = db->space};
  status = node_image_encode(&db->io, &image, &target, &bytes, &size, &ptr, error);
  node_image_release(&image);
  if (status < 0) return status;
  atomic_store(&db->wrote, true);
  status = block_io_write(&db->io, ptr.extents, ptr.extent_count, 0, bytes, size, error);
  mem_free(&db->mem, bytes, size);
  if (status < 0) return engine_fail(db, status, error);
  node->ptr = ptr;
  count(&db->counters.node_bytes, size);
  count(&db->worked, size);
  return 0;
}

/* 1. The dirty node headers, children first. Runs and leaves were written when they were made. Recurses level by level. */
static int write_tree(struct wodan_db *db, struct node *node, struct wodan_error *error) {
  if (node->ptr.generation) return 0; /* then all below it is there too */
  int status = 0;
  for (uint32_t i = 0; node->level && i < node->entry_count && status == 0; i++)
    status = write_tree(db, node->entries[i].child, error);
  return status == 0 ? write_node(db, node, error) : status;
}

static int write_root(struct wodan_db *db, struct block_ptr *root, struct wodan_error *error) {
  bool empty = db->node->entry_count == 0 && db->node->run_count == 0;
  int status = empty ? 0 : write_tree(db, db->node, error);
  *root = empty ? (struct block_ptr){0} : db->node->ptr;
  return status;
}

/* Where replay has to start: the first journal record with a batch the tree does not hold, else the record itself. */
static uint64_t replay_tail(const struct wodan_db *db) {
  if (db->frozen.table && !db->frozen_drained && db->frozen.first_block) return db->frozen.first_block;
  return db->active.first_block ? db->active.first_block : db->journal.head;
}

/* A checkpoint whose tail stays behind frees nothing of the ring: it must leave room for two that do. Caller holds write. */
static int check_ring(struct wodan_db *db, struct wodan_error *error) {
  bool moves = replay_tail(db) == db->journal.head;
  if (moves ? journal_room_for_checkpoint(&db->journal) : journal_room(&db->journal, 1)) return 0;
  return status_set(error, WODAN_ENOSPC, 0, WODAN_NO_BLOCK, "the journal has no room for a checkpoint now");
}

/* Whether the tree or the journal since the checkpoint before may name large values: so that a mount looks for them. */
static bool blobs_in_use(struct wodan_db *db) {
  uint64_t ever = blobs_ever(db->blobs);
  bool used = blobs_counts(db->blobs).count > 0 || ever != db->blobs_before;
  db->blobs_before = ever;
  return used;
}

/* 3. The record, at the head of the ring. */
static int write_record(struct wodan_db *db, const struct block_ptr *root, uint64_t *generation,
                        struct wodan_error *error) {
  uint64_t tail = replay_tail(db);
  struct checkpoint_record record = {.generation = ++db->generation,
                                     .sequence = db->drained,
                                     .tail = tail,
                                     .previous = db->journal.durable.sequence,
                                     .previous_hash = db->journal.durable.hash,
                                     .device_blocks = db->superblock.device_blocks,
                                     .incompat = blobs_in_use(db) ? FEATURE_BLOBS : 0,
                                     .root = *root,
                                     .catalog = db->catalog};
  *generation = record.generation;
  return journal_append_checkpoint(&db->journal, &record, error);
}

/* Its memory takes a while to free, so that is left for when write is free. */
static struct memtable *release_frozen(struct wodan_db *db) {
  struct memtable *old = db->frozen.table;
  striped_write(&db->state);
  memset(&db->frozen, 0, sizeof db->frozen);
  striped_write_leave(&db->state);
  db->frozen_drained = false;
  db->releasing = true;
  return old;
}

/* 5. Everybody is told; what the old root alone used waits one checkpoint longer. Returns the memtable that nobody needs
 * any more, or NULL. Caller holds write. */
static struct memtable *told_durable(struct wodan_db *db, const struct block_ptr *root, uint64_t generation) {
  journal_flushed(&db->journal);
  db->root = *root;
  db->previous_generation = db->checkpoint_generation;
  db->checkpoint_generation = generation;
  space_checkpoint_durable(db->space, generation);
  db->nodes_old = db->nodes_now;
  db->nodes_now = 0;
  if (db->drained > db->durable) db->durable = db->drained;
  db->tree_changed = false;
  engine_keep_room(db);
  count(&db->counters.checkpoints, 1);
  return db->frozen_drained ? release_frozen(db) : NULL;
}

/* 3. and 4.: the record, and the flush that makes it durable, with the write lock free meanwhile: nothing else appends to
 * the journal. Caller holds write. */
static int write_and_flush(struct wodan_db *db, const struct block_ptr *root, struct memtable **released,
                           struct wodan_error *error) {
  engine_wait_sync(db);
  int status = engine_writable(db, error);
  if (status == 0) status = check_ring(db, error); /* durable commits may have filled it meanwhile */
  if (status < 0) return status;
  atomic_store(&db->wrote, true);
  uint64_t generation = 0;
  status = write_record(db, root, &generation, error);
  if (status < 0) return engine_fail(db, status, error);
  db->sync_running = true;
  lock_leave(&db->write);
  status = device_flush(&db->device, error);
  lock_acquire(&db->write);
  db->sync_running = false;
  if (status == 0)
    *released = told_durable(db, root, generation);
  else
    status = engine_fail(db, status, error);
  condition_wake_all(&db->synced);
  return status;
}

int engine_checkpoint_tree(struct wodan_db *db, struct wodan_error *error) {
  struct block_ptr root;
  int status = engine_writable(db, error);
  lock_acquire(&db->write);
  if (status == 0) status = check_ring(db, error);
  lock_leave(&db->write);
  if (status == 0) status = write_root(db, &root, error);
  if (status < 0) return status;
  status = device_barrier(&db->device, error); /* 2. nothing of the record before all it names */
  if (status < 0) return engine_fail(db, status, error);
  struct memtable *released = NULL;
  lock_acquire(&db->write);
  status = write_and_flush(db, &root, &released, error);
  if (released) {
    lock_leave(&db->write);
    memtable_unref(released);
    lock_acquire(&db->write);
    db->releasing = false;
  }
  if (status == 0 && db->waiting) condition_wake_all(&db->progress);
  lock_leave(&db->write);
  return status;
}

/* ---- all that was committed ------------------------------------------------------------------------------------- */

/* Back to before the active memtable was frozen: `aside` is the frozen one, drained. */
static void unfreeze(struct wodan_db *db, const struct table_slot *aside) {
  struct memtable *fresh = NULL;
  lock_acquire(&db->write);
  striped_write(&db->state);
  if (db->frozen.table && memtable_count(db->active.table) == 0) {
    fresh = db->active.table;
    db->active = db->frozen;
    db->frozen = (struct table_slot){0};
  }
  if (!db->frozen.table) {
    db->frozen = *aside;
    db->frozen_drained = true;
    aside = NULL;
  }
  striped_write_leave(&db->state);
  lock_leave(&db->write);
  if (fresh) memtable_unref(fresh);
  if (aside) memtable_unref(aside->table);
}

/* The ring has no room for a checkpoint that leaves its tail, so the drained memtable steps aside while the active one is
 * drained too; then the tail moves. Nothing goes into the journal meanwhile, for its room is less than a checkpoint's: so
 * its pending records leave no gap. */
static int drain_both(struct wodan_db *db, struct wodan_error *error) {
  lock_acquire(&db->write);
  assert(db->frozen_drained);
  struct table_slot aside = db->frozen;
  striped_write(&db->state);
  memset(&db->frozen, 0, sizeof db->frozen);
  striped_write_leave(&db->state);
  int status = engine_freeze(db, error);
  uint64_t durable = db->durable;
  lock_leave(&db->write);
  if (status == 0) status = engine_drain(db, error);
  if (status < 0 && memtable_last_sequence(aside.table) > durable)
    unfreeze(db, &aside);
  else /* what is durable may be older than the tree by now: it must not be read any more */
    memtable_unref(aside.table);
  return status;
}

/* Caller holds write. */
static bool ring_is_short(struct wodan_db *db) { return db->frozen.table && check_ring(db, NULL) < 0; }

int engine_freeze_and_drain(struct wodan_db *db, struct wodan_error *error) {
  bool undrained, frozen, more, is_short;
  int status;
  do { /* a writer may freeze one as soon as the last is drained: nothing may take it for a drained one */
    status = engine_drain(db, error);
    lock_acquire(&db->write);
    frozen = db->frozen.table != NULL;
    undrained = frozen && !db->frozen_drained;
    more = memtable_count(db->active.table) > 0;
    is_short = ring_is_short(db);
    lock_leave(&db->write);
  } while (status == 0 && undrained);
  if (status < 0 || !more) return status;
  if (is_short) return drain_both(db, error);
  if (frozen) status = engine_checkpoint_tree(db, error);
  if (status < 0) return status;
  lock_acquire(&db->write);
  if (!db->frozen.table && memtable_count(db->active.table) > 0) status = engine_freeze(db, error);
  lock_leave(&db->write);
  return status == 0 ? engine_drain(db, error) : status;
}

int engine_checkpoint_all(struct wodan_db *db, struct wodan_error *error) {
  int status = engine_writable(db, error);
  for (int attempt = 0; status == 0; attempt++) {
    status = engine_freeze_and_drain(db, error);
    if (status < 0) break;
    lock_acquire(&db->write);
    bool due = db->tree_changed || db->frozen.table;
    lock_leave(&db->write);
    status = due ? engine_checkpoint_tree(db, error) : 0;
    /* Durable commits may fill the ring meanwhile: then there is room for one that moves the tail, and for nothing else. */
    if (status != WODAN_ENOSPC || attempt > 0) break;
    lock_acquire(&db->write);
    if (check_ring(db, NULL) < 0) status = 0;
    lock_leave(&db->write);
  }
  return status;
}

int engine_checkpoint(struct wodan_db *db, uint64_t *generation, struct wodan_error *error) {
  engine_tree_enter(db);
  int status = engine_writable(db, error);
  if (status == 0) status = engine_freeze_and_drain(db, error);
  if (status == 0) status = engine_tend(db, error);
  /* What the maintenance had no room for, or could not read, is not what was asked. */
  if (status < 0 && !engine_failed(db) && !db->read_only) status = 0;
  if (status == 0) status = engine_checkpoint_all(db, error);
  if (status == 0) status = engine_settle_when_short(db, error);
  lock_acquire(&db->write);
  if (generation) *generation = db->checkpoint_generation;
  if (status == 0) db->lag = 0;
  lock_leave(&db->write);
  engine_tree_leave(db);
  engine_discard(db);
  return status;
}
