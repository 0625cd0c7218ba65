/* Shared by forge.c (what is in the volume) and forge_objects.c (how an object is written). */
#ifndef SUPPORT_FORGE_PRIVATE_H
#define SUPPORT_FORGE_PRIVATE_H

#include <stddef.h>
#include "base/wire.h"
#include "support/forge.h"

enum { PAGES_MAX = 2, PAGE_RECORDS_MAX = 8, HEADER_LENGTH = 256, EXTENT_MAX = 2 };

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
};

/* The number to be put down for `value`. */
uint64_t forge_tell(struct forge *f, const char *field, unsigned width, uint64_t value);
/* Puts it down; what was put. width 0: a varint. */
uint64_t forge_put(struct forge *f, struct wire_writer *w, const char *field, unsigned width, uint64_t value);
void forge_put_fsid(struct forge *f, struct wire_writer *w);
void forge_put_pointer(struct forge *f, struct wire_writer *w, int kind, const struct block_ptr *ptr);

/* A run: up to two pages of operations, in key order. */
struct forge_run {
  const char *name;
  uint8_t operations[PAGES_MAX][PAGE_RECORDS_MAX]; /* their numbers, up to the first 0 */
  bool filter, in_two_extents;
};
struct forge_buffered {
  struct block_ptr ptr;
  uint32_t records, deletes, ranges;
};
struct forge_entry {
  uint8_t pivot; /* key */
  uint64_t flushed_upto;
  struct block_ptr ptr;
};
struct forge_node {
  const char *name;
  uint32_t level;
  struct forge_entry entries[2];
  struct forge_buffered runs[2];
  uint32_t run_count;
};
struct forge_buffered forge_run(struct forge *f, const struct forge_run *run);
struct block_ptr forge_node(struct forge *f, const struct forge_node *node);

#endif
