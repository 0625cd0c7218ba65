/* Memtable: the newest records, in memory: a B+tree in an arena, 64 wide, 8-byte key heads. Keeps every version of a
 * key (key ascending, sequence descending) and the order of commit. Counted: a frozen memtable lives until the last
 * reader and the checkpoint that covers it have let go.
 *
 * Threads: the caller holds a lock: shared for get and iteration, exclusive for reserve/insert. An iterator survives
 * inserts made between its calls. Record bytes (key, value) stay where they are until the memtable is freed. */
#ifndef MEMTABLE_MEMTABLE_H
#define MEMTABLE_MEMTABLE_H

#include <stdatomic.h>
#include "base/mem.h"
#include "codec/checksum.h"
#include "format/range.h"
#include "iter/iterator.h"

struct memtable;

/* One reference. alive (may be NULL) counts the memtables that have not been freed. NULL: no memory. */
struct memtable *memtable_create(struct mem *mem, _Atomic uint32_t *alive);
/* The same with the records in an account of their own; handle and iterators stay in mem. */
struct memtable *memtable_create_within(struct mem *mem, struct mem *records, _Atomic uint32_t *alive);
/* It will be full with so many bytes, as memtable_bytes counts: what grows with it grows less often. */
void memtable_expect(struct memtable *table, uint64_t bytes);
/* When it is freed, `release` is told each record of a large value: the table held the blobs. */
typedef void memtable_release(void *context, const struct record *record);
void memtable_on_release(struct memtable *table, memtable_release *release, void *context);
void memtable_ref(struct memtable *table);   /* atomic, any thread */
void memtable_unref(struct memtable *table); /* frees at the last one */

/* Makes sure that `count` more inserts with `bytes` of keys and values together cannot fail. */
int memtable_reserve(struct memtable *table, size_t count, size_t bytes, struct wodan_error *error);
/* The same for so many range deletes among them. */
int memtable_reserve_ranges(struct memtable *table, size_t count, struct wodan_error *error);
/* Only after these; sequences rise with each record. Copies keys and values. One after the other, but with the cache misses of
 * several at once. */
void memtable_insert_many(struct memtable *table, const struct record *records, size_t count);
static inline void memtable_insert(struct memtable *table, const struct record *record) {
  memtable_insert_many(table, record, 1);
}

/* What memtable_get wants beside the key. */
static inline uint64_t memtable_hash(struct wodan_slice key) { return checksum(0, key.data, key.size); }
/* The newest version at or below `sequence`: 0 and *record (kind may be a delete: its own, or that of a range), or
 * WODAN_ENOTFOUND. */
int memtable_get(const struct memtable *table, struct wodan_slice key, uint64_t hash, uint64_t sequence,
                 struct record *record);

/* The newest version at or below `sequence` of each key; in place of one that a range delete hides, a delete. Holds a
 * reference. NULL: no memory. */
struct iterator *memtable_iterator(struct memtable *table, uint64_t sequence);

/* Bytes that its range deletes would take in a list of their own, if none were cut. */
uint64_t memtable_ranges_bytes(const struct memtable *table);
bool memtable_has_ranges(const struct memtable *table);
/* Its range deletes, as a run has them: each key's newest. They lie in the memtable. false: no memory. */
bool memtable_ranges(const struct memtable *table, struct mem *mem, struct range_buffer *out);

uint64_t memtable_count(const struct memtable *table);          /* records, all versions */
uint64_t memtable_bytes(const struct memtable *table);          /* encoded: sum of record_encoded_size */
uint64_t memtable_memory(const struct memtable *table);         /* bytes of memory its records take */
uint64_t memtable_first_sequence(const struct memtable *table); /* 0 when empty */
uint64_t memtable_last_sequence(const struct memtable *table);  /* 0 when empty */

/* Walk in commit order. Start with {0}; memtable_walk returns false at the end. A walk may be continued later, after
 * more inserts. */
struct memtable_walk {
  void *chunk;
  size_t at;
};
bool memtable_walk(const struct memtable *table, struct memtable_walk *walk, struct record *record);

/* In checked builds (WODAN_CHECKED) each record has a checksum from its insert on. These prove a record that a walk or iterator
 * yielded, and all of a table, before they are written: WODAN_ECORRUPT when memory has changed. Else they cost nothing. */
int memtable_prove(const struct record *record, struct wodan_error *error);
int memtable_prove_all(const struct memtable *table, struct wodan_error *error);

/* Bytes a record counts for in memtable sizes and batches: close to what it takes in a page; the reference of a large value
 * stands in its run's list too. */
static inline uint64_t record_encoded_size(size_t key_size, size_t value_size) { return key_size + value_size + 12; }
static inline uint64_t record_weight(const struct record *record) {
  size_t twice = record->kind == RECORD_BLOB ? record->value.size : 0;
  return record_encoded_size(record->key.size, record->value.size + twice);
}

#endif
