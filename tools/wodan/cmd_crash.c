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

enum { SECONDS_DEFAULT = 60, SECONDS_MAX = 1000000, JOBS_MAX = 64 };

struct crash {
  struct options common;
  struct wodan_sim_crash_options run;
  const char *geometries;
  bool canary;
};

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

static void check(const struct argp_state *state, void *options) {
  struct crash *crash = options;
  if (crash->geometries != NULL) crash->run.geometries = parse_geometries(state, crash->geometries);
  crash->run.canary = crash->canary; /* the device lies about flushes: wrong states must be found */
}

static const struct options_verb verb = {
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
        "cut short by time, or sampled.",
    .shared = OPTIONS_JSON,
    .rows = {{"seconds", 't', "N", OPTIONS_COUNT32, offsetof(struct crash, run.seconds), 0, SECONDS_MAX,
              "Time limit; 0: none, and no random workloads (default 60)"},
             {"depth", 'd', "1|2", OPTIONS_COUNT32, offsetof(struct crash, run.depth), 1, 2,
              "2: cut the power again during recovery and the commits behind it (default 1)"},
             {"geometry", 'g', "NAME[,NAME...]", OPTIONS_TEXT, offsetof(struct crash, geometries), 0, 0,
              "Only these devices: tiny, torn, wide, tree (default all)"},
             {"seed", 's', "S", OPTIONS_COUNT, offsetof(struct crash, run.seed), 1, 0,
              "Other sizes, values and random workloads (default 1)"},
             {"ops", 'n', "N", OPTIONS_COUNT32, offsetof(struct crash, run.ops), 1, WODAN_SIM_CRASH_OPS_MAX,
              "All sequences of up to N operations first, at most 6 (default 3)"},
             {"jobs", 'j', "N", OPTIONS_COUNT32, offsetof(struct crash, run.jobs), 1, JOBS_MAX, "Threads (default 2)"},
             {"replay", 'r', "LINE", OPTIONS_TEXT, offsetof(struct crash, run.replay), 0, 0,
              "Only the state that an earlier run named"},
             {"canary", 0, NULL, OPTIONS_FLAG, offsetof(struct crash, canary), 0, 0, NULL}},
    .check = check,
};

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
  json_number(json, "discards", report->discards);
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
  printf("discards    %llu\n", (unsigned long long)report->discards);
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
  options_parse(&verb, argc, argv, &crash);
  int status = wodan_sim_crash_run(&crash.run, &report);
  if (status == WODAN_EINVAL && crash.run.replay)
    return report_failure(crash.common.json, "crash", status, EXIT_CODE_USAGE, "--replay: the line names no state");
  if (status < 0)
    return report_failure(crash.common.json, "crash", status, report_exit_code(status), "%s", wodan_strerror(status));
  struct json json = {0};
  if (crash.common.json)
    describe(&json, &report);
  else
    print_text(&report);
  if (crash.common.json && !report_json(&json)) return EXIT_CODE_IO;
  return report_flush(report.violations ? EXIT_CODE_NEGATIVE : EXIT_CODE_OK);
}
