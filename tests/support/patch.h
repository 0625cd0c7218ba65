/* Damage by name: the fields of FORMAT.md's tables found in an image and changed, and the ways in which a medium goes wrong.
 * What the recipes of tests/repair are made of.
 *
 * One statement a line:
 *   set PLACE: FIELD = VALUE     and afterwards every checksum, pointer and chain is right again
 *   raw PLACE: FIELD = VALUE     and nothing else
 *   sums                         every checksum right again, of what statements before have done too
 *   seal OBJECT | seal journal J | seal superblock | seal copy
 *                                one checksum right again: of a header and of its pointer, for headers that are not what
 *                                their pointer means; of a journal block, with the chain behind it
 *   zero PLACE | garbage PLACE | flip BIT of PLACE | unreadable PLACE
 *   copy PLACE to PLACE          as far as both reach: a misdirected write
 *   stale PLACE from MARK        as it was when the base image was marked: a lost write
 *   foreign PLACE                as another volume, made by the same script, has it there
 *   nothing
 *   truncate BYTES | extend BYTES   by so many, zeros
 *
 * PLACE     superblock | copy | journal J | checkpoint J | ring | data | block N | blocks N COUNT | header OBJECT | object OBJECT |
 *           table NODE | entry NODE I | list NODE | buffered NODE I | index RUN | indexed RUN I | filter RUN |
 *           page RUN I | record RUN I K | range RUN I (range delete; its fields are called from and to) | blobs RUN (the list of
 *           large values) | blob RUN I (a pointer of it) | chunk BLOB I | chunked BLOB I (its entry in the chunk table)
 * J         newest | older | tail | head (the next to be written), and perhaps +N or -N: a block of the journal
 * OBJECT    root or older (of the newest and the previous tree), then for each step down .I (entry) or /I (buffered run);
 *           I may count from the end: -1 is the last. RUN*I is the I-th large value that a run's list names, replay*I that the
 *           journal's replay names
 * FIELD     as FORMAT.md calls it; pointers' fields have the pointer's name before them: "pointer generation"
 * VALUE     N, +N, -N, ^N (to what is there), "bytes" of the same length (\xHH), max (all ones), of PLACE: FIELD
 *
 * Places are found in the image as it was before the first statement, so a change never hides the next one. A varint keeps
 * its length: a value that needs another is refused. */
#ifndef SUPPORT_PATCH_H
#define SUPPORT_PATCH_H

#include "io/block_io.h"
#include "journal/journal.h"
#include "format/superblock.h"
#include "support/base_image.h"

enum { PATCH_BROKEN_MAX = 64 };

struct patch_range {
  uint64_t from, to; /* bytes of the device */
};

struct patch {
  uint8_t *bytes; /* the damaged image; the caller's when patch_end leaves them */
  uint64_t size;
  struct patch_range broken[PATCH_BROKEN_MAX]; /* cannot be read */
  uint32_t broken_count;
  /* the rest is patch.c's own: the image as it was */
  const struct base_image *base, *foreign;
  struct mem mem;
  struct kept_bytes *kept;
  struct wodan_device *raw;
  struct device device;
  struct superblock superblock;
  struct journal journal;
  struct journal_mounted mounted;
  struct block_io io;
  bool unsealed; /* a `set` whose checksums are still to be made right */
};

/* foreign: the same script with another seed; NULL: not needed. false: `why` tells. */
bool patch_begin(struct patch *patch, const struct base_image *base, const struct base_image *foreign, char why[256]);
/* One statement. */
bool patch_apply(struct patch *patch, const char *statement, char why[256]);
/* Makes checksums right that are still to be; releases all but `bytes`, which the caller frees. */
void patch_end(struct patch *patch);

#endif
