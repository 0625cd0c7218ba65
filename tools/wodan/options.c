/* What: the one parser of all verbs' options, and the table of those that several have in common, so that they read the same
 * everywhere.
 *
 * Always true: a malformed option ends the program with exit code 2 before an image is opened.
 *
 * Order: options_decode after options_parse, because --hex may follow the key.
 *
 * See: tests/cli/test_cli.sh. */
#include "options.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

/* ---- the shared table -------------------------------------------------------------------------------------------- */

#define AT(member) offsetof(struct options, member)

static const struct {
  unsigned shared;
  struct options_row row;
} shared_rows[] = {
    {OPTIONS_JSON, {"json", 0, NULL, OPTIONS_FLAG, AT(json), 0, 0, "Answer in JSON on standard output, errors too"}},
    {OPTIONS_CACHE,
     {"cache", 0, "SIZE", OPTIONS_SIZE, AT(cache), 0, 0,
      "Memory budget, with suffix K, M or G (default: 256M or what the image needs)"}},
    {OPTIONS_DIRECT, {"direct", 0, NULL, OPTIONS_FLAG, AT(direct), 0, 0, "Bypass the system's page cache (O_DIRECT)"}},
    {OPTIONS_OLDER_ROOT,
     {"older-root", 0, NULL, OPTIONS_FLAG, AT(older_root), 0, 0,
      "When the newest root is damaged read the newest intact older one"}},
    {OPTIONS_INLINE,
     {"inline", 0, NULL, OPTIONS_FLAG, AT(work_inline), 0, 0,
      "Do maintenance in the thread that writes, none in the background"}},
    {OPTIONS_COMPRESS,
     {"compression", 0, "HOW", OPTIONS_COMPRESSION, AT(compression), 0, 0,
      "Of what is written now: off, fast or high, at most as at format (the default)"}},
    {OPTIONS_NO_AUTO_CHECKPOINT,
     {"no-auto-checkpoint", 0, NULL, OPTIONS_FLAG, AT(no_auto_checkpoint), 0, 0,
      "Stop with exit code 5 where a checkpoint must free space first, instead of writing it on the way"}},
    {OPTIONS_ENCODING,
     {"hex", 0, NULL, OPTIONS_FLAG, AT(hex), 0, 0, "Keys and values on the command line are hexadecimal"}},
    {OPTIONS_ENCODING,
     {"base64", 0, NULL, OPTIONS_FLAG, AT(base64), 0, 0, "Keys and values on the command line are base64"}},
    {OPTIONS_ROOT,
     {"root", 0, "GENERATION", OPTIONS_COUNT, AT(generation), 1, 0,
      "Look at this older root as if it were the newest (wodan-fsck --list-roots)"}},
};

/* ---- the parser -------------------------------------------------------------------------------------------------- */

enum { SHARED_MAX = sizeof shared_rows / sizeof *shared_rows, ROWS_MAX = SHARED_MAX + OPTIONS_ROWS_MAX };
enum { KEY_FIRST = 0x1000, GROUP_OWN = 0, GROUP_SHARED = 1 };

/* A verb's options while they are read. */
struct parsing {
  const struct options_verb *verb;
  const struct options_row *rows[ROWS_MAX];
  size_t count, given; /* rows; operands so far */
  char *options;       /* the verb's struct */
};

/* "4096", "64K", "256M"; "1.5" is not taken. At most 2^63 - 1. */
static bool parse_number(const char *text, bool suffixes, uint64_t *number) {
  uint64_t value = 0;
  const char *at = text;
  for (; *at >= '0' && *at <= '9'; at++) {
    if (value > (INT64_MAX - 9) / 10) return false;
    value = value * 10 + (uint64_t)(*at - '0');
  }
  if (at == text) return false;
  if (suffixes && *at != '\0') {
    static const char units[] = "KMGTkmgt";
    const char *unit = strchr(units, *at);
    if (unit == NULL) return false;
    unsigned shift = 10 * ((unsigned)(unit - units) % 4 + 1);
    if (value > (uint64_t)INT64_MAX >> shift) return false;
    value <<= shift;
    at++;
  }
  *number = value;
  return *at == '\0';
}

/* "off", "fast", "high"; WODAN_COMPRESSION_DEFAULT: none of them. */
static uint32_t parse_compression(const char *text) {
  static const char *const names[] = {"off", "fast", "high"};
  for (uint32_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(text, names[i]) == 0) return WODAN_COMPRESSION_OFF + i;
  return WODAN_COMPRESSION_DEFAULT;
}

/* A value of the kind of `row` into the verb's struct; what: its name in messages. */
static void store(const struct argp_state *state, const struct options_row *row, const char *what, const char *text) {
  char *place = ((struct parsing *)state->input)->options + row->at;
  bool narrow = row->kind == OPTIONS_COUNT32 || row->kind == OPTIONS_SIZE32;
  bool size = row->kind == OPTIONS_SIZE || row->kind == OPTIONS_SIZE32;
  uint64_t most = row->most ? row->most : narrow ? UINT32_MAX : INT64_MAX, number = 0;
  if (row->kind == OPTIONS_FLAG) {
    *(bool *)(void *)place = true;
  } else if (row->kind == OPTIONS_TEXT) {
    *(const char **)(void *)place = text;
  } else if (row->kind == OPTIONS_COMPRESSION) {
    *(uint32_t *)(void *)place = parse_compression(text);
    if (parse_compression(text) == WODAN_COMPRESSION_DEFAULT)
      argp_error(state, "%s: '%s' is none of off, fast, high", what, text);
  } else if (!parse_number(text, size, &number)) {
    argp_error(state, "%s: '%s' is not a %s", what, text, size ? "size (bytes, or with suffix K, M, G, T)" : "number");
  } else if (number < row->least) {
    argp_error(state, "%s: %s is too small, at least %llu", what, text, (unsigned long long)row->least);
  } else if (number > most) {
    argp_error(state, "%s: %s is too large, at most %llu", what, text, (unsigned long long)most);
  } else if (narrow) {
    *(uint32_t *)(void *)place = (uint32_t)number;
  } else {
    *(uint64_t *)(void *)place = number;
  }
}

static void take_operand(struct argp_state *state, const char *text) {
  struct parsing *parsing = state->input;
  const struct options_operand *operands = parsing->verb->operands;
  size_t i = parsing->given++;
  if (i == OPTIONS_OPERANDS_MAX || operands[i].name == NULL) {
    if (i == 0) argp_error(state, "'%s': there is no argument", text);
    argp_error(state, "'%s': one %s is enough", text, operands[i - 1].name);
  }
  const struct options_row row = {.kind = operands[i].kind, .at = operands[i].at};
  store(state, &row, operands[i].name, text);
}

static void check_end(const struct argp_state *state) {
  const struct parsing *parsing = state->input;
  const struct options_verb *verb = parsing->verb;
  const struct options *options = (const struct options *)(const void *)parsing->options;
  if (parsing->given < OPTIONS_OPERANDS_MAX) {
    const struct options_operand *next = &verb->operands[parsing->given];
    if (next->name != NULL && !next->optional) argp_error(state, "the %s is missing", next->name);
  }
  if (options->hex && options->base64) argp_error(state, "--hex and --base64 exclude each other");
  if (verb->check != NULL) verb->check(state, parsing->options);
}

static int key_of(const struct parsing *parsing, size_t i) {
  return parsing->rows[i]->letter ? parsing->rows[i]->letter : KEY_FIRST + (int)i;
}

static error_t parse(int key, char *argument, struct argp_state *state) {
  const struct parsing *parsing = state->input;
  if (key == ARGP_KEY_ARG) {
    take_operand(state, argument);
    return 0;
  }
  if (key == ARGP_KEY_END) check_end(state);
  for (size_t i = 0; i < parsing->count; i++) {
    if (key != key_of(parsing, i)) continue;
    char what[64];
    snprintf(what, sizeof what, "--%s", parsing->rows[i]->name);
    store(state, parsing->rows[i], what, argument);
    return 0;
  }
  return ARGP_ERR_UNKNOWN;
}

static void collect(struct parsing *parsing, struct argp_option list[ROWS_MAX + 1]) {
  const struct options_verb *verb = parsing->verb;
  size_t own = 0;
  for (; own < OPTIONS_ROWS_MAX && verb->rows[own].name; own++) parsing->rows[parsing->count++] = &verb->rows[own];
  for (size_t i = 0; i < SHARED_MAX; i++)
    if (verb->shared & shared_rows[i].shared) parsing->rows[parsing->count++] = &shared_rows[i].row;
  for (size_t i = 0; i < parsing->count; i++) {
    const struct options_row *row = parsing->rows[i];
    assert((row->kind == OPTIONS_FLAG) == (row->value == NULL));
    list[i] = (struct argp_option){.name = row->name,
                                   .key = key_of(parsing, i),
                                   .arg = row->value,
                                   .flags = row->doc ? 0 : OPTION_HIDDEN,
                                   .doc = row->doc,
                                   .group = i < own ? GROUP_OWN : GROUP_SHARED};
  }
}

void options_parse(const struct options_verb *verb, int argc, char **argv, void *options) {
  struct parsing parsing = {.verb = verb, .options = options};
  struct argp_option list[ROWS_MAX + 1] = {{0}};
  collect(&parsing, list);
  const struct argp argp = {.options = list, .parser = parse, .args_doc = verb->arguments, .doc = verb->doc};
  int failure = argp_parse(&argp, argc, argv, 0, NULL, &parsing);
  if (failure != 0) exit(report_errno(false, "arguments", failure));
}

int options_decode(const struct options *options, const char *what, const char *text, struct buffer *bytes) {
  struct wodan_slice slice = {.data = text, .size = strlen(text)};
  struct text_fault fault = {0};
  bool fits = true;
  if (options->hex) {
    fits = hex_decode(bytes, slice, &fault);
  } else if (options->base64) {
    fits = base64_decode(bytes, slice, &fault);
  } else {
    buffer_append(bytes, slice.data, slice.size);
  }
  if (!fits) {
    return report_failure(options->json, what, WODAN_EINVAL, EXIT_CODE_USAGE, "column %zu: %s", fault.column,
                          fault.message);
  }
  if (bytes->failed) return report_errno(options->json, what, ENOMEM);
  return EXIT_CODE_OK;
}
