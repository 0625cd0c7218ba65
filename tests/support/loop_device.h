/* A loop device over a temporary file, for tests that need a block device; no other block device is ever opened. */
#ifndef SUPPORT_LOOP_DEVICE_H
#define SUPPORT_LOOP_DEVICE_H

#include <stdint.h>

struct loop_device {
  char file[64], device[64];
};

/* NULL, or why there is none. */
const char *loop_device_make(struct loop_device *loop, uint64_t size);
void loop_device_drop(struct loop_device *loop);

#endif
