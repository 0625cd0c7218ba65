/* Iterator: one of the two op tables of the engine. A concrete iterator embeds struct iterator first. Keys of one
 * iterator are unique and ascending; deletes are yielded as records. After a move that returned 0, `valid` says
 * whether it stands on `record`; record's bytes live until the next move or close. After a failure valid is false. */
#ifndef ITER_ITERATOR_H
#define ITER_ITERATOR_H

#include <stdbool.h>
#include "base/status.h"
#include "format/page.h"
#include "format/range.h"

struct iterator;

/* What moves in one direction are going to show: the records of a page behind `at`, the one shown, up to `last`, one by one
 * and none besides; all of the table that the one shown is of. Whoever has it may read them from the page instead of moving. */
struct stretch {
  struct page page;
  uint32_t at, last;
  uint8_t *key;        /* the iterator's own: starts with the page's prefix, behind which a reader may put suffixes */
  size_t key_capacity; /* PAGE_COPY_SLACK bytes more are there */
};

struct iterator_ops {
  int (*first)(struct iterator *it, struct wodan_error *error);
  int (*last)(struct iterator *it, struct wodan_error *error);
  int (*seek)(struct iterator *it, struct wodan_slice key, struct wodan_error *error);      /* first record >= key */
  int (*seek_back)(struct iterator *it, struct wodan_slice key, struct wodan_error *error); /* last record <= key */
  int (*next)(struct iterator *it, struct wodan_error *error);                              /* only while valid */
  int (*prev)(struct iterator *it, struct wodan_error *error);                              /* only while valid */
  void (*close)(struct iterator *it);                                                       /* frees the iterator */
  /* The next two are for iterators over pages; NULL: never. Only while valid, and `back` where the last move went back. */
  bool (*stretch)(struct iterator *it, bool back, struct stretch *out); /* false: none, or not worth it */
  /* As moves up to record `at` of the stretch told last, and no move since; the key's bytes may have been written over. */
  int (*settle)(struct iterator *it, uint32_t at, struct wodan_error *error);
  /* Only of an iterator with `ranges`: of which kind the keys around this one are. The keys of the span live as long as the
   * iterator; where it does not hold the key, only the key itself is known to be of that kind. */
  void (*around)(struct iterator *it, struct wodan_slice key, struct range_stretch *stretch);
};

struct iterator {
  const struct iterator_ops *ops;
  struct record record;
  bool valid;
  bool ranges; /* it has range deletes, which hide records of older sources; fixed */
};

static inline int iterator_first(struct iterator *it, struct wodan_error *e) { return it->ops->first(it, e); }
static inline int iterator_last(struct iterator *it, struct wodan_error *e) { return it->ops->last(it, e); }
static inline int iterator_seek(struct iterator *it, struct wodan_slice key, struct wodan_error *e) {
  return it->ops->seek(it, key, e);
}
static inline int iterator_seek_back(struct iterator *it, struct wodan_slice key, struct wodan_error *e) {
  return it->ops->seek_back(it, key, e);
}
static inline int iterator_next(struct iterator *it, struct wodan_error *e) { return it->ops->next(it, e); }
static inline int iterator_prev(struct iterator *it, struct wodan_error *e) { return it->ops->prev(it, e); }
static inline bool iterator_stretch(struct iterator *it, bool back, struct stretch *out) {
  return it->ops->stretch && it->ops->stretch(it, back, out);
}
static inline int iterator_settle(struct iterator *it, uint32_t at, struct wodan_error *e) {
  return it->ops->settle(it, at, e);
}
/* With fewer records than this a stretch costs more than it saves. */
enum { STRETCH_LEAST = 2 };
/* Forward: leaves what is below the key, which is above the record shown. False: too little. */
static inline bool stretch_end_below(struct stretch *stretch, struct wodan_slice key) {
  bool exact;
  uint32_t bound = page_lower_bound(&stretch->page, key, &exact);
  assert(bound > stretch->at);
  if (bound <= stretch->last) stretch->last = bound - 1;
  return stretch->last >= stretch->at + STRETCH_LEAST;
}
/* Back: leaves what is above the key, with `inclusive` the key too. */
static inline bool stretch_end_above(struct stretch *stretch, struct wodan_slice key, bool inclusive) {
  bool exact;
  uint32_t bound = page_lower_bound(&stretch->page, key, &exact);
  if (exact && !inclusive) bound++;
  assert(bound <= stretch->at);
  if (bound > stretch->last) stretch->last = bound;
  return stretch->last + STRETCH_LEAST <= stretch->at;
}
static inline void iterator_close(struct iterator *it) {
  if (it) it->ops->close(it);
}

#endif
