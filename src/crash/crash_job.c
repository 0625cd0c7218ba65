/* Owns: one workload of a crash run: its windows, their states, the second power cut.
 *
 * Always true: an image is judged at most once for the same contents due, over all workloads and jobs; a state is known by
 * (workload, window, choice), twice at depth 2, whoever found it.
 *
 * Order: a state is judged at depth 1 first; only a right one is opened again and cut again.
 *
 * See: crash_run.c, judge.c, work.c. */
#include <stdio.h>
#include <string.h>

#include "crash/crash_private.h"

static const struct wodan_slice KEYS[] = {{"~1", 2}, {"~2", 2}, {"~3", 2}};
static const struct wodan_slice VALUE = {"after the first crash", 21};
static const char KILL[] = CRASH_KILL;
static const char *const geometry_end[] = {"", "!"};

static void deep(struct crash_job *job, const struct sim_state *state, size_t version);

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static void put_state(char *line, const struct crash_job *job, unsigned depth) {
  size_t used = strlen(line), room = WODAN_SIM_CRASH_LINE_MAX - used;
  int more = snprintf(line + used, room, ":%zu:", job->windows[depth]);
  if (more < 0 || (size_t)more + sizeof KILL > room) return;
  used += (size_t)more;
  if (!job->choice[depth]) {
    strcpy(line + used, KILL);
    return;
  }
  if (!sim_choice_print(job->choice[depth], job->choice_size[depth], line + used, WODAN_SIM_CRASH_LINE_MAX - used))
    line[used] = 0;
}

static void tell(struct crash_job *job, unsigned depth, const char *sentence) {
  const struct crash_task *task = job->task;
  char line[WODAN_SIM_CRASH_LINE_MAX];
  snprintf(line, sizeof line, "%s%s:%llu:%s", work_geometries[task->geometry].name, geometry_end[job->run->lying],
           (unsigned long long)task->seed, task->letters);
  for (unsigned d = 0; d < depth; d++) put_state(line, job, d);
  crash_violation(job->run, line, sentence);
}

/* Of a failed judgement: a lack of memory ends the run and is no violation. */
static void tell_judged(struct crash_job *job, unsigned depth, const struct judge *judge) {
  if (judge->no_memory)
    job->run->failed = WODAN_ENOMEM;
  else
    tell(job, depth, judge->why);
}

/* ---- one state --------------------------------------------------------------------------------------------------- */

static uint64_t hash_history(const struct judge_due *due) {
  uint64_t hash = 1;
  for (size_t v = due->least; v <= due->newest; v++) hash = content_hash(&due->versions[v], hash);
  return hash;
}

/* Judges an image that was not met yet; false: a violation was told. *version SIZE_MAX: met before. */
static bool judge_new(struct crash_job *job, unsigned depth, const struct sim_state *state, const struct judge_due *due,
                      size_t *version) {
  struct judge *judge = &job->judges[job->task->geometry][depth];
  job->choice[depth] = state->choice;
  job->choice_size[depth] = state->size;
  *version = SIZE_MAX;
  if (crash_seen(job->run, state->hash ^ job->history ^ (uint64_t)depth << 63) == 0) return true;
  uint64_t *counter = depth ? &job->deep_distinct : &job->distinct;
  (*counter)++;
  if (judge_image(judge, state->image, state->hash, due, version)) return true;
  tell_judged(job, depth + 1, judge);
  return false;
}

static bool see_state(void *context, const struct sim_state *state) {
  struct crash_job *job = context;
  size_t version;
  if (crash_over(job->run)) {
    job->cut = true;
    return false;
  }
  if (!judge_new(job, 0, state, &job->due, &version)) return true;
  if (version != SIZE_MAX && job->run->options.depth > 1) deep(job, state, version);
  return true;
}

/* ---- depth 2 ----------------------------------------------------------------------------------------------------- */

static bool see_deep_state(void *context, const struct sim_state *state) {
  struct crash_job *job = context;
  size_t version;
  if (crash_over(job->run)) {
    job->cut = true;
    return false;
  }
  struct judge_due due = {job->deep, job->deep_least, job->deep_newest};
  job->history = hash_history(&due);
  judge_new(job, 1, state, &due, &version);
  return true;
}

/* Only the state of the replay line. */
static void see_wanted(struct crash_job *job, unsigned depth, struct sim *sim,
                       bool (*see)(void *, const struct sim_state *)) {
  const struct crash_replay *replay = job->run->replay;
  struct sim_image image;
  if (sim_image_init(&image, sim) < 0) {
    job->run->failed = WODAN_ENOMEM;
    return;
  }
  sim_image_choose(&image, sim, replay->choice[depth], replay->size[depth]);
  job->counts.windows++;
  job->counts.states++;
  if (depth + 1 == replay->depth) job->run->visited = true;
  struct sim_state state = {&image, sim_image_hash(&image), replay->choice[depth], replay->size[depth]};
  see(job, &state);
  sim_image_release(&image);
}

/* The states of a window, or the one that is to be replayed. True: some were left to samples. */
static bool see_window(struct crash_job *job, unsigned depth, struct sim *sim, const struct wodan_sim_limits *limits,
                       bool (*see)(void *, const struct sim_state *)) {
  const struct crash_replay *replay = job->run->replay;
  if (replay && replay->depth > depth) {
    if (job->windows[depth] == replay->window[depth]) see_wanted(job, depth, sim, see);
    return false;
  }
  struct sim_window window = {.sim = sim, .limits = limits, .random = job->task->seed, .state = see, .context = job};
  bool stopped;
  if (sim_window_run(&window, &stopped) < 0) job->run->failed = WODAN_ENOMEM;
  job->counts.windows += window.counts.windows;
  job->counts.states += window.counts.states;
  job->counts.families += window.counts.families;
  job->counts.sampled += window.counts.sampled;
  return window.counts.sampled > 0;
}

/* The process dies before this flush instead of the power; once a window. */
static void see_kill(struct crash_job *job, const struct sim *sim) {
  struct judge *judge = &job->judges[job->task->geometry][0];
  job->run->visited = true;
  job->kills++;
  job->choice[0] = NULL;
  if (!judge_kill(judge, sim, &job->due)) tell_judged(job, 1, judge);
}

static int before_deep_flush(void *context, struct sim *sim, const struct sim_operation *operation) {
  struct crash_job *job = context;
  if (operation->kind != SIM_FLUSH || job->busy) return 0;
  struct wodan_sim_limits limits = {.block = work_geometries[job->task->geometry].block,
                                    .units_max = 8,
                                    .sectors_max = 8,
                                    .contents_max = 3,
                                    .samples = 32,
                                    .states_max = 512};
  job->busy = true;
  if (sim_window_elements(sim) > 0) see_window(job, 1, sim, &limits, see_deep_state);
  job->windows[1]++;
  job->busy = false;
  return 0;
}

static bool deep_contents(struct crash_job *job, const struct content *base) {
  for (size_t n = 0; n < 4; n++) {
    struct content *content = &job->deep[n];
    content_copy(content, base);
    for (size_t i = 0; i < n; i++) content_add(content, KEYS[i], VALUE);
    if (content->failed) return false;
  }
  return true;
}

/* A durable put, a buffered one with a checkpoint behind it, a durable one: each with the power cut at every flush. */
static int deep_commits(struct crash_job *job, struct wodan_db *db) {
  struct wodan_commit durable = {.durability = WODAN_DURABLE};
  job->deep_newest = 1;
  int status = wodan_put(db, KEYS[0], VALUE, &durable);
  if (status < 0) return status;
  job->deep_least = 1;
  job->deep_newest = 2;
  status = wodan_put(db, KEYS[1], VALUE, NULL);
  if (status == 0) status = wodan_checkpoint(db, NULL);
  if (status < 0) return status;
  job->deep_least = 2;
  job->deep_newest = 3;
  durable = (struct wodan_commit){.durability = WODAN_DURABLE};
  return wodan_put(db, KEYS[2], VALUE, &durable);
}

static void deep(struct crash_job *job, const struct sim_state *state, size_t version) {
  struct judge *judge = &job->judges[job->task->geometry][0];
  uint64_t history = job->history;
  if (!deep_contents(job, &job->due.versions[version]) || sim_load(judge->sim, state->image) < 0) {
    job->run->failed = WODAN_ENOMEM;
    return;
  }
  judge->random = state->hash + 1;
  job->deep_least = job->deep_newest = 0;
  job->windows[1] = 0;
  sim_options(judge->sim)->before = before_deep_flush;
  sim_options(judge->sim)->context = job;
  int status = judge_open(judge, "depth 2");
  if (status == 0) status = deep_commits(job, judge->db);
  if (status < 0 && status != WODAN_ENOSPC && judge->db) {
    struct wodan_error error;
    wodan_last_error(judge->db, &error);
    snprintf(judge->why, sizeof judge->why, "commits after the crash: %s", error.message);
  }
  sim_options(judge->sim)->before = NULL;
  judge_drop(judge);
  judge->no_memory |= status == WODAN_ENOMEM || sim_is_starved(judge->sim);
  if (status < 0 && status != WODAN_ENOSPC) tell_judged(job, 1, judge);
  job->history = history;
}

/* ---- one workload ------------------------------------------------------------------------------------------------ */

static void see_work_window(void *context, struct work *work) {
  struct crash_job *job = context;
  const struct crash_replay *replay = job->run->replay;
  if (work->step < job->task->length && !(replay && replay->depth)) return;
  struct wodan_sim_limits limits = {
      .block = work->geometry->block, .samples = 256, .states_max = job->task->length ? 1 << 20 : 1 << 12};
  job->windows[0] = work->windows;
  job->due = (struct judge_due){work->versions, work->acknowledged, work->newest};
  job->history = hash_history(&job->due);
  if (!replay || !replay->kill) job->sampled += see_window(job, 0, work->sim, &limits, see_state);
  bool kill = !replay || !replay->depth || (replay->kill && replay->window[0] == work->windows);
  if (kill && !job->cut) see_kill(job, work->sim);
  work->stop = job->cut || job->run->failed;
}

static int make_ready(struct crash_job *job, unsigned g) {
  if (job->sims[g]) return 0;
  int status = work_format(&work_geometries[g], &job->images[g]);
  if (status < 0) return status;
  status = work_device(&work_geometries[g], job->run->lying, &job->sims[g]);
  for (unsigned d = 0; d < CRASH_DEPTHS && status == 0; d++) status = judge_init(&job->judges[g][d], job->sims[g]);
  return status;
}

static void add_up(struct crash_job *job) {
  struct crash_run *run = job->run;
  struct wodan_sim_crash_report *report = run->report;
  lock_acquire(&run->lock);
  report->workloads++;
  report->random_workloads += job->task->length == 0;
  report->windows += job->counts.windows;
  report->states += job->counts.states;
  report->windows_families += job->counts.families;
  report->windows_sampled += job->counts.sampled;
  report->distinct += job->distinct + job->deep_distinct;
  report->deep += job->deep_distinct;
  report->kills += job->kills;
  report->discards += job->work->watch.discards;
  if (job->task->length && !job->cut) {
    run->tally[job->task->length][job->task->geometry].done++;
    if (job->sampled) run->tally[job->task->length][job->task->geometry].sampled = true;
  }
  for (unsigned d = 0; d < CRASH_DEPTHS; d++) {
    report->closed += job->judges[job->task->geometry][d].closed;
    job->judges[job->task->geometry][d].closed = 0;
  }
  lock_leave(&run->lock);
  job->counts = (struct wodan_sim_counts){0};
  job->sampled = job->distinct = job->deep_distinct = job->kills = 0;
}

void crash_job_do(struct crash_job *job, const struct crash_task *task) {
  unsigned g = task->geometry;
  job->task = task;
  job->cut = false;
  int status = make_ready(job, g);
  if (status == 0) status = sim_load(job->sims[g], &job->images[g]);
  if (status < 0) {
    job->run->failed = status;
    return;
  }
  struct work work = {.geometry = &work_geometries[g],
                      .letters = task->letters,
                      .seed = task->seed,
                      .window = see_work_window,
                      .context = job,
                      .sim = job->sims[g]};
  job->work = &work;
  bool good = work_run(&work);
  if (work.no_memory)
    job->run->failed = WODAN_ENOMEM;
  else if (!good)
    tell(job, 0, work.why);
  work_release(&work);
  add_up(job);
}

void crash_job_init(struct crash_job *job, struct crash_run *run) {
  *job = (struct crash_job){.run = run};
  mem_init(&job->mem, NULL);
  for (size_t i = 0; i < 4; i++) content_init(&job->deep[i], &job->mem);
}

void crash_job_release(struct crash_job *job) {
  for (size_t i = 0; i < 4; i++) content_release(&job->deep[i]);
  for (unsigned g = 0; g < WODAN_SIM_CRASH_GEOMETRIES; g++) {
    for (unsigned d = 0; d < CRASH_DEPTHS && job->sims[g]; d++) judge_release(&job->judges[g][d]);
    sim_close(job->sims[g]);
    sim_image_release(&job->images[g]);
  }
}
