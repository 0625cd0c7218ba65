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
