/* Node image: what a node says on the device, decoded and proven, before any run is touched. The one reader and writer of
 * nodes, shared by mount and check (format/node_header.h has the bytes). */
#ifndef TREE_NODE_IMAGE_H
#define TREE_NODE_IMAGE_H

#include "format/node_header.h"
#include "io/block_io.h"

struct node_image_entry { /* a leaf (level 0) or a child */
  struct wodan_slice pivot;
  struct branch_entry branch;
};

struct node_image_run {
  struct block_ptr ptr;
  uint64_t records, deletes, blobs; /* deletes, blobs: among the records */
  uint64_t ranges;                  /* range deletes */
};

struct node_image {
  struct mem *mem;
  uint32_t level;                   /* 0: its entries are leaves; else nodes of level - 1 */
  struct node_image_entry *entries; /* by rising pivot; NULL in a lean image */
  struct wodan_slice *lean;         /* their pivots, in a lean image */
  uint32_t entry_count, entry_capacity;
  struct node_image_run *runs; /* newest first; NULL in a lean image */
  uint32_t *lean_runs;         /* where they begin in the list, in a lean image */
  uint32_t run_count;
  uint8_t *header, *page, *list; /* backing of decoded slices */
  size_t header_size, page_size, list_size;
  uint8_t *pivots; /* backing of the pivots, whole keys */
  size_t pivots_size;
};

/* Reads and proves the node behind ptr: header, level, sections that fit the level, ascending pivots, at least one child
 * in an inner node, every pointer valid and older than the node, runs by falling generation with counts that can be. A
 * null ptr is the empty tree: level 0, no entry, no run. Release the image on success. */
int node_image_read(struct block_io *io, const struct block_ptr *ptr, struct node_image *image,
                    struct wodan_error *error);
/* The same with a tenth of the memory for each entry and run, which are decoded when they are asked for; all was proven. */
int node_image_read_lean(struct block_io *io, const struct block_ptr *ptr, struct node_image *image,
                         struct wodan_error *error);
void node_image_release(struct node_image *image);

/* Of either image. bounds: those it was read with. */
struct wodan_slice node_image_pivot(const struct node_image *image, uint32_t i);
struct branch_entry node_image_branch(const struct node_image *image, uint32_t i, const struct volume_bounds *bounds);
struct node_image_run node_image_run(const struct node_image *image, uint32_t i, const struct volume_bounds *bounds);

/* Encodes the node, of image->level, as one object in fresh memory: *size bytes (a multiple of the block size) at *bytes, aligned for
 * block_io_write. The extents are taken with `allocate` once the size is known. ptr is filled. */
struct node_image_target {
  uint64_t generation;
  struct epoch epoch;
  int (*allocate)(void *context, uint64_t blocks, struct extent *extents, uint32_t *count, struct wodan_error *error);
  void *context;
};
int node_image_encode(struct block_io *io, const struct node_image *image, const struct node_image_target *target,
                      uint8_t **bytes, size_t *size, struct block_ptr *ptr, struct wodan_error *error);

#endif
