/* Images of MirageOS Wodan (tools/mirage), crafted byte by byte: what a check says of each, which records come out, and
 * that no image, however hostile, does harm. Whole trees from a generator of its own: tests/cli/test_mirage.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/wire.h"
#include "crc32c.h"
#include "findings.h"
#include "mirage.h"
#include "support/mirage_craft.h"

/* ---- an image in memory, and what is said of it ------------------------------------------------------------------ */

struct memory {
  const uint8_t *bytes;
  size_t size;
  uint64_t reads, bytes_read;
  uint64_t fail_at; /* this read fails, counted from 1; 0: none */
};

static int read_memory(void *context, uint64_t offset, void *buffer, size_t size) {
  struct memory *memory = context;
  assert_true(offset <= memory->size && size <= memory->size - offset);
  memory->reads++;
  memory->bytes_read += size;
  if (memory->reads == memory->fail_at) return 5; /* EIO */
  memcpy(buffer, memory->bytes + offset, size);
  return 0;
}

enum { SEEN_MAX = 64, TEXT_MAX = 4096 };

struct seen {
  uint32_t ids[SEEN_MAX];
  size_t count;
  char text[TEXT_MAX]; /* "key=value " a record */
  size_t used;
  uint64_t records, stop_at; /* progress or record number that stops; 0: none */
  uint64_t steps;
  uint8_t last[255];
};

static void on_finding(void *context, const struct wodan_finding *finding) {
  struct seen *seen = context;
  assert_non_null(finding->message);
  assert_null(strstr(finding->message, "%s"));
  if (finding->has_lower && finding->has_upper) assert_int_equal(finding->lower.size, finding->upper.size);
  if (seen->count < SEEN_MAX) seen->ids[seen->count++] = finding->id;
}

static int on_progress(void *context, uint64_t done, uint64_t total) {
  struct seen *seen = context;
  assert_true(done <= total);
  return ++seen->steps == seen->stop_at;
}

/* Keys ascend; they and their values are kept as text. */
static int on_record(void *context, struct wodan_slice key, struct wodan_slice value) {
  struct seen *seen = context;
  if (seen->records++) assert_true(memcmp(seen->last, key.data, key.size) < 0);
  memcpy(seen->last, key.data, key.size);
  const char *name = key.data;
  int room = (int)(TEXT_MAX - seen->used);
  int wrote = snprintf(seen->text + seen->used, (size_t)room, "%.*s=%.*s ", (int)strnlen(name, key.size), name,
                       (int)value.size, (const char *)value.data);
  if (wrote < room) seen->used += (size_t)wrote;
  return seen->records == seen->stop_at ? 77 : 0;
}

static struct mirage_source source_of(struct memory *memory) {
  return (struct mirage_source){.context = memory, .read = read_memory, .size = memory->size};
}

static struct memory memory_of(const struct craft *craft) {
  return (struct memory){.bytes = craft->bytes, .size = craft->size};
}

static int check_memory(struct memory *memory, struct seen *seen, struct mirage_summary *summary) {
  struct mirage_source source = source_of(memory);
  struct wodan_error error;
  const struct wodan_check_options options = {
      .size = sizeof options, .context = seen, .finding = on_finding, .progress = on_progress};
  return mirage_check(&source, &options, summary, &error);
}

static int check(const struct craft *craft, struct seen *seen, struct mirage_summary *summary) {
  struct memory memory = memory_of(craft);
  *seen = (struct seen){0};
  return check_memory(&memory, seen, summary);
}

static bool has(const struct seen *seen, uint32_t id) {
  for (size_t i = 0; i < seen->count; i++) {
    if (seen->ids[i] == id) return true;
  }
  return false;
}

static int records(const struct craft *craft, struct seen *seen, struct wodan_error *error) {
  struct memory memory = memory_of(craft);
  struct mirage_source source = source_of(&memory);
  *seen = (struct seen){0};
  return mirage_records(&source, 0, on_record, seen, error);
}

static void assert_records(const struct craft *craft, const char *text) {
  struct seen seen;
  struct wodan_error error;
  int status = records(craft, &seen, &error);
  if (status < 0) fail_msg("%s", error.message);
  assert_int_equal(status, 0);
  assert_string_equal(seen.text, text);
}

static void value(struct craft *craft, uint32_t block, const char *key, const char *text) {
  craft_text(craft, block, key, text);
}

enum { BLOCK = CRAFT_SAMPLE_BLOCK, KEY = CRAFT_SAMPLE_KEY, BLOCKS = CRAFT_SAMPLE_BLOCKS };
enum { OLD_ROOT = 1, LOW = 2, HIGH = 3, DEEP = 4, ROOT = 5 };

/* ---- the checksum ------------------------------------------------------------------------------------------------ */

static void test_crc32c__the_values_of_rfc_3720(void **state) {
  (void)state;
  uint8_t bytes[32] = {0};
  assert_int_equal(mirage_crc32c("", 0), 0);
  assert_int_equal(mirage_crc32c("123456789", 9), 0xe3069283);
  assert_int_equal(mirage_crc32c(bytes, 32), 0x8a9136aa);
  memset(bytes, 0xff, sizeof bytes);
  assert_int_equal(mirage_crc32c(bytes, 32), 0x62a8ab43);
  for (size_t i = 0; i < 32; i++) bytes[i] = (uint8_t)i;
  assert_int_equal(mirage_crc32c(bytes, 32), 0x46dd794e);
}

static void test_crc32c__the_complement_behind_bytes_gives_all_ones(void **state) {
  (void)state;
  uint8_t bytes[64];
  for (size_t size = 4; size <= sizeof bytes; size++) {
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(i * 37 + size);
    store_u32(bytes + size - 4, ~mirage_crc32c(bytes, size - 4));
    assert_int_equal(mirage_crc32c(bytes, size), UINT32_MAX);
  }
}

/* ---- whole images ------------------------------------------------------------------------------------------------ */

static void test_records__nearest_the_root_is_newest(void **state) {
  (void)state;
  struct craft craft;
  craft_two_levels(&craft, 7);
  assert_records(&craft, "a=low b=root c=new e= m=last q=newest x=high ");
  craft_free(&craft);
}

static void test_records__an_empty_value_is_a_deletion_with_tombstones(void **state) {
  (void)state;
  struct craft craft;
  struct seen seen;
  struct mirage_summary summary;
  craft_two_levels(&craft, 15);
  assert_records(&craft, "a=low b=root c=new m=last q=newest x=high ");
  assert_int_equal(check(&craft, &seen, &summary), 0);
  assert_int_equal(summary.report.records, 6);
  assert_int_equal(summary.deletions, 1);
  assert_int_equal(summary.shadowed, 3);
  assert_true(summary.tombstones);
  craft_free(&craft);
}

static void test_records__three_levels(void **state) {
  (void)state;
  struct craft craft;
  craft_three_levels(&craft);
  assert_records(&craft, "a=middle c=new e=deleted m=last n=shadowed o=newest p=deep q=shadowed twice x=high ");
  craft_free(&craft);
}

static void test_check__counts_and_says_nothing_of_a_whole_image(void **state) {
  (void)state;
  struct craft craft;
  struct seen seen;
  struct mirage_summary summary;
  craft_two_levels(&craft, 7);
  assert_int_equal(check(&craft, &seen, &summary), 0);
  assert_int_equal(seen.count, 0);
  assert_int_equal(summary.report.complete, 1);
  assert_int_equal(summary.report.generation, 6);
  assert_int_equal(summary.root_block, ROOT);
  assert_int_equal(summary.report.blocks, BLOCKS);
  assert_int_equal(summary.report.blocks_live, 3);
  assert_int_equal(summary.report.levels, 2);
  assert_int_equal(summary.report.nodes, 3);
  assert_int_equal(summary.report.leaves, 2);
  assert_int_equal(summary.report.records, 7);
  assert_int_equal(summary.value_size_max, 6);
  craft_free(&craft);
}

static void test_check__roots_by_generation(void **state) {
  (void)state;
  struct craft craft;
  struct memory memory;
  struct seen seen = {0};
  struct mirage_summary summary;
  struct wodan_error error;
  uint64_t generation = 0;
  craft_two_levels(&craft, 7);
  memory = memory_of(&craft);
  struct mirage_source source = source_of(&memory);
  struct wodan_check_options options = {
      .size = sizeof options, .context = &seen, .finding = on_finding, .generation = 1};
  assert_int_equal(mirage_check(&source, &options, &summary, &error), 0);
  assert_int_equal(summary.root_block, OLD_ROOT);
  assert_true(has(&seen, MIRAGE_ROOT_CHOSEN));
  options.generation = 5;
  assert_int_equal(mirage_check(&source, &options, &summary, &error), WODAN_ENOTFOUND);
  assert_int_equal(mirage_root_below(&source, UINT64_MAX, &generation, &error), 0);
  assert_int_equal(generation, 6);
  assert_int_equal(mirage_root_below(&source, 6, &generation, &error), 0);
  assert_int_equal(generation, 1);
  assert_int_equal(mirage_root_below(&source, 1, &generation, &error), WODAN_ENOTFOUND);
  craft_free(&craft);
}

static void on_root(void *context, uint64_t generation, uint64_t block) {
  struct seen *seen = context;
  int wrote = snprintf(seen->text + seen->used, TEXT_MAX - seen->used, "%d in %d ", (int)generation, (int)block);
  seen->used += (size_t)wrote;
}

static void test_roots__pre_roots_are_none(void **state) {
  (void)state;
  struct craft craft;
  struct seen seen = {0};
  struct mirage_summary summary;
  struct wodan_error error;
  craft_two_levels(&craft, 7);
  struct memory memory = memory_of(&craft);
  struct mirage_source source = source_of(&memory);
  assert_int_equal(mirage_roots(&source, on_root, &seen, &error), 0);
  assert_string_equal(seen.text, "1 in 1 6 in 5 ");
  for (uint32_t block = 1; block < 6; block++) memset(craft_block(&craft, block), 0, BLOCK);
  assert_int_equal(check(&craft, &seen, &summary), 0);
  assert_true(has(&seen, MIRAGE_NO_ROOT));
  craft_free(&craft);
}

/* Both halves of a node full to the last byte: nothing marks the end of the links but the values. */
static void test_records__a_node_without_a_gap(void **state) {
  (void)state;
  enum { LINKS = (BLOCK / 2 - 4) / (KEY + 8), VALUE = BLOCK / 2 - 33 - KEY - 2 };
  struct craft craft;
  struct seen seen;
  struct mirage_summary summary;
  uint8_t filling[VALUE];
  memset(filling, 1, sizeof filling);
  craft_begin(&craft, BLOCK, KEY, LINKS + 2, 7);
  craft_node(&craft, 1, CRAFT_ROOT, 100, 1);
  craft_value(&craft, 1, "a", filling, sizeof filling);
  for (uint32_t i = 0; i < LINKS; i++) {
    const char key[2] = {(char)('b' + i), 0};
    craft_node(&craft, i + 2, CRAFT_CHILD, i + 1, 0);
    craft_text(&craft, i + 2, key, "leaf");
    craft_link(&craft, 1, i + 1 < LINKS ? key : NULL, i + 2);
  }
  assert_int_equal(craft.values_end[1], craft.links_begin[1]);
  for (uint32_t block = 1; block < craft.blocks; block++) craft_seal(&craft, block);
  assert_int_equal(check(&craft, &seen, &summary), 0);
  assert_int_equal(seen.count, 0);
  assert_int_equal(summary.report.records, LINKS + 1);
  craft_free(&craft);
}

/* ---- every finding ----------------------------------------------------------------------------------------------- */

static void put_u32(struct craft *craft, size_t at, uint32_t number) {
  store_u32(craft->bytes + at, number);
  craft_seal(craft, 0);
}

static void superblock_checksum(struct craft *craft) { craft->bytes[100] ^= 1; }
static void superblock_version(struct craft *craft) { put_u32(craft, 16, 2); }
static void superblock_feature(struct craft *craft) { put_u32(craft, 24, 23); }
static void superblock_no_fsid(struct craft *craft) { put_u32(craft, 24, 5); }
static void superblock_block_size(struct craft *craft) { put_u32(craft, 28, 511); }
static void superblock_compatible(struct craft *craft) { put_u32(craft, 20, 4); }
static void superblock_key_size(struct craft *craft) {
  craft->bytes[32] = 0;
  craft_seal(craft, 0);
}
static void superblock_first(struct craft *craft) { put_u32(craft, 33, BLOCKS); }
static void device_short(struct craft *craft) { put_u32(craft, 41, BLOCKS + 1); }
static void device_huge(struct craft *craft) { put_u32(craft, 45, 0x7fffffff); }

static void no_root(struct craft *craft) {
  craft_block(craft, ROOT)[100] ^= 1;
  craft_block(craft, OLD_ROOT)[100] ^= 1;
}
static void root_twice(struct craft *craft) { memcpy(craft_block(craft, 7), craft_block(craft, ROOT), BLOCK); }
static void root_torn(struct craft *craft) { memset(craft_block(craft, ROOT) + BLOCK / 2, 0, BLOCK / 2); }
static void root_type(struct craft *craft) { craft_block(craft, ROOT)[0] ^= 4; }
static void root_fsid(struct craft *craft) { craft_block(craft, ROOT)[9] ^= 4; }
static void root_height(struct craft *craft) {
  store_u32(craft_block(craft, ROOT) + 29, 0xffffffff);
  craft_seal(craft, ROOT);
}
static void root_height_0(struct craft *craft) {
  store_u32(craft_block(craft, ROOT) + 29, 0);
  craft_seal(craft, ROOT);
}
static void leaf_height_1(struct craft *craft) {
  store_u32(craft_block(craft, ROOT) + 29, 2);
  craft_seal(craft, ROOT);
}

static void child_checksum(struct craft *craft) { craft_block(craft, LOW)[200] ^= 0x80; }
static void change(struct craft *craft, uint32_t block, size_t at, uint8_t byte) {
  craft_block(craft, block)[at] = byte;
  craft_seal(craft, block);
}
static void child_type(struct craft *craft) { change(craft, LOW, 0, CRAFT_ROOT); }
static void child_fsid(struct craft *craft) { change(craft, LOW, 9, 'S'); }
static void child_newer(struct craft *craft) { change(craft, LOW, 1, 6); }
static void child_generation_0(struct craft *craft) { change(craft, LOW, 1, 0); }
static void values_many(struct craft *craft) { change(craft, LOW, 26, 1); }
static void values_most(struct craft *craft) { change(craft, LOW, 28, 0xff); }
static void value_long(struct craft *craft) { change(craft, LOW, 29 + KEY + 1, 0xff); }
static void gap(struct craft *craft) { change(craft, LOW, 300, 1); }

static void value_twice(struct craft *craft) {
  value(craft, LOW, "m", "again");
  craft_seal(craft, LOW);
}
static void value_order(struct craft *craft) {
  value(craft, LOW, "f", "behind m");
  craft_seal(craft, LOW);
}
static void key_above(struct craft *craft) {
  value(craft, LOW, "n", "of the other child");
  craft_seal(craft, LOW);
}
static void key_below(struct craft *craft) {
  craft_node(craft, HIGH, CRAFT_CHILD, 4, 0);
  value(craft, HIGH, "m", "of the other child");
  value(craft, HIGH, "x", "high");
  craft_seal(craft, HIGH);
}
static void overlap(struct craft *craft) {
  char text[200];
  memset(text, 'x', sizeof text);
  craft_value(craft, ROOT, "z", text, sizeof text);
  craft_seal(craft, ROOT);
}

/* The root's links once more: these. */
static void relink(struct craft *craft, const char *first, uint64_t to_first, const char *second, uint64_t to_second) {
  craft_node(craft, ROOT, CRAFT_ROOT, 6, 1);
  craft_link(craft, ROOT, first, to_first);
  if (to_second) craft_link(craft, ROOT, second, to_second);
  craft_seal(craft, ROOT);
}
static void link_outside(struct craft *craft) { relink(craft, "m", BLOCKS, NULL, HIGH); }
static void link_far_outside(struct craft *craft) { relink(craft, "m", UINT64_MAX / BLOCK + 3, NULL, HIGH); }
static void link_shared(struct craft *craft) { relink(craft, "m", LOW, NULL, LOW); }
static void link_to_itself(struct craft *craft) { relink(craft, "m", LOW, NULL, ROOT); }
static void link_twice(struct craft *craft) { relink(craft, NULL, LOW, NULL, HIGH); }
static void link_order(struct craft *craft) { relink(craft, NULL, HIGH, "m", LOW); }
static void link_last(struct craft *craft) { relink(craft, "m", LOW, "z", HIGH); }
static void link_none(struct craft *craft) {
  craft_node(craft, ROOT, CRAFT_ROOT, 6, 1);
  craft_seal(craft, ROOT);
}

static void outside_torn(struct craft *craft) { craft_block(craft, OLD_ROOT)[BLOCK - 1] ^= 1; }
static void preroot_torn(struct craft *craft) { craft_block(craft, 6)[BLOCK - 1] ^= 1; }

struct finding_case {
  const char *name;
  void (*spoil)(struct craft *craft);
  uint32_t id;
  uint32_t severity;
};

static const struct finding_case CASES[] = {
    {"superblock checksum", superblock_checksum, MIRAGE_SUPERBLOCK_CHECKSUM, WODAN_DAMAGE},
    {"superblock version", superblock_version, MIRAGE_SUPERBLOCK_VERSION, WODAN_DAMAGE},
    {"unknown feature", superblock_feature, MIRAGE_SUPERBLOCK_FLAGS, WODAN_DAMAGE},
    {"needed feature", superblock_no_fsid, MIRAGE_SUPERBLOCK_FLAGS, WODAN_DAMAGE},
    {"block size", superblock_block_size, MIRAGE_SUPERBLOCK_SIZES, WODAN_DAMAGE},
    {"key size", superblock_key_size, MIRAGE_SUPERBLOCK_SIZES, WODAN_DAMAGE},
    {"compatible feature", superblock_compatible, MIRAGE_COMPATIBLE_FLAGS, WODAN_NOTE},
    {"first block", superblock_first, MIRAGE_FIRST_BLOCK, WODAN_WARNING},
    {"a block too few", device_short, MIRAGE_DEVICE_SHORT, WODAN_DAMAGE},
    {"2^63 blocks too few", device_huge, MIRAGE_DEVICE_SHORT, WODAN_DAMAGE},
    {"no root", no_root, MIRAGE_NO_ROOT, WODAN_DAMAGE},
    {"two roots of a generation", root_twice, MIRAGE_ROOT_TWICE, WODAN_WARNING},
    {"torn root", root_torn, MIRAGE_OUTSIDE_DAMAGED, WODAN_WARNING},
    {"root of another type", root_type, MIRAGE_OUTSIDE_DAMAGED, WODAN_WARNING},
    {"root with a hurt fsid", root_fsid, MIRAGE_OUTSIDE_DAMAGED, WODAN_WARNING},
    {"root of any height", root_height, MIRAGE_HEIGHT, WODAN_DAMAGE},
    {"root with children and no height", root_height_0, MIRAGE_CHILD_OF_LEAF, WODAN_DAMAGE},
    {"leaf with a height", leaf_height_1, MIRAGE_CHILD_NONE, WODAN_WARNING},
    {"child checksum", child_checksum, MIRAGE_CHECKSUM, WODAN_DAMAGE},
    {"child that is a root", child_type, MIRAGE_TYPE, WODAN_DAMAGE},
    {"child of another file system", child_fsid, MIRAGE_FSID, WODAN_DAMAGE},
    {"child as new as its parent", child_newer, MIRAGE_GENERATION, WODAN_DAMAGE},
    {"child of generation 0", child_generation_0, MIRAGE_GENERATION, WODAN_DAMAGE},
    {"too many values", values_many, MIRAGE_VALUES_LENGTH, WODAN_DAMAGE},
    {"2^32 values", values_most, MIRAGE_VALUES_LENGTH, WODAN_DAMAGE},
    {"value beyond the end", value_long, MIRAGE_VALUES_LENGTH, WODAN_DAMAGE},
    {"gap", gap, MIRAGE_GAP, WODAN_NOTE},
    {"value twice", value_twice, MIRAGE_VALUE_TWICE, WODAN_DAMAGE},
    {"value order", value_order, MIRAGE_VALUE_ORDER, WODAN_NOTE},
    {"key above the range", key_above, MIRAGE_KEY_RANGE, WODAN_DAMAGE},
    {"key below the range", key_below, MIRAGE_KEY_RANGE, WODAN_DAMAGE},
    {"values in the half of the links", overlap, MIRAGE_OVERLAP, WODAN_WARNING},
    {"link outside", link_outside, MIRAGE_CHILD_OUTSIDE, WODAN_DAMAGE},
    {"link far outside", link_far_outside, MIRAGE_CHILD_OUTSIDE, WODAN_DAMAGE},
    {"block linked twice", link_shared, MIRAGE_CHILD_SHARED, WODAN_DAMAGE},
    {"link to itself", link_to_itself, MIRAGE_CHILD_SHARED, WODAN_DAMAGE},
    {"two links of a key", link_twice, MIRAGE_CHILD_TWICE, WODAN_DAMAGE},
    {"link order", link_order, MIRAGE_CHILD_ORDER, WODAN_NOTE},
    {"last link", link_last, MIRAGE_CHILD_LAST, WODAN_WARNING},
    {"no link", link_none, MIRAGE_CHILD_NONE, WODAN_WARNING},
    {"torn old root", outside_torn, MIRAGE_OUTSIDE_DAMAGED, WODAN_WARNING},
    {"torn pre-root", preroot_torn, MIRAGE_OUTSIDE_DAMAGED, WODAN_WARNING},
};

static void test_check__each_finding_has_its_image(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
    struct craft craft;
    struct seen seen;
    struct mirage_summary summary;
    craft_two_levels(&craft, 7);
    CASES[i].spoil(&craft);
    int status = check(&craft, &seen, &summary);
    if (status != 0 || !has(&seen, CASES[i].id))
      fail_msg("%s: status %d, %zu findings, the first WM%04u, wanted WM%04u", CASES[i].name, status, seen.count,
               seen.count ? seen.ids[0] : 0, CASES[i].id);
    const struct wodan_check_report *report = &summary.report;
    bool counted = CASES[i].severity == WODAN_DAMAGE    ? report->damages > 0
                   : CASES[i].severity == WODAN_WARNING ? report->damages == 0 && report->warnings > 0
                                                        : report->damages + report->warnings == 0;
    if (!counted) fail_msg("%s: %d damage, %d warnings", CASES[i].name, (int)report->damages, (int)report->warnings);
    craft_free(&craft);
  }
}

static void test_check__child_link_outside_the_range_of_its_node(void **state) {
  (void)state;
  struct craft craft;
  struct seen seen;
  struct mirage_summary summary;
  struct wodan_error error;
  craft_three_levels(&craft);
  craft_node(&craft, 7, CRAFT_CHILD, 4, 0); /* its range ends at q */
  craft_link(&craft, 7, "m", LOW);
  craft_link(&craft, 7, "r", DEEP);
  craft_seal(&craft, 7);
  assert_int_equal(check(&craft, &seen, &summary), 0);
  assert_true(has(&seen, MIRAGE_CHILD_RANGE));
  assert_true(summary.report.damages > 0);
  assert_int_equal(records(&craft, &seen, &error), WODAN_ECORRUPT);
  craft_free(&craft);
}

static void test_check__children_without_the_order_are_read_in_order(void **state) {
  (void)state;
  struct craft craft;
  craft_two_levels(&craft, 7);
  link_order(&craft);
  assert_records(&craft, "a=low c=shadowed e=deleted m=last q=shadowed x=high ");
  value_order(&craft);
  assert_records(&craft, "a=low c=shadowed e=deleted f=behind m m=last q=shadowed x=high ");
  craft_free(&craft);
}

static void test_check__what_is_no_image_is_told_apart(void **state) {
  (void)state;
  struct craft craft;
  struct seen seen;
  struct mirage_summary summary;
  craft_two_levels(&craft, 7);
  craft.bytes[15] ^= 1;
  assert_int_equal(check(&craft, &seen, &summary), WODAN_EFORMAT);
  craft.bytes[15] ^= 1;
  craft.size = 511;
  assert_int_equal(check(&craft, &seen, &summary), WODAN_EFORMAT);
  craft_free(&craft);
}

/* ---- hostile ----------------------------------------------------------------------------------------------------- */

/* Checks and reads; true when nothing at all was found. The records of a whole image are in seen->text. */
static bool clean(const struct craft *craft, struct seen *seen) {
  struct mirage_summary summary;
  struct wodan_error error;
  struct seen told;
  if (check(craft, &told, &summary) < 0) return false;
  uint64_t found = summary.report.damages + summary.report.warnings;
  int status = records(craft, seen, &error);
  assert_true((status == 0) == (summary.report.damages == 0));
  if (status == 0) assert_int_equal(seen->records, summary.report.records);
  return found == 0;
}

static void test_hostile__every_bit_is_told_or_does_not_matter(void **state) {
  (void)state;
  struct craft craft;
  struct seen before, now;
  uint64_t harmless = 0;
  craft_two_levels(&craft, 7);
  assert_true(clean(&craft, &before));
  for (size_t bit = 0; bit < craft.size * 8; bit++) {
    craft.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    if (clean(&craft, &now)) {
      harmless++;
      if (strcmp(now.text, before.text) != 0) fail_msg("bit %zu changes the records, and nothing is said", bit);
    }
    craft.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  assert_int_equal(harmless, BLOCK * 8); /* those of block 7, which is free */
  craft_free(&craft);
}

/* Behind checksums that are right: every value of every byte. */
static void test_hostile__every_byte_behind_a_good_checksum(void **state) {
  (void)state;
  struct craft craft;
  struct seen now;
  uint64_t silent = 0;
  craft_three_levels(&craft);
  for (uint32_t block = 0; block < BLOCKS; block++) {
    for (size_t at = 0; at < BLOCK - 4; at++) {
      uint8_t *byte = craft_block(&craft, block) + at, old = *byte;
      for (unsigned change_by = 1; change_by < 256; change_by += change_by < 4 ? 1 : 37) {
        *byte = (uint8_t)(old ^ change_by);
        craft_seal(&craft, block);
        silent += clean(&craft, &now);
      }
      *byte = old;
    }
    craft_seal(&craft, block);
  }
  assert_true(silent > 0); /* another value, or a byte outside */
  craft_free(&craft);
}

static void test_hostile__cut_at_every_length(void **state) {
  (void)state;
  struct craft craft;
  struct seen seen;
  craft_two_levels(&craft, 7);
  for (size_t size = craft.size; size-- > 0;) {
    craft.size = size;
    assert_false(clean(&craft, &seen));
  }
  craft_free(&craft);
}

static void test_hostile__a_block_is_read_whole_twice_at_most(void **state) {
  (void)state;
  struct craft craft;
  struct memory memory;
  struct seen seen = {0};
  struct mirage_summary summary;
  craft_three_levels(&craft);
  memory = memory_of(&craft);
  assert_int_equal(check_memory(&memory, &seen, &summary), 0);
  /* superblock; a header in the search and in what is outside */
  assert_true(memory.bytes_read <= 512 + BLOCKS * (2 * 29 + 2 * BLOCK));
  craft_free(&craft);
}

static void test_hostile__every_read_fails_once(void **state) {
  (void)state;
  struct craft craft;
  craft_three_levels(&craft);
  for (uint64_t fail_at = 1;; fail_at++) {
    struct memory memory = memory_of(&craft);
    struct seen seen = {0};
    struct mirage_summary summary;
    memory.fail_at = fail_at;
    int status = check_memory(&memory, &seen, &summary);
    if (memory.reads < fail_at) break;
    if (fail_at == 1) assert_int_equal(status, WODAN_EIO);
    if (status == 0) assert_true(seen.count > 0);
    assert_true(fail_at < 100);
  }
  craft_free(&craft);
}

static void test_hostile__memory_is_bounded_and_comes_back(void **state) {
  (void)state;
  struct craft craft;
  struct wodan_error error;
  struct mirage_summary summary;
  craft_three_levels(&craft);
  struct memory memory = memory_of(&craft);
  struct mirage_source source = source_of(&memory);
  uint64_t limit = 1;
  for (; limit < 100000; limit += 16) {
    const struct wodan_check_options options = {.size = sizeof options, .memory_limit = limit};
    int status = mirage_check(&source, &options, &summary, &error);
    if (status == 0) break;
    assert_int_equal(status, WODAN_EBUDGET);
    assert_int_equal(error.code, WODAN_EBUDGET);
  }
  assert_int_equal(summary.report.damages, 0);
  assert_true(limit > 3 * BLOCK && limit < 5 * BLOCK + 200); /* a block for each of three levels, one to look with */
  craft_free(&craft);
}

static void test_hostile__cancelled_at_every_step(void **state) {
  (void)state;
  struct craft craft;
  struct mirage_summary summary = {0};
  craft_three_levels(&craft);
  for (uint64_t step = 1; !summary.report.complete; step++) {
    struct memory memory = memory_of(&craft);
    struct seen seen = {.stop_at = step};
    assert_int_equal(check_memory(&memory, &seen, &summary), 0);
    assert_int_equal(summary.report.damages, 0);
    assert_true(step < 100);
  }
  craft_free(&craft);
}

static void test_records__the_taker_may_stop(void **state) {
  (void)state;
  struct craft craft;
  craft_two_levels(&craft, 7);
  struct memory memory = memory_of(&craft);
  struct mirage_source source = source_of(&memory);
  struct wodan_error error;
  struct seen seen = {.stop_at = 3};
  assert_int_equal(mirage_records(&source, 0, on_record, &seen, &error), 77);
  assert_string_equal(seen.text, "a=low b=root c=new ");
  craft_free(&craft);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_crc32c__the_values_of_rfc_3720),
      cmocka_unit_test(test_crc32c__the_complement_behind_bytes_gives_all_ones),
      cmocka_unit_test(test_records__nearest_the_root_is_newest),
      cmocka_unit_test(test_records__an_empty_value_is_a_deletion_with_tombstones),
      cmocka_unit_test(test_records__three_levels),
      cmocka_unit_test(test_records__the_taker_may_stop),
      cmocka_unit_test(test_check__counts_and_says_nothing_of_a_whole_image),
      cmocka_unit_test(test_check__roots_by_generation),
      cmocka_unit_test(test_roots__pre_roots_are_none),
      cmocka_unit_test(test_records__a_node_without_a_gap),
      cmocka_unit_test(test_check__each_finding_has_its_image),
      cmocka_unit_test(test_check__child_link_outside_the_range_of_its_node),
      cmocka_unit_test(test_check__children_without_the_order_are_read_in_order),
      cmocka_unit_test(test_check__what_is_no_image_is_told_apart),
      cmocka_unit_test(test_hostile__every_bit_is_told_or_does_not_matter),
      cmocka_unit_test(test_hostile__every_byte_behind_a_good_checksum),
      cmocka_unit_test(test_hostile__cut_at_every_length),
      cmocka_unit_test(test_hostile__a_block_is_read_whole_twice_at_most),
      cmocka_unit_test(test_hostile__every_read_fails_once),
      cmocka_unit_test(test_hostile__memory_is_bounded_and_comes_back),
      cmocka_unit_test(test_hostile__cancelled_at_every_step),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
