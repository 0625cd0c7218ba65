/* Iterator: one of the two op tables of the engine. A concrete iterator embeds struct iterator first. Keys of one
 * iterator are unique and ascending; deletes are yielded as records. After a move that returned 0, `valid` says
 * whether it stands on `record`; record's bytes live until the next move or close. After a failure valid is false. */
#ifndef ITER_ITERATOR_H
#define ITER_ITERATOR_H

#include <stdbool.h>
#include "base/status.h"
#include "format/range.h"
#include "format/record.h"

struct iterator;

struct iterator_ops {
  int (*first)(struct iterator *it, struct wodan_error *error);
  int (*last)(struct iterator *it, struct wodan_error *error);
  int (*seek)(struct iterator *it, struct wodan_slice key, struct wodan_error *error);      /* first record >= key */
  int (*seek_back)(struct iterator *it, struct wodan_slice key, struct wodan_error *error); /* last record <= key */
  int (*next)(struct iterator *it, struct wodan_error *error);                              /* only while valid */
  int (*prev)(struct iterator *it, struct wodan_error *error);                              /* only while valid */
  /* Only of an iterator with `ranges`: of which kind the keys around this one are. The keys of the span live as long as the
   * iterator; where it does not hold the key, only the key itself is known to be of that kind. */
  void (*stretch)(struct iterator *it, struct wodan_slice key, struct range_stretch *stretch);
  void (*close)(struct iterator *it); /* frees the iterator */
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
static inline void iterator_close(struct iterator *it) {
  if (it) it->ops->close(it);
}

#endif
