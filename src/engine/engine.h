/* Engine: one open database. The parts: open.c (mount and close), recovery.c (what mount reads), format.c (new volumes),
 * write_path.c (commits, journal, group commit), maintain.c (drain, sweep, room), checkpoint.c (the numbered steps),
 * read_path.c (views, lookups), cursor.c, stats.c.
 *
 * Locks, outermost first:
 *   write   one at a time: commits, sync, drain, sweep, checkpoint; guards everything marked [w].
 *   state   shared by readers, exclusive while a memtable or the version pointers change; guards [s].
 *   error   the last failure, alone.
 * A sync lets go of `write` while the device flushes (sync_running); nothing appends to the journal meanwhile. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <wodan/wodan.h>
#include "base/thread.h"
#include "cache/cache.h"
#include "format/superblock.h"
#include "journal/journal.h"
#include "space/space.h"
#include "tree/node.h"

/* A memtable and what the journal knows of it. */
struct table_slot {
  struct memtable *table;    /* [s], NULL: none */
  struct memtable_walk walk; /* [w] records behind it are not in the journal */
  uint64_t pending_bytes;    /* [w] their encoded size in a journal record */
  uint64_t pending_count;    /* [w] how many */
  uint64_t pending_first;    /* [w] sequence of the first of them */
  uint64_t first_block;      /* [w] first journal block of the first record with a batch of this table; 0: none */
};

struct engine_counters {
  _Atomic uint64_t gets, gets_found, puts, deletes, batches, syncs, checkpoints, cursor_moves;
  _Atomic uint64_t user_bytes_written, user_bytes_read;
  _Atomic uint64_t run_bytes, leaf_bytes, node_bytes;
};

struct wodan_db {
  struct mem mem;
  struct wodan_hooks hooks;
  struct device device;
  struct superblock superblock;
  struct block_io io;
  struct run_env env;
  struct cache *cache;
  struct run_shelf *shelf;
  struct space *space;
  struct journal journal; /* [w] */
  bool read_only, no_auto_checkpoint;
  uint64_t memory_budget, memory_needed;

  struct lock write;
  struct condition synced; /* with write: sync_running fell */
  struct rwlock state;
  struct lock error_lock;
  struct wodan_error last_error;

  struct table_slot active, frozen;
  struct node *node;         /* [s] the published version */
  _Atomic uint64_t sequence; /* last operation committed; changes under state */

  bool frozen_drained;             /* [w] the frozen memtable's records are in the tree */
  uint64_t drained;                /* [w] last sequence contained in the tree */
  bool tree_changed;               /* [w] the node differs from the last checkpoint's */
  bool wrote;                      /* [w] this epoch has written */
  bool sync_running;               /* [w] */
  uint64_t journaled;              /* [w] last sequence in a journal record */
  uint64_t durable;                /* [w] last sequence known durable */
  uint64_t generation;             /* [w] last generation used */
  struct block_ptr root;           /* [w] of the newest durable checkpoint */
  uint32_t root_leaves, root_runs; /* [w] what it names */
  uint64_t previous_root_blocks;   /* [w] the next checkpoint frees so many */
  struct block_ptr catalog;
  uint64_t checkpoint_generation, previous_generation; /* [w] */
  uint64_t epoch, replayed, dropped_generations;
  struct wodan_error failed; /* [w] first failure: code 0 while none */

  _Atomic uint64_t pins;    /* views, cursors, pinned values */
  _Atomic uint64_t batches; /* not freed yet */
  struct engine_counters counters;
};

static inline void count(_Atomic uint64_t *counter, uint64_t n) {
  atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- failure (write_path.c) ----------------------------------------------------------------------------------- */

/* The first failed write, barrier or flush is final (R4): keeps the cause, returns its code; but WODAN_EFAILED when the
 * host is out of space, so that nobody takes it for a full volume. Caller holds write. */
int engine_fail(struct wodan_db *db, int status, const struct wodan_error *cause);
/* WODAN_EFAILED with the first cause, WODAN_EREADONLY, or 0. Caller holds write. */
int engine_writable(struct wodan_db *db, struct wodan_error *error);
void engine_log(struct wodan_db *db, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- write path ----------------------------------------------------------------------------------------------- */

/* Operations of a batch, encoded: u8 kind, u32 key size, u32 value size, tree key, value. */
struct operations {
  const uint8_t *bytes;
  size_t size;
  size_t count;
  size_t payload;      /* key and value bytes, table id included */
  uint64_t encoded;    /* sum of record_encoded_size */
  uint64_t user_bytes; /* key and value bytes as the user counts them */
  bool deletes_only;
};
enum { OPERATION_HEADER = 9 };
/* Next operation at *at; false at the end. */
bool operations_next(const struct operations *operations, size_t *at, struct record *record);

int engine_commit(struct wodan_db *db, const struct operations *operations, struct wodan_commit *commit,
                  struct wodan_error *error);
int engine_sync(struct wodan_db *db, struct wodan_error *error);
/* Caller holds write. */
int engine_sync_to(struct wodan_db *db, uint64_t sequence, struct wodan_error *error);
void engine_wait_sync(struct wodan_db *db);
uint64_t engine_batch_max(const struct wodan_db *db);

/* ---- maintenance; caller holds write --------------------------------------------------------------------------- */

/* Makes room in memory and on the device for `bytes` of encoded records: freezes, drains, sweeps, checkpoints as needed.
 * WODAN_ENOSPC before anything of the caller's changed. */
int engine_make_room(struct wodan_db *db, uint64_t bytes, bool deletes_only, struct wodan_error *error);
/* The frozen memtable's records into the tree, and the sweep that is then owed. */
int engine_drain(struct wodan_db *db, struct wodan_error *error);
/* Freezes the active memtable; there is no frozen one. */
int engine_freeze(struct wodan_db *db, struct wodan_error *error);
/* Keeps the space that the roots of two checkpoints need; checkpointed: the node is what db->root holds. */
void engine_keep_room(struct wodan_db *db, bool checkpointed);
/* Publishes a new version; takes the reference. */
void engine_publish(struct wodan_db *db, struct node *node);

/* ---- checkpoint; caller holds write ---------------------------------------------------------------------------- */

/* Everything drained so far becomes the newest durable root. */
int engine_checkpoint_tree(struct wodan_db *db, struct wodan_error *error);
/* Freezes and drains both memtables first; nothing written when nothing changed. */
int engine_checkpoint_all(struct wodan_db *db, struct wodan_error *error);

/* Records of the tree keys in [lower, upper) into leaves; neither is NULL. Takes write itself. budget: bytes written, 0: until
 * done; *more: work is left. */
int engine_compact(struct wodan_db *db, const struct wodan_slice *lower, const struct wodan_slice *upper,
                   uint64_t budget, bool *more, struct wodan_error *error);

/* ---- open ------------------------------------------------------------------------------------------------------ */

int engine_format(struct wodan_device *raw, const struct wodan_format_options *options, struct wodan_error *error);
int engine_open(struct wodan_device *raw, const struct wodan_open_options *options, struct wodan_db **db,
                struct wodan_error *error);
int engine_close(struct wodan_db *db, struct wodan_error *error);
/* Recovery of a volume whose superblock is known (recovery.c): fills journal, space, node, active. */
int engine_recover(struct wodan_db *db, uint32_t flags, struct wodan_error *error);
/* Superblock of a device, from block 0 or the copy. */
int engine_read_superblock(struct device *device, struct mem *mem, struct superblock *superblock,
                           struct wodan_error *error);

/* ---- reading --------------------------------------------------------------------------------------------------- */

struct wodan_view {
  struct wodan_db *db;
  struct memtable *active, *frozen; /* references; frozen may be NULL */
  struct node *node;
  uint64_t sequence;
};

int engine_view_init(struct wodan_db *db, struct wodan_view *view);
void engine_view_release(struct wodan_view *view);

/* The newest record at the view (NULL: now), value in place: held by *pin (a cache frame) or *table (a memtable
 * reference); exactly one is set on success. */
int engine_get(struct wodan_db *db, struct wodan_view *view, struct wodan_slice key, struct wodan_slice *value,
               struct frame **pin, struct memtable **table, struct wodan_error *error);

void engine_stats(struct wodan_db *db, struct wodan_stats *stats);
void engine_info(struct wodan_db *db, struct wodan_info *info);

#endif
