/* What: journal blocks whose checksums and hashes are all right and that lie behind them, met by a mount, a replay and an
 * inspection.
 * Always true: what lies is left out or refused, and who refuses names the first block that is wrong. The story:
 * tools/mutants.py took away one rule of the walk after the other, and no test noticed. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <wodan/image.h>
#include "check_craft.h"
#include "support/ring_rig.h"

enum { BLOCKS = 8, FIRST = 8 }; /* of the ring; the first checkpoint's block */

/* ---- a journal alone -------------------------------------------------------------------------------------------- */

/* Any block, at the head of the ring, chained to the one before. */
static void forge(struct ring *ring, struct journal_block block, const uint8_t *payload) {
  struct journal *j = &ring->journal;
  uint8_t bytes[RING_BLOCK];
  if (!block.epoch.number) block.epoch = j->epoch;
  block.sequence = j->head++;
  block.previous = j->head_hash;
  block.flushed_through = block.checkpoint = FIRST;
  memcpy(block.fsid, j->fsid, 16);
  journal_block_encode(&block, payload, j->seed, bytes, RING_BLOCK);
  ring_restore(ring, block.sequence, bytes);
  j->head_hash = block.hash;
}

static void mount_gives(struct ring *ring, uint64_t newest, uint64_t head) {
  struct wodan_error error = {.message = ""};
  if (ring_mount(ring, &error) < 0) fail_msg("mount: %s", error.message);
  assert_int_equal(ring->mounted.newest_mark.sequence, newest);
  assert_int_equal(ring->mounted.head, head);
}

static void mount_refuses(struct ring *ring, const char *words) {
  struct wodan_error error = {.message = ""};
  assert_int_equal(ring_mount(ring, &error), WODAN_ECORRUPT);
  if (!strstr(error.message, words)) fail_msg("'%s' is not in: %s", words, error.message);
}

static void test_hostile_ring__fragments_follow_one_another(void **state) {
  (void)state;
  static const struct {
    uint32_t a[2], b[2]; /* fragment, of so many */
    uint64_t head;
  } ROWS[] = {{{0, 2}, {1, 2}, FIRST + 3}, {{0, 1}, {0, 1}, FIRST + 3}, {{1, 2}, {0, 1}, FIRST + 1},
              {{0, 3}, {1, 2}, FIRST + 1}, {{0, 1}, {1, 2}, FIRST + 2}, {{0, 2}, {0, 1}, FIRST + 1}};
  for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
    struct ring ring;
    ring_make(&ring, BLOCKS, 512);
    forge(&ring, (struct journal_block){JOURNAL_RECORD, .fragment = ROWS[i].a[0], .fragments = ROWS[i].a[1]}, NULL);
    forge(&ring, (struct journal_block){JOURNAL_RECORD, .fragment = ROWS[i].b[0], .fragments = ROWS[i].b[1]}, NULL);
    mount_gives(&ring, FIRST, ROWS[i].head);
    ring_release(&ring);
  }
}

static void test_hostile_ring__epochs_do_not_fall(void **state) {
  (void)state;
  for (uint64_t epoch = 6; epoch <= 8; epoch++) {
    struct ring ring;
    ring_make(&ring, BLOCKS, 512);
    forge(&ring, (struct journal_block){JOURNAL_RECORD, .epoch = {7, 7}, .fragments = 1}, NULL);
    forge(&ring, (struct journal_block){JOURNAL_RECORD, .epoch = {epoch, 7}, .fragments = 1}, NULL);
    mount_gives(&ring, FIRST, epoch < 7 ? FIRST + 2 : FIRST + 3);
    ring_release(&ring);
  }
}

/* A whole checkpoint block in the place of the one that is named, which it is not: with another content, or of another
 * volume. */
static void test_hostile_ring__the_named_checkpoint_and_no_other(void **state) {
  (void)state;
  for (int foreign = 0; foreign < 2; foreign++) {
    struct ring ring;
    struct journal_block block;
    const uint8_t *payload;
    uint8_t bytes[RING_BLOCK], copy[RING_BLOCK];
    ring_make(&ring, BLOCKS, 512);
    if (foreign)
      forge(&ring, (struct journal_block){JOURNAL_RECORD, .fragments = 1}, NULL); /* names no hash */
    else
      ring_record(&ring, 1, 10);
    ring_save(&ring, FIRST, copy);
    assert_true(journal_block_decode(copy, RING_BLOCK, ring.journal.seed, ring.journal.fsid, &block, &payload));
    if (foreign)
      block.fsid[0]++;
    else
      block.epoch.random--; /* older than what names it */
    journal_block_encode(&block, payload, ring.journal.seed, bytes, RING_BLOCK);
    ring_restore(&ring, FIRST, bytes);
    mount_refuses(&ring, "names no checkpoint record");
    ring_release(&ring);
  }
}

static void test_hostile_ring__a_root_is_a_checkpoint_block_that_decodes(void **state) {
  (void)state;
  struct ring ring;
  uint8_t payload[RING_BLOCK] = {0};
  struct checkpoint_record record = {.generation = 9, .tail = FIRST, .previous = FIRST, .previous_hash = 1};
  for (int garbage = 0; garbage < 2; garbage++) {
    ring_make(&ring, BLOCKS, 512);
    record.device_blocks = ring.bounds.data_end + 1;
    uint32_t size = checkpoint_record_encode(&record, payload, sizeof payload);
    forge(&ring, (struct journal_block){JOURNAL_RECORD, .fragments = 1, .payload_length = size}, payload);
    forge(&ring, (struct journal_block){JOURNAL_CHECKPOINT, .fragments = 1, .payload_length = size - (garbage ? 1 : 0)},
          payload);
    mount_gives(&ring, garbage ? FIRST : FIRST + 2, garbage ? FIRST + 2 : FIRST + 3); /* garbage ends the chain */
    ring_release(&ring);
  }
  ring_make(&ring, BLOCKS, 512);
  forge(&ring, (struct journal_block){JOURNAL_RECORD, .fragments = 1, .payload_length = 80}, payload);
  mount_gives(&ring, FIRST, FIRST + 2);
  ring_release(&ring);
}

static void test_hostile_ring__a_root_names_blocks_of_its_own_time(void **state) {
  (void)state;
  static const struct {
    uint64_t tail, previous; /* of the checkpoint at FIRST + 1 */
    bool good;
  } ROWS[] = {{FIRST + 1, FIRST, true},           {FIRST, FIRST, true},
              {FIRST + 2, FIRST, false},          {UINT64_MAX, FIRST, false},
              {FIRST + 1 - BLOCKS, FIRST, false}, {FIRST + 1, FIRST + 2, false}};
  for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
    struct ring ring;
    uint8_t payload[RING_BLOCK];
    ring_make(&ring, BLOCKS, 512);
    struct checkpoint_record record = {.generation = 9,
                                       .tail = ROWS[i].tail,
                                       .previous = ROWS[i].previous,
                                       .previous_hash = 1,
                                       .device_blocks = ring.bounds.data_end + 1};
    uint32_t size = checkpoint_record_encode(&record, payload, sizeof payload);
    forge(&ring, (struct journal_block){JOURNAL_CHECKPOINT, .fragments = 1, .payload_length = size}, payload);
    mount_gives(&ring, ROWS[i].good ? FIRST + 1 : FIRST, ROWS[i].good ? FIRST + 2 : FIRST + 1);
    ring_release(&ring);
  }
}

/* The write of the newest root's tail was lost: what lies there is whole, of a lap before, and not that block. */
static void test_hostile_ring__a_stale_tail_is_named(void **state) {
  (void)state;
  struct ring ring;
  uint8_t stale[RING_BLOCK];
  ring_make(&ring, BLOCKS, 512);
  ring_record(&ring, 1, 10); /* 9 */
  ring_flush(&ring);
  ring_save(&ring, 9, stale);
  for (int i = 10; i <= 16; i++) {
    ring_checkpoint(&ring, 1, 0);
    ring_flush(&ring);
  }
  ring_record(&ring, 1, 10); /* 17 */
  ring_flush(&ring);
  ring_checkpoint(&ring, 2, 17);
  ring_flush(&ring);
  mount_gives(&ring, 18, 19);
  ring_restore(&ring, 17, stale);
  mount_refuses(&ring, "journal block 17 is damaged");
  ring_release(&ring);
}

/* The bisection may only stand on blocks that are whole and where they belong; else the whole ring is read. */
static void test_hostile_ring__a_block_in_anothers_place_is_none(void **state) {
  (void)state;
  for (int rotten = 0; rotten < 2; rotten++) {
    struct ring ring;
    uint8_t other[RING_BLOCK];
    ring_make(&ring, BLOCKS, 512);
    for (int i = 9; i <= 15; i++) {
      ring_checkpoint(&ring, 0, 0);
      ring_flush(&ring);
    }
    ring_save(&ring, 9, other);
    mount_gives(&ring, 15, 16);
    assert_false(ring.mounted.linear);
    if (rotten)
      ring_rot(&ring, 8);
    else
      ring_restore(&ring, 8, other);
    mount_gives(&ring, 15, 16);
    assert_true(ring.mounted.linear);
    ring_release(&ring);
  }
}

/* Nor is it one in a copy of the image, where keys could be read in it that nobody mapped. */
static void test_hostile_ring__a_block_in_anothers_place_is_none_in_a_copy(void **state) {
  (void)state;
  struct craft c;
  struct wodan_inspect *inspect = NULL;
  struct wodan_copy_report report;
  struct wodan_error error;
  struct journal_block block;
  const uint8_t *payload;
  craft_with_run(&c, NULL);
  uint64_t size = c.journal.block_size, ring = SECTOR;
  memcpy(c.store.bytes + ring + 5 * size, c.store.bytes + ring, size); /* block 0, whole, in place 5 */
  struct store to = store_create(c.store.size, c.store.sector);
  struct wodan_device *source = store_open(&c.store), *target = store_open(&to);
  assert_int_equal(wodan_inspect_open(source, NULL, &inspect, &error), 0);
  assert_int_equal(wodan_image_copy(inspect, target, NULL, &report, &error), 0);
  assert_int_equal(report.damaged, 1);
  assert_true(journal_block_decode(to.bytes + ring, size, c.io.seed, c.sb.fsid, &block, &payload));
  assert_false(journal_block_decode(to.bytes + ring + 5 * size, size, c.io.seed, c.sb.fsid, &block, &payload));
  wodan_inspect_close(inspect);
  wodan_device_close(source);
  wodan_device_close(target);
  store_free(&to);
  craft_end(&c);
}

static void test_hostile_ring__a_ring_of_rot_names_no_root(void **state) {
  (void)state;
  struct ring ring;
  ring_make(&ring, BLOCKS, 512);
  for (uint64_t q = 0; q < BLOCKS; q++) ring_rot(&ring, q);
  mount_refuses(&ring, "names no checkpoint record");
  ring_release(&ring);
}

/* Between mount and replay the device begins to tell something else. */
static void test_hostile_ring__blocks_that_change_before_the_replay(void **state) {
  (void)state;
  static const struct {
    uint32_t fragments; /* of block 9; 0: rotten */
    const char *words;
  } ROWS[] = {{0, "changed while"}, {UINT32_MAX, "changed while"}, {BLOCKS + 1, "changed while"}, {2, "does not fit"}};
  for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
    struct ring ring;
    uint64_t last;
    struct wodan_error error = {.message = ""};
    const uint8_t *payload;
    struct journal_block block;
    uint8_t bytes[RING_BLOCK], copy[RING_BLOCK];
    ring_make(&ring, BLOCKS, 512);
    ring_record(&ring, 3, 380); /* 9, 10, 11 */
    ring_flush(&ring);
    mount_gives(&ring, FIRST, 12);
    ring_save(&ring, 9, copy);
    assert_true(journal_block_decode(copy, RING_BLOCK, ring.journal.seed, ring.journal.fsid, &block, &payload));
    assert_int_equal(block.fragments, 3);
    block.fragments = ROWS[i].fragments;
    if (block.fragments) {
      journal_block_encode(&block, payload, ring.journal.seed, bytes, RING_BLOCK);
      ring_restore(&ring, 9, bytes);
    } else {
      ring_rot(&ring, 9);
    }
    assert_int_equal(ring_replay(&ring, &ring.mounted.newest_mark, 0, false, &last, &error), WODAN_ECORRUPT);
    if (!strstr(error.message, ROWS[i].words)) fail_msg("'%s' is not in: %s", ROWS[i].words, error.message);
    ring_release(&ring);
  }
}

/* ---- inspection ------------------------------------------------------------------------------------------------- */

/* Blocks A and B behind the first checkpoint, then C, one more checkpoint with its tail at A, and an honest one. */
struct chain {
  const char *name;
  uint8_t kind_a;
  uint32_t a[2], b[2];              /* fragment, of so many */
  uint64_t epoch_b, more, previous; /* of B: epoch 0: A's; added to its sequence; hash of A changed by */
  int64_t tail;                     /* of C, from A */
  uint64_t ahead;                   /* its previous, from the first */
  bool record, foreign, cut;        /* C is of another kind, of another volume, too short */
  bool chained, listed;             /* B; the root of C */
};

static uint64_t put(struct craft *c, struct journal_block block, const uint8_t *payload) {
  uint8_t bytes[4096];
  uint64_t ring = superblock_ring_blocks(&c->sb);
  for (int i = 0; i < 16; i++) block.fsid[i] ^= c->sb.fsid[i];
  block.checkpoint = block.flushed_through = ring;
  journal_block_encode(&block, payload, c->io.seed, bytes, c->sb.journal_block_size);
  memcpy(c->store.bytes + c->sb.block_size + block.sequence % ring * c->sb.journal_block_size, bytes,
         c->sb.journal_block_size);
  return block.hash;
}

static void put_chain(struct craft *c, const struct chain *chain) {
  uint64_t first = c->journal.durable.sequence, q = c->journal.head;
  struct epoch epoch = {5, 5}, epoch_b = {chain->epoch_b ? chain->epoch_b : 5, 5};
  uint64_t hash = put(c,
                      (struct journal_block){.kind = chain->kind_a,
                                             .epoch = epoch,
                                             .sequence = q,
                                             .previous = c->journal.head_hash,
                                             .fragment = chain->a[0],
                                             .fragments = chain->a[1]},
                      NULL);
  hash = put(c,
             (struct journal_block){.kind = JOURNAL_RECORD,
                                    .epoch = epoch_b,
                                    .sequence = q + 1 + chain->more * superblock_ring_blocks(&c->sb),
                                    .previous = hash + chain->previous,
                                    .fragment = chain->b[0],
                                    .fragments = chain->b[1]},
             NULL);
  uint8_t payload[4096];
  struct checkpoint_record record = {.generation = 77,
                                     .tail = q + (uint64_t)chain->tail,
                                     .previous = first + chain->ahead,
                                     .previous_hash = c->journal.durable.hash,
                                     .device_blocks = c->sb.device_blocks};
  uint32_t size = checkpoint_record_encode(&record, payload, sizeof payload);
  struct journal_block root = {.kind = chain->record ? JOURNAL_RECORD : JOURNAL_CHECKPOINT,
                               .epoch = epoch_b,
                               .sequence = q + 2,
                               .previous = hash,
                               .fragments = 1,
                               .payload_length = size - (chain->cut ? 1 : 0)};
  root.fsid[0] = chain->foreign;
  hash = put(c, root, payload);
  record = (struct checkpoint_record){.generation = 78,
                                      .tail = q + 3,
                                      .previous = first,
                                      .previous_hash = c->journal.durable.hash,
                                      .device_blocks = c->sb.device_blocks};
  root = (struct journal_block){.kind = JOURNAL_CHECKPOINT,
                                .epoch = {6, 6},
                                .sequence = q + 3,
                                .previous = hash,
                                .fragments = 1,
                                .payload_length = checkpoint_record_encode(&record, payload, sizeof payload)};
  put(c, root, payload);
}

struct seen {
  uint64_t block; /* whose role is wanted */
  bool chained, listed, told;
};

static int on_block(void *context, const struct wodan_journal_block *block) {
  struct seen *seen = context;
  if (block->position == seen->block) seen->chained = block->roles & WODAN_JOURNAL_CHAINED;
  seen->told |= block->root.generation == 77;
  return 0;
}
static int on_root(void *context, const struct wodan_root *root) {
  struct seen *seen = context;
  seen->listed |= root->generation == 77;
  return 0;
}

static void test_hostile_ring__inspection_follows_the_chain(void **state) {
  (void)state;
  static const struct chain ROWS[] = {
      {"honest", JOURNAL_RECORD, {0, 2}, {1, 2}, .chained = true, .listed = true},
      {"two records", JOURNAL_RECORD, {0, 1}, {0, 1}, .chained = true, .listed = true},
      {"another hash", JOURNAL_RECORD, {0, 1}, {0, 1}, .previous = 1},
      {"an older epoch", JOURNAL_RECORD, {0, 1}, {0, 1}, .epoch_b = 4},
      {"of another lap", JOURNAL_RECORD, {0, 1}, {0, 1}, .more = 1},
      {"an empty block", JOURNAL_EMPTY, {0, 1}, {0, 1}, .chained = true},
      {"a record within another", JOURNAL_RECORD, {0, 2}, {0, 1}, .chained = true},
      {"a fragment of none", JOURNAL_RECORD, {0, 1}, {1, 2}, .chained = true},
      {"a fragment of another", JOURNAL_RECORD, {0, 3}, {1, 2}, .chained = true},
      {"a tail ahead", JOURNAL_RECORD, {0, 1}, {0, 1}, .tail = 3, .chained = true},
      {"a tail of long ago", JOURNAL_RECORD, {0, 1}, {0, 1}, .tail = -2, .chained = true},
      {"no checkpoint", JOURNAL_RECORD, {0, 1}, {0, 1}, .record = true, .chained = true},
      {"of another volume", JOURNAL_RECORD, {0, 1}, {0, 1}, .foreign = true, .chained = true},
      {"a byte too short", JOURNAL_RECORD, {0, 1}, {0, 1}, .cut = true, .chained = true},
      {"a previous ahead", JOURNAL_RECORD, {0, 1}, {0, 1}, .ahead = 1000, .chained = true},
  };
  for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
    struct craft c;
    struct wodan_inspect *inspect = NULL;
    struct wodan_error error;
    const struct wodan_inspect_options options = {.size = sizeof options};
    craft_begin(&c);
    craft_checkpoint_record(&c, (struct checkpoint_record){.sequence = 1});
    struct seen seen = {.block = (c.journal.head + 1) % superblock_ring_blocks(&c.sb)};
    put_chain(&c, &ROWS[i]);
    struct wodan_device *device = store_open(&c.store);
    assert_int_equal(wodan_inspect_open(device, &options, &inspect, &error), 0);
    assert_int_equal(wodan_inspect_journal(inspect, on_block, &seen, &error), 0);
    assert_int_equal(wodan_inspect_roots(inspect, on_root, &seen, &error), 0);
    bool fits = ROWS[i].tail <= 2 && !ROWS[i].ahead && !ROWS[i].record && !ROWS[i].foreign && !ROWS[i].cut;
    if (seen.chained != ROWS[i].chained || seen.listed != ROWS[i].listed || seen.told != fits)
      fail_msg("%s: chained %d, listed %d, told %d", ROWS[i].name, seen.chained, seen.listed, seen.told);
    wodan_inspect_close(inspect);
    wodan_device_close(device);
    craft_end(&c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_hostile_ring__fragments_follow_one_another),
      cmocka_unit_test(test_hostile_ring__epochs_do_not_fall),
      cmocka_unit_test(test_hostile_ring__the_named_checkpoint_and_no_other),
      cmocka_unit_test(test_hostile_ring__a_root_is_a_checkpoint_block_that_decodes),
      cmocka_unit_test(test_hostile_ring__a_root_names_blocks_of_its_own_time),
      cmocka_unit_test(test_hostile_ring__a_stale_tail_is_named),
      cmocka_unit_test(test_hostile_ring__a_block_in_anothers_place_is_none),
      cmocka_unit_test(test_hostile_ring__a_block_in_anothers_place_is_none_in_a_copy),
      cmocka_unit_test(test_hostile_ring__a_ring_of_rot_names_no_root),
      cmocka_unit_test(test_hostile_ring__blocks_that_change_before_the_replay),
      cmocka_unit_test(test_hostile_ring__inspection_follows_the_chain),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
