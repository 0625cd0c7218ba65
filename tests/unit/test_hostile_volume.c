/* What: superblocks, roots and devices that do not fit one another, behind good checksums.
 * Always true: an open, the check and inspection take the same superblock, and none of them looks behind the device. */
#include "check_craft.h"

static int open_status(struct store *store, uint32_t flags, struct wodan_error *error) {
  struct wodan_db *db;
  struct wodan_device *device = store_open(store);
  struct wodan_open_options options = {.size = sizeof options, .flags = flags};
  int status = wodan_open(device, &options, &db, error);
  if (status == 0)
    assert_int_equal(wodan_close(db, NULL), 0);
  else
    wodan_device_close(device);
  return status;
}

static struct wodan_summary inspected(struct store *store, struct wodan_device **device,
                                      struct wodan_inspect **inspect) {
  struct wodan_summary summary = {.size = sizeof summary};
  struct wodan_error error = {.message = ""};
  *device = store_open(store);
  if (wodan_inspect_open(*device, NULL, inspect, &error) != 0) fail_msg("inspect: %s", error.message);
  assert_int_equal(wodan_inspect_summary(*inspect, &summary), 0);
  return summary;
}

/* ---- copies of the superblock ----------------------------------------------------------------------------------- */

/* Block 0 is dead, and the end of the device, where a copy of another block size would lie, holds a superblock that is
 * none of this volume's: of a former one, or one whose fields cannot be. */
static void test_hostile_volume__a_copy_lies_where_its_block_size_says(void **state) {
  (void)state;
  for (int broken = 0; broken < 2; broken++) {
    struct store store = store_create(SIZE, SECTOR);
    const struct wodan_format_options options = {.size = sizeof options, .block_size = 2 * SECTOR};
    struct wodan_device *device = store_open(&store);
    assert_int_equal(wodan_format(device, &options, NULL), 0);
    wodan_device_close(device);
    struct store longer = store_create(SIZE + SECTOR, SECTOR);
    memcpy(longer.bytes, store.bytes, SIZE);
    struct superblock_wish wish = {.device_size = SIZE, .sector = SECTOR, .block_size = broken ? SECTOR : 4 * SECTOR};
    struct superblock other;
    assert_int_equal(superblock_plan(&wish, &other, NULL), 0);
    if (broken) other.page_size = 3;
    superblock_encode(&other, longer.bytes + SIZE);
    memset(longer.bytes, 0, SUPERBLOCK_SIZE);
    struct heard heard;
    struct wodan_error error;
    struct wodan_inspect *inspect;
    assert_int_equal(open_status(&longer, WODAN_OPEN_READ_ONLY, &error), 0);
    store_check(&longer, &heard);
    assert_int_equal(heard.status, 0);
    assert_true(heard.count == 1 && heard.ids[0] == FOUND_BLOCK0_DAMAGED);
    struct wodan_summary summary = inspected(&longer, &device, &inspect);
    assert_int_equal(summary.block_size, 2 * SECTOR);
    assert_int_equal(summary.superblock_state, WODAN_SUPERBLOCK_COPY);
    wodan_inspect_close(inspect);
    wodan_device_close(device);
    store_free(&longer);
    store_free(&store);
  }
}

static void test_hostile_volume__a_copy_that_differs_is_told(void **state) {
  (void)state;
  struct craft c;
  struct wodan_device *device;
  struct wodan_inspect *inspect;
  craft_with_run(&c, NULL);
  c.sb.compat = 1;
  superblock_encode(&c.sb, c.store.bytes + SIZE - SUPERBLOCK_SIZE);
  struct wodan_summary summary = inspected(&c.store, &device, &inspect);
  assert_int_equal(summary.superblock_state, WODAN_SUPERBLOCK_FIRST);
  assert_int_equal(summary.damages, 1);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  superblock_encode(&c.sb, c.store.bytes); /* now both say so */
  struct heard heard;
  store_check(&c.store, &heard);
  assert_true(heard.count == 1 && heard.ids[0] == FOUND_FEATURES);
  craft_end(&c);
}

/* ---- devices ---------------------------------------------------------------------------------------------------- */

static void test_hostile_volume__a_device_that_ends_early(void **state) {
  (void)state;
  struct craft c;
  struct wodan_device *device;
  struct wodan_inspect *inspect;
  struct wodan_map_cell cells[16];
  uint64_t per_cell, lost = 0;
  craft_with_run(&c, NULL);
  c.store.size = SIZE / 2;
  struct wodan_summary summary = inspected(&c.store, &device, &inspect);
  assert_int_equal(summary.superblock_state, WODAN_SUPERBLOCK_NO_COPY);
  assert_int_equal(wodan_inspect_map(inspect, cells, 16, &per_cell, NULL), 0);
  for (int i = 0; i < 16; i++) lost += cells[i].blocks[WODAN_MAP_LOST];
  assert_int_equal(lost, SIZE / 2 / SECTOR);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  craft_end(&c);
}

static void test_hostile_volume__sectors_larger_than_blocks(void **state) {
  (void)state;
  static const uint32_t BLOCKS[] = {SECTOR, 4 * SECTOR}; /* the journal's blocks are of 512 in both */
  for (int i = 0; i < 2; i++) {
    struct store store = store_create(SIZE, SECTOR);
    const struct wodan_format_options options = {.size = sizeof options, .block_size = BLOCKS[i]};
    struct wodan_device *device = store_open(&store);
    struct wodan_error error;
    assert_int_equal(wodan_format(device, &options, NULL), 0);
    wodan_device_close(device);
    assert_int_equal(open_status(&store, 0, &error), 0);
    store.sector = 4 * SECTOR;
    assert_int_equal(open_status(&store, 0, &error), WODAN_ENOTSUP);
    store_free(&store);
  }
}

/* A journal block as large as the sector, in smaller allocation blocks, is made by no format: the superblock is. */
static void test_hostile_volume__allocation_blocks_smaller_than_sectors(void **state) {
  (void)state;
  struct craft c;
  struct wodan_error error;
  craft_begin(&c);
  c.sb.journal_block_size = 4 * SECTOR;
  c.sb.journal_blocks = 8 * 4;
  superblock_encode(&c.sb, c.store.bytes);
  c.store.sector = 4 * SECTOR;
  assert_int_equal(open_status(&c.store, WODAN_OPEN_READ_ONLY, &error), WODAN_ENOTSUP);
  c.store.sector = SECTOR;
  craft_end(&c);
}

/* ---- roots ------------------------------------------------------------------------------------------------------ */

static void test_hostile_volume__a_root_of_unknown_features_is_refused(void **state) {
  (void)state;
  const struct object object = {.pages = {{{.key = "\1h"}}}};
  for (int i = 0; i < 3; i++) {
    struct craft c;
    struct wodan_error error;
    craft_begin(&c);
    struct checkpoint_record record = {.incompat = i == 0 ? FEATURES_KNOWN + 1 : 0, .read_only_compat = i == 1};
    if (i == 2) record.catalog = craft_object(&c, &object);
    craft_checkpoint_record(&c, record);
    assert_int_equal(open_status(&c.store, 0, &error), WODAN_EVERSION);
    assert_int_equal(open_status(&c.store, WODAN_OPEN_READ_ONLY, &error), i == 1 ? 0 : WODAN_EVERSION);
    craft_end(&c);
  }
}

/* The root before the newest is of a larger volume: its blocks behind the end have no cell on the map. */
static void test_hostile_volume__an_older_root_of_a_larger_volume(void **state) {
  (void)state;
  struct craft c;
  struct wodan_device *device;
  struct wodan_inspect *inspect;
  struct wodan_map_cell cells[64];
  uint64_t per_cell, most = SIZE / SECTOR, all = 0;
  craft_begin(&c);
  const struct object far = {.pages = {{{.key = "\1h"}}}, .at = most - 5};
  struct node_image_entry leaves[1] = {leaf_of("\1g", craft_object(&c, &far))};
  craft_checkpoint(&c, craft_node(&c, leaves, 1, NULL, 0));
  craft_checkpoint_record(&c, (struct checkpoint_record){.device_blocks = most / 2});
  inspected(&c.store, &device, &inspect);
  memset(cells, 0x55, sizeof cells);
  assert_int_equal(wodan_inspect_map(inspect, cells, 16, &per_cell, NULL), 0);
  for (int i = 0; i < 16; i++)
    for (int kind = 0; kind <= WODAN_MAP_LOST; kind++) all += cells[i].blocks[kind];
  assert_int_equal(all, most / 2);
  for (size_t i = 16 * sizeof *cells; i < sizeof cells; i++) assert_int_equal(((uint8_t *)cells)[i], 0x55);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  craft_end(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_hostile_volume__a_copy_lies_where_its_block_size_says),
      cmocka_unit_test(test_hostile_volume__a_copy_that_differs_is_told),
      cmocka_unit_test(test_hostile_volume__a_device_that_ends_early),
      cmocka_unit_test(test_hostile_volume__sectors_larger_than_blocks),
      cmocka_unit_test(test_hostile_volume__allocation_blocks_smaller_than_sectors),
      cmocka_unit_test(test_hostile_volume__a_root_of_unknown_features_is_refused),
      cmocka_unit_test(test_hostile_volume__an_older_root_of_a_larger_volume),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
