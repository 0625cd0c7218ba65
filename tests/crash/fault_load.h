/* One workload on a device with faults, and what is demanded of it afterwards. Shared by the tests of faults. Include after
 * cmocka.h. */
#ifndef CRASH_FAULT_LOAD_H
#define CRASH_FAULT_LOAD_H

#include "crash/crash_rig.h"
#include "crash/model.h"

enum { SIZE = 32 << 10, SECTOR = 512, BLOCK = 512, OPERATIONS = 69, KEYS = 17 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STRIDE = 8 };
#else
enum { STRIDE = 1 };
#endif

/* ---- the workload ----------------------------------------------------------------------------------------------- */

struct load {
  struct rig rig;
  struct model *model; /* its newest version is the last commit tried */
  size_t acked;
};

static inline const char *last_error(struct load *load, int status) {
  static char text[300];
  struct wodan_error error;
  wodan_last_error(load->rig.db, &error);
  snprintf(text, sizeof text, "answers %d: %s", status, error.message);
  return text;
}

static inline void fail_load(const char *what, const char *why, uint64_t nth) {
  fail_msg("%s (n = %llu): %s", what, (unsigned long long)nth, why);
}

static inline int put_or_delete(struct load *load, unsigned i) {
  char key[16];
  uint8_t value[90];
  struct wodan_commit commit = {.durability = i % 5 == 4 ? WODAN_DURABLE : WODAN_BUFFERED};
  snprintf(key, sizeof key, "key %u", i * 7 % KEYS);
  for (size_t b = 0; b < sizeof value; b++) value[b] = (uint8_t)('a' + (i + b) % 26);
  if (i % 9 == 8)
    model_delete(load->model, key, strlen(key));
  else
    model_put(load->model, key, strlen(key), value, sizeof value);
  model_commit(load->model);
  int status = i % 9 == 8 ? wodan_delete(load->rig.db, text(key), &commit)
                          : wodan_put(load->rig.db, text(key), (struct wodan_slice){value, sizeof value}, &commit);
  if (status == 0 && commit.durability == WODAN_DURABLE) load->acked = model_version(load->model);
  return status;
}

/* Operations [from, to), until the first failure. */
static inline int play_from(struct load *load, unsigned from, unsigned to) {
  for (unsigned i = from; i < to; i++) {
    bool settles = i % 11 == 10 || i % 7 == 6;
    int status = i % 11 == 10 ? wodan_checkpoint(load->rig.db, NULL)
                 : i % 7 == 6 ? wodan_sync(load->rig.db)
                              : put_or_delete(load, i);
    if (status < 0) return status;
    if (settles) load->acked = model_version(load->model);
  }
  return 0;
}

static inline int play(struct load *load) { return play_from(load, 0, OPERATIONS); }

static inline void load_make(struct load *load) {
  *load = (struct load){.model = model_create()};
  rig_make(&load->rig, SIZE, SECTOR, BLOCK);
  rig_open(&load->rig);
}

static inline void load_release(struct load *load) {
  model_free(load->model);
  rig_release(&load->rig);
}

/* The power fails (a random part of the window lands), the device is mended: a commit from `least` on is there, and the
 * volume takes writes. */
static inline size_t recover(struct load *load, size_t least, const char *what, uint64_t nth) {
  struct wodan_error error;
  char why[256];
  uint8_t choice[4096];
  struct sim_image image;
  struct sim *sim = load->rig.sim;
  sim_faults_clear(sim);
  assert_true(sim_choice_size_max(sim) <= sizeof choice);
  assert_int_equal(sim_image_init(&image, sim), 0);
  size_t size = sim_choice_sample(sim, &load->rig.random, false, choice);
  sim_image_choose(&image, sim, choice, size);
  assert_int_equal(sim_load(sim, &image), 0);
  sim_image_release(&image);
  if (rig_try_open(&load->rig, 0, &error) < 0) fail_load(what, error.message, nth);
  size_t version = model_match(load->model, load->rig.db, least, why, sizeof why);
  if (version == SIZE_MAX) fail_load(what, why, nth);
  put_ok(&load->rig, "after", "the fault", true);
  rig_close(&load->rig);
  return version;
}

/* ---- verdicts --------------------------------------------------------------------------------------------------- */

/* What cannot be swept for damage fills a small volume: a write may be refused for that as well. */
static inline bool by_damage(int status) { return status == WODAN_ECORRUPT || status == WODAN_ENOSPC; }

struct verdicts {
  unsigned right, refused, told, rolled_back;
};

/* Opens the image as it is: it is right, or says that it is damaged; `rollback`: or is an older commit, which is counted. */
static inline void judge(struct load *load, bool rollback, struct verdicts *verdicts, const char *what, uint64_t nth) {
  struct wodan_error error = {0};
  char why[256];
  int status = rig_try_open(&load->rig, 0, &error);
  if (status < 0) {
    if (status != WODAN_ECORRUPT && status != WODAN_EFORMAT && status != WODAN_EVERSION)
      fail_load(what, error.message, nth);
    verdicts->refused++;
    return;
  }
  size_t version = model_match(load->model, load->rig.db, 0, why, sizeof why);
  bool told = version == SIZE_MAX && strstr(why, "reading failed");
  if (version == SIZE_MAX && !told) fail_load(what, why, nth);
  if (version == model_version(load->model) && !model_equals(load->model, load->rig.db, why, sizeof why)) {
    told = strstr(why, "answered -5") || strstr(why, "failed with -5"); /* backwards or by key */
    if (!told) fail_load(what, why, nth);
  }
  bool old = version != SIZE_MAX && version < load->acked;
  if (old && !rollback) fail_load(what, "acknowledged data is gone without a word", nth);
  verdicts->told += told;
  verdicts->rolled_back += old;
  verdicts->right += !told && !old;
  status = rig_put(&load->rig, "written", "after the fault", true); /* may meet the damage, must not make it worse */
  rig_drop(&load->rig);
  if (status < 0) return;
  if (rig_try_open(&load->rig, 0, &error) < 0) fail_load(what, error.message, nth);
  if (!has(&load->rig, "written", "after the fault")) fail_load(what, "what was written afterwards is gone", nth);
  rig_drop(&load->rig);
}

static inline void tell(const char *what, const struct verdicts *v) {
  print_message("  %s: %u right, %u refused at open, %u told when read, %u newest record rolled back\n", what, v->right,
                v->refused, v->told, v->rolled_back);
}

static inline void take_image(struct load *load, struct sim_image *image) {
  assert_int_equal(play(load), 0);
  rig_close(&load->rig);
  load->acked = model_version(load->model);
  assert_int_equal(sim_image_init(image, load->rig.sim), 0);
}

#endif
