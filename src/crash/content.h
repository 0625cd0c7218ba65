/* Content: every record of a database in key order, as one string of bytes, so that two moments can be compared whole.
 * A record is: u32 key size, u32 value size, key, value (little-endian). */
#ifndef CRASH_CONTENT_H
#define CRASH_CONTENT_H

#include <stdbool.h>
#include <wodan/wodan.h>
#include "base/mem.h"

/* content_init makes it empty; clear keeps the memory, release gives it back. */
struct content {
  struct mem *mem;
  uint8_t *bytes;
  size_t size, capacity;
  size_t count; /* records */
  bool failed;  /* no memory: it is not whole */
};

void content_init(struct content *content, struct mem *mem);
void content_clear(struct content *content);
void content_release(struct content *content);

/* Replaces what is in it; sets failed when there is no memory. */
void content_copy(struct content *content, const struct content *from);
/* Behind the last record; sets failed when there is no memory. */
void content_add(struct content *content, struct wodan_slice key, struct wodan_slice value);
/* The record at *at, which moves on; false at the end. */
bool content_next(const struct content *content, size_t *at, struct wodan_slice *key, struct wodan_slice *value);
bool content_equal(const struct content *a, const struct content *b);
uint64_t content_hash(const struct content *content, uint64_t seed);
/* One sentence on the first difference between what was `found` and what is `due`. */
void content_differ(const struct content *found, const struct content *due, char *why, size_t why_size);

/* Replaces it by what a cursor sees (from the last record to the first when reverse). Status of the cursor, or WODAN_ENOMEM. */
int content_read(struct content *content, struct wodan_db *db, bool reverse);

#endif
