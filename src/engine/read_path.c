/* Owns: views and point lookups.
 *
 * Always true: a view holds references of both memtables and the node; a lookup without a view holds the state lock only
 * while it looks in memory, and a reference of the node while it reads the tree, so it never waits for a writer's device
 * I/O nor a writer for its.
 *
 * See: DESIGN.md "Reading", tests/unit/test_engine_kv.c and its siblings. */
#include "engine/engine.h"

/* Caller holds state. */
static void capture(struct wodan_db *db, struct wodan_view *view) {
  view->db = db;
  view->active = db->active.table;
  view->frozen = db->frozen.table;
  view->node = db->node;
  view->drained = db->drained;
  view->sequence = atomic_load_explicit(&db->sequence, memory_order_relaxed);
  memtable_ref(view->active);
  if (view->frozen) memtable_ref(view->frozen);
  node_ref(view->node);
}

void engine_view_init(struct wodan_db *db, struct wodan_view *view, const struct wodan_view *source) {
  if (source) { /* its links belong to the list of views, which others change meanwhile */
    view->db = db;
    view->active = source->active;
    view->frozen = source->frozen;
    view->node = source->node;
    view->sequence = source->sequence;
    view->drained = source->drained;
    memtable_ref(view->active);
    if (view->frozen) memtable_ref(view->frozen);
    node_ref(view->node);
  } else {
    striped_read(&db->state);
    capture(db, view);
    striped_read_leave(&db->state);
  }
  striped_add(&db->reading, READ_PINS, 1);
  lock_acquire(&db->views_lock);
  view->newer = NULL;
  view->older = db->newest_view;
  *(view->older ? &view->older->newer : &db->oldest_view) = view;
  db->newest_view = view;
  lock_leave(&db->views_lock);
}

void engine_view_release(struct wodan_view *view) {
  struct wodan_db *db = view->db;
  lock_acquire(&db->views_lock);
  *(view->older ? &view->older->newer : &db->oldest_view) = view->newer;
  *(view->newer ? &view->newer->older : &db->newest_view) = view->older;
  lock_leave(&db->views_lock);
  memtable_unref(view->active);
  if (view->frozen) memtable_unref(view->frozen);
  node_unref(view->node);
}

void engine_unpin(struct wodan_db *db) { striped_take(&db->reading, READ_PINS, 1); }

/* ---- lookups ---------------------------------------------------------------------------------------------------- */

/* What lookups look at: fields of a view. */
struct moment {
  struct memtable *tables[2];
  struct node *node;
  uint64_t sequence, drained;
};

/* Caller holds state. */
static struct moment moment_of(const struct wodan_db *db, const struct wodan_view *view) {
  if (view) return (struct moment){{view->active, view->frozen}, view->node, view->sequence, view->drained};
  return (struct moment){{db->active.table, db->frozen.table}, db->node, UINT64_MAX, db->drained};
}

/* In memtables, newest first. WODAN_ENOTFOUND: ask the tree. On success *table gets a reference. */
static int look_in_tables(const struct moment *at, struct wodan_slice key, uint64_t hash, struct record *record,
                          struct memtable **table) {
  for (int i = 0; i < 2; i++) {
    if (!at->tables[i] || memtable_get(at->tables[i], key, hash, at->sequence, record) != 0) continue;
    if (record->kind == RECORD_DELETE) return 0;
    *table = at->tables[i];
    memtable_ref(*table);
    return 0;
  }
  return WODAN_ENOTFOUND;
}

void engine_value_release(struct wodan_db *db, struct engine_value *value) {
  if (value->pin) cache_unpin(value->pin);
  if (value->table) memtable_unref(value->table);
  if (value->blob) blobs_drop(db->blobs, value->blob);
  *value = (struct engine_value){0};
}

/* What a record says, with what holds it: takes over pin and table. Called while whatever the record was read from is still
 * there, so that its blob is held by somebody. */
static int take_value(struct wodan_db *db, const struct record *record, struct engine_value *value,
                      struct wodan_error *error) {
  if (record->kind == RECORD_PUT) {
    value->size = record->value.size;
    value->bytes = record->value.data;
    return 0;
  }
  struct engine_value large = {0};
  int status = record->kind == RECORD_BLOB ? engine_large_hold(db, record->value, &large, error) : WODAN_ENOTFOUND;
  engine_value_release(db, value);
  *value = status == 0 ? large : (struct engine_value){0};
  return status;
}

/* The tree's answer without the tree. WODAN_ENOTFOUND: ask it. */
static int look_at_location(struct wodan_db *db, const struct location *where, struct wodan_slice key,
                            struct record *record, struct frame **pin) {
  engine_locate_ask(db, where);
  struct frame *frame = engine_locate_page(db, where);
  if (!frame || !engine_locate_take(db, frame, where, key, record)) return WODAN_ENOTFOUND;
  *pin = frame;
  return 0;
}

int engine_get(struct wodan_db *db, struct wodan_view *view, struct wodan_slice key, struct engine_value *value,
               struct wodan_error *error) {
  struct record record;
  struct location where;
  uint64_t hash = memtable_hash(key);
  bool asked = engine_locate_begin(db, hash);
  *value = (struct engine_value){0};
  striped_read(&db->state);
  struct moment at = moment_of(db, view);
  int status = look_in_tables(&at, key, hash, &record, &value->table);
  if (status == WODAN_ENOTFOUND && asked && engine_locate(db, hash, at.drained, &where))
    status = look_at_location(db, &where, key, &record, &value->pin);
  bool in_tree = status == WODAN_ENOTFOUND;
  if (in_tree) node_ref(at.node);
  striped_read_leave(&db->state);
  if (in_tree) status = node_get(at.node, key, &record, &value->pin, error);
  if (in_tree) engine_locate_learn(db, hash, at.drained, status, &record, value->pin);
  if (status == 0) status = take_value(db, &record, value, error);
  if (in_tree) node_unref(at.node);
  return status;
}

/* What a lookup found, as the caller wants it: no deletes. */
static void settle_lookup(struct wodan_db *db, struct engine_lookup *lookup, struct wodan_error *error) {
  struct node_lookup *found = &lookup->in_tree;
  lookup->value = (struct engine_value){0};
  if (found->status) return;
  lookup->value.pin = found->pin;
  lookup->value.table = lookup->table;
  found->status = take_value(db, &found->record, &lookup->value, error);
}

/* Those of whom the memtables know nothing, step by step: where they are, their pages, their records. Puts those that are
 * left for the tree into `left`; returns how many. Caller holds state. */
static size_t look_around(struct wodan_db *db, const struct moment *at, struct engine_lookup *lookups, size_t count,
                          struct engine_lookup **left) {
  bool known[NODE_MANY];
  size_t left_count = 0;
  for (size_t i = 0; i < count; i++) {
    struct node_lookup *lookup = &lookups[i].in_tree;
    known[i] = false;
    if (lookup->status) continue;
    lookup->status = look_in_tables(at, lookup->key, lookups[i].hash, &lookup->record, &lookups[i].table);
    if (lookup->status == WODAN_ENOTFOUND && lookups[i].asked)
      known[i] = engine_locate(db, lookups[i].hash, at->drained, &lookups[i].location);
    if (lookup->status == WODAN_ENOTFOUND && !known[i]) left[left_count++] = &lookups[i];
  }
  for (size_t i = 0; i < count; i++) /* nothing else in this loop: else few page walks overlap */
    if (known[i]) engine_locate_ask(db, &lookups[i].location);
  for (size_t i = 0; i < count; i++)
    if (known[i]) lookups[i].in_tree.pin = engine_locate_page(db, &lookups[i].location);
  for (size_t i = 0; i < count; i++) {
    struct node_lookup *lookup = &lookups[i].in_tree;
    if (!known[i]) continue;
    if (lookup->pin && engine_locate_take(db, lookup->pin, &lookups[i].location, lookup->key, &lookup->record)) {
      lookup->status = 0;
    } else {
      lookup->pin = NULL;
      left[left_count++] = &lookups[i];
    }
  }
  return left_count;
}

static void look_in_tree(struct wodan_db *db, const struct moment *at, struct engine_lookup *const *left, size_t count,
                         struct wodan_error *error) {
  struct node_lookup *lookups[NODE_MANY];
  for (size_t i = 0; i < count; i++) lookups[i] = &left[i]->in_tree;
  node_get_many(at->node, lookups, count, error);
  for (size_t i = 0; i < count; i++)
    engine_locate_learn(db, left[i]->hash, at->drained, lookups[i]->status, &lookups[i]->record, lookups[i]->pin);
}

void engine_get_many(struct wodan_db *db, struct wodan_view *view, struct engine_lookup *lookups, size_t count,
                     struct wodan_error *error) {
  struct engine_lookup *left[NODE_MANY];
  for (size_t i = 0; i < count; i++) {
    lookups[i].in_tree.pin = NULL;
    lookups[i].table = NULL;
    if (lookups[i].in_tree.status) continue;
    lookups[i].hash = memtable_hash(lookups[i].in_tree.key);
  }
  for (size_t i = 0; i < count; i++)
    if (lookups[i].in_tree.status == 0) lookups[i].asked = engine_locate_begin(db, lookups[i].hash);
  striped_read(&db->state);
  struct moment at = moment_of(db, view);
  size_t left_count = look_around(db, &at, lookups, count, left);
  if (left_count) node_ref(at.node);
  striped_read_leave(&db->state);
  if (left_count) look_in_tree(db, &at, left, left_count, error);
  for (size_t i = 0; i < count; i++) settle_lookup(db, &lookups[i], error);
  if (left_count) node_unref(at.node);
}
