/* Shelf: the memory of the bodies of runs, within a hard bound. Room is made before anything is allocated: bodies nobody
 * uses go, least recently used first (CLOCK), and the frames of their pages with them. */
#ifndef RUN_SHELF_H
#define RUN_SHELF_H

#include "base/mem.h"

struct run_shelf;

/* NULL: no memory. */
struct run_shelf *run_shelf_create(struct mem *mem, uint64_t bytes_max);
/* No run may be left that uses it. NULL is allowed. */
void run_shelf_free(struct run_shelf *shelf);

struct run_shelf_counts {
  uint64_t bytes, bytes_max; /* of bodies; headers on their way through memory included */
  uint64_t loads, evictions; /* of parts: an index part or a filter each */
};
struct run_shelf_counts run_shelf_counts(struct run_shelf *shelf);

#endif
