/* Owns: the way of one key through journal and tree.
 *
 * Always true: the same filter, index and page that a lookup reads are read, and the first version met is the one a lookup
 * answers; behind it the way goes on, so that older versions are seen too. A node is entered only by the pivot that covers
 * the key, one level lower each time, so there are at most as many steps as levels and runs on the way.
 *
 * Order: journal (its newest operation decides), then in each node the runs newest first, then the entry; so the first found
 * is the newest.
 *
 * See: include/wodan/inspect.h; tree/lookup.c; tests/unit/test_inspect.c. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include "format/blob.h"
#include "codec/checksum.h"
#include "format/range.h"
#include "format/stored_page.h"
#include "inspect/inspect_private.h"
#include "run/filter.h"

enum { ATTEMPTS = 2 };

struct path {
  struct wodan_inspect *inspect;
  struct wodan_slice key; /* the tree's */
  int (*step)(void *context, const struct wodan_path_step *step);
  void *context;
  bool decided, there; /* a version was met; the first one is no delete */
  bool unsure;         /* damage stood before the first one: a lookup fails */
  uint64_t newest;     /* sequence of the newest operation in the journal, 0: none */
};

static int tell(struct path *path, struct wodan_path_step *step) {
  if (step->probe == WODAN_PROBE_DAMAGED && !path->decided) path->unsure = path->decided = true;
  if (step->probe == WODAN_PROBE_FOUND && !path->decided && (!step->in_journal || step->sequence == path->newest)) {
    step->decides = 1;
    path->decided = true;
    path->there = !step->deleted;
  }
  return path->step(path->context, step);
}

/* The operation concerns the key. */
static bool concerns(const struct path *path, const struct record *record) {
  if (record->kind != RECORD_DELETE_RANGE) return key_compare(record->key, path->key) == 0;
  return key_compare(record->key, path->key) <= 0 && key_compare(path->key, record->value) < 0;
}

/* ---- journal ---------------------------------------------------------------------------------------------------- */

static int look_ahead(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  struct path *path = context;
  (void)block, (void)error;
  if (concerns(path, record)) path->newest = record->sequence;
  return 0;
}

/* Of a large value only its size and its place. */
static void show_value(const struct path *path, struct wodan_path_step *step, uint8_t kind, struct wodan_slice value) {
  struct blob_ref ref;
  if (kind == RECORD_BLOB && blob_ref_decode(value.data, value.size, &path->inspect->io.bounds, &ref)) {
    step->large_size = ref.size;
    step->large_block = ref.ptr.extents[0].first;
  } else {
    step->value = value;
  }
}

static int journal_step(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  struct path *path = context;
  (void)error;
  if (!concerns(path, record)) return 0;
  uint64_t ring = superblock_ring_blocks(&path->inspect->superblock);
  struct wodan_path_step step = {.probe = WODAN_PROBE_FOUND,
                                 .in_journal = 1,
                                 .block = inspect_ring_place(path->inspect, block % ring),
                                 .page_block = WODAN_NO_BLOCK,
                                 .deleted = record->kind == RECORD_DELETE || record->kind == RECORD_DELETE_RANGE,
                                 .ranged = record->kind == RECORD_DELETE_RANGE,
                                 .sequence = record->sequence};
  show_value(path, &step, record->kind, record->value);
  return tell(path, &step);
}

/* Damage in the journal was told at open: the operations before it are shown. */
static int journal_steps(struct path *path, struct wodan_error *error) {
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  int status = inspect_replay(path->inspect, WODAN_NEWEST_ROOT, look_ahead, path, &failure);
  if (status == WODAN_ENOMEM) return status_nomem(error);
  if (path->newest == 0) return 0;
  status = inspect_replay(path->inspect, WODAN_NEWEST_ROOT, journal_step, path, &failure);
  if (status == WODAN_ENOMEM) return status_nomem(error);
  return status == failure.code ? 0 : status;
}

/* ---- runs and leaves -------------------------------------------------------------------------------------------- */

/* One run being probed, and what of it is in memory. */
struct probe {
  struct path *path;
  const struct block_ptr *ptr;
  struct wodan_path_step *step;
  struct object_header header;
  uint8_t *header_bytes, *index, *filter, *ranges, *page, *stored;
  uint64_t index_size, filter_size, ranges_size, page_size, stored_size;
};

static void probe_release(struct probe *probe) {
  struct mem *mem = &probe->path->inspect->mem;
  if (probe->header_bytes) mem_free(mem, probe->header_bytes, probe->ptr->header_length);
  if (probe->index) mem_free(mem, probe->index, (size_t)probe->index_size);
  if (probe->filter) mem_free(mem, probe->filter, (size_t)probe->filter_size);
  if (probe->ranges) mem_free(mem, probe->ranges, (size_t)probe->ranges_size);
  if (probe->page) mem_free(mem, probe->page, (size_t)probe->page_size);
  if (probe->stored) mem_free(mem, probe->stored, (size_t)probe->stored_size);
}

static int malformed(const struct probe *probe, const char *what, struct wodan_error *failure) {
  return status_corrupt(failure, probe->ptr->extents[0].first, "run of generation %" PRIu64 ": %s",
                        probe->ptr->generation, what);
}

/* Header and filter. *denied: the filter says no. */
static int probe_filter(struct probe *probe, bool *denied, struct wodan_error *failure) {
  struct block_io *io = &probe->path->inspect->io;
  struct wodan_slice key = probe->path->key;
  int status = block_io_read_header(io, probe->ptr, OBJECT_RUN, &probe->header, &probe->header_bytes, failure);
  *denied = false;
  if (status < 0) return status;
  const struct section *filter = object_section(&probe->header, SECTION_FILTER);
  if (!filter) return 0;
  probe->step->has_filter = 1;
  uint32_t lines = filter_lines(probe->header.record_count);
  if (!lines || filter->length != (uint64_t)lines * FILTER_LINE_SIZE)
    return malformed(probe, "its filter's size does not fit its records", failure); /* guard: bounds */
  status = block_io_read_section(io, probe->ptr, filter, &probe->filter, failure);
  if (status < 0) return status;
  probe->filter_size = filter->length;
  *denied = !filter_may_contain(probe->filter, lines, checksum(io->seed, key.data, key.size));
  return 0;
}

/* The index entry for the key. *outside: there is no page for it. */
static int probe_index(struct probe *probe, struct index_entry *entry, bool *outside, struct wodan_error *failure) {
  struct block_io *io = &probe->path->inspect->io;
  const struct section *pages = object_section(&probe->header, SECTION_PAGES);
  const struct section *index = object_section(&probe->header, SECTION_INDEX);
  bool exact;
  *outside = !pages && !index && probe->header.record_count == 0; /* it has range deletes only */
  if (*outside) return 0;
  if (!pages || !index) return malformed(probe, "it has no pages or no index", failure); /* guard: bounds */
  int status = block_io_read_section(io, probe->ptr, index, &probe->index, failure);
  if (status < 0) return status;
  probe->index_size = index->length;
  if (!page_validate(probe->index, (size_t)probe->index_size))
    return malformed(probe, "its index is malformed", failure); /* guard: bounds */
  struct page page = page_view(probe->index);
  uint32_t at = page_lower_bound(&page, probe->path->key, &exact);
  if (at == page.count) {
    *outside = true;
    return 0;
  }
  struct page_record record = page_record(&page, at);
  uint64_t end = pages->offset + pages->length;
  if (record.kind != RECORD_PUT || record.sequence ||
      !index_entry_decode(record.value.data, record.value.size, entry) || entry->offset < pages->offset ||
      entry->offset > end || entry->length > end - entry->offset ||
      entry->size > probe->path->inspect->superblock.page_size)
    return malformed(probe, "an index entry cannot be", failure); /* guard: bounds */
  return 0;
}

static int probe_page(struct probe *probe, const struct index_entry *entry, struct wodan_error *failure) {
  struct wodan_inspect *inspect = probe->path->inspect;
  struct wodan_path_step *step = probe->step;
  const struct block_ptr *ptr = probe->ptr;
  enum stored_page state = STORED_PAGE_CHECKSUM;
  bool exact, packed = stored_page_packed(entry);
  int status = 0;
  step->page_block = block_io_locate(&inspect->io, ptr->extents, ptr->extent_count, entry->offset);
  step->page_offset = entry->offset;
  step->page_size = entry->size;
  step->page_stored = entry->length;
  probe->page = mem_alloc_aligned(&inspect->mem, entry->size, 64);
  probe->page_size = entry->size;
  probe->stored = packed ? mem_alloc(&inspect->mem, entry->length) : NULL;
  probe->stored_size = entry->length;
  uint8_t *stored = packed ? probe->stored : probe->page;
  if (!probe->page || !stored) return status_nomem(failure);
  for (int attempt = 0; attempt < ATTEMPTS && state != STORED_PAGE_GOOD; attempt++) {
    status =
        block_io_read(&inspect->io, ptr->extents, ptr->extent_count, entry->offset, stored, entry->length, failure);
    if (status == 0) state = stored_page_take(inspect->io.seed, entry, stored, probe->page);
  }
  if (status < 0) return status;
  if (state != STORED_PAGE_GOOD)
    return status_corrupt(failure, step->page_block, "run of generation %" PRIu64 ": %s", ptr->generation,
                          stored_page_text(state)); /* guard: checksum */
  struct page page = page_view(probe->page);
  uint32_t at = page_lower_bound(&page, probe->path->key, &exact);
  step->page_count = page.count;
  step->probe = WODAN_PROBE_ABSENT;
  if (!exact) return 0;
  struct page_record record = page_record(&page, at);
  step->probe = WODAN_PROBE_FOUND;
  step->deleted = record.kind == RECORD_DELETE;
  step->sequence = record.sequence;
  show_value(probe->path, step, record.kind, record.value);
  return 0;
}

/* Whether a range delete of the run, which does not have the key, hides what is older. */
static int probe_ranges(struct probe *probe, struct wodan_error *failure) {
  struct wodan_inspect *inspect = probe->path->inspect;
  const struct range_limits limits = {inspect->superblock.page_size / 8 + TABLE_ID_SIZE, probe->header.sequence_max};
  const struct section *section = object_section(&probe->header, SECTION_RANGE_TOMBSTONES);
  uint64_t count;
  if (!section || probe->step->probe == WODAN_PROBE_FOUND) return 0;
  int status = block_io_read_section(&inspect->io, probe->ptr, section, &probe->ranges, failure);
  if (status < 0) return status;
  probe->ranges_size = section->length;
  const char *fault = range_section_fault(probe->ranges, (size_t)section->length, &limits, &count);
  if (fault) return malformed(probe, fault, failure); /* guard: bounds */
  struct wire_reader r = wire_reader(probe->ranges, (size_t)section->length);
  struct range_delete range;
  wire_get_varint(&r);
  while (count-- > 0 && range_decode(&r, &range)) {
    struct key_span span = {range.from, range.to};
    if (!span_holds(&span, probe->path->key)) continue;
    probe->step->probe = WODAN_PROBE_FOUND;
    probe->step->deleted = probe->step->ranged = 1;
    probe->step->sequence = range.sequence;
  }
  return 0;
}

static int probe_run(struct path *path, const struct block_ptr *ptr, struct wodan_path_step *step,
                     struct wodan_error *error) {
  struct probe probe = {.path = path, .ptr = ptr, .step = step};
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  struct index_entry entry = {0};
  bool denied = false, outside = false;
  int status = probe_filter(&probe, &denied, &failure);
  if (denied) step->probe = WODAN_PROBE_FILTERED;
  if (status == 0 && !denied) status = probe_index(&probe, &entry, &outside, &failure);
  if (outside) step->probe = WODAN_PROBE_OUTSIDE;
  if (status == 0 && !denied && !outside) status = probe_page(&probe, &entry, &failure);
  if (status == 0) status = probe_ranges(&probe, &failure);
  if (status < 0) {
    step->probe = WODAN_PROBE_DAMAGED;
    status = inspect_failed(path->inspect, &failure, ptr->extents[0].first, ptr->generation);
  }
  status = status < 0 ? status_nomem(error) : tell(path, step);
  probe_release(&probe);
  return status;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------ */

static struct wodan_path_step step_of(const struct block_ptr *ptr, uint32_t kind, uint32_t level) {
  return (struct wodan_path_step){.kind = kind,
                                  .level = level,
                                  .block = ptr->extents[0].first,
                                  .generation = ptr->generation,
                                  .page_block = WODAN_NO_BLOCK};
}

/* The entry that covers the key: the last whose pivot is not above it, or the first. */
static uint32_t entry_of(const struct node_image *image, struct wodan_slice key) {
  uint32_t low = 0, high = image->entry_count;
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (key_compare(image->entries[middle].pivot, key) <= 0)
      low = middle;
    else
      high = middle;
  }
  return low;
}

/* A node, its runs, and in a bottom node the leaf. */
static int node_steps(struct path *path, const struct block_ptr *ptr, const struct node_image *image,
                      struct wodan_error *error) {
  struct wodan_path_step step = step_of(ptr, WODAN_OBJECT_NODE, image->level);
  uint32_t entry = image->entry_count ? entry_of(image, path->key) : 0;
  uint64_t absorbed = image->entry_count ? image->entries[entry].branch.flushed_upto : 0;
  step.entries = image->entry_count;
  step.runs = image->run_count;
  step.entry = entry;
  step.flushed_upto = absorbed;
  int status = tell(path, &step);
  for (uint32_t i = 0; i < image->run_count && status == 0; i++) {
    const struct block_ptr *run = &image->runs[i].ptr;
    step = step_of(run, WODAN_OBJECT_RUN, image->level);
    step.probe = WODAN_PROBE_ABSORBED;
    status = run->generation <= absorbed ? tell(path, &step) : probe_run(path, run, &step, error);
  }
  if (status || image->level || !image->entry_count) return status;
  step = step_of(&image->entries[entry].branch.ptr, WODAN_OBJECT_LEAF, 0);
  return probe_run(path, &image->entries[entry].branch.ptr, &step, error);
}

static int damaged_node(struct path *path, const struct block_ptr *ptr, const struct node_place *place,
                        const struct wodan_error *failure, struct wodan_error *error) {
  struct wodan_path_step step = step_of(ptr, WODAN_OBJECT_NODE, place->level);
  step.probe = WODAN_PROBE_DAMAGED;
  if (inspect_failed(path->inspect, failure, step.block, step.generation) < 0) return status_nomem(error);
  return tell(path, &step);
}

static int tree_steps(struct path *path, const struct block_ptr *root, struct wodan_error *error) {
  struct node_image images[2] = {0}; /* a node's range lies in its parent's image */
  struct node_place place = node_place_root();
  struct block_ptr ptr = *root;
  int status = 0;
  for (uint32_t depth = 0; depth < NODE_LEVELS_MAX && status == 0; depth++) {
    struct node_image *image = &images[depth % 2];
    struct wodan_error failure = {.block = WODAN_NO_BLOCK};
    node_image_release(image);
    bool good = node_image_read(&path->inspect->io, &ptr, image, &failure) == 0;
    if (!good) memset(image, 0, sizeof *image);
    if (!good || node_image_prove(image, &ptr, &place, &failure) < 0) {
      status = damaged_node(path, &ptr, &place, &failure, error);
      break;
    }
    status = node_steps(path, &ptr, image, error);
    if (image->level == 0) break;
    uint32_t entry = entry_of(image, path->key);
    place.level = image->level;
    struct node_place child = node_place_entry(&place, image, entry);
    child.has_lower = child.has_lower && entry > 0; /* an ancestor's bound lies in an image that goes away */
    child.has_upper = child.has_upper && entry + 1 < image->entry_count;
    place = child;
    ptr = image->entries[entry].branch.ptr;
  }
  node_image_release(&images[0]);
  node_image_release(&images[1]);
  return status;
}

int wodan_inspect_path(struct wodan_inspect *inspect, uint32_t which, struct wodan_slice key,
                       int (*step)(void *, const struct wodan_path_step *), void *context, struct wodan_error *error) {
  struct wodan_error unheard;
  uint8_t tree_key[TREE_KEY_MAX];
  if (!error) error = &unheard;
  *error = (struct wodan_error){.block = WODAN_NO_BLOCK};
  if (!inspect || !step || which > WODAN_OLDER_ROOT || !key.size || key.size > TREE_KEY_MAX - TABLE_ID_SIZE)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK,
                      "wodan_inspect_path: an argument is missing or unknown, or the key is empty or too long");
  tree_key[0] = TABLE_DEFAULT;
  memcpy(tree_key + TABLE_ID_SIZE, key.data, key.size);
  struct path path = {
      .inspect = inspect, .key = {tree_key, key.size + TABLE_ID_SIZE}, .step = step, .context = context};
  const struct checkpoint_record *record = inspect_root(inspect, which);
  int status = which == WODAN_NEWEST_ROOT ? journal_steps(&path, error) : 0;
  if (status == 0 && record && record->root.generation) status = tree_steps(&path, &record->root, error);
  if (status) return status;
  if (path.unsure)
    return status_corrupt(
        error, WODAN_NO_BLOCK,
        "what a lookup would need first is damaged; versions shown are older"); /* no guard: damage was told */
  if (path.there) return 0;
  return status_set(error, WODAN_ENOTFOUND, 0, WODAN_NO_BLOCK, "%s",
                    path.decided ? "the newest version of the key is a delete" : "no version of the key is there");
}
