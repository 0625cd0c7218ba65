/* Short calls of a simulated device, for its own tests: sizes in sectors, contents one byte a sector. Include after
 * cmocka.h. */
#ifndef UNIT_DEV_SIM_CALLS_H
#define UNIT_DEV_SIM_CALLS_H

#include <string.h>

#include "dev/dev_sim.h"

enum { S = 64, SECTORS = 64, SIZE = S * SECTORS };

static inline struct sim *make(const struct sim_options *options) {
  struct sim *sim;
  assert_int_equal(sim_create(SIZE, S, options, &sim), 0);
  return sim;
}

static inline int io(struct sim *sim, uint8_t kind, uint64_t sector, uint64_t sectors, void *data) {
  struct wodan_io request = {
      .kind = kind, .offset = sector * S, .data = data, .size = (size_t)sectors * S, .status = 99};
  int status = sim_device(sim)->ops->transfer(sim_device(sim), &request, 1);
  assert_int_equal(status, request.status);
  return status;
}

/* Sectors [sector, sector + count) get the byte `value`. */
static inline int put(struct sim *sim, uint64_t sector, uint64_t count, uint8_t value) {
  uint8_t data[SIZE];
  memset(data, value, sizeof data);
  return io(sim, WODAN_IO_WRITE, sector, count, data);
}

static inline int discard(struct sim *sim, uint64_t sector, uint64_t count) {
  return io(sim, WODAN_IO_DISCARD, sector, count, NULL);
}
static inline int barrier(struct sim *sim) { return sim_device(sim)->ops->barrier(sim_device(sim)); }
static inline int flush(struct sim *sim) { return sim_device(sim)->ops->flush(sim_device(sim)); }

/* First byte of a sector; negative on failure. */
static inline int get(struct sim *sim, uint64_t sector) {
  uint8_t data[S];
  int status = io(sim, WODAN_IO_READ, sector, 1, data);
  return status ? status : data[0];
}

static inline int medium_at(const struct sim *sim, uint64_t sector) { return sim_medium(sim)[sector * S]; }

/* A device whose old content is not zeros, so that "old" and "zero" are different images. */
static inline struct sim *make_filled(void) {
  struct sim *sim = make(NULL);
  put(sim, 0, SECTORS, 0xa0);
  flush(sim);
  return sim;
}

static inline void fault(struct sim *sim, struct sim_fault f) { assert_int_equal(sim_fault_add(sim, &f), 0); }

#endif
