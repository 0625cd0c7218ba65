/* Owns: range deletes: their section in a run, searching them, and what several lists say together.
 *
 * Always true of a list: ranges are not empty, disjoint, by rising keys; those that touch differ in their sequences. A key
 * lies in one of them at most, so one search answers.
 *
 * See: range.h for the layout; tests/unit/test_range.c. */
#include "format/range.h"

#include <assert.h>

bool range_sound(struct wodan_slice from, struct wodan_slice to) {
  if (from.size == 0 || key_compare(from, to) >= 0) return false; /* guard: bounds */
  uint8_t table = ((const uint8_t *)from.data)[0], end = ((const uint8_t *)to.data)[0];
  return end == table || (end == table + 1 && to.size == TABLE_ID_SIZE); /* guard: bounds */
}

size_t ranges_find(struct ranges ranges, struct wodan_slice key) {
  size_t low = 0, high = ranges.count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (key_compare(ranges.at[middle].to, key) <= 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* ---- spans ---------------------------------------------------------------------------------------------------- */

static const uint8_t table_start[] = {TABLE_DEFAULT}, table_end[] = {TABLE_DEFAULT + 1};

static bool ends_before(struct wodan_slice key, const struct key_span *span) {
  return span->to.data && key_compare(span->to, key) < 0;
}

bool ranges_cover_span(struct ranges ranges, const struct key_span *span) {
  struct wodan_slice at = {table_start, sizeof table_start}, to = {table_end, sizeof table_end};
  if (key_compare(span->from, at) > 0) at = span->from;
  if (ends_before(to, span)) to = span->to;
  size_t i = ranges_find(ranges, at);
  for (; i < ranges.count && key_compare(ranges.at[i].from, at) <= 0; i++) {
    at = ranges.at[i].to;
    if (key_compare(to, at) <= 0) return true;
  }
  return false; /* no guard: an answer */
}

bool ranges_touch_span(struct ranges ranges, const struct key_span *span) {
  size_t i = ranges_find(ranges, span->from);
  return i < ranges.count && (!span->to.data || key_compare(ranges.at[i].from, span->to) < 0);
}

bool range_clip(struct range_delete *range, const struct key_span *span) {
  if (key_compare(range->from, span->from) < 0) range->from = span->from;
  if (ends_before(range->to, span)) range->to = span->to;
  return key_compare(range->from, range->to) < 0;
}

void ranges_stretch(struct ranges ranges, struct wodan_slice key, struct range_stretch *stretch) {
  size_t i = ranges_find(ranges, key);
  stretch->covered = i < ranges.count && key_compare(ranges.at[i].from, key) <= 0;
  if (stretch->covered) {
    stretch->span = (struct key_span){ranges.at[i].from, ranges.at[i].to};
    return;
  }
  stretch->span = (struct key_span){{NULL, 0}, {NULL, 0}};
  if (i > 0) stretch->span.from = ranges.at[i - 1].to;
  if (i < ranges.count) stretch->span.to = ranges.at[i].from;
}

/* ---- the section's bytes ------------------------------------------------------------------------------------- */

static void key_encode(struct wire_writer *w, struct wodan_slice key) {
  wire_put_varint(w, key.size);
  wire_put_bytes(w, key.data, key.size);
}

static struct wodan_slice key_decode(struct wire_reader *r) {
  uint64_t size = wire_get_varint(r);
  const uint8_t *bytes = wire_get_bytes(r, size);
  return (struct wodan_slice){bytes, bytes ? (size_t)size : 0};
}

void range_encode(struct wire_writer *w, const struct range_delete *range) {
  key_encode(w, range->from);
  key_encode(w, range->to);
  wire_put_varint(w, range->sequence);
}

bool range_decode(struct wire_reader *r, struct range_delete *range) {
  range->from = key_decode(r);
  range->to = key_decode(r);
  range->sequence = wire_get_varint(r);
  return !r->failed; /* guard: bounds */
}

static const char *range_fault(const struct range_delete *range, const struct range_delete *before,
                               const struct range_limits *limits) {
  if (range->from.size > limits->key_max || range->to.size > limits->key_max)
    return "a range delete has a key longer than any"; /* guard: bounds */
  if (!range_sound(range->from, range->to))
    return "a range delete ends where it begins, or before, or in another table"; /* guard: bounds */
  if (range->sequence == 0 || range->sequence > limits->sequence_max)
    return "a range delete has a sequence that its run does not have"; /* guard: bounds */
  if (!before) return NULL;
  int order = key_compare(before->to, range->from);
  if (order > 0) return "its range deletes overlap, or are not in order";                    /* guard: bounds */
  if (order == 0 && before->sequence == range->sequence) return "two range deletes are one"; /* guard: bounds */
  return NULL;
}

const char *range_section_fault(const uint8_t *bytes, size_t size, const struct range_limits *limits, uint64_t *count) {
  struct wire_reader r = wire_reader(bytes, size);
  struct range_delete before, range;
  *count = wire_get_varint(&r);
  if (*count == 0 || *count > size / RANGE_SIZE_MIN)       /* 0 also where it ends before */
    return "its range deletes are not as many as it says"; /* guard: bounds */
  for (uint64_t i = 0; i < *count; i++) {
    if (!range_decode(&r, &range)) return "its range deletes do not decode"; /* guard: bounds */
    const char *fault = range_fault(&range, i ? &before : NULL, limits);
    if (fault) return fault; /* guard: bounds */
    before = range;
  }
  return r.at == r.size ? NULL : "there is something behind its range deletes"; /* guard: bounds */
}

struct range_list *range_list_create(struct mem *mem, const uint8_t *bytes, size_t size) {
  struct wire_reader r = wire_reader(bytes, size);
  uint64_t count = wire_get_varint(&r);
  assert(!r.failed && count && count <= size / RANGE_SIZE_MIN);
  uint64_t total = sizeof(struct range_list) + count * sizeof(struct range_delete) + size;
  struct range_list *list = mem_alloc(mem, total);
  if (!list) return NULL;
  *list = (struct range_list){.size = (size_t)total, .count = (size_t)count};
  uint8_t *copy = (uint8_t *)(list->at + list->count);
  memcpy(copy, bytes, size);
  struct wire_reader own = wire_reader(copy, size);
  wire_get_varint(&own);
  for (size_t i = 0; i < list->count; i++) {
    bool ok = range_decode(&own, &list->at[i]);
    assert(ok); /* proven before */
    (void)ok;
  }
  return list;
}

void range_list_free(struct mem *mem, struct range_list *list) {
  if (list) mem_free(mem, list, list->size);
}

/* ---- lists ---------------------------------------------------------------------------------------------------- */

bool range_buffer_add(struct mem *mem, struct range_buffer *buffer, const struct range_delete *range) {
  assert(key_compare(range->from, range->to) < 0);
  struct range_delete *last = buffer->count ? &buffer->at[buffer->count - 1] : NULL;
  assert(!last || key_compare(last->to, range->from) <= 0);
  if (last && last->sequence == range->sequence && key_compare(last->to, range->from) == 0) {
    last->to = range->to;
    return true;
  }
  void *array = buffer->at;
  bool room = mem_array_grow(mem, &array, &buffer->capacity, buffer->count + 1, sizeof *range);
  buffer->at = array;
  if (room) buffer->at[buffer->count++] = *range;
  return room;
}

void range_buffer_release(struct mem *mem, struct range_buffer *buffer) {
  mem_array_free(mem, buffer->at, buffer->capacity, sizeof *buffer->at);
  *buffer = (struct range_buffer){0};
}

/* What one more list adds: where both have a range, the greater sequence. */
static bool unite_two(struct mem *mem, struct ranges a, struct ranges b, struct range_buffer *out) {
  struct wodan_slice at = {NULL, 0}; /* all before it is in out */
  for (size_t i = 0, j = 0; i < a.count || j < b.count;) {
    const struct range_delete *x = i < a.count ? &a.at[i] : NULL, *y = j < b.count ? &b.at[j] : NULL;
    if (x && y && key_compare(y->from, x->from) < 0) { /* x is what begins first */
      const struct range_delete *swap = x;
      x = y;
      y = swap;
    }
    if (!x) x = y, y = NULL;
    struct range_delete next = {.from = x->from, .to = x->to, .sequence = x->sequence};
    if (key_compare(next.from, at) < 0) next.from = at;
    bool both = y && key_compare(y->from, next.from) <= 0;
    if (both) {
      if (y->sequence > next.sequence) next.sequence = y->sequence;
      if (key_compare(y->to, next.to) < 0) next.to = y->to;
    } else if (y && key_compare(y->from, next.to) < 0) {
      next.to = y->from;
    }
    if (!range_buffer_add(mem, out, &next)) return false; /* no guard: memory */
    at = next.to;
    while (i < a.count && key_compare(a.at[i].to, at) <= 0) i++;
    while (j < b.count && key_compare(b.at[j].to, at) <= 0) j++;
  }
  return true;
}

bool ranges_unite(struct mem *mem, const struct ranges *lists, size_t list_count, const struct key_span *span,
                  struct range_buffer *out) {
  bool room = true;
  *out = (struct range_buffer){0};
  for (size_t l = 0; l < list_count && room; l++) {
    struct range_buffer one = {0}, both = {0};
    for (size_t i = ranges_find(lists[l], span->from); i < lists[l].count && room; i++) {
      struct range_delete range = lists[l].at[i];
      if (!range_clip(&range, span)) break;
      room = range_buffer_add(mem, &one, &range);
    }
    if (room) room = unite_two(mem, range_buffer_all(out), range_buffer_all(&one), &both);
    range_buffer_release(mem, &one);
    range_buffer_release(mem, out);
    *out = both;
  }
  if (!room) range_buffer_release(mem, out);
  return room;
}
