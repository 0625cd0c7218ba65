/* Owns: the journal on its own, for the tests of its rules. See ring_rig.h. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/wire.h"
#include "codec/checksum.h"
#include "support/ring_rig.h"

static const uint8_t FSID[16] = "the fsid of ring";

static struct epoch next_epoch(struct ring *ring) {
  uint64_t number = ++ring->epoch;
  return (struct epoch){.number = number, .random = number * 0x9E3779B97F4A7C15ull};
}

static void ring_init(struct ring *ring, uint64_t blocks) {
  struct journal_setup setup = {.mem = &ring->mem,
                                .device = &ring->device,
                                .fsid = FSID,
                                .seed = checksum_seed(FSID),
                                .block_size = RING_BLOCK,
                                .device_block = RING_BLOCK,
                                .blocks = blocks};
  assert_int_equal(journal_init(&ring->journal, &setup, NULL), 0);
}

void ring_make(struct ring *ring, uint64_t blocks, uint32_t sector) {
  memset(ring, 0, sizeof *ring);
  mem_init(&ring->mem, NULL);
  ring->bounds = (struct volume_bounds){
      .block_size = RING_BLOCK, .data_first = 1 + blocks, .data_end = 1 + blocks + RING_DATA_BLOCKS};
  struct sim_options options = {.seed = 7};
  assert_int_equal(sim_create((2 + blocks + RING_DATA_BLOCKS) * RING_BLOCK, sector, &options, &ring->sim), 0);
  assert_int_equal(device_init(&ring->device, sim_device(ring->sim), NULL), 0);
  ring_init(ring, blocks);
  ring->journal.epoch = next_epoch(ring);
  assert_int_equal(journal_format(&ring->journal, NULL), 0);
  struct checkpoint_record first = {.generation = ++ring->generation,
                                    .device_blocks = ring->bounds.data_end + 1,
                                    .tail = ring->journal.head,
                                    .previous = ring->journal.head};
  assert_int_equal(journal_append_checkpoint(&ring->journal, &first, NULL), 0);
  ring_flush(ring);
}

void ring_release(struct ring *ring) {
  journal_release(&ring->journal);
  assert_int_equal(ring->mem.used, 0);
  assert_int_equal(sim_violations(ring->sim), 0);
  sim_close(ring->sim);
}

static size_t operation(uint64_t number, size_t size, uint8_t out[1024]) {
  char key[24];
  uint8_t value[512];
  memset(value, (int)('a' + number % 26), sizeof value);
  int length = snprintf(key, sizeof key, "k%llu", (unsigned long long)number);
  struct wire_writer w = wire_writer(out, 1024);
  struct journal_operation op = {.kind = RECORD_PUT, .key = {key, (size_t)length}, .value = {value, size}};
  journal_operation_encode(&w, &op);
  assert_false(w.failed);
  return w.at;
}

uint64_t ring_record_of(struct ring *ring, uint64_t first, uint64_t last, size_t size) {
  uint8_t header[16], bytes[1024];
  uint64_t payload = sizeof header, block = ring->journal.head;
  for (uint64_t n = first; n <= last; n++) payload += operation(n, size, bytes);
  store_u64(header, first);
  store_u64(header + 8, last);
  assert_int_equal(journal_record_begin(&ring->journal, payload, false, NULL), 0);
  assert_int_equal(journal_record_put(&ring->journal, header, sizeof header, NULL), 0);
  for (uint64_t n = first; n <= last; n++) {
    size_t length = operation(n, size, bytes);
    assert_int_equal(journal_record_put(&ring->journal, bytes, length, NULL), 0);
  }
  assert_int_equal(journal_record_end(&ring->journal, NULL), 0);
  ring->journaled = last;
  return block;
}

uint64_t ring_record(struct ring *ring, unsigned count, size_t size) {
  ring->operation += count;
  return ring_record_of(ring, ring->journaled + 1, ring->operation, size);
}

uint64_t ring_checkpoint(struct ring *ring, uint64_t sequence, uint64_t tail) {
  uint64_t block = ring->journal.head;
  struct checkpoint_record record = {.generation = ++ring->generation,
                                     .sequence = sequence,
                                     .tail = tail ? tail : block,
                                     .previous = ring->journal.durable.sequence,
                                     .previous_hash = ring->journal.durable.hash,
                                     .device_blocks = ring->bounds.data_end + 1};
  assert_int_equal(journal_append_checkpoint(&ring->journal, &record, NULL), 0);
  if (sequence > ring->journaled) ring->journaled = sequence;
  return block;
}

uint64_t ring_seal(struct ring *ring) {
  uint64_t block = ring->journal.head;
  assert_int_equal(journal_append_seal(&ring->journal, NULL), 0);
  return block;
}

void ring_flush(struct ring *ring) {
  assert_int_equal(device_flush(&ring->device, NULL), 0);
  journal_flushed(&ring->journal);
}

static void power(struct ring *ring, const uint8_t *choice, size_t size) {
  struct sim_image image;
  assert_int_equal(sim_image_init(&image, ring->sim), 0);
  sim_image_choose(&image, ring->sim, choice, size);
  assert_int_equal(sim_load(ring->sim, &image), 0);
  sim_image_release(&image);
  uint64_t blocks = ring->journal.blocks;
  journal_release(&ring->journal);
  ring_init(ring, blocks);
}

/* Choices start with four bytes: the last segment, in which the parts are chosen. */
void ring_power_sectors(struct ring *ring, const uint8_t *choices, size_t count) {
  uint8_t choice[4 + 256] = {0};
  assert_true(count <= 256);
  uint32_t segments = sim_window_segments(ring->sim);
  store_u32(choice, segments ? segments - 1 : 0);
  memcpy(choice + 4, choices, count);
  power(ring, choice, 4 + count);
}

void ring_power(struct ring *ring, unsigned landed) {
  uint8_t choices[256] = {0};
  uint32_t per_block = RING_BLOCK / sim_sector(ring->sim);
  for (uint32_t i = 0; i < 256 / per_block && i < 32; i++)
    memset(choices + i * per_block, landed >> i & 1 ? SIM_NEW : SIM_OLD, per_block);
  ring_power_sectors(ring, choices, sizeof choices);
}

int ring_mount(struct ring *ring, struct wodan_error *error) {
  return journal_mount(&ring->journal, &ring->bounds, &ring->mounted, error);
}

static int nothing(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  (void)block;
  (void)error;
  char key[24];
  uint64_t *last = context;
  int length = snprintf(key, sizeof key, "k%llu", (unsigned long long)record->sequence);
  assert_int_equal(record->sequence, *last + 1);
  assert_int_equal(record->key.size, length);
  assert_memory_equal(record->key.data, key, (size_t)length);
  *last = record->sequence;
  return 0;
}

int ring_replay(struct ring *ring, const struct checkpoint_mark *mark, uint64_t covered, bool stop, uint64_t *last,
                struct wodan_error *error) {
  *last = covered;
  struct journal_replay replay = {.mark = *mark,
                                  .head = ring->mounted.head,
                                  .covered = covered,
                                  .stop_at_checkpoint = stop,
                                  .apply = nothing,
                                  .context = last};
  return journal_replay(&ring->journal, &replay, error);
}

void ring_continue(struct ring *ring) {
  uint64_t last;
  assert_int_equal(ring_replay(ring, &ring->mounted.newest_mark, ring->mounted.newest.sequence, false, &last, NULL), 0);
  ring->operation = ring->journaled = last;
  if (ring->epoch < ring->mounted.epoch_max.number) ring->epoch = ring->mounted.epoch_max.number;
  ring->generation = ring->mounted.generation_max;
  journal_continue(&ring->journal, &ring->mounted, next_epoch(ring));
}

static uint64_t place(const struct ring *ring, uint64_t sequence) {
  return ring->journal.offset + sequence % ring->journal.blocks * RING_BLOCK;
}

void ring_rot(struct ring *ring, uint64_t sequence) {
  uint8_t byte = (uint8_t)~sim_medium(ring->sim)[place(ring, sequence) + 100];
  sim_poke(ring->sim, place(ring, sequence) + 100, &byte, 1);
}

void ring_save(const struct ring *ring, uint64_t sequence, uint8_t bytes[RING_BLOCK]) {
  memcpy(bytes, sim_medium(ring->sim) + place(ring, sequence), RING_BLOCK);
}

void ring_restore(struct ring *ring, uint64_t sequence, const uint8_t bytes[RING_BLOCK]) {
  sim_poke(ring->sim, place(ring, sequence), bytes, RING_BLOCK);
}

bool ring_peek(const struct ring *ring, uint64_t sequence, struct journal_block *block) {
  const uint8_t *payload;
  return journal_block_decode(sim_content(ring->sim) + place(ring, sequence), RING_BLOCK, ring->journal.seed, FSID,
                              block, &payload);
}
