/* What: the base64 record format, exchanged with wodanc.
 *
 * Always true: what is written is exactly two padded base64 fields, one tab and one newline a record.
 *
 * Order: none that matters.
 *
 * See: tests/unit/test_text_formats.c. */
#include "text_base64.h"

#include <string.h>

void text_base64_append(struct buffer *out, struct wodan_slice key, struct wodan_slice value) {
  base64_append(out, key);
  buffer_append_byte(out, '\t');
  base64_append(out, value);
  buffer_append_byte(out, '\n');
}

/* Decodes the bytes begin..end of the line. */
static bool parse_field(struct wodan_slice line, size_t begin, size_t end, struct buffer *out,
                        struct text_fault *fault) {
  const unsigned char *text = line.data;
  if (end - begin >= 2 && text[begin] == '"' && text[end - 1] == '"') {
    begin++;
    end--;
  }
  struct wodan_slice field = {.data = text + begin, .size = end - begin};
  if (base64_decode(out, field, fault)) return true;
  fault->column += begin;
  return false;
}

bool text_base64_parse(struct wodan_slice line, struct text_record *record, struct text_fault *fault) {
  const unsigned char *text = line.data;
  size_t size = line.size;
  if (size > 0 && text[size - 1] == '\r') size--;
  const unsigned char *tab = size == 0 ? NULL : memchr(text, '\t', size);
  if (tab == NULL) return text_fault_at(fault, size + 1, "no tab between key and value");
  size_t split = (size_t)(tab - text);
  const unsigned char *second = memchr(tab + 1, '\t', size - split - 1);
  if (second != NULL) return text_fault_at(fault, (size_t)(second - text) + 1, "a second tab");
  if (!parse_field(line, 0, split, &record->key, fault)) return false;
  if (record->key.size == 0 && !record->key.failed) return text_fault_at(fault, 1, "the key is empty");
  return parse_field(line, split + 1, size, &record->value, fault);
}
