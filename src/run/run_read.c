/* Owns: run handles: their life, loading, proof of pages on their way into the cache, and point lookups.
 *
 * Always true:
 *  - what a lookup reads of a handle is set before `loaded` and never changes after it;
 *  - a loaded handle's index is a proven page whose entries cover the pages section without a gap, in ascending keys;
 *  - a frame in a slot holds a page that passed page_proven, so nothing is checked on a hit;
 *  - a section's memory is as long as the section, which block_io bounds.
 *
 * Order: a lookup probes the filter, then the index, then the page; a hit takes one pin, no lock, no memory. At the
 * last reference the slots are dropped before their memory goes.
 *
 * See: FORMAT.md "Runs", tests/unit/test_run.c, test_run_damage.c. */
#include <assert.h>
#include "codec/checksum.h"
#include "format/node_header.h"
#include "run/filter.h"
#include "run/run_private.h"

enum { ATTEMPTS = 2 };

/* ---- life ---------------------------------------------------------------------------------------------------- */

struct run *run_create(struct run_env *env, const struct block_ptr *ptr) {
  assert(env->mem == env->io->mem); /* what block_io allocates is freed here */
  struct run *run = mem_alloc_aligned(env->mem, sizeof *run, 64);
  if (!run) return NULL;
  memset(run, 0, sizeof *run);
  atomic_init(&run->loaded, false);
  atomic_init(&run->references, 1);
  atomic_init(&run->dead, false);
  run->env = env;
  run->ptr = *ptr;
  if (lock_init(&run->lock)) {
    mem_free(env->mem, run, sizeof *run);
    return NULL;
  }
  return run;
}

void run_ref(struct run *run) {
  uint32_t before = atomic_fetch_add_explicit(&run->references, 1, memory_order_relaxed);
  assert(before > 0 && before < UINT32_MAX);
  (void)before;
}

/* Frees what loading got; the handle is as before it. */
static void unload(struct run *run) {
  struct mem *mem = run->env->mem;
  if (run->slots) cache_drop(run->env->cache, run->slots, run->index.count);
  mem_array_free(mem, run->slots, run->index.count, sizeof *run->slots);
  mem_free(mem, run->filter_bytes, (size_t)run->filter_lines * FILTER_LINE_SIZE);
  mem_free(mem, run->index_bytes, run->index.size);
  mem_free(mem, run->header, run->ptr.header_length);
  run->slots = NULL;
  run->header = run->index_bytes = run->filter_bytes = NULL;
  run->filter = NULL;
  run->filter_lines = 0;
  run->index = (struct page){0};
}

void run_unref(struct run *run) {
  if (!run) return;
  uint32_t before = atomic_fetch_sub_explicit(&run->references, 1, memory_order_acq_rel);
  assert(before > 0);
  if (before > 1) return;
  if (atomic_load_explicit(&run->dead, memory_order_acquire))
    space_defer(run->env->space, run->ptr.extents, run->ptr.extent_count, run->ptr.generation);
  unload(run);
  lock_release(&run->lock);
  mem_free(run->env->mem, run, sizeof *run);
}

void run_mark_dead(struct run *run) {
  assert(!atomic_load_explicit(&run->dead, memory_order_relaxed));
  atomic_store_explicit(&run->dead, true, memory_order_release);
}

const struct block_ptr *run_ptr(const struct run *run) { return &run->ptr; }

void run_set_counts(struct run *run, uint64_t records, uint64_t deletes) {
  assert(records && deletes <= records);
  run->records = records;
  run->deletes = deletes;
}
uint64_t run_records(const struct run *run) { return run->records; }
uint64_t run_deletes(const struct run *run) { return run->deletes; }

/* ---- loading ------------------------------------------------------------------------------------------------- */

static int run_corrupt(const struct run *run, uint64_t offset, const char *what, struct wodan_error *error) {
  uint64_t block = block_io_locate(run->env->io, run->ptr.extents, run->ptr.extent_count, offset);
  return status_corrupt(error, block, "the run of generation %llu: %s (byte %llu of it)",
                        (unsigned long long)run->ptr.generation, what, (unsigned long long)offset);
}

/* The key of record `index`, in two parts. */
static void key_parts(const struct page *page, uint32_t index, struct wodan_slice parts[2]) {
  parts[0] = page_prefix(page);
  parts[1] = page_record(page, index).suffix;
}

/* key_compare of two keys that lie in two parts each. */
static int compare_parts(const struct wodan_slice a[2], const struct wodan_slice b[2]) {
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

static int compare_whole(const struct wodan_slice parts[2], struct wodan_slice key) {
  struct wodan_slice whole[2] = {key, {NULL, 0}};
  return compare_parts(parts, whole);
}

/* The entry of data page `index`; proven when loaded. */
static struct index_entry entry_at(const struct run *run, uint32_t index) {
  struct index_entry entry = {0};
  struct wodan_slice value = page_record(&run->index, index).value;
  bool ok = index_entry_decode(value.data, value.size, &entry);
  assert(ok);
  (void)ok;
  return entry;
}

/* NULL when the index covers exactly the pages section and the key range, else what is wrong. */
static const char *index_fault(const struct run *run, const struct object_header *header, const struct section *pages) {
  uint64_t at = pages->offset, end = pages->offset + pages->length;
  for (uint32_t i = 0; i < run->index.count; i++) {
    struct page_record record = page_record(&run->index, i);
    struct index_entry entry;
    if (record.kind != RECORD_PUT || !index_entry_decode(record.value.data, record.value.size, &entry))
      return "an index entry does not decode";
    if (entry.offset != at || entry.size != entry.length || entry.length > end - at)
      return "the index does not cover the pages one behind the other";
    if (entry.size > run->env->page_size || entry.size < PAGE_HEADER_SIZE)
      return "the index names a page of a size that cannot be";
    at += entry.length;
  }
  if (at != end) return "the index does not reach the end of the pages";
  struct wodan_slice first[2], last[2];
  key_parts(&run->index, 0, first);
  key_parts(&run->index, run->index.count - 1, last);
  if (compare_whole(first, header->low) < 0 || compare_whole(last, header->high) != 0)
    return "the index does not agree with the key range";
  if (header->record_count < run->index.count) return "there are more pages than records";
  return NULL;
}

static int load_index(struct run *run, const struct object_header *header, struct wodan_error *error) {
  const struct section *pages = object_section(header, SECTION_PAGES), *index = object_section(header, SECTION_INDEX);
  if (!pages || !index || !header->low.size || !header->high.size)
    return run_corrupt(run, 0, "its header lacks pages, index or key range", error);
  int status = block_io_read_section(run->env->io, &run->ptr, index, &run->index_bytes, error);
  if (status) return status;
  run->index = (struct page){.size = (uint32_t)index->length}; /* what unload gives back */
  if (!page_validate(run->index_bytes, (size_t)index->length))
    return run_corrupt(run, index->offset, "its index is not a valid page", error);
  struct page view = page_view(run->index_bytes);
  run->index = view;
  const char *fault = index_fault(run, header, pages);
  return fault ? run_corrupt(run, index->offset, fault, error) : 0;
}

static int load_filter(struct run *run, const struct object_header *header, struct wodan_error *error) {
  const struct section *section = object_section(header, SECTION_FILTER);
  if (!section) return 0;
  uint32_t lines = filter_lines(header->record_count);
  if (!lines || section->length != (uint64_t)lines * FILTER_LINE_SIZE)
    return run_corrupt(run, section->offset, "its filter has a size other than its records need", error);
  int status = block_io_read_section(run->env->io, &run->ptr, section, &run->filter_bytes, error);
  if (status) return status;
  run->filter = run->filter_bytes;
  run->filter_lines = lines;
  return 0;
}

/* Lock held, not loaded. */
static int load(struct run *run, struct wodan_error *error) {
  struct object_header header;
  int status = block_io_read_header(run->env->io, &run->ptr, OBJECT_RUN, &header, &run->header, error);
  if (!status) status = load_index(run, &header, error);
  if (!status) status = load_filter(run, &header, error);
  if (!status) {
    run->slots = mem_array(run->env->mem, run->index.count, sizeof *run->slots);
    if (!run->slots) status = status_nomem(error);
  }
  if (status) {
    unload(run);
    return status;
  }
  for (uint32_t i = 0; i < run->index.count; i++) atomic_init(&run->slots[i], NULL);
  run->shape = (struct run_shape){.low = header.low,
                                  .high = header.high,
                                  .record_count = header.record_count,
                                  .sequence_max = header.sequence_max,
                                  .page_count = run->index.count};
  atomic_store_explicit(&run->loaded, true, memory_order_release);
  return 0;
}

int run_ready(struct run *run, struct wodan_error *error) {
  if (atomic_load_explicit(&run->loaded, memory_order_acquire)) return 0;
  lock_acquire(&run->lock);
  int status = atomic_load_explicit(&run->loaded, memory_order_relaxed) ? 0 : load(run, error);
  lock_leave(&run->lock);
  return status;
}

int run_load(struct run *run, struct run_shape *shape, struct wodan_error *error) {
  int status = run_ready(run, error);
  if (!status && shape) *shape = run->shape;
  return status;
}

/* ---- pages --------------------------------------------------------------------------------------------------- */

/* NULL when the bytes are the page its index entry names, else what is wrong. */
static const char *page_fault(const struct run *run, uint32_t index, const struct index_entry *entry,
                              const uint8_t *bytes) {
#ifndef MUTANT_NO_PAGE_CHECKSUM
  if (checksum(run->env->io->seed, bytes, entry->length) != entry->checksum) return "a page has a wrong checksum";
#endif
  if (!page_validate(bytes, entry->size)) return "a page breaks the rules of its format";
  struct page page = page_view(bytes);
  struct wodan_slice first[2], last[2], bound[2];
  key_parts(&page, 0, first);
  key_parts(&page, page.count - 1, last);
  key_parts(&run->index, index, bound);
  if (compare_parts(last, bound) != 0) return "a page does not end with the key its index names";
  if (index == 0) return compare_whole(first, run->shape.low) < 0 ? "a page starts below the key range" : NULL;
  key_parts(&run->index, index - 1, bound);
  return compare_parts(first, bound) <= 0 ? "a page starts below its place in the index" : NULL;
}

/* Reads a page into a frame and proves it; a second time before it is called damage. */
static int page_read(struct run *run, uint32_t index, uint8_t *bytes, struct wodan_error *error) {
  struct index_entry entry = entry_at(run, index);
  int status = 0;
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    status =
        block_io_read(run->env->io, run->ptr.extents, run->ptr.extent_count, entry.offset, bytes, entry.length, error);
    const char *fault = status ? NULL : page_fault(run, index, &entry, bytes);
    if (!status && !fault) return 0;
    if (fault) status = run_corrupt(run, entry.offset, fault, error);
    if (status == WODAN_ENOMEM) break;
  }
  return status;
}

int run_pin_page(struct run *run, uint32_t index, struct frame **frame, struct wodan_error *error) {
  assert(index < run->index.count);
  struct cache *cache = run->env->cache;
  *frame = cache_pin(cache, &run->slots[index]);
  if (*frame) return 0;
  struct frame *ours = cache_reserve(cache);
  if (!ours)
    return status_set(error, WODAN_ENOMEM, 0, WODAN_NO_BLOCK, "no memory for a page: all cached ones are in use");
  int status = page_read(run, index, cache_fill(ours), error);
  if (status) {
    cache_cancel(cache, ours);
    return status;
  }
  *frame = cache_publish(cache, &run->slots[index], ours);
  return 0;
}

/* ---- lookup -------------------------------------------------------------------------------------------------- */

uint64_t run_key_hash(const struct run_env *env, struct wodan_slice key) {
  return checksum(env->io->seed, key.data, key.size);
}

void run_prefetch(struct run *run, uint64_t hash) {
  if (!atomic_load_explicit(&run->loaded, memory_order_acquire)) return;
  if (run->filter_lines)
    filter_prefetch(run->filter, run->filter_lines, hash);
  else
    __builtin_prefetch(run->index.data);
}

int run_get(struct run *run, struct wodan_slice key, uint64_t hash, struct record *record, struct frame **pin,
            struct wodan_error *error) {
  int status = run_ready(run, error);
  if (status) return status;
  if (run->filter_lines && !filter_may_contain(run->filter, run->filter_lines, hash)) return WODAN_ENOTFOUND;
  bool exact;
  uint32_t index = page_lower_bound(&run->index, key, &exact);
  if (index == run->index.count) return WODAN_ENOTFOUND;
  struct frame *frame;
  status = run_pin_page(run, index, &frame, error);
  if (status) return status;
  struct page page = page_view(cache_data(frame));
  uint32_t at = page_lower_bound(&page, key, &exact);
  if (!exact) {
    cache_unpin(frame);
    return WODAN_ENOTFOUND;
  }
  struct page_record found = page_record(&page, at);
  *record = (struct record){.key = key, .sequence = found.sequence, .kind = found.kind, .value = found.value};
  *pin = frame;
  return 0;
}
