/* Images that somebody handled: cut or extended at any sector, and restored in part from older copies of themselves. What is
 * too short is refused, what is longer is as it was. A copy taken while the volume was open is a commit; a mixture of copies
 * shows a commit of the past or tells its damage, but never a content that was none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "crash/fault_load.h"
#include "support/kept_device.h"

/* ---- size ------------------------------------------------------------------------------------------------------------ */

static int open_kept(struct kept_bytes *kept, unsigned flags, struct wodan_db **db) {
  struct wodan_open_options options = {.flags = flags | WODAN_OPEN_INLINE, .memory_budget = 640 << 10};
  struct wodan_device *device = kept_plug(kept, SECTOR, flags & WODAN_OPEN_READ_ONLY);
  int status = wodan_open(device, &options, db, NULL);
  if (status < 0) wodan_device_close(device);
  return status;
}

/* The check ends, and does not call whole what lacks a part. */
static void check_kept(struct kept_bytes *kept, uint64_t sectors) {
  struct wodan_check_report report;
  struct wodan_device *device = kept_plug(kept, SECTOR, 1);
  int status = wodan_check(device, NULL, &report, NULL);
  wodan_device_close(device);
  bool whole = status == 0 && report.complete && report.damages == 0;
  if (whole != (sectors >= SIZE / SECTOR)) fail_msg("%u sectors: the check calls it whole", (unsigned)sectors);
}

static void test_images__of_any_number_of_sectors(void **state) {
  (void)state;
  struct load load;
  struct sim_image image;
  char why[256];
  load_make(&load);
  take_image(&load, &image);
  for (uint64_t sectors = 1; sectors <= 3 * SIZE / SECTOR; sectors++) {
    struct kept_bytes *kept = kept_create(3 * SIZE);
    struct wodan_db *db;
    kept->size = sectors * SECTOR;
    memcpy(kept->data, image.bytes, SIZE);
    if (sectors < SIZE / SECTOR) memset(kept->data + kept->size, 0, SIZE - kept->size); /* it reaches to its size */
    for (int write = 0; write < 2; write++) {
      int status = open_kept(kept, write ? 0 : WODAN_OPEN_READ_ONLY, &db);
      if (sectors < SIZE / SECTOR) {
        if (status != WODAN_ECORRUPT && status != WODAN_EFORMAT)
          fail_msg("%u sectors are opened: %d", (unsigned)sectors, status);
        continue;
      }
      if (status < 0) fail_msg("%u sectors are not opened: %d", (unsigned)sectors, status);
      if (!model_equals(load.model, db, why, sizeof why)) fail_msg("%u sectors: %s", (unsigned)sectors, why);
      if (write) assert_int_equal(wodan_sync(db), 0);
      assert_int_equal(wodan_close(db, NULL), 0);
    }
    check_kept(kept, sectors);
    for (uint64_t at = SIZE; at < kept->size; at++)
      if (kept->data[at]) fail_msg("%u sectors: something was written behind the volume", (unsigned)sectors);
    kept_free(kept);
  }
  sim_image_release(&image);
  load_release(&load);
}

/* ---- restored in part ------------------------------------------------------------------------------------------------ */

enum { COPIES = 3, STEP = 4, SUBSETS = 4096 / STRIDE, MIXTURES = 512 / STRIDE };

struct copies {
  uint8_t bytes[COPIES][SIZE];             /* the newest first */
  unsigned differing[SIZE / BLOCK], count; /* blocks that differ between the newest two */
};

/* What a reader of the open device sees, and the copies before. */
static void take_copy(struct copies *copies, const struct sim *sim) {
  memmove(copies->bytes[1], copies->bytes[0], (COPIES - 1) * (size_t)SIZE);
  memcpy(copies->bytes[0], sim_content(sim), SIZE);
  copies->count = 0;
  for (unsigned block = 0; block < SIZE / BLOCK; block++)
    if (memcmp(copies->bytes[0] + block * BLOCK, copies->bytes[1] + block * BLOCK, BLOCK) != 0)
      copies->differing[copies->count++] = block;
}

/* Judges it on a device of its own; the load's goes on. */
static void judge_mixture(const struct load *load, struct sim_image *image, bool pure, struct verdicts *verdicts,
                          uint64_t nth) {
  struct load other = {.rig = {.random = nth, .block = BLOCK}, .model = load->model, .acked = load->acked};
  assert_int_equal(sim_create(SIZE, SECTOR, NULL, &other.rig.sim), 0);
  assert_int_equal(sim_load(other.rig.sim, image), 0);
  judge(&other, !pure, verdicts, pure ? "a copy" : "a mixture of copies", nth);
  rig_release(&other.rig);
}

static void restore_subsets(const struct load *load, struct copies *copies, struct sim_image *image, uint64_t *random,
                            struct verdicts *verdicts) {
  bool all = copies->count < 31 && 1u << copies->count <= SUBSETS;
  unsigned subsets = all ? 1u << copies->count : SUBSETS;
  for (unsigned subset = 0; subset < subsets; subset++) {
    memcpy(image->bytes, copies->bytes[0], SIZE);
    uint64_t chosen = all ? subset : random_next(random);
    for (unsigned i = 0; i < copies->count; i++)
      if (chosen >> i % 64 & 1)
        memcpy(image->bytes + copies->differing[i] * BLOCK, copies->bytes[1] + copies->differing[i] * BLOCK, BLOCK);
    judge_mixture(load, image, false, verdicts, subset);
  }
}

static void mix_all(const struct load *load, struct copies *copies, struct sim_image *image, uint64_t *random,
                    struct verdicts *verdicts) {
  for (unsigned mixture = 0; mixture < MIXTURES; mixture++) {
    for (unsigned block = 0; block < SIZE / BLOCK; block++)
      memcpy(image->bytes + block * BLOCK, copies->bytes[random_below(random, COPIES)] + block * BLOCK, BLOCK);
    judge_mixture(load, image, false, verdicts, mixture);
  }
}

static void test_images__restored_in_part_from_older_copies(void **state) {
  (void)state;
  struct load load;
  struct sim_image image;
  struct verdicts whole = {0}, subsets = {0}, mixtures = {0};
  struct copies *copies = calloc(1, sizeof *copies);
  uint64_t random = 5;
  load_make(&load);
  assert_int_equal(sim_image_init(&image, load.rig.sim), 0);
  for (unsigned i = 0; i < OPERATIONS; i += STEP) {
    assert_int_equal(play_from(&load, i, i + STEP < OPERATIONS ? i + STEP : OPERATIONS), 0);
    take_copy(copies, load.rig.sim);
    memcpy(image.bytes, copies->bytes[0], SIZE);
    judge_mixture(&load, &image, true, &whole, i);
    if (i < STEP * (COPIES - 1)) continue;
    restore_subsets(&load, copies, &image, &random, &subsets);
    mix_all(&load, copies, &image, &random, &mixtures);
  }
  tell("copies of the open volume", &whole);
  tell("some blocks of the copy before", &subsets);
  tell("blocks of three copies", &mixtures);
  assert_true(whole.refused == 0 && whole.told == 0);
  assert_true(subsets.refused > 0 && subsets.rolled_back > 0 && mixtures.refused > 0);
  free(copies);
  sim_image_release(&image);
  rig_drop(&load.rig);
  load_release(&load);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_images__of_any_number_of_sectors),
      cmocka_unit_test(test_images__restored_in_part_from_older_copies),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
