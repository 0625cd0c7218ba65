/* What: the histogram of engine delays as text and JSON.
 *
 * Always true: the lines name every commit counted, each once.
 *
 * Order: none that matters.
 *
 * See: include/wodan/stats.h; tests/unit/test_text_formats.c. */
#include "delays.h"

#include <stdbool.h>

#include "json.h"

uint64_t delays_commits(const struct wodan_stats *stats) {
  uint64_t commits = 0;
  for (unsigned i = 0; i < WODAN_DELAY_BUCKETS; i++) commits += stats->put_delays[i];
  return commits;
}

void delays_add(struct json *json, const char *name, const struct wodan_stats *stats) {
  json_open(json, name, '[');
  for (unsigned i = 0; i < WODAN_DELAY_BUCKETS; i++) {
    if (stats->put_delays[i] == 0) continue;
    json_open(json, NULL, '{');
    if (i + 1 < WODAN_DELAY_BUCKETS)
      json_number(json, "below_ns", UINT64_C(1) << i);
    else
      json_text(json, "below_ns", NULL);
    json_number(json, "commits", stats->put_delays[i]);
    json_close(json, '}');
  }
  json_close(json, ']');
}

void delays_text(char text[24], uint64_t nanoseconds) {
  static const char *const units[] = {"ns", "us", "ms", "s"};
  double scaled = (double)nanoseconds;
  unsigned unit = 0;
  while (scaled >= 999.5 && unit < 3) {
    scaled /= 1000;
    unit++;
  }
  snprintf(text, 24, unit == 0 ? "%.0f %s" : "%.3g %s", scaled, units[unit]);
}

/* "none", "below 1.02 us", "1.2e+05 s and more" */
static void bucket_text(char text[40], unsigned bucket) {
  char edge[24];
  if (bucket == 0) {
    snprintf(text, 40, "none");
    return;
  }
  bool last = bucket + 1 == WODAN_DELAY_BUCKETS;
  delays_text(edge, UINT64_C(1) << (last ? bucket - 1 : bucket));
  snprintf(text, 40, last ? "%s and more" : "below %s", edge);
}

void delays_print(FILE *out, const struct wodan_stats *stats) {
  uint64_t commits = delays_commits(stats);
  if (commits == 0) return;
  fprintf(out, "%-24s %12s %10s\n", "delay by the engine", "commits", "share");
  for (unsigned i = 0; i < WODAN_DELAY_BUCKETS; i++) {
    char text[40];
    if (stats->put_delays[i] == 0) continue;
    bucket_text(text, i);
    fprintf(out, "  %-22s %12llu %8.4f %%\n", text, (unsigned long long)stats->put_delays[i],
            100.0 * (double)stats->put_delays[i] / (double)commits);
  }
}
