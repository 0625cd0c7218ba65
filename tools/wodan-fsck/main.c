/* Owns: the command wodan-fsck: options, what is done in which mode, exit codes.
 *
 * Always true: only -p and -y open the image for writing, and so refuse one in use; the work itself is wodan_check,
 * wodan_salvage and wodan_repair; the exit code is the sum that fsck(8) tells: 1 errors corrected, 4 errors left
 * uncorrected, 8 operational error, 16 usage, 32 cancelled. Findings go to standard output, failures to standard error.
 *
 * Order: options, then one mode, then the summary.
 *
 * See: wodan-fsck(8), tests/cli/test_fsck.sh. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fsck.h"
#include "mirage.h"

enum { KEY_JSON = 256, KEY_LIST_ROOTS, KEY_MEMORY, KEY_MIRAGE };

volatile sig_atomic_t fsck_interrupted;

static void on_interrupt(int signal_number) {
  (void)signal_number;
  fsck_interrupted = 1;
}

/* ---- numbers on the command line ----------------------------------------------------------------------------------- */

/* Digits with K, M, G or T behind them where `suffix` allows it; ends the program when it is none. */
static uint64_t number(const struct argp_state *state, const char *what, const char *text, bool suffix) {
  static const char UNITS[] = "KMGT";
  char *end = NULL;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  const char *unit = suffix && *end ? strchr(UNITS, *end) : NULL;
  unsigned shift = unit ? 10u * (unsigned)(unit - UNITS + 1) : 0;
  if (unit) end++;
  if (errno || *text < '0' || *text > '9' || *end || value > (uint64_t)INT64_MAX >> shift)
    argp_error(state, "%s: '%s' is not a %s", what, text, suffix ? "size" : "number");
  return (uint64_t)value << shift;
}

/* ---- options ---------------------------------------------------------------------------------------------------- */

/* -p, -y, -o and --list-roots exclude one another. */
static void mode_set(struct fsck *fsck, enum fsck_mode mode, const struct argp_state *state) {
  if (fsck->mode != FSCK_CHECK && fsck->mode != mode)
    argp_error(state, "--preen, --yes, --output and --list-roots exclude one another");
  fsck->mode = mode;
}

static error_t parse(int key, char *argument, struct argp_state *state) {
  struct fsck *fsck = state->input;
  switch (key) {
  case 'n':
    fsck->dry_run = true;
    return 0;
  case 'p':
    mode_set(fsck, FSCK_REPAIR_SAFE, state);
    return 0;
  case 'y':
    mode_set(fsck, FSCK_REPAIR_ALL, state);
    return 0;
  case 'o':
    mode_set(fsck, FSCK_SALVAGE, state);
    fsck->out = argument;
    return 0;
  case 'v':
    fsck->verbose = true;
    return 0;
  case 'C':
    fsck->bar = argument == NULL && isatty(STDERR_FILENO);
    fsck->progress_fd = argument == NULL ? -1 : (int)(number(state, "--progress", argument, false) % INT_MAX);
    if (argument && fcntl(fsck->progress_fd, F_GETFD) < 0) argp_error(state, "--progress: %s is not open", argument);
    return 0;
  case 'b':
    fsck->generation = number(state, "--root", argument, false);
    if (!fsck->generation) argp_error(state, "--root: generations start at 1");
    return 0;
  case KEY_LIST_ROOTS:
    mode_set(fsck, FSCK_LIST_ROOTS, state);
    return 0;
  case KEY_MEMORY:
    fsck->memory = number(state, "--memory", argument, true);
    return 0;
  case KEY_MIRAGE:
    fsck->mirage = true;
    return 0;
  case KEY_JSON:
    fsck->json = true;
    return 0;
  case ARGP_KEY_ARG:
    if (fsck->image) argp_error(state, "one image at a time");
    fsck->image = argument;
    return 0;
  case ARGP_KEY_END:
    if (!fsck->image) argp_error(state, "which image?");
    if (fsck->dry_run && fsck->mode == FSCK_CHECK) fsck->mode = FSCK_REPAIR_ALL;
    if (fsck->generation && fsck->mode == FSCK_REPAIR_SAFE) argp_error(state, "--root: another root only with --yes");
    if (fsck->mirage && fsck->mode != FSCK_CHECK && fsck->mode != FSCK_LIST_ROOTS)
      argp_error(state, "--mirage: such images are checked, not repaired (wodan import-mirage takes their records)");
    if (fsck->dry_run && fsck->mode == FSCK_SALVAGE) argp_error(state, "--output writes a new image: not with -n");
    return 0;
  default:
    return ARGP_ERR_UNKNOWN;
  }
}

static const struct argp_option OPTIONS[] = {
    {"no-change", 'n', NULL, 0, "Change nothing, but tell what -y (or with -p: that) would do", 0},
    {"preen", 'p', NULL, 0, "Repair in place what can be repaired without giving up any record that can be read", 0},
    {"yes", 'y', NULL, 0, "Repair in place; what cannot be read is given up", 0},
    {"output", 'o', "OUT", 0,
     "Salvage all that can be read into the new image OUT; records that no tree names go to OUT.unreachable.jsonl", 0},
    {"verbose", 'v', NULL, 0, "Print all figures behind the check", 0},
    {"progress", 'C', "FD", OPTION_ARG_OPTIONAL,
     "Show a progress bar when standard error is a terminal; with FD write lines \"done total percent\" to that "
     "descriptor",
     0},
    {"root", 'b', "GENERATION", 0, "Take this root in place of the newest; with -y the image goes on from there", 0},
    {"list-roots", KEY_LIST_ROOTS, NULL, 0, "List the roots that are still there, and check nothing", 0},
    {"memory", KEY_MEMORY, "SIZE", 0, "Take no more memory than that (suffix K, M, G)", 0},
    {"mirage", KEY_MIRAGE, NULL, 0,
     "The image is one of MirageOS Wodan (OCaml, format version 1): checked only; findings are WM0001 ...", 0},
    {"json", KEY_JSON, NULL, 0, "Print one JSON object in place of lines", 0},
    {0}};

static const struct argp ARGP = {
    .options = OPTIONS,
    .parser = parse,
    .args_doc = "IMAGE",
    .doc =
        "Check a Wodan image: superblocks, journal, and every node, run, page and record of both newest roots. Without "
        "-p and -y nothing is written to it. An image in use is refused. When in doubt use -o first.\v"
        "Exit codes, as in fsck(8), added up: 0 no errors; 1 errors, corrected; 4 errors, left; 8 the image could not "
        "be "
        "worked on; 16 wrong usage; 32 cancelled."};

/* ---- the run ---------------------------------------------------------------------------------------------------- */

static int exit_code_of(const struct fsck *fsck, const struct wodan_check_report *report, int status) {
  int code = FSCK_OK;
  if (report->damages || report->warnings) code |= FSCK_UNCORRECTED;
  if (status < 0) code = FSCK_OPERATIONAL;
  if (fsck->cancelled) code |= FSCK_CANCELLED;
  return code;
}

/* As check, for an image of MirageOS Wodan. */
static int check_mirage(struct fsck *fsck, struct wodan_check_report *report, struct wodan_error *error) {
  struct mirage_source source = {0};
  struct mirage_summary summary = {0};
  const struct wodan_check_options options = {.size = sizeof options,
                                              .context = fsck,
                                              .finding = on_finding,
                                              .progress = on_progress,
                                              .memory_limit = fsck->memory,
                                              .generation = fsck->generation};
  int status = mirage_source_open(&source, fsck->image, error);
  if (status == 0) status = mirage_check(&source, &options, &summary, error);
  mirage_source_close(&source);
  bar_wipe(fsck);
  *report = summary.report;
  return status;
}

static int check(struct fsck *fsck, struct wodan_check_report *report, struct wodan_error *error) {
  struct wodan_device *device = NULL;
  int status = wodan_path_device(fsck->image, WODAN_PATH_READ_ONLY, 0, &device, error);
  if (status < 0) return status;
  const struct wodan_check_options options = {.size = sizeof options,
                                              .context = fsck,
                                              .finding = on_finding,
                                              .progress = on_progress,
                                              .memory_limit = fsck->memory,
                                              .generation = fsck->generation};
  status = wodan_check(device, &options, report, error);
  bar_wipe(fsck);
  wodan_device_close(device); /* nothing was written, so nothing can be lost here */
  return status;
}

/* The code, with what became of standard output. */
static int finish(int code) {
  if (fflush(stdout) == 0 && !ferror(stdout)) return code;
  fprintf(stderr, "wodan-fsck: cannot write the result\n");
  return code | FSCK_OPERATIONAL;
}

static int check_only(struct fsck *fsck) {
  struct wodan_check_report report = {0};
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  int status = fsck->mirage ? check_mirage(fsck, &report, &error) : check(fsck, &report, &error);
  int code = exit_code_of(fsck, &report, status);
  if (status < 0) fprintf(stderr, "wodan-fsck: %s: %s\n", fsck->image, error.message);
  return report_summary(fsck, &report, status, &error, code);
}

int main(int argc, char **argv) {
  struct fsck fsck = {.percent = -1, .progress_fd = -1};
  char version[64];
  snprintf(version, sizeof version, "wodan-fsck %s", wodan_version());
  argp_program_version = version;
  argp_err_exit_status = FSCK_USAGE;
  if (argp_parse(&ARGP, argc, argv, 0, NULL, &fsck) != 0) {
    fprintf(stderr, "wodan-fsck: not enough memory for the arguments\n");
    return FSCK_OPERATIONAL;
  }
  if (fsck.mode == FSCK_LIST_ROOTS) return finish(list_roots(&fsck));
  struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
  sigaction(SIGINT, &action, NULL); /* a second Ctrl-C ends the program the usual way */
  report_begin(&fsck, "wodan-fsck", JSON_VERSION, "findings");
  int code = fsck.mode == FSCK_SALVAGE ? salvage(&fsck) : fsck.mode == FSCK_CHECK ? check_only(&fsck) : repair(&fsck);
  return finish(code);
}
