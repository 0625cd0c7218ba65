/* Owns: the memory plan: what each part of an open database may take, and what a write meets when its part is full.
 *
 * Always true:
 *  - all parts are accounts below db->mem, whose limit is the budget, so the budget holds whatever happens: what does not
 *    fit is refused (WODAN_ENOMEM) before anything changed. The sums below only make that rare.
 *  - memory for records is at most two memtables' for active and frozen together, whatever the budget, so what a crash
 *    leaves to be replayed fits into the least budget; the rest of that account is for what views still hold.
 *  - puts are refused while the skeleton has an eighth of its account left: deletes, drains and sweeps can go on.
 *
 * The parts (bytes; one run: a memtable's):
 *   tables    2 memtables and an eighth; a memtable: 3/2 of its encoded size and 16 KiB
 *   skeleton  handles of 3/2 of the leaves a device holds, the nodes above, their runs, and two versions of the largest node
 *   readers   iterators of CURSORS cursors
 *   work      two builders (drain, sweep), the iterators of a sweep, the image of the largest node, the aligned buffers
 *             of READS reads; where pages may be compressed, what that takes and stored bytes of as many pages
 *   large     a large value being written, the largest there can be, and one being read; what is held in memory of others is the
 *             readers'
 *   behind    copies of large values on their way to the device, where the caller wished that
 *   shelf     indexes of what a sweep and CURSORS cursors stand in, on half of the runs that each level may have
 *   cache     a page of each run they stand in; beyond that large values too
 *   fixed     journal, space, the handle
 *
 * See: DESIGN.md "Threads and memory", tests/unit/test_engine_memory.c. */
#include "dev/behind.h"
#include "engine/engine.h"
#include "memtable/arena.h"

enum {
  DEFAULT_BUDGET = 256 << 20,
  CURSORS = 4,
  READS = 9,
  ITERATOR = 336, /* of a run, with a short key, and its place in a merge */
  ENCODING = 384, /* an entry of a node on its way to the device, the builder's growth included */
  CHUNK_LEAST = 64 << 10,
  CHUNK_MOST = 512 << 10,
  RECORD_LEAST = 14, /* encoded bytes */
  VIEWS = 4,         /* memtables that views may hold beyond the least, where the budget has room */
  VALUES_FROM = 16 << 20,
  READERS = 16, /* times CURSORS cursors, the same */
};

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* ---- the parts -------------------------------------------------------------------------------------------------- */

/* What the records of one memtable take at most; more records than that freeze it before it is full. */
static uint64_t table_memory(const struct superblock *sb) { return sb->memtable_size / 2 * 3 + (16 << 10); }

static uint64_t tables_least(const struct superblock *sb) { return table_memory(sb) / 8 * 17; }

static uint64_t leaves_most(const struct superblock *sb) {
  return sb->device_blocks * sb->block_size / sb->leaf_size * 3 / 2 + 16;
}

static uint64_t node_entries(const struct superblock *sb) {
  uint64_t leaves = leaves_most(sb), most = sb->node_leaves > sb->node_children ? sb->node_leaves : sb->node_children;
  return (leaves < most ? leaves : most) / 4 * 5 + 16;
}

static uint64_t skeleton_for(const struct superblock *sb, uint64_t leaves) {
  enum { PIVOT = 32, EXTENTS = 3, RUNS = RUNS_BOTTOM + 1 };
  uint64_t entry = node_memory(1, 0, 0) - node_memory(0, 0, 0), nodes = leaves / (sb->node_leaves / 2) + 2;
  nodes += nodes / (sb->node_children / 2) * 2;
  uint64_t runs = nodes * RUNS / 2, blocks = sb->device_blocks - sb->journal_blocks;
  if (runs > blocks / 4) runs = blocks / 4;
  return leaves * (run_handle_memory(EXTENTS, PIVOT) + entry) + nodes * (node_memory(0, RUNS, PIVOT) + entry) +
         runs * run_handle_memory(EXTENTS, 0) + 2 * node_memory((uint32_t)node_entries(sb), RUNS, PIVOT);
}

static uint64_t builder_memory(const struct superblock *sb, uint64_t chunk, uint64_t keys) {
  enum { INDEX = 3 * 96 };
  uint64_t whole = sb->memtable_size * 2 + 2ull * sb->block_size;
  if (chunk < sb->block_size) chunk = sb->block_size;
  if (chunk > whole) chunk = whole;
  uint64_t pages = sb->memtable_size / sb->page_size * 3 + 4;
  return 2 * chunk + 6ull * sb->page_size + pages * INDEX + keys * 8 + keys * 5 / 4 + 8192;
}

static uint64_t work_memory(const struct superblock *sb, uint64_t chunk, uint64_t keys) {
  uint64_t sweep = (RUNS_BOTTOM + 40) * (ITERATOR + sb->page_size / 64);
  uint64_t image = node_entries(sb) * (sizeof(struct node_image_entry) + ENCODING) +
                   (RUNS_BOTTOM + 8) * (sizeof(struct node_image_run) + BRANCH_ENTRY_SIZE_MAX);
  uint64_t reads = READS * (sb->page_size + 2ull * sb->sector) + keys * 5 / 4;
  return 2 * builder_memory(sb, chunk, keys) + sweep + image + reads + (16 << 10);
}

/* The most that a mount may compress with; who reads needs none. */
static enum compression compression_most(const struct wodan_db *db) {
  return db->read_only ? COMPRESSION_OFF : db->superblock.compression;
}

/* Compressing, the stored page a sweep keeps, and what reads unpack. */
static uint64_t packing_memory(const struct wodan_db *db) {
  uint32_t page = db->superblock.page_size;
  if (db->superblock.compression == COMPRESSION_OFF) return 0;
  return compressor_memory(compression_most(db), page) + (READS + 1ull) * page;
}

/* The largest value that the volume has room for. */
static uint64_t value_most(const struct wodan_db *db) {
  const struct superblock *sb = &db->superblock;
  uint64_t most = engine_value_max(db), room = (sb->device_blocks - sb->journal_blocks) * sb->block_size;
  return most < room ? most : room;
}

static uint64_t large_read_memory(const struct wodan_db *db) {
  bool packed = db->superblock.compression != COMPRESSION_OFF;
  return blob_read_memory(db->superblock.page_size, value_most(db), packed);
}

static uint64_t large_write_memory(const struct wodan_db *db, uint64_t chunk) {
  if (db->read_only || !(db->superblock.incompat & FEATURE_BLOBS)) return 0;
  if (chunk < db->superblock.block_size) chunk = db->superblock.block_size;
  return blob_write_memory(db->superblock.page_size, chunk, value_most(db), compression_most(db));
}

static uint64_t chunk_least(const struct superblock *sb) {
  uint64_t chunk = sb->memtable_size / 8;
  return chunk > CHUNK_LEAST ? CHUNK_LEAST : chunk;
}

static uint64_t keys_least(const struct superblock *sb) { return sb->memtable_size / 48 + 64; }

/* Node levels of a volume that is full. */
static uint64_t levels_most(const struct superblock *sb) {
  uint64_t levels = 1, nodes = leaves_most(sb) / (sb->node_leaves / 2);
  for (; nodes > 1 && levels < NODE_LEVELS_MAX; levels++) nodes /= sb->node_children / 2;
  return levels;
}

static uint64_t readers_least(const struct superblock *sb) {
  uint64_t sources = RUNS_BOTTOM / 2 + RUNS_INNER / 2 * levels_most(sb) + 8;
  return CURSORS * sources * (ITERATOR + sb->page_size / 64) + 4096;
}

static uint64_t shelf_least(const struct superblock *sb) {
  enum { PAGE = 48, BODY = 400 };
  uint64_t pages = sb->memtable_size / sb->page_size + 2;
  uint64_t bodies = RUNS_BOTTOM + 8 + CURSORS * (RUNS_BOTTOM / 2 + 1 + RUNS_INNER / 2 * (levels_most(sb) - 1));
  return bodies * (pages * PAGE + BODY) + 4ull * sb->page_size;
}

/* Indexes are about a hundredth of what lies on a device, filters a byte and a quarter a record in a buffered run. */
static uint64_t shelf_most(const struct superblock *sb) { return sb->device_blocks * sb->block_size / 16; }

/* A record takes 16 bytes; the fullest device has live records on most of its blocks. */
static uint64_t locations_most(const struct superblock *sb) { return sb->device_blocks * sb->block_size / 4; }

/* Half of the pages a sweep, CURSORS cursors and some lookups stand in; the cache adds as many when all are pinned. */
static size_t frames_least(const struct superblock *sb) {
  uint64_t cursor = RUNS_BOTTOM + 1 + RUNS_INNER / 4 * (levels_most(sb) - 1);
  return (size_t)(CURSORS * cursor + RUNS_BOTTOM + 8) / 2;
}

static size_t tree_key_max(const struct superblock *sb) { return sb->page_size / 8 + TABLE_ID_SIZE; }

static uint64_t fixed_memory(const struct superblock *sb) {
  return sizeof(struct wodan_db) + values_memory() +
         journal_memory(sb->journal_block_size, superblock_ring_blocks(sb)) + space_memory(sb->device_blocks) +
         space_discard_memory(sb->device_blocks, sb->block_size) + gaps_memory(tree_key_max(sb)) + 4096;
}

/* ---- the plan --------------------------------------------------------------------------------------------------- */

/* Pages and large values share what is left: whoever comes first, large values up to a half, pages up to all but a sixteenth.
 * Where it is little there are pages only: they take memory in pieces of 2 MiB, and enough of those must fit beside the values. */
static void share_cache(struct wodan_db *db, uint64_t left) {
  const struct superblock *sb = &db->superblock;
  uint64_t all = cache_memory(sb->page_size, frames_least(sb)) + left;
  bool keeps = left >= VALUES_FROM && sb->incompat & FEATURE_BLOBS;
  mem_init_part(&db->cache_mem, &db->mem, all + values_memory());
  db->values = values_create(&db->cache_mem, &db->readers_mem, keeps ? left / 2 : 0);
  size_t frames = cache_frames_within(sb->page_size, all - (keeps ? left / 16 : 0));
  db->cache = cache_create(&db->cache_mem, sb->page_size, frames);
}

/* What is above the least goes, in this order of shares, to memtables that views hold, the skeleton, cursors, larger
 * writes and filters of larger runs, writes that wait, indexes and filters in memory, and locations: each no more than it can
 * use. The rest are pages and large values. */
static int share_out(struct wodan_db *db, uint64_t rest) {
  const struct superblock *sb = &db->superblock;
  uint64_t skeleton = skeleton_for(sb, leaves_most(sb)), keys_most = sb->memtable_size / RECORD_LEAST * RUNS_INNER;
  uint64_t chunk = chunk_least(sb) + rest / 64, keys = keys_least(sb) + rest / 256;
  if (chunk > CHUNK_MOST) chunk = CHUNK_MOST;
  if (keys > keys_most) keys = keys_most;
  uint64_t left = rest - (work_memory(sb, chunk, keys) - work_memory(sb, chunk_least(sb), keys_least(sb)));
  left -= large_write_memory(db, chunk) - large_write_memory(db, chunk_least(sb));
  uint64_t tables = least(rest / 8, VIEWS * table_memory(sb)), nodes = least(rest / 16, skeleton);
  uint64_t readers = least(rest / 16, READERS * (readers_least(sb) + large_read_memory(db)));
  mem_init_part(&db->tables_mem, &db->mem, tables_least(sb) + tables);
  mem_keep(&db->tables_mem, ARENA_CHUNK_MAX, ARENA_CHUNK_MAX);
  mem_init_part(&db->skeleton_mem, &db->mem, skeleton + nodes);
  mem_init_part(&db->readers_mem, &db->mem, readers_least(sb) + large_read_memory(db) + readers);
  left -= tables + nodes + readers;
  uint64_t waiting = least(rest / 8, db->write_behind);
  left -= waiting;
  uint64_t shelf = shelf_least(sb) + least(rest / 4, shelf_most(sb)), locations = 0;
  left -= shelf - shelf_least(sb);
  if (!db->no_locations) locations = least(rest / 16, locations_most(sb));
  left -= locations;
  if (waiting > behind_memory(4 * BEHIND_LEAST)) {
    db->device.behind = behind_create(&db->mem, &db->device, waiting - behind_memory(0));
    if (!db->device.behind) return WODAN_ENOMEM;
  }
  db->env.chunk_size = (uint32_t)chunk;
  db->env.filter_keys = keys;
  db->shelf = run_shelf_create(&db->mem, shelf);
  share_cache(db, left);
  if (!db->no_locations) db->locations = locations_create(&db->mem, locations);
  db->gaps = gaps_create(&db->mem, tree_key_max(sb));
  enum compression how = compression_most(db);
  if (how != COMPRESSION_OFF) db->env.compressor = compressor_create(&db->mem, how, sb->page_size);
  bool compresses = how == COMPRESSION_OFF || db->env.compressor;
  return db->cache && db->values && db->shelf && db->gaps && compresses ? 0 : WODAN_ENOMEM;
}

int engine_plan_memory(struct wodan_db *db, uint64_t wished, struct wodan_error *error) {
  const struct superblock *sb = &db->superblock;
  db->memory_needed = fixed_memory(sb) + tables_least(sb) + skeleton_for(sb, leaves_most(sb)) + readers_least(sb) +
                      work_memory(sb, chunk_least(sb), keys_least(sb)) + packing_memory(db) + shelf_least(sb) +
                      large_read_memory(db) + large_write_memory(db, chunk_least(sb)) +
                      cache_memory(sb->page_size, frames_least(sb));
  db->memory_budget = wished ? wished : DEFAULT_BUDGET;
  if (wished == 0 && db->memory_budget < db->memory_needed / 2 * 3) db->memory_budget = db->memory_needed / 2 * 3;
  if (db->memory_budget < db->memory_needed)
    return status_set(error, WODAN_EBUDGET, 0, WODAN_NO_BLOCK,
                      "this image needs a memory budget of at least %llu bytes, %llu were given",
                      (unsigned long long)db->memory_needed, (unsigned long long)db->memory_budget);
  db->mem.limit = (size_t)(db->memory_budget < SIZE_MAX ? db->memory_budget : SIZE_MAX);
  return share_out(db, db->memory_budget - db->memory_needed) < 0 ? status_nomem(error) : 0;
}

int engine_open_refused(struct wodan_db *db, int status, struct wodan_error *error) {
  const struct superblock *sb = &db->superblock;
  bool refused = mem_refused(&db->mem) || mem_refused(&db->tables_mem) || mem_refused(&db->skeleton_mem);
  if (status != WODAN_ENOMEM || !refused) return status;
  uint64_t leaves = sb->device_blocks * sb->block_size / (4ull * sb->page_size) * 2;
  uint64_t more = skeleton_for(sb, leaves), needed = db->memory_budget + 2 * table_memory(sb) + more;
  return status_set(error, WODAN_EBUDGET, 0, WODAN_NO_BLOCK,
                    "what this image holds does not fit into a memory budget of %llu bytes; %llu are surely enough",
                    (unsigned long long)db->memory_budget, (unsigned long long)needed);
}

/* ---- a write's memory ------------------------------------------------------------------------------------------- */

static uint64_t table_used(const struct memtable *table) { return table ? memtable_memory(table) : 0; }

uint64_t engine_pinned_memory(struct wodan_db *db) {
  uint64_t used = mem_used(&db->tables_mem), own = table_used(db->active.table) + table_used(db->frozen.table);
  return used > own ? used - own : 0;
}

static int pinned(struct wodan_db *db, uint64_t bytes, const char *what, struct wodan_error *error) {
  uint64_t sequence;
  if (engine_oldest_view(db, &sequence))
    return status_set(error, WODAN_EPINNED, 0, WODAN_NO_BLOCK,
                      "open views hold memory: %llu bytes of %s; the oldest view is of sequence %llu",
                      (unsigned long long)bytes, what, (unsigned long long)sequence);
  if (striped_sum(&db->reading, READ_PINS))
    return status_set(error, WODAN_EPINNED, 0, WODAN_NO_BLOCK, "pinned values hold memory: %llu bytes of %s",
                      (unsigned long long)bytes, what);
  return 0;
}

/* Whether the memtables' records would take more than they may. */
static bool over_plan(const struct wodan_db *db, const struct operations *operations) {
  enum { RECORD = 48 }; /* at most, beside key and value; a little less in the mean */
  uint64_t active = table_used(db->active.table), frozen = table_used(db->frozen.table);
  uint64_t table = table_memory(&db->superblock), more = operations->payload + RECORD * (uint64_t)operations->count;
  if (memtable_count(db->active.table) > 0 && active + more > table) return true;
  return db->frozen.table && active + frozen + more > 2 * table;
}

int engine_free_tables(struct wodan_db *db, struct wodan_error *error) {
  uint64_t worked = 0, held = engine_pinned_memory(db);
  if (db->frozen.table || db->releasing) return engine_wait_for_memtable(db, &worked, error);
  bool helps = held + table_memory(&db->superblock) / 4 <= db->tables_mem.limit;
  if (memtable_count(db->active.table) == 0 || !helps) {
    int status = pinned(db, held, "memtables", error);
    return status < 0 ? status : status_nomem(error);
  }
  int status = engine_freeze(db, error);
  if (status == 0) engine_ask(db);
  return status;
}

/* Range deletes stand in the skeleton from their drain to their end: each may become two, cut by another. Those in memory have
 * to fit there too, and those of the tree once more, for a sweep makes its runs while the old ones are still there: else nothing
 * could work them off. */
static uint64_t ranges_memory(const struct wodan_db *db, const struct operations *operations) {
  uint64_t bytes = memtable_ranges_bytes(db->active.table) + (operations->ranges ? operations->payload : 0);
  if (db->frozen.table && !db->frozen_drained) bytes += memtable_ranges_bytes(db->frozen.table);
  return 2 * bytes + 2 * sizeof(struct range_delete) * operations->ranges + db->node->sums.range_bytes;
}

int engine_room_in_memory(struct wodan_db *db, const struct operations *operations, struct wodan_error *error) {
  uint64_t limit = db->skeleton_mem.limit, used = mem_used(&db->skeleton_mem);
  uint64_t ranges = operations->ranges ? ranges_memory(db, operations) : 0;
  if ((!operations->deletes_only && used > limit - limit / 8) || (ranges && used + ranges > limit - limit / 16)) {
    int status = pinned(db, used, "the tree", error);
    if (status < 0) return status;
    return status_set(error, WODAN_EBUDGET, 0, WODAN_NO_BLOCK,
                      "the memory budget has no room for a larger tree: %llu of %llu bytes are in use",
                      (unsigned long long)used, (unsigned long long)limit);
  }
  int status = 0;
  while (status == 0 && over_plan(db, operations)) status = engine_free_tables(db, error);
  return status;
}
