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

/* ---- in place ------------------------------------------------------------------------------------------------------ */

/* Numbers never change. */
enum wodan_repair_kind {
  WODAN_REPAIR_SUPERBLOCK = 1, /* block 0 or the copy is written again from the other */
  WODAN_REPAIR_ROOT = 2,       /* the newest root is published again, so that the root before it is whole too */
  WODAN_REPAIR_OLDER_ROOT = 3, /* an older root takes the place of the newest */
  WODAN_REPAIR_JOURNAL = 4,    /* the journal is ended where it can be replayed to */
  WODAN_REPAIR_OPERATIONS = 5, /* operations of the journal go into the tree */
  WODAN_REPAIR_NODE = 6,       /* a node that cannot be read is replaced by an older version, or given up */
  WODAN_REPAIR_LEAF = 7,       /* a leaf is written again */
  WODAN_REPAIR_RUNS = 8,       /* buffered runs are merged into a new one */
};

/* Something that is done. */
struct wodan_repair_step {
  uint32_t kind;       /* enum wodan_repair_kind */
  uint32_t has_range;  /* as in struct wodan_finding: the keys concerned */
  uint64_t block;      /* of what is replaced, or WODAN_NO_BLOCK */
  uint64_t generation; /* of it, 0 when none */
  const char *message; /* one sentence */
  uint32_t has_lower, has_upper;
  struct wodan_slice lower, upper;
};

struct wodan_repair_options {
  uint32_t size;    /* sizeof(struct wodan_repair_options); 0 is taken as the whole struct */
  uint32_t allowed; /* WODAN_REPAIR_SAFE (or 0), or WODAN_REPAIR_LOSSY for all that can be done in place */
  uint32_t dry_run; /* 1: nothing is written; the steps that would be done are told */
  uint32_t reserved;
  struct wodan_allocator allocator;
  struct wodan_hooks hooks; /* random makes the new epoch */
  void *context;
  /* What the check finds, and then (id 60) of which keys records are given up. NULL: only counted. */
  void (*finding)(void *context, const struct wodan_finding *finding);
  /* Called for each step while it is worked on: it is done when the function returns 0. NULL: only counted. */
  void (*step)(void *context, const struct wodan_repair_step *step);
  int (*progress)(void *context, uint64_t done, uint64_t total); /* as in check.h; of the checks */
  uint64_t memory_limit; /* most bytes taken from the allocator at any time; 0: no limit */
  uint64_t generation;   /* 0: the newest root; else (with WODAN_REPAIR_LOSSY) the volume goes on from this root */
};

struct wodan_repair_report {
  struct wodan_check_report before, after; /* after: as before when nothing was done, or in a dry run */
  uint64_t steps;                          /* done and durable, or in a dry run to be done */
  uint64_t losses;                         /* ranges of keys of which records are given up */
  uint32_t complete; /* 0: stopped by `progress`, before anything was written or in the last check */
  uint32_t reserved;
};

/* Checks the volume, does what is allowed about what is found, and checks again. Everything new goes to free blocks and one
 * checkpoint record makes it the tree, so a crash at any moment leaves the volume as it was or repaired; a second repair finds
 * nothing to do. Safe steps give up no record that can be read, and are left out when they would make a greater repair worse.
 * Lossy ones give up what cannot be read: a leaf or buffered runs are written again with what can be read of them, a lost node
 * is taken from the root before, or given up. What was done is durable on return; what is left is in report->after.
 * Returns 0 also when something is left. WODAN_EREADONLY; WODAN_ENOSPC (too few free blocks even for the nodes: salvage
 * instead); else as wodan_check; WODAN_EIO also for a failed write, behind which a new repair is needed. */
WODAN_API int wodan_repair(struct wodan_device *device, const struct wodan_repair_options *options,
                           struct wodan_repair_report *report, struct wodan_error *error);

/* ---- salvage ------------------------------------------------------------------------------------------------------- */

/* A record that no tree names any more, of a key about which something is lost; or one that stands in a broken journal where
 * no chain leads, of any key. */
struct wodan_orphan {
  struct wodan_slice key, value; /* value: whole, large ones too; empty for a delete of one key */
  uint64_t sequence;             /* of the operation: greater is newer */
  uint64_t generation;           /* of the run that holds it; 0: the journal does */
  uint64_t block;                /* where that run, or the journal record, starts */
  uint32_t deleted;              /* 1: the operation was a delete */
  uint32_t ranged;               /* 1: of all keys from `key` up to, but not with, `value` (empty: to the last) */
};

struct wodan_salvage_options {
  uint32_t size;  /* sizeof(struct wodan_salvage_options); 0 is taken as the whole struct */
  uint32_t force; /* 1: whatever is on the new device is overwritten (see wodan_format) */
  struct wodan_allocator allocator;
  struct wodan_hooks hooks; /* random makes the new volume's fsid and epoch */
  void *context;
  /* What the check of the damaged image finds, and then, with ids from 60 on, what is lost. NULL: only counted. */
  void (*finding)(void *context, const struct wodan_finding *finding);
  /* Called for each record found only in runs that nothing names, by rising key, and then of a broken journal, by rising
   * sequence: they are not in the new image, for nobody knows whether they were deleted or overwritten since, or ever
   * acknowledged. NULL: not looked for. */
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
