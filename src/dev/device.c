/* Owns: the engine's only calls of a struct wodan_device.
 *
 * Always true:
 *  - no request reaches the device that is outside it, off its sectors, or in a buffer off its alignment;
 *  - no request is larger than geometry.io_maximum; a split request fails when any piece of it fails;
 *  - what a device answers is narrowed to WODAN_EIO and WODAN_ENOSPC, so callers meet no other code;
 *  - a discard makes nothing else fail and never touches a byte outside the range asked for (rounded inward).
 *
 * Order: counted before the call, so that counters tell what was asked of the device, not what succeeded.
 *
 * See: include/wodan/device.h (the contract), tests/unit/test_device.c. */
#include "dev/device.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>

#include "base/status.h"
#include "dev/behind.h"
#include "dev/dev_errno.h"

enum { SECTOR_MIN = 64, SECTOR_MAX = 65536, PIECES = 16 };

static bool is_power_of_two(uint64_t n) { return n && (n & (n - 1)) == 0; }

int wodan_device_close(struct wodan_device *device) {
  if (!device) return 0;
  return device->ops->close(device);
}

/* What is wrong with a device, or NULL. */
static const char *device_flaw(const struct wodan_device *raw) {
  if (!raw) return "no device given";
  const struct wodan_device_ops *ops = raw->ops;
  if (!ops || ops->size < sizeof *ops) return "its table of functions is missing or of an older version";
  if (!ops->transfer || !ops->barrier || !ops->flush || !ops->close) return "a function of its table is missing";
  const struct wodan_geometry *g = &raw->geometry;
  if (!is_power_of_two(g->sector) || g->sector < SECTOR_MIN || g->sector > SECTOR_MAX)
    return "geometry.sector is not a power of two from 64 to 65536";
  if (g->size == 0) return "geometry.size is 0";
  if (g->size % g->sector || g->size > INT64_MAX) return "geometry.size is not a number of whole sectors";
  if (g->memory_alignment > 1 && !is_power_of_two(g->memory_alignment))
    return "geometry.memory_alignment is not a power of two";
  if (g->io_maximum && g->io_maximum < g->sector) return "geometry.io_maximum is below one sector";
  if (g->discard_granularity % g->sector) return "geometry.discard_granularity is not whole sectors";
  if (g->ordering > WODAN_ORDER_NATIVE) return "geometry.ordering is not known";
  if (g->durable > 1 || g->read_only > 1) return "geometry.durable or read_only is neither 0 nor 1";
  return NULL;
}

int device_init(struct device *device, struct wodan_device *raw, struct wodan_error *error) {
  const char *flaw = device_flaw(raw);
  if (flaw) return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "the device cannot be used: %s", flaw);
  device->raw = raw;
  device->behind = NULL;
  device->reads_left = UINT64_MAX;
  device->reads_refused = false;
  struct device_counters *c = &device->counters;
  _Atomic uint64_t *all[] = {&c->reads,    &c->read_bytes, &c->writes,   &c->write_bytes,
                             &c->barriers, &c->flushes,    &c->discards, &c->discard_bytes};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) atomic_init(all[i], 0);
  return 0;
}

static void count(_Atomic uint64_t *counter, uint64_t n) {
  atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static const char *verb(const struct wodan_io *io) { return io->kind == WODAN_IO_READ ? "read" : "write"; }

static bool inside(const struct wodan_geometry *g, uint64_t offset, uint64_t size) {
  return offset <= g->size && size <= g->size - offset;
}

static int check_request(const struct device *device, const struct wodan_io *io, struct wodan_error *error) {
  const struct wodan_geometry *g = &device->raw->geometry;
  if (io->kind > WODAN_IO_DISCARD)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "a request of unknown kind %u", io->kind);
  if (io->kind == WODAN_IO_DISCARD) return 0; /* device_discard rounds */
  if (!inside(g, io->offset, io->size) || io->offset % g->sector || io->size % g->sector)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK,
                      "cannot %s %zu bytes at byte %" PRIu64 ": not whole sectors of %" PRIu32
                      " bytes inside the device of %" PRIu64 " bytes",
                      verb(io), io->size, io->offset, g->sector, g->size);
  if (io->size && (!io->data || (g->memory_alignment > 1 && (uintptr_t)io->data % g->memory_alignment)))
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK,
                      "cannot %s %zu bytes at byte %" PRIu64 ": the buffer is not aligned to %" PRIu32 " bytes",
                      verb(io), io->size, io->offset, g->memory_alignment);
  if (io->kind == WODAN_IO_WRITE && g->read_only)
    return status_set(error, WODAN_EREADONLY, 0, WODAN_NO_BLOCK,
                      "cannot write %zu bytes at byte %" PRIu64 ": the device is open for reading only", io->size,
                      io->offset);
  return 0;
}

static int narrow(int status) { return status == 0 || status == WODAN_ENOSPC ? status : WODAN_EIO; }

static int io_failure(const struct wodan_io *io, struct wodan_error *error) {
  if (io->device_errno)
    return status_set(error, io->status, io->device_errno, WODAN_NO_BLOCK,
                      "cannot %s %zu bytes at byte %" PRIu64 " of the device: %s (errno %d)", verb(io), io->size,
                      io->offset, errno_text(io->device_errno), io->device_errno);
  return status_set(error, io->status, 0, WODAN_NO_BLOCK, "cannot %s %zu bytes at byte %" PRIu64 " of the device: %s",
                    verb(io), io->size, io->offset, wodan_strerror(io->status));
}

/* Reads and writes only, each valid and at most io_maximum. Afterwards every status is 0 or narrowed. */
static void submit(struct device *device, struct wodan_io *requests, size_t n) {
  struct device_counters *c = &device->counters;
  for (size_t i = 0; i < n; i++) {
    bool read = requests[i].kind == WODAN_IO_READ;
    count(read ? &c->reads : &c->writes, 1);
    count(read ? &c->read_bytes : &c->write_bytes, requests[i].size);
    requests[i].status = 0;
    requests[i].device_errno = 0;
  }
  int whole = narrow(device->raw->ops->transfer(device->raw, requests, n));
  bool told = false;
  for (size_t i = 0; i < n; i++) {
    requests[i].status = narrow(requests[i].status);
    told |= requests[i].status != 0;
  }
  if (whole && !told) /* a failure that names no request: none of them can be trusted */
    for (size_t i = 0; i < n; i++) requests[i].status = whole;
}

/* Sends the pieces collected and hands their failures to the requests they are parts of. */
static void send_pieces(struct device *device, struct wodan_io *pieces, struct wodan_io **owners, size_t n) {
  assert(n <= PIECES);
  if (n == 0) return;
  submit(device, pieces, n);
  for (size_t i = 0; i < n; i++) {
    if (!pieces[i].status || owners[i]->status) continue;
    owners[i]->status = pieces[i].status;
    owners[i]->device_errno = pieces[i].device_errno;
  }
}

/* For batches with a request above io_maximum, an empty one, or a discard. */
static void submit_split(struct device *device, struct wodan_io *requests, size_t n) {
  const struct wodan_geometry *g = &device->raw->geometry;
  size_t most = g->io_maximum ? g->io_maximum - g->io_maximum % g->sector : SIZE_MAX;
  struct wodan_io pieces[PIECES];
  struct wodan_io *owners[PIECES];
  size_t filled = 0;
  for (size_t i = 0; i < n; i++) {
    struct wodan_io *io = &requests[i];
    io->status = io->device_errno = 0;
    if (io->kind == WODAN_IO_DISCARD) {
      device_discard(device, io->offset, io->size, NULL);
      continue;
    }
    for (size_t done = 0; done < io->size;) {
      size_t part = io->size - done < most ? io->size - done : most;
      owners[filled] = io;
      pieces[filled++] = (struct wodan_io){
          .kind = io->kind, .offset = io->offset + done, .data = (uint8_t *)io->data + done, .size = part};
      done += part;
      if (filled == PIECES) {
        send_pieces(device, pieces, owners, filled);
        filled = 0;
      }
    }
  }
  send_pieces(device, pieces, owners, filled);
}

/* Whether none needs to be split, left out or rounded. */
static bool are_plain(const struct device *device, const struct wodan_io *requests, size_t n) {
  uint32_t most = device->raw->geometry.io_maximum;
  bool plain = true;
  for (size_t i = 0; i < n; i++)
    plain &= requests[i].kind != WODAN_IO_DISCARD && requests[i].size && (!most || requests[i].size <= most);
  return plain;
}

int device_transfer_now(struct device *device, struct wodan_io *requests, size_t n, struct wodan_error *error) {
  if (are_plain(device, requests, n))
    submit(device, requests, n);
  else
    submit_split(device, requests, n);
  int status = 0;
  for (size_t i = 0; i < n; i++) {
    if (requests[i].status == 0) continue;
    if (requests[i].kind == WODAN_IO_WRITE) atomic_store(&device->unsure, true);
    if (status == 0) status = io_failure(&requests[i], error);
  }
  return status;
}

/* Whether these requests read no more than is left. */
static bool within_limit(struct device *device, const struct wodan_io *requests, size_t n) {
  uint64_t left = device->reads_left;
  for (size_t i = 0; i < n; i++) {
    uint64_t size = requests[i].kind == WODAN_IO_READ ? requests[i].size : 0;
    device->reads_refused |= size > left;
    if (size > left) return false;
    left -= size;
  }
  return true;
}

static int transfer_limited(struct device *device, struct wodan_io *requests, size_t n, struct wodan_error *error) {
  if (!within_limit(device, requests, n))
    return status_set(error, WODAN_EBUDGET, 0, WODAN_NO_BLOCK, "no more than %" PRIu64 " bytes may be read now",
                      device->reads_left);
  int status = device_transfer_now(device, requests, n, error);
  for (size_t i = 0; i < n; i++)
    if (requests[i].kind == WODAN_IO_READ && requests[i].status == 0) device->reads_left -= requests[i].size;
  return status;
}

int device_transfer(struct device *device, struct wodan_io *requests, size_t n, struct wodan_error *error) {
  assert(requests || n == 0);
  for (size_t i = 0; i < n; i++) {
    int status = check_request(device, &requests[i], error);
    if (status < 0) return status;
  }
  if (n == 0) return 0;
  if (device->reads_left != UINT64_MAX) return transfer_limited(device, requests, n, error);
  int status = device->behind ? behind_clear(device->behind, requests, n, error) : 0;
  return status < 0 ? status : device_transfer_now(device, requests, n, error);
}

int device_read(struct device *device, uint64_t offset, void *buffer, size_t size, struct wodan_error *error) {
  struct wodan_io io = {.kind = WODAN_IO_READ, .offset = offset, .data = buffer, .size = size};
  return device_transfer(device, &io, 1, error);
}

int device_write(struct device *device, uint64_t offset, const void *buffer, size_t size, struct wodan_error *error) {
  /* The contract makes a write's data read-only; the field serves reads too, hence the way around const. */
  union {
    const void *given;
    void *data;
  } u = {.given = buffer};
  struct wodan_io io = {.kind = WODAN_IO_WRITE, .offset = offset, .data = u.data, .size = size};
  return device_transfer(device, &io, 1, error);
}

int device_barrier(struct device *device, struct wodan_error *error) {
  int status = device->behind ? behind_wait(device->behind, error) : 0;
  if (status < 0) return status;
  count(&device->counters.barriers, 1);
  status = narrow(device->raw->ops->barrier(device->raw));
  if (status == 0) return 0;
  atomic_store(&device->unsure, true);
  return status_set(error, status, 0, WODAN_NO_BLOCK, "the device failed to order its writes (barrier): %s",
                    wodan_strerror(status));
}

int device_flush(struct device *device, struct wodan_error *error) {
  int status = device->behind ? behind_wait(device->behind, error) : 0;
  if (status < 0) return status;
  count(&device->counters.flushes, 1);
  status = narrow(device->raw->ops->flush(device->raw));
  if (status == 0) return 0;
  atomic_store(&device->unsure, true);
  return status_set(error, status, 0, WODAN_NO_BLOCK,
                    "the device failed to make its writes durable (flush): %s; they are unsure from now on",
                    wodan_strerror(status));
}

int device_discard(struct device *device, uint64_t offset, uint64_t size, uint64_t *done) {
  const struct wodan_geometry *g = &device->raw->geometry;
  uint64_t granularity = g->discard_granularity;
  if (done) *done = 0;
  if (!granularity || g->read_only) return WODAN_ENOTSUP;
  if (!inside(g, offset, size)) return 0;
  uint64_t start = offset + (granularity - offset % granularity) % granularity, end = offset + size;
  end -= end % granularity;
  uint64_t most = SIZE_MAX - SIZE_MAX % granularity;
  if (g->io_maximum >= granularity) most = g->io_maximum - g->io_maximum % granularity;
  while (start < end) {
    uint64_t part = end - start < most ? end - start : most;
    struct wodan_io io = {.kind = WODAN_IO_DISCARD, .offset = start, .size = (size_t)part};
    if (device->behind && behind_clear(device->behind, &io, 1, NULL) < 0) return WODAN_EIO;
    count(&device->counters.discards, 1);
    count(&device->counters.discard_bytes, part);
    int status = device->raw->ops->transfer(device->raw, &io, 1);
    if (status == 0) status = io.status;
    if (status) return status == WODAN_ENOTSUP ? status : WODAN_EIO; /* one refusal is enough */
    start += part;
    if (done) *done = start - offset;
  }
  if (done) *done = size;
  return 0;
}
