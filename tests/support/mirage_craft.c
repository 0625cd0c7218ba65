/* What: images of MirageOS Wodan, made byte by byte.
 *
 * Always true: the checksum is computed bit by bit, not with the tables under test.
 *
 * Order: craft_begin, then craft_node, values and links of a block, then craft_seal.
 *
 * See: tests/unit/test_mirage.c, fuzz/mirage_image.c. */
#include "support/mirage_craft.h"

#include <stdlib.h>
#include <string.h>

#include "base/wire.h"

static uint32_t crc_bitwise(const uint8_t *at, size_t size) {
  uint32_t value = UINT32_MAX;
  for (size_t i = 0; i < size; i++) {
    value ^= at[i];
    for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0);
  }
  return ~value;
}

void craft_seal_bytes(uint8_t *bytes, size_t size) { store_u32(bytes + size - 4, ~crc_bitwise(bytes, size - 4)); }

void craft_seal(struct craft *craft, uint32_t block) {
  craft_seal_bytes(craft_block(craft, block), block ? craft->block_size : 512);
}

void craft_begin(struct craft *craft, uint32_t block_size, uint32_t key_size, uint32_t blocks, uint32_t flags) {
  *craft = (struct craft){.block_size = block_size, .key_size = key_size, .blocks = blocks, .flags = flags};
  craft->size = (size_t)block_size * blocks;
  craft->bytes = calloc(1, craft->size);
  if (!craft->bytes || blocks > CRAFT_BLOCKS_MAX) abort();
  memcpy(craft->bytes, "MIRAGE KVFS \xf0\x9f\x90\xaa", 16);
  store_u32(craft->bytes + 16, 1);
  store_u32(craft->bytes + 24, flags);
  store_u32(craft->bytes + 28, block_size);
  craft->bytes[32] = (uint8_t)key_size;
  store_u64(craft->bytes + 33, 1);
  store_u64(craft->bytes + 41, blocks);
  memcpy(craft->bytes + 49, "sixteen bytes id", 16);
  craft_seal(craft, 0);
}

void craft_free(struct craft *craft) {
  free(craft->bytes);
  craft->bytes = NULL;
}

void craft_node(struct craft *craft, uint32_t block, uint8_t type, uint64_t generation, uint32_t height) {
  uint8_t *at = craft_block(craft, block);
  memset(at, 0, craft->block_size);
  at[0] = type;
  store_u64(at + 1, generation);
  memcpy(at + 9, "sixteen bytes id", 16);
  if (type == CRAFT_ROOT) store_u32(at + 29, height);
  craft->values_end[block] = type == CRAFT_ROOT ? 33 : 29;
  craft->links_begin[block] = craft->block_size - 4;
}

static void put_key(const struct craft *craft, uint8_t *at, const char *key) {
  size_t size = key ? strlen(key) : 0;
  memset(at, key ? 0 : 0xff, craft->key_size);
  if (size) memcpy(at, key, size < craft->key_size ? size : craft->key_size);
}

void craft_value(struct craft *craft, uint32_t block, const char *key, const void *value, size_t size) {
  uint8_t *at = craft_block(craft, block) + craft->values_end[block];
  uint8_t *count = craft_block(craft, block) + 25;
  craft->values_end[block] += craft->key_size + 2 + size;
  if (craft->values_end[block] > craft->links_begin[block]) abort();
  put_key(craft, at, key);
  store_u16(at + craft->key_size, (uint16_t)size);
  if (size) memcpy(at + craft->key_size + 2, value, size);
  store_u32(count, load_u32(count) + 1);
}

void craft_link(struct craft *craft, uint32_t block, const char *key, uint64_t to) {
  craft->links_begin[block] -= craft->key_size + 8;
  if (craft->values_end[block] > craft->links_begin[block]) abort();
  uint8_t *at = craft_block(craft, block) + craft->links_begin[block];
  put_key(craft, at, key);
  store_u64(at + craft->key_size, to);
}

void craft_text(struct craft *craft, uint32_t block, const char *key, const char *value) {
  craft_value(craft, block, key, value, strlen(value));
}

/* ---- samples ----------------------------------------------------------------------------------------------------- */

enum { OLD_ROOT = 1, LOW, HIGH, DEEP, ROOT };

void craft_two_levels(struct craft *craft, uint32_t flags) {
  craft_begin(craft, CRAFT_SAMPLE_BLOCK, CRAFT_SAMPLE_KEY, CRAFT_SAMPLE_BLOCKS, flags);
  craft_node(craft, OLD_ROOT, CRAFT_ROOT, 1, 0);
  craft_text(craft, OLD_ROOT, "old", "root");
  craft_node(craft, LOW, CRAFT_CHILD, 3, 0);
  craft_text(craft, LOW, "a", "low");
  craft_text(craft, LOW, "c", "shadowed");
  craft_text(craft, LOW, "e", "deleted");
  craft_text(craft, LOW, "m", "last");
  craft_node(craft, DEEP, CRAFT_CHILD, 2, 0);
  craft_text(craft, DEEP, "n", "shadowed");
  craft_text(craft, DEEP, "p", "deep");
  craft_text(craft, DEEP, "q", "shadowed twice");
  craft_node(craft, HIGH, CRAFT_CHILD, 4, 0);
  craft_text(craft, HIGH, "q", "shadowed");
  craft_text(craft, HIGH, "x", "high");
  craft_node(craft, ROOT, CRAFT_ROOT, 6, 1);
  craft_text(craft, ROOT, "b", "root");
  craft_text(craft, ROOT, "c", "new");
  craft_text(craft, ROOT, "e", "");
  craft_text(craft, ROOT, "q", "newest");
  craft_link(craft, ROOT, "m", LOW);
  craft_link(craft, ROOT, NULL, HIGH);
  craft_node(craft, 6, CRAFT_ROOT, 0, 0);
  for (uint32_t block = 1; block <= 6; block++) craft_seal(craft, block);
}

void craft_three_levels(struct craft *craft) {
  craft_two_levels(craft, 7);
  craft_node(craft, 7, CRAFT_CHILD, 4, 0);
  craft_text(craft, 7, "a", "middle");
  craft_text(craft, 7, "o", "middle");
  craft_link(craft, 7, "m", LOW);
  craft_link(craft, 7, "q", DEEP);
  craft_node(craft, 6, CRAFT_CHILD, 5, 0);
  craft_link(craft, 6, NULL, HIGH);
  craft_node(craft, HIGH, CRAFT_CHILD, 4, 0);
  craft_text(craft, HIGH, "x", "high");
  craft_node(craft, ROOT, CRAFT_ROOT, 6, 2);
  craft_text(craft, ROOT, "c", "new");
  craft_text(craft, ROOT, "o", "newest");
  craft_link(craft, ROOT, "q", 7);
  craft_link(craft, ROOT, NULL, 6);
  for (uint32_t block = 1; block <= 7; block++) craft_seal(craft, block);
}
