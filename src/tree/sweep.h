/* Sweep: a job that moves the records of one node's buffered runs one level down, for some of its entries, in steps:
 * into new leaves (level 0), or into one new run of a child. Nothing of it is seen before its result is published; the
 * tree may change meanwhile only by runs that arrive at the root. One sweep at a time.
 *
 * The same job takes a memtable straight into leaves, past all buffers, where tree_goes_straight allows it; then the tree may not
 * change at all meanwhile. */
#ifndef TREE_SWEEP_H
#define TREE_SWEEP_H

#include "tree/node.h"

struct sweep;
struct memtable;

struct sweep_setup {
  struct run_env *env;
  _Atomic uint64_t *generation; /* the volume's counter: the last one used */
  uint64_t leaf_size;           /* bytes of records per leaf */
  enum compression compression; /* of the pages of new leaves */
  uint64_t spare;               /* blocks that must stay free for others */
  uint64_t enough;              /* bytes after which it goes on to no further entry */
  uint32_t runs_max;            /* of a child that is to get runs whole */
  uint32_t entries_max;         /* it takes no more; 0: no such limit */
  struct memtable
      *table; /* what goes straight into the leaves of `entries_max` entries, all of it; NULL: the node's runs */
};

/* Where a memtable's records lie: entries [at, at + entries) of the bottom node at `path`; 0 entries of a node without any. */
struct straight {
  struct tree_path path;
  uint32_t at, entries;
};
/* Whether records with keys in [low, high] may go straight into leaves: no run on the way has a key there, absorbed or not, and
 * the leaves in which they lie take `most` bytes or less. What cannot be read is a no. */
bool tree_goes_straight(struct node *root, struct wodan_slice low, struct wodan_slice high, uint64_t most,
                        struct straight *way);

/* Begins at entry `at` of the node at `path` (a node without entries: at 0), and goes on to its right while the entries
 * there have not absorbed all runs either. WODAN_ENOMEM, or a failure to read. */
int sweep_open(const struct sweep_setup *setup, struct node *root, const struct tree_path *path, uint32_t at,
               struct sweep **sweep, struct wodan_error *error);
/* Moves about `budget` bytes of records; adds what it moved to *moved. *done: sweep_result is next. A failure at an entry
 * behind the first ends it with what is whole; one at the first is returned. */
int sweep_step(struct sweep *sweep, uint64_t budget, uint64_t *moved, bool *done, struct wodan_error *error);
/* The new root, one reference; NULL: no memory. `root` is the version of now. */
struct node *sweep_result(struct sweep *sweep, struct node *root, struct tree_edit *edit);
/* Frees the job; unless published, what it wrote is given back. NULL is allowed. */
void sweep_close(struct sweep *sweep, bool published);

/* Bytes of leaves and runs written so far. */
uint64_t sweep_leaf_bytes(const struct sweep *sweep);
uint64_t sweep_run_bytes(const struct sweep *sweep);
/* Generation of the leaf at work, 0 when there is none. */
uint64_t sweep_damaged_leaf(const struct sweep *sweep);

#endif
