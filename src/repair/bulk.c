/* Owns: cutting an ascending stream of records into leaves, and leaves into nodes.
 *
 * Always true: level 0 holds the leaves of the bottom node to come, level i the nodes of level i - 1; a level is written as
 * one node when it is full, and at the end.
 *
 * Order: children before parents.
 *
 * See: tests/unit/test_repair.c. */
#include "repair/bulk.h"

#include <assert.h>
#include <string.h>

void bulk_open(struct bulk *bulk, struct writer *writer) { *bulk = (struct bulk){.writer = writer}; }

static struct mem *mem_of(const struct bulk *bulk) { return bulk->writer->volume->mem; }

static void slice_free(struct bulk *bulk, struct wodan_slice *slice) {
  if (slice->data) mem_free(mem_of(bulk), (void *)(uintptr_t)slice->data, slice->size);
  *slice = (struct wodan_slice){NULL, 0};
}

static void level_empty(struct bulk *bulk, struct bulk_level *level) {
  for (size_t i = 0; i < level->count; i++) slice_free(bulk, &level->entries[i].pivot);
  level->count = 0;
}

void bulk_release(struct bulk *bulk) {
  run_builder_abort(bulk->leaf);
  bulk->leaf = NULL;
  slice_free(bulk, &bulk->pivot);
  for (size_t i = 0; i < NODE_LEVELS_MAX; i++) {
    struct bulk_level *level = &bulk->levels[i];
    level_empty(bulk, level);
    mem_array_free(mem_of(bulk), level->entries, level->capacity, sizeof *level->entries);
    *level = (struct bulk_level){0};
  }
}

static int write_level(struct bulk *bulk, uint32_t at, struct block_ptr *ptr, struct wodan_error *error) {
  struct bulk_level *level = &bulk->levels[at];
  const struct node_image image = {
      .mem = mem_of(bulk), .level = at, .entries = level->entries, .entry_count = (uint32_t)level->count};
  return writer_node(bulk->writer, &image, ptr, error);
}

static size_t level_most(const struct bulk *bulk, uint32_t at) {
  const struct superblock *sb = &bulk->writer->volume->superblock;
  return at ? sb->node_children : sb->node_leaves;
}

/* Takes the pivot. The level is written first when it is full; its own pivot is that of its first entry. */
static int level_add(struct bulk *bulk, uint32_t at, struct wodan_slice pivot, const struct branch_entry *branch,
                     struct wodan_error *error) {
  struct bulk_level *level = &bulk->levels[at];
  int status = 0;
  if (level->count == level_most(bulk, at)) {
    struct branch_entry node = {0};
    assert(at + 1 < NODE_LEVELS_MAX); /* more leaves than any device has blocks */
    status = write_level(bulk, at, &node.ptr, error);
    if (status == 0) {
      struct wodan_slice first = level->entries[0].pivot;
      level->entries[0].pivot = (struct wodan_slice){NULL, 0};
      level_empty(bulk, level);
      status = level_add(bulk, at + 1, first, &node, error);
    }
  }
  void *entries = level->entries;
  if (status == 0 &&
      !mem_array_grow(mem_of(bulk), &entries, &level->capacity, level->count + 1, sizeof *level->entries))
    status = status_nomem(error);
  level->entries = entries;
  if (status < 0)
    slice_free(bulk, &pivot);
  else
    level->entries[level->count++] = (struct node_image_entry){.pivot = pivot, .branch = *branch};
  return status;
}

static int end_leaf(struct bulk *bulk, struct wodan_error *error) {
  struct branch_entry branch = {0};
  struct run_counts counts;
  struct run_builder *leaf = bulk->leaf;
  bulk->leaf = NULL;
  int status = run_builder_finish(leaf, ++bulk->writer->generation, &branch.ptr, &counts, error);
  if (status < 0) return status;
  struct wodan_slice pivot = bulk->pivot;
  bulk->pivot = (struct wodan_slice){NULL, 0};
  branch.blobs = counts.blobs;
  return level_add(bulk, 0, pivot, &branch, error);
}

static int begin_leaf(struct bulk *bulk, const struct record *record, struct wodan_error *error) {
  const struct superblock *sb = &bulk->writer->volume->superblock;
  uint64_t least = run_size_bound(&bulk->writer->env, 1, record_weight(record), false);
  uint64_t size = sb->leaf_size > least ? sb->leaf_size : least;
  uint8_t *pivot = mem_alloc(mem_of(bulk), record->key.size);
  if (!pivot) return status_nomem(error);
  memcpy(pivot, record->key.data, record->key.size);
  bulk->pivot = (struct wodan_slice){pivot, record->key.size};
  bulk->records = bulk->payload = 0;
  return writer_run(bulk->writer, SPACE_LEAF, size, &bulk->leaf, error);
}

int bulk_add(struct bulk *bulk, const struct record *record, struct wodan_error *error) {
  const struct superblock *sb = &bulk->writer->volume->superblock;
  uint64_t payload = record_weight(record);
  int status = 0;
  assert(record->kind != RECORD_DELETE);
  uint64_t bound = run_size_bound(&bulk->writer->env, bulk->records + 1, bulk->payload + payload, false);
  if (bulk->leaf && bound > sb->leaf_size) status = end_leaf(bulk, error);
  if (status == 0 && !bulk->leaf) status = begin_leaf(bulk, record, error);
  if (status == 0) status = run_builder_add(bulk->leaf, record, error);
  if (status < 0) return status;
  bulk->records++;
  bulk->payload += payload;
  bulk->total++;
  if (record->sequence > bulk->sequence_max) bulk->sequence_max = record->sequence;
  return 0;
}

int bulk_finish(struct bulk *bulk, struct block_ptr *root, struct wodan_error *error) {
  *root = (struct block_ptr){0};
  int status = bulk->leaf ? end_leaf(bulk, error) : 0;
  for (uint32_t at = 0; at < NODE_LEVELS_MAX && status == 0 && bulk->levels[at].count; at++) {
    struct bulk_level *level = &bulk->levels[at];
    bool top = at + 1 == NODE_LEVELS_MAX || bulk->levels[at + 1].count == 0;
    status = write_level(bulk, at, root, error);
    if (status < 0 || top) break;
    struct wodan_slice first = level->entries[0].pivot;
    level->entries[0].pivot = (struct wodan_slice){NULL, 0};
    const struct branch_entry branch = {.ptr = *root};
    status = level_add(bulk, at + 1, first, &branch, error);
  }
  return status;
}
