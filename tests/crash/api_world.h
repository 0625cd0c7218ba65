/* The world of the fault loops over the public interface: one run of a scenario under a fault, and what is demanded of every
 * answer. See test_api_faults.c. */
#ifndef CRASH_API_WORLD_H
#define CRASH_API_WORLD_H

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <wodan/wodan.h>
#include "crash/model.h"
#include "fault_loop.h"
#include "support/random.h"

enum { SIZE = 64 << 10, SECTOR = 512, KEYS = 120, MORE = 40, VALUE = 70 };

struct world {
  const char *scenario;
  struct loop_fault fault;
  struct wodan_sim *sim;
  struct wodan_device *device;
  struct wodan_db *db;
  size_t acked;           /* version of the model that must survive */
  uint64_t random;        /* of hooks */
  uint64_t struck;        /* faults before the open that went well */
  uint64_t mutations;     /* when the handle had failed; UINT64_MAX: it has not */
  uint64_t damages, told; /* of callbacks */
};

/* What all scenarios share. */
struct shared {
  uint8_t image[SIZE]; /* a tree of two levels, not closed, with operations to replay */
  struct model *model;
  size_t base; /* its version in the image */
  uint64_t seed;
  bool each;
  uint64_t faults, struck;
};
extern struct shared all;

/* ---- what is said when it goes wrong ------------------------------------------------------------------------------ */

static inline void wrong(const struct world *w, const char *what, int status, const char *why) {
  fail_msg("%s: %s %llu fails %s: %s answers %d: %s; again: WODAN_FAULT_SEED=%llu", w->scenario,
           loop_kind_names[w->fault.kind], (unsigned long long)w->fault.at, loop_mode_names[w->fault.mode], what,
           status, why, (unsigned long long)all.seed);
}

static inline bool mutating(const struct world *w) {
  return w->fault.kind >= LOOP_WRITE && w->fault.kind != LOOP_DISCARD;
}
static inline bool reading(const struct world *w) { return w->fault.kind >= LOOP_READ && w->fault.kind < LOOP_WRITE; }

static inline bool allowed(const struct world *w, int status) {
  if (status >= 0) return true;
  if (loop_struck() == 0) return false;
  if (w->fault.kind == LOOP_MEMORY) return status == WODAN_ENOMEM;
  if (w->fault.kind == LOOP_DISCARD) return false; /* makes nothing else fail */
  if (mutating(w)) return status == WODAN_EIO || status == WODAN_EFAILED;
  if (w->fault.kind != LOOP_READ && w->fault.mode == LOOP_ONCE) return false; /* what is read again is right */
  /* What cannot be swept fills a small volume; a superblock that always reads wrong is none. */
  bool none = status == WODAN_EFORMAT || status == WODAN_EVERSION;
  return status == WODAN_EIO || status == WODAN_ECORRUPT || status == WODAN_ENOSPC ||
         (none && w->fault.kind != LOOP_READ);
}

/* What is visible is what was committed. Only while no fault is due. */
static inline void expect_content(const struct world *w, const char *what) {
  char why[256] = "";
  if (!model_equals(all.model, w->db, why, sizeof why)) wrong(w, what, 0, why);
}

/* Judges the answer of a call on an open database. True: it failed, and the fault is over. */
static inline bool failed(struct world *w, int status, const char *what) {
  struct wodan_error error = {.message = ""};
  if (status >= 0) return false;
  if (w->db) RUN(wodan_last_error, w->db, &error);
  if (!allowed(w, status)) wrong(w, what, status, error.message);
  if (w->db && error.code != status) wrong(w, what, status, "it is not the last error");
  bool over = w->fault.mode == LOOP_ONCE;
  if (over && w->db) expect_content(w, what);
  return over;
}

/* A call is made again when the fault is over; then it must go through, unless the handle only reads from now on. */
#define AGAIN(w, function, ...)                                                                                        \
  do {                                                                                                                 \
    int status_ = TRY(function, __VA_ARGS__);                                                                          \
    if (failed(w, status_, #function)) {                                                                               \
      status_ = TRY(function, __VA_ARGS__);                                                                            \
      if (status_ < 0 && !(mutating(w) && status_ == WODAN_EFAILED)) wrong(w, #function, status_, "again");            \
    }                                                                                                                  \
  } while (0)

/* ---- keys --------------------------------------------------------------------------------------------------------- */

static inline struct wodan_slice key_of(unsigned n, char text[16]) {
  int size = snprintf(text, 16, "key%03u", n);
  return (struct wodan_slice){text, (size_t)size};
}

/* The value that the model's next commit gives a key. */
static inline struct wodan_slice value_of(unsigned n, uint8_t value[VALUE]) {
  uint64_t state = n * 1000003ull + model_version(all.model);
  for (size_t i = 0; i < VALUE; i++) value[i] = (uint8_t)('a' + random_next(&state) % 26);
  return (struct wodan_slice){value, 20 + n % (VALUE - 20)};
}

static inline int seeded(void *context, void *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) ((uint8_t *)bytes)[i] = (uint8_t)random_next(context);
  return 0;
}

static inline uint64_t standing_still(void *context) {
  (void)context;
  return 0;
}

static inline struct wodan_open_options open_options(struct world *w, uint32_t flags) {
  return (struct wodan_open_options){.flags = flags | WODAN_OPEN_INLINE,
                                     .memory_budget = 1 << 20,
                                     .discard = WODAN_DISCARD_EAGER,
                                     .hooks = {.context = &w->random, .random = seeded, .now = standing_still}};
}

static inline uint64_t mutations(const struct world *w) {
  return wodan_sim_count(w->sim, WODAN_SIM_WRITE) + wodan_sim_count(w->sim, WODAN_SIM_BARRIER) +
         wodan_sim_count(w->sim, WODAN_SIM_FLUSH);
}

/* Nothing is written behind the first failure. */
/* Scenarios without a device of the loop's own (api_devices.c): memory only. */
void use_devices(struct world *w);
void use_simulator(struct world *w);
void explore_workload(struct world *w);
void run_crashes(struct world *w);

/* api_repair.c */
void copy_volume(struct world *w);
void salvage_volume(struct world *w);
void repair_volume(struct world *w);
void mend_volume(struct world *w); /* what was not repaired, or by half, is repaired now */

#endif
