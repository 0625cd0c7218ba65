/* Options that verbs share: argp children, sizes, keys and values on the command line. */
#ifndef WODAN_CLI_OPTIONS_H
#define WODAN_CLI_OPTIONS_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "encoding.h"

/* Of every verb. All zero: the defaults. */
struct options {
  const char *image; /* set by the verb, from its first argument */
  bool json;
  bool direct;             /* O_DIRECT */
  bool older_root;         /* verbs that read only */
  bool work_inline;        /* verbs that write: no background thread */
  bool no_auto_checkpoint; /* verbs that put */
  uint32_t compression;    /* verbs that write: enum wodan_compression */
  uint64_t cache;          /* memory budget in bytes, 0: the library's */
};

/* Children for struct options: --json --cache --direct; for reading verbs --older-root as well; for verbs that write
 * --inline --compression; for those that put --no-auto-checkpoint too. Their child input is the struct. */
extern const struct argp options_argp;
extern const struct argp options_read_argp;
extern const struct argp options_write_argp;
extern const struct argp options_put_argp;

/* Keys and values are given as they are, or encoded. */
struct options_encoding {
  bool hex;
  bool base64;
};

/* Child for struct options_encoding: --hex --base64. */
extern const struct argp options_encoding_argp;

/* argp_parse, which ends the program on wrong usage; also when there is no memory for it. */
void options_parse(const struct argp *argp, int argc, char **argv, void *options);

/* Decodes an argument into *bytes (released by the caller). 0, or the exit code of the reported failure. Call it after
 * options_parse: --hex may follow the key. */
int options_decode(const struct options *options, const struct options_encoding *encoding, const char *what,
                   const char *text, struct buffer *bytes);

/* "4096", "64K", "256M", "1.5" is not taken. Bytes with suffix K, M, G, T (powers of 1024). Ends the program with a
 * usage error naming `what` when it is no size. */
uint64_t options_size(const struct argp_state *state, const char *what, const char *text);
/* As options_size, refusing what is above `limit`. */
uint64_t options_size_within(const struct argp_state *state, const char *what, const char *text, uint64_t limit);
/* "off", "fast", "high": enum wodan_compression. Ends the program with a usage error when it is none. */
uint32_t options_compression(const struct argp_state *state, const char *text);
/* A plain number at least `minimum`. */
uint64_t options_count(const struct argp_state *state, const char *what, const char *text, uint64_t minimum);

/* Reads a size; false when it is none or above 2^63 - 1. */
bool options_parse_size(const char *text, bool suffixes, uint64_t *size);

#endif
