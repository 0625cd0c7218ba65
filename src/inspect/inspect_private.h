/* What the files of src/inspect share: one image being looked at. */
#ifndef INSPECT_INSPECT_PRIVATE_H
#define INSPECT_INSPECT_PRIVATE_H

#include <wodan/inspect.h>

#include <stdbool.h>
#include "base/mem.h"
#include "base/status.h"
#include "blob/blob_read.h"
#include "format/superblock.h"
#include "io/block_io.h"
#include "journal/journal.h"
#include "tree/walk.h"

struct wodan_inspect {
  struct wodan_inspect_options options;
  struct mem mem;
  struct device device;
  struct superblock superblock;
  struct block_io io;       /* bounds are those of the root looked at last */
  struct blob_source proof; /* for the journal */
  struct journal journal;
  struct journal_mounted mounted;
  bool has_root, has_mounted;
  uint32_t superblock_state;
  uint64_t volume_blocks, device_blocks; /* of the newest root; that the device has */
  uint64_t replay_records, replay_operations, sequence;
  uint64_t damages;
};

/* ---- open.c ----------------------------------------------------------------------------------------------------- */

/* Tells damage: block or WODAN_NO_BLOCK, generation or 0. */
void inspect_damage(struct wodan_inspect *inspect, uint64_t block, uint64_t generation, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A failed read as damage; WODAN_ENOMEM is handed on, else 0. `block` where the failure names none. */
int inspect_failed(struct wodan_inspect *inspect, const struct wodan_error *failure, uint64_t block,
                   uint64_t generation);
/* The record of a root, with inspect->io.bounds set to its volume; NULL: there is no such root. */
const struct checkpoint_record *inspect_root(struct wodan_inspect *inspect, uint32_t which);
/* The allocation block of a position of the ring. */
uint64_t inspect_ring_place(const struct wodan_inspect *inspect, uint64_t position);
/* A record and where it lies, as the public header tells it. */
struct wodan_root inspect_root_of(const struct wodan_inspect *inspect, const struct checkpoint_record *record,
                                  const struct checkpoint_mark *mark);
/* The operations that a replay on a root applies: on the older one up to the newest. */
int inspect_replay(struct wodan_inspect *inspect, uint32_t which, journal_apply *apply, void *context,
                   struct wodan_error *error);

/* ---- walk.c ----------------------------------------------------------------------------------------------------- */

/* Objects as wodan_inspect_tree shows them, with their pointers. A damaged node is told only with tell_damage. */
struct inspect_walk {
  struct wodan_inspect *inspect;
  int (*object)(void *context, const struct wodan_object *object, const struct block_ptr *ptr);
  void *context;
  bool tell_damage;
};
int inspect_walk(const struct inspect_walk *walk, uint32_t which, struct wodan_error *error);

/* The user's part of a tree key. */
struct wodan_slice inspect_user_key(struct wodan_slice key);

#endif
