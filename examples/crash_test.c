/* crash_test: a program's own data under every power cut. A tiny bank keeps two balances in a database; each transfer is one
 * batch, so their sum never changes. <wodan/sim.h> runs the transfers on a simulated device, cuts the power before every
 * flush in every way the device allows, and asks us about each state it leaves.
 *
 *   crash_test [--careless] [LINE]
 *
 * --careless makes the transfers two separate commits: a state with the wrong sum is found. LINE, as printed then, shows
 * that one state again. Exit code 0: all states were right, 1: one was not, 2: usage.
 *
 * Link with wodan-sim and wodan.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <wodan/sim.h>
#include <wodan/wodan.h>

enum { TRANSFERS = 6, START = 100 };

struct bank {
  bool careless, formatted;
  unsigned acknowledged; /* transfers known durable */
  char why[160];
};

/* ---- the program under test -------------------------------------------------------------------------------------- */

static int set(struct wodan_batch *batch, const char *name, int amount) {
  char text[16];
  int size = snprintf(text, sizeof text, "%d", amount);
  return wodan_batch_put(batch, (struct wodan_slice){name, strlen(name)}, (struct wodan_slice){text, (size_t)size});
}

static int get(struct wodan_db *db, const char *name, int *amount) {
  char text[16] = "";
  size_t size;
  int status = wodan_get(db, NULL, (struct wodan_slice){name, strlen(name)}, text, sizeof text - 1, &size);
  *amount = 0;
  if (status == 0) sscanf(text, "%d", amount);
  return status;
}

static int commit(struct wodan_db *db, struct wodan_batch *batch) {
  struct wodan_commit durable = {.durability = WODAN_DURABLE};
  int status = wodan_batch_commit(db, batch, &durable);
  wodan_batch_clear(batch);
  return status;
}

/* State number n: alice has START - n, bob n. */
static int transfer(struct bank *bank, struct wodan_db *db, struct wodan_batch *batch, int n) {
  int status = set(batch, "alice", START - n);
  if (status == 0 && bank->careless && n > 0) status = commit(db, batch); /* the mistake */
  if (status == 0) status = set(batch, "bob", n);
  return status == 0 ? commit(db, batch) : status;
}

static int open_on(struct wodan_sim *sim, struct wodan_device **device, struct wodan_db **db) {
  struct wodan_open_options options = {.flags = WODAN_OPEN_INLINE};
  int status = wodan_sim_plug(sim, device);
  if (status < 0) return status;
  status = wodan_open(*device, &options, db, NULL);
  if (status < 0) wodan_device_close(*device);
  return status;
}

/* The same random bytes each time, so that a line names the same state each time. */
static int no_random(void *context, void *buffer, size_t size) {
  (void)context;
  memset(buffer, 7, size);
  return 0;
}

static int run(void *context, struct wodan_sim *sim) {
  struct bank *bank = context;
  struct wodan_format_options format = {.hooks = {.random = no_random}};
  struct wodan_open_options options = {.flags = WODAN_OPEN_INLINE, .hooks = {.random = no_random}};
  struct wodan_device *device;
  struct wodan_db *db;
  struct wodan_batch *batch;
  int status = wodan_sim_plug(sim, &device);
  if (status < 0) return status;
  status = wodan_format(device, &format, NULL);
  bank->formatted = status == 0;
  if (status == 0) status = wodan_open(device, &options, &db, NULL);
  if (status < 0) {
    wodan_device_close(device);
    return status;
  }
  status = wodan_batch_create(db, &batch);
  for (int n = 0; status == 0 && n < TRANSFERS; n++) {
    status = transfer(bank, db, batch, n);
    if (status == 0) bank->acknowledged = (unsigned)n + 1;
  }
  wodan_batch_free(batch);
  int closed = wodan_close(db, NULL);
  return status ? status : closed;
}

/* ---- what must be true after a crash ------------------------------------------------------------------------------ */

static int wrong(struct bank *bank, int alice, int bob) {
  snprintf(bank->why, sizeof bank->why, "alice has %d and bob %d, after %u transfers were acknowledged", alice, bob,
           bank->acknowledged);
  return 1;
}

static int check(void *context, struct wodan_sim *crashed) {
  struct bank *bank = context;
  struct wodan_device *device;
  struct wodan_db *db;
  int alice, bob;
  int status = open_on(crashed, &device, &db);
  if (status < 0 && !bank->formatted) return 0; /* the power failed during the format: there is nothing to lose yet */
  if (status < 0) {
    snprintf(bank->why, sizeof bank->why, "the database does not open: %s", wodan_strerror(status));
    return 1;
  }
  int first = get(db, "alice", &alice), second = get(db, "bob", &bob);
  wodan_close(db, NULL);
  if (first == WODAN_ENOTFOUND && second == WODAN_ENOTFOUND && bank->acknowledged == 0) return 0;
  bool sum = first == 0 && second == 0 && alice + bob == START;
  return sum && bob + 1 >= (int)bank->acknowledged ? 0 : wrong(bank, alice, bob);
}

int main(int argc, char **argv) {
  struct bank bank = {.careless = argc > 1 && strcmp(argv[1], "--careless") == 0};
  const char *line = argc > 1 + bank.careless ? argv[1 + bank.careless] : NULL;
  struct wodan_sim_workload workload = {.context = &bank, .run = run, .check = check};
  struct wodan_sim_explore_options options = {.device = {.device_size = 64 << 10, .sector = 512},
                                              .limits = {.block = 512, .samples = 200, .states_max = 4096},
                                              .replay = line};
  struct wodan_sim_explore_report report;
  int status = wodan_sim_explore(&workload, &options, &report);
  if (status < 0) {
    fprintf(stderr, "crash_test: %s\n", wodan_strerror(status));
    return 2;
  }
  printf("%" PRIu64 " states of %" PRIu64 " windows, %" PRIu64 " distinct: %s\n", report.counts.states,
         report.counts.windows, report.counts.distinct, status == 0 ? "all right" : bank.why);
  if (status == WODAN_DONE) printf("replay: crash_test %s%s\n", bank.careless ? "--careless " : "", report.replay);
  return status == 0 ? 0 : 1;
}
