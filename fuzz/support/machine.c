/* What: the machine's run: device, open, close, what is possible after each. See machine.h.
 *
 * Always true:
 *  - while the database is open, `now` holds every state it can be in; it is never empty, but for a hostile image;
 *  - without damage, every state that a power cut may leave lies on the line from the newest state back to `acked`.
 *
 * Order: what is possible is decided before the open, and narrowed by a scan right after it, so that later answers have
 * few states to be held against. */
#include "support/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "support/random.h"
#include "crash/sim_plug.h"

static const struct geometry {
  uint64_t size;
  uint32_t sector, node_leaves, node_children;
} geometries[] = {{32 << 10, 512, 0, 0},
                  {64 << 10, 64, 0, 0},
                  {128 << 10, 512, 0, 0},
                  {128 << 10, 512, 4, 4},
                  {256 << 10, 256, 4, 4}};
enum { GEOMETRIES = sizeof geometries / sizeof geometries[0], INPUT_MAX = 1 << 20 };

static int next_random(void *context, void *buffer, size_t size) {
  for (size_t i = 0; i < size; i++) ((uint8_t *)buffer)[i] = (uint8_t)random_next(context);
  return 0;
}

/* ---- devices, formatted once ------------------------------------------------------------------------------------- */

static struct {
  struct sim *sim;
  struct sim_image image;
} devices[GEOMETRIES];

static void device_make(unsigned number) {
  const struct geometry *geometry = &geometries[number];
  struct sim_options options = {
      .keep_older = true, .seed = number, .discard = (uint8_t)(SIM_DISCARD_ZERO + number % (SIM_DISCARD_CHOICES - 1))};
  uint64_t random = number;
  struct wodan_format_options format = {.node_leaves = geometry->node_leaves,
                                        .node_children = geometry->node_children,
                                        .hooks = {.context = &random, .random = next_random}};
  if (sim_create(geometry->size, geometry->sector, &options, &devices[number].sim) < 0) FUZZ_FAIL("no device");
  struct wodan_device *plug = sim_plug(devices[number].sim);
  struct wodan_error error;
  if (wodan_format(plug, &format, &error) < 0) FUZZ_FAIL("format: %s", error.message);
  wodan_device_close(plug);
  if (sim_image_init(&devices[number].image, devices[number].sim) < 0) FUZZ_FAIL("no memory");
}

/* ---- input --------------------------------------------------------------------------------------------------------- */

uint8_t machine_take(struct machine *machine) {
  if (machine->at < machine->size) return machine->data[machine->at++];
  machine->over = true;
  return 0;
}

/* ---- answers ------------------------------------------------------------------------------------------------------- */

void machine_allow(struct machine *machine, int status, const char *what) {
  if (status >= 0 || machine->hostile) return;
  bool io = status == WODAN_EIO || status == WODAN_EFAILED;
  if (io && (machine->io_faults || machine->no_memory)) return;
  if (status == WODAN_ENOMEM && machine->no_memory) return;
  if (status == WODAN_ECORRUPT && machine->dropped) return;
  if ((io || status == WODAN_ECORRUPT) && machine->damaged) return;
  struct wodan_error error = {0};
  if (machine->db) wodan_last_error(machine->db, &error);
  FUZZ_FAIL("%s answers %d without a reason (last error: %s)", what, status, error.message);
}

static void judge(struct machine *machine, bool possible, const char *what, int key) {
  if (possible || machine->hostile) return;
  FUZZ_FAIL("%s, key %d: no state that the database may be in gives this answer (%u states, acknowledged: %u)", what,
            key, machine->states.count, machine->acked);
}

bool machine_value(struct machine *machine, struct wodan_cursor *cursor, struct wodan_slice *value) {
  *value = wodan_cursor_value(cursor);
  if (value->data) return true;
  struct wodan_error error = {0};
  wodan_last_error(machine->db, &error);
  if (error.code >= 0) FUZZ_FAIL("a cursor's value is missing, and nothing failed");
  machine_allow(machine, error.code, "a cursor's value");
  return false;
}

/* The whole content, with a cursor; each record and each gap is an answer. */
void machine_scan(struct machine *machine) {
  struct wodan_cursor *cursor;
  int status = wodan_cursor_open(machine->db, NULL, &cursor), from = 0;
  bool values_missed = false;
  if (status < 0) {
    machine_allow(machine, status, "opening a cursor");
    return;
  }
  for (status = wodan_cursor_first(cursor); status == 0; status = wodan_cursor_next(cursor)) {
    struct wodan_slice key = wodan_cursor_key(cursor);
    int found = key_find(key);
    if (found < from && !machine->hostile)
      FUZZ_FAIL("a scan gives a key that is not due (%d where %d is next)", found, from);
    if (found < 0) break;
    judge(machine, possible_next(&machine->states, &machine->now, from, false, found), "scan", found);
    struct wodan_slice value;
    if (machine_value(machine, cursor, &value))
      judge(machine, possible_value(&machine->states, &machine->now, (unsigned)found, true, value), "scan", found);
    else
      values_missed = true;
    from = found + 1;
  }
  if (status == WODAN_DONE) {
    judge(machine, possible_next(&machine->states, &machine->now, from, false, -1), "scan", from);
    if (!machine->hostile && !values_missed)
      machine->now.count = 1; /* those that are left differ in values that look alike */
  }
  machine_allow(machine, status, "a scan");
  wodan_cursor_close(cursor);
}

/* ---- open and close ------------------------------------------------------------------------------------------------ */

void machine_heal(struct machine *machine) {
  sim_faults_clear(machine->sim);
  sim_cut_at(machine->sim, UINT64_MAX); /* no effect once the power is off */
  machine->faulty = false;
  machine->meter.fail_at = 0;
}

void machine_forget(struct machine *machine) {
  if (machine->damaged) {
    states_all(&machine->states, &machine->now);
    return;
  }
  uint32_t newest = machine->now.states[0];
  states_line(&machine->states, newest, machine->acked, &machine->now);
}

/* After a failed flush the device may go on to serve what it has dropped, but not to the next who opens it: else nobody could
 * tell it from what is durable. */
static void lose_served(struct machine *machine) {
  struct sim_image image;
  if (!machine->served) return;
  machine->served = false;
  if (sim_image_init(&image, machine->sim) < 0 || sim_load(machine->sim, &image) < 0) FUZZ_FAIL("no memory");
  sim_image_release(&image);
}

static int try_open(struct machine *machine, uint32_t flags) {
  if (sim_is_off(machine->sim)) machine_power_lost(machine);
  lose_served(machine);
  struct wodan_open_options options = {.flags = flags | WODAN_OPEN_INLINE,
                                       .memory_budget = (512 << 10) + 2 * sim_size(machine->sim),
                                       .discard = WODAN_DISCARD_EAGER,
                                       .allocator = meter_hooks(&machine->meter),
                                       .hooks = {.context = &machine->random, .random = next_random}};
  struct wodan_error error;
  uint64_t fail_at = machine->meter.fail_at;
  bool for_ever = machine->meter.for_ever;
  machine->meter = (struct meter){.fail_at = fail_at, .for_ever = for_ever};
  machine->plug = sim_plug(machine->sim);
  int status = wodan_open(machine->plug, &options, &machine->db, &error);
  machine->flags = flags;
  if (status == 0) {
    machine->io_faults = machine->faulty;
    machine->dropped &= machine->faulty;
    machine->no_memory = machine->meter.fail_at > 0;
    return 0;
  }
  FUZZ_CHECK(machine->meter.used == 0);
  wodan_device_close(machine->plug);
  machine->db = NULL;
  bool unreadable = status == WODAN_ECORRUPT || status == WODAN_EFORMAT || status == WODAN_EVERSION;
  bool reason = machine->damaged || machine->io_faults; /* what cannot be read may have anything in it */
  if (!reason || !unreadable) machine_allow(machine, status, "open");
  return status;
}

void machine_open(struct machine *machine, uint32_t flags) {
  bool again = false;
  machine->user_memory = false;
  if (try_open(machine, flags) < 0) {
    machine_heal(machine);
    again = try_open(machine, flags) == 0;
    if (!again && !machine->damaged) FUZZ_FAIL("a volume does not open though its faults are gone");
    if (!again && try_open(machine, WODAN_OPEN_READ_ONLY | WODAN_OPEN_OLDER_ROOT) < 0) {
      machine->over = true;
      return;
    }
  }
  machine->info = (struct wodan_info){.size = sizeof machine->info};
  FUZZ_CHECK(wodan_info(machine->db, &machine->info) == 0);
  machine_scan(machine);
  if (machine->hostile) return;
  states_merge(&machine->states, &machine->now);
  bool writable = !(machine->flags & WODAN_OPEN_READ_ONLY);
  if (machine->damaged) return;
  if (machine->now.count > 1) { /* a scan that failed leaves more */
    machine_heal(machine);
    machine_scan(machine);
  }
  if (machine->now.count > 1) FUZZ_FAIL("a scan without faults does not end");
  if (writable) machine->acked = machine->now.states[0];
}

void machine_close_readers(struct machine *machine) {
  for (unsigned i = 0; i < PINS_MAX; i++) {
    struct machine_pin *pin = &machine->pins[i];
    if (!pin->held) continue;
    if (!machine->hostile) FUZZ_CHECK(memcmp(pin->copy, pin->pinned.value.data, pin->pinned.value.size) == 0);
    wodan_unpin(machine->db, &pin->pinned);
    pin->held = false;
  }
  for (unsigned i = 0; i < READERS_MAX; i++) {
    wodan_value_reader_close(machine->readers[i].reader);
    machine->readers[i].reader = NULL;
  }
  for (unsigned i = 0; i < CURSORS_MAX; i++) {
    wodan_cursor_close(machine->cursors[i].cursor);
    machine->cursors[i].cursor = NULL;
  }
  for (unsigned i = 0; i < VIEWS_MAX; i++) {
    wodan_view_close(machine->views[i].view);
    machine->views[i].view = NULL;
  }
}

void machine_drop(struct machine *machine) {
  machine_close_readers(machine);
  sim_unplug(machine->plug);
  FUZZ_CHECK(wodan_close(machine->db, NULL) != WODAN_EBUSY);
  machine->db = NULL;
  if (machine->meter.used) FUZZ_FAIL("%zu bytes were not given back", machine->meter.used);
}

/* ---- the run ------------------------------------------------------------------------------------------------------- */

static void begin(struct machine *machine, const uint8_t *data, size_t size) {
  struct state *kept = machine->states.all;
  size_t room = offsetof(struct machine, kept);
  memset(machine, 0, room);
  machine->has_kept = false;
  machine->states.all = kept;
  machine->data = data;
  machine->size = size;
  states_clear(&machine->states);
  machine->now.count = 1;
  machine->now.states[0] = 0;
  uint8_t first = machine_take(machine);
  unsigned number = first % GEOMETRIES;
  if (!devices[number].sim) device_make(number);
  machine->sim = devices[number].sim;
  machine->formatted = &devices[number].image;
  machine->random = first;
  if (sim_restart(machine->sim, machine->formatted) < 0) FUZZ_FAIL("the device cannot be loaded");
  machine_open(machine, first & 128 ? WODAN_OPEN_NO_AUTO_CHECKPOINT : 0);
}

/* What is there at the end is there after a close and an open, and the image is whole. */
static void finish(struct machine *machine) {
  if (!machine->db) return;
  machine_heal(machine);
  machine_scan(machine);
  machine_reopen(machine); /* which scans */
  if (machine->db) machine_drop(machine);
  if (sim_is_off(machine->sim)) machine_power_lost(machine);
  machine_check(machine);
  if (!machine->hostile) FUZZ_CHECK(sim_violations(machine->sim) == 0);
}

void machine_run(const struct machine_table *table, const uint8_t *data, size_t size) {
  static struct machine machine;
  bool tells = getenv("FUZZ_TRACE");
  if (size > INPUT_MAX) return;
  begin(&machine, data, size);
  while (!machine.over && machine.db) {
    const struct machine_entry *entry = &table->entries[machine_take(&machine) % table->count];
    if (machine.over) break;
    if (tells)
      fprintf(stderr, "%zu: %s (%u states, %u possible, acknowledged %u)\n", machine.at - 1, entry->name,
              machine.states.count, machine.now.count, machine.acked);
    entry->op(&machine);
    if (sim_is_off(machine.sim) && machine.db) machine_power_cut(&machine);
  }
  finish(&machine);
}

size_t machine_seed(unsigned number, uint8_t *out, size_t size_max) {
  if (number >= 24 || size_max < 64) return 0;
  uint64_t random = number;
  size_t size = 16 + number * 9 % (size_max - 16);
  for (size_t i = 0; i < size; i++) out[i] = (uint8_t)random_next(&random);
  out[0] = (uint8_t)number;
  return size;
}
