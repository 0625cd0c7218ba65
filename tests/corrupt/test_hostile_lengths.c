/* Lengths that only a hostile writer tells, behind good checksums: whatever a volume says of itself, a check of B blocks reads
 * at most 2 B + 16 of them, takes at most 16 bytes a block, 64 KiB and 4 pages of memory, writes nothing and ends with an
 * answer. */
#include "craft_volume.h"

#include "base/wire.h"
#include "codec/checksum.h"
#include "format/blob.h"
#include "format/page.h"
#include "format/range.h"
#include "run/filter.h"

/* ---- the second writer: objects of any length on a new volume ----------------------------------------------------- */

/* A section's bytes. */
struct part {
  uint8_t tag;
  uint8_t *bytes; /* malloc */
  size_t size;
};

struct thing {
  struct object_header header;
  struct part parts[5];
};

/* Writes the object; frees its parts. */
static struct block_ptr put_object(struct craft *craft, struct thing *thing) {
  struct object_header *header = &thing->header;
  struct block_io *io = &craft->volume.io;
  uint32_t least = object_header_size_max(&io->bounds, header->low.size, header->high.size, BLOCK_PTR_EXTENTS_MAX, 5);
  if (header->header_length < least) header->header_length = least;
  header->generation = ++craft->writer.generation;
  header->epoch = craft->writer.env.epoch;
  memcpy(header->fsid, io->fsid, sizeof header->fsid);
  header->length = header->header_length;
  for (; header->section_count < 5 && thing->parts[header->section_count].tag; header->section_count++) {
    const struct part *part = &thing->parts[header->section_count];
    bool elsewhere = part->tag == SECTION_PAGES || part->tag == SECTION_CHUNKS;
    header->sections[header->section_count] = (struct section){
        part->tag, header->length, part->size, elsewhere ? 0 : checksum(io->seed, part->bytes, part->size)};
    header->length += part->size;
  }
  uint64_t blocks = (header->length + craft->block - 1) / craft->block;
  assert_int_equal(
      space_allocate_reserved(craft->writer.space, SPACE_NODE, blocks, header->extents, &header->extent_count, NULL),
      0);
  size_t size = (size_t)(blocks * craft->block);
  uint8_t *bytes =
      aligned_alloc(BLOCK_IO_ALIGNMENT, (size + BLOCK_IO_ALIGNMENT - 1) / BLOCK_IO_ALIGNMENT * BLOCK_IO_ALIGNMENT);
  assert_non_null(bytes);
  memset(bytes, 0, size);
  for (uint32_t i = 0; i < header->section_count; i++)
    memcpy(bytes + header->sections[i].offset, thing->parts[i].bytes, thing->parts[i].size);
  assert_true(object_header_encode(header, io->seed, bytes));
  assert_int_equal(block_io_write(io, header->extents, header->extent_count, 0, bytes, size, NULL), 0);
  free(bytes);
  for (uint32_t i = 0; i < header->section_count; i++) free(thing->parts[i].bytes);
  struct block_ptr ptr = {.generation = header->generation,
                          .checksum = header->checksum,
                          .length = header->length,
                          .header_length = header->header_length,
                          .extent_count = header->extent_count};
  memcpy(ptr.extents, header->extents, sizeof ptr.extents);
  return ptr;
}

/* One page of at least so many bytes, or of one record: values as `value` writes them, of the record's number. */
typedef struct wodan_slice value_of(void *context, uint64_t number, uint8_t out[512]);
static struct part page_part(struct craft *craft, uint8_t tag, uint64_t bytes, value_of *value, void *context) {
  struct page_builder *builder = page_builder_create(&craft->mem);
  uint64_t number = 0;
  do {
    char key[24];
    uint8_t room[512];
    struct record record = {.key = text_key(number, key), .kind = RECORD_PUT, .value = value(context, number, room)};
    assert_true(page_builder_add(builder, &record));
    number++;
  } while (page_builder_size(builder) < bytes);
  struct part part = {.tag = tag, .size = page_builder_size(builder)};
  part.bytes = malloc(part.size);
  assert_non_null(part.bytes);
  page_builder_finish(builder, part.bytes);
  page_builder_free(builder);
  return part;
}

static struct wodan_slice small_value(void *context, uint64_t number, uint8_t out[512]) {
  (void)context, (void)number;
  memset(out, 'v', 8);
  return (struct wodan_slice){out, 8};
}

static struct wodan_slice entry_value(void *context, uint64_t number, uint8_t out[512]) {
  struct index_entry entry = *(const struct index_entry *)context;
  if (number) entry.offset += entry.length; /* behind the only page */
  return (struct wodan_slice){out, index_entry_encode(&entry, out, 512)};
}

/* Pages and index: one page of one record, and an index of so many bytes. */
static void one_page(struct craft *craft, struct thing *run, uint64_t index_bytes) {
  static char key[24];
  run->header.type = OBJECT_RUN;
  run->header.record_count = 1;
  run->header.low = run->header.high = text_key(0, key);
  run->parts[0] = page_part(craft, SECTION_PAGES, 0, small_value, NULL);
  uint32_t least = object_header_size_max(&craft->volume.io.bounds, run->header.low.size, run->header.high.size,
                                          BLOCK_PTR_EXTENTS_MAX, 5);
  if (run->header.header_length > least) least = run->header.header_length;
  struct index_entry entry = {.offset = least,
                              .length = (uint32_t)run->parts[0].size,
                              .size = (uint32_t)run->parts[0].size,
                              .checksum = checksum(craft->volume.io.seed, run->parts[0].bytes, run->parts[0].size)};
  run->parts[1] = page_part(craft, SECTION_INDEX, index_bytes, entry_value, &entry);
}

/* A node with one buffered run, which is told to hold this. */
static struct block_ptr node_over(struct craft *craft, const struct node_image_run *run) {
  struct node_image image = {.runs = (struct node_image_run *)(uintptr_t)run, .run_count = 1};
  struct block_ptr ptr;
  assert_int_equal(writer_node(&craft->writer, &image, &ptr, NULL), 0);
  return ptr;
}

static struct block_ptr run_root(struct craft *craft, struct thing *run, const struct node_image_run *told) {
  struct node_image_run buffered = *told;
  buffered.ptr = put_object(craft, run);
  return node_over(craft, &buffered);
}

/* ---- what is told too long ------------------------------------------------------------------------------------------ */

typedef struct block_ptr make(struct craft *craft);

static struct block_ptr long_index(struct craft *craft) {
  struct thing run = {0};
  one_page(craft, &run, craft->bulk);
  return run_root(craft, &run, &(struct node_image_run){.records = 1});
}

static struct block_ptr long_header(struct craft *craft) {
  struct thing run = {.header.header_length =
                          craft->bulk < BLOCK_PTR_HEADER_MAX ? (uint32_t)craft->bulk : BLOCK_PTR_HEADER_MAX};
  one_page(craft, &run, 0);
  return run_root(craft, &run, &(struct node_image_run){.records = 1});
}

static struct block_ptr long_filter(struct craft *craft) {
  struct thing run = {0};
  one_page(craft, &run, 0);
  run.header.record_count = craft->bulk / FILTER_LINE_SIZE * FILTER_LINE_SIZE * 8 / FILTER_BITS_PER_KEY;
  size_t size = (size_t)filter_lines(run.header.record_count) * FILTER_LINE_SIZE;
  run.parts[2] = (struct part){SECTION_FILTER, malloc(size), size};
  memset(run.parts[2].bytes, 0xFF, size);
  return run_root(craft, &run, &(struct node_image_run){.records = run.header.record_count});
}

static struct block_ptr long_list(struct craft *craft) {
  struct thing run = {0};
  one_page(craft, &run, 0);
  struct block_ptr blob = {.generation = 1, .length = 1, .header_length = 1, .extent_count = 1};
  blob.extents[0] = (struct extent){craft->volume.io.bounds.data_first, 1};
  struct wire_writer w = wire_writer(malloc(craft->bulk + 64), craft->bulk + 64);
  uint64_t count = craft->bulk / 16;
  wire_put_varint(&w, count);
  for (uint64_t i = 0; i < count && w.at < craft->bulk; i++) block_ptr_encode(&w, &blob);
  assert_true(!w.failed);
  run.parts[2] = (struct part){SECTION_BLOBS, w.data, w.at};
  return run_root(craft, &run, &(struct node_image_run){.records = 1, .blobs = 1});
}

static struct block_ptr long_ranges(struct craft *craft) {
  struct thing run = {0};
  one_page(craft, &run, 0);
  struct wire_writer w = wire_writer(malloc(craft->bulk + 64), craft->bulk + 64);
  uint64_t count = craft->bulk / 25 - 1;
  wire_put_varint(&w, count);
  for (uint64_t i = 0; i < count; i++) {
    char from[24], to[24];
    struct wodan_slice begin = text_key(2 * i + 1, from), end = text_key(2 * i + 2, to);
    wire_put_varint(&w, begin.size);
    wire_put_bytes(&w, begin.data, begin.size);
    wire_put_varint(&w, end.size);
    wire_put_bytes(&w, end.data, end.size);
    wire_put_varint(&w, 1);
  }
  assert_true(!w.failed);
  run.header.sequence_max = 1;
  run.parts[2] = (struct part){SECTION_RANGE_TOMBSTONES, w.data, w.at};
  return run_root(craft, &run, &(struct node_image_run){.records = 1, .ranges = count});
}

static struct wodan_slice branch_value(void *context, uint64_t number, uint8_t out[512]) {
  struct branch_entry entry = {.ptr = *(const struct block_ptr *)context};
  (void)number;
  return (struct wodan_slice){out, branch_entry_encode(&entry, out, 512)};
}

static struct part no_runs(void) {
  struct part part = {SECTION_RUNS, calloc(1, 1), 1};
  return part;
}

/* A node of this level whose table, all of the same child, has so many bytes. */
static struct block_ptr tall_node(struct craft *craft, uint32_t level, struct block_ptr *child, uint64_t bytes) {
  struct thing node = {.header = {.type = OBJECT_NODE, .record_count = level}};
  node.parts[0] = page_part(craft, level ? SECTION_CHILDREN : SECTION_LEAVES, bytes, branch_value, child);
  node.parts[1] = no_runs();
  return put_object(craft, &node);
}

static struct block_ptr a_leaf(struct craft *craft) {
  struct thing run = {0};
  one_page(craft, &run, 0);
  return put_object(craft, &run);
}

static struct block_ptr long_table(struct craft *craft) {
  struct block_ptr leaf = a_leaf(craft);
  return tall_node(craft, 0, &leaf, craft->bulk);
}

static struct block_ptr long_tables(struct craft *craft) {
  struct block_ptr child = a_leaf(craft);
  for (uint32_t level = 0; level < NODE_LEVELS_MAX; level++)
    child = tall_node(craft, level, &child, craft->bulk / NODE_LEVELS_MAX - 4 * craft->block);
  return child;
}

static struct block_ptr long_run_list(struct craft *craft) {
  struct thing node = {.header.type = OBJECT_NODE};
  struct block_ptr run = a_leaf(craft);
  struct wire_writer w = wire_writer(malloc(craft->bulk), craft->bulk);
  uint64_t count = craft->bulk / 40;
  craft->writer.generation += count;
  wire_put_varint(&w, count);
  for (uint64_t i = 0; i < count; i++) {
    run.generation = craft->writer.generation - i;
    block_ptr_encode(&w, &run);
    wire_put_varint(&w, 1);
    for (int k = 0; k < 3; k++) wire_put_varint(&w, 0);
  }
  assert_true(!w.failed);
  node.parts[0] = (struct part){SECTION_RUNS, w.data, w.at};
  return put_object(craft, &node);
}

/* A large value that packs so well that its table is longer than its chunks. */
static struct block_ptr long_chunk_table(struct craft *craft) {
  static char key[24];
  struct thing blob = {.header = {.type = OBJECT_BLOB, .low = text_key(0, key), .high = text_key(0, key)}};
  uint64_t chunks = craft->bulk / 16 < BLOB_CHUNKS_MAX ? craft->bulk / 16 : BLOB_CHUNKS_MAX;
  blob.header.record_count = chunks * BLOB_CHUNK_PAGES * craft->page;
  blob.parts[0] = (struct part){SECTION_CHUNKS, calloc(chunks, 1), (size_t)chunks};
  size_t room = (size_t)chunks * BLOB_CHUNK_ENTRY_MAX;
  struct wire_writer w = wire_writer(malloc(room), room);
  for (uint64_t i = 0; i < chunks; i++) blob_chunk_encode(&w, &(struct blob_chunk){.length = 1});
  blob.parts[1] = (struct part){SECTION_CHUNK_TABLE, w.data, w.at};
  uint64_t size = blob.header.record_count;
  struct blob_ref ref = {.size = size, .ptr = put_object(craft, &blob)};

  struct thing run = {0};
  one_page(craft, &run, 0);
  struct page_builder *builder = page_builder_create(&craft->mem);
  uint8_t value[BLOB_REF_SIZE_MAX], list[BLOB_REF_SIZE_MAX];
  struct record record = {
      .key = text_key(0, key), .kind = RECORD_BLOB, .value = {value, blob_ref_encode(&ref, value, sizeof value)}};
  assert_true(page_builder_add(builder, &record));
  struct index_entry entry = {.offset =
                                  object_header_size_max(&craft->volume.io.bounds, 11, 11, BLOCK_PTR_EXTENTS_MAX, 5)};
  free(run.parts[0].bytes);
  free(run.parts[1].bytes);
  entry.size = entry.length = (uint32_t)page_builder_size(builder);
  run.parts[0] = (struct part){SECTION_PAGES, malloc(entry.size), entry.size};
  page_builder_finish(builder, run.parts[0].bytes);
  page_builder_free(builder);
  entry.checksum = checksum(craft->volume.io.seed, run.parts[0].bytes, entry.size);
  run.parts[1] = page_part(craft, SECTION_INDEX, 0, entry_value, &entry);
  struct wire_writer l = wire_writer(list, sizeof list);
  wire_put_varint(&l, 1);
  block_ptr_encode(&l, &ref.ptr);
  run.parts[2] = (struct part){SECTION_BLOBS, malloc(l.at), l.at};
  memcpy(run.parts[2].bytes, list, l.at);
  return run_root(craft, &run, &(struct node_image_run){.records = 1, .blobs = 1});
}

/* One record over half of the ring. */
static struct block_ptr long_record(struct craft *craft) {
  struct journal *journal = &craft->volume.journal;
  uint64_t room = journal->blocks / 2 * journal_payload_max(journal), count = 0, payload = 16;
  char key[24];
  struct journal_operation operation = {.kind = RECORD_PUT, .value = {"value", 5}};
  operation.key = text_key(0, key);
  uint64_t one = journal_operation_size(operation.key.size, operation.value.size);
  for (; payload + one <= room; payload += one) count++;
  struct wire_writer w = wire_writer(malloc(payload), payload);
  wire_put_u64(&w, 1);
  wire_put_u64(&w, count);
  for (uint64_t i = 0; i < count; i++) journal_operation_encode(&w, &operation);
  assert_true(!w.failed && w.at == payload);
  assert_int_equal(journal_record_begin(journal, payload, false, NULL), 0);
  assert_int_equal(journal_record_put(journal, w.data, (size_t)payload, NULL), 0);
  assert_int_equal(journal_record_end(journal, NULL), 0);
  free(w.data);
  return (struct block_ptr){0};
}

enum { RUNS_OF_A_NODE = 32, NODES_MOST = 64 };

/* A bottom node over runs as small as they can be, with all sections. */
static struct block_ptr small_node(struct craft *craft) {
  struct node_image_run runs[RUNS_OF_A_NODE];
  struct node_image image = {.runs = runs, .run_count = RUNS_OF_A_NODE};
  for (uint32_t i = RUNS_OF_A_NODE; i-- > 0;) { /* the newest comes first */
    struct thing run = {0};
    one_page(craft, &run, 0);
    run.parts[2] = (struct part){SECTION_FILTER, malloc(FILTER_LINE_SIZE), FILTER_LINE_SIZE};
    memset(run.parts[2].bytes, 0xFF, FILTER_LINE_SIZE);
    runs[i] = (struct node_image_run){.ptr = put_object(craft, &run), .records = 1};
  }
  struct block_ptr ptr;
  assert_int_equal(writer_node(&craft->writer, &image, &ptr, NULL), 0);
  return ptr;
}

/* Such nodes until half of the volume is theirs. */
static struct block_ptr small_objects(struct craft *craft) {
  struct node_image_entry entries[NODES_MOST];
  struct node_image image = {.level = 1, .entries = entries};
  char keys[NODES_MOST][24];
  for (uint64_t used = 0; used < craft->bulk && image.entry_count < NODES_MOST; image.entry_count++) {
    struct node_image_entry *entry = &entries[image.entry_count];
    uint64_t before = space_counts(craft->writer.space).free;
    *entry = (struct node_image_entry){.pivot = text_key(image.entry_count, keys[image.entry_count]),
                                       .branch.ptr = small_node(craft)};
    used += (before - space_counts(craft->writer.space).free) * craft->block;
  }
  struct block_ptr ptr;
  assert_int_equal(writer_node(&craft->writer, &image, &ptr, NULL), 0);
  return ptr;
}

/* ---- salvage ---------------------------------------------------------------------------------------------------------- */

static void count_repeated(void *context, const struct wodan_finding *finding) {
  *(unsigned *)context += strstr(finding->message, "named more often than there are any") != NULL;
}

/* A tree that names blocks again and again is read as long as the volume has blocks, and no longer. */
static void assert_salvage_ends(struct craft *craft, make *make) {
  struct kept_bytes *kept = kept_create(craft->kept->size);
  struct wodan_device *to = kept_plug(kept, 512, 0);
  unsigned repeated = 0;
  const struct wodan_salvage_options options = {
      .size = sizeof options, .hooks = {.random = craft_random}, .context = &repeated, .finding = count_repeated};
  struct wodan_salvage_report report;
  uint64_t writes = craft->kept->writes;
  craft->kept->read_bytes = 0;
  int status = wodan_salvage(craft->device, to, &options, &report, NULL);
  assert_true(status == 0 || status == WODAN_ENOSPC);
  assert_int_equal(craft->kept->writes, writes);
  assert_true(craft->kept->read_bytes <= 40 * craft->kept->size);
  if (make == long_table || make == long_tables || make == long_run_list) assert_true(repeated > 0);
  assert_int_equal(wodan_device_close(to), 0);
  kept_free(kept);
}

/* ---- the check ------------------------------------------------------------------------------------------------------- */

static void assert_bounded(const struct geometry *geometry, const char *name, make *make) {
  struct craft craft;
  craft_begin(&craft, geometry);
  struct writer_root root = {.device_blocks = craft.volume.superblock.device_blocks, .sequence = 1};
  root.root = make(&craft);
  if (root.root.generation == 0) root.sequence = 0;
  bool published = root.root.generation > 0;
  if (published)
    assert_int_equal(writer_publish(&craft.writer, &root, true, NULL), 0);
  else
    assert_int_equal(device_flush(&craft.volume.device, NULL), 0);

  struct meter meter = {0};
  struct wodan_check_options options = {.size = sizeof options, .allocator = meter_hooks(&meter)};
  struct wodan_check_report report;
  struct wodan_error error = {0};
  uint64_t writes = craft.kept->writes;
  craft.kept->read_bytes = 0;
  int status = wodan_check(craft.device, &options, &report, &error);
  uint64_t blocks = geometry->size / craft.block;
  uint64_t reads = (2 * blocks + 16) * craft.block, heap = 16 * blocks + (64 << 10) + 4 * (uint64_t)craft.page;
  heap += 2ull * craft.volume.superblock.journal_block_size;
  print_message("%s, %llu KiB in blocks of %u, pages of %u: %d, heap %zu of %llu, %llu of %llu bytes read, %llu "
                "damages, %llu warnings%s\n",
                name, (unsigned long long)geometry->size >> 10, craft.block, craft.page, status, (size_t)meter.peak,
                (unsigned long long)heap, (unsigned long long)craft.kept->read_bytes, (unsigned long long)reads,
                (unsigned long long)report.damages, (unsigned long long)report.warnings,
                report.complete ? "" : ", not complete");
  if (meter.peak > heap || craft.kept->read_bytes > reads) fail_msg("%s: beyond the bounds", name);
  assert_int_equal(status, 0);
  if (make != long_record && make != small_objects) assert_true(report.damages + report.warnings > 0);
  assert_int_equal(craft.kept->writes, writes);
  assert_int_equal(meter.live, 0);
  if (geometry->size <= 256 << 10) assert_salvage_ends(&craft, make);
  craft_end(&craft);
}

static const struct geometry geometries[] = {
    {.size = 256 << 10, .block = 512, .page = 512, .sector = 512},
    {.size = 1 << 20, .block = 512, .page = 4096, .sector = 512},
    {.size = 1 << 20, .block = 4096, .page = 512, .sector = 512},
    {.size = 4 << 20, .block = 4096, .page = 16384, .sector = 512},
    {.size = 16 << 20, .block = 65536, .page = 4096, .sector = 4096},
    {.size = 16 << 20, .block = 4096, .page = 4096, .sector = 4096},
};

/* ---- a filter that does not fit -------------------------------------------------------------------------------------- */

enum { BAND_RECORDS = 100000 };

/* A long run as the product writes it. */
static struct block_ptr honest_run(struct craft *craft) {
  struct run_builder *builder;
  struct block_ptr ptr;
  assert_int_equal(writer_run(&craft->writer, SPACE_BUFFER, craft->bulk, &builder, NULL), 0);
  for (uint64_t i = 0; i < BAND_RECORDS; i++) {
    char key[24];
    const struct record record = {.key = text_key(i, key), .value = {"v", 1}, .sequence = 1};
    assert_int_equal(run_builder_add(builder, &record, NULL), 0);
  }
  assert_int_equal(run_builder_finish(builder, ++craft->writer.generation, &ptr, NULL, NULL), 0);
  return ptr;
}

/* The same run once more, its filter without the bits of line `line`. */
static struct block_ptr with_blank_line(struct craft *craft, const struct block_ptr *ptr, uint32_t line) {
  struct block_io *io = &craft->volume.io;
  struct thing run = {0};
  struct object_header header;
  uint8_t *bytes;
  assert_int_equal(block_io_read_header(io, ptr, OBJECT_RUN, &header, &bytes, NULL), 0);
  for (uint32_t i = 0; i < header.section_count; i++) {
    const struct section *section = &header.sections[i];
    run.parts[i] = (struct part){section->tag, malloc(section->length), (size_t)section->length};
    assert_int_equal(block_io_read(io, ptr->extents, ptr->extent_count, section->offset, run.parts[i].bytes,
                                   run.parts[i].size, NULL),
                     0);
    if (section->tag == SECTION_FILTER)
      memset(run.parts[i].bytes + (size_t)line * FILTER_LINE_SIZE, 0, FILTER_LINE_SIZE);
  }
  header.section_count = 0;
  run.header = header;
  struct block_ptr copy = put_object(craft, &run);
  mem_free(&craft->mem, bytes, ptr->header_length);
  return copy;
}

static void count_denials(void *context, const struct wodan_finding *finding) {
  unsigned *denials = context;
  if (finding->id != 45) fail_msg("%u: %s", finding->id, finding->message);
  ++*denials;
}

/* A volume of few blocks allows less memory than the filter of a long run has: its lines are proven band for band, the last
 * ones as well as the first. */
static void test_hostile_lengths__a_filter_in_bands(void **state) {
  (void)state;
  static const struct geometry few = {.size = 16 << 20, .block = 65536, .page = 4096, .sector = 4096};
  uint32_t lines = filter_lines(BAND_RECORDS);
  const uint32_t blank[] = {UINT32_MAX, 0, lines / 2, lines - 1};
  for (size_t i = 0; i < sizeof blank / sizeof *blank; i++) {
    struct craft craft;
    struct meter meter = {0};
    unsigned denials = 0;
    craft_begin(&craft, &few);
    struct block_ptr ptr = honest_run(&craft);
    if (blank[i] < lines) ptr = with_blank_line(&craft, &ptr, blank[i]);
    const struct node_image_run told = {.ptr = ptr, .records = BAND_RECORDS};
    const struct writer_root root = {
        .root = node_over(&craft, &told), .sequence = 1, .device_blocks = craft.volume.superblock.device_blocks};
    assert_int_equal(writer_publish(&craft.writer, &root, true, NULL), 0);
    struct wodan_check_options options = {
        .size = sizeof options, .allocator = meter_hooks(&meter), .context = &denials, .finding = count_denials};
    struct wodan_check_report report;
    craft.kept->read_bytes = 0;
    assert_int_equal(wodan_check(craft.device, &options, &report, NULL), 0);
    assert_true(report.complete && report.records == BAND_RECORDS);
    assert_true((denials > 0) == (blank[i] < lines));
    assert_true(meter.peak <= 16 * 256 + (64 << 10) + 4 * 4096);
    assert_true((uint64_t)lines * FILTER_LINE_SIZE > meter.peak && craft.kept->read_bytes <= (2 * 256 + 16) * 65536);
    craft_end(&craft);
  }
}

/* ---- the sweep --------------------------------------------------------------------------------------------------------- */

static void sweep(const char *name, make *make) {
  for (size_t i = 0; i < sizeof geometries / sizeof *geometries; i++) assert_bounded(&geometries[i], name, make);
}

#define HOSTILE(name)                                                                                                  \
  static void test_hostile_lengths__##name(void **state) {                                                             \
    (void)state;                                                                                                       \
    sweep(#name, name);                                                                                                \
  }
HOSTILE(long_index)
HOSTILE(long_header)
HOSTILE(long_filter)
HOSTILE(long_list)
HOSTILE(long_ranges)
HOSTILE(long_table)
HOSTILE(long_tables)
HOSTILE(long_run_list)
HOSTILE(long_chunk_table)
HOSTILE(long_record)
HOSTILE(small_objects)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_hostile_lengths__long_index),
      cmocka_unit_test(test_hostile_lengths__long_header),
      cmocka_unit_test(test_hostile_lengths__long_filter),
      cmocka_unit_test(test_hostile_lengths__long_list),
      cmocka_unit_test(test_hostile_lengths__long_ranges),
      cmocka_unit_test(test_hostile_lengths__long_table),
      cmocka_unit_test(test_hostile_lengths__long_tables),
      cmocka_unit_test(test_hostile_lengths__long_run_list),
      cmocka_unit_test(test_hostile_lengths__long_chunk_table),
      cmocka_unit_test(test_hostile_lengths__long_record),
      cmocka_unit_test(test_hostile_lengths__small_objects),
      cmocka_unit_test(test_hostile_lengths__a_filter_in_bands),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
