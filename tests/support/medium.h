/* A device over the bytes of a damaged image, of which some cannot be read until they are written again. */
#ifndef SUPPORT_MEDIUM_H
#define SUPPORT_MEDIUM_H

#include <stdbool.h>
#include <wodan/device.h>
#include "support/patch.h"

struct medium {
  struct wodan_device device; /* first */
  struct patch *image;
  bool writable;
  uint64_t read, others; /* bytes; requests that are no reads */
};

/* No close is needed; the image outlives it. Not writable: a write fails, and is counted. */
void medium_open(struct medium *medium, struct patch *image, bool writable);

#endif
