/* Owns: how the forge writes large values, runs and nodes. See forge.h; FORMAT.md, "Objects" up to "Large values".
 *
 * Order: from the pages up, because each checksum covers bytes that must stand already; inside a page the records first,
 * whose places its header tells. */
#include <assert.h>
#include <string.h>
#include "codec/checksum.h"
#include "format/blob.h"
#include "format/object_header.h"
#include "run/filter.h"
#include "support/forge_private.h"

/* ---- pages ---------------------------------------------------------------------------------------------------------- */

struct forge_record {
  unsigned key;
  uint64_t sequence;
  uint8_t kind;
  uint8_t value[FORGE_INLINE_MAX];
  size_t value_size;
};

static size_t shared_prefix(const struct forge_record *records, uint32_t count) {
  uint8_t first[9], last[9];
  size_t size = forge_tree_key(records[0].key, first), n = 0;
  forge_tree_key(records[count - 1].key, last);
  while (n < size && first[n] == last[n]) n++;
  return n;
}

static uint64_t base_of(const struct forge_record *records, uint32_t count) {
  uint64_t base = records[0].sequence;
  for (uint32_t i = 1; i < count; i++)
    if (records[i].sequence < base) base = records[i].sequence;
  return base;
}

/* The records; where each starts, from the first one's start. */
static void put_records(struct forge *f, struct wire_writer *w, const struct forge_record *records, uint32_t count,
                        size_t prefix, uint64_t base, size_t *starts) {
  for (uint32_t i = 0; i < count; i++) {
    uint8_t key[9];
    size_t size = forge_tree_key(records[i].key, key);
    starts[i] = w->at;
    forge_put(f, w, "record: suffix length", 0, size - prefix);
    forge_put(f, w, "record: value length and kind", 0, records[i].value_size << 3 | records[i].kind);
    forge_put(f, w, "record: sequence", 0, records[i].sequence - base);
    wire_put_bytes(w, key + prefix, size - prefix);
    wire_put_bytes(w, records[i].value, records[i].value_size);
  }
}

static void put_page(struct forge *f, struct wire_writer *out, const struct forge_record *records, uint32_t count) {
  uint8_t body[2048], prefix[9], key[9];
  size_t starts[PAGE_RECORDS_MAX], prefix_size = shared_prefix(records, count);
  uint64_t base = base_of(records, count);
  struct wire_writer w = wire_writer(body, sizeof body);
  put_records(f, &w, records, count, prefix_size, base, starts);
  assert(!w.failed);
  size_t arrays = 20 + count * 6u, start = arrays + prefix_size;
  forge_put(f, out, "page: size", 4, start + w.at);
  forge_put(f, out, "page: count", 4, count);
  forge_put(f, out, "page: prefix length", 2, prefix_size);
  forge_put(f, out, "page: offset width", 1, 2);
  forge_put(f, out, "page: zero", 1, 0);
  forge_put(f, out, "page: base sequence", 8, base);
  for (uint32_t i = 0; i < count; i++) {
    size_t size = forge_tree_key(records[i].key, key);
    uint32_t head = 0;
    for (size_t b = 0; b < 4 && prefix_size + b < size; b++) head |= (uint32_t)key[prefix_size + b] << (24 - 8 * b);
    forge_put(f, out, "page: key head", 4, head);
  }
  for (uint32_t i = 0; i < count; i++) forge_put(f, out, "page: offset", 2, start + starts[i]);
  forge_tree_key(records[0].key, prefix);
  if (prefix_size) forge_put(f, out, "page: table id", 1, prefix[0]);
  if (prefix_size) wire_put_bytes(out, prefix + 1, prefix_size - 1);
  wire_put_bytes(out, body, w.at);
}

/* ---- objects -------------------------------------------------------------------------------------------------------- */

struct section_bytes {
  uint8_t tag;
  size_t at, size; /* in the body */
};

/* An object being put together; the body starts behind the header. */
struct forge_body {
  uint8_t bytes[4096];
  struct wire_writer w;
  struct section_bytes sections[5];
  uint32_t section_count;
};

static void body_section(struct forge_body *body, uint8_t tag, size_t from) {
  body->sections[body->section_count++] = (struct section_bytes){tag, from, body->w.at - from};
}

static void place(struct forge *f, size_t size, bool in_two, struct block_ptr *ptr) {
  uint64_t blocks = (size + FORGE_BLOCK - 1) / FORGE_BLOCK;
  ptr->length = size;
  ptr->header_length = HEADER_LENGTH;
  ptr->extent_count = in_two ? 2 : 1;
  ptr->extents[0] = (struct extent){f->next_block, in_two ? 1 : blocks};
  if (in_two) ptr->extents[1] = (struct extent){f->next_block + 2, blocks - 1};
  f->next_block += blocks + in_two;
  assert(!in_two || blocks > 1);
  assert(f->next_block < FORGE_SIZE / FORGE_BLOCK - 1);
}

static const struct forge_type {
  uint32_t magic;
  const char *count;
} RUN = {0x4e555257, "record count"}, NODE = {0x444f4e57, "level"}, BLOB = {0x424c4257, "value size"};

/* What a header tells of its object that is not the same for all. */
struct forge_header {
  const struct forge_type *type;
  uint64_t count, sequence_max;
  int low, high; /* keys; -1: none */
};

static void put_bound(struct forge *f, struct wire_writer *w, const char *field, int key) {
  uint8_t bytes[9];
  size_t size = key < 0 ? 0 : forge_tree_key((unsigned)key, bytes);
  forge_put(f, w, field, 0, size);
  wire_put_bytes(w, bytes, size);
}

static void put_sections(struct forge *f, struct wire_writer *w, const struct forge_body *body) {
  forge_put(f, w, "section count", 0, body->section_count);
  for (uint32_t i = 0; i < body->section_count; i++) {
    const struct section_bytes *s = &body->sections[i];
    bool elsewhere = s->tag == SECTION_PAGES || s->tag == SECTION_CHUNKS;
    uint64_t sum = elsewhere ? 0 : checksum(f->seed, body->bytes + s->at, s->size);
    forge_put(f, w, "section tag", 1, s->tag);
    forge_put(f, w, "section offset", 0, HEADER_LENGTH + s->at);
    forge_put(f, w, "section length", 0, s->size);
    forge_put(f, w, "section checksum", 8, sum);
  }
}

/* One number that the pointer repeats: what a pointer would say when the lie is told everywhere. */
static uint64_t put_repeated(struct forge *f, struct wire_writer *w, const char *field, unsigned width,
                             uint64_t value) {
  f->repeated = true;
  uint64_t told = forge_put(f, w, field, width, value);
  f->repeated = false;
  return f->lie->everywhere ? told : value;
}

static void put_extents(struct forge *f, struct wire_writer *w, const struct block_ptr *ptr, struct block_ptr *said) {
  said->extent_count = (uint32_t)put_repeated(f, w, "extent count", 0, ptr->extent_count);
  for (uint32_t i = 0; i < ptr->extent_count; i++) {
    said->extents[i].first = put_repeated(f, w, "extent first", 0, ptr->extents[i].first);
    said->extents[i].count = put_repeated(f, w, "extent blocks", 0, ptr->extents[i].count);
  }
}

/* Returns the pointer to the object. */
static struct block_ptr put_object(struct forge *f, struct forge_body *body, const struct forge_header *about,
                                   bool in_two) {
  uint8_t object[HEADER_LENGTH + sizeof body->bytes] = {0};
  struct block_ptr ptr = {.generation = ++f->generation};
  place(f, HEADER_LENGTH + body->w.at, in_two, &ptr);
  struct block_ptr said = ptr;
  struct wire_writer w = wire_writer(object, HEADER_LENGTH);
  wire_put_u64(&w, 0);
  forge_put(f, &w, "magic", 4, about->type->magic);
  said.header_length = (uint32_t)put_repeated(f, &w, "header length", 4, HEADER_LENGTH);
  forge_put_fsid(f, &w);
  said.generation = put_repeated(f, &w, "generation", 8, ptr.generation);
  forge_put(f, &w, "epoch", 8, 1);
  forge_put(f, &w, "epoch random", 8, 77);
  said.length = put_repeated(f, &w, "length", 8, ptr.length);
  if (about->type == &BLOB)
    f->size_said = put_repeated(f, &w, about->type->count, 8, about->count);
  else
    forge_put(f, &w, about->type->count, 8, about->count);
  forge_put(f, &w, "sequence max", 8, about->sequence_max);
  put_extents(f, &w, &ptr, &said);
  put_bound(f, &w, "low key length", about->low);
  put_bound(f, &w, "high key length", about->high);
  put_sections(f, &w, body);
  assert(!w.failed && w.at + 8 <= HEADER_LENGTH);
  forge_put(f, &w, "rest of the header", 8, 0);
  memcpy(object + HEADER_LENGTH, body->bytes, body->w.at);
  size_t covered = said.header_length < 16 || said.header_length > sizeof object ? HEADER_LENGTH : said.header_length;
  ptr.checksum = said.checksum = forge_tell(f, "checksum", 8, checksum(f->seed, object + 8, covered - 8));
  store_u64(object, ptr.checksum);
  size_t at = 0;
  for (uint32_t i = 0; i < ptr.extent_count; i++) {
    size_t size = (size_t)ptr.extents[i].count * FORGE_BLOCK;
    memcpy(f->image + ptr.extents[i].first * FORGE_BLOCK, object + at, size);
    at += size;
  }
  return said;
}

static void note(struct forge *f, const char *name, const struct block_ptr *ptr, int kind) {
  struct forge_map *map = f->map;
  if (map) map->objects[map->object_count++] = (struct forge_object){name, *ptr, kind};
}

/* ---- large values --------------------------------------------------------------------------------------------------- */

void forge_put_reference(struct forge *f, struct wire_writer *w, uint32_t number) {
  const struct forge_large *large = &f->large[number];
  assert(large->ptr.generation);
  forge_put(f, w, "reference: value size", 0, large->size);
  forge_put_pointer(f, w, FORGE_BLOB, &large->ptr);
}

void forge_blob(struct forge *f, const char *name, uint32_t number) {
  struct forge_body body = {0};
  uint8_t value[FORGE_VALUE_MAX];
  const struct forge_operation *operation = forge_operation(number);
  const struct forge_header about = {
      .type = &BLOB, .count = operation->value_size, .low = operation->key, .high = operation->key};
  size_t size = operation->value_size, most = BLOB_CHUNK_PAGES * (size_t)f->superblock.page_size;
  f->structure = name;
  body.w = wire_writer(body.bytes, sizeof body.bytes);
  forge_value(number, value);
  wire_put_bytes(&body.w, value, size);
  body_section(&body, SECTION_CHUNKS, 0);
  for (size_t at = 0; at < size; at += most) {
    size_t length = size - at < most ? size - at : most;
    forge_put(f, &body.w, "chunk: stored length", 0, length);
    forge_put(f, &body.w, "chunk: checksum", 8, checksum(f->seed, value + at, length));
  }
  body_section(&body, SECTION_CHUNK_TABLE, size);
  assert(!body.w.failed);
  f->large[number].ptr = put_object(f, &body, &about, false);
  f->large[number].size = f->size_said;
  note(f, name, &f->large[number].ptr, FORGE_BLOB);
}

/* ---- runs ----------------------------------------------------------------------------------------------------------- */

static struct forge_record record_of(struct forge *f, uint32_t number) {
  const struct forge_operation *operation = forge_operation(number);
  struct forge_record record = {.key = operation->key, .sequence = number, .kind = operation->kind};
  struct wire_writer w = wire_writer(record.value, sizeof record.value);
  if (operation->kind == FORGE_PUTS_LARGE) {
    forge_put_reference(f, &w, number);
  } else {
    uint8_t value[FORGE_VALUE_MAX];
    forge_value(number, value);
    wire_put_bytes(&w, value, operation->value_size);
  }
  assert(!w.failed);
  record.value_size = w.at;
  return record;
}

static uint32_t page_of(struct forge *f, const uint8_t *numbers, struct forge_record *records) {
  uint32_t count = 0;
  for (; count < PAGE_RECORDS_MAX && numbers[count]; count++) records[count] = record_of(f, numbers[count]);
  return count;
}

static void put_index_entry(struct forge *f, struct forge_record *entry, uint64_t offset, uint64_t size, uint64_t sum) {
  struct wire_writer w = wire_writer(entry->value, sizeof entry->value);
  forge_put(f, &w, "index entry: offset", 0, offset);
  forge_put(f, &w, "index entry: length", 0, size);
  forge_put(f, &w, "index entry: size", 0, size);
  forge_put(f, &w, "index entry: checksum", 8, sum);
  entry->value_size = w.at;
}

/* The filter's bits are those of the product; what may be told otherwise is each word of it. */
static void put_filter(struct forge *f, struct forge_body *body, const struct forge_run *run, uint32_t records) {
  uint8_t filter[8 * FILTER_LINE_SIZE] = {0}, key[9];
  uint32_t lines = filter_lines(records);
  size_t from = body->w.at;
  assert(lines <= 8);
  for (uint32_t p = 0; p < PAGES_MAX; p++)
    for (uint32_t i = 0; i < PAGE_RECORDS_MAX && run->operations[p][i]; i++) {
      size_t size = forge_tree_key(forge_operation(run->operations[p][i])->key, key);
      filter_add(filter, lines, checksum(f->seed, key, size));
    }
  for (size_t at = 0; at < lines * (size_t)FILTER_LINE_SIZE; at += 8)
    forge_put(f, &body->w, "filter word", 8, load_u64(filter + at));
  body_section(body, SECTION_FILTER, from);
}

/* The pointers of its large values, in their records' order. */
static void put_list(struct forge *f, struct forge_body *body, const struct forge_run *run, uint32_t count) {
  size_t from = body->w.at;
  forge_put(f, &body->w, "list of large values: count", 0, count);
  for (uint32_t p = 0; p < PAGES_MAX; p++)
    for (uint32_t i = 0; i < PAGE_RECORDS_MAX && run->operations[p][i]; i++)
      if (forge_operation(run->operations[p][i])->kind == FORGE_PUTS_LARGE)
        forge_put_pointer(f, &body->w, FORGE_BLOB, &f->large[run->operations[p][i]].ptr);
  body_section(body, SECTION_BLOBS, from);
}

static void put_range_end(struct forge *f, struct wire_writer *w, const char *length, const char *table, unsigned key) {
  uint8_t bytes[9];
  size_t size = forge_tree_key(key, bytes);
  forge_put(f, w, length, 0, size);
  forge_put(f, w, table, 1, bytes[0]);
  wire_put_bytes(w, bytes + 1, size - 1);
}

/* Ends the header's range where theirs does. */
static void put_ranges(struct forge *f, struct forge_body *body, const struct forge_run *run, uint32_t count,
                       struct forge_header *about) {
  size_t from = body->w.at;
  forge_put(f, &body->w, "range deletes: count", 0, count);
  for (uint32_t i = 0; i < count; i++) {
    const struct forge_operation *range = forge_operation(run->ranges[i]);
    put_range_end(f, &body->w, "range delete: from length", "range delete: from table id", range->key);
    put_range_end(f, &body->w, "range delete: to length", "range delete: to table id", range->end);
    forge_put(f, &body->w, "range delete: sequence", 0, run->ranges[i]);
    if (run->ranges[i] > about->sequence_max) about->sequence_max = run->ranges[i];
    if (about->low < 0 || range->key < about->low) about->low = range->key;
    if (range->end > about->high) about->high = range->end;
  }
  body_section(body, SECTION_RANGE_TOMBSTONES, from);
}

/* Pages and their index. */
static void put_pages(struct forge *f, struct forge_body *body, const struct forge_run *run, struct forge_header *about,
                      struct forge_written *out) {
  struct forge_record records[PAGE_RECORDS_MAX], index[PAGES_MAX];
  uint32_t pages = 0;
  for (; pages < PAGES_MAX && run->operations[pages][0]; pages++) {
    uint32_t count = page_of(f, run->operations[pages], records);
    size_t from = body->w.at;
    put_page(f, &body->w, records, count);
    index[pages] = (struct forge_record){.key = records[count - 1].key};
    put_index_entry(f, &index[pages], HEADER_LENGTH + from, body->w.at - from,
                    checksum(f->seed, body->bytes + from, body->w.at - from));
    for (uint32_t i = 0; i < count; i++) {
      out->deletes += records[i].kind == FORGE_DELETES;
      out->large += records[i].kind == FORGE_PUTS_LARGE;
      if (records[i].sequence > about->sequence_max) about->sequence_max = records[i].sequence;
    }
    out->records += count;
    if (pages == 0) about->low = (int)records[0].key;
    about->high = (int)records[count - 1].key;
  }
  if (pages == 0) return;
  body_section(body, SECTION_PAGES, 0);
  size_t from = body->w.at;
  put_page(f, &body->w, index, pages);
  body_section(body, SECTION_INDEX, from);
}

struct forge_written forge_run(struct forge *f, const struct forge_run *run) {
  struct forge_body body = {0};
  struct forge_written out = {0};
  struct forge_header about = {.type = &RUN, .low = -1, .high = -1};
  f->structure = run->name;
  body.w = wire_writer(body.bytes, sizeof body.bytes);
  put_pages(f, &body, run, &about, &out);
  while (out.ranges < RANGES_MAX && run->ranges[out.ranges]) out.ranges++;
  if (run->filter) put_filter(f, &body, run, out.records);
  if (out.large) put_list(f, &body, run, out.large);
  if (out.ranges) put_ranges(f, &body, run, out.ranges, &about);
  assert(!body.w.failed);
  about.count = out.records;
  out.ptr = put_object(f, &body, &about, run->in_two_extents);
  note(f, run->name, &out.ptr, FORGE_RUN);
  return out;
}

/* ---- nodes ---------------------------------------------------------------------------------------------------------- */

struct forge_written forge_node(struct forge *f, const struct forge_node *node) {
  struct forge_body body = {0};
  struct forge_record table[2] = {{.key = node->entries[0].pivot}, {.key = node->entries[1].pivot}};
  f->structure = node->name;
  body.w = wire_writer(body.bytes, sizeof body.bytes);
  for (int i = 0; i < 2; i++) {
    struct wire_writer w = wire_writer(table[i].value, sizeof table[i].value);
    forge_put(f, &w, "flushed up to", 0, node->entries[i].flushed_upto);
    forge_put(f, &w, "large values of a leaf", 0, node->entries[i].child.large);
    forge_put_pointer(f, &w, node->level ? (int)node->level - 1 : FORGE_RUN, &node->entries[i].child.ptr);
    table[i].value_size = w.at;
    assert(!w.failed);
  }
  put_page(f, &body.w, table, 2);
  body_section(&body, node->level ? SECTION_CHILDREN : SECTION_LEAVES, 0);
  size_t from = body.w.at;
  forge_put(f, &body.w, "run count", 0, node->run_count);
  for (uint32_t i = 0; i < node->run_count; i++) {
    forge_put_pointer(f, &body.w, FORGE_RUN, &node->runs[i].ptr);
    forge_put(f, &body.w, "records of a run", 0, node->runs[i].records);
    forge_put(f, &body.w, "deletes of a run", 0, node->runs[i].deletes);
    forge_put(f, &body.w, "large values of a run", 0, node->runs[i].large);
    forge_put(f, &body.w, "range deletes of a run", 0, node->runs[i].ranges);
  }
  body_section(&body, SECTION_RUNS, from);
  const struct forge_header about = {.type = &NODE, .count = node->level, .low = -1, .high = -1};
  struct forge_written out = {.ptr = put_object(f, &body, &about, false)};
  note(f, node->name, &out.ptr, (int)node->level);
  return out;
}
