/* Owns: the handles of the large values that records name: a table by first block, each with its references.
 *
 * Always true: no two handles start with the same block; a handle tells all of its pointer, so that a record with another
 * one is not taken for it; the extents of each handle are used in the space until its last reference goes.
 *
 * Order: a handle leaves the table before its extents are given back, so that a new blob there finds its place empty.
 *
 * See: DESIGN.md "Large values", tests/unit/test_blob.c. */
#include "blob/blobs.h"

#include <assert.h>
#include <string.h>
#include "base/thread.h"

enum { BUCKETS_MIN = 64 };

struct blob {
  struct blob *next; /* in its bucket */
  uint64_t references;
  uint64_t generation, checksum, length;
  uint32_t header_length;
  uint8_t extent_count;
  value_slot value;
  bool named; /* a record named it: a root or the journal may */
  struct extent extents[];
};

struct blobs {
  struct mem *mem, *handles;
  struct space *space;
  struct values *values;
  struct lock lock;
  struct blob **buckets; /* bucket_count of them, a power of two; NULL before the first blob */
  uint64_t bucket_count, count, blocks, ever;
};

uint64_t blob_memory(uint32_t extents) {
  return sizeof(struct blob) + extents * sizeof(struct extent) + 2 * sizeof(struct blob *);
}

static size_t handle_size(uint32_t extents) { return sizeof(struct blob) + extents * sizeof(struct extent); }

struct blobs *blobs_create(const struct blobs_setup *setup) {
  struct blobs *blobs = mem_zalloc(setup->mem, sizeof *blobs);
  if (!blobs) return NULL;
  blobs->mem = setup->mem;
  blobs->handles = setup->handles;
  blobs->space = setup->space;
  blobs->values = setup->values;
  if (lock_init(&blobs->lock) == 0) return blobs;
  mem_free(setup->mem, blobs, sizeof *blobs);
  return NULL;
}

void blobs_free(struct blobs *blobs) {
  if (!blobs) return;
  assert(blobs->count == 0);
  lock_release(&blobs->lock);
  mem_array_free(blobs->handles, blobs->buckets, blobs->bucket_count, sizeof *blobs->buckets);
  mem_free(blobs->mem, blobs, sizeof *blobs);
}

/* ---- the table; caller holds the lock -------------------------------------------------------------------------- */

static struct blob **bucket(const struct blobs *blobs, uint64_t first) {
  return &blobs->buckets[first * UINT64_C(0x9E3779B97F4A7C15) >> 20 & (blobs->bucket_count - 1)];
}

/* The handle that starts with this block, or NULL. */
static struct blob *find(const struct blobs *blobs, uint64_t first) {
  if (!blobs->buckets) return NULL;
  struct blob *blob = *bucket(blobs, first);
  while (blob && blob->extents[0].first != first) blob = blob->next;
  return blob;
}

static bool same(const struct blob *blob, const struct block_ptr *ptr) {
  if (blob->generation != ptr->generation || blob->checksum != ptr->checksum || blob->length != ptr->length ||
      blob->header_length != ptr->header_length || blob->extent_count != ptr->extent_count)
    return false; /* no guard: two proven ones are compared */
  return memcmp(blob->extents, ptr->extents, ptr->extent_count * sizeof *ptr->extents) == 0;
}

/* About one blob a bucket: twice as many, before there are more blobs than that. A table that cannot grow stays. */
static bool make_buckets(struct blobs *blobs) {
  if (blobs->count < blobs->bucket_count) return true;
  uint64_t more = blobs->bucket_count ? blobs->bucket_count * 2 : BUCKETS_MIN, old = blobs->bucket_count;
  struct blob **buckets = mem_array(blobs->handles, more, sizeof *buckets), **from = blobs->buckets;
  if (!buckets) return from != NULL;
  memset(buckets, 0, (size_t)more * sizeof *buckets); /* mem_array has proven that it fits */
  blobs->buckets = buckets;
  blobs->bucket_count = more;
  for (uint64_t i = 0; i < old; i++) {
    for (struct blob *blob = from[i], *next; blob; blob = next) {
      struct blob **to = bucket(blobs, blob->extents[0].first);
      next = blob->next;
      blob->next = *to;
      *to = blob;
    }
  }
  mem_array_free(blobs->handles, from, old, sizeof *from);
  return true;
}

static struct blob *insert(struct blobs *blobs, const struct block_ptr *ptr) {
  struct blob *blob = make_buckets(blobs) ? mem_zalloc(blobs->handles, handle_size(ptr->extent_count)) : NULL;
  if (!blob) return NULL;
  blob->references = 1;
  blob->generation = ptr->generation;
  blob->checksum = ptr->checksum;
  blob->length = ptr->length;
  blob->header_length = ptr->header_length;
  blob->extent_count = (uint8_t)ptr->extent_count;
  memcpy(blob->extents, ptr->extents, ptr->extent_count * sizeof *ptr->extents);
  struct blob **to = bucket(blobs, ptr->extents[0].first);
  blob->next = *to;
  *to = blob;
  blobs->count++;
  blobs->ever++;
  blobs->blocks += block_ptr_blocks(ptr);
  return blob;
}

static void take_out(struct blobs *blobs, struct blob *blob) {
  struct blob **at = bucket(blobs, blob->extents[0].first);
  while (*at != blob) at = &(*at)->next;
  *at = blob->next;
  blobs->count--;
  for (uint32_t e = 0; e < blob->extent_count; e++) blobs->blocks -= blob->extents[e].count;
}

static void drop(struct blobs *blobs, struct blob *blob) {
  assert(blob->references > 0);
  if (--blob->references > 0) return;
  take_out(blobs, blob);
  if (blobs->values) values_drop(blobs->values, &blob->value);
  if (blob->named)
    space_defer(blobs->space, blob->extents, blob->extent_count, 0); /* always deferred: the ring may name it */
  else
    space_release(blobs->space, blob->extents, blob->extent_count);
  mem_free(blobs->handles, blob, handle_size(blob->extent_count));
}

/* ---- for others ------------------------------------------------------------------------------------------------ */

int blobs_claim(struct blobs *blobs, const struct block_ptr *ptr, struct blob **out, struct wodan_error *error) {
  int status = 0;
  lock_acquire(&blobs->lock);
  struct blob *blob = find(blobs, ptr->extents[0].first);
  if (blob && !same(blob, ptr))
    status = status_corrupt(error, ptr->extents[0].first, "two large values start in one block"); /* guard: bounds */
  else if (!blob)
    status = space_claim(blobs->space, ptr->extents, ptr->extent_count, error);
  if (status == 0 && blob)
    blob->references++;
  else if (status == 0 && !(blob = insert(blobs, ptr)))
    status = status_nomem(error);
  if (status == 0) blob->named = true;
  lock_leave(&blobs->lock);
  *out = status == 0 ? blob : NULL;
  return status;
}

int blobs_add(struct blobs *blobs, const struct block_ptr *ptr, struct wodan_error *error) {
  lock_acquire(&blobs->lock);
  assert(!find(blobs, ptr->extents[0].first)); /* the space gives no block twice */
  struct blob *blob = insert(blobs, ptr);
  lock_leave(&blobs->lock);
  return blob ? 0 : status_nomem(error);
}

static struct blob *take(struct blobs *blobs, const struct block_ptr *ptr, bool name) {
  lock_acquire(&blobs->lock);
  struct blob *blob = find(blobs, ptr->extents[0].first);
  if (blob && !same(blob, ptr)) blob = NULL; /* guard: bounds */
  if (blob) blob->references++;
  if (blob && name) blob->named = true;
  lock_leave(&blobs->lock);
  return blob;
}

struct blob *blobs_name(struct blobs *blobs, const struct block_ptr *ptr) {
  return take(blobs, ptr, true);
}
struct blob *blobs_hold(struct blobs *blobs, const struct block_ptr *ptr) {
  return take(blobs, ptr, false);
}

void blob_pointer(const struct blob *blob, struct block_ptr *ptr) {
  *ptr = (struct block_ptr){.generation = blob->generation,
                            .checksum = blob->checksum,
                            .length = blob->length,
                            .header_length = blob->header_length,
                            .extent_count = blob->extent_count};
  memcpy(ptr->extents, blob->extents, blob->extent_count * sizeof *blob->extents);
}

value_slot *blob_values(struct blob *blob) { return &blob->value; }

void blobs_drop(struct blobs *blobs, struct blob *blob) {
  lock_acquire(&blobs->lock);
  drop(blobs, blob);
  lock_leave(&blobs->lock);
}

void blobs_drop_named(struct blobs *blobs, const struct block_ptr *ptr) {
  lock_acquire(&blobs->lock);
  struct blob *blob = find(blobs, ptr->extents[0].first);
  assert(blob && same(blob, ptr));
  if (blob) drop(blobs, blob);
  lock_leave(&blobs->lock);
}

struct blobs_counts blobs_counts(struct blobs *blobs) {
  lock_acquire(&blobs->lock);
  struct blobs_counts counts = {.count = blobs->count, .blocks = blobs->blocks};
  lock_leave(&blobs->lock);
  return counts;
}

uint64_t blobs_ever(struct blobs *blobs) {
  lock_acquire(&blobs->lock);
  uint64_t ever = blobs->ever;
  lock_leave(&blobs->lock);
  return ever;
}
