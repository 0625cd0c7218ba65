/* The check on volumes laid by hand, each with one lie behind good checksums: every finding about objects, roots and
 * journal is reached, alone, with its severity, and the rest of the volume is still looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <assert.h>

#include "check/findings.h"
#include "check_store.h"
#include "codec/checksum.h"
#include "format/node_header.h"
#include "format/page.h"
#include "format/superblock.h"
#include "journal/journal.h"
#include "run/filter.h"
#include "tree/node_image.h"

enum {
  SIZE = 128 * 1024,
  SECTOR = 512,
  PAGES_MAX = 4,
  RECORDS_MAX = 4,
  HEADER_ROOM = 256,
  CHECKPOINT_SEQUENCE = 100,
  GENERATIONS = 64
};

/* ---- laying a volume -------------------------------------------------------------------------------------------- */

struct craft {
  struct store store;
  struct wodan_device *raw;
  struct device device;
  struct mem mem;
  struct superblock sb;
  struct block_io io;
  struct journal journal;
  uint64_t next_block, generation;
  struct {
    uint64_t records, deletes;
  } counts[GENERATIONS]; /* of the run of that generation */
};

static void craft_begin(struct craft *c) {
  memset(c, 0, sizeof *c);
  c->store = store_create(SIZE, SECTOR);
  c->raw = store_open(&c->store);
  mem_init(&c->mem, NULL);
  assert_int_equal(device_init(&c->device, c->raw, NULL), 0);
  struct superblock_wish wish = {.device_size = SIZE, .sector = SECTOR};
  assert_int_equal(superblock_plan(&wish, &c->sb, NULL), 0);
  memcpy(c->sb.fsid, "crafted by hand!", 16);
  superblock_encode(&c->sb, c->store.bytes);
  superblock_encode(&c->sb, c->store.bytes + SIZE - SUPERBLOCK_SIZE);
  c->io = (struct block_io){.device = &c->device, .mem = &c->mem, .seed = checksum_seed(c->sb.fsid)};
  c->io.bounds = (struct volume_bounds){c->sb.block_size, superblock_data_first(&c->sb), c->sb.device_blocks - 1};
  memcpy(c->io.fsid, c->sb.fsid, 16);
  struct journal_setup setup = {.mem = &c->mem,
                                .device = &c->device,
                                .fsid = c->sb.fsid,
                                .seed = c->io.seed,
                                .block_size = c->sb.journal_block_size,
                                .device_block = c->sb.block_size,
                                .blocks = superblock_ring_blocks(&c->sb)};
  assert_int_equal(journal_init(&c->journal, &setup, NULL), 0);
  c->journal.epoch = (struct epoch){1, 77};
  assert_int_equal(journal_format(&c->journal, NULL), 0);
  c->next_block = c->io.bounds.data_first;
  c->generation = 1;
}

static void craft_end(struct craft *c) {
  journal_release(&c->journal);
  wodan_device_close(c->raw);
  store_free(&c->store);
}

/* A record as short text; kind RECORD_PUT unless said, sequence 1 when 0. */
struct entry {
  const char *key;
  uint64_t sequence;
  uint8_t kind;
  size_t value_size, key_size; /* 0: of a short value, of the text */
};

struct object {
  struct entry pages[PAGES_MAX][RECORDS_MAX]; /* up to the first without a key */
  const char *low, *high;                     /* NULL: right ones */
  const char *index[PAGES_MAX];               /* keys in the index; NULL: right ones */
  bool filter, filter_lacks_first, filter_short, page_garbage, page_malformed, index_skips, range_section;
  int64_t count_lie;
  uint64_t sequence_max; /* 0: right */
  uint64_t at;           /* first block; 0: the next free one */
};

static struct wodan_slice text(const char *s) { return (struct wodan_slice){s, strlen(s)}; }

static struct record record_of(const struct entry *e) {
  static const uint8_t LONG[600] = "a long text for keys and values";
  struct record record = {.key = text(e->key), .sequence = e->sequence ? e->sequence : 1, .kind = e->kind};
  if (e->key_size) record.key = (struct wodan_slice){LONG, e->key_size};
  record.value = (struct wodan_slice){LONG, e->kind == RECORD_DELETE ? 0 : e->value_size ? e->value_size : 5};
  return record;
}

/* What is being put together. */
struct laying {
  uint8_t bytes[16 * 1024];
  uint64_t at;
  uint64_t records, deletes, sequence_max;
  const char *first, *last;
  struct object_header header;
};

static void lay_section(struct craft *c, struct laying *l, uint8_t tag, uint64_t offset) {
  uint64_t sum = tag == SECTION_PAGES ? 0 : checksum(c->io.seed, l->bytes + offset, (size_t)(l->at - offset));
  l->header.sections[l->header.section_count++] = (struct section){tag, offset, l->at - offset, sum};
}

static void lay_page(struct craft *c, struct laying *l, const struct object *o, unsigned p,
                     struct page_builder *index) {
  struct page_builder *page = page_builder_create(&c->mem);
  const char *last = NULL;
  for (unsigned i = 0; i < RECORDS_MAX && o->pages[p][i].key; i++) {
    struct record record = record_of(&o->pages[p][i]);
    assert_true(page_builder_add(page, &record));
    if (!l->first) l->first = o->pages[p][i].key;
    l->last = last = o->pages[p][i].key;
    if (record.sequence > l->sequence_max) l->sequence_max = record.sequence;
    l->records++;
    l->deletes += record.kind == RECORD_DELETE;
  }
  size_t size = page_builder_size(page);
  struct index_entry entry = {.offset = l->at, .length = (uint32_t)size, .size = (uint32_t)size};
  if (o->index_skips && p == 1) entry.offset++;
  page_builder_finish(page, l->bytes + l->at);
  page_builder_free(page);
  if (o->page_malformed) l->bytes[l->at + 4]++; /* one record more than there is */
  entry.checksum = checksum(c->io.seed, l->bytes + l->at, size);
  if (o->page_garbage && p == 0) l->bytes[l->at + 30] ^= 1;
  uint8_t value[INDEX_ENTRY_SIZE_MAX];
  uint32_t value_size = index_entry_encode(&entry, value, sizeof value);
  struct record record = {.key = text(o->index[p] ? o->index[p] : last), .value = {value, value_size}};
  if (o->pages[p][0].key_size) record.key = record_of(&o->pages[p][0]).key;
  assert_true(page_builder_add(index, &record));
  l->at += size;
}

static void lay_filter(struct craft *c, struct laying *l, const struct object *o) {
  uint64_t start = l->at;
  uint32_t lines = filter_lines(l->records);
  for (unsigned p = 0; p < PAGES_MAX; p++)
    for (unsigned i = 0; i < RECORDS_MAX && o->pages[p][i].key; i++) {
      if (o->filter_lacks_first && p == 0 && i == 0) continue;
      struct record record = record_of(&o->pages[p][i]);
      filter_add(l->bytes + start, lines, checksum(c->io.seed, record.key.data, record.key.size));
    }
  l->at += (uint64_t)lines * FILTER_LINE_SIZE + (o->filter_short ? 64 : 0);
  lay_section(c, l, SECTION_FILTER, start);
}

static struct block_ptr craft_object(struct craft *c, const struct object *o) {
  struct laying *l = calloc(1, sizeof *l);
  struct page_builder *index = page_builder_create(&c->mem);
  l->at = HEADER_ROOM;
  l->header = (struct object_header){
      .type = OBJECT_RUN, .generation = ++c->generation, .epoch = {1, 77}, .header_length = HEADER_ROOM};
  memcpy(l->header.fsid, c->sb.fsid, 16);
  for (unsigned p = 0; p < PAGES_MAX && o->pages[p][0].key; p++) lay_page(c, l, o, p, index);
  lay_section(c, l, SECTION_PAGES, HEADER_ROOM);
  uint64_t start = l->at;
  l->at += page_builder_size(index);
  page_builder_finish(index, l->bytes + start);
  page_builder_free(index);
  lay_section(c, l, SECTION_INDEX, start);
  if (o->filter) lay_filter(c, l, o);
  start = l->at;
  if (o->range_section) l->at += 9, lay_section(c, l, SECTION_RANGE_TOMBSTONES, start);
  l->header.length = l->at;
  l->header.record_count = (uint64_t)((int64_t)l->records + o->count_lie);
  l->header.sequence_max = o->sequence_max ? o->sequence_max : l->sequence_max;
  l->header.low = text(o->low ? o->low : l->first);
  l->header.high = text(o->high ? o->high : l->last);
  assert_true(l->header.generation < GENERATIONS);
  c->counts[l->header.generation].records = l->records;
  c->counts[l->header.generation].deletes = l->deletes;
  uint64_t blocks = (l->at + SECTOR - 1) / SECTOR, first = o->at ? o->at : c->next_block;
  if (!o->at) c->next_block += blocks;
  l->header.extents[0] = (struct extent){first, blocks};
  l->header.extent_count = 1;
  assert_true(object_header_encode(&l->header, c->io.seed, l->bytes));
  memcpy(c->store.bytes + first * SECTOR, l->bytes, blocks * SECTOR);
  struct block_ptr ptr = {l->header.generation, l->header.checksum, l->at, HEADER_ROOM, 1, {{first, blocks}}};
  free(l);
  return ptr;
}

static int allocate(void *context, uint64_t blocks, struct extent *extents, uint32_t *count,
                    struct wodan_error *error) {
  struct craft *c = context;
  (void)error;
  extents[0] = (struct extent){c->next_block, blocks};
  *count = 1;
  c->next_block += blocks;
  return 0;
}

static struct block_ptr craft_node(struct craft *c, struct node_image_entry *leaves, uint32_t leaf_count,
                                   struct block_ptr *runs, uint32_t run_count) {
  struct node_image_run list[4];
  assert_true(run_count <= 4);
  for (uint32_t i = 0; i < run_count; i++)
    list[i] =
        (struct node_image_run){runs[i], c->counts[runs[i].generation].records, c->counts[runs[i].generation].deletes};
  struct node_image image = {
      .mem = &c->mem, .entries = leaves, .entry_count = leaf_count, .runs = list, .run_count = run_count};
  struct node_image_target target = {
      .generation = ++c->generation, .epoch = {1, 77}, .allocate = allocate, .context = c};
  uint8_t *bytes = NULL;
  size_t size = 0;
  struct block_ptr ptr;
  assert_int_equal(node_image_encode(&c->io, &image, &target, &bytes, &size, &ptr, NULL), 0);
  memcpy(c->store.bytes + ptr.extents[0].first * SECTOR, bytes, size);
  mem_free(&c->mem, bytes, size);
  return ptr;
}

/* The record with its pointers filled by the caller. */
static void craft_checkpoint_record(struct craft *c, struct checkpoint_record record) {
  bool first = c->journal.written.sequence == 0 && c->journal.durable.sequence == c->journal.head;
  record.generation = ++c->generation;
  record.sequence = record.sequence ? record.sequence : CHECKPOINT_SEQUENCE;
  record.tail = c->journal.head;
  record.previous = first ? c->journal.head : c->journal.durable.sequence;
  record.previous_hash = first ? 0 : c->journal.durable.hash;
  record.device_blocks = c->sb.device_blocks;
  assert_int_equal(journal_append_checkpoint(&c->journal, &record, NULL), 0);
  journal_flushed(&c->journal);
}

static void craft_checkpoint(struct craft *c, struct block_ptr root) {
  craft_checkpoint_record(c, (struct checkpoint_record){.root = root});
}

static struct node_image_entry leaf_of(const char *pivot, struct block_ptr ptr) {
  return (struct node_image_entry){.pivot = text(pivot), .branch = {.ptr = ptr}};
}

/* A volume with two good leaves, a to l and m to z, and this run. */
static void craft_with_run(struct craft *c, const struct object *run) {
  const struct object low = {.pages = {{{.key = "b"}, {.key = "c"}}, {{.key = "d"}, {.key = "e"}}}},
                      high = {.pages = {{{.key = "m"}, {.key = "n"}}, {{.key = "o"}}}};
  craft_begin(c);
  struct block_ptr runs[1];
  struct node_image_entry leaves[2] = {leaf_of("b", craft_object(c, &low)), leaf_of("m", craft_object(c, &high))};
  if (run) runs[0] = craft_object(c, run);
  craft_checkpoint(c, craft_node(c, leaves, 2, runs, run ? 1 : 0));
}

/* ---- expectations ----------------------------------------------------------------------------------------------- */

static void expect_clean(struct craft *c, struct heard *heard) {
  store_check(&c->store, heard);
  if (heard->status == 0 && heard->count == 0) return;
  heard_print(heard);
  fail_msg("expected nothing");
}

/* This finding `times` times, and no other. */
static void expect_times(struct craft *c, uint32_t id, uint32_t severity, uint32_t times) {
  struct heard heard;
  store_check(&c->store, &heard);
  bool right = heard.status == 0 && heard.count == times;
  for (uint32_t i = 0; i < heard.count && right; i++) right = heard.ids[i] == id && heard.severities[i] == severity;
  if (right) return;
  heard_print(&heard);
  fail_msg("expected WF%04u %u times and nothing else", id, times);
}

static void expect_only(struct craft *c, uint32_t id, uint32_t severity) { expect_times(c, id, severity, 1); }

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

static void test_check__index_that_skips_a_byte(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a"}, {.key = "d"}}, {{.key = "q"}}}, .index_skips = true};
  run_gives(&run, FOUND_RUN_INDEX, 1);
}

static void test_check__sections_not_known(void **state) {
  (void)state;
  const struct object run = {.pages = {{{.key = "a"}}}, .range_section = true};
  run_gives(&run, FOUND_RUN_SECTIONS, 1);
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
  const struct object run = {.pages = {{{.key = "a"}}, {{.key = "q"}}}, .filter = true, .filter_short = true};
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

static void craft_journal_record(struct craft *c, uint64_t first, const char *key, size_t key_size) {
  uint8_t bytes[2048];
  struct wire_writer w = wire_writer(bytes, sizeof bytes);
  struct journal_operation operation = {.kind = RECORD_PUT, .key = {key, key_size}};
  wire_put_u64(&w, first);
  wire_put_u64(&w, first);
  journal_operation_encode(&w, &operation);
  assert_int_equal(journal_record_begin(&c->journal, w.at, NULL), 0);
  assert_int_equal(journal_record_put(&c->journal, bytes, w.at, NULL), 0);
  assert_int_equal(journal_record_end(&c->journal, NULL), 0);
  journal_flushed(&c->journal);
}

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
  craft_checkpoint_record(&c, (struct checkpoint_record){.incompat = 4});
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
      cmocka_unit_test(test_check__index_that_skips_a_byte),
      cmocka_unit_test(test_check__sections_not_known),
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
