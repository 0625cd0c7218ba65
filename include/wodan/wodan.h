/* Wodan in C: everything public. Small programs need only this header:
 *
 *   struct wodan_db *db; struct wodan_error error;
 *   if (wodan_open_path("image", NULL, &db, &error) < 0) ... error.message ...
 *   wodan_put(db, key, value, NULL); wodan_sync(db); wodan_close(db, &error);
 */
#ifndef WODAN_WODAN_H
#define WODAN_WODAN_H

#include <wodan/check.h>
#include <wodan/cursor.h>
#include <wodan/db.h>
#include <wodan/device.h>
#include <wodan/image.h>
#include <wodan/inspect.h>
#include <wodan/kv.h>
#include <wodan/repair.h>
#include <wodan/stats.h>
#include <wodan/status.h>
#include <wodan/types.h>
#include <wodan/value.h>
#include <wodan/version.h>
#include <wodan/view.h>

#endif
