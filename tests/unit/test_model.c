/* Random operations against the reference map, on several geometries, with sync, checkpoint, views and reopen. A failure
 * prints the seed and geometry; WODAN_SEED and WODAN_ROUNDS replay and lengthen. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/kept_device.h"
#include "crash/model.h"
#include "support/random.h"
#include "support/sanitized.h"

struct geometry {
  const char *name;
  uint64_t size;
  uint32_t sector, block;
  uint32_t keys; /* distinct */
  uint32_t value_max;
  unsigned rounds;
  /* Tiny leaves and nodes; all 0: usual. levels: that must have been there. */
  uint32_t page, leaf, memtable, node_leaves, node_children, levels;
  bool packs;           /* each open chooses anew whether and how it compresses */
  uint64_t range_every; /* so many operations are one range delete; the last geometries: many of them */
};

static const struct geometry geometries[] = {
    {"32 KiB, 512-byte blocks", 32 << 10, 512, 512, 60, 60, 3000, .levels = 1, .range_every = 2000},
    {"128 KiB, 512-byte blocks", 128 << 10, 512, 512, 400, 100, 8000, .levels = 1, .range_every = 2000},
    {"512 KiB, 1 KiB blocks", 512 << 10, 512, 1024, 2000, 120, 12000, .levels = 1, .range_every = 2000},
    {"1 MiB, 4 KiB blocks", 1 << 20, 512, 4096, 3000, 100, 12000, .levels = 1, .range_every = 2000},
    {"8 MiB, 4 KiB blocks", 8 << 20, 4096, 4096, 40000, 100, 60000, .levels = 1, .range_every = 2000},
    {"deep, 4 MiB, 512-byte blocks", 4 << 20, 512, 512, 8000, 100, 8000, 512, 2048, 4096, 4, 4, 4, false, 2000},
    {"deep, 8 MiB, 4 KiB blocks", 8 << 20, 512, 4096, 16000, 120, 12000, 512, 4096, 4096, 6, 4, 4, false, 2000},
    {"packed, 512 KiB, 1 KiB blocks", 512 << 10, 512, 1024, 2000, 120, 8000, .levels = 1, .packs = true,
     .range_every = 2000},
    {"packed, deep, 4 MiB, 512-byte blocks", 4 << 20, 512, 512, 8000, 100, 8000, 512, 2048, 4096, 4, 4, 3, true, 2000},
    {"ranges, 512 KiB, 1 KiB blocks", 512 << 10, 512, 1024, 2000, 120, 5000, .levels = 1, .range_every = 40},
    {"ranges, deep, 4 MiB, 512-byte blocks", 4 << 20, 512, 512, 8000, 100, 12000, 512, 2048, 4096, 4, 4, 3, false, 60},

};

static uint64_t start_seed(void) {
  const char *text = getenv("WODAN_SEED");
  return text ? strtoull(text, NULL, 0) : 20261122;
}

static size_t make_key(uint64_t n, uint8_t *key) {
  /* Several shapes: short numbers, long common prefixes, binary. */
  switch (n % 3) {
  case 0:
    return (size_t)sprintf((char *)key, "%llu", (unsigned long long)n);
  case 1:
    return (size_t)sprintf((char *)key, "prefix/that/is/long/%06llu", (unsigned long long)n);
  }
  uint64_t mixed = n * 0x9E3779B97F4A7C15ull;
  memcpy(key, &mixed, 8);
  return 8;
}

struct rig {
  const struct geometry *geometry;
  struct kept_bytes *kept;
  struct wodan_db *db;
  struct model *model;
  uint64_t random, seed;
  unsigned refused, ranges;
  uint64_t levels;         /* most that there were */
  uint64_t packed, passed; /* pages, of all opens */
};

static void rig_fail(struct rig *rig, const char *what, const char *why) {
  fail_msg("%s: %s (geometry '%s'; replay: WODAN_SEED=%llu test_model)", what, why, rig->geometry->name,
           (unsigned long long)rig->seed);
}

static void rig_open(struct rig *rig) {
  struct wodan_error error;
  struct wodan_device *device = kept_plug(rig->kept, rig->geometry->sector, 0);
  struct wodan_open_options options = {0};
  if (rig->geometry->packs) options.compression = WODAN_COMPRESSION_OFF + (uint32_t)random_below(&rig->random, 3);
  if (wodan_open(device, &options, &rig->db, &error) < 0) rig_fail(rig, "open", error.message);
}

static void rig_check(struct rig *rig, const char *when) {
  char why[256];
  if (!model_equals(rig->model, rig->db, why, sizeof why)) rig_fail(rig, when, why);
}

static void rig_reopen(struct rig *rig) {
  struct wodan_error error;
  struct wodan_stats stats = {0};
  wodan_stats(rig->db, &stats);
  if (stats.levels > rig->levels) rig->levels = stats.levels;
  rig->packed += stats.leaf_pages_packed;
  rig->passed += stats.leaf_pages_passed;
  if (wodan_close(rig->db, &error) < 0) rig_fail(rig, "close", error.message);
  rig_open(rig);
  rig_check(rig, "after reopen");
}

/* One batch of 1 to 8 operations, applied to both when the database takes it. */
static void rig_write(struct rig *rig, unsigned size) {
  struct wodan_batch *batch;
  struct {
    uint8_t key[64];
    size_t key_size;
    uint8_t value[256];
    size_t value_size;
    enum { DELETE, PUT, RANGE } kind;
    unsigned open; /* ends of a range that are not given: 1 the lower, 2 the upper */
  } ops[8];
  assert_int_equal(wodan_batch_create(rig->db, &batch), 0);
  for (unsigned i = 0; i < size; i++) {
    ops[i].key_size = make_key(random_below(&rig->random, rig->geometry->keys), ops[i].key);
    ops[i].kind = random_below(&rig->random, 10) < (rig->refused ? 4 : 7) ? PUT : DELETE;
    ops[i].value_size = random_below(&rig->random, rig->geometry->value_max + 1);
    for (size_t b = 0; b < ops[i].value_size; b++) {
      ops[i].value[b] = (uint8_t)random_next(&rig->random);
      if (rig->geometry->packs && b >= 10) ops[i].value[b] = ops[i].value[b - 10]; /* there is something to gain */
    }
    if (random_below(&rig->random, rig->geometry->range_every) == 0) {
      uint64_t shape = random_below(&rig->random, 16); /* most ranges are narrow, some wide, few open */
      ops[i].kind = RANGE;
      ops[i].open = shape == 0 ? 1 : shape == 1 ? 2 : 0;
      uint64_t first = random_below(&rig->random, rig->geometry->keys);
      ops[i].key_size = make_key(first, ops[i].key);
      uint64_t last = shape < 4 ? random_below(&rig->random, rig->geometry->keys) : first + 3 * (1 + shape);
      ops[i].value_size = make_key(last, ops[i].value);
      rig->ranges++;
    }
    struct wodan_slice key = {ops[i].key, ops[i].key_size}, value = {ops[i].value, ops[i].value_size};
    const struct wodan_slice *from = ops[i].open & 1 ? NULL : &key, *to = ops[i].open & 2 ? NULL : &value;
    if (ops[i].kind == RANGE)
      assert_int_equal(wodan_batch_delete_range(batch, from, to), 0);
    else
      assert_int_equal(ops[i].kind == PUT ? wodan_batch_put(batch, key, value) : wodan_batch_delete(batch, key), 0);
  }
  struct wodan_commit commit = {.durability = random_below(&rig->random, 8) == 0};
  int status = wodan_batch_commit(rig->db, batch, &commit);
  wodan_batch_free(batch);
  if (status == WODAN_ENOSPC) {
    rig->refused++;
    return;
  }
  if (status < 0) {
    struct wodan_error error;
    wodan_last_error(rig->db, &error);
    rig_fail(rig, "commit", error.message);
  }
  for (unsigned i = 0; i < size; i++) {
    struct wodan_slice key = {ops[i].key, ops[i].key_size}, value = {ops[i].value, ops[i].value_size};
    if (ops[i].kind == RANGE)
      model_delete_range(rig->model, ops[i].open & 1 ? NULL : &key, ops[i].open & 2 ? NULL : &value);
    else if (ops[i].kind == PUT)
      model_put(rig->model, key.data, key.size, value.data, value.size);
    else
      model_delete(rig->model, key.data, key.size);
  }
  model_commit(rig->model);
}

static void run_geometry(const struct geometry *geometry, uint64_t seed, unsigned rounds) {
  struct rig rig = {.geometry = geometry, .random = seed, .seed = seed, .model = model_create()};
  struct wodan_error error;
  rig.kept = kept_create(geometry->size);
  struct wodan_device *device = kept_plug(rig.kept, geometry->sector, 0);
  struct wodan_format_options format = {.block_size = geometry->block,
                                        .page_size = geometry->page,
                                        .leaf_size = geometry->leaf,
                                        .memtable_size = geometry->memtable,
                                        .node_leaves = geometry->node_leaves,
                                        .node_children = geometry->node_children,
                                        .compression = geometry->packs ? WODAN_COMPRESSION_HIGH : 0};
  if (wodan_format(device, &format, &error) < 0) rig_fail(&rig, "format", error.message);
  wodan_device_close(device);
  rig_open(&rig);
  for (unsigned round = 0; round < rounds; round++) {
    rig_write(&rig, 1 + (unsigned)random_below(&rig.random, 8));
    uint64_t dice = random_below(&rig.random, 4000);
    if (dice < 8) rig_reopen(&rig);
    if (dice >= 8 && dice < 16 && wodan_checkpoint(rig.db, NULL) < 0) rig_fail(&rig, "checkpoint", "failed");
    if (dice >= 16 && dice < 20) rig_check(&rig, "while open");
  }
  rig_check(&rig, "at the end");
  rig_reopen(&rig);
  struct wodan_stats stats = {0};
  wodan_stats(rig.db, &stats);
  if (rig.levels < geometry->levels) rig_fail(&rig, "at the end", "the tree is not deep");
  if (geometry->packs)
    print_message("%llu pages compressed, %llu passed on\n", (unsigned long long)rig.packed,
                  (unsigned long long)rig.passed);
  if (geometry->packs && rig.packed == 0) rig_fail(&rig, "at the end", "nothing was compressed");
  print_message("%s: %zu commits, %u refused, %u ranges, %llu leaves, %llu runs, %llu levels, live %llu of %llu\n",
                geometry->name, model_version(rig.model), rig.refused, rig.ranges, (unsigned long long)stats.leaves,
                (unsigned long long)stats.runs, (unsigned long long)stats.levels, (unsigned long long)stats.space_live,
                (unsigned long long)stats.space_total);
  if (wodan_close(rig.db, &error) < 0) rig_fail(&rig, "last close", error.message);
  model_free(rig.model);
  kept_free(rig.kept);
}

static void test_model__random_operations_equal_the_reference_map(void **state) {
  (void)state;
  const char *factor = getenv("WODAN_ROUNDS");
  for (size_t i = 0; i < sizeof geometries / sizeof *geometries; i++) {
    unsigned part = SANITIZED && geometries[i].levels == 1 ? 4 : 1; /* deep ones need all of it to become so */
    run_geometry(&geometries[i], start_seed() + i, geometries[i].rounds / part * (factor ? (unsigned)atoi(factor) : 1));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_model__random_operations_equal_the_reference_map),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
