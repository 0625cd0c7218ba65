/* Question: how does an aging volume place its objects? Leaves of 64 blocks replaced in turn, or of 32 to 96 at random, buffer
 * runs of 1024 to 8192 blocks that live 8 to 16 arrivals, a header of 8 blocks and a checkpoint with every arrival; all kinds with
 * one cursor, and each with its own. Counts, no times; seeded, so that each run prints the same.
 * Usage: wodan-bench-placement [millions of blocks, default 1]. See: src/space/space.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "space/space.h"

enum { LEAF = 64, HEADER = 8, RUN_MIN = 1024, RUN_MAX = 8192, LIFE_MIN = 8, LIFE_MAX = 16 };

static uint64_t state = 42;

static uint64_t below(uint64_t bound) {
  state += UINT64_C(0x9e3779b97f4a7c15);
  uint64_t x = state;
  x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return (x ^ x >> 31) % bound;
}

struct object {
  struct extent extents[BLOCK_PTR_EXTENTS_MAX];
  uint32_t count;
  unsigned dies; /* arrival */
};

struct tally {
  unsigned placed, extents;
  unsigned in_line; /* started where the last of the kind ended */
  unsigned failed;  /* refused though so many blocks were free */
};

struct churn {
  struct space *space;
  bool apart; /* a cursor per kind */
  struct tally tally[SPACE_KINDS];
  uint64_t ends[SPACE_KINDS];
  unsigned full; /* refused because less was free */
  uint64_t generation;
  struct object *leaves, runs[LIFE_MAX + 1], header;
  uint64_t leaf_count, next;
};

static bool place(struct churn *c, enum space_kind kind, uint64_t blocks, struct object *object) {
  struct object fresh;
  if (space_allocate_sparing(c->space, c->apart ? kind : SPACE_LEAF, blocks, 0, fresh.extents, &fresh.count, NULL)) {
    if (space_counts(c->space).free >= blocks)
      c->tally[kind].failed++;
    else
      c->full++;
    return false;
  }
  c->tally[kind].placed++;
  c->tally[kind].extents += fresh.count;
  c->tally[kind].in_line += fresh.extents[0].first == c->ends[kind];
  c->ends[kind] = fresh.extents[fresh.count - 1].first + fresh.extents[fresh.count - 1].count;
  if (object->count) space_defer(c->space, object->extents, object->count, 0);
  fresh.dies = object->dies;
  *object = fresh;
  return true;
}

static void arrive(struct churn *c, unsigned arrival, bool random) {
  uint64_t blocks = RUN_MIN + below(RUN_MAX - RUN_MIN + 1);
  struct object *slot = NULL;
  for (int i = 0; i <= LIFE_MAX; i++) {
    struct object *run = &c->runs[i];
    if (run->count && run->dies <= arrival) {
      space_defer(c->space, run->extents, run->count, 0);
      run->count = 0;
    }
    if (!run->count) slot = run;
  }
  slot->dies = arrival + LIFE_MIN + (unsigned)below(LIFE_MAX - LIFE_MIN + 1);
  place(c, SPACE_BUFFER, blocks, slot);
  for (uint64_t i = 0; i < 2 * blocks / LEAF; i++) {
    place(c, SPACE_LEAF, random ? LEAF / 2 + below(LEAF + 1) : LEAF,
          &c->leaves[random ? below(c->leaf_count) : c->next]);
    c->next = (c->next + 1) % c->leaf_count;
  }
  place(c, SPACE_NODE, HEADER, &c->header);
  space_checkpoint_durable(c->space, ++c->generation);
}

static void churn(uint64_t blocks, unsigned percent, bool random, bool apart) {
  struct mem mem;
  mem_init(&mem, NULL);
  state = 42;
  struct churn c = {.space = space_create(&mem, 0, blocks), .apart = apart};
  uint64_t buffered = (RUN_MIN + RUN_MAX) / 2 * (LIFE_MIN + LIFE_MAX) / 2;
  c.leaf_count = (blocks * percent / 100 - buffered) / LEAF;
  c.leaves = calloc(c.leaf_count, sizeof *c.leaves);
  if (!c.space || !c.leaves) exit(1);
  for (uint64_t i = 0; i < c.leaf_count; i++) place(&c, SPACE_LEAF, LEAF, &c.leaves[i]);
  unsigned warm = (unsigned)(blocks / 2500), measured = 2 * warm;
  for (unsigned i = 0; i < warm; i++) arrive(&c, i, random);
  memset(c.tally, 0, sizeof c.tally);
  c.full = 0;
  for (unsigned i = warm; i < warm + measured; i++) arrive(&c, i, random);
  printf("%3u | %-9s | %s", percent, random ? "at random" : "in turn", apart ? "three" : "one  ");
  for (int k = 0; k < SPACE_KINDS; k++) {
    const struct tally *t = &c.tally[k];
    double placed = t->placed ? t->placed : 1, asked = t->placed + t->failed ? t->placed + t->failed : 1;
    printf(" | %6.3f %5.1f %5.1f", t->extents / placed, 100 * t->in_line / placed, 100 * t->failed / asked);
  }
  printf(" | %u\n", c.full);
  space_free(c.space);
  free(c.leaves);
}

int main(int argc, char **argv) {
  uint64_t blocks = (argc > 1 ? strtoull(argv[1], NULL, 10) : 1) * 1000000;
  static const unsigned fill[] = {50, 80, 95};
  puts("%   | leaves    | cursors | runs: extents, % in line, % failed | leaves | headers | too little free");
  for (int random = 0; random < 2; random++)
    for (int i = 0; i < 3; i++)
      for (int apart = 0; apart < 2; apart++) churn(blocks, fill[i], random, apart);
  return 0;
}
