/* Owns: the definition of a valid tree, as code. See tree_invariants.h for the list. */
#include "support/tree_invariants.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "iter/merge.h"

/* ---- the skeleton ------------------------------------------------------------------------------------------------ */

/* Where a node or leaf stands: keys from lower up to, but not with, upper; data NULL: open. */
struct range {
  struct wodan_slice lower, upper;
};

static struct range range_of_entry(const struct node *node, const struct range *range, uint32_t i) {
  struct range entry = *range;
  if (i > 0) entry.lower = entry_pivot(node, i);
  if (i + 1 < node->entry_count) entry.upper = entry_pivot(node, i + 1);
  return entry;
}

static bool inside(const struct range *range, struct wodan_slice key) {
  return (!range->lower.data || key_compare(range->lower, key) <= 0) &&
         (!range->upper.data || key_compare(key, range->upper) < 0);
}

struct extents {
  struct extent *all;
  size_t count, capacity;
};

static void add_extents(struct extents *extents, const struct block_ptr *ptr) {
  for (uint32_t i = 0; i < ptr->extent_count; i++) {
    if (extents->count == extents->capacity) {
      extents->capacity = 2 * extents->capacity + 64;
      extents->all = realloc(extents->all, extents->capacity * sizeof *extents->all);
      assert_non_null(extents->all);
    }
    extents->all[extents->count++] = ptr->extents[i];
  }
}

static void add_run_extents(struct extents *extents, const struct run *run) {
  struct block_ptr ptr;
  run_pointer(run, &ptr);
  assert_true(ptr.extent_count > 0);
  add_extents(extents, &ptr);
}

static int by_first_block(const void *a, const void *b) {
  uint64_t x = ((const struct extent *)a)->first, y = ((const struct extent *)b)->first;
  return (x > y) - (x < y);
}

static void assert_disjoint(struct extents *extents) {
  if (extents->count) qsort(extents->all, extents->count, sizeof *extents->all, by_first_block);
  for (size_t i = 1; i < extents->count; i++)
    if (extents->all[i - 1].first + extents->all[i - 1].count > extents->all[i].first)
      fail_msg("block %llu is owned twice", (unsigned long long)extents->all[i].first);
}

static void assert_pivots(const struct node *node, const struct range *range) {
  for (uint32_t i = 0; i < node->entry_count; i++) {
    struct wodan_slice pivot = entry_pivot(node, i);
    if (i > 0) assert_true(key_compare(entry_pivot(node, i - 1), pivot) < 0);
    if (i > 0 && range->lower.data) assert_true(key_compare(range->lower, pivot) < 0);
    assert_true(!range->upper.data || key_compare(pivot, range->upper) < 0);
    assert_int_equal(node_find(node, pivot), i);
    /* A first leaf may begin later than its node, when those before it vanished; and no sooner, but in the leftmost. */
    if (i == 0 && range->lower.data) assert_true(key_compare(range->lower, pivot) <= 0);
    if (node->level) assert_int_equal(node->entries[i].child->level, node->level - 1);
  }
}

static void assert_runs(const struct node *node) {
  uint64_t passed = UINT64_MAX;
  for (uint32_t i = 0; i < node->entry_count; i++)
    if (node->entries[i].flushed_upto < passed) passed = node->entries[i].flushed_upto;
  for (uint32_t i = 0; i < node->run_count; i++) {
    uint64_t generation = run_generation(node->runs[i]);
    if (i > 0) assert_true(run_generation(node->runs[i - 1]) > generation);
    if (node->entry_count && generation <= passed)
      fail_msg("run %llu is kept, though every entry has absorbed it", (unsigned long long)generation);
    assert_true(run_records(node->runs[i]) > 0 && run_deletes(node->runs[i]) <= run_records(node->runs[i]));
  }
}

static void assert_own_sums(const struct node *node, const struct node_sums *below) {
  struct node_sums sums = *below;
  uint64_t run_bytes = 0, weight = 0, runs = 0;
  for (uint32_t i = 0; i < node->run_count; i++) {
    uint64_t behind = 0, entries = node->entry_count ? node->entry_count : 1;
    for (uint32_t e = 0; e < node->entry_count; e++)
      behind += node->entries[e].flushed_upto < run_generation(node->runs[i]);
    if (node->entry_count == 0) behind = 1;
    run_bytes += run_length(node->runs[i]);
    weight += run_weight(node->runs[i]) / entries * behind;
    runs += 16 * behind;
  }
  sums.nodes++;
  sums.runs += node->run_count;
  sums.run_bytes += run_bytes;
  sums.run_path += run_bytes;
  assert_int_equal(node->run_bytes, run_bytes);
  assert_int_equal(node->unabsorbed, weight);
  assert_int_equal(node->unabsorbed_runs, runs / (node->entry_count ? node->entry_count : 1));
  assert_int_equal(node->sums.leaf_bytes, sums.leaf_bytes);
  assert_int_equal(node->sums.run_bytes, sums.run_bytes);
  assert_int_equal(node->sums.run_path, sums.run_path);
  assert_int_equal(node->sums.leaves, sums.leaves);
  assert_int_equal(node->sums.runs, sums.runs);
  assert_int_equal(node->sums.nodes, sums.nodes);
  assert_true(node->sums.header_blocks >= below->header_blocks);
  if (node->ptr.generation)
    assert_true(node->sums.header_blocks - below->header_blocks >= block_ptr_blocks(&node->ptr));
}

static void walk_skeleton(const struct node *node, const struct range *range, struct extents *extents) {
  struct node_sums below = {0};
  assert_true(node->level < NODE_LEVELS_MAX && (node->level == 0 || node->entry_count > 0));
  assert_pivots(node, range);
  assert_runs(node);
  if (node->ptr.generation) add_extents(extents, &node->ptr);
  for (uint32_t i = 0; i < node->run_count; i++) add_run_extents(extents, node->runs[i]);
  for (uint32_t i = 0; i < node->entry_count; i++) {
    if (node->level == 0) {
      add_run_extents(extents, node->entries[i].leaf);
      below.leaf_bytes += run_length(node->entries[i].leaf);
      below.leaves++;
      continue;
    }
    const struct node *child = node->entries[i].child;
    struct range place = range_of_entry(node, range, i);
    walk_skeleton(child, &place, extents);
    if (node->ptr.generation) assert_true(child->ptr.generation > 0 && child->ptr.generation < node->ptr.generation);
    below.leaf_bytes += child->sums.leaf_bytes;
    below.run_bytes += child->sums.run_bytes;
    if (child->sums.run_path > below.run_path) below.run_path = child->sums.run_path;
    below.leaves += child->sums.leaves;
    below.runs += child->sums.runs;
    below.nodes += child->sums.nodes;
    below.header_blocks += child->sums.header_blocks;
  }
  assert_own_sums(node, &below);
}

void tree_assert_skeleton(struct node *root) {
  struct extents extents = {0};
  walk_skeleton(root, &(struct range){0}, &extents);
  assert_disjoint(&extents);
  free(extents.all);
#ifndef NDEBUG
  assert_true(tree_valid(root));
#endif
}

uint64_t tree_blocks(const struct node *root) {
  uint64_t blocks = root->ptr.generation ? block_ptr_blocks(&root->ptr) : 0;
  for (uint32_t i = 0; i < root->run_count; i++) blocks += run_blocks(root->runs[i]);
  for (uint32_t i = 0; i < root->entry_count; i++)
    blocks += root->level ? tree_blocks(root->entries[i].child) : run_blocks(root->entries[i].leaf);
  return blocks;
}

/* ---- the records ------------------------------------------------------------------------------------------------- */

/* One record of one run. */
struct seen {
  struct wodan_slice key; /* malloc'ed */
  uint64_t sequence, value_hash;
  uint8_t kind;
};

struct records {
  struct seen *all;
  size_t count, capacity;
};

static uint64_t hash_of(struct wodan_slice bytes) {
  uint64_t hash = 14695981039346656037ull;
  for (size_t i = 0; i < bytes.size; i++) hash = (hash ^ ((const uint8_t *)bytes.data)[i]) * 1099511628211ull;
  return hash;
}

static void add_record(struct records *records, const struct record *record) {
  if (records->count == records->capacity) {
    records->capacity = 2 * records->capacity + 256;
    records->all = realloc(records->all, records->capacity * sizeof *records->all);
    assert_non_null(records->all);
  }
  char *key = malloc(record->key.size + 1);
  assert_non_null(key);
  if (record->key.size) memcpy(key, record->key.data, record->key.size);
  records->all[records->count++] = (struct seen){.key = {key, record->key.size},
                                                 .sequence = record->sequence,
                                                 .value_hash = hash_of(record->value),
                                                 .kind = record->kind};
}

static void walk_run(struct run *run, bool leaf, const struct range *range, struct records *records) {
  struct iterator *it = run_iterator(run);
  uint64_t count = 0, deletes = 0;
  assert_non_null(it);
  int status = iterator_first(it, NULL);
  for (; status == 0 && it->valid; status = iterator_next(it, NULL)) {
    if (!inside(range, it->record.key))
      fail_msg("a record of run %llu lies outside its node's range", (unsigned long long)run_generation(run));
    if (leaf && it->record.kind == RECORD_DELETE)
      fail_msg("leaf %llu holds a delete", (unsigned long long)run_generation(run));
    add_record(records, &it->record);
    count++;
    deletes += it->record.kind == RECORD_DELETE;
  }
  assert_int_equal(status, 0);
  assert_true(count > 0);
  if (!leaf) assert_int_equal(run_records(run), count);
  if (!leaf) assert_int_equal(run_deletes(run), deletes);
  iterator_close(it);
}

static void walk_records(const struct node *node, const struct range *range, struct records *records) {
  for (uint32_t i = 0; i < node->run_count; i++) walk_run(node->runs[i], false, range, records);
  for (uint32_t i = 0; i < node->entry_count; i++) {
    struct range place = range_of_entry(node, range, i);
    if (node->level)
      walk_records(node->entries[i].child, &place, records);
    else
      walk_run(node->entries[i].leaf, true, &place, records);
  }
}

/* By key, the newest first. */
static int by_key(const void *a, const void *b) {
  const struct seen *x = a, *y = b;
  int order = key_compare(x->key, y->key);
  return order ? order : (x->sequence < y->sequence) - (x->sequence > y->sequence);
}

static void assert_lookup(struct node *root, const struct seen *newest) {
  struct record record;
  struct frame *pin = NULL;
  int status = node_get(root, newest->key, &record, &pin, NULL);
  if (newest->kind == RECORD_DELETE) {
    assert_true(status == WODAN_ENOTFOUND || status == 0);
    if (status == 0) assert_int_equal(record.kind, RECORD_DELETE);
  } else {
    if (status != 0 || record.kind != RECORD_PUT || record.sequence != newest->sequence)
      fail_msg("lookup of %.*s: status %d, sequence %llu; the newest is %llu", (int)newest->key.size,
               (const char *)newest->key.data, status, status ? 0ull : (unsigned long long)record.sequence,
               (unsigned long long)newest->sequence);
    assert_int_equal(hash_of(record.value), newest->value_hash);
  }
  if (status == 0) cache_unpin(pin);
}

static struct iterator *scan_open(struct node *root) {
  uint32_t count = node_source_count(root);
  struct iterator **sources = calloc(count, sizeof *sources);
  assert_non_null(sources);
  assert_int_equal(node_sources(root, sources, NULL), 0);
  struct iterator *it = merge_open(root->env->mem, sources, count);
  assert_non_null(it);
  free(sources);
  return it;
}

/* The scan stands on, or steps over deletes to, the record. */
static void assert_scanned(struct iterator *it, const struct seen *newest, bool back) {
  while (it->valid && it->record.kind == RECORD_DELETE)
    assert_int_equal(back ? iterator_prev(it, NULL) : iterator_next(it, NULL), 0);
  if (newest->kind == RECORD_DELETE) return;
  assert_true(it->valid);
  assert_int_equal(key_compare(it->record.key, newest->key), 0);
  assert_int_equal(it->record.sequence, newest->sequence);
  assert_int_equal(hash_of(it->record.value), newest->value_hash);
  assert_int_equal(back ? iterator_prev(it, NULL) : iterator_next(it, NULL), 0);
}

static void assert_scan_ends(struct iterator *it, bool back) {
  while (it->valid && it->record.kind == RECORD_DELETE)
    assert_int_equal(back ? iterator_prev(it, NULL) : iterator_next(it, NULL), 0);
  assert_false(it->valid);
}

static void assert_records(struct node *root) {
  struct records records = {0};
  walk_records(root, &(struct range){0}, &records);
  if (records.count) qsort(records.all, records.count, sizeof *records.all, by_key);
  size_t newest = 0; /* of each key, moved to the front */
  for (size_t i = 0; i < records.count; i++) {
    if (newest && key_compare(records.all[newest - 1].key, records.all[i].key) == 0) {
      free((void *)records.all[i].key.data);
    } else {
      records.all[newest++] = records.all[i];
    }
  }
  for (size_t i = 0; i < newest; i++) assert_lookup(root, &records.all[i]);
  struct iterator *it = scan_open(root);
  assert_int_equal(iterator_first(it, NULL), 0);
  for (size_t i = 0; i < newest; i++) assert_scanned(it, &records.all[i], false);
  assert_scan_ends(it, false);
  assert_int_equal(iterator_last(it, NULL), 0);
  for (size_t i = newest; i-- > 0;) assert_scanned(it, &records.all[i], true);
  assert_scan_ends(it, true);
  iterator_close(it);
  for (size_t i = 0; i < newest; i++) free((void *)records.all[i].key.data);
  free(records.all);
}

/* ---- the policy -------------------------------------------------------------------------------------------------- */

static void assert_at_rest(const struct node *node, const struct tree_policy *policy) {
  bool many = node->entry_count > (node->level ? policy->node_children : policy->node_leaves);
  bool filling = many && node->level == 0 && node->run_count; /* its buffer, before it is emptied and cut */
  assert_true(!many || filling);
  bool all = !policy->everything || (!policy->lower.data && !policy->upper.data); /* not a range only */
  if (all && policy->damaged_count == 0) {
    assert_true(filling || node->run_bytes <= node_buffer_limit(node, policy));
    assert_true(node->run_count <= (node->level ? (uint32_t)RUNS_INNER : (uint32_t)RUNS_BOTTOM));
  }
  for (uint32_t i = 0; node->level && i < node->entry_count; i++) assert_at_rest(node->entries[i].child, policy);
}

void tree_assert_valid(struct node *root, const struct tree_policy *policy) {
  tree_assert_skeleton(root);
  assert_records(root);
  if (!policy || tree_next_work(root, policy).kind != WORK_NONE) return;
  assert_at_rest(root, policy);
  assert_int_equal(tree_owed(root, policy), 0);
}
