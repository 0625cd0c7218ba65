/* Ordered map: a B+tree of entries that live elsewhere and stay where they are. Order: key ascending, then sequence
 * descending (the newest version of a key comes first). Entries are added, never removed.
 *
 * Nodes are 64 wide. Beside each entry pointer a node keeps the key's head: eight bytes as a big-endian number, taken
 * behind `skip` bytes that all keys of the node share, so that a search reads entries only where heads are equal. */
#ifndef MEMTABLE_ORDERED_MAP_H
#define MEMTABLE_ORDERED_MAP_H

#include "format/record.h"
#include "memtable/arena.h"

enum { MAP_KEY_MAX = UINT16_MAX, MAP_WIDTH = 64, MAP_LEVELS_MAX = 16, MAP_MANY = 8 };

/* What the map orders; key, then value, follow the fields. */
struct map_entry {
#ifdef WODAN_CHECKED
  uint64_t sum; /* of all the rest: memtable.c */
#endif
  uint64_t sequence;
  uint32_t value_size;
  uint16_t key_size;
  uint8_t kind;
  uint8_t unused;
  uint8_t bytes[];
};

static inline struct wodan_slice map_entry_key(const struct map_entry *entry) {
  return (struct wodan_slice){entry->bytes, entry->key_size};
}

struct map_node;

struct ordered_map {
  struct arena nodes;
  struct map_node *root, *first, *last;    /* the outermost leaves; all NULL when empty */
  const struct map_entry *oldest, *newest; /* inserted first and last */
  bool ascends;                            /* each came behind all others: oldest is the first, newest the last */
  size_t common;                           /* bytes that all keys start with, those of oldest */
  unsigned levels;                         /* 0 when empty; leaves are level 0 */
  size_t node_count[MAP_LEVELS_MAX];
};

void ordered_map_init(struct ordered_map *map, struct mem *mem); /* allocates nothing */
void ordered_map_release(struct ordered_map *map);

/* After it, `count` more inserts cannot fail. Replaces an earlier reservation. false: no memory. */
bool ordered_map_reserve(struct ordered_map *map, size_t count);
/* Only after ordered_map_reserve. Up to MAP_MANY entries, one after the other; their cache misses overlap. No two entries with
 * the same key and sequence. */
void ordered_map_insert(struct ordered_map *map, const struct map_entry *const *entries, size_t count);

/* Nothing came before what was there already. */
static inline bool ordered_map_ascends(const struct ordered_map *map) { return map->ascends || !map->root; }

/* A place in the map, good until the next insert; leaf NULL: behind the last entry. */
struct map_position {
  const struct map_node *leaf;
  size_t index;
};

/* The first entry with this key and a sequence <= `sequence`, else the first with a greater key. */
struct map_position ordered_map_seek(const struct ordered_map *map, struct wodan_slice key, uint64_t sequence);
struct map_position ordered_map_first(const struct ordered_map *map);
/* NULL when it stands behind the last entry. */
const struct map_entry *map_position_entry(struct map_position position);
/* Only while it stands on an entry. Starts loading the entries that come soon. */
struct map_position map_position_next(struct map_position position);
/* The entry before (behind the last: the last). Before the first comes the place behind the last. */
struct map_position map_position_prev(const struct ordered_map *map, struct map_position position);

#endif
