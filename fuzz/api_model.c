/* What: the public API against a model: every operation in any order, on volumes so small that they fill, with views,
 * cursors, pinned values, readers of values and batches open meanwhile, and with I/O and memory that fail.
 *
 * See: support/machine.h. */
#include "support/machine.h"

const size_t fuzz_size_max =
    96; /* some forty operations: many short histories find more than few long ones, which others have */

static const struct machine_entry entries[] = {
    MACHINE(put),          MACHINE(put),          MACHINE(put_durable),  MACHINE(fill),         MACHINE(fill),
    MACHINE(delete),       MACHINE(batch),        MACHINE(batch),        MACHINE(sync),         MACHINE(checkpoint),
    MACHINE(compact),      MACHINE(reopen),       MACHINE(get),          MACHINE(get),          MACHINE(get_all),
    MACHINE(view_open),    MACHINE(view_close),   MACHINE(cursor_open),  MACHINE(cursor_close), MACHINE(cursor_move),
    MACHINE(cursor_move),  MACHINE(cursor_walk),  MACHINE(cursor_walk),  MACHINE(pin),          MACHINE(unpin),
    MACHINE(statistics),   MACHINE(io_fault),     MACHINE(healed),       MACHINE(memory_fault), MACHINE(reopen_reading),
    MACHINE(check),        MACHINE(delete_range), MACHINE(delete_range), MACHINE(trim),         MACHINE(put_large),
    MACHINE(put_large),    MACHINE(put_stream),   MACHINE(get_part),     MACHINE(reader_open),  MACHINE(reader_read),
    MACHINE(reader_close),
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
