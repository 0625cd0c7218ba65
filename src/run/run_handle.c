/* Owns: run handles: their one allocation, their references, and what they tell without any I/O.
 * Always true: what run_create was given never changes; the extents lie behind the fields and the pivot behind those.
 * Order: at the last reference the extents of a dead run go to the space first, then those of blobs nobody else holds, then the body leaves the shelf (no frame
 * keeps a slot of it), then the handle is freed.
 * See: tests/unit/test_run.c, test_shelf.c. */
#include <assert.h>
#include "run/run_private.h"

enum { OVERRATED_MAX = 4 };

uint64_t run_handle_memory(uint32_t extents, size_t pivot_size) {
  return sizeof(struct run) + extents * sizeof(struct extent) + pivot_size;
}

static size_t handle_size(const struct run *run) {
  return (size_t)run_handle_memory(run->extent_count, run->pivot_size);
}

struct run *run_create(struct run_env *env, const struct block_ptr *ptr, struct wodan_slice pivot) {
  assert(env->mem == env->io->mem && env->shelf); /* what block_io allocates is freed here */
  assert(ptr->extent_count <= BLOCK_PTR_EXTENTS_MAX && pivot.size < UINT32_MAX);
  struct run *run = mem_zalloc(run_env_skeleton(env), (size_t)run_handle_memory(ptr->extent_count, pivot.size));
  if (!run) return NULL;
  atomic_init(&run->references, 1);
  run->env = env;
  run->header_length = ptr->header_length;
  run->pivot_size = (uint32_t)pivot.size;
  run->extent_count = (uint8_t)ptr->extent_count;
  run->generation = ptr->generation;
  run->checksum = ptr->checksum;
  run->length = ptr->length;
  memcpy(run->extents, ptr->extents, ptr->extent_count * sizeof *ptr->extents);
  if (pivot.size) memcpy(run->extents + ptr->extent_count, pivot.data, pivot.size);
  return run;
}

void run_ref(struct run *run) {
  uint32_t before = atomic_fetch_add_explicit(&run->references, 1, memory_order_relaxed);
  assert(before > 0 && before < UINT32_MAX);
  (void)before;
}

void run_unref(struct run *run) {
  if (!run) return;
  uint32_t before = atomic_fetch_sub_explicit(&run->references, 1, memory_order_acq_rel);
  assert(before > 0);
  if (before > 1) return;
  if (atomic_load_explicit(&run->dead, memory_order_acquire)) {
    space_defer(run->env->space, run->extents, run->extent_count, run->generation);
    if (run->env->dead_blocks) atomic_fetch_sub(run->env->dead_blocks, run_blocks(run));
  }
  run_blobs_release(run->env, &run->blobs);
  shelf_remove(run);
  range_list_free(run_env_skeleton(run->env), run->ranges);
  mem_free(run_env_skeleton(run->env), run, handle_size(run));
}

void run_mark_dead(struct run *run) {
  assert(!atomic_load_explicit(&run->dead, memory_order_relaxed));
  if (run->env->dead_blocks) atomic_fetch_add(run->env->dead_blocks, run_blocks(run));
  atomic_store_explicit(&run->dead, true, memory_order_release);
}

uint64_t run_generation(const struct run *run) { return run->generation; }
uint64_t run_length(const struct run *run) { return run->length; }
uint64_t run_payload(const struct run *run) { return run->length - run->header_length; }

uint32_t run_pointer_bytes(const struct run *run) {
  size_t bytes =
      wire_varint_size(run->generation) + 8 + wire_varint_size(run->length) + wire_varint_size(run->header_length) + 1;
  for (uint32_t e = 0; e < run->extent_count; e++)
    bytes += wire_varint_size(run->extents[e].first) + wire_varint_size(run->extents[e].count);
  return (uint32_t)bytes;
}

uint64_t run_blocks(const struct run *run) {
  uint64_t blocks = 0;
  for (uint32_t e = 0; e < run->extent_count; e++) blocks += run->extents[e].count;
  return blocks;
}

struct wodan_slice run_pivot(const struct run *run) {
  return (struct wodan_slice){.data = run->extents + run->extent_count, .size = run->pivot_size};
}

void run_pointer(const struct run *run, struct block_ptr *out) {
  *out = (struct block_ptr){.generation = run->generation,
                            .checksum = run->checksum,
                            .length = run->length,
                            .header_length = run->header_length,
                            .extent_count = run->extent_count};
  memcpy(out->extents, run->extents, run->extent_count * sizeof *run->extents);
}

void run_set_counts(struct run *run, uint64_t records, uint64_t deletes) {
  assert(deletes <= records);
  atomic_store_explicit(&run->records, records, memory_order_relaxed);
  run->deletes = deletes;
}

uint64_t run_records(const struct run *run) { return atomic_load_explicit(&run->records, memory_order_relaxed); }
uint64_t run_deletes(const struct run *run) { return run->deletes; }

uint64_t run_ranges_memory(const struct run *run) { return run->ranges ? run->ranges->size : 0; }

struct ranges run_ranges(const struct run *run) {
  return range_list_all(run->ranges);
}

void run_set_ranges(struct run *run, struct range_list *list) {
  assert(!run->ranges);
  run->ranges = list;
}

void run_set_page_bytes(struct run *run, uint64_t page_bytes) {
  uint64_t payload = run_payload(run), stretch = page_bytes < UINT64_MAX / STRETCH_ONE ? page_bytes * STRETCH_ONE : 0;
  stretch /= payload ? payload : 1;
  atomic_store_explicit(&run->stretch, (uint16_t)(stretch < UINT16_MAX ? stretch : UINT16_MAX), memory_order_relaxed);
}

uint64_t run_leaf_weight(const struct run *run) {
  uint64_t payload = run_payload(run), stretch = atomic_load_explicit(&run->stretch, memory_order_relaxed);
  return stretch > RUN_STRETCH_MAX * STRETCH_ONE ? payload * stretch / (RUN_STRETCH_MAX * STRETCH_ONE) : payload;
}

void run_set_overrated(struct run *run, uint32_t times) {
  run->overrated = (uint8_t)(times < OVERRATED_MAX ? times : OVERRATED_MAX);
}
uint32_t run_overrated(const struct run *run) { return run->overrated; }
