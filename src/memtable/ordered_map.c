/* Owns: the B+tree of a memtable: search, insert, split, and how many nodes inserts may need.
 * Always true: heads ascend; heads behind the last used one are all ones, so that a search has a fixed number of steps.
 * In an inner node entries[i] (i >= 1) is the least entry under children[i]; entries[0] is the node's own lower fence
 * (NULL on the left rim), heads[0] is 0 and no search looks at either. Every key that a search brings to a node lies
 * between the node's fences, so it starts with what the two fences have in common: at least `skip` bytes. On the rims,
 * where a fence is missing, it starts with what all keys of the map have in common; a key that has less goes past the
 * whole map, and its insert first lowers `skip` there.
 * Node supply: a split in the middle leaves at most 33 in each half, so 31 inserts before either is full; a split at
 * the edge (ascending inserts: the left node stays full) happens once to a full node. So s inserts into a level of n
 * nodes split at most 2 n + 2 floor(s / 31) times, and never more than s times. ordered_map_reserve counts with this.
 * See: tests/unit/test_memtable.c. */
#include "memtable/ordered_map.h"

#include <assert.h>

enum {
  CACHE_LINE = 64,
  SPLIT_ROOM = MAP_WIDTH / 2 - 1, /* inserts that each half of a middle split takes before it is full, at least */
  REBASE_STEP = 4,                /* so many more bytes in common make it worth reading all keys for new heads */
};

struct map_node {
  struct map_node *next, *prev; /* leaves */
  uint16_t count;               /* >= 1 but during a split */
  uint16_t skip;                /* bytes */
  bool edge_split;
  _Alignas(CACHE_LINE) uint64_t heads[MAP_WIDTH];
  const struct map_entry *entries[MAP_WIDTH];
};

struct map_inner {
  struct map_node node;
  struct map_node *children[MAP_WIDTH];
};

struct path {
  struct map_node *nodes[MAP_LEVELS_MAX]; /* by level; the leaf is 0 */
  size_t index[MAP_LEVELS_MAX];           /* inner: child taken */
};

/* A node and the least entry in or under it, on the way into its parent. */
struct addition {
  const struct map_entry *entry;
  struct map_node *child; /* NULL: into a leaf */
};

static struct map_node **children(const struct map_node *node) {
  return ((struct map_inner *)(uintptr_t)node)->children;
}

/* ---- order ---------------------------------------------------------------------------------------------------- */

static uint64_t key_head(const uint8_t *key, size_t size, size_t skip) {
  assert(skip <= size);
  if (skip == size) return 0;
  const uint8_t *p = key + skip;
  size -= skip;
  if (size >= 8) {
    return (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 | (uint64_t)p[2] << 40 | (uint64_t)p[3] << 32 |
           (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 | (uint64_t)p[6] << 8 | (uint64_t)p[7];
  }
  uint64_t head = 0;
  for (size_t i = 0; i < size; i++) head |= (uint64_t)p[i] << (56 - 8 * i);
  return head;
}

static uint64_t entry_head(const struct map_entry *entry, size_t skip) {
  return key_head(entry->bytes, entry->key_size, skip);
}

static bool entry_before(const struct map_entry *entry, struct wodan_slice key, uint64_t sequence) {
  int c = key_compare(map_entry_key(entry), key);
  return c ? c < 0 : entry->sequence > sequence;
}

static size_t common_prefix(const struct map_entry *a, const struct map_entry *b, size_t limit) {
  size_t n = a->key_size < b->key_size ? a->key_size : b->key_size, i = 0;
  if (n > limit) n = limit;
  while (i < n && a->bytes[i] == b->bytes[i]) i++;
  return i;
}

/* ---- search --------------------------------------------------------------------------------------------------- */

static void prefetch_heads(const struct map_node *node) {
  const char *p = (const char *)node;
  for (size_t at = 0; at <= MAP_WIDTH * sizeof(uint64_t); at += CACHE_LINE) __builtin_prefetch(p + at);
}

/* Index of the first head >= `head`, without a branch on the data. */
static size_t heads_lower(const uint64_t *heads, uint64_t head) {
  static_assert(MAP_WIDTH == 64, "the steps below");
  size_t i = 0;
  i += (size_t)(heads[i + 31] < head) * 32;
  i += (size_t)(heads[i + 15] < head) * 16;
  i += (size_t)(heads[i + 7] < head) * 8;
  i += (size_t)(heads[i + 3] < head) * 4;
  i += (size_t)(heads[i + 1] < head) * 2;
  i += (size_t)(heads[i] < head);
  return i + (size_t)(heads[i] < head);
}

/* Index, from `from` on, of the first entry not before (key, sequence). */
static size_t node_lower(const struct map_node *node, struct wodan_slice key, uint64_t sequence, size_t from) {
  uint64_t head = key_head(key.data, key.size, node->skip);
  size_t low = heads_lower(node->heads, head);
  if (low < from) low = from;
  size_t high = low;
  while (high < node->count && node->heads[high] == head) high++;
  while (low < high) { /* equal heads: the whole keys decide */
    size_t middle = low + (high - low) / 2;
    if (entry_before(node->entries[middle], key, sequence))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

struct map_position ordered_map_seek(const struct ordered_map *map, struct wodan_slice key, uint64_t sequence) {
  const struct map_node *node = map->root;
  if (!node) return (struct map_position){NULL, 0};
  struct wodan_slice prefix = {map->oldest->bytes, map->common};
  if (key.size < prefix.size || (prefix.size && memcmp(key.data, prefix.data, prefix.size) != 0))
    return (struct map_position){key_compare(key, prefix) < 0 ? map->first : NULL, 0};
  for (unsigned level = map->levels - 1; level > 0; level--) {
    node = children(node)[node_lower(node, key, sequence, 1) - 1];
    prefetch_heads(node);
  }
  size_t index = node_lower(node, key, sequence, 0);
  if (index < node->count) return (struct map_position){node, index};
  return (struct map_position){node->next, 0};
}

struct map_position ordered_map_first(const struct ordered_map *map) {
  return (struct map_position){map->first, 0};
}

const struct map_entry *map_position_entry(struct map_position position) {
  return position.leaf ? position.leaf->entries[position.index] : NULL;
}

/* Key and the beginning of the value: entries that follow each other in the map lie anywhere. */
static void prefetch_entry(const struct map_entry *entry) {
  const char *p = (const char *)entry;
  __builtin_prefetch(p);
  __builtin_prefetch(p + CACHE_LINE);
  __builtin_prefetch(p + 2 * CACHE_LINE);
}

static void prefetch_entries(const struct map_node *node) {
  __builtin_prefetch(node);
  for (size_t i = 0; i < MAP_WIDTH; i += CACHE_LINE / sizeof *node->entries) __builtin_prefetch(&node->entries[i]);
}

struct map_position map_position_next(struct map_position position) {
  const struct map_node *leaf = position.leaf;
  assert(leaf && position.index < leaf->count);
  enum { AHEAD = 8 };
  size_t ahead = position.index + AHEAD;
  if (position.index == 0 && leaf->next) prefetch_entries(leaf->next);
  if (ahead < leaf->count)
    prefetch_entry(leaf->entries[ahead]);
  else if (leaf->next)
    prefetch_entry(leaf->next->entries[(ahead - leaf->count) % MAP_WIDTH]);
  if (position.index + 1 < leaf->count) return (struct map_position){leaf, position.index + 1};
  return (struct map_position){leaf->next, 0};
}

struct map_position map_position_prev(const struct ordered_map *map, struct map_position position) {
  const struct map_node *leaf = position.leaf;
  if (leaf && position.index > 0) return (struct map_position){leaf, position.index - 1};
  leaf = leaf ? leaf->prev : map->last;
  if (!leaf) return (struct map_position){NULL, 0};
  return (struct map_position){leaf, (size_t)leaf->count - 1};
}

/* ---- nodes ---------------------------------------------------------------------------------------------------- */

static size_t node_size(unsigned level) { return level ? sizeof(struct map_inner) : sizeof(struct map_node); }

static struct map_node *node_create(struct ordered_map *map, unsigned level) {
  assert(level < MAP_LEVELS_MAX);
  struct map_node *node = arena_take(&map->nodes, node_size(level));
  node->next = node->prev = NULL;
  node->count = node->skip = 0;
  node->edge_split = false;
  memset(node->heads, 0xff, sizeof node->heads);
  map->node_count[level]++;
  return node;
}

static void node_insert(struct map_node *node, size_t index, struct addition add) {
  assert(node->count < MAP_WIDTH && index <= node->count);
  size_t behind = node->count - index;
  memmove(node->heads + index + 1, node->heads + index, behind * sizeof *node->heads);
  memmove(node->entries + index + 1, node->entries + index, behind * sizeof *node->entries);
  node->heads[index] = add.child && index == 0 ? 0 : entry_head(add.entry, node->skip);
  node->entries[index] = add.entry;
  if (add.child) {
    struct map_node **c = children(node);
    memmove(c + index + 1, c + index, behind * sizeof *c);
    c[index] = add.child;
  }
  node->count++;
}

static void node_rebase(struct map_node *node, bool inner, size_t skip) {
  node->skip = (uint16_t)skip;
  for (size_t i = inner; i < node->count; i++) node->heads[i] = entry_head(node->entries[i], skip);
}

/* New heads when the fences have enough more in common than the node skips. */
static void node_narrow(struct map_node *node, bool inner, const struct map_entry *low, const struct map_entry *high) {
  if (!low || !high) return;
  size_t common = common_prefix(low, high, MAP_KEY_MAX);
  if (common >= (size_t)node->skip + REBASE_STEP) node_rebase(node, inner, common);
}

/* The rims skip at most what this key has in common with all others. */
static void map_widen(struct ordered_map *map, const struct map_entry *entry) {
  if (entry->key_size >= map->common && memcmp(entry->bytes, map->oldest->bytes, map->common) == 0) return;
  map->common = common_prefix(map->oldest, entry, map->common);
  struct map_node *left = map->root, *right = map->root;
  for (unsigned level = map->levels; level-- > 0;) {
    if (left->skip > map->common) node_rebase(left, level > 0, map->common);
    if (right->skip > map->common) node_rebase(right, level > 0, map->common);
    if (level == 0) break;
    left = children(left)[0];
    right = children(right)[right->count - 1];
  }
}

/* Moves what is at `cut` and behind into a new node, on the right of this one. */
static struct map_node *node_cut(struct ordered_map *map, struct map_node *node, unsigned level, size_t cut) {
  struct map_node *right = node_create(map, level);
  size_t moved = node->count - cut;
  right->skip = node->skip;
  right->count = (uint16_t)moved;
  memcpy(right->heads, node->heads + cut, moved * sizeof *right->heads);
  memcpy(right->entries, node->entries + cut, moved * sizeof *right->entries);
  if (level) {
    if (moved) right->heads[0] = 0;
    memcpy(children(right), children(node) + cut, moved * sizeof(struct map_node *));
  } else {
    right->next = node->next;
    right->prev = node;
    if (node->next)
      node->next->prev = right;
    else
      map->last = right;
    node->next = right;
  }
  memset(node->heads + cut, 0xff, moved * sizeof *node->heads);
  node->count = (uint16_t)cut;
  return right;
}

/* ---- insert --------------------------------------------------------------------------------------------------- */

/* The entries that bound the node of `level` on the path; NULL at a rim of the tree. */
static void path_fences(const struct ordered_map *map, const struct path *path, unsigned level,
                        const struct map_entry **low, const struct map_entry **high) {
  *low = *high = NULL;
  for (unsigned l = level + 1; l < map->levels && !(*low && *high); l++) {
    const struct map_node *node = path->nodes[l];
    size_t index = path->index[l];
    if (!*low && index > 0) *low = node->entries[index];
    if (!*high && index + 1 < node->count) *high = node->entries[index + 1];
  }
}

/* Splits the full node of `level` on the path and puts `add` at `index` of it. Returns what goes into the parent. */
static struct addition node_split(struct ordered_map *map, const struct path *path, unsigned level, size_t index,
                                  struct addition add, bool *edge) {
  struct map_node *node = path->nodes[level];
  assert(node->count == MAP_WIDTH);
  const struct map_entry *low, *high;
  path_fences(map, path, level, &low, &high);
  *edge = *edge && index == MAP_WIDTH && !node->edge_split;
  node->edge_split = *edge;
  size_t cut = *edge ? MAP_WIDTH : MAP_WIDTH / 2;
  struct map_node *right = node_cut(map, node, level, cut);
  const struct map_entry *fence = *edge ? add.entry : right->entries[0];
  node_narrow(node, level > 0, low, fence);
  node_narrow(right, level > 0, fence, high);
  if (index > cut || *edge)
    node_insert(right, index - cut, add);
  else
    node_insert(node, index, add);
  assert(right->entries[0] == fence);
  return (struct addition){fence, right};
}

static void root_grow(struct ordered_map *map, struct addition add) {
  struct map_node *root = node_create(map, map->levels);
  root->entries[0] = NULL;
  root->heads[0] = 0;
  root->skip = (uint16_t)map->common;
  children(root)[0] = map->root;
  root->count = 1;
  node_insert(root, 1, add);
  map->root = root;
  map->levels++;
}

static void split_upward(struct ordered_map *map, const struct path *path, size_t index, struct addition add) {
  const struct map_node *leaf = path->nodes[0];
  bool edge = index == MAP_WIDTH && leaf->entries[MAP_WIDTH - 1] == map->newest;
  for (unsigned level = 0;; level++) {
    if (level == map->levels) {
      root_grow(map, add);
      return;
    }
    if (level > 0) index = path->index[level] + 1;
    if (path->nodes[level]->count < MAP_WIDTH) {
      node_insert(path->nodes[level], index, add);
      return;
    }
    add = node_split(map, path, level, index, add, &edge);
  }
}

/* Whether the entry goes behind the newest, which is the last. */
static bool follows(const struct ordered_map *map, const struct map_entry *entry) {
  const struct map_node *last = map->last;
  return last->entries[last->count - 1] == map->newest &&
         entry_before(map->newest, map_entry_key(entry), entry->sequence);
}

/* The way down to the leaf that the entry belongs to, for several at once: their cache misses overlap. What an insert into the
 * leaf is going to move is asked for, too. */
static void descend(const struct ordered_map *map, const struct map_entry *const *entries, size_t count,
                    struct path *paths) {
  for (size_t i = 0; i < count; i++) paths[i].nodes[map->levels - 1] = map->root;
  for (unsigned level = map->levels - 1; level > 0; level--) {
    for (size_t i = 0; i < count; i++) {
      const struct map_node *node = paths[i].nodes[level];
      size_t index = node_lower(node, map_entry_key(entries[i]), entries[i]->sequence, 1) - 1;
      paths[i].index[level] = index;
      paths[i].nodes[level - 1] = children(node)[index];
      prefetch_heads(paths[i].nodes[level - 1]);
    }
  }
  for (size_t i = 0; i < count && count > 1; i++) {
    const struct map_node *leaf = paths[i].nodes[0];
    size_t index = heads_lower(leaf->heads, entry_head(entries[i], leaf->skip));
    for (; index <= leaf->count && index < MAP_WIDTH; index += CACHE_LINE / sizeof *leaf->entries)
      __builtin_prefetch(&leaf->entries[index], 1);
  }
}

static void insert_at(struct ordered_map *map, const struct map_entry *entry, const struct path *path) {
  struct addition add = {entry, NULL};
  struct map_node *leaf = path->nodes[0];
  size_t index = node_lower(leaf, map_entry_key(entry), entry->sequence, 0);
  if (leaf->count < MAP_WIDTH)
    node_insert(leaf, index, add);
  else
    split_upward(map, path, index, add);
}

/* Without a search; false: it goes elsewhere, or there is no room. */
static bool insert_behind(struct ordered_map *map, const struct map_entry *entry) {
  bool behind = !map->root || follows(map, entry);
  map->ascends = behind && ordered_map_ascends(map);
  if (!map->root) {
    map->root = map->first = map->last = node_create(map, 0);
    map->root->skip = entry->key_size;
    map->levels = 1;
    map->oldest = entry;
    map->common = entry->key_size;
  }
  map_widen(map, entry);
  if (!behind || map->last->count == MAP_WIDTH) return false;
  node_insert(map->last, map->last->count, (struct addition){entry, NULL});
  return true;
}

void ordered_map_insert(struct ordered_map *map, const struct map_entry *const *entries, size_t count) {
  struct path paths[MAP_MANY];
  size_t leaves = 0; /* as many as there were when the ways down were found; 0: they were not */
  assert(count <= MAP_MANY);
  for (size_t i = 0; i < count; i++) {
    bool done = insert_behind(map, entries[i]);
    if (!done && leaves == 0) {
      for (size_t j = i + 1; j < count; j++) map_widen(map, entries[j]);
      descend(map, entries + i, count - i, paths + i);
      leaves = map->node_count[0];
    }
    if (!done && leaves != map->node_count[0]) descend(map, entries + i, 1, paths + i); /* nodes were split since */
    if (!done) insert_at(map, entries[i], &paths[i]);
    map->newest = entries[i];
  }
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

void ordered_map_init(struct ordered_map *map, struct mem *mem) {
  *map = (struct ordered_map){0};
  arena_init(&map->nodes, mem, CACHE_LINE);
}

void ordered_map_release(struct ordered_map *map) {
  arena_release(&map->nodes);
  struct mem *mem = map->nodes.mem;
  ordered_map_init(map, mem);
}

bool ordered_map_reserve(struct ordered_map *map, size_t count) {
  if (count > SIZE_MAX / (4 * sizeof(struct map_inner))) return false;
  size_t bytes = map->root ? 0 : node_size(0), splits = count;
  if (map->levels <= 1 && count <= MAP_WIDTH && (!map->root || map->root->count + count <= MAP_WIDTH)) splits = 0;
  for (unsigned level = 0; splits > 0; level++) {
    assert(level < MAP_LEVELS_MAX);
    size_t nodes = map->node_count[level];
    if (level >= map->levels && level > 0) bytes += node_size(level); /* a new root */
    if (!map->root && level == 0) nodes = 1;
    size_t bound = 2 * nodes + 2 * (splits / SPLIT_ROOM);
    if (bound < splits) splits = bound;
    bytes += splits * node_size(level);
  }
  return arena_reserve(&map->nodes, bytes);
}
