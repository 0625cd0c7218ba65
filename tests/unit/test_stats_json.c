/* The statistics of an open database as text: well-formed, complete, equal to struct wodan_stats, and of the tree what the
 * image tells of it after the close. */
#include "inspect_rig.h"

static char text[WODAN_STATS_JSON_SIZE];

/* One JSON value from *at on; false: it is none. */
static bool skip_value(const char **at) {
  char close = **at == '{' ? '}' : **at == '[' ? ']' : 0;
  if (!close) {
    size_t size = strspn(*at, "0123456789.");
    if (!size && strncmp(*at, "null", 4) == 0) size = 4;
    *at += size;
    return size > 0;
  }
  if (*++*at == close) return ++*at, true;
  for (;;) {
    if (close == '}') {
      const char *end = **at == '"' ? strstr(*at + 1, "\":") : NULL;
      if (!end || strcspn(*at + 1, ",{}[]\"") != (size_t)(end - *at - 1)) return false;
      *at = end + 2;
    }
    if (!skip_value(at)) return false;
    if (**at == close) return ++*at, true;
    if (*(*at)++ != ',') return false;
  }
}

static void get_text(struct wodan_db *db) {
  size_t size = 0;
  assert_int_equal(wodan_stats_json(db, text, sizeof text, &size), 0);
  assert_int_equal(strlen(text), size);
  const char *at = text;
  assert_true(skip_value(&at) && *at == 0);
}

/* The number behind the first such name. */
static uint64_t number(const char *name) {
  char wanted[64];
  snprintf(wanted, sizeof wanted, "\"%s\":", name);
  const char *at = strstr(text, wanted);
  if (!at) fail_msg("no %s in %s", name, text);
  return strtoull(at + strlen(wanted), NULL, 10);
}

static void fill(struct wodan_db *db) {
  for (unsigned i = 0; i < RIG_KEYS; i++) rig_put(db, i, 0);
  for (unsigned i = 0; i < RIG_KEYS / 3; i++) rig_delete(db, i * 3);
  for (unsigned i = 0; i < RIG_KEYS / 4; i++) rig_put(db, i * 4, 1);
}

static void test_stats_json__has_every_number_of_the_struct(void **state) {
  (void)state;
  struct store store;
  rig_format(&store, RIG_SIZE, WODAN_COMPRESSION_OFF);
  struct wodan_db *db = rig_open(&store, WODAN_OPEN_INLINE);
  get_text(db); /* of an empty database, too */
  assert_true(number("leaves") == 0 && number("level") == 0);
  fill(db);
  struct wodan_stats stats = {.size = sizeof stats};
  assert_int_equal(wodan_stats(db, &stats), 0);
  get_text(db);
  const char *last = text;
#define SAME(name)                                                                                                     \
  assert_int_equal(number(#name), stats.name);                                                                         \
  assert_true((last = strstr(last, "\"" #name "\":")) != NULL); /* in this order */
  WODAN_STATS_COUNTERS(SAME)
#undef SAME
  uint64_t commits = 0, told = 0;
  for (unsigned i = 0; i < WODAN_DELAY_BUCKETS; i++) commits += stats.put_delays[i];
  for (const char *at = text; (at = strstr(at, "\"commits\":")) != NULL; at++) told += strtoull(at + 10, NULL, 10);
  assert_true(commits > 0 && told == commits);
  assert_int_equal(wodan_close(db, NULL), 0);
  store_free(&store);
}

struct seen {
  uint64_t leaf_blocks, run_blocks, node_blocks, leaves, leaf_bytes, records, deletes, levels;
};

static int see(void *context, const struct wodan_object *object) {
  struct seen *seen = context;
  if (object->kind == WODAN_OBJECT_NODE) {
    seen->node_blocks += object->blocks;
    if (object->level + 1 > seen->levels) seen->levels = object->level + 1;
  } else if (object->kind == WODAN_OBJECT_RUN) {
    seen->run_blocks += object->blocks;
    seen->records += object->records;
    seen->deletes += object->deletes;
  } else {
    seen->leaf_blocks += object->blocks;
    seen->leaf_bytes += object->length;
    seen->leaves++;
  }
  return 0;
}

static uint64_t sum(const char *name) {
  char wanted[64];
  uint64_t all = 0;
  snprintf(wanted, sizeof wanted, "\"%s\":", name);
  for (const char *at = strstr(text, "\"fill\""); (at = strstr(at, wanted)) != NULL; at++)
    all += strtoull(at + strlen(wanted), NULL, 10);
  return all;
}

/* Behind a checkpoint nothing changes until the close: what was told alive is what the image has. */
static void test_stats_json__the_tree_is_as_the_image_has_it(void **state) {
  (void)state;
  struct store store;
  struct seen seen = {0};
  struct wodan_inspect *inspect = NULL;
  rig_format(&store, RIG_SIZE, WODAN_COMPRESSION_OFF);
  struct wodan_db *db = rig_open(&store, WODAN_OPEN_INLINE);
  fill(db);
  assert_int_equal(wodan_checkpoint(db, NULL), 0);
  get_text(db);
  assert_int_equal(wodan_close(db, NULL), 0);
  struct wodan_device *device = store_open(&store);
  assert_int_equal(wodan_inspect_open(device, NULL, &inspect, NULL), 0);
  assert_int_equal(wodan_inspect_tree(inspect, WODAN_NEWEST_ROOT, see, &seen, NULL), 0);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  assert_true(seen.leaves > 2 && seen.levels > 1 && seen.run_blocks > 0);
  assert_int_equal(number("live_leaves"), seen.leaf_blocks * RIG_SECTOR);
  assert_int_equal(number("live_runs"), seen.run_blocks * RIG_SECTOR);
  assert_int_equal(number("live_nodes"), seen.node_blocks * RIG_SECTOR);
  assert_int_equal(number("live_leaves") + number("live_runs") + number("live_nodes"), number("space_live"));
  uint64_t other = number("reserved_superblocks") + number("reserved_journal") + number("deferred") + number("free") +
                   number("waiting_for_discard");
  assert_int_equal(number("space_live") + other, RIG_SIZE);
  assert_true(sum("leaves") == seen.leaves && sum("leaf_bytes") == seen.leaf_bytes);
  assert_true(sum("records") == seen.records && sum("deletes") == seen.deletes && sum("nodes") == number("nodes"));
  assert_true(sum("runs") == number("runs") && strstr(text, "\"leaves_by_tenths\":[") != NULL);
  store_free(&store);
}

static void test_stats_json__says_how_much_room_it_needs(void **state) {
  (void)state;
  struct store store;
  rig_format(&store, RIG_SIZE, WODAN_COMPRESSION_OFF);
  struct wodan_db *db = rig_open(&store, WODAN_OPEN_INLINE);
  size_t size = 0, again = 0;
  assert_int_equal(wodan_stats_json(db, NULL, 0, &size), WODAN_ERANGE);
  assert_true(size > 1000 && size < WODAN_STATS_JSON_SIZE / 2);
  char *exact = malloc(size + 1);
  assert_int_equal(wodan_stats_json(db, exact, size, &again), WODAN_ERANGE);
  assert_int_equal(wodan_stats_json(db, exact, size + 1, &again), 0);
  assert_true(again == size && strlen(exact) == size);
  free(exact);
  assert_int_equal(wodan_stats_json(db, NULL, 10, &size), WODAN_EINVAL);
  assert_int_equal(wodan_stats_json(db, text, sizeof text, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_stats_json(NULL, text, sizeof text, &size), WODAN_EINVAL);
  assert_int_equal(wodan_close(db, NULL), 0);
  store_free(&store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_stats_json__has_every_number_of_the_struct),
      cmocka_unit_test(test_stats_json__the_tree_is_as_the_image_has_it),
      cmocka_unit_test(test_stats_json__says_how_much_room_it_needs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
