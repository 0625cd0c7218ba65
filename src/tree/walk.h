/* The one walk over the nodes of a tree on the device: for the mount of the previous root, and for the check. What one image
 * cannot prove alone is proven here: that a node stands where its parent says. */
#ifndef TREE_WALK_H
#define TREE_WALK_H

#include "tree/node_image.h"

/* Where a node (or a leaf) stands in its tree, as its parent tells: keys from lower up to, but not with, upper. The slices
 * lie in the parents' images. */
struct node_place {
  bool root;                       /* its level is what its image says; no bounds */
  uint32_t level;                  /* of a root: 0 until the image was read */
  bool has_lower, has_upper;       /* false: open */
  struct wodan_slice lower, upper; /* empty when open */
};

struct node_place node_place_root(void);
/* The place of entry i (a child, or in a bottom node a leaf, of level 0) of the node at `place`. The first entry starts
 * where its node does, whatever its pivot is. */
struct node_place node_place_entry(const struct node_place *place, const struct node_image *image, uint32_t i);

/* Whether the node behind ptr fits its place: its level, unless it is a root; its pivots, all below upper, and all but the
 * first above lower. WODAN_ECORRUPT. */
int node_image_prove(const struct node_image *image, const struct block_ptr *ptr, const struct node_place *place,
                     struct wodan_error *error);

struct tree_walker {
  void *context;
  /* Each node that was read and proven, before its children; place->level is known. The image lives until the node's
   * subtree is done. Not 0 ends the walk. */
  int (*node)(void *context, const struct block_ptr *ptr, const struct node_place *place,
              const struct node_image *image, struct wodan_error *error);
  /* A node that could not be read or does not fit its place; `why` tells. 0: the walk goes on behind the subtree; else it
   * ends. NULL: it ends with the failure. A lack of memory always ends it, unless `lean`: then that is told, too. */
  int (*damaged)(void *context, const struct block_ptr *ptr, const struct node_place *place,
                 const struct wodan_error *why);
  bool lean; /* with images as small as can be: node_image_read_lean */
  /* The same node once more, behind its children: for those who work from the leaves up. NULL: not called. */
  int (*leave)(void *context, const struct block_ptr *ptr);
  /* Before the node is read: the place to claim its blocks. false: the subtree is left out. NULL: none is. */
  bool (*enter)(void *context, const struct block_ptr *ptr, const struct node_place *place);
};

/* Walks the nodes of the tree behind *root (null: none) in key order, parents first. Returns 0, what a callback returned
 * to end it, or a failure. Memory: one image a level. The nodes entered hold no more blocks than the data area, else
 * WODAN_ECORRUPT: so a node that is named many times ends the walk. */
int tree_walk(struct block_io *io, const struct block_ptr *root, const struct tree_walker *walker,
              struct wodan_error *error);

#endif
