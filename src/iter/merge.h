/* Merge: many iterators as one, by a loser tree. Sources are ordered newest first: where several stand on the same key
 * the lowest index wins and the others' records are skipped, so the output has unique keys (deletes included). */
#ifndef ITER_MERGE_H
#define ITER_MERGE_H

#include "base/mem.h"
#include "iter/iterator.h"

/* Takes the sources (closes them with itself; on failure too). count >= 0. NULL: no memory. */
struct iterator *merge_open(struct mem *mem, struct iterator **sources, size_t count);

#endif
