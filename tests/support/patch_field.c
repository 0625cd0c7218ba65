/* Owns: finding the fields of a structure by the names that FORMAT.md's tables give them.
 *
 * Always true: fields are met in the order of the tables, each read as its table says.
 *
 * See: patch.h; FORMAT.md, part 5. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/wire.h"
#include "format/page.h"
#include "format/record.h"
#include "support/kept_device.h"
#include "support/patch_private.h"

/* A structure being read until the wanted field comes. */
struct finder {
  const char *wanted;
  char prefix[24]; /* of the names that come now */
  struct wire_reader r;
  bool found, varint, text;
  size_t at, size;
};

static bool is(struct finder *f, const char *name, size_t from) {
  size_t prefix = strlen(f->prefix);
  if (f->found || f->r.failed || strncmp(f->wanted, f->prefix, prefix) != 0 || strcmp(f->wanted + prefix, name) != 0)
    return false;
  f->found = true;
  f->at = from;
  f->size = f->r.at - from;
  return true;
}

static void number(struct finder *f, const char *name, size_t size) {
  size_t from = f->r.at;
  wire_get_bytes(&f->r, size);
  is(f, name, from);
}

static uint64_t varint(struct finder *f, const char *name) {
  size_t from = f->r.at;
  uint64_t value = wire_get_varint(&f->r);
  if (is(f, name, from)) f->varint = true;
  return value;
}

static void text(struct finder *f, const char *name, uint64_t size) {
  size_t from = f->r.at;
  wire_get_bytes(&f->r, (size_t)size);
  if (is(f, name, from)) f->text = true;
}

struct row {
  const char *name;
  uint8_t size; /* 16: bytes */
};

static void rows(struct finder *f, const struct row *row) {
  for (; row->name; row++) {
    if (row->size == 16)
      text(f, row->name, 16);
    else
      number(f, row->name, row->size);
  }
}

/* ---- structures of fixed places ---------------------------------------------------------------------------------- */

static void superblock_fields(struct finder *f) {
  static const struct row table[] = {{"magic", 16},
                                     {"version", 4},
                                     {"block_size", 4},
                                     {"compat flags", 8},
                                     {"read-only flags", 8},
                                     {"incompat flags", 8},
                                     {"fsid", 16},
                                     {"sector", 4},
                                     {"journal_block_size", 4},
                                     {"device_blocks", 8},
                                     {"journal_blocks", 8},
                                     {"memtable_size", 8},
                                     {"page_size", 4},
                                     {"leaf_size", 4},
                                     {"step_size", 4},
                                     {"node_leaves", 4},
                                     {"node_children", 4},
                                     {"compression", 4},
                                     {NULL, 0}};
  rows(f, table);
  text(f, "reserved", 384);
  number(f, "checksum", 8);
}

static void pointer_fields(struct finder *f, const char *name);

static void reference_fields(struct finder *f) {
  varint(f, "value size");
  pointer_fields(f, "pointer");
}

static void journal_fields(struct finder *f) {
  static const struct row table[] = {{"checksum", 8}, {"magic", 4}, {"kind", 1}, {"flags", 1}, {NULL, 0}},
                          more[] = {{"fsid", 16},          {"epoch number", 8},    {"epoch random bits", 8},
                                    {"sequence", 8},       {"previous", 8},        {"flushed_through", 8},
                                    {"checkpoint", 8},     {"checkpoint hash", 8}, {"fragment", 4},
                                    {"fragments", 4},      {"payload length", 4},  {"zero", 4},
                                    {"first sequence", 8}, {"last sequence", 8},   {NULL, 0}};
  rows(f, table);
  text(f, "zeros", 2);
  rows(f, more);
  number(f, "operation kind", 1); /* of the first operation */
  text(f, "operation key", varint(f, "operation key length"));
  varint(f, "operation value length");
  reference_fields(f); /* when it puts a large value */
}

static void extents_fields(struct finder *f) {
  uint64_t count = varint(f, "extent_count");
  for (uint64_t i = 0; i < count && !f->r.failed; i++) {
    char first[32], blocks[32];
    snprintf(first, sizeof first, "first block %u", (unsigned)i);
    snprintf(blocks, sizeof blocks, "block count %u", (unsigned)i);
    varint(f, first);
    varint(f, blocks);
  }
}

static void pointer_fields(struct finder *f, const char *name) {
  snprintf(f->prefix, sizeof f->prefix, "%s ", name);
  if (varint(f, "generation")) {
    number(f, "checksum", 8);
    varint(f, "length");
    varint(f, "header_length");
    extents_fields(f);
  }
  f->prefix[0] = '\0';
}

static void checkpoint_fields(struct finder *f) {
  static const struct row table[] = {{"generation", 8},     {"sequence", 8},
                                     {"tail", 8},           {"previous", 8},
                                     {"previous hash", 8},  {"device_blocks", 8},
                                     {"compat flags", 8},   {"read-only flags", 8},
                                     {"incompat flags", 8}, {NULL, 0}};
  f->r.at = JOURNAL_HEADER_SIZE;
  rows(f, table);
  pointer_fields(f, "root");
  pointer_fields(f, "catalog");
}

/* ---- objects ----------------------------------------------------------------------------------------------------- */

static const char *tag_name(uint8_t tag) {
  static const char *const names[] = {[SECTION_PAGES] = "pages",    [SECTION_INDEX] = "index",
                                      [SECTION_FILTER] = "filter",  [SECTION_BLOBS] = "blobs",
                                      [SECTION_LEAVES] = "table",   [SECTION_RUNS] = "list",
                                      [SECTION_CHILDREN] = "table", [SECTION_RANGE_TOMBSTONES] = "ranges",
                                      [SECTION_CHUNKS] = "chunks",  [SECTION_CHUNK_TABLE] = "chunk table"};
  return tag < sizeof names / sizeof *names && names[tag] ? names[tag] : "other";
}

static void header_fields(struct finder *f) {
  static const struct row table[] = {{"checksum", 8},
                                     {"magic", 4},
                                     {"header_length", 4},
                                     {"fsid", 16},
                                     {"generation", 8},
                                     {"epoch number", 8},
                                     {"epoch random bits", 8},
                                     {"length", 8},
                                     {"record_count", 8},
                                     {"sequence_max", 8},
                                     {NULL, 0}};
  rows(f, table);
  extents_fields(f);
  text(f, "low key", varint(f, "low key length"));
  text(f, "high key", varint(f, "high key length"));
  uint64_t count = varint(f, "section count");
  for (uint64_t i = 0; i < count && !f->r.failed; i++) {
    const char *name = f->r.at < f->r.size ? tag_name(f->r.data[f->r.at]) : "other";
    snprintf(f->prefix, sizeof f->prefix, "%s ", name);
    number(f, "tag", 1);
    varint(f, "offset");
    varint(f, "length");
    number(f, "checksum", 8);
    f->prefix[0] = '\0';
  }
}

static void page_fields(struct finder *f) {
  static const struct row table[] = {
      {"size", 4},          {"count", 4}, {"prefix length", 2}, {"offset width", 1}, {"zero", 1},
      {"base sequence", 8}, {NULL, 0}};
  struct page page = page_view(f->r.data);
  char name[32];
  rows(f, table);
  for (uint32_t i = 0; i < page.count; i++) {
    snprintf(name, sizeof name, "key head %u", i);
    number(f, name, 4);
  }
  for (uint32_t i = 0; i < page.count; i++) {
    snprintf(name, sizeof name, "offset %u", i);
    number(f, name, page.offset_width);
  }
  text(f, "prefix", page.prefix_size);
}

/* A record of the page; value: what its value is. */
static void record_fields(struct finder *f, uint64_t index, enum patch_structure value) {
  struct page page = page_view(f->r.data);
  if (index >= page.count) return;
  struct page_record record = page_record(&page, (uint32_t)index);
  f->r.at = (size_t)((const uint8_t *)record.suffix.data - f->r.data);
  size_t behind = f->r.at;
  uint32_t start = PAGE_HEADER_SIZE + 4 * page.count + page.offset_width * (uint32_t)index;
  f->r.at = page.offset_width == 2 ? load_u16(f->r.data + start) : load_u32(f->r.data + start);
  varint(f, "suffix length");
  varint(f, "value length and kind");
  varint(f, "sequence");
  if (f->r.at != behind) f->r.failed = true;
  text(f,
       value == PATCH_RECORD  ? "key suffix"
       : value == PATCH_ENTRY ? "pivot suffix"
                              : "last key suffix",
       record.suffix.size);
  if (value == PATCH_RECORD && record.kind == RECORD_BLOB) reference_fields(f);
  if (value == PATCH_RECORD && record.kind != RECORD_BLOB) text(f, "value", record.value.size);
  if (value == PATCH_ENTRY) {
    varint(f, "flushed_upto");
    varint(f, "blob count");
    pointer_fields(f, "pointer");
  }
  if (value != PATCH_INDEXED) return;
  varint(f, "offset");
  varint(f, "length");
  varint(f, "size");
  number(f, "checksum", 8);
}

static void list_fields(struct finder *f, bool count_only, uint64_t index) {
  char *wanted = (char *)f->wanted;
  uint64_t count = varint(f, "count");
  for (uint64_t i = 0; i < count && !count_only && i <= index && !f->r.failed; i++) {
    f->wanted = i == index ? wanted : "";
    pointer_fields(f, "pointer");
    varint(f, "record count");
    varint(f, "delete count");
    varint(f, "blob count");
    varint(f, "range count");
  }
}

static void blobs_fields(struct finder *f, bool count_only, uint64_t index) {
  char *wanted = (char *)f->wanted;
  uint64_t count = varint(f, "count");
  for (uint64_t i = 0; i < count && !count_only && i <= index && !f->r.failed; i++) {
    f->wanted = i == index ? wanted : "";
    pointer_fields(f, "pointer");
  }
}

static void chunked_fields(struct finder *f, uint64_t index) {
  char *wanted = (char *)f->wanted;
  for (uint64_t i = 0; i <= index && !f->r.failed; i++) {
    f->wanted = i == index ? wanted : "";
    varint(f, "stored length");
    number(f, "checksum", 8);
  }
}

static void range_fields(struct finder *f, uint64_t index) {
  char *wanted = (char *)f->wanted;
  uint64_t count = varint(f, "count");
  for (uint64_t i = 0; i < count && i <= index && !f->r.failed; i++) {
    f->wanted = i == index ? wanted : "";
    text(f, "from", varint(f, "from length"));
    text(f, "to", varint(f, "to length"));
    varint(f, "sequence");
  }
}

static void fields_of(struct finder *f, const struct patch_place *place) {
  switch (place->structure) {
  case PATCH_SUPERBLOCK:
    superblock_fields(f);
    break;
  case PATCH_JOURNAL:
    journal_fields(f);
    break;
  case PATCH_CHECKPOINT:
    checkpoint_fields(f);
    break;
  case PATCH_HEADER:
    header_fields(f);
    break;
  case PATCH_PAGE:
    page_fields(f);
    break;
  case PATCH_RECORD:
  case PATCH_INDEXED:
  case PATCH_ENTRY:
    record_fields(f, place->index, place->structure);
    break;
  case PATCH_LIST:
    list_fields(f, true, 0);
    break;
  case PATCH_BUFFERED:
    list_fields(f, false, place->index);
    break;
  case PATCH_RANGE:
    range_fields(f, place->index);
    break;
  case PATCH_BLOBS:
    blobs_fields(f, true, 0);
    break;
  case PATCH_BLOB:
    blobs_fields(f, false, place->index);
    break;
  case PATCH_CHUNKED:
    chunked_fields(f, place->index);
    break;
  case PATCH_BYTES:
    break;
  }
}

bool patch_field_find(struct patch *patch, const char *text, struct patch_field *field, char why[256]) {
  char where[128];
  const char *colon = strchr(text, ':');
  if (!colon || (size_t)(colon - text) >= sizeof where) {
    snprintf(why, 256, "no 'PLACE: FIELD': '%s'", text);
    return false;
  }
  snprintf(where, sizeof where, "%.*s", (int)(colon - text), text);
  if (!patch_place_find(patch, where, &field->place, why)) return false;
  uint64_t size = field->place.size;
  uint8_t *bytes = malloc(size);
  for (uint64_t i = 0; i < size; i++) bytes[i] = patch->kept->data[patch_place_at(patch, &field->place, i)];
  struct finder finder = {.wanted = colon + 1 + strspn(colon + 1, " "), .r = wire_reader(bytes, size)};
  fields_of(&finder, &field->place);
  free(bytes);
  if (!finder.found) {
    snprintf(why, 256, "there is no such field: '%.200s'", text);
    return false;
  }
  field->place.offset += finder.at;
  field->place.size = finder.size;
  field->varint = finder.varint;
  field->text = finder.text;
  return true;
}
