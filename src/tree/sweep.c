/* Owns: moving records from a node's buffered runs one level down.
 *
 * Always true:
 *  - a group of entries takes *all* runs it has not absorbed, so what is written holds the newest record of each key; a
 *    delete dies in a leaf and nowhere else.
 *  - merging a slice twice gives the same result: so joining entries with different marks, and one that takes over the
 *    range of a vanished neighbour, are harmless as long as the older mark counts.
 *  - a run is handed down whole only when all runs of the node with a record in the slice are, so none is left above it
 *    that it should shadow; and when it is younger than all the child has had, else the child would take it for absorbed.
 *
 *  - what a group's runs delete in ranges goes down with them as far as there is something below: a leaf that lies wholly
 *    in them is not read, and a child is not asked for anything, but dropped with all below it; the child that takes its place
 *    holds only what is newer. A subtree larger than DROP_MOST takes the ranges instead, and is dropped part by part.
 *
 *  - a memtable that goes straight into leaves is the newest source, before them and without any run; marks stay what they
 *    were. All of it is done or nothing.
 *
 *  - a leaf under half full stays open for the entry behind, so a job leaves small leaves only at its end; when an entry
 *    fails, the job goes back to where no leaf was open, and ends before that entry.
 *
 * Order: entries in key order; a leaf below a quarter of its size is taken together with its right neighbour.
 * See: DESIGN.md "Sweeping", tests/unit/test_tree.c. */
#include "tree/sweep.h"

#include <assert.h>
#include <string.h>
#include "iter/merge.h"
#include "memtable/memtable.h"
#include "run/run_pieces.h"
#include "tree/tally.h"

enum {
  DROP_MOST = 1 << 14, /* nodes, leaves and runs that one job drops, about */
  DROP_WORK = 128,     /* bytes moved that one of them counts for */
};

struct sweep {
  struct sweep_setup setup;
  struct tree_path path;
  struct key_span span; /* of the node: its keys lie in nodes and leaves beside it, which stay */
  struct node *node;    /* the version it reads; one reference */
  uint32_t first;       /* entries [first, next) are done */
  uint32_t next;
  uint64_t target; /* mark they get */
  uint64_t born;   /* what the job made is younger */
  uint32_t end;    /* it does not go on to this entry: the last, or one that failed */
  uint32_t whole;  /* entries [first, whole) became out[0, whole_out); no leaf reaches over */
  uint32_t whole_out;
  uint32_t failed; /* the entry at work when it failed */

  /* the group at work: entries [next, next + group) */
  uint32_t group, group_start; /* entries in `out` before it */
  bool at_work;
  uint64_t deletes, kept;          /* records of the group: deletes met, and old ones that stay */
  uint64_t old;                    /* greatest sequence in its leaves */
  struct wodan_slice lower, upper; /* in the node's memory */
  bool has_lower, has_upper;
  struct key_span slice;      /* the same, with the node's own bounds at its ends */
  struct range_buffer ranges; /* what its runs delete there */
  struct node *empty;         /* in place of the child, all of which they delete; NULL: it stays */
  struct iterator *merge;
  struct iterator *arriving;      /* the source that is the memtable's; NULL: there is none */
  struct run_builder *builder;    /* of the leaf being built; NULL between leaves */
  struct run_pieces pieces;       /* of the child's runs */
  struct tally tally;             /* of what goes into them */
  uint64_t bytes;                 /* of records, in the builder */
  struct run_kept_page kept_page; /* of the leaves being read */

  struct node_entry *out; /* what [first, next) becomes; one reference each */
  size_t out_count, out_capacity;
  struct run **passed; /* runs handed down whole */
  uint32_t passed_count;
  bool *dropped; /* of each of the node's entries: its child is; NULL: of none */
  uint64_t dropped_parts;
  struct wodan_slice pivot; /* of the leaf being built: in pivot_buffer */
  uint8_t *pivot_buffer;
  size_t pivot_capacity;
  uint8_t *last_key; /* of the leaf before */
  size_t last_size, last_capacity;
  uint64_t moved, leaf_bytes, run_bytes;
};

uint64_t sweep_leaf_bytes(const struct sweep *sweep) { return sweep->leaf_bytes; }
uint64_t sweep_run_bytes(const struct sweep *sweep) { return sweep->run_bytes + sweep->pieces.bytes; }
uint64_t sweep_damaged_leaf(const struct sweep *sweep) {
  const struct node *node = sweep->node;
  return node->level == 0 && sweep->failed < node->entry_count ? run_generation(node->entries[sweep->failed].leaf) : 0;
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

static bool out_room(struct sweep *sweep) {
  void *array = sweep->out;
  bool room =
      mem_array_grow(sweep->setup.env->mem, &array, &sweep->out_capacity, sweep->out_count + 1, sizeof *sweep->out);
  sweep->out = array;
  return room;
}

/* A child version of the job's has new runs on top, unless they were handed down whole. */
static void give_back(struct sweep *sweep, struct node_entry *entry, bool published) {
  if (sweep->node->level == 0) {
    if (!published && run_generation(entry->leaf) > sweep->born) run_mark_dead(entry->leaf);
    run_unref(entry->leaf);
    return;
  }
  struct node *child = entry->child;
  for (uint32_t i = 0; !published && i < child->run_count && run_generation(child->runs[i]) > sweep->born; i++)
    run_mark_dead(child->runs[i]);
  node_unref(child);
}

static void out_cut(struct sweep *sweep, size_t count, bool published) {
  while (sweep->out_count > count) give_back(sweep, &sweep->out[--sweep->out_count], published);
}

/* A leaf that is open stays so. */
static void leave_group(struct sweep *sweep) {
  iterator_close(sweep->merge);
  sweep->merge = sweep->arriving = NULL;
  sweep->at_work = false;
}

/* What the group's tombstones were needed for is done. */
static void release_ranges(struct sweep *sweep) {
  range_buffer_release(sweep->setup.env->mem, &sweep->ranges);
  node_unref(sweep->empty);
  sweep->empty = NULL;
}

static void abandon_group(struct sweep *sweep) {
  leave_group(sweep);
  sweep->run_bytes += sweep->pieces.bytes;
  run_pieces_release(&sweep->pieces, false);
  tally_release(&sweep->tally);
  release_ranges(sweep);
  run_builder_abort(sweep->builder);
  sweep->builder = NULL;
}

void sweep_close(struct sweep *sweep, bool published) {
  if (!sweep) return;
  struct mem *mem = sweep->setup.env->mem;
  abandon_group(sweep);
  out_cut(sweep, 0, published);
  mem_array_free(mem, sweep->out, sweep->out_capacity, sizeof *sweep->out);
  mem_array_free(mem, sweep->passed, sweep->node->run_count, sizeof(struct run *));
  mem_array_free(mem, sweep->dropped, sweep->node->entry_count, sizeof(bool));
  mem_free(mem, sweep->pivot_buffer, sweep->pivot_capacity);
  mem_free(mem, sweep->last_key, sweep->last_capacity);
  mem_free(mem, sweep->kept_page.bytes, sweep->setup.env->page_size);
  node_unref(sweep->node);
  mem_free(mem, sweep, sizeof *sweep);
}

static int finish_leaf(struct sweep *sweep, struct wodan_error *error) {
  struct run *run;
  struct run_builder *builder = sweep->builder;
  if (!out_room(sweep)) return status_nomem(error); /* the builder goes with the group */
  sweep->builder = NULL;
  int status = run_builder_finish_run(builder, ++*sweep->setup.generation, sweep->pivot, &run, error);
  if (status < 0) return status;
  sweep->leaf_bytes += run_blocks(run) * sweep->setup.env->io->bounds.block_size;
  sweep->out[sweep->out_count++] = (struct node_entry){.leaf = run, .flushed_upto = sweep->target};
  return 0;
}

/* ---- a group ---------------------------------------------------------------------------------------------------- */

static bool below(struct wodan_slice key, const struct sweep *sweep) {
  return !sweep->has_upper || key_compare(key, sweep->upper) < 0;
}

static int place(const struct sweep *sweep, struct iterator *it, struct wodan_error *error) {
  return sweep->has_lower ? iterator_seek(it, sweep->lower, error) : iterator_first(it, error);
}

/* How many entries from `next` on are taken together, and the oldest mark among them. */
static uint64_t choose_group(struct sweep *sweep) {
  const struct node *node = sweep->node;
  uint64_t absorbed = UINT64_MAX, bytes = 0;
  sweep->group = 0;
  for (uint32_t i = sweep->next; i < sweep->end; i++) {
    if (node->level && i > sweep->next) break;
    uint64_t size = node->level ? 0 : run_leaf_weight(node->entries[i].leaf);
    if (i > sweep->next && (bytes >= sweep->setup.leaf_size / 4 || bytes + size > sweep->setup.leaf_size)) break;
    bytes += size;
    sweep->group++;
    if (node->entries[i].flushed_upto < absorbed) absorbed = node->entries[i].flushed_upto;
  }
  sweep->has_lower = sweep->next > 0;
  if (sweep->has_lower) sweep->lower = entry_pivot(node, sweep->next);
  uint32_t behind = sweep->next + sweep->group;
  sweep->has_upper = behind < node->entry_count;
  if (sweep->has_upper) sweep->upper = entry_pivot(node, behind);
  sweep->slice.from = sweep->has_lower ? sweep->lower : sweep->span.from;
  sweep->slice.to = sweep->has_upper ? sweep->upper : sweep->span.to;
  return sweep->group ? absorbed : 0;
}

/* Iterators over the runs with a record or a range delete in the slice, placed on the first record; `slice` gets those runs. Runs up to `absorbed`
 * are looked at only when the whole is to be known: *above tells whether one of them has something there too. */
static int open_runs(struct sweep *sweep, uint64_t absorbed, struct iterator **sources, struct run **slice,
                     uint32_t *count, bool *above, struct wodan_error *error) {
  const struct node *node = sweep->node;
  int status = 0;
  *count = 0;
  *above = false;
  for (uint32_t r = 0; r < node->run_count && status == 0; r++) {
    bool old = run_generation(node->runs[r]) <= absorbed;
    if (old && (node->level == 0 || *count == 0)) break;
    struct iterator *it = run_iterator(node->runs[r]);
    status = it ? place(sweep, it, error) : status_nomem(error);
    bool here = status == 0 && it->valid && below(it->record.key, sweep);
    here |= status == 0 && ranges_touch_span(run_ranges(node->runs[r]), &sweep->slice);
    if (here && !old) {
      slice[*count] = node->runs[r];
      sources[(*count)++] = it;
      continue;
    }
    iterator_close(it);
    *above |= here;
    if (*above) break;
  }
  if (status < 0)
    while (*count > 0) iterator_close(sources[--*count]);
  return status;
}

/* The memtable instead of runs, where it has a record in the slice. */
static int open_table(struct sweep *sweep, struct iterator **sources, uint32_t *count, struct wodan_error *error) {
  struct iterator *it = memtable_iterator(sweep->setup.table, UINT64_MAX);
  int status = it ? place(sweep, it, error) : status_nomem(error);
  bool here = status == 0 && it->valid && below(it->record.key, sweep);
  *count = here;
  sources[0] = sweep->arriving = here ? it : NULL;
  if (!here) iterator_close(it);
  return status;
}

/* What the slice's runs delete in it, together. */
static int gather_ranges(struct sweep *sweep, struct run *const *slice, uint32_t count, struct wodan_error *error) {
  struct mem *mem = sweep->setup.env->mem;
  uint32_t lists_count = 0;
  release_ranges(sweep);
  if (!sweep->node->ranged || count == 0) return 0;
  struct ranges *lists = mem_array(mem, count, sizeof *lists);
  if (!lists) return status_nomem(error);
  for (uint32_t i = 0; i < count; i++)
    if (run_ranges(slice[i]).count) lists[lists_count++] = run_ranges(slice[i]);
  bool room = ranges_unite(mem, lists, lists_count, &sweep->slice, &sweep->ranges);
  mem_array_free(mem, lists, count, sizeof *lists);
  return room ? 0 : status_nomem(error);
}

static bool deleted_whole(const struct sweep *sweep, const struct key_span *span) {
  return sweep->ranges.count && ranges_cover_span(range_buffer_all(&sweep->ranges), span);
}

static bool leaf_deleted(const struct sweep *sweep, uint32_t i) {
  if (sweep->ranges.count == 0) return false;
  struct key_span span = entry_span(sweep->node, i, &sweep->span);
  return deleted_whole(sweep, &span);
}

/* Where all of the child is deleted, an empty one is made for what is newer. */
static int replace_child(struct sweep *sweep, struct wodan_error *error) {
  const struct node *node = sweep->node, *child = node->entries[sweep->next].child;
  uint64_t parts = child->sums.nodes + child->sums.leaves + child->sums.runs;
  if (parts > DROP_MOST || !deleted_whole(sweep, &sweep->slice)) return 0;
  if (!sweep->dropped) {
    sweep->dropped = mem_array(sweep->setup.env->mem, node->entry_count, sizeof(bool));
    if (sweep->dropped) memset(sweep->dropped, 0, node->entry_count * sizeof(bool));
  }
  sweep->empty = sweep->dropped ? node_create_empty(child->env, child->level, node_pivot(child)) : NULL;
  return sweep->empty ? 0 : status_nomem(error);
}

static int open_leaves(struct sweep *sweep, struct iterator **sources, uint32_t *count, struct wodan_error *error) {
  for (uint32_t i = 0; i < sweep->group; i++) {
    if (leaf_deleted(sweep, sweep->next + i)) continue;
    struct iterator *it = run_iterator_keeping(sweep->node->entries[sweep->next + i].leaf, &sweep->kept_page);
    if (!it) return status_nomem(error);
    sources[(*count)++] = it;
  }
  return 0;
}

/* The group as it is, with its mark moved on: one entry at a time. What a leaf left open has ends before it. */
static int move_mark(struct sweep *sweep, struct wodan_error *error) {
  struct node_entry entry = sweep->node->entries[sweep->next];
  int status = sweep->builder ? finish_leaf(sweep, error) : 0;
  if (status < 0) return status;
  if (!out_room(sweep)) return status_nomem(error);
  if (sweep->node->level)
    node_ref(entry.child);
  else
    run_ref(entry.leaf);
  if (!sweep->setup.table) {
    entry.flushed_upto = sweep->target;
    entry.frees = 0;
  }
  sweep->out[sweep->out_count++] = entry;
  sweep->next++;
  sweep->at_work = false;
  return 0;
}

/* All of the run lies in the slice. */
static int inside_slice(const struct sweep *sweep, struct run *run, bool *inside, struct wodan_error *error) {
  struct run_shape shape;
  int status = run_open_body(run, error);
  if (status < 0) return status;
  run_shape(run, &shape);
  *inside = (!sweep->has_lower || key_compare(shape.low, sweep->lower) >= 0) && below(shape.high, sweep);
  run_close_body(run);
  return 0;
}

/* Whether the slice's runs may go to the child as they are. Where they free much they are merged, to learn which of the
 * child's entries that concerns. */
static int may_pass(const struct sweep *sweep, struct run *const *slice, uint32_t count, bool above, bool *may,
                    struct wodan_error *error) {
  const struct node *child = sweep->node->entries[sweep->next].child;
  *may = !above && !sweep->empty && sweep->node->entries[sweep->next].frees == 0 &&
         child->run_count + count <= sweep->setup.runs_max;
  if (*may) *may = run_generation(slice[count - 1]) > node_newest_mark(child);
  int status = 0;
  for (uint32_t i = 0; i < count && *may && status == 0; i++) status = inside_slice(sweep, slice[i], may, error);
  return status;
}

static void note_dropped(struct sweep *sweep) {
  const struct node *child = sweep->node->entries[sweep->next].child;
  uint64_t parts = child->sums.nodes + child->sums.leaves + child->sums.runs;
  sweep->dropped[sweep->next] = true;
  sweep->dropped_parts += parts;
  sweep->moved += parts * DROP_WORK;
}

/* The child with these runs above its own, as the result of the group; with what its entries are to free by them. */
static int give_child(struct sweep *sweep, struct run *const *runs, uint32_t count, struct wodan_error *error) {
  struct node *child = sweep->empty ? sweep->empty : sweep->node->entries[sweep->next].child;
  struct mem *mem = sweep->setup.env->mem;
  uint32_t total = count + child->run_count;
  struct run **all = mem_array(mem, total, sizeof(struct run *));
  struct node *next = NULL;
  if (all && out_room(sweep)) {
    if (count) memcpy(all, runs, count * sizeof(struct run *));
    if (child->run_count) memcpy(all + count, child->runs, child->run_count * sizeof(struct run *));
    struct node_parts parts = {child->level, node_pivot(child), child->entries, child->entry_count, all, total};
    next = node_create(child->env, &parts);
  }
  for (uint32_t i = 0; next && sweep->tally.node && i < next->entry_count; i++)
    next->entries[i].frees += sweep->tally.frees[i];
  mem_array_free(mem, all, total, sizeof(struct run *));
  if (!next) return status_nomem(error);
  if (sweep->empty) note_dropped(sweep);
  sweep->out[sweep->out_count++] = (struct node_entry){.child = next, .flushed_upto = sweep->target};
  sweep->next++;
  sweep->at_work = false;
  return 0;
}

static int pass_runs(struct sweep *sweep, struct run *const *slice, uint32_t count, struct wodan_error *error) {
  struct mem *mem = sweep->setup.env->mem;
  if (!sweep->passed) sweep->passed = mem_array(mem, sweep->node->run_count, sizeof(struct run *));
  if (!sweep->passed) return status_nomem(error);
  int status = give_child(sweep, slice, count, error);
  for (uint32_t i = 0; i < count && status == 0; i++) sweep->passed[sweep->passed_count++] = slice[i];
  return status;
}

/* Bytes that the slice's run takes, about. The sources' iterators are open. */
static uint64_t slice_bytes(const struct sweep *sweep, struct run *const *slice, uint32_t count) {
  const struct wodan_slice *lower = sweep->has_lower ? &sweep->lower : NULL;
  const struct wodan_slice *upper = sweep->has_upper ? &sweep->upper : NULL;
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < count; i++) bytes += run_range_bytes(slice[i], lower, upper);
  return bytes;
}

/* The leaves' bodies are open, for the merge has moved. */
static void note_old(struct sweep *sweep) {
  struct run_shape shape;
  sweep->old = 0;
  for (uint32_t i = sweep->next; i < sweep->next + sweep->group; i++) {
    if (leaf_deleted(sweep, i)) continue;
    run_shape(sweep->node->entries[i].leaf, &shape);
    if (shape.sequence_max > sweep->old) sweep->old = shape.sequence_max;
  }
}

static int start_merge(struct sweep *sweep, struct iterator **sources, uint32_t count, struct run *const *slice,
                       uint32_t slice_count, struct wodan_error *error) {
  struct run_env *env = sweep->setup.env;
  sweep->merge = merge_open(env->mem, sources, count);
  if (!sweep->merge) return status_nomem(error);
  int status = place(sweep, sweep->merge, error);
  if (status == 0 && sweep->node->level == 0) note_old(sweep);
  if (status < 0 || sweep->node->level == 0) return status;
  run_pieces_begin(&sweep->pieces, env, sweep->setup.generation, slice_bytes(sweep, slice, slice_count),
                   sweep->setup.spare);
  if (sweep->empty) return 0;
  struct ranges ranges = range_buffer_all(&sweep->ranges);
  run_pieces_delete(&sweep->pieces, ranges);
  tally_begin(&sweep->tally, sweep->node->entries[sweep->next].child);
  tally_delete(&sweep->tally, &sweep->slice, ranges);
  return 0;
}

/* Begins the group at `next`; what needs no merge is done at once. */
static int enter_group(struct sweep *sweep, struct wodan_error *error) {
  const struct node *node = sweep->node;
  struct mem *mem = sweep->setup.env->mem;
  uint64_t absorbed = choose_group(sweep);
  uint32_t capacity = node->run_count + sweep->group + 1, count = 0, slice_count = 0;
  bool table = sweep->setup.table != NULL;
  struct iterator **sources = mem_array(mem, capacity, sizeof(struct iterator *));
  struct run **slice = mem_array(mem, node->run_count, sizeof(struct run *));
  bool above = false, pass = false, merging = false;
  sweep->at_work = true;
  sweep->deletes = sweep->kept = 0;
  sweep->group_start = (uint32_t)sweep->out_count;
  int status = sources && slice ? 0 : status_nomem(error);
  if (status == 0 && table) status = open_table(sweep, sources, &count, error);
  if (status == 0 && !table) status = open_runs(sweep, absorbed, sources, slice, &slice_count, &above, error);
  if (!table) count = slice_count;
  if (status == 0) status = gather_ranges(sweep, slice, slice_count, error);
  if (status == 0 && node->level && slice_count) status = replace_child(sweep, error);
  if (status == 0 && node->level && slice_count) status = may_pass(sweep, slice, slice_count, above, &pass, error);
  bool nothing = count == 0 && sweep->group && (table || node->run_count);
  if (status == 0 && (pass || nothing)) {
    while (count > 0) iterator_close(sources[--count]);
    status = pass ? pass_runs(sweep, slice, slice_count, error) : move_mark(sweep, error);
  } else if (status == 0) {
    if (node->level == 0) status = open_leaves(sweep, sources, &count, error);
    merging = status == 0;
  }
  if (merging) status = start_merge(sweep, sources, count, slice, slice_count, error);
  if (!merging)
    while (count > 0) iterator_close(sources[--count]);
  mem_array_free(mem, sources, capacity, sizeof(struct iterator *));
  mem_array_free(mem, slice, node->run_count, sizeof(struct run *));
  return status;
}

/* ---- leaves ----------------------------------------------------------------------------------------------------- */

static bool keep_bytes(struct sweep *sweep, uint8_t **buffer, size_t *capacity, struct wodan_slice bytes) {
  void *array = *buffer;
  bool room = mem_array_grow(sweep->setup.env->mem, &array, capacity, bytes.size + 1, 1);
  *buffer = array;
  if (room && bytes.size) memcpy(*buffer, bytes.data, bytes.size);
  return room;
}

/* The shortest key above the leaf before, at or below `key`. */
static struct wodan_slice separator(const struct sweep *sweep, struct wodan_slice key) {
  const uint8_t *a = sweep->last_key, *b = key.data;
  size_t same = 0;
  while (same < sweep->last_size && same < key.size && a[same] == b[same]) same++;
  return (struct wodan_slice){key.data, same < key.size ? same + 1 : key.size};
}

static int start_leaf(struct sweep *sweep, struct wodan_slice key, struct wodan_error *error) {
  struct run_env *env = sweep->setup.env;
  const struct node *node = sweep->node;
  struct wodan_slice pivot;
  if (sweep->out_count > sweep->group_start)
    pivot = separator(sweep, key);
  else /* the first of the group keeps its pivot, so that ranges stay what they were */
    pivot = sweep->next == 0 ? node_pivot(node) : entry_pivot(node, sweep->next);
  if (!keep_bytes(sweep, &sweep->pivot_buffer, &sweep->pivot_capacity, pivot)) return status_nomem(error);
  sweep->pivot = (struct wodan_slice){sweep->pivot_buffer, pivot.size};
  sweep->bytes = 0;
  uint64_t size = sweep->setup.leaf_size;
  struct run_build_options options = {.size_max = run_size_bound(env, size / 12, size, false),
                                      .kind = SPACE_LEAF,
                                      .spare = sweep->setup.spare,
                                      .compress = sweep->setup.compression};
  return run_builder_create(env, &options, &sweep->builder, error);
}

/* What the leaf at work counts against a leaf's size: its records, or with compressed pages the bytes it takes. */
static uint64_t leaf_weight(const struct sweep *sweep) {
  uint64_t weight = sweep->bytes;
  if (sweep->builder) run_builder_packed(sweep->builder, &weight);
  return weight;
}

/* Begins a leaf for a key that follows, unless the one at work has room for `bytes` more. */
static int leaf_for(struct sweep *sweep, struct wodan_slice key, uint64_t bytes, struct wodan_error *error) {
  int status = 0;
  if (sweep->builder && leaf_weight(sweep) + bytes > sweep->setup.leaf_size) status = finish_leaf(sweep, error);
  return status == 0 && !sweep->builder ? start_leaf(sweep, key, error) : status;
}

/* The key is in the leaf. Only the last key before a new leaf is wanted; it is near when the leaf is nearly full. */
static int added(struct sweep *sweep, struct wodan_slice key, uint64_t bytes, struct wodan_error *error) {
  sweep->bytes += bytes;
  if (leaf_weight(sweep) + sweep->setup.env->page_size < sweep->setup.leaf_size) return 0;
  if (!keep_bytes(sweep, &sweep->last_key, &sweep->last_capacity, key)) return status_nomem(error);
  sweep->last_size = key.size;
  return 0;
}

static int add_to_leaf(struct sweep *sweep, const struct record *record, struct wodan_error *error) {
  uint64_t bytes = record_weight(record);
  if (record->kind == RECORD_DELETE) sweep->deletes++;
  if (record->kind == RECORD_DELETE) return 0;
  sweep->kept += record->sequence <= sweep->old;
  int status = leaf_for(sweep, record->key, bytes, error);
  if (status == 0) status = run_builder_add(sweep->builder, record, error);
  return status == 0 ? added(sweep, record->key, bytes, error) : status;
}

/* A page that nothing else interleaves with goes into the leaf as it is: *taken. */
static int add_page_to_leaf(struct sweep *sweep, bool *taken, struct wodan_error *error) {
  struct iterator *source;
  struct wodan_slice limit;
  struct page_bytes page;
  bool has_limit;
  *taken = false;
  if (!run_iterator_at_page(merge_source(sweep->merge))) return 0;
  if (!merge_alone(sweep->merge, &source, &limit, &has_limit)) return 0;
  if (sweep->has_upper && (!has_limit || key_compare(sweep->upper, limit) < 0)) limit = sweep->upper;
  if (!run_iterator_whole_page(source, has_limit || sweep->has_upper ? &limit : NULL, &page)) return 0;
  int status = leaf_for(sweep, page.first, page.stored_size, error);
  if (status == 0) status = run_builder_add_page(sweep->builder, &page, taken, error);
  if (status < 0 || !*taken) return status;
  sweep->moved += page.size;
  if (page.sequence_max <= sweep->old) sweep->kept += page.count;
  status = added(sweep, page.last, page.size, error);
  if (status == 0) status = run_iterator_skip_page(source, error);
  return status == 0 ? merge_reseat(sweep->merge, error) : status;
}

/* ---- steps ------------------------------------------------------------------------------------------------------ */

static int finish_run(struct sweep *sweep, struct wodan_error *error) {
  struct run_pieces *pieces = &sweep->pieces;
  int status = run_pieces_finish(pieces, error);
  if (status < 0) return status;
  run_pieces_reverse(pieces);
  tally_finish(&sweep->tally);
  status = give_child(sweep, pieces->runs, (uint32_t)pieces->count, error);
  if (status < 0) return status;
  sweep->run_bytes += pieces->bytes;
  run_pieces_release(pieces, true);
  tally_release(&sweep->tally);
  release_ranges(sweep);
  return 0;
}

/* Whether the entry at `next` may be gone on to. */
static bool more_behind(const struct sweep *sweep) {
  const struct node *node = sweep->node;
  if (sweep->next >= sweep->end) return false;
  return sweep->setup.table || (node->run_count && node->entries[sweep->next].flushed_upto < sweep->target);
}

/* A leaf under half full stays open for the entry behind, a few leaves beyond what is enough. */
static bool stays_open(const struct sweep *sweep) {
  return leaf_weight(sweep) < sweep->setup.leaf_size / 2 && sweep->leaf_bytes / 2 < sweep->setup.enough &&
         more_behind(sweep);
}

/* Whether deletes that promised to free most of a leaf were of keys that were there, by the number of old records before and
 * after: kept in mind with the new leaves. Some may have gone for newer versions of theirs, but a leaf to which those come has
 * to be rewritten anyway. */
static void rate_deletes(const struct sweep *sweep) {
  uint64_t before = 0;
  uint32_t times = 0;
  bool promised = false;
  for (uint32_t i = sweep->next; i < sweep->next + sweep->group; i++) {
    const struct node_entry *entry = &sweep->node->entries[i];
    if (run_overrated(entry->leaf) > times) times = run_overrated(entry->leaf);
    promised |= entry->frees > run_payload(entry->leaf) / 2;
    before += run_records(entry->leaf);
  }
  bool kept_word = sweep->kept + sweep->deletes / 2 <= before;
  if (sweep->deletes && kept_word) times = 0;
  if (promised && !kept_word) times++;
  for (size_t i = sweep->group_start; i < sweep->out_count; i++) run_set_overrated(sweep->out[i].leaf, times);
}

/* The merge is at the end of the slice. */
static int finish_group(struct sweep *sweep, struct wodan_error *error) {
  leave_group(sweep);
  if (sweep->node->level) return finish_run(sweep, error);
  sweep->next += sweep->group;
  int status = sweep->builder && !stays_open(sweep) ? finish_leaf(sweep, error) : 0;
  sweep->next -= sweep->group;
  if (status < 0) return status;
  rate_deletes(sweep);
  sweep->next += sweep->group;
  return 0;
}

static int add_to_run(struct sweep *sweep, const struct record *record, struct wodan_error *error) {
  if (sweep->empty && record->kind == RECORD_DELETE) return 0; /* there is nothing below it */
  tally_add(&sweep->tally, record);
  return run_pieces_add(&sweep->pieces, record, error);
}

static int work_on_group(struct sweep *sweep, uint64_t budget, struct wodan_error *error) {
  uint64_t until = sweep->moved + budget;
  int status = 0;
  struct iterator *merge = sweep->merge;
  while (status == 0 && merge->valid && below(merge->record.key, sweep)) {
    if (sweep->moved >= until) return 0;
    bool taken = false;
    if (sweep->node->level == 0) status = add_page_to_leaf(sweep, &taken, error);
    if (taken || status < 0) continue;
    sweep->moved += record_weight(&merge->record);
    if (sweep->arriving && merge_source(merge) == sweep->arriving) status = memtable_prove(&merge->record, error);
    if (status < 0) break;
    status = sweep->node->level ? add_to_run(sweep, &merge->record, error) : add_to_leaf(sweep, &merge->record, error);
    if (status == 0) status = iterator_next(merge, error);
  }
  return status == 0 ? finish_group(sweep, error) : status;
}

/* Whether the entry at `next` is worth going on to. */
static bool goes_on(const struct sweep *sweep) {
  if (sweep->builder) return true;
  if (sweep->dropped_parts >= DROP_MOST) return false;
  return more_behind(sweep) && sweep->leaf_bytes + sweep->run_bytes < sweep->setup.enough;
}

/* Between two calls a group is at work, or the entry at `next` is worth going on to. */
static int step(struct sweep *sweep, uint64_t budget, bool *done, struct wodan_error *error) {
  enum { GROUPS_PER_STEP = 256 }; /* those without a record in their slice cost next to nothing */
  uint64_t until = sweep->moved + budget;
  for (unsigned groups = 0; groups < GROUPS_PER_STEP; groups++) {
    int status = sweep->at_work ? 0 : enter_group(sweep, error);
    if (status == 0 && sweep->at_work) status = work_on_group(sweep, until - sweep->moved, error);
    if (status < 0) return status;
    if (sweep->at_work) break;
    if (!sweep->builder) {
      sweep->whole = sweep->next;
      sweep->whole_out = (uint32_t)sweep->out_count;
    }
    *done = !goes_on(sweep);
    if (*done || sweep->moved >= until) break;
  }
  return 0;
}

/* Back to where no leaf was open. What lies before the entry that failed is done once more where a leaf reached into it. */
static int step_back(struct sweep *sweep, bool *done, int status) {
  sweep->failed = sweep->next;
  abandon_group(sweep);
  out_cut(sweep, sweep->whole_out, false);
  sweep->next = sweep->whole;
  /* A failed write ends more than this sweep. */
  if (sweep->setup.table || sweep->failed == sweep->first || atomic_load(&sweep->setup.env->io->device->unsure))
    return status;
  *done = sweep->next == sweep->failed;
  sweep->end = sweep->failed;
  return 0;
}

int sweep_step(struct sweep *sweep, uint64_t budget, uint64_t *moved, bool *done, struct wodan_error *error) {
  uint64_t before = sweep->moved, most = UINT64_MAX - before;
  *done = false;
  int status = step(sweep, budget < most ? budget : most, done, error);
  *moved += sweep->moved - before;
  return status < 0 ? step_back(sweep, done, status) : 0;
}

/* What the job has absorbed behind it: all runs, or what all entries had before, to which a memtable adds nothing. */
static uint64_t target_of(const struct sweep *sweep, uint32_t at) {
  const struct node *node = sweep->node;
  if (!sweep->setup.table && node->run_count) return run_generation(node->runs[0]);
  uint64_t least = at < node->entry_count ? node->entries[at].flushed_upto : 0;
  for (uint32_t i = at; sweep->setup.table && i < sweep->end; i++)
    if (node->entries[i].flushed_upto < least) least = node->entries[i].flushed_upto;
  return least;
}

int sweep_open(const struct sweep_setup *setup, struct node *root, const struct tree_path *path, uint32_t at,
               struct sweep **out, struct wodan_error *error) {
  struct sweep *sweep = mem_zalloc(setup->env->mem, sizeof *sweep);
  *out = NULL;
  if (!sweep) return status_nomem(error);
  sweep->setup = *setup;
  sweep->path = *path;
  sweep->node = tree_at(root, path);
  sweep->span = tree_span(root, path);
  sweep->first = sweep->next = sweep->whole = sweep->failed = at;
  sweep->end = sweep->node->entry_count;
  if (setup->entries_max && setup->entries_max < sweep->end - at) sweep->end = at + setup->entries_max;
  sweep->born = *setup->generation;
  if (setup->env->packed && sweep->node->level == 0)
    sweep->kept_page.bytes =
        mem_alloc(setup->env->mem, setup->env->page_size); /* without it pages are compressed again */
  node_ref(sweep->node);
  sweep->target = target_of(sweep, at);
  *out = sweep;
  return 0;
}

/* What runs that came since are to free, so that the new entries know of it; and those that a memtable passes. */
static void add_frees_since(struct sweep *sweep, const struct node *now) {
  uint64_t since = 0;
  for (uint32_t i = sweep->first; i < sweep->next; i++) {
    uint64_t more = now->entries[i].frees - (sweep->setup.table ? 0 : sweep->node->entries[i].frees);
    if (now->level)
      sweep->out[i - sweep->first].frees = more;
    else
      since += more;
  }
  for (size_t i = 0; now->level == 0 && i < sweep->out_count; i++) sweep->out[i].frees = since / sweep->out_count;
}

/* Empty children in place of dropped ones are left out: the entry before takes over their range. The first one of the node has
 * none before it; the structure joins it with its neighbour. */
static void leave_out_empty(struct sweep *sweep) {
  uint32_t kept = 0;
  for (uint32_t i = 0; sweep->dropped && i < sweep->out_count; i++) {
    struct node *child = sweep->out[i].child;
    if (sweep->dropped[sweep->first + i] && child->run_count == 0 && sweep->first + kept > 0)
      node_unref(child);
    else
      sweep->out[kept++] = sweep->out[i];
  }
  if (sweep->dropped) sweep->out_count = kept;
}

struct node *sweep_result(struct sweep *sweep, struct node *root, struct tree_edit *edit) {
  struct node *node = tree_at(root, &sweep->path); /* perhaps with runs that came since */
  if (node != sweep->node || sweep->setup.table) add_frees_since(sweep, node);
  for (uint32_t i = sweep->first; node->level && i < sweep->next; i++) {
    struct node *old = sweep->node->entries[i].child;
    bool dropped = sweep->dropped && sweep->dropped[i], replaced = old != sweep->out[i - sweep->first].child;
    bool room = dropped ? tree_edit_drop_tree(edit, old) : !replaced || tree_edit_drop_node(edit, old);
    if (!room) return NULL;
  }
  leave_out_empty(sweep);
  struct node_change change = {.at = sweep->first,
                               .removed = sweep->next - sweep->first,
                               .added = sweep->out,
                               .added_count = (uint32_t)sweep->out_count,
                               .without = sweep->passed,
                               .without_count = sweep->passed_count,
                               .absorbed = sweep->target};
  struct node *changed = node_changed(node, &change, edit);
  struct node *result = changed ? tree_with(root, &sweep->path, &changed, 1, edit) : NULL;
  node_unref(changed);
  return result;
}
