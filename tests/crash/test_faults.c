/* A device that fails, forgets or misplaces: the n-th write, flush, barrier or read fails, once or for ever; writes are lost
 * or land elsewhere; bits rot. One workload, every n. What is demanded: the first failed write, barrier or flush is final
 * for the handle and keeps its cause; reads go on; a later mount finds a commit not older than the last acknowledged
 * one; nothing wrong is ever read. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "crash/fault_load.h"

/* ---- failed writes, barriers, flushes --------------------------------------------------------------------------- */

/* The handle after the failure: it reads, refuses every write with the first cause, and says so at close. */
static void expect_failed(struct load *load, bool dropped, const char *what, uint64_t nth) {
  struct wodan_error first, error;
  char why[256] = "";
  struct wodan_db *db = load->rig.db;
  wodan_last_error(db, &first);
  sim_faults_clear(load->rig.sim); /* the device works again; the handle must not try */
  uint64_t mutations = sim_mutations(load->rig.sim);
  for (int i = 0; i < 2; i++) {
    int status = i ? wodan_sync(db) : rig_put(&load->rig, "more", "no", true);
    wodan_last_error(db, &error);
    if (status != WODAN_EFAILED) fail_load(what, "a later write is not refused", nth);
    if (!strstr(error.message, "an earlier write failed")) fail_load(what, error.message, nth);
  }
  if (wodan_checkpoint(db, NULL) != WODAN_EFAILED) fail_load(what, "a later checkpoint is not refused", nth);
  /* What is visible is all that was committed; the batch of the failing call itself may or may not be. A device that
   * dropped what it had been given may make a read fail, never lie. */
  if (model_match(load->model, db, model_version(load->model) - 1, why, sizeof why) == SIZE_MAX &&
      !(dropped && strstr(why, "reading failed")))
    fail_load(what, why, nth);
  if (wodan_close(db, &error) != WODAN_EFAILED) fail_load(what, "close pretends success", nth);
  if (sim_mutations(load->rig.sim) != mutations) fail_load(what, "a failed handle wrote", nth);
}

static void every_mutation_fails(uint8_t kind, uint64_t times, uint64_t argument, const char *what) {
  uint64_t nth = 0;
  for (;; nth++) {
    struct load load;
    load_make(&load);
    struct sim_fault fault = {.kind = kind, .skip = nth, .times = times, .argument = argument};
    sim_fault_add(load.rig.sim, &fault);
    int status = play(&load);
    bool struck = sim_faults_struck(load.rig.sim) > 0;
    if (struck) {
      if (status != WODAN_EIO) fail_load(what, "the failing call does not answer WODAN_EIO", nth);
      expect_failed(&load, kind == SIM_FLUSH_EIO && argument == SIM_WINDOW_DROPPED, what, nth);
    } else {
      assert_int_equal(status, 0);
      rig_drop(&load.rig);
    }
    recover(&load, load.acked, what, nth);
    load_release(&load);
    if (!struck) break;
  }
  assert_true(nth > 5);
}

static void test_faults__any_write_fails(void **state) {
  (void)state;
  for (uint64_t times = 0; times < 2; times++) {
    every_mutation_fails(SIM_WRITE_EIO, times, 0, "a write fails, nothing of it is taken");
    every_mutation_fails(SIM_WRITE_EIO, times, SECTOR, "a write fails, one sector of it is taken");
    every_mutation_fails(SIM_WRITE_EIO, times, UINT64_MAX, "a write fails, all of it is taken");
  }
}

static void test_faults__any_flush_fails(void **state) {
  (void)state;
  for (uint64_t times = 0; times < 2; times++) {
    every_mutation_fails(SIM_FLUSH_EIO, times, SIM_WINDOW_KEPT, "a flush fails, the window stays in flight");
    every_mutation_fails(SIM_FLUSH_EIO, times, SIM_WINDOW_DROPPED, "a flush fails, the window is dropped");
    every_mutation_fails(SIM_FLUSH_EIO, times, SIM_WINDOW_DROPPED_SERVED,
                         "a flush fails, the window is dropped and still served");
  }
}

static void test_faults__any_barrier_fails(void **state) {
  (void)state;
  for (uint64_t times = 0; times < 2; times++) every_mutation_fails(SIM_BARRIER_EIO, times, 0, "a barrier fails");
}

/* The first cause is kept, also when later calls fail for other reasons. */
static void test_faults__the_first_cause_is_kept(void **state) {
  (void)state;
  struct load load;
  struct wodan_error error;
  load_make(&load);
  struct sim_fault flush = {.kind = SIM_FLUSH_EIO}, write = {.kind = SIM_WRITE_EIO};
  sim_fault_add(load.rig.sim, &flush);
  assert_int_equal(rig_put(&load.rig, "a", "1", true), WODAN_EIO);
  sim_fault_add(load.rig.sim, &write);
  assert_int_equal(rig_put(&load.rig, "b", "2", true), WODAN_EFAILED);
  wodan_last_error(load.rig.db, &error);
  assert_non_null(strstr(error.message, "flush"));
  assert_int_equal(wodan_close(load.rig.db, &error), WODAN_EFAILED);
  assert_non_null(strstr(error.message, "flush"));
  load_release(&load);
}

/* Closing without a place for the error crashed when the checkpoint of the close failed to be written. */
static void test_faults__a_failing_close_needs_no_place_for_its_error(void **state) {
  (void)state;
  struct load load;
  load_make(&load);
  put_ok(&load.rig, "a", "1", false);
  struct sim_fault write = {.kind = SIM_WRITE_EIO};
  sim_fault_add(load.rig.sim, &write);
  assert_int_equal(wodan_close(load.rig.db, NULL), WODAN_EIO);
  load_release(&load);
}

/* The host has no space left: at a write, or only at a flush. */
static void test_faults__the_host_is_out_of_space(void **state) {
  (void)state;
  for (int at_flush = 0; at_flush < 2; at_flush++) {
    unsigned failures = 0;
    for (uint64_t quota = 12; quota <= SIZE / SECTOR; quota++) {
      struct load load = {.model = model_create()};
      struct sim_options options = {.quota = quota, .quota_at_flush = at_flush, .seed = 1};
      struct wodan_error error;
      load.rig = (struct rig){.random = quota, .block = BLOCK};
      assert_int_equal(sim_create(SIZE, SECTOR, &options, &load.rig.sim), 0);
      if (rig_format(&load.rig, BLOCK, false, &error) == 0) {
        rig_open(&load.rig);
        int status = play(&load);
        failures += status < 0;
        if (status < 0 && status != WODAN_ENOSPC && status != WODAN_EFAILED) fail_load("quota", "another code", quota);
        sim_options(load.rig.sim)->quota = 0;
        rig_drop(&load.rig);
        recover(&load, load.acked, at_flush ? "quota at flush" : "quota at write", quota);
      }
      load_release(&load);
    }
    assert_true(failures > 3);
  }
}

/* ---- failed reads ----------------------------------------------------------------------------------------------- */

/* A failed read changes nothing: the call says so, or it was read again; afterwards all is as it was. */
static void every_read_fails(uint64_t times) {
  unsigned opened = 0, refused = 0;
  bool struck = true;
  for (uint64_t nth = 0; struck; nth++) {
    struct load load;
    struct wodan_error error = {0};
    char why[256];
    load_make(&load);
    assert_int_equal(play(&load), 0);
    rig_close(&load.rig);
    load.acked = model_version(load.model);
    struct sim_fault fault = {.kind = SIM_READ_EIO, .skip = nth, .times = times};
    sim_fault_add(load.rig.sim, &fault);
    int status = rig_try_open(&load.rig, 0, &error);
    if (status == 0) {
      size_t version = model_match(load.model, load.rig.db, 0, why, sizeof why);
      if (version != SIZE_MAX && version != model_version(load.model)) fail_load("a read fails", "old content", nth);
      status = play(&load);
      if (status < 0 && status != WODAN_EIO && !by_damage(status))
        fail_load("a read fails", last_error(&load, status), nth);
      rig_drop(&load.rig);
      opened++;
    } else {
      refused++;
    }
    struck = sim_faults_struck(load.rig.sim) > 0;
    if (status < 0 && status != WODAN_EIO && !by_damage(status)) fail_load("a read fails", error.message, nth);
    if (!struck) assert_int_equal(status, 0);
    recover(&load, load.acked, "a read fails", nth);
    load_release(&load);
  }
  assert_true(opened > 3 && (times || refused > 1));
}

static void test_faults__any_read_fails(void **state) {
  (void)state;
  every_read_fails(1);
  every_read_fails(2);
  every_read_fails(0);
}

/* One read gives what does not lie there, and no error: zeros, garbage, a flipped bit, the content before, another place. It is
 * read again, so nothing is lost and nobody is told. `while_open`: the reads behind an open, else those of the mount. A wrong
 * read of the newest record once made it look like the tail of a crash. */
static void every_read_is_wrong(uint8_t kind, uint64_t argument, bool while_open) {
  bool struck = true;
  for (uint64_t nth = 0; struck; nth++) {
    struct load load;
    struct wodan_error error = {0};
    char why[256] = "";
    load_make(&load);
    sim_options(load.rig.sim)->keep_older = true;
    assert_int_equal(play(&load), 0);
    assert_int_equal(rig_put(&load.rig, "newest", "record", true), 0);
    model_put(load.model, "newest", 6, "record", 6);
    model_commit(load.model);
    rig_drop(&load.rig);
    const struct sim_fault fault = {.kind = kind, .skip = nth, .times = 1, .argument = argument};
    if (!while_open) sim_fault_add(load.rig.sim, &fault);
    if (rig_try_open(&load.rig, 0, &error) < 0) fail_load("a wrong read at mount", error.message, nth);
    if (while_open) sim_fault_add(load.rig.sim, &fault);
    if (!model_equals(load.model, load.rig.db, why, sizeof why)) fail_load("a wrong read", why, nth);
    int status = play(&load);
    if (status < 0) fail_load("a wrong read", last_error(&load, status), nth);
    struck = sim_faults_struck(load.rig.sim) > 0;
    rig_drop(&load.rig);
    recover(&load, load.acked, "a wrong read", nth);
    load_release(&load);
  }
}

static void test_faults__a_wrong_read_is_read_again(void **state) {
  (void)state;
  for (uint64_t sector = 0; sector < SIZE / SECTOR; sector++)
    every_read_is_wrong(SIM_READ_FLIP, 8 * (sector * SECTOR + sector * 37 % SECTOR) + sector % 8, false);
  for (int while_open = 0; while_open < 2; while_open++) {
    every_read_is_wrong(SIM_READ_ZERO, 0, while_open);
    every_read_is_wrong(SIM_READ_GARBAGE, 0, while_open);
    every_read_is_wrong(SIM_READ_STALE, 0, while_open);
    for (uint64_t place = 0; place < SIZE / SECTOR; place += 7 + STRIDE)
      every_read_is_wrong(SIM_READ_MISDIRECTED, place * SECTOR, while_open);
  }
}

/* ---- rot in the journal ----------------------------------------------------------------------------------------- */

/* Four acknowledged records, no checkpoint behind them. Rot of any but the last is corruption and named; of the last it
 * looks like a torn tail, for nothing behind it bears witness. */
static void test_faults__rot_in_acknowledged_journal_records(void **state) {
  (void)state;
  for (unsigned rotten = 0; rotten < 4; rotten++) {
    struct rig rig;
    struct wodan_error error = {0};
    char key[8];
    rig_make(&rig, SIZE, SECTOR, BLOCK);
    rig_open(&rig);
    uint64_t first = rig.db->journal.head, ring = rig.db->journal.blocks;
    for (unsigned i = 0; i < 4; i++) {
      snprintf(key, sizeof key, "k%u", i);
      put_ok(&rig, key, "value", true);
    }
    rig_drop(&rig);
    uint64_t block = 1 + (first + rotten) % ring;
    uint8_t byte = (uint8_t)~sim_medium(rig.sim)[block * BLOCK + 110];
    sim_poke(rig.sim, block * BLOCK + 110, &byte, 1);
    int status = rig_try_open(&rig, 0, &error);
    assert_int_equal(status, rotten < 3 ? WODAN_ECORRUPT : 0);
    if (rotten < 3) {
      assert_int_equal(error.block, block);
    } else {
      assert_true(has(&rig, "k2", "value"));
      assert_false(has(&rig, "k3", "value"));
      rig_close(&rig);
    }
    rig_release(&rig);
  }
}

/* ---- one fault in a closed image -------------------------------------------------------------------------------- */

/* One bit of each byte of a closed image (of every byte some bit; WODAN_ALL_BITS: each). */
static void test_faults__a_flipped_bit_is_harmless_or_told(void **state) {
  (void)state;
  struct load load;
  struct sim_image image;
  struct verdicts verdicts = {0};
  load_make(&load);
  take_image(&load, &image);
  unsigned each = getenv("WODAN_ALL_BITS") ? 1 : 8 * STRIDE + (STRIDE > 1);
  for (uint64_t bit = 0; bit < 8ull * SIZE; bit += each) {
    uint64_t at = bit / 8;
    uint8_t mask = (uint8_t)(1u << (each == 1 ? bit % 8 : at * 5 % 8));
    image.bytes[at] ^= mask;
    sim_load(load.rig.sim, &image);
    image.bytes[at] ^= mask;
    judge(&load, false, &verdicts, "a flipped bit", bit);
  }
  tell("flips", &verdicts);
  assert_true(verdicts.right > 0 && verdicts.refused > 0 && verdicts.told > 0);
  assert_int_equal(verdicts.rolled_back, 0);
  sim_image_release(&image);
  load_release(&load);
}

/* A whole sector zero, garbage, or unreadable. */
static void test_faults__a_lost_sector_is_harmless_or_told(void **state) {
  (void)state;
  struct load load;
  struct sim_image image;
  struct verdicts verdicts = {0};
  load_make(&load);
  take_image(&load, &image);
  for (uint64_t sector = 0; sector < SIZE / SECTOR; sector++)
    for (int how = 0; how < 3; how++) {
      uint8_t saved[SECTOR], *place = image.bytes + sector * SECTOR;
      memcpy(saved, place, SECTOR);
      memset(place, 0, SECTOR);
      if (how == 1) rig_random(&load.rig, place, SECTOR);
      if (how == 2) image.marks[sector] = SIM_MARK_UNREADABLE;
      sim_load(load.rig.sim, &image);
      memcpy(place, saved, SECTOR);
      image.marks[sector] = SIM_MARK_NONE;
      struct wodan_error error;
      if (how == 2 && rig_try_open(&load.rig, 0, &error) == WODAN_EIO) {
        verdicts.refused++;
        continue;
      } else if (how == 2 && load.rig.db) {
        rig_drop(&load.rig);
      }
      judge(&load, false, &verdicts, "a lost sector", sector);
    }
  tell("sectors", &verdicts);
  assert_true(verdicts.right > 0 && verdicts.refused > 0 && verdicts.told > 0);
  sim_image_release(&image);
  load_release(&load);
}

/* ---- lost and misdirected writes -------------------------------------------------------------------------------- */

/* The workload with one write gone astray, closed if it can be. */
static bool play_astray(struct load *load, const struct sim_fault *fault, struct verdicts *verdicts, const char *what,
                        uint64_t nth) {
  struct wodan_error error;
  load_make(load);
  sim_fault_add(load->rig.sim, fault);
  int status = play(load);
  if (status < 0 && !by_damage(status)) fail_load(what, last_error(load, status), nth);
  bool closed = wodan_close(load->rig.db, &error) == 0;
  if (closed) load->acked = model_version(load->model);
  bool struck = sim_faults_struck(load->rig.sim) > 0;
  if (!struck) assert_true(closed);
  sim_faults_clear(load->rig.sim);
  rig_power(&load->rig);
  judge(load, true, verdicts, what, nth);
  load_release(load);
  return struck;
}

static void test_faults__a_lost_write_is_harmless_or_told(void **state) {
  (void)state;
  for (uint64_t served = 0; served < 2; served++) {
    struct verdicts verdicts = {0};
    struct load load;
    bool struck = true;
    for (uint64_t nth = 0; struck; nth++) {
      struct sim_fault fault = {.kind = SIM_WRITE_LOST, .skip = nth, .times = 1, .argument = served};
      struck = play_astray(&load, &fault, &verdicts, "a lost write", nth);
    }
    tell(served ? "lost writes, served until the power is off" : "lost writes", &verdicts);
    assert_int_equal(verdicts.rolled_back, 0); /* the seal behind the last checkpoint bears witness */
    assert_true(verdicts.right > 0 && verdicts.refused > 0);
  }
}

/* Every ordered pair of a write and a place: an older commit may show only when the newest record was hit. */
static void test_faults__a_misdirected_write_is_harmless_or_told(void **state) {
  (void)state;
  struct verdicts verdicts = {0};
  bool struck = true;
  unsigned pairs = 0;
  for (uint64_t nth = 0; struck; nth++)
    for (uint64_t place = 0; place < SIZE / SECTOR && struck; place += STRIDE) {
      struct load load;
      struct sim_fault fault = {
          .kind = SIM_WRITE_MISDIRECTED, .skip = nth, .times = 1, .argument = (place + nth % STRIDE) * SECTOR};
      struck = play_astray(&load, &fault, &verdicts, "a misdirected write", nth * 1000 + place);
      pairs++;
    }
  tell("misdirected writes", &verdicts);
  assert_true(verdicts.rolled_back * 100 < pairs);
  assert_true(verdicts.right > 0 && verdicts.refused > 0);
}

/* ---- a device that lies ----------------------------------------------------------------------------------------- */

/* A flush that only orders: acknowledged data may go, but what is there is a commit. */
static void test_faults__a_flush_that_only_orders_loses_a_suffix(void **state) {
  (void)state;
  unsigned lost = 0;
  for (uint64_t seed = 0; seed < 300 / STRIDE; seed++) {
    struct load load;
    load_make(&load);
    load.rig.random = seed;
    sim_options(load.rig.sim)->flush = SIM_FLUSH_ORDER_ONLY;
    assert_int_equal(play(&load), 0);
    rig_drop(&load.rig);
    sim_options(load.rig.sim)->flush = SIM_FLUSH_HONEST;
    lost += recover(&load, 0, "a flush only orders", seed) < load.acked;
    load_release(&load);
  }
  assert_true(lost > 0);
}

/* A flush that does nothing: wrong data never; an open that works shows a commit, else it says what is damaged. */
static void test_faults__a_flush_that_lies_never_shows_wrong_data(void **state) {
  (void)state;
  struct verdicts verdicts = {0};
  for (uint64_t seed = 0; seed < 800 / STRIDE; seed++) {
    struct load load;
    uint8_t choice[8192];
    struct sim_image image;
    load_make(&load);
    load.rig.random = seed;
    sim_options(load.rig.sim)->flush = SIM_FLUSH_LYING;
    assert_int_equal(play(&load), 0);
    rig_drop(&load.rig);
    sim_options(load.rig.sim)->flush = SIM_FLUSH_HONEST;
    assert_true(sim_choice_size_max(load.rig.sim) <= sizeof choice);
    assert_int_equal(sim_image_init(&image, load.rig.sim), 0);
    size_t size = sim_choice_sample(load.rig.sim, &load.rig.random, false, choice);
    sim_image_choose(&image, load.rig.sim, choice, size);
    sim_load(load.rig.sim, &image);
    sim_image_release(&image);
    judge(&load, true, &verdicts, "a flush lies", seed);
    load_release(&load);
  }
  tell("lying flushes", &verdicts);
}

/* A barrier that does nothing while the flush is honest: the power fails at any operation, and any part of the window is there.
 * A checkpoint's record may then be there before its objects. */
static void test_faults__a_barrier_that_lies_never_shows_wrong_data(void **state) {
  (void)state;
  struct verdicts verdicts = {0};
  for (uint64_t seed = 0; seed < 1600 / STRIDE; seed++) {
    struct load load = {.model = model_create(), .rig = {.random = seed, .block = BLOCK}};
    struct sim_options options = {.seed = 11, .barrier = SIM_BARRIER_LYING};
    struct wodan_error error;
    struct sim_image image;
    uint8_t choice[8192];
    assert_int_equal(sim_create(SIZE, SECTOR, &options, &load.rig.sim), 0);
    assert_int_equal(rig_format(&load.rig, BLOCK, false, &error), 0);
    rig_open(&load.rig);
    sim_cut_at(load.rig.sim, sim_mutations(load.rig.sim) + random_below(&load.rig.random, 70));
    play(&load);
    rig_drop(&load.rig);
    assert_true(sim_choice_size_max(load.rig.sim) <= sizeof choice);
    assert_int_equal(sim_image_init(&image, load.rig.sim), 0);
    size_t size = sim_choice_sample(load.rig.sim, &load.rig.random, false, choice);
    sim_image_choose(&image, load.rig.sim, choice, size);
    sim_load(load.rig.sim, &image);
    sim_image_release(&image);
    judge(&load, true, &verdicts, "a barrier lies", seed);
    load_release(&load);
  }
  tell("lying barriers", &verdicts);
  assert_true(verdicts.right > 0 && verdicts.refused > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_faults__any_write_fails),
      cmocka_unit_test(test_faults__any_flush_fails),
      cmocka_unit_test(test_faults__any_barrier_fails),
      cmocka_unit_test(test_faults__the_first_cause_is_kept),
      cmocka_unit_test(test_faults__a_failing_close_needs_no_place_for_its_error),
      cmocka_unit_test(test_faults__the_host_is_out_of_space),
      cmocka_unit_test(test_faults__any_read_fails),
      cmocka_unit_test(test_faults__a_wrong_read_is_read_again),
      cmocka_unit_test(test_faults__rot_in_acknowledged_journal_records),
      cmocka_unit_test(test_faults__a_flipped_bit_is_harmless_or_told),
      cmocka_unit_test(test_faults__a_lost_sector_is_harmless_or_told),
      cmocka_unit_test(test_faults__a_lost_write_is_harmless_or_told),
      cmocka_unit_test(test_faults__a_misdirected_write_is_harmless_or_told),
      cmocka_unit_test(test_faults__a_flush_that_only_orders_loses_a_suffix),
      cmocka_unit_test(test_faults__a_flush_that_lies_never_shows_wrong_data),
      cmocka_unit_test(test_faults__a_barrier_that_lies_never_shows_wrong_data),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
