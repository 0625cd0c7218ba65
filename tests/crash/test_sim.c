/* The public simulated device: <wodan/sim.h> on its own terms, without a database where none is needed. The device below is
 * tested in tests/unit/test_dev_sim*.c. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <wodan/sim.h>

enum { SECTOR = 64, SECTORS = 16 };

static const struct wodan_sim_options SMALL = {
    .device_size = SECTOR * SECTORS, .sector = SECTOR, .record = 1, .seed = 5};

static struct wodan_sim *make(const struct wodan_sim_options *options, struct wodan_device **device) {
  struct wodan_sim *sim;
  assert_int_equal(wodan_sim_create(options, &sim), 0);
  assert_int_equal(wodan_sim_plug(sim, device), 0);
  return sim;
}

static int io(struct wodan_device *device, uint8_t kind, unsigned sector, uint8_t *data) {
  struct wodan_io request = {.kind = kind,
                             .offset = (uint64_t)sector * SECTOR,
                             .data = kind == WODAN_IO_DISCARD ? NULL : data,
                             .size = SECTOR};
  return device->ops->transfer(device, &request, 1);
}

static int write_letter(struct wodan_device *device, unsigned sector, char letter) {
  uint8_t data[SECTOR];
  memset(data, letter, sizeof data);
  return io(device, WODAN_IO_WRITE, sector, data);
}

static char read_letter(struct wodan_device *device, unsigned sector) {
  uint8_t data[SECTOR];
  return io(device, WODAN_IO_READ, sector, data) == 0 ? (char)data[0] : '!';
}

static int flush(struct wodan_device *device) { return device->ops->flush(device); }

static void test_sim__options_are_checked(void **state) {
  (void)state;
  struct wodan_sim *sim;
  assert_int_equal(wodan_sim_create(NULL, &sim), WODAN_EINVAL);
  assert_int_equal(wodan_sim_create(&(struct wodan_sim_options){.device_size = 100}, &sim), WODAN_EINVAL);
  assert_int_equal(wodan_sim_create(&(struct wodan_sim_options){.device_size = 4096, .sector = 100}, &sim),
                   WODAN_EINVAL);
  assert_int_equal(wodan_sim_create(&(struct wodan_sim_options){.device_size = 4096, .flush = 9}, &sim), WODAN_EINVAL);
  assert_null(sim);
  wodan_sim_free(NULL);
}

static void test_sim__the_window_stays_when_the_program_dies_and_goes_when_the_power_fails(void **state) {
  (void)state;
  struct wodan_device *device;
  struct wodan_sim *sim = make(&SMALL, &device);
  assert_int_equal(write_letter(device, 1, 'a'), 0);
  assert_int_equal(flush(device), 0);
  assert_int_equal(write_letter(device, 1, 'b'), 0);
  wodan_sim_unplug(device);
  assert_int_equal(read_letter(device, 1), '!');
  assert_int_equal(wodan_device_close(device), 0);
  assert_int_equal(wodan_sim_plug(sim, &device), 0);
  assert_int_equal(read_letter(device, 1), 'b');
  assert_int_equal(wodan_sim_medium(sim)[SECTOR], 'a');
  assert_int_equal(wodan_sim_power_cut(sim, "xyz"), WODAN_EINVAL);
  assert_int_equal(wodan_sim_power_cut(sim, NULL), 0);
  assert_int_equal(read_letter(device, 1), 'a');
  assert_int_equal(write_letter(device, 1, 'c'), 0);
  assert_int_equal(wodan_sim_power_cut(sim, "0000000001"), 0); /* segment 0, its only sector new */
  assert_int_equal(read_letter(device, 1), 'c');
  assert_int_equal(wodan_sim_poke(sim, SECTOR * SECTORS, "x", 1), WODAN_EINVAL);
  assert_int_equal(wodan_sim_poke(sim, SECTOR, "x", 1), 0);
  assert_int_equal(read_letter(device, 1), 'x');
  assert_int_equal(wodan_sim_size(sim), SECTOR * SECTORS);
  wodan_device_close(device);
  wodan_sim_free(sim);
}

static void test_sim__operations_are_recorded_and_counted(void **state) {
  (void)state;
  struct wodan_device *device;
  struct wodan_sim *sim = make(&SMALL, &device);
  write_letter(device, 3, 'a');
  read_letter(device, 3);
  device->ops->barrier(device);
  io(device, WODAN_IO_DISCARD, 4, NULL);
  flush(device);
  size_t count;
  const struct wodan_sim_operation *log = wodan_sim_operations(sim, &count);
  static const uint8_t kinds[] = {WODAN_SIM_WRITE, WODAN_SIM_READ, WODAN_SIM_BARRIER, WODAN_SIM_DISCARD,
                                  WODAN_SIM_FLUSH};
  assert_int_equal(count, 5);
  for (size_t i = 0; i < count; i++) assert_int_equal(log[i].kind, kinds[i]);
  assert_int_equal(log[0].offset, 3 * SECTOR);
  assert_int_equal(log[0].size, SECTOR);
  assert_int_equal(log[4].mutation, 3);
  for (int kind = 0; kind < WODAN_SIM_KINDS; kind++)
    assert_int_equal(wodan_sim_count(sim, (enum wodan_sim_kind)kind), kind != WODAN_SIM_RESIZE);
  assert_int_equal(wodan_sim_violations(sim), 0);
  struct wodan_io beyond = {.kind = WODAN_IO_READ, .offset = SECTOR * SECTORS, .size = SECTOR};
  assert_int_not_equal(device->ops->transfer(device, &beyond, 1), 0);
  assert_int_equal(wodan_sim_violations(sim), 1);
  wodan_device_close(device);
  wodan_sim_free(sim);
}

static void test_sim__the_nth_operation_fails_once_or_for_ever(void **state) {
  (void)state;
  struct wodan_device *device;
  struct wodan_sim *sim = make(&SMALL, &device);
  struct wodan_sim_fault fault = {.kind = WODAN_SIM_WRITE_EIO, .skip = 1, .times = 1};
  assert_int_equal(wodan_sim_fault(sim, &(struct wodan_sim_fault){.kind = 99}), WODAN_EINVAL);
  assert_int_equal(wodan_sim_fault(sim, &fault), 0);
  assert_int_equal(write_letter(device, 0, 'a'), 0);
  assert_int_equal(write_letter(device, 0, 'b'), WODAN_EIO);
  assert_int_equal(write_letter(device, 0, 'c'), 0);
  assert_int_equal(wodan_sim_faults_struck(sim), 1);
  fault = (struct wodan_sim_fault){.kind = WODAN_SIM_FLUSH_EIO, .skip = 1};
  assert_int_equal(wodan_sim_fault(sim, &fault), 0);
  assert_int_equal(flush(device), 0);
  for (int i = 0; i < 3; i++) assert_int_equal(flush(device), WODAN_EIO);
  wodan_sim_faults_clear(sim);
  assert_int_equal(flush(device), 0);
  wodan_sim_cut_at(sim, 9); /* three writes and five flushes so far */
  assert_int_equal(write_letter(device, 0, 'd'), 0);
  assert_int_equal(write_letter(device, 0, 'e'), WODAN_EIO);
  assert_int_equal(read_letter(device, 0), '!');
  wodan_device_close(device);
  wodan_sim_free(sim);
}

/* ---- states ------------------------------------------------------------------------------------------------------ */

struct seen {
  unsigned visits, both, neither;
  const char *stop_at;
};

static int look(void *context, struct wodan_sim *crashed, const char *choice) {
  struct seen *seen = context;
  const uint8_t *medium = wodan_sim_medium(crashed);
  char first = (char)medium[0], second = (char)medium[SECTOR];
  seen->visits++;
  seen->both += first == 'a' && second == 'b';
  seen->neither += first == 0 && second == 0;
  return seen->stop_at && strcmp(choice, seen->stop_at) == 0 ? 7 : 0;
}

static void test_sim__states_are_all_and_each_once(void **state) {
  (void)state;
  struct wodan_device *device;
  struct wodan_sim *sim = make(&SMALL, &device);
  struct wodan_sim_limits subsets = {.families = WODAN_SIM_SECTORS};
  struct wodan_sim_counts counts = {0};
  struct seen seen = {0};
  write_letter(device, 0, 'a');
  write_letter(device, 1, 'b');
  assert_int_equal(wodan_sim_states(sim, &subsets, look, &seen, &counts), 0);
  assert_int_equal(seen.visits, 4);
  assert_int_equal(seen.both, 1);
  assert_int_equal(seen.neither, 1);
  assert_int_equal(counts.distinct, 4);
  assert_int_equal(counts.windows, 1);
  /* The window is as it was; a barrier allows the second only behind the whole first. */
  assert_int_equal(read_letter(device, 1), 'b');
  device->ops->barrier(device);
  write_letter(device, 2, 'c');
  seen = (struct seen){0};
  assert_int_equal(wodan_sim_states(sim, &subsets, look, &seen, NULL), 0);
  assert_int_equal(seen.visits, 5);
  assert_int_equal(seen.both, 2);
  /* Old, new, zero (which is old here), garbage, unreadable: 4 * 4 images of the first segment, 3 more of the second. */
  seen = (struct seen){0};
  assert_int_equal(wodan_sim_states(sim, NULL, look, &seen, NULL), 0);
  assert_int_equal(seen.visits, 19);
  seen = (struct seen){.stop_at = "000000000001"};
  assert_int_equal(wodan_sim_states(sim, &subsets, look, &seen, NULL), 7);
  wodan_device_close(device);
  wodan_sim_free(sim);
}

static void test_sim__an_empty_window_has_one_state(void **state) {
  (void)state;
  struct wodan_device *device;
  struct wodan_sim *sim = make(&SMALL, &device);
  struct seen seen = {0};
  struct wodan_sim_counts counts = {0};
  assert_int_equal(wodan_sim_states(sim, NULL, look, &seen, &counts), 0);
  assert_int_equal(seen.visits, 1);
  assert_int_equal(counts.states, 1);
  wodan_device_close(device);
  wodan_sim_free(sim);
}

static void test_sim__what_is_left_out_is_told_and_sampled(void **state) {
  (void)state;
  struct wodan_device *device;
  struct wodan_sim *sim = make(&SMALL, &device);
  struct wodan_sim_limits limits = {.units_max = 3, .sectors_max = 3, .contents_max = 3, .samples = 50};
  struct wodan_sim_counts counts = {0};
  struct seen seen = {0};
  for (unsigned i = 0; i < 5; i++) write_letter(device, i, (char)('a' + i));
  assert_int_equal(wodan_sim_states(sim, &limits, look, &seen, &counts), 0);
  assert_int_equal(counts.families, 1);
  assert_int_equal(counts.sampled, 1);
  assert_in_range(counts.states, 6 + 10 + 50, 6 + 10 + 50);
  assert_true(seen.visits == counts.distinct && seen.visits > 16);
  wodan_device_close(device);
  wodan_sim_free(sim);
}

/* ---- explore: a log of two sectors whose header names how many letters there are ---------------------------------- */

struct log {
  int written; /* acknowledged */
  int barrier; /* 1: between letter and header */
  int broken;  /* run answers it */
  unsigned checks;
};

static int run_log(void *context, struct wodan_sim *sim) {
  struct log *log = context;
  struct wodan_device *device;
  int status = wodan_sim_plug(sim, &device);
  log->written = 0;
  for (int i = 1; i <= 3 && status == 0; i++) {
    status = write_letter(device, (unsigned)i, 'x');
    if (status == 0 && log->barrier) status = device->ops->barrier(device);
    if (status == 0) status = write_letter(device, 0, (char)i);
    if (status == 0) status = flush(device);
    if (status == 0) log->written = i;
  }
  wodan_device_close(device);
  return status ? status : log->broken;
}

static int check_log(void *context, struct wodan_sim *crashed) {
  struct log *log = context;
  struct wodan_device *device;
  int right = wodan_sim_plug(crashed, &device) == 0;
  char header = read_letter(device, 0);
  log->checks++;
  if (header == '!') header = 0; /* unreadable: a real log would have two */
  if (header > 3) header = 0;    /* garbage: would have a checksum */
  for (int i = 1; i <= header; i++) right &= read_letter(device, (unsigned)i) == 'x';
  write_letter(device, 5, 'y'); /* the state is ours to write on */
  wodan_device_close(device);
  return !right;
}

static const struct wodan_sim_explore_options EXPLORE = {.device = {.device_size = SECTOR * SECTORS, .sector = SECTOR},
                                                         .limits = {.families = WODAN_SIM_SECTORS}};

static struct wodan_sim_workload log_workload(struct log *log) {
  return (struct wodan_sim_workload){.context = log, .run = run_log, .check = check_log};
}

static void test_sim__explore_visits_every_window(void **state) {
  (void)state;
  struct log log = {.barrier = 1};
  struct wodan_sim_workload workload = log_workload(&log);
  struct wodan_sim_explore_report report;
  assert_int_equal(wodan_sim_explore(&workload, &EXPLORE, &report), 0);
  assert_int_equal(report.counts.windows, 4);   /* three flushes and the end */
  assert_int_equal(report.counts.distinct, 10); /* neither, letter, both; three times, and what is there at last */
  assert_int_equal(log.checks, 10);
  assert_int_equal(report.violations, 0);
}

static void test_sim__explore_finds_a_missing_barrier_and_replays_it(void **state) {
  (void)state;
  struct log log = {.barrier = 0};
  struct wodan_sim_workload workload = log_workload(&log);
  struct wodan_sim_explore_options options = EXPLORE;
  struct wodan_sim_explore_report report, again;
  assert_int_equal(wodan_sim_explore(&workload, &options, &report), WODAN_DONE);
  assert_int_equal(report.violations, 1);
  assert_string_equal(report.replay, "0:000000000001"); /* the header without its letter */
  options.replay = report.replay;
  assert_int_equal(wodan_sim_explore(&workload, &options, &again), WODAN_DONE);
  assert_int_equal(again.counts.states, 1);
  assert_string_equal(again.replay, report.replay);
  log.barrier = 1;
  assert_int_equal(wodan_sim_explore(&workload, &options, &again), 0);
  static const char *const nowhere[] = {"", "0", "x:00", "9:0000000000", "0:zz"};
  for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
    options.replay = nowhere[i];
    assert_int_equal(wodan_sim_explore(&workload, &options, &again), WODAN_EINVAL);
  }
}

static void test_sim__explore_passes_on_what_the_workload_answers(void **state) {
  (void)state;
  struct log log = {.barrier = 1, .broken = WODAN_ENOSPC};
  struct wodan_sim_workload workload = log_workload(&log);
  struct wodan_sim_explore_options options = EXPLORE;
  struct wodan_sim_explore_report report;
  assert_int_equal(wodan_sim_explore(&workload, &options, &report), WODAN_ENOSPC);
  assert_int_equal(report.status, WODAN_ENOSPC);
  options.device.device_size = 1;
  assert_int_equal(wodan_sim_explore(&workload, &options, &report), WODAN_EINVAL);
  workload.check = NULL;
  assert_int_equal(wodan_sim_explore(&workload, &EXPLORE, &report), WODAN_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sim__options_are_checked),
      cmocka_unit_test(test_sim__the_window_stays_when_the_program_dies_and_goes_when_the_power_fails),
      cmocka_unit_test(test_sim__operations_are_recorded_and_counted),
      cmocka_unit_test(test_sim__the_nth_operation_fails_once_or_for_ever),
      cmocka_unit_test(test_sim__states_are_all_and_each_once),
      cmocka_unit_test(test_sim__an_empty_window_has_one_state),
      cmocka_unit_test(test_sim__what_is_left_out_is_told_and_sampled),
      cmocka_unit_test(test_sim__explore_visits_every_window),
      cmocka_unit_test(test_sim__explore_finds_a_missing_barrier_and_replays_it),
      cmocka_unit_test(test_sim__explore_passes_on_what_the_workload_answers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
