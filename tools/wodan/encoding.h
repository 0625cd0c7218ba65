/* Bytes as text: hexadecimal, base64 (RFC 4648 section 4, padded), and what is well-formed UTF-8. */
#ifndef WODAN_CLI_ENCODING_H
#define WODAN_CLI_ENCODING_H

#include "buffer.h"

/* Where a text could not be read, and why. */
struct text_fault {
  size_t column;       /* of the first byte that does not fit, counted in bytes from 1 */
  const char *message; /* a constant: one sentence without its full stop */
};

/* Fills *fault and returns false, so that a parser can `return text_fault_at(...)`. */
bool text_fault_at(struct text_fault *fault, size_t column, const char *message);

/* Bytes of the well-formed UTF-8 sequence at `at` (no surrogates, nothing overlong), 0 when it is none. left > 0. */
size_t utf8_sequence(const unsigned char *at, size_t left);
bool utf8_valid(struct wodan_slice bytes);

/* Value 0..15 of a hexadecimal digit, -1 for anything else. */
int hex_digit(unsigned char digit);
void hex_append(struct buffer *out, struct wodan_slice bytes);
/* Appends the decoded bytes to out. false with *fault set when the text is not hexadecimal. */
bool hex_decode(struct buffer *out, struct wodan_slice text, struct text_fault *fault);

void base64_append(struct buffer *out, struct wodan_slice bytes);
/* As hex_decode. Only the one text base64_append makes of the same bytes is accepted: full padding, zero spare bits. */
bool base64_decode(struct buffer *out, struct wodan_slice text, struct text_fault *fault);

#endif
