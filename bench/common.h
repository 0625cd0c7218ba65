/* What the measuring programs share: options, the records, a volume to measure on, figures with their bounds. A failure
 * of the program itself prints a sentence and ends it with exit code 2. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <wodan/wodan.h>

#include "paced_device.h"

WODAN_BEGIN

/* ---- small things ---------------------------------------------------------------------------------------------- */

uint64_t bench_now(void); /* monotonic ns */
double bench_seconds_since(uint64_t start);
void bench_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* Ends the program when status is a failure; db may be NULL. WODAN_ENOTDURABLE is none: a device in memory says so. */
void bench_check(int status, const char *what, struct wodan_db *db);
/* "12.3 MB" and the like, in one of a few static buffers. */
const char *bench_bytes(double bytes);

/* ---- options --------------------------------------------------------------------------------------------------- */

enum bench_kind { BENCH_FLAG, BENCH_COUNT, BENCH_TEXT };

struct bench_option {
  const char *name; /* with the dashes */
  enum bench_kind kind;
  void *place; /* bool *, uint64_t * (suffixes K, M, G, T: powers of 1024), const char ** */
  const char *help;
};

/* Reads argv; --help prints and exits. The places hold the defaults beforehand. */
void bench_options(int argc, char **argv, const char *about, const struct bench_option *options, size_t count);
/* Takes the next number of a list "10,2.5"; false at its end. */
bool bench_list_next(const char **list, double *number);

/* ---- records: 16-byte keys in random order, values that do not compress ---------------------------------------- */

enum { BENCH_KEY = 16, BENCH_VALUE_MAX = 4096 };

uint64_t bench_random(uint64_t *state); /* splitmix64 */
/* Key number i of the keys of `seed`; different i give different keys. */
void bench_key(uint64_t seed, uint64_t i, uint8_t key[BENCH_KEY]);
void bench_value(uint64_t i, uint64_t version, uint8_t *value, size_t size);
/* Each of 0..count-1 once, in an order of `seed`. */
struct bench_order {
  uint64_t count, step, at;
};
struct bench_order bench_order(uint64_t count, uint64_t seed);
uint64_t bench_order_next(struct bench_order *order);

/* ---- puts ------------------------------------------------------------------------------------------------------ */

struct bench_puts {
  struct wodan_db *db;
  uint64_t seed, synced_every; /* 0: never durable; n: every n-th put is */
  size_t value_size;
  uint64_t done;
};
/* Puts key number i. */
void bench_put(struct bench_puts *puts, uint64_t i, uint64_t version);
/* Two checkpoints: owed work done, and what only the last root but one used given back. */
void bench_settle(struct wodan_db *db);

/* ---- a volume on a counting, perhaps paced device -------------------------------------------------------------- */

struct bench_volume {
  struct wodan_device *inner;
  struct paced_device paced;
};

/* A device in memory (path NULL) or a sparse file of `size` bytes, rounded up to whole MiB. Formatted when format is given. */
void bench_volume_create(struct bench_volume *volume, const char *path, uint64_t size,
                         const struct wodan_format_options *format);
struct wodan_db *bench_volume_open(struct bench_volume *volume, const struct wodan_open_options *options);
void bench_volume_release(struct bench_volume *volume);

/* A fresh folder in `parent` (NULL: $TMPDIR, else /tmp); removed with all it holds when this process exits, not when a
 * forked one does, also on SIGINT and SIGTERM. The name is a constant of the program. */
const char *bench_folder(const char *parent);
/* fork, for work on that folder: the new process ends with this one. */
pid_t bench_fork(void);
/* Bytes the file system holds for what lies in a folder, or for one file. */
uint64_t bench_disk_bytes(const char *path);

/* /proc/self/io: what this process and its threads passed to read and write calls, and what they made the kernel fetch from
 * and (sooner or later) send to the device. */
struct bench_io {
  uint64_t calls_read, calls_written, device_read, device_written;
};
struct bench_io bench_io_now(void);

/* ---- figures --------------------------------------------------------------------------------------------------- */

/* One JSON object a line instead of the table. */
void bench_figures_as_json(bool json);
void bench_heading(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints one row: what, value, bound (NAN: none) with "ok" or "OVER" when value is above it, and a remark. */
void bench_figure(const char *what, double value, double bound, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* 1 when a figure was above its bound, else 0: the exit code. */
int bench_verdict(void);

WODAN_END

#endif
