/* Owns: reading what can be read of a run, in key order.
 *
 * Always true: a record shown comes from a page with a good checksum, and lies where the index leads a lookup of its key: so
 * keys ascend even when pages do not, and nothing is shown that could not have been read before; records of an unknown kind
 * or of a size no page may hold are left out.
 *
 * Range deletes hide what older sources hold, as in a merge of runs; those of a damaged section are told as a loss.
 *
 * Order: a page is told lost before the first record behind it is shown.
 *
 * See: tests/unit/test_repair.c. */
#include "repair/source.h"

#include <assert.h>
#include <string.h>
#include "blob/blob_read.h"
#include "format/record.h"
#include "repair/damage.h"

bool span_meet(const struct span *a, const struct span *b, struct span *out) {
  struct span met = *a;
  if (b->has_lower && (!met.has_lower || key_compare(b->lower, met.lower) > 0)) {
    met.has_lower = true;
    met.lower = b->lower;
  }
  if (b->has_upper && (!met.has_upper || key_compare(b->upper, met.upper) < 0)) {
    met.has_upper = true;
    met.upper = b->upper;
  }
  *out = met;
  return !met.has_lower || !met.has_upper || key_compare(met.lower, met.upper) < 0;
}

static struct source *self(struct iterator *it) { return (struct source *)it; }

static struct mem *mem_of(const struct source *source) { return source->reader.io->mem; }

static size_t key_room(const struct source *source) { return source->reader.page_size; }

/* ---- losses ------------------------------------------------------------------------------------------------------ */

static int tell(struct source *source, uint64_t offset, const struct span *span, const char *why,
                struct wodan_error *error) {
  const struct block_ptr *ptr = &source->reader.ptr;
  struct loss loss = {.block = block_io_locate(source->reader.io, ptr->extents, ptr->extent_count, offset),
                      .generation = ptr->generation,
                      .why = why};
  if (!span_meet(span, &source->span, &loss.span)) return 0;
  return source->told(source->context, &loss, error);
}

/* The key behind the last one of page `at`: the first that the next page may hold. */
static struct wodan_slice key_behind(const struct source *source, uint32_t at, uint8_t *out) {
  size_t size = page_key(&source->reader.index, at, out);
  out[size] = 0;
  return (struct wodan_slice){out, size + 1};
}

/* Page `at` of the index is lost. */
static int tell_page(struct source *source, uint32_t at, uint64_t offset, const char *why, struct wodan_error *error) {
  if (at < source->told_to) return 0;
  source->told_to = at + 1;
  size_t room = source->reader.index_size + 1; /* a key lies in its page in two parts */
  uint8_t *keys = mem_alloc(mem_of(source), 2 * room);
  if (!keys) return status_nomem(error);
  struct span span = {.has_lower = at > 0, .has_upper = true, .upper = key_behind(source, at, keys)};
  if (at > 0) span.lower = key_behind(source, at - 1, keys + room);
  int status = tell(source, offset, &span, why, error);
  mem_free(mem_of(source), keys, 2 * room);
  return status;
}

/* The keys that the header tells, everything when it tells none; *upper: the bound's memory, to be freed. */
static int header_span(const struct source *source, struct span *span, uint8_t **upper, struct wodan_error *error) {
  const struct object_header *header = &source->reader.header;
  *span = (struct span){0};
  *upper = NULL;
  if (!source->reader.header_bytes || !header->low.size || !header->high.size) return 0;
  *upper = mem_alloc(mem_of(source), header->high.size + 1);
  if (!*upper) return status_nomem(error);
  memcpy(*upper, header->high.data, header->high.size);
  (*upper)[header->high.size] = 0;
  *span = (struct span){true, true, header->low, {*upper, header->high.size + 1}};
  return 0;
}

/* The whole run is lost; its header may tell which keys that are. */
static int tell_run(struct source *source, const char *why, struct wodan_error *error) {
  struct span span;
  uint8_t *upper;
  int status = header_span(source, &span, &upper, error);
  if (status == 0) status = tell(source, 0, &span, why, error);
  if (upper) mem_free(mem_of(source), upper, span.upper.size);
  return status;
}

/* Keys in it that are looked for elsewhere, and keys that are looked for in it and may be elsewhere. */
static int tell_misplaced(struct source *source, struct wodan_error *error) {
  struct loss loss = {.block = source->reader.ptr.extents[0].first,
                      .generation = source->reader.ptr.generation,
                      .span = source->span,
                      .why = "what stands here belongs elsewhere, in part or as a whole"};
  uint8_t *upper;
  int status = source->told(source->context, &loss, error);
  if (status < 0) return status;
  status = header_span(source, &loss.span, &upper, error);
  if (status == 0) status = source->told(source->context, &loss, error);
  if (upper) mem_free(mem_of(source), upper, loss.span.upper.size);
  return status;
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

static struct wodan_slice take_key(const struct source *source, uint32_t at) {
  return (struct wodan_slice){source->key, page_key(&source->page, at, source->key)};
}

/* Whether a lookup of the key goes to the page at hand. */
static bool belongs(const struct source *source, struct wodan_slice key) {
  bool exact;
  return page_lower_bound(&source->reader.index, key, &exact) == source->page_at;
}

/* By its sequence the record is deleted by a range of its own run. A lookup finds it all the same: it is given up. */
static bool hidden(const struct source *source, struct wodan_slice key, uint64_t sequence) {
  struct ranges ranges = source_ranges(source);
  size_t i = ranges_find(ranges, key);
  return i < ranges.count && key_compare(ranges.at[i].from, key) <= 0 && sequence <= ranges.at[i].sequence;
}

/* Of the page at hand. */
static int tell_hidden(struct source *source, uint64_t offset, struct wodan_error *error) {
  for (uint32_t i = 0; source->reader.ranges && i < source->page.count; i++)
    if (hidden(source, take_key(source, i), page_record(&source->page, i).sequence))
      return tell_page(source, source->page_at, offset, "a record lies in a range that its own run deletes", error);
  return 0;
}

/* *good: the page is at hand. */
static int load(struct source *source, uint32_t at, bool *good, struct wodan_error *error) {
  static const char *const WHY[] = {[RUN_PAGE_UNREADABLE] = "a page cannot be read",
                                    [RUN_PAGE_CHECKSUM] = "a page's checksum is wrong",
                                    [RUN_PAGE_MALFORMED] = "a page is malformed"};
  struct index_entry entry;
  struct wodan_error failure = {0};
  *good = false;
  if (!run_reader_entry(&source->reader, at, &entry))
    return tell_page(source, at, 0, "an index entry names no page", error);
  enum run_page_state state = run_reader_page(&source->reader, &entry, source->page_bytes, &failure);
  if (state == RUN_PAGE_UNREADABLE && failure.code == WODAN_ENOMEM) return status_nomem(error);
  if (state != RUN_PAGE_GOOD) return tell_page(source, at, entry.offset, WHY[state], error);
  source->page = page_view(source->page_bytes);
  source->page_at = at;
  source->strays = !belongs(source, take_key(source, 0)) || !belongs(source, take_key(source, source->page.count - 1));
  *good = true;
  return tell_hidden(source, entry.offset, error);
}

/* The record's value, large, is lost. */
static int tell_large(struct source *source, const struct record *record, const char *why, struct wodan_error *error) {
  uint8_t *upper = mem_alloc(mem_of(source), record->key.size + 1);
  if (!upper) return status_nomem(error);
  memcpy(upper, record->key.data, record->key.size);
  upper[record->key.size] = 0;
  const struct span span = {true, true, record->key, {upper, record->key.size + 1}};
  int status = tell(source, 0, &span, why, error);
  mem_free(mem_of(source), upper, record->key.size + 1);
  return status;
}

/* *sound: the large value that the record names can be read to its end. */
static int prove_large(struct source *source, const struct record *record, bool *sound, struct wodan_error *error) {
  struct block_io *io = source->reader.io;
  struct wodan_error failure = {.message = "its reference is malformed"};
  struct blob_ref ref;
  *sound = blob_ref_decode(record->value.data, record->value.size, &io->bounds, &ref) &&
           ref.ptr.generation < source->reader.ptr.generation;
  if (*sound) {
    const struct blob_source from = {
        .io = io, .mem = io->mem, .page_size = source->reader.page_size, .key = record->key};
    int status = blob_prove(&from, &ref, &failure);
    if (status == WODAN_ENOMEM) return status_nomem(error);
    *sound = status == 0;
  }
  return *sound ? 0 : tell_large(source, record, failure.message, error);
}

/* Whether record `at` of the page at hand may be shown; base.record is it then. */
static bool show(struct source *source, uint32_t at) {
  struct page_record record = page_record(&source->page, at);
  struct wodan_slice key = take_key(source, at);
  if (record.kind > RECORD_PAGE_LAST || key.size > source->reader.page_size / 8 + TABLE_ID_SIZE ||
      key.size <= TABLE_ID_SIZE || record.value.size > source->reader.page_size / 4)
    return false;
  if (source->strays && !belongs(source, key)) return false;
  if (source->reader.ranges && hidden(source, key, record.sequence)) return false;
  uint64_t sequence = record.sequence < source->sequence_max ? record.sequence : source->sequence_max;
  source->base.record = (struct record){.key = key, .sequence = sequence, .kind = record.kind, .value = record.value};
  return true;
}

/* From record `at` of the page at hand on, into later pages. */
static int settle(struct source *source, uint32_t at, struct wodan_error *error) {
  for (;;) {
    for (; at < source->page.count; at++) {
      if (!show(source, at)) continue;
      bool sound = true;
      int status = 0;
      source->at = at;
      if (source->base.record.kind == RECORD_BLOB) status = prove_large(source, &source->base.record, &sound, error);
      if (status) return status;
      if (!sound) continue;
      source->base.valid = true;
      return 0;
    }
    bool good = false;
    uint32_t next = source->page_at + 1;
    for (; next < source->reader.index.count && !good; next++) {
      int status = load(source, next, &good, error);
      if (status) return status;
    }
    if (!good) return 0;
    at = 0;
  }
}

/* The first good page from `at` on, and in it from the first record at or behind *key (NULL: any) on. */
static int enter(struct source *source, uint32_t at, const struct wodan_slice *key, struct wodan_error *error) {
  bool good = false, exact, wanted = key != NULL;
  uint32_t first = at;
  source->base.valid = false;
  for (; at < source->reader.index.count && !good; at++) {
    int status = load(source, at, &good, error);
    if (status) return status;
  }
  if (!good) return 0;
  return settle(source, wanted && source->page_at == first ? page_lower_bound(&source->page, *key, &exact) : 0, error);
}

/* ---- the iterator ------------------------------------------------------------------------------------------------- */

static int first(struct iterator *it, struct wodan_error *error) {
  return self(it)->usable ? enter(self(it), 0, NULL, error) : 0;
}

static int seek(struct iterator *it, struct wodan_slice key, struct wodan_error *error) {
  struct source *source = self(it);
  bool exact;
  if (!source->usable) return 0;
  return enter(source, page_lower_bound(&source->reader.index, key, &exact), &key, error);
}

static int next(struct iterator *it, struct wodan_error *error) {
  struct source *source = self(it);
  assert(it->valid);
  it->valid = false;
  return settle(source, source->at + 1, error);
}

static void around(struct iterator *it, struct wodan_slice key, struct range_stretch *out) {
  ranges_stretch(source_ranges(self(it)), key, out);
}

static void close_nothing(struct iterator *it) { it->valid = false; }

static const struct iterator_ops OPS = {
    .first = first, .seek = seek, .next = next, .around = around, .close = close_nothing};

struct ranges source_ranges(const struct source *source) {
  return range_list_all(source->reader.ranges);
}

/* A failure, or what `told` answered. */
static int read_ranges(struct source *source, struct wodan_error *error) {
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  const char *fault = NULL;
  int status = run_reader_ranges(&source->reader, &fault, &failure);
  if (status == WODAN_ENOMEM) return status_nomem(error);
  source->base.ranges = source->reader.ranges != NULL;
  for (size_t i = 0; source->base.ranges && i < source->reader.ranges->count; i++)
    if (source->reader.ranges->at[i].sequence > source->sequence_max)
      source->reader.ranges->at[i].sequence = source->sequence_max;
  if (source->base.ranges) return 0;
  return tell_run(source, "its range deletes cannot be used: what they hid may come back", error);
}

int source_open(struct source *source, const struct source_setup *setup, const struct block_ptr *ptr,
                struct wodan_error *error) {
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  bool valid = false;
  *source = (struct source){.base = {.ops = &OPS},
                            .span = setup->span,
                            .told = setup->told,
                            .context = setup->context,
                            .sequence_max = setup->sequence_max};
  int status = run_reader_open(&source->reader, setup->io, setup->page_size, ptr, &failure);
  bool ranges = status == 0 && source->reader.deleted;
  if (status == 0 && source->reader.pages) status = run_reader_index(&source->reader, &valid, &failure);
  if (status == WODAN_ENOMEM) return status_nomem(error);
  int told = ranges ? read_ranges(source, error) : 0;
  if (told) return told;
  if (ranges && !source->reader.pages && source->reader.header.record_count == 0) return 0; /* it has nothing else */
  if (!valid) return tell_run(source, status < 0 ? failure.message : "it has no valid index", error);
  source->page_bytes = mem_alloc(setup->io->mem, setup->page_size);
  source->key = mem_alloc(setup->io->mem, key_room(source));
  if (!source->page_bytes || !source->key) return status_nomem(error);
  source->usable = true;
  bool misplaced = setup->damage && damage_misplaced(setup->damage, ptr->generation);
  return misplaced ? tell_misplaced(source, error) : 0;
}

void source_close(struct source *source) {
  struct mem *mem = mem_of(source);
  if (source->page_bytes) mem_free(mem, source->page_bytes, source->reader.page_size);
  if (source->key) mem_free(mem, source->key, key_room(source));
  source->page_bytes = source->key = NULL;
  run_reader_release(&source->reader);
}
