/* Images of MirageOS Wodan, byte by byte, right or wrong in any way: for tests and fuzz seeds. Written from the description
 * of the format, sharing nothing with what reads it. */
#ifndef SUPPORT_MIRAGE_CRAFT_H
#define SUPPORT_MIRAGE_CRAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CRAFT_BLOCKS_MAX = 64, CRAFT_ROOT = 1, CRAFT_CHILD = 2 };

struct craft {
  uint32_t block_size, key_size, blocks, flags;
  size_t size;    /* of the image */
  uint8_t *bytes; /* all of it; freed by craft_free */
  size_t values_end[CRAFT_BLOCKS_MAX], links_begin[CRAFT_BLOCKS_MAX];
};

/* Zeros and a superblock. */
void craft_begin(struct craft *craft, uint32_t block_size, uint32_t key_size, uint32_t blocks, uint32_t flags);
void craft_free(struct craft *craft);

/* A block's header. height is written into roots only. */
void craft_node(struct craft *craft, uint32_t block, uint8_t type, uint64_t generation, uint32_t height);
/* Keys are strings, filled up with zeros; NULL: all ff. */
void craft_value(struct craft *craft, uint32_t block, const char *key, const void *value, size_t size);
void craft_text(struct craft *craft, uint32_t block, const char *key, const char *value);
void craft_link(struct craft *craft, uint32_t block, const char *key, uint64_t to);

/* Puts the right checksum into a block; block 0: into the superblock. */
void craft_seal(struct craft *craft, uint32_t block);
/* Into the last four of `size` bytes. */
void craft_seal_bytes(uint8_t *bytes, size_t size);

/* Two whole images. The first: a root (block 5) over the leaves low (2) and high (3), with an older root (1), a node that was
 * one (4), and a pre-root (6). The second: the root (5) over 7 and 6; 7 over low (2) and deep (4), 6 over high (3). */
enum { CRAFT_SAMPLE_BLOCK = 512, CRAFT_SAMPLE_KEY = 4, CRAFT_SAMPLE_BLOCKS = 8 };
void craft_two_levels(struct craft *craft, uint32_t flags);
void craft_three_levels(struct craft *craft);

static inline uint8_t *craft_block(struct craft *craft, uint32_t block) {
  return craft->bytes + (size_t)block * craft->block_size;
}

#endif
