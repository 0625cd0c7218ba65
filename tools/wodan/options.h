/* Options as tables: what a verb takes is rows that tell where each value goes, read by one parser; the rows that verbs share
 * stand in one table. Sizes, keys and values on the command line. */
#ifndef WODAN_CLI_OPTIONS_H
#define WODAN_CLI_OPTIONS_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "encoding.h"

/* What verbs have in common; the first member of every verb's own struct. All zero: the defaults. */
struct options {
  const char *image;
  bool json;
  bool direct;             /* O_DIRECT */
  bool older_root;         /* verbs that read only */
  bool work_inline;        /* verbs that write: no background thread */
  bool no_auto_checkpoint; /* verbs that put */
  bool hex, base64;        /* keys and values on the command line are encoded */
  uint32_t compression;    /* verbs that write: enum wodan_compression */
  uint64_t cache;          /* memory budget in bytes, 0: the library's */
  uint64_t generation;     /* verbs that look: 0, or the root to be taken for the newest */
};

/* The rows of the shared table that a verb takes. */
enum options_shared {
  OPTIONS_JSON = 1,
  OPTIONS_DIRECT = 2,
  OPTIONS_CACHE = 4,
  OPTIONS_OLDER_ROOT = 8,
  OPTIONS_INLINE = 16,
  OPTIONS_NO_AUTO_CHECKPOINT = 32,
  OPTIONS_ENCODING = 64, /* --hex and --base64 */
  OPTIONS_ROOT = 128,
  OPTIONS_COMPRESS = 256,
  /* of every verb that opens a database; looks at an image; reads; writes; puts */
  OPTIONS_OPEN = OPTIONS_JSON | OPTIONS_DIRECT | OPTIONS_CACHE,
  OPTIONS_LOOK = OPTIONS_JSON | OPTIONS_DIRECT | OPTIONS_ROOT,
  OPTIONS_READ = OPTIONS_OPEN | OPTIONS_OLDER_ROOT,
  OPTIONS_WRITE = OPTIONS_OPEN | OPTIONS_INLINE | OPTIONS_COMPRESS,
  OPTIONS_PUT = OPTIONS_WRITE | OPTIONS_NO_AUTO_CHECKPOINT,
};

enum options_kind {
  OPTIONS_FLAG,        /* bool */
  OPTIONS_TEXT,        /* const char * */
  OPTIONS_COUNT,       /* uint64_t, decimal */
  OPTIONS_COUNT32,     /* uint32_t */
  OPTIONS_SIZE,        /* uint64_t, bytes or with suffix K, M, G, T (powers of 1024) */
  OPTIONS_SIZE32,      /* uint32_t */
  OPTIONS_COMPRESSION, /* uint32_t, enum wodan_compression: off, fast or high */
};

/* An option --name. */
struct options_row {
  const char *name;
  char letter;       /* -l; 0: none */
  const char *value; /* what --help calls its value; NULL: a flag */
  enum options_kind kind;
  size_t at;            /* offsetof in the verb's struct */
  uint64_t least, most; /* of a number; most 0: as much as fits */
  const char *doc;      /* NULL: not shown */
};

/* An argument that is no option. */
struct options_operand {
  const char *name; /* "image", "key" */
  enum options_kind kind;
  size_t at;
  bool optional;
};

enum { OPTIONS_ROWS_MAX = 16, OPTIONS_OPERANDS_MAX = 3 };

struct options_verb {
  const char *arguments; /* as --help shows them */
  const char *doc;
  unsigned shared;                                         /* sum of enum options_shared */
  struct options_row rows[OPTIONS_ROWS_MAX];               /* up to the first without a name */
  struct options_operand operands[OPTIONS_OPERANDS_MAX];   /* the same */
  void (*check)(const struct argp_state *, void *options); /* what goes with what, at the end; NULL: anything */
};

/* The operand that nearly all verbs start with. */
#define OPTIONS_IMAGE                                                                                                  \
  { "image", OPTIONS_TEXT, offsetof(struct options, image), false }

/* Fills the verb's struct. Ends the program on wrong usage, also when there is no memory for it. */
void options_parse(const struct options_verb *verb, int argc, char **argv, void *options);

/* Decodes an argument into *bytes (released by the caller). 0, or the exit code of the reported failure. */
int options_decode(const struct options *options, const char *what, const char *text, struct buffer *bytes);

#endif
