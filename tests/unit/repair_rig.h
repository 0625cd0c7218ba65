/* Volumes with a known history, and what salvage and repair may make of them when they are damaged: shared by the tests of
 * repair. Every value tells its key and its version, so that nothing can pass for what it is not. */
#ifndef UNIT_REPAIR_RIG_H
#define UNIT_REPAIR_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wodan/wodan.h>
#include "check/findings.h"
#include "format/record.h"
#include "check_store.h"
#include "support/random.h"

enum { KEYS_MAX = 400, LOSSES_MAX = 64, KEY_ROOM = 48, VALUE_MAX = 4096 };

struct volume_recipe {
  uint64_t size;
  uint32_t block, node_leaves, node_children;
  unsigned keys, value, rounds;
  bool compact, killed;
  unsigned large;       /* bytes of one value in twelve; 0: they are like the others */
  bool ranges;          /* each round ends with a range delete */
  uint32_t compression; /* of leaves and large values */
};

struct rig {
  struct store store;
  struct volume_recipe recipe;
  unsigned version[KEYS_MAX]; /* what the newest state holds; 0: nothing */
  unsigned versions;          /* given so far */
};

static inline int rig_random(void *context, void *buffer, size_t size) {
  for (size_t i = 0; i < size; i++) ((uint8_t *)buffer)[i] = (uint8_t)random_next(context);
  return 0;
}

static inline struct wodan_slice rig_key(unsigned i, char out[KEY_ROOM]) {
  return (struct wodan_slice){out, (size_t)snprintf(out, KEY_ROOM, i % 3 ? "%04u" : "a/prefix/%04u", i * 7919 % 9973)};
}

/* Half of it packs. */
static inline size_t rig_value(const struct rig *rig, unsigned i, unsigned version, char out[VALUE_MAX]) {
  int n = snprintf(out, VALUE_MAX, "%u=%u:", i, version);
  unsigned size = rig->recipe.large && i % 12 == 5 ? rig->recipe.large : rig->recipe.value;
  for (unsigned at = (unsigned)n; at < size; at++)
    out[at] = at % 32 < 16 || !rig->recipe.large ? 'v' : (char)(' ' + (at * 2654435761u >> 16 ^ version * 40503u) % 90);
  return size > (unsigned)n ? size : (size_t)n;
}

/* The version that a value of key i tells; UINT32_MAX: it is none. */
static inline unsigned rig_version(const struct rig *rig, unsigned i, const char *data, size_t size) {
  char right[VALUE_MAX];
  unsigned key = 0, version = 0;
  char head[32] = {0};
  memcpy(head, data, size < 31 ? size : 31);
  if (sscanf(head, "%u=%u:", &key, &version) != 2 || key != i || !version || version > rig->versions) return UINT32_MAX;
  return rig_value(rig, i, version, right) == size && memcmp(right, data, size) == 0 ? version : UINT32_MAX;
}

static inline void rig_expect(int status, const char *what) {
  if (status < 0) fail_msg("%s answers %d", what, status);
}

/* Some keys: those that begin with the number of the round, and 0 to 4. */
static inline void rig_delete_range(struct rig *rig, struct wodan_db *db, unsigned round) {
  const char from[] = {(char)('1' + round % 8), '0'}, to[] = {from[0], '5'};
  struct wodan_slice lower = {from, 2}, upper = {to, 2};
  rig_expect(wodan_delete_range(db, &lower, &upper, NULL), "a range delete");
  for (unsigned i = 0; i < rig->recipe.keys; i++) {
    char key_bytes[KEY_ROOM];
    struct wodan_slice key = rig_key(i, key_bytes);
    if (key_compare(key, lower) >= 0 && key_compare(key, upper) < 0) rig->version[i] = 0;
  }
}

static inline void rig_round(struct rig *rig, struct wodan_db *db, unsigned round) {
  for (unsigned i = 0; i < rig->recipe.keys; i++) {
    char key_bytes[KEY_ROOM], value[VALUE_MAX];
    struct wodan_slice key = rig_key(i, key_bytes);
    if ((i + round) % 5 == 4) {
      rig_expect(wodan_delete(db, key, NULL), "a delete");
      rig->version[i] = 0;
    } else {
      size_t size = rig_value(rig, i, ++rig->versions, value);
      rig_expect(wodan_put(db, key, (struct wodan_slice){value, size}, NULL), "a put");
      rig->version[i] = rig->versions;
    }
    if (i % 40 == 20) rig_expect(wodan_sync(db), "sync");
    if (rig->recipe.ranges && i % 20 == 15) rig_delete_range(rig, db, i / 20 + 3 * round);
  }
}

/* What only the journal names. */
static inline void rig_round_end(struct rig *rig, struct wodan_db *db) {
  char key_bytes[KEY_ROOM], value[VALUE_MAX];
  rig_expect(wodan_checkpoint(db, NULL), "checkpoint");
  rig_delete_range(rig, db, 6);
  size_t size = rig_value(rig, 5, ++rig->versions, value);
  rig_expect(wodan_put(db, rig_key(5, key_bytes), (struct wodan_slice){value, size}, NULL), "a put");
  rig->version[5] = rig->versions;
}

static inline void rig_build(struct rig *rig, const struct volume_recipe *recipe) {
  uint64_t random = recipe->keys;
  *rig = (struct rig){.recipe = *recipe, .store = store_create(recipe->size, 512)};
  struct wodan_hooks hooks = {.context = &random, .random = rig_random};
  struct wodan_format_options format = {.block_size = recipe->block,
                                        .node_leaves = recipe->node_leaves,
                                        .node_children = recipe->node_children,
                                        .compression = recipe->compression,
                                        .hooks = hooks};
  struct wodan_open_options options = {.flags = WODAN_OPEN_INLINE, .hooks = hooks};
  struct wodan_device *device = store_open(&rig->store);
  struct wodan_db *db = NULL;
  rig_expect(wodan_format(device, &format, NULL), "format");
  rig_expect(wodan_open(device, &options, &db, NULL), "open");
  for (unsigned round = 0; round < recipe->rounds; round++) {
    rig_round(rig, db, round);
    if (round + 1 < recipe->rounds) rig_expect(wodan_checkpoint(db, NULL), "checkpoint");
  }
  if (recipe->ranges) rig_round_end(rig, db);
  if (recipe->compact) rig_expect(wodan_compact(db, NULL, NULL, 0, NULL), "compact");
  rig_expect(wodan_sync(db), "sync");
  struct store killed = store_copy(&rig->store);
  rig_expect(wodan_close(db, NULL), "close");
  if (recipe->killed) memcpy(rig->store.bytes, killed.bytes, killed.size);
  store_free(&killed);
}

/* ---- what is told --------------------------------------------------------------------------------------------------- */

struct told_range {
  bool has_lower, has_upper;
  char lower[KEY_ROOM + 8], upper[KEY_ROOM + 8];
  size_t lower_size, upper_size;
};

struct told {
  uint32_t findings, losses, steps, orphans;
  uint64_t ids[8]; /* bit n: WF n was told */
  struct told_range ranges[LOSSES_MAX];
  bool everything;           /* all keys may be concerned */
  uint64_t steps_hash;       /* of their text */
  char text[4096];           /* for a failing test */
  unsigned orphan[KEYS_MAX]; /* newest version told as an orphan of the key */
  const struct rig *rig;
};

static inline void told_line(struct told *told, const char *what, const char *message) {
  size_t used = strlen(told->text);
  snprintf(told->text + used, sizeof told->text - used, "  %s: %s\n", what, message);
}

static inline bool told_id(const struct told *told, uint32_t id) { return told->ids[id / 64] >> (id % 64) & 1; }

static inline void told_finding(void *context, const struct wodan_finding *finding) {
  struct told *told = context;
  told->findings++;
  assert_true(finding->id < 512 && finding_row(finding->id) && finding->repair <= WODAN_REPAIR_SALVAGE);
  told->ids[finding->id / 64] |= UINT64_C(1) << (finding->id % 64);
  told_line(told, "finding", finding->message);
  if (finding->id < FOUND_NODE_DAMAGED && finding->severity == WODAN_DAMAGE) told->everything = true;
  if (finding->id != FOUND_KEYS_LOST && finding->id != FOUND_NO_ROOT_SALVAGED) return;
  if (told->losses == LOSSES_MAX) {
    told->everything = true;
    return;
  }
  struct told_range *range = &told->ranges[told->losses++];
  *range = (struct told_range){.has_lower = finding->has_lower, .has_upper = finding->has_upper};
  range->lower_size = finding->lower.size < sizeof range->lower ? finding->lower.size : sizeof range->lower;
  range->upper_size = finding->upper.size < sizeof range->upper ? finding->upper.size : sizeof range->upper;
  if (range->lower_size) memcpy(range->lower, finding->lower.data, range->lower_size);
  if (range->upper_size) memcpy(range->upper, finding->upper.data, range->upper_size);
}

static inline void told_step(void *context, const struct wodan_repair_step *step) {
  struct told *told = context;
  told->steps++;
  for (const char *c = step->message; *c; c++) told->steps_hash = told->steps_hash * 1099511628211u + (uint8_t)*c;
  told->steps_hash = told->steps_hash * 1099511628211u + step->kind + step->block * 31 + step->generation;
  told_line(told, "step", step->message);
  if (step->kind == WODAN_REPAIR_OLDER_ROOT || step->kind == WODAN_REPAIR_JOURNAL) told->everything = true;
}

static inline void told_orphan(void *context, const struct wodan_orphan *orphan) {
  struct told *told = context;
  told->orphans++;
  if (orphan->ranged) {
    assert_true(told->rig->recipe.ranges && orphan->deleted && orphan->key.size == 2 && orphan->value.size == 2);
    return;
  }
  for (unsigned i = 0; i < told->rig->recipe.keys; i++) {
    char key_bytes[KEY_ROOM];
    struct wodan_slice key = rig_key(i, key_bytes);
    if (key.size != orphan->key.size || memcmp(key.data, orphan->key.data, key.size) != 0) continue;
    unsigned version = orphan->deleted ? 0 : rig_version(told->rig, i, orphan->value.data, orphan->value.size);
    assert_true(version != UINT32_MAX);
    told->orphan[i] = version;
    return;
  }
  fail_msg("an orphan with a key that was never written");
}

/* Something about this key was said to be lost. */
static inline bool told_key(const struct told *told, struct wodan_slice key) {
  for (uint32_t i = 0; i < told->losses; i++) {
    const struct told_range *r = &told->ranges[i];
    struct wodan_slice lower = {r->lower, r->lower_size}, upper = {r->upper, r->upper_size};
    if (r->has_lower && key_compare(key, lower) < 0) continue;
    if (r->has_upper && key_compare(key, upper) >= 0) continue;
    return true;
  }
  return told->everything;
}

/* ---- what a volume holds -------------------------------------------------------------------------------------------- */

enum { UNREADABLE = UINT32_MAX - 1 };

struct content {
  bool opens;
  unsigned version[KEYS_MAX]; /* 0: absent; or UNREADABLE */
};

static inline void content_read(const struct rig *rig, struct store *store, struct content *content) {
  struct wodan_open_options options = {.flags = WODAN_OPEN_READ_ONLY | WODAN_OPEN_INLINE};
  struct wodan_device *device = store_open(store);
  struct wodan_db *db = NULL;
  memset(content, 0, sizeof *content);
  content->opens = wodan_open(device, &options, &db, NULL) == 0;
  if (!content->opens) {
    wodan_device_close(device);
    return;
  }
  for (unsigned i = 0; i < rig->recipe.keys; i++) {
    char key_bytes[KEY_ROOM], value[VALUE_MAX];
    size_t size = 0;
    int status = wodan_get(db, NULL, rig_key(i, key_bytes), value, sizeof value, &size);
    if (status == WODAN_ENOTFOUND) continue;
    content->version[i] = status == 0 ? rig_version(rig, i, value, size) : UNREADABLE;
    if (content->version[i] == UINT32_MAX) fail_msg("key %u has a value that was never written", i);
  }
  wodan_close(db, NULL);
}

/* Whole to the last key, and takes a write. */
static inline void content_usable(struct store *store) {
  uint64_t random = 5;
  struct wodan_open_options options = {.flags = WODAN_OPEN_INLINE, .hooks = {.context = &random, .random = rig_random}};
  struct wodan_device *device = store_open(store);
  struct wodan_db *db = NULL;
  struct wodan_error error = {0};
  if (wodan_open(device, &options, &db, &error) < 0) fail_msg("it does not open: %s", error.message);
  struct wodan_slice key = {"zz/after", 8};
  int status = wodan_put(db, key, key, &(struct wodan_commit){.durability = WODAN_DURABLE});
  if (status < 0) fail_msg("it takes no write: %d", status);
  rig_expect(wodan_delete(db, key, NULL), "a delete");
  if (wodan_close(db, &error) < 0) fail_msg("it does not close: %s", error.message);
}

/* ---- the judge ------------------------------------------------------------------------------------------------------ */

/* Every key is as the newest state has it, or its loss was told; and what could be read of `before` is as it was. */
static inline void judge_content(const struct rig *rig, const struct content *before, const struct content *after,
                                 const struct told *told) {
  for (unsigned i = 0; i < rig->recipe.keys; i++) {
    char key_bytes[KEY_ROOM];
    struct wodan_slice key = rig_key(i, key_bytes);
    if (after->version[i] == UNREADABLE) fail_msg("key %u cannot be read\n%s", i, told->text);
    if (after->version[i] != rig->version[i] && !told_key(told, key))
      fail_msg("key %u (%.*s) has version %u instead of %u, and nothing was said\n%s", i, (int)key.size,
               (const char *)key.data, after->version[i], rig->version[i], told->text);
    if (before && before->opens && before->version[i] != UNREADABLE && before->version[i] != after->version[i] &&
        !(before->version[i] == 0 && told_key(told, key)))
      fail_msg("key %u could be read as %u before, and is %u now\n%s", i, before->version[i], after->version[i],
               told->text);
  }
}

static inline void judge_clean(struct store *store, const struct told *told) {
  struct heard heard;
  store_check(store, &heard);
  if (heard.status == 0 && heard.report.damages + heard.report.warnings == 0) return;
  heard_print(&heard);
  fail_msg("it is not clean\n%s", told->text);
}

static inline struct wodan_hooks rig_hooks(uint64_t *random) {
  return (struct wodan_hooks){.context = random, .random = rig_random};
}

/* Salvage of the damaged bytes, judged. Returns the report. */
static inline struct wodan_salvage_report judge_salvage(const struct rig *rig, struct store *damaged,
                                                        struct told *told) {
  struct store out = store_create(2 * rig->store.size, 512);
  struct wodan_device *from = store_open(damaged), *to = store_open(&out);
  struct wodan_salvage_report report;
  struct wodan_error error;
  struct content after;
  uint64_t random = 3, writes = damaged->writes;
  *told = (struct told){.rig = rig};
  const struct wodan_salvage_options options = {
      .hooks = rig_hooks(&random), .context = told, .finding = told_finding, .orphan = told_orphan};
  int status = wodan_salvage(from, to, &options, &report, &error);
  wodan_device_close(from);
  wodan_device_close(to);
  if (status < 0) fail_msg("salvage fails: %s\n%s", error.message, told->text);
  assert_true(damaged->writes == writes && report.complete == 1);
  assert_int_equal(report.losses, told->losses);
  judge_clean(&out, told);
  content_read(rig, &out, &after);
  assert_true(after.opens);
  judge_content(rig, NULL, &after, told);
  content_usable(&out);
  store_free(&out);
  return report;
}

static inline int rig_repair(struct store *store, uint32_t allowed, bool dry_run, struct told *told,
                             struct wodan_repair_report *report, struct wodan_error *error) {
  uint64_t random = 4;
  const struct wodan_repair_options options = {.allowed = allowed,
                                               .dry_run = dry_run,
                                               .hooks = rig_hooks(&random),
                                               .context = told,
                                               .finding = told_finding,
                                               .step = told_step};
  struct wodan_device *device = store_open(store);
  const struct rig *rig = told->rig;
  *told = (struct told){.rig = rig};
  int status = wodan_repair(device, &options, report, error);
  wodan_device_close(device);
  return status;
}

/* Repair in place of a copy, judged: a dry run tells the same and writes nothing, what could be read still can, the second
 * run finds nothing to do, and when nothing is left the volume is used. Returns the report. */
static inline struct wodan_repair_report judge_repair(const struct rig *rig, const struct store *damaged,
                                                      uint32_t allowed, struct told *told) {
  struct store store = store_copy(damaged);
  struct wodan_repair_report dry, report, again;
  struct wodan_error error;
  struct content before, after;
  struct told dry_told = {.rig = rig}, again_told = {.rig = rig};
  told->rig = rig;
  content_read(rig, &store, &before);
  uint64_t writes = store.writes;
  int status = rig_repair(&store, allowed, true, &dry_told, &dry, &error);
  assert_true(store.writes == writes);
  if (status == WODAN_ECORRUPT && rig->recipe.large && strstr(error.message, "only a salvage is safe")) {
    assert_int_equal(rig_repair(&store, allowed, false, told, &report, &error), status);
    assert_memory_equal(store.bytes, damaged->bytes, store.size);
    store_free(&store);
    return report;
  }
  if (status < 0) fail_msg("a dry run fails: %s", error.message);
  if (rig_repair(&store, allowed, false, told, &report, &error) < 0)
    fail_msg("repair fails: %s\n%s", error.message, told->text);
  if (dry_told.steps_hash != told->steps_hash || dry_told.findings != told->findings)
    fail_msg("a dry run tells something else:\n%s--\n%s", dry_told.text, told->text);
  bool whole = report.after.damages + report.after.warnings == 0;
  if (allowed == WODAN_REPAIR_SAFE && told->losses) fail_msg("a safe repair gave something up\n%s", told->text);
  content_read(rig, &store, &after);
  if (whole) {
    assert_true(after.opens);
    judge_content(rig, &before, &after, told);
  } else {
    for (unsigned i = 0; i < rig->recipe.keys && before.opens; i++)
      if (before.version[i] != UNREADABLE && before.version[i] != after.version[i])
        fail_msg("key %u could be read as %u before, and is %u now\n%s", i, before.version[i], after.version[i],
                 told->text);
  }
  if (rig_repair(&store, allowed, false, &again_told, &again, &error) < 0)
    fail_msg("a second repair fails: %s", error.message);
  if (again.steps) fail_msg("a second repair finds something to do:\n%s-- first:\n%s", again_told.text, told->text);
  if (whole) {
    judge_clean(&store, told);
    content_usable(&store);
    judge_clean(&store, told);
  }
  store_free(&store);
  return report;
}

#endif
