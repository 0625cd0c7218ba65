/* What: the superblock's bytes and the geometry rules (format/superblock.h): what a volume's sizes default to, which
 * wishes are refused and how, and that decode proves the same rules about bytes it does not trust. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/wire.h"
#include "codec/checksum.h"
#include "format/superblock.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

static struct superblock planned(uint64_t device_size, uint32_t sector) {
  struct superblock_wish wish = {.device_size = device_size, .sector = sector};
  struct superblock sb;
  struct wodan_error error;
  assert_int_equal(superblock_plan(&wish, &sb, &error), 0);
  return sb;
}

static void assert_same(const struct superblock *a, const struct superblock *b) {
  uint8_t one[SUPERBLOCK_SIZE], two[SUPERBLOCK_SIZE];
  superblock_encode(a, one);
  superblock_encode(b, two);
  assert_memory_equal(one, two, SUPERBLOCK_SIZE);
}

/* The status of decoding sb as it stands, and the sentence. */
static int decoded(const struct superblock *sb, struct wodan_error *error) {
  uint8_t out[SUPERBLOCK_SIZE];
  struct superblock back;
  superblock_encode(sb, out);
  return superblock_decode(out, &back, error);
}

static void assert_refused(const struct superblock *sb, const char *field) {
  struct wodan_error error;
  assert_int_equal(decoded(sb, &error), WODAN_ECORRUPT);
  assert_non_null(strstr(error.message, field));
  assert_non_null(strstr(error.message, "superblock"));
}

/* ---- bytes -------------------------------------------------------------------------------------------------- */

static void test_superblock__roundtrip_on_many_geometries(void **state) {
  (void)state;
  for (uint64_t size = 32 * KIB; size <= 64 * 1024 * GIB; size = size * 3 / 2 + 512)
    for (uint32_t sector = 64; sector <= 65536; sector *= 2) {
      struct superblock_wish wish = {.device_size = size, .sector = sector};
      struct superblock sb, back;
      uint8_t out[SUPERBLOCK_SIZE];
      struct wodan_error error;
      if (superblock_plan(&wish, &sb, &error)) {
        assert_true(size / sector < 64 * (size < MIB ? 1 : 64)); /* only too small a device is refused */
        continue;
      }
      memset(sb.fsid, 0x5a, sizeof sb.fsid);
      superblock_encode(&sb, out);
      assert_int_equal(superblock_decode(out, &back, &error), 0);
      assert_same(&sb, &back);
    }
}

static void test_superblock__layout_is_the_table(void **state) {
  (void)state;
  struct superblock sb = planned(GIB, 512);
  sb.compat = 0x11;
  sb.read_only_compat = 0x22;
  sb.incompat = 0x33;
  sb.compression = 2;
  memcpy(sb.fsid, "sixteen bytes id", 16);
  uint8_t out[SUPERBLOCK_SIZE];
  superblock_encode(&sb, out);
  assert_memory_equal(out, "Wodan-C volume\n\0", 16);
  assert_int_equal(load_u32(out + 16), 0);
  assert_int_equal(load_u32(out + 20), sb.block_size);
  assert_int_equal(load_u64(out + 24), 0x11);
  assert_int_equal(load_u64(out + 32), 0x22);
  assert_int_equal(load_u64(out + 40), 0x33);
  assert_memory_equal(out + 48, "sixteen bytes id", 16);
  assert_int_equal(load_u32(out + 64), 512);
  assert_int_equal(load_u32(out + 68), sb.journal_block_size);
  assert_int_equal(load_u64(out + 72), sb.device_blocks);
  assert_int_equal(load_u64(out + 80), sb.journal_blocks);
  assert_int_equal(load_u64(out + 88), sb.memtable_size);
  assert_int_equal(load_u32(out + 96), sb.page_size);
  assert_int_equal(load_u32(out + 100), sb.leaf_size);
  assert_int_equal(load_u32(out + 104), sb.step_size);
  assert_int_equal(load_u32(out + 108), sb.node_leaves);
  assert_int_equal(load_u32(out + 112), sb.node_children);
  assert_int_equal(load_u32(out + 116), 2);
  for (size_t i = 120; i < 504; i++) assert_int_equal(out[i], 0);
  assert_true(load_u64(out + 504) == checksum(0, out, 504));
}

static void test_superblock__every_bit_flip_is_seen(void **state) {
  (void)state;
  struct superblock sb = planned(GIB, 512), back;
  uint8_t out[SUPERBLOCK_SIZE];
  superblock_encode(&sb, out);
  for (size_t bit = 0; bit < SUPERBLOCK_SIZE * 8; bit++) {
    out[bit / 8] ^= (uint8_t)(1u << bit % 8);
    assert_int_equal(superblock_decode(out, &back, NULL), bit < 128 ? WODAN_EFORMAT : WODAN_ECORRUPT);
    out[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  assert_int_equal(superblock_decode(out, &back, NULL), 0);
}

static void test_superblock__truncated_at_each_byte(void **state) {
  (void)state;
  struct superblock sb = planned(GIB, 512), back;
  uint8_t whole[SUPERBLOCK_SIZE], out[SUPERBLOCK_SIZE] = {0};
  superblock_encode(&sb, whole);
  for (size_t n = 0; n < SUPERBLOCK_SIZE; n++) { /* the rest of the sector is zero, or old */
    memcpy(out, whole, n);
    assert_int_not_equal(superblock_decode(out, &back, NULL), 0);
  }
}

static void test_superblock__foreign_bytes_are_no_wodan(void **state) {
  (void)state;
  uint8_t in[SUPERBLOCK_SIZE] = {0};
  struct superblock back;
  struct wodan_error error;
  assert_int_equal(superblock_decode(in, &back, &error), WODAN_EFORMAT);
  assert_int_equal(error.code, WODAN_EFORMAT);
  memset(in, 0xff, sizeof in);
  assert_int_equal(superblock_decode(in, &back, &error), WODAN_EFORMAT);
}

static void test_superblock__version_and_flags(void **state) {
  (void)state;
  struct wodan_error error;
  struct superblock sb = planned(GIB, 512);
  sb.version = 1;
  sb.block_size = 3; /* a newer version may mean anything: the version is what is reported */
  assert_int_equal(decoded(&sb, &error), WODAN_EVERSION);
  assert_non_null(strstr(error.message, "version 1"));
  sb = planned(GIB, 512);
  sb.incompat = 1ull << 63;
  assert_int_equal(decoded(&sb, &error), WODAN_EVERSION);
  assert_non_null(strstr(error.message, "0x8000000000000000"));
  sb = planned(GIB, 512);
  sb.compat = UINT64_MAX;
  sb.read_only_compat = UINT64_MAX;
  assert_int_equal(decoded(&sb, &error), 0);
}

/* A reader that does not know compression must not come as far as the pages: so the flag goes with the field. */
static void test_superblock__compression_has_its_flag(void **state) {
  (void)state;
  struct wodan_error error;
  struct superblock sb = planned(GIB, 512);
  assert_true(sb.compression == 0 && sb.incompat == (FEATURE_BLOBS | FEATURE_RANGES));
  struct superblock_wish wish = {.device_size = GIB, .sector = 512, .compression = 2};
  assert_int_equal(superblock_plan(&wish, &sb, &error), 0);
  assert_true(sb.compression == 2 && sb.incompat == FEATURES_KNOWN);
  assert_int_equal(decoded(&sb, &error), 0);
  sb.incompat = FEATURE_RANGES;
  assert_int_equal(decoded(&sb, &error), WODAN_ECORRUPT);
  sb.incompat = FEATURE_RANGES | FEATURE_LZ4 | (FEATURES_KNOWN + 1);
  assert_int_equal(decoded(&sb, &error), WODAN_EVERSION);
  char unknown[16]; /* only what is unknown is told */
  snprintf(unknown, sizeof unknown, "0x%x)", FEATURES_KNOWN + 1);
  assert_non_null(strstr(error.message, unknown));
  sb.incompat = FEATURE_LZ4; /* from before there were range deletes */
  assert_int_equal(decoded(&sb, &error), WODAN_EVERSION);
  assert_non_null(strstr(error.message, "range deletes"));
  sb.incompat = FEATURE_RANGES | FEATURE_LZ4;
  sb.compression = 0;
  assert_int_equal(decoded(&sb, &error), WODAN_ECORRUPT);
  sb.compression = 3;
  assert_int_equal(decoded(&sb, &error), WODAN_ECORRUPT);
  wish.compression = 3;
  assert_int_equal(superblock_plan(&wish, &sb, &error), WODAN_EINVAL);
}

static void test_superblock__reserved_bytes_must_be_zero(void **state) {
  (void)state;
  struct superblock sb = planned(GIB, 512), back;
  uint8_t out[SUPERBLOCK_SIZE];
  for (size_t at = 120; at < 504; at++) {
    superblock_encode(&sb, out);
    out[at] = 1;
    store_u64(out + 504, checksum(0, out, 504));
    assert_int_equal(superblock_decode(out, &back, NULL), WODAN_ECORRUPT);
  }
}

/* ---- fields out of range, behind a good checksum -------------------------------------------------------------- */

static void test_superblock__units_out_of_range(void **state) {
  (void)state;
  const struct superblock good = planned(GIB, 512);
  static const uint32_t bad_blocks[] = {0, 1, 256, 511, 513, 4095, 12288, 2u << 20, UINT32_MAX};
  for (size_t i = 0; i < sizeof bad_blocks / sizeof bad_blocks[0]; i++) {
    struct superblock sb = good;
    sb.block_size = bad_blocks[i];
    assert_refused(&sb, "block_size");
  }
  static const uint32_t bad_sectors[] = {0, 32, 100, 513, 131072, UINT32_MAX};
  for (size_t i = 0; i < sizeof bad_sectors / sizeof bad_sectors[0]; i++) {
    struct superblock sb = good;
    sb.sector = bad_sectors[i];
    assert_refused(&sb, "sector");
  }
  struct superblock sb = good;
  sb.sector = 8192; /* above the block */
  assert_refused(&sb, "block_size");
  static const uint32_t bad_journal[] = {0, 512, 2048, 4097, 12288, 131072};
  for (size_t i = 0; i < sizeof bad_journal / sizeof bad_journal[0]; i++) {
    sb = good;
    sb.journal_block_size = bad_journal[i];
    assert_refused(&sb, "journal_block_size");
  }
}

static void test_superblock__blocks_out_of_range(void **state) {
  (void)state;
  const struct superblock good = planned(GIB, 512);
  struct superblock sb = good;
  sb.device_blocks = 63;
  assert_refused(&sb, "device_blocks");
  sb.device_blocks = UINT64_MAX / 4096 + 2; /* the product wraps to a small volume */
  assert_refused(&sb, "device_blocks");
  sb.device_blocks = UINT64_MAX;
  assert_refused(&sb, "device_blocks");
  static const uint64_t bad_rings[] = {0, 1, 7, 65537, 262144, UINT64_MAX, UINT64_MAX / 4096 + 2, 1ull << 52};
  for (size_t i = 0; i < sizeof bad_rings / sizeof bad_rings[0]; i++) {
    sb = good;
    sb.journal_blocks = bad_rings[i];
    assert_refused(&sb, "journal_blocks");
  }
  sb = good;
  sb.journal_blocks = 8;
  assert_int_equal(decoded(&sb, NULL), 0);
  sb.journal_blocks = 65536; /* a quarter */
  assert_int_equal(decoded(&sb, NULL), 0);
}

static void test_superblock__ring_must_be_whole_journal_blocks(void **state) {
  (void)state;
  struct superblock sb = planned(2 * MIB, 512);
  struct superblock_wish wish = {.device_size = 2 * MIB, .sector = 512, .block_size = 512};
  assert_int_equal(superblock_plan(&wish, &sb, NULL), 0);
  assert_int_equal(sb.journal_block_size, 4096);
  assert_int_equal(sb.journal_blocks % 8, 0);
  sb.journal_blocks += 1;
  assert_refused(&sb, "journal_blocks");
  sb.journal_blocks += 7;
  assert_int_equal(decoded(&sb, NULL), 0);
}

static void test_superblock__sizes_out_of_range(void **state) {
  (void)state;
  const struct superblock good = planned(GIB, 512);
  static const uint32_t bad_pages[] = {0, 256, 511, 600, 12288, 32768, UINT32_MAX};
  struct superblock sb;
  for (size_t i = 0; i < sizeof bad_pages / sizeof bad_pages[0]; i++) {
    sb = good;
    sb.page_size = bad_pages[i];
    assert_refused(&sb, "page_size");
  }
  const uint64_t bad_memtables[] = {0, 4 * good.page_size - 1, GIB / 8 + 1, UINT64_MAX};
  for (size_t i = 0; i < 4; i++) {
    sb = good;
    sb.memtable_size = bad_memtables[i];
    assert_refused(&sb, "memtable_size");
  }
  const uint32_t bad_leaves[] = {0, 4 * good.page_size - 1, (uint32_t)(GIB / 16 + 1), UINT32_MAX};
  for (size_t i = 0; i < 4; i++) {
    sb = good;
    sb.leaf_size = bad_leaves[i];
    assert_refused(&sb, "leaf_size");
  }
  const uint32_t bad_steps[] = {0, good.leaf_size + good.leaf_size / 2 + 4095, (uint32_t)MIB + 1, UINT32_MAX};
  for (size_t i = 0; i < 4; i++) {
    sb = good;
    sb.step_size = bad_steps[i];
    assert_refused(&sb, "step_size");
  }
}

static void test_superblock__fan_out_out_of_range(void **state) {
  (void)state;
  const struct superblock good = planned(GIB, 512);
  static const uint32_t bad_leaves[] = {0, 3, 65537, UINT32_MAX}, bad_children[] = {0, 3, 257, UINT32_MAX};
  static const uint32_t good_pairs[][2] = {{4, 4}, {65536, 256}};
  for (size_t i = 0; i < 4; i++) {
    struct superblock sb = good;
    sb.node_leaves = bad_leaves[i];
    assert_refused(&sb, "node_leaves");
    sb = good;
    sb.node_children = bad_children[i];
    assert_refused(&sb, "node_children");
  }
  for (size_t i = 0; i < 2; i++) {
    struct superblock sb = good;
    sb.node_leaves = good_pairs[i][0];
    sb.node_children = good_pairs[i][1];
    assert_int_equal(decoded(&sb, NULL), 0);
  }
}

static void test_superblock__page_must_leave_room_for_a_memtable(void **state) {
  (void)state;
  struct superblock sb = planned(32 * KIB, 512);
  sb.page_size = 2048; /* four of them are a quarter of the device */
  assert_refused(&sb, "page_size");
}

/* ---- planning ------------------------------------------------------------------------------------------------ */

static void test_plan__smallest_volume(void **state) {
  (void)state;
  struct superblock sb = planned(32 * KIB, 512);
  assert_int_equal(sb.block_size, 512);
  assert_int_equal(sb.device_blocks, 64);
  assert_int_equal(sb.journal_block_size, 512);
  assert_int_equal(sb.journal_blocks, 8);
  assert_int_equal(superblock_ring_blocks(&sb), 8);
  assert_int_equal(superblock_data_first(&sb), 9);
  assert_int_equal(sb.page_size, 512);
  assert_int_equal(sb.memtable_size, 2048);
  assert_int_equal(sb.leaf_size, 2048);
  assert_int_equal(sb.step_size, 2048 + 1024 + 4096);
  assert_int_equal(sb.node_leaves, 128);
  assert_int_equal(sb.node_children, 16);
}

static void test_plan__too_small_names_the_minimum(void **state) {
  (void)state;
  struct superblock_wish wish = {.device_size = 32 * KIB - 1, .sector = 512};
  struct superblock sb;
  struct wodan_error error;
  assert_int_equal(superblock_plan(&wish, &sb, &error), WODAN_EINVAL);
  assert_non_null(strstr(error.message, "32767"));
  assert_non_null(strstr(error.message, "32768"));
  wish.device_size = 0;
  assert_int_equal(superblock_plan(&wish, &sb, &error), WODAN_EINVAL);
  wish = (struct superblock_wish){.device_size = 255 * KIB, .sector = 4096};
  assert_int_equal(superblock_plan(&wish, &sb, &error), WODAN_EINVAL);
  assert_non_null(strstr(error.message, "262144"));
}

static void test_plan__around_one_mebibyte(void **state) {
  (void)state;
  struct superblock below = planned(MIB - 1, 512), at = planned(MIB, 512);
  assert_int_equal(below.block_size, 512);
  assert_int_equal(below.journal_block_size, 512);
  assert_int_equal(at.block_size, 4096);
  assert_int_equal(at.journal_block_size, 4096);
  assert_int_equal(at.journal_blocks, 8);
  assert_int_equal(at.page_size, 4096);
  assert_int_equal(at.memtable_size, 16384);
  assert_int_equal(at.leaf_size, 16384);
}

static void test_plan__large_volume_reaches_the_caps(void **state) {
  (void)state;
  struct superblock sb = planned(1024 * GIB, 512);
  assert_int_equal(sb.block_size, 4096);
  assert_int_equal(sb.journal_blocks * sb.block_size, 128 * MIB);
  assert_int_equal(sb.page_size, 16384);
  assert_int_equal(sb.memtable_size, 64 * MIB);
  assert_int_equal(sb.leaf_size, 512 * KIB);
  assert_int_equal(sb.step_size, MIB);
  assert_int_equal(sb.node_leaves, 2048);
  assert_int_equal(sb.node_children, 16);
}

static void test_plan__page_is_rounded_down_to_a_power_of_two(void **state) {
  (void)state;
  assert_int_equal(planned(1023 * KIB, 512).page_size, 2048); /* 1023 KiB / 256 = 4092 */
  assert_int_equal(planned(300 * KIB, 512).page_size, 1024);
}

static void test_plan__sector_raises_block_and_journal_block(void **state) {
  (void)state;
  struct superblock sb = planned(64 * MIB, 65536);
  assert_int_equal(sb.block_size, 65536);
  assert_int_equal(sb.journal_block_size, 65536);
  sb = planned(512 * KIB, 4096);
  assert_int_equal(sb.block_size, 4096);
  assert_int_equal(sb.journal_block_size, 4096);
  sb = planned(32 * KIB, 64);
  assert_int_equal(sb.block_size, 512);
  assert_int_equal(sb.journal_block_size, 512);
}

static void test_plan__ring_fills_allocation_and_journal_blocks(void **state) {
  (void)state;
  struct superblock sb;
  struct superblock_wish wish = {
      .device_size = 100 * MIB, .sector = 512, .block_size = 1 << 20, .journal_size = 100000};
  assert_int_equal(superblock_plan(&wish, &sb, NULL), 0);
  assert_int_equal(sb.journal_blocks, 1);
  assert_int_equal(superblock_ring_blocks(&sb), 256);
  wish = (struct superblock_wish){.device_size = 100 * MIB, .sector = 512, .block_size = 512, .journal_size = 100000};
  assert_int_equal(superblock_plan(&wish, &sb, NULL), 0);
  assert_int_equal(sb.journal_blocks, 25 * 8);
  assert_int_equal(superblock_ring_blocks(&sb), 25);
}

static void test_plan__wishes_are_taken(void **state) {
  (void)state;
  struct superblock_wish wish = {.device_size = GIB,
                                 .sector = 512,
                                 .block_size = 8192,
                                 .page_size = 1024,
                                 .leaf_size = 100000,
                                 .memtable_size = 5000000,
                                 .journal_size = 256 * MIB,
                                 .node_leaves = 5,
                                 .node_children = 7};
  struct superblock sb;
  assert_int_equal(superblock_plan(&wish, &sb, NULL), 0);
  assert_int_equal(sb.block_size, 8192);
  assert_int_equal(sb.page_size, 1024);
  assert_int_equal(sb.leaf_size, 100000);
  assert_int_equal(sb.memtable_size, 5000000);
  assert_int_equal(sb.journal_blocks, 32768);
  assert_int_equal(sb.node_leaves, 5);
  assert_int_equal(sb.node_children, 7);
  assert_int_equal(decoded(&sb, NULL), 0);
}

static void test_plan__node_leaves_hold_sixteen_memtables(void **state) {
  (void)state;
  assert_int_equal(planned(GIB, 512).node_leaves, 512); /* 16 MiB over 512 KiB */
  struct superblock_wish wish = {.device_size = GIB, .sector = 512, .memtable_size = 16 * MIB, .leaf_size = 16 * MIB};
  struct superblock sb;
  assert_int_equal(superblock_plan(&wish, &sb, NULL), 0);
  assert_int_equal(sb.node_leaves, 128);
  wish.leaf_size = 65536;
  wish.memtable_size = GIB / 8;
  assert_int_equal(superblock_plan(&wish, &sb, NULL), 0);
  assert_int_equal(sb.node_leaves, 2048);
}

static void test_plan__large_leaf_has_a_step_of_its_own(void **state) {
  (void)state;
  struct superblock_wish wish = {.device_size = 64 * GIB, .sector = 512, .leaf_size = 1u << 30};
  struct superblock sb;
  assert_int_equal(superblock_plan(&wish, &sb, NULL), 0);
  assert_int_equal(sb.step_size, (1u << 30) + (1u << 29) + 4096);
  assert_int_equal(decoded(&sb, NULL), 0);
}

/* The option, the value given and the range are all in the sentence. */
static void assert_wish_refused(const struct superblock_wish *wish, const char *option, const char *value,
                                const char *bound) {
  struct superblock sb;
  struct wodan_error error;
  assert_int_equal(superblock_plan(wish, &sb, &error), WODAN_EINVAL);
  assert_int_equal(error.code, WODAN_EINVAL);
  assert_non_null(strstr(error.message, option));
  assert_non_null(strstr(error.message, value));
  assert_non_null(strstr(error.message, bound));
  assert_null(strstr(error.message, "superblock"));
}

static void test_plan__bad_wishes_are_named(void **state) {
  (void)state;
  const struct superblock_wish base = {.device_size = GIB, .sector = 512};
  struct superblock_wish wish = base;
  wish.block_size = 5000;
  assert_wish_refused(&wish, "block_size", "5000", "1048576");
  wish.block_size = 256;
  assert_wish_refused(&wish, "block_size", "256", "512");
  wish.block_size = 2u << 20;
  assert_wish_refused(&wish, "block_size", "2097152", "1048576");
  wish = base;
  wish.sector = 4096;
  wish.block_size = 512;
  assert_wish_refused(&wish, "block_size", "512", "4096");
  wish = base;
  wish.sector = 0;
  assert_wish_refused(&wish, "sector", "0", "64");
  wish = base;
  wish.page_size = 256;
  assert_wish_refused(&wish, "page_size", "256", "16384");
  wish.page_size = 32768;
  assert_wish_refused(&wish, "page_size", "32768", "16384");
  wish.page_size = 3000;
  assert_wish_refused(&wish, "page_size", "3000", "power of two");
  wish = base;
  wish.memtable_size = 4 * 16384 - 1;
  assert_wish_refused(&wish, "memtable_size", "65535", "65536");
  wish.memtable_size = GIB / 8 + 1;
  assert_wish_refused(&wish, "memtable_size", "134217729", "134217728");
  wish = base;
  wish.leaf_size = 65535;
  assert_wish_refused(&wish, "leaf_size", "65535", "65536");
  wish.leaf_size = (uint32_t)(GIB / 16 + 1);
  assert_wish_refused(&wish, "leaf_size", "67108865", "67108864");
  wish.leaf_size = UINT32_MAX;
  assert_wish_refused(&wish, "leaf_size", "4294967295", "67108864");
  wish = base;
  wish.node_leaves = 3;
  assert_wish_refused(&wish, "node_leaves", "3", "65536");
  wish.node_leaves = 65537;
  assert_wish_refused(&wish, "node_leaves", "65537", "65536");
  wish = base;
  wish.node_children = 3;
  assert_wish_refused(&wish, "node_children", "3", "256");
  wish.node_children = 257;
  assert_wish_refused(&wish, "node_children", "257", "256");
  wish = base;
  wish.memtable_size = UINT64_MAX;
  assert_wish_refused(&wish, "memtable_size", "18446744073709551615", "134217728");
  wish = base;
  wish.journal_size = 8 * 4096 - 1;
  assert_wish_refused(&wish, "journal_size", "32767", "32768");
  wish.journal_size = GIB / 4 + 1;
  assert_wish_refused(&wish, "journal_size", "268435457", "268435456");
  wish.journal_size = UINT64_MAX;
  assert_wish_refused(&wish, "journal_size", "18446744073709551615", "268435456");
}

static void test_plan__device_beyond_what_offsets_hold(void **state) {
  (void)state;
  struct superblock_wish wish = {.device_size = UINT64_MAX, .sector = 512};
  assert_wish_refused(&wish, "device_blocks", "4503599627370495", "2251799813685247");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_superblock__roundtrip_on_many_geometries),
      cmocka_unit_test(test_superblock__layout_is_the_table),
      cmocka_unit_test(test_superblock__every_bit_flip_is_seen),
      cmocka_unit_test(test_superblock__truncated_at_each_byte),
      cmocka_unit_test(test_superblock__foreign_bytes_are_no_wodan),
      cmocka_unit_test(test_superblock__version_and_flags),
      cmocka_unit_test(test_superblock__compression_has_its_flag),
      cmocka_unit_test(test_superblock__reserved_bytes_must_be_zero),
      cmocka_unit_test(test_superblock__units_out_of_range),
      cmocka_unit_test(test_superblock__blocks_out_of_range),
      cmocka_unit_test(test_superblock__ring_must_be_whole_journal_blocks),
      cmocka_unit_test(test_superblock__sizes_out_of_range),
      cmocka_unit_test(test_superblock__fan_out_out_of_range),
      cmocka_unit_test(test_superblock__page_must_leave_room_for_a_memtable),
      cmocka_unit_test(test_plan__smallest_volume),
      cmocka_unit_test(test_plan__too_small_names_the_minimum),
      cmocka_unit_test(test_plan__around_one_mebibyte),
      cmocka_unit_test(test_plan__large_volume_reaches_the_caps),
      cmocka_unit_test(test_plan__page_is_rounded_down_to_a_power_of_two),
      cmocka_unit_test(test_plan__sector_raises_block_and_journal_block),
      cmocka_unit_test(test_plan__ring_fills_allocation_and_journal_blocks),
      cmocka_unit_test(test_plan__wishes_are_taken),
      cmocka_unit_test(test_plan__node_leaves_hold_sixteen_memtables),
      cmocka_unit_test(test_plan__large_leaf_has_a_step_of_its_own),
      cmocka_unit_test(test_plan__bad_wishes_are_named),
      cmocka_unit_test(test_plan__device_beyond_what_offsets_hold),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
