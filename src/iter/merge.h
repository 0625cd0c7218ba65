/* Merge: many iterators as one, by a loser tree. Sources are ordered newest first: where several stand on the same key
 * the lowest index wins and the others' records are skipped, so the output has unique keys (deletes included). Records in
 * a range that a newer source has deleted are skipped too, all of the range at once. */
#ifndef ITER_MERGE_H
#define ITER_MERGE_H

#include "base/mem.h"
#include "iter/iterator.h"

/* Takes the sources (closes them with itself; on failure too). count >= 0. NULL: no memory. */
struct iterator *merge_open(struct mem *mem, struct iterator **sources, size_t count);

/* Valid: the source whose record is shown. */
struct iterator *merge_source(struct iterator *merge);

/* Moving forward and valid. Whether the record shown comes from one source only: *source is that one, and *limit the
 * smallest key another source stands on, or at which a newer one's range delete begins (*has_limit false: there is neither). The source may then be moved
 * forward by its own functions, as long as it leaves no record at or above *limit behind; merge_reseat has to follow.
 * `merge` is what merge_open returned, be it the only source itself. */
bool merge_alone(struct iterator *merge, struct iterator **source, struct wodan_slice *limit, bool *has_limit);
/* The source that merge_alone told has moved. Not after a failed move. */
int merge_reseat(struct iterator *merge, struct wodan_error *error);

#endif
