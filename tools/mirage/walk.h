/* The tree below a root, in key order: what is wrong with it, and its records. */
#ifndef MIRAGE_WALK_H
#define MIRAGE_WALK_H

#include "image.h"

/* Walks the tree, marks its blocks as visited, reports findings and counts into the summary. `record` may be NULL. 0, also
 * when cancelled or damaged; what `record` answered; WODAN_ENOMEM, WODAN_EBUDGET. */
int mirage_walk(struct mirage_image *image, const struct mirage_root *root, mirage_record *record, void *context);

#endif
