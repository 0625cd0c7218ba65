/* A device over bytes that outlive it, for the tests of the check: counts writes, can refuse to read a range. */
#ifndef TESTS_CHECK_STORE_H
#define TESTS_CHECK_STORE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wodan/wodan.h>
#include "support/sanitized.h"

struct store {
  uint8_t *bytes;
  uint64_t size;
  uint32_t sector;
  uint64_t writes; /* writes, discards, barriers and flushes */
  uint64_t reads;
  uint64_t broken, broken_end; /* bytes that cannot be read */
  uintptr_t deepest;           /* lowest address of a stack from which something was read; 0: not looked at */
};

struct store_device {
  struct wodan_device device; /* first */
  struct store *store;
};

static inline int store_one(struct store *store, struct wodan_io *io) {
  if (io->offset > store->size || io->size > store->size - io->offset) return WODAN_EIO;
  if (io->kind != WODAN_IO_READ) store->writes++;
  if (io->kind == WODAN_IO_DISCARD) memset(store->bytes + io->offset, 0xDD, io->size);
  if (io->kind == WODAN_IO_WRITE) memcpy(store->bytes + io->offset, io->data, io->size);
  if (io->kind != WODAN_IO_READ) return 0;
  store->reads++;
  if (store->deepest > (uintptr_t)io) store->deepest = (uintptr_t)io; /* the request is a local of the reader */
  if (io->offset < store->broken_end && io->offset + io->size > store->broken) return WODAN_EIO;
  memcpy(io->data, store->bytes + io->offset, io->size);
  return 0;
}

static inline int store_transfer(struct wodan_device *device, struct wodan_io *requests, size_t count) {
  int first = 0;
  for (size_t i = 0; i < count; i++) {
    requests[i].status = store_one(((struct store_device *)(void *)device)->store, &requests[i]);
    if (!first) first = requests[i].status;
  }
  return first;
}

static inline int store_ordered(struct wodan_device *device) {
  ((struct store_device *)(void *)device)->store->writes++;
  return 0;
}

static inline int store_close(struct wodan_device *device) {
  free(device);
  return 0;
}

static inline struct wodan_device *store_open(struct store *store) {
  static const struct wodan_device_ops OPS = {.size = sizeof OPS,
                                              .transfer = store_transfer,
                                              .barrier = store_ordered,
                                              .flush = store_ordered,
                                              .close = store_close};
  struct store_device *device = calloc(1, sizeof *device);
  if (!device) abort();
  device->store = store;
  device->device.ops = &OPS;
  device->device.geometry = (struct wodan_geometry){.size = store->size,
                                                    .sector = store->sector,
                                                    .memory_alignment = 1,
                                                    .discard_granularity = store->sector,
                                                    .ordering = WODAN_ORDER_NATIVE,
                                                    .durable = 1};
  return &device->device;
}

static inline struct store store_create(uint64_t size, uint32_t sector) {
  struct store store = {.bytes = calloc(1, size), .size = size, .sector = sector};
  if (!store.bytes) abort();
  return store;
}
static inline struct store store_copy(const struct store *from) {
  struct store store = *from;
  store.bytes = malloc(from->size);
  if (!store.bytes) abort();
  memcpy(store.bytes, from->bytes, from->size);
  return store;
}
static inline void store_free(struct store *store) { free(store->bytes); }

/* What a check said. The first findings are kept whole. */
enum { HEARD_MAX = 32 };
struct heard {
  struct wodan_check_report report;
  struct wodan_error error;
  int status;
  uint32_t count;
  uint32_t ids[HEARD_MAX], severities[HEARD_MAX];
  uint64_t blocks[HEARD_MAX];
  char messages[HEARD_MAX][512];
};

static inline void heard_finding(void *context, const struct wodan_finding *finding) {
  struct heard *heard = context;
  if (!finding->remedy || !finding->remedy[0] != (finding->repair == WODAN_REPAIR_NOTHING)) {
    print_error("WF%04u: a repair, but not what it does, or the other way round\n", finding->id);
    abort();
  }
  if (heard->count < HEARD_MAX) {
    heard->ids[heard->count] = finding->id;
    heard->severities[heard->count] = finding->severity;
    heard->blocks[heard->count] = finding->block;
    strncpy(heard->messages[heard->count], finding->message, 511);
  }
  heard->count++;
}

/* Bytes of heap. */
struct heap {
  uint64_t live, peak;
};

static inline void *heap_take(void *context, size_t size, size_t alignment) {
  struct heap *heap = context;
  heap->live += size;
  if (heap->live > heap->peak) heap->peak = heap->live;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static inline void heap_give(void *context, void *memory, size_t size) {
  ((struct heap *)context)->live -= size;
  free(memory);
}

/* Of the stack, however deep the image says that its tree is: sixteen levels, the most there are, take 18 KiB (optimized). */
enum { STACK_MOST = 40 * 1024 };

/* What a check may take whatever the image says: 16 bytes a block, 64 KiB and 4 pages; blocks have 512 bytes or more, and
 * pages at most 16 KiB and a 32nd of the volume. */
static inline uint64_t heap_most(uint64_t size) {
  uint64_t page = size / 32 < 16384 ? size / 32 : 16384;
  return 16 * (size / 512) + 65536 + 4 * page;
}

/* Checks the store; fails the test when a byte was written, when it took more memory or reads than it may, or a finding
 * contradicts the report. */
static inline void store_check(struct store *store, struct heard *heard) {
  memset(heard, 0, sizeof *heard);
  uint64_t writes = store->writes, reads = store->reads;
  struct heap heap = {0};
  struct wodan_check_options options = {
      .size = sizeof options, .allocator = {&heap, heap_take, heap_give}, .context = heard, .finding = heard_finding};
  struct wodan_device *device = store_open(store);
  store->deepest = (uintptr_t)&heap;
  heard->status = wodan_check(device, &options, &heard->report, &heard->error);
  uint64_t stack = (uintptr_t)&heap - store->deepest;
  store->deepest = 0;
  wodan_device_close(device);
  if (store->writes != writes) {
    print_error("the check wrote to the device\n");
    abort();
  }
  if (heap.live || heap.peak > heap_most(store->size) || store->reads - reads > 2 * (store->size / 512) + 16 ||
      (stack > STACK_MOST && !SANITIZED)) {
    print_error("the check took %llu bytes of heap, %llu of stack and %llu reads\n", (unsigned long long)heap.peak,
                (unsigned long long)stack, (unsigned long long)(store->reads - reads));
    abort();
  }
  if (heard->count != heard->report.notes + heard->report.warnings + heard->report.damages) {
    print_error("%u findings, but the report counts others\n", heard->count);
    abort();
  }
}

static inline void heard_print(const struct heard *heard) {
  print_message("status %d %s\n", heard->status, heard->status ? heard->error.message : "");
  for (uint32_t i = 0; i < heard->count && i < HEARD_MAX; i++)
    print_message("  WF%04u severity %u block %lld: %s\n", heard->ids[i], heard->severities[i],
                  (long long)heard->blocks[i], heard->messages[i]);
}

static inline int heard_id(const struct heard *heard, uint32_t id) { /* index of the first, or -1 */
  for (uint32_t i = 0; i < heard->count && i < HEARD_MAX; i++)
    if (heard->ids[i] == id) return (int)i;
  return -1;
}

#endif
