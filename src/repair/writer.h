/* Writing to a volume outside an open database: runs and nodes to free blocks, and the checkpoint records that make them
 * the tree. */
#ifndef REPAIR_WRITER_H
#define REPAIR_WRITER_H

#include "repair/volume.h"
#include "run/run.h"
#include "tree/node_image.h"

struct writer {
  struct volume *volume;
  struct space *space;
  struct run_env env;
  uint64_t generation; /* last one used */
};

/* All blocks are free until they are claimed. A new epoch; nothing is written yet. WODAN_ENOMEM, WODAN_EIO, WODAN_ECORRUPT
 * (a counter of the volume is at its end). Release it either way. */
int writer_open(struct writer *writer, struct volume *volume, const struct wodan_hooks *hooks,
                struct wodan_error *error);
void writer_release(struct writer *writer);

/* The object's blocks are not to be written, and what is written gets later generations. */
void writer_claim(struct writer *writer, const struct block_ptr *ptr);

/* A builder for at most so many bytes of object; of a leaf compressed as the volume is, and then the only one at a time. */
int writer_run(struct writer *writer, enum space_kind kind, uint64_t size_max, struct run_builder **builder,
               struct wodan_error *error);
/* The node in a new place. */
int writer_node(struct writer *writer, const struct node_image *image, struct block_ptr *ptr,
                struct wodan_error *error);

/* What a checkpoint record tells; the writer knows the rest. */
struct writer_root {
  struct block_ptr root, catalog;
  uint64_t sequence;
  uint64_t tail; /* 0: its own block */
  uint64_t device_blocks;
};
/* Barrier, record, flush; with `twice` once more, so that the root before the newest is the same; then a seal. Durable on
 * return. WODAN_ENOSPC: the ring has no room, nothing was written. */
int writer_publish(struct writer *writer, const struct writer_root *root, bool twice, struct wodan_error *error);

#endif
