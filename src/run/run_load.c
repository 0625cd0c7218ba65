/* Owns: reading the parts of a run's body, index part and filter, and the rules they are proven by.
 *
 * Always true:
 *  - an index part in a handle is a proven page whose entries cover the pages section without a gap, in ascending keys;
 *  - a section's memory is as long as the section, which block_io bounds, and its room on the shelf was taken before.
 *
 * Order: the header comes first; its memory counts on the shelf until what is needed of it was copied. A filter is loaded
 * after the index part, which tells where it lies: at once when there is free room, and by evicting others only when as
 * many bytes of pages have been read for want of it as it has itself. A run that has none on the device, as leaves, gets one
 * made from its pages when lookups have missed it, all of them are cached and there is free room.
 *
 * See: FORMAT.md "Runs", tests/unit/test_shelf.c, test_run_damage.c, test_run_lists.c. */
#include <assert.h>
#include "codec/checksum.h"
#include "format/node_header.h"
#include "run/run_private.h"

/* ---- faults and keys ----------------------------------------------------------------------------------------- */

int run_corrupt(const struct run *run, uint64_t offset, const char *what, struct wodan_error *error) {
  uint64_t block = block_io_locate(run->env->io, run->extents, run->extent_count, offset);
  return status_corrupt(error, block, "the run of generation %llu: %s (byte %llu of it)",
                        (unsigned long long)run->generation, what, (unsigned long long)offset);
}

static int no_room(const struct run *run, uint64_t bytes, struct wodan_error *error) {
  return status_set(error, WODAN_ENOMEM, 0, WODAN_NO_BLOCK,
                    "no room for %llu bytes of an index: all of the %llu bytes for bodies of runs are in use",
                    (unsigned long long)bytes, (unsigned long long)run_shelf_counts(run->env->shelf).bytes_max);
}

void key_parts(const struct page *page, uint32_t at, struct wodan_slice parts[2]) {
  parts[0] = page_prefix(page);
  parts[1] = page_record(page, at).suffix;
}

int compare_parts(const struct wodan_slice a[2], const struct wodan_slice b[2]) {
  size_t at[2] = {0, 0}, part[2] = {0, 0};
  const struct wodan_slice *keys[2] = {a, b};
  for (;;) {
    for (int k = 0; k < 2; k++)
      while (part[k] < 2 && at[k] == keys[k][part[k]].size) part[k]++, at[k] = 0;
    if (part[0] == 2 || part[1] == 2) return (part[0] != 2) - (part[1] != 2);
    size_t left_a = a[part[0]].size - at[0], left_b = b[part[1]].size - at[1];
    size_t n = left_a < left_b ? left_a : left_b;
    int order = memcmp((const uint8_t *)a[part[0]].data + at[0], (const uint8_t *)b[part[1]].data + at[1], n);
    if (order) return order;
    at[0] += n;
    at[1] += n;
  }
}

int compare_whole(const struct wodan_slice parts[2], struct wodan_slice key) {
  struct wodan_slice whole[2] = {key, {NULL, 0}};
  return compare_parts(parts, whole);
}

struct index_entry run_index_entry(const struct run_index *index, uint32_t at) {
  struct index_entry entry = {0};
  struct wodan_slice value = page_record(&index->page, at).value;
  bool ok = index_entry_decode(value.data, value.size, &entry);
  assert(ok); /* proven when loaded */
  (void)ok;
  return entry;
}

/* ---- index part ---------------------------------------------------------------------------------------------- */

/* Where the last range ends; data NULL: there is none. */
static struct wodan_slice ranges_end(const struct run *run) {
  struct ranges ranges = run_ranges(run);
  return ranges.count ? ranges.at[ranges.count - 1].to : (struct wodan_slice){NULL, 0};
}

/* NULL when the index covers exactly the pages section and the key range, else what is wrong. *page_bytes: of all pages,
 * before compression. */
static const char *index_fault(const struct run *run, const struct page *index, const struct object_header *header,
                               const struct section *pages, uint64_t *page_bytes) {
  const struct run_env *env = run->env;
  *page_bytes = 0;
  uint64_t at = pages->offset, end = pages->offset + pages->length;
  for (uint32_t i = 0; i < index->count; i++) {
    struct page_record record = page_record(index, i);
    struct index_entry entry;
    if (record.sequence || record.kind != RECORD_PUT ||
        !index_entry_decode(record.value.data, record.value.size, &entry))
      return "an index entry does not decode";                                                /* guard: bounds */
    if (entry.offset != at) return "the index does not cover the pages one behind the other"; /* guard: bounds */
    if (entry.size > env->page_size)                            /* a page below its header's size does not prove */
      return "the index names a page of a size that cannot be"; /* guard: bounds */
    at += entry.length;
    *page_bytes += entry.size;
  }
  if (at != end) return "the index does not reach the end of the pages"; /* guard: bounds */
  struct wodan_slice first[2], last[2], limit = ranges_end(run);
  key_parts(index, 0, first);
  key_parts(index, index->count - 1, last);
  bool beyond = limit.data && compare_whole(last, limit) < 0;
  int high = beyond ? key_compare(limit, header->high) : compare_whole(last, header->high);
  if (compare_whole(first, header->low) < 0 || high != 0)
    return "the index does not agree with the key range";                              /* guard: bounds */
  if (header->record_count < index->count) return "there are more pages than records"; /* guard: bounds */
  return NULL;
}

void run_index_free(struct run *run, struct run_index *index) {
  if (index->slots) cache_drop(run->env->cache, index->slots, index->slot_count);
  mem_array_free(run->env->mem, index->slots, index->slot_count, sizeof *index->slots);
  mem_free(run->env->mem, index, index->size);
}

/* The allocation with the key range in it; the index page is still to be read. NULL: *status says why. */
static struct run_index *index_create(struct run *run, const struct object_header *header, uint64_t length, int *status,
                                      struct wodan_error *error) {
  size_t size = sizeof(struct run_index) + (size_t)length + header->low.size + header->high.size;
  if (!shelf_take(run->env->shelf, size)) {
    *status = no_room(run, size, error);
    return NULL;
  }
  struct run_index *index = mem_alloc_aligned(run->env->mem, size, 64);
  if (!index) {
    shelf_give(run->env->shelf, size);
    *status = status_nomem(error);
    return NULL;
  }
  *index = (struct run_index){.size = size, .item.bytes = size};
  uint8_t *low = index->bytes + length, *high = low + header->low.size;
  memcpy(low, header->low.data, header->low.size);
  memcpy(high, header->high.data, header->high.size);
  index->shape = (struct run_shape){.low = {low, header->low.size},
                                    .high = {high, header->high.size},
                                    .record_count = header->record_count,
                                    .sequence_max = header->sequence_max};
  const struct section *filter = object_section(header, SECTION_FILTER);
  if (filter) index->filter = *filter;
  return index;
}

static int index_read(struct run *run, const struct block_ptr *ptr, const struct object_header *header,
                      struct run_index *index, struct wodan_error *error) {
  const struct section *pages = object_section(header, SECTION_PAGES), *section = object_section(header, SECTION_INDEX);
  int status = block_io_fill_section(run->env->io, ptr, section, index->bytes, error);
  if (status) return status;
  if (!page_validate(index->bytes, (size_t)section->length))
    return run_corrupt(run, section->offset, "its index is not a valid page", error); /* guard: bounds */
  index->page = page_view(index->bytes);
  index->shape.page_count = index->page.count;
  const char *fault = index_fault(run, &index->page, header, pages, &index->shape.page_bytes);
  if (fault) return run_corrupt(run, section->offset, fault, error); /* guard: bounds */
  size_t count = index->page.count;
  if (!shelf_take(run->env->shelf, count * sizeof *index->slots))
    return no_room(run, count * sizeof *index->slots, error);
  index->item.bytes += count * sizeof *index->slots;
  index->slots = mem_array(run->env->mem, count, sizeof *index->slots);
  if (!index->slots) return status_nomem(error);
  index->slot_count = count;
  for (size_t i = 0; i < count; i++) atomic_init(&index->slots[i], NULL);
  return 0;
}

static int index_load(struct run *run, const struct block_ptr *ptr, const struct object_header *header,
                      struct run_index **out, struct wodan_error *error) {
  const struct section *section = object_section(header, SECTION_INDEX), *pages = object_section(header, SECTION_PAGES);
  bool bare = run->ranges && header->record_count == 0; /* no pages and no index */
  if (!section != bare || !pages != bare || !header->low.size || !header->high.size)
    return run_corrupt(run, 0, "its header lacks pages, index or key range", error); /* guard: bounds */
  if (!object_section(header, SECTION_RANGE_TOMBSTONES) != !run->ranges)
    return run_corrupt(run, 0, "its node does not tell of its range deletes", error); /* guard: bounds */
  if (section && section->length > BLOCK_IO_SECTION_MAX)
    return run_corrupt(run, 0, "its index is too long", error); /* guard: bounds */
  int status = 0;
  struct run_index *index = index_create(run, header, section ? section->length : 0, &status, error);
  if (!index) return status;
  status = bare ? 0 : index_read(run, ptr, header, index, error);
  if (status) {
    uint64_t bytes = index->item.bytes;
    run_index_free(run, index);
    shelf_give(run->env->shelf, bytes);
    return status;
  }
  *out = index;
  return 0;
}

/* Between shelf_begin and shelf_end. */
static int header_and_index_load(struct run *run, struct run_index **index, struct wodan_error *error) {
  struct run_shelf *shelf = run->env->shelf;
  struct object_header header;
  struct block_ptr ptr;
  uint8_t *bytes = NULL;
  run_pointer(run, &ptr);
  if (!shelf_take(shelf, ptr.header_length)) return no_room(run, ptr.header_length, error);
  int status = block_io_read_header(run->env->io, &ptr, OBJECT_RUN, &header, &bytes, error);
  if (!status) status = index_load(run, &ptr, &header, index, error);
  if (!status && run_records(run) == 0) atomic_store_explicit(&run->records, header.record_count, memory_order_relaxed);
  if (!status) run_set_page_bytes(run, (*index)->shape.page_bytes);
  mem_free(run->env->mem, bytes, ptr.header_length);
  shelf_give(shelf, ptr.header_length);
  return status;
}

int run_load_index(struct run *run, struct run_index **index, struct wodan_error *error) {
  *index = atomic_load_explicit(&run->index, memory_order_acquire);
  if (*index) return 0;
  if (shelf_begin(run, false, true)) {
    int status = header_and_index_load(run, index, error);
    shelf_end(run, status ? NULL : *index, NULL);
    if (status) *index = NULL;
    return status;
  }
  *index = atomic_load_explicit(&run->index, memory_order_acquire);
  assert(*index); /* the pin keeps it */
  return 0;
}

/* ---- range deletes -------------------------------------------------------------------------------------------- */

static int ranges_read(struct run *run, const struct block_ptr *ptr, const struct section *section,
                       const struct object_header *header, uint64_t count, struct wodan_error *error) {
  struct range_limits limits = {run->env->page_size / 8 + TABLE_ID_SIZE, header->sequence_max};
  uint8_t *bytes = NULL;
  uint64_t found;
  int status = block_io_read_section(run->env->io, ptr, section, &bytes, error);
  if (status) return status;
  const char *fault = range_section_fault(bytes, (size_t)section->length, &limits, &found);
  if (!fault && found != count) fault = "it has not as many range deletes as its node says"; /* guard: bounds */
  if (fault) status = run_corrupt(run, section->offset, fault, error);                       /* guard: bounds */
  if (!status) {
    run->ranges = range_list_create(run_env_skeleton(run->env), bytes, (size_t)section->length);
    if (!run->ranges) status = status_nomem(error);
  }
  mem_free(run->env->mem, bytes, section->length);
  return status;
}

/* They bound the keys of the run as its records do; those are compared when the index is loaded. */
static bool range_bounds_fit(const struct run *run, const struct object_header *header) {
  if (key_compare(header->low, run->ranges->at[0].from) > 0) return false; /* guard: bounds */
  int order = key_compare(ranges_end(run), header->high);
  return order == 0 || (order < 0 && header->record_count > 0); /* guard: bounds */
}

int run_load_ranges(struct run *run, uint64_t count, struct wodan_error *error) {
  struct object_header header;
  struct block_ptr ptr;
  uint8_t *bytes = NULL;
  run_pointer(run, &ptr);
  int status = block_io_read_header(run->env->io, &ptr, OBJECT_RUN, &header, &bytes, error);
  if (status) return status;
  const struct section *section = object_section(&header, SECTION_RANGE_TOMBSTONES);
  if (!section || header.record_count != run_records(run))
    status =
        run_corrupt(run, 0, "it has not the records and range deletes that its node says", error); /* guard: bounds */
  if (!status) status = ranges_read(run, &ptr, section, &header, count, error);
  if (!status && !range_bounds_fit(run, &header))
    status = run_corrupt(run, section->offset, "its range deletes do not agree with the key range",
                         error); /* guard: bounds */
  mem_free(run->env->mem, bytes, ptr.header_length);
  return status;
}

/* ---- filter -------------------------------------------------------------------------------------------------- */

static size_t filter_size(uint32_t lines) { return sizeof(struct run_filter) + (size_t)lines * FILTER_LINE_SIZE; }

void run_filter_free(struct run *run, struct run_filter *filter) {
  uint32_t lines = atomic_load_explicit(&run->filter_lines, memory_order_relaxed);
  mem_free(run->env->mem, filter, filter_size(lines));
}

/* Whether all pages are in the cache: asked before any work, for lookups by location load no pages of a new run. */
static bool all_cached(const struct run_index *index) {
  uint32_t at = 0;
  while (at < index->page.count && atomic_load_explicit(&index->slots[at], memory_order_relaxed)) at++;
  return at == index->page.count;
}

/* Sets the bits of all keys of the run, when all its pages are in the cache. */
static bool fill_from_pages(struct run *run, const struct run_index *index, uint32_t lines, struct run_filter *filter) {
  uint32_t page_size = run->env->page_size; /* no key has more bytes than its page */
  uint8_t *key = mem_alloc(run->env->mem, page_size);
  uint32_t at = 0;
  memset(filter->lines, 0, (size_t)lines * FILTER_LINE_SIZE);
  for (; key && at < index->page.count; at++) {
    struct frame *frame = cache_pin(run->env->cache, &index->slots[at]);
    if (!frame) break;
    struct page page = page_view(cache_data(frame));
    for (uint32_t i = 0; i < page.count; i++) {
      struct wodan_slice whole = {key, page_key(&page, i, key)};
      filter_add(filter->lines, lines, run_key_hash(run->env, whole));
    }
    cache_unpin(frame);
  }
  mem_free(run->env->mem, key, page_size);
  return key && at == index->page.count;
}

/* What stands on the device, or is made. false: nothing, and *status says whether that is a failure. */
static bool filter_fill(struct run *run, const struct run_index *index, uint32_t lines, struct run_filter *filter,
                        int *status, struct wodan_error *error) {
  struct block_ptr ptr;
  if (!index->filter.tag) return fill_from_pages(run, index, lines, filter);
  run_pointer(run, &ptr);
  *status = block_io_fill_section(run->env->io, &ptr, &index->filter, filter->lines, error);
  return *status == 0;
}

/* Between shelf_begin and shelf_end; room was taken, and is given back when there is no filter then. */
static int filter_load(struct run *run, const struct run_index *index, uint32_t lines, struct run_filter **out,
                       struct wodan_error *error) {
  size_t size = filter_size(lines);
  struct run_filter *filter = mem_alloc_aligned(run->env->mem, size, FILTER_LINE_SIZE);
  int status = filter || !index->filter.tag ? 0 : status_nomem(error);
  bool there = filter && filter_fill(run, index, lines, filter, &status, error);
  if (status == 0) atomic_store_explicit(&run->unfiltered, 0, memory_order_relaxed);
  if (!there) {
    mem_free(run->env->mem, filter, size);
    shelf_give(run->env->shelf, size);
    return status;
  }
  filter->item.bytes = size;
  atomic_store_explicit(&run->filter_lines, lines, memory_order_relaxed);
  *out = filter;
  return 0;
}

int run_load_filter(struct run *run, const struct run_index *index, struct run_filter **filter,
                    struct wodan_error *error) {
  const struct section *section = &index->filter;
  uint32_t lines = filter_lines(index->shape.record_count);
  uint64_t length = (uint64_t)lines * FILTER_LINE_SIZE;
  *filter = NULL;
  bool sized = lines && (!section->tag || (section->length == length && length <= BLOCK_IO_SECTION_MAX));
  if (!sized && !section->tag) return 0; /* no guard: no filter can be made for so many records */
  if (!sized)
    return run_corrupt(run, section->offset, "its filter has a size other than its records need, or none that can be",
                       error); /* guard: bounds */
  uint64_t wasted = (uint64_t)atomic_load_explicit(&run->unfiltered, memory_order_relaxed) * run->env->page_size;
  if (!section->tag && !all_cached(index)) {
    atomic_store_explicit(&run->unfiltered, 0, memory_order_relaxed); /* not again at once */
    return 0;
  }
  if (!shelf_has_room(run->env->shelf, filter_size(lines)) && (!section->tag || wasted < length)) return 0;
  if (!shelf_begin(run, true, false)) {
    *filter = atomic_load_explicit(&run->filter, memory_order_acquire);
    return 0;
  }
  int status = 0;
  if (shelf_take(run->env->shelf, filter_size(lines)))
    status = filter_load(run, index, lines, filter, error);
  else
    atomic_store_explicit(&run->unfiltered, 0, memory_order_relaxed); /* not again at once */
  shelf_end(run, NULL, status ? NULL : *filter);
  return status;
}
