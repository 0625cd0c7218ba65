/* Blobs: who in memory names which large value. The device keeps no counts: a blob lives as long as a record names it, in a
 * run that somebody holds or in a memtable. Each run handle holds the blobs of its records once, each record in a memtable,
 * and each operation of a batch not freed yet, the blob it names. At the last reference the blob's extents are deferred, as a
 * dead run's: roots and the journal may name it for two checkpoints more. One that no record ever named is free at once.
 *
 * Threads: every function takes its own lock; any thread. */
#ifndef BLOB_BLOBS_H
#define BLOB_BLOBS_H

#include "base/mem.h"
#include "cache/values.h"
#include "format/blob.h"
#include "space/space.h"

struct blobs;
struct blob;

/* Where everything of it is. */
struct blobs_setup {
  struct mem *mem, *handles; /* itself; the handles */
  struct space *space;
  struct values *values; /* what is kept in memory of the blobs' bytes goes with them; NULL: nothing is */
};
/* NULL: no memory. */
struct blobs *blobs_create(const struct blobs_setup *setup);
/* All references are gone. NULL is allowed. */
void blobs_free(struct blobs *blobs);

/* Mount: a run or the journal names this blob: one reference. Claims its extents when it is the first to. WODAN_ECORRUPT when
 * they are owned otherwise, for only the very same pointer may be named twice; WODAN_ENOMEM. */
int blobs_claim(struct blobs *blobs, const struct block_ptr *ptr, struct blob **blob, struct wodan_error *error);
/* A blob that was just written: one reference. Its extents stay the caller's on failure. WODAN_ENOMEM. */
int blobs_add(struct blobs *blobs, const struct block_ptr *ptr, struct wodan_error *error);
/* One more reference of the blob a record names, which is a record from now on: NULL when nobody holds a blob with this very
 * pointer, so that it is not one. */
struct blob *blobs_name(struct blobs *blobs, const struct block_ptr *ptr);
/* Where it is; it is held. */
void blob_pointer(const struct blob *blob, struct block_ptr *ptr);
/* What is kept in memory of its bytes; it is held. */
value_slot *blob_values(struct blob *blob);
/* Gives up one reference; by handle, or of what the pointer names, which is held. */
void blobs_drop(struct blobs *blobs, struct blob *blob);
void blobs_drop_named(struct blobs *blobs, const struct block_ptr *ptr);
/* One more reference for who reads it; NULL as above. */
struct blob *blobs_hold(struct blobs *blobs, const struct block_ptr *ptr);

struct blobs_counts {
  uint64_t count, blocks;
};
struct blobs_counts blobs_counts(struct blobs *blobs);
/* How many were claimed and added since it was created. */
uint64_t blobs_ever(struct blobs *blobs);

/* Bytes of memory a blob's handle takes, with its place in the table. */
uint64_t blob_memory(uint32_t extents);

#endif
