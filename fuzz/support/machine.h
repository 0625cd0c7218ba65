/* Machine: bytes drive a database on a tiny simulated device, and every answer is held against what may be true.
 *
 * The truth is a set of *states* (contents). A commit makes a new state out of the present one. Where it is not known which
 * state the database is in (after a power cut, or damage), several are *possible*; each answer drops those that would have
 * answered differently, and a finding is an answer after which none is left. An error is an answer only where a fault, a
 * lack of memory or damage gave a reason for it.
 *
 * A target is a list of operations (machine_run); the input's bytes choose from it and give their arguments. */
#ifndef FUZZ_SUPPORT_MACHINE_H
#define FUZZ_SUPPORT_MACHINE_H

#include <wodan/wodan.h>
#include "dev/dev_sim.h"
#include "fuzz.h"
#include "support/meter.h"
#include "support/states.h"

enum { VIEWS_MAX = 3, CURSORS_MAX = 3, PINS_MAX = 2, READERS_MAX = 2, BATCH_MAX = 12, DEVICE_MAX = 256 << 10 };

struct machine_view {
  struct wodan_view *view; /* NULL: not open */
  struct possible possible;
};

struct machine_cursor {
  struct wodan_cursor *cursor; /* NULL: not open */
  struct possible possible;
  int at; /* key it stands on; -1: nowhere */
};

struct machine_pin {
  struct wodan_pinned pinned;
  uint8_t copy[VALUE_MAX];
  bool held;
};

struct machine_reader {
  struct wodan_value_reader *reader; /* NULL: not open */
  uint8_t copy[VALUE_MAX];           /* of all it reads */
  size_t size, at;
};

struct machine {
  /* the input */
  const uint8_t *data;
  size_t size, at;
  bool over; /* nothing more is to be done */
  /* the database */
  struct sim *sim;
  const struct sim_image *formatted;
  struct wodan_device *plug;
  struct wodan_db *db; /* NULL: closed */
  uint32_t flags;
  struct meter meter;
  uint64_t random;
  struct wodan_info info;
  /* the truth */
  struct states states;
  struct possible now;
  uint32_t acked;   /* this state, or a later one of its line, survives a power cut */
  bool io_faults;   /* requests may have failed since open: WODAN_EIO and WODAN_EFAILED are answers */
  bool served;      /* the device may serve what a failed flush has dropped */
  bool dropped;     /* a failed flush may have dropped what was written, and reads tell */
  bool faulty;      /* faults are waiting now */
  bool no_memory;   /* allocations may have failed */
  bool damaged;     /* bytes were changed behind the database's back: any state may come back, or WODAN_ECORRUPT */
  bool hostile;     /* and checksums were repaired: what it answers means nothing */
  bool user_memory; /* batches and values of the caller's were counted too */
  struct machine_view views[VIEWS_MAX];
  struct machine_cursor cursors[CURSORS_MAX];
  struct machine_pin pins[PINS_MAX];
  struct machine_reader readers[READERS_MAX];
  uint8_t kept[DEVICE_MAX]; /* an older content of the device */
  bool has_kept;
};

typedef void machine_op(struct machine *machine);
struct machine_entry {
  const char *name;
  machine_op *op;
};
#define MACHINE(name)                                                                                                  \
  { #name, machine_##name }
struct machine_table {
  const struct machine_entry *entries;
  size_t count;
};

/* With FUZZ_TRACE in the environment each operation is told. */
void machine_run(const struct machine_table *table, const uint8_t *data, size_t size);
/* Seeds that any table makes something of. */
size_t machine_seed(unsigned number, uint8_t *out, size_t size_max);

/* The next byte of the input; 0 at its end, and then the machine is over. */
uint8_t machine_take(struct machine *machine);
/* An answer below 0 has a reason, or it is a finding. */
void machine_allow(struct machine *machine, int status, const char *what);
/* The value under a cursor. false: a large one that could not be read, for an allowed reason. */
bool machine_value(struct machine *machine, struct wodan_cursor *cursor, struct wodan_slice *value);
void machine_close_readers(struct machine *machine);
/* Opens; scans to learn in which state it is. Ends the run where damage does not let it. */
void machine_open(struct machine *machine, uint32_t flags);
/* The handle goes, the device stays as it is. */
void machine_drop(struct machine *machine);
/* Only a part of the window remains, which the input chooses sector by sector; the power is on again. */
void machine_power_lost(struct machine *machine);
/* Faults and lack of memory end. */
void machine_heal(struct machine *machine);
/* Everything that the states could be at the next open. */
void machine_forget(struct machine *machine);
void machine_scan(struct machine *machine);

/* machine_ops.c */
machine_op machine_put, machine_put_durable, machine_put_large, machine_put_stream, machine_fill, machine_delete,
    machine_delete_range, machine_batch, machine_sync, machine_checkpoint, machine_compact, machine_trim,
    machine_reopen, machine_reopen_reading, machine_statistics;
/* machine_reads.c */
machine_op machine_get, machine_get_all, machine_view_open, machine_view_close, machine_cursor_open,
    machine_cursor_move, machine_cursor_walk, machine_cursor_close, machine_pin, machine_unpin, machine_get_part,
    machine_reader_open, machine_reader_read, machine_reader_close;
/* machine_faults.c */
machine_op machine_power_cut, machine_power_cut_soon, machine_kill, machine_io_fault, machine_read_fault,
    machine_memory_fault, machine_healed, machine_keep, machine_rot, machine_rot_hidden, machine_misplace,
    machine_stale, machine_repair, machine_check;

#endif
