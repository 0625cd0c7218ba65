/* Space: which block is free. Derived at mount, never read from the device. Knows nothing of journal or tree.
 *
 * Life of a block: free -> reserved (allocated, nothing durable names it) -> live (claimed at mount, or covered by a
 * checkpoint) -> deferred (given up, but a durable root may still name it) -> free again after two checkpoints. What is free
 * may be discarded: discard.h.
 *
 * Threads: every function takes its own lock; any thread. */
#ifndef SPACE_SPACE_H
#define SPACE_SPACE_H

#include "base/mem.h"
#include "base/status.h"
#include "format/block_ptr.h"

struct space;

/* What blocks are taken for. Each kind has its own allocation cursor, so that what is written together dies together. */
enum space_kind { SPACE_BUFFER, SPACE_LEAF, SPACE_NODE, SPACE_BLOB, SPACE_KINDS };

/* Blocks [first, end) are the data area, all free. NULL: no memory. */
struct space *space_create(struct mem *mem, uint64_t first, uint64_t end);
void space_free(struct space *space);
/* Bytes space_create will allocate for so many blocks. */
uint64_t space_memory(uint64_t blocks);

/* Mount: an extent is owned. WODAN_ECORRUPT when a block of it is outside or owned already. */
int space_claim(struct space *space, const struct extent *extents, uint32_t count, struct wodan_error *error);
/* Mount: extents of the previous root. Blocks the newest root owns are left; others are deferred until the next
 * checkpoint. Blocks outside are ignored and make it return false. */
bool space_claim_previous(struct space *space, const struct extent *extents, uint32_t count);

/* Mount, after the claims: the generation of the newest durable checkpoint (objects up to it are named by a root). */
void space_mounted(struct space *space, uint64_t generation);

/* Takes `blocks` free blocks (at least one) as at most BLOCK_PTR_EXTENTS_MAX extents, contiguous where possible, moving on
 * round the device from the last allocation of the kind. Leaves the reserve and room for `spare` blocks
 * more, as one object, and then also what was promised: what can wait gives a spare. WODAN_ENOSPC: nothing changed. */
int space_allocate_sparing(struct space *space, enum space_kind kind, uint64_t blocks, uint64_t spare,
                           struct extent *extents, uint32_t *count, struct wodan_error *error);
/* The same without a spare, and it may use the reserve too: for the root of a checkpoint. */
int space_allocate_reserved(struct space *space, enum space_kind kind, uint64_t blocks, struct extent *extents,
                            uint32_t *count, struct wodan_error *error);
/* So many free blocks are left to space_allocate_reserved from now on, and so that one object of `object` blocks could be
 * placed: what the next checkpoints need for the headers of nodes, for only checkpoints make deferred blocks free. */
void space_set_reserve(struct space *space, uint64_t blocks, uint64_t object);
/* Whether space_allocate_sparing, with a spare, could give one object so many blocks, whatever its kind. Cheap when asked again for no more. */
bool space_reaches(struct space *space, uint64_t blocks);
/* Promises so many blocks, and that one object of `object` of them can be placed, until the next promise: what gives a spare
 * leaves them too. false when they and `spare` more cannot be reached now; then a promise only becomes smaller. Cheap when
 * little changed. */
bool space_promise(struct space *space, uint64_t blocks, uint64_t object, uint64_t spare);
/* Gives back blocks that nothing durable ever named: free at once. */
void space_release(struct space *space, const struct extent *extents, uint32_t count);
/* Gives up an object born in `generation`: free at once when younger than the last durable checkpoint, else deferred.
 * Never fails (a block's state is kept in bitmaps, not lists). */
void space_defer(struct space *space, const struct extent *extents, uint32_t count, uint64_t generation);
/* A checkpoint of this generation is durable: what was deferred before the previous call becomes free, what was
 * deferred since waits for the next. */
void space_checkpoint_durable(struct space *space, uint64_t generation);

struct space_counts {
  uint64_t total, free, deferred; /* blocks; live = total - free - deferred */
};
struct space_counts space_counts(struct space *space);

#endif
