/* What: `wodan compact`: the buffered records of a key range moved into leaves, in steps.
 *
 * Always true: no record changes; stopping it at any moment loses nothing and leaves a sound image; with --budget it
 * writes about that much, the last checkpoint not counted.
 *
 * Order: the figures before, the steps, one checkpoint, the figures after.
 *
 * See: include/wodan/db.h; tests/cli/test_cli.sh. */
#include <stdio.h>

#include "commands.h"
#include "image.h"
#include "json.h"
#include "key_range.h"
#include "progress.h"
#include "report.h"

enum { STEP_BYTES = 16 * 1024 * 1024 }; /* between two looks at the terminal */

struct compact_options {
  struct options common;
  const char *from, *to;
  uint64_t budget; /* 0: none */
};

static const struct options_verb verb = {
    .arguments = "IMAGE",
    .doc =
        "Moves the buffered records of a key range (default: all) into leaves and joins small leaves, so that a scan "
        "reads leaves only. Tells leaves, runs and space before and after, and the bytes written. `complete false' "
        "means that --budget came first: run it again to go on.",
    .shared = OPTIONS_WRITE | OPTIONS_ENCODING,
    .rows = {{"from", 0, "A", OPTIONS_TEXT, offsetof(struct compact_options, from), 0, 0, "Only keys from A on"},
             {"to", 0, "B", OPTIONS_TEXT, offsetof(struct compact_options, to), 0, 0, "Only keys before B"},
             {"budget", 0, "SIZE", OPTIONS_SIZE, offsetof(struct compact_options, budget), 1, 0,
              "Stop when about SIZE was written, with suffix K, M, G or T (default: when done)"}},
    .operands = {OPTIONS_IMAGE},
};

static int build_range(const struct compact_options *compact, struct key_range *range) {
  int exit_code = EXIT_CODE_OK;
  if (compact->from != NULL) {
    exit_code = options_decode(&compact->common, "--from", compact->from, &range->from);
  }
  if (compact->to != NULL && exit_code == EXIT_CODE_OK) {
    exit_code = options_decode(&compact->common, "--to", compact->to, &range->to);
    range->bounded = true;
  }
  return exit_code;
}

/* What is told. */
struct compaction {
  struct wodan_stats before, after;
  uint64_t written;
  bool complete;
};

static int read_stats(const struct image *image, struct wodan_stats *stats) {
  *stats = (struct wodan_stats){.size = sizeof *stats};
  return wodan_stats(image->db, stats);
}

/* Steps until the range is done or the budget is used up. 0 or a status. */
static int run_steps(const struct image *image, uint64_t budget, const struct key_range *range,
                     struct compaction *compaction, struct progress *progress) {
  struct wodan_slice lower = buffer_slice(&range->from), upper = buffer_slice(&range->to);
  uint64_t start = compaction->before.device_write_bytes, written = 0;
  uint32_t more = !(range->bounded && upper.size == 0); /* nothing is below the empty key */
  int status = 0;
  while (status == 0 && more && (budget == 0 || written < budget)) {
    uint64_t step = budget != 0 && budget - written < STEP_BYTES ? budget - written : STEP_BYTES;
    status = wodan_compact(image->db, lower.size > 0 ? &lower : NULL, range->bounded ? &upper : NULL, step, &more);
    if (status == 0) status = read_stats(image, &compaction->after);
    written = compaction->after.device_write_bytes - start;
    progress_step(progress, written);
  }
  compaction->complete = !more;
  return status;
}

static int run(const struct image *image, uint64_t budget, const struct key_range *range,
               struct compaction *compaction) {
  struct progress progress;
  int status = read_stats(image, &compaction->before);
  progress_start(&progress, "bytes written", 0);
  if (status == 0) status = run_steps(image, budget, range, compaction, &progress);
  if (status == 0) status = wodan_checkpoint(image->db, NULL);
  progress_end(&progress);
  if (status == 0) status = read_stats(image, &compaction->after);
  compaction->written = compaction->after.device_write_bytes - compaction->before.device_write_bytes;
  return image_fail(image, status);
}

static void describe(const struct compaction *compaction, struct json *json) {
  const struct wodan_stats *before = &compaction->before, *after = &compaction->after;
  json_open(json, NULL, '{');
  json_bool(json, "complete", compaction->complete);
  json_number(json, "leaves_before", before->leaves);
  json_number(json, "leaves_after", after->leaves);
  json_number(json, "runs_before", before->runs);
  json_number(json, "runs_after", after->runs);
  json_number(json, "nodes_before", before->nodes);
  json_number(json, "nodes_after", after->nodes);
  json_number(json, "space_live_before", before->space_live);
  json_number(json, "space_live_after", after->space_live);
  json_number(json, "bytes_written", compaction->written);
  json_close(json, '}');
}

int cmd_compact(int argc, char **argv) {
  struct compact_options compact = {0};
  options_parse(&verb, argc, argv, &compact);
  struct key_range range = {0};
  struct image image = {0};
  struct compaction compaction = {0};
  int exit_code = build_range(&compact, &range);
  if (exit_code == EXIT_CODE_OK) exit_code = image_open(&image, &compact.common, true);
  if (exit_code == EXIT_CODE_OK) exit_code = run(&image, compact.budget, &range, &compaction);
  exit_code = image_close(&image, exit_code);
  if (exit_code == EXIT_CODE_OK) {
    struct json json = {.lines = !compact.common.json};
    describe(&compaction, &json);
    exit_code = report_json(&json) ? report_flush(exit_code) : EXIT_CODE_IO;
  }
  key_range_release(&range);
  return exit_code;
}
