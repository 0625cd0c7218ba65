/* A durable put of a large value takes one flush: value and journal record are in flight together, the record is marked, and
 * a mount proves what it names. What a power cut may leave of that; what a mount makes of damage; how many flushes and barriers
 * there are. The journal's part with a prover that lies: tests/unit/test_unproven.c. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "check/findings.h"
#include "crash/crash_rig.h"
#include "dev/dev_sim.h"

enum { BLOCK = 512, SMALL_VOLUME = 32 << 10, LARGE = 1300 };

static char *large_bytes(size_t size) {
  char *bytes = malloc(size);
  assert_non_null(bytes);
  for (size_t i = 0; i < size; i++) bytes[i] = (char)('a' + i * i * 7919 / 64 % 26);
  return bytes;
}

static int put_large(struct rig *rig, const char *key, size_t size, bool durable) {
  struct wodan_commit commit = {.durability = durable ? WODAN_DURABLE : WODAN_BUFFERED};
  char *bytes = large_bytes(size);
  int status = wodan_put(rig->db, text(key), (struct wodan_slice){bytes, size}, &commit);
  free(bytes);
  return status;
}

/* 0, WODAN_ENOTFOUND, WODAN_ECORRUPT; what is there is right. */
static int get_large(struct rig *rig, const char *key, size_t wanted) {
  void *found;
  size_t size;
  int status = wodan_get_alloc(rig->db, NULL, text(key), &found, &size);
  if (status < 0) return status;
  char *bytes = large_bytes(wanted);
  assert_int_equal(size, wanted);
  assert_memory_equal(found, bytes, size);
  wodan_free(rig->db, found);
  free(bytes);
  return 0;
}

/* The next flush never returns, and what was to be flushed is in flight. */
static void hold_flush(struct rig *rig) {
  struct sim_fault fault = {.kind = SIM_FLUSH_EIO, .argument = SIM_WINDOW_KEPT};
  assert_int_equal(sim_fault_add(rig->sim, &fault), 0);
}

/* A batch of a large value and a small one, both in flight with their record. */
static void put_in_flight(struct rig *rig) {
  struct wodan_batch *batch;
  struct wodan_commit durable = {.durability = WODAN_DURABLE};
  char *bytes = large_bytes(LARGE);
  rig_make(rig, SMALL_VOLUME, BLOCK, BLOCK);
  rig_open(rig);
  put_ok(rig, "old", "1", true);
  hold_flush(rig);
  assert_int_equal(wodan_batch_create(rig->db, &batch), 0);
  assert_int_equal(wodan_batch_put(batch, text("small"), text("2")), 0);
  assert_int_equal(wodan_batch_put(batch, text("large"), (struct wodan_slice){bytes, LARGE}), 0);
  assert_int_equal(wodan_batch_commit(rig->db, batch, &durable), WODAN_EIO);
  wodan_batch_free(batch);
  free(bytes);
  rig_drop(rig);
  sim_faults_clear(rig->sim);
  assert_int_equal(sim_window_segments(rig->sim), 1); /* no barrier */
}

/* The rig on a device that holds this image. */
static void reboot(struct rig *rig, const struct sim *window, const struct sim_image *image) {
  struct wodan_error error;
  assert_int_equal(sim_reboot(window, image, &rig->sim), 0);
  if (rig_try_open(rig, 0, &error) < 0) fail_msg("open: %s", error.message);
}

struct heard {
  unsigned rejected, damaged, other;
};

static void hear(void *context, const struct wodan_finding *finding) {
  struct heard *heard = context;
  if (finding->id == FOUND_JOURNAL_REJECTED)
    heard->rejected++;
  else if (finding->id == FOUND_BLOB_DAMAGED)
    heard->damaged++;
  else if (finding->severity != WODAN_NOTE)
    heard->other++;
}

static struct heard check(struct rig *rig) {
  struct heard heard = {0};
  struct wodan_check_report report = {0};
  struct wodan_error error;
  const struct wodan_check_options options = {.size = sizeof options, .context = &heard, .finding = hear};
  struct wodan_device *plug = sim_plug(rig->sim);
  if (wodan_check(plug, &options, &report, &error) < 0) fail_msg("check: %s", error.message);
  wodan_device_close(plug);
  return heard;
}

/* ---- power cuts ----------------------------------------------------------------------------------------------------- */

/* Of value and record any sectors may be there, and those that are not may hold anything. */
static void test_one_flush__the_record_counts_with_all_of_its_large_value_only(void **state) {
  (void)state;
  struct rig rig;
  put_in_flight(&rig);
  struct sim *window = rig.sim;
  struct sim_crash_options options = {.families = SIM_SECTORS | SIM_CONTENTS};
  struct sim_crash_iter *iter;
  const struct sim_image *image;
  unsigned with = 0, without = 0, rejected = 0;
  assert_int_equal(sim_crash_begin(window, &options, &iter), 0);
  while (sim_crash_next(iter, &image)) {
    assert_int_equal(sim_reboot(window, image, &rig.sim), 0);
    struct heard heard = check(&rig);
    sim_close(rig.sim);
    assert_int_equal(heard.damaged + heard.other, 0);
    reboot(&rig, window, image);
    assert_true(has(&rig, "old", "1"));
    int status = get_large(&rig, "large", LARGE);
    if (status < 0) assert_int_equal(status, WODAN_ENOTFOUND);
    assert_int_equal(has(&rig, "small", "2"), status == 0);
    assert_true(status < 0 || heard.rejected == 0);
    rejected += heard.rejected;
    *(status == 0 ? &with : &without) += 1;
    put_ok(&rig, "new", "3", true);
    rig_power(&rig);
    rig_drop(&rig);
    rig_open(&rig);
    assert_true(has(&rig, "new", "3"));
    assert_int_equal(has(&rig, "small", "2"), status == 0);
    rig_close(&rig);
    sim_close(rig.sim);
  }
  assert_int_equal(sim_crash_skipped(iter), 0);
  sim_crash_end(iter);
  print_message("%u states with it, %u without, %u of them with the whole record\n", with, without, rejected);
  assert_true(with >= 1 && rejected > 50 && without > rejected);
  rig.sim = window;
  rig_release(&rig);
}

/* All of the window landed but one sector, counted from its start. */
static void all_but(const struct sim *window, size_t missing, struct sim_image *image) {
  uint8_t choice[4 + 64] = {0};
  memset(choice + 4, SIM_NEW, sizeof choice - 4);
  choice[4 + missing] = SIM_OLD;
  assert_int_equal(sim_image_init(image, window), 0);
  sim_image_choose(image, window, choice, sizeof choice);
}

/* A record lacks a sector of its value and is rejected. Then the same value is put again, and again: written where it lay before,
 * it would bring what was lacking; and where the power fails before its header comes, the old one is still there, and with it the
 * record would be whole, after it was seen not to be. */
enum { VALUE_SECTORS = 3, PUTS = 6 };

static unsigned put_again(const struct sim *window, size_t missing) {
  struct rig rig = {.random = 5, .block = BLOCK};
  struct sim_image torn;
  struct sim_crash_options options = {.families = SIM_ONES, .block = BLOCK};
  struct sim_crash_iter *iter;
  const struct sim_image *image;
  all_but(window, missing, &torn);
  reboot(&rig, window, &torn);
  struct sim *second = rig.sim;
  uint64_t flushes = sim_count(second, SIM_FLUSH);
  unsigned states = 0;
  assert_int_equal(get_large(&rig, "large", LARGE), WODAN_ENOTFOUND);
  for (unsigned put = 0; put < PUTS; put++) assert_int_equal(put_large(&rig, "other", LARGE, false), 0);
  assert_int_equal(sim_count(second, SIM_FLUSH), flushes);
  rig_drop(&rig);
  assert_int_equal(sim_crash_begin(second, &options, &iter), 0);
  while (sim_crash_next(iter, &image)) {
    reboot(&rig, second, image);
    assert_int_equal(get_large(&rig, "large", LARGE), WODAN_ENOTFOUND);
    assert_false(has(&rig, "small", "2"));
    rig_drop(&rig);
    sim_close(rig.sim);
    states++;
  }
  sim_crash_end(iter);
  sim_image_release(&torn);
  sim_close(second);
  return states;
}

static void test_one_flush__a_rejected_record_never_becomes_whole(void **state) {
  (void)state;
  struct rig rig;
  put_in_flight(&rig);
  for (size_t missing = 0; missing < VALUE_SECTORS; missing++)
    assert_true(put_again(rig.sim, missing) > PUTS * VALUE_SECTORS);
  rig_release(&rig);
}

/* ---- damage --------------------------------------------------------------------------------------------------------- */

/* Rots a byte of each sector of the data area that holds the value's bytes. */
static void rot_value(struct rig *rig) {
  char *bytes = large_bytes(LARGE);
  const uint8_t *medium = sim_medium(rig->sim);
  unsigned rotten = 0;
  for (uint64_t at = 0; at + 64 < sim_size(rig->sim); at++) {
    if (memcmp(medium + at, bytes + 600, 64) != 0) continue;
    uint8_t byte = (uint8_t)~medium[at];
    sim_poke(rig->sim, at, &byte, 1);
    rotten++;
  }
  assert_int_equal(rotten, 1);
  free(bytes);
}

/* What a later block tells to have been flushed is damage when it does not prove: told, and nothing else is lost. */
static void test_one_flush__damage_of_a_value_that_was_flushed_is_told(void **state) {
  (void)state;
  struct rig rig;
  rig_make(&rig, SMALL_VOLUME, BLOCK, BLOCK);
  rig_open(&rig);
  put_ok(&rig, "old", "1", true);
  assert_int_equal(put_large(&rig, "large", LARGE, true), 0);
  put_ok(&rig, "later", "2", true);
  rig_power(&rig);
  rig_drop(&rig);
  rot_value(&rig);
  struct heard heard = check(&rig);
  assert_int_equal(heard.damaged, 1);
  assert_int_equal(heard.rejected + heard.other, 0);
  rig_open(&rig);
  assert_true(has(&rig, "old", "1") && has(&rig, "later", "2"));
  assert_int_equal(get_large(&rig, "large", LARGE), WODAN_ECORRUPT);
  rig_drop(&rig);
  rig_release(&rig);
}

/* The newest record of all has no witness: with a value that rots it looks like the tail of a crash, as one that rots itself does.
 * A clean close leaves a seal, and no record behind the checkpoint. */
static void test_one_flush__the_newest_record_with_a_rotten_value_is_a_crash_tail(void **state) {
  (void)state;
  struct rig rig;
  rig_make(&rig, SMALL_VOLUME, BLOCK, BLOCK);
  rig_open(&rig);
  put_ok(&rig, "old", "1", true);
  assert_int_equal(put_large(&rig, "large", LARGE, true), 0);
  rig_power(&rig);
  rig_drop(&rig);
  rot_value(&rig);
  struct heard heard = check(&rig);
  assert_int_equal(heard.rejected, 1);
  assert_int_equal(heard.damaged + heard.other, 0);
  rig_open(&rig);
  assert_true(has(&rig, "old", "1"));
  assert_int_equal(get_large(&rig, "large", LARGE), WODAN_ENOTFOUND);
  rig_close(&rig);
  heard = check(&rig);
  assert_int_equal(heard.rejected + heard.damaged + heard.other, 0);
  rig_release(&rig);
}

/* ---- inspection ------------------------------------------------------------------------------------------------------ */

struct roles {
  unsigned unproven, rejected, heads;
};

static int look_at(void *context, const struct wodan_journal_block *block) {
  struct roles *roles = context;
  roles->unproven += (block->roles & WODAN_JOURNAL_UNPROVEN) != 0;
  roles->rejected += (block->roles & WODAN_JOURNAL_REJECTED) != 0;
  roles->heads += block->roles & WODAN_JOURNAL_REJECTED && block->roles & WODAN_JOURNAL_HEAD;
  return 0;
}

static void test_one_flush__the_journals_view_tells_mark_and_rejection(void **state) {
  (void)state;
  struct rig rig;
  put_in_flight(&rig);
  struct sim *window = rig.sim;
  for (size_t missing = 0; missing <= VALUE_SECTORS; missing++) { /* behind the value the record itself */
    struct sim_image torn;
    struct roles roles = {0};
    struct wodan_inspect *inspect;
    all_but(window, missing, &torn);
    assert_int_equal(sim_reboot(window, &torn, &rig.sim), 0);
    struct wodan_device *plug = sim_plug(rig.sim);
    assert_int_equal(wodan_inspect_open(plug, NULL, &inspect, NULL), 0);
    assert_int_equal(wodan_inspect_journal(inspect, look_at, &roles, NULL), 0);
    wodan_inspect_close(inspect);
    wodan_device_close(plug);
    unsigned whole = missing < VALUE_SECTORS;
    assert_int_equal(roles.unproven, whole);
    assert_int_equal(roles.rejected, whole);
    assert_int_equal(roles.heads, whole);
    sim_image_release(&torn);
    sim_close(rig.sim);
  }
  rig.sim = window;
  rig_release(&rig);
}

/* ---- counts --------------------------------------------------------------------------------------------------------- */

struct counts {
  uint64_t flushes, barriers;
};

static struct counts counts(const struct rig *rig) {
  return (struct counts){sim_count(rig->sim, SIM_FLUSH), sim_count(rig->sim, SIM_BARRIER)};
}

static void test_one_flush__a_durable_put_takes_one_flush(void **state) {
  (void)state;
  enum { PUTS = 10, SIZE = 100 << 10, PAGES_PROVEN = 64 };
  struct rig rig;
  char key[8];
  rig_make(&rig, 64 << 20, 512, 4096);
  rig.memory = 64 << 20;
  rig_open(&rig);
  struct wodan_info info = {.size = sizeof info};
  assert_int_equal(wodan_info(rig.db, &info), 0);
  struct counts before = counts(&rig);
  for (unsigned n = 0; n < PUTS; n++) {
    snprintf(key, sizeof key, "k%u", n);
    assert_int_equal(put_large(&rig, key, SIZE, true), 0);
  }
  struct counts after = counts(&rig);
  assert_int_equal(after.flushes - before.flushes, PUTS);
  assert_int_equal(after.barriers - before.barriers, 0);
  /* Several in one record: a barrier as soon as they are more than a mount proves. */
  uint64_t most = (uint64_t)PAGES_PROVEN * info.page_size, unit = most / 4;
  for (unsigned n = 2; n <= 4; n++) {
    before = counts(&rig);
    for (unsigned i = 0; i < n; i++) {
      snprintf(key, sizeof key, "m%u", i);
      assert_int_equal(put_large(&rig, key, (size_t)unit, false), 0);
    }
    assert_int_equal(wodan_sync(rig.db), 0);
    after = counts(&rig);
    assert_int_equal(after.flushes - before.flushes, 1);
    assert_int_equal(after.barriers - before.barriers, n == 4); /* headers count too */
  }
  rig_close(&rig);
  rig_release(&rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_flush__the_record_counts_with_all_of_its_large_value_only),
      cmocka_unit_test(test_one_flush__a_rejected_record_never_becomes_whole),
      cmocka_unit_test(test_one_flush__damage_of_a_value_that_was_flushed_is_told),
      cmocka_unit_test(test_one_flush__the_newest_record_with_a_rotten_value_is_a_crash_tail),
      cmocka_unit_test(test_one_flush__the_journals_view_tells_mark_and_rejection),
      cmocka_unit_test(test_one_flush__a_durable_put_takes_one_flush),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
