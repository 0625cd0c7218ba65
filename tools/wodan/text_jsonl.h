/* One JSON object a line: {"key":…,"value":…}. Bytes that are not well-formed UTF-8 are given in base64, under
 * "key_base64" and "value_base64". */
#ifndef WODAN_CLI_TEXT_JSONL_H
#define WODAN_CLI_TEXT_JSONL_H

#include "text_format.h"

/* The object without a newline. */
void text_jsonl_append_object(struct buffer *out, struct wodan_slice key, struct wodan_slice value);
void text_jsonl_append(struct buffer *out, struct wodan_slice key, struct wodan_slice value);
/* Strict: unknown or repeated members, lone surrogates and malformed UTF-8 are faults, never replaced. */
bool text_jsonl_parse(struct wodan_slice line, struct text_record *record, struct text_fault *fault);

#endif
