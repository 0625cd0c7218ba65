/* Pieces: records in key order and range deletes as one buffered run, or, where free space lies in holes too small for that,
 * as several, no key in two of them. A range delete stands in the piece where it begins, and may reach over those behind:
 * they are newer, so it hides nothing of theirs. */
#ifndef RUN_RUN_PIECES_H
#define RUN_RUN_PIECES_H

#include "run/run.h"

struct run_pieces {
  struct run_env *env;
  _Atomic uint64_t *generation; /* the volume's counter: the last one used */
  uint64_t spare;               /* see space_allocate_sparing */
  uint64_t left;                /* bytes still to come, about */
  struct ranges ranges;         /* all that are to be written; the first range_at have been */
  size_t range_at;

  struct run_builder *builder;
  uint64_t piece_max, piece_records;
  struct run **runs; /* finished, newest last; one reference each */
  size_t count, capacity;
  uint64_t bytes; /* of blocks written by the finished ones */
};

/* The least bytes one piece is given: an object of that size must find a place. */
uint64_t run_pieces_least(const struct run_env *env);
/* expected: bytes of the whole, about. No memory is taken yet. */
void run_pieces_begin(struct run_pieces *pieces, struct run_env *env, _Atomic uint64_t *generation, uint64_t expected,
                      uint64_t spare);
/* What is deleted besides: before the first record; the list stays until the pieces are finished. */
void run_pieces_delete(struct run_pieces *pieces, struct ranges ranges);
/* Errors as run_builder_add. A delete inside a range is not written: the range says it. */
int run_pieces_add(struct run_pieces *pieces, const struct record *record, struct wodan_error *error);
/* The last piece; then runs[0..count) are all of them, at least one when there were a range, or a record that is not left out. */
int run_pieces_finish(struct run_pieces *pieces, struct wodan_error *error);
/* Newest first from now on, as nodes want them. */
void run_pieces_reverse(struct run_pieces *pieces);
/* Gives up what is being written; lets go of the runs, which are dead unless somebody has published them. */
void run_pieces_release(struct run_pieces *pieces, bool published);

#endif
