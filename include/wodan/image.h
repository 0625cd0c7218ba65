/* A copy of an image's structure without its values, for a report of a bug: small, sparse, and the checks of check.h find in
 * it what they find in the original. Never writes a byte to the original. */
#ifndef WODAN_IMAGE_H
#define WODAN_IMAGE_H

#include <wodan/inspect.h>

WODAN_BEGIN

struct wodan_copy_options {
  uint32_t size;     /* sizeof(struct wodan_copy_options); 0 is taken as the whole struct */
  uint32_t scramble; /* 1: keys are scrambled too; their order, lengths and common prefixes stay */
  void *context;
  /* Called now and then with objects copied so far; non-zero stops the copy (WODAN_DONE). NULL: not called. */
  int (*progress)(void *context, uint64_t objects);
};

struct wodan_copy_report {
  uint64_t nodes, runs, large; /* objects copied; leaves are runs; large values */
  uint64_t pages, records, journal_records;
  uint64_t damaged;        /* structures that cannot be read in the original, and so not in the copy */
  uint64_t written_bytes;  /* all else was left alone */
  uint64_t pages_left_out; /* compressed pages whose room is too small for what they became: wrong in the copy only */
};

/* Copies superblocks, the journal, and the trees of the newest root (or the one that was asked for at wodan_inspect_open)
 * and of the one before it, to the places where they are. Every value is blanked: as many zero bytes; of large values headers
 * and chunk tables stay, and their chunks are zeros. Filters are built anew. Checksums are right where they were right, and
 * wrong where they were wrong; what cannot be decoded is not copied. What cannot be read is wrong in the copy instead.
 *
 * With `scramble` every byte of a key but the table id becomes its rank among those that follow the same bytes anywhere in
 * the image: the smallest `a`, the next one `b`, or where more than 26 follow, 0, 1 and so on. So equal keys stay equal
 * everywhere and the order stays; the same image gives the same copy.
 *
 * Not hidden: sizes, counts, sequence numbers, the fsid; how long keys are, how they compare and what prefixes they share.
 * Where all 256 byte values follow a prefix they stay as they are. In images of more than some million prefixes, followers of
 * other prefixes are counted too; in one of very many keys a rank may so tell which byte it stands for.
 *
 * A compressed page stays one, of the same stored length. Blanked values and scrambled keys pack better than what they were,
 * so that there is room, but for this: pages of next to no values whose keys repeat parts of themselves, and the parts are
 * among other ones each time, so that they have other ranks. Such a page is left out, and the check finds it wrong in
 * the copy.
 *
 * `to` has the size of the original and reads as zeros (a fresh sparse file). It stays the caller's, and is not flushed.
 * Memory: what inspection takes, an eighth of a byte a block, 40 bytes a journal block, with `scramble` 2 MiB and a byte for
 * each of the device, up to 16 MiB; for compressed pages 256 KiB and 4 pages, for large values 8 pages and their tables.
 * 0, WODAN_DONE (stopped), WODAN_EINVAL, WODAN_EIO, WODAN_ENOSPC, WODAN_ENOMEM. report and error may be NULL. */
WODAN_API int wodan_image_copy(struct wodan_inspect *inspect, struct wodan_device *to,
                               const struct wodan_copy_options *options, struct wodan_copy_report *report,
                               struct wodan_error *error);

WODAN_END

#endif
