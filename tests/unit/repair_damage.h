/* Classes of damage done to a volume that the engine made: shared by the tests of repair, its faults and its power cuts. */
#ifndef UNIT_REPAIR_DAMAGE_H
#define UNIT_REPAIR_DAMAGE_H

#include "repair_rig.h"

enum { PLACES_MAX = 64 };

struct place {
  uint32_t kind, level;
  uint64_t at, length; /* bytes */
};

/* Objects of a root's tree, as the inspection tells them, and the checkpoint records. */
struct places {
  struct place at[PLACES_MAX];
  size_t count;
  uint64_t block, newest_record;
};

static inline int places_object(void *context, const struct wodan_object *object) {
  struct places *places = context;
  if (places->count < PLACES_MAX)
    places->at[places->count++] =
        (struct place){object->kind, object->level, object->block * places->block, object->length};
  return 0;
}

static inline int places_root(void *context, const struct wodan_root *root) {
  struct places *places = context;
  if (!places->newest_record) places->newest_record = root->block * places->block;
  return 0;
}

static inline void places_find(struct store *store, uint32_t which, struct places *places) {
  struct wodan_device *device = store_open(store);
  struct wodan_inspect *inspect = NULL;
  struct wodan_summary summary = {.size = sizeof summary};
  memset(places, 0, sizeof *places);
  rig_expect(wodan_inspect_open(device, NULL, &inspect, NULL), "inspect");
  rig_expect(wodan_inspect_summary(inspect, &summary), "summary");
  places->block = summary.block_size;
  rig_expect(wodan_inspect_tree(inspect, which, places_object, places, NULL), "tree");
  rig_expect(wodan_inspect_roots(inspect, places_root, places, NULL), "roots");
  wodan_inspect_close(inspect);
  wodan_device_close(device);
}

/* The n-th object of this kind and level (ANY: any). */
enum { ANY = 99 };
static inline const struct place *place_of(const struct places *places, uint32_t kind, uint32_t level, unsigned n) {
  for (size_t i = 0; i < places->count; i++)
    if (places->at[i].kind == kind && (level == ANY || places->at[i].level == level) && n-- == 0) return &places->at[i];
  return NULL;
}

static inline void spoil(struct store *store, uint64_t at) { store->bytes[at] ^= 0x10; }

/* Each does its damage; false: this volume has no such place. */
typedef bool damage_class(struct rig *rig);

static inline bool spoil_object(struct rig *rig, uint32_t which, uint32_t kind, uint32_t level, unsigned n,
                                bool header) {
  struct places places;
  places_find(&rig->store, which, &places);
  const struct place *place = place_of(&places, kind, level, n);
  if (place) spoil(&rig->store, header ? place->at + 40 : place->at + place->length / 3);
  return place != NULL;
}

static inline bool damage_block0(struct rig *rig) { return spoil(&rig->store, 70), true; }
static inline bool damage_copy(struct rig *rig) { return spoil(&rig->store, rig->store.size - 300), true; }
static inline bool damage_leaf_header(struct rig *rig) { return spoil_object(rig, 0, WODAN_OBJECT_LEAF, ANY, 1, true); }
static inline bool damage_leaf_page(struct rig *rig) { return spoil_object(rig, 0, WODAN_OBJECT_LEAF, ANY, 0, false); }
static inline bool damage_run_header(struct rig *rig) { return spoil_object(rig, 0, WODAN_OBJECT_RUN, ANY, 0, true); }
static inline bool damage_run_page(struct rig *rig) { return spoil_object(rig, 0, WODAN_OBJECT_RUN, ANY, 1, false); }
static inline bool damage_root(struct rig *rig) { return spoil_object(rig, 0, WODAN_OBJECT_NODE, ANY, 0, true); }
static inline bool damage_previous_root(struct rig *rig) {
  return spoil_object(rig, 1, WODAN_OBJECT_NODE, ANY, 0, true);
}
static inline bool damage_bottom_node(struct rig *rig) {
  struct places places;
  places_find(&rig->store, 0, &places);
  bool levels = place_of(&places, WODAN_OBJECT_NODE, 1, 0) != NULL;
  return levels && spoil_object(rig, 0, WODAN_OBJECT_NODE, 0, 1, true);
}
/* Not where nothing was written behind it: it looks like a crash tail then (FORMAT.md, "What no rule can give"). */
static inline bool damage_checkpoint(struct rig *rig) {
  struct places places;
  if (rig->recipe.killed) return false;
  places_find(&rig->store, 0, &places);
  return spoil(&rig->store, places.newest_record + 110), true;
}
static inline bool damage_leaf_and_run(struct rig *rig) { return damage_leaf_page(rig) && damage_run_page(rig); }
static inline bool damage_everything(struct rig *rig) {
  return damage_block0(rig) && damage_leaf_header(rig) && damage_run_header(rig) && damage_previous_root(rig);
}

static const struct {
  const char *name;
  damage_class *damage;
  uint32_t repair; /* what is needed for it */
} CLASSES[] = {{"block 0", damage_block0, WODAN_REPAIR_SAFE},
               {"the superblock's copy", damage_copy, WODAN_REPAIR_SAFE},
               {"a leaf's header", damage_leaf_header, WODAN_REPAIR_LOSSY},
               {"a leaf's page", damage_leaf_page, WODAN_REPAIR_LOSSY},
               {"a run's header", damage_run_header, WODAN_REPAIR_LOSSY},
               {"a run's page", damage_run_page, WODAN_REPAIR_LOSSY},
               {"the top node", damage_root, WODAN_REPAIR_LOSSY},
               {"the top node of the previous root", damage_previous_root, WODAN_REPAIR_SAFE},
               {"a bottom node", damage_bottom_node, WODAN_REPAIR_LOSSY},
               {"the newest checkpoint record", damage_checkpoint, WODAN_REPAIR_LOSSY},
               {"a leaf and a run", damage_leaf_and_run, WODAN_REPAIR_LOSSY},
               {"much at once", damage_everything, WODAN_REPAIR_LOSSY}};
enum { CLASS_COUNT = sizeof CLASSES / sizeof CLASSES[0] };

static const struct volume_recipe VOLUMES[] = {
    {.size = 64 << 10, .keys = 60, .value = 80, .rounds = 3},
    {.size = 64 << 10, .keys = 60, .value = 80, .rounds = 3, .killed = true},
    {.size = 128 << 10, .node_leaves = 4, .node_children = 4, .keys = 240, .value = 90, .rounds = 2},
    {.size = 128 << 10, .node_leaves = 4, .node_children = 4, .keys = 150, .value = 120, .rounds = 4, .killed = true}};
enum { VOLUME_COUNT = sizeof VOLUMES / sizeof VOLUMES[0] };

/* The volume with this damage; false: it has no such place (then nothing is to be released). */
static inline bool damaged_volume(struct rig *rig, size_t volume, size_t class) {
  rig_build(rig, &VOLUMES[volume]);
  if (CLASSES[class].damage(rig)) return true;
  store_free(&rig->store);
  return false;
}

#endif
