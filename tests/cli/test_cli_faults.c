/* The commands while memory and the image's I/O fail: the n-th allocation, read, write, flush or open fails, once, from
 * there on, or once with lies behind it, on a fresh image each time.
 *
 * Always true: the command ends by itself with the exit code that the fault has, says one sentence on standard error when
 * that is not 0 and nothing when it is, and then prints what it prints without faults; JSON is whole; a command that reads
 * has written nothing; one that writes leaves an image that the check finds whole, with a prefix of its changes, which
 * holds all that it said was durable, and is all of them when it says so. Every verb of `wodan --help` has a row.
 *
 * Usage: test_cli_faults WODAN WODAN-FSCK SHIM. About SAMPLES calls of each kind, evenly from a seeded start
 * (WODAN_FAULT_SEED); WODAN_ALL_FAULTS=1: each. WODAN_FAULT_ROW=NAME: one row.
 *
 * See: tests/cli/fault_shim.c, docs/verification.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wodan/wodan.h>

#include "fault_board.h"
#include "support/mirage_craft.h"
#include "support/random.h"

enum {
  SAMPLES = 10,
  IMAGE = 128 << 10,
  KEYS = 420,
  MORE = 60,
  BATCH = 7,
  KEY_SIZE = 6,
  OUT_MAX = 1 << 20,
  ARGUMENTS = 10
};

/* ---- the rows --------------------------------------------------------------------------------------------------- */

enum effect {
  READS,   /* and nothing else */
  CHANGES, /* the keys of its change, in order */
  FILLS,   /* puts records of its own */
  FORMATS, /* a new image */
  REPLACES /* the image by an empty one */
};

/* What a verb makes of the keys, in their order. */
enum change { NOTHING, PUTS_ONE, LOADS, DELETES_ONE, DELETES_SOME, DELETES_ALL };

struct row {
  const char *name;
  enum effect effect;
  enum change change;
  bool varies; /* prints figures that differ from run to run */
  const char *arguments[ARGUMENTS];
};

static const struct row rows[] = {
    {"get", READS, 0, false, {"get", "work.img", "key0042"}},
    {"get --json", READS, 0, false, {"get", "work.img", "key0042", "--json"}},
    {"scan", READS, 0, false, {"scan", "work.img"}},
    {"scan --json", READS, 0, false, {"scan", "work.img", "--json", "--reverse"}},
    {"scan --prefix", READS, 0, false, {"scan", "work.img", "--prefix", "6b65793032", "--hex"}},
    {"dump", READS, 0, false, {"dump", "work.img"}},
    {"dump --json", READS, 0, false, {"dump", "work.img", "--json"}},
    {"dump base64", READS, 0, false, {"dump", "work.img", "--format", "base64"}},
    {"info", READS, 0, false, {"info", "work.img"}},
    {"info --json", READS, 0, false, {"info", "work.img", "--json"}},
    {"stat", READS, 0, true, {"stat", "work.img"}},
    {"stat --json", READS, 0, true, {"stat", "work.img", "--json"}},
    {"map", READS, 0, false, {"map", "work.img", "--ansi"}},
    {"map --json", READS, 0, false, {"map", "work.img", "--json"}},
    {"map svg", READS, 0, false, {"map", "work.img", "-"}},
    {"map svg file", READS, 0, false, {"map", "work.img", "map.svg"}},
    {"tree", READS, 0, false, {"tree", "work.img", "--runs", "--leaves"}},
    {"tree --json", READS, 0, false, {"tree", "work.img", "--runs", "--leaves", "--json"}},
    {"path", READS, 0, false, {"path", "work.img", "key0042"}},
    {"path --json", READS, 0, false, {"path", "work.img", "key0042", "--json"}},
    {"node", READS, 0, false, {"node", "work.img", "@node"}},
    {"node --json", READS, 0, false, {"node", "work.img", "@node", "--json"}},
    {"page", READS, 0, false, {"page", "work.img", "@leaf"}},
    {"page --json", READS, 0, false, {"page", "work.img", "@leaf", "--json"}},
    {"block", READS, 0, false, {"block", "work.img", "0"}},
    {"block --json", READS, 0, false, {"block", "work.img", "0", "--json"}},
    {"journal", READS, 0, false, {"journal", "work.img", "--all"}},
    {"journal --json", READS, 0, false, {"journal", "work.img", "--json"}},
    {"image", READS, 0, true, {"image", "--metadata-only", "--force", "work.img", "copy.img"}},
    {"image --json",
     READS,
     0,
     true,
     {"image", "--metadata-only", "--scramble", "--force", "--json", "work.img", "copy.img"}},
    {"fsck", READS, 0, false, {"-v", "work.img"}},
    {"fsck --json", READS, 0, false, {"--json", "work.img"}},
    {"fsck --list-roots", READS, 0, false, {"--list-roots", "work.img"}},
    {"fsck --list-roots --json", READS, 0, false, {"--list-roots", "--json", "work.img"}},
    {"fsck --mirage", READS, 0, false, {"--mirage", "theirs.img"}},
    {"fsck --mirage roots", READS, 0, false, {"--mirage", "--list-roots", "--json", "theirs.img"}},
    {"crash", READS, 0, true, {"crash", "--ops", "1", "--seconds", "0", "--jobs", "1", "--geometry", "tiny"}},
    {"crash --json", READS, 0, true, {"crash", "--ops", "1", "--seconds", "0", "--jobs", "1", "-g", "tree", "--json"}},
    {"bench", FILLS, 0, true, {"bench", "work.img", "--workload", "fillrandom,readrandom", "--num", "50"}},
    {"bench --json", FILLS, 0, true, {"bench", "work.img", "--workload", "fillseq,readseq", "--num", "50", "--json"}},
    {"put", CHANGES, PUTS_ONE, false, {"put", "work.img", "new000", "value", "--inline"}},
    {"put --json", CHANGES, PUTS_ONE, false, {"put", "work.img", "new000", "value", "--json"}},
    {"del", CHANGES, DELETES_ONE, false, {"del", "work.img", "key0000", "--inline"}},
    {"del --json", CHANGES, DELETES_ONE, false, {"del", "work.img", "key0000", "--json"}},
    {"del --from", CHANGES, DELETES_SOME, false, {"del", "work.img", "--from", "key00", "--to", "key01", "--inline"}},
    {"del --prefix", CHANGES, DELETES_SOME, false, {"del", "work.img", "--prefix", "key00", "--inline"}},
    {"del --all", CHANGES, DELETES_ALL, false, {"del", "work.img", "--all", "--json", "--inline"}},
    {"load", CHANGES, LOADS, false, {"load", "work.img", "more.tsv", "--batch", "7", "--ack", "--inline"}},
    {"load jsonl",
     CHANGES,
     LOADS,
     true,
     {"load", "work.img", "--format", "jsonl", "--batch", "7", "--ack", "--stats", "--inline"}},
    {"load --json", CHANGES, LOADS, true, {"load", "work.img", "more.tsv", "--batch", "7", "--json", "--stats"}},
    {"import-mirage",
     CHANGES,
     LOADS,
     false,
     {"import-mirage", "theirs.img", "work.img", "--batch", "7", "--json", "--inline"}},
    {"compact", CHANGES, NOTHING, true, {"compact", "work.img", "--inline"}},
    {"compact --json", CHANGES, NOTHING, true, {"compact", "work.img", "--json", "--from", "key01"}},
    {"trim", CHANGES, NOTHING, true, {"trim", "work.img"}},
    {"trim --json", CHANGES, NOTHING, true, {"trim", "work.img", "--json", "--rate", "100M"}},
    {"trim --dry-run", READS, 0, true, {"trim", "work.img", "--dry-run", "--minimum", "4K"}},
    {"format", FORMATS, 0, false, {"format", "new.img", "--size", "64K"}},
    {"format --json", FORMATS, 0, false, {"format", "new.img", "--size", "64K", "--preallocate", "--json"}},
    {"format --force", REPLACES, 0, false, {"format", "work.img", "--force"}},
};
enum { ROWS = sizeof rows / sizeof *rows };

/* ---- the world -------------------------------------------------------------------------------------------------- */

static struct {
  const char *wodan, *fsck, *shim;
  char folder[64], node[24], leaf[24];
  uint8_t before[IMAGE];
  struct fault_board *board;
  int board_fd;
  uint64_t seed;
  bool each;
  bool told;                      /* of the fault at hand, that something is wrong */
  uint64_t faults, struck, wrong; /* of all rows */
} world;

/* What a command left. */
struct answer {
  int code; /* exit code; 1000 and more: a signal */
  size_t out_size, err_size;
  char out[OUT_MAX + 1], err[4097];
};
static struct answer whole, answer;

static void write_file(const char *name, const void *bytes, size_t size) {
  int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, bytes, size), (ssize_t)size);
  close(fd);
}

static size_t read_file(const char *name, char *bytes, size_t room) {
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t size = read(fd, bytes, room);
  close(fd);
  assert_true(size >= 0);
  return (size_t)size;
}

/* Key number n of all that there ever are, in their order, and its value: first those that are there, then those loaded. */
static void key_of(unsigned n, char key[16], char value[80]) {
  if (n < KEYS)
    snprintf(key, 16, "key%04u", n);
  else
    snprintf(key, 16, "new%03u", n - KEYS);
  snprintf(value, 80, n == KEYS ? "value" : "value %u, which is long enough to fill a page or two", n);
}

static int note_object(void *context, const struct wodan_object *object) {
  (void)context;
  if (object->kind == WODAN_OBJECT_NODE)
    snprintf(world.node, sizeof world.node, "%llu", (unsigned long long)object->block);
  if (object->kind == WODAN_OBJECT_LEAF)
    snprintf(world.leaf, sizeof world.leaf, "%llu", (unsigned long long)object->block);
  return 0;
}

static int seeded(void *context, void *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) ((uint8_t *)bytes)[i] = (uint8_t)random_next(context);
  return 0;
}

/* before.img: a tree of two levels, cleanly closed; node and leaf are blocks of it. */
static void make_image(void) {
  struct wodan_device *device;
  struct wodan_error error;
  struct wodan_db *db;
  struct wodan_inspect *inspect;
  uint64_t random = 7;
  struct wodan_hooks hooks = {.context = &random, .random = seeded};
  assert_int_equal(wodan_path_device("before.img", WODAN_PATH_CREATE, IMAGE, &device, &error), 0);
  struct wodan_format_options format = {.node_leaves = 4, .node_children = 4, .hooks = hooks};
  assert_int_equal(wodan_format(device, &format, &error), 0);
  struct wodan_open_options options = {.flags = WODAN_OPEN_INLINE, .hooks = hooks};
  assert_int_equal(wodan_open(device, &options, &db, &error), 0);
  for (unsigned n = 0; n < KEYS; n++) {
    char key[16], value[80];
    key_of(n, key, value);
    assert_int_equal(
        wodan_put(db, (struct wodan_slice){key, strlen(key)}, (struct wodan_slice){value, strlen(value)}, NULL), 0);
  }
  assert_int_equal(wodan_close(db, &error), 0);
  assert_int_equal(wodan_path_device("before.img", WODAN_PATH_READ_ONLY, 0, &device, &error), 0);
  assert_int_equal(wodan_inspect_open(device, NULL, &inspect, &error), 0);
  assert_int_equal(wodan_inspect_tree(inspect, WODAN_NEWEST_ROOT, note_object, NULL, &error), 0);
  wodan_inspect_close(inspect);
  wodan_device_close(device);
  assert_int_equal(read_file("before.img", (char *)world.before, IMAGE), IMAGE);
}

/* The same records in an image of MirageOS Wodan, in its root. */
static void make_mirage(void) {
  enum { BLOCK = 8192, ROOT = 1, FEATURES = 7 };
  struct craft craft;
  craft_begin(&craft, BLOCK, KEY_SIZE, 4, FEATURES);
  craft_node(&craft, ROOT, CRAFT_ROOT, 1, 0);
  for (unsigned n = KEYS; n < KEYS + MORE; n++) {
    char key[16], value[80];
    key_of(n, key, value);
    craft_text(&craft, ROOT, key, value);
  }
  craft_seal(&craft, ROOT);
  write_file("theirs.img", (const char *)craft.bytes, craft.size);
  craft_free(&craft);
}

static void make_records(void) {
  static char tsv[MORE * 100], jsonl[MORE * 140];
  size_t t = 0, j = 0;
  for (unsigned n = KEYS; n < KEYS + MORE; n++) {
    char key[16], value[80];
    key_of(n, key, value);
    t += (size_t)snprintf(tsv + t, sizeof tsv - t, "%s\t%s\n", key, value);
    j += (size_t)snprintf(jsonl + j, sizeof jsonl - j, "{\"key\":\"%s\",\"value\":\"%s\"}\n", key, value);
  }
  write_file("more.tsv", tsv, t);
  write_file("in", jsonl, j);
}

static bool is_fsck(const struct row *row) { return strncmp(row->name, "fsck", 4) == 0; }

static void start_command(const struct row *row) {
  const char *argv[ARGUMENTS + 2] = {is_fsck(row) ? world.fsck : world.wodan};
  for (int i = 0; i < ARGUMENTS; i++) {
    const char *argument = row->arguments[i];
    if (argument && strcmp(argument, "@node") == 0) argument = world.node;
    if (argument && strcmp(argument, "@leaf") == 0) argument = world.leaf;
    argv[i + 1] = argument;
  }
  alarm(60); /* it hangs: a signal ends it */
  dup2(open("in", O_RDONLY), STDIN_FILENO);
  dup2(open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO);
  dup2(open("err", O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
  setenv("LD_PRELOAD", world.shim, 1);
  execv(argv[0], (char **)(uintptr_t)argv);
  _exit(98);
}

/* One run on a fresh image; at 0: without a fault. */
static void run(const struct row *row, uint32_t kind, uint32_t mode, uint64_t at, struct answer *into) {
  int status;
  write_file("work.img", world.before, IMAGE);
  unlink("new.img");
  memset(world.board, 0, sizeof *world.board);
  world.board->kind = kind, world.board->mode = mode, world.board->at = at;
  fflush(NULL);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) start_command(row);
  assert_int_equal(waitpid(child, &status, 0), child);
  into->code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  into->out_size = read_file("out", into->out, OUT_MAX);
  into->err_size = read_file("err", into->err, sizeof into->err - 1);
  into->out[into->out_size] = into->err[into->err_size] = 0;
}

/* ---- the judge -------------------------------------------------------------------------------------------------- */

struct fault {
  const struct row *row;
  uint32_t kind, mode;
  uint64_t at;
};

static const char *const kind_names[] = {"", "allocation", "read", "write", "flush", "open"};
static const char *const mode_names[] = {"once", "from there on", "once, then lies"};

/* Tells the first thing that is wrong with a fault; the loop goes on. */
static void wrong(const struct fault *f, const char *why) {
  if (world.told) return;
  world.told = true;
  print_error("%s, %s %llu fails %s: %s (exit code %d; out: %.200s; err: %.500s)\n", f->row->name, kind_names[f->kind],
              (unsigned long long)f->at, mode_names[f->mode], why, answer.code, answer.out, answer.err);
}

/* 0: nothing is to be seen of the fault. 4: an error of the system; 3 and fsck's 4: shown as damage. */
static bool code_fits(const struct fault *f) {
  int code = answer.code, failed = is_fsck(f->row) ? 8 : 4, damaged = is_fsck(f->row) ? 4 : 3;
  bool struck = atomic_load(&world.board->struck) > 0;
  if (!struck) return code == whole.code;
  if (f->kind == FAULT_MEMORY || f->kind == FAULT_OPEN) return code == whole.code || code == failed;
  if (f->kind == FAULT_READ) return code == whole.code || code == failed || code == damaged;
  return code == failed;
}

static size_t lines_of(const char *text) {
  size_t lines = 0;
  for (; *text; text++) lines += *text == '\n';
  return lines;
}

/* Strings end, brackets match, a newline is last. */
static bool json_is_whole(const char *text, size_t size) {
  char open_brackets[32];
  size_t depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < size; i++) {
    char c = text[i];
    if (quoted) {
      if (c == '\\') i++;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (depth == sizeof open_brackets) return false;
      open_brackets[depth++] = c;
    } else if (c == '}' || c == ']') {
      if (depth == 0 || open_brackets[--depth] != (c == '}' ? '{' : '[')) return false;
    }
  }
  return !quoted && depth == 0 && size > 0 && text[size - 1] == '\n';
}

static void judge_words(const struct fault *f) {
  bool json = strstr(f->row->name, "json") && !strstr(f->row->name, "jsonl");
  if (!code_fits(f)) wrong(f, "not the exit code of such a fault");
  if (answer.code == whole.code) {
    if (answer.err_size) wrong(f, "done, and yet a complaint");
    bool same = answer.out_size == whole.out_size && memcmp(answer.out, whole.out, whole.out_size) == 0;
    /* What a false read hides: of the previous root info tells "there is none", a block of the journal is "invalid", the
     * check notes that. */
    static const char *const showing[] = {"info", "journal", "map", "fsck"};
    bool hidden = false;
    for (size_t i = 0; i < 4; i++)
      hidden |= f->mode == FAULT_LIES && strncmp(f->row->name, showing[i], strlen(showing[i])) == 0;
    if (!same && !f->row->varies && !hidden) wrong(f, "done, with another answer");
  } else if (answer.code != 4 || !is_fsck(f->row)) { /* the check's findings are on standard output */
    if (lines_of(answer.err) != 1 || strncmp(answer.err, "wodan", 5) != 0) wrong(f, "not one sentence");
  }
  if (json && answer.out_size && !json_is_whole(answer.out, answer.out_size)) wrong(f, "broken JSON");
  /* One lack of memory may take the answer's buffer: then there is none. */
  if (json && !answer.out_size && f->kind != FAULT_MEMORY) wrong(f, "no JSON");
}

static void note_finding(void *context, const struct wodan_finding *finding) {
  if (finding->severity != WODAN_NOTE) snprintf(context, 300, "WF%04u: %s", finding->id, finding->message);
}

/* Opens it for reading after a check; NULL: it is none. */
static struct wodan_db *open_checked(const struct fault *f, const char *name, bool must) {
  struct wodan_device *device = NULL;
  struct wodan_error error = {0};
  struct wodan_check_report report = {0};
  struct wodan_db *db = NULL;
  char found[300] = "";
  const struct wodan_check_options options = {.context = found, .finding = note_finding};
  int status = wodan_path_device(name, WODAN_PATH_READ_ONLY, 0, &device, &error);
  if (status == 0) status = wodan_check(device, &options, &report, &error);
  if (device) wodan_device_close(device);
  if (status < 0 && must) wrong(f, error.message);
  if (status < 0) return NULL;
  /* A format that failed may leave one of the two superblocks, of what was or of what is to be. */
  if (report.damages || (report.warnings && f->row->effect != REPLACES)) wrong(f, found);
  const struct wodan_open_options how = {.flags = WODAN_OPEN_READ_ONLY};
  if (wodan_open_path(name, &how, &db, &error) < 0) wrong(f, error.message);
  return db;
}

/* Whether key n is there, with its value. */
static bool there(const struct fault *f, struct wodan_db *db, unsigned n) {
  char key[16], value[80], got[128];
  size_t size = 0;
  key_of(n, key, value);
  int status = wodan_get(db, NULL, (struct wodan_slice){key, strlen(key)}, got, sizeof got, &size);
  if (status == WODAN_ENOTFOUND) return false;
  if (status < 0 || size != strlen(value) || memcmp(got, value, size) != 0) wrong(f, "a record is not what it was");
  return true;
}

static uint64_t records_in(struct wodan_db *db) {
  struct wodan_cursor *cursor;
  uint64_t count = 0;
  assert_int_equal(wodan_cursor_open(db, NULL, &cursor), 0);
  for (int status = wodan_cursor_first(cursor); status == 0; status = wodan_cursor_next(cursor)) count++;
  wodan_cursor_close(cursor);
  return count;
}

/* The keys [*first, *end) that a change touches. */
static void range_of(enum change change, unsigned *first, unsigned *end) {
  *first = change == PUTS_ONE || change == LOADS ? KEYS : 0;
  *end = change == NOTHING        ? 0
         : change == PUTS_ONE     ? KEYS + 1
         : change == LOADS        ? KEYS + MORE
         : change == DELETES_ONE  ? 1
         : change == DELETES_SOME ? 100
                                  : KEYS;
}

/* How many records the command said to be durable. */
static unsigned acknowledged(void) {
  unsigned most = 0, n;
  for (const char *at = answer.out; (at = strstr(at, "acked ")); at++)
    if (sscanf(at, "acked %u", &n) == 1 && n > most) most = n;
  return most;
}

/* A prefix of the change is there, and everything else is as it was. */
static void judge_change(const struct fault *f) {
  unsigned first, end, done;
  enum change change = f->row->change;
  bool adds = change == PUTS_ONE || change == LOADS;
  struct wodan_db *db = open_checked(f, "work.img", true);
  if (!db) return;
  range_of(change, &first, &end);
  for (done = first; done < end && there(f, db, done) == adds;) done++;
  for (unsigned n = done; n < end; n++)
    if (there(f, db, n) == adds) wrong(f, "not a prefix of its changes");
  for (unsigned n = 0; n < KEYS; n++)
    if ((n < first || n >= end) && !there(f, db, n)) wrong(f, "a record that it has nothing to do with is gone");
  unsigned changed = done - first;
  if (records_in(db) != (adds ? KEYS + changed : KEYS - changed)) wrong(f, "records that nobody put");
  if (answer.code == 0 && done != end) wrong(f, "done, and it is not");
  if (changed < acknowledged()) wrong(f, "acknowledged records are gone");
  if (change == LOADS && done < end && changed % BATCH) wrong(f, "part of a batch");
  assert_int_equal(wodan_close(db, NULL), 0);
}

static void judge_image(const struct fault *f) {
  static char now[IMAGE];
  struct wodan_db *db = NULL;
  if (f->row->effect == CHANGES) {
    judge_change(f);
  } else if (f->row->effect == READS) {
    assert_int_equal(read_file("work.img", now, IMAGE), IMAGE);
    if (memcmp(now, world.before, IMAGE) != 0) wrong(f, "a reader has written");
  } else if (f->row->effect == FILLS) {
    db = open_checked(f, "work.img", true);
    for (unsigned n = 0; n < KEYS && db; n++)
      if (!there(f, db, n)) wrong(f, "a record that it has nothing to do with is gone");
  } else if (f->row->effect == FORMATS) {
    bool exists = access("new.img", F_OK) == 0;
    if (answer.code == 0 && !exists) wrong(f, "done, and there is no image");
    if (exists) db = open_checked(f, "new.img", true);
    if (db && records_in(db)) wrong(f, "not empty");
  } else {
    db = open_checked(f, "work.img", answer.code == 0);
    uint64_t count = db ? records_in(db) : 0;
    if (count && (answer.code == 0 || count != KEYS)) wrong(f, "neither what was there nor empty");
  }
  if (db) assert_int_equal(wodan_close(db, NULL), 0);
}

/* ---- the loops -------------------------------------------------------------------------------------------------- */

static bool makes_sense(uint32_t kind, uint32_t mode) {
  return mode != FAULT_LIES || kind == FAULT_READ || kind == FAULT_WRITE || kind == FAULT_FLUSH;
}

static uint64_t fail_each(const struct row *row, uint32_t kind, uint32_t mode, uint64_t total) {
  uint64_t step = world.each || total <= SAMPLES ? 1 : total / SAMPLES, count = 0;
  uint64_t random = world.seed + (uint64_t)(row - rows) * 100 + kind * 10 + mode;
  for (uint64_t at = 1 + (step > 1 ? random_next(&random) % step : 0); at <= total; at += step, count++) {
    struct fault fault = {row, kind, mode, at};
    world.told = false;
    run(row, kind, mode, at, &answer);
    world.struck += atomic_load(&world.board->struck) > 0;
    judge_words(&fault);
    judge_image(&fault);
    world.wrong += world.told;
  }
  world.faults += count;
  return count;
}

static void fail_row(const struct row *row) {
  uint64_t totals[FAULT_KINDS];
  run(row, FAULT_NONE, FAULT_ONCE, 0, &whole);
  if (whole.code != 0 || whole.err_size) fail_msg("%s does not even work without faults: %s", row->name, whole.err);
  for (uint32_t kind = 1; kind < FAULT_KINDS; kind++) totals[kind] = atomic_load(&world.board->calls[kind]);
  assert_true(totals[FAULT_MEMORY] > 0); /* the shim is there */
  char line[200];
  int size = snprintf(line, sizeof line, "%-26s", row->name);
  for (uint32_t kind = 1; kind < FAULT_KINDS; kind++) {
    uint64_t done = 0;
    for (uint32_t mode = 0; mode < FAULT_MODES; mode++)
      if (makes_sense(kind, mode)) done += fail_each(row, kind, mode, totals[kind]);
    size += snprintf(line + size, sizeof line - (size_t)size, "  %s %llu of %llu", kind_names[kind],
                     (unsigned long long)done, (unsigned long long)totals[kind]);
  }
  print_message("%s\n", line);
}

static void test_cli_faults__every_verb_has_a_row(void **state) {
  (void)state;
  static const struct row help = {"help", READS, 0, false, {"--help"}};
  unsigned verbs = 0;
  run(&help, FAULT_NONE, FAULT_ONCE, 0, &answer);
  assert_int_equal(answer.code, 0);
  const char *at = strstr(answer.out, "Verbs:\n");
  assert_non_null(at);
  for (at += 7; strncmp(at, "  ", 2) == 0; at = strchr(at, '\n') + 1, verbs++) {
    char verb[20];
    size_t r = 0;
    assert_int_equal(sscanf(at, "%19s", verb), 1);
    while (r < ROWS && strcmp(rows[r].arguments[0], verb) != 0) r++;
    if (r == ROWS) fail_msg("the verb %s has no row", verb);
  }
  assert_true(verbs > 15);
}

static void test_cli_faults__each_fault_is_answered_and_harms_nothing(void **state) {
  (void)state;
  const char *only = getenv("WODAN_FAULT_ROW");
  for (size_t r = 0; r < ROWS; r++)
    if (!only || strcmp(only, rows[r].name) == 0) fail_row(&rows[r]);
  print_message("%llu faults, %llu of them met; seed %llu\n", (unsigned long long)world.faults,
                (unsigned long long)world.struck, (unsigned long long)world.seed);
  if (world.wrong)
    fail_msg("%llu faults went wrong; again: WODAN_FAULT_ROW=NAME WODAN_FAULT_SEED=%llu",
             (unsigned long long)world.wrong, (unsigned long long)world.seed);
  assert_true(only || world.struck * 10 > world.faults * 8);
}

static int start(void **state) {
  (void)state;
  const char *seed = getenv("WODAN_FAULT_SEED"), *base = getenv("TMPDIR");
  if (!base && access("/dev/shm", W_OK) == 0) base = "/dev/shm"; /* flushes cost nothing there */
  char number[16];
  world.seed = seed ? strtoull(seed, NULL, 10) : 1;
  world.each = getenv("WODAN_ALL_FAULTS") != NULL;
  world.board_fd = memfd_create("faults", 0);
  assert_int_equal(ftruncate(world.board_fd, sizeof *world.board), 0);
  world.board = mmap(NULL, sizeof *world.board, PROT_READ | PROT_WRITE, MAP_SHARED, world.board_fd, 0);
  assert_true(world.board != MAP_FAILED);
  snprintf(number, sizeof number, "%d", world.board_fd);
  setenv(FAULT_BOARD, number, 1);
  snprintf(world.folder, sizeof world.folder, "%s/wodan-faults-XXXXXX", base && strlen(base) < 40 ? base : "/tmp");
  assert_non_null(mkdtemp(world.folder));
  assert_int_equal(chdir(world.folder), 0);
  make_records();
  make_mirage();
  make_image();
  return 0;
}

static int end(void **state) {
  static const char *const files[] = {"before.img", "work.img", "new.img", "map.svg", "more.tsv",
                                      "theirs.img", "in",       "out",     "err"};
  (void)state;
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) unlink(files[i]);
  return chdir("/") == 0 && rmdir(world.folder) == 0 ? 0 : -1;
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cli_faults__every_verb_has_a_row),
      cmocka_unit_test(test_cli_faults__each_fault_is_answered_and_harms_nothing),
  };
  if (argc != 4) return 2;
  world.wodan = argv[1];
  world.fsck = argv[2];
  world.shim = argv[3];
  return cmocka_run_group_tests(tests, start, end);
}
