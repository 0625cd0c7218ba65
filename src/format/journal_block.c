/* Owns: the bytes of a journal block, and of one operation inside a record's payload.
 *
 * Always true: a decoded block has a good checksum, this volume's fsid, a known kind, a fragment inside its record, a
 * payload inside the block, and nothing but zeros where the layout says zero: decode then encode gives the same bytes.
 * Whether it belongs to the chain is not decided here.
 *
 * Order: the checksum is filled in last and proven before any field is looked at, except for the magic, which lets a
 * scan pass over foreign blocks cheaply.
 *
 * See: journal_block.h for the layout; tests/unit/test_journal_block.c. */
#include "format/journal_block.h"

#include <assert.h>
#include <string.h>
#include "base/wire.h"
#include "codec/checksum.h"
#include "format/range.h"
#include "format/record.h"

static const uint8_t MAGIC[4] = {'W', 'J', 'N', 'L'};
enum { MAGIC_OFFSET = 8, FSID_OFFSET = 16, SEQUENCE_OFFSET = 48 };

int epoch_compare(struct epoch a, struct epoch b) {
  if (a.number != b.number) return a.number < b.number ? -1 : 1;
  if (a.random != b.random) return a.random < b.random ? -1 : 1;
  return 0;
}

/* What must hold of the fields of a block of this size, before it is written and after it is read. */
static bool fields_valid(const struct journal_block *block, uint32_t size) {
  if (block->kind > JOURNAL_SEAL) return false;                    /* guard: bounds */
  if (block->flags & ~JOURNAL_UNPROVEN) return false;              /* guard: bounds */
  if (block->flags && block->kind != JOURNAL_RECORD) return false; /* guard: bounds */
  /* So fragments >= 1. */
  if (block->fragment >= block->fragments) return false;                    /* guard: bounds */
  if (block->kind != JOURNAL_RECORD && block->fragments != 1) return false; /* guard: bounds */
  if ((block->kind == JOURNAL_EMPTY || block->kind == JOURNAL_SEAL) && block->payload_length)
    return false;                                             /* guard: bounds */
  return block->payload_length <= size - JOURNAL_HEADER_SIZE; /* guard: bounds */
}

static bool all_zero(const uint8_t *bytes, size_t size) {
  return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

void journal_block_encode(struct journal_block *block, const uint8_t *payload, uint64_t seed, uint8_t *out,
                          uint32_t size) {
  assert(size >= JOURNAL_HEADER_SIZE && fields_valid(block, size));
  memset(out, 0, size);
  struct wire_writer w = wire_writer(out, size);
  wire_put_u64(&w, 0);
  wire_put_bytes(&w, MAGIC, sizeof MAGIC);
  wire_put_u8(&w, block->kind);
  wire_put_u8(&w, block->flags);
  wire_put_room(&w, 2);
  wire_put_bytes(&w, block->fsid, sizeof block->fsid);
  wire_put_u64(&w, block->epoch.number);
  wire_put_u64(&w, block->epoch.random);
  wire_put_u64(&w, block->sequence);
  wire_put_u64(&w, block->previous);
  wire_put_u64(&w, block->flushed_through);
  wire_put_u64(&w, block->checkpoint);
  wire_put_u64(&w, block->checkpoint_hash);
  wire_put_u32(&w, block->fragment);
  wire_put_u32(&w, block->fragments);
  wire_put_u32(&w, block->payload_length);
  wire_put_room(&w, 4);
  assert(w.at == JOURNAL_HEADER_SIZE);
  wire_put_bytes(&w, payload, block->payload_length);
  assert(!w.failed);
  block->hash = checksum(seed, out + 8, size - 8);
  store_u64(out, block->hash);
}

bool journal_block_decode(const uint8_t *in, uint32_t size, uint64_t seed, const uint8_t fsid[16],
                          struct journal_block *block, const uint8_t **payload) {
  if (size < JOURNAL_HEADER_SIZE) return false; /* guard: bounds */
  struct wire_reader r = wire_reader(in, size);
  block->hash = wire_get_u64(&r);
  if (memcmp(wire_get_bytes(&r, sizeof MAGIC), MAGIC, sizeof MAGIC) != 0) return false; /* guard: bounds */
  if (checksum(seed, in + 8, size - 8) != block->hash) return false;                    /* guard: checksum */
  block->kind = wire_get_u8(&r);
  block->flags = wire_get_u8(&r);
  bool zeros = all_zero(wire_get_bytes(&r, 2), 2);
  memcpy(block->fsid, wire_get_bytes(&r, sizeof block->fsid), sizeof block->fsid);
  block->epoch.number = wire_get_u64(&r);
  block->epoch.random = wire_get_u64(&r);
  block->sequence = wire_get_u64(&r);
  block->previous = wire_get_u64(&r);
  block->flushed_through = wire_get_u64(&r);
  block->checkpoint = wire_get_u64(&r);
  block->checkpoint_hash = wire_get_u64(&r);
  block->fragment = wire_get_u32(&r);
  block->fragments = wire_get_u32(&r);
  block->payload_length = wire_get_u32(&r);
  zeros = all_zero(wire_get_bytes(&r, 4), 4) && zeros;
  assert(!r.failed && r.at == JOURNAL_HEADER_SIZE);
  if (!zeros || !fields_valid(block, size) || memcmp(block->fsid, fsid, sizeof block->fsid) != 0)
    return false; /* guard: bounds */
  *payload = in + JOURNAL_HEADER_SIZE;
  return all_zero(*payload + block->payload_length,
                  size - JOURNAL_HEADER_SIZE - block->payload_length); /* guard: bounds */
}

uint64_t journal_block_peek_sequence(const uint8_t *in) { return load_u64(in + SEQUENCE_OFFSET); }

const uint8_t *journal_block_peek_fsid(const uint8_t *in) {
  return memcmp(in + MAGIC_OFFSET, MAGIC, sizeof MAGIC) == 0 ? in + FSID_OFFSET : NULL;
}

uint64_t journal_operation_size(size_t key_size, size_t value_size) {
  return 1 + wire_varint_size(key_size) + (uint64_t)key_size + wire_varint_size(value_size) + (uint64_t)value_size;
}

void journal_operation_encode(struct wire_writer *w, const struct journal_operation *operation) {
  assert(operation->kind != RECORD_DELETE || operation->value.size == 0);
  assert(operation->key.size >= 1);
  wire_put_u8(w, operation->kind);
  wire_put_varint(w, operation->key.size);
  wire_put_bytes(w, operation->key.data, operation->key.size);
  wire_put_varint(w, operation->value.size);
  wire_put_bytes(w, operation->value.data, operation->value.size);
}

/* A varint length and so many bytes, in place. */
static struct wodan_slice slice_decode(struct wire_reader *r) {
  uint64_t size = wire_get_varint(r);
  const uint8_t *bytes = wire_get_bytes(r, size);
  return (struct wodan_slice){bytes, bytes ? (size_t)size : 0};
}

bool journal_operation_decode(struct wire_reader *r, struct journal_operation *operation) {
  operation->kind = wire_get_u8(r);
  operation->key = slice_decode(r);
  operation->value = slice_decode(r);
  bool ranged = operation->kind == RECORD_DELETE_RANGE;
  if (operation->kind > RECORD_KIND_LAST) r->failed = true;                        /* guard: bounds */
  if (operation->key.size == 0) r->failed = true;                                  /* guard: bounds */
  if (operation->kind == RECORD_DELETE && operation->value.size) r->failed = true; /* guard: bounds */
  if (ranged && !range_sound(operation->key, operation->value)) r->failed = true;  /* guard: bounds */
  return !r->failed;                                                               /* guard: bounds */
}
