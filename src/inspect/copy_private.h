/* What the files of the copy share: one image being copied without its values. */
#ifndef INSPECT_COPY_PRIVATE_H
#define INSPECT_COPY_PRIVATE_H

#include <wodan/image.h>

#include "codec/compress.h"
#include "format/blob.h"
#include "format/page.h"
#include "run/run_reader.h"
#include "inspect/inspect_private.h"
#include "inspect/scramble.h"

struct copy {
  struct wodan_inspect *inspect;
  const struct wodan_copy_options *options;
  struct wodan_copy_report *report;
  struct wodan_error *error; /* of a copy that cannot go on */
  struct device to;
  struct scramble *scramble;     /* NULL: keys stay as they are */
  bool collecting;               /* the first pass of a scrambled copy: nothing is written */
  uint64_t blocks;               /* that may be claimed: of the volume, and there */
  uint8_t *claimed;              /* a bit each */
  uint8_t *unit, *page, *key;    /* room for a block, a page, and a key in a page */
  struct compressor *compressor; /* once there was a compressed page or chunk, else NULL */
};

/* The object being copied. */
struct object_copy {
  struct copy *copy;
  const struct block_ptr *ptr;
  struct run_reader reader; /* of a node or large value only the header */
  /* of a run: what its pages are checked by, and what their keys are in the copy */
  uint8_t *old_filter, *new_filter;
  uint32_t filter_lines; /* 0: there is none, or none that proves */
};

/* Where a slice of `bytes` begins, in memory that may be written. */
static inline uint8_t *place_in(uint8_t *bytes, struct wodan_slice slice) {
  return slice.size ? bytes + ((const uint8_t *)slice.data - bytes) : bytes;
}

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
/* The large value behind ptr, whose blocks are looked at when nobody had them before. */
int copy_large(struct copy *copy, const struct block_ptr *ptr);

/* ---- copy_object.c ----------------------------------------------------------------------------------------------- */

/* The object behind ptr, whose blocks are its own; type: enum object_type. Objects that it names come before it. */
int copy_object(struct copy *copy, const struct block_ptr *ptr, uint8_t type);
/* The reader stands on a pointer, in memory that may be written: its new checksum. false: there is none. */
bool copy_pointer(struct copy *copy, struct wire_reader *r);
/* Bytes of the object into the copy, block by block. */
int copy_bytes(const struct object_copy *object, uint64_t offset, const uint8_t *bytes, size_t size);
/* The section in fresh memory; NULL: it does not prove, and will not in the copy. */
int copy_read_section(struct object_copy *object, struct section *section, uint8_t **bytes);
/* The changed section goes to its place, its checksum into the header. */
int copy_put_section(struct object_copy *object, struct section *section, const uint8_t *bytes);
/* `bytes` compressed to `length`, that which the original had: it has the same keys, and zeros for values, which pack well. In
 * `packed`, of `length` bytes. *fits: it became as short. */
int copy_pack(struct copy *copy, const uint8_t *bytes, size_t size, uint8_t *packed, size_t length, bool *fits);

/* ---- copy_large.c ------------------------------------------------------------------------------------------------ */

/* The chunks of a large value and their table; its header has been read. */
int copy_chunks(struct object_copy *object);
/* What stands for a large value in a page or an operation: its pointer's checksum; the value must be copied before. What is no
 * such reference is blanked. */
void copy_reference(struct copy *copy, uint8_t *bytes, size_t size);

/* ---- copy_ring.c ------------------------------------------------------------------------------------------------- */

/* The journal, behind all trees. */
int copy_ring(struct copy *copy);

#endif
