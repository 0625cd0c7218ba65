/* Owns: the journal's blocks in the copy.
 *
 * Always true: every block keeps its place, header and payload length; a block that is not valid for its place is not valid
 * in the copy; links (previous, checkpoint, previous root) are right where they were right. Operations are followed byte by
 * byte through the fragments of a record, in the memory of one block; where that is lost, the rest of the record is zeros.
 *
 * Order: by rising sequence, because a block names only such of lower ones; before them those that are not valid.
 *
 * See: copy_private.h; format/journal_block.h. */
#include <assert.h>
#include <string.h>
#include "base/wire.h"
#include "format/blob.h"
#include "format/checkpoint_record.h"
#include "format/journal_block.h"
#include "format/record.h"
#include "inspect/copy_private.h"

/* A position of the ring: its block's sequence, and its checksum field before and after. */
struct ring_slot {
  bool valid; /* for its place */
  uint64_t sequence;
  uint64_t before, after;
};
enum { RANGE_SIZE = 16 }; /* first and last sequence of a record */

/* The operations of a record, byte by byte. */
struct operations {
  enum { OP_RANGE, OP_KIND, OP_KEY_SIZE, OP_KEY, OP_VALUE_SIZE, OP_VALUE, OP_LOST } next;
  uint64_t left;  /* bytes of it */
  uint64_t value; /* a varint so far, */
  unsigned shift; /* and its next group */
  uint8_t kind;   /* enum record_kind; of a range delete the value is a key too: where it ends */
  struct scramble_at key;
  uint8_t reference[BLOB_REF_SIZE_MAX]; /* of a large value: what takes its place, at the end of it */
};

struct ring_copy {
  struct copy *copy;
  struct ring_slot *slots; /* by position */
  uint64_t *order;         /* positions by rising sequence */
  uint64_t ring, count;    /* positions; those on the device */
  uint8_t *bytes;          /* one block, and room for another */
  uint32_t size;
  struct operations operations;
  struct journal_block last; /* of the record being followed */
};

/* ---- operations -------------------------------------------------------------------------------------------------- */

/* true: the varint is over; it went wrong when `next` is OP_LOST then. */
static bool varint_byte(struct operations *ops, uint8_t byte) {
  ops->value |= (uint64_t)(byte & 0x7f) << ops->shift;
  ops->shift += 7;
  if (byte & 0x80 && ops->shift < 64) return false;
  if (byte & 0x80) ops->next = OP_LOST;
  ops->left = ops->value;
  ops->value = ops->shift = 0;
  return true;
}

static void operation_byte(struct copy *copy, struct operations *ops, uint8_t *byte) {
  switch (ops->next) {
  case OP_RANGE:
    if (--ops->left == 0) ops->next = OP_KIND;
    break;
  case OP_KIND:
    ops->kind = *byte;
    ops->next = *byte > RECORD_KIND_LAST ? OP_LOST : OP_KEY_SIZE;
    break;
  case OP_KEY_SIZE:
    if (!varint_byte(ops, *byte) || ops->next == OP_LOST) break;
    ops->next = ops->left ? OP_KEY : OP_LOST;
    ops->key = (struct scramble_at){0};
    break;
  case OP_KEY:
    copy_key(copy, &ops->key, byte, 1);
    if (--ops->left == 0) ops->next = OP_VALUE_SIZE;
    break;
  case OP_VALUE_SIZE:
    if (!varint_byte(ops, *byte) || ops->next == OP_LOST) break;
    ops->next = ops->left ? OP_VALUE : OP_KIND;
    if (ops->kind == RECORD_BLOB && ops->left > BLOB_REF_SIZE_MAX) ops->kind = RECORD_PUT; /* no reference: blanked */
    ops->key = (struct scramble_at){0};
    break;
  case OP_VALUE:
    if (ops->kind == RECORD_DELETE_RANGE)
      copy_key(copy, &ops->key, byte, 1);
    else
      *byte = ops->kind == RECORD_BLOB ? ops->reference[BLOB_REF_SIZE_MAX - ops->left] : 0;
    if (--ops->left == 0) ops->next = OP_KIND;
    break;
  case OP_LOST:
    *byte = 0;
    break;
  }
}

/* The payload begins with a range of operations that can be replayed, or were: else its bytes may be anything, and are not to
 * be kept. */
static bool begins_record(const struct ring_copy *ring, const struct journal_block *block) {
  const uint8_t *payload = ring->bytes + JOURNAL_HEADER_SIZE;
  if (block->payload_length < RANGE_SIZE) return false;
  uint64_t first = load_u64(payload), last = load_u64(payload + 8);
  return first && last >= first && first <= ring->copy->inspect->sequence + 1;
}

static uint64_t place_of(const struct ring_copy *ring, uint64_t position) {
  return ring->copy->inspect->superblock.block_size + position * ring->size;
}

/* The block of this position in `bytes`. */
static bool read_slot(const struct ring_copy *ring, uint64_t position, uint8_t *bytes) {
  struct device *device = &ring->copy->inspect->device;
  return device_read(device, place_of(ring, position), bytes, ring->size, NULL) == 0 ||
         device_read(device, place_of(ring, position), bytes, ring->size, NULL) == 0;
}

/* Begins the value of a large one's operation at byte `at` of the payload: its reference, of which the end may stand in the
 * block behind this one, though never in the one behind that. Read ahead: its checksum follows from its end. */
static void begin_reference(struct ring_copy *ring, const struct journal_block *block, uint32_t at) {
  struct operations *ops = &ring->operations;
  size_t size = (size_t)ops->left, here = block->payload_length - at, behind = size > here ? size - here : 0;
  uint8_t *reference = ops->reference + sizeof ops->reference - size, *ahead = ring->bytes + ring->size;
  assert(size <= sizeof ops->reference && behind <= ring->size - JOURNAL_HEADER_SIZE);
  if (behind && !read_slot(ring, (block->sequence + 1) % ring->ring, ahead))
    memset(ahead, 0, ring->size); /* what is not valid there ends the record anyway */
  memcpy(reference, ring->bytes + JOURNAL_HEADER_SIZE + at, size - behind);
  memcpy(reference + size - behind, ahead + JOURNAL_HEADER_SIZE, behind);
  copy_reference(ring->copy, reference, size);
}

/* The payload of a record's fragment, in ring->bytes. */
static void change_operations(struct ring_copy *ring, const struct journal_block *block) {
  struct operations *ops = &ring->operations;
  const struct journal_block *last = &ring->last;
  bool follows = block->fragment > 0 && block->sequence == last->sequence + 1 && block->previous == last->hash &&
                 last->kind == JOURNAL_RECORD && last->fragments == block->fragments &&
                 last->fragment + 1 == block->fragment; /* no guard: else it is copied as lost */
  if (block->fragment == 0)
    *ops = (struct operations){.next = begins_record(ring, block) ? OP_RANGE : OP_LOST, .left = RANGE_SIZE};
  else if (!follows)
    ops->next = OP_LOST;
  for (uint32_t i = 0; i < block->payload_length; i++) {
    bool sized = ops->next == OP_VALUE_SIZE;
    operation_byte(ring->copy, ops, ring->bytes + JOURNAL_HEADER_SIZE + i);
    if (sized && ops->next == OP_VALUE && ops->kind == RECORD_BLOB && !ring->copy->collecting)
      begin_reference(ring, block, i + 1);
  }
  if (block->fragment + 1 == block->fragments && !ring->copy->collecting) ring->copy->report->journal_records++;
}

/* ---- links and pointers ------------------------------------------------------------------------------------------ */

/* What stands in place of `hash`, the checksum of block `sequence`; 0 names none. */
static uint64_t link_of(const struct ring_copy *ring, uint64_t sequence, uint64_t hash) {
  const struct ring_slot *slot = &ring->slots[sequence % ring->ring];
  if (!hash || sequence % ring->ring >= ring->count) return hash;
  uint64_t link = hash ^ slot->before ^ slot->after;
  return link ? link : hash; /* 0 would name none */
}

static void change_checkpoint(struct ring_copy *ring, struct journal_block *block) {
  struct copy *copy = ring->copy;
  struct checkpoint_record record;
  struct volume_bounds bounds = copy->inspect->io.bounds;
  uint8_t *payload = ring->bytes + JOURNAL_HEADER_SIZE;
  uint64_t there = copy->inspect->device_blocks, formatted = copy->inspect->superblock.device_blocks;
  bounds.data_end = (there > formatted ? there : formatted) - 1;
  if (!checkpoint_record_decode(payload, block->payload_length, &bounds, &record)) return; /* no bytes of users */
  record.previous_hash = link_of(ring, record.previous, record.previous_hash);
  if (record.root.generation) record.root.checksum = copy_pointer_sum(copy, &record.root);
  if (record.catalog.generation) record.catalog.checksum = copy_pointer_sum(copy, &record.catalog);
  checkpoint_record_encode(&record, payload, block->payload_length);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

/* The block in ring->bytes; false: it is not valid for its place. */
static bool decode(const struct ring_copy *ring, uint64_t position, struct journal_block *block) {
  const struct block_io *io = &ring->copy->inspect->io;
  const uint8_t *payload;
  return journal_block_decode(ring->bytes, ring->size, io->seed, io->fsid, block, &payload) &&
         block->sequence % ring->ring == position;
  /* guard: bounds; equivalent journal_block_decode(ring->bytes, ring->size, io->seed, io->fsid, block, &payload): what is
   * none leaves none in `block`, which is none again when it is encoded */
}

static int put_slot(struct ring_copy *ring, uint64_t position) {
  struct copy *copy = ring->copy;
  copy->report->written_bytes += ring->size;
  return device_write(&copy->to, place_of(ring, position), ring->bytes, ring->size, copy->error);
}

/* A valid block, changed. */
static int copy_block(struct ring_copy *ring, uint64_t position) {
  struct copy *copy = ring->copy;
  struct journal_block block = {0};
  if (!read_slot(ring, position, ring->bytes) || !decode(ring, position, &block))
    return 0; /* it was valid a moment ago */
  if (block.kind == JOURNAL_RECORD)
    change_operations(ring, &block);
  else if (block.kind == JOURNAL_CHECKPOINT && !copy->collecting)
    change_checkpoint(ring, &block);
  else
    memset(ring->bytes + JOURNAL_HEADER_SIZE, 0, block.payload_length);
  ring->last = block;
  if (copy->collecting) return 0;
  if (block.sequence) block.previous = link_of(ring, block.sequence - 1, block.previous);
  block.checkpoint_hash = link_of(ring, block.checkpoint, block.checkpoint_hash);
  uint8_t *payload = ring->bytes + ring->size;
  memcpy(payload, ring->bytes + JOURNAL_HEADER_SIZE, block.payload_length);
  journal_block_encode(&block, payload, copy->inspect->io.seed, ring->bytes, ring->size);
  ring->slots[position].after = block.hash;
  return put_slot(ring, position);
}

/* A block that is none: its header, when it looks like one of this volume, and no valid checksum. */
static int copy_invalid(struct ring_copy *ring, uint64_t position) {
  const struct block_io *io = &ring->copy->inspect->io;
  struct journal_block block;
  bool known = read_slot(ring, position, ring->bytes) && memcmp(ring->bytes + 8, "WJNL", 4) == 0 &&
               memcmp(ring->bytes + 16, io->fsid, sizeof io->fsid) == 0;
  if (!known) return 0;
  memset(ring->bytes + JOURNAL_HEADER_SIZE, 0, ring->size - JOURNAL_HEADER_SIZE);
  if (decode(ring, position, &block)) ring->bytes[0] ^= 1;
  ring->slots[position].after = load_u64(ring->bytes);
  ring->copy->report->damaged++;
  return put_slot(ring, position);
}

/* ---- the ring ---------------------------------------------------------------------------------------------------- */

static void survey(struct ring_copy *ring) {
  for (uint64_t i = 0; i < ring->count; i++) {
    struct journal_block block = {0};
    bool readable = read_slot(ring, i, ring->bytes);
    uint64_t field = readable ? load_u64(ring->bytes) : 0;
    bool valid = readable && decode(ring, i, &block);
    ring->slots[i] = (struct ring_slot){valid, block.sequence, field, 0};
  }
}

/* Whether a comes before b. */
static bool before(const struct ring_copy *ring, uint64_t a, uint64_t b) {
  uint64_t x = ring->slots[a].sequence, y = ring->slots[b].sequence;
  return x != y ? x < y : a < b;
}

static void sift(struct ring_copy *ring, uint64_t at, uint64_t count) {
  for (uint64_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && before(ring, ring->order[child], ring->order[child + 1])) child++;
    if (!before(ring, ring->order[at], ring->order[child])) return;
    uint64_t higher = ring->order[child];
    ring->order[child] = ring->order[at];
    ring->order[at] = higher;
  }
}

/* A heap, for qsort takes memory of its own. */
static void sort(struct ring_copy *ring) {
  for (uint64_t i = 0; i < ring->count; i++) ring->order[i] = i;
  for (uint64_t i = ring->count / 2; i-- > 0;) sift(ring, i, ring->count);
  for (uint64_t end = ring->count; end-- > 1;) {
    uint64_t last = ring->order[end];
    ring->order[end] = ring->order[0];
    ring->order[0] = last;
    sift(ring, 0, end);
  }
}

/* The invalid ones first: the checksum that stands in one may be named all the same. */
static int copy_slots(struct ring_copy *ring) {
  int status = 0;
  survey(ring);
  sort(ring);
  for (uint64_t i = 0; i < ring->count && status == 0 && !ring->copy->collecting; i++)
    if (!ring->slots[i].valid) status = copy_invalid(ring, i);
  for (uint64_t i = 0; i < ring->count && status == 0; i++)
    if (ring->slots[ring->order[i]].valid) status = copy_block(ring, ring->order[i]);
  return status;
}

int copy_ring(struct copy *copy) {
  const struct superblock *sb = &copy->inspect->superblock;
  struct mem *mem = &copy->inspect->mem;
  struct ring_copy ring = {.copy = copy, .ring = superblock_ring_blocks(sb), .size = sb->journal_block_size};
  ring.count = superblock_ring_there(sb, copy->inspect->device.raw->geometry.size);
  if (ring.count == 0) return 0;
  ring.slots = mem_array(mem, ring.count, sizeof *ring.slots);
  ring.order = mem_array(mem, ring.count, sizeof *ring.order);
  ring.bytes = mem_alloc_aligned(mem, 2 * (uint64_t)ring.size, BLOCK_IO_ALIGNMENT);
  int status = ring.slots && ring.order && ring.bytes ? copy_slots(&ring) : status_nomem(copy->error);
  mem_array_free(mem, ring.slots, ring.count, sizeof *ring.slots);
  mem_array_free(mem, ring.order, ring.count, sizeof *ring.order);
  mem_free(mem, ring.bytes, 2 * (uint64_t)ring.size);
  return status;
}
