/* Space: the life of a block, where each kind goes, and random runs against plain maps. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "space/free_map.h"
#include "space/space.h"
#include "support/random.h"

enum { FIRST = 9, TOTAL = 200, END = FIRST + TOTAL };

static struct mem mem;

static struct space *fresh(void) {
  mem_init(&mem, NULL);
  struct space *space = space_create(&mem, FIRST, END);
  assert_non_null(space);
  return space;
}

static void done(struct space *space) {
  space_free(space);
  assert_int_equal(mem.used, 0);
}

static void expect(struct space *space, uint64_t free, uint64_t deferred) {
  struct space_counts counts = space_counts(space);
  assert_int_equal(counts.total, TOTAL);
  assert_int_equal(counts.free, free);
  assert_int_equal(counts.deferred, deferred);
}

struct place {
  struct extent extents[BLOCK_PTR_EXTENTS_MAX];
  uint32_t count;
};

static struct place take_kind(struct space *space, enum space_kind kind, uint64_t blocks) {
  struct place place;
  struct wodan_error error;
  if (space_allocate_sparing(space, kind, blocks, 0, place.extents, &place.count, &error) < 0)
    fail_msg("%s", error.message);
  uint64_t sum = 0;
  for (uint32_t e = 0; e < place.count; e++) {
    assert_true(place.extents[e].first >= FIRST);
    sum += place.extents[e].count;
  }
  assert_int_equal(sum, blocks);
  return place;
}

static struct place take(struct space *space, uint64_t blocks) {
  struct place place = take_kind(space, SPACE_LEAF, blocks);
  for (uint32_t e = 0; e < place.count; e++) assert_true(place.extents[e].first + place.extents[e].count <= END);
  return place;
}

static void test_space__all_of_the_data_area_is_free_at_first(void **state) {
  (void)state;
  struct space *space = fresh();
  expect(space, TOTAL, 0);
  assert_int_equal(mem.used, space_memory(TOTAL));
  struct place all = take(space, TOTAL);
  assert_int_equal(all.count, 1);
  assert_int_equal(all.extents[0].first, FIRST);
  expect(space, 0, 0);
  done(space);
}

static void test_space__an_empty_data_area_refuses_everything(void **state) {
  (void)state;
  mem_init(&mem, NULL);
  struct space *space = space_create(&mem, 9, 9);
  struct place place;
  assert_non_null(space);
  assert_int_equal(space_allocate_sparing(space, SPACE_LEAF, 1, 0, place.extents, &place.count, NULL), WODAN_ENOSPC);
  done(space);
}

static void test_space__allocation_moves_on_round_the_device(void **state) {
  (void)state;
  struct space *space = fresh();
  struct place one = take(space, 90), two = take(space, 90);
  assert_int_equal(two.extents[0].first, FIRST + 90);
  space_release(space, one.extents, one.count);
  struct place three = take(space, 20); /* behind two, not back at the start */
  assert_int_equal(three.extents[0].first, FIRST + 180);
  struct place four = take(space, 30); /* round the end */
  assert_int_equal(four.extents[0].first, FIRST);
  expect(space, TOTAL - 140, 0);
  done(space);
}

static void test_space__scattered_room_is_used_in_several_extents(void **state) {
  (void)state;
  struct space *space = fresh();
  struct place parts[20];
  for (int i = 0; i < 20; i++) parts[i] = take(space, 10);
  for (int i = 0; i < 20; i += 2) space_release(space, parts[i].extents, parts[i].count);
  expect(space, 100, 0);
  struct place wide = take(space, 35);
  assert_int_equal(wide.count, 4);
  struct wodan_error error;
  struct place none;
  assert_int_equal(space_allocate_sparing(space, SPACE_LEAF, 66, 0, none.extents, &none.count, &error), WODAN_ENOSPC);
  assert_non_null(strstr(error.message, "66"));
  expect(space, 65, 0); /* a refusal changes nothing */
  take(space, 65);
  expect(space, 0, 0);
  done(space);
}

static void test_space__more_holes_than_a_pointer_names_are_refused(void **state) {
  (void)state;
  struct space *space = fresh();
  struct place all = take(space, TOTAL), place;
  for (uint64_t i = 0; i < TOTAL; i += 2) {
    struct extent hole = {all.extents[0].first + i, 1};
    space_release(space, &hole, 1);
  }
  expect(space, TOTAL / 2, 0);
  assert_int_equal(
      space_allocate_sparing(space, SPACE_LEAF, BLOCK_PTR_EXTENTS_MAX + 1, 0, place.extents, &place.count, NULL),
      WODAN_ENOSPC);
  expect(space, TOTAL / 2, 0);
  place = take(space, BLOCK_PTR_EXTENTS_MAX);
  assert_int_equal(place.count, BLOCK_PTR_EXTENTS_MAX);
  done(space);
}

static void test_space__a_claim_outside_or_twice_is_corruption(void **state) {
  (void)state;
  struct space *space = fresh();
  struct wodan_error error;
  static const struct extent bad[] = {{FIRST - 1, 2}, {END, 1}, {END - 1, 2}, {FIRST, UINT64_MAX}, {UINT64_MAX, 1}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(space_claim(space, &bad[i], 1, &error), WODAN_ECORRUPT);
    assert_int_equal(error.block, bad[i].first);
    assert_false(space_claim_previous(space, &bad[i], 1));
  }
  expect(space, TOTAL, 0);
  struct extent good = {FIRST + 3, 5}, overlapping = {FIRST + 7, 2};
  assert_int_equal(space_claim(space, &good, 1, &error), 0);
  assert_int_equal(space_claim(space, &overlapping, 1, &error), WODAN_ECORRUPT);
  assert_int_equal(error.block, FIRST + 7);
  done(space);
}

/* Rule 6: after a mount the blocks that only the previous root names are not written, until the next checkpoint. */
static void test_space__the_previous_roots_blocks_wait_for_the_next_checkpoint(void **state) {
  (void)state;
  struct space *space = fresh();
  struct extent newest = {FIRST, 10}, previous = {FIRST + 5, 15};
  assert_int_equal(space_claim(space, &newest, 1, NULL), 0);
  assert_true(space_claim_previous(space, &previous, 1));
  space_mounted(space, 7);
  expect(space, TOTAL - 20, 10);
  struct place other = take(space, TOTAL - 20);
  for (uint32_t e = 0; e < other.count; e++) assert_true(other.extents[e].first >= FIRST + 20);
  space_checkpoint_durable(space, 8);
  expect(space, 10, 0);
  struct place freed = take(space, 10);
  assert_int_equal(freed.extents[0].first, FIRST + 10);
  done(space);
}

static void test_space__what_a_checkpoint_gives_up_survives_one_more(void **state) {
  (void)state;
  struct space *space = fresh();
  struct place object = take(space, 12);
  space_checkpoint_durable(space, 5); /* names the object */
  space_defer(space, object.extents, object.count, 4);
  expect(space, TOTAL - 12, 12);
  space_checkpoint_durable(space, 6); /* the previous root names it still */
  expect(space, TOTAL - 12, 12);
  space_checkpoint_durable(space, 7);
  expect(space, TOTAL, 0);
  done(space);
}

static void test_space__what_no_checkpoint_named_is_free_at_once(void **state) {
  (void)state;
  struct space *space = fresh();
  space_mounted(space, 5);
  struct place object = take(space, 12), other = take(space, 3);
  space_defer(space, object.extents, object.count, 6);
  expect(space, TOTAL - 3, 0);
  space_defer(space, other.extents, other.count, 5); /* as old as the root: it may name it */
  expect(space, TOTAL - 3, 3);
  done(space);
}

/* A volume whose last block went to a leaf could never again write a root, so never free what was deferred. */
static void test_space__the_last_blocks_are_kept_for_a_root(void **state) {
  (void)state;
  struct space *space = fresh();
  struct place place;
  space_set_reserve(space, 4, 4);
  assert_int_equal(space_allocate_sparing(space, SPACE_LEAF, TOTAL - 3, 0, place.extents, &place.count, NULL),
                   WODAN_ENOSPC);
  take(space, TOTAL - 4);
  assert_int_equal(space_allocate_sparing(space, SPACE_LEAF, 1, 0, place.extents, &place.count, NULL), WODAN_ENOSPC);
  assert_int_equal(space_allocate_reserved(space, SPACE_NODE, 3, place.extents, &place.count, NULL), 0);
  expect(space, 1, 0);
  assert_int_equal(space_allocate_reserved(space, SPACE_NODE, 2, place.extents, &place.count, NULL), WODAN_ENOSPC);
  space_set_reserve(space, 0, 0);
  take(space, 1);
  done(space);
}

/* What was promised to the memtables is left by what can wait, and only by that. */
static void test_space__what_can_wait_leaves_what_was_promised(void **state) {
  (void)state;
  struct space *space = space_create(&mem, 0, 40);
  struct extent extents[BLOCK_PTR_EXTENTS_MAX];
  uint32_t count;
  space_set_reserve(space, 5, 5);
  assert_true(space_promise(space, 20, 20, 4));
  assert_int_equal(space_allocate_sparing(space, SPACE_LEAF, 12, 4, extents, &count, NULL), WODAN_ENOSPC);
  assert_int_equal(space_allocate_sparing(space, SPACE_LEAF, 11, 4, extents, &count, NULL), 0);
  assert_false(space_reaches(space, 5));
  assert_true(space_reaches(space, 4));
  assert_false(space_promise(space, 25, 20, 4)); /* the promise stays */
  assert_int_equal(space_allocate_sparing(space, SPACE_LEAF, 1, 4, extents, &count, NULL), WODAN_ENOSPC);
  assert_int_equal(space_allocate_sparing(space, SPACE_BUFFER, 20, 0, extents, &count, NULL), 0); /* what it was for */
  assert_true(space_promise(space, 0, 0, 0));
  assert_int_equal(space_allocate_sparing(space, SPACE_LEAF, 1, 3, extents, &count, NULL), 0);
  space_free(space);
}

/* ---- where each kind goes ---------------------------------------------------------------------------------------- */

enum { WIDE = 64 * 1000, SEGMENT = WIDE / 64 };

static struct space *fresh_wide(void) {
  mem_init(&mem, NULL);
  struct space *space = space_create(&mem, FIRST, FIRST + WIDE);
  assert_non_null(space);
  return space;
}

static void test_space__memory_is_told_exactly(void **state) {
  (void)state;
  static const uint64_t sizes[] = {0, 1, 63, 64, 65, 4095, 4096, 4097, 300000, 1 << 20};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    mem_init(&mem, NULL);
    struct space *space = space_create(&mem, FIRST, FIRST + sizes[i]);
    assert_non_null(space);
    if (sizes[i]) assert_int_equal(mem.used, space_memory(sizes[i]));
    done(space);
  }
}

/* Written in turn, each kind lies in line all the same, and what is given up together becomes one free stretch. */
static void test_space__kinds_lie_apart_and_in_line(void **state) {
  (void)state;
  struct space *space = fresh_wide();
  static const uint64_t blocks[SPACE_KINDS] = {
      [SPACE_BUFFER] = 50, [SPACE_LEAF] = 16, [SPACE_NODE] = 2, [SPACE_BLOB] = 7};
  uint64_t ends[SPACE_KINDS] = {0};
  for (int round = 0; round < 19; round++)
    for (int kind = 0; kind < SPACE_KINDS; kind++) {
      struct place place = take_kind(space, (enum space_kind)kind, blocks[kind]);
      assert_int_equal(place.count, 1);
      if (round) assert_int_equal(place.extents[0].first, ends[kind]);
      ends[kind] = place.extents[0].first + blocks[kind];
    }
  for (int a = 0; a < SPACE_KINDS; a++)
    for (int b = 0; b < a; b++) assert_true((ends[a] - FIRST) / SEGMENT != (ends[b] - FIRST) / SEGMENT);
  done(space);
}

static void test_space__a_small_object_fills_the_tightest_hole(void **state) {
  (void)state;
  struct space *space = fresh_wide();
  struct extent most = {FIRST, WIDE - 5000}, holes[] = {{FIRST + 30000, 90}, {FIRST + 40000, 33}, {FIRST + 50000, 64}};
  assert_int_equal(space_claim(space, &most, 1, NULL), 0);
  space_release(space, holes, 3);
  assert_int_equal(take_kind(space, SPACE_LEAF, 32).extents[0].first, FIRST + 40000);
  assert_int_equal(take_kind(space, SPACE_LEAF, 60).extents[0].first, FIRST + 50000);
  assert_int_equal(take_kind(space, SPACE_BUFFER, 4000).extents[0].first, FIRST + WIDE - 5000);
  assert_int_equal(take_kind(space, SPACE_LEAF, 30).extents[0].first, FIRST + 30000);
  assert_int_equal(take_kind(space, SPACE_LEAF, 60).extents[0].first, FIRST + 30030); /* goes on behind the last */
  done(space);
}

/* The segments are a wish: the last blocks are given to whoever asks. */
static void test_space__a_kind_may_take_everything(void **state) {
  (void)state;
  struct space *space = fresh_wide();
  for (int kind = 0; kind < SPACE_KINDS; kind++) take_kind(space, (enum space_kind)kind, 10);
  uint64_t left = WIDE - 10 * SPACE_KINDS;
  while (left) {
    uint64_t blocks = left < 100 ? left : 100;
    take_kind(space, SPACE_LEAF, blocks);
    left -= blocks;
  }
  assert_int_equal(space_counts(space).free, 0);
  done(space);
}

/* ---- against a map ---------------------------------------------------------------------------------------------- */

enum life { FREE, NAMED, YOUNG, NOW, OLD };

struct object {
  struct place place;
  uint64_t generation;
};

static void set_life(uint8_t *map, const struct place *place, enum life from, enum life to, uint64_t seed) {
  for (uint32_t e = 0; e < place->count; e++)
    for (uint64_t i = 0; i < place->extents[e].count; i++) {
      uint8_t *at = &map[place->extents[e].first - FIRST + i];
      if (*at != from && !(from == NAMED && *at == YOUNG))
        fail_msg("seed %llu: block %llu is %d where %d is due", (unsigned long long)seed,
                 (unsigned long long)(place->extents[e].first + i), *at, from);
      *at = (uint8_t)to;
    }
}

static void test_space__random_lives_equal_a_map(void **state) {
  (void)state;
  const char *text = getenv("WODAN_SEED");
  uint64_t seed = text ? strtoull(text, NULL, 0) : 42, random = seed, generation = 1, durable = 1;
  struct space *space = fresh();
  struct object objects[TOTAL];
  uint8_t map[TOTAL] = {FREE};
  size_t count = 0;
  space_mounted(space, 1);
  for (int round = 0; round < 20000; round++) {
    uint64_t dice = random_below(&random, 10);
    if (dice < 5 && count < TOTAL) {
      struct object *object = &objects[count];
      uint64_t blocks = 1 + random_below(&random, 30);
      struct space_counts counts = space_counts(space);
      int status =
          space_allocate_sparing(space, SPACE_LEAF, blocks, 0, object->place.extents, &object->place.count, NULL);
      if (status == WODAN_ENOSPC) assert_true(counts.free < blocks + TOTAL / 2);
      if (status < 0) continue;
      object->generation = ++generation;
      set_life(map, &object->place, FREE, YOUNG, seed);
      count++;
    } else if (dice < 9 && count) {
      size_t at = (size_t)random_below(&random, count);
      bool young = objects[at].generation > durable;
      set_life(map, &objects[at].place, young ? YOUNG : NAMED, young ? FREE : NOW, seed);
      space_defer(space, objects[at].place.extents, objects[at].place.count, objects[at].generation);
      objects[at] = objects[--count];
    } else if (dice == 9) {
      durable = ++generation;
      space_checkpoint_durable(space, durable);
      for (size_t i = 0; i < TOTAL; i++)
        map[i] = map[i] == OLD ? FREE : map[i] == NOW ? OLD : map[i] == YOUNG ? NAMED : map[i];
    }
    uint64_t free = 0, deferred = 0;
    for (size_t i = 0; i < TOTAL; i++) {
      free += map[i] == FREE;
      deferred += map[i] == NOW || map[i] == OLD;
    }
    struct space_counts counts = space_counts(space);
    if (counts.free != free || counts.deferred != deferred)
      fail_msg("round %d: %llu free and %llu deferred for %llu and %llu (replay: WODAN_SEED=%llu)", round,
               (unsigned long long)counts.free, (unsigned long long)counts.deferred, (unsigned long long)free,
               (unsigned long long)deferred, (unsigned long long)seed);
  }
  done(space);
}

/* ---- large volumes against a map ------------------------------------------------------------------------------------ */

enum { LARGE = 5 * BITMAP_REGION + 77 };

static uint64_t seed_of_run(void) {
  const char *text = getenv("WODAN_SEED");
  return text ? strtoull(text, NULL, 0) : 42;
}

static uint64_t naive_next(const uint8_t *used, uint64_t size, uint64_t from, uint64_t blocks) {
  uint64_t length = 0;
  for (uint64_t i = from; i < size; i++) {
    length = used[i] ? 0 : length + 1;
    if (length == blocks) return i + 1 - blocks;
  }
  return size;
}

static int falling(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? 1 : x > y ? -1 : 0;
}

/* Lengths of the free stretches, the longest first. */
static size_t naive_lengths(const uint8_t *used, uint64_t size, uint64_t *lengths) {
  size_t n = 0;
  uint64_t length = 0;
  for (uint64_t i = 0; i <= size; i++) {
    if (i < size && !used[i]) {
      length++;
    } else if (length) {
      lengths[n++] = length;
      length = 0;
    }
  }
  qsort(lengths, n, sizeof *lengths, falling);
  return n;
}

static uint64_t naive_reach(const uint8_t *used, uint64_t size) {
  static uint64_t lengths[LARGE];
  size_t n = naive_lengths(used, size, lengths);
  uint64_t sum = 0;
  for (size_t i = 0; i < n && i < BLOCK_PTR_EXTENTS_MAX; i++) sum += lengths[i];
  return sum;
}

static void compare_free_map(struct free_map *map, const uint8_t *used, uint64_t size, uint64_t *random) {
  static uint64_t lengths[LARGE];
  size_t n = naive_lengths(used, size, lengths);
  assert_int_equal(free_map_longest(map), n ? lengths[0] : 0);
  struct extent largest[BLOCK_PTR_EXTENTS_MAX + 1];
  assert_int_equal(free_map_largest(map, largest), n < BLOCK_PTR_EXTENTS_MAX ? n : BLOCK_PTR_EXTENTS_MAX);
  for (size_t i = 0; i < n && i < BLOCK_PTR_EXTENTS_MAX; i++) {
    assert_int_equal(largest[i].count, lengths[i]);
    assert_int_equal(naive_next(used, size, largest[i].first, lengths[i]), largest[i].first);
    assert_int_equal(free_map_end(map, largest[i].first), largest[i].first + lengths[i]);
  }
  for (int i = 0; i < 8; i++) {
    uint64_t from = random_below(random, size), blocks = 1 + random_below(random, i % 2 ? size : 200), place = size;
    bool found = free_map_next(map, from, blocks, &place);
    uint64_t expected = naive_next(used, size, from, blocks);
    if (found != (expected < size) || place != expected)
      fail_msg("%llu blocks from %llu: %llu, not %llu", (unsigned long long)blocks, (unsigned long long)from,
               (unsigned long long)place, (unsigned long long)expected);
  }
}

static void test_space__free_map_equals_a_plain_map(void **state) {
  (void)state;
  uint64_t seed = seed_of_run(), random = seed;
  printf("seed %llu\n", (unsigned long long)seed);
  static const uint64_t sizes[] = {1, 64, 200, BITMAP_REGION - 1, BITMAP_REGION, 3 * BITMAP_REGION, LARGE};
  static uint8_t used[LARGE];
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    uint64_t size = sizes[s];
    struct free_map map;
    mem_init(&mem, NULL);
    assert_true(free_map_init(&map, &mem, size));
    memset(used, 0, sizeof used);
    for (int round = 0; round < 400; round++) {
      for (int i = 0; i < 1 << random_below(&random, 6); i++) { /* mostly taken, then mostly given, by turns */
        bool take_it = random_below(&random, 10) < (round / 50 % 2 ? 3 : 7);
        uint64_t first = random_below(&random, size), longest = random_below(&random, 20) ? 100 : 2 * BITMAP_REGION;
        uint64_t end = first + 1 + random_below(&random, longest);
        if (end > size) end = size;
        memset(used + first, take_it, end - first);
        take_it ? free_map_take(&map, first, end) : free_map_give(&map, first, end);
      }
      compare_free_map(&map, used, size, &random);
    }
    free_map_release(&map, &mem);
    assert_int_equal(mem.used, 0);
  }
}

/* All a large volume goes through: claims, both allocations, deferral, release, checkpoints. */
struct world {
  struct space *space;
  uint64_t seed, random, generation, durable, reserve;
  uint8_t life[LARGE];
  struct object objects[4096];
  size_t count;
};

static uint64_t world_free(const struct world *w, uint8_t *used) {
  uint64_t free = 0;
  for (size_t i = 0; i < LARGE; i++) {
    used[i] = w->life[i] != FREE;
    free += !used[i];
  }
  return free;
}

static void world_allocate(struct world *w) {
  static uint8_t used[LARGE];
  static const uint64_t bounds[] = {40, 40, 200, 3000};
  struct object *object = &w->objects[w->count];
  uint64_t blocks = 1 + random_below(&w->random, bounds[random_below(&w->random, 4)]);
  uint64_t spare = random_below(&w->random, 3) ? 0 : random_below(&w->random, 500);
  bool reserved = random_below(&w->random, 5) == 0;
  enum space_kind kind = (enum space_kind)random_below(&w->random, SPACE_KINDS);
  world_free(w, used);
  uint64_t before = naive_reach(used, LARGE);
  assert_true(space_reaches(w->space, blocks) == (before >= blocks + w->reserve));
  int status =
      reserved
          ? space_allocate_reserved(w->space, kind, blocks, object->place.extents, &object->place.count, NULL)
          : space_allocate_sparing(w->space, kind, blocks, spare, object->place.extents, &object->place.count, NULL);
  uint64_t kept = reserved ? 0 : w->reserve + spare;
  if (status < 0) {
    assert_int_equal(status, WODAN_ENOSPC);
    assert_true(before <= blocks + kept + before / BLOCK_PTR_EXTENTS_MAX); /* one more cut may lose the shortest */
    return;
  }
  object->generation = ++w->generation;
  set_life(w->life, &object->place, FREE, YOUNG, w->seed);
  w->count++;
  world_free(w, used);
  assert_true(naive_reach(used, LARGE) >= kept);
}

static void world_give_up(struct world *w) {
  size_t at = (size_t)random_below(&w->random, w->count);
  struct object *object = &w->objects[at];
  bool young = object->generation > w->durable;
  set_life(w->life, &object->place, young ? YOUNG : NAMED, young ? FREE : NOW, w->seed);
  if (young && random_below(&w->random, 2))
    space_release(w->space, object->place.extents, object->place.count);
  else
    space_defer(w->space, object->place.extents, object->place.count, object->generation);
  *object = w->objects[--w->count];
}

static void world_mount(struct world *w) {
  mem_init(&mem, NULL);
  w->space = space_create(&mem, FIRST, FIRST + LARGE);
  assert_non_null(w->space);
  for (uint64_t at = 0; at < LARGE - 700; at += random_below(&w->random, 900)) {
    struct object *object = &w->objects[w->count];
    object->place = (struct place){{{FIRST + at, 1 + random_below(&w->random, 600)}}, 1};
    object->generation = 1;
    bool previous = random_below(&w->random, 3) == 0, taken = false;
    for (uint64_t i = at; i < at + object->place.extents[0].count; i++) {
      taken |= w->life[i] != FREE;
      if (previous && w->life[i] == FREE) w->life[i] = OLD;
    }
    if (previous) {
      assert_true(space_claim_previous(w->space, object->place.extents, 1));
    } else {
      assert_int_equal(space_claim(w->space, object->place.extents, 1, NULL), taken ? WODAN_ECORRUPT : 0);
      if (!taken) set_life(w->life, &object->place, FREE, NAMED, w->seed);
      w->count += !taken;
    }
  }
  w->generation = w->durable = 1;
  space_mounted(w->space, 1);
}

static void test_space__random_lives_of_a_large_volume_equal_a_map(void **state) {
  (void)state;
  static struct world w;
  memset(&w, 0, sizeof w);
  w.seed = w.random = seed_of_run();
  printf("seed %llu\n", (unsigned long long)w.seed);
  world_mount(&w);
  for (int round = 0; round < 4000; round++) {
    uint64_t dice = random_below(&w.random, 20);
    if (dice < (round / 500 % 2 ? 8u : 12u) && w.count < 4096) {
      world_allocate(&w);
    } else if (dice < 18 && w.count) {
      world_give_up(&w);
    } else if (dice == 18) {
      w.durable = ++w.generation;
      space_checkpoint_durable(w.space, w.durable);
      for (size_t i = 0; i < LARGE; i++)
        w.life[i] = w.life[i] == OLD ? FREE : w.life[i] == NOW ? OLD : w.life[i] == YOUNG ? NAMED : w.life[i];
    } else {
      w.reserve = random_below(&w.random, 300);
      space_set_reserve(w.space, w.reserve, w.reserve);
    }
    uint64_t free = 0, deferred = 0;
    for (size_t i = 0; i < LARGE; i++) {
      free += w.life[i] == FREE;
      deferred += w.life[i] == NOW || w.life[i] == OLD;
    }
    struct space_counts counts = space_counts(w.space);
    if (counts.free != free || counts.deferred != deferred || counts.total != LARGE)
      fail_msg("round %d: %llu free and %llu deferred for %llu and %llu (replay: WODAN_SEED=%llu)", round,
               (unsigned long long)counts.free, (unsigned long long)counts.deferred, (unsigned long long)free,
               (unsigned long long)deferred, (unsigned long long)w.seed);
  }
  done(w.space);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_space__all_of_the_data_area_is_free_at_first),
      cmocka_unit_test(test_space__an_empty_data_area_refuses_everything),
      cmocka_unit_test(test_space__allocation_moves_on_round_the_device),
      cmocka_unit_test(test_space__scattered_room_is_used_in_several_extents),
      cmocka_unit_test(test_space__more_holes_than_a_pointer_names_are_refused),
      cmocka_unit_test(test_space__a_claim_outside_or_twice_is_corruption),
      cmocka_unit_test(test_space__the_previous_roots_blocks_wait_for_the_next_checkpoint),
      cmocka_unit_test(test_space__what_a_checkpoint_gives_up_survives_one_more),
      cmocka_unit_test(test_space__what_no_checkpoint_named_is_free_at_once),
      cmocka_unit_test(test_space__the_last_blocks_are_kept_for_a_root),
      cmocka_unit_test(test_space__what_can_wait_leaves_what_was_promised),
      cmocka_unit_test(test_space__memory_is_told_exactly),
      cmocka_unit_test(test_space__kinds_lie_apart_and_in_line),
      cmocka_unit_test(test_space__a_small_object_fills_the_tightest_hole),
      cmocka_unit_test(test_space__a_kind_may_take_everything),
      cmocka_unit_test(test_space__random_lives_equal_a_map),
      cmocka_unit_test(test_space__free_map_equals_a_plain_map),
      cmocka_unit_test(test_space__random_lives_of_a_large_volume_equal_a_map),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
