/* What: `wodan image`: a sparse copy of the structure without the values, for a report of a bug.
 *
 * Always true: the image is opened for reading only; a file that is there already is not touched without --force; when the
 * copy fails, the file that was begun is removed.
 *
 * Order: the image first, then the file: a wrong image makes none.
 *
 * See: include/wodan/image.h; tests/cli/test_inspect.sh. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wodan/image.h>

#include "commands.h"
#include "look.h"
#include "progress.h"
#include "report.h"

struct image_options {
  struct options common;
  const char *out;
  bool metadata_only, scramble, force;
};

static void check(const struct argp_state *state, void *options) {
  const struct image_options *image = options;
  if (!image->metadata_only)
    argp_error(state, "--metadata-only is missing: whole copies are made by cp --sparse=always");
}

static const struct options_verb verb = {
    .arguments = "IMAGE OUT --metadata-only",
    .doc =
        "Copies the structure of the image to the new sparse file OUT, for a report of a bug: superblocks, journal, "
        "and "
        "the trees of the newest root and of the one before it, at the places where they are; free space becomes a "
        "hole. Values are blanked, large ones too. With --scramble keys are scrambled as well. wodan-fsck finds in the "
        "copy what it finds in the image; what cannot be read is wrong in the copy instead. Reads the image only, "
        "damaged ones too."
        "\vScrambling hides what stands in keys, not how long they are, how they compare, or which of them share how "
        "long a prefix; sizes, counts, sequence numbers and the volume's id stay as well. Each byte becomes its rank "
        "among those that follow the same bytes: where nearly all 256 values follow, as in keys of random bytes, "
        "little is hidden. Without --scramble keys stay as they are.",
    .shared = OPTIONS_LOOK,
    .rows = {{"metadata-only", 0, NULL, OPTIONS_FLAG, offsetof(struct image_options, metadata_only), 0, 0,
              "Blank the values (needed: no other copy is made)"},
             {"scramble", 0, NULL, OPTIONS_FLAG, offsetof(struct image_options, scramble), 0, 0,
              "Scramble the keys, in the same way everywhere, so that their order stays"},
             {"force", 0, NULL, OPTIONS_FLAG, offsetof(struct image_options, force), 0, 0, "Overwrite OUT"}},
    .operands = {OPTIONS_IMAGE, {"new file", OPTIONS_TEXT, offsetof(struct image_options, out), false}},
    .check = check};

/* An empty file at OUT. 0 or an exit code. */
static int make_file(const struct image_options *options) {
  if (look_is_image(&options->common, options->out))
    return report_failure(options->common.json, options->out, WODAN_EINVAL, EXIT_CODE_USAGE,
                          "that is the image itself");
  int flags = O_RDWR | O_CREAT | O_CLOEXEC | (options->force ? O_TRUNC : O_EXCL), fd = open(options->out, flags, 0600);
  struct stat made;
  if (fd < 0 && errno == EEXIST)
    return report_failure(options->common.json, options->out, WODAN_EEXIST, EXIT_CODE_NEGATIVE,
                          "there is something already; use --force to overwrite it");
  if (fd < 0) return report_errno(options->common.json, options->out, errno);
  bool regular = fstat(fd, &made) == 0 && S_ISREG(made.st_mode);
  close(fd);
  if (regular) return EXIT_CODE_OK;
  return report_failure(options->common.json, options->out, WODAN_EINVAL, EXIT_CODE_USAGE, "that is no regular file");
}

static int on_progress(void *context, uint64_t objects) {
  progress_step(context, objects);
  return 0;
}

static int write_copy(const struct look *look, const struct image_options *options, struct wodan_copy_report *report) {
  struct wodan_device *to = NULL;
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  struct progress progress;
  const struct wodan_copy_options how = {
      .size = sizeof how, .scramble = options->scramble, .context = &progress, .progress = on_progress};
  int status = wodan_path_device(options->out, WODAN_PATH_CREATE, look->summary.device_size, &to, &error);
  progress_start(&progress, "objects copied", 0);
  if (status == 0) status = wodan_image_copy(look->inspect, to, &how, report, &error);
  progress_end(&progress);
  if (to != NULL) {
    int closed = wodan_device_close(to);
    if (status == 0 && closed < 0) error = (struct wodan_error){.block = WODAN_NO_BLOCK};
    if (status == 0) status = closed;
  }
  error.code = status;
  return status < 0 ? report_error(options->common.json, options->out, &error) : EXIT_CODE_OK;
}

/* The damage is told by what was met when the image was opened, and here by a number: wodan-fsck names it. */
static bool print_answer(const struct image_options *options, const struct wodan_copy_report *report) {
  struct stat made = {0};
  struct json json = {.lines = !options->common.json};
  stat(options->out, &made);
  json_open(&json, NULL, '{');
  json_number(&json, "nodes", report->nodes);
  json_number(&json, "runs", report->runs);
  json_number(&json, "large", report->large);
  json_number(&json, "pages", report->pages);
  json_number(&json, "records", report->records);
  json_number(&json, "journal_records", report->journal_records);
  json_number(&json, "damaged", report->damaged);
  json_number(&json, "pages_left_out", report->pages_left_out);
  json_number(&json, "written_bytes", report->written_bytes);
  json_number(&json, "file_size", (uint64_t)made.st_size);
  json_number(&json, "file_bytes", (uint64_t)made.st_blocks * 512);
  json_close(&json, '}');
  return report_json(&json);
}

int cmd_image(int argc, char **argv) {
  struct image_options options = {0};
  struct wodan_copy_report report = {0};
  options_parse(&verb, argc, argv, &options);
  struct look look;
  int exit_code = look_open(&look, &options.common);
  if (exit_code == EXIT_CODE_OK) exit_code = make_file(&options);
  if (exit_code == EXIT_CODE_OK) {
    exit_code = write_copy(&look, &options, &report);
    if (exit_code != EXIT_CODE_OK) unlink(options.out);
    if (exit_code == EXIT_CODE_OK && !print_answer(&options, &report)) exit_code = EXIT_CODE_IO;
    exit_code = report_flush(exit_code);
  }
  look_close(&look);
  return exit_code;
}
