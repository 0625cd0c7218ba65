/* Inspection of images that the engine made: what it says is what the engine, a lookup and the bytes say. */
#include "inspect_rig.h"

/* Opens for the time of a test. */
struct open {
  struct store store;
  struct wodan_device *device;
  struct wodan_inspect *inspect;
  struct rig_told told;
  struct wodan_summary summary;
};

static void open_generation(struct open *o, uint64_t generation) {
  struct wodan_error error;
  o->told = (struct rig_told){.store = &o->store};
  o->device = store_open(&o->store);
  const struct wodan_inspect_options options = {
      .size = sizeof options, .generation = generation, .context = &o->told, .damage = rig_damage};
  if (wodan_inspect_open(o->device, &options, &o->inspect, &error) != 0) fail_msg("open: %s", error.message);
  o->summary = (struct wodan_summary){.size = sizeof o->summary};
  assert_int_equal(wodan_inspect_summary(o->inspect, &o->summary), 0);
}

static void shut(struct open *o) {
  assert_int_equal(o->store.writes, 0);
  wodan_inspect_close(o->inspect);
  wodan_device_close(o->device);
}

static void begin_with(struct open *o, struct store store) {
  o->store = store;
  o->store.writes = 0;
  open_generation(o, 0);
}

static void begin(struct open *o) { begin_with(o, rig_image()); }

static void end(struct open *o) {
  shut(o);
  store_free(&o->store);
}

/* ---- summary, tree, map ------------------------------------------------------------------------------------------- */

static void test_inspect__summary_is_what_an_open_finds(void **state) {
  (void)state;
  struct open o;
  begin(&o);
  struct wodan_db *db = rig_open(&o.store, WODAN_OPEN_READ_ONLY);
  struct wodan_info info = {.size = sizeof info};
  assert_int_equal(wodan_info(db, &info), 0);
  assert_int_equal(o.summary.newest.generation, info.generation);
  assert_int_equal(o.summary.older.generation, info.previous_generation);
  assert_int_equal(o.summary.sequence, info.sequence);
  assert_int_equal(o.summary.replay_operations, info.replayed_operations);
  assert_int_equal(o.summary.replay_operations, 7);
  assert_int_equal(o.summary.blocks, info.blocks);
  assert_int_equal(o.summary.epoch, info.epoch);
  assert_memory_equal(o.summary.fsid, info.fsid, 16);
  assert_int_equal(o.summary.superblock_state, WODAN_SUPERBLOCK_WHOLE);
  assert_true(o.summary.journal_mounted && o.summary.has_root && o.summary.damages == 0);
  wodan_close(db, NULL);
  end(&o);
}

/* The last node of each level, to hold children against; and that keys tile the whole range level by level. */
struct shape {
  uint64_t nodes, leaves, runs;
  char upper[16][64]; /* where the last object of a level ended */
  bool open[16];
  uint32_t levels;
  uint64_t generation[16];
};

static int shape_object(void *context, const struct wodan_object *object) {
  struct shape *shape = context;
  assert_null(object->damage);
  assert_true(object->depth < 15);
  if (object->kind == WODAN_OBJECT_RUN) {
    shape->runs++;
    assert_true(object->records > 0 && object->deletes <= object->records);
    assert_true(object->generation < shape->generation[object->depth]);
    return 0;
  }
  bool leaf = object->kind == WODAN_OBJECT_LEAF;
  uint32_t depth = object->depth + leaf; /* leaves lie one level below their node */
  *(leaf ? &shape->leaves : &shape->nodes) += 1;
  if (!leaf) shape->generation[depth] = object->generation;
  if (object->depth == 0 && !leaf) shape->levels = object->level + 1;
  assert_int_equal(object->level + object->depth + 1, shape->levels);
  if (object->has_lower) { /* where the one before it ended */
    assert_false(shape->open[depth]);
    assert_int_equal(strlen(shape->upper[depth]), object->lower.size);
    assert_memory_equal(shape->upper[depth], object->lower.data, object->lower.size);
  }
  shape->open[depth] = !object->has_upper;
  if (object->has_upper)
    snprintf(shape->upper[depth], 64, "%.*s", (int)object->upper.size, (const char *)object->upper.data);
  return 0;
}

static void test_inspect__tree_is_what_the_engine_counts_and_its_ranges_join(void **state) {
  (void)state;
  struct open o;
  struct shape shape = {0};
  begin(&o);
  struct wodan_db *db = rig_open(&o.store, WODAN_OPEN_READ_ONLY);
  struct wodan_stats stats = {.size = sizeof stats};
  assert_int_equal(wodan_stats(db, &stats), 0);
  assert_int_equal(wodan_inspect_tree(o.inspect, WODAN_NEWEST_ROOT, shape_object, &shape, NULL), 0);
  assert_int_equal(shape.nodes, stats.nodes);
  assert_int_equal(shape.leaves, stats.leaves);
  assert_int_equal(shape.runs, stats.runs);
  assert_int_equal(shape.levels, stats.levels);
  assert_true(shape.leaves > 4 && shape.nodes > 1 && shape.runs >= 1);
  wodan_close(db, NULL);
  end(&o);
}

static int stop_at_third(void *context, const struct wodan_object *object) {
  (void)object;
  return ++*(int *)context == 3 ? 77 : 0;
}

static void test_inspect__a_callback_ends_the_walk(void **state) {
  (void)state;
  struct open o;
  int count = 0;
  begin(&o);
  assert_int_equal(wodan_inspect_tree(o.inspect, WODAN_NEWEST_ROOT, stop_at_third, &count, NULL), 77);
  assert_int_equal(count, 3);
  end(&o);
}

static void map_sum(const struct wodan_map_cell *cells, size_t count, uint64_t sum[WODAN_MAP_KINDS]) {
  memset(sum, 0, WODAN_MAP_KINDS * sizeof *sum);
  for (size_t i = 0; i < count; i++)
    for (unsigned kind = 0; kind < WODAN_MAP_KINDS; kind++) sum[kind] += cells[i].blocks[kind];
}

static void test_inspect__map_counts_every_block_once_in_any_number_of_cells(void **state) {
  (void)state;
  static const size_t COUNTS[] = {1, 2, 7, 100, 255, 256, 300};
  struct open o;
  begin(&o);
  struct wodan_db *db = rig_open(&o.store, WODAN_OPEN_READ_ONLY);
  struct wodan_stats stats = {.size = sizeof stats};
  assert_int_equal(wodan_stats(db, &stats), 0);
  uint64_t block_size = o.summary.block_size, sum[WODAN_MAP_KINDS];
  for (size_t i = 0; i < sizeof COUNTS / sizeof *COUNTS; i++) {
    struct wodan_map_cell cells[300];
    uint64_t per_cell = 0;
    assert_int_equal(wodan_inspect_map(o.inspect, cells, COUNTS[i], &per_cell, NULL), 0);
    assert_int_equal(per_cell, (o.summary.blocks + COUNTS[i] - 1) / COUNTS[i]);
    map_sum(cells, COUNTS[i], sum);
    assert_int_equal(sum[WODAN_MAP_SUPERBLOCK], 2);
    assert_int_equal(sum[WODAN_MAP_RING] + sum[WODAN_MAP_RING_LIVE], o.summary.journal_blocks);
    assert_true(sum[WODAN_MAP_RING_LIVE] >= 2);
    uint64_t live = sum[WODAN_MAP_NODE] + sum[WODAN_MAP_RUN] + sum[WODAN_MAP_LEAF];
    assert_int_equal(live * block_size, stats.space_live);
    assert_int_equal(sum[WODAN_MAP_PREVIOUS] * block_size, stats.space_deferred);
    assert_int_equal(sum[WODAN_MAP_FREE] * block_size, stats.space_free);
    assert_int_equal(sum[WODAN_MAP_LOST], 0);
    assert_true(cells[0].blocks[WODAN_MAP_SUPERBLOCK] >= 1);
  }
  wodan_close(db, NULL);
  end(&o);
}

/* ---- path --------------------------------------------------------------------------------------------------------- */

struct way {
  uint64_t versions, decides, journal, nodes, leaves;
  bool deleted;
  uint64_t last; /* sequence of the version before, of the tree */
  char value[96];
  size_t size;
};

static int way_step(void *context, const struct wodan_path_step *step) {
  struct way *way = context;
  way->nodes += step->probe == WODAN_PROBE_NODE;
  way->leaves += step->kind == WODAN_OBJECT_LEAF && !step->in_journal;
  if (step->probe != WODAN_PROBE_FOUND) {
    assert_int_equal(step->decides, 0);
    return 0;
  }
  way->versions++;
  way->journal += step->in_journal;
  if (!step->in_journal) { /* newest first */
    assert_true(way->last == 0 || step->sequence < way->last);
    way->last = step->sequence;
  }
  if (!step->decides) return 0;
  way->decides++;
  way->deleted = step->deleted;
  way->size = step->value.size;
  if (step->value.size) memcpy(way->value, step->value.data, step->value.size);
  return 0;
}

static void test_inspect__path_decides_what_a_lookup_answers(void **state) {
  (void)state;
  struct open o;
  begin(&o);
  struct wodan_db *db = rig_open(&o.store, WODAN_OPEN_READ_ONLY);
  uint64_t most = 0, in_journal = 0, deleted = 0;
  for (unsigned i = 0; i < RIG_KEYS + 50; i++) { /* the last ones are not there */
    char key[32], value[96];
    size_t size = 0;
    struct way way = {0};
    int got = wodan_get(db, NULL, rig_key(key, i), value, sizeof value, &size);
    int status = wodan_inspect_path(o.inspect, WODAN_NEWEST_ROOT, rig_key(key, i), way_step, &way, NULL);
    assert_int_equal(status, got);
    assert_true(way.nodes >= 1 && way.leaves == 1);
    assert_int_equal(way.decides, way.versions > 0);
    if (got == 0) {
      assert_false(way.deleted);
      assert_int_equal(way.size, size);
      assert_memory_equal(way.value, value, size);
    }
    if (got == WODAN_ENOTFOUND && way.versions) assert_true(way.deleted);
    if (way.versions > most) most = way.versions;
    in_journal += way.journal;
    deleted += way.deleted;
  }
  assert_true(most >= 2 && deleted >= 5);
  assert_int_equal(in_journal, 7);
  assert_int_equal(o.told.damages, 0);
  wodan_close(db, NULL);
  end(&o);
}

static void test_inspect__path_in_the_previous_root_is_older(void **state) {
  (void)state;
  struct open o;
  char key[32];
  struct way newest = {0}, older = {0};
  begin(&o); /* key 5 was put in rounds 0 and 1, and in 2, which only the journal has */
  assert_int_equal(wodan_inspect_path(o.inspect, WODAN_NEWEST_ROOT, rig_key(key, 5), way_step, &newest, NULL), 0);
  assert_int_equal(wodan_inspect_path(o.inspect, WODAN_OLDER_ROOT, rig_key(key, 5), way_step, &older, NULL), 0);
  assert_memory_equal(newest.value, "value 5 of round 2", 18);
  assert_memory_equal(older.value, "value 5 of round ", 17);
  assert_true(older.value[17] < '2'); /* 0 or 1: maintenance may have made a checkpoint between those asked for */
  assert_int_equal(newest.journal, 1);
  assert_int_equal(older.journal, 0);
  end(&o);
}

/* ---- journal and roots -------------------------------------------------------------------------------------------- */

struct ring {
  uint64_t blocks, roles[7], last, live, operations;
  const struct wodan_summary *summary;
};

static int ring_block(void *context, const struct wodan_journal_block *b) {
  struct ring *ring = context;
  ring->blocks++;
  for (unsigned i = 0; i < 7; i++) ring->roles[i] += b->roles >> i & 1;
  if (b->kind == WODAN_JOURNAL_INVALID) return 0;
  assert_true(b->sequence > ring->last || ring->last == 0);
  assert_int_equal(b->sequence % ring->summary->ring, b->position);
  assert_int_equal(b->block, 1 + b->position * ring->summary->journal_block_size / ring->summary->block_size);
  ring->last = b->sequence;
  if (b->roles & WODAN_JOURNAL_NEWEST) assert_int_equal(b->root.generation, ring->summary->newest.generation);
  if (b->roles & WODAN_JOURNAL_OLDER) assert_int_equal(b->root.generation, ring->summary->older.generation);
  if (b->roles & WODAN_JOURNAL_TAIL) assert_int_equal(b->sequence, ring->summary->newest.tail);
  if (b->kind == WODAN_JOURNAL_RECORD && b->fragment == 0 && b->last > ring->summary->newest.sequence)
    ring->operations += b->operations;
  return 0;
}

static void test_inspect__journal_names_roots_tail_and_head(void **state) {
  (void)state;
  struct open o;
  begin(&o);
  struct ring ring = {.summary = &o.summary};
  assert_int_equal(wodan_inspect_journal(o.inspect, ring_block, &ring, NULL), 0);
  assert_int_equal(ring.blocks, o.summary.ring);
  assert_int_equal(ring.last + 1, o.summary.head);
  assert_int_equal(ring.operations, o.summary.replay_operations);
  assert_int_equal(ring.roles[2], 1); /* tail */
  assert_int_equal(ring.roles[3], 1); /* newest */
  assert_int_equal(ring.roles[4], 1); /* older */
  assert_int_equal(ring.roles[5], 1); /* head */
  assert_int_equal(ring.roles[1], o.summary.head - o.summary.newest.tail);
  assert_true(ring.roles[6] + 2 >= o.summary.ring); /* all but the first shown follow the one before */
  end(&o);
}

struct roots {
  struct wodan_root list[64];
  uint32_t count;
};

static int roots_keep(void *context, const struct wodan_root *root) {
  struct roots *roots = context;
  assert_true(roots->count < 64);
  roots->list[roots->count++] = *root;
  return 0;
}

static void test_inspect__every_listed_root_can_be_looked_at(void **state) {
  (void)state;
  struct open o;
  struct roots roots = {.count = 0};
  begin(&o);
  assert_int_equal(wodan_inspect_roots(o.inspect, roots_keep, &roots, NULL), 0);
  assert_true(roots.count >= 2);
  assert_int_equal(roots.list[0].generation, o.summary.newest.generation);
  assert_int_equal(roots.list[1].generation, o.summary.older.generation);
  shut(&o);
  for (uint32_t i = 0; i < roots.count; i++) {
    if (i) assert_true(roots.list[i].generation < roots.list[i - 1].generation);
    open_generation(&o, roots.list[i].generation);
    assert_int_equal(o.summary.newest.generation, roots.list[i].generation);
    assert_int_equal(o.summary.newest.sequence, roots.list[i].sequence);
    assert_int_equal(o.summary.newest.journal_block, roots.list[i].journal_block);
    assert_int_equal(o.summary.journal_mounted, i == 0);
    shut(&o);
  }
  struct wodan_inspect *none;
  struct wodan_device *device = store_open(&o.store);
  const struct wodan_inspect_options options = {.size = sizeof options, .generation = 123456789};
  assert_int_equal(wodan_inspect_open(device, &options, &none, NULL), WODAN_ENOTFOUND);
  wodan_device_close(device);
  store_free(&o.store);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------- */

static uint64_t decode_all(struct store image) {
  struct open o;
  struct wodan_map_cell *cells;
  uint64_t per_cell, large = 0;
  begin_with(&o, image);
  cells = calloc(o.summary.blocks, sizeof *cells);
  assert_int_equal(wodan_inspect_map(o.inspect, cells, o.summary.blocks, &per_cell, NULL), 0);
  for (uint64_t block = 0; block < o.summary.blocks; block++) {
    uint64_t before = o.told.fields;
    int status = wodan_inspect_block(o.inspect, block, WODAN_VIEW_ANY, rig_field, &o.told, NULL);
    bool used = !cells[block].blocks[WODAN_MAP_FREE];
    if (status != 0 && (used || status != WODAN_ENOTFOUND))
      fail_msg("block %llu: %d", (unsigned long long)block, status);
    if (used) assert_true(o.told.fields > before);
    bool node = cells[block].blocks[WODAN_MAP_NODE], page = cells[block].blocks[WODAN_MAP_LEAF];
    page = page || cells[block].blocks[WODAN_MAP_RUN] || cells[block].blocks[WODAN_MAP_LARGE];
    large += cells[block].blocks[WODAN_MAP_LARGE];
    if (!used || cells[block].blocks[WODAN_MAP_PREVIOUS]) continue;
    status = wodan_inspect_block(o.inspect, block, WODAN_VIEW_NODE, rig_field, &o.told, NULL);
    assert_int_equal(status, node ? 0 : WODAN_ENOTFOUND);
    status = wodan_inspect_block(o.inspect, block, WODAN_VIEW_PAGE, rig_field, &o.told, NULL);
    assert_int_equal(status, page ? 0 : WODAN_ENOTFOUND);
  }
  assert_int_equal(o.told.problems, 0);
  assert_int_equal(o.told.damages, 0);
  assert_int_equal(o.told.bad_bytes, 0);
  free(cells);
  end(&o);
  return large;
}

static void test_inspect__every_block_of_a_clean_image_decodes_without_a_problem(void **state) {
  (void)state;
  assert_int_equal(decode_all(rig_image()), 0);
  assert_true(decode_all(rig_image_large(WODAN_COMPRESSION_OFF)) > 200);
  assert_true(decode_all(rig_image_large(WODAN_COMPRESSION_HIGH)) > 100);
}

/* The large value of a key, block by block. */
struct large {
  uint64_t size, block;      /* by the way to it */
  uint64_t chunks, problems; /* shown */
  uint64_t next;             /* where the next chunk begins in the value */
  bool own, key, table;      /* fields of this value are being shown; they were shown */
};

static int large_step(void *context, const struct wodan_path_step *step) {
  struct large *large = context;
  if (step->decides && step->large_size) *large = (struct large){.size = step->large_size, .block = step->large_block};
  return 0;
}

static int large_field(void *context, const struct wodan_field *field) {
  struct large *large = context;
  char heading[64];
  snprintf(heading, sizeof heading, "at block %llu, generation", (unsigned long long)large->block);
  if (field->depth == 0) large->own = strncmp(field->text, heading, strlen(heading)) == 0;
  if (!large->own) return 0;
  large->problems += field->problem != NULL;
  large->table |= strcmp(field->name, "table of chunks") == 0;
  large->key |= strcmp(field->name, "of the key") == 0 && strstr(field->text, "\"key ");
  unsigned long long number, from, to;
  if (strcmp(field->name, "chunk") != 0) return 0;
  if (sscanf(field->text, "%llu, bytes %llu to %llu", &number, &from, &to) != 3) return 0; /* a line of the table */
  if (from != large->next) return 0; /* shown with the block before, too */
  assert_int_equal(number, large->chunks++);
  large->next = to;
  return 0;
}

/* In the journal, in a buffered run, in a leaf: found at the block that the way to the key names, whole; a changed byte of a
 * chunk is shown as wrong; and when its header is gone, nothing is said to be there. */
static void test_inspect__a_large_value_is_shown_chunk_by_chunk(void **state) {
  (void)state;
  static const unsigned NUMBERS[] = {2, 1, RIG_LARGE - 1, 4};
  for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
    struct open o;
    struct large large = {0};
    char key[32];
    begin_with(&o, rig_image_large(i % 2 ? WODAN_COMPRESSION_FAST : WODAN_COMPRESSION_OFF));
    assert_int_equal(wodan_inspect_path(o.inspect, 0, rig_key(key, NUMBERS[i] * 23), large_step, &large, NULL), 0);
    assert_int_equal(large.size, rig_large_size(NUMBERS[i]));
    for (uint64_t block = large.block; block < o.summary.blocks && !large.table; block++) /* its extents ascend */
      wodan_inspect_block(o.inspect, block, WODAN_VIEW_PAGE, large_field, &large, NULL);
    assert_true(large.key && large.next == large.size && large.chunks >= 1 && large.problems == 0);
    uint8_t *bytes = o.store.bytes + large.block * o.summary.block_size;
    bytes[400] ^= 1;
    assert_int_equal(wodan_inspect_block(o.inspect, large.block, WODAN_VIEW_ANY, large_field, &large, NULL), 0);
    assert_true(large.problems == 1 && o.told.damages == 1);
    assert_int_equal(wodan_inspect_block(o.inspect, large.block, WODAN_VIEW_NODE, large_field, &large, NULL),
                     WODAN_ENOTFOUND);
    bytes[20] ^= 1;
    assert_int_equal(wodan_inspect_block(o.inspect, large.block, WODAN_VIEW_ANY, large_field, &large, NULL), 0);
    assert_true(large.problems >= 3);
    end(&o);
  }
}

/* ---- arguments, empty volumes ------------------------------------------------------------------------------------- */

static void test_inspect__an_empty_volume_has_an_empty_tree(void **state) {
  (void)state;
  struct rig_memory memory = {0};
  struct store store;
  rig_format(&store, RIG_SIZE, WODAN_COMPRESSION_OFF);
  struct rig_told told = rig_ask(&store, &memory);
  assert_int_equal(told.status, 0);
  assert_int_equal(told.damages, 0);
  assert_int_equal(told.objects, 0);
  assert_int_equal(told.roots, 1);
  assert_int_equal(told.steps, 0);
  store_free(&store);
}

static void test_inspect__memory_is_bounded(void **state) {
  (void)state;
  struct rig_memory memory = {0};
  struct store store = rig_image();
  rig_ask(&store, &memory);
  assert_true(memory.peak < (3u << 20)); /* windows of 2 MiB, whatever the size of the image */
  store_free(&store);
}

static void test_inspect__wrong_arguments_are_refused(void **state) {
  (void)state;
  struct open o;
  struct wodan_inspect *none = NULL;
  struct wodan_map_cell cell;
  uint64_t per_cell;
  char long_key[3000] = {0};
  begin(&o);
  assert_int_equal(wodan_inspect_open(NULL, NULL, &none, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_inspect_open(o.device, NULL, NULL, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_inspect_open(o.device, &(struct wodan_inspect_options){.size = 8}, &none, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_inspect_summary(o.inspect, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_inspect_tree(o.inspect, 2, rig_object, &o.told, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_inspect_tree(o.inspect, 0, NULL, NULL, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_inspect_journal(NULL, rig_journal, NULL, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_inspect_roots(o.inspect, NULL, NULL, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_inspect_path(o.inspect, 0, (struct wodan_slice){"", 0}, rig_step, &o.told, NULL),
                   WODAN_EINVAL);
  assert_int_equal(
      wodan_inspect_path(o.inspect, 0, (struct wodan_slice){long_key, sizeof long_key}, rig_step, &o.told, NULL),
      WODAN_EINVAL);
  assert_int_equal(wodan_inspect_block(o.inspect, o.summary.blocks, 0, rig_field, &o.told, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_inspect_block(o.inspect, 0, 9, rig_field, &o.told, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_inspect_map(o.inspect, &cell, 0, &per_cell, NULL), WODAN_EINVAL);
  wodan_inspect_close(NULL);
  end(&o);
}

static void test_inspect__what_is_no_image_is_refused(void **state) {
  (void)state;
  struct rig_memory memory = {0};
  struct store store = store_create(RIG_SIZE, RIG_SECTOR);
  assert_int_equal(rig_ask(&store, &memory).status, WODAN_EFORMAT);
  store.size = 512;
  assert_int_equal(rig_ask(&store, &memory).status, WODAN_EFORMAT);
  store_free(&store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_inspect__summary_is_what_an_open_finds),
      cmocka_unit_test(test_inspect__tree_is_what_the_engine_counts_and_its_ranges_join),
      cmocka_unit_test(test_inspect__a_callback_ends_the_walk),
      cmocka_unit_test(test_inspect__map_counts_every_block_once_in_any_number_of_cells),
      cmocka_unit_test(test_inspect__path_decides_what_a_lookup_answers),
      cmocka_unit_test(test_inspect__path_in_the_previous_root_is_older),
      cmocka_unit_test(test_inspect__journal_names_roots_tail_and_head),
      cmocka_unit_test(test_inspect__every_listed_root_can_be_looked_at),
      cmocka_unit_test(test_inspect__every_block_of_a_clean_image_decodes_without_a_problem),
      cmocka_unit_test(test_inspect__a_large_value_is_shown_chunk_by_chunk),
      cmocka_unit_test(test_inspect__an_empty_volume_has_an_empty_tree),
      cmocka_unit_test(test_inspect__memory_is_bounded),
      cmocka_unit_test(test_inspect__wrong_arguments_are_refused),
      cmocka_unit_test(test_inspect__what_is_no_image_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
