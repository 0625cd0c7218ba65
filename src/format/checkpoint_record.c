/* Owns: the payload of a checkpoint block.
 *
 * Always true: a decoded record uses its payload to the last byte; its volume is not larger than the bounds it was read
 * under; both roots lie inside that volume and are older than the record. Relations to other journal blocks (its own
 * sequence, the chain) are proven by the journal, which knows them.
 *
 * Order: device_blocks is proven first, because the pointers behind it are held to the volume it describes.
 *
 * See: checkpoint_record.h for the layout; tests/unit/test_checkpoint_record.c. */
#include "format/checkpoint_record.h"

uint32_t checkpoint_record_encode(const struct checkpoint_record *record, uint8_t *out, uint32_t size) {
  struct wire_writer w = wire_writer(out, size);
  wire_put_u64(&w, record->generation);
  wire_put_u64(&w, record->sequence);
  wire_put_u64(&w, record->tail);
  wire_put_u64(&w, record->previous);
  wire_put_u64(&w, record->previous_hash);
  wire_put_u64(&w, record->device_blocks);
  wire_put_u64(&w, record->compat);
  wire_put_u64(&w, record->read_only_compat);
  wire_put_u64(&w, record->incompat);
  block_ptr_encode(&w, &record->root);
  block_ptr_encode(&w, &record->catalog);
  return w.failed ? 0 : (uint32_t)w.at;
}

bool checkpoint_record_decode(const uint8_t *in, uint32_t size, const struct volume_bounds *bounds,
                              struct checkpoint_record *record) {
  struct wire_reader r = wire_reader(in, size);
  record->generation = wire_get_u64(&r);
  record->sequence = wire_get_u64(&r);
  record->tail = wire_get_u64(&r);
  record->previous = wire_get_u64(&r);
  record->previous_hash = wire_get_u64(&r);
  record->device_blocks = wire_get_u64(&r);
  record->compat = wire_get_u64(&r);
  record->read_only_compat = wire_get_u64(&r);
  record->incompat = wire_get_u64(&r);
  if (record->previous_hash == 0 && record->tail > record->previous) return false; /* guard: bounds */
  struct volume_bounds now = *bounds;
  now.data_end = record->device_blocks - 1; /* 0 blocks end beyond every bound */
  if (now.data_end > bounds->data_end || now.data_end <= now.data_first) return false; /* guard: bounds */
  block_ptr_decode(&r, &now, &record->root);
  block_ptr_decode(&r, &now, &record->catalog);
  if (r.failed || r.at != r.size) return false; /* guard: bounds */
  /* So the record's own generation is never 0. */
  return record->root.generation < record->generation &&
         record->catalog.generation < record->generation; /* guard: bounds */
}
