/* Owns: what is said of block 0 and of the copy at the end of the volume.
 *
 * foreign image nothing is reported but that it is foreign.
 *
 * Order: the copy is judged once the journal told how long the volume is now.
 *
 * See: format/superblock.h; tests/unit/test_check.c. */
#include <inttypes.h>
#include <string.h>
#include "check/check_private.h"

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
  const struct wodan_geometry *geometry = &check->device.raw->geometry;
  struct superblock_found *found = &check->found;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  int status = superblock_find(&check->device, &check->mem, found, &failure);
  if (status == WODAN_ENOMEM) return status_nomem(check->error);
  if (status == WODAN_ECORRUPT || status == WODAN_EFORMAT)
    return status_set(check->error, WODAN_EFORMAT, 0, failure.block, "%s, and no copy of one at the end of the device",
                      failure.message);
  if (status < 0) {
    *check->error = failure;
    return status;
  }
  check->superblock = found->superblock;
  if (found->copy)
    check_found(check, FOUND_BLOCK0_DAMAGED, 0, 0, "%s",
                found->why.message); /* no guard: what is used instead is told */
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
  uint8_t expected[SUPERBLOCK_SIZE];
  uint64_t offset = (last + 1) * sb->block_size - SUPERBLOCK_SIZE;
  struct superblock_there *copy = &check->found.end;
  if (offset != check->found.end_offset) superblock_read(&check->device, &check->mem, offset, copy);
  if (copy->status < 0) {
    if (copy->status != WODAN_ENOMEM) copy->why.block = last;
    return check_failed(check, &copy->why, FOUND_COPY_DAMAGED, last, 0, NULL);
  }
  superblock_encode(sb, expected);
  if (memcmp(copy->bytes, expected, sizeof expected) != 0)
    check_found(check, FOUND_COPY_DIFFERS, last, 0, "%s", ""); /* guard: bounds */
  return 0;
}
