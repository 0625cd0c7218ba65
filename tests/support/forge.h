/* Forge: a second writer of volumes, after FORMAT.md and not by the product's encoders, which puts down every number of every
 * structure through one function. So each can be told another one, with all checksums right: those of the bytes told.
 *
 * The volume has all structures: a tree of two levels (buffered runs above and below, a leaf in two extents, a filter, a
 * delete, range deletes with records beside them and without, a run that one leaf has absorbed and its neighbour has not),
 * large values of one chunk and of two, named by a leaf, by buffered runs, by both and by the journal, two checkpoints with
 * roots of their own, a record before the newest, and behind it one of two fragments, one of one, and a seal. Nothing in it is
 * random.
 *
 * Its content is known: operation number n (1..FORGE_OPERATIONS, also its sequence) puts or deletes a key, or a range. */
#ifndef SUPPORT_FORGE_H
#define SUPPORT_FORGE_H

#include <stdbool.h>
#include "format/block_ptr.h"
#include "format/superblock.h"

enum {
  FORGE_SIZE = 64 << 10,
  FORGE_BLOCK = 512,
  FORGE_RING = 16,
  FORGE_OPERATIONS = 49,
  FORGE_KEYS = 26,
  FORGE_SITES_MAX = 4000,
  FORGE_OBJECTS_MAX = 24,
  FORGE_POINTERS_MAX = 64,
  FORGE_TREE_A = 40, /* operations in the older root's tree */
  FORGE_TREE_B = 42, /* and in the newest one's */
};

/* A number on the device. */
struct forge_site {
  const char *structure, *field;
  uint8_t width;  /* bytes; 0: a varint */
  bool repeated;  /* the pointer to this object says it as well */
  uint64_t value; /* the right one */
};

/* What lies behind a pointer, or may: a run, a large value, or a node of this level. */
enum { FORGE_RUN = -1, FORGE_ANY_NODE = -2, FORGE_NOTHING = -3, FORGE_BLOB = -4 };

struct forge_object {
  const char *name;
  struct block_ptr ptr;
  int kind;
};
struct forge_pointer {
  const char *holder;
  struct block_ptr ptr;
  int kind;
};

/* What an honest volume consists of. */
struct forge_map {
  struct forge_site sites[FORGE_SITES_MAX];
  uint32_t site_count;
  struct forge_object objects[FORGE_OBJECTS_MAX];
  uint32_t object_count;
  struct forge_pointer pointers[FORGE_POINTERS_MAX];
  uint32_t pointer_count;
};

enum { FORGE_HONEST = UINT32_MAX };
struct forge_lie {
  uint32_t site; /* FORGE_HONEST: none */
  uint64_t value;
  bool everywhere;  /* what is repeated in the object's pointer is told there as well */
  uint32_t pointer; /* FORGE_HONEST: none; else this pointer is `target` */
  struct block_ptr target;
  uint8_t fsid; /* another volume's, when not 0 */
};

/* Writes the whole volume. map may be NULL. */
void forge_volume(const struct forge_lie *lie, uint8_t image[FORGE_SIZE], struct forge_map *map);

/* The operations; values hold FORGE_VALUE_MAX bytes at most, those that are not large FORGE_INLINE_MAX. */
enum { FORGE_INLINE_MAX = 128, FORGE_VALUE_MAX = 2200 };
enum forge_kind {
  FORGE_PUTS = 0,
  FORGE_DELETES = 1,
  FORGE_PUTS_LARGE = 2,
  FORGE_DELETES_RANGE = 3
}; /* as record.h's */
struct forge_operation {
  uint8_t key; /* number of the key, below FORGE_KEYS */
  uint8_t kind;
  uint16_t value_size;
  uint8_t end; /* of a range: the key where it ends */
};
const struct forge_operation *forge_operation(uint32_t number);
size_t forge_key(unsigned key, uint8_t out[8]); /* the user's key; they ascend in `key` */
void forge_value(uint32_t number, uint8_t out[FORGE_VALUE_MAX]);

#endif
