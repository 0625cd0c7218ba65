/* Owns: the judgement of single discards.
 *
 * Always true: what is needed is derived from the bytes on the device alone, by the inspection that commands use: from those
 * that are durable (a power cut comes now) and from those that reads see (the process dies now).
 *
 * Order: before the discard has any effect.
 *
 * See: tests/crash/test_discards.c, work.c. */
#include "crash/discard_watch.h"

#include <stdio.h>
#include <string.h>
#include <wodan/inspect.h>

/* Marks what the roots on these bytes and the replay on them need, or only runs, leaves and large values of the newest. */
static int look_at_map(struct discard_watch *watch, struct wodan_inspect *inspect, bool runs, uint8_t *needed) {
  struct wodan_summary summary = {.size = sizeof summary};
  wodan_inspect_summary(inspect, &summary);
  watch->block_size = summary.block_size;
  watch->blocks = summary.blocks;
  struct wodan_map_cell *cells = mem_array(watch->mem, watch->blocks, sizeof *cells);
  uint64_t per_cell;
  if (!cells) return WODAN_ENOMEM;
  int status = wodan_inspect_map(inspect, cells, (size_t)watch->blocks, &per_cell, NULL);
  for (uint64_t b = 0; status == 0 && b < watch->blocks; b++) {
    const uint64_t *of = cells[b].blocks;
    needed[b] |= runs ? of[WODAN_MAP_RUN] || of[WODAN_MAP_LEAF] || of[WODAN_MAP_LARGE] : !of[WODAN_MAP_FREE];
  }
  mem_array_free(watch->mem, cells, watch->blocks, sizeof *cells);
  return status;
}

static int look_at(struct discard_watch *watch, const struct sim *sim, const uint8_t *bytes, bool runs,
                   uint8_t *needed) {
  struct wodan_device *device;
  struct wodan_inspect *inspect = NULL;
  union {
    const uint8_t *given;
    uint8_t *data;
  } u = {.given = bytes}; /* a write only reads it */
  int status = wodan_memory_device(sim_size(sim), sim_sector(sim), &device);
  if (status < 0) return status;
  struct wodan_io io = {.kind = WODAN_IO_WRITE, .data = u.data, .size = (size_t)sim_size(sim)};
  status = device->ops->transfer(device, &io, 1);
  if (status == 0) status = wodan_inspect_open(device, NULL, &inspect, NULL);
  if (status == 0) status = look_at_map(watch, inspect, runs, needed);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  return status;
}

static int look(struct discard_watch *watch, const struct sim *sim) {
  uint64_t now = sim_count(sim, SIM_WRITE) + sim_count(sim, SIM_FLUSH) + 1, before = watch->before;
  watch->before = sim_count(sim, SIM_DISCARD);
  if (watch->looked == now && watch->before > before) return 0;
  if (!watch->needed)
    watch->needed = mem_alloc(watch->mem, watch->capacity = (size_t)(sim_size(sim) / sim_sector(sim)));
  if (!watch->needed) return WODAN_ENOMEM;
  memset(watch->needed, 0, watch->capacity);
  int status = look_at(watch, sim, sim_medium(sim), false, watch->needed);
  if (status == 0) status = look_at(watch, sim, sim_content(sim), false, watch->needed);
  if (status == 0) watch->looked = now;
  return status;
}

int discard_watch(struct discard_watch *watch, const struct sim *sim, const struct sim_operation *operation) {
  int status = look(watch, sim);
  if (status < 0) return status;
  watch->discards++;
  watch->bytes += operation->size;
  uint64_t first = operation->offset / watch->block_size;
  uint64_t end = (operation->offset + operation->size + watch->block_size - 1) / watch->block_size;
  for (uint64_t b = first; b < end; b++) {
    bool pinned = watch->pinned && watch->pinned[b];
    if (!pinned && !watch->needed[b]) continue;
    if (watch->wrong++ == 0)
      snprintf(watch->why, sizeof watch->why, "a discard of blocks %llu to %llu takes block %llu, which %s needs",
               (unsigned long long)first, (unsigned long long)end, (unsigned long long)b, pinned ? "a view" : "a root");
    return WODAN_EIO;
  }
  return 0;
}

int discard_watch_pin(struct discard_watch *watch, const struct sim *sim, uint8_t *pinned, uint64_t blocks) {
  if (blocks < sim_size(sim) / sim_sector(sim)) return WODAN_EINVAL;
  memset(pinned, 0, (size_t)blocks);
  return look_at(watch, sim, sim_content(sim), true, pinned);
}

void discard_watch_release(struct discard_watch *watch) {
  if (watch->needed) mem_free(watch->mem, watch->needed, watch->capacity);
  watch->needed = NULL;
}
