/* own_device: a database on a device of our own. The device keeps its sectors in memory and counts how often each was
 * written, which tells how evenly a flash chip under it would wear. The program formats it, writes and rewrites
 * records, closes, opens again, verifies every record and prints the counts.
 *
 *   own_device
 *
 * A device is a struct with `struct wodan_device` first, whose ops and geometry are filled in. The contract is in
 * <wodan/device.h>; each function below says how it keeps its part.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wodan/wodan.h>

/* ---- the device ---------------------------------------------------------------------------------------------- */

enum { SECTOR = 512, SECTORS = 8192 };

/* The medium: it stays when a device on it is closed, so that a second one finds the same bytes. */
struct medium {
  pthread_mutex_t lock; /* guards what follows */
  uint8_t bytes[(size_t)SECTOR * SECTORS];
  uint32_t writes[SECTORS];
  uint64_t flushes;
};

struct wear_device {
  struct wodan_device device; /* first: the engine hands us its address */
  struct medium *medium;
};

static struct medium *medium_of(struct wodan_device *device) { return ((struct wear_device *)(void *)device)->medium; }

/* One request: whole sectors inside the device, or it is refused. */
static int transfer_one(struct medium *medium, const struct wodan_io *io) {
  const uint64_t end = sizeof medium->bytes;
  if (io->offset % SECTOR || io->size % SECTOR || io->offset > end || io->size > end - io->offset) return WODAN_EIO;
  switch (io->kind) {
  case WODAN_IO_READ:
    memcpy(io->data, medium->bytes + io->offset, io->size);
    return 0;
  case WODAN_IO_WRITE:
    memcpy(medium->bytes + io->offset, io->data, io->size);
    for (uint64_t sector = io->offset / SECTOR; sector < (io->offset + io->size) / SECTOR; sector++)
      medium->writes[sector]++;
    return 0;
  default: /* geometry.discard_granularity is 0, so that no discard comes */
    return WODAN_ENOTSUP;
  }
}

/* Called from several threads at once: the lock keeps a read whole beside a write. All requests are tried, each gets
 * its own status, the first failure is the answer. */
static int wear_transfer(struct wodan_device *device, struct wodan_io *requests, size_t count) {
  struct medium *medium = medium_of(device);
  int first = 0;
  pthread_mutex_lock(&medium->lock);
  for (size_t i = 0; i < count; i++) {
    requests[i].status = transfer_one(medium, &requests[i]);
    requests[i].device_errno = 0;
    if (first == 0) first = requests[i].status;
  }
  pthread_mutex_unlock(&medium->lock);
  return first;
}

/* Writes reach memory in the order they are made: geometry.ordering says so, and there is nothing to do. */
static int wear_barrier(struct wodan_device *device) {
  (void)device;
  return 0;
}

/* Every write is where it stays when transfer returns; but memory does not outlive the process, and geometry.durable
 * does not claim it. */
static int wear_flush(struct wodan_device *device) {
  struct medium *medium = medium_of(device);
  pthread_mutex_lock(&medium->lock);
  medium->flushes++;
  pthread_mutex_unlock(&medium->lock);
  return 0;
}

static int wear_close(struct wodan_device *device) {
  free(device); /* the first member, so the address that malloc gave */
  return 0;
}

static const struct wodan_device_ops wear_ops = {
    .size = sizeof wear_ops,
    .transfer = wear_transfer,
    .barrier = wear_barrier,
    .flush = wear_flush,
    .resize = NULL, /* fixed */
    .close = wear_close,
};

static struct wodan_device *wear_device_open(struct medium *medium) {
  struct wear_device *wear = malloc(sizeof *wear);
  if (!wear) return NULL;
  *wear = (struct wear_device){
      .device = {.ops = &wear_ops,
                 .geometry = {.size = sizeof medium->bytes, .sector = SECTOR, .ordering = WODAN_ORDER_NATIVE}},
      .medium = medium,
  };
  return &wear->device;
}

/* ---- a database on it ---------------------------------------------------------------------------------------- */

enum { RECORDS = 2000, ROUNDS = 5 };

struct pair {
  char key[16], value[32];
};

static struct pair pair_of(int number, int round) {
  struct pair pair;
  snprintf(pair.key, sizeof pair.key, "key%06d", number);
  snprintf(pair.value, sizeof pair.value, "round %d of %d", round, number);
  return pair;
}

static struct wodan_slice text(const char *string) { return (struct wodan_slice){string, strlen(string)}; }

static int write_rounds(struct wodan_db *db) {
  for (int round = 1; round <= ROUNDS; round++) {
    for (int number = 0; number < RECORDS; number++) {
      struct pair pair = pair_of(number, round);
      int status = wodan_put(db, text(pair.key), text(pair.value), NULL);
      if (status < 0) return status;
    }
    /* A device without durability does everything a durable one does, but the engine does not pretend. */
    int status = wodan_sync(db);
    if (status < 0 && status != WODAN_ENOTDURABLE) return status;
  }
  return 0;
}

static int verify(struct wodan_db *db) {
  for (int number = 0; number < RECORDS; number++) {
    struct pair pair = pair_of(number, ROUNDS);
    char value[sizeof pair.value];
    size_t size;
    int status = wodan_get(db, NULL, text(pair.key), value, sizeof value, &size);
    if (status < 0) return status;
    if (size != strlen(pair.value) || memcmp(value, pair.value, size) != 0) return WODAN_ECORRUPT;
  }
  return 0;
}

/* Opens a database on the medium, does the work, closes; the medium keeps the result. */
static int session(struct medium *medium, int format, int (*work)(struct wodan_db *db), struct wodan_error *error) {
  struct wodan_db *db;
  struct wodan_device *device = wear_device_open(medium);
  *error = (struct wodan_error){.code = WODAN_ENOMEM, .message = "no memory for the device"};
  if (!device) return WODAN_ENOMEM;
  int status = format ? wodan_format(device, NULL, error) : 0;
  if (status == 0) status = wodan_open(device, NULL, &db, error);
  if (status < 0) {
    wodan_device_close(device);
    return status;
  }
  status = work(db);
  wodan_last_error(db, error);
  struct wodan_error close_error;
  int closed = wodan_close(db, &close_error); /* and our device with it */
  if (status == 0 && closed < 0) {
    status = closed;
    *error = close_error;
  }
  return status;
}

static void print_wear(const struct medium *medium) {
  uint64_t total = 0;
  uint32_t most = 0, worn = 0;
  for (int sector = 0; sector < SECTORS; sector++) {
    total += medium->writes[sector];
    worn += medium->writes[sector] > 0;
    if (medium->writes[sector] > most) most = medium->writes[sector];
  }
  printf("%d sectors: %" PRIu32 " written, %" PRIu64 " writes in all, at most %" PRIu32 " on one; %" PRIu64
         " flushes\n",
         (int)SECTORS, worn, total, most, medium->flushes);
}

int main(void) {
  static struct medium medium = {.lock = PTHREAD_MUTEX_INITIALIZER};
  struct wodan_error error;
  int status = session(&medium, 1, write_rounds, &error);
  if (status == 0) status = session(&medium, 0, verify, &error);
  if (status < 0) {
    fprintf(stderr, "own_device: %s (%s)\n", error.message, wodan_strerror(status));
    return 1;
  }
  printf("%d records verified after reopening\n", (int)RECORDS);
  print_wear(&medium);
  return 0;
}
