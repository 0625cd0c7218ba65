/* What: runs whose checksums are all right and that lie behind them: in the index, the pages, the filter, the sections.
 * Each row is one lie; the engine refuses it in these words, and so do the check and a lookup shown step by step.
 * Always true: who refuses says what is wrong, so no other rule has caught the lie by chance; a row that one of the
 * three cannot see says so. The story: tools/mutants.py removed each rule of the index in turn, and no test noticed. */
#include <stdio.h>
#include "check_craft.h"
#include "run/run.h"

struct row {
  const char *name;
  struct object run;
  const char *engine; /* part of its sentence */
  uint32_t finding;   /* the first that the check tells; 0: none */
  const char *key;    /* looked up; NULL: not by path */
  const char *path;   /* part of the damage it tells; "": none */
  uint32_t pages;     /* a bit for each page that is shown of its blocks */
};

/* ---- lies ------------------------------------------------------------------------------------------------------- */

static void longer(struct index_entry *entry) { entry->length = entry->size = entry->length + 10; }
static void a_byte_early(struct index_entry *entry) { entry->offset--; }
static void five_bytes(struct index_entry *entry) { entry->length = entry->size = 5; }
static void behind(struct index_entry *entry) { entry->offset += entry->length + 1; }
static void before(struct index_entry *entry) { entry->offset = HEADER_ROOM - 20; }
static void far_away(struct index_entry *entry) { entry->offset = 1 << 20; }

static void no_index(struct object_header *header) {
  header->sections[0].length += header->sections[1].length;
  header->section_count = 1;
}
static void blobs_for_index(struct object_header *header) { header->sections[1].tag = SECTION_BLOBS; }
static void no_pages(struct object_header *header) { header->sections[0].tag = SECTION_BLOBS; }
static void countless(struct object_header *header) { header->record_count = UINT64_MAX; }

#define TWO_PAGES                                                                                                      \
  {                                                                                                                    \
    {{.key = "\1a"}, {.key = "\1d"}}, {                                                                                \
      {.key = "\1p"}, { .key = "\1q" }                                                                                 \
    }                                                                                                                  \
  }

static const struct row ROWS[] = {
    {"honest", {.pages = TWO_PAGES, .filter = true}, NULL, 0, "p", "", 3},
    {"index entry with a byte too many",
     {.pages = TWO_PAGES, .index_garbage = true},
     "an index entry does not decode",
     FOUND_RUN_INDEX,
     "p",
     "an index entry cannot be",
     0},
    {"index with a sequence",
     {.pages = TWO_PAGES, .index_sequence = true},
     "an index entry does not decode",
     FOUND_RUN_INDEX,
     "p",
     "an index entry cannot be",
     3},
    {"index of large values",
     {.pages = TWO_PAGES, .index_kind = RECORD_BLOB},
     "an index entry does not decode",
     FOUND_RUN_INDEX,
     "p",
     "an index entry cannot be",
     3},
    {"entry a byte early",
     {.pages = TWO_PAGES, .entry_lie = a_byte_early},
     "does not cover the pages",
     FOUND_RUN_INDEX,
     "p",
     "wrong checksum",
     3},
    {"entry before the pages",
     {.pages = TWO_PAGES, .entry_lie = before},
     "does not cover the pages",
     FOUND_RUN_INDEX,
     "p",
     "an index entry cannot be",
     1},
    {"entry behind the pages",
     {.pages = TWO_PAGES, .entry_lie = behind},
     "does not cover the pages",
     FOUND_RUN_INDEX,
     "p",
     "an index entry cannot be",
     1},
    {"entry behind the object",
     {.pages = TWO_PAGES, .entry_lie = far_away},
     "does not cover the pages",
     FOUND_RUN_INDEX,
     "p",
     "an index entry cannot be",
     1},
    {"entry that reaches out of the pages",
     {.pages = TWO_PAGES, .entry_lie = longer},
     "does not reach the end",
     FOUND_RUN_INDEX,
     "p",
     "an index entry cannot be",
     1},
    {"entry longer than all pages",
     {.pages = {{{.key = "\1a"}, {.key = "\1p"}}}, .entry_lie = longer},
     "does not reach the end",
     FOUND_RUN_INDEX,
     "p",
     "an index entry cannot be",
     0},
    {"entry shorter than any page",
     {.pages = TWO_PAGES, .entry_lie = five_bytes},
     "does not reach the end",
     FOUND_PAGE_CHECKSUM,
     "p",
     "wrong checksum",
     1},
    {"index without the last page",
     {.pages = TWO_PAGES, .index_short = true},
     "does not reach the end",
     FOUND_RUN_INDEX,
     "a",
     "",
     1},
    {"page larger than a page",
     {.pages = {{{.key = "\1a"}, {.key = "\1d"}},
                {{.key = "\1p", .value_size = 128},
                 {.key = "\1q", .value_size = 128},
                 {.key = "\1r", .value_size = 128},
                 {.key = "\1s", .value_size = 128}}}},
     "a page of a size that cannot be",
     FOUND_RUN_INDEX,
     "p",
     "an index entry cannot be",
     1},
    {"index below the key range",
     {.pages = TWO_PAGES, .low = "\1e"},
     "does not agree with the key range",
     FOUND_KEY_RANGE,
     NULL,
     NULL,
     0},
    {"index beside the key range",
     {.pages = TWO_PAGES, .high = "\1r"},
     "does not agree with the key range",
     FOUND_KEY_RANGE,
     NULL,
     NULL,
     0},
    {"more pages than records",
     {.pages = TWO_PAGES, .count_lie = -3},
     "more pages than records",
     FOUND_RECORD_COUNT,
     NULL,
     NULL,
     0},
    {"index that is no page",
     {.pages = TWO_PAGES, .index_malformed = true},
     "its index is not a valid page",
     FOUND_RUN_INDEX,
     "p",
     "its index is malformed",
     3},
    {"neither an index nor a page of its own size",
     {.pages = TWO_PAGES, .index_malformed = true, .page_of_no_size = true},
     "its index is not a valid page",
     FOUND_RUN_INDEX,
     "p",
     "its index is malformed",
     1},
    {"no index",
     {.pages = TWO_PAGES, .header_lie = no_index},
     "lacks pages, index or key range",
     FOUND_RUN_SECTIONS,
     "p",
     "no pages or no index",
     7},
    {"no pages",
     {.pages = TWO_PAGES, .header_lie = no_pages},
     "lacks pages, index or key range",
     FOUND_RUN_SECTIONS,
     "p",
     "no pages or no index",
     0},
    {"blobs for an index",
     {.pages = TWO_PAGES, .header_lie = blobs_for_index},
     "lacks pages, index or key range",
     FOUND_RUN_SECTIONS,
     "p",
     "no pages or no index",
     3},
    {"no low key", {.pages = TWO_PAGES, .low = ""}, "lacks pages, index or key range", FOUND_KEY_RANGE, NULL, NULL, 0},
    {"no high key",
     {.pages = TWO_PAGES, .high = ""},
     "lacks pages, index or key range",
     FOUND_KEY_RANGE,
     NULL,
     NULL,
     0},
    {"filter of another size",
     {.pages = TWO_PAGES, .filter = true, .filter_short = true},
     "its filter has a size",
     FOUND_FILTER_DAMAGED,
     "p",
     "its filter's size",
     3},
    {"filter of no bytes for countless records",
     {.pages = TWO_PAGES, .filter = true, .filter_empty = true, .header_lie = countless},
     "its filter has a size",
     FOUND_FILTER_DAMAGED,
     "p",
     "its filter's size",
     3},
    {"page that is none",
     {.pages = TWO_PAGES, .page_malformed = true},
     "breaks the rules of its format",
     FOUND_PAGE_MALFORMED,
     "p",
     "breaks the rules of its format",
     3},
    {"page with another checksum",
     {.pages = TWO_PAGES, .page_garbage = true},
     "wrong checksum",
     FOUND_PAGE_CHECKSUM,
     "a",
     "wrong checksum",
     3},
    {"page below the key range",
     {.pages = TWO_PAGES, .low = "\1b"},
     "starts below the key range",
     FOUND_KEY_RANGE,
     NULL,
     NULL,
     0},
    {"page that goes back",
     {.pages = {{{.key = "\1a"}, {.key = "\1d"}}, {{.key = "\1c"}, {.key = "\1q"}}}},
     "starts below its place",
     FOUND_KEY_ORDER,
     NULL,
     NULL,
     0},
    {"page that starts at the end of the one before",
     {.pages = {{{.key = "\1a"}, {.key = "\1d"}}, {{.key = "\1d"}, {.key = "\1q"}}}},
     "starts below its place",
     FOUND_KEY_ORDER,
     NULL,
     NULL,
     0},
    {"page that ends with another key",
     {.pages = TWO_PAGES, .index = {"\1e"}},
     "does not end with the key",
     FOUND_KEY_ORDER,
     NULL,
     NULL,
     0},
    {"range deletes that are none",
     {.pages = TWO_PAGES, .section = SECTION_RANGE_TOMBSTONES},
     "its node does not tell of its range deletes",
     FOUND_RANGES_DAMAGED,
     "b",
     "not as many as it says",
     3},
};

static void lay(struct craft *c, const struct row *row, struct block_ptr *ptr) {
  const struct object leaf = {.pages = {{{.key = "\1b"}, {.key = "\1p"}}}};
  craft_begin(c);
  struct node_image_entry leaves[1] = {leaf_of("\1b", craft_object(c, &leaf))};
  *ptr = craft_object(c, &row->run);
  craft_checkpoint(c, craft_node(c, leaves, 1, ptr, 1));
}

/* ---- the engine ------------------------------------------------------------------------------------------------- */

/* Every record, by lookup of one that is there and by a walk over all. */
static int read_all(struct run_env *env, struct run *run, struct wodan_error *error) {
  struct wodan_slice key = {"\1p", 2};
  struct record record;
  struct frame *pin;
  int status = run_get(run, key, run_key_hash(env, key), &record, &pin, error);
  if (status == 0) cache_unpin(pin);
  if (status < 0 && status != WODAN_ENOTFOUND) return status;
  struct iterator *it = run_iterator(run);
  assert_non_null(it);
  status = iterator_first(it, error);
  while (status == 0 && it->valid) status = iterator_next(it, error);
  iterator_close(it);
  return status;
}

static void test_hostile_run__the_engine_says_what_is_wrong(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
    const struct row *row = &ROWS[i];
    struct craft c;
    struct block_ptr ptr;
    struct wodan_error error = {.message = ""};
    lay(&c, row, &ptr);
    struct run_env env = {.mem = &c.mem,
                          .io = &c.io,
                          .cache = cache_create(&c.mem, c.sb.page_size, 8),
                          .shelf = run_shelf_create(&c.mem, 1 << 20),
                          .space = space_create(&c.mem, c.io.bounds.data_first, c.io.bounds.data_end),
                          .page_size = c.sb.page_size,
                          .epoch = {1, 77}};
    struct run *run = run_create(&env, &ptr, (struct wodan_slice){0});
    int status = read_all(&env, run, &error);
    if (status != (row->engine ? WODAN_ECORRUPT : 0) || (row->engine && !strstr(error.message, row->engine)))
      fail_msg("%s: %d, %s", row->name, status, error.message);
    run_unref(run);
    run_shelf_free(env.shelf);
    cache_free(env.cache);
    space_free(env.space);
    craft_end(&c);
  }
}

/* ---- the check -------------------------------------------------------------------------------------------------- */

static void test_hostile_run__the_check_finds_it(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
    struct craft c;
    struct block_ptr ptr;
    struct heard heard;
    lay(&c, &ROWS[i], &ptr);
    store_check(&c.store, &heard);
    bool right = heard.status == 0 && (ROWS[i].finding ? heard_id(&heard, ROWS[i].finding) == 0 : heard.count == 0);
    if (ROWS[i].run.index_malformed) right = right && strstr(heard.messages[0], "it is no valid page");
    if (!right) {
      heard_print(&heard);
      fail_msg("%s: expected WF%04u first", ROWS[i].name, ROWS[i].finding);
    }
    craft_end(&c);
  }
}

/* ---- inspection ------------------------------------------------------------------------------------------------- */

struct told {
  char first[512]; /* damage */
  uint32_t run;    /* the probe of the run */
  uint64_t fields, problems;
  uint32_t pages;
};

static void on_damage(void *context, const struct wodan_damage *damage) {
  struct told *told = context;
  if (!told->first[0]) snprintf(told->first, sizeof told->first, "%s", damage->message);
}
static int on_step(void *context, const struct wodan_path_step *step) {
  if (step->kind == WODAN_OBJECT_RUN) ((struct told *)context)->run = step->probe;
  return 0;
}
static int on_field(void *context, const struct wodan_field *field) {
  struct told *told = context;
  if (strcmp(field->name, "page") == 0) told->pages |= 1u << atoi(field->text) % 32;
  told->problems += field->problem != NULL;
  return ++told->fields > 10000; /* nothing here has so many */
}

static void look(const struct row *row, struct wodan_inspect *inspect, const struct block_ptr *ptr, struct told *told) {
  struct wodan_error error;
  int status = wodan_inspect_path(inspect, 0, text(row->key), on_step, told, &error);
  bool damaged = row->path[0];
  if (status != (damaged ? WODAN_ECORRUPT : 0) || (told->run == WODAN_PROBE_DAMAGED) != damaged ||
      !strstr(told->first, row->path))
    fail_msg("%s: status %d, probe %u, told '%s'", row->name, status, told->run, told->first);
  for (uint64_t block = 0; block < ptr->extents[0].count; block++)
    assert_int_equal(
        wodan_inspect_block(inspect, ptr->extents[0].first + block, WODAN_VIEW_ANY, on_field, told, &error), 0);
  if (told->pages != row->pages) fail_msg("%s: pages %x are shown, not %x", row->name, told->pages, row->pages);
}

static void test_hostile_run__a_lookup_step_by_step_tells_it(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
    struct craft c;
    struct block_ptr ptr;
    struct told told = {.run = WODAN_PROBE_NODE};
    struct wodan_inspect *inspect = NULL;
    struct wodan_error error;
    const struct wodan_inspect_options options = {.size = sizeof options, .context = &told, .damage = on_damage};
    if (!ROWS[i].key) continue;
    lay(&c, &ROWS[i], &ptr);
    struct wodan_device *device = store_open(&c.store);
    assert_int_equal(wodan_inspect_open(device, &options, &inspect, &error), 0);
    look(&ROWS[i], inspect, &ptr, &told);
    wodan_inspect_close(inspect);
    wodan_device_close(device);
    craft_end(&c);
  }
}

/* The second block of a run whose header does not prove: nothing of it is believed, and that is told. */
static void test_hostile_run__a_header_that_does_not_prove_is_shown(void **state) {
  (void)state;
  for (int stale = 0; stale < 2; stale++) {
    struct craft c;
    struct block_ptr ptr;
    struct told told = {.run = WODAN_PROBE_NODE};
    struct wodan_inspect *inspect = NULL;
    struct wodan_error error;
    const struct wodan_inspect_options options = {.size = sizeof options, .context = &told, .damage = on_damage};
    const struct row large = {.run = {.pages = {{{.key = "\1a", .value_size = 128}, {.key = "\1d", .value_size = 128}},
                                                {{.key = "\1p", .value_size = 128}, {.key = "\1q"}}}}};
    struct object other = large.run;
    other.sequence_max = 9;
    lay(&c, &large, &ptr);
    c.next_block = ptr.extents[0].first; /* a later object in the same place, or a bit that flipped */
    if (stale) craft_object(&c, &other);
    if (!stale) c.store.bytes[ptr.extents[0].first * SECTOR + HEADER_ROOM - 1] ^= 1;
    struct wodan_device *device = store_open(&c.store);
    assert_int_equal(wodan_inspect_open(device, &options, &inspect, &error), 0);
    assert_true(ptr.extents[0].count > 1);
    assert_int_equal(wodan_inspect_block(inspect, ptr.extents[0].first + 1, WODAN_VIEW_ANY, on_field, &told, &error),
                     0);
    assert_true(told.problems > 0 && told.fields > 10);
    assert_non_null(strstr(told.first, stale ? "not the one that its tree names" : "checksum"));
    assert_int_equal(told.pages, 0);
    wodan_inspect_close(inspect);
    wodan_device_close(device);
    craft_end(&c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_hostile_run__a_header_that_does_not_prove_is_shown),
      cmocka_unit_test(test_hostile_run__the_engine_says_what_is_wrong),
      cmocka_unit_test(test_hostile_run__the_check_finds_it),
      cmocka_unit_test(test_hostile_run__a_lookup_step_by_step_tells_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
