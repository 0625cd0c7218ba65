/* port_image: the same history on every machine. tools/ports.sh builds it for processors of other byte orders and word
 * sizes, lets one go on where another stopped, and compares the images byte for byte.
 *
 *   port_image write FILE SHAPE SEED ROUND    one round of the history; round 0 formats first. Ends without a close
 *   port_image check FILE SHAPE SEED ROUNDS   checks the image and compares all of it with what rounds 0..ROUNDS-1 leave
 *   port_image shapes                         their names
 *
 * Always true: all that reaches the device follows from SHAPE, SEED and the rounds: the hook's random bytes are seeded, and
 * nothing runs in the background. Each round ends with durable operations that only the journal holds. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wodan/wodan.h>

#include "support/random.h"

struct shape {
  const char *name;
  uint64_t size; /* of the image */
  struct wodan_format_options format;
  uint32_t keys, operations, value_max; /* different keys; operations a round */
};

static const struct shape SHAPES[] = {
    {"tiny", 128u << 10, {.node_leaves = 4, .node_children = 4}, 400, 600, 80},
    {"pages", 4u << 20, {.block_size = 1024, .page_size = 2048, .node_leaves = 8, .node_children = 4}, 6000, 9000, 200},
    {"usual", 16u << 20, {.block_size = 0}, 12000, 16000, 700},
};

enum { KEYS_MOST = 12000, KEY_ROOM = 96, VALUE_ROOM = 1024 };

/* ---- the history ---------------------------------------------------------------------------------------------------- */

/* The truth: the number of the operation that wrote each key last; 0: absent. */
static uint32_t versions[KEYS_MOST];

/* Keys of all lengths, with bytes on both sides of 0x80 where signed and unsigned order differ. */
static struct wodan_slice key_of(uint32_t key, uint8_t out[KEY_ROOM]) {
  uint64_t state = key;
  size_t size = 5 + random_below(&state, 60);
  for (size_t i = 0; i < size; i++) out[i] = (uint8_t)(random_next(&state) >> 32);
  out[1] = (uint8_t)(key >> 8);
  out[2] = (uint8_t)key;
  out[0] = (uint8_t)(key * 41u);
  return (struct wodan_slice){out, size};
}

static struct wodan_slice value_of(const struct shape *shape, uint32_t version, uint8_t out[VALUE_ROOM]) {
  uint64_t state = version * 77ull;
  size_t size = random_below(&state, shape->value_max + 1);
  for (size_t i = 0; i < size; i++) out[i] = (uint8_t)(random_next(&state) >> 24);
  return (struct wodan_slice){out, size};
}

static int failed(const char *what, int status, const struct wodan_error *error) {
  fprintf(stderr, "port_image: %s: %s\n", what, error && error->message[0] ? error->message : wodan_strerror(status));
  return 1;
}

/* Operation i of the round: on `db`, and in the truth; db NULL: in the truth only. */
static int operate(struct wodan_db *db, const struct shape *shape, uint64_t *random, uint32_t version) {
  uint8_t key_room[KEY_ROOM], value_room[VALUE_ROOM];
  uint32_t key = (uint32_t)random_below(random, shape->keys), what = (uint32_t)random_below(random, 1000);
  struct wodan_slice name = key_of(key, key_room);
  struct wodan_commit durable = {.durability = what % 50 == 0 ? WODAN_DURABLE : WODAN_BUFFERED};
  bool put = what < 850;
  versions[key] = put ? version : 0;
  if (!db) return 0;
  int status =
      put ? wodan_put(db, name, value_of(shape, version, value_room), &durable) : wodan_delete(db, name, &durable);
  if (status == 0 && what == 999) status = wodan_checkpoint(db, NULL);
  return status;
}

static int play(struct wodan_db *db, const struct shape *shape, uint64_t seed, uint32_t round) {
  uint64_t random = seed * 1000003u + round;
  int status = 0;
  for (uint32_t i = 0; i < shape->operations && status == 0; i++)
    status = operate(db, shape, &random, round * shape->operations + i + 1);
  uint8_t key_room[KEY_ROOM];
  struct wodan_commit durable = {.durability = WODAN_DURABLE};
  versions[0] = 0;
  if (status == 0 && db) status = wodan_sync(db);
  /* What is due may end in a checkpoint right behind it: deletes until one stays in the journal. */
  struct wodan_stats before = {.size = sizeof before}, after = before;
  do {
    if (status == 0 && db) status = wodan_stats(db, &before);
    if (status == 0 && db) status = wodan_delete(db, key_of(0, key_room), &durable);
    if (status == 0 && db) status = wodan_stats(db, &after);
  } while (status == 0 && after.checkpoints != before.checkpoints);
  return status;
}

/* ---- writing -------------------------------------------------------------------------------------------------------- */

/* The hook. Bytes one at a time, so that the machine's byte order has no part in them. */
static int seeded(void *context, void *buffer, size_t size) {
  uint8_t *bytes = buffer;
  for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(random_next(context) >> 8);
  return 0;
}

static int make(const char *path, const struct shape *shape, uint64_t *random) {
  struct wodan_error error = {0};
  struct wodan_device *device = NULL;
  struct wodan_format_options options = shape->format;
  options.size = sizeof options;
  options.hooks = (struct wodan_hooks){.context = random, .random = seeded};
  unlink(path);
  int status = wodan_path_device(path, WODAN_PATH_CREATE, shape->size, &device, &error);
  if (status < 0) return failed(path, status, &error);
  status = wodan_format(device, &options, &error);
  wodan_device_close(device);
  return status < 0 ? failed("format", status, &error) : 0;
}

/* One round in a handle of its own, left behind as a killed process leaves it: nothing is written after the last sync. */
static int write_round(const char *path, const struct shape *shape, uint64_t seed, uint32_t round) {
  struct wodan_error error = {0};
  struct wodan_db *db = NULL;
  uint64_t random = seed ^ (uint64_t)(round + 1) << 32;
  if (round == 0 && make(path, shape, &random)) return 1;
  const struct wodan_open_options options = {.size = sizeof options,
                                             .flags = WODAN_OPEN_INLINE,
                                             .discard = WODAN_DISCARD_OFF, /* its moments are the clock's */
                                             .hooks = {.context = &random, .random = seeded}};
  int status = wodan_open_path(path, &options, &db, &error);
  if (status < 0) return failed("open", status, &error);
  status = play(db, shape, seed, round);
  return status < 0 ? failed("a round", status, NULL) : 0; /* db is left: a close would write a checkpoint */
}

/* ---- checking ------------------------------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b) {
  uint8_t left_room[KEY_ROOM], right_room[KEY_ROOM];
  struct wodan_slice left = key_of(*(const uint32_t *)a, left_room), right = key_of(*(const uint32_t *)b, right_room);
  int order = memcmp(left.data, right.data, left.size < right.size ? left.size : right.size);
  return order ? order : (left.size > right.size) - (left.size < right.size);
}

static bool same(struct wodan_slice a, struct wodan_slice b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static int compare_cursor(struct wodan_db *db, const struct shape *shape, const uint32_t *sorted, bool back) {
  uint8_t key_room[KEY_ROOM], value_room[VALUE_ROOM];
  struct wodan_cursor *cursor = NULL;
  int status = wodan_cursor_open(db, NULL, &cursor);
  if (status < 0) return failed("cursor", status, NULL);
  status = back ? wodan_cursor_last(cursor) : wodan_cursor_first(cursor);
  for (uint32_t i = 0; i < shape->keys; i++) {
    uint32_t key = sorted[back ? shape->keys - 1 - i : i];
    if (!versions[key]) continue;
    if (status != 0 || !same(wodan_cursor_key(cursor), key_of(key, key_room)) ||
        !same(wodan_cursor_value(cursor), value_of(shape, versions[key], value_room))) {
      fprintf(stderr, "port_image: the cursor shows another record than key %u, version %u\n", (unsigned)key,
              (unsigned)versions[key]);
      status = -1;
      break;
    }
    status = back ? wodan_cursor_prev(cursor) : wodan_cursor_next(cursor);
  }
  wodan_cursor_close(cursor);
  return status == WODAN_DONE ? 0 : failed(back ? "the cursor, backwards" : "the cursor", status, NULL);
}

static int compare_lookups(struct wodan_db *db, const struct shape *shape) {
  uint8_t key_room[KEY_ROOM], value_room[VALUE_ROOM], got[VALUE_ROOM];
  for (uint32_t key = 0; key < shape->keys; key++) {
    size_t size = 0;
    int status = wodan_get(db, NULL, key_of(key, key_room), got, sizeof got, &size);
    bool right = versions[key]
                     ? status == 0 && same((struct wodan_slice){got, size}, value_of(shape, versions[key], value_room))
                     : status == WODAN_ENOTFOUND;
    if (right) continue;
    fprintf(stderr, "port_image: key %u: status %d, version %u was due\n", (unsigned)key, status,
            (unsigned)versions[key]);
    return 1;
  }
  return 0;
}

static void show(void *context, const struct wodan_finding *finding) {
  (void)context;
  fprintf(stderr, "port_image: WF%04u %s\n", (unsigned)finding->id, finding->message);
}

static int check_structure(const char *path) {
  struct wodan_error error = {0};
  struct wodan_device *device = NULL;
  struct wodan_check_report report;
  const struct wodan_check_options options = {.size = sizeof options, .finding = show};
  int status = wodan_path_device(path, WODAN_PATH_READ_ONLY, 0, &device, &error);
  if (status < 0) return failed(path, status, &error);
  status = wodan_check(device, &options, &report, &error);
  wodan_device_close(device);
  if (status < 0) return failed("check", status, &error);
  if (report.damages || report.warnings || !report.complete || report.journal_records == 0)
    return failed("check: damage, or nothing in the journal", WODAN_ECORRUPT, NULL);
  printf("%" PRIu64 " records in %" PRIu64 " runs and leaves, %" PRIu64 " in the journal; ", report.records,
         report.runs + report.leaves, report.journal_records);
  return 0;
}

static int check_content(const char *path, const struct shape *shape, uint64_t seed, uint32_t rounds) {
  static uint32_t sorted[KEYS_MOST];
  struct wodan_error error = {0};
  struct wodan_db *db = NULL;
  const struct wodan_open_options options = {.size = sizeof options, .flags = WODAN_OPEN_READ_ONLY};
  memset(versions, 0, sizeof versions);
  for (uint32_t round = 0; round < rounds; round++) play(NULL, shape, seed, round);
  for (uint32_t i = 0; i < shape->keys; i++) sorted[i] = i;
  qsort(sorted, shape->keys, sizeof *sorted, by_key);
  int status = wodan_open_path(path, &options, &db, &error);
  if (status < 0) return failed("open", status, &error);
  int wrong =
      compare_cursor(db, shape, sorted, false) || compare_cursor(db, shape, sorted, true) || compare_lookups(db, shape);
  status = wodan_close(db, &error);
  if (status < 0) return failed("close", status, &error);
  if (!wrong) printf("all %u keys right\n", (unsigned)shape->keys);
  return wrong;
}

static int check(const char *path, const struct shape *shape, uint64_t seed, uint32_t rounds) {
  return check_structure(path) || check_content(path, shape, seed, rounds);
}

/* ---- the command ---------------------------------------------------------------------------------------------------- */

static const struct shape *shape_named(const char *name) {
  for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++)
    if (strcmp(SHAPES[i].name, name) == 0) return &SHAPES[i];
  return NULL;
}

static uint32_t number(const char *text) { return (uint32_t)strtoul(text, NULL, 0); }

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "shapes") == 0) {
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) puts(SHAPES[i].name);
    return 0;
  }
  const struct shape *shape = argc == 6 ? shape_named(argv[3]) : NULL;
  if (shape && strcmp(argv[1], "write") == 0)
    _exit(write_round(argv[2], shape, strtoull(argv[4], NULL, 0), number(argv[5]))); /* killed: no handle is closed */
  if (shape && strcmp(argv[1], "check") == 0) return check(argv[2], shape, strtoull(argv[4], NULL, 0), number(argv[5]));
  fprintf(stderr, "usage: port_image write FILE SHAPE SEED ROUND | check FILE SHAPE SEED ROUNDS | shapes\n");
  return 2;
}
