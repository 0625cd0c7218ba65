/* A run as an iterator that damage does not stop: forward only, and of a page only the records that a lookup would find in
 * it, of large values only those that can be read to their end. What is left out is told once. */
#ifndef REPAIR_SOURCE_H
#define REPAIR_SOURCE_H

#include "run/run_reader.h"
#include "iter/iterator.h"

/* Keys from lower up to, but not with, upper. */
struct span {
  bool has_lower, has_upper; /* false: open */
  struct wodan_slice lower, upper;
};
/* What both hold; false: nothing. */
bool span_meet(const struct span *a, const struct span *b, struct span *out);

/* Who is told what cannot be read. WODAN_ENOMEM ends it. */
struct loss {
  uint64_t block, generation;
  struct span span;
  const char *why;
};
typedef int told_loss(void *context, const struct loss *loss, struct wodan_error *error);

struct source {
  struct iterator base; /* closing it does nothing: source_close does */
  struct run_reader reader;
  struct span span; /* keys that may be asked of it */
  told_loss *told;
  void *context;
  uint64_t sequence_max; /* sequences beyond are lies: brought down to it */
  bool usable;           /* header and index could be read */
  bool strays;           /* the page at hand holds records that no lookup finds there */
  uint8_t *page_bytes, *key;
  struct page page;
  uint32_t page_at, at;
  uint32_t told_to; /* pages before it have been told of */
};

struct damage;

struct source_setup {
  struct block_io *io;
  uint32_t page_size;
  uint64_t sequence_max;
  struct span span;
  told_loss *told;
  void *context;
  const struct damage *damage; /* what a check found; NULL: nothing */
};
/* WODAN_ENOMEM, or what `told` answered; a run that cannot be used is told as a loss and stands at its end for ever. Of a
 * misplaced one all keys that its header tells, and all that it is asked for, are told as lost: no lookup finds some of them. */
int source_open(struct source *source, const struct source_setup *setup, const struct block_ptr *ptr,
                struct wodan_error *error);
/* What it deletes in ranges. */
struct ranges source_ranges(const struct source *source);
void source_close(struct source *source);

#endif
