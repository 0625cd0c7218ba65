/* Measures: an allocation in a large volume (25 M blocks) of which so much is live, in leaves of 64 blocks at random places. Before
 * each, as many blocks are freed elsewhere at random: what a volume looks like after long use. Freeing is measured with it.
 * See: src/space/space.c. */
#include <stdio.h>
#include <stdlib.h>

#include "micro.h"
#include "space/space.h"

enum { LEAF = 64, BLOCKS = 25000000, SLOTS = BLOCKS / LEAF };

static const struct volume_kind {
  unsigned percent;
  uint64_t object, reserve;
} kinds[] = {{50, LEAF, 0}, {50, LEAF, 1000}, {50, 512, 1000}, {98, LEAF, 0}, {98, LEAF, 1000}, {98, 512, 1000}};

/* Live stretches of a leaf, in random order; what is freed from its end comes back at its end as what was allocated. */
struct volume {
  struct mem mem;
  struct space *space;
  uint64_t object, live;
  struct extent *leaves;
};

static void shuffle(struct extent *leaves) {
  uint64_t random = 42;
  for (uint64_t i = 0; i < SLOTS; i++) leaves[i] = (struct extent){i * LEAF, LEAF};
  for (uint64_t i = SLOTS - 1; i > 0; i--) {
    uint64_t j = bench_random(&random) % (i + 1);
    struct extent swap = leaves[i];
    leaves[i] = leaves[j];
    leaves[j] = swap;
  }
}

static void *create(size_t which) {
  const struct volume_kind *kind = &kinds[which];
  struct volume *v = micro_allocate(sizeof *v);
  mem_init(&v->mem, NULL);
  v->space = space_create(&v->mem, 0, BLOCKS);
  v->object = kind->object;
  v->leaves = micro_allocate(2 * (size_t)SLOTS * sizeof *v->leaves);
  v->live = SLOTS / 100 * kind->percent;
  if (!v->space) bench_die("out of memory");
  shuffle(v->leaves);
  for (uint64_t i = 0; i < v->live; i++)
    if (space_claim(v->space, &v->leaves[i], 1, NULL)) bench_die("a volume cannot be filled");
  space_mounted(v->space, 1);
  space_reaches(v->space, 1);
  space_set_reserve(v->space, kind->reserve, kind->reserve);
  return v;
}

static void destroy(void *state) {
  struct volume *v = state;
  space_free(v->space);
  free(v->leaves);
  free(v);
}

static void run(void *state, uint64_t count) {
  struct volume *v = state;
  struct extent extents[BLOCK_PTR_EXTENTS_MAX];
  uint32_t extent_count;
  for (uint64_t i = 0; i < count; i++) {
    for (uint64_t freed = 0; freed < v->object;) {
      const struct extent *leaf = &v->leaves[--v->live];
      space_release(v->space, leaf, 1);
      freed += leaf->count;
    }
    if (space_allocate_sparing(v->space, SPACE_LEAF, v->object, 0, extents, &extent_count, NULL))
      bench_die("as many blocks as were freed cannot be allocated");
    for (uint32_t k = 0; k < extent_count; k++) {
      uint64_t at = (v->live * UINT64_C(2654435761)) % (v->live + 1); /* anywhere in the order */
      v->leaves[v->live++] = v->leaves[at];
      v->leaves[at] = extents[k];
    }
  }
}

void micro_space(micro_add *add, void *context) {
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    struct micro micro = {.which = i, .create = create, .run = run, .destroy = destroy, .chunk = 100};
    snprintf(micro.name, sizeof micro.name, "space/%u %% full/%u blocks/reserve %u", kinds[i].percent,
             (unsigned)kinds[i].object, (unsigned)kinds[i].reserve);
    add(context, &micro);
  }
}
