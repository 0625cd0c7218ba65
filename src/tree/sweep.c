/* Owns: moving records from buffered runs (or a frozen memtable) into leaves.
 *
 * Always true:
 *  - a step merges *all* runs the leaf has not absorbed, so what it writes holds the newest record of each key and a
 *    delete can die there.
 *  - merging a slice twice gives the same leaf: so joining leaves with different marks, and a leaf that takes over the
 *    range of a vanished neighbour, are harmless as long as the older mark counts.
 *  - a step that fails has given everything back.
 *
 * Order: leaves in key order; a leaf below a quarter of its size is taken together with its right neighbour.
 * See: DESIGN.md "Sweeping", tests/unit/test_tree.c. */
#include <assert.h>
#include <string.h>
#include "iter/merge.h"
#include "tree/node.h"

/* Leaves [at, at + count) of the node, taken together. */
struct group {
  uint32_t at, count;
  uint64_t absorbed;                       /* the oldest mark among them */
  const struct wodan_slice *lower, *upper; /* NULL: open */
  struct wodan_slice lower_key, upper_key;
};

/* Leaves under construction. */
struct output {
  struct sweep *sweep;
  struct node_leaf *leaves;
  size_t count, capacity;
  struct run_builder *builder; /* NULL between leaves */
  uint64_t bytes;              /* encoded, in the builder */
  uint64_t target;             /* mark of the leaves written */
  struct wodan_slice pivot;    /* of the leaf being built: in pivot_buffer */
  uint8_t *pivot_buffer;
  size_t pivot_capacity;
};

static void output_release(struct output *out, bool dead) {
  struct mem *mem = out->sweep->env->mem;
  run_builder_abort(out->builder);
  for (size_t i = 0; i < out->count; i++) {
    if (dead) run_mark_dead(out->leaves[i].leaf->run);
    leaf_unref(out->leaves[i].leaf);
  }
  mem_array_free(mem, out->leaves, out->capacity, sizeof *out->leaves);
  mem_free(mem, out->pivot_buffer, out->pivot_capacity);
}

static int output_finish_leaf(struct output *out, struct wodan_error *error) {
  struct sweep *sweep = out->sweep;
  struct mem *mem = sweep->env->mem;
  struct block_ptr ptr;
  struct run_builder *builder = out->builder;
  out->builder = NULL;
  int status = run_builder_finish(builder, ++*sweep->generation, &ptr, NULL, error);
  if (status < 0) return status;
  sweep->leaf_bytes_written += block_ptr_blocks(&ptr) * sweep->env->io->bounds.block_size;
  struct run *run = run_create(sweep->env, &ptr, (struct wodan_slice){0});
  if (!run) {
    space_release(sweep->env->space, ptr.extents, ptr.extent_count);
    return status_nomem(error);
  }
  void *array = out->leaves;
  bool room = mem_array_grow(mem, &array, &out->capacity, out->count + 1, sizeof *out->leaves);
  out->leaves = array;
  run_ref(run);
  struct leaf *leaf = room ? leaf_create(mem, run, out->pivot) : NULL;
  if (!leaf) run_mark_dead(run);
  if (!room) run_unref(run);
  run_unref(run);
  if (!leaf) return status_nomem(error);
  out->leaves[out->count++] = (struct node_leaf){leaf, out->target};
  return 0;
}

static int output_start_leaf(struct output *out, struct wodan_slice pivot, struct wodan_error *error) {
  struct sweep *sweep = out->sweep;
  void *buffer = out->pivot_buffer;
  if (!mem_array_grow(sweep->env->mem, &buffer, &out->pivot_capacity, pivot.size, 1)) return status_nomem(error);
  out->pivot_buffer = buffer;
  memcpy(out->pivot_buffer, pivot.data, pivot.size);
  out->pivot = (struct wodan_slice){out->pivot_buffer, pivot.size};
  out->bytes = 0;
  struct run_build_options options = {.size_max =
                                          run_size_bound(sweep->env, sweep->leaf_size / 12, sweep->leaf_size, false),
                                      .kind = SPACE_LEAF,
                                      .spare = sweep->spare,
                                      .filter = false};
  return run_builder_create(sweep->env, &options, &out->builder, error);
}

/* first_pivot: of the first leaf written; later ones start at their first key. */
static int output_add(struct output *out, const struct record *record, const struct wodan_slice *first_pivot,
                      struct wodan_error *error) {
  uint64_t bytes = record_encoded_size(record->key.size, record->value.size);
  int status = 0;
  if (out->builder && out->bytes + bytes > out->sweep->leaf_size) status = output_finish_leaf(out, error);
  if (status == 0 && !out->builder) {
    struct wodan_slice pivot = out->count == 0 && first_pivot ? *first_pivot : record->key;
    status = output_start_leaf(out, pivot, error);
  }
  if (status < 0) return status;
  out->bytes += bytes;
  return run_builder_add(out->builder, record, error);
}

static bool below(struct wodan_slice key, const struct wodan_slice *upper) {
  return !upper || key_compare(key, *upper) < 0;
}

static int place(struct iterator *it, const struct wodan_slice *lower, struct wodan_error *error) {
  return lower ? iterator_seek(it, *lower, error) : iterator_first(it, error);
}

static struct group choose_group(const struct sweep *sweep, const struct node *node, uint32_t at) {
  struct group group = {.at = at, .count = at < node->leaf_count ? 1 : 0};
  uint64_t bytes = 0;
  group.absorbed = UINT64_MAX;
  for (uint32_t i = at; i < node->leaf_count; i++) {
    uint64_t size = run_length(node->leaves[i].leaf->run);
    if (i > at && (bytes >= sweep->leaf_size / 4 || bytes + size > sweep->leaf_size)) break;
    bytes += size;
    group.count = i - at + 1;
    if (node->leaves[i].flushed_upto < group.absorbed) group.absorbed = node->leaves[i].flushed_upto;
  }
  if (group.count == 0) group.absorbed = 0;
  return group;
}

static void bound_group(const struct node *node, struct group *group) {
  group->lower = group->upper = NULL;
  if (group->count && group->at > 0) {
    group->lower_key = leaf_pivot(node->leaves[group->at].leaf);
    group->lower = &group->lower_key;
  }
  if (group->at + group->count < node->leaf_count) {
    group->upper_key = leaf_pivot(node->leaves[group->at + group->count].leaf);
    group->upper = &group->upper_key;
  }
}

/* Opens what the group has to absorb (memtable, runs), placed at its lower bound, and drops sources without a record in
 * the slice. Then the group's leaves, unless nothing is left to absorb. */
static int open_sources(struct sweep *sweep, struct node *node, const struct group *group, struct iterator **sources,
                        size_t *count, struct wodan_error *error) {
  size_t n = 0;
  int status = 0;
  uint32_t candidates = node->run_count + (sweep->memtable ? 1 : 0);
  for (uint32_t c = 0; c < candidates && status == 0; c++) {
    bool memtable = sweep->memtable && c == 0;
    uint32_t r = sweep->memtable ? c - 1 : c;
    if (!memtable && run_generation(node->runs[r]) <= group->absorbed) break;
    struct iterator *it = memtable ? memtable_iterator(sweep->memtable, UINT64_MAX) : run_iterator(node->runs[r]);
    status = it ? place(it, group->lower, error) : status_nomem(error);
    if (status == 0 && it->valid && below(it->record.key, group->upper))
      sources[n++] = it;
    else
      iterator_close(it);
  }
  for (uint32_t i = 0; status == 0 && n > 0 && i < group->count; i++) {
    struct iterator *it = run_iterator(node->leaves[group->at + i].leaf->run);
    if (it)
      sources[n++] = it;
    else
      status = status_nomem(error);
    if (it && i + 1 == group->count) break;
  }
  if (status < 0)
    while (n > 0) iterator_close(sources[--n]);
  *count = n;
  return status;
}

/* Writes the merged slice as new leaves. Takes the sources. */
static int rewrite(const struct group *group, struct iterator **sources, size_t count, struct output *out,
                   struct wodan_error *error) {
  struct iterator *merge = merge_open(out->sweep->env->mem, sources, count);
  if (!merge) return status_nomem(error);
  int status = place(merge, group->lower, error);
  while (status == 0 && merge->valid && below(merge->record.key, group->upper)) {
    /* The first leaf of a group keeps the group's pivot, so that ranges stay what they were. */
    if (merge->record.kind != RECORD_DELETE) status = output_add(out, &merge->record, group->lower, error);
    if (status == 0) status = iterator_next(merge, error);
  }
  iterator_close(merge);
  if (status == 0 && out->builder) status = output_finish_leaf(out, error);
  return status;
}

/* The group as it is, with its marks moved on. */
static struct node *move_marks(const struct node *node, const struct group *group, uint64_t target) {
  struct node_leaf moved[1] = {{node->leaves[group->at].leaf, target}};
  return node_with_leaves(node, group->at, 1, moved, 1, target);
}

static int sweep_group(struct sweep *sweep, struct node *node, struct group group, uint64_t target,
                       struct node **result, uint32_t *next, struct wodan_error *error) {
  struct mem *mem = sweep->env->mem;
  size_t capacity = node->run_count + 1u + group.count, count = 0;
  struct iterator **sources = mem_array(mem, capacity, sizeof(struct iterator *));
  if (!sources) return status_nomem(error);
  struct output out = {.sweep = sweep, .target = target};
  bound_group(node, &group);
  int status = open_sources(sweep, node, &group, sources, &count, error);
  if (status == 0 && count == 0 && group.count) {
    *result = move_marks(node, &group, target);
    *next = group.at + 1;
  } else if (status == 0) {
    status = rewrite(&group, sources, count, &out, error);
    if (status == 0) *result = node_with_leaves(node, group.at, group.count, out.leaves, (uint32_t)out.count, target);
    *next = group.at + (uint32_t)out.count;
  }
  if (status == 0 && !*result) status = status_nomem(error);
  output_release(&out, status < 0);
  mem_array_free(mem, sources, capacity, sizeof(struct iterator *));
  return status;
}

/* The next leaf with work: the memtable's own progress, or the first mark behind the newest run. */
static bool find_work(const struct sweep *sweep, const struct node *node, uint64_t target, uint32_t *at) {
  if (sweep->memtable) {
    *at = sweep->next;
    return sweep->next < node->leaf_count || (sweep->next == 0 && node->leaf_count == 0);
  }
  for (*at = 0; *at < node->leaf_count; ++*at)
    if (node->leaves[*at].flushed_upto < target) return true;
  *at = 0;
  return node->leaf_count == 0 && node->run_count > 0;
}

int sweep_step(struct sweep *sweep, struct node *node, struct node **result, struct wodan_error *error) {
  enum { LEAVES_PER_STEP = 256 }; /* without a record to absorb: only marks move */
  uint64_t target = node->run_count ? run_generation(node->runs[0]) : 0;
  struct node *current = NULL;
  *result = NULL;
  for (unsigned i = 0; i < LEAVES_PER_STEP; i++) {
    struct node *from = current ? current : node;
    uint32_t at, next = 0;
    if (!find_work(sweep, from, target, &at)) break;
    struct node *made = NULL;
    uint64_t written = sweep->leaf_bytes_written;
    int status = sweep_group(sweep, from, choose_group(sweep, from, at), target, &made, &next, error);
    if (status < 0) {
      node_unref(current);
      return status;
    }
    node_unref(current);
    current = made;
    if (sweep->memtable) {
      if (made->leaf_count == 0) next = 1; /* everything died: nothing more to do */
      sweep->next = next;
    }
    if (sweep->leaf_bytes_written != written) break;
  }
  *result = current;
  return 0;
}
