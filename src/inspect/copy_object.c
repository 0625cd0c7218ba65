/* Owns: one node, run or leaf from its header to its last section; of a large value the header.
 *
 * Always true: every section keeps its place and length, so headers and pointers keep theirs; a section that does not prove
 * becomes zeros under a checksum that is wrong too; an object whose header does not prove keeps no more than the
 * fixed part of it, in which there are no keys.
 *
 * Order: pages, then filter and index, whose contents follow from them; the header last, which has the sections' checksums.
 *
 * See: copy_private.h, copy_large.c; format/object_header.h, format/node_header.h. */
#include <assert.h>
#include <string.h>
#include "base/wire.h"
#include "codec/checksum.h"
#include "codec/stretch.h"
#include "format/range.h"
#include "inspect/copy_private.h"
#include "run/filter.h"
#include "run/run_reader.h"

enum { HEADER_FIXED = 80 };

int copy_bytes(const struct object_copy *object, uint64_t offset, const uint8_t *bytes, size_t size) {
  struct copy *copy = object->copy;
  const struct block_ptr *ptr = object->ptr;
  const struct block_io *io = &copy->inspect->io;
  uint32_t unit = io->bounds.block_size;
  int status = 0;
  while (size && status == 0) {
    uint64_t block = block_io_locate(io, ptr->extents, ptr->extent_count, offset);
    size_t part = unit - (size_t)(offset % unit);
    if (part > size) part = size;
    status = copy_write(copy, block * unit + offset % unit, bytes, part);
    offset += part;
    bytes += part;
    size -= part;
  }
  return status;
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

/* The array of key heads follows its keys: four bytes behind the prefix as a number. */
static void set_head(uint8_t *bytes, uint32_t i, const uint8_t *suffix, size_t size) {
  uint32_t head = 0;
  for (size_t k = 0; k < 4; k++) head = head << 8 | (k < size ? suffix[k] : 0);
  store_u32(bytes + PAGE_HEADER_SIZE + 4 * (size_t)i, head);
}

/* The page's keys, collected or mapped in place. */
static void change_keys(struct copy *copy, uint8_t *bytes, const struct page *page) {
  if (!copy->scramble) return;
  struct scramble_at start = {0};
  struct wodan_slice prefix = page_prefix(page);
  copy_key(copy, &start, place_in(bytes, prefix), prefix.size);
  for (uint32_t i = 0; i < page->count; i++) {
    struct scramble_at at = start;
    struct wodan_slice suffix = page_record(page, i).suffix;
    uint8_t *place = place_in(bytes, suffix);
    copy_key(copy, &at, place, suffix.size);
    if (!copy->collecting) set_head(bytes, i, place, suffix.size);
  }
}

static uint64_t hash_of(const struct object_copy *object, const struct page *page, uint32_t i) {
  uint8_t *key = object->copy->key;
  return checksum(object->copy->inspect->io.seed, key, page_key(page, i, key));
}

/* Blanked; of a large value, which is copied first, the reference stays. */
static int change_value(struct object_copy *object, uint8_t *bytes, const struct page_record *record) {
  struct copy *copy = object->copy;
  uint8_t *value = place_in(bytes, record->value);
  struct blob_ref ref;
  bool large = record->kind == RECORD_BLOB;
  int status = 0;
  if (large && blob_ref_decode(value, record->value.size, &copy->inspect->io.bounds, &ref) &&
      ref.ptr.generation < object->ptr->generation)
    status = copy_large(copy, &ref.ptr);
  if (status || copy->collecting || record->value.size == 0) return status;
  if (large)
    copy_reference(copy, value, record->value.size);
  else
    memset(value, 0, record->value.size);
  return 0;
}

/* Keys mapped, values blanked. Those that the filter lets through go into the new one, and no others. */
static int change_page(struct object_copy *object, uint8_t *bytes, const struct page *page) {
  struct copy *copy = object->copy;
  uint64_t size = page->count / 8 + 1;
  uint8_t *kept = NULL;
  int status = 0;
  if (object->filter_lines) {
    kept = mem_zalloc(&copy->inspect->mem, size);
    if (!kept) return status_nomem(copy->error);
    for (uint32_t i = 0; i < page->count; i++)
      if (filter_may_contain(object->old_filter, object->filter_lines, hash_of(object, page, i)))
        kept[i / 8] |= (uint8_t)(1u << i % 8);
  }
  change_keys(copy, bytes, page);
  for (uint32_t i = 0; i < page->count && status == 0; i++) {
    struct page_record record = page_record(page, i);
    status = change_value(object, bytes, &record);
    if (kept && kept[i / 8] >> i % 8 & 1 && !copy->collecting)
      filter_add(object->new_filter, object->filter_lines, hash_of(object, page, i));
  }
  if (kept) mem_free(&copy->inspect->mem, kept, size);
  return status;
}

int copy_pack(struct copy *copy, const uint8_t *bytes, size_t size, uint8_t *packed, size_t length, bool *fits) {
  uint64_t most = (uint64_t)BLOB_CHUNK_PAGES * copy->inspect->superblock.page_size; /* a chunk's; a page has less */
  const uint8_t *shortest;
  if (!copy->compressor) copy->compressor = compressor_create(&copy->inspect->mem, COMPRESSION_HIGH, (size_t)most);
  if (!copy->compressor) return status_nomem(copy->error);
  size_t least = compressor_pack(copy->compressor, COMPRESSION_HIGH, bytes, size, &shortest);
  *fits = least && stretch_block(shortest, least, bytes, packed, length);
  return 0;
}

/* copy->page to its place. What is no page is so many zeros, which do not unpack either. */
static int put_page(struct object_copy *object, const struct index_entry *entry, bool good, uint64_t *sum) {
  struct copy *copy = object->copy;
  uint8_t *bytes = copy->page;
  bool fits = true;
  if (good && stored_page_packed(entry)) {
    bytes = object->reader.stored; /* a page that is packed went through it */
    int status = copy_pack(copy, copy->page, entry->size, bytes, entry->length, &fits);
    if (status < 0) return status;
  }
  copy->report->pages_left_out += !fits;
  if (!fits) return 0;
  *sum = checksum(copy->inspect->io.seed, bytes, entry->length);
  return copy_bytes(object, entry->offset, bytes, entry->length);
}

/* The page behind an entry of the index; *sum: what the entry says of it in the copy. */
static int copy_page(struct object_copy *object, const struct index_entry *entry, uint64_t *sum) {
  struct copy *copy = object->copy;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  int status = 0;
  *sum = entry->checksum ^ 1; /* what does not prove becomes zeros, which it must not prove */
  enum run_page_state state = run_reader_page(&object->reader, entry, copy->page, &failure);
  switch (state) {
  case RUN_PAGE_UNREADABLE:
    return copy_failed(copy, &failure);
  case RUN_PAGE_CHECKSUM:
    copy->report->damaged += !copy->collecting;
    return 0;
  case RUN_PAGE_MALFORMED:
    memset(copy->page, 0, entry->length); /* no page either */
    break;
  case RUN_PAGE_GOOD: {
    struct page page = page_view(copy->page);
    status = change_page(object, copy->page, &page);
    copy->report->pages += !copy->collecting;
    copy->report->records += copy->collecting ? 0 : page.count;
  }
  }
  if (status < 0 || copy->collecting) return status;
  return put_page(object, entry, state == RUN_PAGE_GOOD, sum);
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

/* All pages that the index names one behind the other, then the index's own keys. */
static int copy_pages(struct object_copy *object) {
  struct run_reader *reader = &object->reader;
  uint64_t offset = reader->pages->offset;
  int status = 0;
  for (uint32_t i = 0; i < reader->index.count && status == 0; i++) {
    struct wodan_slice value = page_record(&reader->index, i).value;
    struct index_entry entry;
    uint64_t sum;
    if (!run_reader_next_entry(reader, i, offset, &entry)) break;
    status = copy_page(object, &entry, &sum);
    store_u64(place_in(reader->index_bytes, value) + value.size - sizeof sum, sum);
    offset += entry.length;
  }
  change_keys(object->copy, reader->index_bytes, &reader->index);
  return status;
}

/* A section that does not prove becomes zeros, which its checksum must not prove. */
static int lose_section(struct object_copy *object, struct section *section, const struct wodan_error *failure) {
  section->checksum ^= 1;
  return copy_failed(object->copy, failure);
}

int copy_read_section(struct object_copy *object, struct section *section, uint8_t **bytes) {
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  *bytes = NULL;
  if (block_io_read_section(&object->copy->inspect->io, object->ptr, section, bytes, &failure) == 0) return 0;
  return lose_section(object, section, &failure);
}

int copy_put_section(struct object_copy *object, struct section *section, const uint8_t *bytes) {
  struct copy *copy = object->copy;
  if (copy->collecting) return 0;
  section->checksum = checksum(copy->inspect->io.seed, bytes, (size_t)section->length);
  return copy_bytes(object, section->offset, bytes, (size_t)section->length);
}

static struct section *section_of(struct object_copy *object, uint8_t tag) {
  for (uint32_t i = 0; i < object->reader.header.section_count; i++)
    if (object->reader.header.sections[i].tag == tag) return &object->reader.header.sections[i];
  return NULL;
}

static int copy_index(struct object_copy *object) {
  struct run_reader *reader = &object->reader;
  struct section *index = section_of(object, SECTION_INDEX);
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  bool valid;
  if (run_reader_index(reader, &valid, &failure) < 0) return lose_section(object, index, &failure);
  int status = 0;
  if (valid)
    status = copy_pages(object);
  else
    memset(reader->index_bytes, 0, reader->index_size); /* no page either */
  return status == 0 ? copy_put_section(object, index, reader->index_bytes) : status;
}

/* The keys of range deletes. What does not decode is none in the copy either. */
static void change_ranges(struct copy *copy, uint8_t *bytes, size_t size) {
  struct wire_reader r = wire_reader(bytes, size);
  struct range_delete range;
  uint64_t count = wire_get_varint(&r), i = 0;
  for (; i < count && !r.failed && range_decode(&r, &range); i++) {
    struct scramble_at from = {0}, to = {0};
    copy_key(copy, &from, place_in(bytes, range.from), range.from.size);
    copy_key(copy, &to, place_in(bytes, range.to), range.to.size);
  }
  bool good = !r.failed && i == count && r.at == size;
  if (!copy->collecting && !good) memset(bytes + r.at, 0xff, size - r.at);
}

static int copy_ranges(struct object_copy *object, struct section *section) {
  uint8_t *bytes;
  int status = copy_read_section(object, section, &bytes);
  if (status < 0 || !bytes) return status;
  change_ranges(object->copy, bytes, (size_t)section->length);
  status = copy_put_section(object, section, bytes);
  mem_free(&object->copy->inspect->mem, bytes, section->length);
  return status;
}

/* The pointers to the large values that its records name, which were copied with the pages. */
static int copy_list(struct object_copy *object, struct section *section) {
  uint8_t *bytes;
  int status = copy_read_section(object, section, &bytes);
  if (status < 0 || !bytes) return status;
  struct wire_reader r = wire_reader(bytes, (size_t)section->length);
  wire_get_varint(&r); /* how many it says; a check compares what stands behind that, too */
  size_t good = r.at;
  while (!r.failed && r.at < r.size && copy_pointer(object->copy, &r)) good = r.at;
  memset(bytes + good, 0xff, r.size - good); /* no list either */
  status = copy_put_section(object, section, bytes);
  mem_free(&object->copy->inspect->mem, bytes, section->length);
  return status;
}

/* The filter when it can be used, and room for the new one. */
static int open_filter(struct object_copy *object, struct section *filter) {
  struct copy *copy = object->copy;
  uint32_t lines = filter_lines(object->reader.header.record_count);
  if (!lines || filter->length != (uint64_t)lines * FILTER_LINE_SIZE) return 0;
  int status = copy_read_section(object, filter, &object->old_filter);
  if (!object->old_filter) return status;
  object->filter_lines = lines;
  object->new_filter = mem_zalloc(&copy->inspect->mem, filter->length);
  return object->new_filter ? 0 : status_nomem(copy->error);
}

static int copy_run(struct object_copy *object) {
  struct copy *copy = object->copy;
  struct section *filter = section_of(object, SECTION_FILTER), *ranges = section_of(object, SECTION_RANGE_TOMBSTONES);
  struct section *list = section_of(object, SECTION_BLOBS);
  const struct object_header *header = &object->reader.header;
  bool bare = ranges && header->record_count == 0;
  uint32_t known = (bare ? 0 : 2u + (filter != NULL) + (list != NULL)) + (ranges != NULL);
  if (!object->reader.pages != bare || header->section_count != known) return 0;
  int status = ranges ? copy_ranges(object, ranges) : 0;
  if (status == 0 && filter) status = open_filter(object, filter);
  if (status == 0 && !bare) status = copy_index(object);
  if (status == 0 && object->new_filter) status = copy_put_section(object, filter, object->new_filter);
  if (status == 0 && list && !copy->collecting) status = copy_list(object, list);
  if (object->old_filter) mem_free(&copy->inspect->mem, object->old_filter, filter->length);
  if (object->new_filter) mem_free(&copy->inspect->mem, object->new_filter, filter->length);
  copy->report->runs += !copy->collecting;
  return status;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

bool copy_pointer(struct copy *copy, struct wire_reader *r) {
  struct wire_reader at = *r;
  struct block_ptr ptr;
  if (!block_ptr_decode(r, &copy->inspect->io.bounds, &ptr)) return false;
  if (ptr.generation == 0) return true;
  wire_get_varint(&at); /* the generation stands before it */
  store_u64((uint8_t *)(uintptr_t)at.data + at.at, copy_pointer_sum(copy, &ptr));
  return true;
}

static void change_table(struct copy *copy, uint8_t *bytes, size_t size) {
  if (!page_validate(bytes, size)) {
    memset(bytes, 0, size); /* no page either */
    return;
  }
  struct page page = page_view(bytes);
  for (uint32_t i = 0; i < page.count && !copy->collecting; i++) {
    struct wodan_slice value = page_record(&page, i).value;
    struct wire_reader r = wire_reader(place_in(bytes, value), value.size);
    wire_get_varint(&r); /* flushed_upto */
    wire_get_varint(&r); /* blobs */
    copy_pointer(copy, &r);
  }
  change_keys(copy, bytes, &page);
}

static void change_list(struct copy *copy, uint8_t *bytes, size_t size) {
  struct wire_reader r = wire_reader(bytes, size);
  uint64_t count = wire_get_varint(&r);
  bool good = !r.failed && !copy->collecting;
  for (uint64_t i = 0; i < count && good; i++) {
    good = copy_pointer(copy, &r);
    for (int n = 0; n < 4; n++) wire_get_varint(&r); /* records, deletes, large values, range deletes */
    good = good && !r.failed;
  }
  if (!copy->collecting && (!good || r.at != size)) memset(bytes + r.at, 0xff, size - r.at); /* no list either */
}

static int copy_node(struct object_copy *object) {
  struct copy *copy = object->copy;
  int status = 0;
  for (uint32_t i = 0; i < object->reader.header.section_count && status == 0; i++) {
    struct section *section = &object->reader.header.sections[i];
    uint8_t *bytes;
    status = copy_read_section(object, section, &bytes);
    if (status < 0 || !bytes) continue;
    if (section->tag == SECTION_RUNS)
      change_list(copy, bytes, (size_t)section->length);
    else
      change_table(copy, bytes, (size_t)section->length);
    status = copy_put_section(object, section, bytes);
    mem_free(&copy->inspect->mem, bytes, section->length);
  }
  copy->report->nodes += !copy->collecting;
  return status;
}

/* ---- headers ----------------------------------------------------------------------------------------------------- */

/* A header that does not prove: its fixed part, when it looks like one of this volume. */
static int copy_remains(const struct object_copy *object) {
  struct copy *copy = object->copy;
  const struct block_ptr *ptr = object->ptr;
  const struct block_io *io = &copy->inspect->io;
  uint8_t bytes[HEADER_FIXED];
  size_t size = ptr->header_length < sizeof bytes ? ptr->header_length : sizeof bytes;
  if (copy->collecting || size < sizeof bytes) return 0;
  if (block_io_read(&copy->inspect->io, ptr->extents, ptr->extent_count, 0, bytes, size, NULL) < 0) return 0;
  bool known = object_header_peek_type(bytes, size) != 0;
  return known && memcmp(bytes + 16, io->fsid, sizeof io->fsid) == 0 ? copy_bytes(object, 0, bytes, size) : 0;
}

static int copy_header(struct object_copy *object) {
  struct copy *copy = object->copy;
  struct wodan_slice *keys[] = {&object->reader.header.low, &object->reader.header.high};
  for (size_t i = 0; i < 2; i++) {
    struct scramble_at at = {0};
    copy_key(copy, &at, place_in(object->reader.header_bytes, *keys[i]), keys[i]->size);
  }
  if (copy->collecting) return 0;
  uint32_t size = object->ptr->header_length;
  uint8_t *encoded = mem_alloc(&copy->inspect->mem, size);
  if (!encoded) return status_nomem(copy->error);
  bool fits = object_header_encode(&object->reader.header, copy->inspect->io.seed, encoded);
  assert(fits); /* nothing has another length than before */
  int status = fits ? copy_bytes(object, 0, encoded, size) : 0;
  mem_free(&copy->inspect->mem, encoded, size);
  return status;
}

int copy_object(struct copy *copy, const struct block_ptr *ptr, uint8_t type) {
  struct block_io *io = &copy->inspect->io;
  struct object_copy object = {.copy = copy, .ptr = ptr, .reader = {.io = io, .ptr = *ptr}};
  struct run_reader *reader = &object.reader;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  int status;
  if (type == OBJECT_RUN)
    status = run_reader_open(reader, io, copy->inspect->superblock.page_size, ptr, &failure);
  else
    status = block_io_read_header(io, ptr, type, &reader->header, &reader->header_bytes, &failure);
  if (status < 0) {
    status = copy_failed(copy, &failure);
    return status < 0 ? status : copy_remains(&object);
  }
  status = type == OBJECT_NODE ? copy_node(&object) : type == OBJECT_RUN ? copy_run(&object) : copy_chunks(&object);
  if (status == 0) status = copy_header(&object);
  run_reader_release(reader);
  return status;
}
