/* Repairing a damaged image: in place, or by salvage of all that can be read into a new image. The core of wodan-fsck's
 * options -p, -y and -o. Salvage into a new image is the safer way: it never writes to the damaged one.
 *
 * One thread at a time per device. Callbacks are called in the caller's thread; what they get lives during the call. Keys
 * are the user's. Memory is bounded by memory_limit. The devices stay the caller's; an image in use is refused by whoever
 * opens its device for writing (wodan_path_device: WODAN_EBUSY). error may be NULL everywhere. */
#ifndef WODAN_REPAIR_H
#define WODAN_REPAIR_H

#include <wodan/check.h>
#include <wodan/device.h>
#include <wodan/status.h>
#include <wodan/types.h>

WODAN_BEGIN

/* ---- salvage ------------------------------------------------------------------------------------------------------- */

/* A record that no tree names any more, of a key about which something is lost. */
struct wodan_orphan {
  struct wodan_slice key, value; /* value: empty for a delete */
  uint64_t sequence;             /* of the operation: greater is newer */
  uint64_t generation, block;    /* of the run that holds it, and where that starts */
  uint32_t deleted;              /* 1: the operation was a delete */
  uint32_t reserved;
};

struct wodan_salvage_options {
  uint32_t size;  /* sizeof(struct wodan_salvage_options); 0 is taken as the whole struct */
  uint32_t force; /* 1: whatever is on the new device is overwritten (see wodan_format) */
  struct wodan_allocator allocator;
  struct wodan_hooks hooks; /* random makes the new volume's fsid and epoch */
  void *context;
  /* What the check of the damaged image finds, and then, with ids from 60 on, what is lost. NULL: only counted. */
  void (*finding)(void *context, const struct wodan_finding *finding);
  /* Called for each record found only in runs that nothing names, by rising key: they are not in the new image, for nobody
   * knows whether they were deleted or overwritten since. NULL: not looked for. */
  void (*orphan)(void *context, const struct wodan_orphan *orphan);
  int (*progress)(void *context, uint64_t done, uint64_t total); /* as in check.h */
  uint64_t memory_limit; /* most bytes taken from the allocator at any time; 0: no limit */
  uint64_t generation;   /* 0: the newest root; else this one in its place */
};

struct wodan_salvage_report {
  struct wodan_check_report check; /* of the damaged image */
  uint64_t records;                /* in the new image */
  uint64_t orphans;                /* told through `orphan` */
  uint64_t losses;                 /* ranges of keys of which records may be missing, or be older than they were */
  uint64_t generation;             /* of the root that was salvaged; 0: there was none, all runs found were merged */
  uint64_t runs_found;             /* by their headers: when there is no root, or for orphans */
  uint32_t complete;               /* 1: done; 0: stopped by `progress`, and the new image is none */
  uint32_t reserved;
};

/* Reads `from`, never writing to it, and makes a new volume on `to` with the same geometry that holds every record that can
 * be read: of each key the newest version below the newest root, with the journal's operations behind it, as far as they
 * are whole. Only records whose page has a good checksum are taken. Where a node is lost the root before it stands in; each
 * range of keys of which something may be missing or old is told as a finding. Without any root all runs that are found by
 * their headers are merged, the greatest sequence of a key winning and deletes counting: then keys that were deleted long ago
 * may come back. The new volume is durable on return, and has a new fsid.
 * WODAN_EFORMAT, WODAN_EVERSION, WODAN_EIO, WODAN_ENOMEM, WODAN_EBUDGET, WODAN_ENOTFOUND (generation), WODAN_EEXIST (`to`
 * holds something), WODAN_ENOSPC (`to` is too small), WODAN_EINVAL. */
WODAN_API int wodan_salvage(struct wodan_device *from, struct wodan_device *to,
                            const struct wodan_salvage_options *options, struct wodan_salvage_report *report,
                            struct wodan_error *error);

WODAN_END

#endif
