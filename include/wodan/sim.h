/* Simulated devices that lose power and fail on purpose, and the enumeration of every state a power cut may leave: for tests
 * of programs that store data, with a Wodan database or straight on a wodan_device. Library wodan-sim; not part of
 * wodan.h. Nothing here reads a clock (but wodan_sim_crash_run's time limit) or takes randomness except from a seed:
 * the same calls give the same bytes, and any failure has a line that replays it.
 *
 * Terms. *Window*: the writes and discards since the last flush. A barrier cuts it in *segments*: a power cut leaves all
 * segments below some g whole, any part of segment g, sector by sector, and nothing above. *State*: what the medium
 * holds then. A state has a name, its *choice*: hexadecimal text.
 *
 * Three ways in, from the most work to the least:
 *   wodan_sim_create, _plug, _fault, _states   a device; you decide when the power fails
 *   wodan_sim_explore                          your workload is run, and your check on every state of every window
 *   wodan_sim_crash_run                        our workloads on our database: what `wodan crash` does
 *
 * Without memory to remember it by, an operation on a device answers WODAN_EIO and does nothing.
 *
 * Functions on one wodan_sim must not run at the same time, but requests to its devices may come from any thread. */
#ifndef WODAN_SIM_H
#define WODAN_SIM_H

#include <wodan/device.h>
#include <wodan/status.h>
#include <wodan/types.h>

WODAN_BEGIN

/* ---- the device ------------------------------------------------------------------------------------------------ */

struct wodan_sim;

enum wodan_sim_kind {
  WODAN_SIM_READ,
  WODAN_SIM_WRITE,
  WODAN_SIM_BARRIER,
  WODAN_SIM_FLUSH,
  WODAN_SIM_DISCARD,
  WODAN_SIM_RESIZE,
  WODAN_SIM_KINDS
};

struct wodan_sim_operation {
  uint8_t kind;      /* enum wodan_sim_kind */
  int status;        /* as answered */
  uint64_t offset;   /* bytes; 0 for barrier, flush, resize */
  uint64_t size;     /* bytes; of a resize the new size */
  uint64_t mutation; /* its number among writes, barriers, flushes and discards, from 0 */
};

enum wodan_sim_barrier {
  WODAN_SIM_BARRIER_NATIVE,   /* orders */
  WODAN_SIM_BARRIER_BY_FLUSH, /* is a flush */
  WODAN_SIM_BARRIER_NONE,     /* does nothing, and the geometry says so */
  WODAN_SIM_BARRIER_LYING,    /* does nothing, and the geometry claims that it orders */
};
enum wodan_sim_flush {
  WODAN_SIM_FLUSH_HONEST,
  WODAN_SIM_FLUSH_ORDER_ONLY, /* answers 0, is only a barrier */
  WODAN_SIM_FLUSH_LYING,      /* answers 0, does nothing */
};
/* What reads see of a discarded range. A power cut may make any of them of a discard in the window. */
enum wodan_sim_discard {
  WODAN_SIM_DISCARD_NOT_DONE,
  WODAN_SIM_DISCARD_ZERO,
  WODAN_SIM_DISCARD_FF,
  WODAN_SIM_DISCARD_OLDER, /* what was durable before the last content; needs keep_older */
  WODAN_SIM_DISCARD_GARBAGE,
  WODAN_SIM_DISCARD_RANDOM, /* differs at each read, until written again */
};

/* All zero but device_size: 512-byte sectors, native barriers, honest flushes. */
struct wodan_sim_options {
  uint32_t size;        /* sizeof(struct wodan_sim_options); 0 is taken as the whole struct */
  uint32_t sector;      /* bytes, power of two, 64..4096; 0: 512 */
  uint64_t device_size; /* bytes, whole sectors */
  uint8_t barrier;      /* enum wodan_sim_barrier */
  uint8_t flush;        /* enum wodan_sim_flush */
  uint8_t discard;      /* enum wodan_sim_discard */
  uint8_t record;       /* 1: keeps every operation for wodan_sim_operations */
  uint8_t keep_older;   /* 1: remembers the durable content before the last, for DISCARD_OLDER and READ_STALE */
  uint8_t read_only;
  uint8_t no_discard; /* 1: the device does not discard */
  uint8_t reserved;
  uint64_t quota; /* sectors the host can store: writes above answer WODAN_ENOSPC; 0: no limit */
  uint64_t seed;  /* of garbage */
  /* Called before each write, barrier, flush and discard has any effect, with the window still whole: look at crash
   * states here. A status other than 0 is answered instead of doing it. NULL: not called. */
  int (*before)(void *context, struct wodan_sim *sim, const struct wodan_sim_operation *operation);
  void *context;
};

/* WODAN_EINVAL, WODAN_ENOMEM. Free it with wodan_sim_free; not while a device of it is open. NULL is allowed there. */
WODAN_API int wodan_sim_create(const struct wodan_sim_options *options, struct wodan_sim **sim);
WODAN_API void wodan_sim_free(struct wodan_sim *sim);

/* A device on the simulated medium, for wodan_open or anything else. Closing it frees the device only: the medium and its
 * window stay, and the next one plugged in sees them. WODAN_ENOMEM. */
WODAN_API int wodan_sim_plug(struct wodan_sim *sim, struct wodan_device **device);
/* The program above died, or the cable is out: every request on this device answers WODAN_EIO without effect from now on.
 * It can still be closed. The window stays: only wodan_sim_power_cut loses it. */
WODAN_API void wodan_sim_unplug(struct wodan_device *device);
/* Mutation number k and everything after it answers WODAN_EIO without effect. UINT64_MAX: never. */
WODAN_API void wodan_sim_cut_at(struct wodan_sim *sim, uint64_t mutation);
/* The power fails and comes back: the medium becomes the state `choice` names, NULL: nothing of the window landed. Power
 * on, counters 0, no faults. WODAN_EINVAL when it is not hexadecimal, WODAN_ENOMEM. */
WODAN_API int wodan_sim_power_cut(struct wodan_sim *sim, const char *choice);

WODAN_API uint64_t wodan_sim_size(const struct wodan_sim *sim);
/* What is durable. Valid until the next flush, resize or power cut. */
WODAN_API const uint8_t *wodan_sim_medium(const struct wodan_sim *sim);
/* Replaces bytes of the medium at once: rot at rest, or an image from somewhere else. WODAN_EINVAL beyond the end. */
WODAN_API int wodan_sim_poke(struct wodan_sim *sim, uint64_t offset, const void *bytes, size_t size);
/* Operations taken while the power was on. */
WODAN_API uint64_t wodan_sim_count(const struct wodan_sim *sim, enum wodan_sim_kind kind);
/* Requests against the contract of <wodan/device.h> (range, alignment), or refused by `before`. */
WODAN_API uint64_t wodan_sim_violations(const struct wodan_sim *sim);
/* What was recorded, in order; valid until the next operation. */
WODAN_API const struct wodan_sim_operation *wodan_sim_operations(const struct wodan_sim *sim, size_t *count);

/* ---- faults ---------------------------------------------------------------------------------------------------- */

enum wodan_sim_fault_kind {
  WODAN_SIM_READ_EIO,     /* the read fails */
  WODAN_SIM_READ_FLIP,    /* bit number `argument` of the device reads inverted; offset and size are not looked at */
  WODAN_SIM_READ_ZERO,    /* zeros */
  WODAN_SIM_READ_GARBAGE, /* the same garbage each time */
  WODAN_SIM_READ_STALE,   /* the durable content before the last (keep_older) */
  WODAN_SIM_READ_MISDIRECTED,  /* what lies `argument` bytes into the device instead */
  WODAN_SIM_WRITE_EIO,         /* fails; the first `argument` bytes are taken nevertheless */
  WODAN_SIM_WRITE_LOST,        /* answers 0, never done; argument 1: served to reads until the power fails */
  WODAN_SIM_WRITE_MISDIRECTED, /* done at `argument` bytes into the device */
  WODAN_SIM_BARRIER_EIO,
  WODAN_SIM_FLUSH_EIO, /* argument 0: the window stays in flight; 1: it never lands, reads still see it; 2: nor do reads */
  WODAN_SIM_FLUSH_LIE,   /* answers 0, does nothing */
  WODAN_SIM_DISCARD_EIO, /* argument 1: WODAN_ENOTSUP */
};

struct wodan_sim_fault {
  uint8_t kind;          /* enum wodan_sim_fault_kind */
  uint8_t until_written; /* read faults: 1: gone once a write touches the range */
  uint64_t offset, size; /* bytes: requests that touch this range; size 0: all */
  uint64_t skip;         /* so many matching operations are let through first */
  uint64_t times;        /* then so many fail; 0: all, for ever */
  uint64_t argument;
};

/* The n-th operation fails: skip n - 1, times 1 (once) or 0 (for ever). WODAN_EINVAL, WODAN_ENOMEM. */
WODAN_API int wodan_sim_fault(struct wodan_sim *sim, const struct wodan_sim_fault *fault);
WODAN_API void wodan_sim_faults_clear(struct wodan_sim *sim);
/* How often a fault struck. */
WODAN_API uint64_t wodan_sim_faults_struck(const struct wodan_sim *sim);

/* ---- crash states ---------------------------------------------------------------------------------------------- */

/* Families of states of a segment with n units (the part of a write within one block; a discard) of k sectors, N sectors
 * in all. Those with too many states are skipped and told. */
enum wodan_sim_family {
  WODAN_SIM_PREFIXES = 1,  /* sectors landed in order: N + 1 */
  WODAN_SIM_ONES = 2,      /* only one unit landed; all but one: 2n */
  WODAN_SIM_SUBSETS = 4,   /* of units: 2^n; a discard counts 6 instead of 2 */
  WODAN_SIM_TORN = 8,      /* a subset and one unit torn in every pattern: n * 2^(n-1) * (2^k - 2) */
  WODAN_SIM_SECTORS = 16,  /* subsets of sectors: 2^N */
  WODAN_SIM_CONTENTS = 32, /* each sector old, new, zero, garbage or unreadable: 5^N */
};

/* All zero: every family; subsets and torn units up to n = 12, sectors up to N = 16, contents up to N = 6. */
struct wodan_sim_limits {
  uint32_t families; /* enum wodan_sim_family; 0: all */
  uint32_t block;    /* bytes of a unit; 0: a write is one unit */
  uint32_t units_max, sectors_max, contents_max;
  uint32_t samples;    /* random states beside those of a window where any family was left out; 0: none */
  uint64_t states_max; /* of a family in a segment; 0: 1,048,576 */
};

struct wodan_sim_counts {
  uint64_t windows;  /* looked at */
  uint64_t states;   /* before merging */
  uint64_t distinct; /* identical images count once in a window */
  uint64_t families; /* windows with a segment of more than sectors_max sectors: families instead of all subsets */
  uint64_t sampled;  /* windows where units_max or states_max left a family out other than SECTORS and CONTENTS */
};

/* Called with a device in that state (power on, nothing in flight), which stays the library's: plug it in, look, even
 * write. `choice` names the state. Other than 0 stops. */
typedef int wodan_sim_visit(void *context, struct wodan_sim *crashed, const char *choice);

/* Every state of the present window, each distinct image once. `sim` is only looked at; `before` may call this. Adds to
 * *counts (may be NULL). limits may be NULL. Returns what the visit returned, 0 at the end, or WODAN_ENOMEM. */
WODAN_API int wodan_sim_states(struct wodan_sim *sim, const struct wodan_sim_limits *limits, wodan_sim_visit *visit,
                               void *context, struct wodan_sim_counts *counts);

/* ---- your workload --------------------------------------------------------------------------------------------- */

struct wodan_sim_workload {
  uint32_t size; /* sizeof(struct wodan_sim_workload); 0 is taken as the whole struct */
  uint32_t reserved;
  void *context;
  /* Does the work on a fresh device: plug in, write, flush, unplug. Must do the same each time. Tells `check` by way of
   * context what was acknowledged so far. 0, or a status that ends the exploration. */
  int (*run)(void *context, struct wodan_sim *sim);
  /* Judges a state. Called from inside the flush that `run` waits for (so not yet acknowledged), and once more behind
   * its end. Other than 0: a violation. */
  int (*check)(void *context, struct wodan_sim *crashed);
};

struct wodan_sim_explore_options {
  uint32_t size; /* sizeof(struct wodan_sim_explore_options); 0 is taken as the whole struct */
  uint32_t reserved;
  struct wodan_sim_options device; /* `before` and `context` are not used */
  struct wodan_sim_limits limits;
  const char *replay; /* a line of a report: only that state is visited. NULL: all */
};

struct wodan_sim_explore_report {
  struct wodan_sim_counts counts;
  uint64_t violations; /* the first one ends it: 0 or 1 */
  int status;          /* what run or check answered */
  char replay[512];    /* of the violation: "window:choice"; cut when longer */
};

/* Runs the workload once, and before every flush shows every state of the window to `check`. 0 when all states were right,
 * WODAN_DONE when one was not (the report tells which), else what `run` or memory answered.
 * WODAN_EINVAL: an option, or a replay line that names no window of this workload. */
WODAN_API int wodan_sim_explore(const struct wodan_sim_workload *workload,
                                const struct wodan_sim_explore_options *options,
                                struct wodan_sim_explore_report *report);

/* ---- our workloads on our database ----------------------------------------------------------------------------- */

enum { WODAN_SIM_CRASH_OPS_MAX = 6, WODAN_SIM_CRASH_GEOMETRIES = 4, WODAN_SIM_CRASH_LINE_MAX = 2048 };

/* "tiny" (32 KiB in blocks of 512 bytes), "torn" (the same with sectors of 128), "wide" (64 KiB in blocks of 1 KiB), "tree"
 * (64 KiB, sectors of 256, nodes of four). NULL beyond the last. */
WODAN_API const char *wodan_sim_crash_geometry(unsigned index);

/* Workloads: first all sequences of up to `ops` operations of put, overwrite, delete, sync, checkpoint and reopen, on each
 * geometry; then, until the time is over, random ones of up to 24, which also commit batches, die, and fill the volume.
 *
 * Each distinct state: it opens; its whole content is that of a commit not older than the last durable acknowledgement;
 * mounting wrote nothing; a durable put on it survives a second power cut, with the rest; wodan_check finds neither
 * damage nor a warning; some are then closed, opened and compared once more. Once a window the process dies instead of
 * the power: what the next mount shows must survive a power cut. depth 2: on each state the power is cut again, in
 * every window of recovery and the next three commits (there with families of at most 512 states).
 *
 * Windows before the last operation of a sequence are those of a shorter sequence, and judged there. */
struct wodan_sim_crash_options {
  uint32_t size;       /* sizeof(struct wodan_sim_crash_options); 0 is taken as the whole struct */
  uint32_t ops;        /* at most WODAN_SIM_CRASH_OPS_MAX; 0: 3 */
  uint32_t seconds;    /* time limit; 0: none, and then no random workloads */
  uint32_t depth;      /* 1 or 2; 0: 1 */
  uint32_t geometries; /* bits by index; 0: all */
  uint32_t jobs;       /* threads; 0: 2, in builds without threads always 1 */
  uint32_t canary;     /* 1: the device lies about flushes, so a violation must be found */
  uint32_t reserved;
  uint64_t seed;      /* of sizes, values and random workloads; 0: 1 */
  const char *replay; /* a line of an earlier run: only that state. NULL: all */
  void *context;
  /* Each violation: the line that replays it and a sentence. May come from several threads, one at a time. */
  void (*violation)(void *context, const char *line, const char *sentence);
};

struct wodan_sim_crash_complete {
  uint32_t ops;       /* every sequence of exactly so many operations was run and no window of it sampled */
  uint32_t geometry;  /* index */
  uint64_t workloads; /* sequences */
};

struct wodan_sim_crash_report {
  uint64_t workloads, random_workloads; /* random ones are counted in both */
  uint64_t windows, states, distinct;   /* distinct: images with the history they are judged by, over all workloads */
  uint64_t deep;                        /* of them at depth 2 */
  uint64_t kills;                       /* process deaths judged, one a window */
  uint64_t closed;                      /* of them also closed and opened again */
  uint64_t discards;                    /* of the databases, none of which may touch what the two newest roots need */
  uint64_t violations;
  uint64_t nanoseconds;
  uint64_t workloads_cut;    /* systematic ones cut short by the time limit, or not begun */
  uint64_t windows_families; /* with more than 16 sectors in a segment: as wodan_sim_counts.families */
  uint64_t windows_sampled;  /* with more states than were run through: as wodan_sim_counts.sampled */
  uint32_t complete_count, reserved;
  struct wodan_sim_crash_complete complete[WODAN_SIM_CRASH_OPS_MAX * WODAN_SIM_CRASH_GEOMETRIES];
};

/* 0 when it ran, violations or not: look at the report. Stops after 100 violations. WODAN_EINVAL (an option, or a replay
 * line that names no state), WODAN_ENOMEM. */
WODAN_API int wodan_sim_crash_run(const struct wodan_sim_crash_options *options, struct wodan_sim_crash_report *report);

WODAN_END

#endif
