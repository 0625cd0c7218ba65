/* Owns: the command wodan-fsck: options, what is printed, exit codes.
 *
 * Always true: the image is opened for reading only, so one in use is refused and none is ever written; the check itself
 * is wodan_check; the exit code is the sum that fsck(8) tells: 4 errors left uncorrected, 8 operational error, 16 usage,
 * 32 cancelled. Findings go to standard output, failures to standard error, the progress bar to standard error when that
 * is a terminal.
 *
 * Order: findings are printed as they are found; the summary is the last thing on standard output, also after Ctrl-C.
 *
 * See: wodan-fsck(8), tests/cli/test_fsck.sh. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wodan/wodan.h>

/* fsck(8); numbers never change. */
enum { FSCK_OK = 0, FSCK_UNCORRECTED = 4, FSCK_OPERATIONAL = 8, FSCK_USAGE = 16, FSCK_CANCELLED = 32 };
enum { KEY_JSON = 256, KEY_LIST_ROOTS, KEY_MEMORY, BAR_WIDTH = 40, JSON_VERSION = 1 };

/* One run of the command. */
struct fsck {
  const char *image;
  bool verbose, json, bar, list_roots;
  uint64_t generation, memory; /* 0: the newest root; no limit */
  int progress_fd;             /* numbers go there; -1: nowhere */
  bool bar_shown;
  int percent; /* shown last */
  bool cancelled;
  struct json_object *findings; /* with json */
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number) {
  (void)signal_number;
  interrupted = 1;
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

static error_t parse(int key, char *argument, struct argp_state *state) {
  struct fsck *fsck = state->input;
  switch (key) {
  case 'n':
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
    fsck->list_roots = true;
    return 0;
  case KEY_MEMORY:
    fsck->memory = number(state, "--memory", argument, true);
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
    return 0;
  default:
    return ARGP_ERR_UNKNOWN;
  }
}

static const struct argp_option OPTIONS[] = {
    {"no-change", 'n', NULL, 0, "Change nothing (the default: this version only checks)", 0},
    {"verbose", 'v', NULL, 0, "Print all figures behind the check", 0},
    {"progress", 'C', "FD", OPTION_ARG_OPTIONAL,
     "Show a progress bar when standard error is a terminal; with FD write lines \"done total percent\" to that "
     "descriptor",
     0},
    {"root", 'b', "GENERATION", 0, "Check this root in place of the newest", 0},
    {"list-roots", KEY_LIST_ROOTS, NULL, 0, "List the roots that the journal still holds, and check nothing", 0},
    {"memory", KEY_MEMORY, "SIZE", 0, "Take no more memory than that (suffix K, M, G)", 0},
    {"json", KEY_JSON, NULL, 0, "Print one JSON object in place of lines", 0},
    {0}};

static const struct argp ARGP = {
    .options = OPTIONS,
    .parser = parse,
    .args_doc = "IMAGE",
    .doc =
        "Check a Wodan image: superblocks, journal, and every node, run, page and record of both newest roots. Nothing "
        "is ever written, and an image in use is refused.\v"
        "Exit codes, as in fsck(8), added up: 0 no errors; 4 errors, left uncorrected; 8 the image could not be "
        "checked; "
        "16 wrong usage; 32 cancelled."};

/* ---- what is found ---------------------------------------------------------------------------------------------- */

static const char *severity_name(uint32_t severity) {
  static const char *const names[] = {[WODAN_NOTE] = "note", [WODAN_WARNING] = "warning", [WODAN_DAMAGE] = "damage"};
  return severity < sizeof names / sizeof *names ? names[severity] : "unknown";
}

static const char *status_name(int status) {
  switch (status) {
#define NAME(name, number, sentence)                                                                                   \
  case name:                                                                                                           \
    return #name;
    WODAN_STATUS_TABLE(NAME)
#undef NAME
  }
  return "unknown";
}

static void bar_wipe(struct fsck *fsck) {
  if (fsck->bar_shown) fputs("\r\033[K", stderr);
  fsck->bar_shown = false;
}

static int percent_of(uint64_t done, uint64_t total) { return total ? (int)((double)done * 100 / (double)total) : 0; }

static void bar_show(struct fsck *fsck, uint64_t done, uint64_t total) {
  int percent = percent_of(done, total);
  if (fsck->bar_shown && percent == fsck->percent) return;
  int filled = percent * BAR_WIDTH / 100;
  fprintf(stderr, "\r%s [%.*s%*s] %3d %%", fsck->image, filled, "########################################",
          BAR_WIDTH - filled, "", percent);
  fflush(stderr);
  fsck->bar_shown = true;
  fsck->percent = percent;
}

static int on_progress(void *context, uint64_t done, uint64_t total) {
  struct fsck *fsck = context;
  if (fsck->bar) bar_show(fsck, done, total);
  if (fsck->progress_fd >= 0 && percent_of(done, total) != fsck->percent) {
    fsck->percent = percent_of(done, total);
    dprintf(fsck->progress_fd, "%" PRIu64 " %" PRIu64 " %d\n", done, total, fsck->percent);
  }
  if (interrupted) fsck->cancelled = true;
  return fsck->cancelled;
}

static struct json_object *json_block(uint64_t block) {
  return block == WODAN_NO_BLOCK ? NULL : json_object_new_uint64(block); /* NULL is JSON's null */
}

/* A key in quotes, \xHH for what does not print, cut after 40 characters. */
static void key_text(char out[64], struct wodan_slice key) {
  const unsigned char *at = key.data;
  size_t used = 0;
  out[used++] = '"';
  for (size_t i = 0; i < key.size && used < 48; i++) {
    bool plain = at[i] >= 0x20 && at[i] < 0x7f && at[i] != '"' && at[i] != '\\';
    used += (size_t)snprintf(out + used, 64 - used, plain ? "%c" : "\\x%02x", at[i]);
    if (used >= 44 && i + 1 < key.size) {
      used += (size_t)snprintf(out + used, 64 - used, "...");
      break;
    }
  }
  snprintf(out + used, 64 - used, "\"");
}

/* " [keys "a" .. "m"]", or "" when nothing is known, or the range is everything. */
static void range_text(char out[160], const struct wodan_finding *finding) {
  char lower[64] = "first", upper[64] = "last";
  out[0] = '\0';
  if (!finding->has_lower && !finding->has_upper) return;
  if (finding->has_lower) key_text(lower, finding->lower);
  if (finding->has_upper) key_text(upper, finding->upper);
  snprintf(out, 160, " [keys %s .. %s]", lower, upper);
}

/* A bound as a string when it is ASCII, else as an object {"hex":...}; null: open. */
static struct json_object *json_bound(uint32_t there, struct wodan_slice key) {
  const unsigned char *at = key.data;
  bool plain = true;
  if (!there) return NULL;
  for (size_t i = 0; i < key.size; i++) plain = plain && at[i] < 0x80;
  if (plain) return json_object_new_string_len(key.size ? key.data : "", (int)key.size);
  struct json_object *object = json_object_new_object();
  char *hex = calloc(key.size + 1, 2);
  for (size_t i = 0; i < key.size && hex; i++) snprintf(hex + 2 * i, 3, "%02x", at[i]);
  json_object_object_add(object, "hex", hex ? json_object_new_string(hex) : NULL);
  free(hex);
  return object;
}

static void on_finding(void *context, const struct wodan_finding *finding) {
  struct fsck *fsck = context;
  char id[16], range[160];
  snprintf(id, sizeof id, "WF%04" PRIu32, finding->id);
  range_text(range, finding);
  bar_wipe(fsck);
  if (!fsck->json) {
    if (finding->block == WODAN_NO_BLOCK)
      printf("%s %s: %s%s\n", id, severity_name(finding->severity), finding->message, range);
    else
      printf("%s %s block %" PRIu64 ": %s%s\n", id, severity_name(finding->severity), finding->block, finding->message,
             range);
    return;
  }
  struct json_object *object = json_object_new_object();
  json_object_object_add(object, "id", json_object_new_string(id));
  json_object_object_add(object, "severity", json_object_new_string(severity_name(finding->severity)));
  json_object_object_add(object, "block", json_block(finding->block));
  json_object_object_add(object, "generation", json_object_new_uint64(finding->generation));
  json_object_object_add(object, "message", json_object_new_string(finding->message));
  struct json_object *keys = finding->has_range ? json_object_new_object() : NULL;
  if (keys) {
    json_object_object_add(keys, "lower", json_bound(finding->has_lower, finding->lower));
    json_object_object_add(keys, "upper", json_bound(finding->has_upper, finding->upper));
  }
  json_object_object_add(object, "keys", keys);
  json_object_array_add(fsck->findings, object);
}

/* ---- the summary ------------------------------------------------------------------------------------------------ */

/* The report's numbers, by the names they have in JSON and with -v. */
struct figure {
  const char *name;
  uint64_t value;
};
enum { FIGURES = 17 };

static void figures_of(const struct wodan_check_report *r, struct figure out[FIGURES]) {
  const struct figure figures[FIGURES] = {
      {"notes", r->notes},
      {"warnings", r->warnings},
      {"damages", r->damages},
      {"generation", r->generation},
      {"previous_generation", r->previous_generation},
      {"blocks", r->blocks},
      {"blocks_live", r->blocks_live},
      {"blocks_previous", r->blocks_previous},
      {"levels", r->levels},
      {"nodes", r->nodes},
      {"runs", r->runs},
      {"leaves", r->leaves},
      {"pages", r->pages},
      {"page_bytes", r->page_bytes},
      {"page_stored_bytes", r->page_stored_bytes},
      {"records", r->records},
      {"journal_records", r->journal_records},
  };
  memcpy(out, figures, sizeof figures);
}

static const char *state_of(const struct fsck *fsck, const struct wodan_check_report *report, int status) {
  if (status < 0) return "unchecked";
  if (report->damages) return "damaged";
  if (report->warnings) return "warnings";
  return fsck->cancelled ? "cancelled" : "clean";
}

static void print_json(const struct fsck *fsck, const struct wodan_check_report *report, int status,
                       const struct wodan_error *error, int exit_code) {
  struct figure figures[FIGURES];
  figures_of(report, figures);
  struct json_object *root = json_object_new_object(), *summary = json_object_new_object(), *failure = NULL;
  if (status < 0) {
    failure = json_object_new_object();
    json_object_object_add(failure, "code", json_object_new_string(status_name(status)));
    json_object_object_add(failure, "message", json_object_new_string(error->message));
    json_object_object_add(failure, "block", json_block(error->block));
  }
  json_object_object_add(summary, "state", json_object_new_string(state_of(fsck, report, status)));
  json_object_object_add(summary, "complete", json_object_new_boolean(status == 0 && report->complete));
  json_object_object_add(summary, "cancelled", json_object_new_boolean(fsck->cancelled));
  for (size_t i = 0; i < FIGURES; i++)
    json_object_object_add(summary, figures[i].name, json_object_new_uint64(figures[i].value));
  json_object_object_add(summary, "error", failure);
  json_object_object_add(summary, "exit_code", json_object_new_int(exit_code));
  json_object_object_add(root, "schema", json_object_new_string("wodan-fsck"));
  json_object_object_add(root, "version", json_object_new_int(JSON_VERSION));
  json_object_object_add(root, "image", json_object_new_string(fsck->image));
  json_object_object_add(root, "findings", json_object_get(fsck->findings));
  json_object_object_add(root, "summary", summary);
  puts(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
  json_object_put(root);
}

static void print_lines(const struct fsck *fsck, const struct wodan_check_report *r) {
  struct figure figures[FIGURES];
  figures_of(r, figures);
  for (size_t i = 0; i < FIGURES && fsck->verbose; i++)
    printf("%-20s %" PRIu64 "\n", figures[i].name, figures[i].value);
  if (r->damages || r->warnings)
    printf("%s: %" PRIu64 " damage, %" PRIu64 " warnings", fsck->image, r->damages, r->warnings);
  else if (fsck->cancelled)
    printf("%s: nothing found so far", fsck->image);
  else
    printf("%s: clean, generation %" PRIu64 ", %" PRIu64 "/%" PRIu64 " blocks used, %" PRIu64 " records in %" PRIu64
           " leaves and %" PRIu64 " runs, %" PRIu64 " in the journal",
           fsck->image, r->generation, r->blocks_live, r->blocks, r->records, r->leaves, r->runs, r->journal_records);
  puts(fsck->cancelled ? " (cancelled)" : r->complete ? "" : " (not everything could be reached)");
}

static int exit_code_of(const struct fsck *fsck, const struct wodan_check_report *report, int status) {
  int code = FSCK_OK;
  if (report->damages || report->warnings) code |= FSCK_UNCORRECTED;
  if (status < 0) code = FSCK_OPERATIONAL;
  if (fsck->cancelled) code |= FSCK_CANCELLED;
  return code;
}

/* ---- the roots ----------------------------------------------------------------------------------------------------- */

static int on_root(void *context, const struct wodan_root *root) {
  struct fsck *fsck = context;
  if (!fsck->json) {
    printf("%12" PRIu64 " %14" PRIu64 " %14" PRIu64 " %12" PRIu64 "\n", root->generation, root->sequence,
           root->journal_block, root->blocks);
    return 0;
  }
  struct json_object *object = json_object_new_object();
  json_object_object_add(object, "generation", json_object_new_uint64(root->generation));
  json_object_object_add(object, "sequence", json_object_new_uint64(root->sequence));
  json_object_object_add(object, "journal_block", json_object_new_uint64(root->journal_block));
  json_object_object_add(object, "tail", json_object_new_uint64(root->tail));
  json_object_object_add(object, "blocks", json_object_new_uint64(root->blocks));
  json_object_array_add(fsck->findings, object);
  return 0;
}

static int walk_roots(struct fsck *fsck, struct wodan_error *error) {
  struct wodan_device *device = NULL;
  struct wodan_inspect *inspect = NULL;
  int status = wodan_path_device(fsck->image, WODAN_PATH_READ_ONLY, 0, &device, error);
  if (status < 0) return status;
  status = wodan_inspect_open(device, NULL, &inspect, error);
  if (status == 0 && !fsck->json) printf("%12s %14s %14s %12s\n", "generation", "operation", "journal block", "blocks");
  if (status == 0) status = wodan_inspect_roots(inspect, on_root, fsck, error);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  return status;
}

static int list_roots(struct fsck *fsck) {
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  fsck->findings = json_object_new_array();
  int status = walk_roots(fsck, &error);
  if (status < 0) fprintf(stderr, "wodan-fsck: %s: %s\n", fsck->image, error.message);
  if (fsck->json) {
    struct json_object *root = json_object_new_object(), *failure = NULL;
    if (status < 0) failure = json_object_new_string(status_name(status));
    json_object_object_add(root, "schema", json_object_new_string("wodan-fsck-roots"));
    json_object_object_add(root, "version", json_object_new_int(JSON_VERSION));
    json_object_object_add(root, "image", json_object_new_string(fsck->image));
    json_object_object_add(root, "roots", json_object_get(fsck->findings));
    json_object_object_add(root, "error", failure);
    puts(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(root);
  }
  json_object_put(fsck->findings);
  return status < 0 ? FSCK_OPERATIONAL : FSCK_OK;
}

/* ---- the run ---------------------------------------------------------------------------------------------------- */

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
  if (fsck.list_roots) return finish(list_roots(&fsck));
  struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
  sigaction(SIGINT, &action, NULL); /* a second Ctrl-C ends the program the usual way */
  struct wodan_check_report report = {0};
  struct wodan_error error = {.block = WODAN_NO_BLOCK};
  fsck.findings = json_object_new_array();
  int status = check(&fsck, &report, &error), code = exit_code_of(&fsck, &report, status);
  if (status < 0) fprintf(stderr, "wodan-fsck: %s: %s\n", fsck.image, error.message);
  if (fsck.json)
    print_json(&fsck, &report, status, &error, code);
  else if (status == 0)
    print_lines(&fsck, &report);
  json_object_put(fsck.findings);
  return finish(code);
}
