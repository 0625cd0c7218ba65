/* A copy of an image's structure without its values, for a report of a bug: small, sparse, and the checks of check.h find in
 * it what they find in the original. Never writes a byte to the original. */
#ifndef WODAN_IMAGE_H
#define WODAN_IMAGE_H

#include <wodan/inspect.h>

WODAN_BEGIN

struct wodan_copy_options {
  uint32_t size;     /* sizeof(struct wodan_copy_options); 0 is taken as the whole struct */
  uint32_t scramble; /* 1: keys are scrambled too; their order, lengths and common prefixes stay */
  uint64_t seed; /* of the scrambling: the same seed and image give the same copy. 0: a fresh one from hooks.random */
  struct wodan_hooks hooks;
  void *context;
  /* Called now and then with objects copied so far; non-zero stops the copy (WODAN_DONE). NULL: not called. */
  int (*progress)(void *context, uint64_t objects);
};

struct wodan_copy_report {
  uint64_t nodes, runs; /* objects copied; leaves are runs */
  uint64_t pages, records, journal_records;
  uint64_t damaged;        /* structures that cannot be read in the original, and so not in the copy */
  uint64_t written_bytes;  /* all else was left alone */
  uint64_t pages_left_out; /* compressed pages whose room is too small for what they became: wrong in the copy only */
};

/* Copies superblocks, the journal, and the trees of the newest root (or the one that was asked for at wodan_inspect_open)
 * and of the one before it, to the places where they are. Every value is blanked: as many zero bytes. With `scramble` every
 * byte of a key but the table id becomes another one, chosen by the seed and the bytes before it, so that equal keys stay
 * equal everywhere and the order stays. Filters are built anew. Checksums are right where they were right, and wrong where
 * they were wrong; what cannot be decoded is not copied. What cannot be read is wrong in the copy instead.
 *
 * Not hidden: sizes, counts, sequence numbers, the fsid; how long keys are, how they compare and what prefixes they share.
 * Where all 256 byte values follow a prefix they cannot be moved and stay as they are.
 *
 * A compressed page stays one, of the same stored length: blanked values leave room enough, but where records have next to
 * no value and scrambled keys pack worse than the keys did. Such a page is left out, and the check finds it wrong in the copy.
 *
 * `to` has the size of the original and reads as zeros (a fresh sparse file). It stays the caller's, and is not flushed.
 * Memory: what inspection takes, an eighth of a byte a block, 40 bytes a journal block, with `scramble` 2 MiB, for
 * compressed pages 256 KiB.
 * 0, WODAN_DONE (stopped), WODAN_EINVAL, WODAN_EIO, WODAN_ENOSPC, WODAN_ENOMEM. report and error may be NULL. */
WODAN_API int wodan_image_copy(struct wodan_inspect *inspect, struct wodan_device *to,
                               const struct wodan_copy_options *options, struct wodan_copy_report *report,
                               struct wodan_error *error);

WODAN_END

#endif
