/* Node: an immutable version of a bottom node in memory: leaves and buffered runs, newest first. Versions share leaf and
 * run handles; the last version to let go of a handle frees it. A node touches no device until a run is read. */
#ifndef TREE_NODE_H
#define TREE_NODE_H

#include "memtable/memtable.h"
#include "run/run.h"
#include "tree/node_image.h"

/* A leaf with its pivot; shared by node versions. */
struct leaf {
  _Atomic uint32_t refs;
  uint32_t pivot_size;
  struct mem *mem;
  struct run *run;
  uint8_t pivot[];
};

struct node_leaf {
  struct leaf *leaf;
  uint64_t flushed_upto; /* generation of the newest run this leaf has absorbed */
};

struct node {
  _Atomic uint32_t refs;
  struct run_env *env;
  struct node_leaf *leaves; /* by rising pivot */
  uint64_t *heads;          /* first 8 bytes of each pivot, as a big-endian number */
  struct run **runs;        /* newest first */
  uint32_t leaf_count, run_count;
  uint64_t leaf_bytes, run_bytes; /* object lengths */
};

/* Consumes a reference of `run`, also on failure (NULL: no memory). */
struct leaf *leaf_create(struct mem *mem, struct run *run, struct wodan_slice pivot);
void leaf_ref(struct leaf *leaf);
void leaf_unref(struct leaf *leaf);
static inline struct wodan_slice leaf_pivot(const struct leaf *leaf) {
  return (struct wodan_slice){leaf->pivot, leaf->pivot_size};
}

/* A new version; takes a reference of every leaf and run given. One reference. NULL: no memory. */
struct node *node_create(struct run_env *env, const struct node_leaf *leaves, uint32_t leaf_count,
                         struct run *const *runs, uint32_t run_count);
void node_ref(struct node *node);
void node_unref(struct node *node);

/* Live node from what the device says, and back (the image borrows the node's pivots; release it before the node). */
int node_from_image(struct run_env *env, const struct node_image *image, struct node **node, struct wodan_error *error);
int node_to_image(const struct node *node, struct node_image *image, struct wodan_error *error);

/* The version with `run` as newest run. */
struct node *node_with_run(const struct node *node, struct run *run);
/* The version with leaves [at, at + removed) replaced, and without the runs every leaf has then absorbed. With no leaf left
 * the runs up to generation `absorbed` go. */
struct node *node_with_leaves(const struct node *node, uint32_t at, uint32_t removed, const struct node_leaf *added,
                              uint32_t added_count, uint64_t absorbed);
/* Marks every run that `older` has and `newer` has not as dead. By the writer, once, when newer is published. */
void node_mark_dropped(const struct node *older, const struct node *newer);

/* Index of the leaf whose range holds key; 0 also below the first pivot. leaf_count > 0. */
uint32_t node_find_leaf(const struct node *node, struct wodan_slice key);

/* ---- reading (lookup.c, scan.c) ------------------------------------------------------------------------------- */

/* As run_get: newest record of key in the node, a delete included. */
int node_get(struct node *node, struct wodan_slice key, struct record *record, struct frame **pin,
             struct wodan_error *error);

/* Iterators over the node's runs (newest first), then one over all leaves, into sources (room for node_source_count).
 * They hold references. On failure nothing is left open. */
uint32_t node_source_count(const struct node *node);
int node_sources(struct node *node, struct iterator **sources, struct wodan_error *error);
/* One iterator over all leaves in order; holds a reference. NULL: no memory. */
struct iterator *leaves_iterator(struct node *node);

/* ---- sweeping (sweep.c) --------------------------------------------------------------------------------------- */

struct sweep {
  struct run_env *env;
  uint64_t *generation;      /* the volume's counter: the last one used */
  uint64_t leaf_size;        /* bytes of records per leaf */
  uint64_t spare;            /* blocks that its leaves leave free for others */
  struct memtable *memtable; /* NULL, or a frozen memtable merged straight into leaves as the newest source */
  uint32_t next;             /* with a memtable: index of the next leaf to do (a run's progress is in the leaves) */
  uint64_t leaf_bytes_written;
};

/* One step: the next leaf that has not absorbed all runs (or the memtable) is merged with its slice of them and rewritten,
 * split or joined; leaves without a record in their slice only move their mark. *result gets the new version (one
 * reference, not published), or NULL when there was nothing left to do. On failure nothing was changed. */
int sweep_step(struct sweep *sweep, struct node *node, struct node **result, struct wodan_error *error);

#endif
