/* Faults below and inside an open handle. The medium rots under a block that the handle has read, or not yet, and then its
 * neighbours are written: what was damaged is either told, or was whole in memory and is so again on the medium; it never
 * comes back with a good checksum. And a bit of the engine's own buffer flips between its checksum and the write.
 *
 * Replay: the message of a failure has block, byte and way; WODAN_ROT=BLOCK:BYTE:WAY runs it alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "crash/fault_load.h"

enum { TREE_SIZE = 128 << 10, RECORDS = 150, VALUE = 100 };

/* ---- rot under an open handle ---------------------------------------------------------------------------------------- */

/* What was put: the round of each record's value; a put that was refused changes nothing. */
struct rotting {
  struct rig rig;
  unsigned rounds[RECORDS];
  unsigned errors; /* of reads */
  const char *name;
};

static size_t record_key(unsigned n, char key[16]) { return (size_t)snprintf(key, 16, "n%03u", n * 7 % RECORDS); }

static void record_value(unsigned n, unsigned round, uint8_t value[VALUE]) {
  uint64_t random = n * 1000u + round;
  for (size_t i = 0; i < VALUE; i++) value[i] = (uint8_t)random_next(&random);
}

static int rewrite(struct rotting *r, unsigned n, unsigned round) {
  char key[16];
  uint8_t value[VALUE];
  size_t size = record_key(n, key);
  struct wodan_commit commit = {0};
  record_value(n, round, value);
  int status = wodan_put(r->rig.db, (struct wodan_slice){key, size}, (struct wodan_slice){value, VALUE}, &commit);
  if (commit.sequence) r->rounds[n] = round;
  return status;
}

/* Each record is what was put last, or cannot be read. */
static void read_records(struct rotting *r, const char *when) {
  r->errors = 0;
  for (unsigned n = 0; n < RECORDS; n++) {
    char key[16];
    uint8_t value[VALUE + 1], right[VALUE];
    size_t size = 0, key_size = record_key(n, key);
    int status = wodan_get(r->rig.db, NULL, (struct wodan_slice){key, key_size}, value, sizeof value, &size);
    if (status == WODAN_ECORRUPT) {
      r->errors++;
      continue;
    }
    record_value(n, r->rounds[n], right);
    if (status < 0) fail_msg("%s, %s: record %u answers %d", r->name, when, n, status);
    if (size != VALUE || memcmp(value, right, VALUE) != 0) fail_msg("%s, %s: record %u is wrong", r->name, when, n);
  }
}

static void rotting_make(struct rotting *r, struct sim_image *image) {
  struct sim_options options = {.seed = 11};
  struct wodan_error error;
  *r = (struct rotting){.rig = {.random = 4711, .block = BLOCK, .nodes = 4}, .name = "the volume"};
  assert_int_equal(sim_create(TREE_SIZE, SECTOR, &options, &r->rig.sim), 0);
  assert_int_equal(rig_format(&r->rig, BLOCK, false, &error), 0);
  rig_open(&r->rig);
  for (unsigned n = 0; n < RECORDS; n++) assert_int_equal(rewrite(r, n, 1), 0);
  assert_int_equal(wodan_compact(r->rig.db, NULL, NULL, 0, NULL), 0);
  for (unsigned n = 0; n < RECORDS; n += 5) assert_int_equal(rewrite(r, n, 2), 0);
  assert_int_equal(wodan_checkpoint(r->rig.db, NULL), 0);
  for (unsigned n = 0; n < 6; n++) assert_int_equal(rewrite(r, n, 3), 0);
  rig_close(&r->rig);
  assert_int_equal(sim_image_init(image, r->rig.sim), 0);
}

/* Whether the check calls the volume whole. */
static bool found_whole(struct rotting *r) {
  struct wodan_check_report report;
  struct wodan_check_options options = {.size = sizeof options};
  struct wodan_error error;
  struct wodan_device *plug = sim_plug(r->rig.sim);
  int status = wodan_check(plug, &options, &report, &error);
  wodan_device_close(plug);
  return status == 0 && report.complete && report.damages == 0;
}

static void expect_status(struct rotting *r, int status, const char *what) {
  if (status < 0 && !by_damage(status)) fail_msg("%s: %s answers %d", r->name, what, status);
}

/* Around the damage everything is written again. */
static void rewrite_neighbours(struct rotting *r) {
  for (unsigned n = 0; n < RECORDS; n += 3) expect_status(r, rewrite(r, n, 4), "a put");
  expect_status(r, wodan_checkpoint(r->rig.db, NULL), "a checkpoint");
  expect_status(r, wodan_compact(r->rig.db, NULL, NULL, 0, NULL), "compaction");
  read_records(r, "after writing around it");
}

struct rot_counts {
  unsigned whole, told, refused;
};

enum { UNREAD, READ, WAYS };

/* Byte `at` of the medium rots while the handle is open. */
static void rot_once(struct rotting *r, const struct sim_image *image, uint64_t at, int way,
                     struct rot_counts *counts) {
  unsigned rounds[RECORDS];
  char name[80];
  struct wodan_error error;
  memcpy(rounds, r->rounds, sizeof rounds);
  snprintf(name, sizeof name, "WODAN_ROT=%u:%u:%d", (unsigned)(at / BLOCK), (unsigned)(at % BLOCK), way);
  r->name = name;
  assert_int_equal(sim_load(r->rig.sim, image), 0);
  rig_open(&r->rig);
  if (way == READ) read_records(r, "whole");
  uint8_t byte = (uint8_t)(sim_medium(r->rig.sim)[at] ^ 1u << at % 8);
  sim_poke(r->rig.sim, at, &byte, 1);
  rewrite_neighbours(r);
  int status = wodan_close(r->rig.db, &error);
  expect_status(r, status, "close");
  rig_power(&r->rig);
  bool whole = found_whole(r);
  if (rig_try_open(&r->rig, 0, &error) < 0) {
    if (whole || error.code != WODAN_ECORRUPT) fail_msg("%s: it does not open: %s", name, error.message);
    counts->refused++;
  } else {
    read_records(r, "opened again");
    if (whole && r->errors) fail_msg("%s: the check calls it whole, but %u reads fail", name, r->errors);
    counts->told += r->errors > 0;
    counts->whole += r->errors == 0;
    rig_drop(&r->rig);
  }
  memcpy(r->rounds, rounds, sizeof rounds);
}

static void test_open_faults__rot_is_never_written_back_as_valid(void **state) {
  (void)state;
  struct rotting r;
  struct sim_image image;
  const char *only = getenv("WODAN_ROT");
  unsigned block = 0, byte = 0, way = 0, each = getenv("WODAN_ALL_BITS") ? 1 : STRIDE > 1 ? BLOCK : BLOCK / 8;
  if (only) assert_int_equal(sscanf(only, "%u:%u:%u", &block, &byte, &way), 3);
  rotting_make(&r, &image);
  for (int w = 0; w < WAYS; w++) {
    struct rot_counts counts = {0};
    for (uint64_t at = 0; at < TREE_SIZE; at += each) {
      uint64_t place = at + (each > 1 ? at / each * 37 % each : 0); /* another byte of each block */
      if (only && (w != (int)way || place != block * (uint64_t)BLOCK + byte)) continue;
      rot_once(&r, &image, place, w, &counts);
    }
    print_message("  rot under %s: %u whole again, %u told when read, %u refused at open\n",
                  w == READ ? "what was read" : "what was not read yet", counts.whole, counts.told, counts.refused);
    if (!only) assert_true(counts.whole > 0 && (w == READ || counts.told > 0));
  }
  sim_image_release(&image);
  rig_release(&r.rig);
}

/* ---- a bit flips in a buffer that waits to be written ------------------------------------------------------------------ */

/* Passes on to a plug; in write number `nth` one bit of the caller's memory flips first. */
struct flipping {
  struct wodan_device base; /* first */
  struct wodan_device *inner;
  uint64_t writes, nth, bit;
  bool *struck;
};

static struct flipping *flipping_of(struct wodan_device *device) { return (struct flipping *)(void *)device; }

static int flip_transfer(struct wodan_device *device, struct wodan_io *io, size_t count) {
  struct flipping *f = flipping_of(device);
  for (size_t i = 0; i < count; i++) {
    if (io[i].kind != WODAN_IO_WRITE || f->writes++ != f->nth) continue;
    uint64_t bit = f->bit % (8 * (uint64_t)io[i].size);
    uint8_t *byte = (uint8_t *)io[i].data + bit / 8;
    *byte = (uint8_t)(*byte ^ 1u << bit % 8);
    *f->struck = true;
  }
  return f->inner->ops->transfer(f->inner, io, count);
}

static int flip_barrier(struct wodan_device *device) {
  struct wodan_device *inner = flipping_of(device)->inner;
  return inner->ops->barrier(inner);
}
static int flip_flush(struct wodan_device *device) {
  struct wodan_device *inner = flipping_of(device)->inner;
  return inner->ops->flush(inner);
}
static int flip_close(struct wodan_device *device) {
  int status = wodan_device_close(flipping_of(device)->inner);
  free(device);
  return status;
}

static const struct wodan_device_ops FLIP_OPS = {.size = sizeof FLIP_OPS,
                                                 .transfer = flip_transfer,
                                                 .barrier = flip_barrier,
                                                 .flush = flip_flush,
                                                 .close = flip_close};

/* The database of `load` again, on a device that flips. */
static void open_flipping(struct load *load, uint64_t nth, uint64_t bit, bool *struck) {
  struct flipping *f = calloc(1, sizeof *f);
  struct wodan_open_options options = {
      .flags = WODAN_OPEN_INLINE, .memory_budget = 640 << 10, .hooks = {.context = &load->rig, .random = rig_random}};
  struct wodan_error error;
  rig_close(&load->rig);
  *f = (struct flipping){.inner = sim_plug(load->rig.sim), .nth = nth, .bit = bit, .struck = struck};
  f->base.ops = &FLIP_OPS;
  f->base.geometry = f->inner->geometry;
  if (wodan_open(&f->base, &options, &load->rig.db, &error) < 0) fail_msg("open: %s", error.message);
}

static void test_open_faults__a_flip_in_a_buffer_is_told_when_read(void **state) {
  (void)state;
  struct verdicts verdicts = {0};
  unsigned cases = 0, each = getenv("WODAN_ALL_BITS") ? 32 : STRIDE > 1 ? 3 : 8;
  bool struck = true;
  for (uint64_t nth = 0; struck; nth++)
    for (unsigned k = 0; k < each && struck; k++) {
      struct load load;
      struct wodan_error error;
      uint64_t bit = (nth * each + k) * 2654435761u;
      load_make(&load);
      struck = false;
      open_flipping(&load, nth, bit, &struck);
      int status = play(&load);
      if (status < 0 && !by_damage(status)) fail_load("a flip in a buffer", last_error(&load, status), nth);
      if (wodan_close(load.rig.db, &error) == 0) load.acked = model_version(load.model);
      rig_power(&load.rig);
      judge(&load, true, &verdicts, "a flip in a buffer", nth);
      load_release(&load);
      cases += struck;
    }
  tell("flips in buffers", &verdicts);
  assert_true(cases > 50 && verdicts.refused + verdicts.told > 10 && verdicts.right > 10);
  assert_true(verdicts.rolled_back * 20 < cases); /* only the newest record looks like a crash's tail */
}

/* ---- a bit flips in a record that waits in memory ---------------------------------------------------------------------- */

#ifdef WODAN_CHECKED
enum { WAITING = 8 };

static void flip_waiting(struct rig *rig, unsigned which, unsigned bit) {
  struct memtable_walk walk = {0};
  struct record record = {0};
  for (unsigned n = 0; n <= which; n++) assert_true(memtable_walk(rig->db->active.table, &walk, &record));
  uint8_t *byte = (uint8_t *)(uintptr_t)record.value.data + bit / 8;
  *byte = (uint8_t)(*byte ^ 1u << bit % 8);
}

/* `durable`: the records are in the journal, and a checkpoint is to write them into the tree; else a sync has to write them. What
 * is on the device afterwards is right. */
static void flip_and_write(unsigned which, bool durable) {
  struct rig rig;
  struct wodan_error error;
  char value[16];
  rig_make(&rig, SIZE, SECTOR, BLOCK);
  rig_open(&rig);
  put_ok(&rig, "before", "all that", true);
  assert_int_equal(wodan_checkpoint(rig.db, NULL), 0);
  for (unsigned n = 0; n < WAITING; n++) {
    snprintf(value, sizeof value, "key %u", n);
    put_ok(&rig, value, value, false);
  }
  if (durable) assert_int_equal(wodan_sync(rig.db), 0);
  flip_waiting(&rig, which, which * 5 % 32);
  int status = durable ? wodan_checkpoint(rig.db, NULL) : wodan_sync(rig.db);
  assert_int_equal(status, WODAN_ECORRUPT);
  wodan_last_error(rig.db, &error);
  assert_non_null(strstr(error.message, "memory"));
  assert_true(wodan_close(rig.db, &error) < 0);
  rig_power(&rig);
  rig_open(&rig);
  assert_true(has(&rig, "before", "all that"));
  for (unsigned n = 0; n < WAITING; n++) {
    snprintf(value, sizeof value, "key %u", n);
    assert_int_equal(has(&rig, value, value), durable);
  }
  rig_close(&rig);
  rig_release(&rig);
}
#endif

/* Only in checked builds has a record a checksum before it is written. */
static void test_open_faults__a_flip_in_a_waiting_record_is_not_written(void **state) {
  (void)state;
#ifdef WODAN_CHECKED
  for (unsigned which = 0; which < WAITING; which++) {
    flip_and_write(which, false);
    flip_and_write(which, true);
  }
#else
  skip();
#endif
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_open_faults__rot_is_never_written_back_as_valid),
      cmocka_unit_test(test_open_faults__a_flip_in_a_buffer_is_told_when_read),
      cmocka_unit_test(test_open_faults__a_flip_in_a_waiting_record_is_not_written),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
