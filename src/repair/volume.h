/* A volume as repair sees it: superblock, journal and every root that the ring still names, newest first, whether an open
 * would take them or not. Reading only; writer.h goes on from here. */
#ifndef REPAIR_VOLUME_H
#define REPAIR_VOLUME_H

#include "blob/blob_read.h"
#include "format/superblock.h"
#include "io/block_io.h"
#include "journal/journal.h"
#include "memtable/memtable.h"
#include "space/bitmap.h"

enum { VOLUME_ROOTS_MAX = 8 };

/* A checkpoint record whose chain is whole, and the operations that belong behind it. */
struct volume_root {
  struct checkpoint_record record;
  struct checkpoint_mark mark;
  uint64_t head;          /* replay ends before this journal block */
  bool to_head;           /* else it ends at the next checkpoint record */
  struct memtable *table; /* NULL: not replayed yet */
  uint64_t sequence;      /* of the last operation, replayed or in the tree */
  bool broken;            /* the replay ended early: journal operations are lost */
};

struct volume {
  struct mem *mem;
  struct device device;
  struct superblock superblock;
  bool searched;            /* the superblock was lost, and this one is what the rest of the volume tells */
  struct block_io io;       /* bounds reach to the end of the device or volume, whichever is further */
  struct blob_source proof; /* for the journal */
  struct journal journal;
  bool mounted;               /* an open would find its newest root; else `end` is that of the newest whole chain */
  struct journal_mounted end; /* where the journal goes on */
  struct volume_root roots[VOLUME_ROOTS_MAX];
  uint32_t root_count;
};

/* search: where the superblock is lost, look for what else tells of the volume. generation 0: all roots; else that one and
 * those before it (WODAN_ENOTFOUND). A volume without any root is no failure.
 * WODAN_EFORMAT, WODAN_EVERSION, WODAN_EIO, WODAN_ENOMEM. Release it either way; the device stays the caller's. */
int volume_open(struct volume *volume, struct wodan_device *raw, struct mem *mem, bool search, uint64_t generation,
                struct wodan_error *error);
void volume_release(struct volume *volume);

/* Fills the root's table with the operations of the journal behind it, as far as they are whole. WODAN_ENOMEM. */
int volume_replay(struct volume *volume, struct volume_root *root, struct wodan_error *error);

/* The bounds of pointers in this root's tree; and those of any pointer there ever was. */
void volume_use_root(struct volume *volume, const struct volume_root *root);
void volume_use_all(struct volume *volume);

/* Every object that the root's tree names, as far as its nodes can be read, in no order; some maybe more than once.
 * WODAN_ENOMEM. */
typedef void volume_object(void *context, const struct block_ptr *ptr, bool node);
int volume_objects(struct volume *volume, const struct volume_root *root, volume_object *object, void *context,
                   struct wodan_error *error);
/* The large values that this root's tree and journal name, some of them more than once. A failure: a list of them cannot be
 * read. Replays. */
int volume_blobs(struct volume *volume, struct volume_root *root, volume_object *object, void *context,
                 struct wodan_error *error);
/* Those that the newest record names, when it was rejected because not all of them are whole (journal.h). WODAN_ENOMEM. */
int volume_rejected(struct volume *volume, volume_object *object, void *context, struct wodan_error *error);
/* Sets the bits of the object's blocks, as far as the map goes. */
void volume_mark(struct bitmap *map, const struct block_ptr *ptr);

#endif
