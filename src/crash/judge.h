/* Judge: whether one state of a medium is a right one. What is demanded stands in <wodan/sim.h>, wodan_sim_crash_options. */
#ifndef CRASH_JUDGE_H
#define CRASH_JUDGE_H

#include "crash/content.h"
#include "crash/scratch.h"
#include "dev/dev_sim.h"

/* The contents a state may show: versions[least..newest]. */
struct judge_due {
  const struct content *versions;
  size_t least, newest;
};

struct judge {
  struct sim *sim; /* images are loaded into it */
  struct mem mem;
  struct scratch scratch;
  struct content found, due;
  struct sim_image lost; /* for losing a window */
  uint64_t random;       /* of the epochs */
  struct wodan_device *plug;
  struct wodan_db *db; /* NULL: no handle is open */
  uint64_t closed;     /* states also closed and opened again */
  char why[320];       /* of the last failure */
  bool no_memory;      /* a failure was one of memory: no verdict */
};

/* A device like `sim`, honest. WODAN_ENOMEM. judge_release also after that. */
int judge_init(struct judge *judge, const struct sim *sim);
void judge_release(struct judge *judge);

/* false: judge->why says what is wrong, unless judge->no_memory. hash: of the image. *version: which content it shows. */
bool judge_image(struct judge *judge, const struct sim_image *image, uint64_t hash, const struct judge_due *due,
                 size_t *version);

/* The process above `victim` dies and the device keeps its window: what the next mount shows must survive a power cut. */
bool judge_kill(struct judge *judge, const struct sim *victim, const struct judge_due *due);

/* For depth 2: a handle on the judge's own device with its memory; the image must have been loaded. The status of the open,
 * with the sentence in why. */
int judge_open(struct judge *judge, const char *when);
/* The process dies: the handle is gone, the device keeps its window. */
void judge_drop(struct judge *judge);

#endif
