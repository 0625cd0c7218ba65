/* What: memory hooks that count. See meter.h. */
#include "support/meter.h"

#include <stdlib.h>
#include "fuzz.h"

static void *allocate(void *context, size_t size, size_t alignment) {
  struct meter *meter = context;
  meter->calls++;
  if (meter->fail_at && (meter->calls == meter->fail_at || (meter->for_ever && meter->calls > meter->fail_at))) {
    meter->failed++;
    return NULL;
  }
  void *memory = NULL;
  if (posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, size)) return NULL;
  meter->used += size;
  if (meter->used > meter->peak) meter->peak = meter->used;
  return memory;
}

static void release(void *context, void *memory, size_t size) {
  struct meter *meter = context;
  FUZZ_CHECK(meter->used >= size);
  meter->used -= size;
  free(memory);
}

struct wodan_allocator meter_hooks(struct meter *meter) {
  return (struct wodan_allocator){.context = meter, .allocate = allocate, .release = release};
}
