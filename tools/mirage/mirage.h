/* Reading images of MirageOS Wodan (the OCaml one, format version 1): checking them, and all records in key order. Never
 * writes. Made after its source, <https://github.com/mirage/wodan>, src/wodan and doc/layout.md; the formats are told in
 * superblock.h and node.h, and what differs between its documents and its code in DESIGN.md.
 *
 * One thread; memory is one block and its offsets for each level of the tree, at most MIRAGE_HEIGHT_MAX of them, and one bit
 * a block. */
#ifndef MIRAGE_MIRAGE_H
#define MIRAGE_MIRAGE_H

#include <stdbool.h>
#include <wodan/check.h>

enum { MIRAGE_HEIGHT_MAX = 64 };

/* Where the image is. */
struct mirage_source {
  void *context;
  /* Fills the buffer from inside the source. 0, or a number of the operating system (errno.h). */
  int (*read)(void *context, uint64_t offset, void *buffer, size_t size);
  uint64_t size; /* bytes */
};

/* A file or block device, opened for reading only. 0, or WODAN_EIO with *error filled. */
int mirage_source_open(struct mirage_source *source, const char *path, struct wodan_error *error);
void mirage_source_close(struct mirage_source *source);

/* What a check saw. */
struct mirage_summary {
  struct wodan_check_report report; /* previous_generation, blocks_previous, runs, pages, journal_records: 0 */
  uint32_t block_size, key_size;
  bool tombstones;         /* an empty value is a deletion */
  uint64_t root_block;     /* of the root that was looked at */
  uint64_t doubtful;       /* former nodes outside the tree that are torn or damaged; one may have been a newer root */
  uint64_t value_size_max; /* biggest value of a record, bytes */
  uint64_t shadowed;       /* values with a newer one of their key nearer the root */
  uint64_t deletions;      /* keys whose newest value says: deleted */
};

/* As wodan_check: the options are its own (allocator is not used; memory_limit 0: 1 GiB), ids are those of findings.h,
 * generation chooses a root in place of the newest. Reads each block at most twice. 0 when the check ran; WODAN_EFORMAT
 * (no such image), WODAN_EIO, WODAN_ENOMEM, WODAN_EBUDGET, WODAN_ENOTFOUND (generation). */
int mirage_check(const struct mirage_source *source, const struct wodan_check_options *options,
                 struct mirage_summary *summary, struct wodan_error *error);

/* The newest valid root below a generation (UINT64_MAX: of all). 0, WODAN_ENOTFOUND, or what mirage_records answers. */
int mirage_root_below(const struct mirage_source *source, uint64_t limit, uint64_t *generation,
                      struct wodan_error *error);

/* Every valid root that is still there, in the order of their blocks. */
typedef void mirage_root_taker(void *context, uint64_t generation, uint64_t block);
int mirage_roots(const struct mirage_source *source, mirage_root_taker *take, void *context, struct wodan_error *error);

/* A record; valid during the call. Other than 0 stops the walk. */
typedef int mirage_record(void *context, struct wodan_slice key, struct wodan_slice value);

/* Gives every record under the root of that generation, once each, in key order. 0; what `record` answered; WODAN_ECORRUPT
 * when a node is damaged (whatever came before it was given); else as mirage_check. */
int mirage_records(const struct mirage_source *source, uint64_t generation, mirage_record *record, void *context,
                   struct wodan_error *error);

#endif
