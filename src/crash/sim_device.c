/* Owns: the public face of the simulated device. The numbers of its tables are those of dev_sim.h, proven below.
 * Always true: a wodan_sim outlives every device plugged into it.
 * See: include/wodan/sim.h, tests/crash/test_sim.c. */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "crash/sim_plug.h"
#include "crash/sim_world.h"

_Static_assert((int)WODAN_SIM_KINDS == (int)SIM_KINDS && (int)WODAN_SIM_FLUSH == (int)SIM_FLUSH &&
                   (int)WODAN_SIM_DISCARD == (int)SIM_DISCARD,
               "operations");
_Static_assert((int)WODAN_SIM_BARRIER_LYING == (int)SIM_BARRIER_LYING &&
                   (int)WODAN_SIM_FLUSH_LYING == (int)SIM_FLUSH_LYING &&
                   (int)WODAN_SIM_DISCARD_RANDOM == (int)SIM_DISCARD_RANDOM,
               "lies");
_Static_assert((int)WODAN_SIM_READ_MISDIRECTED == (int)SIM_READ_MISDIRECTED &&
                   (int)WODAN_SIM_WRITE_EIO == (int)SIM_WRITE_EIO && (int)WODAN_SIM_FLUSH_LIE == (int)SIM_FLUSH_LIE &&
                   (int)WODAN_SIM_DISCARD_EIO == (int)SIM_DISCARD_EIO,
               "faults");
_Static_assert((int)WODAN_SIM_CONTENTS == (int)SIM_CONTENTS && (int)WODAN_SIM_TORN == (int)SIM_TORN, "families");
_Static_assert(sizeof(struct wodan_sim_operation) == sizeof(struct sim_operation) &&
                   offsetof(struct wodan_sim_operation, mutation) == offsetof(struct sim_operation, mutation) &&
                   offsetof(struct wodan_sim_operation, size) == offsetof(struct sim_operation, size),
               "a record of the log is shown as it is");

void sim_take_options(void *to, size_t size, const void *from) {
  uint32_t given;
  memcpy(&given, from, sizeof given);
  memset(to, 0, size);
  memcpy(to, from, given && given < size ? given : size);
}

static const struct wodan_sim_operation *shown(const struct sim_operation *operation) {
  return (const struct wodan_sim_operation *)(const void *)operation;
}

static int before(void *context, struct sim *inner, const struct sim_operation *operation) {
  struct wodan_sim *sim = context;
  (void)inner;
  return sim->before ? sim->before(sim->context, sim, shown(operation)) : 0;
}

int wodan_sim_create(const struct wodan_sim_options *given, struct wodan_sim **made) {
  *made = NULL;
  if (!given) return WODAN_EINVAL;
  struct wodan_sim_options o;
  sim_take_options(&o, sizeof o, given);
  struct sim_options options = {.barrier = o.barrier,
                                .flush = o.flush,
                                .discard = o.discard,
                                .read_only = o.read_only,
                                .keep_older = o.keep_older,
                                .log = o.record,
                                .discard_granularity = o.no_discard ? UINT32_MAX : 0,
                                .quota = o.quota,
                                .seed = o.seed};
  struct mem mem;
  mem_init(&mem, NULL);
  struct wodan_sim *sim = mem_zalloc(&mem, sizeof *sim);
  if (!sim) return WODAN_ENOMEM;
  int status = sim_create(o.device_size, o.sector ? o.sector : 512, &options, &sim->sim);
  if (status < 0) {
    mem_free(&mem, sim, sizeof *sim);
    return status;
  }
  sim->before = o.before;
  sim->context = o.context;
  sim_options(sim->sim)->before = before;
  sim_options(sim->sim)->context = sim;
  *made = sim;
  return 0;
}

void wodan_sim_free(struct wodan_sim *sim) {
  if (!sim) return;
  sim_close(sim->sim);
  struct mem mem;
  mem_init(&mem, NULL);
  mem_free(&mem, sim, sizeof *sim);
}

int wodan_sim_plug(struct wodan_sim *sim, struct wodan_device **device) {
  *device = sim_plug(sim->sim);
  return *device ? 0 : WODAN_ENOMEM;
}

void wodan_sim_unplug(struct wodan_device *device) { sim_unplug(device); }
void wodan_sim_cut_at(struct wodan_sim *sim, uint64_t mutation) { sim_cut_at(sim->sim, mutation); }

int wodan_sim_power_cut(struct wodan_sim *sim, const char *text) {
  struct mem mem;
  struct sim_image image;
  size_t most = text ? strlen(text) / 2 + 1 : 1, size = 0;
  mem_init(&mem, NULL);
  uint8_t *choice = mem_alloc(&mem, most);
  if (!choice) return WODAN_ENOMEM;
  int status = sim_image_init(&image, sim->sim);
  if (status == 0 && text) {
    if (sim_choice_parse(text, choice, most, &size))
      sim_image_choose(&image, sim->sim, choice, size);
    else
      status = WODAN_EINVAL;
  }
  if (status == 0) status = sim_load(sim->sim, &image);
  sim_image_release(&image);
  mem_free(&mem, choice, most);
  return status;
}

uint64_t wodan_sim_size(const struct wodan_sim *sim) { return sim_size(sim->sim); }
const uint8_t *wodan_sim_medium(const struct wodan_sim *sim) { return sim_medium(sim->sim); }

int wodan_sim_poke(struct wodan_sim *sim, uint64_t offset, const void *bytes, size_t size) {
  if (offset > sim_size(sim->sim) || size > sim_size(sim->sim) - offset) return WODAN_EINVAL;
  sim_poke(sim->sim, offset, bytes, size);
  return 0;
}

uint64_t wodan_sim_count(const struct wodan_sim *sim, enum wodan_sim_kind kind) {
  return kind < WODAN_SIM_KINDS ? sim_count(sim->sim, (enum sim_kind)kind) : 0;
}

uint64_t wodan_sim_violations(const struct wodan_sim *sim) { return sim_violations(sim->sim); }

const struct wodan_sim_operation *wodan_sim_operations(const struct wodan_sim *sim, size_t *count) {
  return shown(sim_log(sim->sim, count));
}

int wodan_sim_fault(struct wodan_sim *sim, const struct wodan_sim_fault *f) {
  if (f->kind > WODAN_SIM_DISCARD_EIO) return WODAN_EINVAL;
  struct sim_fault fault = {.kind = f->kind,
                            .until_written = f->until_written,
                            .offset = f->offset,
                            .size = f->size,
                            .skip = f->skip,
                            .times = f->times,
                            .argument = f->argument};
  return sim_fault_add(sim->sim, &fault);
}

void wodan_sim_faults_clear(struct wodan_sim *sim) { sim_faults_clear(sim->sim); }
uint64_t wodan_sim_faults_struck(const struct wodan_sim *sim) { return sim_faults_struck(sim->sim); }
