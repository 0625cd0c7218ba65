/* Owns: guessing a superblock from what lies behind it.
 *
 * Always true: nothing counts that has no good checksum under the fsid that stands in it; the planned superblock is one that
 * format would write.
 *
 * Order: a journal block tells fsid and the size of journal blocks; two laps tell the length of the ring, and with it where it
 * starts, which is one allocation block; a checkpoint record tells the volume's size. Headers tell fsid and block size.
 *
 * See: FORMAT.md "The volume"; tests/unit/test_repair_runs.c. */
#include "repair/search.h"

#include <string.h>
#include "codec/checksum.h"
#include "format/checkpoint_record.h"
#include "format/journal_block.h"
#include "format/object_header.h"

enum { STEP = 512, BLOCK_SIZE_MOST = 1 << 20, RING_BLOCK_MOST = 1 << 16, PAGE_MOST = 16384 };
enum { WINDOW = 2 * BLOCK_SIZE_MOST };

/* A window of the device. */
struct window {
  struct device *device;
  uint8_t *bytes; /* WINDOW of them */
  uint64_t at, size;
  bool unreadable; /* something was */
};

/* Reads by halves what cannot be read at once: a bad sector is zeros, and hides none beside it. */
static void read_around(struct window *window, uint64_t from, uint64_t size) {
  uint32_t sector = window->device->raw->geometry.sector;
  uint8_t *bytes = window->bytes + (from - window->at);
  if (device_read(window->device, from, bytes, (size_t)size, NULL) == 0) return;
  if (size > sector) {
    uint64_t half = (size / sector + 1) / 2 * sector;
    read_around(window, from, half);
    read_around(window, from + half, size - half);
    return;
  }
  memset(bytes, 0, (size_t)size);
  window->unreadable = true;
}

/* `size` bytes at `offset`; NULL: behind the end. */
static const uint8_t *view(struct window *window, uint64_t offset, uint64_t size) {
  uint64_t end = window->device->raw->geometry.size;
  if (offset > end || size > end - offset) return NULL;
  if (offset < window->at || offset + size > window->at + window->size) {
    uint32_t sector = window->device->raw->geometry.sector;
    window->at = offset / sector * sector;
    window->size = end - window->at < WINDOW ? end - window->at : WINDOW;
    window->size -= window->size % sector;
    read_around(window, window->at, window->size);
  }
  if (offset + size <= window->at + window->size) return window->bytes + (offset - window->at);
  window->size = 0;
  return NULL;
}

/* ---- the ring ------------------------------------------------------------------------------------------------------ */

struct ring {
  uint8_t fsid[16];
  uint64_t seed;
  uint32_t block_size;    /* of a journal block */
  uint64_t first;         /* bytes: of the first good block */
  uint64_t blocks;        /* R */
  uint64_t start;         /* bytes: of the ring, which is the volume's block size */
  uint64_t device_blocks; /* greatest that a checkpoint record tells; 0: none */
};

static bool ring_block(struct window *window, const struct ring *ring, uint64_t offset, struct journal_block *block,
                       const uint8_t **payload) {
  const uint8_t *bytes = view(window, offset, ring->block_size);
  return bytes && journal_block_decode(bytes, ring->block_size, ring->seed, ring->fsid, block, payload);
}

/* The first good journal block where a ring may start or go on. */
static bool find_block(struct window *window, struct ring *ring) {
  struct journal_block block;
  const uint8_t *payload;
  for (uint64_t at = STEP; at <= 2 * BLOCK_SIZE_MOST; at += STEP) {
    const uint8_t *bytes = view(window, at, STEP);
    const uint8_t *fsid = bytes ? journal_block_peek_fsid(bytes) : NULL;
    if (!fsid) continue;
    memcpy(ring->fsid, fsid, sizeof ring->fsid);
    ring->seed = checksum_seed(ring->fsid);
    ring->first = at;
    for (ring->block_size = STEP; ring->block_size <= RING_BLOCK_MOST; ring->block_size *= 2)
      if (ring_block(window, ring, at, &block, &payload)) return true;
  }
  return false;
}

static void note_size(const uint8_t *payload, const struct journal_block *block, struct ring *ring) {
  const struct volume_bounds any = {.block_size = STEP, .data_first = 1, .data_end = INT64_MAX / STEP};
  struct checkpoint_record record;
  if (block->kind == JOURNAL_CHECKPOINT && checkpoint_record_decode(payload, block->payload_length, &any, &record) &&
      record.device_blocks > ring->device_blocks)
    ring->device_blocks = record.device_blocks;
}

/* Its length: the step between two laps, or all of it when there is one lap only. */
static void measure_ring(struct window *window, struct ring *ring) {
  struct journal_block block;
  const uint8_t *payload;
  uint64_t first_lap = 0, last = 0, misses = 0;
  for (uint64_t i = 0; misses < 64; i++) {
    if (!ring_block(window, ring, ring->first + i * ring->block_size, &block, &payload)) {
      misses++;
      continue;
    }
    note_size(payload, &block, ring);
    uint64_t lap = block.sequence - i; /* the same all along a lap */
    if (i == 0) first_lap = lap;
    if (lap != first_lap && !ring->blocks) ring->blocks = lap > first_lap ? lap - first_lap : first_lap - lap;
    last = i;
    misses = 0;
    if (ring->blocks && i >= ring->blocks) break;
  }
  if (!ring->blocks) ring->blocks = last + 1;
  uint64_t position = first_lap % ring->blocks;
  ring->start = ring->first >= position * ring->block_size ? ring->first - position * ring->block_size : 0;
}

static bool is_power(uint64_t n) { return n && (n & (n - 1)) == 0; }

static int plan(const struct device *device, uint64_t block_size, uint64_t blocks, uint64_t ring_bytes,
                struct superblock *sb) {
  const struct wodan_geometry *geometry = &device->raw->geometry;
  uint64_t most = blocks ? blocks : geometry->size / block_size, page = PAGE_MOST;
  while (page > STEP && page > most * block_size / 32) page /= 2;
  const struct superblock_wish wish = {.device_size = most * block_size,
                                       .sector = geometry->sector,
                                       .block_size = (uint32_t)block_size,
                                       .page_size = (uint32_t)page,
                                       .journal_size = ring_bytes};
  return superblock_plan(&wish, sb, NULL);
}

static bool from_ring(struct window *window, struct superblock *sb) {
  struct ring ring = {0};
  if (!find_block(window, &ring)) return false;
  measure_ring(window, &ring);
  bool sound = is_power(ring.start) && ring.start >= STEP && ring.start <= BLOCK_SIZE_MOST &&
               ring.device_blocks < INT64_MAX / ring.start &&
               plan(window->device, ring.start, ring.device_blocks, ring.blocks * ring.block_size, sb) == 0 &&
               sb->journal_block_size == ring.block_size && superblock_ring_blocks(sb) == ring.blocks;
  if (sound) memcpy(sb->fsid, ring.fsid, sizeof sb->fsid);
  return sound;
}

/* ---- headers ------------------------------------------------------------------------------------------------------- */

/* Whether an object starts here in a volume with blocks of this size. */
static bool is_header(struct window *window, uint64_t at, uint64_t block_size, uint8_t fsid[16]) {
  uint64_t blocks = window->device->raw->geometry.size / block_size;
  const struct volume_bounds bounds = {(uint32_t)block_size, 1, blocks};
  const uint8_t *bytes = view(window, at, STEP);
  struct object_header header;
  if (!bytes || at % block_size || blocks < 2 || !object_header_peek(bytes, STEP, &bounds, &header) ||
      header.extents[0].first != at / block_size)
    return false;
  memcpy(fsid, header.fsid, sizeof header.fsid);
  uint32_t length = header.header_length;
  bytes = view(window, at, length);
  return bytes && object_header_decode(bytes, length, checksum_seed(fsid), fsid, &bounds, &header);
}

static bool from_headers(struct window *window, struct superblock *sb) {
  uint8_t fsid[16];
  for (uint64_t at = STEP; at + STEP <= window->device->raw->geometry.size; at += STEP) {
    const uint8_t *bytes = view(window, at, STEP);
    uint32_t length = bytes ? object_header_peek_length(bytes, STEP) : 0;
    if (!length || length > BLOCK_PTR_HEADER_MAX) continue;
    for (uint64_t block = STEP; block <= BLOCK_SIZE_MOST; block *= 2) {
      if (!is_header(window, at, block, fsid) || plan(window->device, block, 0, 0, sb) < 0) continue;
      memcpy(sb->fsid, fsid, sizeof sb->fsid);
      return true;
    }
  }
  return false;
}

int search_superblock(struct device *device, struct mem *mem, struct superblock *sb, bool *ring,
                      struct wodan_error *error) {
  struct window window = {.device = device, .bytes = mem_alloc_aligned(mem, WINDOW, 4096)};
  if (!window.bytes) return status_nomem(error);
  *ring = from_ring(&window, sb);
  bool found = *ring || from_headers(&window, sb);
  mem_free(mem, window.bytes, WINDOW);
  if (found) return 0;
  if (window.unreadable)
    return status_set(error, WODAN_EIO, 0, 0, "there is no superblock that can be read, and much else cannot be read");
  return status_set(error, WODAN_EFORMAT, 0, 0,
                    "there is no superblock, and neither a journal nor a run by which the volume could be known");
}
