/* A device over the bytes of a damaged image, of which some cannot be read, and none written. */
#ifndef SUPPORT_MEDIUM_H
#define SUPPORT_MEDIUM_H

#include <wodan/device.h>
#include "support/patch.h"

struct medium {
  struct wodan_device device; /* first */
  const struct patch *image;
  uint64_t read, others; /* bytes; requests that are no reads */
};

/* No close is needed; the image outlives it. */
void medium_open(struct medium *medium, const struct patch *image);

#endif
