/* The simulated device: an in-memory medium behind a volatile cache, that can lose, tear, reorder and misplace what
 * it was given, fail any operation, and show every state a power cut may leave. The judge of the engine; tests only.
 *
 * Terms. *Medium*: what is durable. *Content*: what reads see (medium + window). *Window*: the writes and discards
 * since the last flush, in order, cut in *segments* by barriers: a power cut leaves all segments below some g whole,
 * any part of segment g, nothing above. *Mutation index*: counts writes, barriers, flushes and discards from 0.
 *
 * transfer, barrier and flush may be called from several threads; everything below only while no call is running, or
 * from the `before` hook. Sizes and offsets in bytes unless named otherwise. Deterministic: no clock, no randomness
 * but from options.seed. */
#ifndef DEV_DEV_SIM_H
#define DEV_DEV_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wodan/device.h>

struct sim;

/* ---- the device ------------------------------------------------------------------------------------------------ */

enum sim_kind { SIM_READ, SIM_WRITE, SIM_BARRIER, SIM_FLUSH, SIM_DISCARD, SIM_RESIZE, SIM_KINDS };

struct sim_operation {
  uint8_t kind;      /* enum sim_kind */
  int status;        /* as answered */
  uint64_t offset;   /* resize: 0 */
  uint64_t size;     /* resize: the new size */
  uint64_t mutation; /* its mutation index; for reads and resizes, that of the next mutation */
};

enum sim_barrier_mode {
  SIM_BARRIER_NATIVE,   /* a new segment */
  SIM_BARRIER_BY_FLUSH, /* a flush */
  SIM_BARRIER_NONE,     /* nothing, and geometry says so */
  SIM_BARRIER_LYING,    /* nothing, and geometry claims NATIVE */
};
enum sim_flush_mode {
  SIM_FLUSH_HONEST,
  SIM_FLUSH_ORDER_ONLY, /* answers 0, is only a barrier */
  SIM_FLUSH_LYING,      /* answers 0, does nothing */
};
/* What becomes of a discarded range; also what a power cut may make of a discard in the window. OLDER is the content
 * before the last durable one (options.keep_older; else as NOT_DONE). RANDOM differs at each read until written. */
enum sim_discard_choice {
  SIM_DISCARD_NOT_DONE,
  SIM_DISCARD_ZERO,
  SIM_DISCARD_FF,
  SIM_DISCARD_OLDER,
  SIM_DISCARD_GARBAGE,
  SIM_DISCARD_RANDOM,
  SIM_DISCARD_CHOICES
};

/* All zero: native barriers, honest flush, discards not done. May be changed while open through sim_options. */
struct sim_options {
  uint8_t barrier, flush, discard; /* enums above; barrier is fixed at creation */
  bool not_durable;                /* geometry.durable = 0 */
  bool read_only;
  bool keep_older;              /* remembers the durable content before the last, for OLDER and SIM_READ_STALE */
  bool log;                     /* keeps every operation for sim_log */
  bool quota_at_flush;          /* a full host shows at flush (the window is then dropped, still served) */
  uint32_t discard_granularity; /* 0: sector; UINT32_MAX: the device does not discard */
  uint32_t memory_alignment, io_maximum; /* for geometry, and then demanded */
  uint64_t quota; /* sectors the host can store; 0: no limit. Above: WODAN_ENOSPC, nothing written */
  uint64_t seed;  /* of garbage and random bytes */
  /* Before each mutation has any effect, the window still whole: enumerate crash states here, or refuse: a value
   * other than 0 is counted as a violation and answered instead of doing it. */
  int (*before)(void *context, struct sim *sim, const struct sim_operation *operation);
  void *context;
};

/* size in whole sectors, sector 64..4096. options NULL: all zero. WODAN_EINVAL, WODAN_ENOMEM. */
int sim_create(uint64_t size, uint32_t sector, const struct sim_options *options, struct sim **sim);
/* Also done by wodan_device_close(sim_device(sim)). NULL is allowed. */
void sim_close(struct sim *sim);
struct wodan_device *sim_device(struct sim *sim);
struct sim_options *sim_options(struct sim *sim);
/* With everything: window, faults, counters, power. */
int sim_clone(const struct sim *sim, struct sim **copy);

uint64_t sim_size(const struct sim *sim);
uint32_t sim_sector(const struct sim *sim);
const uint8_t *sim_medium(const struct sim *sim);
const uint8_t *sim_content(const struct sim *sim);
/* Rot at rest: changes medium and content, no operation. */
void sim_poke(struct sim *sim, uint64_t offset, const void *bytes, size_t size);

uint64_t sim_count(const struct sim *sim, enum sim_kind kind); /* operations taken while the power was on */
uint64_t sim_mutations(const struct sim *sim);
/* An operation answered WODAN_EIO because there was no memory to remember it by; until a load. */
bool sim_is_starved(const struct sim *sim);
uint32_t sim_write_count(const struct sim *sim, uint64_t sector_index);
/* Requests against the contract (range, alignment, unknown kind) or refused by the hook. Keep it 0. */
uint64_t sim_violations(const struct sim *sim);
const struct sim_operation *sim_log(const struct sim *sim, size_t *count);

/* Mutation k and everything after (reads too) answers WODAN_EIO without effect: the power is off, the window is what
 * was in flight. UINT64_MAX: never. */
void sim_cut_at(struct sim *sim, uint64_t mutation);
bool sim_is_off(const struct sim *sim);

/* ---- faults ---------------------------------------------------------------------------------------------------- */

enum sim_fault_kind {
  /* Reads; the bytes below stay pristine. Touch the part of the read inside [offset, offset + size). */
  SIM_READ_EIO,         /* the read fails */
  SIM_READ_FLIP,        /* bit number `argument` of the device is inverted (offset and size are not looked at) */
  SIM_READ_ZERO,        /* zeros */
  SIM_READ_GARBAGE,     /* the same garbage each time */
  SIM_READ_STALE,       /* the durable content before the last (options.keep_older) */
  SIM_READ_MISDIRECTED, /* what lies `argument` bytes into the device instead of at offset */
  /* Writes. */
  SIM_WRITE_EIO,         /* fails; the first `argument` bytes (whole sectors) are taken nevertheless */
  SIM_WRITE_LOST,        /* answered 0, never done; argument 1: served to reads until the power is off */
  SIM_WRITE_MISDIRECTED, /* done at `argument` bytes into the device */
  /* Others; offset and size count for SIM_DISCARD_EIO only. */
  SIM_BARRIER_EIO,
  SIM_FLUSH_EIO,   /* argument: enum sim_window_fate */
  SIM_FLUSH_LIE,   /* this flush is a lie (as SIM_FLUSH_LYING) */
  SIM_DISCARD_EIO, /* argument 1: WODAN_ENOTSUP */
};
enum sim_window_fate {
  SIM_WINDOW_KEPT,           /* still in flight */
  SIM_WINDOW_DROPPED_SERVED, /* never reaches the medium, reads still see it */
  SIM_WINDOW_DROPPED,        /* never reaches the medium, reads see the old content */
};

struct sim_fault {
  uint8_t kind;          /* enum sim_fault_kind */
  bool until_written;    /* read faults: gone once a write touches the range */
  uint64_t offset, size; /* where; size 0: everywhere */
  uint64_t skip;         /* matching operations let through first: the k-th fails */
  uint64_t times;        /* matching operations hit; 0: for ever */
  uint64_t argument;
};

int sim_fault_add(struct sim *sim, const struct sim_fault *fault); /* 0 or WODAN_ENOMEM */
void sim_faults_clear(struct sim *sim);
/* How often any fault has struck since creation or load. */
uint64_t sim_faults_struck(const struct sim *sim);

/* ---- crash states ---------------------------------------------------------------------------------------------- */

/* What a power cut makes of one sector of a write in segment g. UNREADABLE: WODAN_EIO until written again. */
enum sim_sector_choice { SIM_OLD, SIM_NEW, SIM_ZERO, SIM_GARBAGE, SIM_UNREADABLE, SIM_SECTOR_CHOICES };

/* A medium after a power cut. marks has a byte a sector: enum sim_mark. */
enum sim_mark { SIM_MARK_NONE, SIM_MARK_UNREADABLE, SIM_MARK_RANDOM };
struct sim_image {
  uint64_t size;
  uint32_t sector;
  uint8_t *bytes, *marks;
};

uint32_t sim_window_segments(const struct sim *sim);
size_t sim_window_elements(const struct sim *sim);

/* A copy of the medium (nothing of the window landed). Release it. 0 or WODAN_ENOMEM. */
int sim_image_init(struct sim_image *image, const struct sim *sim);
void sim_image_release(struct sim_image *image);
uint64_t sim_image_hash(const struct sim_image *image);

/* A new device holding an image: power on, nothing in flight, no faults, counters 0; options as `sim` has them. */
int sim_reboot(const struct sim *sim, const struct sim_image *image, struct sim **fresh);
/* The same in place, without allocating. The image must have the size of the device (else WODAN_EINVAL). */
int sim_load(struct sim *sim, const struct sim_image *image);
/* The same without a past: what was durable before the last is the image too. */
int sim_restart(struct sim *sim, const struct sim_image *image);

/* A choice string names one crash state of a window: 4 bytes g (little-endian), then for segment g one byte per
 * sector of each write (enum sim_sector_choice) and one per discard (enum sim_discard_choice), in order. Any bytes
 * are legal: values are taken modulo, missing ones are 0, so a fuzzer's input is one. A discard in a segment below g
 * is what options.discard makes of it. */
size_t sim_choice_size_max(const struct sim *sim);
/* Makes the image (initialised before) that state. */
void sim_image_choose(struct sim_image *image, const struct sim *sim, const uint8_t *choice, size_t size);
/* Hexadecimal, NUL-terminated. false: no room. / not hexadecimal, or no room. */
bool sim_choice_print(const uint8_t *choice, size_t size, char *text, size_t capacity);
bool sim_choice_parse(const char *text, uint8_t *choice, size_t capacity, size_t *size);
/* A random state into choice (sim_choice_size_max bytes); advances *seed. contents: also zero, garbage, unreadable
 * sectors and all discard outcomes, else only old and new. Returns the size. */
size_t sim_choice_sample(const struct sim *sim, uint64_t *seed, bool contents, uint8_t *choice);

/* Families of states, for n units (the part of a write within one block; a discard) of k sectors, N sectors in all. */
enum sim_family {
  SIM_PREFIXES = 1,  /* sectors landed in order: N + 1 */
  SIM_ONES = 2,      /* only one unit landed; all but one: 2n */
  SIM_SUBSETS = 4,   /* of units: 2^n (a discard counts 6 instead of 2) */
  SIM_TORN = 8,      /* a subset and one unit torn, every pattern: n * 2^(n-1) * (2^k - 2) */
  SIM_SECTORS = 16,  /* subsets of sectors: 2^N */
  SIM_CONTENTS = 32, /* each sector any of the five (a discard any of its six): 5^N */
  SIM_FAMILIES = 63
};

struct sim_crash_options {
  uint32_t families;     /* 0: all */
  uint32_t block;        /* bytes of a unit, at least a sector; 0: a write is one unit */
  uint32_t units_max;    /* SUBSETS and TORN of a segment are skipped above; 0: 12 */
  uint32_t sectors_max;  /* SECTORS, likewise; 0: 16 */
  uint32_t contents_max; /* CONTENTS, likewise; 0: 6 */
  uint64_t states_max;   /* any family of a segment, likewise; 0: 1,048,576 */
};

/* Runs through the states of every segment, each distinct image once. The device must stay as it is meanwhile. */
struct sim_crash_iter;
int sim_crash_begin(struct sim *sim, const struct sim_crash_options *options, struct sim_crash_iter **iter);
/* false at the end. The image stays the iterator's, valid until the next call. */
bool sim_crash_next(struct sim_crash_iter *iter, const struct sim_image **image);
/* The present state as a choice string, for the replay line. */
const uint8_t *sim_crash_choice(const struct sim_crash_iter *iter, size_t *size);
uint64_t sim_crash_hash(const struct sim_crash_iter *iter);    /* sim_image_hash of the present image, at no cost */
uint64_t sim_crash_states(const struct sim_crash_iter *iter);  /* before merging */
uint64_t sim_crash_images(const struct sim_crash_iter *iter);  /* distinct, as returned */
uint32_t sim_crash_skipped(const struct sim_crash_iter *iter); /* families left out at some segment: sample those */
bool sim_crash_starved(const struct sim_crash_iter *iter);     /* it ended for a lack of memory */
void sim_crash_end(struct sim_crash_iter *iter);

/* A set of hashes, to merge images across windows as well. */
struct sim_seen {
  uint64_t *slots;
  size_t capacity, count;
};
/* 1: new; 0: known; WODAN_ENOMEM. An all-zero set is empty. */
int sim_seen_add(struct sim_seen *seen, uint64_t hash);
void sim_seen_release(struct sim_seen *seen);

#endif
