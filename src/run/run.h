/* Run: an immutable sorted file on the device (header, pages, index, filter), counted, shared by versions of the tree.
 * A leaf is a run without a filter.
 *
 * A handle is small and stays in memory: where the run is, and a leaf's pivot. What loading gets, the *body*, is kept on
 * a shelf and may go again while nobody uses it. It has two parts: the index part (key range, index, slots), needed by
 * every access, and the filter, wanted by lookups only. All functions are thread-safe unless they say otherwise. */
#ifndef RUN_RUN_H
#define RUN_RUN_H

#include "blob/blobs.h"
#include "cache/cache.h"
#include "codec/compress.h"
#include "format/range.h"
#include "io/block_io.h"
#include "iter/iterator.h"
#include "run/shelf.h"
#include "space/space.h"

/* Data pages since open: `bytes` of the pages themselves, `stored_bytes` of what stands on the device for them. */
struct run_counters {
  _Atomic uint64_t leaf_pages, leaf_pages_packed, leaf_pages_passed, leaf_bytes, leaf_stored_bytes; /* written */
  _Atomic uint64_t read, read_bytes, read_stored_bytes;
};

/* What runs need from the engine; fixed while the volume is open. */
struct run_env {
  struct mem *mem;
  struct mem *skeleton, *readers; /* accounts of handles and nodes, and of cursors; NULL: mem */
  struct block_io *io;
  struct cache *cache;
  struct run_shelf *shelf;
  struct space *space;
  struct blobs *blobs; /* NULL: nobody counts who names large values, and nothing of them is given back */
  uint32_t page_size;
  uint32_t chunk_size;           /* bytes a builder writes at once; 0: 512 KiB */
  uint64_t filter_keys;          /* a run with more records gets no filter; 0: no such limit */
  struct epoch epoch;            /* goes into headers written */
  _Atomic uint64_t *dead_blocks; /* NULL, or counts the blocks of dead runs somebody still holds */
  struct compressor *compressor; /* of builders that compress, one at a time; NULL: none may */
  struct run_counters *counters; /* NULL: nothing is counted */
  bool packed;                   /* there may be compressed pages */
};

static inline struct mem *run_env_skeleton(const struct run_env *env) {
  return env->skeleton ? env->skeleton : env->mem;
}
static inline struct mem *run_env_readers(const struct run_env *env) { return env->readers ? env->readers : env->mem; }

struct run;

/* One reference; no I/O. pivot: the lower bound of a leaf, copied; empty for a buffered run. NULL: no memory. */
struct run *run_create(struct run_env *env, const struct block_ptr *ptr, struct wodan_slice pivot);
/* Bytes of such a handle. */
uint64_t run_handle_memory(uint32_t extents, size_t pivot_size);
void run_ref(struct run *run);
/* At the last reference the handle and its body are freed, and the extents of a run marked dead go to space_defer. */
void run_unref(struct run *run);
/* The tree has dropped this run for good. Called once, by the writer, before it gives up its reference. */
void run_mark_dead(struct run *run);

/* The blobs of a run's records, in their order; each of them held once. handles NULL: they are only counted. */
struct run_blobs {
  struct blob **handles; /* in the skeleton's account */
  size_t count, capacity;
};
/* Moves them into the handle, which is not shared yet. */
void run_set_blobs(struct run *run, struct run_blobs *blobs);
/* Mount: the list of a run that says it has `count` blobs is read and proven, and each blob claimed. */
int run_claim_blobs(struct run *run, uint64_t count, struct wodan_error *error);
uint64_t run_blob_count(const struct run *run);
/* The list of the run behind ptr, proven: `each` is told every pointer in it, and may end it. */
typedef int run_each_blob(void *context, const struct block_ptr *ptr, struct wodan_error *error);
int run_read_blobs(struct block_io *io, const struct block_ptr *ptr, uint64_t count, run_each_blob *each, void *context,
                   struct wodan_error *error);

uint64_t run_generation(const struct run *run);
uint64_t run_length(const struct run *run);        /* bytes of the object */
uint64_t run_payload(const struct run *run);       /* without its header, which is much of a tiny leaf */
uint64_t run_blocks(const struct run *run);        /* of all its extents */
uint32_t run_pointer_bytes(const struct run *run); /* encoded (format/block_ptr.h) */
struct wodan_slice run_pivot(const struct run *run);
void run_pointer(const struct run *run, struct block_ptr *out);
/* Counts that a node stores of its buffered runs; 0 until set. Set before the handle is shared; but the records of a leaf are
 * known too once its body was loaded. */
void run_set_counts(struct run *run, uint64_t records, uint64_t deletes);
uint64_t run_records(const struct run *run);
uint64_t run_deletes(const struct run *run);
/* Range deletes of a buffered run: in memory for as long as the handle is, part of the skeleton. A run that has some may have
 * no records. Its iterators and lookups show records alone; that its ranges hide what is older is for who knows what is. */
struct ranges run_ranges(const struct run *run);
uint64_t run_ranges_memory(const struct run *run); /* bytes */
/* Takes the list; before the handle is shared. */
void run_set_ranges(struct run *run, struct range_list *list);
/* Reads them from the device, `count` of them; before the handle is shared. */
int run_load_ranges(struct run *run, uint64_t count, struct wodan_error *error);
/* What a leaf counts against the size of leaves: the bytes it takes without its header, but at least a RUN_STRETCH_MAX-th of
 * its pages before compression, so that its index, and the work of rewriting it, stay bounded. The pages' bytes count once
 * they are known: told before the handle is shared, or since its body was loaded. */
enum { RUN_STRETCH_MAX = 4 };
uint64_t run_leaf_weight(const struct run *run);
void run_set_page_bytes(struct run *run, uint64_t page_bytes);
/* A leaf: how many times in a row deletes freed much less than they promised, for their keys were not there. At most 4; set
 * before the handle is shared. */
void run_set_overrated(struct run *run, uint32_t times);
uint32_t run_overrated(const struct run *run);

/* Loads the index part when it is not there and keeps it until run_close_body. WODAN_ENOMEM also when the shelf has no
 * room for it because all bodies on it are in use. */
int run_open_body(struct run *run, struct wodan_error *error);
void run_close_body(struct run *run);

/* What an open body tells; the slices live until it is closed. */
struct run_shape {
  struct wodan_slice low, high;
  uint64_t record_count, sequence_max;
  uint64_t page_bytes; /* of the data pages, before compression */
  uint32_t page_count;
};
void run_shape(const struct run *run, struct run_shape *shape);
/* Bytes of the data pages that may hold keys in [lower, upper) (NULL: open). */
uint64_t run_range_bytes(const struct run *run, const struct wodan_slice *lower, const struct wodan_slice *upper);

/* Hash of a tree key for filters; computed once per lookup. */
uint64_t run_key_hash(const struct run_env *env, struct wodan_slice key);
/* What all keys of the page in a pinned frame of some run begin with; where it is short without touching a line of the page. */
struct wodan_slice run_page_prefix(const struct frame *frame);

/* 0 and *record with value in place and *pin to be cache_unpin'ed (record->key is the caller's key), or WODAN_ENOTFOUND, or a
 * failure. Loads the body as needed and holds it for the time of the call. A filter that the shelf has no room for is done
 * without. */
int run_get(struct run *run, struct wodan_slice key, uint64_t hash, struct record *record, struct frame **pin,
            struct wodan_error *error);

/* The same in steps, so that lookups of several keys overlap their cache misses: each step touches what the one before asked
 * for. run_aim finds the page (WODAN_ENOTFOUND: the key is not there), run_aim_page pins it, run_aim_take finds the record.
 * From a run_aim that answered 0 until run_aim_take, or a step that failed, the run's body is held. */
struct run_index;
struct run_aim {
  struct run *run;
  struct run_index *index;
  struct frame *frame;
  uint32_t page;
  bool filtered; /* a filter let the key through */
};
int run_aim(struct run *run, struct wodan_slice key, uint64_t hash, struct run_aim *aim, struct wodan_error *error);
void run_aim_prefetch(const struct run_aim *aim);
int run_aim_page(struct run_aim *aim, struct wodan_error *error);
void run_aim_prefetch_record(const struct run_aim *aim, struct wodan_slice key);
int run_aim_take(struct run_aim *aim, struct wodan_slice key, struct record *record, struct frame **pin);

/* Holds a reference, and from its first move on the index part. NULL: no memory. */
struct iterator *run_iterator(struct run *run);
/* The same with its memory taken from mem. */
struct iterator *run_iterator_in(struct run *run, struct mem *mem);

/* Room for the stored bytes of the compressed page read last, so that a merge can pass it on as it is. */
struct run_kept_page {
  uint8_t *bytes;        /* page_size of them; NULL: nothing is kept */
  const struct run *run; /* NULL: nothing there */
  uint32_t page;
};
/* As run_iterator, of a leaf, and the pages it reads are kept there; kept outlives it, and may serve several iterators of one
 * thread. */
struct iterator *run_iterator_keeping(struct run *run, struct run_kept_page *kept);

/* A whole data page. */
struct page_bytes {
  const uint8_t *data;
  uint32_t size, count;  /* bytes, records */
  const uint8_t *stored; /* what stands on the device for it: data, or what that was compressed to; NULL: not at hand */
  uint32_t stored_size;
  bool fresh;        /* of a run whose pages are not compressed: it may be worth it */
  uint64_t checksum; /* of what is stored, as its index entry tells */
  struct wodan_slice first, last;
  uint64_t sequence_max;
};
/* Whether it stands on the first record of a page: cheap, and false for what is no run's iterator. */
bool run_iterator_at_page(const struct iterator *it);
/* Whether `it` is a run's iterator and stands on the first record of a page without deletes, whose last key is below
 * *limit (NULL: there is none). Then *page is that page; it lives until the iterator moves. */
bool run_iterator_whole_page(struct iterator *it, const struct wodan_slice *limit, struct page_bytes *page);
/* As iterator_next, from any record of a page to the first of the next page. */
int run_iterator_skip_page(struct iterator *it, struct wodan_error *error);

/* Prefetch a filter line (or nothing when not loaded): issued for a whole path before the first probe. */
void run_prefetch(struct run *run, uint64_t hash);

/* ---- building ---------------------------------------------------------------------------------------------- */

struct run_builder;

struct run_build_options {
  uint64_t size_max;    /* upper bound of the finished object in bytes, see run_size_bound */
  enum space_kind kind; /* what the blocks are for */
  uint64_t spare;       /* blocks that must stay free for others, see space_allocate_sparing */
  bool filter;
  bool ranges;               /* range deletes may be added: its header has room for them */
  enum compression compress; /* of its pages; at most what env->compressor is for */
};
/* Upper bound of a run's size for so many records and key+value bytes. */
uint64_t run_size_bound(const struct run_env *env, uint64_t records, uint64_t bytes, bool filter);
/* WODAN_ENOMEM. Space is taken late: add and finish may answer WODAN_ENOSPC. A builder may stay open for long, while others
 * take and give space. */
int run_builder_create(struct run_env *env, const struct run_build_options *options, struct run_builder **builder,
                       struct wodan_error *error);
/* Records in key order; copies. Writes full chunks on the way (WODAN_EIO ends the builder's use). */
int run_builder_add(struct run_builder *builder, const struct record *record, struct wodan_error *error);
/* Appends a page of another run as it is; its keys lie above all added so far. *taken false: nothing was done, because that
 * page or the one being built is less than half full; then its records have to be added one by one. */
int run_builder_add_page(struct run_builder *builder, const struct page_bytes *page, bool *taken,
                         struct wodan_error *error);
/* Bytes of the object so far. */
uint64_t run_builder_bytes(const struct run_builder *builder);
/* Whether a page was stored compressed; then *weight is about what run_leaf_weight will be, were it finished now. */
bool run_builder_packed(const struct run_builder *builder, uint64_t *weight);
/* Together with the records in the order of keys, the range before the records that lie in it. Copies. */
int run_builder_add_range(struct run_builder *builder, const struct range_delete *range, struct wodan_error *error);
struct run_counts {
  uint64_t records, deletes, blobs;
  uint64_t page_bytes;       /* as in struct run_shape */
  struct range_list *ranges; /* for run_set_ranges: the caller's; NULL: there are none */
};
/* Writes the rest (not ordered, not flushed), gives unused space back, frees the builder, returns the pointer and the
 * counts (NULL: not wanted, of a run without ranges). With nothing added: WODAN_EINVAL. On failure everything is given back. */
int run_builder_finish(struct run_builder *builder, uint64_t generation, struct block_ptr *ptr,
                       struct run_counts *counts, struct wodan_error *error);
/* The same, as a handle with one reference that knows its counts and holds its blobs. */
int run_builder_finish_run(struct run_builder *builder, uint64_t generation, struct wodan_slice pivot, struct run **run,
                           struct wodan_error *error);
/* Gives everything back and frees the builder; NULL is allowed. */
void run_builder_abort(struct run_builder *builder);

#endif
