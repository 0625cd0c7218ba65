/* What the passes of a check share. Every pass returns 0 to go on (also after damage: that is a finding),
 * CHECK_STOPPED when the caller wants no more, or a negative status when the check cannot go on. */
#ifndef CHECK_CHECK_PRIVATE_H
#define CHECK_CHECK_PRIVATE_H

#include <stdbool.h>
#include "base/mem.h"
#include "base/status.h"
#include "blob/blob_read.h"
#include "check/check.h"
#include "check/findings.h"
#include "format/blob.h"
#include "format/superblock.h"
#include "io/block_io.h"
#include "io/superblock_find.h"
#include "journal/journal.h"

struct node_place;

enum { CHECK_STOPPED = 1 };

/* Memory that only grows, reused from object to object. */
struct check_buffer {
  uint8_t *data;
  size_t capacity;
};

/* Who owns which block (check_space.c). Bit i is block i of the device. */
struct check_space {
  uint64_t blocks; /* bits in each map */
  uint8_t *live, *previous;
  struct space_object {
    uint64_t first, generation, checksum;
  } * objects;           /* of the newest root, hashed by first */
  uint64_t object_slots; /* power of two, at most half full */
  uint64_t object_count, objects_expected;
  uint64_t *marks; /* in place of `objects` where they would take more: of the object that starts at a block; 0: none */
  bool outside;    /* an object of the newest root starts behind the device's end */
  bool crowded;    /* there is no room for more of them: none is claimed any more */
};

struct check {
  const struct wodan_check_options *options;
  struct wodan_check_report *report;
  struct wodan_error *error; /* of a check that cannot go on; never NULL */
  struct mem mem;
  struct device device;
  struct superblock superblock;
  struct superblock_found found;
  struct block_io io;
  struct blob_source proof; /* for the journal */
  struct block_window window;
  struct journal_mounted mounted;
  uint64_t sequence;      /* of the last operation, once the journal was replayed */
  bool has_root;          /* mounted.newest is a root to check */
  bool previous;          /* what is found now concerns the previous root only */
  bool unreached;         /* something could not be followed */
  bool bounded;           /* what it may take and read is its own choice: what is beyond is told and left out */
  uint64_t refused;       /* allocations, so told */
  bool salvage_only;      /* what is found now cannot be repaired in place */
  uint64_t volume_blocks; /* of the newest root, or of the superblock */
  struct check_space space;
  const struct node_place *range; /* of the object being looked at; NULL: none */
  struct check_buffer page, key, bound;
  struct check_buffer chunk;  /* of a large value */
  bool stop_at_checkpoint;    /* the replay ends there: an older root is checked */
  uint64_t journal_blobs;     /* operations of the replay that name one */
  bool packed;                /* there are compressed pages or chunks */
  uint64_t done, total, told; /* progress, in blocks; done without: */
  uint64_t large_done;        /* those of large values */
};

/* ---- check.c ---------------------------------------------------------------------------------------------------- */

/* Reports a finding; block or WODAN_NO_BLOCK, generation or 0. The detail fills the sentence's %s. */
void check_found(struct check *check, enum finding_id id, uint64_t block, uint64_t generation, const char *detail, ...)
    __attribute__((format(printf, 5, 6)));
/* A failed read: WODAN_ENOMEM is handed on; anything else is the finding `id`, with the sentence and the block of
 * `failure` (`block` when it names none), and 0. what: put before the sentence, "leaf"; or NULL. What only passed the check's
 * own bounds is told as that, and 0. */
int check_failed(struct check *check, const struct wodan_error *failure, enum finding_id id, uint64_t block,
                 uint64_t generation, const char *what);
/* Tells that something was left out for the bound of memory. */
void check_left_out(struct check *check, const char *what, uint64_t block, uint64_t generation);
/* A lack of memory in an object: told, and 0, when there is none but by the check's own bound; else `status`. */
int check_spared(struct check *check, int status, const char *what, uint64_t block, uint64_t generation);
/* Tells the caller once in a while; `done` blocks are behind us, and large_done. */
int check_progress(struct check *check, uint64_t done);
/* Room for `size` bytes; WODAN_ENOMEM. The contents are lost. */
int check_buffer_reserve(struct check *check, struct check_buffer *buffer, size_t size);
void check_buffer_release(struct check *check, struct check_buffer *buffer);

/* ---- the passes ------------------------------------------------------------------------------------------------- */

/* Fills check->superblock from block 0 or the copy. WODAN_EFORMAT, WODAN_EVERSION, WODAN_EIO, WODAN_ENOMEM. */
int check_superblock(struct check *check);
/* Once the volume's size is known. */
int check_superblock_copy(struct check *check);

/* Fills check->mounted and has_root; counts what would be replayed. */
int check_journal(struct check *check);

/* The newest root and the one before it. */
int check_trees(struct check *check);

/* Where in its tree a run stands. */
struct run_place {
  const char *what; /* "leaf", "run", "catalog" */
  bool leaf;
  bool has_lower, has_upper;       /* of a leaf its own, of a buffered run its node's */
  struct wodan_slice lower, upper; /* keys from lower up to, but not with, upper */
  bool counted;                    /* its node tells: */
  uint64_t records, deletes, ranges;
  uint64_t blobs;        /* its node tells, of a leaf too */
  uint64_t sequence_max; /* of the checkpoint */
};
int check_run(struct check *check, const struct block_ptr *ptr, const struct run_place *place);

/* ---- large values (check_blob.c) -------------------------------------------------------------------------------- */

/* All of the large value that a record of this tree key names, unless it was looked at before. owner: generation of the run
 * that holds the record, 0: the journal does. */
int check_blob(struct check *check, const struct blob_ref *ref, struct wodan_slice key, uint64_t owner);

/* The list of a run's large values, taken one by one. */
struct check_list {
  struct check *check;
  uint8_t *bytes; /* NULL: it has none */
  size_t size;
  struct wire_reader reader;
  uint64_t count, taken;
  bool unread; /* it cannot be read, which was told: no record is held against it */
};
/* section NULL: there is no list. A failure to read; release it either way. */
int check_list_open(struct check_list *list, struct check *check, const struct block_ptr *ptr,
                    const struct section *section, struct wodan_error *failure);
/* Whether the next pointer of the list is this one. */
bool check_list_take(struct check_list *list, const struct block_ptr *wanted);
/* Passes the next pointer of the list: the record's reference is malformed, which is told. */
void check_list_pass(struct check_list *list);
/* Whether all of it was taken, and that is as much as it says. */
bool check_list_ended(const struct check_list *list);
void check_list_release(struct check_list *list);
/* Those that the journal's replay names; after the newest tree. */
int check_journal_blobs(struct check *check);

/* The maps for so many blocks. WODAN_ENOMEM. */
int check_space_init(struct check *check, uint64_t blocks);
/* Room for so many more objects of the newest root: before they are claimed. WODAN_ENOMEM. */
int check_space_expect(struct check *check, uint64_t objects);
void check_space_release(struct check *check);
/* Takes the object's blocks, for the newest root or (check->previous) the one before. false: it overlaps
 * another object, or the device ends in it; that is reported, of the object of generation `owner` (its own, or the run's that
 * a repair has to write anew), and what it holds must not be read. */
bool check_space_claim(struct check *check, const struct block_ptr *ptr, const char *what, uint64_t owner);
/* An object of the previous root that is claimed once, however often it is named. */
void check_space_remember(struct check *check, const struct block_ptr *ptr);
/* The newest root has the very same object. */
bool check_space_shared(const struct check *check, const struct block_ptr *ptr);
/* Fills the report's counts of blocks. */
void check_space_count(struct check *check);

#endif
