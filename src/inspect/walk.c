/* Owns: the walk over a tree as objects: nodes, their runs and leaves, with what their parents tell of them.
 *
 * Always true: what is shown of a node was proven by tree_walk, but for nodes shown as damaged; a tree whose nodes are
 * named many times ends as damage, because tree_walk bounds the blocks of the nodes it enters.
 *
 * Order: a node, its runs newest first, its leaves by rising pivot, then its children.
 *
 * See: include/wodan/inspect.h; tree/walk.h; tests/unit/test_inspect.c. */
#include <assert.h>
#include "format/record.h"
#include "inspect/inspect_private.h"

struct tree_show {
  const struct inspect_walk *walk;
  uint32_t root_level;
  bool root_known;
};

struct wodan_slice inspect_user_key(struct wodan_slice key) {
  if (key.size < TABLE_ID_SIZE) return (struct wodan_slice){NULL, 0};
  return (struct wodan_slice){(const uint8_t *)key.data + TABLE_ID_SIZE, key.size - TABLE_ID_SIZE};
}

static struct wodan_object object_of(const struct block_ptr *ptr, const struct node_place *place) {
  struct wodan_object object = {.block = ptr->extents[0].first,
                                .generation = ptr->generation,
                                .length = ptr->length,
                                .blocks = block_ptr_blocks(ptr),
                                .extent_count = ptr->extent_count,
                                .level = place->level,
                                .has_lower = place->has_lower,
                                .has_upper = place->has_upper};
  if (place->has_lower) object.lower = inspect_user_key(place->lower);
  if (place->has_upper) object.upper = inspect_user_key(place->upper);
  return object;
}

static int show(const struct tree_show *tree, struct wodan_object *object, const struct block_ptr *ptr) {
  struct wodan_extent extents[BLOCK_PTR_EXTENTS_MAX];
  for (uint32_t i = 0; i < ptr->extent_count; i++)
    extents[i] = (struct wodan_extent){ptr->extents[i].first, ptr->extents[i].count};
  object->extents = extents;
  object->depth = tree->root_known ? tree->root_level - object->level : 0;
  return tree->walk->object(tree->walk->context, object, ptr);
}

static int show_runs(const struct tree_show *tree, const struct node_place *place, const struct node_image *image) {
  int status = 0;
  for (uint32_t i = 0; i < image->run_count && status == 0; i++) {
    struct wodan_object run = object_of(&image->runs[i].ptr, place);
    run.kind = WODAN_OBJECT_RUN;
    run.index = i;
    run.records = image->runs[i].records;
    run.deletes = image->runs[i].deletes;
    run.large = image->runs[i].blobs;
    run.ranges = image->runs[i].ranges;
    status = show(tree, &run, &image->runs[i].ptr);
  }
  return status;
}

static int show_leaves(const struct tree_show *tree, const struct node_place *place, const struct node_image *image) {
  int status = 0;
  for (uint32_t i = 0; i < image->entry_count && status == 0; i++) {
    struct node_place range = node_place_entry(place, image, i);
    struct wodan_object leaf = object_of(&image->entries[i].branch.ptr, &range);
    leaf.kind = WODAN_OBJECT_LEAF;
    leaf.index = i;
    leaf.flushed_upto = image->entries[i].branch.flushed_upto;
    leaf.large = image->entries[i].branch.blobs;
    status = show(tree, &leaf, &image->entries[i].branch.ptr);
  }
  return status;
}

static int on_node(void *context, const struct block_ptr *ptr, const struct node_place *place,
                   const struct node_image *image, struct wodan_error *error) {
  struct tree_show *tree = context;
  (void)error;
  if (place->root) {
    tree->root_level = image->level;
    tree->root_known = true;
  }
  struct wodan_object node = object_of(ptr, place);
  node.entries = image->entry_count;
  node.runs = image->run_count;
  for (uint32_t i = 0; i < image->run_count; i++) {
    node.records += image->runs[i].records;
    node.deletes += image->runs[i].deletes;
    node.large += image->runs[i].blobs;
    node.ranges += image->runs[i].ranges;
    node.run_bytes += image->runs[i].ptr.length;
  }
  for (uint32_t i = 0; i < image->entry_count && image->level == 0; i++) {
    node.leaf_bytes += image->entries[i].branch.ptr.length;
    node.large += image->entries[i].branch.blobs;
  }
  int status = show(tree, &node, ptr);
  if (status == 0) status = show_runs(tree, place, image);
  return status == 0 && image->level == 0 ? show_leaves(tree, place, image) : status;
}

static int on_damage(void *context, const struct block_ptr *ptr, const struct node_place *place,
                     const struct wodan_error *why) {
  struct tree_show *tree = context;
  struct wodan_object node = object_of(ptr, place);
  node.damage = why->message;
  if (tree->walk->tell_damage) {
    int status = inspect_failed(tree->walk->inspect, why, ptr->extents[0].first, ptr->generation);
    if (status < 0) return status;
  }
  return show(tree, &node, ptr);
}

int inspect_walk(const struct inspect_walk *walk, uint32_t which, struct wodan_error *error) {
  struct wodan_inspect *inspect = walk->inspect;
  const struct checkpoint_record *record = inspect_root(inspect, which);
  struct tree_show tree = {.walk = walk};
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  const struct tree_walker walker = {.context = &tree, .node = on_node, .damaged = on_damage};
  if (!record) return 0;
  int status = tree_walk(&inspect->io, &record->root, &walker, &failure);
  if (status != WODAN_ECORRUPT || failure.code != WODAN_ECORRUPT) {
    if (status < 0 && error) *error = failure;
    return status;
  }
  /* A node is named more than once. */
  return walk->tell_damage ? inspect_failed(inspect, &failure, WODAN_NO_BLOCK, record->generation) : 0;
}

struct public_walk {
  int (*object)(void *context, const struct wodan_object *object);
  void *context;
};

static int hand_on(void *context, const struct wodan_object *object, const struct block_ptr *ptr) {
  const struct public_walk *walk = context;
  (void)ptr;
  return walk->object(walk->context, object);
}

int wodan_inspect_tree(struct wodan_inspect *inspect, uint32_t which,
                       int (*object)(void *, const struct wodan_object *), void *context, struct wodan_error *error) {
  if (error) *error = (struct wodan_error){.block = WODAN_NO_BLOCK};
  if (!inspect || !object || which > WODAN_OLDER_ROOT)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "wodan_inspect_tree: an argument is missing or unknown");
  struct public_walk whole = {object, context};
  const struct inspect_walk walk = {.inspect = inspect, .object = hand_on, .context = &whole, .tell_damage = true};
  return inspect_walk(&walk, which, error);
}
