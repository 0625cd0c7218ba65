/* Record: what every sorted thing in the engine holds. Tree keys start with an order-preserving table id (1 byte below
 * 240; the default table is 1), which is not counted in key limits. */
#ifndef FORMAT_RECORD_H
#define FORMAT_RECORD_H

#include <stdint.h>
#include <string.h>
#include <wodan/types.h>

/* RECORD_BLOB: a put of a large value; its value here is a blob reference (blob.h). A range delete stands in journals and
 * memtables only, never in a page: its value is the key where the range ends. 4..7 are reserved. */
enum record_kind { RECORD_PUT = 0, RECORD_DELETE = 1, RECORD_BLOB = 2, RECORD_DELETE_RANGE = 3 };
enum { RECORD_PAGE_LAST = RECORD_BLOB, RECORD_KIND_LAST = RECORD_DELETE_RANGE };
enum { TABLE_DEFAULT = 1, TABLE_ID_SIZE = 1 };
enum { TREE_KEY_MAX = 16384 / 8 + TABLE_ID_SIZE }; /* bytes; in volumes with the largest pages */

struct record {
  struct wodan_slice key;
  uint64_t sequence;
  uint8_t kind;
  struct wodan_slice value; /* empty for a delete; where a range delete ends */
};

/* Unsigned bytes, a prefix before its extension: <0, 0, >0. */
static inline int key_compare(struct wodan_slice a, struct wodan_slice b) {
  size_t n = a.size < b.size ? a.size : b.size;
  int c = n ? memcmp(a.data, b.data, n) : 0;
  return c ? c : (a.size > b.size) - (a.size < b.size);
}

#endif
