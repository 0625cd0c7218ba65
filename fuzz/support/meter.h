/* Memory hooks that count, and fail on demand. */
#ifndef FUZZ_SUPPORT_METER_H
#define FUZZ_SUPPORT_METER_H

#include <stddef.h>
#include <stdint.h>
#include <wodan/types.h>

struct meter {
  size_t used, peak; /* bytes */
  uint64_t calls;
  uint64_t fail_at; /* the allocation with this number fails, and with `for_ever` all later ones; 0: none */
  int for_ever;
  uint64_t failed; /* how many did */
};

/* Not for several threads at once. The memory comes from an arena that begins anew when all of it was given back, with poisoned
 * zones between the pieces: a sanitizer's own allocator takes a third of a target's time. */
struct wodan_allocator meter_hooks(struct meter *meter);

/* From now on it comes from the heap, piece by piece: where it came from then stands in a finding, and leaks are found. */
void meter_use_heap(void);

#endif
