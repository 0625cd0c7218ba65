/* Owns: what is put above what on the way down.
 *
 * Always true: the ranges that reach layers_merge ascend and do not overlap, so each key is told once; recursion goes from
 * level to level and from root to root only; the blocks read of one root are bounded by twice those of the volume, so a tree
 * that names a block many times ends.
 *
 * Order: at a leaf the layers are, newest first: journal, the runs of the nodes on the way that the entries on the way have
 * not absorbed, the leaf. Where a leaf is damaged its node's absorbed runs count as well: what they hold has been in the
 * leaf, so nothing older is told, and some of what the leaf has lost. Below a lost node lie the journal's operations and the
 * tree of the root before.
 *
 * See: FORMAT.md "Nodes"; tests/unit/test_repair.c. */
#include "repair/descent.h"

#include "tree/walk.h"

struct walk {
  const struct descent *wish;
  struct layers layers;
  uint64_t budget; /* blocks that may still be read of the root at hand */
  uint64_t done;
};

static int below(struct walk *walk, uint32_t root, const struct span *span, struct wodan_error *error);

static struct span span_of(const struct node_place *place) {
  return (struct span){place->has_lower, place->has_upper, place->lower, place->upper};
}

static int merge(struct walk *walk, const struct span *span, struct wodan_error *error) {
  const struct layers_merge wish = {.span = *span, .record = walk->wish->record, .context = walk->wish->context};
  return layers_merge(&walk->layers, &wish, error);
}

static int tell(struct walk *walk, const struct block_ptr *ptr, const struct span *span, const char *why,
                struct wodan_error *error) {
  const struct loss loss = {.block = ptr->extents[0].first, .generation = ptr->generation, .span = *span, .why = why};
  return walk->wish->lost(walk->wish->context, &loss, error);
}

/* Takes the object's blocks out of the budget; false: it names more than there are. */
static bool afford(struct walk *walk, const struct block_ptr *ptr) {
  uint64_t blocks = block_ptr_blocks(ptr);
  if (blocks > walk->budget) return false;
  walk->budget -= blocks;
  walk->done += blocks;
  return true;
}

static int push_run(struct walk *walk, uint32_t root, const struct block_ptr *ptr, const struct span *span,
                    struct wodan_error *error) {
  struct volume *volume = walk->wish->volume;
  const struct source_setup setup = {.io = &volume->io,
                                     .page_size = volume->superblock.page_size,
                                     .sequence_max = volume->roots[root].record.sequence,
                                     .span = *span,
                                     .told = walk->wish->lost,
                                     .context = walk->wish->context,
                                     .damage = walk->wish->damage};
  if (afford(walk, ptr)) return layers_push_run(&walk->layers, &setup, ptr, error);
  return tell(walk, ptr, span, "blocks are named more often than there are any", error);
}

static int at_leaf(struct walk *walk, uint32_t root, const struct block_ptr *ptr, const struct span *span,
                   struct wodan_error *error) {
  size_t count = walk->layers.count;
  int status = push_run(walk, root, ptr, span, error);
  if (status == 0) status = merge(walk, span, error);
  layers_pop(&walk->layers, count);
  if (status == 0 && walk->wish->progress) status = walk->wish->progress(walk->wish->context, walk->done);
  return status;
}

static int at_node(struct walk *walk, uint32_t root, const struct block_ptr *ptr, const struct node_place *place,
                   const struct span *span, struct wodan_error *error);

/* Every entry of the node that meets the span. */
static int at_entries(struct walk *walk, uint32_t root, const struct node_place *place, const struct node_image *image,
                      size_t runs, const struct span *span, struct wodan_error *error) {
  int status = 0;
  for (uint32_t i = 0; i < image->entry_count && status == 0; i++) {
    const struct branch_entry *branch = &image->entries[i].branch;
    struct node_place entry = node_place_entry(place, image, i);
    struct span own = span_of(&entry), met;
    if (!span_meet(&own, span, &met)) continue;
    bool leaf = image->level == 0;
    bool all = leaf && damage_of(walk->wish->damage, branch->ptr.generation) != WODAN_REPAIR_NOTHING;
    layers_mark(&walk->layers, runs, walk->layers.count - runs, all ? 0 : branch->flushed_upto);
    status =
        leaf ? at_leaf(walk, root, &branch->ptr, &met, error) : at_node(walk, root, &branch->ptr, &entry, &met, error);
  }
  return status;
}

/* The node cannot be read: what stands above it, over the tree of the root before. */
static int instead(struct walk *walk, uint32_t root, const struct block_ptr *ptr, const struct span *span,
                   const char *why, struct wodan_error *error) {
  uint64_t budget = walk->budget;
  int status = tell(walk, ptr, span, why, error);
  if (status) return status;
  status = below(walk, root + 1, span, error);
  volume_use_root(walk->wish->volume, &walk->wish->volume->roots[root]);
  walk->budget = budget;
  return status;
}

static int at_node(struct walk *walk, uint32_t root, const struct block_ptr *ptr, const struct node_place *place,
                   const struct span *span, struct wodan_error *error) {
  struct node_image image = {0};
  struct wodan_error why = {0};
  if (!afford(walk, ptr))
    return instead(walk, root, ptr, span, "blocks are named more often than there are any", error);
  int status = node_image_read(&walk->wish->volume->io, ptr, &image, &why);
  if (status == 0) status = node_image_prove(&image, ptr, place, &why);
  if (status < 0) node_image_release(&image);
  if (status == WODAN_ENOMEM) return status_nomem(error);
  if (status < 0) return instead(walk, root, ptr, span, why.message, error);
  struct node_place own = *place;
  own.level = image.level;
  size_t runs = walk->layers.count;
  for (uint32_t i = 0; i < image.run_count && status == 0; i++)
    status = push_run(walk, root, &image.runs[i].ptr, span, error);
  if (status == 0)
    status = image.entry_count ? at_entries(walk, root, &own, &image, runs, span, error) : merge(walk, span, error);
  layers_pop(&walk->layers, runs);
  node_image_release(&image);
  return status;
}

/* No root tells of these keys. */
static int without_tree(struct walk *walk, const struct span *span, struct wodan_error *error) {
  struct iterator *it = NULL;
  size_t count = walk->layers.count;
  int status = walk->wish->no_tree ? walk->wish->no_tree(walk->wish->context, span, &it, error) : 0;
  if (status == 0 && it) status = layers_push_borrowed(&walk->layers, it, error);
  if (status == 0) status = merge(walk, span, error);
  layers_pop(&walk->layers, count);
  return status;
}

/* The span in this root's tree, or of what stands above it alone. */
static int below(struct walk *walk, uint32_t root, const struct span *span, struct wodan_error *error) {
  struct volume *volume = walk->wish->volume;
  if (root >= volume->root_count) return without_tree(walk, span, error);
  struct volume_root *at = &volume->roots[root];
  const struct node_place place = node_place_root();
  volume_use_root(volume, at);
  walk->budget = 2 * (volume->io.bounds.data_end - volume->io.bounds.data_first);
  size_t count = walk->layers.count;
  int status = volume_replay(volume, at, error);
  if (status == 0) status = layers_push_table(&walk->layers, at->table, error);
  if (status == 0)
    status = at->record.root.generation ? at_node(walk, root, &at->record.root, &place, span, error)
                                        : merge(walk, span, error);
  layers_pop(&walk->layers, count);
  return status;
}

int descend(const struct descent *descent, struct wodan_error *error) {
  struct walk walk = {.wish = descent, .layers = {.mem = descent->volume->mem}};
  int status = below(&walk, 0, &descent->span, error);
  layers_release(&walk.layers);
  return status;
}
