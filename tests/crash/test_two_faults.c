/* Two faults at once: every pair of kinds, at seeded moments of one workload. What was never put is never read, and after the
 * faults the volume holds a commit or names its damage. Where both faults are of the kind that fails and says so, the commit
 * is not older than the last acknowledged one. And a clock that lies changes not a byte.
 *
 * Replay: WODAN_PAIR=FIRST:SECOND:POINT runs one case. WODAN_PAIR_POINTS=N: so many moments a pair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "crash/fault_load.h"

enum { MUTATIONS = 70, READS = 30, ALLOCATIONS = 400, NEVER = -1 };

/* One run: the workload and what waits to happen to it. */
struct run {
  struct load load;
  uint64_t random, mutation;
  int64_t rot_at[2], kill_at;                /* mutation; NEVER */
  uint64_t calls, fail_at[2], fail_for_ever; /* of allocations; 0: none */
  unsigned clock;                            /* which one */
  uint64_t ticks;
  unsigned struck; /* by what the simulator does not count */
  char name[160];
};

/* ---- what can happen -------------------------------------------------------------------------------------------------- */

/* The hooks have no other way to the run: only one is at work at a time. */
static struct run *current;

static int before(void *context, struct sim *sim, const struct sim_operation *operation) {
  struct run *run = context;
  uint64_t now = run->mutation++;
  (void)operation;
  for (int i = 0; i < 2; i++) {
    if ((int64_t)now != run->rot_at[i]) continue;
    uint64_t at = random_below(&run->random, SIZE);
    uint8_t byte = (uint8_t)(sim_medium(sim)[at] ^ 1u << random_below(&run->random, 8));
    sim_poke(sim, at, &byte, 1);
    run->struck++;
  }
  if ((int64_t)now == run->kill_at && run->load.rig.db) {
    sim_unplug(run->load.rig.plug);
    run->struck++;
  }
  return 0;
}

static void *allocate(void *context, size_t size, size_t alignment) {
  struct run *run = context;
  uint64_t call = ++run->calls;
  bool fails = call == run->fail_at[0] || call == run->fail_at[1];
  if (fails || (run->fail_for_ever && call >= run->fail_for_ever)) {
    run->struck++;
    return NULL;
  }
  if (alignment < 16) alignment = 16;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void release(void *context, void *memory, size_t size) {
  (void)context;
  (void)size;
  free(memory);
}

/* Right, standing still, back, far ahead, the end of time, anything. */
enum { CLOCKS = 6 };
static uint64_t now_of(void *context) {
  (void)context;
  struct run *run = current;
  uint64_t ticks = run->ticks++;
  switch (run->clock) {
  case 0:
    return ticks * 1000;
  case 1:
    return 0;
  case 2:
    return (uint64_t)1 << 63;
  case 3:
    return UINT64_MAX - ticks * 1000000000;
  case 4:
    return ticks % 2 ? UINT64_MAX : 0;
  default:
    return ticks * 0x9E3779B97F4A7C15u;
  }
}

static void add(struct run *run, const struct sim_fault *fault) {
  assert_int_equal(sim_fault_add(run->load.rig.sim, fault), 0);
}

/* One a kind; the moment is drawn from the run's random numbers. */
static uint64_t some(struct run *run, uint64_t limit) { return random_below(&run->random, limit); }
static void simple(struct run *run, uint8_t kind, uint64_t moments, uint64_t times, uint64_t argument) {
  const struct sim_fault fault = {.kind = kind, .skip = some(run, moments), .times = times, .argument = argument};
  add(run, &fault);
}
static void write_fails(struct run *r) { simple(r, SIM_WRITE_EIO, MUTATIONS, 1, 0); }
static void write_fails_torn(struct run *r) { simple(r, SIM_WRITE_EIO, MUTATIONS, 0, SECTOR); }
static void flush_fails(struct run *r) { simple(r, SIM_FLUSH_EIO, 25, 1, SIM_WINDOW_KEPT); }
static void flush_fails_drops(struct run *r) { simple(r, SIM_FLUSH_EIO, 25, 1, SIM_WINDOW_DROPPED); }
static void flush_fails_serves(struct run *r) { simple(r, SIM_FLUSH_EIO, 25, 0, SIM_WINDOW_DROPPED_SERVED); }
static void barrier_fails(struct run *r) { simple(r, SIM_BARRIER_EIO, 8, 1, 0); }
static void read_fails(struct run *r) { simple(r, SIM_READ_EIO, READS, 1, 0); }
static void reads_fail(struct run *r) { simple(r, SIM_READ_EIO, READS, 0, 0); }
static void read_garbage(struct run *r) { simple(r, SIM_READ_GARBAGE, READS, 1, 0); }
static void read_elsewhere(struct run *r) {
  simple(r, SIM_READ_MISDIRECTED, READS, 1, some(r, SIZE / SECTOR) * SECTOR);
}
static void power_fails(struct run *r) {
  sim_cut_at(r->load.rig.sim, sim_mutations(r->load.rig.sim) + some(r, MUTATIONS));
}
static void process_dies(struct run *r) { r->kill_at = (int64_t)some(r, MUTATIONS); }
static void no_memory_once(struct run *r) { r->fail_at[r->fail_at[0] != 0] = r->calls + 1 + some(r, ALLOCATIONS); }
static void no_memory(struct run *r) { r->fail_for_ever = r->calls + 1 + some(r, ALLOCATIONS); }
static void clock_jumps(struct run *r) { r->clock = 1 + (unsigned)some(r, CLOCKS - 1); }
static void write_lost(struct run *r) { simple(r, SIM_WRITE_LOST, MUTATIONS, 1, some(r, 2)); }
static void write_elsewhere(struct run *r) {
  simple(r, SIM_WRITE_MISDIRECTED, MUTATIONS, 1, some(r, SIZE / SECTOR) * SECTOR);
}
static void flush_lies(struct run *r) { simple(r, SIM_FLUSH_LIE, 25, 1, 0); }
static void rots(struct run *r) { r->rot_at[r->rot_at[0] != NEVER] = (int64_t)some(r, MUTATIONS); }

static const struct {
  const char *name;
  void (*arm)(struct run *run);
  bool lies; /* the device says that it did what it did not */
} KINDS[] = {{"a write fails", write_fails, false},
             {"writes fail half done", write_fails_torn, false},
             {"a flush fails", flush_fails, false},
             {"a flush fails and drops", flush_fails_drops, false},
             {"flushes fail, dropped data is served", flush_fails_serves, false},
             {"a barrier fails", barrier_fails, false},
             {"a read fails", read_fails, false},
             {"reads fail", reads_fail, false},
             {"a read gives garbage", read_garbage, false},
             {"a read gives another place", read_elsewhere, false},
             {"the power fails", power_fails, false},
             {"the process dies", process_dies, false},
             {"no memory once", no_memory_once, false},
             {"no memory", no_memory, false},
             {"the clock jumps", clock_jumps, false},
             {"a write is lost", write_lost, true},
             {"a write goes elsewhere", write_elsewhere, true},
             {"a flush lies", flush_lies, true},
             {"the medium rots", rots, true}};
enum { KIND_COUNT = sizeof KINDS / sizeof KINDS[0] };

/* ---- a run ------------------------------------------------------------------------------------------------------------ */

static void begin(struct run *run, uint64_t seed) {
  *run = (struct run){.random = seed, .rot_at = {NEVER, NEVER}, .kill_at = NEVER};
  current = run;
  load_make(&run->load);
  rig_close(&run->load.rig);
  struct sim_options *options = sim_options(run->load.rig.sim);
  options->before = before;
  options->context = run;
}

static void open_run(struct run *run) {
  struct rig *rig = &run->load.rig;
  struct wodan_open_options options = {.flags = WODAN_OPEN_INLINE,
                                       .memory_budget = 640 << 10,
                                       .allocator = {.context = run, .allocate = allocate, .release = release},
                                       .hooks = {.context = rig, .random = rig_random, .now = now_of}};
  struct wodan_error error;
  rig->plug = sim_plug(rig->sim);
  if (wodan_open(rig->plug, &options, &rig->db, &error) < 0) fail_msg("open: %s", error.message);
  run->mutation = 0;
}

static bool is_told(int status) {
  return status == WODAN_EIO || status == WODAN_EFAILED || status == WODAN_ENOMEM || by_damage(status);
}

/* Nothing is read that was not put to that key: values of the workload tell by which operation. */
static void read_keys(struct run *run) {
  for (unsigned k = 0; k < KEYS; k++) {
    char key[16];
    uint8_t value[100];
    size_t size = 0;
    bool put = false;
    snprintf(key, sizeof key, "key %u", k);
    int status = wodan_get(run->load.rig.db, NULL, text(key), value, sizeof value, &size);
    if (status == WODAN_ENOTFOUND) continue;
    if (status < 0 && !is_told(status)) fail_msg("%s: a get answers %d", run->name, status);
    if (status < 0) continue;
    for (unsigned i = 0; i < OPERATIONS; i++) put |= i * 7 % KEYS == k && value[0] == 'a' + i % 26;
    for (size_t b = 1; b < size; b++) put = put && value[b] == 'a' + (value[0] - 'a' + b) % 26;
    if (!put || size != 90) fail_msg("%s: %s has a value that was never put", run->name, key);
  }
}

static void heal(struct run *run) {
  struct sim *sim = run->load.rig.sim;
  sim_faults_clear(sim);
  sim_cut_at(sim, UINT64_MAX);
  sim_options(sim)->before = NULL;
  run->fail_at[0] = run->fail_at[1] = run->fail_for_ever = 0;
}

/* Returns how many faults struck. */
static unsigned run_pair(unsigned a, unsigned b, unsigned point, struct verdicts *verdicts) {
  struct run run;
  begin(&run, 1 + point + 1000ull * (a * KIND_COUNT + b));
  snprintf(run.name, sizeof run.name, "WODAN_PAIR=%u:%u:%u (%s; %s)", a, b, point, KINDS[a].name, KINDS[b].name);
  open_run(&run);
  KINDS[a].arm(&run);
  KINDS[b].arm(&run);
  int status = play(&run.load);
  if (status < 0 && !is_told(status)) fail_msg("%s: the workload %s", run.name, last_error(&run.load, status));
  read_keys(&run);
  bool off = sim_is_off(run.load.rig.sim);
  unsigned struck = run.struck + off + (run.clock > 0 && run.ticks > 0) + (unsigned)sim_faults_struck(run.load.rig.sim);
  if (point % 2)
    rig_drop(&run.load.rig);
  else
    wodan_close(run.load.rig.db, NULL);
  heal(&run);
  if (!KINDS[a].lies && !KINDS[b].lies) {
    recover(&run.load, run.load.acked, run.name, point);
    verdicts->right++;
  } else {
    rig_power(&run.load.rig);
    judge(&run.load, true, verdicts, run.name, point);
  }
  load_release(&run.load);
  return struck;
}

static void test_two_faults__every_pair_of_kinds(void **state) {
  (void)state;
  struct verdicts verdicts = {0};
  unsigned cases = 0, both = 0, points = STRIDE > 1 ? 6 : 20, a = 0, b = 0, point = 0;
  const char *wanted = getenv("WODAN_PAIR_POINTS"), *only = getenv("WODAN_PAIR");
  if (wanted) points = (unsigned)strtoul(wanted, NULL, 10);
  if (only) {
    assert_int_equal(sscanf(only, "%u:%u:%u", &a, &b, &point), 3);
    run_pair(a, b, point, &verdicts);
    return;
  }
  for (a = 0; a < KIND_COUNT; a++)
    for (b = a; b < KIND_COUNT; b++)
      for (point = 0; point < points; point++, cases++) both += run_pair(a, b, point, &verdicts) > 1;
  print_message("  %u runs of %d pairs; in %u both faults struck\n", cases, KIND_COUNT * (KIND_COUNT + 1) / 2, both);
  tell("two faults", &verdicts);
  assert_true(both > cases / 3);
  assert_true(verdicts.refused > 0 && verdicts.told > 0);
}

/* ---- the clock -------------------------------------------------------------------------------------------------------- */

/* So much that writers have to wait for maintenance: only then is the clock asked. */
static void play_much(struct run *run) {
  for (unsigned i = 0; i < 1500; i++) put_number(&run->load.rig, i * 31 % 120, i / 120, 90);
  rig_close(&run->load.rig);
}

static void test_two_faults__no_clock_changes_a_byte(void **state) {
  (void)state;
  uint64_t right = 0;
  for (unsigned clock = 0; clock < CLOCKS; clock++) {
    struct run run = {.clock = clock, .load.rig = {.random = 4711, .block = BLOCK, .nodes = 4}};
    struct sim_image image;
    struct wodan_error error;
    current = &run;
    assert_int_equal(sim_create(128 << 10, SECTOR, NULL, &run.load.rig.sim), 0);
    assert_int_equal(rig_format(&run.load.rig, BLOCK, false, &error), 0);
    open_run(&run);
    play_much(&run);
    assert_true(run.ticks > 0);
    assert_int_equal(sim_image_init(&image, run.load.rig.sim), 0);
    if (clock == 0) right = sim_image_hash(&image);
    if (sim_image_hash(&image) != right) fail_msg("clock %u leaves other bytes", clock);
    sim_image_release(&image);
    rig_release(&run.load.rig);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_two_faults__every_pair_of_kinds),
      cmocka_unit_test(test_two_faults__no_clock_changes_a_byte),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
