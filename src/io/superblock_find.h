/* Finding the superblock of a volume on a device: for who opens it, checks it, looks into it or repairs it. */
#ifndef IO_SUPERBLOCK_FIND_H
#define IO_SUPERBLOCK_FIND_H

#include "base/mem.h"
#include "base/status.h"
#include "dev/device.h"
#include "format/superblock.h"

struct superblock_there {
  struct superblock superblock;
  uint8_t bytes[SUPERBLOCK_SIZE];
  int status;
  struct wodan_error why; /* when status is a failure */
};

struct superblock_found {
  struct superblock superblock;
  bool copy;              /* it is the copy at the end of the device */
  struct wodan_error why; /* then: what is wrong with block 0 */
  uint64_t end_offset;    /* else: what stands where the copy is when the volume fills the device */
  struct superblock_there end;
};

/* Block 0, else the copy, wherever a volume on this device can end. The copy also where block 0 is that of another volume:
 * nothing in the journal is its, and something is the copy's. WODAN_EVERSION (of the one that counts); WODAN_EFORMAT,
 * WODAN_ECORRUPT, WODAN_EIO (what is wrong with block 0, when there is no copy); WODAN_ENOMEM. */
int superblock_find(struct device *device, struct mem *mem, struct superblock_found *found, struct wodan_error *error);

/* The superblock at `offset`, a multiple of SUPERBLOCK_SIZE. Read twice before it is given up. there->status, also returned: as
 * superblock_decode; WODAN_EIO, WODAN_ENOMEM. */
int superblock_read(struct device *device, struct mem *mem, uint64_t offset, struct superblock_there *there);

#endif
