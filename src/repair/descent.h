/* The way down the trees of a damaged volume: every key once, in order, with the newest version that can be read. Where a
 * node is lost, the same keys of the root before it stand in for it. */
#ifndef REPAIR_DESCENT_H
#define REPAIR_DESCENT_H

#include "repair/damage.h"
#include "repair/layers.h"
#include "repair/volume.h"

struct descent {
  struct volume *volume;
  const struct damage *damage; /* of a check of the newest root */
  struct span span;            /* the keys wanted */
  layers_record *record;       /* puts and deletes */
  told_loss *lost;             /* keys that may be missing, or older than they were */
  /* No root has a tree for these keys: *it, when set, is what there is instead (closing it does nothing). NULL: never. */
  int (*no_tree)(void *context, const struct span *span, struct iterator **it, struct wodan_error *error);
  int (*progress)(void *context, uint64_t blocks); /* not 0 ends it */
  void *context;
};
/* 0, what a callback answered, or WODAN_ENOMEM. */
int descend(const struct descent *descent, struct wodan_error *error);

#endif
