/* The engine's side of the device contract: every call of a struct wodan_device goes through here, is checked for
 * range and alignment, split at io_maximum, and counted. Thread-safe as the device is. Offsets and sizes in bytes. */
#ifndef DEV_DEVICE_H
#define DEV_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wodan/device.h>

struct device_counters {
  _Atomic uint64_t reads, read_bytes, writes, write_bytes, barriers, flushes, discards, discard_bytes;
};

struct behind;

struct device {
  struct wodan_device *raw;
  struct behind *behind; /* dev/behind.h; NULL: every write is handed to the device before its call returns */
  struct device_counters counters;
  uint64_t
      reads_left; /* bytes that may still be read: what would read more is refused, WODAN_EBUDGET; UINT64_MAX: all */
  bool reads_refused;  /* that happened. Both are for who uses the device alone */
  _Atomic bool unsure; /* a write, barrier or flush failed: what the medium holds is not known any more */
};

/* Checks ops and geometry (WODAN_EINVAL with a sentence) and zeroes the counters. Does not take ownership. */
int device_init(struct device *device, struct wodan_device *raw, struct wodan_error *error);

/* offset and size in whole sectors inside the device, buffer aligned to geometry.memory_alignment: else
 * WODAN_EINVAL. WODAN_EIO / WODAN_ENOSPC from the device, with errno and byte offset in the sentence. WODAN_EBUDGET: see
 * reads_left. */
int device_read(struct device *device, uint64_t offset, void *buffer, size_t size, struct wodan_error *error);
int device_write(struct device *device, uint64_t offset, const void *buffer, size_t size, struct wodan_error *error);
/* Many requests, all completed on return; the first failure's status. */
int device_transfer(struct device *device, struct wodan_io *requests, size_t count, struct wodan_error *error);
/* The same past what is queued behind: for the queue's own thread. */
int device_transfer_now(struct device *device, struct wodan_io *requests, size_t count, struct wodan_error *error);
int device_barrier(struct device *device, struct wodan_error *error);
int device_flush(struct device *device, struct wodan_error *error);
/* A hint: rounded inward to the granularity, and done up to the first piece that is refused; what the device does makes no
 * other operation fail. Returns 0, WODAN_ENOTSUP (the device does not discard) or WODAN_EIO; *done (may be NULL) gets the
 * bytes up to which all that could be discarded was. */
int device_discard(struct device *device, uint64_t offset, uint64_t size, uint64_t *done);

#endif
