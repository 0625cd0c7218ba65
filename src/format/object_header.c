/* Owns: the header that starts every run and node.
 *
 * Always true: a decoded header carries this volume's fsid and a good checksum over all its bytes, holds exactly the
 * blocks its length needs, has low <= high where both are given, and sections that cover the bytes from its own end to
 * the object's end without gap or overlap, each tag at most once and of the right type. Bytes it does not need are
 * zero.
 *
 * Order: the length of the header is proven against what was read before the checksum is computed over it.
 *
 * See: object_header.h for the layout; tests/unit/test_object_header.c. */
#include "format/object_header.h"

#include <assert.h>
#include <string.h>
#include "base/wire.h"
#include "codec/checksum.h"
#include "format/node_header.h"
#include "format/record.h"

static const uint8_t MAGIC_RUN[4] = {'W', 'R', 'U', 'N'};
static const uint8_t MAGIC_NODE[4] = {'W', 'N', 'O', 'D'};
static const uint8_t MAGIC_BLOB[4] = {'W', 'B', 'L', 'B'};
enum { FIXED_SIZE = 80 }; /* up to the extents */

uint32_t object_header_size_max(const struct volume_bounds *bounds, size_t low_size, size_t high_size,
                                uint32_t extent_count, uint32_t section_count) {
  assert(low_size < BLOCK_PTR_HEADER_MAX / 4 && high_size < BLOCK_PTR_HEADER_MAX / 4);
  assert(extent_count <= BLOCK_PTR_EXTENTS_MAX && section_count <= OBJECT_SECTIONS_MAX);
  size_t extent_size = 2 * wire_varint_size(bounds->data_end);
  size_t section_size = 1 + 2 * wire_varint_size(bounds->data_end * bounds->block_size) + 8;
  size_t size = FIXED_SIZE + wire_varint_size(extent_count) + extent_count * extent_size;
  size += wire_varint_size(low_size) + low_size + wire_varint_size(high_size) + high_size;
  size += wire_varint_size(section_count) + section_count * section_size;
  return (uint32_t)size;
}

static const uint8_t *magic_of(uint8_t type) {
  return type == OBJECT_RUN ? MAGIC_RUN : type == OBJECT_NODE ? MAGIC_NODE : MAGIC_BLOB;
}

/* Tags 1..5 belong to runs, 6..8 to nodes, 9 and 10 to blobs. */
static bool tag_fits(uint8_t type, uint8_t tag) {
  if (tag < SECTION_PAGES || tag > SECTION_CHUNKS) return false; /* guard: bounds */
  uint8_t owner = tag <= SECTION_RANGE_TOMBSTONES ? OBJECT_RUN : tag <= SECTION_CHILDREN ? OBJECT_NODE : OBJECT_BLOB;
  return owner == type; /* guard: bounds */
}

/* The rules of the section list that need no device bytes: used before writing and after reading. */
static bool sections_valid(const struct object_header *header) {
  uint64_t at = header->header_length;
  unsigned seen = 0;
  for (uint32_t i = 0; i < header->section_count; i++) {
    const struct section *s = &header->sections[i];
    if (!tag_fits(header->type, s->tag) || (seen & 1u << s->tag)) return false; /* guard: bounds */
    seen |= 1u << s->tag;
    if (s->offset != at || s->length > header->length - at) return false;                   /* guard: bounds */
    if ((s->tag == SECTION_PAGES || s->tag == SECTION_CHUNKS) && s->checksum) return false; /* guard: bounds */
    at += s->length;
  }
  return at == header->length; /* guard: bounds */
}

static bool fields_valid(const struct object_header *header) {
  if (header->generation == 0 || header->length < header->header_length) return false; /* guard: bounds */
  if (header->type == OBJECT_NODE && (header->record_count >= NODE_LEVELS_MAX || header->sequence_max))
    return false; /* guard: bounds */
  if (header->type == OBJECT_BLOB && (header->record_count == 0 || header->sequence_max))
    return false; /* guard: bounds */
  if (header->low.size && header->high.size && key_compare(header->low, header->high) > 0)
    return false; /* guard: bounds */
  return sections_valid(header);
}

static void key_encode(struct wire_writer *w, struct wodan_slice key) {
  wire_put_varint(w, key.size);
  wire_put_bytes(w, key.data, key.size);
}

bool object_header_encode(struct object_header *header, uint64_t seed, uint8_t *out) {
  assert(header->type >= OBJECT_RUN && header->type <= OBJECT_BLOB);
  assert(header->section_count <= OBJECT_SECTIONS_MAX && fields_valid(header));
  if (header->header_length > BLOCK_PTR_HEADER_MAX) return false; /* no guard: ours to write */
  struct wire_writer w = wire_writer(out, header->header_length);
  wire_put_u64(&w, 0);
  wire_put_bytes(&w, magic_of(header->type), 4);
  wire_put_u32(&w, header->header_length);
  wire_put_bytes(&w, header->fsid, sizeof header->fsid);
  wire_put_u64(&w, header->generation);
  wire_put_u64(&w, header->epoch.number);
  wire_put_u64(&w, header->epoch.random);
  wire_put_u64(&w, header->length);
  wire_put_u64(&w, header->record_count);
  wire_put_u64(&w, header->sequence_max);
  extents_encode(&w, header->extents, header->extent_count);
  key_encode(&w, header->low);
  key_encode(&w, header->high);
  wire_put_varint(&w, header->section_count);
  for (uint32_t i = 0; i < header->section_count; i++) {
    const struct section *s = &header->sections[i];
    wire_put_u8(&w, s->tag);
    wire_put_varint(&w, s->offset);
    wire_put_varint(&w, s->length);
    wire_put_u64(&w, s->checksum);
  }
  if (w.failed) return false; /* no guard: ours to write */
  memset(out + w.at, 0, w.size - w.at);
  header->checksum = checksum(seed, out + 8, header->header_length - 8);
  store_u64(out, header->checksum);
  return true;
}

/* The fixed part, from the magic on; the reader is bounded to the header, which is not shorter. */
static void fixed_decode(struct wire_reader *r, struct object_header *header) {
  const uint8_t *magic = wire_get_bytes(r, 4);
  for (uint8_t type = OBJECT_RUN; type <= OBJECT_BLOB; type++)
    if (memcmp(magic, magic_of(type), 4) == 0) header->type = type;
  header->header_length = wire_get_u32(r);
  memcpy(header->fsid, wire_get_bytes(r, sizeof header->fsid), sizeof header->fsid);
  header->generation = wire_get_u64(r);
  header->epoch.number = wire_get_u64(r);
  header->epoch.random = wire_get_u64(r);
  header->length = wire_get_u64(r);
  header->record_count = wire_get_u64(r);
  header->sequence_max = wire_get_u64(r);
  assert(!r->failed && r->at == FIXED_SIZE);
}

static struct wodan_slice key_decode(struct wire_reader *r) {
  uint64_t size = wire_get_varint(r);
  const uint8_t *bytes = wire_get_bytes(r, size);
  return (struct wodan_slice){bytes, bytes ? (size_t)size : 0};
}

static bool sections_decode(struct wire_reader *r, struct object_header *header) {
  uint64_t count = wire_get_varint(r);
  if (count > OBJECT_SECTIONS_MAX) return false; /* guard: bounds */
  header->section_count = (uint32_t)count;
  for (uint32_t i = 0; i < count; i++) {
    struct section *s = &header->sections[i];
    s->tag = wire_get_u8(r);
    s->offset = wire_get_varint(r);
    s->length = wire_get_varint(r);
    s->checksum = wire_get_u64(r);
  }
  return !r->failed; /* guard: bounds */
}

bool object_header_decode(const uint8_t *in, size_t size, uint64_t seed, const uint8_t fsid[16],
                          const struct volume_bounds *bounds, struct object_header *header) {
  memset(header, 0, sizeof *header);
  uint32_t header_length = object_header_peek_length(in, size);
  if (header_length < FIXED_SIZE || header_length > size || header_length > BLOCK_PTR_HEADER_MAX)
    return false; /* guard: bounds */
  struct wire_reader r = wire_reader(in, header_length);
  header->checksum = wire_get_u64(&r);
  fixed_decode(&r, header);
  if (!header->type) return false;                                                 /* guard: bounds */
  if (checksum(seed, in + 8, header_length - 8) != header->checksum) return false; /* guard: checksum */
  if (memcmp(header->fsid, fsid, sizeof header->fsid) != 0) return false;          /* guard: bounds */
  extents_decode(&r, bounds, header->length, header->extents, &header->extent_count);
  header->low = key_decode(&r);
  header->high = key_decode(&r);
  /* A failure of any of these sticks. */
  if (!sections_decode(&r, header) || !fields_valid(header)) return false; /* guard: bounds */
  for (; r.at < r.size; r.at++)
    if (in[r.at]) return false; /* guard: bounds */
  return true;
}

const struct section *object_section(const struct object_header *header, uint8_t tag) {
  assert(header->section_count <= OBJECT_SECTIONS_MAX);
  for (uint32_t i = 0; i < header->section_count; i++)
    if (header->sections[i].tag == tag) return &header->sections[i];
  return NULL;
}

bool object_header_peek(const uint8_t *in, size_t size, const struct volume_bounds *bounds,
                        struct object_header *header) {
  memset(header, 0, sizeof *header);
  if (size < FIXED_SIZE) return false; /* guard: bounds */
  struct wire_reader r = wire_reader(in, size);
  header->checksum = wire_get_u64(&r);
  fixed_decode(&r, header);
  if (!header->type) return false; /* no guard: only what looks like one is looked at */
  if (header->header_length < FIXED_SIZE || header->header_length > BLOCK_PTR_HEADER_MAX ||
      header->header_length > header->length)
    return false; /* guard: bounds */
  extents_decode(&r, bounds, header->length, header->extents, &header->extent_count);
  return !r.failed; /* guard: bounds */
}

uint8_t object_header_peek_type(const uint8_t *in, size_t size) {
  uint8_t type = size < 12 ? 0 : OBJECT_BLOB;
  while (type && memcmp(in + 8, magic_of(type), sizeof MAGIC_RUN) != 0) type--;
  return type;
}

uint32_t object_header_peek_length(const uint8_t *in, size_t size) { return size < 16 ? 0 : load_u32(in + 12); }
