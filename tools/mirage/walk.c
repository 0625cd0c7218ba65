/* What: the walk through the tree.
 *
 * Records come out of a merge: each node on the way down has its values in key order and a place in them, and whenever a
 * node is done, all values up to the end of its range are taken from all nodes on the way, the lowest key first; of equal
 * keys the one nearest the root is the newest and the others are shadowed.
 *
 * Always true: every block is read at most once, since a block is marked before it is read and a marked one is not
 * entered; a node's values outside its range are left out, so keys come out in strictly ascending order, from a hostile
 * image too; the recursion is no deeper than the root's height, which is at most MIRAGE_HEIGHT_MAX.
 *
 * Order: a node is proven (checksum, type, fsid, generation) before its lists are measured.
 *
 * See: mirage.h; tests/unit/test_mirage.c, tests/cli/test_mirage.sh. */
#include "walk.h"

#include <inttypes.h>
#include <string.h>

struct level {
  struct mirage_node node;
  uint32_t next, end; /* values not taken yet, those outside the range left out */
};

struct walk {
  struct mirage_image *image;
  mirage_record *record;
  void *context;
  struct level levels[MIRAGE_HEIGHT_MAX + 1];
  uint32_t depth; /* levels in use */
  uint64_t visits;
  int status; /* other than 0 ends the walk */
};

/* A node to enter. */
struct place {
  uint64_t block;
  uint64_t generation_limit; /* it is below this */
  uint32_t height;
  struct mirage_range range;
};

static size_t key_size(const struct walk *walk) { return walk->image->superblock.key_size; }

static bool above(const struct walk *walk, const uint8_t *key, const uint8_t *limit) {
  return limit && memcmp(key, limit, key_size(walk)) > 0;
}

static bool within(const struct walk *walk, const uint8_t *key, const struct mirage_range *range) {
  return (!range->lower || above(walk, key, range->lower)) && !above(walk, key, range->upper);
}

/* ---- the records ------------------------------------------------------------------------------------------------- */

static void take(struct walk *walk, const struct level *level) {
  struct mirage_summary *summary = walk->image->summary;
  const struct mirage_node *node = &level->node;
  uint32_t size = mirage_node_value_size(node, level->next);
  if (summary->tombstones && size == 0) {
    summary->deletions++;
    return;
  }
  summary->report.records++;
  if (size > summary->value_size_max) summary->value_size_max = size;
  if (!walk->record) return;
  walk->status =
      walk->record(walk->context, (struct wodan_slice){mirage_node_value_key(node, level->next), key_size(walk)},
                   (struct wodan_slice){mirage_node_value(node, level->next), size});
}

/* Takes what has keys up to `upper` from all nodes on the way. */
static void merge(struct walk *walk, const uint8_t *upper) {
  /* Who takes the records wants all of them or to know. */
  if (walk->record && walk->image->summary->report.damages) walk->status = WODAN_ECORRUPT;
  while (walk->status == 0) {
    const uint8_t *lowest = NULL;
    for (uint32_t i = 0; i < walk->depth; i++) {
      const struct level *level = &walk->levels[i];
      if (level->next == level->end) continue;
      const uint8_t *key = mirage_node_value_key(&level->node, level->next);
      if (!lowest || memcmp(key, lowest, key_size(walk)) < 0) lowest = key;
    }
    if (!lowest || above(walk, lowest, upper)) return;
    bool taken = false;
    for (uint32_t i = 0; i < walk->depth; i++) {
      struct level *level = &walk->levels[i];
      while (level->next < level->end &&
             memcmp(mirage_node_value_key(&level->node, level->next), lowest, key_size(walk)) == 0) {
        if (!taken) take(walk, level);
        walk->image->summary->shadowed += taken;
        taken = true;
        level->next++;
      }
    }
  }
}

/* ---- a node ------------------------------------------------------------------------------------------------------ */

/* Reads the block and proves that it is the node it should be; measures it. */
static bool prove(struct walk *walk, const struct place *place, uint8_t *block) {
  struct mirage_image *image = walk->image;
  uint32_t type = walk->depth == 0 ? NODE_ROOT : NODE_CHILD;
  int number = mirage_read(image, place->block, block, image->superblock.block_size);
  if (number) {
    mirage_found(image, MIRAGE_UNREADABLE, place->block, &place->range, "%s", strerror(number));
    return false;
  }
  struct mirage_node_header header = mirage_node_header_decode(block);
  if (!mirage_whole(image, block)) {
    mirage_found(image, MIRAGE_CHECKSUM, place->block, &place->range, "height %" PRIu32, place->height);
    return false;
  }
  if (header.type != type) {
    mirage_found(image, MIRAGE_TYPE, place->block, &place->range, "type %" PRIu32, header.type);
    return false;
  }
  if (memcmp(header.fsid, image->superblock.fsid, FSID_SIZE) != 0) {
    mirage_found(image, MIRAGE_FSID, place->block, &place->range, "generation %" PRIu64, header.generation);
    return false;
  }
  if (header.generation == 0 || header.generation >= place->generation_limit) {
    mirage_found(image, MIRAGE_GENERATION, place->block, &place->range, "%" PRIu64 " below %" PRIu64, header.generation,
                 place->generation_limit);
    return false;
  }
  if (!mirage_node_measure(&walk->levels[walk->depth].node, &image->superblock, block)) {
    mirage_found(image, MIRAGE_VALUES_LENGTH, place->block, &place->range, "%" PRIu32 " values", header.value_count);
    return false;
  }
  return true;
}

static void look_at_links(struct walk *walk, const struct place *place, const struct mirage_node *node) {
  struct mirage_image *image = walk->image;
  const uint8_t *last = node->link_count ? mirage_node_link_key(node, node->link_count - 1) : NULL;
  uint32_t gap = mirage_node_gap_bytes(node);
  if (gap) mirage_found(image, MIRAGE_GAP, place->block, NULL, "%" PRIu32 " bytes", gap);
  if (node->link_count &&
      node->values_end > image->superblock.block_size / 2) /* which its own code never lets happen */
    mirage_found(image, MIRAGE_OVERLAP, place->block, &place->range, "values end at byte %" PRIu32, node->values_end);
  if (place->height == 0 && node->link_count)
    mirage_found(image, MIRAGE_CHILD_OF_LEAF, place->block, &place->range, "%" PRIu32, node->link_count);
  if (place->height == 0) return;
  if (!last) {
    mirage_found(image, MIRAGE_CHILD_NONE, place->block, &place->range, "height %" PRIu32, place->height);
    return;
  }
  bool reaches = true; /* the root's range ends at the key of all ff */
  if (place->range.upper) reaches = memcmp(last, place->range.upper, key_size(walk)) >= 0;
  for (size_t i = 0; i < key_size(walk) && !place->range.upper; i++) reaches = reaches && last[i] == UINT8_MAX;
  if (!reaches)
    mirage_found(image, MIRAGE_CHILD_LAST, place->block, &(struct mirage_range){last, place->range.upper},
                 "%" PRIu32 " children", node->link_count);
}

/* Puts both lists in order and leaves out the values that are outside the range. */
static void look_inside(struct walk *walk, const struct place *place, struct level *level) {
  struct mirage_image *image = walk->image;
  struct mirage_node *node = &level->node;
  struct mirage_node_disorder found = mirage_node_index(node);
  if (found.values)
    mirage_found(image, MIRAGE_VALUE_ORDER, place->block, NULL, "%" PRIu32 " values", node->value_count);
  if (found.values_twice)
    mirage_found(image, MIRAGE_VALUE_TWICE, place->block, &place->range, "%" PRIu32 " values", node->value_count);
  if (found.links) mirage_found(image, MIRAGE_CHILD_ORDER, place->block, NULL, "%" PRIu32 " links", node->link_count);
  if (found.links_twice)
    mirage_found(image, MIRAGE_CHILD_TWICE, place->block, &place->range, "%" PRIu32 " links", node->link_count);
  level->next = 0;
  level->end = node->value_count;
  while (level->next < level->end && !within(walk, mirage_node_value_key(node, level->next), &place->range))
    level->next++;
  while (level->next < level->end && !within(walk, mirage_node_value_key(node, level->end - 1), &place->range))
    level->end--;
  uint32_t outside = node->value_count - (level->end - level->next);
  if (outside)
    mirage_found(image, MIRAGE_KEY_RANGE, place->block, &place->range, "%" PRIu32 " of %" PRIu32, outside,
                 node->value_count);
  look_at_links(walk, place, node);
}

/* ---- the tree ---------------------------------------------------------------------------------------------------- */

static void enter(struct walk *walk, const struct place *place);

/* Whether a child's link can be followed. */
static bool may_enter(struct walk *walk, uint64_t parent, const struct place *child, const struct mirage_range *range) {
  struct mirage_image *image = walk->image;
  if (!within(walk, child->range.upper, range)) {
    mirage_found(image, MIRAGE_CHILD_RANGE, parent, range, "to block %" PRIu64, child->block);
    return false;
  }
  if (child->block >= image->blocks) {
    mirage_found(image, MIRAGE_CHILD_OUTSIDE, parent, &child->range, "to block %" PRIu64 " of %" PRIu64, child->block,
                 image->blocks);
    return false;
  }
  if (mirage_visited(image, child->block)) {
    mirage_found(image, MIRAGE_CHILD_SHARED, parent, &child->range, "block %" PRIu64, child->block);
    return false;
  }
  return true;
}

static void enter_children(struct walk *walk, const struct place *place, const struct mirage_node *node) {
  struct place child = {.generation_limit = node->header.generation, .height = place->height - 1};
  child.range.lower = place->range.lower;
  for (uint32_t i = 0; i < node->link_count && walk->status == 0 && !walk->image->cancelled; i++) {
    const uint8_t *key = mirage_node_link_key(node, i);
    if (i && memcmp(mirage_node_link_key(node, i - 1), key, key_size(walk)) == 0) continue; /* told already */
    child.block = mirage_node_link_block(node, i);
    child.range.upper = key;
    if (may_enter(walk, place->block, &child, &place->range))
      enter(walk, &child);
    else
      walk->image->unreached = true;
    if (within(walk, key, &place->range)) child.range.lower = key;
  }
}

/* The node is whole and measured: its lists, its children, its records. */
static void go_through(struct walk *walk, const struct place *place, struct level *level) {
  struct mirage_image *image = walk->image;
  struct mirage_node *node = &level->node;
  uint64_t size = ((uint64_t)node->value_count + node->link_count) * sizeof *node->values;
  node->values = mirage_image_allocate(image, size);
  if (!node->values) {
    walk->status = image->error->code;
    return;
  }
  node->links = node->values + node->value_count;
  look_inside(walk, place, level);
  walk->depth++;
  image->summary->report.nodes++;
  image->summary->report.leaves += node->link_count == 0;
  if (place->height) enter_children(walk, place, node);
  if (!image->cancelled) merge(walk, place->range.upper);
  walk->depth--;
  mirage_image_free(image, node->values, size);
}

static void enter(struct walk *walk, const struct place *place) {
  struct mirage_image *image = walk->image;
  struct level *level = &walk->levels[walk->depth];
  size_t size = image->superblock.block_size;
  image->visited[place->block / 8] |= (uint8_t)(1u << place->block % 8);
  image->summary->report.blocks_live++;
  if (mirage_step(image, image->blocks + ++walk->visits)) return;
  uint8_t *block = mirage_image_allocate(image, size);
  if (!block) {
    walk->status = image->error->code;
    return;
  }
  if (!prove(walk, place, block))
    image->unreached = true;
  else
    go_through(walk, place, level);
  mirage_image_free(image, block, size);
}

int mirage_walk(struct mirage_image *image, const struct mirage_root *root, mirage_record *record, void *context) {
  struct walk walk = {.image = image, .record = record, .context = context};
  struct place place = {.block = root->block, .generation_limit = root->generation + 1, .height = root->height};
  image->summary->root_block = root->block;
  image->summary->report.generation = root->generation;
  if (place.height > MIRAGE_HEIGHT_MAX) {
    mirage_found(image, MIRAGE_HEIGHT, root->block, NULL, "%" PRIu32 ", and %d is possible", place.height,
                 MIRAGE_HEIGHT_MAX);
    image->unreached = true;
    return 0;
  }
  image->summary->report.levels = place.height + 1;
  enter(&walk, &place);
  return walk.status;
}
