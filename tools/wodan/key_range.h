/* A range of keys and a cursor's way through it, up or down. */
#ifndef WODAN_CLI_KEY_RANGE_H
#define WODAN_CLI_KEY_RANGE_H

#include <wodan/wodan.h>

#include "buffer.h"

/* Keys from `from` (included; empty: the first) up to `to` (not included). All-zero: every key. */
struct key_range {
  struct buffer from;
  struct buffer to;
  bool bounded; /* to is meant; else there is no upper end */
};

void key_range_release(struct key_range *range);
/* Every key that starts with prefix, the prefix itself included. false when there is no memory. */
bool key_range_of_prefix(struct key_range *range, struct wodan_slice prefix);
/* Moves `from` just behind key. false when there is no memory. */
bool key_range_continue_after(struct key_range *range, struct wodan_slice key);

/* Place the cursor on the range's first (reverse: last) record, or move to the next (previous) one.
 * 0, WODAN_DONE outside the range, or the cursor's failure. */
int key_range_first(const struct key_range *range, struct wodan_cursor *cursor, bool reverse);
int key_range_next(const struct key_range *range, struct wodan_cursor *cursor, bool reverse);

#endif
