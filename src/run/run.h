/* Run: an immutable sorted file on the device (header, pages, index, filter), counted, shared by versions of the tree.
 * A leaf is a run without a filter. A handle starts closed (pointer only); the first access reads header, index and
 * filter, once, by whichever thread comes first. All functions are thread-safe. */
#ifndef RUN_RUN_H
#define RUN_RUN_H

#include "cache/cache.h"
#include "io/block_io.h"
#include "iter/iterator.h"
#include "space/space.h"

/* What runs need from the engine; fixed while the volume is open. */
struct run_env {
  struct mem *mem;
  struct block_io *io;
  struct cache *cache;
  struct space *space;
  uint32_t page_size;
  struct epoch epoch; /* goes into headers written */
};

struct run;

/* One reference; no I/O. NULL: no memory. */
struct run *run_create(struct run_env *env, const struct block_ptr *ptr);
void run_ref(struct run *run);
/* At the last reference the handle is freed, and the extents of a run marked dead go to space_defer. */
void run_unref(struct run *run);
/* The tree has dropped this run for good. Called once, by the writer, before it gives up its reference. */
void run_mark_dead(struct run *run);
const struct block_ptr *run_ptr(const struct run *run);
/* What its node says of it: records, and deletes among them. 0 until set; before it is shared. */
void run_set_counts(struct run *run, uint64_t records, uint64_t deletes);
uint64_t run_records(const struct run *run);
uint64_t run_deletes(const struct run *run);

/* Loads what is not loaded yet and tells the key range (in the run's memory), records and so on. */
struct run_shape {
  struct wodan_slice low, high;
  uint64_t record_count, sequence_max;
  uint32_t page_count;
};
int run_load(struct run *run, struct run_shape *shape, struct wodan_error *error);

/* Hash of a tree key for filters; computed once per lookup. */
uint64_t run_key_hash(const struct run_env *env, struct wodan_slice key);

/* 0 and *record with value in place and *pin to be cache_unpin'ed (record->key is the caller's key), or WODAN_ENOTFOUND, or a
 * failure. use_filter: probe the filter first when there is one. */
int run_get(struct run *run, struct wodan_slice key, uint64_t hash, struct record *record, struct frame **pin,
            struct wodan_error *error);

/* Holds a reference. NULL: no memory. */
struct iterator *run_iterator(struct run *run);

/* Prefetch a filter line (or nothing when not loaded): issued for a whole path before the first probe. */
void run_prefetch(struct run *run, uint64_t hash);

/* ---- building ---------------------------------------------------------------------------------------------- */

struct run_builder;

struct run_build_options {
  uint64_t size_max; /* upper bound of the finished object in bytes, see run_size_bound */
  uint64_t generation;
  uint64_t spare; /* blocks that must stay free for others, see space_allocate_sparing */
  bool filter;
};
/* Upper bound of a run's size for so many records and key+value bytes. */
uint64_t run_size_bound(const struct run_env *env, uint64_t records, uint64_t bytes, bool filter);
/* WODAN_ENOMEM. Space is taken late: add and finish may answer WODAN_ENOSPC. */
int run_builder_create(struct run_env *env, const struct run_build_options *options, struct run_builder **builder,
                       struct wodan_error *error);
/* Records in key order; copies. Writes full chunks on the way (WODAN_EIO ends the builder's use). */
int run_builder_add(struct run_builder *builder, const struct record *record, struct wodan_error *error);
uint64_t run_builder_count(const struct run_builder *builder);
/* Writes the rest (not ordered, not flushed), gives unused space back, frees the builder, returns the pointer. With no
 * record added: WODAN_EINVAL. On failure everything is given back. */
int run_builder_finish(struct run_builder *builder, struct block_ptr *ptr, struct wodan_error *error);
/* Gives everything back and frees the builder; NULL is allowed. */
void run_builder_abort(struct run_builder *builder);

#endif
