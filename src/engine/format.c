/* Owns: making an empty volume.
 *
 * Order (F20): with force, both old superblocks are cleared and flushed; then ring and first checkpoint, flush; then the
 * superblocks, flush. A crash leaves the untouched old volume, none, or a complete empty one.
 *
 * See: tests/crash/test_format_crash.c. */
#include <string.h>
#include "base/random.h"
#include "codec/checksum.h"
#include "engine/engine.h"

/* What format works with; one aligned block of memory. */
struct formatting {
  struct mem mem;
  struct device device;
  struct superblock sb;
  uint8_t *block; /* block_size bytes */
};

static uint64_t copy_offset(const struct superblock *sb) { return (sb->device_blocks - 1) * sb->block_size; }

static int refuse_if_used(struct formatting *f, uint64_t offset, const char *which, struct wodan_error *error) {
  int status = device_read(&f->device, offset, f->block, f->sb.block_size, error);
  if (status < 0) return status;
  for (uint32_t i = 0; i < f->sb.block_size; i++)
    if (f->block[i])
      return status_set(error, WODAN_EEXIST, 0, offset / f->sb.block_size,
                        "the %s block holds data; nothing was changed (format with force to overwrite it)", which);
  return 0;
}

/* Every place a mount looks for a superblock: block 0 and, whatever the old block size was, the copy. */
static int clear_old(struct formatting *f, struct wodan_error *error) {
  uint64_t size = f->device.raw->geometry.size, cleared = UINT64_MAX;
  uint32_t sector = f->device.raw->geometry.sector;
  uint32_t unit = sector > SUPERBLOCK_SIZE ? sector : SUPERBLOCK_SIZE;
  memset(f->block, 0, f->sb.block_size);
  int status = device_write(&f->device, 0, f->block, unit, error);
  for (uint64_t block = unit; block <= 1u << 20 && size / block >= 2 && status == 0; block *= 2) {
    uint64_t offset = size / block * block - unit;
    if (offset == cleared) continue;
    cleared = offset;
    status = device_write(&f->device, offset, f->block, unit, error);
  }
  return status == 0 ? device_flush(&f->device, error) : status;
}

static int write_ring(struct formatting *f, const struct wodan_hooks *hooks, struct wodan_error *error) {
  struct journal journal;
  struct journal_setup setup = {.mem = &f->mem,
                                .device = &f->device,
                                .fsid = f->sb.fsid,
                                .seed = checksum_seed(f->sb.fsid),
                                .block_size = f->sb.journal_block_size,
                                .device_block = f->sb.block_size,
                                .blocks = superblock_ring_blocks(&f->sb)};
  struct checkpoint_record first = {.generation = 1, .device_blocks = f->sb.device_blocks};
  int status = journal_init(&journal, &setup, error);
  if (status < 0) return status;
  journal.epoch.number = 1;
  if (random_number(hooks, &journal.epoch.random) < 0)
    status = status_set(error, WODAN_EIO, 0, WODAN_NO_BLOCK, "no random bytes for the epoch");
  if (status == 0) status = journal_format(&journal, error);
  first.tail = first.previous = journal.head;
  if (status == 0) status = journal_append_checkpoint(&journal, &first, error);
  if (status == 0) status = device_flush(&f->device, error);
  journal_release(&journal);
  return status;
}

static int write_superblocks(struct formatting *f, struct wodan_error *error) {
  uint8_t encoded[SUPERBLOCK_SIZE];
  superblock_encode(&f->sb, encoded);
  memset(f->block, 0, f->sb.block_size);
  memcpy(f->block + f->sb.block_size - SUPERBLOCK_SIZE, encoded, SUPERBLOCK_SIZE);
  int status = device_write(&f->device, copy_offset(&f->sb), f->block, f->sb.block_size, error);
  if (status < 0) return status;
  memset(f->block, 0, f->sb.block_size);
  memcpy(f->block, encoded, SUPERBLOCK_SIZE);
  status = device_write(&f->device, 0, f->block, f->sb.block_size, error);
  return status == 0 ? device_flush(&f->device, error) : status;
}

static int format_volume(struct formatting *f, const struct wodan_format_options *options, struct wodan_error *error) {
  int status = 0;
  if (!options->force) {
    status = refuse_if_used(f, 0, "first", error);
    if (status == 0) status = refuse_if_used(f, copy_offset(&f->sb), "last", error);
  } else {
    status = clear_old(f, error);
  }
  if (status == 0 && random_fill(&options->hooks, f->sb.fsid, sizeof f->sb.fsid) < 0)
    status = status_set(error, WODAN_EIO, 0, WODAN_NO_BLOCK, "no random bytes for the fsid");
  if (status == 0) status = write_ring(f, &options->hooks, error);
  return status == 0 ? write_superblocks(f, error) : status;
}

enum compression engine_compression(uint32_t wished, enum compression usual) {
  return wished == WODAN_COMPRESSION_DEFAULT ? usual : (enum compression)(wished - WODAN_COMPRESSION_OFF);
}

int engine_format(struct wodan_device *raw, const struct wodan_format_options *options, struct wodan_error *error) {
  struct formatting f;
  mem_init(&f.mem, &options->allocator);
  int status = device_init(&f.device, raw, error);
  if (status < 0) return status;
  if (raw->geometry.read_only) return status_set(error, WODAN_EREADONLY, 0, WODAN_NO_BLOCK, "the device is read-only");
  struct superblock_wish wish = {.device_size = raw->geometry.size,
                                 .sector = raw->geometry.sector,
                                 .block_size = options->block_size,
                                 .page_size = options->page_size,
                                 .leaf_size = options->leaf_size,
                                 .memtable_size = options->memtable_size,
                                 .journal_size = options->journal_size,
                                 .node_leaves = options->node_leaves,
                                 .node_children = options->node_children,
                                 .compression = engine_compression(options->compression, COMPRESSION_OFF)};
  status = superblock_plan(&wish, &f.sb, error);
  if (status < 0) return status;
  f.block = mem_alloc_aligned(&f.mem, f.sb.block_size, BLOCK_IO_ALIGNMENT);
  if (!f.block) return status_nomem(error);
  status = format_volume(&f, options, error);
  mem_free(&f.mem, f.block, f.sb.block_size);
  return status;
}
