/* Owns: the pile of sources on the way down a tree.
 *
 * Always true: a layer is newer than all below it, so the first that has a key decides, as in a lookup.
 *
 * Order: pushed from the newest to the oldest, popped the other way.
 *
 * See: tests/unit/test_repair.c. */
#include "repair/layers.h"

#include <assert.h>
#include "iter/merge.h"

static struct layer *push(struct layers *layers, struct wodan_error *error) {
  void *at = layers->at;
  if (!mem_array_grow(layers->mem, &at, &layers->capacity, layers->count + 1, sizeof *layers->at)) {
    status_nomem(error);
    return NULL;
  }
  layers->at = at;
  layers->at[layers->count] = (struct layer){0};
  return &layers->at[layers->count++];
}

int layers_push_table(struct layers *layers, struct memtable *table, struct wodan_error *error) {
  struct layer *layer = push(layers, error);
  if (!layer) return WODAN_ENOMEM;
  layer->table = table;
  return 0;
}

int layers_push_borrowed(struct layers *layers, struct iterator *it, struct wodan_error *error) {
  struct layer *layer = push(layers, error);
  if (!layer) return WODAN_ENOMEM;
  layer->borrowed = it;
  return 0;
}

int layers_push_run(struct layers *layers, const struct source_setup *setup, const struct block_ptr *ptr,
                    struct wodan_error *error) {
  struct layer *layer = push(layers, error);
  if (!layer) return WODAN_ENOMEM;
  layer->generation = ptr->generation;
  layer->source = mem_zalloc(layers->mem, sizeof *layer->source);
  if (!layer->source) return status_nomem(error);
  return source_open(layer->source, setup, ptr, error);
}

void layers_pop(struct layers *layers, size_t count) {
  while (layers->count > count) {
    struct layer *layer = &layers->at[--layers->count];
    if (!layer->source) continue;
    source_close(layer->source);
    mem_free(layers->mem, layer->source, sizeof *layer->source);
  }
}

void layers_release(struct layers *layers) {
  layers_pop(layers, 0);
  mem_array_free(layers->mem, layers->at, layers->capacity, sizeof *layers->at);
  layers->at = NULL;
  layers->capacity = 0;
}

void layers_mark(struct layers *layers, size_t from, size_t count, uint64_t flushed_upto) {
  for (size_t i = from; i < from + count; i++) layers->at[i].hidden = layers->at[i].generation <= flushed_upto;
}

static struct iterator *iterator_of(const struct layer *layer) {
  if (layer->source) return &layer->source->base;
  return layer->borrowed ? layer->borrowed : memtable_iterator(layer->table, UINT64_MAX);
}

/* The visible layers as one iterator. NULL: no memory. */
static struct iterator *merged(struct layers *layers, size_t from, struct wodan_error *error) {
  size_t count = 0, most = layers->count - from;
  struct iterator **sources = mem_array(layers->mem, most + 1, sizeof *sources), *merge = NULL;
  bool whole = sources != NULL;
  for (size_t i = from; i < layers->count && whole; i++) {
    struct layer *layer = &layers->at[i];
    if (layer->hidden) continue;
    sources[count] = iterator_of(layer);
    whole = sources[count] != NULL;
    if (whole) count++;
  }
  if (whole) merge = merge_open(layers->mem, sources, count);
  for (size_t i = 0; i < count && !whole; i++) iterator_close(sources[i]);
  if (sources) mem_array_free(layers->mem, sources, most + 1, sizeof *sources);
  if (!merge) status_nomem(error);
  return merge;
}

int layers_merge(struct layers *layers, const struct layers_merge *wish, struct wodan_error *error) {
  const struct span *span = &wish->span;
  assert(wish->from <= layers->count);
  struct iterator *it = merged(layers, wish->from, error);
  if (!it) return WODAN_ENOMEM;
  int status = span->has_lower ? iterator_seek(it, span->lower, error) : iterator_first(it, error);
  while (status == 0 && it->valid && (!span->has_upper || key_compare(it->record.key, span->upper) < 0)) {
    status = wish->record(wish->context, &it->record, error);
    if (status == 0) status = iterator_next(it, error);
  }
  iterator_close(it);
  return status;
}

static bool add_ranges(struct layers *layers, const struct layer *layer, const struct key_span *span,
                       struct range_buffer *all) {
  struct range_buffer own = {0}, both = {0};
  bool room = !layer->table || memtable_ranges(layer->table, layers->mem, &own);
  const struct ranges lists[] = {range_buffer_all(all),
                                 layer->source ? source_ranges(layer->source) : range_buffer_all(&own)};
  if (room) room = ranges_unite(layers->mem, lists, 2, span, &both);
  range_buffer_release(layers->mem, &own);
  range_buffer_release(layers->mem, all);
  *all = both;
  return room;
}

int layers_ranges(struct layers *layers, size_t from, const struct span *span, struct range_buffer *out,
                  struct wodan_error *error) {
  struct key_span keys = {{NULL, 0}, {NULL, 0}};
  if (span->has_lower) keys.from = span->lower;
  if (span->has_upper) keys.to = span->upper;
  *out = (struct range_buffer){0};
  for (size_t i = from; i < layers->count; i++)
    if (!layers->at[i].hidden && !add_ranges(layers, &layers->at[i], &keys, out)) return status_nomem(error);
  return 0;
}
