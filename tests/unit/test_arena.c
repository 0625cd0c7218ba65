/* Owns: the tests of src/memtable/arena: pieces in order, never moved, never straddling, reservations that hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "memtable/arena.h"

/* Fails the allocation number fail_at (0: none) and every one after it. */
struct faulty {
  size_t calls, fail_at;
};

static void *faulty_allocate(void *context, size_t size, size_t alignment) {
  struct faulty *f = context;
  f->calls++;
  if (f->fail_at && f->calls >= f->fail_at) return NULL;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void faulty_release(void *context, void *memory, size_t size) {
  (void)context;
  (void)size;
  free(memory);
}

static void faulty_init(struct mem *mem, struct faulty *f) {
  *f = (struct faulty){0};
  struct wodan_allocator hooks = {.context = f, .allocate = faulty_allocate, .release = faulty_release};
  mem_init(mem, &hooks);
}

static uint64_t next_random(uint64_t *state) {
  *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return *state >> 33;
}

/* A piece holds its size in its first 8 bytes and its number in the rest. */
static void piece_fill(uint8_t *piece, size_t size, size_t number) {
  memcpy(piece, &size, sizeof size);
  memset(piece + sizeof size, (int)(number & 0xff), size - sizeof size);
}

static size_t piece_check(const uint8_t *piece, size_t number) {
  size_t size;
  memcpy(&size, piece, sizeof size);
  for (size_t i = sizeof size; i < size; i++) assert_int_equal(piece[i], (uint8_t)number);
  return size;
}

static void test_arena__nothing_taken_allocates_nothing(void **state) {
  (void)state;
  struct mem mem;
  mem_init(&mem, NULL);
  struct arena arena;
  arena_init(&arena, &mem, 8);
  struct arena_chunk *chunk = NULL;
  size_t at = 0;
  assert_null(arena_walk(&arena, &chunk, &at));
  assert_int_equal(mem.used, 0);
  assert_true(arena_reserve(&arena, 100));
  assert_null(arena_walk(&arena, &chunk, &at)); /* reserved, not taken */
  assert_null(chunk);
  arena_release(&arena);
  assert_int_equal(mem.used, 0);
}

static void test_arena__walk_meets_every_piece_in_order(void **state) {
  (void)state;
  struct mem mem;
  mem_init(&mem, NULL);
  struct arena arena;
  arena_init(&arena, &mem, 8);
  uint64_t seed = 7;
  struct arena_chunk *chunk = NULL;
  size_t at = 0, taken = 0, met = 0;
  for (; taken < 3000; taken++) {
    size_t size = 8 + (size_t)(next_random(&seed) % (taken % 100 == 0 ? 9000 : 300));
    assert_true(arena_reserve(&arena, arena_piece(&arena, size)));
    piece_fill(arena_take(&arena, size), size, taken);
    if (next_random(&seed) % 3) continue;
    for (uint8_t *piece; (piece = arena_walk(&arena, &chunk, &at)); met++)
      at += arena_piece(&arena, piece_check(piece, met));
    assert_int_equal(met, taken + 1); /* a walk goes on where it stopped */
  }
  chunk = NULL;
  met = 0;
  for (uint8_t *piece; (piece = arena_walk(&arena, &chunk, &at)); met++)
    at += arena_piece(&arena, piece_check(piece, met));
  assert_int_equal(met, taken);
  arena_release(&arena);
  assert_int_equal(mem.used, 0);
}

static void test_arena__pieces_are_aligned(void **state) {
  (void)state;
  struct mem mem;
  mem_init(&mem, NULL);
  for (size_t alignment = 8; alignment <= 64; alignment *= 2) {
    struct arena arena;
    arena_init(&arena, &mem, alignment);
    for (size_t size = 1; size < 400; size += 7) {
      assert_true(arena_reserve(&arena, arena_piece(&arena, size)));
      uint8_t *piece = arena_take(&arena, size);
      assert_int_equal((uintptr_t)piece % alignment, 0);
      memset(piece, 1, size);
    }
    arena_release(&arena);
  }
  assert_int_equal(mem.used, 0);
}

static void test_arena__reservation_holds_whatever_the_order_of_sizes(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 200; seed++) {
    struct mem mem;
    struct faulty faulty;
    faulty_init(&mem, &faulty);
    struct arena arena;
    arena_init(&arena, &mem, 8);
    uint64_t random = seed;
    for (int round = 0; round < 20; round++) {
      size_t sizes[30], count = 1 + (size_t)(next_random(&random) % 30), bytes = 0;
      for (size_t i = 0; i < count; i++) {
        sizes[i] = 8 + (size_t)(next_random(&random) % 2000);
        bytes += arena_piece(&arena, sizes[i]);
      }
      faulty.fail_at = 0;
      if (!arena_reserve(&arena, bytes)) fail_msg("seed %llu", (unsigned long long)seed);
      faulty.fail_at = 1; /* from here on there is no memory */
      for (size_t i = 0; i < count; i++) piece_fill(arena_take(&arena, sizes[i]), sizes[i], i);
    }
    arena_release(&arena);
    assert_int_equal(mem.used, 0);
  }
}

static void test_arena__reserving_again_does_not_pile_up(void **state) {
  (void)state;
  struct mem mem;
  mem_init(&mem, NULL);
  struct arena arena;
  arena_init(&arena, &mem, 8);
  assert_true(arena_reserve(&arena, 100));
  assert_true(arena_reserve(&arena, 50000)); /* replaces the first chunk, which is empty */
  assert_in_range(mem.used, 50000, 51000);
  piece_fill(arena_take(&arena, 100), 100, 1);
  for (size_t i = 0; i < 100; i++) assert_true(arena_reserve(&arena, 60000 + i));
  assert_in_range(mem.used, 110000, 120000);
  assert_int_equal(mem.used, arena.size);
  arena_release(&arena);
  assert_int_equal(mem.used, 0);
}

static void test_arena__failed_reserve_changes_nothing(void **state) {
  (void)state;
  struct mem mem;
  struct faulty faulty;
  faulty_init(&mem, &faulty);
  struct arena arena;
  arena_init(&arena, &mem, 8);
  assert_true(arena_reserve(&arena, 500));
  piece_fill(arena_take(&arena, 16), 16, 0);
  size_t used = mem.used;
  faulty.fail_at = 1;
  assert_false(arena_reserve(&arena, 5000));
  assert_false(arena_reserve(&arena, SIZE_MAX));
  faulty.fail_at = 0;
  assert_false(arena_reserve(&arena, SIZE_MAX - 8));
  assert_int_equal(mem.used, used);
  faulty.fail_at = 1;
  assert_true(arena_reserve(&arena, 400)); /* still there from before */
  piece_fill(arena_take(&arena, 400), 400, 1);
  struct arena_chunk *chunk = NULL;
  size_t at = 0;
  for (size_t i = 0; i < 2; i++) at += arena_piece(&arena, piece_check(arena_walk(&arena, &chunk, &at), i));
  arena_release(&arena);
  assert_int_equal(mem.used, 0);
}

static void test_arena__small_stays_small_and_large_has_few_chunks(void **state) {
  (void)state;
  struct mem mem;
  struct faulty faulty;
  faulty_init(&mem, &faulty);
  struct arena arena;
  arena_init(&arena, &mem, 8);
  for (size_t taken = 0; taken < 2048; taken += 64) {
    assert_true(arena_reserve(&arena, 64));
    piece_fill(arena_take(&arena, 64), 64, 0);
  }
  assert_in_range(mem.used, 2048, 3 * ARENA_CHUNK_MIN);
  for (size_t taken = 2048; taken < 32u << 20; taken += 1024) {
    assert_true(arena_reserve(&arena, 1024));
    piece_fill(arena_take(&arena, 1024), 1024, 0);
  }
  assert_in_range(mem.used, 32u << 20, 34u << 20);
  assert_in_range(faulty.calls, 32, 60);
  arena_release(&arena);
  assert_int_equal(mem.used, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_arena__nothing_taken_allocates_nothing),
      cmocka_unit_test(test_arena__walk_meets_every_piece_in_order),
      cmocka_unit_test(test_arena__pieces_are_aligned),
      cmocka_unit_test(test_arena__reservation_holds_whatever_the_order_of_sizes),
      cmocka_unit_test(test_arena__reserving_again_does_not_pile_up),
      cmocka_unit_test(test_arena__failed_reserve_changes_nothing),
      cmocka_unit_test(test_arena__small_stays_small_and_large_has_few_chunks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
