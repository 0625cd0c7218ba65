/* A tree without its damage: what is whole stays where it is, what is damaged is written anew, to free blocks, with what can
 * be read of it, and so are the nodes above. Without a writer the same walk only tells what would be done. */
#ifndef REPAIR_REWRITE_H
#define REPAIR_REWRITE_H

#include <wodan/repair.h>
#include "repair/damage.h"
#include "repair/writer.h"

enum { REWRITE_TABLES_MAX = 2 };

struct rewrite {
  struct volume *volume;
  struct writer *writer;       /* NULL: a dry run */
  const struct damage *damage; /* of a check of the root to be rewritten */
  uint32_t roots_end;          /* stand-ins are looked for in the roots before this one */
  uint32_t allowed;            /* WODAN_REPAIR_SAFE or WODAN_REPAIR_LOSSY: what asks for more is left */
  struct bitmap owned;         /* blocks of the objects of the tree */
  told_loss *lost;
  void (*step)(void *context, const struct wodan_repair_step *step);
  void *context;
  bool no_room; /* something was left, because there were not enough free blocks */
};

/* The tree of this root, with operations of the journal on top (oldest first; NULL: none). *root: the new one, or the old
 * pointer when nothing had to be done. WODAN_ENOMEM, WODAN_EIO; WODAN_ENOSPC: no room for a node. */
int rewrite_tree(struct rewrite *rewrite, uint32_t at, struct memtable *const tables[REWRITE_TABLES_MAX],
                 struct block_ptr *root, struct wodan_error *error);

#endif
