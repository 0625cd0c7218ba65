/* hello: the life of a small database. Opens the image at the given path (makes one when there is none), writes
 * one key durably and a batch, reads them back, checkpoints, and prints what it cost.
 *
 *   hello PATH
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <wodan/wodan.h>

enum { IMAGE_SIZE = 16 * 1024 * 1024 };

static struct wodan_slice text(const char *string) { return (struct wodan_slice){string, strlen(string)}; }

static void show(const char *what, struct wodan_slice key, struct wodan_slice value) {
  printf("%s %.*s = %.*s\n", what, (int)key.size, (const char *)key.data, (int)value.size, (const char *)value.data);
}

/* Opens the image. When the file is absent or holds no image yet it is formatted first; formatting refuses a file with
 * anything but zero bytes in it, so that nobody's data is written over. */
static int open_or_create(const char *path, struct wodan_db **db, struct wodan_error *error) {
  struct wodan_device *device;
  int status = wodan_open_path(path, NULL, db, error);
  int absent = status == WODAN_EIO && error->device_errno == ENOENT;
  if (!absent && status != WODAN_EFORMAT) return status;

  status = wodan_path_device(path, absent ? WODAN_PATH_CREATE : 0, absent ? IMAGE_SIZE : 0, &device, error);
  if (status < 0) return status;
  status = wodan_format(device, NULL, error);
  if (status == 0) status = wodan_open(device, NULL, db, error);
  if (status < 0) wodan_device_close(device); /* after success the database owns the device */
  return status;
}

/* One key, durable when the call returns; then three in one batch, all or nothing, durable no later than the
 * checkpoint below. */
static int write_some(struct wodan_db *db) {
  struct wodan_commit durable = {.durability = WODAN_DURABLE};
  int status = wodan_put(db, text("greeting"), text("hello, world"), &durable);
  if (status < 0) return status;

  struct wodan_batch *batch;
  status = wodan_batch_create(db, &batch);
  if (status < 0) return status;
  status = wodan_batch_put(batch, text("planet:3"), text("earth"));
  if (status == 0) status = wodan_batch_put(batch, text("planet:4"), text("mars"));
  if (status == 0) status = wodan_batch_delete(batch, text("planet:9"));
  if (status == 0) status = wodan_batch_commit(db, batch, NULL);
  wodan_batch_free(batch);
  return status;
}

static int read_one(struct wodan_db *db) {
  char value[64];
  size_t size;
  int status = wodan_get(db, NULL, text("greeting"), value, sizeof value, &size);
  if (status == 0) show("get ", text("greeting"), (struct wodan_slice){value, size});
  return status;
}

/* Every key that starts with "planet:", in order. */
static int scan(struct wodan_db *db) {
  const char *prefix = "planet:";
  struct wodan_cursor *cursor;
  int status = wodan_cursor_open(db, NULL, &cursor);
  if (status < 0) return status;
  for (status = wodan_cursor_seek(cursor, text(prefix)); status == 0; status = wodan_cursor_next(cursor)) {
    struct wodan_slice key = wodan_cursor_key(cursor);
    if (key.size < strlen(prefix) || memcmp(key.data, prefix, strlen(prefix)) != 0) break;
    show("scan", key, wodan_cursor_value(cursor));
  }
  wodan_cursor_close(cursor);
  return status == WODAN_DONE ? 0 : status;
}

static int checkpoint_and_count(struct wodan_db *db) {
  uint64_t generation;
  struct wodan_stats stats = {.size = sizeof stats};
  int status = wodan_checkpoint(db, &generation);
  if (status == 0) status = wodan_stats(db, &stats);
  if (status == 0)
    printf("generation %" PRIu64 ": %" PRIu64 " puts, %" PRIu64 " user bytes, %" PRIu64 " device flushes\n", generation,
           stats.puts, stats.user_bytes_written, stats.device_flushes);
  return status;
}

int main(int count, char **words) {
  if (count != 2) {
    fprintf(stderr, "usage: %s PATH\n", words[0]);
    return 2;
  }
  struct wodan_db *db;
  struct wodan_error error;
  int status = open_or_create(words[1], &db, &error);
  if (status == 0) {
    status = write_some(db);
    if (status == 0) status = read_one(db);
    if (status == 0) status = scan(db);
    if (status == 0) status = checkpoint_and_count(db);
    wodan_last_error(db, &error);
    struct wodan_error close_error;
    int closed = wodan_close(db, &close_error); /* frees the handle, whatever happens */
    if (status == 0 && closed < 0) {
      status = closed;
      error = close_error;
    }
  }
  if (status < 0) fprintf(stderr, "%s: %s (%s)\n", words[1], error.message, wodan_strerror(status));
  return status < 0 ? 1 : 0;
}
