/* The power-cut loop inside: power_cut.c runs scenarios, power_cut_judge.c judges images. */
#ifndef SUPPORT_POWER_CUT_PRIVATE_H
#define SUPPORT_POWER_CUT_PRIVATE_H

#include "base/mem.h"
#include "crash/discard_watch.h"
#include "dev/dev_sim.h"
#include "crash/model.h"
#include "support/power_cut.h"
#include "support/random.h"
#include "crash/sim_plug.h"

enum { CUT_VALUE_MAX = 128, CUT_VALUE_PART = 14, CUT_KEY_MAX = 40, CUT_DEPTHS = 2 };

/* One change of the scenario, so that the model of any version can be built again. */
struct cut_change {
  size_t version;
  uint32_t key;
  bool present;
  uint16_t size;
};

struct cut_run {
  const struct cut_scenario *scenario;
  const struct cut_options *options;
  struct cut_result *result;
  uint64_t random; /* the one stream: hooks of every mount, choices */
  size_t step;     /* for the story */
  /* the scenario's own database */
  struct sim *sim;
  struct wodan_device *plug;
  struct wodan_db *db;
  struct wodan_view *view;
  size_t view_version;
  struct model *model;
  size_t acked;      /* version */
  uint32_t next_key; /* keys [0, next_key) were used */
  struct cut_change *changes;
  size_t change_count, change_capacity;
  struct model **versions; /* built again on demand, by version */
  size_t version_capacity;
  /* judging */
  struct sim *judge[CUT_DEPTHS]; /* one a depth */
  struct sim_seen seen[CUT_DEPTHS];
  uint64_t flushes; /* of the steps that are cut */
  uint64_t judged;  /* images at depth 1: picks those for depth 2 */
  bool busy;        /* the hook of the scenario's device is running */
  struct mem mem;   /* of the watch */
  struct discard_watch watch;
};

/* A database that is cut while being used: what its hook needs to know. */
struct cut_victim {
  struct cut_run *run;
  struct sim *sim;
  const struct model *model;
  const size_t *acked;
  unsigned depth; /* 0: the scenario itself */
};

/* Keeps the first failure, returns false. */
bool cut_fail(struct cut_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool cut_ok(const struct cut_run *run);

size_t cut_key(uint32_t number, uint8_t key[CUT_KEY_MAX]);
void cut_value(uint32_t key, size_t version, uint8_t value[CUT_VALUE_MAX]);
int cut_open(struct cut_run *run, struct sim *sim, unsigned flags, struct wodan_device **plug, struct wodan_db **db,
             struct wodan_error *error);
/* Frees the handle without a byte reaching the device. */
void cut_drop(struct wodan_device *plug, struct wodan_db *db);
/* The model of the scenario at that version; kept by the run. */
struct model *cut_model_at(struct cut_run *run, size_t version);

/* Every state of the victim's window. */
bool cut_judge_window(const struct cut_victim *victim);
/* The process above the scenario's device dies now. */
bool cut_judge_kill(const struct cut_victim *victim);

#endif
