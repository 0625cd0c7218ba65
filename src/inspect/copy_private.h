/* What the files of the copy share: one image being copied without its values. */
#ifndef INSPECT_COPY_PRIVATE_H
#define INSPECT_COPY_PRIVATE_H

#include <wodan/image.h>

#include "codec/compress.h"
#include "format/page.h"
#include "inspect/inspect_private.h"
#include "inspect/scramble.h"

struct copy {
  struct wodan_inspect *inspect;
  const struct wodan_copy_options *options;
  struct wodan_copy_report *report;
  struct wodan_error *error; /* of a copy that cannot go on */
  struct device to;
  struct scramble *scramble;  /* NULL: keys stay as they are */
  bool collecting;            /* the first pass of a scrambled copy: nothing is written */
  uint64_t blocks;            /* that may be claimed: of the volume, and there */
  uint8_t *claimed;           /* a bit each */
  uint8_t *unit, *page, *key; /* room for a block, a page, and a key in a page */
  /* once there was a compressed page, else NULL; `stored` has room for one */
  struct compressor *compressor;
  uint8_t *stored;
};

/* ---- copy.c ------------------------------------------------------------------------------------------------------ */

/* A failed read: only a lack of memory ends the copy; else it is one place more that is damaged, and 0. */
int copy_failed(struct copy *copy, const struct wodan_error *failure);
/* The next bytes of a key, collected or mapped in place. */
void copy_key(struct copy *copy, struct scramble_at *at, uint8_t *bytes, size_t size);
/* Bytes of the copy's device, within one block; zeros are left out. */
int copy_write(struct copy *copy, uint64_t offset, const uint8_t *bytes, size_t size);
/* Eight bytes, where a checksum stands: of the original, of the copy; 0 when they cannot be read. */
uint64_t copy_original_u64(struct copy *copy, uint64_t offset);
uint64_t copy_written_u64(struct copy *copy, uint64_t offset);
/* What the copy stores in place of `stored`, the checksum in a pointer: right where it was right, wrong where it was wrong. */
uint64_t copy_pointer_sum(struct copy *copy, const struct block_ptr *ptr);

/* ---- copy_object.c ----------------------------------------------------------------------------------------------- */

/* The object behind ptr, whose blocks are its own; type: enum object_type. Objects that it names come before it. */
int copy_object(struct copy *copy, const struct block_ptr *ptr, uint8_t type);

/* ---- copy_ring.c ------------------------------------------------------------------------------------------------- */

/* The journal, behind all trees. */
int copy_ring(struct copy *copy);

#endif
