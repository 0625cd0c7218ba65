/* What: the machine's writes, and reopening. See machine.h.
 *
 * Order: whether a commit happened is told by its sequence number, also when it failed afterwards; only then is there a new
 * state. */
#include <string.h>
#include "support/machine.h"

static uint16_t size_taken(struct machine *machine) {
  static const uint8_t sizes[] = {0, 1, 8, 20, 40, 90, 128, 200};
  uint16_t size = sizes[machine_take(machine) % sizeof sizes];
  return size;
}

/* Above what lies in pages: of one chunk, at the borders of chunks, and of some. */
static uint16_t large_size_taken(struct machine *machine) {
  static const uint16_t sizes[] = {129, 257, 600, 2048, 2049, 4097, 6000, 8192};
  return sizes[machine_take(machine) % (sizeof sizes / sizeof *sizes)];
}

static bool is_reading(const struct machine *machine) { return machine->flags & WODAN_OPEN_READ_ONLY; }

static bool has_readers(const struct machine *machine) {
  for (unsigned i = 0; i < PINS_MAX; i++)
    if (machine->pins[i].held) return true;
  for (unsigned i = 0; i < READERS_MAX; i++)
    if (machine->readers[i].reader) return true;
  for (unsigned i = 0; i < CURSORS_MAX; i++)
    if (machine->cursors[i].cursor) return true;
  for (unsigned i = 0; i < VIEWS_MAX; i++)
    if (machine->views[i].view) return true;
  return false;
}

static void acknowledged(struct machine *machine) { machine->acked = machine->now.states[0]; }

static bool lacks_room(struct machine *machine, int status) {
  if (status == WODAN_ENEEDSFLUSH) {
    FUZZ_CHECK(machine->flags & WODAN_OPEN_NO_AUTO_CHECKPOINT);
    return true;
  }
  if (status == WODAN_EPINNED) {
    FUZZ_CHECK(has_readers(machine) || machine->hostile);
    return true;
  }
  return status == WODAN_ENOSPC;
}

/* What any write may answer instead of being done. */
static bool refused(struct machine *machine, int status) {
  if (!is_reading(machine)) return lacks_room(machine, status);
  if (status != WODAN_EREADONLY && status != WODAN_ETOOBIG && !machine->hostile)
    FUZZ_FAIL("a write through a reading handle answers %d", status);
  return true;
}

/* A part of a write that is not committed yet: of a batch (half a memtable at most), or of a large value. */
static void part_answers(struct machine *machine, int status, const char *what) {
  bool refused = status == WODAN_ETOOBIG || (status == WODAN_EREADONLY && is_reading(machine));
  if (!refused && !lacks_room(machine, status)) machine_allow(machine, status, what);
}

static void committed(struct machine *machine, int status, const struct wodan_commit *commit,
                      const struct change *changes, uint32_t count) {
  if (commit->sequence == 0) {
    FUZZ_CHECK(status < 0 || count == 0 || machine->hostile);
    if (!refused(machine, status)) machine_allow(machine, status, "a commit");
    return;
  }
  machine_allow(machine, status == WODAN_ENOSPC ? 0 : status, "a durable commit"); /* the host's, or a checkpoint's */
  if (machine->hostile) return;
  if (!states_commit(&machine->states, &machine->now, changes, count)) {
    machine->over = true; /* enough; what is in the database is no state, so nothing more is read */
    machine->hostile = true;
    return;
  }
  if (status == 0 && commit->durability == WODAN_DURABLE) acknowledged(machine);
}

static void put(struct machine *machine, unsigned key, uint16_t size, bool durable) {
  uint8_t bytes[VALUE_MAX];
  uint16_t value = states_value(&machine->states, size);
  if (value == 0) {
    machine->over = true;
    return;
  }
  struct wodan_commit commit = {.durability = durable};
  int status = wodan_put(machine->db, key_at(key), states_value_bytes(&machine->states, value, bytes), &commit);
  bool too_big = size > machine->info.value_size_max || key_at(key).size > machine->info.key_size_max;
  if (too_big && !machine->hostile) {
    FUZZ_CHECK(status == WODAN_ETOOBIG && commit.sequence == 0);
    return;
  }
  struct change change = {(uint8_t)key, value};
  committed(machine, status, &commit, &change, 1);
}

void machine_put(struct machine *machine) {
  unsigned key = machine_take(machine) % KEYS;
  put(machine, key, size_taken(machine), false);
}

void machine_put_durable(struct machine *machine) {
  unsigned key = machine_take(machine) % KEYS;
  put(machine, key, size_taken(machine), true);
}

void machine_put_large(struct machine *machine) {
  uint8_t how = machine_take(machine);
  put(machine, how % KEYS, large_size_taken(machine), how >= 192);
}

/* Piece by piece, with a hint that may be wrong; sometimes given up. */
void machine_put_stream(struct machine *machine) {
  uint8_t key = machine_take(machine) % KEYS, how = machine_take(machine), bytes[VALUE_MAX];
  uint16_t size = how & 1 ? large_size_taken(machine) : size_taken(machine);
  uint16_t value = states_value(&machine->states, size);
  size_t piece = 1 + (size_t)machine_take(machine) * 16;
  struct wodan_value_writer *writer;
  struct wodan_commit commit = {.durability = how >= 192};
  if (value == 0) machine->over = true;
  if (machine->over) return;
  states_value_bytes(&machine->states, value, bytes);
  int status = wodan_value_writer_create(machine->db, key_at(key), how & 2 ? size : how / 4 * 50u, &writer);
  if (status < 0) {
    part_answers(machine, status, "a value's writer");
    return;
  }
  for (size_t at = 0; at < size && status == 0; at += piece)
    status = wodan_value_writer_append(writer, bytes + at, size - at < piece ? size - at : piece);
  if (status < 0) {
    part_answers(machine, status, "a piece of a value");
  } else if (how % 16 != 5) {
    struct change change = {key, value};
    status = wodan_value_writer_commit(writer, &commit);
    committed(machine, status, &commit, &change, 1);
  }
  wodan_value_writer_free(writer);
}

/* A few neighbours, a commit each: a tree of some depth with few bytes of input. */
void machine_fill(struct machine *machine) {
  unsigned key = machine_take(machine) % KEYS, step = 1 + machine_take(machine) % 7;
  uint16_t size = size_taken(machine);
  for (unsigned i = 0; i < 12 && !machine->over; i++) put(machine, (key + i * step) % KEYS, size, false);
}

void machine_delete(struct machine *machine) {
  unsigned key = machine_take(machine) % KEYS;
  uint8_t how = machine_take(machine);
  unsigned count = how % 8 ? 1 : 12;
  for (unsigned i = 0; i < count && !machine->over; i++) {
    struct wodan_commit commit = {.durability = how >= 192};
    struct change change = {(uint8_t)((key + i) % KEYS), 0};
    int status = wodan_delete(machine->db, key_at(change.key), &commit);
    bool usual = machine->info.node_leaves > 4 && !has_readers(machine) && !machine->io_faults && !machine->no_memory;
    if (status == WODAN_ENOSPC && usual && !machine->damaged) FUZZ_FAIL("a delete finds no space");
    committed(machine, status, &commit, &change, 1);
  }
}

/* Keys [from, until) of those there are, as changes. */
static uint32_t range_changes(unsigned from, unsigned until, struct change *changes) {
  uint32_t count = 0;
  for (unsigned key = from; key < until; key++) changes[count++] = (struct change){(uint8_t)key, 0};
  return count;
}

void machine_delete_range(struct machine *machine) {
  struct change changes[KEYS];
  uint8_t a = machine_take(machine), b = machine_take(machine);
  unsigned from = a & 128 ? a % KEYS : 0, until = b & 128 ? b % KEYS : KEYS;
  struct wodan_slice lower = key_at(from), upper = key_at(until % KEYS);
  struct wodan_commit commit = {.durability = (a & b) % 4 == 3};
  int status = wodan_delete_range(machine->db, a & 128 ? &lower : NULL, b & 128 ? &upper : NULL, &commit);
  if (status == WODAN_ETOOBIG && (lower.size > machine->info.key_size_max || upper.size > machine->info.key_size_max))
    return;
  if (a & 128 && from >= until) {
    FUZZ_CHECK(commit.sequence == 0 || machine->hostile);
    if (status < 0 && !refused(machine, status)) machine_allow(machine, status, "an empty range");
    return;
  }
  committed(machine, status, &commit, changes, range_changes(from, until, changes));
}

void machine_batch(struct machine *machine) {
  struct change changes[BATCH_MAX * (KEYS + 1)];
  struct wodan_batch *batch;
  uint8_t bytes[VALUE_MAX];
  machine->user_memory = true;
  int status = wodan_batch_create(machine->db, &batch);
  machine_allow(machine, status, "creating a batch");
  if (status < 0) return;
  uint8_t how = machine_take(machine);
  uint32_t count = 0, wanted = how % (BATCH_MAX + 1);
  for (uint32_t i = 0; i < wanted && !machine->over; i++) {
    uint8_t key = machine_take(machine), what = machine_take(machine);
    struct change change = {(uint8_t)(key % KEYS), 0};
    if (what & 1) {
      uint16_t size = what >= 232 ? (uint16_t)(what * 20) : what % 100;
      change.value = states_value(&machine->states, size);
      if (!change.value) break;
      status = wodan_batch_put(batch, key_at(change.key), states_value_bytes(&machine->states, change.value, bytes));
    } else if (what % 8 == 2) {
      struct wodan_slice from = key_at(change.key), to = key_at(what % KEYS);
      status = wodan_batch_delete_range(batch, &from, &to);
      if (status == 0) count += range_changes(change.key, what % KEYS, changes + count);
      change.key = KEYS;
    } else {
      status = wodan_batch_delete(batch, key_at(change.key));
    }
    if (status == 0 && change.key < KEYS)
      changes[count++] = change;
    else if (status == 0)
      continue;
    else
      part_answers(machine, status, "adding to a batch");
  }
  FUZZ_CHECK(wodan_batch_count(batch) <= count);
  struct wodan_commit commit = {.durability = how >= 128};
  status = wodan_batch_commit(machine->db, batch, &commit);
  wodan_batch_free(batch);
  if (count)
    committed(machine, status, &commit, changes, count);
  else if (!refused(machine, status))
    machine_allow(machine, status, "an empty batch");
}

void machine_sync(struct machine *machine) {
  int status = wodan_sync(machine->db);
  if (status == 0 && !is_reading(machine)) acknowledged(machine);
  if (status < 0 && !refused(machine, status)) machine_allow(machine, status, "sync");
}

void machine_checkpoint(struct machine *machine) {
  uint64_t generation = 0, again = 0;
  int status = wodan_checkpoint(machine->db, &generation);
  if (status < 0) {
    if (!refused(machine, status)) machine_allow(machine, status, "checkpoint");
    return;
  }
  if (is_reading(machine)) return;
  acknowledged(machine);
  status = wodan_checkpoint(machine->db, &again);
  if (status == 0 && !machine->hostile) FUZZ_CHECK(again >= generation);
  if (status < 0 && !refused(machine, status)) machine_allow(machine, status, "a second checkpoint");
}

void machine_compact(struct machine *machine) {
  uint8_t from = machine_take(machine), until = machine_take(machine), budget = machine_take(machine);
  struct wodan_slice lower = key_at(from % KEYS), upper = key_at(until % KEYS);
  uint32_t more = 0;
  int status =
      wodan_compact(machine->db, from & 128 ? &lower : NULL, until & 128 ? &upper : NULL, 512u * budget, &more);
  if (status < 0 && !refused(machine, status)) machine_allow(machine, status, "compact");
}

/* No failed discard is a reason to fail. */
void machine_trim(struct machine *machine) {
  uint8_t how = machine_take(machine);
  struct wodan_trim_options options = {.flags = how % 4u, .minimum = how / 4 % 8 * 300u, .maximum = how / 32 * 700u};
  struct wodan_trim_report report = {.size = sizeof report};
  int status = wodan_trim(machine->db, &options, &report);
  if (status < 0 && !refused(machine, status)) machine_allow(machine, status, "trim");
}

static void reopen(struct machine *machine, uint32_t flags) {
  if (has_readers(machine)) FUZZ_CHECK(wodan_close(machine->db, NULL) == WODAN_EBUSY);
  machine_close_readers(machine);
  struct wodan_error error;
  bool reading = is_reading(machine);
  int status = wodan_close(machine->db, &error);
  machine->db = NULL;
  if (machine->meter.used) FUZZ_FAIL("%zu bytes were not given back", machine->meter.used);
  if (!machine->user_memory) FUZZ_CHECK(machine->meter.peak <= (512 << 10) + 2 * sim_size(machine->sim));
  if (status != WODAN_ENOSPC)
    machine_allow(machine, status, "close"); /* a full volume may lack the last checkpoint's room */
  if (status == 0 && !reading && !machine->damaged) acknowledged(machine);
  machine_forget(machine);
  machine_open(machine, flags);
}

void machine_reopen(struct machine *machine) { reopen(machine, machine->flags & WODAN_OPEN_NO_AUTO_CHECKPOINT); }
void machine_reopen_reading(struct machine *machine) { reopen(machine, WODAN_OPEN_READ_ONLY); }

void machine_statistics(struct machine *machine) {
  struct wodan_stats stats = {.size = sizeof stats};
  FUZZ_CHECK(wodan_stats(machine->db, &stats) == 0);
  FUZZ_CHECK(stats.space_live + stats.space_deferred + stats.space_free <= stats.space_total || machine->hostile);
  FUZZ_CHECK(stats.memory_used <= stats.memory_budget);
  FUZZ_CHECK(wodan_put(machine->db, (struct wodan_slice){NULL, 0}, key_at(0), NULL) < 0);
}
