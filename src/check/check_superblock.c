/* Owns: block 0 and the copy at the end of the volume.
 *
 * Always true: the superblock that the other passes use was proven by superblock_decode; of a foreign image nothing is
 * reported but that it is foreign.
 *
 * Order: block 0 first; only when it is dead is the copy looked for, by trying every block size (superblock.h). The copy
 * is judged once the journal told how long the volume is now.
 *
 * See: format/superblock.h; tests/unit/test_check.c. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include "check/check_private.h"

enum { BLOCK_SIZE_LEAST = 512, BLOCK_SIZE_MOST = 1 << 20 };

/* The SUPERBLOCK_SIZE bytes at `offset`, a multiple of that size, read in whole sectors. */
static int read_at(struct check *check, uint64_t offset, uint8_t out[SUPERBLOCK_SIZE], struct wodan_error *failure) {
  const struct wodan_geometry *geometry = &check->device.raw->geometry;
  uint32_t unit = geometry->sector > SUPERBLOCK_SIZE ? geometry->sector : SUPERBLOCK_SIZE;
  size_t alignment = geometry->memory_alignment > BLOCK_IO_ALIGNMENT ? geometry->memory_alignment : BLOCK_IO_ALIGNMENT;
  assert(offset % SUPERBLOCK_SIZE == 0);
  uint8_t *buffer = mem_alloc_aligned(&check->mem, unit, alignment);
  if (!buffer) return status_nomem(failure);
  int status = device_read(&check->device, offset / unit * unit, buffer, unit, failure);
  if (status < 0) status = device_read(&check->device, offset / unit * unit, buffer, unit, failure);
  if (status == 0) memcpy(out, buffer + offset % unit, SUPERBLOCK_SIZE);
  mem_free(&check->mem, buffer, unit);
  return status;
}

static int read_superblock(struct check *check, uint64_t offset, struct superblock *superblock,
                           uint8_t out[SUPERBLOCK_SIZE], struct wodan_error *failure) {
  int status = read_at(check, offset, out, failure);
  return status ? status : superblock_decode(out, superblock, failure);
}

/* Block 0 is dead for the reason in `dead`: the copy, wherever a volume on this device can end. */
static int find_copy(struct check *check, const struct wodan_error *dead) {
  uint64_t size = check->device.raw->geometry.size;
  uint8_t bytes[SUPERBLOCK_SIZE];
  for (uint64_t block = BLOCK_SIZE_LEAST; block <= BLOCK_SIZE_MOST && block <= size; block *= 2) {
    struct wodan_error failure = {0};
    int status = read_superblock(check, size / block * block - SUPERBLOCK_SIZE, &check->superblock, bytes, &failure);
    if (status == WODAN_ENOMEM) return status_nomem(check->error);
    if (status == WODAN_EVERSION) {
      *check->error = failure;
      return status;
    }
    if (status < 0 || check->superblock.block_size != block) continue;   /* guard: bounds */
    check_found(check, FOUND_BLOCK0_DAMAGED, 0, 0, "%s", dead->message); /* no guard: what is used instead is told */
    return 0;
  }
  if (dead->code == WODAN_EIO) {
    *check->error = *dead;
    return WODAN_EIO;
  }
  return status_set(check->error, WODAN_EFORMAT, 0, 0, "%s, and no copy of one at the end of the device",
                    dead->message);
}

static void judge(struct check *check) {
  const struct superblock *sb = &check->superblock;
  uint64_t size = check->device.raw->geometry.size, there = size / sb->block_size;
  if (there < sb->device_blocks)
    check_found(check, FOUND_DEVICE_SHORT, there, 0, "it has %" PRIu64 " bytes, the volume %" PRIu64, size,
                sb->device_blocks * sb->block_size); /* guard: bounds */
  if (sb->read_only_compat || sb->compat)
    check_found(check, FOUND_FEATURES, 0, 0, "compat flags 0x%" PRIx64 ", read-only flags 0x%" PRIx64, sb->compat,
                sb->read_only_compat); /* guard: bounds */
}

int check_superblock(struct check *check) {
  struct wodan_error failure = {0};
  uint8_t bytes[SUPERBLOCK_SIZE];
  const struct wodan_geometry *geometry = &check->device.raw->geometry;
  int status = geometry->size < SUPERBLOCK_SIZE || geometry->size < geometry->sector
                   ? status_set(&failure, WODAN_EFORMAT, 0, 0, "the device is too small for a Wodan superblock")
                   : read_superblock(check, 0, &check->superblock, bytes, &failure);
  if (status == WODAN_ENOMEM) return status_nomem(check->error);
  if (status == WODAN_EVERSION) {
    *check->error = failure;
    return status;
  }
  if (status < 0) status = find_copy(check, &failure);
  if (status < 0) return status;
  if (geometry->sector > check->superblock.sector)
    return status_set(check->error, WODAN_EINVAL, 0, WODAN_NO_BLOCK,
                      "the device has sectors of %u bytes, the volume was made for %u: it cannot be read through it",
                      (unsigned)geometry->sector, (unsigned)check->superblock.sector);
  judge(check);
  return 0;
}

int check_superblock_copy(struct check *check) {
  const struct superblock *sb = &check->superblock;
  uint64_t last = check->volume_blocks - 1;
  if (check->volume_blocks > check->device.raw->geometry.size / sb->block_size) return 0; /* guard: bounds */
  struct wodan_error failure = {0};
  struct superblock copy;
  uint8_t bytes[SUPERBLOCK_SIZE], expected[SUPERBLOCK_SIZE];
  int status = read_superblock(check, (last + 1) * sb->block_size - SUPERBLOCK_SIZE, &copy, bytes, &failure);
  if (status < 0) {
    if (status != WODAN_ENOMEM) failure.block = last;
    return check_failed(check, &failure, FOUND_COPY_DAMAGED, last, 0, NULL);
  }
  superblock_encode(sb, expected);
  if (memcmp(bytes, expected, sizeof bytes) != 0)
    check_found(check, FOUND_COPY_DIFFERS, last, 0, "%s", ""); /* guard: bounds */
  return 0;
}
