/* Owns: the order of a walk over a tree's nodes, and the proof that a node fits its place.
 *
 * Always true: a child's level is its parent's minus one, so the recursion is at most NODE_LEVELS_MAX deep; no image is
 * shown that was not proven; at most one image a level is alive, and all are released when the walk returns.
 *
 * Order: enter (blocks are claimed), read, prove, node, then the children by rising pivot, then leave.
 *
 * See: walk.h; tests/unit/test_walk.c. */
#include "tree/walk.h"

#include <assert.h>
#include "format/record.h"

struct walk {
  struct block_io *io;
  const struct tree_walker *walker;
  uint64_t blocks_left; /* of the data area */
};

struct node_place node_place_root(void) {
  return (struct node_place){.root = true};
}

struct node_place node_place_entry(const struct node_place *place, const struct node_image *image, uint32_t i) {
  assert(i < image->entry_count);
  struct node_place entry = *place;
  entry.root = false;
  entry.level = image->level ? image->level - 1 : 0;
  if (i > 0) {
    entry.has_lower = true;
    entry.lower = node_image_pivot(image, i);
  }
  if (i + 1 < image->entry_count) {
    entry.has_upper = true;
    entry.upper = node_image_pivot(image, i + 1);
  }
  return entry;
}

static int misplaced(const struct block_ptr *ptr, struct wodan_error *error, const char *what) {
  return status_corrupt(error, ptr->extents[0].first, "node of generation %llu: %s",
                        (unsigned long long)ptr->generation, what);
}

int node_image_prove(const struct node_image *image, const struct block_ptr *ptr, const struct node_place *place,
                     struct wodan_error *error) {
  if (!place->root && image->level != place->level)
    return misplaced(ptr, error, "its level is not the one below its parent's"); /* guard: bounds */
  if (image->entry_count == 0) return 0;
  /* Pivots ascend: the second and the last one speak for all. */
  if (place->has_lower && image->entry_count > 1 && key_compare(node_image_pivot(image, 1), place->lower) <= 0)
    return misplaced(ptr, error, "a pivot lies at or below the range that its parent gives it"); /* guard: bounds */
  if (place->has_upper && key_compare(node_image_pivot(image, image->entry_count - 1), place->upper) >= 0)
    return misplaced(ptr, error, "a pivot lies above the range that its parent gives it"); /* guard: bounds */
  return 0;
}

static int read_proven(struct walk *walk, const struct block_ptr *ptr, const struct node_place *place,
                       struct node_image *image, struct wodan_error *error) {
  int status = walk->walker->lean ? node_image_read_lean(walk->io, ptr, image, error)
                                  : node_image_read(walk->io, ptr, image, error);
  if (status < 0) return status;
  status = node_image_prove(image, ptr, place, error);
  if (status < 0) node_image_release(image);
  return status;
}

static int tell_damage(const struct tree_walker *walker, const struct block_ptr *ptr, const struct node_place *place,
                       const struct wodan_error *why, struct wodan_error *error) {
  assert(why->code < 0);
  int status = why->code;
  if (walker->damaged && (status != WODAN_ENOMEM || walker->lean))
    status = walker->damaged(walker->context, ptr, place, why);
  if (status < 0 && error) *error = *why;
  return status;
}

static int visit(struct walk *walk, const struct block_ptr *ptr, const struct node_place *place,
                 struct wodan_error *error) {
  const struct tree_walker *walker = walk->walker;
  if (walker->enter && !walker->enter(walker->context, ptr, place)) return 0;
  uint64_t blocks = block_ptr_blocks(ptr);
  if (blocks > walk->blocks_left)
    return misplaced(ptr, error, "some node before it is in the tree more than once"); /* guard: bounds */
  walk->blocks_left -= blocks;
  struct node_image image;
  struct wodan_error why = {0};
  if (read_proven(walk, ptr, place, &image, &why) < 0) return tell_damage(walker, ptr, place, &why, error);
  struct node_place own = *place;
  own.level = image.level;
  int status = walker->node(walker->context, ptr, &own, &image, error);
  for (uint32_t i = 0; image.level > 0 && i < image.entry_count && status == 0; i++) {
    struct node_place child = node_place_entry(&own, &image, i);
    struct branch_entry branch = node_image_branch(&image, i, &walk->io->bounds);
    status = visit(walk, &branch.ptr, &child, error);
  }
  node_image_release(&image);
  return status == 0 && walker->leave ? walker->leave(walker->context, ptr) : status;
}

int tree_walk(struct block_io *io, const struct block_ptr *root, const struct tree_walker *walker,
              struct wodan_error *error) {
  assert(walker->node && io->bounds.data_end > io->bounds.data_first);
  struct walk walk = {.io = io, .walker = walker, .blocks_left = io->bounds.data_end - io->bounds.data_first};
  struct node_place place = node_place_root();
  return root->generation ? visit(&walk, root, &place, error) : 0;
}
