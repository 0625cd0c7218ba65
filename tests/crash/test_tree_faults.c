/* A device that fails while a tree of many nodes is at work: the n-th write, flush, barrier or read fails, once or for
 * ever, during sweeps, splits, joins and compaction; the maintenance is done by the writer, or by its thread. What is
 * demanded: nothing wrong is ever read; the first failed write, barrier or flush is final and keeps its cause, whoever
 * met it; nobody waits for ever (the time limit of the test says that); a later mount finds a commit not older than the last
 * acknowledged one, and a check finds no damage. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include <wodan/check.h>
#include "crash/crash_rig.h"
#include "crash/model.h"

enum { SIZE = 128 << 10, SECTOR = 512, BLOCK = 512, NODES = 4, KEYS = 220, MORE_KEYS = 60, OPERATIONS = 90 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STRIDE = 3, STRIDE_BACKGROUND = 7 };
#else
enum { STRIDE = 1, STRIDE_BACKGROUND = 2 };
#endif

/* ---- the workload ----------------------------------------------------------------------------------------------- */

/* A closed volume with a tree of three levels, which every round begins with. */
struct world {
  struct rig rig;
  struct sim_image image;
  struct model *model; /* its newest version is the last commit tried */
  size_t base;         /* version in the image */
  size_t acked;
};

static void fail_world(const char *what, const char *why, uint64_t nth) {
  fail_msg("%s (n = %llu): %s", what, (unsigned long long)nth, why);
}

static int change(struct world *world, unsigned number, bool present, bool durable) {
  char key[24];
  uint8_t value[70];
  struct wodan_commit commit = {.durability = durable ? WODAN_DURABLE : WODAN_BUFFERED};
  size_t version = model_version(world->model);
  snprintf(key, sizeof key, "key %05u", number * 7919 % 10007);
  for (size_t b = 0; b < sizeof value; b++) value[b] = (uint8_t)('a' + (version + b) % 26);
  if (present)
    model_put(world->model, key, strlen(key), value, sizeof value);
  else
    model_delete(world->model, key, strlen(key));
  model_commit(world->model);
  int status = present ? wodan_put(world->rig.db, text(key), (struct wodan_slice){value, sizeof value}, &commit)
                       : wodan_delete(world->rig.db, text(key), &commit);
  if (status == 0 && durable) world->acked = model_version(world->model);
  return status;
}

/* One operation: overwrites, new keys, deletes of whole stretches, and what settles. */
static int operation(struct world *world, unsigned i) {
  uint32_t more;
  int status;
  if (i % 15 == 14) return wodan_compact(world->rig.db, NULL, NULL, i % 2 ? 4096 : 0, &more);
  if (i % 29 == 28 || i % 12 == 11) {
    status = i % 29 == 28 ? wodan_checkpoint(world->rig.db, NULL) : wodan_sync(world->rig.db);
    if (status == 0) world->acked = model_version(world->model);
    return status;
  }
  if (i % 3 == 0) return change(world, KEYS + i % MORE_KEYS, true, false);
  return change(world, i * 5 % KEYS, i % 3 == 1, i % 17 == 16);
}

/* Until the end or the first failure. */
static int play(struct world *world) {
  int status = 0;
  for (unsigned i = 0; i < OPERATIONS && status == 0; i++) status = operation(world, i);
  if (status == 0) status = wodan_checkpoint(world->rig.db, NULL);
  if (status == 0) world->acked = model_version(world->model);
  return status;
}

static void world_make(struct world *world, bool background) {
  *world = (struct world){.model = model_create()};
  struct sim_options options = {.seed = 11};
  struct wodan_error error;
  world->rig = (struct rig){.random = 4711, .block = BLOCK, .nodes = NODES};
  assert_int_equal(sim_create(SIZE, SECTOR, &options, &world->rig.sim), 0);
  if (rig_format(&world->rig, BLOCK, false, &error) < 0) fail_msg("format: %s", error.message);
  rig_open(&world->rig);
  for (unsigned n = 0; n < KEYS; n++) assert_int_equal(change(world, n, true, false), 0);
  assert_int_equal(wodan_checkpoint(world->rig.db, NULL), 0);
  assert_true(world->rig.db->node->level >= 1);
  rig_close(&world->rig);
  world->base = model_version(world->model);
  assert_int_equal(sim_image_init(&world->image, world->rig.sim), 0);
  world->rig.background = background;
}

static void world_release(struct world *world) {
  sim_image_release(&world->image);
  model_free(world->model);
  rig_release(&world->rig);
}

/* The volume as it was at first, and a fault that is due. */
static void begin(struct world *world, const struct sim_fault *fault) {
  model_roll_back(world->model, world->base);
  world->acked = world->base;
  sim_faults_clear(world->rig.sim);
  assert_int_equal(sim_load(world->rig.sim, &world->image), 0);
  rig_open(&world->rig);
  sim_fault_add(world->rig.sim, fault);
}

static void note_finding(void *context, const struct wodan_finding *finding) {
  if (finding->severity != WODAN_NOTE) snprintf(context, 200, "WF%04u: %.180s", finding->id, finding->message);
}

/* The power fails, a random part of the window lands, the device is mended. */
static void recover(struct world *world, const char *what, uint64_t nth) {
  static uint8_t choice[1 << 14];
  char why[256] = "";
  struct sim_image image;
  struct wodan_error error;
  struct sim *sim = world->rig.sim;
  sim_faults_clear(sim);
  assert_true(sim_choice_size_max(sim) <= sizeof choice);
  assert_int_equal(sim_image_init(&image, sim), 0);
  size_t size = sim_choice_sample(sim, &world->rig.random, false, choice);
  sim_image_choose(&image, sim, choice, size);
  assert_int_equal(sim_load(sim, &image), 0);
  sim_image_release(&image);
  if (rig_try_open(&world->rig, 0, &error) < 0) fail_world(what, error.message, nth);
  size_t version = model_match(world->model, world->rig.db, world->acked, why, sizeof why);
  if (version == SIZE_MAX) fail_world(what, why, nth);
  put_ok(&world->rig, "after", "the fault", true);
  rig_close(&world->rig);
  struct wodan_check_options options = {.context = why, .finding = note_finding};
  struct wodan_check_report report = {0};
  struct wodan_device *plug = sim_plug(sim);
  if (wodan_check(plug, &options, &report, &error) < 0) fail_world(what, error.message, nth);
  wodan_device_close(plug);
  if (report.damages || report.warnings) fail_world(what, why, nth);
}

/* ---- failed writes, barriers, flushes --------------------------------------------------------------------------- */

/* Whoever met the failure, the handle knows it soon after. */
static void wait_for_failure(struct world *world, const char *what, uint64_t nth) {
  struct timespec moment = {.tv_nsec = 1000000};
  for (int i = 0; i < 10000; i++) {
    if (wodan_sync(world->rig.db) < 0) return;
    nanosleep(&moment, NULL);
  }
  fail_world(what, "the handle does not notice", nth);
}

/* Reads go on, every write is refused, always with the same cause, and nothing more reaches the device. */
static void expect_failed(struct world *world, bool dropped, const char *what, uint64_t nth) {
  struct wodan_db *db = world->rig.db;
  struct wodan_error first = {0}, error;
  char why[256] = "";
  for (int i = 0; i < 4; i++) {
    uint32_t more;
    int status = i == 0   ? wodan_sync(db)
                 : i == 1 ? rig_put(&world->rig, "more", "no", true)
                 : i == 2 ? wodan_compact(db, NULL, NULL, 0, &more)
                          : wodan_checkpoint(db, NULL);
    wodan_last_error(db, &error);
    if (status != WODAN_EFAILED) fail_world(what, "a later write is not refused", nth);
    if (!strstr(error.message, "an earlier write failed")) fail_world(what, error.message, nth);
    if (i == 0) first = error;
    if (strcmp(first.message, error.message) != 0) fail_world(what, "the cause changes", nth);
  }
  uint64_t mutations = sim_mutations(world->rig.sim);
  if (model_match(world->model, db, model_version(world->model) - 1, why, sizeof why) == SIZE_MAX &&
      !(dropped && strstr(why, "reading failed")))
    fail_world(what, why, nth);
  if (wodan_close(db, &error) != WODAN_EFAILED) fail_world(what, "close pretends success", nth);
  if (sim_mutations(world->rig.sim) != mutations) fail_world(what, "a failed handle wrote", nth);
}

static void every_mutation_fails(struct world *world, uint8_t kind, uint64_t argument, uint64_t times,
                                 const char *what) {
  uint64_t stride = world->rig.background ? STRIDE_BACKGROUND : STRIDE, nth = 0;
  bool struck = true;
  for (; struck; nth += stride) {
    struct sim_fault fault = {.kind = kind, .skip = nth, .times = times, .argument = argument};
    begin(world, &fault);
    int status = play(world);
    struck = sim_faults_struck(world->rig.sim) > 0;
    if (struck) {
      if (status == 0 && !world->rig.background) fail_world(what, "nobody was told", nth);
      if (status < 0 && status != WODAN_EIO && status != WODAN_EFAILED) fail_world(what, "another code", nth);
      wait_for_failure(world, what, nth);
      sim_faults_clear(world->rig.sim); /* the device works again; the handle must not try */
      expect_failed(world, kind == SIM_FLUSH_EIO && argument == SIM_WINDOW_DROPPED, what, nth);
    } else {
      if (status < 0) fail_world(what, "it fails without a fault", nth);
      rig_drop(&world->rig);
    }
    recover(world, what, nth);
  }
  assert_true(nth > 2 * stride);
}

static void mutations_fail(bool background) {
  struct world world;
  world_make(&world, background);
  for (uint64_t times = 0; times < 2; times++) {
    every_mutation_fails(&world, SIM_WRITE_EIO, 0, times, "a write fails, nothing of it is taken");
    every_mutation_fails(&world, SIM_WRITE_EIO, UINT64_MAX, times, "a write fails, all of it is taken");
    every_mutation_fails(&world, SIM_FLUSH_EIO, SIM_WINDOW_KEPT, times, "a flush fails, the window stays in flight");
    every_mutation_fails(&world, SIM_FLUSH_EIO, SIM_WINDOW_DROPPED, times, "a flush fails, the window is dropped");
    every_mutation_fails(&world, SIM_BARRIER_EIO, 0, times, "a barrier fails");
  }
  world_release(&world);
}

static void test_tree_faults__any_write_flush_or_barrier_fails(void **state) {
  (void)state;
  mutations_fail(false);
}

static void test_tree_faults__any_write_flush_or_barrier_of_the_thread_fails(void **state) {
  (void)state;
  mutations_fail(true);
}

/* ---- failed reads ----------------------------------------------------------------------------------------------- */

/* Damage that cannot be swept fills a small volume: a write may be refused for that as well. */
static bool by_damage(int status) { return status == WODAN_ECORRUPT || status == WODAN_ENOSPC; }

static void every_read_fails(struct world *world, uint64_t times) {
  const char *what = times ? "a read fails" : "reads fail from now on";
  uint64_t stride = world->rig.background ? STRIDE_BACKGROUND : STRIDE, nth = 0;
  bool struck = true;
  for (; struck; nth += stride) {
    struct sim_fault fault = {.kind = SIM_READ_EIO, .skip = nth, .times = times};
    struct wodan_error error;
    char why[256] = "";
    begin(world, &fault);
    int status = play(world);
    wodan_last_error(world->rig.db, &error);
    struck = sim_faults_struck(world->rig.sim) > 0;
    if (status < 0 && (!struck || (status != WODAN_EIO && !by_damage(status)))) fail_world(what, error.message, nth);
    sim_faults_clear(world->rig.sim);
    if (model_match(world->model, world->rig.db, model_version(world->model) - 1, why, sizeof why) == SIZE_MAX)
      fail_world(what, why, nth);
    rig_drop(&world->rig);
    recover(world, what, nth);
  }
  assert_true(nth > 2 * stride);
}

static void reads_fail(bool background) {
  struct world world;
  world_make(&world, background);
  every_read_fails(&world, 1);
  every_read_fails(&world, 0);
  world_release(&world);
}

static void test_tree_faults__any_read_fails(void **state) {
  (void)state;
  reads_fail(false);
}

static void test_tree_faults__any_read_of_the_thread_fails(void **state) {
  (void)state;
  reads_fail(true);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tree_faults__any_write_flush_or_barrier_fails),
      cmocka_unit_test(test_tree_faults__any_write_flush_or_barrier_of_the_thread_fails),
      cmocka_unit_test(test_tree_faults__any_read_fails),
      cmocka_unit_test(test_tree_faults__any_read_of_the_thread_fails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
