/* Owns: include/wodan/db.h: argument checks, last error. See: tests/unit/test_engine_kv.c and its siblings. */
#include "api/api.h"

int api_result(struct wodan_db *db, int status, const struct wodan_error *error) {
  if (status >= 0 || status == WODAN_ENOTFOUND) return status;
  lock_acquire(&db->error_lock);
  db->last_error = *error;
  db->last_error.code = status;
  lock_leave(&db->error_lock);
  return status;
}

int api_missing(struct wodan_db *db, const char *what) {
  struct wodan_error error;
  if (!db) return WODAN_EINVAL;
  return api_result(db, status_set(&error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "%s is NULL", what), &error);
}

int api_view(const struct wodan_db *db, const struct wodan_view *view, struct wodan_error *error) {
  if (!view || view->db == db) return 0;
  return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "the view belongs to another database");
}

int api_key_check(const struct wodan_db *db, struct wodan_slice key, struct wodan_error *error) {
  size_t limit = db->superblock.page_size / 8;
  if (key.size == 0 || !key.data)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "the key is empty; keys have at least one byte");
  if (key.size > limit)
    return status_set(error, WODAN_ETOOBIG, 0, WODAN_NO_BLOCK, "the key has %zu bytes, this volume allows %zu",
                      key.size, limit);
  return 0;
}

int api_key(const struct wodan_db *db, struct wodan_slice key, struct api_key *buffer, struct wodan_slice *tree_key,
            struct wodan_error *error) {
  int status = api_key_check(db, key, error);
  if (status < 0) return status;
  buffer->bytes[0] = TABLE_DEFAULT;
  memcpy(buffer->bytes + TABLE_ID_SIZE, key.data, key.size);
  *tree_key = (struct wodan_slice){buffer->bytes, TABLE_ID_SIZE + key.size};
  return 0;
}

int api_bound(const struct wodan_db *db, const struct wodan_slice *key, uint8_t table, struct api_key *buffer,
              struct wodan_slice *tree_key, struct wodan_error *error) {
  if (key) return api_key(db, *key, buffer, tree_key, error);
  buffer->bytes[0] = table;
  *tree_key = (struct wodan_slice){buffer->bytes, TABLE_ID_SIZE};
  return 0;
}

int api_value(const struct wodan_db *db, struct wodan_slice value, struct wodan_error *error) {
  uint64_t limit = engine_value_max(db);
  if (value.size && !value.data)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "the value is NULL but has a size");
  if (value.size > limit)
    return status_set(error, WODAN_ETOOBIG, 0, WODAN_NO_BLOCK, "the value has %zu bytes, this volume allows %llu",
                      value.size, (unsigned long long)limit);
  return 0;
}

/* Copies a user's option struct of whatever size into one of ours; the rest is zero. */
static int take_options(void *ours, size_t our_size, const void *theirs, uint32_t their_size,
                        struct wodan_error *error) {
  memset(ours, 0, our_size);
  if (!theirs) return 0;
  size_t size = their_size ? their_size : our_size;
  if (size > our_size || size < sizeof(uint32_t))
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "an options struct has %zu bytes, at most %zu are known",
                      size, our_size);
  memcpy(ours, theirs, size);
  return 0;
}

static void clear(struct wodan_error *error) {
  if (error) *error = (struct wodan_error){.block = WODAN_NO_BLOCK};
}

static int missing(struct wodan_error *error, const char *what) {
  return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "%s is NULL", what);
}

static int known_compression(uint32_t compression, struct wodan_error *error) {
  if (compression <= WODAN_COMPRESSION_HIGH) return 0;
  return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "the compression %u is not known", (unsigned)compression);
}

int wodan_format(struct wodan_device *device, const struct wodan_format_options *options, struct wodan_error *error) {
  struct wodan_format_options ours;
  clear(error);
  if (!device) return missing(error, "the device");
  int status = take_options(&ours, sizeof ours, options, options ? options->size : 0, error);
  if (status == 0) status = known_compression(ours.compression, error);
  return status < 0 ? status : engine_format(device, &ours, error);
}

int wodan_open(struct wodan_device *device, const struct wodan_open_options *options, struct wodan_db **db,
               struct wodan_error *error) {
  struct wodan_open_options ours;
  clear(error);
  if (!device || !db) return missing(error, device ? "the place for the handle" : "the device");
  *db = NULL;
  int status = take_options(&ours, sizeof ours, options, options ? options->size : 0, error);
  if (status < 0) return status;
  const uint32_t known = WODAN_OPEN_READ_ONLY | WODAN_OPEN_OLDER_ROOT | WODAN_OPEN_DIRECT |
                         WODAN_OPEN_NO_AUTO_CHECKPOINT | WODAN_OPEN_INLINE | WODAN_OPEN_NO_LOCATIONS;
  if (ours.flags & ~known)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "the open flags 0x%x are not known",
                      (unsigned)(ours.flags & ~known));
  if ((ours.flags & WODAN_OPEN_OLDER_ROOT) && !(ours.flags & WODAN_OPEN_READ_ONLY))
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "an older root can only be opened for reading");
  if (ours.discard > WODAN_DISCARD_EAGER)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "the discard policy %u is not known",
                      (unsigned)ours.discard);
  status = known_compression(ours.compression, error);
  return status < 0 ? status : engine_open(device, &ours, db, error);
}

int wodan_open_path(const char *path, const struct wodan_open_options *options, struct wodan_db **db,
                    struct wodan_error *error) {
  struct wodan_device *device;
  clear(error);
  if (!path || !db) return missing(error, path ? "the place for the handle" : "the path");
  *db = NULL;
  uint32_t flags = options ? options->flags : 0;
  unsigned wanted =
      (flags & WODAN_OPEN_READ_ONLY ? WODAN_PATH_READ_ONLY : 0u) | (flags & WODAN_OPEN_DIRECT ? WODAN_PATH_DIRECT : 0u);
  int status = wodan_path_device(path, wanted, 0, &device, error);
  if (status < 0) return status;
  status = wodan_open(device, options, db, error);
  if (status < 0) wodan_device_close(device);
  return status;
}

int wodan_close(struct wodan_db *db, struct wodan_error *error) {
  clear(error);
  return db ? engine_close(db, error) : 0;
}

int wodan_sync(struct wodan_db *db) {
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  if (!db) return WODAN_EINVAL;
  return api_result(db, engine_sync(db, &error), &error);
}

int wodan_checkpoint(struct wodan_db *db, uint64_t *generation) {
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  if (!db) return WODAN_EINVAL;
  int status = engine_checkpoint(db, generation, &error);
  if (status == 0 && !db->device.raw->geometry.durable)
    status = status_set(&error, WODAN_ENOTDURABLE, 0, WODAN_NO_BLOCK,
                        "the device does not keep flushed data over a power cut");
  return api_result(db, status, &error);
}

static int compare(struct wodan_slice a, struct wodan_slice b) {
  int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
  if (order != 0) return order;
  return a.size < b.size ? -1 : a.size > b.size;
}

int wodan_compact(struct wodan_db *db, const struct wodan_slice *lower, const struct wodan_slice *upper,
                  uint64_t budget, uint32_t *more) {
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  struct api_key from_key, to_key;
  struct wodan_slice from, to;
  bool left = false;
  if (more) *more = 0;
  if (!db) return WODAN_EINVAL;
  int status = api_bound(db, lower, TABLE_DEFAULT, &from_key, &from, &error);
  if (status == 0) status = api_bound(db, upper, TABLE_DEFAULT + 1, &to_key, &to, &error);
  if (status == 0 && compare(from, to) < 0) status = engine_compact(db, &from, &to, budget, &left, &error);
  if (more) *more = status == 0 && left;
  return api_result(db, status, &error);
}

int wodan_trim(struct wodan_db *db, const struct wodan_trim_options *options, struct wodan_trim_report *report) {
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  struct wodan_trim_options ours;
  struct wodan_trim_report told = {.size = sizeof told};
  size_t room = report && report->size ? report->size : sizeof told;
  if (!db) return WODAN_EINVAL;
  int status = take_options(&ours, sizeof ours, options, options ? options->size : 0, &error);
  const uint32_t known = WODAN_TRIM_DRY_RUN | WODAN_TRIM_WAITING;
  if (status == 0 && (ours.flags & ~known))
    status = status_set(&error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "the trim flags 0x%x are not known",
                        (unsigned)(ours.flags & ~known));
  if (status == 0) status = engine_trim(db, &ours, &told, &error);
  if (report) {
    uint32_t size = report->size;
    memcpy(report, &told, room < sizeof told ? room : sizeof told);
    report->size = size;
  }
  return api_result(db, status, &error);
}

void wodan_last_error(struct wodan_db *db, struct wodan_error *error) {
  if (!db || !error) return;
  lock_acquire(&db->error_lock);
  *error = db->last_error;
  lock_leave(&db->error_lock);
}

/* Memory handed to the user remembers its size in front. */
enum { OWNED_HEADER = 16 };

void wodan_free(struct wodan_db *db, void *memory) {
  if (!db || !memory) return;
  uint8_t *start = (uint8_t *)memory - OWNED_HEADER;
  mem_free(&db->user_mem, start, (size_t)load_u64(start));
}

void *api_own(struct wodan_db *db, size_t size) {
  size_t total = size + OWNED_HEADER;
  uint8_t *start = mem_alloc(&db->user_mem, total);
  if (!start) return NULL;
  store_u64(start, total);
  return start + OWNED_HEADER;
}
