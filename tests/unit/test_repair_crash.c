/* The power fails during a repair in place, anywhere, in every way the device allows (families of states, and samples of
 * those that are too many): whatever is left can be repaired, has lost nothing that could be read before the first repair,
 * and nothing is wrong without a word of either repair. And a device that fails: the n-th write, barrier, flush or read of a
 * repair; the volume then is repaired by the next one. */
#include "repair_damage.h"
#include "crash/sim_plug.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { UNITS = 4, SAMPLES = 3, STATES_MAX = 16, FAULT_STRIDE = 5 };
#else
enum { UNITS = 9, SAMPLES = 40, STATES_MAX = 1024, FAULT_STRIDE = 1 };
#endif

struct watch {
  const struct rig *rig;
  struct content before;
  struct told first; /* what a repair without a power cut tells */
  struct sim_seen seen;
  uint64_t random, states;
};

static struct sim *sim_of(const struct store *store, const struct sim_options *options) {
  struct sim *sim = NULL;
  assert_int_equal(sim_create(store->size, store->sector, options, &sim), 0);
  sim_poke(sim, 0, store->bytes, store->size);
  return sim;
}

static int repair_sim(struct sim *sim, struct told *told, struct wodan_repair_report *report,
                      struct wodan_error *error) {
  uint64_t random = 4;
  const struct wodan_repair_options options = {.allowed = WODAN_REPAIR_LOSSY,
                                               .hooks = rig_hooks(&random),
                                               .context = told,
                                               .finding = told_finding,
                                               .step = told_step};
  struct wodan_device *device = sim_plug(sim);
  int status = wodan_repair(device, &options, report, error);
  wodan_device_close(device);
  return status;
}

/* The bytes of a volume whose repair was interrupted. */
static void judge_bytes(struct watch *watch, const uint8_t *bytes) {
  struct store store = watch->rig->store;
  struct told told = watch->first; /* what the first told counts, for it may be done already */
  struct wodan_repair_report report;
  struct wodan_error error;
  struct content content;
  store.bytes = malloc(store.size);
  assert_non_null(store.bytes);
  memcpy(store.bytes, bytes, store.size);
  content_read(watch->rig, &store, &content);
  for (unsigned i = 0; i < watch->rig->recipe.keys && watch->before.opens; i++)
    if (watch->before.version[i] != UNREADABLE && content.version[i] != watch->before.version[i] &&
        !(watch->before.version[i] == 0 && content.version[i] != UNREADABLE))
      fail_msg("key %u could be read as %u before the power cut, and is %u", i, watch->before.version[i],
               content.version[i]);
  if (rig_repair(&store, WODAN_REPAIR_LOSSY, false, &told, &report, &error) < 0)
    fail_msg("a repair after a power cut fails: %s\n%s", error.message, told.text);
  if (report.after.damages + report.after.warnings) fail_msg("a repair after a power cut leaves damage\n%s", told.text);
  for (uint32_t i = 0; i < watch->first.losses && told.losses < LOSSES_MAX; i++)
    told.ranges[told.losses++] = watch->first.ranges[i];
  told.everything |= watch->first.everything;
  content_read(watch->rig, &store, &content);
  judge_content(watch->rig, &watch->before, &content, &told);
  content_usable(&store);
  judge_clean(&store, &told);
  store_free(&store);
  watch->states++;
}

static void judge_image(struct watch *watch, const struct sim_image *image) {
  for (uint64_t i = 0; i < image->size / image->sector; i++)
    if (image->marks[i] != SIM_MARK_NONE) return; /* a file has no sectors that cannot be read */
  if (sim_seen_add(&watch->seen, sim_image_hash(image)) == 1) judge_bytes(watch, image->bytes);
}

static int before_mutation(void *context, struct sim *sim, const struct sim_operation *operation) {
  struct watch *watch = context;
  const struct sim_crash_options options = {
      .block = 512, .units_max = UNITS, .sectors_max = UNITS, .contents_max = 1, .states_max = STATES_MAX};
  struct sim_crash_iter *iter;
  const struct sim_image *image;
  uint8_t choice[4096];
  struct sim_image sampled;
  if (operation->kind != SIM_FLUSH) return 0; /* the window is largest then, and holds all smaller ones */
  assert_int_equal(sim_crash_begin(sim, &options, &iter), 0);
  while (sim_crash_next(iter, &image)) judge_image(watch, image);
  sim_crash_end(iter);
  assert_true(sim_choice_size_max(sim) <= sizeof choice);
  assert_int_equal(sim_image_init(&sampled, sim), 0);
  for (int i = 0; i < SAMPLES; i++) {
    sim_image_choose(&sampled, sim, choice, sim_choice_sample(sim, &watch->random, false, choice));
    judge_image(watch, &sampled);
  }
  sim_image_release(&sampled);
  return 0;
}

static void watch_begin(struct watch *watch, const struct rig *rig) {
  struct store copy = store_copy(&rig->store);
  struct wodan_repair_report report;
  struct wodan_error error;
  memset(watch, 0, sizeof *watch);
  watch->rig = rig;
  watch->random = 77;
  watch->first.rig = rig;
  content_read(rig, &copy, &watch->before);
  rig_expect(rig_repair(&copy, WODAN_REPAIR_LOSSY, false, &watch->first, &report, &error), "repair");
  store_free(&copy);
}

static void cut(const struct rig *rig) {
  struct watch watch;
  struct told told = {.rig = rig};
  struct wodan_repair_report report;
  struct wodan_error error;
  watch_begin(&watch, rig);
  const struct sim_options options = {.before = before_mutation, .context = &watch, .seed = 5};
  struct sim *sim = sim_of(&rig->store, &options);
  if (repair_sim(sim, &told, &report, &error) < 0) fail_msg("repair: %s", error.message);
  assert_int_equal(sim_violations(sim), 0);
  assert_memory_equal(sim_medium(sim), sim_content(sim), rig->store.size); /* what was done is durable on return */
  judge_bytes(&watch, sim_medium(sim));
  assert_true(watch.states > 2);
  print_message("  %llu states\n", (unsigned long long)watch.states);
  sim_close(sim);
  sim_seen_release(&watch.seen);
}

static void each(void (*judge)(const struct rig *rig)) {
  for (size_t volume = 0; volume < VOLUME_COUNT; volume += 2)
    for (size_t class = 0; class < CLASS_COUNT; class ++) {
      struct rig rig;
      if (!damaged_volume(&rig, volume, class)) continue;
      print_message("volume %zu, %s\n", volume, CLASSES[class].name);
      judge(&rig);
      store_free(&rig.store);
    }
}

static void test_repair_crash__every_state_is_repairable(void **state) {
  (void)state;
  each(cut);
}

/* ---- faults ---------------------------------------------------------------------------------------------------------- */

static bool fail_nth(struct watch *watch, uint8_t kind, uint64_t nth, bool for_ever) {
  const struct sim_options options = {.seed = 5};
  struct sim *sim = sim_of(&watch->rig->store, &options);
  const struct sim_fault fault = {.kind = kind, .skip = nth, .times = for_ever ? 0 : 1};
  struct told told = {.rig = watch->rig};
  struct wodan_repair_report report;
  struct wodan_error error;
  uint8_t choice[4096];
  struct sim_image image;
  assert_int_equal(sim_fault_add(sim, &fault), 0);
  int status = repair_sim(sim, &told, &report, &error);
  bool struck = sim_faults_struck(sim) > 0;
  if (struck && kind != SIM_READ_EIO && status != WODAN_EIO)
    fail_msg("kind %u, the %llu-th fails, and the repair answers %d", kind, (unsigned long long)nth, status);
  sim_faults_clear(sim);
  assert_true(sim_choice_size_max(sim) <= sizeof choice);
  assert_int_equal(sim_image_init(&image, sim), 0);
  sim_image_choose(&image, sim, choice, sim_choice_sample(sim, &watch->random, false, choice));
  judge_image(watch, &image);
  sim_image_release(&image);
  if (kind != SIM_READ_EIO) judge_bytes(watch, sim_content(sim)); /* no power cut: all that was taken is there */
  sim_close(sim);
  return struck;
}

static void fail_each(const struct rig *rig) {
  static const uint8_t KINDS[] = {SIM_WRITE_EIO, SIM_BARRIER_EIO, SIM_FLUSH_EIO};
  struct watch watch;
  watch_begin(&watch, rig);
  for (size_t kind = 0; kind < sizeof KINDS; kind++)
    for (uint64_t nth = 0; fail_nth(&watch, KINDS[kind], nth, nth % 2); nth += FAULT_STRIDE) {
    }
  print_message("  %llu states\n", (unsigned long long)watch.states);
  sim_seen_release(&watch.seen);
}

static void test_repair_crash__a_device_that_fails(void **state) {
  (void)state;
  each(fail_each);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_repair_crash__every_state_is_repairable),
                                     cmocka_unit_test(test_repair_crash__a_device_that_fails)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
