/* Types shared by the public headers: byte slices, allocator, and hooks for log, random bytes and clock. */
#ifndef WODAN_TYPES_H
#define WODAN_TYPES_H

#include <stddef.h>
#include <stdint.h>
#include <wodan/version.h>

WODAN_BEGIN

/* Bytes owned by somebody else. data may be NULL when size is 0. */
struct wodan_slice {
  const void *data;
  size_t size; /* bytes */
};

/* Memory for one database. Both functions are called from any thread that uses the database; allocate returns
 * NULL when there is none; release gets the size that was asked for. All zero: the C library's allocator. */
struct wodan_allocator {
  void *context;
  void *(*allocate)(void *context, size_t size, size_t alignment);
  void (*release)(void *context, void *memory, size_t size);
};

enum wodan_log_level { WODAN_LOG_WARNING = 1, WODAN_LOG_INFO = 2 };

/* What the engine takes from outside. All zero: no log, the operating system's random bytes and clock.
 * log: one line, no newline, only valid during the call; may be called with engine locks held, so it must not
 * call back into the database. random: fills `size` bytes, returns 0, or non-zero when it cannot; used for the
 * fsid at format and the epoch at each writable open, never for data. now: nanoseconds of a clock that never goes back,
 * from any start; used to tell delays in wodan_stats and to decide when free space is discarded, nothing else, so one that
 * goes back or stands still does no harm. NULL: the system's monotonic clock.
 * log and now may be called from several threads at once. */
struct wodan_hooks {
  void *context;
  void (*log)(void *context, int level, const char *message);
  int (*random)(void *context, void *buffer, size_t size);
  uint64_t (*now)(void *context);
};

/* LZ4 on the pages of leaves: fewer bytes on the device and in cold reads, for time of the thread that maintains the tree. A
 * page stays as it is where that would gain less than 12 %. What is written differs, readers need not be told. */
enum wodan_compression {
  WODAN_COMPRESSION_DEFAULT = 0, /* at format: off. At open: as at format */
  WODAN_COMPRESSION_OFF = 1,
  WODAN_COMPRESSION_FAST = 2,
  WODAN_COMPRESSION_HIGH = 3, /* smaller, and several times slower to write (LZ4HC); read as fast */
};

WODAN_END

#endif
