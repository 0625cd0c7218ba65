/* Owns: what a write may have to wait for: its share of maintenance, room in memory, room on the device.
 *
 * Always true:
 *  - records are admitted only while the tree could take them, the buffered runs of one way down and both memtables once more;
 *    deletes may use the reserve as well. A write is refused before anything of it changed.
 *  - a write waits in proportion to its size, slice by slice, never for all that is owed; one that finds no room on the
 *    device, for what makes it fit.
 *
 * Pacing: what is owed has to be done by the time 7/8 of the active memtable are full or the room on the device is used up, so
 * each byte put owes (bytes owed) / (bytes of room left) bytes of work. Writers may be a little ahead of maintenance; beyond, each KiB put waits for a moment,
 * whatever the background thread is at, or does a slice. So a writer is slowed down and never stopped: what a moment is too
 * short for, later commits wait for.
 *
 * See: DESIGN.md "Pacing", "Admission"; tests/unit/test_maintenance.c, test_engine_space.c. */
#include <assert.h>
#include <string.h>
#include "base/clock.h"
#include "engine/engine.h"

enum {
  SLICE_MAX = 128 << 10, /* bytes of work a writer does at a time */
  LAG_SLICES = 8,        /* slices that writers may be ahead of the background thread */
  WORK_PER_BYTE = 64,    /* bytes of work a writer does for each byte put, at most */
  PAUSE_MICROSECONDS = 500,
  PAUSE_BYTES = 1024, /* bytes put for which one pause is due, at most */
  HARD_WAIT_MICROSECONDS = 100000,
  SETTLE_BYTES = 1 << 20, /* bytes swept before a writer that found no room looks again */
  READER_TURNS = 10,      /* so often a writer waits so long for readers that hold the room it needs */
  READER_MICROSECONDS = 5000
};

/* What a write needs. */
struct demand {
  uint64_t bytes;  /* of encoded records */
  uint64_t blocks; /* of a large value that is to be written first */
  bool deletes_only;
};

static uint64_t block_bytes(const struct wodan_db *db, uint64_t blocks) { return blocks * db->io.bounds.block_size; }

/* ---- policy ----------------------------------------------------------------------------------------------------- */

/* Bytes kept back so that a full volume can still delete, sweep and checkpoint: three leaves with their share of buffer
 * and the headers on the way. */
static uint64_t reserve_bytes(const struct wodan_db *db) {
  uint64_t path = db->node->sums.header_blocks + 1;
  uint64_t most = (uint64_t)db->superblock.leaf_size / db->io.bounds.block_size + 4 * (db->node->level + 1u);
  if (path > most) path = most;
  return 3 * ((uint64_t)db->superblock.leaf_size * 3 / 2 + block_bytes(db, path + 2));
}

/* Bytes that all buffers together may hold, so that the rest is enough for what admission asks for besides: their bytes once
 * more, both memtables twice, the reserve, and what leaves, headers, rounding and a sweep under way take. */
static uint64_t buffer_room(const struct wodan_db *db) {
  const struct superblock *sb = &db->superblock;
  const struct node_sums *sums = &db->node->sums;
  uint64_t total = block_bytes(db, space_counts(db->space).total), reserve = reserve_bytes(db);
  uint64_t blocks = sums->header_blocks * 3 + sums->leaves * 3 / 2 + sums->runs;
  uint64_t besides = 4ull * sb->memtable_size + 4ull * sb->leaf_size + block_bytes(db, blocks);
  if (besides > total / 6) besides = total / 6; /* a tiny volume has no room for caution */
  uint64_t used = sums->leaf_bytes + reserve + besides;
  return total > used ? (total - used) / 2 : 0;
}

/* Buffer bytes per leaf byte, where all buffers have `room`: so that they and what a sweep writes before it frees them fit
 * beside the leaves. 2 while the leaves take less than a sixth of the volume, 1 from a quarter to a third, 1/2 at half of it,
 * 1/4 at two thirds. Room that nobody needs saves writing; above 1 with a margin, for an arrival there is worth more room. It
 * follows the leaves alone, and without steps: were buffers counted, a buffer that grows into its limit would halve that very
 * limit and have to be swept half full. */
static uint64_t alpha_for(uint64_t leaves, uint64_t room) {
  uint64_t fair = leaves >= ALPHA_ONE ? room / (leaves / ALPHA_ONE) : 2 * ALPHA_MAX;
  if (fair <= ALPHA_ONE) return fair;
  fair = fair / 4 * 3;
  return fair < ALPHA_ONE ? ALPHA_ONE : fair < ALPHA_MAX ? fair : ALPHA_MAX;
}

/* Only where all buffers together come near the room there is, alpha gives way, so that no put finds none. */
struct tree_policy engine_policy(struct wodan_db *db, uint32_t eager) {
  const struct superblock *sb = &db->superblock;
  uint64_t room = buffer_room(db), brake = room / 8 * 7, buffered = db->node->sums.run_bytes;
  uint64_t alpha = alpha_for(db->node->sums.leaf_bytes, room);
  if (buffered > brake)
    alpha -= (uint64_t)((double)alpha * 3 / 4 * (double)(buffered < room ? buffered - brake : room - brake) /
                        (double)(room - brake + 1));
  /* An idle database folds what comes to a share of the leaves it goes to, but never for less than a busy one would. */
  if (eager > 1) alpha = alpha * eager < ALPHA_ONE ? alpha * eager : ALPHA_ONE;
  /* An inner node passes on what it holds before that is freed; and no node's floor may eat up what is left. */
  uint64_t inner = (uint64_t)RUNS_INNER * sb->memtable_size, least = room / (2 * db->node->sums.nodes);
  return (struct tree_policy){.memtable_size = least < sb->memtable_size ? least : sb->memtable_size,
                              .leaf_size = sb->leaf_size,
                              .inner_limit = inner < room / 2 ? inner : room / 2,
                              .alpha = (uint32_t)alpha,
                              .node_leaves = sb->node_leaves,
                              .node_children = sb->node_children,
                              .eager = eager,
                              .damaged = db->damaged,
                              .damaged_count = atomic_load(&db->damaged_count)};
}

/* ---- room on the device ----------------------------------------------------------------------------------------- */

/* Blocks that a few deletes take as a run, a leaf, and a second root. What can wait leaves room for them, so that a full
 * volume can still take deletes and be swept; an open view may hold everything a sweep replaces. */
static uint64_t spare_for_deletes(const struct wodan_db *db) {
  return 1 + run_size_bound(&db->env, 4, 2ull * db->env.page_size, true) / db->io.bounds.block_size;
}

static uint64_t small_leaf_blocks(const struct wodan_db *db) {
  return 4ull * db->superblock.page_size * 3 / 2 / db->io.bounds.block_size + 1;
}

static uint64_t spare_for_writes(const struct wodan_db *db) {
  uint64_t leaf = (uint64_t)db->superblock.leaf_size * 3 / 2 / db->io.bounds.block_size + 1;
  return spare_for_deletes(db) + leaf;
}

/* Blocks of the runs that the memtables become, with `bytes` more. */
static uint64_t drain_blocks(const struct wodan_db *db, uint64_t bytes) {
  const struct memtable *active = db->active.table, *frozen = db->frozen_drained ? NULL : db->frozen.table;
  uint64_t more = bytes ? bytes / record_encoded_size(TABLE_ID_SIZE + 1, 0) + 1 : 0, need = 0;
  uint64_t records = memtable_count(active) + more;
  if (records) need = run_size_bound(&db->env, records, memtable_bytes(active) + bytes, true);
  if (frozen) need += run_size_bound(&db->env, memtable_count(frozen), memtable_bytes(frozen), true);
  return need / db->io.bounds.block_size + (need ? 2 : 0);
}

static uint64_t piece_blocks(const struct wodan_db *db) {
  return run_pieces_least(&db->env) / db->io.bounds.block_size + 1;
}

uint64_t engine_spare_blocks(const struct wodan_db *db) { return spare_for_deletes(db); }

void engine_promise(struct wodan_db *db) { space_promise(db->space, drain_blocks(db, 0), piece_blocks(db), 0); }

/* Bytes that leaves may grow by in a sweep beyond the records that come: each by a block, where it is split or no longer
 * ends where a block does. */
static uint64_t sweep_growth(const struct wodan_db *db) {
  uint64_t leaves = db->node->sums.leaves + 1, records = memtable_count(db->active.table) + 1;
  if (db->frozen.table && !db->frozen_drained) records += memtable_count(db->frozen.table);
  return block_bytes(db, db->node->sums.runs || records > leaves ? leaves : records);
}

/* Blocks that puts leave for headers besides the reserve, so that deletes still go down through all levels of a full volume:
 * once more for each level whose nodes change on the way. */
static uint64_t blocks_for_headers(const struct wodan_db *db) { return db->node->level * db->node->sums.header_blocks; }

/* Bytes of records that memtables may hold in all (a byte is on the device once per level before the first copy goes, and
 * twice more while leaves are merged), given what is free or will be after two checkpoints. Nodes are swept one after the
 * other, so what leaves grow by before runs are freed is the runs of one way down, not of all. */
static uint64_t admissible(struct wodan_db *db, const struct demand *demand) {
  struct space_counts space = space_counts(db->space);
  bool deletes_only = demand->deletes_only;
  uint64_t blocks = space.free + space.deferred, kept = deletes_only ? 0 : blocks_for_headers(db);
  kept += demand->blocks;
  uint64_t room = blocks > kept ? block_bytes(db, blocks - kept) : 0;
  uint64_t buffered = db->node->sums.run_path + sweep_growth(db);
  uint64_t reserve = deletes_only ? reserve_bytes(db) / 3 : reserve_bytes(db);
  if (deletes_only) buffered = 0;
  return room > buffered + reserve ? (room - buffered - reserve) / (2 + db->node->level) : 0;
}

/* Of a large volume a quarter is free, of any volume there is as much as puts leave for deletes and one memtable besides. */
bool engine_room_is_short(struct wodan_db *db) {
  enum { SHORT_SHARE = 4 };
  const struct demand puts = {0};
  struct space_counts space = space_counts(db->space);
  lock_acquire(&db->write);
  uint64_t room = admissible(db, &puts);
  lock_leave(&db->write);
  return space.free + space.deferred < space.total / SHORT_SHARE || room < db->superblock.memtable_size;
}

static uint64_t held_bytes(const struct wodan_db *db) {
  uint64_t bytes = memtable_bytes(db->active.table);
  return db->frozen.table && !db->frozen_drained ? bytes + memtable_bytes(db->frozen.table) : bytes;
}

/* The memtables, with `bytes` more, must fit as runs into what is free right now: deferred blocks do not count, for while a
 * memtable holds journaled records the ring may have no room for the checkpoints that would free them. */
static bool fits_within(struct wodan_db *db, uint64_t admissible, const struct demand *demand) {
  if (held_bytes(db) + demand->bytes > admissible) return false;
  uint64_t spare = demand->deletes_only ? small_leaf_blocks(db) : spare_for_writes(db) + demand->blocks;
  return space_promise(db->space, drain_blocks(db, demand->bytes), piece_blocks(db), spare);
}

static bool fits(struct wodan_db *db, const struct demand *demand) {
  return fits_within(db, admissible(db, demand), demand);
}

/* ---- refusals --------------------------------------------------------------------------------------------------- */

bool engine_oldest_view(struct wodan_db *db, uint64_t *sequence) {
  lock_acquire(&db->views_lock);
  bool open = db->oldest_view != NULL;
  if (open) *sequence = db->oldest_view->sequence;
  lock_leave(&db->views_lock);
  return open;
}

static int no_space(struct wodan_db *db, const struct demand *demand, struct wodan_error *error) {
  uint64_t bytes = demand->bytes + block_bytes(db, demand->blocks);
  struct space_counts space = space_counts(db->space);
  uint64_t pinned = atomic_load(&db->pinned_blocks), sequence;
  if (pinned && engine_oldest_view(db, &sequence))
    return status_set(error, WODAN_EPINNED, 0, WODAN_NO_BLOCK,
                      "%llu bytes more do not fit: open views hold %llu blocks; the oldest view is of sequence %llu",
                      (unsigned long long)bytes, (unsigned long long)pinned, (unsigned long long)sequence);
  const char *advice = atomic_load(&db->damaged_count)
                           ? "some leaves cannot be read, which holds room: wodan-fsck tells which"
                           : "delete records or use a larger volume";
  return status_set(error, WODAN_ENOSPC, 0, WODAN_NO_BLOCK,
                    "the volume is full: %llu bytes more do not fit (%llu of %llu blocks free); %s",
                    (unsigned long long)bytes, (unsigned long long)space.free, (unsigned long long)space.total, advice);
}

/* Changes whenever there is a reason to try again. */
static uint64_t full_mark(const struct wodan_db *db) {
  uint64_t pinned = atomic_load(&db->pinned_blocks), sequence = atomic_load(&db->sequence) + 1;
  uint64_t moved = atomic_load(&db->worked) + db->checkpoint_generation;
  return (moved * 31 + pinned) * UINT64_C(0x9E3779B97F4A7C15) + sequence;
}

/* All was tried for as much already, and nothing changed since. */
static bool known_full(const struct wodan_db *db, const struct demand *demand) {
  if (demand->blocks) return db->full_at[2] == full_mark(db) && demand->blocks >= db->full_blocks;
  return db->full_at[demand->deletes_only] == full_mark(db);
}

static void note_full(struct wodan_db *db, const struct demand *demand) {
  db->full_at[demand->blocks ? 2 : demand->deletes_only] = full_mark(db);
  if (demand->blocks) db->full_blocks = demand->blocks;
}

/* The same, but without what is kept for deletes. */
static struct demand as_puts(const struct demand *demand) {
  struct demand puts = *demand;
  puts.deletes_only = false;
  return puts;
}

/* Whether it fits now. Caller does not hold write. */
static bool fits_now(struct wodan_db *db, const struct demand *demand) {
  lock_acquire(&db->write);
  bool room = fits(db, demand);
  lock_leave(&db->write);
  return room;
}

/* What keeps sweeps from going on, no room for a leaf or one damaged leaf, is no reason to refuse a write. */
static int unless_final(struct wodan_db *db, int status, bool *idle) {
  if (status == 0 || status == WODAN_ENOMEM || engine_failed(db)) return status;
  *idle = true;
  return 0;
}

/* What is due, slice by slice, until it fits or nothing is due any more. */
static int settle_due(struct wodan_db *db, const struct demand *demand, bool *room, struct wodan_error *error) {
  const struct demand puts = as_puts(demand);
  bool idle = false;
  int status = 0;
  while (status == 0 && !idle && !(*room = fits_now(db, &puts))) {
    struct tree_policy policy = engine_policy(db, 1);
    status = unless_final(db, engine_maintain(db, &policy, SLICE_MAX, &idle, error), &idle);
  }
  return status;
}

/* Into the tree with both memtables, and what is deferred becomes free. */
static int drain_and_reclaim(struct wodan_db *db, struct wodan_error *error) {
  int status = engine_checkpoint_all(db, error);
  return status == 0 ? engine_reclaim(db, error) : status;
}

/* Whatever is buffered, a part at a time, until it fits or nothing is left. Only then deletes may take what is kept for
 * them: they are swept while there is still room for that. Leaves that could not be read are tried once more: what was
 * read wrong once does not make a volume full. */
static int settle_all(struct wodan_db *db, const struct demand *demand, bool *room, struct wodan_error *error) {
  const struct demand puts = as_puts(demand);
  bool idle = false;
  int status = 0;
  engine_abandon_jobs(db);
  atomic_store(&db->damaged_count, 0);
  while (status == 0 && !idle && !(*room = fits_now(db, &puts)))
    status = unless_final(db, engine_sweep_all(db, demand->deletes_only, SETTLE_BYTES, &idle, error), &idle);
  if (status < 0 || *room) return status;
  status = drain_and_reclaim(db, error);
  if (status == 0) *room = fits_now(db, demand);
  return status;
}

/* Makes room for `bytes`, doing no more for it than is needed. Caller holds tree. */
static int settle(struct wodan_db *db, const struct demand *demand, bool *room, struct wodan_error *error) {
  int status = settle_due(db, demand, room, error);
  if (status < 0 || *room) return status;
  status = drain_and_reclaim(db, error);
  return status < 0 ? status : settle_all(db, demand, room, error);
}

int engine_settle_when_short(struct wodan_db *db, struct wodan_error *error) {
  const struct demand demand = {.bytes =
                                    record_encoded_size(db->superblock.page_size / 8, db->superblock.page_size / 4)};
  lock_acquire(&db->write);
  bool idle, room = fits(db, &demand) || db->full_at[0] == full_mark(db);
  lock_leave(&db->write);
  int status = room ? 0 : settle(db, &demand, &room, error);
  if (status == 0 && room) status = unless_final(db, engine_end_sweep(db, error), &idle);
  lock_acquire(&db->write);
  if (!room && status == 0) db->full_at[0] = full_mark(db);
  lock_leave(&db->write);
  return status;
}

static int settle_once(struct wodan_db *db, const struct demand *demand, bool *room, struct wodan_error *error) {
  lock_leave(&db->write);
  engine_tree_enter(db);
  int status = settle(db, demand, room, error);
  engine_tree_leave(db);
  lock_acquire(&db->write);
  return status == WODAN_ENOSPC && !engine_failed(db) ? 0 : status;
}

/* Blocks that no view holds, but somebody in the middle of a read: they come back within a moment. */
static bool readers_hold_blocks(struct wodan_db *db) {
  uint64_t sequence;
  return atomic_load(&db->pinned_blocks) && !engine_oldest_view(db, &sequence);
}

/* Adds what it did to *worked. Caller holds write, which is let go of meanwhile. */
static int find_room(struct wodan_db *db, const struct demand *demand, uint64_t *worked, struct wodan_error *error) {
  bool room = false;
  uint64_t before = atomic_load(&db->worked);
  if (known_full(db, demand)) return no_space(db, demand, error);
  if (db->no_auto_checkpoint && !demand->deletes_only)
    return status_set(error, WODAN_ENEEDSFLUSH, 0, WODAN_NO_BLOCK,
                      "%llu bytes more do not fit before a checkpoint: call wodan_checkpoint and try again",
                      (unsigned long long)(demand->bytes + block_bytes(db, demand->blocks)));
  int status = settle_once(db, demand, &room, error);
  for (int turn = 0; status == 0 && !room && readers_hold_blocks(db) && turn < READER_TURNS; turn++) {
    condition_wait_for(&db->progress, &db->write, READER_MICROSECONDS);
    status = settle_once(db, demand, &room, error);
  }
  *worked += atomic_load(&db->worked) - before;
  if (status < 0) return status;
  if (!room) note_full(db, demand);
  return room ? 0 : no_space(db, demand, error);
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

/* A record of a large value goes with its memtable. */
static void drop_blob(void *context, const struct record *record) { engine_large_drop(context, record->value); }

struct memtable *engine_new_table(struct wodan_db *db) {
  struct memtable *table = memtable_create_within(&db->mem, &db->tables_mem, NULL);
  if (!table) return NULL;
  memtable_expect(table, db->superblock.memtable_size);
  memtable_on_release(table, drop_blob, db);
  return table;
}

int engine_freeze(struct wodan_db *db, struct wodan_error *error) {
  assert(!db->frozen.table);
  struct memtable *fresh = engine_new_table(db);
  if (!fresh) return status_nomem(error);
  striped_write(&db->state);
  db->frozen = db->active;
  memset(&db->active, 0, sizeof db->active);
  db->active.table = fresh;
  striped_write_leave(&db->state);
  db->frozen_drained = false;
  atomic_fetch_add_explicit(&db->owed, memtable_bytes(db->frozen.table), memory_order_relaxed);
  return 0;
}

/* What a writer does at a time, in proportion to the volume: a tiny one has no MiB to do. */
static uint64_t slice_bytes(const struct wodan_db *db) {
  uint64_t slice = db->superblock.memtable_size / 4;
  return slice < SLICE_MAX ? slice : SLICE_MAX;
}

/* The memtable names as many blocks of large values as it may, for those it names no more give no space before it is drained: a
 * share of the volume, and a larger one of what is free. */
static bool blobs_fill(const struct wodan_db *db) {
  enum { TABLE_SHARE = 16, FREE_SHARE = 4 };
  uint64_t blocks = db->active.blob_blocks;
  return blocks > (db->io.bounds.data_end - db->io.bounds.data_first) / TABLE_SHARE &&
         blocks > space_counts(db->space).free / FREE_SHARE;
}

static bool memtable_full(const struct wodan_db *db, uint64_t bytes) {
  const struct memtable *active = db->active.table;
  if (memtable_count(active) == 0) return false;
  return memtable_bytes(active) + bytes > db->superblock.memtable_size || blobs_fill(db);
}

/* The frozen memtable is still on its way although the active one is full: waits for it, slice by slice. */
int engine_wait_for_memtable(struct wodan_db *db, uint64_t *worked, struct wodan_error *error) {
  int status = engine_await(db, slice_bytes(db), HARD_WAIT_MICROSECONDS, worked, error);
  if (engine_failed(db)) return engine_writable(db, error);
  if (status == 0 || !db->frozen.table) return 0;
  /* Something else than this memtable stopped the maintenance. */
  lock_leave(&db->write);
  engine_tree_enter(db);
  status = engine_drain(db, error);
  if (status == 0) status = engine_checkpoint_tree(db, error);
  if (status == WODAN_ENOSPC && !engine_failed(db)) status = engine_checkpoint_all(db, error);
  engine_tree_leave(db);
  lock_acquire(&db->write);
  return status;
}

/* ---- pacing ----------------------------------------------------------------------------------------------------- */

/* What the active memtable may hold before all that is owed should be done. */
static uint64_t target_bytes(const struct wodan_db *db) { return db->superblock.memtable_size / 8 * 7; }

/* How far writers may be ahead. */
static uint64_t lag_max(const struct wodan_db *db) {
  return slice_bytes(db) * (engine_background_goes_on(db) ? LAG_SLICES : 1);
}

/* The commit's share of what is owed is added to what writers are ahead: all of it is to be done before the active memtable
 * is full, or the room on the device is used up. Nobody is ahead by more than all of it and what is allowed. */
static void take_share(struct wodan_db *db, uint64_t bytes, uint64_t room_on_device) {
  uint64_t owed = atomic_load_explicit(&db->owed, memory_order_relaxed);
  uint64_t target = target_bytes(db), held = memtable_bytes(db->active.table);
  uint64_t least = db->superblock.memtable_size / 64 + 1, room = target > held + least ? target - held : least;
  if (room > room_on_device) room = room_on_device > least ? room_on_device : least;
  uint64_t share = (uint64_t)((double)owed * (double)bytes / (double)room);
  db->lag += share;
  if (db->lag > owed + 2 * lag_max(db)) db->lag = owed + 2 * lag_max(db);
}

/* Writers are too far ahead; near the end of the active memtable, as long as there is a frozen one. */
static bool late(const struct wodan_db *db) {
  if (db->lag > lag_max(db)) return true;
  return db->frozen.table && memtable_bytes(db->active.table) > target_bytes(db);
}

/* Does or awaits work until writers are no longer too far ahead, but in proportion to the commit: a slice and WORK_PER_BYTE,
 * or a pause for each KiB. What keeps maintenance from going on is no reason to refuse a write: admission is. */
static void pay(struct wodan_db *db, uint64_t bytes, uint64_t *worked) {
  struct wodan_error unasked;
  uint64_t slice = slice_bytes(db), most = slice + bytes * WORK_PER_BYTE, pauses = 1 + bytes / PAUSE_BYTES;
  for (uint64_t turns = 16 + most / slice; late(db) && turns > 0; turns--) { /* a turn need not move a byte */
    bool waits = engine_background_goes_on(db);
    if (waits ? pauses-- == 0 : *worked >= most) return;
    if (engine_await(db, slice, PAUSE_MICROSECONDS, worked, &unasked) < 0) return;
  }
}

static void note_delay(struct wodan_db *db, uint64_t nanoseconds, uint64_t worked) {
  count(&db->counters.put_delays[clock_delay_bucket(nanoseconds)], 1);
  if (nanoseconds > atomic_load(&db->counters.put_delay_max)) atomic_store(&db->counters.put_delay_max, nanoseconds);
  if (worked > atomic_load(&db->counters.put_work_max)) atomic_store(&db->counters.put_work_max, worked);
}

/* Something has to be waited for. Caller holds write. */
static int make_room_slowly(struct wodan_db *db, const struct demand *demand, uint64_t *worked,
                            struct wodan_error *error) {
  int status = 0;
  while (status == 0) {
    if (memtable_full(db, demand->bytes)) {
      bool wait = db->frozen.table || db->releasing;
      status = wait ? engine_wait_for_memtable(db, worked, error) : engine_freeze(db, error);
      if (status == 0) engine_ask(db);
      continue;
    }
    if (fits(db, demand)) break;
    status = find_room(db, demand, worked, error);
  }
  return status;
}

int engine_make_room(struct wodan_db *db, uint64_t bytes, bool deletes_only, struct wodan_error *error) {
  const struct demand demand = {.bytes = bytes, .deletes_only = deletes_only};
  uint64_t worked = 0, most = admissible(db, &demand), held = held_bytes(db);
  take_share(db, bytes, most > held ? most - held : 0);
  bool behind = late(db);
  if (!behind && !memtable_full(db, bytes) && fits_within(db, most, &demand)) {
    count(&db->counters.put_delays[0], 1);
    return 0;
  }
  uint64_t start = clock_now(&db->hooks);
  if (behind) pay(db, bytes, &worked);
  int status = make_room_slowly(db, &demand, &worked, error);
  note_delay(db, clock_now(&db->hooks) - start, worked);
  return status;
}

int engine_room_for_blob(struct wodan_db *db, uint64_t blocks, struct wodan_error *error) {
  enum { RECORDS = 1 };
  const struct demand demand = {
      .bytes = RECORDS * record_encoded_size(db->superblock.page_size / 8, engine_value_inline(db)), .blocks = blocks};
  uint64_t worked = 0;
  if (blocks > db->io.bounds.data_end - db->io.bounds.data_first) return no_space(db, &demand, error);
  return make_room_slowly(db, &demand, &worked, error);
}

uint64_t engine_spare_for_writes(const struct wodan_db *db) { return spare_for_writes(db); }
