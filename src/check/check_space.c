/* Owns: which block belongs to whom.
 *
 * Always true: a bit of `live` is set for each block of an object of the newest root, a bit of `previous` for each block
 * of an object that only the root before it names; a bit set twice is a finding. Blocks beyond the device are counted
 * nowhere. Extents come out of block_ptr_decode: inside the volume's bounds, none overlapping within one object.
 *
 * Order: the newest root's objects are all claimed before the first of the previous root, which may name the very same
 * object (first block, generation and checksum equal: the checksum covers the extents) but no part of another.
 *
 * See: tests/unit/test_check.c. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include "check/check_private.h"

/* A block: the most that the table of objects may take, so that it and the marks together stay within the bound. */
enum { TABLE_BYTES = 6 };

static bool bit_get(const uint8_t *map, uint64_t i) { return map[i / 8] >> (i % 8) & 1; }
static void bit_set(uint8_t *map, uint64_t i) { map[i / 8] = (uint8_t)(map[i / 8] | 1u << (i % 8)); }
static uint64_t map_size(const struct check_space *space) { return space->blocks / 8 + 1; }

int check_space_init(struct check *check, uint64_t blocks) {
  struct check_space *space = &check->space;
  assert(space->live == NULL);
  space->blocks = blocks;
  space->live = mem_zalloc(&check->mem, map_size(space));
  space->previous = mem_zalloc(&check->mem, map_size(space));
  if (!space->live || !space->previous) return status_nomem(check->error);
  return check_space_expect(check, 0);
}

void check_space_release(struct check *check) {
  struct check_space *space = &check->space;
  mem_free(&check->mem, space->live, map_size(space));
  mem_free(&check->mem, space->previous, map_size(space));
  mem_array_free(&check->mem, space->objects, space->object_slots, sizeof *space->objects);
  mem_array_free(&check->mem, space->marks, space->blocks, sizeof *space->marks);
  memset(space, 0, sizeof *space);
}

/* What is remembered of an object in the place of its first block; never 0. */
static uint64_t mark_of(uint64_t generation, uint64_t checksum) {
  uint64_t mark = checksum ^ generation * 0x9E3779B97F4A7C15u;
  return mark ? mark : 1;
}

/* The slot of the object that starts at this block, or the empty one where it would go. Generation 0: empty. */
static struct space_object *slot(const struct check_space *space, uint64_t first) {
  uint64_t mask = space->object_slots - 1, i = (first * 0x9E3779B97F4A7C15u) >> 20 & mask;
  while (space->objects[i].generation && space->objects[i].first != first) i = (i + 1) & mask;
  return &space->objects[i];
}

/* All slots empty; objects NULL: no memory. */
static void slots_make(struct check *check, struct check_space *space, uint64_t slots) {
  space->object_slots = slots;
  space->objects = mem_array(&check->mem, slots, sizeof *space->objects);
  if (space->objects) memset(space->objects, 0, (size_t)slots * sizeof *space->objects);
}

/* From the hashed table to a mark a block, for volumes of very small objects. */
static int use_marks(struct check *check) {
  struct check_space *space = &check->space;
  space->marks = mem_array(&check->mem, space->blocks, sizeof *space->marks);
  if (!space->marks) return status_nomem(check->error);
  memset(space->marks, 0, (size_t)space->blocks * sizeof *space->marks);
  for (uint64_t i = 0; i < space->object_slots; i++) {
    const struct space_object *object = &space->objects[i];
    if (object->generation && object->first < space->blocks)
      space->marks[object->first] = mark_of(object->generation, object->checksum);
  }
  mem_array_free(&check->mem, space->objects, space->object_slots, sizeof *space->objects);
  space->objects = NULL;
  space->object_slots = 0;
  return 0;
}

/* The hashed table of so many slots, or marks in its place. */
static int grow(struct check *check, uint64_t slots) {
  struct check_space *space = &check->space, larger;
  if (slots > space->blocks * TABLE_BYTES / sizeof *space->objects) return use_marks(check);
  larger = *space;
  slots_make(check, &larger, slots);
  if (!larger.objects) return status_nomem(check->error);
  for (uint64_t i = 0; i < space->object_slots; i++)
    if (space->objects[i].generation) *slot(&larger, space->objects[i].first) = space->objects[i];
  mem_array_free(&check->mem, space->objects, space->object_slots, sizeof *space->objects);
  *space = larger;
  return 0;
}

int check_space_expect(struct check *check, uint64_t objects) {
  struct check_space *space = &check->space;
  if (space->marks) return 0;
  uint64_t slots = 4;
  space->objects_expected += objects;
  assert(space->objects_expected < UINT64_MAX / 8);
  while (slots < 2 * space->objects_expected + 2) slots *= 2;
  int status = slots <= space->object_slots ? 0 : grow(check, slots);
  space->crowded |= status < 0;
  return status;
}

bool check_space_shared(const struct check *check, const struct block_ptr *ptr) {
  if (!ptr->generation) return false;
  uint64_t first = ptr->extents[0].first;
  if (check->space.marks && first >= check->space.blocks) return check->space.outside; /* told once is enough */
  if (check->space.marks) return check->space.marks[first] == mark_of(ptr->generation, ptr->checksum);
  const struct space_object *object = slot(&check->space, ptr->extents[0].first);
  return object->generation == ptr->generation && object->checksum == ptr->checksum; /* no guard: is it the same */
}

static void remember(struct check_space *space, const struct block_ptr *ptr) {
  uint64_t first = ptr->extents[0].first;
  if (first >= space->blocks) space->outside = true;
  if (space->marks) {
    if (first < space->blocks && !space->marks[first]) space->marks[first] = mark_of(ptr->generation, ptr->checksum);
    return;
  }
  struct space_object *object = slot(space, ptr->extents[0].first);
  if (object->generation) return; /* owned twice: reported */
  assert(space->object_count < space->objects_expected);
  space->object_count++;
  *object = (struct space_object){ptr->extents[0].first, ptr->generation, ptr->checksum};
}

void check_space_remember(struct check *check, const struct block_ptr *ptr) { remember(&check->space, ptr); }

/* What became of an object's blocks. */
struct claim {
  uint64_t twice, shared, outside; /* the first such block, or WODAN_NO_BLOCK */
};

static void claim_extent(struct check *check, const struct extent *extent, struct claim *claim) {
  struct check_space *space = &check->space;
  uint8_t *map = check->previous ? space->previous : space->live;
  for (uint64_t i = 0; i < extent->count; i++) {
    uint64_t block = extent->first + i;
    if (block >= space->blocks) { /* guard: bounds */
      if (claim->outside == WODAN_NO_BLOCK) claim->outside = block;
      return;
    }
    if (bit_get(map, block) && claim->twice == WODAN_NO_BLOCK) claim->twice = block; /* guard: bounds */
    if (check->previous && bit_get(space->live, block) && claim->shared == WODAN_NO_BLOCK)
      claim->shared = block; /* guard: bounds */
    bit_set(map, block);
  }
}

bool check_space_claim(struct check *check, const struct block_ptr *ptr, const char *what, uint64_t owner) {
  assert(ptr->generation && ptr->extent_count <= BLOCK_PTR_EXTENTS_MAX);
  struct claim claim = {WODAN_NO_BLOCK, WODAN_NO_BLOCK, WODAN_NO_BLOCK};
  if (check->space.crowded) return false; /* told when there was no room */
  for (uint32_t i = 0; i < ptr->extent_count; i++) claim_extent(check, &ptr->extents[i], &claim);
  if (!check->previous) remember(&check->space, ptr);
  const struct {
    enum finding_id id;
    uint64_t block;
  } problems[] = {
      {FOUND_SPACE_OWNED_TWICE, claim.twice}, {FOUND_SPACE_SHARED, claim.shared}, {FOUND_SPACE_OUTSIDE, claim.outside}};
  bool whole = true;
  for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
    if (problems[i].block == WODAN_NO_BLOCK) continue;
    whole = false;
    check_found(check, problems[i].id, problems[i].block, owner, "block %" PRIu64 ", by a %s of generation %" PRIu64,
                problems[i].block, what, ptr->generation); /* no guard: claim_extent decides */
  }
  return whole;
}

void check_space_count(struct check *check) {
  const struct check_space *space = &check->space;
  if (!space->live || !space->previous) return;
  for (uint64_t i = 0; i < space->blocks; i++) {
    bool live = bit_get(space->live, i);
    check->report->blocks_live += live;
    check->report->blocks_previous += !live && bit_get(space->previous, i);
  }
}
