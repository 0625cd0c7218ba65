/* Owns: which object is replaced by what.
 *
 * Always true:
 *  - nothing that a lookup could read before is missing after, but for what is told as given up; nothing comes back that a
 *    newer record hides: buffered runs keep their order, and of a run only what an entry had not absorbed is copied;
 *  - a node that is replaced keeps its level and its range of keys;
 *  - the blocks of no old object are written.
 *
 * Order: children before the node, older runs before newer ones, the node last: so generations rise the way the format asks.
 *
 * Where a leaf is damaged its entry's mark becomes 0: what the runs still hold of it counts again (descent.c tells why).
 *
 * See: FORMAT.md "Nodes"; DESIGN.md "Repair"; tests/unit/test_repair.c, test_check_findings.c. */
#include "repair/rewrite.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "repair/layers.h"
#include "tree/walk.h"

/* A node to be rewritten. */
struct spot {
  uint32_t root; /* whose tree it is in */
  struct block_ptr ptr;
  struct node_place place; /* keys and level it has to have */
  bool adopted;            /* it stands in for a lost node of a newer tree */
  bool wider;              /* and has more keys than it may keep */
  bool taken;              /* its blocks belong to another object of the new tree */
  struct memtable *const *tables;
};

/* A node on its way: its image with lists of its own. */
struct work {
  struct rewrite *rewrite;
  const struct spot *spot;
  struct node_image image;
  struct node_image_run *runs;
  uint32_t run_count, run_capacity;
  bool changed;
};

static int rewrite_node(struct rewrite *rewrite, const struct spot *spot, struct block_ptr *out,
                        struct wodan_error *error);

static struct mem *mem_of(const struct rewrite *rewrite) { return rewrite->volume->mem; }

static struct span span_of(const struct node_place *place) {
  return (struct span){place->has_lower, place->has_upper, place->lower, place->upper};
}

static void tell(struct rewrite *rewrite, enum wodan_repair_kind kind, const struct block_ptr *ptr,
                 const struct span *span, const char *format, ...) __attribute__((format(printf, 5, 6)));

static void tell(struct rewrite *rewrite, enum wodan_repair_kind kind, const struct block_ptr *ptr,
                 const struct span *span, const char *format, ...) {
  char message[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  struct wodan_repair_step step = {.kind = kind,
                                   .block = ptr->extents[0].first,
                                   .generation = ptr->generation,
                                   .message = message,
                                   .has_range = 1,
                                   .has_lower = span->has_lower,
                                   .has_upper = span->has_upper};
  if (span->has_lower) step.lower = damage_user_key(span->lower);
  if (span->has_upper) step.upper = damage_user_key(span->upper);
  rewrite->step(rewrite->context, &step);
}

/* ---- contents ------------------------------------------------------------------------------------------------------ */

/* Counts records, or puts them into a run. */
struct sink {
  struct run_builder *builder; /* NULL: counts */
  bool deletes;                /* kept, those of ranges too */
  uint64_t records, bytes;
  struct range_buffer ranges; /* gathered anew each time, before the first record */
  size_t range_at;            /* those before it are in the run */
};

/* Those that begin at or before the key; NULL: all. */
static int sink_ranges(struct sink *sink, const struct wodan_slice *key, struct wodan_error *error) {
  int status = 0;
  for (; sink->builder && sink->range_at < sink->ranges.count && status == 0; sink->range_at++) {
    const struct range_delete *range = &sink->ranges.at[sink->range_at];
    if (key && key_compare(range->from, *key) > 0) break;
    status = run_builder_add_range(sink->builder, range, error);
  }
  return status;
}

/* A delete inside a range is the range's. */
static int sink_record(void *context, const struct record *record, struct wodan_error *error) {
  struct sink *sink = context;
  if (record->kind == RECORD_DELETE && (!sink->deletes || ranges_cover(range_buffer_all(&sink->ranges), record->key)))
    return 0;
  sink->records++;
  sink->bytes += record_weight(record);
  int status = sink_ranges(sink, &record->key, error);
  return status == 0 && sink->builder ? run_builder_add(sink->builder, record, error) : status;
}

static int unheard(void *context, const struct loss *loss, struct wodan_error *error) {
  (void)context, (void)loss, (void)error;
  return 0;
}

/* Tells all records of something to the sink, in key order. */
typedef int content(struct work *work, const void *what, struct sink *sink, struct wodan_error *error);

/* What was written: nothing, when there is neither. */
struct written {
  uint64_t records, ranges;
  struct block_ptr ptr;
  uint64_t range_bytes;
  struct run_counts counts;
  bool no_room;
};

static int write_run(struct work *work, content *of, const void *what, enum space_kind kind, struct sink sink,
                     struct written *written, struct wodan_error *error) {
  struct writer *writer = work->rewrite->writer;
  uint64_t size = run_size_bound(&writer->env, sink.records, sink.bytes, kind == SPACE_BUFFER) + written->range_bytes;
  int status = writer_run(writer, kind, size, &sink.builder, error);
  if (status < 0) return status;
  status = of(work, what, &sink, error);
  range_buffer_release(mem_of(work->rewrite), &sink.ranges);
  if (status == 0)
    status = run_builder_finish(sink.builder, ++writer->generation, &written->ptr, &written->counts, error);
  else
    run_builder_abort(sink.builder);
  range_list_free(run_env_skeleton(&writer->env), written->counts.ranges); /* the node is told their number only */
  if (status != WODAN_ENOSPC) return status;
  written->no_room = work->rewrite->no_room = true;
  return 0;
}

/* The content as one run: read once to know its size, and again to write it. */
static int write_content(struct work *work, content *of, const void *what, enum space_kind kind,
                         struct written *written, struct wodan_error *error) {
  struct sink sink = {.deletes = kind == SPACE_BUFFER};
  *written = (struct written){0};
  int status = of(work, what, &sink, error);
  written->records = sink.records;
  written->ranges = sink.ranges.count;
  for (size_t i = 0; i < sink.ranges.count; i++) written->range_bytes += 10 + range_size(&sink.ranges.at[i]);
  range_buffer_release(mem_of(work->rewrite), &sink.ranges);
  if (status < 0 || !(sink.records + written->ranges) || !work->rewrite->writer) return status;
  return write_run(work, of, what, kind, sink, written, error);
}

static struct source_setup setup_of(const struct work *work, const struct span *span, const struct sink *sink) {
  struct volume *volume = work->rewrite->volume;
  return (struct source_setup){.io = &volume->io,
                               .page_size = volume->superblock.page_size,
                               .sequence_max = volume->roots[work->spot->root].record.sequence,
                               .span = *span,
                               .told = sink->builder ? unheard : work->rewrite->lost,
                               .context = work->rewrite->context,
                               .damage = work->rewrite->damage};
}

/* What cannot be left as it is has no room either. */
static int no_room(struct wodan_error *error) {
  return status_set(error, WODAN_ENOSPC, 0, WODAN_NO_BLOCK,
                    "there are not enough free blocks to repair in place; nothing was changed");
}

/* ---- leaves -------------------------------------------------------------------------------------------------------- */

struct leaf {
  const struct block_ptr *ptr;
  struct span span;
};

static int leaf_content(struct work *work, const void *what, struct sink *sink, struct wodan_error *error) {
  const struct leaf *leaf = what;
  struct layers layers = {.mem = mem_of(work->rewrite)};
  const struct source_setup setup = setup_of(work, &leaf->span, sink);
  const struct layers_merge merge = {.span = leaf->span, .record = sink_record, .context = sink};
  int status = layers_push_run(&layers, &setup, leaf->ptr, error);
  if (status == 0) status = layers_merge(&layers, &merge, error);
  layers_release(&layers);
  return status;
}

static bool is_owned(const struct rewrite *rewrite, const struct block_ptr *ptr) {
  uint64_t first = ptr->extents[0].first;
  return first < rewrite->owned.size && bitmap_next_set(&rewrite->owned, first, first + 1) == first;
}

/* What has to be done about a run or leaf of the node; adopted ones become the tree's own when they can stay. */
static uint32_t verdict(struct work *work, const struct block_ptr *ptr) {
  struct rewrite *rewrite = work->rewrite;
  uint32_t repair = damage_of(rewrite->damage, ptr->generation);
  if (!work->spot->adopted) return repair;
  if (is_owned(rewrite, ptr)) return repair ? repair : WODAN_REPAIR_SAFE; /* the newer tree has it elsewhere: copied */
  volume_mark(&rewrite->owned, ptr);
  return repair;
}

/* Entry i has no records left: its neighbour takes its keys, and looks at all runs again. */
static void drop_entry(struct node_image *image, uint32_t i) {
  memmove(&image->entries[i], &image->entries[i + 1], (image->entry_count - i - 1) * sizeof *image->entries);
  image->entry_count--;
  if (image->entry_count) image->entries[i ? i - 1 : 0].branch.flushed_upto = 0;
}

/* *gone: the entry was dropped. */
static int rewrite_leaf(struct work *work, uint32_t i, bool *gone, struct wodan_error *error) {
  struct rewrite *rewrite = work->rewrite;
  struct branch_entry *branch = &work->image.entries[i].branch;
  const struct block_ptr old = branch->ptr;
  struct node_place place = node_place_entry(&work->spot->place, &work->image, i);
  struct leaf leaf = {.ptr = &old, .span = span_of(&place)};
  struct written written;
  *gone = false;
  int status = write_content(work, leaf_content, &leaf, SPACE_LEAF, &written, error);
  if (status == 0 && written.no_room && work->spot->adopted) status = no_room(error);
  if (status < 0 || written.no_room) return status;
  tell(rewrite, WODAN_REPAIR_LEAF, &old, &leaf.span,
       "a leaf is written again with the %" PRIu64 " records that can be read", written.records);
  work->changed = true;
  *gone = written.records == 0;
  branch->flushed_upto = 0;
  branch->ptr = written.ptr;
  branch->blobs = written.counts.blobs;
  if (*gone) drop_entry(&work->image, i);
  return 0;
}

static int rewrite_leaves(struct work *work, struct wodan_error *error) {
  int status = 0;
  bool gone = false;
  for (uint32_t i = 0; i < work->image.entry_count && status == 0; i += !gone) {
    const struct block_ptr *ptr = &work->image.entries[i].branch.ptr;
    bool edge = work->spot->wider && (i == 0 || i + 1 == work->image.entry_count);
    uint32_t repair = verdict(work, ptr);
    gone = false;
    if ((repair || edge) && repair <= work->rewrite->allowed) status = rewrite_leaf(work, i, &gone, error);
  }
  return status;
}

static int rewrite_children(struct work *work, struct wodan_error *error) {
  int status = 0;
  for (uint32_t i = 0; i < work->image.entry_count && status == 0; i++) {
    struct block_ptr *ptr = &work->image.entries[i].branch.ptr, out;
    const struct spot child = {.root = work->spot->root,
                               .ptr = *ptr,
                               .place = node_place_entry(&work->spot->place, &work->image, i),
                               .adopted = work->spot->adopted,
                               .taken = work->spot->adopted && is_owned(work->rewrite, ptr)};
    if (child.adopted && !child.taken) volume_mark(&work->rewrite->owned, ptr);
    status = rewrite_node(work->rewrite, &child, &out, error);
    if (status < 0 || block_ptr_equal(ptr, &out)) continue;
    *ptr = out;
    work->changed = true;
  }
  return status;
}

/* ---- buffered runs ------------------------------------------------------------------------------------------------- */

/* What the layers delete in the span goes to the sink, before its records. */
static int gather_ranges(struct layers *layers, const struct span *span, struct sink *sink, struct wodan_error *error) {
  struct range_buffer found;
  int status = layers_ranges(layers, 0, span, &found, error);
  for (size_t i = 0; i < found.count && status == 0; i++)
    if (!range_buffer_add(layers->mem, &sink->ranges, &found.at[i])) status = status_nomem(error);
  range_buffer_release(layers->mem, &found);
  return status;
}

static void no_ranges_yet(struct work *work, struct sink *sink) {
  range_buffer_release(mem_of(work->rewrite), &sink->ranges);
  sink->range_at = 0;
}

/* All entries of the node, each with the runs it has not absorbed; first what they delete, then the records. */
static int entries_content(struct work *work, struct layers *layers, bool ranges, struct sink *sink,
                           struct wodan_error *error) {
  struct layers_merge merge = {.span = span_of(&work->spot->place), .record = sink_record, .context = sink};
  int status = 0;
  for (uint32_t i = 0; i < work->image.entry_count && status == 0; i++) {
    struct node_place place = node_place_entry(&work->spot->place, &work->image, i);
    merge.span = span_of(&place);
    layers_mark(layers, 0, layers->count, work->image.entries[i].branch.flushed_upto);
    status = ranges ? gather_ranges(layers, &merge.span, sink, error) : layers_merge(layers, &merge, error);
  }
  if (status || work->image.entry_count) return status;
  return ranges ? gather_ranges(layers, &merge.span, sink, error) : layers_merge(layers, &merge, error);
}

/* The newest `*what` runs of the node, as they stand above its entries. */
static int runs_content(struct work *work, const void *what, struct sink *sink, struct wodan_error *error) {
  uint32_t count = *(const uint32_t *)what;
  struct layers layers = {.mem = mem_of(work->rewrite)};
  struct span span = span_of(&work->spot->place);
  const struct source_setup setup = setup_of(work, &span, sink);
  int status = 0;
  no_ranges_yet(work, sink);
  for (uint32_t i = 0; i < count && status == 0; i++)
    status = layers_push_run(&layers, &setup, &work->image.runs[i].ptr, error);
  if (status == 0) status = entries_content(work, &layers, true, sink, error);
  if (status == 0) status = entries_content(work, &layers, false, sink, error);
  if (status == 0) status = sink_ranges(sink, NULL, error);
  layers_release(&layers);
  return status;
}

static void list_run(struct work *work, const struct node_image_run *run) {
  assert(work->run_count < work->run_capacity);
  work->runs[work->run_count++] = *run;
}

static void list_written(struct work *work, const struct written *written) {
  const struct node_image_run run = {.ptr = written->ptr,
                                     .records = written->counts.records,
                                     .deletes = written->counts.deletes,
                                     .blobs = written->counts.blobs,
                                     .ranges = written->ranges};
  if (written->records + written->ranges && work->rewrite->writer) list_run(work, &run);
}

/* How many of the newest runs have to be merged anew, so that no damaged one is left. Under the safe repairs none of them may
 * be one of which something is lost. */
static uint32_t runs_to_merge(struct work *work) {
  uint32_t merge = 0, most = 0;
  for (uint32_t i = 0; i < work->image.run_count; i++) {
    uint32_t repair = verdict(work, &work->image.runs[i].ptr);
    if (work->spot->wider && repair < WODAN_REPAIR_SAFE) repair = WODAN_REPAIR_SAFE;
    if (repair > most) most = repair;
    if (repair && most <= work->rewrite->allowed) merge = i + 1;
  }
  return merge;
}

/* The list is made from the oldest run to the newest, and turned round at the end. */
static int rewrite_runs(struct work *work, struct wodan_error *error) {
  uint32_t merge = runs_to_merge(work);
  struct span span = span_of(&work->spot->place);
  struct written written = {0};
  int status = merge ? write_content(work, runs_content, &merge, SPACE_BUFFER, &written, error) : 0;
  if (status == 0 && written.no_room && work->spot->adopted) status = no_room(error);
  if (status < 0) return status;
  if (written.no_room) merge = 0;
  for (uint32_t i = work->image.run_count; i > merge; i--) list_run(work, &work->image.runs[i - 1]);
  if (!merge) return 0;
  tell(work->rewrite, WODAN_REPAIR_RUNS, &work->image.runs[merge - 1].ptr, &span,
       "%" PRIu32 " buffered runs become one with the %" PRIu64 " records that can be read", merge, written.records);
  work->changed = true;
  list_written(work, &written);
  return 0;
}

/* ---- the journal --------------------------------------------------------------------------------------------------- */

static int table_content(struct work *work, const void *what, struct sink *sink, struct wodan_error *error) {
  struct memtable *const *table = what;
  struct layers layers = {.mem = mem_of(work->rewrite)};
  const struct layers_merge merge = {.span = span_of(&work->spot->place), .record = sink_record, .context = sink};
  no_ranges_yet(work, sink);
  int status = layers_push_table(&layers, *table, error);
  if (status == 0) status = gather_ranges(&layers, &merge.span, sink, error);
  if (status == 0) status = layers_merge(&layers, &merge, error);
  if (status == 0) status = sink_ranges(sink, NULL, error);
  layers_release(&layers);
  return status;
}

static int add_tables(struct work *work, struct wodan_error *error) {
  int status = 0;
  struct span span = span_of(&work->spot->place);
  for (uint32_t i = 0; i < REWRITE_TABLES_MAX && work->spot->tables && status == 0; i++) {
    struct written written;
    if (!work->spot->tables[i]) continue;
    status = write_content(work, table_content, &work->spot->tables[i], SPACE_BUFFER, &written, error);
    if (status == 0 && written.no_room) status = no_room(error);
    if (status < 0 || !(written.records + written.ranges)) continue;
    tell(work->rewrite, WODAN_REPAIR_OPERATIONS, &work->spot->ptr, &span,
         "%" PRIu64 " operations of the journal go into the tree", written.records + written.ranges);
    work->changed = true;
    list_written(work, &written);
  }
  return status;
}

/* ---- nodes --------------------------------------------------------------------------------------------------------- */

static void turn_round(struct work *work) {
  for (uint32_t i = 0; i < work->run_count / 2; i++) {
    struct node_image_run run = work->runs[i];
    work->runs[i] = work->runs[work->run_count - 1 - i];
    work->runs[work->run_count - 1 - i] = run;
  }
}

/* The node in its new place. */
static int write_node(struct work *work, struct block_ptr *out, struct wodan_error *error) {
  struct node_image image = work->image;
  *out = work->spot->ptr;
  if (!work->changed || !work->rewrite->writer) return 0;
  turn_round(work);
  image.runs = work->runs;
  image.run_count = work->run_count;
  return writer_node(work->rewrite->writer, &image, out, error);
}

/* Only the entries that meet the node's keys stay. */
static void trim(struct work *work) {
  const struct node_place *place = &work->spot->place;
  struct node_image *image = &work->image;
  uint32_t first = 0, end = image->entry_count;
  work->changed = true;
  if (!end) return;
  while (end > 1 && place->has_upper && key_compare(image->entries[end - 1].pivot, place->upper) >= 0) end--;
  while (first + 1 < end && place->has_lower && key_compare(image->entries[first + 1].pivot, place->lower) <= 0)
    first++;
  image->entry_count = end - first;
  memmove(image->entries, image->entries + first, image->entry_count * sizeof *image->entries);
}

/* work->image is there. */
static int rewrite_image(struct work *work, struct block_ptr *out, struct wodan_error *error) {
  struct rewrite *rewrite = work->rewrite;
  work->run_capacity = work->image.run_count + 1 + REWRITE_TABLES_MAX;
  work->runs = mem_array(mem_of(rewrite), work->run_capacity, sizeof *work->runs);
  if (!work->runs) return status_nomem(error);
  if (work->spot->wider) trim(work);
  int status = work->image.level ? rewrite_children(work, error) : rewrite_leaves(work, error);
  if (status == 0) status = rewrite_runs(work, error);
  if (status == 0) status = add_tables(work, error);
  if (status == 0) status = write_node(work, out, error);
  mem_array_free(mem_of(rewrite), work->runs, work->run_capacity, sizeof *work->runs);
  return status;
}

/* An empty node of this level and, below it, of every lower one. */
static int write_empty(struct rewrite *rewrite, const struct spot *spot, uint32_t level, struct block_ptr *out,
                       struct wodan_error *error) {
  static const uint8_t LEAST[] = {TABLE_DEFAULT};
  struct work work = {.rewrite = rewrite, .spot = spot, .image = {.level = level}, .changed = true};
  struct node_image_entry entry = {.pivot = spot->place.has_lower ? spot->place.lower
                                                                  : (struct wodan_slice){LEAST, sizeof LEAST}};
  int status = 0;
  if (level) {
    struct spot below = *spot;
    below.tables = NULL;
    status = write_empty(rewrite, &below, level - 1, &entry.branch.ptr, error);
    work.image.entries = &entry;
    work.image.entry_count = 1;
  }
  work.run_capacity = REWRITE_TABLES_MAX;
  work.runs = mem_array(mem_of(rewrite), work.run_capacity, sizeof *work.runs);
  if (status == 0 && !work.runs) status = status_nomem(error);
  if (status == 0) status = add_tables(&work, error);
  if (status == 0) status = write_node(&work, out, error);
  if (work.runs) mem_array_free(mem_of(rewrite), work.runs, work.run_capacity, sizeof *work.runs);
  return status;
}

/* ---- lost nodes ---------------------------------------------------------------------------------------------------- */

static bool same_bound(bool a_there, struct wodan_slice a, bool b_there, struct wodan_slice b) {
  return a_there == b_there && (!a_there || key_compare(a, b) == 0);
}

static bool contains(const struct node_place *outer, const struct node_place *inner) {
  if (outer->has_lower && (!inner->has_lower || key_compare(inner->lower, outer->lower) < 0)) return false;
  return !outer->has_upper || (inner->has_upper && key_compare(inner->upper, outer->upper) <= 0);
}

/* A bound that outlives the images. */
struct kept_place {
  struct node_place place;
  uint8_t lower[TREE_KEY_MAX], upper[TREE_KEY_MAX];
};

static void keep_place(struct kept_place *kept, const struct node_place *place) {
  kept->place = *place;
  if (place->has_lower && place->lower.size) memmove(kept->lower, place->lower.data, place->lower.size);
  if (place->has_upper && place->upper.size) memmove(kept->upper, place->upper.data, place->upper.size);
  kept->place.lower.data = kept->lower;
  kept->place.upper.data = kept->upper;
}

/* The node of this root's tree that can stand where `lost` did: of its level, with its keys, or in a bottom node with more.
 * WODAN_ENOTFOUND. */
static int find_stand_in(struct rewrite *rewrite, uint32_t root, const struct spot *lost, struct spot *found,
                         struct kept_place *at, struct wodan_error *error) {
  struct volume *volume = rewrite->volume;
  const struct node_place *place = &lost->place;
  struct node_place open = node_place_root();
  *found = (struct spot){.root = root, .ptr = volume->roots[root].record.root, .place = *place, .adopted = true};
  keep_place(at, &open);
  volume_use_root(volume, &volume->roots[root]);
  for (uint32_t depth = 0; found->ptr.generation && depth < NODE_LEVELS_MAX; depth++) {
    struct node_image image;
    int status = node_image_read(&volume->io, &found->ptr, &image, NULL);
    if (status < 0) return status == WODAN_ENOMEM ? status_nomem(error) : WODAN_ENOTFOUND;
    bool proven = node_image_prove(&image, &found->ptr, &at->place, NULL) == 0;
    bool same = same_bound(at->place.has_lower, at->place.lower, place->has_lower, place->lower) &&
                same_bound(at->place.has_upper, at->place.upper, place->has_upper, place->upper);
    bool here = proven && image.level == place->level && (same || image.level == 0);
    found->wider = !same;
    uint32_t i = 0;
    struct node_place entry = at->place;
    for (; proven && image.level > place->level && i < image.entry_count; i++) {
      entry = node_place_entry(&at->place, &image, i);
      if (contains(&entry, place)) break;
    }
    bool down = proven && image.level > place->level && i < image.entry_count;
    if (down) {
      keep_place(at, &entry);
      found->ptr = image.entries[i].branch.ptr;
    }
    node_image_release(&image);
    if (here) return is_owned(rewrite, &found->ptr) ? WODAN_ENOTFOUND : 0;
    if (!down) return WODAN_ENOTFOUND;
  }
  return WODAN_ENOTFOUND;
}

/* The node's keys as an older root has them, with the journal's operations since; else nothing but those. */
static int replace(struct rewrite *rewrite, const struct spot *lost, const char *why, struct block_ptr *out,
                   struct wodan_error *error) {
  struct volume *volume = rewrite->volume;
  struct span span = span_of(&lost->place);
  const struct loss loss = {
      .block = lost->ptr.extents[0].first, .generation = lost->ptr.generation, .span = span, .why = why};
  int status = rewrite->lost(rewrite->context, &loss, error);
  struct kept_place *at = mem_alloc(volume->mem, sizeof *at);
  struct memtable *tables[REWRITE_TABLES_MAX] = {NULL};
  if (!at) return status_nomem(error);
  if (status == 0) status = WODAN_ENOTFOUND;
  for (uint32_t root = lost->root + 1; root < rewrite->roots_end && status == WODAN_ENOTFOUND; root++) {
    struct spot found;
    status = find_stand_in(rewrite, root, lost, &found, at, error);
    if (status) continue;
    status = volume_replay(volume, &volume->roots[root], error);
    if (status < 0) break;
    tables[0] = volume->roots[root].table;
    found.tables = tables;
    volume_mark(&rewrite->owned, &found.ptr);
    tell(rewrite, WODAN_REPAIR_NODE, &lost->ptr, &span, "a node is taken from the root of generation %" PRIu64,
         volume->roots[root].record.generation);
    status = rewrite_node(rewrite, &found, out, error);
  }
  mem_free(volume->mem, at, sizeof *at);
  volume_use_root(volume, &volume->roots[lost->root]);
  if (status != WODAN_ENOTFOUND) return status;
  struct spot empty = *lost;
  if (lost->root + 1 < rewrite->roots_end) {
    status = volume_replay(volume, &volume->roots[lost->root + 1], error);
    if (status < 0) return status;
    tables[0] = volume->roots[lost->root + 1].table;
    empty.tables = tables;
  }
  tell(rewrite, WODAN_REPAIR_NODE, &lost->ptr, &span,
       "a node is given up, with all below it: salvage into a new image (-o) may save some of that");
  return write_empty(rewrite, &empty, lost->place.level, out, error);
}

static int rewrite_node(struct rewrite *rewrite, const struct spot *spot, struct block_ptr *out,
                        struct wodan_error *error) {
  struct work work = {.rewrite = rewrite, .spot = spot};
  struct wodan_error why = {.message = "the node above them cannot be used"};
  struct node_place wider = node_place_root();
  wider.root = spot->place.root;
  wider.level = spot->place.level;
  *out = spot->ptr;
  if (spot->taken)
    why = (struct wodan_error){.message = "the blocks of the node above them are those of another object too"};
  bool lost = spot->taken || (!spot->place.root && damage_of(rewrite->damage, spot->ptr.generation));
  int status = lost ? WODAN_ECORRUPT : 0;
  if (status == 0) status = node_image_read(&rewrite->volume->io, &spot->ptr, &work.image, &why);
  if (status == 0) status = node_image_prove(&work.image, &spot->ptr, spot->wider ? &wider : &spot->place, &why);
  if (status == WODAN_ENOMEM) {
    node_image_release(&work.image);
    return status_nomem(error);
  }
  if (status < 0) {
    node_image_release(&work.image);
    if (spot->place.root)
      return status_corrupt(error, spot->ptr.extents[0].first, "%s", why.message); /* no guard: says what was found */
    return rewrite->allowed < WODAN_REPAIR_LOSSY ? 0 : replace(rewrite, spot, why.message, out, error);
  }
  status = rewrite_image(&work, out, error);
  node_image_release(&work.image);
  return status;
}

int rewrite_tree(struct rewrite *rewrite, uint32_t at, struct memtable *const tables[REWRITE_TABLES_MAX],
                 struct block_ptr *root, struct wodan_error *error) {
  const struct volume_root *from = &rewrite->volume->roots[at];
  struct spot spot = {.root = at, .ptr = from->record.root, .place = node_place_root(), .tables = tables};
  volume_use_root(rewrite->volume, from);
  *root = spot.ptr;
  bool operations = false;
  for (uint32_t i = 0; i < REWRITE_TABLES_MAX && tables; i++) operations |= tables[i] && memtable_count(tables[i]) > 0;
  if (spot.ptr.generation) return rewrite_node(rewrite, &spot, root, error);
  return operations ? write_empty(rewrite, &spot, 0, root, error) : 0;
}
