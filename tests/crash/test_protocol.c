/* The rules of FORMAT.md, part 7, one story each: the shortest history found by the protocol's model that goes wrong when
 * the rule is broken, played on the real journal or the real engine. tools/mutants.py breaks the rules one by one and
 * names the story that notices. In the ring stories R is 16: format's checkpoint is block 16, the next block 17. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "crash/crash_rig.h"
#include "support/ring_rig.h"

static void mount_ok(struct ring *ring) {
  struct wodan_error error;
  int status = ring_mount(ring, &error);
  if (status < 0) fail_msg("mount: %s", error.message);
}

static uint64_t replayed(struct ring *ring) {
  uint64_t last;
  struct wodan_error error;
  int status = ring_replay(ring, &ring->mounted.newest_mark, ring->mounted.newest.sequence, false, &last, &error);
  if (status < 0) fail_msg("replay: %s", error.message);
  return last;
}

/* ---- rule 1 ----------------------------------------------------------------------------------------------------- */

/* A record of two blocks is torn: its first fragment lands. The mount goes on at that fragment's place, not behind it;
 * else every later record hangs behind a first fragment that never gets its second, and no sync is ever found again. */
static void test_protocol__a_mount_goes_on_at_the_first_incomplete_record(void **state) {
  (void)state;
  struct ring ring;
  ring_make(&ring, 16, 512);
  ring_record(&ring, 1, 20); /* 17 */
  ring_flush(&ring);
  ring_record(&ring, 2, 300); /* 18, 19 */
  ring_power(&ring, 1);
  mount_ok(&ring);
  assert_int_equal(ring.mounted.head, 18);
  ring_continue(&ring);
  ring_record(&ring, 1, 20);
  ring_flush(&ring);
  mount_ok(&ring);
  assert_int_equal(ring.mounted.head, 19);
  assert_int_equal(replayed(&ring), 2);
  ring_release(&ring);
}

/* ---- rule 2 ----------------------------------------------------------------------------------------------------- */

/* A checkpoint is written, not flushed; a record follows; the power fails and only the record lands. It must name the
 * checkpoint before, which is durable: the one in flight does not exist. */
static void test_protocol__a_block_names_the_last_durable_checkpoint_not_the_last_written(void **state) {
  (void)state;
  struct ring ring;
  ring_make(&ring, 16, 512);
  ring_record(&ring, 1, 20);
  ring_flush(&ring);
  ring_checkpoint(&ring, 1, 0); /* 18, lost */
  ring_record(&ring, 1, 20);    /* 19, landed */
  struct journal_block block;
  assert_true(ring_peek(&ring, 19, &block));
  assert_int_equal(block.checkpoint, 16);
  ring_power(&ring, 2);
  mount_ok(&ring);
  assert_int_equal(ring.mounted.newest_mark.sequence, 16);
  assert_int_equal(replayed(&ring), 1);
  ring_release(&ring);
}

/* Of a record of three blocks any but all land, in every combination: it does not count, and nothing of it is replayed. */
static void test_protocol__a_record_counts_only_with_all_its_fragments(void **state) {
  (void)state;
  for (unsigned landed = 0; landed < 8; landed++) {
    struct ring ring;
    ring_make(&ring, 16, 512);
    ring_record(&ring, 3, 300); /* 17 to 19 */
    ring_power(&ring, landed);
    mount_ok(&ring);
    assert_int_equal(ring.mounted.head, landed == 7 ? 20 : 17);
    assert_int_equal(replayed(&ring), landed == 7 ? 3 : 0);
    ring_release(&ring);
  }
}

/* ---- rule 3 ----------------------------------------------------------------------------------------------------- */

/* Two records are written behind one another, no flush between; the first is lost, the second lands. No damage: so the
 * second must not say that the first was durable. The same within a record of two blocks. */
static void test_protocol__flushed_through_counts_only_flushes_that_returned(void **state) {
  (void)state;
  for (int fragments = 0; fragments < 2; fragments++) {
    struct ring ring;
    ring_make(&ring, 16, 512);
    if (fragments) {
      ring_record(&ring, 2, 300);
    } else {
      ring_record(&ring, 1, 20);
      ring_record(&ring, 1, 20);
    }
    ring_power(&ring, 2);
    mount_ok(&ring);
    assert_int_equal(ring.mounted.head, 17);
    ring_release(&ring);
  }
}

/* ---- rule 4 ----------------------------------------------------------------------------------------------------- */

static int freeze(struct rig *rig) {
  struct wodan_error error;
  lock_acquire(&rig->db->write);
  int status = engine_freeze(rig->db, &error);
  lock_leave(&rig->db->write);
  return status;
}

static int drain(struct rig *rig) {
  struct wodan_error error;
  engine_tree_enter(rig->db);
  int status = engine_drain(rig->db, &error);
  engine_tree_leave(rig->db);
  return status;
}

/* A memtable is drained into the tree, but the checkpoint that would make that durable has not come yet. A sync of what
 * was put meanwhile must still write the drained records: the power fails, and the tree on the medium is the old one. */
static void test_protocol__drained_but_not_durable_is_still_pending(void **state) {
  (void)state;
  struct rig rig;
  rig_make(&rig, 32 << 10, 512, 512);
  rig_open(&rig);
  put_ok(&rig, "one", "1", false);
  assert_int_equal(freeze(&rig), 0);
  assert_int_equal(drain(&rig), 0);
  put_ok(&rig, "two", "2", true);
  rig_drop(&rig);
  rig_power(&rig);
  rig_open(&rig);
  assert_true(has(&rig, "one", "1"));
  assert_true(has(&rig, "two", "2"));
  rig_close(&rig);
  rig_release(&rig);
}

/* ---- rule 5 ----------------------------------------------------------------------------------------------------- */

/* The power fails while a checkpoint is on its way, in every state of its window: its record is never there without the
 * objects it names. */
static void test_protocol__a_barrier_stands_between_objects_and_checkpoint_record(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_error error;
  rig_make(&rig, 32 << 10, 512, 512);
  rig_open(&rig);
  put_ok(&rig, "old", "1", false);
  assert_int_equal(wodan_checkpoint(rig.db, NULL), 0);
  put_ok(&rig, "new", "2", false);
  struct sim_fault fault = {.kind = SIM_FLUSH_EIO, .argument = SIM_WINDOW_KEPT};
  sim_fault_add(rig.sim, &fault);
  assert_int_equal(wodan_checkpoint(rig.db, NULL), WODAN_EIO);
  rig_drop(&rig);
  sim_faults_clear(rig.sim);
  assert_int_equal(sim_window_segments(rig.sim), 2);
  struct sim *window = rig.sim;
  struct sim_crash_options options = {.families = SIM_SUBSETS | SIM_PREFIXES};
  struct sim_crash_iter *iter;
  const struct sim_image *image;
  unsigned with = 0, without = 0;
  assert_int_equal(sim_crash_begin(window, &options, &iter), 0);
  while (sim_crash_next(iter, &image)) {
    assert_int_equal(sim_reboot(window, image, &rig.sim), 0);
    if (rig_try_open(&rig, 0, &error) < 0) fail_msg("open: %s", error.message);
    assert_true(has(&rig, "old", "1"));
    *(has(&rig, "new", "2") ? &with : &without) += 1;
    rig_drop(&rig);
    sim_close(rig.sim);
  }
  sim_crash_end(iter);
  assert_true(with > 0 && without > 1);
  rig.sim = window;
  rig_release(&rig);
}

/* The power fails while a large value of more bytes than a mount proves is made durable: the record that names it is never there
 * without its bytes, for they stand in a segment before it. */
static void test_protocol__a_barrier_stands_between_a_large_value_and_its_record(void **state) {
  (void)state;
  enum { PAGE = 4096, SIZE = 64 * PAGE + 1 };
  struct rig rig;
  struct wodan_error error;
  static char large[SIZE], found[SIZE];
  memset(large, 'L', sizeof large);
  rig_make(&rig, 1 << 20, 4096, 4096);
  rig.memory = 8 << 20;
  rig_open(&rig);
  put_ok(&rig, "old", "1", true);
  struct sim_fault fault = {.kind = SIM_FLUSH_EIO, .argument = SIM_WINDOW_KEPT};
  sim_fault_add(rig.sim, &fault);
  struct wodan_commit durable = {.durability = WODAN_DURABLE};
  assert_int_equal(wodan_put(rig.db, text("new"), (struct wodan_slice){large, SIZE}, &durable), WODAN_EIO);
  rig_drop(&rig);
  sim_faults_clear(rig.sim);
  assert_int_equal(sim_window_segments(rig.sim), 2);
  struct sim *window = rig.sim;
  struct sim_crash_options options = {.families = SIM_SUBSETS | SIM_PREFIXES};
  struct sim_crash_iter *iter;
  const struct sim_image *image;
  unsigned with = 0, without = 0;
  assert_int_equal(sim_crash_begin(window, &options, &iter), 0);
  while (sim_crash_next(iter, &image)) {
    size_t size = 0;
    assert_int_equal(sim_reboot(window, image, &rig.sim), 0);
    if (rig_try_open(&rig, 0, &error) < 0) fail_msg("open: %s", error.message);
    assert_true(has(&rig, "old", "1"));
    int status = wodan_get(rig.db, NULL, text("new"), found, sizeof found, &size);
    if (status != WODAN_ENOTFOUND) {
      assert_int_equal(status, 0);
      assert_int_equal(size, SIZE);
      assert_memory_equal(found, large, SIZE);
    }
    *(status == 0 ? &with : &without) += 1;
    rig_drop(&rig);
    sim_close(rig.sim);
  }
  sim_crash_end(iter);
  assert_true(with > 0 && without > 1);
  rig.sim = window;
  rig_release(&rig);
}

/* A record holds an operation of the frozen memtable and one of the active. The checkpoint of the frozen one must keep
 * its tail at that record: the active one's operation was acknowledged and is nowhere else. */
static void test_protocol__the_tail_stays_at_the_first_record_not_wholly_in_the_tree(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_error error;
  rig_make(&rig, 32 << 10, 512, 512);
  rig_open(&rig);
  put_ok(&rig, "frozen", "1", false);
  assert_int_equal(freeze(&rig), 0);
  put_ok(&rig, "active", "2", true);
  assert_int_equal(drain(&rig), 0);
  engine_tree_enter(rig.db);
  assert_int_equal(engine_checkpoint_tree(rig.db, &error), 0);
  engine_tree_leave(rig.db);
  rig_drop(&rig);
  rig_power(&rig);
  rig_open(&rig);
  assert_true(has(&rig, "frozen", "1"));
  assert_true(has(&rig, "active", "2"));
  rig_close(&rig);
  rig_release(&rig);
}

/* ---- rule 6 ----------------------------------------------------------------------------------------------------- */

enum { NUMBERS = 12, ROUNDS = 40 };

/* Whatever the engine might write next: every block it takes for free is overwritten on `sim`. */
static void scribble(struct wodan_db *db, struct sim *sim) {
  struct extent taken[64];
  uint8_t garbage[512];
  uint32_t count = 0, one;
  memset(garbage, 0xAB, sizeof garbage);
  while (count < 64 && space_allocate_reserved(db->space, SPACE_NODE, 1, &taken[count], &one, NULL) == 0) {
    sim_poke(sim, taken[count].first * sizeof garbage, garbage, sizeof garbage);
    count++;
  }
  assert_int_equal(space_counts(db->space).free, 0);
  space_release(db->space, taken, count);
}

/* With the newest root damaged the previous one shows one round's values, whole. */
static void older_root_is_whole(const struct rig *rig, unsigned round) {
  struct rig copy = *rig;
  struct wodan_error error;
  assert_int_equal(sim_clone(rig->sim, &copy.sim), 0);
  struct sim_image image; /* all that is in flight lands */
  assert_int_equal(sim_image_init(&image, copy.sim), 0);
  memcpy(image.bytes, sim_content(copy.sim), (size_t)image.size);
  assert_int_equal(sim_load(copy.sim, &image), 0);
  sim_image_release(&image);
  scribble(rig->db, copy.sim);
  rig_rot_root(&copy, rig->db->root.extents[0].first);
  assert_int_equal(rig_try_open(&copy, WODAN_OPEN_READ_ONLY, &error), WODAN_ECORRUPT);
  if (rig_try_open(&copy, WODAN_OPEN_READ_ONLY | WODAN_OPEN_OLDER_ROOT, &error) < 0)
    fail_msg("round %u: %s", round, error.message);
  assert_true(copy.db->dropped_generations > 0);
  for (unsigned n = 0; n < NUMBERS; n++) {
    unsigned found = 0;
    int status = get_number(&copy, n, &found);
    if (status < 0 || found + 1 != round) fail_msg("round %u: number %u is %d, of round %u", round, n, status, found);
  }
  rig_close(&copy);
  sim_close(copy.sim);
}

/* Each round overwrites everything and makes a checkpoint, then writes on into the next without finishing it. Whatever
 * that has written, the previous root is still whole. remount: also straight after an open, which must have read it. */
static void play_rounds(bool remount) {
  struct rig rig;
  rig_make(&rig, 32 << 10, 512, 512);
  rig_open(&rig);
  for (unsigned round = 1; round <= ROUNDS; round++) {
    for (unsigned n = 0; n < NUMBERS; n++) put_number(&rig, n, round, 100);
    assert_int_equal(wodan_checkpoint(rig.db, NULL), 0);
    if (remount) {
      rig_drop(&rig);
      rig_open(&rig);
    }
    if (round < 2) continue;
    older_root_is_whole(&rig, round);
    struct rig next = rig; /* its own device, so that nothing of this stays */
    assert_int_equal(sim_clone(rig.sim, &next.sim), 0);
    rig_open(&next);
    for (unsigned more = 0; more < 3; more++) {
      for (unsigned n = 0; n < NUMBERS; n++) put_number(&next, n, round + 1, 100);
      if (memtable_count(next.db->active.table) && freeze(&next) == 0) drain(&next);
      if (next.db->checkpoint_generation == rig.db->checkpoint_generation) older_root_is_whole(&next, round);
      if (next.db->frozen.table) break;
    }
    rig_drop(&next);
    sim_close(next.sim);
  }
  rig_close(&rig);
  rig_release(&rig);
}

static void test_protocol__blocks_of_the_two_newest_roots_are_never_written(void **state) {
  (void)state;
  play_rounds(false);
}

static void test_protocol__a_mount_learns_the_previous_roots_blocks(void **state) {
  (void)state;
  play_rounds(true);
}

/* ---- rules 7 and 8 ---------------------------------------------------------------------------------------------- */

/* Syncs and checkpoints in every mixture, also checkpoints that leave their tail behind: after each flush the previous
 * root's record and replay are in the ring. */
static void test_protocol__the_ring_keeps_both_roots_and_their_replay(void **state) {
  (void)state;
  uint64_t random = 5;
  for (int run = 0; run < 60; run++) {
    struct ring ring;
    uint64_t behind = 0, behind_operation = 0; /* the oldest record that is not wholly in the tree */
    ring_make(&ring, 8 + (uint64_t)run % 9, 512);
    for (int step = 0; step < 80; step++) {
      unsigned dice = (unsigned)random_below(&random, 4);
      if (dice < 2 && journal_room(&ring.journal, 1)) {
        uint64_t block = ring_record(&ring, 1, 20);
        if (!behind) {
          behind = block;
          behind_operation = ring.operation - 1;
        }
      } else if (dice == 2 && behind && journal_room(&ring.journal, 1)) {
        ring_checkpoint(&ring, behind_operation, behind);
      } else if (journal_room_for_checkpoint(&ring.journal)) {
        ring_checkpoint(&ring, ring.operation, 0);
        behind = 0;
      } else {
        fail_msg("run %d, step %d: no room for a checkpoint", run, step);
      }
      ring_flush(&ring);
      mount_ok(&ring);
      if (ring.mounted.newest_mark.sequence != ring.journal.blocks && !ring.mounted.has_older)
        fail_msg("run %d, step %d: the previous root is lost: %s", run, step, ring.mounted.older_problem);
      assert_int_equal(replayed(&ring), ring.operation);
    }
    ring_release(&ring);
  }
}

/* Syncs until there is no room. Then a checkpoint whose tail must stay at the first of them, which frees nothing; the
 * one after it must still fit. */
static void test_protocol__two_checkpoints_fit_when_no_sync_does(void **state) {
  (void)state;
  for (uint64_t blocks = 8; blocks < 20; blocks++) {
    struct ring ring;
    ring_make(&ring, blocks, 512);
    uint64_t first = 0;
    while (journal_room(&ring.journal, 1)) {
      uint64_t block = ring_record(&ring, 1, 20);
      if (!first) first = block;
      ring_flush(&ring);
    }
    assert_true(journal_room_for_checkpoint(&ring.journal));
    ring_checkpoint(&ring, 0, first);
    ring_flush(&ring);
    assert_true(journal_room_for_checkpoint(&ring.journal));
    ring_checkpoint(&ring, ring.operation, 0);
    ring_flush(&ring);
    assert_true(journal_room_for_checkpoint(&ring.journal));
    ring_checkpoint(&ring, ring.operation, 0);
    ring_flush(&ring);
    assert_true(journal_room(&ring.journal, 1));
    ring_release(&ring);
  }
}

/* The engine's own policy, on the smallest ring: durable puts for ever, of one and of two blocks, with memtables freezing
 * on the way. Half a ring is reached again and again; no put is ever refused. */
static void test_protocol__durable_puts_never_fill_the_ring(void **state) {
  (void)state;
  struct rig rig;
  rig_make(&rig, 32 << 10, 512, 512);
  rig_open(&rig);
  uint64_t random = 3;
  for (int i = 0; i < 600; i++) {
    char key[8], value[128];
    memset(value, 'v', sizeof value);
    value[random_below(&random, sizeof value)] = 0;
    snprintf(key, sizeof key, "k%d", i % 9);
    put_ok(&rig, key, value, random_below(&random, 3) > 0);
  }
  rig_close(&rig);
  rig_release(&rig);
}

/* ---- rules 9 and 10 --------------------------------------------------------------------------------------------- */

/* A process dies before its flush; the device goes on and has the record in its cache. The next mount shows it; a sync
 * there has nothing to do. Then the power fails: had the mount not flushed, what it showed would be gone. */
static void test_protocol__a_mount_flushes_before_it_reads(void **state) {
  (void)state;
  struct rig rig;
  rig_make(&rig, 32 << 10, 512, 512);
  rig_open(&rig);
  struct sim_fault fault = {.kind = SIM_FLUSH_EIO, .argument = SIM_WINDOW_KEPT};
  sim_fault_add(rig.sim, &fault);
  assert_int_equal(rig_put(&rig, "key", "value", true), WODAN_EIO);
  rig_drop(&rig);
  sim_faults_clear(rig.sim);
  rig_open(&rig);
  assert_true(has(&rig, "key", "value"));
  assert_int_equal(wodan_sync(rig.db), 0);
  rig_drop(&rig);
  rig_power(&rig);
  rig_open(&rig);
  assert_true(has(&rig, "key", "value"));
  rig_close(&rig);
  rig_release(&rig);
}

/* Many more mounts than the ring has blocks, each dying at once; and as many that die in their first sync, torn. Not one
 * block of the ring is used up. */
static void test_protocol__repeated_crashes_do_not_fill_the_ring(void **state) {
  (void)state;
  struct rig rig;
  rig_make(&rig, 32 << 10, 128, 512);
  rig_open(&rig);
  put_ok(&rig, "kept", "yes", true);
  rig_drop(&rig);
  uint64_t mutations = sim_mutations(rig.sim), flushes = sim_count(rig.sim, SIM_FLUSH), head = 0, random = 9;
  for (int i = 0; i < 30; i++) {
    rig_open(&rig);
    rig_drop(&rig);
  }
  assert_int_equal(sim_mutations(rig.sim) - mutations, sim_count(rig.sim, SIM_FLUSH) - flushes);
  for (int i = 0; i < 60; i++) {
    uint8_t choice[64];
    rig_open(&rig);
    if (i == 0) head = rig.db->journal.head;
    assert_int_equal(rig.db->journal.head, head);
    assert_true(has(&rig, "kept", "yes"));
    struct sim_fault fault = {.kind = SIM_FLUSH_EIO, .argument = SIM_WINDOW_KEPT};
    sim_fault_add(rig.sim, &fault);
    assert_int_equal(rig_put(&rig, "torn", "no", true), WODAN_EIO);
    rig_drop(&rig);
    struct sim_image image;
    assert_int_equal(sim_image_init(&image, rig.sim), 0);
    size_t size = sim_choice_sample(rig.sim, &random, false, choice);
    choice[4] = SIM_OLD; /* the first sector of the last write: the record never is whole */
    sim_image_choose(&image, rig.sim, choice, size);
    assert_int_equal(sim_load(rig.sim, &image), 0);
    sim_image_release(&image);
  }
  rig_open(&rig);
  put_ok(&rig, "kept", "still", true);
  rig_close(&rig);
  rig_release(&rig);
}

/* A short record is torn: its last sector, nothing but zeros, stays as an older lap left it. The mount drops it, and
 * the next epoch writes another record in its place, torn in turn: just that last sector lands. Nothing may make the
 * abandoned record whole: neither the zeros of the new one nor the order in which its parts land. */
static void test_protocol__an_abandoned_record_is_never_completed(void **state) {
  (void)state;
  for (unsigned landed = 0; landed < 16; landed++) {
    struct ring ring;
    ring_make(&ring, 8, 128);
    while (ring.journal.head < 16) { /* once round, long records: no zeros in any sector */
      if (!journal_room(&ring.journal, 1))
        ring_checkpoint(&ring, ring.operation, 0);
      else
        ring_record(&ring, 1, 380);
      ring_flush(&ring);
    }
    ring_checkpoint(&ring, ring.operation, 0);
    ring_flush(&ring);
    ring_checkpoint(&ring, ring.operation, 0);
    ring_flush(&ring);
    uint64_t operations = ring.operation, head = ring.journal.head;
    ring_record(&ring, 1, 20);
    static const uint8_t torn[4] = {SIM_NEW, SIM_NEW, SIM_NEW, SIM_OLD};
    ring_power_sectors(&ring, torn, 4);
    mount_ok(&ring);
    assert_int_equal(ring.mounted.head, head);
    assert_true(ring.mounted.debris);
    ring_continue(&ring);
    ring_record_of(&ring, operations + 1, operations + 2, 21);
    uint8_t choices[4];
    for (unsigned s = 0; s < 4; s++) choices[s] = landed >> s & 1 ? SIM_NEW : SIM_OLD;
    ring_power_sectors(&ring, choices, 4);
    mount_ok(&ring);
    bool whole = (landed & 11) == 11; /* the third is zeros, and landed with the abandoned record */
    if (ring.mounted.head != head && replayed(&ring) != operations + 2)
      fail_msg("sectors %x: the abandoned record is back", landed);
    if (landed == 15) assert_int_equal(replayed(&ring), operations + 2);
    if (!whole) assert_int_equal(replayed(&ring), operations);
    ring_release(&ring);
  }
}

/* ---- rules 11 to 13 --------------------------------------------------------------------------------------------- */

/* A torn record of two blocks, first fragment landed; the next epoch's record of two blocks: second fragment landed, and
 * the place of the first shows the abandoned fragment still (a lost or stale write). Both are valid, numbers and
 * fragments fit: only the hash of the block before tells that they are of different records. */
static void test_protocol__a_fragment_of_an_abandoned_record_is_not_taken(void **state) {
  (void)state;
  struct ring ring;
  uint8_t abandoned[RING_BLOCK];
  ring_make(&ring, 16, 512);
  ring_record(&ring, 2, 300); /* 17, 18 */
  ring_power(&ring, 1);
  ring_save(&ring, 17, abandoned);
  mount_ok(&ring);
  ring_continue(&ring);
  ring_record_of(&ring, 1, 2, 301);
  ring_power(&ring, 2);
  ring_restore(&ring, 17, abandoned);
  struct journal_block first, second;
  assert_true(ring_peek(&ring, 17, &first) && ring_peek(&ring, 18, &second));
  assert_int_equal(first.fragment, 0);
  assert_int_equal(second.fragment, 1);
  mount_ok(&ring);
  assert_int_equal(ring.mounted.head, 17);
  assert_int_equal(replayed(&ring), 0);
  ring_release(&ring);
}

/* The same torn record. The next epoch's one-block record is acknowledged, but its write was lost: the abandoned first
 * fragment stays in its place. A later block says that block 17 was durable. The walk breaks at 18, behind the stale
 * fragment; measured from there nobody lies behind, and an acknowledged record would go silently. */
static void test_protocol__evidence_is_measured_from_the_last_whole_record(void **state) {
  (void)state;
  struct ring ring;
  struct wodan_error error = {0};
  uint8_t abandoned[RING_BLOCK];
  ring_make(&ring, 16, 512);
  ring_record(&ring, 2, 300); /* 17, 18 */
  ring_power(&ring, 1);
  ring_save(&ring, 17, abandoned);
  mount_ok(&ring);
  ring_continue(&ring);
  ring_record(&ring, 1, 20); /* 17 */
  ring_flush(&ring);
  ring_record(&ring, 1, 20); /* 18 bears witness */
  ring_power(&ring, 1);
  ring_restore(&ring, 17, abandoned);
  assert_int_equal(ring_mount(&ring, &error), WODAN_ECORRUPT);
  assert_non_null(strstr(error.message, "says it was durable"));
  ring_release(&ring);
}

/* The witness may be far behind the damage: the whole ring is read on, not a few blocks. */
static void test_protocol__the_whole_ring_is_searched_for_evidence(void **state) {
  (void)state;
  for (uint64_t distance = 1; distance <= 10; distance++) {
    struct ring ring;
    struct wodan_error error = {0};
    uint8_t old[16][RING_BLOCK];
    ring_make(&ring, 16, 512);
    for (uint64_t q = 17; q <= 17 + distance; q++) ring_save(&ring, q, old[q % 16]);
    for (uint64_t q = 17; q <= 17 + distance; q++) {
      ring_record(&ring, 1, 20);
      ring_flush(&ring);
    }
    for (uint64_t q = 17; q < 17 + distance; q++) ring_restore(&ring, q, old[q % 16]); /* all but the last were lost */
    assert_int_equal(ring_mount(&ring, &error), WODAN_ECORRUPT);
    ring_release(&ring);
  }
}

/* ---- rules 14 and 15 -------------------------------------------------------------------------------------------- */

/* Operation 2 went straight into a checkpoint; operation 3 is in the ring again. The replay of the root before must stop
 * at that checkpoint: behind it there is a gap. */
static void test_protocol__the_replay_of_an_older_root_stops_at_the_next_checkpoint(void **state) {
  (void)state;
  struct ring ring;
  struct wodan_error error = {0};
  uint64_t last;
  ring_make(&ring, 16, 512);
  ring_record(&ring, 1, 20);    /* 17: operation 1 */
  ring_checkpoint(&ring, 2, 0); /* 18: 1 and 2 */
  ring.operation = 2;
  ring_flush(&ring);
  ring_record(&ring, 1, 20); /* 19: operation 3 */
  ring_flush(&ring);
  mount_ok(&ring);
  assert_true(ring.mounted.has_older);
  assert_int_equal(ring_replay(&ring, &ring.mounted.older_mark, 0, true, &last, &error), 0);
  assert_int_equal(last, 1);
  assert_int_equal(ring_replay(&ring, &ring.mounted.older_mark, 0, false, &last, &error), WODAN_ECORRUPT);
  ring_release(&ring);
}

/* The newest root is damaged, and the record of the checkpoint before it too, so that nothing points to the third: it is
 * found all the same, because every checkpoint record in the ring is a candidate. */
/* The power-cut loop found an older root whose node was whole and whose run had been written over: no block of a root
 * before the last two is kept. */
static void test_protocol__an_older_root_is_not_usable_without_its_runs(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_error error;
  struct block_ptr run;
  rig_make(&rig, 32 << 10, 512, 512);
  rig_open(&rig);
  put_number(&rig, 1, 1, 50);
  assert_int_equal(wodan_checkpoint(rig.db, NULL), 0);
  uint64_t first = rig.db->checkpoint_generation;
  assert_int_equal(rig.db->node->run_count, 1);
  run_pointer(rig.db->node->runs[0], &run);
  put_number(&rig, 2, 1, 50);
  assert_int_equal(wodan_checkpoint(rig.db, NULL), 0);
  uint64_t root = rig.db->root.extents[0].first;
  rig_drop(&rig);
  rig_rot_root(&rig, root);
  if (rig_try_open(&rig, WODAN_OPEN_READ_ONLY | WODAN_OPEN_OLDER_ROOT, &error) < 0) fail_msg("%s", error.message);
  assert_int_equal(rig.db->checkpoint_generation, first);
  rig_close(&rig);
  rig_rot_root(&rig, run.extents[0].first);
  if (rig_try_open(&rig, WODAN_OPEN_READ_ONLY | WODAN_OPEN_OLDER_ROOT, &error) < 0) fail_msg("%s", error.message);
  assert_true(rig.db->checkpoint_generation < first); /* the empty root of the format */
  unsigned round;
  assert_int_equal(get_number(&rig, 1, &round), WODAN_ENOTFOUND);
  rig_close(&rig);
  rig_release(&rig);
}

static void test_protocol__every_whole_checkpoint_record_is_a_candidate(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_error error;
  rig_make(&rig, 32 << 10, 512, 512);
  rig_open(&rig);
  uint64_t records[3];
  for (unsigned round = 1; round <= 3; round++) {
    put_number(&rig, 1, round, 50);
    records[round - 1] = rig.db->journal.head;
    assert_int_equal(wodan_checkpoint(rig.db, NULL), 0);
  }
  uint64_t root = rig.db->root.extents[0].first, ring_blocks = rig.db->journal.blocks;
  rig_drop(&rig);
  rig_rot_root(&rig, root);
  rig_rot_root(&rig, 1 + records[1] % ring_blocks);
  assert_int_equal(rig_try_open(&rig, 0, &error), WODAN_ECORRUPT);
  if (rig_try_open(&rig, WODAN_OPEN_READ_ONLY | WODAN_OPEN_OLDER_ROOT, &error) < 0) fail_msg("%s", error.message);
  unsigned round = 0;
  assert_int_equal(get_number(&rig, 1, &round), 0);
  assert_int_equal(round, 1);
  assert_int_equal(rig.db->dropped_generations >= 2, 1);
  rig_close(&rig);
  rig_release(&rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_protocol__a_mount_goes_on_at_the_first_incomplete_record),
      cmocka_unit_test(test_protocol__a_block_names_the_last_durable_checkpoint_not_the_last_written),
      cmocka_unit_test(test_protocol__a_record_counts_only_with_all_its_fragments),
      cmocka_unit_test(test_protocol__flushed_through_counts_only_flushes_that_returned),
      cmocka_unit_test(test_protocol__drained_but_not_durable_is_still_pending),
      cmocka_unit_test(test_protocol__a_barrier_stands_between_objects_and_checkpoint_record),
      cmocka_unit_test(test_protocol__a_barrier_stands_between_a_large_value_and_its_record),
      cmocka_unit_test(test_protocol__the_tail_stays_at_the_first_record_not_wholly_in_the_tree),
      cmocka_unit_test(test_protocol__blocks_of_the_two_newest_roots_are_never_written),
      cmocka_unit_test(test_protocol__a_mount_learns_the_previous_roots_blocks),
      cmocka_unit_test(test_protocol__the_ring_keeps_both_roots_and_their_replay),
      cmocka_unit_test(test_protocol__two_checkpoints_fit_when_no_sync_does),
      cmocka_unit_test(test_protocol__durable_puts_never_fill_the_ring),
      cmocka_unit_test(test_protocol__a_mount_flushes_before_it_reads),
      cmocka_unit_test(test_protocol__repeated_crashes_do_not_fill_the_ring),
      cmocka_unit_test(test_protocol__an_abandoned_record_is_never_completed),
      cmocka_unit_test(test_protocol__a_fragment_of_an_abandoned_record_is_not_taken),
      cmocka_unit_test(test_protocol__evidence_is_measured_from_the_last_whole_record),
      cmocka_unit_test(test_protocol__the_whole_ring_is_searched_for_evidence),
      cmocka_unit_test(test_protocol__the_replay_of_an_older_root_stops_at_the_next_checkpoint),
      cmocka_unit_test(test_protocol__every_whole_checkpoint_record_is_a_candidate),
      cmocka_unit_test(test_protocol__an_older_root_is_not_usable_without_its_runs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
