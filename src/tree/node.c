/* Owns: node versions: creation, sharing, the sums over a subtree, and the way from and to the device.
 *
 * Always true: pivots ascend strictly; runs have falling generations; all entries of a node are of one kind; nothing in a
 * published node changes but `ptr`, which only the writer reads.
 *
 * See: tests/unit/test_tree.c. */
#include "tree/node.h"

#include <assert.h>
#include <string.h>
#include "base/wire.h"
#include "format/page.h"
#include "tree/tally.h"
#include "tree/walk.h"

static uint64_t key_head(struct wodan_slice key) {
  const uint8_t *p = key.data;
  if (key.size >= 8) return __builtin_bswap64(load_u64(p));
  uint64_t head = 0;
  for (size_t i = 0; i < 8; i++) head = head << 8 | (i < key.size ? p[i] : 0);
  return head;
}

/* A delete, of a key or a range, weighs as much again as a record of usual size that it may free. */
uint64_t run_weight(const struct run *run) {
  return run_length(run) + (run_deletes(run) + run_ranges(run).count) * USUAL_RECORD;
}

uint64_t node_memory(uint32_t entries, uint32_t runs, size_t pivot_size) {
  return sizeof(struct node) + pivot_size + (sizeof(struct node_entry) + 8) * (uint64_t)entries +
         sizeof(struct run *) * (uint64_t)runs;
}

static void node_free(struct node *node) {
  struct mem *mem = run_env_skeleton(node->env);
  mem_array_free(mem, node->entries, node->entry_count, sizeof *node->entries);
  mem_array_free(mem, node->heads, node->entry_count, sizeof *node->heads);
  mem_array_free(mem, node->runs, node->run_count, sizeof *node->runs);
  mem_free(mem, node, sizeof *node + node->pivot_size);
}

static struct node *node_allocate(struct run_env *env, const struct node_parts *parts) {
  struct mem *mem = run_env_skeleton(env);
  struct node *node = mem_zalloc(mem, sizeof *node + parts->pivot.size);
  if (!node) return NULL;
  atomic_init(&node->refs, 1);
  node->env = env;
  node->level = parts->level;
  node->entry_count = parts->entry_count;
  node->run_count = parts->run_count;
  node->pivot_size = (uint32_t)parts->pivot.size;
  if (parts->pivot.size) memcpy(node->pivot, parts->pivot.data, parts->pivot.size);
  node->entries = mem_array(mem, parts->entry_count, sizeof *node->entries);
  node->heads = mem_array(mem, parts->entry_count, sizeof *node->heads);
  node->runs = mem_array(mem, parts->run_count, sizeof *node->runs);
  if (node->entries && node->heads && node->runs) return node;
  node_free(node);
  return NULL;
}

/* Upper bound of the encoded header, in blocks: exact but for what pivots share, and for children not yet on the device. */
static uint64_t header_blocks(const struct node *node, uint64_t pivots) {
  enum { CHILD = 40, RECORD = 4 + 4 + 2 + 2 + 1 + 1, COUNTS = 20 };
  const struct volume_bounds *bounds = &node->env->io->bounds;
  uint64_t bytes = object_header_size_max(bounds, 0, 0, BLOCK_PTR_EXTENTS_MAX, 2) + PAGE_HEADER_SIZE + pivots;
  for (uint32_t i = 0; i < node->entry_count; i++) {
    bytes += RECORD + wire_varint_size(node->entries[i].flushed_upto);
    bytes += node->level ? CHILD : run_pointer_bytes(node->entries[i].leaf);
    if (node->level == 0) bytes += wire_varint_size(run_blob_count(node->entries[i].leaf)) - 1;
  }
  for (uint32_t i = 0; i < node->run_count; i++) bytes += COUNTS + run_pointer_bytes(node->runs[i]);
  return (bytes + bounds->block_size - 1) / bounds->block_size;
}

static void add_sums(struct node_sums *to, const struct node_sums *more) {
  to->leaf_bytes += more->leaf_bytes;
  to->run_bytes += more->run_bytes;
  to->leaves += more->leaves;
  to->runs += more->runs;
  to->nodes += more->nodes;
  to->header_blocks += more->header_blocks;
  to->range_bytes += more->range_bytes;
  if (more->header_most > to->header_most) to->header_most = more->header_most;
  if (more->run_path > to->run_path) to->run_path = more->run_path;
}

/* The mean over the entries of what they have not absorbed yet. */
static void sum_unabsorbed(struct node *node) {
  uint64_t weight = 0, runs = 0;
  if (node->entry_count == 0 || node->run_count == 0) {
    for (uint32_t i = 0; i < node->run_count; i++) node->unabsorbed += run_weight(node->runs[i]);
    node->unabsorbed_runs = 16ull * node->run_count;
    return;
  }
  for (uint32_t i = 0; i < node->run_count; i++) {
    uint64_t generation = run_generation(node->runs[i]), behind = 0;
    for (uint32_t e = 0; e < node->entry_count; e++) behind += node->entries[e].flushed_upto < generation;
    weight += run_weight(node->runs[i]) / node->entry_count * behind;
    runs += 16 * behind;
  }
  node->unabsorbed = weight;
  node->unabsorbed_runs = runs / node->entry_count;
}

static void sum_up(struct node *node) {
  uint64_t pivots = 0;
  for (uint32_t i = 0; i < node->entry_count; i++) {
    pivots += entry_pivot(node, i).size;
    if (node->level) {
      add_sums(&node->sums, &node->entries[i].child->sums);
    } else {
      node->sums.leaf_bytes += run_length(node->entries[i].leaf);
      node->sums.leaves++;
    }
  }
  for (uint32_t i = 0; i < node->run_count; i++) node->run_bytes += run_length(node->runs[i]);
  for (uint32_t i = 0; i < node->run_count; i++) node->sums.range_bytes += run_ranges_memory(node->runs[i]);
  node->sums.run_bytes += node->run_bytes;
  node->sums.run_path += node->run_bytes;
  node->sums.runs += node->run_count;
  node->sums.nodes++;
  uint64_t own = header_blocks(node, pivots);
  node->sums.header_blocks += own;
  if (own > node->sums.header_most) node->sums.header_most = own;
  sum_unabsorbed(node);
}

struct node *node_create(struct run_env *env, const struct node_parts *parts) {
  struct node *node = node_allocate(env, parts);
  if (!node) return NULL;
  for (uint32_t i = 0; i < parts->entry_count; i++) {
    node->entries[i] = parts->entries[i];
    if (node->level)
      node_ref(node->entries[i].child);
    else
      run_ref(node->entries[i].leaf);
    node->heads[i] = key_head(entry_pivot(node, i));
    assert(i == 0 || key_compare(entry_pivot(node, i - 1), entry_pivot(node, i)) < 0);
    assert(node->level == 0 || node->entries[i].child->level + 1 == node->level);
  }
  for (uint32_t i = 0; i < parts->run_count; i++) {
    node->runs[i] = parts->runs[i];
    run_ref(parts->runs[i]);
    node->ranged |= run_ranges(parts->runs[i]).count > 0;
    assert(i == 0 || run_generation(parts->runs[i - 1]) > run_generation(parts->runs[i]));
  }
  sum_up(node);
  return node;
}

void node_ref(struct node *node) { atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed); }

/* Recurses level by level. */
void node_unref(struct node *node) {
  if (!node || atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) != 1) return;
  for (uint32_t i = 0; i < node->entry_count; i++) {
    if (node->level)
      node_unref(node->entries[i].child);
    else
      run_unref(node->entries[i].leaf);
  }
  for (uint32_t i = 0; i < node->run_count; i++) run_unref(node->runs[i]);
  node_free(node);
}

/* How many of the sorted heads are at most `most`. A mask instead of a choice, as in page.c: no jump, so none is mispredicted. */
static uint32_t heads_up_to(const uint64_t *heads, uint32_t count, uint64_t most) {
  const uint64_t *base = heads;
  if (count == 0) return 0;
  for (uint32_t left = count; left > 1;) {
    uint32_t half = left / 2;
    base += half & (0 - (size_t)(base[half - 1] <= most));
    left -= half;
  }
  return (uint32_t)(base - heads) + (*base <= most);
}

uint32_t node_find(const struct node *node, struct wodan_slice key) {
  assert(node->entry_count > 0);
  uint64_t head = key_head(key);
  uint32_t low = heads_up_to(node->heads + 1, node->entry_count - 1, head);
  if (low == 0 || node->heads[low] != head) return low;
  uint32_t high = low + 1; /* among equal heads whole keys count: pivot[low] <= key (or low is 0) < pivot[high] */
  low = head ? heads_up_to(node->heads + 1, low, head - 1) : 0;
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (key_compare(entry_pivot(node, middle), key) > 0)
      high = middle;
    else
      low = middle;
  }
  return low;
}

bool node_entry_doomed(const struct node *node, uint32_t i, const struct key_span *span) {
  struct key_span own = entry_span(node, i, span);
  for (uint32_t r = 0; node->ranged && r < node->run_count; r++) {
    if (run_generation(node->runs[r]) <= node->entries[i].flushed_upto) break;
    if (ranges_cover_span(run_ranges(node->runs[r]), &own)) return true;
  }
  return false;
}

/* Recurses level by level. */
struct node *node_create_empty(struct run_env *env, uint32_t level, struct wodan_slice pivot) {
  struct node_entry only = {.child = level ? node_create_empty(env, level - 1, pivot) : NULL};
  if (level && !only.child) return NULL;
  struct node_parts parts = {.level = level, .pivot = pivot, .entries = &only, .entry_count = level ? 1 : 0};
  struct node *node = node_create(env, &parts);
  node_unref(only.child);
  return node;
}

uint64_t node_newest_mark(const struct node *node) {
  uint64_t mark = node->run_count ? run_generation(node->runs[0]) : 0;
  for (uint32_t i = 0; i < node->entry_count; i++)
    if (node->entries[i].flushed_upto > mark) mark = node->entries[i].flushed_upto;
  return mark;
}

/* ---- in debug builds ------------------------------------------------------------------------------------------- */

#ifndef NDEBUG
static bool same_sums(const struct node *node) {
  struct node_sums below = {0};
  uint64_t run_bytes = 0;
  for (uint32_t i = 0; i < node->entry_count; i++) {
    if (node->level) {
      add_sums(&below, &node->entries[i].child->sums);
    } else {
      below.leaf_bytes += run_length(node->entries[i].leaf);
      below.leaves++;
    }
  }
  for (uint32_t i = 0; i < node->run_count; i++) run_bytes += run_length(node->runs[i]);
  return node->run_bytes == run_bytes && node->sums.run_bytes == below.run_bytes + run_bytes &&
         node->sums.run_path == below.run_path + run_bytes && node->sums.leaf_bytes == below.leaf_bytes &&
         node->sums.leaves == below.leaves && node->sums.runs == below.runs + node->run_count &&
         node->sums.nodes == below.nodes + 1 && node->sums.header_blocks >= below.header_blocks + 1;
}

static bool runs_valid(const struct node *node) {
  uint64_t passed = node->entry_count ? UINT64_MAX : 0;
  for (uint32_t i = 0; i < node->entry_count; i++)
    if (node->entries[i].flushed_upto < passed) passed = node->entries[i].flushed_upto;
  for (uint32_t i = 0; i < node->run_count; i++) {
    if (run_generation(node->runs[i]) <= passed) return false;
    if (i > 0 && run_generation(node->runs[i - 1]) <= run_generation(node->runs[i])) return false;
  }
  return true;
}

/* Keys from lower (data NULL: open) up to, but not with, upper. Recurses level by level. */
static bool node_valid(const struct node *node, struct wodan_slice lower, struct wodan_slice upper) {
  if (node->level && node->entry_count == 0) return false;
  if (!runs_valid(node) || !same_sums(node)) return false;
  for (uint32_t i = 0; i < node->entry_count; i++) {
    struct wodan_slice pivot = entry_pivot(node, i), next = upper;
    if (lower.data && key_compare(pivot, lower) < 0) return false;
    if (i + 1 < node->entry_count) next = entry_pivot(node, i + 1);
    if (next.data && key_compare(pivot, next) >= 0) return false;
    if (node->level == 0) continue;
    if (node->entries[i].child->level + 1 != node->level) return false;
    if (!node_valid(node->entries[i].child, i ? pivot : lower, next)) return false;
  }
  return true;
}

bool tree_valid(const struct node *root) { return node_valid(root, (struct wodan_slice){0}, (struct wodan_slice){0}); }
#endif

/* ---- from and to the device ------------------------------------------------------------------------------------ */

int node_to_image(const struct node *node, struct node_image *image, struct wodan_error *error) {
  struct mem *mem = node->env->mem;
  *image = (struct node_image){.mem = mem, .level = node->level, .entry_capacity = node->entry_count};
  image->entries = mem_array(mem, node->entry_count, sizeof *image->entries);
  image->runs = mem_array(mem, node->run_count, sizeof *image->runs);
  image->run_count = node->run_count;
  if (!image->entries || !image->runs) {
    node_image_release(image);
    return status_nomem(error);
  }
  image->entry_count = node->entry_count;
  for (uint32_t i = 0; i < node->entry_count; i++) {
    const struct node_entry *entry = &node->entries[i];
    struct node_image_entry *to = &image->entries[i];
    to->pivot = entry_pivot(node, i);
    to->branch.flushed_upto = entry->flushed_upto;
    to->branch.blobs = node->level ? 0 : run_blob_count(entry->leaf);
    if (node->level)
      to->branch.ptr = entry->child->ptr;
    else
      run_pointer(entry->leaf, &to->branch.ptr);
  }
  for (uint32_t i = 0; i < node->run_count; i++) {
    run_pointer(node->runs[i], &image->runs[i].ptr);
    image->runs[i].records = run_records(node->runs[i]);
    image->runs[i].deletes = run_deletes(node->runs[i]);
    image->runs[i].blobs = run_blob_count(node->runs[i]);
    image->runs[i].ranges = run_ranges(node->runs[i]).count;
  }
  return 0;
}

/* A tree being read. */
struct loading {
  struct run_env *env;
  const struct tree_claims *claims;
};

static int load_node(const struct loading *loading, const struct block_ptr *ptr, const struct node_place *place,
                     struct wodan_slice pivot, struct node **node, struct wodan_error *error);

static int load_run(const struct loading *loading, const struct block_ptr *ptr, struct wodan_slice pivot,
                    uint64_t blobs, struct run **run, struct wodan_error *error) {
  int status = loading->claims->claim(loading->claims->context, ptr, error);
  if (status < 0) return status;
  struct run *made = run_create(loading->env, ptr, pivot);
  status = made ? run_claim_blobs(made, blobs, error) : status_nomem(error);
  if (status < 0)
    run_unref(made);
  else
    *run = made;
  return status;
}

static int load_parts(const struct loading *loading, const struct node_image *image, const struct node_place *place,
                      struct node_entry *entries, uint32_t *entry_count, struct run **runs, uint32_t *run_count,
                      struct wodan_error *error) {
  int status = 0;
  for (uint32_t i = 0; i < image->entry_count && status == 0; i++) {
    const struct node_image_entry *from = &image->entries[i];
    struct node_place below = node_place_entry(place, image, i);
    entries[i].flushed_upto = from->branch.flushed_upto;
    entries[i].frees = 0;
    if (image->level)
      status = load_node(loading, &from->branch.ptr, &below, from->pivot, &entries[i].child, error);
    else
      status = load_run(loading, &from->branch.ptr, from->pivot, from->branch.blobs, &entries[i].leaf, error);
    if (status == 0) *entry_count = i + 1;
  }
  for (uint32_t i = 0; i < image->run_count && status == 0; i++) {
    status = load_run(loading, &image->runs[i].ptr, (struct wodan_slice){0}, image->runs[i].blobs, &runs[i], error);
    if (status < 0) break;
    run_set_counts(runs[i], image->runs[i].records, image->runs[i].deletes);
    *run_count = i + 1;
    if (image->runs[i].ranges) status = run_load_ranges(runs[i], image->runs[i].ranges, error);
  }
  return status;
}

/* Which entries the deletes of a run concern is not on the device: they are shared out evenly. What ranges free is seen. */
static void guess_frees(struct node *node, const struct key_span *span) {
  for (uint32_t i = 0; i < node->entry_count; i++) {
    struct node_entry *entry = &node->entries[i];
    struct key_span own = entry_span(node, i, span);
    for (uint32_t r = 0; r < node->run_count && run_generation(node->runs[r]) > entry->flushed_upto; r++)
      entry->frees += run_deletes(node->runs[r]) * USUAL_RECORD / node->entry_count +
                      bytes_deleted(node->level, entry, &own, run_ranges(node->runs[r]));
  }
}

static int build_node(const struct loading *loading, const struct node_image *image, const struct node_place *place,
                      struct wodan_slice pivot, struct node **node, struct wodan_error *error) {
  struct mem *mem = loading->env->mem;
  struct node_entry *entries = mem_array(mem, image->entry_count, sizeof *entries);
  struct run **runs = mem_array(mem, image->run_count, sizeof(struct run *));
  uint32_t entry_count = 0, run_count = 0;
  int status = entries && runs ? 0 : status_nomem(error);
  if (status == 0) status = load_parts(loading, image, place, entries, &entry_count, runs, &run_count, error);
  if (status == 0) {
    struct node_parts parts = {image->level, pivot, entries, entry_count, runs, run_count};
    *node = node_create(loading->env, &parts);
    struct key_span span = {{NULL, 0}, {NULL, 0}};
    if (place->has_lower) span.from = place->lower;
    if (place->has_upper) span.to = place->upper;
    if (*node)
      guess_frees(*node, &span);
    else
      status = status_nomem(error);
  }
  for (uint32_t i = 0; i < entry_count; i++) {
    if (image->level)
      node_unref(entries[i].child);
    else
      run_unref(entries[i].leaf);
  }
  for (uint32_t i = 0; i < run_count; i++) run_unref(runs[i]);
  mem_array_free(mem, entries, image->entry_count, sizeof *entries);
  mem_array_free(mem, runs, image->run_count, sizeof(struct run *));
  return status;
}

/* Recurses level by level: node_image_prove makes the level fall. */
static int load_node(const struct loading *loading, const struct block_ptr *ptr, const struct node_place *place,
                     struct wodan_slice pivot, struct node **node, struct wodan_error *error) {
  struct node_image image;
  int status = ptr->generation ? loading->claims->claim(loading->claims->context, ptr, error) : 0;
  if (status == 0) status = node_image_read(loading->env->io, ptr, &image, error);
  if (status < 0) return status;
  status = ptr->generation ? node_image_prove(&image, ptr, place, error) : 0;
  if (status == 0) status = build_node(loading, &image, place, pivot, node, error);
  if (status == 0) (*node)->ptr = *ptr;
  node_image_release(&image);
  return status;
}

int tree_load(struct run_env *env, const struct block_ptr *root, const struct tree_claims *claims, struct node **node,
              struct wodan_error *error) {
  struct loading loading = {env, claims};
  struct node_place anywhere = node_place_root();
  *node = NULL;
  return load_node(&loading, root, &anywhere, (struct wodan_slice){0}, node, error);
}
