/* Owns: cutting a stream of records into runs that fit into the holes there are.
 *
 * Always true: a piece is begun only as large as one object can be placed now, and ended before it may pass that; pieces
 * follow each other in key order and by rising generation.
 *
 * See: DESIGN.md "Space", tests/unit/test_sweep.c. */
#include "run/run_pieces.h"

void run_pieces_begin(struct run_pieces *pieces, struct run_env *env, _Atomic uint64_t *generation, uint64_t expected,
                      uint64_t spare) {
  *pieces = (struct run_pieces){.env = env, .generation = generation, .spare = spare, .left = expected ? expected : 1};
}

static uint64_t slack(const struct run_pieces *pieces) {
  return pieces->env->page_size * 3 / 2 + pieces->env->io->bounds.block_size;
}

/* Of the header, which no measure of records counts. */
static uint64_t header_bytes(const struct run_pieces *pieces) { return run_size_bound(pieces->env, 0, 0, false); }

/* Four of the largest pages are 16 blocks of 4 KiB: as many extents as an object may have, so any holes do. */
uint64_t run_pieces_least(const struct run_env *env) {
  uint64_t pages = 4ull * env->page_size, blocks = 4ull * env->io->bounds.block_size;
  return pages > blocks ? pages : blocks;
}

/* As large as what is left, or as the holes allow: down to some pages. */
static int begin_piece(struct run_pieces *pieces, struct wodan_error *error) {
  uint64_t block = pieces->env->io->bounds.block_size, least = run_pieces_least(pieces->env);
  uint64_t size = pieces->left + pieces->left / 2 + slack(pieces) + header_bytes(pieces);
  while (size / 2 >= least && !space_reaches(pieces->env->space, size / block + 1 + pieces->spare)) size /= 2;
  if (size < least) size = least;
  struct run_build_options options = {.size_max = size,
                                      .kind = SPACE_BUFFER,
                                      .spare = pieces->spare,
                                      .filter = true,
                                      .ranges = pieces->ranges.count > 0};
  pieces->piece_max = size;
  pieces->piece_records = 0;
  return run_builder_create(pieces->env, &options, &pieces->builder, error);
}

static int end_piece(struct run_pieces *pieces, struct wodan_error *error) {
  struct mem *mem = pieces->env->mem;
  struct run *run;
  struct run_builder *builder = pieces->builder;
  void *array = pieces->runs;
  bool room = mem_array_grow(mem, &array, &pieces->capacity, pieces->count + 1, sizeof(struct run *));
  pieces->runs = array;
  if (!room) return status_nomem(error);
  pieces->builder = NULL;
  int status = run_builder_finish_run(builder, ++*pieces->generation, (struct wodan_slice){0}, &run, error);
  if (status < 0) return status;
  pieces->runs[pieces->count++] = run;
  pieces->bytes += run_blocks(run) * pieces->env->io->bounds.block_size;
  pieces->left -= run_length(run) < pieces->left ? run_length(run) : pieces->left - 1;
  return 0;
}

/* An index takes less than a quarter of the pages, a filter less than two bytes a record. */
static bool full(const struct run_pieces *pieces) {
  uint64_t bytes = run_builder_bytes(pieces->builder);
  return bytes + bytes / 4 + 2 * pieces->piece_records + slack(pieces) > pieces->piece_max;
}

/* There is a piece with room. */
static int ready(struct run_pieces *pieces, struct wodan_error *error) {
  int status = 0;
  if (pieces->builder && full(pieces)) status = end_piece(pieces, error);
  return status == 0 && !pieces->builder ? begin_piece(pieces, error) : status;
}

static int put_range(struct run_pieces *pieces, struct wodan_error *error) {
  int status = ready(pieces, error);
  return status == 0 ? run_builder_add_range(pieces->builder, &pieces->ranges.at[pieces->range_at++], error) : status;
}

void run_pieces_delete(struct run_pieces *pieces, struct ranges ranges) {
  pieces->ranges = ranges;
  for (size_t i = 0; i < ranges.count; i++) pieces->left += range_size(&ranges.at[i]);
}

int run_pieces_add(struct run_pieces *pieces, const struct record *record, struct wodan_error *error) {
  if (record->kind == RECORD_DELETE && ranges_cover(pieces->ranges, record->key)) return 0;
  int status = 0;
  while (status == 0 && pieces->range_at < pieces->ranges.count &&
         key_compare(pieces->ranges.at[pieces->range_at].from, record->key) <= 0)
    status = put_range(pieces, error);
  if (status == 0) status = ready(pieces, error);
  pieces->piece_records++;
  return status == 0 ? run_builder_add(pieces->builder, record, error) : status;
}

int run_pieces_finish(struct run_pieces *pieces, struct wodan_error *error) {
  int status = 0;
  while (status == 0 && pieces->range_at < pieces->ranges.count) status = put_range(pieces, error);
  return status == 0 && pieces->builder ? end_piece(pieces, error) : status;
}

void run_pieces_reverse(struct run_pieces *pieces) {
  for (size_t i = 0; i < pieces->count / 2; i++) {
    struct run *swap = pieces->runs[i];
    pieces->runs[i] = pieces->runs[pieces->count - 1 - i];
    pieces->runs[pieces->count - 1 - i] = swap;
  }
}

void run_pieces_release(struct run_pieces *pieces, bool published) {
  run_builder_abort(pieces->builder);
  for (size_t i = 0; i < pieces->count; i++) {
    if (!published) run_mark_dead(pieces->runs[i]);
    run_unref(pieces->runs[i]);
  }
  if (pieces->env) mem_array_free(pieces->env->mem, pieces->runs, pieces->capacity, sizeof(struct run *));
  *pieces = (struct run_pieces){0};
}
