/* Engine: one open database. The parts: open.c (mount and close), recovery.c (what mount reads), format.c (new volumes),
 * memory.c (the budget), locate.c (lookups that know where the record is), write_path.c (commits, journal, group commit), admission.c (what a write may have to wait for), maintain.c (drain, sweep,
 * structure), background.c (who does that, and when), checkpoint.c (the numbered steps), read_path.c (views, lookups),
 * discard.c, large.c (large values), cursor.c, gaps.c (what cursors may jump over), stats.c.
 *
 * Locks, outermost first:
 *   tree    maintenance, one at a time: drains, sweeps, structure, checkpoints; held over device I/O; guards [t].
 *   write   commits, the journal, which memtable is what; never held over the I/O of maintenance; guards [w].
 *   state   shared by readers, exclusive while a memtable or the version pointers change; guards [s].
 *   views   the list of open views, alone. So is the lock inside gaps.
 *   error   the last failure and the first one, alone.
 * What is [t] and [w] is read with either and changed with both. A flush of the journal lets go of `write` while the device
 * flushes (sync_running); nothing appends to the journal meanwhile. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <wodan/wodan.h>
#include "base/striped.h"
#include "blob/blob_read.h"
#include "blob/blob_write.h"
#include "blob/blobs.h"
#include "cache/locations.h"
#include "cache/values.h"
#include "codec/compress.h"
#include "engine/gaps.h"
#include "format/superblock.h"
#include "journal/journal.h"
#include "memtable/memtable.h"
#include "run/run_pieces.h"
#include "space/discard.h"
#include "tree/policy.h"
#include "tree/sweep.h"
#include "tree/tally.h"

/* A memtable and what the journal knows of it. */
struct table_slot {
  struct memtable *table;    /* [s], NULL: none */
  struct memtable_walk walk; /* [w] records behind it are not in the journal */
  uint64_t pending_bytes;    /* [w] their encoded size in a journal record */
  uint64_t pending_count;    /* [w] how many */
  uint64_t pending_first;    /* [w] sequence of the first of them */
  uint64_t first_block;      /* [w] first journal block of the first record with a batch of this table; 0: none */
  uint64_t pending_blobs;    /* [w] bytes of the large values that the pending records name */
  uint64_t blob_blocks;      /* [w] of the large values its records name */
};

/* The frozen memtable on its way into the tree. */
struct drain {
  struct iterator *it;    /* NULL: none under way, or another way */
  struct sweep *straight; /* into leaves at once; NULL: none under way, or into a run */
  struct run_pieces pieces;
  struct range_buffer ranges; /* what it deletes besides */
  struct tally tally;
  uint64_t left; /* bytes of records */
};

/* Counters that readers change. */
enum reading {
  READ_GETS,
  READ_MISSES, /* gets that found nothing, or failed */
  READ_MOVES,  /* of cursors */
  READ_BYTES,  /* keys and values given to the user */
  READ_PINS,   /* views, cursors, pinned values: what keeps the database open */
  READ_RECENT, /* no sum: a bit for each of the last lookups below the memtables, the newest lowest; 1: found nothing */
};

struct engine_counters {
  _Atomic uint64_t puts, deletes, range_deletes, batches, syncs, checkpoints, user_bytes_written;
  _Atomic uint64_t run_bytes, leaf_bytes, node_bytes;
  struct run_counters pages;
  _Atomic uint64_t put_delays[WODAN_DELAY_BUCKETS], put_delay_max, put_work_max;
};

struct wodan_db {
  struct mem mem;                                   /* all but the user's; its limit is the budget */
  struct mem tables_mem, skeleton_mem, readers_mem; /* parts of it: records in memtables, nodes and handles, cursors */
  struct mem cache_mem;                             /* another: pages and large values */
  struct mem user_mem;                              /* batches and values given to the user: outside the budget */
  struct wodan_hooks hooks;
  struct device device;
  struct superblock superblock;
  struct block_io io;
  struct run_env env;
  struct cache *cache;
  struct values *values;
  struct locations *locations; /* NULL: none are kept */
  struct run_shelf *shelf;
  struct space *space;
  struct blobs *blobs;
  struct gaps *gaps;
  struct blob_source proof; /* for the journal: what its newest record names */
  struct journal journal;   /* [w] */
  bool read_only, no_auto_checkpoint, no_locations;
  enum compression compression; /* of the leaves it writes while there is room: at most what was chosen at format */
  uint64_t memory_budget, memory_needed;
  uint64_t write_behind; /* bytes wished */

  struct lock gate, tree; /* who waits for tree holds gate, so that the next in line is not passed */
  struct lock write;
  struct condition synced; /* with write: sync_running fell */
  struct striped_lock state;
  struct lock views_lock, error_lock;
  struct wodan_error last_error;

  struct table_slot active, frozen;
  struct node *node;         /* [s] [t] [w] the published root */
  _Atomic uint64_t sequence; /* last operation committed; changes under state */

  bool frozen_drained;           /* [t] [w] the frozen memtable's records are in the tree */
  bool releasing;                /* [w] there is no frozen memtable any more, but its memory is not free yet */
  uint64_t drained;              /* [s] [t] [w] last sequence contained in the tree */
  bool tree_changed;             /* [t] the tree differs from the last checkpoint's */
  _Atomic bool wrote;            /* this epoch has written */
  bool sync_running;             /* [w] */
  uint64_t journaled;            /* [w] last sequence in a journal record */
  uint64_t durable;              /* [w] last sequence known durable */
  _Atomic uint64_t generation;   /* last one used; writers of large values take some too */
  struct block_ptr root;         /* [t] of the newest durable checkpoint */
  uint64_t blobs_before;         /* [w] blobs_ever() at the last checkpoint */
  uint64_t nodes_now, nodes_old; /* [t] blocks of node headers given up since the last checkpoint, and before it */
  struct block_ptr catalog;
  uint64_t checkpoint_generation, previous_generation; /* [w] */
  uint64_t epoch, replayed, dropped_generations;
  _Atomic int failed; /* code of the first failed write; its sentence in first_failure under error_lock */
  struct wodan_error first_failure;

  /* maintenance */
  struct drain drain;             /* [t] */
  uint64_t roundabout;            /* [t] last sequence of a memtable that could not go straight into leaves */
  struct sweep *sweep;            /* [t] NULL: none under way */
  uint64_t sweep_leaf;            /* [t] bytes of the leaves it writes: smaller where free space is in small holes */
  bool sweep_reclaimed;           /* [t] since the last sweep that had room */
  bool short_of_space;            /* [t] sweeps find no room even so */
  uint64_t damaged[DAMAGED_MAX];  /* [t] generations of leaves that cannot be read */
  _Atomic uint32_t damaged_count; /* changed with tree */
  _Atomic uint64_t owed;          /* bytes of work that is urgent */
  _Atomic uint64_t worked;        /* bytes of work done since open */
  uint64_t lag;                   /* [w] bytes of work that writers are ahead of maintenance */
  uint64_t full_at
      [3]; /* [w] value of full_mark() when all was tried and no room was found: for puts, deletes, large values */
  uint64_t full_blocks;           /* [w] of such a large value */
  _Atomic uint64_t pinned_blocks; /* of runs the tree has dropped and somebody still reads */

  /* the background thread */
  struct thread background;
  bool background_runs;      /* fixed between open and close */
  struct condition work;     /* with write: there is something to do, or it has to stop */
  struct condition progress; /* with write: a slice was done */
  bool work_asked, stopping; /* [w] */
  bool background_stuck;     /* [w] its last step failed; writers do the work until one succeeds */
  uint32_t waiting;          /* [w] writers who wait for progress */
  uint64_t idle_from;        /* [w] sequence at which it last began what can wait */
  uint64_t idle_at;          /* [w] activity at which it had done that */

  struct wodan_view *oldest_view, *newest_view; /* under views_lock */
  struct striped_counters reading;              /* enum reading */
  _Atomic uint64_t batches;                     /* not freed yet */
  struct engine_counters counters;
};

static inline void count(_Atomic uint64_t *counter, uint64_t n) {
  atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- failure (write_path.c); any lock ---------------------------------------------------------------------------- */

/* The first failed write, barrier or flush is final (R4): keeps the cause, returns its code; but WODAN_EFAILED when the
 * host is out of space, so that nobody takes it for a full volume. */
int engine_fail(struct wodan_db *db, int status, const struct wodan_error *cause);
/* WODAN_EFAILED with the first cause, WODAN_EREADONLY, or 0. */
int engine_writable(struct wodan_db *db, struct wodan_error *error);
static inline bool engine_failed(struct wodan_db *db) { return atomic_load(&db->failed) != 0; }
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
  size_t ranges;       /* range deletes among them */
  bool deletes_only;   /* those too */
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

/* ---- admission (admission.c); caller holds write, which is let go of and taken again while it waits ---------------- */

/* Makes room in memory and on the device for `bytes` of encoded records, after its share of maintenance.
 * WODAN_ENOSPC, WODAN_EPINNED, WODAN_ENEEDSFLUSH before anything of the caller's changed. */
int engine_make_room(struct wodan_db *db, uint64_t bytes, bool deletes_only, struct wodan_error *error);
/* Where little room is left: all into leaves and all deferred space free, so that a write that is refused now is refused for
 * good. Caller holds tree, not write. */
int engine_settle_when_short(struct wodan_db *db, struct wodan_error *error);
/* The same for a large value of so many blocks, which are not taken yet: WODAN_ENOSPC as well where they are in too many
 * pieces. */
int engine_room_for_blob(struct wodan_db *db, uint64_t blocks, struct wodan_error *error);
/* Blocks that writes leave for deletes and sweeps. */
uint64_t engine_spare_for_writes(const struct wodan_db *db);
/* An empty memtable of this database. NULL: no memory. */
struct memtable *engine_new_table(struct wodan_db *db);
/* Freezes the active memtable; there is no frozen one. WODAN_ENOMEM. Caller holds write. */
int engine_freeze(struct wodan_db *db, struct wodan_error *error);
/* The frozen memtable is on its way: a slice of that. Caller holds write, which is let go of meanwhile. */
int engine_wait_for_memtable(struct wodan_db *db, uint64_t *worked, struct wodan_error *error);
/* What the oldest view sees up to; false: no view is open. */
bool engine_oldest_view(struct wodan_db *db, uint64_t *sequence);
/* What the tree's decisions depend on now. eager: 1, or more to do what is not urgent yet. */
struct tree_policy engine_policy(struct wodan_db *db, uint32_t eager);
/* Blocks that what can wait leaves free besides what was promised: for deletes on a full volume. */
uint64_t engine_spare_blocks(const struct wodan_db *db);
/* What is rewritten had better not grow. Caller holds tree, not write. */
bool engine_room_is_short(struct wodan_db *db);
/* The memtables hold less than was promised them. Caller holds write. */
void engine_promise(struct wodan_db *db);

/* ---- memory (memory.c) -------------------------------------------------------------------------------------------- */

/* Sets the budget and what each part of it is for; creates shelf and cache. WODAN_EBUDGET tells the least. */
int engine_plan_memory(struct wodan_db *db, uint64_t wished, struct wodan_error *error);
/* The status of an open; WODAN_EBUDGET in place of WODAN_ENOMEM when the budget was the reason. */
int engine_open_refused(struct wodan_db *db, int status, struct wodan_error *error);
/* Before a write: memory for its records, waiting for a memtable to be drained where need be, and for what they become.
 * WODAN_EPINNED, WODAN_EBUDGET, WODAN_ENOMEM. Caller holds write, which may be let go of meanwhile. */
int engine_room_in_memory(struct wodan_db *db, const struct operations *operations, struct wodan_error *error);
/* One step towards more memory for records, or why there is none. As above. */
int engine_free_tables(struct wodan_db *db, struct wodan_error *error);
/* Bytes of records that only views, cursors and pinned values hold. Caller holds write. */
uint64_t engine_pinned_memory(struct wodan_db *db);

/* ---- maintenance (maintain.c); caller holds tree, not write ------------------------------------------------------- */

/* Who waits for the tree lock longest gets it next. */
void engine_tree_enter(struct wodan_db *db);
void engine_tree_leave(struct wodan_db *db);

/* One slice of what is most urgent, about `budget` bytes. *idle: there was nothing. A failure that is not final leaves all
 * as it was. */
int engine_maintain(struct wodan_db *db, const struct tree_policy *policy, uint64_t budget, bool *idle,
                    struct wodan_error *error);
/* Structure and sweeps that are owed, with the checkpoints that free space. */
int engine_tend(struct wodan_db *db, struct wodan_error *error);
/* The frozen memtable, if there is one that is not drained, into the tree. */
int engine_drain(struct wodan_db *db, struct wodan_error *error);
/* The sweep under way, if there is one, to its end; one that fails has been given up. */
int engine_end_sweep(struct wodan_db *db, struct wodan_error *error);
/* Buffered records into leaves, as far as space goes: what is spared for deletes included, when for them. About `budget` bytes
 * of it; *idle: no more can be done. */
int engine_sweep_all(struct wodan_db *db, bool for_deletes, uint64_t budget, bool *idle, struct wodan_error *error);
/* Two checkpoints: they free everything deferred that no view holds. */
int engine_reclaim(struct wodan_db *db, struct wodan_error *error);
/* What an idle database ends with: what is deferred becomes free, what waits for its discard is due. */
int engine_rest(struct wodan_db *db, struct wodan_error *error);
/* Gives up the jobs under way. */
void engine_abandon_jobs(struct wodan_db *db);
/* Publishes a new root (takes the reference) and tells dead what the edit has dropped. With drained: its sequence. */
void engine_publish(struct wodan_db *db, struct node *root, struct tree_edit *edit, uint64_t drained);
/* Keeps the space that the headers of two checkpoints need. */
void engine_keep_room(struct wodan_db *db);

/* Records of the tree keys in [lower, upper) into leaves; neither is NULL. Takes its locks itself. budget: bytes written,
 * 0: until done; *more: work is left. */
int engine_compact(struct wodan_db *db, const struct wodan_slice *lower, const struct wodan_slice *upper,
                   uint64_t budget, bool *more, struct wodan_error *error);

/* ---- discards (discard.c); caller holds neither tree nor write ---------------------------------------------------- */

int engine_discard_begin(struct wodan_db *db, const struct wodan_open_options *options, struct wodan_error *error);
/* What is due, a few at a time; true: there may be more. */
bool engine_discard(struct wodan_db *db);
int engine_trim(struct wodan_db *db, const struct wodan_trim_options *options, struct wodan_trim_report *report,
                struct wodan_error *error);

/* ---- background (background.c) ------------------------------------------------------------------------------------ */

void engine_background_start(struct wodan_db *db);
void engine_background_stop(struct wodan_db *db);
/* There may be work. Caller holds write. */
void engine_ask(struct wodan_db *db);
/* Somebody else than the writers does the work now. Caller holds write. */
bool engine_background_goes_on(const struct wodan_db *db);
/* Waits for the background thread's next slice, but not longer than `microseconds`; without it does one of about `budget`
 * bytes. Adds what was done meanwhile to *worked. Caller holds write, which is let go of meanwhile. Returns the failure that
 * keeps the work from being done. */
int engine_await(struct wodan_db *db, uint64_t budget, uint64_t microseconds, uint64_t *worked,
                 struct wodan_error *error);

/* ---- checkpoint; caller holds tree, not write --------------------------------------------------------------------- */

/* Everything drained so far becomes the newest durable root. */
int engine_checkpoint_tree(struct wodan_db *db, struct wodan_error *error);
/* Freezes and drains both memtables first; nothing written when nothing changed. */
int engine_checkpoint_all(struct wodan_db *db, struct wodan_error *error);
/* Into the tree with both memtables, without a checkpoint where none is needed for that. */
int engine_freeze_and_drain(struct wodan_db *db, struct wodan_error *error);
/* engine_checkpoint_all behind the maintenance that is owed; takes its locks itself. *generation may be NULL. */
int engine_checkpoint(struct wodan_db *db, uint64_t *generation, struct wodan_error *error);

/* ---- the tree as it is now (fill.c) ------------------------------------------------------------------------------ */

enum { FILL_RUNS = 34, FILL_TENTHS = 10 };
struct level_fill {
  uint64_t nodes, entries, entries_least, entries_most, runs, runs_most, run_bytes, records, deletes;
  uint64_t by_runs[FILL_RUNS]; /* nodes with so many runs; the last: as many or more */
};
struct tree_fill {
  uint32_t levels;
  struct level_fill level[NODE_LEVELS_MAX];
  uint64_t leaves, leaf_bytes, leaves_by_tenths[FILL_TENTHS]; /* of leaf_size; the last: 9/10 and more */
  uint64_t leaf_blocks, run_blocks, node_blocks;              /* live */
  uint64_t deferred_blocks, waiting_blocks, free_blocks;      /* waiting: free, and to be discarded */
};
/* Figures of one moment, from memory alone. */
void engine_tree_fill(struct wodan_db *db, struct tree_fill *fill);

/* ---- open ------------------------------------------------------------------------------------------------------ */

/* What was wished, where 0 is what is usual. Unknown wishes stay unknown. */
enum compression engine_compression(uint32_t wished, enum compression usual);
int engine_format(struct wodan_device *raw, const struct wodan_format_options *options, struct wodan_error *error);
int engine_open(struct wodan_device *raw, const struct wodan_open_options *options, struct wodan_db **db,
                struct wodan_error *error);
int engine_close(struct wodan_db *db, struct wodan_error *error);
/* Recovery of a volume whose superblock is known (recovery.c): fills journal, space, node, active. */
int engine_recover(struct wodan_db *db, uint32_t flags, struct wodan_error *error);
/* Superblock of a device, from block 0 or the copy, when the volume fits on it. */
int engine_read_superblock(struct device *device, struct mem *mem, struct superblock *superblock,
                           struct wodan_error *error);

/* ---- reading --------------------------------------------------------------------------------------------------- */

struct wodan_view {
  struct wodan_db *db;
  struct wodan_view *older, *newer; /* in the list of open views */
  struct memtable *active, *frozen; /* references; frozen may be NULL */
  struct node *node;
  uint64_t sequence;
  uint64_t drained; /* last sequence contained in node */
};

/* source NULL: of now; else a view of the same moment. The view stays where it is until it is released. */
void engine_view_init(struct wodan_db *db, struct wodan_view *view, const struct wodan_view *source);
/* Lets go of all but the pin that keeps the database open: engine_unpin, when the view's memory is gone too. */
void engine_view_release(struct wodan_view *view);
void engine_unpin(struct wodan_db *db);

/* A value found: in place, held by `pin` (a cache frame) or `table` (a memtable reference); or a large one, held by `blob`.
 * Exactly one of them is set. */
struct engine_value {
  uint64_t size;
  const void *bytes; /* NULL: a large one */
  struct frame *pin;
  struct memtable *table;
  struct blob *blob;
};
/* The newest record at the view (NULL: now). */
int engine_get(struct wodan_db *db, struct wodan_view *view, struct wodan_slice key, struct engine_value *value,
               struct wodan_error *error);
void engine_value_release(struct wodan_db *db, struct engine_value *value);

/* As engine_get for several keys at one moment. status in: 0, else the key is left out; out: as engine_get's answer. count <=
 * NODE_MANY. `error` tells the last failure. */
struct engine_lookup {
  struct node_lookup in_tree; /* key in, status in and out */
  uint64_t hash;              /* of the key */
  bool asked;                 /* for its location */
  struct location location;
  struct engine_value value;
  struct memtable *table; /* on the way */
};
void engine_get_many(struct wodan_db *db, struct wodan_view *view, struct engine_lookup *lookups, size_t count,
                     struct wodan_error *error);

/* ---- lookups by location (locate.c), step by step so that several overlap their cache misses ---------------------- */

/* The tree has got new records. Caller holds state for writing, or nobody else has the database yet. */
void engine_locate_anew(struct wodan_db *db);
/* Asks for what engine_locate will touch. false: engine_locate is not worth its wait now. */
bool engine_locate_begin(struct wodan_db *db, uint64_t hash);
/* Where the newest record at a moment is, as memtable_hash of its key and `drained` tell; false: not known. */
bool engine_locate(struct wodan_db *db, uint64_t hash, uint64_t drained, struct location *location);
/* Asks for what the next two touch. */
void engine_locate_ask(const struct wodan_db *db, const struct location *location);
/* The page, pinned; NULL: it is not there any more. */
struct frame *engine_locate_page(struct wodan_db *db, const struct location *location);
/* false: the record there has another key; the frame is let go of. */
bool engine_locate_take(struct wodan_db *db, struct frame *frame, const struct location *location,
                        struct wodan_slice key, struct record *record);
/* What the tree answered: 0 and the record in a frame of it, or else. */
void engine_locate_learn(struct wodan_db *db, uint64_t hash, uint64_t drained, int status, const struct record *record,
                         const struct frame *frame);

/* ---- large values (large.c) -------------------------------------------------------------------------------------- */

/* The most bytes a value may have: a quarter page in a volume made without large values. */
uint64_t engine_value_max(const struct wodan_db *db);
/* Above it a value is a large one. */
static inline size_t engine_value_inline(const struct wodan_db *db) { return db->superblock.page_size / 4; }
/* Of a record in place: *value is the large value it names, held by its blob. WODAN_ECORRUPT. */
int engine_large_hold(struct wodan_db *db, struct wodan_slice reference, struct engine_value *value,
                      struct wodan_error *error);
/* A reader of a large value, with memory of the readers' account. WODAN_ECORRUPT, WODAN_EIO, WODAN_ENOMEM. */
int engine_large_open(struct wodan_db *db, struct wodan_slice key, const struct engine_value *value,
                      struct blob_reader *reader, struct wodan_error *error);
/* All of it in one piece, kept for the next one where there is room: pinned until values_unpin. Errors as above. */
int engine_large_pin(struct wodan_db *db, struct wodan_slice key, const struct engine_value *value,
                     struct value_buffer **buffer, struct wodan_error *error);
/* Bytes [offset, offset + size) of it, at once. */
int engine_large_read(struct wodan_db *db, struct wodan_slice key, const struct engine_value *value,
                      const struct wodan_part *part, struct wodan_error *error);

/* Begins a value of about `size` bytes, after waiting for its room. With `grows` it may become any other size. */
int engine_large_begin(struct wodan_db *db, struct blob_writer *writer, struct wodan_slice key, uint64_t size,
                       bool grows, struct wodan_error *error);
int engine_large_append(struct wodan_db *db, struct blob_writer *writer, const void *bytes, size_t size,
                        struct wodan_error *error);
/* The reference to be committed as a RECORD_BLOB, at most a quarter page at `out`; the blob is held once, until
 * engine_large_drop: one that was never committed is then free. The writer is released, on failure too. */
int engine_large_finish(struct wodan_db *db, struct blob_writer *writer, uint8_t *out, size_t *size,
                        struct wodan_error *error);
void engine_large_drop(struct wodan_db *db, struct wodan_slice reference);
/* All of it at once, of a value at hand. */
int engine_large_write(struct wodan_db *db, struct wodan_slice key, struct wodan_slice value, uint8_t *out,
                       size_t *size, struct wodan_error *error);

void engine_stats(struct wodan_db *db, struct wodan_stats *stats);
void engine_info(struct wodan_db *db, struct wodan_info *info);

#endif
