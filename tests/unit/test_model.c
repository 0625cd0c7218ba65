/* Random operations against the reference map, on several geometries, with sync, checkpoint, reopen, views and value readers held
 * meanwhile, range deletes, large values as a whole and as streams, and compression that changes. A failure prints the seed and
 * geometry; WODAN_SEED and WODAN_ROUNDS replay and lengthen. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "crash/content.h"
#include "crash/model.h"
#include "support/kept_device.h"
#include "support/random.h"
#include "support/sanitized.h"

struct geometry {
  const char *name;
  uint64_t size;
  uint32_t sector, block;
  uint32_t keys; /* distinct */
  uint32_t value_max;
  unsigned rounds;
  /* Tiny leaves and nodes; all 0: usual. levels: that must have been there. */
  uint32_t page, leaf, memtable, node_leaves, node_children, levels;
  bool packs;           /* each open chooses anew whether and how it compresses */
  uint64_t range_every; /* so many operations are one range delete; the last geometries: many of them */
  uint64_t large_every; /* so many puts are one of a value about a quarter page or much larger; 0: none */
  uint32_t large_max;
};

enum { LARGE_MAX = 9000, OPERATIONS_MAX = 8, VIEWS = 2 };

static const struct geometry geometries[] = {
    {"32 KiB, 512-byte blocks", 32 << 10, 512, 512, 60, 60, 3000, .levels = 1, .range_every = 2000},
    {"128 KiB, 512-byte blocks", 128 << 10, 512, 512, 400, 100, 8000, .levels = 1, .range_every = 2000},
    {"512 KiB, 1 KiB blocks", 512 << 10, 512, 1024, 2000, 120, 12000, .levels = 1, .range_every = 2000},
    {"1 MiB, 4 KiB blocks", 1 << 20, 512, 4096, 3000, 100, 12000, .levels = 1, .range_every = 2000},
    {"8 MiB, 4 KiB blocks", 8 << 20, 4096, 4096, 40000, 100, 60000, .levels = 1, .range_every = 2000},
    {"deep, 4 MiB, 512-byte blocks", 4 << 20, 512, 512, 8000, 100, 8000, 512, 2048, 4096, 4, 4, 4, false, 2000, 0, 0},
    {"deep, 8 MiB, 4 KiB blocks", 8 << 20, 512, 4096, 16000, 120, 12000, 512, 4096, 4096, 6, 4, 4, false, 2000, 0, 0},
    {"packed, 512 KiB, 1 KiB blocks", 512 << 10, 512, 1024, 2000, 120, 8000, .levels = 1, .packs = true,
     .range_every = 2000},
    {"packed, deep, 4 MiB, 512-byte blocks", 4 << 20, 512, 512, 8000, 100, 8000, 512, 2048, 4096, 4, 4, 3, true, 2000,
     0, 0},
    {"ranges, 512 KiB, 1 KiB blocks", 512 << 10, 512, 1024, 2000, 120, 5000, .levels = 1, .range_every = 40},
    {"ranges, deep, 4 MiB, 512-byte blocks", 4 << 20, 512, 512, 8000, 100, 12000, 512, 2048, 4096, 4, 4, 3, false, 60,
     0, 0},
    {"large, 1 MiB, 512-byte blocks", 1 << 20, 512, 512, 300, 120, 2500, 512, .levels = 1, .packs = true,
     .range_every = 1000, .large_every = 2, .large_max = LARGE_MAX},
    {"large, deep, 4 MiB, 512-byte blocks", 4 << 20, 512, 512, 8000, 100, 5000, 512, 2048, 4096, 4, 4, 3, true, 400, 40,
     LARGE_MAX},
};

static uint64_t start_seed(void) {
  const char *text = getenv("WODAN_SEED");
  return text ? strtoull(text, NULL, 0) : 20261122;
}

static size_t make_key(uint64_t n, uint8_t *key) {
  /* Several shapes: short numbers, long common prefixes, binary. */
  switch (n % 3) {
  case 0:
    return (size_t)sprintf((char *)key, "%llu", (unsigned long long)n);
  case 1:
    return (size_t)sprintf((char *)key, "prefix/that/is/long/%06llu", (unsigned long long)n);
  }
  uint64_t mixed = n * 0x9E3779B97F4A7C15ull;
  memcpy(key, &mixed, 8);
  return 8;
}

struct operation {
  uint8_t key[64];
  size_t key_size;
  uint8_t value[LARGE_MAX]; /* of a range: where it ends */
  size_t value_size;
  enum { DELETE, PUT, RANGE } kind;
  unsigned open; /* ends of a range that are not given: 1 the lower, 2 the upper */
};

struct rig {
  const struct geometry *geometry;
  struct kept_bytes *kept;
  struct wodan_db *db;
  struct model *model;
  uint64_t random, seed;
  uint32_t page;
  struct {
    struct wodan_view *view; /* NULL: none */
    size_t version;
  } views[VIEWS];
  struct wodan_value_reader *reader; /* NULL: none */
  uint8_t held[LARGE_MAX];           /* what it reads, and how much of it was read */
  size_t held_size, held_at;
  struct operation operations[OPERATIONS_MAX];
  unsigned refused, ranges, large, streams, viewed;
  uint64_t levels;         /* most that there were */
  uint64_t packed, passed; /* pages, of all opens */
};

static void rig_fail(struct rig *rig, const char *what, const char *why) {
  fail_msg("%s: %s (geometry '%s'; replay: WODAN_SEED=%llu test_model)", what, why, rig->geometry->name,
           (unsigned long long)rig->seed);
}

static void rig_open(struct rig *rig) {
  struct wodan_error error;
  struct wodan_device *device = kept_plug(rig->kept, rig->geometry->sector, 0);
  struct wodan_open_options options = {0};
  if (rig->geometry->packs) options.compression = WODAN_COMPRESSION_OFF + (uint32_t)random_below(&rig->random, 3);
  if (wodan_open(device, &options, &rig->db, &error) < 0) rig_fail(rig, "open", error.message);
}

static void rig_check(struct rig *rig, const char *when) {
  char why[256];
  if (!model_equals(rig->model, rig->db, why, sizeof why)) rig_fail(rig, when, why);
}

/* ---- what is held while others write -------------------------------------------------------------------------------- */

static void view_check(struct rig *rig, struct wodan_view *view, size_t version) {
  struct mem mem;
  struct content there, due;
  struct wodan_cursor *cursor;
  char why[256];
  mem_init(&mem, NULL);
  content_init(&there, &mem);
  content_init(&due, &mem);
  assert_int_equal(wodan_cursor_open(rig->db, view, &cursor), 0);
  int status = wodan_cursor_first(cursor);
  for (; status == 0; status = wodan_cursor_next(cursor)) {
    struct wodan_slice value = wodan_cursor_value(cursor);
    if (!value.data) rig_fail(rig, "a view", "a value cannot be read");
    content_add(&there, wodan_cursor_key(cursor), value);
  }
  wodan_cursor_close(cursor);
  if (status != WODAN_DONE) rig_fail(rig, "a view", "its scan failed");
  model_content(rig->model, version, &due);
  if (!content_equal(&there, &due)) {
    content_differ(&there, &due, why, sizeof why);
    rig_fail(rig, "a view", why);
  }
  content_release(&there);
  content_release(&due);
  rig->viewed++;
}

static void view_end(struct rig *rig, unsigned i) {
  if (!rig->views[i].view) return;
  view_check(rig, rig->views[i].view, rig->views[i].version);
  wodan_view_close(rig->views[i].view);
  rig->views[i].view = NULL;
}

/* Some more of what the reader holds; closes it at the end. */
static void reader_go_on(struct rig *rig) {
  uint8_t bytes[3000];
  size_t size, wanted = 1 + random_below(&rig->random, sizeof bytes);
  if (random_below(&rig->random, 4) == 0) {
    rig->held_at = random_below(&rig->random, rig->held_size + 1);
    wodan_value_reader_seek(rig->reader, rig->held_at);
  }
  if (wodan_value_reader_read(rig->reader, bytes, wanted, &size) < 0) rig_fail(rig, "a value's reader", "failed");
  size_t due = rig->held_size - rig->held_at < wanted ? rig->held_size - rig->held_at : wanted;
  if (size != due || memcmp(bytes, rig->held + rig->held_at, size) != 0)
    rig_fail(rig, "a value's reader", "other bytes than when it was opened");
  rig->held_at += size;
  if (size > 0) return;
  wodan_value_reader_close(rig->reader);
  rig->reader = NULL;
}

static void reader_begin(struct rig *rig) {
  uint8_t key[64];
  size_t key_size = make_key(random_below(&rig->random, rig->geometry->keys), key), size = 0;
  uint64_t told = 0;
  const void *value = model_get(rig->model, key, key_size, &size);
  int status = wodan_value_reader_open(rig->db, NULL, (struct wodan_slice){key, key_size}, &rig->reader, &told);
  if (status != (value ? 0 : WODAN_ENOTFOUND) || told != size) rig_fail(rig, "a value's reader", "opens otherwise");
  if (status < 0) return;
  if (size) memcpy(rig->held, value, size);
  rig->held_size = size;
  rig->held_at = 0;
  rig->streams++;
}

/* A slice of any value, of now. */
static void read_part(struct rig *rig) {
  uint8_t key[64], bytes[LARGE_MAX];
  size_t key_size = make_key(random_below(&rig->random, rig->geometry->keys), key), size = 0;
  const uint8_t *value = model_get(rig->model, key, key_size, &size);
  struct wodan_part part = {.offset = random_below(&rig->random, size + 100),
                            .buffer = bytes,
                            .capacity = random_below(&rig->random, sizeof bytes + 1)};
  int status = wodan_get_part(rig->db, NULL, (struct wodan_slice){key, key_size}, &part);
  size_t left = part.offset < size ? size - part.offset : 0, due = left < part.capacity ? left : part.capacity;
  if (status != (value ? 0 : WODAN_ENOTFOUND)) rig_fail(rig, "a part", "another answer");
  if (status == 0 && (part.value_size != size || part.size != due || memcmp(bytes, value + part.offset, due) != 0))
    rig_fail(rig, "a part", "other bytes");
}

static void hold_something(struct rig *rig) {
  unsigned i = (unsigned)random_below(&rig->random, VIEWS);
  switch (random_below(&rig->random, 4)) {
  case 0:
    if (rig->views[i].view) {
      view_end(rig, i);
      return;
    }
    assert_int_equal(wodan_view_open(rig->db, &rig->views[i].view), 0);
    rig->views[i].version = model_version(rig->model);
    return;
  case 1:
    read_part(rig);
    return;
  }
  if (rig->reader) reader_go_on(rig);
  for (int tries = 0; tries < 8 && !rig->reader; tries++) reader_begin(rig); /* most keys are absent */
}

static void let_go(struct rig *rig) {
  for (unsigned i = 0; i < VIEWS; i++) view_end(rig, i);
  while (rig->reader) reader_go_on(rig);
}

static void rig_reopen(struct rig *rig) {
  struct wodan_error error;
  struct wodan_stats stats = {0};
  let_go(rig);
  wodan_stats(rig->db, &stats);
  if (stats.levels > rig->levels) rig->levels = stats.levels;
  rig->packed += stats.leaf_pages_packed;
  rig->passed += stats.leaf_pages_passed;
  if (wodan_close(rig->db, &error) < 0) rig_fail(rig, "close", error.message);
  rig_open(rig);
  rig_check(rig, "after reopen");
}

/* ---- writes --------------------------------------------------------------------------------------------------------- */

/* Small, or about the borders of what is large and of chunks, or any. */
static size_t value_size(struct rig *rig) {
  const struct geometry *g = rig->geometry;
  if (!g->large_every || random_below(&rig->random, g->large_every))
    return random_below(&rig->random, g->value_max + 1);
  const size_t borders[] = {rig->page / 4 - 1, rig->page / 4,     rig->page / 4 + 1, rig->page,
                            4 * rig->page - 1, 4 * rig->page + 1, 8 * rig->page};
  size_t pick = random_below(&rig->random, 2 * sizeof borders / sizeof *borders);
  rig->large++;
  return pick < sizeof borders / sizeof *borders ? borders[pick] : random_below(&rig->random, g->large_max + 1);
}

static void make_range(struct rig *rig, struct operation *op) {
  uint64_t shape = random_below(&rig->random, 16); /* most ranges are narrow, some wide, few open */
  op->kind = RANGE;
  op->open = shape == 0 ? 1 : shape == 1 ? 2 : 0;
  uint64_t first = random_below(&rig->random, rig->geometry->keys);
  op->key_size = make_key(first, op->key);
  uint64_t last = shape < 4 ? random_below(&rig->random, rig->geometry->keys) : first + 3 * (1 + shape);
  op->value_size = make_key(last, op->value);
  rig->ranges++;
}

static void make_operation(struct rig *rig, struct operation *op) {
  if (random_below(&rig->random, rig->geometry->range_every) == 0) {
    make_range(rig, op);
    return;
  }
  op->key_size = make_key(random_below(&rig->random, rig->geometry->keys), op->key);
  op->kind = random_below(&rig->random, 10) < (rig->refused ? 4 : 7) ? PUT : DELETE;
  op->value_size = op->kind == PUT ? value_size(rig) : 0;
  for (size_t b = 0; b < op->value_size; b++) {
    op->value[b] = (uint8_t)random_next(&rig->random);
    if (rig->geometry->packs && b >= 10) op->value[b] = op->value[b - 10]; /* there is something to gain */
  }
}

static struct wodan_slice key_of(const struct operation *op) { return (struct wodan_slice){op->key, op->key_size}; }
static struct wodan_slice value_of(const struct operation *op) {
  return (struct wodan_slice){op->value, op->value_size};
}

static int batch_add(struct wodan_batch *batch, const struct operation *op) {
  struct wodan_slice key = key_of(op), value = value_of(op);
  if (op->kind == RANGE)
    return wodan_batch_delete_range(batch, op->open & 1 ? NULL : &key, op->open & 2 ? NULL : &value);
  return op->kind == PUT ? wodan_batch_put(batch, key, value) : wodan_batch_delete(batch, key);
}

static int write_batch(struct rig *rig, unsigned size, struct wodan_commit *commit) {
  struct wodan_batch *batch;
  int status = 0;
  assert_int_equal(wodan_batch_create(rig->db, &batch), 0);
  for (unsigned i = 0; i < size && status == 0; i++) status = batch_add(batch, &rig->operations[i]);
  if (status == 0) status = wodan_batch_commit(rig->db, batch, commit);
  wodan_batch_free(batch);
  return status;
}

/* The same put, by a stream of pieces, with a hint that may be wrong; sometimes given up. */
static int write_stream(struct rig *rig, const struct operation *op, struct wodan_commit *commit) {
  struct wodan_value_writer *writer;
  uint64_t hint = random_below(&rig->random, 3);
  hint = hint == 0 ? 0 : hint == 1 ? op->value_size : random_below(&rig->random, LARGE_MAX);
  int status = wodan_value_writer_create(rig->db, key_of(op), hint, &writer);
  if (status < 0) return status;
  for (size_t at = 0; at < op->value_size && status == 0;) {
    size_t n = 1 + random_below(&rig->random, 3000);
    if (n > op->value_size - at) n = op->value_size - at;
    status = wodan_value_writer_append(writer, op->value + at, n);
    at += n;
  }
  if (status == 0) status = wodan_value_writer_commit(writer, commit);
  wodan_value_writer_free(writer);
  return status;
}

static void model_take(struct rig *rig, const struct operation *op) {
  struct wodan_slice key = key_of(op), value = value_of(op);
  if (op->kind == RANGE)
    model_delete_range(rig->model, op->open & 1 ? NULL : &key, op->open & 2 ? NULL : &value);
  else if (op->kind == PUT)
    model_put(rig->model, key.data, key.size, value.data, value.size);
  else
    model_delete(rig->model, key.data, key.size);
}

/* One batch of operations, or one stream, applied to both when the database takes it. */
static void rig_write(struct rig *rig, unsigned size) {
  struct wodan_commit commit = {.durability = random_below(&rig->random, 8) == 0};
  for (unsigned i = 0; i < size; i++) make_operation(rig, &rig->operations[i]);
  bool stream = size == 1 && rig->operations[0].kind == PUT && random_below(&rig->random, 2);
  int status = stream ? write_stream(rig, &rig->operations[0], &commit) : write_batch(rig, size, &commit);
  if (status == WODAN_EPINNED && (rig->reader || rig->views[0].view || rig->views[1].view)) {
    let_go(rig);
    return;
  }
  if (status == WODAN_ENOSPC) {
    rig->refused++;
    return;
  }
  if (status < 0) {
    struct wodan_error error;
    wodan_last_error(rig->db, &error);
    rig_fail(rig, "commit", error.message);
  }
  for (unsigned i = 0; i < size; i++) model_take(rig, &rig->operations[i]);
  model_commit(rig->model);
}

static void run_geometry(const struct geometry *geometry, uint64_t seed, unsigned rounds) {
  static struct rig rig;
  rig = (struct rig){.geometry = geometry, .random = seed, .seed = seed, .model = model_create()};
  struct wodan_error error;
  rig.kept = kept_create(geometry->size);
  struct wodan_device *device = kept_plug(rig.kept, geometry->sector, 0);
  struct wodan_format_options format = {.block_size = geometry->block,
                                        .page_size = geometry->page,
                                        .leaf_size = geometry->leaf,
                                        .memtable_size = geometry->memtable,
                                        .node_leaves = geometry->node_leaves,
                                        .node_children = geometry->node_children,
                                        .compression = geometry->packs ? WODAN_COMPRESSION_HIGH : 0};
  if (wodan_format(device, &format, &error) < 0) rig_fail(&rig, "format", error.message);
  wodan_device_close(device);
  rig_open(&rig);
  struct wodan_info info = {.size = sizeof info};
  wodan_info(rig.db, &info);
  rig.page = info.page_size;
  for (unsigned round = 0; round < rounds; round++) {
    rig_write(&rig, 1 + (unsigned)random_below(&rig.random, OPERATIONS_MAX));
    if (random_below(&rig.random, 20 + geometry->keys / 50) == 0) hold_something(&rig); /* a view is read whole */
    uint64_t dice = random_below(&rig.random, 4000);
    if (dice < 8) rig_reopen(&rig);
    if (dice >= 8 && dice < 16 && wodan_checkpoint(rig.db, NULL) < 0) rig_fail(&rig, "checkpoint", "failed");
    if (dice >= 16 && dice < 20) rig_check(&rig, "while open");
  }
  rig_check(&rig, "at the end");
  rig_reopen(&rig);
  struct wodan_stats stats = {0};
  wodan_stats(rig.db, &stats);
  if (rig.levels < geometry->levels) rig_fail(&rig, "at the end", "the tree is not deep");
  if (geometry->packs)
    print_message("%llu pages compressed, %llu passed on\n", (unsigned long long)rig.packed,
                  (unsigned long long)rig.passed);
  if (geometry->packs && rig.packed == 0) rig_fail(&rig, "at the end", "nothing was compressed");
  print_message("%s: %zu commits, %u refused, %u ranges, %u large, %u views, %u readers, %llu leaves, %llu runs, %llu "
                "levels, live %llu of %llu\n",
                geometry->name, model_version(rig.model), rig.refused, rig.ranges, rig.large, rig.viewed, rig.streams,
                (unsigned long long)stats.leaves, (unsigned long long)stats.runs, (unsigned long long)stats.levels,
                (unsigned long long)stats.space_live, (unsigned long long)stats.space_total);
  if (rig.viewed == 0 || (geometry->large_every && rig.streams == 0)) rig_fail(&rig, "at the end", "nothing was held");
  let_go(&rig);
  if (wodan_close(rig.db, &error) < 0) rig_fail(&rig, "last close", error.message);
  model_free(rig.model);
  kept_free(rig.kept);
}

static void test_model__random_operations_equal_the_reference_map(void **state) {
  (void)state;
  const char *factor = getenv("WODAN_ROUNDS");
  for (size_t i = 0; i < sizeof geometries / sizeof *geometries; i++) {
    unsigned part = SANITIZED && geometries[i].levels == 1 ? 4 : 1; /* deep ones need all of it to become so */
    run_geometry(&geometries[i], start_seed() + i, geometries[i].rounds / part * (factor ? (unsigned)atoi(factor) : 1));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_model__random_operations_equal_the_reference_map),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
