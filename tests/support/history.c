/* Owns: the recorded history and its judge.
 *
 * How: the sequence numbers put all batches in one order, without a gap; moment m is the state after the first m batches.
 * What has ended before a read started bounds its moment from below, what started after it had ended from above; between
 * them every moment is tried. Reads are taken in the order of their start, each gets the earliest moment that fits and is
 * not before that of a read that had ended: when any choice of moments fits, this one does.
 *
 * See: tests/unit/test_history.c. */
#include "support/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct history *history_create(uint32_t keys, uint32_t threads) {
  struct history *history = calloc(1, sizeof *history);
  history->keys = keys;
  history->threads = threads;
  history->logs = calloc(threads, sizeof *history->logs);
  return history;
}

void history_free(struct history *history) {
  for (uint32_t t = 0; t < history->threads; t++) {
    free(history->logs[t].batches);
    free(history->logs[t].reads);
    free(history->logs[t].pairs);
  }
  free(history->logs);
  free(history);
}

static void *room_for_one(void *items, size_t count, size_t *capacity, size_t size) {
  if (count < *capacity) return items;
  *capacity = *capacity ? 2 * *capacity : 256;
  items = realloc(items, *capacity * size);
  if (!items) abort();
  return items;
}

void history_pair(struct history_log *log, uint32_t key, uint32_t version) {
  log->pairs = room_for_one(log->pairs, log->pair_count, &log->pair_capacity, sizeof *log->pairs);
  log->pairs[log->pair_count++] = (struct history_pair){key, version};
}

static size_t pairs_taken(const struct history_log *log) {
  size_t batches = 0, reads = 0;
  if (log->batch_count) batches = log->batches[log->batch_count - 1].first + log->batches[log->batch_count - 1].count;
  if (log->read_count) reads = log->reads[log->read_count - 1].first + log->reads[log->read_count - 1].count;
  return batches > reads ? batches : reads;
}

void history_batch(struct history_log *log, struct history_batch batch) {
  batch.first = pairs_taken(log);
  batch.count = log->pair_count - batch.first;
  log->batches = room_for_one(log->batches, log->batch_count, &log->batch_capacity, sizeof batch);
  log->batches[log->batch_count++] = batch;
}

void history_read(struct history_log *log, struct history_read read) {
  read.first = pairs_taken(log);
  read.count = log->pair_count - read.first;
  log->reads = room_for_one(log->reads, log->read_count, &log->read_capacity, sizeof read);
  log->reads[log->read_count++] = read;
}

/* ---- the order of batches ------------------------------------------------------------------------------------------ */

struct placed {
  const struct history_batch *batch;
  const struct history_pair *pairs;
};

/* A batch's end or start, and which moments it allows. */
struct bound {
  uint64_t time;
  size_t moment;
};

struct change {
  size_t moment;
  uint32_t version;
};

struct seen {
  const struct history_read *read;
  const struct history_pair *pairs;
  uint32_t thread;
  size_t moment;
};

struct judge {
  const struct history *history;
  struct placed *order; /* by sequence */
  size_t batches;
  struct bound *ended;      /* by time; moment: the least that all up to here leave */
  struct bound *ended_safe; /* the same of durable batches only */
  size_t safe;
  struct bound *started; /* by time; moment: the greatest that all from here on leave */
  struct seen *reads;    /* by start */
  struct seen **by_end;
  size_t read_count;
  struct history_read *syncs; /* by end; started: the greatest so far */
  size_t sync_count;
  struct change *changes; /* of key k: from changes_first[k] to that of k + 1 */
  size_t *changes_first;
  uint32_t *due; /* what a read has seen of each key, where `marked` has its number */
  size_t *marked;
  char *why;
  size_t why_size;
};

#define WRONG(judge, ...) (snprintf((judge)->why, (judge)->why_size, __VA_ARGS__), false)

static int by_sequence(const void *a, const void *b) {
  uint64_t x = ((const struct placed *)a)->batch->sequence, y = ((const struct placed *)b)->batch->sequence;
  return (x > y) - (x < y);
}
static int by_time(const void *a, const void *b) {
  uint64_t x = ((const struct bound *)a)->time, y = ((const struct bound *)b)->time;
  return (x > y) - (x < y);
}
static int by_start(const void *a, const void *b) {
  uint64_t x = ((const struct seen *)a)->read->started, y = ((const struct seen *)b)->read->started;
  return (x > y) - (x < y);
}
static int by_end(const void *a, const void *b) {
  uint64_t x = (*(struct seen *const *)a)->read->ended, y = (*(struct seen *const *)b)->read->ended;
  return (x > y) - (x < y);
}
static int sync_by_end(const void *a, const void *b) {
  uint64_t x = ((const struct history_read *)a)->ended, y = ((const struct history_read *)b)->ended;
  return (x > y) - (x < y);
}

/* How many of them have a time below this. */
static size_t bounds_below(const struct bound *bounds, size_t count, uint64_t time) {
  size_t low = 0;
  while (low < count) {
    size_t middle = (low + count) / 2;
    if (bounds[middle].time < time)
      low = middle + 1;
    else
      count = middle;
  }
  return low;
}

static bool order_batches(struct judge *judge) {
  uint64_t sequence = 0, ended = UINT64_MAX;
  size_t n = 0;
  for (uint32_t t = 0; t < judge->history->threads; t++) {
    const struct history_log *log = &judge->history->logs[t];
    for (size_t i = 0; i < log->batch_count; i++)
      judge->order[n++] = (struct placed){&log->batches[i], log->pairs + log->batches[i].first};
  }
  qsort(judge->order, n, sizeof *judge->order, by_sequence);
  for (size_t i = 0; i < n; i++) {
    const struct history_batch *batch = judge->order[i].batch;
    if (batch->sequence != sequence + batch->count)
      return WRONG(judge, "a batch of %zu ends with sequence %" PRIu64 ", but the one before it with %" PRIu64,
                   batch->count, batch->sequence, sequence);
    sequence = batch->sequence;
  }
  for (size_t i = n; i-- > 0;) {
    const struct history_batch *batch = judge->order[i].batch;
    if (ended < batch->started)
      return WRONG(judge, "the batch of sequence %" PRIu64 " started when one of a later sequence had ended",
                   batch->sequence);
    if (batch->ended < ended) ended = batch->ended;
  }
  return true;
}

static void bound_moments(struct judge *judge) {
  size_t n = judge->batches;
  for (size_t i = 0; i < n; i++) {
    const struct history_batch *batch = judge->order[i].batch;
    judge->ended[i] = (struct bound){batch->ended, i + 1};
    judge->started[i] = (struct bound){batch->started, i};
    if (batch->durable) judge->ended_safe[judge->safe++] = judge->ended[i];
  }
  qsort(judge->ended, n, sizeof *judge->ended, by_time);
  qsort(judge->ended_safe, judge->safe, sizeof *judge->ended_safe, by_time);
  qsort(judge->started, n, sizeof *judge->started, by_time);
  for (size_t i = 1; i < n; i++)
    if (judge->ended[i].moment < judge->ended[i - 1].moment) judge->ended[i].moment = judge->ended[i - 1].moment;
  for (size_t i = 1; i < judge->safe; i++)
    if (judge->ended_safe[i].moment < judge->ended_safe[i - 1].moment)
      judge->ended_safe[i].moment = judge->ended_safe[i - 1].moment;
  for (size_t i = n; i-- > 1;)
    if (judge->started[i - 1].moment > judge->started[i].moment)
      judge->started[i - 1].moment = judge->started[i].moment;
}

static void list_changes(struct judge *judge) {
  size_t *first = judge->changes_first, total = 0;
  for (size_t i = 0; i < judge->batches; i++)
    for (size_t p = 0; p < judge->order[i].batch->count; p++) first[judge->order[i].pairs[p].key + 1]++;
  for (uint32_t k = 0; k < judge->history->keys; k++) first[k + 1] += first[k];
  total = first[judge->history->keys];
  size_t *next = malloc((judge->history->keys + 1) * sizeof *next);
  memcpy(next, first, judge->history->keys * sizeof *next);
  judge->changes = malloc((total + 1) * sizeof *judge->changes);
  for (size_t i = 0; i < judge->batches; i++)
    for (size_t p = 0; p < judge->order[i].batch->count; p++) {
      const struct history_pair *pair = &judge->order[i].pairs[p];
      judge->changes[next[pair->key]++] = (struct change){i + 1, pair->version};
    }
  free(next);
}

static uint32_t version_at(const struct judge *judge, uint32_t key, size_t moment) {
  size_t low = judge->changes_first[key], high = judge->changes_first[key + 1];
  size_t begin = low;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (judge->changes[middle].moment <= moment)
      low = middle + 1;
    else
      high = middle;
  }
  return low == begin ? HISTORY_ABSENT : judge->changes[low - 1].version;
}

/* ---- reads ----------------------------------------------------------------------------------------------------- */

static void order_reads(struct judge *judge) {
  size_t n = 0;
  for (uint32_t t = 0; t < judge->history->threads; t++) {
    const struct history_log *log = &judge->history->logs[t];
    for (size_t i = 0; i < log->read_count; i++)
      if (log->reads[i].kind == HISTORY_SYNC)
        judge->syncs[judge->sync_count++] = log->reads[i];
      else
        judge->reads[n++] = (struct seen){&log->reads[i], log->pairs + log->reads[i].first, t, 0};
  }
  judge->read_count = n;
  qsort(judge->reads, n, sizeof *judge->reads, by_start);
  for (size_t i = 0; i < n; i++) judge->by_end[i] = &judge->reads[i];
  qsort(judge->by_end, n, sizeof *judge->by_end, by_end);
  qsort(judge->syncs, judge->sync_count, sizeof *judge->syncs, sync_by_end);
  for (size_t i = 1; i < judge->sync_count; i++)
    if (judge->syncs[i].started < judge->syncs[i - 1].started) judge->syncs[i].started = judge->syncs[i - 1].started;
}

static size_t least_moment(const struct judge *judge, uint64_t time) {
  size_t n = bounds_below(judge->ended, judge->batches, time);
  return n ? judge->ended[n - 1].moment : 0;
}

/* Of what was durable when a crash came. */
static size_t least_after_crash(const struct judge *judge, uint64_t time) {
  size_t n = bounds_below(judge->ended_safe, judge->safe, time), least = n ? judge->ended_safe[n - 1].moment : 0;
  size_t s = 0;
  while (s < judge->sync_count && judge->syncs[s].ended < time) s++;
  size_t synced = s ? least_moment(judge, judge->syncs[s - 1].started) : 0;
  return synced > least ? synced : least;
}

static size_t greatest_moment(const struct judge *judge, uint64_t time) {
  size_t n = bounds_below(judge->started, judge->batches, time + 1);
  return n < judge->batches ? judge->started[n].moment : judge->batches;
}

static uint64_t sequence_of(const struct judge *judge, size_t moment) {
  return moment ? judge->order[moment - 1].batch->sequence : 0;
}

/* How many of the keys that a read has seen differ from the moment. Fills due. */
static bool take_pairs(struct judge *judge, const struct seen *seen, size_t number, size_t moment, size_t *wrong) {
  *wrong = 0;
  for (size_t p = 0; p < seen->read->count; p++) {
    uint32_t key = seen->pairs[p].key, version = seen->pairs[p].version;
    if (judge->marked[key] == number) {
      if (judge->due[key] != version)
        return WRONG(judge, "thread %u, %s: key %u had version %u, and then %u", seen->thread, seen->read->what, key,
                     judge->due[key], version);
      continue;
    }
    judge->marked[key] = number;
    judge->due[key] = version;
    *wrong += version_at(judge, key, moment) != version;
  }
  return true;
}

/* The keys that a read has seen and the next batch changes. */
static void step(struct judge *judge, size_t number, size_t moment, size_t *wrong) {
  const struct placed *next = &judge->order[moment];
  for (size_t p = 0; p < next->batch->count; p++) {
    uint32_t key = next->pairs[p].key;
    if (judge->marked[key] != number) continue;
    *wrong -= version_at(judge, key, moment) != judge->due[key];
    *wrong += next->pairs[p].version != judge->due[key];
  }
}

static bool never_was(struct judge *judge, const struct seen *seen, size_t least, size_t greatest, size_t nearest) {
  char keys[160] = "";
  size_t used = 0;
  for (size_t p = 0; p < seen->read->count && used < sizeof keys; p++) {
    uint32_t key = seen->pairs[p].key, due = version_at(judge, key, nearest);
    if (due == seen->pairs[p].version) continue;
    used += (size_t)snprintf(keys + used, sizeof keys - used, "; key %u: version %u seen, %u due", key,
                             seen->pairs[p].version, due);
  }
  char told[48] = "";
  if (seen->read->sequence != HISTORY_UNTOLD) snprintf(told, sizeof told, ", told %" PRIu64, seen->read->sequence);
  return WRONG(judge,
               "thread %u, %s: %zu pairs were seen that were never there together between the sequences %" PRIu64
               " and %" PRIu64 "%s; nearest %" PRIu64 "%s",
               seen->thread, seen->read->what, seen->read->count, sequence_of(judge, least),
               sequence_of(judge, greatest), told, sequence_of(judge, nearest), keys);
}

/* The earliest moment from `least` on at which all that was seen was there. */
static bool find_moment(struct judge *judge, struct seen *seen, size_t number, size_t least) {
  size_t greatest = greatest_moment(judge, seen->read->ended), nearest = least, fewest = SIZE_MAX, wrong;
  if (least > greatest)
    return WRONG(judge, "thread %u, %s: what was seen before is of sequence %" PRIu64 ", later than %" PRIu64,
                 seen->thread, seen->read->what, sequence_of(judge, least), sequence_of(judge, greatest));
  if (!take_pairs(judge, seen, number, least, &wrong)) return false;
  for (size_t m = least;; m++) {
    bool told = seen->read->sequence == HISTORY_UNTOLD || seen->read->sequence == sequence_of(judge, m);
    if (wrong == 0 && told) {
      seen->moment = m;
      return true;
    }
    if (told && wrong < fewest) nearest = m, fewest = wrong;
    if (m == greatest) break;
    step(judge, number, m, &wrong);
  }
  return never_was(judge, seen, least, greatest, nearest);
}

static bool judge_reads(struct judge *judge) {
  size_t floor = 0, done = 0;
  for (size_t i = 0; i < judge->read_count; i++) {
    struct seen *seen = &judge->reads[i];
    bool crash = seen->read->kind == HISTORY_CRASH;
    for (; done < judge->read_count && judge->by_end[done]->read->ended < seen->read->started; done++)
      if (judge->by_end[done]->read->kind == HISTORY_READ && judge->by_end[done]->moment > floor)
        floor = judge->by_end[done]->moment;
    size_t least = (crash ? least_after_crash : least_moment)(judge, seen->read->started);
    if (!crash && floor > least) least = floor;
    if (!find_moment(judge, seen, i + 1, least)) return false;
  }
  return true;
}

bool history_judge(const struct history *history, char *why, size_t size) {
  struct judge judge = {.history = history, .why = why, .why_size = size};
  size_t reads = 0;
  for (uint32_t t = 0; t < history->threads; t++) {
    judge.batches += history->logs[t].batch_count;
    reads += history->logs[t].read_count;
  }
  judge.order = calloc(judge.batches + 1, sizeof *judge.order);
  judge.ended = calloc(judge.batches + 1, sizeof *judge.ended);
  judge.ended_safe = calloc(judge.batches + 1, sizeof *judge.ended_safe);
  judge.started = calloc(judge.batches + 1, sizeof *judge.started);
  judge.reads = calloc(reads + 1, sizeof *judge.reads);
  judge.by_end = calloc(reads + 1, sizeof(struct seen *));
  judge.syncs = calloc(reads + 1, sizeof *judge.syncs);
  judge.changes_first = calloc(history->keys + 1, sizeof *judge.changes_first);
  judge.due = calloc(history->keys, sizeof *judge.due);
  judge.marked = calloc(history->keys, sizeof *judge.marked);
  bool well = order_batches(&judge);
  if (well) {
    bound_moments(&judge);
    list_changes(&judge);
    order_reads(&judge);
    well = judge_reads(&judge);
  }
  free(judge.order);
  free(judge.ended);
  free(judge.ended_safe);
  free(judge.started);
  free(judge.reads);
  free(judge.by_end);
  free(judge.syncs);
  free(judge.changes);
  free(judge.changes_first);
  free(judge.due);
  free(judge.marked);
  return well;
}
