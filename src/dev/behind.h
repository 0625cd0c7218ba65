/* Write-behind: large writes that nobody waits for are handed to the device by a thread of their own, several that follow one
 * another on the device in one call.
 *
 * The contract of a device holds with it: what is read, written or discarded where something is queued waits until that is
 * written; barriers and flushes wait for all that was queued before them; a write that failed is told to every later write,
 * barrier and flush, and to reads of its place, and nothing that was queued behind it is written any more. What is queued
 * when the program ends is lost, as any write may be before a flush. */
#ifndef DEV_BEHIND_H
#define DEV_BEHIND_H

#include "base/mem.h"
#include "dev/device.h"

struct behind;

/* Takes `bytes` of memory, for all that is queued at a time, and behind_memory() with its own, once. NULL: no memory. The thread
 * starts with the first write. */
uint64_t behind_memory(uint64_t bytes);
struct behind *behind_create(struct mem *mem, struct device *device, uint64_t bytes);
/* Nobody uses it any more. What is queued is given up: who wants it written has waited for it. NULL is allowed. */
void behind_free(struct behind *behind);

/* Memory for one write, aligned to 4096 bytes, after waiting for room. Whoever has it waits for nothing else before it is queued
 * or given back, for the others stand in line behind it. NULL: there is no write-behind for a write of this size, or none any
 * more: it is to be done as usual. `behind` may be NULL. */
enum { BEHIND_LEAST = 32 << 10 };
uint8_t *behind_lend(struct behind *behind, size_t size);
void behind_give_back(struct behind *behind, const uint8_t *memory);
/* Queues it: whole sectors inside the device, at most as many bytes as were lent. */
void behind_write(struct behind *behind, const uint8_t *memory, uint64_t offset, size_t size);

/* Until nothing that was queued lies where these requests go. Of reads: WODAN_EIO, WODAN_ENOSPC when what is queued there could
 * not be written; of others when anything could not. */
int behind_clear(struct behind *behind, const struct wodan_io *requests, size_t count, struct wodan_error *error);
/* Until all that was queued before is written, or WODAN_EIO, WODAN_ENOSPC. */
int behind_wait(struct behind *behind, struct wodan_error *error);

#endif
