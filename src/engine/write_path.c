/* Owns: commits, the pending list, and group commit.
 *
 * Always true:
 *  - a commit is all in the active memtable or not at all: room is reserved before the first insert.
 *  - pending = records newer than the last journaled one and than the last durable checkpoint, in commit order; one
 *    journal record holds all of it, so what survives a crash is a prefix of whole batches.
 *  - after the first failed write or flush nothing more is written in this epoch.
 *
 * Order: large values, journal record that names them, flush, then `durable` moves. Between the first two a barrier, unless they
 * are few bytes: then the record is marked, and a mount proves what it names. While the flush runs the write lock is free, so
 * others commit and wait, and the next flush takes all of theirs together.
 *
 * See: DESIGN.md "A commit", tests/unit/test_engine_kv.c and its siblings, tests/crash/. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "engine/engine.h"

int engine_fail(struct wodan_db *db, int status, const struct wodan_error *cause) {
  lock_acquire(&db->error_lock);
  bool first = !engine_failed(db);
  if (first) {
    db->first_failure = *cause;
    db->first_failure.code = status;
    atomic_store(&db->failed, status);
  }
  lock_leave(&db->error_lock);
  if (first)
    engine_log(db, WODAN_LOG_WARNING, "a write failed, the database only reads from now on: %s", cause->message);
  return status == WODAN_ENOSPC ? WODAN_EFAILED : status;
}

int engine_writable(struct wodan_db *db, struct wodan_error *error) {
  if (db->read_only)
    return status_set(error, WODAN_EREADONLY, 0, WODAN_NO_BLOCK, "the database is open for reading only");
  if (!engine_failed(db)) return 0;
  lock_acquire(&db->error_lock);
  struct wodan_error cause = db->first_failure;
  lock_leave(&db->error_lock);
  return status_set(error, WODAN_EFAILED, cause.device_errno, cause.block,
                    "an earlier write failed, so this handle only reads: %.180s", cause.message);
}

void engine_log(struct wodan_db *db, int level, const char *format, ...) {
  if (!db->hooks.log) return;
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  db->hooks.log(db->hooks.context, level, line);
}

bool operations_next(const struct operations *operations, size_t *at, struct record *record) {
  if (*at == operations->size) return false;
  const uint8_t *p = operations->bytes + *at;
  size_t key_size = load_u32(p + 1), value_size = load_u32(p + 5);
  assert(operations->size - *at >= OPERATION_HEADER + key_size + value_size);
  record->kind = p[0];
  record->key = (struct wodan_slice){p + OPERATION_HEADER, key_size};
  record->value = (struct wodan_slice){p + OPERATION_HEADER + key_size, value_size};
  *at += OPERATION_HEADER + key_size + value_size;
  return true;
}

uint64_t engine_batch_max(const struct wodan_db *db) { return db->superblock.memtable_size / 2; }

/* The memtable's record names a blob, which whoever commits it still holds. */
static void name_blob(struct wodan_db *db, const struct record *record) {
  struct blob_ref ref;
  bool ours = blob_ref_decode(record->value.data, record->value.size, &db->io.bounds, &ref);
  struct blob *blob = ours ? blobs_name(db->blobs, &ref.ptr) : NULL;
  assert(blob);
  (void)blob;
  db->active.pending_blobs += blob_unproven_size(&ref);
  db->active.blob_blocks += block_ptr_blocks(&ref.ptr);
}

/* Nothing in the range is visible from its sequence on: cursors need not step over what is still in memory. */
static void gap_from(struct wodan_db *db, const struct record *record) {
  struct gap_range range = {.lower = record->key, .upper = record->value};
  gaps_add(db->gaps, &range, record->sequence, false);
}

/* What else is known of the active memtable's records; returns how many are puts. */
static uint64_t note_all(struct wodan_db *db, const struct record *records, size_t count) {
  struct table_slot *slot = &db->active;
  uint64_t puts = 0;
  if (slot->pending_count == 0) slot->pending_first = records->sequence;
  slot->pending_count += count;
  for (const struct record *record = records; record < records + count; record++) {
    slot->pending_bytes += journal_operation_size(record->key.size, record->value.size);
    if (record->kind == RECORD_BLOB) name_blob(db, record);
    if (record->kind == RECORD_DELETE_RANGE) gap_from(db, record);
    if (record->kind != RECORD_PUT && record->kind != RECORD_BLOB) continue;
    gaps_put(db->gaps, record->key); /* no view can have this sequence yet */
    puts++;
  }
  return puts;
}

/* Caller holds write and state exclusively; the memtable has room. */
static void insert_all(struct wodan_db *db, const struct operations *operations) {
  enum { TOGETHER = 8 };
  struct record records[TOGETHER];
  uint64_t sequence = atomic_load_explicit(&db->sequence, memory_order_relaxed), puts = 0;
  for (size_t at = 0, taken = 1; taken > 0;) {
    for (taken = 0; taken < TOGETHER && operations_next(operations, &at, &records[taken]); taken++)
      records[taken].sequence = ++sequence;
    memtable_insert_many(db->active.table, records, taken);
    if (taken) puts += note_all(db, records, taken);
  }
  atomic_store_explicit(&db->sequence, sequence, memory_order_release);
  count(&db->counters.puts, puts);
  count(&db->counters.deletes, operations->count - operations->ranges - puts);
  count(&db->counters.range_deletes, operations->ranges);
}

/* Everything into the tree and durable. Caller holds write, which is let go of meanwhile. */
static int checkpoint_all(struct wodan_db *db, struct wodan_error *error) {
  lock_leave(&db->write);
  engine_tree_enter(db);
  int status = engine_checkpoint_all(db, error);
  engine_tree_leave(db);
  lock_acquire(&db->write);
  return status;
}

enum { RECORD_HEADER = 16 };

/* Asked before a durable commit changes anything: the journal can take what is pending and these operations, else a
 * checkpoint empties it. So no lack of memory or space can come between the insert and the journal record. */
static bool journal_has_room(const struct wodan_db *db, const struct operations *operations) {
  uint64_t payload = RECORD_HEADER + db->frozen.pending_bytes + db->active.pending_bytes + operations->size;
  return journal_room(&db->journal, journal_record_blocks(&db->journal, payload));
}

/* *again: the memtables have no memory left for it, and nothing happened. */
static int insert(struct wodan_db *db, const struct operations *operations, bool *again, struct wodan_error *error) {
  uint64_t refused = mem_refused(&db->tables_mem);
  striped_write(&db->state);
  int status = memtable_reserve(db->active.table, operations->count, operations->payload, error);
  if (status == 0) status = memtable_reserve_ranges(db->active.table, operations->ranges, error);
  if (status == 0) insert_all(db, operations);
  striped_write_leave(&db->state);
  *again = status == WODAN_ENOMEM && mem_refused(&db->tables_mem) != refused;
  return status;
}

static int prepare(struct wodan_db *db, const struct operations *operations, bool durable, struct wodan_error *error) {
  int status = 0;
  for (int attempt = 0; status == 0; attempt++) { /* both may let others in, so the journal's room is looked at last */
    status = engine_writable(db, error);
    if (status == 0) status = engine_room_in_memory(db, operations, error);
    if (status == 0) status = engine_make_room(db, operations->encoded, operations->deletes_only, error);
    if (status < 0 || !durable || attempt == 1 || journal_has_room(db, operations)) break;
    status = checkpoint_all(db, error);
  }
  return status;
}

static int apply_locked(struct wodan_db *db, const struct operations *operations, bool durable,
                        struct wodan_error *error) {
  for (;;) {
    bool again;
    int status = prepare(db, operations, durable, error);
    if (status == 0)
      status = insert(db, operations, &again, error);
    else
      return status;
    if (again) status = engine_free_tables(db, error);
    if (status < 0 || !again) return status;
  }
}

int engine_commit(struct wodan_db *db, const struct operations *operations, struct wodan_commit *commit,
                  struct wodan_error *error) {
  bool durable = commit && commit->durability == WODAN_DURABLE;
  if (commit) {
    commit->reached = WODAN_BUFFERED;
    commit->sequence = 0;
  }
  if (operations->encoded > engine_batch_max(db))
    return status_set(error, WODAN_ETOOBIG, 0, WODAN_NO_BLOCK, "the batch has %llu bytes, %llu are allowed",
                      (unsigned long long)operations->encoded, (unsigned long long)engine_batch_max(db));
  lock_acquire(&db->write);
  int status = operations->count ? apply_locked(db, operations, durable, error) : engine_writable(db, error);
  uint64_t sequence = atomic_load_explicit(&db->sequence, memory_order_relaxed);
  if (status == 0) {
    if (operations->count) {
      count(&db->counters.batches, 1);
      count(&db->counters.user_bytes_written, operations->user_bytes);
      if (commit) commit->sequence = sequence;
    }
    if (durable) status = engine_sync_to(db, sequence, error);
    if (durable && status == 0) commit->reached = WODAN_DURABLE;
  }
  lock_leave(&db->write);
  return status;
}

/* ---- journal -------------------------------------------------------------------------------------------------- */

void engine_wait_sync(struct wodan_db *db) {
  while (db->sync_running) condition_wait(&db->synced, &db->write);
}

static int journal_slot(struct wodan_db *db, struct table_slot *slot, uint64_t block, struct wodan_error *error) {
  if (!slot->table || slot->pending_count == 0) return 0;
  struct record record;
  int status = 0;
  while (status == 0 && memtable_walk(slot->table, &slot->walk, &record)) {
    uint8_t header[1 + 10];
    struct wire_writer w = wire_writer(header, sizeof header);
    wire_put_u8(&w, record.kind);
    wire_put_varint(&w, record.key.size);
    status = memtable_prove(&record, error);
    if (status == 0) status = journal_record_put(&db->journal, header, w.at, error);
    if (status == 0) status = journal_record_put(&db->journal, record.key.data, record.key.size, error);
    w = wire_writer(header, sizeof header);
    wire_put_varint(&w, record.value.size);
    if (status == 0) status = journal_record_put(&db->journal, header, w.at, error);
    if (status == 0 && record.value.size)
      status = journal_record_put(&db->journal, record.value.data, record.value.size, error);
    db->journaled = record.sequence;
  }
  slot->pending_count = slot->pending_bytes = slot->pending_blobs = 0;
  if (slot->first_block == 0) slot->first_block = block;
  return status;
}

/* Everything pending as one record; not flushed. One flush makes it durable together with its large values, if they are not too
 * many for a mount to prove them: no barrier then. */
static int journal_pending(struct wodan_db *db, uint64_t payload, struct wodan_error *error) {
  uint64_t first = db->frozen.pending_count ? db->frozen.pending_first : db->active.pending_first;
  uint64_t last = atomic_load_explicit(&db->sequence, memory_order_relaxed), block = db->journal.head;
  uint8_t header[RECORD_HEADER];
  store_u64(header, first);
  store_u64(header + 8, last);
  atomic_store(&db->wrote, true);
  uint64_t blobs = db->frozen.pending_blobs + db->active.pending_blobs;
  bool unproven = blobs > 0 && blobs <= blob_unproven_max(db->superblock.page_size);
  int status = blobs > 0 && !unproven ? device_barrier(&db->device, error) : 0;
  if (status == 0) status = journal_record_begin(&db->journal, payload, unproven, error);
  if (status == 0) status = journal_record_put(&db->journal, header, sizeof header, error);
  if (status == 0) status = journal_slot(db, &db->frozen, block, error);
  if (status == 0) status = journal_slot(db, &db->active, block, error);
  if (status == 0) status = journal_record_end(&db->journal, error);
  assert(status < 0 || db->journaled == last);
  return status;
}

/* Flushes with the write lock free. */
static int flush_journal(struct wodan_db *db, struct wodan_error *error) {
  uint64_t covered = db->journaled;
  db->sync_running = true;
  lock_leave(&db->write);
  int status = device_flush(&db->device, error);
  lock_acquire(&db->write);
  db->sync_running = false;
  if (status < 0) {
    status = engine_fail(db, status, error);
  } else {
    journal_flushed(&db->journal);
    if (covered > db->durable) db->durable = covered;
  }
  condition_wake_all(&db->synced);
  return status;
}

int engine_sync_to(struct wodan_db *db, uint64_t sequence, struct wodan_error *error) {
  struct wodan_error unasked;
  bool short_of = false; /* of memory or space for a checkpoint: into the journal, while it has room */
  if (!error) error = &unasked;
  for (;;) {
    /* Not engine_wait_sync: who is covered goes at once, else those who start the next flush keep it waiting. */
    while (db->sync_running && db->durable < sequence) condition_wait(&db->synced, &db->write);
    if (db->durable >= sequence) break;
    int status = engine_writable(db, error);
    if (status < 0) return status;
    uint64_t payload = RECORD_HEADER + db->frozen.pending_bytes + db->active.pending_bytes;
    uint64_t blocks = journal_record_blocks(&db->journal, payload);
    bool room = journal_room(&db->journal, blocks);
    if (!room || (blocks > db->journal.blocks / 4 && !short_of)) {
      status = checkpoint_all(db, error);
      short_of = room && !engine_failed(db) && (status == WODAN_ENOMEM || status == WODAN_ENOSPC);
      if (short_of) status = 0;
    } else {
      status = journal_pending(db, payload, error);
      if (status < 0)
        status = engine_fail(db, status, error);
      else
        status = flush_journal(db, error);
    }
    if (status < 0) return status;
  }
  if (!db->device.raw->geometry.durable)
    return status_set(error, WODAN_ENOTDURABLE, 0, WODAN_NO_BLOCK,
                      "the device does not keep flushed data over a power cut");
  return 0;
}

int engine_sync(struct wodan_db *db, struct wodan_error *error) {
  lock_acquire(&db->write);
  count(&db->counters.syncs, 1);
  int status = engine_writable(db, error);
  if (status == 0) status = engine_sync_to(db, atomic_load(&db->sequence), error);
  lock_leave(&db->write);
  return status;
}
