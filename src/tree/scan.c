/* Owns: ordered iteration over a tree: one iterator that strings the entries of a node together, and the list of sources
 * that a merge needs. Below a node without buffered runs there is no merge.
 *
 * Always true: an iterator holds a reference of its node, so what it stands in cannot go away. A run that an entry has
 * absorbed may still be a source: its records are older than, or equal to, what shadows them, for runs leave a node
 * oldest first, and one that is handed down whole leaves no absorbed one above it (sweep.c).
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

/* After a move: while the inner iterator stands nowhere, goes on with the next entry. */
static int forward(struct entries_iterator *it, int status, struct wodan_error *error) {
  while (status == 0 && !it->inner->valid && it->at + 1 < it->node->entry_count) {
    status = enter(it, it->at + 1, error);
    if (status == 0) status = iterator_first(it->inner, error);
  }
  return status == 0 ? take(it) : status;
}

static int backward(struct entries_iterator *it, int status, struct wodan_error *error) {
  while (status == 0 && !it->inner->valid && it->at > 0) {
    status = enter(it, it->at - 1, error);
    if (status == 0) status = iterator_last(it->inner, error);
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
                                                .close = entries_close};

static struct iterator *entries_iterator(struct node *node) {
  struct entries_iterator *it = mem_zalloc(run_env_readers(node->env), sizeof *it);
  if (!it) return NULL;
  it->base.ops = &entries_ops;
  it->node = node;
  node_ref(node);
  return &it->base;
}

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
    if (!(sources[count] = run_iterator_in(node->runs[count], run_env_readers(node->env)))) break;
  if (count == node->run_count && (sources[count] = entries_iterator(node))) return 0;
  while (count > 0) iterator_close(sources[--count]);
  return status_nomem(error);
}
