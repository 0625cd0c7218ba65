/* Owns: the walk over a root: its node, then each leaf and each buffered run.
 *
 * Always true: every object is claimed in the maps of blocks before it is read, and read only when the blocks are its
 * own; children are older than their node (node_image_read proves it), so no walk can go in circles.
 *
 * Order: both root nodes are read first, so that progress knows the whole; then the newest tree, then of the previous one
 * what the newest does not hold.
 *
 * See: tree/node_image.h; tests/unit/test_check.c. */
#include <assert.h>
#include <inttypes.h>
#include "check/check_private.h"
#include "tree/node_image.h"

/* A root and its node. */
struct tree {
  const struct checkpoint_record *record;
  bool previous;
  struct node_image image;
  bool readable;
};

static void bounds_set(struct check *check, const struct tree *tree) {
  assert(tree->record->device_blocks > check->io.bounds.data_first + 1);
  check->io.bounds.data_end = tree->record->device_blocks - 1;
  check->previous = tree->previous;
}

static int tree_read(struct check *check, struct tree *tree) {
  struct wodan_error failure = {0};
  bounds_set(check, tree);
  const struct block_ptr *root = &tree->record->root;
  tree->readable = node_image_read(&check->io, root, &tree->image, &failure) == 0;
  if (tree->readable) return 0;
  if (!tree->previous) check->unreached = true;
  return check_failed(check, &failure, FOUND_NODE_DAMAGED, root->extents[0].first, root->generation, NULL);
}

static uint64_t tree_objects(const struct tree *tree) {
  return tree->readable ? (uint64_t)tree->image.entry_count + tree->image.run_count : 0;
}

/* Blocks of the objects behind the node. */
static uint64_t tree_blocks(const struct tree *tree) {
  uint64_t blocks = 0;
  for (uint32_t i = 0; tree->readable && i < tree->image.entry_count; i++)
    blocks += block_ptr_blocks(&tree->image.entries[i].branch.ptr);
  for (uint32_t i = 0; tree->readable && i < tree->image.run_count; i++)
    blocks += block_ptr_blocks(&tree->image.runs[i].ptr);
  return blocks;
}

/* Of the previous tree: those that will be read. Call it when the newest one is claimed. */
static uint64_t tree_blocks_own(const struct check *check, const struct tree *tree) {
  uint64_t blocks = 0;
  for (uint32_t i = 0; tree->readable && i < tree->image.entry_count; i++)
    if (!check_space_shared(check, &tree->image.entries[i].branch.ptr))
      blocks += block_ptr_blocks(&tree->image.entries[i].branch.ptr);
  for (uint32_t i = 0; tree->readable && i < tree->image.run_count; i++)
    if (!check_space_shared(check, &tree->image.runs[i].ptr)) blocks += block_ptr_blocks(&tree->image.runs[i].ptr);
  return blocks;
}

static int check_object(struct check *check, const struct block_ptr *ptr, const struct run_place *place) {
  uint64_t before = check->done, blocks = block_ptr_blocks(ptr);
  if (check->previous && check_space_shared(check, ptr)) return 0;
  int status = check_space_claim(check, ptr, place->what) ? check_run(check, ptr, place) : 0;
  return status ? status : check_progress(check, before + blocks);
}

static int check_leaves(struct check *check, const struct tree *tree) {
  int status = 0;
  for (uint32_t i = 0; i < tree->image.entry_count && status == 0; i++) {
    const struct node_image_entry *leaf = &tree->image.entries[i];
    struct run_place place = {.what = "leaf", .leaf = true, .sequence_max = tree->record->sequence};
    if (i > 0) place.pivot = leaf->pivot; /* the first leaf covers what is below its pivot */
    if (i + 1 < tree->image.entry_count) place.next_pivot = tree->image.entries[i + 1].pivot;
    if (!tree->previous) check->report->leaves++;
    status = check_object(check, &leaf->branch.ptr, &place);
  }
  return status;
}

static int check_runs(struct check *check, const struct tree *tree) {
  int status = 0;
  struct run_place place = {.what = "run", .sequence_max = tree->record->sequence};
  for (uint32_t i = 0; i < tree->image.run_count && status == 0; i++) {
    if (!tree->previous) check->report->runs++;
    status = check_object(check, &tree->image.runs[i].ptr, &place);
  }
  return status;
}

static int check_tree(struct check *check, struct tree *tree) {
  bounds_set(check, tree);
  if (tree->record->root.generation) {
    if (!tree->previous) check->report->nodes++;
    check_space_claim(check, &tree->record->root, "node");
  }
  int status = 0;
  if (tree->readable) status = check_leaves(check, tree);
  if (tree->readable && status == 0) status = check_runs(check, tree);
  struct run_place catalog = {.what = "catalog", .sequence_max = tree->record->sequence};
  if (tree->record->catalog.generation && status == 0) status = check_object(check, &tree->record->catalog, &catalog);
  return status;
}

static int check_both(struct check *check, struct tree *newest, struct tree *older) {
  const struct superblock *sb = &check->superblock;
  uint64_t there = check->device.raw->geometry.size / sb->block_size;
  uint64_t blocks = newest->record->device_blocks;
  if (older->record && older->record->device_blocks > blocks) blocks = older->record->device_blocks;
  int status = check_space_init(check, blocks < there ? blocks : there, tree_objects(newest) + 2);
  if (status < 0) return status;
  uint64_t base = check->done;
  check->total = base + tree_blocks(newest) + tree_blocks(older);
  status = check_tree(check, newest);
  if (status || !older->record) return status;
  check->total = check->done + tree_blocks_own(check, older);
  return check_tree(check, older);
}

int check_trees(struct check *check) {
  if (!check->has_root) return 0;
  const struct journal_mounted *m = &check->mounted;
  struct tree newest = {.record = &m->newest}, older = {.previous = true};
  if (m->has_older && !block_ptr_equal(&m->older.root, &m->newest.root)) older.record = &m->older;
  int status = tree_read(check, &newest);
  if (status == 0 && older.record) status = tree_read(check, &older);
  if (status == 0) status = check_both(check, &newest, &older);
  check->previous = false;
  node_image_release(&newest.image);
  node_image_release(&older.image);
  return status;
}
