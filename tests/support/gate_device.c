/* Owns: who may pass. See gate_device.h. */
#include "support/gate_device.h"

#include <stdlib.h>
#include <time.h>

struct gated {
  struct wodan_device base; /* first */
  struct wodan_device *inner;
  struct gate *gate;
};

static struct gated *gated_of(struct wodan_device *device) { return (struct gated *)(void *)device; }

/* Caller holds the lock. */
static void stand(struct gate *gate, const bool *flushes) {
  gate->standing++;
  pthread_cond_broadcast(&gate->changed);
  while (flushes ? *flushes : gate->pass == 0) pthread_cond_wait(&gate->changed, &gate->lock);
  gate->standing--;
  pthread_cond_broadcast(&gate->changed);
}

static int pass(struct gate *gate) {
  int status = 0;
  pthread_mutex_lock(&gate->lock);
  if (gate->pass == 0) stand(gate, NULL);
  if (gate->pass != UINT64_MAX) gate->pass--;
  if (gate->fail == 0)
    status = WODAN_EIO;
  else if (gate->fail != UINT64_MAX)
    gate->fail--;
  pthread_mutex_unlock(&gate->lock);
  return status;
}

static int transfer(struct wodan_device *device, struct wodan_io *io, size_t count) {
  struct gated *gated = gated_of(device);
  int status = 0;
  for (size_t i = 0; i < count && status == 0; i++) {
    if (io[i].kind == WODAN_IO_WRITE && io[i].offset >= gated->gate->data) status = pass(gated->gate);
    if (status < 0) io[i].status = status;
  }
  return status < 0 ? status : gated->inner->ops->transfer(gated->inner, io, count);
}

static int barrier(struct wodan_device *device) {
  return gated_of(device)->inner->ops->barrier(gated_of(device)->inner);
}

static int flush(struct wodan_device *device) {
  struct gate *gate = gated_of(device)->gate;
  pthread_mutex_lock(&gate->lock);
  if (gate->flushes_closed) stand(gate, &gate->flushes_closed);
  pthread_mutex_unlock(&gate->lock);
  return gated_of(device)->inner->ops->flush(gated_of(device)->inner);
}

static int unplug(struct wodan_device *device) {
  int status = wodan_device_close(gated_of(device)->inner);
  free(device);
  return status;
}

static const struct wodan_device_ops ops = {
    .size = sizeof ops, .transfer = transfer, .barrier = barrier, .flush = flush, .close = unplug};

struct wodan_device *gate_plug(struct gate *gate, struct wodan_device *inner) {
  struct gated *gated = calloc(1, sizeof *gated);
  gated->base.ops = &ops;
  gated->base.geometry = inner->geometry;
  gated->inner = inner;
  gated->gate = gate;
  return &gated->base;
}

void gate_init(struct gate *gate, uint64_t data) {
  *gate = (struct gate){.data = data, .pass = UINT64_MAX, .fail = UINT64_MAX};
  pthread_mutex_init(&gate->lock, NULL);
  pthread_cond_init(&gate->changed, NULL);
}

void gate_release(struct gate *gate) {
  pthread_cond_destroy(&gate->changed);
  pthread_mutex_destroy(&gate->lock);
}

static void set(struct gate *gate, uint64_t passing, uint64_t failing, bool flushes_closed) {
  pthread_mutex_lock(&gate->lock);
  gate->pass = passing;
  gate->fail = failing;
  gate->flushes_closed = flushes_closed;
  pthread_cond_broadcast(&gate->changed);
  pthread_mutex_unlock(&gate->lock);
}

void gate_close_after(struct gate *gate, uint64_t writes) { set(gate, writes, UINT64_MAX, false); }
void gate_fail_after(struct gate *gate, uint64_t writes) { set(gate, UINT64_MAX, writes, false); }
void gate_close_flushes(struct gate *gate) { set(gate, UINT64_MAX, UINT64_MAX, true); }
void gate_open(struct gate *gate) {
  set(gate, UINT64_MAX, UINT64_MAX, false);
  pthread_mutex_lock(&gate->lock);
  while (gate->standing > 0)
    pthread_cond_wait(&gate->changed, &gate->lock); /* else it would be seen standing there still */
  pthread_mutex_unlock(&gate->lock);
}

bool gate_stands(struct gate *gate, unsigned milliseconds) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += milliseconds / 1000;
  until.tv_nsec += (long)(milliseconds % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  pthread_mutex_lock(&gate->lock);
  int late = 0;
  while (gate->standing == 0 && late == 0) late = pthread_cond_timedwait(&gate->changed, &gate->lock, &until);
  bool stands = gate->standing > 0;
  pthread_mutex_unlock(&gate->lock);
  return stands;
}
