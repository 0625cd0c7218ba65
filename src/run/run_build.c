/* Owns: writing a run: cutting records into pages, streaming the pages out, then index, filter, list of blobs and header.
 *
 * Always true:
 *  - the header's room is fixed when the first record or range comes, for the longest last key there can be;
 *  - range deletes are kept encoded until the end; they bound the run's range of keys as its records do;
 *  - the builder holds each blob whose record it was given, until the run does;
 *  - a page is written as it was built, compressed when that gains enough, or as another run holds it, under the checksum
 *    its index entry had there.
 *
 * Order: as object_writer.c. Nothing here is a barrier: the checkpoint that first names the run orders and flushes it.
 *
 * See: FORMAT.md "Runs", tests/unit/test_run.c, test_run_pages.c. */
#include <assert.h>
#include "codec/checksum.h"
#include "format/node_header.h"
#include "format/page.h"
#include "object/object_writer.h"
#include "run/filter.h"
#include "run/run_private.h"

enum { CHUNK_SIZE = 512 << 10, RUN_SECTIONS = 5, HASHES = 512 };

struct run_builder {
  struct run_env *env;
  struct run_build_options options;
  struct object_writer object;

  struct page_builder *page, *index;
  uint8_t *scratch;                     /* page_size bytes: a finished page on its way into the chunk */
  uint8_t *key;                         /* key_size_max bytes: the last key of that page */
  uint64_t **hashes;                    /* of the keys, when a filter is wanted: HASHES each */
  size_t hashes_capacity, hashes_count; /* pointers, and those in use */

  struct wodan_slice low, high; /* own memory */
  uint32_t header_length;       /* 0 before the first record */
  uint64_t count, deletes, sequence_max;
  uint64_t page_bytes; /* of the pages in the object, before compression */
  bool packed;         /* a page was stored compressed */
  uint8_t *ranges;     /* encoded, without their count */
  size_t ranges_size, ranges_capacity;
  uint64_t range_count;
  size_t ranges_end; /* bytes of the last one's end, and where in `ranges` it is */
  size_t ranges_end_at;
  struct section sections[RUN_SECTIONS];
  uint32_t section_count;

  struct run_blobs blobs; /* held by the builder */
  uint8_t *list;          /* their pointers, as the run's list has them */
  size_t list_size, list_capacity;
};

static size_t key_size_max(const struct run_env *env) { return env->page_size / 8 + TABLE_ID_SIZE; }

static uint32_t header_size_max(const struct run_env *env, size_t low_size, uint32_t sections) {
  return object_header_size_max(&env->io->bounds, low_size, key_size_max(env), BLOCK_PTR_EXTENTS_MAX, sections);
}

/* A record costs its key, its value and at most RECORD_OVERHEAD bytes; a page its header. A page is cut when the next
 * record, at most 3/8 of a page, does not fit, or when it is half full and a page of half or more is copied behind it: so
 * all pages but the last hold at least half. An index record costs a
 * key, an entry and as much overhead. */
uint64_t run_size_bound(const struct run_env *env, uint64_t records, uint64_t bytes, bool filter) {
  enum { RECORD_OVERHEAD = 4 + 4 + 3 + 3 + 10 };
  uint64_t page = env->page_size, payload = bytes + records * RECORD_OVERHEAD;
  uint64_t pages = payload / (page / 2 - PAGE_HEADER_SIZE - RECORD_OVERHEAD - TABLE_ID_SIZE) + 1;
  if (pages > records) pages = records;
  uint64_t keys = pages * key_size_max(env) < bytes ? pages * key_size_max(env) : bytes;
  uint64_t size = header_size_max(env, key_size_max(env), RUN_SECTIONS) + payload + pages * PAGE_HEADER_SIZE;
  size += PAGE_HEADER_SIZE + keys + pages * (RECORD_OVERHEAD + INDEX_ENTRY_SIZE_MAX);
  if (filter) size += (uint64_t)filter_lines(records) * FILTER_LINE_SIZE;
  return size;
}

/* ---- life ---------------------------------------------------------------------------------------------------- */

static void slice_free(struct mem *mem, struct wodan_slice slice) {
  mem_free(mem, (void *)(uintptr_t)slice.data, slice.size);
}

static bool slice_copy(struct mem *mem, struct wodan_slice from, struct wodan_slice *to) {
  uint8_t *bytes = mem_alloc(mem, from.size);
  if (!bytes) return false;
  memcpy(bytes, from.data, from.size);
  *to = (struct wodan_slice){.data = bytes, .size = from.size};
  return true;
}

/* Also when there are too many for a filter. */
static void hashes_free(struct run_builder *builder) {
  struct mem *mem = builder->env->mem;
  while (builder->hashes_count) mem_array_free(mem, builder->hashes[--builder->hashes_count], HASHES, sizeof(uint64_t));
  mem_array_free(mem, builder->hashes, builder->hashes_capacity, sizeof *builder->hashes);
  builder->hashes = NULL;
  builder->hashes_capacity = 0;
}

/* All but the space. */
static void builder_free(struct run_builder *builder) {
  struct mem *mem = builder->env->mem;
  page_builder_free(builder->page);
  page_builder_free(builder->index);
  mem_free(mem, builder->scratch, builder->env->page_size);
  mem_free(mem, builder->key, key_size_max(builder->env));
  hashes_free(builder);
  run_blobs_release(builder->env, &builder->blobs);
  mem_array_free(mem, builder->list, builder->list_capacity, 1);
  mem_array_free(mem, builder->ranges, builder->ranges_capacity, 1);
  slice_free(mem, builder->low);
  slice_free(mem, builder->high);
  mem_free(mem, builder, sizeof *builder);
}

void run_builder_abort(struct run_builder *builder) {
  if (!builder) return;
  object_writer_release(&builder->object, true);
  builder_free(builder);
}

int run_builder_create(struct run_env *env, const struct run_build_options *options, struct run_builder **out,
                       struct wodan_error *error) {
  *out = NULL;
  struct run_builder *builder = mem_zalloc(env->mem, sizeof *builder);
  if (!builder) return status_nomem(error);
  builder->env = env;
  builder->options = *options;
  struct object_writer_options object = {.size_max = options->size_max,
                                         .chunk_size = env->chunk_size ? env->chunk_size : CHUNK_SIZE,
                                         .kind = options->kind,
                                         .spare = options->spare};
  bool ready = object_writer_init(&builder->object, env->io, env->space, &object, error) == 0;
  builder->page = page_builder_create(env->mem);
  builder->index = page_builder_create(env->mem);
  builder->scratch = mem_alloc(env->mem, env->page_size);
  builder->key = mem_alloc(env->mem, key_size_max(env));
  if (!ready || !builder->page || !builder->index || !builder->scratch || !builder->key) {
    run_builder_abort(builder);
    return status_nomem(error);
  }
  *out = builder;
  return 0;
}

/* ---- records ------------------------------------------------------------------------------------------------- */

static void count_page(struct run_builder *builder, const struct page_bytes *page, bool passed) {
  struct run_counters *counters = builder->env->counters;
  bool packed = page->stored_size < page->size;
  builder->packed |= packed;
  builder->page_bytes += page->size;
  if (!counters || builder->options.kind != SPACE_LEAF) return;
  atomic_fetch_add_explicit(&counters->leaf_pages, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&counters->leaf_bytes, page->size, memory_order_relaxed);
  atomic_fetch_add_explicit(&counters->leaf_stored_bytes, page->stored_size, memory_order_relaxed);
  if (packed) atomic_fetch_add_explicit(&counters->leaf_pages_packed, 1, memory_order_relaxed);
  if (packed && passed) atomic_fetch_add_explicit(&counters->leaf_pages_passed, 1, memory_order_relaxed);
}

/* What is to stand on the device for page->data. */
static void pack_page(struct run_builder *builder, struct page_bytes *page) {
  struct compressor *compressor = builder->env->compressor;
  enum compression how = builder->options.compress;
  size_t packed = how ? compressor_pack(compressor, how, page->data, page->size, &page->stored) : 0;
  page->stored_size = (uint32_t)packed;
  if (!packed) {
    page->stored = page->data;
    page->stored_size = page->size;
  }
  page->checksum = checksum(builder->env->io->seed, page->stored, page->stored_size);
}

/* What stands for a page into the object, and its record into the index. */
static int put_page(struct run_builder *builder, const struct page_bytes *bytes, struct wodan_error *error) {
  struct page page = page_view(bytes->data);
  struct index_entry entry = {.offset = object_writer_at(&builder->object),
                              .length = bytes->stored_size,
                              .size = bytes->size,
                              .checksum = bytes->checksum};
  uint8_t value[INDEX_ENTRY_SIZE_MAX];
  struct record record = {.key = {builder->key, page_key(&page, page.count - 1, builder->key)},
                          .kind = RECORD_PUT,
                          .value = {value, index_entry_encode(&entry, value, sizeof value)}};
  if (!page_builder_add(builder->index, &record)) return status_nomem(error);
  return object_writer_append(&builder->object, bytes->stored, bytes->stored_size, error);
}

static int flush_page(struct run_builder *builder, struct wodan_error *error) {
  size_t size = page_builder_size(builder->page);
  assert(size > 0 && size <= builder->env->page_size);
  page_builder_finish(builder->page, builder->scratch);
  struct page_bytes page = {.data = builder->scratch, .size = (uint32_t)size};
  pack_page(builder, &page);
  count_page(builder, &page, false);
  return put_page(builder, &page, error);
}

/* The first key fixes the header's room. */
static int start(struct run_builder *builder, struct wodan_slice low, struct wodan_error *error) {
  if (!slice_copy(builder->env->mem, low, &builder->low)) return status_nomem(error);
  builder->header_length = header_size_max(builder->env, low.size, RUN_SECTIONS - !builder->options.ranges);
  return object_writer_append(&builder->object, NULL, builder->header_length, error);
}

/* Room for hashes up to `count`; with more than a filter may have there is none. */
static bool hashes_room(struct run_builder *builder, uint64_t count) {
  struct mem *mem = builder->env->mem;
  uint64_t most = builder->env->filter_keys;
  if (most && count > most) {
    builder->options.filter = false;
    hashes_free(builder);
    return true;
  }
  while ((uint64_t)builder->hashes_count * HASHES < count) {
    void *pointers = builder->hashes;
    bool room =
        mem_array_grow(mem, &pointers, &builder->hashes_capacity, builder->hashes_count + 1, sizeof *builder->hashes);
    builder->hashes = pointers;
    uint64_t *more = room ? mem_array(mem, HASHES, sizeof *more) : NULL;
    if (!more) return false;
    builder->hashes[builder->hashes_count++] = more;
  }
  return true;
}

static void put_hash(struct run_builder *builder, uint64_t at, struct wodan_slice key) {
  builder->hashes[at / HASHES][at % HASHES] = run_key_hash(builder->env, key);
}

static bool keep_hash(struct run_builder *builder, struct wodan_slice key) {
  if (!hashes_room(builder, builder->count + 1)) return false;
  if (builder->options.filter) put_hash(builder, builder->count, key);
  return true;
}

/* A record of a large value: its pointer goes into the list, and the run will hold the blob. */
static int list_blob(struct run_builder *builder, const struct record *record, struct wodan_error *error) {
  struct run_env *env = builder->env;
  struct blob_ref ref;
  if (!blob_ref_decode(record->value.data, record->value.size, &env->io->bounds, &ref))
    return status_corrupt(error, WODAN_NO_BLOCK,
                          "a record's reference to a large value is malformed"); /* guard: bounds */
  struct wodan_slice pointer = blob_ref_pointer(record->value.data, record->value.size);
  void *list = builder->list;
  bool room = mem_array_grow(env->mem, &list, &builder->list_capacity, builder->list_size + pointer.size, 1);
  builder->list = list;
  if (!room) return status_nomem(error);
  int status = run_blobs_add(env, &builder->blobs, &ref.ptr, error);
  if (status) return status;
  memcpy(builder->list + builder->list_size, pointer.data, pointer.size);
  builder->list_size += pointer.size;
  return 0;
}

int run_builder_add(struct run_builder *builder, const struct record *record, struct wodan_error *error) {
  uint32_t page_size = builder->env->page_size;
  assert(record->key.size > 0);
  if (record->key.size > key_size_max(builder->env) || record->value.size > page_size)
    return status_set(error, WODAN_ETOOBIG, 0, WODAN_NO_BLOCK, "a key of %zu or a value of %zu bytes is too big",
                      record->key.size, record->value.size);
  int status = builder->header_length ? 0 : start(builder, record->key, error);
  if (status) return status;
  bool over, room = page_builder_add_within(builder->page, record, page_size, &over);
  if (over && page_builder_count(builder->page)) {
    status = flush_page(builder, error);
    if (status) return status;
    assert(key_compare(page_builder_last_key(builder->index), record->key) < 0);
    room = page_builder_add_within(builder->page, record, page_size, &over);
  }
  if (!room) return status_nomem(error);
  if (over)
    return status_set(error, WODAN_ETOOBIG, 0, WODAN_NO_BLOCK, "a record of %zu bytes does not fit into a page",
                      record->key.size + record->value.size);
  if (builder->options.filter && !keep_hash(builder, record->key)) return status_nomem(error);
  if (record->kind == RECORD_BLOB) status = list_blob(builder, record, error);
  if (status) return status;
  builder->count++;
  if (record->kind == RECORD_DELETE) builder->deletes++;
  if (record->sequence > builder->sequence_max) builder->sequence_max = record->sequence;
  return 0;
}

/* The filter's hashes of a page's keys; they count from the next add on. */
static bool keep_page_hashes(struct run_builder *builder, const struct page *page) {
  if (!hashes_room(builder, builder->count + page->count)) return false;
  for (uint32_t i = 0; builder->options.filter && i < page->count; i++) {
    struct wodan_slice key = {builder->key, page_key(page, i, builder->key)};
    put_hash(builder, builder->count + i, key);
  }
  return true;
}

int run_builder_add_page(struct run_builder *builder, const struct page_bytes *page, bool *taken,
                         struct wodan_error *error) {
  uint32_t page_size = builder->env->page_size;
  size_t pending = page_builder_size(builder->page);
  *taken = false;
  if (page->size < page_size / 2 || page->size > page_size || (pending && pending < page_size / 2)) return 0;
  int status = builder->header_length ? 0 : start(builder, page->first, error);
  if (!status && pending) status = flush_page(builder, error);
  if (status) return status;
  assert(builder->count == 0 || key_compare(page_builder_last_key(builder->index), page->first) < 0);
  struct page view = page_view(page->data);
  if (builder->options.filter && !keep_page_hashes(builder, &view)) return status_nomem(error);
  struct page_bytes put = *page;
  bool packs = !put.stored || (put.fresh && builder->options.compress);
  if (packs) pack_page(builder, &put);
  count_page(builder, &put, !packs);
  status = put_page(builder, &put, error);
  if (status) return status;
  builder->count += page->count;
  if (page->sequence_max > builder->sequence_max) builder->sequence_max = page->sequence_max;
  *taken = true;
  return 0;
}

int run_builder_add_range(struct run_builder *builder, const struct range_delete *range, struct wodan_error *error) {
  size_t key_max = key_size_max(builder->env);
  assert(builder->options.ranges && range_sound(range->from, range->to));
  if (range->from.size > key_max || range->to.size > key_max)
    return status_set(error, WODAN_ETOOBIG, 0, WODAN_NO_BLOCK, "a key of %zu bytes is too big",
                      range->from.size > range->to.size ? range->from.size : range->to.size);
  int status = builder->header_length ? 0 : start(builder, range->from, error);
  if (status) return status;
  size_t size = (size_t)range_size(range);
  void *bytes = builder->ranges;
  bool room = mem_array_grow(builder->env->mem, &bytes, &builder->ranges_capacity, builder->ranges_size + size, 1);
  builder->ranges = bytes;
  if (!room) return status_nomem(error);
  struct wire_writer w = wire_writer(builder->ranges + builder->ranges_size, size);
  range_encode(&w, range);
  assert(!w.failed && w.at == size);
  builder->ranges_size += size;
  builder->ranges_end = range->to.size;
  builder->ranges_end_at = builder->ranges_size - wire_varint_size(range->sequence) - range->to.size;
  builder->range_count++;
  if (range->sequence > builder->sequence_max) builder->sequence_max = range->sequence;
  return 0;
}

uint64_t run_builder_bytes(const struct run_builder *builder) {
  return object_writer_at(&builder->object) + page_builder_size(builder->page) + builder->list_size +
         builder->ranges_size;
}

bool run_builder_packed(const struct run_builder *builder, uint64_t *weight) {
  if (!builder->packed) return false;
  uint64_t payload = run_builder_bytes(builder) - builder->header_length + page_builder_size(builder->index);
  uint64_t least = (builder->page_bytes + page_builder_size(builder->page)) / RUN_STRETCH_MAX;
  *weight = payload > least ? payload : least;
  return true;
}

/* ---- finish -------------------------------------------------------------------------------------------------- */

static int append_section(struct run_builder *builder, uint8_t tag, const uint8_t *bytes, size_t size,
                          struct wodan_error *error) {
  return object_writer_section(&builder->object, tag, bytes, size, &builder->sections[builder->section_count++], error);
}

/* The last page, and the section of all of them. */
static int finish_pages(struct run_builder *builder, struct wodan_error *error) {
  int status = page_builder_count(builder->page) ? flush_page(builder, error) : 0;
  uint64_t length = object_writer_at(&builder->object) - builder->header_length;
  builder->sections[builder->section_count++] =
      (struct section){.tag = SECTION_PAGES, .offset = builder->header_length, .length = length};
  return status;
}

static int finish_index(struct run_builder *builder, struct wodan_error *error) {
  struct mem *mem = builder->env->mem;
  size_t size = page_builder_size(builder->index);
  uint8_t *bytes = mem_alloc(mem, size);
  if (!bytes) return status_nomem(error);
  page_builder_finish(builder->index, bytes);
  int status = append_section(builder, SECTION_INDEX, bytes, size, error);
  mem_free(mem, bytes, size);
  return status;
}

static int finish_filter(struct run_builder *builder, struct wodan_error *error) {
  struct mem *mem = builder->env->mem;
  uint32_t lines = filter_lines(builder->count);
  assert(lines > 0);
  size_t size = (size_t)lines * FILTER_LINE_SIZE;
  uint8_t *filter = mem_zalloc(mem, size);
  if (!filter) return status_nomem(error);
  for (uint64_t i = 0; i < builder->count; i++) filter_add(filter, lines, builder->hashes[i / HASHES][i % HASHES]);
  int status = append_section(builder, SECTION_FILTER, filter, size, error);
  mem_free(mem, filter, size);
  return status;
}

static int finish_list(struct run_builder *builder, struct wodan_error *error) {
  struct mem *mem = builder->env->mem;
  size_t count_size = wire_varint_size(builder->blobs.count), size = count_size + builder->list_size;
  uint8_t *bytes = mem_alloc(mem, size);
  if (!bytes) return status_nomem(error);
  struct wire_writer w = wire_writer(bytes, size);
  wire_put_varint(&w, builder->blobs.count);
  wire_put_bytes(&w, builder->list, builder->list_size);
  int status = append_section(builder, SECTION_BLOBS, bytes, size, error);
  mem_free(mem, bytes, size);
  return status;
}

/* The greater of the last record's key and the end of the last range. */
static bool keep_high(struct run_builder *builder) {
  struct wodan_slice high = {NULL, 0};
  struct wodan_slice last = builder->count ? page_builder_last_key(builder->index) : (struct wodan_slice){NULL, 0};
  if (builder->range_count) high = (struct wodan_slice){builder->ranges + builder->ranges_end_at, builder->ranges_end};
  if (key_compare(last, high) > 0) high = last;
  return slice_copy(builder->env->mem, high, &builder->high);
}

static int finish_ranges(struct run_builder *builder, struct range_list **list, struct wodan_error *error) {
  struct mem *mem = builder->env->mem;
  size_t size = wire_varint_size(builder->range_count) + builder->ranges_size;
  uint8_t *bytes = mem_alloc(mem, size);
  if (!bytes) return status_nomem(error);
  struct wire_writer w = wire_writer(bytes, size);
  wire_put_varint(&w, builder->range_count);
  wire_put_bytes(&w, builder->ranges, builder->ranges_size);
  int status = append_section(builder, SECTION_RANGE_TOMBSTONES, bytes, size, error);
  if (!status) *list = range_list_create(run_env_skeleton(builder->env), bytes, size);
  mem_free(mem, bytes, size);
  if (!status && !*list) status = status_nomem(error);
  return status;
}

static int finish_sections(struct run_builder *builder, struct range_list **list, struct wodan_error *error) {
  if (!builder->count && !builder->range_count)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "a run needs at least one record or range");
  int status = builder->count ? finish_pages(builder, error) : 0;
  if (!status && !keep_high(builder))
    status = status_nomem(error); /* before the index is finished, which has the last key */
  if (!status && builder->count) status = finish_index(builder, error);
  if (!status && builder->count && builder->options.filter) status = finish_filter(builder, error);
  if (!status && builder->blobs.count) status = finish_list(builder, error);
  if (!status && builder->range_count) status = finish_ranges(builder, list, error);
  return status;
}

static int finish(struct run_builder *builder, uint64_t generation, struct block_ptr *ptr, struct range_list **list,
                  struct wodan_error *error) {
  assert(generation > 0);
  int status = finish_sections(builder, list, error);
  if (status) return status;
  struct object_header header = {.type = OBJECT_RUN,
                                 .generation = generation,
                                 .epoch = builder->env->epoch,
                                 .header_length = builder->header_length,
                                 .record_count = builder->count,
                                 .sequence_max = builder->sequence_max,
                                 .low = builder->low,
                                 .high = builder->high,
                                 .section_count = builder->section_count};
  memcpy(header.fsid, builder->env->io->fsid, sizeof header.fsid);
  memcpy(header.sections, builder->sections, sizeof builder->sections);
  return object_writer_finish(&builder->object, &header, ptr, error);
}

int run_builder_finish(struct run_builder *builder, uint64_t generation, struct block_ptr *ptr,
                       struct run_counts *counts, struct wodan_error *error) {
  struct range_list *list = NULL;
  int status = finish(builder, generation, ptr, &list, error);
  if (status) {
    range_list_free(run_env_skeleton(builder->env), list);
    run_builder_abort(builder);
    return status;
  }
  assert(counts || !list);
  if (counts)
    *counts = (struct run_counts){.records = builder->count,
                                  .deletes = builder->deletes,
                                  .blobs = builder->blobs.count,
                                  .page_bytes = builder->page_bytes,
                                  .ranges = list};
  object_writer_release(&builder->object, false);
  builder_free(builder);
  return 0;
}

int run_builder_finish_run(struct run_builder *builder, uint64_t generation, struct wodan_slice pivot, struct run **out,
                           struct wodan_error *error) {
  struct run_env *env = builder->env;
  struct range_list *list = NULL;
  struct block_ptr ptr;
  *out = NULL;
  int status = finish(builder, generation, &ptr, &list, error);
  struct run *run = status ? NULL : run_create(env, &ptr, pivot);
  if (!run) {
    range_list_free(run_env_skeleton(env), list);
    run_builder_abort(builder);
    return status ? status : status_nomem(error);
  }
  run_set_counts(run, builder->count, builder->deletes);
  run_set_page_bytes(run, builder->page_bytes);
  run_set_ranges(run, list);
  run_set_blobs(run, &builder->blobs);
  object_writer_release(&builder->object, false);
  builder_free(builder);
  *out = run;
  return 0;
}
