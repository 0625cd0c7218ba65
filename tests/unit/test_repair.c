/* Each class of damage on volumes of one node and of levels, closed and killed: what is found, what salvage and each kind of
 * repair in place make of it, judged by the history of the volume (repair_rig.h). */
#include "repair_damage.h"

static void each_class(void (*judge)(const struct rig *rig, size_t class)) {
  size_t done = 0;
  for (size_t volume = 0; volume < VOLUME_COUNT; volume++)
    for (size_t class = 0; class < CLASS_COUNT; class ++) {
      struct rig rig;
      if (!damaged_volume(&rig, volume, class)) continue;
      print_message("volume %zu, %s\n", volume, CLASSES[class].name);
      judge(&rig, class);
      store_free(&rig.store);
      done++;
    }
  assert_true(done > CLASS_COUNT * VOLUME_COUNT * 2 / 3);
}

static void salvage_it(const struct rig *rig, size_t class) {
  struct told told;
  struct store damaged = store_copy(&rig->store);
  struct wodan_salvage_report report = judge_salvage(rig, &damaged, &told);
  bool lossy = CLASSES[class].repair == WODAN_REPAIR_LOSSY;
  if (!lossy) assert_true(report.losses == 0 && report.orphans == 0 && report.runs_found == 0);
  assert_true(report.check.damages + report.check.warnings > 0);
  store_free(&damaged);
}

static void test_repair__salvage_of_each_class(void **state) {
  (void)state;
  each_class(salvage_it);
}

static void repair_it(const struct rig *rig, size_t class) {
  struct told told;
  struct wodan_repair_report report = judge_repair(rig, &rig->store, WODAN_REPAIR_LOSSY, &told);
  assert_true(report.steps > 0 && report.after.damages + report.after.warnings == 0);
  report = judge_repair(rig, &rig->store, WODAN_REPAIR_SAFE, &told);
  bool whole = report.after.damages + report.after.warnings == 0;
  assert_true(whole == (CLASSES[class].repair == WODAN_REPAIR_SAFE));
}

static void test_repair__in_place_of_each_class(void **state) {
  (void)state;
  each_class(repair_it);
}

static void test_repair__a_whole_volume_is_left_alone(void **state) {
  (void)state;
  for (size_t volume = 0; volume < VOLUME_COUNT; volume++) {
    struct rig rig;
    struct told told = {0};
    struct wodan_repair_report report;
    struct wodan_error error;
    rig_build(&rig, &VOLUMES[volume]);
    told.rig = &rig;
    struct store before = store_copy(&rig.store);
    assert_int_equal(rig_repair(&rig.store, WODAN_REPAIR_LOSSY, false, &told, &report, &error), 0);
    assert_true(report.steps == 0 && report.complete == 1);
    assert_memory_equal(before.bytes, rig.store.bytes, rig.store.size);
    struct wodan_salvage_report salvaged = judge_salvage(&rig, &rig.store, &told);
    assert_true(salvaged.losses == 0 && salvaged.orphans == 0);
    store_free(&before);
    store_free(&rig.store);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_repair__salvage_of_each_class),
                                     cmocka_unit_test(test_repair__in_place_of_each_class),
                                     cmocka_unit_test(test_repair__a_whole_volume_is_left_alone)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
