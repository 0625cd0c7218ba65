/* Owns: node versions and leaf handles: creation, sharing, edits that make a new version.
 *
 * Always true: pivots ascend strictly; runs have falling generations; a run is in the node while some leaf has not
 * absorbed it; nothing in a published node changes.
 *
 * See: tests/unit/test_tree.c. */
#include "tree/node.h"

#include <assert.h>
#include <string.h>

struct leaf *leaf_create(struct mem *mem, struct run *run, struct wodan_slice pivot) {
  struct leaf *leaf = mem_alloc(mem, sizeof *leaf + pivot.size);
  if (!leaf) {
    run_unref(run);
    return NULL;
  }
  atomic_init(&leaf->refs, 1);
  leaf->mem = mem;
  leaf->run = run;
  leaf->pivot_size = (uint32_t)pivot.size;
  if (pivot.size) memcpy(leaf->pivot, pivot.data, pivot.size);
  return leaf;
}

void leaf_ref(struct leaf *leaf) { atomic_fetch_add_explicit(&leaf->refs, 1, memory_order_relaxed); }

void leaf_unref(struct leaf *leaf) {
  if (atomic_fetch_sub_explicit(&leaf->refs, 1, memory_order_acq_rel) != 1) return;
  run_unref(leaf->run);
  mem_free(leaf->mem, leaf, sizeof *leaf + leaf->pivot_size);
}

static uint64_t key_head(struct wodan_slice key) {
  const uint8_t *p = key.data;
  uint64_t head = 0;
  for (size_t i = 0; i < 8; i++) head = head << 8 | (i < key.size ? p[i] : 0);
  return head;
}

static void node_free(struct node *node) {
  struct mem *mem = node->env->mem;
  mem_array_free(mem, node->leaves, node->leaf_count, sizeof *node->leaves);
  mem_array_free(mem, node->heads, node->leaf_count, sizeof *node->heads);
  mem_array_free(mem, node->runs, node->run_count, sizeof *node->runs);
  mem_free(mem, node, sizeof *node);
}

struct node *node_create(struct run_env *env, const struct node_leaf *leaves, uint32_t leaf_count,
                         struct run *const *runs, uint32_t run_count) {
  struct node *node = mem_zalloc(env->mem, sizeof *node);
  if (!node) return NULL;
  atomic_init(&node->refs, 1);
  node->env = env;
  node->leaf_count = leaf_count;
  node->run_count = run_count;
  node->leaves = mem_array(env->mem, leaf_count, sizeof *node->leaves);
  node->heads = mem_array(env->mem, leaf_count, sizeof *node->heads);
  node->runs = mem_array(env->mem, run_count, sizeof *node->runs);
  if (!node->leaves || !node->heads || !node->runs) {
    node_free(node);
    return NULL;
  }
  for (uint32_t i = 0; i < leaf_count; i++) {
    node->leaves[i] = leaves[i];
    node->heads[i] = key_head(leaf_pivot(leaves[i].leaf));
    node->leaf_bytes += run_length(leaves[i].leaf->run);
    leaf_ref(leaves[i].leaf);
    assert(i == 0 || key_compare(leaf_pivot(leaves[i - 1].leaf), leaf_pivot(leaves[i].leaf)) < 0);
  }
  for (uint32_t i = 0; i < run_count; i++) {
    node->runs[i] = runs[i];
    node->run_bytes += run_length(runs[i]);
    run_ref(runs[i]);
    assert(i == 0 || run_generation(runs[i - 1]) > run_generation(runs[i]));
  }
  return node;
}

void node_ref(struct node *node) { atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed); }

void node_unref(struct node *node) {
  if (!node || atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) != 1) return;
  for (uint32_t i = 0; i < node->leaf_count; i++) leaf_unref(node->leaves[i].leaf);
  for (uint32_t i = 0; i < node->run_count; i++) run_unref(node->runs[i]);
  node_free(node);
}

int node_from_image(struct run_env *env, const struct node_image *image, struct node **node,
                    struct wodan_error *error) {
  if (image->level)
    return status_set(error, WODAN_ENOTSUP, 0, WODAN_NO_BLOCK, "the tree has %u levels", (unsigned)image->level + 1);
  struct node_leaf *leaves = mem_array(env->mem, image->entry_count, sizeof *leaves);
  struct run **runs = mem_array(env->mem, image->run_count, sizeof(struct run *));
  uint32_t leaf_count = 0, run_count = 0;
  bool ok = leaves && runs;
  for (; ok && leaf_count < image->entry_count; leaf_count++) {
    const struct node_image_entry *from = &image->entries[leaf_count];
    struct run *run = run_create(env, &from->branch.ptr, (struct wodan_slice){0});
    struct leaf *leaf = run ? leaf_create(env->mem, run, from->pivot) : NULL;
    if (!(ok = leaf != NULL)) break;
    leaves[leaf_count] = (struct node_leaf){leaf, from->branch.flushed_upto};
  }
  for (; ok && run_count < image->run_count; run_count++) {
    const struct node_image_run *from = &image->runs[run_count];
    runs[run_count] = run_create(env, &from->ptr, (struct wodan_slice){0});
    if (!(ok = runs[run_count] != NULL)) break;
    run_set_counts(runs[run_count], from->records, from->deletes);
  }
  *node = ok ? node_create(env, leaves, leaf_count, runs, run_count) : NULL;
  for (uint32_t i = 0; i < leaf_count; i++) leaf_unref(leaves[i].leaf);
  for (uint32_t i = 0; i < run_count; i++) run_unref(runs[i]);
  mem_array_free(env->mem, leaves, image->entry_count, sizeof *leaves);
  mem_array_free(env->mem, runs, image->run_count, sizeof(struct run *));
  return *node ? 0 : status_nomem(error);
}

int node_to_image(const struct node *node, struct node_image *image, struct wodan_error *error) {
  struct mem *mem = node->env->mem;
  *image = (struct node_image){.mem = mem, .entry_capacity = node->leaf_count};
  image->entries = mem_array(mem, node->leaf_count, sizeof *image->entries);
  image->runs = mem_array(mem, node->run_count, sizeof *image->runs);
  image->run_count = node->run_count;
  if (!image->entries || !image->runs) {
    node_image_release(image);
    return status_nomem(error);
  }
  image->entry_count = node->leaf_count;
  for (uint32_t i = 0; i < node->leaf_count; i++) {
    image->entries[i].pivot = leaf_pivot(node->leaves[i].leaf);
    image->entries[i].branch.flushed_upto = node->leaves[i].flushed_upto;
    run_pointer(node->leaves[i].leaf->run, &image->entries[i].branch.ptr);
  }
  for (uint32_t i = 0; i < node->run_count; i++) {
    run_pointer(node->runs[i], &image->runs[i].ptr);
    image->runs[i].records = run_records(node->runs[i]);
    image->runs[i].deletes = run_deletes(node->runs[i]);
  }
  return 0;
}

struct node *node_with_run(const struct node *node, struct run *run) {
  struct mem *mem = node->env->mem;
  struct run **runs = mem_array(mem, node->run_count + 1, sizeof(struct run *));
  if (!runs) return NULL;
  runs[0] = run;
  memcpy(runs + 1, node->runs, node->run_count * sizeof(struct run *));
  struct node *result = node_create(node->env, node->leaves, node->leaf_count, runs, node->run_count + 1);
  mem_array_free(mem, runs, node->run_count + 1, sizeof(struct run *));
  return result;
}

struct node *node_with_leaves(const struct node *node, uint32_t at, uint32_t removed, const struct node_leaf *added,
                              uint32_t added_count, uint64_t absorbed) {
  assert(at + removed <= node->leaf_count);
  struct mem *mem = node->env->mem;
  uint32_t count = node->leaf_count - removed + added_count;
  struct node_leaf *leaves = mem_array(mem, count, sizeof *leaves);
  if (!leaves) return NULL;
  memcpy(leaves, node->leaves, at * sizeof *leaves);
  if (added_count) memcpy(leaves + at, added, added_count * sizeof *leaves);
  memcpy(leaves + at + added_count, node->leaves + at + removed, (node->leaf_count - at - removed) * sizeof *leaves);
  uint64_t passed = count ? UINT64_MAX : absorbed; /* every leaf has absorbed runs up to this generation */
  for (uint32_t i = 0; i < count; i++)
    if (leaves[i].flushed_upto < passed) passed = leaves[i].flushed_upto;
  uint32_t runs = node->run_count;
  while (runs && run_generation(node->runs[runs - 1]) <= passed) runs--;
  struct node *result = node_create(node->env, leaves, count, node->runs, runs);
  mem_array_free(mem, leaves, count, sizeof *leaves);
  return result;
}

void node_mark_dropped(const struct node *older, const struct node *newer) {
  uint32_t j = 0;
  for (uint32_t i = 0; i < older->leaf_count; i++) {
    struct leaf *leaf = older->leaves[i].leaf;
    while (j < newer->leaf_count && key_compare(leaf_pivot(newer->leaves[j].leaf), leaf_pivot(leaf)) < 0) j++;
    bool kept = j < newer->leaf_count && newer->leaves[j].leaf == leaf;
    if (!kept) run_mark_dead(leaf->run);
  }
  for (uint32_t i = 0; i < older->run_count; i++) {
    bool kept = false;
    for (uint32_t k = 0; k < newer->run_count; k++) kept |= newer->runs[k] == older->runs[i];
    if (!kept) run_mark_dead(older->runs[i]);
  }
}

uint32_t node_find_leaf(const struct node *node, struct wodan_slice key) {
  assert(node->leaf_count > 0);
  uint64_t head = key_head(key);
  uint32_t low = 0, high = node->leaf_count; /* pivot[low] <= key (or low is 0) < pivot[high] */
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    bool above = node->heads[middle] != head ? node->heads[middle] > head
                                             : key_compare(leaf_pivot(node->leaves[middle].leaf), key) > 0;
    if (above)
      high = middle;
    else
      low = middle;
  }
  return low;
}
