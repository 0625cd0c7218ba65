/* Owns: large values on their way in and out: room for them, writing them before they are committed, reading slices.
 *
 * Always true: a blob is on the device, and held once in db->blobs, before an operation that names it is committed; it is read
 * only while somebody holds it.
 *
 * Order: room, chunks, header; then the commit, which orders them before the record (write_path.c, checkpoint.c). No lock is
 * held while a value is written.
 *
 * See: format/blob.h, DESIGN.md "Large values", tests/unit/test_large.c. */
#include <assert.h>
#include <string.h>
#include "engine/engine.h"

uint64_t engine_value_max(const struct wodan_db *db) {
  const struct superblock *sb = &db->superblock;
  return sb->incompat & FEATURE_BLOBS ? blob_value_max(sb->page_size) : engine_value_inline(db);
}

/* ---- in -------------------------------------------------------------------------------------------------------- */

/* A failed write is final for the handle. A lack of space or memory is not. */
static int large_failure(struct wodan_db *db, int status, const struct wodan_error *error) {
  return atomic_load(&db->device.unsure) ? engine_fail(db, status, error) : status;
}

static int wait_for_room(struct wodan_db *db, uint64_t size, struct wodan_error *error) {
  uint64_t block = db->io.bounds.block_size, blocks = size / block + 2;
  lock_acquire(&db->write);
  int status = engine_writable(db, error);
  if (status == 0) status = engine_room_for_blob(db, blocks, error);
  lock_leave(&db->write);
  return status;
}

int engine_large_begin(struct wodan_db *db, struct blob_writer *writer, struct wodan_slice key, uint64_t size,
                       bool grows, struct wodan_error *error) {
  uint32_t page_size = db->superblock.page_size;
  struct blob_write_options options = {.key = key,
                                       .size = size ? size : 1,
                                       .grows = grows,
                                       .spare = engine_spare_for_writes(db),
                                       .compress = db->compression,
                                       .page_size = page_size,
                                       .chunk_size = db->env.chunk_size,
                                       .epoch = db->env.epoch};
  int status = wait_for_room(db, blob_size_bound(&db->io, key.size, options.size, page_size), error);
  if (status == 0) status = blob_writer_init(writer, &db->io, db->space, &options, error);
  return status;
}

int engine_large_append(struct wodan_db *db, struct blob_writer *writer, const void *bytes, size_t size,
                        struct wodan_error *error) {
  int status = engine_writable(db, error);
  if (status < 0) return status;
  atomic_store(&db->wrote, true);
  status = blob_writer_append(writer, bytes, size, error);
  return status < 0 ? large_failure(db, status, error) : 0;
}

/* The reference, which has to fit where any value does: many extents of large numbers may not in the smallest pages. */
static int refer(struct wodan_db *db, const struct blob_ref *ref, uint8_t *out, size_t *size,
                 struct wodan_error *error) {
  *size = blob_ref_encode(ref, out, engine_value_inline(db));
  if (*size == 0)
    return status_set(error, WODAN_ENOSPC, 0, WODAN_NO_BLOCK,
                      "free space is in too many holes for a value of %llu bytes", (unsigned long long)ref->size);
  return blobs_add(db->blobs, &ref->ptr, error);
}

int engine_large_finish(struct wodan_db *db, struct blob_writer *writer, uint8_t *out, size_t *size,
                        struct wodan_error *error) {
  struct blob_ref ref;
  int status = engine_writable(db, error);
  if (status == 0) {
    atomic_store(&db->wrote, true);
    status = blob_writer_finish(writer, ++db->generation, &ref, error);
    if (status < 0) status = large_failure(db, status, error);
    if (status == 0) {
      status = refer(db, &ref, out, size, error);
      if (status < 0) space_release(db->space, ref.ptr.extents, ref.ptr.extent_count);
    }
  }
  blob_writer_release(writer);
  return status;
}

void engine_large_drop(struct wodan_db *db, struct wodan_slice reference) {
  struct blob_ref ref;
  bool ours = blob_ref_decode(reference.data, reference.size, &db->io.bounds, &ref);
  assert(ours); /* it was committed, or made by engine_large_finish */
  if (ours) blobs_drop_named(db->blobs, &ref.ptr);
}

int engine_large_write(struct wodan_db *db, struct wodan_slice key, struct wodan_slice value, uint8_t *out,
                       size_t *size, struct wodan_error *error) {
  enum { TURNS = 4 }; /* others may take the room that was found */
  int status = WODAN_ENOSPC;
  for (int turn = 0; turn < TURNS && status == WODAN_ENOSPC; turn++) {
    struct blob_writer writer;
    status = engine_large_begin(db, &writer, key, value.size, false, error);
    if (status < 0) return status; /* refused for good */
    status = engine_large_append(db, &writer, value.data, value.size, error);
    if (status == 0)
      status = engine_large_finish(db, &writer, out, size, error);
    else
      blob_writer_release(&writer);
    if (engine_failed(db)) break;
  }
  return status;
}

/* ---- out ------------------------------------------------------------------------------------------------------- */

int engine_large_hold(struct wodan_db *db, struct wodan_slice reference, struct engine_value *value,
                      struct wodan_error *error) {
  struct blob_ref ref;
  *value = (struct engine_value){0};
  if (!blob_ref_decode(reference.data, reference.size, &db->io.bounds, &ref) ||
      ref.size > blob_value_max(db->superblock.page_size))
    return status_corrupt(error, WODAN_NO_BLOCK,
                          "a record's reference to a large value is malformed"); /* guard: bounds */
  value->blob = blobs_hold(db->blobs, &ref.ptr);
  value->size = ref.size;
  if (!value->blob)
    return status_corrupt(error, ref.ptr.extents[0].first,
                          "a record names a large value that its run does not list"); /* guard: bounds */
  return 0;
}

static struct blob_source source_of(struct wodan_db *db, struct wodan_slice key) {
  return (struct blob_source){
      .io = &db->io, .mem = &db->readers_mem, .page_size = db->superblock.page_size, .key = key};
}

static struct blob_ref ref_of(const struct engine_value *value) {
  struct blob_ref ref = {.size = value->size};
  blob_pointer(value->blob, &ref.ptr);
  return ref;
}

int engine_large_open(struct wodan_db *db, struct wodan_slice key, const struct engine_value *value,
                      struct blob_reader *reader, struct wodan_error *error) {
  struct blob_source source = source_of(db, key);
  struct blob_ref ref = ref_of(value);
  return blob_reader_open(reader, &source, &ref, error);
}

/* From the device. */
static int read_part(struct wodan_db *db, struct wodan_slice key, const struct engine_value *value,
                     const struct wodan_part *part, struct wodan_error *error) {
  struct blob_reader reader;
  if (part->capacity == value->size) {
    struct blob_source source = source_of(db, key);
    struct blob_ref ref = ref_of(value);
    return blob_read_whole(&source, &ref, part->buffer, error);
  }
  int status = engine_large_open(db, key, value, &reader, error);
  if (status < 0) return status;
  status = blob_reader_read(&reader, part->offset, part->buffer, part->capacity, error);
  blob_reader_close(&reader);
  return status;
}

int engine_large_read(struct wodan_db *db, struct wodan_slice key, const struct engine_value *value,
                      const struct wodan_part *part, struct wodan_error *error) {
  struct value_buffer *kept = values_pin(db->values, blob_values(value->blob), memtable_hash(key));
  if (!kept) return read_part(db, key, value, part, error);
  memcpy(part->buffer, values_bytes(kept) + part->offset, part->capacity);
  values_unpin(db->values, kept);
  return 0;
}

int engine_large_pin(struct wodan_db *db, struct wodan_slice key, const struct engine_value *value,
                     struct value_buffer **buffer, struct wodan_error *error) {
  value_slot *slot = blob_values(value->blob);
  uint64_t name = memtable_hash(key);
  *buffer = values_pin(db->values, slot, name);
  if (*buffer) return 0;
  struct value_buffer *fresh = values_reserve(db->values, value->size);
  if (!fresh)
    return status_set(
        error, WODAN_ENOMEM, 0, WODAN_NO_BLOCK,
        "no memory for readers to hold a value of %llu bytes: read it in parts, or into memory of your own",
        (unsigned long long)value->size);
  struct wodan_part part = {.buffer = values_fill(fresh), .capacity = (size_t)value->size};
  int status = read_part(db, key, value, &part, error);
  if (status < 0)
    values_unpin(db->values, fresh);
  else
    *buffer = values_publish(db->values, slot, name, fresh);
  return status;
}
