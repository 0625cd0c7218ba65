/* Owns: ordered iteration over a node: one iterator that strings the leaves together, and the list of sources that a
 * merge needs.
 * Always true: the leaf iterator holds a reference of its node, so leaves it stands in cannot go away. A run that a leaf
 * has absorbed may still be a source: its records are older than, or equal to, what shadows them.
 * See: tests/unit/test_tree.c. */
#include "tree/node.h"

struct leaves_iterator {
  struct iterator base;
  struct node *node;
  struct iterator *inner; /* over leaf `at`, or NULL */
  uint32_t at;
};

static struct leaves_iterator *self(struct iterator *it) { return (struct leaves_iterator *)it; }

static int enter(struct leaves_iterator *it, uint32_t at, struct wodan_error *error) {
  it->base.valid = false;
  if (it->inner && it->at == at) return 0;
  iterator_close(it->inner);
  it->at = at;
  it->inner = run_iterator(it->node->leaves[at].leaf->run);
  return it->inner ? 0 : status_nomem(error);
}

static int take(struct leaves_iterator *it) {
  it->base.valid = it->inner->valid;
  it->base.record = it->inner->record;
  return 0;
}

/* After a move: while the inner iterator stands nowhere, goes on with the next leaf. */
static int forward(struct leaves_iterator *it, int status, struct wodan_error *error) {
  while (status == 0 && !it->inner->valid && it->at + 1 < it->node->leaf_count) {
    status = enter(it, it->at + 1, error);
    if (status == 0) status = iterator_first(it->inner, error);
  }
  return status == 0 ? take(it) : status;
}

static int backward(struct leaves_iterator *it, int status, struct wodan_error *error) {
  while (status == 0 && !it->inner->valid && it->at > 0) {
    status = enter(it, it->at - 1, error);
    if (status == 0) status = iterator_last(it->inner, error);
  }
  return status == 0 ? take(it) : status;
}

static int leaves_first(struct iterator *base, struct wodan_error *error) {
  struct leaves_iterator *it = self(base);
  base->valid = false;
  if (it->node->leaf_count == 0) return 0;
  int status = enter(it, 0, error);
  if (status == 0) status = iterator_first(it->inner, error);
  return forward(it, status, error);
}

static int leaves_last(struct iterator *base, struct wodan_error *error) {
  struct leaves_iterator *it = self(base);
  base->valid = false;
  if (it->node->leaf_count == 0) return 0;
  int status = enter(it, it->node->leaf_count - 1, error);
  if (status == 0) status = iterator_last(it->inner, error);
  return backward(it, status, error);
}

static int leaves_seek(struct iterator *base, struct wodan_slice key, struct wodan_error *error) {
  struct leaves_iterator *it = self(base);
  base->valid = false;
  if (it->node->leaf_count == 0) return 0;
  int status = enter(it, node_find_leaf(it->node, key), error);
  if (status == 0) status = iterator_seek(it->inner, key, error);
  return forward(it, status, error);
}

static int leaves_seek_back(struct iterator *base, struct wodan_slice key, struct wodan_error *error) {
  struct leaves_iterator *it = self(base);
  base->valid = false;
  if (it->node->leaf_count == 0) return 0;
  int status = enter(it, node_find_leaf(it->node, key), error);
  if (status == 0) status = iterator_seek_back(it->inner, key, error);
  return backward(it, status, error);
}

static int leaves_next(struct iterator *base, struct wodan_error *error) {
  struct leaves_iterator *it = self(base);
  base->valid = false;
  return forward(it, iterator_next(it->inner, error), error);
}

static int leaves_prev(struct iterator *base, struct wodan_error *error) {
  struct leaves_iterator *it = self(base);
  base->valid = false;
  return backward(it, iterator_prev(it->inner, error), error);
}

static void leaves_close(struct iterator *base) {
  struct leaves_iterator *it = self(base);
  struct node *node = it->node;
  iterator_close(it->inner);
  mem_free(node->env->mem, it, sizeof *it);
  node_unref(node);
}

static const struct iterator_ops leaves_ops = {.first = leaves_first,
                                               .last = leaves_last,
                                               .seek = leaves_seek,
                                               .seek_back = leaves_seek_back,
                                               .next = leaves_next,
                                               .prev = leaves_prev,
                                               .close = leaves_close};

struct iterator *leaves_iterator(struct node *node) {
  struct leaves_iterator *it = mem_zalloc(node->env->mem, sizeof *it);
  if (!it) return NULL;
  it->base.ops = &leaves_ops;
  it->node = node;
  node_ref(node);
  return &it->base;
}

uint32_t node_source_count(const struct node *node) { return node->run_count + 1; }

int node_sources(struct node *node, struct iterator **sources, struct wodan_error *error) {
  uint32_t count = 0;
  for (; count < node->run_count; count++)
    if (!(sources[count] = run_iterator(node->runs[count]))) break;
  if (count == node->run_count && (sources[count] = leaves_iterator(node))) return 0;
  while (count > 0) iterator_close(sources[--count]);
  return status_nomem(error);
}
