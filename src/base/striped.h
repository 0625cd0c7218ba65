/* What many readers touch at each call, in stripes: each thread uses the stripe its number picks, so that two of them seldom
 * write to the same line of memory. A lock for many readers and few writers, and counters.
 *
 * The lock: a reader goes into its stripe and looks whether a writer is there; a writer says so first, then waits until all stripes
 * are empty. So one of the two sees the other. A waiting writer goes before readers that come later: else readers without a pause
 * would keep it out for ever. So a thread must not take the lock for reading twice. */
#ifndef BASE_STRIPED_H
#define BASE_STRIPED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/thread.h"

enum { STRIPES = 16, STRIPE_SIZE = 128 }; /* what is used of one lies within a line, wherever the whole begins */

/* The calling thread's. */
static inline unsigned stripe_number(void) { return (unsigned)(thread_number() * UINT64_C(0x9e3779b97f4a7c15) >> 60); }

/* ---- lock ---------------------------------------------------------------------------------------------------------- */

struct lock_stripe {
  _Atomic uint32_t readers;
  uint8_t unused[STRIPE_SIZE - 4];
};

struct striped_lock {
  struct lock_stripe stripes[STRIPES];
  _Atomic bool writing;   /* a writer is inside or waits for readers */
  struct lock writer;     /* held by it */
  struct lock wait;       /* with empty */
  struct condition empty; /* a reader has left while a writer waited */
};

/* 0, or non-zero when the system has no resources left. */
static inline int striped_init(struct striped_lock *l) {
  return lock_init(&l->writer) | lock_init(&l->wait) | condition_init(&l->empty);
}

static inline void striped_release(struct striped_lock *l) {
  lock_release(&l->writer);
  lock_release(&l->wait);
  condition_release(&l->empty);
}

static inline void striped_read_leave(struct striped_lock *l) {
  atomic_fetch_sub(&l->stripes[stripe_number()].readers, 1);
  if (!atomic_load(&l->writing)) return;
  lock_acquire(&l->wait); /* the writer looks at the stripes with it held, so it does not miss this */
  condition_wake_all(&l->empty);
  lock_leave(&l->wait);
}

static inline void striped_read(struct striped_lock *l) {
  for (;;) {
    atomic_fetch_add(&l->stripes[stripe_number()].readers, 1);
    if (!atomic_load(&l->writing)) return;
    striped_read_leave(l);
    lock_acquire(&l->writer); /* until it is done */
    lock_leave(&l->writer);
  }
}

static inline void striped_write(struct striped_lock *l) {
  lock_acquire(&l->writer);
  atomic_store(&l->writing, true);
  for (unsigned i = 0; i < STRIPES; i++) {
    if (!atomic_load(&l->stripes[i].readers)) continue;
    lock_acquire(&l->wait);
    while (atomic_load(&l->stripes[i].readers)) condition_wait(&l->empty, &l->wait);
    lock_leave(&l->wait);
  }
}

static inline void striped_write_leave(struct striped_lock *l) {
  atomic_store(&l->writing, false);
  lock_leave(&l->writer);
}

/* ---- counters ------------------------------------------------------------------------------------------------------ */

/* Up to eight of them, side by side in a stripe. */
enum { STRIPED_COUNTERS = 8 };
struct counter_stripe {
  _Atomic uint64_t counters[STRIPED_COUNTERS];
  uint8_t unused[STRIPE_SIZE - 8 * STRIPED_COUNTERS];
};

struct striped_counters {
  struct counter_stripe stripes[STRIPES];
};

static inline void striped_add(struct striped_counters *c, unsigned counter, uint64_t n) {
  atomic_fetch_add_explicit(&c->stripes[stripe_number()].counters[counter], n, memory_order_relaxed);
}

/* As striped_add of -n, and what the thread did before happens before another sees it in striped_sum. */
static inline void striped_take(struct striped_counters *c, unsigned counter, uint64_t n) {
  atomic_fetch_sub_explicit(&c->stripes[stripe_number()].counters[counter], n, memory_order_release);
}

/* The calling thread's, for a word that is no sum. Another thread may have the same one. */
static inline _Atomic uint64_t *striped_own(struct striped_counters *c, unsigned counter) {
  return &c->stripes[stripe_number()].counters[counter];
}

/* Of all stripes. While others only take, it is not less than what will be left. */
static inline uint64_t striped_sum(const struct striped_counters *c, unsigned counter) {
  uint64_t sum = 0;
  for (unsigned i = 0; i < STRIPES; i++)
    sum += atomic_load_explicit(&c->stripes[i].counters[counter], memory_order_acquire);
  return sum;
}

#endif
