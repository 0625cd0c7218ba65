/* Owns: running the steps of a scenario on a simulated device and a model side by side. See power_cut.h.
 *
 * Always true: the model's newest version is the last commit tried (a commit is entered before the call, because a crash
 * during the call may already show it) and `acked` the last one known durable.
 *
 * Order: the hook sees a flush before it has any effect, when the window is what a power cut may lose. */
#include "support/power_cut_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "engine/engine.h"

bool cut_ok(const struct cut_run *run) { return run->result->failure[0] == 0; }

bool cut_fail(struct cut_run *run, const char *format, ...) {
  if (!cut_ok(run)) return false;
  char what[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  snprintf(run->result->failure, sizeof run->result->failure,
           "scenario '%s' (%s), step %zu, window %llu: %s (replay: WODAN_SEED=%llu WODAN_CRASH_BUDGET=%u)",
           run->scenario->name, run->scenario->geometry->name, run->step, (unsigned long long)run->result->windows,
           what, (unsigned long long)run->options->seed, run->options->window_states);
  return false;
}

struct cut_options cut_options_default(void) {
  const char *budget = getenv("WODAN_CRASH_BUDGET"), *seed = getenv("WODAN_SEED");
  struct cut_options options = {.seed = 20261122, .window_states = 200, .deep_every = 24};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  options.window_states = 24;
  options.deep_every = 64;
#endif
  if (budget) options.window_states = (uint32_t)strtoul(budget, NULL, 0);
  if (seed) options.seed = strtoull(seed, NULL, 0);
  if (options.window_states < 4) options.window_states = 4;
  return options;
}

/* ---- handles ---------------------------------------------------------------------------------------------------- */

static int next_random(void *context, void *buffer, size_t size) {
  uint64_t *state = context;
  for (size_t i = 0; i < size; i++) ((uint8_t *)buffer)[i] = (uint8_t)random_next(state);
  return 0;
}

int cut_open(struct cut_run *run, struct sim *sim, unsigned flags, struct wodan_device **plug, struct wodan_db **db,
             struct wodan_error *error) {
  struct wodan_open_options options = {.flags = flags | WODAN_OPEN_INLINE,
                                       .memory_budget = (1 << 20) + 2 * run->scenario->geometry->size,
                                       .discard = WODAN_DISCARD_EAGER,
                                       .hooks = {.context = &run->random, .random = next_random}};
  if (run->scenario->geometry->packs)
    options.compression = WODAN_COMPRESSION_OFF + (uint32_t)random_below(&run->random, 3);
  *plug = sim_plug(sim);
  int status = wodan_open(*plug, &options, db, error);
  if (status < 0) wodan_device_close(*plug);
  return status;
}

void cut_drop(struct wodan_device *plug, struct wodan_db *db) {
  sim_unplug(plug);
  wodan_close(db, NULL);
}

/* ---- keys and values: functions of a number, so that a log of numbers is enough ---------------------------------- */

size_t cut_key(uint32_t number, uint8_t key[CUT_KEY_MAX]) {
  const char *shape = number % 3 == 1 ? "a/long/common/prefix/%05u" : "%05u";
  return (size_t)snprintf((char *)key, CUT_KEY_MAX, shape, number * 7919u % 99991u);
}

void cut_value(uint32_t key, size_t version, uint8_t value[CUT_VALUE_MAX]) {
  uint64_t state = key * 1000003ull + version;
  for (size_t i = 0; i < CUT_VALUE_MAX; i++) /* the first part over and over, so that it can be compressed */
    value[i] = i < CUT_VALUE_PART ? (uint8_t)('a' + random_next(&state) % 26) : value[i - CUT_VALUE_PART];
}

static void enter(struct model *model, const struct cut_change *change) {
  uint8_t key[CUT_KEY_MAX], value[CUT_VALUE_MAX];
  size_t size = cut_key(change->key, key);
  cut_value(change->key, change->version, value);
  if (change->present)
    model_put(model, key, size, value, change->size);
  else
    model_delete(model, key, size);
}

struct model *cut_model_at(struct cut_run *run, size_t version) {
  if (version >= run->version_capacity) {
    size_t capacity = version * 2 + 64;
    run->versions = realloc(run->versions, capacity * sizeof *run->versions);
    memset(run->versions + run->version_capacity, 0, (capacity - run->version_capacity) * sizeof *run->versions);
    run->version_capacity = capacity;
  }
  struct model *model = run->versions[version];
  if (model) return model;
  model = run->versions[version] = model_create();
  size_t at = 0;
  while (model_version(model) < version) {
    for (; at < run->change_count && run->changes[at].version == model_version(model) + 1; at++)
      enter(model, &run->changes[at]);
    model_commit(model);
  }
  return model;
}

static void forget_after(struct cut_run *run, size_t version) {
  model_roll_back(run->model, version);
  while (run->change_count && run->changes[run->change_count - 1].version > version) run->change_count--;
  for (size_t v = version + 1; v < run->version_capacity; v++) {
    model_free(run->versions[v]);
    run->versions[v] = NULL;
  }
}

/* Enters a change of the version that is being collected. */
static void note(struct cut_run *run, uint32_t key, bool present, uint16_t size) {
  if (run->change_count == run->change_capacity) {
    run->change_capacity = run->change_capacity ? 2 * run->change_capacity : 256;
    run->changes = realloc(run->changes, run->change_capacity * sizeof *run->changes);
  }
  struct cut_change change = {.version = model_version(run->model) + 1, .key = key, .present = present, .size = size};
  run->changes[run->change_count++] = change;
  enter(run->model, &change);
}

/* ---- steps ------------------------------------------------------------------------------------------------------ */

/* Not wodan_stats: a flush may be asked for with locks held. */
static void note_levels(struct cut_run *run) {
  if (!run->db) return;
  uint32_t levels = run->db->node->level + 1;
  if (levels > run->result->rise) run->result->rise = run->result->fall = levels;
  if (levels < run->result->fall) run->result->fall = levels;
}

static int before(void *context, struct sim *sim, const struct sim_operation *operation) {
  struct cut_victim *victim = context;
  if (operation->kind == SIM_DISCARD) return discard_watch(&victim->run->watch, sim, operation);
  if (operation->kind != SIM_FLUSH || victim->run->busy) return 0;
  note_levels(victim->run);
  const struct cut_scenario *scenario = victim->run->scenario;
  if (victim->run->step < scenario->quiet) return 0;
  if (scenario->every && victim->run->flushes++ % scenario->every) return 0;
  victim->run->busy = true;
  if (cut_judge_window(victim)) cut_judge_kill(victim);
  victim->run->busy = false;
  return 0;
}

static bool step_failed(struct cut_run *run, const char *what, int status) {
  struct wodan_error error;
  wodan_last_error(run->db, &error);
  return cut_fail(run, "%s answers %d: %s", what, status, error.message);
}

static void acknowledged(struct cut_run *run) { run->acked = model_version(run->model); }

/* One commit of what was noted. WODAN_ENOSPC takes it back, and WODAN_EPINNED while a view is open. */
static bool commit_batch(struct cut_run *run, struct wodan_batch *batch, bool durable, bool *full) {
  struct wodan_commit commit = {.durability = durable ? WODAN_DURABLE : WODAN_BUFFERED};
  model_commit(run->model);
  int status = wodan_batch_commit(run->db, batch, &commit);
  bool pinned = status == WODAN_EPINNED && run->view;
  if ((status == WODAN_ENOSPC || pinned) && commit.sequence == 0) {
    forget_after(run, model_version(run->model) - 1);
    *full = true;
    return true;
  }
  if (status < 0) return step_failed(run, "a commit", status);
  if (durable) acknowledged(run);
  return true;
}

static uint32_t some_key(struct cut_run *run) {
  return run->next_key ? (uint32_t)random_below(&run->random, run->next_key) : 0;
}

static void add(struct cut_run *run, struct wodan_batch *batch, uint32_t number, bool present, uint16_t size) {
  uint8_t key[CUT_KEY_MAX], value[CUT_VALUE_MAX];
  struct wodan_slice slice = {key, cut_key(number, key)};
  cut_value(number, model_version(run->model) + 1, value);
  if (size > CUT_VALUE_MAX) size = CUT_VALUE_MAX;
  int status =
      present ? wodan_batch_put(batch, slice, (struct wodan_slice){value, size}) : wodan_batch_delete(batch, slice);
  if (status == WODAN_ETOOBIG) return; /* half a memtable: the batch goes as it is */
  if (status < 0) cut_fail(run, "a batch refuses key %u: %d", number, status);
  note(run, number, present, size);
}

/* One commit of step kinds that change keys. */
static bool change(struct cut_run *run, const struct cut_step *step, uint32_t index, bool *full) {
  struct wodan_batch *batch;
  if (wodan_batch_create(run->db, &batch) < 0) return cut_fail(run, "no memory");
  switch (step->kind) {
  case CUT_OVERWRITE:
    add(run, batch, some_key(run), true, step->size);
    break;
  case CUT_DELETE:
    add(run, batch, some_key(run), false, 0);
    break;
  case CUT_DELETE_ALL:
    add(run, batch, index, false, 0);
    break;
  case CUT_BATCH:
    for (uint32_t i = 0; i < step->count; i++) {
      if (i % 3 == 2) add(run, batch, some_key(run), false, 0);
      add(run, batch, run->next_key++, true, step->size);
    }
    break;
  default:
    add(run, batch, run->next_key++, true, step->size);
  }
  bool good = commit_batch(run, batch, step->kind == CUT_DURABLE, full);
  wodan_batch_free(batch);
  return good;
}

static bool changes(struct cut_run *run, const struct cut_step *step) {
  uint32_t count = step->kind == CUT_DELETE_ALL ? run->next_key : step->kind == CUT_BATCH ? 1 : step->count;
  bool full = false, good = true;
  for (uint32_t i = 0; i < count && good && cut_ok(run) && !full; i++) good = change(run, step, i, &full);
  if (full && step->kind == CUT_DELETE_ALL && !run->view) return cut_fail(run, "a delete finds no space");
  return good && cut_ok(run);
}

static bool open_again(struct cut_run *run, const char *when) {
  struct wodan_error error;
  char why[256] = "";
  if (cut_open(run, run->sim, 0, &run->plug, &run->db, &error) < 0)
    return cut_fail(run, "%s: open: %s", when, error.message);
  size_t version = model_match(run->model, run->db, run->acked, why, sizeof why);
  if (version == SIZE_MAX) return cut_fail(run, "%s: %s", when, why);
  forget_after(run, version);
  acknowledged(run); /* what a writable mount shows is durable */
  return cut_ok(run);
}

static void close_view(struct cut_run *run) {
  wodan_view_close(run->view);
  run->view = NULL;
}

static bool reopen(struct cut_run *run) {
  struct wodan_error error;
  if (run->view) close_view(run);
  int status = wodan_close(run->db, &error);
  run->db = NULL;
  if (status < 0) return cut_fail(run, "close: %s", error.message);
  acknowledged(run);
  return cut_ok(run) && open_again(run, "after close");
}

/* power: only a part of the window remains; else the device keeps it. */
static bool die(struct cut_run *run, bool power) {
  static uint8_t choice[1 << 16];
  if (run->view) close_view(run);
  cut_drop(run->plug, run->db);
  run->db = NULL;
  if (power) {
    struct sim_image image;
    if (sim_choice_size_max(run->sim) > sizeof choice || sim_image_init(&image, run->sim) < 0)
      return cut_fail(run, "no memory for the window");
    size_t size = sim_choice_sample(run->sim, &run->random, false, choice);
    sim_image_choose(&image, run->sim, choice, size);
    sim_load(run->sim, &image);
    sim_image_release(&image);
  }
  return open_again(run, power ? "after a power cut" : "after the process died");
}

static bool read_view(struct cut_run *run) {
  struct model *then = cut_model_at(run, run->view_version);
  bool good = true;
  for (uint32_t number = 0; number < run->next_key && good; number++) {
    uint8_t key[CUT_KEY_MAX], value[CUT_VALUE_MAX];
    size_t key_size = cut_key(number, key), size = 0, due = 0;
    const void *expected = model_get(then, key, key_size, &due);
    int status = wodan_get(run->db, run->view, (struct wodan_slice){key, key_size}, value, sizeof value, &size);
    good = expected ? status == 0 && size == due && memcmp(value, expected, due) == 0 : status == WODAN_ENOTFOUND;
    if (!good) cut_fail(run, "the view answers %d for key %u", status, number);
  }
  close_view(run);
  return good;
}

static bool compact(struct cut_run *run, const struct cut_step *step) {
  uint32_t more = 0;
  int status = wodan_compact(run->db, NULL, NULL, 1024u * step->count, &more);
  bool full = status == WODAN_ENOSPC || status == WODAN_EPINNED; /* no room for leaves */
  return status == 0 || full ? cut_ok(run) : step_failed(run, "compact", status);
}

static bool do_step(struct cut_run *run, const struct cut_step *step) {
  int status;
  switch (step->kind) {
  case CUT_SYNC:
  case CUT_CHECKPOINT:
    status = step->kind == CUT_SYNC ? wodan_sync(run->db) : wodan_checkpoint(run->db, NULL);
    if ((status == WODAN_ENOSPC || status == WODAN_EPINNED) && run->view) return true; /* the view may hold the space */
    if (status < 0) return step_failed(run, step->kind == CUT_SYNC ? "sync" : "checkpoint", status);
    acknowledged(run);
    return cut_ok(run);
  case CUT_REOPEN:
    return reopen(run);
  case CUT_KILL:
  case CUT_POWER:
    return die(run, step->kind == CUT_POWER);
  case CUT_VIEW:
    if (run->view) close_view(run);
    run->view_version = model_version(run->model);
    return wodan_view_open(run->db, &run->view) == 0 || cut_fail(run, "no view");
  case CUT_COMPACT:
    return compact(run, step);
  case CUT_UNVIEW:
    return !run->view || read_view(run);
  default:
    return changes(run, step);
  }
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static bool set_up(struct cut_run *run) {
  const struct cut_geometry *geometry = run->scenario->geometry;
  uint64_t random = run->options->seed + strlen(run->scenario->name);
  uint8_t outcome = (uint8_t)(SIM_DISCARD_ZERO + random_below(&random, SIM_DISCARD_CHOICES - SIM_DISCARD_ZERO));
  struct sim_options options = {.seed = run->options->seed, .discard = outcome, .keep_older = true};
  struct wodan_format_options format = {.block_size = geometry->block,
                                        .node_leaves = geometry->node_leaves,
                                        .node_children = geometry->node_children,
                                        .compression = geometry->packs ? WODAN_COMPRESSION_HIGH : 0,
                                        .hooks = {.context = &run->random, .random = next_random}};
  struct wodan_error error;
  bool made = sim_create(geometry->size, geometry->sector, &options, &run->sim) == 0;
  for (unsigned i = 0; i < CUT_DEPTHS && made; i++)
    made = sim_create(geometry->size, geometry->sector, &options, &run->judge[i]) == 0;
  if (!made) return cut_fail(run, "no device");
  struct wodan_device *plug = sim_plug(run->sim);
  int status = wodan_format(plug, &format, &error);
  wodan_device_close(plug);
  if (status < 0) return cut_fail(run, "format: %s", error.message);
  return true;
}

static void tear_down(struct cut_run *run) {
  if (run->view) close_view(run);
  if (run->db) cut_drop(run->plug, run->db);
  sim_close(run->sim);
  for (unsigned i = 0; i < CUT_DEPTHS; i++) {
    sim_close(run->judge[i]);
    sim_seen_release(&run->seen[i]);
  }
  for (size_t v = 0; v < run->version_capacity; v++) model_free(run->versions[v]);
  free(run->versions);
  free(run->changes);
  model_free(run->model);
  discard_watch_release(&run->watch);
}

bool cut_run(const struct cut_scenario *scenario, const struct cut_options *options, struct cut_result *result) {
  *result = (struct cut_result){0};
  struct cut_run run = {
      .scenario = scenario, .options = options, .result = result, .random = options->seed, .model = model_create()};
  mem_init(&run.mem, NULL);
  run.watch.mem = &run.mem;
  struct cut_victim victim = {.run = &run, .model = run.model, .acked = &run.acked};
  bool good = set_up(&run);
  if (good) {
    victim.sim = run.sim;
    sim_options(run.sim)->before = before;
    sim_options(run.sim)->context = &victim;
    good = open_again(&run, "first open");
  }
  for (run.step = 0; run.step < scenario->count && good; run.step++) good = do_step(&run, &scenario->steps[run.step]);
  if (good) good = cut_judge_window(&victim) && reopen(&run);
  if (good) note_levels(&run);
  result->discards = run.watch.discards;
  if (good && run.watch.wrong) good = cut_fail(&run, "%s", run.watch.why);
  if (good && sim_violations(run.sim)) good = cut_fail(&run, "the device was used against its contract");
  if (good && result->rise < scenario->rise)
    good = cut_fail(&run, "the tree had %u levels, %u were meant", result->rise, scenario->rise);
  if (good && scenario->fall && result->fall > scenario->fall)
    good = cut_fail(&run, "the tree kept %u levels, %u were meant", result->fall, scenario->fall);
  tear_down(&run);
  return good && result->failure[0] == 0;
}
