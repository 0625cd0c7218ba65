/* The power-cut loop: runs a scenario on a simulated device and, before every flush, looks at each state a power cut may
 * leave of the flush window. As a flush is the only thing that changes the medium, and the states before it contain
 * those of a cut after any earlier write or barrier of the window, every device operation is covered by one run.
 *
 * Of each distinct image: it opens; its content is that of some commit not older than the last acknowledged one; a
 * check finds neither damage nor a lost safety margin; what is put and synced on it afterwards survives; after a
 * clean close it still equals that commit. On some: the newest root is damaged by hand and the previous one opened;
 * the power is cut again during the first commits after the recovery (depth 2).
 *
 * Everything that becomes free is discarded at once, with an outcome that the seed chooses, and before each discard it is
 * looked at what the two newest roots on the medium, and on what reads see, need.
 *
 * Also before every flush, but for the process instead of the power: the handle dies, the device goes on serving what
 * it was given, the next mount reads it, and then the power is cut: what that mount has shown must not go away. */
#ifndef SUPPORT_POWER_CUT_H
#define SUPPORT_POWER_CUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cut_geometry {
  const char *name;
  uint64_t size;
  uint32_t sector, block;
  uint32_t node_leaves, node_children; /* 0: the usual ones */
  bool packs;                          /* each mount chooses anew whether and how it compresses */
};

enum cut_kind {
  CUT_PUT,       /* `count` new keys with values of `size` bytes, a commit each */
  CUT_OVERWRITE, /* `count` keys that are there */
  CUT_DELETE,    /* `count` keys that are there */
  CUT_BATCH,     /* one batch: `count` new keys, and every third also the delete of an old one */
  CUT_DURABLE,   /* `count` durable puts of new keys */
  CUT_SYNC,
  CUT_CHECKPOINT,
  CUT_REOPEN,     /* close and open */
  CUT_FILL,       /* new keys until the volume is full, at most `count` */
  CUT_DELETE_ALL, /* what is there, a commit each */
  CUT_VIEW,       /* opens the view (one at a time), */
  CUT_UNVIEW,     /* reads through it, closes it */
  CUT_KILL,       /* the process dies, the device stays powered */
  CUT_POWER,      /* the power fails; a random state of the window remains */
  CUT_COMPACT,    /* wodan_compact of everything, `count` KiB; 0: until done */
  CUT_KINDS
};

struct cut_step {
  uint8_t kind; /* enum cut_kind */
  uint16_t count, size;
};

struct cut_scenario {
  const char *name;
  const struct cut_geometry *geometry;
  const struct cut_step *steps;
  size_t count;
  bool deep;      /* depth 2 as well */
  size_t quiet;   /* so many first steps are not cut: they only build what the others work on */
  uint32_t every; /* only every so manieth flush is cut; 0: each */
  uint32_t rise;  /* levels the tree must have had at some time; 0: any */
  uint32_t fall;  /* levels it must have had at most, later; 0: any */
};

struct cut_options {
  uint64_t seed;
  uint32_t window_states; /* a family with more states than this in a segment is sampled instead: so many in all */
  uint32_t deep_every;    /* of the images of a deep scenario, every so manieth at depth 2 */
};

struct cut_result {
  uint64_t windows;  /* flush windows looked at, of the scenario itself */
  uint64_t states;   /* before merging */
  uint64_t images;   /* distinct, each judged */
  uint64_t kills;    /* process deaths judged */
  uint64_t older;    /* previous roots opened */
  uint64_t deep;     /* images at depth 2 */
  uint64_t skipped;  /* windows where some family was sampled */
  uint64_t discards; /* of the scenario itself: none touched what the two newest roots need */
  uint32_t rise;     /* most levels of the tree, */
  uint32_t fall;     /* and fewest after that */
  char failure[640]; /* empty: none */
};

/* WODAN_CRASH_BUDGET (states a window), WODAN_SEED, or what this build can afford. */
struct cut_options cut_options_default(void);
/* false: result->failure tells the story and how to replay it. */
bool cut_run(const struct cut_scenario *scenario, const struct cut_options *options, struct cut_result *result);

#endif
