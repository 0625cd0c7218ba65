/* What: hexadecimal and base64 both ways, and the UTF-8 test that decides how bytes are shown.
 *
 * Always true: decode(encode(bytes)) == bytes for all bytes; a fault names the first byte that does not fit; base64
 * is read strictly, so two different texts never stand for the same bytes.
 *
 * Order: none that matters.
 *
 * See: tests/unit/test_text_formats.c. */
#include "encoding.h"

#include <stdint.h>
#include <string.h>

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool text_fault_at(struct text_fault *fault, size_t column, const char *message) {
  *fault = (struct text_fault){.column = column, .message = message};
  return false;
}

size_t utf8_sequence(const unsigned char *at, size_t left) {
  unsigned char lead = at[0];
  if (lead < 0x80) return 1;
  size_t size = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (size == 0 || left < size) return 0;
  for (size_t i = 1; i < size; i++) {
    if ((at[i] & 0xc0) != 0x80) return 0;
  }
  if (lead == 0xe0 && at[1] < 0xa0) return 0; /* overlong */
  if (lead == 0xed && at[1] > 0x9f) return 0; /* surrogates */
  if (lead == 0xf0 && at[1] < 0x90) return 0; /* overlong */
  if (lead == 0xf4 && at[1] > 0x8f) return 0; /* above U+10FFFF */
  return size;
}

bool utf8_valid(struct wodan_slice bytes) {
  const unsigned char *at = bytes.data;
  for (size_t i = 0; i < bytes.size;) {
    size_t size = utf8_sequence(at + i, bytes.size - i);
    if (size == 0) return false;
    i += size;
  }
  return true;
}

int hex_digit(unsigned char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

void hex_append(struct buffer *out, struct wodan_slice bytes) {
  const unsigned char *at = bytes.data;
  for (size_t i = 0; i < bytes.size; i++) {
    buffer_append_byte(out, (unsigned char)hex_digits[at[i] >> 4]);
    buffer_append_byte(out, (unsigned char)hex_digits[at[i] & 15]);
  }
}

bool hex_decode(struct buffer *out, struct wodan_slice text, struct text_fault *fault) {
  const unsigned char *at = text.data;
  for (size_t i = 0; i < text.size; i++) {
    if (hex_digit(at[i]) < 0) return text_fault_at(fault, i + 1, "not a hexadecimal digit");
  }
  if (text.size % 2 != 0) return text_fault_at(fault, text.size + 1, "an odd number of hexadecimal digits");
  for (size_t i = 0; i < text.size; i += 2) {
    buffer_append_byte(out, (unsigned char)(hex_digit(at[i]) << 4 | hex_digit(at[i + 1])));
  }
  return true;
}

void base64_append(struct buffer *out, struct wodan_slice bytes) {
  const unsigned char *at = bytes.data;
  for (size_t i = 0; i < bytes.size; i += 3) {
    size_t have = bytes.size - i < 3 ? bytes.size - i : 3;
    uint32_t bits = (uint32_t)at[i] << 16;
    if (have > 1) bits |= (uint32_t)at[i + 1] << 8;
    if (have > 2) bits |= at[i + 2];
    unsigned char quad[4];
    for (unsigned k = 0; k < 4; k++) {
      quad[k] = k <= have ? (unsigned char)base64_digits[bits >> (18 - 6 * k) & 63] : '=';
    }
    buffer_append(out, quad, sizeof quad);
  }
}

/* Value 0..63 of a base64 digit, -1 for anything else. */
static int base64_digit(unsigned char digit) {
  if (digit >= 'A' && digit <= 'Z') return digit - 'A';
  if (digit >= 'a' && digit <= 'z') return digit - 'a' + 26;
  if (digit >= '0' && digit <= '9') return digit - '0' + 52;
  return digit == '+' ? 62 : digit == '/' ? 63 : -1;
}

bool base64_decode(struct buffer *out, struct wodan_slice text, struct text_fault *fault) {
  const unsigned char *at = text.data;
  size_t digits = text.size;
  while (digits > 0 && text.size - digits < 2 && at[digits - 1] == '=') digits--;
  for (size_t i = 0; i < digits; i++) {
    if (base64_digit(at[i]) < 0) return text_fault_at(fault, i + 1, "not a base64 digit");
  }
  if (text.size % 4 != 0) return text_fault_at(fault, text.size + 1, "the base64 text is not a multiple of 4 digits");
  for (size_t i = 0; i < digits; i += 4) {
    size_t have = digits - i < 4 ? digits - i : 4; /* 2, 3 or 4: text.size is a multiple of 4, at most 2 are padding */
    uint32_t bits = 0;
    for (size_t k = 0; k < 4; k++) bits = bits << 6 | (k < have ? (uint32_t)base64_digit(at[i + k]) : 0);
    uint32_t spare = have == 2 ? 0xffff : have == 3 ? 0xff : 0;
    if ((bits & spare) != 0)
      return text_fault_at(fault, i + have, "the last base64 digit has bits that stand for nothing");
    unsigned char bytes[3] = {(unsigned char)(bits >> 16), (unsigned char)(bits >> 8), (unsigned char)bits};
    buffer_append(out, bytes, have - 1);
  }
  return true;
}
