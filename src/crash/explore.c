/* Owns: a user's workload under every power cut: wodan_sim_states and wodan_sim_explore.
 * Always true: states are shown on a device of their own, loaded anew for each, so a check may write.
 * Order: the hook of the explored device sees a flush before it has any effect.
 * See: include/wodan/sim.h, tests/crash/test_sim.c, examples/crash_test.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "crash/sim_world.h"

struct visitor {
  struct wodan_sim crashed; /* loaded for each state */
  wodan_sim_visit *visit;
  void *context;
  struct mem mem;
  char *text;
  size_t capacity;
  int status;
};

static bool visit_state(void *context, const struct sim_state *state) {
  struct visitor *v = context;
  v->status = sim_load(v->crashed.sim, state->image);
  if (v->status == 0 && !sim_choice_print(state->choice, state->size, v->text, v->capacity)) v->status = WODAN_ENOMEM;
  if (v->status == 0) v->status = v->visit(v->context, &v->crashed, v->text);
  return v->status == 0;
}

static int visitor_init(struct visitor *v, const struct wodan_sim *sim) {
  struct sim_image image;
  mem_init(&v->mem, NULL);
  v->capacity = 2 * sim_choice_size_max(sim->sim) + 16;
  v->text = mem_alloc(&v->mem, v->capacity);
  int status = v->text ? sim_image_init(&image, sim->sim) : WODAN_ENOMEM;
  if (status < 0) return status;
  status = sim_reboot(sim->sim, &image, &v->crashed.sim);
  sim_image_release(&image);
  if (status == 0) sim_options(v->crashed.sim)->before = NULL;
  return status;
}

static void visitor_release(struct visitor *v) {
  sim_close(v->crashed.sim);
  mem_free(&v->mem, v->text, v->capacity);
}

int wodan_sim_states(struct wodan_sim *sim, const struct wodan_sim_limits *limits, wodan_sim_visit *visit,
                     void *context, struct wodan_sim_counts *counts) {
  struct visitor v = {.visit = visit, .context = context};
  struct sim_window window = {
      .sim = sim->sim, .limits = limits, .random = sim_options(sim->sim)->seed, .state = visit_state, .context = &v};
  bool stopped;
  int status = visitor_init(&v, sim);
  if (status == 0) status = sim_window_run(&window, &stopped);
  if (status == 0) status = v.status;
  visitor_release(&v);
  if (counts) {
    counts->windows += window.counts.windows;
    counts->states += window.counts.states;
    counts->distinct += window.counts.distinct;
    counts->families += window.counts.families;
    counts->sampled += window.counts.sampled;
  }
  return status;
}

/* ---- explore --------------------------------------------------------------------------------------------------- */

struct explorer {
  struct wodan_sim_workload workload;
  struct wodan_sim_explore_options options;
  struct wodan_sim_explore_report *report;
  uint64_t window, wanted; /* wanted: of the replay line */
  const char *choice;      /* likewise; NULL: all */
  bool busy, visited;
  int failed; /* of memory */
};

static int check_state(void *context, struct wodan_sim *crashed, const char *choice) {
  struct explorer *e = context;
  int status = e->workload.check(e->workload.context, crashed);
  if (!status) return 0;
  e->report->violations = 1;
  e->report->status = status;
  snprintf(e->report->replay, sizeof e->report->replay, "%llu:%s", (unsigned long long)e->window, choice);
  return WODAN_DONE;
}

/* Only the state of the replay line. */
static int check_wanted(struct explorer *e, struct wodan_sim *sim) {
  struct wodan_sim copy = {.before = NULL};
  int status = sim_clone(sim->sim, &copy.sim);
  if (status < 0) return status;
  sim_options(copy.sim)->before = NULL;
  status = wodan_sim_power_cut(&copy, e->choice);
  e->visited = status == 0;
  e->report->counts.windows++;
  e->report->counts.states++;
  e->report->counts.distinct++;
  if (status == 0) status = check_state(e, &copy, e->choice);
  sim_close(copy.sim);
  return status;
}

static void look(struct explorer *e, struct wodan_sim *sim) {
  if (e->report->violations || e->failed < 0) return;
  int status = 0;
  if (!e->choice)
    status = wodan_sim_states(sim, &e->options.limits, check_state, e, &e->report->counts);
  else if (e->window == e->wanted)
    status = check_wanted(e, sim);
  if (status < 0) e->failed = status;
  e->window++;
}

static int before(void *context, struct wodan_sim *sim, const struct wodan_sim_operation *operation) {
  struct explorer *e = context;
  bool flush = operation->kind == WODAN_SIM_FLUSH ||
               (operation->kind == WODAN_SIM_BARRIER && e->options.device.barrier == WODAN_SIM_BARRIER_BY_FLUSH);
  if (!flush || e->busy) return 0;
  e->busy = true;
  look(e, sim);
  e->busy = false;
  return 0;
}

static bool parse_replay(struct explorer *e) {
  if (!e->options.replay) return true;
  char *end;
  e->wanted = strtoull(e->options.replay, &end, 10);
  if (end == e->options.replay || *end != ':') return false;
  e->choice = end + 1;
  return true;
}

int wodan_sim_explore(const struct wodan_sim_workload *workload, const struct wodan_sim_explore_options *options,
                      struct wodan_sim_explore_report *report) {
  struct explorer e = {.report = report};
  struct wodan_sim *sim;
  memset(report, 0, sizeof *report);
  sim_take_options(&e.workload, sizeof e.workload, workload);
  sim_take_options(&e.options, sizeof e.options, options);
  if (!e.workload.run || !e.workload.check || !parse_replay(&e)) return WODAN_EINVAL;
  e.options.device.before = before;
  e.options.device.context = &e;
  int status = wodan_sim_create(&e.options.device, &sim);
  if (status < 0) return status;
  status = e.workload.run(e.workload.context, sim);
  if (status == 0) look(&e, sim);
  if (sim_is_starved(sim->sim)) e.failed = WODAN_ENOMEM; /* whatever `run` makes of it */
  wodan_sim_free(sim);
  if (report->violations) return WODAN_DONE;
  report->status = status;
  if (e.failed < 0) return e.failed;
  if (status == 0 && e.choice && !e.visited) return WODAN_EINVAL;
  return status;
}
