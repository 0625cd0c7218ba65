/* Every public function while the n-th allocation, read, write, barrier or flush fails, once, for ever, or once with lies
 * behind it; for every n, until it passes untouched.
 *
 * Demanded after a failed call: its code is one that the fault may have; what is visible is what was committed, whole, and
 * nothing else; the same call goes through when the fault is over; the first failed write, barrier or flush is final and
 * nothing is written behind it. At the end: the handle closes, all memory came back, a power cut leaves a commit not older
 * than the last durable one, the check finds nothing, and the volume takes writes. A function of include/wodan that no
 * loop calls fails the test.
 *
 * About SAMPLES places a scenario, kind and mode, evenly from a seeded start (WODAN_FAULT_SEED); WODAN_ALL_FAULTS=1: each.
 *
 * See: tests/crash/fault_loop.h, docs/verification.md; for the commands tests/cli/test_cli_faults.c. */
#include "api_world.h"

enum { SAMPLES = 40 };

struct shared all;

/* ---- commits ------------------------------------------------------------------------------------------------------ */

/* The model has the commit already: it stays, or goes when nothing was committed. Durable when that was asked and told. */
static void committed(struct world *w, int status, const struct wodan_commit *commit, const char *what) {
  if (commit->sequence == 0) model_roll_back(all.model, model_version(all.model) - 1);
  if (status == 0 && commit->sequence == 0) wrong(w, what, status, "no sequence");
  if (status == 0 && commit->durability == WODAN_DURABLE) w->acked = model_version(all.model);
  if (status == WODAN_ENOMEM && commit->sequence && commit->durability == WODAN_BUFFERED)
    wrong(w, what, status, "refused, and yet it is there");
}

static int put_once(struct world *w, unsigned n, bool durable) {
  char text[16];
  uint8_t bytes[VALUE];
  struct wodan_commit commit = {.durability = durable};
  struct wodan_slice key = key_of(n, text), value = value_of(n, bytes);
  model_put(all.model, key.data, key.size, value.data, value.size);
  model_commit(all.model);
  int status = TRY(wodan_put, w->db, key, value, &commit);
  committed(w, status, &commit, "wodan_put");
  return status;
}

static int delete_once(struct world *w, unsigned n, bool durable) {
  char text[16];
  struct wodan_commit commit = {.durability = durable};
  struct wodan_slice key = key_of(n, text);
  model_delete(all.model, key.data, key.size);
  model_commit(all.model);
  int status = TRY(wodan_delete, w->db, key, &commit);
  committed(w, status, &commit, "wodan_delete");
  return status;
}

static int batch_once(struct world *w, unsigned n, bool durable) {
  struct wodan_batch *batch;
  char text[16];
  uint8_t bytes[VALUE];
  struct wodan_commit commit = {.durability = durable};
  int status = TRY(wodan_batch_create, w->db, &batch);
  if (status < 0) return status;
  uint64_t empty = ASK(wodan_batch_bytes, batch);
  status = TRY(wodan_batch_put, batch, key_of(n, text), value_of(n, bytes));
  if (ASK(wodan_batch_count, batch) != (status == 0)) wrong(w, "wodan_batch_put", status, "half of it");
  RUN(wodan_batch_clear, batch);
  if (ASK(wodan_batch_bytes, batch) != empty) wrong(w, "wodan_batch_clear", 0, "not empty");
  for (unsigned i = 0; i < 3 && status == 0; i++)
    status = i == 1 ? TRY(wodan_batch_delete, batch, key_of(n + i, text))
                    : TRY(wodan_batch_put, batch, key_of(n + i, text), value_of(n + i, bytes));
  if (status == 0) {
    for (unsigned i = 0; i < 3; i++) {
      struct wodan_slice key = key_of(n + i, text), value = value_of(n + i, bytes);
      if (i == 1)
        model_delete(all.model, key.data, key.size);
      else
        model_put(all.model, key.data, key.size, value.data, value.size);
    }
    model_commit(all.model);
    status = TRY(wodan_batch_commit, w->db, batch, &commit);
    committed(w, status, &commit, "wodan_batch_commit");
  }
  RUN(wodan_batch_free, batch);
  return status;
}

/* Two neighbours, one by itself and one in a batch. */
static int range_once(struct world *w, unsigned n, bool durable) {
  struct wodan_batch *batch;
  char from_text[16], to_text[16];
  struct wodan_commit commit = {.durability = durable};
  struct wodan_slice from = key_of(n, from_text), to = key_of(n + 1, to_text);
  model_delete_range(all.model, &from, &to);
  model_commit(all.model);
  int status = TRY(wodan_delete_range, w->db, &from, &to, &commit);
  committed(w, status, &commit, "wodan_delete_range");
  if (status < 0) return status;
  status = TRY(wodan_batch_create, w->db, &batch);
  if (status < 0) return status;
  status = TRY(wodan_batch_delete_range, batch, &to, NULL);
  if (status == 0) {
    model_delete_range(all.model, &to, NULL);
    model_commit(all.model);
    commit = (struct wodan_commit){.durability = durable};
    status = TRY(wodan_batch_commit, w->db, batch, &commit);
    committed(w, status, &commit, "wodan_batch_commit");
  }
  RUN(wodan_batch_free, batch);
  return status;
}

static void change(struct world *w, int (*once)(struct world *, unsigned, bool), unsigned n, bool durable) {
  int status = once(w, n, durable);
  if (!failed(w, status, "a write")) return;
  status = once(w, n, durable);
  if (status < 0 && !(mutating(w) && status == WODAN_EFAILED)) wrong(w, "a write", status, "again");
}

/* ---- large values ------------------------------------------------------------------------------------------------- */

enum { LARGE = 2500, LARGE_KEY = 900, PIECE = 700 };

/* More than a quarter page, in two chunks; what the model's next commit gives the key. */
static struct wodan_slice large_value_of(unsigned n, uint8_t bytes[LARGE]) {
  uint64_t state = n * 1000003ull + model_version(all.model);
  for (size_t i = 0; i < LARGE; i++) bytes[i] = (uint8_t)random_next(&state);
  return (struct wodan_slice){bytes, LARGE - n % 300};
}

static int put_large_once(struct world *w, unsigned n, bool durable) {
  char text[16];
  uint8_t bytes[LARGE];
  struct wodan_commit commit = {.durability = durable};
  struct wodan_slice key = key_of(LARGE_KEY + n, text), value = large_value_of(n, bytes);
  model_put(all.model, key.data, key.size, value.data, value.size);
  model_commit(all.model);
  int status = TRY(wodan_put, w->db, key, value, &commit);
  committed(w, status, &commit, "wodan_put of a large value");
  return status;
}

static int stream_in_once(struct world *w, unsigned n, bool durable) {
  struct wodan_value_writer *writer;
  char text[16];
  uint8_t bytes[LARGE];
  struct wodan_commit commit = {.durability = durable};
  struct wodan_slice key = key_of(LARGE_KEY + n, text), value = large_value_of(n, bytes);
  int status = TRY(wodan_value_writer_create, w->db, key, n % 2 ? value.size : 0, &writer);
  if (status < 0) return status;
  for (size_t at = 0; at < value.size && status == 0; at += PIECE)
    status = TRY(wodan_value_writer_append, writer, bytes + at, value.size - at < PIECE ? value.size - at : PIECE);
  if (status == 0) {
    model_put(all.model, key.data, key.size, value.data, value.size);
    model_commit(all.model);
    status = TRY(wodan_value_writer_commit, writer, &commit);
    committed(w, status, &commit, "wodan_value_writer_commit");
  }
  RUN(wodan_value_writer_free, writer);
  return status;
}

static void judge_value(struct world *w, const char *what, int status, struct wodan_slice key, const void *value,
                        size_t size);

static int get_part_once(struct world *w, unsigned n, bool unused) {
  char text[16];
  uint8_t buffer[LARGE], rest[LARGE];
  (void)unused;
  struct wodan_slice key = key_of(LARGE_KEY + n, text);
  struct wodan_part first = {.buffer = buffer, .capacity = PIECE},
                    last = {.offset = PIECE, .buffer = rest, .capacity = LARGE};
  int status = TRY(wodan_get_part, w->db, NULL, key, &first);
  if (status == 0) status = TRY(wodan_get_part, w->db, NULL, key, &last);
  if (status == 0 && first.size + last.size != first.value_size) wrong(w, "wodan_get_part", 0, "another size");
  if (status == 0) memcpy(buffer + first.size, rest, last.size);
  judge_value(w, "wodan_get_part", status, key, buffer, (size_t)first.value_size);
  return status == WODAN_ENOTFOUND ? 0 : status;
}

static int stream_out_once(struct world *w, unsigned n, bool unused) {
  struct wodan_value_reader *reader;
  char text[16];
  uint8_t buffer[LARGE];
  uint64_t size = 0, got = 0;
  (void)unused;
  struct wodan_slice key = key_of(LARGE_KEY + n, text);
  int status = TRY(wodan_value_reader_open, w->db, NULL, key, &reader, &size);
  if (status < 0) {
    judge_value(w, "wodan_value_reader_open", status, key, NULL, 0);
    return status == WODAN_ENOTFOUND ? 0 : status;
  }
  RUN(wodan_value_reader_seek, reader, size);
  RUN(wodan_value_reader_seek, reader, 0);
  for (size_t part = 1; status == 0 && part; got += part) {
    size_t room = LARGE - got < PIECE ? LARGE - got : PIECE;
    part = 0;
    status = TRY(wodan_value_reader_read, reader, buffer + got, room, &part);
  }
  if (status == 0) judge_value(w, "wodan_value_reader_read", status, key, buffer, (size_t)got);
  RUN(wodan_value_reader_close, reader);
  return status;
}

/* The whole of the first large value, through a cursor. */
static int read_at_cursor_once(struct world *w, unsigned n, bool unused) {
  struct wodan_cursor *cursor;
  char text[16];
  uint8_t buffer[LARGE];
  struct wodan_part part = {.buffer = buffer, .capacity = LARGE};
  (void)unused;
  int status = TRY(wodan_cursor_open, w->db, NULL, &cursor);
  if (status < 0) return status;
  status = TRY(wodan_cursor_seek, cursor, key_of(LARGE_KEY + n, text));
  if (status == 0) status = TRY(wodan_cursor_read, cursor, &part);
  if (status == 0)
    judge_value(w, "wodan_cursor_read", 0, ASK(wodan_cursor_key, cursor), buffer, (size_t)part.value_size);
  RUN(wodan_cursor_close, cursor);
  return status == WODAN_DONE ? 0 : status;
}

/* ---- reads -------------------------------------------------------------------------------------------------------- */

/* A value, or its absence, is the model's. */
static void judge_value(struct world *w, const char *what, int status, struct wodan_slice key, const void *value,
                        size_t size) {
  size_t due_size = 0;
  const void *due = model_get(all.model, key.data, key.size, &due_size);
  if (status == WODAN_ENOTFOUND && due) wrong(w, what, status, "it is there");
  if (status == 0 && (!due || size != due_size || memcmp(value, due, size) != 0)) wrong(w, what, 0, "another value");
}

static int get_once(struct world *w, unsigned n, bool unused) {
  char text[16];
  uint8_t buffer[VALUE];
  size_t size = 0;
  (void)unused;
  struct wodan_slice key = key_of(n, text);
  int status = TRY(wodan_get, w->db, NULL, key, buffer, sizeof buffer, &size);
  judge_value(w, "wodan_get", status, key, buffer, size);
  return status == WODAN_ENOTFOUND ? 0 : status;
}

static int get_alloc_once(struct world *w, unsigned n, bool unused) {
  char text[16];
  void *value = NULL;
  size_t size = 0;
  (void)unused;
  struct wodan_slice key = key_of(n, text);
  int status = TRY(wodan_get_alloc, w->db, NULL, key, &value, &size);
  judge_value(w, "wodan_get_alloc", status, key, value, size);
  RUN(wodan_free, w->db, value);
  return status == WODAN_ENOTFOUND ? 0 : status;
}

static int get_pinned_once(struct world *w, unsigned n, bool unused) {
  char text[16];
  struct wodan_pinned pinned;
  (void)unused;
  struct wodan_slice key = key_of(n, text);
  int status = TRY(wodan_get_pinned, w->db, NULL, key, &pinned);
  if (status == 0) judge_value(w, "wodan_get_pinned", status, key, pinned.value.data, pinned.value.size);
  if (status == 0) RUN(wodan_unpin, w->db, &pinned);
  return status == WODAN_ENOTFOUND ? 0 : status;
}

static int get_many_once(struct world *w, unsigned n, bool unused) {
  enum { MANY = 5 };
  char text[MANY][16];
  struct wodan_slice keys[MANY];
  struct wodan_pinned pinned[MANY];
  int statuses[MANY];
  (void)unused;
  for (unsigned i = 0; i < MANY; i++) keys[i] = key_of(n + i, text[i]);
  int status = TRY(wodan_get_many, w->db, NULL, keys, MANY, pinned, statuses);
  for (unsigned i = 0; i < MANY; i++) {
    if (statuses[i] == 0 || statuses[i] == WODAN_ENOTFOUND)
      judge_value(w, "wodan_get_many", statuses[i], keys[i], pinned[i].value.data, pinned[i].value.size);
    else if (status == 0)
      wrong(w, "wodan_get_many", statuses[i], "a key failed, and the call did not");
  }
  RUN(wodan_unpin_many, w->db, pinned, MANY);
  return status;
}

static int step(struct world *w, struct wodan_cursor *cursor, int how) {
  char text[16];
  switch (how) {
  case 0:
    return TRY(wodan_cursor_first, cursor);
  case 1:
    return TRY(wodan_cursor_last, cursor);
  case 2:
    return TRY(wodan_cursor_seek, cursor, key_of(60, text));
  case 3:
    return TRY(wodan_cursor_seek_back, cursor, key_of(60, text));
  default:
    (void)w;
    return how % 2 ? TRY(wodan_cursor_next, cursor) : TRY(wodan_cursor_prev, cursor);
  }
}

/* Moves of all kinds. A failed one leaves the cursor nowhere, and it may be placed again. */
static int scan_view(struct world *w, struct wodan_view *view) {
  struct wodan_cursor *cursor;
  int status = TRY(wodan_cursor_open, w->db, view, &cursor);
  if (status < 0) return status;
  for (int how = 0; how < 4; how++) {
    status = step(w, cursor, how);
    for (int i = 0; i < 30 && status == 0; i++) {
      struct wodan_slice value = ASK(wodan_cursor_value, cursor);
      if (ASK(wodan_cursor_key, cursor).size == 0 || (!value.data && value.size == 0))
        wrong(w, "a cursor", 0, "stands on nothing");
      status = step(w, cursor, how % 2 ? 4 : 5);
    }
    if (status == 0 || status == WODAN_DONE) continue;
    if (ASK(wodan_cursor_key, cursor).data) wrong(w, "a cursor", status, "stands somewhere");
    if (w->fault.mode == LOOP_ONCE && step(w, cursor, how) != 0) wrong(w, "a cursor", status, "cannot be placed again");
    if (!allowed(w, status)) wrong(w, "a cursor", status, "");
  }
  RUN(wodan_cursor_close, cursor);
  return 0;
}

static int view_once(struct world *w, unsigned n, bool unused) {
  struct wodan_view *view;
  (void)n, (void)unused;
  int status = TRY(wodan_view_open, w->db, &view);
  if (status < 0) return status;
  if (ASK(wodan_view_sequence, view) == 0) wrong(w, "wodan_view_sequence", 0, "0");
  status = scan_view(w, view);
  RUN(wodan_view_close, view);
  return status;
}

static int scan_once(struct world *w, unsigned n, bool unused) {
  (void)n, (void)unused;
  return scan_view(w, NULL);
}

/* ---- a database --------------------------------------------------------------------------------------------------- */

static bool open_database(struct world *w, uint32_t flags) {
  struct wodan_open_options options = open_options(w, flags);
  struct wodan_error error;
  for (int i = 0; i < 2; i++) {
    int status = TRY(wodan_open, w->device, &options, &w->db, &error);
    w->struck = loop_struck();
    if (status == 0) return true;
    w->db = NULL;
    if (!allowed(w, status) || error.code != status) wrong(w, "wodan_open", status, error.message);
    if (w->fault.mode != LOOP_ONCE) break;
    if (i == 1) wrong(w, "wodan_open", status, "again");
  }
  assert_int_equal(TRY(wodan_device_close, w->device), 0);
  w->device = NULL;
  return false;
}

static void watch_failure(struct world *w) {
  if (!mutating(w) || loop_struck() == w->struck) return;
  if (w->mutations == UINT64_MAX) w->mutations = mutations(w);
  if (w->mutations != mutations(w)) wrong(w, "a failed handle", 0, "writes");
}

static void close_database(struct world *w) {
  struct wodan_error error;
  watch_failure(w);
  int status = TRY(wodan_close, w->db, &error);
  w->db = NULL;
  w->device = NULL;
  watch_failure(w);
  if (!allowed(w, status)) wrong(w, "wodan_close", status, error.message);
  if (status == 0) w->acked = model_version(all.model);
}

static void settle(struct world *w, int how) {
  uint64_t generation = 0;
  uint32_t more;
  size_t version = model_version(all.model);
  if (how == 0) {
    int status = TRY(wodan_sync, w->db);
    if (status == 0) w->acked = version;
    if (failed(w, status, "wodan_sync")) AGAIN(w, wodan_sync, w->db);
  } else if (how == 1) {
    int status = TRY(wodan_checkpoint, w->db, &generation);
    if (status == 0) w->acked = version;
    if (failed(w, status, "wodan_checkpoint")) AGAIN(w, wodan_checkpoint, w->db, &generation);
  } else {
    AGAIN(w, wodan_compact, w->db, NULL, NULL, 0, &more);
  }
  watch_failure(w);
}

static void ask_figures(struct world *w) {
  static char text[WODAN_STATS_JSON_SIZE];
  size_t size = 0;
  struct wodan_info info = {.size = sizeof info};
  struct wodan_stats stats = {.size = sizeof stats};
  AGAIN(w, wodan_info, w->db, &info);
  AGAIN(w, wodan_stats, w->db, &stats);
  AGAIN(w, wodan_stats_json, w->db, text, sizeof text, &size);
  ASK(wodan_delay_percentile, &stats, 99.0);
  if (info.block_size != SECTOR || stats.space_total == 0 || !size || text[size - 1] != '}')
    wrong(w, "wodan_info", 0, "not filled");
}

static void trim(struct world *w, uint32_t flags) {
  struct wodan_trim_options options = {.size = sizeof options, .flags = flags};
  struct wodan_trim_report report = {.size = sizeof report};
  AGAIN(w, wodan_trim, w->db, &options, &report);
  watch_failure(w);
}

static void use_database(struct world *w) {
  if (!open_database(w, 0)) return;
  change(w, put_once, 3, false);
  change(w, delete_once, 5, false);
  change(w, batch_once, 200, true);
  change(w, get_once, 3, false);
  change(w, get_alloc_once, 77, false);
  change(w, get_pinned_once, 118, false);
  change(w, get_many_once, 3, false);
  change(w, view_once, 0, false);
  change(w, put_large_once, 1, false);
  change(w, stream_in_once, 2, true);
  change(w, get_part_once, 1, false);
  settle(w, 0);
  for (unsigned n = 0; n < MORE; n++)
    change(w, n % 7 == 6 ? delete_once : put_once, n * 11 % (KEYS + 30), n % 13 == 12);
  settle(w, 1);
  change(w, put_large_once, 2, true);
  change(w, stream_in_once, 1, false);
  change(w, stream_out_once, 2, false);
  change(w, read_at_cursor_once, 1, false);
  for (unsigned n = 0; n < MORE / 2; n++) change(w, put_once, n * 17 % KEYS, false);
  settle(w, 2);
  change(w, scan_once, 0, false);
  change(w, range_once, 115, false);
  change(w, batch_once, 40, false);
  trim(w, WODAN_TRIM_WAITING);
  trim(w, 0);
  ask_figures(w);
  close_database(w);
}

/* Opens, reads and closes without a write. */
static void read_database(struct world *w) {
  if (!open_database(w, WODAN_OPEN_READ_ONLY)) return;
  for (unsigned n = 0; n < KEYS; n += 9) {
    change(w, get_once, n, false);
    change(w, get_pinned_once, n + 1, false);
    change(w, get_many_once, n + 2, false);
  }
  change(w, view_once, 0, false);
  close_database(w);
}

/* Likewise, with what is damaged left behind: what a fault hides may be missing then. */
static void read_older_root(struct world *w) {
  struct wodan_info info = {.size = sizeof info};
  if (!open_database(w, WODAN_OPEN_READ_ONLY | WODAN_OPEN_OLDER_ROOT)) return;
  AGAIN(w, wodan_info, w->db, &info);
  if (info.dropped_generations && !reading(w)) wrong(w, "wodan_open", 0, "an older root");
  change(w, view_once, 0, false);
  close_database(w);
}

/* The power fails, the device is mended: a commit from the last durable one on is there, and the check finds nothing. */
static void expect_survivor(struct world *w) {
  struct wodan_open_options options = open_options(w, 0);
  struct wodan_check_report report;
  struct wodan_error error;
  char why[256] = "";
  assert_int_equal(wodan_sim_power_cut(w->sim, NULL), 0);
  assert_int_equal(wodan_sim_plug(w->sim, &w->device), 0);
  if (wodan_open(w->device, &options, &w->db, &error) < 0) wrong(w, "an open behind it", error.code, error.message);
  size_t version = model_match(all.model, w->db, w->acked, why, sizeof why);
  if (version == SIZE_MAX) wrong(w, "what survives", 0, why);
  struct wodan_commit durable = {.durability = WODAN_DURABLE};
  int put = wodan_put(w->db, (struct wodan_slice){"~", 1}, (struct wodan_slice){"after", 5}, &durable);
  if (put < 0) wrong(w, "a write behind it", put, "refused");
  assert_int_equal(wodan_close(w->db, NULL), 0);
  assert_int_equal(wodan_sim_plug(w->sim, &w->device), 0);
  if (wodan_check(w->device, NULL, &report, &error) < 0) wrong(w, "the check", error.code, error.message);
  if (report.damages || report.warnings) wrong(w, "the check", 0, "finds damage");
  wodan_device_close(w->device);
}

static void expect_untouched(struct world *w) {
  if (mutations(w) != wodan_sim_count(w->sim, WODAN_SIM_FLUSH)) wrong(w, "a reader", 0, "writes");
  if (memcmp(wodan_sim_medium(w->sim), all.image, SIZE) != 0) wrong(w, "a reader", 0, "has written");
}

/* ---- format, check, inspection ------------------------------------------------------------------------------------ */

static int format_once(struct world *w, bool force) {
  struct wodan_format_options options = {
      .node_leaves = 4, .node_children = 4, .force = force, .hooks = {.context = &w->random, .random = seeded}};
  struct wodan_error error;
  int status = TRY(wodan_format, w->device, &options, &error);
  if (status == WODAN_EEXIST && !force && reading(w)) return status; /* what reads as garbage may be something */
  if (!allowed(w, status) || (status < 0 && error.code != status)) wrong(w, "wodan_format", status, error.message);
  return status;
}

static void format_with(struct world *w, bool force) {
  if (format_once(w, force) == 0) w->told = 1;
  assert_int_equal(TRY(wodan_device_close, w->device), 0);
  w->device = NULL;
}

static void format_volume(struct world *w) { format_with(w, true); }
static void format_blank(struct world *w) { format_with(w, false); }

/* Behind it: the old volume, none, or the new one; and it can be formatted. */
static void expect_one_of_three(struct world *w) {
  struct wodan_open_options options = open_options(w, 0);
  struct wodan_error error;
  char why[256] = "";
  assert_int_equal(wodan_sim_power_cut(w->sim, NULL), 0);
  assert_int_equal(wodan_sim_plug(w->sim, &w->device), 0);
  int status = wodan_open(w->device, &options, &w->db, &error);
  if (status < 0 && (status != WODAN_EFORMAT || w->told)) wrong(w, "an open behind it", status, error.message);
  if (status == 0) {
    size_t version = model_match(all.model, w->db, 0, why, sizeof why);
    if (version != 0 && (version != all.base || w->told)) wrong(w, "what survives", 0, why);
    assert_int_equal(wodan_close(w->db, NULL), 0);
    assert_int_equal(wodan_sim_plug(w->sim, &w->device), 0);
  }
  if (format_once(w, true) < 0) wrong(w, "wodan_format", 0, "again");
  wodan_device_close(w->device);
}

static void note_finding(void *context, const struct wodan_finding *finding) {
  struct world *w = context;
  w->damages += finding->severity != WODAN_NOTE;
  w->told++;
}

static void check_volume(struct world *w) {
  static struct wodan_check_report whole;
  struct wodan_check_report report;
  struct wodan_error error;
  struct wodan_check_options options = {.context = w, .finding = note_finding};
  if (!whole.complete) assert_int_equal(wodan_check(w->device, NULL, &whole, &error), 0);
  int status = TRY(wodan_check, w->device, &options, &report, &error);
  if (!allowed(w, status)) wrong(w, "wodan_check", status, error.message);
  if (status == 0 && !w->told && memcmp(&report, &whole, sizeof whole) != 0) wrong(w, "wodan_check", 0, "differs");
  if (w->damages && !reading(w)) wrong(w, "wodan_check", 0, "finds damage");
  RUN(wodan_device_close, w->device);
  w->device = NULL;
}

static void note_damage(void *context, const struct wodan_damage *damage) {
  ((struct world *)context)->damages += damage->message != NULL;
}

static int note_root(void *context, const struct wodan_root *root) {
  ((struct world *)context)->told += root->generation > 0;
  return 0;
}
static int note_block(void *context, const struct wodan_journal_block *block) {
  ((struct world *)context)->told += block->kind <= WODAN_JOURNAL_INVALID;
  return 0;
}
static int note_object(void *context, const struct wodan_object *object) {
  ((struct world *)context)->told += object->blocks > 0;
  return 0;
}
static int note_step(void *context, const struct wodan_path_step *step_) {
  ((struct world *)context)->told += step_->probe <= WODAN_PROBE_DAMAGED;
  return 0;
}
static int note_field(void *context, const struct wodan_field *field) {
  ((struct world *)context)->told += field->name != NULL;
  return 0;
}

static void inspected(struct world *w, int status, const char *what, const struct wodan_error *error) {
  if (status == WODAN_ENOTFOUND) return;
  if (!allowed(w, status) || (status < 0 && error->code != status)) wrong(w, what, status, error->message);
}

static void inspect_volume(struct world *w) {
  static uint64_t whole;
  struct wodan_inspect_options options = {.context = w, .damage = note_damage};
  struct wodan_inspect *inspect;
  struct wodan_error error;
  struct wodan_summary summary = {.size = sizeof summary};
  struct wodan_map_cell cells[16];
  uint64_t per_cell;
  char text[16];
  int status = TRY(wodan_inspect_open, w->device, &options, &inspect, &error);
  inspected(w, status, "wodan_inspect_open", &error);
  if (status == 0) {
    assert_int_equal(TRY(wodan_inspect_summary, inspect, &summary), 0);
    inspected(w, TRY(wodan_inspect_roots, inspect, note_root, w, &error), "wodan_inspect_roots", &error);
    inspected(w, TRY(wodan_inspect_journal, inspect, note_block, w, &error), "wodan_inspect_journal", &error);
    inspected(w, TRY(wodan_inspect_tree, inspect, 0, note_object, w, &error), "wodan_inspect_tree", &error);
    inspected(w, TRY(wodan_inspect_path, inspect, 0, key_of(50, text), note_step, w, &error), "wodan_inspect_path",
              &error);
    for (uint64_t block = 0; block < SIZE / SECTOR; block += 17)
      inspected(w, TRY(wodan_inspect_block, inspect, block, WODAN_VIEW_ANY, note_field, w, &error),
                "wodan_inspect_block", &error);
    inspected(w, TRY(wodan_inspect_map, inspect, cells, 16, &per_cell, &error), "wodan_inspect_map", &error);
  }
  RUN(wodan_inspect_close, inspect);
  RUN(wodan_device_close, w->device);
  w->device = NULL;
  if (w->damages && w->fault.kind == LOOP_MEMORY) wrong(w, "inspection", 0, "takes a lack of memory for damage");
  if (loop_struck() == 0 && whole == 0) whole = w->told;
  if (loop_struck() == 0 && w->told != whole) wrong(w, "inspection", 0, "tells another number of things");
}

/* ---- the loops ---------------------------------------------------------------------------------------------------- */

/* What a scenario finds: a simulated device, plugged in, whose I/O fails too; or nothing. */
enum given { NOTHING, IMAGE, HALF, BLANK }; /* HALF: the image without the copy of its superblock */

struct scenario {
  const char *name;
  void (*run)(struct world *w);
  void (*judge)(struct world *w); /* with the device mended; NULL: nothing */
  enum given given;
};

static const struct scenario scenarios[] = {
    {"a database is used", use_database, expect_survivor, IMAGE},
    {"a database is read", read_database, expect_untouched, IMAGE},
    {"an older root is read", read_older_root, expect_untouched, IMAGE},
    {"a volume is formatted", format_volume, expect_one_of_three, IMAGE},
    {"a blank is formatted", format_blank, expect_one_of_three, BLANK},
    {"a volume is checked", check_volume, expect_untouched, IMAGE},
    {"a volume is inspected", inspect_volume, expect_untouched, IMAGE},
    {"a volume is copied", copy_volume, expect_untouched, IMAGE},
    {"a volume is salvaged", salvage_volume, expect_untouched, IMAGE},
    {"a volume is repaired", repair_volume, mend_volume, HALF},
    {"devices and paths", use_devices, NULL, NOTHING},
    {"the simulated device", use_simulator, NULL, NOTHING},
    {"a workload is explored", explore_workload, NULL, NOTHING},
    {"a crash run", run_crashes, NULL, NOTHING},
};

/* With room for its window, so that only the library's allocations are left to fail. */
static struct wodan_sim *simulator(void) {
  struct wodan_sim_options options = {.device_size = SIZE, .sector = SECTOR, .keep_older = 1, .seed = 3};
  struct wodan_sim *sim;
  struct wodan_device *device;
  static uint8_t sector[SECTOR];
  assert_int_equal(wodan_sim_create(&options, &sim), 0);
  assert_int_equal(wodan_sim_plug(sim, &device), 0);
  for (uint64_t at = 0; at < 2 * SIZE; at += SECTOR) {
    struct wodan_io io = {.kind = WODAN_IO_WRITE, .offset = at % SIZE, .data = sector, .size = SECTOR};
    assert_int_equal(device->ops->transfer(device, &io, 1), 0);
  }
  wodan_device_close(device);
  assert_int_equal(wodan_sim_power_cut(sim, NULL), 0);
  return sim;
}

static uint64_t count_of(const struct world *w, enum loop_kind kind) {
  static const enum wodan_sim_kind kinds[LOOP_KINDS] = {
      [LOOP_READ] = WODAN_SIM_READ,      [LOOP_FALSE_READ] = WODAN_SIM_READ, [LOOP_STALE_READ] = WODAN_SIM_READ,
      [LOOP_WRITE] = WODAN_SIM_WRITE,    [LOOP_BARRIER] = WODAN_SIM_BARRIER, [LOOP_FLUSH] = WODAN_SIM_FLUSH,
      [LOOP_DISCARD] = WODAN_SIM_DISCARD};
  return kind == LOOP_MEMORY ? loop_allocations() : w->sim ? wodan_sim_count(w->sim, kinds[kind]) : 0;
}

/* One run. True: the fault struck. totals (may be NULL): how many there were of each kind. */
static bool run_once(const struct scenario *s, const struct loop_fault *fault, uint64_t totals[LOOP_KINDS]) {
  struct world w = {.scenario = s->name, .fault = *fault, .acked = all.base, .random = 99, .mutations = UINT64_MAX};
  model_roll_back(all.model, all.base);
  long live = loop_live();
  if (s->given != NOTHING) {
    w.sim = simulator();
    if (s->given != BLANK) assert_int_equal(wodan_sim_poke(w.sim, 0, all.image, SIZE - (s->given == HALF) * SECTOR), 0);
    assert_int_equal(wodan_sim_plug(w.sim, &w.device), 0);
  }
  loop_arm(fault, w.sim);
  s->run(&w);
  for (int kind = 1; totals && kind < LOOP_KINDS; kind++) totals[kind] = count_of(&w, (enum loop_kind)kind);
  loop_disarm();
  if (s->judge) s->judge(&w);
  wodan_sim_free(w.sim);
  model_roll_back(all.model, all.base);
  if (loop_live() != live) wrong(&w, "memory", (int)(loop_live() - live), "is not given back");
  return loop_struck() > 0;
}

static uint64_t fail_each(const struct scenario *s, enum loop_kind kind, enum loop_mode mode, uint64_t total) {
  uint64_t step = all.each || total <= SAMPLES ? 1 : total / SAMPLES, count = 0;
  uint64_t random = all.seed + (uint64_t)(s - scenarios) * 100 + kind * 10 + mode;
  for (uint64_t at = 1 + (step > 1 ? random_next(&random) % step : 0); at <= total; at += step, count++)
    all.struck += run_once(s, &(struct loop_fault){kind, mode, at}, NULL);
  if (run_once(s, &(struct loop_fault){kind, mode, total + 1}, NULL) && mode == LOOP_ONCE)
    fail_msg("%s: another number of %ss each time", s->name, loop_kind_names[kind]);
  all.faults += count;
  return count;
}

static void test_api_faults__each_is_answered_and_harms_nothing(void **state) {
  (void)state;
  const char *only = getenv("WODAN_FAULT_SCENARIO");
  for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
    const struct scenario *s = &scenarios[i];
    uint64_t totals[LOOP_KINDS] = {0};
    char line[300];
    if (only && strcmp(only, s->name) != 0) continue;
    run_once(s, &(struct loop_fault){LOOP_NONE, LOOP_ONCE, 0}, NULL); /* what is kept from the first run on */
    run_once(s, &(struct loop_fault){LOOP_NONE, LOOP_ONCE, 0}, totals);
    assert_true(totals[LOOP_MEMORY] > 0);
    int size = snprintf(line, sizeof line, "%-24s", s->name);
    for (int kind = 1; kind < LOOP_KINDS; kind++) {
      uint64_t done = 0;
      for (int mode = 0; mode < LOOP_MODES; mode++) {
        bool lies = mode == LOOP_LIES && kind != LOOP_READ && kind != LOOP_WRITE && kind != LOOP_FLUSH;
        if (!lies && totals[kind]) done += fail_each(s, (enum loop_kind)kind, (enum loop_mode)mode, totals[kind]);
      }
      if (totals[kind])
        size += snprintf(line + size, sizeof line - (size_t)size, "  %s %llu of %llu", loop_kind_names[kind],
                         (unsigned long long)done, (unsigned long long)totals[kind]);
    }
    print_message("%s\n", line);
  }
  print_message("%llu faults, %llu of them met; seed %llu\n", (unsigned long long)all.faults,
                (unsigned long long)all.struck, (unsigned long long)all.seed);
  assert_true(all.struck == all.faults);
}

static void test_api_faults__every_public_function_is_called(void **state) {
  (void)state;
  if (getenv("WODAN_FAULT_SCENARIO")) return;
  if (getenv("WODAN_ALL_FAULTS")) loop_print();
  assert_int_equal(loop_missing(WODAN_INCLUDE), 0);
}

/* ---- the image ---------------------------------------------------------------------------------------------------- */

/* A tree of several nodes, an older root, and operations that only the journal has; the process died. */
static int start(void **state) {
  (void)state;
  struct world w = {.scenario = "the image", .random = 5};
  const char *seed = getenv("WODAN_FAULT_SEED");
  all.seed = seed ? strtoull(seed, NULL, 10) : 1;
  all.each = getenv("WODAN_ALL_FAULTS") != NULL;
  all.model = model_create();
  w.sim = simulator();
  assert_int_equal(wodan_sim_plug(w.sim, &w.device), 0);
  if (format_once(&w, false) < 0 || !open_database(&w, 0)) return -1;
  for (unsigned n = 0; n < KEYS; n++) change(&w, put_once, n, false);
  settle(&w, 1);
  for (unsigned n = 0; n < 8; n++) change(&w, n % 3 == 2 ? delete_once : put_once, n * 13, n % 2);
  settle(&w, 0);
  all.base = model_version(all.model);
  memcpy(all.image, wodan_sim_medium(w.sim), SIZE);
  wodan_sim_unplug(w.device);
  wodan_close(w.db, NULL);
  wodan_sim_free(w.sim);
  return 0;
}

static int end(void **state) {
  (void)state;
  model_free(all.model);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_api_faults__each_is_answered_and_harms_nothing),
      cmocka_unit_test(test_api_faults__every_public_function_is_called),
  };
  return cmocka_run_group_tests(tests, start, end);
}
