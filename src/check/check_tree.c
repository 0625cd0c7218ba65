/* Owns: the walk over a root: each node, and behind it its leaves and its buffered runs.
 *
 * Always true: every object is claimed in the maps of blocks before it is read for its contents, and read only when the
 * blocks are its own; a subtree whose node cannot be used, or stands in the wrong place, is left out, and the rest is
 * still looked at. tree_walk proves levels and ranges, so no walk can go in circles.
 *
 * Order: the newest tree's nodes are measured first, so that progress knows the whole; then that tree, then of the
 * previous one, measured likewise, what the newest does not hold: a node that both hold is left out with everything below it.
 *
 * See: tree/walk.h; tests/unit/test_check.c, tests/unit/test_check_tree.c. */
#include <assert.h>
#include <inttypes.h>
#include "check/check_private.h"
#include "run/run.h"
#include "tree/walk.h"

/* A root. */
struct tree {
  struct check *check;
  const struct checkpoint_record *record; /* NULL: there is none */
  bool previous;
  uint64_t blocks; /* of the objects behind its nodes, as far as they can be read */
  uint64_t lists;  /* of large values, read for that */
};

static void bounds_set(const struct tree *tree) {
  struct check *check = tree->check;
  assert(tree->record->device_blocks > check->io.bounds.data_first + 1);
  check->io.bounds.data_end = tree->record->device_blocks - 1;
  check->previous = tree->previous;
}

/* The newest root, already claimed, holds it too. */
static bool known(const struct check *check, const struct block_ptr *ptr) {
  return check->previous && check_space_shared(check, ptr);
}

/* ---- measuring -------------------------------------------------------------------------------------------------- */

static bool measure_enter(void *context, const struct block_ptr *ptr, const struct node_place *place) {
  const struct tree *tree = context;
  (void)place;
  return !known(tree->check, ptr);
}

static int measure_large(void *context, const struct block_ptr *ptr, struct wodan_error *error) {
  struct tree *tree = context;
  (void)error;
  tree->blocks += block_ptr_blocks(ptr); /* one of two runs counts twice: no harm */
  return tree->blocks < tree->check->space.blocks ? 0 : 1;
}

/* What there is no memory for is told when it is looked into; a measure goes on without. */
static bool measure_spared(struct check *check) {
  uint64_t refused = mem_refused(&check->mem);
  bool spared = check->bounded && refused != check->refused;
  check->refused = refused;
  return spared;
}

/* What a run or leaf takes, with the large values that it lists; of the previous tree those do not count. */
static int measure_run(struct tree *tree, const struct block_ptr *ptr, uint64_t large) {
  struct wodan_error failure = {0};
  if (known(tree->check, ptr) || tree->blocks >= tree->check->space.blocks) return 0;
  tree->blocks += block_ptr_blocks(ptr);
  if (!large || tree->previous || tree->lists++ > tree->check->space.blocks / 4) return 0; /* reads have their bound */
  int status = run_read_blobs(&tree->check->io, ptr, large, measure_large, tree, &failure);
  return status == WODAN_ENOMEM && !measure_spared(tree->check) ? status : 0;
}

static int measure_leaf(struct tree *tree, const struct node_image *image, uint32_t i) {
  struct branch_entry leaf = node_image_branch(image, i, &tree->check->io.bounds);
  return measure_run(tree, &leaf.ptr, leaf.blobs);
}

static int measure_node(void *context, const struct block_ptr *ptr, const struct node_place *place,
                        const struct node_image *image, struct wodan_error *error) {
  struct tree *tree = context;
  uint64_t most = tree->check->space.blocks;
  int status = 0;
  (void)ptr, (void)place, (void)error;
  for (uint32_t i = 0; image->level == 0 && i < image->entry_count && status == 0; i++)
    status = measure_leaf(tree, image, i);
  for (uint32_t i = 0; i < image->run_count && status == 0; i++) {
    struct node_image_run run = node_image_run(image, i, &tree->check->io.bounds);
    status = measure_run(tree, &run.ptr, run.blobs);
  }
  tree->blocks = tree->blocks < most ? tree->blocks : most;
  return status;
}

/* A lack of memory under the check's own bound will be told when the node is looked into. */
static int measure_damaged(void *context, const struct block_ptr *ptr, const struct node_place *place,
                           const struct wodan_error *why) {
  const struct tree *tree = context;
  (void)ptr, (void)place;
  return why->code == WODAN_ENOMEM && !measure_spared(tree->check) ? why->code : 0;
}

/* Of the previous tree only what the newest has not claimed yet. A damage ends the measure early at worst. */
static int measure(struct tree *tree) {
  const struct tree_walker walker = {
      .context = tree, .node = measure_node, .damaged = measure_damaged, .enter = measure_enter, .lean = true};
  struct wodan_error failure = {0};
  tree->blocks = 0;
  if (!tree->record) return 0;
  bounds_set(tree);
  int status = tree_walk(&tree->check->io, &tree->record->root, &walker, &failure);
  return status == WODAN_ENOMEM ? status_nomem(tree->check->error) : 0;
}

/* ---- checking --------------------------------------------------------------------------------------------------- */

static int check_object(struct check *check, const struct block_ptr *ptr, const struct run_place *place) {
  uint64_t before = check->done, blocks = block_ptr_blocks(ptr);
  const struct node_place range = {
      .has_lower = place->has_lower, .has_upper = place->has_upper, .lower = place->lower, .upper = place->upper};
  if (known(check, ptr)) return 0;
  check->range = &range;
  int status = check_space_claim(check, ptr, place->what, ptr->generation) ? check_run(check, ptr, place) : 0;
  status = check_spared(check, status, place->what, ptr->extents[0].first, ptr->generation);
  check->range = NULL;
  return status ? status : check_progress(check, before + blocks);
}

static struct run_place run_place(const struct tree *tree, const char *what, const struct node_place *range) {
  return (struct run_place){.what = what,
                            .has_lower = range->has_lower,
                            .has_upper = range->has_upper,
                            .lower = range->lower,
                            .upper = range->upper,
                            .sequence_max = tree->record->sequence};
}

static int check_leaves(const struct tree *tree, const struct node_place *place, const struct node_image *image) {
  int status = 0;
  for (uint32_t i = 0; i < image->entry_count && status == 0; i++) {
    struct node_place range = node_place_entry(place, image, i);
    struct run_place leaf = run_place(tree, "leaf", &range);
    leaf.leaf = true;
    struct branch_entry branch = node_image_branch(image, i, &tree->check->io.bounds);
    leaf.blobs = branch.blobs;
    if (!tree->previous) tree->check->report->leaves++;
    status = check_object(tree->check, &branch.ptr, &leaf);
  }
  return status;
}

static int check_runs(const struct tree *tree, const struct node_place *place, const struct node_image *image) {
  int status = 0;
  for (uint32_t i = 0; i < image->run_count && status == 0; i++) {
    struct node_image_run listed = node_image_run(image, i, &tree->check->io.bounds);
    struct run_place run = run_place(tree, "run", place);
    run.counted = true;
    run.records = listed.records;
    run.deletes = listed.deletes;
    run.blobs = listed.blobs;
    run.ranges = listed.ranges;
    if (!tree->previous) tree->check->report->runs++;
    status = check_object(tree->check, &listed.ptr, &run);
  }
  return status;
}

static bool on_enter(void *context, const struct block_ptr *ptr, const struct node_place *place) {
  const struct tree *tree = context;
  if (known(tree->check, ptr)) return false;
  if (!tree->previous) tree->check->report->nodes++;
  tree->check->range = place;
  bool own = check_space_claim(tree->check, ptr, "node", ptr->generation);
  tree->check->range = NULL;
  if (own) return true;
  if (!tree->previous) tree->check->unreached = true;
  return false;
}

static int on_node(void *context, const struct block_ptr *ptr, const struct node_place *place,
                   const struct node_image *image, struct wodan_error *error) {
  const struct tree *tree = context;
  struct check *check = tree->check;
  (void)error; /* failures go to check->error */
  if (place->root && !tree->previous) check->report->levels = image->level + 1;
  int status = 0;
  if (!tree->previous) status = check_space_expect(check, (uint64_t)image->entry_count + image->run_count);
  status = check_spared(check, status, "node", ptr->extents[0].first, ptr->generation);
  if (status == 0 && image->level == 0) status = check_leaves(tree, place, image);
  return status == 0 ? check_runs(tree, place, image) : status;
}

/* The newest root's top node is lost: in place only the root before can take over. */
static int find_heir(struct check *check) {
  struct node_image image;
  struct wodan_error failure = {0};
  const struct journal_mounted *m = &check->mounted;
  int status = WODAN_ENOTFOUND;
  if (m->has_older) status = node_image_read_lean(&check->io, &m->older.root, &image, &failure);
  if (status == WODAN_ENOMEM && !measure_spared(check)) return status_nomem(check->error);
  check->salvage_only = status < 0;
  if (status == 0) node_image_release(&image);
  return 0;
}

static int on_damage(void *context, const struct block_ptr *ptr, const struct node_place *place,
                     const struct wodan_error *why) {
  const struct tree *tree = context;
  bool lost = place->root && !tree->previous && why->code != WODAN_ENOMEM;
  int status = lost ? find_heir(tree->check) : 0;
  if (status < 0) return status;
  if (!tree->previous) tree->check->unreached = true;
  tree->check->range = place;
  status = check_failed(tree->check, why, FOUND_NODE_DAMAGED, ptr->extents[0].first, ptr->generation,
                        why->code == WODAN_ENOMEM ? "node" : NULL);
  tree->check->range = NULL;
  return status;
}

static int check_tree(struct tree *tree) {
  struct check *check = tree->check;
  const struct tree_walker walker = {
      .context = tree, .node = on_node, .damaged = on_damage, .enter = on_enter, .lean = true};
  const struct block_ptr *catalog = &tree->record->catalog;
  struct wodan_error failure = {0};
  bounds_set(tree);
  int status = check_space_expect(check, 2);
  if (status == 0) status = tree_walk(&check->io, &tree->record->root, &walker, &failure);
  assert(status >= 0 || status == WODAN_ENOMEM); /* everything else is a finding */
  if (status < 0) return status_nomem(check->error);
  struct run_place place = {.what = "catalog", .sequence_max = tree->record->sequence};
  if (!catalog->generation || status) return status;
  bool before = check->salvage_only;
  check->salvage_only = true;
  status = check_object(check, catalog, &place);
  check->salvage_only = before;
  return status;
}

/* What the newest tree has, against the flags of who names it; with what its journal has, against the superblock's. */
static void judge_flags(struct check *check, uint64_t flags, const char *whose) {
  if (check->report->blobs && !(flags & FEATURE_BLOBS))
    check_found(check, FOUND_FEATURE_UNTOLD, WODAN_NO_BLOCK, 0, "large values, by %s", whose); /* guard: bounds */
}

static void judge_superblock(struct check *check) {
  uint64_t flags = check->superblock.incompat;
  judge_flags(check, flags, "the superblock");
  if (check->packed && !(flags & FEATURE_LZ4))
    check_found(check, FOUND_FEATURE_UNTOLD, WODAN_NO_BLOCK, 0, "compression, by the superblock"); /* guard: bounds */
}

static int check_both(struct check *check, struct tree *newest, struct tree *older) {
  uint64_t there = check->device.raw->geometry.size / check->superblock.block_size;
  uint64_t blocks = newest->record->device_blocks;
  if (older->record && older->record->device_blocks > blocks) blocks = older->record->device_blocks;
  int status = check_space_init(check, blocks < there ? blocks : there);
  if (status == 0) status = measure(newest);
  if (status < 0) return status;
  check->total = check->done + newest->blocks; /* the older one's own are few, and known only when these are claimed */
  status = check_tree(newest);
  judge_flags(check, newest->record->incompat, "the newest checkpoint record");
  if (status == 0) status = check_journal_blobs(check);
  judge_superblock(check);
  if (status || !older->record) return status;
  status = measure(older);
  if (status < 0) return status;
  check->total = check->done + check->large_done + older->blocks;
  return check_tree(older);
}

int check_trees(struct check *check) {
  if (!check->has_root) return 0;
  const struct journal_mounted *m = &check->mounted;
  struct tree newest = {.check = check, .record = &m->newest}, older = {.check = check, .previous = true};
  if (m->has_older && !block_ptr_equal(&m->older.root, &m->newest.root)) older.record = &m->older;
  int status = check_both(check, &newest, &older);
  check->previous = false;
  return status;
}
