/* Range delete: all keys in [from, to) are absent as far as what is older goes. A run keeps the range deletes that passed
 * through it in a section of its own: SECTION_RANGE_TOMBSTONES, at most one, the last of a run:
 *   varint count, >= 1, then for each by rising keys:
 *     varint from length (>= 1), from    tree key, inclusive
 *     varint to length (>= 1), to        tree key, exclusive; above from; of the same table, or the next table's id alone
 *     varint sequence                    >= 1
 * The ranges are disjoint; two that touch have different sequences. They hide what older places hold: not the records of
 * their own run, which are newer than the range they lie in, and are written for that reason. */
#ifndef FORMAT_RANGE_H
#define FORMAT_RANGE_H

#include <stdbool.h>
#include "base/mem.h"
#include "base/wire.h"
#include "format/record.h"

struct range_delete {
  struct wodan_slice from, to;
  uint64_t sequence;
};

/* Disjoint and by rising keys, in somebody else's memory. */
struct ranges {
  const struct range_delete *at;
  size_t count;
};

/* Both are tree keys, from is below to, and all between is of one table. */
bool range_sound(struct wodan_slice from, struct wodan_slice to);

/* The first range that ends behind the key: may be at.count. */
size_t ranges_find(struct ranges ranges, struct wodan_slice key);
static inline bool ranges_cover(struct ranges ranges, struct wodan_slice key) {
  size_t i = ranges_find(ranges, key);
  return i < ranges.count && key_compare(ranges.at[i].from, key) <= 0;
}

/* Keys from `from` up to, not with, `to` (data NULL: without end). from may be empty: from the very first key on. */
struct key_span {
  struct wodan_slice from, to;
};
static inline bool span_holds(const struct key_span *span, struct wodan_slice key) {
  return key_compare(span->from, key) <= 0 && (!span->to.data || key_compare(key, span->to) < 0);
}
/* Every key of the span that there can be lies in one of the ranges: only the default table has keys. */
bool ranges_cover_span(struct ranges ranges, const struct key_span *span);
/* Some key of the span lies in one of the ranges. */
bool ranges_touch_span(struct ranges ranges, const struct key_span *span);
/* The part of the range inside the span; false: there is none. */
bool range_clip(struct range_delete *range, const struct key_span *span);

/* The widest span around the key that is known to be of one kind: all of it in one of the ranges, or none of it in any. */
struct range_stretch {
  struct key_span span;
  bool covered;
};
void ranges_stretch(struct ranges ranges, struct wodan_slice key, struct range_stretch *stretch);

/* ---- the section's bytes ------------------------------------------------------------------------------------- */

enum { RANGE_SIZE_MIN = 5 }; /* bytes, encoded */
static inline uint64_t range_size(const struct range_delete *range) {
  return wire_varint_size(range->from.size) + range->from.size + wire_varint_size(range->to.size) + range->to.size +
         wire_varint_size(range->sequence);
}
void range_encode(struct wire_writer *w, const struct range_delete *range);
/* The next one; nothing is proven but that its bytes are there. */
bool range_decode(struct wire_reader *r, struct range_delete *range);

/* What ranges of a section must not exceed. */
struct range_limits {
  size_t key_max;        /* bytes of a tree key */
  uint64_t sequence_max; /* that of the run's header */
};
/* NULL when the bytes are a whole section, *count of ranges; else what is wrong. */
const char *range_section_fault(const uint8_t *bytes, size_t size, const struct range_limits *limits, uint64_t *count);

/* A proven section in memory of its own. */
struct range_list {
  size_t size; /* of this allocation */
  size_t count;
  struct range_delete at[]; /* the keys' bytes behind them */
};
/* NULL: no memory. */
struct range_list *range_list_create(struct mem *mem, const uint8_t *bytes, size_t size);
void range_list_free(struct mem *mem, struct range_list *list); /* NULL is allowed */
static inline struct ranges range_list_all(const struct range_list *list) {
  return list ? (struct ranges){list->at, list->count} : (struct ranges){NULL, 0};
}

/* Ranges that grow at the end, in the order of their keys; the keys stay where they are. */
struct range_buffer {
  struct range_delete *at;
  size_t count, capacity;
};
/* Joined to the last one where they touch and are of one sequence. false: no memory. */
bool range_buffer_add(struct mem *mem, struct range_buffer *buffer, const struct range_delete *range);
void range_buffer_release(struct mem *mem, struct range_buffer *buffer);
static inline struct ranges range_buffer_all(const struct range_buffer *buffer) {
  return (struct ranges){buffer->at, buffer->count};
}
/* What several lists say together, within the span: each key's newest sequence. false: no memory. */
bool ranges_unite(struct mem *mem, const struct ranges *lists, size_t list_count, const struct key_span *span,
                  struct range_buffer *out);

#endif
