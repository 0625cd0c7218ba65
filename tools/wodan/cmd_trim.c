/* What: `wodan trim`: the device is told to forget everything unused.
 *
 * Always true: nothing is discarded that the tree, or the one before it, needs; with --dry-run nothing is written at all.
 *
 * Order: the image is closed before its figures are told, so that a close that fails is seen.
 *
 * See: include/wodan/db.h; tests/cli/test_cli.sh. */
#include <stdio.h>
#include <time.h>

#include "commands.h"
#include "image.h"
#include "json.h"
#include "progress.h"
#include "report.h"

enum { PARTS = 8 }; /* of a second's rate, that one discard takes */

struct trim_options {
  struct options common;
  bool dry_run;
  uint64_t minimum, rate; /* bytes; bytes a second, 0: as fast as it goes */
};

static const struct options_verb verb = {
    .arguments = "IMAGE",
    .doc = "Tells the device to forget all blocks that are not used (a file gets holes, so it takes less space), as "
           "fstrim does for a file system. Tells how many discards and bytes it was, and the bytes that the device "
           "refused.",
    .shared = OPTIONS_OPEN,
    .rows = {{"dry-run", 'n', NULL, OPTIONS_FLAG, offsetof(struct trim_options, dry_run), 0, 0,
              "Only tell what would be discarded; nothing is written"},
             {"minimum", 0, "SIZE", OPTIONS_SIZE, offsetof(struct trim_options, minimum), 0, 0,
              "Leave out free stretches below SIZE, with suffix K, M, G or T (default: none)"},
             {"rate", 0, "SIZE", OPTIONS_SIZE, offsetof(struct trim_options, rate), 0, 0,
              "Discard at most SIZE a second (default, and 0: as fast as it goes)"}},
    .operands = {OPTIONS_IMAGE},
};

/* What the callback needs. */
struct pace {
  struct progress progress;
  uint64_t rate, start_ns;
};

static void sleep_ns(uint64_t nanoseconds) {
  struct timespec left = {.tv_sec = (time_t)(nanoseconds / 1000000000), .tv_nsec = (long)(nanoseconds % 1000000000)};
  nanosleep(&left, NULL); /* woken early it is a little faster than was asked, once */
}

static int step(void *context, const struct wodan_trim_report *report) {
  struct pace *pace = context;
  progress_step(&pace->progress, report->bytes);
  if (pace->rate == 0) return 0;
  double due = (double)(report->bytes + report->refused) / (double)pace->rate * 1e9;
  uint64_t passed = progress_clock_ns() - pace->start_ns;
  if (due > (double)passed) sleep_ns((uint64_t)(due < 1e18 ? due : 1e18) - passed);
  return 0;
}

static int run(const struct image *image, const struct trim_options *trim, struct wodan_trim_report *report) {
  struct pace pace = {.rate = trim->dry_run ? 0 : trim->rate, .start_ns = progress_clock_ns()};
  struct wodan_trim_options options = {.size = sizeof options,
                                       .flags = trim->dry_run ? WODAN_TRIM_DRY_RUN : 0,
                                       .minimum = trim->minimum,
                                       .maximum = trim->rate / PARTS,
                                       .context = &pace,
                                       .progress = step};
  if (trim->rate != 0 && options.maximum == 0) options.maximum = 1;
  progress_start(&pace.progress, "bytes discarded", 0);
  int status = wodan_trim(image->db, &options, report);
  progress_end(&pace.progress);
  return image_fail(image, status);
}

static void describe(const struct trim_options *trim, const struct wodan_trim_report *report, struct json *json) {
  json_open(json, NULL, '{');
  json_bool(json, "dry_run", trim->dry_run);
  json_number(json, "discards", report->discards);
  json_number(json, "bytes", report->bytes);
  json_number(json, "refused", report->refused);
  json_close(json, '}');
}

int cmd_trim(int argc, char **argv) {
  struct trim_options trim = {.common = {.work_inline = true}};
  options_parse(&verb, argc, argv, &trim);
  struct image image = {0};
  struct wodan_trim_report report = {.size = sizeof report};
  int exit_code = image_open(&image, &trim.common, !trim.dry_run);
  if (exit_code == EXIT_CODE_OK) exit_code = run(&image, &trim, &report);
  exit_code = image_close(&image, exit_code);
  if (exit_code != EXIT_CODE_OK) return exit_code;
  struct json json = {.lines = !trim.common.json};
  describe(&trim, &report, &json);
  return report_json(&json) ? report_flush(exit_code) : EXIT_CODE_IO;
}
