/* Owns: include/wodan/stats.h: structs of whatever size the caller was built with. See: tests/unit/test_engine_kv.c and its siblings. */
#include "api/api.h"

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
