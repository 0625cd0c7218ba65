/* An image that the engine made, and everything that inspection says of it: shared by the tests of inspection. */
#ifndef UNIT_INSPECT_RIG_H
#define UNIT_INSPECT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>

#include "check_store.h"

enum { RIG_SIZE = 128 * 1024, RIG_SECTOR = 512, RIG_KEYS = 400 };

static inline struct wodan_slice rig_key(char out[32], unsigned i) {
  return (struct wodan_slice){out, (size_t)snprintf(out, 32, "key %05u", i * 7919 % 10007)};
}

static inline void rig_put(struct wodan_db *db, unsigned i, unsigned round) {
  char key[32], value[96];
  int size = snprintf(value, sizeof value, "value %u of round %u .................", i, round);
  assert_int_equal(wodan_put(db, rig_key(key, i), (struct wodan_slice){value, (size_t)size}, NULL), 0);
}

static inline void rig_delete(struct wodan_db *db, unsigned i) {
  char key[32];
  assert_int_equal(wodan_delete(db, rig_key(key, i), NULL), 0);
}

static inline struct wodan_db *rig_open(struct store *store, uint32_t flags) {
  struct wodan_db *db = NULL;
  struct wodan_error error = {0};
  struct wodan_open_options options = {.size = sizeof options, .flags = flags};
  if (wodan_open(store_open(store), &options, &db, &error) != 0) fail_msg("open: %s", error.message);
  return db;
}

static inline void rig_format(struct store *store, uint64_t size, uint32_t compression) {
  const struct wodan_format_options options = {
      .size = sizeof options, .node_leaves = 4, .node_children = 4, .compression = compression};
  struct wodan_error error = {0};
  *store = store_create(size, RIG_SECTOR);
  struct wodan_device *device = store_open(store);
  if (wodan_format(device, &options, &error) != 0) fail_msg("format: %s", error.message);
  wodan_device_close(device);
}

/* Leaves, buffered runs with deletes, a previous root with blocks of its own, and operations in the journal that no tree
 * holds: the store is a copy taken before the close. */
static inline struct store rig_image_of(uint32_t compression) {
  struct store store;
  rig_format(&store, RIG_SIZE, compression);
  struct wodan_db *db = rig_open(&store, WODAN_OPEN_INLINE);
  for (unsigned i = 0; i < RIG_KEYS; i++) rig_put(db, i, 0);
  assert_int_equal(wodan_checkpoint(db, NULL), 0);
  for (unsigned i = 0; i < RIG_KEYS / 8; i++) rig_put(db, i * 5, 1);
  for (unsigned i = 0; i < 10; i++) rig_delete(db, i * 11);
  assert_int_equal(wodan_checkpoint(db, NULL), 0);
  for (unsigned i = 0; i < 6; i++) rig_put(db, i, 2);
  rig_delete(db, 7);
  assert_int_equal(wodan_sync(db), 0);
  struct store crashed = store_copy(&store);
  assert_int_equal(wodan_close(db, NULL), 0);
  store_free(&store);
  return crashed;
}

static inline struct store rig_image(void) { return rig_image_of(WODAN_COMPRESSION_OFF); }

/* Bytes of large value i; every third packs well, as all text does a little. */
enum { RIG_LARGE = 14, RIG_LARGE_MAX = 20000 };
static inline size_t rig_large_size(unsigned i) { return 700 + i * 1237 % (RIG_LARGE_MAX - 700); }
static inline void rig_put_large(struct wodan_db *db, unsigned i, uint32_t durability) {
  static uint8_t bytes[RIG_LARGE_MAX];
  struct wodan_commit commit = {.durability = durability};
  char key[32];
  size_t size = rig_large_size(i), at = 0;
  for (uint64_t state = i + 1; at < size; at++) { /* numbers at random between words that can be looked for */
    state = state * 6364136223846793005u + 1442695040888963407u;
    bytes[at] = i % 3 && at % 16 > 5 ? (uint8_t)(state >> 56) : (uint8_t) "value "[at % 16 % 6];
  }
  assert_int_equal(wodan_put(db, rig_key(key, i * 23), (struct wodan_slice){bytes, size}, &commit), 0);
}

static inline void rig_delete_range(struct wodan_db *db, unsigned first) {
  char from[32], to[32];
  const struct wodan_slice low = {from, (size_t)snprintf(from, sizeof from, "key %05u", first)};
  const struct wodan_slice high = {to, (size_t)snprintf(to, sizeof to, "key %05u", first + 100)};
  assert_int_equal(wodan_delete_range(db, &low, &high, NULL), 0);
}

/* With large values besides: in leaves, in buffered runs, named by two runs, by the root before alone, and by the journal; and
 * with range deletes in a run and in the journal. */
enum { RIG_LARGE_SIZE = 512 * 1024 };
static inline struct store rig_image_large(uint32_t compression) {
  struct store store;
  rig_format(&store, RIG_LARGE_SIZE, compression);
  struct wodan_db *db = rig_open(&store, WODAN_OPEN_INLINE);
  for (unsigned i = 0; i < RIG_KEYS; i++) rig_put(db, i, 0);
  for (unsigned i = 0; i < RIG_LARGE / 2; i++) rig_put_large(db, i, WODAN_BUFFERED);
  assert_int_equal(wodan_compact(db, NULL, NULL, 0, NULL), 0);
  for (unsigned i = RIG_LARGE / 2 - 2; i < RIG_LARGE; i++) rig_put_large(db, i, WODAN_BUFFERED);
  rig_delete_range(db, 4000);
  for (unsigned i = 0; i < RIG_KEYS / 8; i++) rig_put(db, i * 5, 1);
  assert_int_equal(wodan_checkpoint(db, NULL), 0);
  rig_put_large(db, 1, WODAN_BUFFERED);
  assert_int_equal(wodan_checkpoint(db, NULL), 0);
  for (unsigned i = 0; i < 6; i++) rig_put(db, i, 2);
  rig_put_large(db, 2, WODAN_DURABLE);
  rig_delete_range(db, 6000);
  for (unsigned i = 0; i < 20; i++) rig_put_large(db, i % 2 * 16, WODAN_BUFFERED); /* three blocks of the journal */
  assert_int_equal(wodan_sync(db), 0);
  struct store crashed = store_copy(&store);
  assert_int_equal(wodan_close(db, NULL), 0);
  store_free(&store);
  return crashed;
}

/* ---- an allocator that counts, and fails when told ---------------------------------------------------------------- */

struct rig_memory {
  uint64_t live, peak, calls, fail_at; /* bytes; calls so far; the call that fails, 0: none */
  uint64_t stride, start;              /* ask for every so many-th block, 0: for all; with this one among them */
};

static inline void *rig_allocate(void *context, size_t size, size_t alignment) {
  struct rig_memory *memory = context;
  if (++memory->calls == memory->fail_at) return NULL;
  memory->live += size;
  if (memory->live > memory->peak) memory->peak = memory->live;
  size_t rounded = (size + alignment - 1) / alignment * alignment;
  return aligned_alloc(alignment, rounded ? rounded : alignment);
}

static inline void rig_release(void *context, void *memory, size_t size) {
  struct rig_memory *account = context;
  account->live -= size;
  free(memory);
}

/* ---- everything inspection says ------------------------------------------------------------------------------------ */

/* What was heard of one image. */
struct rig_told {
  uint64_t damages, objects, nodes, leaves, runs, journal_blocks, roots, steps, fields, problems, bad_bytes;
  uint64_t found; /* blocks that held something */
  int status;     /* of the open */
  const struct store *store;
};

static inline void rig_damage(void *context, const struct wodan_damage *damage) {
  struct rig_told *told = context;
  told->damages++;
  assert_non_null(damage->message);
  assert_true(strlen(damage->message) > 10);
}

static inline int rig_object(void *context, const struct wodan_object *object) {
  struct rig_told *told = context;
  told->objects++;
  told->nodes += object->kind == WODAN_OBJECT_NODE;
  told->leaves += object->kind == WODAN_OBJECT_LEAF;
  told->runs += object->kind == WODAN_OBJECT_RUN;
  assert_true(object->extent_count >= 1 && object->blocks >= 1 && object->depth < 16);
  return 0;
}

static inline int rig_root(void *context, const struct wodan_root *root) {
  ((struct rig_told *)context)->roots++;
  assert_true(root->generation > 0);
  return 0;
}

static inline int rig_journal(void *context, const struct wodan_journal_block *block) {
  ((struct rig_told *)context)->journal_blocks++;
  assert_true(block->kind <= WODAN_JOURNAL_INVALID);
  return 0;
}

static inline int rig_step(void *context, const struct wodan_path_step *step) {
  ((struct rig_told *)context)->steps++;
  assert_true(step->probe <= WODAN_PROBE_DAMAGED);
  return 0;
}

static inline int rig_field(void *context, const struct wodan_field *field) {
  struct rig_told *told = context;
  told->fields++;
  told->problems += field->problem != NULL;
  assert_true(field->name != NULL && field->text != NULL);
  if (!field->size) return 0;
  assert_true(field->offset < told->store->size);
  told->bad_bytes += field->bytes[0] != told->store->bytes[field->offset];
  return 0;
}

/* Status codes that damage, or a lack of memory, may lead to. */
static inline void rig_allowed(int status, bool memory) {
  if (status == 0 || status == WODAN_ENOTFOUND || status == WODAN_ECORRUPT) return;
  if (memory && status == WODAN_ENOMEM) return;
  fail_msg("a call answered %d (%s)", status, wodan_strerror(status));
}

/* Calls everything there is on an open handle. */
static inline void rig_ask_all(struct wodan_inspect *inspect, struct rig_told *told, const struct rig_memory *memory) {
  struct wodan_summary summary = {.size = sizeof summary};
  struct wodan_map_cell cells[16];
  struct wodan_error error;
  uint64_t per_cell, stride = memory->stride ? memory->stride : 1;
  bool scarce = memory->fail_at != 0;
  char key[32];
  assert_int_equal(wodan_inspect_summary(inspect, &summary), 0);
  for (uint32_t which = 0; which < 2; which++) {
    rig_allowed(wodan_inspect_tree(inspect, which, rig_object, told, &error), scarce);
    rig_allowed(wodan_inspect_path(inspect, which, rig_key(key, 3), rig_step, told, &error), scarce);
    rig_allowed(wodan_inspect_path(inspect, which, rig_key(key, 333), rig_step, told, &error), scarce);
  }
  rig_allowed(wodan_inspect_roots(inspect, rig_root, told, &error), scarce);
  rig_allowed(wodan_inspect_journal(inspect, rig_journal, told, &error), scarce);
  rig_allowed(wodan_inspect_map(inspect, cells, 16, &per_cell, &error), scarce);
  uint64_t end = told->store->size / summary.block_size;
  for (uint64_t block = memory->start % stride; block < end && block < summary.blocks; block += stride) {
    int status = wodan_inspect_block(inspect, block, WODAN_VIEW_ANY, rig_field, told, &error);
    rig_allowed(status, scarce);
    told->found += status == 0;
  }
}

/* Opens, asks everything, closes; fails the test when a byte was written or memory stayed. */
static inline struct rig_told rig_ask(struct store *store, struct rig_memory *memory) {
  struct rig_told told = {.store = store};
  struct wodan_inspect *inspect = NULL;
  struct wodan_error error;
  uint64_t writes = store->writes;
  const struct wodan_inspect_options options = {
      .size = sizeof options, .allocator = {memory, rig_allocate, rig_release}, .context = &told, .damage = rig_damage};
  struct wodan_device *device = store_open(store);
  told.status = wodan_inspect_open(device, &options, &inspect, &error);
  if (told.status == 0) rig_ask_all(inspect, &told, memory);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  assert_int_equal(store->writes, writes);
  assert_int_equal(memory->live, 0);
  return told;
}

#endif
