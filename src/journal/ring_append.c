/* Owns: writing the ring: format's empty lap, records, checkpoints, seals.
 *
 * Always true:
 *  - the block of sequence q goes to position q mod R and is written once; sequences never jump.
 *  - every block names the hash of block q-1, the last block a returned flush covered, and the last *durable*
 *    checkpoint (not the last written).
 *  - no block q is written with q - R >= tail of the previous durable checkpoint.
 *  - what a crash left of a block is never completed by parts of the block that takes its place.
 *
 * Order: nothing here flushes. The caller flushes and then tells journal_flushed, which moves flushed_through and
 * makes the written checkpoint the durable one. After a failed write or flush the caller writes nothing more.
 *
 * See: format/journal_block.h, FORMAT.md "Protocol", tests/unit/test_journal.c. */
#include <assert.h>
#include <string.h>
#include "codec/checksum.h"
#include "journal/journal.h"

enum { BUFFER_BLOCKS = 64 };

static uint32_t buffer_blocks(uint64_t ring_blocks) {
  return ring_blocks < BUFFER_BLOCKS ? (uint32_t)ring_blocks : BUFFER_BLOCKS;
}

uint64_t journal_memory(uint32_t block_size, uint64_t blocks) {
  return ((uint64_t)buffer_blocks(blocks) + 1) * block_size;
}

int journal_init(struct journal *journal, const struct journal_setup *setup, struct wodan_error *error) {
  memset(journal, 0, sizeof *journal);
  journal->mem = setup->mem;
  journal->device = setup->device;
  memcpy(journal->fsid, setup->fsid, 16);
  journal->seed = setup->seed;
  journal->block_size = setup->block_size;
  journal->device_block = setup->device_block;
  journal->offset = setup->device_block;
  journal->blocks = setup->blocks;
  journal->proof = setup->proof;
  journal->buffered_max = buffer_blocks(setup->blocks);
  if (setup->buffered_max && setup->buffered_max < journal->buffered_max) journal->buffered_max = setup->buffered_max;
  journal->buffer = mem_alloc_aligned(setup->mem, (size_t)journal->buffered_max * setup->block_size, 4096);
  if (!setup->buffered_max) journal->payload = mem_alloc(setup->mem, setup->block_size);
  if (journal->buffer && (journal->payload || setup->buffered_max)) return 0;
  journal_release(journal);
  return status_nomem(error);
}

void journal_release(struct journal *journal) {
  if (journal->mem) {
    mem_free(journal->mem, journal->buffer, (size_t)journal->buffered_max * journal->block_size);
    mem_free(journal->mem, journal->payload, journal->block_size);
  }
  memset(journal, 0, sizeof *journal);
}

uint32_t journal_payload_max(const struct journal *journal) { return journal->block_size - JOURNAL_HEADER_SIZE; }

uint64_t journal_record_blocks(const struct journal *journal, uint64_t payload) {
  uint64_t room = journal_payload_max(journal);
  return payload / room + (payload % room != 0);
}

bool journal_room(const struct journal *journal, uint64_t blocks) {
  uint64_t limit = journal->previous.tail + journal->blocks;
  return journal->head <= limit && blocks <= limit - journal->head && limit - journal->head - blocks >= 2;
}

bool journal_room_for_checkpoint(const struct journal *journal) {
  return journal->head < journal->previous.tail + journal->blocks;
}

static int write_buffer(struct journal *journal, struct wodan_error *error) {
  if (journal->buffered == 0) return 0;
  uint64_t position = journal->buffer_first % journal->blocks;
  size_t size = (size_t)journal->buffered * journal->block_size;
  int status =
      device_write(journal->device, journal->offset + position * journal->block_size, journal->buffer, size, error);
  journal->bytes_written += size;
  journal->buffered = 0;
  return status;
}

/* Torn remains of an earlier epoch lie where block `head` goes. Written over in one go, a second crash might land just
 * the sectors that they lack (the zeros behind a short payload, say) and make an abandoned record whole. So their first
 * sector goes first; a sector lands or does not. */
static int clear_debris(struct journal *journal, struct wodan_error *error) {
  uint32_t sector = journal->device->raw->geometry.sector;
  assert(journal->buffered == 0 && sector <= journal->block_size);
  memset(journal->buffer, 0, sector);
  uint64_t offset = journal->offset + journal->head % journal->blocks * journal->block_size;
  int status = device_write(journal->device, offset, journal->buffer, sector, error);
  if (status == 0) status = device_barrier(journal->device, error);
  journal->bytes_written += sector;
  journal->debris = false;
  return status;
}

/* Encodes one block behind the others in the buffer, which is written when full or at the end of the ring. */
static int put_block(struct journal *journal, uint8_t kind, const uint8_t *payload, uint32_t payload_length,
                     struct wodan_error *error) {
  bool names_itself = journal->durable.sequence == journal->head;
  assert(journal->fragment > 0 || journal->unproven_end <= journal->flushed_through + 1);
  struct journal_block block = {.kind = kind,
                                .flags = kind == JOURNAL_RECORD ? journal->flags : 0,
                                .epoch = journal->epoch,
                                .sequence = journal->head,
                                .previous = journal->head_hash,
                                .flushed_through = journal->flushed_through,
                                .checkpoint = journal->durable.sequence,
                                .checkpoint_hash = names_itself ? 0 : journal->durable.hash,
                                .fragment = journal->fragment,
                                .fragments = journal->fragments,
                                .payload_length = payload_length};
  memcpy(block.fsid, journal->fsid, 16);
  int status = journal->debris ? clear_debris(journal, error) : 0;
  if (status < 0) return status;
  if (journal->buffered == 0) journal->buffer_first = journal->head;
  uint8_t *out = journal->buffer + (size_t)journal->buffered * journal->block_size;
  journal_block_encode(&block, payload, journal->seed, out, journal->block_size);
  journal->buffered++;
  journal->head++;
  journal->head_hash = block.hash;
  if (journal->buffered == journal->buffered_max || journal->head % journal->blocks == 0)
    return write_buffer(journal, error);
  return 0;
}

int journal_format(struct journal *journal, struct wodan_error *error) {
  journal->fragment = 0;
  journal->fragments = 1;
  for (uint64_t i = 0; i < journal->blocks; i++) {
    int status = put_block(journal, JOURNAL_EMPTY, NULL, 0, error);
    if (status < 0) return status;
  }
  assert(journal->buffered == 0);
  journal->flushed_through = journal->head - 1;
  journal->durable = (struct checkpoint_mark){.sequence = journal->head, .hash = 0, .tail = journal->head};
  journal->previous = journal->durable;
  return 0;
}

int journal_record_begin(struct journal *journal, uint64_t payload, bool unproven, struct wodan_error *error) {
  (void)error;
  assert(payload > 0 && journal->buffered == 0);
  assert(journal_room(journal, journal_record_blocks(journal, payload)));
  journal->fragment = 0;
  journal->fragments = (uint32_t)journal_record_blocks(journal, payload);
  journal->filled = 0;
  journal->flags = unproven ? JOURNAL_UNPROVEN : 0;
  return 0;
}

int journal_record_put(struct journal *journal, const void *bytes, size_t size, struct wodan_error *error) {
  const uint8_t *from = bytes;
  uint32_t room = journal_payload_max(journal);
  while (size) {
    if (journal->filled == room) {
      int status = put_block(journal, JOURNAL_RECORD, journal->payload, room, error);
      if (status < 0) return status;
      journal->fragment++;
      journal->filled = 0;
    }
    size_t n = size < room - journal->filled ? size : room - journal->filled;
    memcpy(journal->payload + journal->filled, from, n);
    journal->filled += (uint32_t)n;
    from += n;
    size -= n;
  }
  return 0;
}

int journal_record_end(struct journal *journal, struct wodan_error *error) {
  assert(journal->fragment + 1 == journal->fragments && journal->filled > 0);
  int status = put_block(journal, JOURNAL_RECORD, journal->payload, journal->filled, error);
  if (journal->flags) journal->unproven_end = journal->head;
  return status < 0 ? status : write_buffer(journal, error);
}

int journal_append_checkpoint(struct journal *journal, const struct checkpoint_record *record,
                              struct wodan_error *error) {
  assert(journal->buffered == 0 && journal_room_for_checkpoint(journal));
  uint32_t size = checkpoint_record_encode(record, journal->payload, journal_payload_max(journal));
  if (size == 0)
    return status_set(error, WODAN_ENOSPC, 0, WODAN_NO_BLOCK,
                      "the checkpoint record does not fit in one journal block: the root has too many extents");
  journal->fragment = 0;
  journal->fragments = 1;
  struct checkpoint_mark mark = {.sequence = journal->head, .tail = record->tail};
  int status = put_block(journal, JOURNAL_CHECKPOINT, journal->payload, size, error);
  if (status == 0) status = write_buffer(journal, error);
  if (status < 0) return status;
  mark.hash = journal->head_hash;
  journal->written = mark;
  return 0;
}

int journal_append_seal(struct journal *journal, struct wodan_error *error) {
  journal->fragment = 0;
  journal->fragments = 1;
  int status = put_block(journal, JOURNAL_SEAL, NULL, 0, error);
  return status < 0 ? status : write_buffer(journal, error);
}

void journal_flushed(struct journal *journal) {
  assert(journal->buffered == 0);
  journal->flushed_through = journal->head - 1;
  if (journal->written.sequence == 0) return;
  bool first = journal->durable.sequence == journal->written.sequence; /* format's own first checkpoint */
  journal->previous = first ? journal->written : journal->durable;
  journal->durable = journal->written;
  journal->written = (struct checkpoint_mark){0};
}

void journal_continue(struct journal *journal, const struct journal_mounted *mounted, struct epoch epoch) {
  journal->epoch = epoch;
  journal->head = mounted->head;
  journal->head_hash = mounted->head_hash;
  journal->flushed_through = mounted->head - 1;
  journal->durable = mounted->newest_mark;
  journal->previous = mounted->has_older ? mounted->older_mark : mounted->newest_mark;
  journal->unproven_end = 0;
  journal->written = (struct checkpoint_mark){0};
  journal->buffered = 0;
  journal->debris = mounted->debris;
}
