/* What the files of src/run share: the handle and the way to a page. */
#ifndef RUN_RUN_PRIVATE_H
#define RUN_RUN_PRIVATE_H

#include "base/thread.h"
#include "format/page.h"
#include "run/run.h"

/* The first 64 bytes are all that a lookup touches, apart from the arrays they name; fixed once `loaded` is set. */
struct run {
  _Atomic bool loaded;
  uint32_t filter_lines; /* 0: no filter */
  const uint8_t *filter;
  struct page index;
  cache_slot *slots; /* index.count of them */
  struct run_env *env;

  _Atomic uint32_t references;
  _Atomic bool dead;
  struct lock lock; /* serialises loading */
  struct block_ptr ptr;
  uint64_t records, deletes;                    /* set by the node that owns it */
  uint8_t *header, *index_bytes, *filter_bytes; /* memory behind the slices and views */
  struct run_shape shape;
};

/* Like run_load, without the shape; cheap when loaded. */
int run_ready(struct run *run, struct wodan_error *error);
/* Pins data page `index` (of a loaded run), reading and proving it when it is not cached. */
int run_pin_page(struct run *run, uint32_t index, struct frame **frame, struct wodan_error *error);

#endif
