/* Owns: include/wodan/cursor.h. See: tests/unit/test_engine_kv.c and its siblings. */
#include "api/api.h"
#include "engine/cursor.h"

int wodan_cursor_open(struct wodan_db *db, struct wodan_view *view, struct wodan_cursor **cursor) {
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  if (!db || !cursor) return api_missing(db, "the place for the cursor");
  if (api_view(db, view, &error) < 0) return api_result(db, WODAN_EINVAL, &error);
  *cursor = mem_zalloc(&db->readers_mem, sizeof **cursor);
  if (!*cursor) return api_result(db, status_nomem(&error), &error);
  int status = cursor_init(*cursor, db, view, &error);
  if (status == 0) return 0;
  mem_free(&db->readers_mem, *cursor, sizeof **cursor);
  *cursor = NULL;
  return api_result(db, status, &error);
}

void wodan_cursor_close(struct wodan_cursor *cursor) {
  if (!cursor) return;
  struct wodan_db *db = cursor->db;
  cursor_release(cursor);
  mem_free(&db->readers_mem, cursor, sizeof *cursor);
  engine_unpin(db); /* the database may be closed as soon as the last pin falls */
}

static int move(struct wodan_cursor *cursor, enum cursor_move how, struct wodan_slice key) {
  struct wodan_error error;
  if (!cursor) return WODAN_EINVAL;
  api_error_begin(&error);
  return api_result(cursor->db, cursor_move(cursor, how, key, &error), &error);
}

int wodan_cursor_first(struct wodan_cursor *cursor) { return move(cursor, CURSOR_FIRST, (struct wodan_slice){0}); }
int wodan_cursor_last(struct wodan_cursor *cursor) { return move(cursor, CURSOR_LAST, (struct wodan_slice){0}); }

int wodan_cursor_next(struct wodan_cursor *cursor) {
  return cursor && cursor_glide(cursor, false) ? 0 : move(cursor, CURSOR_NEXT, (struct wodan_slice){0});
}

int wodan_cursor_prev(struct wodan_cursor *cursor) {
  return cursor && cursor_glide(cursor, true) ? 0 : move(cursor, CURSOR_PREV, (struct wodan_slice){0});
}

/* Any key may be sought: an empty one stands before all, one beyond the limit is longer than every stored key. */
static int seek(struct wodan_cursor *cursor, enum cursor_move how, struct wodan_slice key) {
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  if (!cursor || (key.size && !key.data)) return api_missing(cursor ? cursor->db : NULL, "the key");
  struct mem *mem = &cursor->db->user_mem;
  struct api_key small;
  size_t size = TABLE_ID_SIZE + key.size;
  uint8_t *bytes = size <= sizeof small ? small.bytes : mem_alloc(mem, size);
  if (!bytes) return api_result(cursor->db, status_nomem(&error), &error);
  bytes[0] = TABLE_DEFAULT;
  if (key.size) memcpy(bytes + TABLE_ID_SIZE, key.data, key.size);
  int status = move(cursor, how, (struct wodan_slice){bytes, size});
  if (bytes != small.bytes) mem_free(mem, bytes, size);
  return status;
}

int wodan_cursor_seek(struct wodan_cursor *cursor, struct wodan_slice key) { return seek(cursor, CURSOR_SEEK, key); }
int wodan_cursor_seek_back(struct wodan_cursor *cursor, struct wodan_slice key) {
  return seek(cursor, CURSOR_SEEK_BACK, key);
}

struct wodan_slice wodan_cursor_key(const struct wodan_cursor *cursor) {
  return cursor && cursor->valid ? cursor->key : (struct wodan_slice){0};
}

struct wodan_slice wodan_cursor_value(struct wodan_cursor *cursor) {
  struct wodan_error error;
  int status;
  if (!cursor || !cursor->valid) return (struct wodan_slice){0};
  if (!cursor->on_large) return cursor->value;
  api_error_begin(&error);
  struct wodan_slice value = cursor_large_value(cursor, &error, &status);
  api_result(cursor->db, status, &error);
  return value;
}

int wodan_cursor_read(struct wodan_cursor *cursor, struct wodan_part *part) {
  struct wodan_error error;
  if (!cursor || !part || (part->capacity && !part->buffer))
    return api_missing(cursor ? cursor->db : NULL, "the buffer");
  part->size = 0;
  part->value_size = 0;
  if (!cursor->valid) return WODAN_DONE;
  api_error_begin(&error);
  struct wodan_part inside = api_part_inside(part, cursor_value_size(cursor));
  int status = cursor_read(cursor, &inside, &error);
  if (status == 0) api_part_done(part, &inside);
  return api_result(cursor->db, status, &error);
}
