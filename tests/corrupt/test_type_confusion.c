/* Every structure presented as every other one, each intact in itself: by a pointer that names it, with all checksums above
 * made right; and by its bytes, lying where another one is expected, from this volume, from its older tree, and from another
 * volume. What is of the wrong kind is refused, or an error for what lies behind it; the rest is right. What is of the right
 * kind (another leaf, an older node) and named by a right pointer cannot be told from what its writer meant: counted apart.
 *
 *   WODAN_CONFUSION=NUMBER runs one case and tells its verdict. Under the sanitizers every fourth case runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "forge_judge.h"

enum { PLACES_MAX = 64 };
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STRIDE = 4 };
#else
enum { STRIDE = 1 };
#endif

static const struct forge_lie HONEST = {.site = FORGE_HONEST, .pointer = FORGE_HONEST};
static struct forge_map map;
static uint8_t image[FORGE_SIZE], honest[FORGE_SIZE], foreign[FORGE_SIZE];

static unsigned number; /* of the case, from 0 through both tests */

/* Whether this case is to run; its name. */
static bool chosen(char *name, size_t room, const char *what, const char *from, const char *to) {
  const char *only = getenv("WODAN_CONFUSION");
  snprintf(name, room, "WODAN_CONFUSION=%u (%s: %s as %s)", number, what, from, to);
  bool run = only ? strtoul(only, NULL, 10) == number : number % STRIDE == 0;
  number++;
  return run;
}

static void judged(const char *name, const struct forge_report *report, unsigned counts[FORGE_VERDICTS]) {
  counts[report->verdict]++;
  if (getenv("WODAN_CONFUSION"))
    print_message("%s: verdict %d, %s by the check; %s\n", name, report->verdict, report->found ? "found" : "not found",
                  report->why);
}

static void tell(const char *what, const unsigned counts[FORGE_VERDICTS]) {
  print_message("  %s: %u right, %u refused, %u told when read, %u older content, %u other content\n", what,
                counts[FORGE_RIGHT], counts[FORGE_REFUSED], counts[FORGE_TOLD], counts[FORGE_OLDER],
                counts[FORGE_WRONG]);
}

/* ---- by pointer ------------------------------------------------------------------------------------------------------ */

static bool is_of_kind(const struct forge_object *object, const struct forge_pointer *pointer) {
  return pointer->kind == object->kind || (pointer->kind == FORGE_ANY_NODE && object->kind >= 0);
}

static void test_type_confusion__every_object_behind_every_pointer(void **state) {
  (void)state;
  unsigned wrong_kind[FORGE_VERDICTS] = {0}, right_kind[FORGE_VERDICTS] = {0};
  forge_volume(&HONEST, image, &map);
  for (uint32_t p = 0; p < map.pointer_count; p++)
    for (uint32_t o = 0; o < map.object_count; o++) {
      const struct forge_pointer *pointer = &map.pointers[p];
      const struct forge_object *object = &map.objects[o];
      struct forge_lie lie = HONEST;
      struct forge_report report;
      char name[200];
      if (block_ptr_equal(&pointer->ptr, &object->ptr) ||
          !chosen(name, sizeof name, "pointer", object->name, pointer->holder))
        continue;
      lie.pointer = p;
      lie.target = object->ptr;
      forge_volume(&lie, image, NULL);
      forge_judge(image, name, &report);
      bool fits = is_of_kind(object, pointer);
      judged(name, &report, fits ? right_kind : wrong_kind);
      if (!fits && report.verdict >= FORGE_OLDER) fail_msg("%s: %s", name, report.why);
    }
  tell("wrong kind", wrong_kind);
  tell("right kind", right_kind);
  if (getenv("WODAN_CONFUSION")) return;
  assert_true(wrong_kind[FORGE_REFUSED] > 50 / STRIDE && wrong_kind[FORGE_TOLD] > 0);
  assert_true(right_kind[FORGE_REFUSED] > 50 / STRIDE);
}

/* ---- by its bytes ---------------------------------------------------------------------------------------------------- */

struct place {
  const char *name;
  size_t offset, size;
};

static uint32_t places_of(struct place places[PLACES_MAX]) {
  static char ring_names[FORGE_RING][24];
  uint32_t count = 0;
  places[count++] = (struct place){"superblock", 0, FORGE_BLOCK};
  places[count++] = (struct place){"superblock's copy", FORGE_SIZE - FORGE_BLOCK, FORGE_BLOCK};
  for (uint32_t i = 0; i < FORGE_RING; i++) {
    snprintf(ring_names[i], sizeof ring_names[i], "ring block %u", i);
    places[count++] = (struct place){ring_names[i], (1 + i) * (size_t)FORGE_BLOCK, FORGE_BLOCK};
  }
  for (uint32_t o = 0; o < map.object_count; o++)
    for (uint32_t e = 0; e < map.objects[o].ptr.extent_count; e++) {
      const struct extent *extent = &map.objects[o].ptr.extents[e];
      places[count++] =
          (struct place){map.objects[o].name, (size_t)extent->first * FORGE_BLOCK, (size_t)extent->count * FORGE_BLOCK};
    }
  return count;
}

static void lay_over(const char *what, const struct place *from, const uint8_t *source, const struct place *to,
                     unsigned counts[FORGE_VERDICTS]) {
  struct forge_report report;
  char name[200];
  if (!chosen(name, sizeof name, what, from->name, to->name)) return;
  memcpy(image, honest, sizeof image);
  memcpy(image + to->offset, source + from->offset, from->size < to->size ? from->size : to->size);
  forge_judge(image, name, &report);
  judged(name, &report, counts);
  if (report.verdict >= FORGE_OLDER) fail_msg("%s: %s", name, report.why);
}

static void test_type_confusion__every_structure_in_every_place(void **state) {
  (void)state;
  struct place places[PLACES_MAX];
  struct forge_lie other = HONEST;
  unsigned own[FORGE_VERDICTS] = {0}, others[FORGE_VERDICTS] = {0};
  forge_volume(&HONEST, honest, &map);
  other.fsid = 1;
  forge_volume(&other, foreign, NULL);
  uint32_t count = places_of(places);
  for (uint32_t from = 0; from < count; from++)
    for (uint32_t to = 0; to < count; to++) {
      if (from != to) lay_over("bytes", &places[from], honest, &places[to], own);
      lay_over("another volume's bytes", &places[from], foreign, &places[to], others);
    }
  tell("of this volume", own);
  tell("of another volume", others);
  if (getenv("WODAN_CONFUSION")) return;
  assert_true(own[FORGE_REFUSED] > 100 / STRIDE && own[FORGE_TOLD] > 100 / STRIDE);
  assert_true(others[FORGE_REFUSED] > 100 / STRIDE && others[FORGE_TOLD] > 100 / STRIDE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_type_confusion__every_object_behind_every_pointer),
      cmocka_unit_test(test_type_confusion__every_structure_in_every_place),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
