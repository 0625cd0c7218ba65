/* Owns: wodan-fsck -o: the new image's file, the file of records that no tree names, what is told of both.
 *
 * Always true: the damaged image is opened for reading only; no file that exists is overwritten; a new image that could not
 * be finished is removed when this run made it.
 *
 * Order: the new image is durable before its summary is printed.
 *
 * See: wodan-fsck(8), tests/cli/test_fsck.sh. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fsck.h"

enum { CUT_MOST = 64 }; /* times that an image may have been longer */

struct salvaging {
  struct fsck *fsck;
  char *orphans_name;
  FILE *orphans; /* NULL: none yet */
  struct buffer line;
  bool orphans_failed;
};

static void salvage_finding(void *context, const struct wodan_finding *finding) {
  on_finding(((struct salvaging *)context)->fsck, finding);
}

static int salvage_progress(void *context, uint64_t done, uint64_t total) {
  return on_progress(((struct salvaging *)context)->fsck, done, total);
}

/* {"key":...,"value":...,"sequence":...,"generation":...,"block":...}; a delete has "deleted":true and no value, a
 * range delete also "to". */
static void salvage_orphan(void *context, const struct wodan_orphan *orphan) {
  struct salvaging *salvaging = context;
  struct buffer *line = &salvaging->line;
  char numbers[128];
  if (!salvaging->orphans && !salvaging->orphans_failed) salvaging->orphans = fopen(salvaging->orphans_name, "wx");
  if (!salvaging->orphans) salvaging->orphans_failed = true;
  if (salvaging->orphans_failed) return;
  buffer_clear(line);
  buffer_append_byte(line, '{');
  json_append_bytes(line, "key", orphan->key);
  buffer_append_byte(line, ',');
  if (orphan->deleted)
    buffer_append_text(line, "\"deleted\":true");
  else
    json_append_bytes(line, "value", orphan->value);
  if (orphan->ranged) {
    buffer_append_byte(line, ',');
    json_append_bytes(line, "to", orphan->value);
  }
  snprintf(numbers, sizeof numbers, ",\"sequence\":%" PRIu64 ",\"generation\":%" PRIu64 ",\"block\":%" PRIu64 "}\n",
           orphan->sequence, orphan->generation, orphan->block);
  buffer_append_text(line, numbers);
  struct wodan_slice bytes = buffer_slice(line);
  if (line->failed || fwrite(bytes.data, 1, bytes.size, salvaging->orphans) != bytes.size)
    salvaging->orphans_failed = true;
}

static void tell(struct salvaging *salvaging, const struct wodan_salvage_report *report) {
  struct fsck *fsck = salvaging->fsck;
  if (fsck->json) {
    struct json *json = &fsck->extra;
    fsck->extra_name = "salvage";
    json_open(json, NULL, '{');
    json_text(json, "output", fsck->out);
    json_bool(json, "complete", report->complete);
    json_number(json, "records", report->records);
    json_number(json, "losses", report->losses);
    json_number(json, "unreachable", report->orphans);
    json_number(json, "runs_found", report->runs_found);
    json_number(json, "generation", report->generation);
    json_close(json, '}');
    return;
  }
  if (!report->complete) return;
  printf("%s: %" PRIu64 " records saved", fsck->out, report->records);
  if (report->losses)
    printf("; of %" PRIu64 " ranges of keys some may be missing or old (WF0060, WF0061)", report->losses);
  puts("");
  if (report->orphans)
    printf("%s: %" PRIu64
           " records that no tree names, or behind a break of the journal: perhaps lost, perhaps deleted "
           "long ago\n",
           salvaging->orphans_name, report->orphans);
}

/* Bytes that the new image gets: as many as the volume had, when the damaged one was cut. What an image tells of itself is
 * not believed without a bound. */
static uint64_t size_for(struct wodan_device *from) {
  struct wodan_inspect *inspect = NULL;
  struct wodan_summary summary = {.size = sizeof summary};
  uint64_t size = from->geometry.size;
  if (wodan_inspect_open(from, NULL, &inspect, NULL) < 0) return size;
  if (wodan_inspect_summary(inspect, &summary) == 0 && summary.blocks > size / summary.block_size &&
      summary.blocks <= CUT_MOST * (size / summary.block_size + 1))
    size = summary.blocks * summary.block_size;
  wodan_inspect_close(inspect);
  return size;
}

static int run(struct salvaging *salvaging, struct wodan_salvage_report *report, struct wodan_error *error) {
  struct fsck *fsck = salvaging->fsck;
  struct wodan_device *from = NULL, *to = NULL;
  int status = wodan_path_device(fsck->image, WODAN_PATH_READ_ONLY, 0, &from, error);
  if (status < 0) return status;
  bool made = access(fsck->out, F_OK) != 0;
  status = wodan_path_device(fsck->out, WODAN_PATH_CREATE, size_for(from), &to, error);
  if (status == 0) {
    const struct wodan_salvage_options options = {.size = sizeof options,
                                                  .context = salvaging,
                                                  .finding = salvage_finding,
                                                  .orphan = salvage_orphan,
                                                  .progress = salvage_progress,
                                                  .memory_limit = fsck->memory,
                                                  .generation = fsck->generation};
    status = wodan_salvage(from, to, &options, report, error);
    int closed = wodan_device_close(to);
    if (status == 0 && closed < 0) {
      status = closed;
      snprintf(error->message, sizeof error->message, "the new image failed to close");
    }
    if (made && !report->complete) unlink(fsck->out);
  }
  bar_wipe(fsck);
  wodan_device_close(from);
  return status;
}

static bool names(struct salvaging *salvaging) {
  const char *out = salvaging->fsck->out;
  size_t size = strlen(out) + sizeof ".unreachable.jsonl";
  salvaging->orphans_name = malloc(size);
  if (!salvaging->orphans_name) {
    fprintf(stderr, "wodan-fsck: not enough memory\n");
    return false;
  }
  snprintf(salvaging->orphans_name, size, "%s.unreachable.jsonl", out);
  if (access(salvaging->orphans_name, F_OK) != 0) return true;
  fprintf(stderr, "wodan-fsck: %s exists and is not overwritten\n", salvaging->orphans_name);
  return false;
}

int salvage(struct fsck *fsck) {
  struct salvaging salvaging = {.fsck = fsck};
  struct wodan_salvage_report report = {0};
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  if (!names(&salvaging)) {
    free(salvaging.orphans_name);
    return FSCK_OPERATIONAL;
  }
  int status = run(&salvaging, &report, &error);
  int code = report.check.damages || report.check.warnings || report.losses ? FSCK_UNCORRECTED : FSCK_OK;
  if (status < 0) {
    code = FSCK_OPERATIONAL;
    fprintf(stderr, "wodan-fsck: %s: %s\n", fsck->image, error.message);
  }
  if (salvaging.orphans && fclose(salvaging.orphans) != 0) salvaging.orphans_failed = true;
  if (salvaging.orphans_failed) {
    code |= FSCK_OPERATIONAL;
    fprintf(stderr, "wodan-fsck: %s cannot be written: %s\n", salvaging.orphans_name, strerror(errno));
  }
  if (fsck->cancelled) code |= FSCK_CANCELLED;
  tell(&salvaging, &report);
  code = report_summary(fsck, &report.check, status, &error, code);
  buffer_release(&salvaging.line);
  free(salvaging.orphans_name);
  return code;
}
