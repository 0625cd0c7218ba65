/* Owns: what a forged volume may answer. See forge_judge.h.
 *
 * Always true: each answer is one of "operation n's value", "absent", an error, or something else; a reading is all answers
 * of one handle, by key, by cursor both ways and in pieces; nothing but readings is compared. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <wodan/wodan.h>
#include "forge_judge.h"
#include "support/image.h"
#include "support/meter.h"

const size_t fuzz_size_max = FORGE_SIZE;
enum { KEYS = FORGE_KEYS + 1, WRITTEN = FORGE_KEYS, SECONDS_MAX = 30, SCAN_MAX = FORGE_SIZE };
enum { ABSENT = 0, FRESH = FORGE_OPERATIONS + 1, FAILED = -1, OTHER = -2 };
static const uint64_t BUDGET = (512 << 10) + 2 * FORGE_SIZE;

static const char *current = ""; /* the case */

struct reading {
  int by_key[KEYS]; /* number of the operation whose value it is, or one of the above */
  int forwards[KEYS], backwards[KEYS], in_pieces[KEYS];
  bool stranger; /* a cursor showed a key that was never put, or none in order */
  unsigned errors;
};

/* ---- answers -------------------------------------------------------------------------------------------------------- */

static size_t key_of(int key, uint8_t out[8]) {
  if (key != WRITTEN) return forge_key((unsigned)key, out);
  memcpy(out, "m new", 5); /* behind all others */
  return 5;
}

static int answer_of(int key, const uint8_t *value, size_t size) {
  uint8_t right[FORGE_VALUE_MAX];
  if (key == WRITTEN) return size == 5 && memcmp(value, "fresh", 5) == 0 ? FRESH : OTHER;
  if (size == 0 || value[0] == 0 || value[0] > FORGE_OPERATIONS) return OTHER;
  const struct forge_operation *operation = forge_operation(value[0]);
  forge_value(value[0], right);
  if (operation->key != key || operation->value_size != size || memcmp(value, right, size) != 0) return OTHER;
  return value[0];
}

static int key_find(struct wodan_slice key) {
  for (int i = 0; i < KEYS; i++) {
    uint8_t bytes[8];
    if (key_of(i, bytes) == key.size && memcmp(bytes, key.data, key.size) == 0) return i;
  }
  return -1;
}

/* What a cursor does not reach before an error is an error. */
static void scan(struct wodan_db *db, bool back, int answers[KEYS], struct reading *reading) {
  struct wodan_cursor *cursor;
  int previous = back ? KEYS : -1;
  for (int i = 0; i < KEYS; i++) answers[i] = FAILED;
  int status = wodan_cursor_open(db, NULL, &cursor);
  if (status == 0) {
    unsigned shown = 0;
    for (status = back ? wodan_cursor_last(cursor) : wodan_cursor_first(cursor); status == 0;
         status = back ? wodan_cursor_prev(cursor) : wodan_cursor_next(cursor)) {
      struct wodan_slice value = wodan_cursor_value(cursor);
      int key = key_find(wodan_cursor_key(cursor));
      if (++shown > SCAN_MAX) fail_msg("%s: a cursor does not end", current);
      if (key < 0 || (back ? key >= previous : key <= previous)) {
        reading->stranger = true;
        continue;
      }
      for (int k = back ? key + 1 : previous + 1; back ? k < previous : k < key; k++) answers[k] = ABSENT;
      answers[key] = !value.data ? FAILED : answer_of(key, value.data, value.size);
      previous = key;
    }
    wodan_cursor_close(cursor);
  }
  if (status == WODAN_DONE)
    for (int k = back ? 0 : previous + 1; back ? k < previous : k < KEYS; k++) answers[k] = ABSENT;
  else
    reading->errors++;
}

/* Of a value that is said to be longer than any here, all that is said must be there: or reading it fails. */
static int get(struct wodan_db *db, int key, struct wodan_slice name) {
  uint8_t value[FORGE_VALUE_MAX];
  size_t size = 0;
  void *longer = NULL;
  int status = wodan_get(db, NULL, name, value, sizeof value, &size);
  if (status == 0) return answer_of(key, value, size);
  if (status == WODAN_ERANGE) status = wodan_get_alloc(db, NULL, name, &longer, &size);
  if (status == WODAN_ENOMEM) fail_msg("%s: memory was wanted for a size that cannot be", current);
  if (status == 0) wodan_free(db, longer);
  return status == 0 ? OTHER : status == WODAN_ENOTFOUND ? ABSENT : FAILED;
}

static int get_in_pieces(struct wodan_db *db, int key, struct wodan_slice name) {
  enum { PIECE = 700 };
  uint8_t value[FORGE_VALUE_MAX + PIECE];
  struct wodan_value_reader *reader;
  size_t size = 0, piece = 0;
  int status = wodan_value_reader_open(db, NULL, name, &reader, NULL);
  if (status < 0) return status == WODAN_ENOTFOUND ? ABSENT : FAILED;
  do {
    status = wodan_value_reader_read(reader, value + size, PIECE, &piece);
    size += piece;
  } while (status == 0 && piece && size <= FORGE_VALUE_MAX);
  wodan_value_reader_close(reader);
  return status < 0 ? FAILED : answer_of(key, value, size);
}

static void read_all(struct wodan_db *db, struct reading *reading) {
  *reading = (struct reading){0};
  for (int i = 0; i < KEYS; i++) {
    uint8_t key[8];
    struct wodan_slice name = {key, key_of(i, key)};
    reading->by_key[i] = get(db, i, name);
    reading->in_pieces[i] = get_in_pieces(db, i, name);
    reading->errors += reading->by_key[i] == FAILED;
    reading->errors += reading->in_pieces[i] == FAILED;
  }
  scan(db, false, reading->forwards, reading);
  scan(db, true, reading->backwards, reading);
}

/* ---- the model ------------------------------------------------------------------------------------------------------ */

static void operate(uint32_t number, int content[KEYS]) {
  const struct forge_operation *operation = forge_operation(number);
  bool puts = operation->kind == FORGE_PUTS || operation->kind == FORGE_PUTS_LARGE;
  content[operation->key] = puts ? (int)number : ABSENT;
  for (unsigned key = operation->key; key < operation->end; key++) content[key] = ABSENT;
}

/* After operation `version`; `fresh`: and the judge's own write. */
static void content_at(uint32_t version, bool fresh, int content[KEYS]) {
  for (int i = 0; i < KEYS; i++) content[i] = ABSENT;
  for (uint32_t n = 1; n <= version; n++) operate(n, content);
  if (fresh) content[WRITTEN] = FRESH;
}

/* No answer differs from the content; the first that does, in `why`. */
static bool agrees(const struct reading *reading, const int content[KEYS], char *why, size_t room) {
  static const char *const ways[] = {"by key", "forwards", "backwards", "in pieces"};
  const int *answers[] = {reading->by_key, reading->forwards, reading->backwards, reading->in_pieces};
  if (reading->stranger) {
    snprintf(why, room, "a cursor shows a key that was never put, or keys out of order");
    return false;
  }
  for (int way = 0; way < 4; way++)
    for (int i = 0; i < KEYS; i++)
      if (answers[way][i] != FAILED && answers[way][i] != content[i]) {
        snprintf(why, room, "%s, key %d is of operation %d, not %d", ways[way], i, answers[way][i], content[i]);
        return false;
      }
  return true;
}

/* The newest version that agrees; -1: none. An older one must be whole, unless it was asked for. */
static int version_of(const struct reading *reading, bool older, char *why, size_t room) {
  int content[KEYS];
  char ignored[160];
  content_at(FORGE_OPERATIONS, false, content);
  if (agrees(reading, content, why, room)) return FORGE_OPERATIONS;
  for (int version = FORGE_OPERATIONS - 1; version >= 0 && (older || reading->errors == 0); version--) {
    content_at((uint32_t)version, false, content);
    if (agrees(reading, content, ignored, sizeof ignored)) return version;
  }
  return -1;
}

/* ---- the handle ----------------------------------------------------------------------------------------------------- */

struct session {
  struct kept_bytes kept;
  struct meter meter;
  struct wodan_db *db;
  const char *name;
};

/* An assert of the product, or no end. */
static void on_signal(int number) {
  const char *text = number == SIGALRM ? " does not end\n" : " ends the program\n";
  if (write(2, current, strlen(current)) < 0 || write(2, text, strlen(text)) < 0) _exit(3);
  signal(SIGABRT, SIG_DFL);
  abort();
}

static int open_with(struct session *s, uint32_t flags) {
  s->meter = (struct meter){0};
  struct wodan_open_options options = {
      .flags = flags | WODAN_OPEN_INLINE, .memory_budget = BUDGET, .allocator = meter_hooks(&s->meter)};
  struct wodan_error error = {0};
  struct wodan_device *device = kept_plug(&s->kept, FORGE_BLOCK, flags & WODAN_OPEN_READ_ONLY);
  int status = wodan_open(device, &options, &s->db, &error);
  if (status == 0) return 0;
  wodan_device_close(device);
  if (s->meter.used) fail_msg("%s: an open that failed keeps %zu bytes", s->name, s->meter.used);
  if (status != WODAN_ECORRUPT && status != WODAN_EFORMAT && status != WODAN_EVERSION && status != WODAN_EBUDGET)
    fail_msg("%s: open answers %d: %s", s->name, status, error.message);
  if (error.code != status || !error.message[0]) fail_msg("%s: an open that failed does not say why", s->name);
  return status;
}

static void close_it(struct session *s) {
  wodan_close(s->db, NULL);
  if (s->meter.used) fail_msg("%s: %zu bytes were not given back", s->name, s->meter.used);
  if (s->meter.peak > BUDGET) fail_msg("%s: %zu bytes of memory were taken", s->name, s->meter.peak);
}

/* What the fuzz targets demand of a check is demanded here too. */
static bool check_finds(struct session *s) {
  struct wodan_check_report report;
  return image_check(&s->kept, &report) < 0 || report.damages || !report.complete;
}

/* Reads; what it shows agrees with what was shown before (`expected`), where that is known. */
static void expect_same(struct session *s, const struct reading *before, bool fresh, struct forge_report *report) {
  struct reading now;
  read_all(s->db, &now);
  char why[160];
  int expected[KEYS];
  memcpy(expected, before->by_key, sizeof expected);
  /* A key that could not be read may be so by another way. */
  for (int i = 0; i < KEYS; i++) {
    if (expected[i] == FAILED) expected[i] = before->forwards[i];
    if (expected[i] == FAILED) expected[i] = before->backwards[i];
    if (expected[i] == FAILED) expected[i] = now.by_key[i];
    if (expected[i] == FAILED) expected[i] = now.forwards[i];
    if (expected[i] == FAILED) expected[i] = now.backwards[i];
  }
  if (fresh) expected[WRITTEN] = FRESH;
  if (agrees(&now, expected, why, sizeof why)) return;
  report->verdict = FORGE_WRONG;
  snprintf(report->why, sizeof report->why, "after a write: %.140s", why);
}

/* A durable write, a sweep of all there is, a close and a mount change nothing else. */
static void write_some(struct session *s, const struct reading *before, struct forge_report *report) {
  uint8_t key[8];
  size_t size = key_of(WRITTEN, key);
  struct wodan_commit durable = {.durability = WODAN_DURABLE};
  int status = wodan_put(s->db, (struct wodan_slice){key, size}, (struct wodan_slice){"fresh", 5}, &durable);
  expect_same(s, before, status == 0, report);
  wodan_checkpoint(s->db, NULL);
  wodan_compact(s->db, NULL, NULL, 0, NULL);
  expect_same(s, before, status == 0, report);
  close_it(s);
  int again = open_with(s, 0);
  if (again < 0) {
    if (report->verdict == FORGE_RIGHT) fail_msg("%s: right, and no longer opens after a write (%d)", s->name, again);
    return;
  }
  expect_same(s, before, status == 0, report);
  close_it(s);
}

void forge_judge(uint8_t image[FORGE_SIZE], const char *name, struct forge_report *report) {
  struct session s = {.kept = {.data = image, .size = FORGE_SIZE}, .name = name};
  struct reading reading;
  current = name;
  signal(SIGALRM, on_signal);
  signal(SIGABRT, on_signal);
  alarm(SECONDS_MAX);
  *report = (struct forge_report){.verdict = FORGE_REFUSED};
  report->found = check_finds(&s);
  bool opened = open_with(&s, WODAN_OPEN_READ_ONLY) == 0;
  if (opened) {
    read_all(s.db, &reading);
    close_it(&s);
    int version = version_of(&reading, false, report->why, sizeof report->why);
    report->verdict = version < 0                  ? FORGE_WRONG
                      : version < FORGE_OPERATIONS ? FORGE_OLDER
                      : reading.errors             ? FORGE_TOLD
                                                   : FORGE_RIGHT;
    if (!report->found && reading.errors) fail_msg("%s: the check finds it whole, but reads fail", name);
  } else if (open_with(&s, WODAN_OPEN_READ_ONLY | WODAN_OPEN_OLDER_ROOT) == 0) {
    struct reading older;
    read_all(s.db, &older);
    close_it(&s);
    if (version_of(&older, true, report->why, sizeof report->why) < 0) report->verdict = FORGE_WRONG;
  }
  if (s.kept.writes || s.kept.flushes || s.kept.barriers) fail_msg("%s: a reader wrote", name);
  if (open_with(&s, 0) == 0) {
    struct reading again;
    read_all(s.db, &again);
    if (opened && memcmp(&again, &reading, sizeof again) != 0)
      fail_msg("%s: a writer reads otherwise than a reader", name);
    write_some(&s, &again, report);
  }
  alarm(0);
  if (s.kept.read_bytes > 1000ull * FORGE_SIZE)
    fail_msg("%s: %llu bytes were read", name, (unsigned long long)s.kept.read_bytes);
}
