/* Owns: the order of a salvage: check, walk or merge, new tree, orphans.
 *
 * Always true: the damaged image is only read; a record reaches the new volume or the caller only from a page with a good
 * checksum or a whole journal record; nothing names the new tree before all of it is written.
 *
 * Order: the check tells which leaves are damaged; then the new volume is formatted and filled in one pass; orphans are
 * looked for last, and only for keys about which something is lost; then records of a broken journal, which are newer.
 *
 * See: include/wodan/repair.h; DESIGN.md "Repair"; tests/unit/test_repair.c. */
#include "repair/salvage.h"

#include <assert.h>
#include <string.h>
#include "blob/blob_read.h"
#include "blob/blob_write.h"
#include "check/check.h"
#include "engine/engine.h"
#include "repair/bulk.h"
#include "repair/descent.h"
#include "repair/orphans.h"
#include "space/bitmap.h"

enum { SALVAGE_STOPPED = 1, COPY_CHUNK = 512 << 10 };

struct salvage {
  const struct wodan_salvage_options *options;
  struct wodan_salvage_report *report;
  struct mem mem;
  struct damage damage;
  struct spans lost, answered; /* by damage; and of those the ones that orphans stood in for */
  struct volume from, to;
  struct writer writer;
  struct bulk bulk;
  struct orphans orphans; /* volume NULL: not looked for */
};

static void tell(struct salvage *salvage, enum finding_id id, const struct loss *loss) {
  if (id != FOUND_NO_SUPERBLOCK) salvage->report->losses++;
  damage_tell_loss(id, loss, salvage->options->finding, salvage->options->context);
}

static int on_loss(void *context, const struct loss *loss, struct wodan_error *error) {
  struct salvage *salvage = context;
  tell(salvage, FOUND_KEYS_LOST, loss);
  return spans_add(&salvage->lost, &loss->span, error);
}

/* A large value, chunk by chunk, into the new volume. A failure of `from` is in *lost. */
static int copy_large(struct salvage *salvage, const struct record *record, struct blob_reader *from,
                      struct blob_ref *out, bool *lost, struct wodan_error *error) {
  struct writer *writer = &salvage->writer;
  const struct superblock *sb = &salvage->to.superblock;
  const struct blob_write_options options = {.key = record->key,
                                             .size = from->ref.size,
                                             .compress = sb->compression,
                                             .page_size = sb->page_size,
                                             .chunk_size = COPY_CHUNK,
                                             .epoch = writer->env.epoch};
  size_t room = (size_t)BLOB_CHUNK_PAGES * sb->page_size;
  uint8_t *bytes = mem_alloc(&salvage->mem, room);
  struct blob_writer to = {0};
  int status = bytes ? blob_writer_init(&to, &salvage->to.io, writer->space, &options, error) : status_nomem(error);
  for (uint64_t at = 0; at < from->ref.size && status == 0; at += room) {
    size_t size = from->ref.size - at < room ? (size_t)(from->ref.size - at) : room;
    status = blob_reader_read(from, at, bytes, size, error);
    *lost = status < 0 && status != WODAN_ENOMEM;
    if (status == 0) status = blob_writer_append(&to, bytes, size, error);
  }
  if (status == 0) status = blob_writer_finish(&to, ++writer->generation, out, error);
  blob_writer_release(&to);
  mem_free(&salvage->mem, bytes, room);
  return status;
}

/* *lost: `error` says why it cannot be read. */
static int take_large(struct salvage *salvage, const struct record *record, bool *lost, struct wodan_error *error) {
  struct volume *from = &salvage->from;
  const struct blob_source source = {
      .io = &from->io, .mem = &salvage->mem, .page_size = from->superblock.page_size, .key = record->key};
  struct record put = *record;
  uint8_t bytes[16384 / 4];
  struct blob_reader reader;
  struct blob_ref ref;
  *lost = !blob_ref_decode(record->value.data, record->value.size, &from->io.bounds, &ref);
  if (*lost)
    return status_corrupt(error, WODAN_NO_BLOCK, "a reference to a large value is malformed"); /* guard: bounds */
  int status = blob_reader_open(&reader, &source, &ref, error);
  *lost = status < 0 && status != WODAN_ENOMEM;
  if (status < 0) return status;
  status = copy_large(salvage, record, &reader, &ref, lost, error);
  blob_reader_close(&reader);
  if (status < 0) return status;
  put.value = (struct wodan_slice){bytes, blob_ref_encode(&ref, bytes, salvage->to.superblock.page_size / 4)};
  if (put.value.size == 0)
    return status_set(error, WODAN_ENOSPC, 0, WODAN_NO_BLOCK, "a large value lies in too many pieces");
  return bulk_add(&salvage->bulk, &put, error);
}

static int on_record(void *context, const struct record *record, struct wodan_error *error) {
  struct salvage *salvage = context;
  if (record->kind == RECORD_PUT) return bulk_add(&salvage->bulk, record, error);
  if (record->kind != RECORD_BLOB) return 0;
  bool lost = false;
  struct wodan_error why = {.block = WODAN_NO_BLOCK};
  int status = take_large(salvage, record, &lost, &why);
  if (status == 0) return 0;
  uint8_t upper[TREE_KEY_MAX + 1];
  const struct loss loss = {
      .block = why.block, .span = {true, true, record->key, {upper, record->key.size + 1}}, .why = why.message};
  memcpy(upper, record->key.data, record->key.size);
  upper[record->key.size] = 0;
  if (lost) return on_loss(salvage, &loss, error);
  if (error) *error = why;
  return status;
}

static int on_progress(void *context, uint64_t blocks) {
  struct salvage *salvage = context;
  const struct wodan_salvage_options *options = salvage->options;
  uint64_t total = salvage->from.device.raw->geometry.size / salvage->from.superblock.block_size;
  if (!options->progress) return 0;
  return options->progress(options->context, blocks < total ? blocks : total, total) ? SALVAGE_STOPPED : 0;
}

/* ---- the new volume ------------------------------------------------------------------------------------------------ */

static int format(struct salvage *salvage, struct wodan_device *to, struct wodan_error *error) {
  const struct superblock *sb = &salvage->from.superblock;
  const struct wodan_format_options options = {.size = sizeof options,
                                               .force = salvage->options->force,
                                               .block_size = sb->block_size,
                                               .page_size = sb->page_size,
                                               .memtable_size = sb->memtable_size,
                                               .leaf_size = sb->leaf_size,
                                               .node_leaves = sb->node_leaves,
                                               .node_children = sb->node_children,
                                               .journal_size = sb->journal_blocks * sb->block_size,
                                               .compression = WODAN_COMPRESSION_OFF + sb->compression,
                                               .allocator = salvage->options->allocator,
                                               .hooks = salvage->options->hooks};
  int status = engine_format(to, &options, error);
  if (status == 0) status = volume_open(&salvage->to, to, &salvage->mem, false, 0, error);
  if (status < 0) return status;
  if (!salvage->to.root_count)
    return status_set(error, WODAN_EIO, 0, WODAN_NO_BLOCK, "the new volume cannot be read back");
  volume_use_root(&salvage->to, &salvage->to.roots[0]);
  status = writer_open(&salvage->writer, &salvage->to, &salvage->options->hooks, error);
  bulk_open(&salvage->bulk, &salvage->writer);
  return status;
}

static int publish(struct salvage *salvage, struct wodan_error *error) {
  struct bulk *bulk = &salvage->bulk;
  struct writer_root root = {.device_blocks = salvage->to.superblock.device_blocks};
  int status = bulk_finish(bulk, &root.root, error);
  root.sequence = bulk->sequence_max;
  if (status == 0) status = writer_publish(&salvage->writer, &root, false, error);
  if (status == 0) salvage->report->records = bulk->total;
  return status;
}

/* ---- orphans ------------------------------------------------------------------------------------------------------- */

static void own(void *context, const struct block_ptr *ptr, bool node) {
  (void)node;
  volume_mark(context, ptr);
}

/* The runs that the newest root's tree does not name and that hold keys of these spans; once. */
static int find_orphans(struct salvage *salvage, const struct spans *spans, struct wodan_error *error) {
  struct volume *from = &salvage->from;
  struct bitmap owned;
  if (salvage->orphans.volume) return 0;
  orphans_init(&salvage->orphans, from);
  if (!bitmap_init(&owned, &salvage->mem, from->device.raw->geometry.size / from->superblock.block_size))
    return status_nomem(error);
  int status = from->root_count ? volume_objects(from, &from->roots[0], own, &owned, error) : 0;
  if (status == 0) status = orphans_find(&salvage->orphans, &owned, spans, error);
  bitmap_release(&owned, &salvage->mem);
  salvage->report->runs_found = salvage->orphans.count;
  return status;
}

static int find_all_orphans(struct salvage *salvage, struct wodan_error *error) {
  struct span all = {0};
  const struct spans everything = {.at = &all, .count = 1};
  return find_orphans(salvage, &everything, error);
}

/* No root tells of these keys: the runs that are found do. */
static int on_no_tree(void *context, const struct span *span, struct iterator **it, struct wodan_error *error) {
  struct salvage *salvage = context;
  const struct loss loss = {
      .block = WODAN_NO_BLOCK, .span = *span, .why = "the runs that were found by their headers were merged"};
  int status = find_all_orphans(salvage, error);
  if (status == 0) status = spans_add(&salvage->answered, span, error);
  if (status < 0) return status;
  tell(salvage, FOUND_NO_ROOT_SALVAGED, &loss);
  *it = &salvage->orphans.base;
  return 0;
}

/* An orphan's value, large: read as a whole; *bytes NULL when it cannot be, for its blocks may be others' by now. */
static int read_large(struct salvage *salvage, const struct record *record, uint8_t **bytes, size_t *size) {
  struct volume *from = &salvage->from;
  const struct blob_source source = {
      .io = &from->io, .mem = &salvage->mem, .page_size = from->superblock.page_size, .key = record->key};
  struct blob_reader reader;
  struct blob_ref ref;
  *bytes = NULL;
  if (!blob_ref_decode(record->value.data, record->value.size, &from->io.bounds, &ref)) return 0;
  int status = blob_reader_open(&reader, &source, &ref, NULL);
  if (status < 0) return status == WODAN_ENOMEM ? status : 0;
  *size = (size_t)ref.size;
  *bytes = mem_alloc(&salvage->mem, ref.size);
  status = *bytes ? blob_reader_read(&reader, 0, *bytes, *size, NULL) : WODAN_ENOMEM;
  blob_reader_close(&reader);
  if (status == 0) return 0;
  mem_free(&salvage->mem, *bytes, *size);
  *bytes = NULL;
  return status == WODAN_ENOMEM ? status : 0;
}

/* A record that no tree names, of this generation (0: of the journal), at this block. */
static int tell_unnamed(struct salvage *salvage, const struct record *record, uint64_t generation, uint64_t block,
                        struct wodan_error *error) {
  struct wodan_orphan orphan = {.key = damage_user_key(record->key),
                                .value = record->value,
                                .sequence = record->sequence,
                                .generation = generation,
                                .block = block,
                                .deleted = record->kind == RECORD_DELETE || record->kind == RECORD_DELETE_RANGE,
                                .ranged = record->kind == RECORD_DELETE_RANGE};
  uint8_t *bytes = NULL;
  size_t size = 0;
  if (orphan.ranged) orphan.value = damage_user_key(record->value);
  if (record->kind == RECORD_BLOB) {
    if (read_large(salvage, record, &bytes, &size) < 0) return status_nomem(error);
    if (!bytes) return 0;
    orphan.value = (struct wodan_slice){bytes, size};
  }
  salvage->report->orphans++;
  salvage->options->orphan(salvage->options->context, &orphan);
  mem_free(&salvage->mem, bytes, size);
  return 0;
}

static int tell_orphan(struct salvage *salvage, struct wodan_error *error) {
  const struct orphans *orphans = &salvage->orphans;
  const struct record *record = &orphans->base.record;
  if (spans_hold(&salvage->answered, record->key)) return 0; /* it is in the new volume */
  return tell_unnamed(salvage, record, orphans->from->generation, orphans->from->block, error);
}

/* Tells the orphans below the key, and one of that very key when it is newer than the record. */
static int compare_record(void *context, const struct record *record, struct wodan_error *error) {
  struct salvage *salvage = context;
  struct iterator *it = &salvage->orphans.base;
  int status = 0;
  while (it->valid && status == 0) {
    int c = key_compare(it->record.key, record->key);
    if (c > 0) break;
    if (c < 0 || it->record.sequence > record->sequence) status = tell_orphan(salvage, error);
    if (status == 0) status = iterator_next(it, error);
  }
  return status;
}

static int unheard(void *context, const struct loss *loss, struct wodan_error *error) {
  (void)context, (void)loss, (void)error;
  return 0;
}

/* A lost span once more: what is in the new volume beside what lies about. */
static int tell_orphans_of(struct salvage *salvage, const struct span *span, struct wodan_error *error) {
  struct iterator *it = &salvage->orphans.base;
  const struct descent again = {.volume = &salvage->from,
                                .damage = &salvage->damage,
                                .span = *span,
                                .record = compare_record,
                                .lost = unheard,
                                .context = salvage};
  int status = span->has_lower ? iterator_seek(it, span->lower, error) : iterator_first(it, error);
  if (status == 0) status = descend(&again, error);
  while (status == 0 && it->valid && (!span->has_upper || key_compare(it->record.key, span->upper) < 0)) {
    status = tell_orphan(salvage, error);
    if (status == 0) status = iterator_next(it, error);
  }
  return status;
}

static int tell_orphans(struct salvage *salvage, struct wodan_error *error) {
  if (!salvage->lost.count) return 0;
  spans_sort(&salvage->lost);
  spans_sort(&salvage->answered);
  int status = find_orphans(salvage, &salvage->lost, error);
  for (size_t i = 0; i < salvage->lost.count && status == 0; i++)
    status = tell_orphans_of(salvage, &salvage->lost.at[i], error);
  return status;
}

static int tell_stray(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  struct salvage *salvage = context;
  const struct superblock *sb = &salvage->from.superblock;
  uint64_t place = block % superblock_ring_blocks(sb) * sb->journal_block_size / sb->block_size;
  return tell_unnamed(salvage, record, 0, 1 + place, error);
}

/* What the journal holds that no chain leads to, when it is broken: else nothing in it was acknowledged. */
static int tell_strays(struct salvage *salvage, struct wodan_error *error) {
  struct volume *from = &salvage->from;
  const struct volume_root *root = from->root_count ? &from->roots[0] : NULL;
  if (salvage->options->generation || (from->mounted && root && !root->broken)) return 0;
  const struct journal_replay strays = {.mark.tail = root ? root->mark.tail : 0,
                                        .covered = root ? root->sequence : 0,
                                        .apply = tell_stray,
                                        .context = salvage};
  return journal_strays(&from->journal, &strays, error);
}

/* ---- the records --------------------------------------------------------------------------------------------------- */

static int walk_trees(struct salvage *salvage, struct wodan_error *error) {
  const struct descent descent = {.volume = &salvage->from,
                                  .damage = &salvage->damage,
                                  .record = on_record,
                                  .lost = on_loss,
                                  .no_tree = on_no_tree,
                                  .progress = on_progress,
                                  .context = salvage};
  if (salvage->from.root_count) salvage->report->generation = salvage->from.roots[0].record.generation;
  return descend(&descent, error);
}

/* ---- without a superblock ------------------------------------------------------------------------------------------ */

static void look_at_pages(void *context, const struct block_ptr *ptr, bool node) {
  struct salvage *salvage = context;
  struct superblock *sb = &salvage->from.superblock;
  struct run_reader reader;
  bool valid = false;
  if (node || sb->compression) return;
  if (run_reader_open(&reader, &salvage->from.io, sb->page_size, ptr, NULL) == 0 && reader.pages &&
      run_reader_index(&reader, &valid, NULL) == 0 && valid && run_reader_packed(&reader))
    sb->compression = COMPRESSION_FAST; /* or harder: nothing tells */
  run_reader_release(&reader);
}

/* Nothing but its pages tells whether a volume without a superblock was compressed. */
static int guess_compression(struct salvage *salvage, struct wodan_error *error) {
  struct volume *from = &salvage->from;
  bool packed = false;
  if (from->root_count) return volume_objects(from, &from->roots[0], look_at_pages, salvage, error);
  int status = find_all_orphans(salvage, error);
  if (status == 0) status = orphans_packed(&salvage->orphans, &packed, error);
  if (packed) from->superblock.compression = COMPRESSION_FAST;
  return status;
}

static int without_superblock(struct salvage *salvage, struct wodan_error *error) {
  const struct loss loss = {.block = 0, .why = "block size and journal were found by what lies behind it"};
  tell(salvage, FOUND_NO_SUPERBLOCK, &loss);
  salvage->report->check.damages++; /* the check itself could not begin */
  const struct loss old = {.block = WODAN_NO_BLOCK, .why = "the journal does not lead to its newest root"};
  if (salvage->from.root_count && !salvage->from.mounted) tell(salvage, FOUND_KEYS_LOST, &old);
  return guess_compression(salvage, error);
}

/* ---- the whole ----------------------------------------------------------------------------------------------------- */

static int check_first(struct salvage *salvage, struct wodan_device *from, struct wodan_error *error) {
  const struct wodan_salvage_options *options = salvage->options;
  salvage->damage.finding = options->finding;
  salvage->damage.progress = options->progress;
  salvage->damage.context = options->context;
  const struct wodan_check_options check = {.size = sizeof check,
                                            .allocator = options->allocator,
                                            .context = &salvage->damage,
                                            .finding = damage_note,
                                            .progress = damage_progress,
                                            .memory_limit = options->memory_limit ? options->memory_limit : UINT64_MAX,
                                            .generation = options->generation};
  int status = check_image(from, &check, &salvage->report->check, error);
  if (status == WODAN_EFORMAT || status == WODAN_EIO) return 0; /* no superblock: the search will tell */
  if (status == 0 && salvage->damage.stopped) status = SALVAGE_STOPPED;
  return status == 0 && salvage->damage.out_of_memory ? status_nomem(error) : status;
}

static int run(struct salvage *salvage, struct wodan_device *from, struct wodan_device *to, struct wodan_error *error) {
  int status = check_first(salvage, from, error);
  if (status == 0) status = volume_open(&salvage->from, from, &salvage->mem, true, salvage->options->generation, error);
  if (status == 0 && salvage->from.searched) status = without_superblock(salvage, error);
  if (status == 0) status = format(salvage, to, error);
  if (status == 0) status = walk_trees(salvage, error);
  if (status == 0) status = publish(salvage, error);
  if (status == 0 && salvage->options->orphan) status = tell_orphans(salvage, error);
  if (status == 0 && salvage->options->orphan) status = tell_strays(salvage, error);
  return status;
}

int salvage_image(struct wodan_device *from, struct wodan_device *to, const struct wodan_salvage_options *options,
                  struct wodan_salvage_report *report, struct wodan_error *error) {
  struct salvage salvage = {.options = options, .report = report};
  memset(report, 0, sizeof *report);
  mem_init(&salvage.mem, &options->allocator);
  salvage.mem.limit = options->memory_limit < SIZE_MAX ? (size_t)options->memory_limit : 0;
  salvage.damage.mem = salvage.lost.mem = salvage.answered.mem = &salvage.mem;
  int status = run(&salvage, from, to, error);
  orphans_release(&salvage.orphans);
  if (salvage.writer.volume) {
    bulk_release(&salvage.bulk);
    writer_release(&salvage.writer);
  }
  if (salvage.to.mem) volume_release(&salvage.to);
  if (salvage.from.mem) volume_release(&salvage.from);
  spans_release(&salvage.lost);
  spans_release(&salvage.answered);
  damage_release(&salvage.damage);
  assert(mem_used(&salvage.mem) == 0);
  report->complete = status == 0;
  if (status == WODAN_ENOMEM && mem_refused(&salvage.mem))
    status =
        status_set(error, WODAN_EBUDGET, 0, WODAN_NO_BLOCK, "salvage needs more memory than the %llu bytes it may take",
                   (unsigned long long)options->memory_limit);
  return status < 0 ? status : 0;
}
