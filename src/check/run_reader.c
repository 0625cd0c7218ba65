/* Owns: the way to a run's header, index and pages when any of them may be damaged.
 *
 * Always true: a page is called good only when its bytes have the checksum of its index entry and are a valid page; nothing
 * is allocated by a length that was not proven.
 *
 * Order: open, index, then pages in any order.
 *
 * See: tests/unit/test_check_findings.c, test_repair.c. */
#include "check/run_reader.h"

#include <string.h>
#include "codec/checksum.h"
#include "format/record.h"

enum { ATTEMPTS = 2 };

int run_reader_open(struct run_reader *reader, struct block_io *io, uint32_t page_size, const struct block_ptr *ptr,
                    struct wodan_error *error) {
  *reader = (struct run_reader){.io = io, .page_size = page_size, .ptr = *ptr};
  int status = block_io_read_header(io, &reader->ptr, OBJECT_RUN, &reader->header, &reader->header_bytes, error);
  if (status < 0) return status;
  const struct section *pages = object_section(&reader->header, SECTION_PAGES);
  if (object_section(&reader->header, SECTION_INDEX)) reader->pages = pages;
  return 0;
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
  reader->header_bytes = reader->index_bytes = NULL;
}

bool run_reader_entry(const struct run_reader *reader, uint32_t at, struct index_entry *entry) {
  struct page_record record = page_record(&reader->index, at);
  uint64_t first = reader->pages->offset, end = first + reader->pages->length;
  return record.kind == RECORD_PUT && record.sequence == 0 &&
         index_entry_decode(record.value.data, record.value.size, entry) && entry->offset >= first &&
         entry->offset <= end && entry->length <= end - entry->offset && entry->length <= reader->page_size &&
         entry->length >= PAGE_HEADER_SIZE;
}

enum run_page_state run_reader_page(const struct run_reader *reader, const struct index_entry *entry, uint8_t *bytes,
                                    struct wodan_error *error) {
  const struct block_ptr *ptr = &reader->ptr;
  enum run_page_state state = RUN_PAGE_UNREADABLE;
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    int status = block_io_read(reader->io, ptr->extents, ptr->extent_count, entry->offset, bytes, entry->length, error);
    if (status == 0 && checksum(reader->io->seed, bytes, entry->length) == entry->checksum)
      return page_validate(bytes, entry->length) ? RUN_PAGE_GOOD : RUN_PAGE_MALFORMED; /* guard: checksum, passes */
    state = status == 0 ? RUN_PAGE_CHECKSUM : RUN_PAGE_UNREADABLE;
    if (status == WODAN_ENOMEM) break;
  }
  return state;
}
