/* Every finding tells what repair can do about it: does it on a copy, and sees whether that was true. */
#ifndef UNIT_CHECK_REPAIR_H
#define UNIT_CHECK_REPAIR_H

#include <stdbool.h>
#include "check_store.h"

static inline int store_random(void *context, void *buffer, size_t size) {
  (void)context;
  memset(buffer, 0x5A, size);
  return 0;
}

/* The greatest repair that a finding asks for; what a repair told. */
struct repair_heard {
  uint32_t most;
  uint64_t steps, hash;
};

static inline void repair_heard_finding(void *context, const struct wodan_finding *finding) {
  struct repair_heard *heard = context;
  if (finding->repair > heard->most) heard->most = finding->repair;
}

static inline void repair_heard_step(void *context, const struct wodan_repair_step *step) {
  struct repair_heard *heard = context;
  heard->steps++;
  for (const char *c = step->message; *c; c++) heard->hash = heard->hash * 31 + (uint8_t)*c;
}

static inline void store_repair(struct store *store, uint32_t allowed, bool dry_run, struct repair_heard *heard,
                                struct wodan_repair_report *report) {
  struct wodan_device *device = store_open(store);
  struct wodan_error error;
  memset(heard, 0, sizeof *heard);
  const struct wodan_repair_options options = {.allowed = allowed,
                                               .dry_run = dry_run,
                                               .hooks = {.random = store_random},
                                               .context = heard,
                                               .finding = repair_heard_finding,
                                               .step = repair_heard_step};
  int status = wodan_repair(device, &options, report, &error);
  wodan_device_close(device);
  if (status < 0) fail_msg("repair answers %d: %s", status, error.message);
}

/* The repair of a copy leaves no damage exactly when what its findings ask for is allowed; a dry run tells the same steps and
 * writes nothing; the next repair has nothing to do. */
static inline void store_repair_as_told(const struct store *damaged, uint32_t allowed) {
  struct store store = store_copy(damaged);
  struct repair_heard dry, real, again;
  struct wodan_repair_report report, last;
  uint64_t writes = store.writes;
  store_repair(&store, allowed, true, &dry, &report);
  assert_true(store.writes == writes);
  store_repair(&store, allowed, false, &real, &report);
  assert_true(dry.steps == real.steps && dry.hash == real.hash && report.steps == real.steps);
  bool whole = report.after.damages + report.after.warnings == 0;
  if (whole != (real.most <= allowed)) {
    struct heard left;
    store_check(&store, &left);
    heard_print(&left);
    fail_msg("findings ask for repair %u, and repair %u leaves %llu damages, %llu warnings", real.most, allowed,
             (unsigned long long)report.after.damages, (unsigned long long)report.after.warnings);
  }
  store_repair(&store, allowed, false, &again, &last);
  assert_int_equal(again.steps, 0);
  store_free(&store);
}

/* A salvage ends well and leaves a whole volume. */
static inline void store_salvage(const struct store *damaged) {
  struct store store = store_copy(damaged), out = store_create(damaged->size * 2, damaged->sector);
  struct wodan_device *from = store_open(&store), *to = store_open(&out);
  struct wodan_salvage_report report;
  struct wodan_error error;
  struct heard heard;
  const struct wodan_salvage_options options = {.hooks = {.random = store_random}};
  int status = wodan_salvage(from, to, &options, &report, &error);
  wodan_device_close(from);
  wodan_device_close(to);
  if (status < 0) fail_msg("salvage answers %d: %s", status, error.message);
  assert_memory_equal(store.bytes, damaged->bytes, damaged->size);
  store_check(&out, &heard);
  if (heard.status < 0 || heard.count) heard_print(&heard);
  assert_true(heard.status == 0 && heard.count == 0);
  store_free(&store);
  store_free(&out);
}

static inline void store_mend(const struct store *damaged) {
  store_repair_as_told(damaged, WODAN_REPAIR_SAFE);
  store_repair_as_told(damaged, WODAN_REPAIR_LOSSY);
  store_salvage(damaged);
}

#endif
