/* base64(key)<TAB>base64(value): the text that MirageOS Wodan's wodanc dumps and restores. */
#ifndef WODAN_CLI_TEXT_BASE64_H
#define WODAN_CLI_TEXT_BASE64_H

#include "text_format.h"

void text_base64_append(struct buffer *out, struct wodan_slice key, struct wodan_slice value);
/* Also takes what CSV writers add: a carriage return at the end, double quotes around a field. */
bool text_base64_parse(struct wodan_slice line, struct text_record *record, struct text_fault *fault);

#endif
