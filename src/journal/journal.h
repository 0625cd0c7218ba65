/* Journal: a ring of blocks written in place, each chained to the one before (format/journal_block.h). Two halves:
 * ring_append.c writes records, checkpoints and seals; ring_mount.c finds the newest root and what to replay.
 *
 * The rules both follow are numbered as in FORMAT.md, "Protocol". A checkpoint record is always one block (K = 1).
 * Threads: the caller serialises; one thread at a time. */
#ifndef JOURNAL_JOURNAL_H
#define JOURNAL_JOURNAL_H

#include "base/mem.h"
#include "base/status.h"
#include "dev/device.h"
#include "format/blob.h"
#include "format/checkpoint_record.h"
#include "format/journal_block.h"
#include "format/record.h"

/* A checkpoint record in the ring. */
struct checkpoint_mark {
  uint64_t sequence; /* of its block */
  uint64_t hash;     /* of its block; 0 in the format's first checkpoint when it names itself */
  uint64_t tail;     /* journal block where its replay starts */
};

/* Proves the large value of this tree key: 0, or WODAN_ECORRUPT or WODAN_EIO when it is not whole; WODAN_ENOMEM. */
struct journal_proof {
  int (*prove)(void *context, struct wodan_slice key, const struct blob_ref *ref, struct wodan_error *error);
  void *context;
  uint64_t bytes_max; /* blob_unproven_max */
};

struct journal {
  /* fixed */
  struct journal_proof proof;
  struct mem *mem;
  struct device *device;
  uint8_t fsid[16];
  uint64_t seed;
  uint32_t block_size;   /* bytes of a journal block */
  uint32_t device_block; /* allocation block size in bytes, to name places */
  uint64_t offset;       /* bytes: where the ring starts on the device */
  uint64_t blocks;       /* R */
  /* where the next block goes */
  struct epoch epoch;
  uint64_t head, head_hash;                 /* next sequence; hash of block head-1 */
  uint64_t flushed_through;                 /* last block covered by a flush that returned */
  uint64_t unproven_end;                    /* behind the last record marked so; 0: none since the mount */
  struct checkpoint_mark durable, previous; /* the two newest durable checkpoints */
  struct checkpoint_mark written;           /* appended, not yet durable (sequence 0: none) */
  uint64_t bytes_written;
  bool debris; /* the place of block `head` must be cleared before it is written (rule 10) */
  /* the record being appended */
  uint8_t *buffer;                      /* `buffered_max` blocks, aligned */
  uint32_t buffered_max, buffered;      /* blocks */
  uint64_t buffer_first;                /* sequence of the first block in the buffer */
  uint32_t fragment, fragments, filled; /* of the record; bytes of payload in `payload` */
  uint8_t flags;                        /* of the record */
  uint8_t *payload;                     /* one block's payload */
};

struct journal_setup {
  struct mem *mem;
  struct device *device;
  const uint8_t *fsid;
  uint64_t seed;
  uint32_t block_size, device_block;
  uint64_t blocks;            /* R */
  uint32_t buffered_max;      /* for reading only: blocks held for one transfer; 0: as many as an append likes */
  struct journal_proof proof; /* for who mounts */
};
int journal_init(struct journal *journal, const struct journal_setup *setup, struct wodan_error *error);
void journal_release(struct journal *journal);
/* Bytes journal_init will allocate. */
uint64_t journal_memory(uint32_t block_size, uint64_t blocks);

/* Format: the ring in full, valid chained empty blocks of lap 0 (not flushed). Leaves head at R. */
int journal_format(struct journal *journal, struct wodan_error *error);

/* ---- appending ------------------------------------------------------------------------------------------------ */

uint32_t journal_payload_max(const struct journal *journal); /* bytes of payload in one block */
/* Blocks a record with this payload takes. */
uint64_t journal_record_blocks(const struct journal *journal, uint64_t payload);
/* Rules 7 and 8: `blocks` more may be written and two checkpoint records still fit behind the previous durable
 * checkpoint's tail. */
bool journal_room(const struct journal *journal, uint64_t blocks);
/* Rule 7 alone: one checkpoint record fits. Always true for a checkpoint that moves the tail to itself. */
bool journal_room_for_checkpoint(const struct journal *journal);

/* A record of exactly `payload` bytes: begin, put in pieces, end. Nothing is flushed. On a failure the epoch is over:
 * the caller writes nothing more (rule 16). unproven: large values it names may not be on the medium before it; then nothing is
 * appended behind it before a flush has returned (rule 17). */
int journal_record_begin(struct journal *journal, uint64_t payload, bool unproven, struct wodan_error *error);
int journal_record_put(struct journal *journal, const void *bytes, size_t size, struct wodan_error *error);
int journal_record_end(struct journal *journal, struct wodan_error *error);
int journal_append_checkpoint(struct journal *journal, const struct checkpoint_record *record,
                              struct wodan_error *error);
int journal_append_seal(struct journal *journal, struct wodan_error *error);
/* Told by the caller: a device flush that started after everything appended so far returned. */
void journal_flushed(struct journal *journal);

/* ---- mounting ------------------------------------------------------------------------------------------------- */

struct journal_mounted {
  struct checkpoint_record newest, older; /* older: valid when has_older */
  struct checkpoint_mark newest_mark, older_mark;
  bool has_older;           /* there is a checkpoint before the newest and its record is intact */
  bool linear;              /* the whole ring had to be read */
  bool debris;              /* at head's place lies something else than the block of the lap before */
  uint64_t head, head_hash; /* rule 1: first block of the first incomplete record */
  uint64_t rejected;        /* behind the record at head that is whole but names large values that are not; 0: none */
  struct epoch epoch_max;   /* greatest epoch number seen in any valid block */
  uint64_t generation_max;  /* greatest generation seen in any valid checkpoint block */
  uint64_t walked;          /* blocks on the chain */
  char older_problem[96];   /* why has_older is false, empty when there never was one */
};

/* Counters go up by one and never come near this; an image that has them there was made to wrap them round, and is damaged.
 * sequence: of the last operation, after the replay. */
#define JOURNAL_COUNTER_LIMIT (UINT64_C(1) << 62)
static inline bool journal_counters_sound(const struct journal_mounted *mounted, uint64_t sequence) {
  return mounted->generation_max < JOURNAL_COUNTER_LIMIT && mounted->epoch_max.number < JOURNAL_COUNTER_LIMIT &&
         mounted->head < JOURNAL_COUNTER_LIMIT && sequence < JOURNAL_COUNTER_LIMIT; /* guard: bounds */
}

/* Rules 11 to 14 and 17. Reads only. WODAN_ECORRUPT names what is broken. */
int journal_mount(struct journal *journal, const struct volume_bounds *bounds, struct journal_mounted *mounted,
                  struct wodan_error *error);
/* Rule 15: of every whole checkpoint record in the ring the newest one older than `below` (by epoch, then sequence)
 * whose chain from its tail is whole. mounted->newest is set to it, head and so on as for a replay that stops at the
 * next checkpoint. WODAN_ECORRUPT when there is none. */
int journal_older_root(struct journal *journal, const struct volume_bounds *bounds, const struct checkpoint_mark *below,
                       struct journal_mounted *mounted, struct wodan_error *error);
/* The same for the root of this generation, the newest one too. */
int journal_root_of_generation(struct journal *journal, const struct volume_bounds *bounds, uint64_t generation,
                               struct journal_mounted *mounted, struct wodan_error *error);

/* One operation to apply; `block` is the first block of its record. Non-zero stops the replay with that status. */
typedef int journal_apply(void *context, const struct record *record, uint64_t block, struct wodan_error *error);
/* Applies the operations behind `covered` of the whole records from mark->tail up to head, in order; with
 * stop_at_checkpoint only up to the next checkpoint record after mark (rule 14). A gap is WODAN_ECORRUPT. */
struct journal_replay {
  struct checkpoint_mark mark;
  uint64_t head, covered;
  bool stop_at_checkpoint;
  journal_apply *apply;
  void *context;
};
int journal_replay(struct journal *journal, const struct journal_replay *replay, struct wodan_error *error);
/* The operations of the record that the mount rejected, whatever they are; nothing without one. The blocks of what they name stay
 * as they are until the record is written over: else it could become whole. WODAN_ENOMEM, or what `apply` answered. */
int journal_rejected(struct journal *journal, const struct journal_mounted *mounted, journal_apply *apply,
                     void *context, struct wodan_error *error);
/* For salvage: the same of every record from mark.tail on whose blocks are all there, by rising sequence, whether a chain
 * leads to it or not; gaps and malformed records are passed over. They are no part of the database: some were never
 * acknowledged, or given up. WODAN_ENOMEM, or what `apply` answered. */
int journal_strays(struct journal *journal, const struct journal_replay *replay, struct wodan_error *error);

/* Makes the journal ready to append after a mount, in a new epoch (rule 10). */
void journal_continue(struct journal *journal, const struct journal_mounted *mounted, struct epoch epoch);

#endif
