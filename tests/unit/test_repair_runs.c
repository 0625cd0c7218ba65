/* Salvage where the roots are of no help: the ring is gone, the superblocks are gone, the volume was cut; records that nothing
 * names are told apart; a header that lies about its keys. */
#include "repair_damage.h"
#include "check_craft.h"

static void zero(struct rig *rig, uint64_t from, uint64_t end) { memset(rig->store.bytes + from, 0, end - from); }

static uint64_t ring_end(struct rig *rig) {
  struct wodan_device *device = store_open(&rig->store);
  struct wodan_inspect *inspect = NULL;
  struct wodan_summary summary = {.size = sizeof summary};
  rig_expect(wodan_inspect_open(device, NULL, &inspect, NULL), "inspect");
  rig_expect(wodan_inspect_summary(inspect, &summary), "summary");
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  return summary.data_first * summary.block_size;
}

static void zero_superblocks(struct rig *rig) {
  zero(rig, 0, 512);
  zero(rig, rig->store.size - 512, rig->store.size);
}

static unsigned as_newest(const struct rig *rig, struct store *damaged, struct told *told) {
  struct wodan_salvage_report report = judge_salvage(rig, damaged, told);
  return (unsigned)report.records;
}

static unsigned present(const struct rig *rig) {
  unsigned count = 0;
  for (unsigned i = 0; i < rig->recipe.keys; i++) count += rig->version[i] != 0;
  return count;
}

/* All records stand in runs: what was merged is everything, and deletes count. */
static void test_repair_runs__without_a_ring(void **state) {
  (void)state;
  for (size_t volume = 0; volume < VOLUME_COUNT; volume += 2) {
    struct rig rig;
    struct told told;
    rig_build(&rig, &VOLUMES[volume]);
    zero(&rig, 512, ring_end(&rig));
    struct store damaged = store_copy(&rig.store);
    assert_true(as_newest(&rig, &damaged, &told) >= present(&rig));
    assert_true(told_id(&told, FOUND_JOURNAL_NO_ROOT) && told_id(&told, FOUND_NO_ROOT_SALVAGED));
    assert_int_equal(told.orphans, 0); /* they are in the new volume */
    store_free(&damaged);
    store_free(&rig.store);
  }
}

static void test_repair_runs__without_superblocks(void **state) {
  (void)state;
  for (size_t volume = 0; volume < VOLUME_COUNT; volume++) {
    struct rig rig;
    struct told told;
    rig_build(&rig, &VOLUMES[volume]);
    uint64_t end = ring_end(&rig);
    zero_superblocks(&rig);
    struct store damaged = store_copy(&rig.store);
    assert_int_equal(as_newest(&rig, &damaged, &told), present(&rig)); /* the journal tells the rest */
    assert_true(told_id(&told, FOUND_NO_SUPERBLOCK) && !told_id(&told, FOUND_NO_ROOT_SALVAGED));
    zero(&rig, 512, end);
    memcpy(damaged.bytes, rig.store.bytes, damaged.size);
    as_newest(&rig, &damaged, &told);
    assert_true(told_id(&told, FOUND_NO_SUPERBLOCK) && told_id(&told, FOUND_NO_ROOT_SALVAGED));
    memset(damaged.bytes, 0, damaged.size);
    struct wodan_device *from = store_open(&damaged);
    struct store out = store_create(rig.store.size, 512);
    struct wodan_device *to = store_open(&out);
    struct wodan_salvage_report report;
    assert_int_equal(wodan_salvage(from, to, NULL, &report, NULL), WODAN_EFORMAT);
    assert_true(out.writes == 0);
    wodan_device_close(from);
    wodan_device_close(to);
    store_free(&out);
    store_free(&damaged);
    store_free(&rig.store);
  }
}

/* Nor can they be read, nor the sectors beside them; and once more without the ring, by headers alone. */
static void test_repair_runs__with_unreadable_superblocks(void **state) {
  (void)state;
  for (size_t volume = 0; volume < VOLUME_COUNT; volume++) {
    struct rig rig;
    struct told told;
    rig_build(&rig, &VOLUMES[volume]);
    uint64_t end = ring_end(&rig);
    zero(&rig, rig.store.size - 512, rig.store.size);
    struct store damaged = store_copy(&rig.store);
    damaged.broken_end = 512;
    assert_int_equal(as_newest(&rig, &damaged, &told), present(&rig));
    assert_true(told_id(&told, FOUND_NO_SUPERBLOCK) && !told_id(&told, FOUND_NO_ROOT_SALVAGED));
    damaged.broken_end = end;
    as_newest(&rig, &damaged, &told);
    assert_true(told_id(&told, FOUND_NO_SUPERBLOCK) && told_id(&told, FOUND_NO_ROOT_SALVAGED));
    store_free(&damaged);
    store_free(&rig.store);
  }
}

static void test_repair_runs__a_volume_that_was_cut(void **state) {
  (void)state;
  for (size_t volume = 0; volume < VOLUME_COUNT; volume++)
    for (unsigned part = 2; part < 8; part++) {
      struct rig rig;
      struct told told;
      rig_build(&rig, &VOLUMES[volume]);
      struct store damaged = store_copy(&rig.store);
      damaged.size = rig.store.size * part / 8;
      judge_salvage(&rig, &damaged, &told);
      assert_true(told_id(&told, FOUND_DEVICE_SHORT));
      struct told in_place = {.rig = &rig};
      struct wodan_repair_report report;
      struct wodan_error error;
      uint64_t writes = damaged.writes;
      assert_int_equal(rig_repair(&damaged, WODAN_REPAIR_LOSSY, false, &in_place, &report, &error), 0);
      assert_true(report.steps == 0 && damaged.writes == writes + 1); /* the flush of every writable start */
      store_free(&damaged);
      store_free(&rig.store);
    }
}

/* ---- by hand --------------------------------------------------------------------------------------------------------- */

/* What a salvage of a crafted volume gives: "key=sequence " of each record, with "!" before those nothing names. */
struct given {
  char text[256];
};

static void given_orphan(void *context, const struct wodan_orphan *orphan) {
  struct given *given = context;
  size_t used = strlen(given->text);
  snprintf(given->text + used, sizeof given->text - used, "!%.*s=%u%s ", (int)orphan->key.size,
           (const char *)orphan->key.data, (unsigned)orphan->sequence, orphan->deleted ? "-" : "");
}

static int given_version(void *context, const struct wodan_path_step *step) {
  uint64_t *sequence = context;
  if (step->probe == WODAN_PROBE_FOUND && step->decides) *sequence = step->sequence;
  return 0;
}

static void salvage_craft(struct craft *c, const char *keys, struct given *given) {
  struct store out = store_create(4 * SIZE, SECTOR);
  struct wodan_device *from = store_open(&c->store), *to = store_open(&out);
  struct wodan_salvage_report report;
  struct wodan_error error;
  memset(given, 0, sizeof *given);
  const struct wodan_salvage_options options = {.context = given, .orphan = given_orphan};
  if (wodan_salvage(from, to, &options, &report, &error) < 0) fail_msg("salvage: %s", error.message);
  wodan_device_close(from);
  wodan_device_close(to);
  struct wodan_device *device = store_open(&out);
  struct wodan_inspect *inspect = NULL;
  rig_expect(wodan_inspect_open(device, NULL, &inspect, NULL), "inspect");
  for (const char *key = keys; *key; key++) {
    uint64_t sequence = 0;
    int status =
        wodan_inspect_path(inspect, WODAN_NEWEST_ROOT, (struct wodan_slice){key, 1}, given_version, &sequence, NULL);
    assert_true(status == 0 || status == WODAN_ENOTFOUND);
    size_t used = strlen(given->text);
    if (sequence) snprintf(given->text + used, sizeof given->text - used, "%c=%u ", *key, (unsigned)sequence);
  }
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  store_free(&out);
}

#define K(c) "\x01" c /* a tree key of the default table */

/* Three generations of the same keys lie about; the ring is gone. */
static void test_repair_runs__the_greatest_sequence_wins_and_deletes_count(void **state) {
  (void)state;
  struct craft c;
  struct given given;
  const struct object old = {.pages = {{{.key = K("a"), .sequence = 1}, {.key = K("b"), .sequence = 2}},
                                       {{.key = K("c"), .sequence = 3}, {.key = K("d"), .sequence = 4}}}},
                      newer = {.pages = {{{.key = K("b"), .sequence = 9, .kind = RECORD_DELETE},
                                          {.key = K("c"), .sequence = 7}}}},
                      newest = {.pages = {{{.key = K("d"), .sequence = 3}, {.key = K("e"), .sequence = 8}}}};
  craft_begin(&c);
  craft_object(&c, &newest);
  craft_object(&c, &old);
  craft_object(&c, &newer);
  memset(c.store.bytes + SECTOR, 0, c.sb.journal_blocks * SECTOR);
  salvage_craft(&c, "abcde", &given);
  assert_string_equal(given.text, "a=1 c=7 d=4 e=8 ");
  craft_end(&c);
}

/* The header says that its keys begin at m: those below come too late to be merged, and are left out. */
static void test_repair_runs__a_header_that_lies_about_its_keys(void **state) {
  (void)state;
  struct craft c;
  struct given given;
  const struct object liar = {.pages = {{{.key = K("a"), .sequence = 5}, {.key = K("p"), .sequence = 6}}},
                              .low = K("m"),
                              .high = K("p")},
                      other = {.pages = {{{.key = K("b"), .sequence = 1}, {.key = K("n"), .sequence = 2}}}};
  craft_begin(&c);
  craft_object(&c, &liar);
  craft_object(&c, &other);
  memset(c.store.bytes + SECTOR, 0, c.sb.journal_blocks * SECTOR);
  salvage_craft(&c, "abnp", &given);
  assert_string_equal(given.text, "b=1 n=2 p=6 ");
  craft_end(&c);
}

/* A leaf's page is lost; an older leaf of the same keys lies about. Its records of the lost keys are told, not taken; one that
 * the newest tree answers for is not told. */
static void test_repair_runs__records_that_nothing_names_are_told_apart(void **state) {
  (void)state;
  struct craft c;
  struct given given;
  const struct object older = {.pages = {{{.key = K("a"), .sequence = 1}, {.key = K("b"), .sequence = 2}},
                                         {{.key = K("m"), .sequence = 3}}}},
                      leaf = {.pages = {{{.key = K("a"), .sequence = 4}, {.key = K("c"), .sequence = 5}},
                                        {{.key = K("n"), .sequence = 6}}},
                              .page_garbage = true},
                      run = {.pages = {{{.key = K("b"), .sequence = 7}}}};
  craft_begin(&c);
  craft_object(&c, &older);
  struct node_image_entry entry = leaf_of(K("a"), craft_object(&c, &leaf));
  struct block_ptr runs[1] = {craft_object(&c, &run)};
  craft_checkpoint(&c, craft_node(&c, &entry, 1, runs, 1));
  salvage_craft(&c, "abcmn", &given);
  assert_string_equal(given.text, "!a=1 b=7 n=6 ");
  craft_end(&c);
}

/* The run's page that deleted m is lost. The leaf has absorbed the delete, so m is not there; the older run that put m, which
 * the leaf has absorbed too, must not bring it back. */
static void test_repair_runs__what_a_leaf_has_absorbed_does_not_come_back(void **state) {
  (void)state;
  struct craft c;
  struct given given;
  const struct object leaf = {.pages = {{{.key = K("a"), .sequence = 1}, {.key = K("x"), .sequence = 2}}}},
                      put = {.pages = {{{.key = K("m"), .sequence = 5}}}},
                      drop = {.pages = {{{.key = K("m"), .sequence = 6, .kind = RECORD_DELETE}}}, .page_garbage = true};
  craft_begin(&c);
  struct block_ptr runs[2] = {{0}, craft_object(&c, &put)};
  runs[0] = craft_object(&c, &drop);
  struct node_image_entry entry = leaf_of(K("a"), craft_object(&c, &leaf));
  entry.branch.flushed_upto = runs[0].generation;
  craft_checkpoint(&c, craft_node(&c, &entry, 1, runs, 2));
  salvage_craft(&c, "amx", &given);
  assert_string_equal(given.text, "a=1 x=2 ");
  struct repair_heard heard;
  struct wodan_repair_report report;
  store_repair(&c.store, WODAN_REPAIR_LOSSY, false, &heard, &report);
  assert_true(report.after.damages + report.after.warnings == 0);
  salvage_craft(&c, "amx", &given);
  assert_string_equal(given.text, "a=1 x=2 ");
  craft_end(&c);
}

/* A leaf is lost whole, and the run that it has absorbed is still there: its records are not lost. In place, too. */
static void test_repair_runs__a_lost_leaf_is_made_up_from_the_runs_it_has_absorbed(void **state) {
  (void)state;
  struct craft c;
  struct given given;
  const struct object leaf = {.pages = {{{.key = K("a"), .sequence = 1}, {.key = K("m"), .sequence = 5}}},
                              .page_garbage = true},
                      high = {.pages = {{{.key = K("x"), .sequence = 2}}}},
                      put = {.pages = {{{.key = K("m"), .sequence = 5}}, {{.key = K("z"), .sequence = 6}}}};
  craft_begin(&c);
  struct block_ptr runs[1] = {craft_object(&c, &put)};
  struct node_image_entry entries[2] = {leaf_of(K("a"), craft_object(&c, &leaf)),
                                        leaf_of(K("t"), craft_object(&c, &high))};
  entries[0].branch.flushed_upto = entries[1].branch.flushed_upto = runs[0].generation;
  craft_checkpoint(&c, craft_node(&c, entries, 2, runs, 1));
  salvage_craft(&c, "amxz", &given);
  assert_string_equal(given.text, "m=5 x=2 ");
  struct repair_heard heard;
  struct wodan_repair_report report;
  store_repair(&c.store, WODAN_REPAIR_LOSSY, false, &heard, &report);
  assert_true(report.after.damages + report.after.warnings == 0);
  salvage_craft(&c, "amx", &given);
  assert_string_equal(given.text, "m=5 x=2 ");
  craft_end(&c);
}

/* Of three acknowledged records the middle one is rotten: the first is in the new volume; of the last nobody can say that it was
 * not followed by others. It is told apart, as one of the journal, and so is what no root leads to. */
static void test_repair_runs__records_behind_a_break_of_the_journal_are_told_apart(void **state) {
  (void)state;
  struct craft c;
  struct given given;
  struct heard heard;
  const struct object leaf = {.pages = {{{.key = K("a"), .sequence = 1}}}};
  craft_begin(&c);
  struct node_image_entry entry = leaf_of(K("a"), craft_object(&c, &leaf));
  craft_checkpoint(&c, craft_node(&c, &entry, 1, NULL, 0));
  for (unsigned i = 0; i < 3; i++) {
    char key[3] = {1, (char)('m' + i), 0};
    craft_journal_record(&c, CHECKPOINT_SEQUENCE + 1 + i, key, 2);
    journal_flushed(&c.journal);
  }
  store_check(&c.store, &heard);
  assert_int_equal(heard.report.damages, 0);
  salvage_craft(&c, "amno", &given);
  assert_string_equal(given.text, "a=1 m=101 n=102 o=103 ");

  uint64_t rotten = (c.journal.head - 2) % c.journal.blocks, root = (c.journal.head - 4) % c.journal.blocks;
  c.store.bytes[SECTOR + rotten * c.journal.block_size + 120] ^= 1;
  salvage_craft(&c, "amno", &given);
  assert_string_equal(given.text, "!o=103 a=1 m=101 ");
  c.store.bytes[SECTOR + root * c.journal.block_size + 120] ^= 1; /* the only root */
  salvage_craft(&c, "amno", &given);
  assert_string_equal(given.text, "!m=101 !o=103 a=1 ");
  craft_end(&c);
}

/* Another block in its place, checksum and all. */
static void rewrite_block(struct craft *c, uint64_t sequence, uint32_t fragments, uint64_t previous) {
  uint32_t size = c->journal.block_size;
  uint8_t *at = c->store.bytes + SECTOR + sequence % c->journal.blocks * size, copy[4096];
  const uint8_t *payload;
  struct journal_block block;
  assert_true(size <= sizeof copy);
  memcpy(copy, at, size);
  assert_true(journal_block_decode(copy, size, c->io.seed, c->sb.fsid, &block, &payload));
  block.fragments = fragments;
  block.previous = previous;
  journal_block_encode(&block, payload, c->io.seed, at, size);
}

static uint64_t hash_of(struct craft *c, uint64_t sequence) {
  return load_u64(c->store.bytes + SECTOR + sequence % c->journal.blocks * c->journal.block_size);
}

/* A record of two blocks behind a break is told when the second follows the first, and not when it is of another record. */
static void test_repair_runs__blocks_of_two_records_are_no_stray(void **state) {
  (void)state;
  for (unsigned lie = 0; lie < 3; lie++) {
    struct craft c;
    struct given given;
    const struct object leaf = {.pages = {{{.key = K("a"), .sequence = 1}}}};
    craft_begin(&c);
    struct node_image_entry entry = leaf_of(K("a"), craft_object(&c, &leaf));
    craft_checkpoint(&c, craft_node(&c, &entry, 1, NULL, 0));
    uint64_t rotten = c.journal.head % c.journal.blocks;
    craft_journal_record(&c, CHECKPOINT_SEQUENCE + 1, K("m"), 2);
    uint64_t first = c.journal.head;
    craft_journal_value(&c, CHECKPOINT_SEQUENCE + 2, K("n"), 2, 500);
    assert_int_equal(c.journal.head, first + 2);
    craft_journal_record(&c, CHECKPOINT_SEQUENCE + 3, K("o"), 2); /* says that what is before it was durable */
    c.store.bytes[SECTOR + rotten * c.journal.block_size + 120] ^= 1;
    if (lie == 1) rewrite_block(&c, first + 1, 2, hash_of(&c, first) ^ 1);
    if (lie == 2) rewrite_block(&c, first, 3, hash_of(&c, first - 1));
    if (lie == 2) rewrite_block(&c, first + 1, 2, hash_of(&c, first));
    salvage_craft(&c, "amno", &given);
    assert_string_equal(given.text, lie ? "!o=103 a=1 " : "!n=102 !o=103 a=1 ");
    craft_end(&c);
  }
}

static void note_lost(void *context, const struct wodan_finding *finding) {
  if (finding->id == FOUND_KEYS_LOST) snprintf(context, 256, "%s", finding->message);
}

/* In the journal, which names no place to look for another: the record is lost, and it is told why. */
static void test_repair_runs__a_reference_that_does_not_decode(void **state) {
  (void)state;
  struct craft c;
  char why[256] = "";
  const struct object leaf = {.pages = {{{.key = K("a")}}}};
  const struct journal_operation put = {.kind = RECORD_BLOB, .key = text(K("b")), .value = text("not a reference")};
  craft_begin(&c);
  struct node_image_entry entry = leaf_of(K("a"), craft_object(&c, &leaf));
  craft_checkpoint(&c, craft_node(&c, &entry, 1, NULL, 0));
  craft_journal_operation(&c, CHECKPOINT_SEQUENCE + 1, &put);
  struct store out = store_create(4 * SIZE, SECTOR);
  struct wodan_device *from = store_open(&c.store), *to = store_open(&out);
  struct wodan_salvage_report report;
  const struct wodan_salvage_options options = {.context = why, .finding = note_lost};
  assert_int_equal(wodan_salvage(from, to, &options, &report, NULL), 0);
  assert_int_equal(report.losses, 1);
  if (!strstr(why, "a reference to a large value is malformed")) fail_msg("told: %s", why);
  wodan_device_close(from);
  wodan_device_close(to);
  store_free(&out);
  craft_end(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_repair_runs__without_a_ring),
      cmocka_unit_test(test_repair_runs__without_superblocks),
      cmocka_unit_test(test_repair_runs__with_unreadable_superblocks),
      cmocka_unit_test(test_repair_runs__a_volume_that_was_cut),
      cmocka_unit_test(test_repair_runs__the_greatest_sequence_wins_and_deletes_count),
      cmocka_unit_test(test_repair_runs__a_header_that_lies_about_its_keys),
      cmocka_unit_test(test_repair_runs__records_that_nothing_names_are_told_apart),
      cmocka_unit_test(test_repair_runs__what_a_leaf_has_absorbed_does_not_come_back),
      cmocka_unit_test(test_repair_runs__a_lost_leaf_is_made_up_from_the_runs_it_has_absorbed),
      cmocka_unit_test(test_repair_runs__records_behind_a_break_of_the_journal_are_told_apart),
      cmocka_unit_test(test_repair_runs__blocks_of_two_records_are_no_stray),
      cmocka_unit_test(test_repair_runs__a_reference_that_does_not_decode)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
