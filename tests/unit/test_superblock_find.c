/* Which superblock is believed when block 0 and the copy at the end tell of two volumes. That a dead block 0 gives way to the
 * copy is tested in test_engine_open, test_check and tests/repair. */
#include "inspect_rig.h"

#include "codec/checksum.h"
#include "format/journal_block.h"
#include "io/superblock_find.h"

static struct superblock decode(const struct store *store) {
  struct superblock sb;
  assert_int_equal(superblock_decode(store->bytes, &sb, NULL), 0);
  return sb;
}

static int find(struct store *store, struct superblock_found *found) {
  struct wodan_device *raw = store_open(store);
  struct device device;
  struct mem mem;
  mem_init(&mem, NULL);
  assert_int_equal(device_init(&device, raw, NULL), 0);
  int status = superblock_find(&device, &mem, found, NULL);
  assert_int_equal(mem_used(&mem), 0);
  wodan_device_close(raw);
  return status;
}

static bool found_is(struct store *store, const struct superblock *right, bool copy) {
  struct superblock_found found;
  assert_int_equal(find(store, &found), 0);
  return found.copy == copy && memcmp(found.superblock.fsid, right->fsid, sizeof right->fsid) == 0;
}

static void test_superblock_find__block_0_of_another_volume_is_not_believed(void **state) {
  (void)state;
  struct store mine = rig_image(), other = rig_image();
  struct superblock sb = decode(&mine), foreign = decode(&other);
  assert_memory_not_equal(sb.fsid, foreign.fsid, sizeof sb.fsid);
  assert_true(found_is(&mine, &sb, false));
  memcpy(mine.bytes, other.bytes, sb.block_size);
  assert_true(found_is(&mine, &sb, true));

  struct wodan_db *db = rig_open(&mine, WODAN_OPEN_INLINE);
  char key[32], value[128];
  size_t size;
  assert_int_equal(wodan_get(db, NULL, rig_key(key, 3), value, sizeof value, &size), 0);
  assert_int_equal(wodan_close(db, NULL), 0);
  struct heard heard;
  store_check(&mine, &heard);
  assert_true(heard.report.damages == 0 && heard.report.warnings == 1 && heard_id(&heard, 1) >= 0);

  /* A journal block of the other one, where it has no place, changes nothing. */
  uint64_t ring = superblock_ring_blocks(&sb), size_of = sb.journal_block_size;
  memcpy(mine.bytes + sb.block_size + (ring - 1) * size_of, other.bytes + sb.block_size, size_of);
  assert_true(found_is(&mine, &sb, true));
  /* At its place it does: then both may be right, and block 0 is the first to be asked. */
  memcpy(mine.bytes + sb.block_size, other.bytes + sb.block_size, size_of);
  assert_true(found_is(&mine, &foreign, false));
  store_free(&mine);
  store_free(&other);
}

/* Nothing in the journal is anybody's: no reason to doubt block 0. */
static void test_superblock_find__without_a_journal_block_0_is_believed(void **state) {
  (void)state;
  struct store mine = rig_image(), other = rig_image();
  struct superblock sb = decode(&mine), foreign = decode(&other);
  memcpy(mine.bytes, other.bytes, sb.block_size);
  memset(mine.bytes + sb.block_size, 0, superblock_ring_blocks(&sb) * sb.journal_block_size);
  assert_true(found_is(&mine, &foreign, false));
  mine.bytes[20] ^= 1;
  assert_true(found_is(&mine, &sb, true)); /* dead, not foreign */
  mine.bytes[mine.size - SUPERBLOCK_SIZE + 20] ^= 1;
  struct superblock_found found;
  assert_int_equal(find(&mine, &found), WODAN_ECORRUPT);
  store_free(&mine);
  store_free(&other);
}

static struct store formatted(uint32_t block_size) {
  struct store store = store_create(RIG_SIZE, RIG_SECTOR);
  const struct wodan_format_options options = {.size = sizeof options, .block_size = block_size};
  struct wodan_device *device = store_open(&store);
  assert_int_equal(wodan_format(device, &options, NULL), 0);
  wodan_device_close(device);
  return store;
}

/* The device is half a block longer than the volume. What stands in that half is where a copy of smaller blocks would be, and is
 * none of such. */
static void test_superblock_find__a_copy_is_where_its_own_blocks_end(void **state) {
  (void)state;
  struct store mine = formatted(1024), other = formatted(1024), longer = store_create(RIG_SIZE + 512, RIG_SECTOR);
  struct superblock sb = decode(&mine);
  memcpy(longer.bytes, mine.bytes, RIG_SIZE);
  memcpy(longer.bytes + RIG_SIZE, other.bytes + RIG_SIZE - 512, 512);
  longer.bytes[20] ^= 1;
  assert_true(found_is(&longer, &sb, true));
  store_free(&mine);
  store_free(&other);
  store_free(&longer);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_superblock_find__block_0_of_another_volume_is_not_believed),
      cmocka_unit_test(test_superblock_find__without_a_journal_block_0_is_believed),
      cmocka_unit_test(test_superblock_find__a_copy_is_where_its_own_blocks_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
