/* Owns: what holds a body open, proof of pages on their way into the cache, and point lookups.
 *
 * Always true:
 *  - the parts of a body are looked at only by who pins the run;
 *  - a frame in a slot holds a page that passed page_fault, so nothing is checked on a hit.
 *
 * Order: a lookup probes the filter, then the index, then the page; a hit takes a pin of the run and one of the frame, no
 * lock, no memory. The value found stays in its frame, so the run's pin goes before the lookup returns.
 *
 * See: FORMAT.md "Runs", tests/unit/test_run.c, test_run_damage.c. */
#include <assert.h>
#include "codec/checksum.h"
#include "format/stored_page.h"
#include "run/run_private.h"

enum { ATTEMPTS = 2 };

int run_open_body(struct run *run, struct wodan_error *error) {
  struct run_index *index;
  run_pin(run);
  int status = run_load_index(run, &index, error);
  if (status) run_unpin(run);
  return status;
}

void run_close_body(struct run *run) { run_unpin(run); }

void run_shape(const struct run *run, struct run_shape *shape) {
  const struct run_index *index = atomic_load_explicit(&run->index, memory_order_acquire);
  assert(index);
  *shape = index->shape;
}

uint64_t run_range_bytes(const struct run *run, const struct wodan_slice *lower, const struct wodan_slice *upper) {
  const struct run_index *index = atomic_load_explicit(&run->index, memory_order_acquire);
  bool exact;
  if (index->page.count == 0) return 0;
  uint32_t from = lower ? page_lower_bound(&index->page, *lower, &exact) : 0, last = index->page.count - 1;
  if (from > last) return 0;
  if (upper) {
    uint32_t at = page_lower_bound(&index->page, *upper, &exact);
    if (at < last) last = at;
  }
  struct index_entry first = run_index_entry(index, from), end = run_index_entry(index, last);
  return end.offset + end.length - first.offset;
}

/* ---- pages --------------------------------------------------------------------------------------------------- */

/* NULL when what is stored is the page its index entry names, which is then in `bytes`, else what is wrong. */
static const char *page_fault(const struct run *run, const struct run_index *index, uint32_t at, const uint8_t *stored,
                              uint8_t *bytes) {
  const struct index_entry entry = run_index_entry(index, at);
  const char *fault = stored_page_text(stored_page_take(run->env->io->seed, &entry, stored, bytes));
  if (fault) return fault; /* guard: bounds */
  struct page page = page_view(bytes);
  struct wodan_slice first[2], last[2], bound[2];
  key_parts(&page, 0, first);
  key_parts(&page, page.count - 1, last);
  key_parts(&index->page, at, bound);
  if (compare_parts(last, bound) != 0) return "a page does not end with the key its index names"; /* guard: bounds */
  if (at == 0 && compare_whole(first, index->shape.low) < 0)
    return "a page starts below the key range"; /* guard: bounds */
  if (at > 0) key_parts(&index->page, at - 1, bound);
  if (at > 0 && compare_parts(first, bound) <= 0)
    return "a page starts below its place in the index"; /* guard: bounds */
  return NULL;
}

/* Reads a page, through `stored` when it is compressed (else NULL), and proves it; a second time before it is called
 * damage. */
static int page_read(struct run *run, const struct run_index *index, uint32_t at, uint8_t *stored, uint8_t *bytes,
                     struct wodan_error *error) {
  struct index_entry entry = run_index_entry(index, at);
  int status = 0;
  if (!stored) stored = bytes;
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    status = block_io_read(run->env->io, run->extents, run->extent_count, entry.offset, stored, entry.length, error);
    const char *fault = status ? NULL : page_fault(run, index, at, stored, bytes);
    if (!status && !fault) return 0;
    if (fault) status = run_corrupt(run, entry.offset, fault, error); /* guard: bounds */
    if (status == WODAN_ENOMEM) break;
  }
  return status;
}

static void count_read(const struct run *run, const struct index_entry *entry) {
  struct run_counters *counters = run->env->counters;
  if (!counters) return;
  atomic_fetch_add_explicit(&counters->read, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&counters->read_bytes, entry->size, memory_order_relaxed);
  atomic_fetch_add_explicit(&counters->read_stored_bytes, entry->length, memory_order_relaxed);
}

/* Into a frame. What is compressed takes memory for its stored bytes on the way, unless they are kept. */
static int page_load(struct run *run, const struct run_index *index, uint32_t at, struct run_kept_page *kept,
                     uint8_t *bytes, struct wodan_error *error) {
  struct index_entry entry = run_index_entry(index, at);
  count_read(run, &entry);
  if (entry.length == entry.size) return page_read(run, index, at, NULL, bytes, error);
  bool keep = kept && kept->bytes;
  uint8_t *stored = keep ? kept->bytes : mem_alloc(run->env->mem, entry.length);
  if (!stored) return status_nomem(error);
  if (keep) kept->run = NULL;
  int status = page_read(run, index, at, stored, bytes, error);
  if (!keep) mem_free(run->env->mem, stored, entry.length);
  if (keep && status == 0) {
    kept->run = run;
    kept->page = at;
  }
  return status;
}

bool run_keep_page(struct run *run, const struct run_index *index, uint32_t at, struct run_kept_page *kept) {
  if (kept->run == run && kept->page == at) return true;
  struct index_entry entry = run_index_entry(index, at);
  kept->run = NULL;
  int status =
      block_io_read(run->env->io, run->extents, run->extent_count, entry.offset, kept->bytes, entry.length, NULL);
  bool same =
      status == 0 && checksum(run->env->io->seed, kept->bytes, entry.length) == entry.checksum; /* guard: checksum */
  if (same) {
    kept->run = run;
    kept->page = at;
  }
  return same;
}

/* A frame's note: what all keys of its page begin with, behind a byte that tells how long that is; UINT8_MAX: too long. Its line
 * in the page can only be asked for when the page's header is there, so it cost a lookup by location one more wait for memory. */
enum { NOTED_MOST = CACHE_NOTE - 1 };

static void note_prefix(struct frame *frame) {
  struct page page = page_view(cache_data(frame));
  struct wodan_slice prefix = page_prefix(&page);
  uint8_t *note = cache_fill_note(frame);
  note[0] = prefix.size <= NOTED_MOST ? (uint8_t)prefix.size : UINT8_MAX;
  if (prefix.size && note[0] != UINT8_MAX) memcpy(note + 1, prefix.data, prefix.size);
}

struct wodan_slice run_page_prefix(const struct frame *frame) {
  const uint8_t *note = cache_note(frame);
  if (note[0] != UINT8_MAX) return (struct wodan_slice){note + 1, note[0]};
  struct page page = page_view(cache_data(frame));
  return page_prefix(&page);
}

int run_pin_page(struct run *run, const struct run_index *index, uint32_t at, struct run_kept_page *kept,
                 struct frame **frame, struct wodan_error *error) {
  assert(at < index->page.count);
  struct cache *cache = run->env->cache;
  *frame = cache_pin(cache, &index->slots[at]);
  if (*frame) return 0;
  struct frame *ours = cache_reserve(cache);
  if (!ours)
    return status_set(error, WODAN_ENOMEM, 0, WODAN_NO_BLOCK, "no memory for a page: all cached ones are in use");
  int status = page_load(run, index, at, kept, cache_fill(ours), error);
  if (status) {
    cache_cancel(cache, ours);
    return status;
  }
  note_prefix(ours);
  *frame = cache_publish(cache, &index->slots[at], ours);
  return 0;
}

/* ---- lookup -------------------------------------------------------------------------------------------------- */

uint64_t run_key_hash(const struct run_env *env, struct wodan_slice key) {
  return checksum(env->io->seed, key.data, key.size);
}

/* Without a pin: names addresses, touches none of them. */
void run_prefetch(struct run *run, uint64_t hash) {
  const struct run_filter *filter = atomic_load_explicit(&run->filter, memory_order_relaxed);
  uint32_t lines = atomic_load_explicit(&run->filter_lines, memory_order_relaxed);
  if (filter)
    filter_prefetch(filter->lines, lines, hash);
  else
    __builtin_prefetch(atomic_load_explicit(&run->index, memory_order_relaxed));
}

/* Whether the filter denies the key. */
static inline bool denied(struct run *run, const struct run_filter *filter, uint64_t hash) {
  mark_used(&run->filter_used);
  uint32_t lines = atomic_load_explicit(&run->filter_lines, memory_order_relaxed);
  return !filter_may_contain(filter->lines, lines, hash);
}

/* Whether it has one on the device, or so many keys that are not there were looked for that one of its own is worth its making:
 * as many as it has pages. */
static inline bool wants_filter(const struct run *run, const struct run_index *index) {
  return index->filter.tag || atomic_load_explicit(&run->unfiltered, memory_order_relaxed) >= index->page.count;
}

/* The run is pinned. */
static int locate(struct run_aim *aim, struct wodan_slice key, uint64_t hash, struct wodan_error *error) {
  struct run *run = aim->run;
  struct run_filter *filter = atomic_load_explicit(&run->filter, memory_order_acquire);
  if (filter && denied(run, filter, hash)) return WODAN_ENOTFOUND;
  aim->index = atomic_load_explicit(&run->index, memory_order_acquire);
  int status = aim->index ? 0 : run_load_index(run, &aim->index, error);
  if (status) return status;
  mark_used(&run->index_used);
  if (!filter && wants_filter(run, aim->index)) {
    status = run_load_filter(run, aim->index, &filter, error);
    if (status) return status;
    if (filter && denied(run, filter, hash)) return WODAN_ENOTFOUND;
  }
  aim->filtered = filter != NULL;
  bool exact;
  if (aim->index->page.count == 0) return WODAN_ENOTFOUND;
  aim->page = page_lower_bound(&aim->index->page, key, &exact);
  return aim->page < aim->index->page.count ? 0 : WODAN_ENOTFOUND;
}

/* A lookup that found nothing, and that a filter would have spared. */
static void count_unfiltered(const struct run_aim *aim) {
  if (aim->index && !aim->filtered) atomic_fetch_add_explicit(&aim->run->unfiltered, 1, memory_order_relaxed);
}

int run_aim(struct run *run, struct wodan_slice key, uint64_t hash, struct run_aim *aim, struct wodan_error *error) {
  *aim = (struct run_aim){.run = run};
  run_pin(run);
  int status = locate(aim, key, hash, error);
  if (status == WODAN_ENOTFOUND) count_unfiltered(aim);
  if (status) run_unpin(run);
  return status;
}

void run_aim_prefetch(const struct run_aim *aim) {
  __builtin_prefetch(atomic_load_explicit(&aim->index->slots[aim->page], memory_order_relaxed));
}

int run_aim_page(struct run_aim *aim, struct wodan_error *error) {
  int status = run_pin_page(aim->run, aim->index, aim->page, NULL, &aim->frame, error);
  if (status) {
    run_unpin(aim->run);
    return status;
  }
  struct page page = page_view(cache_data(aim->frame));
  page_prefetch(&page);
  return 0;
}

void run_aim_prefetch_record(const struct run_aim *aim, struct wodan_slice key) {
  struct page page = page_view(cache_data(aim->frame));
  page_prefetch_record(&page, key);
}

int run_aim_take(struct run_aim *aim, struct wodan_slice key, struct record *record, struct frame **pin) {
  bool exact;
  struct page page = page_view(cache_data(aim->frame));
  uint32_t at = page_lower_bound(&page, key, &exact);
  if (exact) {
    struct page_record found = page_record(&page, at);
    *record = (struct record){.key = key, .sequence = found.sequence, .kind = found.kind, .value = found.value};
    *pin = aim->frame;
  } else {
    count_unfiltered(aim);
    cache_unpin(aim->frame);
  }
  run_unpin(aim->run);
  return exact ? 0 : WODAN_ENOTFOUND;
}

int run_get(struct run *run, struct wodan_slice key, uint64_t hash, struct record *record, struct frame **pin,
            struct wodan_error *error) {
  struct run_aim aim;
  int status = run_aim(run, key, hash, &aim, error);
  if (status == 0) status = run_aim_page(&aim, error);
  return status == 0 ? run_aim_take(&aim, key, record, pin) : status;
}
