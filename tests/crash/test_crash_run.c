/* The crash run of <wodan/sim.h>: what it covers, that it finds what is wrong, and that its lines replay. The states of all
 * sequences of three operations on every geometry are judged here; `wodan crash` goes on from there. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "crash/crash_private.h"

struct told {
  unsigned count;
  char lines[100][WODAN_SIM_CRASH_LINE_MAX], sentences[100][320];
};

static void tell(void *context, const char *line, const char *sentence) {
  struct told *told = context;
  assert_in_range(told->count, 0, 99);
  snprintf(told->lines[told->count], WODAN_SIM_CRASH_LINE_MAX, "%s", line);
  snprintf(told->sentences[told->count++], 320, "%s", sentence);
}

static struct told told; /* large */

static struct wodan_sim_crash_report run(struct wodan_sim_crash_options options, int status) {
  struct wodan_sim_crash_report report;
  told.count = 0;
  options.context = &told;
  options.violation = tell;
  assert_int_equal(wodan_sim_crash_run(&options, &report), status);
  assert_int_equal(report.violations, told.count);
  return report;
}

static void expect_none(void) {
  if (told.count) fail_msg("%s\n  replay: wodan crash --replay '%s'", told.sentences[0], told.lines[0]);
}

/* ---- workloads --------------------------------------------------------------------------------------------------- */

static void test_crash_run__sequences_are_all_of_a_length(void **state) {
  (void)state;
  char letters[WORK_LENGTH_MAX + 1], before[WORK_LENGTH_MAX + 1] = "";
  assert_int_equal(work_sequences(3), 216);
  unsigned count = 0;
  for (uint64_t i = 0; work_sequence(3, i, letters); i++, count++) {
    assert_int_equal(strlen(letters), 3);
    assert_int_equal(strspn(letters, "podscr"), 3);
    assert_string_not_equal(letters, before);
    strcpy(before, letters);
  }
  assert_int_equal(count, 216);
  assert_true(work_sequence(2, 0, letters));
  assert_string_equal(letters, "pp");
  assert_true(work_sequence(2, 35, letters));
  assert_string_equal(letters, "rr");
  uint64_t seed = 4, again = 4;
  for (int i = 0; i < 200; i++) {
    work_random(&seed, letters);
    work_random(&again, before);
    assert_string_equal(letters, before);
    assert_true(work_legal(letters));
  }
  assert_false(work_legal(""));
  assert_false(work_legal("pq"));
  assert_false(work_legal("ppppppppppppppppppppppppp"));
}

static void test_crash_run__lines_that_are_none_are_refused(void **state) {
  (void)state;
  static const char *const bad[] = {"",
                                    "tiny",
                                    "tiny:1",
                                    "tiny:1:",
                                    "none:1:p",
                                    "tiny:x:p",
                                    "tiny:1:p:2",
                                    "tiny:1:p:x:00",
                                    "tiny:1:p:0:0",
                                    "tiny:1:p:0:zz",
                                    "tiny::p",
                                    "tiny:1:q",
                                    "tiny:1:p:0:00:1",
                                    "tiny:-1:p",
                                    "tiny:1:p:0:00:1:00:2",
                                    "tiny:1:p:0:00:1:00:2:00"};
  struct crash_replay replay;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (crash_replay_parse(bad[i], &replay)) fail_msg("'%s' is taken", bad[i]);
  assert_true(crash_replay_parse("wide!:12:psc:3:0102:4:ff", &replay));
  assert_true(replay.lying);
  assert_int_equal(replay.task.geometry, 2);
  assert_int_equal(replay.task.seed, 12);
  assert_string_equal(replay.task.letters, "psc");
  assert_int_equal(replay.depth, 2);
  assert_int_equal(replay.window[0], 3);
  assert_int_equal(replay.window[1], 4);
  assert_int_equal(replay.size[0], 2);
  assert_memory_equal(replay.choice[1], "\xff", 1);
  assert_true(crash_replay_parse("tiny:1:ps:2:kill", &replay));
  assert_true(replay.kill);
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static void test_crash_run__options_are_checked(void **state) {
  (void)state;
  run((struct wodan_sim_crash_options){.ops = WODAN_SIM_CRASH_OPS_MAX + 1}, WODAN_EINVAL);
  run((struct wodan_sim_crash_options){.depth = 3}, WODAN_EINVAL);
  run((struct wodan_sim_crash_options){.geometries = 1 << WODAN_SIM_CRASH_GEOMETRIES}, WODAN_EINVAL);
  run((struct wodan_sim_crash_options){.jobs = 1000}, WODAN_EINVAL);
  run((struct wodan_sim_crash_options){.replay = "nonsense"}, WODAN_EINVAL);
  run((struct wodan_sim_crash_options){.replay = "tiny:1:p:99:00"}, WODAN_EINVAL);
  assert_string_equal(wodan_sim_crash_geometry(0), "tiny");
  assert_non_null(wodan_sim_crash_geometry(WODAN_SIM_CRASH_GEOMETRIES - 1));
  assert_null(wodan_sim_crash_geometry(WODAN_SIM_CRASH_GEOMETRIES));
}

/* Under the thread sanitizer, which is here for the locks, of two. */
#ifdef __SANITIZE_THREAD__
enum { OPS = 2, SEQUENCES = 36, WORKLOADS = 6 + 36, LEAST = 1500 };
#else
enum { OPS = 3, SEQUENCES = 216, WORKLOADS = 6 + 36 + 216, LEAST = 12000 };
#endif

static void test_crash_run__all_sequences_of_three_on_every_geometry(void **state) {
  (void)state;
  struct wodan_sim_crash_report report = run((struct wodan_sim_crash_options){.ops = OPS}, 0);
  expect_none();
  assert_int_equal(report.workloads, 4 * WORKLOADS);
  assert_int_equal(report.random_workloads, 0);
  assert_int_equal(report.complete_count, 4 * OPS);
  assert_int_equal(report.complete[4 * OPS - 1].ops, OPS);
  assert_int_equal(report.complete[4 * OPS - 1].workloads, SEQUENCES);
  assert_int_equal(report.workloads_cut, 0);
  assert_int_equal(report.windows_sampled, 0);
  assert_true(report.distinct > LEAST && report.states > report.distinct);
  print_message("%llu windows, %llu states, %llu distinct, %llu process deaths, %llu closed, %llu discards\n",
                (unsigned long long)report.windows, (unsigned long long)report.states,
                (unsigned long long)report.distinct, (unsigned long long)report.kills,
                (unsigned long long)report.closed, (unsigned long long)report.discards);
}

/* Threads share the work but change no verdict and no count. */
static void test_crash_run__counts_do_not_depend_on_threads(void **state) {
  (void)state;
  struct wodan_sim_crash_options options = {.ops = 2, .geometries = 1, .jobs = 1};
  struct wodan_sim_crash_report one = run(options, 0);
  options.jobs = 3;
  struct wodan_sim_crash_report three = run(options, 0);
  expect_none();
  assert_int_equal(one.states, three.states);
  assert_int_equal(one.distinct, three.distinct);
  assert_int_equal(one.windows, three.windows);
  options.seed = 2;
  struct wodan_sim_crash_report other = run(options, 0);
  assert_int_equal(other.workloads, one.workloads);
}

static void test_crash_run__depth_two(void **state) {
  (void)state;
  struct wodan_sim_crash_report report =
      run((struct wodan_sim_crash_options){.ops = 2, .depth = 2, .geometries = 1}, 0);
  expect_none();
  assert_true(report.deep > 1000 && report.distinct > report.deep);
  print_message("%llu states at depth 2\n", (unsigned long long)report.deep);
}

/* A device that lies about flushes loses what was acknowledged: the run must say so, and each line must say it again. */
static void test_crash_run__the_canary_is_found_and_replays_bit_for_bit(void **state) {
  (void)state;
  struct wodan_sim_crash_report report = run((struct wodan_sim_crash_options){.ops = 2, .canary = 1, .jobs = 1}, 0);
  assert_int_equal(report.violations, 100);
  static char line[WODAN_SIM_CRASH_LINE_MAX], sentence[320];
  for (unsigned i = 0; i < 100; i += 33) {
    run((struct wodan_sim_crash_options){.ops = 2, .canary = 1, .jobs = 1}, 0);
    strcpy(line, told.lines[i]);
    strcpy(sentence, told.sentences[i]);
    assert_non_null(strchr(line, '!'));
    run((struct wodan_sim_crash_options){.replay = line}, 0);
    assert_int_equal(told.count, 1);
    assert_string_equal(told.lines[0], line);
    assert_string_equal(told.sentences[0], sentence);
    /* On an honest device the same state is right. */
    memmove(strchr(line, '!'), strchr(line, '!') + 1, strlen(strchr(line, '!')));
    run((struct wodan_sim_crash_options){.replay = line}, 0);
    expect_none();
  }
}

static void test_crash_run__a_line_without_a_state_runs_the_workload(void **state) {
  (void)state;
  struct wodan_sim_crash_report report = run((struct wodan_sim_crash_options){.replay = "torn:7:Dbsc"}, 0);
  expect_none();
  assert_int_equal(report.workloads, 1);
  assert_true(report.states > 1000);
  for (unsigned g = 0; g < 4; g++) { /* three checkpoints and more, so that space becomes free and is discarded */
    char line[64];
    snprintf(line, sizeof line, "%s:1:pcocococ", wodan_sim_crash_geometry(g));
    report = run((struct wodan_sim_crash_options){.replay = line}, 0);
    expect_none();
    assert_true(report.discards > 0 && report.states > 100);
  }
  report = run((struct wodan_sim_crash_options){.replay = "tiny:1:pss:1:0000000001:1:0000000001"}, 0);
  expect_none();
  assert_int_equal(report.deep, 1);
}

/* ---- the judge must be able to say no ------------------------------------------------------------------------------ */

static void test_crash_run__the_judge_refuses_every_kind_of_wrong(void **state) {
  (void)state;
  struct mem mem;
  struct sim *sim;
  struct sim_image image;
  struct judge judge;
  struct content versions[3];
  size_t version;
  mem_init(&mem, NULL);
  for (size_t i = 0; i < 3; i++) content_init(&versions[i], &mem);
  content_add(&versions[1], (struct wodan_slice){"k", 1}, (struct wodan_slice){"v", 1});
  content_add(&versions[2], (struct wodan_slice){"k", 1}, (struct wodan_slice){"w", 1});
  assert_int_equal(work_device(&work_geometries[0], false, &sim), 0);
  assert_int_equal(work_format(&work_geometries[0], &image), 0);
  assert_int_equal(judge_init(&judge, sim), 0);
  /* An empty volume is version 0 and nothing else. */
  struct judge_due any = {versions, 0, 2}, later = {versions, 1, 2};
  assert_true(judge_image(&judge, &image, 1, &any, &version));
  assert_int_equal(version, 0);
  assert_false(judge_image(&judge, &image, 1, &later, &version));
  assert_non_null(strstr(judge.why, "key 'k' is missing"));
  /* One block of the superblock's copy is rotten: it opens, and the check says so. */
  image.bytes[image.size - 100] ^= 1;
  assert_false(judge_image(&judge, &image, 1, &any, &version));
  assert_non_null(strstr(judge.why, "the check finds WF"));
  /* Nothing is there at all. */
  memset(image.bytes, 0, (size_t)image.size);
  assert_false(judge_image(&judge, &image, 1, &any, &version));
  assert_non_null(strstr(judge.why, "the crash state: open"));
  judge_release(&judge);
  sim_image_release(&image);
  sim_close(sim);
  for (size_t i = 0; i < 3; i++) content_release(&versions[i]);
  assert_int_equal(mem_used(&mem), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_crash_run__sequences_are_all_of_a_length),
      cmocka_unit_test(test_crash_run__lines_that_are_none_are_refused),
      cmocka_unit_test(test_crash_run__options_are_checked),
      cmocka_unit_test(test_crash_run__all_sequences_of_three_on_every_geometry),
      cmocka_unit_test(test_crash_run__counts_do_not_depend_on_threads),
      cmocka_unit_test(test_crash_run__depth_two),
      cmocka_unit_test(test_crash_run__the_canary_is_found_and_replays_bit_for_bit),
      cmocka_unit_test(test_crash_run__a_line_without_a_state_runs_the_workload),
      cmocka_unit_test(test_crash_run__the_judge_refuses_every_kind_of_wrong),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
