/* Owns: the tracing wrapper. Always true: calls, answers and geometry are the inner device's, unchanged.
 * Order: a line follows its call, so a line says what has happened. See: tests/unit/test_device.c. */
#include "dev/dev_trace.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"

struct trace {
  struct wodan_device device; /* first */
  struct wodan_device *inner;
  trace_line *line;
  void *context;
};

static struct trace *trace_of(struct wodan_device *device) { return (struct trace *)(void *)device; }

static int trace_transfer(struct wodan_device *device, struct wodan_io *requests, size_t count) {
  static const char *const names[] = {"read", "write", "discard"};
  struct trace *trace = trace_of(device);
  int status = trace->inner->ops->transfer(trace->inner, requests, count);
  for (size_t i = 0; i < count; i++) {
    const struct wodan_io *io = &requests[i];
    char text[96];
    snprintf(text, sizeof text, "%s %" PRIu64 " %zu = %d", io->kind <= WODAN_IO_DISCARD ? names[io->kind] : "?",
             io->offset, io->size, io->status);
    trace->line(trace->context, text);
  }
  return status;
}

static int told(struct trace *trace, const char *name, int status) {
  char text[64];
  snprintf(text, sizeof text, "%s = %d", name, status);
  trace->line(trace->context, text);
  return status;
}

static int trace_barrier(struct wodan_device *device) {
  struct trace *trace = trace_of(device);
  return told(trace, "barrier", trace->inner->ops->barrier(trace->inner));
}

static int trace_flush(struct wodan_device *device) {
  struct trace *trace = trace_of(device);
  return told(trace, "flush", trace->inner->ops->flush(trace->inner));
}

static int trace_resize(struct wodan_device *device, uint64_t size) {
  struct trace *trace = trace_of(device);
  int status = trace->inner->ops->resize ? trace->inner->ops->resize(trace->inner, size) : WODAN_ENOTSUP;
  device->geometry = trace->inner->geometry;
  char name[40];
  snprintf(name, sizeof name, "resize %" PRIu64, size);
  return told(trace, name, status);
}

static int trace_close(struct wodan_device *device) {
  struct trace *trace = trace_of(device);
  int status = told(trace, "close", wodan_device_close(trace->inner));
  struct mem mem;
  mem_init(&mem, NULL);
  mem_free(&mem, trace, sizeof *trace);
  return status;
}

static const struct wodan_device_ops trace_ops = {
    .size = sizeof trace_ops,
    .transfer = trace_transfer,
    .barrier = trace_barrier,
    .flush = trace_flush,
    .resize = trace_resize,
    .close = trace_close,
};

int trace_device(struct wodan_device *inner, trace_line *line, void *context, struct wodan_device **device) {
  struct mem mem;
  mem_init(&mem, NULL);
  struct trace *trace = mem_zalloc(&mem, sizeof *trace);
  *device = NULL;
  if (!trace) {
    wodan_device_close(inner);
    return WODAN_ENOMEM;
  }
  *trace = (struct trace){
      .device = {.ops = &trace_ops, .geometry = inner->geometry}, .inner = inner, .line = line, .context = context};
  *device = &trace->device;
  return 0;
}
