/* Tests of the device with a pace that the measuring programs use: the time requests take, alone and together, and the counters.
 * Only lower bounds of time are asserted: a busy machine makes everything later, never earlier.
 * See: bench/paced_device.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "../../bench/paced_device.h"

enum {
  DEVICE = 1 << 20,
  PACE = 4 << 20,
  QUARTER = 1 << 18
}; /* the device's bytes, bytes a second; a sixteenth of it */

struct fixture {
  struct wodan_device *inner;
  struct paced_device paced;
  uint8_t *bytes;
};

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct fixture set_up(uint64_t bytes_per_second) {
  struct fixture f;
  assert_int_equal(wodan_memory_device(DEVICE, 512, &f.inner), 0);
  assert_int_equal(paced_device_init(&f.paced, f.inner, bytes_per_second), 0);
  f.bytes = test_malloc(DEVICE);
  memset(f.bytes, 7, DEVICE);
  return f;
}

static void tear_down(struct fixture *f) {
  test_free(f->bytes);
  assert_int_equal(f->paced.device.ops->close(&f->paced.device), 0); /* leaves the inner one open */
  paced_device_release(&f->paced);
  assert_int_equal(wodan_device_close(f->inner), 0);
}

static int transfer(struct fixture *f, enum wodan_io_kind kind, uint64_t offset, size_t size) {
  struct wodan_io io = {.kind = (uint8_t)kind, .offset = offset, .data = f->bytes, .size = size};
  return f->paced.device.ops->transfer(&f->paced.device, &io, 1);
}

static void test_paced_device__takes_the_time_of_its_bytes(void **state) {
  (void)state;
  struct fixture f = set_up(PACE);
  double start = seconds();
  assert_int_equal(transfer(&f, WODAN_IO_WRITE, 0, DEVICE), 0);
  assert_true(seconds() - start > 0.24); /* 1 MiB at 4 MiB/s */
  start = seconds();
  assert_int_equal(transfer(&f, WODAN_IO_READ, 0, QUARTER), 0);
  assert_true(seconds() - start > 0.06);
  paced_device_set_pace(&f.paced, 0);
  assert_int_equal(transfer(&f, WODAN_IO_READ, 0, DEVICE), 0);
  tear_down(&f);
}

static void test_paced_device__small_requests_add_up(void **state) {
  (void)state;
  enum { REQUESTS = 400, SECTOR = 512 };
  struct fixture f = set_up(PACE);
  double start = seconds();
  for (int i = 0; i < REQUESTS; i++) assert_int_equal(transfer(&f, WODAN_IO_WRITE, 0, SECTOR), 0);
  assert_int_equal(f.paced.device.ops->flush(&f.paced.device), 0);
  assert_true(seconds() - start > 0.048); /* 200 KiB: 48.8 ms, less the credit of 0.2 ms */
  tear_down(&f);
}

struct caller {
  struct fixture *f;
  uint64_t offset;
  pthread_t thread;
  int status;
};

static void *write_quarter(void *argument) {
  struct caller *caller = argument;
  caller->status = transfer(caller->f, WODAN_IO_WRITE, caller->offset, QUARTER);
  return NULL;
}

static void test_paced_device__callers_share_the_pace(void **state) {
  (void)state;
  enum { CALLERS = 4 };
  struct fixture f = set_up(PACE);
  struct caller callers[CALLERS]; /* each with a quarter of its own: a device need not order writes to one place */
  double start = seconds();
  for (uint64_t i = 0; i < CALLERS; i++) {
    callers[i] = (struct caller){.f = &f, .offset = i * QUARTER, .status = -1};
    assert_int_equal(pthread_create(&callers[i].thread, NULL, write_quarter, &callers[i]), 0);
  }
  for (int i = 0; i < CALLERS; i++) {
    pthread_join(callers[i].thread, NULL);
    assert_int_equal(callers[i].status, 0);
  }
  assert_true(seconds() - start > 0.24); /* as one caller with all of it */
  assert_int_equal(paced_device_counters(&f.paced).write_bytes, CALLERS * QUARTER);
  tear_down(&f);
}

static void test_paced_device__counts_and_passes_on(void **state) {
  (void)state;
  struct fixture f = set_up(0);
  assert_int_equal(f.paced.device.geometry.size, DEVICE);
  assert_int_equal(transfer(&f, WODAN_IO_WRITE, 512, 1024), 0);
  memset(f.bytes, 0, DEVICE);
  assert_int_equal(transfer(&f, WODAN_IO_READ, 1024, 512), 0);
  assert_int_equal(f.bytes[0], 7);
  assert_int_equal(f.bytes[511], 7);
  assert_int_equal(transfer(&f, WODAN_IO_DISCARD, 0, 2048), 0);
  assert_int_equal(transfer(&f, WODAN_IO_READ, DEVICE, 512), WODAN_EIO);
  assert_int_equal(f.paced.device.ops->barrier(&f.paced.device), 0);
  assert_int_equal(f.paced.device.ops->flush(&f.paced.device), 0);
  assert_int_equal(f.paced.device.ops->resize(&f.paced.device, 2 * DEVICE), 0);
  assert_int_equal(f.paced.device.geometry.size, 2 * DEVICE);
  struct paced_counters c = paced_device_counters(&f.paced);
  struct paced_counters expected = {.reads = 2,
                                    .read_bytes = 1024,
                                    .writes = 1,
                                    .write_bytes = 1024,
                                    .barriers = 1,
                                    .flushes = 1,
                                    .discards = 1,
                                    .discard_bytes = 2048};
  assert_memory_equal(&c, &expected, sizeof c);
  tear_down(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_paced_device__takes_the_time_of_its_bytes),
      cmocka_unit_test(test_paced_device__small_requests_add_up),
      cmocka_unit_test(test_paced_device__callers_share_the_pace),
      cmocka_unit_test(test_paced_device__counts_and_passes_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
