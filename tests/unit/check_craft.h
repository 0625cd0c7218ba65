/* Volumes laid by hand, object by object, each with what lies the test wants: shared by the tests of the check. */
#ifndef UNIT_CHECK_CRAFT_H
#define UNIT_CHECK_CRAFT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <assert.h>

#include "check/findings.h"
#include "check_repair.h"
#include "check_store.h"
#include "codec/checksum.h"
#include "codec/compress.h"
#include "format/blob.h"
#include "format/node_header.h"
#include "format/page.h"
#include "format/range.h"
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
  GENERATIONS = 256
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
    uint64_t records, deletes, blobs, ranges;
  } counts[GENERATIONS]; /* of the run of that generation */
};

static inline void craft_begin(struct craft *c) {
  memset(c, 0, sizeof *c);
  c->store = store_create(SIZE, SECTOR);
  c->raw = store_open(&c->store);
  mem_init(&c->mem, NULL);
  assert_int_equal(device_init(&c->device, c->raw, NULL), 0);
  struct superblock_wish wish = {.device_size = SIZE, .sector = SECTOR, .compression = COMPRESSION_FAST};
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

static inline void craft_end(struct craft *c) {
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

/* Of all pages of an object: compressed, and what is wrong with that behind a good checksum. */
enum packed { PACKED_NOT, PACKED_RIGHT, PACKED_CUT, PACKED_GARBAGE };

struct object {
  struct entry pages[PAGES_MAX][RECORDS_MAX]; /* up to the first without a key */
  const char *low, *high;                     /* NULL: right ones */
  const char *index[PAGES_MAX];               /* keys in the index; NULL: right ones */
  bool filter, filter_lacks_first, filter_short, filter_sum_of_lines, page_garbage, page_malformed, index_skips;
  uint8_t section, section_size; /* one more, of zeros; 0: none, and 9 bytes */
  uint8_t section_first;         /* but for its first byte */
  uint8_t index_kind;            /* of the index's records */
  bool filter_empty, page_of_no_size, index_garbage, index_sequence, index_short, index_malformed;
  const char *from, *to;                        /* a range delete; NULL: none */
  uint64_t range_sequence;                      /* and its sequence */
  void (*entry_lie)(struct index_entry *entry); /* of the last page */
  void (*header_lie)(struct object_header *header);
  enum packed packed;
  int64_t count_lie;
  uint64_t sequence_max; /* 0: right */
  uint64_t at;           /* first block; 0: the next free one */
};

static inline struct wodan_slice text(const char *s) { return (struct wodan_slice){s, strlen(s)}; }

static inline struct record record_of(const struct entry *e) {
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
  uint64_t records, deletes, blobs, sequence_max;
  const char *first, *last;
  struct object_header header;
};

static inline void lay_section(struct craft *c, struct laying *l, uint8_t tag, uint64_t offset) {
  uint64_t sum = tag == SECTION_PAGES ? 0 : checksum(c->io.seed, l->bytes + offset, (size_t)(l->at - offset));
  l->header.sections[l->header.section_count++] = (struct section){tag, offset, l->at - offset, sum};
}

/* The page at l->at, compressed; its new length. */
static inline size_t lay_packed(struct craft *c, struct laying *l, const struct object *o, size_t size) {
  struct compressor *compressor = compressor_create(&c->mem, COMPRESSION_FAST, size);
  const uint8_t *packed;
  size_t length = compressor_pack(compressor, COMPRESSION_FAST, l->bytes + l->at, size, &packed);
  assert_true(length > 0);
  memset(l->bytes + l->at, 0, size);
  memcpy(l->bytes + l->at, packed, length);
  if (o->packed == PACKED_CUT) length--;
  if (o->packed == PACKED_GARBAGE) memset(l->bytes + l->at, 0xff, length);
  compressor_free(compressor);
  return length;
}

static inline void lay_page(struct craft *c, struct laying *l, const struct object *o, unsigned p,
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
    l->blobs += record.kind == RECORD_BLOB;
  }
  size_t size = page_builder_size(page);
  struct index_entry entry = {.offset = l->at, .length = (uint32_t)size, .size = (uint32_t)size};
  if (o->index_skips && p == 1) entry.offset++;
  page_builder_finish(page, l->bytes + l->at);
  page_builder_free(page);
  if (o->page_malformed) l->bytes[l->at + 4]++; /* one record more than there is */
  if (o->page_of_no_size && p == 1) l->bytes[l->at] = l->bytes[l->at + 1] = 0;
  if (o->packed) entry.length = (uint32_t)(size = lay_packed(c, l, o, size));
  entry.checksum = checksum(c->io.seed, l->bytes + l->at, size);
  if (o->page_garbage && p == 0) l->bytes[l->at + 30] ^= 1;
  uint8_t value[INDEX_ENTRY_SIZE_MAX];
  bool is_last = p + 1 == PAGES_MAX || !o->pages[p + 1][0].key;
  if (is_last && o->entry_lie) o->entry_lie(&entry);
  uint32_t value_size = index_entry_encode(&entry, value, sizeof value - 1);
  struct record record = {.key = text(o->index[p] ? o->index[p] : last), .value = {value, value_size}};
  if (o->index_garbage) value[record.value.size++] = 0;
  if (o->index_sequence) record.sequence = 1;
  record.kind = o->index_kind;
  if (o->pages[p][0].key_size) record.key = record_of(&o->pages[p][0]).key;
  if (!(is_last && o->index_short)) assert_true(page_builder_add(index, &record));
  l->at += size;
}

static inline void lay_filter(struct craft *c, struct laying *l, const struct object *o) {
  uint64_t start = l->at;
  uint32_t lines = filter_lines(l->records);
  for (unsigned p = 0; p < PAGES_MAX; p++)
    for (unsigned i = 0; i < RECORDS_MAX && o->pages[p][i].key; i++) {
      if (o->filter_lacks_first && p == 0 && i == 0) continue;
      struct record record = record_of(&o->pages[p][i]);
      filter_add(l->bytes + start, lines, checksum(c->io.seed, record.key.data, record.key.size));
    }
  if (!o->filter_empty) l->at += (uint64_t)lines * FILTER_LINE_SIZE + (o->filter_short ? 64 : 0);
  lay_section(c, l, SECTION_FILTER, start);
  if (o->filter_sum_of_lines)
    l->header.sections[l->header.section_count - 1].checksum =
        checksum(c->io.seed, l->bytes + start, (size_t)lines * FILTER_LINE_SIZE);
}

static inline void lay_range(struct craft *c, struct laying *l, const struct object *o) {
  const struct range_delete range = {text(o->from), text(o->to), o->range_sequence};
  struct wire_writer w = wire_writer(l->bytes + l->at, sizeof l->bytes - l->at);
  wire_put_varint(&w, 1);
  range_encode(&w, &range);
  l->at += w.at;
  lay_section(c, l, SECTION_RANGE_TOMBSTONES, l->at - w.at);
  if (strcmp(o->from, l->first) < 0) l->first = o->from;
  if (strcmp(o->to, l->last) > 0) l->last = o->to;
  if (range.sequence > l->sequence_max) l->sequence_max = range.sequence;
}

static inline struct block_ptr craft_object(struct craft *c, const struct object *o) {
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
  if (o->index_malformed) l->bytes[start + 4]++;
  page_builder_free(index);
  lay_section(c, l, SECTION_INDEX, start);
  if (o->filter) lay_filter(c, l, o);
  start = l->at;
  l->bytes[start] = o->section_first;
  if (o->section) l->at += o->section_size ? o->section_size : 9, lay_section(c, l, o->section, start);
  if (o->from) lay_range(c, l, o);
  l->header.length = l->at;
  l->header.record_count = (uint64_t)((int64_t)l->records + o->count_lie);
  l->header.sequence_max = o->sequence_max ? o->sequence_max : l->sequence_max;
  l->header.low = text(o->low ? o->low : l->first);
  l->header.high = text(o->high ? o->high : l->last);
  assert_true(l->header.generation < GENERATIONS);
  c->counts[l->header.generation].records = l->records;
  c->counts[l->header.generation].deletes = l->deletes;
  c->counts[l->header.generation].blobs = l->blobs;
  c->counts[l->header.generation].ranges = o->from != NULL;
  if (o->header_lie) o->header_lie(&l->header);
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

static inline int allocate(void *context, uint64_t blocks, struct extent *extents, uint32_t *count,
                           struct wodan_error *error) {
  struct craft *c = context;
  (void)error;
  extents[0] = (struct extent){c->next_block, blocks};
  *count = 1;
  c->next_block += blocks;
  return 0;
}

/* A node of this level; the runs' counts are those of craft_object. */
static inline struct block_ptr craft_node_at(struct craft *c, uint32_t level, struct node_image_entry *entries,
                                             uint32_t entry_count, const struct block_ptr *runs, uint32_t run_count) {
  struct node_image_run list[4];
  assert_true(run_count <= 4);
  for (uint32_t i = 0; i < run_count; i++)
    list[i] = (struct node_image_run){.ptr = runs[i],
                                      .records = c->counts[runs[i].generation].records,
                                      .deletes = c->counts[runs[i].generation].deletes,
                                      .blobs = c->counts[runs[i].generation].blobs,
                                      .ranges = c->counts[runs[i].generation].ranges};
  struct node_image image = {.mem = &c->mem,
                             .level = level,
                             .entries = entries,
                             .entry_count = entry_count,
                             .runs = list,
                             .run_count = run_count};
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

/* A bottom node. */
static inline struct block_ptr craft_node(struct craft *c, struct node_image_entry *leaves, uint32_t leaf_count,
                                          const struct block_ptr *runs, uint32_t run_count) {
  return craft_node_at(c, 0, leaves, leaf_count, runs, run_count);
}

/* The record with its pointers filled by the caller. */
static inline void craft_checkpoint_record(struct craft *c, struct checkpoint_record record) {
  bool first = c->journal.written.sequence == 0 && c->journal.durable.sequence == c->journal.head;
  record.generation = ++c->generation;
  record.sequence = record.sequence ? record.sequence : CHECKPOINT_SEQUENCE;
  record.tail = c->journal.head;
  record.previous = first ? c->journal.head : c->journal.durable.sequence;
  record.previous_hash = first ? 0 : c->journal.durable.hash;
  if (!record.device_blocks) record.device_blocks = c->sb.device_blocks;
  assert_int_equal(journal_append_checkpoint(&c->journal, &record, NULL), 0);
  journal_flushed(&c->journal);
}

static inline void craft_checkpoint(struct craft *c, struct block_ptr root) {
  craft_checkpoint_record(c, (struct checkpoint_record){.root = root});
}

static inline struct node_image_entry leaf_of(const char *pivot, struct block_ptr ptr) {
  return (struct node_image_entry){.pivot = text(pivot), .branch = {.ptr = ptr}};
}

/* A volume with two good leaves, a to l and m to z, and this run. */
static inline void craft_with_run(struct craft *c, const struct object *run) {
  const struct object low = {.pages = {{{.key = "b"}, {.key = "c"}}, {{.key = "d"}, {.key = "e"}}}},
                      high = {.pages = {{{.key = "m"}, {.key = "n"}}, {{.key = "o"}}}};
  craft_begin(c);
  struct block_ptr runs[1];
  struct node_image_entry leaves[2] = {leaf_of("b", craft_object(c, &low)), leaf_of("m", craft_object(c, &high))};
  if (run) runs[0] = craft_object(c, run);
  craft_checkpoint(c, craft_node(c, leaves, 2, runs, run ? 1 : 0));
}

static inline void craft_journal_operation(struct craft *c, uint64_t first, const struct journal_operation *operation) {
  uint8_t bytes[2048];
  struct wire_writer w = wire_writer(bytes, sizeof bytes);
  wire_put_u64(&w, first);
  wire_put_u64(&w, first);
  journal_operation_encode(&w, operation);
  assert_int_equal(journal_record_begin(&c->journal, w.at, false, NULL), 0);
  assert_int_equal(journal_record_put(&c->journal, bytes, w.at, NULL), 0);
  assert_int_equal(journal_record_end(&c->journal, NULL), 0);
  journal_flushed(&c->journal);
}

static inline void craft_journal_value(struct craft *c, uint64_t first, const char *key, size_t key_size,
                                       size_t value_size) {
  static const uint8_t VALUE[600];
  const struct journal_operation put = {.kind = RECORD_PUT, .key = {key, key_size}, .value = {VALUE, value_size}};
  craft_journal_operation(c, first, &put);
}

static inline void craft_journal_record(struct craft *c, uint64_t first, const char *key, size_t key_size) {
  craft_journal_value(c, first, key, key_size, 0);
}

/* ---- expectations ----------------------------------------------------------------------------------------------- */

static inline void expect_clean(struct craft *c, struct heard *heard) {
  store_check(&c->store, heard);
  if (heard->status == 0 && heard->count == 0) return;
  heard_print(heard);
  fail_msg("expected nothing");
}

/* This finding `times` times, and no other; and repair and salvage are what it says. */
static inline void expect_times(struct craft *c, uint32_t id, uint32_t severity, uint32_t times) {
  struct heard heard;
  store_check(&c->store, &heard);
  bool right = heard.status == 0 && heard.count == times;
  for (uint32_t i = 0; i < heard.count && right; i++) right = heard.ids[i] == id && heard.severities[i] == severity;
  if (right) {
    store_mend(&c->store);
    return;
  }
  heard_print(&heard);
  fail_msg("expected WF%04u %u times and nothing else", id, times);
}

static inline void expect_only(struct craft *c, uint32_t id, uint32_t severity) { expect_times(c, id, severity, 1); }

#endif
