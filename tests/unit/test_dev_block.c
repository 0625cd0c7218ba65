/* The block device backend, on a loop device this test makes over a temporary file and takes down again; no other
 * block device is ever opened. Skipped, with the reason, where none can be made. */
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

#include <wodan/device.h>
#include "support/loop_device.h"

enum { SIZE = 1 << 20 };

static struct loop_device made;

static int setup(void **state) {
  *state = (void *)(uintptr_t)loop_device_make(&made, SIZE);
  return 0;
}

static int teardown(void **state) {
  if (!*state) loop_device_drop(&made);
  return 0;
}

static void need_loop(void **state) {
  if (!*state) return;
  print_message("skipped: %s\n", (const char *)*state);
  skip();
}

static int io(struct wodan_device *d, uint8_t kind, uint64_t offset, void *data, size_t size) {
  struct wodan_io request = {.kind = kind, .offset = offset, .data = data, .size = size};
  return d->ops->transfer(d, &request, 1);
}

static void test_block__write_flush_reopen_read(void **state) {
  need_loop(state);
  struct wodan_device *d;
  struct wodan_error error;
  if (wodan_path_device(made.device, 0, 0, &d, &error)) fail_msg("%s", error.message);
  assert_int_equal(d->geometry.size, SIZE);
  assert_int_equal(d->geometry.sector, 512);
  assert_int_equal(d->geometry.ordering, WODAN_ORDER_BY_FLUSH);
  assert_int_equal(d->geometry.durable, 1);
  assert_null(d->ops->resize);
  uint8_t data[1024], back[1024];
  memset(data, 0x5a, sizeof data);
  assert_int_equal(io(d, WODAN_IO_WRITE, 512, data, sizeof data), 0);
  assert_int_equal(d->ops->flush(d), 0);
  assert_int_equal(wodan_device_close(d), 0);
  assert_int_equal(wodan_path_device(made.device, WODAN_PATH_READ_ONLY, 0, &d, NULL), 0);
  assert_int_equal(io(d, WODAN_IO_READ, 512, back, sizeof back), 0);
  assert_memory_equal(data, back, sizeof data);
  assert_int_equal(io(d, WODAN_IO_WRITE, 512, data, 512), WODAN_EIO);
  assert_int_equal(io(d, WODAN_IO_READ, SIZE, back, 512), WODAN_EIO);
  wodan_device_close(d);
}

static void test_block__second_opener_is_refused(void **state) {
  need_loop(state);
  struct wodan_device *a, *b;
  struct wodan_error error;
  assert_int_equal(wodan_path_device(made.device, 0, 0, &a, NULL), 0);
  assert_int_equal(wodan_path_device(made.device, 0, 0, &b, &error), WODAN_EBUSY);
  assert_non_null(strstr(error.message, made.device));
  assert_int_equal(wodan_path_device(made.device, WODAN_PATH_READ_ONLY, 0, &b, &error), WODAN_EBUSY);
  assert_null(b);
  wodan_device_close(a);
  assert_int_equal(wodan_path_device(made.device, WODAN_PATH_READ_ONLY, 0, &a, NULL), 0);
  assert_int_equal(wodan_path_device(made.device, WODAN_PATH_READ_ONLY, 0, &b, NULL), 0);
  wodan_device_close(a);
  wodan_device_close(b);
}

static void test_block__discard_reads_zeros_or_is_not_offered(void **state) {
  need_loop(state);
  struct wodan_device *d;
  assert_int_equal(wodan_path_device(made.device, 0, 0, &d, NULL), 0);
  uint32_t granularity = d->geometry.discard_granularity;
  if (granularity) {
    uint8_t *data = malloc(granularity);
    memset(data, 7, granularity);
    assert_int_equal(io(d, WODAN_IO_WRITE, granularity, data, granularity), 0);
    assert_int_equal(d->ops->flush(d), 0);
    int status = io(d, WODAN_IO_DISCARD, granularity, NULL, granularity);
    assert_true(status == 0 || status == WODAN_ENOTSUP);
    assert_int_equal(io(d, WODAN_IO_READ, granularity, data, granularity), 0);
    assert_int_equal(data[0], status == 0 ? 0 : 7); /* a loop device punches a hole */
    free(data);
  } else {
    print_message("the loop device offers no discard\n");
  }
  wodan_device_close(d);
}

static void test_block__create_keeps_the_size_and_says_when_too_small(void **state) {
  need_loop(state);
  struct wodan_device *d;
  struct wodan_error error;
  assert_int_equal(wodan_path_device(made.device, WODAN_PATH_CREATE, SIZE / 2, &d, NULL), 0);
  assert_int_equal(d->geometry.size, SIZE);
  wodan_device_close(d);
  assert_int_equal(wodan_path_device(made.device, WODAN_PATH_CREATE, 2 * SIZE, &d, &error), WODAN_ENOSPC);
  assert_non_null(strstr(error.message, "1048576"));
}

static void test_block__direct_io(void **state) {
  need_loop(state);
  struct wodan_device *d;
  struct wodan_error error;
  if (wodan_path_device(made.device, WODAN_PATH_DIRECT, 0, &d, &error)) fail_msg("%s", error.message);
  assert_true(d->geometry.memory_alignment >= 512);
  uint8_t *data = aligned_alloc(4096, 8192);
  memset(data, 4, 8192);
  assert_int_equal(io(d, WODAN_IO_WRITE, 4096, data, 8192), 0);
  memset(data, 0, 8192);
  assert_int_equal(io(d, WODAN_IO_READ, 8192, data, 4096), 0);
  assert_int_equal(data[4095], 4);
  free(data);
  wodan_device_close(d);
}

static void test_block__mounted_device_is_refused(void **state) {
  need_loop(state);
  char command[256], where[64] = "/tmp/wodan-mount-XXXXXX";
  if (!mkdtemp(where)) skip();
  snprintf(command, sizeof command, "mkfs.ext2 -q %s 2>/dev/null && mount -t ext2 %s %s 2>/dev/null", made.device,
           made.device, where);
  if (system(command)) {
    rmdir(where);
    print_message("skipped: no ext2 to mount on a loop device\n");
    skip();
  }
  struct wodan_device *d;
  struct wodan_error error;
  int status = wodan_path_device(made.device, 0, 0, &d, &error);
  snprintf(command, sizeof command, "umount %s", where);
  assert_int_equal(system(command), 0);
  rmdir(where);
  assert_int_equal(status, WODAN_EBUSY);
  assert_non_null(strstr(error.message, "mounted"));
}

#define BLOCK_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      BLOCK_TEST(test_block__write_flush_reopen_read),
      BLOCK_TEST(test_block__second_opener_is_refused),
      BLOCK_TEST(test_block__discard_reads_zeros_or_is_not_offered),
      BLOCK_TEST(test_block__create_keeps_the_size_and_says_when_too_small),
      BLOCK_TEST(test_block__direct_io),
      BLOCK_TEST(test_block__mounted_device_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
