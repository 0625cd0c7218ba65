/* What: the options that several verbs have in common, so that they read the same everywhere.
 *
 * Always true: a malformed option ends the program with exit code 2 before an image is opened.
 *
 * Order: options_decode after options_parse, because --hex may follow the key.
 *
 * See: tests/cli/test_cli.sh. */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

enum {
  KEY_JSON = 0x1000,
  KEY_CACHE,
  KEY_DIRECT,
  KEY_OLDER_ROOT,
  KEY_INLINE,
  KEY_NO_AUTO_CHECKPOINT,
  KEY_COMPRESSION,
  KEY_HEX,
  KEY_BASE64
};

/* The documentation of the common options; kept in one place for both lists. */
#define OPTIONS_COMMON                                                                                                 \
  {"json", KEY_JSON, NULL, 0, "Answer in JSON on standard output, errors too", 1},                                     \
      {"cache", KEY_CACHE, "SIZE", 0, "Memory budget, with suffix K, M or G (default: 256M or what the image needs)",  \
       1},                                                                                                             \
  {                                                                                                                    \
    "direct", KEY_DIRECT, NULL, 0, "Bypass the system's page cache (O_DIRECT)", 1                                      \
  }

static const struct argp_option common_options[] = {OPTIONS_COMMON, {0}};
static const struct argp_option read_options[] = {
    OPTIONS_COMMON,
    {"older-root", KEY_OLDER_ROOT, NULL, 0, "When the newest root is damaged read the newest intact older one", 1},
    {0}};

#define OPTIONS_WRITE                                                                                                  \
  {"inline", KEY_INLINE, NULL, 0, "Do maintenance in the thread that writes, none in the background", 1}, {            \
    "compression", KEY_COMPRESSION, "HOW", 0,                                                                          \
        "Of what is written now: off, fast or high, at most as at format (the default)", 1                             \
  }

static const struct argp_option write_options[] = {OPTIONS_COMMON, OPTIONS_WRITE, {0}};
static const struct argp_option put_options[] = {
    OPTIONS_COMMON,
    OPTIONS_WRITE,
    {"no-auto-checkpoint", KEY_NO_AUTO_CHECKPOINT, NULL, 0,
     "Stop with exit code 5 where a checkpoint must free space first, instead of writing it on the way", 1},
    {0}};

bool options_parse_size(const char *text, bool suffixes, uint64_t *size) {
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
  if (*at != '\0') return false;
  *size = value;
  return true;
}

uint64_t options_size_within(const struct argp_state *state, const char *what, const char *text, uint64_t limit) {
  uint64_t size = 0;
  if (!options_parse_size(text, true, &size)) {
    argp_error(state, "%s: '%s' is not a size (bytes, or with suffix K, M, G, T)", what, text);
  } else if (size > limit) {
    argp_error(state, "%s: %s is too large, at most %llu bytes", what, text, (unsigned long long)limit);
  }
  return size;
}

uint64_t options_size(const struct argp_state *state, const char *what, const char *text) {
  return options_size_within(state, what, text, INT64_MAX);
}

uint64_t options_count(const struct argp_state *state, const char *what, const char *text, uint64_t minimum) {
  uint64_t count = 0;
  if (!options_parse_size(text, false, &count)) {
    argp_error(state, "%s: '%s' is not a number", what, text);
  } else if (count < minimum) {
    argp_error(state, "%s: %s is too small, at least %llu", what, text, (unsigned long long)minimum);
  }
  return count;
}

uint32_t options_compression(const struct argp_state *state, const char *text) {
  static const char *const names[] = {"off", "fast", "high"};
  for (uint32_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(text, names[i]) == 0) return WODAN_COMPRESSION_OFF + i;
  argp_error(state, "--compression: '%s' is none of off, fast, high", text);
  return WODAN_COMPRESSION_DEFAULT;
}

static error_t parse_common(int key, char *argument, struct argp_state *state) {
  struct options *options = state->input;
  switch (key) {
  case KEY_JSON:
    options->json = true;
    return 0;
  case KEY_DIRECT:
    options->direct = true;
    return 0;
  case KEY_OLDER_ROOT:
    options->older_root = true;
    return 0;
  case KEY_INLINE:
    options->work_inline = true;
    return 0;
  case KEY_NO_AUTO_CHECKPOINT:
    options->no_auto_checkpoint = true;
    return 0;
  case KEY_COMPRESSION:
    options->compression = options_compression(state, argument);
    return 0;
  case KEY_CACHE:
    options->cache = options_size(state, "--cache", argument);
    return 0;
  default:
    return ARGP_ERR_UNKNOWN;
  }
}

const struct argp options_argp = {.options = common_options, .parser = parse_common};
const struct argp options_read_argp = {.options = read_options, .parser = parse_common};
const struct argp options_write_argp = {.options = write_options, .parser = parse_common};
const struct argp options_put_argp = {.options = put_options, .parser = parse_common};

static const struct argp_option encoding_options[] = {
    {"hex", KEY_HEX, NULL, 0, "Keys and values on the command line are hexadecimal", 0},
    {"base64", KEY_BASE64, NULL, 0, "Keys and values on the command line are base64", 0},
    {0}};

static error_t parse_encoding(int key, char *argument, struct argp_state *state) {
  (void)argument;
  struct options_encoding *encoding = state->input;
  switch (key) {
  case KEY_HEX:
    encoding->hex = true;
    break;
  case KEY_BASE64:
    encoding->base64 = true;
    break;
  default:
    return ARGP_ERR_UNKNOWN;
  }
  if (encoding->hex && encoding->base64) argp_error(state, "--hex and --base64 exclude each other");
  return 0;
}

const struct argp options_encoding_argp = {.options = encoding_options, .parser = parse_encoding};

void options_parse(const struct argp *argp, int argc, char **argv, void *options) {
  int failure = argp_parse(argp, argc, argv, 0, NULL, options);
  if (failure != 0) exit(report_errno(false, "arguments", failure));
}

int options_decode(const struct options *options, const struct options_encoding *encoding, const char *what,
                   const char *text, struct buffer *bytes) {
  struct wodan_slice slice = {.data = text, .size = strlen(text)};
  struct text_fault fault = {0};
  bool fits = true;
  if (encoding->hex) {
    fits = hex_decode(bytes, slice, &fault);
  } else if (encoding->base64) {
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
