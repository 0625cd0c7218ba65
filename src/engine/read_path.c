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
    memtable_ref(view->active);
    if (view->frozen) memtable_ref(view->frozen);
    node_ref(view->node);
  } else {
    rwlock_read(&db->state);
    capture(db, view);
    rwlock_read_leave(&db->state);
  }
  count(&db->pins, 1);
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

void engine_unpin(struct wodan_db *db) { atomic_fetch_sub(&db->pins, 1); }

/* In memory, newest first. WODAN_ENOTFOUND: ask the tree. On success *table gets a reference. */
static int look_in_memory(struct memtable *active, struct memtable *frozen, struct wodan_slice key, uint64_t sequence,
                          struct record *record, struct memtable **table) {
  struct memtable *tables[2] = {active, frozen};
  for (int i = 0; i < 2; i++) {
    if (!tables[i] || memtable_get(tables[i], key, sequence, record) != 0) continue;
    if (record->kind == RECORD_DELETE) return 0;
    *table = tables[i];
    memtable_ref(*table);
    return 0;
  }
  return WODAN_ENOTFOUND;
}

int engine_get(struct wodan_db *db, struct wodan_view *view, struct wodan_slice key, struct wodan_slice *value,
               struct frame **pin, struct memtable **table, struct wodan_error *error) {
  struct record record;
  struct node *node = NULL;
  int status;
  *pin = NULL;
  *table = NULL;
  rwlock_read(&db->state);
  if (view) {
    status = look_in_memory(view->active, view->frozen, key, view->sequence, &record, table);
    node = view->node;
  } else {
    status = look_in_memory(db->active.table, db->frozen.table, key, UINT64_MAX, &record, table);
    node = db->node;
  }
  if (status == WODAN_ENOTFOUND) node_ref(node);
  rwlock_read_leave(&db->state);
  if (status == WODAN_ENOTFOUND) {
    status = node_get(node, key, &record, pin, error);
    if (status == 0 && record.kind == RECORD_DELETE) {
      cache_unpin(*pin);
      *pin = NULL;
    }
    node_unref(node);
  }
  if (status < 0) return status;
  if (record.kind == RECORD_DELETE) return WODAN_ENOTFOUND;
  *value = record.value;
  return 0;
}

/* What a lookup found, as the caller wants it: no deletes. */
static void settle_lookup(struct engine_lookup *lookup) {
  struct node_lookup *found = &lookup->in_tree;
  if (found->status) return;
  if (found->record.kind == RECORD_DELETE) {
    if (found->pin) cache_unpin(found->pin);
    found->pin = NULL;
    found->status = WODAN_ENOTFOUND;
    return;
  }
  lookup->value = found->record.value;
}

void engine_get_many(struct wodan_db *db, struct wodan_view *view, struct engine_lookup *lookups, size_t count,
                     struct wodan_error *error) {
  struct node_lookup *left[NODE_MANY];
  size_t left_count = 0;
  rwlock_read(&db->state);
  struct memtable *active = view ? view->active : db->active.table, *frozen = view ? view->frozen : db->frozen.table;
  struct node *node = view ? view->node : db->node;
  uint64_t sequence = view ? view->sequence : UINT64_MAX;
  for (size_t i = 0; i < count; i++) {
    struct node_lookup *lookup = &lookups[i].in_tree;
    lookup->pin = NULL;
    lookups[i].table = NULL;
    if (lookup->status) continue;
    lookup->status = look_in_memory(active, frozen, lookup->key, sequence, &lookup->record, &lookups[i].table);
    if (lookup->status == WODAN_ENOTFOUND) left[left_count++] = lookup;
  }
  if (left_count) node_ref(node);
  rwlock_read_leave(&db->state);
  if (left_count) {
    node_get_many(node, left, left_count, error);
    node_unref(node);
  }
  for (size_t i = 0; i < count; i++) settle_lookup(&lookups[i]);
}
