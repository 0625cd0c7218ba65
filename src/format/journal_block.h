/* Journal block: one slot of the ring. The block of sequence q lies at ring position q mod R (R slots of
 * journal_block_size bytes, starting at block 1) and is written once per lap.
 *
 *   OFFSET SIZE DESCRIPTION
 *        0    8 checksum: XXH3-64 (volume seed) of bytes 8..journal_block_size-1
 *        8    4 magic "WJNL"
 *       12    1 kind: 0 empty (format's lap 0), 1 record, 2 checkpoint, 3 seal
 *       13    1 flags: 1 unproven (a record only)
 *       14    2 zero
 *       16   16 fsid
 *       32    8 epoch number
 *       40    8 epoch random bits
 *       48    8 sequence q of this block
 *       56    8 previous: checksum field of block q-1 (0 in the very first block)
 *       64    8 flushed_through: last block covered by a flush that returned when this one was written
 *       72    8 checkpoint: sequence of the last durable checkpoint block (a first checkpoint names itself)
 *       80    8 checkpoint hash: its checksum field (0 when it names itself)
 *       88    4 fragment i
 *       92    4 fragments n of the record, i < n; 1 for every kind but record
 *       96    4 payload length in bytes; 0 in an empty block and in a seal
 *      100    4 zero
 *      104      payload, then zeros to the end
 *
 * Record payload: the fragments' payloads joined are one journal record, the unit of atomicity:
 *   u64 first sequence, u64 last sequence (>= first), then last-first+1 operations, each:
 *   u8 kind (record kinds of record.h), varint key length (>= 1), key, varint value length, value (a delete: length
 *   0, no value; a range delete: the key where the range ends, range.h).
 *
 * Flag 1, in each block of a record or in none: no barrier stands between the large values that the record names and the record
 * itself. As long as nothing tells that a flush has returned since, it counts only when each of them proves. */
#ifndef FORMAT_JOURNAL_BLOCK_H
#define FORMAT_JOURNAL_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <wodan/types.h>

enum journal_kind { JOURNAL_EMPTY = 0, JOURNAL_RECORD = 1, JOURNAL_CHECKPOINT = 2, JOURNAL_SEAL = 3 };
enum { JOURNAL_HEADER_SIZE = 104 };
enum journal_flags { JOURNAL_UNPROVEN = 1 };

struct epoch {
  uint64_t number, random;
};

struct journal_block {
  uint8_t kind, flags;
  uint8_t fsid[16];
  struct epoch epoch;
  uint64_t sequence, previous, flushed_through;
  uint64_t checkpoint, checkpoint_hash;
  uint32_t fragment, fragments, payload_length;
  uint64_t hash; /* the checksum field; set by encode and decode */
};

/* -1, 0, 1: number first, random bits second. */
int epoch_compare(struct epoch a, struct epoch b);

/* payload: block->payload_length bytes, at most size - JOURNAL_HEADER_SIZE. Fills all `size` bytes of out, sets
 * block->hash. */
void journal_block_encode(struct journal_block *block, const uint8_t *payload, uint64_t seed, uint8_t *out,
                          uint32_t size);
/* The header and *payload in place; false when checksum, magic, fsid or a field is wrong. */
bool journal_block_decode(const uint8_t *in, uint32_t size, uint64_t seed, const uint8_t fsid[16],
                          struct journal_block *block, const uint8_t **payload);
/* The sequence field without any check: lets a scan skip blocks of other laps cheaply. */
uint64_t journal_block_peek_sequence(const uint8_t *in);
/* The 16 bytes of the fsid without any check but of the magic, or NULL: to look for blocks of a volume not known yet. */
const uint8_t *journal_block_peek_fsid(const uint8_t *in);

/* One operation of a record payload. */
struct journal_operation {
  uint8_t kind;
  struct wodan_slice key, value;
};
struct wire_reader;
struct wire_writer;
uint64_t journal_operation_size(size_t key_size, size_t value_size);
void journal_operation_encode(struct wire_writer *w, const struct journal_operation *operation);
bool journal_operation_decode(struct wire_reader *r, struct journal_operation *operation);

#endif
