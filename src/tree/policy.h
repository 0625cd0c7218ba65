/* Policy: what the tree owes next, decided from the skeleton alone. No I/O, no memory. */
#ifndef TREE_POLICY_H
#define TREE_POLICY_H

#include "tree/node.h"

/* Runs a node buffers before it is swept whatever their size: an inner node, a bottom node. DESIGN.md has the measurements. */
enum { RUNS_INNER = 8, RUNS_BOTTOM = 16 };
enum { ALPHA_ONE = 1024, ALPHA_MAX = 2 * ALPHA_ONE, DAMAGED_MAX = 8 };

struct tree_policy {
  uint64_t memtable_size, leaf_size; /* bytes */
  uint64_t inner_limit;              /* bytes of buffer of an inner node */
  uint32_t alpha;                    /* buffer bytes per leaf byte, times ALPHA_ONE */
  uint32_t node_leaves, node_children;
  uint32_t eager;                  /* limits are divided by this; 1: none */
  bool join_leaves;                /* with everything: small leaves beside each other too */
  uint32_t levels_left;            /* with everything: so many levels at the top are left alone */
  bool everything;                 /* whatever is buffered in the range below is owed, and small leaves too */
  struct wodan_slice lower, upper; /* with everything; upper.data NULL: open */
  const uint64_t *damaged;         /* generations of leaves that a sweep failed at: left alone */
  uint32_t damaged_count;
};

enum tree_work_kind { WORK_NONE, WORK_GROW, WORK_SHRINK, WORK_SPLIT, WORK_JOIN, WORK_SWEEP };

struct tree_work {
  enum tree_work_kind kind;
  struct tree_path path; /* the node concerned; of JOIN the parent */
  uint32_t at;           /* JOIN: the left child; SWEEP: the entry to begin with */
  uint32_t pieces;       /* SPLIT */
};

/* The most urgent work; structure comes before sweeps. */
struct tree_work tree_next_work(struct node *root, const struct tree_policy *policy);

/* Bytes that are to be written before nothing is urgent any more, about. */
uint64_t tree_owed(const struct node *root, const struct tree_policy *policy);

/* Bytes of buffer the node may hold. */
uint64_t node_buffer_limit(const struct node *node, const struct tree_policy *policy);

#endif
