/* Owns: ordered iteration over a tree: one iterator that strings the entries of a node together, one over what a run holds
 * for entries that have not absorbed it, and the list of sources that a merge needs. Below a node without buffered runs there
 * is no merge.
 *
 * Always true: an iterator holds a reference of its node, so what it stands in cannot go away. Of a run only what lies in the
 * ranges of entries that have not absorbed it is shown: the rest is found below, or was deleted; to step over it would cost a
 * page for every run, and deletes that have done their work would be met for as long as the run stays. What comes behind the
 * end of an entry lies at or behind the next one's pivot (backwards: before that of the one left): so a seek over what a range
 * delete hides never leads back to where the iterator was, whatever the device says, and every scan ends.
 *
 * See: tests/unit/test_tree.c. */
#include "iter/merge.h"
#include "tree/node.h"

struct entries_iterator {
  struct iterator base;
  struct node *node;
  struct iterator *inner; /* over entry `at`, or NULL */
  uint32_t at;
};

static struct entries_iterator *self(struct iterator *it) { return (struct entries_iterator *)it; }

static struct iterator *node_iterator(struct node *node);

static int enter(struct entries_iterator *it, uint32_t at, struct wodan_error *error) {
  it->base.valid = false;
  if (it->inner && it->at == at) return 0;
  iterator_close(it->inner);
  it->at = at;
  const struct node_entry *entry = &it->node->entries[at];
  it->inner =
      it->node->level ? node_iterator(entry->child) : run_iterator_in(entry->leaf, run_env_readers(it->node->env));
  return it->inner ? 0 : status_nomem(error);
}

static int take(struct entries_iterator *it) {
  it->base.valid = it->inner->valid;
  it->base.record = it->inner->record;
  return 0;
}

static int misplaced(const struct entries_iterator *it, struct wodan_error *error) {
  const struct node_entry *entry = &it->node->entries[it->at];
  struct block_ptr ptr;
  if (it->node->level)
    ptr = entry->child->ptr;
  else
    run_pointer(entry->leaf, &ptr);
  return status_corrupt(error, ptr.generation ? ptr.extents[0].first : WODAN_NO_BLOCK,
                        "the keys of generation %llu lie outside the range that its node gives them",
                        (unsigned long long)ptr.generation); /* no guard: whoever calls it compared */
}

/* After a move: while the inner iterator stands nowhere, goes on with the next entry. */
static int forward(struct entries_iterator *it, int status, struct wodan_error *error) {
  while (status == 0 && !it->inner->valid && it->at + 1 < it->node->entry_count) {
    status = enter(it, it->at + 1, error);
    if (status == 0) status = iterator_first(it->inner, error);
    if (status == 0 && it->inner->valid && key_compare(it->inner->record.key, entry_pivot(it->node, it->at)) < 0)
      status = misplaced(it, error); /* guard: bounds */
  }
  return status == 0 ? take(it) : status;
}

static int backward(struct entries_iterator *it, int status, struct wodan_error *error) {
  while (status == 0 && !it->inner->valid && it->at > 0) {
    status = enter(it, it->at - 1, error);
    if (status == 0) status = iterator_last(it->inner, error);
    if (status == 0 && it->inner->valid && key_compare(it->inner->record.key, entry_pivot(it->node, it->at + 1)) >= 0)
      status = misplaced(it, error); /* guard: bounds */
  }
  return status == 0 ? take(it) : status;
}

static int entries_first(struct iterator *base, struct wodan_error *error) {
  struct entries_iterator *it = self(base);
  base->valid = false;
  if (it->node->entry_count == 0) return 0;
  int status = enter(it, 0, error);
  if (status == 0) status = iterator_first(it->inner, error);
  return forward(it, status, error);
}

static int entries_last(struct iterator *base, struct wodan_error *error) {
  struct entries_iterator *it = self(base);
  base->valid = false;
  if (it->node->entry_count == 0) return 0;
  int status = enter(it, it->node->entry_count - 1, error);
  if (status == 0) status = iterator_last(it->inner, error);
  return backward(it, status, error);
}

static int entries_seek(struct iterator *base, struct wodan_slice key, struct wodan_error *error) {
  struct entries_iterator *it = self(base);
  base->valid = false;
  if (it->node->entry_count == 0) return 0;
  int status = enter(it, node_find(it->node, key), error);
  if (status == 0) status = iterator_seek(it->inner, key, error);
  return forward(it, status, error);
}

static int entries_seek_back(struct iterator *base, struct wodan_slice key, struct wodan_error *error) {
  struct entries_iterator *it = self(base);
  base->valid = false;
  if (it->node->entry_count == 0) return 0;
  int status = enter(it, node_find(it->node, key), error);
  if (status == 0) status = iterator_seek_back(it->inner, key, error);
  return backward(it, status, error);
}

static int entries_next(struct iterator *base, struct wodan_error *error) {
  struct entries_iterator *it = self(base);
  base->valid = false;
  return forward(it, iterator_next(it->inner, error), error);
}

static int entries_prev(struct iterator *base, struct wodan_error *error) {
  struct entries_iterator *it = self(base);
  base->valid = false;
  return backward(it, iterator_prev(it->inner, error), error);
}

static bool entries_stretch(struct iterator *base, bool back, struct stretch *out) {
  return iterator_stretch(self(base)->inner, back, out);
}

static int entries_settle(struct iterator *base, uint32_t at, struct wodan_error *error) {
  struct entries_iterator *it = self(base);
  base->valid = false;
  int status = iterator_settle(it->inner, at, error);
  return status == 0 ? take(it) : status;
}

static void entries_close(struct iterator *base) {
  struct entries_iterator *it = self(base);
  struct node *node = it->node;
  iterator_close(it->inner);
  mem_free(run_env_readers(node->env), it, sizeof *it);
  node_unref(node);
}

static const struct iterator_ops entries_ops = {.first = entries_first,
                                                .last = entries_last,
                                                .seek = entries_seek,
                                                .seek_back = entries_seek_back,
                                                .next = entries_next,
                                                .prev = entries_prev,
                                                .close = entries_close,
                                                .stretch = entries_stretch,
                                                .settle = entries_settle};

static struct iterator *entries_iterator(struct node *node) {
  struct entries_iterator *it = mem_zalloc(run_env_readers(node->env), sizeof *it);
  if (!it) return NULL;
  it->base.ops = &entries_ops;
  it->node = node;
  node_ref(node);
  return &it->base;
}

/* ---- what a run holds for entries that have not absorbed it -------------------------------------------------------- */

/* The inner iterator stands nowhere, or, after a move, perhaps in the range of an entry that has absorbed the run. While the
 * outer one is valid, entries [from, to) have not, and the record lies in their ranges. */
struct slices_iterator {
  struct iterator base;
  struct node *node;
  struct iterator *inner;
  uint64_t generation; /* of the run */
  uint32_t from, to;
};

static struct slices_iterator *slices(struct iterator *it) { return (struct slices_iterator *)it; }

static bool absorbed(const struct slices_iterator *it, uint32_t entry) {
  return it->node->entries[entry].flushed_upto >= it->generation;
}

static bool in_stretch(const struct slices_iterator *it, struct wodan_slice key) {
  return (it->from == 0 || key_compare(key, entry_pivot(it->node, it->from)) >= 0) &&
         (it->to == it->node->entry_count || key_compare(key, entry_pivot(it->node, it->to)) < 0);
}

/* All around an entry that has not absorbed the run. */
static void find_stretch(struct slices_iterator *it, uint32_t entry) {
  it->from = entry;
  it->to = entry + 1;
  while (it->from > 0 && !absorbed(it, it->from - 1)) it->from--;
  while (it->to < it->node->entry_count && !absorbed(it, it->to)) it->to++;
}

static int slices_show(struct slices_iterator *it) {
  it->base.valid = it->inner->valid;
  it->base.record = it->inner->record;
  return 0;
}

/* After a move of the inner iterator: on from what is absorbed to the next that is not. */
static int slices_forward(struct slices_iterator *it, int status, struct wodan_error *error) {
  while (status == 0 && it->inner->valid && !in_stretch(it, it->inner->record.key)) {
    uint32_t entry = node_find(it->node, it->inner->record.key), next = entry;
    while (next < it->node->entry_count && absorbed(it, next)) next++;
    if (next == it->node->entry_count) return 0;
    find_stretch(it, next);
    if (next > entry) status = iterator_seek(it->inner, entry_pivot(it->node, next), error);
  }
  return status == 0 ? slices_show(it) : status;
}

static int slices_backward(struct slices_iterator *it, int status, struct wodan_error *error) {
  while (status == 0 && it->inner->valid && !in_stretch(it, it->inner->record.key)) {
    uint32_t entry = node_find(it->node, it->inner->record.key), next = entry + 1;
    while (next > 0 && absorbed(it, next - 1)) next--;
    if (next == 0) return 0;
    find_stretch(it, next - 1);
    if (next > entry) continue;
    struct wodan_slice end = entry_pivot(it->node, next);
    status = iterator_seek_back(it->inner, end, error);
    if (status == 0 && it->inner->valid && key_compare(it->inner->record.key, end) == 0)
      status = iterator_prev(it->inner, error);
  }
  return status == 0 ? slices_show(it) : status;
}

/* At or behind the key, or the first; without a look at what is absorbed. */
static int slices_place(struct slices_iterator *it, const struct wodan_slice *key, struct wodan_error *error) {
  uint32_t entry = key ? node_find(it->node, *key) : 0, next = entry;
  it->base.valid = false;
  while (next < it->node->entry_count && absorbed(it, next)) next++;
  if (next == it->node->entry_count) return 0;
  find_stretch(it, next);
  int status;
  if (next > entry)
    status = iterator_seek(it->inner, entry_pivot(it->node, next), error);
  else
    status = key ? iterator_seek(it->inner, *key, error) : iterator_first(it->inner, error);
  return slices_forward(it, status, error);
}

/* At or before the key, or the last. */
static int slices_place_back(struct slices_iterator *it, const struct wodan_slice *key, struct wodan_error *error) {
  uint32_t entry = key ? node_find(it->node, *key) : it->node->entry_count - 1, next = entry + 1;
  it->base.valid = false;
  while (next > 0 && absorbed(it, next - 1)) next--;
  if (next == 0) return 0;
  find_stretch(it, next - 1);
  int status;
  if (next <= entry)
    status = iterator_seek_back(it->inner, entry_pivot(it->node, next), error);
  else
    status = key ? iterator_seek_back(it->inner, *key, error) : iterator_last(it->inner, error);
  return slices_backward(it, status, error);
}

static int slices_first(struct iterator *base, struct wodan_error *error) {
  return slices_place(slices(base), NULL, error);
}
static int slices_last(struct iterator *base, struct wodan_error *error) {
  return slices_place_back(slices(base), NULL, error);
}
static int slices_seek(struct iterator *base, struct wodan_slice key, struct wodan_error *error) {
  return slices_place(slices(base), &key, error);
}
static int slices_seek_back(struct iterator *base, struct wodan_slice key, struct wodan_error *error) {
  return slices_place_back(slices(base), &key, error);
}

static int slices_next(struct iterator *base, struct wodan_error *error) {
  struct slices_iterator *it = slices(base);
  base->valid = false;
  return slices_forward(it, iterator_next(it->inner, error), error);
}

static int slices_prev(struct iterator *base, struct wodan_error *error) {
  struct slices_iterator *it = slices(base);
  base->valid = false;
  return slices_backward(it, iterator_prev(it->inner, error), error);
}

static bool slices_stretch_of(struct iterator *base, bool back, struct stretch *out) {
  const struct slices_iterator *it = slices(base);
  if (!iterator_stretch(it->inner, back, out)) return false;
  if (back) return it->from == 0 || stretch_end_above(out, entry_pivot(it->node, it->from), true);
  return it->to == it->node->entry_count || stretch_end_below(out, entry_pivot(it->node, it->to));
}

static int slices_settle(struct iterator *base, uint32_t at, struct wodan_error *error) {
  struct slices_iterator *it = slices(base);
  base->valid = false;
  int status = iterator_settle(it->inner, at, error);
  return status == 0 ? slices_show(it) : status;
}

static void slices_close(struct iterator *base) {
  struct slices_iterator *it = slices(base);
  struct node *node = it->node;
  iterator_close(it->inner);
  mem_free(run_env_readers(node->env), it, sizeof *it);
  node_unref(node);
}

/* Of entries that have absorbed the run, its ranges say nothing. */
static void slices_around(struct iterator *base, struct wodan_slice key, struct range_stretch *stretch) {
  const struct slices_iterator *it = slices(base);
  const struct node *node = it->node;
  uint32_t from = node_find(node, key), to = from + 1;
  bool gone = absorbed(it, from);
  while (from > 0 && absorbed(it, from - 1) == gone) from--;
  while (to < node->entry_count && absorbed(it, to) == gone) to++;
  struct key_span own = {{NULL, 0}, {NULL, 0}};
  if (from > 0) own.from = entry_pivot(node, from);
  if (to < node->entry_count) own.to = entry_pivot(node, to);
  *stretch = (struct range_stretch){.span = own};
  if (gone) return;
  it->inner->ops->around(it->inner, key, stretch);
  if (key_compare(stretch->span.from, own.from) < 0) stretch->span.from = own.from;
  if (own.to.data && (!stretch->span.to.data || key_compare(own.to, stretch->span.to) < 0)) stretch->span.to = own.to;
}

static const struct iterator_ops slices_ops = {.first = slices_first,
                                               .last = slices_last,
                                               .seek = slices_seek,
                                               .seek_back = slices_seek_back,
                                               .next = slices_next,
                                               .prev = slices_prev,
                                               .close = slices_close,
                                               .stretch = slices_stretch_of,
                                               .settle = slices_settle,
                                               .around = slices_around};

static bool absorbed_by_none(const struct node *node, const struct run *run) {
  uint32_t i = 0;
  while (i < node->entry_count && node->entries[i].flushed_upto < run_generation(run)) i++;
  return i == node->entry_count;
}

/* Over a run of the node's. Most often no entry has absorbed it, and it is shown as it is. */
static struct iterator *slices_iterator(struct node *node, struct run *run) {
  struct mem *mem = run_env_readers(node->env);
  struct iterator *inner = run_iterator_in(run, mem);
  if (!inner || absorbed_by_none(node, run)) return inner;
  struct slices_iterator *it = mem_zalloc(mem, sizeof *it);
  if (!it) {
    iterator_close(inner);
    return NULL;
  }
  *it = (struct slices_iterator){
      .base.ops = &slices_ops, .node = node, .inner = inner, .generation = run_generation(run)};
  it->base.ranges = inner->ranges;
  node_ref(node);
  return &it->base;
}

/* ---- sources ------------------------------------------------------------------------------------------------------- */

/* Over all a node and what is below it hold. Recurses level by level. */
static struct iterator *node_iterator(struct node *node) {
  if (node->run_count == 0) return entries_iterator(node);
  struct mem *mem = run_env_readers(node->env);
  uint32_t count = node_source_count(node);
  struct iterator **sources = mem_array(mem, count, sizeof(struct iterator *)), *merge = NULL;
  if (sources && node_sources(node, sources, NULL) == 0) merge = merge_open(mem, sources, count);
  mem_array_free(mem, sources, count, sizeof(struct iterator *));
  return merge;
}

uint32_t node_source_count(const struct node *node) { return node->run_count + 1; }

int node_sources(struct node *node, struct iterator **sources, struct wodan_error *error) {
  uint32_t count = 0;
  for (; count < node->run_count; count++)
    if (!(sources[count] = slices_iterator(node, node->runs[count]))) break;
  if (count == node->run_count && (sources[count] = entries_iterator(node))) return 0;
  while (count > 0) iterator_close(sources[--count]);
  return status_nomem(error);
}
