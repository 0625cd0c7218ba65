/* Owns: the statements of damage.
 *
 * Always true: places come from the image as it was; a `set` is followed by the repair of every checksum before the next
 * statement of another kind, or the end.
 *
 * See: patch.h; fuzz/support/image_walk.c, which makes checksums right. */
#include "support/patch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "blob/blob_read.h"
#include "codec/checksum.h"
#include "support/image.h"
#include "support/kept_device.h"
#include "support/patch_private.h"
#include "support/random.h"

static bool refuse(char why[256], const char *what, const char *text) {
  snprintf(why, 256, "%s: '%.200s'", what, text);
  return false;
}

/* ---- begin and end ------------------------------------------------------------------------------------------------ */

bool patch_begin(struct patch *patch, const struct base_image *base, const struct base_image *foreign, char why[256]) {
  *patch = (struct patch){.size = base->size, .base = base, .foreign = foreign};
  patch->bytes = malloc(base->size);
  memcpy(patch->bytes, base->bytes, base->size);
  patch->kept = kept_create(base->size);
  memcpy(patch->kept->data, base->bytes, base->size);
  patch->raw = kept_plug(patch->kept, BASE_SECTOR, 1);
  mem_init(&patch->mem, NULL);
  struct superblock *sb = &patch->superblock;
  if (device_init(&patch->device, patch->raw, NULL) < 0 || superblock_decode(patch->bytes, sb, NULL) < 0)
    return refuse(why, "the base image has no superblock", "");
  patch->io = (struct block_io){.device = &patch->device, .mem = &patch->mem, .seed = checksum_seed(sb->fsid)};
  memcpy(patch->io.fsid, sb->fsid, sizeof patch->io.fsid);
  patch->io.bounds = (struct volume_bounds){sb->block_size, superblock_data_first(sb), sb->device_blocks - 1};
  struct blob_source proof = {.io = &patch->io, .mem = &patch->mem, .page_size = sb->page_size}; /* for the mount */
  struct journal_setup setup = {.mem = &patch->mem,
                                .device = &patch->device,
                                .fsid = sb->fsid,
                                .seed = patch->io.seed,
                                .block_size = sb->journal_block_size,
                                .device_block = sb->block_size,
                                .blocks = superblock_ring_blocks(sb),
                                .proof = blob_proof(&proof)};
  if (journal_init(&patch->journal, &setup, NULL) < 0 ||
      journal_mount(&patch->journal, &patch->io.bounds, &patch->mounted, NULL) < 0)
    return refuse(why, "the base image's journal cannot be mounted", "");
  return true;
}

static void repair(struct patch *patch) {
  static struct image image;
  if (patch->unsealed) image_walk(&image, patch->bytes, patch->size, true);
  patch->unsealed = false;
}

void patch_end(struct patch *patch) {
  repair(patch);
  journal_release(&patch->journal);
  wodan_device_close(patch->raw);
  kept_free(patch->kept);
}

/* ---- fields ------------------------------------------------------------------------------------------------------- */

static uint64_t load(const uint8_t *bytes, const struct patch_field *field) {
  uint64_t value = 0;
  struct wire_reader r = wire_reader(bytes, field->place.size);
  if (field->varint) return wire_get_varint(&r);
  for (size_t i = field->place.size; i-- > 0;) value = value << 8 | bytes[i];
  return value;
}

/* false: the number does not fit. */
static bool store(uint8_t *bytes, const struct patch_field *field, uint64_t value) {
  size_t size = (size_t)field->place.size;
  struct wire_writer w = wire_writer(bytes, size);
  if (field->varint && wire_varint_size(value) != size) return false;
  if (field->varint)
    wire_put_varint(&w, value);
  else if (size < 8 && value >> 8 * size)
    return false;
  else
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(value >> 8 * i);
  return true;
}

/* Text behind a quote, \\xHH for any byte, up to the closing quote: exactly `size` bytes. */
static bool unquote(const char *text, uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) {
    unsigned byte = (unsigned char)*text;
    if (byte == '\0' || byte == '"' || (byte == '\\' && sscanf(text, "\\x%2x", &byte) != 1)) return false;
    text += *text == '\\' ? 4 : 1;
    bytes[i] = (uint8_t)byte;
  }
  return strcmp(text, "\"") == 0;
}

/* The new bytes of the field, in `bytes`, which holds the present ones. */
static bool evaluate(struct patch *patch, const struct patch_field *field, const char *value, uint8_t *bytes,
                     char why[256]) {
  size_t size = (size_t)field->place.size;
  char *end = NULL;
  if (strcmp(value, "max") == 0) {
    memset(bytes, 0xff, size);
    return true;
  }
  if (strncmp(value, "of ", 3) == 0) {
    struct patch_field from;
    if (!patch_field_find(patch, value + 3, &from, why)) return false;
    if (from.place.size != size) return refuse(why, "of another size", value);
    for (size_t i = 0; i < size; i++) bytes[i] = patch->kept->data[patch_place_at(patch, &from.place, i)];
    return true;
  }
  if (*value == '"') return unquote(value + 1, bytes, size) || refuse(why, "not as many bytes as are there", value);
  if (field->text || size > 8) return refuse(why, "the field is no number", value);
  bool relative = strchr("+-^", *value) != NULL;
  uint64_t present = load(bytes, field), given = strtoull(value + relative, &end, 0);
  if (end == value + relative || *end) return refuse(why, "no value", value);
  if (*value == '+') given = present + given;
  if (*value == '-') given = present - given;
  if (*value == '^') given = present ^ given;
  if (!field->varint && size < 8) given &= ((uint64_t)1 << 8 * size) - 1;
  if (given == present) return refuse(why, "that is what is there", value);
  return store(bytes, field, given) || refuse(why, "it does not fit", value);
}

static bool set(struct patch *patch, const char *text, char why[256]) {
  struct patch_field field;
  char where[200];
  const char *equals = strstr(text, " = ");
  if (!equals || (size_t)(equals - text) >= sizeof where) return refuse(why, "no 'FIELD = VALUE'", text);
  snprintf(where, sizeof where, "%.*s", (int)(equals - text), text);
  if (!patch_field_find(patch, where, &field, why)) return false;
  uint8_t *bytes = malloc(field.place.size);
  for (uint64_t i = 0; i < field.place.size; i++) bytes[i] = patch->bytes[patch_place_at(patch, &field.place, i)];
  bool good = evaluate(patch, &field, equals + 3, bytes, why);
  for (uint64_t i = 0; i < field.place.size && good; i++)
    patch->bytes[patch_place_at(patch, &field.place, i)] = bytes[i];
  free(bytes);
  return good;
}

/* ---- checksums that image_walk leaves alone ----------------------------------------------------------------------- */

/* The field that holds the checksum of the pointer to the object. */
static bool owner_of(struct patch *patch, const char *path, struct patch_field *sum, char why[256]) {
  char where[128], node[64];
  const char *dot = strrchr(path, '.'), *slash = strrchr(path, '/'), *last = dot > slash ? dot : slash;
  if (!last) {
    snprintf(where, sizeof where, "checkpoint %s: root checksum", *path == 'o' ? "older" : "newest");
    return patch_field_find(patch, where, sum, why);
  }
  snprintf(node, sizeof node, "%.*s", (int)(last - path), path);
  snprintf(where, sizeof where, "%s %s %s: pointer checksum", *last == '.' ? "entry" : "buffered", node, last + 1);
  return patch_field_find(patch, where, sum, why);
}

static bool seal_object(struct patch *patch, const char *path, char why[256]) {
  struct patch_place header;
  struct patch_field sum;
  char where[128];
  snprintf(where, sizeof where, "header %s", path);
  if (!patch_place_find(patch, where, &header, why) || !owner_of(patch, path, &sum, why)) return false;
  uint8_t *bytes = malloc(header.size), stored[8];
  for (uint64_t i = 0; i < header.size; i++) bytes[i] = patch->bytes[patch_place_at(patch, &header, i)];
  store_u64(stored, checksum(patch->io.seed, bytes + 8, (size_t)header.size - 8));
  free(bytes);
  for (uint64_t i = 0; i < sizeof stored; i++) {
    patch->bytes[patch_place_at(patch, &header, i)] = stored[i];
    patch->bytes[patch_place_at(patch, &sum.place, i)] = stored[i];
  }
  patch->unsealed = true; /* of the nodes above */
  repair(patch);
  return true;
}

static bool seal_superblock(struct patch *patch, const char *name, char why[256]) {
  struct patch_place place;
  if (!patch_place_find(patch, name, &place, why)) return false;
  uint8_t *bytes = patch->bytes + place.offset;
  store_u64(bytes + SUPERBLOCK_SIZE - 8, checksum(0, bytes, SUPERBLOCK_SIZE - 8));
  return true;
}

static bool seal(struct patch *patch, const char *what, char why[256]) {
  uint64_t sequence;
  if (strcmp(what, "superblock") == 0 || strcmp(what, "copy") == 0) return seal_superblock(patch, what, why);
  if (strncmp(what, "journal ", 8) != 0) return seal_object(patch, what, why);
  if (!patch_journal_sequence(patch, what + 8, &sequence)) return refuse(why, "no journal block", what);
  static struct image image;
  image_seal_ring(&image, patch->bytes, patch->size, sequence);
  return true;
}

/* ---- what a medium does ------------------------------------------------------------------------------------------- */

enum medium { ZERO, GARBAGE, UNREADABLE, FOREIGN, STALE };

static bool break_range(struct patch *patch, uint64_t at, char why[256]) {
  uint64_t from = at / BASE_SECTOR * BASE_SECTOR;
  if (patch->broken_count && patch->broken[patch->broken_count - 1].to > from) return true;
  if (patch->broken_count && patch->broken[patch->broken_count - 1].to == from) {
    patch->broken[patch->broken_count - 1].to += BASE_SECTOR;
    return true;
  }
  if (patch->broken_count == PATCH_BROKEN_MAX) return refuse(why, "too many ranges that cannot be read", "");
  patch->broken[patch->broken_count++] = (struct patch_range){from, from + BASE_SECTOR};
  return true;
}

static bool damage(struct patch *patch, enum medium medium, const char *where, const uint8_t *other, char why[256]) {
  struct patch_place place;
  uint64_t random = 1;
  if (!patch_place_find(patch, where, &place, why)) return false;
  for (uint64_t i = 0; i < place.size; i++) {
    uint64_t at = patch_place_at(patch, &place, i);
    if (medium == UNREADABLE && !break_range(patch, at, why)) return false;
    if (medium == ZERO) patch->bytes[at] = 0;
    if (medium == GARBAGE) patch->bytes[at] = (uint8_t)random_next(&random);
    if (other) patch->bytes[at] = other[at];
  }
  return true;
}

static bool copy(struct patch *patch, const char *text, char why[256]) {
  struct patch_place from, to;
  char source[128];
  const char *between = strstr(text, " to ");
  if (!between) return refuse(why, "copy PLACE to PLACE", text);
  snprintf(source, sizeof source, "%.*s", (int)(between - text), text);
  if (!patch_place_find(patch, source, &from, why) || !patch_place_find(patch, between + 4, &to, why)) return false;
  for (uint64_t i = 0; i < from.size && i < to.size; i++)
    patch->bytes[patch_place_at(patch, &to, i)] = patch->kept->data[patch_place_at(patch, &from, i)];
  return true;
}

static bool flip(struct patch *patch, const char *text, char why[256]) {
  struct patch_place place;
  const char *between = strstr(text, " of ");
  uint64_t bit = strtoull(text, NULL, 10);
  if (!between) return refuse(why, "flip BIT of PLACE", text);
  if (!patch_place_find(patch, between + 4, &place, why)) return false;
  if (bit / 8 >= place.size) return refuse(why, "behind the place", text);
  patch->bytes[patch_place_at(patch, &place, bit / 8)] ^= (uint8_t)(1u << bit % 8);
  return true;
}

static bool stale(struct patch *patch, const char *text, char why[256]) {
  char where[128];
  const char *between = strstr(text, " from ");
  if (!between) return refuse(why, "stale PLACE from MARK", text);
  snprintf(where, sizeof where, "%.*s", (int)(between - text), text);
  for (uint32_t i = 0; i < patch->base->mark_count; i++)
    if (strcmp(patch->base->marks[i].name, between + 6) == 0)
      return damage(patch, STALE, where, patch->base->marks[i].bytes, why);
  return refuse(why, "there is no such mark", between + 6);
}

static bool resize(struct patch *patch, uint64_t size) {
  if (size == 0) return false;
  patch->bytes = realloc(patch->bytes, size);
  if (size > patch->size) memset(patch->bytes + patch->size, 0, size - patch->size);
  patch->size = size;
  return true;
}

bool patch_apply(struct patch *patch, const char *statement, char why[256]) {
  size_t word = strcspn(statement, " ");
  const char *rest = statement + word + strspn(statement + word, " ");
#define IS(name) (word == sizeof name - 1 && memcmp(statement, name, word) == 0)
  if (IS("set")) return patch->unsealed = true, set(patch, rest, why);
  repair(patch);
  if (IS("nothing")) return true;
  if (IS("raw")) return set(patch, rest, why);
  if (IS("seal")) return seal(patch, rest, why);
  if (IS("sums")) return patch->unsealed = true;
  if (IS("zero")) return damage(patch, ZERO, rest, NULL, why);
  if (IS("garbage")) return damage(patch, GARBAGE, rest, NULL, why);
  if (IS("unreadable")) return damage(patch, UNREADABLE, rest, NULL, why);
  if (IS("foreign") && patch->foreign) return damage(patch, FOREIGN, rest, patch->foreign->bytes, why);
  if (IS("copy")) return copy(patch, rest, why);
  if (IS("flip")) return flip(patch, rest, why);
  if (IS("stale")) return stale(patch, rest, why);
  if (IS("truncate")) return resize(patch, patch->size - strtoull(rest, NULL, 10));
  if (IS("extend")) return resize(patch, patch->size + strtoull(rest, NULL, 10));
#undef IS
  return refuse(why, "no statement of this kind", statement);
}
