/* What: `wodan crash`: cuts the power of simulated devices under workloads of our own, at every flush and in every way, and
 * judges each state that is left.
 *
 * Always true: no file is touched; exit code 0 means that no state was wrong, 1 that one was; each wrong state is one line
 * on standard error that --replay runs again.
 *
 * Order: violations as they are found, the answer at the end.
 *
 * See: include/wodan/sim.h; tests/cli/test_crash.sh. */
#include <stdio.h>
#include <string.h>
#include <wodan/sim.h>

#include "commands.h"
#include "json.h"
#include "options.h"
#include "report.h"

enum {
  KEY_SECONDS = 't',
  KEY_DEPTH = 'd',
  KEY_GEOMETRY = 'g',
  KEY_SEED = 's',
  KEY_OPS = 'n',
  KEY_JOBS = 'j',
  KEY_REPLAY = 'r'
};
enum { KEY_JSON = 0x3000, KEY_CANARY };
enum { SECONDS_DEFAULT = 60, SECONDS_MAX = 1000000, JOBS_MAX = 64 };

struct crash {
  struct wodan_sim_crash_options run;
  bool json;
};

static const struct argp_option option_list[] = {
    {"seconds", KEY_SECONDS, "N", 0, "Time limit; 0: none, and no random workloads (default 60)", 0},
    {"depth", KEY_DEPTH, "1|2", 0, "2: cut the power again during recovery and the commits behind it (default 1)", 0},
    {"geometry", KEY_GEOMETRY, "NAME[,NAME...]", 0, "Only these devices: tiny, torn, wide, tree (default all)", 0},
    {"seed", KEY_SEED, "S", 0, "Other sizes, values and random workloads (default 1)", 0},
    {"ops", KEY_OPS, "N", 0, "All sequences of up to N operations first, at most 6 (default 3)", 0},
    {"jobs", KEY_JOBS, "N", 0, "Threads (default 2)", 0},
    {"replay", KEY_REPLAY, "LINE", 0, "Only the state that an earlier run named", 0},
    {"json", KEY_JSON, NULL, 0, "Answer in JSON on standard output, errors too", 1},
    {"canary", KEY_CANARY, NULL, OPTION_HIDDEN, "The device lies about flushes: wrong states must be found", 1},
    {0}};

static uint32_t parse_count(const struct argp_state *state, const char *what, const char *text, uint64_t least,
                            uint64_t most) {
  uint64_t count = options_count(state, what, text, least);
  if (count > most) argp_error(state, "%s: at most %llu", what, (unsigned long long)most);
  return (uint32_t)count;
}

static uint32_t parse_geometries(const struct argp_state *state, const char *list) {
  uint32_t chosen = 0;
  for (const char *name = list;; name++) {
    size_t size = strcspn(name, ",");
    unsigned g = 0;
    const char *known;
    while ((known = wodan_sim_crash_geometry(g)) && (strlen(known) != size || strncmp(known, name, size) != 0)) g++;
    if (!known) argp_error(state, "--geometry: '%.*s' is none of tiny, torn, wide, tree", (int)size, name);
    chosen |= 1u << g;
    name += size;
    if (*name == '\0') return chosen;
  }
}

static error_t parse(int key, char *argument, struct argp_state *state) {
  struct crash *crash = state->input;
  switch (key) {
  case KEY_SECONDS:
    crash->run.seconds = parse_count(state, "--seconds", argument, 0, SECONDS_MAX);
    return 0;
  case KEY_DEPTH:
    crash->run.depth = parse_count(state, "--depth", argument, 1, 2);
    return 0;
  case KEY_GEOMETRY:
    crash->run.geometries = parse_geometries(state, argument);
    return 0;
  case KEY_SEED:
    crash->run.seed = options_count(state, "--seed", argument, 1);
    return 0;
  case KEY_OPS:
    crash->run.ops = parse_count(state, "--ops", argument, 1, WODAN_SIM_CRASH_OPS_MAX);
    return 0;
  case KEY_JOBS:
    crash->run.jobs = parse_count(state, "--jobs", argument, 1, JOBS_MAX);
    return 0;
  case KEY_REPLAY:
    crash->run.replay = argument;
    return 0;
  case KEY_JSON:
    crash->json = true;
    return 0;
  case KEY_CANARY:
    crash->run.canary = 1;
    return 0;
  case ARGP_KEY_ARG:
    argp_error(state, "'%s': there is no argument, all devices are simulated", argument);
    return 0;
  default:
    return ARGP_ERR_UNKNOWN;
  }
}

static const struct argp argp = {
    .options = option_list,
    .parser = parse,
    .doc =
        "Enumerates what power cuts may leave of a database and judges every state. Workloads: all sequences of up to "
        "N "
        "operations of put, overwrite, delete, sync, checkpoint and reopen on each of four tiny simulated devices, "
        "then "
        "random ones until the time is over. Before every flush: all subsets of the sectors in flight that the "
        "device's "
        "barriers allow (with more than 16 sectors: prefixes, block subsets, and one torn block in every pattern), "
        "torn "
        "sectors also as zeros, garbage and unreadable. Identical images count once. Each must open, hold exactly "
        "what some commit left that is not older than the last durable one, take a durable write, survive the loss of "
        "power after it, and pass the checks of wodan-fsck."
        "\vExit codes: 0 all states were right, 1 one was not (each is told with a line for --replay), 2 usage. In "
        "JSON `complete' lists for which numbers of operations every sequence was run through; `truncated' what was "
        "cut short by time, or sampled."};

static void tell_violation(void *context, const char *line, const char *sentence) {
  (void)context;
  fprintf(stderr, "wodan: crash: %s\n  replay: wodan crash --replay '%s'\n", sentence, line);
}

static void describe(struct json *json, const struct wodan_sim_crash_report *report) {
  json_open(json, NULL, '{');
  json_number(json, "workloads", report->workloads);
  json_number(json, "random", report->random_workloads);
  json_number(json, "windows", report->windows);
  json_number(json, "states", report->states);
  json_number(json, "distinct", report->distinct);
  json_number(json, "deep", report->deep);
  json_number(json, "kills", report->kills);
  json_number(json, "violations", report->violations);
  json_real(json, "seconds", (double)report->nanoseconds / 1e9);
  json_open(json, "complete", '[');
  for (uint32_t i = 0; i < report->complete_count; i++) {
    json_open(json, NULL, '{');
    json_number(json, "ops", report->complete[i].ops);
    json_text(json, "geometry", wodan_sim_crash_geometry(report->complete[i].geometry));
    json_number(json, "workloads", report->complete[i].workloads);
    json_close(json, '}');
  }
  json_close(json, ']');
  json_open(json, "truncated", '{');
  json_number(json, "workloads", report->workloads_cut);
  json_number(json, "windows_by_families", report->windows_families);
  json_number(json, "windows_sampled", report->windows_sampled);
  json_close(json, '}');
  json_close(json, '}');
}

static void print_text(const struct wodan_sim_crash_report *report) {
  double seconds = (double)report->nanoseconds / 1e9;
  printf("workloads   %llu, %llu of them random\n", (unsigned long long)report->workloads,
         (unsigned long long)report->random_workloads);
  printf("states      %llu in %llu windows\n", (unsigned long long)report->states, (unsigned long long)report->windows);
  printf("distinct    %llu, each judged; %llu of them after a second power cut\n", (unsigned long long)report->distinct,
         (unsigned long long)report->deep);
  printf("violations  %llu\n", (unsigned long long)report->violations);
  printf("seconds     %.1f, %.0f distinct states a second\n", seconds,
         seconds > 0 ? (double)report->distinct / seconds : 0);
  for (uint32_t i = 0; i < report->complete_count; i++)
    printf("complete    all %llu sequences of %u on %s\n", (unsigned long long)report->complete[i].workloads,
           report->complete[i].ops, wodan_sim_crash_geometry(report->complete[i].geometry));
  printf("truncated   %llu workloads for time; %llu windows by families, %llu sampled\n",
         (unsigned long long)report->workloads_cut, (unsigned long long)report->windows_families,
         (unsigned long long)report->windows_sampled);
}

int cmd_crash(int argc, char **argv) {
  struct crash crash = {.run = {.seconds = SECONDS_DEFAULT, .violation = tell_violation}};
  struct wodan_sim_crash_report report;
  options_parse(&argp, argc, argv, &crash);
  int status = wodan_sim_crash_run(&crash.run, &report);
  if (status == WODAN_EINVAL && crash.run.replay)
    return report_failure(crash.json, "crash", status, EXIT_CODE_USAGE, "--replay: the line names no state");
  if (status < 0)
    return report_failure(crash.json, "crash", status, report_exit_code(status), "%s", wodan_strerror(status));
  struct json json = {0};
  if (crash.json)
    describe(&json, &report);
  else
    print_text(&report);
  if (crash.json && !report_json(&json)) return EXIT_CODE_IO;
  return report_flush(report.violations ? EXIT_CODE_NEGATIVE : EXIT_CODE_OK);
}
