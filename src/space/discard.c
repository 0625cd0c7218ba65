/* Owns: the discard scheduler: what waits, what is due, and what is held from allocations while the device is at it.
 *
 * Always true:
 *  - only blocks that are free are held, so only those are discarded: looked at under the lock at the moment they are taken;
 *  - the waiting blocks are free, and a unit's number of them equals its bits;
 *  - one extent is held at most, of a quarter of what is free unless one grain is more. Its blocks are used in the free map and
 *    counted as free: an allocation that finds no room without them waits until the device is done (discards_wait), so a
 *    discard never makes one fail, and no write to the place comes before the discard has returned;
 *  - no memory is taken behind space_discard_begin.
 *
 * Units: the device is seen as units of about 1 MiB (1/64 of a small volume, at least the device's granularity), aligned as
 * the device counts. Due is a unit that is free as a whole and of which nothing became free for QUIET_WHOLE turns, with its
 * neighbours in one discard; else, after QUIET_PART turns, the waiting stretches in it, widened to whole grains where the blocks
 * beside them are free too. A round looks at each unit once, in the order of the device; a turn has one round.
 *
 * Time: only steps forward count, and at most STEP of each, because what became free since the last step counts from there. So a
 * clock that goes back, jumps or stands still, and one that is seldom told, make discards late and nothing else. A discard
 * costs time by its bytes, at least 1/OPERATIONS of a second; as much is done as time went by, and a second's worth at once.
 *
 * See: discard.h, DESIGN.md "Discards", tests/unit/test_discard.c. */
#include "space/discard.h"

#include <assert.h>
#include <string.h>
#include "space/space_private.h"

enum {
  UNIT_BYTES = 1 << 20,
  UNIT_SHARE = 64, /* of the data area */
  PART_BYTES = 32 << 10,
  QUIET_WHOLE = 2, /* turns */
  QUIET_PART = 5,
  OPERATIONS = 100,     /* a second */
  LOOK_UNITS = 1 << 16, /* in one call */
};
static const uint64_t SECOND = 1000000000, TURN = 10000000000, STEP = 2000000000, RATE = 512 << 20,
                      DISCARD_BYTES = 64 << 20;

static uint64_t least_of(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t most_of(uint64_t a, uint64_t b) { return a > b ? a : b; }

static uint64_t size_of(const struct space *space) { return space->end - space->first; }

/* ---- begin and end -------------------------------------------------------------------------------------------------- */

/* Blocks of the smallest piece that is whole blocks and whole granules. */
static uint64_t grain_of(uint64_t block_size, uint64_t granularity) {
  uint64_t a = block_size, b = granularity;
  while (b) {
    uint64_t rest = a % b;
    a = b;
    b = rest;
  }
  return granularity / a; /* lcm / block_size */
}

static uint64_t unit_of(uint64_t blocks, uint64_t block_size, uint64_t grain) {
  uint64_t unit = grain;
  while (2 * unit * block_size <= UNIT_BYTES && 2 * unit <= blocks / UNIT_SHARE) unit *= 2;
  return unit;
}

uint64_t space_discard_memory(uint64_t blocks, uint32_t block_size) {
  /* With a larger grain a unit may be half as long. */
  uint64_t units = 2 * (blocks / unit_of(blocks, block_size, 1) + 2);
  return bitmap_memory(blocks) + units * sizeof(struct discard_unit);
}

bool space_discard_begin(struct space *space, const struct discard_setup *setup) {
  struct discards *d = &space->discards;
  uint64_t size = size_of(space);
  assert(!d->units);
  if (!setup->granularity || !size) return true;
  d->grain = grain_of(setup->block_size, setup->granularity);
  d->block_size = setup->block_size;
  d->unit = unit_of(size, d->block_size, d->grain);
  d->least = most_of(least_of(PART_BYTES / d->block_size, d->unit), d->grain);
  d->most = most_of(DISCARD_BYTES / d->block_size, 1);
  d->rate = setup->rate ? setup->rate : RATE;
  d->hand = size;
  d->credit = (int64_t)SECOND;
  if (setup->policy == DISCARD_OFF) return true;
  d->unit_count = (space->end - 1) / d->unit - space->first / d->unit + 1;
  d->units = mem_array(space->mem, d->unit_count, sizeof *d->units);
  if (!d->units) return false;
  memset(d->units, 0, (size_t)d->unit_count * sizeof *d->units);
  if (bitmap_init(&d->waiting, space->mem, size)) {
    d->policy = setup->policy;
    return true;
  }
  discards_release(space);
  return false;
}

void discards_release(struct space *space) {
  struct discards *d = &space->discards;
  if (d->waiting.bits) bitmap_release(&d->waiting, space->mem);
  mem_array_free(space->mem, d->units, d->unit_count, sizeof *d->units);
  d->units = NULL;
}

/* ---- units and what waits -------------------------------------------------------------------------------------------- */

static uint64_t unit_at(const struct space *space, uint64_t block) {
  return (block + space->first) / space->discards.unit - space->first / space->discards.unit;
}

/* Where the unit of `block` begins and ends, as far as it lies in the data area. */
static uint64_t unit_first(const struct space *space, uint64_t block) {
  uint64_t into = (block + space->first) % space->discards.unit;
  return block > into ? block - into : 0;
}

static uint64_t unit_end(const struct space *space, uint64_t block) {
  uint64_t unit = space->discards.unit;
  return least_of(block + unit - (block + space->first) % unit, size_of(space));
}

/* The grain's border at or behind (before) a block. The one before may lie outside the data area: *inside. */
static uint64_t grain_behind(const struct space *space, uint64_t block) {
  uint64_t grain = space->discards.grain, into = (block + space->first) % grain;
  return into ? block + grain - into : block;
}

static uint64_t grain_before(const struct space *space, uint64_t block, bool *inside) {
  uint64_t into = (block + space->first) % space->discards.grain;
  *inside = into <= block;
  return *inside ? block - into : 0;
}

static bool all_free(const struct space *space, uint64_t first, uint64_t end) {
  return bitmap_next_set(&space->map.used, first, end) == end;
}

void discards_freed(struct space *space, uint64_t first, uint64_t end) {
  struct discards *d = &space->discards;
  if (d->policy == DISCARD_OFF) return;
  assert(first < end && bitmap_next_set(&d->waiting, first, end) == end);
  bitmap_set(&d->waiting, first, end);
  for (uint64_t at = first, stop; at < end; at = stop) {
    struct discard_unit *unit = &d->units[unit_at(space, at)];
    stop = least_of(unit_end(space, at), end);
    unit->waiting += (uint32_t)(stop - at);
    unit->turn = d->turn;
  }
  d->counts.freed += end - first;
  d->counts.waiting += end - first;
  d->again = d->policy == DISCARD_EAGER;
  d->rest = false;
}

/* Blocks [first, end) do not wait any more; how many did. */
static uint64_t wait_no_more(struct space *space, uint64_t first, uint64_t end) {
  struct discards *d = &space->discards;
  uint64_t sum = 0;
  if (d->policy == DISCARD_OFF) return 0;
  for (uint64_t at = bitmap_next_set(&d->waiting, first, end), stop; at < end;
       at = bitmap_next_set(&d->waiting, stop, end)) {
    stop = least_of(bitmap_next_clear(&d->waiting, at, end), unit_end(space, at));
    d->units[unit_at(space, at)].waiting -= (uint32_t)(stop - at);
    bitmap_clear(&d->waiting, at, stop);
    sum += stop - at;
  }
  d->counts.waiting -= sum;
  return sum;
}

void discards_taken(struct space *space, uint64_t first, uint64_t end) {
  space->discards.rest = false;
  space->discards.counts.saved += wait_no_more(space, first, end);
}

/* ---- what is due ------------------------------------------------------------------------------------------------------ */

static bool may_round(const struct discards *d) {
  return d->again || (d->policy != DISCARD_EAGER && d->turn > d->round);
}

static bool quiet(const struct discards *d, const struct discard_unit *unit, uint32_t turns) {
  return d->policy == DISCARD_EAGER || d->rest || d->turn - unit->turn >= turns;
}

static uint64_t most_now(const struct space *space) {
  return most_of(least_of(space->discards.most, space->free / 4), space->discards.grain);
}

/* The unit at the hand is free as a whole and due: it and those behind it that are as well, in whole grains. */
static bool whole_units(struct space *space, struct extent *found) {
  struct discards *d = &space->discards;
  uint64_t first = d->hand, end = first, most = most_now(space);
  while (end < size_of(space)) {
    const struct discard_unit *unit = &d->units[unit_at(space, end)];
    uint64_t next = unit_end(space, end);
    if (!unit->waiting || !quiet(d, unit, QUIET_WHOLE) || !all_free(space, end, next)) break;
    if (end > first && next - first > most) break;
    end = next;
  }
  if (end == first) return false;
  bool inside;
  uint64_t start = grain_behind(space, first), stop = grain_before(space, end, &inside);
  d->hand = end;
  *found = (struct extent){.first = start, .count = inside && stop > start ? stop - start : 0};
  return true;
}

/* Blocks [first, end), which wait, in whole grains: outward where the blocks beside them are free too, else inward. */
static struct extent widened(const struct space *space, uint64_t first, uint64_t end) {
  bool inside;
  uint64_t before = grain_before(space, first, &inside), behind = grain_behind(space, end);
  uint64_t start = inside && all_free(space, before, first) ? before : grain_behind(space, first);
  if (behind > size_of(space) || !all_free(space, end, behind)) behind = grain_before(space, end, &inside);
  return (struct extent){.first = start, .count = behind > start ? behind - start : 0};
}

/* The next waiting stretch behind the hand in its unit. */
static void part_of_unit(struct space *space, struct extent *found) {
  struct discards *d = &space->discards;
  uint64_t end = unit_end(space, d->hand), at = bitmap_next_set(&d->waiting, d->hand, end);
  uint64_t stop = bitmap_next_clear(&d->waiting, at, end);
  *found = (struct extent){.count = 0};
  if (at < end && quiet(d, &d->units[unit_at(space, at)], QUIET_PART)) *found = widened(space, at, stop);
  if (d->policy != DISCARD_EAGER && found->count < d->least) found->count = 0;
  d->hand = at == end ? end : most_of(stop, found->first + found->count);
}

/* Goes on with the round; false: nothing is due now. */
static bool find_due(struct space *space, struct extent *found) {
  struct discards *d = &space->discards;
  for (uint32_t looked = 0; looked < LOOK_UNITS; looked++) {
    if (d->hand >= size_of(space)) {
      if (!d->counts.waiting || !may_round(d)) return false;
      d->hand = 0;
      d->round = d->turn;
      d->again = false;
    }
    if (!d->units[unit_at(space, d->hand)].waiting) {
      d->hand = unit_end(space, d->hand);
      continue;
    }
    bool fresh = d->hand == unit_first(space, d->hand);
    if (!fresh || !whole_units(space, found)) part_of_unit(space, found);
    if (found->count) return true;
  }
  return false;
}

/* ---- time -------------------------------------------------------------------------------------------------------------- */

static void tick(struct discards *d, uint64_t now) {
  uint64_t step = d->clock && now > d->clock ? now - d->clock : 0;
  if (step > STEP) step = STEP;
  d->clock = now;
  d->time += step;
  d->turn = (uint32_t)(d->time / TURN);
  d->credit += (int64_t)step;
  if (d->credit > (int64_t)SECOND) d->credit = (int64_t)SECOND;
}

static void spend(struct discards *d, uint64_t blocks) {
  double cost = (double)(blocks * d->block_size) / (double)d->rate * (double)SECOND,
         least = (double)(SECOND / OPERATIONS);
  if (cost < least) cost = least;
  d->credit -= cost < 1e18 ? (int64_t)cost : (int64_t)1e18;
}

/* ---- held ---------------------------------------------------------------------------------------------------------------- */

static void hold(struct space *space, const struct extent *found, uint64_t counted) {
  struct discards *d = &space->discards;
  uint64_t end = found->first + found->count;
  assert(!d->held.count && found->count && all_free(space, found->first, end));
  uint64_t waited = wait_no_more(space, found->first, end);
  d->held = *found;
  d->held_waiting = counted ? counted : waited;
  free_map_take(&space->map, found->first, end);
}

bool discards_wait(struct space *space) {
  if (!space->discards.held.count) return false;
  condition_wait(&space->discarded, &space->lock);
  return true;
}

bool space_discard_next(struct space *space, uint64_t now, struct extent *extent) {
  struct discards *d = &space->discards;
  struct extent found;
  lock_acquire(&space->lock);
  tick(d, now);
  bool may = d->policy == DISCARD_EAGER || (d->policy == DISCARD_BATCHED && d->credit > 0);
  bool due = may && !d->held.count && find_due(space, &found);
  if (due) {
    hold(space, &found, 0);
    if (d->policy == DISCARD_BATCHED) spend(d, found.count);
    *extent = (struct extent){.first = space->first + found.first, .count = found.count};
  }
  lock_leave(&space->lock);
  return due;
}

void space_discard_rest(struct space *space) {
  struct discards *d = &space->discards;
  lock_acquire(&space->lock);
  if (d->policy == DISCARD_BATCHED && !d->rest) {
    d->rest = d->again = true;
    d->hand = size_of(space); /* a round under way has passed what was not due for it */
  }
  lock_leave(&space->lock);
}

static void give_up(struct space *space) {
  struct discards *d = &space->discards;
  d->counts.refused += wait_no_more(space, 0, size_of(space));
  d->policy = DISCARD_OFF;
}

void space_discard_done(struct space *space, uint64_t done, bool unsupported) {
  struct discards *d = &space->discards;
  lock_acquire(&space->lock);
  assert(d->held.count && done <= d->held.count);
  uint64_t counted = least_of(done, d->held_waiting);
  d->counts.discarded += done == d->held.count ? d->held_waiting : counted;
  d->counts.refused += done == d->held.count ? 0 : d->held_waiting - counted;
  free_map_give(&space->map, d->held.first, d->held.first + d->held.count);
  d->held.count = 0;
  if (unsupported) give_up(space);
  condition_wake_all(&space->discarded);
  lock_leave(&space->lock);
}

/* ---- trim ------------------------------------------------------------------------------------------------------------------ */

/* The next stretch of the walk in whole grains, into trim->at and until; false: none. */
static bool next_stretch(struct space *space, struct space_trim *trim) {
  struct discards *d = &space->discards;
  uint64_t size = size_of(space), at, stop;
  bool inside;
  while (trim->at < size) {
    struct extent found;
    if (trim->waiting) {
      at = bitmap_next_set(&d->waiting, trim->at, size);
      stop = bitmap_next_clear(&d->waiting, at, size);
      found = widened(space, at, stop);
    } else {
      at = bitmap_next_clear(&space->map.used, trim->at, size);
      stop = at < size ? free_map_end(&space->map, at) : size;
      found.first = grain_behind(space, at);
      uint64_t end = grain_before(space, stop, &inside);
      found.count = end > found.first ? end - found.first : 0;
    }
    trim->at = stop;
    if (!found.count || found.count < trim->least) continue;
    trim->at = found.first;
    trim->until = found.first + found.count;
    return true;
  }
  return false;
}

/* The next piece of the stretch that is free still. */
static bool next_piece(struct space *space, struct space_trim *trim, struct extent *found) {
  uint64_t grain = space->discards.grain, most = trim->most ? trim->most : space->discards.most;
  most = most_of(least_of(most, space->free / 4), grain);
  most -= most % grain;
  while (trim->at < trim->until) {
    uint64_t end = least_of(trim->at + most, trim->until);
    uint64_t used = bitmap_next_set(&space->map.used, trim->at, end);
    if (used == end) {
      *found = (struct extent){.first = trim->at, .count = end - trim->at};
      trim->at = end;
      return true;
    }
    trim->at = grain_behind(space, used + 1);
  }
  return false;
}

bool space_trim_next(struct space *space, struct space_trim *trim, struct extent *extent) {
  struct extent found = {0, 0};
  lock_acquire(&space->lock);
  bool able = space->discards.grain && (!trim->waiting || space->discards.policy != DISCARD_OFF);
  while (able && discards_wait(space)) continue;
  while (able && !found.count)
    if (!next_piece(space, trim, &found) && !next_stretch(space, trim)) break;
  if (found.count && !trim->look) hold(space, &found, trim->waiting ? 0 : found.count);
  lock_leave(&space->lock);
  *extent = (struct extent){.first = space->first + found.first, .count = found.count};
  return found.count > 0;
}

/* ---- counts ------------------------------------------------------------------------------------------------------------------ */

struct discard_counts space_discard_counts(struct space *space) {
  lock_acquire(&space->lock);
  struct discard_counts counts = space->discards.counts;
  lock_leave(&space->lock);
  return counts;
}

bool space_discard_waits(struct space *space) { return space_discard_counts(space).waiting > 0; }
