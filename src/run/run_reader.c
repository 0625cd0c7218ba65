/* Owns: the way to a run's header, index and pages when any of them may be damaged.
 *
 * Always true: a page is called good only when its bytes have the checksum of its index entry and are a valid page; nothing
 * is allocated by a length that was not proven.
 *
 * Order: open, index, then pages in any order.
 *
 * See: tests/unit/test_check_findings.c, test_repair.c. */
#include "run/run_reader.h"

#include <string.h>
#include "format/record.h"

enum { ATTEMPTS = 2 };

int run_reader_open(struct run_reader *reader, struct block_io *io, uint32_t page_size, const struct block_ptr *ptr,
                    struct wodan_error *error) {
  *reader = (struct run_reader){.io = io, .page_size = page_size, .ptr = *ptr};
  int status = block_io_read_header(io, &reader->ptr, OBJECT_RUN, &reader->header, &reader->header_bytes, error);
  if (status < 0) return status;
  const struct section *pages = object_section(&reader->header, SECTION_PAGES);
  if (object_section(&reader->header, SECTION_INDEX)) reader->pages = pages;
  reader->deleted = object_section(&reader->header, SECTION_RANGE_TOMBSTONES);
  return 0;
}

int run_reader_ranges(struct run_reader *reader, const char **fault, struct wodan_error *error) {
  struct range_limits limits = {reader->page_size / 8 + TABLE_ID_SIZE, reader->header.sequence_max};
  uint8_t *bytes = NULL;
  uint64_t count;
  int status = block_io_read_section(reader->io, &reader->ptr, reader->deleted, &bytes, error);
  if (status < 0) return status;
  size_t size = (size_t)reader->deleted->length;
  *fault = range_section_fault(bytes, size, &limits, &count);
  if (!*fault) reader->ranges = range_list_create(reader->io->mem, bytes, size);
  if (!*fault && !reader->ranges) status = status_nomem(error);
  mem_free(reader->io->mem, bytes, size);
  return status;
}

int run_reader_index(struct run_reader *reader, bool *valid, struct wodan_error *error) {
  const struct section *index = object_section(&reader->header, SECTION_INDEX);
  *valid = false;
  int status = block_io_read_section(reader->io, &reader->ptr, index, &reader->index_bytes, error);
  if (status < 0) return status;
  reader->index_size = (size_t)index->length;
  *valid = page_validate(reader->index_bytes, reader->index_size);
  if (*valid) reader->index = page_view(reader->index_bytes);
  return 0;
}

void run_reader_release(struct run_reader *reader) {
  struct mem *mem = reader->io->mem;
  if (reader->header_bytes) mem_free(mem, reader->header_bytes, reader->ptr.header_length);
  if (reader->index_bytes) mem_free(mem, reader->index_bytes, reader->index_size);
  if (reader->stored) mem_free(mem, reader->stored, reader->page_size);
  range_list_free(mem, reader->ranges);
  reader->ranges = NULL;
  reader->header_bytes = reader->index_bytes = reader->stored = NULL;
}

bool run_reader_entry(const struct run_reader *reader, uint32_t at, struct index_entry *entry) {
  const struct section *pages = reader->pages;
  struct page_record record = page_record(&reader->index, at);
  return record.kind == RECORD_PUT && record.sequence == 0 &&
         index_entry_decode(record.value.data, record.value.size, entry) && entry->size <= reader->page_size &&
         entry->length <= pages->length && entry->offset - pages->offset <= pages->length - entry->length;
  /* guard: bounds */
}

bool run_reader_next_entry(const struct run_reader *reader, uint32_t at, uint64_t offset, struct index_entry *entry) {
  return run_reader_entry(reader, at, entry) && entry->offset == offset; /* guard: bounds */
}

bool run_reader_packed(const struct run_reader *reader) {
  struct index_entry entry;
  for (uint32_t i = 0; i < reader->index.count; i++)
    if (run_reader_entry(reader, i, &entry) && stored_page_packed(&entry)) return true;
  return false;
}

/* Where what is stored of the page is read to; NULL: no memory. */
static uint8_t *place_of_stored(struct run_reader *reader, const struct index_entry *entry, uint8_t *bytes) {
  if (!stored_page_packed(entry)) return bytes;
  if (!reader->stored) reader->stored = mem_alloc(reader->io->mem, reader->page_size);
  return reader->stored;
}

enum run_page_state run_reader_page(struct run_reader *reader, const struct index_entry *entry, uint8_t *bytes,
                                    struct wodan_error *error) {
  const struct block_ptr *ptr = &reader->ptr;
  enum run_page_state state = RUN_PAGE_UNREADABLE;
  uint8_t *stored = place_of_stored(reader, entry, bytes);
  if (!stored) {
    status_nomem(error);
    return state;
  }
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt) block_io_doubt(reader->io);
    int status =
        block_io_read(reader->io, ptr->extents, ptr->extent_count, entry->offset, stored, entry->length, error);
    state = RUN_PAGE_UNREADABLE;
    if (status == WODAN_ENOMEM) break;
    if (status < 0) continue;
    enum stored_page page = stored_page_take(reader->io->seed, entry, stored, bytes);
    if (page == STORED_PAGE_GOOD) return RUN_PAGE_GOOD;
    state = page == STORED_PAGE_CHECKSUM ? RUN_PAGE_CHECKSUM : RUN_PAGE_MALFORMED;
    if (state == RUN_PAGE_MALFORMED) break;
  }
  return state;
}
