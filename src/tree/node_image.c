/* Owns: the bytes of a node as a whole: header, table of leaves or children, run list.
 *
 * Always true after node_image_read: the level is below NODE_LEVELS_MAX and its table is the one that the level asks for;
 * only a bottom node may have no entry; pivots ascend; runs are newest first with distinct generations, hold at least one
 * record or range delete and no more deletes than records; every pointer lies inside the data area and is older than the node.
 *
 * See: format/object_header.h, format/node_header.h, tests/unit/test_node_image.c. */
#include "tree/node_image.h"

#include <assert.h>
#include <string.h>
#include "codec/checksum.h"
#include "format/page.h"

void node_image_release(struct node_image *image) {
  if (!image->mem) return;
  mem_array_free(image->mem, image->entries, image->entry_capacity, sizeof *image->entries);
  mem_array_free(image->mem, image->lean, image->entry_capacity, sizeof *image->lean);
  mem_array_free(image->mem, image->runs, image->run_count, sizeof *image->runs);
  mem_array_free(image->mem, image->lean_runs, image->run_count, sizeof *image->lean_runs);
  mem_free(image->mem, image->header, image->header_size);
  mem_free(image->mem, image->page, image->page_size);
  mem_free(image->mem, image->list, image->list_size);
  mem_free(image->mem, image->pivots, image->pivots_size);
  memset(image, 0, sizeof *image);
}

static int damaged(const struct block_ptr *ptr, struct wodan_error *error, const char *what) {
  return status_corrupt(error, ptr->extents[0].first, "node of generation %llu: %s",
                        (unsigned long long)ptr->generation, what);
}

/* The branch entry of a record of the table: false when it is none. */
static bool decode_branch(const struct page_record *record, const struct volume_bounds *bounds,
                          struct branch_entry *branch) {
  return record->sequence == 0 && record->kind == RECORD_PUT &&
         branch_entry_decode(record->value.data, record->value.size, bounds, branch); /* guard: bounds */
}

static int decode_entries(struct block_io *io, const struct block_ptr *ptr, struct node_image *image, bool lean,
                          struct wodan_error *error) {
  if (!page_validate(image->page, image->page_size))
    return damaged(ptr, error, "its table of leaves or children is malformed"); /* guard: bounds */
  struct page page = page_view(image->page);
  struct wodan_slice prefix = page_prefix(&page);
  size_t total = 0;
  for (uint32_t i = 0; i < page.count; i++) {
    size_t size = prefix.size + page_record(&page, i).suffix.size;
    if (size > TREE_KEY_MAX) return damaged(ptr, error, "a pivot is longer than any key"); /* guard: bounds */
    total += size;
  }
  image->entry_count = 0;
  image->entry_capacity = page.count;
  if (lean)
    image->lean = mem_array(image->mem, page.count, sizeof *image->lean);
  else
    image->entries = mem_array(image->mem, page.count, sizeof *image->entries);
  image->pivots_size = total ? total : 1;
  image->pivots = mem_alloc(image->mem, image->pivots_size);
  if (!(image->entries || image->lean) || !image->pivots) return status_nomem(error);
  uint8_t *at = image->pivots;
  for (uint32_t i = 0; i < page.count; i++) {
    struct page_record record = page_record(&page, i);
    struct branch_entry branch;
    if (!decode_branch(&record, &io->bounds, &branch))
      return damaged(ptr, error, "a leaf or child entry is malformed"); /* guard: bounds */
    if (branch.ptr.generation >= ptr->generation || branch.flushed_upto >= ptr->generation)
      return damaged(ptr, error, "a leaf or child is not older than the node"); /* guard: bounds */
    if (image->level && branch.blobs)
      return damaged(ptr, error, "a child is said to have large values"); /* guard: bounds */
    size_t size = page_key(&page, i, at);
    struct wodan_slice pivot = {at, size};
    if (lean)
      image->lean[i] = pivot;
    else
      image->entries[i] = (struct node_image_entry){pivot, branch};
    at += size;
    image->entry_count++;
  }
  return 0;
}

enum { RUN_SIZE_MIN = 14 + 3 }; /* bytes of an encoded pointer that is not null, and three counts */

/* NULL, or what is wrong with the next run of the list. */
static const char *decode_run(struct wire_reader *r, const struct volume_bounds *bounds, struct node_image_run *run) {
  if (!block_ptr_decode(r, bounds, &run->ptr) || run->ptr.generation == 0)
    return "a run pointer is malformed"; /* guard: bounds */
  run->records = wire_get_varint(r);
  run->deletes = wire_get_varint(r);
  run->blobs = wire_get_varint(r);
  run->ranges = wire_get_varint(r);
  if (r->failed || (run->records == 0 && run->ranges == 0) || run->deletes > run->records ||
      run->blobs > run->records - run->deletes)
    return "the counts of a run cannot be"; /* guard: bounds */
  return NULL;
}

static int decode_runs(struct block_io *io, const struct block_ptr *ptr, struct node_image *image, bool lean,
                       struct wodan_error *error) {
  struct wire_reader r = wire_reader(image->list, image->list_size);
  uint64_t count = wire_get_varint(&r);
  if (r.failed || count > image->list_size / RUN_SIZE_MIN)
    return damaged(ptr, error, "its run list is malformed"); /* guard: bounds */
  if (lean)
    image->lean_runs = mem_array(image->mem, (size_t)count, sizeof *image->lean_runs);
  else
    image->runs = mem_array(image->mem, (size_t)count, sizeof *image->runs);
  if (!image->runs && !image->lean_runs) return status_nomem(error);
  image->run_count = (uint32_t)count; /* the array's size, for release */
  uint64_t newer = ptr->generation;
  for (uint64_t i = 0; i < count; i++) {
    struct node_image_run kept, *run = lean ? &kept : &image->runs[i];
    if (lean) image->lean_runs[i] = (uint32_t)r.at;
    const char *flaw = decode_run(&r, &io->bounds, run);
    if (flaw) return damaged(ptr, error, flaw); /* no guard: those of decode_run judge */
    if (run->ptr.generation >= newer)
      return damaged(ptr, error, "its runs are not ordered newest first"); /* guard: bounds */
    newer = run->ptr.generation;
  }
  if (r.at != r.size) return damaged(ptr, error, "its run list is longer than it says"); /* guard: bounds */
  return 0;
}

static int read_node(struct block_io *io, const struct block_ptr *ptr, struct node_image *image, bool lean,
                     struct wodan_error *error) {
  struct object_header header;
  int status = block_io_read_header(io, ptr, OBJECT_NODE, &header, &image->header, error);
  if (status < 0) return status;
  image->header_size = ptr->header_length;
  image->level = (uint32_t)header.record_count; /* below NODE_LEVELS_MAX: proven with the header */
  const struct section *table = object_section(&header, image->level ? SECTION_CHILDREN : SECTION_LEAVES);
  const struct section *runs = object_section(&header, SECTION_RUNS);
  if (!runs || header.section_count != (table ? 2u : 1u))
    return damaged(ptr, error, "its sections do not fit its level");                    /* guard: bounds */
  if (!table && image->level) return damaged(ptr, error, "an inner node has no child"); /* guard: bounds */
  if (table) {
    image->page_size = (size_t)table->length;
    status = block_io_read_section(io, ptr, table, &image->page, error);
    if (status == 0) status = decode_entries(io, ptr, image, lean, error);
    if (status < 0) return status;
  }
  image->list_size = (size_t)runs->length;
  status = block_io_read_section(io, ptr, runs, &image->list, error);
  return status < 0 ? status : decode_runs(io, ptr, image, lean, error);
}

static int read_image(struct block_io *io, const struct block_ptr *ptr, struct node_image *image, bool lean,
                      struct wodan_error *error) {
  *image = (struct node_image){.mem = io->mem};
  if (ptr->generation == 0) return 0;
  int status = read_node(io, ptr, image, lean, error);
  if (status < 0) node_image_release(image);
  return status;
}

int node_image_read(struct block_io *io, const struct block_ptr *ptr, struct node_image *image,
                    struct wodan_error *error) {
  return read_image(io, ptr, image, false, error);
}

int node_image_read_lean(struct block_io *io, const struct block_ptr *ptr, struct node_image *image,
                         struct wodan_error *error) {
  return read_image(io, ptr, image, true, error);
}

struct wodan_slice node_image_pivot(const struct node_image *image, uint32_t i) {
  assert(i < image->entry_count);
  return image->lean ? image->lean[i] : image->entries[i].pivot;
}

struct branch_entry node_image_branch(const struct node_image *image, uint32_t i, const struct volume_bounds *bounds) {
  assert(i < image->entry_count);
  struct branch_entry branch = {0};
  if (!image->lean) return image->entries[i].branch;
  struct page page = page_view(image->page);
  struct page_record record = page_record(&page, i);
  bool ok = decode_branch(&record, bounds, &branch);
  assert(ok); /* proven when it was read */
  (void)ok;
  return branch;
}

struct node_image_run node_image_run(const struct node_image *image, uint32_t i, const struct volume_bounds *bounds) {
  assert(i < image->run_count);
  struct node_image_run run = {0};
  if (!image->lean_runs) return image->runs[i];
  struct wire_reader r = wire_reader(image->list + image->lean_runs[i], image->list_size - image->lean_runs[i]);
  const char *flaw = decode_run(&r, bounds, &run);
  assert(!flaw); /* proven when it was read */
  (void)flaw;
  return run;
}

/* ---- encoding --------------------------------------------------------------------------------------------------- */

static struct page_builder *entry_table(struct block_io *io, const struct node_image *image) {
  struct page_builder *builder = page_builder_create(io->mem);
  for (uint32_t i = 0; builder && i < image->entry_count; i++) {
    uint8_t value[BRANCH_ENTRY_SIZE_MAX];
    uint32_t size = branch_entry_encode(&image->entries[i].branch, value, sizeof value);
    assert(size > 0);
    struct record record = {.key = image->entries[i].pivot, .kind = RECORD_PUT, .value = {value, size}};
    if (!page_builder_add(builder, &record)) {
      page_builder_free(builder);
      builder = NULL;
    }
  }
  return builder;
}

static uint8_t *run_list(struct block_io *io, const struct node_image *image, size_t *capacity, size_t *size) {
  *capacity = 16 + (size_t)image->run_count * (BRANCH_ENTRY_SIZE_MAX + 30);
  uint8_t *bytes = mem_alloc(io->mem, *capacity);
  if (!bytes) return NULL;
  struct wire_writer w = wire_writer(bytes, *capacity);
  wire_put_varint(&w, image->run_count);
  for (uint32_t i = 0; i < image->run_count; i++) {
    block_ptr_encode(&w, &image->runs[i].ptr);
    wire_put_varint(&w, image->runs[i].records);
    wire_put_varint(&w, image->runs[i].deletes);
    wire_put_varint(&w, image->runs[i].blobs);
    wire_put_varint(&w, image->runs[i].ranges);
  }
  assert(!w.failed);
  *size = w.at;
  return bytes;
}

/* Lays the object out, takes its space and fills it. */
static int assemble(struct block_io *io, const struct node_image *image, const struct node_image_target *target,
                    struct page_builder *table, const uint8_t *list, size_t list_size, uint8_t **bytes, size_t *size,
                    struct block_ptr *ptr, struct wodan_error *error) {
  size_t table_size = image->entry_count ? page_builder_size(table) : 0;
  if (table_size > BLOCK_IO_SECTION_MAX || list_size > BLOCK_IO_SECTION_MAX)
    return status_set(error, WODAN_ENOSPC, 0, WODAN_NO_BLOCK, "a node has more leaves or children than it can name: %u",
                      (unsigned)image->entry_count);
  struct object_header header = {
      .type = OBJECT_NODE, .generation = target->generation, .epoch = target->epoch, .record_count = image->level};
  memcpy(header.fsid, io->fsid, 16);
  header.header_length = object_header_size_max(&io->bounds, 0, 0, BLOCK_PTR_EXTENTS_MAX, 2);
  header.length = header.header_length + table_size + list_size;
  uint64_t blocks = (header.length + io->bounds.block_size - 1) / io->bounds.block_size;
  *size = (size_t)(blocks * io->bounds.block_size);
  *bytes = mem_alloc_aligned(io->mem, *size, BLOCK_IO_ALIGNMENT);
  if (!*bytes) return status_nomem(error);
  memset(*bytes, 0, *size);
  uint8_t *page = *bytes + header.header_length, *runs = page + table_size;
  if (table_size) {
    page_builder_finish(table, page);
    header.sections[header.section_count++] =
        (struct section){image->level ? SECTION_CHILDREN : SECTION_LEAVES, header.header_length, table_size,
                         checksum(io->seed, page, table_size)};
  }
  memcpy(runs, list, list_size);
  header.sections[header.section_count++] =
      (struct section){SECTION_RUNS, header.header_length + table_size, list_size, checksum(io->seed, runs, list_size)};
  int status = target->allocate(target->context, blocks, header.extents, &header.extent_count, error);
  if (status < 0) {
    mem_free(io->mem, *bytes, *size);
    *bytes = NULL;
    return status;
  }
  bool fits = object_header_encode(&header, io->seed, *bytes);
  assert(fits);
  (void)fits;
  *ptr = (struct block_ptr){.generation = header.generation,
                            .checksum = header.checksum,
                            .length = header.length,
                            .header_length = header.header_length,
                            .extent_count = header.extent_count};
  memcpy(ptr->extents, header.extents, sizeof header.extents);
  return 0;
}

int node_image_encode(struct block_io *io, const struct node_image *image, const struct node_image_target *target,
                      uint8_t **bytes, size_t *size, struct block_ptr *ptr, struct wodan_error *error) {
  assert(image->level < NODE_LEVELS_MAX && (image->level == 0 || image->entry_count));
  size_t list_capacity = 0, list_size = 0;
  struct page_builder *table = entry_table(io, image);
  uint8_t *list = run_list(io, image, &list_capacity, &list_size);
  int status = table && list ? assemble(io, image, target, table, list, list_size, bytes, size, ptr, error)
                             : status_nomem(error);
  page_builder_free(table);
  mem_free(io->mem, list, list_capacity);
  return status;
}
