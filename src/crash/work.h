/* Work: one workload on one database and its model, side by side. A workload is a string of letters, one an operation;
 * sizes and values follow from seed, key and commit, so the string and the seed are all there is to keep. */
#ifndef CRASH_WORK_H
#define CRASH_WORK_H

#include "crash/content.h"
#include "crash/discard_watch.h"
#include "crash/model.h"
#include "dev/dev_sim.h"

struct work_geometry {
  const char *name;
  uint64_t size;
  uint32_t sector, block;
  uint32_t node_leaves, node_children; /* 0: the usual ones */
  uint8_t discard;                     /* enum sim_discard_choice: what the device makes of a discard */
};
extern const struct work_geometry work_geometries[];
extern const unsigned work_geometry_count;

/*  X(letter, name, share): share is how often random workloads take it; the first WORK_SYSTEMATIC are enumerated. */
#define WORK_OPERATIONS(X)                                                                                             \
  X('p', PUT, 4)       /* a new key, buffered */                                                                       \
  X('o', OVERWRITE, 3) /* the oldest key, or a random one behind the systematic length */                              \
  X('d', DELETE, 2)    /* likewise */                                                                                  \
  X('s', SYNC, 3)      /* a durable commit of all that is pending */                                                   \
  X('c', CHECKPOINT, 2)                                                                                                \
  X('r', REOPEN, 1)  /* close and open */                                                                              \
  X('e', ERASE, 2)   /* one range delete over the lower or upper half of the keys, and a put into it */                \
  X('D', DURABLE, 3) /* a durable put of a new key */                                                                  \
  X('b', BATCH, 2)   /* three puts and a delete, all or nothing */                                                     \
  X('f', FILL, 2)    /* twelve puts */                                                                                 \
  X('x', EMPTY, 1)   /* deletes everything */                                                                          \
  X('m', COMPACT, 1)                                                                                                   \
  X('k', KILL, 1)          /* the process dies, the device keeps its window */                                         \
  X('l', LARGE, 3)         /* a large value: a new key, or for every other one the oldest or a random one */           \
  X('L', LARGE_DURABLE, 3) /* likewise, durable */

enum work_operation {
#define WORK_ENUM(letter, name, share) WORK_##name = letter,
  WORK_OPERATIONS(WORK_ENUM)
#undef WORK_ENUM
};
enum { WORK_SYSTEMATIC = 7, WORK_LENGTH_MAX = 24 };

/* Sequence number `index` of so many operations, in letters; false: there are not so many. */
bool work_sequence(unsigned length, uint64_t index, char letters[WORK_LENGTH_MAX + 1]);
uint64_t work_sequences(unsigned length);
void work_random(uint64_t *seed, char letters[WORK_LENGTH_MAX + 1]);
/* Only letters above, at most WORK_LENGTH_MAX. */
bool work_legal(const char *letters);

struct work {
  const struct work_geometry *geometry;
  const char *letters;
  uint64_t seed;
  /* Called before each flush has any effect, and once more behind the last operation. */
  void (*window)(void *context, struct work *work);
  void *context;
  /* what the window function looks at */
  struct sim *sim;
  size_t step;    /* operation under way */
  size_t windows; /* so far, the present one not counted */
  struct content *versions;
  size_t newest, acknowledged;
  bool stop; /* set by it: the rest is not run */
  /* inside */
  struct mem mem;
  struct model *model;
  size_t capacity; /* of versions */
  uint64_t random;
  uint32_t next_key;
  struct wodan_device *plug;
  struct wodan_db *db;
  bool busy;
  struct content found; /* of an open */
  struct discard_watch watch;
  char why[480];  /* of a failure of the workload itself */
  bool no_memory; /* it is one of memory */
};

/* A formatted image of the geometry, the same each time; the caller's sim_image_release. `options` as of the device. */
int work_format(const struct work_geometry *geometry, struct sim_image *image);
/* A device for it. */
int work_device(const struct work_geometry *geometry, bool lying, struct sim **sim);

/* Runs it on `sim`, which holds the formatted image and is the caller's. false: an operation failed that must not
 * (work->why), or there was no memory. */
bool work_run(struct work *work);
void work_release(struct work *work);

#endif
