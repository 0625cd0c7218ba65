/* The n-th allocation of a salvage or a repair fails, once and for ever, for every n; a memory limit is kept; a user stops it:
 * the answer tells so, nothing leaks, and the volume is as it was, or repaired by the next repair. */
#include "repair_damage.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STRIDE = 41 };
#else
enum { STRIDE = 3 };
#endif

struct account {
  uint64_t calls, live, fail_at;
  size_t used, peak;
  bool for_ever;
};

static void *take(void *context, size_t size, size_t alignment) {
  struct account *account = context;
  uint64_t call = ++account->calls;
  if (account->fail_at && (call == account->fail_at || (account->for_ever && call > account->fail_at))) return NULL;
  if (alignment < 16) alignment = 16;
  void *memory = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (!memory) abort();
  memset(memory, 0xA5, size);
  account->live++;
  account->used += size;
  if (account->used > account->peak) account->peak = account->used;
  return memory;
}

static void give(void *context, void *memory, size_t size) {
  struct account *account = context;
  if (!memory) return;
  account->live--;
  account->used -= size;
  free(memory);
}

static struct wodan_allocator allocator(struct account *account) {
  return (struct wodan_allocator){.context = account, .allocate = take, .release = give};
}

static int salvage(const struct rig *rig, struct account *account, uint64_t limit, struct told *told) {
  struct store damaged = store_copy(&rig->store), out = store_create(rig->store.size * 2, 512);
  struct wodan_device *from = store_open(&damaged), *to = store_open(&out);
  struct wodan_salvage_report report;
  uint64_t random = 1;
  *told = (struct told){.rig = rig};
  const struct wodan_salvage_options options = {.allocator = allocator(account),
                                                .hooks = rig_hooks(&random),
                                                .context = told,
                                                .finding = told_finding,
                                                .orphan = told_orphan,
                                                .memory_limit = limit};
  int status = wodan_salvage(from, to, &options, &report, NULL);
  wodan_device_close(from);
  wodan_device_close(to);
  assert_true(account->live == 0 && account->used == 0);
  assert_memory_equal(damaged.bytes, rig->store.bytes, rig->store.size);
  store_free(&damaged);
  store_free(&out);
  return status;
}

/* In place, on a copy that the next repair has to bring in order. */
static int repair(const struct rig *rig, struct account *account, uint64_t limit, struct told *told) {
  struct store store = store_copy(&rig->store);
  struct wodan_device *device = store_open(&store);
  struct wodan_repair_report report;
  struct wodan_error error;
  uint64_t random = 1;
  *told = (struct told){.rig = rig};
  const struct wodan_repair_options options = {.allowed = WODAN_REPAIR_LOSSY,
                                               .allocator = allocator(account),
                                               .hooks = rig_hooks(&random),
                                               .context = told,
                                               .finding = told_finding,
                                               .step = told_step,
                                               .memory_limit = limit};
  int status = wodan_repair(device, &options, &report, NULL);
  wodan_device_close(device);
  assert_true(account->live == 0 && account->used == 0);
  if (rig_repair(&store, WODAN_REPAIR_LOSSY, false, told, &report, &error) < 0) fail_msg("repair: %s", error.message);
  assert_true(report.after.damages + report.after.warnings == 0);
  store_free(&store);
  return status;
}

typedef int doing(const struct rig *rig, struct account *account, uint64_t limit, struct told *told);

static void each_allocation(const struct rig *rig, doing *what) {
  struct told told;
  struct account whole = {0};
  assert_int_equal(what(rig, &whole, 0, &told), 0);
  for (uint64_t nth = 1; nth <= whole.calls; nth += STRIDE) {
    struct account account = {.fail_at = nth, .for_ever = nth % 2};
    int status = what(rig, &account, 0, &told);
    if (status != WODAN_ENOMEM && !(status == 0 && account.calls < nth))
      fail_msg("allocation %llu of %llu fails, and the answer is %d", (unsigned long long)nth,
               (unsigned long long)whole.calls, status);
  }
  struct account little = {0}, enough = {0};
  assert_int_equal(what(rig, &little, 8 << 10, &told), WODAN_EBUDGET);
  assert_int_equal(what(rig, &enough, whole.peak, &told), 0);
  assert_true(enough.peak <= whole.peak);
}

static void each(doing *what) {
  for (size_t volume = 0; volume < VOLUME_COUNT; volume += 2)
    for (size_t class = 0; class < CLASS_COUNT; class ++) {
      bool chosen = CLASSES[class].damage == damage_leaf_and_run || CLASSES[class].damage == damage_bottom_node ||
                    CLASSES[class].damage == damage_root;
      struct rig rig;
      if (!chosen || !damaged_volume(&rig, volume, class)) continue;
      each_allocation(&rig, what);
      store_free(&rig.store);
    }
}

static void test_repair_memory__salvage(void **state) {
  (void)state;
  each(salvage);
}

static void test_repair_memory__in_place(void **state) {
  (void)state;
  each(repair);
}

/* ---- stopping -------------------------------------------------------------------------------------------------------- */

static int stop_at(void *context, uint64_t done, uint64_t total) {
  uint64_t *left = context;
  assert_true(done <= total);
  return (*left)-- == 0;
}

static void test_repair_memory__stopped_by_the_user(void **state) {
  (void)state;
  struct rig rig;
  assert_true(damaged_volume(&rig, 0, 3));
  for (uint64_t stop = 0; stop < 6; stop++) {
    uint64_t left = stop;
    struct store store = store_copy(&rig.store), out = store_create(rig.store.size, 512);
    struct wodan_device *device = store_open(&store), *to = store_open(&out);
    struct wodan_repair_report report;
    struct wodan_salvage_report salvaged;
    const struct wodan_salvage_options options = {.context = &left, .progress = stop_at};
    assert_int_equal(wodan_salvage(device, to, &options, &salvaged, NULL), 0);
    if (!salvaged.complete) assert_int_equal(salvaged.records, 0);
    left = stop;
    const struct wodan_repair_options place = {.context = &left, .progress = stop_at, .allowed = WODAN_REPAIR_LOSSY};
    assert_int_equal(wodan_repair(device, &place, &report, NULL), 0);
    if (!report.complete && !report.steps) assert_memory_equal(store.bytes, rig.store.bytes, rig.store.size);
    wodan_device_close(device);
    wodan_device_close(to);
    store_free(&store);
    store_free(&out);
  }
  store_free(&rig.store);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_repair_memory__salvage),
                                     cmocka_unit_test(test_repair_memory__in_place),
                                     cmocka_unit_test(test_repair_memory__stopped_by_the_user)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
