/* A database on a simulated device, in a few words. Everything asserts what must not fail. Include after cmocka.h. */
#ifndef CRASH_CRASH_RIG_H
#define CRASH_CRASH_RIG_H

#include <stdio.h>
#include <string.h>
#include <wodan/wodan.h>
#include "engine/engine.h"
#include "support/random.h"
#include "crash/sim_plug.h"

struct rig {
  struct sim *sim;
  struct wodan_device *plug;
  struct wodan_db *db;
  uint64_t random; /* of the hooks; goes on across mounts */
  uint32_t block;
  uint32_t nodes;       /* entries of a node, for format; 0: the usual numbers */
  bool background;      /* maintenance has its thread; else the order of all operations is always the same */
  uint32_t discard;     /* enum wodan_discard; 0: BATCHED, which never comes to it unless the clock goes */
  uint64_t memory;      /* budget, bytes; 0: the usual one */
  uint64_t clock, step; /* ns; each look at the clock moves it by `step` */
};

static inline int rig_random(void *context, void *buffer, size_t size) {
  struct rig *rig = context;
  for (size_t i = 0; i < size; i++) ((uint8_t *)buffer)[i] = (uint8_t)random_next(&rig->random);
  return 0;
}

static inline uint64_t rig_clock(void *context) {
  struct rig *rig = context;
  return rig->clock += rig->step;
}

static inline int rig_format(struct rig *rig, uint32_t block, bool force, struct wodan_error *error) {
  struct wodan_format_options options = {.block_size = block,
                                         .node_leaves = rig->nodes,
                                         .node_children = rig->nodes,
                                         .force = force,
                                         .hooks = {.context = rig, .random = rig_random}};
  struct wodan_device *plug = sim_plug(rig->sim);
  int status = wodan_format(plug, &options, error);
  wodan_device_close(plug);
  return status;
}

static inline void rig_make(struct rig *rig, uint64_t size, uint32_t sector, uint32_t block) {
  struct sim_options options = {.seed = 11};
  struct wodan_error error;
  *rig = (struct rig){.random = 4711, .block = block};
  assert_int_equal(sim_create(size, sector, &options, &rig->sim), 0);
  if (rig_format(rig, block, false, &error) < 0) fail_msg("format: %s", error.message);
}

static inline int rig_try_open(struct rig *rig, unsigned flags, struct wodan_error *error) {
  struct wodan_open_options options = {.flags = flags | (rig->background ? 0 : WODAN_OPEN_INLINE),
                                       .memory_budget = rig->memory ? rig->memory : 640 << 10,
                                       .discard = rig->discard,
                                       .hooks = {.context = rig, .random = rig_random, .now = rig_clock}};
  rig->plug = sim_plug(rig->sim);
  int status = wodan_open(rig->plug, &options, &rig->db, error);
  if (status < 0) wodan_device_close(rig->plug);
  return status;
}

static inline void rig_open(struct rig *rig) {
  struct wodan_error error;
  if (rig_try_open(rig, 0, &error) < 0) fail_msg("open: %s", error.message);
}

/* The process dies: what the device was given stays in its window. */
static inline void rig_drop(struct rig *rig) {
  sim_unplug(rig->plug);
  wodan_close(rig->db, NULL);
}

static inline void rig_close(struct rig *rig) {
  struct wodan_error error;
  if (wodan_close(rig->db, &error) < 0) fail_msg("close: %s", error.message);
}

static inline void rig_release(struct rig *rig) { sim_close(rig->sim); }

/* The power fails: nothing of the window lands. */
static inline void rig_power(struct rig *rig) {
  struct sim_image image;
  assert_int_equal(sim_image_init(&image, rig->sim), 0);
  assert_int_equal(sim_load(rig->sim, &image), 0);
  sim_image_release(&image);
}

static inline struct wodan_slice text(const char *string) { return (struct wodan_slice){string, strlen(string)}; }

static inline int rig_put(struct rig *rig, const char *key, const char *value, bool durable) {
  struct wodan_commit commit = {.durability = durable ? WODAN_DURABLE : WODAN_BUFFERED};
  return wodan_put(rig->db, text(key), text(value), &commit);
}

static inline void put_ok(struct rig *rig, const char *key, const char *value, bool durable) {
  struct wodan_error error;
  if (rig_put(rig, key, value, durable) == 0) return;
  wodan_last_error(rig->db, &error);
  fail_msg("put %s: %s", key, error.message);
}

/* Key "<prefix><n>" with a value of `size` bytes that begins with `round`. */
static inline void put_number(struct rig *rig, unsigned n, unsigned round, size_t size) {
  char key[16], value[160];
  memset(value, 'a' + (int)(n % 26), sizeof value);
  snprintf(key, sizeof key, "n%03u", n);
  int used = snprintf(value, 16, "r%u:", round);
  value[used] = '#';
  value[size] = 0;
  put_ok(rig, key, value, false);
}

/* 0 or the status; *round: which round the value is of. */
static inline int get_number(struct rig *rig, unsigned n, unsigned *round) {
  char key[16], value[160];
  size_t size;
  snprintf(key, sizeof key, "n%03u", n);
  int status = wodan_get(rig->db, NULL, text(key), value, sizeof value, &size);
  if (status == 0) assert_int_equal(sscanf(value, "r%u:", round), 1);
  return status;
}

static inline bool has(struct rig *rig, const char *key, const char *value) {
  char found[160];
  size_t size;
  int status = wodan_get(rig->db, NULL, text(key), found, sizeof found, &size);
  if (status == WODAN_ENOTFOUND) return false;
  assert_int_equal(status, 0);
  return size == strlen(value) && memcmp(found, value, size) == 0;
}

/* The newest durable root's node is damaged on the medium. */
static inline void rig_rot_root(struct rig *rig, uint64_t first_block) {
  uint8_t byte = (uint8_t)~sim_medium(rig->sim)[first_block * rig->block];
  sim_poke(rig->sim, first_block * rig->block, &byte, 1);
}

#endif
