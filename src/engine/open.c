/* Owns: putting an open database together and taking it apart.
 *
 * Always true: what is needed is summed before anything large is allocated, and an open that cannot fit says how many
 * bytes it needs. On failure the device stays the caller's.
 *
 * Order at close: checkpoint, seal, flush; then memory, then the device. A handle that failed writes nothing more.
 *
 * See: tests/unit/test_engine_kv.c and its siblings. */
#include <string.h>
#include "codec/checksum.h"
#include "engine/engine.h"

enum { DEFAULT_BUDGET = 256 << 20, FRAMES_MIN = 16, FRAMES_WISH = 64 };

/* Memory beside the cache, bytes: two memtables (entries, tree and the join of a batch), journal, space, a builder. The
 * cache's extra frames are counted too: a cursor alone may pin more pages than the fewest frames there are. */
static uint64_t fixed_memory(const struct superblock *sb) {
  uint64_t memtables = 2 * (sb->memtable_size + sb->memtable_size / 2) + 64 * 1024;
  uint64_t journal = journal_memory(sb->journal_block_size, superblock_ring_blocks(sb));
  uint64_t builder = sb->memtable_size / 8 + (1 << 20);
  if (sb->memtable_size < 1 << 20) builder = 4 * sb->memtable_size + 8ull * sb->page_size + 2ull * sb->block_size;
  return memtables + journal + space_memory(sb->device_blocks) + builder;
}

/* Handles, headers and indexes of the leaves a device holds (those of the first LEAVES_COUNTED), and of 16 runs with their
 * filters. Not evictable, so it comes before the cache. */
static uint64_t skeleton_memory(const struct superblock *sb) {
  enum { LEAVES_COUNTED = 16384, PER_LEAF = 1024, PER_PAGE = 64 };
  uint64_t leaves = sb->device_blocks * sb->block_size / sb->leaf_size, pages = sb->leaf_size / sb->page_size + 1;
  if (leaves > LEAVES_COUNTED) leaves = LEAVES_COUNTED;
  return leaves * (PER_LEAF + pages * PER_PAGE) + sb->memtable_size / 2;
}

static int plan_memory(struct wodan_db *db, uint64_t wished, struct wodan_error *error) {
  uint64_t frame = db->superblock.page_size + 128;
  uint64_t fixed = fixed_memory(&db->superblock) + skeleton_memory(&db->superblock) + CACHE_FRAMES_EXTRA * frame;
  db->memory_needed = fixed + FRAMES_MIN * frame;
  db->memory_budget = wished ? wished : DEFAULT_BUDGET;
  if (wished == 0 && db->memory_budget < fixed + FRAMES_WISH * frame) db->memory_budget = fixed + FRAMES_WISH * frame;
  if (db->memory_budget < db->memory_needed)
    return status_set(error, WODAN_EBUDGET, 0, WODAN_NO_BLOCK,
                      "this image needs a memory budget of at least %llu bytes, %llu were given",
                      (unsigned long long)db->memory_needed, (unsigned long long)db->memory_budget);
  size_t frames = (size_t)((db->memory_budget - fixed) / frame);
  db->cache = cache_create(&db->mem, db->superblock.page_size, frames);
  db->shelf = run_shelf_create(&db->mem, skeleton_memory(&db->superblock));
  return db->cache && db->shelf ? 0 : status_nomem(error);
}

static void set_up(struct wodan_db *db) {
  const struct superblock *sb = &db->superblock;
  db->io = (struct block_io){.device = &db->device,
                             .mem = &db->mem,
                             .bounds = {.block_size = sb->block_size,
                                        .data_first = superblock_data_first(sb),
                                        .data_end = sb->device_blocks - 1},
                             .seed = checksum_seed(sb->fsid)};
  memcpy(db->io.fsid, sb->fsid, 16);
  db->env = (struct run_env){.mem = &db->mem,
                             .io = &db->io,
                             .cache = db->cache,
                             .shelf = db->shelf,
                             .space = db->space,
                             .page_size = sb->page_size};
}

static int open_locks(struct wodan_db *db, struct wodan_error *error) {
  int failed =
      lock_init(&db->write) | lock_init(&db->error_lock) | rwlock_init(&db->state) | condition_init(&db->synced);
  return failed ? status_nomem(error) : 0;
}

static void release(struct wodan_db *db) {
  struct mem mem = db->mem;
  node_unref(db->node);
  if (db->active.table) memtable_unref(db->active.table);
  if (db->frozen.table) memtable_unref(db->frozen.table);
  journal_release(&db->journal);
  run_shelf_free(db->shelf);
  cache_free(db->cache);
  space_free(db->space);
  lock_release(&db->write);
  lock_release(&db->error_lock);
  rwlock_release(&db->state);
  condition_release(&db->synced);
  mem_free(&mem, db, sizeof *db);
}

static int open_volume(struct wodan_db *db, const struct wodan_open_options *options, struct wodan_error *error) {
  int status = engine_read_superblock(&db->device, &db->mem, &db->superblock, error);
  if (status == 0 && !db->read_only && db->superblock.read_only_compat)
    status = status_set(error, WODAN_EVERSION, 0, WODAN_NO_BLOCK,
                        "the volume uses features this version can only read; open it for reading");
  if (status == 0) status = plan_memory(db, options->memory_budget, error);
  if (status < 0) return status;
  set_up(db);
  struct journal_setup setup = {.mem = &db->mem,
                                .device = &db->device,
                                .fsid = db->superblock.fsid,
                                .seed = db->io.seed,
                                .block_size = db->superblock.journal_block_size,
                                .device_block = db->superblock.block_size,
                                .blocks = superblock_ring_blocks(&db->superblock)};
  db->active.table = memtable_create(&db->mem);
  if (!db->active.table) return status_nomem(error);
  status = journal_init(&db->journal, &setup, error);
  return status == 0 ? engine_recover(db, options->flags, error) : status;
}

int engine_open(struct wodan_device *raw, const struct wodan_open_options *options, struct wodan_db **out,
                struct wodan_error *error) {
  struct mem mem;
  mem_init(&mem, &options->allocator);
  struct wodan_db *db = mem_zalloc(&mem, sizeof *db);
  if (!db) return status_nomem(error);
  db->mem = mem;
  db->hooks = options->hooks;
  db->read_only = options->flags & WODAN_OPEN_READ_ONLY;
  db->no_auto_checkpoint = options->flags & WODAN_OPEN_NO_AUTO_CHECKPOINT;
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
  *out = db;
  return 0;
}

/* Everything into the tree, and one block behind the checkpoint that says it was flushed. */
static int settle(struct wodan_db *db, struct wodan_error *error) {
  int status = engine_checkpoint_all(db, error);
  if (status == WODAN_ENOSPC || status == WODAN_ENOMEM) { /* the tree cannot take it: the journal may */
    struct wodan_error second;
    int synced = engine_sync_to(db, atomic_load(&db->sequence), &second);
    if (synced == 0 || synced == WODAN_ENOTDURABLE) status = 0;
  }
  if (status < 0 || !db->wrote || !journal_room(&db->journal, 1)) return status;
  status = journal_append_seal(&db->journal, error);
  return status == 0 ? device_flush(&db->device, error) : status;
}

int engine_close(struct wodan_db *db, struct wodan_error *error) {
  struct wodan_error unasked;
  if (!error) error = &unasked; /* what fails below is kept as the cause */
  lock_acquire(&db->write);
  uint64_t pins = atomic_load(&db->pins) + atomic_load(&db->batches);
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
  int status = 0;
  if (!db->read_only) status = db->failed.code ? engine_writable(db, error) : settle(db, error);
  lock_leave(&db->write);
  struct wodan_device *raw = db->device.raw;
  release(db);
  int closed = wodan_device_close(raw);
  if (status == 0 && closed < 0) status = status_set(error, closed, 0, WODAN_NO_BLOCK, "the device failed to close");
  return status;
}
