/* Records that are marked unproven: no barrier stands between them and the large values they name, so a mount has them proven
 * when nothing tells that a flush has returned since. Here with a prover that answers as it is told; with real ones:
 * tests/crash/test_one_flush.c. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/wire.h"
#include "support/ring_rig.h"

enum { BYTES_MAX = 3000 };

struct prover {
  int status;
  unsigned asked;
};

static int prove(void *context, struct wodan_slice key, const struct blob_ref *ref, struct wodan_error *error) {
  struct prover *prover = context;
  (void)error;
  assert_int_equal(key.size, 1);
  assert_true(ref->ptr.generation > 0);
  prover->asked++;
  return prover->status;
}

/* After each power cut the journal is a new one. */
static int mount(struct ring *ring, struct prover *prover, struct wodan_error *error) {
  prover->asked = 0;
  *error = (struct wodan_error){0};
  ring->journal.proof = (struct journal_proof){prove, prover, BYTES_MAX};
  return ring_mount(ring, error);
}

static void mount_ok(struct ring *ring, struct prover *prover) {
  struct wodan_error error;
  if (mount(ring, prover, &error) < 0) fail_msg("mount: %s", error.message);
}

/* A record with one operation of a large value so long and `padding` bytes of another value behind it, marked or not. With
 * `flip` its blocks are not of one mind about that. Returns its first block. */
struct large {
  uint64_t size;
  size_t padding;
  bool malformed, plain, flip;
};

static uint64_t large_record(struct ring *ring, const struct large *large) {
  uint8_t bytes[2048], reference[BLOB_REF_SIZE_MAX], padding[1024] = {0};
  struct blob_ref ref = {.size = large->size,
                         .ptr = {.generation = 5,
                                 .checksum = 7,
                                 .length = 512,
                                 .header_length = 64,
                                 .extent_count = 1,
                                 .extents = {{ring->bounds.data_first, 1}}}};
  uint32_t size = blob_ref_encode(&ref, reference, sizeof reference);
  if (large->malformed) reference[size - 1] = 0;
  struct wire_writer w = wire_writer(bytes, sizeof bytes);
  struct journal_operation put = {.kind = RECORD_BLOB, .key = {"L", 1}, .value = {reference, size}};
  struct journal_operation other = {.kind = RECORD_PUT, .key = {"p", 1}, .value = {padding, large->padding}};
  uint64_t block = ring->journal.head;
  wire_put_u64(&w, ring->journaled + 1);
  wire_put_u64(&w, ring->journaled + 2);
  journal_operation_encode(&w, &put);
  journal_operation_encode(&w, &other);
  assert_false(w.failed);
  ring->operation = ring->journaled += 2;
  assert_int_equal(journal_record_begin(&ring->journal, w.at, !large->plain, NULL), 0);
  assert_int_equal(journal_record_put(&ring->journal, bytes, w.at, NULL), 0);
  if (large->flip) ring->journal.flags ^= JOURNAL_UNPROVEN;
  assert_int_equal(journal_record_end(&ring->journal, NULL), 0);
  return block;
}

static const struct large USUAL = {.size = 900, .padding = 20}, TWO_BLOCKS = {.size = 900, .padding = 500};

static int named(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  unsigned *count = context;
  (void)block;
  (void)error;
  *count += record->kind == RECORD_BLOB;
  return 0;
}

static unsigned rejected_count(struct ring *ring) {
  unsigned count = 0;
  assert_int_equal(journal_rejected(&ring->journal, &ring->mounted, named, &count, NULL), 0);
  return count;
}

static void test_unproven__the_newest_record_counts_when_its_large_values_are_whole(void **state) {
  (void)state;
  static const struct large *const SHAPES[] = {&USUAL, &TWO_BLOCKS};
  for (unsigned i = 0; i < 2; i++) {
    struct ring ring;
    struct prover prover = {0};
    ring_make(&ring, 16, 512);
    uint64_t block = large_record(&ring, SHAPES[i]);
    ring_power(&ring, UINT32_MAX); /* all of it landed, no flush has returned */
    mount_ok(&ring, &prover);
    assert_int_equal(prover.asked, 1);
    assert_int_equal(ring.mounted.head, block + 1 + i);
    assert_int_equal(ring.mounted.rejected, 0);
    assert_int_equal(rejected_count(&ring), 0);
    ring_release(&ring);
  }
}

static void test_unproven__the_newest_record_does_not_count_without_them(void **state) {
  (void)state;
  static const int NOT_WHOLE[] = {WODAN_ECORRUPT, WODAN_EIO};
  for (unsigned i = 0; i < 2; i++) {
    struct ring ring;
    struct prover prover = {.status = NOT_WHOLE[i]};
    ring_make(&ring, 16, 512);
    ring_record(&ring, 1, 20);
    ring_flush(&ring);
    uint64_t block = large_record(&ring, &TWO_BLOCKS);
    ring_power(&ring, UINT32_MAX);
    mount_ok(&ring, &prover);
    assert_int_equal(prover.asked, 1);
    assert_int_equal(ring.mounted.head, block);
    assert_int_equal(ring.mounted.rejected, block + 2);
    assert_true(ring.mounted.debris);
    assert_int_equal(rejected_count(&ring), 1);
    ring_release(&ring);
  }
}

/* The block that takes its place is chained to the one before it, and nothing of it is left. */
static void test_unproven__the_journal_goes_on_in_place_of_a_rejected_record(void **state) {
  (void)state;
  struct ring ring;
  struct prover prover = {.status = WODAN_ECORRUPT};
  uint64_t last;
  ring_make(&ring, 16, 512);
  ring_record_of(&ring, 1, 1, 20);
  ring.journaled = ring.operation = 1;
  ring_flush(&ring);
  uint64_t block = large_record(&ring, &TWO_BLOCKS);
  ring_power(&ring, UINT32_MAX);
  mount_ok(&ring, &prover);
  ring_continue(&ring);
  assert_int_equal(ring.operation, 1);
  assert_int_equal(ring_record(&ring, 1, 20), block);
  ring_flush(&ring);
  ring_power(&ring, 0);
  mount_ok(&ring, &prover);
  assert_int_equal(prover.asked, 0);
  assert_int_equal(ring.mounted.head, block + 1);
  assert_int_equal(ring_replay(&ring, &ring.mounted.newest_mark, 0, false, &last, NULL), 0);
  assert_int_equal(last, 2);
  ring_release(&ring);
}

static void test_unproven__a_lack_of_memory_is_no_verdict(void **state) {
  (void)state;
  struct ring ring;
  struct prover prover = {.status = WODAN_ENOMEM};
  struct wodan_error error;
  ring_make(&ring, 16, 512);
  large_record(&ring, &USUAL);
  ring_power(&ring, UINT32_MAX);
  assert_int_equal(mount(&ring, &prover, &error), WODAN_ENOMEM);
  assert_int_equal(journal_older_root(&ring.journal, &ring.bounds, NULL, &ring.mounted, &error), WODAN_ENOMEM);
  ring_release(&ring);
}

/* Whole or not: what is missing then is damage, which whoever reads the value is told. */
static void test_unproven__a_block_that_tells_of_the_flush_is_proof_enough(void **state) {
  (void)state;
  enum { SEAL, RECORD, FIRST_FRAGMENT, SECOND_FRAGMENT, CASES };
  for (unsigned i = 0; i < CASES; i++) {
    struct ring ring;
    struct prover prover = {.status = WODAN_ECORRUPT};
    ring_make(&ring, 16, 512);
    uint64_t block = large_record(&ring, &USUAL);
    ring_flush(&ring);
    if (i == SEAL)
      ring_seal(&ring);
    else
      ring_record_of(&ring, 3, 4, i == RECORD ? 20 : 300);
    ring_power(&ring, i == FIRST_FRAGMENT ? 1 : i == SECOND_FRAGMENT ? 2 : UINT32_MAX);
    mount_ok(&ring, &prover);
    assert_int_equal(prover.asked, 0);
    assert_int_equal(ring.mounted.rejected, 0);
    assert_int_equal(ring.mounted.head, block + (i < FIRST_FRAGMENT ? 2 : 1));
    ring_release(&ring);
  }
}

static void test_unproven__a_mount_that_goes_on_bears_witness(void **state) {
  (void)state;
  struct ring ring;
  struct prover prover = {0};
  ring_make(&ring, 16, 512);
  uint64_t block = large_record(&ring, &USUAL);
  ring_power(&ring, UINT32_MAX);
  mount_ok(&ring, &prover);
  journal_continue(&ring.journal, &ring.mounted, (struct epoch){9, 9});
  ring_seal(&ring); /* lands without a flush */
  ring_power(&ring, UINT32_MAX);
  prover.status = WODAN_ECORRUPT;
  mount_ok(&ring, &prover);
  assert_int_equal(prover.asked, 0);
  assert_int_equal(ring.mounted.head, block + 2);
  ring_release(&ring);
}

/* No writer does that: the block behind does not say that the record was flushed, so it is not part of the chain. */
static void test_unproven__nothing_follows_a_record_that_was_not_flushed(void **state) {
  (void)state;
  for (unsigned whole = 0; whole < 2; whole++) {
    struct ring ring;
    struct prover prover = {.status = whole ? 0 : WODAN_ECORRUPT};
    ring_make(&ring, 16, 512);
    uint64_t block = large_record(&ring, &USUAL);
    ring.journal.unproven_end = 0;
    ring_seal(&ring);
    ring_power(&ring, UINT32_MAX);
    mount_ok(&ring, &prover);
    assert_int_equal(prover.asked, 1);
    assert_int_equal(ring.mounted.head, block + whole);
    assert_true(ring.mounted.debris);
    ring_release(&ring);
  }
}

static void test_unproven__an_unmarked_record_is_not_proven(void **state) {
  (void)state;
  struct ring ring;
  struct prover prover = {.status = WODAN_ECORRUPT};
  ring_make(&ring, 16, 512);
  uint64_t block = large_record(&ring, &(struct large){.size = 900, .plain = true});
  ring_power(&ring, UINT32_MAX);
  mount_ok(&ring, &prover);
  assert_int_equal(prover.asked, 0);
  assert_int_equal(ring.mounted.head, block + 1);
  ring_release(&ring);
}

static void test_unproven__the_blocks_of_a_record_are_of_one_mind(void **state) {
  (void)state;
  for (unsigned plain = 0; plain < 2; plain++) {
    struct ring ring;
    struct prover prover = {0};
    struct large large = {.size = 900, .padding = 500, .plain = plain, .flip = true};
    ring_make(&ring, 16, 512);
    uint64_t block = large_record(&ring, &large);
    ring_flush(&ring);
    mount_ok(&ring, &prover);
    assert_int_equal(ring.mounted.head, block);
    assert_int_equal(ring.mounted.rejected, 0);
    ring_release(&ring);
  }
}

static void test_unproven__what_no_writer_marks_is_corruption(void **state) {
  (void)state;
  static const struct {
    struct large large;
    const char *word;
  } cases[] = {{{.size = BYTES_MAX + 1}, "more large values than go without a barrier"},
               {{.size = 900, .malformed = true}, "names no large value that can be"}};
  for (unsigned i = 0; i < 2; i++) {
    struct ring ring;
    struct prover prover = {0};
    struct wodan_error error;
    ring_make(&ring, 16, 512);
    large_record(&ring, &cases[i].large);
    ring_flush(&ring);
    assert_int_equal(mount(&ring, &prover, &error), WODAN_ECORRUPT);
    assert_non_null(strstr(error.message, cases[i].word));
    assert_int_equal(prover.asked, 0);
    ring_release(&ring);
  }
  struct ring ring;
  struct prover prover = {0};
  ring_make(&ring, 16, 512);
  large_record(&ring, &(struct large){.size = BYTES_MAX});
  ring_flush(&ring);
  mount_ok(&ring, &prover);
  assert_int_equal(prover.asked, 1);
  ring_release(&ring);
}

/* The newest root, looked for among all: what its replay ends with is proven all the same. */
static void test_unproven__a_chosen_root_ends_before_a_rejected_record(void **state) {
  (void)state;
  for (unsigned whole = 0; whole < 2; whole++) {
    struct ring ring;
    struct prover prover = {.status = whole ? 0 : WODAN_ECORRUPT};
    struct wodan_error error;
    ring_make(&ring, 16, 512);
    ring_checkpoint(&ring, 0, 0);
    ring_flush(&ring);
    uint64_t block = large_record(&ring, &USUAL), generation = ring.generation;
    ring_power(&ring, UINT32_MAX);
    mount_ok(&ring, &prover);
    int status = journal_root_of_generation(&ring.journal, &ring.bounds, generation, &ring.mounted, &error);
    assert_int_equal(status, 0);
    assert_int_equal(ring.mounted.head, block + whole);
    assert_int_equal(ring.mounted.rejected, whole ? 0 : block + 1);
    assert_int_equal(prover.asked, 2);
    ring_release(&ring);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_unproven__the_newest_record_counts_when_its_large_values_are_whole),
      cmocka_unit_test(test_unproven__the_newest_record_does_not_count_without_them),
      cmocka_unit_test(test_unproven__the_journal_goes_on_in_place_of_a_rejected_record),
      cmocka_unit_test(test_unproven__a_lack_of_memory_is_no_verdict),
      cmocka_unit_test(test_unproven__a_block_that_tells_of_the_flush_is_proof_enough),
      cmocka_unit_test(test_unproven__a_mount_that_goes_on_bears_witness),
      cmocka_unit_test(test_unproven__nothing_follows_a_record_that_was_not_flushed),
      cmocka_unit_test(test_unproven__an_unmarked_record_is_not_proven),
      cmocka_unit_test(test_unproven__the_blocks_of_a_record_are_of_one_mind),
      cmocka_unit_test(test_unproven__what_no_writer_marks_is_corruption),
      cmocka_unit_test(test_unproven__a_chosen_root_ends_before_a_rejected_record),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
