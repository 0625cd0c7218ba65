/* Space: the life of a block, next-fit allocation, and a random run against a plain map. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

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

static struct place take(struct space *space, uint64_t blocks) {
  struct place place;
  struct wodan_error error;
  if (space_allocate_sparing(space, SPACE_LEAF, blocks, 0, place.extents, &place.count, &error) < 0)
    fail_msg("%s", error.message);
  uint64_t sum = 0;
  for (uint32_t e = 0; e < place.count; e++) {
    assert_true(place.extents[e].first >= FIRST && place.extents[e].first + place.extents[e].count <= END);
    sum += place.extents[e].count;
  }
  assert_int_equal(sum, blocks);
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
  space_checkpoint_durable(space, 8, NULL, NULL);
  expect(space, 10, 0);
  struct place freed = take(space, 10);
  assert_int_equal(freed.extents[0].first, FIRST + 10);
  done(space);
}

static void test_space__what_a_checkpoint_gives_up_survives_one_more(void **state) {
  (void)state;
  struct space *space = fresh();
  struct place object = take(space, 12);
  space_checkpoint_durable(space, 5, NULL, NULL); /* names the object */
  space_defer(space, object.extents, object.count, 4);
  expect(space, TOTAL - 12, 12);
  space_checkpoint_durable(space, 6, NULL, NULL); /* the previous root names it still */
  expect(space, TOTAL - 12, 12);
  space_checkpoint_durable(space, 7, NULL, NULL);
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
  space_set_reserve(space, 4);
  assert_int_equal(space_allocate_sparing(space, SPACE_LEAF, TOTAL - 3, 0, place.extents, &place.count, NULL),
                   WODAN_ENOSPC);
  take(space, TOTAL - 4);
  assert_int_equal(space_allocate_sparing(space, SPACE_LEAF, 1, 0, place.extents, &place.count, NULL), WODAN_ENOSPC);
  assert_int_equal(space_allocate_reserved(space, SPACE_NODE, 3, place.extents, &place.count, NULL), 0);
  expect(space, 1, 0);
  assert_int_equal(space_allocate_reserved(space, SPACE_NODE, 2, place.extents, &place.count, NULL), WODAN_ENOSPC);
  space_set_reserve(space, 0);
  take(space, 1);
  done(space);
}

struct told {
  struct extent extents[64];
  uint32_t count;
};

static void tell(void *context, uint64_t first, uint64_t count) {
  struct told *told = context;
  told->extents[told->count++] = (struct extent){first, count};
}

static void test_space__freed_stretches_are_told_joined(void **state) {
  (void)state;
  struct space *space = fresh();
  struct told told = {.count = 0};
  struct place one = take(space, 60), two = take(space, 10), three = take(space, 5), four = take(space, 70);
  (void)three;
  space_checkpoint_durable(space, 2, tell, &told);
  space_defer(space, two.extents, 1, 1);
  space_defer(space, one.extents, 1, 1);
  space_defer(space, four.extents, 1, 1);
  space_checkpoint_durable(space, 3, tell, &told);
  assert_int_equal(told.count, 0);
  space_checkpoint_durable(space, 4, tell, &told);
  assert_int_equal(told.count, 2);
  assert_int_equal(told.extents[0].first, FIRST);
  assert_int_equal(told.extents[0].count, 70);
  assert_int_equal(told.extents[1].first, FIRST + 75);
  assert_int_equal(told.extents[1].count, 70);
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
      space_checkpoint_durable(space, durable, NULL, NULL);
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
      cmocka_unit_test(test_space__freed_stretches_are_told_joined),
      cmocka_unit_test(test_space__random_lives_equal_a_map),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
