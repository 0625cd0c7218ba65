/* What: the mutator of whole images. Most changes go to places that mean something; afterwards the checksums are right
 * again, but for one in sixteen.
 *
 * See: image.h. */
#include <string.h>
#include "support/image.h"
#include "support/random.h"

enum { UNIT = 512, WINDOW_MAX = 32 };

static uint64_t striking(const struct image *image, uint64_t *random, uint64_t present) {
  const uint64_t values[] = {0,
                             1,
                             present + 1,
                             present - 1,
                             present * 2,
                             present << 8,
                             image->bounds.data_end,
                             image->bounds.data_end + 1,
                             image->bounds.data_first,
                             image->size,
                             UINT64_MAX,
                             UINT64_MAX - 1,
                             (uint64_t)1 << 63,
                             (uint64_t)1 << 62,
                             INT64_MAX,
                             0x80,
                             UINT32_MAX,
                             random_next(random)};
  return values[random_below(random, sizeof values / sizeof values[0])];
}

static void change_place(struct image *image, uint64_t *random) {
  const struct image_place *place = &image->places[random_below(random, image->place_count)];
  uint8_t *at = image->bytes + place->offset;
  size_t offset = random_below(random, place->size), left = place->size - offset;
  size_t width = (size_t)1 << random_below(random, 4);
  if (random_below(random, 2)) { /* a window of it, in whatever way the fuzzer likes */
    if (left > WINDOW_MAX) left = 1 + random_below(random, WINDOW_MAX);
    LLVMFuzzerMutate(at + offset, left, left);
    return;
  }
  offset -= offset % width; /* fields are mostly aligned */
  if (width > place->size - offset) width = 1;
  uint64_t present = 0;
  memcpy(&present, at + offset, width);
  present = striking(image, random, present);
  for (size_t i = 0; i < width; i++) at[offset + i] = (uint8_t)(present >> 8 * i);
}

/* One place over another: a structure presented as a different one, or a pointer that names what another does. */
static void copy_place(struct image *image, uint64_t *random) {
  const struct image_place *from = &image->places[random_below(random, image->place_count)];
  const struct image_place *to = &image->places[random_below(random, image->place_count)];
  size_t size = from->size < to->size ? from->size : to->size, skip = 0;
  if (random_below(random, 2)) {
    skip = random_below(random, size);
    size = 1 + random_below(random, size - skip);
  }
  memmove(image->bytes + to->offset + skip, image->bytes + from->offset + skip, size);
}

static void copy_unit(struct image *image, uint64_t *random) {
  size_t units = image->size / UNIT;
  size_t from = random_below(random, units), to = random_below(random, units);
  if (random_below(random, 4))
    memmove(image->bytes + to * UNIT, image->bytes + from * UNIT, UNIT);
  else
    memset(image->bytes + to * UNIT, 0, UNIT);
}

size_t image_mutate(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  static struct image image;
  uint64_t random = seed;
  if (size > size_max) size = size_max;
  if (size < 2 * UNIT) return LLVMFuzzerMutate(data, size, size_max);
  size -= size % UNIT;
  image_walk(&image, data, size, false);
  unsigned what = (unsigned)random_below(&random, 16);
  if (what == 0) {
    size_t changed = size + UNIT * random_below(&random, 9) - 4 * UNIT;
    if (random_below(&random, 2)) changed = size - UNIT * random_below(&random, size / UNIT);
    if (changed > size_max || changed < UNIT) changed = size;
    if (changed > size) memset(data + size, 0, changed - size);
    size = changed;
  } else if (what < 3 || image.place_count == 0) {
    copy_unit(&image, &random);
  } else if (what < 5) {
    copy_place(&image, &random);
  } else {
    for (uint64_t left = 1 + random_below(&random, 3); left > 0; left--) change_place(&image, &random);
  }
  if (random_below(&random, 16)) image_walk(&image, data, size, true);
  return size;
}
