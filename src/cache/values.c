/* Owns: the buffers of large values and who holds them.
 *
 * Always true:
 *  - a buffer in a slot is in the ring, and the other way round; its `slot` names that slot;
 *  - one that is in no slot has pins, and goes with the last of them;
 *  - the hand passes a buffer that was used since its last turn once, and one that is pinned always.
 *
 * Order: a buffer is filled before it is published, and both publishing and pinning take the lock, so nobody reads one that is
 * not whole.
 *
 * See: DESIGN.md "Large values", tests/unit/test_values.c. */
#include "cache/values.h"

#include <assert.h>
#include "base/thread.h"

enum { SHARE = 8 };

struct value_buffer {
  struct mem *mem; /* it came from */
  uint64_t size, name;
  value_slot *slot;                     /* NULL: in none */
  struct value_buffer *next, *previous; /* in the ring */
  uint32_t pins;
  bool referenced;
  _Alignas(16) uint8_t bytes[];
};

struct values {
  struct mem *mem, *readers;
  struct mem kept;
  struct lock lock;
  struct value_buffer *hand; /* in the ring; NULL: nothing is kept */
  uint64_t count;            /* of the ring */
  uint64_t hits, misses, evictions;
};

size_t values_memory(void) { return sizeof(struct values); }

struct values *values_create(struct mem *mem, struct mem *readers, uint64_t bytes) {
  struct values *values = mem_zalloc(mem, sizeof *values);
  if (!values) return NULL;
  values->mem = mem;
  values->readers = readers;
  mem_init_part(&values->kept, mem, bytes ? bytes : 1);
  if (lock_init(&values->lock) == 0) return values;
  mem_free(mem, values, sizeof *values);
  return NULL;
}

static void free_buffer(struct value_buffer *buffer) { mem_free(buffer->mem, buffer, sizeof *buffer + buffer->size); }

/* ---- the ring; caller holds the lock ----------------------------------------------------------------------------- */

static void enter(struct values *values, struct value_buffer *buffer) {
  struct value_buffer *hand = values->hand ? values->hand : buffer; /* in front of the hand: its turn comes last */
  if (!values->hand) buffer->previous = buffer;
  buffer->next = hand;
  buffer->previous = hand->previous;
  buffer->previous->next = buffer;
  hand->previous = buffer;
  values->hand = hand;
  values->count++;
}

static void leave(struct values *values, struct value_buffer *buffer) {
  buffer->previous->next = buffer->next;
  buffer->next->previous = buffer->previous;
  if (values->hand == buffer) values->hand = buffer->next == buffer ? NULL : buffer->next;
  *buffer->slot = NULL;
  buffer->slot = NULL;
  values->count--;
}

static bool evict(struct values *values) {
  for (uint64_t left = 2 * values->count; left; left--) {
    struct value_buffer *buffer = values->hand;
    values->hand = buffer->next;
    if (buffer->pins) continue;
    if (buffer->referenced) {
      buffer->referenced = false;
      continue;
    }
    leave(values, buffer);
    free_buffer(buffer);
    values->evictions++;
    return true;
  }
  return false;
}

/* ---- for others --------------------------------------------------------------------------------------------------- */

void values_free(struct values *values) {
  if (!values) return;
  while (values->hand) {
    struct value_buffer *buffer = values->hand;
    assert(buffer->pins == 0);
    leave(values, buffer);
    free_buffer(buffer);
  }
  lock_release(&values->lock);
  mem_free(values->mem, values, sizeof *values);
}

struct value_buffer *values_pin(struct values *values, value_slot *slot, uint64_t name) {
  lock_acquire(&values->lock);
  struct value_buffer *buffer = *slot;
  if (buffer && buffer->name != name) buffer = NULL; /* guard: bounds */
  if (buffer) {
    buffer->pins++;
    buffer->referenced = true;
    values->hits++;
  }
  lock_leave(&values->lock);
  return buffer;
}

/* Caller holds the lock. */
static void unpin(struct value_buffer *buffer) {
  assert(buffer->pins > 0);
  if (--buffer->pins == 0 && !buffer->slot) free_buffer(buffer);
}

void values_unpin(struct values *values, struct value_buffer *buffer) {
  lock_acquire(&values->lock);
  unpin(buffer);
  lock_leave(&values->lock);
}

const uint8_t *values_bytes(const struct value_buffer *buffer) { return buffer->bytes; }
uint8_t *values_fill(struct value_buffer *buffer) { return buffer->bytes; }

struct value_buffer *values_reserve(struct values *values, uint64_t size) {
  struct value_buffer *buffer = NULL;
  struct mem *mem = &values->kept;
  uint64_t taken = size <= UINT64_MAX - sizeof *buffer ? sizeof *buffer + size : UINT64_MAX;
  lock_acquire(&values->lock);
  values->misses++;
  if (taken <= mem->limit / SHARE) {
    do {
      buffer = mem_alloc(mem, taken);
    } while (!buffer && evict(values));
  }
  lock_leave(&values->lock);
  if (!buffer) {
    mem = values->readers;
    buffer = mem_alloc(mem, taken);
  }
  if (buffer) *buffer = (struct value_buffer){.mem = mem, .size = size, .pins = 1};
  return buffer;
}

struct value_buffer *values_publish(struct values *values, value_slot *slot, uint64_t name,
                                    struct value_buffer *buffer) {
  lock_acquire(&values->lock);
  if (*slot && (*slot)->name == name) {
    unpin(buffer);
    buffer = *slot;
    buffer->pins++;
  } else if (!*slot && buffer->mem == &values->kept) {
    buffer->name = name;
    buffer->slot = slot;
    *slot = buffer;
    enter(values, buffer);
  }
  lock_leave(&values->lock);
  return buffer;
}

void values_drop(struct values *values, value_slot *slot) {
  lock_acquire(&values->lock);
  struct value_buffer *buffer = *slot;
  if (buffer) {
    leave(values, buffer);
    if (buffer->pins == 0) free_buffer(buffer);
  }
  lock_leave(&values->lock);
}

struct values_counts values_counts(struct values *values) {
  lock_acquire(&values->lock);
  struct values_counts counts = {
      .hits = values->hits, .misses = values->misses, .evictions = values->evictions, .bytes = mem_used(&values->kept)};
  lock_leave(&values->lock);
  return counts;
}
