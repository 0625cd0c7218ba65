/* A database beside the truth: keys are numbers, told again from them alone and sorted as they are; the truth is an array
 * that has the version each key was written in. Shared by the tests of workloads, bounds and full volumes. */
#ifndef UNIT_WORLD_H
#define UNIT_WORLD_H

#include "engine_rig.h"

#include "engine/engine.h"
#include "support/tree_invariants.h"

/* ---- geometry ------------------------------------------------------------------------------------------------------ */

struct shape {
  const char *name;
  uint64_t size; /* of the device */
  struct wodan_format_options format;
  uint64_t keys;     /* 0..keys-1 */
  uint32_t key_size; /* bytes; 0: 12 */
  uint32_t value_min, value_max;
};

/* What was written, to be taken back when a crash loses it. */
struct undo {
  uint64_t key;
  uint32_t version; /* before */
  bool last;        /* of its batch */
};

struct world {
  struct rig rig;
  const struct shape *shape;
  uint32_t flags;     /* of every open */
  uint64_t budget;    /* of every open, 0: usual */
  uint32_t *versions; /* of each key; 0: absent */
  uint32_t version;   /* last given */
  uint64_t random, seed;
  struct undo *undo; /* operations behind `durable` */
  size_t undo_count, undo_capacity;
  uint64_t durable; /* sequence */
  uint64_t levels;  /* most seen */
  uint64_t worked, walk_every, walks;
  uint64_t refused;
};

static inline uint64_t seed_or(uint64_t seed) {
  const char *text = getenv("WODAN_SEED");
  return text ? strtoull(text, NULL, 0) : seed;
}

/* WODAN_TEST: the one test to run, a pattern. */
static inline void only_the_test_asked_for(void) {
  const char *pattern = getenv("WODAN_TEST");
  if (pattern) cmocka_set_test_filter(pattern);
}

#define world_fail(world, ...)                                                                                         \
  do {                                                                                                                 \
    print_error("%s, replay with WODAN_SEED=%llu\n", (world)->shape->name, (unsigned long long)(world)->seed);         \
    fail_msg(__VA_ARGS__);                                                                                             \
  } while (0)

/* ---- keys and values ----------------------------------------------------------------------------------------------- */

/* A long key is one prefix that all have, and the number at its end. */
static inline struct wodan_slice world_key(const struct world *world, uint64_t i, char out[2100]) {
  size_t size = world->shape->key_size ? world->shape->key_size : 12;
  char number[24];
  int digits = snprintf(number, sizeof number, "%08llu", (unsigned long long)i);
  memset(out, 'p', size);
  memcpy(out + size - (size_t)digits, number, (size_t)digits);
  return (struct wodan_slice){out, size};
}

static inline size_t world_value_size(const struct world *world, uint64_t i, uint32_t version) {
  uint64_t spread = world->shape->value_max - world->shape->value_min + 1, state = i * 31 + version;
  return world->shape->value_min + random_next(&state) % spread;
}

static inline struct wodan_slice world_value(const struct world *world, uint64_t i, uint32_t version,
                                             uint8_t out[4096]) {
  size_t size = world_value_size(world, i, version);
  uint64_t state = i * 0x100000001B3ull ^ (uint64_t)version << 32;
  for (size_t b = 0; b < size; b += 8) {
    uint64_t word = random_next(&state);
    memcpy(out + b, &word, size - b < 8 ? size - b : 8);
  }
  return (struct wodan_slice){out, size};
}

/* Bytes of the keys and values there are. */
static inline uint64_t world_live(const struct world *world) {
  uint64_t bytes = 0, key_size = world->shape->key_size ? world->shape->key_size : 12;
  for (uint64_t i = 0; i < world->shape->keys; i++)
    if (world->versions[i]) bytes += key_size + world_value_size(world, i, world->versions[i]);
  return bytes;
}

/* ---- open and close ------------------------------------------------------------------------------------------------ */

static inline void world_open(struct world *world) {
  struct wodan_open_options options = rig_options(&world->rig);
  options.flags = world->flags;
  options.memory_budget = world->budget;
  rig_open_with(&world->rig, &options);
  world->worked = 0;
}

static inline void world_start(struct world *world, const struct shape *shape, uint32_t flags, uint64_t seed) {
  *world = (struct world){.shape = shape, .flags = flags, .seed = seed, .random = seed, .walk_every = 1};
  rig_start(&world->rig, shape->size, &shape->format);
  rig_close(&world->rig);
  world->versions = calloc(shape->keys, sizeof *world->versions);
  assert_non_null(world->versions);
  world_open(world);
}

static inline void world_free(struct world *world) {
  rig_end(&world->rig);
  free(world->versions);
  free(world->undo);
}

static inline void world_see(struct world *world) {
  struct wodan_stats stats = rig_stats(world->rig.db);
  if (stats.levels > world->levels) world->levels = stats.levels;
}

/* ---- the tree ------------------------------------------------------------------------------------------------------ */

/* The tree of now, walked from the outside; records too, which costs. */
static inline void world_walk(struct world *world, bool records) {
  struct wodan_db *db = world->rig.db;
  engine_tree_enter(db);
  if (db->node->level + 1u > world->levels) world->levels = db->node->level + 1u;
  if (records)
    tree_assert_valid(db->node, NULL);
  else
    tree_assert_skeleton(db->node);
  engine_tree_leave(db);
  world->walks++;
}

/* After a call that did maintenance. */
static inline void world_walk_worked(struct world *world) {
  uint64_t worked = atomic_load(&world->rig.db->worked);
  if (!world->walk_every || worked - world->worked < world->walk_every) return;
  world->worked = worked;
  world_walk(world, false);
}

/* No finding but notes. Closed only. */
static inline void world_print_finding(void *context, const struct wodan_finding *finding) {
  (void)context;
  if (finding->severity != WODAN_NOTE) print_error("WF%04u: %s\n", finding->id, finding->message);
}
static inline struct wodan_check_report world_fsck(struct world *world) {
  struct wodan_check_options options = {.size = sizeof options, .finding = world_print_finding};
  struct wodan_check_report report;
  struct wodan_error error;
  struct wodan_device *device = kept_plug(world->rig.kept, world->rig.sector, 1);
  int status = wodan_check(device, &options, &report, &error);
  if (status < 0) world_fail(world, "check answered %d: %s", status, error.message);
  assert_int_equal(wodan_device_close(device), 0);
  if (report.damages || report.warnings || !report.complete) world_fail(world, "the image is not clean");
  return report;
}

/* ---- writing ------------------------------------------------------------------------------------------------------- */

static inline void world_durable(struct world *world) {
  world->durable = rig_info(world->rig.db).sequence;
  world->undo_count = 0;
}

static inline void world_note(struct world *world, uint64_t i, uint32_t version, bool last) {
  if (world->undo_count == world->undo_capacity) {
    world->undo_capacity = world->undo_capacity * 2 + 1024;
    world->undo = realloc(world->undo, world->undo_capacity * sizeof *world->undo);
    assert_non_null(world->undo);
  }
  world->undo[world->undo_count++] = (struct undo){i, world->versions[i], last};
  world->versions[i] = version;
}

/* 0, or WODAN_ENOSPC with nothing changed. */
static inline int world_try_put(struct world *world, uint64_t i) {
  struct wodan_db *db = world->rig.db;
  char key[2100];
  uint8_t value[4096];
  uint32_t version = world->version + 1;
  int status = wodan_put(db, world_key(world, i, key), world_value(world, i, version, value), NULL);
  if (status == WODAN_ENOSPC) {
    world->refused++;
    return status;
  }
  if (status != 0) world_fail(world, "put answered %d: %s", status, rig_why(db));
  world->version = version;
  world_note(world, i, version, true);
  world_walk_worked(world);
  return 0;
}

static inline void world_print_node(const struct node *node, unsigned depth) {
  uint64_t low = UINT64_MAX, high = 0;
  for (uint32_t i = 0; i < node->entry_count; i++) {
    if (node->entries[i].flushed_upto < low) low = node->entries[i].flushed_upto;
    if (node->entries[i].flushed_upto > high) high = node->entries[i].flushed_upto;
  }
  print_message("%*slevel %u: %u entries, %u runs [%llu..%llu] %llu bytes, marks %llu..%llu\n", (int)(2 * depth), "",
                node->level, node->entry_count, node->run_count,
                (unsigned long long)(node->run_count ? run_generation(node->runs[node->run_count - 1]) : 0),
                (unsigned long long)(node->run_count ? run_generation(node->runs[0]) : 0),
                (unsigned long long)node->run_bytes, (unsigned long long)low, (unsigned long long)high);
  for (uint32_t i = 0; node->level && i < node->entry_count; i++) world_print_node(node->entries[i].child, depth + 1);
}

/* What the space is used for. */
static inline void world_print_space(struct world *world) {
  struct wodan_stats s = rig_stats(world->rig.db);
  print_message("space: total %llu live %llu deferred %llu free %llu; %llu leaves, %llu runs, %llu nodes, %llu levels; "
                "alpha %.2f, owed %llu; keys and values %llu bytes\n",
                (unsigned long long)s.space_total, (unsigned long long)s.space_live,
                (unsigned long long)s.space_deferred, (unsigned long long)s.space_free, (unsigned long long)s.leaves,
                (unsigned long long)s.runs, (unsigned long long)s.nodes, (unsigned long long)s.levels, s.alpha,
                (unsigned long long)s.maintenance_owed, (unsigned long long)world_live(world));
  const struct node *root = world->rig.db->node;
  print_message("tree: leaves %llu bytes, runs %llu bytes, headers %llu blocks\n",
                (unsigned long long)root->sums.leaf_bytes, (unsigned long long)root->sums.run_bytes,
                (unsigned long long)root->sums.header_blocks);
  if (getenv("WODAN_DUMP")) world_print_node(root, 0);
}

static inline void world_put(struct world *world, uint64_t i) {
  if (world_try_put(world, i) == 0) return;
  world_print_space(world);
  world_fail(world, "put was refused: %s", rig_why(world->rig.db));
}

static inline void world_delete(struct world *world, uint64_t i) {
  struct wodan_db *db = world->rig.db;
  char key[2100];
  int status = wodan_delete(db, world_key(world, i, key), NULL);
  if (status != 0) world_fail(world, "delete answered %d: %s", status, rig_why(db));
  world_note(world, i, 0, true);
  world_walk_worked(world);
}

/* `count` random puts and deletes of random keys as one batch. */
static inline void world_random_batch(struct world *world, unsigned count, unsigned deletes_percent, bool durable) {
  struct wodan_db *db = world->rig.db;
  struct wodan_batch *batch;
  char key[2100];
  uint8_t value[4096];
  assert_done(db, wodan_batch_create(db, &batch));
  uint64_t random = world->random;
  uint64_t most = rig_info(db).batch_size_max / (40 + world->shape->key_size + world->shape->value_max);
  if (count > most) count = (unsigned)most;
  for (int commit = 0; commit < 2;
       commit++) { /* the same twice: into the batch, and when it is committed into the truth */
    world->random = random;
    uint32_t version = world->version;
    for (unsigned n = 0; n < count; n++) {
      uint64_t i = random_below(&world->random, world->shape->keys);
      bool gone = random_below(&world->random, 100) < deletes_percent;
      struct wodan_slice k = world_key(world, i, key);
      if (commit)
        world_note(world, i, gone ? 0 : ++version, n + 1 == count);
      else if (gone)
        assert_done(db, wodan_batch_delete(batch, k));
      else
        assert_done(db, wodan_batch_put(batch, k, world_value(world, i, ++version, value)));
    }
    if (commit) world->version = version;
    struct wodan_commit how = {.durability = durable};
    if (!commit) assert_done(db, wodan_batch_commit(db, batch, &how));
  }
  wodan_batch_free(batch);
  if (durable) world_durable(world);
  world_walk_worked(world);
}

static inline void world_sync(struct world *world) {
  assert_done(world->rig.db, wodan_sync(world->rig.db));
  world_durable(world);
}

static inline void world_checkpoint(struct world *world) {
  assert_done(world->rig.db, wodan_checkpoint(world->rig.db, NULL));
  world_durable(world);
  world_walk_worked(world);
}

static inline void world_reopen(struct world *world) {
  rig_close(&world->rig);
  world_open(world);
  world_durable(world);
}

/* The program dies now: what the device has is all there is. Buffered operations at the end may be gone, whole batches. */
static inline void world_crash(struct world *world) {
  engine_tree_enter(world->rig.db); /* the background thread writes nothing */
  struct kept_bytes *left = kept_copy(world->rig.kept);
  engine_tree_leave(world->rig.db);
  rig_close(&world->rig);
  kept_free(world->rig.kept);
  world->rig.kept = left;
  world_open(world);
  uint64_t sequence = rig_info(world->rig.db).sequence;
  if (sequence < world->durable || sequence > world->durable + world->undo_count)
    world_fail(world, "sequence %llu after a crash, durable was %llu", (unsigned long long)sequence,
               (unsigned long long)world->durable);
  while (world->durable + world->undo_count > sequence) {
    struct undo *undo = &world->undo[--world->undo_count];
    world->versions[undo->key] = undo->version;
  }
  if (world->undo_count && !world->undo[world->undo_count - 1].last) world_fail(world, "half a batch survived a crash");
  world_durable(world);
}

/* The version that has this value, 0 when none has. */
static inline uint32_t world_which(const struct world *world, uint64_t i, struct wodan_slice found) {
  uint8_t value[4096];
  for (uint32_t version = world->version; version > 0; version--) {
    if (world_value_size(world, i, version) != found.size) continue;
    world_value(world, i, version, value);
    if (found.size == 0 || memcmp(found.data, value, found.size) == 0) return version;
  }
  return 0;
}

/* ---- judging ------------------------------------------------------------------------------------------------------- */

static inline void world_judge_record(struct world *world, struct wodan_cursor *cursor, uint64_t i, uint32_t version) {
  char key[2100];
  uint8_t value[4096];
  struct wodan_slice wanted = world_key(world, i, key), found = wodan_cursor_key(cursor);
  if (found.size != wanted.size || memcmp(found.data, key, found.size) != 0)
    world_fail(world, "key %llu is due, '%.*s' was found", (unsigned long long)i, (int)found.size,
               found.data ? (const char *)found.data : "");
  wanted = world_value(world, i, version, value);
  found = wodan_cursor_value(cursor);
  if (found.size != wanted.size || (found.size && memcmp(found.data, value, found.size) != 0))
    world_fail(world, "key %llu has not the value of version %u, but of %u", (unsigned long long)i, version,
               world_which(world, i, found));
}

/* All of it with a cursor, both ways, at the view (NULL: now). */
static inline void world_judge_at(struct world *world, struct wodan_view *view, const uint32_t *versions) {
  struct wodan_db *db = world->rig.db;
  struct wodan_cursor *cursor;
  uint64_t keys = world->shape->keys;
  assert_done(db, wodan_cursor_open(db, view, &cursor));
  for (int back = 0; back < 2; back++) {
    int status = back ? wodan_cursor_last(cursor) : wodan_cursor_first(cursor);
    for (uint64_t n = 0; n < keys; n++) {
      uint64_t i = back ? keys - 1 - n : n;
      if (!versions[i]) continue;
      if (status != 0) world_fail(world, "the cursor ended with %d before key %llu", status, (unsigned long long)i);
      world_judge_record(world, cursor, i, versions[i]);
      status = back ? wodan_cursor_prev(cursor) : wodan_cursor_next(cursor);
    }
    if (status != WODAN_DONE) world_fail(world, "the cursor answered %d where the end is due", status);
  }
  wodan_cursor_close(cursor);
}

static inline void world_judge(struct world *world) { world_judge_at(world, NULL, world->versions); }

/* `count` random keys: read, and sought with a few steps from there, both ways. */
static inline void world_judge_some(struct world *world, unsigned count) {
  struct wodan_db *db = world->rig.db;
  struct wodan_cursor *cursor;
  uint64_t keys = world->shape->keys;
  char key[2100];
  uint8_t wanted[4096], found[4096];
  assert_done(db, wodan_cursor_open(db, NULL, &cursor));
  for (unsigned n = 0; n < count; n++) {
    uint64_t i = random_below(&world->random, keys), back = random_below(&world->random, 2);
    size_t size = 0;
    int status = wodan_get(db, NULL, world_key(world, i, key), found, sizeof found, &size);
    if (status != (world->versions[i] ? 0 : WODAN_ENOTFOUND))
      world_fail(world, "get of key %llu answered %d", (unsigned long long)i, status);
    struct wodan_slice value = world_value(world, i, world->versions[i], wanted);
    if (status == 0 && (size != value.size || (size && memcmp(wanted, found, size) != 0)))
      world_fail(world, "get of key %llu has not the value of version %u, but of %u", (unsigned long long)i,
                 world->versions[i], world_which(world, i, (struct wodan_slice){found, size}));
    struct wodan_slice k = world_key(world, i, key);
    status = back ? wodan_cursor_seek_back(cursor, k) : wodan_cursor_seek(cursor, k);
    for (unsigned step = 0; step < 5; step++) {
      while (i < keys && !world->versions[i]) i = back ? i - 1 : i + 1;
      if (status != (i < keys ? 0 : WODAN_DONE)) world_fail(world, "a seek answered %d", status);
      if (status != 0) break;
      world_judge_record(world, cursor, i, world->versions[i]);
      status = back ? wodan_cursor_prev(cursor) : wodan_cursor_next(cursor);
      i = back ? i - 1 : i + 1;
    }
  }
  wodan_cursor_close(cursor);
}

/* The end of every test: content, tree, and image are right. */
static inline void world_end(struct world *world) {
  world_judge(world);
  world_judge_some(world, 200);
  world_reopen(world);
  world_judge(world);
  world_walk(world, true);
  rig_close(&world->rig);
  world_fsck(world);
  world_free(world);
}

#endif
