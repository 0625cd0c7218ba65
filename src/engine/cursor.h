/* Cursor: ordered iteration over a view: memtables, runs and leaves merged, deletes skipped, one table. */
#ifndef ENGINE_CURSOR_H
#define ENGINE_CURSOR_H

#include "engine/engine.h"
#include "iter/iterator.h"

/* While a stretch lasts, records are read from its page, and no iterator moves. */
struct glide {
  struct stretch stretch; /* `at` goes up to `last` */
  bool on, back;
  uint32_t wait, pause; /* moves before the next try, for one that failed costs; how many after the next failure */
};

struct wodan_cursor {
  struct wodan_db *db;
  struct wodan_view view; /* its own references */
  struct iterator *merge;
  bool shared; /* a source is a memtable that writers fill, or may fill again: moves take the state lock */
  bool valid;
  bool on_large;                 /* the value shown is the reference of a large one: never within a stretch */
  struct wodan_slice key, value; /* what is shown while valid; the key without its table */
  struct glide glide;
  uint32_t moves; /* not told to the database's counters yet: each telling is an atomic step on a line that all share */
  uint64_t moved_bytes; /* the same */
  void *large;          /* the large value it stands on, once that was asked for; NULL: not read */
  size_t large_size;
};

/* view NULL: now. */
int cursor_init(struct wodan_cursor *cursor, struct wodan_db *db, const struct wodan_view *view,
                struct wodan_error *error);
void cursor_release(struct wodan_cursor *cursor);

/* One move on or back inside a stretch; false: nothing happened, and cursor_move has to do it. */
bool cursor_glide(struct wodan_cursor *cursor, bool back);

enum cursor_move { CURSOR_FIRST, CURSOR_LAST, CURSOR_SEEK, CURSOR_SEEK_BACK, CURSOR_NEXT, CURSOR_PREV };
/* The large value it stands on, read into its memory. On failure data is NULL. Only while on_large. */
struct wodan_slice cursor_large_value(struct wodan_cursor *cursor, struct wodan_error *error, int *status);
/* The size of the value it stands on, large or not. */
uint64_t cursor_value_size(const struct wodan_cursor *cursor);
/* A stretch of it, which lies inside. */
int cursor_read(struct wodan_cursor *cursor, const struct wodan_part *part, struct wodan_error *error);
/* key: a tree key, for the seeks. 0, WODAN_DONE or a failure. */
int cursor_move(struct wodan_cursor *cursor, enum cursor_move move, struct wodan_slice key, struct wodan_error *error);

#endif
