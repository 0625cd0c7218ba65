/* Owns: include/wodan/value.h: parts and streams of values. Always true: a reader holds what it reads; a writer holds nothing
 * that a crash or its end would leave behind. See: tests/unit/test_large.c. */
#include "api/api.h"

int wodan_get_part(struct wodan_db *db, struct wodan_view *view, struct wodan_slice key, struct wodan_part *part) {
  struct wodan_error error;
  struct api_found found;
  if (!db || !part || (part->capacity && !part->buffer)) return api_missing(db, "the buffer");
  api_error_begin(&error);
  part->size = 0;
  part->value_size = 0;
  int status = api_lookup(db, view, key, &found, &error);
  if (status < 0) return api_result(db, status, &error);
  struct wodan_part inside = api_part_inside(part, found.value.size);
  status = api_copy_value(db, found.key, &found.value, &inside, &error);
  if (status == 0) api_part_done(part, &inside);
  engine_value_release(db, &found.value);
  return api_result(db, status, &error);
}

/* ---- reader ----------------------------------------------------------------------------------------------------- */

struct wodan_value_reader {
  struct wodan_db *db;
  struct engine_value value;
  struct blob_reader large; /* of a large one */
  uint64_t at;
};

int wodan_value_reader_open(struct wodan_db *db, struct wodan_view *view, struct wodan_slice key,
                            struct wodan_value_reader **out, uint64_t *size) {
  struct wodan_error error;
  struct api_found found;
  if (!db || !out) return api_missing(db, "the place for the reader");
  api_error_begin(&error);
  *out = NULL;
  int status = api_lookup(db, view, key, &found, &error);
  if (status < 0) return api_result(db, status, &error);
  struct wodan_value_reader *reader = mem_zalloc(&db->readers_mem, sizeof *reader);
  status = reader ? 0 : status_nomem(&error);
  if (status == 0 && !found.value.bytes)
    status = engine_large_open(db, found.key, &found.value, &reader->large, &error);
  if (status < 0) {
    mem_free(&db->readers_mem, reader, sizeof *reader);
    engine_value_release(db, &found.value);
    return api_result(db, status, &error);
  }
  reader->db = db;
  reader->value = found.value;
  striped_add(&db->reading, READ_PINS, 1);
  *out = reader;
  if (size) *size = found.value.size;
  return 0;
}

int wodan_value_reader_read(struct wodan_value_reader *reader, void *buffer, size_t capacity, size_t *size) {
  struct wodan_error error;
  if (!reader || !size || (capacity && !buffer)) return api_missing(reader ? reader->db : NULL, "the buffer");
  api_error_begin(&error);
  uint64_t left = reader->value.size - reader->at;
  size_t n = left < capacity ? (size_t)left : capacity;
  int status = 0;
  *size = 0;
  if (n && reader->value.bytes)
    memcpy(buffer, (const uint8_t *)reader->value.bytes + reader->at, n);
  else if (n)
    status = blob_reader_read(&reader->large, reader->at, buffer, n, &error);
  if (status < 0) return api_result(reader->db, status, &error);
  striped_add(&reader->db->reading, READ_BYTES, n);
  reader->at += n;
  *size = n;
  return 0;
}

void wodan_value_reader_seek(struct wodan_value_reader *reader, uint64_t offset) {
  if (reader) reader->at = offset < reader->value.size ? offset : reader->value.size;
}

void wodan_value_reader_close(struct wodan_value_reader *reader) {
  if (!reader) return;
  struct wodan_db *db = reader->db;
  blob_reader_close(&reader->large);
  engine_value_release(db, &reader->value);
  mem_free(&db->readers_mem, reader, sizeof *reader);
  engine_unpin(db);
}

/* ---- writer ----------------------------------------------------------------------------------------------------- */

struct wodan_value_writer {
  struct wodan_db *db;
  struct api_key buffer;
  struct wodan_slice key; /* tree key, in buffer */
  uint64_t hint, size;
  struct blob_writer large; /* once there is more than a value in place may have */
  bool is_large, over;      /* over: committed, or failed */
  uint8_t head[16384 / 4];  /* a value in place */
};

int wodan_value_writer_create(struct wodan_db *db, struct wodan_slice key, uint64_t size_hint,
                              struct wodan_value_writer **out) {
  struct wodan_error error;
  if (!db || !out) return api_missing(db, "the place for the writer");
  api_error_begin(&error);
  *out = NULL;
  struct wodan_value_writer *writer = mem_zalloc(&db->mem, sizeof *writer);
  if (!writer) return api_result(db, status_nomem(&error), &error);
  int status = api_key(db, key, &writer->buffer, &writer->key, &error);
  if (status == 0) status = engine_writable(db, &error);
  if (status == 0 && size_hint > engine_value_max(db))
    status = status_set(&error, WODAN_ETOOBIG, 0, WODAN_NO_BLOCK, "a value of %llu bytes is too big, %llu are allowed",
                        (unsigned long long)size_hint, (unsigned long long)engine_value_max(db));
  if (status < 0) {
    mem_free(&db->mem, writer, sizeof *writer);
    return api_result(db, status, &error);
  }
  writer->db = db;
  writer->hint = size_hint;
  count(&db->batches, 1);
  *out = writer;
  return 0;
}

/* It became a large one: what is at hand goes first. */
static int become_large(struct wodan_value_writer *writer, uint64_t size, struct wodan_error *error) {
  uint64_t expected = writer->hint > size ? writer->hint : size;
  if (expected > engine_value_max(writer->db))
    return status_set(error, WODAN_ETOOBIG, 0, WODAN_NO_BLOCK, "a value of more than %llu bytes is too big",
                      (unsigned long long)engine_value_max(writer->db));
  int status = engine_large_begin(writer->db, &writer->large, writer->key, expected, true, error);
  if (status < 0) return status;
  writer->is_large = true;
  return engine_large_append(writer->db, &writer->large, writer->head, (size_t)writer->size, error);
}

int wodan_value_writer_append(struct wodan_value_writer *writer, const void *bytes, size_t size) {
  struct wodan_error error;
  if (!writer || (size && !bytes)) return api_missing(writer ? writer->db : NULL, "the bytes");
  struct wodan_db *db = writer->db;
  api_error_begin(&error);
  int status = 0;
  if (writer->over)
    status = status_set(&error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "the value was committed, or could not be written");
  else if (!writer->is_large && writer->size + size > engine_value_inline(db))
    status = become_large(writer, writer->size + size, &error);
  if (status == 0 && writer->is_large) status = engine_large_append(db, &writer->large, bytes, size, &error);
  if (status == 0 && !writer->is_large && size) memcpy(writer->head + writer->size, bytes, size);
  if (status < 0) writer->over = true;
  writer->size += size;
  return api_result(db, status, &error);
}

int wodan_value_writer_commit(struct wodan_value_writer *writer, struct wodan_commit *commit) {
  struct wodan_error error;
  uint8_t reference[sizeof writer->head];
  if (!writer) return WODAN_EINVAL;
  struct wodan_db *db = writer->db;
  api_error_begin(&error);
  int status = api_commit_begin(commit, &error);
  if (status < 0) return api_result(db, status, &error);
  if (writer->over)
    return api_result(
        db, status_set(&error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "the value was committed, or could not be written"),
        &error);
  struct record record = {.kind = RECORD_PUT, .key = writer->key, .value = {writer->head, (size_t)writer->size}};
  writer->over = true;
  if (writer->is_large) {
    record.kind = RECORD_BLOB;
    record.value.data = reference;
    status = engine_large_finish(db, &writer->large, reference, &record.value.size, &error);
    if (status < 0) return api_result(db, status, &error);
  }
  status = api_commit_one(db, &record, writer->key.size - TABLE_ID_SIZE + writer->size, commit, &error);
  if (writer->is_large) engine_large_drop(db, record.value);
  return api_result(db, status, &error);
}

void wodan_value_writer_free(struct wodan_value_writer *writer) {
  if (!writer) return;
  struct wodan_db *db = writer->db;
  blob_writer_release(&writer->large);
  mem_free(&db->mem, writer, sizeof *writer);
  atomic_fetch_sub(&db->batches, 1);
}
