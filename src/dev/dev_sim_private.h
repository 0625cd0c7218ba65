/* The simulated device inside: shared by dev_sim.c (operations and faults) and dev_sim_crash.c (crash states). */
#ifndef DEV_DEV_SIM_PRIVATE_H
#define DEV_DEV_SIM_PRIVATE_H

#include <string.h>

#include "base/mem.h"
#include "base/thread.h"
#include "dev/dev_sim.h"

/* One write or discard in flight. */
struct sim_element {
  uint64_t first;    /* sector */
  uint64_t mutation; /* index; part of the seed of its garbage */
  size_t data;       /* offset in the arena; writes only */
  uint32_t sectors, segment;
  bool discard;
};

struct sim_fault_state {
  struct sim_fault fault;
  uint64_t seen, struck;
};

struct sim {
  struct wodan_device device; /* first */
  struct sim_options options;
  struct mem mem;
  struct lock lock; /* taken by transfer, barrier, flush, resize */
  uint64_t sectors;
  uint32_t sector;
  /* one allocation, cut into planes */
  void *planes;
  size_t planes_size;
  uint32_t *writes;
  uint8_t *medium, *content, *older; /* older NULL without keep_older */
  uint8_t *medium_marks, *content_marks, *stored;
  uint64_t stored_count;
  bool marked; /* some mark of content may be set */
  /* the window */
  struct sim_element *elements;
  size_t element_count, element_capacity;
  uint8_t *arena;
  size_t arena_used, arena_capacity;
  uint32_t segment;
  /* faults, power, counters */
  struct sim_fault_state *faults;
  size_t fault_count, fault_capacity;
  struct sim_operation *log;
  size_t log_count, log_capacity;
  uint64_t counts[SIM_KINDS], mutations, violations, struck, cut, random;
  bool off, over_quota, starved;
};

static inline uint64_t sim_mix(uint64_t *state) { /* splitmix64 */
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static inline void sim_fill_random(uint64_t *state, uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i += 8) {
    uint64_t word = sim_mix(state);
    memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
  }
}

static inline void sim_garbage(const struct sim *sim, uint64_t sector, uint64_t salt, uint8_t *bytes) {
  uint64_t state = sim->options.seed ^ (sector + 1) * 0xd1342543de82ef95u ^ (salt + 1) * 0xaf251af3b0f025b5u;
  sim_fill_random(&state, bytes, sim->sector);
}

/* The choice that means "landed" for an element. */
static inline uint8_t sim_landed(const struct sim *sim, const struct sim_element *element) {
  return element->discard ? sim->options.discard : (uint8_t)SIM_NEW;
}

static inline void sim_apply_discard(const struct sim *sim, uint64_t sector, uint64_t salt, uint8_t choice,
                                     uint8_t *bytes, uint8_t *mark) {
  if (choice == SIM_DISCARD_NOT_DONE || (choice == SIM_DISCARD_OLDER && !sim->older)) return;
  *mark = SIM_MARK_NONE;
  switch (choice) {
  case SIM_DISCARD_ZERO:
    memset(bytes, 0, sim->sector);
    break;
  case SIM_DISCARD_FF:
    memset(bytes, 0xff, sim->sector);
    break;
  case SIM_DISCARD_OLDER:
    memcpy(bytes, sim->older + sector * sim->sector, sim->sector);
    break;
  case SIM_DISCARD_GARBAGE:
    sim_garbage(sim, sector, salt, bytes);
    break;
  default:
    *mark = SIM_MARK_RANDOM;
    break;
  }
}

/* Applies sector i of an element to planes of the whole device. */
static inline void sim_apply(const struct sim *sim, const struct sim_element *e, uint32_t i, uint8_t choice,
                             uint8_t *bytes, uint8_t *marks) {
  uint64_t sector = e->first + i;
  uint8_t *place = bytes + sector * sim->sector;
  if (e->discard) {
    sim_apply_discard(sim, sector, e->mutation, choice, place, &marks[sector]);
    return;
  }
  if (choice == SIM_OLD) return;
  marks[sector] = choice == SIM_UNREADABLE ? SIM_MARK_UNREADABLE : SIM_MARK_NONE;
  if (choice == SIM_NEW) memcpy(place, sim->arena + e->data + (size_t)i * sim->sector, sim->sector);
  if (choice == SIM_ZERO) memset(place, 0, sim->sector);
  if (choice == SIM_GARBAGE) sim_garbage(sim, sector, e->mutation, place);
}

#endif
