/* Cursors: include/wodan/cursor.h against a sorted reference, on records spread over leaves, runs and memtables. */
#include "engine/cursor.h"
#include "engine_rig.h"

/* ---- the reference: keys in order, each present or not ------------------------------------------------------------ */

struct reference {
  uint8_t (*keys)[64];
  size_t *sizes;
  uint64_t *versions; /* 0: absent */
  size_t count;
};

static int compare(const void *a, size_t as, const void *b, size_t bs) {
  int c = memcmp(a, b, as < bs ? as : bs);
  return c ? c : (as > bs) - (as < bs);
}

/* Key n of several shapes: numbers, long common prefixes, prefixes of each other, binary with zeros and 0xff. */
static size_t shaped_key(uint64_t n, uint8_t *out) {
  switch (n % 4) {
  case 0:
    return (size_t)snprintf((char *)out, 64, "%llu", (unsigned long long)n);
  case 1:
    return (size_t)snprintf((char *)out, 64, "a/long/common/prefix/%05llu", (unsigned long long)n);
  case 2:
    memset(out, n % 8 == 2 ? 0 : 0xff, 64);
    return 1 + n / 4 % 60;
  }
  uint64_t mixed = n * 0x9E3779B97F4A7C15ull;
  memcpy(out, &mixed, 8);
  return 8;
}

static int by_key(const void *a, const void *b) {
  const uint8_t *x = a, *y = b;
  return compare(x + 1, x[0], y + 1, y[0]);
}

static struct reference reference_create(size_t wanted) {
  uint8_t(*sorted)[65] = calloc(wanted, sizeof *sorted); /* size, bytes */
  for (size_t n = 0; n < wanted; n++) sorted[n][0] = (uint8_t)shaped_key(n, sorted[n] + 1);
  qsort(sorted, wanted, sizeof *sorted, by_key);
  struct reference r = {.keys = calloc(wanted, sizeof *r.keys),
                        .sizes = calloc(wanted, sizeof *r.sizes),
                        .versions = calloc(wanted, sizeof *r.versions)};
  for (size_t n = 0; n < wanted; n++) {
    if (n && by_key(sorted[n - 1], sorted[n]) == 0) continue;
    r.sizes[r.count] = sorted[n][0];
    memcpy(r.keys[r.count++], sorted[n] + 1, 64);
  }
  free(sorted);
  return r;
}

static struct reference reference_copy(const struct reference *from) {
  struct reference r = *from;
  r.keys = malloc(r.count * sizeof *r.keys), memcpy(r.keys, from->keys, r.count * sizeof *r.keys);
  r.sizes = malloc(r.count * sizeof *r.sizes), memcpy(r.sizes, from->sizes, r.count * sizeof *r.sizes);
  r.versions = malloc(r.count * sizeof *r.versions);
  memcpy(r.versions, from->versions, r.count * sizeof *r.versions);
  return r;
}

static void reference_free(struct reference *r) {
  free(r->keys);
  free(r->sizes);
  free(r->versions);
}

static struct wodan_slice reference_key(const struct reference *r, size_t i) {
  return (struct wodan_slice){r->keys[i], r->sizes[i]};
}

static void reference_write(struct rig *rig, struct reference *r, size_t i, uint64_t version) {
  uint8_t value[64];
  size_t size = version ? 16 + (size_t)(i + version) % 40 : 0;
  struct wodan_slice key = reference_key(r, i);
  if (version)
    assert_done(rig->db, wodan_put(rig->db, key, value_number(i, version, value, size), NULL));
  else
    assert_done(rig->db, wodan_delete(rig->db, key, NULL));
  r->versions[i] = version;
}

/* Index of the first present key at or after i; count: none. */
static size_t forward(const struct reference *r, size_t i) {
  while (i < r->count && !r->versions[i]) i++;
  return i;
}
/* Index of the last present key before i, plus one; 0: none. */
static size_t backward(const struct reference *r, size_t i) {
  while (i > 0 && !r->versions[i - 1]) i--;
  return i;
}
/* Number of keys below `key`, or below and equal. */
static size_t rank(const struct reference *r, const void *key, size_t size, bool equal_too) {
  size_t low = 0, high = r->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    int c = compare(r->keys[middle], r->sizes[middle], key, size);
    if (c < 0 || (equal_too && c == 0))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void assert_stands(struct wodan_cursor *cursor, const struct reference *r, size_t at, int status,
                          const char *what) {
  struct wodan_slice key = wodan_cursor_key(cursor), value = wodan_cursor_value(cursor);
  if (at == SIZE_MAX) {
    if (status != WODAN_DONE) fail_msg("%s answered %d, the end is due", what, status);
    assert_null(key.data);
    assert_int_equal(key.size, 0);
    assert_null(value.data);
    assert_int_equal(value.size, 0);
    return;
  }
  if (status != 0) fail_msg("%s answered %d, record %zu is due", what, status, at);
  uint8_t wanted[64];
  uint64_t version = r->versions[at];
  size_t size = 16 + (size_t)(at + version) % 40;
  if (compare(key.data, key.size, r->keys[at], r->sizes[at])) fail_msg("%s: not record %zu", what, at);
  assert_int_equal(value.size, size);
  assert_memory_equal(value.data, value_number(at, version, wanted, size).data, size);
}

/* A key to seek: a stored one, its neighbours, prefixes, nothing, and keys longer than any may be. */
static struct wodan_slice sought(const struct reference *r, uint64_t *random, uint8_t *out, size_t capacity) {
  size_t i = random_below(random, r->count), size = r->sizes[i];
  memcpy(out, r->keys[i], size);
  switch (random_below(random, 8)) {
  case 0:
    return (struct wodan_slice){NULL, 0};
  case 1: /* just behind it */
    out[size] = 0;
    return (struct wodan_slice){out, size + 1};
  case 2: /* a prefix of it */
    return (struct wodan_slice){out, random_below(random, size) + 1};
  case 3: /* longer than the limit, behind all extensions of it */
    memset(out + size, 0xff, capacity - size);
    return (struct wodan_slice){out, capacity};
  case 4: /* longer than the limit, before all but itself */
    memset(out + size, 0, capacity - size);
    return (struct wodan_slice){out, 200 + random_below(random, capacity - 200)};
  case 5: /* just below or above in the last byte */
    out[size - 1] = (uint8_t)(out[size - 1] + (random_below(random, 2) ? 1 : 255));
    return (struct wodan_slice){out, size};
  }
  return (struct wodan_slice){out, size};
}

/* Random moves, every answer compared; direction changes at every step. */
static void walk(struct wodan_cursor *cursor, const struct reference *r, uint64_t moves, uint64_t seed) {
  uint8_t buffer[5000];
  size_t at = SIZE_MAX; /* where the cursor stands */
  for (uint64_t n = 0; n < moves; n++) {
    uint64_t dice = random_below(&seed, 100);
    size_t found = 0;
    int status;
    const char *what;
    if (dice < 3) {
      status = wodan_cursor_first(cursor), what = "first";
      found = forward(r, 0);
    } else if (dice < 6) {
      status = wodan_cursor_last(cursor), what = "last";
      found = backward(r, r->count) - 1;
    } else if (dice < 30) {
      bool back = dice % 2;
      struct wodan_slice key = sought(r, &seed, buffer, sizeof buffer);
      status = back ? wodan_cursor_seek_back(cursor, key) : wodan_cursor_seek(cursor, key);
      what = back ? "seek_back" : "seek";
      found = back ? backward(r, rank(r, key.data ? key.data : "", key.size, true)) - 1
                   : forward(r, rank(r, key.data ? key.data : "", key.size, false));
    } else if (dice < 65) {
      status = wodan_cursor_next(cursor), what = "next";
      found = at == SIZE_MAX ? SIZE_MAX : forward(r, at + 1);
    } else {
      status = wodan_cursor_prev(cursor), what = "prev";
      found = at == SIZE_MAX ? SIZE_MAX : backward(r, at) - 1;
    }
    at = found == r->count ? SIZE_MAX : found;
    assert_stands(cursor, r, at, status, what);
  }
}

static void check(struct rig *rig, struct wodan_view *view, const struct reference *r, uint64_t moves, uint64_t seed) {
  struct wodan_cursor *cursor;
  assert_done(rig->db, wodan_cursor_open(rig->db, view, &cursor));
  assert_null(wodan_cursor_key(cursor).data); /* a new one stands nowhere */
  assert_int_equal(wodan_cursor_next(cursor), WODAN_DONE);
  assert_int_equal(wodan_cursor_prev(cursor), WODAN_DONE);
  size_t n = 0;
  int status = wodan_cursor_first(cursor);
  for (size_t i = forward(r, 0); i < r->count; i = forward(r, i + 1), n++) {
    assert_stands(cursor, r, i, status, "forward");
    status = wodan_cursor_next(cursor);
  }
  assert_int_equal(status, WODAN_DONE);
  assert_int_equal(wodan_cursor_next(cursor), WODAN_DONE); /* it stands nowhere now */
  assert_int_equal(wodan_cursor_prev(cursor), WODAN_DONE);
  status = wodan_cursor_last(cursor);
  for (size_t i = backward(r, r->count); i > 0; i = backward(r, i - 1)) {
    assert_stands(cursor, r, i - 1, status, "backward");
    status = wodan_cursor_prev(cursor);
  }
  assert_int_equal(status, WODAN_DONE);
  walk(cursor, r, moves, seed);
  wodan_cursor_close(cursor);
}

/* ---- tests ---------------------------------------------------------------------------------------------------------- */

static void compare_with_reference(uint64_t size, size_t keys, uint64_t rounds) {
  struct rig rig;
  uint64_t random = size;
  struct reference r = reference_create(keys);
  rig_start(&rig, size, NULL);
  check(&rig, NULL, &r, 200, 1);
  for (uint64_t round = 1; round <= rounds; round++) {
    for (size_t n = 0; n < r.count / 3; n++) {
      size_t i = random_below(&random, r.count);
      reference_write(&rig, &r, i, random_below(&random, 3) ? round : 0);
    }
    check(&rig, NULL, &r, 3000, round);
    if (round % 4 == 2) assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
    if (round % 4 == 3) rig_reopen(&rig);
    if (round % 4 >= 2) check(&rig, NULL, &r, 2000, round);
  }
  rig_end(&rig);
  reference_free(&r);
}

static void test_cursor__equals_a_sorted_reference_on_64_kib(void **state) {
  (void)state;
  compare_with_reference(64 << 10, 150, 12);
}
static void test_cursor__equals_a_sorted_reference_on_1_mib(void **state) {
  (void)state;
  compare_with_reference(1 << 20, 4000, 12);
}

static void test_cursor__on_an_empty_database_finds_nothing(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_cursor *cursor;
  rig_start(&rig, 64 << 10, NULL);
  assert_done(rig.db, wodan_cursor_open(rig.db, NULL, &cursor));
  assert_int_equal(wodan_cursor_first(cursor), WODAN_DONE);
  assert_int_equal(wodan_cursor_last(cursor), WODAN_DONE);
  assert_int_equal(wodan_cursor_seek(cursor, sl("a")), WODAN_DONE);
  assert_int_equal(wodan_cursor_seek_back(cursor, sl("a")), WODAN_DONE);
  assert_int_equal(wodan_cursor_seek(cursor, (struct wodan_slice){0}), WODAN_DONE);
  wodan_cursor_close(cursor);
  rig_end(&rig);
}

static void test_cursor__null_arguments_are_answered(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_cursor *cursor;
  rig_start(&rig, 64 << 10, NULL);
  assert_int_equal(wodan_cursor_open(NULL, NULL, &cursor), WODAN_EINVAL);
  assert_int_equal(wodan_cursor_open(rig.db, NULL, NULL), WODAN_EINVAL);
  assert_int_equal(wodan_cursor_first(NULL), WODAN_EINVAL);
  assert_int_equal(wodan_cursor_last(NULL), WODAN_EINVAL);
  assert_int_equal(wodan_cursor_next(NULL), WODAN_EINVAL);
  assert_int_equal(wodan_cursor_prev(NULL), WODAN_EINVAL);
  assert_int_equal(wodan_cursor_seek(NULL, sl("a")), WODAN_EINVAL);
  assert_int_equal(wodan_cursor_seek_back(NULL, sl("a")), WODAN_EINVAL);
  assert_null(wodan_cursor_key(NULL).data);
  assert_null(wodan_cursor_value(NULL).data);
  wodan_cursor_close(NULL);
  assert_done(rig.db, wodan_cursor_open(rig.db, NULL, &cursor));
  assert_int_equal(wodan_cursor_seek(cursor, (struct wodan_slice){NULL, 3}), WODAN_EINVAL);
  assert_int_equal(wodan_cursor_seek_back(cursor, (struct wodan_slice){NULL, 3}), WODAN_EINVAL);
  wodan_cursor_close(cursor);
  /* A view of another database is refused. */
  struct rig other;
  struct wodan_view *view;
  rig_start(&other, 64 << 10, NULL);
  assert_done(other.db, wodan_view_open(other.db, &view));
  assert_int_equal(wodan_cursor_open(rig.db, view, &cursor), WODAN_EINVAL);
  assert_why(rig.db, WODAN_EINVAL, "another database");
  size_t size;
  assert_int_equal(wodan_get(rig.db, view, sl("a"), NULL, 0, &size), WODAN_EINVAL);
  wodan_view_close(view);
  rig_end(&other);
  rig_end(&rig);
}

/* Deletes on top of leaves and runs hide what is below, in long stretches and at both ends. */
static void test_cursor__passes_over_long_stretches_of_deletes(void **state) {
  (void)state;
  struct rig rig;
  struct reference r = reference_create(1200);
  rig_start(&rig, 512 << 10, NULL);
  for (size_t i = 0; i < r.count; i++) reference_write(&rig, &r, i, 1);
  assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
  for (size_t i = 0; i < r.count; i++)
    if (i < 300 || (i > 400 && i < 800) || i + 200 > r.count) reference_write(&rig, &r, i, 0);
  check(&rig, NULL, &r, 2000, 1);
  assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
  check(&rig, NULL, &r, 2000, 2);
  for (size_t i = 0; i < r.count; i++)
    if (r.versions[i]) reference_write(&rig, &r, i, 0);
  check(&rig, NULL, &r, 200, 3); /* nothing is left to stand on */
  rig_reopen(&rig);
  check(&rig, NULL, &r, 200, 4);
  rig_end(&rig);
  reference_free(&r);
}

/* What is written while a cursor is open stays invisible to it: in the memtable it reads, when that is drained under it,
 * and when leaves it stands in are rewritten. */
static void test_cursor__writes_during_iteration_are_invisible(void **state) {
  (void)state;
  struct rig rig;
  struct reference r = reference_create(900);
  uint64_t random = 5;
  rig_start(&rig, 1 << 20, NULL);
  for (uint64_t round = 1; round <= 6; round++) {
    for (size_t n = 0; n < r.count / 2; n++)
      reference_write(&rig, &r, random_below(&random, r.count), random_below(&random, 4) ? round : 0);
    struct reference before = reference_copy(&r);
    struct wodan_cursor *cursor;
    assert_done(rig.db, wodan_cursor_open(rig.db, NULL, &cursor));
    bool back = round % 2;
    size_t steps = 0, at = back ? backward(&before, before.count) - 1 : forward(&before, 0);
    int status = back ? wodan_cursor_last(cursor) : wodan_cursor_first(cursor);
    while (status == 0) {
      assert_stands(cursor, &before, at, status, "step");
      for (int n = 0; n < 3; n++)
        reference_write(&rig, &r, random_below(&random, r.count), random_below(&random, 4) ? 100 + round : 0);
      if (++steps % 97 == 0) assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
      assert_stands(cursor, &before, at, status, "after writes"); /* key and value stay until it moves */
      status = back ? wodan_cursor_prev(cursor) : wodan_cursor_next(cursor);
      at = back ? backward(&before, at) - 1 : forward(&before, at + 1);
    }
    assert_int_equal(status, WODAN_DONE);
    assert_true(back ? at == SIZE_MAX : at == before.count);
    walk(cursor, &before, 500, round);
    wodan_cursor_close(cursor);
    reference_free(&before);
    check(&rig, NULL, &r, 500, round);
  }
  rig_end(&rig);
  reference_free(&r);
}

static void test_cursor__on_a_view_sees_the_views_moment(void **state) {
  (void)state;
  struct rig rig;
  struct reference r = reference_create(700);
  struct wodan_view *view;
  rig_start(&rig, 1 << 20, NULL);
  for (size_t i = 0; i < r.count; i++) reference_write(&rig, &r, i, i % 3);
  struct reference before = reference_copy(&r);
  assert_done(rig.db, wodan_view_open(rig.db, &view));
  for (size_t i = 0; i < r.count; i++) reference_write(&rig, &r, i, (i + 1) % 3 ? 9 : 0);
  check(&rig, view, &before, 2000, 1);
  assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
  check(&rig, view, &before, 2000, 2);
  check(&rig, NULL, &r, 2000, 3);
  wodan_view_close(view);
  rig_end(&rig);
  reference_free(&before);
  reference_free(&r);
}

/* Legs of up to 30 moves one way, then a turn; how many of the records came out of a stretch. */
static uint64_t walk_in_legs(struct rig *rig, struct wodan_view *view, const struct reference *r, uint64_t seed) {
  struct wodan_cursor *cursor;
  uint64_t glided = 0;
  assert_done(rig->db, wodan_cursor_open(rig->db, view, &cursor));
  for (unsigned leg = 0; leg < 200; leg++) {
    size_t at = forward(r, random_below(&seed, r->count));
    if (at == r->count) continue;
    assert_stands(cursor, r, at, wodan_cursor_seek(cursor, reference_key(r, at)), "seek");
    for (uint64_t moves = 2 * random_below(&seed, 30), n = 0; n < moves && at != SIZE_MAX; n++) {
      bool back = (n < moves / 2) == (leg % 2), was = cursor->glide.on && cursor->glide.back == back;
      uint32_t from = cursor->glide.stretch.at;
      int status = back ? wodan_cursor_prev(cursor) : wodan_cursor_next(cursor);
      at = back ? backward(r, at) - 1 : forward(r, at + 1);
      if (at == r->count) at = SIZE_MAX;
      assert_stands(cursor, r, at, status, back ? "prev" : "next");
      glided += was && cursor->glide.on && cursor->glide.stretch.at != from;
    }
  }
  wodan_cursor_close(cursor);
  return glided;
}

/* From leaves alone cursors read whole pages; beside newer versions, deletes and range deletes, and as of a view, they show
 * what moves would. */
static void test_cursor__reads_stretches_and_shows_what_moves_would(void **state) {
  (void)state;
  struct rig rig;
  struct reference r = reference_create(1500);
  struct wodan_view *view;
  uint32_t more = 1;
  rig_start(&rig, 1 << 20, NULL);
  for (size_t i = 0; i < r.count; i++) reference_write(&rig, &r, i, 1 + i % 3);
  while (more) assert_done(rig.db, wodan_compact(rig.db, NULL, NULL, UINT64_MAX, &more));
  assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
  uint64_t alone = walk_in_legs(&rig, NULL, &r, 1);
  assert_true(alone > 2000);
  assert_done(rig.db, wodan_view_open(rig.db, &view));
  struct reference before = reference_copy(&r);
  for (size_t i = 5; i < r.count; i += 17) reference_write(&rig, &r, i, i % 2 ? 9 : 0);
  uint64_t beside = walk_in_legs(&rig, NULL, &r, 2);
  assert_true(beside > 100 && beside < alone);
  assert_true(walk_in_legs(&rig, view, &before, 3) > 2000); /* as of before the memtable had anything */
  for (size_t i = 40; i + 40 < r.count; i += 200) {
    struct wodan_slice lower = reference_key(&r, i), upper = reference_key(&r, i + 30 + i % 7);
    assert_done(rig.db, wodan_delete_range(rig.db, &lower, &upper, NULL));
    for (size_t gone = i; gone < i + 30 + i % 7; gone++) r.versions[gone] = 0;
  }
  assert_int_equal(walk_in_legs(&rig, NULL, &r, 4), 0); /* none beside range deletes */
  assert_true(walk_in_legs(&rig, view, &before, 5) > 2000);
  wodan_view_close(view);
  assert_done(rig.db, wodan_checkpoint(rig.db, NULL));
  walk_in_legs(&rig, NULL, &r, 6);
  rig_reopen(&rig);
  walk_in_legs(&rig, NULL, &r, 7);
  rig_end(&rig);
  reference_free(&before);
  reference_free(&r);
}

/* Damage under a cursor is an error with the block; the cursor stands nowhere, and can be placed again where the volume
 * is whole, and everywhere once the bytes are right again. */
static void test_cursor__after_a_failure_stands_nowhere_and_can_be_placed_again(void **state) {
  (void)state;
  struct rig rig;
  struct wodan_cursor *cursor;
  char key[32];
  enum { KEYS = 2000 };
  rig_start(&rig, 1 << 20, NULL);
  for (uint64_t i = 0; i < KEYS; i++) assert_done(rig.db, put_number(rig.db, i, 1, 60));
  rig_reopen(&rig); /* nothing cached */
  /* Rot everywhere the bytes of key 1000 are. */
  struct wodan_slice middle = key_number(1000, key);
  uint64_t hits = 0;
  uint8_t value[60];
  value_number(1000, 1, value, 60);
  for (uint64_t at = 0; at + 60 <= rig.kept->size; at++)
    if (memcmp(rig.kept->data + at, value, 60) == 0) rig.kept->data[at + 20] ^= 1, hits++;
  assert_true(hits > 0);
  assert_done(rig.db, wodan_cursor_open(rig.db, NULL, &cursor));
  assert_done(rig.db, wodan_cursor_first(cursor));
  uint64_t steps = 1;
  int status;
  while ((status = wodan_cursor_next(cursor)) == 0) steps++;
  assert_int_equal(status, WODAN_ECORRUPT);
  assert_true(steps > 500 && steps <= 1000);
  struct wodan_error error;
  wodan_last_error(rig.db, &error);
  assert_int_equal(error.code, WODAN_ECORRUPT);
  assert_true(error.block != WODAN_NO_BLOCK && error.block < rig_info(rig.db).blocks);
  assert_null(wodan_cursor_key(cursor).data);
  assert_int_equal(wodan_cursor_next(cursor), WODAN_DONE);
  assert_int_equal(wodan_cursor_prev(cursor), WODAN_DONE);
  assert_int_equal(wodan_cursor_seek(cursor, middle), WODAN_ECORRUPT);
  assert_int_equal(wodan_cursor_seek_back(cursor, middle), WODAN_ECORRUPT);
  for (uint64_t i = 0; i < KEYS; i += 1999) {
    assert_done(rig.db, wodan_cursor_seek(cursor, key_number(i, key)));
    assert_memory_equal(wodan_cursor_key(cursor).data, key, strlen(key));
  }
  value[20] ^= 1;
  for (uint64_t at = 0; at + 60 <= rig.kept->size; at++)
    if (memcmp(rig.kept->data + at, value, 60) == 0) rig.kept->data[at + 20] ^= 1;
  assert_done(rig.db, wodan_cursor_first(cursor));
  for (steps = 1; (status = wodan_cursor_next(cursor)) == 0; steps++) {
  }
  assert_int_equal(status, WODAN_DONE);
  assert_int_equal(steps, KEYS);
  wodan_cursor_close(cursor);
  rig_end(&rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cursor__equals_a_sorted_reference_on_64_kib),
      cmocka_unit_test(test_cursor__equals_a_sorted_reference_on_1_mib),
      cmocka_unit_test(test_cursor__on_an_empty_database_finds_nothing),
      cmocka_unit_test(test_cursor__null_arguments_are_answered),
      cmocka_unit_test(test_cursor__passes_over_long_stretches_of_deletes),
      cmocka_unit_test(test_cursor__writes_during_iteration_are_invisible),
      cmocka_unit_test(test_cursor__on_a_view_sees_the_views_moment),
      cmocka_unit_test(test_cursor__reads_stretches_and_shows_what_moves_would),
      cmocka_unit_test(test_cursor__after_a_failure_stands_nowhere_and_can_be_placed_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
