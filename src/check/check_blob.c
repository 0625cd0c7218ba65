/* Owns: the large values that records name: the run's list of them, and each from its header to its last chunk.
 *
 * Always true: a blob is claimed before it is read, and looked at once, whoever else names it; one whose blocks are not its own
 * is not read; a damaged chunk hides no other.
 *
 * Order: of a run the list first, then its records against it, in their order.
 *
 * See: format/blob.h; tests/unit/test_check_findings.c, tests/corrupt/. */
#include <inttypes.h>
#include <string.h>
#include "blob/blob_read.h"
#include "check/check_private.h"
#include "codec/checksum.h"
#include "codec/compress.h"

enum { ATTEMPTS = 2 };

/* The blob being looked into. */
struct blob_check {
  struct check *check;
  const struct blob_ref *ref;
  uint64_t owner; /* generation of the run that names it: what a repair has to write anew; 0: the journal names it */
  struct object_header header;
  uint8_t *header_bytes, *table;
  size_t table_size;
};

static void blob_found(const struct blob_check *blob, uint64_t offset, const char *what) {
  const struct block_ptr *ptr = &blob->ref->ptr;
  check_found(blob->check, FOUND_BLOB_DAMAGED,
              block_io_locate(&blob->check->io, ptr->extents, ptr->extent_count, offset), blob->owner,
              "that of generation %" PRIu64 ", byte %" PRIu64 " of it: %s", ptr->generation, offset,
              what); /* no guard: whoever calls it judges */
}

static int blob_failed(const struct blob_check *blob, const struct wodan_error *failure) {
  const struct block_ptr *ptr = &blob->ref->ptr;
  return check_failed(blob->check, failure, FOUND_BLOB_DAMAGED, ptr->extents[0].first, blob->owner, NULL);
}

/* *usable: header and table are as they must be. */
static int read_table(struct blob_check *blob, struct wodan_slice key, bool *usable) {
  struct check *check = blob->check;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  uint32_t page_size = check->superblock.page_size;
  *usable = false;
  if (block_io_read_header(&check->io, &blob->ref->ptr, OBJECT_BLOB, &blob->header, &blob->header_bytes, &failure) < 0)
    return blob_failed(blob, &failure);
  const char *fault = blob_header_fault(&blob->header, blob->ref, key, page_size);
  if (fault) blob_found(blob, 0, fault); /* guard: bounds */
  if (fault) return 0;                   /* no guard: told */
  const struct section *section = &blob->header.sections[1];
  if (block_io_read_section(&check->io, &blob->ref->ptr, section, &blob->table, &failure) < 0)
    return blob_failed(blob, &failure);
  blob->table_size = (size_t)section->length;
  fault = blob_table_fault(blob->table, blob->table_size, &blob->header, page_size);
  if (fault) blob_found(blob, section->offset, fault); /* guard: bounds */
  *usable = !fault;
  return 0;
}

/* A compressed one is unpacked over itself, for two of its size would be more than a check may take. */
static int check_chunk(struct blob_check *blob, const struct blob_chunk *chunk, uint64_t offset, size_t raw) {
  struct check *check = blob->check;
  const struct block_ptr *ptr = &blob->ref->ptr;
  struct wodan_error failure = {.block = WODAN_NO_BLOCK};
  size_t room = chunk->length < raw ? compress_in_place(raw) : raw;
  int status = check_buffer_reserve(check, &check->chunk, room);
  if (status < 0) return status;
  check->packed |= chunk->length < raw;
  uint8_t *bytes = check->chunk.data, *stored = bytes + room - chunk->length;
  const char *fault = NULL;
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt) block_io_doubt(&check->io);
    status = block_io_read(&check->io, ptr->extents, ptr->extent_count, offset, stored, chunk->length, &failure);
    if (status == WODAN_ENOMEM) break;
    fault = status < 0 ? NULL : blob_chunk_take(check->io.seed, chunk, raw, stored, bytes);
    if (status == 0 && !fault) return 0;
  }
  if (status < 0) return blob_failed(blob, &failure);
  if (fault) blob_found(blob, offset, fault); /* guard: bounds */
  return 0;
}

static int check_chunks(struct blob_check *blob) {
  struct check *check = blob->check;
  struct wire_reader r = wire_reader(blob->table, blob->table_size);
  uint64_t most = (uint64_t)BLOB_CHUNK_PAGES * check->superblock.page_size, offset = blob->header.sections[0].offset;
  uint64_t before = check->large_done;
  int status = 0;
  for (uint64_t left = blob->ref->size; left && status == 0;) {
    size_t raw = (size_t)(left < most ? left : most);
    struct blob_chunk chunk;
    blob_chunk_decode(&r, raw, &chunk); /* proven with the table */
    status = check_chunk(blob, &chunk, offset, raw);
    offset += chunk.length;
    left -= raw;
    check->large_done = before + offset / check->superblock.block_size;
    if (status == 0) status = check_progress(check, check->done);
  }
  check->large_done = before;
  return status;
}

/* As what it is remembered: the blob, and whose value of how many bytes it was found to be. So who names it as another key's, or
 * as longer, is not taken for one more of those that may name it: it claims what is owned. */
static struct block_ptr identity(const struct blob_ref *ref, struct wodan_slice key) {
  struct block_ptr ptr = ref->ptr;
  ptr.checksum ^= checksum(ref->size, key.data, key.size);
  return ptr;
}

int check_blob(struct check *check, const struct blob_ref *ref, struct wodan_slice key, uint64_t owner) {
  struct blob_check blob = {.check = check, .ref = ref, .owner = owner};
  const struct block_ptr named = identity(ref, key);
  bool usable = false;
  if (check_space_shared(check, &named)) return 0; /* looked at already */
  int status = check_space_expect(check, 1);
  if (status < 0) return status;
  bool own = check_space_claim(check, &named, "large value", owner);
  if (check->previous) check_space_remember(check, &named);
  if (!own) return 0;
  if (!check->previous) check->report->blobs++;
  status = read_table(&blob, key, &usable);
  if (status == 0 && usable) status = check_chunks(&blob);
  check->large_done += block_ptr_blocks(&ref->ptr);
  mem_free(&check->mem, blob.header_bytes, ref->ptr.header_length);
  mem_free(&check->mem, blob.table, blob.table_size);
  return status;
}

/* ---- the list of a run ------------------------------------------------------------------------------------------ */

int check_list_open(struct check_list *list, struct check *check, const struct block_ptr *ptr,
                    const struct section *section, struct wodan_error *failure) {
  *list = (struct check_list){.check = check};
  if (!section) return 0;
  int status = block_io_read_section(&check->io, ptr, section, &list->bytes, failure);
  list->unread = status < 0;
  if (status < 0) return status;
  list->size = (size_t)section->length;
  list->reader = wire_reader(list->bytes, list->size);
  list->count = wire_get_varint(&list->reader);
  if (list->count == 0) list->reader.failed = true; /* guard: bounds */
  return 0;
}

void check_list_release(struct check_list *list) {
  if (list->bytes) mem_free(&list->check->mem, list->bytes, list->size);
  list->bytes = NULL;
}

bool check_list_take(struct check_list *list, const struct block_ptr *wanted) {
  struct block_ptr ptr;
  list->taken++;
  if (list->unread) return true;
  bool there = list->taken <= list->count && block_ptr_decode(&list->reader, &list->check->io.bounds, &ptr);
  if (!there) return false;             /* no guard: what its end is held against, see check_list_ended */
  return block_ptr_equal(&ptr, wanted); /* guard: bounds */
}

void check_list_pass(struct check_list *list) {
  struct block_ptr ptr;
  list->taken++;
  if (list->bytes) block_ptr_decode(&list->reader, &list->check->io.bounds, &ptr);
}

bool check_list_ended(const struct check_list *list) {
  if (!list->bytes) return list->taken == 0 || list->unread;
  return !list->reader.failed && list->taken == list->count && list->reader.at == list->reader.size; /* guard: bounds */
}
