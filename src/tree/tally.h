/* Tally: how many bytes of leaves the deletes of a new run will free, told for each entry of the node that gets it, counted
 * from the skeleton alone while the run is written. A hint: it decides what is swept first, never what is right. */
#ifndef TREE_TALLY_H
#define TREE_TALLY_H

#include "tree/node.h"

struct tally {
  struct mem *mem;
  struct node *node; /* one reference; NULL: nothing is counted, for lack of memory */
  uint64_t *frees;   /* of each entry of the node: node_change.frees */
  uint32_t at;       /* entry below which the leaf at hand lies */
  struct run *leaf;  /* at hand, NULL: none yet */
  struct wodan_slice upper;
  bool has_upper;
  uint64_t deletes; /* in the leaf at hand */
};

/* Of a run for this node. */
void tally_begin(struct tally *tally, struct node *node);
/* Records in key order. */
void tally_add(struct tally *tally, const struct record *record);
/* What ranges delete: leaves and whole subtrees, told once; `span` is what the node covers. */
void tally_delete(struct tally *tally, const struct key_span *span, struct ranges ranges);
/* Then frees[] is whole; NULL: nothing is known. */
void tally_finish(struct tally *tally);
void tally_release(struct tally *tally); /* a zeroed one too */

/* Bytes of leaves and runs, below an entry of a node of this level that covers `span`, that lie wholly in the ranges. */
uint64_t bytes_deleted(uint32_t level, const struct node_entry *entry, const struct key_span *span,
                       struct ranges ranges);

#endif
