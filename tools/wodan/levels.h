/* How full a tree is, level by level: for `wodan stat` and the map's second panel. */
#ifndef WODAN_CLI_LEVELS_H
#define WODAN_CLI_LEVELS_H

#include "look.h"

enum { LEVELS_MAX = 16, RUN_COUNTS = 34, LEAF_BINS = 10 };

struct level_fill {
  uint64_t nodes, damaged;
  uint64_t entries;                     /* leaves or children of all its nodes */
  uint64_t entries_least, entries_most; /* of a node */
  uint64_t entries_max;                 /* of a node, before it splits */
  uint64_t runs, runs_most, run_bytes, records, deletes;
  uint64_t buffer_room;         /* what its runs are held against: bytes of its leaves, or eight memtables a node */
  uint64_t by_runs[RUN_COUNTS]; /* nodes with so many runs; the last: as many or more */
};

struct levels {
  uint32_t count; /* 0: the tree is empty */
  struct level_fill level[LEVELS_MAX];
  uint64_t leaves, leaf_bytes, leaf_size;
  uint64_t leaf_bins[LEAF_BINS]; /* leaves by their bytes, in tenths of leaf_size; the last: 9/10 and more */
};

/* Reads the newest tree's nodes. 0, or the exit code of the reported failure. */
int levels_gather(struct look *look, struct levels *levels);
void levels_add(struct json *json, const char *name, const struct levels *levels);
/* Two tables on standard output. */
void levels_print(const struct levels *levels);

#endif
