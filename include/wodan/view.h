/* Views: a stable moment, in memory. Reads and cursors on a view see the database as it was when the view was
 * opened. A view holds memtables and device space from reuse: close it soon. It ends with the process. */
#ifndef WODAN_VIEW_H
#define WODAN_VIEW_H

#include <wodan/db.h>

WODAN_BEGIN

struct wodan_view;

/* Opens a view of now. WODAN_ENOMEM. The caller closes it with wodan_view_close, before wodan_close. */
WODAN_API int wodan_view_open(struct wodan_db *db, struct wodan_view **view);

/* Closes it; NULL is allowed. Cursors opened on it stay valid: they hold what they need. */
WODAN_API void wodan_view_close(struct wodan_view *view);

/* The sequence number of the last operation the view sees; 0 on an empty new database. */
WODAN_API uint64_t wodan_view_sequence(const struct wodan_view *view);

WODAN_END

#endif
