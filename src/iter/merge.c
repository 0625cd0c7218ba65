/* Owns: the merge of many iterators into one, by a loser tree.
 * Always true: while valid, the record is a copy of the champion's, and the champion has not been moved since. Moving
 * forward, every other source stands on its first record at or after the champion's key (backward: its last at or
 * before); one that stands on the very key is newer in no case. slots[0].loser is the champion; slots[i].loser, i >= 1,
 * lost the match at inner node i, whose children are nodes 2i and 2i+1; node count + i is source i.
 * All keys the sources stand on start with the same skip bytes; so does the key that a move leaves.
 * With range deletes among the sources (stretches is not NULL): the champion stands in no range of a newer source. Where it
 * would, all sources older than that one leave the range, by a step where that suffices, else by a seek.
 * Order: a move keeps a copy of the key it leaves, because the champion's own dies when it moves, and passes every
 * source that still stands on that key. A change of direction first seeks the other sources anew, by the key of the
 * champion, which must not have moved yet.
 * See: tests/unit/test_merge.c. */
#include "iter/merge.h"

#include <assert.h>

struct slot {
  struct iterator *source;
  uint64_t head; /* eight bytes of the key, so that less goes first; all ones when the source is at its end */
  size_t loser;
};

struct merge {
  struct iterator base;
  struct mem *mem;
  size_t count;
  bool backward;
  size_t skip;   /* bytes that the keys of all sources have in common; heads are taken behind them */
  uint8_t *left; /* the key a move leaves */
  size_t left_capacity;
  struct range_stretch
      *stretches; /* of each source with ranges what it said last; NULL: no source older than another has any */
  struct slot slots[];
};

static const size_t NOBODY = SIZE_MAX;

static struct merge *merge_of(struct iterator *base) { return (struct merge *)base; }

/* ---- matches -------------------------------------------------------------------------------------------------- */

static uint64_t key_head(const struct merge *m, struct wodan_slice key) {
  assert(key.size >= m->skip);
  size_t size = key.size - m->skip;
  uint64_t head = 0;
  if (size >= 8) {
    const uint8_t *p = (const uint8_t *)key.data + m->skip;
    head = (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 | (uint64_t)p[2] << 40 | (uint64_t)p[3] << 32 |
           (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 | (uint64_t)p[6] << 8 | (uint64_t)p[7];
  } else if (size > 0) {
    const uint8_t *p = (const uint8_t *)key.data + m->skip;
    for (size_t i = 0; i < size; i++) head |= (uint64_t)p[i] << (56 - 8 * i);
  }
  return m->backward ? ~head : head;
}

static void slot_update(const struct merge *m, struct slot *slot) {
  slot->head = slot->source->valid ? key_head(m, slot->source->record.key) : UINT64_MAX;
}

static size_t common_prefix(struct wodan_slice a, struct wodan_slice b, size_t limit) {
  const uint8_t *x = a.data, *y = b.data;
  if (limit > a.size) limit = a.size;
  if (limit > b.size) limit = b.size;
  size_t i = 0;
  while (i < limit && x[i] == y[i]) i++;
  return i;
}

/* Equal heads: ends last, then whole keys, then the newer source. */
static bool goes_first_slow(const struct merge *m, size_t a, size_t b) {
  const struct iterator *x = m->slots[a].source, *y = m->slots[b].source;
  if (x->valid != y->valid) return x->valid;
  if (x->valid) {
    int c = key_compare(x->record.key, y->record.key);
    if (c) return (c < 0) != m->backward;
  }
  return a < b;
}

static inline bool goes_first(const struct merge *m, size_t a, size_t b) {
  uint64_t x = m->slots[a].head, y = m->slots[b].head;
  return x != y ? x < y : goes_first_slow(m, a, b);
}

/* The champion has moved: its matches again, from its leaf to the top. */
static void replay(struct merge *m) {
  size_t winner = m->slots[0].loser;
  for (size_t node = (m->count + winner) / 2; node > 0; node /= 2) {
    size_t other = m->slots[node].loser;
    if (!goes_first(m, other, winner)) continue;
    m->slots[node].loser = winner;
    winner = other;
  }
  m->slots[0].loser = winner;
}

/* `key` is that of a source that has moved, `left` one that has the skipped bytes. Other heads change no order. */
static void lower_skip(struct merge *m, struct wodan_slice key, struct wodan_slice left) {
  if (m->skip == 0 || (key.size >= m->skip && memcmp(key.data, left.data, m->skip) == 0)) return;
  m->skip = common_prefix(key, left, m->skip);
  for (size_t i = 0; i < m->count; i++) slot_update(m, &m->slots[i]);
}

static void find_skip(struct merge *m) {
  const struct iterator *some = NULL;
  m->skip = 0;
  for (size_t i = 0; i < m->count; i++) {
    const struct iterator *source = m->slots[i].source;
    if (!source->valid) continue;
    m->skip = some ? common_prefix(some->record.key, source->record.key, m->skip) : source->record.key.size;
    some = source;
  }
}

/* All matches: the first to come to a node waits there for the second. */
static void rebuild(struct merge *m) {
  find_skip(m);
  for (size_t i = 0; i < m->count; i++) {
    m->slots[i].loser = NOBODY;
    slot_update(m, &m->slots[i]);
  }
  for (size_t i = 0; i < m->count; i++) {
    size_t winner = i, node = (m->count + i) / 2;
    for (; node > 0 && m->slots[node].loser != NOBODY; node /= 2) {
      size_t other = m->slots[node].loser;
      if (!goes_first(m, other, winner)) continue;
      m->slots[node].loser = winner;
      winner = other;
    }
    m->slots[node].loser = winner;
  }
  assert(m->count == 0 || m->slots[0].loser < m->count);
}

/* ---- the champion --------------------------------------------------------------------------------------------- */

static struct iterator *champion(const struct merge *m) { return m->slots[m->slots[0].loser].source; }

static void merge_yield(struct merge *m) {
  m->base.valid = m->count > 0 && champion(m)->valid;
  if (m->base.valid) m->base.record = champion(m)->record;
}

static int merge_fail(struct merge *m, int status) {
  m->base.valid = false;
  return status;
}

static int step(const struct merge *m, struct iterator *source, struct wodan_error *error) {
  return m->backward ? iterator_prev(source, error) : iterator_next(source, error);
}

/* ---- range deletes -------------------------------------------------------------------------------------------- */

static const struct range_stretch *stretch_at(struct merge *m, size_t source, struct wodan_slice key) {
  struct range_stretch *stretch = &m->stretches[source];
  struct iterator *it = m->slots[source].source;
  if (!span_holds(&stretch->span, key)) it->ops->around(it, key, stretch);
  return stretch;
}

/* The newest source whose ranges hide the champion; NOBODY: none. */
static size_t hidden_by(struct merge *m) {
  size_t first = m->slots[0].loser;
  if (!champion(m)->valid) return NOBODY;
  for (size_t i = 0; i < first; i++)
    if (m->slots[i].source->ranges && stretch_at(m, i, champion(m)->record.key)->covered) return i;
  return NOBODY;
}

/* Out of the span, in the direction of the merge. Most often one step does it, or the whole span is to be jumped over. */
static int leave_span(const struct merge *m, struct iterator *source, const struct key_span *span,
                      struct wodan_error *error) {
  if (!source->valid || !span_holds(span, source->record.key)) return 0;
  int status = step(m, source, error);
  if (status || !source->valid || !span_holds(span, source->record.key)) return status;
  if (!m->backward) return iterator_seek(source, span->to, error);
  status = iterator_seek_back(source, span->from, error);
  return status == 0 && source->valid && span_holds(span, source->record.key) ? iterator_prev(source, error) : status;
}

/* Until the champion is not hidden. */
static int pass_hidden(struct merge *m, struct wodan_error *error) {
  size_t by;
  while ((by = hidden_by(m)) != NOBODY) {
    const struct key_span span = m->stretches[by].span;
    assert(span.to.data); /* a range has an end */
    for (size_t i = by + 1; i < m->count; i++) {
      int status = leave_span(m, m->slots[i].source, &span, error);
      if (status) return status;
    }
    rebuild(m);
  }
  return 0;
}

/* Every source stands where it should but for range deletes. */
static int settle(struct merge *m, struct wodan_error *error) {
  int status = m->stretches ? pass_hidden(m, error) : 0;
  if (status) return merge_fail(m, status);
  merge_yield(m);
  return 0;
}

/* ---- moves ---------------------------------------------------------------------------------------------------- */

static int keep_left_key(struct merge *m, struct wodan_slice *left, struct wodan_error *error) {
  struct wodan_slice key = champion(m)->record.key;
  if (key.size > m->left_capacity) {
    void *buffer = m->left;
    if (!mem_array_grow(m->mem, &buffer, &m->left_capacity, key.size, 1)) return status_nomem(error);
    m->left = buffer;
  }
  if (key.size) memcpy(m->left, key.data, key.size);
  *left = (struct wodan_slice){m->left, key.size};
  return 0;
}

/* The next record is one that was just left: an older version of it. */
static bool stands_on(const struct merge *m, struct wodan_slice left) {
  const struct slot *slot = &m->slots[m->slots[0].loser];
  return slot->source->valid && slot->head == key_head(m, left) && key_compare(slot->source->record.key, left) == 0;
}

static int move_on(struct merge *m, struct wodan_error *error) {
  struct wodan_slice left = {0};
  int status = keep_left_key(m, &left, error);
  if (status) return merge_fail(m, status);
  do {
    struct slot *slot = &m->slots[m->slots[0].loser];
    if ((status = step(m, slot->source, error))) return merge_fail(m, status);
    if (slot->source->valid) lower_skip(m, slot->source->record.key, left);
    slot_update(m, slot);
    replay(m);
  } while (stands_on(m, left));
  return settle(m, error);
}

/* Every source past the champion's key in the new direction, the champion last. */
static int turn(struct merge *m, bool backward, struct wodan_error *error) {
  m->backward = backward;
  struct iterator *current = champion(m);
  struct wodan_slice key = current->record.key;
  int status;
  for (size_t i = 0; i < m->count; i++) {
    struct iterator *source = m->slots[i].source;
    if (source == current) continue;
    status = backward ? iterator_seek_back(source, key, error) : iterator_seek(source, key, error);
    if (status == 0 && source->valid && key_compare(source->record.key, key) == 0) status = step(m, source, error);
    if (status) return merge_fail(m, status);
  }
  if ((status = step(m, current, error))) return merge_fail(m, status);
  rebuild(m);
  return settle(m, error);
}

static int merge_next(struct iterator *base, struct wodan_error *error) {
  struct merge *m = merge_of(base);
  assert(base->valid);
  return m->backward ? turn(m, false, error) : move_on(m, error);
}

static int merge_prev(struct iterator *base, struct wodan_error *error) {
  struct merge *m = merge_of(base);
  assert(base->valid);
  return m->backward ? move_on(m, error) : turn(m, true, error);
}

/* Places every source by the same call; key NULL: at its first or last record. */
static int place(struct merge *m, bool backward, const struct wodan_slice *key, struct wodan_error *error) {
  m->backward = backward;
  for (size_t i = 0; i < m->count; i++) {
    struct iterator *source = m->slots[i].source;
    int status;
    if (key)
      status = backward ? iterator_seek_back(source, *key, error) : iterator_seek(source, *key, error);
    else
      status = backward ? iterator_last(source, error) : iterator_first(source, error);
    if (status) return merge_fail(m, status);
  }
  rebuild(m);
  return settle(m, error);
}

static int merge_first(struct iterator *base, struct wodan_error *error) {
  return place(merge_of(base), false, NULL, error);
}
static int merge_last(struct iterator *base, struct wodan_error *error) {
  return place(merge_of(base), true, NULL, error);
}
static int merge_seek(struct iterator *base, struct wodan_slice key, struct wodan_error *error) {
  return place(merge_of(base), false, &key, error);
}
static int merge_seek_back(struct iterator *base, struct wodan_slice key, struct wodan_error *error) {
  return place(merge_of(base), true, &key, error);
}

/* ---- one source alone ------------------------------------------------------------------------------------------ */

/* Who comes second has lost to the champion itself, so it waits on the champion's way to the top. NULL: nobody is left. */
static const struct iterator *runner_up(const struct merge *m) {
  size_t second = NOBODY;
  for (size_t node = (m->count + m->slots[0].loser) / 2; node > 0; node /= 2) {
    size_t other = m->slots[node].loser;
    if (second == NOBODY || goes_first(m, other, second)) second = other;
  }
  return second != NOBODY && m->slots[second].source->valid ? m->slots[second].source : NULL;
}

static bool merge_stretch(struct iterator *base, bool back, struct stretch *out) {
  const struct merge *m = merge_of(base);
  assert(base->valid && back == m->backward);
  if (m->stretches) return false; /* a range delete may hide what lies ahead */
  const struct iterator *second = runner_up(m);
  if (second && key_compare(base->record.key, second->record.key) == 0) return false;
  if (!iterator_stretch(champion(m), back, out)) return false;
  if (!second) return true;
  return back ? stretch_end_above(out, second->record.key, false) : stretch_end_below(out, second->record.key);
}

static int merge_settle(struct iterator *base, uint32_t at, struct wodan_error *error) {
  struct merge *m = merge_of(base);
  struct slot *slot = &m->slots[m->slots[0].loser];
  int status = iterator_settle(slot->source, at, error);
  if (status) return merge_fail(m, status);
  /* Its key lies between the one it left and those of the others, so it begins as they do. */
  if (!runner_up(m)) m->skip = 0; /* nobody is left whose head would be compared */
  slot_update(m, slot);
  merge_yield(m);
  return 0;
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

static size_t merge_size(size_t count) { return sizeof(struct merge) + count * sizeof(struct slot); }

static void merge_close(struct iterator *base) {
  struct merge *m = merge_of(base);
  for (size_t i = 0; i < m->count; i++) iterator_close(m->slots[i].source);
  mem_array_free(m->mem, m->left, m->left_capacity, 1);
  if (m->stretches) mem_array_free(m->mem, m->stretches, m->count, sizeof *m->stretches);
  mem_free(m->mem, m, merge_size(m->count));
}

static const struct iterator_ops merge_ops = {
    .first = merge_first,
    .last = merge_last,
    .seek = merge_seek,
    .seek_back = merge_seek_back,
    .next = merge_next,
    .prev = merge_prev,
    .close = merge_close,
    .stretch = merge_stretch,
    .settle = merge_settle,
};

/* A stretch that holds no key, so that the source is asked first. */
static bool stretches_create(struct merge *m, struct iterator *const *sources, size_t count) {
  bool any = false;
  for (size_t i = 0; i + 1 < count; i++) any |= sources[i]->ranges;
  if (!any) return true;
  m->stretches = mem_array(m->mem, count, sizeof *m->stretches);
  for (size_t i = 0; m->stretches && i < count; i++)
    m->stretches[i] = (struct range_stretch){.span = {{"", 0}, {"", 0}}};
  return m->stretches != NULL;
}

struct iterator *merge_open(struct mem *mem, struct iterator **sources, size_t count) {
  if (count == 1) return sources[0]; /* nothing to merge */
  bool countable = count <= (SIZE_MAX - sizeof(struct merge)) / sizeof(struct slot);
  struct merge *m = countable ? mem_zalloc(mem, merge_size(count)) : NULL;
  if (m) m->mem = mem;
  if (!m || !stretches_create(m, sources, count)) {
    for (size_t i = 0; i < count; i++) iterator_close(sources[i]);
    mem_free(mem, m, merge_size(count));
    return NULL;
  }
  m->base.ops = &merge_ops;
  m->count = count;
  for (size_t i = 0; i < count; i++) m->slots[i].source = sources[i];
  return &m->base;
}

/* ---- for who merges pages ----------------------------------------------------------------------------------------- */

struct iterator *merge_source(struct iterator *merge) {
  return merge->ops == &merge_ops ? champion(merge_of(merge)) : merge;
}

bool merge_alone(struct iterator *merge, struct iterator **source, struct wodan_slice *limit, bool *has_limit) {
  assert(merge->valid);
  *source = merge_source(merge);
  *has_limit = false;
  if (merge->ops != &merge_ops) return true;
  struct merge *m = merge_of(merge);
  assert(!m->backward);
  const struct iterator *second = runner_up(m);
  if (second) *limit = second->record.key;
  *has_limit = second != NULL;
  for (size_t i = 0; m->stretches && i < m->slots[0].loser; i++) {
    if (!m->slots[i].source->ranges) continue;
    struct wodan_slice next = stretch_at(m, i, m->base.record.key)->span.to; /* where a range begins that hides it */
    if (!next.data || (*has_limit && key_compare(*limit, next) <= 0)) continue;
    *limit = next;
    *has_limit = true;
  }
  return !*has_limit || key_compare(m->base.record.key, *limit) < 0;
}

int merge_reseat(struct iterator *merge, struct wodan_error *error) {
  if (merge->ops != &merge_ops) return 0;
  struct merge *m = merge_of(merge);
  assert(!m->backward);
  rebuild(m);
  return settle(m, error);
}
