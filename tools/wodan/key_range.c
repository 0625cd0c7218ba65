/* What: prefixes and bounds turned into cursor moves, for scan and del.
 *
 * Always true: a move that answers 0 stands on a key with from <= key < to.
 *
 * Order: none that matters.
 *
 * See: tests/cli/test_cli.sh. */
#include "key_range.h"

#include <string.h>

void key_range_release(struct key_range *range) {
  buffer_release(&range->from);
  buffer_release(&range->to);
  range->bounded = false;
}

bool key_range_of_prefix(struct key_range *range, struct wodan_slice prefix) {
  buffer_clear(&range->from);
  buffer_clear(&range->to);
  buffer_append(&range->from, prefix.data, prefix.size);
  const unsigned char *at = prefix.data;
  size_t size = prefix.size;
  while (size > 0 && at[size - 1] == 0xff) size--;
  range->bounded = size > 0; /* nothing sorts above a prefix of 0xff only */
  if (size > 0) {
    buffer_append(&range->to, at, size - 1);
    buffer_append_byte(&range->to, (unsigned char)(at[size - 1] + 1));
  }
  return !range->from.failed && !range->to.failed;
}

bool key_range_continue_after(struct key_range *range, struct wodan_slice key) {
  buffer_clear(&range->from);
  buffer_append(&range->from, key.data, key.size);
  buffer_append_byte(&range->from, 0);
  return !range->from.failed;
}

static int compare(struct wodan_slice a, struct wodan_slice b) {
  size_t common = a.size < b.size ? a.size : b.size;
  int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
  if (order != 0) return order;
  return a.size < b.size ? -1 : a.size > b.size;
}

/* WODAN_DONE when the cursor stands outside. */
static int inside(const struct key_range *range, const struct wodan_cursor *cursor) {
  struct wodan_slice key = wodan_cursor_key(cursor);
  if (compare(key, buffer_slice(&range->from)) < 0) return WODAN_DONE;
  if (range->bounded && compare(key, buffer_slice(&range->to)) >= 0) return WODAN_DONE;
  return WODAN_OK;
}

int key_range_first(const struct key_range *range, struct wodan_cursor *cursor, bool reverse) {
  int status;
  if (reverse) {
    if (range->bounded && range->to.size == 0) return WODAN_DONE; /* nothing is below the empty key */
    status = range->bounded ? wodan_cursor_seek_back(cursor, buffer_slice(&range->to)) : wodan_cursor_last(cursor);
    bool on_end = status == 0 && range->bounded && compare(wodan_cursor_key(cursor), buffer_slice(&range->to)) == 0;
    if (on_end) status = wodan_cursor_prev(cursor);
  } else if (range->from.size > 0) {
    status = wodan_cursor_seek(cursor, buffer_slice(&range->from));
  } else {
    status = wodan_cursor_first(cursor);
  }
  return status == 0 ? inside(range, cursor) : status;
}

int key_range_next(const struct key_range *range, struct wodan_cursor *cursor, bool reverse) {
  int status = reverse ? wodan_cursor_prev(cursor) : wodan_cursor_next(cursor);
  return status == 0 ? inside(range, cursor) : status;
}
