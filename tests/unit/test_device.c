/* The wrapper of devices: what it refuses, splits, counts and narrows; the memory device and the tracing device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dev/dev_sim.h"
#include "dev/dev_trace.h"
#include "dev/device.h"

enum { S = 512, SIZE = 64 * S };

static struct wodan_device *memory_device(void) {
  struct wodan_device *raw;
  assert_int_equal(wodan_memory_device(SIZE, S, &raw), 0);
  return raw;
}

static void test_device__init_refuses_each_bad_geometry(void **state) {
  (void)state;
  struct wodan_device *good = memory_device();
  struct device device;
  struct wodan_error error;
  assert_int_equal(device_init(&device, good, &error), 0);
  assert_int_equal(device_init(&device, NULL, &error), WODAN_EINVAL);
  struct wodan_geometry g = good->geometry;
  for (int i = 0; i < 14; i++) {
    struct wodan_device bad = *good;
    struct wodan_device_ops ops = *good->ops;
    bad.ops = &ops;
    switch (i) {
    case 0:
      bad.geometry.sector = 0;
      break;
    case 1:
      bad.geometry.sector = 32;
      break;
    case 2:
      bad.geometry.sector = 131072;
      break;
    case 3:
      bad.geometry.sector = 768;
      break;
    case 4:
      bad.geometry.size = 0;
      break;
    case 5:
      bad.geometry.size = g.size + 1;
      break;
    case 6:
      bad.geometry.memory_alignment = 3;
      break;
    case 7:
      bad.geometry.io_maximum = S - 1;
      break;
    case 8:
      bad.geometry.discard_granularity = S + 1;
      break;
    case 9:
      bad.geometry.ordering = 3;
      break;
    case 10:
      bad.geometry.durable = 2;
      break;
    case 11:
      ops.flush = NULL;
      break;
    case 12:
      ops.size = 8;
      break;
    default:
      bad.ops = NULL;
      break;
    }
    memset(&error, 0, sizeof error);
    assert_int_equal(device_init(&device, &bad, &error), WODAN_EINVAL);
    assert_int_equal(error.code, WODAN_EINVAL);
    assert_non_null(strstr(error.message, "cannot be used"));
  }
  wodan_device_close(good);
  assert_int_equal(wodan_device_close(NULL), 0);
}

static void test_device__requests_outside_or_unaligned_never_reach_the_device(void **state) {
  (void)state;
  struct sim_options o = {.memory_alignment = 64};
  struct sim *sim;
  assert_int_equal(sim_create(SIZE, S, &o, &sim), 0);
  struct device device;
  assert_int_equal(device_init(&device, sim_device(sim), NULL), 0);
  _Alignas(64) uint8_t data[2 * S];
  static const struct {
    uint64_t offset;
    size_t size, shift;
  } bad[] = {{1, S, 0},
             {0, S - 1, 0},
             {SIZE, S, 0},
             {SIZE - S, 2 * S, 0},
             {UINT64_MAX - S + 1, 2 * S, 0},
             {0, SIZE + S, 0},
             {0, SIZE_MAX - S + 1, 0},
             {0, S, 1}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct wodan_error error = {.code = 0};
    assert_int_equal(device_read(&device, bad[i].offset, data + bad[i].shift, bad[i].size, &error), WODAN_EINVAL);
    assert_non_null(strstr(error.message, "cannot read"));
    assert_int_equal(device_write(&device, bad[i].offset, data + bad[i].shift, bad[i].size, &error), WODAN_EINVAL);
    assert_non_null(strstr(error.message, "cannot write"));
  }
  assert_int_equal(device_read(&device, 0, NULL, S, NULL), WODAN_EINVAL);
  assert_int_equal(device_read(&device, 0, NULL, 0, NULL), 0);
  assert_int_equal(sim_violations(sim), 0);
  assert_int_equal(sim_count(sim, SIM_READ) + sim_count(sim, SIM_WRITE), 0);
  assert_int_equal(device.counters.reads + device.counters.writes, 0);
  sim_close(sim);
}

static void test_device__roundtrip_counts(void **state) {
  (void)state;
  struct wodan_device *raw = memory_device();
  struct device device;
  device_init(&device, raw, NULL);
  uint8_t data[2 * S], back[2 * S];
  memset(data, 5, sizeof data);
  assert_int_equal(device_write(&device, S, data, 2 * S, NULL), 0);
  assert_int_equal(device_read(&device, S, back, 2 * S, NULL), 0);
  assert_memory_equal(data, back, 2 * S);
  assert_int_equal(device_barrier(&device, NULL), 0);
  assert_int_equal(device_flush(&device, NULL), 0);
  assert_int_equal(device_discard(&device, S, S, NULL), 0);
  assert_int_equal(device.counters.writes, 1);
  assert_int_equal(device.counters.write_bytes, 2 * S);
  assert_int_equal(device.counters.reads, 1);
  assert_int_equal(device.counters.read_bytes, 2 * S);
  assert_int_equal(device.counters.barriers, 1);
  assert_int_equal(device.counters.flushes, 1);
  assert_int_equal(device.counters.discards, 1);
  assert_int_equal(device.counters.discard_bytes, S);
  wodan_device_close(raw);
}

static void test_device__large_requests_are_split_at_io_maximum(void **state) {
  (void)state;
  struct sim_options o = {.io_maximum = 3 * S + 100};
  struct sim *sim;
  sim_create(SIZE, S, &o, &sim);
  struct device device;
  assert_int_equal(device_init(&device, sim_device(sim), NULL), 0);
  uint8_t data[SIZE], back[SIZE];
  for (size_t i = 0; i < SIZE; i++) data[i] = (uint8_t)(i * 31 >> 4);
  assert_int_equal(device_write(&device, 0, data, SIZE, NULL), 0);
  assert_int_equal(sim_count(sim, SIM_WRITE), 22);
  assert_int_equal(device.counters.writes, 22);
  struct wodan_io parts[] = {{.kind = WODAN_IO_READ, .offset = 0, .data = back, .size = 20 * S},
                             {.kind = WODAN_IO_READ, .offset = 20 * S, .data = back + 20 * S, .size = 44 * S}};
  assert_int_equal(device_transfer(&device, parts, 2, NULL), 0);
  assert_memory_equal(data, back, SIZE);
  struct sim_fault f = {.kind = SIM_READ_EIO, .offset = 50 * S, .size = S};
  sim_fault_add(sim, &f);
  struct wodan_error error;
  assert_int_equal(device_transfer(&device, parts, 2, &error), WODAN_EIO);
  assert_int_equal(parts[0].status, 0);
  assert_int_equal(parts[1].status, WODAN_EIO);
  assert_non_null(strstr(error.message, "at byte 10240"));
  assert_int_equal(sim_violations(sim), 0);
  sim_close(sim);
}

/* A device that answers what its test wants. */
struct liar {
  struct wodan_device device;
  int whole, each, number, flush;
};

static int liar_transfer(struct wodan_device *device, struct wodan_io *requests, size_t count) {
  struct liar *liar = (struct liar *)(void *)device;
  for (size_t i = 0; i < count; i++) {
    requests[i].status = liar->each;
    requests[i].device_errno = liar->number;
  }
  return liar->whole;
}
static int liar_flush(struct wodan_device *device) { return ((struct liar *)(void *)device)->flush; }
static int liar_close(struct wodan_device *device) {
  (void)device;
  return 0;
}

static void test_device__failures_are_narrowed_and_none_is_lost(void **state) {
  (void)state;
  struct wodan_device_ops ops = {
      .size = sizeof ops, .transfer = liar_transfer, .barrier = liar_flush, .flush = liar_flush, .close = liar_close};
  struct liar liar = {.device = {.ops = &ops, .geometry = {.size = SIZE, .sector = S, .discard_granularity = S}}};
  struct device device;
  assert_int_equal(device_init(&device, &liar.device, NULL), 0);
  static const struct {
    int whole, each, expect;
  } table[] = {{0, 0, 0},
               {WODAN_EIO, 0, WODAN_EIO}, /* names no request */
               {0, WODAN_EIO, WODAN_EIO}, /* says all is well */
               {WODAN_ENOSPC, WODAN_ENOSPC, WODAN_ENOSPC},
               {-77, -77, WODAN_EIO},
               {5, 5, WODAN_EIO}};
  uint8_t data[S] = {0};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    liar.whole = table[i].whole;
    liar.each = table[i].each;
    assert_int_equal(device_write(&device, 0, data, S, NULL), table[i].expect);
    assert_int_equal(device_read(&device, 0, data, S, NULL), table[i].expect);
    liar.flush = table[i].each;
    assert_int_equal(device_flush(&device, NULL), table[i].each ? table[i].expect : 0);
    assert_int_equal(device_barrier(&device, NULL), table[i].each ? table[i].expect : 0);
  }
  liar.number = 5;
  struct wodan_error error;
  assert_int_equal(device_write(&device, 2 * S, data, S, &error), WODAN_EIO);
  assert_int_equal(error.device_errno, 5);
  assert_non_null(strstr(error.message, "512 bytes at byte 1024"));
  assert_non_null(strstr(error.message, "errno 5"));
  uint64_t done = 7;
  assert_int_equal(device_discard(&device, 0, SIZE, &done), WODAN_EIO); /* makes nothing else fail */
  assert_int_equal(done, 0);
}

static void test_device__read_only_refuses_writes_and_skips_discards(void **state) {
  (void)state;
  struct sim_options o = {.read_only = true};
  struct sim *sim;
  sim_create(SIZE, S, &o, &sim);
  struct device device;
  device_init(&device, sim_device(sim), NULL);
  uint8_t data[S] = {0};
  assert_int_equal(device_write(&device, 0, data, S, NULL), WODAN_EREADONLY);
  assert_int_equal(device_discard(&device, 0, SIZE, NULL), WODAN_ENOTSUP);
  assert_int_equal(device_read(&device, 0, data, S, NULL), 0);
  assert_int_equal(sim_violations(sim), 0);
  assert_int_equal(sim_mutations(sim), 0);
  sim_close(sim);
}

static void test_device__discard_is_rounded_inward(void **state) {
  (void)state;
  struct sim_options o = {.discard_granularity = 3 * S, .log = true};
  struct sim *sim;
  sim_create(SIZE, S, &o, &sim);
  struct device device;
  assert_int_equal(device_init(&device, sim_device(sim), NULL), 0);
  for (uint64_t from = 0; from < 14; from++)
    for (uint64_t until = from; until < 14; until++) {
      size_t before, after;
      sim_log(sim, &before);
      uint64_t done = 7;
      assert_int_equal(device_discard(&device, from * S, (until - from) * S, &done), 0);
      assert_int_equal(done, (until - from) * S);
      const struct sim_operation *log = sim_log(sim, &after);
      uint64_t low = (from + 2) / 3 * 3, high = until / 3 * 3;
      assert_int_equal(after - before, low < high ? 1 : 0);
      if (low >= high) continue;
      assert_int_equal(log[before].offset, low * S);
      assert_int_equal(log[before].size, (high - low) * S);
    }
  assert_int_equal(device_discard(&device, 0, SIZE + S, NULL), 0); /* outside: nothing */
  assert_int_equal(device_discard(&device, UINT64_MAX - S, 2 * S, NULL), 0);
  assert_int_equal(sim_violations(sim), 0);
  struct wodan_io mixed[] = {{.kind = WODAN_IO_DISCARD, .offset = 3 * S, .size = 6 * S},
                             {.kind = WODAN_IO_DISCARD, .offset = 1, .size = S}};
  uint64_t discards = sim_count(sim, SIM_DISCARD);
  assert_int_equal(device_transfer(&device, mixed, 2, NULL), 0);
  assert_int_equal(sim_count(sim, SIM_DISCARD), discards + 1);
  sim_close(sim);
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

static void test_memory__refuses_bad_sizes(void **state) {
  (void)state;
  struct wodan_device *d;
  assert_int_equal(wodan_memory_device(0, S, &d), WODAN_EINVAL);
  assert_int_equal(wodan_memory_device(S + 1, S, &d), WODAN_EINVAL);
  assert_int_equal(wodan_memory_device(S, 32, &d), WODAN_EINVAL);
  assert_int_equal(wodan_memory_device(768 * 4, 768, &d), WODAN_EINVAL);
  assert_int_equal(wodan_memory_device(131072, 131072, &d), WODAN_EINVAL);
  assert_null(d);
  assert_int_equal(wodan_memory_device(SIZE, S, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_memory_device(SIZE, 0, &d), 0);
  assert_int_equal(d->geometry.sector, 512);
  assert_int_equal(d->geometry.durable, 0);
  wodan_device_close(d);
}

static void test_memory__is_zero_keeps_bytes_and_refuses_outside(void **state) {
  (void)state;
  struct wodan_device *d = memory_device();
  uint8_t data[S], zero[S] = {0};
  struct wodan_io io = {.kind = WODAN_IO_READ, .offset = SIZE - S, .data = data, .size = S};
  memset(data, 1, S);
  assert_int_equal(d->ops->transfer(d, &io, 1), 0);
  assert_memory_equal(data, zero, S);
  io.kind = WODAN_IO_WRITE;
  memset(data, 7, S);
  assert_int_equal(d->ops->transfer(d, &io, 1), 0);
  assert_int_equal(d->ops->resize(d, 2 * SIZE), 0);
  memset(data, 0, S);
  io.kind = WODAN_IO_READ;
  assert_int_equal(d->ops->transfer(d, &io, 1), 0);
  assert_int_equal(data[S - 1], 7);
  io.offset = SIZE;
  assert_int_equal(d->ops->transfer(d, &io, 1), 0);
  assert_memory_equal(data, zero, S);
  assert_int_equal(d->ops->resize(d, SIZE), 0);
  assert_int_equal(d->ops->transfer(d, &io, 1), WODAN_EIO);
  assert_int_equal(io.status, WODAN_EIO);
  io = (struct wodan_io){.kind = WODAN_IO_READ, .offset = UINT64_MAX - 1, .data = data, .size = S};
  assert_int_equal(d->ops->transfer(d, &io, 1), WODAN_EIO);
  assert_int_equal(d->ops->resize(d, SIZE + 1), WODAN_EINVAL);
  assert_int_equal(d->ops->resize(d, 0), WODAN_EINVAL);
  wodan_device_close(d);
}

/* ---- trace ----------------------------------------------------------------------------------------------------- */

static void append(void *context, const char *line) {
  strcat(context, line);
  strcat(context, "\n");
}

static void test_trace__tells_each_call_in_order(void **state) {
  (void)state;
  char text[512] = "";
  struct wodan_device *d;
  assert_int_equal(trace_device(memory_device(), append, text, &d), 0);
  struct device device;
  assert_int_equal(device_init(&device, d, NULL), 0);
  uint8_t data[S] = {3};
  assert_int_equal(device_write(&device, S, data, S, NULL), 0);
  assert_int_equal(device_barrier(&device, NULL), 0);
  data[0] = 0;
  assert_int_equal(device_read(&device, S, data, S, NULL), 0);
  assert_int_equal(data[0], 3);
  assert_int_equal(device_discard(&device, 0, S, NULL), 0);
  assert_int_equal(device_flush(&device, NULL), 0);
  assert_int_equal(d->ops->resize(d, 2 * SIZE), 0);
  assert_int_equal(d->geometry.size, 2 * SIZE);
  assert_int_equal(wodan_device_close(d), 0);
  assert_string_equal(text, "write 512 512 = 0\nbarrier = 0\nread 512 512 = 0\ndiscard 0 512 = 0\nflush = 0\n"
                            "resize 65536 = 0\nclose = 0\n");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_device__init_refuses_each_bad_geometry),
      cmocka_unit_test(test_device__requests_outside_or_unaligned_never_reach_the_device),
      cmocka_unit_test(test_device__roundtrip_counts),
      cmocka_unit_test(test_device__large_requests_are_split_at_io_maximum),
      cmocka_unit_test(test_device__failures_are_narrowed_and_none_is_lost),
      cmocka_unit_test(test_device__read_only_refuses_writes_and_skips_discards),
      cmocka_unit_test(test_device__discard_is_rounded_inward),
      cmocka_unit_test(test_memory__refuses_bad_sizes),
      cmocka_unit_test(test_memory__is_zero_keeps_bytes_and_refuses_outside),
      cmocka_unit_test(test_trace__tells_each_call_in_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
