/* Discards on real devices: an image that is a file takes less space on its host, by the host's own count of blocks; on a loop
 * device they reach the file below; on a device of 1 MiB granularity only whole units go. Superblocks and ring stay. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <wodan/wodan.h>
#include "dev/dev_sim.h"
#include "crash/sim_plug.h"
#include "support/loop_device.h"

enum { MIB = 1 << 20, SIZE = 32 * MIB, RECORDS = 60000, VALUE = 200, KEPT = 100 };

static uint64_t stored(const char *path) {
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  return (uint64_t)st.st_blocks * 512;
}

static void put(struct wodan_db *db, unsigned n, char fill) {
  char key[16], value[VALUE];
  memset(value, fill, sizeof value);
  struct wodan_slice k = {key, (size_t)snprintf(key, sizeof key, "k%07u", n)}, v = {value, sizeof value};
  assert_int_equal(wodan_put(db, k, v, NULL), 0);
}

static void delete_number(struct wodan_db *db, unsigned n) {
  char key[16];
  struct wodan_slice k = {key, (size_t)snprintf(key, sizeof key, "k%07u", n)};
  assert_int_equal(wodan_delete(db, k, NULL), 0);
}

static void expect_kept(struct wodan_db *db, char fill) {
  for (unsigned n = 0; n < KEPT; n++) {
    char key[16], value[VALUE];
    size_t size;
    struct wodan_slice k = {key, (size_t)snprintf(key, sizeof key, "k%07u", n)};
    assert_int_equal(wodan_get(db, NULL, k, value, sizeof value, &size), 0);
    assert_int_equal(size, VALUE);
    assert_int_equal(value[VALUE - 1], fill);
  }
}

/* Filled, but for the first few emptied again, and everything settled: two checkpoints behind the last change. */
static void fill_and_empty(struct wodan_db *db) {
  for (unsigned n = 0; n < RECORDS; n++) put(db, n, 'a');
  assert_int_equal(wodan_checkpoint(db, NULL), 0);
  for (unsigned n = KEPT; n < RECORDS; n++) delete_number(db, n);
  assert_int_equal(wodan_compact(db, NULL, NULL, 0, NULL), 0);
  for (int i = 0; i < 3; i++) {
    put(db, 0, 'a');
    assert_int_equal(wodan_checkpoint(db, NULL), 0);
  }
}

static void check_device(struct wodan_device *device) {
  struct wodan_check_report report;
  struct wodan_error error;
  assert_int_equal(wodan_check(device, NULL, &report, &error), 0);
  assert_true(report.complete && report.damages == 0 && report.warnings == 0);
}

static void check_path(const char *path) {
  struct wodan_device *device;
  assert_int_equal(wodan_path_device(path, WODAN_PATH_READ_ONLY, 0, &device, NULL), 0);
  check_device(device);
  wodan_device_close(device);
}

/* `path` is what is opened, `host` the file that holds it. With a policy, and by a trim. */
static void shrink(const char *path, const char *host, uint32_t policy) {
  struct wodan_device *device;
  struct wodan_db *db;
  struct wodan_error error;
  struct wodan_format_options format = {.force = 1};
  struct wodan_open_options options = {.flags = WODAN_OPEN_INLINE, .discard = policy};
  assert_int_equal(wodan_path_device(path, WODAN_PATH_CREATE, SIZE, &device, NULL), 0);
  assert_int_equal(wodan_format(device, &format, &error), 0);
  uint32_t granularity = device->geometry.discard_granularity;
  wodan_device_close(device);
  uint64_t empty = stored(host);
  if (wodan_open_path(path, &options, &db, &error) < 0) fail_msg("%s", error.message);
  fill_and_empty(db);
  struct wodan_stats stats = {.size = sizeof stats};
  wodan_stats(db, &stats);
  uint64_t before = stored(host);
  if (granularity == 0 || stats.discard_refused) {
    print_message("skipped: %s does not discard\n", path);
    wodan_close(db, NULL);
    skip();
  }
  assert_int_equal(stats.device_discards > 0, policy == WODAN_DISCARD_EAGER);
  struct wodan_trim_report report = {.size = sizeof report};
  assert_int_equal(wodan_trim(db, NULL, &report), 0);
  assert_int_equal(report.refused, 0);
  uint64_t after = stored(host);
  print_message("%s: %llu KiB when made, %llu full and emptied, %llu behind the trim\n", host,
                (unsigned long long)empty / 1024, (unsigned long long)before / 1024, (unsigned long long)after / 1024);
  if (policy == WODAN_DISCARD_OFF) assert_true(before > RECORDS * (uint64_t)VALUE);
  if (policy == WODAN_DISCARD_EAGER) assert_true(before < RECORDS * (uint64_t)VALUE / 4);
  assert_true(after < empty + MIB); /* the ring, the superblocks, and what little is live */
  assert_true(after >= empty);      /* all of them */
  expect_kept(db, 'a');
  for (unsigned n = 0; n < RECORDS / 4; n++) put(db, n, 'b'); /* into the holes */
  assert_int_equal(wodan_close(db, &error), 0);
  check_path(path);
  if (wodan_open_path(path, &options, &db, &error) < 0) fail_msg("%s", error.message);
  expect_kept(db, 'b');
  assert_int_equal(wodan_close(db, &error), 0);
}

static void test_trim__a_file_takes_less_space(void **state) {
  (void)state;
  for (uint32_t policy = WODAN_DISCARD_OFF; policy <= WODAN_DISCARD_EAGER; policy++) {
    char path[] = "/tmp/wodan-trim-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    shrink(path, path, policy);
    unlink(path);
  }
}

static void test_trim__on_a_loop_device_it_reaches_the_file_below(void **state) {
  (void)state;
  struct loop_device loop;
  const char *reason = loop_device_make(&loop, SIZE);
  if (reason) {
    print_message("skipped: %s\n", reason);
    skip();
  }
  shrink(loop.device, loop.file, WODAN_DISCARD_EAGER);
  loop_device_drop(&loop);
}

/* A device of 1 MiB granularity, which the simulated one demands: any other discard is a violation. */
static void test_trim__only_whole_units_of_a_mebibyte_go(void **state) {
  (void)state;
  struct sim_options options = {.discard_granularity = MIB, .discard = SIM_DISCARD_GARBAGE, .log = true};
  struct wodan_open_options open = {.flags = WODAN_OPEN_INLINE, .discard = WODAN_DISCARD_EAGER};
  struct wodan_error error;
  struct sim *sim;
  struct wodan_db *db;
  assert_int_equal(sim_create(SIZE, 512, &options, &sim), 0);
  struct wodan_device *plug = sim_plug(sim);
  assert_int_equal(wodan_format(plug, NULL, &error), 0);
  if (wodan_open(plug, &open, &db, &error) < 0) fail_msg("%s", error.message);
  fill_and_empty(db);
  assert_int_equal(wodan_trim(db, NULL, NULL), 0);
  expect_kept(db, 'a');
  struct wodan_info info = {.size = sizeof info};
  wodan_info(db, &info);
  uint64_t ring_end = info.block_size + info.journal_size, copy = SIZE - info.block_size, count = 0;
  size_t operations;
  const struct sim_operation *log = sim_log(sim, &operations);
  for (size_t i = 0; i < operations; i++) {
    if (log[i].kind != SIM_DISCARD) continue;
    assert_true(log[i].offset % MIB == 0 && log[i].size % MIB == 0);
    assert_true(log[i].offset >= ring_end && log[i].offset + log[i].size <= copy);
    count++;
  }
  assert_true(count > 5);
  assert_int_equal(sim_violations(sim), 0);
  assert_int_equal(wodan_close(db, &error), 0);
  plug = sim_plug(sim);
  check_device(plug);
  wodan_device_close(plug);
  sim_close(sim);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_trim__a_file_takes_less_space),
      cmocka_unit_test(test_trim__on_a_loop_device_it_reaches_the_file_below),
      cmocka_unit_test(test_trim__only_whole_units_of_a_mebibyte_go),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
