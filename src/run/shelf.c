/* Owns: how much memory bodies of runs take, and which of them go when room is needed.
 *
 * A part of a body (index part or filter) is on a ring; the hand goes round it. A part whose run was used since the hand
 * last passed gets another round. A handle's word counts its pins; its top bit is the claim.
 *
 * Always true:
 *  - bytes, which counts every part on the ring and the room taken by loads under way, is never above bytes_max, and
 *    memory is allocated after its room was taken and freed before it is given back;
 *  - a part leaves its handle only while the run is claimed or without references, and a run is claimed only when it has
 *    no pins, by one compare-and-swap, under the lock; so who pins a claimed run waits for the lock and finds the part gone;
 *  - frames are published into slots by who has a pin, so no slot is set after cache_drop;
 *  - at most one thread loads a part of a run; it reads without the lock.
 *
 * Order of locks: this one, then the cache's.
 *
 * See: tests/unit/test_shelf.c. */
#include "run/shelf.h"

#include <assert.h>
#include "run/run_private.h"

struct run_shelf {
  struct mem *mem;
  struct lock lock;
  struct condition loaded;   /* a load has ended */
  struct shelf_item *hand;   /* NULL: the ring is empty */
  uint64_t items;            /* on the ring */
  uint64_t loading, waiting; /* loads under way; those of them that wait for room */
  uint64_t bytes_max;
  _Atomic uint64_t bytes; /* changed under the lock */
  uint64_t loads, evictions;
};

struct run_shelf *run_shelf_create(struct mem *mem, uint64_t bytes_max) {
  struct run_shelf *shelf = mem_zalloc(mem, sizeof *shelf);
  if (!shelf) return NULL;
  shelf->mem = mem;
  shelf->bytes_max = bytes_max;
  atomic_init(&shelf->bytes, 0);
  if (lock_init(&shelf->lock)) {
    mem_free(mem, shelf, sizeof *shelf);
    return NULL;
  }
  if (condition_init(&shelf->loaded)) {
    lock_release(&shelf->lock);
    mem_free(mem, shelf, sizeof *shelf);
    return NULL;
  }
  return shelf;
}

void run_shelf_free(struct run_shelf *shelf) {
  if (!shelf) return;
  assert(shelf->items == 0 && shelf->loading == 0 && atomic_load(&shelf->bytes) == 0);
  condition_release(&shelf->loaded);
  lock_release(&shelf->lock);
  mem_free(shelf->mem, shelf, sizeof *shelf);
}

struct run_shelf_counts run_shelf_counts(struct run_shelf *shelf) {
  lock_acquire(&shelf->lock);
  struct run_shelf_counts counts = {.bytes = atomic_load_explicit(&shelf->bytes, memory_order_relaxed),
                                    .bytes_max = shelf->bytes_max,
                                    .loads = shelf->loads,
                                    .evictions = shelf->evictions};
  lock_leave(&shelf->lock);
  return counts;
}

void shelf_await(struct run_shelf *shelf) {
  lock_acquire(&shelf->lock);
  lock_leave(&shelf->lock);
}

bool shelf_has_room(struct run_shelf *shelf, uint64_t bytes) {
  uint64_t used = atomic_load_explicit(&shelf->bytes, memory_order_relaxed);
  return used <= shelf->bytes_max && bytes <= shelf->bytes_max - used;
}

/* ---- ring, lock held ----------------------------------------------------------------------------------------- */

/* Behind all others, seen from the hand. */
static void ring_add(struct run_shelf *shelf, struct shelf_item *item) {
  struct shelf_item *hand = shelf->hand ? shelf->hand : item;
  if (!shelf->hand) item->next = item->previous = shelf->hand = item;
  item->next = hand;
  item->previous = hand->previous;
  item->previous->next = item;
  hand->previous = item;
  shelf->items++;
}

static void ring_remove(struct run_shelf *shelf, struct shelf_item *item) {
  if (shelf->hand == item) shelf->hand = item->next == item ? NULL : item->next;
  item->previous->next = item->next;
  item->next->previous = item->previous;
  shelf->items--;
}

/* Frees a part that is out of its handle. */
static void part_release(struct run_shelf *shelf, struct run *run, struct shelf_item *item, bool filter) {
  uint64_t bytes = item->bytes;
  ring_remove(shelf, item);
  if (filter)
    run_filter_free(run, (struct run_filter *)item);
  else
    run_index_free(run, (struct run_index *)item);
  atomic_fetch_sub_explicit(&shelf->bytes, bytes, memory_order_relaxed);
}

static struct shelf_item *take_index(struct run *run) {
  struct run_index *index = atomic_exchange_explicit(&run->index, NULL, memory_order_acq_rel);
  return index ? &index->item : NULL;
}

static struct shelf_item *take_filter(struct run *run) {
  struct run_filter *filter = atomic_exchange_explicit(&run->filter, NULL, memory_order_acq_rel);
  return filter ? &filter->item : NULL;
}

/* The part under the hand goes when nobody uses its run and, unless by force, nobody did since the hand was here; else the hand
 * moves on. */
static void evict_or_pass(struct run_shelf *shelf, bool force) {
  struct shelf_item *item = shelf->hand;
  struct run *run = item->run;
  struct run_filter *loaded = atomic_load_explicit(&run->filter, memory_order_relaxed);
  bool filter = loaded && item == &loaded->item;
  _Atomic bool *used = filter ? &run->filter_used : &run->index_used;
  uint32_t pins = atomic_load_explicit(&run->pins, memory_order_relaxed);
  bool again = pins == 0 && !force && atomic_load_explicit(used, memory_order_relaxed);
  if (again) atomic_store_explicit(used, false, memory_order_relaxed);
  if (pins || again ||
      !atomic_compare_exchange_strong_explicit(&run->pins, &pins, RUN_CLAIMED, memory_order_acq_rel,
                                               memory_order_relaxed)) {
    shelf->hand = item->next;
    return;
  }
  struct shelf_item *taken = filter ? take_filter(run) : take_index(run);
  assert(taken == item);
  part_release(shelf, run, taken, filter);
  shelf->evictions++;
  atomic_fetch_sub_explicit(&run->pins, RUN_CLAIMED, memory_order_release);
}

static bool make_room(struct run_shelf *shelf, uint64_t bytes) {
  if (bytes > shelf->bytes_max) return false;
  /* Twice round; and once more by force, for readers may have marked all of them as used again meanwhile. */
  uint64_t items = shelf->items;
  for (uint64_t left = 3 * items; !shelf_has_room(shelf, bytes); left--) {
    if (!left || !shelf->hand) return false;
    evict_or_pass(shelf, left <= items);
  }
  return true;
}

/* ---- loads --------------------------------------------------------------------------------------------------- */

bool shelf_begin(struct run *run, bool filter, bool wait) {
  struct run_shelf *shelf = run->env->shelf;
  lock_acquire(&shelf->lock);
  while (wait && run->loading) condition_wait(&shelf->loaded, &shelf->lock);
  bool there = filter ? atomic_load_explicit(&run->filter, memory_order_relaxed) != NULL
                      : atomic_load_explicit(&run->index, memory_order_relaxed) != NULL;
  bool ours = !run->loading && !there;
  if (ours) {
    run->loading = true;
    shelf->loading++;
  }
  lock_leave(&shelf->lock);
  return ours;
}

bool shelf_take(struct run_shelf *shelf, uint64_t bytes) {
  lock_acquire(&shelf->lock);
  bool room = make_room(shelf, bytes);
  /* Another load may end with less than it holds now, unless all of them wait here. */
  while (!room && shelf->waiting + 1 < shelf->loading) {
    shelf->waiting++;
    condition_wait(&shelf->loaded, &shelf->lock);
    shelf->waiting--;
    room = make_room(shelf, bytes);
  }
  if (room) atomic_fetch_add_explicit(&shelf->bytes, bytes, memory_order_relaxed);
  lock_leave(&shelf->lock);
  return room;
}

void shelf_give(struct run_shelf *shelf, uint64_t bytes) {
  lock_acquire(&shelf->lock);
  atomic_fetch_sub_explicit(&shelf->bytes, bytes, memory_order_relaxed);
  lock_leave(&shelf->lock);
}

void shelf_end(struct run *run, struct run_index *index, struct run_filter *filter) {
  struct run_shelf *shelf = run->env->shelf;
  assert(!index || !filter);
  lock_acquire(&shelf->lock);
  assert(run->loading && shelf->loading > 0);
  if (index) {
    index->item.run = run;
    ring_add(shelf, &index->item);
    atomic_store_explicit(&run->index, index, memory_order_release);
  }
  if (filter) {
    filter->item.run = run;
    ring_add(shelf, &filter->item);
    atomic_store_explicit(&run->filter, filter, memory_order_release);
  }
  if (index || filter) shelf->loads++;
  run->loading = false;
  shelf->loading--;
  condition_wake_all(&shelf->loaded);
  lock_leave(&shelf->lock);
}

void shelf_remove(struct run *run) {
  struct run_shelf *shelf = run->env->shelf;
  lock_acquire(&shelf->lock);
  assert(!run->loading && atomic_load_explicit(&run->pins, memory_order_relaxed) == 0);
  struct shelf_item *index = take_index(run), *filter = take_filter(run);
  if (index) part_release(shelf, run, index, false);
  if (filter) part_release(shelf, run, filter, true);
  lock_leave(&shelf->lock);
}
