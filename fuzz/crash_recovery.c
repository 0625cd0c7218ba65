/* What: power cuts. The input chooses the work, when the power goes, and what becomes of every sector in flight: old, new,
 * zero, garbage or unreadable; then what is done with what came back, and the next cut.
 *
 * See: support/machine.h. */
#include "support/machine.h"

const size_t fuzz_size_max = 400;

static const struct machine_entry entries[] = {
    MACHINE(put),          MACHINE(put_durable),    MACHINE(put_durable),
    MACHINE(fill),         MACHINE(delete),         MACHINE(batch),
    MACHINE(sync),         MACHINE(checkpoint),     MACHINE(compact),
    MACHINE(reopen),       MACHINE(power_cut_soon), MACHINE(power_cut_soon),
    MACHINE(power_cut),    MACHINE(kill),           MACHINE(get),
    MACHINE(io_fault),     MACHINE(check),          MACHINE(fill),
    MACHINE(delete_range), MACHINE(trim),           MACHINE(put_large),
    MACHINE(put_large),    MACHINE(put_stream),     MACHINE(get_part),
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  machine_run(&(struct machine_table){entries, sizeof entries / sizeof entries[0]}, data, size);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  (void)seed; /* the input holds no checksum */
  return LLVMFuzzerMutate(data, size, size_max);
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) { return machine_seed(number, out, size_max); }
