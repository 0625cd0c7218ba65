/* Structures of the format as text, field by field, with the bytes behind each: for people who look at an image. One
 * function a structure, beside its decoder; but where a decoder refuses, these go on as far as the bytes reach and say what
 * is wrong. Nothing is trusted, nothing is kept; each costs one pass over the bytes. */
#ifndef FORMAT_TO_TEXT_H
#define FORMAT_TO_TEXT_H

#include <stdarg.h>
#include "format/block_ptr.h"
#include "format/range.h"
#include "format/superblock.h"

struct text_field {
  size_t offset, size; /* bytes of the structure; size 0: a heading */
  uint32_t depth;
  const char *name, *text;
  const char *problem; /* NULL: it is as it must be */
};

/* Where the fields of one structure go. A `field` that returns not 0 ends it; `status` keeps that. */
struct text_sink {
  void *context;
  int (*field)(void *context, const struct text_field *field);
  uint32_t depth;    /* of the structure's own fields */
  int status;        /* 0 to begin with */
  uint32_t problems; /* fields with one */
  char problem[96];  /* the first of them: "name: problem" */
};

/* What a volume is, for structures that are bound to it. */
struct text_volume {
  uint64_t seed;
  const uint8_t *fsid;         /* 16 bytes */
  struct volume_bounds bounds; /* of pointers */
};

void superblock_to_text(struct text_sink *sink, const uint8_t bytes[SUPERBLOCK_SIZE]);
/* The block, and of a record the operations as far as its first fragment holds them, of a checkpoint its record. */
void journal_block_to_text(struct text_sink *sink, const uint8_t *bytes, uint32_t size,
                           const struct text_volume *volume);
void checkpoint_record_to_text(struct text_sink *sink, const uint8_t *bytes, size_t size, size_t offset,
                               const struct text_volume *volume);
/* size: bytes there are; header_length is the header's own word, when that is within them. */
void object_header_to_text(struct text_sink *sink, const uint8_t *bytes, size_t size, const struct text_volume *volume);
/* What the values of a page are. */
enum text_page { TEXT_RECORDS, TEXT_INDEX, TEXT_BRANCHES };
void page_to_text(struct text_sink *sink, const uint8_t *bytes, size_t size, enum text_page kind,
                  const struct text_volume *volume);
void run_list_to_text(struct text_sink *sink, const uint8_t *bytes, size_t size, const struct text_volume *volume);
/* limits: what its ranges must not exceed. */
void range_section_to_text(struct text_sink *sink, const uint8_t *bytes, size_t size,
                           const struct range_limits *limits);

/* A run's list of large values, and a large value's table of chunks. */
void blob_list_to_text(struct text_sink *sink, const uint8_t *bytes, size_t size, const struct text_volume *volume);
void chunk_table_to_text(struct text_sink *sink, const uint8_t *bytes, size_t size);

/* One field; problem NULL: none. */
void text_put(struct text_sink *sink, size_t offset, size_t size, const char *problem, const char *name,
              const char *format, ...) __attribute__((format(printf, 6, 7)));
/* Bytes in quotes, what is not printable as \xHH, cut with "..." where `room` ends. Returns out. */
const char *text_bytes(char *out, size_t room, const void *bytes, size_t size);

#endif
