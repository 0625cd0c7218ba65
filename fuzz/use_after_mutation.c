/* What: a volume whose bytes change behind its back, while it is open and while it is not: rot, lost, stale and misplaced
 * blocks. Demanded: what it answers is true of some moment of its past, or an error. Where the checksums were repaired as
 * well it may answer anything, but it ends, gives back its memory, and does not crash.
 *
 * See: support/machine.h. */
#include "support/machine.h"

const size_t fuzz_size_max = 400;

static const struct machine_entry entries[] = {
    MACHINE(put),         MACHINE(put_durable),  MACHINE(fill),        MACHINE(fill),           MACHINE(delete),
    MACHINE(batch),       MACHINE(sync),         MACHINE(checkpoint),  MACHINE(compact),        MACHINE(reopen),
    MACHINE(kill),        MACHINE(get),          MACHINE(get_all),     MACHINE(cursor_open),    MACHINE(cursor_move),
    MACHINE(cursor_walk), MACHINE(cursor_close), MACHINE(view_open),   MACHINE(view_close),     MACHINE(keep),
    MACHINE(rot),         MACHINE(rot),          MACHINE(rot_hidden),  MACHINE(misplace),       MACHINE(stale),
    MACHINE(read_fault),  MACHINE(repair),       MACHINE(power_cut),   MACHINE(power_cut_soon), MACHINE(reopen_reading),
    MACHINE(check),       MACHINE(delete_range), MACHINE(trim),        MACHINE(put_large),      MACHINE(put_large),
    MACHINE(get_part),    MACHINE(reader_open),  MACHINE(reader_read),
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  machine_run(&(struct machine_table){entries, sizeof entries / sizeof entries[0]}, data, size);
  return 0;
}

/* The machine repairs the checksums, when the input asks for it. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  (void)seed;
  return LLVMFuzzerMutate(data, size, size_max);
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) { return machine_seed(number, out, size_max); }
