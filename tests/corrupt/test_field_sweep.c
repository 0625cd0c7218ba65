/* Every number of every structure of a volume told as {0, 1, one less, one more, the greatest, one below, the sign bit, a block
 * and a byte behind the device}, with all checksums right: no crash, no end of waiting, memory within the bounds, and each
 * answer is the model's or an error, but for the numbers in FREE, which nothing else in a volume repeats.
 *
 * The fields are those of support/forge.c, which writes them one by one after FORMAT.md. If the format changes, the first test
 * fails until the forge tells the new field as well: the product takes its honest volume only byte for byte.
 *
 *   WODAN_FIELD=SITE:VALUE[:everywhere] runs one case and tells its verdict; WODAN_FIELDS=all every case, without strides. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "forge_judge.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STRIDE = 16 };
#else
enum { STRIDE = 2 };
#endif

static const struct forge_lie HONEST = {.site = FORGE_HONEST, .pointer = FORGE_HONEST};
static struct forge_map map;
static uint8_t image[FORGE_SIZE];

/* ---- what may vary ---------------------------------------------------------------------------------------------------- */

/* Numbers that only their writer knows, so that a lie about them may show: which verdict, whether the check finds each such
 * case, and why no reader can. */
struct freedom {
  const char *structure, *field; /* structure NULL: any */
  enum forge_verdict may;
  bool found;
  const char *why;
};

static const struct freedom FREE[] = {
    {NULL, "filter word", FORGE_WRONG, true, "a filter saves the reading of the pages it speaks of"},
    {NULL, "page: table id", FORGE_WRONG, true, "pivots share it; a lookup sees one leaf and not where the others end"},
    {NULL, "record: value length and kind", FORGE_WRONG, true, "that a record deletes is what its writer wanted"},
    {NULL, "operation: kind", FORGE_WRONG, false, "likewise"},
    {NULL, "operation: table id", FORGE_WRONG, false, "part of the key, which is the user's"},
    {"newest record", "operation: table id", FORGE_OLDER, false,
     "likewise: its only key then is none of the default table"},
    {NULL, "flushed up to", FORGE_WRONG, false, "which runs an entry has absorbed; the runs are there either way"},
    {"root node", "generation", FORGE_WRONG, false, "0 in the pointer as well is the null root: an empty tree"},
    {"checkpoint", "operation sequence", FORGE_WRONG, false, "how far the tree goes: its nodes do not say so"},
    {"checkpoint", "operation sequence", FORGE_OLDER, false, "likewise: the tree holds all there is"},
    {"checkpoint", "epoch", FORGE_OLDER, false, "of an epoch above it, what follows is what an older mount abandoned"},
    {"checkpoint", "epoch random", FORGE_OLDER, false, "likewise"},
    {"record before the checkpoint", "epoch", FORGE_OLDER, false, "likewise"},
    {"record before the checkpoint", "epoch random", FORGE_OLDER, false, "likewise"},
    {"record of two fragments", "epoch", FORGE_OLDER, false, "likewise"},
    {"record of two fragments", "epoch random", FORGE_OLDER, false, "likewise"},
};
enum { FREE_COUNT = sizeof FREE / sizeof FREE[0] };
static unsigned used[FREE_COUNT];

static bool may(const struct forge_site *site, const struct forge_report *report) {
  for (unsigned i = 0; i < FREE_COUNT; i++) {
    if (FREE[i].may != report->verdict || strcmp(FREE[i].field, site->field) != 0) continue;
    if (FREE[i].found && !report->found) continue;
    if (FREE[i].structure && strcmp(FREE[i].structure, site->structure) != 0) continue;
    used[i]++;
    return true;
  }
  return false;
}

/* ---- the sweep ------------------------------------------------------------------------------------------------------- */

struct counts {
  unsigned verdicts[FORGE_VERDICTS], found;
};

static void run_case(uint32_t number, uint64_t value, bool everywhere, struct counts *counts) {
  const struct forge_site *site = &map.sites[number];
  struct forge_lie lie = HONEST;
  struct forge_report report;
  char name[200];
  lie.site = number;
  lie.value = value;
  lie.everywhere = everywhere;
  snprintf(name, sizeof name, "WODAN_FIELD=%u:%" PRIu64 "%s (%s, %s: %" PRIu64 ")", number, value,
           everywhere ? ":everywhere" : "", site->structure, site->field, site->value);
  forge_volume(&lie, image, NULL);
  forge_judge(image, name, &report);
  counts->verdicts[report.verdict]++;
  counts->found += report.found;
  if (getenv("WODAN_FIELD"))
    print_message("%s: verdict %d, %s by the check; %s\n", name, report.verdict, report.found ? "found" : "not found",
                  report.why);
  if (report.verdict >= FORGE_OLDER && !may(site, &report))
    fail_msg("%s: %s", name, report.verdict == FORGE_OLDER ? "an older content is shown" : report.why);
}

enum { VALUES_MAX = 14 };
static unsigned values_of(const struct forge_site *site, uint64_t values[VALUES_MAX]) {
  unsigned bits = site->width == 0 ? 64 : 8u * site->width, count = 0;
  uint64_t greatest = bits == 64 ? UINT64_MAX : (1ull << bits) - 1;
  const uint64_t wanted[] = {0,
                             1,
                             site->value - 1,
                             site->value + 1,
                             greatest,
                             greatest - 1,
                             1ull << (bits - 1),
                             FORGE_SIZE / FORGE_BLOCK,
                             FORGE_SIZE / FORGE_BLOCK - 1,
                             FORGE_SIZE,
                             FORGE_SIZE + 1,
                             2,
                             3,
                             7}; /* kinds, tags, levels, generations */
  for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    uint64_t value = wanted[i] & greatest;
    bool known = value == site->value;
    for (unsigned k = 0; k < count; k++) known |= values[k] == value;
    if (!known) values[count++] = value;
  }
  return count;
}

static void tell(const char *what, const struct counts *c, unsigned cases) {
  print_message(
      "  %s: %u cases: %u right, %u refused, %u told when read, %u older content, %u only their writer knows; "
      "the check finds %u\n",
      what, cases, c->verdicts[FORGE_RIGHT], c->verdicts[FORGE_REFUSED], c->verdicts[FORGE_TOLD],
      c->verdicts[FORGE_OLDER], c->verdicts[FORGE_WRONG], c->found);
}

static void test_field_sweep__the_honest_volume_is_whole(void **state) {
  (void)state;
  struct forge_report report;
  forge_volume(&HONEST, image, &map);
  forge_judge(image, "the honest volume", &report);
  assert_false(report.found);
  if (report.verdict != FORGE_RIGHT) fail_msg("verdict %d: %s", report.verdict, report.why);
  assert_true(map.site_count > 1000 && map.object_count == 19);
}

static void test_field_sweep__every_field_of_every_structure(void **state) {
  (void)state;
  struct counts counts = {0};
  unsigned cases = 0, seen = 0;
  bool all = getenv("WODAN_FIELDS") != NULL;
  forge_volume(&HONEST, image, &map);
  for (uint32_t site = 0; site < map.site_count; site++) {
    uint64_t values[VALUES_MAX];
    unsigned count = values_of(&map.sites[site], values);
    for (unsigned i = 0; i < count; i++)
      for (int everywhere = 0; everywhere <= map.sites[site].repeated; everywhere++) {
        if (!all && seen++ % STRIDE) continue;
        run_case(site, values[i], everywhere, &counts);
        cases++;
      }
  }
  tell("fields", &counts, cases);
  assert_true(counts.verdicts[FORGE_REFUSED] > cases / 6 && counts.verdicts[FORGE_TOLD] > cases / 6);
  for (unsigned i = 0; i < FREE_COUNT; i++)
    if (all && used[i] == 0) fail_msg("%s may vary, but does not", FREE[i].field);
}

static int one(const char *text) {
  struct counts counts = {0};
  char *end;
  uint32_t site = (uint32_t)strtoul(text, &end, 10);
  uint64_t value = strtoull(end + 1, &end, 10);
  forge_volume(&HONEST, image, &map);
  if (site >= map.site_count) return 2;
  run_case(site, value, *end == ':', &counts);
  return 0;
}

static void test_field_sweep__one_case(void **state) {
  (void)state;
  assert_int_equal(one(getenv("WODAN_FIELD")), 0);
}

int main(void) {
  const struct CMUnitTest single[] = {cmocka_unit_test(test_field_sweep__one_case)};
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_field_sweep__the_honest_volume_is_whole),
      cmocka_unit_test(test_field_sweep__every_field_of_every_structure),
  };
  if (getenv("WODAN_FIELD")) return cmocka_run_group_tests(single, NULL, NULL);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
