/* A volume's lower floors over a memory device, and runs of known records in it: shared by the tests of runs. */
#ifndef UNIT_RUN_WORLD_H
#define UNIT_RUN_WORLD_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "codec/checksum.h"
#include "format/node_header.h"
#include "format/page.h"
#include "run/run.h"

/* ---- a small world ------------------------------------------------------------------------------------------- */

struct world {
  struct mem mem;
  struct wodan_device *raw;
  struct device device;
  struct block_io io;
  struct space *space;
  struct cache *cache;
  struct run_shelf *shelf;
  struct run_env env;
  enum compression compression; /* of leaves; a compressor in env comes with it */
};

static inline void world_open(struct world *w, uint32_t block, uint32_t page, uint64_t blocks, size_t frames) {
  memset(w, 0, sizeof *w);
  mem_init(&w->mem, NULL);
  assert_int_equal(wodan_memory_device(blocks * block, 512, &w->raw), 0);
  assert_int_equal(device_init(&w->device, w->raw, NULL), 0);
  w->io = (struct block_io){
      .device = &w->device, .mem = &w->mem, .bounds = {.block_size = block, .data_first = 3, .data_end = blocks - 1}};
  memcpy(w->io.fsid, "0123456789abcdef", 16);
  w->io.seed = checksum_seed(w->io.fsid);
  w->space = space_create(&w->mem, 3, blocks - 1);
  w->cache = cache_create(&w->mem, page, frames);
  assert_non_null(w->space);
  assert_non_null(w->cache);
  w->shelf = run_shelf_create(&w->mem, 64 << 20);
  assert_non_null(w->shelf);
  w->env = (struct run_env){.mem = &w->mem,
                            .io = &w->io,
                            .cache = w->cache,
                            .shelf = w->shelf,
                            .space = w->space,
                            .page_size = page,
                            .epoch = {7, 99}};
}

/* Another shelf, of so many bytes, in place of the roomy one. */
static inline void world_shelf(struct world *w, uint64_t bytes_max) {
  run_shelf_free(w->shelf);
  w->env.shelf = w->shelf = run_shelf_create(&w->mem, bytes_max);
  assert_non_null(w->shelf);
}

static inline void world_close(struct world *w) {
  assert_int_equal(run_shelf_counts(w->shelf).bytes, 0);
  run_shelf_free(w->shelf);
  cache_free(w->cache);
  space_free(w->space);
  assert_int_equal(atomic_load(&w->mem.used), 0);
  assert_int_equal(wodan_device_close(w->raw), 0);
}

static uint64_t random_state;
static inline uint64_t random_next(void) {
  random_state += 0x9E3779B97F4A7C15ull;
  uint64_t z = random_state;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return z ^ z >> 31;
}

/* Key i of a test: ascending in i, of several lengths, with gaps so that key_between is absent. */
static inline struct wodan_slice key_of(uint64_t i, char *out) {
  int n = snprintf(out, 64, "\x01key/%07llu%.*s", (unsigned long long)i * 2, (int)(i % 9), "/tail/of/it");
  return (struct wodan_slice){out, (size_t)n};
}
static inline struct wodan_slice key_between(uint64_t i, char *out) { /* after key i, before key i + 1 */
  int n = snprintf(out, 64, "\x01key/%07llu", (unsigned long long)i * 2 + 1);
  return (struct wodan_slice){out, (size_t)n};
}
static inline struct record record_of(uint64_t i, char *key, char *value) {
  struct record record = {.key = key_of(i, key), .sequence = 1000 + i * 7919 % 4096};
  if (i % 11 == 5) {
    record.kind = RECORD_DELETE;
    return record;
  }
  size_t size = i % 97;
  for (size_t n = 0; n < size; n++) value[n] = (char)(i + n);
  record.value = (struct wodan_slice){value, size};
  return record;
}

static inline void assert_record(const struct record *record, uint64_t i) {
  char key[64], value[128];
  struct record wanted = record_of(i, key, value);
  assert_int_equal(key_compare(record->key, wanted.key), 0);
  assert_int_equal(record->kind, wanted.kind);
  assert_int_equal(record->sequence, wanted.sequence);
  assert_int_equal(record->value.size, wanted.value.size);
  assert_memory_equal(record->value.data ? record->value.data : "", value, wanted.value.size);
}

static inline int try_build(struct world *w, uint64_t count, bool filter, struct block_ptr *ptr) {
  uint64_t bytes = 0;
  char key[64], value[128];
  for (uint64_t i = 0; i < count; i++) {
    struct record record = record_of(i, key, value);
    bytes += record.key.size + record.value.size;
  }
  struct run_build_options options = {.size_max = run_size_bound(&w->env, count, bytes, filter), .filter = filter};
  struct run_builder *builder;
  int status = run_builder_create(&w->env, &options, &builder, NULL);
  if (status) return status;
  for (uint64_t i = 0; i < count; i++) {
    struct record record = record_of(i, key, value);
    status = run_builder_add(builder, &record, NULL);
    if (status) {
      run_builder_abort(builder);
      return status;
    }
  }
  struct run_counts counts;
  status = run_builder_finish(builder, 5, ptr, &counts, NULL);
  if (!status) assert_int_equal(counts.records, count);
  if (!status) assert_int_equal(counts.deletes, count / 11 + (count % 11 > 5));
  return status;
}

/* A handle without a pivot. */
static inline struct run *open_run(struct world *w, const struct block_ptr *ptr) {
  return run_create(&w->env, ptr, (struct wodan_slice){0});
}

static inline struct block_ptr build(struct world *w, uint64_t count, bool filter) {
  struct block_ptr ptr = {0};
  assert_int_equal(try_build(w, count, filter, &ptr), 0);
  return ptr;
}

static inline int get(struct world *w, struct run *run, struct wodan_slice key, struct record *record,
                      struct frame **pin, struct wodan_error *error) {
  return run_get(run, key, run_key_hash(&w->env, key), record, pin, error);
}

/* Every record by get, both ways by iterator, and absent keys. */
static inline void assert_run(struct world *w, struct run *run, uint64_t count) {
  char key[64];
  struct record record;
  struct frame *pin;
  for (uint64_t i = 0; i < count; i++) {
    assert_int_equal(get(w, run, key_of(i, key), &record, &pin, NULL), 0);
    assert_record(&record, i);
    cache_unpin(pin);
    assert_int_equal(get(w, run, key_between(i, key), &record, &pin, NULL), WODAN_ENOTFOUND);
  }
  assert_int_equal(get(w, run, (struct wodan_slice){"\x00", 1}, &record, &pin, NULL), WODAN_ENOTFOUND);
  struct iterator *it = run_iterator(run);
  assert_int_equal(iterator_first(it, NULL), 0);
  for (uint64_t i = 0; i < count; i++) {
    assert_true(it->valid);
    assert_record(&it->record, i);
    assert_int_equal(iterator_next(it, NULL), 0);
  }
  assert_false(it->valid);
  assert_int_equal(iterator_last(it, NULL), 0);
  for (uint64_t i = count; i-- > 0;) {
    assert_true(it->valid);
    assert_record(&it->record, i);
    assert_int_equal(iterator_prev(it, NULL), 0);
  }
  assert_false(it->valid);
  iterator_close(it);
}

#endif
