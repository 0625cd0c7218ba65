/* Owns: the order of a repair in place: check, plan, tree, checkpoint record, superblocks, check.
 *
 * Always true: what is done is told, and nothing else is done; a dry run takes the same way without a writer; while lossy
 * damage is left, the roots stay as they are, for the older one may be what a later repair stands on.
 *
 * Order: a writing repair flushes the device before it reads (as a mount does); the superblocks come last, for both are
 * equal in what the tree needs.
 *
 * See: include/wodan/repair.h; DESIGN.md "Repair"; tests/unit/test_repair.c, test_repair_crash.c. */
#include "repair/inplace.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "check/check.h"
#include "repair/rewrite.h"

enum { REPAIR_STOPPED = 1, ROUNDS_MAX = 8 };

struct repair {
  const struct wodan_repair_options *options;
  struct wodan_repair_report *report;
  struct wodan_device *raw;
  struct mem mem;
  struct damage damage;
  struct volume volume;
  struct writer writer;
  struct rewrite rewrite;
  uint32_t base;              /* the root whose tree is to be the new one */
  bool older, journal, again; /* an older root; the journal ends here; both roots anew */
};

static bool lossy(const struct repair *repair) { return repair->options->allowed == WODAN_REPAIR_LOSSY; }

/* ---- what is told -------------------------------------------------------------------------------------------------- */

static void on_step(void *context, const struct wodan_repair_step *step) {
  struct repair *repair = context;
  repair->report->steps++;
  if (repair->options->step) repair->options->step(repair->options->context, step);
}

static void tell(struct repair *repair, enum wodan_repair_kind kind, uint64_t block, uint64_t generation,
                 const char *message) {
  const struct wodan_repair_step step = {.kind = kind, .block = block, .generation = generation, .message = message};
  on_step(repair, &step);
}

static int on_loss(void *context, const struct loss *loss, struct wodan_error *error) {
  struct repair *repair = context;
  (void)error;
  repair->report->losses++;
  damage_tell_loss(FOUND_KEYS_LOST, loss, repair->options->finding, repair->options->context);
  return 0;
}

/* ---- the check ----------------------------------------------------------------------------------------------------- */

static int check(struct repair *repair, uint64_t generation, bool aloud, struct wodan_check_report *report,
                 struct wodan_error *error) {
  const struct wodan_repair_options *options = repair->options;
  damage_release(&repair->damage);
  repair->damage = (struct damage){.mem = &repair->mem,
                                   .finding = aloud ? options->finding : NULL,
                                   .progress = options->progress,
                                   .context = options->context};
  const struct wodan_check_options wish = {.size = sizeof wish,
                                           .allocator = options->allocator,
                                           .context = &repair->damage,
                                           .finding = damage_note,
                                           .progress = damage_progress,
                                           .memory_limit = options->memory_limit ? options->memory_limit : UINT64_MAX,
                                           .generation = generation};
  int status = check_image(repair->raw, &wish, report, error);
  if (status == 0 && repair->damage.out_of_memory) status = status_nomem(error);
  return status == 0 && repair->damage.stopped ? REPAIR_STOPPED : status;
}

/* ---- the plan ------------------------------------------------------------------------------------------------------ */

/* The first root whose top node can be read. false: there is none. WODAN_ENOMEM. */
static int find_base(struct repair *repair, bool *found, struct wodan_error *error) {
  struct volume *volume = &repair->volume;
  *found = false;
  for (uint32_t i = 0; i < volume->root_count && !*found; i++) {
    const struct block_ptr *root = &volume->roots[i].record.root;
    struct node_image image;
    volume_use_root(volume, &volume->roots[i]);
    int status = root->generation ? node_image_read(&volume->io, root, &image, NULL) : 0;
    if (status == WODAN_ENOMEM) return status_nomem(error);
    if (status < 0) continue;
    if (root->generation) node_image_release(&image);
    repair->base = i;
    *found = true;
  }
  return 0;
}

/* *possible: the tree can be worked on. */
static int plan(struct repair *repair, uint64_t generation, bool *possible, struct wodan_error *error) {
  struct volume *volume = &repair->volume;
  struct damage *damage = &repair->damage;
  int status = find_base(repair, possible, error);
  if (status < 0 || !*possible) return status;
  repair->older = repair->base > 0 || (generation && generation != volume->end.newest.generation);
  repair->journal = damage->journal || !volume->mounted;
  repair->again = damage->previous;
  if (!lossy(repair) && (repair->older || repair->journal || damage->counts[WODAN_REPAIR_LOSSY])) *possible = false;
  if (!*possible || !repair->base) return 0;
  struct wodan_check_report unread;
  return check(repair, volume->roots[repair->base].record.generation, false, &unread, error);
}

/* ---- the tree ------------------------------------------------------------------------------------------------------ */

struct claiming {
  struct repair *repair;
  uint64_t nodes, largest; /* blocks */
};

static void claim(void *context, const struct block_ptr *ptr, bool node) {
  struct claiming *claiming = context;
  uint64_t blocks = block_ptr_blocks(ptr) + 1; /* a run more may stand in it */
  if (claiming->repair->options->dry_run) return;
  writer_claim(&claiming->repair->writer, ptr);
  if (!node) return;
  claiming->nodes += blocks;
  if (blocks > claiming->largest) claiming->largest = blocks;
}

static void own(void *context, const struct block_ptr *ptr, bool node) {
  struct repair *repair = context;
  (void)node;
  volume_mark(&repair->rewrite.owned, ptr);
}

static int claim_record(struct claiming *claiming, const struct checkpoint_record *record, struct wodan_error *error) {
  const struct volume_root root = {.record = *record};
  claiming->nodes = claiming->largest = 0;
  return volume_objects(&claiming->repair->volume, &root, claim, claiming, error);
}

/* Large values too: of the roots that are used, and of the one before. Where a list of the new tree's cannot be read nothing
 * may be written; what only another root names is kept as far as it can be told. */
static int claim_blobs(struct claiming *claiming, struct wodan_error *error) {
  struct volume *volume = &claiming->repair->volume;
  uint32_t end = claiming->repair->rewrite.roots_end, least = volume->root_count < 2 ? volume->root_count : 2;
  int status = 0;
  if (!(volume->superblock.incompat & FEATURE_BLOBS)) return 0;
  for (uint32_t i = 0; i < (end > least ? end : least) && status == 0; i++) {
    struct wodan_error why = {0};
    status = volume_blobs(volume, &volume->roots[i], claim, claiming, &why);
    if (status == WODAN_ENOMEM) return status_nomem(error);
    if (status < 0 && i != claiming->repair->base)
      status = 0;
    else if (status < 0)
      status = status_corrupt(error, why.block, "where large values lie cannot be told, so only a salvage is safe: %s",
                              why.message); /* no guard: told before */
  }
  return status;
}

/* Blocks that the new tree may take over are not written, nor those of the roots that an open would use; what the nodes of the
 * new tree need is kept for them. */
static int begin_writing(struct repair *repair, struct wodan_error *error) {
  struct volume *volume = &repair->volume;
  struct claiming claiming = {.repair = repair};
  volume_use_root(volume, &volume->roots[0]);
  int status = writer_open(&repair->writer, volume, &repair->options->hooks, error);
  if (status == 0) status = claim_record(&claiming, &volume->end.newest, error);
  if (status == 0 && volume->end.has_older) status = claim_record(&claiming, &volume->end.older, error);
  for (uint32_t i = repair->rewrite.roots_end; i > repair->base && status == 0; i--)
    status = claim_record(&claiming, &volume->roots[i - 1].record, error);
  if (status == 0) status = claim_blobs(&claiming, error);
  if (status == 0) status = volume_rejected(volume, claim, &claiming, error);
  if (status < 0) return status;
  uint64_t most = space_counts(repair->writer.space).free / 2;
  space_set_reserve(repair->writer.space, claiming.nodes < most ? claiming.nodes : most, claiming.largest);
  repair->rewrite.writer = &repair->writer;
  return 0;
}

/* The operations that belong on top of the new tree, oldest first, when they cannot stay in the journal. */
static int take_journal(struct repair *repair, struct memtable *tables[REWRITE_TABLES_MAX], struct wodan_error *error) {
  struct volume *volume = &repair->volume;
  tables[0] = tables[1] = NULL;
  if (!repair->older && !repair->journal) return 0;
  int status = volume_replay(volume, &volume->roots[repair->base], error);
  if (status == 0) status = volume_replay(volume, &volume->roots[0], error);
  tables[0] = volume->roots[repair->base].table;
  if (repair->base) tables[1] = volume->roots[0].table;
  return status;
}

static void tell_roots(struct repair *repair) {
  const struct volume *volume = &repair->volume;
  uint64_t generation = volume->roots[repair->base].record.generation;
  if (repair->older)
    tell(repair, WODAN_REPAIR_OLDER_ROOT, WODAN_NO_BLOCK, generation, "an older root takes the place of the newest");
  if (repair->journal)
    tell(repair, WODAN_REPAIR_JOURNAL, WODAN_NO_BLOCK, generation,
         "the journal ends where it can be replayed to; what lies behind is given up");
  if (repair->again)
    tell(repair, WODAN_REPAIR_ROOT, WODAN_NO_BLOCK, generation,
         "the root is published anew, so that the root before it is whole too");
}

/* Greatest of all that is known, so that no number of an operation is given twice. */
static uint64_t last_sequence(const struct volume *volume) {
  uint64_t last = volume->end.newest.sequence;
  for (uint32_t i = 0; i < volume->root_count; i++)
    if (volume->roots[i].sequence > last) last = volume->roots[i].sequence;
  return last;
}

static int publish(struct repair *repair, const struct block_ptr *root, struct wodan_error *error) {
  const struct volume *volume = &repair->volume;
  const struct volume_root *base = &volume->roots[repair->base];
  bool moved = repair->older || repair->journal;
  const struct writer_root wish = {.root = *root,
                                   .catalog = base->record.catalog,
                                   .sequence = moved ? last_sequence(volume) : base->record.sequence,
                                   .tail = moved ? 0 : base->mark.tail,
                                   .device_blocks = base->record.device_blocks};
  return writer_publish(&repair->writer, &wish, !repair->rewrite.no_room, error);
}

/* The tree and the root before it: of older ones any block may have been written again. */
static uint32_t roots_end(const struct repair *repair) {
  uint32_t count = repair->volume.root_count;
  return count < repair->base + 2 ? count : repair->base + 2;
}

static int repair_tree(struct repair *repair, struct wodan_error *error) {
  struct volume *volume = &repair->volume;
  struct memtable *tables[REWRITE_TABLES_MAX];
  struct block_ptr root;
  uint64_t steps = repair->report->steps;
  repair->rewrite = (struct rewrite){.volume = volume,
                                     .damage = &repair->damage,
                                     .roots_end = roots_end(repair),
                                     .allowed = repair->options->allowed,
                                     .lost = on_loss,
                                     .step = on_step,
                                     .context = repair};
  uint64_t blocks = repair->raw->geometry.size / volume->superblock.block_size;
  if (!bitmap_init(&repair->rewrite.owned, &repair->mem, blocks)) return status_nomem(error);
  int status = volume_objects(volume, &volume->roots[repair->base], own, repair, error);
  if (status == 0)
    status = repair->options->dry_run ? claim_blobs(&(struct claiming){.repair = repair}, error)
                                      : begin_writing(repair, error);
  if (status == 0) status = take_journal(repair, tables, error);
  if (status < 0) return status;
  tell_roots(repair);
  status = rewrite_tree(&repair->rewrite, repair->base, tables, &root, error);
  if (status == 0 && !repair->options->dry_run && repair->report->steps > steps) status = publish(repair, &root, error);
  if (status < 0) repair->report->steps = steps; /* nothing names what was written */
  return status;
}

/* ---- the superblocks ----------------------------------------------------------------------------------------------- */

static int write_superblock(struct repair *repair, uint64_t block, size_t at, struct wodan_error *error) {
  const struct superblock *sb = &repair->volume.superblock;
  uint8_t *bytes = mem_alloc_aligned(&repair->mem, sb->block_size, BLOCK_IO_ALIGNMENT);
  if (!bytes) return status_nomem(error);
  memset(bytes, 0, sb->block_size);
  superblock_encode(sb, bytes + at);
  int status = device_write(&repair->volume.device, block * sb->block_size, bytes, sb->block_size, error);
  if (status == 0) status = device_flush(&repair->volume.device, error);
  mem_free(&repair->mem, bytes, sb->block_size);
  return status;
}

static int repair_superblocks(struct repair *repair, bool block0, bool copy, struct wodan_error *error) {
  const struct superblock *sb = &repair->volume.superblock;
  uint64_t last = repair->report->before.blocks - 1;
  bool dry = repair->options->dry_run;
  int status = 0;
  if (block0) {
    tell(repair, WODAN_REPAIR_SUPERBLOCK, 0, 0, "the superblock in block 0 is written again from the copy");
    if (!dry) status = write_superblock(repair, 0, 0, error);
  }
  if (copy && status == 0) {
    tell(repair, WODAN_REPAIR_SUPERBLOCK, last, 0, "the superblock's copy is written again from block 0");
    if (!dry) status = write_superblock(repair, last, sb->block_size - SUPERBLOCK_SIZE, error);
  }
  return status;
}

/* ---- the whole ----------------------------------------------------------------------------------------------------- */

static void end_round(struct repair *repair) {
  if (repair->rewrite.owned.size) bitmap_release(&repair->rewrite.owned, &repair->mem);
  if (repair->writer.volume) writer_release(&repair->writer);
  if (repair->volume.mem) volume_release(&repair->volume);
  repair->rewrite = (struct rewrite){0};
  repair->writer = (struct writer){0};
  memset(&repair->volume, 0, sizeof repair->volume);
}

/* From a check to what is done about it. *again: something was done, and something had no room: what was given up makes some. */
static int round_of_repair(struct repair *repair, uint64_t generation, bool *again, struct wodan_error *error) {
  const struct wodan_repair_options *options = repair->options;
  bool possible = false, block0 = repair->damage.block0, copy = repair->damage.copy;
  uint64_t steps = repair->report->steps;
  int status = volume_open(&repair->volume, repair->raw, &repair->mem, false, generation, error);
  if (status == 0) status = plan(repair, generation, &possible, error);
  if (status == 0 && possible) status = repair_tree(repair, error);
  *again = status == 0 && repair->rewrite.no_room && repair->report->steps > steps && !options->dry_run;
  if (status == 0) status = repair_superblocks(repair, block0, copy, error);
  end_round(repair);
  return status;
}

static int run(struct repair *repair, struct wodan_error *error) {
  const struct wodan_repair_options *options = repair->options;
  struct wodan_repair_report *report = repair->report;
  uint64_t generation = options->generation;
  int status = device_init(&repair->volume.device, repair->raw, error);
  if (status == 0 && !options->dry_run) status = device_flush(&repair->volume.device, error);
  if (status == 0) status = check(repair, generation, true, &report->before, error);
  report->after = report->before;
  if (status) return status;
  bool again = repair->damage.counts[WODAN_REPAIR_SALVAGE] == 0; /* else in place it could only become worse */
  if (report->before.damages + report->before.warnings == 0 && !generation) again = false;
  for (uint32_t round = 0; round < ROUNDS_MAX && again && status == 0; round++, generation = 0) {
    uint64_t steps = report->steps;
    status = round_of_repair(repair, generation, &again, error);
    if (status || options->dry_run || report->steps == steps) break;
    status = check(repair, 0, false, &report->after, error);
  }
  return status;
}

int repair_image(struct wodan_device *device, const struct wodan_repair_options *options,
                 struct wodan_repair_report *report, struct wodan_error *error) {
  struct repair repair = {.options = options, .report = report, .raw = device};
  memset(report, 0, sizeof *report);
  mem_init(&repair.mem, &options->allocator);
  repair.mem.limit = options->memory_limit < SIZE_MAX ? (size_t)options->memory_limit : 0;
  repair.damage.mem = &repair.mem;
  int status = 0;
  if (device->geometry.read_only && !options->dry_run)
    status = status_set(error, WODAN_EREADONLY, 0, WODAN_NO_BLOCK, "the device is read-only");
  if (status == 0) status = run(&repair, error);
  damage_release(&repair.damage);
  assert(mem_used(&repair.mem) == 0);
  report->complete = status == 0;
  if (status == WODAN_ENOMEM && mem_refused(&repair.mem))
    status = status_set(error, WODAN_EBUDGET, 0, WODAN_NO_BLOCK,
                        "the repair needs more memory than the %llu bytes it may take",
                        (unsigned long long)options->memory_limit);
  return status < 0 ? status : 0;
}
