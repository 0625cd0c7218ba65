/* What: the lists of a run behind right checksums: its range deletes (run_load.c) and the large values its records name
 * (run_blobs.c). Each row is a run laid by hand with one lie in it; the words say which rule has caught it. The rules of the
 * ranges themselves: test_range.c; of index and pages: test_hostile_run.c. */
#include "run_world.h"

#include "format/blob.h"

enum { BLOCK = 512, PAGE = 512, BLOCKS = 256, HEADER = 256, GENERATION = 40, RECORDS = 3 };

/* A run of one section; header: low, high and record_count are told. padded: a byte of the header's unused end is not zero. */
static struct block_ptr lay(struct world *w, struct object_header header, uint8_t tag, const void *bytes, size_t size,
                            bool padded) {
  _Alignas(BLOCK_IO_ALIGNMENT) static uint8_t object[2 * BLOCK];
  uint64_t blocks = (HEADER + size + BLOCK - 1) / BLOCK;
  memset(object, 0, sizeof object);
  memcpy(object + HEADER, bytes, size);
  header.type = OBJECT_RUN;
  header.generation = GENERATION;
  header.epoch = (struct epoch){7, 99};
  header.header_length = HEADER;
  header.length = HEADER + size;
  header.sequence_max = 9;
  header.extents[0] = (struct extent){20, blocks};
  header.extent_count = header.section_count = 1;
  header.sections[0] = (struct section){tag, HEADER, size, checksum(w->io.seed, bytes, size)};
  memcpy(header.fsid, w->io.fsid, sizeof header.fsid);
  assert_true(object_header_encode(&header, w->io.seed, object));
  if (padded) {
    object[HEADER - 1] = 1;
    store_u64(object, header.checksum = checksum(w->io.seed, object + 8, HEADER - 8));
  }
  assert_int_equal(block_io_write(&w->io, header.extents, 1, 0, object, (size_t)blocks * BLOCK, NULL), 0);
  return (struct block_ptr){GENERATION, header.checksum, header.length, HEADER, 1, {{20, blocks}}};
}

static void judge(const char *what, const char *words, int status, const struct wodan_error *error) {
  if (status != (words ? WODAN_ECORRUPT : 0) || (words && !strstr(error->message, words)))
    fail_msg("%s: %d, %s", what, status, error->message);
}

static struct wodan_slice text_of(const char *text) { return (struct wodan_slice){text, strlen(text)}; }

static void test_run_lists__a_header_is_zero_behind_its_fields(void **state) {
  (void)state;
  struct world w;
  world_open(&w, BLOCK, PAGE, BLOCKS, 4);
  for (int padded = 0; padded < 2; padded++) {
    struct object_header header = {.low = text_of("\1a"), .high = text_of("\1b")}, back;
    struct block_ptr ptr = lay(&w, header, SECTION_FILTER, "bytes", 5, padded);
    struct wodan_error error = {.message = ""};
    uint8_t *bytes = NULL;
    int status = block_io_read_header(&w.io, &ptr, OBJECT_RUN, &back, &bytes, &error);
    judge("padding", padded ? "does not decode" : NULL, status, &error);
    if (bytes) mem_free(&w.mem, bytes, HEADER);
  }
  world_close(&w);
}

/* ---- range deletes -------------------------------------------------------------------------------------------------- */

static const struct {
  const char *what, *low, *high;
  uint64_t records; /* in the header; RECORDS or none as its node says */
  uint64_t count;   /* of ranges, as its node says */
  uint8_t tag;
  uint64_t sequence; /* of the first range */
  const char *words; /* NULL: it is honest */
} RANGES[] = {
    {"ranges alone", "\1b", "\1h", 0, 2, SECTION_RANGE_TOMBSTONES, 3, NULL},
    {"records around them", "\1a", "\1z", RECORDS, 2, SECTION_RANGE_TOMBSTONES, 3, NULL},
    {"records inside", "\1b", "\1h", RECORDS, 2, SECTION_RANGE_TOMBSTONES, 3, NULL},
    {"no ranges", "\1b", "\1h", 0, 2, SECTION_FILTER, 3, "not the records and range deletes"},
    {"records more", "\1a", "\1z", RECORDS + 1, 2, SECTION_RANGE_TOMBSTONES, 3, "not the records and range deletes"},
    {"another count", "\1b", "\1h", 0, 1, SECTION_RANGE_TOMBSTONES, 3, "not as many range deletes as its node says"},
    {"a later range", "\1b", "\1h", 0, 2, SECTION_RANGE_TOMBSTONES, 10, "a sequence that its run does not have"},
    {"low in a range", "\1c", "\1z", RECORDS, 2, SECTION_RANGE_TOMBSTONES, 3, "do not agree with the key range"},
    {"high in a range", "\1a", "\1g", RECORDS, 2, SECTION_RANGE_TOMBSTONES, 3, "do not agree with the key range"},
    {"high of nothing", "\1b", "\1z", 0, 2, SECTION_RANGE_TOMBSTONES, 3, "do not agree with the key range"},
};

static void test_run_lists__ranges_are_proven_with_their_run(void **state) {
  (void)state;
  struct world w;
  world_open(&w, BLOCK, PAGE, BLOCKS, 4);
  for (size_t i = 0; i < sizeof RANGES / sizeof *RANGES; i++) {
    uint8_t bytes[64];
    struct wire_writer to = wire_writer(bytes, sizeof bytes);
    const struct range_delete ranges[] = {{text_of("\1b"), text_of("\1d"), RANGES[i].sequence},
                                          {text_of("\1f"), text_of("\1h"), 4}};
    wire_put_varint(&to, 2);
    for (int r = 0; r < 2; r++) range_encode(&to, &ranges[r]);
    struct object_header header = {
        .low = text_of(RANGES[i].low), .high = text_of(RANGES[i].high), .record_count = RANGES[i].records};
    struct block_ptr ptr = lay(&w, header, RANGES[i].tag, bytes, to.at, false);
    struct run *run = open_run(&w, &ptr);
    struct wodan_error error = {.message = ""};
    run_set_counts(run, RANGES[i].records ? RECORDS : 0, 0);
    judge(RANGES[i].what, RANGES[i].words, run_load_ranges(run, RANGES[i].count, &error), &error);
    if (!RANGES[i].words) assert_int_equal(run_ranges(run).count, 2);
    run_unref(run);
  }
  world_close(&w);
}

/* A run of a record and a range, or of the record alone; its node tells of a range, or does not. */
static void test_run_lists__ranges_are_those_its_node_tells_of(void **state) {
  (void)state;
  struct world w;
  world_open(&w, BLOCK, PAGE, BLOCKS, 4);
  for (int there = 0; there < 2; there++)
    for (int told = 0; told < 2; told++) {
      struct run_builder *builder;
      struct run_counts counts;
      struct block_ptr ptr;
      struct wodan_error error = {.message = ""};
      const struct run_build_options options = {.size_max = run_size_bound(&w.env, 1, 200, false), .ranges = true};
      const struct range_delete range = {text_of("\1b"), text_of("\1d"), 3};
      const struct record record = {.key = text_of("\1x"), .value = text_of("value"), .sequence = 5};
      assert_int_equal(run_builder_create(&w.env, &options, &builder, NULL), 0);
      if (there) assert_int_equal(run_builder_add_range(builder, &range, NULL), 0);
      assert_int_equal(run_builder_add(builder, &record, NULL), 0);
      assert_int_equal(run_builder_finish(builder, GENERATION, &ptr, &counts, NULL), 0);
      uint8_t bytes[32];
      struct wire_writer to = wire_writer(bytes, sizeof bytes);
      wire_put_varint(&to, 1);
      range_encode(&to, &range);
      range_list_free(&w.mem, counts.ranges);
      struct run *run = open_run(&w, &ptr);
      if (told) run_set_ranges(run, range_list_create(&w.mem, bytes, to.at));
      int status = run_open_body(run, &error);
      judge("ranges", there == told ? NULL : "does not tell of its range deletes", status, &error);
      if (status == 0) run_close_body(run);
      run_unref(run);
    }
  world_close(&w);
}

/* ---- large values --------------------------------------------------------------------------------------------------- */

static struct block_ptr blob_at(uint64_t first, uint64_t generation) {
  return (struct block_ptr){generation, 77, 900, 100, 1, {{first, 2}}};
}

static int count_one(void *context, const struct block_ptr *ptr, struct wodan_error *error) {
  (void)error;
  assert_in_range(ptr->generation, 1, GENERATION - 1);
  ++*(unsigned *)context;
  return 0;
}

static const struct {
  const char *what;
  uint64_t count, told;      /* in the list, as its node says */
  uint64_t last, generation; /* the second pointer: its block and its generation */
  size_t more;               /* bytes behind the list */
  uint8_t tag;
  const char *words;
} LISTS[] = {
    {"two", 2, 2, 60, 4, 0, SECTION_BLOBS, NULL},
    {"older than the run", 2, 2, 60, GENERATION - 1, 0, SECTION_BLOBS, NULL},
    {"no list", 2, 2, 60, 4, 0, SECTION_FILTER, "has no list of the large values"},
    {"another count", 2, 3, 60, 4, 0, SECTION_BLOBS, "another count than its node tells"},
    {"outside of the volume", 2, 2, BLOCKS, 4, 0, SECTION_BLOBS, "large values is malformed"},
    {"no pointer", 2, 2, 60, 0, 0, SECTION_BLOBS, "large values is malformed"},
    {"as new as the run", 2, 2, 60, GENERATION, 0, SECTION_BLOBS, "large values is malformed"},
    {"a byte behind it", 2, 2, 60, 4, 1, SECTION_BLOBS, "longer than it says"},
};

static void test_run_lists__a_list_of_large_values_is_proven(void **state) {
  (void)state;
  struct world w;
  world_open(&w, BLOCK, PAGE, BLOCKS, 4);
  for (size_t i = 0; i < sizeof LISTS / sizeof *LISTS; i++) {
    uint8_t bytes[64] = {0};
    struct wire_writer to = wire_writer(bytes, sizeof bytes);
    const struct block_ptr first = blob_at(50, 3), second = blob_at(LISTS[i].last, LISTS[i].generation);
    wire_put_varint(&to, LISTS[i].count);
    block_ptr_encode(&to, &first);
    block_ptr_encode(&to, &second);
    struct object_header header = {.low = text_of("\1a"), .high = text_of("\1b"), .record_count = 2};
    struct block_ptr ptr = lay(&w, header, LISTS[i].tag, bytes, to.at + LISTS[i].more, false);
    struct wodan_error error = {.message = ""};
    unsigned seen = 0;
    judge(LISTS[i].what, LISTS[i].words, run_read_blobs(&w.io, &ptr, LISTS[i].told, count_one, &seen, &error), &error);
    if (!LISTS[i].words) assert_int_equal(seen, 2);
  }
  world_close(&w);
}

/* A merge meets a record whose reference is not whole, or names what nobody holds. */
static void test_run_lists__a_builder_believes_no_reference(void **state) {
  (void)state;
  for (int lie = 0; lie < 3; lie++) {
    struct world w;
    world_open(&w, BLOCK, PAGE, BLOCKS, 4);
    w.env.blobs = blobs_create(&(struct blobs_setup){.mem = &w.mem, .handles = &w.mem, .space = w.space});
    const struct block_ptr ptr = blob_at(50, 3);
    const struct blob_ref ref = {.size = 700, .ptr = blob_at(lie == 1 ? 60 : 50, 3)};
    const struct run_build_options options = {.size_max = run_size_bound(&w.env, 1, 200, false)};
    uint8_t bytes[BLOB_REF_SIZE_MAX + 1] = {0};
    struct record record = {.key = text_of("\1k"), .kind = RECORD_BLOB, .sequence = 5, .value = {bytes, 0}};
    struct wodan_error error = {.message = ""};
    struct run_builder *builder;
    struct blob *blob;
    record.value.size = blob_ref_encode(&ref, bytes, BLOB_REF_SIZE_MAX) + (lie == 2);
    assert_int_equal(blobs_claim(w.env.blobs, &ptr, &blob, NULL), 0);
    assert_int_equal(run_builder_create(&w.env, &options, &builder, NULL), 0);
    const char *words[] = {NULL, "that its run does not list", "is malformed"};
    judge("a reference", words[lie], run_builder_add(builder, &record, &error), &error);
    run_builder_abort(builder);
    blobs_drop(w.env.blobs, blob);
    blobs_free(w.env.blobs);
    world_close(&w);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_run_lists__a_header_is_zero_behind_its_fields),
      cmocka_unit_test(test_run_lists__ranges_are_proven_with_their_run),
      cmocka_unit_test(test_run_lists__ranges_are_those_its_node_tells_of),
      cmocka_unit_test(test_run_lists__a_list_of_large_values_is_proven),
      cmocka_unit_test(test_run_lists__a_builder_believes_no_reference),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
