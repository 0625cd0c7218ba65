/* Owns: the copy of an image without its values: the order of its passes, the walk over both trees, superblocks.
 *
 * Always true: the original is only read; each byte of the copy is written once; an object is looked into only when its
 * blocks were claimed by nobody before it, in the same order in which a check claims them, so both leave out the same.
 *
 * Order: keys are collected over everything first, when they are to be scrambled. Then objects from the leaves up, because
 * each pointer repeats a checksum of what it names; then the journal, which names the roots; superblocks last: a copy that
 * was stopped is no image.
 *
 * See: include/wodan/image.h; tests/unit/test_image_copy.c. */
#include <assert.h>
#include <string.h>
#include "base/wire.h"
#include "format/record.h"
#include "inspect/copy_private.h"

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

int copy_failed(struct copy *copy, const struct wodan_error *failure) {
  if (failure->code == WODAN_ENOMEM) return status_nomem(copy->error);
  if (!copy->collecting) copy->report->damaged++;
  return 0;
}

void copy_key(struct copy *copy, struct scramble_at *at, uint8_t *bytes, size_t size) {
  if (!copy->scramble) return;
  if (copy->collecting)
    scramble_collect(copy->scramble, at, bytes, size);
  else
    scramble_apply(copy->scramble, at, bytes, size);
}

static bool all_zero(const uint8_t *bytes, size_t size) {
  return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

int copy_write(struct copy *copy, uint64_t offset, const uint8_t *bytes, size_t size) {
  uint32_t unit = copy->inspect->superblock.block_size;
  uint64_t start = offset / unit * unit;
  assert(offset - start + size <= unit && !copy->collecting);
  if (all_zero(bytes, size)) return 0;
  int status = size == unit ? 0 : device_read(&copy->to, start, copy->unit, unit, copy->error);
  if (status < 0) return status;
  memcpy(copy->unit + (offset - start), bytes, size);
  copy->report->written_bytes += size;
  return device_write(&copy->to, start, copy->unit, unit, copy->error);
}

/* In whole sectors of 512 bytes or more, a block's first one. */
static uint64_t read_u64(struct copy *copy, struct device *device, uint64_t offset) {
  uint32_t sector = device->raw->geometry.sector;
  uint64_t start = offset / sector * sector;
  assert(sector <= copy->inspect->superblock.block_size && offset + 8 <= start + sector);
  return device_read(device, start, copy->unit, sector, NULL) < 0 ? 0 : load_u64(copy->unit + (offset - start));
}

uint64_t copy_original_u64(struct copy *copy, uint64_t offset) {
  return read_u64(copy, &copy->inspect->device, offset);
}

uint64_t copy_written_u64(struct copy *copy, uint64_t offset) { return read_u64(copy, &copy->to, offset); }

uint64_t copy_pointer_sum(struct copy *copy, const struct block_ptr *ptr) {
  uint64_t block = ptr->extents[0].first;
  if (block >= copy->blocks) return ptr->checksum;
  uint64_t offset = block * copy->inspect->superblock.block_size;
  return ptr->checksum ^ copy_original_u64(copy, offset) ^ copy_written_u64(copy, offset);
}

/* ---- trees ------------------------------------------------------------------------------------------------------- */

/* Takes the object's blocks. false: one of them is taken, or behind the end: nobody looks into it then. */
static bool claim(struct copy *copy, const struct block_ptr *ptr) {
  bool whole = true;
  for (uint32_t e = 0; e < ptr->extent_count; e++) {
    for (uint64_t i = 0; i < ptr->extents[e].count; i++) {
      uint64_t block = ptr->extents[e].first + i;
      if (block >= copy->blocks) {
        whole = false;
        break;
      }
      uint8_t bit = (uint8_t)(1u << block % 8);
      if (copy->claimed[block / 8] & bit) whole = false;
      copy->claimed[block / 8] |= bit;
    }
  }
  return whole;
}

static int claim_object(struct copy *copy, const struct block_ptr *ptr, uint8_t type) {
  const struct wodan_copy_options *options = copy->options;
  const struct wodan_copy_report *report = copy->report;
  if (!claim(copy, ptr)) return 0;
  int status = copy_object(copy, ptr, type);
  if (status || !options->progress) return status;
  return options->progress(options->context, report->runs + report->nodes + report->large) ? WODAN_DONE : 0;
}

int copy_large(struct copy *copy, const struct block_ptr *ptr) { return claim_object(copy, ptr, OBJECT_BLOB); }

static bool on_enter(void *context, const struct block_ptr *ptr, const struct node_place *place) {
  (void)place;
  return claim(context, ptr);
}

static int on_node(void *context, const struct block_ptr *ptr, const struct node_place *place,
                   const struct node_image *image, struct wodan_error *error) {
  struct copy *copy = context;
  int status = 0;
  (void)ptr, (void)place, (void)error; /* failures go to copy->error */
  for (uint32_t i = 0; image->level == 0 && i < image->entry_count && status == 0; i++)
    status = claim_object(copy, &image->entries[i].branch.ptr, OBJECT_RUN);
  for (uint32_t i = 0; i < image->run_count && status == 0; i++)
    status = claim_object(copy, &image->runs[i].ptr, OBJECT_RUN);
  return status;
}

static int on_leave(void *context, const struct block_ptr *ptr) { return copy_object(context, ptr, OBJECT_NODE); }

/* A node whose subtree is out of reach. */
static int on_damage(void *context, const struct block_ptr *ptr, const struct node_place *place,
                     const struct wodan_error *why) {
  (void)place, (void)why;
  return copy_object(context, ptr, OBJECT_NODE);
}

static int copy_tree(struct copy *copy, uint32_t which) {
  const struct tree_walker walker = {
      .context = copy, .node = on_node, .leave = on_leave, .damaged = on_damage, .enter = on_enter};
  const struct checkpoint_record *record = inspect_root(copy->inspect, which);
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  if (!record) return 0;
  int status = tree_walk(&copy->inspect->io, &record->root, &walker, &failure);
  if (status == WODAN_ENOMEM) return status_nomem(copy->error);
  return status == 0 && record->catalog.generation ? claim_object(copy, &record->catalog, OBJECT_RUN) : status;
}

static int copy_named(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  struct copy *copy = context;
  struct blob_ref ref;
  (void)block, (void)error; /* failures go to copy->error */
  bool large = record->kind == RECORD_BLOB &&
               blob_ref_decode(record->value.data, record->value.size, &copy->inspect->io.bounds, &ref) &&
               ref.ptr.generation < JOURNAL_COUNTER_LIMIT;
  return large ? copy_large(copy, &ref.ptr) : 0;
}

/* Large values that the replay on a root names. What cannot be replayed is damage that was told at open. */
static int copy_replayed(struct copy *copy, uint32_t which) {
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  int status = inspect_replay(copy->inspect, which, copy_named, copy, &failure);
  if (status == WODAN_ENOMEM) return status_nomem(copy->error);
  return status == WODAN_ECORRUPT ? 0 : status;
}

/* Trees and journal, for their keys or for their bytes. */
static int copy_pass(struct copy *copy) {
  memset(copy->claimed, 0, (size_t)(copy->blocks / 8 + 1));
  int status = copy_tree(copy, WODAN_NEWEST_ROOT);
  if (status == 0) status = copy_replayed(copy, WODAN_NEWEST_ROOT);
  if (status == 0) status = copy_tree(copy, WODAN_OLDER_ROOT);
  if (status == 0) status = copy_replayed(copy, WODAN_OLDER_ROOT);
  return status == 0 ? copy_ring(copy) : status;
}

/* ---- superblocks ------------------------------------------------------------------------------------------------- */

/* The superblock that stands there; what is none is left out. */
static int copy_superblock(struct copy *copy, uint64_t offset) {
  const struct device *from = &copy->inspect->device;
  uint64_t size = from->raw->geometry.size;
  uint32_t unit = copy->inspect->superblock.block_size;
  struct superblock ignored;
  uint8_t bytes[SUPERBLOCK_SIZE];
  if (offset > size || size - offset < SUPERBLOCK_SIZE || offset / unit * unit + unit > size) return 0;
  if (device_read(&copy->inspect->device, offset / unit * unit, copy->unit, unit, NULL) < 0) return 0;
  memcpy(bytes, copy->unit + offset % unit, sizeof bytes);
  if (superblock_decode(bytes, &ignored, NULL) < 0) return 0;
  return copy_write(copy, offset, bytes, sizeof bytes);
}

/* The copy where the newest root says that the volume ends, and where one is looked for by the device's size. */
static int copy_superblocks(struct copy *copy) {
  const struct wodan_inspect *inspect = copy->inspect;
  uint64_t size = inspect->device.raw->geometry.size, unit = inspect->superblock.block_size;
  uint64_t volume = inspect->volume_blocks * unit - SUPERBLOCK_SIZE, last = size / unit * unit - SUPERBLOCK_SIZE;
  int status = copy_superblock(copy, volume);
  if (status == 0 && last != volume) status = copy_superblock(copy, last);
  return status == 0 ? copy_superblock(copy, 0) : status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static int prepare(struct copy *copy, struct wodan_device *to) {
  struct wodan_inspect *inspect = copy->inspect;
  const struct superblock *sb = &inspect->superblock;
  int status = device_init(&copy->to, to, copy->error);
  if (status < 0) return status;
  if (to->geometry.size != inspect->device.raw->geometry.size || to->geometry.sector > sb->sector)
    return status_set(copy->error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "%s",
                      "the copy's device must have the size of the original, and no larger sectors");
  copy->blocks = inspect->volume_blocks < inspect->device_blocks ? inspect->volume_blocks : inspect->device_blocks;
  if (inspect->has_root && inspect->mounted.has_older && inspect->mounted.older.device_blocks > copy->blocks)
    copy->blocks = inspect->mounted.older.device_blocks < inspect->device_blocks ? inspect->mounted.older.device_blocks
                                                                                 : inspect->device_blocks;
  copy->claimed = mem_alloc(&inspect->mem, copy->blocks / 8 + 1);
  copy->unit = mem_alloc_aligned(&inspect->mem, sb->block_size, BLOCK_IO_ALIGNMENT);
  copy->page = mem_alloc(&inspect->mem, sb->page_size);
  copy->key = mem_alloc(&inspect->mem, sb->page_size);
  if (!copy->claimed || !copy->unit || !copy->page || !copy->key) return status_nomem(copy->error);
  if (!copy->options->scramble) return 0;
  copy->scramble = scramble_create(&inspect->mem, inspect->device.raw->geometry.size);
  return copy->scramble ? 0 : status_nomem(copy->error);
}

static int copy_all(struct copy *copy) {
  int status = 0;
  copy->collecting = copy->scramble != NULL;
  if (copy->collecting) status = copy_pass(copy);
  copy->collecting = false;
  if (status == 0) status = copy_pass(copy);
  return status == 0 ? copy_superblocks(copy) : status;
}

int wodan_image_copy(struct wodan_inspect *inspect, struct wodan_device *to, const struct wodan_copy_options *options,
                     struct wodan_copy_report *report, struct wodan_error *error) {
  struct wodan_copy_options whole = {.size = sizeof whole};
  struct wodan_copy_report ignored;
  struct wodan_error unheard;
  if (!error) error = &unheard;
  if (!report) report = &ignored;
  *error = (struct wodan_error){.block = WODAN_NO_BLOCK};
  *report = (struct wodan_copy_report){0};
  if (!inspect || !to || (options && options->size && options->size < sizeof whole))
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK,
                      "wodan_image_copy: handle or device is missing, or options are of another version");
  if (options) whole = *options;
  struct copy copy = {.inspect = inspect, .options = &whole, .report = report, .error = error};
  int status = prepare(&copy, to);
  if (status == 0) status = copy_all(&copy);
  if (copy.claimed) mem_free(&inspect->mem, copy.claimed, copy.blocks / 8 + 1);
  mem_free(&inspect->mem, copy.unit, inspect->superblock.block_size);
  mem_free(&inspect->mem, copy.page, inspect->superblock.page_size);
  mem_free(&inspect->mem, copy.key, inspect->superblock.page_size);
  compressor_free(copy.compressor);
  if (copy.scramble) scramble_free(copy.scramble, &inspect->mem);
  return status;
}
