/* What: opens any bytes as a volume, for reading only, on an older root, and for writing; scans, reads, writes, closes.
 *
 * Demanded: no crash and no end of waiting; memory within the budget and all of it given back; a reader writes nothing;
 * a scan is no longer than the image has bytes; nobody reads the device more often than its size explains.
 *
 * See: support/image.h for the mutator. */
#include <stdlib.h>
#include <string.h>
#include <wodan/wodan.h>
#include "support/image.h"
#include "support/meter.h"

const size_t fuzz_size_max = 128 << 10;
enum { KEYS_MAX = 8, KEY_SIZE = 64 };

struct session {
  struct kept_bytes *kept;
  struct meter meter;
  struct wodan_db *db;
  uint8_t keys[KEYS_MAX][KEY_SIZE];
  size_t key_sizes[KEYS_MAX], key_count;
};

static uint64_t budget_of(size_t size) { return (512 << 10) + 2 * (uint64_t)size; }

/* Whether it opens. */
static bool open_with(struct session *session, uint32_t flags) {
  struct wodan_open_options options = {.flags = flags | WODAN_OPEN_INLINE,
                                       .memory_budget = budget_of(session->kept->size),
                                       .allocator = meter_hooks(&session->meter)};
  struct wodan_error error = {0};
  struct wodan_device *device = kept_plug(session->kept, IMAGE_SECTOR, flags & WODAN_OPEN_READ_ONLY);
  session->db = NULL;
  session->meter = (struct meter){0};
  options.allocator.context = &session->meter;
  int status = wodan_open(device, &options, &session->db, &error);
  if (status == 0) return true;
  FUZZ_CHECK(status < 0 && error.code == status && error.message[0]);
  FUZZ_CHECK(session->meter.used == 0);
  wodan_device_close(device);
  return false;
}

/* Batches and values that were asked for are not the database's; none is open here. */
static void close_it(struct session *session) {
  struct wodan_error error;
  int status = wodan_close(session->db, &error);
  FUZZ_CHECK(status <= 0 && status != WODAN_EBUSY);
  FUZZ_CHECK(session->meter.used == 0);
  FUZZ_CHECK(session->meter.peak <= budget_of(session->kept->size));
}

static void scan(struct session *session, bool back) {
  struct wodan_cursor *cursor;
  if (wodan_cursor_open(session->db, NULL, &cursor) < 0) return;
  uint64_t records = 0;
  int status = back ? wodan_cursor_last(cursor) : wodan_cursor_first(cursor);
  for (; status == 0; records++) {
    struct wodan_slice key = wodan_cursor_key(cursor), value = wodan_cursor_value(cursor);
    volatile uint8_t touched = 0;
    for (size_t i = 0; i < key.size; i++) touched ^= ((const uint8_t *)key.data)[i];
    for (size_t i = 0; value.data && i < value.size; i++) touched ^= ((const uint8_t *)value.data)[i];
    if (session->key_count < KEYS_MAX && key.size <= KEY_SIZE && records % 13 == session->key_count) {
      memcpy(session->keys[session->key_count], key.data, key.size);
      session->key_sizes[session->key_count++] = key.size;
    }
    if (records > session->kept->size)
      FUZZ_FAIL("a scan of an image of %zu bytes does not end", (size_t)session->kept->size);
    status = back ? wodan_cursor_prev(cursor) : wodan_cursor_next(cursor);
  }
  wodan_cursor_close(cursor);
}

static void read_some(struct session *session) {
  uint8_t value[256];
  size_t size;
  struct wodan_info info;
  struct wodan_stats stats;
  wodan_info(session->db, &info);
  scan(session, false);
  scan(session, true);
  for (size_t i = 0; i < session->key_count; i++)
    wodan_get(session->db, NULL, (struct wodan_slice){session->keys[i], session->key_sizes[i]}, value, sizeof value,
              &size);
  wodan_get(session->db, NULL, (struct wodan_slice){"nobody has this", 15}, value, sizeof value, &size);
  wodan_stats(session->db, &stats);
}

static void write_some(struct session *session) {
  static const uint8_t value[100] = "a new value";
  struct wodan_commit durable = {.durability = WODAN_DURABLE};
  uint32_t more;
  for (size_t i = 0; i < session->key_count; i++) {
    struct wodan_slice key = {session->keys[i], session->key_sizes[i]};
    if (i % 2)
      wodan_put(session->db, key, (struct wodan_slice){value, 10 * i}, NULL);
    else
      wodan_delete(session->db, key, NULL);
  }
  for (uint8_t i = 0; i < 20; i++) {
    uint8_t key[3] = {'k', i, 'k'};
    wodan_put(session->db, (struct wodan_slice){key, 3}, (struct wodan_slice){value, sizeof value}, NULL);
  }
  wodan_put(session->db, (struct wodan_slice){"durable", 7}, (struct wodan_slice){value, 5}, &durable);
  wodan_checkpoint(session->db, NULL);
  wodan_compact(session->db, NULL, NULL, 64 << 10, &more);
  wodan_sync(session->db);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct session session;
  session.key_count = 0;
  session.kept = image_take(data, size, false);
  if (!session.kept) return 0;
  size = session.kept->size;
  if (open_with(&session, WODAN_OPEN_READ_ONLY)) {
    read_some(&session);
    close_it(&session);
  } else if (open_with(&session, WODAN_OPEN_READ_ONLY | WODAN_OPEN_OLDER_ROOT)) {
    read_some(&session);
    close_it(&session);
  }
  FUZZ_CHECK(session.kept->writes == 0 && session.kept->flushes == 0 && session.kept->barriers == 0);
  FUZZ_CHECK(memcmp(session.kept->data, data, size) == 0);
  if (open_with(&session, 0)) {
    read_some(&session);
    write_some(&session);
    scan(&session, false);
    close_it(&session);
    if (open_with(&session, 0)) close_it(&session);
  }
  FUZZ_CHECK(session.kept->read_bytes <= 1000 * (uint64_t)size + (16 << 20));
  kept_free(session.kept);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  return image_mutate(data, size, size_max, seed);
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) { return image_seed(number, out, size_max); }
