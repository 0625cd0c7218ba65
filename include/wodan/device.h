/* The device contract. The engine reaches storage only through this table, and is only as safe as what the device
 * keeps of it; so a device says what it really gives (ordering, durable) and the engine reports the level reached.
 *
 * Terms. A *write* is taken when transfer() returns; until a flush it may be lost, torn at any sector, or reach
 * the medium in any order. *Barrier*: every write taken before it reaches the medium before any write taken after
 * it. *Flush*: every write taken before it is durable when it returns. A failed flush leaves the earlier writes
 * unsure for ever: the engine never retries one.
 *
 * Own devices: embed struct wodan_device first in your struct, fill ops and geometry, and hand out its address. */
#ifndef WODAN_DEVICE_H
#define WODAN_DEVICE_H

#include <stddef.h>
#include <stdint.h>
#include <wodan/status.h>
#include <wodan/types.h>

WODAN_BEGIN

enum wodan_ordering {
  WODAN_ORDER_NONE = 0,     /* barriers order nothing: a power cut may damage the volume */
  WODAN_ORDER_BY_FLUSH = 1, /* a barrier is a flush */
  WODAN_ORDER_NATIVE = 2,   /* barriers order without waiting for the medium */
};

struct wodan_geometry {
  uint64_t size;   /* bytes, whole sectors */
  uint32_t sector; /* bytes, power of two, 64..65536: every offset and size is a multiple; the smallest atomic write */
  uint32_t memory_alignment;    /* buffers given to transfer() are aligned to this, power of two; 0 or 1: any */
  uint32_t io_preferred;        /* bytes; 0: no preference */
  uint32_t io_maximum;          /* largest single request in bytes; 0: no limit */
  uint32_t discard_granularity; /* bytes: offset and size of a discard are multiples; 0: the device does not discard */
  uint8_t ordering;             /* enum wodan_ordering */
  uint8_t durable;              /* 1: what is flushed survives a power cut */
  uint8_t read_only;            /* 1: writes fail */
};

enum wodan_io_kind { WODAN_IO_READ = 0, WODAN_IO_WRITE = 1, WODAN_IO_DISCARD = 2 };

/* One request of a transfer. status and device_errno are set by the device. After a discard the content is
 * undefined (each read may differ) until written again; a discard is a hint and may do nothing, done in part before it fails, or
 * come to nothing by a power cut as a write may. Of two requests for one place the one that was submitted when the other had
 * returned stands behind the next flush: so a discard that has returned never undoes a later write. */
struct wodan_io {
  uint8_t kind;     /* enum wodan_io_kind */
  uint64_t offset;  /* bytes */
  void *data;       /* filled by a read, only read by a write, NULL for a discard */
  size_t size;      /* bytes */
  int status;       /* 0, WODAN_EIO, WODAN_ENOSPC (host out of space), WODAN_ENOTSUP (discard) */
  int device_errno; /* 0 when none */
};

struct wodan_device;

struct wodan_device_ops {
  uint32_t size; /* sizeof(struct wodan_device_ops) */
  /* Submits all requests, in any order or at once, and returns when every one is completed (short transfers
   * continued, interrupted ones retried). Requests of one call never overlap. Returns 0, or the status of a failed
   * request; every request carries its own. Must allow calls from several threads at once. */
  int (*transfer)(struct wodan_device *device, struct wodan_io *requests, size_t count);
  /* Order, see above. 0 or WODAN_EIO. */
  int (*barrier)(struct wodan_device *device);
  /* Durable when it returns 0; else WODAN_EIO or WODAN_ENOSPC. */
  int (*flush)(struct wodan_device *device);
  /* Changes geometry.size; WODAN_ENOTSUP when fixed. May be NULL. */
  int (*resize)(struct wodan_device *device, uint64_t size);
  /* Releases the device and the struct. Returns the first failure; releases regardless. */
  int (*close)(struct wodan_device *device);
};

struct wodan_device {
  const struct wodan_device_ops *ops;
  struct wodan_geometry geometry; /* fixed while open, but for size through resize */
};

/* Closes any device (ops->close). NULL is allowed. Not while a database is open on it. */
WODAN_API int wodan_device_close(struct wodan_device *device);

/* ---- memory -------------------------------------------------------------------------------------------------- */

/* A device of `size` zero bytes in memory; sector 0 means 512. Lost at close; geometry.durable is 0.
 * WODAN_EINVAL (size not a multiple of sector), WODAN_ENOMEM. Any thread. */
WODAN_API int wodan_memory_device(uint64_t size, uint32_t sector, struct wodan_device **device);

/* ---- regular files and Linux block devices ------------------------------------------------------------------- */

enum wodan_path_flags {
  WODAN_PATH_READ_ONLY = 1,  /* never written, not even by open; shared lock */
  WODAN_PATH_DIRECT = 2,     /* O_DIRECT: page cache bypassed, geometry.memory_alignment set */
  WODAN_PATH_CREATE = 4,     /* make the regular file when absent, with `size` bytes */
  WODAN_PATH_PREALLOCATE = 8 /* with size: reserve the host's space (posix_fallocate); else sparse */
};

/* Opens a regular file or a block device as a device. size: for WODAN_PATH_CREATE the wished size in bytes (an
 * existing regular file shorter than that is extended, a longer one is left as it is); 0 keeps the size.
 * A regular file: sector 512 buffered (a buffered write has no alignment; the format never writes less than its
 * own blocks), the file system's direct-I/O alignment with WODAN_PATH_DIRECT; ordering by flush (fdatasync);
 * discard punches holes, size kept. A block device: sector, size and discard granularity as the kernel reports.
 * Lock: exclusive for writing, shared for reading, held by the open file description (fcntl OFD locks), so it
 * survives fork and the closing of other descriptors of the same file.
 * Errors: WODAN_EINVAL (a directory, a pipe, an empty file without CREATE), WODAN_EIO (errno in *error: missing,
 * no permission, …), WODAN_EBUSY (another opener), WODAN_ENOSPC, WODAN_ENOTSUP (O_DIRECT refused), WODAN_ENOMEM.
 * error may be NULL. Any thread. The path is not kept. */
WODAN_API int wodan_path_device(const char *path, unsigned flags, uint64_t size, struct wodan_device **device,
                                struct wodan_error *error);

WODAN_END

#endif
