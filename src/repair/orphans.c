/* Owns: the search for runs by their headers, and their merge.
 *
 * Always true: a header counts only with this volume's fsid, a good checksum and its own first block; of a run only pages
 * with a good checksum are read; a run is open only while the walk is between its lowest and its highest key, so memory is
 * bounded by how many runs overlap; header bytes read are at most twice those of the volume.
 *
 * A record that a range delete of any open run hides by its sequence is shown as a delete; so a run with range deletes stays open
 * to the end.
 *
 * Order: runs are opened by rising low key.
 *
 * See: tests/unit/test_repair_runs.c. */
#include "repair/orphans.h"

#include <stdlib.h>
#include <string.h>
#include "format/record.h"

enum { WINDOW = 1 << 18 };

/* ---- finding ------------------------------------------------------------------------------------------------------- */

/* Where a run whose header starts in these bytes lies, as it says itself; not proven yet. */
static bool peek(const struct volume *volume, const uint8_t *bytes, uint64_t block, struct block_ptr *ptr) {
  struct object_header header;
  if (!object_header_peek(bytes, volume->superblock.block_size, &volume->io.bounds, &header) ||
      header.type != OBJECT_RUN || memcmp(header.fsid, volume->io.fsid, sizeof header.fsid) != 0 ||
      header.extents[0].first != block)
    return false;
  *ptr = (struct block_ptr){
      .length = header.length, .header_length = header.header_length, .extent_count = header.extent_count};
  memcpy(ptr->extents, header.extents, sizeof ptr->extents);
  return true;
}

/* The header of a run at this block, proven, and the pointer to it. *header_bytes is the caller's. */
static int read_header(struct volume *volume, const uint8_t *block_bytes, uint64_t block, uint64_t *budget,
                       struct block_ptr *ptr, struct object_header *header, uint8_t **header_bytes) {
  *header_bytes = NULL;
  if (!peek(volume, block_bytes, block, ptr) || ptr->header_length > *budget) return WODAN_ENOTFOUND;
  *budget -= ptr->header_length;
  uint8_t *bytes = mem_alloc_aligned(volume->mem, ptr->header_length, 16);
  if (!bytes) return WODAN_ENOMEM;
  int status = block_io_read(&volume->io, ptr->extents, ptr->extent_count, 0, bytes, ptr->header_length, NULL);
  if (status == 0 &&
      object_header_decode(bytes, ptr->header_length, volume->io.seed, volume->io.fsid, &volume->io.bounds, header)) {
    ptr->generation = header->generation;
    ptr->checksum = header->checksum;
    *header_bytes = bytes;
    return 0;
  }
  mem_free(volume->mem, bytes, ptr->header_length);
  return status == WODAN_ENOMEM ? status : WODAN_ENOTFOUND;
}

static bool wanted(const struct spans *spans, const struct object_header *header) {
  for (size_t i = 0; i < spans->count; i++) {
    const struct span *span = &spans->at[i];
    if (span->has_lower && key_compare(header->high, span->lower) < 0) continue;
    if (span->has_upper && key_compare(header->low, span->upper) >= 0) return false;
    return true;
  }
  return false;
}

static struct wodan_slice copy(struct mem *mem, struct wodan_slice from) {
  uint8_t *bytes = mem_alloc(mem, from.size);
  if (bytes) memcpy(bytes, from.data, from.size);
  return (struct wodan_slice){bytes, from.size};
}

static void slice_free(struct mem *mem, struct wodan_slice slice) {
  if (slice.data) mem_free(mem, (void *)(uintptr_t)slice.data, slice.size);
}

static int keep(struct orphans *orphans, uint64_t block, const struct object_header *header,
                struct wodan_error *error) {
  struct mem *mem = orphans->volume->mem;
  void *at = orphans->at;
  if (!mem_array_grow(mem, &at, &orphans->capacity, orphans->count + 1, sizeof *orphans->at))
    return status_nomem(error);
  orphans->at = at;
  struct orphan orphan = {
      .block = block, .generation = header->generation, .low = copy(mem, header->low), .high = copy(mem, header->high)};
  if (orphan.low.data && orphan.high.data) {
    orphans->at[orphans->count++] = orphan;
    return 0;
  }
  slice_free(mem, orphan.low);
  slice_free(mem, orphan.high);
  return status_nomem(error);
}

static int compare_low(const void *a, const void *b) {
  const struct orphan *x = a, *y = b;
  int c = key_compare(x->low, y->low);
  return c ? c : (x->block > y->block) - (x->block < y->block);
}

struct search {
  struct orphans *orphans;
  const struct spans *spans;
  uint64_t budget; /* bytes of headers that may still be read */
};

static int look_at(struct search *search, const uint8_t *bytes, uint64_t block, struct wodan_error *error) {
  struct volume *volume = search->orphans->volume;
  struct object_header header;
  struct block_ptr ptr;
  uint8_t *header_bytes;
  int status = read_header(volume, bytes, block, &search->budget, &ptr, &header, &header_bytes);
  if (status == WODAN_ENOMEM) return status_nomem(error);
  if (status < 0) return 0;
  bool take = header.low.size && header.high.size && wanted(search->spans, &header);
  status = take ? keep(search->orphans, block, &header, error) : 0;
  mem_free(volume->mem, header_bytes, ptr.header_length);
  return status;
}

int orphans_find(struct orphans *orphans, const struct bitmap *owned, const struct spans *spans,
                 struct wodan_error *error) {
  struct volume *volume = orphans->volume;
  uint64_t size = volume->superblock.block_size, end = volume->device.raw->geometry.size / size;
  uint64_t first = volume->io.bounds.data_first, part = WINDOW > size ? WINDOW / size : 1;
  struct search search = {.orphans = orphans, .spans = spans, .budget = 2 * end * size};
  volume_use_all(volume);
  uint8_t *window = mem_alloc_aligned(volume->mem, part * size, BLOCK_IO_ALIGNMENT);
  if (!window) return status_nomem(error);
  int status = 0;
  for (uint64_t at = first; at < end && status == 0; at += part) {
    uint64_t count = end - at < part ? end - at : part;
    bool whole = device_read(&volume->device, at * size, window, (size_t)(count * size), NULL) == 0;
    for (uint64_t i = 0; i < count && status == 0; i++) { /* one bad block must not hide its neighbours */
      uint8_t *block = window + i * size;
      if (owned && bitmap_next_set(owned, at + i, at + i + 1) == at + i) continue;
      if (whole || device_read(&volume->device, (at + i) * size, block, (size_t)size, NULL) == 0)
        status = look_at(&search, block, at + i, error);
    }
  }
  mem_free(volume->mem, window, part * size);
  if (status == 0 && orphans->count) qsort(orphans->at, orphans->count, sizeof *orphans->at, compare_low);
  return status;
}

/* ---- merging ------------------------------------------------------------------------------------------------------- */

static void close_at(struct orphans *orphans, size_t at) {
  struct mem *mem = orphans->volume->mem;
  struct source *source = orphans->open[at].source;
  source_close(source);
  mem_free(mem, source, sizeof *source);
  orphans->open[at] = orphans->open[--orphans->open_count];
}

void orphans_release(struct orphans *orphans) {
  if (!orphans->volume) return;
  struct mem *mem = orphans->volume->mem;
  while (orphans->open_count) close_at(orphans, 0);
  mem_array_free(mem, orphans->open, orphans->open_capacity, sizeof *orphans->open);
  for (size_t i = 0; i < orphans->count; i++) {
    slice_free(mem, orphans->at[i].low);
    slice_free(mem, orphans->at[i].high);
  }
  mem_array_free(mem, orphans->at, orphans->capacity, sizeof *orphans->at);
  *orphans = (struct orphans){0};
}

/* Nobody has to be told what an orphan lacks. */
static int unheard(void *context, const struct loss *loss, struct wodan_error *error) {
  (void)context, (void)loss, (void)error;
  return 0;
}

/* Reads the orphan's header again and opens it; *out NULL: it cannot be read any more. */
static int open_source(struct orphans *orphans, const struct orphan *orphan, struct source **out,
                       struct wodan_error *error) {
  struct volume *volume = orphans->volume;
  uint64_t size = volume->superblock.block_size, budget = UINT64_MAX;
  const struct source_setup setup = {.io = &volume->io,
                                     .page_size = volume->superblock.page_size,
                                     .sequence_max = JOURNAL_COUNTER_LIMIT - 1,
                                     .told = unheard};
  struct object_header header;
  struct block_ptr ptr;
  uint8_t *header_bytes = NULL, *bytes = mem_alloc_aligned(volume->mem, size, BLOCK_IO_ALIGNMENT);
  *out = NULL;
  if (!bytes) return status_nomem(error);
  int status = device_read(&volume->device, orphan->block * size, bytes, (size_t)size, NULL);
  if (status == 0) status = read_header(volume, bytes, orphan->block, &budget, &ptr, &header, &header_bytes);
  mem_free(volume->mem, bytes, size);
  if (header_bytes) mem_free(volume->mem, header_bytes, ptr.header_length);
  if (status == WODAN_ENOMEM) return status_nomem(error);
  if (status < 0) return 0;
  struct source *source = mem_zalloc(volume->mem, sizeof *source);
  if (!source) return status_nomem(error);
  status = source_open(source, &setup, &ptr, error);
  *out = source;
  return status;
}

int orphans_packed(struct orphans *orphans, bool *packed, struct wodan_error *error) {
  struct mem *mem = orphans->volume->mem;
  int status = 0;
  *packed = false;
  for (size_t i = 0; i < orphans->count && status == 0 && !*packed; i++) {
    struct source *source;
    status = open_source(orphans, &orphans->at[i], &source, error);
    if (!source) continue;
    *packed = source->usable && run_reader_packed(&source->reader);
    source_close(source);
    mem_free(mem, source, sizeof *source);
  }
  return status;
}

/* Opens `orphan` and moves it to the first key at or behind *lower (NULL: any) and its own low key, for the walk may be
 * behind that already; one without any is not kept open. */
static int open_orphan(struct orphans *orphans, const struct orphan *orphan, const struct wodan_slice *lower,
                       struct wodan_error *error) {
  struct mem *mem = orphans->volume->mem;
  struct source *source;
  void *open = orphans->open;
  if (!mem_array_grow(mem, &open, &orphans->open_capacity, orphans->open_count + 1, sizeof *orphans->open))
    return status_nomem(error);
  orphans->open = open;
  int status = open_source(orphans, orphan, &source, error);
  if (!source) return status;
  orphans->open[orphans->open_count++] = (struct orphan_source){source, orphan};
  struct wodan_slice from = lower && key_compare(*lower, orphan->low) > 0 ? *lower : orphan->low;
  if (status == 0) status = iterator_seek(&source->base, from, error);
  if (status == 0 && !source->base.valid && !source->base.ranges) close_at(orphans, orphans->open_count - 1);
  return status;
}

/* The open source with the least key, and of those the newest record; NULL: none is open. */
static struct orphan_source *least(struct orphans *orphans) {
  struct orphan_source *best = NULL;
  for (size_t i = 0; i < orphans->open_count; i++) {
    struct orphan_source *at = &orphans->open[i];
    if (!at->source->base.valid) continue;
    int c = best ? key_compare(at->source->base.record.key, best->source->base.record.key) : -1;
    const struct record *record = &at->source->base.record;
    if (c < 0 || (c == 0 && (record->sequence > best->source->base.record.sequence ||
                             (record->sequence == best->source->base.record.sequence &&
                              at->orphan->generation > best->orphan->generation))))
      best = at;
  }
  return best;
}

/* The newest range delete over the record hides it, when it is newer. Every run whose ranges may reach its key is open. */
static void hide(struct orphans *orphans) {
  struct record *record = &orphans->base.record;
  for (size_t i = 0; i < orphans->open_count; i++) {
    struct ranges ranges = source_ranges(orphans->open[i].source);
    size_t at = ranges_find(ranges, record->key);
    if (at == ranges.count || key_compare(ranges.at[at].from, record->key) > 0) continue;
    if (ranges.at[at].sequence <= record->sequence) continue;
    *record = (struct record){.key = record->key, .sequence = ranges.at[at].sequence, .kind = RECORD_DELETE};
    orphans->from = orphans->open[i].orphan;
  }
}

/* Opens what may hold the least key (at or behind *lower), then shows it. */
static int settle(struct orphans *orphans, const struct wodan_slice *lower, struct wodan_error *error) {
  struct orphan_source *best = least(orphans);
  for (; orphans->next < orphans->count; orphans->next++) {
    const struct orphan *orphan = &orphans->at[orphans->next];
    if (best && key_compare(orphan->low, best->source->base.record.key) > 0) break;
    if (lower && key_compare(orphan->high, *lower) < 0) continue;
    int status = open_orphan(orphans, orphan, lower, error);
    if (status < 0) return status;
    best = least(orphans);
  }
  orphans->base.valid = best != NULL;
  if (!best) return 0;
  orphans->base.record = best->source->base.record;
  orphans->from = best->orphan;
  hide(orphans);
  return 0;
}

static struct orphans *self(struct iterator *it) { return (struct orphans *)it; }

static void rewind_all(struct orphans *orphans) {
  while (orphans->open_count) close_at(orphans, 0);
  orphans->next = 0;
  orphans->base.valid = false;
}

static int first(struct iterator *it, struct wodan_error *error) {
  rewind_all(self(it));
  return settle(self(it), NULL, error);
}

static int seek(struct iterator *it, struct wodan_slice key, struct wodan_error *error) {
  rewind_all(self(it));
  return settle(self(it), &key, error);
}

/* Closes the sources at their end. */
static void close_ended(struct orphans *orphans) {
  for (size_t i = orphans->open_count; i-- > 0;)
    if (!orphans->open[i].source->base.valid && !orphans->open[i].source->base.ranges) close_at(orphans, i);
}

/* Every open source moves off the key; the one whose memory the key is in goes last. */
static int next(struct iterator *it, struct wodan_error *error) {
  struct orphans *orphans = self(it);
  struct wodan_slice key = it->record.key;
  struct iterator *shown = NULL;
  int status = 0;
  it->valid = false;
  for (size_t i = 0; i < orphans->open_count && status == 0; i++) {
    struct iterator *source = &orphans->open[i].source->base;
    if (!source->valid) continue;
    if (source->record.key.data == key.data)
      shown = source;
    else if (key_compare(source->record.key, key) == 0)
      status = iterator_next(source, error);
  }
  if (status == 0 && shown) status = iterator_next(shown, error);
  if (status < 0) return status;
  close_ended(orphans);
  return settle(orphans, NULL, error);
}

static void close_nothing(struct iterator *it) { it->valid = false; }

static const struct iterator_ops OPS = {.first = first, .seek = seek, .next = next, .close = close_nothing};

void orphans_init(struct orphans *orphans, struct volume *volume) {
  *orphans = (struct orphans){.base = {.ops = &OPS}, .volume = volume};
}
