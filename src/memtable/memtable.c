/* Owns: a memtable: entries in an arena in the order of commit, the ordered map over them, the filter of their keys, the
 * tree of range deletes, and its iterator.
 * Always true: an entry never moves and never goes away before the memtable; records counts every insert, so it tells
 * an iterator whether its place in the map is still good; every key of the table passes the filter. A range delete is an
 * entry like others, but stands in the range tree instead of the map; who asks is told a delete in place of what it hides.
 * Order: memtable_reserve takes all memory that the inserts after it may need; memtable_insert cannot fail. While a
 * bigger filter is being filled, each insert moves a few records into it, in commit order, so no insert waits for all
 * of them; the walk ends behind the newest record, and only then the bigger filter answers. While keys only ascend there is no
 * filter: first and last key answer for all that lie outside, and a load of keys in order pays nothing for it.
 * See: tests/unit/test_memtable.c, bench/micro_memtable.c. */
#include "memtable/memtable.h"

#include <assert.h>

#include "codec/checksum.h"
#include "memtable/key_filter.h"
#include "memtable/ordered_map.h"
#include "memtable/range_tree.h"

enum {
  ENTRY_ALIGNMENT = 8,
  FILTER_MOVES = 4, /* older records that go to the bigger filter with each insert */
  STEPS_MAX = 8,    /* versions passed one by one; then a search is cheaper */
};

struct memtable {
  struct mem *mem;
  _Atomic uint64_t references;
  _Atomic uint32_t *alive;
  struct arena entries;
  struct ordered_map map;
  struct key_filter filter;
  struct range_tree ranges;
  struct memtable_walk moved; /* how far the bigger filter is filled */
  uint64_t records, blobs, bytes, ranges_bytes, first_sequence, last_sequence;
  uint64_t full_bytes;       /* as memtable_bytes counts; 0: not known */
  memtable_release *release; /* NULL: nobody is told */
  void *release_context;
};

struct memtable *memtable_create(struct mem *mem, _Atomic uint32_t *alive) {
  return memtable_create_within(mem, mem, alive);
}

struct memtable *memtable_create_within(struct mem *mem, struct mem *records, _Atomic uint32_t *alive) {
  struct memtable *table = mem_zalloc(mem, sizeof *table);
  if (!table) return NULL;
  table->mem = mem;
  atomic_init(&table->references, 1);
  table->alive = alive;
  if (alive) atomic_fetch_add(alive, 1);
  arena_init(&table->entries, records, ENTRY_ALIGNMENT);
  ordered_map_init(&table->map, records);
  key_filter_init(&table->filter, records);
  range_tree_init(&table->ranges, records);
  return table;
}

void memtable_expect(struct memtable *table, uint64_t bytes) { table->full_bytes = bytes; }

void memtable_on_release(struct memtable *table, memtable_release *release, void *context) {
  table->release = release;
  table->release_context = context;
}

/* Whose blobs it held. */
static void tell_release(const struct memtable *table) {
  struct memtable_walk walk = {0};
  struct record record;
  for (uint64_t left = table->release ? table->blobs : 0; left > 0 && memtable_walk(table, &walk, &record);) {
    if (record.kind != RECORD_BLOB) continue;
    table->release(table->release_context, &record);
    left--;
  }
}

void memtable_ref(struct memtable *table) {
  uint64_t before = atomic_fetch_add_explicit(&table->references, 1, memory_order_relaxed);
  assert(before > 0);
  (void)before;
}

void memtable_unref(struct memtable *table) {
  uint64_t before = atomic_fetch_sub_explicit(&table->references, 1, memory_order_acq_rel);
  assert(before > 0);
  if (before > 1) return;
  tell_release(table);
  range_tree_release(&table->ranges);
  key_filter_release(&table->filter);
  ordered_map_release(&table->map);
  arena_release(&table->entries);
  if (table->alive) atomic_fetch_sub(table->alive, 1);
  mem_free(table->mem, table, sizeof *table);
}

uint64_t memtable_count(const struct memtable *table) { return table->records; }
uint64_t memtable_bytes(const struct memtable *table) { return table->bytes; }
uint64_t memtable_memory(const struct memtable *table) {
  const struct key_filter *filter = &table->filter;
  uint64_t filters = (filter->count + filter->next_count) * sizeof(uint64_t);
  return table->entries.size + table->map.nodes.size + table->ranges.nodes.size + filters;
}
uint64_t memtable_first_sequence(const struct memtable *table) { return table->first_sequence; }
uint64_t memtable_last_sequence(const struct memtable *table) { return table->last_sequence; }

/* ---- entries -------------------------------------------------------------------------------------------------- */

static struct record entry_record(const struct map_entry *entry) {
  return (struct record){.key = map_entry_key(entry),
                         .sequence = entry->sequence,
                         .kind = entry->kind,
                         .value = {entry->bytes + entry->key_size, entry->value_size}};
}

static bool same_key(const struct map_entry *entry, struct wodan_slice key) {
  return entry->key_size == key.size && (!key.size || memcmp(entry->bytes, key.data, key.size) == 0);
}

static const struct map_entry *walk_step(const struct memtable *table, struct memtable_walk *walk) {
  struct arena_chunk *chunk = walk->chunk;
  const struct map_entry *entry = arena_walk(&table->entries, &chunk, &walk->at);
  walk->chunk = chunk;
  if (!entry) return NULL;
  walk->at += arena_piece(&table->entries, sizeof *entry + entry->key_size + entry->value_size);
  return entry;
}

bool memtable_walk(const struct memtable *table, struct memtable_walk *walk, struct record *record) {
  const struct map_entry *entry = walk_step(table, walk);
  if (!entry) return false;
  *record = entry_record(entry);
  return true;
}

/* ---- proof, in checked builds --------------------------------------------------------------------------------- */

#ifdef WODAN_CHECKED

/* The low half is of the sizes and what else stands before the bytes, so that it is proven before they are believed. */
static uint64_t entry_head_sum(const struct map_entry *entry) {
  const uint64_t head[] = {entry->sequence, entry->value_size, entry->key_size, entry->kind};
  return checksum(0, head, sizeof head) & UINT32_MAX;
}

static uint64_t entry_bytes_sum(const struct map_entry *entry) {
  return checksum(1, entry->bytes, (size_t)entry->key_size + entry->value_size) << 32;
}

static int entry_prove(const struct map_entry *entry, struct wodan_error *error) {
  bool sound = (entry->sum & UINT32_MAX) == entry_head_sum(entry);
  if (sound) sound = (entry->sum & ~(uint64_t)UINT32_MAX) == entry_bytes_sum(entry);
  if (sound) return 0;
  return status_set(error, WODAN_ECORRUPT, 0, WODAN_NO_BLOCK,
                    "a record in memory is not what was committed: the machine's memory is damaged, or written to");
}

int memtable_prove(const struct record *record, struct wodan_error *error) {
  const uint8_t *bytes = record->key.data;
  return entry_prove((const struct map_entry *)(const void *)(bytes - offsetof(struct map_entry, bytes)), error);
}

int memtable_prove_all(const struct memtable *table, struct wodan_error *error) {
  struct memtable_walk walk = {0};
  const struct map_entry *entry;
  int status = 0;
  while (status == 0 && (entry = walk_step(table, &walk))) status = entry_prove(entry, error);
  return status;
}

static void entry_seal(struct map_entry *entry) { entry->sum = entry_head_sum(entry) | entry_bytes_sum(entry); }

#else

int memtable_prove(const struct record *record, struct wodan_error *error) {
  (void)record;
  (void)error;
  return 0;
}

int memtable_prove_all(const struct memtable *table, struct wodan_error *error) {
  (void)table;
  (void)error;
  return 0;
}

static void entry_seal(struct map_entry *entry) { (void)entry; }

#endif

/* ---- insert --------------------------------------------------------------------------------------------------- */

int memtable_reserve(struct memtable *table, size_t count, size_t bytes, struct wodan_error *error) {
  size_t entry_overhead = sizeof(struct map_entry) + ENTRY_ALIGNMENT - 1;
  if (count > (SIZE_MAX - bytes) / entry_overhead) return status_nomem(error);
  table->entries.in_order = table->map.nodes.in_order = ordered_map_ascends(&table->map);
  if (!arena_reserve(&table->entries, count * entry_overhead + bytes)) return status_nomem(error);
  if (!ordered_map_reserve(&table->map, count)) return status_nomem(error);
  uint64_t mean = table->records ? table->bytes / table->records : 0, expected = mean ? table->full_bytes / mean : 0;
  if (!ordered_map_ascends(&table->map) && !key_filter_reserve(&table->filter, table->records, count, expected))
    return status_nomem(error);
  return 0;
}

int memtable_reserve_ranges(struct memtable *table, size_t count, struct wodan_error *error) {
  return range_tree_reserve(&table->ranges, count) ? 0 : status_nomem(error);
}

static void filter_grow(struct memtable *table) {
  for (unsigned i = 0; i < FILTER_MOVES; i++) {
    const struct map_entry *entry = walk_step(table, &table->moved);
    if (!entry) {
      key_filter_switch(&table->filter);
      table->moved = (struct memtable_walk){0};
      return;
    }
    key_filter_move(&table->filter, memtable_hash(map_entry_key(entry)));
  }
}

static struct map_entry *entry_create(struct memtable *table, const struct record *record) {
  assert(record->key.size <= MAP_KEY_MAX && record->value.size <= UINT32_MAX);
  assert(table->records == 0 || record->sequence > table->last_sequence);
  assert(record->kind != RECORD_DELETE || record->value.size == 0);
  struct map_entry *entry = arena_take(&table->entries, sizeof *entry + record->key.size + record->value.size);
  *entry = (struct map_entry){.sequence = record->sequence,
                              .value_size = (uint32_t)record->value.size,
                              .key_size = (uint16_t)record->key.size,
                              .kind = record->kind};
  if (record->key.size) memcpy(entry->bytes, record->key.data, record->key.size);
  if (record->value.size) memcpy(entry->bytes + record->key.size, record->value.data, record->value.size);
  entry_seal(entry);
  if (table->records == 0) table->first_sequence = record->sequence;
  table->last_sequence = record->sequence;
  table->records++;
  table->bytes += record_weight(record);
  if (record->kind == RECORD_BLOB) table->blobs++;
  return entry;
}

static void insert_range(struct memtable *table, const struct map_entry *entry) {
  range_tree_insert(&table->ranges, entry);
  table->ranges_bytes += sizeof(struct range_delete) + entry->key_size + entry->value_size;
}

/* At most MAP_MANY. */
static void insert_some(struct memtable *table, const struct record *records, size_t count) {
  const struct map_entry *entries[MAP_MANY];
  uint64_t hashes[MAP_MANY];
  size_t keys = 0;
  for (size_t i = 0; i < count; i++) {
    const struct map_entry *entry = entry_create(table, &records[i]);
    if (entry->kind == RECORD_DELETE_RANGE) {
      insert_range(table, entry);
      continue;
    }
    entries[keys] = entry;
    if (table->filter.words) hashes[keys] = key_filter_expect(&table->filter, memtable_hash(records[i].key));
    keys++;
  }
  ordered_map_insert(&table->map, entries, keys);
  for (size_t i = 0; i < keys; i++) {
    if (table->filter.words) key_filter_add(&table->filter, hashes[i]);
    if (table->filter.next) filter_grow(table);
  }
}

void memtable_insert_many(struct memtable *table, const struct record *records, size_t count) {
  for (size_t at = 0; at < count; at += MAP_MANY)
    insert_some(table, records + at, count - at < MAP_MANY ? count - at : MAP_MANY);
}

/* false: surely not. */
static bool may_have(const struct memtable *table, struct wodan_slice key, uint64_t hash) {
  const struct ordered_map *map = &table->map;
  if (!map->root || table->filter.words || !map->ascends) return map->root && key_filter_has(&table->filter, hash);
  return key_compare(key, map_entry_key(map->newest)) <= 0 && key_compare(key, map_entry_key(map->oldest)) >= 0;
}

/* In the map alone. */
static const struct map_entry *find(const struct memtable *table, struct wodan_slice key, uint64_t hash,
                                    uint64_t sequence) {
  if (!may_have(table, key, hash)) return NULL;
  const struct map_entry *entry = map_position_entry(ordered_map_seek(&table->map, key, sequence));
  if (!entry || !same_key(entry, key)) return NULL;
  assert(entry->sequence <= sequence);
  return entry;
}

int memtable_get(const struct memtable *table, struct wodan_slice key, uint64_t hash, uint64_t sequence,
                 struct record *record) {
  const struct map_entry *entry = find(table, key, hash, sequence), *range = NULL;
  if (range_tree_has(&table->ranges, sequence)) range = range_tree_newest(&table->ranges, key, 0, sequence);
  if (range && (!entry || range->sequence > entry->sequence))
    *record = (struct record){.key = key, .sequence = range->sequence, .kind = RECORD_DELETE};
  else if (entry)
    *record = entry_record(entry);
  return entry || range ? 0 : WODAN_ENOTFOUND;
}

/* ---- range deletes -------------------------------------------------------------------------------------------- */

uint64_t memtable_ranges_bytes(const struct memtable *table) { return table->ranges_bytes; }
bool memtable_has_ranges(const struct memtable *table) { return table->ranges.root != NULL; }

bool memtable_ranges(const struct memtable *table, struct mem *mem, struct range_buffer *out) {
  const struct range_tree *tree = &table->ranges;
  struct wodan_slice at = range_tree_next(tree, (struct wodan_slice){NULL, 0}, 0);
  *out = (struct range_buffer){0};
  while (at.data) {
    const struct map_entry *newest = range_tree_newest(tree, at, 0, UINT64_MAX);
    struct wodan_slice next = range_tree_next(tree, at, newest ? newest->sequence : 0);
    if (!newest) {
      at = next;
      continue;
    }
    struct range_delete range = {.from = at, .to = range_entry_end(newest), .sequence = newest->sequence};
    if (next.data && key_compare(next, range.to) < 0) range.to = next;
    if (!range_buffer_add(mem, out, &range)) {
      range_buffer_release(mem, out);
      return false;
    }
    at = range.to;
  }
  return true;
}

/* ---- iterator ------------------------------------------------------------------------------------------------- */

struct memtable_iterator {
  struct iterator base;
  struct memtable *table;
  uint64_t sequence;             /* of the view: newer versions are not there */
  struct map_position position;  /* of entry, when the table still has `records` */
  const struct map_entry *entry; /* yielded; NULL when it stands nowhere */
  uint64_t records;
  struct key_span cover; /* of one range delete, of cover_sequence; 0: of none */
  uint64_t cover_sequence;
};

/* Whether a range delete that the iterator sees hides its entry. What is newer than the range at hand may still be hidden by
 * a newer one. */
static bool hidden(struct memtable_iterator *it) {
  const struct map_entry *entry = it->entry;
  struct wodan_slice key = map_entry_key(entry);
  if (it->cover_sequence > entry->sequence && span_holds(&it->cover, key)) return true;
  const struct map_entry *range = range_tree_newest(&it->table->ranges, key, entry->sequence, it->sequence);
  if (!range) return false;
  it->cover = (struct key_span){map_entry_key(range), range_entry_end(range)};
  it->cover_sequence = range->sequence;
  return true;
}

static int iterator_yield(struct memtable_iterator *it, struct map_position position) {
  it->position = position;
  it->records = it->table->records;
  it->entry = map_position_entry(position);
  it->base.valid = it->entry != NULL;
  if (!it->entry) return 0;
  it->base.record = entry_record(it->entry);
  if (it->base.ranges && hidden(it)) {
    it->base.record.kind = RECORD_DELETE;
    it->base.record.sequence = it->cover_sequence;
    it->base.record.value = (struct wodan_slice){NULL, 0};
  }
  return 0;
}

/* The place of the current entry, found again when inserts may have moved it. */
static struct map_position iterator_place(const struct memtable_iterator *it) {
  assert(it->entry);
  if (it->records == it->table->records) return it->position;
  struct map_position place = ordered_map_seek(&it->table->map, map_entry_key(it->entry), it->entry->sequence);
  assert(map_position_entry(place) == it->entry);
  return place;
}

/* The first visible version at `position` or behind it, of another key than that of `left` (NULL: of any). */
static int settle_forward(struct memtable_iterator *it, struct map_position position, const struct map_entry *left) {
  const struct map_entry *entry;
  for (unsigned steps = 1; (entry = map_position_entry(position)); steps++) {
    bool again = left && same_key(entry, map_entry_key(left));
    if (!again && entry->sequence <= it->sequence) break;
    if (steps % STEPS_MAX == 0)
      position = ordered_map_seek(&it->table->map, map_entry_key(entry), again ? 0 : it->sequence);
    else
      position = map_position_next(position);
  }
  return iterator_yield(it, position);
}

/* Not visible, or a version of the key of `left` that was inserted after left was yielded. */
static bool passed_backward(const struct memtable_iterator *it, const struct map_entry *entry,
                            const struct map_entry *left) {
  if (entry->sequence > it->sequence) return true;
  return left && entry->sequence > left->sequence && same_key(entry, map_entry_key(left));
}

/* At `position` or before it: the newest visible version of the last key that has one, but for the key of `left`. */
static int settle_backward(struct memtable_iterator *it, struct map_position position, const struct map_entry *left) {
  const struct ordered_map *map = &it->table->map;
  const struct map_entry *entry;
  unsigned steps = 1;
  for (; (entry = map_position_entry(position)) && passed_backward(it, entry, left); steps++) {
    if (steps % STEPS_MAX == 0) position = ordered_map_seek(map, map_entry_key(entry), UINT64_MAX);
    position = map_position_prev(map, position);
  }
  if (!entry) return iterator_yield(it, position);
  for (steps = 1;; steps++) {
    struct map_position before = map_position_prev(map, position);
    const struct map_entry *newer = map_position_entry(before);
    if (!newer || newer->sequence > it->sequence || !same_key(newer, map_entry_key(entry))) break;
    position = before;
    if (steps < STEPS_MAX) continue;
    position = ordered_map_seek(map, map_entry_key(entry), it->sequence);
    break;
  }
  return iterator_yield(it, position);
}

static int iterator_op_first(struct iterator *base, struct wodan_error *error) {
  (void)error;
  struct memtable_iterator *it = (struct memtable_iterator *)base;
  return settle_forward(it, ordered_map_first(&it->table->map), NULL);
}

static int iterator_op_last(struct iterator *base, struct wodan_error *error) {
  (void)error;
  struct memtable_iterator *it = (struct memtable_iterator *)base;
  return settle_backward(it, map_position_prev(&it->table->map, (struct map_position){NULL, 0}), NULL);
}

static int iterator_op_seek(struct iterator *base, struct wodan_slice key, struct wodan_error *error) {
  (void)error;
  struct memtable_iterator *it = (struct memtable_iterator *)base;
  return settle_forward(it, ordered_map_seek(&it->table->map, key, it->sequence), NULL);
}

static int iterator_op_seek_back(struct iterator *base, struct wodan_slice key, struct wodan_error *error) {
  (void)error;
  struct memtable_iterator *it = (struct memtable_iterator *)base;
  struct map_position position = ordered_map_seek(&it->table->map, key, it->sequence);
  const struct map_entry *entry = map_position_entry(position);
  if (entry && same_key(entry, key)) return iterator_yield(it, position);
  return settle_backward(it, map_position_prev(&it->table->map, position), NULL);
}

static int iterator_op_next(struct iterator *base, struct wodan_error *error) {
  (void)error;
  struct memtable_iterator *it = (struct memtable_iterator *)base;
  assert(base->valid);
  return settle_forward(it, map_position_next(iterator_place(it)), it->entry);
}

static int iterator_op_prev(struct iterator *base, struct wodan_error *error) {
  (void)error;
  struct memtable_iterator *it = (struct memtable_iterator *)base;
  assert(base->valid);
  return settle_backward(it, map_position_prev(&it->table->map, iterator_place(it)), it->entry);
}

static void iterator_op_around(struct iterator *base, struct wodan_slice key, struct range_stretch *stretch) {
  const struct memtable_iterator *it = (const struct memtable_iterator *)base;
  const struct range_tree *tree = &it->table->ranges;
  const struct map_entry *range = range_tree_newest(tree, key, 0, it->sequence);
  stretch->covered = range != NULL;
  if (range) {
    stretch->span = (struct key_span){map_entry_key(range), range_entry_end(range)};
    return;
  }
  /* What is newer than the iterator's moment may begin or end in between: it only makes the stretch shorter. */
  struct wodan_slice reach = range_tree_reach(tree, key);
  stretch->span = (struct key_span){reach, range_tree_next(tree, key, 0)};
}

static void iterator_op_close(struct iterator *base) {
  struct memtable_iterator *it = (struct memtable_iterator *)base;
  struct memtable *table = it->table;
  mem_free(table->mem, it, sizeof *it);
  memtable_unref(table);
}

struct iterator *memtable_iterator(struct memtable *table, uint64_t sequence) {
  static const struct iterator_ops ops = {
      .first = iterator_op_first,
      .last = iterator_op_last,
      .seek = iterator_op_seek,
      .seek_back = iterator_op_seek_back,
      .next = iterator_op_next,
      .prev = iterator_op_prev,
      .around = iterator_op_around,
      .close = iterator_op_close,
  };
  struct memtable_iterator *it = mem_zalloc(table->mem, sizeof *it);
  if (!it) return NULL;
  it->base.ops = &ops;
  it->base.ranges = range_tree_has(&table->ranges, sequence);
  it->table = table;
  it->sequence = sequence;
  memtable_ref(table);
  return &it->base;
}
