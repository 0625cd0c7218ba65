/* A device with a pace: wraps any other, makes reads, writes and flushes take the time a device of so many bytes a
 * second would take, and counts what passes. Callers at the same time share the pace. */
#ifndef BENCH_PACED_DEVICE_H
#define BENCH_PACED_DEVICE_H

#include <pthread.h>
#include <wodan/device.h>

WODAN_BEGIN

struct paced_counters {
  uint64_t reads, read_bytes, writes, write_bytes, barriers, flushes, discards, discard_bytes;
};

/* Give &paced.device to wodan_format and wodan_open. Closing that device does nothing: the counters can be read and the
 * inner device used again afterwards. */
struct paced_device {
  struct wodan_device device; /* first */
  struct wodan_device *inner;
  uint64_t bytes_per_second; /* 0: only counts */
  pthread_mutex_t lock;      /* guards what follows */
  uint64_t busy_until;       /* monotonic ns: when the requests taken so far are through */
  struct paced_counters counters;
};

/* inner stays the caller's and must outlive the wrapper. 0 or WODAN_ENOMEM. */
int paced_device_init(struct paced_device *paced, struct wodan_device *inner, uint64_t bytes_per_second);
void paced_device_release(struct paced_device *paced);

/* From now on; 0: no pace. Not while a request runs. */
void paced_device_set_pace(struct paced_device *paced, uint64_t bytes_per_second);

/* Since init. Any thread. */
struct paced_counters paced_device_counters(struct paced_device *paced);

WODAN_END

#endif
