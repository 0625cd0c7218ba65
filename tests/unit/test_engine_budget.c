/* The budget under load: cursors, readers in other threads, views, splits on several levels, compaction, recovery of a full
 * ring; with the least budget a volume accepts nothing of it may fail for memory. */
#include <pthread.h>
#include "engine_rig.h"
#include "support/sanitized.h"

static int open_with(struct rig *rig, uint64_t budget, uint32_t flags) {
  struct wodan_open_options options = rig_options(rig);
  struct wodan_error error;
  options.memory_budget = budget;
  options.flags = flags;
  rig->meter.peak = 0;
  struct wodan_device *device = kept_plug(rig->kept, rig->sector, 0);
  int status = wodan_open(device, &options, &rig->db, &error);
  if (status < 0) {
    print_message("open with %llu: %s\n", (unsigned long long)budget, error.message);
    wodan_device_close(device);
  }
  return status;
}

/* ---- readers in other threads ------------------------------------------------------------------------------------- */

struct getter {
  pthread_t thread;
  struct wodan_db *db;
  uint64_t keys, seed, gets;
  _Atomic bool *done;
  int status;
};

static void *get_until_done(void *context) {
  struct getter *getter = context;
  char key[32];
  uint8_t value[512];
  size_t size;
  while (!atomic_load(getter->done) && getter->status == 0) {
    struct wodan_slice k = key_number(random_below(&getter->seed, getter->keys), key);
    int status = wodan_get(getter->db, NULL, k, value, sizeof value, &size);
    if (status != WODAN_ENOTFOUND) getter->status = status;
    getter->gets++;
  }
  return NULL;
}

/* ---- load --------------------------------------------------------------------------------------------------------- */

enum { GETTERS = RACES_WATCHED ? 2 : 4, CURSORS = 4 };

struct load {
  struct rig *rig;
  uint64_t keys, operations, seed, full;
  size_t value_size;
  struct wodan_cursor *cursors[CURSORS];
};

/* Each cursor goes on a little; at an end it is opened anew on what is there now. */
static void move_cursors(struct load *load) {
  struct wodan_db *db = load->rig->db;
  char key[32];
  for (unsigned c = 0; c < CURSORS; c++) {
    int status = 0;
    for (unsigned step = 0; step < 20 && status == 0 && load->cursors[c]; step++)
      status = c % 2 ? wodan_cursor_next(load->cursors[c]) : wodan_cursor_prev(load->cursors[c]);
    if (status < 0)
      fail_msg("cursor: %s (%llu KiB, %llu runs, %llu levels, %llu nodes, %llu refused)", rig_why(db),
               (unsigned long long)rig_info(db).device_size >> 10, (unsigned long long)rig_stats(db).runs,
               (unsigned long long)rig_stats(db).levels, (unsigned long long)rig_stats(db).nodes,
               (unsigned long long)load->full);
    if (load->cursors[c] && status == 0 && random_below(&load->seed, 8)) continue;
    wodan_cursor_close(load->cursors[c]);
    load->cursors[c] = NULL;
    assert_done(db, wodan_cursor_open(db, NULL, &load->cursors[c]));
    status = wodan_cursor_seek(load->cursors[c], key_number(random_below(&load->seed, load->keys), key));
    if (status < 0)
      fail_msg("cursor: %s (%llu KiB, %llu runs, %llu levels, %llu nodes, %llu refused)", rig_why(db),
               (unsigned long long)rig_info(db).device_size >> 10, (unsigned long long)rig_stats(db).runs,
               (unsigned long long)rig_stats(db).levels, (unsigned long long)rig_stats(db).nodes,
               (unsigned long long)load->full);
  }
}

static void close_cursors(struct load *load) {
  for (unsigned c = 0; c < CURSORS; c++) wodan_cursor_close(load->cursors[c]), load->cursors[c] = NULL;
}

/* A refusal because open cursors hold memory is an answer: they are closed, and the same call has to succeed. A full
 * volume is not what is asked here; it is counted. */
static void done_or_pinned(struct load *load, int status, uint64_t i, uint64_t v, bool put) {
  char key[32];
  if (status == WODAN_EPINNED || status == WODAN_ENOSPC) {
    close_cursors(load);
    status =
        put ? put_number(load->rig->db, i, v, load->value_size) : wodan_delete(load->rig->db, key_number(i, key), NULL);
  }
  if (status == WODAN_ENOSPC) {
    load->full++;
    return;
  }
  if (status < 0) fail_msg("operation: %d %s", status, rig_why(load->rig->db));
}

static void run_load(struct load *load) {
  struct wodan_db *db = load->rig->db;
  char key[32];
  for (uint64_t n = 0; n < load->operations; n++) {
    uint64_t i = random_below(&load->seed, load->keys), dice = random_below(&load->seed, 1000);
    if (n < load->keys) i = n * 7919 % load->keys;
    if (dice < 900 || n < load->keys)
      done_or_pinned(load, put_number(db, i, n, load->value_size), i, n, true);
    else
      done_or_pinned(load, wodan_delete(db, key_number(i, key), NULL), i, n, false);
    if (n % 32 == 0) move_cursors(load);
    if (dice == 7) assert_done(db, wodan_sync(db));
    if (n % (load->operations / 3) == 5) assert_done(db, wodan_checkpoint(db, NULL));
  }
  close_cursors(load);
  int status = wodan_compact(db, NULL, NULL, 0, NULL);
  if (status < 0 && status != WODAN_ENOSPC) fail_msg("compact: %d %s", status, rig_why(db));
  assert_done(db, wodan_checkpoint(db, NULL));
}

/* With GETTERS threads that read all the time. */
static void run_load_beside_readers(struct load *load) {
  static struct getter getters[GETTERS]; /* a failed assertion jumps away from under them */
  static _Atomic bool done;
  atomic_store(&done, false);
  for (unsigned g = 0; g < GETTERS; g++) {
    getters[g] = (struct getter){.db = load->rig->db, .keys = load->keys, .seed = g, .done = &done};
    assert_int_equal(pthread_create(&getters[g].thread, NULL, get_until_done, &getters[g]), 0);
  }
  run_load(load);
  atomic_store(&done, true);
  for (unsigned g = 0; g < GETTERS; g++) {
    pthread_join(getters[g].thread, NULL);
    if (getters[g].status < 0) fail_msg("a get answered %d: %s", getters[g].status, rig_why(load->rig->db));
    assert_true(getters[g].gets > 0);
  }
}

struct geometry {
  uint64_t size, keys, operations;
  size_t value_size;
  uint32_t node_leaves, node_children;
};
static const struct geometry geometries[] = {
    {256 << 10, 500, 5000, 90, 8, 4},      {1 << 20, 2200, 12000, 90, 8, 4},       {1 << 20, 4000, 20000, 24, 4, 4},
    {4 << 20, 15000, 40000, 90, 8, 4},     {16 << 20, 60000, 120000, 90, 8, 4},    {16 << 20, 60000, 100000, 90, 0, 0},
    {64 << 20, 180000, 200000, 110, 8, 4}, {256 << 20, 300000, 320000, 200, 0, 0},
};

/* The thread sanitizer looks for races, which small volumes have as well: with all of them it would take eight minutes. */
enum { ALL = sizeof geometries / sizeof *geometries, GEOMETRIES = RACES_WATCHED ? 3 : ALL };

static void print_and_judge(const struct geometry *g, struct rig *rig, uint64_t budget) {
  struct wodan_stats stats = rig_stats(rig->db);
  size_t peak = rig->meter.peak;
  print_message("%llu KiB, %llu leaves, %llu nodes, %llu levels: budget %llu, peak %zu (%.0f %%)\n",
                (unsigned long long)g->size >> 10, (unsigned long long)stats.leaves, (unsigned long long)stats.nodes,
                (unsigned long long)stats.levels, (unsigned long long)budget, peak,
                100.0 * (double)peak / (double)budget);
  assert_true(peak <= budget);
  assert_true(stats.memory_peak <= budget && stats.memory_used <= stats.memory_peak);
}

/* The work, then the same volume again with what the ring held when it was pulled out. */
static void load_within(const struct geometry *g, uint64_t budget, uint32_t flags) {
  struct rig *rig = calloc(1, sizeof *rig); /* not on the stack: a failed assertion jumps away from under readers */
  struct wodan_format_options format = {.node_leaves = g->node_leaves, .node_children = g->node_children};
  rig_start(rig, g->size, &format);
  if (budget == 0) budget = rig_info(rig->db).memory_needed;
  if (budget < rig_info(rig->db).memory_needed) {
    rig_end(rig);
    free(rig);
    return;
  }
  rig_close(rig);
  assert_int_equal(open_with(rig, budget, flags), 0);
  struct load load = {
      .rig = rig, .keys = g->keys, .operations = g->operations, .seed = budget ^ g->size, .value_size = g->value_size};
  run_load_beside_readers(&load);
  print_and_judge(g, rig, budget);
  print_message("  %llu of %llu operations refused\n", (unsigned long long)load.full,
                (unsigned long long)g->operations);
  assert_true(load.full < g->operations / 4);
  rig_end(rig);
  free(rig);
}

static void test_budget__the_least_is_enough_for_work_with_cursors_and_readers(void **state) {
  (void)state;
  for (size_t g = 0; g < GEOMETRIES; g++) {
    load_within(&geometries[g], 0, g % 2 ? WODAN_OPEN_INLINE : 0);
    if (geometries[g].size <= 4 << 20) load_within(&geometries[g], 0, g % 2 ? 0 : WODAN_OPEN_INLINE);
  }
}

static void test_budget__larger_ones_hold_too(void **state) {
  (void)state;
  static const uint64_t budgets[] = {1 << 20, 4 << 20, 16 << 20};
  for (size_t g = 0; g < 6; g++)
    for (size_t b = 0; b < 3; b++) load_within(&geometries[g], budgets[b], 0);
}

/* A volume of 1 MiB opens with 1 MiB, one of 16 MiB with 4. */
static void test_budget__small_volumes_need_little(void **state) {
  (void)state;
  static const uint64_t limits[][2] = {
      {64 << 10, 448 << 10}, {1 << 20, 1 << 20}, {16 << 20, 4 << 20}, {64 << 20, 8 << 20}};
  for (size_t i = 0; i < 4; i++) {
    struct rig rig;
    rig_start(&rig, limits[i][0], NULL);
    uint64_t needed = rig_info(rig.db).memory_needed;
    print_message("%llu KiB: %llu bytes\n", (unsigned long long)limits[i][0] >> 10, (unsigned long long)needed);
    assert_true(needed <= limits[i][1]);
    rig_end(&rig);
  }
}

/* ---- recovery ----------------------------------------------------------------------------------------------------- */

/* Pulls the plug again and again while as much as possible is in the ring, written with a large budget, records of this
 * size; each image opens with the least. */
static void recover_within_the_least(uint64_t size, size_t value_size, uint64_t operations) {
  struct rig rig;
  uint64_t replayed = 0;
  rig_start(&rig, size, NULL);
  uint64_t needed = rig_info(rig.db).memory_needed;
  for (uint64_t n = 0; n < operations; n++) {
    char key[32];
    uint8_t value[4096];
    struct wodan_commit durable = {.durability = n % 16 == 15 ? WODAN_DURABLE : WODAN_BUFFERED};
    struct wodan_slice v =
        value_size >= 24 ? value_number(n % 5000, n, value, value_size) : (struct wodan_slice){key, 0};
    assert_done(rig.db, wodan_put(rig.db, key_number(n % 5000, key), v, &durable));
    if (n % (operations / 40) != operations / 40 - 1) continue;
    struct rig copy = {.kept = kept_copy(rig.kept), .sector = 512};
    assert_int_equal(open_with(&copy, needed, 0), 0);
    if (rig_info(copy.db).replayed_operations > replayed) replayed = rig_info(copy.db).replayed_operations;
    assert_done(copy.db, wodan_put(copy.db, sl("more"), sl("1"), NULL));
    assert_text(copy.db, NULL, "more", "1");
    assert_true(copy.meter.peak <= needed);
    rig_end(&copy);
  }
  print_message("%llu KiB, values of %zu: up to %llu operations replayed with %llu bytes\n",
                (unsigned long long)size >> 10, value_size, (unsigned long long)replayed, (unsigned long long)needed);
  assert_true(replayed > 40);
  rig_end(&rig);
}

static void test_budget__what_a_crash_leaves_opens_with_the_least(void **state) {
  (void)state;
  recover_within_the_least(1 << 20, 100, 4000);
  recover_within_the_least(1 << 20, 0, 12000);
  recover_within_the_least(16 << 20, 0, 60000);
  recover_within_the_least(16 << 20, 1000, 6000);
}

/* Tiny records take several times their encoded size: the memtable is frozen before it is full. */
static void test_budget__tiny_records_do_not_break_the_plan(void **state) {
  (void)state;
  struct rig rig;
  rig_start(&rig, 4 << 20, NULL);
  uint64_t needed = rig_info(rig.db).memory_needed;
  rig_close(&rig);
  assert_int_equal(open_with(&rig, needed, 0), 0);
  for (uint64_t n = 0; n < 60000; n++) {
    uint8_t key[3] = {(uint8_t)(n * 31), (uint8_t)(n >> 8), (uint8_t)n};
    assert_done(rig.db, wodan_put(rig.db, (struct wodan_slice){key, 1 + n % 3}, (struct wodan_slice){key, 0}, NULL));
  }
  struct wodan_batch *batch; /* the largest batch of the smallest records */
  assert_done(rig.db, wodan_batch_create(rig.db, &batch));
  for (uint64_t n = 0; wodan_batch_bytes(batch) + 16 <= rig_info(rig.db).batch_size_max; n++) {
    uint8_t key[2] = {(uint8_t)(n >> 8), (uint8_t)n};
    assert_done(rig.db, wodan_batch_put(batch, (struct wodan_slice){key, 2}, (struct wodan_slice){key, 0}));
  }
  for (int round = 0; round < 40; round++) assert_done(rig.db, wodan_batch_commit(rig.db, batch, NULL));
  size_t outside = rig.meter.used - rig_stats(rig.db).memory_used;
  assert_in_range(outside, 1, 4 * rig_info(rig.db).batch_size_max);
  wodan_batch_free(batch);
  assert_true(rig_stats(rig.db).memory_peak <= needed);
  rig_end(&rig);
}

/* ---- keys as long as they may be ---------------------------------------------------------------------------------- */

/* Pivots of 2 KiB each: the skeleton may not fit; then puts are refused, and nothing else happens to the bound. */
static void test_budget__a_skeleton_of_long_keys_is_refused_not_outgrown(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_format_options format = {.node_leaves = 8, .node_children = 4};
  uint8_t key[2048];
  uint64_t refused = 0, seed = 5;
  rig_start(&rig, 16 << 20, &format);
  uint64_t needed = rig_info(rig.db).memory_needed;
  rig_close(&rig);
  assert_int_equal(open_with(&rig, needed, 0), 0);
  memset(key, 'k', sizeof key);
  for (uint64_t n = 0; n < 5000; n++) {
    uint64_t i = random_below(&seed, 4000);
    memcpy(key + sizeof key - 8, &i, 8);
    struct wodan_slice k = {key, rig_info(rig.db).key_size_max};
    int status = wodan_put(rig.db, k, (struct wodan_slice){key, 100}, NULL);
    if (status == WODAN_EBUDGET || status == WODAN_ENOSPC)
      refused++;
    else if (status < 0)
      fail_msg("put %llu: %d %s", (unsigned long long)n, status, rig_why(rig.db));
    if (status < 0) assert_done(rig.db, wodan_delete(rig.db, k, NULL));
  }
  print_message("long keys: %llu of 5000 refused, peak %zu of %llu\n", (unsigned long long)refused,
                (size_t)rig.meter.peak, (unsigned long long)needed);
  assert_true(rig.meter.peak <= needed);
  rig_close(&rig);
  assert_int_equal(open_with(&rig, 0, 0), 0);
  rig_end(&rig);
}

enum { LONG_KEYS = 1200 };

/* Key i of many that are as long as they may be. */
static struct wodan_slice long_key(unsigned i, uint64_t size, uint8_t out[2048]) {
  memset(out, 'k', 2048);
  for (unsigned digit = 9; digit > 4; digit--, i /= 10) out[digit] = (uint8_t)('0' + i % 10);
  return (struct wodan_slice){out, size};
}

/* Key i alone, by a range. */
static int delete_long(struct rig *rig, unsigned i, uint64_t size, struct wodan_commit *commit) {
  uint8_t key[2048], end[2048];
  struct wodan_slice from = long_key(i, size, key), to = long_key(i + 1, size, end);
  return wodan_delete_range(rig->db, &from, &to, commit);
}

static void judge_long(struct rig *rig, const bool deleted[LONG_KEYS], uint64_t size) {
  uint8_t key[2048], value[16];
  for (unsigned i = 0; i < LONG_KEYS; i++) {
    size_t found = 0;
    int status = wodan_get(rig->db, NULL, long_key(i, size, key), value, sizeof value, &found);
    if (status != (deleted[i] ? WODAN_ENOTFOUND : 0)) fail_msg("key %u: %d", i, status);
  }
}

/* Range deletes stand in the skeleton until they have reached the leaves. Where it has no room for more they are refused, and
 * nothing is changed; deletes are not, and once the work is done there is room again: after checkpoints they once left too little
 * for the work itself, and a volume opened with the least budget took no range delete any more. */
static void test_budget__too_many_range_deletes_are_refused_not_outgrown(void **state) {
  (void)state;
  static bool deleted[LONG_KEYS];
  struct rig rig;
  uint8_t key[2048];
  unsigned refused = 0, done = 0;
  struct wodan_format_options format = {.node_leaves = 8, .node_children = 4};
  rig_start(&rig, 16 << 20, &format);
  uint64_t needed = rig_info(rig.db).memory_needed, size = rig_info(rig.db).key_size_max;
  for (unsigned i = 0; i < LONG_KEYS; i++)
    assert_done(rig.db, wodan_put(rig.db, long_key(i, size, key), (struct wodan_slice){key, 9}, NULL));
  rig_close(&rig);
  assert_int_equal(open_with(&rig, needed, WODAN_OPEN_INLINE), 0);
  memset(deleted, 0, sizeof deleted);
  for (unsigned i = 0; i < LONG_KEYS && refused < 3; i += 2) {
    struct wodan_commit commit = {.durability = WODAN_BUFFERED};
    int status = delete_long(&rig, i, size, &commit);
    deleted[i] = status == 0;
    done += status == 0;
    if (status == 0) continue;
    if (status != WODAN_EBUDGET) fail_msg("range %u: %d %s", i, status, rig_why(rig.db));
    refused++;
    assert_int_equal(commit.sequence, 0);
    assert_done(rig.db, wodan_delete(rig.db, long_key(i + 1, size, key), NULL));
    deleted[i + 1] = true;
  }
  assert_true(refused == 3 && done > 0);
  judge_long(&rig, deleted, size);
  for (unsigned i = LONG_KEYS - 40; i < LONG_KEYS - 2; i += 2) { /* as many as it takes beside those of the tree */
    assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
    int status = delete_long(&rig, i, size, NULL);
    if (status != 0 && status != WODAN_EBUDGET) fail_msg("range %u: %d %s", i, status, rig_why(rig.db));
    deleted[i] |= status == 0;
    assert_done(rig.db, wodan_delete(rig.db, long_key(i - 500, size, key), NULL));
    deleted[i - 500] = true;
  }
  assert_done(rig.db, wodan_compact(rig.db, NULL, NULL, 0, NULL));
  assert_done(rig.db, delete_long(&rig, LONG_KEYS - 1, size, NULL));
  deleted[LONG_KEYS - 1] = true;
  judge_long(&rig, deleted, size);
  print_message("range deletes of long keys: %u done before one was refused, peak %zu of %llu\n", done,
                (size_t)rig.meter.peak, (unsigned long long)needed);
  assert_true(rig.meter.peak <= needed);
  rig_close(&rig);
  rig_open(&rig);
  judge_long(&rig, deleted, size);
  rig_end(&rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_budget__small_volumes_need_little),
      cmocka_unit_test(test_budget__tiny_records_do_not_break_the_plan),
      cmocka_unit_test(test_budget__what_a_crash_leaves_opens_with_the_least),
      cmocka_unit_test(test_budget__a_skeleton_of_long_keys_is_refused_not_outgrown),
      cmocka_unit_test(test_budget__too_many_range_deletes_are_refused_not_outgrown),
      cmocka_unit_test(test_budget__the_least_is_enough_for_work_with_cursors_and_readers),
      cmocka_unit_test(test_budget__larger_ones_hold_too),
  };
  if (RACES_WATCHED) cmocka_set_test_filter("*__*_cursors_and_readers");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
