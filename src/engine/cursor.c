/* Owns: cursors.
 *
 * Always true: a cursor stands on a record of its table that is not a delete, or nowhere. The state lock is taken for a
 * move only when the cursor reads a memtable that may still grow, and to remember a gap.
 *
 * See: tests/unit/test_engine_kv.c and its siblings, tests/unit/test_model.c. */
#include "engine/cursor.h"

#include <string.h>
#include "iter/merge.h"

enum { MOVES_TOLD = 64 };

static int open_sources(struct wodan_cursor *cursor, struct wodan_error *error) {
  struct wodan_view *view = &cursor->view;
  struct mem *mem = &cursor->db->readers_mem;
  uint32_t capacity = 2 + node_source_count(view->node), n = 0;
  struct iterator **sources = mem_array(mem, capacity, sizeof(struct iterator *));
  if (!sources) return status_nomem(error);
  int status = 0;
  striped_read(&cursor->db->state);
  struct memtable *tables[2] = {view->active, view->frozen};
  for (int i = 0; i < 2 && status == 0; i++) {
    if (!tables[i] || memtable_count(tables[i]) == 0) continue;
    cursor->shared |= tables[i] == cursor->db->active.table || tables[i] == cursor->db->frozen.table;
    sources[n] = memtable_iterator(tables[i], view->sequence);
    if (sources[n])
      n++;
    else
      status = status_nomem(error);
  }
  striped_read_leave(&cursor->db->state);
  if (status == 0) status = node_sources(view->node, sources + n, error);
  if (status == 0) {
    cursor->merge = merge_open(mem, sources, n + node_source_count(view->node));
    if (!cursor->merge) status = status_nomem(error);
  } else {
    while (n > 0) iterator_close(sources[--n]);
  }
  mem_array_free(mem, sources, capacity, sizeof(struct iterator *));
  return status;
}

int cursor_init(struct wodan_cursor *cursor, struct wodan_db *db, const struct wodan_view *view,
                struct wodan_error *error) {
  *cursor = (struct wodan_cursor){.db = db};
  engine_view_init(db, &cursor->view, view);
  int status = open_sources(cursor, error);
  if (status < 0) {
    engine_view_release(&cursor->view);
    engine_unpin(db);
  }
  return status;
}

static void tell_moves(struct wodan_cursor *cursor) {
  if (cursor->moves == 0) return;
  striped_add(&cursor->db->reading, READ_MOVES, cursor->moves);
  striped_add(&cursor->db->reading, READ_BYTES, cursor->moved_bytes);
  cursor->moves = 0;
  cursor->moved_bytes = 0;
}

static void forget_large(struct wodan_cursor *cursor) {
  mem_free(&cursor->db->readers_mem, cursor->large, cursor->large_size);
  cursor->large = NULL;
}

void cursor_release(struct wodan_cursor *cursor) {
  tell_moves(cursor);
  if (cursor->large) forget_large(cursor);
  iterator_close(cursor->merge);
  engine_view_release(&cursor->view);
}

static const uint8_t table_start[1] = {TABLE_DEFAULT}, table_end[1] = {TABLE_DEFAULT + 1};

static int move_once(struct wodan_cursor *cursor, enum cursor_move move, struct wodan_slice key,
                     struct wodan_error *error) {
  struct iterator *it = cursor->merge;
  switch (move) {
  case CURSOR_FIRST:
    return iterator_seek(it, (struct wodan_slice){table_start, sizeof table_start}, error);
  case CURSOR_LAST:
    return iterator_seek_back(it, (struct wodan_slice){table_end, sizeof table_end}, error);
  case CURSOR_SEEK:
    return iterator_seek(it, key, error);
  case CURSOR_SEEK_BACK:
    return iterator_seek_back(it, key, error);
  case CURSOR_NEXT:
    return iterator_next(it, error);
  case CURSOR_PREV:
    break;
  }
  return iterator_prev(it, error);
}

/* ---- moves ------------------------------------------------------------------------------------------------------ */

static bool in_table(const struct iterator *it) {
  return it->valid && ((const uint8_t *)it->record.key.data)[0] == TABLE_DEFAULT;
}

static bool on_delete(const struct iterator *it) { return in_table(it) && it->record.kind == RECORD_DELETE; }

/* Over the gap in which the cursor stands, if there is one. */
static int jump(struct wodan_cursor *cursor, bool back, bool *jumped, struct wodan_error *error) {
  struct iterator *it = cursor->merge;
  uint8_t bound[TREE_KEY_MAX + 1];
  struct wodan_slice to = {.data = bound};
  *jumped = gaps_find(cursor->db->gaps, it->record.key, cursor->view.sequence, back, bound, &to.size);
  if (!*jumped) return 0;
  return back ? iterator_seek_back(it, to, error) : iterator_seek(it, to, error);
}

/* Over deletes to the next record there is; *steps: how many there were, without those that were jumped over. */
static int pass_deletes(struct wodan_cursor *cursor, bool back, unsigned *steps, struct wodan_error *error) {
  enum { LOOK_EVERY = 32 };
  struct iterator *it = cursor->merge;
  bool jumped = false;
  int status = 0;
  for (*steps = 0; status == 0 && on_delete(it);) {
    if (!jumped && *steps % LOOK_EVERY == 0) status = jump(cursor, back, &jumped, error);
    if (status < 0 || !on_delete(it)) break;
    jumped = false;
    status = back ? iterator_prev(it, error) : iterator_next(it, error);
    ++*steps;
  }
  return status;
}

/* The key right behind this one; false: it is longer than any stored. */
static bool behind(struct wodan_slice key, uint8_t bytes[TREE_KEY_MAX + 1], struct wodan_slice *out) {
  if (key.size > TREE_KEY_MAX) return false;
  memcpy(bytes, key.data, key.size);
  bytes[key.size] = 0;
  *out = (struct wodan_slice){bytes, key.size + 1};
  return true;
}

/* From the key that was sought (NULL data: the end of the table) to where the cursor stands now there is nothing, as long as
 * nothing was written since the cursor's view. */
static void remember_gap(struct wodan_cursor *cursor, bool back, struct wodan_slice key) {
  struct wodan_db *db = cursor->db;
  const struct iterator *it = cursor->merge;
  uint8_t lower[TREE_KEY_MAX + 1], upper[TREE_KEY_MAX + 1];
  struct gap_range range = {{table_start, sizeof table_start}, {table_end, sizeof table_end}};
  if (back) {
    if (key.data && !behind(key, upper, &range.upper)) return;
    if (in_table(it) && !behind(it->record.key, lower, &range.lower)) return;
  } else {
    if (key.data) range.lower = key;
    if (in_table(it)) range.upper = it->record.key;
  }
  if (!cursor->shared) striped_read(&db->state);
  if (atomic_load_explicit(&db->sequence, memory_order_relaxed) == cursor->view.sequence)
    gaps_add(db->gaps, &range, cursor->view.sequence, back);
  if (!cursor->shared) striped_read_leave(&db->state);
}

static int move_visible(struct wodan_cursor *cursor, enum cursor_move move, struct wodan_slice key,
                        struct wodan_error *error) {
  enum { MANY = 32 };
  bool back = move == CURSOR_LAST || move == CURSOR_SEEK_BACK || move == CURSOR_PREV;
  unsigned steps = 0;
  int status = move_once(cursor, move, key, error);
  if (status == 0 && on_delete(cursor->merge)) status = pass_deletes(cursor, back, &steps, error);
  if (status < 0 || steps < MANY || move == CURSOR_NEXT || move == CURSOR_PREV) return status;
  remember_gap(cursor, back, move == CURSOR_FIRST || move == CURSOR_LAST ? (struct wodan_slice){0} : key);
  return 0;
}

/* ---- stretches ---------------------------------------------------------------------------------------------------- */

static void show(struct wodan_cursor *cursor, struct wodan_slice key, struct wodan_slice value) {
  cursor->key = (struct wodan_slice){(const uint8_t *)key.data + TABLE_ID_SIZE, key.size - TABLE_ID_SIZE};
  cursor->value = value;
  cursor->moved_bytes += cursor->key.size + value.size;
  if (++cursor->moves >= MOVES_TOLD) tell_moves(cursor);
}

/* Only behind a move on or back. */
static void try_stretch(struct wodan_cursor *cursor, bool back) {
  enum { PAUSE_MOST = 64 };
  struct glide *glide = &cursor->glide;
  if (glide->wait > 0) {
    glide->wait--;
    return;
  }
  glide->back = back;
  glide->on = iterator_stretch(cursor->merge, back, &glide->stretch);
  if (glide->on) {
    glide->pause = 0;
    return;
  }
  glide->wait = glide->pause;
  glide->pause = glide->pause < PAUSE_MOST ? 2 * glide->pause + 1 : PAUSE_MOST;
}

/* The iterators to where the cursor has got to. */
static int leave_stretch(struct wodan_cursor *cursor, struct wodan_error *error) {
  cursor->glide.on = false;
  return iterator_settle(cursor->merge, cursor->glide.stretch.at, error);
}

bool cursor_glide(struct wodan_cursor *cursor, bool back) {
  struct stretch *stretch = &cursor->glide.stretch;
  if (!cursor->glide.on || cursor->glide.back != back || stretch->at == stretch->last) return false;
  struct page_record record = page_record(&stretch->page, back ? stretch->at - 1 : stretch->at + 1);
  size_t prefix = stretch->page.prefix_size;
  if (record.kind != RECORD_PUT || prefix + record.suffix.size > stretch->key_capacity) return false;
  page_copy_suffix(&stretch->page, record.suffix, stretch->key + prefix);
  stretch->at = back ? stretch->at - 1 : stretch->at + 1;
  show(cursor, (struct wodan_slice){stretch->key, prefix + record.suffix.size}, record.value);
  return true;
}

/* ---- all together ------------------------------------------------------------------------------------------------ */

int cursor_move(struct wodan_cursor *cursor, enum cursor_move move, struct wodan_slice key, struct wodan_error *error) {
  bool steps = move == CURSOR_NEXT || move == CURSOR_PREV;
  if (steps && !cursor->valid) return WODAN_DONE;
  if (cursor->large) forget_large(cursor);
  if (cursor->shared) striped_read(&cursor->db->state);
  int status = steps && cursor->glide.on ? leave_stretch(cursor, error) : 0;
  cursor->glide.on = false;
  if (status == 0) status = move_visible(cursor, move, key, error);
  cursor->valid = status == 0 && in_table(cursor->merge);
  cursor->on_large = cursor->valid && cursor->merge->record.kind == RECORD_BLOB;
  if (steps && cursor->valid && !cursor->on_large) try_stretch(cursor, move == CURSOR_PREV);
  if (cursor->shared) striped_read_leave(&cursor->db->state);
  if (status < 0 || !cursor->valid) {
    tell_moves(cursor);
    return status < 0 ? status : WODAN_DONE;
  }
  show(cursor, cursor->merge->record.key, cursor->merge->record.value);
  return 0;
}

/* ---- large values ----------------------------------------------------------------------------------------------- */

uint64_t cursor_value_size(const struct wodan_cursor *cursor) {
  struct wodan_slice value = cursor->value;
  return cursor->on_large ? blob_ref_size(value.data, value.size) : value.size;
}

/* The cursor's view holds the blob, as all that its sources read. */
int cursor_read(struct wodan_cursor *cursor, const struct wodan_part *part, struct wodan_error *error) {
  struct wodan_db *db = cursor->db;
  if (!cursor->on_large) {
    if (part->capacity) memcpy(part->buffer, (const uint8_t *)cursor->value.data + part->offset, part->capacity);
    return 0;
  }
  struct engine_value value;
  int status = engine_large_hold(db, cursor->value, &value, error);
  if (status == 0) status = engine_large_read(db, cursor->merge->record.key, &value, part, error);
  engine_value_release(db, &value);
  if (status == 0) cursor->moved_bytes += part->capacity;
  return status;
}

struct wodan_slice cursor_large_value(struct wodan_cursor *cursor, struct wodan_error *error, int *status) {
  struct mem *mem = &cursor->db->readers_mem;
  size_t size = (size_t)cursor_value_size(cursor);
  struct engine_value value;
  *status = 0;
  if (cursor->large) return (struct wodan_slice){cursor->large, size};
  *status = engine_large_hold(cursor->db, cursor->value, &value, error); /* so the size may be believed */
  if (*status < 0) return (struct wodan_slice){NULL, size};
  engine_value_release(cursor->db, &value);
  cursor->large = mem_alloc(mem, size);
  cursor->large_size = size;
  struct wodan_part part = {.buffer = cursor->large, .capacity = size};
  *status = cursor->large ? cursor_read(cursor, &part, error)
                          : status_set(error, WODAN_ENOMEM, 0, WODAN_NO_BLOCK,
                                       "no memory for readers to hold a value of %zu bytes: read it in parts", size);
  if (*status < 0 && cursor->large) forget_large(cursor);
  return (struct wodan_slice){cursor->large, size};
}
