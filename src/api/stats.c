/* Owns: include/wodan/stats.h: structs of whatever size the caller was built with. See: tests/unit/test_engine_kv.c and its siblings. */
#include "api/api.h"

#include <stddef.h>

static int give(void *theirs, uint32_t their_size, const void *ours, size_t our_size) {
  size_t size = their_size ? their_size : our_size;
  if (size < sizeof(uint32_t)) return WODAN_EINVAL;
  if (size > our_size) size = our_size;
  memcpy(theirs, ours, size);
  return 0;
}

int wodan_info(struct wodan_db *db, struct wodan_info *info) {
  if (!db || !info) return api_missing(db, "the place for the info");
  struct wodan_info ours = {.size = info->size ? info->size : (uint32_t)sizeof ours};
  engine_info(db, &ours);
  return give(info, info->size, &ours, sizeof ours);
}

int wodan_stats(struct wodan_db *db, struct wodan_stats *stats) {
  if (!db || !stats) return api_missing(db, "the place for the statistics");
  struct wodan_stats ours = {.size = stats->size ? stats->size : (uint32_t)sizeof ours};
  engine_stats(db, &ours);
  return give(stats, stats->size, &ours, sizeof ours);
}

static uint64_t bucket_edge(const struct wodan_stats *stats, unsigned bucket) {
  if (bucket == 0) return 0;
  if (bucket == WODAN_DELAY_BUCKETS - 1) return stats->put_delay_max;
  uint64_t edge = (uint64_t)1 << bucket;
  return edge < stats->put_delay_max ? edge : stats->put_delay_max;
}

uint64_t wodan_delay_percentile(const struct wodan_stats *stats, double percent) {
  const size_t needed = offsetof(struct wodan_stats, put_delay_max) + sizeof stats->put_delay_max;
  if (!stats || (stats->size && stats->size < needed)) return 0;
  uint64_t total = 0, seen = 0;
  for (unsigned i = 0; i < WODAN_DELAY_BUCKETS; i++) total += stats->put_delays[i];
  if (total == 0) return 0;
  if (!(percent > 0)) percent = 0;
  if (percent > 100) percent = 100;
  double rank = percent * (double)total / 100 * (1 - 1e-12); /* 99.9 % of 1000 are 999, whatever the last bit says */
  unsigned last = 0;
  for (unsigned i = 0; i < WODAN_DELAY_BUCKETS; i++) {
    if (stats->put_delays[i] == 0) continue;
    seen += stats->put_delays[i];
    last = i;
    if ((double)seen >= rank) break;
  }
  return bucket_edge(stats, last);
}
