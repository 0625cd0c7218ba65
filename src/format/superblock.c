/* Owns: the superblock's bytes, and the geometry rules of a volume: which sizes are legal and what they default to.
 *
 * Always true of a superblock that superblock_plan made or superblock_decode accepted: every field obeys the rules of
 * geometry_check, the only place that lists them. So whatever a later layer divides by, shifts by or allocates from is
 * not zero, not huge, and fits the volume; no product of two fields overflows; at least 46 blocks of 64 hold data.
 *
 * Order: block size, sector and block count are proven first, because the bounds of all other fields are computed from
 * the volume's size. A foreign image is told from a damaged one by its magic, an unknown version is reported only
 * behind a good checksum.
 *
 * See: superblock.h for the layout; tests/unit/test_superblock.c. */
#include "format/superblock.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include "base/status.h"
#include "base/wire.h"
#include "codec/checksum.h"
#include "codec/compress.h"

static const uint8_t MAGIC[16] = "Wodan-C volume\n"; /* 15 bytes and the zero behind them */
enum { RESERVED_OFFSET = 120, CHECKSUM_OFFSET = 504 };

enum {
  KIB = 1024,
  MIB = 1024 * 1024,
  BLOCK_SIZE_MIN = 512,
  BLOCK_SIZE_MAX = MIB,
  SECTOR_MIN = 64,
  SECTOR_MAX = 65536,
  DEVICE_BLOCKS_MIN = 64,
  SMALL_VOLUME = MIB, /* below: blocks of 512 bytes by default */
  JOURNAL_BLOCK_MIN_SMALL = 512,
  JOURNAL_BLOCK_MIN = 4096,
  RING_BLOCKS_MIN = 8,
  PAGE_MIN = 512,
  PAGE_MAX = 16384,
  PAGES_MIN = 4, /* of a leaf, of a memtable */
  LEAF_MAX = 1024 * MIB,
  STEP_HEADER = 4 * KIB, /* a step writes a leaf, half as much of a buffer, and a header */
  NODE_LEAVES_MIN = 4,
  NODE_LEAVES_MAX = 65536,
  NODE_CHILDREN_MIN = 4,
  NODE_CHILDREN_MAX = 256,
  NODE_CHILDREN_USUAL = 16,
};

static uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t clamp_u64(uint64_t v, uint64_t low, uint64_t high) { return max_u64(low, min_u64(v, high)); }
static bool is_power(uint64_t v) { return v && (v & (v - 1)) == 0; }
static uint64_t power_below(uint64_t v) { /* v >= 1 */
  while (v & (v - 1)) v &= v - 1;
  return v;
}

/* One field and what it may be. */
struct rule {
  const char *name;
  uint64_t value, low, high; /* low and high included */
  bool power;                /* of two */
};

static int rule_check(const struct rule *rule, int code, struct wodan_error *error) {
  bool ranged = rule->value >= rule->low && rule->value <= rule->high;
  if (ranged && (!rule->power || is_power(rule->value))) return 0;
  return status_set(error, code, 0, code == WODAN_ECORRUPT ? 0 : WODAN_NO_BLOCK,
                    "%s%s is %" PRIu64 "; it must be %sfrom %" PRIu64 " to %" PRIu64 " on this device",
                    code == WODAN_ECORRUPT ? "superblock: " : "", rule->name, rule->value,
                    rule->power ? "a power of two " : "", rule->low, rule->high);
}

static int rules_check(const struct rule *rules, size_t count, int code, struct wodan_error *error) {
  for (size_t i = 0; i < count; i++) {
    int status = rule_check(&rules[i], code, error);
    if (status) return status;
  }
  return 0;
}

static uint64_t volume_size(const struct superblock *sb) { return sb->device_blocks * sb->block_size; }

/* The ring is whole allocation blocks and whole journal blocks; both are powers of two. */
static uint64_t ring_unit(const struct superblock *sb) { return max_u64(sb->block_size, sb->journal_block_size); }
static uint64_t ring_size_max(const struct superblock *sb) {
  return volume_size(sb) / 4 / ring_unit(sb) * ring_unit(sb);
}
static uint64_t journal_block_min(const struct superblock *sb) {
  return max_u64(sb->sector, volume_size(sb) < SMALL_VOLUME ? JOURNAL_BLOCK_MIN_SMALL : JOURNAL_BLOCK_MIN);
}
static uint64_t step_size_min(uint64_t leaf_size) { return leaf_size + leaf_size / 2 + STEP_HEADER; }

/* What the bounds of all other fields are computed from. */
static int base_check(const struct superblock *sb, int code, struct wodan_error *error) {
  const struct rule units[] = {
      {"sector", sb->sector, SECTOR_MIN, SECTOR_MAX, true},
      {"block_size", sb->block_size, max_u64(BLOCK_SIZE_MIN, sb->sector), BLOCK_SIZE_MAX, true},
  };
  int status = rules_check(units, sizeof units / sizeof units[0], code, error);
  if (status) return status;
  const struct rule blocks = {"device_blocks", sb->device_blocks, DEVICE_BLOCKS_MIN, INT64_MAX / sb->block_size, false};
  return rule_check(&blocks, code, error);
}

/* The ring, behind base_check. Ring blocks are bounded before they are multiplied. */
static int ring_check(const struct superblock *sb, int code, struct wodan_error *error) {
  const struct rule block = {"journal_block_size", sb->journal_block_size, journal_block_min(sb), SECTOR_MAX, true};
  int status = rule_check(&block, code, error);
  if (status) return status;
  uint64_t unit = ring_unit(sb), low = RING_BLOCKS_MIN * (uint64_t)sb->journal_block_size;
  low = (low + unit - 1) / unit * unit;
  const struct rule ring = {"journal_blocks", sb->journal_blocks, low / sb->block_size,
                            ring_size_max(sb) / sb->block_size, false};
  status = rule_check(&ring, code, error);
  if (status) return status;
  if (sb->journal_blocks * sb->block_size % unit == 0) return 0; /* guard: bounds, passes */
  return status_set(error, code, 0, 0,
                    "superblock: journal_blocks is %" PRIu64 ", not whole journal blocks of %u bytes",
                    sb->journal_blocks, (unsigned)sb->journal_block_size);
}

/* All rules, for a planned superblock (WODAN_EINVAL) and a read one (WODAN_ECORRUPT). */
static int geometry_check(const struct superblock *sb, int code, struct wodan_error *error) {
  int status = base_check(sb, code, error);
  if (!status) status = ring_check(sb, code, error);
  if (status) return status;
  uint64_t volume = volume_size(sb), pages = PAGES_MIN * (uint64_t)sb->page_size, step = step_size_min(sb->leaf_size);
  const struct rule rules[] = {
      {"page_size", sb->page_size, PAGE_MIN, min_u64(PAGE_MAX, power_below(volume / 32)), true},
      {"memtable_size", sb->memtable_size, pages, volume / 8, false},
      {"leaf_size", sb->leaf_size, pages, min_u64(LEAF_MAX, max_u64(volume / 16, pages)), false},
      {"step_size", sb->step_size, step, max_u64(step, MIB), false},
      {"node_leaves", sb->node_leaves, NODE_LEAVES_MIN, NODE_LEAVES_MAX, false},
      {"node_children", sb->node_children, NODE_CHILDREN_MIN, NODE_CHILDREN_MAX, false},
      {"compression", sb->compression, 0, COMPRESSION_HIGH, false},
  };
  return rules_check(rules, sizeof rules / sizeof rules[0], code, error);
}

void superblock_encode(const struct superblock *sb, uint8_t out[SUPERBLOCK_SIZE]) {
  memset(out, 0, SUPERBLOCK_SIZE);
  struct wire_writer w = wire_writer(out, SUPERBLOCK_SIZE);
  wire_put_bytes(&w, MAGIC, sizeof MAGIC);
  wire_put_u32(&w, sb->version);
  wire_put_u32(&w, sb->block_size);
  wire_put_u64(&w, sb->compat);
  wire_put_u64(&w, sb->read_only_compat);
  wire_put_u64(&w, sb->incompat);
  wire_put_bytes(&w, sb->fsid, sizeof sb->fsid);
  wire_put_u32(&w, sb->sector);
  wire_put_u32(&w, sb->journal_block_size);
  wire_put_u64(&w, sb->device_blocks);
  wire_put_u64(&w, sb->journal_blocks);
  wire_put_u64(&w, sb->memtable_size);
  wire_put_u32(&w, sb->page_size);
  wire_put_u32(&w, sb->leaf_size);
  wire_put_u32(&w, sb->step_size);
  wire_put_u32(&w, sb->node_leaves);
  wire_put_u32(&w, sb->node_children);
  wire_put_u32(&w, sb->compression);
  assert(w.at == RESERVED_OFFSET);
  wire_put_room(&w, CHECKSUM_OFFSET - RESERVED_OFFSET);
  wire_put_u64(&w, checksum(0, out, CHECKSUM_OFFSET));
  assert(!w.failed && w.at == SUPERBLOCK_SIZE);
}

/* The fields in the table's order; false when a reserved byte is not zero. */
static bool fields_decode(struct wire_reader *r, struct superblock *sb) {
  sb->version = wire_get_u32(r);
  sb->block_size = wire_get_u32(r);
  sb->compat = wire_get_u64(r);
  sb->read_only_compat = wire_get_u64(r);
  sb->incompat = wire_get_u64(r);
  memcpy(sb->fsid, wire_get_bytes(r, sizeof sb->fsid), sizeof sb->fsid);
  sb->sector = wire_get_u32(r);
  sb->journal_block_size = wire_get_u32(r);
  sb->device_blocks = wire_get_u64(r);
  sb->journal_blocks = wire_get_u64(r);
  sb->memtable_size = wire_get_u64(r);
  sb->page_size = wire_get_u32(r);
  sb->leaf_size = wire_get_u32(r);
  sb->step_size = wire_get_u32(r);
  sb->node_leaves = wire_get_u32(r);
  sb->node_children = wire_get_u32(r);
  sb->compression = wire_get_u32(r);
  assert(!r->failed && r->at == RESERVED_OFFSET);
  while (r->at < CHECKSUM_OFFSET)
    if (wire_get_u8(r)) return false; /* guard: bounds */
  return true;
}

int superblock_decode(const uint8_t in[SUPERBLOCK_SIZE], struct superblock *sb, struct wodan_error *error) {
  memset(sb, 0, sizeof *sb);
  struct wire_reader r = wire_reader(in, SUPERBLOCK_SIZE);
  if (memcmp(wire_get_bytes(&r, sizeof MAGIC), MAGIC, sizeof MAGIC) != 0)
    return status_set(error, WODAN_EFORMAT, 0, 0, "there is no Wodan superblock here"); /* guard: bounds */
  if (checksum(0, in, CHECKSUM_OFFSET) != load_u64(in + CHECKSUM_OFFSET))
    return status_corrupt(error, 0, "superblock: the checksum is wrong"); /* guard: checksum */
  bool zeros = fields_decode(&r, sb);
  if (sb->version != FORMAT_VERSION)
    return status_set(error, WODAN_EVERSION, 0, 0, "the image has format version %u; this library knows version %d",
                      (unsigned)sb->version, FORMAT_VERSION); /* guard: bounds */
  if (sb->incompat & ~(uint64_t)FEATURES_KNOWN)
    return status_set(error, WODAN_EVERSION, 0, 0, "the image uses unknown features (incompat flags 0x%" PRIx64 ")",
                      sb->incompat & ~(uint64_t)FEATURES_KNOWN); /* guard: bounds */
  if (!(sb->incompat & FEATURE_RANGES))
    return status_set(
        error, WODAN_EVERSION, 0, 0,
        "the image was made by an earlier version: its nodes do not count range deletes"); /* guard: bounds */
  if (!zeros) return status_corrupt(error, 0, "superblock: reserved bytes are not zero");  /* guard: bounds */
  if ((sb->compression != COMPRESSION_OFF) != ((sb->incompat & FEATURE_LZ4) != 0))
    return status_corrupt(error, 0, "superblock: compression %u does not agree with the incompat flags",
                          (unsigned)sb->compression); /* guard: bounds */
  return geometry_check(sb, WODAN_ECORRUPT, error);   /* no guard: its rules are */
}

/* Sector, block size and count of blocks from the wish; proven on return 0. */
static int plan_base(const struct superblock_wish *wish, struct superblock *sb, struct wodan_error *error) {
  uint32_t usual = wish->device_size < SMALL_VOLUME ? BLOCK_SIZE_MIN : 4 * KIB;
  sb->sector = wish->sector;
  sb->block_size = wish->block_size ? wish->block_size : (uint32_t)max_u64(usual, wish->sector);
  sb->device_blocks = sb->block_size ? wish->device_size / sb->block_size : 0;
  uint64_t least = DEVICE_BLOCKS_MIN * (uint64_t)sb->block_size;
  if (sb->device_blocks < DEVICE_BLOCKS_MIN && is_power(sb->block_size))
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK,
                      "the device has %" PRIu64 " bytes; with blocks of %u bytes at least %" PRIu64
                      " are needed (%d blocks)",
                      wish->device_size, (unsigned)sb->block_size, least, DEVICE_BLOCKS_MIN);
  return base_check(sb, WODAN_EINVAL, error);
}

static int plan_ring(const struct superblock_wish *wish, struct superblock *sb, struct wodan_error *error) {
  sb->journal_block_size = (uint32_t)journal_block_min(sb);
  uint64_t unit = ring_unit(sb), low = RING_BLOCKS_MIN * (uint64_t)sb->journal_block_size;
  uint64_t ring = clamp_u64(volume_size(sb) / 32, low, 128 * (uint64_t)MIB);
  if (wish->journal_size) {
    const struct rule rule = {"journal_size", wish->journal_size, low, ring_size_max(sb), false};
    int status = rule_check(&rule, WODAN_EINVAL, error);
    if (status) return status;
    ring = wish->journal_size;
  }
  sb->journal_blocks = (ring + unit - 1) / unit * unit / sb->block_size;
  return 0;
}

/* The leaves that hold 16 memtables; all of them in a volume of about 64, where a second level would only cost space. */
static uint32_t node_leaves_usual(const struct superblock *sb) {
  uint64_t memtable = min_u64(sb->memtable_size, UINT64_MAX / 16); /* a wish, not proven yet */
  uint64_t least = sb->device_blocks * sb->block_size / sb->leaf_size <= 64 ? 128 : 16;
  return (uint32_t)clamp_u64(16 * memtable / sb->leaf_size, least, 2048);
}

int superblock_plan(const struct superblock_wish *wish, struct superblock *sb, struct wodan_error *error) {
  memset(sb, 0, sizeof *sb);
  sb->version = FORMAT_VERSION;
  int status = plan_base(wish, sb, error);
  if (!status) status = plan_ring(wish, sb, error);
  if (status) return status;
  uint64_t volume = volume_size(sb);
  sb->page_size =
      wish->page_size ? wish->page_size : (uint32_t)power_below(clamp_u64(volume / 256, PAGE_MIN, PAGE_MAX));
  uint64_t pages = PAGES_MIN * (uint64_t)sb->page_size;
  sb->memtable_size = wish->memtable_size ? wish->memtable_size : clamp_u64(volume / 64, pages, 64 * (uint64_t)MIB);
  sb->leaf_size = wish->leaf_size ? wish->leaf_size : (uint32_t)clamp_u64(volume / 256, pages, 512 * KIB);
  sb->node_leaves = wish->node_leaves ? wish->node_leaves : node_leaves_usual(sb);
  sb->node_children = wish->node_children ? wish->node_children : NODE_CHILDREN_USUAL;
  sb->compression = wish->compression;
  sb->incompat = FEATURE_BLOBS | FEATURE_RANGES;
  if (sb->compression != COMPRESSION_OFF) sb->incompat |= FEATURE_LZ4;
  /* An oversized wish for a leaf may wrap here: geometry_check refuses the leaf before it looks at the step. */
  sb->step_size =
      (uint32_t)clamp_u64(volume / 64, step_size_min(sb->leaf_size), max_u64(MIB, step_size_min(sb->leaf_size)));
  return geometry_check(sb, WODAN_EINVAL, error);
}
