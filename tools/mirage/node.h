/* A node of a MirageOS Wodan image: one block, little-endian.
 *
 *   OFFSET SIZE
 *        0    1  type: 1 root, 2 child
 *        1    8  generation; a root of generation 0 is no root but a mark for the search (a pre-root)
 *        9   16  fsid
 *       25    4  number of values
 *       29    4  height above the leaves, in a root only
 *                values, upwards: key, length u16, bytes
 *                ...
 *                child links, downwards from the checksum: key, block u64. The key is the last of the child's range. The
 *                links end at one whose block is 0, or where the values are
 *     last 4     such that the CRC-32C of the block is ffffffff
 */
#ifndef MIRAGE_NODE_H
#define MIRAGE_NODE_H

#include "superblock.h"

enum { NODE_ROOT = 1, NODE_CHILD = 2, NODE_HEADER_SIZE = 29 };

struct mirage_node_header {
  uint32_t type;
  uint64_t generation;
  const uint8_t *fsid; /* FSID_SIZE bytes in place */
  uint32_t value_count;
};

/* Of the first NODE_HEADER_SIZE bytes; nothing is proven. */
struct mirage_node_header mirage_node_header_decode(const uint8_t bytes[NODE_HEADER_SIZE]);

/* What is in a block whose checksum, type and fsid are proven. values and links are offsets of keys in the block, in key
 * order after mirage_node_index. */
struct mirage_node {
  const struct mirage_superblock *superblock;
  const uint8_t *block;
  struct mirage_node_header header;
  uint32_t height; /* of a root */
  uint32_t value_count, link_count;
  uint32_t values_end;  /* offset */
  uint32_t links_begin; /* offset of the last link, or of the checksum */
  uint32_t *values, *links;
};

/* Reads header and extent of both lists. false: the values run beyond the block; only header and
 * height are known then. */
bool mirage_node_measure(struct mirage_node *node, const struct mirage_superblock *superblock, const uint8_t *block);

/* Fills values (value_count places) and links (link_count) and puts each in key order. The result tells which was not. */
struct mirage_node_disorder {
  bool values, links;             /* were not in order */
  bool values_twice, links_twice; /* a key is there twice */
} mirage_node_index(struct mirage_node *node);

/* Number of bytes in the room between values and links that are not zero. */
uint32_t mirage_node_gap_bytes(const struct mirage_node *node);

static inline const uint8_t *mirage_node_value_key(const struct mirage_node *node, uint32_t number) {
  return node->block + node->values[number];
}
static inline const uint8_t *mirage_node_link_key(const struct mirage_node *node, uint32_t number) {
  return node->block + node->links[number];
}
uint32_t mirage_node_value_size(const struct mirage_node *node, uint32_t number);
const uint8_t *mirage_node_value(const struct mirage_node *node, uint32_t number);
uint64_t mirage_node_link_block(const struct mirage_node *node, uint32_t number);

#endif
