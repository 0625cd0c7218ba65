/* An image being read: its source, its superblock, what was found so far, and how much memory is taken. */
#ifndef MIRAGE_IMAGE_H
#define MIRAGE_IMAGE_H

#include "findings.h"
#include "mirage.h"
#include "node.h"

struct mirage_image {
  const struct mirage_source *source;
  const struct wodan_check_options *options;
  struct mirage_summary *summary;
  struct wodan_error *error;
  struct mirage_superblock superblock;
  uint64_t blocks;             /* that are there: no more than the superblock tells or the source holds */
  uint64_t memory, memory_max; /* bytes */
  uint8_t *visited;            /* a bit a block: in the tree */
  uint8_t *spare;              /* one block, for looking at what is not kept */
  bool cancelled;
  bool unreached; /* something could not be looked at */
};

/* Reads the superblock. 0 when the image can be looked at; WODAN_DONE when a finding says why not; else a status. The image
 * is released in every case by mirage_image_release. */
int mirage_image_open(struct mirage_image *image);
void mirage_image_release(struct mirage_image *image);

/* Memory that counts; NULL with *error filled when there is none, or it would be too much. */
void *mirage_image_allocate(struct mirage_image *image, uint64_t size);
void mirage_image_free(struct mirage_image *image, void *memory, uint64_t size);

/* The range of keys a finding may concern: those above lower, up to and with upper. NULL: open. */
struct mirage_range {
  const uint8_t *lower, *upper;
};

/* Counts and reports a finding. block and range may be WODAN_NO_BLOCK and NULL. */
void mirage_found(struct mirage_image *image, enum mirage_finding id, uint64_t block, const struct mirage_range *range,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Tells the progress; true when the caller wants no more. */
bool mirage_step(struct mirage_image *image, uint64_t done);

/* Reads bytes from the start of a block. 0 or a number of errno.h. */
int mirage_read(const struct mirage_image *image, uint64_t block, void *buffer, size_t size);

/* The block's checksum is good. */
bool mirage_whole(const struct mirage_image *image, const uint8_t *block);

static inline bool mirage_visited(const struct mirage_image *image, uint64_t block) {
  return image->visited[block / 8] >> block % 8 & 1;
}

/* The valid root of the highest generation below `limit`. 0 or WODAN_ENOTFOUND. *twice: a block with another valid root of
 * that generation, or 0. */
struct mirage_root {
  uint64_t block, generation, twice;
  uint32_t height;
};
int mirage_find_root(struct mirage_image *image, uint64_t limit, struct mirage_root *root);
/* Every valid root. */
void mirage_each_root(struct mirage_image *image, mirage_root_taker *take, void *context);

#endif
