/* The geometry of a volume whose superblock and copy are both lost. */
#ifndef REPAIR_SEARCH_H
#define REPAIR_SEARCH_H

#include "base/mem.h"
#include "base/status.h"
#include "dev/device.h"
#include "format/superblock.h"

/* From the blocks of the ring, else from the headers of runs. What neither tells is planned as for a new volume, with the
 * largest pages there may be. *ring: there is one; false: only runs were found, and where the data area starts is not known.
 * WODAN_EFORMAT: there is nothing of a volume; WODAN_ENOMEM. */
int search_superblock(struct device *device, struct mem *mem, struct superblock *sb, bool *ring,
                      struct wodan_error *error);

#endif
