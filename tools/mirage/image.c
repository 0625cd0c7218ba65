/* What: the image: superblock, blocks, roots, findings, memory.
 *
 * Always true: only source->read is called, never for bytes outside the source; no more than memory_max is taken; the
 * number of blocks is one that the source can hold, whatever the superblock tells.
 *
 * Order: mirage_image_open before everything else; done goes up only, to three times the number of blocks (the search for
 * the root, the tree, what is outside it).
 *
 * See: mirage.h; tests/unit/test_mirage.c. */
#include "image.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"

static const uint64_t MEMORY_DEFAULT = 1ull << 30;

static int fail(struct wodan_error *error, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int fail(struct wodan_error *error, int status, const char *format, ...) {
  *error = (struct wodan_error){.code = status, .block = WODAN_NO_BLOCK};
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error->message, sizeof error->message, format, arguments);
  va_end(arguments);
  return status;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

void *mirage_image_allocate(struct mirage_image *image, uint64_t size) {
  if (size > image->memory_max - image->memory || size > SIZE_MAX) {
    fail(image->error, WODAN_EBUDGET, "%" PRIu64 " bytes are too few for this image", image->memory_max);
    return NULL;
  }
  void *memory = calloc(1, size ? (size_t)size : 1);
  if (!memory) fail(image->error, WODAN_ENOMEM, "%s", wodan_strerror(WODAN_ENOMEM));
  if (memory) image->memory += size;
  return memory;
}

void mirage_image_free(struct mirage_image *image, void *memory, uint64_t size) {
  if (!memory) return;
  free(memory);
  image->memory -= size;
}

/* ---- findings ---------------------------------------------------------------------------------------------------- */

static const struct {
  uint32_t number, severity;
  const char *sentence;
} FINDINGS[] = {
#define ROW(name, number, severity, sentence) {number, severity, sentence},
    MIRAGE_FINDINGS_TABLE(ROW)
#undef ROW
};

/* The key behind `key`, which ends a range that goes up to `key` and with it. false: there is none. */
static bool key_after(const uint8_t *key, size_t size, uint8_t out[KEY_SIZE_MAX]) {
  memcpy(out, key, size);
  for (size_t at = size; at-- > 0;) {
    if (++out[at]) return true;
  }
  return false;
}

static void count(struct wodan_check_report *report, uint32_t severity) {
  report->notes += severity == WODAN_NOTE;
  report->warnings += severity == WODAN_WARNING;
  report->damages += severity == WODAN_DAMAGE;
}

void mirage_found(struct mirage_image *image, enum mirage_finding id, uint64_t block, const struct mirage_range *range,
                  const char *format, ...) {
  char details[160], message[sizeof image->error->message];
  uint8_t lower[KEY_SIZE_MAX], upper[KEY_SIZE_MAX];
  size_t row = 0, key_size = image->superblock.key_size;
  while (FINDINGS[row].number != (uint32_t)id) row++;
  count(&image->summary->report, FINDINGS[row].severity);
  if (!image->options->finding) return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(details, sizeof details, format, arguments);
  va_end(arguments);
  snprintf(message, sizeof message, FINDINGS[row].sentence, details);
  struct wodan_finding finding = {.id = (uint32_t)id,
                                  .remedy = "",
                                  .severity = FINDINGS[row].severity,
                                  .block = block,
                                  .generation = image->summary->report.generation,
                                  .message = message};
  if (range) {
    finding.has_range = 1;
    finding.has_lower = range->lower && key_after(range->lower, key_size, lower);
    finding.has_upper = range->upper && key_after(range->upper, key_size, upper);
    finding.lower = (struct wodan_slice){lower, finding.has_lower ? key_size : 0};
    finding.upper = (struct wodan_slice){upper, finding.has_upper ? key_size : 0};
  }
  image->options->finding(image->options->context, &finding);
}

bool mirage_step(struct mirage_image *image, uint64_t done) {
  if (!image->cancelled && image->options->progress)
    image->cancelled = image->options->progress(image->options->context, done, 3 * image->blocks) != 0;
  return image->cancelled;
}

/* ---- the superblock ---------------------------------------------------------------------------------------------- */

static void look_at_sizes(struct mirage_image *image) {
  const struct mirage_superblock *superblock = &image->superblock;
  uint64_t there = image->source->size / superblock->block_size;
  image->blocks = superblock->blocks < there ? superblock->blocks : there;
  if (superblock->blocks > there)
    mirage_found(image, MIRAGE_DEVICE_SHORT, WODAN_NO_BLOCK, NULL, "%" PRIu64 " of %" PRIu64 " blocks are there", there,
                 superblock->blocks);
  if (superblock->first_block == 0 || superblock->first_block >= superblock->blocks)
    mirage_found(image, MIRAGE_FIRST_BLOCK, 0, NULL, "%" PRIu64 " of %" PRIu64, superblock->first_block,
                 superblock->blocks);
  if (superblock->compatible) mirage_found(image, MIRAGE_COMPATIBLE_FLAGS, 0, NULL, "%" PRIu32, superblock->compatible);
}

int mirage_image_open(struct mirage_image *image) {
  uint8_t bytes[SUPERBLOCK_SIZE];
  char text[120];
  image->memory_max = image->options->memory_limit ? image->options->memory_limit : MEMORY_DEFAULT;
  if (image->source->size < sizeof bytes)
    return fail(image->error, WODAN_EFORMAT, "this is not a MirageOS Wodan image");
  int number = image->source->read(image->source->context, 0, bytes, sizeof bytes);
  if (number) {
    fail(image->error, WODAN_EIO, "the superblock cannot be read: %s", strerror(number));
    image->error->device_errno = number;
    return WODAN_EIO;
  }
  if (!mirage_superblock_is(bytes)) return fail(image->error, WODAN_EFORMAT, "this is not a MirageOS Wodan image");
  int found = mirage_superblock_decode(bytes, &image->superblock, text, sizeof text);
  if (found) {
    mirage_found(image, (enum mirage_finding)found, 0, NULL, "%s", text);
    return WODAN_DONE;
  }
  struct mirage_summary *summary = image->summary;
  summary->block_size = image->superblock.block_size;
  summary->key_size = image->superblock.key_size;
  summary->tombstones = image->superblock.incompatible & FEATURE_TOMBSTONES;
  look_at_sizes(image);
  summary->report.blocks = image->superblock.blocks;
  image->visited = mirage_image_allocate(image, image->blocks / 8 + 1);
  image->spare = image->visited ? mirage_image_allocate(image, image->superblock.block_size) : NULL;
  return image->spare ? 0 : image->error->code;
}

void mirage_image_release(struct mirage_image *image) {
  mirage_image_free(image, image->spare, image->superblock.block_size);
  mirage_image_free(image, image->visited, image->blocks / 8 + 1);
  image->spare = image->visited = NULL;
}

/* ---- blocks and roots -------------------------------------------------------------------------------------------- */

int mirage_read(const struct mirage_image *image, uint64_t block, void *buffer, size_t size) {
  return image->source->read(image->source->context, block * image->superblock.block_size, buffer, size);
}

bool mirage_whole(const struct mirage_image *image, const uint8_t *block) {
  return mirage_crc32c(block, image->superblock.block_size) == UINT32_MAX;
}

/* A block that cannot be read now may hold the newest root. */
static bool unread(struct mirage_image *image, uint64_t block, int number) {
  if (number == 0) return false;
  mirage_found(image, MIRAGE_SEARCH_UNREADABLE, block, NULL, "%s", strerror(number));
  image->summary->doubtful++;
  return true;
}

/* The header is that of a root of this file system; its checksum is not looked at. */
static bool claims_root(struct mirage_image *image, uint64_t block, uint64_t *generation) {
  uint8_t bytes[NODE_HEADER_SIZE];
  if (unread(image, block, mirage_read(image, block, bytes, sizeof bytes))) return false;
  struct mirage_node_header header = mirage_node_header_decode(bytes);
  *generation = header.generation;
  /* The code it comes from compares generations as signed numbers. */
  return header.type == NODE_ROOT && header.generation > 0 && header.generation <= INT64_MAX &&
         memcmp(header.fsid, image->superblock.fsid, FSID_SIZE) == 0;
}

static bool whole_at(struct mirage_image *image, uint64_t block) {
  int number = mirage_read(image, block, image->spare, image->superblock.block_size);
  return !unread(image, block, number) && mirage_whole(image, image->spare);
}

int mirage_find_root(struct mirage_image *image, uint64_t limit, struct mirage_root *root) {
  uint64_t generation;
  struct mirage_node node;
  *root = (struct mirage_root){0};
  for (uint64_t block = 1; block < image->blocks && !mirage_step(image, block); block++) {
    if (!claims_root(image, block, &generation) || generation >= limit || generation < root->generation) continue;
    if (!whole_at(image, block)) continue;
    if (generation == root->generation) {
      root->twice = block;
      continue;
    }
    mirage_node_measure(&node, &image->superblock, image->spare); /* whether it can be is found out in the walk */
    *root = (struct mirage_root){.block = block, .generation = generation, .height = node.height};
  }
  return root->block ? 0 : WODAN_ENOTFOUND;
}

void mirage_each_root(struct mirage_image *image, mirage_root_taker *take, void *context) {
  uint64_t generation;
  for (uint64_t block = 1; block < image->blocks; block++) {
    if (claims_root(image, block, &generation) && whole_at(image, block)) take(context, generation, block);
  }
}
