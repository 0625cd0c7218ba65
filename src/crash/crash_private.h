/* The crash run inside: crash_run.c hands out workloads and adds up, crash_job.c runs one and judges its states. */
#ifndef CRASH_CRASH_PRIVATE_H
#define CRASH_CRASH_PRIVATE_H

#include "base/thread.h"
#include "crash/judge.h"
#include "crash/sim_world.h"
#include "crash/work.h"

enum { CRASH_SHARDS = 64, CRASH_VIOLATIONS_MAX = 100, CRASH_DEPTHS = 2 };

#define CRASH_KILL "kill"

/* One workload to run. */
struct crash_task {
  char letters[WORK_LENGTH_MAX + 1];
  unsigned geometry;
  uint64_t seed;
  unsigned
      length; /* systematic: windows before the last operation belong to a shorter workload; 0: random, all count */
};

/* A line taken apart: "geometry:seed:letters[:window:choice[:window:choice]]", a '!' behind the geometry for a lying device. */
struct crash_replay {
  struct crash_task task;
  bool lying, kill; /* kill: "kill" in place of a choice: the process dies, not the power */
  unsigned depth;   /* 0: the whole workload; 1, 2: the state of that depth */
  size_t window[CRASH_DEPTHS];
  uint8_t *choice[CRASH_DEPTHS]; /* in `bytes` */
  size_t size[CRASH_DEPTHS];
  uint8_t bytes[WODAN_SIM_CRASH_LINE_MAX];
};
bool crash_replay_parse(const char *line, struct crash_replay *replay);

/* The sets of what was judged, for all jobs. */
struct crash_shard {
  struct lock lock;
  struct sim_seen seen;
};

struct crash_run {
  struct wodan_sim_crash_options options;
  struct wodan_sim_crash_report *report;
  const struct crash_replay *replay; /* NULL: none */
  uint64_t start, deadline;          /* UINT64_MAX: none */
  struct crash_shard shards[CRASH_SHARDS];
  struct lock lock; /* of all below, and of the report */
  unsigned length, geometry;
  uint64_t index; /* next systematic workload */
  uint64_t random;
  struct {
    uint64_t done;
    bool sampled;
  } tally[WODAN_SIM_CRASH_OPS_MAX + 1][WODAN_SIM_CRASH_GEOMETRIES];
  _Atomic int failed;   /* no memory */
  _Atomic bool visited; /* the state of the replay line */
  bool lying;
};

/* 1: new, 0: known, WODAN_ENOMEM. */
int crash_seen(struct crash_run *run, uint64_t key);
/* The time is over, or there were violations enough. */
bool crash_over(struct crash_run *run);
void crash_violation(struct crash_run *run, const char *line, const char *sentence);

/* What one thread has. */
struct crash_job {
  struct crash_run *run;
  struct thread thread;
  struct mem mem;
  struct sim *sims[WODAN_SIM_CRASH_GEOMETRIES]; /* made when first used */
  struct sim_image images[WODAN_SIM_CRASH_GEOMETRIES];
  struct judge judges[WODAN_SIM_CRASH_GEOMETRIES][CRASH_DEPTHS];
  /* the workload under way */
  const struct crash_task *task;
  struct work *work;
  uint64_t history; /* hash of the contents a state may show */
  struct judge_due due;
  size_t windows[CRASH_DEPTHS];
  const uint8_t *choice[CRASH_DEPTHS]; /* of the states under way */
  size_t choice_size[CRASH_DEPTHS];
  struct content deep[4]; /* contents at depth 2 */
  size_t deep_least, deep_newest;
  bool busy, cut;
  struct wodan_sim_counts counts; /* of both depths */
  uint64_t sampled;               /* windows of depth 1 */
  uint64_t distinct, deep_distinct, kills;
};

void crash_job_init(struct crash_job *job, struct crash_run *run);
void crash_job_release(struct crash_job *job);
/* Adds what it found to the run. */
void crash_job_do(struct crash_job *job, const struct crash_task *task);

#endif
