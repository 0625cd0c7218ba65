/* Owns: what is known of ranges without visible keys.
 *
 * Always true: no key of a gap is visible to a reader at the gap's sequence or any later one up to now: deletes cannot change
 * that, and a put cuts the gap before its sequence is seen by any reader. Gaps are disjoint and not empty.
 *
 * Order: gaps_add and gaps_put exclude each other by the engine's state lock, so that no gap is added after the put that
 * should have cut it. The lock here only guards the table against readers.
 *
 * See: DESIGN.md "Deletes", tests/unit/test_gaps.c. */
#include "engine/gaps.h"

#include <assert.h>
#include <string.h>
#include "format/record.h"

enum { GAPS = 8 };

struct gap {
  uint64_t since; /* sequence; 0: the place is free */
  uint64_t used;
  bool backward;
  size_t lower_size, upper_size;
  uint8_t *lower, *upper;
};

struct gaps {
  struct lock lock;
  struct mem *mem;
  size_t key_size; /* bytes of each bound */
  uint64_t clock;
  _Atomic uint32_t count;
  struct gap all[GAPS];
  uint8_t bytes[];
};

uint64_t gaps_memory(size_t key_max) { return sizeof(struct gaps) + 2 * GAPS * (key_max + 1); }

struct gaps *gaps_create(struct mem *mem, size_t key_max) {
  struct gaps *gaps = mem_zalloc(mem, (size_t)gaps_memory(key_max));
  if (!gaps) return NULL;
  if (lock_init(&gaps->lock)) {
    mem_free(mem, gaps, (size_t)gaps_memory(key_max));
    return NULL;
  }
  gaps->mem = mem;
  gaps->key_size = key_max + 1;
  for (size_t i = 0; i < GAPS; i++) {
    gaps->all[i].lower = gaps->bytes + 2 * i * gaps->key_size;
    gaps->all[i].upper = gaps->all[i].lower + gaps->key_size;
  }
  return gaps;
}

void gaps_free(struct gaps *gaps) {
  if (!gaps) return;
  lock_release(&gaps->lock);
  mem_free(gaps->mem, gaps, (size_t)gaps_memory(gaps->key_size - 1));
}

/* ---- one gap ---------------------------------------------------------------------------------------------------- */

static struct wodan_slice lower_of(const struct gap *gap) { return (struct wodan_slice){gap->lower, gap->lower_size}; }
static struct wodan_slice upper_of(const struct gap *gap) { return (struct wodan_slice){gap->upper, gap->upper_size}; }

static void set_lower(struct gap *gap, struct wodan_slice key) {
  memmove(gap->lower, key.data, key.size);
  gap->lower_size = key.size;
}

static void set_upper(struct gap *gap, struct wodan_slice key) {
  memmove(gap->upper, key.data, key.size);
  gap->upper_size = key.size;
}

static bool holds(const struct gap *gap, struct wodan_slice key) {
  return gap->since && key_compare(lower_of(gap), key) <= 0 && key_compare(key, upper_of(gap)) < 0;
}

static void forget(struct gaps *gaps, struct gap *gap) {
  gap->since = 0;
  atomic_fetch_sub_explicit(&gaps->count, 1, memory_order_relaxed);
}

/* A free place. */
static struct gap *place(struct gaps *gaps) {
  struct gap *oldest = &gaps->all[0];
  for (size_t i = 0; i < GAPS; i++) {
    if (gaps->all[i].since == 0) return &gaps->all[i];
    if (gaps->all[i].used < oldest->used) oldest = &gaps->all[i];
  }
  forget(gaps, oldest);
  return oldest;
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

/* The range grows by what it touches, which is forgotten. The bounds of `range` may lie in gaps that are: they stay until
 * their place is taken. */
static void take_in(struct gaps *gaps, struct gap_range *range) {
  for (size_t i = 0; i < GAPS; i++) {
    struct gap *gap = &gaps->all[i];
    if (gap->since == 0 || key_compare(upper_of(gap), range->lower) < 0 || key_compare(range->upper, lower_of(gap)) < 0)
      continue;
    if (key_compare(lower_of(gap), range->lower) < 0) range->lower = lower_of(gap);
    if (key_compare(range->upper, upper_of(gap)) < 0) range->upper = upper_of(gap);
    forget(gaps, gap);
    i = (size_t)-1; /* it may touch more now */
  }
}

void gaps_add(struct gaps *gaps, const struct gap_range *range, uint64_t sequence, bool backward) {
  struct gap_range whole = *range;
  if (sequence == 0 || whole.lower.size > gaps->key_size || whole.upper.size > gaps->key_size) return;
  if (key_compare(whole.lower, whole.upper) >= 0) return;
  lock_acquire(&gaps->lock);
  take_in(gaps, &whole);
  struct gap *gap = place(gaps);
  set_lower(gap, whole.lower); /* may be its own from before; never its upper one */
  set_upper(gap, whole.upper);
  gap->since = sequence;
  gap->used = ++gaps->clock;
  gap->backward = backward;
  atomic_fetch_add_explicit(&gaps->count, 1, memory_order_relaxed);
  lock_leave(&gaps->lock);
}

bool gaps_find(struct gaps *gaps, struct wodan_slice key, uint64_t sequence, bool backward, uint8_t *to, size_t *size) {
  bool found = false;
  if (atomic_load_explicit(&gaps->count, memory_order_relaxed) == 0) return false;
  lock_acquire(&gaps->lock);
  for (size_t i = 0; i < GAPS && !found; i++) {
    struct gap *gap = &gaps->all[i];
    if (!holds(gap, key) || gap->since > sequence) continue;
    struct wodan_slice bound = backward ? lower_of(gap) : upper_of(gap);
    memcpy(to, bound.data, bound.size);
    *size = bound.size;
    gap->used = ++gaps->clock;
    gap->backward = backward;
    found = true;
  }
  lock_leave(&gaps->lock);
  return found;
}

/* The key right behind this one. */
static void set_lower_behind(struct gap *gap, struct wodan_slice key) {
  set_lower(gap, key);
  gap->lower[gap->lower_size++] = 0;
}

/* What lies before the key and what lies behind it stay gaps; where there is room for one only, the side that matters more. */
static void cut(struct gaps *gaps, struct gap *gap, struct wodan_slice key) {
  bool two = atomic_load_explicit(&gaps->count, memory_order_relaxed) < GAPS;
  if (two) {
    struct gap *other = place(gaps);
    set_lower_behind(other, key);
    set_upper(other, upper_of(gap));
    other->since = gap->since;
    other->used = gap->used;
    other->backward = gap->backward;
    atomic_fetch_add_explicit(&gaps->count, 1, memory_order_relaxed);
    if (key_compare(lower_of(other), upper_of(other)) >= 0) forget(gaps, other);
  }
  if (two || !gap->backward)
    set_upper(gap, key);
  else
    set_lower_behind(gap, key);
  if (key_compare(lower_of(gap), upper_of(gap)) >= 0) forget(gaps, gap);
}

void gaps_put(struct gaps *gaps, struct wodan_slice key) {
  if (atomic_load_explicit(&gaps->count, memory_order_relaxed) == 0) return;
  lock_acquire(&gaps->lock);
  for (size_t i = 0; i < GAPS; i++) {
    if (!holds(&gaps->all[i], key)) continue;
    cut(gaps, &gaps->all[i], key);
    break;
  }
  lock_leave(&gaps->lock);
}
