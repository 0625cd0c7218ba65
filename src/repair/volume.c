/* Owns: finding what of a volume can be read: superblock, roots, and the journal's operations behind each.
 *
 * Always true: nothing is written; a root is listed only when its record is intact and the chain from its tail to it is
 * whole; the newest stands first.
 *
 * Order: as a mount; where that fails, the newest checkpoint record with a whole chain, as for an older root.
 *
 * See: FORMAT.md "Mount" step 7; tests/unit/test_repair.c. */
#include "repair/volume.h"

#include "format/blob.h"
#include "run/run.h"

#include <assert.h>
#include <string.h>
#include "codec/checksum.h"
#include "io/superblock_find.h"
#include "repair/search.h"
#include "tree/walk.h"

static int open_journal(struct volume *volume, struct wodan_error *error) {
  const struct superblock *sb = &volume->superblock;
  volume->proof = (struct blob_source){.io = &volume->io, .mem = volume->mem, .page_size = sb->page_size};
  struct journal_setup setup = {.mem = volume->mem,
                                .device = &volume->device,
                                .fsid = sb->fsid,
                                .seed = volume->io.seed,
                                .block_size = sb->journal_block_size,
                                .device_block = sb->block_size,
                                .blocks = superblock_ring_blocks(sb),
                                .proof = blob_proof(&volume->proof)};
  return journal_init(&volume->journal, &setup, error);
}

static void add_root(struct volume *volume, const struct journal_mounted *mounted, bool to_head) {
  assert(volume->root_count < VOLUME_ROOTS_MAX);
  volume->roots[volume->root_count++] = (struct volume_root){.record = mounted->newest,
                                                             .mark = mounted->newest_mark,
                                                             .head = mounted->head,
                                                             .to_head = to_head,
                                                             .sequence = mounted->newest.sequence};
}

static int find_roots(struct volume *volume, uint64_t generation, struct wodan_error *error) {
  struct journal *journal = &volume->journal;
  const struct volume_bounds *bounds = &volume->io.bounds;
  struct journal_mounted found = {0};
  volume->mounted = journal_mount(journal, bounds, &volume->end, NULL) == 0;
  if (!volume->mounted) {
    volume->end = (struct journal_mounted){0};
    if (journal_older_root(journal, bounds, NULL, &volume->end, NULL) < 0) return 0;
    volume->end.debris = true; /* not known: what lies at the head is cleared before it is written over */
  }
  if (generation && generation != volume->end.newest.generation) {
    if (journal_root_of_generation(journal, bounds, generation, &found, NULL) < 0)
      return status_set(error, WODAN_ENOTFOUND, 0, WODAN_NO_BLOCK, "no root of generation %llu is whole in the journal",
                        (unsigned long long)generation);
    add_root(volume, &found, false);
  } else {
    add_root(volume, &volume->end, volume->mounted);
  }
  while (volume->root_count < VOLUME_ROOTS_MAX) {
    struct checkpoint_mark below = volume->roots[volume->root_count - 1].mark;
    if (journal_older_root(journal, bounds, &below, &found, NULL) < 0) break;
    add_root(volume, &found, false);
  }
  return 0;
}

int volume_open(struct volume *volume, struct wodan_device *raw, struct mem *mem, bool search, uint64_t generation,
                struct wodan_error *error) {
  struct superblock_found found;
  bool ring = true;
  memset(volume, 0, sizeof *volume);
  volume->mem = mem;
  int status = device_init(&volume->device, raw, error);
  if (status == 0) status = superblock_find(&volume->device, mem, &found, error);
  if (status == 0) volume->superblock = found.superblock;
  if (search && (status == WODAN_EFORMAT || status == WODAN_ECORRUPT || status == WODAN_EIO)) {
    status = search_superblock(&volume->device, mem, &volume->superblock, &ring, error);
    volume->searched = true;
  }
  if (status < 0) return status;
  const struct superblock *sb = &volume->superblock;
  if (raw->geometry.sector > sb->sector)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK,
                      "the device has sectors of %u bytes, the volume was made for %u: it cannot be read through it",
                      (unsigned)raw->geometry.sector, (unsigned)sb->sector);
  volume->io = (struct block_io){.device = &volume->device, .mem = mem, .seed = checksum_seed(sb->fsid)};
  memcpy(volume->io.fsid, sb->fsid, sizeof volume->io.fsid);
  volume->io.bounds = (struct volume_bounds){sb->block_size, ring ? superblock_data_first(sb) : 1, 0};
  volume_use_all(volume);
  status = open_journal(volume, error);
  return status < 0 ? status : find_roots(volume, generation, error);
}

void volume_release(struct volume *volume) {
  for (uint32_t i = 0; i < volume->root_count; i++)
    if (volume->roots[i].table) memtable_unref(volume->roots[i].table);
  journal_release(&volume->journal);
  volume->root_count = 0;
}

void volume_use_root(struct volume *volume, const struct volume_root *root) {
  volume->io.bounds.data_end = root->record.device_blocks - 1;
}

void volume_use_all(struct volume *volume) {
  const struct superblock *sb = &volume->superblock;
  uint64_t there = volume->device.raw->geometry.size / sb->block_size;
  volume->io.bounds.data_end = (there > sb->device_blocks ? there : sb->device_blocks) - 1;
}

/* ---- objects ------------------------------------------------------------------------------------------------------ */

struct telling {
  volume_object *object;
  void *context;
  struct block_io *io;
};

static bool tell_node(void *context, const struct block_ptr *ptr, const struct node_place *place) {
  const struct telling *telling = context;
  (void)place;
  telling->object(telling->context, ptr, true);
  return true;
}

static int tell_entries(void *context, const struct block_ptr *ptr, const struct node_place *place,
                        const struct node_image *image, struct wodan_error *error) {
  const struct telling *telling = context;
  (void)ptr, (void)place, (void)error;
  for (uint32_t i = 0; image->level == 0 && i < image->entry_count; i++)
    telling->object(telling->context, &image->entries[i].branch.ptr, false);
  for (uint32_t i = 0; i < image->run_count; i++) telling->object(telling->context, &image->runs[i].ptr, false);
  return 0;
}

static int pass_damage(void *context, const struct block_ptr *ptr, const struct node_place *place,
                       const struct wodan_error *why) {
  (void)context, (void)ptr, (void)place, (void)why;
  return 0;
}

int volume_objects(struct volume *volume, const struct volume_root *root, volume_object *object, void *context,
                   struct wodan_error *error) {
  struct telling telling = {object, context, &volume->io};
  const struct tree_walker walker = {
      .context = &telling, .node = tell_entries, .damaged = pass_damage, .enter = tell_node};
  volume_use_root(volume, root);
  int status = tree_walk(&volume->io, &root->record.root, &walker, error);
  return status == WODAN_ENOMEM ? status : 0; /* a tree that names its nodes too often ends early */
}

/* ---- large values ------------------------------------------------------------------------------------------------- */

static int tell_blob(void *context, const struct block_ptr *ptr, struct wodan_error *error) {
  const struct telling *telling = context;
  (void)error;
  telling->object(telling->context, ptr, false);
  return 0;
}

/* Of a run or leaf without a header nothing can be read, so what it named is lost with it. */
static int tell_listed(const struct telling *telling, const struct block_ptr *ptr, uint64_t count,
                       struct wodan_error *error) {
  struct object_header header;
  uint8_t *bytes = NULL;
  int status = count ? block_io_read_header(telling->io, ptr, OBJECT_RUN, &header, &bytes, error) : 0;
  if (!bytes) return status == WODAN_ENOMEM ? status : 0;
  mem_free(telling->io->mem, bytes, ptr->header_length);
  return run_read_blobs(telling->io, ptr, count, tell_blob, (void *)(uintptr_t)telling, error);
}

static int tell_blobs(void *context, const struct block_ptr *ptr, const struct node_place *place,
                      const struct node_image *image, struct wodan_error *error) {
  const struct telling *telling = context;
  int status = 0;
  (void)ptr, (void)place;
  for (uint32_t i = 0; image->level == 0 && i < image->entry_count && status == 0; i++)
    status = tell_listed(telling, &image->entries[i].branch.ptr, image->entries[i].branch.blobs, error);
  for (uint32_t i = 0; i < image->run_count && status == 0; i++)
    status = tell_listed(telling, &image->runs[i].ptr, image->runs[i].blobs, error);
  return status;
}

int volume_blobs(struct volume *volume, struct volume_root *root, volume_object *object, void *context,
                 struct wodan_error *error) {
  struct telling telling = {object, context, &volume->io};
  const struct tree_walker walker = {.context = &telling, .node = tell_blobs, .damaged = pass_damage};
  volume_use_root(volume, root);
  int status = tree_walk(&volume->io, &root->record.root, &walker, error);
  if (status == 0) status = volume_replay(volume, root, error);
  struct memtable_walk walk = {0};
  struct record record;
  while (status == 0 && memtable_walk(root->table, &walk, &record)) {
    struct blob_ref ref;
    if (record.kind == RECORD_BLOB && blob_ref_decode(record.value.data, record.value.size, &volume->io.bounds, &ref))
      object(context, &ref.ptr, false);
  }
  return status;
}

static int tell_rejected(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  const struct telling *telling = context;
  struct blob_ref ref;
  (void)block, (void)error;
  if (record->kind == RECORD_BLOB &&
      blob_ref_decode(record->value.data, record->value.size, &telling->io->bounds, &ref))
    telling->object(telling->context, &ref.ptr, false);
  return 0;
}

int volume_rejected(struct volume *volume, volume_object *object, void *context, struct wodan_error *error) {
  struct telling telling = {object, context, &volume->io};
  int status = journal_rejected(&volume->journal, &volume->end, tell_rejected, &telling, error);
  return status == WODAN_ENOMEM ? status : 0;
}

void volume_mark(struct bitmap *map, const struct block_ptr *ptr) {
  for (uint32_t e = 0; e < ptr->extent_count; e++) {
    uint64_t first = ptr->extents[e].first, end = first + ptr->extents[e].count;
    if (end > map->size) end = map->size;
    if (first < end) bitmap_set(map, first, end);
  }
}

/* ---- replay ------------------------------------------------------------------------------------------------------ */

struct replaying {
  struct volume *volume;
  struct volume_root *root;
};

static int apply(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  struct replaying *replaying = context;
  struct volume_root *root = replaying->root;
  uint32_t page = replaying->volume->superblock.page_size;
  (void)block;
  root->sequence = record->sequence;
  if (record->key.size > page / 8 + TABLE_ID_SIZE || record->value.size > page / 4) {
    root->broken = true; /* no page may hold it */
    return 0;
  }
  int status = memtable_reserve(root->table, 1, record->key.size + record->value.size, error);
  if (status == 0) status = memtable_reserve_ranges(root->table, record->kind == RECORD_DELETE_RANGE, error);
  if (status == 0) memtable_insert(root->table, record);
  return status;
}

int volume_replay(struct volume *volume, struct volume_root *root, struct wodan_error *error) {
  if (root->table) return 0;
  root->table = memtable_create(volume->mem, NULL);
  if (!root->table) return status_nomem(error);
  struct replaying replaying = {volume, root};
  struct wodan_error why = {0};
  const struct journal_replay replay = {.mark = root->mark,
                                        .head = root->head,
                                        .covered = root->record.sequence,
                                        .stop_at_checkpoint = !root->to_head,
                                        .apply = apply,
                                        .context = &replaying};
  int status = journal_replay(&volume->journal, &replay, &why);
  if (status == WODAN_ENOMEM) return status_nomem(error);
  if (status < 0) root->broken = true;
  return 0;
}
