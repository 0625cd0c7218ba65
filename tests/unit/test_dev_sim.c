/* The simulated device is tested before anything is judged by it: here its cache, window, power and faults; its crash
 * states are in test_dev_sim_crash.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dev_sim_calls.h"

/* ---- cache and window ------------------------------------------------------------------------------------------ */

static void test_sim__reads_see_cache_and_medium_changes_at_flush(void **state) {
  (void)state;
  struct sim *sim = make(NULL);
  assert_int_equal(put(sim, 3, 2, 7), 0);
  assert_int_equal(get(sim, 3), 7);
  assert_int_equal(get(sim, 4), 7);
  assert_int_equal(get(sim, 5), 0);
  assert_int_equal(medium_at(sim, 3), 0);
  assert_int_equal(barrier(sim), 0);
  assert_int_equal(medium_at(sim, 3), 0);
  assert_int_equal(sim_window_elements(sim), 1);
  assert_int_equal(flush(sim), 0);
  assert_int_equal(medium_at(sim, 3), 7);
  assert_int_equal(sim_window_elements(sim), 0);
  assert_memory_equal(sim_medium(sim), sim_content(sim), SIZE);
  sim_close(sim);
}

static void test_sim__create_refuses_bad_geometry(void **state) {
  (void)state;
  struct sim *sim;
  assert_int_equal(sim_create(SIZE, 32, NULL, &sim), WODAN_EINVAL);
  assert_int_equal(sim_create(SIZE, 96, NULL, &sim), WODAN_EINVAL);
  assert_int_equal(sim_create(SIZE, 8192, NULL, &sim), WODAN_EINVAL);
  assert_int_equal(sim_create(SIZE + 1, S, NULL, &sim), WODAN_EINVAL);
  assert_int_equal(sim_create(0, S, NULL, &sim), WODAN_EINVAL);
  struct sim_options bad = {.discard = SIM_DISCARD_CHOICES};
  assert_int_equal(sim_create(SIZE, S, &bad, &sim), WODAN_EINVAL);
  assert_null(sim);
}

static void test_sim__violations_are_counted_and_refused(void **state) {
  (void)state;
  struct sim_options o = {.memory_alignment = 64, .io_maximum = 2 * S, .discard_granularity = 4 * S};
  struct sim *sim = make(&o);
  _Alignas(64) uint8_t data[4 * S + 1] = {0};
  struct wodan_device *d = sim_device(sim);
  struct wodan_io bad[] = {
      {.kind = WODAN_IO_READ, .offset = 1, .data = data, .size = S},
      {.kind = WODAN_IO_READ, .offset = 0, .data = data, .size = S - 1},
      {.kind = WODAN_IO_READ, .offset = SIZE, .data = data, .size = S},
      {.kind = WODAN_IO_READ, .offset = UINT64_MAX - S + 1, .data = data, .size = S},
      {.kind = WODAN_IO_WRITE, .offset = 0, .data = data + 1, .size = S},
      {.kind = WODAN_IO_WRITE, .offset = 0, .data = data, .size = 3 * S},
      {.kind = WODAN_IO_WRITE, .offset = 0, .data = NULL, .size = S},
      {.kind = WODAN_IO_DISCARD, .offset = S, .size = 4 * S},
      {.kind = WODAN_IO_DISCARD, .offset = 0, .size = 2 * S},
      {.kind = 3, .offset = 0, .data = data, .size = S},
  };
  size_t n = sizeof bad / sizeof *bad;
  for (size_t i = 0; i < n; i++) assert_int_equal(d->ops->transfer(d, &bad[i], 1), WODAN_EIO);
  assert_int_equal(sim_violations(sim), n);
  assert_int_equal(sim_mutations(sim), 0);
  struct wodan_io good = {.kind = WODAN_IO_DISCARD, .offset = 4 * S, .size = 8 * S};
  assert_int_equal(d->ops->transfer(d, &good, 1), 0);
  assert_int_equal(sim_violations(sim), n);
  sim_close(sim);
}

static void test_sim__log_and_counters_tell_each_operation(void **state) {
  (void)state;
  struct sim_options o = {.log = true};
  struct sim *sim = make(&o);
  put(sim, 1, 3, 9);
  get(sim, 1);
  barrier(sim);
  discard(sim, 8, 2);
  flush(sim);
  put(sim, 1, 1, 9);
  size_t n;
  const struct sim_operation *log = sim_log(sim, &n);
  static const uint8_t kinds[] = {SIM_WRITE, SIM_READ, SIM_BARRIER, SIM_DISCARD, SIM_FLUSH, SIM_WRITE};
  static const uint64_t mutations[] = {0, 1, 1, 2, 3, 4};
  assert_int_equal(n, 6);
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(log[i].kind, kinds[i]);
    assert_int_equal(log[i].mutation, mutations[i]);
    assert_int_equal(log[i].status, 0);
  }
  assert_int_equal(log[0].offset, S);
  assert_int_equal(log[0].size, 3 * S);
  assert_int_equal(sim_count(sim, SIM_WRITE), 2);
  assert_int_equal(sim_count(sim, SIM_READ), 1);
  assert_int_equal(sim_count(sim, SIM_BARRIER), 1);
  assert_int_equal(sim_count(sim, SIM_DISCARD), 1);
  assert_int_equal(sim_count(sim, SIM_FLUSH), 1);
  assert_int_equal(sim_mutations(sim), 5);
  assert_int_equal(sim_write_count(sim, 1), 2);
  assert_int_equal(sim_write_count(sim, 3), 1);
  assert_int_equal(sim_write_count(sim, 4), 0);
  sim_close(sim);
}

static void test_sim__barrier_modes_cut_segments_as_told(void **state) {
  (void)state;
  static const struct {
    uint8_t mode, ordering;
    uint32_t segments;
  } table[] = {{SIM_BARRIER_NATIVE, WODAN_ORDER_NATIVE, 2},
               {SIM_BARRIER_BY_FLUSH, WODAN_ORDER_BY_FLUSH, 1},
               {SIM_BARRIER_NONE, WODAN_ORDER_NONE, 1},
               {SIM_BARRIER_LYING, WODAN_ORDER_NATIVE, 1}};
  for (size_t i = 0; i < 4; i++) {
    struct sim_options o = {.barrier = table[i].mode};
    struct sim *sim = make(&o);
    assert_int_equal(sim_device(sim)->geometry.ordering, table[i].ordering);
    barrier(sim); /* nothing before it: no empty segment */
    put(sim, 1, 1, 1);
    barrier(sim);
    barrier(sim);
    put(sim, 2, 1, 2);
    assert_int_equal(sim_window_segments(sim), table[i].segments);
    assert_int_equal(medium_at(sim, 1), table[i].mode == SIM_BARRIER_BY_FLUSH ? 1 : 0);
    flush(sim);
    assert_int_equal(sim_window_segments(sim), 0);
    sim_close(sim);
  }
}

static void test_sim__lying_flush_keeps_window_open(void **state) {
  (void)state;
  for (uint8_t mode = SIM_FLUSH_ORDER_ONLY; mode <= SIM_FLUSH_LYING; mode++) {
    struct sim_options o = {.flush = mode};
    struct sim *sim = make(&o);
    put(sim, 1, 1, 1);
    assert_int_equal(flush(sim), 0);
    put(sim, 2, 1, 2);
    assert_int_equal(flush(sim), 0);
    assert_int_equal(medium_at(sim, 1), 0);
    assert_int_equal(sim_window_elements(sim), 2);
    assert_int_equal(sim_window_segments(sim), mode == SIM_FLUSH_ORDER_ONLY ? 2 : 1);
    sim_options(sim)->flush = SIM_FLUSH_HONEST;
    assert_int_equal(flush(sim), 0);
    assert_int_equal(medium_at(sim, 1), 1);
    assert_int_equal(medium_at(sim, 2), 2);
    sim_close(sim);
  }
}

static void test_sim__cut_stops_the_kth_mutation_and_everything_after(void **state) {
  (void)state;
  for (uint64_t k = 0; k <= 5; k++) {
    struct sim *sim = make(NULL);
    sim_cut_at(sim, k);
    int answers[] = {put(sim, 1, 1, 1), put(sim, 2, 1, 2), flush(sim), discard(sim, 9, 1), barrier(sim)};
    for (uint64_t i = 0; i < 5; i++) assert_int_equal(answers[i], i < k ? 0 : WODAN_EIO);
    assert_int_equal(sim_is_off(sim), k < 5);
    assert_int_equal(get(sim, 1), k < 5 ? WODAN_EIO : 1);
    assert_int_equal(medium_at(sim, 1), k > 2 ? 1 : 0);
    assert_int_equal(sim_window_elements(sim), k == 0 ? 0 : k == 1 ? 1 : k == 2 ? 2 : k == 3 ? 0 : 1);
    assert_int_equal(sim_device(sim)->ops->resize(sim_device(sim), SIZE * 2), k < 5 ? WODAN_EIO : 0);
    sim_close(sim);
  }
}

struct hooked {
  uint64_t calls, refuse_sector;
  size_t window;
};

static int before(void *context, struct sim *sim, const struct sim_operation *op) {
  struct hooked *h = context;
  h->calls++;
  h->window = sim_window_elements(sim);
  bool touches = op->kind == SIM_WRITE || op->kind == SIM_DISCARD;
  return touches && op->offset <= h->refuse_sector * S && h->refuse_sector * S < op->offset + op->size ? WODAN_EIO : 0;
}

static void test_sim__hook_sees_each_mutation_first_and_may_refuse(void **state) {
  (void)state;
  struct hooked h = {.refuse_sector = 5};
  struct sim_options o = {.before = before, .context = &h};
  struct sim *sim = make(&o);
  assert_int_equal(put(sim, 1, 1, 1), 0);
  assert_int_equal(h.window, 0);
  assert_int_equal(put(sim, 2, 1, 1), 0);
  assert_int_equal(h.window, 1);
  assert_int_equal(put(sim, 4, 2, 1), WODAN_EIO);
  assert_int_equal(get(sim, 4), 0);
  assert_int_equal(discard(sim, 5, 1), WODAN_EIO);
  assert_int_equal(sim_violations(sim), 2);
  assert_int_equal(flush(sim), 0);
  assert_int_equal(h.window, 2);
  assert_int_equal(h.calls, 5);
  sim_close(sim);
}

static void test_sim__resize_keeps_content_and_window(void **state) {
  (void)state;
  struct sim *sim = make(NULL);
  struct wodan_device *d = sim_device(sim);
  put(sim, 1, 1, 1);
  flush(sim);
  put(sim, 2, 1, 2);
  assert_int_equal(d->ops->resize(d, 2 * SIZE), 0);
  assert_int_equal(d->geometry.size, 2 * SIZE);
  assert_int_equal(get(sim, 1), 1);
  assert_int_equal(get(sim, 2), 2);
  assert_int_equal(get(sim, SECTORS), 0);
  assert_int_equal(medium_at(sim, 2), 0);
  assert_int_equal(put(sim, SECTORS + 1, 1, 5), 0);
  assert_int_equal(d->ops->resize(d, SIZE / 2), 0);
  assert_int_equal(medium_at(sim, 2), 2);
  assert_int_equal(sim_window_elements(sim), 0);
  assert_int_equal(d->ops->resize(d, SIZE / 2 + 1), WODAN_EINVAL);
  assert_int_equal(d->ops->resize(d, 0), WODAN_EINVAL);
  assert_int_equal(sim_violations(sim), 0);
  sim_close(sim);
}

static void test_sim__clone_has_all_and_lives_apart(void **state) {
  (void)state;
  struct sim_options o = {.log = true, .keep_older = true};
  struct sim *sim = make(&o), *copy;
  put(sim, 1, 1, 1);
  flush(sim);
  put(sim, 2, 2, 2);
  barrier(sim);
  put(sim, 3, 1, 3);
  fault(sim, (struct sim_fault){.kind = SIM_READ_EIO, .offset = 9 * S, .size = S});
  assert_int_equal(sim_clone(sim, &copy), 0);
  assert_memory_equal(sim_content(copy), sim_content(sim), SIZE);
  assert_memory_equal(sim_medium(copy), sim_medium(sim), SIZE);
  assert_int_equal(sim_window_segments(copy), 2);
  assert_int_equal(sim_mutations(copy), sim_mutations(sim));
  assert_int_equal(get(copy, 9), WODAN_EIO);
  put(copy, 1, 1, 8);
  assert_int_equal(sim_window_segments(copy), 2); /* still in the second */
  flush(copy);
  assert_int_equal(medium_at(copy, 3), 3);
  assert_int_equal(medium_at(sim, 3), 0);
  assert_int_equal(get(sim, 1), 1);
  sim_close(sim);
  assert_int_equal(get(copy, 1), 8);
  sim_close(copy);
}

/* ---- discards -------------------------------------------------------------------------------------------------- */

static void test_sim__discard_outcomes(void **state) {
  (void)state;
  for (uint8_t outcome = 0; outcome < SIM_DISCARD_CHOICES; outcome++) {
    struct sim_options o = {.discard = outcome, .keep_older = true, .seed = 5};
    struct sim *sim = make(&o);
    put(sim, 4, 1, 1);
    flush(sim);
    put(sim, 4, 1, 2);
    flush(sim);
    assert_int_equal(discard(sim, 4, 1), 0);
    uint8_t first[S], second[S], same[S];
    for (int durable = 0; durable < 2; durable++) {
      assert_int_equal(io(sim, WODAN_IO_READ, 4, 1, first), 0);
      assert_int_equal(io(sim, WODAN_IO_READ, 4, 1, second), 0);
      static const int expect[] = {2, 0, 0xff, 1};
      if (outcome <= SIM_DISCARD_OLDER) {
        memset(same, expect[outcome], S);
        assert_memory_equal(first, same, S);
      }
      assert_int_equal(memcmp(first, second, S) != 0, outcome == SIM_DISCARD_RANDOM);
      if (outcome == SIM_DISCARD_GARBAGE) assert_memory_not_equal(first, same, S);
      flush(sim);
    }
    put(sim, 4, 1, 6);
    assert_int_equal(get(sim, 4), 6);
    assert_int_equal(get(sim, 4), 6);
    sim_close(sim);
  }
}

/* What a device held before it got an image is served as older content, unless it is started anew: then one input of a fuzz
 * target would tell the next something. */
static void test_sim__a_load_remembers_and_a_restart_does_not(void **state) {
  (void)state;
  struct sim_options o = {.discard = SIM_DISCARD_OLDER, .keep_older = true};
  for (int anew = 0; anew < 2; anew++) {
    struct sim *sim = make(&o);
    struct sim_image image;
    put(sim, 4, 1, 1);
    flush(sim);
    assert_int_equal(sim_image_init(&image, sim), 0);
    put(sim, 4, 1, 2);
    flush(sim);
    put(sim, 5, 1, 7); /* in the window: gone */
    assert_int_equal(anew ? sim_restart(sim, &image) : sim_load(sim, &image), 0);
    assert_int_equal(get(sim, 4), 1);
    assert_int_equal(get(sim, 5), 0);
    assert_int_equal(sim_mutations(sim), 0);
    assert_int_equal(discard(sim, 4, 1), 0);
    assert_int_equal(get(sim, 4), anew ? 1 : 2);
    image.size -= S;
    assert_int_equal(anew ? sim_restart(sim, &image) : sim_load(sim, &image), WODAN_EINVAL);
    sim_image_release(&image);
    sim_close(sim);
  }
}

static void test_sim__no_discard_device_answers_not_supported(void **state) {
  (void)state;
  struct sim_options o = {.discard_granularity = UINT32_MAX, .discard = SIM_DISCARD_ZERO};
  struct sim *sim = make(&o);
  assert_int_equal(sim_device(sim)->geometry.discard_granularity, 0);
  put(sim, 4, 1, 1);
  assert_int_equal(discard(sim, 4, 1), WODAN_ENOTSUP);
  assert_int_equal(get(sim, 4), 1);
  sim_close(sim);
}

/* ---- faults ---------------------------------------------------------------------------------------------------- */

static void test_sim__read_eio_for_ever_once_and_kth(void **state) {
  (void)state;
  struct sim *sim = make(NULL);
  put(sim, 1, 3, 7);
  fault(sim, (struct sim_fault){.kind = SIM_READ_EIO, .offset = 2 * S, .size = S});
  for (int i = 0; i < 3; i++) assert_int_equal(get(sim, 2), WODAN_EIO);
  assert_int_equal(get(sim, 1), 7);
  uint8_t three[3 * S];
  assert_int_equal(io(sim, WODAN_IO_READ, 1, 3, three), WODAN_EIO);
  assert_int_equal(three[0], 0xee);
  sim_faults_clear(sim);
  assert_int_equal(get(sim, 2), 7); /* pristine below */
  fault(sim, (struct sim_fault){.kind = SIM_READ_EIO, .skip = 2, .times = 1});
  assert_int_equal(get(sim, 1), 7);
  assert_int_equal(get(sim, 2), 7);
  assert_int_equal(get(sim, 1), WODAN_EIO);
  assert_int_equal(get(sim, 1), 7);
  assert_int_equal(sim_faults_struck(sim), 5);
  sim_close(sim);
}

static void test_sim__read_overlays_change_only_what_is_read(void **state) {
  (void)state;
  struct sim_options o = {.keep_older = true};
  struct sim *sim = make(&o);
  put(sim, 5, 1, 1);
  put(sim, 9, 1, 9);
  flush(sim);
  put(sim, 5, 1, 2);
  flush(sim);
  static const struct {
    struct sim_fault fault;
    int expect; /* first byte; -1: not 2 */
  } table[] = {
      {{.kind = SIM_READ_FLIP, .argument = 5 * S * 8 + 7}, 2 | 0x80},
      {{.kind = SIM_READ_FLIP, .argument = 5 * S * 8 + 1}, 0},
      {{.kind = SIM_READ_FLIP, .argument = 5 * S * 8 + 8}, 2},
      {{.kind = SIM_READ_FLIP, .argument = 6 * S * 8}, 2},
      {{.kind = SIM_READ_ZERO, .offset = 5 * S, .size = S}, 0},
      {{.kind = SIM_READ_ZERO, .offset = 5 * S + 1, .size = S}, 2},
      {{.kind = SIM_READ_GARBAGE, .offset = 5 * S, .size = S}, -1},
      {{.kind = SIM_READ_STALE, .offset = 5 * S, .size = S}, 1},
      {{.kind = SIM_READ_MISDIRECTED, .offset = 5 * S, .size = S, .argument = 9 * S}, 9},
      {{.kind = SIM_READ_MISDIRECTED, .argument = 9 * S}, 9},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    fault(sim, table[i].fault);
    int got = get(sim, 5), again = get(sim, 5);
    if (table[i].expect >= 0)
      assert_int_equal(got, table[i].expect);
    else
      assert_int_not_equal(got, 2);
    assert_int_equal(got, again);
    assert_int_equal(sim_content(sim)[5 * S], 2);
    sim_faults_clear(sim);
    assert_int_equal(get(sim, 5), 2);
  }
  sim_close(sim);
}

static void test_sim__read_fault_heals_when_written(void **state) {
  (void)state;
  struct sim *sim = make(NULL);
  fault(sim, (struct sim_fault){.kind = SIM_READ_EIO, .offset = 5 * S, .size = S, .until_written = true});
  fault(sim, (struct sim_fault){.kind = SIM_READ_EIO, .offset = 6 * S, .size = S});
  assert_int_equal(get(sim, 5), WODAN_EIO);
  put(sim, 4, 1, 1);
  assert_int_equal(get(sim, 5), WODAN_EIO);
  put(sim, 5, 2, 1);
  assert_int_equal(get(sim, 5), 1);
  assert_int_equal(get(sim, 6), WODAN_EIO);
  sim_close(sim);
}

static void test_sim__write_faults(void **state) {
  (void)state;
  struct sim *sim = make(NULL);
  fault(sim, (struct sim_fault){.kind = SIM_WRITE_EIO, .skip = 1, .times = 1});
  assert_int_equal(put(sim, 1, 1, 1), 0);
  assert_int_equal(put(sim, 2, 1, 2), WODAN_EIO);
  assert_int_equal(put(sim, 3, 1, 3), 0);
  assert_int_equal(get(sim, 2), 0);
  sim_faults_clear(sim);
  fault(sim, (struct sim_fault){.kind = SIM_WRITE_EIO, .argument = 2 * S}); /* short, for ever */
  assert_int_equal(put(sim, 10, 4, 4), WODAN_EIO);
  assert_int_equal(get(sim, 11), 4);
  assert_int_equal(get(sim, 12), 0);
  assert_int_equal(put(sim, 20, 1, 4), WODAN_EIO);
  sim_faults_clear(sim);
  fault(sim, (struct sim_fault){.kind = SIM_WRITE_LOST, .times = 1});
  assert_int_equal(put(sim, 30, 1, 5), 0);
  assert_int_equal(get(sim, 30), 0);
  fault(sim, (struct sim_fault){.kind = SIM_WRITE_LOST, .times = 1, .argument = 1});
  assert_int_equal(put(sim, 31, 1, 5), 0);
  assert_int_equal(get(sim, 31), 5);
  fault(sim, (struct sim_fault){.kind = SIM_WRITE_MISDIRECTED, .times = 1, .argument = 40 * S});
  assert_int_equal(put(sim, 35, 1, 6), 0);
  assert_int_equal(get(sim, 35), 0);
  assert_int_equal(get(sim, 40), 6);
  assert_int_equal(flush(sim), 0);
  assert_int_equal(medium_at(sim, 30), 0);
  assert_int_equal(medium_at(sim, 31), 0);
  assert_int_equal(medium_at(sim, 40), 6);
  assert_int_equal(medium_at(sim, 11), 4);
  sim_close(sim);
}

static void test_sim__flush_fails_with_each_fate_of_the_window(void **state) {
  (void)state;
  for (uint64_t fate = SIM_WINDOW_KEPT; fate <= SIM_WINDOW_DROPPED; fate++) {
    struct sim *sim = make(NULL);
    put(sim, 1, 1, 1);
    flush(sim);
    fault(sim, (struct sim_fault){.kind = SIM_FLUSH_EIO, .times = 1, .argument = fate});
    put(sim, 1, 1, 2);
    assert_int_equal(flush(sim), WODAN_EIO);
    assert_int_equal(get(sim, 1), fate == SIM_WINDOW_DROPPED ? 1 : 2);
    assert_int_equal(medium_at(sim, 1), 1);
    put(sim, 2, 1, 3);
    assert_int_equal(flush(sim), 0);
    assert_int_equal(medium_at(sim, 1), fate == SIM_WINDOW_KEPT ? 2 : 1);
    assert_int_equal(medium_at(sim, 2), 3);
    sim_close(sim);
  }
}

static void test_sim__barrier_discard_and_single_lying_flush(void **state) {
  (void)state;
  struct sim_options o = {.discard = SIM_DISCARD_ZERO};
  struct sim *sim = make(&o);
  fault(sim, (struct sim_fault){.kind = SIM_BARRIER_EIO, .skip = 1});
  fault(sim, (struct sim_fault){.kind = SIM_DISCARD_EIO, .times = 1});
  fault(sim, (struct sim_fault){.kind = SIM_DISCARD_EIO, .skip = 0, .times = 1, .argument = 1});
  fault(sim, (struct sim_fault){.kind = SIM_FLUSH_LIE, .times = 1});
  put(sim, 1, 1, 1);
  assert_int_equal(barrier(sim), 0);
  put(sim, 2, 1, 2);
  assert_int_equal(barrier(sim), WODAN_EIO);
  put(sim, 3, 1, 3);
  assert_int_equal(sim_window_segments(sim), 2);
  assert_int_equal(discard(sim, 1, 1), WODAN_EIO);
  assert_int_equal(discard(sim, 1, 1), WODAN_ENOTSUP);
  assert_int_equal(get(sim, 1), 1);
  assert_int_equal(discard(sim, 1, 1), 0);
  assert_int_equal(get(sim, 1), 0);
  assert_int_equal(flush(sim), 0);
  assert_int_equal(medium_at(sim, 3), 0);
  assert_int_equal(flush(sim), 0);
  assert_int_equal(medium_at(sim, 3), 3);
  sim_close(sim);
}

static void test_sim__quota_at_write_and_at_flush(void **state) {
  (void)state;
  struct sim_options o = {.quota = 3, .discard = SIM_DISCARD_ZERO};
  struct sim *sim = make(&o);
  assert_int_equal(put(sim, 1, 2, 1), 0);
  assert_int_equal(put(sim, 1, 2, 2), 0); /* again the same sectors */
  assert_int_equal(put(sim, 4, 2, 1), WODAN_ENOSPC);
  assert_int_equal(get(sim, 4), 0);
  assert_int_equal(put(sim, 4, 1, 1), 0);
  assert_int_equal(discard(sim, 1, 2), 0);
  assert_int_equal(put(sim, 1, 1, 1), 0); /* given back, taken again */
  assert_int_equal(put(sim, 8, 1, 1), 0);
  assert_int_equal(put(sim, 9, 1, 1), WODAN_ENOSPC);
  assert_int_equal(flush(sim), 0);
  sim_close(sim);
  o.quota_at_flush = true;
  sim = make(&o);
  assert_int_equal(put(sim, 1, 3, 1), 0);
  assert_int_equal(flush(sim), 0);
  assert_int_equal(put(sim, 5, 1, 2), 0);
  assert_int_equal(flush(sim), WODAN_ENOSPC);
  assert_int_equal(get(sim, 5), 2);
  assert_int_equal(medium_at(sim, 5), 0);
  assert_int_equal(flush(sim), 0);
  assert_int_equal(medium_at(sim, 5), 0);
  sim_close(sim);
}

static void test_sim__poke_rots_medium_and_content(void **state) {
  (void)state;
  struct sim *sim = make(NULL);
  uint8_t byte = 0x55;
  sim_poke(sim, 7 * S, &byte, 1);
  assert_int_equal(get(sim, 7), 0x55);
  assert_int_equal(medium_at(sim, 7), 0x55);
  assert_int_equal(sim_mutations(sim), 0);
  sim_close(sim);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sim__reads_see_cache_and_medium_changes_at_flush),
      cmocka_unit_test(test_sim__create_refuses_bad_geometry),
      cmocka_unit_test(test_sim__violations_are_counted_and_refused),
      cmocka_unit_test(test_sim__log_and_counters_tell_each_operation),
      cmocka_unit_test(test_sim__barrier_modes_cut_segments_as_told),
      cmocka_unit_test(test_sim__lying_flush_keeps_window_open),
      cmocka_unit_test(test_sim__cut_stops_the_kth_mutation_and_everything_after),
      cmocka_unit_test(test_sim__hook_sees_each_mutation_first_and_may_refuse),
      cmocka_unit_test(test_sim__resize_keeps_content_and_window),
      cmocka_unit_test(test_sim__clone_has_all_and_lives_apart),
      cmocka_unit_test(test_sim__discard_outcomes),
      cmocka_unit_test(test_sim__a_load_remembers_and_a_restart_does_not),
      cmocka_unit_test(test_sim__no_discard_device_answers_not_supported),
      cmocka_unit_test(test_sim__read_eio_for_ever_once_and_kth),
      cmocka_unit_test(test_sim__read_overlays_change_only_what_is_read),
      cmocka_unit_test(test_sim__read_fault_heals_when_written),
      cmocka_unit_test(test_sim__write_faults),
      cmocka_unit_test(test_sim__flush_fails_with_each_fate_of_the_window),
      cmocka_unit_test(test_sim__barrier_discard_and_single_lying_flush),
      cmocka_unit_test(test_sim__quota_at_write_and_at_flush),
      cmocka_unit_test(test_sim__poke_rots_medium_and_content),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
