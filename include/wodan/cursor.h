/* Ordered cursors, both ways. A cursor sees one stable moment: that of its view, or of its opening. */
#ifndef WODAN_CURSOR_H
#define WODAN_CURSOR_H

#include <wodan/db.h>
#include <wodan/value.h>
#include <wodan/view.h>

WODAN_BEGIN

/* One thread at a time per cursor; different cursors on different threads. */
struct wodan_cursor;

/* view NULL: a view of now, held by the cursor. The new cursor stands nowhere. WODAN_ENOMEM. */
WODAN_API int wodan_cursor_open(struct wodan_db *db, struct wodan_view *view, struct wodan_cursor **cursor);
/* Frees it; NULL is allowed. Before wodan_close. */
WODAN_API void wodan_cursor_close(struct wodan_cursor *cursor);

/* Moves. 0: the cursor stands on a record. WODAN_DONE: there is none, the cursor stands nowhere.
 * seek: the first record at or after key; seek_back: the last record at or before key. next and prev from nowhere
 * answer WODAN_DONE. Failures: WODAN_EIO, WODAN_ECORRUPT, WODAN_ENOMEM; the cursor then stands nowhere and may be
 * placed again. */
WODAN_API int wodan_cursor_first(struct wodan_cursor *cursor);
WODAN_API int wodan_cursor_last(struct wodan_cursor *cursor);
WODAN_API int wodan_cursor_seek(struct wodan_cursor *cursor, struct wodan_slice key);
WODAN_API int wodan_cursor_seek_back(struct wodan_cursor *cursor, struct wodan_slice key);
WODAN_API int wodan_cursor_next(struct wodan_cursor *cursor);
WODAN_API int wodan_cursor_prev(struct wodan_cursor *cursor);

/* The record under the cursor; {NULL, 0} when it stands nowhere. Valid until the cursor moves or closes. A large value (kv.h) is
 * read when it is asked for, as a whole, into memory of the budget's part for readers: where that fails, data is NULL (of an
 * empty value it is not), size is what the record tells, and wodan_last_error tells why. */
WODAN_API struct wodan_slice wodan_cursor_key(const struct wodan_cursor *cursor);
WODAN_API struct wodan_slice wodan_cursor_value(struct wodan_cursor *cursor);
/* A stretch of the value under the cursor, as wodan_get_part; WODAN_DONE when it stands nowhere. With capacity 0 it only tells
 * the value's size. */
WODAN_API int wodan_cursor_read(struct wodan_cursor *cursor, struct wodan_part *part);

WODAN_END

#endif
