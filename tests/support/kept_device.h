/* A memory device whose bytes outlive its closing: a disk that is unplugged and plugged in again. Flush makes durable. */
#ifndef SUPPORT_KEPT_DEVICE_H
#define SUPPORT_KEPT_DEVICE_H

#include <wodan/device.h>

struct kept_bytes {
  uint8_t *data;
  uint64_t size;
  uint64_t writes, flushes, barriers, reads; /* requests since it was made */
  uint64_t written, read_bytes;              /* bytes */
};

struct kept_bytes *kept_create(uint64_t size);
void kept_free(struct kept_bytes *kept);
/* A device on these bytes. read_only: writes fail (and are counted: none may come). */
struct wodan_device *kept_plug(struct kept_bytes *kept, uint32_t sector, int read_only);

#endif
