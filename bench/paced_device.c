/* Owns: the clock of a device with a pace.
 *
 * Always true: requests take their turn on one clock, busy_until, in pieces of at most PIECE bytes, so that a small
 * request waits for one piece of a large one and not for all of it. A device that was idle starts at most CREDIT in the
 * past: sleeps that end late are made good, bursts are not given away. Waits below PATIENCE are left to the next request.
 *
 * Order: the inner device does the work first; its time is part of the time a request takes. A flush returns when
 * everything taken before it is through.
 *
 * See: include/wodan/device.h, tests/unit/test_paced_device.c. */
#include "paced_device.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

enum { PIECE = 64 * 1024, CREDIT = 200 * 1000, PATIENCE = 50 * 1000, SECOND = 1000 * 1000 * 1000 }; /* bytes, ns */

static struct paced_device *paced_of(struct wodan_device *device) { return (struct paced_device *)(void *)device; }

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void wait_until(uint64_t deadline, uint64_t patience) {
  if (deadline <= now() + patience) return;
  struct timespec t = {.tv_sec = (time_t)(deadline / SECOND), .tv_nsec = (long)(deadline % SECOND)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
  }
}

/* Books `bytes` on the clock; returns when they are through. */
static uint64_t book(struct paced_device *paced, uint64_t bytes) {
  pthread_mutex_lock(&paced->lock);
  uint64_t start = now() - CREDIT;
  if (paced->busy_until < start) paced->busy_until = start;
  paced->busy_until += (uint64_t)((double)bytes * SECOND / (double)paced->bytes_per_second);
  uint64_t end = paced->busy_until;
  pthread_mutex_unlock(&paced->lock);
  return end;
}

static void pace(struct paced_device *paced, uint64_t bytes) {
  if (paced->bytes_per_second == 0) return;
  for (uint64_t left = bytes; left > 0;) {
    uint64_t piece = left < PIECE ? left : PIECE;
    wait_until(book(paced, piece), PATIENCE);
    left -= piece;
  }
}

/* Returns the bytes that take time. */
static uint64_t count(struct paced_device *paced, const struct wodan_io *requests, size_t number) {
  struct paced_counters *c = &paced->counters;
  uint64_t bytes = 0;
  pthread_mutex_lock(&paced->lock);
  for (size_t i = 0; i < number; i++) {
    uint64_t size = requests[i].size;
    bool discard = requests[i].kind == WODAN_IO_DISCARD, read = requests[i].kind == WODAN_IO_READ;
    *(discard ? &c->discards : read ? &c->reads : &c->writes) += 1;
    *(discard ? &c->discard_bytes : read ? &c->read_bytes : &c->write_bytes) += size;
    if (!discard) bytes += size;
  }
  pthread_mutex_unlock(&paced->lock);
  return bytes;
}

static int paced_transfer(struct wodan_device *device, struct wodan_io *requests, size_t number) {
  struct paced_device *paced = paced_of(device);
  int status = paced->inner->ops->transfer(paced->inner, requests, number);
  pace(paced, count(paced, requests, number));
  return status;
}

static void wait_for_all(struct paced_device *paced, uint64_t *counter) {
  pthread_mutex_lock(&paced->lock);
  uint64_t end = paced->busy_until;
  *counter += 1;
  pthread_mutex_unlock(&paced->lock);
  if (paced->bytes_per_second) wait_until(end, 0);
}

static int paced_barrier(struct wodan_device *device) {
  struct paced_device *paced = paced_of(device);
  int status = paced->inner->ops->barrier(paced->inner);
  if (device->geometry.ordering == WODAN_ORDER_BY_FLUSH) {
    wait_for_all(paced, &paced->counters.barriers);
  } else {
    pthread_mutex_lock(&paced->lock);
    paced->counters.barriers++;
    pthread_mutex_unlock(&paced->lock);
  }
  return status;
}

static int paced_flush(struct wodan_device *device) {
  struct paced_device *paced = paced_of(device);
  int status = paced->inner->ops->flush(paced->inner);
  wait_for_all(paced, &paced->counters.flushes);
  return status;
}

static int paced_resize(struct wodan_device *device, uint64_t size) {
  struct wodan_device *inner = paced_of(device)->inner;
  int status = inner->ops->resize ? inner->ops->resize(inner, size) : WODAN_ENOTSUP;
  device->geometry = inner->geometry;
  return status;
}

static int paced_close(struct wodan_device *device) {
  (void)device;
  return 0;
}

static const struct wodan_device_ops paced_ops = {
    .size = sizeof paced_ops,
    .transfer = paced_transfer,
    .barrier = paced_barrier,
    .flush = paced_flush,
    .resize = paced_resize,
    .close = paced_close,
};

int paced_device_init(struct paced_device *paced, struct wodan_device *inner, uint64_t bytes_per_second) {
  memset(paced, 0, sizeof *paced);
  paced->device = (struct wodan_device){.ops = &paced_ops, .geometry = inner->geometry};
  paced->inner = inner;
  paced->bytes_per_second = bytes_per_second;
  return pthread_mutex_init(&paced->lock, NULL) ? WODAN_ENOMEM : 0;
}

void paced_device_release(struct paced_device *paced) { pthread_mutex_destroy(&paced->lock); }

void paced_device_set_pace(struct paced_device *paced, uint64_t bytes_per_second) {
  paced->bytes_per_second = bytes_per_second;
  paced->busy_until = now();
}

struct paced_counters paced_device_counters(struct paced_device *paced) {
  pthread_mutex_lock(&paced->lock);
  struct paced_counters counters = paced->counters;
  pthread_mutex_unlock(&paced->lock);
  return counters;
}
