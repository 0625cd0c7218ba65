/* The journal on its own: the ring is written and read as FORMAT.md part 6 and the rules of part 7 say. The stories of
 * crashes that break without a rule are in tests/crash/test_protocol.c. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/wire.h"
#include "codec/checksum.h"
#include "support/ring_rig.h"

static void mount_ok(struct ring *ring) {
  struct wodan_error error;
  int status = ring_mount(ring, &error);
  if (status < 0) fail_msg("mount: %s", error.message);
}

static void mount_corrupt(struct ring *ring, const char *word) {
  struct wodan_error error = {0};
  assert_int_equal(ring_mount(ring, &error), WODAN_ECORRUPT);
  if (!strstr(error.message, word)) fail_msg("'%s' is not in: %s", word, error.message);
  assert_true(error.block >= 1 && error.block <= ring->journal.blocks);
}

static uint64_t replayed(struct ring *ring) {
  uint64_t last;
  struct wodan_error error;
  int status = ring_replay(ring, &ring->mounted.newest_mark, ring->mounted.newest.sequence, false, &last, &error);
  if (status < 0) fail_msg("replay: %s", error.message);
  return last;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static void test_journal__format_fills_the_ring_with_chained_empty_blocks(void **state) {
  (void)state;
  struct ring ring;
  struct journal_block block, before = {0};
  ring_make(&ring, 8, 512);
  for (uint64_t q = 1; q < 8; q++) { /* block 0 was taken by the first checkpoint */
    assert_true(ring_peek(&ring, q, &block));
    assert_int_equal(block.kind, JOURNAL_EMPTY);
    assert_int_equal(block.sequence, q);
    if (q > 1) assert_int_equal(block.previous, before.hash);
    before = block;
  }
  assert_true(ring_peek(&ring, 8, &block));
  assert_int_equal(block.kind, JOURNAL_CHECKPOINT);
  assert_int_equal(block.previous, before.hash);
  assert_int_equal(block.checkpoint, 8);
  assert_int_equal(block.checkpoint_hash, 0);
  assert_int_equal(block.flushed_through, 7);
  ring_release(&ring);
}

static void test_journal__a_record_takes_as_many_blocks_as_its_payload_needs(void **state) {
  (void)state;
  struct ring ring;
  ring_make(&ring, 8, 512);
  uint64_t room = journal_payload_max(&ring.journal);
  assert_int_equal(room, RING_BLOCK - JOURNAL_HEADER_SIZE);
  assert_int_equal(journal_record_blocks(&ring.journal, 1), 1);
  assert_int_equal(journal_record_blocks(&ring.journal, room), 1);
  assert_int_equal(journal_record_blocks(&ring.journal, room + 1), 2);
  assert_int_equal(journal_record_blocks(&ring.journal, 3 * room), 3);
  /* 16 bytes of header, then operations of 1 + 1 + 2 + 2 + size: one that fills a block to the last byte. */
  ring_record(&ring, 1, room - 16 - 6);
  assert_int_equal(ring.journal.head, 10);
  ring_record(&ring, 1, room - 16 - 5);
  assert_int_equal(ring.journal.head, 12);
  ring_flush(&ring);
  mount_ok(&ring);
  assert_int_equal(replayed(&ring), 2);
  ring_release(&ring);
}

static void test_journal__blocks_name_the_one_before_and_what_was_flushed(void **state) {
  (void)state;
  struct ring ring;
  struct journal_block first, second, block;
  ring_make(&ring, 8, 512);
  ring_record(&ring, 2, 300); /* 9, 10: two fragments */
  ring_flush(&ring);
  ring_record(&ring, 1, 10); /* 11 */
  assert_true(ring_peek(&ring, 9, &first) && ring_peek(&ring, 10, &second) && ring_peek(&ring, 11, &block));
  assert_int_equal(first.fragment, 0);
  assert_int_equal(first.fragments, 2);
  assert_int_equal(second.fragment, 1);
  assert_int_equal(second.previous, first.hash);
  assert_int_equal(first.flushed_through, 8);
  assert_int_equal(second.flushed_through, 8); /* the end of a record, never its middle */
  assert_int_equal(block.flushed_through, 10);
  assert_int_equal(block.previous, second.hash);
  ring_release(&ring);
}

static void test_journal__room_keeps_two_checkpoint_records_free(void **state) {
  (void)state;
  struct ring ring;
  ring_make(&ring, 8, 512); /* block 8 written, tail of both roots 8: blocks up to 15 may be written, 7 of them */
  for (uint64_t n = 1; n <= 5; n++) {
    assert_true(journal_room(&ring.journal, 6 - n));
    assert_false(journal_room(&ring.journal, 7 - n));
    ring_record(&ring, 1, 10);
    ring_flush(&ring);
  }
  assert_false(journal_room(&ring.journal, 1));
  assert_true(journal_room(&ring.journal, 0));
  assert_false(journal_room(&ring.journal, UINT64_MAX));
  assert_true(journal_room_for_checkpoint(&ring.journal));
  ring_checkpoint(&ring, 5, 0); /* 14; the one before keeps its replay from 8 on */
  ring_flush(&ring);
  assert_true(journal_room_for_checkpoint(&ring.journal));
  assert_false(journal_room(&ring.journal, 1));
  ring_checkpoint(&ring, 5, 0); /* 15; now the older root is that of 14 */
  assert_false(journal_room_for_checkpoint(&ring.journal));
  ring_flush(&ring);
  assert_true(journal_room(&ring.journal, 4));
  assert_false(journal_room(&ring.journal, 5));
  assert_int_equal(ring.journal.head - ring.journal.durable.tail, 1);
  ring_release(&ring);
}

static void test_journal__memory_is_counted_and_given_back(void **state) {
  (void)state;
  struct ring ring;
  ring_make(&ring, 8, 512);
  assert_int_equal(ring.mem.used, journal_memory(RING_BLOCK, 8));
  assert_int_equal(journal_memory(RING_BLOCK, 1000), 65 * RING_BLOCK);
  ring_release(&ring);
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static void test_journal__a_fresh_ring_mounts_on_its_first_checkpoint(void **state) {
  (void)state;
  struct ring ring;
  ring_make(&ring, 8, 512);
  mount_ok(&ring);
  assert_int_equal(ring.mounted.newest_mark.sequence, 8);
  assert_int_equal(ring.mounted.newest_mark.tail, 8);
  assert_int_equal(ring.mounted.head, 9);
  assert_int_equal(ring.mounted.generation_max, 1);
  assert_int_equal(ring.mounted.epoch_max.number, 1);
  assert_false(ring.mounted.has_older);
  assert_string_equal(ring.mounted.older_problem, "");
  assert_false(ring.mounted.linear);
  assert_false(ring.mounted.debris);
  ring_release(&ring);
}

/* Every place the head can have in the ring, two laps long, for several sizes (not only powers of two). */
static void test_journal__bisect_finds_the_head_wherever_it_is(void **state) {
  (void)state;
  static const uint64_t sizes[] = {8, 9, 13, 16, 31};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    struct ring ring;
    ring_make(&ring, sizes[s], 512);
    for (uint64_t step = 0; step < 3 * sizes[s]; step++) {
      mount_ok(&ring);
      assert_false(ring.mounted.linear);
      assert_int_equal(ring.mounted.head, sizes[s] + 1 + step);
      assert_int_equal(ring.mounted.head, ring.journal.head);
      assert_int_equal(ring.mounted.head_hash, ring.journal.head_hash);
      assert_int_equal(replayed(&ring), ring.operation);
      if (!journal_room(&ring.journal, 1) || step % 3 == 2)
        ring_checkpoint(&ring, ring.operation, 0);
      else
        ring_record(&ring, 1, 20);
      ring_flush(&ring);
    }
    ring_release(&ring);
  }
}

static void test_journal__an_invalid_probe_makes_the_whole_ring_be_read(void **state) {
  (void)state;
  for (uint64_t rotten = 10; rotten < 16; rotten++) { /* blocks of lap 0 that nobody needs */
    struct ring ring;
    ring_make(&ring, 8, 512);
    ring_record(&ring, 1, 20); /* 9 */
    ring_flush(&ring);
    ring_rot(&ring, rotten);
    mount_ok(&ring);
    assert_int_equal(ring.mounted.head, 10);
    assert_int_equal(replayed(&ring), 1);
    assert_int_equal(ring.mounted.debris, rotten == 10); /* at the head's place */
    if (rotten == 12) assert_true(ring.mounted.linear);  /* the middle is probed */
    ring_release(&ring);
  }
}

/* A checkpoint record at position 0 was a lost write: a valid block of the lap before lies there, so that bisection sees
 * all positions in one lap and ends at the last, older than the damage. Two later checkpoints need none of it: the
 * volume refused to open all the same. */
static void test_journal__a_stale_block_that_misleads_the_bisection_is_not_corruption(void **state) {
  (void)state;
  struct ring ring;
  uint8_t before[RING_BLOCK];
  ring_make(&ring, 8, 512);
  while (ring.journal.head < 16) {
    if (journal_room(&ring.journal, 1) && ring.journal.head % 3)
      ring_record(&ring, 1, 20);
    else
      ring_checkpoint(&ring, ring.operation, 0);
    ring_flush(&ring);
  }
  ring_save(&ring, 16, before);
  for (int i = 0; i < 3; i++) { /* 16 to 18 */
    ring_checkpoint(&ring, ring.operation, 0);
    ring_flush(&ring);
    if (i == 0) ring_restore(&ring, 16, before);
  }
  ring_record(&ring, 1, 20);
  ring_flush(&ring);
  mount_ok(&ring);
  assert_int_equal(ring.mounted.newest_mark.sequence, 18);
  assert_true(ring.mounted.has_older);
  assert_int_equal(ring.mounted.head, 20);
  assert_true(ring.mounted.linear);
  assert_int_equal(replayed(&ring), ring.operation);
  ring_release(&ring);
}

static void test_journal__the_walk_crosses_the_end_of_the_ring(void **state) {
  (void)state;
  struct ring ring;
  ring_make(&ring, 8, 512);
  ring_record(&ring, 3, 10); /* 9 */
  ring_checkpoint(&ring, 3, 0);
  ring_flush(&ring);
  ring_checkpoint(&ring, 3, 0); /* 11 */
  ring_flush(&ring);
  for (int i = 0; i < 4; i++) { /* 12 to 15, of two blocks each from 14 on */
    ring_record(&ring, 2, i < 2 ? 10 : 250);
    ring_flush(&ring);
    mount_ok(&ring);
    assert_int_equal(replayed(&ring), ring.operation);
    assert_int_equal(ring.mounted.newest_mark.sequence, 11);
    if (i == 2) assert_int_equal(ring.mounted.head, 16);
    if (i == 2) break;
  }
  ring_release(&ring);
}

static void test_journal__a_record_wraps_round_the_end_of_the_ring(void **state) {
  (void)state;
  struct ring ring;
  ring_make(&ring, 9, 512);
  while (ring.journal.head % 9 != 8) {
    ring_checkpoint(&ring, ring.operation, 0);
    ring_flush(&ring);
  }
  ring_record(&ring, 3, 300); /* the last place, then the first two */
  ring_flush(&ring);
  assert_int_equal(ring.journal.head % 9, 2);
  mount_ok(&ring);
  assert_int_equal(replayed(&ring), 3);
  ring_release(&ring);
}

static void test_journal__a_torn_tail_is_left_out_whole(void **state) {
  (void)state;
  for (unsigned landed = 0; landed < 8; landed++) { /* which of the three fragments */
    struct ring ring;
    ring_make(&ring, 16, 512);
    ring_record(&ring, 1, 20);
    ring_flush(&ring);
    ring_record(&ring, 3, 300);
    ring_power(&ring, landed);
    mount_ok(&ring);
    assert_int_equal(ring.mounted.head, landed == 7 ? 21 : 18);
    assert_int_equal(replayed(&ring), landed == 7 ? 4 : 1);
    ring_release(&ring);
  }
}

static void test_journal__a_rotten_acknowledged_block_with_a_later_witness_is_corruption(void **state) {
  (void)state;
  struct ring ring;
  ring_make(&ring, 16, 512);
  ring_record(&ring, 1, 20); /* 17 */
  ring_flush(&ring);
  ring_record(&ring, 1, 20); /* 18 says: flushed through 17 */
  ring_power(&ring, 1);
  ring_rot(&ring, 17);
  mount_corrupt(&ring, "block 18 behind it says it was durable");
  ring_release(&ring);
}

/* The limit that no rule can pass: nothing behind it bears witness. A seal is that witness. */
static void test_journal__a_rotten_newest_record_is_dropped_unless_a_seal_bears_witness(void **state) {
  (void)state;
  for (int sealed = 0; sealed < 2; sealed++) {
    struct ring ring;
    ring_make(&ring, 16, 512);
    ring_record(&ring, 1, 20); /* 17 */
    ring_flush(&ring);
    if (sealed) assert_int_equal(ring_seal(&ring), 18);
    if (sealed) ring_flush(&ring);
    ring_rot(&ring, 17);
    if (sealed) {
      mount_corrupt(&ring, "block 17 is damaged");
    } else {
      mount_ok(&ring);
      assert_int_equal(ring.mounted.head, 17);
      assert_true(ring.mounted.debris);
    }
    ring_release(&ring);
  }
}

/* A record that calls itself a checkpoint, behind a good checksum: it was passed over, and its operations were gone without a
 * word. Now it is no part of the chain, and a seal bears witness for it. */
static void test_journal__a_checkpoint_that_is_none_ends_the_chain(void **state) {
  (void)state;
  for (int sealed = 0; sealed < 2; sealed++) {
    struct ring ring;
    uint8_t bytes[RING_BLOCK];
    ring_make(&ring, 8, 512);
    for (int i = 0; i < 2; i++) {
      ring_record(&ring, 1, 10); /* 9, 10 */
      ring_flush(&ring);
    }
    if (sealed) ring_seal(&ring);
    ring_flush(&ring);
    ring_save(&ring, 10, bytes);
    bytes[12] = JOURNAL_CHECKPOINT;
    store_u64(bytes, checksum(ring.journal.seed, bytes + 8, RING_BLOCK - 8));
    ring_restore(&ring, 10, bytes);
    assert_int_equal(ring_mount(&ring, NULL), sealed ? WODAN_ECORRUPT : 0);
    if (!sealed) assert_int_equal(ring.mounted.head, 10);
    ring_release(&ring);
  }
}

static void test_journal__damage_before_the_newest_checkpoint_is_corruption(void **state) {
  (void)state;
  struct ring ring;
  ring_make(&ring, 16, 512);
  ring_record(&ring, 2, 20); /* 17 */
  ring_flush(&ring);
  ring_checkpoint(&ring, 1, 17); /* 18: operation 2 is replayed from 17 */
  ring_flush(&ring);
  mount_ok(&ring);
  assert_int_equal(replayed(&ring), 2);
  ring_rot(&ring, 17);
  mount_corrupt(&ring, "before the newest checkpoint record");
  ring_release(&ring);
}

static void test_journal__the_newest_checkpoint_on_the_chain_is_the_root(void **state) {
  (void)state;
  struct ring ring;
  ring_make(&ring, 16, 512);
  ring_record(&ring, 2, 20);    /* 17 */
  ring_checkpoint(&ring, 2, 0); /* 18 */
  ring_flush(&ring);
  ring_record(&ring, 1, 20); /* 19, names 18 */
  ring_flush(&ring);
  ring_checkpoint(&ring, 3, 0); /* 20, names 18 too: not durable yet */
  ring_power(&ring, 1);
  mount_ok(&ring);
  assert_int_equal(ring.mounted.newest_mark.sequence, 20);
  assert_int_equal(ring.mounted.newest.sequence, 3);
  assert_true(ring.mounted.has_older);
  assert_int_equal(ring.mounted.older_mark.sequence, 18);
  assert_int_equal(ring.mounted.head, 21);
  ring_release(&ring);
}

static void test_journal__the_previous_root_is_lost_with_a_reason(void **state) {
  (void)state;
  for (uint64_t rotten = 17; rotten <= 19; rotten++) {
    struct ring ring;
    ring_make(&ring, 16, 512);
    ring_record(&ring, 1, 20);     /* 17 */
    ring_checkpoint(&ring, 0, 17); /* 18 */
    ring_flush(&ring);
    ring_record(&ring, 1, 20);    /* 19 */
    ring_checkpoint(&ring, 2, 0); /* 20 */
    ring_flush(&ring);
    ring_rot(&ring, rotten);
    mount_ok(&ring);
    assert_int_equal(ring.mounted.newest_mark.sequence, 20);
    assert_false(ring.mounted.has_older);
    assert_non_null(strstr(ring.mounted.older_problem, rotten == 18 ? "checkpoint record" : "its journal is broken"));
    ring_release(&ring);
  }
}

/* The newest checkpoint has rotted, and the block that would be the start with it. */
static void test_journal__an_older_root_is_found_by_reading_all_checkpoint_records(void **state) {
  (void)state;
  struct ring ring;
  struct wodan_error error;
  ring_make(&ring, 16, 512);
  ring_record(&ring, 2, 20);                   /* 17 */
  uint64_t one = ring_checkpoint(&ring, 2, 0); /* 18 */
  ring_flush(&ring);
  ring_record(&ring, 1, 20); /* 19 */
  uint64_t two = ring_checkpoint(&ring, 3, 0);
  ring_flush(&ring);
  ring_record(&ring, 1, 20);
  ring_flush(&ring);
  mount_ok(&ring);
  struct checkpoint_mark newest = ring.mounted.newest_mark;
  assert_int_equal(newest.sequence, two);
  memset(&ring.mounted, 0, sizeof ring.mounted);
  assert_int_equal(journal_older_root(&ring.journal, &ring.bounds, &newest, &ring.mounted, &error), 0);
  assert_int_equal(ring.mounted.newest_mark.sequence, one);
  assert_true(ring.mounted.has_older); /* format's */
  uint64_t last;
  assert_int_equal(ring_replay(&ring, &ring.mounted.newest_mark, 2, true, &last, &error), 0);
  assert_int_equal(last, 3); /* up to the next checkpoint, not what lies behind it */
  newest = ring.mounted.newest_mark;
  assert_int_equal(journal_older_root(&ring.journal, &ring.bounds, &newest, &ring.mounted, &error), 0);
  assert_int_equal(ring.mounted.newest_mark.sequence, 16);
  newest = ring.mounted.newest_mark;
  assert_int_equal(journal_older_root(&ring.journal, &ring.bounds, &newest, &ring.mounted, &error), WODAN_ECORRUPT);
  mount_ok(&ring);
  uint64_t generation = ring.mounted.newest.generation;
  assert_int_equal(journal_root_of_generation(&ring.journal, &ring.bounds, generation, &ring.mounted, &error), 0);
  assert_int_equal(ring.mounted.newest_mark.sequence, two);
  assert_int_equal(journal_root_of_generation(&ring.journal, &ring.bounds, generation + 1, &ring.mounted, &error),
                   WODAN_ECORRUPT);
  ring_release(&ring);
}

static void test_journal__an_older_root_with_a_broken_chain_is_passed_over(void **state) {
  (void)state;
  struct ring ring;
  struct wodan_error error;
  ring_make(&ring, 16, 512);
  ring_record(&ring, 2, 20);     /* 17 */
  ring_checkpoint(&ring, 1, 17); /* 18 needs 17 */
  ring_flush(&ring);
  uint64_t newest = ring_checkpoint(&ring, 2, 0);
  ring_flush(&ring);
  ring_rot(&ring, 17);
  mount_ok(&ring);
  assert_int_equal(ring.mounted.newest_mark.sequence, newest);
  struct checkpoint_mark below = ring.mounted.newest_mark;
  assert_int_equal(journal_older_root(&ring.journal, &ring.bounds, &below, &ring.mounted, &error), 0);
  assert_int_equal(ring.mounted.newest_mark.sequence, 16);
  ring_release(&ring);
}

static void test_journal__nothing_left_to_start_from_is_corruption(void **state) {
  (void)state;
  struct ring ring;
  ring_make(&ring, 8, 512);
  ring_rot(&ring, 8);
  mount_corrupt(&ring, "names no checkpoint record");
  ring_release(&ring);
}

/* ---- replay ----------------------------------------------------------------------------------------------------- */

static void test_journal__replay_skips_what_the_checkpoint_holds(void **state) {
  (void)state;
  struct ring ring;
  ring_make(&ring, 16, 512);
  ring_record(&ring, 5, 30);     /* 17 */
  ring_checkpoint(&ring, 3, 17); /* 18: in the middle of a record */
  ring_flush(&ring);
  ring_record(&ring, 2, 30);
  ring_seal(&ring);
  ring_record(&ring, 1, 30);
  ring_flush(&ring);
  mount_ok(&ring);
  assert_int_equal(ring.mounted.newest.sequence, 3);
  assert_int_equal(replayed(&ring), 8);
  ring_release(&ring);
}

static void test_journal__a_gap_in_the_replay_is_corruption(void **state) {
  (void)state;
  struct ring ring;
  struct wodan_error error;
  uint64_t last;
  ring_make(&ring, 16, 512);
  ring_record_of(&ring, 1, 2, 20);
  ring_record_of(&ring, 4, 5, 20); /* 3 is missing */
  ring_flush(&ring);
  mount_ok(&ring);
  assert_int_equal(ring_replay(&ring, &ring.mounted.newest_mark, 0, false, &last, &error), WODAN_ECORRUPT);
  assert_non_null(strstr(error.message, "starts at operation 4, but 3 is next"));
  assert_int_equal(last, 2);
  ring_release(&ring);
}

static void put_raw(struct ring *ring, uint64_t first, uint64_t last, const void *operations, size_t size) {
  uint8_t header[16];
  store_u64(header, first);
  store_u64(header + 8, last);
  assert_int_equal(journal_record_begin(&ring->journal, sizeof header + size, false, NULL), 0);
  assert_int_equal(journal_record_put(&ring->journal, header, sizeof header, NULL), 0);
  if (size) assert_int_equal(journal_record_put(&ring->journal, operations, size, NULL), 0);
  assert_int_equal(journal_record_end(&ring->journal, NULL), 0);
  ring_flush(ring);
}

static void test_journal__a_malformed_payload_is_corruption(void **state) {
  (void)state;
  static const struct {
    uint64_t first, last;
    uint8_t operations[8];
    size_t size;
    const char *word;
  } cases[] = {
      {0, 1, {0, 1, 'k', 0}, 4, "no valid header"},
      {2, 1, {0, 1, 'k', 0}, 4, "no valid header"},
      {1, 2, {0, 2, 'k', '1', 0}, 5, "malformed operation"},      /* only one is there */
      {1, 1, {0, 0, 0}, 3, "malformed operation"},                /* an empty key */
      {1, 1, {9, 2, 'k', '1', 0}, 5, "malformed operation"},      /* an unknown kind */
      {1, 1, {1, 2, 'k', '1', 1, 'v'}, 6, "malformed operation"}, /* a delete with a value */
      {1, 1, {0, 2, 'k', '1', 0, 0}, 6, "longer than its operations"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct ring ring;
    struct wodan_error error = {0};
    uint64_t last;
    ring_make(&ring, 8, 512);
    put_raw(&ring, cases[i].first, cases[i].last, cases[i].operations, cases[i].size);
    mount_ok(&ring);
    assert_int_equal(ring_replay(&ring, &ring.mounted.newest_mark, 0, false, &last, &error), WODAN_ECORRUPT);
    if (!strstr(error.message, cases[i].word)) fail_msg("'%s' is not in: %s", cases[i].word, error.message);
    ring_release(&ring);
  }
}

static void test_journal__a_sector_that_cannot_be_read_counts_as_invalid(void **state) {
  (void)state;
  struct ring ring;
  ring_make(&ring, 16, 128);
  ring_record(&ring, 1, 20);
  ring_flush(&ring);
  ring_record(&ring, 1, 20);
  uint8_t choices[4] = {SIM_NEW, SIM_UNREADABLE, SIM_NEW, SIM_NEW};
  ring_power_sectors(&ring, choices, 4);
  mount_ok(&ring);
  assert_int_equal(ring.mounted.head, 18);
  assert_int_equal(replayed(&ring), 1);
  ring_release(&ring);
}

/* ---- failures --------------------------------------------------------------------------------------------------- */

static void test_journal__a_failed_write_is_reported(void **state) {
  (void)state;
  struct ring ring;
  struct wodan_error error = {0};
  ring_make(&ring, 8, 512);
  struct sim_fault fault = {.kind = SIM_WRITE_EIO};
  sim_fault_add(ring.sim, &fault);
  assert_int_equal(journal_append_seal(&ring.journal, &error), WODAN_EIO);
  uint8_t payload[20] = {0};
  assert_int_equal(journal_record_begin(&ring.journal, sizeof payload, false, &error), 0);
  assert_int_equal(journal_record_put(&ring.journal, payload, sizeof payload, &error), 0);
  assert_int_equal(journal_record_end(&ring.journal, &error), WODAN_EIO);
  ring_release(&ring);
}

static void test_journal__a_root_with_too_many_extents_is_refused_before_a_write(void **state) {
  (void)state;
  struct ring ring;
  struct wodan_error error = {0};
  ring_make(&ring, 8, 512);
  uint64_t writes = sim_count(ring.sim, SIM_WRITE);
  struct checkpoint_record record = {.generation = 1ull << 60, .device_blocks = ring.bounds.data_end + 1, .tail = 9};
  record.root = (struct block_ptr){
      .generation = 1ull << 59, .length = 1ull << 60, .header_length = 1u << 20, .extent_count = BLOCK_PTR_EXTENTS_MAX};
  for (unsigned i = 0; i < BLOCK_PTR_EXTENTS_MAX; i++)
    record.root.extents[i] = (struct extent){UINT64_MAX - i, UINT64_MAX / 2};
  record.catalog = record.root;
  assert_int_equal(journal_append_checkpoint(&ring.journal, &record, &error), WODAN_ENOSPC);
  assert_int_equal(sim_count(ring.sim, SIM_WRITE), writes);
  ring_release(&ring);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_journal__format_fills_the_ring_with_chained_empty_blocks),
      cmocka_unit_test(test_journal__a_record_takes_as_many_blocks_as_its_payload_needs),
      cmocka_unit_test(test_journal__blocks_name_the_one_before_and_what_was_flushed),
      cmocka_unit_test(test_journal__room_keeps_two_checkpoint_records_free),
      cmocka_unit_test(test_journal__memory_is_counted_and_given_back),
      cmocka_unit_test(test_journal__a_fresh_ring_mounts_on_its_first_checkpoint),
      cmocka_unit_test(test_journal__bisect_finds_the_head_wherever_it_is),
      cmocka_unit_test(test_journal__an_invalid_probe_makes_the_whole_ring_be_read),
      cmocka_unit_test(test_journal__a_stale_block_that_misleads_the_bisection_is_not_corruption),
      cmocka_unit_test(test_journal__the_walk_crosses_the_end_of_the_ring),
      cmocka_unit_test(test_journal__a_record_wraps_round_the_end_of_the_ring),
      cmocka_unit_test(test_journal__a_torn_tail_is_left_out_whole),
      cmocka_unit_test(test_journal__a_rotten_acknowledged_block_with_a_later_witness_is_corruption),
      cmocka_unit_test(test_journal__a_rotten_newest_record_is_dropped_unless_a_seal_bears_witness),
      cmocka_unit_test(test_journal__a_checkpoint_that_is_none_ends_the_chain),
      cmocka_unit_test(test_journal__damage_before_the_newest_checkpoint_is_corruption),
      cmocka_unit_test(test_journal__the_newest_checkpoint_on_the_chain_is_the_root),
      cmocka_unit_test(test_journal__the_previous_root_is_lost_with_a_reason),
      cmocka_unit_test(test_journal__an_older_root_is_found_by_reading_all_checkpoint_records),
      cmocka_unit_test(test_journal__an_older_root_with_a_broken_chain_is_passed_over),
      cmocka_unit_test(test_journal__nothing_left_to_start_from_is_corruption),
      cmocka_unit_test(test_journal__replay_skips_what_the_checkpoint_holds),
      cmocka_unit_test(test_journal__a_gap_in_the_replay_is_corruption),
      cmocka_unit_test(test_journal__a_malformed_payload_is_corruption),
      cmocka_unit_test(test_journal__a_sector_that_cannot_be_read_counts_as_invalid),
      cmocka_unit_test(test_journal__a_failed_write_is_reported),
      cmocka_unit_test(test_journal__a_root_with_too_many_extents_is_refused_before_a_write),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
