/* Owns: the statistics of an open database as text.
 *
 * Always true: well-formed; the text is cut nowhere but at the end of the caller's room, and then the call says so; names
 * are those of struct wodan_stats and of `wodan stat --json`.
 *
 * Order: as the members are said.
 *
 * See: include/wodan/stats.h; tests/unit/test_stats_json.c. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "api/api.h"

/* What was said so far; beyond the room it is only counted. */
struct text {
  char *at;
  size_t capacity, size;
  bool first; /* nothing stands before the next member in its object or list */
};

static void say(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct text *text, const char *format, ...) {
  size_t left = text->size < text->capacity ? text->capacity - text->size : 0;
  va_list arguments;
  va_start(arguments, format);
  int size = vsnprintf(left ? text->at + text->size : NULL, left, format, arguments);
  va_end(arguments);
  if (size > 0) text->size += (size_t)size;
}

/* The comma before a member, and its name; NULL in a list. */
static void begin(struct text *text, const char *name) {
  if (!text->first) say(text, ",");
  text->first = false;
  if (name) say(text, "\"%s\":", name);
}

static void open_with(struct text *text, const char *name, const char *bracket) {
  begin(text, name);
  say(text, "%s", bracket);
  text->first = true;
}

static void close_with(struct text *text, const char *bracket) {
  say(text, "%s", bracket);
  text->first = false;
}

static void number(struct text *text, const char *name, uint64_t value) {
  begin(text, name);
  say(text, "%" PRIu64, value);
}

/* With three decimals, and a point whatever the locale. */
static void real(struct text *text, const char *name, double value) {
  uint64_t thousandths = value > 0 && value < 1e15 ? (uint64_t)(value * 1000 + 0.5) : 0;
  begin(text, name);
  say(text, "%" PRIu64 ".%03u", thousandths / 1000, (unsigned)(thousandths % 1000));
}

static void list(struct text *text, const char *name, const uint64_t *numbers, size_t count) {
  open_with(text, name, "[");
  for (size_t i = 0; i < count; i++) number(text, NULL, numbers[i]);
  close_with(text, "]");
}

static void say_delays(struct text *text, const struct wodan_stats *stats) {
  open_with(text, "put_delays", "[");
  for (unsigned i = 0; i < WODAN_DELAY_BUCKETS; i++) {
    if (!stats->put_delays[i]) continue;
    open_with(text, NULL, "{");
    if (i + 1 < WODAN_DELAY_BUCKETS) {
      number(text, "below_ns", UINT64_C(1) << i);
    } else {
      begin(text, "below_ns");
      say(text, "null");
    }
    number(text, "commits", stats->put_delays[i]);
    close_with(text, "}");
  }
  close_with(text, "]");
}

static void say_space(struct text *text, const struct wodan_db *db, const struct tree_fill *fill) {
  const struct superblock *sb = &db->superblock;
  open_with(text, "space", "{");
  number(text, "live_leaves", fill->leaf_blocks * sb->block_size);
  number(text, "live_runs", fill->run_blocks * sb->block_size);
  number(text, "live_nodes", fill->node_blocks * sb->block_size);
  number(text, "reserved_superblocks", 2 * (uint64_t)sb->block_size);
  number(text, "reserved_journal", sb->journal_blocks * sb->block_size);
  number(text, "deferred", fill->deferred_blocks * sb->block_size);
  number(text, "waiting_for_discard", fill->waiting_blocks * sb->block_size);
  number(text, "free", fill->free_blocks * sb->block_size);
  close_with(text, "}");
}

static void say_level(struct text *text, const struct superblock *sb, const struct level_fill *level, uint32_t at) {
  open_with(text, NULL, "{");
  number(text, "level", at);
  number(text, "nodes", level->nodes);
  number(text, "entries", level->entries);
  number(text, "entries_least", level->entries_least);
  number(text, "entries_most", level->entries_most);
  number(text, "entries_max", at ? sb->node_children : sb->node_leaves);
  number(text, "runs", level->runs);
  number(text, "runs_most", level->runs_most);
  number(text, "run_bytes", level->run_bytes);
  number(text, "records", level->records);
  number(text, "deletes", level->deletes);
  list(text, "nodes_by_runs", level->by_runs, FILL_RUNS);
  close_with(text, "}");
}

static void say_fill(struct text *text, const struct wodan_db *db, const struct tree_fill *fill) {
  open_with(text, "fill", "{");
  open_with(text, "levels", "[");
  for (uint32_t i = fill->levels; i-- > 0;) say_level(text, &db->superblock, &fill->level[i], i);
  close_with(text, "]");
  number(text, "leaves", fill->leaves);
  number(text, "leaf_bytes", fill->leaf_bytes);
  number(text, "leaf_size", db->superblock.leaf_size);
  list(text, "leaves_by_tenths", fill->leaves_by_tenths, FILL_TENTHS);
  close_with(text, "}");
}

int wodan_stats_json(struct wodan_db *db, char *out, size_t capacity, size_t *size) {
  if (!db || !size || (capacity && !out))
    return api_missing(db, size ? "the place for the text" : "the place for the size");
  struct wodan_stats stats = {.size = sizeof stats};
  struct tree_fill fill;
  struct text text = {.at = out, .capacity = capacity, .first = true};
  engine_stats(db, &stats);
  engine_tree_fill(db, &fill);
  open_with(&text, NULL, "{");
#define SAY(name) number(&text, #name, stats.name);
  WODAN_STATS_COUNTERS(SAY)
#undef SAY
  real(&text, "alpha", stats.alpha);
  real(&text, "write_amplification", stats.write_amplification);
  real(&text, "read_amplification", stats.read_amplification);
  say_delays(&text, &stats);
  say_space(&text, db, &fill);
  say_fill(&text, db, &fill);
  close_with(&text, "}");
  *size = text.size;
  return text.size < capacity ? 0 : WODAN_ERANGE;
}
