/* Owns: the count of what deletes on their way will free.
 *
 * Always true: each delete counts for the one leaf that holds its key, at most as much as that leaf has. In a bottom node all
 * of it counts, for the leaf is at hand; above, only leaves that lose a good part count: deletes that lie far apart are
 * better passed on with others, those of a queue or of a range are worth a journey of their own. Where deletes turned out to
 * be of keys that were not there, twice as many are needed the next time: else they would have leaves rewritten for nothing.
 *
 * See: DESIGN.md "Deletes", tests/unit/test_policy.c. */
#include "tree/tally.h"

#include <assert.h>

enum { DENSE_SHARE = 4 };

void tally_begin(struct tally *tally, struct node *node) {
  *tally = (struct tally){.mem = node->env->mem};
  if (node->entry_count == 0) return;
  tally->frees = mem_array(tally->mem, node->entry_count, sizeof *tally->frees);
  if (!tally->frees) return; /* it is only a hint */
  for (uint32_t i = 0; i < node->entry_count; i++) tally->frees[i] = 0;
  tally->node = node;
  node_ref(node);
}

/* What is known of the leaf at hand goes into the sum of its entry. */
static void settle(struct tally *tally) {
  if (!tally->leaf || tally->deletes == 0) return;
  uint64_t size = run_payload(tally->leaf), records = run_records(tally->leaf);
  uint64_t frees = tally->deletes * (records ? size / records : USUAL_RECORD) >> run_overrated(tally->leaf);
  if (frees > size) frees = size;
  if (tally->node->level == 0 || frees >= size / DENSE_SHARE) tally->frees[tally->at] += frees;
  tally->deletes = 0;
}

/* The leaf whose range holds the key; false: there is none. */
static bool descend(struct tally *tally, struct wodan_slice key) {
  const struct node *node = tally->node;
  tally->has_upper = false;
  tally->leaf = NULL;
  tally->at = node_find(node, key);
  for (;;) {
    uint32_t i = node_find(node, key);
    if (i + 1 < node->entry_count) {
      tally->upper = entry_pivot(node, i + 1);
      tally->has_upper = true;
    }
    if (node->level == 0) {
      tally->leaf = node->entries[i].leaf;
      return true;
    }
    node = node->entries[i].child;
    if (node->entry_count == 0) return false;
  }
}

void tally_add(struct tally *tally, const struct record *record) {
  if (!tally->node || record->kind != RECORD_DELETE) return;
  if (!tally->leaf || (tally->has_upper && key_compare(record->key, tally->upper) >= 0)) {
    settle(tally);
    if (!descend(tally, record->key)) return;
  }
  tally->deletes++;
}

/* Recurses level by level, into what lies at the edge of a range. */
uint64_t bytes_deleted(uint32_t level, const struct node_entry *entry, const struct key_span *span,
                       struct ranges ranges) {
  if (!ranges_touch_span(ranges, span)) return 0;
  bool all = ranges_cover_span(ranges, span);
  if (level == 0) return all ? run_payload(entry->leaf) : 0;
  const struct node *child = entry->child;
  if (all) return child->sums.leaf_bytes + child->sums.run_bytes;
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < child->entry_count; i++) {
    struct key_span own = entry_span(child, i, span);
    bytes += bytes_deleted(child->level, &child->entries[i], &own, ranges);
  }
  return bytes;
}

void tally_delete(struct tally *tally, const struct key_span *span, struct ranges ranges) {
  for (uint32_t i = 0; tally->node && ranges.count && i < tally->node->entry_count; i++) {
    struct key_span own = entry_span(tally->node, i, span);
    tally->frees[i] += bytes_deleted(tally->node->level, &tally->node->entries[i], &own, ranges);
  }
}

void tally_finish(struct tally *tally) {
  settle(tally);
  tally->leaf = NULL;
}

void tally_release(struct tally *tally) {
  if (tally->node) {
    mem_array_free(tally->mem, tally->frees, tally->node->entry_count, sizeof *tally->frees);
    node_unref(tally->node);
  }
  *tally = (struct tally){0};
}
