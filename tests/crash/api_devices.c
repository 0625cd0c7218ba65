/* Devices, paths, the simulated device and what is built on it, while memory is missing. See test_api_faults.c. */
#include <unistd.h>

#include "api_world.h"

void use_devices(struct world *w) {
  struct wodan_open_options options = open_options(w, WODAN_OPEN_READ_ONLY);
  struct wodan_device *device = NULL;
  struct wodan_error error;
  char path[] = "/tmp/wodan-api-faults-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0 && write(fd, all.image, SIZE) == SIZE && close(fd) == 0);
  int status = TRY(wodan_memory_device, SIZE, SECTOR, &device);
  if (!allowed(w, status) || (status < 0) != (device == NULL)) wrong(w, "wodan_memory_device", status, "");
  if (device) assert_int_equal(TRY(wodan_device_close, device), 0);
  status = TRY(wodan_path_device, path, WODAN_PATH_READ_ONLY, 0, &device, &error);
  if (!allowed(w, status) || (status < 0) != (device == NULL)) wrong(w, "wodan_path_device", status, error.message);
  if (device) assert_int_equal(TRY(wodan_device_close, device), 0);
  status = TRY(wodan_open_path, path, &options, &w->db, &error);
  if (!allowed(w, status)) wrong(w, "wodan_open_path", status, error.message);
  if (status < 0) w->db = NULL;
  if (w->db && loop_struck() == 0) expect_content(w, "wodan_open_path");
  if (w->db) {
    status = TRY(wodan_close, w->db, &error);
    if (status < 0) wrong(w, "wodan_close", status, error.message);
  }
  w->db = NULL;
  unlink(path);
  ASK(wodan_version);
  ASK(wodan_strerror, WODAN_EIO);
}

static int write_sectors(struct wodan_device *device, uint64_t first, char letter) {
  uint8_t data[4 * SECTOR];
  memset(data, letter, sizeof data);
  struct wodan_io io = {.kind = WODAN_IO_WRITE, .offset = first * SECTOR, .data = data, .size = sizeof data};
  return device->ops->transfer(device, &io, 1);
}

static int count_state(void *context, struct wodan_sim *crashed, const char *choice) {
  *(uint64_t *)context += wodan_sim_size(crashed) == 16 * SECTOR && choice[0] != 0;
  return 0;
}

/* Every state is shown, or a lack of memory is told. */
static void show_states(struct world *w, struct wodan_sim *sim, bool complete) {
  static uint64_t whole;
  struct wodan_sim_counts counts = {0};
  uint64_t seen = 0;
  int status = TRY(wodan_sim_states, sim, NULL, count_state, &seen, &counts);
  if (!allowed(w, status)) wrong(w, "wodan_sim_states", status, "");
  if (whole == 0 && loop_struck() == 0) whole = seen;
  if (status == 0 && complete && seen < whole) wrong(w, "wodan_sim_states", 0, "states are missing");
}

void use_simulator(struct world *w) {
  struct wodan_sim_options options = {.device_size = 16 * SECTOR, .sector = SECTOR, .record = 1, .keep_older = 1};
  struct wodan_sim_fault fault = {.kind = WODAN_SIM_FLUSH_EIO, .times = 1};
  struct wodan_sim *sim;
  struct wodan_device *device = NULL;
  size_t count = 0;
  int status = TRY(wodan_sim_create, &options, &sim);
  if (!allowed(w, status) || (status < 0) != (sim == NULL)) wrong(w, "wodan_sim_create", status, "");
  if (!sim) return;
  status = TRY(wodan_sim_plug, sim, &device);
  if (!allowed(w, status)) wrong(w, "wodan_sim_plug", status, "");
  uint64_t done = 0;
  for (uint64_t n = 0; device && n < 3; n++) { /* the device's own calls are no public functions: wodan_sim_plug's */
    loop_enter("wodan_sim_plug");
    done += loop_left(write_sectors(device, n * 4, 'a')) == 0;
    loop_enter("wodan_sim_plug");
    if (n == 0) done += loop_left(device->ops->flush(device)) == 0;
    (void)loop_left(0);
  }
  bool complete = done == 4;
  const struct wodan_sim_operation *log = ASK(wodan_sim_operations, sim, &count);
  for (size_t i = 0; i < count; i++) done -= log[i].status == 0;
  if (done) wrong(w, "wodan_sim_operations", (int)count, "not what was done");
  show_states(w, sim, complete);
  status = TRY(wodan_sim_fault, sim, &fault);
  if (!allowed(w, status)) wrong(w, "wodan_sim_fault", status, "");
  if (device && status == 0 && device->ops->flush(device) != WODAN_EIO)
    wrong(w, "wodan_sim_fault", 0, "does not strike");
  if (ASK(wodan_sim_faults_struck, sim) > 1 || ASK(wodan_sim_violations, sim))
    wrong(w, "a simulated device", 0, "counts");
  RUN(wodan_sim_faults_clear, sim);
  RUN(wodan_sim_cut_at, sim, 100);
  if (device) RUN(wodan_sim_unplug, device);
  status = TRY(wodan_sim_poke, sim, 0, "x", 1);
  status = status ? status : TRY(wodan_sim_power_cut, sim, NULL);
  if (!allowed(w, status)) wrong(w, "wodan_sim_power_cut", status, "");
  if (ASK(wodan_sim_medium, sim)[0] != 'x' || ASK(wodan_sim_size, sim) != 16 * SECTOR)
    wrong(w, "the medium", 0, "differs");
  if (status == 0 && ASK(wodan_sim_count, sim, WODAN_SIM_WRITE)) wrong(w, "wodan_sim_power_cut", 0, "leaves counters");
  if (device) RUN(wodan_device_close, device);
  RUN(wodan_sim_free, sim);
}

static int explored(void *context, struct wodan_sim *sim) {
  struct wodan_device *device;
  (void)context;
  int status = wodan_sim_plug(sim, &device);
  if (status < 0) return status;
  for (uint64_t n = 0; n < 2 && status == 0; n++) {
    status = write_sectors(device, n * 4, 'b');
    if (status == 0) status = device->ops->flush(device);
  }
  wodan_device_close(device);
  return status;
}

static int accept(void *context, struct wodan_sim *crashed) {
  *(uint64_t *)context += wodan_sim_size(crashed) > 0;
  return 0;
}

void explore_workload(struct world *w) {
  static uint64_t whole;
  uint64_t seen = 0;
  struct wodan_sim_workload workload = {.context = &seen, .run = explored, .check = accept};
  struct wodan_sim_explore_options options = {.device = {.device_size = 16 * SECTOR}};
  struct wodan_sim_explore_report report;
  int status = TRY(wodan_sim_explore, &workload, &options, &report);
  if (!allowed(w, status) || report.violations) wrong(w, "wodan_sim_explore", status, report.replay);
  if (whole == 0 && loop_struck() == 0) whole = seen;
  if (status == 0 && seen < whole) wrong(w, "wodan_sim_explore", 0, "states are missing");
}

static void no_violation(void *context, const char *line, const char *sentence) {
  wrong(context, "wodan_sim_crash_run", 0, sentence);
  (void)line;
}

void run_crashes(struct world *w) {
  static struct wodan_sim_crash_report whole;
  struct wodan_sim_crash_report report;
  struct wodan_sim_crash_options options = {
      .ops = 1, .depth = 2, .geometries = 1 << 3, .jobs = 1, .context = w, .violation = no_violation};
  int status = TRY(wodan_sim_crash_run, &options, &report);
  if (!allowed(w, status) || report.violations) wrong(w, "wodan_sim_crash_run", status, "");
  if (whole.states == 0 && loop_struck() == 0) whole = report;
  if (status == 0 && report.distinct < whole.distinct) wrong(w, "wodan_sim_crash_run", 0, "states are missing");
  if (strcmp(ASK(wodan_sim_crash_geometry, 3), "tree") != 0) wrong(w, "wodan_sim_crash_geometry", 0, "");
}
