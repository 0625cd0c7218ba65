/* Owns: the judgement of one image.
 *
 * Always true: the same image and the same contents give the same verdict: random bytes of a judgement come from the image's
 * own hash. Only the public interface of the engine is used.
 *
 * Order: content before anything is written; the check last, on what the put and the second mount left. A handle is not
 * closed but dropped, as its process had died: that is cheaper, and what a state must survive.
 *
 * See: crash_run.c, tests/crash/test_crash_run.c. */
#include "crash/judge.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <wodan/check.h>
#include "crash/sim_plug.h"

/* Under a sanitizer handles are really closed and memory is the C library's: it sees every access then. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define REAL_MEMORY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define REAL_MEMORY 1
#endif
#endif
#ifndef REAL_MEMORY
#define REAL_MEMORY 0
#endif

enum { CLOSE_EVERY = 16 };

static const struct wodan_slice AFTER = {"~after", 6}, AFTER_VALUE = {"written after the crash", 23};

__attribute__((format(printf, 2, 3))) static bool wrong(struct judge *judge, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(judge->why, sizeof judge->why, format, arguments);
  va_end(arguments);
  return false;
}

/* The status of a call, for a lack of memory is no fault of what is judged. */
static int noted(struct judge *judge, int status) {
  if (status == WODAN_ENOMEM) judge->no_memory = true;
  return status;
}

int judge_init(struct judge *judge, const struct sim *sim) {
  *judge = (struct judge){.random = 1};
  mem_init(&judge->mem, NULL);
  scratch_init(&judge->scratch);
  content_init(&judge->found, &judge->mem);
  content_init(&judge->due, &judge->mem);
  int status = sim_image_init(&judge->lost, sim);
  if (status < 0) return status;
  status = sim_reboot(sim, &judge->lost, &judge->sim);
  if (status < 0) return status;
  sim_options(judge->sim)->before = NULL;
  sim_options(judge->sim)->flush = SIM_FLUSH_HONEST;
  return 0;
}

void judge_release(struct judge *judge) {
  sim_close(judge->sim);
  sim_image_release(&judge->lost);
  content_release(&judge->found);
  content_release(&judge->due);
  scratch_release(&judge->scratch);
}

static int next_random(void *context, void *buffer, size_t size) {
  uint64_t *state = context;
  for (size_t i = 0; i < size; i++) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    ((uint8_t *)buffer)[i] = (uint8_t)(*state >> 56);
  }
  return 0;
}

int judge_open(struct judge *judge, const char *when) {
  struct wodan_open_options options = {.flags = WODAN_OPEN_INLINE,
                                       .memory_budget = (1 << 20) + 2 * sim_size(judge->sim),
                                       .discard = WODAN_DISCARD_EAGER,
                                       .hooks = {.context = &judge->random, .random = next_random}};
  struct wodan_error error;
  if (!REAL_MEMORY) {
    scratch_reset(&judge->scratch);
    options.allocator = scratch_allocator(&judge->scratch);
  }
  judge->plug = sim_plug(judge->sim);
  if (!judge->plug) return noted(judge, WODAN_ENOMEM);
  int status = noted(judge, wodan_open(judge->plug, &options, &judge->db, &error));
  if (status == 0) return 0;
  wodan_device_close(judge->plug);
  judge->db = NULL;
  wrong(judge, "%s: open: %s", when, error.message);
  return status;
}

void judge_drop(struct judge *judge) {
  if (!judge->db) return;
  sim_unplug(judge->plug);
  if (REAL_MEMORY)
    wodan_close(judge->db, NULL);
  else
    wodan_device_close(judge->plug);
  judge->db = NULL;
}

static bool close_well(struct judge *judge) {
  struct wodan_error error;
  int status = noted(judge, wodan_close(judge->db, &error));
  judge->db = NULL;
  return status == 0 || wrong(judge, "close: %s", error.message);
}

/* The power fails: what is in flight is lost. */
static bool lose_window(struct judge *judge) {
  if (sim_window_elements(judge->sim) == 0) return true;
  static const uint8_t nothing[4];
  sim_image_choose(&judge->lost, judge->sim, nothing, sizeof nothing);
  return sim_load(judge->sim, &judge->lost) == 0 || wrong(judge, "the device has another size");
}

static bool read_content(struct judge *judge, const char *when) {
  int status = noted(judge, content_read(&judge->found, judge->db, false));
  if (status == 0) return true;
  struct wodan_error error;
  wodan_last_error(judge->db, &error);
  return wrong(judge, "%s: reading answers %d: %s", when, status, error.message);
}

static bool find_version(struct judge *judge, const struct judge_due *due, size_t *version) {
  for (size_t v = due->newest + 1; v-- > due->least;) {
    if (!content_equal(&judge->found, &due->versions[v])) continue;
    *version = v;
    return true;
  }
  char what[160] = "";
  content_differ(&judge->found, &due->versions[due->least], what, sizeof what);
  return wrong(judge, "the content is that of no commit from %zu, acknowledged, to %zu; against the first: %s",
               due->least, due->newest, what);
}

static bool equal_due(struct judge *judge, const char *when) {
  if (!read_content(judge, when)) return false;
  if (content_equal(&judge->found, &judge->due)) return true;
  judge->no_memory |= judge->due.failed;
  char what[160] = "";
  content_differ(&judge->found, &judge->due, what, sizeof what);
  return wrong(judge, "%s: %s", when, what);
}

/* A durable put, then a power cut. judge->due becomes what must be there. A full volume takes a delete instead. */
static bool write_on(struct judge *judge, const struct content *base) {
  struct wodan_commit commit = {.durability = WODAN_DURABLE};
  content_copy(&judge->due, base);
  int status = wodan_put(judge->db, AFTER, AFTER_VALUE, &commit);
  if (status == WODAN_ENOSPC)
    status = wodan_delete(judge->db, AFTER, &commit);
  else
    content_add(&judge->due, AFTER, AFTER_VALUE);
  struct wodan_error error = {.code = 0};
  noted(judge, status);
  if (status < 0) wodan_last_error(judge->db, &error);
  judge_drop(judge);
  if (status < 0) return wrong(judge, "a durable write after the crash answers %d: %s", status, error.message);
  return lose_window(judge);
}

static void note_finding(void *context, const struct wodan_finding *finding) {
  char *text = context;
  if (finding->severity != WODAN_NOTE && !text[0]) snprintf(text, 200, "WF%04u: %.180s", finding->id, finding->message);
}

static bool check(struct judge *judge) {
  char finding[200] = "";
  struct wodan_check_options options = {.context = finding, .finding = note_finding};
  struct wodan_check_report report = {0};
  struct wodan_error error;
  if (!REAL_MEMORY) {
    scratch_reset(&judge->scratch);
    options.allocator = scratch_allocator(&judge->scratch);
  }
  uint64_t before = sim_mutations(judge->sim);
  int status = noted(judge, wodan_check(sim_device(judge->sim), &options, &report, &error));
  if (status < 0) return wrong(judge, "the check failed: %s", error.message);
  if (sim_mutations(judge->sim) != before) return wrong(judge, "the check wrote");
  return (report.damages == 0 && report.warnings == 0) || wrong(judge, "the check finds %s", finding);
}

static bool close_and_open(struct judge *judge) {
  judge->closed++;
  if (!close_well(judge)) return false;
  return judge_open(judge, "after a clean close") == 0 && equal_due(judge, "after a clean close");
}

static bool judge_all(struct judge *judge, const struct judge_due *due, size_t *version) {
  if (judge_open(judge, "the crash state") < 0) return false;
  if (!read_content(judge, "the crash state") || !find_version(judge, due, version)) return false;
  if (sim_mutations(judge->sim) != sim_count(judge->sim, SIM_FLUSH)) return wrong(judge, "mounting wrote");
  if (!write_on(judge, &due->versions[*version])) return false;
  if (judge_open(judge, "the second mount") < 0 || !equal_due(judge, "after the second mount")) return false;
  if (judge->random % CLOSE_EVERY == 0 && !close_and_open(judge)) return false;
  judge_drop(judge);
  if (!lose_window(judge) || !check(judge)) return false;
  return sim_violations(judge->sim) == 0 || wrong(judge, "the device was used against its contract");
}

bool judge_image(struct judge *judge, const struct sim_image *image, uint64_t hash, const struct judge_due *due,
                 size_t *version) {
  judge->random = hash;
  if (sim_load(judge->sim, image) < 0) return wrong(judge, "the image has another size");
  bool good = judge_all(judge, due, version);
  judge_drop(judge);
  judge->no_memory |= sim_is_starved(judge->sim);
  return good;
}

static bool judge_remount(struct judge *judge, const struct judge_due *due) {
  size_t version = due->least;
  if (judge_open(judge, "after the process died") < 0 || !read_content(judge, "after the process died")) return false;
  if (!find_version(judge, due, &version)) return false;
  judge_drop(judge);
  if (!lose_window(judge)) return false;
  content_copy(&judge->due, &due->versions[version]);
  static const char when[] = "after a power cut behind the mount behind the process's death";
  return judge_open(judge, when) == 0 && equal_due(judge, when);
}

bool judge_kill(struct judge *judge, const struct sim *victim, const struct judge_due *due) {
  struct sim *own = judge->sim;
  if (noted(judge, sim_clone(victim, &judge->sim)) < 0) {
    judge->sim = own;
    return wrong(judge, "the device cannot be copied");
  }
  sim_options(judge->sim)->before = NULL;
  sim_options(judge->sim)->flush = SIM_FLUSH_HONEST;
  judge->random = content_hash(&due->versions[due->newest], due->newest);
  bool good = judge_remount(judge, due);
  judge_drop(judge);
  judge->no_memory |= sim_is_starved(judge->sim);
  sim_close(judge->sim);
  judge->sim = own;
  return good;
}
