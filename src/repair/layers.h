/* What lies above a range of keys on the way down a tree, newest first: journal, buffered runs, leaf; and their merge. */
#ifndef REPAIR_LAYERS_H
#define REPAIR_LAYERS_H

#include "memtable/memtable.h"
#include "repair/source.h"

struct layer {
  struct source *source;     /* one of these three */
  struct memtable *table;    /* iterated anew for each merge */
  struct iterator *borrowed; /* closing it does nothing */
  uint64_t generation;       /* of a run */
  bool hidden;               /* the entry at hand has absorbed it */
};

struct layers {
  struct mem *mem;
  struct layer *at;
  size_t count, capacity;
};

int layers_push_table(struct layers *layers, struct memtable *table, struct wodan_error *error);
/* An iterator whose close does nothing. */
int layers_push_borrowed(struct layers *layers, struct iterator *it, struct wodan_error *error);
/* Opens the run; it is closed when it is popped. */
int layers_push_run(struct layers *layers, const struct source_setup *setup, const struct block_ptr *ptr,
                    struct wodan_error *error);
/* Back to so many. */
void layers_pop(struct layers *layers, size_t count);
void layers_release(struct layers *layers);

/* Hides those of the runs [from, count) that an entry with this mark has absorbed, and shows the others. */
void layers_mark(struct layers *layers, size_t from, size_t count, uint64_t flushed_upto);

/* What the visible layers from `from` on delete in ranges within the span, to be released; the keys live as long as the layers.
 * WODAN_ENOMEM. */
int layers_ranges(struct layers *layers, size_t from, const struct span *span, struct range_buffer *out,
                  struct wodan_error *error);

typedef int layers_record(void *context, const struct record *record, struct wodan_error *error);
struct layers_merge {
  size_t from; /* the layers above it are left out */
  struct span span;
  layers_record *record; /* the newest record of each key, deletes too */
  void *context;
};
int layers_merge(struct layers *layers, const struct layers_merge *merge, struct wodan_error *error);

#endif
