/* What must hold for any version of a tree, checked from the outside: the list is the definition of a valid tree. */
#ifndef SUPPORT_TREE_INVARIANTS_H
#define SUPPORT_TREE_INVARIANTS_H

#include "tree/policy.h"

/* Fails the running test unless the tree below root is valid; every record of every run is read and every key looked up.
 *
 * Skeleton: entries are one level below their node; pivots ascend and lie inside the node's range, a child's pivot is where
 * its range begins; runs fall by generation; all sums are right; an inner node has a child; no extent is owned twice; no
 * run is kept that every entry has absorbed.
 * Records: those of a run or leaf lie inside its owner's range; a leaf holds no delete; counts told are right; for every key
 * the record of the greatest sequence in the whole tree is what a lookup and a scan, both ways, give (nothing, if that is
 * a delete).
 * With a policy, when by it nothing is to be done: no node has more entries or buffers more than it may, and nothing is
 * owed. */
void tree_assert_valid(struct node *root, const struct tree_policy *policy);
/* The first part alone, without I/O. */
void tree_assert_skeleton(struct node *root);

/* Blocks of all runs, leaves and written headers below root. */
uint64_t tree_blocks(const struct node *root);

#endif
