/* Format, open, close, sync, checkpoint, last error. See docs/ and FORMAT.md for what is on the device. */
#ifndef WODAN_DB_H
#define WODAN_DB_H

#include <wodan/device.h>
#include <wodan/status.h>
#include <wodan/types.h>

WODAN_BEGIN

/* One open database. Every function may be called from any thread at any time, but for wodan_close, which must be
 * the last. Writers run one at a time; readers do not wait for writers' device I/O. */
struct wodan_db;

/* All zero: good defaults. */
struct wodan_format_options {
  uint32_t size;       /* sizeof(struct wodan_format_options); 0 is taken as the whole struct */
  uint32_t block_size; /* bytes, power of two, 512..1 MiB, at least the device's sector; 0: 4096, or 512 below 1 MiB */
  uint32_t force;      /* 0: refuse (WODAN_EEXIST) when the first or last block holds anything but zero bytes */
  uint32_t page_size;  /* bytes before compression, power of two 512..16384; 0: device/256 within those bounds */
  uint64_t
      memtable_size; /* encoded record bytes per memtable; 0: device/64 within 4 pages..64 MiB. Bounds what an open replays */
  uint32_t leaf_size; /* bytes; 0: device/256 within 4 pages..512 KiB */
  uint32_t
      node_leaves; /* most leaves a bottom node owns before it splits, 4..65536; 0: those of 16 memtables within 16..2048 */
  uint64_t journal_size;  /* bytes; 0: device/32 within 8 journal blocks..128 MiB */
  uint32_t node_children; /* most children an inner node has before it splits, 4..256; 0: 16 */
  /* enum wodan_compression: what mounts do that do not choose less. Where it is not off, libraries that do not know
   * compression refuse the volume. */
  uint32_t compression;
  struct wodan_allocator allocator;
  struct wodan_hooks hooks; /* random makes the fsid */
};

/* Writes an empty database over the whole device: ring, first checkpoint, flush, superblocks, flush. With force the
 * old superblocks are cleared and flushed first, so a crash leaves the untouched old volume, none, or a complete
 * empty one. Durable on return. The device stays the caller's. At least 64 blocks (32 KiB) are needed.
 * WODAN_EINVAL (a bad or unfit option, or the device is too small), WODAN_EEXIST, WODAN_EIO,
 * WODAN_ENOSPC (host), WODAN_ENOMEM, WODAN_EREADONLY. error may be NULL. */
WODAN_API int wodan_format(struct wodan_device *device, const struct wodan_format_options *options,
                           struct wodan_error *error);

/* Which free blocks the device is told to forget, of those that became free since the open. What the two newest durable roots
 * or an open view need is never among them. Who opens for reading discards nothing. */
enum wodan_discard {
  WODAN_DISCARD_BATCHED =
      0, /* what was not used again for a while, units of about 1 MiB first; all when idle; at a rate */
  WODAN_DISCARD_OFF = 1,
  WODAN_DISCARD_EAGER = 2, /* all of it as soon as it is free */
};

enum wodan_open_flags {
  WODAN_OPEN_READ_ONLY = 1,  /* replays into memory, never writes a byte to the device */
  WODAN_OPEN_OLDER_ROOT = 2, /* with READ_ONLY: when the newest root is damaged, take the newest intact older one; the
                                number of generations dropped is in wodan_info */
  WODAN_OPEN_DIRECT = 4,     /* wodan_open_path only: O_DIRECT for the whole handle */
  WODAN_OPEN_NO_AUTO_CHECKPOINT = 8, /* a write that needs a checkpoint for space answers WODAN_ENEEDSFLUSH instead of
                                        writing one itself: call wodan_checkpoint and try again. WODAN_ENOSPC still
                                        means that no checkpoint would help */
  WODAN_OPEN_INLINE = 16, /* no background thread: writers do the maintenance themselves, in slices of at most 1 MiB a
                             commit. Builds without threads always do */
  WODAN_OPEN_NO_LOCATIONS =
      32, /* does not keep in memory where single records are, and so looks every key up in the tree:
                                   the same answers, later; for tests, and where every byte should be for pages */
};

struct wodan_open_options {
  uint32_t size;          /* sizeof(struct wodan_open_options); 0 is taken as the whole struct */
  uint32_t flags;         /* enum wodan_open_flags */
  uint64_t memory_budget; /* most bytes the database ever takes from its allocator: memtables, the tree's skeleton,
                             cache, views, cursors, maintenance; but not batches and values of wodan_get_alloc, which are
                             the caller's. 0: 256 MiB or what the image needs */
  struct wodan_allocator allocator;
  struct wodan_hooks hooks;
  /* enum wodan_compression, of what this handle writes: at most what was chosen at format, which it also is where less than
   * a quarter of the space is free. What is there stays as it is until it is rewritten. */
  uint32_t compression;
  uint32_t discard;      /* enum wodan_discard */
  uint64_t discard_rate; /* bytes a second that batched discards take at most; 0: 512 MiB */
  /* Bytes of large values (kv.h) that may wait, copied, for a thread that hands them to the device while their writers go on:
   * values of 32 KiB up to a quarter of it, put at once. 0: none, a put returns when the device has taken the value; 2 MiB is
   * enough for values of 100 KB. At most an eighth of what the budget has above its least, of which it is a part. When the
   * device refuses such a write later, the handle fails at the next write, at a sync at the latest: a buffered put promises no
   * more. Without threads, or with WODAN_OPEN_INLINE, nothing waits. */
  uint64_t write_behind;
};

/* Opens the database on a device; options may be NULL. A writable open first flushes the device (what a killed
 * process left unflushed must not be taken for durable), then recovers: newest checkpoint on the journal's chain,
 * skeletons of it and of the one before, free space, replay. It writes nothing. On success the database owns the
 * device and closes it; on failure the device stays the caller's.
 * WODAN_EFORMAT (no superblock), WODAN_EVERSION, WODAN_ECORRUPT (block named), WODAN_EBUDGET (message holds the
 * bytes needed), WODAN_EREADONLY (device is read-only and READ_ONLY was not asked), WODAN_EIO, WODAN_ENOMEM,
 * WODAN_EINVAL (also: more compression than was chosen at format). error may be NULL. */
WODAN_API int wodan_open(struct wodan_device *device, const struct wodan_open_options *options, struct wodan_db **db,
                         struct wodan_error *error);

/* wodan_path_device + wodan_open: the short way for a regular file or block device. Also the errors of both. */
WODAN_API int wodan_open_path(const char *path, const struct wodan_open_options *options, struct wodan_db **db,
                              struct wodan_error *error);

/* Checkpoints what is not covered yet (writable handles), closes the device and frees the handle, whatever happens;
 * returns the first failure. After success everything committed is as durable as the device makes it (wodan_info). While
 * views, cursors, batches or pinned values are open it answers WODAN_EBUSY and frees nothing. NULL is allowed. error (may
 * be NULL) tells what failed. */
WODAN_API int wodan_close(struct wodan_db *db, struct wodan_error *error);

/* Makes every batch committed before the call durable: appends what is pending to the journal and flushes once
 * (concurrent callers share it), or checkpoints when the journal has no room. Durable on return.
 * WODAN_EREADONLY, WODAN_EFAILED, WODAN_EIO, WODAN_ENOSPC, WODAN_ENOMEM; WODAN_ENOTDURABLE when the device cannot
 * promise it (the bytes were written and flushed all the same). */
WODAN_API int wodan_sync(struct wodan_db *db);

/* Drains the memtables, does the maintenance that is owed, and writes a checkpoint: everything committed before the
 * call is durable and needs no replay. *generation (may be NULL) gets the checkpoint's generation: it grows with
 * every checkpoint and never repeats. When nothing changed since the last checkpoint, that one's generation is
 * returned and nothing is written. Errors as wodan_sync. */
WODAN_API int wodan_checkpoint(struct wodan_db *db, uint64_t *generation);

/* Moves every buffered record of the keys in [lower, upper) down into leaves (NULL: open end) and joins small leaves and
 * nodes, so that a scan of the range reads leaves only. budget: bytes to write before it returns; 0: until done. *more
 * (may be NULL) gets 1 when work is left (call again: each call does some of it), else 0. An empty range is done at once. Nothing is made durable
 * by it; checkpoints happen on the way as space needs them. Others read and write meanwhile.
 * Errors as wodan_sync; WODAN_ENOSPC when the leaves have no room; WODAN_ETOOBIG, WODAN_EINVAL (a bound that is no key). */
WODAN_API int wodan_compact(struct wodan_db *db, const struct wodan_slice *lower, const struct wodan_slice *upper,
                            uint64_t budget, uint32_t *more);

enum wodan_trim_flags {
  WODAN_TRIM_DRY_RUN = 1, /* only tells; also on a handle that only reads */
  WODAN_TRIM_WAITING = 2, /* only what became free since the open and was not discarded yet */
};

struct wodan_trim_report {
  uint32_t size; /* in: sizeof(struct wodan_trim_report); 0 is taken as the whole struct */
  uint32_t reserved;
  uint64_t discards; /* requests made, or that would be made */
  uint64_t bytes;    /* discarded, or that would be */
  uint64_t refused;  /* bytes the device refused */
};

/* All zero: everything unused. */
struct wodan_trim_options {
  uint32_t size;    /* sizeof(struct wodan_trim_options); 0 is taken as the whole struct */
  uint32_t flags;   /* enum wodan_trim_flags */
  uint64_t minimum; /* bytes: shorter free stretches are left out; 0: none */
  uint64_t
      maximum; /* bytes of one discard at most, at least a block and what the device discards at a time; 0: 64 MiB */
  void *context;
  /* Called after each discard without a lock held: show it, wait, or end it with something other than 0. NULL: not called. */
  int (*progress)(void *context, const struct wodan_trim_report *report);
};

/* Tells the device to forget what is free, now and whatever the handle's policy is (fstrim for a volume). Nothing is made
 * durable by it, and nothing that is needed is touched: others read and write meanwhile. Ended by progress it answers 0.
 * options and report may be NULL. A device that refuses some discards is no failure: report->refused.
 * WODAN_ENOTSUP (the device does not discard), WODAN_EREADONLY, WODAN_EFAILED, WODAN_EINVAL. Any thread. */
WODAN_API int wodan_trim(struct wodan_db *db, const struct wodan_trim_options *options,
                         struct wodan_trim_report *report);

/* The last failure of any call on this handle, copied out; code 0 when there was none. A WODAN_ENOTFOUND is an
 * answer, not a failure, and is not kept. Any thread. */
WODAN_API void wodan_last_error(struct wodan_db *db, struct wodan_error *error);

/* Frees memory that wodan_get_alloc returned; before wodan_close. NULL is allowed. Any thread. */
WODAN_API void wodan_free(struct wodan_db *db, void *memory);

WODAN_END

#endif
