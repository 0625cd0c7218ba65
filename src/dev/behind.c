/* Owns: the queue of writes that a thread hands to the device, and their memory: one ring, lent out and used up in order.
 *
 * Always true:
 *  - entries [tail, head) are in use; their memory lies in the ring one behind the other, in this order;
 *  - an entry's bytes are the lender's while it is lent, the thread's while it is queued;
 *  - the thread writes from the tail on, so what is queued comes to the device in the order in which it was lent;
 *  - after a failure the tail stands still: what was not written stays known, and is never taken for written.
 *
 * Order: an entry leaves the queue when its transfer has returned, so whoever waited for it finds it on the device.
 *
 * See: dev/behind.h, tests/unit/test_behind.c. */
#include "dev/behind.h"

#include <assert.h>
#include "base/thread.h"

enum { ENTRIES = 64, ALIGNMENT = 4096, TOGETHER = 16, TOGETHER_BYTES = 1 << 20, SHARE = 4 };

enum entry_state { ENTRY_LENT, ENTRY_QUEUED, ENTRY_UNUSED };

struct entry {
  enum entry_state state;
  size_t at, room; /* in the ring */
  uint64_t offset; /* on the device */
  size_t size;     /* to be written */
};

struct behind {
  struct mem *mem;
  struct device *device;
  uint8_t *ring;
  size_t capacity;
  struct entry entries[ENTRIES];
  uint64_t head, tail;
  _Atomic bool busy; /* head != tail */
  struct lock lock;
  struct condition queued; /* there is something to be written, or it has to stop */
  struct condition done;   /* the tail moved, or there was a failure */
  struct thread thread;
  bool runs, stopping;
  int failed;
  struct wodan_error failure;
};

static struct entry *entry(struct behind *behind, uint64_t i) { return &behind->entries[i % ENTRIES]; }

uint64_t behind_memory(uint64_t bytes) { return sizeof(struct behind) + bytes; }

struct behind *behind_create(struct mem *mem, struct device *device, uint64_t bytes) {
  struct behind *behind = mem_zalloc(mem, sizeof *behind);
  if (!behind) return NULL;
  behind->mem = mem;
  behind->device = device;
  behind->ring = mem_alloc_aligned(mem, bytes / ALIGNMENT * ALIGNMENT, ALIGNMENT);
  if (behind->ring) behind->capacity = (size_t)(bytes / ALIGNMENT * ALIGNMENT); /* was granted, so it fits */
  bool ready = behind->ring && lock_init(&behind->lock) == 0;
  if (ready && condition_init(&behind->queued) == 0) {
    if (condition_init(&behind->done) == 0) return behind;
    condition_release(&behind->queued);
  }
  if (ready) lock_release(&behind->lock);
  mem_free(mem, behind->ring, behind->capacity);
  mem_free(mem, behind, sizeof *behind);
  return NULL;
}

void behind_free(struct behind *behind) {
  if (!behind) return;
  lock_acquire(&behind->lock);
  behind->stopping = true;
  condition_wake_all(&behind->queued);
  lock_leave(&behind->lock);
  if (behind->runs) thread_join(&behind->thread);
  condition_release(&behind->queued);
  condition_release(&behind->done);
  lock_release(&behind->lock);
  mem_free(behind->mem, behind->ring, behind->capacity);
  mem_free(behind->mem, behind, sizeof *behind);
}

/* ---- the thread; everything below with the lock held ------------------------------------------------------------- */

static void set_tail(struct behind *behind, uint64_t tail) {
  while (tail < behind->head && entry(behind, tail)->state == ENTRY_UNUSED) tail++;
  behind->tail = tail;
  atomic_store_explicit(&behind->busy, tail < behind->head, memory_order_release);
  condition_wake_all(&behind->done);
}

/* The oldest ones, as far as they follow one another on the device. */
static size_t gather(struct behind *behind, struct wodan_io *requests) {
  size_t count = 0, bytes = 0;
  for (uint64_t i = behind->tail; i < behind->head && count < TOGETHER; i++) {
    const struct entry *e = entry(behind, i);
    if (e->state != ENTRY_QUEUED) break;
    if (count &&
        (requests[count - 1].offset + requests[count - 1].size != e->offset || bytes + e->size > TOGETHER_BYTES))
      break;
    requests[count++] =
        (struct wodan_io){.kind = WODAN_IO_WRITE, .offset = e->offset, .data = behind->ring + e->at, .size = e->size};
    bytes += e->size;
  }
  return count;
}

static void *write_all(void *context) {
  struct behind *behind = context;
  lock_acquire(&behind->lock);
  while (!behind->stopping && !behind->failed) {
    struct wodan_io requests[TOGETHER];
    struct wodan_error error = {.block = WODAN_NO_BLOCK};
    size_t count = gather(behind, requests);
    if (!count) {
      condition_wait(&behind->queued, &behind->lock);
      continue;
    }
    lock_leave(&behind->lock);
    int status = device_transfer_now(behind->device, requests, count, &error);
    lock_acquire(&behind->lock);
    if (status < 0) {
      behind->failed = status;
      behind->failure = error;
    }
    set_tail(behind, status < 0 ? behind->tail : behind->tail + count);
  }
  lock_leave(&behind->lock);
  return NULL;
}

/* ---- lending ------------------------------------------------------------------------------------------------------ */

/* Where `room` bytes are free behind the newest entry. */
static bool find_room(struct behind *behind, size_t room, size_t *at) {
  *at = 0;
  if (behind->head == behind->tail) return true;
  if (behind->head - behind->tail == ENTRIES) return false;
  const struct entry *oldest = entry(behind, behind->tail), *newest = entry(behind, behind->head - 1);
  *at = newest->at + newest->room;
  if (*at > oldest->at) {
    if (room <= behind->capacity - *at) return true;
    *at = 0;
  }
  return room <= oldest->at - *at;
}

static bool start(struct behind *behind) {
  if (!behind->runs) behind->runs = thread_start(&behind->thread, write_all, behind) == 0;
  return behind->runs;
}

uint8_t *behind_lend(struct behind *behind, size_t size) {
  if (!behind || size < BEHIND_LEAST || size > behind->capacity / SHARE) return NULL;
  size_t room = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, at = 0;
  uint8_t *memory = NULL;
  lock_acquire(&behind->lock);
  bool runs = start(behind);
  while (runs && !behind->failed && !find_room(behind, room, &at)) condition_wait(&behind->done, &behind->lock);
  if (runs && !behind->failed) {
    *entry(behind, behind->head++) = (struct entry){.state = ENTRY_LENT, .at = at, .room = room};
    atomic_store_explicit(&behind->busy, true, memory_order_release);
    memory = behind->ring + at;
  }
  lock_leave(&behind->lock);
  return memory;
}

/* The entry of memory that is lent. */
static struct entry *entry_of(struct behind *behind, const uint8_t *memory) {
  uint64_t i = behind->tail;
  while (behind->ring + entry(behind, i)->at != memory || entry(behind, i)->state != ENTRY_LENT) i++;
  assert(i < behind->head);
  return entry(behind, i);
}

void behind_give_back(struct behind *behind, const uint8_t *memory) {
  lock_acquire(&behind->lock);
  entry_of(behind, memory)->state = ENTRY_UNUSED;
  if (!behind->failed) set_tail(behind, behind->tail);
  condition_wake_all(&behind->queued); /* those behind it may go */
  lock_leave(&behind->lock);
}

void behind_write(struct behind *behind, const uint8_t *memory, uint64_t offset, size_t size) {
  lock_acquire(&behind->lock);
  struct entry *e = entry_of(behind, memory);
  assert(size <= e->room);
  e->state = ENTRY_QUEUED;
  e->offset = offset;
  e->size = size;
  condition_wake_all(&behind->queued);
  lock_leave(&behind->lock);
}

/* ---- waiting ------------------------------------------------------------------------------------------------------ */

static int failed(const struct behind *behind, struct wodan_error *error) {
  if (behind->failed && error) *error = behind->failure;
  return behind->failed;
}

static bool meets(const struct entry *e, const struct wodan_io *requests, size_t count) {
  if (e->state != ENTRY_QUEUED) return false;
  for (size_t i = 0; i < count; i++)
    if (requests[i].offset < e->offset + e->size && e->offset < requests[i].offset + requests[i].size) return true;
  return false;
}

/* Behind the last entry that is queued and meets one of the requests; NULL: any. */
static uint64_t behind_last(struct behind *behind, const struct wodan_io *requests, size_t count) {
  uint64_t i = behind->head;
  while (i > behind->tail) {
    const struct entry *e = entry(behind, i - 1);
    if (requests ? meets(e, requests, count) : e->state == ENTRY_QUEUED) break;
    i--;
  }
  return i;
}

int behind_clear(struct behind *behind, const struct wodan_io *requests, size_t count, struct wodan_error *error) {
  if (!atomic_load_explicit(&behind->busy, memory_order_acquire)) return 0;
  bool reads = true;
  for (size_t i = 0; i < count; i++) reads &= requests[i].kind == WODAN_IO_READ;
  lock_acquire(&behind->lock);
  uint64_t until = behind_last(behind, requests, count);
  while (behind->tail < until && !behind->failed) condition_wait(&behind->done, &behind->lock);
  int status = behind->tail < until || !reads ? failed(behind, error) : 0;
  lock_leave(&behind->lock);
  return status;
}

int behind_wait(struct behind *behind, struct wodan_error *error) {
  if (!atomic_load_explicit(&behind->busy, memory_order_acquire)) return 0;
  lock_acquire(&behind->lock);
  uint64_t until = behind_last(behind, NULL, 0);
  while (behind->tail < until && !behind->failed) condition_wait(&behind->done, &behind->lock);
  int status = failed(behind, error);
  lock_leave(&behind->lock);
  return status;
}
