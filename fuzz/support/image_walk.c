/* What: the walk over an image that takes every checksum for right, and can make it so.
 *
 * Always true: nothing outside the image is touched, whatever is in it; the work is bounded by `visits` objects and by the
 * depth of a tree.
 *
 * Order: trees first, from the pages up, because a header's checksum covers those of its sections, and a pointer repeats
 * it; then the ring by rising sequence, because each block repeats the checksum of the one before.
 *
 * See: FORMAT.md, image.h. */
#include "support/image.h"

#include <stdlib.h>
#include <string.h>
#include "format/checkpoint_record.h"
#include "format/journal_block.h"
#include "format/node_header.h"
#include "format/object_header.h"
#include "format/page.h"
#include "format/record.h"

enum { VISITS_MAX = 300, RING_MAX = 4096, ROOT_AT = 72, SUPERBLOCK_SUM_AT = SUPERBLOCK_SIZE - 8 };

static void note(struct image *image, size_t offset, uint64_t size) {
  if (image->place_count == IMAGE_PLACES_MAX || offset >= image->size || size == 0) return;
  if (size > image->size - offset) size = image->size - offset;
  image->places[image->place_count++] = (struct image_place){offset, (size_t)size};
}

/* ---- objects ----------------------------------------------------------------------------------------------------- */

/* An object's bytes, joined from its extents. */
struct object {
  struct image *image;
  struct block_ptr ptr;
  uint8_t *bytes;
  size_t size; /* whole blocks */
  unsigned depth;
  uint64_t chunks; /* of a large value: where they start */
};

static void object_copy(struct object *object, bool back) {
  size_t at = 0, block = object->image->bounds.block_size;
  for (uint32_t i = 0; i < object->ptr.extent_count; i++) {
    uint8_t *there = object->image->bytes + object->ptr.extents[i].first * block;
    size_t size = (size_t)object->ptr.extents[i].count * block;
    memcpy(back ? there : object->bytes + at, back ? object->bytes + at : there, size);
    at += size;
  }
}

/* Notes the part of [offset, offset + size) of the object that lies in one extent with its start. */
static void object_note(struct object *object, uint64_t offset, uint64_t size) {
  size_t block = object->image->bounds.block_size;
  for (uint32_t i = 0; i < object->ptr.extent_count; i++) {
    uint64_t length = object->ptr.extents[i].count * block;
    if (offset < length) {
      if (size > length - offset) size = length - offset;
      note(object->image, (size_t)(object->ptr.extents[i].first * block + offset), size);
      return;
    }
    offset -= length;
  }
}

/* Each record of a valid page: the place of its value. */
static bool value_of(uint8_t *page_bytes, size_t size, uint32_t index, struct wire_reader *value) {
  if (!page_validate(page_bytes, size)) return false;
  struct page page = page_view(page_bytes);
  if (index >= page.count) return false;
  struct wodan_slice found = page_record(&page, index).value;
  size_t at = found.size ? (size_t)((const uint8_t *)found.data - page_bytes) : 0;
  *value = wire_reader(page_bytes + at, found.size);
  return true;
}

/* What large values the records of a page name; one that is compressed is left. */
static void page_walk(struct object *object, uint8_t *bytes, size_t size) {
  if (!page_validate(bytes, size)) return;
  struct page page = page_view(bytes);
  for (uint32_t i = 0; i < page.count; i++) {
    struct page_record record = page_record(&page, i);
    if (record.kind != RECORD_BLOB) continue;
    struct wire_reader value = wire_reader(record.value.data, record.value.size);
    wire_get_varint(&value);
    image_walk_pointer(object->image, &value, object->depth + 1);
  }
}

static void index_walk(struct object *object, uint8_t *section, size_t size) {
  struct wire_reader value;
  for (uint32_t i = 0; value_of(section, size, i, &value); i++) {
    uint64_t offset = wire_get_varint(&value), length = wire_get_varint(&value);
    wire_get_varint(&value);
    if (value.failed || value.size - value.at != 8 || offset > object->size || length > object->size - offset) continue;
    object_note(object, offset, length);
    page_walk(object, object->bytes + offset, (size_t)length);
    if (object->image->repairs)
      store_u64((uint8_t *)value.data + value.at,
                checksum(object->image->seed, object->bytes + offset, (size_t)length));
  }
}

static void table_walk(struct object *object, uint8_t *section, size_t size) {
  struct wire_reader value;
  for (uint32_t i = 0; value_of(section, size, i, &value); i++) {
    wire_get_varint(&value);
    wire_get_varint(&value);
    image_walk_pointer(object->image, &value, object->depth + 1);
  }
}

static void runs_walk(struct object *object, uint8_t *section, size_t size) {
  struct wire_reader r = wire_reader(section, size);
  uint64_t count = wire_get_varint(&r);
  for (uint64_t i = 0; i < count && !r.failed; i++) {
    image_walk_pointer(object->image, &r, object->depth + 1);
    for (int n = 0; n < 4; n++) wire_get_varint(&r); /* records, deletes, large values, range deletes */
  }
}

/* Pointers of large values, in a run's list. */
static void list_walk(struct object *object, uint8_t *section, size_t size) {
  struct wire_reader r = wire_reader(section, size);
  uint64_t count = wire_get_varint(&r);
  for (uint64_t i = 0; i < count && !r.failed; i++) image_walk_pointer(object->image, &r, object->depth + 1);
}

/* Each chunk, and its checksum in the table. */
static void chunks_walk(struct object *object, uint8_t *section, size_t size) {
  struct wire_reader r = wire_reader(section, size);
  for (uint64_t at = object->chunks; at && r.at < r.size;) {
    uint64_t length = wire_get_varint(&r);
    uint8_t *sum = section + r.at;
    wire_get_u64(&r);
    if (r.failed || at > object->size || length > object->size - at) return;
    object_note(object, at, length);
    if (object->image->repairs) store_u64(sum, checksum(object->image->seed, object->bytes + at, (size_t)length));
    at += length;
  }
}

static void section_walk(struct object *object, uint8_t tag, uint64_t offset, uint64_t length) {
  uint8_t *section = object->bytes + offset;
  if (tag == SECTION_INDEX) index_walk(object, section, (size_t)length);
  if (tag == SECTION_LEAVES || tag == SECTION_CHILDREN) table_walk(object, section, (size_t)length);
  if (tag == SECTION_RUNS) runs_walk(object, section, (size_t)length);
  if (tag == SECTION_BLOBS) list_walk(object, section, (size_t)length);
  if (tag == SECTION_CHUNKS) object->chunks = offset;
  if (tag == SECTION_CHUNK_TABLE) chunks_walk(object, section, (size_t)length);
  if (tag != SECTION_PAGES && tag != SECTION_CHUNKS) object_note(object, offset, length);
}

/* r stands behind the fixed part of the header. */
static void sections_walk(struct object *object, struct wire_reader *r) {
  uint64_t extents = wire_get_varint(r);
  for (uint64_t i = 0; i < 2 * extents && !r->failed; i++) wire_get_varint(r);
  for (int key = 0; key < 2; key++) {
    uint64_t size = wire_get_varint(r);
    if (r->failed || size > r->size) return;
    wire_get_bytes(r, (size_t)size);
  }
  uint64_t count = wire_get_varint(r);
  for (uint64_t i = 0; i < count && i < OBJECT_SECTIONS_MAX; i++) {
    uint8_t tag = wire_get_u8(r);
    uint64_t offset = wire_get_varint(r), length = wire_get_varint(r);
    uint8_t *sum = (uint8_t *)wire_get_bytes(r, 8);
    if (r->failed) return;
    if (offset > object->size || length > object->size - offset) continue;
    section_walk(object, tag, offset, length);
    if (object->image->repairs && tag != SECTION_PAGES && tag != SECTION_CHUNKS)
      store_u64(sum, checksum(object->image->seed, object->bytes + offset, (size_t)length));
  }
}

/* The object the pointer meant: an older root names blocks that others have been written to since. */
static bool is_meant(const struct object *object) {
  const uint8_t *magic = object->bytes + 8;
  return (memcmp(magic, "WRUN", 4) == 0 || memcmp(magic, "WNOD", 4) == 0 || memcmp(magic, "WBLB", 4) == 0) &&
         load_u32(object->bytes + 12) == object->ptr.header_length &&
         load_u64(object->bytes + 32) == object->ptr.generation;
}

static void object_walk(struct object *object) {
  enum { FIXED = 80 };
  size_t length = object->ptr.header_length;
  if (length < FIXED || length > object->size) return;
  struct wire_reader r = wire_reader(object->bytes, length);
  r.at = FIXED;
  sections_walk(object, &r);
  object_note(object, 0, length);
  if (object->image->repairs) store_u64(object->bytes, checksum(object->image->seed, object->bytes + 8, length - 8));
}

void image_walk_pointer(struct image *image, struct wire_reader *r, unsigned depth) {
  struct object object = {.image = image, .depth = depth};
  size_t start = r->at;
  if (!block_ptr_decode(r, &image->bounds, &object.ptr) || object.ptr.generation == 0) return;
  if (depth > NODE_LEVELS_MAX + 2 || image->visits == 0) return;
  image->visits--;
  object.size = (size_t)(block_ptr_blocks(&object.ptr) * image->bounds.block_size);
  object.bytes = malloc(object.size);
  if (!object.bytes) return;
  object_copy(&object, false);
  bool meant = is_meant(&object);
  if (meant) object_walk(&object);
  if (meant && image->repairs) {
    object_copy(&object, true);
    struct wire_reader at = *r;
    at.at = start;
    wire_get_varint(&at); /* the generation stands before the checksum */
    memcpy((uint8_t *)at.data + at.at, object.bytes, 8);
  }
  free(object.bytes);
}

/* ---- superblocks and ring ----------------------------------------------------------------------------------------- */

static bool superblock_walk(struct image *image, size_t offset, struct superblock *sb) {
  uint8_t *bytes = image->bytes + offset;
  uint8_t copy[SUPERBLOCK_SIZE];
  note(image, offset, 128);
  memcpy(copy, bytes, sizeof copy);
  store_u64(copy + SUPERBLOCK_SUM_AT, checksum(0, copy, SUPERBLOCK_SUM_AT));
  if (image->repairs && memcmp(copy, "Wodan", 5) == 0) memcpy(bytes, copy, sizeof copy);
  return superblock_decode(copy, sb, NULL) == 0;
}

/* A slot of the ring, with the magic. */
struct slot {
  uint64_t sequence;
  uint8_t *bytes;
};

static int compare_slots(const void *a, const void *b) {
  const struct slot *x = a, *y = b;
  return x->sequence != y->sequence ? (x->sequence < y->sequence ? -1 : 1)
                                    : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static size_t slots_find(struct image *image, struct slot *slots) {
  const struct superblock *sb = &image->superblock;
  uint64_t count = superblock_ring_blocks(sb);
  size_t found = 0;
  for (uint64_t i = 0; i < count && found < RING_MAX; i++) {
    uint64_t offset = sb->block_size + i * sb->journal_block_size;
    if (offset > image->size || sb->journal_block_size > image->size - offset) break;
    uint8_t *bytes = image->bytes + offset;
    if (memcmp(bytes + 8, "WJNL", 4) != 0) continue;
    slots[found++] = (struct slot){load_u64(bytes + 48), bytes};
    note(image, (size_t)offset, JOURNAL_HEADER_SIZE + (uint64_t)load_u32(bytes + 96) % sb->journal_block_size);
  }
  qsort(slots, found, sizeof *slots, compare_slots);
  return found;
}

/* Puts the checksum of the block `sequence`, when it is there, where `place` is. */
static void link_to(const struct slot *slots, size_t count, uint64_t sequence, uint8_t *place) {
  struct slot wanted = {sequence, NULL};
  for (size_t low = 0, high = count; low < high;) {
    size_t middle = (low + high) / 2;
    if (slots[middle].sequence == sequence) {
      memcpy(place, slots[middle].bytes, 8);
      return;
    }
    if (slots[middle].sequence < wanted.sequence)
      low = middle + 1;
    else
      high = middle;
  }
}

static void roots_walk(struct image *image, const struct slot *slots, size_t count) {
  for (size_t i = count; i-- > 0;) { /* the newest first: visits may run out */
    if (slots[i].bytes[12] != JOURNAL_CHECKPOINT) continue;
    struct wire_reader r =
        wire_reader(slots[i].bytes + JOURNAL_HEADER_SIZE, image->superblock.journal_block_size - JOURNAL_HEADER_SIZE);
    uint64_t blocks = load_u64(r.data + 40);
    struct volume_bounds whole = image->bounds;
    if (blocks > image->bounds.data_first + 1 && blocks - 1 < image->bounds.data_end)
      image->bounds.data_end = blocks - 1;
    r.at = ROOT_AT;
    image_walk_pointer(image, &r, 0);
    image->bounds = whole;
  }
}

/* What large values the operations of a record name that is of one block. */
static void operations_walk(struct image *image, const struct slot *slot) {
  enum { FRAGMENTS_AT = 92, PAYLOAD_LENGTH_AT = 96, SEQUENCES = 16 };
  uint32_t length = load_u32(slot->bytes + PAYLOAD_LENGTH_AT);
  if (slot->bytes[12] != JOURNAL_RECORD || load_u32(slot->bytes + FRAGMENTS_AT) != 1) return;
  if (length > image->superblock.journal_block_size - JOURNAL_HEADER_SIZE) return;
  struct wire_reader r = wire_reader(slot->bytes + JOURNAL_HEADER_SIZE, length);
  wire_get_bytes(&r, SEQUENCES);
  for (struct journal_operation operation; r.at < r.size && journal_operation_decode(&r, &operation);) {
    if (operation.kind != RECORD_BLOB) continue;
    struct wire_reader value = wire_reader(operation.value.data, operation.value.size);
    wire_get_varint(&value);
    image_walk_pointer(image, &value, NODE_LEVELS_MAX);
  }
}

/* Links and checksums of the blocks from `first` on, but for the links of that block itself. */
static void ring_repair(struct image *image, const struct slot *slots, size_t count, uint64_t first) {
  for (size_t i = 0; i < count; i++) {
    uint8_t *bytes = slots[i].bytes, *payload = bytes + JOURNAL_HEADER_SIZE;
    if (slots[i].sequence < first) continue;
    bool links = first == 0 || slots[i].sequence > first;
    if (links && load_u64(bytes + 56)) link_to(slots, i, slots[i].sequence - 1, bytes + 56);
    if (links && load_u64(bytes + 80)) link_to(slots, i, load_u64(bytes + 72), bytes + 80);
    if (links && bytes[12] == JOURNAL_CHECKPOINT && load_u64(payload + 32))
      link_to(slots, i, load_u64(payload + 24), payload + 32);
    store_u64(bytes, checksum(image->seed, bytes + 8, image->superblock.journal_block_size - 8));
  }
}

/* Superblock and bounds; false: there is neither block 0 nor a copy. */
static bool image_begin(struct image *image, uint8_t *bytes, size_t size, bool repairs) {
  image->bytes = bytes;
  image->size = size;
  image->repairs = repairs;
  image->visits = VISITS_MAX;
  image->place_count = 0;
  if (size < 2 * SUPERBLOCK_SIZE) return false;
  struct superblock copy;
  bool first = superblock_walk(image, 0, &image->superblock);
  bool second = superblock_walk(image, size / 512 * 512 - SUPERBLOCK_SIZE, &copy);
  if (!first && second) image->superblock = copy;
  if (!first && !second) return false;
  const struct superblock *sb = &image->superblock;
  image->seed = checksum_seed(sb->fsid);
  uint64_t there = size / sb->block_size;
  if (there < superblock_data_first(sb) + 2) return false;
  image->bounds = (struct volume_bounds){sb->block_size, superblock_data_first(sb), there - 1};
  return true;
}

void image_walk(struct image *image, uint8_t *bytes, size_t size, bool repairs) {
  static struct slot slots[RING_MAX];
  if (!image_begin(image, bytes, size, repairs)) return;
  size_t count = slots_find(image, slots);
  roots_walk(image, slots, count);
  for (size_t i = 0; i < count; i++) operations_walk(image, &slots[i]);
  if (repairs) ring_repair(image, slots, count, 0);
}

void image_seal_ring(struct image *image, uint8_t *bytes, size_t size, uint64_t sequence) {
  static struct slot slots[RING_MAX];
  if (!image_begin(image, bytes, size, false)) return;
  ring_repair(image, slots, slots_find(image, slots), sequence);
}
