/* What the files of src/run share: the handle, the parts of a body and who holds them, and the way to a page. */
#ifndef RUN_RUN_PRIVATE_H
#define RUN_RUN_PRIVATE_H

#include "base/thread.h"
#include "format/page.h"
#include "run/filter.h"
#include "run/run.h"

/* A part of a body, on the shelf's ring. */
struct shelf_item {
  struct run *run;
  struct shelf_item *next, *previous;
  uint64_t bytes; /* all memory of the part */
};

/* The index part; fixed once it is in the handle. */
struct run_index {
  struct shelf_item item;
  struct page page;  /* view of bytes */
  cache_slot *slots; /* page.count of them */
  size_t slot_count; /* as allocated */
  size_t size;       /* of this allocation */
  struct run_shape shape;
  struct section filter; /* tag 0: there is none */
  uint8_t bytes[];       /* the index page, the low key, the high key */
};

struct run_filter {
  struct shelf_item item;
  uint8_t unused[FILTER_LINE_SIZE - sizeof(struct shelf_item)];
  uint8_t lines[];
};
_Static_assert(offsetof(struct run_filter, lines) == FILTER_LINE_SIZE, "a line is a cache line");

/* What a lookup touches comes first. */
struct run {
  _Atomic uint32_t pins; /* who uses the body; RUN_CLAIMED: parts of it are being taken away */
  _Atomic uint32_t references;
  struct run_index *_Atomic index;   /* NULL: not loaded. Stays while there are pins */
  struct run_filter *_Atomic filter; /* the same */
  struct run_env *env;
  _Atomic uint32_t filter_lines;        /* set before `filter`, never changes after */
  _Atomic bool index_used, filter_used; /* since the shelf's hand last passed */
  _Atomic bool dead;
  bool loading;                /* by one thread at a time; under the shelf's lock */
  _Atomic uint32_t unfiltered; /* lookups that found nothing and had no filter to tell so */
  uint32_t header_length, pivot_size;
  uint8_t extent_count, overrated;
  _Atomic uint16_t stretch; /* bytes of its pages to the bytes they take, in 1/STRETCH_ONE; 0: not known yet */
  uint64_t generation, checksum, length;
  _Atomic uint64_t records; /* of a leaf 0 until it is known */
  uint64_t deletes;
  struct run_blobs blobs;
  struct range_list *ranges; /* NULL: none */
  struct extent extents[];   /* the pivot's bytes behind them */
};
enum { STRETCH_ONE = 16 };
#define RUN_CLAIMED (UINT32_C(1) << 31)

/* ---- holding a body ------------------------------------------------------------------------------------------ */

/* Waits until no body is being taken away. */
void shelf_await(struct run_shelf *shelf);

/* What is loaded stays, and what gets loaded, until run_unpin. */
static inline void run_pin(struct run *run) {
  uint32_t before = atomic_fetch_add_explicit(&run->pins, 1, memory_order_acquire);
  if (before & RUN_CLAIMED) shelf_await(run->env->shelf);
}
static inline void run_unpin(struct run *run) { atomic_fetch_sub_explicit(&run->pins, 1, memory_order_release); }

static inline void mark_used(_Atomic bool *used) {
  if (!atomic_load_explicit(used, memory_order_relaxed)) atomic_store_explicit(used, true, memory_order_relaxed);
}

/* ---- the shelf (shelf.c) ------------------------------------------------------------------------------------- */

/* The caller may load a part: nobody else loads one of this run, and it is not there yet. With false it is there by now
 * or, with wait false, another thread is at it. After true shelf_end follows. */
bool shelf_begin(struct run *run, bool filter, bool wait);
/* Takes so much room, evicting bodies nobody uses; false: the others are in use. Between begin and end only. */
bool shelf_take(struct run_shelf *shelf, uint64_t bytes);
void shelf_give(struct run_shelf *shelf, uint64_t bytes); /* gives room back; its memory is freed already */
/* Puts the part into the handle and on the ring; its item.bytes were taken before. At most one of them, or none. */
void shelf_end(struct run *run, struct run_index *index, struct run_filter *filter);
/* Takes what is loaded off the shelf and frees it; nobody has a reference any more. */
void shelf_remove(struct run *run);
/* Whether so much is free right now. No lock. */
bool shelf_has_room(struct run_shelf *shelf, uint64_t bytes);

/* ---- loading (run_load.c) ------------------------------------------------------------------------------------ */

/* The index part of a pinned run, loaded when it is not there. */
int run_load_index(struct run *run, struct run_index **index, struct wodan_error *error);
/* The filter of a pinned run, or NULL: there is none, or no room that it is worth. */
int run_load_filter(struct run *run, const struct run_index *index, struct run_filter **filter,
                    struct wodan_error *error);
/* Frees a part and the frames of its pages. */
void run_index_free(struct run *run, struct run_index *index);
void run_filter_free(struct run *run, struct run_filter *filter);

/* ---- blobs (run_blobs.c) ------------------------------------------------------------------------------------- */

/* Holds one more, which must be held by somebody already. */
int run_blobs_add(struct run_env *env, struct run_blobs *blobs, const struct block_ptr *ptr, struct wodan_error *error);
/* Gives up all. */
void run_blobs_release(struct run_env *env, struct run_blobs *blobs);

/* ---- pages --------------------------------------------------------------------------------------------------- */

int run_corrupt(const struct run *run, uint64_t offset, const char *what, struct wodan_error *error);
/* The key of a record, in two parts; and key_compare of such keys. */
void key_parts(const struct page *page, uint32_t at, struct wodan_slice parts[2]);
int compare_parts(const struct wodan_slice a[2], const struct wodan_slice b[2]);
int compare_whole(const struct wodan_slice parts[2], struct wodan_slice key);
/* The entry of data page `at`. */
struct index_entry run_index_entry(const struct run_index *index, uint32_t at);
/* Pins data page `at`, reading and proving it when it is not cached. The run is pinned. kept: NULL, or gets the stored bytes
 * of a compressed page that was read. */
int run_pin_page(struct run *run, const struct run_index *index, uint32_t at, struct run_kept_page *kept,
                 struct frame **frame, struct wodan_error *error);
/* The stored bytes of page `at` once more; true when they are what the index says. */
bool run_keep_page(struct run *run, const struct run_index *index, uint32_t at, struct run_kept_page *kept);

#endif
