/* Owns: options, records, clock and figures of the measuring programs.
 *
 * Always true: the same seed gives the same records in the same order; one figure above its bound makes the exit code 1.
 *
 * See: volume.c for the devices; README.md "Measure". */
#include "common.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- small things ---------------------------------------------------------------------------------------------- */

uint64_t bench_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double bench_seconds_since(uint64_t start) { return (double)(bench_now() - start) / 1e9; }

void bench_die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fflush(stdout);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(2);
}

void bench_check(int status, const char *what, struct wodan_db *db) {
  if (status >= 0 || status == WODAN_ENOTDURABLE) return;
  struct wodan_error error = {0};
  if (db) wodan_last_error(db, &error);
  bench_die("%s: %s%s%s", what, wodan_strerror(status), error.code ? ": " : "", error.code ? error.message : "");
}

const char *bench_bytes(double bytes) {
  static char buffers[8][32];
  static unsigned next;
  static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
  unsigned unit = 0;
  for (; bytes >= 1000 && unit < 4; unit++) bytes /= 1000;
  char *buffer = buffers[next++ % 8];
  snprintf(buffer, sizeof buffers[0], unit ? "%.2f %s" : "%.0f %s", bytes, units[unit]);
  return buffer;
}

/* ---- options --------------------------------------------------------------------------------------------------- */

static bool parse_count(const char *text, uint64_t *count) {
  static const char suffixes[] = "KMGT";
  char *end;
  double number = strtod(text, &end);
  if (end == text || !(number >= 0)) return false;
  const char *suffix = *end ? strchr(suffixes, *end) : NULL;
  if (*end && (!suffix || end[1])) return false;
  for (const char *s = suffixes; suffix && s <= suffix; s++) number *= 1024;
  if (number > 1e18) return false;
  *count = (uint64_t)number;
  return true;
}

static _Noreturn void print_help(const char *program, const char *about, const struct bench_option *options,
                                 size_t count) {
  printf("Usage: %s [OPTION]...\n%s\n\n", program, about);
  for (size_t i = 0; i < count; i++) {
    const struct bench_option *o = &options[i];
    printf("  %-18s %s", o->name, o->help);
    if (o->kind == BENCH_COUNT) printf(" (default %" PRIu64 ")", *(const uint64_t *)o->place);
    if (o->kind == BENCH_TEXT && *(const char **)o->place) printf(" (default %s)", *(const char **)o->place);
    putchar('\n');
  }
  exit(0);
}

void bench_options(int argc, char **argv, const char *about, const struct bench_option *options, size_t count) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--help") == 0) print_help(argv[0], about, options, count);
    const struct bench_option *o = NULL;
    for (size_t k = 0; k < count && !o; k++)
      if (strcmp(argv[i], options[k].name) == 0) o = &options[k];
    if (!o) bench_die("%s: unknown option '%s'; --help lists them", argv[0], argv[i]);
    if (o->kind == BENCH_FLAG) {
      *(bool *)o->place = true;
      continue;
    }
    if (++i == argc) bench_die("%s: %s needs a value", argv[0], o->name);
    if (o->kind == BENCH_TEXT)
      *(const char **)o->place = argv[i];
    else if (!parse_count(argv[i], o->place))
      bench_die("%s: %s: '%s' is not a number", argv[0], o->name, argv[i]);
  }
}

bool bench_list_next(const char **list, double *number) {
  if (**list == '\0') return false;
  char *end;
  *number = strtod(*list, &end);
  if (end == *list || !(*number > 0) || (*end && *end != ',')) bench_die("'%s' is not a list of numbers", *list);
  *list = *end ? end + 1 : end;
  return true;
}

/* ---- records --------------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

uint64_t bench_random(uint64_t *state) { return mix(*state += UINT64_C(0x9e3779b97f4a7c15)); }

void bench_key(uint64_t seed, uint64_t i, uint8_t key[BENCH_KEY]) {
  uint64_t first = mix(i + seed * UINT64_C(0x9e3779b97f4a7c15)),
           second = mix(first ^ seed); /* first: one to one in i */
  memcpy(key, &first, 8);
  memcpy(key + 8, &second, 8);
}

void bench_value(uint64_t i, uint64_t version, uint8_t *value, size_t size) {
  uint64_t state = mix(i) ^ version;
  for (size_t at = 0; at < size; at += 8) {
    uint64_t word = bench_random(&state);
    memcpy(value + at, &word, size - at < 8 ? size - at : 8);
  }
}

static uint64_t common_divisor(uint64_t a, uint64_t b) {
  while (b) {
    uint64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

struct bench_order bench_order(uint64_t count, uint64_t seed) {
  uint64_t state = seed, step = bench_random(&state) % count | 1;
  while (common_divisor(step, count) != 1) step++;
  return (struct bench_order){.count = count, .step = step % count, .at = bench_random(&state) % count};
}

uint64_t bench_order_next(struct bench_order *order) {
  uint64_t at = order->at;
  order->at = (order->at + order->step) % order->count;
  return at;
}

/* ---- puts ------------------------------------------------------------------------------------------------------ */

void bench_put(struct bench_puts *puts, uint64_t i, uint64_t version) {
  uint8_t key[BENCH_KEY], value[BENCH_VALUE_MAX];
  bench_key(puts->seed, i, key);
  bench_value(i, version, value, puts->value_size);
  bool durable = puts->synced_every && ++puts->done % puts->synced_every == 0;
  struct wodan_commit commit = {.durability = durable ? WODAN_DURABLE : WODAN_BUFFERED};
  int status = wodan_put(puts->db, (struct wodan_slice){key, sizeof key}, (struct wodan_slice){value, puts->value_size},
                         durable ? &commit : NULL);
  if (status < 0) bench_check(status, "put", puts->db);
}

void bench_settle(struct wodan_db *db) {
  for (int i = 0; i < 2; i++) bench_check(wodan_checkpoint(db, NULL), "checkpoint", db);
}

/* ---- figures --------------------------------------------------------------------------------------------------- */

static bool as_json, over;

void bench_figures_as_json(bool json) { as_json = json; }

void bench_heading(const char *format, ...) {
  if (as_json) return;
  va_list arguments;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
  putchar('\n');
}

static void print_json(const char *what, double value, double bound, const char *remark) {
  printf("{\"what\":\"%s\",\"value\":%.6g", what, value); /* neither text holds a quote */
  if (!isnan(bound)) printf(",\"bound\":%.6g,\"ok\":%s", bound, value <= bound ? "true" : "false");
  printf(",\"remark\":\"%s\"}\n", remark);
}

void bench_figure(const char *what, double value, double bound, const char *format, ...) {
  char remark[256], limit[32] = "", shown[32];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(remark, sizeof remark, format, arguments);
  va_end(arguments);
  bool missed = !isnan(bound) && !(value <= bound);
  over = over || missed;
  if (as_json) {
    print_json(what, value, bound, remark);
  } else {
    snprintf(shown, sizeof shown, value >= 1000 ? "%.0f" : "%.3f", value);
    if (!isnan(bound)) snprintf(limit, sizeof limit, "<= %.3f", bound);
    printf("  %-46s %9s  %-9s %-4s  %s\n", what, shown, limit, isnan(bound) ? "" : missed ? "OVER" : "ok", remark);
  }
  fflush(stdout);
}

int bench_verdict(void) { return over; }
