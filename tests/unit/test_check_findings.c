/* The check on volumes laid by hand, each with one lie behind good checksums: every finding about objects, roots and
 * journal is reached, alone, with its severity, and the rest of the volume is still looked at. */
#include "check_craft.h"

static void run_gives(const struct object *run, uint32_t id, uint32_t times) {
  struct craft c;
  craft_with_run(&c, run);
  expect_times(&c, id, WODAN_DAMAGE, times);
  struct heard heard;
  store_check(&c.store, &heard);
  assert_true(heard.report.pages >= 4 && heard.report.leaves == 2); /* the leaves were looked at all the same */
  craft_end(&c);
}
/* ---- runs ------------------------------------------------------------------------------------------------------- */

static void test_check__crafted_volume_is_clean(void **state) {
  (void)state;
  const struct object run = {
      .pages = {{{.key = "a", .sequence = 7}, {.key = "d", .sequence = 9, .kind = RECORD_DELETE}},
                {{.key = "q", .sequence = 8}}},
      .filter = true};
  struct craft c;
  struct heard heard;
  craft_with_run(&c, &run);
  expect_clean(&c, &heard);
  assert_int_equal(heard.report.leaves, 2);
  assert_int_equal(heard.report.runs, 1);
  assert_int_equal(heard.report.nodes, 1);
  assert_int_equal(heard.report.pages, 6);
  assert_int_equal(heard.report.records, 10);
  assert_int_equal(heard.report.blocks_live, c.next_block - c.io.bounds.data_first);
  assert_int_equal(heard.report.blocks_previous, 0);
  craft_end(&c);
}

static void test_check__page_checksum(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a"}, {.key = "d"}}, {{.key = "q"}}}, .page_garbage = true};
  run_gives(&run, FOUND_PAGE_CHECKSUM, 1);
}

static void test_check__page_malformed_behind_a_good_checksum(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a"}, {.key = "d"}}}, .page_malformed = true};
  run_gives(&run, FOUND_PAGE_MALFORMED, 1);
}

/* What is compressed is checked as any page; a block that lies is one more way to be malformed. */
static void test_check__compressed_pages(void **state) {
  (void)state;
  struct object run = {
      .pages = {{{.key = "a", .value_size = 120}, {.key = "d", .value_size = 120}, {.key = "e", .value_size = 110}},
                {{.key = "p", .value_size = 90}, {.key = "q", .value_size = 128}, {.key = "r", .value_size = 128}}},
      .packed = PACKED_RIGHT};
  struct craft c;
  struct heard heard;
  craft_with_run(&c, &run);
  expect_clean(&c, &heard);
  assert_true(heard.report.page_stored_bytes + 300 < heard.report.page_bytes);
  craft_end(&c);
  run.packed = PACKED_CUT;
  run_gives(&run, FOUND_PAGE_MALFORMED, 2);
  run.packed = PACKED_GARBAGE;
  run_gives(&run, FOUND_PAGE_MALFORMED, 2);
  run.packed = PACKED_RIGHT;
  run.page_garbage = true;
  run_gives(&run, FOUND_PAGE_CHECKSUM, 1);
  run.page_garbage = false;
  run.page_malformed = true; /* unpacks well, to a page that lies */
  run_gives(&run, FOUND_PAGE_MALFORMED, 2);
}

static void test_check__index_that_skips_a_byte(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a"}, {.key = "d"}}, {{.key = "q"}}}, .index_skips = true};
  run_gives(&run, FOUND_RUN_INDEX, 1);
}

static void more_than_all(struct index_entry *entry) { entry->length = ++entry->size; }

/* The only page, told a byte longer than the section of all pages: there is nothing of that kind to be read. */
static void test_check__entry_longer_than_the_pages(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a"}, {.key = "d"}}}, .entry_lie = more_than_all};
  run_gives(&run, FOUND_RUN_INDEX, 1);
}

static void test_check__list_of_large_values_that_no_record_names(void **state) {
  (void)state;
  struct object run = {.pages = {{{.key = "a"}}}, .section = SECTION_BLOBS};
  run_gives(&run, FOUND_BLOB_LIST, 1);
  run.section_size = 1; /* a list of none, where there must be none */
  run_gives(&run, FOUND_BLOB_LIST, 1);
}

/* A record whose reference says nothing, and a list with a null pointer for it and bytes behind. */
static void test_check__list_of_large_values_with_bytes_behind_it(void **state) {
  (void)state;
  for (uint8_t behind = 0; behind < 2; behind++) {
    const struct object run = {.pages = {{{.key = "a", .kind = RECORD_BLOB}}},
                               .section = SECTION_BLOBS,
                               .section_first = 1,
                               .section_size = (uint8_t)(2 + behind)};
    struct craft c;
    struct heard heard;
    craft_with_run(&c, &run);
    store_check(&c.store, &heard);
    assert_true(heard_id(&heard, FOUND_BLOB_REFERENCE) >= 0);
    assert_int_equal(heard_id(&heard, FOUND_BLOB_LIST) >= 0, behind);
    assert_int_equal(heard.count, 1 + behind);
    craft_end(&c);
  }
}

static void test_check__range_deletes_that_are_none(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a"}}}, .section = SECTION_RANGE_TOMBSTONES};
  run_gives(&run, FOUND_RANGES_DAMAGED, 1);
}

static void range_is_clean(const struct object *run) {
  struct craft c;
  struct heard heard;
  craft_with_run(&c, run);
  expect_clean(&c, &heard);
  craft_end(&c);
}

static void test_check__range_delete_against_the_headers_range(void **state) {
  (void)state;
  struct object run = {.pages = {{{.key = "a1", .sequence = 9}, {.key = "a8", .sequence = 9}}},
                       .from = "a0",
                       .to = "a9",
                       .range_sequence = 8};
  range_is_clean(&run);
  run.low = "a1";
  run_gives(&run, FOUND_KEY_RANGE, 1);
  run.low = NULL;
  run.high = "a8";
  run_gives(&run, FOUND_KEY_RANGE, 2); /* the range, and the whole */
}

static void test_check__range_delete_newer_than_its_root(void **state) {
  (void)state;
  struct object run = {.pages = {{{.key = "b"}}}, .from = "a0", .to = "a9", .range_sequence = CHECKPOINT_SEQUENCE};
  range_is_clean(&run);
  run.range_sequence++;
  run_gives(&run, FOUND_RECORD_SEQUENCE, 1);
}

static void test_check__keys_that_overlap_the_page_before(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a"}, {.key = "d"}}, {{.key = "c"}, {.key = "q"}}}};
  run_gives(&run, FOUND_KEY_ORDER, 1);
}

static void test_check__key_equal_to_the_page_before(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a"}, {.key = "d"}}, {{.key = "d"}, {.key = "q"}}}};
  run_gives(&run, FOUND_KEY_ORDER, 1);
}

static void test_check__index_key_that_is_not_the_last_of_its_page(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a"}, {.key = "d"}}, {{.key = "q"}}}, .index = {"e"}};
  run_gives(&run, FOUND_KEY_ORDER, 1);
}

static void test_check__key_below_the_headers_range(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a"}, {.key = "d"}}, {{.key = "q"}}}, .low = "b"};
  run_gives(&run, FOUND_KEY_RANGE, 1);
}

static void test_check__key_above_the_headers_range(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a"}, {.key = "d"}}, {{.key = "q"}}}, .high = "p"};
  run_gives(&run, FOUND_KEY_RANGE, 2); /* the page, and the whole */
}

static void test_check__range_that_ends_above_the_last_key(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a"}, {.key = "d"}}}, .high = "e"};
  run_gives(&run, FOUND_KEY_RANGE, 1);
}

static void test_check__range_that_is_not_told(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a"}, {.key = "d"}}}, .low = ""};
  run_gives(&run, FOUND_KEY_RANGE, 1);
}

static void test_check__record_count(void **state) {
  (void)state;
  const struct object more = {.pages = {{{.key = "a"}, {.key = "d"}}}, .count_lie = 1};
  const struct object less = {.pages = {{{.key = "a"}, {.key = "d"}}}, .count_lie = -1};
  run_gives(&more, FOUND_RECORD_COUNT, 1);
  run_gives(&less, FOUND_RECORD_COUNT, 1);
}

static void test_check__record_newer_than_its_run(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a", .sequence = 5}, {.key = "d", .sequence = 6}}}, .sequence_max = 5};
  run_gives(&run, FOUND_RECORD_SEQUENCE, 1);
}

static void test_check__record_newer_than_the_checkpoint(void **state) {
  (void)state;
  const struct object run = {
      .pages = {{{.key = "a", .sequence = 5}, {.key = "d", .sequence = CHECKPOINT_SEQUENCE + 1}}}};
  run_gives(&run, FOUND_RECORD_SEQUENCE, 1);
}

static void test_check__record_newest_at_the_checkpoint_is_clean(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a", .sequence = 5}, {.key = "d", .sequence = CHECKPOINT_SEQUENCE}}}};
  struct craft c;
  struct heard heard;
  craft_with_run(&c, &run);
  expect_clean(&c, &heard);
  craft_end(&c);
}

static void test_check__value_bigger_than_the_volume_allows(void **state) {
  (void)state;
  const struct object edge = {.pages = {{{.key = "a", .value_size = 128}}}},
                      over = {.pages = {{{.key = "a", .value_size = 129}}}};
  struct craft c;
  struct heard heard;
  craft_with_run(&c, &edge);
  assert_int_equal(c.sb.page_size, 512);
  expect_clean(&c, &heard);
  craft_end(&c);
  run_gives(&over, FOUND_RECORD_SIZE, 1);
}

static void test_check__key_bigger_than_the_volume_allows(void **state) {
  (void)state;
  const struct object over = {.pages = {{{.key = "a long", .key_size = 66}}}, .low = "a", .high = "b"};
  struct craft c;
  struct heard heard;
  craft_with_run(&c, &over);
  store_check(&c.store, &heard);
  assert_true(heard_id(&heard, FOUND_RECORD_SIZE) >= 0);
  craft_end(&c);
}

static void test_check__filter_that_denies_a_key(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a"}}, {{.key = "q"}}}, .filter = true, .filter_lacks_first = true};
  run_gives(&run, FOUND_FILTER_DENIES, 1);
}

static void test_check__filter_of_a_wrong_size(void **state) {
  (void)state;
  struct object run = {.pages = {{{.key = "a"}}, {{.key = "q"}}}, .filter = true, .filter_short = true};
  run_gives(&run, FOUND_FILTER_DAMAGED, 1);
  run.filter_sum_of_lines = true; /* right for what is proven of it: only its size is wrong */
  run_gives(&run, FOUND_FILTER_DAMAGED, 1);
}

/* ---- leaves and node -------------------------------------------------------------------------------------------- */

static void leaves_give(const struct object *first, const struct object *second, uint32_t id) {
  struct craft c;
  struct heard heard;
  craft_begin(&c);
  struct node_image_entry leaves[2] = {leaf_of("g", craft_object(&c, first)), leaf_of("m", craft_object(&c, second))};
  craft_checkpoint(&c, craft_node(&c, leaves, 2, NULL, 0));
  if (id)
    expect_only(&c, id, WODAN_DAMAGE);
  else
    expect_clean(&c, &heard);
  craft_end(&c);
}

static void test_check__leaf_with_a_delete(void **state) {
  (void)state;
  const struct object good = {.pages = {{{.key = "h"}}}},
                      bad = {.pages = {{{.key = "m"}, {.key = "n", .sequence = 3, .kind = RECORD_DELETE}}}};
  leaves_give(&good, &bad, FOUND_LEAF_DELETE);
}

static void test_check__leaf_with_range_deletes(void **state) {
  (void)state;
  const struct object good = {.pages = {{{.key = "h"}}}},
                      bad = {.pages = {{{.key = "m"}}}, .section = SECTION_RANGE_TOMBSTONES};
  leaves_give(&good, &bad, FOUND_RUN_SECTIONS);
}

static void index_as_ranges(struct object_header *header) { header->sections[1].tag = SECTION_RANGE_TOMBSTONES; }

static void test_check__leaf_with_range_deletes_in_place_of_an_index(void **state) {
  (void)state;
  const struct object good = {.pages = {{{.key = "h"}}}},
                      bad = {.pages = {{{.key = "m"}}}, .header_lie = index_as_ranges};
  leaves_give(&good, &bad, FOUND_RUN_SECTIONS);
}

static void test_check__leaf_keys_against_the_pivots(void **state) {
  (void)state;
  const struct object low = {.pages = {{{.key = "a"}, {.key = "l"}}}},
                      reaches = {.pages = {{{.key = "a"}, {.key = "m"}}}};
  const struct object high = {.pages = {{{.key = "m"}, {.key = "z"}}}},
                      below = {.pages = {{{.key = "l"}, {.key = "z"}}}};
  leaves_give(&low, &high, 0); /* the first leaf covers what is below its pivot */
  leaves_give(&reaches, &high, FOUND_KEY_PIVOT);
  leaves_give(&low, &below, FOUND_KEY_PIVOT);
}

static void test_check__node_older_than_its_leaf(void **state) {
  (void)state;
  const struct object leaf = {.pages = {{{.key = "h"}}}};
  struct craft c;
  craft_begin(&c);
  c.generation = 50;
  struct node_image_entry leaves[1] = {leaf_of("g", craft_object(&c, &leaf))};
  c.generation = 10;
  craft_checkpoint(&c, craft_node(&c, leaves, 1, NULL, 0));
  expect_only(&c, FOUND_NODE_DAMAGED, WODAN_DAMAGE);
  struct heard heard;
  store_check(&c.store, &heard);
  assert_int_equal(heard.report.complete, 0);
  craft_end(&c);
}

static void test_check__pointer_to_a_stale_header(void **state) {
  (void)state;
  const struct object leaf = {.pages = {{{.key = "h"}}}};
  struct craft c;
  craft_begin(&c);
  struct block_ptr ptr = craft_object(&c, &leaf);
  c.next_block = ptr.extents[0].first; /* a later object in the same place: whole, but not the one that is meant */
  craft_object(&c, &leaf);
  struct node_image_entry leaves[1] = {leaf_of("g", ptr)};
  craft_checkpoint(&c, craft_node(&c, leaves, 1, NULL, 0));
  expect_only(&c, FOUND_RUN_HEADER, WODAN_DAMAGE);
  craft_end(&c);
}

static void test_check__catalog_is_looked_at(void **state) {
  (void)state;
  const struct object catalog = {.pages = {{{.key = "h"}}}, .page_garbage = true};
  struct craft c;
  craft_begin(&c);
  craft_checkpoint_record(&c, (struct checkpoint_record){.catalog = craft_object(&c, &catalog)});
  expect_only(&c, FOUND_PAGE_CHECKSUM, WODAN_DAMAGE);
  craft_end(&c);
}

/* ---- space ------------------------------------------------------------------------------------------------------ */

static void test_check__one_object_named_twice(void **state) {
  (void)state;
  const struct object object = {.pages = {{{.key = "h"}}}};
  struct craft c;
  craft_begin(&c);
  struct block_ptr run = craft_object(&c, &object);
  struct node_image_entry leaves[1] = {leaf_of("g", run)};
  craft_checkpoint(&c, craft_node(&c, leaves, 1, &run, 1));
  expect_only(&c, FOUND_SPACE_OWNED_TWICE, WODAN_DAMAGE);
  craft_end(&c);
}

static void test_check__previous_root_shares_objects_and_owns_others(void **state) {
  (void)state;
  const struct object object = {.pages = {{{.key = "h"}}}};
  struct craft c;
  struct heard heard;
  craft_begin(&c);
  struct block_ptr shared = craft_object(&c, &object), old = craft_object(&c, &object);
  struct node_image_entry leaves[1] = {leaf_of("g", shared)};
  struct block_ptr old_root = craft_node(&c, leaves, 1, &old, 1);
  craft_checkpoint(&c, old_root);
  craft_checkpoint(&c, craft_node(&c, leaves, 1, NULL, 0));
  expect_clean(&c, &heard);
  assert_int_equal(heard.report.blocks_previous, block_ptr_blocks(&old) + block_ptr_blocks(&old_root));
  assert_true(heard.report.previous_generation < heard.report.generation);
  craft_end(&c);
}

static void test_check__damage_of_the_previous_root_alone_is_a_warning(void **state) {
  (void)state;
  const struct object object = {.pages = {{{.key = "h"}}}}, bad = {.pages = {{{.key = "h"}}}, .page_garbage = true};
  struct craft c;
  craft_begin(&c);
  struct block_ptr shared = craft_object(&c, &object), old = craft_object(&c, &bad);
  struct node_image_entry leaves[1] = {leaf_of("g", shared)};
  struct block_ptr old_root = craft_node(&c, leaves, 1, &old, 1);
  craft_checkpoint(&c, old_root);
  craft_checkpoint(&c, craft_node(&c, leaves, 1, NULL, 0));
  expect_only(&c, FOUND_PAGE_CHECKSUM, WODAN_WARNING);
  c.store.bytes[old_root.extents[0].first * SECTOR + 40] ^= 1;
  expect_only(&c, FOUND_NODE_DAMAGED, WODAN_WARNING);
  craft_end(&c);
}

static void test_check__block_of_the_newest_root_reused_under_the_previous_one(void **state) {
  (void)state;
  const struct object object = {.pages = {{{.key = "h"}}}};
  struct craft c;
  craft_begin(&c);
  struct block_ptr old = craft_object(&c, &object);
  struct node_image_entry leaves[1] = {leaf_of("g", old)};
  craft_checkpoint(&c, craft_node(&c, leaves, 1, NULL, 0));
  const struct object over = {.pages = {{{.key = "h", .sequence = 9}}}, .at = old.extents[0].first};
  leaves[0] = leaf_of("g", craft_object(&c, &over));
  craft_checkpoint(&c, craft_node(&c, leaves, 1, NULL, 0));
  expect_only(&c, FOUND_SPACE_SHARED, WODAN_WARNING);
  craft_end(&c);
}

/* ---- journal and roots ------------------------------------------------------------------------------------------ */

static void test_check__journal_with_a_gap(void **state) {
  (void)state;
  struct craft c;
  struct heard heard;
  craft_with_run(&c, NULL);
  craft_journal_record(&c, CHECKPOINT_SEQUENCE + 1, "key", 3);
  expect_clean(&c, &heard);
  assert_int_equal(heard.report.journal_records, 1);
  craft_journal_record(&c, CHECKPOINT_SEQUENCE + 3, "key", 3);
  expect_only(&c, FOUND_JOURNAL_REPLAY, WODAN_DAMAGE);
  craft_end(&c);
}

static void test_check__journal_key_too_big(void **state) {
  (void)state;
  static const char LONG[66] = "long";
  struct craft c;
  craft_with_run(&c, NULL);
  craft_journal_record(&c, CHECKPOINT_SEQUENCE + 1, LONG, sizeof LONG);
  expect_only(&c, FOUND_JOURNAL_SIZE, WODAN_DAMAGE);
  craft_end(&c);
  for (size_t more = 0; more < 2; more++) {
    struct heard heard;
    craft_with_run(&c, NULL);
    craft_journal_value(&c, CHECKPOINT_SEQUENCE + 1, "key", 3, c.sb.page_size / 4 + more);
    if (more)
      expect_only(&c, FOUND_JOURNAL_SIZE, WODAN_DAMAGE);
    else
      expect_clean(&c, &heard);
    craft_end(&c);
  }
}

static void test_check__previous_root_of_a_later_generation(void **state) {
  (void)state;
  struct craft c;
  craft_begin(&c);
  c.generation = 50;
  craft_checkpoint_record(&c, (struct checkpoint_record){.sequence = 1});
  c.generation = 10;
  craft_checkpoint_record(&c, (struct checkpoint_record){.sequence = 1});
  expect_only(&c, FOUND_PREVIOUS_NEWER, WODAN_WARNING);
  craft_end(&c);
}

static void test_check__ring_read_as_a_whole_is_a_note(void **state) {
  (void)state;
  struct craft c;
  struct heard heard;
  craft_with_run(&c, NULL);
  for (int i = 0; i < 3; i++) craft_checkpoint_record(&c, (struct checkpoint_record){.sequence = 1});
  c.store.bytes[SECTOR + 100] ^= 1; /* where the bisection starts */
  store_check(&c.store, &heard);
  assert_int_equal(heard.report.damages + heard.report.warnings, 0);
  assert_true(heard_id(&heard, FOUND_JOURNAL_LINEAR) >= 0);
  craft_end(&c);
}

/* Found by fuzz/check_image.c: an open refuses a volume whose counters are about to wrap round, and the check called the same
 * volume whole. */
static void test_check__counters_beyond_reach(void **state) {
  (void)state;
  struct craft c;
  struct wodan_db *db;
  craft_with_run(&c, NULL);
  craft_checkpoint_record(&c, (struct checkpoint_record){.sequence = UINT64_C(1) << 62});
  expect_only(&c, FOUND_JOURNAL_COUNTERS, WODAN_DAMAGE);
  struct wodan_device *device = store_open(&c.store);
  struct wodan_open_options options = {.flags = WODAN_OPEN_READ_ONLY};
  assert_int_equal(wodan_open(device, &options, &db, NULL), WODAN_ECORRUPT);
  wodan_device_close(device);
  craft_end(&c);

  craft_with_run(&c, NULL);
  c.journal.epoch.number = UINT64_C(1) << 62;
  craft_journal_record(&c, CHECKPOINT_SEQUENCE + 1, "key", 3);
  expect_only(&c, FOUND_JOURNAL_COUNTERS, WODAN_DAMAGE);
  craft_end(&c);
}

/* The generation of a large value is none that its volume can reach; the one below is only not there. */
static void test_check__large_value_of_the_journal_beyond_reach(void **state) {
  (void)state;
  for (uint64_t below = 0; below < 2; below++) {
    struct craft c;
    uint8_t value[100];
    craft_with_run(&c, NULL);
    const struct blob_ref ref = {.size = 1000,
                                 .ptr = {.generation = JOURNAL_COUNTER_LIMIT - below,
                                         .length = 2 * SECTOR,
                                         .header_length = SECTOR,
                                         .extents = {{c.next_block, 2}},
                                         .extent_count = 1}};
    const struct journal_operation put = {
        .kind = RECORD_BLOB, .key = text("key"), .value = {value, blob_ref_encode(&ref, value, sizeof value)}};
    craft_journal_operation(&c, CHECKPOINT_SEQUENCE + 1, &put);
    expect_only(&c, below ? FOUND_BLOB_DAMAGED : FOUND_BLOB_REFERENCE, WODAN_DAMAGE);
    craft_end(&c);
  }
}

static int overwrite_behind_the_check(void *context, uint64_t done, uint64_t total) {
  struct craft *c = context;
  if (done < total || c->journal.epoch.number > 1) return 0;
  c->journal.epoch.number = UINT64_C(1) << 62;
  craft_journal_record(c, CHECKPOINT_SEQUENCE + 1, "key", 3);
  c->store.writes = 0;
  return 0;
}

/* Between its check and its own reading of the journal a device may change its mind. */
static void test_check__repair_looks_at_the_counters_itself(void **state) {
  (void)state;
  struct craft c;
  struct wodan_repair_report report;
  craft_with_run(&c, NULL);
  c.store.bytes[SIZE - SUPERBLOCK_SIZE] ^= 1;
  const struct wodan_repair_options options = {.hooks = {.random = store_random},
                                               .context = &c,
                                               .allowed = WODAN_REPAIR_LOSSY,
                                               .progress = overwrite_behind_the_check};
  struct wodan_device *device = store_open(&c.store);
  assert_int_equal(wodan_repair(device, &options, &report, NULL), WODAN_ECORRUPT);
  assert_true(c.store.writes == 0 && c.journal.epoch.number > 1);
  wodan_device_close(device);
  craft_end(&c);
}

static uint8_t *journal_bytes(struct craft *c, uint64_t sequence) {
  return c->store.bytes + SECTOR + sequence % c->journal.blocks * c->journal.block_size;
}

static void test_check__torn_newest_record_is_a_note(void **state) {
  (void)state;
  struct craft c;
  craft_with_run(&c, NULL);
  craft_journal_record(&c, CHECKPOINT_SEQUENCE + 1, "key", 3);
  journal_bytes(&c, c.journal.head - 1)[130] ^= 1;
  struct heard heard;
  store_check(&c.store, &heard);
  assert_int_equal(heard.report.damages + heard.report.warnings, 0);
  assert_true(heard_id(&heard, FOUND_JOURNAL_DEBRIS) >= 0);
  craft_end(&c);
}

static void test_check__misplaced_journal_block_is_a_note(void **state) {
  (void)state;
  struct craft c;
  craft_with_run(&c, NULL);
  memcpy(journal_bytes(&c, 5), journal_bytes(&c, 3), c.journal.block_size);
  expect_only(&c, FOUND_JOURNAL_DEBRIS, WODAN_NOTE);
  craft_end(&c);
}

static void test_check__rotten_acknowledged_record_is_damage_and_the_tree_is_still_checked(void **state) {
  (void)state;
  struct craft c;
  craft_with_run(&c, NULL);
  craft_journal_record(&c, CHECKPOINT_SEQUENCE + 1, "key", 3);
  craft_journal_record(&c, CHECKPOINT_SEQUENCE + 2, "key", 3);
  journal_bytes(&c, c.journal.head - 2)[130] ^= 1;
  struct heard heard;
  store_check(&c.store, &heard);
  assert_int_equal(heard.report.damages, 1);
  assert_true(heard_id(&heard, FOUND_JOURNAL_DAMAGED) >= 0 && heard_id(&heard, FOUND_OLDER_ROOT_USED) >= 0);
  assert_int_equal(heard.report.leaves, 2);
  craft_end(&c);
}

static void test_check__ring_without_a_checkpoint_has_no_root(void **state) {
  (void)state;
  struct craft c;
  struct heard heard;
  craft_with_run(&c, NULL);
  memset(c.store.bytes + SECTOR, 0, c.journal.blocks * c.journal.block_size);
  store_check(&c.store, &heard);
  assert_int_equal(heard.status, 0);
  assert_true(heard_id(&heard, FOUND_JOURNAL_NO_ROOT) >= 0 && heard.report.complete == 0);
  craft_end(&c);
}

static void test_check__lost_previous_checkpoint_is_a_warning(void **state) {
  (void)state;
  struct craft c;
  struct heard heard;
  craft_with_run(&c, NULL);
  craft_checkpoint(&c, (struct block_ptr){0});
  craft_checkpoint(&c, (struct block_ptr){0});
  journal_bytes(&c, c.journal.previous.sequence)[130] ^= 1;
  store_check(&c.store, &heard);
  int at = heard_id(&heard, FOUND_PREVIOUS_LOST);
  assert_true(at >= 0 && heard.severities[at] == WODAN_WARNING && heard.report.damages == 0);
  craft_end(&c);
}

static void test_check__previous_root_newer_than_the_newest(void **state) {
  (void)state;
  struct craft c;
  craft_begin(&c);
  craft_checkpoint_record(&c, (struct checkpoint_record){.sequence = 9});
  craft_checkpoint_record(&c, (struct checkpoint_record){.sequence = 8});
  expect_only(&c, FOUND_PREVIOUS_NEWER, WODAN_WARNING);
  craft_end(&c);
}

static void test_check__root_with_unknown_features_is_refused(void **state) {
  (void)state;
  struct craft c;
  struct heard heard;
  craft_begin(&c);
  craft_checkpoint_record(&c, (struct checkpoint_record){.incompat = 8});
  store_check(&c.store, &heard);
  assert_int_equal(heard.status, WODAN_EVERSION);
  craft_end(&c);
}

static void test_check__unknown_compatible_features_are_a_note(void **state) {
  (void)state;
  struct craft c;
  craft_with_run(&c, NULL);
  c.sb.read_only_compat = 2;
  superblock_encode(&c.sb, c.store.bytes);
  superblock_encode(&c.sb, c.store.bytes + SIZE - SUPERBLOCK_SIZE);
  expect_only(&c, FOUND_FEATURES, WODAN_NOTE);
  craft_end(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_check__crafted_volume_is_clean),
      cmocka_unit_test(test_check__page_checksum),
      cmocka_unit_test(test_check__page_malformed_behind_a_good_checksum),
      cmocka_unit_test(test_check__compressed_pages),
      cmocka_unit_test(test_check__index_that_skips_a_byte),
      cmocka_unit_test(test_check__entry_longer_than_the_pages),
      cmocka_unit_test(test_check__list_of_large_values_that_no_record_names),
      cmocka_unit_test(test_check__list_of_large_values_with_bytes_behind_it),
      cmocka_unit_test(test_check__range_deletes_that_are_none),
      cmocka_unit_test(test_check__range_delete_against_the_headers_range),
      cmocka_unit_test(test_check__range_delete_newer_than_its_root),
      cmocka_unit_test(test_check__keys_that_overlap_the_page_before),
      cmocka_unit_test(test_check__key_equal_to_the_page_before),
      cmocka_unit_test(test_check__index_key_that_is_not_the_last_of_its_page),
      cmocka_unit_test(test_check__key_below_the_headers_range),
      cmocka_unit_test(test_check__key_above_the_headers_range),
      cmocka_unit_test(test_check__range_that_ends_above_the_last_key),
      cmocka_unit_test(test_check__range_that_is_not_told),
      cmocka_unit_test(test_check__record_count),
      cmocka_unit_test(test_check__record_newer_than_its_run),
      cmocka_unit_test(test_check__record_newer_than_the_checkpoint),
      cmocka_unit_test(test_check__record_newest_at_the_checkpoint_is_clean),
      cmocka_unit_test(test_check__value_bigger_than_the_volume_allows),
      cmocka_unit_test(test_check__key_bigger_than_the_volume_allows),
      cmocka_unit_test(test_check__filter_that_denies_a_key),
      cmocka_unit_test(test_check__filter_of_a_wrong_size),
      cmocka_unit_test(test_check__leaf_with_a_delete),
      cmocka_unit_test(test_check__leaf_with_range_deletes),
      cmocka_unit_test(test_check__leaf_with_range_deletes_in_place_of_an_index),
      cmocka_unit_test(test_check__leaf_keys_against_the_pivots),
      cmocka_unit_test(test_check__node_older_than_its_leaf),
      cmocka_unit_test(test_check__pointer_to_a_stale_header),
      cmocka_unit_test(test_check__catalog_is_looked_at),
      cmocka_unit_test(test_check__one_object_named_twice),
      cmocka_unit_test(test_check__previous_root_shares_objects_and_owns_others),
      cmocka_unit_test(test_check__damage_of_the_previous_root_alone_is_a_warning),
      cmocka_unit_test(test_check__block_of_the_newest_root_reused_under_the_previous_one),
      cmocka_unit_test(test_check__journal_with_a_gap),
      cmocka_unit_test(test_check__journal_key_too_big),
      cmocka_unit_test(test_check__previous_root_of_a_later_generation),
      cmocka_unit_test(test_check__ring_read_as_a_whole_is_a_note),
      cmocka_unit_test(test_check__counters_beyond_reach),
      cmocka_unit_test(test_check__large_value_of_the_journal_beyond_reach),
      cmocka_unit_test(test_check__repair_looks_at_the_counters_itself),
      cmocka_unit_test(test_check__torn_newest_record_is_a_note),
      cmocka_unit_test(test_check__misplaced_journal_block_is_a_note),
      cmocka_unit_test(test_check__rotten_acknowledged_record_is_damage_and_the_tree_is_still_checked),
      cmocka_unit_test(test_check__ring_without_a_checkpoint_has_no_root),
      cmocka_unit_test(test_check__lost_previous_checkpoint_is_a_warning),
      cmocka_unit_test(test_check__previous_root_newer_than_the_newest),
      cmocka_unit_test(test_check__root_with_unknown_features_is_refused),
      cmocka_unit_test(test_check__unknown_compatible_features_are_a_note),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
