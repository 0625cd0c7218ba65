/* Stretches: what an iterator says that moves are going to show, held against the moves, from every record, both ways, and out
 * of the middle of one back to moving. Over trees with buffered runs at every level, runs that some entries have absorbed, and
 * memtables in front of it all. See iter/iterator.h; tests/unit/test_engine_cursor.c has the cursors that use them. */
#include "memtable/memtable.h"
#include "tree_world.h"

/* What is read: a tree, and in front of it a memtable as of some sequence. */
struct sight {
  struct tree *tree;
  struct memtable *table; /* NULL: none */
  uint64_t sequence;
};

static struct iterator *open_sight(const struct sight *sight) {
  uint32_t count = node_source_count(sight->tree->root), n = 0;
  struct iterator **sources = calloc(count + 1, sizeof *sources);
  assert_non_null(sources);
  if (sight->table) sources[n++] = memtable_iterator(sight->table, sight->sequence);
  assert_int_equal(node_sources(sight->tree->root, sources + n, NULL), 0);
  struct iterator *it = merge_open(&sight->tree->w.mem, sources, n + count);
  assert_non_null(it);
  free(sources);
  return it;
}

struct shown {
  char key[64];
  size_t key_size;
  uint64_t sequence;
  uint8_t kind;
  uint64_t value; /* its hash */
};

static struct shown shown_of(struct wodan_slice key, uint64_t sequence, uint8_t kind, struct wodan_slice value) {
  struct shown shown = {
      .key_size = key.size, .sequence = sequence, .kind = kind, .value = checksum(0, value.data, value.size)};
  assert_true(key.size <= sizeof shown.key);
  memcpy(shown.key, key.data, key.size);
  return shown;
}

static bool same(const struct shown *a, const struct shown *b) {
  return a->key_size == b->key_size && memcmp(a->key, b->key, a->key_size) == 0 && a->sequence == b->sequence &&
         a->kind == b->kind && a->value == b->value;
}

/* Everything, by moves alone. */
static struct shown *all_of(const struct sight *sight, size_t *count) {
  struct iterator *it = open_sight(sight);
  struct shown *all = calloc(2 * KEYS, sizeof *all);
  assert_non_null(all);
  *count = 0;
  assert_int_equal(iterator_first(it, NULL), 0);
  while (it->valid) {
    assert_true(*count < 2 * KEYS);
    all[(*count)++] = shown_of(it->record.key, it->record.sequence, it->record.kind, it->record.value);
    assert_int_equal(iterator_next(it, NULL), 0);
  }
  iterator_close(it);
  return all;
}

static void assert_shows(const struct iterator *it, const struct shown *all, size_t count, size_t at,
                         const char *what) {
  if (at >= count) { /* also below 0 */
    if (it->valid) fail_msg("%s: there is a record, the end is due", what);
    return;
  }
  if (!it->valid) fail_msg("%s: no record, number %zu is due", what, at);
  struct shown shown = shown_of(it->record.key, it->record.sequence, it->record.kind, it->record.value);
  if (!same(&shown, &all[at])) fail_msg("%s: %.*s, number %zu is due", what, (int)shown.key_size, shown.key, at);
}

/* The stretch from record `at` on holds what moves show; how many records. The key's bytes are written over. */
static uint32_t read_stretch(struct iterator *it, const struct shown *all, size_t count, size_t at, bool back) {
  struct stretch stretch;
  if (!iterator_stretch(it, back, &stretch)) return 0;
  uint32_t length = back ? stretch.at - stretch.last : stretch.last - stretch.at;
  for (uint32_t n = 1; n <= length; n++) {
    struct page_record record = page_record(&stretch.page, back ? stretch.at - n : stretch.at + n);
    size_t due = back ? at - n : at + n, prefix = stretch.page.prefix_size;
    if (due >= count) fail_msg("a stretch from record %zu, back %d, goes beyond the end", at, back);
    assert_true(prefix + record.suffix.size <= stretch.key_capacity);
    page_copy_suffix(&stretch.page, record.suffix, stretch.key + prefix);
    struct wodan_slice key = {stretch.key, prefix + record.suffix.size};
    struct shown shown = shown_of(key, record.sequence, record.kind, record.value);
    if (!same(&shown, &all[due]))
      fail_msg("record %u of the stretch from %zu, back %d, is %.*s: not what a move shows", n, at, back,
               (int)shown.key_size, shown.key);
  }
  return length;
}

/* Off into the stretch as far as `steps`, then moves again, on or with a turn. */
static void leave_at(struct iterator *it, const struct shown *all, size_t count, size_t at, bool back, uint32_t steps,
                     bool turn) {
  struct stretch stretch;
  assert_true(iterator_stretch(it, back, &stretch));
  memset(stretch.key + stretch.page.prefix_size, 0xee, stretch.key_capacity - stretch.page.prefix_size);
  assert_int_equal(iterator_settle(it, back ? stretch.at - steps : stretch.at + steps, NULL), 0);
  size_t now = back ? at - steps : at + steps;
  assert_shows(it, all, count, now, "settled");
  bool down = back != turn;
  for (int n = 0; n < 3 && it->valid; n++) {
    now = down ? now - 1 : now + 1;
    assert_int_equal(scan_step(it, down), 0);
    assert_shows(it, all, count, now, turn ? "a turn behind a stretch" : "a move behind a stretch");
  }
}

/* From every record both ways; how many records lay in stretches, out of `*count` each way. */
static uint64_t assert_stretches(const struct sight *sight, size_t *count) {
  struct shown *all = all_of(sight, count);
  struct iterator *it = open_sight(sight);
  uint64_t covered = 0;
  for (size_t at = 0; at < *count; at++) {
    struct wodan_slice key = {all[at].key, all[at].key_size};
    for (int back = 0; back < 2; back++) {
      assert_int_equal(back ? iterator_seek_back(it, key, NULL) : iterator_seek(it, key, NULL), 0);
      assert_shows(it, all, *count, at, "sought");
      uint32_t length = read_stretch(it, all, *count, at, back);
      covered += length > 0;
      for (uint32_t steps = 0; length && steps <= length; steps++) {
        for (int turn = 0; turn < 2; turn++) {
          assert_int_equal(back ? iterator_seek_back(it, key, NULL) : iterator_seek(it, key, NULL), 0);
          leave_at(it, all, *count, at, back, steps, turn);
        }
      }
    }
  }
  iterator_close(it);
  free(all);
  return covered;
}

/* ---- trees --------------------------------------------------------------------------------------------------------- */

/* Leaves alone: a stretch from every record of a page but its last two, either way; it ends with the page. */
static void test_stretches__of_leaves_end_with_their_pages(void **state) {
  (void)state;
  struct tree *tree = tree_open(4, 4);
  size_t count;
  fill(tree, 0, 300, 1);
  assert_int_equal(tree->root->sums.runs, 0);
  struct sight sight = {.tree = tree};
  uint64_t covered = assert_stretches(&sight, &count);
  assert_int_equal(count, 300);
  assert_true(covered > count / 2 && covered < 2 * count); /* some 6 records a page */
  tree_close(tree);
}

/* Runs above leaves, and deletes in them: a stretch ends before what another source shows, and where a newer one hides. */
static void test_stretches__end_where_another_source_comes_next(void **state) {
  (void)state;
  for (uint32_t levels = 1; levels <= 3; levels++) {
    struct tree *tree = tree_open(levels > 1 ? 4 : 1000, 4);
    size_t count, keys = 200;
    fill(tree, 0, keys, 1);
    for (; tree->root->level + 1 < levels; keys += 40) fill(tree, keys, keys + 40, 1);
    for (uint64_t v = 2; v < 8; v++) {
      struct changes *changes = changes_new();
      for (size_t i = v; i < keys; i += 23 + 9 * (v % 3)) changes->to[i] = v % 4 ? v : ABSENT;
      add_run(tree, changes);
      if (v < 6) settle(tree); /* the newest stay where they came */
    }
    assert_true(tree->root->sums.runs > 0);
    struct sight sight = {.tree = tree};
    uint64_t covered = assert_stretches(&sight, &count);
    assert_true(covered > count / 8);
    tree_close(tree);
  }
}

/* A leaf of keys [from, end) in an entry that begins at key `pivot` and has absorbed the runs up to `mark`. */
static struct node_entry entry_of(struct tree *tree, size_t from, size_t end, uint64_t pivot, uint64_t mark) {
  return (struct node_entry){.leaf = make_leaf(tree, from, end, 1, pivot), .flushed_upto = mark};
}

/* A run that every other entry has absorbed: what it holds for those is not shown, though it stands in the same page, and no
 * other source stands where the slice ends. */
static void test_stretches__end_where_an_entry_has_absorbed_the_run(void **state) {
  (void)state;
  enum { ENTRIES = 8, APART = 10 };
  for (int odd = 0; odd < 2; odd++) {
    struct tree *tree = tree_open(1000, 8);
    struct node_entry entries[ENTRIES];
    size_t count;
    for (size_t i = 0; i < ENTRIES; i++)
      entries[i] = entry_of(tree, i * APART + 7, i * APART + 9, i ? i * APART : NONE, 0);
    struct run *run = make_run(tree, 0, ENTRIES * APART, 1, 2);
    for (size_t i = 0; i < ENTRIES; i++) entries[i].flushed_upto = (int)(i % 2) == odd ? run_generation(run) : 0;
    struct node_parts parts = {.entries = entries, .entry_count = ENTRIES, .runs = &run, .run_count = 1};
    struct node *root = node_create(&tree->w.env, &parts);
    assert_non_null(root);
    for (size_t i = 0; i < ENTRIES; i++) run_unref(entries[i].leaf);
    run_unref(run);
    use_root(tree, root);
    struct sight sight = {.tree = tree};
    uint64_t covered = assert_stretches(&sight, &count);
    assert_int_equal(count, ENTRIES / 2 * (APART + 2));
    assert_true(covered > count / 4);
    tree_close(tree);
  }
}

/* ---- memtables in front ---------------------------------------------------------------------------------------------- */

static void insert(struct tree *tree, struct memtable *table, const struct record *record) {
  struct record with = *record;
  with.sequence = ++tree->sequence;
  assert_int_equal(memtable_reserve(table, 1, with.key.size + with.value.size, NULL), 0);
  if (with.kind == RECORD_DELETE_RANGE) assert_int_equal(memtable_reserve_ranges(table, 1, NULL), 0);
  memtable_insert(table, &with);
}

/* A version in the memtable, or a delete, in the middle of a page: the stretch ends before it, and moves show it. One that
 * came after the view ends none. */
static void test_stretches__end_before_a_newer_version_in_a_memtable(void **state) {
  (void)state;
  struct tree *tree = tree_open(4, 4);
  size_t count;
  char key[64], value[128];
  fill(tree, 0, 200, 1);
  struct memtable *table = memtable_create(&tree->w.mem, NULL);
  assert_non_null(table);
  struct sight sight = {.tree = tree, .table = table, .sequence = tree->sequence};
  uint64_t alone = assert_stretches(&sight, &count);
  for (size_t i = 3; i < 200; i += 13) {
    struct record record = {.key = tree_key(i, key), .kind = i % 2 ? RECORD_PUT : RECORD_DELETE};
    if (i % 2) record.value = tree_value(i, 5, value);
    insert(tree, table, &record);
  }
  assert_int_equal(assert_stretches(&sight, &count), alone); /* as of before */
  assert_int_equal(count, 200);
  sight.sequence = tree->sequence;
  uint64_t beside = assert_stretches(&sight, &count);
  assert_int_equal(count, 200); /* deletes are records here */
  assert_true(beside > 0 && beside < alone);
  memtable_unref(table);
  tree_close(tree);
}

/* A range delete hides what lies ahead in the page: no stretch goes into it, from either side. */
static void test_stretches__never_cross_a_range_delete(void **state) {
  (void)state;
  struct tree *tree = tree_open(4, 4);
  size_t count;
  char key[64], upper[64];
  fill(tree, 0, 200, 1);
  struct memtable *table = memtable_create(&tree->w.mem, NULL);
  assert_non_null(table);
  struct sight sight = {.tree = tree, .table = table, .sequence = tree->sequence};
  for (size_t i = 10; i < 200; i += 40) {
    struct record range = {
        .key = tree_key(i, key), .kind = RECORD_DELETE_RANGE, .value = tree_key(i + 5 + i % 3, upper)};
    insert(tree, table, &range);
  }
  sight.sequence = tree->sequence;
  assert_stretches(&sight, &count);
  assert_int_equal(count, 200 - 5 * 5 - (10 % 3 + 50 % 3 + 90 % 3 + 130 % 3 + 170 % 3));
  memtable_unref(table);
  tree_close(tree);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_stretches__of_leaves_end_with_their_pages),
      cmocka_unit_test(test_stretches__end_where_another_source_comes_next),
      cmocka_unit_test(test_stretches__end_where_an_entry_has_absorbed_the_run),
      cmocka_unit_test(test_stretches__end_before_a_newer_version_in_a_memtable),
      cmocka_unit_test(test_stretches__never_cross_a_range_delete),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
