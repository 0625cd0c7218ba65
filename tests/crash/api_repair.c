/* Copies, salvage and repair in place while memory or the device fails. See test_api_faults.c. */
#include <wodan/image.h>
#include <wodan/repair.h>

#include "api_world.h"

static struct wodan_device *memory_device(void) {
  struct wodan_device *device;
  assert_int_equal(wodan_memory_device(SIZE, SECTOR, &device), 0);
  return device;
}

/* The content of a volume that is to hold it all; the device is closed. */
static void expect_all(struct world *w, struct wodan_device *device, const char *what) {
  struct wodan_open_options options = open_options(w, WODAN_OPEN_READ_ONLY);
  struct wodan_error error;
  if (wodan_open(device, &options, &w->db, &error) < 0) wrong(w, what, error.code, error.message);
  expect_content(w, what);
  assert_int_equal(wodan_close(w->db, NULL), 0);
  w->db = NULL;
}

void copy_volume(struct world *w) {
  const struct wodan_copy_options options = {.scramble = 1};
  struct wodan_check_report found;
  struct wodan_copy_report report = {.damaged = 0};
  struct wodan_device *to = memory_device();
  struct wodan_inspect *inspect = NULL;
  struct wodan_error error = {.code = 0};
  int status = TRY(wodan_inspect_open, w->device, NULL, &inspect, &error);
  if (status == 0) status = TRY(wodan_image_copy, inspect, to, &options, &report, &error);
  if (!allowed(w, status) || (status < 0 && error.code != status)) wrong(w, "wodan_image_copy", status, error.message);
  if (report.damaged && !reading(w)) wrong(w, "wodan_image_copy", 0, "takes a fault for damage");
  RUN(wodan_inspect_close, inspect);
  RUN(wodan_device_close, w->device);
  w->device = NULL;
  uint64_t struck = loop_struck();
  loop_disarm();
  if (status == 0 && (struck == 0 || !reading(w))) {
    if (wodan_check(to, NULL, &found, &error) < 0) wrong(w, "a check of the copy", error.code, error.message);
    if (found.damages || found.warnings || found.records == 0) wrong(w, "the copy", 0, "is another one");
  }
  wodan_device_close(to);
}

void salvage_volume(struct world *w) {
  const struct wodan_salvage_options options = {.hooks = {.context = &w->random, .random = seeded}};
  struct wodan_salvage_report report = {.losses = 0};
  struct wodan_device *to = memory_device();
  struct wodan_error error = {.code = 0};
  int status = TRY(wodan_salvage, w->device, to, &options, &report, &error);
  if (!allowed(w, status) || (status < 0 && error.code != status)) wrong(w, "wodan_salvage", status, error.message);
  if (report.losses && !reading(w)) wrong(w, "wodan_salvage", 0, "takes a fault for damage");
  RUN(wodan_device_close, w->device);
  w->device = NULL;
  bool whole = status == 0 && report.losses == 0 && report.check.damages == 0;
  loop_disarm();
  if (whole)
    expect_all(w, to, "what was salvaged");
  else
    wodan_device_close(to);
}

/* Of a volume without the superblock's copy. */
void repair_volume(struct world *w) {
  const struct wodan_repair_options options = {.hooks = {.context = &w->random, .random = seeded}};
  struct wodan_repair_report report = {.steps = 0};
  struct wodan_error error = {.code = 0};
  int status = TRY(wodan_repair, w->device, &options, &report, &error);
  bool hidden = status == WODAN_EFORMAT && reading(w); /* the only superblock */
  if ((!allowed(w, status) && !hidden) || (status < 0 && error.code != status))
    wrong(w, "wodan_repair", status, error.message);
  if (report.losses) wrong(w, "wodan_repair", 0, "gives records up");
  if (loop_struck() == 0 && (report.steps == 0 || report.after.damages)) wrong(w, "wodan_repair", 0, "does nothing");
  RUN(wodan_device_close, w->device);
  w->device = NULL;
}

/* What was not repaired, or by half, is repaired now. */
void mend_volume(struct world *w) {
  const struct wodan_repair_options options = {.hooks = {.context = &w->random, .random = seeded}};
  struct wodan_repair_report report;
  struct wodan_error error;
  assert_int_equal(wodan_sim_power_cut(w->sim, NULL), 0);
  assert_int_equal(wodan_sim_plug(w->sim, &w->device), 0);
  if (wodan_repair(w->device, &options, &report, &error) < 0) wrong(w, "a second repair", error.code, error.message);
  if (report.after.damages || report.after.warnings) wrong(w, "a second repair", 0, "leaves damage");
  expect_all(w, w->device, "what was repaired");
  w->device = NULL;
}
