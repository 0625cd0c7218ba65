/* Owns: the handle: superblock, copy and roots as they were found, how damage leaves, wodan_inspect_open to _summary.
 *
 * Always true: only device_read is reached from this folder; damage behind the superblock never fails an open; what the
 * newest root is (as an open would find it, an older one in its place, or the one asked for) is decided once, here.
 *
 * Order: superblock, journal, the copy at the end of the volume that the newest root tells, then the replay is counted.
 *
 * See: include/wodan/inspect.h; tests/unit/test_inspect.c. */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "codec/checksum.h"
#include "inspect/inspect_private.h"
#include "io/superblock_find.h"

/* ---- damage ------------------------------------------------------------------------------------------------------ */

void inspect_damage(struct wodan_inspect *inspect, uint64_t block, uint64_t generation, const char *format, ...) {
  char message[320];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  inspect->damages++;
  struct wodan_damage damage = {.block = block, .generation = generation, .message = message};
  if (inspect->options.damage) inspect->options.damage(inspect->options.context, &damage);
}

int inspect_failed(struct wodan_inspect *inspect, const struct wodan_error *failure, uint64_t block,
                   uint64_t generation) {
  assert(failure->code < 0);
  if (failure->code == WODAN_ENOMEM) return WODAN_ENOMEM;
  if (failure->block != WODAN_NO_BLOCK) block = failure->block;
  inspect_damage(inspect, block, generation, "%s", failure->message);
  return 0;
}

/* ---- superblock -------------------------------------------------------------------------------------------------- */

static int find_superblock(struct wodan_inspect *inspect, struct wodan_error *error) {
  const struct wodan_geometry *geometry = &inspect->device.raw->geometry;
  struct superblock_found found;
  int status = superblock_find(&inspect->device, &inspect->mem, &found, error);
  if (status < 0) return status;
  inspect->superblock = found.superblock;
  if (found.copy) {
    inspect->superblock_state = WODAN_SUPERBLOCK_COPY;
    inspect_damage(inspect, 0, 0, "block 0 holds no valid superblock (%s); the copy at the end was used",
                   found.why.message);
  }
  if (geometry->sector > inspect->superblock.sector)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK,
                      "the device has sectors of %u bytes, the volume was made for %u: it cannot be read through it",
                      (unsigned)geometry->sector, (unsigned)inspect->superblock.sector);
  return 0;
}

/* The copy at the end of the volume, when block 0 was used. */
static int judge_copy(struct wodan_inspect *inspect, struct wodan_error *error) {
  const struct superblock *sb = &inspect->superblock;
  struct superblock_there copy;
  uint8_t expected[SUPERBLOCK_SIZE];
  if (inspect->device_blocks < inspect->volume_blocks) { /* guard: bounds */
    inspect->superblock_state = WODAN_SUPERBLOCK_NO_COPY;
    inspect_damage(inspect, inspect->device_blocks, 0,
                   "the device is shorter than the volume on it: %" PRIu64 " blocks instead of %" PRIu64,
                   inspect->device_blocks, inspect->volume_blocks);
    return 0;
  }
  if (inspect->superblock_state == WODAN_SUPERBLOCK_COPY) return 0;
  uint64_t offset = inspect->volume_blocks * sb->block_size - SUPERBLOCK_SIZE;
  int status = superblock_read(&inspect->device, &inspect->mem, offset, &copy);
  superblock_encode(sb, expected);
  if (status == WODAN_ENOMEM) return status_nomem(error);
  if (status == 0 && memcmp(copy.bytes, expected, sizeof expected) == 0) return 0; /* guard: bounds, passes */
  inspect->superblock_state = WODAN_SUPERBLOCK_FIRST;
  inspect_damage(inspect, inspect->volume_blocks - 1, 0, "the superblock's copy at the end of the volume %s%s",
                 status < 0 ? "is not valid: " : "differs from block 0", status < 0 ? copy.why.message : "");
  return 0;
}

/* ---- roots ------------------------------------------------------------------------------------------------------- */

static void volume_setup(struct wodan_inspect *inspect) {
  const struct superblock *sb = &inspect->superblock;
  inspect->device_blocks = inspect->device.raw->geometry.size / sb->block_size;
  inspect->volume_blocks = sb->device_blocks;
  inspect->io = (struct block_io){.device = &inspect->device, .mem = &inspect->mem, .seed = checksum_seed(sb->fsid)};
  memcpy(inspect->io.fsid, sb->fsid, sizeof inspect->io.fsid);
  uint64_t most = inspect->device_blocks > sb->device_blocks ? inspect->device_blocks : sb->device_blocks;
  inspect->io.bounds = (struct volume_bounds){
      .block_size = sb->block_size, .data_first = superblock_data_first(sb), .data_end = most - 1};
}

/* As an open would, or an older root, or the one that was asked for. 0 also when there is none. */
static int find_roots(struct wodan_inspect *inspect, struct wodan_error *error) {
  struct journal_mounted *m = &inspect->mounted;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  uint64_t wanted = inspect->options.generation;
  int status = 0;
  inspect->has_mounted = journal_mount(&inspect->journal, &inspect->io.bounds, m, &failure) == 0;
  inspect->has_root = inspect->has_mounted;
  if (!inspect->has_mounted) status = inspect_failed(inspect, &failure, WODAN_NO_BLOCK, 0);
  if (status < 0) return status_nomem(error);
  if (wanted && !(inspect->has_root && m->newest.generation == wanted)) {
    inspect->has_root = inspect->has_mounted = false;
    *m = (struct journal_mounted){0};
    status = journal_root_of_generation(&inspect->journal, &inspect->io.bounds, wanted, m, error);
    inspect->has_root = status == 0;
    return status == WODAN_ECORRUPT ? status_set(error, WODAN_ENOTFOUND, 0, WODAN_NO_BLOCK, "%s",
                                                 "no root of that generation is whole in the journal")
                                    : status;
  }
  if (inspect->has_root) return 0;
  *m = (struct journal_mounted){0};
  status = journal_older_root(&inspect->journal, &inspect->io.bounds, NULL, m, &failure);
  inspect->has_root = status == 0;
  if (status < 0) status = inspect_failed(inspect, &failure, WODAN_NO_BLOCK, 0);
  return status < 0 ? status_nomem(error) : 0;
}

struct replay_count {
  struct wodan_inspect *inspect;
  uint64_t record; /* journal block of the last one */
};

static int count_operation(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  struct replay_count *count = context;
  (void)record, (void)error;
  if (count->inspect->replay_operations++ == 0 || count->record != block) count->inspect->replay_records++;
  count->record = block;
  return 0;
}

int inspect_replay(struct wodan_inspect *inspect, uint32_t which, journal_apply *apply, void *context,
                   struct wodan_error *error) {
  const struct journal_mounted *m = &inspect->mounted;
  bool older = which == WODAN_OLDER_ROOT;
  const struct checkpoint_record *root = inspect_root(inspect, which);
  if (!root) return 0;
  struct journal_replay replay = {.mark = older ? m->older_mark : m->newest_mark,
                                  .head = m->head,
                                  .covered = root->sequence,
                                  .stop_at_checkpoint = older || !inspect->has_mounted,
                                  .apply = apply,
                                  .context = context};
  return journal_replay(&inspect->journal, &replay, error);
}

static int judge_roots(struct wodan_inspect *inspect, struct wodan_error *error) {
  const struct journal_mounted *m = &inspect->mounted;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  if (!inspect->has_root) return 0;
  inspect->volume_blocks = m->newest.device_blocks;
  if (m->newest.incompat & ~(uint64_t)FEATURES_KNOWN)
    return status_set(error, WODAN_EVERSION, 0, WODAN_NO_BLOCK,
                      "the newest root uses unknown features (incompat flags 0x%" PRIx64 ")", m->newest.incompat);
  if (!m->has_older && m->older_problem[0])
    inspect_damage(inspect, WODAN_NO_BLOCK, 0, "the previous root is lost: %s", m->older_problem);
  struct replay_count count = {.inspect = inspect};
  int status = inspect_replay(inspect, WODAN_NEWEST_ROOT, count_operation, &count, &failure);
  inspect->sequence = m->newest.sequence + inspect->replay_operations;
  if (status < 0) status = inspect_failed(inspect, &failure, WODAN_NO_BLOCK, m->newest.generation);
  return status < 0 ? status_nomem(error) : 0;
}

static int open_image(struct wodan_inspect *inspect, struct wodan_error *error) {
  const struct superblock *sb = &inspect->superblock;
  int status = find_superblock(inspect, error);
  if (status < 0) return status;
  volume_setup(inspect);
  inspect->proof = (struct blob_source){.io = &inspect->io, .mem = &inspect->mem, .page_size = sb->page_size};
  struct journal_setup setup = {.mem = &inspect->mem,
                                .device = &inspect->device,
                                .fsid = sb->fsid,
                                .seed = inspect->io.seed,
                                .block_size = sb->journal_block_size,
                                .device_block = sb->block_size,
                                .blocks = superblock_ring_blocks(sb),
                                .proof = blob_proof(&inspect->proof)};
  status = journal_init(&inspect->journal, &setup, error);
  if (status == 0) status = find_roots(inspect, error);
  if (status == 0) status = judge_roots(inspect, error);
  return status == 0 ? judge_copy(inspect, error) : status;
}

const struct checkpoint_record *inspect_root(struct wodan_inspect *inspect, uint32_t which) {
  const struct journal_mounted *m = &inspect->mounted;
  if (!inspect->has_root || (which == WODAN_OLDER_ROOT && !m->has_older)) return NULL;
  const struct checkpoint_record *record = which == WODAN_OLDER_ROOT ? &m->older : &m->newest;
  assert(record->device_blocks > inspect->io.bounds.data_first + 1);
  inspect->io.bounds.data_end = record->device_blocks - 1;
  return record;
}

uint64_t inspect_ring_place(const struct wodan_inspect *inspect, uint64_t position) {
  const struct superblock *sb = &inspect->superblock;
  return 1 + position * sb->journal_block_size / sb->block_size;
}

struct wodan_root inspect_root_of(const struct wodan_inspect *inspect, const struct checkpoint_record *record,
                                  const struct checkpoint_mark *mark) {
  uint64_t position = mark->sequence % superblock_ring_blocks(&inspect->superblock);
  bool empty = record->root.generation == 0;
  return (struct wodan_root){.generation = record->generation,
                             .sequence = record->sequence,
                             .journal_block = mark->sequence,
                             .block = inspect_ring_place(inspect, position),
                             .tail = record->tail,
                             .previous = record->previous,
                             .blocks = record->device_blocks,
                             .tree_block = empty ? WODAN_NO_BLOCK : record->root.extents[0].first,
                             .tree_generation = record->root.generation};
}

/* ---- the public functions ---------------------------------------------------------------------------------------- */

int wodan_inspect_open(struct wodan_device *device, const struct wodan_inspect_options *options,
                       struct wodan_inspect **inspect, struct wodan_error *error) {
  struct wodan_inspect_options whole = {.size = sizeof whole};
  struct wodan_error unheard;
  struct mem mem;
  if (!error) error = &unheard;
  *error = (struct wodan_error){.block = WODAN_NO_BLOCK};
  if (!device || !inspect || (options && options->size && options->size < sizeof whole))
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK,
                      "wodan_inspect_open: device or handle is missing, or options are of another version");
  *inspect = NULL;
  if (options) whole = *options;
  mem_init(&mem, &whole.allocator);
  struct wodan_inspect *made = mem_zalloc(&mem, sizeof *made);
  if (!made) return status_nomem(error);
  made->options = whole;
  mem_init(&made->mem, &whole.allocator);
  int status = device_init(&made->device, device, error);
  if (status == 0) status = open_image(made, error);
  if (status < 0)
    wodan_inspect_close(made);
  else
    *inspect = made;
  return status;
}

void wodan_inspect_close(struct wodan_inspect *inspect) {
  if (!inspect) return;
  if (inspect->journal.mem) journal_release(&inspect->journal);
  assert(inspect->mem.used == 0);
  struct mem mem;
  mem_init(&mem, &inspect->options.allocator);
  mem_free(&mem, inspect, sizeof *inspect);
}

int wodan_inspect_summary(const struct wodan_inspect *inspect, struct wodan_summary *summary) {
  if (!inspect || !summary) return WODAN_EINVAL;
  const struct superblock *sb = &inspect->superblock;
  const struct journal_mounted *m = &inspect->mounted;
  size_t size = summary->size && summary->size < sizeof *summary ? summary->size : sizeof *summary;
  struct wodan_summary whole = {.size = (uint32_t)size,
                                .format_version = sb->version,
                                .compat = sb->compat,
                                .read_only_compat = sb->read_only_compat,
                                .incompat = sb->incompat,
                                .device_size = inspect->device.raw->geometry.size,
                                .blocks_at_format = sb->device_blocks,
                                .blocks = inspect->volume_blocks,
                                .data_first = superblock_data_first(sb),
                                .data_end = inspect->volume_blocks - 1,
                                .block_size = sb->block_size,
                                .sector = sb->sector,
                                .page_size = sb->page_size,
                                .leaf_size = sb->leaf_size,
                                .step_size = sb->step_size,
                                .node_leaves = sb->node_leaves,
                                .node_children = sb->node_children,
                                .compression = sb->compression + WODAN_COMPRESSION_OFF,
                                .journal_block_size = sb->journal_block_size,
                                .memtable_size = sb->memtable_size,
                                .journal_blocks = sb->journal_blocks,
                                .ring = superblock_ring_blocks(sb),
                                .superblock_state = inspect->superblock_state,
                                .journal_mounted = inspect->has_mounted,
                                .journal_linear = m->linear,
                                .has_root = inspect->has_root,
                                .head = m->head,
                                .epoch = m->epoch_max.number,
                                .replay_records = inspect->replay_records,
                                .replay_operations = inspect->replay_operations,
                                .sequence = inspect->sequence,
                                .damages = inspect->damages};
  memcpy(whole.fsid, sb->fsid, sizeof whole.fsid);
  if (inspect->has_root) whole.newest = inspect_root_of(inspect, &m->newest, &m->newest_mark);
  if (inspect->has_root && m->has_older) whole.older = inspect_root_of(inspect, &m->older, &m->older_mark);
  memcpy(summary, &whole, size);
  return 0;
}
