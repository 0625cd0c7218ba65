/* Structures as text: the fields tile the bytes, intact ones have no problem, every flip of a bit in a checked structure is
 * one, and bytes that end early, or are anything at all, are never read beyond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/checksum.h"
#include "format/checkpoint_record.h"
#include "format/journal_block.h"
#include "format/node_header.h"
#include "format/object_header.h"
#include "format/page.h"
#include "format/to_text.h"
#include "support/random.h"

enum { BLOCK = 512 };
static const uint8_t FSID[16] = "to text, a test";
static const struct text_volume VOLUME = {.seed = 77, .fsid = FSID, .bounds = {BLOCK, 10, 1000}};

/* What was put: covered bytes, problems, all text joined. */
struct heard {
  const uint8_t *bytes;
  size_t size;
  uint8_t *covered;
  uint32_t fields, problems;
  char text[16384];
};

static int hear(void *context, const struct text_field *field) {
  struct heard *heard = context;
  assert_true(field->offset <= heard->size && field->size <= heard->size - field->offset);
  memset(heard->covered + field->offset, 1, field->size);
  heard->fields++;
  heard->problems += field->problem != NULL;
  size_t used = strlen(heard->text);
  snprintf(heard->text + used, sizeof heard->text - used, "%s=%s\n", field->name, field->text);
  return 0;
}

enum kind { SUPERBLOCK, JOURNAL, HEADER, RECORDS, INDEX, BRANCHES, RUNS };

/* The bytes in memory of exactly their size, so that a sanitizer sees one too many. */
static void show(enum kind kind, const uint8_t *bytes, size_t size, struct heard *heard) {
  uint8_t *exact = malloc(size ? size : 1);
  memcpy(exact, bytes, size);
  memset(heard, 0, sizeof *heard);
  heard->bytes = exact;
  heard->size = size;
  heard->covered = calloc(1, size + 1);
  struct text_sink sink = {.context = heard, .field = hear};
  switch (kind) {
  case SUPERBLOCK:
    superblock_to_text(&sink, exact);
    break;
  case JOURNAL:
    journal_block_to_text(&sink, exact, (uint32_t)size, &VOLUME);
    break;
  case HEADER:
    object_header_to_text(&sink, exact, size, &VOLUME);
    break;
  case RUNS:
    run_list_to_text(&sink, exact, size, &VOLUME);
    break;
  default:
    page_to_text(&sink, exact, size, (enum text_page)(kind - RECORDS), &VOLUME);
  }
  assert_int_equal(sink.problems, heard->problems);
  assert_int_equal(sink.status, 0);
  free(exact);
}

static bool tiled(const struct heard *heard) {
  for (size_t i = 0; i < heard->size; i++)
    if (!heard->covered[i]) return false;
  return true;
}

/* Intact: no problem, every byte in some field, these words said. */
static void assert_intact(enum kind kind, const uint8_t *bytes, size_t size, const char *words) {
  struct heard *heard = malloc(sizeof *heard);
  show(kind, bytes, size, heard);
  if (heard->problems || !tiled(heard) || !strstr(heard->text, words))
    fail_msg("%u problems: %s", heard->problems, heard->text);
  free(heard->covered);
  free(heard);
}

/* Every bit flipped; `noticed`: each must be a problem. */
static void flip_all(enum kind kind, const uint8_t *bytes, size_t size, bool (*valid)(const uint8_t *, size_t)) {
  uint8_t *copy = malloc(size);
  struct heard *heard = malloc(sizeof *heard);
  memcpy(copy, bytes, size);
  for (size_t bit = 0; bit < size * 8; bit++) {
    copy[bit / 8] = (uint8_t)(copy[bit / 8] ^ 1u << bit % 8);
    show(kind, copy, size, heard);
    bool good = valid && valid(copy, size);
    if (good != (heard->problems == 0)) fail_msg("bit %zu: %u problems\n%s", bit, heard->problems, heard->text);
    free(heard->covered);
    copy[bit / 8] = (uint8_t)(copy[bit / 8] ^ 1u << bit % 8);
  }
  free(heard);
  free(copy);
}

/* Cut at every length, and random bytes of every length: it ends, and within the bytes. */
static void cut_all(enum kind kind, const uint8_t *bytes, size_t size) {
  struct heard *heard = malloc(sizeof *heard);
  uint8_t *noise = malloc(size);
  uint64_t random = 4711;
  for (size_t length = 0; length < size; length++) {
    show(kind, bytes, length, heard);
    free(heard->covered);
    memcpy(noise, bytes, size);
    for (int i = 0; i < 8; i++) noise[random_below(&random, size)] = (uint8_t)random_next(&random);
    show(kind, noise, size, heard);
    free(heard->covered);
  }
  free(noise);
  free(heard);
}

/* ---- superblock, journal ------------------------------------------------------------------------------------------ */

static void test_to_text__superblock(void **state) {
  (void)state;
  struct superblock sb;
  struct superblock_wish wish = {.device_size = 1 << 20, .sector = 512};
  uint8_t bytes[SUPERBLOCK_SIZE];
  assert_int_equal(superblock_plan(&wish, &sb, NULL), 0);
  memcpy(sb.fsid, FSID, 16);
  superblock_encode(&sb, bytes);
  assert_intact(SUPERBLOCK, bytes, sizeof bytes, "block size=4096 bytes");
  flip_all(SUPERBLOCK, bytes, sizeof bytes, NULL);
}

static void block_with(uint8_t kind, const uint8_t *payload, uint32_t size, uint8_t out[BLOCK]) {
  struct journal_block block = {
      .kind = kind, .epoch = {3, 99}, .sequence = 41, .checkpoint = 40, .fragments = 1, .payload_length = size};
  memcpy(block.fsid, FSID, 16);
  journal_block_encode(&block, payload, VOLUME.seed, out, BLOCK);
}

static void test_to_text__journal_record(void **state) {
  (void)state;
  uint8_t payload[200], bytes[BLOCK];
  struct wire_writer w = wire_writer(payload, sizeof payload);
  wire_put_u64(&w, 7);
  wire_put_u64(&w, 8);
  journal_operation_encode(&w, &(struct journal_operation){.key = {"\1city", 5}, .value = {"Paris", 5}});
  journal_operation_encode(&w, &(struct journal_operation){.kind = RECORD_DELETE, .key = {"\1\xff", 2}});
  block_with(JOURNAL_RECORD, payload, (uint32_t)w.at, bytes);
  assert_intact(JOURNAL, bytes, BLOCK, "put=7 \"city\" = \"Paris\"\ndelete=8 \"\\xff\"");
  flip_all(JOURNAL, bytes, BLOCK, NULL);
  cut_all(JOURNAL, bytes, BLOCK);
}

/* A flag that is none, and one that only records have, are told beside the field. */
static void test_to_text__flags_of_journal_blocks(void **state) {
  (void)state;
  static const struct {
    uint8_t kind, flags;
    bool known;
  } cases[] = {{JOURNAL_RECORD, 0, true},
               {JOURNAL_RECORD, JOURNAL_UNPROVEN, true},
               {JOURNAL_RECORD, 2, false},
               {JOURNAL_SEAL, 0, true},
               {JOURNAL_SEAL, JOURNAL_UNPROVEN, false}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint8_t bytes[BLOCK];
    struct heard *heard = malloc(sizeof *heard);
    uint32_t problems[2];
    block_with(cases[i].kind, NULL, 0, bytes);
    for (int flagged = 0; flagged < 2; flagged++) {
      bytes[13] = flagged ? cases[i].flags : 0;
      store_u64(bytes, checksum(VOLUME.seed, bytes + 8, BLOCK - 8));
      show(JOURNAL, bytes, BLOCK, heard);
      problems[flagged] = heard->problems;
      free(heard->covered);
    }
    assert_int_equal(problems[1] - problems[0], !cases[i].known);
    free(heard);
  }
}

static void test_to_text__checkpoint(void **state) {
  (void)state;
  const struct checkpoint_record record = {.generation = 9,
                                           .sequence = 1234,
                                           .tail = 41,
                                           .previous = 40,
                                           .previous_hash = 5,
                                           .device_blocks = 900,
                                           .root = {8, 0xabc, 700, 100, 1, {{20, 2}}}};
  uint8_t payload[300], bytes[BLOCK];
  uint32_t size = checkpoint_record_encode(&record, payload, sizeof payload);
  assert_true(size > 0);
  block_with(JOURNAL_CHECKPOINT, payload, size, bytes);
  assert_intact(JOURNAL, bytes, BLOCK, "root=generation 8, 700 bytes, header 100, blocks 20+2");
  flip_all(JOURNAL, bytes, BLOCK, NULL);
  cut_all(JOURNAL, bytes, BLOCK);
}

/* ---- objects ------------------------------------------------------------------------------------------------------ */

static void test_to_text__object_header(void **state) {
  (void)state;
  struct object_header header = {.type = OBJECT_RUN,
                                 .generation = 12,
                                 .epoch = {2, 3},
                                 .length = 1300,
                                 .header_length = 256,
                                 .record_count = 3,
                                 .sequence_max = 33,
                                 .extents = {{50, 2}, {70, 1}},
                                 .extent_count = 2,
                                 .low = {"\1a", 2},
                                 .high = {"\1z", 2},
                                 .sections = {{SECTION_PAGES, 256, 1000, 0}, {SECTION_INDEX, 1256, 44, 5}},
                                 .section_count = 2};
  uint8_t bytes[256];
  memcpy(header.fsid, FSID, 16);
  assert_true(object_header_encode(&header, VOLUME.seed, bytes));
  assert_intact(HEADER, bytes, sizeof bytes, "extent=block 70, 1 blocks\nlow key=\"a\"");
  flip_all(HEADER, bytes, sizeof bytes, NULL);
  cut_all(HEADER, bytes, sizeof bytes);
  struct heard heard;
  enum { EXTENTS = 80, SECTIONS = EXTENTS + 5 + 3 + 3 }; /* counts that cannot be: what follows is not shown */
  bytes[SECTIONS] = OBJECT_SECTIONS_MAX + 1;
  show(HEADER, bytes, sizeof bytes, &heard);
  assert_non_null(strstr(heard.text, "low key"));
  assert_null(strstr(heard.text, "tag 1"));
  free(heard.covered);
  bytes[EXTENTS] = BLOCK_PTR_EXTENTS_MAX + 1;
  show(HEADER, bytes, sizeof bytes, &heard);
  assert_non_null(strstr(heard.text, "extents=17"));
  assert_null(strstr(heard.text, "extent=block"));
  free(heard.covered);
  bytes[EXTENTS] = 2;
  store_u32(bytes + 12, 40); /* shorter than any header: the rest is shown all the same */
  show(HEADER, bytes, sizeof bytes, &heard);
  assert_non_null(strstr(heard.text, "sections="));
  free(heard.covered);
  bytes[SECTIONS + 1] = 200; /* a tag without a name */
  bytes[SECTIONS] = 2;
  show(HEADER, bytes, sizeof bytes, &heard);
  assert_non_null(strstr(heard.text, "unknown=tag 200"));
  free(heard.covered);
  uint8_t *large = calloc(1, BLOCK_PTR_HEADER_MAX + 8); /* longer than any header: its checksum is not looked at */
  memcpy(large, bytes, sizeof bytes);
  store_u32(large + 12, BLOCK_PTR_HEADER_MAX + 1);
  show(HEADER, large, BLOCK_PTR_HEADER_MAX + 8, &heard);
  assert_null(strstr(heard.text, "wrong"));
  free(heard.covered);
  free(large);
}

/* A page of these keys, the values of a kind. */
static size_t page_with(enum kind kind, uint8_t out[2048]) {
  struct mem mem;
  mem_init(&mem, NULL);
  struct page_builder *builder = page_builder_create(&mem);
  static const char *const KEYS[] = {"\1user/ab", "\1user/abc", "\1user/b"};
  for (unsigned i = 0; i < 3; i++) {
    uint8_t value[BRANCH_ENTRY_SIZE_MAX];
    uint32_t size = 5;
    memcpy(value, "value", 5);
    const struct index_entry index = {.offset = 300 + 100 * i, .length = 100, .size = 100 + i, .checksum = 6};
    const struct branch_entry branch = {.flushed_upto = 4, .ptr = {6, 0xabc, 700, 100, 1, {{20 + 2 * i, 2}}}};
    if (kind == INDEX) size = index_entry_encode(&index, value, sizeof value);
    if (kind == BRANCHES) size = branch_entry_encode(&branch, value, sizeof value);
    struct record record = {.key = {KEYS[i], strlen(KEYS[i])}, .sequence = 100 + i, .value = {value, size}};
    if (kind == RECORDS && i == 1) record.kind = RECORD_DELETE, record.value.size = 0;
    assert_true(page_builder_add(builder, &record));
  }
  size_t size = page_builder_size(builder);
  assert_true(size <= 2048);
  page_builder_finish(builder, out);
  page_builder_free(builder);
  return size;
}

/* Valid, and without a record of a large value: none of these values is a reference to one. */
static bool page_of_small_values(const uint8_t *bytes, size_t size) {
  if (!page_validate(bytes, size)) return false;
  struct page page = page_view(bytes);
  for (uint32_t i = 0; i < page.count; i++)
    if (page_record(&page, i).kind == RECORD_BLOB) return false;
  return true;
}

static void test_to_text__pages(void **state) {
  (void)state;
  static const char *const WORDS[] = {
      "put=100 \"user/ab\" = \"value\"\ndelete=101 \"user/abc\"", "entry=\"user/abc\": page at byte 400, 100 bytes",
      "entry=\"user/b\": flushed up to 4, generation 6, 700 bytes, header 100, blocks 24+2"};
  for (enum kind kind = RECORDS; kind <= BRANCHES; kind++) {
    uint8_t bytes[2048];
    size_t size = page_with(kind, bytes);
    assert_intact(kind, bytes, size, WORDS[kind - RECORDS]);
    cut_all(kind, bytes, size);
    if (kind == RECORDS) flip_all(kind, bytes, size, page_of_small_values);
    struct heard heard;
    store_u32(bytes + 4, 0); /* no page has no record */
    show(kind, bytes, size, &heard);
    assert_null(strstr(heard.text, "key heads"));
    free(heard.covered);
  }
}

static void test_to_text__run_list(void **state) {
  (void)state;
  const struct block_ptr run = {6, 0xabc, 700, 100, 1, {{20, 2}}};
  uint8_t bytes[100];
  struct wire_writer w = wire_writer(bytes, sizeof bytes);
  wire_put_varint(&w, 2);
  for (int i = 0; i < 2; i++) {
    block_ptr_encode(&w, &run);
    wire_put_varint(&w, 10);
    wire_put_varint(&w, 3);
    wire_put_varint(&w, 2);
    wire_put_varint(&w, 2);
  }
  assert_intact(RUNS, bytes, w.at, "run=10 records, 3 deletes, 2 large values, 2 range deletes, generation 6");
  cut_all(RUNS, bytes, w.at);
}

static void test_to_text__bytes_are_quoted_and_cut(void **state) {
  (void)state;
  char out[20], roomy[64];
  assert_string_equal(text_bytes(roomy, sizeof roomy, "a\"b\\\n", 5), "\"a\\x22b\\x5c\\x0a\"");
  text_bytes(out, sizeof out, "abcdefghijklmnopqrstuvwxyz", 26);
  assert_string_equal(out, "\"abcdefghij...\"");
  for (size_t size = 0; size < 40; size++)
    assert_true(strlen(text_bytes(out, sizeof out,
                                  "\1\2\3\4\5\6\7\1\2\3\4\5\6\7\1\2\3\4\5\6\7\1\2\3\4\5\6\7\1\2\3\4\5\6\7abcdefg",
                                  size)) < sizeof out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_to_text__superblock),
      cmocka_unit_test(test_to_text__journal_record),
      cmocka_unit_test(test_to_text__flags_of_journal_blocks),
      cmocka_unit_test(test_to_text__checkpoint),
      cmocka_unit_test(test_to_text__object_header),
      cmocka_unit_test(test_to_text__pages),
      cmocka_unit_test(test_to_text__run_list),
      cmocka_unit_test(test_to_text__bytes_are_quoted_and_cut),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
