/* Scratch: memory of one handle that is thrown away whole, as when its process dies. Giving single pieces back does nothing. */
#ifndef CRASH_SCRATCH_H
#define CRASH_SCRATCH_H

#include <wodan/types.h>
#include "base/mem.h"

struct scratch_chunk;
struct scratch {
  struct mem mem;
  struct scratch_chunk *first, *now;
  size_t used; /* of the chunk at hand */
};

void scratch_init(struct scratch *scratch);
void scratch_release(struct scratch *scratch);
/* Everything handed out is gone. */
void scratch_reset(struct scratch *scratch);
struct wodan_allocator scratch_allocator(struct scratch *scratch);

#endif
