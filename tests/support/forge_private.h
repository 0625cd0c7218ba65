/* Shared by forge.c (what is in the volume) and forge_objects.c (how an object is written). */
#ifndef SUPPORT_FORGE_PRIVATE_H
#define SUPPORT_FORGE_PRIVATE_H

#include <stddef.h>
#include "base/wire.h"
#include "support/forge.h"

enum { PAGES_MAX = 2, PAGE_RECORDS_MAX = 8, RANGES_MAX = 2, HEADER_LENGTH = 256, EXTENT_MAX = 2 };

struct forge {
  const struct forge_lie *lie;
  uint8_t *image;
  struct forge_map *map; /* may be NULL */
  struct superblock superblock;
  uint64_t seed;
  uint32_t site, pointer, object; /* the next ones */
  const char *structure;          /* being written */
  bool mute;                      /* numbers that something is written over later */
  bool repeated;
  uint64_t next_block, generation;
  uint64_t size_said; /* of the large value just written */
  struct forge_large {
    struct block_ptr ptr;
    uint64_t size;               /* that is told of it */
  } large[FORGE_OPERATIONS + 1]; /* values written so far */
};

/* The number to be put down for `value`. */
uint64_t forge_tell(struct forge *f, const char *field, unsigned width, uint64_t value);
/* Puts it down; what was put. width 0: a varint. */
uint64_t forge_put(struct forge *f, struct wire_writer *w, const char *field, unsigned width, uint64_t value);
void forge_put_fsid(struct forge *f, struct wire_writer *w);
void forge_put_pointer(struct forge *f, struct wire_writer *w, int kind, const struct block_ptr *ptr);
/* What stands for the value of operation `number`, which was written. */
void forge_put_reference(struct forge *f, struct wire_writer *w, uint32_t number);
size_t forge_tree_key(unsigned key, uint8_t out[9]);

/* The value of a large put; before whoever names it. */
void forge_blob(struct forge *f, const char *name, uint32_t number);

/* A run: up to two pages of operations, in key order, and its range deletes. */
struct forge_run {
  const char *name;
  uint8_t operations[PAGES_MAX][PAGE_RECORDS_MAX]; /* their numbers, up to the first 0 */
  uint8_t ranges[RANGES_MAX];
  bool filter, in_two_extents;
};
struct forge_written {
  struct block_ptr ptr;
  uint32_t records, deletes, large, ranges;
};
struct forge_entry {
  uint8_t pivot; /* key */
  uint64_t flushed_upto;
  struct forge_written child;
};
struct forge_node {
  const char *name;
  uint32_t level;
  struct forge_entry entries[2];
  struct forge_written runs[2];
  uint32_t run_count;
};
struct forge_written forge_run(struct forge *f, const struct forge_run *run);
struct forge_written forge_node(struct forge *f, const struct forge_node *node);

#endif
