/* Node: an immutable version of one node of the tree in memory, all of which (the skeleton) stays there. Level 0 (a bottom
 * node) owns leaves, a higher level owns nodes one level lower; every level may own buffered runs, newest first. Versions
 * share children, leaves and runs; a node touches no device until a run is read.
 *
 * The next version of a node is made by an edit; what it no longer needs is collected in a struct tree_edit, and told
 * dead when the new root is published, or never when the edit is given up. */
#ifndef TREE_NODE_H
#define TREE_NODE_H

#include "run/run.h"
#include "tree/node_image.h"

struct node;

/* One place in a node: a leaf (level 0) or a child, the newest of the node's runs it has absorbed, and what deletes in those
 * it has not will free below it, about: a hint, which no device keeps. */
struct node_entry {
  union {
    struct run *leaf;
    struct node *child;
  };
  uint64_t flushed_upto; /* generation */
  uint64_t frees;        /* bytes of leaves (tally.h) */
};

/* Sums over a node and all below it. */
struct node_sums {
  uint64_t leaf_bytes, run_bytes; /* object lengths */
  uint64_t run_path;              /* those of the runs on the way down that has most */
  uint64_t leaves, runs, nodes;
  uint64_t header_blocks; /* upper bound of what the headers take on the device */
  uint64_t header_most;   /* and of what the largest takes */
  uint64_t range_bytes;   /* memory of the runs' range deletes */
};

struct node {
  _Atomic uint32_t refs;
  uint32_t level, entry_count, run_count;
  bool ranged; /* one of its runs has range deletes */
  struct run_env *env;
  struct node_entry *entries; /* by rising pivot */
  uint64_t *heads;            /* first 8 bytes of each pivot, as a big-endian number */
  struct run **runs;          /* newest first */
  uint64_t run_bytes;         /* of its own runs */
  uint64_t unabsorbed;        /* weight of runs that an entry has not absorbed, mean over the entries */
  uint64_t unabsorbed_runs;   /* their number, mean over the entries, times 16 */
  struct node_sums sums;
  struct block_ptr ptr; /* where the device has this very version; generation 0: nowhere yet. The writer's */
  uint32_t pivot_size;
  uint8_t pivot[]; /* lower bound of its range; the leftmost node of a level also covers what is below */
};

static inline struct wodan_slice node_pivot(const struct node *node) {
  return (struct wodan_slice){node->pivot, node->pivot_size};
}
static inline struct wodan_slice entry_pivot(const struct node *node, uint32_t i) {
  return node->level ? node_pivot(node->entries[i].child) : run_pivot(node->entries[i].leaf);
}

/* The keys that entry i covers, in a node that covers `span`. */
static inline struct key_span entry_span(const struct node *node, uint32_t i, const struct key_span *span) {
  return (struct key_span){.from = i > 0 ? entry_pivot(node, i) : span->from,
                           .to = i + 1 < node->entry_count ? entry_pivot(node, i + 1) : span->to};
}

/* Bytes of a record of usual size, where nothing better is known. */
enum { USUAL_RECORD = 128 };

/* What a sweep weighs a run with: its bytes, and what its deletes will free. */
uint64_t run_weight(const struct run *run);

/* ---- versions (node.c) ------------------------------------------------------------------------------------------ */

struct node_parts {
  uint32_t level;
  struct wodan_slice pivot;
  const struct node_entry *entries;
  uint32_t entry_count;
  struct run *const *runs; /* newest first */
  uint32_t run_count;
};
/* A new version; takes a reference of every child, leaf and run given. One reference. NULL: no memory. */
struct node *node_create(struct run_env *env, const struct node_parts *parts);
void node_ref(struct node *node);
void node_unref(struct node *node); /* NULL is allowed */

/* Bytes of memory a node with so many entries takes, for the plan of an open. */
uint64_t node_memory(uint32_t entries, uint32_t runs, size_t pivot_size);

/* The image to be written (it borrows the node's pivots); every child is on the device. Release it before the node. */
int node_to_image(const struct node *node, struct node_image *image, struct wodan_error *error);

/* Reads the tree under `root` (null: empty). `claim` is told every extent list before it is used: nodes, leaves, runs. */
struct tree_claims {
  int (*claim)(void *context, const struct block_ptr *ptr, struct wodan_error *error);
  void *context;
};
int tree_load(struct run_env *env, const struct block_ptr *root, const struct tree_claims *claims, struct node **node,
              struct wodan_error *error);

/* Index of the entry whose range holds key; 0 also below the first pivot. entry_count > 0. */
uint32_t node_find(const struct node *node, struct wodan_slice key);

/* A run that entry i has not absorbed deletes all it covers: what lies below the entry is gone. */
bool node_entry_doomed(const struct node *node, uint32_t i, const struct key_span *span);
/* A node of this level with nothing in it, and below it as many as that takes. NULL: no memory. */
struct node *node_create_empty(struct run_env *env, uint32_t level, struct wodan_slice pivot);

/* A run that is older than this cannot become the node's: it would stand below a run, or count as absorbed. */
uint64_t node_newest_mark(const struct node *node);

#ifndef NDEBUG
/* The skeleton is sound: levels, pivots inside the ranges of their nodes, order of runs, no run that all entries have
 * absorbed, sums. No I/O; O(nodes + leaves). For assert at each new root. */
bool tree_valid(const struct node *root);
#endif

/* ---- edits (edit.c) --------------------------------------------------------------------------------------------- */

/* Where a node is: the entry taken at each level from the root down. */
struct tree_path {
  uint32_t depth; /* 0: the root */
  uint32_t at[NODE_LEVELS_MAX];
};
struct node *tree_at(struct node *root, const struct tree_path *path); /* no reference */
/* The keys the node there covers; they lie in nodes and leaves beside it. */
struct key_span tree_span(struct node *root, const struct tree_path *path);

/* What an edit leaves behind, in memory taken beforehand. */
struct tree_edit {
  struct mem *mem;
  struct run **runs; /* dropped for good */
  size_t run_count, run_capacity;
  struct block_ptr *nodes; /* headers of replaced versions on the device */
  size_t node_count, node_capacity;
};
void tree_edit_init(struct tree_edit *edit, struct mem *mem);
void tree_edit_release(struct tree_edit *edit);
/* This version is replaced: its header on the device, if it has one, is dropped. false: no memory. */
bool tree_edit_drop_node(struct tree_edit *edit, const struct node *node);
/* All of the tree below the node goes with it: headers, leaves, runs. */
bool tree_edit_drop_tree(struct tree_edit *edit, const struct node *node);

/* A change of one node: entries [at, at + removed) become `added` (references stay the caller's), the runs that
 * `arrived` (newest first) are its newest ones, the runs in `without` leave for another owner, and runs every entry has then absorbed are dropped; in a
 * node without entries those up to generation `absorbed`. `frees`: of each entry, for what arrived; NULL: not known. */
struct node_change {
  uint32_t at, removed;
  const struct node_entry *added;
  uint32_t added_count;
  struct run *const *arrived;
  uint32_t arrived_count;
  const uint64_t *frees;
  struct run *const *without;
  uint32_t without_count;
  uint64_t absorbed;
};
/* The changed version; one reference. Leaves that only `removed` had are dropped. NULL: no memory. */
struct node *node_changed(struct node *node, const struct node_change *change, struct tree_edit *edit);

/* The root with the node at `path` replaced by `count` nodes (1 at the root itself). One reference; those of `nodes` stay
 * the caller's. NULL: no memory. */
struct node *tree_with(struct node *root, const struct tree_path *path, struct node *const *nodes, uint32_t count,
                       struct tree_edit *edit);

/* Structure, without I/O. Each gives the new root with one reference, NULL without memory. */
struct node *tree_grow(struct node *root);                           /* a new root above */
struct node *tree_shrink(struct node *root, struct tree_edit *edit); /* the root's runs go to its only child */
bool tree_may_shrink(const struct node *root, uint32_t runs_max);
struct node *tree_split(struct node *root, const struct tree_path *path, uint32_t pieces, struct tree_edit *edit);
/* Children at and at + 1 of the node at `path` become one. */
struct node *tree_join(struct node *root, const struct tree_path *path, uint32_t at, struct tree_edit *edit);

/* ---- reading (lookup.c, scan.c) ------------------------------------------------------------------------------- */

/* As run_get: newest record of key below the node, a delete included. */
int node_get(struct node *node, struct wodan_slice key, struct record *record, struct frame **pin,
             struct wodan_error *error);
/* As node_get for several keys at once, their cache misses overlapping; each gets its own status, `error` tells the last
 * failure. count <= NODE_MANY. */
enum { NODE_MANY = 16 };
struct node_lookup {
  struct wodan_slice key;
  struct record record;
  struct frame *pin;
  int status;
};
void node_get_many(struct node *node, struct node_lookup *const *lookups, size_t count, struct wodan_error *error);

/* Iterators over what a tree holds, newest first, into sources (room for node_source_count). They hold references. On
 * failure nothing is left open. */
uint32_t node_source_count(const struct node *root);
int node_sources(struct node *root, struct iterator **sources, struct wodan_error *error);

#endif
