/* Owns: the ring: where the roots are, whether what is behind them can be replayed, and what lies about unused.
 *
 * Always true: after it, check->mounted names a root whose journal chain was walked, or has_root is false and damage was
 * reported; the volume's size is the newest root's.
 *
 * Order: mount as an open would; when that fails, the newest older root, so that there is something to check.
 *
 * See: journal/journal.h; tests/unit/test_check.c. */
#include <assert.h>
#include <inttypes.h>
#include "check/check_private.h"

enum { PART_BYTES = 16 * 1024 }; /* read at once; the memory for it counts against what a check may take */

static uint64_t place(const struct check *check, uint64_t position) {
  const struct superblock *sb = &check->superblock;
  return 1 + position * sb->journal_block_size / sb->block_size;
}

/* Looks at `count` positions read into `buffer` (read: they could be); adds up the invalid ones. */
static void survey_part(struct check *check, const uint8_t *buffer, bool read, uint64_t position, uint64_t count,
                        uint64_t *invalid, uint64_t *first) {
  const struct superblock *sb = &check->superblock;
  for (uint64_t i = 0; i < count; i++) {
    struct journal_block block;
    const uint8_t *payload;
    if (read &&
        journal_block_decode(buffer + i * sb->journal_block_size, sb->journal_block_size, check->io.seed, sb->fsid,
                             &block, &payload) &&
        block.sequence % superblock_ring_blocks(sb) == position + i)
      continue;
    if ((*invalid)++ == 0) *first = position + i;
  }
}

static uint32_t blocks_at_once(const struct superblock *sb) {
  return sb->journal_block_size < PART_BYTES ? PART_BYTES / sb->journal_block_size : 1;
}

/* Every block of the ring once, whether the chain needs it or not. */
static int survey(struct check *check) {
  const struct superblock *sb = &check->superblock;
  uint64_t ring = superblock_ring_there(sb, check->device.raw->geometry.size);
  uint64_t invalid = 0, first = 0, part = blocks_at_once(sb);
  if (part > ring) part = ring;
  int status = check_buffer_reserve(check, &check->page, (size_t)part * sb->journal_block_size);
  for (uint64_t at = 0; at < ring && status == 0; at += part) {
    uint64_t count = ring - at < part ? ring - at : part, offset = sb->block_size + at * sb->journal_block_size;
    bool read =
        device_read(&check->device, offset, check->page.data, (size_t)count * sb->journal_block_size, NULL) == 0;
    for (uint64_t i = 0; i < count && !read; i++) { /* one bad block must not hide its neighbours */
      bool one = device_read(&check->device, offset + i * sb->journal_block_size, check->page.data,
                             sb->journal_block_size, NULL) == 0;
      survey_part(check, check->page.data, one, at + i, 1, &invalid, &first);
    }
    if (read) survey_part(check, check->page.data, true, at, count, &invalid, &first);
    status = check_progress(check, place(check, at + count));
  }
  check_buffer_release(check, &check->page); /* journal blocks may be larger than pages by far */
  if (status == 0 && invalid && check->has_root)
    check_found(check, FOUND_JOURNAL_DEBRIS, place(check, first), 0, "%" PRIu64 " of %" PRIu64 " journal blocks",
                invalid, ring); /* guard: bounds */
  return status;
}

static int count_operation(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  struct check *check = context;
  const struct superblock *sb = &check->superblock;
  (void)error;
  check->report->journal_records++;
  check->sequence = record->sequence;
  check->journal_blobs += record->kind == RECORD_BLOB;
  if (record->key.size > sb->page_size / 8 + TABLE_ID_SIZE || record->value.size > sb->page_size / 4)
    check_found(check, FOUND_JOURNAL_SIZE, place(check, block % superblock_ring_blocks(sb)), 0,
                "operation %" PRIu64 " has a key of %zu and a value of %zu bytes", record->sequence, record->key.size,
                record->value.size); /* guard: bounds */
  return 0;
}

/* An older root in place of the newest. 0 also when there is none. */
static int fall_back(struct check *check, struct journal *journal) {
  struct wodan_error failure = {0};
  check->mounted = (struct journal_mounted){0};
  check->has_root = journal_older_root(journal, &check->io.bounds, NULL, &check->mounted, &failure) == 0;
  if (check->has_root) {
    check_found(check, FOUND_OLDER_ROOT_USED, WODAN_NO_BLOCK, check->mounted.newest.generation,
                "generation %" PRIu64 ", journal block %" PRIu64, check->mounted.newest.generation,
                check->mounted.newest_mark.sequence); /* no guard: what is used instead is told */
    return 0;
  }
  check->unreached = true;
  return check_failed(check, &failure, FOUND_JOURNAL_NO_ROOT, place(check, 0), 0, NULL);
}

/* The root that was asked for in place of the newest. WODAN_ENOTFOUND: there is none. */
static int choose_root(struct check *check, struct journal *journal) {
  uint64_t generation = check->options->generation;
  check->mounted = (struct journal_mounted){0};
  check->has_root = journal_root_of_generation(journal, &check->io.bounds, generation, &check->mounted, NULL) == 0;
  if (!check->has_root)
    return status_set(check->error, WODAN_ENOTFOUND, 0, WODAN_NO_BLOCK,
                      "no root of generation %" PRIu64 " is whole in the journal", generation);
  check_found(check, FOUND_ROOT_CHOSEN, WODAN_NO_BLOCK, generation, "generation %" PRIu64 ", journal block %" PRIu64,
              generation, check->mounted.newest_mark.sequence); /* no guard: what is used instead is told */
  return 0;
}

static void judge_roots(struct check *check) {
  const struct journal_mounted *m = &check->mounted;
  if (m->rejected)
    check_found(check, FOUND_JOURNAL_REJECTED, place(check, m->head % superblock_ring_blocks(&check->superblock)), 0,
                "journal blocks %" PRIu64 " to %" PRIu64, m->head, m->rejected - 1);    /* guard: bounds */
  if (m->linear) check_found(check, FOUND_JOURNAL_LINEAR, WODAN_NO_BLOCK, 0, "%s", ""); /* guard: bounds */
  if (!m->has_older && m->older_problem[0])
    check_found(check, FOUND_PREVIOUS_LOST, WODAN_NO_BLOCK, 0, "%s", m->older_problem); /* guard: bounds */
  if (m->has_older && (m->older.generation >= m->newest.generation || m->older.sequence > m->newest.sequence))
    check_found(check, FOUND_PREVIOUS_NEWER, WODAN_NO_BLOCK, m->older.generation,
                "generation %" PRIu64 " and operation %" PRIu64 " before %" PRIu64 " and %" PRIu64, m->older.generation,
                m->older.sequence, m->newest.generation, m->newest.sequence); /* guard: bounds */
}

static int use_root(struct check *check, struct journal *journal, bool stop_at_checkpoint) {
  const struct journal_mounted *m = &check->mounted;
  if (m->newest.incompat & ~(uint64_t)FEATURES_KNOWN)
    return status_set(check->error, WODAN_EVERSION, 0, WODAN_NO_BLOCK,
                      "the newest root uses unknown features (incompat flags 0x%" PRIx64 ")", m->newest.incompat);
  check->volume_blocks = m->newest.device_blocks;
  if (check->volume_blocks != check->superblock.device_blocks)
    check_found(check, FOUND_VOLUME_SIZE, WODAN_NO_BLOCK, m->newest.generation,
                "%" PRIu64 " instead of %" PRIu64 " blocks", check->volume_blocks,
                check->superblock.device_blocks); /* guard: bounds */
  check->report->generation = m->newest.generation;
  check->report->previous_generation = m->has_older ? m->older.generation : m->newest.generation;
  judge_roots(check);
  struct journal_replay replay = {.mark = m->newest_mark,
                                  .head = m->head,
                                  .covered = m->newest.sequence,
                                  .stop_at_checkpoint = stop_at_checkpoint,
                                  .apply = count_operation,
                                  .context = check};
  struct wodan_error failure = {0};
  check->stop_at_checkpoint = stop_at_checkpoint;
  check->sequence = m->newest.sequence;
  int status = journal_replay(journal, &replay, &failure);
  if (!journal_counters_sound(m, check->sequence))
    check_found(check, FOUND_JOURNAL_COUNTERS, WODAN_NO_BLOCK, 0,
                "generation %" PRIu64 ", epoch %" PRIu64 ", journal block %" PRIu64 ", operation %" PRIu64,
                m->generation_max, m->epoch_max.number, m->head, check->sequence); /* guard: bounds */
  if (status == 0) return 0;
  return check_failed(check, &failure, FOUND_JOURNAL_REPLAY, WODAN_NO_BLOCK, m->newest.generation,
                      failure.code == WODAN_ENOMEM ? "journal" : NULL);
}

static int open_journal(struct check *check, struct journal *journal) {
  const struct superblock *sb = &check->superblock;
  check->proof = (struct blob_source){.io = &check->io, .mem = &check->mem, .page_size = sb->page_size};
  struct journal_setup setup = {.mem = &check->mem,
                                .device = &check->device,
                                .fsid = sb->fsid,
                                .seed = check->io.seed,
                                .block_size = sb->journal_block_size,
                                .device_block = sb->block_size,
                                .blocks = superblock_ring_blocks(sb),
                                .buffered_max = blocks_at_once(sb),
                                .proof = blob_proof(&check->proof)};
  return journal_init(journal, &setup, check->error);
}

static int check_named(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  struct check *check = context;
  struct blob_ref ref;
  (void)error;
  if (record->kind != RECORD_BLOB) return 0;
  bool good = blob_ref_decode(record->value.data, record->value.size, &check->io.bounds, &ref) &&
              ref.ptr.generation < JOURNAL_COUNTER_LIMIT; /* guard: bounds */
  if (good)
    return check_spared(check, check_blob(check, &ref, record->key, 0), "large value", ref.ptr.extents[0].first,
                        ref.ptr.generation);
  check_found(check, FOUND_BLOB_REFERENCE, place(check, block % superblock_ring_blocks(&check->superblock)), 0,
              "operation %" PRIu64 " of the journal", record->sequence); /* no guard: decided above */
  return 0;
}

int check_journal_blobs(struct check *check) {
  const struct journal_mounted *m = &check->mounted;
  struct journal journal = {0};
  struct wodan_error failure = {0};
  struct journal_replay replay = {.mark = m->newest_mark,
                                  .head = m->head,
                                  .covered = m->newest.sequence,
                                  .stop_at_checkpoint = check->stop_at_checkpoint,
                                  .apply = check_named,
                                  .context = check};
  if (check->journal_blobs == 0) return 0;
  block_io_release_window(&check->io); /* journal blocks may be as large */
  int status = open_journal(check, &journal);
  if (status < 0) return check_spared(check, status, "journal", WODAN_NO_BLOCK, m->newest.generation);
  bool before = check->salvage_only;
  check->salvage_only = true;
  status = journal_replay(&journal, &replay, &failure); /* what cannot be replayed was told by the first pass */
  check->salvage_only = before;
  journal_release(&journal);
  if (status == WODAN_ENOMEM) return check_spared(check, status, "journal", WODAN_NO_BLOCK, m->newest.generation);
  return status == CHECK_STOPPED ? status : 0;
}

int check_journal(struct check *check) {
  struct journal journal = {0};
  struct wodan_error failure = {0};
  int status = open_journal(check, &journal);
  if (status < 0) return status;
  bool mounted = journal_mount(&journal, &check->io.bounds, &check->mounted, &failure) == 0;
  uint64_t wanted = check->options->generation;
  bool chosen = wanted && !(mounted && check->mounted.newest.generation == wanted);
  check->has_root = mounted;
  if (!mounted) status = check_failed(check, &failure, FOUND_JOURNAL_DAMAGED, place(check, 0), 0, NULL);
  if (status == 0 && chosen)
    status = choose_root(check, &journal);
  else if (status == 0 && !mounted)
    status = fall_back(check, &journal);
  if (status == 0 && check->has_root) status = use_root(check, &journal, chosen || !mounted);
  journal_release(&journal);
  return status ? status : survey(check);
}
