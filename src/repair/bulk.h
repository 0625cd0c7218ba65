/* A whole tree from records in key order: leaves one behind the other, each byte written once. */
#ifndef REPAIR_BULK_H
#define REPAIR_BULK_H

#include "repair/writer.h"

/* Nodes of one level that wait for their parent. */
struct bulk_level {
  struct node_image_entry *entries; /* own their pivots */
  size_t count, capacity;
};

struct bulk {
  struct writer *writer;
  struct run_builder *leaf;  /* NULL: the next record begins one */
  struct wodan_slice pivot;  /* of that leaf; own memory */
  uint64_t records, payload; /* in that leaf */
  struct bulk_level levels[NODE_LEVELS_MAX];
  uint64_t total, sequence_max;
};

void bulk_open(struct bulk *bulk, struct writer *writer);
void bulk_release(struct bulk *bulk);
/* A put; keys ascend strictly. WODAN_ENOSPC, WODAN_EIO, WODAN_ENOMEM: only bulk_release may follow. */
int bulk_add(struct bulk *bulk, const struct record *record, struct wodan_error *error);
/* The root of the tree; null without a record. */
int bulk_finish(struct bulk *bulk, struct block_ptr *root, struct wodan_error *error);

#endif
