/* Owns: the memory of what was found: damaged objects by generation, lost ranges of keys.
 *
 * Always true: objects are sorted and stand once; a span owns its bounds.
 *
 * Order: none that matters.
 *
 * See: tests/unit/test_repair.c. */
#include "repair/damage.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "format/record.h"

/* The first place with a generation not below. */
static size_t place_of(const struct damage *damage, uint64_t generation) {
  size_t low = 0, high = damage->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (damage->objects[middle].generation < generation)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static bool misplaces(uint32_t id) {
  return id == FOUND_KEY_ORDER || id == FOUND_KEY_PIVOT || id == FOUND_RUN_RANGE || id == FOUND_SPACE_OWNED_TWICE;
}

static void note_object(struct damage *damage, uint64_t generation, uint32_t repair, bool misplaced) {
  size_t at = place_of(damage, generation);
  if (at < damage->count && damage->objects[at].generation == generation) {
    if (damage->objects[at].repair < repair) damage->objects[at].repair = repair;
    damage->objects[at].misplaced |= misplaced;
    return;
  }
  void *objects = damage->objects;
  if (!mem_array_grow(damage->mem, &objects, &damage->capacity, damage->count + 1, sizeof *damage->objects)) {
    damage->out_of_memory = true;
    return;
  }
  damage->objects = objects;
  memmove(&damage->objects[at + 1], &damage->objects[at], (damage->count - at) * sizeof *damage->objects);
  damage->objects[at] = (struct damaged_object){generation, repair, misplaced};
  damage->count++;
}

void damage_note(void *context, const struct wodan_finding *finding) {
  struct damage *damage = context;
  if (damage->finding) damage->finding(damage->context, finding);
  assert(finding->repair <= WODAN_REPAIR_SALVAGE);
  damage->counts[finding->repair]++;
  switch (finding->id) {
  case FOUND_BLOCK0_DAMAGED:
    damage->block0 = true;
    break;
  case FOUND_COPY_DAMAGED:
  case FOUND_COPY_DIFFERS:
    damage->copy = true;
    break;
  case FOUND_JOURNAL_DAMAGED:
  case FOUND_JOURNAL_REPLAY:
  case FOUND_JOURNAL_SIZE:
    damage->journal = true;
    break;
  case FOUND_PREVIOUS_LOST:
  case FOUND_PREVIOUS_NEWER:
    damage->previous = true;
    break;
  default:
    if (finding->severity == WODAN_NOTE || finding->id < FOUND_NODE_DAMAGED || !finding->generation) break;
    if (finding->severity == WODAN_WARNING) damage->previous = true;
    /* Of an object of the previous root the row tells what has to be done where its place in the newest is taken. */
    note_object(damage, finding->generation, finding_row(finding->id)->repair, misplaces(finding->id));
  }
}

int damage_progress(void *context, uint64_t done, uint64_t total) {
  struct damage *damage = context;
  if (damage->progress && damage->progress(damage->context, done, total)) damage->stopped = true;
  return damage->stopped;
}

uint32_t damage_of(const struct damage *damage, uint64_t generation) {
  size_t at = place_of(damage, generation);
  bool there = at < damage->count && damage->objects[at].generation == generation;
  return there ? damage->objects[at].repair : WODAN_REPAIR_NOTHING;
}

bool damage_misplaced(const struct damage *damage, uint64_t generation) {
  size_t at = place_of(damage, generation);
  return at < damage->count && damage->objects[at].generation == generation && damage->objects[at].misplaced;
}

void damage_release(struct damage *damage) {
  mem_array_free(damage->mem, damage->objects, damage->capacity, sizeof *damage->objects);
  damage->objects = NULL;
  damage->count = damage->capacity = 0;
}

struct wodan_slice damage_user_key(struct wodan_slice key) {
  if (key.size < TABLE_ID_SIZE) return (struct wodan_slice){NULL, 0};
  return (struct wodan_slice){(const uint8_t *)key.data + TABLE_ID_SIZE, key.size - TABLE_ID_SIZE};
}

void damage_tell_loss(enum finding_id id, const struct loss *loss,
                      void (*finding)(void *context, const struct wodan_finding *finding), void *context) {
  const struct finding_row *row = finding_row(id);
  const char *gap = strstr(row->sentence, "%s");
  char message[512];
  if (!finding) return;
  snprintf(message, sizeof message, "%.*s%s%s", (int)(gap - row->sentence), row->sentence, loss->why, gap + 2);
  struct wodan_finding told = {.id = row->id,
                               .severity = row->severity,
                               .repair = row->repair,
                               .block = loss->block,
                               .generation = loss->generation,
                               .message = message,
                               .remedy = row->remedy,
                               .has_range = 1,
                               .has_lower = loss->span.has_lower,
                               .has_upper = loss->span.has_upper};
  if (loss->span.has_lower) told.lower = damage_user_key(loss->span.lower);
  if (loss->span.has_upper) told.upper = damage_user_key(loss->span.upper);
  finding(context, &told);
}

/* ---- spans --------------------------------------------------------------------------------------------------------- */

static void bound_free(struct mem *mem, struct wodan_slice *bound) {
  if (bound->data) mem_free(mem, (void *)(uintptr_t)bound->data, bound->size);
  *bound = (struct wodan_slice){NULL, 0};
}

static bool bound_copy(struct mem *mem, bool there, struct wodan_slice from, struct wodan_slice *to) {
  *to = (struct wodan_slice){NULL, 0};
  if (!there || !from.size) return true;
  uint8_t *bytes = mem_alloc(mem, from.size);
  if (!bytes) return false;
  memcpy(bytes, from.data, from.size);
  *to = (struct wodan_slice){bytes, from.size};
  return true;
}

static int compare_lower(const void *a, const void *b) {
  const struct span *x = a, *y = b;
  if (!x->has_lower || !y->has_lower) return (int)x->has_lower - (int)y->has_lower;
  return key_compare(x->lower, y->lower);
}

/* `later`, which starts no earlier, becomes part of `span`. */
static void swallow(struct mem *mem, struct span *span, struct span *later) {
  bound_free(mem, &later->lower);
  bool further = span->has_upper && (!later->has_upper || key_compare(later->upper, span->upper) > 0);
  if (further) {
    bound_free(mem, &span->upper);
    span->has_upper = later->has_upper;
    span->upper = later->upper;
  } else {
    bound_free(mem, &later->upper);
  }
}

void spans_sort(struct spans *spans) {
  if (!spans->count) return;
  qsort(spans->at, spans->count, sizeof *spans->at, compare_lower);
  size_t kept = 0;
  for (size_t i = 1; i < spans->count; i++) {
    struct span *last = &spans->at[kept], *next = &spans->at[i];
    bool touch = !last->has_upper || !next->has_lower || key_compare(next->lower, last->upper) <= 0;
    if (touch)
      swallow(spans->mem, last, next);
    else
      spans->at[++kept] = *next;
  }
  spans->count = kept + 1;
}

/* Sorted: half as many, each pair of neighbours one. */
static void halve(struct spans *spans) {
  size_t kept = 0;
  for (size_t i = 0; i < spans->count; i += 2) {
    spans->at[kept] = spans->at[i];
    if (i + 1 < spans->count) swallow(spans->mem, &spans->at[kept], &spans->at[i + 1]);
    kept++;
  }
  spans->count = kept;
}

int spans_add(struct spans *spans, const struct span *span, struct wodan_error *error) {
  if (spans->count == SPANS_MAX) {
    spans_sort(spans);
    if (spans->count > SPANS_MAX / 2) halve(spans);
  }
  void *at = spans->at;
  if (!mem_array_grow(spans->mem, &at, &spans->capacity, spans->count + 1, sizeof *spans->at))
    return status_nomem(error);
  spans->at = at;
  struct span *copy = &spans->at[spans->count];
  *copy = *span;
  bool lower = bound_copy(spans->mem, span->has_lower, span->lower, &copy->lower);
  bool upper = bound_copy(spans->mem, span->has_upper, span->upper, &copy->upper);
  if (lower && upper) {
    spans->count++;
    return 0;
  }
  bound_free(spans->mem, &copy->lower);
  bound_free(spans->mem, &copy->upper);
  return status_nomem(error);
}

void spans_release(struct spans *spans) {
  for (size_t i = 0; i < spans->count; i++) {
    bound_free(spans->mem, &spans->at[i].lower);
    bound_free(spans->mem, &spans->at[i].upper);
  }
  mem_array_free(spans->mem, spans->at, spans->capacity, sizeof *spans->at);
  spans->at = NULL;
  spans->count = spans->capacity = 0;
}

bool spans_hold(const struct spans *spans, struct wodan_slice key) {
  size_t low = 0, high = spans->count; /* the last one that starts at or before the key */
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const struct span *span = &spans->at[middle];
    if (span->has_lower && key_compare(span->lower, key) > 0)
      high = middle;
    else
      low = middle + 1;
  }
  if (!low) return false;
  const struct span *span = &spans->at[low - 1];
  return !span->has_upper || key_compare(key, span->upper) < 0;
}
