/* Owns: include/wodan/kv.h: point operations and batches. Always true: nothing of the caller's is kept; a batch holds
 * its operations encoded as engine.h says. See: tests/unit/test_engine_kv.c and its siblings. */
#include "api/api.h"

int api_lookup(struct wodan_db *db, struct wodan_view *view, struct wodan_slice key, struct api_found *found,
               struct wodan_error *error) {
  striped_add(&db->reading, READ_GETS, 1);
  int status = api_key(db, key, &found->buffer, &found->key, error);
  if (status == 0) status = api_view(db, view, error);
  if (status == 0) status = engine_get(db, view, found->key, &found->value, error);
  if (status < 0) striped_add(&db->reading, READ_MISSES, 1);
  return status;
}

int api_copy_value(struct wodan_db *db, struct wodan_slice key, const struct engine_value *value,
                   const struct wodan_part *part, struct wodan_error *error) {
  if (part->capacity == 0) return 0;
  striped_add(&db->reading, READ_BYTES, part->capacity);
  if (!value->bytes) return engine_large_read(db, key, value, part, error);
  memcpy(part->buffer, (const uint8_t *)value->bytes + part->offset, part->capacity);
  return 0;
}

/* All of it. */
static int copy_whole(struct wodan_db *db, const struct api_found *found, void *buffer, struct wodan_error *error) {
  struct wodan_part part = {.buffer = buffer, .capacity = (size_t)found->value.size};
  return api_copy_value(db, found->key, &found->value, &part, error);
}

int wodan_get(struct wodan_db *db, struct wodan_view *view, struct wodan_slice key, void *buffer, size_t capacity,
              size_t *size) {
  struct wodan_error error;
  struct api_found found;
  api_error_begin(&error);
  if (!db || !size || (capacity && !buffer)) return api_missing(db, size ? "the buffer" : "the place for the size");
  int status = api_lookup(db, view, key, &found, &error);
  if (status < 0) return api_result(db, status, &error);
  *size = (size_t)found.value.size;
  if (*size > capacity)
    status = status_set(&error, WODAN_ERANGE, 0, WODAN_NO_BLOCK, "the value has %zu bytes, the buffer only %zu", *size,
                        capacity);
  else
    status = copy_whole(db, &found, buffer, &error);
  engine_value_release(db, &found.value);
  return api_result(db, status, &error);
}

int wodan_get_alloc(struct wodan_db *db, struct wodan_view *view, struct wodan_slice key, void **value, size_t *size) {
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  struct api_found found;
  if (!db || !value || !size) return api_missing(db, value ? "the place for the size" : "the place for the value");
  int status = api_lookup(db, view, key, &found, &error);
  if (status < 0) return api_result(db, status, &error);
  *size = (size_t)found.value.size;
  *value = api_own(db, *size);
  status = *value ? copy_whole(db, &found, *value, &error) : status_nomem(&error);
  if (status < 0 && *value) {
    wodan_free(db, *value);
    *value = NULL;
  }
  engine_value_release(db, &found.value);
  return api_result(db, status, &error);
}

/* A value found becomes one to be unpinned: takes over what holds it, or releases that. A large one is read, or was before. */
static int pin_value(struct wodan_db *db, struct wodan_slice key, struct engine_value *value,
                     struct wodan_pinned *pinned, struct wodan_error *error) {
  size_t size = (size_t)value->size;
  *pinned = (struct wodan_pinned){.value = {value->bytes, size}, .owner = {value->pin, value->table, NULL}};
  if (value->bytes) return 0;
  struct value_buffer *buffer;
  int status = engine_large_pin(db, key, value, &buffer, error);
  engine_value_release(db, value);
  *pinned = (struct wodan_pinned){0};
  if (status == 0)
    *pinned = (struct wodan_pinned){.value = {values_bytes(buffer), size}, .owner = {NULL, NULL, buffer}};
  return status;
}

int wodan_get_pinned(struct wodan_db *db, struct wodan_view *view, struct wodan_slice key,
                     struct wodan_pinned *pinned) {
  struct wodan_error error;
  struct api_found found;
  api_error_begin(&error);
  if (!db || !pinned) return api_missing(db, "the place for the value");
  *pinned = (struct wodan_pinned){0};
  int status = api_lookup(db, view, key, &found, &error);
  if (status == 0) status = pin_value(db, found.key, &found.value, pinned, &error);
  if (status == 0) striped_add(&db->reading, READ_PINS, 1);
  if (status == 0) striped_add(&db->reading, READ_BYTES, pinned->value.size);
  return api_result(db, status, &error);
}

/* false: there was nothing pinned. */
static bool let_go(struct wodan_db *db, struct wodan_pinned *pinned) {
  if (!pinned->owner[0] && !pinned->owner[1] && !pinned->owner[2]) return false;
  struct engine_value value = {.pin = pinned->owner[0], .table = pinned->owner[1]};
  engine_value_release(db, &value);
  if (pinned->owner[2]) values_unpin(db->values, pinned->owner[2]);
  *pinned = (struct wodan_pinned){0};
  return true;
}

void wodan_unpin(struct wodan_db *db, struct wodan_pinned *pinned) {
  if (db && pinned && let_go(db, pinned)) striped_take(&db->reading, READ_PINS, 1);
}

/* ---- several at once -------------------------------------------------------------------------------------------- */

/* Keys of one pass: at most NODE_MANY, and as many as fit behind their table ids. */
struct pass {
  struct engine_lookup lookups[NODE_MANY];
  size_t count, used;
  uint8_t bytes[2 * TREE_KEY_MAX];
};

/* Takes the next keys; returns how many. A key that cannot be one has its answer already. */
static size_t pass_take(const struct wodan_db *db, struct pass *pass, const struct wodan_slice *keys, size_t count,
                        struct wodan_error *error) {
  pass->used = 0;
  for (pass->count = 0; pass->count < count && pass->count < NODE_MANY; pass->count++) {
    struct wodan_slice key = keys[pass->count];
    struct node_lookup *lookup = &pass->lookups[pass->count].in_tree;
    lookup->status = api_key_check(db, key, error);
    if (lookup->status < 0) continue;
    if (key.size + TABLE_ID_SIZE > sizeof pass->bytes - pass->used) break;
    uint8_t *bytes = pass->bytes + pass->used;
    bytes[0] = TABLE_DEFAULT;
    memcpy(bytes + TABLE_ID_SIZE, key.data, key.size);
    lookup->key = (struct wodan_slice){bytes, TABLE_ID_SIZE + key.size};
    pass->used += lookup->key.size;
  }
  return pass->count;
}

/* Hands out what the pass found; returns its last failure, or 0. */
static int pass_give(struct wodan_db *db, struct pass *pass, struct wodan_pinned *pinned, int *statuses,
                     struct wodan_error *error) {
  uint64_t found = 0, pins = 0, bytes = 0;
  int failure = 0;
  for (size_t i = 0; i < pass->count; i++) {
    struct engine_lookup *lookup = &pass->lookups[i];
    int status = lookup->in_tree.status;
    pinned[i] = (struct wodan_pinned){0};
    if (status == 0) found++;
    if (status == 0) status = pin_value(db, lookup->in_tree.key, &lookup->value, &pinned[i], error);
    if (status == 0) pins++;
    bytes += pinned[i].value.size;
    statuses[i] = status;
    if (status < 0 && status != WODAN_ENOTFOUND) failure = status;
  }
  striped_add(&db->reading, READ_PINS, pins);
  striped_add(&db->reading, READ_GETS, pass->count);
  striped_add(&db->reading, READ_MISSES, pass->count - found);
  striped_add(&db->reading, READ_BYTES, bytes);
  return failure;
}

int wodan_get_many(struct wodan_db *db, struct wodan_view *view, const struct wodan_slice *keys, size_t count,
                   struct wodan_pinned *pinned, int *statuses) {
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  struct pass pass;
  int failure = 0;
  if (!db || (count && (!keys || !pinned || !statuses))) return api_missing(db, "an array");
  if (api_view(db, view, &error) < 0) return api_result(db, WODAN_EINVAL, &error);
  for (size_t at = 0, taken; at < count; at += taken) {
    taken = pass_take(db, &pass, keys + at, count - at, &error);
    engine_get_many(db, view, pass.lookups, taken, &error);
    int status = pass_give(db, &pass, pinned + at, statuses + at, &error);
    if (status < 0) failure = status;
  }
  return api_result(db, failure, &error);
}

void wodan_unpin_many(struct wodan_db *db, struct wodan_pinned *pinned, size_t count) {
  uint64_t held = 0;
  for (size_t i = 0; db && pinned && i < count; i++) held += let_go(db, &pinned[i]);
  if (held) striped_take(&db->reading, READ_PINS, held);
}

/* ---- one operation ---------------------------------------------------------------------------------------------- */

static void encode_header(uint8_t *out, uint8_t kind, size_t key_size, size_t value_size) {
  out[0] = kind;
  store_u32(out + 1, (uint32_t)key_size);
  store_u32(out + 5, (uint32_t)value_size);
}

int api_commit_begin(struct wodan_commit *commit, struct wodan_error *error) {
  if (!commit) return 0;
  commit->reached = WODAN_BUFFERED;
  commit->sequence = 0;
  if (commit->durability <= WODAN_DURABLE) return 0;
  return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "durability %u is not known", (unsigned)commit->durability);
}

enum { VALUE_INLINE_MAX = 16384 / 4, OPERATION_MAX = OPERATION_HEADER + TREE_KEY_MAX + VALUE_INLINE_MAX };

/* One operation of the user's, with its keys as tree keys: in the buffers, which make it stay where it is. */
struct operation {
  uint8_t kind;
  struct wodan_slice key, value; /* of a range: where it ends; of a large value: its reference, in room */
  size_t user_bytes;
  struct api_key buffers[2];
  uint8_t room[VALUE_INLINE_MAX];
};

static size_t operation_size(const struct operation *op) { return OPERATION_HEADER + op->key.size + op->value.size; }

static void operation_encode(const struct operation *op, uint8_t *out) {
  encode_header(out, op->kind, op->key.size, op->value.size);
  memcpy(out + OPERATION_HEADER, op->key.data, op->key.size);
  if (op->value.size) memcpy(out + OPERATION_HEADER + op->key.size, op->value.data, op->value.size);
}

static void operations_count(struct operations *operations, const struct operation *op) {
  operations->size += operation_size(op);
  operations->count++;
  operations->payload += op->key.size + op->value.size;
  operations->encoded += record_weight(&(struct record){.kind = op->kind, .key = op->key, .value = op->value});
  operations->user_bytes += op->user_bytes;
  operations->deletes_only &= op->kind != RECORD_PUT && op->kind != RECORD_BLOB;
  operations->ranges += op->kind == RECORD_DELETE_RANGE;
}

static int key_operation(const struct wodan_db *db, uint8_t kind, struct wodan_slice key, struct wodan_slice value,
                         struct operation *op, struct wodan_error *error) {
  op->kind = kind;
  op->value = value;
  op->user_bytes = key.size + value.size;
  int status = api_key(db, key, &op->buffers[0], &op->key, error);
  return status == 0 ? api_value(db, value, error) : status;
}

/* What stands in a record for a value: itself, or the reference of a large one, which is written by this: then the kind is
 * RECORD_BLOB and the blob is held until drop_value. */
static int store_value(struct wodan_db *db, struct operation *op, struct wodan_error *error) {
  struct wodan_slice value = op->value;
  if (op->kind != RECORD_PUT || value.size <= engine_value_inline(db)) return 0;
  op->value.data = op->room;
  int status = engine_large_write(db, op->key, value, op->room, &op->value.size, error);
  if (status == 0) op->kind = RECORD_BLOB;
  return status;
}

static void drop_value(struct wodan_db *db, const struct operation *op) {
  if (op->kind == RECORD_BLOB) engine_large_drop(db, op->value);
}

/* *empty: there is nothing between them. */
static int range_operation(const struct wodan_db *db, const struct wodan_slice *from, const struct wodan_slice *to,
                           struct operation *op, bool *empty, struct wodan_error *error) {
  op->kind = RECORD_DELETE_RANGE;
  op->user_bytes = (from ? from->size : 0) + (to ? to->size : 0);
  int status = api_bound(db, from, TABLE_DEFAULT, &op->buffers[0], &op->key, error);
  if (status == 0) status = api_bound(db, to, TABLE_DEFAULT + 1, &op->buffers[1], &op->value, error);
  *empty = status == 0 && !range_sound(op->key, op->value);
  return status;
}

static int commit_one(struct wodan_db *db, const struct operation *op, struct wodan_commit *commit,
                      struct wodan_error *error) {
  uint8_t bytes[OPERATION_MAX];
  struct operations operations = {.bytes = bytes, .deletes_only = true};
  operation_encode(op, bytes);
  operations_count(&operations, op);
  return engine_commit(db, &operations, commit, error);
}

int api_commit_one(struct wodan_db *db, const struct record *record, uint64_t user_bytes, struct wodan_commit *commit,
                   struct wodan_error *error) {
  struct operation op = {
      .kind = record->kind, .key = record->key, .value = record->value, .user_bytes = (size_t)user_bytes};
  return commit_one(db, &op, commit, error);
}

static int write_one(struct wodan_db *db, uint8_t kind, struct wodan_slice key, struct wodan_slice value,
                     struct wodan_commit *commit) {
  struct wodan_error error;
  struct operation op;
  api_error_begin(&error);
  if (!db) return WODAN_EINVAL;
  int status = api_commit_begin(commit, &error);
  if (status == 0) status = key_operation(db, kind, key, value, &op, &error);
  if (status == 0) status = store_value(db, &op, &error);
  if (status < 0) return api_result(db, status, &error);
  status = commit_one(db, &op, commit, &error);
  drop_value(db, &op);
  return api_result(db, status, &error);
}

int wodan_put(struct wodan_db *db, struct wodan_slice key, struct wodan_slice value, struct wodan_commit *commit) {
  return write_one(db, RECORD_PUT, key, value, commit);
}

int wodan_delete(struct wodan_db *db, struct wodan_slice key, struct wodan_commit *commit) {
  return write_one(db, RECORD_DELETE, key, (struct wodan_slice){0}, commit);
}

int wodan_delete_range(struct wodan_db *db, const struct wodan_slice *from, const struct wodan_slice *to,
                       struct wodan_commit *commit) {
  struct wodan_error error;
  struct operation op;
  bool empty = false;
  api_error_begin(&error);
  if (!db) return WODAN_EINVAL;
  int status = api_commit_begin(commit, &error);
  if (status == 0) status = range_operation(db, from, to, &op, &empty, &error);
  struct operations none = {.deletes_only = true};
  if (status == 0) status = empty ? engine_commit(db, &none, commit, &error) : commit_one(db, &op, commit, &error);
  return api_result(db, status, &error);
}

/* ---- batches ---------------------------------------------------------------------------------------------------- */

struct wodan_batch {
  struct wodan_db *db;
  uint8_t *bytes;
  size_t capacity;
  struct operations operations;
  size_t blobs; /* operations with a large value */
};

int wodan_batch_create(struct wodan_db *db, struct wodan_batch **batch) {
  struct wodan_error error;
  if (!db || !batch) return api_missing(db, "the place for the batch");
  *batch = mem_zalloc(&db->user_mem, sizeof **batch);
  if (!*batch) return api_result(db, status_nomem(&error), &error);
  (*batch)->db = db;
  (*batch)->operations.deletes_only = true;
  count(&db->batches, 1);
  return 0;
}

static int batch_add(struct wodan_batch *batch, const struct operation *op, struct wodan_error *error) {
  struct wodan_db *db = batch->db;
  struct operations *ops = &batch->operations;
  uint64_t encoded =
      ops->encoded + record_weight(&(struct record){.kind = op->kind, .key = op->key, .value = op->value});
  if (encoded > engine_batch_max(db))
    return status_set(error, WODAN_ETOOBIG, 0, WODAN_NO_BLOCK,
                      "the batch would have %llu bytes, this volume allows %llu", (unsigned long long)encoded,
                      (unsigned long long)engine_batch_max(db));
  void *bytes = batch->bytes;
  bool room = mem_array_grow(&db->user_mem, &bytes, &batch->capacity, ops->size + operation_size(op), 1);
  batch->bytes = bytes;
  if (!room) return status_nomem(error);
  operation_encode(op, batch->bytes + ops->size);
  ops->bytes = batch->bytes;
  operations_count(ops, op);
  batch->blobs += op->kind == RECORD_BLOB;
  return 0;
}

static int batch_key(struct wodan_batch *batch, uint8_t kind, struct wodan_slice key, struct wodan_slice value) {
  struct wodan_error error;
  struct operation op;
  if (!batch) return WODAN_EINVAL;
  api_error_begin(&error);
  int status = key_operation(batch->db, kind, key, value, &op, &error);
  if (status == 0) status = store_value(batch->db, &op, &error);
  if (status < 0) return api_result(batch->db, status, &error);
  status = batch_add(batch, &op, &error);
  if (status < 0) drop_value(batch->db, &op);
  return api_result(batch->db, status, &error);
}

/* Gives up the large values of its operations, unless memtables hold them too by now. */
static void drop_blobs(struct wodan_batch *batch) {
  struct record record;
  for (size_t at = 0; batch->blobs > 0 && operations_next(&batch->operations, &at, &record);) {
    if (record.kind != RECORD_BLOB) continue;
    engine_large_drop(batch->db, record.value);
    batch->blobs--;
  }
}

int wodan_batch_put(struct wodan_batch *batch, struct wodan_slice key, struct wodan_slice value) {
  return batch_key(batch, RECORD_PUT, key, value);
}

int wodan_batch_delete(struct wodan_batch *batch, struct wodan_slice key) {
  return batch_key(batch, RECORD_DELETE, key, (struct wodan_slice){0});
}

int wodan_batch_delete_range(struct wodan_batch *batch, const struct wodan_slice *from, const struct wodan_slice *to) {
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  struct operation op;
  bool empty = false;
  if (!batch) return WODAN_EINVAL;
  int status = range_operation(batch->db, from, to, &op, &empty, &error);
  if (status == 0 && !empty) status = batch_add(batch, &op, &error);
  return api_result(batch->db, status, &error);
}

size_t wodan_batch_count(const struct wodan_batch *batch) { return batch ? batch->operations.count : 0; }

uint64_t wodan_batch_bytes(const struct wodan_batch *batch) { return batch ? batch->operations.encoded : 0; }

void wodan_batch_clear(struct wodan_batch *batch) {
  if (!batch) return;
  drop_blobs(batch);
  batch->operations = (struct operations){.bytes = batch->bytes, .deletes_only = true};
}

void wodan_batch_free(struct wodan_batch *batch) {
  if (!batch) return;
  struct wodan_db *db = batch->db;
  drop_blobs(batch);
  mem_array_free(&db->user_mem, batch->bytes, batch->capacity, 1);
  mem_free(&db->user_mem, batch, sizeof *batch);
  atomic_fetch_sub(&db->batches, 1);
}

int wodan_batch_commit(struct wodan_db *db, const struct wodan_batch *batch, struct wodan_commit *commit) {
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  if (!db || !batch) return api_missing(db, "the batch");
  int status = api_commit_begin(commit, &error);
  if (status == 0 && batch->db != db)
    status = status_set(&error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "the batch belongs to another database");
  if (status == 0) status = engine_commit(db, &batch->operations, commit, &error);
  return api_result(db, status, &error);
}
