/* Owns: objects as text: pointers, headers of runs and nodes, pages, run lists.
 *
 * Always true: as in to_text.c; records of a page are decoded one by one behind each other, so offsets that lie do not lead
 * anywhere.
 *
 * Order: fields as they lie in the bytes.
 *
 * See: to_text.h; tests/unit/test_to_text.c. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "codec/checksum.h"
#include "format/node_header.h"
#include "format/blob.h"
#include "format/object_header.h"
#include "format/page.h"
#include "format/to_text_private.h"

const char *text_tree_key(char *out, size_t room, struct wodan_slice key) {
  const uint8_t *bytes = key.data;
  size_t used = 0;
  if (key.size < TABLE_ID_SIZE) return text_bytes(out, room, NULL, 0);
  if (bytes[0] != TABLE_DEFAULT) used = (size_t)snprintf(out, room, "table %u ", bytes[0]);
  text_bytes(out + used, room - used, bytes + TABLE_ID_SIZE, key.size - TABLE_ID_SIZE);
  return out;
}

/* ---- pointers --------------------------------------------------------------------------------------------------- */

/* "generation 7, 12,345 bytes (header 80), blocks 12+3 20+1" */
static void pointer_text(char out[400], const struct block_ptr *ptr) {
  size_t used = (size_t)snprintf(out, 400, "generation %" PRIu64 ", %" PRIu64 " bytes, header %" PRIu32 ", blocks",
                                 ptr->generation, ptr->length, ptr->header_length);
  for (uint32_t i = 0; i < ptr->extent_count && used < 340; i++)
    used +=
        (size_t)snprintf(out + used, 400 - used, " %" PRIu64 "+%" PRIu64, ptr->extents[i].first, ptr->extents[i].count);
  snprintf(out + used, 400 - used, ", checksum 0x%016" PRIx64, ptr->checksum);
}

void text_pointer(struct text_sink *sink, struct wire_reader *r, const char *name, const struct volume_bounds *bounds) {
  struct block_ptr ptr;
  char text[400] = "none";
  size_t from = r->at;
  if (!block_ptr_decode(r, bounds, &ptr)) {
    text_put(sink, from, 0, "malformed, or outside the data area", name, "-");
    return;
  }
  if (ptr.generation) pointer_text(text, &ptr);
  text_put(sink, from, r->at - from, NULL, name, "%s", text);
}

/* ---- header ----------------------------------------------------------------------------------------------------- */

static const char *section_name(uint8_t tag) {
  static const char *const NAMES[] = {[0] = "unknown",
                                      [SECTION_PAGES] = "pages",
                                      [SECTION_INDEX] = "index",
                                      [SECTION_FILTER] = "filter",
                                      [SECTION_BLOBS] = "blobs",
                                      [SECTION_RANGE_TOMBSTONES] = "range tombstones",
                                      [SECTION_RUNS] = "runs",
                                      [SECTION_LEAVES] = "leaves",
                                      [SECTION_CHILDREN] = "children",
                                      [SECTION_CHUNK_TABLE] = "chunk table",
                                      [SECTION_CHUNKS] = "chunks"};
  bool known = tag <= SECTION_CHUNKS; /* guard: bounds */
  return NAMES[known ? tag : 0];
}

static void extents_to_text(struct text_sink *sink, struct wire_reader *r) {
  size_t from = r->at;
  uint64_t count = wire_get_varint(r);
  bool many = count > BLOCK_PTR_EXTENTS_MAX;
  if (r->failed) return;
  text_put(sink, from, r->at - from, many ? "more than there can be" : NULL, "extents", "%" PRIu64, count);
  if (many) r->failed = true; /* guard: bounds */
  sink->depth++;
  for (uint64_t i = 0; i < count && !r->failed; i++) {
    from = r->at;
    uint64_t first = wire_get_varint(r), blocks = wire_get_varint(r);
    if (!r->failed)
      text_put(sink, from, r->at - from, NULL, "extent", "block %" PRIu64 ", %" PRIu64 " blocks", first, blocks);
  }
  sink->depth--;
}

static void key_to_text(struct text_sink *sink, struct wire_reader *r, const char *name) {
  size_t from = r->at;
  char text[TEXT_KEY_MAX];
  uint64_t size = wire_get_varint(r);
  const uint8_t *key = wire_get_bytes(r, size);
  if (!key) return; /* guard: bounds */
  text_put(sink, from, r->at - from, NULL, name, "%s",
           size ? text_tree_key(text, sizeof text, (struct wodan_slice){key, (size_t)size}) : "none");
}

static void sections_to_text(struct text_sink *sink, struct wire_reader *r) {
  size_t from = r->at;
  uint64_t count = wire_get_varint(r);
  if (r->failed) return;
  bool many = count > OBJECT_SECTIONS_MAX;
  text_put(sink, from, r->at - from, many ? "more than there can be" : NULL, "sections", "%" PRIu64, count);
  if (many) r->failed = true; /* guard: bounds */
  sink->depth++;
  for (uint64_t i = 0; i < count && !r->failed; i++) {
    from = r->at;
    uint8_t tag = wire_get_u8(r);
    uint64_t offset = wire_get_varint(r), length = wire_get_varint(r), sum = wire_get_u64(r);
    if (r->failed) break;
    text_put(sink, from, r->at - from, NULL, section_name(tag),
             "tag %u, bytes %" PRIu64 " to %" PRIu64 " of the object (%" PRIu64 "), checksum 0x%016" PRIx64, tag,
             offset, offset + length, length, sum);
  }
  sink->depth--;
}

void object_header_to_text(struct text_sink *sink, const uint8_t *bytes, size_t size,
                           const struct text_volume *volume) {
  struct object_header ignored;
  char text[40];
  uint32_t length = object_header_peek_length(bytes, size);
  bool fits = length >= 80 && length <= size && length <= BLOCK_PTR_HEADER_MAX; /* guard: bounds */
  struct wire_reader r = wire_reader(bytes, fits ? length : size);
  uint64_t stored = wire_get_u64(&r);
  const uint8_t *magic = wire_get_bytes(&r, 4);
  wire_get_u32(&r);
  if (text_ended(sink, &r, "header")) return;
  bool node = memcmp(magic, "WNOD", 4) == 0, blob = memcmp(magic, "WBLB", 4) == 0;
  bool known = node || blob || memcmp(magic, "WRUN", 4) == 0;
  if (fits) text_checksum(sink, 0, stored, checksum(volume->seed, bytes + 8, length - 8));
  if (!fits) text_put(sink, 0, 8, NULL, "checksum", "0x%016" PRIx64, stored);
  text_put(sink, 8, 4, known ? NULL : "neither a run's nor a node's nor a large value's", "magic", "%s",
           text_bytes(text, sizeof text, magic, 4));
  text_put(sink, 12, 4, fits ? NULL : "cannot be", "header length", "%" PRIu32 " bytes", length);
  text_fsid(sink, &r, volume->fsid);
  text_u64(sink, &r, "generation", "");
  text_u64(sink, &r, "epoch", "");
  text_hash(sink, &r, "epoch random");
  text_u64(sink, &r, "length", " bytes of the object");
  text_u64(sink, &r, node ? "level" : blob ? "value size" : "records", "");
  text_u64(sink, &r, "sequence max", "");
  if (text_ended(sink, &r, "header")) return;
  extents_to_text(sink, &r);
  if (!r.failed) key_to_text(sink, &r, "low key");
  if (!r.failed) key_to_text(sink, &r, "high key");
  if (!r.failed) sections_to_text(sink, &r);
  if (text_ended(sink, &r, "header")) return;
  if (fits) text_zeros(sink, bytes, r.at, r.size - r.at);
  if (fits && sink->problems == 0 &&
      !object_header_decode(bytes, size, volume->seed, volume->fsid, &volume->bounds, &ignored))
    text_put(sink, 0, 0, "they do not fit together", "fields", "extents, keys or sections cannot be");
}

/* ---- pages ------------------------------------------------------------------------------------------------------ */

static const char *value_text(char out[520], const uint8_t *value, size_t size, enum text_page kind,
                              const struct text_volume *volume, const char **problem) {
  struct index_entry index;
  struct branch_entry branch;
  char pointer[400];
  if (kind == TEXT_INDEX && index_entry_decode(value, size, &index)) {
    char of[40] = "";
    if (index.length < index.size) snprintf(of, sizeof of, " (LZ4, of %" PRIu32 ")", index.size);
    snprintf(out, 520, "page at byte %" PRIu64 ", %" PRIu32 " bytes%s, checksum 0x%016" PRIx64, index.offset,
             index.length, of, index.checksum);
  } else if (kind == TEXT_BRANCHES && branch_entry_decode(value, size, &volume->bounds, &branch)) {
    pointer_text(pointer, &branch.ptr);
    char large[48] = "";
    if (branch.blobs) snprintf(large, sizeof large, "%" PRIu64 " large values, ", branch.blobs);
    snprintf(out, 520, "flushed up to %" PRIu64 ", %s%s", branch.flushed_upto, large, pointer);
  } else {
    text_bytes(out, 200, value, size);
    if (kind != TEXT_RECORDS) *problem = "its value is no such entry";
  }
  return out;
}

const char *text_reference(char out[TEXT_MAX], struct wodan_slice value, const struct volume_bounds *bounds,
                           const char **problem) {
  struct blob_ref ref;
  char pointer[400];
  if (!blob_ref_decode(value.data, value.size, bounds, &ref)) {
    *problem = "its value is no reference to a large value";
    return text_bytes(out, 200, value.data, value.size);
  }
  pointer_text(pointer, &ref.ptr);
  snprintf(out, TEXT_MAX, "%" PRIu64 " bytes at %s", ref.size, pointer);
  return out;
}

/* A whole key: prefix and suffix, cut to what is shown of it. */
static struct wodan_slice joined(uint8_t out[TEXT_KEY_MAX], const uint8_t *prefix, size_t prefix_size,
                                 const uint8_t *suffix, size_t suffix_size) {
  size_t a = prefix_size < TEXT_KEY_MAX ? prefix_size : TEXT_KEY_MAX;
  size_t b = suffix_size < TEXT_KEY_MAX - a ? suffix_size : TEXT_KEY_MAX - a;
  memcpy(out, prefix, a);
  memcpy(out + a, suffix, b);
  return (struct wodan_slice){out, a + b};
}

static bool page_record_to_text(struct text_sink *sink, struct wire_reader *r, const struct page *page,
                                const uint8_t *prefix, enum text_page kind, const struct text_volume *volume) {
  uint8_t whole[TEXT_KEY_MAX];
  char key[TEXT_KEY_MAX], value[TEXT_MAX];
  const char *problem = NULL;
  size_t from = r->at;
  uint64_t suffix_size = wire_get_varint(r), packed = wire_get_varint(r), delta = wire_get_varint(r);
  uint64_t value_size = packed >> 3;
  uint8_t record = (uint8_t)(packed & 7);
  const uint8_t *suffix = wire_get_bytes(r, suffix_size);
  const uint8_t *bytes = wire_get_bytes(r, value_size);
  if (!bytes) return false; /* guard: bounds */
  struct wodan_slice name = joined(whole, prefix, page->prefix_size, suffix, (size_t)suffix_size);
  if (record > RECORD_PAGE_LAST) problem = "of an unknown kind";
  if (record == RECORD_DELETE && value_size) problem = "a delete with a value";
  text_tree_key(key, sizeof key, name);
  const char *shown = "deleted", *what = record == RECORD_DELETE ? "delete" : record == RECORD_BLOB ? "large" : "put";
  if (record == RECORD_BLOB)
    shown = text_reference(value, (struct wodan_slice){bytes, (size_t)value_size}, &volume->bounds, &problem);
  else if (record != RECORD_DELETE)
    shown = value_text(value, bytes, (size_t)value_size, kind, volume, &problem);
  if (kind == TEXT_RECORDS)
    text_put(sink, from, r->at - from, problem, what, "%" PRIu64 " %s%s%s", page->base_sequence + delta, key,
             record == RECORD_DELETE ? "" : " = ", record == RECORD_DELETE ? "" : shown);
  else
    text_put(sink, from, r->at - from, problem, "entry", "%s: %s", key, shown);
  return true;
}

/* The header's fields; false: the arrays do not fit the page. */
static bool page_header_to_text(struct text_sink *sink, const uint8_t *bytes, size_t size, struct page *page) {
  uint32_t width = size <= 65535 ? 2 : 4;
  text_put(sink, 0, 4, page->size == size ? NULL : "not what the index or section says", "size", "%" PRIu32 " bytes",
           page->size);
  size_t left = size - PAGE_HEADER_SIZE;
  bool counted = page->count && page->count <= left / (4 + width); /* guard: bounds */
  text_put(sink, 4, 4, counted ? NULL : "cannot be", "count", "%" PRIu32 " records", page->count);
  bool prefixed = counted && page->prefix_size <= left - (size_t)page->count * (4 + width); /* guard: bounds */
  text_put(sink, 8, 2, prefixed ? NULL : "cannot be", "prefix length", "%" PRIu32, page->prefix_size);
  text_put(sink, 10, 1, page->offset_width == width ? NULL : "not right for the size", "offset width", "%" PRIu32,
           page->offset_width);
  text_zeros(sink, bytes, 11, 1);
  text_put(sink, 12, 8, NULL, "base sequence", "%" PRIu64, page->base_sequence);
  page->offset_width = width;
  return prefixed;
}

void page_to_text(struct text_sink *sink, const uint8_t *bytes, size_t size, enum text_page kind,
                  const struct text_volume *volume) {
  if (size < PAGE_HEADER_SIZE) { /* guard: bounds */
    text_put(sink, 0, size, "too short for a page", "page", "%zu bytes", size);
    return;
  }
  struct page page = page_view(bytes);
  char text[TEXT_KEY_MAX];
  if (!page_header_to_text(sink, bytes, size, &page)) return;
  size_t heads = (size_t)page.count * 4, offsets = (size_t)page.count * page.offset_width;
  text_put(sink, PAGE_HEADER_SIZE, heads, NULL, "key heads", "%" PRIu32 " of 4 bytes", page.count);
  text_put(sink, PAGE_HEADER_SIZE + heads, offsets, NULL, "offsets", "%" PRIu32 " of %" PRIu32 " bytes", page.count,
           page.offset_width);
  struct wire_reader r = wire_reader(bytes, size);
  const uint8_t *prefix = bytes + PAGE_HEADER_SIZE + heads + offsets;
  r.at = PAGE_HEADER_SIZE + heads + offsets + page.prefix_size;
  if (page.prefix_size)
    text_put(sink, r.at - page.prefix_size, page.prefix_size, NULL, "prefix", "%s",
             text_bytes(text, sizeof text, prefix, page.prefix_size));
  sink->depth++;
  for (uint32_t i = 0; i < page.count && !sink->status; i++) {
    size_t from = r.at;
    if (page_record_to_text(sink, &r, &page, prefix, kind, volume)) continue;
    text_put(sink, from, 0, "malformed: it ends behind the page", "record", "%" PRIu32 " of %" PRIu32, i, page.count);
    break;
  }
  sink->depth--;
  if (sink->problems == 0 && !sink->status && !page_validate(bytes, size))
    text_put(sink, 0, 0, "they do not fit together", "fields", "key heads, offsets or the order of keys are wrong");
}

/* ---- run list --------------------------------------------------------------------------------------------------- */

void run_list_to_text(struct text_sink *sink, const uint8_t *bytes, size_t size, const struct text_volume *volume) {
  struct wire_reader r = wire_reader(bytes, size);
  uint64_t count = wire_get_varint(&r);
  if (text_ended(sink, &r, "count")) return;
  text_put(sink, 0, r.at, NULL, "count", "%" PRIu64 " runs, newest first", count);
  sink->depth++;
  for (uint64_t i = 0; i < count && !sink->status; i++) {
    struct block_ptr ptr;
    char text[400];
    size_t from = r.at;
    bool good = block_ptr_decode(&r, &volume->bounds, &ptr) && ptr.generation;
    uint64_t records = wire_get_varint(&r), deletes = wire_get_varint(&r), blobs = wire_get_varint(&r);
    uint64_t ranges = wire_get_varint(&r);
    if (!good || r.failed) {
      text_put(sink, from, 0, "malformed, or outside the data area", "run", "%" PRIu64 " of %" PRIu64, i, count);
      break;
    }
    pointer_text(text, &ptr);
    bool sound = (records || ranges) && deletes <= records && blobs <= records - deletes;
    text_put(sink, from, r.at - from, sound ? NULL : "counts cannot be", "run",
             "%" PRIu64 " records, %" PRIu64 " deletes, %" PRIu64 " large values, %" PRIu64 " range deletes, %s",
             records, deletes, blobs, ranges, text);
  }
  sink->depth--;
  if (!r.failed && !sink->status && r.at != size)
    text_put(sink, r.at, size - r.at, "behind the list's end", "rest", "%zu bytes", size - r.at);
}

/* ---- large values ----------------------------------------------------------------------------------------------- */

void blob_list_to_text(struct text_sink *sink, const uint8_t *bytes, size_t size, const struct text_volume *volume) {
  struct wire_reader r = wire_reader(bytes, size);
  uint64_t count = wire_get_varint(&r);
  if (text_ended(sink, &r, "count")) return;
  text_put(sink, 0, r.at, count ? NULL : "cannot be", "count", "%" PRIu64 " large values", count);
  sink->depth++;
  for (uint64_t i = 0; i < count && !sink->status && !r.failed; i++)
    text_pointer(sink, &r, "large value", &volume->bounds);
  sink->depth--;
  if (!r.failed && !sink->status && r.at != size)
    text_put(sink, r.at, size - r.at, "behind the list's end", "rest", "%zu bytes", size - r.at);
}

void chunk_table_to_text(struct text_sink *sink, const uint8_t *bytes, size_t size) {
  struct wire_reader r = wire_reader(bytes, size);
  for (uint64_t i = 0; r.at < size && !sink->status; i++) {
    size_t from = r.at;
    struct blob_chunk chunk;
    if (!blob_chunk_decode(&r, UINT32_MAX, &chunk)) {
      text_put(sink, from, 0, "malformed", "chunk", "%" PRIu64, i);
      break;
    }
    text_put(sink, from, r.at - from, NULL, "chunk", "%" PRIu64 ": %" PRIu32 " bytes, checksum 0x%016" PRIx64, i,
             chunk.length, chunk.checksum);
  }
}

/* ---- range deletes ---------------------------------------------------------------------------------------------- */

void range_section_to_text(struct text_sink *sink, const uint8_t *bytes, size_t size,
                           const struct range_limits *limits) {
  struct wire_reader r = wire_reader(bytes, size);
  char from_text[TEXT_KEY_MAX], to_text[TEXT_KEY_MAX];
  struct range_delete range;
  uint64_t count = wire_get_varint(&r), found;
  if (text_ended(sink, &r, "count")) return;
  text_put(sink, 0, r.at, NULL, "count", "%" PRIu64 " range deletes", count);
  sink->depth++;
  for (uint64_t i = 0; i < count && !sink->status; i++) {
    size_t from = r.at;
    if (!range_decode(&r, &range)) {
      text_put(sink, from, 0, "malformed: it ends behind the section", "range", "%" PRIu64 " of %" PRIu64, i, count);
      break;
    }
    bool open = range.to.size == TABLE_ID_SIZE;
    text_put(sink, from, r.at - from, NULL, "range", "%" PRIu64 " from %s up to %s", range.sequence,
             text_tree_key(from_text, sizeof from_text, range.from),
             open ? "the end" : text_tree_key(to_text, sizeof to_text, range.to));
  }
  sink->depth--;
  const char *fault = sink->problems || sink->status ? NULL : range_section_fault(bytes, size, limits, &found);
  if (fault) text_put(sink, 0, 0, fault, "ranges", "they cannot be");
}
