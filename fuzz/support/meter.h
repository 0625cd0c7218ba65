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

/* Not for several threads at once. */
struct wodan_allocator meter_hooks(struct meter *meter);

#endif
