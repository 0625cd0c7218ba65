/* Owns: one run or leaf from its header to its last record.
 *
 * Always true: pages are read one behind the other through one buffer, so no byte of an object is read as a page twice
 * (but for the second attempt at a bad one); the index's keys bound each page, so nothing of the page before is kept; a
 * damaged page hides no other; each kind of flaw is reported once a page.
 *
 * Order: header, range deletes, index, filter, then the pages by the index; what the header says of the whole is compared last, and only
 * when every page could be read.
 *
 * See: format/object_header.h, format/node_header.h, run/filter.h; tests/unit/test_check.c. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include "check/check_private.h"
#include "run/run_reader.h"
#include "codec/checksum.h"
#include "run/filter.h"

/* The object being looked into. */
struct run_check {
  struct check *check;
  const struct block_ptr *ptr;
  const struct run_place *place;
  struct run_reader reader;
  uint8_t *filter; /* a band of its lines: */
  uint32_t band, band_lines, band_room;
  uint32_t filter_lines;     /* 0: no filter, or none that can be used */
  uint64_t records, deletes; /* seen */
  struct check_list list;    /* of large values */
  bool bare;                 /* it has range deletes only */
  bool whole;                /* every page could be read */
};

static uint64_t run_block(const struct run_check *run, uint64_t offset) {
  return block_io_locate(&run->check->io, run->ptr->extents, run->ptr->extent_count, offset);
}

/* A finding at a byte of the object: "leaf of generation 7, byte 512: what"; or nothing more to be said: NULL. */
static void run_found(const struct run_check *run, enum finding_id id, uint64_t offset, const char *what) {
  check_found(run->check, id, run_block(run, offset), run->ptr->generation,
              "%s of generation %" PRIu64 ", byte %" PRIu64 "%s%s", run->place->what, run->ptr->generation, offset,
              what ? ": " : "", what ? what : "");
}

static int run_failed(const struct run_check *run, const struct wodan_error *failure, enum finding_id id,
                      uint64_t offset) {
  return check_failed(run->check, failure, id, run_block(run, offset), run->ptr->generation, run->place->what);
}

/* ---- header, index, filter -------------------------------------------------------------------------------------- */

/* *usable: sections as this version knows them. */
static int read_header(struct run_check *run, bool *usable) {
  struct check *check = run->check;
  struct run_reader *reader = &run->reader;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  *usable = false;
  if (run_reader_open(reader, &check->io, check->superblock.page_size, run->ptr, &failure) < 0)
    return run_failed(run, &failure, FOUND_RUN_HEADER, 0);
  bool ranges = reader->deleted && !run->place->leaf, filter = object_section(&reader->header, SECTION_FILTER);
  bool blobs = object_section(&reader->header, SECTION_BLOBS);
  run->bare = ranges && reader->header.record_count == 0;
  uint32_t known = (run->bare ? 0 : 2u + filter + blobs) + ranges;
  if (!reader->pages != run->bare || reader->header.section_count != known) { /* guard: bounds */
    run_found(run, FOUND_RUN_SECTIONS, 0,
              "it has other sections than pages, index, filter, list of large values and range deletes");
    return 0;
  }
  if (!reader->header.low.size || !reader->header.high.size)
    run_found(run, FOUND_KEY_RANGE, 0, "its header tells none"); /* guard: bounds */
  *usable = true;
  return 0;
}

/* The ends of the range deletes against the header, and against the place. */
static void check_range_bounds(struct run_check *run) {
  const struct run_place *place = run->place;
  const struct object_header *header = &run->reader.header;
  struct ranges ranges = range_list_all(run->reader.ranges);
  struct wodan_slice from = ranges.at[0].from, to = ranges.at[ranges.count - 1].to;
  if (key_compare(from, header->low) < 0 || key_compare(to, header->high) > 0)
    run_found(run, FOUND_KEY_RANGE, run->reader.deleted->offset, "of a range delete"); /* guard: bounds */
  if ((place->has_lower && key_compare(from, place->lower) < 0) ||
      (place->has_upper && key_compare(to, place->upper) > 0))
    run_found(run, FOUND_RUN_RANGE, run->reader.deleted->offset, "in its range deletes"); /* guard: bounds */
  for (size_t i = 0; i < ranges.count; i++)
    if (ranges.at[i].sequence > place->sequence_max) { /* guard: bounds */
      run_found(run, FOUND_RECORD_SEQUENCE, run->reader.deleted->offset, "a range delete");
      break;
    }
}

static int read_ranges(struct run_check *run) {
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  const char *fault = NULL;
  if (!run->reader.deleted) return 0;
  uint64_t offset = run->reader.deleted->offset;
  if (run_reader_ranges(&run->reader, &fault, &failure) < 0)
    return run_failed(run, &failure, FOUND_RANGES_DAMAGED, offset);
  if (fault)
    run_found(run, FOUND_RANGES_DAMAGED, offset, fault); /* no guard: the reader judges */
  else
    check_range_bounds(run);
  return 0;
}

static int read_index(struct run_check *run, bool *usable) {
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  uint64_t offset = object_section(&run->reader.header, SECTION_INDEX)->offset;
  if (run_reader_index(&run->reader, usable, &failure) < 0) return run_failed(run, &failure, FOUND_RUN_INDEX, offset);
  if (!*usable) run_found(run, FOUND_RUN_INDEX, offset, "it is no valid page"); /* guard: bounds */
  return 0;
}

/* Lines of the filter to be held at once: all, or as many as half of what the check may still take has room for. */
static uint32_t band_room(const struct run_check *run, uint32_t lines) {
  const struct mem *mem = &run->check->mem;
  uint64_t left = mem->limit ? (mem->limit - mem_used(mem)) / 2 : UINT64_MAX, room = left / FILTER_LINE_SIZE;
  return room < lines ? (uint32_t)(room ? room : 1) : lines;
}

/* The lines from `first` on, as many as there is room for. */
static int read_lines(struct run_check *run, const struct section *filter, uint32_t first, struct wodan_error *why) {
  const struct block_ptr *ptr = run->ptr;
  uint32_t left = run->filter_lines - first;
  run->band = first;
  run->band_lines = left < run->band_room ? left : run->band_room;
  return block_io_read(&run->check->io, ptr->extents, ptr->extent_count,
                       filter->offset + (uint64_t)first * FILTER_LINE_SIZE, run->filter,
                       (size_t)run->band_lines * FILTER_LINE_SIZE, why);
}

/* All lines, band for band, against the section's checksum; the first band stays where it is the only one. */
static int prove_filter(struct run_check *run, const struct section *filter, struct wodan_error *failure) {
  struct checksum_pieces sum;
  int status = 0;
  checksum_begin(&sum, run->check->io.seed);
  for (uint32_t first = 0; first < run->filter_lines && status == 0; first += run->band_lines) {
    status = read_lines(run, filter, first, failure);
    if (status == 0) checksum_add(&sum, run->filter, (size_t)run->band_lines * FILTER_LINE_SIZE);
  }
  if (status == 0 && checksum_end(&sum) != filter->checksum)
    status = status_corrupt(failure, run_block(run, filter->offset), "its checksum is wrong"); /* guard: checksum */
  return status;
}

static int read_filter(struct run_check *run) {
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  const struct section *filter = object_section(&run->reader.header, SECTION_FILTER);
  if (!filter) return 0;
  uint32_t lines = filter_lines(run->reader.header.record_count);
  if (!lines || filter->length != (uint64_t)lines * FILTER_LINE_SIZE) { /* guard: bounds */
    run_found(run, FOUND_FILTER_DAMAGED, filter->offset, "its size is not what the count of records asks for");
    return 0;
  }
  run->band_room = band_room(run, lines);
  run->filter = mem_alloc(&run->check->mem, (uint64_t)run->band_room * FILTER_LINE_SIZE);
  if (!run->filter)
    return check_spared(run->check, status_nomem(run->check->error), "filter", run_block(run, 0), run->ptr->generation);
  run->filter_lines = lines;
  int status = prove_filter(run, filter, &failure);
  block_io_doubt(&run->check->io);
  if (status && status != WODAN_ENOMEM) status = prove_filter(run, filter, &failure);
  if (status == 0 && run->band) status = read_lines(run, filter, 0, &failure);
  if (status == 0) return 0;
  run->filter_lines = 0;
  return run_failed(run, &failure, FOUND_FILTER_DAMAGED, filter->offset);
}

/* Whether the filter, as far as it is at hand, denies the key. */
static bool filter_denies(const struct run_check *run, struct wodan_slice key) {
  if (!run->filter_lines) return false;
  uint64_t hash = checksum(run->check->io.seed, key.data, key.size);
  uint32_t line = filter_line_number(run->filter_lines, hash) - run->band;
  return line < run->band_lines && !filter_line_may_contain(run->filter + (size_t)line * FILTER_LINE_SIZE, hash);
}

static int read_list(struct run_check *run) {
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  const struct section *section = object_section(&run->reader.header, SECTION_BLOBS);
  if (check_list_open(&run->list, run->check, run->ptr, section, &failure) < 0)
    return run_failed(run, &failure, FOUND_BLOB_LIST, section->offset);
  return 0;
}

/* ---- pages ------------------------------------------------------------------------------------------------------ */

/* The whole key of a record, in `buffer`. A key's parts both lie in its page, so the page's size is room enough. */
static int key_take(struct run_check *run, const struct page *page, uint32_t i, struct check_buffer *buffer,
                    struct wodan_slice *key) {
  int status = check_buffer_reserve(run->check, buffer, page->size);
  if (status < 0) return status;
  *key = (struct wodan_slice){buffer->data, page_key(page, i, buffer->data)};
  return 0;
}

/* What is wrong with the first or last key of a page, a bit each. */
enum { FLAW_RANGE = 1, FLAW_PLACE = 2 };

/* Against the header's range and that of its place. */
static unsigned bound_flaws(const struct run_check *run, struct wodan_slice key) {
  const struct run_place *place = run->place;
  struct wodan_slice low = run->reader.header.low, high = run->reader.header.high;
  unsigned flaws = 0;
  if ((low.size && key_compare(key, low) < 0) || (high.size && key_compare(key, high) > 0))
    flaws |= FLAW_RANGE; /* guard: bounds */
  if ((place->has_lower && key_compare(key, place->lower) < 0) ||
      (place->has_upper && key_compare(key, place->upper) >= 0))
    flaws |= FLAW_PLACE; /* guard: bounds */
  return flaws;
}

/* The page's keys between those of the index around it. */
static int check_keys(struct run_check *run, const struct page *page, uint32_t at, uint64_t offset) {
  struct wodan_slice key, bound;
  int status = key_take(run, page, 0, &run->check->key, &key);
  if (status < 0) return status;
  unsigned flaws = bound_flaws(run, key);
  if (at > 0) {
    status = key_take(run, &run->reader.index, at - 1, &run->check->bound, &bound);
    if (status < 0) return status;
    if (key_compare(key, bound) <= 0)
      run_found(run, FOUND_KEY_ORDER, offset,
                "the page starts at or below the end of the page before"); /* guard: bounds */
  }
  status = key_take(run, page, page->count - 1, &run->check->key, &key);
  if (status == 0) status = key_take(run, &run->reader.index, at, &run->check->bound, &bound);
  if (status < 0) return status;
  flaws |= bound_flaws(run, key);
  if (flaws & FLAW_RANGE) run_found(run, FOUND_KEY_RANGE, offset, NULL); /* no guard: bound_flaws judges */
  if (flaws & FLAW_PLACE)
    run_found(run, run->place->leaf ? FOUND_KEY_PIVOT : FOUND_RUN_RANGE, offset, NULL); /* no guard: the same */
  if (key_compare(key, bound) != 0)
    run_found(run, FOUND_KEY_ORDER, offset, "the page ends with another key"); /* guard: bounds */
  return 0;
}

/* What is wrong with a record, a bit each. */
enum {
  FLAW_SEQUENCE = 1,
  FLAW_KIND = 2,
  FLAW_DELETE = 4,
  FLAW_SIZE = 8,
  FLAW_FILTER = 16,
  FLAW_LIST = 32,
  FLAW_REFERENCE = 64,
  FLAW_HIDDEN = 128
};

static unsigned record_flaws(struct run_check *run, const struct page_record *record, struct wodan_slice key) {
  const struct superblock *sb = &run->check->superblock;
  unsigned flaws = 0;
  if (record->sequence > run->reader.header.sequence_max || record->sequence > run->place->sequence_max)
    flaws |= FLAW_SEQUENCE; /* guard: bounds */
  if (record->kind > RECORD_PAGE_LAST)
    flaws |= FLAW_KIND; /* guard: bounds; equivalent: page_validate knows no other kinds either */
  if (run->place->leaf && record->kind == RECORD_DELETE) flaws |= FLAW_DELETE; /* guard: bounds */
  if (key.size > sb->page_size / 8 + TABLE_ID_SIZE || record->value.size > sb->page_size / 4)
    flaws |= FLAW_SIZE;                              /* guard: bounds */
  if (filter_denies(run, key)) flaws |= FLAW_FILTER; /* guard: bounds */
  struct ranges ranges = range_list_all(run->reader.ranges);
  size_t i = ranges_find(ranges, key);
  if (i < ranges.count && key_compare(ranges.at[i].from, key) <= 0 && record->sequence <= ranges.at[i].sequence)
    flaws |= FLAW_HIDDEN; /* guard: bounds */
  return flaws;
}

/* What says where a large value is says nothing: it has a place in the list all the same. */
static int no_reference(struct run_check *run, unsigned *flaws) {
  *flaws |= FLAW_REFERENCE; /* no guard: its caller is */
  check_list_pass(&run->list);
  return 0;
}

/* A record of a large value, against the list and down to the value. */
static int check_large(struct run_check *run, const struct page_record *record, struct wodan_slice key,
                       unsigned *flaws) {
  struct blob_ref ref;
  if (!blob_ref_decode(record->value.data, record->value.size, &run->check->io.bounds, &ref) ||
      ref.ptr.generation >= run->ptr->generation)
    return no_reference(run, flaws);                               /* guard: bounds */
  if (!check_list_take(&run->list, &ref.ptr)) *flaws |= FLAW_LIST; /* guard: bounds */
  return check_blob(run->check, &ref, key, run->ptr->generation);
}

static int check_records(struct run_check *run, const struct page *page, uint64_t offset) {
  static const struct {
    unsigned flaw;
    enum finding_id id;
  } NAMES[] = {{FLAW_SEQUENCE, FOUND_RECORD_SEQUENCE}, {FLAW_KIND, FOUND_RECORD_KIND},
               {FLAW_DELETE, FOUND_LEAF_DELETE},       {FLAW_SIZE, FOUND_RECORD_SIZE},
               {FLAW_FILTER, FOUND_FILTER_DENIES},     {FLAW_LIST, FOUND_BLOB_LIST},
               {FLAW_REFERENCE, FOUND_BLOB_REFERENCE}, {FLAW_HIDDEN, FOUND_RECORD_HIDDEN}};
  int status = check_buffer_reserve(run->check, &run->check->key, page->size);
  if (status < 0) return status;
  unsigned flaws = 0;
  for (uint32_t i = 0; i < page->count; i++) {
    struct page_record record = page_record(page, i);
    struct wodan_slice key = {run->check->key.data, page_key(page, i, run->check->key.data)};
    flaws |= record_flaws(run, &record, key);
    run->deletes += record.kind == RECORD_DELETE;
    if (record.kind == RECORD_BLOB) status = check_large(run, &record, key, &flaws);
    if (status) return status;
  }
  run->records += page->count;
  for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
    if (flaws & NAMES[i].flaw) run_found(run, NAMES[i].id, offset, NULL); /* no guard: record_flaws judges */
  return 0;
}

static int check_page(struct run_check *run, uint32_t at, const struct index_entry *entry) {
  struct check *check = run->check;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  int status = check_buffer_reserve(check, &check->page, entry->size);
  if (status < 0) return status;
  enum run_page_state state = run_reader_page(&run->reader, entry, check->page.data, &failure);
  if (state != RUN_PAGE_GOOD) run->whole = false;
  if (state == RUN_PAGE_UNREADABLE) return run_failed(run, &failure, FOUND_PAGE_UNREADABLE, entry->offset);
  if (state == RUN_PAGE_CHECKSUM)
    run_found(run, FOUND_PAGE_CHECKSUM, entry->offset, NULL); /* no guard: the reader compared */
  if (state == RUN_PAGE_MALFORMED) run_found(run, FOUND_PAGE_MALFORMED, entry->offset, NULL); /* guard: bounds */
  if (state != RUN_PAGE_GOOD) return 0;
  struct page page = page_view(check->page.data);
  status = check_keys(run, &page, at, entry->offset);
  if (status == 0) status = check_records(run, &page, entry->offset);
  if (status || check->previous) return status;
  check->packed |= stored_page_packed(entry);
  check->report->pages++;
  check->report->page_bytes += entry->size;
  check->report->page_stored_bytes += entry->length;
  check->report->records += page.count;
  return 0;
}

static int check_pages(struct run_check *run) {
  const struct section *index = object_section(&run->reader.header, SECTION_INDEX);
  uint64_t offset = run->reader.pages->offset, base = run->check->done;
  int status = 0;
  for (uint32_t at = 0; at < run->reader.index.count && status == 0; at++) {
    struct index_entry entry;
    if (!run_reader_next_entry(&run->reader, at, offset, &entry)) { /* guard: bounds */
      run->whole = false;
      run_found(run, FOUND_RUN_INDEX, index->offset, "an entry does not name the page behind the one before");
      return 0;
    }
    status = check_page(run, at, &entry);
    offset += entry.length;
    if (status == 0) status = check_progress(run->check, base + offset / run->check->superblock.block_size);
  }
  if (status == 0 && offset != run->reader.pages->offset + run->reader.pages->length)
    run_found(run, FOUND_RUN_INDEX, index->offset, "it ends before the pages do"); /* guard: bounds */
  return status;
}

/* The pages once more, for a band of the filter that was not at hand. */
static int check_band(struct run_check *run, uint64_t offset) {
  struct check *check = run->check;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  struct index_entry entry;
  for (uint32_t at = 0; at < run->reader.index.count && run_reader_next_entry(&run->reader, at, offset, &entry);
       at++, offset += entry.length) {
    if (run_reader_page(&run->reader, &entry, check->page.data, &failure) != RUN_PAGE_GOOD) continue; /* told before */
    struct page page = page_view(check->page.data);
    bool denied = false;
    for (uint32_t i = 0; i < page.count && !denied; i++) {
      struct wodan_slice key = {check->key.data, page_key(&page, i, check->key.data)};
      denied = filter_denies(run, key);
    }
    if (denied) run_found(run, FOUND_FILTER_DENIES, offset, NULL); /* guard: bounds */
  }
  return 0;
}

/* Whether the pages, and a band, can be read once more with enough left to read the rest of the volume. */
static bool may_read_again(const struct run_check *run) {
  const struct check *check = run->check;
  if (check->device.reads_left == UINT64_MAX) return true;
  uint64_t behind = check->done + block_ptr_blocks(run->ptr), blocks = check->space.blocks;
  uint64_t rest = behind < blocks ? (blocks - behind) * check->superblock.block_size : 0;
  uint64_t wanted = run->reader.pages->length + (uint64_t)run->band_room * FILTER_LINE_SIZE + rest + rest / 4;
  return wanted < check->device.reads_left;
}

/* The other bands of a filter that does not fit into memory whole. */
static int check_bands(struct run_check *run) {
  const struct section *filter = object_section(&run->reader.header, SECTION_FILTER);
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  int status = 0;
  if (!run->filter_lines) return 0;
  for (uint32_t first = run->band_lines; first < run->filter_lines && status == 0; first += run->band_lines) {
    if (!may_read_again(run)) {
      check_left_out(run->check, "a part of the filter", run_block(run, filter->offset), run->ptr->generation);
      return 0;
    }
    status = read_lines(run, filter, first, &failure);
    if (status < 0) return run_failed(run, &failure, FOUND_FILTER_DAMAGED, filter->offset);
    status = check_band(run, run->reader.pages->offset);
  }
  return status;
}

/* What the node says of the whole. */
static void check_counts(struct run_check *run) {
  const struct run_place *place = run->place;
  uint64_t ranges = run->reader.ranges ? run->reader.ranges->count : 0;
  bool ranges_known = !run->reader.deleted || run->reader.ranges;
  if (!place->counted) return;
  if (run->records == place->records && run->deletes == place->deletes && (ranges == place->ranges || !ranges_known))
    return; /* guard: bounds, passes */
  check_found(run->check, FOUND_RUN_COUNTS, run_block(run, 0), run->ptr->generation,
              "%s of generation %" PRIu64 ": %" PRIu64 " records with %" PRIu64 " deletes and %" PRIu64
              " range deletes instead of %" PRIu64 " with %" PRIu64 " and %" PRIu64,
              place->what, run->ptr->generation, run->records, run->deletes, ranges, place->records, place->deletes,
              place->ranges); /* no guard: compared above */
}

/* What the header and the node say of the whole. */
static int check_totals(struct run_check *run) {
  struct ranges ranges = range_list_all(run->reader.ranges);
  const struct run_place *place = run->place;
  if (!run->whole) return 0;
  if (!check_list_ended(&run->list) || run->list.taken != place->blobs)
    check_found(run->check, FOUND_BLOB_LIST, run_block(run, 0), run->ptr->generation,
                "%s of generation %" PRIu64 ": %" PRIu64 " records name some, the list has %" PRIu64
                ", its node tells of %" PRIu64,
                place->what, run->ptr->generation, run->list.taken, run->list.count, place->blobs); /* guard: bounds */
  check_counts(run);
  if (run->records != run->reader.header.record_count)
    check_found(run->check, FOUND_RECORD_COUNT, run_block(run, 0), run->ptr->generation,
                "%s of generation %" PRIu64 ": %" PRIu64 " instead of %" PRIu64, run->place->what, run->ptr->generation,
                run->records, run->reader.header.record_count); /* guard: bounds */
  if (run->reader.deleted && !ranges.count) return 0;
  struct wodan_slice last = {NULL, 0};
  int status =
      run->bare ? 0 : key_take(run, &run->reader.index, run->reader.index.count - 1, &run->check->bound, &last);
  if (status < 0) return status;
  if (ranges.count && key_compare(ranges.at[ranges.count - 1].to, last) > 0) last = ranges.at[ranges.count - 1].to;
  if (run->reader.header.high.size && key_compare(last, run->reader.header.high) != 0)
    run_found(run, FOUND_KEY_RANGE, 0, "its last key is not the greatest that it tells"); /* guard: bounds */
  return 0;
}

int check_run(struct check *check, const struct block_ptr *ptr, const struct run_place *place) {
  struct run_check run = {.check = check, .ptr = ptr, .place = place, .whole = true};
  bool usable = false;
  int status = read_header(&run, &usable);
  if (status == 0 && usable) status = read_ranges(&run);
  bool pages = usable && !run.bare;
  if (status == 0 && pages) status = read_index(&run, &usable);
  if (status == 0 && usable && pages) status = read_filter(&run);
  if (status == 0 && usable && pages) status = read_list(&run);
  if (status == 0 && usable && pages) status = check_pages(&run);
  if (status == 0 && usable && pages) status = check_bands(&run);
  if (status == 0 && usable) status = check_totals(&run);
  run_reader_release(&run.reader);
  check_list_release(&run.list);
  if (run.filter) mem_free(&check->mem, run.filter, (uint64_t)run.band_room * FILTER_LINE_SIZE);
  return status;
}
