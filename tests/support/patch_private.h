/* What the files of the patch tool share. */
#ifndef SUPPORT_PATCH_PRIVATE_H
#define SUPPORT_PATCH_PRIVATE_H

#include "support/patch.h"

/* Bytes of the image: of an object, or of the device. */
struct patch_place {
  struct block_ptr object; /* generation 0: of the device */
  uint64_t offset, size;   /* from the object's start, or on the device */
  enum patch_structure {
    PATCH_BYTES,
    PATCH_SUPERBLOCK,
    PATCH_JOURNAL,
    PATCH_CHECKPOINT,
    PATCH_HEADER,
    PATCH_PAGE,
    PATCH_RECORD,
    PATCH_INDEXED,
    PATCH_ENTRY,
    PATCH_LIST,
    PATCH_BUFFERED,
    PATCH_RANGE,
    PATCH_BLOBS,
    PATCH_BLOB,
    PATCH_CHUNKED
  } structure;
  uint64_t index; /* of a record, entry or run in it */
};

/* A field of a place. */
struct patch_field {
  struct patch_place place;
  bool varint, text; /* text: bytes, no number */
};

/* ---- patch_place.c: structures ----------------------------------------------------------------------------------- */

bool patch_place_find(struct patch *patch, const char *text, struct patch_place *place, char why[256]);
/* The device's byte that byte i of the place is. */
uint64_t patch_place_at(const struct patch *patch, const struct patch_place *place, uint64_t i);
/* The journal block named by J. */
bool patch_journal_sequence(const struct patch *patch, const char *text, uint64_t *sequence);

/* ---- patch_field.c: fields inside them --------------------------------------------------------------------------- */

/* "PLACE: FIELD". */
bool patch_field_find(struct patch *patch, const char *text, struct patch_field *field, char why[256]);

#endif
