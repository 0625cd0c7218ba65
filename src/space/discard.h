/* Discards: which free blocks the device is told to forget, and when. What is free is named by neither of the two newest
 * durable roots nor by anything a reader holds (space.h), so it may be discarded at any time. Telling the device at once would
 * be a waste: much of it is written again soon, which tells the device the same.
 *
 * Life of a free block: waiting (it became free since the mount) -> taken by an allocation, which saves the discard; or held,
 * while the device is at it, and then free as before, without waiting. What was free at the mount is not known to hold
 * anything: only space_trim_next takes that.
 *
 * Threads: as space.h. One extent is held at a time. */
#ifndef SPACE_DISCARD_H
#define SPACE_DISCARD_H

#include "space/space.h"

enum discard_policy {
  DISCARD_OFF, /* nothing waits */
  DISCARD_BATCHED, /* whole units when nothing of them became free for a while, the rest later, and all at rest; so many a second */
  DISCARD_EAGER, /* all at once */
};

struct discard_setup {
  enum discard_policy policy;
  uint32_t block_size, granularity; /* bytes; granularity 0: the device does not discard */
  uint64_t rate;                    /* bytes a second that batched discards take at most; 0: 512 MiB */
};

/* Bytes that space_discard_begin allocates at most. */
uint64_t space_discard_memory(uint64_t blocks, uint32_t block_size);
/* Once, behind the mount; what becomes free from now on waits. false: no memory, and then nothing ever waits. */
bool space_discard_begin(struct space *space, const struct discard_setup *setup);

/* The next extent that is due at this time (ns of any clock, which may stand still or go back), held from now on;
 * false: none now, or another one is held. */
bool space_discard_next(struct space *space, uint64_t now, struct extent *extent);
/* Nothing is written for now, so nothing that waits will be used again soon nor find new neighbours: all of it is due, in its
 * rate, until a block becomes free or is taken. */
void space_discard_rest(struct space *space);
/* The held extent is free again. The device has done its first `done` blocks and refused the rest, which does not wait for
 * another try; unsupported: it does not discard, so nothing waits any more. */
void space_discard_done(struct space *space, uint64_t done, bool unsupported);

/* A walk over what is free, without any delay. */
struct space_trim {
  uint64_t least; /* blocks: shorter stretches are left out */
  uint64_t most;  /* blocks of one extent, at least one; 0: what a discard may take */
  bool waiting;   /* only what waits */
  bool look;      /* nothing is held: to see what there is */
  uint64_t at;    /* 0 at first: how far the walk has come */
  uint64_t until; /* 0 at first: end of the stretch it stands in */
};
/* The next extent of the walk, held unless it only looks; waits for one that is held. false: the end. */
bool space_trim_next(struct space *space, struct space_trim *trim, struct extent *extent);

/* Blocks since the mount. Without trims of what did not wait: freed = waiting + saved + discarded + refused, and what is held. */
struct discard_counts {
  uint64_t freed;     /* became free */
  uint64_t waiting;   /* now */
  uint64_t saved;     /* taken by an allocation before they were discarded */
  uint64_t discarded; /* the device did it */
  uint64_t refused;   /* by the device */
};
struct discard_counts space_discard_counts(struct space *space);
/* Whether anything may become due as time goes by. */
bool space_discard_waits(struct space *space);

#endif
