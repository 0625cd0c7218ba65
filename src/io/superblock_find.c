/* Owns: the way to a volume's superblock.
 *
 * Always true: what is found was proven by superblock_decode; only reads.
 *
 * Order: block 0; when it is dead, or the superblock of another volume, the copy, which lies at the end of the volume: where
 * that can be follows from the device's size and the block size, so every block size is tried.
 *
 * See: FORMAT.md "The volume"; tests/unit/test_superblock_find.c. */
#include "io/superblock_find.h"

#include <assert.h>
#include <string.h>
#include "codec/checksum.h"
#include "format/journal_block.h"
#include "io/block_io.h"

enum { BLOCK_SIZE_LEAST = 512, BLOCK_SIZE_MOST = 1 << 20 };

int superblock_read(struct device *device, struct mem *mem, uint64_t offset, struct superblock_there *there) {
  const struct wodan_geometry *geometry = &device->raw->geometry;
  uint32_t unit = geometry->sector > SUPERBLOCK_SIZE ? geometry->sector : SUPERBLOCK_SIZE;
  size_t alignment = geometry->memory_alignment > BLOCK_IO_ALIGNMENT ? geometry->memory_alignment : BLOCK_IO_ALIGNMENT;
  assert(offset % SUPERBLOCK_SIZE == 0);
  there->why = (struct wodan_error){.block = WODAN_NO_BLOCK};
  uint8_t *buffer = mem_alloc_aligned(mem, unit, alignment);
  if (!buffer) return there->status = status_nomem(&there->why);
  int status = device_read(device, offset / unit * unit, buffer, unit, &there->why);
  if (status < 0) status = device_read(device, offset / unit * unit, buffer, unit, &there->why);
  if (status == 0) memcpy(there->bytes, buffer + offset % unit, SUPERBLOCK_SIZE);
  mem_free(mem, buffer, unit);
  if (status == 0) status = superblock_decode(there->bytes, &there->superblock, &there->why);
  return there->status = status;
}

/* WODAN_ENOTFOUND: there is none. */
static int find_copy(struct device *device, struct mem *mem, struct superblock *sb, struct wodan_error *error) {
  uint64_t size = device->raw->geometry.size;
  for (uint64_t block = BLOCK_SIZE_LEAST; block <= BLOCK_SIZE_MOST && size / block >= 2; block *= 2) {
    struct superblock_there there;
    int status = superblock_read(device, mem, size / block * block - SUPERBLOCK_SIZE, &there);
    if (status == WODAN_ENOMEM || status == WODAN_EVERSION) {
      if (error) *error = there.why;
      return status;
    }
    if (status < 0 || there.superblock.block_size != block) continue; /* guard: bounds */
    *sb = there.superblock;
    return 0;
  }
  return WODAN_ENOTFOUND;
}

/* *any: some block of the journal is this volume's, and at its place. */
static int know_journal(struct device *device, struct mem *mem, const struct superblock *sb, bool *any,
                        struct wodan_error *error) {
  uint64_t ring = superblock_ring_blocks(sb), there = superblock_ring_there(sb, device->raw->geometry.size);
  uint64_t seed = checksum_seed(sb->fsid);
  *any = false;
  if (sb->journal_block_size % device->raw->geometry.sector) return 0;
  uint8_t *bytes = mem_alloc_aligned(mem, sb->journal_block_size, BLOCK_IO_ALIGNMENT);
  if (!bytes) return status_nomem(error);
  for (uint64_t i = 0; i < there && !*any; i++) {
    struct journal_block block;
    const uint8_t *payload;
    uint64_t offset = sb->block_size + i * sb->journal_block_size;
    if (device_read(device, offset, bytes, sb->journal_block_size, NULL) < 0) continue;
    *any = journal_block_decode(bytes, sb->journal_block_size, seed, sb->fsid, &block, &payload) &&
           block.sequence % ring == i; /* guard: bounds */
  }
  mem_free(mem, bytes, sb->journal_block_size);
  return 0;
}

/* Block 0 is whole: whether the copy is nevertheless the one to believe. */
static int doubt(struct device *device, struct mem *mem, struct superblock_found *found, struct wodan_error *error) {
  const struct superblock *first = &found->superblock, *copy = &found->end.superblock;
  bool any = false;
  found->end_offset = device->raw->geometry.size / first->block_size * first->block_size - SUPERBLOCK_SIZE;
  int status = superblock_read(device, mem, found->end_offset, &found->end);
  if (status == WODAN_ENOMEM) return status_nomem(error);
  if (status < 0 || memcmp(copy->fsid, first->fsid, sizeof copy->fsid) == 0) return 0;
  status = know_journal(device, mem, first, &any, error);
  if (status < 0 || any) return status;
  status = know_journal(device, mem, copy, &any, error);
  if (status < 0 || !any) return status;
  found->superblock = found->end.superblock;
  found->copy = true;
  status_set(&found->why, WODAN_ECORRUPT, 0, 0, "it is that of another volume: the journal is the copy's");
  return 0;
}

int superblock_find(struct device *device, struct mem *mem, struct superblock_found *found, struct wodan_error *error) {
  const struct wodan_geometry *geometry = &device->raw->geometry;
  struct superblock_there there = {.status = 0};
  *found = (struct superblock_found){.end_offset = 0};
  if (geometry->size < 2 * SUPERBLOCK_SIZE || geometry->size < geometry->sector)
    return status_set(error, WODAN_EFORMAT, 0, WODAN_NO_BLOCK, "not a Wodan image: only %llu bytes long",
                      (unsigned long long)geometry->size);
  int status = superblock_read(device, mem, 0, &there);
  found->superblock = there.superblock;
  if (status == 0) return geometry->size / there.superblock.block_size < 2 ? 0 : doubt(device, mem, found, error);
  if (status != WODAN_EVERSION && status != WODAN_ENOMEM) {
    int copied = find_copy(device, mem, &found->superblock, error);
    found->copy = copied == 0;
    found->why = there.why;
    if (copied != WODAN_ENOTFOUND) return copied;
  }
  if (error) *error = there.why;
  return status;
}
