/* What: the tab-separated record format, for people and for line tools.
 *
 * Always true: what is written is well-formed UTF-8 with exactly one tab and one newline a record; reading it back
 * gives the same bytes.
 *
 * Order: none that matters.
 *
 * See: tests/unit/test_text_formats.c. */
#include "text_tsv.h"

static void append_escaped(struct buffer *out, unsigned char byte) {
  switch (byte) {
  case '\\':
    buffer_append_text(out, "\\\\");
    break;
  case '\t':
    buffer_append_text(out, "\\t");
    break;
  case '\n':
    buffer_append_text(out, "\\n");
    break;
  case '\r':
    buffer_append_text(out, "\\r");
    break;
  default:
    buffer_append_text(out, "\\x");
    hex_append(out, (struct wodan_slice){.data = &byte, .size = 1});
  }
}

void text_tsv_append_bytes(struct buffer *out, struct wodan_slice bytes) {
  const unsigned char *at = bytes.data;
  for (size_t i = 0; i < bytes.size;) {
    size_t size = utf8_sequence(at + i, bytes.size - i);
    if (size == 0 || at[i] < 0x20 || at[i] == 0x7f || at[i] == '\\') {
      append_escaped(out, at[i]);
      i++;
    } else {
      buffer_append(out, at + i, size);
      i += size;
    }
  }
}

void text_tsv_append(struct buffer *out, struct wodan_slice key, struct wodan_slice value) {
  text_tsv_append_bytes(out, key);
  buffer_append_byte(out, '\t');
  text_tsv_append_bytes(out, value);
  buffer_append_byte(out, '\n');
}

/* Reads the escape whose backslash is at *at and moves *at behind it. */
static bool parse_escape(struct wodan_slice line, size_t *at, struct buffer *out, struct text_fault *fault) {
  const unsigned char *text = line.data;
  size_t start = *at;
  if (start + 1 == line.size) return text_fault_at(fault, start + 1, "a lone backslash at the end of the line");
  unsigned char byte = 0;
  size_t size = 2;
  switch (text[start + 1]) {
  case '\\':
    byte = '\\';
    break;
  case 't':
    byte = '\t';
    break;
  case 'n':
    byte = '\n';
    break;
  case 'r':
    byte = '\r';
    break;
  case 'x':
    size = 4;
    if (line.size - start < size || hex_digit(text[start + 2]) < 0 || hex_digit(text[start + 3]) < 0) {
      return text_fault_at(fault, start + 1, "\\x needs two hexadecimal digits");
    }
    byte = (unsigned char)(hex_digit(text[start + 2]) << 4 | hex_digit(text[start + 3]));
    break;
  default:
    return text_fault_at(fault, start + 1, "an unknown escape: only \\\\ \\t \\n \\r \\xHH are known");
  }
  buffer_append_byte(out, byte);
  *at = start + size;
  return true;
}

bool text_tsv_parse(struct wodan_slice line, struct text_record *record, struct text_fault *fault) {
  const unsigned char *text = line.data;
  struct buffer *field = &record->key;
  for (size_t i = 0; i < line.size;) {
    if (text[i] == '\\') {
      if (!parse_escape(line, &i, field, fault)) return false;
    } else if (text[i] == '\t') {
      if (field == &record->value) return text_fault_at(fault, i + 1, "a second tab: inside a value write it as \\t");
      if (i == 0) return text_fault_at(fault, 1, "the key is empty");
      field = &record->value;
      i++;
    } else {
      buffer_append_byte(field, text[i]);
      i++;
    }
  }
  if (field == &record->key) return text_fault_at(fault, line.size + 1, "no tab between key and value");
  return true;
}
