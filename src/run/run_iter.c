/* Owns: the iterator over one run, both ways, and whole pages of it.
 *
 * Always true:
 *  - from the first move to the close the run is pinned, and `index` is its index part;
 *  - while valid, `frame` is pinned and holds data page `page_index`, and the record shown is its record `at`;
 *  - the first page.prefix_size bytes of the key buffer are that page's prefix, so a step inside a page copies only the
 *    suffix; the value stays in the page.
 *
 * Order: a seek finds its place before it touches the key buffer, so the wanted key may be the iterator's own.
 *
 * See: tests/unit/test_run.c, test_run_pages.c. */
#include <assert.h>
#include "format/node_header.h"
#include "run/run_private.h"

enum { KEY_CAPACITY_MIN = 64 };

struct run_iterator {
  struct iterator base;
  struct run *run;
  struct mem *mem;
  struct run_index *index; /* NULL: not moved yet */
  struct frame *frame;     /* NULL: stands nowhere */
  struct page page;
  uint32_t page_index, at;
  uint8_t *key; /* PAGE_COPY_SLACK bytes more than any key shown */
  size_t key_capacity;
  struct run_kept_page *kept; /* NULL: what is read is not kept */
  uint8_t *last;              /* the last key of a page told as a whole */
  size_t last_capacity;
};

static struct run_iterator *self(struct iterator *it) { return (struct run_iterator *)it; }

static int stand_nowhere(struct run_iterator *it) {
  it->base.valid = false;
  if (it->frame) cache_unpin(it->frame);
  it->frame = NULL;
  return 0;
}

/* Grows the key buffer, keeping the prefix in it. */
static int key_room(struct run_iterator *it, size_t size, struct wodan_error *error) {
  struct mem *mem = it->mem;
  size_t wanted = size + PAGE_COPY_SLACK < KEY_CAPACITY_MIN ? KEY_CAPACITY_MIN : (size + PAGE_COPY_SLACK) * 2;
  uint8_t *bigger = mem_alloc(mem, wanted);
  if (!bigger) {
    stand_nowhere(it);
    return status_nomem(error);
  }
  struct wodan_slice prefix = page_prefix(&it->page);
  if (prefix.size) memcpy(bigger, prefix.data, prefix.size);
  mem_free(mem, it->key, it->key_capacity);
  it->key = bigger;
  it->key_capacity = wanted;
  return 0;
}

/* Shows record `at` of the page at hand. */
static inline int show(struct run_iterator *it, uint32_t at, struct wodan_error *error) {
  struct page_record record = page_record(&it->page, at);
  size_t prefix_size = it->page.prefix_size, size = prefix_size + record.suffix.size;
  if (size + PAGE_COPY_SLACK > it->key_capacity) {
    int status = key_room(it, size, error);
    if (status) return status;
  }
  page_copy_suffix(&it->page, record.suffix, it->key + prefix_size);
  it->at = at;
  it->base.record =
      (struct record){.key = {it->key, size}, .sequence = record.sequence, .kind = record.kind, .value = record.value};
  it->base.valid = true;
  return 0;
}

/* Pins the run and has its index part, from the first move on. */
static int ready(struct run_iterator *it, struct wodan_error *error) {
  if (it->index) return 0;
  int status = run_open_body(it->run, error);
  if (!status) it->index = atomic_load_explicit(&it->run->index, memory_order_acquire);
  return status;
}

/* Moves to a page; nothing of it is shown yet. */
static int enter(struct run_iterator *it, uint32_t page_index, struct wodan_error *error) {
  if (it->frame && it->page_index == page_index) return 0;
  stand_nowhere(it);
  struct frame *frame;
  int status = run_pin_page(it->run, it->index, page_index, it->kept, &frame, error);
  if (status) return status;
  it->frame = frame;
  it->page_index = page_index;
  it->page = page_view(cache_data(frame));
  return 0;
}

/* Shows record `at` of the page just entered. */
static int show_entered(struct run_iterator *it, uint32_t at, struct wodan_error *error) {
  struct wodan_slice prefix = page_prefix(&it->page);
  if (prefix.size + PAGE_COPY_SLACK > it->key_capacity) {
    int status = key_room(it, prefix.size, error);
    if (status) return status;
  }
  if (prefix.size) memcpy(it->key, prefix.data, prefix.size);
  return show(it, at, error);
}

static int enter_first(struct run_iterator *it, uint32_t page_index, struct wodan_error *error) {
  int status = enter(it, page_index, error);
  return status ? status : show_entered(it, 0, error);
}

static int enter_last(struct run_iterator *it, uint32_t page_index, struct wodan_error *error) {
  int status = enter(it, page_index, error);
  return status ? status : show_entered(it, it->page.count - 1, error);
}

/* A run of range deletes alone has no page. */
static bool no_pages(const struct run_iterator *it) { return it->index->page.count == 0; }

static int move_first(struct iterator *base, struct wodan_error *error) {
  base->valid = false;
  int status = ready(self(base), error);
  return status || no_pages(self(base)) ? status : enter_first(self(base), 0, error);
}

static int move_last(struct iterator *base, struct wodan_error *error) {
  base->valid = false;
  int status = ready(self(base), error);
  return status || no_pages(self(base)) ? status : enter_last(self(base), self(base)->index->page.count - 1, error);
}

static int move_seek(struct iterator *base, struct wodan_slice key, struct wodan_error *error) {
  struct run_iterator *it = self(base);
  base->valid = false;
  int status = ready(it, error);
  if (status || no_pages(it)) return status;
  bool exact;
  uint32_t page_index = page_lower_bound(&it->index->page, key, &exact);
  if (page_index == it->index->page.count) return stand_nowhere(it);
  status = enter(it, page_index, error);
  if (status) return status;
  uint32_t at = page_lower_bound(&it->page, key, &exact);
  assert(at < it->page.count); /* the page's last key is the one the index holds */
  return show_entered(it, at, error);
}

static int move_seek_back(struct iterator *base, struct wodan_slice key, struct wodan_error *error) {
  struct run_iterator *it = self(base);
  base->valid = false;
  int status = ready(it, error);
  if (status || no_pages(it)) return status;
  bool exact;
  uint32_t page_index = page_lower_bound(&it->index->page, key, &exact);
  if (page_index == it->index->page.count) return enter_last(it, page_index - 1, error);
  status = enter(it, page_index, error);
  if (status) return status;
  uint32_t at = page_lower_bound(&it->page, key, &exact);
  if (exact) return show_entered(it, at, error);
  if (at > 0) return show_entered(it, at - 1, error);
  return page_index > 0 ? enter_last(it, page_index - 1, error) : stand_nowhere(it);
}

static int move_next(struct iterator *base, struct wodan_error *error) {
  struct run_iterator *it = self(base);
  assert(base->valid);
  if (it->at + 1 < it->page.count) return show(it, it->at + 1, error);
  if (it->page_index + 1 == it->index->page.count) return stand_nowhere(it);
  return enter_first(it, it->page_index + 1, error);
}

static int move_prev(struct iterator *base, struct wodan_error *error) {
  struct run_iterator *it = self(base);
  assert(base->valid);
  if (it->at > 0) return show(it, it->at - 1, error);
  if (it->page_index == 0) return stand_nowhere(it);
  return enter_last(it, it->page_index - 1, error);
}

static void around(struct iterator *base, struct wodan_slice key, struct range_stretch *stretch) {
  ranges_stretch(run_ranges(self(base)->run), key, stretch);
}

static void close_iterator(struct iterator *base) {
  struct run_iterator *it = self(base);
  struct run *run = it->run;
  struct mem *mem = it->mem;
  stand_nowhere(it);
  if (it->index) run_close_body(run);
  mem_free(mem, it->key, it->key_capacity);
  mem_array_free(mem, it->last, it->last_capacity, 1);
  mem_free(mem, it, sizeof *it);
  run_unref(run);
}

/* The next page's first lines are asked for meanwhile. */
static void prefetch_page(const struct run_iterator *it, uint32_t page_index) {
  if (page_index >= it->index->page.count) return;
  const struct frame *frame = atomic_load_explicit(&it->index->slots[page_index], memory_order_relaxed);
  if (frame) __builtin_prefetch(cache_data(frame));
}

static bool stretch(struct iterator *base, bool back, struct stretch *out) {
  struct run_iterator *it = self(base);
  uint32_t last = back ? 0 : it->page.count - 1;
  if (it->page.prefix_size < TABLE_ID_SIZE || (back ? it->at - last : last - it->at) < STRETCH_LEAST) return false;
  prefetch_page(it, back ? it->page_index - 1 : it->page_index + 1);
  *out = (struct stretch){
      .page = it->page, .at = it->at, .last = last, .key = it->key, .key_capacity = it->key_capacity - PAGE_COPY_SLACK};
  return true;
}

static int settle(struct iterator *base, uint32_t at, struct wodan_error *error) {
  base->valid = false;
  return show(self(base), at, error);
}

static const struct iterator_ops run_iterator_ops = {
    .first = move_first,
    .last = move_last,
    .seek = move_seek,
    .seek_back = move_seek_back,
    .next = move_next,
    .prev = move_prev,
    .around = around,
    .close = close_iterator,
    .stretch = stretch,
    .settle = settle,
};

struct iterator *run_iterator(struct run *run) {
  return run_iterator_in(run, run->env->mem);
}

struct iterator *run_iterator_in(struct run *run, struct mem *mem) {
  struct run_iterator *it = mem_zalloc(mem, sizeof *it);
  if (!it) return NULL;
  it->base.ops = &run_iterator_ops;
  it->base.ranges = run_ranges(run).count > 0;
  it->run = run;
  it->mem = mem;
  run_ref(run);
  return &it->base;
}

struct iterator *run_iterator_keeping(struct run *run, struct run_kept_page *kept) {
  struct iterator *it = run_iterator(run);
  if (it) self(it)->kept = kept;
  return it;
}

/* ---- whole pages --------------------------------------------------------------------------------------------- */

/* The greatest sequence; false when there is a delete. */
static bool only_puts(const struct page *page, uint64_t *sequence_max) {
  *sequence_max = 0;
  for (uint32_t i = 0; i < page->count; i++) {
    struct page_record record = page_record(page, i);
    if (record.kind != RECORD_PUT) return false;
    if (record.sequence > *sequence_max) *sequence_max = record.sequence;
  }
  return true;
}

/* What stands on the device: of a compressed page only where that is kept. */
static void tell_stored(struct run_iterator *it, struct page_bytes *out) {
  struct index_entry entry = run_index_entry(it->index, it->page_index);
  out->checksum = entry.checksum;
  out->stored_size = entry.length;
  out->fresh = !it->kept;
  if (entry.length == entry.size)
    out->stored = out->data;
  else if (it->kept && it->kept->bytes && run_keep_page(it->run, it->index, it->page_index, it->kept))
    out->stored = it->kept->bytes;
}

bool run_iterator_at_page(const struct iterator *base) {
  return base->ops == &run_iterator_ops && base->valid && ((const struct run_iterator *)(const void *)base)->at == 0;
}

bool run_iterator_whole_page(struct iterator *base, const struct wodan_slice *limit, struct page_bytes *out) {
  struct run_iterator *it = self(base);
  if (!run_iterator_at_page(base)) return false;
  struct wodan_slice last[2];
  key_parts(&it->page, it->page.count - 1, last);
  if (limit && compare_whole(last, *limit) >= 0) return false;
  *out = (struct page_bytes){.data = it->page.data, .size = it->page.size, .count = it->page.count};
  if (!only_puts(&it->page, &out->sequence_max)) return false;
  void *bytes = it->last;
  size_t size = last[0].size + last[1].size;
  bool room = mem_array_grow(it->mem, &bytes, &it->last_capacity, size, 1);
  it->last = bytes;
  if (!room) return false;
  out->first = base->record.key;
  out->last = (struct wodan_slice){it->last, page_key(&it->page, it->page.count - 1, it->last)};
  tell_stored(it, out);
  return true;
}

int run_iterator_skip_page(struct iterator *base, struct wodan_error *error) {
  struct run_iterator *it = self(base);
  assert(base->ops == &run_iterator_ops && base->valid);
  if (it->page_index + 1 == it->index->page.count) return stand_nowhere(it);
  return enter_first(it, it->page_index + 1, error);
}
