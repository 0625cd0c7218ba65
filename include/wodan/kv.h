/* Point operations and atomic batches.
 *
 * Keys are 1 byte up to page_size/8 bytes and compare as unsigned bytes, a prefix before its extension. Values are 0 bytes up
 * to 65536 pages, 1 GiB with pages of 16 KiB (an empty value is a value, not a deletion). wodan_info tells both limits; above
 * them WODAN_ETOOBIG. Nothing given to a write is kept after the call.
 *
 * A value of more than page_size/4 is a *large value*: it is written once, to a place of its own, before the commit that names
 * it, whatever becomes of its key's neighbours later. Every call takes and gives large values as any other; <wodan/value.h>
 * reads parts of one, and streams both ways.
 *
 * Durability. A commit is visible to every later read at once. Buffered (the default): in memory; a crash loses a
 * suffix of the buffered batches, never part of one. Durable: this batch and every one before it survive a crash
 * once the call returned 0. */
#ifndef WODAN_KV_H
#define WODAN_KV_H

#include <wodan/db.h>
#include <wodan/view.h>

WODAN_BEGIN

enum wodan_durability { WODAN_BUFFERED = 0, WODAN_DURABLE = 1 };

/* How to commit, and what became of it. NULL in the calls below means buffered. */
struct wodan_commit {
  uint32_t durability; /* in: enum wodan_durability */
  uint32_t reached; /* out: the level reached, also on failure: on WODAN_ENOTDURABLE the batch is committed, buffered */
  uint64_t sequence; /* out: sequence number of the batch's last operation; 0 when nothing was committed */
};

/* Copies the value into buffer. *size gets the value's size; when that is above capacity nothing is copied and
 * WODAN_ERANGE is returned (call again with *size bytes). view NULL: now.
 * WODAN_ENOTFOUND, WODAN_EINVAL, WODAN_EIO, WODAN_ECORRUPT (block in wodan_last_error), WODAN_ENOMEM. */
WODAN_API int wodan_get(struct wodan_db *db, struct wodan_view *view, struct wodan_slice key, void *buffer,
                        size_t capacity, size_t *size);

/* As wodan_get, into memory the caller frees with wodan_free (never NULL on success, also for an empty value). */
WODAN_API int wodan_get_alloc(struct wodan_db *db, struct wodan_view *view, struct wodan_slice key, void **value,
                              size_t *size);

/* A value read in place: valid until wodan_unpin, however the database changes. It holds memory of the cache or a
 * memtable: keep it briefly. */
struct wodan_pinned {
  struct wodan_slice value;
  void *owner[3]; /* the library's */
};

/* As wodan_get, without copying. On success the caller must wodan_unpin; wodan_close answers WODAN_EBUSY until then. A large
 * value is read, proven and kept in memory as a whole, for the next one who wants it: that neither reads nor copies. Large values
 * take up to half of the memory that pages may, each an eighth of that at most, and give way by use (wodan_stats: values_*). One
 * that is larger, or finds all others pinned, is read into the budget's part for readers (a sixteenth of what is above the least,
 * with the cursors'): WODAN_ENOMEM where it does not fit. wodan_get reads it into memory of yours, wodan_get_part only a part of
 * it; both copy from what is kept and keep nothing, so that reading everything once leaves memory to what is read again. */
WODAN_API int wodan_get_pinned(struct wodan_db *db, struct wodan_view *view, struct wodan_slice key,
                               struct wodan_pinned *pinned);
WODAN_API void wodan_unpin(struct wodan_db *db, struct wodan_pinned *pinned);

/* As wodan_get_pinned for keys[0..count), but faster than one by one: what one key waits for, cache misses mostly, overlaps with
 * the others'. statuses[i] and pinned[i] become what wodan_get_pinned(keys[i]) would answer: 0 and a value to be unpinned,
 * WODAN_ENOTFOUND, or this key's failure; pinned[i] is all zero unless statuses[i] is 0. Keys may be in any order and repeat.
 * Without a view up to 16 keys in a row are read at one moment; with one, all of them. Each value pins a page: with a small
 * memory budget hundreds of them may leave no room for more (WODAN_ENOMEM of those keys). Returns 0 when every key was answered,
 * found or not, else the last failure. WODAN_EINVAL (an array is NULL; then nothing was filled in). Any thread. */
WODAN_API int wodan_get_many(struct wodan_db *db, struct wodan_view *view, const struct wodan_slice *keys, size_t count,
                             struct wodan_pinned *pinned, int *statuses);
/* wodan_unpin for each. */
WODAN_API void wodan_unpin_many(struct wodan_db *db, struct wodan_pinned *pinned, size_t count);

/* Sets key to value. commit may be NULL. May wait for maintenance, in proportion to what is owed (wodan_stats).
 * WODAN_EINVAL (empty key), WODAN_ETOOBIG, WODAN_EREADONLY, WODAN_EFAILED, WODAN_EIO, WODAN_ENOMEM, WODAN_ENOTDURABLE.
 * Refused before any change: WODAN_ENOSPC (no checkpoint would help), WODAN_ENEEDSFLUSH (only with
 * WODAN_OPEN_NO_AUTO_CHECKPOINT: one would), WODAN_EPINNED (open views hold the memory or space that is needed; the
 * sentence names the oldest). */
WODAN_API int wodan_put(struct wodan_db *db, struct wodan_slice key, struct wodan_slice value,
                        struct wodan_commit *commit);

/* Removes key; removing an absent key succeeds. Errors as wodan_put. */
WODAN_API int wodan_delete(struct wodan_db *db, struct wodan_slice key, struct wodan_commit *commit);

/* Removes all keys from *from up to, not with, *to (NULL: from the first; up to the last), however many there are: one small
 * record is written, and the space comes back while maintenance drops whole parts of the tree that lie inside, without reading
 * them. Readers skip the range at once. A range without a key, or that ends where it begins or before, succeeds (then
 * nothing is committed, and with WODAN_DURABLE it is a wodan_sync). Errors as wodan_put; WODAN_EBUDGET: the memory budget has
 * no room for more range deletes until some have reached the leaves: with what is written later, or at once by wodan_compact. */
WODAN_API int wodan_delete_range(struct wodan_db *db, const struct wodan_slice *from, const struct wodan_slice *to,
                                 struct wodan_commit *commit);

/* A batch collects operations and commits them as one: all or nothing, also after a crash. The last operation on a
 * key wins. Not for two threads at once. Keys and values are copied. At most half a memtable (wodan_info). */
struct wodan_batch;
WODAN_API int wodan_batch_create(struct wodan_db *db, struct wodan_batch **batch);
/* A large value is written at once, outside the batch: WODAN_ENOSPC, WODAN_EIO as of wodan_put; it is free again unless the
 * batch is committed. */
WODAN_API int wodan_batch_put(struct wodan_batch *batch, struct wodan_slice key, struct wodan_slice value);
WODAN_API int wodan_batch_delete(struct wodan_batch *batch, struct wodan_slice key);
/* What the batch has put into the range before this operation is removed too. */
WODAN_API int wodan_batch_delete_range(struct wodan_batch *batch, const struct wodan_slice *from,
                                       const struct wodan_slice *to);
/* Operations collected so far, and their encoded bytes. */
WODAN_API size_t wodan_batch_count(const struct wodan_batch *batch);
WODAN_API uint64_t wodan_batch_bytes(const struct wodan_batch *batch);
/* Empties the batch, keeping its memory. */
WODAN_API void wodan_batch_clear(struct wodan_batch *batch);
/* Frees the batch; NULL is allowed. Before wodan_close. */
WODAN_API void wodan_batch_free(struct wodan_batch *batch);
/* Commits; the batch is left as it was, to be cleared or freed. An empty batch commits nothing (with WODAN_DURABLE it
 * is a wodan_sync). Errors as wodan_put; after any but WODAN_ENOTDURABLE and a failed durable flush (WODAN_EIO,
 * WODAN_EFAILED) nothing of it is visible. After a failed flush it is visible, and unsure after a crash. */
WODAN_API int wodan_batch_commit(struct wodan_db *db, const struct wodan_batch *batch, struct wodan_commit *commit);

WODAN_END

#endif
