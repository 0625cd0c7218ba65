/* Owns: putting an open database together and taking it apart.
 *
 * Always true: memory is planned (memory.c) before anything large is allocated. On failure the device stays the
 * caller's.
 *
 * Order at close: checkpoint, seal, flush; then memory, then the device. A handle that failed writes nothing more.
 *
 * See: tests/unit/test_engine_kv.c and its siblings. */
#include <string.h>
#include "codec/checksum.h"
#include "dev/behind.h"
#include "engine/engine.h"

static void set_up(struct wodan_db *db) {
  const struct superblock *sb = &db->superblock;
  db->io = (struct block_io){.device = &db->device,
                             .mem = &db->mem,
                             .bounds = {.block_size = sb->block_size,
                                        .data_first = superblock_data_first(sb),
                                        .data_end = sb->device_blocks - 1},
                             .seed = checksum_seed(sb->fsid)};
  memcpy(db->io.fsid, sb->fsid, 16);
  db->env.mem = &db->mem; /* the plan has set the sizes */
  db->env.skeleton = &db->skeleton_mem;
  db->env.readers = &db->readers_mem;
  db->env.io = &db->io;
  db->env.cache = db->cache;
  db->env.shelf = db->shelf;
  db->env.space = db->space;
  db->env.blobs = db->blobs;
  db->env.page_size = sb->page_size;
  db->env.dead_blocks = &db->pinned_blocks;
  db->env.counters = &db->counters.pages;
  db->env.packed = sb->compression != COMPRESSION_OFF;
}

static int open_locks(struct wodan_db *db, struct wodan_error *error) {
  int failed = lock_init(&db->gate) | lock_init(&db->tree) | lock_init(&db->write) | lock_init(&db->views_lock) |
               lock_init(&db->error_lock) | striped_init(&db->state) | condition_init(&db->synced) |
               condition_init(&db->work) | condition_init(&db->progress);
  return failed ? status_nomem(error) : 0;
}

static void release(struct wodan_db *db) {
  struct mem mem = db->mem;
  behind_free(db->device.behind);
  db->device.behind = NULL;
  engine_abandon_jobs(db);
  node_unref(db->node);
  if (db->active.table) memtable_unref(db->active.table);
  if (db->frozen.table) memtable_unref(db->frozen.table);
  mem_keep_none(&db->tables_mem);
  journal_release(&db->journal);
  run_shelf_free(db->shelf);
  gaps_free(db->gaps);
  locations_free(db->locations);
  cache_free(db->cache);
  compressor_free(db->env.compressor);
  blobs_free(db->blobs);
  values_free(db->values);
  space_free(db->space);
  lock_release(&db->gate);
  lock_release(&db->tree);
  lock_release(&db->write);
  lock_release(&db->views_lock);
  lock_release(&db->error_lock);
  striped_release(&db->state);
  condition_release(&db->synced);
  condition_release(&db->work);
  condition_release(&db->progress);
  mem_free(&mem, db, sizeof *db);
}

static int choose_compression(struct wodan_db *db, uint32_t wished, struct wodan_error *error) {
  enum compression most = db->superblock.compression;
  db->compression = engine_compression(wished, most);
  if (db->compression <= most) return 0;
  return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK,
                    "this volume may be compressed at most as chosen when it was formatted");
}

static int open_volume(struct wodan_db *db, const struct wodan_open_options *options, struct wodan_error *error) {
  int status = engine_read_superblock(&db->device, &db->mem, &db->superblock, error);
  if (status == 0 && !db->read_only && db->superblock.read_only_compat)
    status = status_set(error, WODAN_EVERSION, 0, WODAN_NO_BLOCK,
                        "the volume uses features this version can only read; open it for reading");
  if (status == 0) status = choose_compression(db, options->compression, error);
  if (status == 0) status = engine_plan_memory(db, options->memory_budget, error);
  if (status < 0) return status;
  set_up(db);
  db->proof = (struct blob_source){.io = &db->io, .mem = &db->readers_mem, .page_size = db->superblock.page_size};
  struct journal_setup setup = {.mem = &db->mem,
                                .device = &db->device,
                                .fsid = db->superblock.fsid,
                                .seed = db->io.seed,
                                .block_size = db->superblock.journal_block_size,
                                .device_block = db->superblock.block_size,
                                .blocks = superblock_ring_blocks(&db->superblock),
                                .proof = blob_proof(&db->proof)};
  db->active.table = engine_new_table(db);
  if (!db->active.table) return status_nomem(error);
  status = journal_init(&db->journal, &setup, error);
  if (status == 0) status = engine_recover(db, options->flags, error);
  if (status == 0) status = engine_discard_begin(db, options, error);
  if (status == 0) engine_locate_anew(db);
  return engine_open_refused(db, status, error);
}

int engine_open(struct wodan_device *raw, const struct wodan_open_options *options, struct wodan_db **out,
                struct wodan_error *error) {
  struct mem mem;
  mem_init(&mem, &options->allocator);
  struct wodan_db *db = mem_zalloc(&mem, sizeof *db);
  if (!db) return status_nomem(error);
  db->mem = mem;
  mem_init(&db->user_mem, &options->allocator);
  db->hooks = options->hooks;
  db->read_only = options->flags & WODAN_OPEN_READ_ONLY;
  db->no_auto_checkpoint = options->flags & WODAN_OPEN_NO_AUTO_CHECKPOINT;
  db->no_locations = options->flags & WODAN_OPEN_NO_LOCATIONS;
  if (!db->read_only && !(options->flags & WODAN_OPEN_INLINE)) db->write_behind = options->write_behind;
  db->last_error.block = WODAN_NO_BLOCK;
  int status = open_locks(db, error);
  if (status == 0) status = device_init(&db->device, raw, error);
  if (status == 0 && !db->read_only && raw->geometry.read_only)
    status = status_set(error, WODAN_EREADONLY, 0, WODAN_NO_BLOCK, "the device is read-only; open it for reading");
  if (status == 0) status = open_volume(db, options, error);
  if (status < 0) {
    release(db);
    return status;
  }
  if (raw->geometry.ordering == WODAN_ORDER_NONE)
    engine_log(db, WODAN_LOG_WARNING, "the device does not order writes: a power cut may damage the volume");
  if (!db->read_only && !(options->flags & WODAN_OPEN_INLINE)) engine_background_start(db);
  *out = db;
  return 0;
}

/* Everything into the tree, and one block behind the checkpoint that says it was flushed. */
static int settle(struct wodan_db *db, struct wodan_error *error) {
  engine_tree_enter(db);
  engine_abandon_jobs(db);
  int status = engine_checkpoint_all(db, error);
  engine_tree_leave(db); /* the sync below may want it */
  lock_acquire(&db->write);
  if (status == WODAN_ENOSPC || status == WODAN_ENOMEM) { /* the tree cannot take it: the journal may */
    struct wodan_error second;
    int synced = engine_sync_to(db, atomic_load(&db->sequence), &second);
    if (synced == 0 || synced == WODAN_ENOTDURABLE) status = 0;
  }
  if (status == 0 && atomic_load(&db->wrote) && journal_room(&db->journal, 1)) {
    status = journal_append_seal(&db->journal, error);
    if (status == 0) status = device_flush(&db->device, error);
  }
  lock_leave(&db->write);
  return status;
}

int engine_close(struct wodan_db *db, struct wodan_error *error) {
  struct wodan_error unasked;
  if (!error) error = &unasked; /* what fails below is kept as the cause */
  lock_acquire(&db->write);
  uint64_t pins = striped_sum(&db->reading, READ_PINS) + atomic_load(&db->batches);
  if (pins) {
    lock_leave(&db->write);
    status_set(error, WODAN_EBUSY, 0, WODAN_NO_BLOCK, "%llu views, cursors, batches or pinned values are still open",
               (unsigned long long)pins);
    lock_acquire(&db->error_lock);
    db->last_error = *error; /* only here the handle lives on to tell it */
    lock_leave(&db->error_lock);
    return WODAN_EBUSY;
  }
  engine_wait_sync(db);
  lock_leave(&db->write);
  engine_background_stop(db);
  int status = 0;
  if (!db->read_only) status = engine_failed(db) ? engine_writable(db, error) : settle(db, error);
  engine_discard(db); /* what waits longer is forgotten */
  struct wodan_device *raw = db->device.raw;
  release(db);
  int closed = wodan_device_close(raw);
  if (status == 0 && closed < 0) status = status_set(error, closed, 0, WODAN_NO_BLOCK, "the device failed to close");
  return status;
}
