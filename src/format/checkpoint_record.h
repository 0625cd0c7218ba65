/* Checkpoint record: the mutable superblock, payload of a journal block of kind checkpoint (it always fits in one).
 *
 *   OFFSET SIZE DESCRIPTION
 *        0    8 generation: greater than every generation the checkpoint covers
 *        8    8 sequence: last operation contained in the tree
 *       16    8 tail: journal block where replay starts (<= this block's own sequence)
 *       24    8 previous: journal block of the checkpoint before (itself when there is none)
 *       32    8 previous hash: that block's checksum field (0 when there is none)
 *       40    8 device_blocks: allocation blocks N of the volume now; both pointers stay inside its data area
 *       48    8 compat flags in use
 *       56    8 read-only flags in use
 *       64    8 incompat flags in use
 *       72      root pointer (block_ptr.h; null: the tree is empty)
 *               catalog pointer (null until there are named tables or snapshots)
 *
 * Both pointers' generations are below the record's. A record that names no previous one (hash 0) has tail <=
 * previous. */
#ifndef FORMAT_CHECKPOINT_RECORD_H
#define FORMAT_CHECKPOINT_RECORD_H

#include "format/block_ptr.h"

struct checkpoint_record {
  uint64_t generation, sequence, tail, previous, previous_hash, device_blocks;
  uint64_t compat, read_only_compat, incompat;
  struct block_ptr root, catalog;
};

/* Bytes written to out, or 0 when it does not fit. */
uint32_t checkpoint_record_encode(const struct checkpoint_record *record, uint8_t *out, uint32_t size);
/* The whole of `in` must be used. bounds.data_end bounds device_blocks too (device_blocks - 1 > data_end is
 * refused: block N-1 holds the superblock's copy, so a volume that fills its bounds has data_end = N-1). */
bool checkpoint_record_decode(const uint8_t *in, uint32_t size, const struct volume_bounds *bounds,
                              struct checkpoint_record *record);

#endif
