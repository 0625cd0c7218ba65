/* What: every decoder of src/format against 200,000 seeded mutations of valid encodings, with the checksum put right
 * again where there is one, so that the lies reach the fields.
 * Always true: no decoder reads outside its input (each input is a heap block of exactly its size, for the address
 * sanitizer), and what a decoder accepts, its encoder writes back byte for byte.
 * On failure the seed and the round that failed are printed; they replay alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "codec/checksum.h"
#include "format/blob.h"
#include "format/checkpoint_record.h"
#include "format/journal_block.h"
#include "format/node_header.h"
#include "format/object_header.h"
#include "format/range.h"
#include "format/superblock.h"

enum { ROUNDS = 200000, INPUT_MAX = 2048, JOURNAL_SIZE = 512 };
static const uint64_t SEED = 20240917, VOLUME_SEED = 4242;
static const uint8_t FSID[16] = "sixteen bytes id";
static const struct volume_bounds BOUNDS = {.block_size = 512, .data_first = 10, .data_end = 400};

/* splitmix64: one state per round, so that any round replays alone. */
static uint64_t random_next(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}
static uint64_t random_below(uint64_t *state, uint64_t n) { return random_next(state) % n; }

/* Numbers that tend to be wrong somewhere. */
static uint64_t random_awkward(uint64_t *state) {
  static const uint64_t list[] = {0,         1,          2,          9,         10,         11,
                                  63,        64,         127,        128,       399,        400,
                                  511,       512,        513,        4096,      1 << 20,    (1 << 20) + 1,
                                  INT32_MAX, UINT32_MAX, 1ull << 32, INT64_MAX, 1ull << 63, UINT64_MAX - 1,
                                  UINT64_MAX};
  return random_below(state, 4) ? list[random_below(state, sizeof list / sizeof list[0])] : random_next(state);
}

/* One kind of structure. make: a valid encoding, its size returned. repair: puts the checksum right. again: decodes
 * `size` bytes and, when accepted, encodes to out, *encoded the size. */
struct target {
  const char *name;
  size_t (*make)(uint64_t *random, uint8_t *out);
  void (*repair)(uint8_t *bytes, size_t size);
  bool (*again)(const uint8_t *in, size_t size, uint8_t *out, size_t *encoded);
};

static void mutate(uint64_t *random, uint8_t *bytes, size_t *size) {
  size_t at = random_below(random, *size);
  switch (random_below(random, 8)) {
  case 0:
    bytes[at] ^= (uint8_t)(1u << random_below(random, 8));
    break;
  case 1:
    bytes[at] = (uint8_t)random_next(random);
    break;
  case 2:
    bytes[at] = (uint8_t)(bytes[at] + (random_below(random, 2) ? 1 : -1));
    break;
  case 3: /* a u64 or u32 */
    if (*size >= 8) {
      uint64_t v = random_awkward(random);
      size_t where = random_below(random, *size - 7) & ~(size_t)3;
      if (random_below(random, 2))
        store_u64(bytes + where, v);
      else
        store_u32(bytes + where, (uint32_t)v);
    }
    break;
  case 4: { /* a varint in place of what is there */
    uint8_t v[10];
    struct wire_writer w = wire_writer(v, sizeof v);
    wire_put_varint(&w, random_awkward(random));
    if (at + w.at <= *size) memcpy(bytes + at, v, w.at);
    break;
  }
  case 5:
    *size = at + 1;
    break;
  case 6: /* one byte put in */
    if (*size < INPUT_MAX) {
      memmove(bytes + at + 1, bytes + at, *size - at);
      bytes[at] = random_below(random, 2) ? 0 : (uint8_t)random_next(random);
      ++*size;
    }
    break;
  default: /* one byte taken out */
    if (*size > 1) {
      memmove(bytes + at, bytes + at + 1, *size - at - 1);
      --*size;
    }
  }
}

static void run_target(const struct target *target) {
  size_t taken = 0, refused = 0;
  for (uint64_t round = 0; round < ROUNDS; round++) {
    uint64_t random = SEED + round * 0x51ed2701;
    uint8_t bytes[INPUT_MAX + 1], out[INPUT_MAX + 1];
    size_t size = target->make(&random, bytes), encoded = 0;
    for (uint64_t n = random_below(&random, 4); n; n--) mutate(&random, bytes, &size);
    if (target->repair && random_below(&random, 16)) target->repair(bytes, size);
    uint8_t *in = malloc(size);
    assert_non_null(in);
    memcpy(in, bytes, size);
    bool accepted = target->again(in, size, out, &encoded);
    if (accepted && (encoded != size || memcmp(in, out, size) != 0))
      fail_msg("%s: seed %llu, round %llu: %zu bytes were accepted but are encoded differently (%zu bytes)",
               target->name, (unsigned long long)SEED, (unsigned long long)round, size, encoded);
    free(in);
    if (accepted)
      taken++;
    else
      refused++;
  }
  /* Both answers must occur often, else the mutations prove nothing. */
  assert_true(taken > ROUNDS / 20);
  assert_true(refused > ROUNDS / 20);
}

static struct block_ptr random_ptr(uint64_t *random) {
  struct block_ptr ptr = {.generation = 1 + random_below(random, 1000), .checksum = random_next(random)};
  ptr.extent_count = 1 + (uint32_t)random_below(random, random_below(random, 4) ? 3 : BLOCK_PTR_EXTENTS_MAX);
  uint64_t at = BOUNDS.data_first, blocks = 0;
  for (uint32_t i = 0; i < ptr.extent_count; i++) {
    at += random_below(random, 8);
    ptr.extents[i] = (struct extent){at, 1 + random_below(random, 8)};
    at += ptr.extents[i].count;
    blocks += ptr.extents[i].count;
  }
  ptr.length = blocks * BOUNDS.block_size - random_below(random, BOUNDS.block_size);
  ptr.header_length = 1 + (uint32_t)random_below(random, ptr.length);
  return ptr;
}

/* ---- the targets ---------------------------------------------------------------------------------------------- */

static size_t ptr_make(uint64_t *random, uint8_t *out) {
  struct block_ptr ptr = random_ptr(random);
  if (random_below(random, 16) == 0) memset(&ptr, 0, sizeof ptr);
  struct wire_writer w = wire_writer(out, INPUT_MAX);
  block_ptr_encode(&w, &ptr);
  return w.at;
}

static bool ptr_again(const uint8_t *in, size_t size, uint8_t *out, size_t *encoded) {
  struct block_ptr ptr;
  struct wire_reader r = wire_reader(in, size);
  if (!block_ptr_decode(&r, &BOUNDS, &ptr) || r.at != size) return false;
  struct wire_writer w = wire_writer(out, INPUT_MAX);
  block_ptr_encode(&w, &ptr);
  *encoded = w.at;
  return true;
}

static size_t superblock_make(uint64_t *random, uint8_t *out) {
  struct superblock_wish wish = {.device_size = 32768 + (random_next(random) >> (24 + random_below(random, 30))),
                                 .sector = 512};
  struct superblock sb;
  assert_int_equal(superblock_plan(&wish, &sb, NULL), 0);
  sb.compat = random_next(random);
  superblock_encode(&sb, out);
  return SUPERBLOCK_SIZE;
}

static void superblock_repair(uint8_t *bytes, size_t size) {
  if (size == SUPERBLOCK_SIZE) store_u64(bytes + 504, checksum(0, bytes, 504));
}

static bool superblock_again(const uint8_t *in, size_t size, uint8_t *out, size_t *encoded) {
  struct superblock sb;
  struct wodan_error error;
  if (size != SUPERBLOCK_SIZE || superblock_decode(in, &sb, &error)) return false;
  superblock_encode(&sb, out);
  *encoded = SUPERBLOCK_SIZE;
  /* The promise of decode: nothing a later layer computes can go wrong. */
  assert_true(sb.device_blocks <= INT64_MAX / sb.block_size);
  assert_true(superblock_ring_blocks(&sb) >= 8);
  assert_true(superblock_ring_blocks(&sb) * sb.journal_block_size == sb.journal_blocks * sb.block_size);
  assert_true(superblock_data_first(&sb) + 16 <= sb.device_blocks - 1);
  return true;
}

static size_t journal_make(uint64_t *random, uint8_t *out) {
  struct journal_block block = {.kind = (uint8_t)random_below(random, 4), .fragments = 1};
  if (block.kind == JOURNAL_RECORD) {
    block.fragments = 1 + (uint32_t)random_below(random, 5);
    block.fragment = (uint32_t)random_below(random, block.fragments);
  }
  memcpy(block.fsid, FSID, 16);
  block.sequence = random_next(random);
  block.payload_length = (uint32_t)random_below(random, JOURNAL_SIZE - JOURNAL_HEADER_SIZE + 1);
  if (block.kind == JOURNAL_EMPTY || block.kind == JOURNAL_SEAL) block.payload_length = 0;
  uint8_t payload[JOURNAL_SIZE];
  for (uint32_t i = 0; i < block.payload_length; i++) payload[i] = (uint8_t)random_next(random);
  journal_block_encode(&block, payload, VOLUME_SEED, out, JOURNAL_SIZE);
  return JOURNAL_SIZE;
}

static void journal_repair(uint8_t *bytes, size_t size) {
  if (size >= 8) store_u64(bytes, checksum(VOLUME_SEED, bytes + 8, size - 8));
}

static bool journal_again(const uint8_t *in, size_t size, uint8_t *out, size_t *encoded) {
  struct journal_block block;
  const uint8_t *payload;
  if (!journal_block_decode(in, (uint32_t)size, VOLUME_SEED, FSID, &block, &payload)) return false;
  assert_true(payload >= in && payload + block.payload_length <= in + size);
  journal_block_encode(&block, payload, VOLUME_SEED, out, (uint32_t)size);
  *encoded = size;
  return true;
}

static size_t operations_make(uint64_t *random, uint8_t *out) {
  static const uint8_t text[200] = "any bytes will do";
  struct wire_writer w = wire_writer(out, INPUT_MAX);
  for (uint64_t n = 1 + random_below(random, 4); n; n--) {
    struct journal_operation operation = {.kind = (uint8_t)random_below(random, RECORD_KIND_LAST + 1)};
    operation.key = (struct wodan_slice){text, 1 + random_below(random, 20)};
    if (operation.kind == RECORD_DELETE_RANGE)
      operation.value = (struct wodan_slice){text, operation.key.size + 1};
    else if (operation.kind != RECORD_DELETE)
      operation.value = (struct wodan_slice){text, random_below(random, 200)};
    journal_operation_encode(&w, &operation);
  }
  return w.at;
}

static bool operations_again(const uint8_t *in, size_t size, uint8_t *out, size_t *encoded) {
  struct wire_reader r = wire_reader(in, size);
  struct wire_writer w = wire_writer(out, INPUT_MAX);
  while (r.at < size) {
    struct journal_operation operation;
    if (!journal_operation_decode(&r, &operation)) return false;
    journal_operation_encode(&w, &operation);
  }
  *encoded = w.at;
  return true;
}

static size_t checkpoint_make(uint64_t *random, uint8_t *out) {
  struct checkpoint_record record = {.generation = 1001 + random_below(random, 9),
                                     .device_blocks = BOUNDS.data_end + 1};
  record.sequence = random_next(random);
  record.previous = random_below(random, 500);
  record.tail = random_below(random, 500);
  record.previous_hash = 1 + random_below(random, 1u << 30);
  if (random_below(random, 8)) record.root = random_ptr(random);
  if (random_below(random, 2)) record.catalog = random_ptr(random);
  return checkpoint_record_encode(&record, out, INPUT_MAX);
}

static bool checkpoint_again(const uint8_t *in, size_t size, uint8_t *out, size_t *encoded) {
  struct checkpoint_record record;
  if (!checkpoint_record_decode(in, (uint32_t)size, &BOUNDS, &record)) return false;
  *encoded = checkpoint_record_encode(&record, out, INPUT_MAX);
  return true;
}

static size_t header_make(uint64_t *random, uint8_t *out) {
  struct block_ptr ptr = random_ptr(random);
  static const uint8_t types[] = {OBJECT_RUN, OBJECT_NODE, OBJECT_BLOB};
  uint8_t type = types[random_below(random, 3)];
  bool run = type == OBJECT_RUN;
  struct object_header header = {.type = type, .generation = ptr.generation};
  memcpy(header.fsid, FSID, 16);
  header.record_count = run ? random_below(random, 99) : type == OBJECT_BLOB ? 1 + random_below(random, 99) : 0;
  header.sequence_max = run ? random_next(random) : 0;
  header.extent_count = ptr.extent_count;
  memcpy(header.extents, ptr.extents, sizeof header.extents);
  header.low = (struct wodan_slice){"ab", random_below(random, 3)};
  header.high = (struct wodan_slice){"abcd", random_below(random, 2) * 4};
  header.section_count = (uint32_t)random_below(random, type == OBJECT_BLOB ? 3 : 4);
  unsigned first_tag = run ? SECTION_PAGES : type == OBJECT_NODE ? SECTION_LEAVES : SECTION_CHUNK_TABLE;
  header.header_length =
      object_header_size_max(&BOUNDS, header.low.size, header.high.size, ptr.extent_count, header.section_count);
  header.length = block_ptr_blocks(&ptr) * BOUNDS.block_size;
  if (header.length < header.header_length) { /* room for it: one extent of four blocks */
    header.extent_count = 1;
    header.extents[0] = (struct extent){BOUNDS.data_first, 4};
    header.length = 4 * BOUNDS.block_size;
  }
  if (header.section_count == 0) header.length = header.header_length = (uint32_t)header.length;
  uint64_t at = header.header_length;
  for (uint32_t i = 0; i < header.section_count; i++) {
    bool last = i + 1 == header.section_count;
    uint64_t length = last ? header.length - at : random_below(random, header.length - at + 1);
    uint8_t tag = (uint8_t)(first_tag + i);
    bool elsewhere = tag == SECTION_PAGES || tag == SECTION_CHUNKS;
    header.sections[i] = (struct section){tag, at, length, elsewhere ? 0 : random_next(random)};
    at += length;
  }
  uint8_t whole[BLOCK_PTR_EXTENTS_MAX * 8 * 512];
  if (!object_header_encode(&header, VOLUME_SEED, whole)) fail_msg("the header does not fit");
  size_t size = header.header_length < INPUT_MAX ? header.header_length : INPUT_MAX;
  memcpy(out, whole, size);
  return size;
}

static void header_repair(uint8_t *bytes, size_t size) {
  if (size < 16) return;
  uint32_t length = load_u32(bytes + 12);
  if (length > size || length < 16) store_u32(bytes + 12, length = (uint32_t)size);
  store_u64(bytes, checksum(VOLUME_SEED, bytes + 8, length - 8));
}

static bool header_again(const uint8_t *in, size_t size, uint8_t *out, size_t *encoded) {
  struct object_header header;
  if (!object_header_decode(in, size, VOLUME_SEED, FSID, &BOUNDS, &header)) return false;
  if (!object_header_encode(&header, VOLUME_SEED, out)) fail_msg("an accepted header does not fit into its own length");
  *encoded = header.header_length;
  memcpy(out + *encoded, in + *encoded, size - *encoded); /* what follows the header is not its business */
  *encoded = size;
  return true;
}

static size_t leaf_make(uint64_t *random, uint8_t *out) {
  struct branch_entry entry = {.flushed_upto = random_awkward(random), .ptr = random_ptr(random)};
  return branch_entry_encode(&entry, out, INPUT_MAX);
}

static bool leaf_again(const uint8_t *in, size_t size, uint8_t *out, size_t *encoded) {
  struct branch_entry entry;
  if (!branch_entry_decode(in, size, &BOUNDS, &entry)) return false;
  *encoded = branch_entry_encode(&entry, out, INPUT_MAX);
  return true;
}

static size_t index_make(uint64_t *random, uint8_t *out) {
  struct index_entry entry = {.offset = random_below(random, 1u << 20),
                              .length = 1 + (uint32_t)random_below(random, 20000)};
  entry.size = entry.length + (uint32_t)(random_below(random, 2) * random_below(random, 20000));
  entry.checksum = random_next(random);
  return index_entry_encode(&entry, out, INPUT_MAX);
}

static bool index_again(const uint8_t *in, size_t size, uint8_t *out, size_t *encoded) {
  struct index_entry entry;
  if (!index_entry_decode(in, size, &entry)) return false;
  *encoded = index_entry_encode(&entry, out, INPUT_MAX);
  return true;
}

static size_t reference_make(uint64_t *random, uint8_t *out) {
  struct blob_ref ref = {.size = 1 + random_below(random, 1u << 20), .ptr = random_ptr(random)};
  return blob_ref_encode(&ref, out, INPUT_MAX);
}

static bool reference_again(const uint8_t *in, size_t size, uint8_t *out, size_t *encoded) {
  struct blob_ref ref;
  if (!blob_ref_decode(in, size, &BOUNDS, &ref)) return false;
  assert_true(ref.size == blob_ref_size(in, size) && ref.ptr.generation);
  *encoded = blob_ref_encode(&ref, out, INPUT_MAX);
  return true;
}

static const struct range_limits LIMITS = {.key_max = 20, .sequence_max = 1000};

static size_t ranges_make(uint64_t *random, uint8_t *out) {
  uint64_t count = 1 + random_below(random, 6);
  char key[2] = {TABLE_DEFAULT, 'a'}, to[3] = {TABLE_DEFAULT, 'a'};
  struct wire_writer w = wire_writer(out, INPUT_MAX);
  wire_put_varint(&w, count);
  for (uint64_t i = 0; i < count; i++) {
    size_t longer = random_below(random, 2); /* one that reaches a little further than the next key */
    struct range_delete range = {{key, 2}, {to, 2 + longer}, 1 + random_below(random, 1000)};
    to[1]++;
    range_encode(&w, &range);
    key[1] = ++to[1];
  }
  return w.at;
}

static bool ranges_again(const uint8_t *in, size_t size, uint8_t *out, size_t *encoded) {
  uint64_t count;
  if (range_section_fault(in, size, &LIMITS, &count)) return false;
  struct wire_reader r = wire_reader(in, size);
  struct wire_writer w = wire_writer(out, INPUT_MAX);
  wire_put_varint(&w, wire_get_varint(&r));
  for (uint64_t i = 0; i < count; i++) {
    struct range_delete range;
    assert_true(range_decode(&r, &range));
    assert_true(range_sound(range.from, range.to) && range.sequence <= LIMITS.sequence_max);
    range_encode(&w, &range);
  }
  *encoded = w.at;
  return true;
}

static const struct target TARGETS[] = {
    {"block_ptr", ptr_make, NULL, ptr_again},
    {"superblock", superblock_make, superblock_repair, superblock_again},
    {"journal_block", journal_make, journal_repair, journal_again},
    {"journal_operation", operations_make, NULL, operations_again},
    {"checkpoint_record", checkpoint_make, NULL, checkpoint_again},
    {"object_header", header_make, header_repair, header_again},
    {"branch_entry", leaf_make, NULL, leaf_again},
    {"index_entry", index_make, NULL, index_again},
    {"blob_reference", reference_make, NULL, reference_again},
    {"range_section", ranges_make, NULL, ranges_again},
};

static void test_format__hostile_block_ptr(void **state) { (void)state, run_target(&TARGETS[0]); }
static void test_format__hostile_superblock(void **state) { (void)state, run_target(&TARGETS[1]); }
static void test_format__hostile_journal_block(void **state) { (void)state, run_target(&TARGETS[2]); }
static void test_format__hostile_journal_operation(void **state) { (void)state, run_target(&TARGETS[3]); }
static void test_format__hostile_checkpoint_record(void **state) { (void)state, run_target(&TARGETS[4]); }
static void test_format__hostile_object_header(void **state) { (void)state, run_target(&TARGETS[5]); }
static void test_format__hostile_branch_entry(void **state) { (void)state, run_target(&TARGETS[6]); }
static void test_format__hostile_index_entry(void **state) { (void)state, run_target(&TARGETS[7]); }
static void test_format__hostile_blob_reference(void **state) { (void)state, run_target(&TARGETS[8]); }
static void test_format__hostile_range_section(void **state) { (void)state, run_target(&TARGETS[9]); }

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_format__hostile_block_ptr),
      cmocka_unit_test(test_format__hostile_superblock),
      cmocka_unit_test(test_format__hostile_journal_block),
      cmocka_unit_test(test_format__hostile_journal_operation),
      cmocka_unit_test(test_format__hostile_checkpoint_record),
      cmocka_unit_test(test_format__hostile_object_header),
      cmocka_unit_test(test_format__hostile_branch_entry),
      cmocka_unit_test(test_format__hostile_index_entry),
      cmocka_unit_test(test_format__hostile_blob_reference),
      cmocka_unit_test(test_format__hostile_range_section),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
