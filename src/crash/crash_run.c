/* Owns: a crash run: which workload is next, the set of what was judged, the report; and the lines that replay.
 *
 * Always true: systematic workloads are handed out by rising length, so that what is complete is complete below too; which
 * thread runs one changes no verdict.
 *
 * Order: locks: of the run, of a shard; never both.
 *
 * See: crash_job.c, tests/crash/test_crash_run.c, tools/wodan/cmd_crash.c. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "crash/crash_private.h"

enum { JOBS_MAX = 64, OPS = 3, JOBS = 2 };

const char *wodan_sim_crash_geometry(unsigned index) {
  return index < work_geometry_count ? work_geometries[index].name : NULL;
}

int crash_seen(struct crash_run *run, uint64_t key) {
  struct crash_shard *shard = &run->shards[key >> 58];
  lock_acquire(&shard->lock);
  int status = sim_seen_add(&shard->seen, key);
  lock_leave(&shard->lock);
  return status; /* without memory: judged once more, never left out */
}

bool crash_over(struct crash_run *run) {
  if (run->deadline != UINT64_MAX && clock_now(NULL) >= run->deadline) return true;
  lock_acquire(&run->lock);
  bool enough = run->report->violations >= CRASH_VIOLATIONS_MAX || run->failed < 0;
  lock_leave(&run->lock);
  return enough;
}

void crash_violation(struct crash_run *run, const char *line, const char *sentence) {
  lock_acquire(&run->lock);
  if (run->report->violations++ < CRASH_VIOLATIONS_MAX && run->options.violation)
    run->options.violation(run->options.context, line, sentence);
  lock_leave(&run->lock);
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static bool parse_number(const char *text, uint64_t *number) {
  char *end;
  if (*text < '0' || *text > '9') return false;
  *number = strtoull(text, &end, 10);
  return *end == 0;
}

static bool parse_geometry(char *name, struct crash_replay *replay) {
  size_t length = strlen(name);
  replay->lying = length > 0 && name[length - 1] == '!';
  if (replay->lying) name[length - 1] = 0;
  for (unsigned g = 0; g < work_geometry_count; g++) {
    replay->task.geometry = g;
    if (strcmp(name, work_geometries[g].name) == 0) return true;
  }
  return false;
}

bool crash_replay_parse(const char *line, struct crash_replay *replay) {
  char text[WODAN_SIM_CRASH_LINE_MAX], *parts[8] = {NULL};
  size_t count = 0, used = 0;
  *replay = (struct crash_replay){.depth = 0};
  if (strlen(line) >= sizeof text) return false;
  strcpy(text, line);
  for (char *at = text; at && count < 8; at = strchr(at, ':'), at = at ? (*at = 0, at + 1) : NULL) parts[count++] = at;
  if (count != 3 && count != 5 && count != 7) return false;
  replay->depth = (unsigned)(count - 3) / 2;
  if (!parse_geometry(parts[0], replay) || !parse_number(parts[1], &replay->task.seed) || !work_legal(parts[2]))
    return false;
  strcpy(replay->task.letters, parts[2]);
  for (unsigned d = 0; d < replay->depth; d++) {
    uint64_t window;
    replay->choice[d] = replay->bytes + used;
    if (!parse_number(parts[3 + 2 * d], &window)) return false;
    replay->window[d] = (size_t)window;
    replay->kill = count == 5 && strcmp(parts[4], CRASH_KILL) == 0;
    if (!replay->kill &&
        !sim_choice_parse(parts[4 + 2 * d], replay->choice[d], sizeof replay->bytes - used, &replay->size[d]))
      return false;
    used += replay->size[d];
  }
  return true;
}

/* ---- handing out ------------------------------------------------------------------------------------------------- */

static bool geometry_taken(const struct crash_run *run, unsigned g) { return run->options.geometries >> g & 1; }

/* The next systematic workload; lock held. */
static bool next_systematic(struct crash_run *run, struct crash_task *task) {
  while (run->length <= run->options.ops) {
    if (run->geometry < work_geometry_count && geometry_taken(run, run->geometry) &&
        work_sequence(run->length, run->index, task->letters)) {
      run->index++;
      task->geometry = run->geometry;
      task->length = run->length;
      task->seed = run->options.seed;
      return true;
    }
    run->index = 0;
    if (++run->geometry >= work_geometry_count) {
      run->geometry = 0;
      run->length++;
    }
  }
  return false;
}

static void next_random(struct crash_run *run, struct crash_task *task) {
  task->length = 0;
  do task->geometry = (unsigned)(run->random++ % work_geometry_count);
  while (!geometry_taken(run, task->geometry));
  task->seed = run->random;
  uint64_t seed = task->seed;
  work_random(&seed, task->letters);
}

static bool next_task(struct crash_run *run, struct crash_task *task) {
  if (crash_over(run)) return false;
  lock_acquire(&run->lock);
  bool found = next_systematic(run, task);
  if (!found && run->options.seconds) {
    next_random(run, task);
    found = true;
  }
  lock_leave(&run->lock);
  return found;
}

static void *work_off(void *context) {
  struct crash_job *job = context;
  struct crash_task task;
  while (next_task(job->run, &task)) crash_job_do(job, &task);
  return NULL;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void run_jobs(struct crash_run *run) {
  struct mem mem;
  mem_init(&mem, NULL);
  uint32_t count = run->options.jobs, started = 1;
  struct crash_job *jobs = mem_array(&mem, count, sizeof *jobs);
  if (!jobs) {
    run->failed = WODAN_ENOMEM;
    return;
  }
  for (uint32_t i = 0; i < count; i++) crash_job_init(&jobs[i], run);
  while (started < count && thread_start(&jobs[started].thread, work_off, &jobs[started]) == 0) started++;
  work_off(&jobs[0]);
  for (uint32_t i = 1; i < started; i++) thread_join(&jobs[i].thread);
  for (uint32_t i = 0; i < count; i++) crash_job_release(&jobs[i]);
  mem_array_free(&mem, jobs, count, sizeof *jobs);
}

static void summarise(struct crash_run *run) {
  struct wodan_sim_crash_report *report = run->report;
  for (unsigned length = 1; length <= run->options.ops; length++)
    for (unsigned g = 0; g < work_geometry_count; g++) {
      uint64_t all = work_sequences(length), done = run->tally[length][g].done;
      if (!geometry_taken(run, g)) continue;
      report->workloads_cut += all - done;
      if (done == all && !run->tally[length][g].sampled)
        report->complete[report->complete_count++] =
            (struct wodan_sim_crash_complete){.ops = length, .geometry = g, .workloads = all};
    }
}

static bool take_defaults(struct wodan_sim_crash_options *o) {
  const uint32_t all = (1u << work_geometry_count) - 1;
  if (!o->ops) o->ops = OPS;
  if (!o->depth) o->depth = 1;
  if (!o->geometries) o->geometries = all;
  if (!o->jobs) o->jobs = JOBS;
  if (!o->seed) o->seed = 1;
#ifdef WODAN_NO_THREADS
  o->jobs = 1;
#endif
  return o->ops <= WODAN_SIM_CRASH_OPS_MAX && o->depth <= CRASH_DEPTHS && !(o->geometries & ~all) &&
         o->jobs <= JOBS_MAX;
}

static int set_up(struct crash_run *run) {
  int failed = lock_init(&run->lock);
  for (size_t i = 0; i < CRASH_SHARDS; i++) failed |= lock_init(&run->shards[i].lock);
  run->length = 1;
  run->random = run->options.seed * 1000003;
  run->start = clock_now(NULL);
  run->deadline = run->options.seconds ? run->start + run->options.seconds * UINT64_C(1000000000) : UINT64_MAX;
  return failed ? WODAN_ENOMEM : 0;
}

static void replay_one(struct crash_run *run) {
  struct crash_job job;
  crash_job_init(&job, run);
  run->deadline = UINT64_MAX;
  if (run->replay->depth > 1) run->options.depth = 2;
  crash_job_do(&job, &run->replay->task);
  crash_job_release(&job);
  if (run->failed == 0 && run->replay->depth && !run->visited && run->report->violations == 0)
    run->failed = WODAN_EINVAL;
}

int wodan_sim_crash_run(const struct wodan_sim_crash_options *options, struct wodan_sim_crash_report *report) {
  static const struct wodan_sim_crash_options defaults;
  struct crash_run run = {.report = report};
  struct crash_replay replay;
  memset(report, 0, sizeof *report);
  sim_take_options(&run.options, sizeof run.options, options ? options : &defaults);
  if (!take_defaults(&run.options)) return WODAN_EINVAL;
  run.lying = run.options.canary != 0;
  if (run.options.replay) {
    if (!crash_replay_parse(run.options.replay, &replay)) return WODAN_EINVAL;
    run.replay = &replay;
    run.lying = replay.lying;
  }
  run.failed = set_up(&run);
  if (run.failed == 0) {
    if (run.replay)
      replay_one(&run);
    else
      run_jobs(&run);
    if (!run.replay) summarise(&run);
  }
  report->nanoseconds = clock_now(NULL) - run.start;
  for (size_t i = 0; i < CRASH_SHARDS; i++) {
    sim_seen_release(&run.shards[i].seen);
    lock_release(&run.shards[i].lock);
  }
  lock_release(&run.lock);
  return run.failed;
}
