/* Owns: the checkpoint: the one place that makes a tree the newest durable root. The order of its numbered steps is the
 * proof; each step says what it needs.
 *
 * Always true: data blocks of the two newest durable roots are never written; a checkpoint's generation is greater than
 * every generation it covers; a memtable is released only when the checkpoint that covers it is durable, or (drain_both)
 * when nothing but a checkpoint can be written any more.
 *
 * See: FORMAT.md "Protocol", tools/mutants.sh, tests/crash/test_power_cut.c. */
#include <assert.h>
#include <string.h>
#include "engine/engine.h"

static int allocate(void *context, uint64_t blocks, struct extent *extents, uint32_t *extent_count,
                    struct wodan_error *error) {
  return space_allocate_reserved(context, SPACE_NODE, blocks, extents, extent_count, error);
}

/* 1. The dirty node header, to free blocks. Runs and leaves were written when they were made. */
static int write_root(struct wodan_db *db, struct block_ptr *root, struct wodan_error *error) {
  struct node_image image;
  uint8_t *bytes = NULL;
  size_t size = 0;
  int status = node_to_image(db->node, &image, error);
  if (status < 0) return status;
  if (image.entry_count == 0 && image.run_count == 0) {
    *root = (struct block_ptr){0};
    node_image_release(&image);
    return 0;
  }
  struct node_image_target target = {
      .generation = ++db->generation, .epoch = db->env.epoch, .allocate = allocate, .context = db->space};
  status = node_image_encode(&db->io, &image, &target, &bytes, &size, root, error);
  node_image_release(&image);
  if (status < 0) return status;
  db->wrote = true;
  status = block_io_write(&db->io, root->extents, root->extent_count, 0, bytes, size, error);
  mem_free(&db->mem, bytes, size);
  if (status < 0) return engine_fail(db, status, error);
  count(&db->counters.node_bytes, size);
  return 0;
}

/* Where replay has to start: the first journal record with a batch the tree does not hold, else the record itself. */
static uint64_t replay_tail(const struct wodan_db *db) {
  if (db->frozen.table && !db->frozen_drained && db->frozen.first_block) return db->frozen.first_block;
  return db->active.first_block ? db->active.first_block : db->journal.head;
}

/* A checkpoint whose tail stays behind frees nothing of the ring: it must leave room for two that do. */
static int check_ring(struct wodan_db *db, struct wodan_error *error) {
  bool moves = replay_tail(db) == db->journal.head;
  if (moves ? journal_room_for_checkpoint(&db->journal) : journal_room(&db->journal, 1)) return 0;
  return status_set(error, WODAN_ENOSPC, 0, WODAN_NO_BLOCK, "the journal has no room for a checkpoint now");
}

/* 3. The record, at the head of the ring. */
static int write_record(struct wodan_db *db, const struct block_ptr *root, struct wodan_error *error) {
  uint64_t tail = replay_tail(db);
  struct checkpoint_record record = {.generation = ++db->generation,
                                     .sequence = db->drained,
                                     .tail = tail,
                                     .previous = db->journal.durable.sequence,
                                     .previous_hash = db->journal.durable.hash,
                                     .device_blocks = db->superblock.device_blocks,
                                     .root = *root,
                                     .catalog = db->catalog};
  return journal_append_checkpoint(&db->journal, &record, error);
}

static void release_frozen(struct wodan_db *db) {
  struct memtable *old = db->frozen.table;
  rwlock_write(&db->state);
  memset(&db->frozen, 0, sizeof db->frozen);
  rwlock_write_leave(&db->state);
  db->frozen_drained = false;
  memtable_unref(old);
}

/* 5. Everybody is told; what the old root alone used waits one checkpoint longer. */
static void told_durable(struct wodan_db *db, const struct block_ptr *root) {
  journal_flushed(&db->journal);
  if (db->root.generation) space_defer(db->space, db->root.extents, db->root.extent_count, db->root.generation);
  db->previous_root_blocks = block_ptr_blocks(&db->root);
  db->root = *root;
  db->previous_generation = db->checkpoint_generation;
  db->checkpoint_generation = db->generation;
  space_checkpoint_durable(db->space, db->generation, NULL, NULL);
  if (db->drained > db->durable) db->durable = db->drained;
  db->tree_changed = false;
  engine_keep_room(db, true);
  if (db->frozen_drained) release_frozen(db);
  count(&db->counters.checkpoints, 1);
}

int engine_checkpoint_tree(struct wodan_db *db, struct wodan_error *error) {
  struct block_ptr root;
  engine_wait_sync(db);
  int status = engine_writable(db, error);
  if (status == 0) status = check_ring(db, error);
  if (status == 0) status = write_root(db, &root, error);
  if (status < 0) return status;
#ifndef MUTANT_NO_BARRIER
  status = device_barrier(&db->device, error); /* 2. nothing of the record before all it names */
  if (status < 0) return engine_fail(db, status, error);
#endif
  db->wrote = true;
  status = write_record(db, &root, error);
  if (status == 0) status = device_flush(&db->device, error); /* 4. durable */
  if (status < 0) return engine_fail(db, status, error);
  told_durable(db, &root);
  return 0;
}

/* Back to before the active memtable was frozen: `aside` is the frozen one, drained. */
static void unfreeze(struct wodan_db *db, const struct table_slot *aside) {
  struct memtable *fresh = NULL;
  rwlock_write(&db->state);
  if (db->frozen.table) {
    fresh = db->active.table;
    db->active = db->frozen;
  }
  db->frozen = *aside;
  rwlock_write_leave(&db->state);
  db->frozen_drained = true;
  if (fresh) memtable_unref(fresh);
}

/* The ring has no room for a checkpoint that leaves its tail, so the drained memtable steps aside while the active one is
 * drained too; then the tail moves. Nothing goes into the journal meanwhile, so its pending records leave no gap. */
static int drain_both(struct wodan_db *db, struct wodan_error *error) {
  struct table_slot aside = db->frozen;
  rwlock_write(&db->state);
  memset(&db->frozen, 0, sizeof db->frozen);
  rwlock_write_leave(&db->state);
  int status = engine_freeze(db, error);
  if (status == 0) status = engine_drain(db, error);
  if (status < 0 && memtable_last_sequence(aside.table) > db->durable)
    unfreeze(db, &aside);
  else /* what is durable may be older than the tree by now: it must not be read any more */
    memtable_unref(aside.table);
  return status;
}

/* Freezes and drains the active memtable, behind a checkpoint for a frozen one that is drained already. */
static int drain_active(struct wodan_db *db, struct wodan_error *error) {
  if (db->frozen.table && check_ring(db, NULL) < 0) return drain_both(db, error);
  int status = db->frozen.table ? engine_checkpoint_tree(db, error) : 0;
  if (status == 0) status = engine_freeze(db, error);
  return status == 0 ? engine_drain(db, error) : status;
}

int engine_checkpoint_all(struct wodan_db *db, struct wodan_error *error) {
  engine_wait_sync(db);
  int status = engine_writable(db, error);
  if (status == 0 && db->frozen.table && !db->frozen_drained) status = engine_drain(db, error);
  if (status == 0 && memtable_count(db->active.table) > 0) status = drain_active(db, error);
  if (status < 0) return status;
  return db->tree_changed || db->frozen.table ? engine_checkpoint_tree(db, error) : 0;
}
