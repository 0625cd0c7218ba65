/* key<TAB>value with backslash escapes: \\ \t \n \r \xHH. */
#ifndef WODAN_CLI_TEXT_TSV_H
#define WODAN_CLI_TEXT_TSV_H

#include "text_format.h"

/* Escapes backslashes, bytes below 0x20, 0x7f, and bytes that are not part of well-formed UTF-8. */
void text_tsv_append_bytes(struct buffer *out, struct wodan_slice bytes);
void text_tsv_append(struct buffer *out, struct wodan_slice key, struct wodan_slice value);
/* Takes any byte as it stands but tab, newline and backslash. */
bool text_tsv_parse(struct wodan_slice line, struct text_record *record, struct text_fault *fault);

#endif
