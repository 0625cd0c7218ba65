/* Checking an image without trusting it: the core of wodan-fsck. Never writes a byte. */
#ifndef WODAN_CHECK_H
#define WODAN_CHECK_H

#include <wodan/device.h>
#include <wodan/status.h>
#include <wodan/types.h>

WODAN_BEGIN

enum wodan_severity {
  WODAN_NOTE = 0,    /* worth knowing; nothing is wrong with the data */
  WODAN_WARNING = 1, /* damage outside the newest root: data is whole, safety margin is not */
  WODAN_DAMAGE = 2,  /* acknowledged data is, or may be, lost or wrong */
};

/* What repair.h can do about a finding. Numbers never change. */
enum wodan_repair_action {
  WODAN_REPAIR_NOTHING = 0, /* nothing has to be done */
  WODAN_REPAIR_SAFE = 1,    /* repaired in place (wodan-fsck -p): no record that could be read is dropped */
  WODAN_REPAIR_LOSSY = 2,   /* repaired in place only when asked (-y): what cannot be read is given up */
  WODAN_REPAIR_SALVAGE = 3, /* not in place: salvage into a new image (-o) saves what can be read */
};

struct wodan_finding {
  uint32_t id;         /* stable number, printed as WF0001 */
  uint32_t severity;   /* enum wodan_severity */
  uint64_t block;      /* or WODAN_NO_BLOCK */
  uint64_t generation; /* of the object concerned, 0 when none */
  const char *message; /* one sentence, valid during the call */
  /* Which keys the finding may concern: those from lower up to, but not with, upper, as far as the nodes above tell. */
  uint32_t has_range;              /* 0: not known, or none in particular */
  uint32_t has_lower, has_upper;   /* 0: open end */
  struct wodan_slice lower, upper; /* the user's keys, valid during the call */
  uint32_t repair;                 /* enum wodan_repair_action */
  const char *remedy; /* what such a repair does about it, one sentence; "" when nothing has to be done. A constant */
};

struct wodan_check_options {
  uint32_t size; /* sizeof(struct wodan_check_options); 0 is taken as the whole struct */
  uint32_t reserved;
  struct wodan_allocator allocator;
  void *context;
  /* Called for each finding, in the caller's thread. NULL: only counted. */
  void (*finding)(void *context, const struct wodan_finding *finding);
  /* Called now and then with blocks checked and blocks to check; non-zero stops the check. NULL: not called. */
  int (*progress)(void *context, uint64_t done, uint64_t total);
  /* Most bytes taken from the allocator at any time; the check ends with WODAN_EBUDGET where that is too little. 0: 16 a block
   * of the device, 64 KiB, 2 journal blocks and 4 pages; and at most 2 reads a block and 16 succeed. What would take more, as only a hostile
   * volume or one of very unusual settings has, is told (WF0080, WF0081) and left out; `complete` is 0 then. */
  uint64_t memory_limit;
  uint64_t generation; /* 0: the newest root; else this one in its place (wodan_inspect_roots lists them) */
};

struct wodan_check_report {
  uint64_t notes, warnings, damages;
  uint64_t generation, previous_generation;
  uint64_t blocks, blocks_live, blocks_previous; /* owned by the newest root; by the previous root only */
  uint64_t nodes, runs, leaves, pages, records, journal_records;
  uint64_t page_bytes,
      page_stored_bytes; /* of those pages; of what stands on the device for them: less when compressed */
  uint64_t blobs;        /* large values of the newest root, and those that its journal names */
  uint32_t complete;     /* 1: everything was looked at; 0: stopped early */
  uint32_t levels;       /* of nodes, in the newest root; 0: the tree is empty, or its root cannot be used */
};

/* Checks superblock and copy, journal ring, both newest roots, every node, run, page and record (checksums, order,
 * ranges), and that every block is owned at most once. Returns 0 when the check ran (damage is in the report);
 * WODAN_EFORMAT, WODAN_EVERSION, WODAN_EIO, WODAN_ENOMEM, WODAN_EBUDGET (memory_limit), WODAN_ENOTFOUND (generation) when it
 * could not. error may be NULL. */
WODAN_API int wodan_check(struct wodan_device *device, const struct wodan_check_options *options,
                          struct wodan_check_report *report, struct wodan_error *error);

WODAN_END

#endif
