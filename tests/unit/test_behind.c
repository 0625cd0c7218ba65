/* Write-behind: the order of what is queued and of everything else, failures, its memory, all with a thread that is held at a
 * gate; and large values through the engine with it: a model over reopening, power cuts at any write, a device that fails. */
#include "engine_rig.h"

#include <pthread.h>
#include <unistd.h>
#include <wodan/check.h>
#include "dev/behind.h"
#include "dev/dev_sim.h"
#include "support/gate_device.h"
#include "support/sanitized.h"

enum { SECTOR = 512, SIZE = 4 << 20, RING = 256 << 10, PIECE = BEHIND_LEAST, AWHILE = 20000 };

#ifndef WODAN_NO_THREADS

/* ---- the queue ---------------------------------------------------------------------------------------------------- */

struct world {
  struct mem mem;
  struct gate gate;
  struct device device;
};

static void world_start(struct world *world) {
  struct wodan_device *inner;
  mem_init(&world->mem, NULL);
  gate_init(&world->gate, 0);
  assert_int_equal(wodan_memory_device(SIZE, SECTOR, &inner), 0);
  assert_int_equal(device_init(&world->device, gate_plug(&world->gate, inner), NULL), 0);
  world->device.behind = behind_create(&world->mem, &world->device, RING);
  assert_non_null(world->device.behind);
  assert_int_equal(mem_used(&world->mem), behind_memory(RING));
}

static void world_end(struct world *world) {
  gate_open(&world->gate);
  behind_free(world->device.behind);
  assert_int_equal(mem_used(&world->mem), 0);
  wodan_device_close(world->device.raw);
  gate_release(&world->gate);
}

static void queue_one(struct world *world, uint64_t offset, size_t size, uint8_t byte) {
  uint8_t *memory = behind_lend(world->device.behind, size);
  assert_non_null(memory);
  assert_int_equal((uintptr_t)memory % 4096, 0);
  memset(memory, byte, size);
  behind_write(world->device.behind, memory, offset, size);
}

/* A call that has to wait for what is queued. */
enum call { READ, WRITE, DISCARD, BARRIER, FLUSH, LEND, CALLS };

struct waiter {
  struct world *world;
  enum call call;
  uint64_t offset;
  uint8_t bytes[4 * SECTOR];
  int status;
  _Atomic bool over;
};

static int call(struct waiter *waiter) {
  struct device *device = &waiter->world->device;
  switch (waiter->call) {
  case READ:
    return device_read(device, waiter->offset, waiter->bytes, sizeof waiter->bytes, NULL);
  case WRITE:
    return device_write(device, waiter->offset, waiter->bytes, sizeof waiter->bytes, NULL);
  case DISCARD:
    return device_discard(device, waiter->offset, sizeof waiter->bytes, NULL);
  case BARRIER:
    return device_barrier(device, NULL);
  case FLUSH:
    return device_flush(device, NULL);
  default: {
    uint8_t *memory = behind_lend(device->behind, RING / 4);
    if (memory) behind_give_back(device->behind, memory);
    return memory ? 0 : WODAN_EIO;
  }
  }
}

static void *run(void *context) {
  struct waiter *waiter = context;
  waiter->status = call(waiter);
  atomic_store(&waiter->over, true);
  return NULL;
}

static void test_behind__whoever_meets_it_waits(void **state) {
  (void)state;
  for (int which = READ; which < CALLS; which++) {
    struct world world;
    struct waiter waiter = {.world = &world, .call = which, .offset = 3 * PIECE - SECTOR};
    pthread_t thread;
    world_start(&world);
    memset(waiter.bytes, 9, sizeof waiter.bytes);
    gate_close_after(&world.gate, 0);
    queue_one(&world, 2 * PIECE, PIECE, 1);
    queue_one(&world, 3 * PIECE, PIECE, 2);
    for (int i = 0; i < 5 && which == LEND; i++) queue_one(&world, (4 + (uint64_t)i) * PIECE, PIECE, 3);
    assert_true(gate_stands(&world.gate, 10000));
    assert_int_equal(pthread_create(&thread, NULL, run, &waiter), 0);
    usleep(AWHILE);
    assert_false(waiter.over);
    uint8_t elsewhere[SECTOR];
    assert_int_equal(device_read(&world.device, 0, elsewhere, SECTOR, NULL), 0); /* it meets nothing */
    gate_open(&world.gate);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(waiter.status, 0);
    if (which == READ) assert_true(waiter.bytes[0] == 1 && waiter.bytes[SECTOR] == 2);
    assert_int_equal(behind_wait(world.device.behind, NULL), 0);
    uint8_t back[2 * SECTOR];
    assert_int_equal(device_read(&world.device, 3 * PIECE - SECTOR, back, sizeof back, NULL), 0);
    if (which == WRITE) assert_true(back[0] == 9 && back[SECTOR] == 9); /* it came last */
    if (which >= BARRIER) assert_true(back[0] == 1 && back[SECTOR] == 2);
    world_end(&world);
  }
}

static void test_behind__a_failure_is_told_from_then_on(void **state) {
  (void)state;
  struct world world;
  uint8_t sector[SECTOR] = {0};
  struct wodan_error error;
  world_start(&world);
  gate_close_after(&world.gate, 0);
  queue_one(&world, 2 * PIECE, PIECE, 1);
  assert_true(gate_stands(&world.gate, 10000));
  queue_one(&world, 8 * PIECE, PIECE, 2);
  gate_fail_after(&world.gate, 0);
  assert_int_equal(behind_wait(world.device.behind, &error), WODAN_EIO);
  assert_non_null(strstr(error.message, "cannot write"));
  assert_true(world.device.unsure);
  gate_open(&world.gate); /* too late */
  assert_int_equal(device_flush(&world.device, &error), WODAN_EIO);
  assert_non_null(strstr(error.message, "cannot write"));
  assert_int_equal(device_barrier(&world.device, NULL), WODAN_EIO);
  assert_int_equal(device_write(&world.device, 0, sector, SECTOR, NULL), WODAN_EIO);
  assert_int_equal(device_discard(&world.device, 0, SECTOR, NULL), WODAN_EIO);
  assert_int_equal(device_read(&world.device, 2 * PIECE, sector, SECTOR, NULL), WODAN_EIO);
  assert_int_equal(device_read(&world.device, 8 * PIECE, sector, SECTOR, NULL), WODAN_EIO); /* never written */
  assert_int_equal(device_read(&world.device, 4 * PIECE, sector, SECTOR, NULL), 0);
  assert_null(behind_lend(world.device.behind, PIECE));
  world_end(&world);
}

/* Several lend at once, in any order and of any size; some give back. What is where was written last. */
enum { LENDERS = 4, AREA = SIZE / LENDERS, TURNS = RACES_WATCHED ? 30 : 100 };

struct lender {
  struct world *world;
  uint64_t base, random;
  uint8_t truth[AREA];
};

static void *lend_on(void *context) {
  struct lender *lender = context;
  struct device *device = &lender->world->device;
  uint8_t *bytes = malloc(AREA);
  for (int i = 0; i < TURNS; i++) {
    size_t size = PIECE + random_below(&lender->random, (RING / 4 - PIECE) / SECTOR + 1) * SECTOR;
    uint64_t at = random_below(&lender->random, (AREA - size) / SECTOR + 1) * SECTOR;
    uint64_t dice = random_below(&lender->random, 16);
    uint8_t *memory = behind_lend(device->behind, size);
    if (dice == 0) {
      behind_give_back(device->behind, memory);
    } else {
      memset(memory, (int)(i + 1), size);
      memset(lender->truth + at, (int)(i + 1), size);
      behind_write(device->behind, memory, lender->base + at, size);
    }
    if (dice == 1 && device_read(device, lender->base + at, bytes, size, NULL) == 0)
      if (memcmp(bytes, lender->truth + at, size) != 0) abort();
    if (dice == 2 && device_barrier(device, NULL) != 0) abort();
  }
  free(bytes);
  return NULL;
}

static void test_behind__many_lend_in_any_order(void **state) {
  (void)state;
  struct world world;
  struct lender *lenders = calloc(LENDERS, sizeof *lenders);
  pthread_t threads[LENDERS];
  uint8_t *back = malloc(AREA);
  world_start(&world);
  for (uint64_t i = 0; i < LENDERS; i++) {
    lenders[i].world = &world;
    lenders[i].base = i * AREA;
    lenders[i].random = i + 1;
    assert_int_equal(pthread_create(&threads[i], NULL, lend_on, &lenders[i]), 0);
  }
  for (int i = 0; i < LENDERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  assert_int_equal(mem_used(&world.mem), behind_memory(RING));
  assert_int_equal(device_flush(&world.device, NULL), 0);
  for (int i = 0; i < LENDERS; i++) {
    assert_int_equal(device_read(&world.device, lenders[i].base, back, AREA, NULL), 0);
    assert_memory_equal(back, lenders[i].truth, AREA);
  }
  world_end(&world);
  free(back);
  free(lenders);
}

static void test_behind__sizes_it_is_not_for(void **state) {
  (void)state;
  struct world world;
  world_start(&world);
  assert_null(behind_lend(world.device.behind, BEHIND_LEAST - 1));
  assert_null(behind_lend(world.device.behind, RING / 4 + 1));
  assert_null(behind_lend(NULL, PIECE));
  assert_int_equal(behind_wait(world.device.behind, NULL), 0);
  world_end(&world);
}

/* ---- through the engine ------------------------------------------------------------------------------------------- */

enum { VALUE = RACES_WATCHED ? 40000 : 100000, KEYS = 20, MIB = 1 << 20 };

static struct wodan_slice value_of(uint64_t version, uint8_t *bytes) {
  uint64_t state = version;
  for (size_t i = 0; i + 8 <= VALUE; i += 8) {
    uint64_t word = random_next(&state);
    memcpy(bytes + i, &word, 8);
  }
  memcpy(bytes, &version, sizeof version);
  return (struct wodan_slice){bytes, VALUE - version % 1000};
}

/* The version that a key has, 0 for none, once its value proved to be that version's; or the status. */
static int version_of(struct wodan_db *db, uint64_t key, uint64_t *version) {
  char name[32];
  uint8_t *found = malloc(VALUE), *wanted = malloc(VALUE);
  size_t size;
  int status = wodan_get(db, NULL, key_number(key, name), found, VALUE, &size);
  *version = 0;
  if (status == 0) {
    memcpy(version, found, sizeof *version);
    struct wodan_slice value = value_of(*version, wanted);
    assert_int_equal(size, value.size);
    assert_memory_equal(found, wanted, size);
  }
  free(found);
  free(wanted);
  return status == WODAN_ENOTFOUND ? 0 : status;
}

static int put_version(struct wodan_db *db, uint64_t key, uint64_t version, uint32_t durability) {
  char name[32];
  uint8_t *bytes = malloc(VALUE);
  struct wodan_commit commit = {.durability = durability};
  int status = wodan_put(db, key_number(key, name), value_of(version, bytes), &commit);
  free(bytes);
  return status;
}

static struct wodan_open_options behind_options(struct rig *rig) {
  rig->background = true;
  struct wodan_open_options options = rig_options(rig);
  options.write_behind = MIB;
  return options;
}

static void assert_versions(struct wodan_db *db, const uint64_t *versions) {
  for (uint64_t key = 0; key < KEYS; key++) {
    uint64_t found;
    assert_int_equal(version_of(db, key, &found), 0);
    assert_int_equal(found, versions[key]);
  }
}

static void test_behind__a_model_of_large_values(void **state) {
  (void)state;
  struct rig rig;
  uint64_t versions[KEYS] = {0}, random = 7;
  char name[32];
  rig_start(&rig, 24 * MIB, NULL);
  rig_close(&rig);
  struct wodan_open_options options = behind_options(&rig);
  rig_open_with(&rig, &options);
  for (uint64_t i = 1; i <= 200; i++) {
    uint64_t key = random_below(&random, KEYS), dice = random_below(&random, 100), found;
    if (dice < 75) {
      assert_done(rig.db, put_version(rig.db, key, i, dice < 3 ? WODAN_DURABLE : WODAN_BUFFERED));
      versions[key] = i;
    } else if (dice < 80) {
      assert_done(rig.db, wodan_delete(rig.db, key_number(key, name), NULL));
      versions[key] = 0;
    } else if (dice < 96) {
      assert_int_equal(version_of(rig.db, key, &found), 0);
      assert_int_equal(found, versions[key]);
    } else if (dice < 98) {
      assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
    } else {
      rig_close(&rig);
      rig_open_with(&rig, &options);
      assert_versions(rig.db, versions);
    }
  }
  struct wodan_stats stats = {.size = sizeof stats};
  assert_int_equal(wodan_stats(rig.db, &stats), 0);
  assert_true(stats.memory_peak <= stats.memory_budget);
  assert_versions(rig.db, versions);
  rig_reopen(&rig);
  assert_versions(rig.db, versions);
  rig_end(&rig);
}

/* Memory that an open does not get: WODAN_ENOMEM and nothing left, or it does without. A small budget has a small queue, or
 * none, and is kept. */
static void test_behind__memory(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_error error;
  rig_start(&rig, 4 * MIB, NULL);
  uint64_t needed = rig_info(rig.db).memory_needed;
  rig_close(&rig);
  struct wodan_open_options options = behind_options(&rig);
  int status = WODAN_ENOMEM;
  for (uint64_t n = 1; status < 0; n++) {
    struct wodan_device *device = kept_plug(rig.kept, rig.sector, 0);
    rig.meter.fail_at = rig.meter.calls + n;
    status = wodan_open(device, &options, &rig.db, &error);
    rig.meter.fail_at = 0;
    if (status == 0) break;
    assert_int_equal(status, WODAN_ENOMEM);
    assert_int_equal(rig.meter.live, 0);
    assert_int_equal(wodan_device_close(device), 0);
  }
  rig_close(&rig);
  for (uint64_t more = 0; more < 16 * MIB; more = 2 * more + (64 << 10)) {
    options.memory_budget = needed + more;
    rig_open_with(&rig, &options);
    for (uint64_t i = 1; i < 12; i++) assert_done(rig.db, put_version(rig.db, i, i, WODAN_BUFFERED));
    assert_true(rig.meter.peak <= options.memory_budget);
    rig_close(&rig);
    rig.meter.peak = 0;
  }
  rig_end(&rig);
}

/* From the k-th write on all fail. What was synced stays, the handle ends with the cause, and a get answers right or EIO. */
static void test_behind__a_device_that_fails(void **state) {
  (void)state;
  for (uint64_t k = 0; k < 40; k += 9) {
    struct rig rig;
    uint64_t synced[KEYS] = {0}, last[KEYS] = {0}, found;
    struct gate gate;
    struct wodan_error error;
    rig_start(&rig, 24 * MIB, NULL);
    uint64_t data = rig_info(rig.db).journal_size + 2 * rig_info(rig.db).block_size;
    rig_close(&rig);
    gate_init(&gate, data);
    struct wodan_open_options options = behind_options(&rig);
    int status = wodan_open(gate_plug(&gate, kept_plug(rig.kept, rig.sector, 0)), &options, &rig.db, &error);
    assert_int_equal(status, 0);
    gate_fail_after(&gate, k);
    for (uint64_t i = 1; i <= 60 && status == 0; i++) {
      status = put_version(rig.db, i % KEYS, i, WODAN_BUFFERED);
      if (status == 0) last[i % KEYS] = i;
      if (status == 0 && i % 7 == 0 && (status = wodan_sync(rig.db)) == 0) memcpy(synced, last, sizeof synced);
    }
    assert_true(status < 0);
    assert_int_equal(wodan_sync(rig.db), WODAN_EFAILED);
    for (uint64_t key = 0; key < KEYS; key++) {
      int got = version_of(rig.db, key, &found);
      if (got == 0) assert_true(found >= last[key]);
      if (got < 0) assert_int_equal(got, WODAN_EIO);
    }
    assert_true(wodan_close(rig.db, &error) < 0);
    gate_release(&gate);
    rig.background = false;
    rig_open(&rig);
    for (uint64_t key = 0; key < KEYS; key++) {
      assert_int_equal(version_of(rig.db, key, &found), 0);
      assert_true(found >= synced[key]);
    }
    rig_end(&rig);
  }
}

/* ---- power cuts ---------------------------------------------------------------------------------------------------- */

static int stay_open(struct wodan_device *device) {
  (void)device;
  return 0;
}

/* Puts and syncs until the power is off at the k-th mutation. What was put up to *synced is durable, up to *last perhaps. */
static void write_until_cut(struct sim *sim, struct rig *rig, uint64_t k, uint64_t *synced, uint64_t *last) {
  const struct wodan_device_ops *ops = sim_device(sim)->ops;
  struct wodan_device_ops kept = *ops;
  struct wodan_open_options options = behind_options(rig);
  struct wodan_error error;
  int status = 0;
  kept.close = stay_open;
  sim_device(sim)->ops = &kept;
  assert_int_equal(wodan_open(sim_device(sim), &options, &rig->db, &error), 0);
  sim_cut_at(sim, sim_mutations(sim) + k);
  for (uint64_t i = 1; status == 0; i++) {
    *last = i;
    status = put_version(rig->db, i % KEYS, i, i % 11 == 0 ? WODAN_DURABLE : WODAN_BUFFERED);
    if (status == 0 && i % 11 == 0) *synced = i;
    if (status == 0 && i % 5 == 0 && (status = wodan_sync(rig->db)) == 0) *synced = i;
  }
  assert_true(wodan_close(rig->db, NULL) < 0);
  assert_true(sim_is_off(sim)); /* its threads have ended */
  sim_device(sim)->ops = ops;
}

/* It holds what was put up to some moment between the two. */
static void judge_cut(struct sim *sim, struct rig *rig, uint64_t synced, uint64_t last) {
  struct wodan_error error;
  uint64_t found[KEYS], newest = 0;
  rig->background = false;
  struct wodan_open_options options = rig_options(rig);
  int status = wodan_open(sim_device(sim), &options, &rig->db, &error);
  if (status < 0) fail_msg("open answered %d: %s", status, error.message);
  for (uint64_t key = 0; key < KEYS; key++) {
    assert_int_equal(version_of(rig->db, key, &found[key]), 0);
    if (found[key] > newest) newest = found[key];
  }
  assert_true(newest >= synced && newest <= last);
  for (uint64_t version = newest; version > 0 && version + KEYS > newest; version--)
    assert_int_equal(found[version % KEYS], version);
  assert_done(rig->db, put_version(rig->db, 0, 9999, WODAN_DURABLE));
  assert_int_equal(wodan_close(rig->db, NULL), 0);
}

static void test_behind__power_cuts(void **state) {
  (void)state;
  enum { CUTS = RACES_WATCHED ? 4 : 8, STATES = 5 };
  const char *text = getenv("WODAN_SEED");
  uint64_t seed = text ? strtoull(text, NULL, 0) : 5, random = seed;
  print_message("WODAN_SEED=%llu\n", (unsigned long long)seed);
  for (int i = 0; i < CUTS; i++) {
    struct rig rig = {.sector = SECTOR, .random = seed};
    struct sim *sim, *after;
    struct sim_image image;
    uint64_t synced = 0, last = 0;
    assert_int_equal(sim_create(8 * MIB, SECTOR, NULL, &sim), 0);
    struct wodan_format_options format = {.hooks = {.context = &rig.random, .random = rig_random}};
    assert_int_equal(wodan_format(sim_device(sim), &format, NULL), 0);
    write_until_cut(sim, &rig, 1 + random_below(&random, 150), &synced, &last);
    uint8_t *choice = malloc(sim_choice_size_max(sim));
    for (int j = 0; j < STATES; j++) {
      size_t size = sim_choice_sample(sim, &random, true, choice);
      assert_int_equal(sim_image_init(&image, sim), 0);
      sim_image_choose(&image, sim, choice, size);
      assert_int_equal(sim_reboot(sim, &image, &after), 0);
      sim_image_release(&image);
      judge_cut(after, &rig, synced, last);
    }
    free(choice);
    assert_int_equal(sim_violations(sim), 0);
    sim_close(sim);
    assert_int_equal(rig.meter.live, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_behind__whoever_meets_it_waits),
      cmocka_unit_test(test_behind__a_failure_is_told_from_then_on),
      cmocka_unit_test(test_behind__many_lend_in_any_order),
      cmocka_unit_test(test_behind__sizes_it_is_not_for),
      cmocka_unit_test(test_behind__a_model_of_large_values),
      cmocka_unit_test(test_behind__memory),
      cmocka_unit_test(test_behind__a_device_that_fails),
      cmocka_unit_test(test_behind__power_cuts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#else
int main(void) { return 0; }
#endif
