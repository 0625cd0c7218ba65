/* A journal alone on a simulated device, with calls as short as the steps of a protocol trace. Operations are numbered;
 * operation n puts key "k<n>", so a replay can be checked for gaps. Every call asserts what must not fail. Include after
 * cmocka.h. */
#ifndef SUPPORT_RING_RIG_H
#define SUPPORT_RING_RIG_H

#include "dev/device.h"
#include "dev/dev_sim.h"
#include "journal/journal.h"

enum { RING_BLOCK = 512, RING_DATA_BLOCKS = 64 };

struct ring {
  struct mem mem;
  struct sim *sim;
  struct device device;
  struct journal journal;
  struct volume_bounds bounds;
  uint64_t operation; /* last one committed */
  uint64_t journaled; /* last one in a record */
  uint64_t generation;
  uint64_t epoch;
  struct journal_mounted mounted; /* by the last ring_mount */
};

/* R blocks of 512 bytes in sectors of `sector`, formatted, first checkpoint durable (block R, covers operation 0). */
void ring_make(struct ring *ring, uint64_t blocks, uint32_t sector);
void ring_release(struct ring *ring);
/* One record with `count` new operations behind those before; values of `size` bytes. Returns its first block. */
uint64_t ring_record(struct ring *ring, unsigned count, size_t size);
/* The same, but with chosen numbers. */
uint64_t ring_record_of(struct ring *ring, uint64_t first, uint64_t last, size_t size);
/* A checkpoint that covers up to `sequence`; tail 0: its own block. Returns its block. Not flushed. */
uint64_t ring_checkpoint(struct ring *ring, uint64_t sequence, uint64_t tail);
uint64_t ring_seal(struct ring *ring);
void ring_flush(struct ring *ring);
/* The power fails; of the blocks in flight those of `landed` (bit i: the i-th write of the window) reach the medium. */
void ring_power(struct ring *ring, unsigned landed);
/* The same with a choice for each sector in flight (SIM_OLD, SIM_NEW, ...). */
void ring_power_sectors(struct ring *ring, const uint8_t *choices, size_t count);
/* Reads; the status of journal_mount. Then ring_continue to write on in a new epoch. */
int ring_mount(struct ring *ring, struct wodan_error *error);
void ring_continue(struct ring *ring);
/* Replays from the mounted root. *last: the last operation applied (asserts that they are consecutive behind `covered`). */
int ring_replay(struct ring *ring, const struct checkpoint_mark *mark, uint64_t covered, bool stop, uint64_t *last,
                struct wodan_error *error);
/* Damage at rest of the block of this sequence; stale: what format wrote there (valid, kind empty). */
void ring_rot(struct ring *ring, uint64_t sequence);
/* The bytes of a block's place, and putting them back: a lost write. */
void ring_save(const struct ring *ring, uint64_t sequence, uint8_t bytes[RING_BLOCK]);
void ring_restore(struct ring *ring, uint64_t sequence, const uint8_t bytes[RING_BLOCK]);
/* The block at this sequence's place, decoded; false when invalid. */
bool ring_peek(const struct ring *ring, uint64_t sequence, struct journal_block *block);

#endif
