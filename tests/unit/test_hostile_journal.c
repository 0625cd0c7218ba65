/* Journals with good checksums and lies inside: a mount refuses them as damage and never aborts. The story: a key of
 * 70,000 bytes reached an assert of the memtable, a value larger than a page made every later checkpoint fail, and
 * counters near 2^64 wrapped round. The images are made with the library's own encoders. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "codec/checksum.h"
#include "engine/engine.h"
#include "support/kept_device.h"

/* A fresh volume whose journal is open for appending behind the engine's back. */
struct forger {
  struct kept_bytes *kept;
  uint32_t sector;
  struct wodan_device *raw;
  struct device device;
  struct mem mem;
  struct superblock sb;
  struct journal journal;
};

static void forger_open_on(struct forger *f, uint32_t sector) {
  memset(f, 0, sizeof *f);
  f->sector = sector;
  f->kept = kept_create(4 << 20);
  f->raw = kept_plug(f->kept, sector, 0);
  assert_int_equal(wodan_format(f->raw, NULL, NULL), 0);
  assert_int_equal(superblock_decode(f->kept->data, &f->sb, NULL), 0);
  mem_init(&f->mem, NULL);
  assert_int_equal(device_init(&f->device, f->raw, NULL), 0);
  struct journal_setup setup = {.mem = &f->mem,
                                .device = &f->device,
                                .fsid = f->sb.fsid,
                                .seed = checksum_seed(f->sb.fsid),
                                .block_size = f->sb.journal_block_size,
                                .device_block = f->sb.block_size,
                                .blocks = superblock_ring_blocks(&f->sb)};
  struct volume_bounds bounds = {f->sb.block_size, superblock_data_first(&f->sb), f->sb.device_blocks - 1};
  struct journal_mounted mounted;
  assert_int_equal(journal_init(&f->journal, &setup, NULL), 0);
  assert_int_equal(journal_mount(&f->journal, &bounds, &mounted, NULL), 0);
  journal_continue(&f->journal, &mounted, (struct epoch){mounted.epoch_max.number + 1, 77});
}

static void forger_open(struct forger *f) { forger_open_on(f, 512); }

static void forge_operation(struct forger *f, const struct journal_operation *operation) {
  size_t size = 16 + 64 + operation->key.size + operation->value.size;
  uint8_t *bytes = calloc(1, size);
  struct wire_writer w = wire_writer(bytes, size);
  wire_put_u64(&w, 1);
  wire_put_u64(&w, 1);
  journal_operation_encode(&w, operation);
  assert_false(w.failed);
  assert_int_equal(journal_record_begin(&f->journal, w.at, false, NULL), 0);
  assert_int_equal(journal_record_put(&f->journal, bytes, w.at, NULL), 0);
  assert_int_equal(journal_record_end(&f->journal, NULL), 0);
  free(bytes);
}

static void forge_record(struct forger *f, size_t key_size, size_t value_size) {
  uint8_t *filler = calloc(1, key_size + value_size + 1);
  filler[0] = TABLE_DEFAULT;
  struct journal_operation operation = {.kind = RECORD_PUT, .key = {filler, key_size}, .value = {filler, value_size}};
  forge_operation(f, &operation);
  free(filler);
}

static void forge_checkpoint(struct forger *f, uint64_t generation, uint64_t sequence) {
  struct checkpoint_record record = {.generation = generation,
                                     .sequence = sequence,
                                     .tail = f->journal.head,
                                     .previous = f->journal.durable.sequence,
                                     .previous_hash = f->journal.durable.hash,
                                     .device_blocks = f->sb.device_blocks};
  assert_int_equal(journal_append_checkpoint(&f->journal, &record, NULL), 0);
}

/* What opening the forged volume answers; a handle that opened is closed again. */
static int forger_close(struct forger *f) {
  journal_release(&f->journal);
  wodan_device_close(f->raw);
  struct wodan_device *device = kept_plug(f->kept, f->sector, 0);
  struct wodan_db *db;
  struct wodan_error error;
  int status = wodan_open(device, NULL, &db, &error);
  if (status == 0)
    assert_int_equal(wodan_close(db, &error), 0);
  else
    wodan_device_close(device);
  kept_free(f->kept);
  return status;
}

static void test_hostile_journal__an_honest_forgery_opens(void **state) {
  (void)state;
  struct forger f;
  forger_open(&f);
  forge_record(&f, 10, 10);
  assert_int_equal(forger_close(&f), 0);
}

static void test_hostile_journal__keys_and_values_beyond_the_limits_are_damage(void **state) {
  (void)state;
  static const size_t sizes[][2] = {{70000, 1}, {10, 60000}};
  for (size_t i = 0; i < 2; i++) {
    struct forger f;
    forger_open(&f);
    forge_record(&f, sizes[i][0], sizes[i][1]);
    assert_int_equal(forger_close(&f), WODAN_ECORRUPT);
  }
}

static void test_hostile_journal__counters_about_to_wrap_are_damage(void **state) {
  (void)state;
  struct forger f;
  forger_open(&f);
  forge_checkpoint(&f, UINT64_MAX, 0);
  assert_int_equal(forger_close(&f), WODAN_ECORRUPT);
  forger_open(&f);
  forge_checkpoint(&f, 5, UINT64_MAX - 1);
  assert_int_equal(forger_close(&f), WODAN_ECORRUPT);
  forger_open(&f);
  f.journal.epoch.number = UINT64_MAX;
  forge_record(&f, 10, 10);
  assert_int_equal(forger_close(&f), WODAN_ECORRUPT);
  forger_open(&f);
  f.journal.head = f.journal.previous.tail = JOURNAL_COUNTER_LIMIT + 100; /* of a block */
  forge_checkpoint(&f, 5, 0);
  assert_int_equal(forger_close(&f), WODAN_ECORRUPT);
}

/* An operation that names a large value: what it names is not read by a mount, but proven as far as it can be. */
static void test_hostile_journal__references_to_large_values_are_proven(void **state) {
  (void)state;
  for (int lie = 0; lie < 3; lie++) {
    struct forger f;
    forger_open(&f);
    struct blob_ref ref = {.size = 900, .ptr = {.generation = lie == 1 ? JOURNAL_COUNTER_LIMIT : 3}};
    ref.ptr.length = f.sb.block_size;
    ref.ptr.header_length = 100;
    ref.ptr.extent_count = 1;
    ref.ptr.extents[0] = (struct extent){f.sb.device_blocks / 2, 1};
    uint8_t bytes[BLOB_REF_SIZE_MAX + 1] = {0};
    struct journal_operation operation = {.kind = RECORD_BLOB, .key = {"\1k", 2}, .value = {bytes, 0}};
    operation.value.size = blob_ref_encode(&ref, bytes, BLOB_REF_SIZE_MAX) + (lie == 2); /* a byte too many */
    forge_operation(&f, &operation);
    assert_int_equal(forger_close(&f), lie ? WODAN_ECORRUPT : 0);
  }
}

/* The limits of keys and values, and one byte more. */
static void test_hostile_journal__limits_are_exact(void **state) {
  (void)state;
  for (unsigned more = 0; more < 2; more++) {
    struct forger f;
    forger_open(&f);
    forge_record(&f, f.sb.page_size / 8 + TABLE_ID_SIZE + more, 1);
    assert_int_equal(forger_close(&f), more ? WODAN_ECORRUPT : 0);
    forger_open(&f);
    forge_record(&f, 10, f.sb.page_size / 4 + more);
    assert_int_equal(forger_close(&f), more ? WODAN_ECORRUPT : 0);
  }
}

static void forge_bytes(struct forger *f, const uint8_t *bytes, size_t size) {
  assert_int_equal(journal_record_begin(&f->journal, size, false, NULL), 0);
  assert_int_equal(journal_record_put(&f->journal, bytes, size, NULL), 0);
  assert_int_equal(journal_record_end(&f->journal, NULL), 0);
}

/* A header of no operation in front of a good one; and records that end inside a header or an operation. */
static void test_hostile_journal__headers_and_ends_that_lie(void **state) {
  (void)state;
  uint8_t bytes[128] = {0};
  const struct journal_operation operation = {.kind = RECORD_PUT, .key = {"\1key", 4}, .value = {"value", 5}};
  struct wire_writer w = wire_writer(bytes, sizeof bytes);
  wire_put_u64(&w, 0);
  wire_put_u64(&w, 5);
  wire_put_u64(&w, 1);
  wire_put_u64(&w, 1);
  journal_operation_encode(&w, &operation);
  struct forger f;
  forger_open(&f);
  forge_bytes(&f, bytes, w.at);
  assert_int_equal(forger_close(&f), WODAN_ECORRUPT);
  for (size_t cut = 0; cut < w.at - 16; cut++) {
    forger_open(&f);
    forge_bytes(&f, bytes + 16, w.at - 16 - cut);
    assert_int_equal(forger_close(&f), cut ? WODAN_ECORRUPT : 0);
  }
}

/* An operation that is never whole, cut by large fragments: more of it than the replay keeps. */
static void test_hostile_journal__an_operation_longer_than_any(void **state) {
  (void)state;
  enum { SIZE = 200 << 10 };
  static const uint8_t zeros[1000];
  uint8_t *bytes = calloc(1, SIZE);
  for (size_t before = 0; before < 60000; before += 19997) {
    struct wire_writer w = wire_writer(bytes, SIZE);
    wire_put_u64(&w, 1);
    wire_put_u64(&w, 100000);
    const struct journal_operation small = {.kind = RECORD_PUT, .key = {"\1k", 2}, .value = {zeros, sizeof zeros}};
    while (w.at < before) journal_operation_encode(&w, &small);
    const struct journal_operation large = {.kind = RECORD_PUT, .key = {"\1k", 2}, .value = {bytes + w.at, 100000}};
    uint8_t *out = calloc(1, SIZE);
    memcpy(out, bytes, w.at);
    struct wire_writer to = wire_writer(out, SIZE);
    to.at = w.at;
    journal_operation_encode(&to, &large);
    assert_false(to.failed);
    struct forger f;
    forger_open_on(&f, 65536);
    forge_bytes(&f, out, to.at);
    assert_int_equal(forger_close(&f), WODAN_ECORRUPT);
    free(out);
  }
  free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_hostile_journal__references_to_large_values_are_proven),
      cmocka_unit_test(test_hostile_journal__limits_are_exact),
      cmocka_unit_test(test_hostile_journal__headers_and_ends_that_lie),
      cmocka_unit_test(test_hostile_journal__an_operation_longer_than_any),
      cmocka_unit_test(test_hostile_journal__an_honest_forgery_opens),
      cmocka_unit_test(test_hostile_journal__keys_and_values_beyond_the_limits_are_damage),
      cmocka_unit_test(test_hostile_journal__counters_about_to_wrap_are_damage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
