/* Owns: the ring block by block, and the roots that stand in it.
 *
 * Always true: every position that the device has is shown once; a block that is not valid for its place is shown as invalid
 * with nothing else, and told as damage when it cannot be read; what a block says of itself is told, and what the ring makes of
 * it (roles) is derived from the roots found at open.
 *
 * Order: from the head's place on, so that sequences rise; the block before the first is not known, so it is not chained.
 *
 * See: include/wodan/inspect.h; journal/journal.h; tests/unit/test_inspect.c. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include "base/wire.h"
#include "inspect/inspect_private.h"

enum { PART_BYTES = 64 * 1024 };

/* A decoded block, or none, and how far back its chain is whole. */
struct ring_look {
  uint64_t position;
  bool valid;
  struct journal_block block;
  const uint8_t *payload;
  bool chained;         /* to the block shown before */
  uint64_t chain_first; /* the first block of the whole chain that ends here */
};

typedef int ring_shown(void *context, const struct ring_look *look);

/* ---- one pass over the ring ------------------------------------------------------------------------------------- */

struct ring_pass {
  struct wodan_inspect *inspect;
  uint8_t *buffer;
  uint64_t part;               /* blocks the buffer holds */
  uint64_t there;              /* positions that the device has */
  uint64_t first, count, ring; /* positions in the buffer */
  bool readable;
};

static const uint8_t *pass_bytes(struct ring_pass *pass, uint64_t position) {
  struct wodan_inspect *inspect = pass->inspect;
  uint32_t size = inspect->superblock.journal_block_size;
  uint64_t start = inspect->superblock.block_size;
  if (position < pass->first || position - pass->first >= pass->count) {
    pass->first = position;
    pass->count = pass->there - position < pass->part ? pass->there - position : pass->part;
    pass->readable =
        device_read(&inspect->device, start + position * size, pass->buffer, (size_t)(pass->count * size), NULL) == 0;
  }
  if (pass->readable) return pass->buffer + (position - pass->first) * size;
  /* One bad block must not hide its neighbours. */
  struct wodan_error failure;
  if (device_read(&inspect->device, start + position * size, pass->buffer, size, &failure) == 0) return pass->buffer;
  inspect_damage(inspect, inspect_ring_place(inspect, position), 0, "position %" PRIu64 " of the journal: %s", position,
                 failure.message);
  return NULL;
}

static bool follows(const struct journal_block *a, const struct journal_block *b) {
  return b->sequence == a->sequence + 1 && b->previous == a->hash &&
         epoch_compare(b->epoch, a->epoch) >= 0; /* guard: checksum */
}

/* The fragment that is due behind `a`. */
static bool continues(const struct journal_block *a, const struct journal_block *b) {
  bool ended = a->fragment + 1 == a->fragments;
  return a->kind != JOURNAL_EMPTY && b->fragment == (ended ? 0 : a->fragment + 1) &&
         (ended || b->fragments == a->fragments); /* guard: bounds */
}

static int show_ring(struct ring_pass *pass, ring_shown *shown, void *context) {
  const struct superblock *sb = &pass->inspect->superblock;
  struct journal_block before = {0};
  bool have_before = false;
  uint64_t chain_first = 0, start = pass->inspect->has_root ? pass->inspect->mounted.head % pass->ring : 0;
  int status = 0;
  for (uint64_t i = 0; i < pass->ring && status == 0; i++) {
    struct ring_look look = {.position = (start + i) % pass->ring};
    if (look.position >= pass->there) { /* on to the start of the ring */
      i += pass->ring - look.position - 1;
      have_before = false;
      continue;
    }
    const uint8_t *bytes = pass_bytes(pass, look.position);
    look.valid = bytes && journal_block_decode(bytes, sb->journal_block_size, pass->inspect->io.seed, sb->fsid,
                                               &look.block, &look.payload);
    look.valid = look.valid && look.block.sequence % pass->ring == look.position;
    look.chained = look.valid && have_before && follows(&before, &look.block);
    if (look.valid && !(look.chained && continues(&before, &look.block))) chain_first = look.block.sequence;
    look.chain_first = chain_first;
    have_before = look.valid;
    before = look.block;
    status = shown(context, &look);
  }
  return status;
}

static int ring_pass(struct wodan_inspect *inspect, ring_shown *shown, void *context, struct wodan_error *error) {
  const struct superblock *sb = &inspect->superblock;
  struct ring_pass pass = {.inspect = inspect,
                           .ring = superblock_ring_blocks(sb),
                           .there = superblock_ring_there(sb, inspect->device.raw->geometry.size)};
  pass.part = PART_BYTES / sb->journal_block_size;
  assert(pass.part >= 1);
  size_t size = (size_t)(pass.part * sb->journal_block_size);
  pass.buffer = mem_alloc_aligned(&inspect->mem, size, BLOCK_IO_ALIGNMENT);
  if (!pass.buffer) return status_nomem(error);
  int status = show_ring(&pass, shown, context);
  mem_free(&inspect->mem, pass.buffer, size);
  return status;
}

/* ---- blocks ----------------------------------------------------------------------------------------------------- */

/* The checkpoint record in a block; false: it holds none that decodes and fits its place. */
static bool checkpoint_of(const struct wodan_inspect *inspect, const struct ring_look *look,
                          struct checkpoint_record *record) {
  struct volume_bounds bounds = inspect->io.bounds;
  uint64_t most = inspect->device_blocks > inspect->superblock.device_blocks ? inspect->device_blocks
                                                                             : inspect->superblock.device_blocks;
  bounds.data_end = most - 1;
  return look->valid && look->block.kind == JOURNAL_CHECKPOINT &&
         checkpoint_record_decode(look->payload, look->block.payload_length, &bounds, record) &&
         record->tail <= look->block.sequence && record->previous <= look->block.sequence; /* guard: bounds */
}

static struct wodan_root root_of(const struct wodan_inspect *inspect, const struct ring_look *look,
                                 const struct checkpoint_record *record) {
  struct checkpoint_mark mark = {look->block.sequence, look->block.hash, record->tail};
  return inspect_root_of(inspect, record, &mark);
}

static uint32_t roles_of(const struct wodan_inspect *inspect, const struct ring_look *look) {
  const struct journal_mounted *m = &inspect->mounted;
  uint64_t ring = superblock_ring_blocks(&inspect->superblock);
  uint32_t roles = look->chained ? WODAN_JOURNAL_CHAINED : 0;
  if (look->valid && look->block.flags & JOURNAL_UNPROVEN) roles |= WODAN_JOURNAL_UNPROVEN;
  if (!inspect->has_root) return roles;
  if (look->position == m->head % ring) roles |= WODAN_JOURNAL_HEAD;
  if (!look->valid) return roles;
  uint64_t q = look->block.sequence, live = m->has_older ? m->older_mark.tail : m->newest_mark.tail;
  if (live > m->newest_mark.tail) live = m->newest_mark.tail;
  if (q >= m->head) return q < m->rejected ? roles | WODAN_JOURNAL_REJECTED : roles;
  if (q >= live) roles |= WODAN_JOURNAL_LIVE;
  if (q >= m->newest_mark.tail) roles |= WODAN_JOURNAL_REPLAYED;
  if (q == m->newest_mark.tail) roles |= WODAN_JOURNAL_TAIL;
  if (q == m->newest_mark.sequence) roles |= WODAN_JOURNAL_NEWEST;
  if (m->has_older && q == m->older_mark.sequence) roles |= WODAN_JOURNAL_OLDER;
  return roles;
}

struct journal_show {
  struct wodan_inspect *inspect;
  int (*block)(void *context, const struct wodan_journal_block *block);
  void *context;
};

static int show_block(void *context, const struct ring_look *look) {
  const struct journal_show *show = context;
  const struct journal_block *b = &look->block;
  struct wodan_journal_block told = {.position = look->position,
                                     .block = inspect_ring_place(show->inspect, look->position),
                                     .kind = WODAN_JOURNAL_INVALID,
                                     .roles = roles_of(show->inspect, look)};
  struct checkpoint_record record;
  if (look->valid) {
    told.kind = b->kind;
    told.sequence = b->sequence;
    told.flushed_through = b->flushed_through;
    told.checkpoint = b->checkpoint;
    told.hash = b->hash;
    told.previous = b->previous;
    told.epoch = b->epoch.number;
    told.epoch_random = b->epoch.random;
    told.fragment = b->fragment;
    told.fragments = b->fragments;
    told.payload = b->payload_length;
  }
  if (checkpoint_of(show->inspect, look, &record)) told.root = root_of(show->inspect, look, &record);
  if (look->valid && b->kind == JOURNAL_RECORD && b->fragment == 0) {
    struct wire_reader r = wire_reader(look->payload, b->payload_length);
    told.first = wire_get_u64(&r);
    told.last = wire_get_u64(&r);
    uint64_t count = told.last - told.first + 1;
    if (r.failed || told.first == 0 || told.last < told.first)
      told.first = told.last = 0;
    else
      told.operations = count < UINT32_MAX ? (uint32_t)count : UINT32_MAX;
  }
  return show->block(show->context, &told);
}

int wodan_inspect_journal(struct wodan_inspect *inspect, int (*block)(void *, const struct wodan_journal_block *),
                          void *context, struct wodan_error *error) {
  if (error) *error = (struct wodan_error){.block = WODAN_NO_BLOCK};
  if (!inspect || !block)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "wodan_inspect_journal: an argument is missing");
  struct journal_show show = {inspect, block, context};
  return ring_pass(inspect, show_block, &show, error);
}

/* ---- roots ------------------------------------------------------------------------------------------------------ */

struct root_found {
  struct epoch epoch;
  struct wodan_root root;
};

struct root_list {
  struct wodan_inspect *inspect;
  void *found; /* struct root_found [count] */
  size_t count, capacity;
};

static int collect(void *context, const struct ring_look *look) {
  struct root_list *list = context;
  struct checkpoint_record record;
  if (!checkpoint_of(list->inspect, look, &record)) return 0;
  if (record.tail < look->chain_first) return 0; /* guard: bounds */
  if (!mem_array_grow(&list->inspect->mem, &list->found, &list->capacity, list->count + 1, sizeof(struct root_found)))
    return WODAN_ENOMEM;
  struct root_found *found = list->found;
  found[list->count++] = (struct root_found){look->block.epoch, root_of(list->inspect, look, &record)};
  return 0;
}

static int by_age(const void *a, const void *b) {
  const struct root_found *x = a, *y = b;
  int c = epoch_compare(y->epoch, x->epoch);
  return c ? c : (y->root.journal_block > x->root.journal_block) - (y->root.journal_block < x->root.journal_block);
}

int wodan_inspect_roots(struct wodan_inspect *inspect, int (*root)(void *, const struct wodan_root *), void *context,
                        struct wodan_error *error) {
  if (error) *error = (struct wodan_error){.block = WODAN_NO_BLOCK};
  if (!inspect || !root)
    return status_set(error, WODAN_EINVAL, 0, WODAN_NO_BLOCK, "wodan_inspect_roots: an argument is missing");
  struct root_list list = {.inspect = inspect};
  int status = ring_pass(inspect, collect, &list, error);
  if (status == WODAN_ENOMEM) status_nomem(error);
  struct root_found *found = list.found;
  if (status == 0 && list.count) qsort(found, list.count, sizeof *found, by_age);
  for (size_t i = 0; i < list.count && status == 0; i++) status = root(context, &found[i].root);
  mem_array_free(&inspect->mem, list.found, list.capacity, sizeof(struct root_found));
  return status;
}
