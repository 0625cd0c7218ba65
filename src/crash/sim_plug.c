/* Owns: the cable between a handle and a simulated device. See sim_plug.h. */
#include "crash/sim_plug.h"

#include "base/mem.h"

struct plug {
  struct wodan_device base; /* first */
  struct sim *sim;
  bool pulled;
};

static struct plug *plug_of(struct wodan_device *device) { return (struct plug *)(void *)device; }

static int transfer(struct wodan_device *device, struct wodan_io *io, size_t count) {
  struct plug *plug = plug_of(device);
  if (!plug->pulled) return sim_device(plug->sim)->ops->transfer(sim_device(plug->sim), io, count);
  for (size_t i = 0; i < count; i++) io[i].status = WODAN_EIO;
  return count ? WODAN_EIO : 0;
}

static int barrier(struct wodan_device *device) {
  struct plug *plug = plug_of(device);
  return plug->pulled ? WODAN_EIO : sim_device(plug->sim)->ops->barrier(sim_device(plug->sim));
}

static int flush(struct wodan_device *device) {
  struct plug *plug = plug_of(device);
  return plug->pulled ? WODAN_EIO : sim_device(plug->sim)->ops->flush(sim_device(plug->sim));
}

static int unplug(struct wodan_device *device) {
  struct mem mem;
  mem_init(&mem, NULL);
  mem_free(&mem, plug_of(device), sizeof(struct plug));
  return 0;
}

static const struct wodan_device_ops ops = {
    .size = sizeof ops, .transfer = transfer, .barrier = barrier, .flush = flush, .close = unplug};

struct wodan_device *sim_plug(struct sim *sim) {
  struct mem mem;
  mem_init(&mem, NULL);
  struct plug *plug = mem_zalloc(&mem, sizeof *plug);
  if (!plug) return NULL;
  plug->base.ops = &ops;
  plug->base.geometry = sim_device(sim)->geometry;
  plug->sim = sim;
  return &plug->base;
}

void sim_unplug(struct wodan_device *device) { plug_of(device)->pulled = true; }
