/* What: the JSON-lines record format. A record is a flat object of strings, so it is read here, byte by byte, and not
 * by a JSON library: those replace lone surrogates silently and give no column.
 *
 * Always true: what is written is one well-formed JSON object a line; whatever is read back is the same bytes; no
 * recursion.
 *
 * Order: none that matters.
 *
 * See: tests/unit/test_text_formats.c. */
#include "text_jsonl.h"

#include <stdint.h>
#include <string.h>

#include "json.h"

void text_jsonl_append_object(struct buffer *out, struct wodan_slice key, struct wodan_slice value) {
  buffer_append_byte(out, '{');
  json_append_bytes(out, "key", key);
  buffer_append_byte(out, ',');
  json_append_bytes(out, "value", value);
  buffer_append_byte(out, '}');
}

void text_jsonl_append(struct buffer *out, struct wodan_slice key, struct wodan_slice value) {
  text_jsonl_append_object(out, key, value);
  buffer_append_byte(out, '\n');
}

/* ---- reading ------------------------------------------------------------------------------------------------- */

/* The line and the place in it. at == size: the end. */
struct json_line {
  const unsigned char *text;
  size_t size;
  size_t at;
  struct text_fault *fault;
};

static bool fail(struct json_line *line, size_t at, const char *message) {
  return text_fault_at(line->fault, at + 1, message);
}

static void skip_space(struct json_line *line) {
  while (line->at < line->size && memchr(" \t\r", line->text[line->at], 3) != NULL) line->at++;
}

/* Skips space, then takes the byte if it is next. */
static bool take(struct json_line *line, unsigned char byte) {
  skip_space(line);
  if (line->at == line->size || line->text[line->at] != byte) return false;
  line->at++;
  return true;
}

static void append_code_point(struct buffer *out, uint32_t code) {
  if (code < 0x80) {
    buffer_append_byte(out, (unsigned char)code);
  } else if (code < 0x800) {
    buffer_append_byte(out, (unsigned char)(0xc0 | code >> 6));
    buffer_append_byte(out, (unsigned char)(0x80 | (code & 63)));
  } else if (code < 0x10000) {
    buffer_append_byte(out, (unsigned char)(0xe0 | code >> 12));
    buffer_append_byte(out, (unsigned char)(0x80 | (code >> 6 & 63)));
    buffer_append_byte(out, (unsigned char)(0x80 | (code & 63)));
  } else {
    buffer_append_byte(out, (unsigned char)(0xf0 | code >> 18));
    buffer_append_byte(out, (unsigned char)(0x80 | (code >> 12 & 63)));
    buffer_append_byte(out, (unsigned char)(0x80 | (code >> 6 & 63)));
    buffer_append_byte(out, (unsigned char)(0x80 | (code & 63)));
  }
}

/* The four digits at `at`, or UINT32_MAX. */
static uint32_t four_digits(const struct json_line *line, size_t at) {
  if (line->size < 4 || at > line->size - 4) return UINT32_MAX;
  uint32_t code = 0;
  for (size_t i = at; i < at + 4; i++) {
    int digit = hex_digit(line->text[i]);
    if (digit < 0) return UINT32_MAX;
    code = code << 4 | (uint32_t)digit;
  }
  return code;
}

/* line->at is at the u of \uHHHH. */
static bool parse_unicode_escape(struct json_line *line, struct buffer *out) {
  size_t start = line->at - 1;
  uint32_t code = four_digits(line, line->at + 1);
  if (code == UINT32_MAX) return fail(line, start, "\\u needs four hexadecimal digits");
  line->at += 5;
  if (code >= 0xdc00 && code < 0xe000) return fail(line, start, "the second half of a surrogate pair stands alone");
  if (code >= 0xd800 && code < 0xdc00) {
    bool pair = line->size - line->at >= 6 && line->text[line->at] == '\\' && line->text[line->at + 1] == 'u';
    uint32_t low = pair ? four_digits(line, line->at + 2) : UINT32_MAX;
    if (low < 0xdc00 || low >= 0xe000) return fail(line, start, "the first half of a surrogate pair stands alone");
    line->at += 6;
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  append_code_point(out, code);
  return true;
}

/* line->at is at the backslash. */
static bool parse_escape(struct json_line *line, struct buffer *out) {
  static const char names[] = "\"\\/bfnrt";
  static const char bytes[] = "\"\\/\b\f\n\r\t";
  size_t start = line->at++;
  if (line->at == line->size) return fail(line, line->at, "the string does not end");
  unsigned char name = line->text[line->at];
  if (name == 'u') return parse_unicode_escape(line, out);
  const char *found = memchr(names, name, sizeof names - 1);
  if (found == NULL) return fail(line, start, "an unknown escape");
  buffer_append_byte(out, (unsigned char)bytes[found - names]);
  line->at++;
  return true;
}

/* Skips space and reads a string. */
static bool parse_string(struct json_line *line, struct buffer *out, const char *wanted) {
  if (!take(line, '"')) return fail(line, line->at, wanted);
  while (line->at < line->size && line->text[line->at] != '"') {
    const unsigned char *at = line->text + line->at;
    if (*at == '\\') {
      if (!parse_escape(line, out)) return false;
      continue;
    }
    size_t size = utf8_sequence(at, line->size - line->at);
    if (size == 0) return fail(line, line->at, "not well-formed UTF-8: give such bytes as base64");
    if (*at < 0x20) return fail(line, line->at, "a control byte in a string must be escaped");
    buffer_append(out, at, size);
    line->at += size;
  }
  if (line->at == line->size) return fail(line, line->at, "the string does not end");
  line->at++;
  return true;
}

static bool name_is(const struct buffer *name, const char *wanted) {
  return name->size == strlen(wanted) && memcmp(name->data, wanted, name->size) == 0;
}

/* Which members were seen. */
struct json_seen {
  bool key, value;
};

/* Skips space and reads one member into its field of the record. */
static bool parse_member(struct json_line *line, struct text_record *record, struct json_seen *seen) {
  skip_space(line);
  size_t start = line->at;
  struct buffer *name = &record->scratch;
  buffer_clear(name);
  if (!parse_string(line, name, "a member name in double quotes is expected")) return false;
  if (name->failed) return true;
  bool is_base64 = name_is(name, "key_base64") || name_is(name, "value_base64");
  bool is_key = name_is(name, "key") || name_is(name, "key_base64");
  if (!is_base64 && !is_key && !name_is(name, "value")) {
    return fail(line, start, "an unknown member: key, key_base64, value and value_base64 are known");
  }
  bool *have = is_key ? &seen->key : &seen->value;
  if (*have) return fail(line, start, is_key ? "the key is given twice" : "the value is given twice");
  *have = true;
  if (!take(line, ':')) return fail(line, line->at, "a colon is expected");
  skip_space(line);
  size_t value_start = line->at;
  struct buffer *field = is_key ? &record->key : &record->value;
  buffer_clear(name);
  if (!parse_string(line, is_base64 ? name : field, "a string in double quotes is expected")) return false;
  if (is_base64 && !base64_decode(field, buffer_slice(name), line->fault)) {
    line->fault->column += value_start + 1; /* right unless the base64 text itself has escapes */
    return false;
  }
  if (is_key && field->size == 0 && !field->failed) return fail(line, value_start, "the key is empty");
  return true;
}

bool text_jsonl_parse(struct wodan_slice bytes, struct text_record *record, struct text_fault *fault) {
  struct json_line line = {.text = bytes.data, .size = bytes.size, .at = 0, .fault = fault};
  struct json_seen seen = {false, false};
  if (!take(&line, '{')) return fail(&line, line.at, "an object in braces is expected");
  bool closed = take(&line, '}');
  while (!closed) {
    if (!parse_member(&line, record, &seen)) return false;
    if (text_record_failed(record)) return true;
    closed = take(&line, '}');
    if (!closed && !take(&line, ',')) return fail(&line, line.at, "a comma or a closing brace is expected");
  }
  if (!seen.key) return fail(&line, line.at - 1, "no member key or key_base64");
  if (!seen.value) return fail(&line, line.at - 1, "no member value or value_base64");
  skip_space(&line);
  if (line.at != line.size) return fail(&line, line.at, "something follows the object");
  return true;
}
