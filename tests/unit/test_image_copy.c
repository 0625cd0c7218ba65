/* Copies without values: scrambling, damage anywhere, memory that runs out, devices that do not fit. That every recipe of
 * damage is found again in its copy is tested in tests/repair. */
#include "inspect_rig.h"

#include <wodan/image.h>
#include "codec/checksum.h"
#include "format/journal_block.h"
#include "format/superblock.h"
#include "inspect/scramble.h"
#include "support/random.h"

/* ---- scrambling ---------------------------------------------------------------------------------------------------- */

enum { KEYS = 400, KEY_MAX = 24 };

struct key {
  uint8_t before[KEY_MAX], after[KEY_MAX];
  size_t size;
};

static int by_bytes(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size) {
  int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
  return order ? (order > 0) - (order < 0) : (a_size > b_size) - (a_size < b_size);
}

static size_t common(const uint8_t *a, const uint8_t *b, size_t size) {
  size_t i = 0;
  while (i < size && a[i] == b[i]) i++;
  return i;
}

/* Keys of `letters` byte values; what is common at their start, and how they compare, must stay. */
static void scramble_keys(uint64_t seed, unsigned letters, uint64_t bytes) {
  static struct key keys[KEYS];
  uint64_t random = seed;
  struct mem mem;
  mem_init(&mem, NULL);
  struct scramble *scramble = scramble_create(&mem, bytes);
  assert_non_null(scramble);
  for (size_t i = 0; i < KEYS; i++) {
    keys[i].size = 1 + random_below(&random, KEY_MAX - 1);
    for (size_t k = 0; k < keys[i].size; k++)
      keys[i].before[k] = (uint8_t)(k ? random_below(&random, letters) * 255 / (letters > 1 ? letters - 1 : 1) : 1);
    struct scramble_at at = {0};
    scramble_collect(scramble, &at, keys[i].before, keys[i].size / 2); /* in two pieces */
    scramble_collect(scramble, &at, keys[i].before + keys[i].size / 2, keys[i].size - keys[i].size / 2);
  }
  for (size_t i = 0; i < KEYS; i++) {
    struct scramble_at at = {0};
    memcpy(keys[i].after, keys[i].before, keys[i].size);
    scramble_apply(scramble, &at, keys[i].after, keys[i].size);
    assert_int_equal(keys[i].after[0], 1); /* the table */
  }
  for (size_t i = 0; i < KEYS; i++)
    for (size_t k = 0; k < i; k++) {
      const struct key *a = &keys[i], *b = &keys[k];
      size_t size = a->size < b->size ? a->size : b->size;
      assert_int_equal(by_bytes(a->before, a->size, b->before, b->size),
                       by_bytes(a->after, a->size, b->after, b->size));
      assert_int_equal(common(a->before, b->before, size), common(a->after, b->after, size));
    }
  scramble_free(scramble, &mem);
  assert_int_equal(mem.used, 0);
}

/* Also where the memory of what was seen is far too small. */
static void test_image_copy__scrambling_keeps_order_and_prefixes(void **state) {
  (void)state;
  static const unsigned letters[] = {1, 2, 10, 26, 128, 256};
  for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
    for (uint64_t seed = 1; seed <= 3; seed++) scramble_keys(seed, letters[i], seed == 1 ? 0 : 1 << 20);
}

/* Keys of the same shape become the same: nothing is left of a byte but its rank. */
static void test_image_copy__scrambling_leaves_ranks_alone(void **state) {
  (void)state;
  static const char *const KEYS_IN[][3] = {{"\1password", "\1pasta", "\1pa"}, {"\1quercus7", "\1quest", "\1qu"}};
  char out[2][3][10];
  struct mem mem;
  mem_init(&mem, NULL);
  for (int i = 0; i < 2; i++) {
    struct scramble *scramble = scramble_create(&mem, 1000);
    for (int k = 0; k < 3; k++) {
      struct scramble_at at = {0};
      scramble_collect(scramble, &at, (const uint8_t *)KEYS_IN[i][k], strlen(KEYS_IN[i][k]));
    }
    for (int k = 0; k < 3; k++) {
      struct scramble_at at = {0};
      strcpy(out[i][k], KEYS_IN[i][k]);
      scramble_apply(scramble, &at, (uint8_t *)out[i][k], strlen(out[i][k]));
    }
    scramble_free(scramble, &mem);
  }
  assert_string_equal(out[0][0], "\1aaaaaaaa");
  assert_string_equal(out[0][1], "\1aaaba");
  assert_string_equal(out[1][0], "\1aaaaaaaa");
  assert_string_equal(out[1][1], "\1aaaba");
  assert_string_equal(out[0][2], out[1][2]);
}

/* ---- copies -------------------------------------------------------------------------------------------------------- */

/* Copies `from` to a fresh store; the status of the copy, or of the open. */
static int copy_of(struct store *from, struct store *to, const struct wodan_copy_options *options,
                   struct wodan_copy_report *report, struct rig_memory *memory) {
  struct wodan_inspect_options how = {.size = sizeof how};
  struct wodan_inspect *inspect = NULL;
  struct wodan_error error;
  if (memory) how.allocator = (struct wodan_allocator){memory, rig_allocate, rig_release};
  struct wodan_device *source = store_open(from), *target = store_open(to);
  uint64_t writes = from->writes;
  int status = wodan_inspect_open(source, &how, &inspect, &error);
  if (status == 0) status = wodan_image_copy(inspect, target, options, report, &error);
  if (status < 0) assert_true(strlen(error.message) > 10);
  wodan_inspect_close(inspect);
  wodan_device_close(source);
  wodan_device_close(target);
  assert_int_equal(from->writes, writes);
  return status;
}

static bool same_findings(const struct heard *a, const struct heard *b) {
  if (a->status != b->status || a->count != b->count) return false;
  for (uint32_t i = 0; i < a->count && i < HEARD_MAX; i++)
    if (a->ids[i] != b->ids[i] || a->severities[i] != b->severities[i] || a->blocks[i] != b->blocks[i]) return false;
  return true;
}

/* One bit of the image turned, anywhere: the check finds in the copy what it finds in the image. */
static void flip_anywhere(struct store store, unsigned flips) {
  static struct heard image, copy;
  const struct wodan_copy_options options = {.size = sizeof options, .scramble = 1};
  uint64_t random = 99;
  unsigned damaged = 0;
  for (unsigned i = 0; i < flips; i++) {
    uint64_t bit = random_below(&random, store.size * 8);
    struct store to = store_create(store.size, RIG_SECTOR);
    store.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    store_check(&store, &image);
    struct wodan_copy_report report;
    int status = copy_of(&store, &to, &options, &report, NULL);
    if (image.status == 0) {
      assert_true(status == 0 && report.pages_left_out == 0);
      store_check(&to, &copy);
      damaged += image.count > 0;
      if (!same_findings(&image, &copy)) {
        heard_print(&image);
        heard_print(&copy);
        fail_msg("bit %llu", (unsigned long long)bit);
      }
    }
    store.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    store_free(&to);
  }
  assert_true(damaged > flips / 12);
  store_free(&store);
}

static void test_image_copy__a_flip_anywhere_is_found_in_the_copy(void **state) {
  (void)state;
  flip_anywhere(rig_image(), 600);
}

/* Their pages are written with another content in exactly the room they had. */
static void test_image_copy__of_compressed_volumes_too(void **state) {
  (void)state;
  static struct heard image, copy;
  struct store store = rig_image_of(WODAN_COMPRESSION_FAST), to = store_create(store.size, RIG_SECTOR);
  struct wodan_copy_report report;
  assert_int_equal(copy_of(&store, &to, NULL, &report, NULL), 0);
  assert_true(report.pages_left_out == 0 && report.damaged == 0);
  store_check(&store, &image);
  store_check(&to, &copy);
  assert_true(same_findings(&image, &copy) && image.report.page_stored_bytes < image.report.page_bytes);
  assert_true(copy.report.records == image.report.records && copy.report.page_bytes == image.report.page_bytes);
  assert_int_equal(copy.report.page_stored_bytes, image.report.page_stored_bytes);
  store_free(&to);
  flip_anywhere(store, 300);
}

/* A compressed volume of keys without values, and the pages that its scrambled copy leaves out. */
static uint64_t left_out_of(void make_key(char *out, size_t size, unsigned i), unsigned count) {
  static const struct wodan_copy_options scrambled = {.size = sizeof scrambled, .scramble = 1};
  static const struct wodan_format_options how = {.size = sizeof how, .compression = WODAN_COMPRESSION_HIGH};
  static struct heard heard;
  struct store store = store_create(RIG_SIZE, RIG_SECTOR), to = store_create(RIG_SIZE, RIG_SECTOR);
  struct wodan_device *device = store_open(&store);
  struct wodan_copy_report report;
  assert_int_equal(wodan_format(device, &how, NULL), 0);
  wodan_device_close(device);
  struct wodan_db *db = rig_open(&store, WODAN_OPEN_INLINE);
  for (unsigned i = 0; i < count; i++) {
    char key[64];
    make_key(key, sizeof key, i);
    assert_int_equal(wodan_put(db, (struct wodan_slice){key, strlen(key)}, (struct wodan_slice){NULL, 0}, NULL), 0);
  }
  assert_int_equal(wodan_compact(db, NULL, NULL, 0, NULL), 0);
  assert_int_equal(wodan_close(db, NULL), 0);
  store_check(&store, &heard);
  assert_true(heard.count == 0 && heard.report.page_stored_bytes < heard.report.page_bytes);
  assert_int_equal(copy_of(&store, &to, &scrambled, &report, NULL), 0);
  store_check(&to, &heard);
  assert_int_equal(report.damaged, 0);
  assert_int_equal(heard.report.damages + heard.report.warnings, report.pages_left_out); /* of the root before too */
  assert_true(report.pages_left_out == 0 || heard_id(&heard, 34) >= 0);
  store_free(&to);
  store_free(&store);
  return report.pages_left_out;
}

/* The number first, so that nothing before it is common. */
static void words_key(char *out, size_t size, unsigned i) {
  snprintf(out, size, "%04u is the number of the key", i * 7919 % 10007);
}

/* One of eight words, another one three times, two letters, all by chance: what repeats itself in the page has other ranks
 * in another place. */
static uint64_t shape; /* of the words */
static void chance_key(char *out, size_t size, unsigned i) {
  uint64_t random = shape + i;
  const unsigned word[] = {(unsigned)random_below(&random, 8), (unsigned)random_below(&random, 8)};
  for (size_t at = 0; at < 16; at++) {
    uint64_t letter = shape + word[at >= 4] * 4 + at % 4;
    out[at] = (char)(20 + random_below(&letter, 140));
  }
  snprintf(out + 16, size - 16, "%c%c", (char)(20 + i / 4 % 140), (char)(20 + i / 4 * 7 % 140));
}

/* Scrambled keys pack as well as the keys, as a rule. What does not fit all the same is told, and the check finds it. */
static void test_image_copy__a_compressed_page_without_room_is_told(void **state) {
  (void)state;
  assert_int_equal(left_out_of(words_key, 300), 0);
  uint64_t left_out = 0;
  for (shape = 1000; shape < 41000; shape += 1000) left_out += left_out_of(chance_key, 360);
  assert_true(left_out > 0);
}

/* Which blocks of the ring are valid where they are: a mark each. */
static uint64_t ring_marks(const struct store *store, char *marks, size_t room) {
  struct superblock sb;
  assert_int_equal(superblock_decode(store->bytes, &sb, NULL), 0);
  uint64_t ring = superblock_ring_blocks(&sb), seed = checksum_seed(sb.fsid);
  assert_true(ring < room);
  for (uint64_t i = 0; i < ring; i++) {
    struct journal_block block;
    const uint8_t *payload, *bytes = store->bytes + sb.block_size + i * sb.journal_block_size;
    bool valid = journal_block_decode(bytes, sb.journal_block_size, seed, sb.fsid, &block, &payload) &&
                 block.sequence % ring == i;
    marks[i] = valid ? 'v' : '.';
  }
  marks[ring] = 0;
  return ring;
}

/* Whether a fragment of a record, not its first, stands at this position. */
static bool goes_on(const struct store *store, uint64_t position) {
  struct superblock sb;
  struct journal_block block;
  assert_int_equal(superblock_decode(store->bytes, &sb, NULL), 0);
  const uint8_t *payload, *bytes = store->bytes + sb.block_size + position * sb.journal_block_size;
  return journal_block_decode(bytes, sb.journal_block_size, checksum_seed(sb.fsid), sb.fsid, &block, &payload) &&
         block.kind == JOURNAL_RECORD && block.fragment > 0;
}

/* When no root is left there is nothing to copy. */
static void copy_keeps_ring_marks(struct store *store) {
  static const struct wodan_copy_options options = {.size = sizeof options, .scramble = 1};
  static struct heard image, copy;
  char before[128], after[128];
  struct store to = store_create(store->size, RIG_SECTOR);
  store_check(store, &image);
  if (image.status < 0) return store_free(&to);
  assert_int_equal(copy_of(store, &to, &options, NULL, NULL), 0);
  store_check(&to, &copy);
  if (!same_findings(&image, &copy)) {
    heard_print(&image);
    heard_print(&copy);
  }
  assert_true(same_findings(&image, &copy));
  assert_true(image.report.journal_records == copy.report.journal_records);
  ring_marks(store, before, sizeof before);
  ring_marks(&to, after, sizeof after);
  assert_string_equal(before, after);
  store_free(&to);
}

/* With a journal record of two blocks at its end. */
static struct store image_with_long_record(void) {
  struct store store = rig_image();
  struct wodan_db *db = rig_open(&store, WODAN_OPEN_INLINE);
  for (unsigned i = 0; i < 10; i++) rig_put(db, i, 3); /* two blocks: a quarter of the ring */
  assert_int_equal(wodan_sync(db), 0);
  struct store crashed = store_copy(&store);
  assert_int_equal(wodan_close(db, NULL), 0);
  store_free(&store);
  return crashed;
}

/* A block that is rotten, or good but of another place, is neither mended in the copy nor counted as good, nor is the record
 * of which it is a part taken for another. */
static void judge_ring(struct store *store) {
  struct superblock sb;
  char marks[128];
  uint64_t ring = ring_marks(store, marks, sizeof marks), twice = 0;
  assert_int_equal(superblock_decode(store->bytes, &sb, NULL), 0);
  copy_keeps_ring_marks(store);
  for (uint64_t i = 0; i < ring; i++) {
    struct store rotten = store_copy(store), misplaced = store_copy(store);
    uint64_t at = sb.block_size + i * sb.journal_block_size, other = (i + 1) % ring;
    rotten.bytes[at + sb.journal_block_size - 1] ^= 1;
    memcpy(misplaced.bytes + at, store->bytes + sb.block_size + other * sb.journal_block_size, sb.journal_block_size);
    copy_keeps_ring_marks(&rotten);
    copy_keeps_ring_marks(&misplaced);
    for (uint64_t k = 0; k < ring; k++) { /* twice there: it must not end the record at its own place */
      if (k == i || !goes_on(store, k)) continue;
      memcpy(misplaced.bytes + at, store->bytes + sb.block_size + k * sb.journal_block_size, sb.journal_block_size);
      copy_keeps_ring_marks(&misplaced);
      twice++;
    }
    store_free(&rotten);
    store_free(&misplaced);
  }
  assert_true(twice > 0);
}

static void test_image_copy__each_block_of_the_ring_keeps_its_verdict(void **state) {
  (void)state;
  struct store store = image_with_long_record();
  judge_ring(&store);
  store_free(&store);
}

static void test_image_copy__without_memory_it_fails_and_keeps_nothing(void **state) {
  (void)state;
  const struct wodan_copy_options options = {.size = sizeof options, .scramble = 1};
  struct store store = rig_image();
  struct rig_memory memory = {0};
  uint64_t at = 1, failed = 0;
  for (; memory.calls >= memory.fail_at; at += 1 + at / 40) { /* until there is no allocation of that number */
    struct store to = store_create(store.size, RIG_SECTOR);
    memory = (struct rig_memory){.fail_at = at};
    int status = copy_of(&store, &to, &options, NULL, &memory);
    assert_true(status == 0 || status == WODAN_ENOMEM); /* 0: a second attempt at a read had memory again */
    assert_int_equal(memory.live, 0);
    failed += status < 0;
    store_free(&to);
  }
  print_message("%llu of the first %llu allocations\n", (unsigned long long)failed, (unsigned long long)memory.calls);
  assert_true(failed > 40);
  store_free(&store);
}

/* Zero bytes are not written, so that the file stays sparse; and memory has its bound. */
static void test_image_copy__costs(void **state) {
  (void)state;
  struct store store = rig_image(), to = store_create(store.size, RIG_SECTOR);
  struct rig_memory memory = {0};
  struct wodan_copy_report report;
  assert_int_equal(copy_of(&store, &to, NULL, &report, &memory), 0);
  assert_true(report.written_bytes < store.size / 2);
  assert_true(report.nodes > 1 && report.runs > 5 && report.pages > report.runs && report.damaged == 0);
  assert_true(report.records >= RIG_KEYS && report.journal_records == 1);
  assert_true(memory.peak < 64 * 1024);
  store_free(&store);
  store_free(&to);
}

static int stop(void *context, uint64_t objects) {
  *(uint64_t *)context = objects;
  return objects >= 3;
}

static void test_image_copy__can_be_stopped(void **state) {
  (void)state;
  uint64_t objects = 0;
  const struct wodan_copy_options options = {.size = sizeof options, .context = &objects, .progress = stop};
  struct store store = rig_image(), to = store_create(store.size, RIG_SECTOR);
  assert_int_equal(copy_of(&store, &to, &options, NULL, NULL), WODAN_DONE);
  assert_int_equal(objects, 3);
  struct heard heard;
  store_check(&to, &heard);
  assert_int_equal(heard.status, WODAN_EFORMAT); /* no image yet */
  store_free(&store);
  store_free(&to);
}

static void test_image_copy__needs_a_device_of_the_same_size(void **state) {
  (void)state;
  struct store store = rig_image(), to = store_create(store.size / 2, RIG_SECTOR);
  assert_int_equal(copy_of(&store, &to, NULL, NULL, NULL), WODAN_EINVAL);
  assert_int_equal(to.writes, 0);
  store_free(&to);
  assert_int_equal(wodan_image_copy(NULL, NULL, NULL, NULL, NULL), WODAN_EINVAL);
  store_free(&store);
}

/* ---- large values -------------------------------------------------------------------------------------------------- */

/* Both are read by cursors: the same keys, values as long, and nothing but zeros in the copy's. */
static void assert_blanked(struct store *image, struct store *copy) {
  static const uint8_t zeros[RIG_LARGE_MAX];
  struct wodan_db *db[2] = {rig_open(image, WODAN_OPEN_READ_ONLY), rig_open(copy, WODAN_OPEN_READ_ONLY)};
  struct wodan_cursor *cursor[2];
  uint64_t large = 0;
  int status[2];
  for (int i = 0; i < 2; i++) {
    assert_int_equal(wodan_cursor_open(db[i], NULL, &cursor[i]), 0);
    status[i] = wodan_cursor_first(cursor[i]);
  }
  while (status[0] == 0 && status[1] == 0) {
    struct wodan_slice a = wodan_cursor_key(cursor[0]), b = wodan_cursor_key(cursor[1]);
    struct wodan_slice x = wodan_cursor_value(cursor[0]), y = wodan_cursor_value(cursor[1]);
    assert_true(a.size == b.size && memcmp(a.data, b.data, a.size) == 0 && x.size == y.size);
    assert_memory_equal(y.data, zeros, y.size);
    large += y.size >= rig_large_size(0);
    for (int i = 0; i < 2; i++) status[i] = wodan_cursor_next(cursor[i]);
  }
  assert_true(status[0] == WODAN_DONE && status[1] == WODAN_DONE && large > RIG_LARGE / 2);
  for (int i = 0; i < 2; i++) {
    wodan_cursor_close(cursor[i]);
    assert_int_equal(wodan_close(db[i], NULL), 0);
  }
}

static void test_image_copy__large_values_are_blanked(void **state) {
  (void)state;
  static const struct wodan_copy_options scrambled = {.size = sizeof scrambled, .scramble = 1};
  static const uint32_t COMPRESSIONS[] = {WODAN_COMPRESSION_OFF, WODAN_COMPRESSION_FAST};
  static struct heard image, copy;
  for (size_t i = 0; i < 4; i++) {
    struct store store = rig_image_large(COMPRESSIONS[i / 2]), to = store_create(store.size, RIG_SECTOR);
    struct wodan_copy_report report;
    assert_int_equal(copy_of(&store, &to, i % 2 ? &scrambled : NULL, &report, NULL), 0);

    assert_true(report.pages_left_out == 0 && report.damaged == 0 && report.large >= RIG_LARGE);
    store_check(&store, &image);
    store_check(&to, &copy);
    assert_true(image.count == 0 && same_findings(&image, &copy));
    assert_true(image.report.blobs == copy.report.blobs && copy.report.blobs >= RIG_LARGE - 1);
    assert_null(memmem(to.bytes, to.size, "value ", 6));
    if (i % 2 == 0) assert_blanked(&store, &to);
    store_free(&store);
    store_free(&to);
  }
}

static void test_image_copy__a_flip_in_or_about_large_values_is_found_in_the_copy(void **state) {
  (void)state;
  flip_anywhere(rig_image_large(WODAN_COMPRESSION_OFF), 400);
  flip_anywhere(rig_image_large(WODAN_COMPRESSION_FAST), 400);
}

/* Among them the blocks that name large values, one across its end. */
static void test_image_copy__each_block_of_a_ring_that_names_large_values_keeps_its_verdict(void **state) {
  (void)state;
  struct store store = rig_image_large(WODAN_COMPRESSION_FAST);
  judge_ring(&store);
  store_free(&store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_image_copy__scrambling_keeps_order_and_prefixes),
      cmocka_unit_test(test_image_copy__scrambling_leaves_ranks_alone),
      cmocka_unit_test(test_image_copy__a_flip_anywhere_is_found_in_the_copy),
      cmocka_unit_test(test_image_copy__each_block_of_the_ring_keeps_its_verdict),
      cmocka_unit_test(test_image_copy__without_memory_it_fails_and_keeps_nothing),
      cmocka_unit_test(test_image_copy__costs),
      cmocka_unit_test(test_image_copy__can_be_stopped),
      cmocka_unit_test(test_image_copy__needs_a_device_of_the_same_size),
      cmocka_unit_test(test_image_copy__large_values_are_blanked),
      cmocka_unit_test(test_image_copy__a_flip_in_or_about_large_values_is_found_in_the_copy),
      cmocka_unit_test(test_image_copy__each_block_of_a_ring_that_names_large_values_keeps_its_verdict),
      cmocka_unit_test(test_image_copy__of_compressed_volumes_too),
      cmocka_unit_test(test_image_copy__a_compressed_page_without_room_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
