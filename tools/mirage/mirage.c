/* What: what is done with an image: checked, asked for its roots, and read.
 *
 * Always true: a check that answers 0 with no damage has seen every node of the tree whole; mirage_records gives the same
 * records as that check counted, or fails.
 *
 * Order: the root is searched for first; then the tree; then what is outside it.
 *
 * See: mirage.h; tests/unit/test_mirage.c. */
#include "mirage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "walk.h"

static const struct wodan_check_options NO_OPTIONS = {.size = sizeof NO_OPTIONS};

/* An fsid that differs in a few bytes is ours and hurt; one that differs in most is of another file system. */
enum { FSID_HURT_MAX = 4 };

static bool resembles_node(const struct mirage_image *image, const uint8_t bytes[NODE_HEADER_SIZE]) {
  struct mirage_node_header header = mirage_node_header_decode(bytes);
  int differ = 0;
  bool empty = true;
  for (size_t i = 0; i < FSID_SIZE; i++) differ += header.fsid[i] != image->superblock.fsid[i];
  for (size_t i = 0; i < NODE_HEADER_SIZE; i++) empty = empty && bytes[i] == 0;
  return !empty && differ <= FSID_HURT_MAX;
}

/* Former nodes outside the tree. A torn one is what a power cut leaves; but a newest root that rotted looks the same. */
static void look_outside(struct mirage_image *image) {
  uint8_t bytes[NODE_HEADER_SIZE];
  for (uint64_t block = 1; block < image->blocks && !mirage_step(image, 2 * image->blocks + block); block++) {
    if (mirage_visited(image, block)) continue;
    int number = mirage_read(image, block, bytes, sizeof bytes);
    bool node = number == 0 && resembles_node(image, bytes);
    if (node) number = mirage_read(image, block, image->spare, image->superblock.block_size);
    if (number) {
      mirage_found(image, MIRAGE_OUTSIDE_UNREADABLE, block, NULL, "%s", strerror(number));
      image->summary->doubtful++;
    } else if (node && !mirage_whole(image, image->spare)) {
      struct mirage_node_header header = mirage_node_header_decode(bytes);
      mirage_found(image, MIRAGE_OUTSIDE_DAMAGED, block, NULL, "type %" PRIu32 ", generation %" PRIu64, header.type,
                   header.generation);
      image->summary->doubtful++;
    }
  }
}

/* Chooses the root that the options ask for. 0, WODAN_DONE after a finding, or a status. */
static int choose_root(struct mirage_image *image, struct mirage_root *root) {
  uint64_t wanted = image->options->generation;
  int status = mirage_find_root(image, wanted ? wanted + 1 : UINT64_MAX, root);
  if (image->cancelled) return WODAN_DONE;
  if (wanted && (status < 0 || root->generation != wanted)) {
    *image->error = (struct wodan_error){.code = WODAN_ENOTFOUND, .block = WODAN_NO_BLOCK};
    snprintf(image->error->message, sizeof image->error->message, "there is no root of generation %" PRIu64, wanted);
    return WODAN_ENOTFOUND;
  }
  if (status < 0) {
    mirage_found(image, MIRAGE_NO_ROOT, WODAN_NO_BLOCK, NULL, "%" PRIu64 " blocks were looked at", image->blocks);
    return WODAN_DONE;
  }
  image->summary->report.generation = root->generation;
  if (wanted) mirage_found(image, MIRAGE_ROOT_CHOSEN, root->block, NULL, "generation %" PRIu64, wanted);
  if (root->twice)
    mirage_found(image, MIRAGE_ROOT_TWICE, root->twice, NULL, "generation %" PRIu64 ", as in block %" PRIu64,
                 root->generation, root->block);
  return 0;
}

static int check(struct mirage_image *image) {
  struct mirage_root root;
  int status = mirage_image_open(image);
  if (status == 0) status = choose_root(image, &root);
  if (status == 0) status = mirage_walk(image, &root, NULL, NULL);
  if (status < 0) return status;
  if (status == 0 && !image->cancelled) look_outside(image);
  if (status == 0 && !image->cancelled) mirage_step(image, 3 * image->blocks);
  image->summary->report.complete = status == 0 && !image->cancelled && !image->unreached;
  return 0;
}

int mirage_check(const struct mirage_source *source, const struct wodan_check_options *options,
                 struct mirage_summary *summary, struct wodan_error *error) {
  struct wodan_error own = {.block = WODAN_NO_BLOCK};
  *summary = (struct mirage_summary){0};
  struct mirage_image image = {
      .source = source, .options = options ? options : &NO_OPTIONS, .summary = summary, .error = error ? error : &own};
  int status = check(&image);
  mirage_image_release(&image);
  return status;
}

/* ---- a root, the records ----------------------------------------------------------------------------------------- */

/* Damage where there should be none any more: the first finding ends the reading. */
static void on_damage(void *context, const struct wodan_finding *finding) {
  struct wodan_error *error = context;
  if (finding->severity != WODAN_DAMAGE || error->code) return;
  *error = (struct wodan_error){.code = WODAN_ECORRUPT, .block = finding->block};
  snprintf(error->message, sizeof error->message, "%s", finding->message);
}

/* Opens an image of which only something is wanted; a finding that forbids it becomes the error. */
static int open_for(struct mirage_image *image, const struct wodan_check_options *options) {
  *image->error = (struct wodan_error){.block = WODAN_NO_BLOCK};
  image->options = options;
  int status = mirage_image_open(image);
  return status == WODAN_DONE ? WODAN_ECORRUPT : status;
}

int mirage_root_below(const struct mirage_source *source, uint64_t limit, uint64_t *generation,
                      struct wodan_error *error) {
  struct mirage_summary summary = {0};
  struct mirage_root root = {0};
  const struct wodan_check_options options = {.size = sizeof options, .context = error, .finding = on_damage};
  struct mirage_image image = {.source = source, .summary = &summary, .error = error};
  int status = open_for(&image, &options);
  if (status == 0) status = mirage_find_root(&image, limit, &root);
  *generation = root.generation;
  mirage_image_release(&image);
  return status;
}

int mirage_roots(const struct mirage_source *source, mirage_root_taker *take, void *context,
                 struct wodan_error *error) {
  struct mirage_summary summary = {0};
  const struct wodan_check_options options = {.size = sizeof options, .context = error, .finding = on_damage};
  struct mirage_image image = {.source = source, .summary = &summary, .error = error};
  int status = open_for(&image, &options);
  if (status == 0) mirage_each_root(&image, take, context);
  mirage_image_release(&image);
  return status;
}

int mirage_records(const struct mirage_source *source, uint64_t generation, mirage_record *record, void *context,
                   struct wodan_error *error) {
  struct mirage_summary summary = {0};
  struct mirage_root root;
  const struct wodan_check_options options = {
      .size = sizeof options, .context = error, .finding = on_damage, .generation = generation};
  struct mirage_image image = {.source = source, .summary = &summary, .error = error};
  int status = open_for(&image, &options);
  if (status == 0) status = choose_root(&image, &root);
  if (status == 0) status = mirage_walk(&image, &root, record, context);
  mirage_image_release(&image);
  if (status == WODAN_DONE) status = WODAN_ECORRUPT;
  return status == 0 && error->code ? error->code : status;
}
