/* Owns: what is in one block, field by field.
 *
 * Always true: nothing a header says is followed before it was decoded and proven; where it does not prove, its fields are
 * shown and nothing more; a section takes memory only up to its own length, which lies inside the object; a page no more
 * than the volume's page size.
 *
 * Order: who owns the block is asked of the newest tree, then of the one before, then of every header in the data area: the
 * last finds what no tree names any more.
 *
 * See: include/wodan/inspect.h; format/to_text.h; tests/unit/test_inspect.c. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "codec/checksum.h"
#include "codec/compress.h"
#include "blob/blob_read.h"
#include "format/page.h"
#include "format/to_text.h"
#include "inspect/inspect_private.h"
#include "run/filter.h"
#include "run/run.h"

/* An object that holds the block: as a pointer of a tree names it, or as its own header says. */
struct owner {
  struct wodan_inspect *inspect;
  uint64_t block;
  bool found;
  uint8_t type;         /* enum object_type */
  const char *where;    /* what names it */
  struct block_ptr ptr; /* checksum 0 with header's own word */
};

/* One call of wodan_inspect_block. */
struct look {
  struct wodan_inspect *inspect;
  int (*field)(void *context, const struct wodan_field *field);
  void *context;
  uint64_t block; /* asked for */
  /* where the structure being shown lies */
  const uint8_t *bytes;
  uint64_t offset; /* on the device, or with extents in the object */
  bool unpacked;   /* bytes are what a compressed page became: they have no place of their own */
  const struct extent *extents;
  uint32_t extent_count; /* 0: not in an object */
  uint64_t generation;
  /* the object that holds the block */
  struct owner *owner;
  struct object_header header;
  uint8_t *header_bytes;
  bool usable; /* the header proves, and is the one that its tree names */
};

static uint64_t device_offset(const struct look *look, uint64_t offset) {
  uint64_t size = look->inspect->superblock.block_size;
  if (!look->extent_count) return offset;
  uint64_t block = block_io_locate(&look->inspect->io, look->extents, look->extent_count, offset);
  return block == WODAN_NO_BLOCK ? 0 : block * size + offset % size;
}

static int hand_on(void *context, const struct text_field *field) {
  const struct look *look = context;
  uint64_t size = look->unpacked ? 0 : field->size;
  struct wodan_field told = {.offset = device_offset(look, look->offset + (look->unpacked ? 0 : field->offset)),
                             .size = size < UINT32_MAX ? (uint32_t)size : UINT32_MAX,
                             .depth = field->depth,
                             .bytes = size ? look->bytes + field->offset : NULL,
                             .name = field->name,
                             .text = field->text,
                             .problem = field->problem};
  return look->field(look->context, &told);
}

static struct text_sink sink_of(struct look *look, uint32_t depth) {
  return (struct text_sink){.context = look, .field = hand_on, .depth = depth};
}

/* A line of its own, in front of a structure. */
static int heading(struct look *look, uint32_t depth, const char *name, const char *text) {
  struct text_sink sink = sink_of(look, depth);
  text_put(&sink, 0, 0, NULL, name, "%s", text);
  return sink.status;
}

static struct text_volume volume_of(const struct wodan_inspect *inspect) {
  return (struct text_volume){.seed = inspect->io.seed, .fsid = inspect->superblock.fsid, .bounds = inspect->io.bounds};
}

/* The structure is shown: its first problem is damage. */
static int shown(const struct look *look, const struct text_sink *sink, const char *what) {
  uint64_t block = device_offset(look, look->offset) / look->inspect->superblock.block_size;
  if (sink->problems) inspect_damage(look->inspect, block, look->generation, "%s: %s", what, sink->problem);
  return sink->status;
}

/* A read that failed: told, and shown as a heading. */
static int unreadable(struct look *look, uint64_t block, const char *what, const struct wodan_error *failure,
                      struct wodan_error *error) {
  if (inspect_failed(look->inspect, failure, block, look->generation) < 0) return status_nomem(error);
  const struct wodan_field field = {.depth = 0, .name = what, .text = "cannot be read", .problem = failure->message};
  return look->field(look->context, &field);
}

/* ---- superblock and ring ---------------------------------------------------------------------------------------- */

/* Whole blocks or journal blocks from the device into fresh memory. */
static int read_plain(struct look *look, uint64_t offset, uint32_t size, uint8_t **bytes, struct wodan_error *failure) {
  *bytes = mem_alloc_aligned(&look->inspect->mem, size, BLOCK_IO_ALIGNMENT);
  if (!*bytes) return status_nomem(failure);
  int status = device_read(&look->inspect->device, offset, *bytes, size, failure);
  if (status < 0) status = device_read(&look->inspect->device, offset, *bytes, size, failure);
  if (status == 0) return 0;
  mem_free(&look->inspect->mem, *bytes, size);
  *bytes = NULL;
  return status;
}

static int show_superblock(struct look *look, struct wodan_error *error) {
  uint32_t size = look->inspect->superblock.block_size;
  uint64_t offset = look->block * size, within = look->block ? size - SUPERBLOCK_SIZE : 0;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  uint8_t *bytes;
  if (read_plain(look, offset, size, &bytes, &failure) < 0)
    return unreadable(look, look->block, "superblock", &failure, error);
  look->bytes = bytes + within;
  look->offset = offset + within;
  int status = heading(look, 0, "superblock", look->block ? "its copy at the end of the volume" : "");
  struct text_sink sink = sink_of(look, 1);
  sink.status = status;
  superblock_to_text(&sink, bytes + within);
  status = shown(look, &sink, "superblock");
  mem_free(&look->inspect->mem, bytes, size);
  return status;
}

static int show_journal_block(struct look *look, uint64_t position, struct wodan_error *error) {
  const struct superblock *sb = &look->inspect->superblock;
  uint64_t offset = sb->block_size + position * sb->journal_block_size;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  const struct text_volume volume = volume_of(look->inspect);
  uint8_t *bytes;
  char text[60];
  if (read_plain(look, offset, sb->journal_block_size, &bytes, &failure) < 0)
    return unreadable(look, look->block, "journal block", &failure, error);
  look->bytes = bytes;
  look->offset = offset;
  snprintf(text, sizeof text, "at position %" PRIu64 " of the ring", position);
  struct text_sink sink = sink_of(look, 1);
  sink.status = heading(look, 0, "journal block", text);
  journal_block_to_text(&sink, bytes, sb->journal_block_size, &volume);
  int status = shown(look, &sink, "journal block");
  mem_free(&look->inspect->mem, bytes, sb->journal_block_size);
  return status;
}

static int show_ring(struct look *look, struct wodan_error *error) {
  const struct superblock *sb = &look->inspect->superblock;
  uint64_t from = (look->block - 1) * sb->block_size, end = from + sb->block_size;
  int status = 0;
  for (uint64_t p = from / sb->journal_block_size; p * sb->journal_block_size < end && status == 0; p++)
    status = show_journal_block(look, p, error);
  return status;
}

/* ---- who owns a block ------------------------------------------------------------------------------------------- */

static bool covers(const struct extent *extents, uint32_t count, uint64_t block) {
  for (uint32_t i = 0; i < count; i++)
    if (block >= extents[i].first && block - extents[i].first < extents[i].count) return true;
  return false;
}

static int match_pointer(struct owner *owner, const struct block_ptr *ptr, uint8_t type) {
  if (!covers(ptr->extents, ptr->extent_count, owner->block)) return 0;
  owner->found = true;
  owner->type = type;
  owner->ptr = *ptr;
  return 1;
}

static int match_listed(void *context, const struct block_ptr *ptr, struct wodan_error *error) {
  (void)error;
  return match_pointer(context, ptr, OBJECT_BLOB);
}

/* An object, or a large value that it lists. */
static int match(void *context, const struct wodan_object *object, const struct block_ptr *ptr) {
  struct owner *owner = context;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  bool node = object->kind == WODAN_OBJECT_NODE;
  if (match_pointer(owner, ptr, node ? OBJECT_NODE : OBJECT_RUN)) return 1;
  if (node || !object->large) return 0;
  int status = run_read_blobs(&owner->inspect->io, ptr, object->large, match_listed, owner, &failure);
  return status < 0 ? inspect_failed(owner->inspect, &failure, object->block, object->generation) : status;
}

/* A large value that only the journal names. */
static int match_named(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  struct owner *owner = context;
  struct blob_ref ref;
  (void)block, (void)error;
  bool large = record->kind == RECORD_BLOB &&
               blob_ref_decode(record->value.data, record->value.size, &owner->inspect->io.bounds, &ref);
  return large ? match_pointer(owner, &ref.ptr, OBJECT_BLOB) : 0;
}

static void match_header(const struct object_header *header, uint64_t block, struct owner *owner) {
  if (header->extents[0].first != block || !covers(header->extents, header->extent_count, owner->block)) return;
  if (owner->found && owner->ptr.generation > header->generation) return;
  owner->found = true;
  owner->type = header->type;
  owner->ptr = (struct block_ptr){.generation = header->generation,
                                  .checksum = header->checksum,
                                  .length = header->length,
                                  .header_length = header->header_length,
                                  .extent_count = header->extent_count};
  memcpy(owner->ptr.extents, header->extents, sizeof header->extents);
}

enum { SCAN_BYTES = 1 << 21 }; /* a header is at most half of it */

/* Every header in the data area. A window of blocks; of the next one only the first half is new. */
static int scan_headers(struct wodan_inspect *inspect, struct owner *owner, struct wodan_error *error) {
  uint64_t size = inspect->superblock.block_size, first = inspect->io.bounds.data_first;
  uint64_t end = inspect->io.bounds.data_end, window = SCAN_BYTES / size, step = window / 2;
  if (end > inspect->device_blocks) end = inspect->device_blocks;
  if (end <= first) return 0;
  uint64_t budget = 2 * (end - first) * size; /* of header bytes: honest ones do not overlap */
  if (end - first < window) step = window = end - first;
  uint8_t *bytes = mem_alloc_aligned(&inspect->mem, (size_t)(window * size), BLOCK_IO_ALIGNMENT);
  if (!bytes) return status_nomem(error);
  for (; first < end; first += step) {
    uint64_t count = end - first < window ? end - first : window;
    if (device_read(&inspect->device, first * size, bytes, (size_t)(count * size), NULL) < 0) continue;
    for (uint64_t i = 0; i < count && i < step; i++) {
      struct object_header header;
      const uint8_t *at = bytes + i * size;
      uint64_t length = object_header_peek_length(at, (size_t)size);
      if (!object_header_peek_type(at, (size_t)size)) continue;
      if (length > budget) continue; /* guard: bounds; equivalent: only bounds the work that lying headers make */
      budget -= length;
      if (object_header_decode(at, (size_t)((count - i) * size), inspect->io.seed, inspect->io.fsid,
                               &inspect->io.bounds, &header))
        match_header(&header, first + i, owner);
    }
  }
  mem_free(&inspect->mem, bytes, (size_t)(window * size));
  return 0;
}

static int find_owner(struct wodan_inspect *inspect, uint64_t block, struct owner *owner, struct wodan_error *error) {
  static const char *const WHERE[] = {"of the newest tree", "of the previous tree only"};
  static const char *const NAMED[] = {"that the journal names", "that the journal behind the previous tree names"};
  *owner = (struct owner){.inspect = inspect, .block = block};
  /* Damage on the way is told: what lies behind it may well own the block. */
  const struct inspect_walk walk = {.inspect = inspect, .object = match, .context = owner, .tell_damage = true};
  uint64_t damages = inspect->damages;
  for (uint32_t which = WODAN_NEWEST_ROOT; which <= WODAN_OLDER_ROOT; which++) {
    bool whole = inspect->damages == damages;
    int status = inspect_walk(&walk, which, error);
    if (status < 0) return status;
    owner->where = whole ? WHERE[which] : "of the previous tree; the newest cannot be read whole";
    if (owner->found) return 0;
    struct wodan_error failure; /* of the journal: was told at open */
    if (inspect_replay(inspect, which, match_named, owner, &failure) == WODAN_ENOMEM) return status_nomem(error);
    owner->where = NAMED[which];
    if (owner->found) return 0;
  }
  owner->where = inspect->damages == damages ? "of no tree any more" : "of no tree that can be read";
  inspect_root(inspect, WODAN_NEWEST_ROOT);
  return scan_headers(inspect, owner, error);
}

/* ---- objects ---------------------------------------------------------------------------------------------------- */

static const char *const TYPES[] = {[OBJECT_RUN] = "run", [OBJECT_NODE] = "node", [OBJECT_BLOB] = "large value"};

/* look->header_bytes, and look->header when it is usable. Its fields are shown with `all`, or when it is not. */
static int show_header(struct look *look, bool all, struct wodan_error *error) {
  struct wodan_inspect *inspect = look->inspect;
  const struct owner *owner = look->owner;
  const struct block_ptr *ptr = &owner->ptr;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  const struct text_volume volume = volume_of(inspect);
  char text[160];
  uint8_t *bytes = look->header_bytes = mem_alloc_aligned(&inspect->mem, ptr->header_length, 16);
  if (!bytes) return status_nomem(error);
  if (block_io_read(&inspect->io, ptr->extents, ptr->extent_count, 0, bytes, ptr->header_length, &failure) < 0)
    return unreadable(look, ptr->extents[0].first, "header", &failure, error);
  look->bytes = bytes;
  look->offset = 0;
  snprintf(text, sizeof text, "at block %" PRIu64 ", generation %" PRIu64 ", %s", ptr->extents[0].first,
           ptr->generation, owner->where);
  struct text_sink sink = sink_of(look, 1);
  sink.status = heading(look, 0, TYPES[owner->type], text);
  bool decodes = object_header_decode(bytes, ptr->header_length, inspect->io.seed, inspect->io.fsid,
                                      &inspect->io.bounds, &look->header);
  look->usable = decodes && look->header.checksum == ptr->checksum; /* guard: checksum */
  if (decodes && !look->usable)
    text_put(&sink, 0, 8, "it is intact but not the one that its tree names", "checksum", "the tree says 0x%016" PRIx64,
             ptr->checksum);
  if (all || !look->usable) object_header_to_text(&sink, bytes, ptr->header_length, &volume);
  return shown(look, &sink, TYPES[owner->type]);
}

/* A section, read and proven; NULL in *bytes: it could not be, which is shown. */
static int read_section(struct look *look, const struct section *section, const char *name, uint8_t **bytes,
                        struct wodan_error *error) {
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  *bytes = NULL;
  if (block_io_read_section(&look->inspect->io, &look->owner->ptr, section, bytes, &failure) < 0)
    return unreadable(look, look->owner->ptr.extents[0].first, name, &failure, error);
  look->bytes = *bytes;
  look->offset = section->offset;
  return 0;
}

static void section_to_text(const struct look *look, struct text_sink *sink, const struct section *section,
                            const uint8_t *bytes) {
  const struct text_volume volume = volume_of(look->inspect);
  const struct range_limits limits = {look->inspect->superblock.page_size / 8 + TABLE_ID_SIZE,
                                      look->header.sequence_max};
  size_t size = (size_t)section->length;
  switch (section->tag) {
  case SECTION_INDEX:
    page_to_text(sink, bytes, size, TEXT_INDEX, &volume);
    break;
  case SECTION_BLOBS:
    blob_list_to_text(sink, bytes, size, &volume);
    break;
  case SECTION_RANGE_TOMBSTONES:
    range_section_to_text(sink, bytes, size, &limits);
    break;
  case SECTION_RUNS:
    run_list_to_text(sink, bytes, size, &volume);
    break;
  case SECTION_CHUNK_TABLE:
    chunk_table_to_text(sink, bytes, size);
    break;
  default: /* leaves or children */
    page_to_text(sink, bytes, size, TEXT_BRANCHES, &volume);
  }
}

static int show_section(struct look *look, const struct section *section, const char *name, struct wodan_error *error) {
  uint8_t *bytes;
  int status = read_section(look, section, name, &bytes, error);
  if (status || !bytes) return status;
  struct text_sink sink = sink_of(look, 2);
  sink.status = heading(look, 1, name, "");
  section_to_text(look, &sink, section, bytes);
  status = shown(look, &sink, name);
  mem_free(&look->inspect->mem, bytes, (size_t)section->length);
  return status;
}

static int show_filter(struct look *look, const struct section *section, struct wodan_error *error) {
  uint8_t *bytes;
  int status = read_section(look, section, "filter", &bytes, error);
  if (status || !bytes) return status;
  uint64_t set = 0;
  for (uint64_t i = 0; i < section->length; i++) set += (uint64_t)__builtin_popcount(bytes[i]);
  struct text_sink sink = sink_of(look, 1);
  text_put(&sink, 0, (size_t)section->length, section->length % FILTER_LINE_SIZE ? "not whole lines" : NULL, "filter",
           "%" PRIu64 " lines of %d bytes, %.1f %% of the bits are set", section->length / FILTER_LINE_SIZE,
           FILTER_LINE_SIZE, section->length ? 12.5 * (double)set / (double)section->length : 0);
  status = shown(look, &sink, "filter");
  mem_free(&look->inspect->mem, bytes, (size_t)section->length);
  return status;
}

static int show_node(struct look *look, struct wodan_error *error) {
  const struct object_header *header = &look->header;
  const struct section *children = object_section(header, SECTION_CHILDREN);
  const struct section *leaves = object_section(header, SECTION_LEAVES), *runs = object_section(header, SECTION_RUNS);
  int status = children ? show_section(look, children, "children", error) : 0;
  if (status == 0 && leaves) status = show_section(look, leaves, "leaves", error);
  if (status == 0 && runs) status = show_section(look, runs, "buffered runs", error);
  return status;
}

/* ---- pages ------------------------------------------------------------------------------------------------------ */

/* Whether bytes [offset, offset + length) of the object lie in the block asked for, at least in part. */
static bool in_block(const struct look *look, uint64_t offset, uint64_t length) {
  uint64_t size = look->inspect->superblock.block_size, at = 0;
  for (uint32_t e = 0; e < look->extent_count; e++) {
    const struct extent *extent = &look->extents[e];
    if (look->block >= extent->first && look->block - extent->first < extent->count) {
      uint64_t from = at + (look->block - extent->first) * size;
      return offset < from + size && offset + length > from;
    }
    at += extent->count * size;
  }
  return false;
}

/* A page's fields, from its stored bytes. */
static int page_fields(struct look *look, const struct index_entry *entry, struct text_sink *sink) {
  struct wodan_inspect *inspect = look->inspect;
  const struct text_volume volume = volume_of(inspect);
  const uint8_t *stored = look->bytes;
  if (entry->length == entry->size) {
    page_to_text(sink, stored, entry->size, TEXT_RECORDS, &volume);
    return 0;
  }
  uint8_t *page = mem_alloc(&inspect->mem, entry->size);
  if (!page) return WODAN_ENOMEM;
  bool whole = compress_unpack(stored, entry->length, page, entry->size);
  text_put(sink, 0, entry->length, whole ? NULL : "it does not unpack to that size", "stored",
           "%" PRIu32 " bytes, LZ4, of %" PRIu32, entry->length, entry->size);
  look->bytes = page;
  look->unpacked = true;
  if (whole) page_to_text(sink, page, entry->size, TEXT_RECORDS, &volume);
  look->unpacked = false;
  look->bytes = stored;
  mem_free(&inspect->mem, page, entry->size);
  return 0;
}

static int show_page(struct look *look, const struct index_entry *entry, bool proven, uint32_t number,
                     struct wodan_error *error) {
  struct wodan_inspect *inspect = look->inspect;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  char text[120];
  uint8_t *bytes = mem_alloc(&inspect->mem, entry->length);
  if (!bytes) return status_nomem(error);
  int status = block_io_read(&inspect->io, look->owner->ptr.extents, look->owner->ptr.extent_count, entry->offset,
                             bytes, entry->length, &failure);
  look->bytes = bytes;
  look->offset = entry->offset;
  if (status < 0) {
    status = unreadable(look, look->block, "page", &failure, error);
  } else {
    struct text_sink sink = sink_of(look, 1);
    bool right = !proven || checksum(inspect->io.seed, bytes, entry->length) == entry->checksum; /* guard: checksum */
    snprintf(text, sizeof text, "%" PRIu32 ", bytes %" PRIu64 " to %" PRIu64 " of the object%s", number, entry->offset,
             entry->offset + entry->length, proven ? "" : ", found without the index");
    text_put(&sink, 0, 0, right ? NULL : "its checksum is not the index's", "page", "%s", text);
    sink.depth++;
    status = page_fields(look, entry, &sink);
    status = status < 0 ? status_nomem(error) : shown(look, &sink, "page");
  }
  mem_free(&inspect->mem, bytes, entry->length);
  return status;
}

static bool entry_fits(const struct look *look, const struct section *pages, const struct index_entry *entry) {
  return entry->offset >= pages->offset && entry->size >= PAGE_HEADER_SIZE &&
         entry->size <= look->inspect->superblock.page_size && entry->offset <= pages->offset + pages->length &&
         entry->length <= pages->offset + pages->length - entry->offset; /* guard: bounds */
}

/* The pages by the index. */
static int show_indexed(struct look *look, const struct section *pages, const uint8_t *index,
                        struct wodan_error *error) {
  struct page page = page_view(index);
  int status = 0;
  for (uint32_t i = 0; i < page.count && status == 0; i++) {
    struct page_record record = page_record(&page, i);
    struct index_entry entry;
    if (!index_entry_decode(record.value.data, record.value.size, &entry) || !entry_fits(look, pages, &entry)) continue;
    if (in_block(look, entry.offset, entry.length)) status = show_page(look, &entry, true, i, error);
  }
  return status;
}

/* The pages by their own sizes, as they lie one behind the other: up to the first compressed one, which tells none. */
static int show_chained(struct look *look, const struct section *pages, struct wodan_error *error) {
  struct wodan_inspect *inspect = look->inspect;
  struct index_entry entry = {.offset = pages->offset};
  int status = 0;
  for (uint32_t i = 0; status == 0; i++) {
    uint8_t head[4];
    if (pages->offset + pages->length - entry.offset < PAGE_HEADER_SIZE) break;
    if (block_io_read(&inspect->io, look->owner->ptr.extents, look->owner->ptr.extent_count, entry.offset, head,
                      sizeof head, NULL) < 0)
      break;
    entry.length = entry.size = load_u32(head);
    if (!entry_fits(look, pages, &entry)) break;
    if (in_block(look, entry.offset, entry.length)) status = show_page(look, &entry, false, i, error);
    entry.offset += entry.length;
  }
  return status;
}

static int show_run(struct look *look, struct wodan_error *error) {
  const struct object_header *header = &look->header;
  const struct section *pages = object_section(header, SECTION_PAGES), *index = object_section(header, SECTION_INDEX);
  const struct section *filter = object_section(header, SECTION_FILTER);
  const struct section *ranges = object_section(header, SECTION_RANGE_TOMBSTONES);
  const struct section *blobs = object_section(header, SECTION_BLOBS);
  uint8_t *bytes = NULL;
  int status = 0;
  if (index) status = read_section(look, index, "index", &bytes, error);
  bool valid = bytes && page_validate(bytes, (size_t)index->length);
  if (status == 0 && pages && valid) status = show_indexed(look, pages, bytes, error);
  if (status == 0 && pages && !valid) status = show_chained(look, pages, error);
  if (bytes) mem_free(&look->inspect->mem, bytes, (size_t)index->length);
  if (status == 0 && bytes && in_block(look, index->offset, index->length))
    status = show_section(look, index, "index", error);
  if (status == 0 && filter && in_block(look, filter->offset, filter->length))
    status = show_filter(look, filter, error);
  if (status == 0 && blobs && in_block(look, blobs->offset, blobs->length))
    status = show_section(look, blobs, "large values", error);
  if (status == 0 && ranges && in_block(look, ranges->offset, ranges->length))
    status = show_section(look, ranges, "range deletes", error);
  return status;
}

/* ---- large values ------------------------------------------------------------------------------------------------ */

/* A chunk: where it stands, what it is of the value, and how that begins. */
struct chunk_place {
  struct blob_chunk chunk;
  uint64_t number, offset, at; /* in the object, in the value */
  size_t raw;
};

static void chunk_fields(struct look *look, struct text_sink *sink, const struct chunk_place *place, uint8_t *raw) {
  const uint8_t *stored = look->bytes;
  const char *fault = blob_chunk_take(look->inspect->io.seed, &place->chunk, place->raw, stored, raw);
  char text[160];
  bool packed = place->chunk.length < place->raw;
  text_put(sink, 0, place->chunk.length, fault, "chunk",
           "%" PRIu64 ", bytes %" PRIu64 " to %" PRIu64 " of the value%s, checksum 0x%016" PRIx64 "%s", place->number,
           place->at, place->at + place->raw, packed ? ", LZ4" : "", place->chunk.checksum, fault ? "" : ", right");
  sink->depth++;
  if (!fault) text_put(sink, 0, 0, NULL, "begins", "%s", text_bytes(text, 80, raw, place->raw));
  sink->depth--;
}

static int show_chunk(struct look *look, const struct chunk_place *place, struct wodan_error *error) {
  struct wodan_inspect *inspect = look->inspect;
  const struct block_ptr *ptr = &look->owner->ptr;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  uint8_t *stored = mem_alloc(&inspect->mem, place->chunk.length), *raw = mem_alloc(&inspect->mem, place->raw);
  int status = stored && raw ? 0 : WODAN_ENOMEM;
  if (status == 0)
    status = block_io_read(&inspect->io, ptr->extents, ptr->extent_count, place->offset, stored, place->chunk.length,
                           &failure);
  look->bytes = stored;
  look->offset = place->offset;
  if (!stored || !raw) {
    status = status_nomem(error);
  } else if (status < 0) {
    status = unreadable(look, look->block, "chunk", &failure, error);
  } else {
    struct text_sink sink = sink_of(look, 1);
    chunk_fields(look, &sink, place, raw);
    status = shown(look, &sink, "large value");
  }
  mem_free(&inspect->mem, stored, place->chunk.length);
  mem_free(&inspect->mem, raw, place->raw);
  return status;
}

/* The chunks in the block, by a table that was proven. */
static int show_chunks(struct look *look, const uint8_t *table, size_t size, struct wodan_error *error) {
  const struct object_header *header = &look->header;
  uint64_t most = (uint64_t)BLOB_CHUNK_PAGES * look->inspect->superblock.page_size;
  struct wire_reader r = wire_reader(table, size);
  struct chunk_place place = {.offset = header->sections[0].offset};
  int status = 0;
  for (; place.at < header->record_count && status == 0; place.number++) {
    uint64_t left = header->record_count - place.at;
    place.raw = (size_t)(left < most ? left : most);
    blob_chunk_decode(&r, place.raw, &place.chunk);
    if (in_block(look, place.offset, place.chunk.length)) status = show_chunk(look, &place, error);
    place.offset += place.chunk.length;
    place.at += place.raw;
  }
  return status;
}

static int show_large(struct look *look, struct wodan_error *error) {
  const struct object_header *header = &look->header;
  const struct blob_ref ref = {header->record_count, look->owner->ptr};
  const char *fault = blob_header_fault(header, &ref, header->low, look->inspect->superblock.page_size);
  uint8_t *bytes = NULL;
  if (fault) { /* guard: bounds */
    struct text_sink sink = sink_of(look, 1);
    text_put(&sink, 0, 0, fault, "large value", "%s", "its chunks are not looked at");
    return shown(look, &sink, "large value");
  }
  const struct section *table = &header->sections[1];
  char key[80], text[140];
  text_bytes(key, sizeof key, inspect_user_key(header->low).data, inspect_user_key(header->low).size);
  snprintf(text, sizeof text, "%s, a value of %" PRIu64 " bytes", key, header->record_count);
  int status = heading(look, 1, "of the key", text);
  if (status == 0) status = read_section(look, table, "table of chunks", &bytes, error);
  if (status || !bytes) return status;
  size_t size = (size_t)table->length;
  bool sound = !blob_table_fault(bytes, size, header, look->inspect->superblock.page_size); /* guard: bounds */
  if (sound) status = show_chunks(look, bytes, size, error);
  mem_free(&look->inspect->mem, bytes, size);
  if (status == 0 && (!sound || in_block(look, table->offset, table->length)))
    status = show_section(look, table, "table of chunks", error);
  return status;
}

/* ---- the block -------------------------------------------------------------------------------------------------- */

static int show_object(struct look *look, struct owner *owner, uint32_t view, struct wodan_error *error) {
  bool starts = owner->ptr.extents[0].first == look->block;
  look->owner = owner;
  look->extents = owner->ptr.extents;
  look->extent_count = owner->ptr.extent_count;
  look->generation = owner->ptr.generation;
  int status = show_header(look, owner->type == OBJECT_NODE || (starts && view == WODAN_VIEW_ANY), error);
  if (status == 0 && look->usable)
    status = owner->type == OBJECT_NODE  ? show_node(look, error)
             : owner->type == OBJECT_RUN ? show_run(look, error)
                                         : show_large(look, error);
  mem_free(&look->inspect->mem, look->header_bytes, owner->ptr.header_length);
  return status;
}

/* A header that starts the block but does not prove, so that nothing says how it goes on. */
static int show_remains(struct look *look, uint32_t view, struct wodan_error *error) {
  struct wodan_inspect *inspect = look->inspect;
  uint32_t size = inspect->superblock.block_size;
  const struct text_volume volume = volume_of(inspect);
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  uint8_t *bytes;
  if (read_plain(look, look->block * size, size, &bytes, &failure) < 0)
    return unreadable(look, look->block, "block", &failure, error);
  uint8_t type = object_header_peek_type(bytes, size);
  int status = WODAN_ENOTFOUND;
  if (type == OBJECT_NODE || (type && view != WODAN_VIEW_NODE)) {
    look->bytes = bytes;
    look->offset = look->block * size;
    struct text_sink sink = sink_of(look, 1);
    sink.status = heading(look, 0, TYPES[type], "a header that does not prove itself, of no tree");
    object_header_to_text(&sink, bytes, size, &volume);
    status = shown(look, &sink, TYPES[type]);
  }
  mem_free(&inspect->mem, bytes, size);
  return status == WODAN_ENOTFOUND ? status_set(error, WODAN_ENOTFOUND, 0, look->block,
                                                "block %" PRIu64 " is free and holds nothing known", look->block)
                                   : status;
}

static int wrong_kind(const struct look *look, const char *what, struct wodan_error *error) {
  return status_set(error, WODAN_ENOTFOUND, 0, look->block, "block %" PRIu64 " is part of %s", look->block, what);
}

static int show_data(struct look *look, uint32_t view, struct wodan_error *error) {
  struct owner owner;
  char text[100];
  int status = find_owner(look->inspect, look->block, &owner, error);
  if (status < 0) return status;
  if (!owner.found) return show_remains(look, view, error);
  if (view == (owner.type == OBJECT_NODE ? WODAN_VIEW_PAGE : WODAN_VIEW_NODE)) {
    snprintf(text, sizeof text, "a %s %s, at block %" PRIu64,
             owner.type == OBJECT_RUN ? "run or leaf" : TYPES[owner.type], owner.where, owner.ptr.extents[0].first);
    return wrong_kind(look, text, error);
  }
  return show_object(look, &owner, view, error);
}

int wodan_inspect_block(struct wodan_inspect *inspect, uint64_t block, uint32_t view,
                        int (*field)(void *, const struct wodan_field *), void *context, struct wodan_error *error) {
  struct wodan_error unheard;
  if (!error) error = &unheard;
  *error = (struct wodan_error){.block = WODAN_NO_BLOCK};
  if (!inspect || !field || view > WODAN_VIEW_PAGE)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "wodan_inspect_block: an argument is missing or unknown");
  if (block >= inspect->volume_blocks || block >= inspect->device_blocks)
    return status_set(error, WODAN_EINVAL, 0, block, "there is no block %" PRIu64 ": the volume has %" PRIu64, block,
                      inspect->volume_blocks);
  struct look look = {.inspect = inspect, .field = field, .context = context, .block = block};
  bool superblock = block == 0 || block == inspect->volume_blocks - 1;
  inspect_root(inspect, WODAN_NEWEST_ROOT);
  if (!superblock && block >= inspect->io.bounds.data_first) return show_data(&look, view, error);
  if (view != WODAN_VIEW_ANY) return wrong_kind(&look, superblock ? "a superblock" : "the journal", error);
  return superblock ? show_superblock(&look, error) : show_ring(&look, error);
}
