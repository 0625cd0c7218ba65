/* A database on bytes that are kept, behind an allocator that counts, checks sizes and fails on demand: shared by the
 * tests of the public API. */
#ifndef UNIT_ENGINE_RIG_H
#define UNIT_ENGINE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <wodan/wodan.h>
#include "support/kept_device.h"
#include "support/random.h"

/* ---- allocator ------------------------------------------------------------------------------------------------- */

struct meter {
  _Atomic size_t used, peak;    /* bytes asked for and not given back */
  _Atomic uint64_t calls, live; /* allocations made, and not given back */
  _Atomic uint64_t fail_at;     /* the allocation with this number fails; 0: none */
  bool for_ever;                /* and every later one */
};

static inline void *meter_allocate(void *context, size_t size, size_t alignment) {
  struct meter *meter = context;
  uint64_t call = atomic_fetch_add(&meter->calls, 1) + 1, fail_at = atomic_load(&meter->fail_at);
  if (fail_at && (call == fail_at || (meter->for_ever && call > fail_at))) return NULL;
  if (alignment < 16) alignment = 16;
  uint8_t *memory = aligned_alloc(alignment, (size + sizeof size + alignment - 1) / alignment * alignment);
  if (!memory) abort();
  memset(memory, 0xA5, size); /* nobody may count on zeros */
  memcpy(memory + size, &size, sizeof size);
  size_t used = atomic_fetch_add(&meter->used, size) + size, peak = atomic_load(&meter->peak);
  while (used > peak && !atomic_compare_exchange_weak(&meter->peak, &peak, used)) {
  }
  atomic_fetch_add(&meter->live, 1);
  return memory;
}

static inline void meter_release(void *context, void *memory, size_t size) {
  struct meter *meter = context;
  size_t asked;
  memcpy(&asked, (uint8_t *)memory + size, sizeof asked);
  if (asked != size) {
    fprintf(stderr, "memory given back with size %zu that was not asked for\n", size);
    abort();
  }
  atomic_fetch_sub(&meter->used, size);
  atomic_fetch_sub(&meter->live, 1);
  free(memory);
}

static inline struct wodan_allocator meter_hooks(struct meter *meter) {
  return (struct wodan_allocator){.context = meter, .allocate = meter_allocate, .release = meter_release};
}

/* ---- random hook: the same bytes in every run ------------------------------------------------------------------- */

static inline int rig_random(void *context, void *buffer, size_t size) {
  uint64_t *state = context;
  for (size_t i = 0; i < size; i++) ((uint8_t *)buffer)[i] = (uint8_t)random_next(state);
  return 0;
}

/* ---- the rig ---------------------------------------------------------------------------------------------------- */

struct rig {
  struct kept_bytes *kept;
  uint32_t sector;
  struct meter meter;
  uint64_t random;
  bool background; /* a thread does the maintenance */
  struct wodan_db *db;
};

/* Maintenance inline, so that what a test sees does not depend on a thread; rig->background turns it on. */
static inline struct wodan_open_options rig_options(struct rig *rig) {
  return (struct wodan_open_options){.size = sizeof(struct wodan_open_options),
                                     .flags = rig->background ? 0 : WODAN_OPEN_INLINE,
                                     .allocator = meter_hooks(&rig->meter),
                                     .hooks = {.context = &rig->random, .random = rig_random}};
}

static inline void rig_open_with(struct rig *rig, const struct wodan_open_options *options) {
  struct wodan_error error;
  struct wodan_device *device = kept_plug(rig->kept, rig->sector, 0);
  int status = wodan_open(device, options, &rig->db, &error);
  if (status < 0) fail_msg("open answered %d: %s", status, error.message);
}

static inline void rig_open(struct rig *rig) {
  struct wodan_open_options options = rig_options(rig);
  rig_open_with(rig, &options);
}

/* Fills kept and db; everything else stays as the caller set it. */
static inline void rig_start_on(struct rig *rig, uint64_t size, uint32_t sector,
                                const struct wodan_format_options *options) {
  struct wodan_error error;
  struct wodan_format_options format = options ? *options : (struct wodan_format_options){0};
  *rig = (struct rig){.sector = sector, .kept = kept_create(size), .random = size};
  format.allocator = meter_hooks(&rig->meter);
  format.hooks = (struct wodan_hooks){.context = &rig->random, .random = rig_random};
  struct wodan_device *device = kept_plug(rig->kept, rig->sector, 0);
  int status = wodan_format(device, &format, &error);
  if (status < 0) fail_msg("format answered %d: %s", status, error.message);
  assert_int_equal(wodan_device_close(device), 0);
  assert_int_equal(rig->meter.used, 0);
  rig_open(rig);
}

static inline void rig_start(struct rig *rig, uint64_t size, const struct wodan_format_options *options) {
  rig_start_on(rig, size, 512, options);
}

static inline void rig_close(struct rig *rig) {
  struct wodan_error error;
  int status = wodan_close(rig->db, &error);
  if (status < 0) fail_msg("close answered %d: %s", status, error.message);
  rig->db = NULL;
  assert_int_equal(rig->meter.used, 0);
  assert_int_equal(rig->meter.live, 0);
}

static inline void rig_reopen(struct rig *rig) {
  rig_close(rig);
  rig_open(rig);
}

static inline void rig_end(struct rig *rig) {
  if (rig->db) rig_close(rig);
  kept_free(rig->kept);
}

/* Opens the bytes of another rig's image (a copy): the same volume, plugged in elsewhere. */
static inline struct kept_bytes *kept_copy(const struct kept_bytes *from) {
  struct kept_bytes *kept = kept_create(from->size);
  memcpy(kept->data, from->data, from->size);
  return kept;
}

/* ---- short ways ------------------------------------------------------------------------------------------------- */

static inline struct wodan_slice sl(const char *text) { return (struct wodan_slice){text, strlen(text)}; }

static inline const char *rig_why(struct wodan_db *db) {
  static _Thread_local struct wodan_error error;
  wodan_last_error(db, &error);
  return error.message;
}

#define assert_done(db, call)                                                                                          \
  do {                                                                                                                 \
    int status_ = (call);                                                                                              \
    if (status_ != 0) fail_msg("%s:%d: %s answered %d: %s", __FILE__, __LINE__, #call, status_, rig_why(db));          \
  } while (0)

/* The last failure has this code and its sentence holds the text. */
static inline void assert_why(struct wodan_db *db, int code, const char *text) {
  struct wodan_error error;
  wodan_last_error(db, &error);
  assert_int_equal(error.code, code);
  if (!strstr(error.message, text)) fail_msg("'%s' says nothing of '%s'", error.message, text);
}

/* What get says: the value as text in a buffer, or NULL when absent. Values of at most 4096 bytes. */
static inline const char *get_text(struct wodan_db *db, struct wodan_view *view, const char *key) {
  static _Thread_local char buffer[4097];
  size_t size = 0;
  int status = wodan_get(db, view, sl(key), buffer, sizeof buffer - 1, &size);
  if (status == WODAN_ENOTFOUND) return NULL;
  if (status < 0) fail_msg("get of '%s' answered %d: %s", key, status, rig_why(db));
  buffer[size] = 0;
  return buffer;
}

static inline void assert_text(struct wodan_db *db, struct wodan_view *view, const char *key, const char *value) {
  const char *found = get_text(db, view, key);
  if (!found) fail_msg("'%s' is absent, '%s' is due", key, value);
  assert_string_equal(found, value);
}

static inline void assert_absent(struct wodan_db *db, struct wodan_view *view, const char *key) {
  const char *found = get_text(db, view, key);
  if (found) fail_msg("'%s' has the value '%s', absent is due", key, found);
}

static inline void put_text(struct wodan_db *db, const char *key, const char *value) {
  assert_done(db, wodan_put(db, sl(key), sl(value), NULL));
}

/* Key i and its value in version v: told again from the numbers alone. value_size >= 24. */
static inline struct wodan_slice key_number(uint64_t i, char out[32]) {
  int n = snprintf(out, 32, "key/%08llu", (unsigned long long)i);
  return (struct wodan_slice){out, (size_t)n};
}
static inline struct wodan_slice value_number(uint64_t i, uint64_t v, uint8_t *out, size_t value_size) {
  uint64_t state = i * 0x100000001B3ull ^ v << 40;
  memcpy(out, &i, 8);
  memcpy(out + 8, &v, 8);
  for (size_t b = 16; b < value_size; b++) out[b] = (uint8_t)random_next(&state);
  return (struct wodan_slice){out, value_size};
}
static inline int put_number(struct wodan_db *db, uint64_t i, uint64_t v, size_t value_size) {
  char key[32];
  uint8_t value[4096];
  return wodan_put(db, key_number(i, key), value_number(i, v, value, value_size), NULL);
}
/* Key i has version v at the view. */
static inline void assert_number(struct wodan_db *db, struct wodan_view *view, uint64_t i, uint64_t v,
                                 size_t value_size) {
  char key[32];
  uint8_t wanted[4096], found[4096];
  size_t size = 0;
  value_number(i, v, wanted, value_size);
  int status = wodan_get(db, view, key_number(i, key), found, sizeof found, &size);
  if (status < 0) fail_msg("get of %s answered %d: %s", key, status, rig_why(db));
  if (size != value_size || memcmp(found, wanted, size) != 0)
    fail_msg("%s has not version %llu", key, (unsigned long long)v);
}

/* Overwrites keys [0, keys) again and again, deletes some, syncs and checkpoints now and then: what a view must survive. */
static inline void churn(struct wodan_db *db, uint64_t keys, uint64_t operations, size_t value_size, uint64_t seed) {
  char key[32];
  for (uint64_t n = 0; n < operations; n++) {
    uint64_t i = random_below(&seed, keys), dice = random_below(&seed, 200);
    if (dice < 20)
      assert_done(db, wodan_delete(db, key_number(i, key), NULL));
    else
      assert_done(db, put_number(db, i, 1000000 + n, value_size));
    if (dice == 21) assert_done(db, wodan_sync(db));
    if (dice == 22) assert_done(db, wodan_checkpoint(db, NULL));
  }
}

static inline struct wodan_stats rig_stats(struct wodan_db *db) {
  struct wodan_stats stats = {.size = sizeof stats};
  assert_int_equal(wodan_stats(db, &stats), 0);
  return stats;
}
static inline struct wodan_info rig_info(struct wodan_db *db) {
  struct wodan_info info = {.size = sizeof info};
  assert_int_equal(wodan_info(db, &info), 0);
  return info;
}

#endif
