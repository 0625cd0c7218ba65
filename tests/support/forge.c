/* Owns: what is in the forged volume, its superblocks and its ring. See forge.h, FORMAT.md.
 *
 * Always true: with the honest lie the product takes the volume for whole and reads from it what the operations say; the same
 * calls come in the same order whatever is told, so that a site's number means the same field each time.
 *
 * Order: objects before the ring, whose checkpoint records point to them; the ring by rising sequence, because each block
 * repeats the checksum of the one before. */
#include "support/forge.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "codec/checksum.h"
#include "support/forge_private.h"

/* ---- numbers -------------------------------------------------------------------------------------------------------- */

uint64_t forge_tell(struct forge *f, const char *field, unsigned width, uint64_t value) {
  if (f->mute) return value;
  if (f->map) {
    assert(f->site < FORGE_SITES_MAX);
    f->map->sites[f->site] = (struct forge_site){f->structure, field, (uint8_t)width, f->repeated, value};
    f->map->site_count = f->site + 1;
  }
  return f->site++ == f->lie->site ? f->lie->value : value;
}

uint64_t forge_put(struct forge *f, struct wire_writer *w, const char *field, unsigned width, uint64_t value) {
  value = forge_tell(f, field, width, value);
  if (width == 0) {
    wire_put_varint(w, value);
    return value;
  }
  uint8_t *at = wire_put_room(w, width);
  for (unsigned i = 0; at && i < width; i++) at[i] = (uint8_t)(value >> 8 * i);
  return value;
}

void forge_put_fsid(struct forge *f, struct wire_writer *w) {
  forge_put(f, w, "fsid, first half", 8, load_u64(f->superblock.fsid));
  forge_put(f, w, "fsid, second half", 8, load_u64(f->superblock.fsid + 8));
}

void forge_put_pointer(struct forge *f, struct wire_writer *w, int kind, const struct block_ptr *ptr) {
  if (f->map) f->map->pointers[f->map->pointer_count++] = (struct forge_pointer){f->structure, *ptr, kind};
  if (f->pointer++ == f->lie->pointer) ptr = &f->lie->target;
  forge_put(f, w, "pointer: generation", 0, ptr->generation);
  if (ptr->generation == 0) return;
  forge_put(f, w, "pointer: checksum", 8, ptr->checksum);
  forge_put(f, w, "pointer: length", 0, ptr->length);
  forge_put(f, w, "pointer: header length", 0, ptr->header_length);
  forge_put(f, w, "pointer: extent count", 0, ptr->extent_count);
  for (uint32_t i = 0; i < EXTENT_MAX && i < (ptr->extents[1].count ? 2u : 1u); i++) {
    forge_put(f, w, "pointer: extent first", 0, ptr->extents[i].first);
    forge_put(f, w, "pointer: extent blocks", 0, ptr->extents[i].count);
  }
}

/* ---- content -------------------------------------------------------------------------------------------------------- */

/* Operation n puts, or deletes, this key, or all from one up to another; three of the big ones do not fit one journal block. */
#define PUT(key)                                                                                                       \
  { key, FORGE_PUTS, 20, 0 }
#define BIG(key)                                                                                                       \
  { key, FORGE_PUTS, FORGE_INLINE_MAX, 0 }
#define LARGE(key, size)                                                                                               \
  { key, FORGE_PUTS_LARGE, size, 0 }
#define DELETE(key)                                                                                                    \
  { key, FORGE_DELETES, 0, 0 }
#define RANGE(key, end)                                                                                                \
  { key, FORGE_DELETES_RANGE, 0, end }
static const struct forge_operation OPERATIONS[FORGE_OPERATIONS + 1] = {
    {0},
    /* 1..24: the leaves */
    PUT(0),
    PUT(1),
    PUT(2),
    PUT(3),
    PUT(4),
    PUT(5),
    PUT(6),
    PUT(7),
    PUT(8),
    PUT(9),
    PUT(10),
    PUT(11),
    PUT(12),
    PUT(13),
    PUT(14),
    PUT(15),
    PUT(16),
    PUT(17),
    PUT(18),
    PUT(19),
    PUT(20),
    LARGE(21, 300),
    PUT(22),
    PUT(23),
    /* 25..30: buffered on the left; 31..34: on the right */
    PUT(1),
    DELETE(3),
    PUT(5),
    PUT(7),
    PUT(9),
    PUT(10),
    LARGE(13, FORGE_INLINE_MAX + 1),
    PUT(15),
    DELETE(17),
    PUT(19),
    /* 35..40: buffered above both; 41, 42: with the newest root */
    RANGE(5, 7),
    PUT(6),
    DELETE(12),
    PUT(18),
    PUT(20),
    LARGE(24, FORGE_VALUE_MAX),
    RANGE(2, 4),
    RANGE(14, 16),
    /* 43..49: in the journal only */
    RANGE(16, 18),
    LARGE(25, 500),
    BIG(4),
    DELETE(8),
    BIG(22),
    BIG(11),
    PUT(1)};

const struct forge_operation *forge_operation(uint32_t number) {
  assert(number >= 1 && number <= FORGE_OPERATIONS);
  return &OPERATIONS[number];
}

size_t forge_key(unsigned key, uint8_t out[8]) {
  char text[8];
  int size = snprintf(text, sizeof text, "k%02u", key % 100);
  memcpy(out, text, (size_t)size);
  return (size_t)size;
}

size_t forge_tree_key(unsigned key, uint8_t out[9]) {
  out[0] = 1;
  return 1 + forge_key(key, out + 1);
}

void forge_value(uint32_t number, uint8_t out[FORGE_VALUE_MAX]) {
  for (uint32_t i = 0; i < FORGE_VALUE_MAX; i++) out[i] = (uint8_t)('a' + (number + i) % 26);
  out[0] = (uint8_t)number;
}

/* ---- superblocks ---------------------------------------------------------------------------------------------------- */

static void put_superblock(struct forge *f, const char *name, uint8_t out[SUPERBLOCK_SIZE]) {
  const struct superblock *sb = &f->superblock;
  struct wire_writer w = wire_writer(out, SUPERBLOCK_SIZE);
  f->structure = name;
  memset(out, 0, SUPERBLOCK_SIZE);
  forge_put(f, &w, "magic, first half", 8, load_u64((const uint8_t *)"Wodan-C volume\n"));
  forge_put(f, &w, "magic, second half", 8, load_u64((const uint8_t *)"Wodan-C volume\n" + 8));
  forge_put(f, &w, "version", 4, 0);
  forge_put(f, &w, "block size", 4, sb->block_size);
  forge_put(f, &w, "compat flags", 8, 0);
  forge_put(f, &w, "read-only flags", 8, 0);
  forge_put(f, &w, "incompat flags", 8, FEATURE_BLOBS | FEATURE_RANGES);
  forge_put_fsid(f, &w);
  forge_put(f, &w, "sector", 4, sb->sector);
  forge_put(f, &w, "journal block size", 4, sb->journal_block_size);
  forge_put(f, &w, "device blocks", 8, sb->device_blocks);
  forge_put(f, &w, "journal blocks", 8, sb->journal_blocks);
  forge_put(f, &w, "memtable size", 8, sb->memtable_size);
  forge_put(f, &w, "page size", 4, sb->page_size);
  forge_put(f, &w, "leaf size", 4, sb->leaf_size);
  forge_put(f, &w, "step size", 4, sb->step_size);
  forge_put(f, &w, "node leaves", 4, sb->node_leaves);
  forge_put(f, &w, "node children", 4, sb->node_children);
  forge_put(f, &w, "compression", 4, sb->compression);
  forge_put(f, &w, "reserved, first", 8, 0);
  w.at = SUPERBLOCK_SIZE - 16;
  forge_put(f, &w, "reserved, last", 8, 0);
  forge_put(f, &w, "checksum", 8, checksum(0, out, SUPERBLOCK_SIZE - 8));
}

/* A lie about the superblock is told in the copy alone, in the first alone, or in both. */
static void put_superblocks(struct forge *f) {
  uint8_t *first = f->image, *copy = f->image + FORGE_SIZE - SUPERBLOCK_SIZE;
  put_superblock(f, "superblock's copy", copy);
  put_superblock(f, "first superblock", first);
  uint8_t both[SUPERBLOCK_SIZE];
  uint32_t from = f->site;
  put_superblock(f, "both superblocks", both);
  if (f->lie->site < from || f->lie->site >= f->site) return;
  memcpy(first, both, sizeof both);
  memcpy(copy, both, sizeof both);
}

/* ---- ring ----------------------------------------------------------------------------------------------------------- */

enum { KIND_EMPTY, KIND_RECORD, KIND_CHECKPOINT, KIND_SEAL, FLAG_UNPROVEN = 1, PAYLOAD_MAX = FORGE_BLOCK - 104 };

struct ring {
  struct forge *f;
  uint64_t next, last_hash, flushed;
  uint64_t checkpoint, checkpoint_hash; /* last durable one */
};

struct fragment {
  uint8_t kind;
  uint32_t number, count;
  const uint8_t *payload;
  size_t size;
  uint8_t flags;
};

static void put_block(struct ring *ring, const char *name, const struct fragment *fragment) {
  struct forge *f = ring->f;
  uint64_t sequence = ring->next++;
  uint8_t *out = f->image + (1 + sequence % FORGE_RING) * FORGE_BLOCK;
  struct wire_writer w = wire_writer(out, FORGE_BLOCK);
  f->structure = name;
  memset(out, 0, FORGE_BLOCK);
  wire_put_u64(&w, 0);
  forge_put(f, &w, "magic", 4, 0x4c4e4a57);
  forge_put(f, &w, "kind", 1, fragment->kind);
  forge_put(f, &w, "flags", 1, fragment->flags);
  forge_put(f, &w, "zeros", 2, 0);
  forge_put_fsid(f, &w);
  forge_put(f, &w, "epoch", 8, 1);
  forge_put(f, &w, "epoch random", 8, 77);
  forge_put(f, &w, "sequence", 8, sequence);
  forge_put(f, &w, "previous", 8, ring->last_hash);
  forge_put(f, &w, "flushed through", 8, ring->flushed);
  bool first = ring->checkpoint == sequence;
  forge_put(f, &w, "checkpoint", 8, ring->checkpoint);
  forge_put(f, &w, "checkpoint hash", 8, first ? 0 : ring->checkpoint_hash);
  forge_put(f, &w, "fragment", 4, fragment->number);
  forge_put(f, &w, "fragments", 4, fragment->count);
  forge_put(f, &w, "payload length", 4, fragment->size);
  forge_put(f, &w, "zero behind the length", 4, 0);
  wire_put_bytes(&w, fragment->payload, fragment->size);
  if (w.at + 8 <= FORGE_BLOCK) forge_put(f, &w, "rest of the block", 8, 0);
  assert(!w.failed);
  ring->last_hash = forge_tell(f, "checksum", 8, checksum(f->seed, out + 8, FORGE_BLOCK - 8));
  store_u64(out, ring->last_hash);
}

static void put_checkpoint(struct ring *ring, const char *name, uint64_t sequence, uint64_t tail,
                           const struct block_ptr *root) {
  struct forge *f = ring->f;
  uint8_t payload[PAYLOAD_MAX];
  struct wire_writer w = wire_writer(payload, sizeof payload);
  bool first = ring->checkpoint == ring->next;
  f->structure = name;
  forge_put(f, &w, "generation", 8, ++f->generation);
  forge_put(f, &w, "operation sequence", 8, sequence);
  forge_put(f, &w, "tail", 8, tail);
  forge_put(f, &w, "previous checkpoint", 8, ring->checkpoint);
  forge_put(f, &w, "previous checkpoint's hash", 8, first ? 0 : ring->checkpoint_hash);
  forge_put(f, &w, "device blocks now", 8, f->superblock.device_blocks);
  forge_put(f, &w, "compat flags in use", 8, 0);
  forge_put(f, &w, "read-only flags in use", 8, 0);
  forge_put(f, &w, "incompat flags in use", 8, root->generation ? FEATURE_BLOBS : 0);
  forge_put_pointer(f, &w, FORGE_ANY_NODE, root);
  forge_put_pointer(f, &w, FORGE_NOTHING, &(struct block_ptr){0});
  uint64_t own = ring->next;
  put_block(ring, name, &(struct fragment){KIND_CHECKPOINT, 0, 1, payload, w.at, 0});
  ring->flushed = ring->checkpoint = own;
  ring->checkpoint_hash = ring->last_hash;
}

static void put_operation(struct forge *f, struct wire_writer *w, uint32_t number) {
  const struct forge_operation *operation = forge_operation(number);
  uint8_t key[9], value[FORGE_VALUE_MAX];
  size_t size = forge_tree_key(operation->key, key), value_size = operation->value_size;
  struct wire_writer v = wire_writer(value, sizeof value);
  forge_put(f, w, "operation: kind", 1, operation->kind);
  forge_put(f, w, "operation: key length", 0, size);
  forge_put(f, w, "operation: table id", 1, key[0]);
  wire_put_bytes(w, key + 1, size - 1);
  if (operation->kind == FORGE_PUTS_LARGE) {
    forge_put_reference(f, &v, number);
    value_size = v.at;
  } else if (operation->kind == FORGE_DELETES_RANGE) {
    value_size = forge_tree_key(operation->end, value);
    value[0] = (uint8_t)forge_tell(f, "operation: table id of the range's end", 1, value[0]);
  } else {
    forge_value(number, value);
  }
  forge_put(f, w, "operation: value length", 0, value_size);
  wire_put_bytes(w, value, value_size);
}

static void put_operations(struct ring *ring, const char *name, uint32_t first, uint32_t last) {
  struct forge *f = ring->f;
  uint8_t payload[3 * PAYLOAD_MAX];
  struct wire_writer w = wire_writer(payload, sizeof payload);
  f->structure = name;
  forge_put(f, &w, "first operation", 8, first);
  forge_put(f, &w, "last operation", 8, last);
  uint8_t flags = 0; /* what it names was written without a barrier */
  for (uint32_t n = first; n <= last; n++) {
    if (forge_operation(n)->kind == FORGE_PUTS_LARGE) flags = FLAG_UNPROVEN;
    put_operation(f, &w, n);
  }
  uint32_t count = (uint32_t)((w.at + PAYLOAD_MAX - 1) / PAYLOAD_MAX);
  for (uint32_t i = 0; i < count; i++) {
    size_t size = i + 1 < count ? PAYLOAD_MAX : w.at - i * (size_t)PAYLOAD_MAX;
    put_block(ring, name, &(struct fragment){KIND_RECORD, i, count, payload + i * (size_t)PAYLOAD_MAX, size, flags});
  }
  ring->flushed = ring->next - 1;
}

/* ---- the volume ----------------------------------------------------------------------------------------------------- */

struct roots {
  struct block_ptr a, b;
  uint64_t a_generation;
};

/* The older root's tree; what the newest one has of it as well. */
struct shared {
  struct forge_written leaf2, left, right_node, above;
};

static struct forge_written put_older_tree(struct forge *f, struct shared *shared) {
  forge_blob(f, "large value of leaf 4", 22);
  struct forge_run leaf1 = {.name = "leaf 1 (older root)", .operations = {{1, 2, 3}, {4, 5, 6}}},
                   leaf2 = {.name = "leaf 2", .operations = {{7, 8, 9}, {10, 11, 12}}, .in_two_extents = true},
                   leaf3 = {.name = "leaf 3 (of no root)", .operations = {{13, 14, 15}, {16, 17, 18}}},
                   leaf4 = {.name = "leaf 4", .operations = {{19, 20, 21}, {22, 23, 24}}};
  struct forge_written one = forge_run(f, &leaf1);
  shared->leaf2 = forge_run(f, &leaf2);
  forge_run(f, &leaf3);
  struct forge_written four = forge_run(f, &leaf4);
  shared->left = forge_run(
      f, &(struct forge_run){.name = "run on the left", .operations = {{25, 26, 27}, {28, 29, 30}}, .filter = true});
  forge_blob(f, "large value of the run on the right and of leaf 3", 31);
  struct forge_written right =
      forge_run(f, &(struct forge_run){.name = "run on the right", .operations = {{31, 32}, {33, 34}}});
  /* leaf 3 has absorbed the run on the right, leaf 4 has not */
  struct forge_run absorbed = {.name = "leaf 3", .operations = {{13, 31, 15}, {32, 17}}};
  struct forge_written three = forge_run(f, &absorbed);
  forge_blob(f, "large value of the run above", 40);
  shared->above = forge_run(
      f,
      &(struct forge_run){.name = "run above", .operations = {{36, 37, 38}, {39, 40}}, .ranges = {35}, .filter = true});
  struct forge_written left_node = forge_node(f, &(struct forge_node){.name = "left node (older root)",
                                                                      .entries = {{0, 0, one}, {6, 0, shared->leaf2}},
                                                                      .runs = {shared->left},
                                                                      .run_count = 1});
  shared->right_node = forge_node(f, &(struct forge_node){.name = "right node",
                                                          .entries = {{12, right.ptr.generation, three}, {18, 0, four}},
                                                          .runs = {right},
                                                          .run_count = 1});
  return forge_node(f, &(struct forge_node){.name = "root node (older root)",
                                            .level = 1,
                                            .entries = {{0, 0, left_node}, {12, 0, shared->right_node}},
                                            .runs = {shared->above},
                                            .run_count = 1});
}

static struct forge_written put_newest_tree(struct forge *f, const struct shared *shared) {
  struct forge_run absorbed = {.name = "leaf 1", .operations = {{1, 25, 3}, {5, 27}}};
  struct forge_written one = forge_run(f, &absorbed);
  struct forge_written newest = forge_run(f, &(struct forge_run){.name = "newest run", .ranges = {41, 42}});
  struct forge_written left_node =
      forge_node(f, &(struct forge_node){.name = "left node",
                                         .entries = {{0, shared->left.ptr.generation, one}, {6, 0, shared->leaf2}},
                                         .runs = {shared->left},
                                         .run_count = 1});
  return forge_node(f, &(struct forge_node){.name = "root node",
                                            .level = 1,
                                            .entries = {{0, 0, left_node}, {12, 0, shared->right_node}},
                                            .runs = {newest, shared->above},
                                            .run_count = 2});
}

static struct roots put_trees(struct forge *f) {
  struct roots roots;
  struct shared shared;
  roots.a = put_older_tree(f, &shared).ptr;
  roots.a_generation = ++f->generation;
  forge_blob(f, "large value of the journal", 44);
  roots.b = put_newest_tree(f, &shared).ptr;
  return roots;
}

static void put_ring(struct forge *f, const struct roots *roots) {
  struct ring ring = {.f = f};
  const struct block_ptr none = {0};
  const struct fragment empty = {KIND_EMPTY, 0, 1, NULL, 0, 0};
  uint64_t newest = f->generation;
  for (uint32_t q = 0; q < FORGE_RING; q++) {
    f->mute = q < 9; /* the next lap goes over these */
    put_block(&ring, "empty block", &empty);
  }
  ring.checkpoint = ring.next;
  f->generation = 0;
  put_checkpoint(&ring, "first checkpoint", 0, ring.next, &none);
  put_operations(&ring, "oldest record", 1, 3);
  f->generation = roots->a_generation - 1;
  put_checkpoint(&ring, "older checkpoint", FORGE_TREE_A, ring.next, &roots->a);
  uint64_t tail = ring.next;
  put_operations(&ring, "record before the checkpoint", 41, 44);
  f->generation = newest;
  put_checkpoint(&ring, "checkpoint", FORGE_TREE_B, tail, &roots->b);
  put_operations(&ring, "record of two fragments", 45, 48);
  put_operations(&ring, "newest record", 49, 49);
  put_block(&ring, "seal", &(struct fragment){KIND_SEAL, 0, 1, NULL, 0, 0});
  assert(ring.next == FORGE_RING + 9);
}

void forge_volume(const struct forge_lie *lie, uint8_t image[FORGE_SIZE], struct forge_map *map) {
  struct forge f = {.lie = lie, .image = image, .map = map};
  const struct superblock_wish wish = {
      .device_size = FORGE_SIZE, .sector = FORGE_BLOCK, .journal_size = FORGE_RING * FORGE_BLOCK};
  int status = superblock_plan(&wish, &f.superblock, NULL);
  assert(status == 0 && f.superblock.block_size == FORGE_BLOCK && f.superblock.journal_blocks == FORGE_RING);
  (void)status;
  memcpy(f.superblock.fsid, "forged by a test", 16);
  f.superblock.fsid[0] = (uint8_t)(f.superblock.fsid[0] ^ lie->fsid);
  f.seed = checksum_seed(f.superblock.fsid);
  f.next_block = superblock_data_first(&f.superblock);
  f.generation = 1;
  memset(image, 0, FORGE_SIZE);
  if (map) map->site_count = map->object_count = map->pointer_count = 0;
  put_superblocks(&f);
  const struct roots roots = put_trees(&f);
  put_ring(&f, &roots);
}
