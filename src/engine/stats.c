/* Owns: wodan_stats and wodan_info as the engine knows them. Always true: reading a figure changes nothing.
 * See: include/wodan/stats.h. */
#include <string.h>
#include "engine/engine.h"

static uint64_t get(const _Atomic uint64_t *counter) { return atomic_load_explicit(counter, memory_order_relaxed); }

static double ratio(uint64_t a, uint64_t b) { return b ? (double)a / (double)b : 0.0; }

static void device_stats(struct wodan_db *db, struct wodan_stats *stats) {
  const struct device_counters *c = &db->device.counters;
  stats->device_reads = get(&c->reads);
  stats->device_read_bytes = get(&c->read_bytes);
  stats->device_writes = get(&c->writes);
  stats->device_write_bytes = get(&c->write_bytes);
  stats->device_barriers = get(&c->barriers);
  stats->device_flushes = get(&c->flushes);
  stats->device_discards = get(&c->discards);
  stats->device_discard_bytes = get(&c->discard_bytes);
  stats->write_amplification = ratio(stats->device_write_bytes, stats->user_bytes_written);
  stats->read_amplification = ratio(stats->device_read_bytes, stats->user_bytes_read);
}

static void page_stats(const struct run_counters *c, struct wodan_stats *stats) {
  stats->leaf_pages = get(&c->leaf_pages);
  stats->leaf_pages_packed = get(&c->leaf_pages_packed);
  stats->leaf_pages_passed = get(&c->leaf_pages_passed);
  stats->leaf_page_bytes = get(&c->leaf_bytes);
  stats->leaf_page_stored_bytes = get(&c->leaf_stored_bytes);
  stats->pages_read = get(&c->read);
  stats->pages_read_bytes = get(&c->read_bytes);
  stats->pages_read_stored_bytes = get(&c->read_stored_bytes);
}

static void state_stats(struct wodan_db *db, struct wodan_stats *stats) {
  uint64_t block = db->io.bounds.block_size;
  lock_acquire(&db->write);
  struct space_counts space = space_counts(db->space);
  const struct node *root = db->node; /* changes under write */
  stats->space_total = space.total * block;
  stats->space_free = space.free * block;
  stats->space_deferred = space.deferred * block;
  stats->space_live = (space.total - space.free - space.deferred) * block;
  stats->leaves = root->sums.leaves;
  stats->runs = root->sums.runs;
  stats->levels = root->level + 1u;
  stats->nodes = root->sums.nodes;
  stats->records_buffered = memtable_count(db->active.table);
  if (db->frozen.table && !db->frozen_drained) stats->records_buffered += memtable_count(db->frozen.table);
  stats->journal_write_bytes = db->journal.bytes_written;
  stats->alpha = (double)engine_policy(db, 1).alpha / ALPHA_ONE;
  stats->maintenance_owed = get(&db->owed);
  lock_leave(&db->write);
}

static void discard_stats(struct wodan_db *db, struct wodan_stats *stats) {
  uint64_t block = db->io.bounds.block_size;
  struct discard_counts counts = space_discard_counts(db->space);
  stats->discard_freed = counts.freed * block;
  stats->discard_waiting = counts.waiting * block;
  stats->discard_saved = counts.saved * block;
  stats->discard_done = counts.discarded * block;
  stats->discard_refused = counts.refused * block;
}

static void delay_stats(const struct engine_counters *c, struct wodan_stats *stats) {
  for (unsigned i = 0; i < WODAN_DELAY_BUCKETS; i++) stats->put_delays[i] = get(&c->put_delays[i]);
  stats->put_delay_max = get(&c->put_delay_max);
  stats->put_work_max = get(&c->put_work_max);
}

static void view_stats(struct wodan_db *db, struct wodan_stats *stats) {
  lock_acquire(&db->write);
  stats->pinned_memory = engine_pinned_memory(db);
  lock_leave(&db->write);
  stats->pinned_space = get(&db->pinned_blocks) * db->io.bounds.block_size;
  lock_acquire(&db->views_lock);
  stats->oldest_view_sequence = db->oldest_view ? db->oldest_view->sequence : 0;
  lock_leave(&db->views_lock);
}

static void value_stats(struct wodan_db *db, struct wodan_stats *stats) {
  struct values_counts counts = values_counts(db->values);
  stats->values_hits = counts.hits;
  stats->values_misses = counts.misses;
  stats->values_evictions = counts.evictions;
  stats->values_bytes = counts.bytes;
}

void engine_stats(struct wodan_db *db, struct wodan_stats *stats) {
  const struct engine_counters *c = &db->counters;
  uint64_t misses = striped_sum(&db->reading, READ_MISSES); /* before gets, which count first: never more than those */
  stats->gets = striped_sum(&db->reading, READ_GETS);
  stats->gets_found = stats->gets - misses;
  stats->puts = get(&c->puts);
  stats->deletes = get(&c->deletes);
  stats->range_deletes = get(&c->range_deletes);
  stats->batches = get(&c->batches);
  stats->syncs = get(&c->syncs);
  stats->checkpoints = get(&c->checkpoints);
  stats->cursor_moves = striped_sum(&db->reading, READ_MOVES);
  stats->user_bytes_written = get(&c->user_bytes_written);
  stats->user_bytes_read = striped_sum(&db->reading, READ_BYTES);
  stats->run_write_bytes = get(&c->run_bytes);
  stats->leaf_write_bytes = get(&c->leaf_bytes);
  stats->node_write_bytes = get(&c->node_bytes);
  page_stats(&c->pages, stats);
  device_stats(db, stats);
  state_stats(db, stats);
  discard_stats(db, stats);
  delay_stats(c, stats);
  view_stats(db, stats);
  stats->maintenance_bytes = get(&db->worked);
  stats->pinned_views = striped_sum(&db->reading, READ_PINS);
  stats->memory_budget = db->memory_budget;
  stats->memory_used = atomic_load(&db->mem.used);
  stats->memory_peak = atomic_load(&db->mem.peak);
  struct run_shelf_counts shelf = run_shelf_counts(db->shelf);
  stats->runs_loaded_bytes = shelf.bytes;
  stats->run_evictions = shelf.evictions;
  struct cache_counts cache = cache_counts(db->cache);
  stats->cache_hits = cache.hits;
  stats->cache_misses = cache.misses;
  stats->cache_evictions = cache.evictions;
  value_stats(db, stats);
}

void engine_info(struct wodan_db *db, struct wodan_info *info) {
  const struct superblock *sb = &db->superblock;
  const struct wodan_geometry *geometry = &db->device.raw->geometry;
  info->format_version = sb->version;
  memcpy(info->fsid, sb->fsid, 16);
  info->device_size = geometry->size;
  info->blocks = sb->device_blocks;
  info->block_size = sb->block_size;
  info->sector = sb->sector;
  info->page_size = sb->page_size;
  info->leaf_size = sb->leaf_size;
  info->journal_block_size = sb->journal_block_size;
  info->ordering = geometry->ordering;
  info->durable = geometry->durable;
  info->read_only = db->read_only;
  info->journal_size = sb->journal_blocks * sb->block_size;
  info->memtable_size = sb->memtable_size;
  info->key_size_max = sb->page_size / 8;
  info->value_size_max = engine_value_max(db);
  info->value_size_inline = engine_value_inline(db);
  info->batch_size_max = engine_batch_max(db);
  info->sequence = atomic_load(&db->sequence);
  info->replayed_operations = db->replayed;
  info->dropped_generations = db->dropped_generations;
  info->memory_needed = db->memory_needed;
  info->node_leaves = sb->node_leaves;
  info->node_children = sb->node_children;
  info->compression = (uint32_t)db->compression + WODAN_COMPRESSION_OFF;
  info->epoch = db->epoch;
  lock_acquire(&db->write);
  info->generation = db->checkpoint_generation;
  info->previous_generation = db->previous_generation;
  lock_leave(&db->write);
}
