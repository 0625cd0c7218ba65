/* Space inside: shared by space.c (which block is free) and discard.c (what of it the device is told). */
#ifndef SPACE_SPACE_PRIVATE_H
#define SPACE_SPACE_PRIVATE_H

#include "base/thread.h"
#include "space/discard.h"
#include "space/free_map.h"
#include "space/space.h"

/* A part of the device that is discarded as a whole where it can be: an erase unit, or what stands for one. */
struct discard_unit {
  uint32_t waiting; /* blocks */
  uint32_t turn;    /* in which a block of it became free last */
};

struct discards {
  enum discard_policy policy;
  uint64_t grain;        /* blocks; a discard starts and ends at a multiple of it. 0: the device does not discard */
  uint64_t unit;         /* blocks, a multiple of grain */
  uint64_t least;        /* blocks of a discard in a unit that is not free as a whole */
  uint64_t most;         /* blocks of one discard */
  uint64_t block_size;   /* bytes */
  struct bitmap waiting; /* blocks that became free and were not discarded: all of them free. policy OFF: none */
  struct discard_unit *units;
  uint64_t unit_count;
  uint64_t hand;         /* block the round has come to; the size of the data area: the round is over */
  uint32_t turn, round;  /* now; in which the round began */
  bool again;            /* a round is due that is not for the turn: something became free (EAGER), or rest began */
  bool rest;             /* nothing became free or was taken since space_discard_rest */
  uint64_t clock, time;  /* as last told; how far it went forward in all, ns */
  int64_t credit;        /* ns of discarding that may be done at once */
  uint64_t rate;         /* bytes a second */
  struct extent held;    /* being discarded: used in the free map, yet counted as free. count 0: none */
  uint64_t held_waiting; /* blocks of it that waited */
  struct discard_counts counts;
};

struct space {
  struct mem *mem;
  struct lock lock;
  uint64_t first, end;    /* data area, blocks */
  struct free_map map;    /* used */
  struct bitmap now, old; /* touched: a region with a bit */
  uint64_t segment;       /* blocks; 0: the data area is too small to be divided */
  struct cursor {
    uint64_t at; /* where the last object of the kind ends */
    bool set;    /* there was one since the mount */
  } cursors[SPACE_KINDS];
  uint64_t free, deferred;
  uint64_t promise;        /* free blocks that what can wait leaves to what cannot */
  uint64_t promise_object; /* the largest object of those */
  uint64_t reserve;        /* free blocks that only a checkpoint's root may take */
  uint64_t reserve_object; /* the largest object of the reserve */
  uint64_t reached;        /* one object could take so many, as far as was asked since the last allocation */
  uint64_t generation;     /* of the last durable checkpoint */
  struct discards discards;
  struct condition discarded; /* with lock: discards.held is free again */
};

/* Blocks [first, end) became free, or were taken. The lock is held. */
void discards_freed(struct space *space, uint64_t first, uint64_t end);
void discards_taken(struct space *space, uint64_t first, uint64_t end);
/* Waits until nothing is held any more; false: nothing was. */
bool discards_wait(struct space *space);
void discards_release(struct space *space);

#endif
