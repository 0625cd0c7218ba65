/* Reading a run part by part, each proven, when parts of it may be damaged: for the check, which tells what is wrong, for
 * repair, which takes what is not, and for a copy, which is to be wrong in the same places. Unlike the readers beside it, it
 * keeps nothing and stops at nothing. */
#ifndef RUN_RUN_READER_H
#define RUN_RUN_READER_H

#include "format/range.h"
#include "format/stored_page.h"
#include "io/block_io.h"

struct run_reader {
  struct block_io *io;
  uint32_t page_size; /* of the volume: a page has at most as much */
  struct block_ptr ptr;
  struct object_header header;
  uint8_t *header_bytes;
  const struct section *pages;   /* NULL: it has no pages or no index */
  const struct section *deleted; /* section of its range deletes; NULL: it has none */
  struct range_list *ranges;     /* once they were read */
  uint8_t *index_bytes;
  size_t index_size;
  struct page index;
  uint8_t *stored; /* room for a compressed page, page_size bytes, once there was one */
};

/* The header behind ptr. A failure, or 0; release the reader either way. */
int run_reader_open(struct run_reader *reader, struct block_io *io, uint32_t page_size, const struct block_ptr *ptr,
                    struct wodan_error *error);
/* The index, when there are pages: a failure, or 0 with *valid telling whether it is a page. */
int run_reader_index(struct run_reader *reader, bool *valid, struct wodan_error *error);
/* The range deletes, when there are some: a failure, or 0 with *fault telling what is wrong with them; NULL: they are there. */
int run_reader_ranges(struct run_reader *reader, const char **fault, struct wodan_error *error);
void run_reader_release(struct run_reader *reader);

/* Entry `at` of the index: false when it does not decode, or names what cannot be a page of this run. */
bool run_reader_entry(const struct run_reader *reader, uint32_t at, struct index_entry *entry);
/* And when it does not name what stands at `offset`, behind the page before: for who reads all pages in turn. */
bool run_reader_next_entry(const struct run_reader *reader, uint32_t at, uint64_t offset, struct index_entry *entry);

/* Whether any entry of the index tells of a compressed page. */
bool run_reader_packed(const struct run_reader *reader);

enum run_page_state { RUN_PAGE_GOOD, RUN_PAGE_UNREADABLE, RUN_PAGE_CHECKSUM, RUN_PAGE_MALFORMED };
/* The page's entry->size bytes into `bytes`, read twice before anything is said against it. error: why it is unreadable; also
 * WODAN_ENOMEM. */
enum run_page_state run_reader_page(struct run_reader *reader, const struct index_entry *entry, uint8_t *bytes,
                                    struct wodan_error *error);

#endif
