/* What: what the machine's device and memory do to the database: power cuts, deaths, faults, rot. See machine.h.
 *
 * Rot changes medium and content at once, behind every window and cache, at any moment. */
#include <string.h>
#include "support/image.h"
#include "support/machine.h"
#include "crash/sim_plug.h"

enum { CHOICE_MAX = 255, UNIT = 512 };

void machine_power_lost(struct machine *machine) {
  uint8_t choice[CHOICE_MAX + 4] = {0};
  bool was_over = machine->over;
  size_t size = machine_take(machine), segments = sim_window_segments(machine->sim);
  if (segments) choice[0] = (uint8_t)(machine_take(machine) % segments);
  for (size_t i = 0; i < size && !machine->over; i++) choice[4 + i] = machine_take(machine);
  machine->over = was_over; /* a choice that is cut short is one too */
  struct sim_image image;
  if (sim_image_init(&image, machine->sim) < 0) FUZZ_FAIL("no memory");
  sim_image_choose(&image, machine->sim, choice, 4 + size);
  if (sim_load(machine->sim, &image) < 0) FUZZ_FAIL("the device cannot be loaded");
  sim_image_release(&image);
  machine_heal(machine);
}

/* Between two operations. */
void machine_power_cut(struct machine *machine) {
  uint8_t flags = machine_take(machine);
  machine_drop(machine);
  machine_power_lost(machine);
  machine_forget(machine);
  machine_open(machine, flags % 16 == 0 ? WODAN_OPEN_READ_ONLY : 0);
}

/* Some writes, barriers or flushes from now, in the middle of whatever is done then. */
void machine_power_cut_soon(struct machine *machine) {
  sim_cut_at(machine->sim, sim_mutations(machine->sim) + machine_take(machine) % 64);
  machine->io_faults = machine->faulty = true;
}

/* The process dies; the device goes on with all it was given. */
void machine_kill(struct machine *machine) {
  machine_drop(machine);
  machine_heal(machine);
  machine_forget(machine);
  machine_open(machine, 0);
}

/* ---- faults -------------------------------------------------------------------------------------------------------- */

static void add(struct machine *machine, const struct sim_fault *fault) {
  if (sim_fault_add(machine->sim, fault) < 0) FUZZ_FAIL("no memory");
}

void machine_io_fault(struct machine *machine) {
  static const uint8_t kinds[] = {SIM_READ_EIO, SIM_WRITE_EIO, SIM_BARRIER_EIO, SIM_FLUSH_EIO, SIM_DISCARD_EIO};
  uint8_t how = machine_take(machine), skip = machine_take(machine);
  struct sim_fault fault = {.kind = kinds[how % sizeof kinds], .skip = skip % 32, .times = how & 128 ? 0 : 1};
  if (fault.kind == SIM_FLUSH_EIO) fault.argument = how / 8 % 3;
  machine->served |= fault.kind == SIM_FLUSH_EIO && fault.argument == SIM_WINDOW_DROPPED_SERVED;
  machine->dropped |= fault.kind == SIM_FLUSH_EIO && fault.argument == SIM_WINDOW_DROPPED;
  if (fault.kind == SIM_WRITE_EIO) fault.argument = how / 8 % 4 * sim_sector(machine->sim);
  machine->io_faults = machine->faulty = true;
  add(machine, &fault);
}

/* One read gives something else than what is there; the next is right: read again, it must be. */
void machine_read_fault(struct machine *machine) {
  static const uint8_t kinds[] = {SIM_READ_FLIP, SIM_READ_ZERO, SIM_READ_GARBAGE, SIM_READ_STALE, SIM_READ_MISDIRECTED};
  uint8_t how = machine_take(machine), skip = machine_take(machine), high = machine_take(machine);
  uint64_t place = (uint64_t)(high << 8 | skip) * UNIT % sim_size(machine->sim);
  struct sim_fault fault = {.kind = kinds[how % sizeof kinds],
                            .offset = place,
                            .size = UNIT,
                            .skip = how / 8 % 4,
                            .times = 1,
                            .argument = place / 2 / UNIT * UNIT};
  if (fault.kind == SIM_READ_FLIP) fault.argument = place * 8 + how;
  machine->damaged = true; /* two reads of one place within one access may both be meant: an error is an answer */
  add(machine, &fault);
}

void machine_memory_fault(struct machine *machine) {
  uint8_t how = machine_take(machine);
  machine->meter.fail_at = machine->meter.calls + 1 + how % 64;
  machine->meter.for_ever = how >= 128;
  machine->no_memory = true;
}

void machine_healed(struct machine *machine) { machine_heal(machine); }

/* ---- rot ----------------------------------------------------------------------------------------------------------- */

static uint64_t place_taken(struct machine *machine) {
  uint8_t low = machine_take(machine), high = machine_take(machine);
  return (uint64_t)(high << 8 | low) % (sim_size(machine->sim) / UNIT) * UNIT;
}

void machine_keep(struct machine *machine) {
  memcpy(machine->kept, sim_content(machine->sim), (size_t)sim_size(machine->sim));
  machine->has_kept = true;
}

static void poke(struct machine *machine, uint64_t offset, const void *bytes, size_t size) {
  machine->damaged = true;
  sim_poke(machine->sim, offset, bytes, size);
}

/* One byte of what means something now, or of any. */
void machine_rot(struct machine *machine) {
  static struct image image;
  static uint8_t bytes[DEVICE_MAX];
  size_t size = (size_t)sim_size(machine->sim);
  uint64_t offset = place_taken(machine);
  uint8_t within = machine_take(machine), mask = machine_take(machine);
  memcpy(bytes, sim_content(machine->sim), size);
  image_walk(&image, bytes, size, false);
  if (image.place_count && mask & 1) {
    const struct image_place *place = &image.places[offset / UNIT % image.place_count];
    offset = place->offset + within % place->size;
  } else {
    offset += 2u * within;
  }
  uint8_t changed = (uint8_t)(sim_content(machine->sim)[offset] ^ (mask | 2));
  poke(machine, offset, &changed, 1);
}

/* A block that reads as zeros. */
void machine_rot_hidden(struct machine *machine) {
  static const uint8_t zeros[UNIT];
  poke(machine, place_taken(machine), zeros, UNIT);
}

/* A block that was written to the place of another. */
void machine_misplace(struct machine *machine) {
  uint8_t bytes[UNIT];
  uint64_t from = place_taken(machine), to = place_taken(machine);
  memcpy(bytes, sim_content(machine->sim) + from, UNIT);
  poke(machine, to, bytes, UNIT);
}

/* Blocks that are as they were when the content was last kept. */
void machine_stale(struct machine *machine) {
  uint64_t from = place_taken(machine);
  size_t count = 1 + machine_take(machine) % 16;
  if (!machine->has_kept) return;
  for (uint64_t at = from; count > 0 && at < sim_size(machine->sim); at += UNIT, count--)
    poke(machine, at, machine->kept + at, UNIT);
}

/* Checksums are right again: from now on this is an image that somebody made, and its answers mean nothing. */
void machine_repair(struct machine *machine) {
  static struct image image;
  static uint8_t bytes[DEVICE_MAX];
  if (!machine->damaged) return;
  size_t size = (size_t)sim_size(machine->sim);
  memcpy(bytes, sim_content(machine->sim), size);
  image_walk(&image, bytes, size, true);
  machine->hostile = true;
  poke(machine, 0, bytes, size);
}

/* Closed: the check finds nothing where there is nothing. */
static void hear(void *context, const struct wodan_finding *finding) {
  const struct machine *machine = context;
  if (finding->severity != WODAN_NOTE && !machine->damaged && !machine->faulty)
    FUZZ_FAIL("the check finds, where nothing was damaged: %s", finding->message);
}

void machine_check(struct machine *machine) {
  struct meter memory = {0};
  struct wodan_check_options options = {.context = machine, .finding = hear, .allocator = meter_hooks(&memory)};
  struct wodan_check_report report;
  struct wodan_error error;
  struct wodan_device *plug = sim_plug(machine->sim);
  uint64_t mutations = sim_mutations(machine->sim);
  int status = wodan_check(plug, &options, &report, &error);
  wodan_device_close(plug);
  FUZZ_CHECK(sim_mutations(machine->sim) == mutations && memory.used == 0);
  if (status < 0 && !machine->damaged && !machine->faulty) FUZZ_FAIL("the check answers %d: %s", status, error.message);
}
