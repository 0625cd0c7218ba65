/* What several threads did to one database and what each of them saw of it, and the judge of that: every read and every
 * view must have seen the whole database as it was at one moment within its call, between two whole batches, and no
 * moment may lie before one that an earlier read has seen.
 *
 * Each thread writes into a log of its own; the judge reads them when all threads have ended. Keys are numbers below
 * `keys`; versions are numbers that no two batches share, 0 for "absent". In the beginning every key is absent. */
#ifndef SUPPORT_HISTORY_H
#define SUPPORT_HISTORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define HISTORY_RACES_WATCHED /* by the thread sanitizer */
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HISTORY_RACES_WATCHED
#endif
#endif

enum { HISTORY_ABSENT = 0 };
#define HISTORY_UNTOLD UINT64_MAX /* nobody told which sequence number a read has seen */

struct history_pair {
  uint32_t key, version;
};

struct history_batch {
  uint64_t started, ended; /* history_now before and after the commit */
  uint64_t sequence;       /* of its last operation */
  bool durable;
  size_t first, count; /* pairs: what the keys are after it */
};

enum history_kind {
  HISTORY_READ,  /* a read of now; a view or cursor: started and ended are those of its opening */
  HISTORY_CRASH, /* what was found after a crash: an older moment is right too, but not before what was durable */
  HISTORY_SYNC,  /* saw nothing: all that had ended when it started is durable since it ended */
};

struct history_read {
  const char *what;
  enum history_kind kind;
  uint64_t started, ended;
  uint64_t sequence;   /* told by the library, or HISTORY_UNTOLD */
  size_t first, count; /* pairs */
};

struct history_log {
  struct history_batch *batches;
  struct history_read *reads;
  struct history_pair *pairs;
  size_t batch_count, batch_capacity, read_count, read_capacity, pair_count, pair_capacity;
};

struct history {
  uint32_t keys, threads;
  struct history_log *logs; /* one a thread */
  _Atomic uint64_t clock;
};

struct history *history_create(uint32_t keys, uint32_t threads);
void history_free(struct history *history);

/* The order in which things happened: grows with each call. Under the thread sanitizer it orders nothing else, so that it
 * hides no race of the library's. */
static inline uint64_t history_now(struct history *history) {
#ifdef HISTORY_RACES_WATCHED
  return atomic_fetch_add_explicit(&history->clock, 1, memory_order_relaxed) + 1;
#else
  return atomic_fetch_add(&history->clock, 1) + 1;
#endif
}

/* Pairs first (history_pair), then the batch or read that they belong to: all since the one before. */
void history_pair(struct history_log *log, uint32_t key, uint32_t version);
void history_batch(struct history_log *log, struct history_batch batch); /* first and count are filled in */
void history_read(struct history_log *log, struct history_read read);

/* true: all is well. Else `why` says what was seen that never was. */
bool history_judge(const struct history *history, char *why, size_t size);

#endif
