/* Owns: the judgement of one image, and the enumeration of a window's images. See power_cut.h for what is demanded.
 *
 * Always true: the victim's device is only looked at; images are loaded into devices of the run, one a depth.
 *
 * Order: an image is judged at most once for the same least version, so the window's states are merged by hash before
 * anything is opened. */
#include "support/power_cut_private.h"

#include <stdio.h>
#include <string.h>
#include <wodan/check.h>
#include "crash/sim_world.h"
#include "engine/engine.h"

static const struct wodan_slice AFTER = {"~after", 6}, AFTER_VALUE = {"written after the crash", 23};
static const struct wodan_commit DURABLE = {.durability = WODAN_DURABLE};

/* ---- one image -------------------------------------------------------------------------------------------------- */

static void note_finding(void *context, const struct wodan_finding *finding) {
  char *text = context;
  if (finding->severity != WODAN_NOTE && !text[0]) snprintf(text, 200, "WF%04u: %.180s", finding->id, finding->message);
}

static bool judge_check(struct cut_run *run, struct sim *sim, const char *when) {
  char finding[200] = "";
  struct wodan_check_options options = {.context = finding, .finding = note_finding};
  struct wodan_check_report report = {0};
  struct wodan_error error;
  struct wodan_device *plug = sim_plug(sim);
  uint64_t before = sim_mutations(sim);
  int status = wodan_check(plug, &options, &report, &error);
  wodan_device_close(plug);
  if (status < 0) return cut_fail(run, "%s: the check failed: %s", when, error.message);
  if (sim_mutations(sim) != before) return cut_fail(run, "%s: the check wrote", when);
  if (report.damages || report.warnings) return cut_fail(run, "%s: %s", when, finding);
  return true;
}

/* Opens and compares; *version is the commit found. */
static bool judge_content(struct cut_run *run, struct sim *sim, const struct model *model, size_t least,
                          const char *when, struct wodan_device **plug, struct wodan_db **db, size_t *version) {
  struct wodan_error error;
  char why[256] = "";
  if (cut_open(run, sim, 0, plug, db, &error) < 0) return cut_fail(run, "%s: open: %s", when, error.message);
  *version = model_match(model, *db, least, why, sizeof why);
  if (*version != SIZE_MAX) return true;
  cut_drop(*plug, *db);
  return cut_fail(run, "%s: the content is that of no commit from %zu to %zu: %s", when, least, model_version(model),
                  why);
}

static int put(struct wodan_db *db, struct wodan_slice key, struct wodan_slice value) {
  struct wodan_commit commit = DURABLE;
  return wodan_put(db, key, value, &commit);
}

/* The power is cut with nothing wanted in flight. */
static bool lose_window(struct cut_run *run, struct sim *sim) {
  struct sim_image image;
  bool done = sim_image_init(&image, sim) == 0 && sim_load(sim, &image) == 0;
  sim_image_release(&image);
  return done || cut_fail(run, "no memory");
}

/* What is written and acknowledged on a recovered image survives; taken back, the old content stays. Takes the handle. */
static bool judge_after(struct cut_run *run, struct sim *sim, const struct model *model, size_t version,
                        struct wodan_device *plug, struct wodan_db *db) {
  struct wodan_error error;
  struct wodan_commit commit = DURABLE;
  char value[64];
  size_t size = 0;
  int status = put(db, AFTER, AFTER_VALUE);
  bool full = status == WODAN_ENOSPC;
  if (full) status = wodan_delete(db, AFTER, &commit);
  wodan_last_error(db, &error);
  cut_drop(plug, db);
  if (status < 0) return cut_fail(run, "after the crash: a durable write answers %d: %s", status, error.message);
  if (!lose_window(run, sim)) return false;
  if (cut_open(run, sim, 0, &plug, &db, &error) < 0)
    return cut_fail(run, "second open after the crash: %s", error.message);
  status = wodan_get(db, NULL, AFTER, value, sizeof value, &size);
  bool right = full ? status == WODAN_ENOTFOUND
                    : status == 0 && size == AFTER_VALUE.size && memcmp(value, AFTER_VALUE.data, size) == 0;
  wodan_delete(db, AFTER, NULL);
  size_t found = model_match(model, db, version, value, sizeof value);
  if (!right || found != version) {
    cut_drop(plug, db);
    return cut_fail(run, "after the crash: the acknowledged put is %s, the old content is %s", right ? "there" : "lost",
                    found == version ? "right" : value);
  }
  if (wodan_close(db, &error) < 0) return cut_fail(run, "close after the crash: %s", error.message);
  if (!judge_content(run, sim, model, version, "after the close", &plug, &db, &found)) return false;
  cut_drop(plug, db);
  return judge_check(run, sim, "after the close");
}

/* The newest root is damaged by hand: the one before it opens, with a commit's content; but where both are the same node
 * (nothing was to be given up at that mount), then an older one, of which blocks may be gone. The image is spoiled. */
static bool judge_older(struct cut_run *run, struct sim *sim, size_t version) {
  struct wodan_device *plug;
  struct wodan_db *db;
  struct wodan_error error;
  if (cut_open(run, sim, WODAN_OPEN_READ_ONLY, &plug, &db, &error) < 0)
    return cut_fail(run, "open for reading: %s", error.message);
  uint64_t root = db->root.generation ? db->root.extents[0].first : 0;
  uint64_t previous = db->previous_generation;
  bool has_older = previous != db->checkpoint_generation && space_counts(db->space).deferred > 0;
  cut_drop(plug, db);
  if (!root) return true;
  uint8_t rot = (uint8_t)~sim_medium(sim)[root * run->scenario->geometry->block];
  sim_poke(sim, root * run->scenario->geometry->block, &rot, 1);
  int status = cut_open(run, sim, WODAN_OPEN_READ_ONLY, &plug, &db, &error);
  if (status != WODAN_ECORRUPT) {
    if (status == 0) cut_drop(plug, db);
    return cut_fail(run, "a damaged newest root is opened with %d", status);
  }
  status = cut_open(run, sim, WODAN_OPEN_READ_ONLY | WODAN_OPEN_OLDER_ROOT, &plug, &db, &error);
  if (status < 0) return !has_older || cut_fail(run, "the previous root does not open: %s", error.message);
  char why[256] = "";
  size_t found = model_match(cut_model_at(run, version), db, 0, why, sizeof why);
  bool told = db->dropped_generations > 0, kept = db->checkpoint_generation >= previous;
  cut_drop(plug, db);
  run->result->older++;
  if (!told) return cut_fail(run, "the older root was opened without saying what was dropped");
  if (found == SIZE_MAX && !kept && strstr(why, "reading failed")) return true;
  return found != SIZE_MAX ||
         cut_fail(run, "the older root shows the content of no commit up to %zu: %s", version, why);
}

/* ---- depth 2 ---------------------------------------------------------------------------------------------------- */

static int before_flush(void *context, struct sim *sim, const struct sim_operation *operation) {
  const struct cut_victim *victim = context;
  (void)sim;
  if (operation->kind == SIM_FLUSH) cut_judge_window(victim);
  return 0;
}

static void commit(struct model *model, struct wodan_slice key, struct wodan_slice value) {
  model_put(model, key.data, key.size, value.data, value.size);
  model_commit(model);
}

/* The image is opened again and used, and the power is cut again at every operation of that. */
static bool judge_deep(struct cut_run *run, const struct sim_image *image, size_t version) {
  struct sim *sim = run->judge[0];
  struct model *model = cut_model_at(run, version);
  size_t base = model_version(model), acked = base;
  struct cut_victim victim = {.run = run, .sim = sim, .model = model, .acked = &acked, .depth = 1};
  struct wodan_slice one = {"~one", 4}, two = {"~two", 4}, three = {"~three", 6};
  struct wodan_device *plug;
  struct wodan_db *db;
  struct wodan_error error;
  sim_load(sim, image);
  sim_options(sim)->before = before_flush;
  sim_options(sim)->context = &victim;
  int status = cut_open(run, sim, 0, &plug, &db, &error);
  if (status == 0) {
    commit(model, one, AFTER_VALUE);
    status = put(db, one, AFTER_VALUE);
    if (status == 0) {
      acked = model_version(model);
      commit(model, two, AFTER_VALUE);
      status = wodan_put(db, two, AFTER_VALUE, NULL);
      if (status == 0) status = wodan_checkpoint(db, NULL);
      if (status == 0) acked = model_version(model);
      if (status == 0) commit(model, three, AFTER_VALUE);
      if (status == 0) status = put(db, three, AFTER_VALUE);
    }
    wodan_last_error(db, &error);
    cut_drop(plug, db);
  }
  sim_options(sim)->before = NULL;
  model_roll_back(model, base);
  if (status == WODAN_ENOSPC) status = 0; /* a full volume may refuse; judge_after asks for more */
  return status == 0 || cut_fail(run, "depth 2: %s", error.message);
}

/* ---- windows ---------------------------------------------------------------------------------------------------- */

static bool judge_image(const struct cut_victim *victim, const struct sim_image *image) {
  struct cut_run *run = victim->run;
  unsigned depth = victim->depth;
  uint64_t key = sim_image_hash(image) ^ (*victim->acked + 1) * 0x9E3779B97F4A7C15ull;
  if (sim_seen_add(&run->seen[depth], key) == 0) return true;
  struct sim *sim = run->judge[depth];
  struct wodan_device *plug;
  struct wodan_db *db;
  size_t version;
  sim_load(sim, image);
  if (depth == 0)
    run->result->images++;
  else
    run->result->deep++;
  if (!judge_check(run, sim, "the crash image")) return false;
  if (!judge_content(run, sim, victim->model, *victim->acked, "the crash image", &plug, &db, &version)) return false;
  uint64_t mutations = sim_mutations(sim), flushes = sim_count(sim, SIM_FLUSH);
  if (mutations != flushes) return cut_fail(run, "mounting wrote");
  if (depth > 0 && run->result->deep % 4) {
    cut_drop(plug, db);
    return true;
  }
  if (!judge_after(run, sim, victim->model, version, plug, db)) return false;
  if (depth > 0) return true;
  sim_load(sim, image);
  if (run->result->images % 2 == 0 && !judge_older(run, sim, version)) return false;
  bool deep = run->scenario->deep && run->judged++ % run->options->deep_every == 0;
  return !deep || judge_deep(run, image, version);
}

static void tell_choice(struct cut_run *run, const uint8_t *choice, size_t size) {
  char text[400];
  size_t used = strlen(run->result->failure);
  if (size > 190) size = 190;
  if (sim_choice_print(choice, size, text, sizeof text))
    snprintf(run->result->failure + used, sizeof run->result->failure - used, " [state %s]", text);
}

static bool see_state(void *context, const struct sim_state *state) {
  const struct cut_victim *victim = context;
  bool good = judge_image(victim, state->image);
  if (!good) tell_choice(victim->run, state->choice, state->size);
  return good;
}

bool cut_judge_window(const struct cut_victim *victim) {
  struct cut_run *run = victim->run;
  uint32_t most = victim->depth ? run->options->window_states / 4 + 4 : run->options->window_states;
  struct wodan_sim_limits limits = {
      .block = 512, .units_max = 10, .sectors_max = 16, .samples = most, .states_max = most};
  struct cut_victim own = *victim;
  struct sim_window window = {
      .sim = victim->sim, .limits = &limits, .random = random_next(&run->random), .state = see_state, .context = &own};
  bool stopped;
  if (!cut_ok(run)) return false;
  if (victim->depth == 0) run->result->windows++;
  if (sim_window_run(&window, &stopped) < 0) return cut_fail(run, "no memory");
  run->result->states += window.counts.states;
  run->result->skipped += window.left_out;
  return !stopped;
}

/* ---- the process dies ------------------------------------------------------------------------------------------- */

bool cut_judge_kill(const struct cut_victim *victim) {
  struct cut_run *run = victim->run;
  struct sim *sim;
  struct wodan_device *plug;
  struct wodan_db *db;
  size_t version, again;
  if (!cut_ok(run)) return false;
  if (sim_clone(victim->sim, &sim) < 0) return cut_fail(run, "no memory");
  sim_options(sim)->before = NULL;
  run->result->kills++;
  bool good = judge_content(run, sim, victim->model, *victim->acked, "after the process died", &plug, &db, &version);
  if (good && wodan_sync(db) < 0) good = cut_fail(run, "after the process died: sync fails");
  if (good) {
    cut_drop(plug, db);
    struct cut_victim dead = {.run = run, .sim = sim, .model = victim->model, .acked = &version, .depth = 1};
    good = cut_judge_window(&dead);
  }
  if (good) good = judge_content(run, sim, victim->model, version, "after the process died", &plug, &db, &again);
  if (good) cut_drop(plug, db);
  sim_close(sim);
  return good;
}
