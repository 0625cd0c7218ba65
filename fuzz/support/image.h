/* Images of volumes as inputs: what lies where in one, and checksums that are right again after a change. Reads what the
 * product would read, from the superblock to the pages, but takes wrong checksums for right ones. */
#ifndef FUZZ_SUPPORT_IMAGE_H
#define FUZZ_SUPPORT_IMAGE_H

#include <wodan/check.h>
#include "format/superblock.h"
#include "support/kept_device.h"
#include "support/volume.h"

enum { IMAGE_PLACES_MAX = 512 };

/* Bytes that mean something: a superblock, a block of the ring, a header, an index, a table, a list, a page, a chunk. */
struct image_place {
  size_t offset, size;
};

struct image {
  uint8_t *bytes;
  size_t size;
  struct volume_bounds bounds;
  uint64_t seed;
  struct superblock superblock;
  bool repairs;
  unsigned visits; /* objects that may still be looked at: a hostile tree has no end */
  struct image_place places[IMAGE_PLACES_MAX];
  size_t place_count;
};

/* Fills the places; with `repairs` makes every checksum right that it comes to, those in pointers and chains too. */
void image_walk(struct image *image, uint8_t *bytes, size_t size, bool repairs);
/* The object behind an encoded pointer inside `bytes` of the walked image (or of a part of it that was copied): repaired,
 * and its new checksum put into the pointer. r stands on the pointer, in memory that may be written, and moves behind it. */
void image_walk_pointer(struct image *image, struct wire_reader *r, unsigned depth);

/* The checksum of the journal block `sequence` made right, and the chain behind it; what the block itself says of those
 * before it stays. */
void image_seal_ring(struct image *image, uint8_t *bytes, size_t size, uint64_t sequence);

/* An input as the bytes of a device, whole sectors; `repaired`: with every checksum right that the walk comes to. NULL: it is
 * shorter than a sector. Given back with kept_free. */
enum { IMAGE_SECTOR = 512 };
struct kept_bytes *image_take(const uint8_t *data, size_t size, bool repaired);
/* wodan_check, and all that is demanded of it: no write, reads and memory within their bounds, a report that agrees with what was
 * told. The status. */
int image_check(struct kept_bytes *kept, struct wodan_check_report *report);
/* Demands that it opens and is read without an error, its keys ascending: for what a check calls whole. */
void image_expect_readable(struct kept_bytes *kept);

/* A mutator of whole images. */
size_t image_mutate(uint8_t *data, size_t size, size_t size_max, unsigned seed);

/* Small volumes as the product leaves them: empty, filled, deep, emptied, compacted, killed. */
size_t image_seed(unsigned number, uint8_t *out, size_t size_max);

#endif
