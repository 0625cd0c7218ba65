/* What the two files of to_text share: fields of plain numbers, taken from a bounded reader. Each puts nothing when the
 * reader ran out; text_ended tells that once. */
#ifndef FORMAT_TO_TEXT_PRIVATE_H
#define FORMAT_TO_TEXT_PRIVATE_H

#include <stdbool.h>
#include <wodan/types.h>
#include "base/wire.h"
#include "format/to_text.h"

enum { TEXT_MAX = 640, TEXT_KEY_MAX = 160 }; /* bytes */

/* unit: put behind the number, "" for none. */
uint64_t text_u64(struct text_sink *sink, struct wire_reader *r, const char *name, const char *unit);
uint32_t text_u32(struct text_sink *sink, struct wire_reader *r, const char *name, const char *unit);
uint64_t text_hash(struct text_sink *sink, struct wire_reader *r, const char *name);
void text_checksum(struct text_sink *sink, size_t offset, uint64_t stored, uint64_t right);
/* expected NULL: any. */
void text_fsid(struct text_sink *sink, struct wire_reader *r, const uint8_t *expected);
void text_zeros(struct text_sink *sink, const uint8_t *bytes, size_t offset, size_t size);
/* The reader ran out (told as a problem), or nobody listens any more. */
bool text_ended(struct text_sink *sink, const struct wire_reader *r, const char *name);
/* A pointer with all of its fields in one line; the reader goes on behind it, or has failed. */
void text_pointer(struct text_sink *sink, struct wire_reader *r, const char *name, const struct volume_bounds *bounds);
/* What stands for a large value; *problem is set where it is no such reference. */
const char *text_reference(char out[TEXT_MAX], struct wodan_slice value, const struct volume_bounds *bounds,
                           const char **problem);
/* A tree key: the user's part in quotes, the table in front when it is not the default one. */
const char *text_tree_key(char *out, size_t room, struct wodan_slice key);

#endif
