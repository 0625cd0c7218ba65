/* Owns: reading the ring: bisection, the walk along the chain, crash tail or corruption, older roots, replay.
 *
 * Always true: reads only; a block counts only when checksum, fsid and sequence are right and it lies at its position;
 * a record counts only with all its fragments; blocks of format's empty lap are never part of the chain. A block that
 * cannot be read (twice) counts as invalid: a torn sector may be unreadable after a power cut.
 *
 * Order: start (rule 11) -> walk (12) -> evidence (13) -> proof of the newest record (17) -> previous root (14); all of it is in
 * FORMAT.md, "Protocol", and the traces that break without a rule are tests/crash/test_protocol.c.
 *
 * See: tests/unit/test_journal.c. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "codec/checksum.h"
#include "journal/journal.h"

/* A window of consecutive ring positions held in the journal's buffer. */
struct ring_reader {
  struct journal *journal;
  uint64_t first; /* position of the first block in the buffer */
  uint32_t count; /* blocks in it */
};

struct ring_block {
  struct journal_block block;
  const uint8_t *payload; /* in the reader's buffer, until the next read */
};

static struct ring_reader ring_reader(struct journal *journal) {
  return (struct ring_reader){.journal = journal, .first = 0, .count = 0};
}

/* Positions that the device has: a superblock may tell a ring that it does not end in. */
static uint64_t ring_there(const struct journal *j) {
  uint64_t size = j->device->raw->geometry.size, there = size < j->offset ? 0 : (size - j->offset) / j->block_size;
  return j->blocks < there ? j->blocks : there;
}

/* The raw bytes of a position, reading `ahead` blocks at once; NULL when unreadable. */
static const uint8_t *ring_raw(struct ring_reader *reader, uint64_t position, uint32_t ahead) {
  struct journal *j = reader->journal;
  if (position < reader->first || position - reader->first >= reader->count) {
    uint64_t count = ahead < j->buffered_max ? ahead : j->buffered_max;
    if (count > j->blocks - position) count = j->blocks - position;
    uint64_t offset = j->offset + position * j->block_size;
    reader->count = 0;
    int status = device_read(j->device, offset, j->buffer, (size_t)count * j->block_size, NULL);
    if (status < 0) {
      count = 1;
      status = device_read(j->device, offset, j->buffer, j->block_size, NULL);
    }
    if (status < 0) status = device_read(j->device, offset, j->buffer, j->block_size, NULL);
    if (status < 0) return NULL;
    reader->first = position;
    reader->count = (uint32_t)count;
  }
  return j->buffer + (size_t)(position - reader->first) * j->block_size;
}

static bool ring_decode(struct ring_reader *reader, const uint8_t *raw, uint64_t position, struct ring_block *out) {
  struct journal *j = reader->journal;
  return raw && journal_block_decode(raw, j->block_size, j->seed, j->fsid, &out->block, &out->payload) &&
         out->block.sequence % j->blocks == position; /* guard: bounds */
}

/* The valid block of this very sequence, kind empty excluded. A block that does not prove is read once more, alone: a fault on
 * the way, not on the medium, would else cut the newest record off like the tail of a crash. */
static bool ring_get(struct ring_reader *reader, uint64_t sequence, struct ring_block *out) {
  uint64_t position = sequence % reader->journal->blocks;
  for (uint32_t ahead = UINT32_MAX;; ahead = 1) {
    if (ring_decode(reader, ring_raw(reader, position, ahead), position, out))
      return out->block.sequence == sequence && out->block.kind != JOURNAL_EMPTY; /* guard: bounds */
    if (ahead == 1) return false; /* no guard: the end of two attempts */
    reader->count = 0;
  }
}

/* The checkpoint record in a block, held to the block's own place in the ring. */
static bool decode_checkpoint(const struct ring_reader *reader, const struct volume_bounds *bounds,
                              const struct ring_block *got, struct checkpoint_record *record,
                              struct checkpoint_mark *mark) {
  uint64_t sequence = got->block.sequence;
  if (got->block.kind != JOURNAL_CHECKPOINT) return false; /* guard: bounds */
  if (!checkpoint_record_decode(got->payload, got->block.payload_length, bounds, record))
    return false;                                                                        /* guard: bounds */
  if (record->previous > sequence || sequence - record->tail >= reader->journal->blocks) /* a tail ahead is far, too */
    return false;                                                                        /* guard: bounds */
  *mark = (struct checkpoint_mark){.sequence = sequence, .hash = got->block.hash, .tail = record->tail};
  return true;
}

static bool load_checkpoint(struct ring_reader *reader, const struct volume_bounds *bounds, uint64_t sequence,
                            uint64_t hash, struct checkpoint_record *record, struct checkpoint_mark *mark) {
  struct ring_block got = {.payload = NULL};
  if (!ring_get(reader, sequence, &got) || (hash != 0 && got.block.hash != hash)) return false; /* guard: checksum */
  return decode_checkpoint(reader, bounds, &got, record, mark);
}

/* A block of the newest lap by bisection; false when any probe is invalid. */
static bool bisect(struct ring_reader *reader, struct ring_block *found) {
  uint64_t blocks = reader->journal->blocks, low = 0, high = blocks;
  struct ring_block probe;
  if (!ring_decode(reader, ring_raw(reader, 0, 1), 0, found)) return false; /* guard: bounds */
  uint64_t lap = found->block.sequence / blocks;
  while (high - low > 1) {
    uint64_t middle = low + (high - low) / 2;
    if (!ring_decode(reader, ring_raw(reader, middle, 1), middle, &probe)) return false; /* guard: bounds */
    if (probe.block.sequence / blocks >= lap) {
      low = middle;
      *found = probe;
    } else {
      high = middle;
    }
  }
  return found->block.kind != JOURNAL_EMPTY;
}

static bool newer(const struct journal_block *a, const struct journal_block *b) {
  int c = epoch_compare(a->epoch, b->epoch);
  return c > 0 || (c == 0 && a->sequence > b->sequence);
}

static void note_block(struct journal_mounted *m, const struct ring_block *got, const struct volume_bounds *bounds) {
  struct checkpoint_record record;
  if (epoch_compare(got->block.epoch, m->epoch_max) > 0) m->epoch_max = got->block.epoch;
  if (got->block.kind == JOURNAL_CHECKPOINT &&
      checkpoint_record_decode(got->payload, got->block.payload_length, bounds, &record) &&
      record.generation > m->generation_max)
    m->generation_max = record.generation;
}

/* The valid block with the greatest (epoch, sequence) in the whole ring; without any, one that names none that is there. */
static void scan_ring(struct ring_reader *reader, struct ring_block *found) {
  bool have = false;
  memset(found, 0, sizeof *found);
  for (uint64_t p = 0, there = ring_there(reader->journal); p < there; p++) {
    struct ring_block got;
    if (!ring_decode(reader, ring_raw(reader, p, UINT32_MAX), p, &got) || got.block.kind == JOURNAL_EMPTY) continue;
    if (have && !newer(&got.block, &found->block)) continue;
    *found = got;
    have = true;
  }
}

/* Rule 11: the checkpoint record to start from: the block itself, or the one it names. */
static bool start_from(struct ring_reader *reader, const struct volume_bounds *bounds, const struct ring_block *found,
                       struct checkpoint_record *record, struct checkpoint_mark *mark) {
  const struct journal_block b = found->block; /* the payload goes away with the next read */
  if (b.kind == JOURNAL_CHECKPOINT && load_checkpoint(reader, bounds, b.sequence, b.hash, record, mark)) return true;
  return load_checkpoint(reader, bounds, b.checkpoint, b.checkpoint_hash, record, mark);
}

/* The walk along the chain (rule 12). Everything about the last block accepted and the last whole record. */
struct walk {
  uint64_t next; /* sequence of the next block */
  struct epoch epoch;
  uint64_t hash;
  bool any;
  uint32_t fragment, fragments; /* next fragment due; 0: a record starts */
  uint8_t flags;                /* of the record begun */
  /* behind the last whole record */
  uint64_t whole, whole_hash;
  struct epoch whole_epoch;
  bool unproven;                /* it is marked so, and no block behind it tells that it was flushed */
  uint64_t before, before_hash; /* behind the one before it */
};

/* One step: the next block when it continues the chain. */
static bool walk_step(struct ring_reader *reader, const struct volume_bounds *bounds, struct walk *walk,
                      struct ring_block *got) {
  struct checkpoint_record record;
  struct checkpoint_mark mark;
  if (!ring_get(reader, walk->next, got)) return false; /* guard: bounds */
  const struct journal_block *b = &got->block;
  if (b->kind == JOURNAL_CHECKPOINT && !decode_checkpoint(reader, bounds, got, &record, &mark))
    return false; /* guard: bounds */
  if (walk->any && (b->previous != walk->hash || epoch_compare(b->epoch, walk->epoch) < 0))
    return false;                                                           /* guard: checksum */
  if (b->fragment != walk->fragment) return false;                          /* guard: bounds */
  if (walk->fragment && b->fragments != walk->fragments) return false;      /* guard: bounds */
  if (walk->fragment && b->flags != walk->flags) return false;              /* guard: bounds */
  if (walk->unproven && b->flushed_through < walk->whole - 1) return false; /* guard: bounds */
  if (!walk->any) walk->whole_hash = b->previous;
  walk->any = true;
  walk->next++;
  walk->epoch = b->epoch;
  walk->hash = b->hash;
  walk->fragments = b->fragments;
  walk->flags = b->flags;
  walk->fragment = b->fragment + 1 == b->fragments ? 0 : b->fragment + 1;
  walk->unproven = false;
  if (walk->fragment == 0) {
    walk->unproven = b->flags & JOURNAL_UNPROVEN;
    walk->before = walk->whole;
    walk->before_hash = walk->whole_hash;
    walk->whole = walk->next;
    walk->whole_hash = b->hash;
    walk->whole_epoch = b->epoch;
  }
  return true;
}

static void walk_chain(struct ring_reader *reader, const struct volume_bounds *bounds, struct journal_mounted *m,
                       struct walk *walk) {
  struct ring_block got;
  uint64_t tail = m->newest_mark.tail, start = m->newest_mark.sequence;
  *walk = (struct walk){.next = tail, .whole = tail};
  while (walk->next < tail + reader->journal->blocks && walk_step(reader, bounds, walk, &got)) {
    note_block(m, &got, bounds);
    struct checkpoint_record record;
    struct checkpoint_mark mark;
    if (got.block.sequence <= start || !decode_checkpoint(reader, bounds, &got, &record, &mark)) continue;
    m->newest = record;
    m->newest_mark = mark;
  }
  m->walked = walk->next - tail;
}

/* Rule 13: does a valid block behind the last whole record say that the broken one was durable? And rule 17: or that the last
 * whole one was? Reads the whole ring. */
static bool find_evidence(struct ring_reader *reader, const struct volume_bounds *bounds, struct journal_mounted *m,
                          struct walk *walk, uint64_t *witness) {
  bool damage = false;
  uint64_t blocks = reader->journal->blocks, there = ring_there(reader->journal);
  for (uint64_t i = 0; i < blocks; i++) {
    uint64_t q = walk->whole + i, position = q % blocks;
    if (i > 0 && position >= there) { /* on to the start of the ring */
      i += blocks - position - 1;
      continue;
    }
    struct ring_block got;
    const uint8_t *raw = ring_raw(reader, position, UINT32_MAX);
    if (i == 0) m->debris = !ring_decode(reader, raw, position, &got) || got.block.sequence + blocks != q;
    if (!raw || journal_block_peek_sequence(raw) != q || !ring_decode(reader, raw, position, &got)) continue;
    if (got.block.kind == JOURNAL_EMPTY) continue;
    note_block(m, &got, bounds);
    if (i == 0 || damage || epoch_compare(got.block.epoch, walk->whole_epoch) < 0) continue;
    damage = got.block.flushed_through >= walk->whole;
    if (got.block.flushed_through >= walk->whole - 1) walk->unproven = false;
    *witness = q;
  }
  return damage;
}

static uint64_t ring_place(const struct journal *j, uint64_t sequence) {
  return (j->offset + sequence % j->blocks * j->block_size) / j->device_block;
}

/* ---- one record ------------------------------------------------------------------------------------------------- */

/* No operation that a writer gives is longer, nor is a record's header. */
enum { OPERATION_MAX = 8192, RECORD_HEADER = 16 };

/* A record on its way into the replay, fragment by fragment (payload as in format/journal_block.h): of what a fragment cuts
 * the beginning is kept. */
struct unpacking {
  struct journal *journal;
  const struct journal_replay *replay;
  uint64_t *tip;  /* the last operation applied */
  bool stray;     /* operations before its first may be missing */
  uint64_t block; /* its first */
  uint32_t due, fragments;
  uint64_t next, last; /* operation due; 0: its header is */
  uint8_t *kept;       /* 2 * OPERATION_MAX bytes, once needed */
  size_t kept_size;
};

static int bad_record(const struct unpacking *u, struct wodan_error *error, const char *what) {
  return status_corrupt(error, ring_place(u->journal, u->block), "the journal record at block %llu %s",
                        (unsigned long long)u->block, what); /* no guard: its callers judge */
}

static int unpack_header(struct unpacking *u, struct wire_reader *r, struct wodan_error *error) {
  uint64_t first = wire_get_u64(r), last = wire_get_u64(r), place = ring_place(u->journal, u->block);
  if (first == 0 || last < first) return bad_record(u, error, "has no valid header"); /* guard: bounds */
  if (u->stray && first - 1 > *u->tip) *u->tip = first - 1;
  if (first > *u->tip + 1)
    return status_corrupt(error, place, "the journal record at block %llu starts at operation %llu, but %llu is next",
                          (unsigned long long)u->block, (unsigned long long)first,
                          (unsigned long long)(*u->tip + 1)); /* guard: bounds */
  u->next = first;
  u->last = last;
  return 0;
}

/* Takes what is whole of `r`: header and operations, until it has passed `end`. A negative status, or what apply returned. */
static int unpack_whole(struct unpacking *u, struct wire_reader *r, size_t end, struct wodan_error *error) {
  int status = 0;
  while (r->at < end && status == 0) {
    size_t start = r->at;
    if (u->next == 0 && r->size - r->at < RECORD_HEADER) break;
    if (u->next == 0) {
      status = unpack_header(u, r, error);
      continue;
    }
    if (u->next > u->last) return bad_record(u, error, "is longer than its operations"); /* guard: bounds */
    struct journal_operation operation;
    if (!journal_operation_decode(r, &operation)) {
      r->at = start;
      break;
    }
    uint64_t sequence = u->next++;
    if (sequence <= *u->tip) continue; /* the checkpoint already holds it */
    const struct record record = {
        .key = operation.key, .value = operation.value, .kind = operation.kind, .sequence = sequence};
    status = u->replay->apply(u->replay->context, &record, u->block, error);
    if (status == 0) *u->tip = sequence;
  }
  return status;
}

/* What was kept goes on in the fragment's payload: it is whole then, or the payload is at its end. */
static int unpack_kept(struct unpacking *u, struct wire_reader *payload, struct wodan_error *error) {
  size_t before = u->kept_size, room = 2 * OPERATION_MAX - before;
  size_t more = payload->size < room ? payload->size : room;
  memcpy(u->kept + before, payload->data, more);
  struct wire_reader r = wire_reader(u->kept, before + more);
  int status = unpack_whole(u, &r, before, error);
  if (status || r.at >= before) {
    u->kept_size = 0;
    payload->at = r.at - before;
    return status;
  }
  payload->at = payload->size;
  u->kept_size = before + more; /* full, it is longer than any operation and stays malformed */
  return 0;
}

static int unpack_keep(struct unpacking *u, const struct wire_reader *payload, struct wodan_error *error) {
  size_t left = payload->size - payload->at;
  if (left > OPERATION_MAX) return bad_record(u, error, "has a malformed operation"); /* guard: bounds */
  if (!u->kept) u->kept = mem_alloc(u->journal->mem, 2 * OPERATION_MAX);
  if (!u->kept) return status_nomem(error);
  memcpy(u->kept, payload->data + payload->at, left);
  u->kept_size = left;
  return 0;
}

/* The record's next fragment. */
static int unpack(struct unpacking *u, const struct ring_block *got, struct wodan_error *error) {
  const struct journal_block *b = &got->block;
  struct wire_reader payload = wire_reader(got->payload, b->payload_length);
  int status = 0;
  if (b->fragment == 0) {
    u->block = b->sequence;
    u->due = 0;
    u->fragments = b->fragments;
    u->next = u->last = 0;
    u->kept_size = 0;
  }
  if (b->fragment != u->due++ || b->fragments != u->fragments)
    return status_corrupt(
        error, ring_place(u->journal, b->sequence), "journal block %llu does not fit its record",
        (unsigned long long)b
            ->sequence); /* guard: bounds; equivalent: the walk before has seen it fit, unless the device answers otherwise now */
  if (u->kept_size) status = unpack_kept(u, &payload, error);
  if (status == 0) status = unpack_whole(u, &payload, payload.size, error);
  if (status) return status;
  if (b->fragment + 1 < b->fragments) return payload.at < payload.size ? unpack_keep(u, &payload, error) : 0;
  /* What is left, of a header or an operation, is of one that was not counted. */
  if (u->next <= u->last) return bad_record(u, error, "has a malformed operation"); /* guard: bounds */
  return 0;
}

static void unpacking_release(struct unpacking *u) {
  if (u->kept) mem_free(u->journal->mem, u->kept, 2 * OPERATION_MAX);
}

/* Fragments of the whole record that starts at this block; 0: none does, or not all of it is there. */
static uint32_t stray_record(struct ring_reader *reader, uint64_t first) {
  uint32_t fragments = 1;
  uint64_t previous = 0;
  for (uint32_t i = 0; i < fragments; i++) {
    struct ring_block got;
    if (!ring_get(reader, first + i, &got) || got.block.kind != JOURNAL_RECORD || got.block.fragment != i ||
        got.block.fragments > reader->journal->blocks)
      return 0;
    if (i && got.block.previous != previous) return 0; /* guard: checksum */
    fragments = got.block.fragments;
    previous = got.block.hash;
  }
  return fragments;
}

/* The operations of a record that the walk has just found whole, whatever came before it. */
static int show_found(struct ring_reader *reader, const struct journal_replay *replay, uint64_t first,
                      struct wodan_error *error) {
  uint64_t tip = 0;
  struct unpacking unpacking = {.journal = reader->journal, .replay = replay, .tip = &tip, .stray = true};
  uint32_t fragments = stray_record(reader, first);
  int status = 0;
  if (!fragments)
    status = status_corrupt(error, ring_place(reader->journal, first), "journal block %llu changed while it was read",
                            (unsigned long long)first); /* no guard: the walk has just found it whole */
  for (uint32_t i = 0; i < fragments && status == 0; i++) {
    struct ring_block got;
    if (ring_get(reader, first + i, &got)) status = unpack(&unpacking, &got, error);
  }
  unpacking_release(&unpacking);
  return status;
}

/* ---- the newest record's large values ---------------------------------------------------------------------------- */

enum { NOT_WHOLE = 1 };

struct proving {
  const struct journal_proof *proof;
  const struct volume_bounds *bounds;
  uint64_t bytes; /* so far */
};

static int prove_operation(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  struct proving *proving = context;
  struct blob_ref ref;
  (void)block;
  if (record->kind != RECORD_BLOB) return 0;
  if (!blob_ref_decode(record->value.data, record->value.size, proving->bounds, &ref))
    return status_corrupt(error, WODAN_NO_BLOCK, "journal: operation %llu names no large value that can be",
                          (unsigned long long)record->sequence); /* guard: bounds */
  uint64_t size = blob_unproven_size(&ref);
  if (size > proving->proof->bytes_max - proving->bytes)
    return status_corrupt(error, WODAN_NO_BLOCK,
                          "journal: operation %llu names more large values than go without a barrier",
                          (unsigned long long)record->sequence); /* guard: bounds */
  proving->bytes += size;
  int status = proving->proof->prove(proving->proof->context, record->key, &ref, error);
  return status == WODAN_ECORRUPT || status == WODAN_EIO ? NOT_WHOLE : status; /* torn sectors may be unreadable */
}

/* Rule 17: a newest record of which nothing tells that it was flushed counts only with all its large values. */
static int prove_newest(struct ring_reader *reader, const struct volume_bounds *bounds, struct journal_mounted *m,
                        struct walk *walk, struct wodan_error *error) {
  m->rejected = 0;
  if (!walk->unproven) return 0;
  struct proving proving = {.proof = &reader->journal->proof, .bounds = bounds};
  struct journal_replay replay = {.apply = prove_operation, .context = &proving};
  int status = show_found(reader, &replay, walk->before, error);
  if (status != NOT_WHOLE) return status;
  m->rejected = walk->whole;
  m->debris = true;
  walk->whole = walk->before;
  walk->whole_hash = walk->before_hash;
  return 0;
}

/* ---- roots ------------------------------------------------------------------------------------------------------- */

/* Rule 14: the checkpoint before the newest one and the chain from its tail. */
static void find_older(struct ring_reader *reader, const struct volume_bounds *bounds, struct journal_mounted *m) {
  m->has_older = false;
  m->older_problem[0] = 0;
  if (m->newest.previous == m->newest_mark.sequence) return; /* the first checkpoint has none before it */
  if (!load_checkpoint(reader, bounds, m->newest.previous, m->newest.previous_hash, &m->older, &m->older_mark)) {
    snprintf(m->older_problem, sizeof m->older_problem, "its checkpoint record in journal block %llu is unreadable",
             (unsigned long long)m->newest.previous);
    return;
  }
  struct walk walk = {.next = m->older_mark.tail};
  struct ring_block got;
  while (walk.next <= m->newest_mark.sequence && walk_step(reader, bounds, &walk, &got)) {
  }
  if (walk.next <= m->newest_mark.sequence) {
    snprintf(m->older_problem, sizeof m->older_problem, "its journal is broken at journal block %llu",
             (unsigned long long)walk.next);
    return;
  }
  m->has_older = true;
}

/* From the starting record: rules 12 to 14. */
static int mount_from_start(struct ring_reader *reader, const struct volume_bounds *bounds, struct journal_mounted *m,
                            struct wodan_error *error) {
  const struct journal *journal = reader->journal;
  uint64_t start = m->newest_mark.sequence, witness = 0;
  struct walk walk;
  walk_chain(reader, bounds, m, &walk);
  if (walk.next <= start)
    return status_corrupt(error, ring_place(journal, walk.next),
                          "journal block %llu is damaged, before the newest checkpoint record at %llu",
                          (unsigned long long)walk.next, (unsigned long long)start); /* guard: bounds */
  if (find_evidence(reader, bounds, m, &walk, &witness))
    return status_corrupt(error, ring_place(journal, walk.next),
                          "journal block %llu is damaged: block %llu behind it says it was durable",
                          (unsigned long long)walk.next, (unsigned long long)witness); /* guard: bounds */
  int status = prove_newest(reader, bounds, m, &walk, error);
  if (status < 0) return status;
  m->head = walk.whole;
  m->head_hash = walk.whole_hash;
  if (m->newest.generation > m->generation_max) m->generation_max = m->newest.generation;
  find_older(reader, bounds, m);
  return 0;
}

int journal_mount(struct journal *journal, const struct volume_bounds *bounds, struct journal_mounted *m,
                  struct wodan_error *error) {
  struct ring_reader reader = ring_reader(journal);
  struct ring_block found = {.payload = NULL};
  memset(m, 0, sizeof *m);
  if (bisect(&reader, &found) && start_from(&reader, bounds, &found, &m->newest, &m->newest_mark) &&
      mount_from_start(&reader, bounds, m, error) == 0)
    return 0;
  /* Also when what bisection led to is damaged: a stale block may have sent it to an older lap, and nothing that the
   * newest block stands on need be broken. */
  m->linear = true;
  scan_ring(&reader, &found);
  if (!start_from(&reader, bounds, &found, &m->newest, &m->newest_mark))
    return status_corrupt(
        error, ring_place(journal, 0),
        "the journal names no checkpoint record that can be read; an older root may be intact"); /* guard: bounds */
  return mount_from_start(&reader, bounds, m, error);
}

static bool chain_is_whole(struct ring_reader *reader, const struct volume_bounds *bounds,
                           const struct checkpoint_mark *mark, struct walk *walk) {
  struct ring_block got;
  *walk = (struct walk){.next = mark->tail, .whole = mark->tail};
  while (walk->next <= mark->sequence && walk_step(reader, bounds, walk, &got)) {
  }
  return walk->next > mark->sequence;
}

/* The newest usable root older than `bar`, of this generation when that is not 0: 1, or 0: there is none. WODAN_ENOMEM. */
static int find_root(struct ring_reader *reader, const struct volume_bounds *bounds, const struct journal_block *bar,
                     uint64_t generation, struct journal_mounted *m) {
  const struct journal *journal = reader->journal;
  struct journal_block best = {0};
  struct walk end = {0};
  struct ring_block got;
  bool have = false;
  for (uint64_t p = 0, there = ring_there(journal); p < there; p++) {
    if (!ring_decode(reader, ring_raw(reader, p, UINT32_MAX), p, &got) || got.block.kind == JOURNAL_EMPTY) continue;
    note_block(m, &got, bounds);
    if (got.block.kind != JOURNAL_CHECKPOINT || !newer(bar, &got.block) || (have && !newer(&got.block, &best)))
      continue;
    struct checkpoint_record record;
    struct checkpoint_mark mark;
    struct walk walk;
    const struct journal_block candidate = got.block;
    if (!load_checkpoint(reader, bounds, candidate.sequence, candidate.hash, &record, &mark) ||
        (generation && record.generation != generation) || !chain_is_whole(reader, bounds, &mark, &walk))
      continue;
    best = candidate;
    have = true;
    m->newest = record;
    m->newest_mark = mark;
    while (walk.next < mark.tail + journal->blocks && walk_step(reader, bounds, &walk, &got)) {
    }
    end = walk;
  }
  if (!have) return 0;
  uint64_t unasked;
  if (end.unproven) find_evidence(reader, bounds, m, &end, &unasked);
  if (prove_newest(reader, bounds, m, &end, NULL) == WODAN_ENOMEM) return WODAN_ENOMEM;
  m->head = end.whole;
  m->head_hash = end.whole_hash;
  find_older(reader, bounds, m);
  return 1;
}

int journal_older_root(struct journal *journal, const struct volume_bounds *bounds, const struct checkpoint_mark *below,
                       struct journal_mounted *m, struct wodan_error *error) {
  struct ring_reader reader = ring_reader(journal);
  struct epoch below_epoch = {UINT64_MAX, UINT64_MAX};
  struct ring_block got;
  if (below && ring_get(&reader, below->sequence, &got)) below_epoch = got.block.epoch;
  struct journal_block bar = {.epoch = below_epoch, .sequence = below ? below->sequence : UINT64_MAX};
  int found = find_root(&reader, bounds, &bar, 0, m);
  if (found < 0) return status_nomem(error);
  if (!found)
    return status_corrupt(error, ring_place(journal, 0),
                          "no older checkpoint record in the journal is intact"); /* guard: bounds */
  return 0;
}

int journal_root_of_generation(struct journal *journal, const struct volume_bounds *bounds, uint64_t generation,
                               struct journal_mounted *m, struct wodan_error *error) {
  assert(generation > 0);
  struct ring_reader reader = ring_reader(journal);
  struct journal_block bar = {.epoch = {UINT64_MAX, UINT64_MAX}, .sequence = UINT64_MAX};
  int found = find_root(&reader, bounds, &bar, generation, m);
  if (found < 0) return status_nomem(error);
  if (!found)
    return status_corrupt(error, ring_place(journal, 0),
                          "no checkpoint record of generation %llu in the journal is intact",
                          (unsigned long long)generation); /* guard: bounds */
  return 0;
}

/* ---- replay ------------------------------------------------------------------------------------------------------ */

int journal_replay(struct journal *journal, const struct journal_replay *replay, struct wodan_error *error) {
  struct ring_reader reader = ring_reader(journal);
  uint64_t tip = replay->covered;
  struct unpacking unpacking = {.journal = journal, .replay = replay, .tip = &tip};
  int status = 0;
  for (uint64_t q = replay->mark.tail; q < replay->head && status == 0; q++) {
    struct ring_block got;
    if (!ring_get(&reader, q, &got) || got.block.fragments > journal->blocks) { /* guard: bounds */
      status = status_corrupt(error, ring_place(journal, q), "journal block %llu changed while it was read",
                              (unsigned long long)q);
      break;
    }
    const struct journal_block *b = &got.block;
    if (b->kind == JOURNAL_CHECKPOINT && q > replay->mark.sequence && replay->stop_at_checkpoint) break;
    if (b->kind == JOURNAL_RECORD) status = unpack(&unpacking, &got, error);
  }
  unpacking_release(&unpacking);
  return status;
}

int journal_rejected(struct journal *journal, const struct journal_mounted *mounted, journal_apply *apply,
                     void *context, struct wodan_error *error) {
  struct ring_reader reader = ring_reader(journal);
  struct journal_replay replay = {.apply = apply, .context = context};
  return mounted->rejected ? show_found(&reader, &replay, mounted->head, error) : 0;
}

int journal_strays(struct journal *journal, const struct journal_replay *replay, struct wodan_error *error) {
  struct ring_reader reader = ring_reader(journal);
  struct ring_block newest, got;
  uint64_t tip;
  struct unpacking unpacking = {.journal = journal, .replay = replay, .tip = &tip, .stray = true};
  int status = 0;
  scan_ring(&reader, &newest);
  uint64_t end = newest.block.sequence + 1, q = end > journal->blocks ? end - journal->blocks : 0;
  for (q = q > replay->mark.tail ? q : replay->mark.tail; q < end && status == 0; q++) {
    uint32_t fragments = stray_record(&reader, q);
    tip = replay->covered;
    for (uint32_t i = 0; i < fragments && status == 0; i++)
      if (ring_get(&reader, q + i, &got)) status = unpack(&unpacking, &got, error);
    if (status == WODAN_ECORRUPT) status = 0;
  }
  unpacking_release(&unpacking);
  return status;
}
