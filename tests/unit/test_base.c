/* What: base/mem (counting, hooks, overflow) and base/status (sentences). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/status.h"

/* An allocator of the user: counts, checks sizes given back, and fails from the n-th call on. */
struct hooked {
  size_t calls, live, fail_from; /* fail_from 0: never */
};

static void *hooked_allocate(void *context, size_t size, size_t alignment) {
  struct hooked *h = context;
  h->calls++;
  if (h->fail_from && h->calls >= h->fail_from) return NULL;
  h->live += size;
  return alignment > 16 ? aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment) : malloc(size);
}

static void hooked_release(void *context, void *memory, size_t size) {
  struct hooked *h = context;
  h->live -= size;
  free(memory);
}

static struct mem hooked_mem(struct hooked *h) {
  struct wodan_allocator hooks = {.context = h, .allocate = hooked_allocate, .release = hooked_release};
  struct mem mem;
  mem_init(&mem, &hooks);
  return mem;
}

static void test_mem__counts_used_and_peak(void **state) {
  (void)state;
  struct mem mem;
  mem_init(&mem, NULL);
  void *a = mem_alloc(&mem, 100), *b = mem_zalloc(&mem, 50);
  assert_non_null(a);
  assert_non_null(b);
  for (int i = 0; i < 50; i++) assert_int_equal(((uint8_t *)b)[i], 0);
  assert_int_equal(mem.used, 150);
  mem_free(&mem, a, 100);
  assert_int_equal(mem.used, 50);
  mem_free(&mem, b, 50);
  mem_free(&mem, NULL, 77);
  assert_int_equal(mem.used, 0);
  assert_int_equal(mem.peak, 150);
}

static void test_mem__size_zero_is_one(void **state) {
  (void)state;
  struct mem mem;
  mem_init(&mem, NULL);
  void *a = mem_zalloc(&mem, 0);
  assert_non_null(a);
  assert_int_equal(mem.used, 1);
  mem_free(&mem, a, 0);
  assert_int_equal(mem.used, 0);
}

static void test_mem__aligned(void **state) {
  (void)state;
  struct mem mem;
  mem_init(&mem, NULL);
  for (size_t alignment = 16; alignment <= 65536; alignment *= 2) {
    void *a = mem_alloc_aligned(&mem, alignment + 1, alignment); /* not a multiple of it */
    assert_non_null(a);
    assert_int_equal((uintptr_t)a % alignment, 0);
    memset(a, 1, alignment + 1);
    mem_free(&mem, a, alignment + 1);
  }
}

static void test_mem__hooks_get_the_sizes_back(void **state) {
  (void)state;
  struct hooked h = {0};
  struct mem mem = hooked_mem(&h);
  void *a = mem_alloc(&mem, 10), *b = mem_array(&mem, 3, 7);
  assert_int_equal(h.live, 31);
  mem_free(&mem, a, 10);
  mem_array_free(&mem, b, 3, 7);
  assert_int_equal(h.live, 0);
  assert_int_equal(h.calls, 2);
}

static void test_mem__array_overflow_is_no_memory(void **state) {
  (void)state;
  struct hooked h = {0};
  struct mem mem = hooked_mem(&h);
  assert_null(mem_array(&mem, SIZE_MAX / 8 + 1, 8));
  assert_null(mem_array(&mem, SIZE_MAX, SIZE_MAX));
  assert_int_equal(h.calls, 0);
  assert_int_equal(mem.used, 0);
}

/* Sizes that an image tells have 64 bits. Cut to a size_t of 32, 4 GiB and 8 bytes were 8 bytes, granted and overrun. */
static void test_mem__sizes_are_refused_not_cut(void **state) {
  (void)state;
  struct hooked h = {0};
  struct mem mem = hooked_mem(&h);
  mem.limit = 1 << 20;
  assert_null(mem_alloc(&mem, (1ull << 32) + 8));
  assert_null(mem_zalloc(&mem, (1ull << 40) + 8));
  assert_null(mem_alloc_aligned(&mem, 1ull << 63, 4096));
  assert_null(mem_array(&mem, (1ull << 32) + 1, 8));
  struct mem part;
  mem_init_part(&part, &mem, (1ull << 32) + 8); /* a limit of 8 bytes, cut */
  void *memory = mem_alloc(&part, 100);
  assert_non_null(memory);
  mem_free(&part, memory, 100);
  assert_int_equal(mem.used, 0);
  assert_int_equal(h.live, 0);
}

/* Pieces of one kind stay with the part, within its limit, until others need the room. */
static void test_mem__kept_pieces_come_again_and_give_way(void **state) {
  (void)state;
  enum { PIECE = 4096, ROOM = 10 * PIECE };
  struct hooked h = {0};
  struct mem mem = hooked_mem(&h), part;
  mem_init_part(&part, &mem, ROOM);
  mem_keep(&part, PIECE, PIECE);
  void *pieces[8];
  for (int i = 0; i < 8; i++) assert_non_null(pieces[i] = mem_alloc_aligned(&part, PIECE, PIECE));
  for (int i = 0; i < 8; i++) mem_free(&part, pieces[i], PIECE);
  assert_int_equal(mem_used(&part), 0);
  assert_int_equal(mem_used(&mem), 8 * PIECE);
  size_t calls = h.calls;
  void *again = mem_alloc_aligned(&part, PIECE, PIECE);
  assert_non_null(again);
  assert_int_equal(h.calls, calls); /* nobody was asked */
  assert_int_equal(mem_used(&part), PIECE);
  void *other = mem_alloc(&part, ROOM - 3 * PIECE); /* all but two of what is kept have to go */
  assert_non_null(other);
  assert_int_equal(mem_used(&mem), ROOM);
  uint64_t refused = mem_refused(&part);
  assert_null(mem_alloc(&part, 3 * PIECE)); /* nothing of what is kept would help */
  assert_int_equal(mem_refused(&part), refused + 1);
  assert_int_equal(mem_used(&mem), ROOM);
  mem_free(&part, other, ROOM - 3 * PIECE);
  mem_free(&part, again, PIECE);
  void *unaligned = mem_alloc(&part, PIECE + 16); /* another size is never kept */
  mem_free(&part, unaligned, PIECE + 16);
  assert_int_equal(mem_used(&mem), 3 * PIECE);
  mem_keep_none(&part);
  assert_int_equal(mem_used(&mem), 0);
  assert_int_equal(h.live, 0);
}

static void test_mem__failure_is_not_counted(void **state) {
  (void)state;
  struct hooked h = {.fail_from = 1};
  struct mem mem = hooked_mem(&h);
  assert_null(mem_alloc(&mem, 8));
  assert_null(mem_zalloc(&mem, 8));
  assert_int_equal(mem.used, 0);
  assert_int_equal(mem.peak, 0);
}

static void test_mem__grow_keeps_contents(void **state) {
  (void)state;
  struct mem mem;
  mem_init(&mem, NULL);
  uint32_t *array = NULL;
  void *slot = NULL;
  size_t capacity = 0;
  for (uint32_t i = 0; i < 1000; i++) {
    assert_true(mem_array_grow(&mem, &slot, &capacity, i + 1, sizeof *array));
    array = slot;
    array[i] = i;
  }
  for (uint32_t i = 0; i < 1000; i++) assert_int_equal(array[i], i);
  assert_true(capacity >= 1000 && capacity <= 2000);
  mem_array_free(&mem, slot, capacity, sizeof *array);
  assert_int_equal(mem.used, 0);
}

static void test_mem__grow_failure_leaves_the_array(void **state) {
  (void)state;
  struct hooked h = {.fail_from = 2};
  struct mem mem = hooked_mem(&h);
  void *slot = NULL;
  size_t capacity = 0;
  assert_true(mem_array_grow(&mem, &slot, &capacity, 1, 4));
  void *before = slot;
  size_t capacity_before = capacity;
  assert_false(mem_array_grow(&mem, &slot, &capacity, capacity + 1, 4));
  assert_false(mem_array_grow(&mem, &slot, &capacity, SIZE_MAX, 4));
  assert_ptr_equal(slot, before);
  assert_int_equal(capacity, capacity_before);
  mem_array_free(&mem, slot, capacity, 4);
  assert_int_equal(h.live, 0);
}

static void test_status__every_code_has_its_own_sentence(void **state) {
  (void)state;
  static const struct {
    int code;
    const char *sentence;
  } table[] = {
#define ROW(name, number, sentence) {name, sentence},
      WODAN_STATUS_TABLE(ROW)
#undef ROW
  };
  size_t count = sizeof table / sizeof table[0];
  for (size_t i = 0; i < count; i++) {
    assert_string_equal(wodan_strerror(table[i].code), table[i].sentence);
    for (size_t j = 0; j < i; j++) {
      assert_int_not_equal(table[i].code, table[j].code);
      assert_string_not_equal(table[i].sentence, table[j].sentence);
    }
  }
}

static void test_status__numbers_never_change(void **state) {
  (void)state;
  assert_int_equal(WODAN_OK, 0);
  assert_int_equal(WODAN_DONE, 1);
  assert_int_equal(WODAN_EINVAL, -1);
  assert_int_equal(WODAN_ENOMEM, -2);
  assert_int_equal(WODAN_ENOTFOUND, -3);
  assert_int_equal(WODAN_EIO, -4);
  assert_int_equal(WODAN_ECORRUPT, -5);
  assert_int_equal(WODAN_ENOSPC, -6);
  assert_int_equal(WODAN_EBUSY, -7);
  assert_int_equal(WODAN_EREADONLY, -8);
  assert_int_equal(WODAN_ENOTDURABLE, -9);
  assert_int_equal(WODAN_ETOOBIG, -10);
  assert_int_equal(WODAN_EFORMAT, -11);
  assert_int_equal(WODAN_EVERSION, -12);
  assert_int_equal(WODAN_EBUDGET, -13);
  assert_int_equal(WODAN_EFAILED, -14);
  assert_int_equal(WODAN_EPINNED, -15);
  assert_int_equal(WODAN_ENEEDSFLUSH, -16);
  assert_int_equal(WODAN_EEXIST, -17);
  assert_int_equal(WODAN_ENOTSUP, -18);
  assert_int_equal(WODAN_ERANGE, -19);
}

static void test_status__unknown_number(void **state) {
  (void)state;
  assert_string_equal(wodan_strerror(-20000), "unknown status");
  assert_string_equal(wodan_strerror(2), "unknown status");
}

static void test_status__set_fills_everything(void **state) {
  (void)state;
  struct wodan_error error;
  memset(&error, 0xee, sizeof error);
  assert_int_equal(status_set(&error, WODAN_EIO, 5, 77, "block %d of %s", 77, "x"), WODAN_EIO);
  assert_int_equal(error.code, WODAN_EIO);
  assert_int_equal(error.device_errno, 5);
  assert_int_equal(error.block, 77);
  assert_string_equal(error.message, "block 77 of x");
}

static void test_status__long_message_is_cut_and_terminated(void **state) {
  (void)state;
  struct wodan_error error;
  char text[1000];
  memset(text, 'a', sizeof text);
  text[sizeof text - 1] = 0;
  status_set(&error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "%s", text);
  assert_int_equal(strlen(error.message), sizeof error.message - 1);
}

static void test_status__error_may_be_null(void **state) {
  (void)state;
  assert_int_equal(status_set(NULL, WODAN_EBUSY, 0, 0, "x"), WODAN_EBUSY);
  assert_int_equal(status_corrupt(NULL, 3, "x"), WODAN_ECORRUPT);
  assert_int_equal(status_nomem(NULL), WODAN_ENOMEM);
}

static void test_status__corrupt_and_nomem(void **state) {
  (void)state;
  struct wodan_error error;
  assert_int_equal(status_corrupt(&error, 12, "bad"), WODAN_ECORRUPT);
  assert_int_equal(error.code, WODAN_ECORRUPT);
  assert_int_equal(error.block, 12);
  assert_int_equal(status_nomem(&error), WODAN_ENOMEM);
  assert_int_equal(error.code, WODAN_ENOMEM);
  assert_true(error.block == WODAN_NO_BLOCK);
}

static void test_status__version_string(void **state) {
  (void)state;
  assert_string_equal(wodan_version(), WODAN_VERSION_STRING);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_mem__counts_used_and_peak),
      cmocka_unit_test(test_mem__size_zero_is_one),
      cmocka_unit_test(test_mem__aligned),
      cmocka_unit_test(test_mem__hooks_get_the_sizes_back),
      cmocka_unit_test(test_mem__array_overflow_is_no_memory),
      cmocka_unit_test(test_mem__sizes_are_refused_not_cut),
      cmocka_unit_test(test_mem__kept_pieces_come_again_and_give_way),
      cmocka_unit_test(test_mem__failure_is_not_counted),
      cmocka_unit_test(test_mem__grow_keeps_contents),
      cmocka_unit_test(test_mem__grow_failure_leaves_the_array),
      cmocka_unit_test(test_status__every_code_has_its_own_sentence),
      cmocka_unit_test(test_status__numbers_never_change),
      cmocka_unit_test(test_status__unknown_number),
      cmocka_unit_test(test_status__set_fills_everything),
      cmocka_unit_test(test_status__long_message_is_cut_and_terminated),
      cmocka_unit_test(test_status__error_may_be_null),
      cmocka_unit_test(test_status__corrupt_and_nomem),
      cmocka_unit_test(test_status__version_string),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
