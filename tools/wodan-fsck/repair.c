/* Owns: wodan-fsck -p, -y and -n: what is told of a repair in place, and its exit code.
 *
 * Always true: a dry run opens the image for reading only; the exit code tells of what a last check found, not of what was
 * tried.
 *
 * Order: findings, then steps as they are done, then the summary of the last check.
 *
 * See: wodan-fsck(8), tests/cli/test_fsck.sh. */
#include <inttypes.h>
#include <stdio.h>
#include "fsck.h"

static const char *kind_name(uint32_t kind) {
  static const char *const names[] = {[WODAN_REPAIR_SUPERBLOCK] = "superblock",
                                      [WODAN_REPAIR_ROOT] = "root",
                                      [WODAN_REPAIR_OLDER_ROOT] = "older_root",
                                      [WODAN_REPAIR_JOURNAL] = "journal",
                                      [WODAN_REPAIR_OPERATIONS] = "operations",
                                      [WODAN_REPAIR_NODE] = "node",
                                      [WODAN_REPAIR_LEAF] = "leaf",
                                      [WODAN_REPAIR_RUNS] = "runs"};
  return kind < sizeof names / sizeof *names && names[kind] ? names[kind] : "unknown";
}

static void repair_step(void *context, const struct wodan_repair_step *step) {
  struct fsck *fsck = context;
  const struct key_range range = {step->has_range, step->has_lower, step->has_upper, step->lower, step->upper};
  char keys[RANGE_TEXT_SIZE];
  bar_wipe(fsck);
  if (!fsck->json) {
    range_text(keys, &range);
    printf("%s %s: ", fsck->dry_run ? "would repair" : "repair", kind_name(step->kind));
    if (step->block != WODAN_NO_BLOCK) printf("block %" PRIu64 ": ", step->block);
    printf("%s%s\n", step->message, keys);
    return;
  }
  struct json *json = &fsck->extra;
  json_open(json, NULL, '{');
  json_text(json, "kind", kind_name(step->kind));
  json_block(json, "block", step->block);
  json_number(json, "generation", step->generation);
  json_text(json, "message", step->message);
  range_json(json, "keys", &range);
  json_close(json, '}');
}

static int run(struct fsck *fsck, struct wodan_repair_report *report, struct wodan_error *error) {
  struct wodan_device *device = NULL;
  int status = wodan_path_device(fsck->image, fsck->dry_run ? WODAN_PATH_READ_ONLY : 0, 0, &device, error);
  if (status < 0) return status;
  const struct wodan_repair_options options = {.size = sizeof options,
                                               .allowed = fsck->mode == FSCK_REPAIR_ALL ? WODAN_REPAIR_LOSSY
                                                                                        : WODAN_REPAIR_SAFE,
                                               .dry_run = fsck->dry_run,
                                               .context = fsck,
                                               .finding = on_finding,
                                               .step = repair_step,
                                               .progress = on_progress,
                                               .memory_limit = fsck->memory,
                                               .generation = fsck->generation};
  status = wodan_repair(device, &options, report, error);
  bar_wipe(fsck);
  int closed = wodan_device_close(device);
  if (status == 0 && closed < 0) {
    status = closed;
    snprintf(error->message, sizeof error->message, "the image failed to close");
  }
  return status;
}

static int code_of(const struct fsck *fsck, const struct wodan_repair_report *report, int status) {
  int code = FSCK_OK;
  if (report->steps && !fsck->dry_run) code |= FSCK_CORRECTED;
  if (report->after.damages || report->after.warnings) code |= FSCK_UNCORRECTED;
  if (status < 0) code = FSCK_OPERATIONAL;
  if (fsck->cancelled) code |= FSCK_CANCELLED;
  return code;
}

int repair(struct fsck *fsck) {
  struct wodan_repair_report report = {0};
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  if (fsck->json) {
    fsck->extra_name = "repair";
    json_open(&fsck->extra, NULL, '{');
    json_bool(&fsck->extra, "dry_run", fsck->dry_run);
    json_open(&fsck->extra, "steps", '[');
  }
  int status = run(fsck, &report, &error), code = code_of(fsck, &report, status);
  if (status < 0) fprintf(stderr, "wodan-fsck: %s: %s\n", fsck->image, error.message);
  if (fsck->json) {
    json_close(&fsck->extra, ']');
    json_number(&fsck->extra, "losses", report.losses);
    json_close(&fsck->extra, '}');
  } else if (status == 0 && report.steps) {
    printf("%s: %" PRIu64 " repairs %s", fsck->image, report.steps, fsck->dry_run ? "would be done" : "done");
    if (report.losses) printf("; of %" PRIu64 " ranges of keys something is given up (WF0060)", report.losses);
    puts("");
  }
  return report_summary(fsck, &report.after, status, &error, code);
}
