/* What the image is (wodan_info) and what was done since open (wodan_stats). */
#ifndef WODAN_STATS_H
#define WODAN_STATS_H

#include <wodan/db.h>

WODAN_BEGIN

/* Fixed at format, and the state found at open or now. */
struct wodan_info {
  uint32_t size; /* in: sizeof(struct wodan_info) */
  uint32_t format_version;
  uint8_t fsid[16];
  uint64_t device_size; /* bytes */
  uint64_t blocks;      /* allocation blocks of the volume, superblocks included */
  uint32_t block_size;
  uint32_t sector;
  uint32_t page_size;
  uint32_t leaf_size;
  uint32_t journal_block_size;
  uint32_t ordering;      /* what the device gives: enum wodan_ordering */
  uint32_t durable;       /* 1: the device makes flushed data durable */
  uint32_t read_only;     /* 1: this handle only reads */
  uint64_t journal_size;  /* bytes */
  uint64_t memtable_size; /* bytes */
  uint64_t key_size_max;
  uint64_t value_size_max;      /* of a large value too */
  uint64_t value_size_inline;   /* above it a value is a large one (kv.h) */
  uint64_t batch_size_max;      /* encoded bytes */
  uint64_t epoch;               /* number of this mount (writable) or of the newest mount seen (read-only) */
  uint64_t generation;          /* of the newest durable checkpoint */
  uint64_t previous_generation; /* of the checkpoint before; equal to generation when there is none intact */
  uint64_t sequence;            /* last operation committed */
  uint64_t replayed_operations; /* taken from the journal at open */
  uint64_t dropped_generations; /* with WODAN_OPEN_OLDER_ROOT: how many were left behind; else 0 */
  uint64_t memory_needed;       /* smallest memory budget this image opens with, bytes */
  uint32_t node_leaves;         /* most leaves a bottom node owns before it splits */
  uint32_t node_children;       /* most children an inner node has before it splits */
  uint32_t compression;         /* enum wodan_compression of what this handle writes, or chosen at format (read-only) */
  uint32_t reserved;
};

enum { WODAN_DELAY_BUCKETS = 48 };

/* Counters since open; sizes in bytes. An open cursor tells its moves in lots of 64, and when it reaches an end or is closed. Device counters are what the library asked of the device. */
struct wodan_stats {
  uint32_t size; /* in: sizeof(struct wodan_stats) */
  uint32_t reserved;
  /* user operations */
  uint64_t gets, gets_found, puts, deletes, range_deletes, batches, syncs, checkpoints, cursor_moves;
  uint64_t user_bytes_written; /* key and value bytes of committed operations */
  uint64_t user_bytes_read;    /* value bytes returned by gets, key and value bytes by cursors */
  /* device */
  uint64_t device_reads, device_read_bytes, device_writes, device_write_bytes;
  uint64_t device_barriers, device_flushes, device_discards, device_discard_bytes;
  uint64_t journal_write_bytes; /* the part of device_write_bytes that went to the journal */
  uint64_t run_write_bytes, leaf_write_bytes, node_write_bytes;
  double write_amplification; /* device_write_bytes / user_bytes_written, 0 before the first write */
  double read_amplification;  /* device_read_bytes / user_bytes_read, 0 before the first read */
  /* space, bytes of blocks */
  uint64_t space_total;    /* blocks outside superblocks and journal */
  uint64_t space_live;     /* owned by the live tree */
  uint64_t space_deferred; /* held for the previous root, views, or the next checkpoint */
  uint64_t space_free;
  uint64_t leaves, runs;
  uint64_t records_buffered; /* in memtables */
  uint64_t pinned_views;     /* views, cursors and pinned values open now */
  /* memory, bytes of the database's allocator that count against the budget (all but batches and wodan_get_alloc) */
  uint64_t memory_budget, memory_used, memory_peak;
  uint64_t cache_hits, cache_misses, cache_evictions;
  /* tree and maintenance */
  uint64_t levels;            /* node levels, a lone root = 1 */
  uint64_t nodes;             /* of all levels */
  double alpha;               /* buffered bytes allowed per leaf byte, now: 1, 1/2 or 1/4 by free space */
  uint64_t maintenance_owed;  /* bytes of tree work not done yet */
  uint64_t maintenance_bytes; /* bytes of tree work done since open */
  /* Commits by the delay the engine caused, waiting for maintenance or doing it (device flushes of durable commits not
   * counted): [0] none or below 1 ns, [i] 2^(i-1) <= ns < 2^i, the last everything above too. wodan_delay_percentile
   * reads it. */
  uint64_t put_delays[WODAN_DELAY_BUCKETS];
  uint64_t put_delay_max; /* ns */
  uint64_t put_work_max;  /* most bytes of maintenance one commit did or waited for */
  /* views */
  uint64_t pinned_memory;        /* bytes of memory that only open views hold */
  uint64_t pinned_space;         /* bytes of blocks that only open views hold; part of space_deferred */
  uint64_t oldest_view_sequence; /* what the oldest open view sees up to; 0: no view */
  /* runs */
  uint64_t runs_loaded_bytes; /* indexes and filters in memory */
  uint64_t run_evictions;     /* indexes and filters given up for memory */
  /* compression: data pages of leaves written, and of leaves and runs read from the device */
  uint64_t leaf_pages, leaf_pages_packed;           /* all; those that were stored compressed */
  uint64_t leaf_pages_passed;                       /* part of both: compressed ones taken over as they were stored */
  uint64_t leaf_page_bytes, leaf_page_stored_bytes; /* of the pages; of what stands on the device for them */
  uint64_t pages_read, pages_read_bytes, pages_read_stored_bytes; /* the same of pages read */
  /* discards, bytes of blocks: freed = waiting + saved + done + refused, and one that is under way, where wodan_trim took
   * nothing that did not wait; all 0 where nothing is to be discarded */
  uint64_t discard_freed;   /* became free since the open */
  uint64_t discard_waiting; /* of it now */
  uint64_t discard_saved;   /* used again before it was discarded */
  uint64_t discard_done;    /* discarded */
  uint64_t discard_refused; /* by the device */
  /* large values in memory, which wodan_get_pinned and wodan_get_many keep */
  uint64_t values_hits, values_misses, values_evictions;
  uint64_t values_bytes; /* kept now */
};

/* The whole numbers of struct wodan_stats but the histogram, by name: for who prints or exports them all. */
/* clang-format off */
#define WODAN_STATS_COUNTERS(X) \
  X(space_total) X(space_live) X(space_deferred) X(space_free) X(levels) X(nodes) X(leaves) X(runs) X(records_buffered) \
  X(maintenance_owed) X(maintenance_bytes) X(pinned_views) X(pinned_memory) X(pinned_space) X(oldest_view_sequence) \
  X(memory_budget) X(memory_used) X(memory_peak) \
  X(runs_loaded_bytes) X(run_evictions) X(cache_hits) X(cache_misses) X(cache_evictions) \
  X(gets) X(gets_found) X(puts) X(deletes) X(range_deletes) X(batches) X(syncs) X(checkpoints) X(cursor_moves) \
  X(user_bytes_written) X(user_bytes_read) \
  X(device_reads) X(device_read_bytes) X(device_writes) X(device_write_bytes) \
  X(device_barriers) X(device_flushes) X(device_discards) X(device_discard_bytes) \
  X(journal_write_bytes) X(run_write_bytes) X(leaf_write_bytes) X(node_write_bytes) \
  X(leaf_pages) X(leaf_pages_packed) X(leaf_pages_passed) X(leaf_page_bytes) X(leaf_page_stored_bytes) \
  X(pages_read) X(pages_read_bytes) X(pages_read_stored_bytes) \
  X(discard_freed) X(discard_waiting) X(discard_saved) X(discard_done) X(discard_refused) \
  X(values_hits) X(values_misses) X(values_evictions) X(values_bytes) \
  X(put_delay_max) X(put_work_max)
/* clang-format on */

/* Fill *info / *stats up to their size field (0: the whole struct). 0 or WODAN_EINVAL. Any thread. */
WODAN_API int wodan_info(struct wodan_db *db, struct wodan_info *info);
WODAN_API int wodan_stats(struct wodan_db *db, struct wodan_stats *stats);

/* The same for a person or a monitor, of a database that is open (its image is locked, so `wodan stat` cannot look): one JSON
 * object with every number of struct wodan_stats under its name, put_delays as a list of {below_ns, commits} without empty
 * buckets, and the tree as it is now, with the members that `wodan stat --json` has: `space`, bytes by class (beside free what
 * waits for its discard), and `fill`, a list of levels (nodes, entries, runs, nodes by their runs) and the leaves by their
 * bytes in tenths of a leaf. *size gets the text's length without the zero byte behind it; where that has no room in
 * `capacity` bytes, WODAN_ERANGE is returned and `text` holds anything. WODAN_STATS_JSON_SIZE is room enough. Takes no memory;
 * waits as a put may; walks the nodes in memory. 0, WODAN_ERANGE, WODAN_EINVAL. Any thread. */
enum { WODAN_STATS_JSON_SIZE = 32768 };
WODAN_API int wodan_stats_json(struct wodan_db *db, char *text, size_t capacity, size_t *size);

/* The delay in ns that `percent` (0..100) of the commits in stats->put_delays did not pass: the upper edge of the bucket,
 * so at most twice too large, and never above put_delay_max. 0 when there was no commit. Any thread. */
WODAN_API uint64_t wodan_delay_percentile(const struct wodan_stats *stats, double percent);

WODAN_END

#endif
