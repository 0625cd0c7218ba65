/* What: reading a node.
 *
 * Always true: after mirage_node_measure every offset that mirage_node_index fills in has its key, length, value or block inside the
 * block; sorting uses no memory and no more than n log n steps, whatever the keys.
 *
 * Order: mirage_node_measure, then room for the offsets, then mirage_node_index, then the rest.
 *
 * See: node.h; tests/unit/test_mirage.c. */
#include "node.h"

#include <string.h>

#include "base/wire.h"

enum { LENGTH_SIZE = 2, ADDRESS_SIZE = 8, CHECKSUM_SIZE = 4, HEIGHT_SIZE = 4 };

struct mirage_node_header mirage_node_header_decode(const uint8_t bytes[NODE_HEADER_SIZE]) {
  struct wire_reader reader = wire_reader(bytes, NODE_HEADER_SIZE);
  struct mirage_node_header header;
  header.type = wire_get_u8(&reader);
  header.generation = wire_get_u64(&reader);
  header.fsid = wire_get_bytes(&reader, FSID_SIZE);
  header.value_count = wire_get_u32(&reader);
  return header;
}

static uint32_t block_end(const struct mirage_node *node) { return node->superblock->block_size - CHECKSUM_SIZE; }

static uint32_t link_size(const struct mirage_node *node) { return node->superblock->key_size + ADDRESS_SIZE; }

/* Links from the end of the block down, until one leads to block 0 or the values are in the way. */
static void measure_links(struct mirage_node *node) {
  uint32_t size = link_size(node), at = block_end(node);
  node->link_count = 0;
  while (at - node->values_end >= size && load_u64(node->block + at - ADDRESS_SIZE) != 0) {
    at -= size;
    node->link_count++;
  }
  node->links_begin = at;
}

bool mirage_node_measure(struct mirage_node *node, const struct mirage_superblock *superblock, const uint8_t *block) {
  *node = (struct mirage_node){.superblock = superblock, .block = block, .header = mirage_node_header_decode(block)};
  struct wire_reader reader = wire_reader(block, block_end(node));
  wire_get_bytes(&reader, NODE_HEADER_SIZE);
  if (node->header.type == NODE_ROOT) node->height = wire_get_u32(&reader);
  for (uint32_t i = 0; i < node->header.value_count && !reader.failed; i++) {
    wire_get_bytes(&reader, superblock->key_size);
    uint16_t length = wire_get_u16(&reader);
    wire_get_bytes(&reader, length);
  }
  if (reader.failed) return false;
  node->value_count = node->header.value_count;
  node->values_end = (uint32_t)reader.at;
  measure_links(node);
  return true;
}

static int compare(const struct mirage_node *node, uint32_t a, uint32_t b) {
  return memcmp(node->block + a, node->block + b, node->superblock->key_size);
}

static void sift(const struct mirage_node *node, uint32_t *at, uint32_t top, uint32_t count) {
  for (uint32_t child; (child = 2 * top + 1) < count; top = child) {
    if (child + 1 < count && compare(node, at[child], at[child + 1]) < 0) child++;
    if (compare(node, at[top], at[child]) >= 0) return;
    uint32_t swap = at[top];
    at[top] = at[child];
    at[child] = swap;
  }
}

/* Puts offsets in key order (heap sort) where they are not; tells whether they were, and whether two keys are the same. */
static void put_in_order(const struct mirage_node *node, uint32_t *at, uint32_t count, bool *disorder, bool *twice) {
  *disorder = *twice = false;
  for (uint32_t i = 1; i < count && !*disorder; i++) *disorder = compare(node, at[i - 1], at[i]) > 0;
  if (*disorder) {
    for (uint32_t i = count / 2; i-- > 0;) sift(node, at, i, count);
    for (uint32_t end = count; end-- > 1;) {
      uint32_t swap = at[0];
      at[0] = at[end];
      at[end] = swap;
      sift(node, at, 0, end);
    }
  }
  for (uint32_t i = 1; i < count && !*twice; i++) *twice = compare(node, at[i - 1], at[i]) == 0;
}

struct mirage_node_disorder mirage_node_index(struct mirage_node *node) {
  struct mirage_node_disorder found;
  uint32_t at = NODE_HEADER_SIZE + (node->header.type == NODE_ROOT ? HEIGHT_SIZE : 0);
  for (uint32_t i = 0; i < node->value_count; i++) {
    node->values[i] = at;
    at += node->superblock->key_size + LENGTH_SIZE + mirage_node_value_size(node, i);
  }
  for (uint32_t i = 0; i < node->link_count; i++) node->links[i] = block_end(node) - (i + 1) * link_size(node);
  put_in_order(node, node->values, node->value_count, &found.values, &found.values_twice);
  put_in_order(node, node->links, node->link_count, &found.links, &found.links_twice);
  return found;
}

uint32_t mirage_node_gap_bytes(const struct mirage_node *node) {
  uint32_t count = 0;
  for (uint32_t at = node->values_end; at < node->links_begin; at++) count += node->block[at] != 0;
  return count;
}

uint32_t mirage_node_value_size(const struct mirage_node *node, uint32_t number) {
  return load_u16(mirage_node_value_key(node, number) + node->superblock->key_size);
}

const uint8_t *mirage_node_value(const struct mirage_node *node, uint32_t number) {
  return mirage_node_value_key(node, number) + node->superblock->key_size + LENGTH_SIZE;
}

uint64_t mirage_node_link_block(const struct mirage_node *node, uint32_t number) {
  return load_u64(mirage_node_link_key(node, number) + node->superblock->key_size);
}
