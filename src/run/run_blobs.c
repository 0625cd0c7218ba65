/* Owns: which large values a run's records name: the list on the device, read and proven, and the handles a run holds.
 * Always true: a run in memory holds each blob of its list once; a list has exactly as many pointers as its owner's node says,
 * each older than the run.
 * See: format/blob.h, tests/unit/test_run_lists.c, test_large.c, tests/corrupt/. */
#include <assert.h>
#include "run/run_private.h"

static bool room(struct run_env *env, struct run_blobs *blobs) {
  void *handles = blobs->handles;
  bool grown =
      mem_array_grow(run_env_skeleton(env), &handles, &blobs->capacity, blobs->count + 1, sizeof(struct blob *));
  blobs->handles = handles;
  return grown;
}

int run_blobs_add(struct run_env *env, struct run_blobs *blobs, const struct block_ptr *ptr,
                  struct wodan_error *error) {
  if (env->blobs) {
    if (!room(env, blobs)) return status_nomem(error);
    struct blob *blob = blobs_name(env->blobs, ptr);
    if (!blob)
      return status_corrupt(error, ptr->extents[0].first,
                            "a record names a large value that its run does not list"); /* guard: bounds */
    blobs->handles[blobs->count] = blob;
  }
  blobs->count++;
  return 0;
}

void run_blobs_release(struct run_env *env, struct run_blobs *blobs) {
  if (blobs->handles)
    for (size_t i = 0; i < blobs->count; i++) blobs_drop(env->blobs, blobs->handles[i]);
  mem_array_free(run_env_skeleton(env), blobs->handles, blobs->capacity, sizeof(struct blob *));
  *blobs = (struct run_blobs){0};
}

void run_set_blobs(struct run *run, struct run_blobs *blobs) {
  assert(run->blobs.count == 0);
  run->blobs = *blobs;
  *blobs = (struct run_blobs){0};
}

uint64_t run_blob_count(const struct run *run) { return run->blobs.count; }

/* ---- the list on the device ---------------------------------------------------------------------------------- */

static int corrupt(const struct block_ptr *ptr, const char *what, struct wodan_error *error) {
  return status_corrupt(error, ptr->extents[0].first, "the run of generation %llu: %s",
                        (unsigned long long)ptr->generation, what);
}

static int read_list(struct block_io *io, const struct block_ptr *ptr, uint8_t **bytes, size_t *size,
                     struct wodan_error *error) {
  struct object_header header;
  uint8_t *header_bytes = NULL;
  int status = block_io_read_header(io, ptr, OBJECT_RUN, &header, &header_bytes, error);
  if (status) return status;
  const struct section *section = object_section(&header, SECTION_BLOBS);
  if (!section)
    status = corrupt(ptr, "it has no list of the large values that its node tells of", error); /* guard: bounds */
  else
    status = block_io_read_section(io, ptr, section, bytes, error);
  if (status == 0) *size = (size_t)section->length;
  mem_free(io->mem, header_bytes, ptr->header_length);
  return status;
}

int run_read_blobs(struct block_io *io, const struct block_ptr *ptr, uint64_t count, run_each_blob *each, void *context,
                   struct wodan_error *error) {
  uint8_t *bytes = NULL;
  size_t size = 0;
  int status = read_list(io, ptr, &bytes, &size, error);
  if (status) return status;
  struct wire_reader r = wire_reader(bytes, size);
  if (wire_get_varint(&r) != count)
    status = corrupt(ptr, "its list of large values has another count than its node tells", error); /* guard: bounds */
  for (uint64_t i = 0; i < count && status == 0; i++) {
    struct block_ptr blob;
    if (!block_ptr_decode(&r, &io->bounds, &blob) || blob.generation == 0 || blob.generation >= ptr->generation)
      status = corrupt(ptr, "its list of large values is malformed", error); /* guard: bounds */
    else
      status = each(context, &blob, error);
  }
  if (status == 0 && r.at != r.size)
    status = corrupt(ptr, "its list of large values is longer than it says", error); /* guard: bounds */
  mem_free(io->mem, bytes, size);
  return status;
}

static int claim(void *context, const struct block_ptr *ptr, struct wodan_error *error) {
  struct run *run = context;
  if (!room(run->env, &run->blobs)) return status_nomem(error);
  int status = blobs_claim(run->env->blobs, ptr, &run->blobs.handles[run->blobs.count], error);
  if (status == 0) run->blobs.count++;
  return status;
}

int run_claim_blobs(struct run *run, uint64_t count, struct wodan_error *error) {
  struct block_ptr ptr;
  if (count == 0) return 0;
  if (!run->env->blobs) {
    run->blobs.count = (size_t)count;
    return 0;
  }
  run_pointer(run, &ptr);
  return run_read_blobs(run->env->io, &ptr, count, claim, run, error);
}
