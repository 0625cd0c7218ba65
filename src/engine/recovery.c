/* Owns: what a mount reads: superblock, journal, newest and previous root, replay.
 *
 * Always true: nothing is written. Every block of the newest root is claimed exactly once; the previous root's blocks
 * are deferred until the next checkpoint; damage there is logged, not fatal.
 *
 * Order: a writable mount first flushes the device, then reads: what a killed process left unflushed must not be taken
 * for durable. Then ring -> checkpoint -> skeletons -> free space -> replay.
 *
 * See: FORMAT.md "Mount", tests/crash/. */
#include "base/random.h"
#include "engine/engine.h"
#include "io/superblock_find.h"
#include "tree/walk.h"

/* ---- superblock -------------------------------------------------------------------------------------------------- */

int engine_read_superblock(struct device *device, struct mem *mem, struct superblock *superblock,
                           struct wodan_error *error) {
  const struct wodan_geometry *geometry = &device->raw->geometry;
  struct superblock_found found;
  int status = superblock_find(device, mem, &found, error);
  if (status < 0) return status;
  *superblock = found.superblock;
  uint64_t volume = superblock->device_blocks * superblock->block_size;
  if (volume > geometry->size)
    return status_corrupt(error, WODAN_NO_BLOCK,
                          "the image is truncated: the volume has %llu bytes, the device only %llu",
                          (unsigned long long)volume, (unsigned long long)geometry->size); /* guard: bounds */
  if (superblock->block_size % geometry->sector || superblock->journal_block_size % geometry->sector)
    return status_set(error, WODAN_ENOTSUP, 0, WODAN_NO_BLOCK,
                      "the device's sectors of %u bytes are larger than the volume's blocks",
                      geometry->sector); /* guard: bounds */
  return 0;
}

/* ---- roots ------------------------------------------------------------------------------------------------------- */

static int claim(void *context, const struct block_ptr *ptr, struct wodan_error *error) {
  struct wodan_db *db = context;
  return space_claim(db->space, ptr->extents, ptr->extent_count, error);
}

static int load_newest(struct wodan_db *db, const struct checkpoint_record *record, struct wodan_error *error) {
  struct tree_claims claims = {claim, db};
  return tree_load(&db->env, &record->root, &claims, &db->node, error);
}

/* ---- the previous root: its blocks stay until the next checkpoint ---- */

static void claim_previous(struct wodan_db *db, const struct block_ptr *ptr) {
  space_claim_previous(db->space, ptr->extents, ptr->extent_count);
}

/* Headers the newest root has too are not given up. */
static bool enter_previous(void *context, const struct block_ptr *ptr, const struct node_place *place) {
  struct wodan_db *db = context;
  (void)place;
  uint64_t before = space_counts(db->space).deferred;
  claim_previous(db, ptr);
  db->nodes_old += space_counts(db->space).deferred - before;
  return true;
}

static int claim_previous_blob(void *context, const struct block_ptr *ptr, struct wodan_error *error) {
  (void)error;
  claim_previous(context, ptr);
  return 0;
}

/* A leaf or buffered run; its blobs too, unless the newest root has the run as well. */
static void claim_previous_run(struct wodan_db *db, const struct block_ptr *ptr, uint64_t blobs) {
  uint64_t before = space_counts(db->space).deferred;
  struct wodan_error why;
  claim_previous(db, ptr);
  if (blobs == 0 || space_counts(db->space).deferred == before) return;
  if (run_read_blobs(&db->io, ptr, blobs, claim_previous_blob, db, &why) < 0)
    engine_log(db, WODAN_LOG_WARNING, "the root before the newest is damaged: %s", why.message);
}

static int claim_entries(void *context, const struct block_ptr *ptr, const struct node_place *place,
                         const struct node_image *image, struct wodan_error *error) {
  struct wodan_db *db = context;
  (void)ptr;
  (void)place;
  (void)error;
  for (uint32_t i = 0; image->level == 0 && i < image->entry_count; i++)
    claim_previous_run(db, &image->entries[i].branch.ptr, image->entries[i].branch.blobs);
  for (uint32_t i = 0; i < image->run_count; i++) claim_previous_run(db, &image->runs[i].ptr, image->runs[i].blobs);
  return 0;
}

static int previous_damaged(void *context, const struct block_ptr *ptr, const struct node_place *place,
                            const struct wodan_error *why) {
  struct wodan_db *db = context;
  (void)ptr;
  if (place->root) db->previous_generation = db->checkpoint_generation;
  engine_log(db, WODAN_LOG_WARNING, "the root before the newest is damaged: %s", why->message);
  return 0;
}

static int load_previous(struct wodan_db *db, const struct journal_mounted *mounted, struct wodan_error *error) {
  if (!mounted->has_older) {
    if (mounted->older_problem[0])
      engine_log(db, WODAN_LOG_WARNING, "the root before the newest is lost: %s", mounted->older_problem);
    return 0;
  }
  db->previous_generation = mounted->older.generation;
  struct tree_walker walker = {
      .context = db, .node = claim_entries, .damaged = previous_damaged, .enter = enter_previous};
  return tree_walk(&db->io, &mounted->older.root, &walker, error);
}

/* ---- replay ------------------------------------------------------------------------------------------------------ */

/* The blob an operation names, before anything can be written over it. Counters go on behind its generation. */
static int claim_named(struct wodan_db *db, const struct record *record, struct wodan_error *error) {
  struct blob_ref ref;
  struct blob *blob;
  if (!blob_ref_decode(record->value.data, record->value.size, &db->io.bounds, &ref) ||
      ref.ptr.generation >= JOURNAL_COUNTER_LIMIT)
    return status_corrupt(error, WODAN_NO_BLOCK, "journal: operation %llu names no large value that can be",
                          (unsigned long long)record->sequence); /* guard: bounds */
  int status = blobs_claim(db->blobs, &ref.ptr, &blob, error);
  if (status < 0) return status;
  if (ref.ptr.generation > atomic_load(&db->generation)) atomic_store(&db->generation, ref.ptr.generation);
  db->active.blob_blocks += block_ptr_blocks(&ref.ptr);
  return 0;
}

static int apply(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  struct wodan_db *db = context;
  uint32_t page = db->superblock.page_size;
  if (record->key.size > page / 8 + TABLE_ID_SIZE || record->value.size > page / 4)
    return status_corrupt(error, WODAN_NO_BLOCK, "journal: operation %llu has a key of %zu and a value of %zu bytes",
                          (unsigned long long)record->sequence, record->key.size,
                          record->value.size); /* guard: bounds */
  int status = memtable_reserve(db->active.table, 1, record->key.size + record->value.size, error);
  if (status == 0) status = memtable_reserve_ranges(db->active.table, record->kind == RECORD_DELETE_RANGE, error);
  if (status == 0 && record->kind == RECORD_BLOB) status = claim_named(db, record, error);
  if (status < 0) return status;
  memtable_insert(db->active.table, record);
  if (db->active.first_block == 0) db->active.first_block = block;
  atomic_store(&db->sequence, record->sequence);
  db->replayed++;
  return 0;
}

static int replay(struct wodan_db *db, const struct journal_mounted *mounted, bool older, struct wodan_error *error) {
  struct journal_replay replay = {.mark = mounted->newest_mark,
                                  .head = mounted->head,
                                  .covered = mounted->newest.sequence,
                                  .stop_at_checkpoint = older,
                                  .apply = apply,
                                  .context = db};
  atomic_store(&db->sequence, mounted->newest.sequence);
  int status = journal_replay(&db->journal, &replay, error);
  struct memtable_walk end = {0};
  struct record record;
  while (memtable_walk(db->active.table, &end, &record)) {
  }
  db->active.walk = end; /* all of it is in the journal already */
  db->drained = mounted->newest.sequence;
  db->journaled = db->durable = atomic_load(&db->sequence);
  return status;
}

static int keep_named(void *context, const struct record *record, uint64_t block, struct wodan_error *error) {
  struct wodan_db *db = context;
  struct blob_ref ref;
  (void)block;
  (void)error;
  if (record->kind == RECORD_BLOB && blob_ref_decode(record->value.data, record->value.size, &db->io.bounds, &ref))
    claim_previous(db, &ref.ptr); /* what does not decode is nobody's */
  return 0;
}

/* Large values that the replay of the previous root would name stay with it until the next checkpoint. */
static void keep_previous_named(struct wodan_db *db, const struct journal_mounted *mounted) {
  struct journal_replay replay = {.mark = mounted->older_mark,
                                  .head = mounted->head,
                                  .covered = mounted->older.sequence,
                                  .stop_at_checkpoint = true,
                                  .apply = keep_named,
                                  .context = db};
  struct wodan_error why;
  if (!mounted->has_older || !(mounted->newest.incompat & FEATURE_BLOBS)) return;
  if (journal_replay(&db->journal, &replay, &why) < 0)
    engine_log(db, WODAN_LOG_WARNING, "the root before the newest is damaged: %s", why.message);
}

/* What the rejected record names stays as it is until a checkpoint, whose record takes its place: else the bytes that it lacks
 * could be written by chance (the same value put again), and a second crash would find it whole. */
static int keep_rejected(struct wodan_db *db, const struct journal_mounted *mounted, struct wodan_error *error) {
  if (mounted->rejected)
    engine_log(db, WODAN_LOG_WARNING,
               "the newest record of the journal was not durable: a large value of it is not whole");
  return journal_rejected(&db->journal, mounted, keep_named, db, error);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static int fresh_space(struct wodan_db *db, struct wodan_error *error) {
  node_unref(db->node);
  db->node = NULL;
  blobs_free(db->blobs);
  db->env.blobs = db->blobs = NULL;
  space_free(db->space);
  db->env.space = db->space = space_create(&db->mem, db->io.bounds.data_first, db->io.bounds.data_end);
  struct blobs_setup blobs = {.mem = &db->mem, .handles = &db->skeleton_mem, .space = db->space, .values = db->values};
  if (db->space) db->env.blobs = db->blobs = blobs_create(&blobs);
  return db->blobs ? 0 : status_nomem(error);
}

static int check_run(struct run *run, struct wodan_error *error) {
  int status = run_open_body(run, error);
  if (status == 0) run_close_body(run);
  return status;
}

/* Every run's header and index are those that were written. A mount does not read them, for rule 6 keeps the two newest
 * roots whole; of a root before these any block may have been written again. Recurses level by level. */
static int check_runs(struct node *node, struct wodan_error *error) {
  int status = 0;
  for (uint32_t i = 0; i < node->run_count && status == 0; i++) status = check_run(node->runs[i], error);
  for (uint32_t i = 0; i < node->entry_count && status == 0; i++)
    status = node->level ? check_runs(node->entries[i].child, error) : check_run(node->entries[i].leaf, error);
  return status;
}

/* Rule 15: the newest older root that is intact, with its whole chain. */
static int fall_back(struct wodan_db *db, struct journal_mounted *mounted, bool have_newest,
                     struct wodan_error *error) {
  struct checkpoint_mark below = mounted->newest_mark;
  uint64_t newest = mounted->generation_max;
  for (bool have = have_newest;; have = true) {
    int status = journal_older_root(&db->journal, &db->io.bounds, have ? &below : NULL, mounted, error);
    if (status == 0) status = fresh_space(db, error);
    if (status < 0) return status;
    if (mounted->generation_max > newest) newest = mounted->generation_max;
    db->dropped_generations = newest > mounted->newest.generation ? newest - mounted->newest.generation : 0;
    status = load_newest(db, &mounted->newest, error);
    if (status == 0) status = check_runs(db->node, error);
    if (status != WODAN_ECORRUPT && status != WODAN_EIO) return status;
    below = mounted->newest_mark;
  }
}

static int mount_roots(struct wodan_db *db, uint32_t flags, struct journal_mounted *mounted, bool *older,
                       struct wodan_error *error) {
  int status = journal_mount(&db->journal, &db->io.bounds, mounted, error);
  bool found = status == 0;
  if (found) {
    status = fresh_space(db, error);
    if (status == 0) status = load_newest(db, &mounted->newest, error);
  }
  *older = (status == WODAN_ECORRUPT || status == WODAN_EIO) && (flags & WODAN_OPEN_OLDER_ROOT);
  if (*older) status = fall_back(db, mounted, found, error);
  return status;
}

static int check_counters(const struct wodan_db *db, const struct journal_mounted *mounted, struct wodan_error *error) {
  if (!journal_counters_sound(mounted, atomic_load(&db->sequence)))
    return status_corrupt(error, WODAN_NO_BLOCK,
                          "a counter in the journal is beyond what a volume can reach"); /* guard: bounds */
  return 0;
}

/* Features in use since format: what this version lacks it must not touch. */
static int check_features(const struct wodan_db *db, const struct checkpoint_record *record,
                          struct wodan_error *error) {
  uint64_t unknown = record->incompat & ~(uint64_t)FEATURES_KNOWN;
  if (unknown || record->catalog.generation)
    return status_set(error, WODAN_EVERSION, 0, WODAN_NO_BLOCK,
                      "the volume uses features this version does not know (incompatible flags 0x%llx%s)",
                      (unsigned long long)unknown, record->catalog.generation ? ", a catalog" : ""); /* guard: bounds */
  if (record->read_only_compat && !db->read_only)
    return status_set(error, WODAN_EVERSION, 0, WODAN_NO_BLOCK,
                      "the volume uses features this version can only read; open it for reading"); /* guard: bounds */
  return 0;
}

int engine_recover(struct wodan_db *db, uint32_t flags, struct wodan_error *error) {
  struct journal_mounted mounted;
  bool older = false;
  int status = 0;
  if (!db->read_only) status = device_flush(&db->device, error);
  if (status == 0) status = mount_roots(db, flags, &mounted, &older, error);
  if (status < 0) return status;
  status = check_features(db, &mounted.newest, error);
  if (status < 0) return status;
  db->root = mounted.newest.root;
  db->catalog = mounted.newest.catalog;
  db->checkpoint_generation = db->previous_generation = mounted.newest.generation;
  db->generation = mounted.generation_max;
  if (!older) status = load_previous(db, &mounted, error);
  if (status == 0) status = replay(db, &mounted, older, error);
  if (status == 0 && !older) keep_previous_named(db, &mounted);
  if (status == 0) status = keep_rejected(db, &mounted, error);
  if (status == 0) status = check_counters(db, &mounted, error);
  if (status < 0) return status;
  space_mounted(db->space, mounted.newest.generation);
  engine_keep_room(db);
  struct epoch epoch = mounted.epoch_max;
  db->epoch = epoch.number;
  if (db->read_only) return 0;
  epoch.number = ++db->epoch;
  if (random_number(&db->hooks, &epoch.random) < 0)
    return status_set(error, WODAN_EIO, 0, WODAN_NO_BLOCK, "no random bytes for the epoch");
  db->env.epoch = epoch;
  journal_continue(&db->journal, &mounted, epoch);
  engine_keep_room(db);
  return 0;
}
