/* Discard watch: whether a discard that is about to reach the simulated device touches what it must not: superblocks, journal,
 * anything that one of the two newest roots names, be they durable or still in the window, or what a view of the test needs. */
#ifndef CRASH_DISCARD_WATCH_H
#define CRASH_DISCARD_WATCH_H

#include "base/mem.h"
#include "dev/dev_sim.h"

/* All zero but mem: nothing seen. */
struct discard_watch {
  struct mem *mem;
  uint8_t *needed; /* a byte a block, as of `looked`; as many as there are sectors */
  size_t capacity;
  uint64_t blocks, block_size;
  uint64_t looked; /* writes and flushes so far, when it was looked at last; + 1 */
  uint64_t before; /* discards before the last one: as many or fewer now: it was loaded anew, which counts from 0 */
  const uint8_t *pinned;    /* a byte a block, the test's: not 0 for what a view needs. NULL: none */
  uint64_t discards, bytes; /* seen */
  uint64_t wrong;           /* of them, that touched what was needed */
  char why[160];            /* the first of those */
};

/* For sim_options.before, when the operation is a discard. 0, or WODAN_EIO: the discard is wrong; WODAN_ENOMEM. */
int discard_watch(struct discard_watch *watch, const struct sim *sim, const struct sim_operation *operation);
/* What a view opened now will read: the blocks of runs and leaves of the newest root as reads see it, into `pinned`, which has at least as many bytes as there are sectors. 0 or a status. */
int discard_watch_pin(struct discard_watch *watch, const struct sim *sim, uint8_t *pinned, uint64_t blocks);
void discard_watch_release(struct discard_watch *watch);

#endif
