/* The crash states of the simulated device: counts against the formulas, order, merging, replay by choice string, and
 * one canary that must be caught: a root written before its data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dev_sim_calls.h"

struct enumerated {
  uint64_t states, images;
  uint32_t skipped;
};

/* Runs through; checks each image against its own choice string. */
static struct enumerated enumerate(struct sim *sim, struct sim_crash_options o) {
  struct sim_crash_iter *it;
  assert_int_equal(sim_crash_begin(sim, &o, &it), 0);
  struct sim_image again;
  assert_int_equal(sim_image_init(&again, sim), 0);
  struct sim_seen seen = {.slots = NULL};
  const struct sim_image *image;
  while (sim_crash_next(it, &image)) {
    assert_int_equal(sim_seen_add(&seen, sim_image_hash(image)), 1);
    size_t size;
    const uint8_t *choice = sim_crash_choice(it, &size);
    sim_image_choose(&again, sim, choice, size);
    assert_int_equal(sim_image_hash(&again), sim_image_hash(image));
  }
  struct enumerated e = {sim_crash_states(it), sim_crash_images(it), sim_crash_skipped(it)};
  assert_int_equal(seen.count, e.images);
  sim_seen_release(&seen);
  sim_image_release(&again);
  sim_crash_end(it);
  return e;
}

static struct enumerated family(struct sim *sim, uint32_t which) {
  return enumerate(sim, (struct sim_crash_options){.families = which});
}

static uint64_t power(uint64_t base, uint64_t exponent) {
  uint64_t n = 1;
  while (exponent--) n *= base;
  return n;
}

/* n writes of k sectors, all different: every state is a different image, so both counts are the formula's. */
static void test_crash__counts_match_formulas(void **state) {
  (void)state;
  for (uint64_t n = 0; n <= 4; n++)
    for (uint64_t k = 1; k <= 4; k++) {
      struct sim *sim = make_filled();
      for (uint64_t i = 0; i < n; i++) put(sim, i * k, k, (uint8_t)(i + 1));
      uint64_t sectors = n * k;
      const struct {
        uint32_t family;
        uint64_t expect;
      } table[] = {{SIM_PREFIXES, sectors + 1},
                   {SIM_SUBSETS, power(2, n)},
                   {SIM_TORN, n ? n * power(2, n - 1) * (power(2, k) - 2) : 0},
                   {SIM_SECTORS, power(2, sectors)},
                   {SIM_CONTENTS, sectors <= 6 ? power(5, sectors) : 0}};
      for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        struct enumerated e = family(sim, table[t].family);
        assert_int_equal(e.states, table[t].expect);
        /* torn states are counted once per torn unit and are all different; nothing merges */
        assert_int_equal(e.images, table[t].expect);
        assert_int_equal(e.skipped, table[t].family == SIM_CONTENTS && sectors > 6 ? SIM_CONTENTS : 0);
      }
      assert_int_equal(family(sim, SIM_ONES).states, 2 * n);
      sim_close(sim);
    }
}

static void test_crash__block_option_cuts_a_write_into_units(void **state) {
  (void)state;
  struct sim *sim = make(NULL);
  put(sim, 3, 6, 9); /* blocks of 4 sectors: 1 + 4 + 1 */
  struct enumerated e = enumerate(sim, (struct sim_crash_options){.families = SIM_SUBSETS, .block = 4 * S});
  assert_int_equal(e.images, 8);
  e = enumerate(sim, (struct sim_crash_options){.families = SIM_TORN, .block = 4 * S});
  assert_int_equal(e.images, 4 * 14);
  e = enumerate(sim, (struct sim_crash_options){.families = SIM_SUBSETS});
  assert_int_equal(e.images, 2);
  sim_close(sim);
}

static void test_crash__segments_land_in_order(void **state) {
  (void)state;
  struct sim *sim = make_filled();
  for (uint8_t i = 1; i <= 6; i++) {
    put(sim, i, 1, i);
    if (i % 2 == 0) barrier(sim);
  }
  struct sim_crash_iter *it;
  assert_int_equal(sim_crash_begin(sim, NULL, &it), 0);
  const struct sim_image *image;
  while (sim_crash_next(it, &image)) {
    unsigned landed = 0, odd = 0;
    for (unsigned i = 1; i <= 6; i++) {
      landed |= image->bytes[i * S] == i && !image->marks[i] ? 1u << (i - 1) / 2 * 2 << (i - 1) % 2 : 0;
      odd |= image->bytes[i * S] != 0xa0 || image->marks[i] ? 1u << (i - 1) : 0;
    }
    /* anything of a segment shows only when the one before is whole */
    if (odd & 0x0c) assert_int_equal(landed & 0x03, 0x03);
    if (odd & 0x30) assert_int_equal(landed & 0x0f, 0x0f);
  }
  /* per segment 5^2 states, the all-new one being the next one's all-old */
  assert_int_equal(sim_crash_images(it), 3 * 25 - 2);
  assert_int_equal(sim_crash_skipped(it), 0);
  sim_crash_end(it);
  assert_int_equal(family(sim, SIM_SUBSETS).images, 3 * 4 - 2);
  assert_int_equal(family(sim, SIM_SUBSETS).states, 3 * 4);
  assert_int_equal(family(sim, SIM_PREFIXES).images, 7);
  sim_close(sim);
}

static void test_crash__identical_images_are_merged(void **state) {
  (void)state;
  struct sim *sim = make(NULL);
  put(sim, 1, 1, 1);
  flush(sim);
  put(sim, 1, 1, 1); /* writes what is there */
  put(sim, 2, 1, 2);
  struct enumerated e = family(sim, SIM_SUBSETS);
  assert_int_equal(e.states, 4);
  assert_int_equal(e.images, 2);
  sim_close(sim);
}

static void test_crash__two_writes_of_one_sector_leave_old_first_or_second(void **state) {
  (void)state;
  struct sim *sim = make(NULL);
  put(sim, 1, 1, 1);
  put(sim, 1, 1, 2);
  struct enumerated e = family(sim, SIM_SUBSETS);
  assert_int_equal(e.states, 4);
  assert_int_equal(e.images, 3);
  sim_close(sim);
}

static void test_crash__discards_have_six_outcomes(void **state) {
  (void)state;
  struct sim_options o = {.keep_older = true};
  struct sim *sim = make(&o);
  put(sim, 1, 1, 1);
  put(sim, 5, 1, 4);
  flush(sim);
  put(sim, 1, 1, 2);
  flush(sim);
  assert_int_equal(discard(sim, 1, 1), 0);
  struct enumerated e = family(sim, SIM_SUBSETS);
  assert_int_equal(e.states, 6);
  assert_int_equal(e.images, 6);
  put(sim, 5, 1, 3);
  assert_int_equal(family(sim, SIM_SUBSETS).images, 12);
  assert_int_equal(family(sim, SIM_CONTENTS).images, 30);
  assert_int_equal(family(sim, SIM_SECTORS).images, 4);
  sim_close(sim);
}

static void test_crash__too_large_families_are_skipped_and_told(void **state) {
  (void)state;
  struct sim *sim = make(NULL);
  for (uint8_t i = 0; i < 20; i++) put(sim, i * 2u, 2, (uint8_t)(i + 1));
  struct enumerated e = family(sim, 0);
  assert_int_equal(e.skipped, SIM_SUBSETS | SIM_TORN | SIM_SECTORS | SIM_CONTENTS);
  assert_int_equal(e.states, 41 + 40);
  assert_int_equal(e.images, 41 + 40 - 2); /* only the first, and all but the last, are prefixes too */
  e = enumerate(sim, (struct sim_crash_options){.families = SIM_PREFIXES, .states_max = 40});
  assert_int_equal(e.skipped, SIM_PREFIXES);
  assert_int_equal(e.states, 0);
  sim_close(sim);
}

static void test_crash__empty_window_has_one_state(void **state) {
  (void)state;
  struct sim *sim = make(NULL);
  put(sim, 1, 1, 1);
  flush(sim);
  struct enumerated e = family(sim, 0);
  assert_int_equal(e.images, 1);
  struct sim_image image;
  assert_int_equal(sim_image_init(&image, sim), 0);
  uint64_t seed = 1;
  uint8_t choice[16];
  size_t size = sim_choice_sample(sim, &seed, true, choice);
  assert_true(size <= sim_choice_size_max(sim));
  sim_image_choose(&image, sim, choice, size);
  assert_memory_equal(image.bytes, sim_medium(sim), SIZE);
  sim_image_release(&image);
  sim_close(sim);
}

static void test_crash__every_choice_does_what_it_says(void **state) {
  (void)state;
  struct sim *sim = make(NULL);
  put(sim, 0, 5, 1);
  flush(sim);
  put(sim, 0, 5, 2);
  static const uint8_t choice[] = {0, 0, 0, 0, SIM_OLD, SIM_NEW, SIM_ZERO, SIM_GARBAGE, SIM_UNREADABLE};
  struct sim_image image;
  assert_int_equal(sim_image_init(&image, sim), 0);
  sim_image_choose(&image, sim, choice, sizeof choice);
  struct sim *fresh;
  assert_int_equal(sim_reboot(sim, &image, &fresh), 0);
  assert_int_equal(get(fresh, 0), 1);
  assert_int_equal(get(fresh, 1), 2);
  assert_int_equal(get(fresh, 2), 0);
  uint8_t garbage[S], ones[S], twos[S];
  memset(ones, 1, S);
  memset(twos, 2, S);
  assert_int_equal(io(fresh, WODAN_IO_READ, 3, 1, garbage), 0);
  assert_memory_not_equal(garbage, ones, S);
  assert_memory_not_equal(garbage, twos, S);
  assert_int_equal(get(fresh, 4), WODAN_EIO);
  put(fresh, 4, 1, 9); /* heals when written */
  assert_int_equal(get(fresh, 4), 9);
  flush(fresh);
  sim_image_release(&image);
  assert_int_equal(sim_image_init(&image, fresh), 0);
  assert_int_equal(image.marks[4], SIM_MARK_NONE); /* also on the medium */
  sim_image_release(&image);
  assert_int_equal(sim_image_init(&image, sim), 0);
  assert_int_equal(sim_load(fresh, &image), 0);
  assert_int_equal(get(fresh, 4), 1);
  sim_image_release(&image);
  sim_close(fresh);
  sim_close(sim);
}

static void test_crash__any_bytes_are_a_choice(void **state) {
  (void)state;
  struct sim_options o = {.keep_older = true};
  struct sim *sim = make(&o);
  put(sim, 0, 3, 1);
  discard(sim, 2, 2);
  barrier(sim);
  put(sim, 1, 4, 2);
  struct sim_image a, b;
  assert_int_equal(sim_image_init(&a, sim), 0);
  assert_int_equal(sim_image_init(&b, sim), 0);
  uint8_t bytes[40];
  srand(7);
  for (int round = 0; round < 2000; round++) {
    size_t size = (size_t)rand() % sizeof bytes;
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)rand();
    sim_image_choose(&a, sim, bytes, size);
    char text[81];
    uint8_t parsed[40];
    size_t parsed_size;
    assert_true(sim_choice_print(bytes, size, text, sizeof text));
    assert_true(sim_choice_parse(text, parsed, sizeof parsed, &parsed_size));
    assert_int_equal(parsed_size, size);
    sim_image_choose(&b, sim, parsed, parsed_size);
    assert_int_equal(sim_image_hash(&a), sim_image_hash(&b));
  }
  char small[8];
  size_t size;
  assert_false(sim_choice_print(bytes, 4, small, sizeof small));
  assert_false(sim_choice_parse("0g", bytes, sizeof bytes, &size));
  assert_false(sim_choice_parse("012", bytes, sizeof bytes, &size));
  assert_false(sim_choice_parse("001122", bytes, 2, &size));
  assert_true(sim_choice_parse("00fF", bytes, 2, &size));
  assert_int_equal(bytes[1], 0xff);
  sim_image_release(&a);
  sim_image_release(&b);
  sim_close(sim);
}

static void test_crash__samples_are_states_and_reach_all_of_a_small_window(void **state) {
  (void)state;
  struct sim *sim = make(NULL);
  put(sim, 0, 2, 1);
  put(sim, 4, 2, 2);
  barrier(sim);
  put(sim, 8, 2, 3);
  struct sim_image image;
  assert_int_equal(sim_image_init(&image, sim), 0);
  struct sim_seen seen = {.slots = NULL};
  uint8_t *choice = malloc(sim_choice_size_max(sim));
  uint64_t seed = 42;
  for (int i = 0; i < 5000; i++) {
    size_t size = sim_choice_sample(sim, &seed, false, choice);
    assert_true(size <= sim_choice_size_max(sim));
    sim_image_choose(&image, sim, choice, size);
    sim_seen_add(&seen, sim_image_hash(&image));
  }
  assert_int_equal(seen.count, 16 + 4 - 1);
  for (int i = 0; i < 20000; i++) {
    size_t size = sim_choice_sample(sim, &seed, true, choice);
    sim_image_choose(&image, sim, choice, size);
    sim_seen_add(&seen, sim_image_hash(&image));
  }
  assert_true(seen.count > 100); /* of 5^4 + 5^2 - 1 */
  assert_true(seen.count <= 649);
  free(choice);
  sim_seen_release(&seen);
  sim_image_release(&image);
  sim_close(sim);
}

static void test_crash__dropped_window_never_comes_back(void **state) {
  (void)state;
  struct sim *sim = make(NULL);
  put(sim, 1, 1, 1);
  fault(sim, (struct sim_fault){.kind = SIM_FLUSH_EIO, .times = 1, .argument = SIM_WINDOW_DROPPED_SERVED});
  flush(sim);
  put(sim, 2, 1, 2);
  struct enumerated e = family(sim, SIM_SUBSETS);
  assert_int_equal(e.images, 2);
  struct sim_image image;
  sim_image_init(&image, sim);
  struct sim *fresh;
  assert_int_equal(sim_reboot(sim, &image, &fresh), 0);
  assert_int_equal(get(sim, 1), 1);
  assert_int_equal(get(fresh, 1), 0);
  sim_image_release(&image);
  sim_close(fresh);
  sim_close(sim);
}

static void test_crash__lying_flush_mixes_windows(void **state) {
  (void)state;
  struct sim_options o = {.flush = SIM_FLUSH_LYING};
  struct sim *sim = make(&o);
  put(sim, 1, 1, 1);
  flush(sim);
  put(sim, 2, 1, 2);
  assert_int_equal(family(sim, SIM_SUBSETS).images, 4);
  sim_options(sim)->flush = SIM_FLUSH_ORDER_ONLY;
  flush(sim);
  put(sim, 3, 1, 3);
  assert_int_equal(family(sim, SIM_SUBSETS).images, 5);
  sim_close(sim);
}

static void test_crash__reboot_of_every_image_and_again(void **state) {
  (void)state;
  struct sim *sim = make_filled(), *fresh;
  put(sim, 1, 2, 1);
  put(sim, 5, 2, 2);
  sim_cut_at(sim, sim_mutations(sim));
  assert_int_equal(flush(sim), WODAN_EIO);
  struct sim_image first;
  assert_int_equal(sim_image_init(&first, sim), 0);
  assert_int_equal(sim_reboot(sim, &first, &fresh), 0);
  struct sim_crash_iter *it;
  assert_int_equal(sim_crash_begin(sim, NULL, &it), 0);
  const struct sim_image *image;
  uint64_t deep = 0;
  while (sim_crash_next(it, &image)) {
    assert_int_equal(sim_load(fresh, image), 0);
    assert_memory_equal(sim_medium(fresh), image->bytes, SIZE);
    assert_int_equal(put(fresh, 9, 1, 3), 0); /* a crash after the crash */
    deep += family(fresh, SIM_SUBSETS).images;
    assert_int_equal(sim_violations(fresh), 0);
  }
  assert_int_equal(sim_crash_images(it), 625);
  assert_int_equal(deep, 2 * 625);
  sim_crash_end(it);
  sim_image_release(&first);
  sim_close(fresh);
  sim_close(sim);
}

/* ---- the canary ------------------------------------------------------------------------------------------------ */

/* A "database": sector 0 is the root, naming a data sector and the value it must hold. An update writes the new data
 * to the other data sector and points the root there. */
static void canary_update(struct sim *sim, uint8_t where, uint8_t value, bool ordered) {
  uint8_t root[S] = {where, value};
  put(sim, where, 1, value);
  if (ordered) barrier(sim);
  io(sim, WODAN_IO_WRITE, 0, 1, root);
}

/* Crash images in which the root names data that is not there. Atomic sectors: only old and new. */
static uint64_t canary_broken(bool ordered, uint8_t barrier_mode) {
  struct sim_options o = {.barrier = barrier_mode};
  struct sim *sim = make(&o);
  canary_update(sim, 1, 11, true);
  flush(sim);
  canary_update(sim, 2, 22, ordered);
  struct sim_crash_iter *it;
  struct sim_crash_options families = {.families = SIM_SECTORS};
  assert_int_equal(sim_crash_begin(sim, &families, &it), 0);
  const struct sim_image *image;
  uint64_t broken = 0;
  while (sim_crash_next(it, &image)) broken += image->bytes[image->bytes[0] * S] != image->bytes[1];
  sim_crash_end(it);
  sim_close(sim);
  return broken;
}

static void test_crash__canary_without_barrier_is_caught(void **state) {
  (void)state;
  assert_int_equal(canary_broken(true, SIM_BARRIER_NATIVE), 0);
  assert_int_equal(canary_broken(true, SIM_BARRIER_BY_FLUSH), 0);
  assert_int_equal(canary_broken(false, SIM_BARRIER_NATIVE), 1);
  assert_int_equal(canary_broken(true, SIM_BARRIER_NONE), 1);
  assert_int_equal(canary_broken(true, SIM_BARRIER_LYING), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_crash__counts_match_formulas),
      cmocka_unit_test(test_crash__block_option_cuts_a_write_into_units),
      cmocka_unit_test(test_crash__segments_land_in_order),
      cmocka_unit_test(test_crash__identical_images_are_merged),
      cmocka_unit_test(test_crash__two_writes_of_one_sector_leave_old_first_or_second),
      cmocka_unit_test(test_crash__discards_have_six_outcomes),
      cmocka_unit_test(test_crash__too_large_families_are_skipped_and_told),
      cmocka_unit_test(test_crash__empty_window_has_one_state),
      cmocka_unit_test(test_crash__every_choice_does_what_it_says),
      cmocka_unit_test(test_crash__any_bytes_are_a_choice),
      cmocka_unit_test(test_crash__samples_are_states_and_reach_all_of_a_small_window),
      cmocka_unit_test(test_crash__dropped_window_never_comes_back),
      cmocka_unit_test(test_crash__lying_flush_mixes_windows),
      cmocka_unit_test(test_crash__reboot_of_every_image_and_again),
      cmocka_unit_test(test_crash__canary_without_barrier_is_caught),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
