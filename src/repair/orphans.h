/* Runs that no tree names any more, found by their headers, and the newest record of each key among them. */
#ifndef REPAIR_ORPHANS_H
#define REPAIR_ORPHANS_H

#include "repair/damage.h"
#include "repair/volume.h"
#include "space/bitmap.h"

struct orphan {
  uint64_t block, generation;
  struct wodan_slice low, high; /* own memory */
};

struct orphan_source {
  struct source *source;
  const struct orphan *orphan;
};

struct orphans {
  struct iterator base; /* forward only: the newest record of each key, deletes too; closing it does nothing */
  struct volume *volume;
  struct orphan *at; /* by rising low key */
  size_t count, capacity;
  size_t next; /* the first that was not opened since the last seek */
  struct orphan_source *open;
  size_t open_count, open_capacity;
  const struct orphan *from; /* of base.record */
};

void orphans_init(struct orphans *orphans, struct volume *volume);
/* Finds, once, every run of this volume that has a good header, holds keys of one of the spans (sorted), and whose first
 * block is not set in `owned` (bit 0 is block 0; NULL: none is). WODAN_ENOMEM; unreadable blocks are passed over. */
int orphans_find(struct orphans *orphans, const struct bitmap *owned, const struct spans *spans,
                 struct wodan_error *error);
/* Whether one of them has compressed pages. WODAN_ENOMEM. */
int orphans_packed(struct orphans *orphans, bool *packed, struct wodan_error *error);
void orphans_release(struct orphans *orphans);

#endif
